"""Raw tables from session files."""

import pyarrow as pa
import pytest
from session_nwb import TRAINS, UNIT_IDS, write_allen_session, write_file, write_plain_session

from ephysflow.ecephys.raw_tables import RAW_SCHEMAS
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.errors import ProjectError


@pytest.fixture
def allen(tmp_path):
    with SessionFile(write_allen_session(tmp_path / "allen.nwb")) as session:
        yield session_rows(session)


@pytest.fixture
def plain(tmp_path):
    with SessionFile(write_plain_session(tmp_path / "plain.nwb")) as session:
        yield session_rows(session)


@pytest.mark.parametrize("name", RAW_SCHEMAS)
def test_columns_are_those_of_raw_tables(allen, name):
    table = getattr(allen, name)
    assert table.column_names[: len(RAW_SCHEMAS[name])] == RAW_SCHEMAS[name].names
    for field in RAW_SCHEMAS[name]:
        assert table.schema.field(field.name).type == field.type


def test_ids_lead_from_units_to_the_session(allen):
    units = {row["id"]: row for row in allen.units.to_pylist()}
    channels = {row["id"]: row for row in allen.channels.to_pylist()}
    probes = {row["id"]: row for row in allen.probes.to_pylist()}
    assert list(units) == list(UNIT_IDS)
    channel = channels[units[10]["ecephys_channel_id"]]
    assert (channel["id"], channel["local_index"]) == (104, 0)
    probe = probes[channel["ecephys_probe_id"]]
    assert (probe["name"], probe["sampling_rate"]) == ("probeA", 30001.0)
    assert probe["ecephys_session_id"] == 715
    for table in (allen.probes, allen.channels, allen.units):
        assert set(table["ecephys_session_id"].to_pylist()) == {715}


def test_names_are_those_of_raw_tables(allen):
    row = allen.units.to_pylist()[0]
    assert (row["PT_ratio"], row["halfwidth"], row["l_ratio"], row["duration"]) == (0.0, 0.1, 0.0, None)
    assert row["unit_local_index"] == 0
    assert not {"waveform_PT_ratio", "L_ratio", "peak_channel_id", "local_index"} & set(
        allen.units.column_names
    )
    assert allen.channels["valid_data"].to_pylist() == [True, True, True, False] * 2


def test_session_row(allen):
    assert allen.sessions.num_rows == 1
    row = allen.sessions.to_pylist()[0]
    assert (row["id"], row["has_nwb"], row["specimen_id"]) == (715, True, None)


def test_plain_session(plain):
    assert plain.sessions["id"].to_pylist() == ["A8604-211122"]
    assert plain.units["ecephys_session_id"].to_pylist() == ["A8604-211122"] * len(TRAINS)
    assert plain.units["ecephys_channel_id"].null_count == len(TRAINS)
    assert plain.units["quality"].null_count == len(TRAINS)
    assert plain.units["label"].to_pylist() == ["a"] * len(TRAINS)
    assert plain.channels["ecephys_probe_id"].to_pylist() == [0, 0, 0]
    assert "valid_data" not in plain.channels.column_names
    assert plain.probes["id"].to_pylist() == [0]


def test_tables_of_both_kinds_can_be_put_together(allen, plain):
    for name in ("channels", "units"):
        table = getattr(plain, name)
        i = table.column_names.index("ecephys_session_id")
        ours = getattr(allen, name)
        ours = ours.set_column(i, "ecephys_session_id", ours["ecephys_session_id"].cast(pa.string()))
        both = pa.concat_tables([ours, table], promote_options="default")
        assert both.num_rows == ours.num_rows + table.num_rows


def test_session_without_units_is_refused(tmp_path):
    with (
        SessionFile(write_file(tmp_path / "a.nwb")) as session,
        pytest.raises(ProjectError, match="has no units"),
    ):
        session_rows(session)
