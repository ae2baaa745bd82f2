"""What the animal did and what was done to it: running, optogenetic stimulation."""

from collections.abc import Mapping

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.intervals import read_table
from ephysflow.ecephys.nwb_columns import arrow_column
from ephysflow.ecephys.nwb_file import group, member
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.time_series import Samples, read_series
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

RUNNING, OPTOTAGGING = "processing/running", "processing/optotagging/optogenetic_stimulation"

RUNNING_SCHEMA = pa.schema(
    [
        column("start_time", pa.float64(), "s"),
        column("end_time", pa.float64(), "s", "null where the file gives one time a sample"),
        column("velocity", pa.float64(), "cm/s"),
        column(
            "net_rotation", pa.float64(), "radians", "of the wheel in the interval; null where not stored"
        ),
    ]
)
"""Columns of the running speed; a unit that the file gives takes the place of the one here."""

RAW_RUNNING_SCHEMA = pa.schema(
    [
        column("time", pa.float64(), "s"),
        column("net_rotation", pa.float64(), "radians", "of the wheel"),
        column("signal_voltage", pa.float64(), "V", "of the sensor of the wheel"),
        column("supply_voltage", pa.float64(), "V", "of the sensor of the wheel"),
    ]
)
"""Columns of the raw running data; null in a column that the file does not have."""

OPTOGENETIC_SCHEMA = pa.schema(
    [
        column("start_time", pa.float64(), "s"),
        column("stop_time", pa.float64(), "s"),
        column("condition", pa.string(), "", "shape of the stimulus"),
        column("level", pa.float64(), "", "of the light, as stored"),
        column("stimulus_name", pa.string()),
        column("duration", pa.float64(), "s", "as stored; stop - start where the file has none"),
    ]
)
"""Columns of the optogenetic stimulation."""

_RAW_RUNNING = {
    "net_rotation": "raw_running_wheel_rotation",
    "signal_voltage": "running_wheel_signal_voltage",
    "supply_voltage": "running_wheel_supply_voltage",
}


def read_running_speed(session: SessionFile) -> pa.Table:
    """Read the running speed.

    Parameters
    ----------
    session : open session file. Visual Coding: module ``running`` with ``running_speed`` (start times),
        ``running_speed_end_times`` and ``running_wheel_rotation``. Visual Behavior: ``speed`` with one time a sample

    Returns
    -------
    table of `RUNNING_SCHEMA`, one row a sample, in the order of the file; without rows where the file has none

    Raises
    ------
    ProjectError
        if a series is damaged, or the series have not equally many samples.
    """
    speed = _series_at(session, f"{RUNNING}/running_speed")
    if speed is None:
        speed = _series_at(session, f"{RUNNING}/speed")
        ends = rotation = None
    else:
        ends = _series_at(session, f"{RUNNING}/running_speed_end_times")
        rotation = _series_at(session, f"{RUNNING}/running_wheel_rotation")
    if speed is None:
        return RUNNING_SCHEMA.empty_table()
    return _table(
        RUNNING_SCHEMA,
        {
            "start_time": speed.times,
            "end_time": None if ends is None else ends.times,
            "velocity": speed.values,
            "net_rotation": None if rotation is None else rotation.values,
        },
        {"velocity": speed.unit, "net_rotation": "" if rotation is None else rotation.unit},
        f"{session.path}: {RUNNING}",
    )


def read_raw_running(session: SessionFile) -> pa.Table:
    """Read what the sensor of the running wheel gave, before it was made a speed.

    Returns
    -------
    table of `RAW_RUNNING_SCHEMA`, one row a sample; without rows where the file has none

    Raises
    ------
    ProjectError
        if a series is damaged, or the series were not sampled at the same times.
    """
    found = {name: _series_at(session, f"acquisition/{place}") for name, place in _RAW_RUNNING.items()}
    there = {name: series for name, series in found.items() if series is not None}
    if not there:
        return RAW_RUNNING_SCHEMA.empty_table()
    times = next(iter(there.values())).times
    for name, series in there.items():
        if not np.array_equal(series.times, times):
            raise ProjectError(
                f"{session.path}: acquisition/{_RAW_RUNNING[name]} has other times than "
                f"acquisition/{_RAW_RUNNING[next(iter(there))]}"
            )
    return _table(
        RAW_RUNNING_SCHEMA,
        {"time": times, **{name: there[name].values if name in there else None for name in found}},
        {name: series.unit for name, series in there.items()},
        f"{session.path}: acquisition",
    )


def read_optogenetic_stimulation(session: SessionFile) -> pa.Table:
    """Read the pulses of light.

    Returns
    -------
    table of `OPTOGENETIC_SCHEMA`, one row a pulse, in the order of the file; without rows where the file has none

    Raises
    ------
    ProjectError
        if the table is damaged, or a column has another type.
    """
    place = member(session.h5, OPTOTAGGING)
    if not isinstance(place, h5py.Group):
        return OPTOGENETIC_SCHEMA.empty_table()
    table = read_table(place, OPTOGENETIC_SCHEMA).select(OPTOGENETIC_SCHEMA.names)
    if table["duration"].null_count < table.num_rows:
        return table
    lengths = values_of(table["stop_time"]) - values_of(table["start_time"])
    place_of = table.schema.get_field_index("duration")
    return table.set_column(place_of, OPTOGENETIC_SCHEMA.field("duration"), arrow_column(lengths))


def _series_at(session: SessionFile, place: str) -> Samples | None:
    if member(session.h5, place) is None:
        return None
    samples = read_series(group(session.h5, place))
    if samples.values.ndim != 1:
        raise ProjectError(
            f"{session.path}: {place} has shape {samples.values.shape}; one number a sample is needed"
        )
    return samples


def _table(
    schema: pa.Schema, values: Mapping[str, np.ndarray | None], units: Mapping[str, str], place: str
) -> pa.Table:
    """Return a table of `schema`, with the units of the file; None becomes a column of nulls."""
    lengths = {name: len(v) for name, v in values.items() if v is not None}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ProjectError(f"{place}: its series have not equally many samples ({counts})")
    rows = next(iter(lengths.values()))
    arrays = []
    for name in schema.names:
        found = values[name]
        arrays.append(pa.nulls(rows, pa.float64()) if found is None else array_of(found.astype(np.float64)))
    fields = [
        f.with_metadata({**f.metadata, b"unit": units[f.name].encode()}) if units.get(f.name) else f
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
