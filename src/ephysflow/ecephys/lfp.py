"""LFP (and the CSD beside it) of one probe, read by slices of time; nothing is read that was not asked for."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.intervals import children, modules, read_invalid_times
from ephysflow.ecephys.nwb_file import (
    attribute,
    dataset,
    group,
    member,
    naming,
    open_nwb,
    read_column,
    read_values,
    table_columns,
    text,
    where,
)
from ephysflow.ecephys.session_channels import session_probes
from ephysflow.ecephys.session_file import ELECTRODE_GROUPS, ELECTRODES, SessionFile
from ephysflow.ecephys.structure_intervals import rows_of_channels
from ephysflow.ecephys.time_series import Regular, sample_times, scale_of
from ephysflow.errors import ConfigurationError, ProjectError

ALL_PROBES = "all_probes"
"""Tag of an invalid interval that holds for each probe; other tags name a probe."""

MAX_LFP_RATE = 5000.0
"""Hz; a series outside of an LFP container that is sampled faster is taken for the wide or spike band."""

_PIECE = 1 << 23
"""Bytes of samples that are read at once."""

_VOLTS = ("volts", "volt", "V")


class Csd(NamedTuple):
    """Current source density around the onset of a stimulus, as the file holds it.

    Attributes
    ----------
    x, y : (C,) positions of the virtual channels along the horizontal and vertical axis of the probe
    position_unit : of both
    times : (T,) s, from the onset of the stimulus
    values : (C, T)
    unit : of the values
    """

    x: np.ndarray
    y: np.ndarray
    position_unit: str
    times: np.ndarray
    values: np.ndarray
    unit: str


class Lfp:
    """LFP in an open NWB file.

    Parameters
    ----------
    series : group of an ElectricalSeries
    invalid_times : intervals as `read_invalid_times` gives them. Samples in an interval (ends included) that is tagged
        ``all_probes`` or with the name of a channel's probe are NaN; None for no such intervals

    Attributes
    ----------
    probe_id : of all channels; None where the file gives none, or the channels are of several probes
    probe_names : name of the probe (electrode group) of each channel
    channel_ids : ids of the channels in the order of the columns
    sampling_rate : Hz; the rate of the series, else the one of the electrode group, else the mean

    Raises
    ------
    ProjectError
        if the series lacks something, is not in volts, or its parts do not fit together.
    """

    def __init__(self, series: h5py.Group, invalid_times: pa.Table | None = None) -> None:
        self._data = dataset(series, "data")
        if self._data.ndim not in (1, 2) or self._data.dtype.kind not in "fiu":
            raise ProjectError(
                f"{where(self._data)} has type {self._data.dtype} and shape {self._data.shape}; numbers of samples x "
                "channels are needed"
            )
        self._times = sample_times(series, self._data.shape[0])
        self._scale = scale_of(self._data)
        if self._scale.unit and self._scale.unit not in _VOLTS:
            raise ProjectError(f"{where(self._data)} has the unit {self._scale.unit!r}; volts are needed")
        self._gains = _channel_gains(series, self._n_columns)
        electrodes, rows = _electrodes_of(series, self._n_columns)
        columns = table_columns(electrodes)
        self.channel_ids: np.ndarray = _column(electrodes, "id")[rows]
        names = _column(electrodes, "group_name") if "group_name" in columns else None
        self.probe_names: list[str] = [""] * len(rows) if names is None else [str(names[row]) for row in rows]
        probes = set(_column(electrodes, "probe_id")[rows].tolist()) if "probe_id" in columns else set()
        self.probe_id: int | str | None = probes.pop() if len(probes) == 1 else None
        self._invalid = [] if invalid_times is None else _intervals(invalid_times)
        self.sampling_rate: float = self._sampling_rate(series.file)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._data.shape[0]

    @property
    def time_range(self) -> tuple[float, float] | None:
        """Times of the first and last sample (s); None where there is no sample."""
        if not len(self):
            return None
        return float(self._times[0]), float(self._times[len(self) - 1])

    def times(self, start: float = -math.inf, stop: float = math.inf) -> np.ndarray:
        """Return the times (s) of the samples with ``start <= time < stop``; errors as `read`."""
        first, end = self._bounds(start, stop)
        return self._times_of(first, end, start, stop)

    def read(
        self, start: float, stop: float, channel_ids: Sequence[int | str] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read an interval.

        Parameters
        ----------
        start, stop : s; samples with ``start <= time < stop`` are read, so that intervals that touch share none
        channel_ids : which channels, in the order wanted; None for all

        Returns
        -------
        times : (N,) s
        values : (N, C) float32, V; NaN in invalid intervals
        channel_ids : (C,)

        Raises
        ------
        ConfigurationError
            if `stop` is before `start`, one of them is NaN, or a channel is not of this LFP or given twice.
        ProjectError
            if the times are not in order, or the file is damaged.
        """
        columns = self._columns(channel_ids)
        first, end = self._bounds(start, stop)
        times = np.empty(end - first)
        values = np.empty((end - first, len(columns)), dtype=np.float32)
        for piece, piece_times, piece_values in self._pieces(first, end, columns, start, stop):
            times[piece], values[piece] = piece_times, piece_values
        return times, values, self.channel_ids[columns]

    @property
    def _n_columns(self) -> int:
        return self._data.shape[1] if self._data.ndim == 2 else 1

    def _sampling_rate(self, file: h5py.File) -> float:
        if isinstance(self._times, Regular):
            return self._times.rate
        for name in dict.fromkeys(self.probe_names):
            place = member(file, f"{ELECTRODE_GROUPS}/{name}") if name else None
            rate = attribute(place, "lfp_sampling_rate") if place is not None else None
            if isinstance(rate, int | float) and 0 < rate < math.inf:
                return float(rate)
        first, last = self.time_range or (0.0, 0.0)
        return (len(self) - 1) / (last - first) if last > first else math.nan

    def _columns(self, channel_ids: Sequence[int | str] | None) -> np.ndarray:
        if channel_ids is None:
            return np.arange(self._n_columns)
        return rows_of_channels(self.channel_ids.tolist(), channel_ids, f"LFP {where(self._data)}")

    def _bounds(self, start: float, stop: float) -> tuple[int, int]:
        """Find the samples of an interval by bisection: some tens of times are read, whatever the length."""
        if not start <= stop:
            raise ConfigurationError(
                f"interval from {start} to {stop} s: the start must not be after the stop"
            )
        with naming(self._data):
            first = bisect_left(self._times, start)
            end = bisect_left(self._times, stop, lo=first)
            after = [self._times[place] for place in {first, end} if place < len(self)]
        if not np.isfinite(after).all():
            raise ProjectError(f"{where(self._data)}: its times are not all numbers")
        return first, end

    def _times_of(self, first: int, end: int, start: float, stop: float) -> np.ndarray:
        with naming(self._data):
            times = np.asarray(self._times[first:end], dtype=np.float64)
        in_order = (np.diff(times) >= 0).all() and (
            not len(times) or (times[0] >= start and times[-1] < stop)
        )
        if not in_order:
            raise ProjectError(
                f"{where(self._data)}: its times are not in order, or not numbers, between sample {first} and {end}"
            )
        return times

    def _pieces(
        self, first: int, end: int, columns: np.ndarray, start: float, stop: float
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield place in the interval, times and values of samples `first` to `end`, a bounded number at once."""
        low, high = (int(columns.min()), int(columns.max()) + 1) if len(columns) else (0, 0)
        chunk = self._data.chunks[0] if self._data.chunks else 1
        rows = max(_PIECE // (max(high - low, 1) * 8) // chunk, 1) * chunk
        # pieces end where chunks end, so that each chunk is read once
        edges = [first, *range(first // rows * rows + rows, end, rows), end] if first < end else []
        before = start
        for begin, until in pairwise(edges):
            times = self._times_of(begin, until, before, stop)
            before = float(times[-1])
            where_read = slice(begin, until) if self._data.ndim == 1 else np.s_[begin:until, low:high]
            numbers = read_values(self._data, where_read).reshape(until - begin, -1)
            values = self._scale(numbers[:, columns - low])
            if self._gains is not None:
                values = values * self._gains[columns]
            values = values.astype(np.float32)
            self._blank(times, values, columns)
            yield slice(begin - first, until - first), times, values

    def _blank(self, times: np.ndarray, values: np.ndarray, columns: np.ndarray) -> None:
        for start, stop, tags in self._invalid:
            hit = [i for i, c in enumerate(columns) if ALL_PROBES in tags or self.probe_names[c] in tags]
            if hit:
                rows = slice(np.searchsorted(times, start), np.searchsorted(times, stop, side="right"))
                values[rows, hit] = np.nan


class LfpFile(Lfp):
    """The LFP file of one probe; use it as a context manager.

    Parameters
    ----------
    path : the NWB file
    probe_id : the probe that it should be of; None for any
    invalid_times : as in `Lfp`, of the session file: the LFP file holds none

    Raises
    ------
    ProjectError
        if the file is not there, is damaged, is of another probe, or holds no LFP or several.
    """

    def __init__(
        self, path: Path, probe_id: int | str | None = None, invalid_times: pa.Table | None = None
    ) -> None:
        self.h5: h5py.File = open_nwb(path)
        try:
            found = _series(self.h5)
            if len(found) != 1:
                raise ProjectError(
                    f"{path} holds "
                    + (f"several LFP series ({', '.join(found)}); one is needed" if found else "no LFP")
                )
            super().__init__(next(iter(found.values())), invalid_times)
            self._check_probe(path, probe_id)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; arrays that were read stay."""
        self.h5.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def csd(self) -> Csd:
        """Read the current source density of the probe.

        Raises
        ------
        ProjectError
            if the file has none, or its parts do not fit together.
        """
        place = member(self.h5, "processing/current_source_density/ecephys_csd")
        if not isinstance(place, h5py.Group):
            raise ProjectError(f"{self.h5.filename} holds no current source density")
        inside = [item for item in children(place).values() if isinstance(item, h5py.Group)]
        if len(inside) != 1:
            raise ProjectError(
                f"{where(place)}: one series of the density is needed; there are {len(inside)}"
            )
        series = inside[0]
        data = dataset(series, "data")
        if data.ndim != 2 or data.dtype.kind not in "fiu":
            raise ProjectError(
                f"{where(data)} has type {data.dtype} and shape {data.shape}; numbers of times x channels are needed"
            )
        x, x_unit = _positions(place, "x", data.shape[1])
        y, y_unit = _positions(place, "y", data.shape[1])
        if x_unit != y_unit:
            raise ProjectError(f"{where(place)}: its positions have the units {x_unit!r} and {y_unit!r}")
        times = sample_times(series, data.shape[0])
        scale = scale_of(data)
        with naming(data):
            seconds = np.asarray(times[:], dtype=np.float64)
        return Csd(x, y, x_unit, seconds, scale(read_values(data)).T, scale.unit)

    def _check_probe(self, path: Path, expected: int | str | None) -> None:
        identifier = text(self.h5, "identifier") or ""
        if self.probe_id is None:
            self.probe_id = int(identifier) if identifier.isascii() and identifier.isdigit() else None
        if expected is not None and str(self.probe_id) != str(expected):
            raise ProjectError(f"{path} is the LFP of probe {self.probe_id}, not of probe {expected}")


def lfp_of_probe(session: SessionFile, probe: str) -> Lfp:
    """Return the LFP of a probe inside a session file.

    Raises
    ------
    ProjectError
        if there is none, or there are several series of that probe.
    """
    found = find_lfp(session)
    mine = {place: lfp for place, lfp in found.items() if str(lfp.probe_id) == probe}
    if len(mine) == 1:
        return next(iter(mine.values()))
    if mine:
        raise ProjectError(f"{session.path}: {', '.join(mine)} all hold LFP of probe {probe}")
    there = ", ".join(dict.fromkeys(str(lfp.probe_id) for lfp in found.values())) or "none"
    raise ProjectError(f"{session.path}: holds no LFP of probe {probe} (LFP of probes: {there})")


def find_lfp(session: SessionFile) -> dict[str, Lfp]:
    """Return the LFP inside a session file, by the place of the series in the file.

    Series in an LFP container are taken, and single series (ElectricalSeries) of acquisition and processing that are
    sampled at `MAX_LFP_RATE` or slower. Samples in the session's invalid intervals are NaN when read. Ids of probes are
    those of `session_probes`.

    Raises
    ------
    ProjectError
        as `Lfp`.
    """
    invalid_times = read_invalid_times(session)
    found = _series(session.h5)
    lfps = {name: Lfp(series, invalid_times) for name, series in found.items()}
    for lfp in lfps.values():
        # a plain file gives electrodes the name of their probe and no id
        if lfp.probe_id is None and len(set(lfp.probe_names)) == 1:
            lfp.probe_id = _probe_ids(session).get(lfp.probe_names[0])
    return lfps


def copy_lfp(
    lfp: Lfp,
    out: h5py.File,
    start: float = -math.inf,
    stop: float = math.inf,
    channel_ids: Sequence[int | str] | None = None,
) -> None:
    """Copy LFP into an HDF5 file, piece by piece, so that the memory needed does not depend on its length.

    Written are ``times`` (N,) in s, ``values`` (N, C) float32 in V and ``channel_ids`` (C,), each with the attribute
    ``unit`` where it has one, and the attributes ``probe_id`` (where known) and ``sampling_rate`` (Hz).

    Parameters
    ----------
    lfp : what to copy
    out : file to write to
    start, stop, channel_ids : as in `Lfp.read`

    Raises
    ------
    ConfigurationError, ProjectError
        as `Lfp.read`.
    """
    columns = lfp._columns(channel_ids)
    first, end = lfp._bounds(start, stop)
    ids = lfp.channel_ids[columns]
    out.create_dataset("channel_ids", data=ids.astype(h5py.string_dtype()) if ids.dtype == object else ids)
    times = out.create_dataset("times", shape=(end - first,), dtype=np.float64)
    times.attrs["unit"] = "s"
    values = out.create_dataset("values", shape=(end - first, len(columns)), dtype=np.float32)
    values.attrs["unit"] = "V"
    for piece, piece_times, piece_values in lfp._pieces(first, end, columns, start, stop):
        times[piece], values[piece] = piece_times, piece_values
    out.attrs["sampling_rate"] = lfp.sampling_rate
    if lfp.probe_id is not None:
        out.attrs["probe_id"] = lfp.probe_id


def _probe_ids(session: SessionFile) -> dict[str, int]:
    probes = session_probes(session)
    return dict(zip(probes["description"].to_pylist(), probes["id"].to_pylist(), strict=True))


def _series(file: h5py.File) -> dict[str, h5py.Group]:
    """Return the groups of the LFP series of a file by their place."""
    parents = {f"processing/{name}": module for name, module in modules(file).items()}
    acquisition = member(file, "acquisition")
    if isinstance(acquisition, h5py.Group):
        parents = {"acquisition": acquisition, **parents}
    found: dict[str, h5py.Group] = {}
    for parent, place in parents.items():
        for name, item in children(place).items():
            kind = attribute(item, "neurodata_type")
            if kind == "LFP" and isinstance(item, h5py.Group):
                found |= {
                    f"{parent}/{name}/{inner}": series
                    for inner, series in children(item).items()
                    if isinstance(series, h5py.Group)
                }
            elif kind == "ElectricalSeries" and _is_slow(item):
                found[f"{parent}/{name}"] = item
    # pynwb writes one series under two names where it was added to acquisition and to the container
    return {
        name: item for i, (name, item) in enumerate(found.items()) if item not in list(found.values())[:i]
    }


def _positions(csd: h5py.Group, axis: str, n_channels: int) -> tuple[np.ndarray, str]:
    """Return where the virtual channels are along one axis, and the unit."""
    positions = dataset(csd, f"virtual_electrode_{axis}_positions")
    if positions.shape != (n_channels,) or positions.dtype.kind not in "fiu":
        raise ProjectError(
            f"{where(positions)} has type {positions.dtype} and shape {positions.shape}; a number for each of the "
            f"{n_channels} channels of the density is needed"
        )
    return read_values(positions).astype(np.float64), str(attribute(positions, "unit") or "")


def _is_slow(series: h5py.Group) -> bool:
    times = sample_times(series, dataset(series, "data").shape[0])
    if isinstance(times, Regular):
        return times.rate <= MAX_LFP_RATE
    some = read_values(times, slice(0, 1000))
    return len(some) > 1 and (len(some) - 1) / MAX_LFP_RATE <= some[-1] - some[0]


def _electrodes_of(series: h5py.Group, n_columns: int) -> tuple[h5py.Group, np.ndarray]:
    """Return the table of electrodes and the row of each column."""
    region = dataset(series, "electrodes")
    rows = read_values(region)
    electrodes = group(series.file, ELECTRODES)
    total = dataset(electrodes, "id").shape[0]
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) != n_columns:
        raise ProjectError(
            f"{where(region)} has type {rows.dtype} and shape {rows.shape}; one row number of the electrodes for each "
            f"of the {n_columns} channels is needed"
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= total):
        raise ProjectError(
            f"{where(region)} names rows {rows.min()} to {rows.max()}; there are {total} electrodes"
        )
    return electrodes, rows.astype(np.int64)


def _column(table: h5py.Group, name: str) -> np.ndarray:
    values = read_column(table, name)
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ProjectError(f"{where(table)}: column {name} must hold one value a row")
    return values


def _channel_gains(series: h5py.Group, n_columns: int) -> np.ndarray | None:
    if member(series, "channel_conversion") is None:
        return None
    gains = dataset(series, "channel_conversion")
    if gains.shape != (n_columns,) or gains.dtype.kind not in "fiu":
        raise ProjectError(
            f"{where(gains)} has type {gains.dtype} and shape {gains.shape}; a number for each of the {n_columns} "
            "channels is needed"
        )
    return read_values(gains)


def _intervals(invalid_times: pa.Table) -> list[tuple[float, float, list[str]]]:
    columns = [invalid_times[name].to_pylist() for name in ("start_time", "stop_time", "tags")]
    return [(start, stop, tags or []) for start, stop, tags in zip(*columns, strict=True)]
