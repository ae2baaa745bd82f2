"""What the index of a session file says, and what becomes of files that cannot be used."""

import hashlib
import json
import shutil

import h5py
import pytest
from tests.ecephys_jobs import index

from ephysflow.ecephys.download_record import read_record, record_path
from ephysflow.ecephys.index_step import held_products
from ephysflow.example.ecephys_files import write_session
from ephysflow.io.tables import read_provenance, read_rows, read_table

SESSION = 715


@pytest.fixture(scope="module")
def session_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / f"session_{SESSION}.nwb"
    write_session(path, SESSION, seed=1, n_units=24)
    return path


def test_a_session_is_indexed(tmp_path, session_file):
    session, *tables = index(tmp_path, SESSION, session_file)
    (row,) = read_rows(session)
    content = session_file.read_bytes()
    assert (row["status"], row["reason"]) == ("used", None)
    assert (row["session"], row["id"], row["layout"]) == ("715", "715", "visual_coding")
    assert (row["size"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert row["session_type"] == "brain_observatory_1.1"
    counts = [row["n_probes"], row["n_channels"], row["n_units"]]
    assert counts == [2, 48, 48]
    assert [read_table(path).num_rows for path in tables] == [1, *counts]
    assert set(read_table(tables[3])["ecephys_session_id"].to_pylist()) == {SESSION}
    for path in (session, *tables):
        assert read_provenance(path).inputs == {str(session_file): row["sha256"]}


def test_the_products_that_a_file_holds_are_named(tmp_path, session_file):
    (row,) = read_rows(index(tmp_path, SESSION, session_file)[0])
    held = {"units", "channels", "probes", "spikes", "stimulus_presentations", "running_speed"}
    assert held | {"optogenetic_stimulation"} <= set(row["products"])
    assert "lfp" not in row["products"]


def test_links_are_not_followed_when_products_are_looked_for(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["running_speed/data"] = [1.0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["processing/running"] = h5py.ExternalLink("other.h5", "/")
        assert "running_speed" not in held_products(file)


def test_a_download_must_be_what_its_record_says(tmp_path, session_file):
    file = tmp_path / "session_715.nwb"
    shutil.copy(session_file, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    record = {"url": "http://a/b", "size": file.stat().st_size, "sha256": digest, "etag": None}
    record_path(file).write_text(json.dumps(record))
    assert read_record(file) is not None
    (row,) = read_rows(index(tmp_path, SESSION, file, downloaded=True)[0])
    assert (row["status"], row["sha256"]) == ("used", digest)
    with h5py.File(file, "r+") as changed:
        changed["units/spike_times"][:] = 0.0
    assert file.stat().st_size == record["size"]
    (row,) = read_rows(index(tmp_path, SESSION, file, downloaded=True)[0])
    assert row["status"] == "left out"
    assert f"{digest} was downloaded from http://a/b" in row["reason"]
    assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_download_without_its_record_is_used(tmp_path, session_file):
    """As of a folder that was copied."""
    (row,) = read_rows(index(tmp_path, SESSION, session_file, downloaded=True)[0])
    assert (row["status"], row["sha256"]) == (
        "used",
        hashlib.sha256(session_file.read_bytes()).hexdigest(),
    )


def test_a_session_file_of_another_session_is_left_out(tmp_path, session_file, capsys):
    session, *tables = index(tmp_path, 716, session_file)
    (row,) = read_rows(session)
    assert row["status"] == "left out"
    assert "session 715" in row["reason"]
    assert "716" in row["reason"]
    assert row["sha256"] is not None
    assert [read_table(path).num_rows for path in tables] == [0, 0, 0, 0]
    assert "LEFT OUT: session 716" in capsys.readouterr().out


def test_a_session_may_have_a_name_of_its_own(tmp_path, session_file):
    (row,) = read_rows(index(tmp_path, "mouse-3_day2", session_file)[0])
    assert (row["status"], row["session"], row["id"]) == ("used", "mouse-3_day2", "715")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html>500</html>", "HTML"),
        (b"", "empty"),
        (b"no HDF5 at all", "not HDF5"),
        (None, "is not there"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_with_the_reason(tmp_path, content, reason):
    file = tmp_path / "session_715.nwb"
    if content is not None:
        file.write_bytes(content)
    session, *tables = index(tmp_path, SESSION, file)
    (row,) = read_rows(session)
    assert row["status"] == "left out"
    assert reason in row["reason"]
    assert str(file) in row["reason"]
    assert [read_table(path).num_rows for path in tables] == [0, 0, 0, 0]


def test_a_file_that_was_cut_is_left_out(tmp_path, session_file):
    file = tmp_path / "session_715.nwb"
    file.write_bytes(session_file.read_bytes()[:-1000])
    (row,) = read_rows(index(tmp_path, SESSION, file)[0])
    assert row["status"] == "left out"
    assert "cut short" in row["reason"]


def test_the_index_is_the_same_at_every_run(tmp_path, session_file):
    once = [path.read_bytes() for path in index(tmp_path / "a", SESSION, session_file)]
    again = [path.read_bytes() for path in index(tmp_path / "b", SESSION, session_file)]
    assert once == again


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("intervals/epochs", "epochs"),
        ("intervals/trials", "epochs"),
        ("intervals/invalid_times", "invalid_times"),
        ("intervals/flashes_presentations", "stimulus_presentations"),
        ("processing/running/speed", "running_speed"),
        ("processing/raw_gaze_mapping/pupil", "eye_tracking"),
        ("acquisition/EyeTracking/pupil_tracking", "eye_tracking"),
    ],
)
def test_a_product_is_known_by_the_name_of_what_it_comes_from(tmp_path, name, product):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[f"{name}/data"] = [1.0]
        held = held_products(file)
    assert product in held
    assert {"epochs", "invalid_times", "running_speed", "eye_tracking"} & set(held) <= {product}
