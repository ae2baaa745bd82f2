"""Products of spikes by presentation: ``presentationwise_spike_counts``, ``..._times``, ``conditionwise_spike_statistics``.

Counts are in an HDF5 file::

    /counts                    (P, B, U)  uint32   spikes in the half-open bins [left, right)
    /stimulus_presentation_id  (P)        int64
    /bin_edges                 (B + 1)    float64  s, from the start of a presentation
    /unit_id                   (U)        int64
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.condition_statistics import condition_statistics, statistics_schema
from ephysflow.ecephys.presentations import read_presentations
from ephysflow.ecephys.product_spikes import UNITS_AT_ONCE, spikes_in_pieces
from ephysflow.ecephys.product_units import retained_units
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.spike_counts import (
    presentation_spike_counts,
    presentation_spike_times,
    spike_times_schema,
)
from ephysflow.ecephys.unit_filters import UnitFilters

_CHUNK, _PIECE = 1 << 20, 1 << 25
"""Bytes of counts in a chunk of the file, and that are counted at once."""


def spike_counts(
    session: SessionFile,
    file: h5py.File,
    filters: UnitFilters,
    channels: Path | None,
    bin_edges: Sequence[float],
    stimuli: Sequence[str] | None,
    report: Callable[[str, str], None],
) -> None:
    """Count the spikes of the units that pass the filters in bins of each presentation.

    Parameters
    ----------
    session : the open file
    file : HDF5 file to write to
    filters, channels, report : as in `product_units.units`
    bin_edges : (B + 1,) from the start of a presentation [s]
    stimuli : names of those whose presentations are wanted; a session may lack some. None for all
    """
    presentations = _presentations(session, stimuli, report)
    unit_ids = retained_units(session, filters, channels)
    edges = np.asarray(bin_edges, dtype=float)
    starts = values_of(presentations["start_time"])
    shape = (len(starts), len(edges) - 1, len(unit_ids))
    # bytes of a presentation's counts in the units that are counted at once
    row = shape[1] * min(UNITS_AT_ONCE, shape[2]) * 4
    chunk = min(max(_CHUNK // max(row, 1), 1), len(starts))
    layout: dict[str, Any] = {}
    if 0 not in shape:
        layout = {"chunks": (chunk, shape[1], min(UNITS_AT_ONCE, shape[2]))}
        layout |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    counts = file.create_dataset("counts", shape, dtype="<u4", **layout)
    at_once = max(_PIECE // max(row, 1) // max(chunk, 1), 1) * max(chunk, 1)
    for first, found in enumerate(spikes_in_pieces(session, unit_ids, report)):
        units = slice(first * UNITS_AT_ONCE, first * UNITS_AT_ONCE + len(found.unit_ids))
        for p in range(0, len(starts), at_once):
            part = starts[p : p + at_once]
            counts[p : p + len(part), :, units] = presentation_spike_counts(
                found.times, found.offsets, part, edges
            )
    file.create_dataset("bin_edges", data=edges).attrs["unit"] = "s"
    ids = values_of(presentations["stimulus_presentation_id"])
    file.create_dataset("stimulus_presentation_id", data=ids.astype("<i8"))
    file.create_dataset("unit_id", data=unit_ids.astype("<i8"))


def spike_times(
    session: SessionFile,
    filters: UnitFilters,
    channels: Path | None,
    stimuli: Sequence[str] | None,
    report: Callable[[str, str], None],
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Return the spikes during presentations, by unit and time; arguments as `spike_counts`."""
    presentations = _presentations(session, stimuli, report)
    unit_ids = retained_units(session, filters, channels)
    return spike_times_schema(), (
        _by_unit(presentation_spike_times(found.times, found.offsets, found.unit_ids, presentations))
        for found in spikes_in_pieces(session, unit_ids, report)
    )


def statistics(
    session: SessionFile,
    filters: UnitFilters,
    channels: Path | None,
    stimuli: Sequence[str] | None,
    report: Callable[[str, str], None],
) -> pa.Table:
    """Return statistics of the spikes of each unit and condition; arguments as `spike_counts`."""
    presentations = _presentations(session, stimuli, report)
    unit_ids = retained_units(session, filters, channels)
    return pa.concat_tables(
        [
            statistics_schema(False, pa.int64()).empty_table(),
            *(
                condition_statistics(found.times, found.offsets, found.unit_ids, presentations)
                for found in spikes_in_pieces(session, unit_ids, report)
            ),
        ]
    )


def _presentations(
    session: SessionFile, stimuli: Sequence[str] | None, report: Callable[[str, str], None]
) -> pa.Table:
    presentations = read_presentations(session)
    if stimuli is None:
        return presentations
    there = pc.unique(presentations["stimulus_name"]).to_pylist()
    if absent := [name for name in stimuli if name not in there]:
        shown = ", ".join(map(str, there)) or "none"
        report("stimuli", f"{', '.join(absent)}: no presentation in this session (stimuli there: {shown})")
    wanted = pc.is_in(presentations["stimulus_name"], value_set=pa.array(list(stimuli), pa.string()))
    return presentations.filter(wanted)


def _by_unit(table: pa.Table) -> pa.Table:
    return table.take(array_of(np.argsort(values_of(table["unit_id"]), kind="stable")))
