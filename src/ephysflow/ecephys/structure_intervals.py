"""Brain structures along probes: runs of channels, from the tip of a probe upwards, that lie in one structure."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ephysflow.ecephys.columns import array_of
from ephysflow.ecephys.nwb_columns import text_column
from ephysflow.ecephys.unit_filters import NO_STRUCTURE
from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import column

_ACRONYMS = ("ecephys_structure_acronym", "structure_acronym")
"""Columns that may hold the structure; the first that holds any is used."""

_NAMED_AT_MOST = 10
"""Unknown ids that a message names."""


def sort_channels(channels: pa.Table, channel_ids: Sequence[int | str] | None = None) -> pa.Table:
    """Return channels ordered by probe, then vertical position, horizontal position and id.

    Parameters
    ----------
    channels : channels of a session: ``id``, and where known ``probe_id``, ``probe_vertical_position`` and
        ``probe_horizontal_position`` (um). Channels without a position come last on their probe
    channel_ids : the channels to keep; None for all

    Raises
    ------
    ConfigurationError
        if an id is not one of the channels, or is given twice.
    """
    if channel_ids is not None:
        rows = rows_of_channels(channels["id"].to_pylist(), channel_ids, "the session")
        channels = channels.take(array_of(rows))
    keys = [
        (name, "ascending")
        for name in ("probe_id", "probe_vertical_position", "probe_horizontal_position", "id")
        if name in channels.column_names
    ]
    return channels.take(pc.sort_indices(channels, sort_keys=keys))


def channel_structure_intervals(
    channels: pa.Table, channel_ids: Sequence[int | str] | None = None
) -> tuple[list[str | None], np.ndarray]:
    """Find runs of channels in one structure, in the order of `sort_channels`.

    A run ends where the structure or the probe changes.

    Parameters
    ----------
    channels, channel_ids : as in `sort_channels`; the structure is ``ecephys_structure_acronym``, or, where that
        column is missing or empty, ``structure_acronym``

    Returns
    -------
    labels : acronym of each of the R runs; None outside of the brain
    bounds : (R + 1,) int64; run ``i`` holds the sorted channels ``bounds[i]`` up to, not including, ``bounds[i + 1]``

    Raises
    ------
    ConfigurationError
        if an id is not one of the channels, or is given twice.
    """
    return _runs(sort_channels(channels, channel_ids))


def structure_intervals_table(channels: pa.Table) -> pa.Table:
    """Return the structures along the probes, one row a run of channels (see `channel_structure_intervals`).

    Returns
    -------
    ``probe_id``, ``structure`` (null outside of the brain), ``first_channel`` and ``last_channel`` (ids, lowest and
    highest on the probe), ``channel_count``, ``lower_vertical_position`` and ``upper_vertical_position`` (of these two
    channels, um; null where unknown)
    """
    ordered = sort_channels(channels)
    labels, bounds = _runs(ordered)
    first, last = bounds[:-1], bounds[1:] - 1
    ids = ordered["id"]

    def taken(name: str, rows: np.ndarray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
        if name not in ordered.column_names:
            return pa.nulls(len(rows), kind)
        return ordered[name].take(array_of(rows)).cast(kind)

    probe_type = ordered.schema.field("probe_id").type if "probe_id" in ordered.column_names else pa.int64()
    schema = pa.schema(
        [
            column("probe_id", probe_type),
            column("structure", pa.string(), "", "acronym; null outside of the brain"),
            column("first_channel", ids.type, "", "id of the lowest channel"),
            column("last_channel", ids.type, "", "id of the highest channel"),
            column("channel_count", pa.int64()),
            column("lower_vertical_position", pa.float64(), "um", "of the lowest channel on the probe"),
            column("upper_vertical_position", pa.float64(), "um", "of the highest channel on the probe"),
        ]
    )
    columns = [
        taken("probe_id", first, probe_type),
        text_column(labels),
        taken("id", first, ids.type),
        taken("id", last, ids.type),
        array_of(np.diff(bounds)),
        taken("probe_vertical_position", first, pa.float64()),
        taken("probe_vertical_position", last, pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def rows_of_channels(known: Sequence[int | str], asked: Sequence[int | str], holder: str) -> np.ndarray:
    """Return where each of the channels asked for stands among the known ones.

    Parameters
    ----------
    known : ids of the channels that there are
    asked : ids of channels, in any order
    holder : what has the known channels, for messages

    Returns
    -------
    (len(asked),) int64

    Raises
    ------
    ConfigurationError
        if an id is not known, or is given twice.
    """
    places = {channel: place for place, channel in enumerate(known)}
    ids = np.asarray(asked).tolist()
    if unknown := [channel for channel in ids if channel not in places]:
        raise ConfigurationError(
            f"{holder} has no channels {_shown(unknown)}; its channels are {_shown(known) or 'none'}"
        )
    if len(set(ids)) < len(ids):
        twice = sorted({channel for channel in ids if ids.count(channel) > 1})
        raise ConfigurationError(f"channels {_shown(twice)} are given more than once")
    return np.array([places[channel] for channel in ids], dtype=np.int64)


def _shown(values: Sequence[int | str]) -> str:
    rest = len(values) - _NAMED_AT_MOST
    return ", ".join(map(str, values[:_NAMED_AT_MOST])) + (f" and {rest} more" if rest > 0 else "")


def _runs(ordered: pa.Table) -> tuple[list[str | None], np.ndarray]:
    structures = _structures(ordered)
    probes = (
        ordered["probe_id"].to_pylist() if "probe_id" in ordered.column_names else [None] * ordered.num_rows
    )
    places = list(zip(probes, structures, strict=True))
    starts = [row for row, place in enumerate(places) if row == 0 or place != places[row - 1]]
    return [structures[row] for row in starts], np.array([*starts, len(places)], dtype=np.int64)


def _structures(channels: pa.Table) -> list[str | None]:
    for name in _ACRONYMS:
        if name in channels.column_names:
            found = [
                None if value is None or str(value) in NO_STRUCTURE else str(value)
                for value in channels[name].to_pylist()
            ]
            if any(value is not None for value in found):
                return found
    return [None] * channels.num_rows
