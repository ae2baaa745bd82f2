"""Probes, channels and units of small session files."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
from session_nwb import (
    ELECTRODES,
    TEXT,
    TRAINS,
    UNIT_IDS,
    write_allen_session,
    write_file,
    write_plain_session,
    write_probe,
    write_table,
)

from ephysflow.ecephys.session_channels import CHANNEL_SCHEMA, session_channels, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_units import session_units
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ProjectError

NO_LIMITS = UnitFilters(None, None, None, filter_by_validity=False, filter_out_of_brain_units=False)


@pytest.fixture
def allen(tmp_path):
    with SessionFile(write_allen_session(tmp_path / "allen.nwb")) as session:
        yield session


@pytest.fixture
def plain(tmp_path):
    with SessionFile(write_plain_session(tmp_path / "plain.nwb")) as session:
        yield session


def by_id(table: pa.Table, name: str) -> dict:
    return {row[table.column_names[0]]: row[name] for row in table.to_pylist()}


# ---------------------------------------------------------------- probes


def test_probes(allen):
    probes = session_probes(allen)
    assert probes.to_pylist() == [
        {
            "id": 900,
            "description": "probeB",
            "location": "See electrode locations",
            "sampling_rate": 30000.0,
            "lfp_sampling_rate": 1250.0,
            "has_lfp_data": True,
        },
        {
            "id": 901,
            "description": "probeA",
            "location": "See electrode locations",
            "sampling_rate": 30001.0,
            "lfp_sampling_rate": 1250.0,
            "has_lfp_data": False,
        },
    ]


def test_probes_without_ids_are_numbered_by_name(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        for name in ("shank1", "shank0"):
            write_probe(file, name, sampling_rate=0.0)
        file.create_group("general/extracellular_ephys/notes")
    with SessionFile(path) as session:
        probes = session_probes(session)
    assert by_id(probes, "description") == {0: "shank0", 1: "shank1"}
    assert by_id(probes, "sampling_rate") == {0: None, 1: None}


def test_file_without_probes_and_channels(tmp_path):
    with SessionFile(write_file(tmp_path / "a.nwb")) as session:
        assert session_probes(session).num_rows == 0
        assert session_channels(session).schema == CHANNEL_SCHEMA


@pytest.mark.parametrize(
    ("ids", "message"), [((1, 1), "one probe_id"), ((1, None), "an integer"), ((1, 2.5), "an integer")]
)
def test_wrong_probe_ids_are_refused(tmp_path, ids, message):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        for name, probe_id in zip("ab", ids, strict=True):
            write_probe(file, name, **({} if probe_id is None else {"probe_id": probe_id}))
    with SessionFile(path) as session, pytest.raises(ProjectError, match=message):
        session_probes(session)


# ---------------------------------------------------------------- channels


def test_channels(allen):
    channels = session_channels(allen)
    assert channels.column_names == CHANNEL_SCHEMA.names
    assert channels["id"].to_pylist() == list(range(100, 108))
    assert by_id(channels, "structure_acronym") == dict(
        zip(range(100, 108), ["VISp", "DG", None, "CA1"] * 2, strict=True)
    )
    assert by_id(channels, "probe_channel_number")[105] == 1
    assert by_id(channels, "anterior_posterior_ccf_coordinate")[102] is None
    assert by_id(channels, "valid_data")[103] is False
    assert channels["ecephys_structure_id"].null_count == 8


def test_both_layouts_of_the_allen_institute_read_alike(allen, tmp_path):
    path = write_allen_session(tmp_path / "behavior.nwb", number="probe_channel_number")
    with SessionFile(path) as session:
        assert session_channels(session).equals(session_channels(allen))
        theirs, ours = session_units(session, UnitFilters())[0], session_units(allen, UnitFilters())[0]
        assert theirs.equals(ours)


def test_channels_of_a_plain_file(plain):
    channels = session_channels(plain)
    assert channels.column_names == [*CHANNEL_SCHEMA.names, "x"]
    # acronyms of others are not cut, and what x counts from is not known
    assert by_id(channels, "ecephys_structure_acronym") == {0: "CA1", 1: None, 2: "CA3"}
    assert channels["anterior_posterior_ccf_coordinate"].null_count == 3
    assert by_id(channels, "x") == {0: 1.0, 1: 2.0, 2: 3.0}
    assert by_id(channels, "probe_id") == {0: 0, 1: 0, 2: 0}


def test_own_column_whose_name_is_taken_is_kept(tmp_path):
    path = write_plain_session(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        table = file[ELECTRODES]
        table.attrs["colnames"] = np.array(["location", "group", "probe_id"], dtype=TEXT)
        table.create_dataset("probe_id", data=["p"] * 3, dtype=TEXT)
    with SessionFile(path) as session:
        assert session_channels(session)["probe_id_in_file"].to_pylist() == ["p"] * 3


def test_channels_of_the_project_override(allen):
    external = pa.table(
        {
            "id": [101, 100, 100],
            "ecephys_session_id": [715, 715, 716],
            "ecephys_structure_id": [8, None, 9],
            "ecephys_structure_acronym": ["grey", "", "CA3"],
            "left_right_ccf_coordinate": [1.5, None, 2.5],
        }
    )
    channels = session_channels(allen, external)
    assert by_id(channels, "ecephys_structure_id") == {101: 8} | dict.fromkeys([100, *range(102, 108)])
    acronyms = by_id(channels, "ecephys_structure_acronym")
    assert (acronyms[100], acronyms[101], acronyms[103]) == (None, "grey", "CA1")
    assert by_id(channels, "structure_acronym")[101] == "DG"
    coordinates = by_id(channels, "left_right_ccf_coordinate")
    assert (coordinates[100], coordinates[101], coordinates[103]) == (None, 1.5, 3.0)
    # not given by the project
    assert by_id(channels, "dorsal_ventral_ccf_coordinate")[101] == 1.0


def test_channel_that_the_project_has_twice_is_refused(allen):
    with pytest.raises(ProjectError, match="id 100 occurs more than once"):
        session_channels(allen, pa.table({"id": [100, 100], "ecephys_structure_id": [1, 2]}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"probe_id": ["a"] * 8}, "probe_id must be numbers"),
        ({"probe_id": [900.5] * 8}, "probe_id must be integers"),
        ({"probe_vertical_position": ["a"] * 8}, "probe_vertical_position must be numbers"),
        ({"valid_data": ["perhaps"] * 8}, "valid_data must be True or False"),
        ({"location": ["VISp"] * 7}, r"location has shape \(7,\), but the table has 8 rows"),
    ],
)
def test_wrong_columns_of_channels_are_refused(tmp_path, columns, message):
    path = write_allen_session(tmp_path / "a.nwb", electrodes=columns)
    with SessionFile(path) as session, pytest.raises(ProjectError, match=message):
        session_channels(session)


@pytest.mark.parametrize("flags", [["True", "False"] * 4, [1, 0] * 4, np.array([1, 0] * 4, dtype=np.uint8)])
def test_flags_are_read_however_they_are_written(tmp_path, flags):
    path = write_allen_session(tmp_path / "a.nwb", electrodes={"valid_data": flags})
    with SessionFile(path) as session:
        assert session_channels(session)["valid_data"].to_pylist() == [True, False] * 4


# ---------------------------------------------------------------- units


def test_default_filters(allen):
    units, records = session_units(allen, UnitFilters())
    assert units["unit_id"].to_pylist() == [10, 30]
    assert [record.removed for record in records] == [0, 0, 0, 2, 1]
    assert not {"quality", "valid_data", "spike_times", "PT_ratio", "l_ratio"} & set(units.column_names)


def test_units_hold_their_channel_and_probe(allen):
    units, _ = session_units(allen, NO_LIMITS)
    assert units["unit_id"].to_pylist() == sorted(UNIT_IDS)
    row = next(row for row in units.to_pylist() if row["unit_id"] == 30)
    assert row["waveform_PT_ratio"] == 0.0
    assert row["L_ratio"] == 0.0
    assert row["quality"] == "good"
    assert row["peak_channel_id"] == 101
    assert (row["probe_id"], row["probe_description"], row["probe_sampling_rate"]) == (900, "probeB", 30000.0)
    assert (row["local_index"], row["probe_channel_number"]) == (0, 1)
    assert by_id(units, "waveform_halfwidth")[20] is None


def test_metrics_are_joined(allen):
    metrics = pa.table(
        {
            "ecephys_unit_id": [10, 99],
            "pref_images_multi_ns": [True, False],
            "g_osi_dg": [0.25, 0.5],
            "local_index": [7, 8],
        }
    )
    units, _ = session_units(allen, UnitFilters(), metrics=metrics)
    assert by_id(units, "g_osi_dg") == {10: 0.25, 30: None}
    assert by_id(units, "pref_image_multi_ns") == {10: True, 30: None}
    assert by_id(units, "local_index_metrics") == {10: 7, 30: None}
    assert by_id(units, "local_index") == {10: 1, 30: 0}


def test_metrics_with_a_unit_twice_are_refused(allen):
    metrics = pa.table({"ecephys_unit_id": [10, 10], "g_osi_dg": [0.25, 0.5]})
    with pytest.raises(ProjectError, match="metrics of session 715: id 10 occurs more than once"):
        session_units(allen, UnitFilters(), metrics=metrics)


def test_unit_whose_peak_channel_does_not_exist_is_left_out_and_told(tmp_path):
    path = write_allen_session(
        tmp_path / "a.nwb", units={"peak_channel_id": np.array([101, 104, 100, 5000, 103])}
    )
    with SessionFile(path) as session:
        units, records = session_units(session, NO_LIMITS)
    assert units["unit_id"].to_pylist() == [10, 20, 30, 50]
    first = records[0]
    assert (first.filter, first.units_before, first.removed, first.units_after) == (
        "peak_channel_id",
        5,
        1,
        4,
    )
    assert "40 (channel 5000)" in first.note
    assert records[1].units_before == 4


def test_unit_without_peak_channel_stays(tmp_path):
    peaks = np.array([101.0, np.nan, 100, 102, 103])
    with SessionFile(write_allen_session(tmp_path / "a.nwb", units={"peak_channel_id": peaks})) as session:
        units, records = session_units(session, NO_LIMITS)
    assert by_id(units, "peak_channel_id") == {10: None, 20: 100, 30: 101, 40: 102, 50: 103}
    assert by_id(units, "probe_id")[10] is None
    assert len(records) == 5


def test_plain_units_keep_their_columns_and_pass(plain):
    units, records = session_units(plain, UnitFilters())
    assert units.column_names == ["unit_id", "label"]
    assert units.num_rows == len(TRAINS)
    assert all(record.removed == 0 for record in records)
    assert all("not applied" in record.note for record in records)


def test_plain_units_with_an_electrode_group_have_a_probe(tmp_path):
    path = write_plain_session(
        tmp_path / "a.nwb", units={"electrode_group": (), "location": ["left CA1"] * 5}
    )
    with SessionFile(path) as session:
        units, _ = session_units(session, UnitFilters())
    assert units["probe_description"].to_pylist() == ["shank0"] * 5
    assert units["location"].to_pylist() == ["left CA1"] * 5
    assert units["probe_location"].to_pylist() == [None] * 5


def test_single_electrode_is_the_peak_channel(tmp_path):
    path = write_plain_session(tmp_path / "a.nwb", units={"electrodes": [[2], [0, 1], [], [0], [1]]})
    with SessionFile(path) as session:
        units, records = session_units(session, UnitFilters(filter_out_of_brain_units=False))
        assert by_id(units, "peak_channel_id") == {0: 2, 1: None, 2: None, 3: 0, 4: 1}
        assert by_id(units, "ecephys_structure_acronym") == {0: "CA3", 1: None, 2: None, 3: "CA1", 4: None}
        units, _ = session_units(session, UnitFilters())
        assert units["unit_id"].to_pylist() == [0, 3]
    assert records[0].filter == "amplitude_cutoff_maximum"


def test_electrode_that_does_not_exist_is_refused(tmp_path):
    path = write_plain_session(tmp_path / "a.nwb", units={"electrodes": [[2], [3], [], [0], [1]]})
    with SessionFile(path) as session, pytest.raises(ProjectError, match="names row 3, .* has 3 rows"):
        session_units(session, UnitFilters())


def test_session_without_units(tmp_path):
    with (
        SessionFile(write_file(tmp_path / "a.nwb")) as session,
        pytest.raises(ProjectError, match="no units"),
    ):
        session_units(session, UnitFilters())


def test_session_with_no_rows_of_units(tmp_path):
    path = write_plain_session(tmp_path / "a.nwb", trains=[])
    with SessionFile(path) as session:
        units, _ = session_units(session, UnitFilters())
    assert units.num_rows == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"amplitude_cutoff": ["low"] * 5}, "amplitude_cutoff must be numbers, but has type text"),
        ({"presence_ratio": np.zeros(4)}, r"presence_ratio has shape \(4,\), but the table has 5 rows"),
        ({"peak_channel_id": ["a"] * 5}, "peak_channel_id must be one integer a unit"),
        ({"peak_channel_id": [1.5] * 5}, "peak_channel_id must be one integer a unit"),
        ({"waveform_PT_ratio": np.zeros(5)}, "two columns stand for waveform_PT_ratio"),
    ],
)
def test_wrong_columns_of_units_are_refused(tmp_path, columns, message):
    path = write_allen_session(tmp_path / "a.nwb", units=columns)
    with SessionFile(path) as session, pytest.raises(ProjectError, match=message):
        session_units(session, UnitFilters())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 2, 3, 4], "id 2 occurs more than once"),
        ([1.0, 2, 3, 4, 5], "one integer a row"),
        ([-1, 2, 3, 4, 5], "no id"),
        ([[1], [2], [3], [4], [5]], "one integer a row"),
    ],
)
def test_wrong_unit_ids_are_refused(tmp_path, ids, message):
    path = write_allen_session(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        del file["units/id"]
        file["units/id"] = ids
    with SessionFile(path) as session, pytest.raises(ProjectError, match=message):
        session_units(session, UnitFilters())


def test_columns_of_any_type_and_byte_order(tmp_path):
    columns = {
        "big": np.arange(5, dtype=">f4"),
        "small": np.arange(5, dtype="u1"),
        "flag": np.array([True, False, True, False, True]),
        "fixed": np.array([b"a", b"", b"c", b"d", b"e"]),
        "vector": np.zeros((5, 3)),
    }
    path = write_plain_session(tmp_path / "a.nwb", units=columns)
    with SessionFile(path) as session:
        units, _ = session_units(session, UnitFilters())
    assert units["big"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert units["small"].to_pylist() == [0, 1, 2, 3, 4]
    assert units["flag"].to_pylist() == [True, False, True, False, True]
    assert units["fixed"].to_pylist() == ["a", None, "c", "d", "e"]
    assert "vector" not in units.column_names


def test_table_in_place_of_a_group(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file["units"] = [1]
    with SessionFile(path) as session, pytest.raises(ProjectError, match="units is no group"):
        session_units(session, UnitFilters())


def test_channels_are_sorted_by_id(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        write_table(file, ELECTRODES, {"location": ["CA3", "CA1"]}, ids=[5, 2])
    with SessionFile(path) as session:
        assert by_id(session_channels(session), "structure_acronym") == {2: "CA1", 5: "CA3"}
        assert session_channels(session)["id"].to_pylist() == [2, 5]
