"""Which channels the units of a session file belong to."""

from collections.abc import Callable

import h5py
import numpy as np

from ephysflow.ecephys.nwb_columns import plain_columns, row_ids
from ephysflow.ecephys.nwb_file import (
    Ragged,
    dataset,
    group,
    member,
    read_column,
    read_values,
    table_columns,
    where,
)
from ephysflow.ecephys.session_channels import session_channels
from ephysflow.ecephys.session_file import ELECTRODES, SessionFile
from ephysflow.errors import ProjectError


def units_group(session: SessionFile) -> h5py.Group:
    """Return the table of units; a session without one is a `ProjectError`."""
    if member(session.h5, "units") is None:
        raise ProjectError(f"{session.path}: the session has no units (/units is missing)")
    return group(session.h5, "units")


def peak_channels(session: SessionFile) -> np.ndarray | None:
    """Return (N,) id of each unit's peak channel in the order of the file, -1 where it has none.

    It is ``peak_channel_id``, else the electrode of a unit that has exactly one in ``electrodes``.

    Returns
    -------
    None where no unit has a peak channel, or the file has no electrodes

    Raises
    ------
    ProjectError
        if these columns hold no ids or no rows of the electrodes table.
    """
    table = units_group(session)
    if not isinstance(member(session.h5, ELECTRODES), h5py.Group):
        return None
    if "peak_channel_id" in table_columns(table):
        peaks = read_column(table, "peak_channel_id")
        if isinstance(peaks, Ragged) or peaks.ndim != 1 or peaks.dtype.kind not in "iuf":
            raise ProjectError(f"{where(table)}/peak_channel_id must be one integer a unit")
        missing = np.isnan(peaks) if peaks.dtype.kind == "f" else np.zeros(len(peaks), dtype=bool)
        known = np.where(missing, -1, peaks)
        if (known != np.floor(known)).any() or (np.abs(known.astype(np.float64)) >= 2.0**63).any():
            raise ProjectError(f"{where(table)}/peak_channel_id must be one integer a unit")
        ids = known.astype(np.int64)
        return ids if (ids >= 0).any() else None
    regions = unit_electrodes(session)
    if regions is None or not any(len(region) == 1 for region in regions):
        return None
    return np.array([region[0] if len(region) == 1 else -1 for region in regions], dtype=np.int64)


def unit_electrodes(session: SessionFile) -> list[np.ndarray] | None:
    """Return the channel ids of each unit by its ``electrodes``; None where units have no such column.

    Raises
    ------
    ProjectError
        if an entry is no row of the electrodes table.
    """
    table = units_group(session)
    if "electrodes" not in table_columns(table):
        return None
    ids = row_ids(group(session.h5, ELECTRODES))
    column = read_column(table, "electrodes")
    rows = read_values(column.values) if isinstance(column, Ragged) else column
    if rows.dtype.kind not in "iu" or rows.ndim > 2:
        raise ProjectError(f"{where(dataset(table, 'electrodes'))} must be rows of the electrodes table")
    rows = rows.astype(np.int64)
    wrong = rows[(rows < 0) | (rows >= len(ids))]
    if len(wrong):
        raise ProjectError(
            f"{where(dataset(table, 'electrodes'))} names row {wrong[0]}, but the electrodes table has {len(ids)} rows"
        )
    if isinstance(column, Ragged):
        return [ids[rows[i:j]] for i, j in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
    return [ids[np.atleast_1d(part)] for part in rows]


def waveform_channels(session: SessionFile) -> Callable[[int, int], np.ndarray]:
    """Return the function ``(row, count) -> (count,) channel ids`` of the waveforms of the unit in a row of the table.

    -1 where it is not known; in the layouts of the Allen Institute also where a channel is not valid.
    """
    if session.layout != "plain":
        return _by_channel_number(session)
    return _by_electrodes(session)


def _by_channel_number(session: SessionFile) -> Callable[[int, int], np.ndarray]:
    """Count along the channel numbers of the unit's probe, which is that of its peak channel."""
    channels = session_channels(session)
    ids, probes, numbers = (
        np.array([-1 if v is None else v for v in channels[name].to_pylist()], dtype=np.int64)
        for name in ("id", "probe_id", "probe_channel_number")
    )
    valid = np.array([v is not False for v in channels["valid_data"].to_pylist()], dtype=bool)
    peaks = peak_channels(session)

    def of_unit(row: int, count: int) -> np.ndarray:
        found = np.full(count, -1, dtype=np.int64)
        mine = ids == (peaks[row] if peaks is not None else -1)
        if mine.any():
            here = valid & (probes == probes[mine][0]) & (numbers >= 0) & (numbers < count)
            found[numbers[here]] = ids[here]
        return found

    return of_unit


def _by_electrodes(session: SessionFile) -> Callable[[int, int], np.ndarray]:
    candidates = [unit_electrodes(session), _group_channels(session)]
    if (peaks := peak_channels(session)) is not None:
        candidates.append([np.array([peak]) for peak in peaks])

    def of_unit(row: int, count: int) -> np.ndarray:
        fitting = (found[row] for found in candidates if found is not None and len(found[row]) == count)
        return next(fitting, np.full(count, -1, dtype=np.int64))

    return of_unit


def _group_channels(session: SessionFile) -> list[np.ndarray] | None:
    """Return the channels of each unit's electrode group; None where the file does not tell groups."""
    table = units_group(session)
    electrodes = member(session.h5, ELECTRODES)
    if not isinstance(electrodes, h5py.Group):
        return None
    of_electrodes = plain_columns(electrodes, ("group",)).get("group")
    of_units = plain_columns(table, ("electrode_group",)).get("electrode_group")
    if of_electrodes is None or of_units is None:
        return None
    ids = row_ids(electrodes)
    channels = {name: ids[of_electrodes == name] for name in set(of_units.tolist())}
    return [channels[name] for name in of_units]
