"""Probes, channels, units and spikes of the stand-in session against the AllenSDK's results, and of a real plain file."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ephysflow.ecephys.project_tables import project_tables
from ephysflow.ecephys.raw_tables import read_raw_table
from ephysflow.ecephys.session_channels import session_channels, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.ecephys.session_spikes import session_mean_waveforms, session_spikes
from ephysflow.ecephys.session_units import session_units
from ephysflow.ecephys.unit_filters import UnitFilters

pytest.importorskip("pynwb")

SESSION, SESSION_FILE = 715000000, "9001"


@pytest.fixture(scope="module")
def session_path(shared, made_once) -> Path:
    """The session NWB of the stand-in project that the golden results were made from."""
    scripts = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        for arguments in (("make_tables.py", folder, "--cases"), ("make_nwb.py", folder, SESSION)):
            command = [sys.executable, *(str(a) for a in (scripts / arguments[0], *arguments[1:]))]
            subprocess.run(command, check=True, capture_output=True)

    return made_once("ecephys_standin_presentations", make) / "files" / SESSION_FILE


@pytest.fixture
def session(session_path):
    with SessionFile(session_path) as opened:
        yield opened


@pytest.fixture
def external(shared):
    return read_raw_table(shared / "golden/ecephys/cache_csv/channels.csv", "channels")


def golden(shared, name: str) -> list[dict[str, str]]:
    with (shared / "golden/ecephys/session" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_equal(table, expected: list[dict[str, str]], key: str) -> None:
    """Compare all columns of the expected table, order of rows and columns aside."""
    ours = {str(row[key]): row for row in table.to_pylist()}
    theirs = {row[key]: row for row in expected}
    assert ours.keys() == theirs.keys()
    for row_id, row in theirs.items():
        for name, text in row.items():
            value = ours[row_id][name]
            if text == "":
                assert value is None, (row_id, name)
            elif isinstance(value, float | int) and not isinstance(value, bool):
                assert value == pytest.approx(float(text), rel=1e-12, abs=0), (row_id, name)
            else:
                assert str(value) == text, (row_id, name)


def test_probes(shared, session):
    assert_equal(session_probes(session), golden(shared, "probes"), "id")


def test_channels(shared, session, external):
    channels = session_channels(session, external)
    # the reference returns valid channels only
    valid = channels.filter(channels["valid_data"])
    assert channels.num_rows - valid.num_rows == 2
    assert_equal(valid, golden(shared, "channels"), "id")


def test_units(shared, session, external):
    units, records = session_units(session, UnitFilters(), external)
    expected = golden(shared, "units")
    assert_equal(units, expected, "unit_id")
    # the reference has no property for it
    assert set(units.column_names) - set(expected[0]) == {"waveform_halfwidth"}
    assert units["unit_id"].to_pylist() == sorted(units["unit_id"].to_pylist())
    assert (records[0].units_before, records[-1].units_after) == (39, 8)


def test_number_of_units_without_limits_and_with_a_limit_of_zero(session):
    units, _ = session_units(session, UnitFilters(None, None, None))
    # the reference returns 20: it drops the three units with NaN in one of the columns, limit or not
    assert units.num_rows == 23
    # the reference takes 0 for no limit and returns 11 units
    units, _ = session_units(session, UnitFilters(amplitude_cutoff_maximum=0.0))
    assert units.num_rows == 0


def test_session_alone_and_with_the_project_filter_alike(session, external):
    alone, _ = session_units(session, UnitFilters())
    with_project, _ = session_units(session, UnitFilters(), external)
    for name in ("unit_id", "ecephys_structure_acronym", "left_right_ccf_coordinate"):
        assert alone[name].to_pylist() == with_project[name].to_pylist()


def test_counts_of_spikes(shared, session):
    expected = {int(row[""]): int(row["n"]) for row in golden(shared, "spike_times")}
    spikes = session_spikes(session, np.array(list(expected)))
    assert dict(zip(spikes.unit_ids.tolist(), np.diff(spikes.offsets).tolist(), strict=True)) == expected
    assert spikes.amplitudes is not None
    assert spikes.amplitudes.shape == spikes.times.shape


def test_mean_waveforms_leave_out_channels_that_are_not_valid(session):
    waveforms = list(session_mean_waveforms(session))
    assert len(waveforms) == 39
    valid = {row["id"] for row in session_channels(session).to_pylist() if row["valid_data"]}
    for waveform in waveforms:
        # eight rows, number 5 of each probe is not valid
        assert waveform.values.shape == (7, 82)
        assert set(waveform.channel_ids.tolist()) <= valid


def test_project_of_the_session_file_has_the_units_of_the_session(session):
    tables = project_tables(session_rows(session), UnitFilters())
    units, _ = session_units(session, UnitFilters())
    assert tables.units["id"].to_pylist() == units["unit_id"].to_pylist()
    assert tables.channels.num_rows == 48


def test_plain_file_of_a_lab(shared):
    path = shared / "data/ecephys/pynapple_nwb/A8604-211122.nwb"
    with SessionFile(path) as session:
        assert (session.session_id, session.layout) == ("A8604-211122", "plain")
        units, records = session_units(session, UnitFilters())
        assert units["unit_id"].to_pylist() == [6, 191, 206]
        assert units["probe_description"].to_pylist() == ["group0_psb"] * 3
        assert all("not applied" in record.note for record in records)
        spikes = session_spikes(session)
        assert np.diff(spikes.offsets).tolist() == [11020, 4690, 5644]
        assert session_channels(session).num_rows == 383
        rows = session_rows(session)
        assert (rows.units.num_rows, rows.channels.num_rows, rows.probes.num_rows) == (3, 383, 1)
