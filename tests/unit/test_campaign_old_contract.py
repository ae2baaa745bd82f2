"""Functions of BlueETL's contract: what they get, what they may return, and what is said when they fail."""

import numpy as np
import pandas as pd
import pytest

from ephysflow.campaign.old_contract import apply_group_function
from ephysflow.campaign.repository import Repository
from ephysflow.errors import SimulationError

FULL = ["simulation_id", "circuit_id", "neuron_class", "window"]


def make_frames():
    """Two simulations of two circuits; class b overlaps with a; gid 3 is silent, window w2 has two trials."""
    simulations = pd.DataFrame(
        {"seed": [5, 6], "simulation_path": ["x", "y"], "simulation_id": [0, 1], "circuit_id": [0, 1]}
    )
    neurons = pd.DataFrame(
        [
            (c, label, gid, k)
            for c in (0, 1)
            for label, gids in (("a", (1, 3)), ("b", (1,)))
            for k, gid in enumerate(gids)
        ],
        columns=["circuit_id", "neuron_class", "gid", "neuron_class_index"],
    )
    windows = pd.DataFrame(
        [
            (s, s, w, t, 0.0, 0.0, 10.0, 0.0, 10.0, "")
            for s in (0, 1)
            for w, t in (("w1", 0), ("w2", 0), ("w2", 1))
        ],
        columns=[
            *("simulation_id", "circuit_id", "window", "trial", "offset", "t_start", "t_stop", "t_step"),
            *("duration", "window_type"),
        ],
    )
    report = pd.DataFrame(
        [
            (1.0, 1, "w1", 0, 0, 0, "a"),
            (2.0, 1, "w1", 0, 0, 0, "a"),
            (1.0, 1, "w1", 0, 0, 0, "b"),
            (2.0, 1, "w1", 0, 0, 0, "b"),
            (7.0, 1, "w2", 1, 1, 1, "a"),
            (9.0, 99, "w1", 0, 0, 0, "a"),  # of no neuron of the class
        ],
        columns=["time", "gid", "window", "trial", "simulation_id", "circuit_id", "neuron_class"],
    )
    tables = {"simulations": simulations, "neurons": neurons, "windows": windows}
    tables["neuron_classes"] = pd.DataFrame({"circuit_id": [0], "neuron_class": ["a"]})
    return tables, report


@pytest.fixture
def repo():
    return Repository.from_frames(*make_frames())


def apply(function, repo, groupby=FULL, **settings):
    given = {"neuron_classes": [], "windows": [], "params": {}, "type_": "multi", "name": None, **settings}
    return apply_group_function(function, repo, groupby, **given)


def count(repo, key, df, params):
    return {"n": pd.DataFrame({"spikes": [df["time"].count()], "rows": [len(df)]})}


def test_columns_come_as_from_the_joins_of_neurons_windows_and_report(repo):
    seen = []
    apply(lambda repo, key, df, params: seen.append((key, df)) or {}, repo)
    key, df = seen[0]
    assert key._asdict() == {"simulation_id": 0, "circuit_id": 0, "neuron_class": "a", "window": "w1"}
    assert list(df.columns) == [
        *("circuit_id", "neuron_class", "gid", "neuron_class_index", "simulation_id", "window", "trial"),
        *("offset", "t_start", "t_stop", "t_step", "duration", "window_type", "time"),
    ]
    assert df.index.equals(pd.RangeIndex(3))
    assert df["gid"].tolist() == [1, 1, 3]
    np.testing.assert_array_equal(df["time"], [1.0, 2.0, np.nan])


@pytest.mark.parametrize(
    "groupby",
    [
        FULL,
        ["simulation_id", "neuron_class"],
        ["simulation_id"],
        ["neuron_class"],
        ["gid"],
        ["window", "simulation_id"],
        ["trial", "neuron_class_index"],
        [],
    ],
    ids=",".join,
)
def test_any_grouping_gives_what_pandas_merges_and_groups(repo, groupby):
    tables, report = make_frames()
    merged = tables["neurons"].merge(tables["windows"]).merge(report, how="left")
    result = apply(count, repo, groupby)["n"]
    if not groupby:
        assert result.to_numpy().tolist() == [[merged["time"].count(), len(merged)]]
        return
    expected = merged.groupby(groupby).agg(spikes=("time", "count"), rows=("gid", "size"))
    plain = result.reset_index().astype({name: expected.reset_index()[name].dtype for name in groupby})
    pd.testing.assert_frame_equal(plain, expected.reset_index(), check_dtype=False)
    assert result.index.names == groupby


def test_labels_restrict_classes_and_windows(repo):
    result = apply(count, repo, neuron_classes=["b"], windows=["w2"])["n"]
    assert result.index.tolist() == [(0, 0, "b", "w2"), (1, 1, "b", "w2")]
    assert result["rows"].tolist() == [2, 2]


def test_tables_without_a_common_column_are_crossed():
    tables, report = make_frames()
    tables["neurons"] = tables["neurons"].query("circuit_id == 0").drop(columns="circuit_id")
    result = apply(count, Repository.from_frames(tables, report), ["simulation_id", "neuron_class"])["n"]
    assert result["rows"].tolist() == [7, 4, 6, 3]


def test_a_column_of_the_report_groups_its_rows():
    tables, report = make_frames()
    report = report.assign(section=[0, 1, 0, 1, 1, 0], value=1.5)
    result = apply(count, Repository.from_frames(tables, report), ["simulation_id", "section"])["n"]
    assert result["spikes"].to_dict() == {(0, 0): 2, (0, 1): 2, (1, 1): 1}


def test_one_simulation_is_read_at_a_time(repo):
    tables, report = make_frames()
    asked = []

    def load(simulation_id):
        asked.append(simulation_id)
        own = report[report["simulation_id"] == simulation_id]
        return own.drop(columns=["simulation_id", "circuit_id"])

    lazy = Repository.from_frames(tables, load)
    pd.testing.assert_frame_equal(apply(count, lazy)["n"], apply(count, repo)["n"])
    assert asked == [0, 1]


def test_groups_are_cut_alike_whatever_the_size_of_a_batch(repo, monkeypatch):
    expected = apply(count, repo, [*FULL, "gid"])["n"]
    monkeypatch.setattr("ephysflow.campaign.old_contract.ROWS_AT_ONCE", 1)
    pd.testing.assert_frame_equal(apply(count, repo, [*FULL, "gid"])["n"], expected)


def test_params_are_private(repo):
    def spoil(repo, key, df, params):
        params["list"].append(1)
        df["time"] = 0.0
        return {"x": pd.DataFrame({"length": [len(params["list"])]})}

    params = {"list": []}
    assert apply(spoil, repo, params=params)["x"]["length"].eq(1).all()
    assert params == {"list": []}
    assert repo.report.df["time"].max() == 9.0


def test_index_of_the_function(repo):
    def by_gid(repo, key, df, params):
        grouped = df.groupby(["gid", "trial"])["time"].count()
        return {"levels": grouped.to_frame("n"), "plain": grouped.to_frame("n").reset_index()}

    tables = apply(by_gid, repo, ["simulation_id"])
    assert tables["levels"].index.names == ["simulation_id", "gid", "trial"]
    assert tables["plain"].index.names == ["simulation_id"]


def test_key_columns_keep_the_types_of_the_tables(repo):
    flat = apply(count, repo)["n"].reset_index()
    assert flat["simulation_id"].dtype == "int32"
    assert flat["neuron_class"].cat.categories.tolist() == ["a", "b"]


def test_key_column_that_is_returned_again_is_there_once(repo):
    def again(repo, key, df, params):
        return {"x": df[["window", "gid"]]}

    assert list(apply(again, repo)["x"].columns) == ["gid"]
    with pytest.raises(
        SimulationError, match=r"simulation_id=0.*column 'window' differs from the group's 'w1'"
    ):
        apply(lambda repo, key, df, params: {"x": pd.DataFrame({"window": ["other"]})}, repo)


@pytest.mark.parametrize(
    "value", [{"x": 1.0, "n": 2}, pd.DataFrame({"x": [1.0], "n": [2]})], ids=["dict", "frame"]
)
def test_single(repo, value):
    result = apply(lambda *_: value, repo, ["window"], type_="single", name="mean")
    assert list(result) == ["mean"]
    assert result["mean"].to_dict("list") == {"x": [1.0, 1.0], "n": [2, 2]}


def test_groups_without_rows_do_not_hide_the_others(repo):
    def only_w2(repo, key, df, params):
        return {"x": pd.DataFrame({"n": [1]}) if key.window == "w2" else pd.DataFrame()}

    assert apply(only_w2, repo, ["window"])["x"].index.tolist() == ["w2"]
    empty = apply(lambda *_: {"x": pd.DataFrame({"n": []})}, repo, ["window"])["x"]
    assert list(empty.columns) == ["n"]
    assert len(empty) == 0
    assert apply(count, repo, neuron_classes=["none of this name"]) == {}


def test_arrays_in_cells(repo):
    def arrays(repo, key, df, params):
        return {"x": pd.DataFrame({"times": [df["time"].to_numpy()], "matrix": [np.eye(2)]})}

    table = apply(arrays, repo, ["neuron_class"])["x"]
    assert table["matrix"].tolist() == [[[1, 0], [0, 1]]] * 2


def fails(repo, key, df, params):
    if key.window == "w2":
        raise ValueError("no spikes")
    return {}


def test_a_function_that_raises_is_told_with_its_group_and_line(repo):
    line = fails.__code__.co_firstlineno + 2
    message = rf"fails: group \(simulation_id=0, .*window='w2'\): raised ValueError: no spikes \(test_.*, line {line}\)"
    with pytest.raises(SimulationError, match=message):
        apply(fails, repo)


def test_interrupting_is_not_a_failure_of_the_function(repo):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(interrupted, repo)


@pytest.mark.parametrize(
    "ask", [lambda f: f["circuit"], lambda f: f.iloc[0]["simulation"], lambda f: f.iloc[0].circuit]
)
def test_live_objects_are_refused_with_the_way_out(repo, ask):
    with pytest.raises(SimulationError, match="bluepysnap"):
        apply(lambda repo, key, df, params: ask(repo.simulations.df), repo)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "a NoneType"),
        (pd.DataFrame(), "a DataFrame; allowed is a dict of DataFrames"),
        ({"x": 1}, "a int as 'x'"),
        ({1: pd.DataFrame()}, "a table named 1"),
        ({"../x": pd.DataFrame()}, "a table named '../x'"),
        ({"x" * 151: pd.DataFrame()}, "a table named .*at most 150 characters"),
        ({"x": pd.DataFrame([[1, 2]])}, "columns that are not texts"),
        ({"x": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "columns of equal name"),
    ],
)
def test_wrong_returns_are_refused(repo, returned, said):
    with pytest.raises(SimulationError, match=r"group \(window='w1'\): returned " + said):
        apply(lambda *_: returned, repo, ["window"])


def test_wrong_returns_of_a_single_function(repo):
    with pytest.raises(SimulationError, match="allowed is a DataFrame or a dict of numbers"):
        apply(lambda *_: 3.0, repo, type_="single", name="x")


def test_unknown_key_column(repo):
    with pytest.raises(SimulationError, match="groupby: layer is not a column"):
        apply(count, repo, ["layer"])


def test_tables_whose_levels_differ_between_groups(repo):
    def differing(repo, key, df, params):
        frame = pd.DataFrame({"n": [1], "gid": [2]})
        return {"x": frame.set_index("gid") if key.window == "w1" else frame}

    with pytest.raises(SimulationError, match="its index levels are"):
        apply(differing, repo, ["window"])
