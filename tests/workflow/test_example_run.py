"""The embedded example, from nothing to features: what comes out is what was put in, and stays so."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ephysflow.codehash import CodeHasher
from ephysflow.configuration import load
from ephysflow.example import true_stimuli
from ephysflow.example.protocols import CELLS, LIQUID_JUNCTION_POTENTIAL
from ephysflow.io.tables import read_rows
from ephysflow.io.yaml_files import read_yaml
from ephysflow.planning import make_plan
from ephysflow.recordings.table import read_sweeps, sweep_parameters
from ephysflow.verification import expected_files

from .folders import Folder

RESULTS = Path("results")


def strict_json(path: Path) -> Any:
    """Read JSON and refuse NaN and infinity, which Python would take."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{path} holds {text}")

    return json.loads(path.read_text(), parse_constant=refuse)


# ---------------------------------------------------------------- whole and up to date


def test_every_file_of_the_plan_is_there(example):
    config = Path("config/config.yaml")
    plan = make_plan(load(read_yaml(config), [config]), CodeHasher())
    outputs = expected_files(plan)
    assert len(outputs) > 40
    assert [str(path) for path in outputs if not path.is_file() or not path.stat().st_size] == []


def test_results_are_whole_and_nothing_is_left_to_do(finished_example):
    verified = finished_example.ephysflow("verify", "results", "--prune")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (line,) = verified.stdout.splitlines()
    count, _, total, *rest = line.split()
    assert count == total
    assert " ".join(rest) == "files are whole and up to date"
    planned = finished_example.snakemake("-n")
    assert planned.returncode == 0
    assert "Nothing to be done" in planned.stdout + planned.stderr


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm"])
def test_the_slurm_profile_is_found_as_typed(finished_example, profile):
    planned = finished_example.snakemake("--profile", profile, "-n")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert f"Using profiles {profile} and workflow specific profile" in planned.stderr
    assert "Nothing to be done" in planned.stdout + planned.stderr


def test_snakemake_finds_nothing_to_criticise(finished_example):
    linted = finished_example.snakemake("--lint")
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_report_shows_figures_and_tables(finished_example):
    reported = finished_example.snakemake("--report", "results/report.html")
    assert reported.returncode == 0, reported.stdout + reported.stderr
    report = (finished_example.path / "results/report.html").read_text()
    for name in ("summary.png", "fi_curves.pdf", "exclusions.csv", "rheobase.csv", "targets.csv"):
        assert name in report


# ---------------------------------------------------------------- what came out


def test_detected_stimuli_are_the_true_ones(example):
    rows = {
        (row["cell"], row["protocol"], row["sweep"]): row
        for row in sweep_parameters(sorted(RESULTS.glob("recordings/pyr*.parquet"))).to_pylist()
    }
    truth = true_stimuli()
    assert len(rows) == len(truth)
    for stimulus in truth:
        row = rows[stimulus.cell, stimulus.protocol, stimulus.sweep]
        where = f"{stimulus.cell} {stimulus.protocol} {stimulus.sweep}"
        # a ramp hides its beginning in the noise: 1 pA is reached after some ms
        exactness = 3.0 if row["ecode"] == "Ramp" else 1.01 * row["dt"]
        for key in ("ton", "tmid", "tmid2", "toff"):
            if (time := getattr(stimulus, key)) is not None:
                assert row[key] == pytest.approx(time, abs=exactness), (where, key)
        for key in ("amp", "amp2", "hypamp"):
            if (level := getattr(stimulus, key)) is not None:
                assert row[key] == pytest.approx(level, abs=max(0.001, 0.01 * abs(level))), (where, key)
        if stimulus.tspike:
            assert row["tspike"] == pytest.approx(stimulus.tspike, abs=1.01 * row["dt"]), where
            assert row["spike_duration"] == pytest.approx(stimulus.spike_duration, abs=1.01 * row["dt"])
        assert row["tend"] == pytest.approx(stimulus.tend)
        assert row["ljp"] == LIQUID_JUNCTION_POTENTIAL
        assert row["timing_source"] in ("detected", "inherited")


def test_rheobase_is_the_experimenters(example):
    found = {row["cell"]: row["rheobase"] for row in read_rows(RESULTS / "efeatures/rheobase.parquet")}
    assert found == {cell.name: pytest.approx(cell.rheobase, abs=1e-4) for cell in CELLS}


def test_the_unusable_sweep_and_nothing_else_is_excluded(example):
    (row,) = read_rows(RESULTS / "recordings/exclusions.parquet")
    assert (row["cell"], row["protocol"], row["stage"]) == ("pyr3", "IDrest", "recordings")
    assert "IDrest_ch1_119.ibw" in row["file"]
    assert row["reason"] == "voltage has 4666 samples and current 7000"
    with open(RESULTS / "summary/exclusions.csv", newline="") as stream:
        assert list(csv.DictReader(stream)) == [row]


def test_a_spontaneous_spike_before_the_stimulus_is_not_an_evoked_one(example):
    sweep = next(
        row for row in read_sweeps(RESULTS / "recordings/pyr2.parquet", ["IDrest"]) if row["sweep"] == 1
    )
    first = np.flatnonzero(sweep["voltage"] > 0)[0] * sweep["dt"]
    assert first == pytest.approx(82, abs=4)
    assert first < sweep["ton"]
    (cell,) = [row for row in read_rows(RESULTS / "efeatures/rheobase.parquet") if row["cell"] == "pyr2"]
    (counted,) = [s for s in cell["sweeps"] if (s["protocol"], s["sweep"]) == ("IDrest", 1)]
    assert counted["spikecount"] == 0


# ---------------------------------------------------------------- for model fitting


@pytest.mark.parametrize("folder", ["", *(f"per_cell/{cell.name}" for cell in CELLS)])
def test_files_for_model_fitting_have_their_layout(example, folder):
    here = RESULTS / "efeatures" / folder
    features, protocols, currents = (
        strict_json(here / f"{name}.json") for name in ("features", "protocols", "currents")
    )
    assert {"IDrest_150", "IDrest_200", "IDrest_300", "IV_-40", "IV_-100"} <= set(features)
    assert set(protocols) == set(features)
    for locations in features.values():
        for feature in locations["soma"]:
            assert set(feature) == {"feature", "val", "n", "efel_settings", "efeature_name"}
            mean, std = feature["val"]
            assert math.isfinite(mean)
            assert std > 0
            assert feature["n"] >= 1
    for protocol in protocols.values():
        assert set(protocol) == {"holding", "step"}
        assert set(protocol["holding"]) == {"delay", "amp", "duration", "totduration"}
        assert {"delay", "amp", "thresh_perc", "totduration"} <= set(protocol["step"])
    keys = ("holding_current", "threshold_current", "all_holding_current", "all_threshold_current")
    assert set(currents) == set(keys)
    assert set(currents["all_threshold_current"]) == (
        {folder[9:]} if folder else {cell.name for cell in CELLS}
    )


def test_every_mean_can_be_computed_again_from_the_sweeps(example):
    features = strict_json(RESULTS / "efeatures/features.json")
    sweeps = read_rows(RESULTS / "efeatures/sweeps.parquet")
    written = {
        (stimulus, feature["efeature_name"]): feature
        for stimulus, locations in features.items()
        for feature in locations["soma"]
    }
    for target in yaml.safe_load(Path("config/targets.yaml").read_text()):
        stimulus = f"{target['protocol']}_{target['amplitude']}".replace("SpikeRec", "SpikeRecMultiSpikes")
        compared = "amp" if target["protocol"] == "SpikeRec" else "amp_rel"
        values = [
            row["value"]
            for row in sweeps
            if (row["protocol"], row["efeature"]) == (target["protocol"], target["efeature"])
            and abs(row[compared] - target["amplitude"]) < target["tolerance"]
            and math.isfinite(row["value"])
        ]
        if values:
            found = written.pop((stimulus, target["efeature"]))
            assert found["n"] == len(values)
            assert found["val"] == pytest.approx([np.mean(values), np.std(values) or 0.001])
            settings = {row["settings"] for row in sweeps if row["efeature"] == target["efeature"]}
            assert [json.loads(text) for text in settings] == [found["efel_settings"]]
    assert written == {}


def test_every_target_of_the_example_has_a_value_of_every_cell(example):
    with open(RESULTS / "summary/targets.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(yaml.safe_load(Path("config/targets.yaml").read_text()))
    poor = [row for row in rows if int(row["n"]) < len(CELLS) or row["kept"] != "True"]
    assert [(row["protocol"], row["amplitude"], row["efeature_name"], row["n"]) for row in poor] == []


# ---------------------------------------------------------------- damage


def verify(folder: Folder, *arguments: str) -> tuple[int, dict[str, str]]:
    """Return the exit status and path -> status of what is wrong."""
    done = folder.ephysflow("verify", "results", *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if " results/" in line]
    found = {}
    for line in lines:
        status, _, rest = line.partition("results/")
        found["results/" + rest.partition(":")[0]] = status.strip()
    return done.returncode, found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """Change one bit in the middle, which is in the traces of a sweep table."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path) -> None:
    text = path.read_text()
    assert "0" in text
    path.write_text(text.replace("0", "1", 1))


DAMAGES = [
    (cut, "recordings/pyr1.parquet", "damaged"),
    (flip, "recordings/pyr2.parquet", "damaged"),
    (cut, "efeatures/sweeps.parquet", "damaged"),
    (Path.unlink, "efeatures/currents.json", "missing"),
    (Path.unlink, "plots/summary.png", "missing"),
    (edit, "efeatures/features.json", "damaged"),
    (edit, "efeatures/per_cell/pyr4/protocols.json", "damaged"),
    (cut, "efeatures/per_cell/pyr3/provenance.json", "damaged"),
    (lambda path: path.write_bytes(b""), "plots/recordings/pyr1.pdf", "damaged"),
]


def test_verify_names_each_damaged_file(own_example):
    for damage, name, _ in DAMAGES:
        damage(own_example.path / "results" / name)
    status, found = verify(own_example)
    assert status == 1
    for _, name, expected in DAMAGES:
        assert found.pop(f"results/{name}") == expected, name
    # what was made from a damaged or missing file is out of date
    assert found.pop("results/efeatures/rheobase/pyr1.parquet") == "stale"
    assert "results/efeatures/rheobase/pyr3.parquet" not in found
    assert set(found.values()) == {"stale", "damaged"}
    assert {name for name, what in found.items() if what == "damaged"} == {
        f"results/efeatures/per_cell/pyr3/{name}.json" for name in ("features", "protocols", "currents")
    }  # whose record of provenance cannot be read


def test_verify_notices_a_changed_recording(own_example):
    flip(own_example.path / "example_data/pyr4/IV.parquet")
    status, found = verify(own_example)
    assert status == 1
    assert found == {
        "results/recordings/pyr4.parquet": "stale",
        "results/recordings/exclusions/pyr4.parquet": "stale",
    }


def test_verify_notices_a_changed_configuration(own_example):
    targets = own_example.path / "config/targets.yaml"
    targets.write_text(
        targets.read_text().replace("protocol: sAHP, amplitude: 250", "protocol: sAHP, amplitude: 240")
    )
    status, found = verify(own_example)
    assert status == 1
    assert {name for name in found if "/extraction/" in name} == {
        f"results/efeatures/extraction/sAHP/{cell.name}.parquet" for cell in CELLS
    }
    assert set(found.values()) == {"stale"}
    config = own_example.path / "config/config.yaml"
    config.write_text(config.read_text().replace("strategy: absolute", "strategy: flush"))
    status, with_config = verify(own_example, "--config", "config/config.yaml")
    assert status == 1
    assert {f"results/efeatures/rheobase/{cell.name}.parquet" for cell in CELLS} <= set(with_config)
    assert not any(name.startswith("results/recordings/pyr") for name in with_config)


def test_verify_lists_what_no_configuration_makes_any_more(own_example):
    (own_example.path / "results/efeatures/notes.txt").write_text("mine")
    sheet = own_example.path / "config/recordings.tsv"
    kept = [line for line in sheet.read_text().splitlines() if not line.startswith("pyr4")]
    sheet.write_text("\n".join(kept) + "\n")
    _, found = verify(own_example, "--prune")
    left = {name for name, status in found.items() if status == "left over"}
    assert "results/efeatures/notes.txt" in left
    assert "results/recordings/pyr4.parquet" in left
    assert "results/efeatures/per_cell/pyr4/features.json" in left
    assert "results/plots/recordings/pyr4.pdf" in left
    assert not any("pyr1" in name or "report" in name for name in left)
