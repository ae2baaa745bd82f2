"""`ephysflow verify`, `show` and `validate` on campaigns: every file is looked for, and each kind of doubt is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.campaigns import run_campaign
from tests.workflow.small_campaign import (
    FIRING_RATES,
    spikes,
    write_campaign_file,
    write_small_campaign,
    write_spikes,
)

from ephysflow.cli import main
from ephysflow.codehash import CodeHasher
from ephysflow.configuration import load
from ephysflow.planning import make_plan
from ephysflow.verification import left_over, verify_results

BASE = Path("results/campaign/c/a")
PRODUCT = {**FIRING_RATES, "params_product": {"export_all_neurons": [True, False]}}


def run():
    return run_campaign(yaml.safe_load(Path("config.yaml").read_text()), [Path("config.yaml")])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Four simulations: the second has no spikes file, the file of the last is damaged."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_small_campaign(folder, 4, features=[PRODUCT], custom={"of": "the file", "both": 1})
        Path("sim1/output/spikes.h5").unlink()
        Path("sim3/output/spikes.h5").write_bytes(b"not HDF5")
        run()
    return folder


@pytest.fixture
def own(finished, tmp_path, monkeypatch):
    """Go to a copy of the finished campaign."""
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


def verified(prune=False):
    """Return file -> what is wrong with it, by the configuration as it is now."""
    hasher = CodeHasher(Path(".snakemake/ephysflow/code.json"))
    config = yaml.safe_load(Path("config.yaml").read_text())
    plan = make_plan(load(config, [Path("config.yaml")]), hasher)
    found = {str(finding.path): finding.status for finding in verify_results(plan)}
    return found | ({str(path): "left over" for path in left_over(plan)} if prune else {})


def keys():
    """Return the simulations' keys by the seed in the campaign file."""
    return {
        int(path.parent.name.partition("=")[2]): path.stem for path in BASE.glob("repo/report/*/*/*.parquet")
    }


def damage(path):
    content = bytearray(path.read_bytes())
    start = 300 if path.suffix == ".zip" else 40  # in the pages of the first column
    content[start : start + 4] = bytes(byte ^ 255 for byte in content[start : start + 4])
    path.write_bytes(content)


def test_whole_results_have_no_findings_and_nothing_is_left_over(own, capsys):
    for folder in (BASE / "repo", BASE / "features", *BASE.glob("extracted/*")):
        (folder / ".snakemake_timestamp").touch()
    assert verified(prune=True) == {}
    assert main(["verify", "results", "--prune"]) == 0
    printed = capsys.readouterr().out
    made = [
        path
        for path in Path("results").rglob("*")
        if path.is_file() and ".ephysflow" not in path.parts and not path.name.startswith(".")
    ]
    assert f"{len(made)} of {len(made)} files are whole" in printed


@pytest.mark.parametrize(
    ("patterns", "kind"),
    [
        (
            (
                "circuits/*.neurons.parquet",
                "extracted/*/*.windows.parquet",
                "computed/*/*.zip",
                "repo/windows.parquet",
                "repo/report/*/*/*.parquet",
                "features/by_gid_1.parquet",
                "features/by_gid.aliases.parquet",
                "exclusions.parquet",
            ),
            "missing",
        ),
        (("extracted/*/findings.parquet", "features/entries.json"), "missing"),
        (
            (
                "circuits/*.neurons.parquet",
                "extracted/*/*.report.parquet",
                "computed/*/*.zip",
                "repo/neurons.parquet",
                "features/by_gid_1.parquet",
            ),
            "damaged",
        ),
    ],
)
def test_each_missing_or_damaged_file_is_named(own, patterns, kind):
    paths = [sorted(BASE.glob(pattern))[0] for pattern in patterns]
    for path in paths:
        if kind == "damaged":
            damage(path)
        else:
            path.unlink()
    found = verified(prune=True)
    assert {found.pop(str(path), None) for path in paths} == {kind}
    assert set(found.values()) <= {"stale"}  # what was made of them


def test_damaged_list_of_feature_tables(own, capsys):
    (BASE / "features/entries.json").write_text('{"by_gid_0": {')
    assert verified(prune=True) == {str(BASE / "features/entries.json"): "damaged"}
    assert main(["verify", "results"]) == 1
    assert "damaged  results/campaign/c/a/features/entries.json: cannot be read" in capsys.readouterr().out
    assert main(["show"]) == 1
    assert "features/entries.json: cannot be read" in capsys.readouterr().err


def test_names_of_tables_do_not_lead_elsewhere(own, capsys):
    (BASE / "features/entries.json").write_text('{"../../secret": {}}')
    assert verified(prune=True) == {str(BASE / "features/entries.json"): "damaged"}
    assert main(["show"]) == 1
    assert "'../../secret' is not the name of a table" in capsys.readouterr().err


def test_replaced_spikes_make_one_extraction_stale(own, capsys):
    gid, time = spikes()
    write_spikes(own / "sim2/output/spikes.h5", gid, time + 0.25)
    key = keys()[2]
    found = verified()
    assert {name for name, kind in found.items() if kind == "stale"} == {
        str(BASE / "extracted" / key / name)
        for name in (
            *(f"{key}.{table}.parquet" for table in ("report", "counts", "windows")),
            "findings.parquet",
        )
    } | {str(BASE / f"repo/report/circuit_id=0/simulation_id=2/{key}.parquet")}


def test_repaired_simulation_is_asked_for(own, capsys):
    write_spikes(own / "sim1/output/spikes.h5", *spikes())
    found = verified()
    assert "missing" in found.values()
    assert found[str(BASE / "repo/simulations.parquet")] == "stale"


def test_other_settings_make_files_stale(own, capsys):
    content = yaml.safe_load(Path("analysis.yaml").read_text())
    content["analysis"]["a"]["extraction"]["windows"]["late"]["bounds"] = [60, 100]
    Path("analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    found = verified()
    key = keys()[0]
    assert found[str(BASE / "extracted" / key / f"{key}.windows.parquet")] == "stale"
    assert not any("circuits" in name for name in found)


def test_what_was_removed_from_the_configuration_is_left_over(own, capsys):
    content = yaml.safe_load(Path("analysis.yaml").read_text())
    content["analysis"]["a"]["features"][0]["params_product"]["export_all_neurons"] = [True]
    Path("analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rows = [{"seed": 0, "simulation_path": "sim0"}]
    removed = keys()[2]
    write_campaign_file(Path("campaign.json"), rows)
    before = {str(path.relative_to(BASE)) for path in BASE.glob("computed/*/*.zip")}
    run()
    found = verified(prune=True)
    assert set(found.values()) == {"left over"}
    left = {str(Path(name).relative_to(BASE)) for name in found}
    assert f"extracted/{removed}/{removed}.report.parquet" in left
    assert f"extracted/{removed}/findings.parquet" in left
    assert not any(name.startswith(("repo", "features", "circuits")) for name in left)
    computed = {name for name in left if name.startswith("computed")}
    assert computed < before
    assert len(before - computed) == 1  # of 2 combinations x 3 simulations that were planned


def test_show(own, capsys):
    assert main(["show"]) == 0
    printed = capsys.readouterr().out
    assert "2 used, 2 left out" in printed
    assert "sim1/simulation_config.json: incomplete: " in printed
    assert "exc 6, inh 4" in printed
    assert "150 rows, spikes" in printed  # (6 + 4 neurons) x (5 + 2.5 spikes in the windows) x 2 simulations
    assert "10 tables" in printed
    assert printed.count("2 combinations") == 5
    assert "open_results('results').campaign.c.a" in printed
    assert "Recordings" not in printed
    shutil.rmtree(BASE / "features")
    (BASE / "exclusions.parquet").unlink()
    assert main(["show"]) == 0
    assert "features:    not there yet" in capsys.readouterr().out
    shutil.rmtree(BASE)
    assert main(["show"]) == 0
    assert "is not there yet" in capsys.readouterr().out


def test_show_reads_no_report(own, monkeypatch, capsys):
    import pyarrow.parquet as pq

    read: list[str] = []
    original = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda self, **k: read.append(1) or original(self, **k))
    assert main(["show"]) == 0
    assert len(read) == 2  # exclusions and counts of classes


def test_validate(own, capsys):
    assert main(["validate", "config.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "3 complete, 1 incomplete; circuits: 1" in printed
    assert "sim1/simulation_config.json: incomplete: " in printed
    assert "neuron classes: exc, inh" in printed
    assert "windows: whole, late" in printed
    assert "firing_rates by simulation_id, circuit_id, neuron_class, window: 2 combinations" in printed
    assert "3 of extraction, 6 of features (2 different computations)" in printed
    assert "cells:" not in printed


def test_validate_counts_missing_and_excluded(own, capsys):
    rows = [{"seed": i, "simulation_path": path} for i, path in enumerate(("sim0", "", "nowhere", "sim1"))]
    write_campaign_file(Path("campaign.json"), rows)
    assert main(["validate", "config.yaml"]) == 0
    assert "1 complete, 1 excluded, 1 missing, 1 incomplete" in capsys.readouterr().out


def test_public_names_and_what_is_for_python_only(own):
    import ephysflow
    from ephysflow.campaign.observations import FeatureRows, Observations

    assert {"open_results", "FeatureRows", "Observations", "read_recordings"} <= set(dir(ephysflow))
    assert ephysflow.FeatureRows is FeatureRows
    assert ephysflow.Observations is Observations
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ephysflow.nonsense  # noqa: B018
    analysis = ephysflow.open_results().campaign.c.a
    assert analysis.custom == {"of": "the file", "both": 1}
    assert analysis.simulations_filter_in_memory == {}


def test_custom_of_the_analysis_counts_more_and_the_filter_is_the_default(own):
    import ephysflow

    content = yaml.safe_load(Path("analysis.yaml").read_text())
    content["analysis"]["a"]["custom"] = {"both": 2, "mine": [1]}
    content["simulations_filter_in_memory"] = {"seed": 2}
    Path("analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run()
    analysis = ephysflow.open_results("results").campaign.c.a
    assert analysis.custom == {"of": "the file", "both": 2, "mine": [1]}
    assert analysis.apply_filter().repo.report.df["simulation_id"].unique().tolist() == [2]
    assert analysis.repo.report.df["simulation_id"].unique().tolist() == [0, 2]
    table = analysis.apply_filter().features.by_gid_0
    assert np.unique(table.df.index.get_level_values("simulation_id")).tolist() == [2]
    entries = json.loads((BASE / "features/entries.json").read_text())
    assert table.config == entries["by_gid_0"]["config"]
