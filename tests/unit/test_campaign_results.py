"""Python access to a results folder of campaigns."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ephysflow.campaign.results import open_results
from ephysflow.errors import ConfigurationError, ResultError, SimulationError

LABEL = pa.dictionary(pa.int32(), pa.string())


def write(path, columns, index=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = ("neuron_class", "window")
    arrays = {name: pa.array(v).cast(LABEL) if name in labels else pa.array(v) for name, v in columns.items()}
    metadata = {} if index is None else {b"ephysflow.index": json.dumps(index).encode()}
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)


@pytest.fixture
def folder(tmp_path):
    """Twelve simulations of two circuits, one of them left out; in a folder that looks like a partition."""
    results = tmp_path / "a=b" / "results"
    base = results / "campaign" / "camp-1" / "spikes"
    ids = list(range(12))
    circuits = [i % 2 for i in ids]
    write(
        base / "repo/simulations.parquet",
        {"seed": [i // 2 for i in ids], "simulation_path": [f"p{i}" for i in ids], "simulation_id": ids, "circuit_id": circuits},
    )  # fmt: skip
    write(
        base / "repo/neurons.parquet",
        {"neuron_class": ["b", "a"], "gid": [1, 2], "circuit_id": [0, 1], "neuron_class_index": [0, 0]},
    )
    write(
        base / "repo/neuron_classes.parquet",
        {"circuit_id": [0, 1], "neuron_class": ["b", "a"], "count": [1, 1], "limit": [None, 5]},
    )
    zeros = {name: [0.0] * 12 for name in ("offset", "t_start", "t_stop", "t_step", "duration")}
    write(
        base / "repo/windows.parquet",
        {"simulation_id": ids, "circuit_id": circuits, "window": ["w"] * 12, "trial": [0] * 12, **zeros},
    )
    for i in ids:
        report = {
            "time": [float(i)],
            "gid": [1],
            "window": ["w" if i else "v"],
            "trial": [0],
            "neuron_class": ["b"],
        }
        write(base / f"repo/report/circuit_id={i % 2}/simulation_id={i}/key{i}.parquet", report)
    write(
        base / "repo/exclusions.parquet",
        {
            "stage": ["simulations", "report"],
            "simulation_id": pa.array([12, 3], pa.int32()),
            "simulation_path": ["p12", "p3"],
            "subject": ["simulation", "window w"],
            "reason": ["no spikes file", "ends after the run"],
            "kept": [False, True],
        },
    )
    features = base / "features"
    write(
        features / "rates_0.parquet",
        {"simulation_id": ids, "neuron_class": ["b"] * 12, "rate": [i / 2 for i in ids]},
        ["simulation_id", "neuron_class"],
    )
    write(features / "flat.parquet", {"neuron_class": ["a"], "rate": [1.0]}, [])
    write(
        features / "rates.parquet",
        {"simulation_id": ids, "rate": [1.0] * 12, "params_id": [0] * 12},
        ["simulation_id"],
    )
    write(features / "rates.params.parquet", {"params_id": [0, 1], "a": [1, 2]})
    write(features / "rates.aliases.parquet", {"column": ["a"], "alias": ["a"]})
    entries = {
        "rates_0": {"config": {"groupby": ["simulation_id", "neuron_class"], "params": {"a": 1}}},
        "flat": {"config": {"multi_index": False}},
        "rates": {"concatenated_from": ["rates_0"]},
    }
    (features / "entries.json").write_text(json.dumps(entries))
    in_memory = {"seed": {"le": 1}, "simulation_id": {"ne": 0}}
    settings = {"camp-1": {"spikes": {"custom": {"x": 1}, "simulations_filter_in_memory": in_memory}}}
    (results / ".ephysflow").mkdir()
    (results / ".ephysflow/campaigns.json").write_text(json.dumps(settings))
    return results


@pytest.fixture
def analysis(folder):
    return open_results(folder).campaign["camp-1"].spikes


def test_names_are_completed_and_shown(folder, analysis):
    results = open_results(str(folder))
    assert "campaign" in dir(results)
    assert "camp-1" in results.campaign
    assert results.campaign._ipython_key_completions_() == ["camp-1"]
    assert "spikes" in dir(results.campaign["camp-1"])
    assert analysis.features.names == ["rates_0", "flat", "rates"]
    assert {"rates_0", "names"} <= set(dir(analysis.features))
    assert "camp-1" in repr(results)
    assert "rates_0" in repr(analysis)
    assert ".params" in repr(analysis.features.rates)


def test_what_is_not_there_is_said_with_what_is(folder, analysis, tmp_path):
    with pytest.raises(ResultError, match="no such folder"):
        open_results(tmp_path / "none")
    with pytest.raises(ResultError, match=r"no results of simulation campaigns \(there is: a=b\)"):
        open_results(tmp_path).campaign  # noqa: B018
    with pytest.raises(ResultError, match="no 'camp'.*there are: camp-1"):
        open_results(folder).campaign.camp  # noqa: B018
    with pytest.raises(ResultError, match="no 'x'.*there are: rates_0, flat, rates"):
        analysis.features["x"]
    assert not hasattr(analysis.features, "x")
    with pytest.raises(ResultError, match="has no params"):
        analysis.features.rates_0.params  # noqa: B018


def test_extraction_tables(analysis):
    repo = analysis.repo
    report = repo.report.df
    assert list(report.columns) == [
        *("time", "gid", "window", "trial", "simulation_id", "circuit_id", "neuron_class")
    ]
    assert report["simulation_id"].tolist() == list(range(12))  # not 0, 1, 10, 11, 2
    assert report["window"].cat.categories.tolist() == ["v", "w"]
    assert report["neuron_class"].cat.categories.tolist() == ["a", "b"]
    assert list(repo.neurons.df.columns) == ["circuit_id", "neuron_class", "gid", "neuron_class_index"]
    assert repo.neurons.df["circuit_id"].dtype == "int32"
    assert repo.neuron_classes.df["limit"].tolist() == [None, 5]
    assert repo.missing_simulations().to_numpy().tolist() == [[12, "p12", "simulations", "no spikes file"]]
    with pytest.raises(SimulationError, match="bluepysnap"):
        repo.simulations.df["circuit"]


def test_part_of_a_report(analysis):
    read = analysis.repo.report.read
    assert read(3, columns=["gid", "time"]).to_numpy().tolist() == [[1, 3.0]]
    assert read([2, 10])["simulation_id"].tolist() == [2, 10]
    assert len(read(window="w")) == 11
    assert read(0, window="w").empty
    with pytest.raises(ResultError, match=r"simulation_id \[77\] is not there"):
        read(77)
    with pytest.raises(ResultError, match="has no column volume"):
        read(columns=["volume"])


def test_report_that_is_not_whole(analysis):
    path = next((analysis.folder / "repo/report").rglob("key3.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ResultError, match="cannot be read"):
        analysis.repo.report.read(3)
    path.unlink()
    with pytest.raises(ResultError, match="no report of simulation_id 3"):
        analysis.repo.report.df  # noqa: B018


def test_feature_tables(analysis):
    table = analysis.features.rates_0
    assert table.df.index.names == ["simulation_id", "neuron_class"]
    assert table.df.attrs["config"]["params"] == {"a": 1}
    assert table.read(["rate"], simulations=[3])["rate"].tolist() == [1.5]
    assert table.read(simulations={"seed": 5})["rate"].tolist() == [5.0, 5.5]
    assert analysis.features["flat"].df.index.equals(pd.RangeIndex(1))
    stacked = analysis.features.rates
    assert stacked.params.to_dict() == {"a": {0: 1, 1: 2}}
    assert stacked.aliases.to_numpy().tolist() == [["a", "a"]]
    assert stacked.config == {"concatenated_from": ["rates_0"]}
    with pytest.raises(ResultError, match=r"has no volume \(columns: simulation_id, neuron_class, rate\)"):
        table.read(["volume"])
    with pytest.raises(ResultError, match=r"simulation_id \[12\]"):
        table.read(simulations=12)


def test_conditions_on_request(analysis):
    table = analysis.features.rates_0.with_conditions()
    assert table["seed"].tolist() == [i // 2 for i in range(12)]
    assert table.index.names == ["simulation_id", "neuron_class"]
    assert table.attrs["config"]["params"] == {"a": 1}
    assert "seed" not in analysis.features.rates_0.df
    flat = analysis.with_conditions(table.drop(columns="seed").reset_index())
    assert flat["seed"].tolist() == table["seed"].tolist()
    with pytest.raises(ResultError, match="column called seed"):
        analysis.with_conditions(table)
    with pytest.raises(ResultError, match="has no simulation_id"):
        analysis.features.flat.with_conditions()


def test_filter(analysis):
    some = analysis.apply_filter()
    assert some.repo.simulations.df["simulation_id"].tolist() == [1, 2, 3]
    assert some.repo.report.df["simulation_id"].tolist() == [1, 2, 3]
    assert some.repo.windows.df["simulation_id"].tolist() == [1, 2, 3]
    assert some.features.rates_0.df.etl.labels_of("simulation_id").tolist() == [1, 2, 3]
    assert len(analysis.features.rates_0.df) == len(analysis.repo.report.df) == 12
    one = some.apply_filter({"simulation_id": 2})
    assert one.repo.neurons.df["neuron_class"].tolist() == ["b"]
    assert len(one.repo.neuron_classes.df) == 1
    assert one.features.rates.with_conditions()["seed"].tolist() == [1]
    assert "simulations 2" in repr(one)
    assert some.apply_filter({"seed": 5}).features.rates_0.df.empty
    with pytest.raises(ResultError, match="simulations_filter in the configuration"):
        some.features.flat.df  # noqa: B018
    with pytest.raises(ConfigurationError, match="'volume': unknown"):
        analysis.apply_filter({"volume": 1})


def test_damaged_settings_are_said(folder):
    (folder / ".ephysflow/campaigns.json").write_text("[1")
    with pytest.raises(ResultError, match="campaigns.json: cannot be read"):
        _ = open_results(folder).campaign["camp-1"].spikes.custom
    (folder / ".ephysflow/campaigns.json").unlink()
    assert open_results(folder).campaign["camp-1"].spikes.custom == {}


def test_nothing_is_read_before_it_is_asked_for(folder, analysis):
    for path in analysis.folder.rglob("*.parquet"):
        path.write_bytes(b"")
    again = open_results(folder).campaign["camp-1"].spikes
    assert again.features.names == ["rates_0", "flat", "rates"]
    assert again.repo.names[-1] == "report"
    with pytest.raises(ResultError, match="rates_0"):
        again.features.rates_0.df  # noqa: B018
    with pytest.raises(ResultError, match="neurons"):
        again.repo.neurons.df  # noqa: B018
