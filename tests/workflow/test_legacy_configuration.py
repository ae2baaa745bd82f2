"""A published BluePyEfe-1 configuration runs unchanged, from a configuration of two lines."""

import json

import pytest

from ephysflow.io.tables import read_rows

from .folders import Folder


@pytest.fixture(scope="session")
def legacy_run(made_once, shared) -> Folder:
    published = shared / "data/patchclamp/sscx/legacy_config.json"

    def run(path):
        folder = Folder.checkout(path)
        (path / "mine.yaml").write_text(f"plots: false\nlegacy_config: {published}\n")
        done = folder.snakemake("-c2", "--configfile", "mine.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    return Folder(made_once("legacy_run", run))


def test_all_cells_and_sweeps_of_the_publication_and_nothing_else(legacy_run, shared):
    published = json.loads((shared / "data/patchclamp/sscx/legacy_config.json").read_text())
    results = legacy_run.path / "results"
    assert not (legacy_run.path / "example_data").exists()
    for cell, content in published["cells"].items():
        counts: dict[str, int] = {}
        for row in read_rows(
            results / f"recordings/{cell}.parquet", ["protocol", "ton", "toff", "timing_source"]
        ):
            counts[row["protocol"]] = counts.get(row["protocol"], 0) + 1
            assert row["timing_source"] == "given"
            assert [row["ton"], row["toff"]] == pytest.approx(published["options"]["onoff"][row["protocol"]])
        assert counts == {
            name: len(experiment["files"]) for name, experiment in content["experiments"].items()
        }
    assert read_rows(results / "recordings/exclusions.parquet") == []


def test_rheobase_is_that_of_the_reference(legacy_run):
    """As BluePyEfe gives it for these two cells with the published times (golden case sscx2_majority)."""
    found = {
        row["cell"]: row["rheobase"]
        for row in read_rows(legacy_run.path / "results/efeatures/rheobase.parquet")
    }
    assert len(found) == 4
    assert found["C060109A1-SR-C1"] == pytest.approx(0.1790625, abs=2e-4)
    assert found["C060114A5-SR-C1"] == pytest.approx(0.2441, abs=2e-4)


def test_features_are_there_for_model_fitting(legacy_run):
    folder = legacy_run.path / "results/efeatures"
    features, protocols, currents = (
        json.loads((folder / f"{name}.json").read_text(), parse_constant=pytest.fail)
        for name in ("features", "protocols", "currents")
    )
    assert set(features) == set(protocols)
    assert sum(len(of_site) for of_stimulus in features.values() for of_site in of_stimulus.values()) > 900
    assert set(currents["all_threshold_current"]) == set(currents["all_holding_current"])


def test_a_second_plan_is_empty_and_the_results_are_whole(legacy_run):
    planned = legacy_run.snakemake("-n", "--configfile", "mine.yaml")
    assert "Nothing to be done" in planned.stdout + planned.stderr
    verified = legacy_run.ephysflow("verify", "results")
    assert verified.returncode == 0, verified.stdout
