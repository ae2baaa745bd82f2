"""Eye tracking: pupil, eye, corneal reflection and gaze at each frame of the camera, and where the camera stood.

No released file with eye tracking could be had. The names of the modules of Visual Coding are those of the released
files, what is in them is read by its NWB type (tables and series); the containers EyeTracking, PupilTracking and
EllipseEyeTracking (Visual Behavior) are read as their published types say. Both were tried on files written for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of
from ephysflow.ecephys.intervals import children, modules
from ephysflow.ecephys.nwb_columns import text_column
from ephysflow.ecephys.nwb_file import (
    attribute,
    dataset,
    member,
    read_column,
    read_values,
    row_count,
    table_columns,
    where,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.time_series import read_series
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

EYE_TRACKING_SCHEMA = pa.schema([column("time", pa.float64(), "s", "of the frame")])
"""Columns that the table always has; the others depend on what the file holds."""

RIG_SCHEMA = pa.schema(
    [
        column("equipment", pa.string(), "", "name of the rig"),
        column("quantity", pa.string(), "", "position or rotation of monitor, camera or light"),
        column("x", pa.float64()),
        column("y", pa.float64()),
        column("z", pa.float64()),
        column("unit", pa.string(), "", "of x, y and z"),
    ]
)
"""Columns of the geometry of the rig."""

RIG = "processing/eye_tracking_rig_metadata"

_MODULES = {"eye_tracking": "", "raw_gaze_mapping": "raw_", "filtered_gaze_mapping": "filtered_"}
"""Modules of Visual Coding, and what the names of their columns begin with."""

_CONTAINERS = ("EyeTracking", "PupilTracking", "EllipseEyeTracking")
_TIME_COLUMNS = ("timestamps", "timestamp", "time")
_HALF_AXES = ("width", "height")
"""Columns of the tables of Visual Coding that hold half an axis of an ellipse."""

_ELLIPSE = "EllipseSeries"
_NOT_VALUES = ("data", "timestamps", "starting_time", "sync", "control", "control_description")
"""Datasets of a series that are not one more value for each sample."""


@dataclass(frozen=True)
class Track:
    """What was tracked, at each frame.

    Attributes
    ----------
    place : where it is in the file
    times : (N,) s; None where the file gives none
    values : column -> (N,) numbers, or truth values; empty for events, of which there are only times
    units : column -> unit, where there is one
    """

    place: str
    times: np.ndarray | None
    values: dict[str, np.ndarray]
    units: dict[str, str] = field(default_factory=dict)


def eye_tracks(session: SessionFile) -> list[Track]:
    """Read everything that was tracked, each with its own times.

    Read are the modules ``eye_tracking``, ``raw_gaze_mapping`` and ``filtered_gaze_mapping`` (Visual Coding: widths and
    heights of the tables are doubled, because half axes are stored), and the containers EyeTracking, PupilTracking and
    EllipseEyeTracking (Visual Behavior) of acquisition and processing, as they are stored.

    Raises
    ------
    ProjectError
        if something is damaged, or its parts do not fit together.
    """
    found: list[Track] = []
    for place, prefix, doubled in _places(session.h5):
        for item, name in _items(place, prefix):
            if attribute(item, "colnames") is not None:
                found.append(_table_track(item, name, doubled))
            elif member(item, "data") is not None:
                found.append(_series_track(item, name))
            else:
                found.append(_events_track(item))
    return found


def read_eye_tracking(session: SessionFile) -> pa.Table:
    """Read everything that was tracked as one table, a row a frame.

    Returns
    -------
    ``time``, then the columns of `eye_tracks`, e.g. ``pupil_center_x``, ``pupil_area``, ``pupil_width``,
    ``likely_blink``; only ``time``, without rows, where the file has no eye tracking

    Raises
    ------
    ProjectError
        as `eye_tracks`; if tracks have other times than the first one, or two have columns of one name.
    """
    tracks = eye_tracks(session)
    framed = [track for track in tracks if track.values]
    first = next((track for track in framed if track.times is not None), None)
    if first is None or first.times is None:
        if framed:
            raise ProjectError(f"{session.path}: {framed[0].place}: the file gives no times for it")
        return EYE_TRACKING_SCHEMA.empty_table()
    columns, units = {"time": first.times}, {"time": "s"}
    for track in framed:
        if track.times is not None and not np.array_equal(track.times, first.times):
            raise ProjectError(
                f"{session.path}: {track.place} has other times than {first.place}; the two make no common table "
                "(eye_tracks gives them one by one)"
            )
        for name, values in track.values.items():
            if name in columns:
                raise ProjectError(f"{session.path}: {track.place}: a column {name} is there already")
            if len(values) != len(first.times):
                raise ProjectError(
                    f"{session.path}: {track.place} has {len(values)} rows, but {first.place} has {len(first.times)}"
                )
            columns[name] = values
        units |= track.units
    for track in tracks:
        if not track.values and track.times is not None:
            columns[track.place.rpartition("/")[2]] = np.isin(first.times, track.times)
    arrays = [array_of(_plain(values)) for values in columns.values()]
    fields = [column(n, a.type, units.get(n, "")) for n, a in zip(columns, arrays, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _plain(values: np.ndarray) -> np.ndarray:
    """Return flags, int64 or float64, whatever size and byte order the file has."""
    kinds: dict[str, type] = {"b": np.bool_, "f": np.float64}
    return values.astype(kinds.get(values.dtype.kind, np.int64))


def read_eye_tracking_rig(session: SessionFile) -> pa.Table:
    """Read where monitor, camera and light of the eye tracking stood.

    Returns
    -------
    table of `RIG_SCHEMA`, one row a position or rotation; without rows where the file has none

    Raises
    ------
    ProjectError
        if a position is not three numbers.
    """
    module = member(session.h5, RIG)
    texts: list[tuple[str | None, str, str | None]] = []
    numbers: list[np.ndarray] = []
    for rig in children(module).values() if isinstance(module, h5py.Group) else ():
        if not isinstance(rig, h5py.Group):
            continue
        for quantity in children(rig):
            found = dataset(rig, quantity)
            if found.shape != (3,) or found.dtype.kind not in "fiu":
                raise ProjectError(
                    f"{where(found)} has type {found.dtype} and shape {found.shape}; three numbers are needed"
                )
            numbers.append(read_values(found).astype(np.float64))
            texts.append((attribute(rig, "equipment"), quantity, attribute(found, "unit")))
    equipment, quantities, units = (text_column([row[i] for row in texts]) for i in range(3))
    x, y, z = (array_of(axis) for axis in np.reshape(numbers, (-1, 3)).T)
    return pa.Table.from_arrays([equipment, quantities, x, y, z, units], schema=RIG_SCHEMA)


def _places(file: h5py.File) -> Iterator[tuple[h5py.Group, str, bool]]:
    """Yield groups with tracks, what their columns begin with, and whether widths and heights are half axes."""
    found = modules(file)
    for name, prefix in _MODULES.items():
        if name in found:
            yield found[name], prefix, True
    acquisition = member(file, "acquisition")
    holders = [acquisition] if isinstance(acquisition, h5py.Group) else []
    holders += [module for name, module in found.items() if name not in _MODULES]
    for holder in holders:
        for container in children(holder).values():
            if isinstance(container, h5py.Group) and attribute(container, "neurodata_type") in _CONTAINERS:
                yield container, "", False


def _items(place: h5py.Group, prefix: str) -> Iterator[tuple[h5py.Group, str]]:
    """Yield the tables and series in a module or container, and inside the containers of a module."""
    for name, item in children(place).items():
        if not isinstance(item, h5py.Group):
            continue
        if attribute(item, "neurodata_type") in _CONTAINERS:
            yield from _items(item, prefix)
        elif attribute(item, "colnames") is not None or any(
            member(item, part) is not None for part in ("data", "timestamps")
        ):
            yield item, f"{prefix}{name}"


def _table_track(table: h5py.Group, name: str, doubled: bool) -> Track:
    times = None
    values: dict[str, np.ndarray] = {}
    for column_name in table_columns(table):
        found = read_column(table, column_name)
        if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "fiub":
            raise ProjectError(f"{where(table)}: column {column_name} does not hold one number a row")
        if column_name in _TIME_COLUMNS:
            times = found.astype(np.float64)
            continue
        is_half = doubled and column_name.rpartition("_")[2] in _HALF_AXES
        values[_joined(name, column_name)] = found * 2 if is_half else found
    if not values:
        raise ProjectError(f"{where(table)} has {row_count(table)} rows, but no column of values")
    return Track(table.name, times, values)


def _joined(track: str, column_name: str) -> str:
    """Name a column by its track, unless the file did so already."""
    body = track.removesuffix("_ellipse_fits").removesuffix("_tracking")
    return column_name if column_name.startswith(f"{body}_") else f"{body}_{column_name}"


def _series_track(series: h5py.Group, name: str) -> Track:
    samples = read_series(series)
    ellipse = attribute(series, "neurodata_type") == _ELLIPSE
    body = name.removesuffix("_tracking")
    if samples.values.ndim == 1:
        names = [name]
        values = [samples.values]
    else:
        width = samples.values.shape[1]
        axes = ("x", "y", "z")[:width] if width <= 3 else tuple(map(str, range(width)))
        names = [f"{body}_center_{axis}" if ellipse else f"{name}_{axis}" for axis in axes]
        values = list(samples.values.T)
    columns = dict(zip(names, values, strict=True))
    units = dict.fromkeys(names, samples.unit)
    if name == "likely_blink":
        columns[name] = np.nan_to_num(columns[name], nan=0).astype(bool)
        units = {}
    for further in children(series) if ellipse else ():
        if further not in _NOT_VALUES:
            found = dataset(series, further)
            if found.shape != samples.times.shape or found.dtype.kind not in "fiub":
                raise ProjectError(
                    f"{where(found)} has type {found.dtype} and shape {found.shape}; one number for each of the "
                    f"{len(samples.times)} frames is needed"
                )
            columns[f"{body}_{further}"] = read_values(found)
    return Track(series.name, samples.times, columns, units)


def _events_track(events: h5py.Group) -> Track:
    """Read the frames at which something was the case (type Events): times without values."""
    times = dataset(events, "timestamps")
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise ProjectError(f"{where(times)} has type {times.dtype} and shape {times.shape}; times are needed")
    return Track(events.name, read_values(times).astype(np.float64), {})
