"""Feature functions of the user: BlueETL's contract and the vectorised one, through the jobs of a campaign.

Both count spikes and average their times, and are compared with each other and with the extraction tables.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import ephysflow
from ephysflow.campaign.old_contract import apply_group_function
from ephysflow.campaign.repository import Repository
from ephysflow.errors import ConfigurationError
from tests.campaigns import run_campaign
from tests.workflow.small_campaign import FIRING_RATES, SIZE, write_small_campaign, write_spikes

MINE = """
import numpy as np
import pandas as pd

from ephysflow import FeatureRows
from helper import shifted


def multi(repo, key, df, params):
    by_gid = df.groupby("gid")["time"].agg(spikes="count", mean_time="mean")
    by_gid["mean_time"] = shifted(by_gid["mean_time"], params)
    one = pd.DataFrame({"spikes": [by_gid["spikes"].sum()], "neurons": [len(by_gid)]})
    return {"by_gid_own": by_gid, "summary": one}


def vectorised(observations, params):
    # a gid of a group over all its trials, and over its simulations when the group has several
    gids, code = np.unique(observations.neurons["gid"], return_inverse=True)
    cell = observations.group * len(gids) + code[observations.neuron]
    used, where = np.unique(cell, return_inverse=True)
    group, gid = used // len(gids), gids[used % len(gids)]
    spikes = np.zeros(len(used), np.int64)
    np.add.at(spikes, where, observations.counts)
    total = np.bincount(where[observations.row_observation], observations.rows["time"], len(used))
    with np.errstate(invalid="ignore"):
        mean = shifted(total / spikes, params)
    groups = np.arange(observations.n_groups)
    sums = np.zeros(len(groups), np.int64)
    np.add.at(sums, group, spikes)
    index = {} if "gid" in observations.groups else {"gid": gid}
    return {
        "by_gid_own": FeatureRows(group, index, {"spikes": spikes, "mean_time": mean}),
        "summary": FeatureRows(groups, {}, {"spikes": sums, "neurons": np.bincount(group, minlength=len(groups))}),
    }


def numbers(repo, key, df, params):
    return {"spikes": df["time"].notna().sum(), "factor": params["factor"], "seeds": len(repo.simulations.df)}


def frame(repo, key, df, params):
    per_trial = df.groupby("trial")["time"].count()
    return pd.DataFrame({"spikes": per_trial})


def of_key(repo, key, df, params):
    return {"keys": pd.DataFrame({"key": [str(key._asdict())], "rows": [len(df)]})}


def over_all(repo, key, df, params):
    report = repo.report.df.etl.q(neuron_class=key.neuron_class)
    return {"share": pd.DataFrame({"share": [df["time"].notna().sum() / len(report)]})}


def told(repo, key, df, params):
    return {"told": pd.DataFrame([{f"given_{name}": str(value) for name, value in params.items()}])}
"""
HELPER = """
def shifted(times, params):
    return times + params.get("shift", 0.0)
"""
BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]
TRIALS = {"bounds": [0, 40], "n_trials": 2, "trial_steps_value": 40}


def entry(function: str, **keys: Any) -> dict[str, Any]:
    return {"type": "multi", "groupby": BY_CLASS, "function": f"mine.{function}", **keys}


@pytest.fixture
def compute(tmp_path, monkeypatch):
    """Give a function that runs feature entries on three simulations with spikes at random."""
    monkeypatch.chdir(tmp_path)

    def run(*features: dict[str, Any], results: str = "results", **settings: Any) -> Any:
        folder = Path("campaign")
        windows = {"whole": {"bounds": [0, 100]}, "pair": TRIALS}
        config = write_small_campaign(folder, 3, extraction={"windows": windows}, features=features)
        for seed in range(3):
            random = np.random.default_rng(seed)
            gid = random.integers(0, SIZE - 4, 40)  # some neurons of class inh are silent
            write_spikes(folder / f"sim{seed}/output/spikes.h5", gid, np.sort(random.uniform(0, 100, 40)))
        (folder / "mine.py").write_text(MINE)
        (folder / "helper.py").write_text(HELPER)
        content = yaml.safe_load(config.read_text())
        content["results"] = results
        content["campaign"]["c"] |= settings
        config.write_text(yaml.safe_dump(content))
        run_campaign(content, [config])
        return ephysflow.open_results(results).campaign.c.a

    return run


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index is columns and whose labels are texts."""
    frame = frame.reset_index() if frame.index.names != [None] else frame
    return frame.astype({name: object for name in ("neuron_class", "window") if name in frame})


def reference(analysis, groupby):
    """Return spikes and mean time of each neuron and window, made from the extraction tables."""
    repo = analysis.repo
    pairs = repo.neurons.df.merge(repo.windows.df, on="circuit_id")
    on = ["simulation_id", "circuit_id", "neuron_class", "gid", "window", "trial"]
    rows = pairs.merge(repo.report.df, on=on, how="left").astype({"neuron_class": str, "window": str})
    found = rows.groupby([*groupby, "gid"])["time"].agg(spikes="count", mean_time="mean").reset_index()
    return found.astype({name: object for name in ("neuron_class", "window") if name in found})


def test_both_contracts_in_parts_or_whole(compute):
    params = {"params": {"shift": 2.5}}
    analysis = compute(
        entry("multi", suffix="_group", **params),
        entry("multi", suffix="_group_alone", partition="simulation", **params),
        entry("vectorised", suffix="_arrays", contract="vectorised", **params),
        entry("vectorised", suffix="_arrays_alone", contract="vectorised", partition="simulation", **params),
    )
    expected = reference(analysis, BY_CLASS)
    assert (expected.spikes == 0).any()  # silent neurons
    expected["mean_time"] += 2.5
    tables = analysis.features
    for kind in ("group", "group_alone", "arrays", "arrays_alone"):
        by_gid = tables[f"by_gid_own_{kind}"].df
        assert by_gid.index.names == [*BY_CLASS, "gid"]
        pd.testing.assert_frame_equal(flat(by_gid), expected, check_dtype=False, rtol=1e-12)
        assert by_gid.dtypes.to_dict() == {"spikes": "int64", "mean_time": "float64"}
        summary = flat(tables[f"summary_{kind}"].df)
        sums = expected.groupby(BY_CLASS)["spikes"].agg(spikes="sum", neurons="size").reset_index()
        pd.testing.assert_frame_equal(summary, sums, check_dtype=False)
    assert tables.by_gid_own.df["params_id"].nunique() == 4
    assert tables.by_gid_own.aliases.empty
    assert analysis.exclusions.empty
    ids = tables.summary_arrays.df.index.get_level_values
    assert ids("simulation_id").dtype == tables.summary_group.df.index.get_level_values("simulation_id").dtype


@pytest.mark.parametrize("contract", ["group", "vectorised"])
def test_results_do_not_depend_on_the_number_of_jobs(compute, contract):
    function = {"group": "multi", "vectorised": "vectorised"}[contract]
    entries = (
        entry(function, contract=contract, partition="simulation", suffix="_alone"),
        entry(function, contract=contract, groupby=["neuron_class"], suffix="_all"),
        {**FIRING_RATES, "params_product": {"export_all_neurons": [True, False]}},
    )
    one_each = compute(*entries, results="a", buckets=None)
    together = compute(*entries, results="b", buckets=2)
    jobs = [len(list(Path(name).glob("campaign/c/a/extracted/*"))) for name in "ab"]
    assert jobs[0] == 3
    assert jobs[1] <= 2
    assert one_each.features.names == together.features.names
    for name in one_each.features:
        pd.testing.assert_frame_equal(one_each.features[name].df, together.features[name].df)
    for name in one_each.repo.names:
        pd.testing.assert_frame_equal(getattr(one_each.repo, name).df, getattr(together.repo, name).df)


def test_single_functions(compute):
    analysis = compute(
        {**entry("numbers", params={"factor": 3}), "type": "single", "name": "counted"},
        {**entry("numbers", params={"factor": 3}, partition="simulation"), "type": "single", "name": "alone"},
        {**entry("frame", windows=["pair"]), "type": "single", "name": "per_trial"},
    )
    counted = flat(analysis.features.counted.df)
    expected = reference(analysis, BY_CLASS).groupby(BY_CLASS)["spikes"].sum().reset_index()
    pd.testing.assert_frame_equal(counted[[*BY_CLASS, "spikes"]], expected, check_dtype=False)
    assert set(counted["factor"]) == {3}
    assert set(counted["seeds"]) == {3}  # all simulations are seen
    assert set(analysis.features.alone.df["seeds"]) == {1}
    pd.testing.assert_frame_equal(
        flat(analysis.features.alone.df).drop(columns="seeds"), counted.drop(columns="seeds")
    )
    per_trial = analysis.features.per_trial.df
    assert per_trial.index.names == [*BY_CLASS, "trial"]
    assert set(per_trial.index.get_level_values("window")) == {"pair"}
    assert per_trial["spikes"].sum() == (analysis.repo.report.df["window"] == "pair").sum()


@pytest.mark.parametrize("contract", ["group", "vectorised"])
@pytest.mark.parametrize(
    "groupby",
    [["neuron_class", "window"], ["window"], ["simulation_id", "neuron_class"], ["simulation_id", "gid"], []],
)
def test_any_grouping(compute, contract, groupby):
    function = {"group": "multi", "vectorised": "vectorised"}[contract]
    if "gid" in groupby:
        analysis = compute(entry("of_key", groupby=groupby))
        keys = flat(analysis.features["keys"].df)
        assert len(keys) == 3 * (6 + 4)
        assert keys["gid"].tolist() == 3 * list(range(10))
        return
    analysis = compute(entry(function, contract=contract, groupby=groupby, neuron_classes=["exc"]))
    table = flat(analysis.features.by_gid_own.df)
    expected = reference(analysis, ["neuron_class", *(name for name in groupby if name != "neuron_class")])
    expected = expected[expected["neuron_class"] == "exc"]
    expected = expected.sort_values([*groupby, "gid"])[[*groupby, "gid", "spikes", "mean_time"]]
    pd.testing.assert_frame_equal(table, expected.reset_index(drop=True), check_dtype=False, rtol=1e-12)


def test_by_gid_from_arrays(compute):
    by_cell = ["simulation_id", "gid", "window"]
    analysis = compute(
        entry("multi", groupby=by_cell, suffix="_group"),
        entry("vectorised", groupby=by_cell, contract="vectorised", suffix="_arrays"),
    )
    pd.testing.assert_frame_equal(
        flat(analysis.features.summary_group.df), flat(analysis.features.summary_arrays.df), check_dtype=False
    )


def test_key_columns_instead_of_index_levels(compute):
    analysis = compute(entry("multi", multi_index=False))
    table = analysis.features.by_gid_own.df
    assert list(table.columns) == [*BY_CLASS, "gid", "spikes", "mean_time"]
    assert isinstance(table.index, pd.RangeIndex)
    raw = pd.read_parquet("results/campaign/c/a/features/by_gid_own.parquet")
    assert list(raw.columns) == list(table.columns)


def test_products_with_nested_and_dotted_keys(compute):
    analysis = compute(
        entry(
            "told",
            groupby=["neuron_class"],
            params={"options": {"deep": {"a": 1, "b": 2}}, "same": "x"},
            params_product={"options.deep.a": [10, 20], "shape": [[1, 2], {"of": 3}]},
            params_zip={"left": [0.5, 1.5], "right": ["l", "r"]},
            suffix="_mine",
        )
    )
    names = [f"told_mine_{a}_{b}__{z}" for a in range(2) for b in range(2) for z in range(2)]
    assert analysis.features.names == [*names, "told"]
    row = analysis.features["told_mine_1_1__0"].df.iloc[0].to_dict()
    assert row == {
        "given_options": "{'deep': {'a': 20, 'b': 2}}",
        "given_same": "x",
        "given_shape": "{'of': 3}",
        "given_left": "0.5",
        "given_right": "l",
    }
    stacked = analysis.features.told
    assert stacked.params.index.tolist() == list(range(8))
    assert stacked.params["options.deep.a"].tolist() == [10] * 4 + [20] * 4
    assert stacked.params["same"].unique().tolist() == ["x"]
    names = dict(zip(stacked.aliases["column"], stacked.aliases["alias"], strict=True))
    assert names["options.deep.a"] == "a"
    assert {"left", "right"} <= set(names)
    assert "same" not in names
    assert stacked.df.groupby("params_id")["a"].first().tolist() == [10] * 4 + [20] * 4
    config = analysis.features["told_mine_0_0__1"].config
    assert config["params"]["options"]["deep"] == {"a": 10, "b": 2}
    assert config["suffix"] == "_mine_0_0__1"


def test_a_parameter_that_is_called_as_a_column_only_costs_the_stacked_table(compute):
    analysis = compute(entry("multi", params_product={"spikes": [1, 2]}))
    assert analysis.features.names == ["by_gid_own_0", "summary_0", "by_gid_own_1", "summary_1"]
    assert analysis.exclusions["reason"].str.contains("'spikes'").all()
    assert len(analysis.exclusions) == 2


def test_one_combination_and_a_suffix_alone(compute):
    analysis = compute(
        entry("multi", params_product={"shift": [1.0]}),
        entry("told", suffix="_only", params={"a": 1}),
        entry("of_key"),
    )
    features = analysis.features
    assert features.names == [
        "by_gid_own_0",
        "summary_0",
        "told_only",
        "keys",
        "by_gid_own",
        "summary",
        "told",
    ]
    for name in ("by_gid_own", "told"):
        assert set(features[name].df["params_id"]) == {0}
        assert features[name].aliases.empty
    assert features.by_gid_own.params.to_dict("list") == {"shift": [1.0]}
    assert features.told.params.to_dict("list") == {"a": [1]}
    columns = [*BY_CLASS, "gid", "spikes", "mean_time"]
    pd.testing.assert_frame_equal(flat(features.by_gid_own.df)[columns], flat(features.by_gid_own_0.df))


def test_functions_see_all_extraction_tables(compute):
    analysis = compute(entry("over_all", groupby=["neuron_class"], windows=["whole"]))
    report = analysis.repo.report.df
    for label, share in analysis.features.share.df["share"].items():
        own = report[report["neuron_class"] == label]
        assert share == pytest.approx((own["window"] == "whole").sum() / len(own))


def test_only_new_values_are_computed_anew(compute):
    def computed() -> set[str]:
        return {path.parent.name for path in Path("results").rglob("*.zip")}

    compute(entry("multi", params_product={"shift": [1.0, 2.0]}))
    before = computed()
    analysis = compute(entry("multi", params_product={"shift": [2.0, 3.0]}))
    assert len(computed() - before) == 1
    assert [
        table.config["params"] for table in (analysis.features.summary_0, analysis.features.summary_1)
    ] == [
        {"shift": 2.0},
        {"shift": 3.0},
    ]


def test_functions_that_cannot_be_found_are_refused_before_anything_runs(compute):
    with pytest.raises(ConfigurationError, match=r"mine\.nowhere"):
        compute(entry("nowhere"))
    assert not Path("results/campaign").exists()


@pytest.mark.parametrize("case", ["sonata_analysis_01", "bbp_analysis_01"])
def test_old_contract_on_reference_tables(shared, case):
    expected_folder = shared / "golden/campaign/functional" / case / "spikes"
    frames = {
        name: pd.read_parquet(expected_folder / f"repo/{name}.parquet")
        for name in ("simulations", "neurons", "neuron_classes", "windows", "report")
        if (expected_folder / f"repo/{name}.parquet").is_file()
    }
    report = frames.pop("report")
    frames = {name: frame.reset_index() if frame.index.name else frame for name, frame in frames.items()}
    repo = Repository.from_frames(frames, report)

    def rates(repo, key, df, params):
        trials, duration = df["trial"].nunique(), df["duration"].iloc[0]
        spikes = df.groupby(["gid", "trial"])["time"]
        first = spikes.min().groupby("gid").mean().rename("first_spike_time_means_cort_zeroed")
        counts = (spikes.count().groupby("gid").sum() / trials).rename("mean_spike_counts")
        rate = (1000 * counts / duration).rename("mean_firing_rates_per_second")
        return {"by_gid": pd.concat([first, counts, rate], axis=1)}

    ours = flat(apply_group_function(rates, repo, BY_CLASS, [], [], {}, "multi", None)["by_gid"])
    theirs = flat(pd.read_parquet(expected_folder / "features/by_gid.parquet"))[ours.columns]
    assert len(theirs) > 0
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9)


def test_entries_say_what_each_table_came_from(compute):
    analysis = compute(entry("multi", params={"shift": 4.0}, neuron_classes=["inh"]))
    entries = json.loads((analysis.folder / "features/entries.json").read_text())
    config = entries["by_gid_own"]["config"]
    assert config["function"] == "mine.multi"
    assert config["params"] == {"shift": 4.0}
    assert analysis.features.by_gid_own.df.attrs["config"] == config
