"""Behaviour, intervals, LFP and templates of the stand-in's session, and epochs of a real file."""

import csv
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from ephysflow.ecephys.behaviour import read_optogenetic_stimulation, read_raw_running, read_running_speed
from ephysflow.ecephys.eye_tracking import read_eye_tracking, read_eye_tracking_rig
from ephysflow.ecephys.intervals import interval_tables, read_epochs, read_intervals, read_invalid_times
from ephysflow.ecephys.lfp import LfpFile, copy_lfp, find_lfp
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.structure_intervals import channel_structure_intervals, structure_intervals_table
from ephysflow.ecephys.templates import read_movie, read_scene, session_templates
from ephysflow.errors import ProjectError

pytest.importorskip("pynwb")

SESSION, PROBE = 715000000, 729000000
SESSION_FILE, LFP_FILE, MOVIE, SCENE = "9001", "9002", "9007", "9009"


@pytest.fixture(scope="module")
def files(shared, made_once) -> Path:
    """Session, LFP and template files of the stand-in's project."""
    scripts = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        for arguments in (("make_tables.py", folder, "--cases"), ("make_nwb.py", folder, SESSION)):
            command = [sys.executable, *(str(a) for a in (scripts / arguments[0], *arguments[1:]))]
            subprocess.run(command, check=True, capture_output=True)

    return made_once("ecephys_standin_presentations", make) / "files"


@pytest.fixture
def session(files):
    with SessionFile(files / SESSION_FILE) as opened:
        yield opened


def golden(shared, name):
    with open(shared / "golden" / "ecephys" / "session" / name, newline="") as stream:
        return list(csv.DictReader(stream))


def test_invalid_times_are_those_of_the_reference(shared, session):
    ours = read_invalid_times(session).to_pylist()
    theirs = golden(shared, "invalid_times.csv")
    assert len(ours) == len(theirs)
    for row, expected in zip(ours, theirs, strict=True):
        assert row["id"] == int(expected["id"])
        assert row["start_time"] == float(expected["start_time"])
        assert row["stop_time"] == float(expected["stop_time"])
        # the reference prints an array of texts
        assert str(np.array(row["tags"])) == expected["tags"]


def test_running_speed_is_that_of_the_file(session):
    table = read_running_speed(session)
    running = session.h5["processing/running"]
    for name, place in (
        ("start_time", "running_speed/timestamps"),
        ("end_time", "running_speed_end_times/timestamps"),
        ("velocity", "running_speed/data"),
        ("net_rotation", "running_wheel_rotation/data"),
    ):
        np.testing.assert_array_equal(table[name], running[place])
    assert table.schema.field("velocity").metadata[b"unit"] == b"cm/s"
    raw = read_raw_running(session)
    np.testing.assert_array_equal(
        raw["supply_voltage"], session.h5["acquisition/running_wheel_supply_voltage/data"]
    )


def test_optogenetic_stimulation(session):
    table = read_optogenetic_stimulation(session)
    assert table.num_rows == 10
    assert table["level"].to_pylist()[:3] == [1.0, 1.7, 2.5]
    assert set(table["condition"].to_pylist()) == {"a single square pulse"}
    assert set(table["duration"].to_pylist()) == {0.01}


def test_interval_tables(session):
    names = interval_tables(session)
    assert "optogenetic_stimulation" in names
    assert "flashes_presentations" in names
    assert "invalid_times" not in names
    assert read_intervals(session, "flashes_presentations").num_rows == 20
    assert read_epochs(session).num_rows == 0


def test_eye_tracking_is_absent_but_the_rig_is_known(session):
    assert read_eye_tracking(session).num_rows == 0
    rig = {row["quantity"]: row for row in read_eye_tracking_rig(session).to_pylist()}
    assert len(rig) == 5
    assert rig["camera_rotation"] == {
        "equipment": "NP.1",
        "quantity": "camera_rotation",
        "x": 1.0,
        "y": 2.0,
        "z": 3.0,
        "unit": "deg",
    }


def test_structures_along_the_probes(shared):
    rows = golden(shared, "channels.csv")
    channels = pa.table(
        {
            "id": [int(row["id"]) for row in rows],
            "probe_id": [int(row["probe_id"]) for row in rows],
            "probe_vertical_position": [int(row["probe_vertical_position"]) for row in rows],
            "probe_horizontal_position": [int(row["probe_horizontal_position"]) for row in rows],
            "ecephys_structure_acronym": [row["ecephys_structure_acronym"] or None for row in rows],
        }
    )
    labels, bounds = channel_structure_intervals(channels)
    # channels of the stand-in are written from the tip upwards, probe after probe
    acronyms = channels["ecephys_structure_acronym"].to_pylist()
    assert np.repeat(labels, np.diff(bounds)).tolist() == acronyms
    assert structure_intervals_table(channels)["channel_count"].to_pylist() == np.diff(bounds).tolist()


def test_lfp_slices_are_those_of_h5py(files, session):
    with h5py.File(files / LFP_FILE) as file:
        series = file[f"acquisition/probe_{PROBE}_lfp/probe_{PROBE}_lfp_data"]
        times, values = series["timestamps"][()], series["data"][()]
        ids = file["general/extracellular_ephys/electrodes/id"][()]
    with LfpFile(files / LFP_FILE, PROBE, read_invalid_times(session)) as lfp:
        assert lfp.probe_id == PROBE
        assert lfp.sampling_rate == pytest.approx(1250.000262, rel=1e-12)
        assert lfp.channel_ids.tolist() == ids.tolist()
        found, read, channels = lfp.read(59.9, 61.1, ids[[3, 0]])
    wanted = (times >= 59.9) & (times < 61.1)
    np.testing.assert_array_equal(found, times[wanted])
    assert channels.tolist() == ids[[3, 0]].tolist()
    expected = values[wanted][:, [3, 0]]
    # the second invalid interval is of this probe, the first of the stimulus
    expected[(found >= 60.0) & (found <= 61.0)] = np.nan
    np.testing.assert_array_equal(read, expected)


def test_lfp_is_copied_as_it_is_read(files, session, tmp_path):
    with (
        LfpFile(files / LFP_FILE, PROBE, read_invalid_times(session)) as lfp,
        h5py.File(tmp_path / "lfp.h5", "w") as out,
    ):
        copy_lfp(lfp, out)
        times, values, ids = lfp.read(-np.inf, np.inf)
        np.testing.assert_array_equal(out["times"], times)
        np.testing.assert_array_equal(out["values"], values)
        np.testing.assert_array_equal(out["channel_ids"], ids)
        assert np.isnan(values).any()


def test_current_source_density(files):
    with h5py.File(files / LFP_FILE) as file, LfpFile(files / LFP_FILE) as lfp:
        csd = lfp.csd()
        place = file["processing/current_source_density/ecephys_csd"]
        np.testing.assert_array_equal(csd.values.T, place["current_source_density/data"])
        np.testing.assert_array_equal(csd.times, place["current_source_density/timestamps"])
    assert csd.y.tolist() == [10.0 * i for i in range(20)]
    assert (csd.unit, csd.position_unit) == ("V/cm^2", "um")


def test_lfp_of_another_probe_or_no_lfp_at_all(files, session):
    with pytest.raises(ProjectError, match=f"is the LFP of probe {PROBE}, not of probe 1"):
        LfpFile(files / LFP_FILE, 1)
    with pytest.raises(ProjectError, match="holds no LFP"):
        LfpFile(files / SESSION_FILE)
    assert find_lfp(session) == {}


def test_templates(files, session):
    assert read_movie(files / MOVIE).shape == (30, 12, 16)
    assert read_scene(files / SCENE).shape == (18, 24)
    assert session_templates(session) == {}


def test_epochs_of_a_real_file(shared):
    with SessionFile(shared / "data" / "ecephys" / "pynapple_nwb" / "A8604-211122.nwb") as session:
        assert interval_tables(session) == ["epochs"]
        assert read_epochs(session).to_pylist() == [
            {"interval_table": "epochs", "id": 0, "start_time": 0.0, "stop_time": 1087.5289, "tags": ["wake"]}
        ]
        assert read_running_speed(session).num_rows == 0
        assert read_invalid_times(session).num_rows == 0
