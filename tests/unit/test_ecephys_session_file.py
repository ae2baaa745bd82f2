"""Which session a file is of, and what it says of it."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
from session_nwb import ELECTRODES, write_allen_session, write_file, write_plain_session, write_table

from ephysflow.ecephys.session_file import SESSION_SCHEMA, SessionFile, session_schema
from ephysflow.errors import ProjectError
from ephysflow.io.tables import table_of


def session_id(path, identifier: str, lab_id: str | None = None) -> int | str:
    write_file(path, identifier)
    if lab_id is not None:
        with h5py.File(path, "a") as file:
            file["general/session_id"] = lab_id
    with SessionFile(path) as session:
        return session.session_id


@pytest.mark.parametrize(
    ("identifier", "lab_id", "expected"),
    [
        ("715093703", None, 715093703),
        (" 715 ", None, 715),
        ("3f4e-uuid", "1044385384", 1044385384),
        ("A8604-211122", None, "A8604-211122"),
        ("A8604-211122", "mouse 1", "A8604-211122"),
        ("session of 5/4/2022", "A8604", "A8604"),
        # not integers that can be written back as they were
        ("007", None, "007"),
        ("9" * 30, None, "9" * 30),
    ],
)
def test_session_id(tmp_path, identifier, lab_id, expected):
    assert session_id(tmp_path / "any_name.nwb", identifier, lab_id) == expected


@pytest.mark.parametrize(
    "identifier", ["../../etc/passwd", "", "..", "-rf", "a b", "x" * 200, "\N{GREEK SMALL LETTER MU}"]
)
def test_identifier_that_is_no_name_is_refused(tmp_path, identifier):
    with pytest.raises(ProjectError, match="cannot be named.*letters, digits"):
        session_id(tmp_path / "a.nwb", identifier)


def test_file_is_closed_when_it_has_no_identifier(tmp_path):
    path = write_file(tmp_path / "a.nwb", "a b")
    with pytest.raises(ProjectError):
        SessionFile(path)
    with h5py.File(path, "r+"):
        pass


def test_metadata_of_the_allen_layout(tmp_path):
    path = write_allen_session(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file["session_start_time"] = "2019-01-08T13:55:01-08:00"
        file["general/stimulus"] = "brain_observatory_1.1"
        file["general/institution"] = "AIBS"
        subject = file.create_group("general/subject")
        subject.attrs["age_in_days"] = np.float64(118)
        subject.attrs["specimen_name"] = "Sst-386129"
        subject["age"] = "P100D"
        subject["sex"] = "M"
        subject["genotype"] = ""
    with SessionFile(path) as session:
        row = session.metadata()
    assert row == {
        "id": 715,
        "session_type": "brain_observatory_1.1",
        "date_of_acquisition": "2019-01-08T21:55:01Z",
        "specimen_name": "Sst-386129",
        "age_in_days": 118.0,
        "sex": "M",
        "genotype": None,
        "strain": None,
        "species": None,
        "institution": "AIBS",
        "nwb_version": "2.4.0",
        "layout": "visual_coding",
        "session_start_time": "2019-01-08T13:55:01-08:00",
    }
    assert table_of([row], SESSION_SCHEMA).num_rows == 1


@pytest.mark.parametrize(
    ("age", "days"),
    [("P118D", 118.0), ("P10W", 70.0), ("P1.5D", 1.5), ("P3M", None), ("P90D/P120D", None), ("old", None)],
)
def test_age_is_read_from_an_iso_duration(tmp_path, age, days):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file["general/subject/age"] = age
        file["general/subject/subject_id"] = "m1"
    with SessionFile(path) as session:
        row = session.metadata()
    assert (row["age_in_days"], row["specimen_name"]) == (days, "m1")


@pytest.mark.parametrize(
    ("start", "utc"),
    [
        ("2022-04-05T03:07:59.411186+00:00", "2022-04-05T03:07:59Z"),
        ("2022-04-05T03:07:59", None),
        ("?", None),
    ],
)
def test_date_is_in_utc_or_unknown(tmp_path, start, utc):
    path = write_file(tmp_path / "a.nwb", session_start_time=start)
    with SessionFile(path) as session:
        row = session.metadata()
    assert (row["date_of_acquisition"], row["session_start_time"]) == (utc, start)


def test_layouts(tmp_path):
    paths = {
        "visual_coding": write_allen_session(tmp_path / "a.nwb"),
        "visual_behavior": write_allen_session(tmp_path / "b.nwb", number="probe_channel_number"),
        "plain": write_plain_session(tmp_path / "c.nwb"),
    }
    for layout, path in paths.items():
        with SessionFile(path) as session:
            assert session.layout == layout
    path = write_file(tmp_path / "d.nwb")
    with SessionFile(path) as session:
        assert session.layout == "plain"


def test_schema_of_a_session_with_a_text_id(tmp_path):
    path = write_plain_session(tmp_path / "a.nwb")
    with SessionFile(path) as session:
        schema = session_schema(session.session_id)
        assert schema.field("id").type == pa.string()
        assert table_of([session.metadata()], schema)["id"].to_pylist() == ["A8604-211122"]
    assert session_schema(5) is SESSION_SCHEMA


def test_electrodes_that_are_no_table_are_refused(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        write_table(file, ELECTRODES, {"x": [1.0]}).attrs["colnames"] = 5
    with SessionFile(path) as session, pytest.raises(ProjectError, match="colnames"):
        session.metadata()
