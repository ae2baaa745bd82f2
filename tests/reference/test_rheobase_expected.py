"""Rheobase, spike counts and features against the reference values of the golden cases."""

import csv
import json
from collections import defaultdict

import numpy as np
import pytest
from igor2 import binarywave

from ephysflow.efeatures.extraction import extract_features
from ephysflow.efeatures.rheobase import cell_rheobase, rheobase
from ephysflow.efeatures.targets import Target


def test_all_expected_cases(shared):
    cases = json.loads((shared / "golden/efeatures/rheobase_expected.json").read_text())["cases"]
    compared = 0
    for case, content in cases.items():
        for text, values in content["rheobase_nA"].items():
            strategy, _, settings = text.partition(" ")
            for cell, expected in values["expected"].items():
                amplitudes, counts = zip(*content["sorted_amp_nA_spikecount"][cell], strict=True)
                found = rheobase(strategy, json.loads(settings), amplitudes, counts)
                if expected is None:
                    assert found.value is None, (case, text, cell)
                    assert found.reason
                else:
                    assert found.value == pytest.approx(expected, rel=1e-9), (case, text, cell)
                compared += 1
    assert compared == 72


@pytest.fixture(scope="module")
def rows(shared):
    """Sweep rows of two cells: traces from the files, stimulus parameters as the reference run found them."""
    data, case = shared / "data/patchclamp/sscx", shared / "golden/efeatures/sscx2_all_ecodes_onoff"
    found, golden = defaultdict(list), {}
    with open(case / "recordings.csv") as file:
        for record in csv.DictReader(file):
            current, voltage = (
                binarywave.load(str(data / name))["wave"]["wData"] for name in record["file"].split(";")
            )
            numbers = ("ton", "toff", "amp", "amp2", "delta", "auto_threshold", "dt", "spike_duration")
            row = {name: float(record[name]) if record[name] not in ("", "nan") else None for name in numbers}
            row |= {
                "cell": record["cell"],
                "response_start": row["ton"],
                "response_end": row["toff"],
                "protocol": record["protocol"],
                "sweep": int(record["index"]),
                "matched_by": {"SAHP": "amp2", "SpikeRec": "delta"}.get(record["ecode"], "amp"),
                "voltage": np.asarray(voltage, np.float32) * np.float32(1e3) - np.float32(14),
                "current": np.asarray(current, np.float32) * np.float32(1e9),
            }
            found[record["cell"]].append(row)
            golden[record["cell"], row["sweep"]] = record
    return found, golden, json.loads((case / "config.json").read_text())


def test_spike_counts_and_rheobase_of_cells(shared, rows):
    expected = json.loads((shared / "golden/efeatures/rheobase_expected.json").read_text())["cases"][
        "sscx2_majority"
    ]
    found, golden, config = rows
    for cell, of_cell in found.items():
        result = cell_rheobase(
            cell, of_cell, "absolute", {}, ["IDrest", "IDthresh"], config["options"]["efel_settings"]
        )
        assert result["rheobase"] == pytest.approx(
            expected["rheobase_nA"]["absolute {}"]["expected"][cell], rel=1e-6
        )
        counts = sorted((sweep["amp"], sweep["spikecount"]) for sweep in result["sweeps"])
        assert np.array(counts) == pytest.approx(
            np.array(expected["sorted_amp_nA_spikecount"][cell]), rel=1e-6
        )
        for sweep in result["sweeps"]:
            # an empty count is the reference's "no spike" (defect 1)
            assert sweep["spikecount"] == int(golden[cell, sweep["sweep"]]["spikecount"] or 0)


def test_features_of_sweeps(rows):
    found, golden, config = rows
    # the reference never hands the pulses over to eFEL, and so has no value at all
    targets = [
        Target(**target)
        for target in config["targets"]
        if target["efeature"] != "multiple_decay_time_constant_after_stim"
    ]
    compared = 0
    for cell, of_cell in found.items():
        for protocol in sorted({row["protocol"] for row in of_cell}):
            values = extract_features(
                [row for row in of_cell if row["protocol"] == protocol],
                None,
                [target for target in targets if target.protocol == protocol],
                config["options"]["efel_settings"],
                absolute_amplitude=True,
                all_sweeps=True,
            )
            for value in values:
                expected = golden[cell, value["sweep"]][value["efeature"]]
                assert value["value"] == pytest.approx(float(expected), rel=1e-6, abs=1e-9, nan_ok=True), (
                    value
                )
                assert value["error"] is None
                compared += 1
    assert compared > 2000
