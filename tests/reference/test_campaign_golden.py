"""Whole analyses from the inputs of BlueETL's cases: repo tables, feature tables and stacked tables equal its own.

``neg_*`` are the configurations that BlueETL 0.13.4 rejects or crashes on; here each does what its author wanted.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.campaigns import one_campaign, run_campaign

CASES = [
    *(
        "doc_config",
        "sonata_01",
        "sonata_02",
        "sonata_04",
        "sonata_05",
        "sonata_06",
        "sonata_08",
        "sonata_09",
    ),
    *(
        "dense_01",
        "dense_04",
        "dense_bluecv",
        "dense_coupled",
        "dense_filter_ops",
        "dense_limit10",
        "dense_no_export",
    ),
    *("dense_product", "dense_trial_steps_list"),
]
KEYS = (
    "params_id",
    "simulation_id",
    "circuit_id",
    "neuron_class",
    "window",
    "trial",
    "gid",
    "neuron_class_index",
    "bin",
)


@pytest.fixture
def golden(shared, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(shared / "golden" / "campaign"))
    return shared / "golden" / "campaign"


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its index as columns, sorted by its keys, labels as texts and ids as int64."""
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index() if named else frame.reset_index(drop=True)
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(str)
        elif frame[name].dtype.kind == "i":
            frame[name] = frame[name].astype("int64")
    keys = [name for name in (*KEYS, "section", "time") if name in frame.columns]
    return frame.sort_values(keys, kind="stable", ignore_index=True) if keys else frame


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame, where: str) -> None:
    ours, theirs = flat(ours), flat(theirs)
    assert sorted(ours.columns) == sorted(theirs.columns), where
    assert len(ours) == len(theirs), where
    for name in theirs.columns:
        a, b = ours[name], theirs[name]
        if len(b) and isinstance(b.iloc[0], np.ndarray | list):
            for x, y in zip(a, b, strict=True):
                # a list of lists comes back as an array of arrays
                np.testing.assert_allclose(
                    np.hstack([np.ravel(part) for part in x]) if len(x) else [],
                    np.hstack([np.ravel(part) for part in y]) if len(y) else [],
                    rtol=1e-9,
                    atol=1e-12,
                    err_msg=f"{where}: {name}",
                )
        elif b.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=f"{where}: {name}")
        else:
            pd.testing.assert_series_equal(
                a.astype(object).where(a.notna(), None),
                b.astype(object).where(b.notna(), None),
                obj=f"{where}: {name}",
                check_index=False,
            )


def read_report(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder)
    return frame.astype({"circuit_id": "int64", "simulation_id": "int64"})


def assert_repo(results: Path, expected: Path) -> None:
    for name in ("simulations", "neurons", "neuron_classes", "windows", "report"):
        ours = (
            read_report(results / "repo/report")
            if name == "report"
            else pd.read_parquet(results / f"repo/{name}.parquet")
        )
        theirs = pd.read_parquet(expected / "repo" / f"{name}.parquet")
        if name == "neuron_classes":
            ours = ours[ours["count"] > 0]  # an empty class has a row of its own here
        if name == "simulations":
            ours = ours.drop(columns="simulation_path")
            theirs = theirs.drop(columns="simulation_path")
        assert_same(ours, theirs, name)


@pytest.mark.parametrize("case", CASES)
def test_equal_tables(golden, case):
    run_campaign(one_campaign(golden / case / "config.yaml"))
    for expected in sorted((golden / case / "expected").iterdir()):
        if not expected.is_dir():
            continue
        results = Path("results/campaign/c") / expected.name
        assert_repo(results, expected)
        theirs = {path.name for path in (expected / "features").glob("*.parquet")}
        stacked = {path.name for path in (expected / "concatenated").glob("*.parquet")}
        ours = {path.name for path in (results / "features").glob("*.parquet")}
        assert {
            n for n in ours if not n.endswith((".params.parquet", ".aliases.parquet"))
        } == theirs | stacked
        for name in sorted(theirs - stacked):
            assert_same(
                pd.read_parquet(results / "features" / name),
                pd.read_parquet(expected / "features" / name),
                name,
            )
        for name in sorted(stacked):
            assert_same(
                pd.read_parquet(results / "features" / name),
                pd.read_parquet(expected / "concatenated" / name),
                f"stacked {name}",
            )
            stem = name.removesuffix(".parquet")
            for kind in ("params", "aliases"):
                there = json.loads((expected / "concatenated" / f"{stem}.{kind}.json").read_text())
                here = pd.read_parquet(results / "features" / f"{stem}.{kind}.parquet")
                here = here.drop(columns="params_id", errors="ignore")
                assert list(here.columns) == there["columns"]
                assert here.to_numpy().tolist() == there["data"]


def test_a_second_level_of_results_is_read_by_pandas_as_it_was_written(golden):
    run_campaign(one_campaign(golden / "dense_01" / "config.yaml"))
    frame = pd.read_parquet("results/campaign/c/spikes/features/by_gid.parquet")
    assert frame.index.names == [
        "simulation_id",
        "circuit_id",
        "neuron_class",
        "window",
        "gid",
        "neuron_class_index",
    ]
    assert list(frame.columns) == [
        "first_spike_time_means_cort_zeroed",
        "mean_spike_counts",
        "mean_firing_rates_per_second",
    ]


def test_grouping_without_the_circuit(golden):
    run_campaign(one_campaign(golden / "neg_groupby_without_circuit" / "config.yaml"))
    frame = pd.read_parquet("results/campaign/c/spikes/features/n_by_sim_class.parquet")
    assert frame.index.names == ["simulation_id", "neuron_class"]
    report = read_report(Path("results/campaign/c/spikes/repo/report"))
    counted = report.groupby(["simulation_id", "neuron_class"], observed=True).size()
    assert frame["n"].tolist() == counted.tolist()
    assert frame["n"].sum() > 0


def test_a_dot_in_a_parameter_reaches_into_nested_ones(golden):
    run_campaign(one_campaign(golden / "neg_var_params_dotted" / "config.yaml"))
    folder = Path("results/campaign/c/spikes/features")
    assert (folder / "by_neuron_class_0.parquet").is_file()
    assert pd.read_parquet(folder / "by_neuron_class.params.parquet")["a.b"].tolist() == [1, 2]
    aliases = pd.read_parquet(folder / "by_neuron_class.aliases.parquet")
    assert aliases.to_dict("records") == [{"column": "a.b", "alias": "b"}]
    assert pd.read_parquet(folder / "by_neuron_class.parquet")["b"].unique().tolist() == [1, 2]


@pytest.mark.parametrize("case", ["neg_sonata_12", "neg_var_bluecv"])
def test_no_spike_at_all_is_a_result(golden, case, tmp_path):
    # the extra node sets file lies beside the configuration
    shutil.copytree(
        golden, tmp_path / "golden", ignore=lambda folder, names: [n for n in names if n == "functional"]
    )
    run_campaign(one_campaign(tmp_path / "golden" / case / "config.yaml"))
    results = Path("results/campaign/c/spikes")
    assert len(read_report(results / "repo/report")) == 0
    classes = pd.read_parquet(results / "repo/neuron_classes.parquet")
    assert (classes["count"] > 0).any()
    by_class = pd.read_parquet(results / "features/by_neuron_class.parquet")
    assert len(by_class) > 0
    if case == "neg_sonata_12":
        assert (by_class["mean_of_mean_spike_counts"] == 0).all()


def test_independent_sampling_moves_no_other_class(golden, tmp_path):
    base = one_campaign(golden / "dense_limit10" / "config.yaml", sampling="independent")
    run_campaign(base)
    first = pd.read_parquet("results/campaign/c/spikes/repo/neurons.parquet")
    text = (golden / "dense_limit10" / "config.yaml").read_text()
    assert "Rt_INH:" in text
    more = text.replace("        Rt_EXC:\n", "        All: {}\n        Rt_EXC:\n").replace(
        "../_data", str(golden / "_data")
    )
    (tmp_path / "more.yaml").write_text(more)
    run_campaign(one_campaign(tmp_path / "more.yaml", sampling="independent"))
    second = pd.read_parquet("results/campaign/c/spikes/repo/neurons.parquet")
    others = second[second["neuron_class"] != "All"]
    assert first["gid"].tolist() == others["gid"].tolist()
    assert (second["neuron_class"] == "All").sum() == 10
