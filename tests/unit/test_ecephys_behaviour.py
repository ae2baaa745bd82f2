"""Running and optogenetic stimulation in the layouts that there are."""

import h5py
import numpy as np
import pytest

from ephysflow.ecephys.behaviour import (
    OPTOGENETIC_SCHEMA,
    RAW_RUNNING_SCHEMA,
    RUNNING_SCHEMA,
    read_optogenetic_stimulation,
    read_raw_running,
    read_running_speed,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ProjectError

TIMES = [0.0, 0.5, 1.5]


def add_series(file, place, data, times=None, unit="", start=None, **attributes):
    series = file.create_group(place)
    series["data"] = data
    series["data"].attrs.update(unit=unit, **attributes)
    if times is not None:
        series["timestamps"] = times
    if start is not None:
        series["starting_time"] = start
        series["starting_time"].attrs["rate"] = 2.0
    return series


@pytest.fixture
def session(tmp_path):
    """Give a function that writes a session file by a function and opens it."""
    opened = []

    def made(write):
        with h5py.File(tmp_path / "s.nwb", "w") as file:
            file.attrs["nwb_version"] = "2.2.2"
            file["identifier"] = "7"
            write(file)
        opened.append(SessionFile(tmp_path / "s.nwb"))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def test_a_file_without_behaviour(session):
    opened = session(lambda file: None)
    for read, schema in (
        (read_running_speed, RUNNING_SCHEMA),
        (read_raw_running, RAW_RUNNING_SCHEMA),
        (read_optogenetic_stimulation, OPTOGENETIC_SCHEMA),
    ):
        table = read(opened)
        assert table.schema == schema
        assert table.num_rows == 0


def visual_coding_running(file):
    add_series(file, "processing/running/running_speed", [1.0, 2.0, 3.0], TIMES, "cm/s")
    add_series(file, "processing/running/running_speed_end_times", [1.0, 2.0, 3.0], [0.5, 1.5, 2.0], "cm/s")
    add_series(file, "processing/running/running_wheel_rotation", [0.1, 0.2, 0.3], TIMES, "degrees")


def test_running_speed_of_visual_coding(session):
    table = read_running_speed(session(visual_coding_running))
    assert table.schema.names == RUNNING_SCHEMA.names
    assert table.to_pylist()[1] == {"start_time": 0.5, "end_time": 1.5, "velocity": 2.0, "net_rotation": 0.2}
    assert table.schema.field("velocity").metadata[b"unit"] == b"cm/s"
    assert table.schema.field("net_rotation").metadata[b"unit"] == b"degrees"


def test_running_speed_of_visual_behavior(session):
    opened = session(
        lambda file: add_series(file, "processing/running/speed", [1, 2, 3], TIMES, "cm/s", conversion=0.5)
    )
    assert read_running_speed(opened).to_pylist()[2] == {
        "start_time": 1.5,
        "end_time": None,
        "velocity": 1.5,
        "net_rotation": None,
    }


def test_running_speed_sampled_at_a_rate(session):
    opened = session(lambda file: add_series(file, "processing/running/speed", [1.0, 2.0, 3.0], start=10.0))
    assert read_running_speed(opened)["start_time"].to_pylist() == [10.0, 10.5, 11.0]


def test_times_may_be_a_link_to_those_of_another_series(session):
    def write(file):
        visual_coding_running(file)
        del file["processing/running/running_wheel_rotation/timestamps"]
        file["processing/running/running_wheel_rotation/timestamps"] = h5py.SoftLink(
            "/processing/running/running_speed/timestamps"
        )

    assert read_running_speed(session(write)).num_rows == 3


def test_series_of_different_length_are_an_error(session):
    def write(file):
        visual_coding_running(file)
        del file["processing/running/running_wheel_rotation"]
        add_series(file, "processing/running/running_wheel_rotation", [0.1], [0.0])

    with pytest.raises(ProjectError, match="velocity 3, net_rotation 1"):
        read_running_speed(session(write))


@pytest.mark.parametrize(
    ("data", "times", "message"),
    [
        ([1.0, 2.0], TIMES, "one number for each of the 2 samples"),
        ([b"a", b"b", b"c"], TIMES, "numbers, one or more a sample, are needed"),
        (np.zeros((3, 2)), TIMES, r"has shape \(3, 2\); one number a sample is needed"),
        ([1.0, 2.0, 3.0], None, "neither timestamps nor starting_time"),
    ],
)
def test_damaged_series_are_an_error(session, data, times, message):
    opened = session(lambda file: add_series(file, "processing/running/running_speed", data, times))
    with pytest.raises(ProjectError, match=message) as raised:
        read_running_speed(opened)
    assert "s.nwb" in str(raised.value)


def test_raw_running(session):
    def write(file):
        add_series(file, "acquisition/raw_running_wheel_rotation", [0.1, 0.2, 0.3], TIMES, "radians")
        add_series(file, "acquisition/running_wheel_supply_voltage", [5.0, 5.1, 5.2], TIMES, "V")

    table = read_raw_running(session(write))
    assert table.schema.names == RAW_RUNNING_SCHEMA.names
    assert table.to_pylist()[0] == {
        "time": 0.0,
        "net_rotation": 0.1,
        "signal_voltage": None,
        "supply_voltage": 5.0,
    }


def test_raw_running_with_two_clocks_is_an_error(session):
    def write(file):
        add_series(file, "acquisition/raw_running_wheel_rotation", [0.1, 0.2, 0.3], TIMES)
        add_series(file, "acquisition/running_wheel_signal_voltage", [0.1, 0.2, 0.3], [0.0, 0.5, 1.6])

    with pytest.raises(ProjectError, match="running_wheel_signal_voltage has other times than"):
        read_raw_running(session(write))


def optogenetic(**columns):
    def write(file):
        table = file.create_group("processing/optotagging/optogenetic_stimulation")
        table.attrs["colnames"] = list(columns)
        for name, values in columns.items():
            text = isinstance(values[0], str)
            table.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
        table["id"] = np.arange(2)

    return write


PULSES = {"start_time": [1.0, 2.0], "stop_time": [1.25, 2.5]}


def test_optogenetic_stimulation(session):
    write = optogenetic(
        **PULSES, condition=["pulse", "sine"], level=[1, 2], stimulus_name=["a", "b"], duration=[0.2, 0.4]
    )
    table = read_optogenetic_stimulation(session(write))
    assert table.schema == OPTOGENETIC_SCHEMA
    assert table.to_pylist()[1] == {
        "start_time": 2.0,
        "stop_time": 2.5,
        "condition": "sine",
        "level": 2.0,
        "stimulus_name": "b",
        "duration": 0.4,
    }


def test_optogenetic_stimulation_without_a_duration(session):
    table = read_optogenetic_stimulation(session(optogenetic(**PULSES)))
    assert table["duration"].to_pylist() == [0.25, 0.5]
    assert table["condition"].to_pylist() == [None, None]
    assert table.schema == OPTOGENETIC_SCHEMA


def test_a_condition_that_is_no_text_is_an_error(session):
    with pytest.raises(ProjectError, match="column condition has type int64; string is needed"):
        read_optogenetic_stimulation(session(optogenetic(**PULSES, condition=[1, 2])))
