"""Presentations, conditions and spikes by presentation of the stand-in session against the AllenSDK's results."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ephysflow.ecephys.condition_statistics import condition_statistics
from ephysflow.ecephys.conditions import stimulus_conditions, stimulus_table
from ephysflow.ecephys.nwb_file import Ragged, group, read_column
from ephysflow.ecephys.presentations import INVALID, read_presentations
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.spike_counts import presentation_spike_counts, presentation_spike_times

pytest.importorskip("pynwb")

SESSION, SESSION_FILE = 715000000, "9001"
NOT_APPLICABLE = ("", "null")


@pytest.fixture(scope="module")
def session_path(shared, made_once) -> Path:
    """The session NWB of the stand-in project that the golden results were made from."""
    scripts = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        for arguments in (("make_tables.py", folder, "--cases"), ("make_nwb.py", folder, SESSION)):
            command = [sys.executable, *(str(a) for a in (scripts / arguments[0], *arguments[1:]))]
            subprocess.run(command, check=True, capture_output=True)

    return made_once("ecephys_standin_presentations", make) / "files" / SESSION_FILE


@pytest.fixture(scope="module")
def presentations(session_path) -> pa.Table:
    with SessionFile(session_path) as session:
        return read_presentations(session)


@pytest.fixture(scope="module")
def golden(shared) -> Path:
    return shared / "golden" / "ecephys" / "session"


@pytest.fixture(scope="module")
def spikes(session_path, golden) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, offsets and ids of the units that the AllenSDK kept."""
    kept = np.sort([int(row["unit_id"]) for row in rows(golden / "units.csv")])
    with SessionFile(session_path) as session:
        units = group(session.h5, "units")
        ids, column = read_column(units, "id"), read_column(units, "spike_times")
        assert isinstance(ids, np.ndarray)
        assert isinstance(column, Ragged)
        trains = [column.row(int(np.flatnonzero(ids == unit)[0])) for unit in kept]
    return np.concatenate(trains), np.cumsum([0, *map(len, trains)]), kept


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def assert_same(row: dict, expected: dict[str, str], left_out: tuple[str, ...] = ()) -> None:
    for name, text in expected.items():
        if name in left_out:
            continue
        if text in NOT_APPLICABLE:
            assert row[name] is None, name
        elif isinstance(row[name], str):
            assert row[name] == text, name
        else:
            assert row[name] == pytest.approx(float(text), rel=1e-12, abs=0), name


def test_presentations(presentations, golden):
    expected = rows(golden / "stimulus_presentations.csv")
    assert set(expected[0]) == set(presentations.column_names)
    assert len(expected) == presentations.num_rows
    for row, wanted in zip(presentations.to_pylist(), expected, strict=True):
        # the AllenSDK forgets how long an invalid presentation lasted
        assert_same(row, wanted, ("duration",) if row["stimulus_name"] == INVALID else ())
    assert [n for n in presentations.column("stimulus_name").to_pylist() if n == INVALID] == [INVALID]


def test_conditions(presentations, golden):
    expected = rows(golden / "stimulus_conditions.csv")
    found = stimulus_conditions(presentations)
    assert found.num_rows == len(expected)
    for row, wanted in zip(found.to_pylist(), expected, strict=True):
        # a column that no presentation has
        assert wanted.pop("color_triplet") == "null"
        assert_same(row, wanted)


def test_presentationwise_spike_times(presentations, spikes, golden):
    expected = rows(golden / "presentationwise_spike_times_flashes.csv")
    found = presentation_spike_times(*spikes, stimulus_table(presentations, "flashes"))
    assert found.column_names == list(expected[0])
    assert found.num_rows == len(expected)
    for row, wanted in zip(found.to_pylist(), expected, strict=True):
        assert_same(row, wanted)


def test_conditionwise_statistics(presentations, spikes, golden):
    expected = rows(golden / "conditionwise_spike_statistics_gratings.csv")
    gratings = stimulus_table(presentations, "drifting_gratings")
    found = {
        (row["unit_id"], row["stimulus_condition_id"]): row
        for row in condition_statistics(*spikes, gratings).to_pylist()
    }
    assert len(found) == len(expected)
    for wanted in expected:
        assert_same(found[int(wanted["unit_id"]), int(float(wanted["stimulus_condition_id"]))], wanted)


def test_counts_agree_with_times(presentations, spikes):
    flashes = stimulus_table(presentations, "flashes")
    times, offsets, _ = spikes
    counts = presentation_spike_counts(
        times, offsets, flashes.column("start_time").to_numpy(), [0.0, 0.125, 0.25]
    )
    assert counts.sum() == presentation_spike_times(*spikes, flashes).num_rows
