"""Units of one session file: their columns, peak channels and probes, filtered."""

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.nwb_columns import (
    arrow_column,
    plain_columns,
    positions,
    row_ids,
)
from ephysflow.ecephys.nwb_file import where
from ephysflow.ecephys.session_channels import PROBE_SCHEMA, probes_by_name, session_channels, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.unit_electrodes import peak_channels, units_group
from ephysflow.ecephys.unit_filters import FilterRecord, UnitFilters, filter_units
from ephysflow.errors import ProjectError

WAVEFORM_COLUMNS = (
    "PT_ratio",
    "amplitude",
    "duration",
    "halfwidth",
    "recovery_slope",
    "repolarization_slope",
    "spread",
    "velocity_above",
    "velocity_below",
)
"""Columns of units that get the prefix ``waveform_``."""

UNIT_RENAMES = {name: f"waveform_{name}" for name in WAVEFORM_COLUMNS} | {"l_ratio": "L_ratio"}
"""Name in a session file or raw table -> name in tables of units."""

NUMERIC_COLUMNS = frozenset(
    (
        *UNIT_RENAMES,
        *UNIT_RENAMES.values(),
        "amplitude_cutoff",
        "cumulative_drift",
        "d_prime",
        "firing_rate",
        "isi_violations",
        "isolation_distance",
        "max_drift",
        "nn_hit_rate",
        "nn_miss_rate",
        "presence_ratio",
        "silhouette_score",
        "snr",
    )
)
"""Known columns of units that must be numbers."""

_PROBE_RENAMES = {name: f"probe_{name}" for name in PROBE_SCHEMA.names if name not in ("id", "location")}
_METRIC_RENAMES = {"pref_images_multi_ns": "pref_image_multi_ns"}
_SHOWN = 10


def session_units(
    session: SessionFile,
    filters: UnitFilters,
    external: pa.Table | None = None,
    metrics: pa.Table | None = None,
) -> tuple[pa.Table, list[FilterRecord]]:
    """Return the units of a session that pass the filters, with their peak channel and probe, sorted by id.

    Parameters
    ----------
    session : the open file
    filters : limits; one that the file has no column for is not applied, and its record says so
    external : the project's channels, as in `session_channels`
    metrics : analysis metrics to join, one row a unit (ecephys_unit_id); units without metrics get null

    Returns
    -------
    units : unit_id; the file's columns with one value a unit; the columns of the channel where units have peak channels
        (see `peak_channels`), and those of the probe where they have a channel or an electrode_group; the metrics.
        Of a channel, a probe and metrics, a column whose name is taken gets the prefix ``channel_`` or ``probe_``
        or the ending ``_metrics``. ``quality`` and ``valid_data`` are left out where the filter by validity made them
        constant. Columns with several values a unit stay in the file. NaN and empty text become null.
    records : how many units each filter removed; the first one tells of units whose peak channel is none of the
        session's, where there are such

    Raises
    ------
    ProjectError
        if there are no units in the file, ids occur twice, or a column is of the wrong length or type.
    """
    units = stored_units(session)
    peaks = peak_channels(session)
    records = []
    if peaks is not None:
        channels = session_channels(session, external)
        rows = positions(values_of(channels["id"]), peaks, f"{session.path}: electrodes")
        lost = (rows < 0) & (peaks >= 0)
        if lost.any():
            records.append(_record_of_lost(lost, peaks, values_of(units["unit_id"])))
            units, rows, peaks = units.filter(array_of(~lost)), rows[~lost], peaks[~lost]
        units = _with_peaks(units, peaks)
        units = _joined(units, channels.drop_columns(["id"]), rows, "channel_")
    units = _with_probes(units, session)
    mask, applied = filter_units(units, filters)
    units = units.filter(array_of(np.asarray(mask, dtype=bool)))
    if filters.filter_by_validity:
        constant = [name for name in ("quality", "valid_data") if name in units.column_names]
        units = units.drop_columns(constant)
    if metrics is not None:
        units = _with_metrics(units, metrics, session)
    order = np.argsort(values_of(units["unit_id"]), kind="stable")
    return units.take(array_of(order)), [*records, *applied]


def stored_units(session: SessionFile) -> pa.Table:
    """Return unit_id and the file's columns with one value a unit, renamed, in the order of the file.

    Raises
    ------
    ProjectError
        as `session_units`.
    """
    table = units_group(session)
    columns = {"unit_id": array_of(row_ids(table))}
    for name, values in plain_columns(table).items():
        if name in NUMERIC_COLUMNS and values.dtype.kind not in "iuf":
            kind = "text" if values.dtype.kind == "O" else values.dtype
            raise ProjectError(f"{where(table)}/{name} must be numbers, but has type {kind}")
        renamed = UNIT_RENAMES.get(name, name)
        if renamed in columns:
            raise ProjectError(f"{where(table)}: two columns stand for {renamed} (one of them is {name})")
        columns[renamed] = arrow_column(values)
    return pa.table(columns)


def _record_of_lost(lost: np.ndarray, peaks: np.ndarray, unit_ids: np.ndarray) -> FilterRecord:
    shown = [f"{unit_ids[i]} (channel {peaks[i]})" for i in np.flatnonzero(lost)[:_SHOWN]]
    count = int(lost.sum())
    return FilterRecord(
        filter="peak_channel_id",
        limit="a channel of the session",
        units_before=len(lost),
        removed=count,
        removed_missing=0,
        units_after=len(lost) - count,
        note=f"units {', '.join(shown)}{', ...' if count > _SHOWN else ''}",
    )


def _with_peaks(units: pa.Table, peaks: np.ndarray) -> pa.Table:
    values = array_of(peaks, peaks < 0)
    if "peak_channel_id" in units.column_names:
        return units.set_column(units.column_names.index("peak_channel_id"), "peak_channel_id", values)
    return units.append_column("peak_channel_id", values)


def _with_probes(units: pa.Table, session: SessionFile) -> pa.Table:
    """Join the probes: by the channel's probe, else by the unit's own electrode group."""
    if "probe_id" not in units.column_names:
        if "electrode_group" not in units.column_names:
            return units
        names = np.array(units["electrode_group"].to_pylist(), dtype=object)
        units = units.append_column("probe_id", probes_by_name(session, names))
    probes = session_probes(session)
    keys = [-1 if key is None else key for key in units["probe_id"].to_pylist()]
    rows = positions(values_of(probes["id"]), np.array(keys, dtype=np.int64), f"{session.path}: probes")
    renamed = [_PROBE_RENAMES.get(name, name) for name in probes.column_names]
    return _joined(units, probes.rename_columns(renamed).drop_columns(["id"]), rows, "probe_")


def _joined(left: pa.Table, right: pa.Table, rows: np.ndarray, prefix: str) -> pa.Table:
    """Append the columns of `right` in the given rows (-1: null)."""
    taken = right.take(array_of(rows, rows < 0))
    for field, values in zip(taken.schema, taken.columns, strict=True):
        name = f"{prefix}{field.name}" if field.name in left.column_names else field.name
        left = left.append_column(field.with_name(name), values)
    return left


def _with_metrics(units: pa.Table, metrics: pa.Table, session: SessionFile) -> pa.Table:
    rows = positions(
        values_of(metrics["ecephys_unit_id"]),
        values_of(units["unit_id"]),
        f"analysis metrics of session {session.session_id}",
    )
    taken = metrics.drop_columns(["ecephys_unit_id"]).take(array_of(rows, rows < 0))
    for field, values in zip(taken.schema, taken.columns, strict=True):
        name = _METRIC_RENAMES.get(field.name, field.name)
        name = f"{name}_metrics" if name in units.column_names else name
        units = units.append_column(field.with_name(name), values)
    return units
