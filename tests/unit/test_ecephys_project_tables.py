"""Tables over all sessions: merges, counts, names, and what was left out."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.ecephys.project_tables import SUPPRESSED, distinct, project_tables
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError, ProjectError

ALL_UNITS = UnitFilters(None, None, None, filter_by_validity=False, filter_out_of_brain_units=False)


def raw_tables(**changed):
    """Return two sessions (1, 2) with a probe each (10, 20), two channels a probe and a unit a channel."""
    tables = {
        "sessions": {"id": [1, 2], "session_type": ["a", "b"], "genotype": ["wt", None]},
        "probes": {
            "id": [10, 20],
            "ecephys_session_id": [1, 2],
            "name": ["A", "B"],
            "lfp_sampling_rate": [2500.0, 2000.0],
            "lfp_temporal_subsampling_factor": [2.0, None],
        },
        "channels": {
            "id": [100, 101, 200, 201],
            "ecephys_probe_id": [10, 10, 20, 20],
            "local_index": [0, 1, 0, 1],
            "ecephys_structure_id": pa.array([385, None, 382, 385]),
            "ecephys_structure_acronym": ["VISp", None, "CA1", "VISp"],
        },
        "units": {
            "id": [1000, 1001, 2000, 2001],
            "ecephys_channel_id": [100, 101, 200, 201],
            "quality": ["good", "good", "noise", "good"],
            "l_ratio": [0.1, 0.2, 0.3, 0.4],
            "duration": [1.0, 2.0, 3.0, 4.0],
        },
    }
    return RawTables(**{name: pa.table(columns | changed.get(name, {})) for name, columns in tables.items()})


def test_counts_are_of_the_filtered_units():
    tables = project_tables(raw_tables(), UnitFilters())
    assert tables.units["id"].to_pylist() == [1000, 2001]
    assert tables.sessions.select(["unit_count", "channel_count", "probe_count"]).to_pylist() == [
        {"unit_count": 1, "channel_count": 2, "probe_count": 1},
        {"unit_count": 1, "channel_count": 2, "probe_count": 1},
    ]
    assert tables.probes["unit_count"].to_pylist() == [1, 1]
    assert tables.channels["unit_count"].to_pylist() == [1, 0, 0, 1]
    assert project_tables(raw_tables(), ALL_UNITS).channels["unit_count"].to_pylist() == [1, 1, 1, 1]
    assert tables.findings == []


def test_structures_are_listed_in_the_order_of_channels():
    tables = project_tables(raw_tables(), UnitFilters())
    expected = [["VISp", None], ["CA1", "VISp"]]
    assert tables.probes["ecephys_structure_acronyms"].to_pylist() == expected
    assert tables.sessions["ecephys_structure_acronyms"].to_pylist() == expected


def test_columns_are_renamed_and_quality_goes_with_its_filter():
    tables = project_tables(raw_tables(), UnitFilters())
    assert tables.units.column_names == [
        "id",
        "ecephys_channel_id",
        "L_ratio",
        "waveform_duration",
        "ecephys_probe_id",
        "local_index",
        "ecephys_structure_id",
        "ecephys_structure_acronym",
        "ecephys_session_id",
        "name",
        "lfp_sampling_rate",
        "session_type",
        "genotype",
    ]
    assert tables.annotated_units.column_names[5] == "peak_channel"
    assert tables.annotated_units.column_names[9:11] == ["probe_name", "probe_lfp_sampling_rate"]
    assert "full_genotype" in tables.sessions.column_names
    assert "quality" in project_tables(raw_tables(), ALL_UNITS).units.column_names


def test_rate_of_the_stored_lfp():
    tables = project_tables(raw_tables(), UnitFilters())
    # the second probe has no factor: its rate is that of the stored LFP already, as in session files
    assert tables.probes["lfp_sampling_rate"].to_pylist() == [1250.0, 2000.0]
    assert tables.units["lfp_sampling_rate"].to_pylist() == [1250.0, 2000.0]
    assert tables.probes.schema.field("lfp_sampling_rate").metadata[b"unit"] == b"Hz"


def test_units_of_columns_come_from_the_raw_schema():
    field = project_tables(raw_tables(), UnitFilters()).units.schema.field("waveform_duration")
    assert field.metadata == RAW_SCHEMAS["units"].field("duration").metadata


def test_rows_in_any_order_give_the_same_tables():
    expected = project_tables(raw_tables(), ALL_UNITS)
    raw = raw_tables()
    turned = RawTables(
        **{
            name: getattr(raw, name).take(pa.array(range(getattr(raw, name).num_rows)[::-1]))
            for name in RAW_SCHEMAS
        }
    )
    found = project_tables(turned, ALL_UNITS)
    for name in (*RAW_SCHEMAS, "annotated_units"):
        assert getattr(found, name).equals(getattr(expected, name))


def test_rows_without_their_parents_are_left_out_with_a_finding():
    raw = raw_tables(
        probes={"ecephys_session_id": [1, 7]},
        units={"ecephys_channel_id": pa.array([100, 999, 200, None])},
    )
    tables = project_tables(raw, ALL_UNITS)
    assert tables.probes["id"].to_pylist() == [10]
    assert tables.channels["id"].to_pylist() == [100, 101]
    assert tables.units["id"].to_pylist() == [1000]
    assert tables.findings == [
        ("probes", "1 of 2 (id 20) are left out: their sessions are not in the table of sessions"),
        ("channels", "2 of 4 (id 200, 201) are left out with their probes"),
        ("units", "2 of 4 (id 1001, 2001) are left out: their channels are not in the table of channels"),
        ("units", "1 of 4 (id 2000) are left out with their channels"),
        ("sessions", "1 of 2 (id 2) have no probes: is the table of probes whole?"),
    ]
    assert tables.sessions["ecephys_structure_acronyms"].to_pylist() == [["VISp", None], None]


def test_a_cut_table_of_units_is_found():
    raw = raw_tables()
    raw = RawTables(raw.sessions, raw.probes, raw.channels, raw.units.slice(0, 2))
    assert project_tables(raw, ALL_UNITS).findings == [
        ("probes", "1 of 2 (id 20) have channels but no units: is the table of units whole?")
    ]
    raw = RawTables(raw.sessions, raw.probes, raw.channels.slice(0, 2), raw.units)
    assert project_tables(raw, ALL_UNITS).findings == [
        ("probes", "1 of 2 (id 20) have no channels: is the table of channels whole?")
    ]


def test_of_many_ids_the_first_are_named():
    raw = raw_tables()
    units = pa.table({"id": range(7), "ecephys_channel_id": [5] * 7})
    findings = project_tables(RawTables(raw.sessions, raw.probes, raw.channels, units), ALL_UNITS).findings
    reason = "7 of 7 (id 0, 1, 2, 3, 4, ...) are left out: their channels are not in the table of channels"
    assert findings[0] == ("units", reason)


@pytest.mark.parametrize("empty", ["units", "channels", "probes", "sessions"])
def test_a_table_without_rows_gives_tables_without_those(empty):
    raw = raw_tables()
    raw = RawTables(
        **{
            name: RAW_SCHEMAS[name].empty_table() if name == empty else getattr(raw, name)
            for name in RAW_SCHEMAS
        }
    )
    tables = project_tables(raw, UnitFilters())
    assert tables.units.num_rows == 0
    assert getattr(tables, empty).num_rows == 0
    assert sum(tables.sessions["unit_count"].to_pylist()) == 0
    assert tables.findings


def test_a_project_of_one_session_with_one_probe():
    raw = raw_tables()
    one = RawTables(
        raw.sessions.slice(0, 1), raw.probes.slice(0, 1), raw.channels.slice(0, 1), raw.units.slice(0, 1)
    )
    tables = project_tables(one, UnitFilters())
    assert tables.sessions["ecephys_structure_acronyms"].to_pylist() == [["VISp"]]
    assert tables.units.num_rows == 1


def test_suppressed_columns():
    raw = raw_tables(sessions={"has_nwb": [True, True], "mood": ["x", "y"]})
    assert not set(SUPPRESSED["sessions"]) & set(project_tables(raw, ALL_UNITS).sessions.column_names)
    suppress = {
        "sessions": ["mood", "full_genotype", "unit_count"],
        "channels": [],
        "units": ["peak_channel"],
    }
    tables = project_tables(raw, ALL_UNITS, suppress)
    assert tables.sessions.column_names == [
        "id",
        "session_type",
        "has_nwb",
        "channel_count",
        "probe_count",
        "ecephys_structure_acronyms",
    ]
    assert {"probe_name", "has_nwb", "mood", "genotype"} <= set(tables.channels.column_names)
    assert "local_index" in tables.units.column_names
    assert "peak_channel" not in tables.annotated_units.column_names


@pytest.mark.parametrize(
    ("suppress", "message"),
    [
        ({"spikes": []}, "suppress: no table spikes; known are sessions, probes, channels, units"),
        ({"units": ["qualty"]}, "suppress: units have no column 'qualty'; known are .*quality"),
        ({"units": ["id"]}, "suppress: units have no column 'id'"),
        ({"channels": ["probe_count"]}, "suppress: channels have no column 'probe_count'"),
    ],
)
def test_unknown_names_to_suppress_are_refused(suppress, message):
    with pytest.raises(ConfigurationError, match=message):
        project_tables(raw_tables(), UnitFilters(), suppress)


def test_columns_of_one_name_get_the_suffix_of_their_table():
    raw = raw_tables(
        sessions={"note": ["s1", "s2"]},
        probes={"note": ["p1", "p2"]},
        units={"note": ["u1", "u2", "u3", "u4"]},
    )
    units = project_tables(raw, ALL_UNITS).units
    assert units["note"].to_pylist() == ["u1", "u2", "u3", "u4"]
    assert units["note_probe"].to_pylist() == ["p1", "p1", "p2", "p2"]
    assert units["note_session"].to_pylist() == ["s1", "s1", "s2", "s2"]


def test_a_rename_never_hides_another_column():
    raw = raw_tables(units={"waveform_duration": [9.0, 9.0, 9.0, 9.0]})
    units = project_tables(raw, ALL_UNITS).units
    assert units["duration"].to_pylist() == [1.0, 2.0, 3.0, 4.0]
    assert units["waveform_duration"].to_pylist() == [9.0] * 4


def test_an_id_that_is_there_twice_is_refused():
    with pytest.raises(ProjectError, match="the table of probes has id 10 more than once"):
        project_tables(raw_tables(probes={"id": [10, 10]}), UnitFilters())


@pytest.mark.parametrize("names", [(1, 2), ("mouse-1", "mouse-2")])
def test_ids_that_repeat_between_sessions_are_joined_within_them(names):
    """As in session files of a lab, each of which counts from 0."""
    first, second = names
    sessions = pa.table(
        {"id": [second, first], "ecephys_session_id": [second, first], "session_type": ["b", "a"]}
    )
    probes = pa.table({"id": [0, 0], "ecephys_session_id": [second, first], "name": ["B", "A"]})
    of_session = [second] * 2 + [first] * 2
    channels = pa.table(
        {
            "id": [0, 1, 0, 1],
            "ecephys_session_id": of_session,
            "ecephys_probe_id": [0, 0, 0, 0],
            "local_index": [20, 21, 10, 11],
        }
    )
    units = pa.table(
        {"id": [0, 1, 0, 1], "ecephys_session_id": of_session, "ecephys_channel_id": [1, 0, 1, 5]}
    )
    tables = project_tables(RawTables(sessions, probes, channels, units), UnitFilters())
    assert tables.units.select(
        ["ecephys_session_id", "id", "local_index", "name", "session_type"]
    ).to_pylist() == [
        {"ecephys_session_id": first, "id": 0, "local_index": 11, "name": "A", "session_type": "a"},
        {"ecephys_session_id": second, "id": 0, "local_index": 21, "name": "B", "session_type": "b"},
        {"ecephys_session_id": second, "id": 1, "local_index": 20, "name": "B", "session_type": "b"},
    ]
    assert tables.sessions["id"].to_pylist() == [first, second]
    assert tables.sessions["unit_count"].to_pylist() == [1, 2]
    assert tables.sessions.column_names[:2] == ["id", "session_type"]
    assert tables.findings == [
        ("units", "1 of 4 (id 1) are left out: their channels are not in the table of channels")
    ]


def test_two_sessions_of_one_id_are_refused():
    with pytest.raises(ProjectError, match="the table of sessions has id 1 more than once"):
        project_tables(raw_tables(sessions={"id": [1, 1]}), UnitFilters())


@settings(deadline=None, max_examples=40)
@given(
    owners=st.lists(st.integers(0, 4), max_size=12),
    channels=st.lists(st.tuples(st.integers(0, 14), st.sampled_from(["a", "b", None])), max_size=20),
    units=st.lists(st.integers(0, 24), max_size=20),
)
def test_merges_and_counts_are_those_of_loops(owners, channels, units):
    """3 sessions; parents of probes, channels and units are drawn, some of them unknown."""
    raw = RawTables(
        pa.table({"id": [0, 1, 2], "session_type": ["x", "y", "x"]}),
        pa.table(
            {
                "id": pa.array(range(len(owners)), pa.int64()),
                "ecephys_session_id": pa.array(owners, pa.int64()),
            }
        ),
        pa.table(
            {
                "id": pa.array(range(len(channels)), pa.int64()),
                "ecephys_probe_id": pa.array([probe for probe, _ in channels], pa.int64()),
                "ecephys_structure_acronym": pa.array([name for _, name in channels], pa.string()),
            }
        ),
        pa.table(
            {"id": pa.array(range(len(units)), pa.int64()), "ecephys_channel_id": pa.array(units, pa.int64())}
        ),
    )
    tables = project_tables(raw, ALL_UNITS)
    session_of_probe = {i: session for i, session in enumerate(owners) if session < 3}
    probe_of_channel = {i: probe for i, (probe, _) in enumerate(channels) if probe in session_of_probe}
    channel_of_unit = {i: channel for i, channel in enumerate(units) if channel in probe_of_channel}
    assert tables.probes["id"].to_pylist() == list(session_of_probe)
    assert tables.channels["ecephys_session_id"].to_pylist() == [
        session_of_probe[probe] for probe in probe_of_channel.values()
    ]
    assert tables.units["ecephys_channel_id"].to_pylist() == list(channel_of_unit.values())
    for row in tables.sessions.to_pylist():
        probes = [probe for probe, session in session_of_probe.items() if session == row["id"]]
        own = [channel for channel, probe in probe_of_channel.items() if probe in probes]
        assert row["probe_count"] == len(probes)
        assert row["channel_count"] == len(own)
        assert row["unit_count"] == sum(channel in own for channel in channel_of_unit.values())
        names = [name for name, _ in itertools.groupby(channels[channel][1] for channel in own)]
        assert row["ecephys_structure_acronyms"] == (list(dict.fromkeys(names)) if own else None)


def test_distinct_values():
    table = pa.table({"x": pa.array([2.0, None, 1.0, float("nan"), 2.0])})
    assert distinct(table, "x") == [2.0, 1.0]
    with pytest.raises(ConfigurationError, match="no column 'y'; there is: x"):
        distinct(table, "y")
