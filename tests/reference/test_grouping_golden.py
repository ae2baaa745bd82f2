"""Grouping and export against BluePyEfe 2.3.63.

The sweeps and feature values of each reference case (its recordings.csv) are grouped by the case's own targets; the
targets table and the three files must be those of the case. Where BluePyEfe is wrong, the right value stands here
with the number of the defect.
"""

import ast
import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from golden import CASES

from ephysflow.efeatures.auto_targets import DEFAULT_AUTO_TARGETS, choose
from ephysflow.efeatures.export import currents_json, exported_name, features_json, json_text, protocols_json
from ephysflow.efeatures.grouping import (
    GroupedFeatures,
    amplitudes_by_protocol,
    group_each_cell,
    group_features,
)
from ephysflow.efeatures.targets import Target, parse_targets
from ephysflow.recordings.stimuli import STIMULI

csv.field_size_limit(sys.maxsize)

DEFAULT_SETTINGS = {"strict_stiminterval": True, "Threshold": -20.0, "interp_step": 0.025}
TEXT_COLUMNS = ("cell", "protocol", "ecode", "file", "id", "repetition")


class Case:
    """One reference case as grouping takes it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        with open(folder / "recordings.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        with open(folder / "rheobase.csv", newline="") as stream:
            self.rheobase = {
                row["cell"]: float(row["rheobase_nA"]) if row["rheobase_nA"] else None
                for row in csv.DictReader(stream)
            }
        self.sweeps = pd.DataFrame([self._sweep(row) for row in rows])
        self.options = dict(self.config["options"])
        self.settings = self.options.get("efel_settings", DEFAULT_SETTINGS)
        self.targets = self._targets()
        self.features = self._features(rows)

    @staticmethod
    def _sweep(row: dict[str, str]) -> dict[str, Any]:
        sweep: dict[str, Any] = {
            key: (text if key in TEXT_COLUMNS else float(text)) if text else None
            for key, text in row.items()
            if key not in ("tspike", "waveform")
        }
        sweep |= {
            "sweep": int(row["index"]),
            "files": row["file"].split(";"),
            "tspike": None,
            "waveform": None,
        }
        if row.get("tspike"):
            sweep["tspike"] = ast.literal_eval(row["tspike"])
            sweep["n_spikes"] = len(sweep["tspike"])
        if row.get("waveform"):
            # the table holds length and sum only; any list of this length shows where it goes
            sweep["waveform"] = [0.5] * int(row["waveform"].split()[0].removeprefix("len="))
        return sweep | {"matched_by": STIMULI[row["ecode"]].matched_by}

    def _targets(self) -> tuple[Target, ...]:
        if self.config["targets"] is not None:
            return parse_targets(self.config["targets"])
        return choose(DEFAULT_AUTO_TARGETS, amplitudes_by_protocol(self.sweeps, self.rheobase))

    def _features(self, rows: list[dict[str, str]]) -> pd.DataFrame:
        """Values of every sweep; BluePyEfe's column is named by the feature alone (defect 4)."""
        wanted = {
            (t.protocol, t.efeature, t.settings_text(self.settings), t.efeature_name) for t in self.targets
        }
        automatic = "Threshold" not in self.settings
        return pd.DataFrame(
            [
                {
                    "cell": row["cell"],
                    "protocol": protocol,
                    "sweep": int(row["index"]),
                    "efeature": efeature,
                    "settings": settings,
                    "value": float(row.get(name) or "nan"),
                    "auto_threshold_used": float(row["auto_threshold"])
                    if automatic and "Threshold" not in json.loads(settings)
                    else None,
                }
                for protocol, efeature, settings, name in sorted(wanted)
                for row in rows
                if row["protocol"] == protocol
            ],
            columns=["cell", "protocol", "sweep", "efeature", "settings", "value", "auto_threshold_used"],
        )

    @property
    def grouping_options(self) -> dict[str, Any]:
        names = ("absolute_amplitude", "protocol_mode", "threshold_nvalue_save", "default_std_value")
        return {"efel_settings": self.settings} | {n: self.options[n] for n in names if n in self.options}

    def group(self) -> GroupedFeatures:
        return group_features(
            self.sweeps, self.features, self.rheobase, self.targets, **self.grouping_options
        )

    def expected(self, name: str, folder: Path | None = None) -> Any:
        return json.loads(((folder or self.folder) / f"{name}.json").read_text())

    def renamed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Reference content under the name that we give to SpikeRec."""
        ecode = dict(zip(self.sweeps["protocol"], self.sweeps["ecode"], strict=True))
        return {exported_name(key, ecode[key.rpartition("_")[0]]): value for key, value in content.items()}


@pytest.fixture(scope="module", params=CASES)
def case(request, shared) -> Case:
    return Case(shared / "golden" / "efeatures" / request.param)


def same(found: Any, expected: Any, where: str = "") -> None:
    """Compare JSON values: numbers to 1e-9 relative, everything else exactly."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key in expected:
            same(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, pair in enumerate(zip(found, expected, strict=True)):
            same(*pair, f"{where}/{index}")
    elif isinstance(expected, float) and not isinstance(found, bool):
        # BluePyEfe takes the median of its automatic thresholds in float32
        rel = 1e-7 if where.endswith("/Threshold") else 1e-9
        assert found == pytest.approx(expected, rel=rel, abs=1e-15), where
    else:
        assert found == expected, where


def without_repetition(features: dict[str, Any]) -> dict[str, Any]:
    """BluePyEfe writes a target that is listed twice two times."""
    return {
        key: {
            place: [e for i, e in enumerate(entries) if e not in entries[:i]]
            for place, entries in places.items()
        }
        for key, places in features.items()
    }


def test_features(case) -> None:
    same(features_json(case.group()), case.renamed(without_repetition(case.expected("features"))))


def test_protocols(case) -> None:
    found, expected = protocols_json(case.group()), case.renamed(case.expected("protocols"))
    for key, entry in expected.items():
        if "waveform" in entry["step"]:
            assert len(found[key]["step"].pop("waveform")) == len(entry["step"].pop("waveform"))
    same(found, expected)


def test_currents(case) -> None:
    expected = case.expected("currents")
    for name in ("holding_current", "threshold_current"):
        # defect 22: what no cell has is NaN there, and absent here
        if math.isnan(expected[name][0]):
            del expected[name]
    found = currents_json(case.sweeps, case.rheobase, case.options.get("default_std_value", 1e-3))
    same(found, expected)
    json_text(found)


def test_targets_table(case) -> None:
    table = case.group().targets
    table = table[table["kept"]].reset_index(drop=True)
    with open(case.folder / "targets.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected: dict[tuple, dict[str, str]] = {}
    for row in rows:
        if int(row["n"]) >= case.options.get("threshold_nvalue_save", 1):
            identity = (row["protocol"], float(row["amplitude"]), row["efeature_name"])
            expected[identity] = row
    found = {(r["protocol"], r["amplitude"], r["efeature_name"]): r for r in table.to_dict("records")}
    assert set(found) == set(expected)
    for identity, row in expected.items():
        ours = found[identity]
        assert ours["n"] == int(row["n"])
        assert ours["n_sweeps"] == int(row["n_recordings_matched"])
        np.testing.assert_allclose(ours["values"], ast.literal_eval(row["values"]), rtol=1e-9)
        np.testing.assert_allclose(ours["mean"], float(row["mean"]), rtol=1e-9)
        if not ours["default_std"]:
            np.testing.assert_allclose(ours["std"], float(row["std"]), rtol=1e-9, atol=1e-12)
        assert ";".join(ours["files"]) == row["files"]


@pytest.mark.parametrize("name", ["b6b8_per_cell", "sscx2_all_ecodes_onoff"])
def test_each_cell(shared, name: str) -> None:
    """Defect 5: BluePyEfe's files of one cell do not state the settings that were used; all else agrees."""
    case = Case(shared / "golden" / "efeatures" / name)
    alone = dict(
        group_each_cell(case.sweeps, case.features, case.rheobase, case.targets, **case.grouping_options)
    )
    folders = sorted((case.folder / "per_cell").iterdir())
    assert sorted(alone) == [folder.name for folder in folders]
    for folder in folders:
        expected = case.renamed(without_repetition(case.expected("features", folder)))
        for places in expected.values():
            for entry in places["soma"]:
                entry["efel_settings"] = case.settings
        same(features_json(alone[folder.name]), expected)
        same(protocols_json(alone[folder.name]), case.renamed(case.expected("protocols", folder)))
        sweeps = case.sweeps[case.sweeps["cell"] == folder.name]
        rheobase = {folder.name: case.rheobase[folder.name]}
        same(currents_json(sweeps, rheobase), case.expected("currents", folder))
