"""Spikes by presentation: counts in bins, and the times themselves. Intervals are half-open: [start, stop).

Spikes of all units are one array, those of unit ``u`` from ``offsets[u]`` to ``offsets[u + 1]``, rising in each unit.
"""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import column

LARGEST_RESULT = 1 << 33
"""Bytes that one result may take; more is refused before it is made."""

_UNITS_AT_ONCE = 16
"""Units counted before their counts are copied to the result: 16 of 4 bytes fill one line of the cache."""

_EDGES_AT_ONCE = 1 << 22
"""Edges looked up at once, which bounds the working memory to some 100 MB."""


def presentation_spike_counts(
    times: np.ndarray,
    offsets: np.ndarray,
    starts: np.ndarray,
    bin_edges: np.ndarray,
    binarize: bool = False,
) -> np.ndarray:
    """Count spikes of each unit in bins of each presentation.

    A spike at time t is in bin b of presentation p if ``starts[p] + bin_edges[b] <= t < starts[p] + bin_edges[b + 1]``.
    Presentations may overlap, and bins may reach into the next presentation; such a spike counts in each of them
    (`overlapping_presentations` tells).

    Parameters
    ----------
    times : (n,) spike times, rising in each unit (s)
    offsets : (U + 1,) bounds of the units in `times`
    starts : (P,) start times of the presentations (s)
    bin_edges : (B + 1,) rising, relative to the start of a presentation (s)
    binarize : give 1 where there is at least one spike

    Returns
    -------
    (P, B, U) uint32 counts, or uint8 if `binarize`

    Raises
    ------
    ConfigurationError
        if edges are not rising or not finite, spikes of a unit are not sorted, or the result would take more than
        `LARGEST_RESULT` bytes.
    """
    edges = np.asarray(bin_edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2:
        raise ConfigurationError(
            f"bin_edges has shape {edges.shape}; at least two edges in one dimension are needed"
        )
    if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ConfigurationError(f"bin_edges {edges.tolist()} are not finite and rising")
    starts = np.asarray(starts, dtype=float)
    if not np.isfinite(starts).all():
        raise ConfigurationError("start times of presentations are not finite")
    trains = unit_trains(times, offsets)
    shape = (len(starts), len(edges) - 1, len(trains))
    kind = np.dtype(np.uint8 if binarize else np.uint32)
    _check_size(math.prod(shape) * kind.itemsize, "{} presentations x {} bins x {} units".format(*shape))
    counts = np.empty(shape, dtype=kind)
    step = max(1, _EDGES_AT_ONCE // len(edges))
    for p in range(0, len(starts), step):
        absolute = (starts[p : p + step, None] + edges).ravel()
        # lookups in the order of time reuse what is in the cache
        order = np.argsort(absolute, kind="stable")
        absolute = absolute[order]
        for u in range(0, len(trains), _UNITS_AT_ONCE):
            some = trains[u : u + _UNITS_AT_ONCE]
            block = np.empty((len(some), len(starts[p : p + step]), shape[1]), dtype=kind)
            before = np.empty(len(absolute), dtype=np.int64)
            for k, train in enumerate(some):
                before[order] = np.searchsorted(train, absolute)
                found = np.diff(before.reshape(-1, len(edges)), axis=1)
                block[k] = found > 0 if binarize else found
            counts[p : p + step, :, u : u + _UNITS_AT_ONCE] = np.moveaxis(block, 0, 2)
    return counts


def overlapping_presentations(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return which presentations overlap another one; [start, stop) of neighbours may touch.

    Parameters
    ----------
    starts, stops : (P,) in any order (s); for counts in bins ``starts + bin_edges[0]`` and ``starts + bin_edges[-1]``

    Returns
    -------
    (P,) bool
    """
    order = np.lexsort((stops, starts))
    first, last = np.asarray(starts)[order], np.asarray(stops)[order]
    hit = np.zeros(len(order), dtype=bool)
    if len(order):
        # a stop later than the start of any that comes after, or a start before the latest stop so far
        hit[1:] = first[1:] < np.maximum.accumulate(last)[:-1]
        hit[:-1] |= last[:-1] > first[1:]
    found = np.empty_like(hit)
    found[order] = hit
    return found


def unit_id_type(unit_ids: np.ndarray) -> pa.DataType:
    """Return the type of a column of unit ids: integers, or text."""
    return pa.int64() if unit_ids.dtype.kind in "iu" else pa.string()


def spike_times_schema(unit_type: pa.DataType | None = None) -> pa.Schema:
    """Return the columns of `presentation_spike_times`; `unit_type` is the type of unit ids, None for int64."""
    return pa.schema(
        [
            column("spike_time", pa.float64(), "s"),
            column("stimulus_presentation_id", pa.int64()),
            column("unit_id", unit_type or pa.int64()),
            column("time_since_stimulus_presentation_onset", pa.float64(), "s"),
        ]
    )


def presentation_spike_times(
    times: np.ndarray,
    offsets: np.ndarray,
    unit_ids: np.ndarray,
    presentations: pa.Table,
) -> pa.Table:
    """Return all spikes during presentations, [start, stop); a spike in two presentations has two rows.

    Parameters
    ----------
    times : (n,) spike times, rising in each unit (s)
    offsets : (U + 1,) bounds of the units in `times`
    unit_ids : (U,) integers or text
    presentations : any rows of `presentations.read_presentations`

    Returns
    -------
    table of `spike_times_schema`, sorted by spike time; spikes at the same time come by unit, then presentation, in the
    order given

    Raises
    ------
    ConfigurationError
        if spikes of a unit are not sorted, or the result would take more than `LARGEST_RESULT` bytes.
    """
    ids, starts, stops = (
        presentations.column(name).to_numpy()
        for name in ("stimulus_presentation_id", "start_time", "stop_time")
    )
    unit_ids = np.asarray(unit_ids)
    schema = spike_times_schema(unit_id_type(unit_ids))
    row_bytes = 4 * 8
    rows, found = 0, [(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
    for unit, train in enumerate(unit_trains(times, offsets)):
        first = np.searchsorted(train, starts)
        counts = np.searchsorted(train, stops) - first
        here = int(counts.sum())
        rows += here
        _check_size(rows * row_bytes, f"more than {rows} spikes in {len(ids)} presentations")
        spikes = np.arange(here) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        found.append((train[spikes], np.repeat(np.arange(len(ids)), counts), np.full(here, unit)))
    spike_times, presentation, unit_number = (np.concatenate(parts) for parts in zip(*found, strict=True))
    del found
    order = np.argsort(spike_times, kind="stable")
    spike_times, presentation = spike_times[order], presentation[order]
    columns = [
        pa.array(spike_times),
        pa.array(ids[presentation]),
        pa.array(unit_ids[unit_number[order]], type=schema.field("unit_id").type),
        pa.array(spike_times - starts[presentation]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def unit_trains(times: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    """Return the spike times of each unit, as parts of `times`.

    Raises
    ------
    ConfigurationError
        if the bounds do not fit the times, or spikes of a unit are not finite and rising.
    """
    times, offsets = np.asarray(times, dtype=float), np.asarray(offsets)
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(times):
        raise ConfigurationError(
            f"offsets are not bounds of {len(times)} spike times: they go from 0 to that number"
        )
    if (np.diff(offsets) < 0).any():
        raise ConfigurationError("offsets of the spike times decrease")
    trains = [times[a:b] for a, b in pairwise(offsets.tolist())]
    for unit, train in enumerate(trains):
        # not a NaN nor an infinity is left between two finite ends of a rising train
        if len(train) and not (np.isfinite(train[[0, -1]]).all() and (train[1:] >= train[:-1]).all()):
            raise ConfigurationError(f"spike times of unit number {unit} are not finite and rising")
    return trains


def _check_size(size: int, what: str) -> None:
    if size > LARGEST_RESULT:
        raise ConfigurationError(
            f"{what} would take {size / 2**30:.1f} GiB; {LARGEST_RESULT / 2**30:.0f} GiB are allowed: "
            "choose fewer presentations, bins or units"
        )
