"""Tables of intervals: invalid times, epochs, trials."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.ecephys.intervals import (
    EPOCH_SCHEMA,
    INTERVAL_SCHEMA,
    interval_tables,
    read_epochs,
    read_intervals,
    read_invalid_times,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ConfigurationError, ProjectError


def add_table(file, place, **columns):
    """Write a table; a list of lists becomes a ragged column."""
    table = file.create_group(place)
    table.attrs["colnames"] = list(columns)
    for name, values in columns.items():
        if isinstance(values, list) and values and isinstance(values[0], list):
            table[f"{name}_index"] = np.cumsum([len(row) for row in values])
            values = [value for row in values for value in row]
        text = isinstance(values, list) and all(isinstance(value, str) for value in values)
        table.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
    table["id"] = np.arange(len(columns["start_time"]))
    return table


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "s.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file["identifier"] = "7"
        yield file


@pytest.fixture
def session(file, tmp_path):
    """Give a function that closes the file that was written and opens it as a session."""
    opened = []

    def open_it():
        file.close()
        opened.append(SessionFile(tmp_path / "s.nwb"))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def test_a_file_without_intervals(session):
    session = session()
    assert read_invalid_times(session).schema == INTERVAL_SCHEMA
    assert read_invalid_times(session).num_rows == 0
    assert read_epochs(session).schema == EPOCH_SCHEMA
    assert read_epochs(session).num_rows == 0
    assert interval_tables(session) == []
    with pytest.raises(ConfigurationError, match="no table of intervals 'trials'; there are: none"):
        read_intervals(session, "trials")


def test_invalid_times(file, session):
    add_table(
        file,
        "intervals/invalid_times",
        start_time=[1.0, 5.0],
        stop_time=[2.0, 5.0],
        tags=[["EcephysProbe", "12", "probeA"], ["all_probes"]],
    )
    table = read_invalid_times(session())
    assert table.schema == INTERVAL_SCHEMA
    assert table.to_pylist() == [
        {"id": 0, "start_time": 1.0, "stop_time": 2.0, "tags": ["EcephysProbe", "12", "probeA"]},
        {"id": 1, "start_time": 5.0, "stop_time": 5.0, "tags": ["all_probes"]},
    ]


def test_invalid_times_with_one_tag_a_row_or_none(file, session):
    add_table(file, "intervals/invalid_times", start_time=[1.0], stop_time=[2.0], tags=["all_probes"])
    assert read_invalid_times(session())["tags"].to_pylist() == [["all_probes"]]


def test_invalid_times_without_tags(file, session):
    add_table(file, "intervals/invalid_times", start_time=[1.0], stop_time=[2.0])
    assert read_invalid_times(session())["tags"].to_pylist() == [None]


@pytest.mark.parametrize(("start", "stop"), [(2.0, 1.0), (np.nan, 1.0), (1.0, np.nan)])
def test_an_invalid_interval_that_is_none_is_an_error(file, session, start, stop):
    add_table(file, "intervals/invalid_times", start_time=[0.0, start], stop_time=[1.0, stop])
    with pytest.raises(ProjectError, match="s.nwb: /intervals/invalid_times: row 1 is from"):
        read_invalid_times(session())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False),
            st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=3),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_tags_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("s") / "s.nwb"
    starts, tags = zip(*rows, strict=True)
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file["identifier"] = "7"
        table = add_table(file, "intervals/invalid_times", start_time=starts, stop_time=starts)
        table.attrs["colnames"] = ["start_time", "stop_time", "tags"]
        table["tags_index"] = np.cumsum([len(row) for row in tags])
        table.create_dataset("tags", data=[t for row in tags for t in row], dtype=h5py.string_dtype())
    with SessionFile(path) as session:
        found = read_invalid_times(session)
    assert found["start_time"].to_pylist() == list(starts)
    # empty text is null, as in all tables
    assert found["tags"].to_pylist() == [[tag or None for tag in row] for row in tags]


def test_tables_that_can_serve_as_trials(file, session):
    times = {"start_time": [1.0], "stop_time": [2.0]}
    add_table(file, "intervals/flashes_presentations", **times)
    add_table(file, "intervals/trials", **times)
    add_table(file, "intervals/invalid_times", **times)
    add_table(file, "processing/optotagging/optogenetic_stimulation", **times)
    add_table(file, "processing/behavior/trials", **times, outcome=["hit"])
    add_table(file, "processing/behavior/no_intervals", start_time=[1.0])
    session = session()
    assert interval_tables(session) == [
        "flashes_presentations",
        "trials",
        "behavior/trials",
        "optogenetic_stimulation",
    ]
    assert read_intervals(session, "behavior/trials")["outcome"].to_pylist() == ["hit"]
    with pytest.raises(ConfigurationError, match="'invalid_times'; there are: flashes_presentations, trials"):
        read_intervals(session, "invalid_times")


def test_all_columns_of_a_table_are_read_in_their_types(file, session):
    table = add_table(
        file,
        "intervals/trials",
        start_time=np.array([3, 1]),
        stop_time=[4.0, np.nan],
        choice=["left", "right"],
        rewarded=np.array([True, False]),
        block=np.array([1, 2], dtype=np.int32),
        licks=[[3.1, 3.2], [1.5]],
        position=np.array([[1.0, 2.0], [3.0, 4.0]]),
    )
    reference = np.zeros(2, dtype=[("idx_start", "i4"), ("count", "i4")])
    table["timeseries"] = reference
    table.attrs["colnames"] = [*table.attrs["colnames"], "timeseries"]
    found = read_intervals(session(), "trials")
    assert found.schema.field("start_time").type == pa.float64()
    assert found.schema.field("stop_time").metadata == {b"unit": b"s"}
    assert found.schema.field("block").type == pa.int32()
    assert found.drop_columns(["stop_time", "id"]).to_pylist() == [
        {
            "start_time": 3.0,
            "choice": "left",
            "rewarded": True,
            "block": 1,
            "licks": [3.1, 3.2],
            "position": [1.0, 2.0],
        },
        {
            "start_time": 1.0,
            "choice": "right",
            "rewarded": False,
            "block": 2,
            "licks": [1.5],
            "position": [3.0, 4.0],
        },
    ]


def test_values_of_any_byte_order_and_missing_ones(file, session):
    add_table(
        file,
        "intervals/trials",
        start_time=np.array([1.0, 2.0], dtype=">f8"),
        stop_time=[1.5, np.nan],
        block=np.array([1, 2], dtype=">i4"),
        choice=["left", ""],
    )
    assert read_intervals(session(), "trials").to_pylist() == [
        {"id": 0, "start_time": 1.0, "stop_time": 1.5, "block": 1, "choice": "left"},
        {"id": 1, "start_time": 2.0, "stop_time": None, "block": 2, "choice": None},
    ]


def test_links_to_other_files_are_passed_over(file, session):
    add_table(file, "intervals/epochs", start_time=[1.0], stop_time=[2.0])
    file["intervals/elsewhere"] = h5py.ExternalLink("other.nwb", "/intervals/epochs")
    file["processing/behavior/nothing"] = h5py.SoftLink("/not/there")
    assert interval_tables(session()) == ["epochs"]


def test_names_that_are_no_text_are_an_error(file, session):
    file.create_group(b"intervals/\xff\xfe")
    with pytest.raises(ProjectError, match="s.nwb: /intervals: names of what is in it are no text"):
        interval_tables(session())


def test_epochs_hold_all_tables_but_presentations(file, session):
    times = {"start_time": [1.0], "stop_time": [2.0]}
    add_table(file, "intervals/epochs", **times, tags=[["wake"]], level=["high"], label=["a"])
    add_table(file, "intervals/trials", **times, level=[2.5])
    add_table(file, "intervals/flashes_presentations", **times)
    add_table(file, "intervals/invalid_times", **times)
    add_table(file, "processing/optotagging/optogenetic_stimulation", **times)
    table = read_epochs(session())
    assert table.schema.names[:5] == EPOCH_SCHEMA.names
    assert table.to_pylist() == [
        {
            "interval_table": "epochs",
            "id": 0,
            "start_time": 1.0,
            "stop_time": 2.0,
            "tags": ["wake"],
            "epochs.level": "high",
            "label": "a",
            "trials.level": None,
        },
        {
            "interval_table": "trials",
            "id": 0,
            "start_time": 1.0,
            "stop_time": 2.0,
            "tags": None,
            "epochs.level": None,
            "label": None,
            "trials.level": 2.5,
        },
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"start_time": ["a"], "stop_time": [1.0]}, "column start_time does not hold numbers"),
        ({"start_time": [1.0], "stop_time": [1.0, 2.0]}, "stop_time has shape .* 1 rows"),
        (
            {"start_time": [1.0], "stop_time": [2.0], "size": np.ones(1, dtype=np.longdouble)},
            "column size has type float128; numbers, flags or text are needed",
        ),
        ({"start_time": [1.0], "stop_time": [2.0], "tags": [1]}, "column tags has type int64"),
    ],
)
def test_damaged_tables_are_one_clear_error(file, session, columns, message):
    add_table(file, "intervals/epochs", **columns)
    with pytest.raises(ProjectError, match=message) as raised:
        read_epochs(session())
    assert "/intervals/epochs" in str(raised.value)
