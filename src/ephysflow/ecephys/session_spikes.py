"""Spike times, amplitudes and mean waveforms of the units of one session file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import h5py
import numpy as np

from ephysflow.ecephys.nwb_columns import positions, row_ids
from ephysflow.ecephys.nwb_file import (
    Ragged,
    attribute,
    lazy_column,
    read_column,
    read_values,
    table_columns,
    where,
)
from ephysflow.ecephys.session_channels import rate, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.unit_electrodes import units_group, waveform_channels
from ephysflow.errors import ConfigurationError, ProjectError

_SHOWN = 20


@dataclass(frozen=True)
class Spikes:
    """Spikes of some units.

    Attributes
    ----------
    unit_ids : (U,) int64
    offsets : (U + 1,) int64; the spikes of unit ``i`` are those from ``offsets[i]`` to ``offsets[i + 1]``
    times : (n,) float64, s; ascending in a unit
    amplitudes : (n,) float64, V as NWB says (released Visual Coding files may differ); None where the file has none
    findings : (subject, reason) of what was put right
    """

    unit_ids: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    amplitudes: np.ndarray | None
    findings: list[tuple[str, str]] = field(default_factory=list)


def session_spikes(session: SessionFile, unit_ids: np.ndarray | None = None) -> Spikes:
    """Read the spikes of units; those of other units are not read.

    Parameters
    ----------
    session : the open file
    unit_ids : (U,) ids in the wanted order; None for all, in the order of the file

    Returns
    -------
    spikes; those of a unit that the file does not have in order are sorted, and a finding says so

    Raises
    ------
    ConfigurationError
        if a unit is not in the session or named twice.
    ProjectError
        if there are no units or no spike times, they are no numbers, not finite, or columns are of wrong lengths.
    """
    table = units_group(session)
    rows, ids = _rows_of(session, table, unit_ids)
    stored = _ragged_numbers(table, "spike_times")
    times, offsets = _gathered(stored, rows)
    _check_finite(times, offsets, ids, stored.values)
    amplitudes = None
    if "spike_amplitudes" in table_columns(table):
        column = _ragged_numbers(table, "spike_amplitudes")
        amplitudes, counted = _gathered(column, rows)
        if len(wrong := np.flatnonzero(counted != offsets)):
            unit = wrong[0] - 1
            raise ProjectError(
                f"{where(table)}: unit {ids[unit]} has {offsets[unit + 1] - offsets[unit]} spike_times, but "
                f"{counted[unit + 1] - counted[unit]} spike_amplitudes"
            )
    unsorted = _unsorted(times, offsets)
    for unit in unsorted:
        part = slice(offsets[unit], offsets[unit + 1])
        order = np.argsort(times[part], kind="stable")
        times[part] = times[part][order]
        if amplitudes is not None:
            amplitudes[part] = amplitudes[part][order]
    findings = [
        (f"unit {ids[unit]}", "its spike times were not in order; they were sorted") for unit in unsorted
    ]
    return Spikes(ids, offsets, times, amplitudes, findings)


def _rows_of(
    session: SessionFile, table: h5py.Group, unit_ids: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows in the table of units and ids of the wanted units."""
    known = row_ids(table)
    if unit_ids is None:
        return np.arange(len(known)), known
    wanted = np.asarray(unit_ids)
    if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
        raise ConfigurationError(f"unit_ids must be a list of integers, but is {str(unit_ids)[:80]}")
    wanted = wanted.astype(np.int64)
    rows = positions(known, wanted, where(table))
    if (rows < 0).any():
        raise ConfigurationError(
            f"unit {wanted[rows < 0][0]} is not in session {session.session_id} ({session.path}); there are "
            f"{', '.join(map(str, known[:_SHOWN]))}{', ...' if len(known) > _SHOWN else ''}"
        )
    if len(np.unique(wanted)) < len(wanted):
        raise ConfigurationError("unit_ids names a unit twice")
    return rows, wanted


def _ragged_numbers(table: h5py.Group, name: str) -> Ragged:
    column = read_column(table, name)
    if not isinstance(column, Ragged) or column.inner is not None:
        raise ProjectError(f"{where(table)}/{name} must have one index ({name}_index)")
    if column.values.dtype.kind not in "iuf" or column.values.ndim != 1:
        raise ProjectError(
            f"{where(column.values)} must be numbers in one dimension, but has type {column.values.dtype} and "
            f"shape {column.values.shape}"
        )
    return column


def _gathered(column: Ragged, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read the values of some rows, those that follow one another in the file at once."""
    starts, stops = column.offsets[rows], column.offsets[rows + 1]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(stops - starts, out=offsets[1:])
    values = np.empty(offsets[-1], dtype=np.float64)
    breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
    for run in np.split(np.arange(len(rows)), breaks) if len(rows) else []:
        first, last = run[0], run[-1]
        if stops[last] > starts[first]:
            values[offsets[first] : offsets[last + 1]] = read_values(
                column.values, slice(starts[first], stops[last])
            )
    return values, offsets


def _check_finite(times: np.ndarray, offsets: np.ndarray, ids: np.ndarray, values: h5py.Dataset) -> None:
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        unit = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
        raise ProjectError(
            f"{where(values)}: unit {ids[unit]} has a spike time that is {times[wrong[0]]} (spike "
            f"{wrong[0] - offsets[unit]}); {len(wrong)} such in the units that were read"
        )


def _unsorted(times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the positions of units whose times decrease somewhere."""
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    # from the last spike of a unit to the first of the next one they may decrease
    falls = falls[~np.isin(falls, offsets)]
    return np.unique(np.searchsorted(offsets, falls, side="right") - 1)


@dataclass(frozen=True)
class MeanWaveform:
    """Mean waveform of one unit.

    Attributes
    ----------
    unit_id : the unit
    channel_ids : (C,) int64; -1 where the file does not tell which channel it is
    values : (C, T) in the unit of the file
    sampling_rate : Hz; None where the file does not tell
    """

    unit_id: int
    channel_ids: np.ndarray
    values: np.ndarray
    sampling_rate: float | None


def session_mean_waveforms(
    session: SessionFile, unit_ids: np.ndarray | None = None
) -> Iterator[MeanWaveform]:
    """Read mean waveforms, one unit at a time; there are none where the file has none.

    In the layouts of the Allen Institute row ``i`` of a unit is of the channel with number (local_index) ``i`` on the
    unit's probe; rows of channels that are not valid or not in the file are left out. In other files the channels are
    those in the unit's ``electrodes`` where their number fits, else all of its electrode group, else the peak channel.
    The sampling rate is that of ``waveform_mean``, else the median of the probes'.

    Parameters
    ----------
    session : the open file
    unit_ids : (U,) ids in the wanted order; None for all, in the order of the file

    Raises
    ------
    ConfigurationError
        if a unit is not in the session or named twice.
    ProjectError
        if waveforms are no numbers, or columns are of wrong lengths.
    """
    table = units_group(session)
    rows, ids = _rows_of(session, table, unit_ids)
    if "waveform_mean" not in table_columns(table):
        return
    column = lazy_column(table, "waveform_mean")
    stored = column.values if isinstance(column, Ragged) else column
    if stored.dtype.kind not in "iuf" or stored.ndim > 3:
        raise ProjectError(
            f"{where(stored)} must be numbers, but has type {stored.dtype} and shape {stored.shape}"
        )
    of_probes = session_probes(session)["sampling_rate"].drop_null().to_pylist()
    sampling_rate = rate(attribute(stored, "sampling_rate"))
    if sampling_rate is None and of_probes:
        sampling_rate = median(of_probes)
    of_allen = session.layout != "plain"
    channels_of = waveform_channels(session)
    for row, unit in zip(rows.tolist(), ids.tolist(), strict=True):
        values = _waveform(column, row, unit)
        channels = channels_of(row, len(values))
        if of_allen:
            values, channels = values[channels >= 0], channels[channels >= 0]
        yield MeanWaveform(unit, channels, values, sampling_rate)


def _waveform(column: h5py.Dataset | Ragged, row: int, unit: int) -> np.ndarray:
    """Read the (C, T) waveform of one row of the table."""
    if isinstance(column, h5py.Dataset):
        values = read_values(column, row)
        # NWB: (units, samples) or (units, samples, channels)
        return values.T if values.ndim == 2 else np.atleast_2d(values)
    values = column.row(row)
    if column.inner is None or values.ndim == 2:
        return np.atleast_2d(values)
    first, last = np.searchsorted(column.inner, column.offsets[row : row + 2])
    lengths = np.diff(column.inner[first : last + 1])
    if len(np.unique(lengths)) > 1:
        raise ProjectError(
            f"{where(column.values)}: the waveforms of unit {unit} are of {lengths.min()} to {lengths.max()} samples"
        )
    return values.reshape(max(len(lengths), 1), -1)
