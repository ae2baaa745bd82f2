"""Tables over all sessions of a project: raw tables merged, filtered, counted and renamed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.raw_tables import ACRONYMS, RAW_SCHEMAS, RawTables
from ephysflow.ecephys.unit_filters import FilterRecord, UnitFilters, filter_units
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.tables import column

_OF_PROBES_AND_SESSIONS = (
    "air_channel_index",
    "surface_channel_index",
    "date_of_acquisition",
    "published_at",
    "specimen_id",
    "session_type",
    "isi_experiment_id",
    "age_in_days",
    "sex",
    "genotype",
    "has_nwb",
    "lfp_temporal_subsampling_factor",
)

SUPPRESSED: dict[str, tuple[str, ...]] = {
    "sessions": ("has_nwb", "isi_experiment_id", "date_of_acquisition"),
    "probes": _OF_PROBES_AND_SESSIONS,
    "channels": (*_OF_PROBES_AND_SESSIONS, "name"),
    "units": (
        "air_channel_index",
        "surface_channel_index",
        "has_nwb",
        "lfp_temporal_subsampling_factor",
        "epoch_name_quality_metrics",
        "epoch_name_waveform_metrics",
        "isi_experiment_id",
    ),
}
"""Columns that are left out of each table unless a list in the configuration takes their place."""

RENAMED: dict[str, dict[str, str]] = {
    "sessions": {"genotype": "full_genotype"},
    "probes": {},
    "channels": {"name": "probe_name"},
    "units": {},
}
"""Columns with another name in a table than in the merged raw tables."""

ANNOTATED = {
    "name": "probe_name",
    "phase": "probe_phase",
    "sampling_rate": "probe_sampling_rate",
    "lfp_sampling_rate": "probe_lfp_sampling_rate",
    "local_index": "peak_channel",
}
"""Columns with another name in annotated units than in units."""

RENAMED_UNITS = {
    **{
        name: f"waveform_{name}"
        for name in (
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
    },
    "l_ratio": "L_ratio",
}
"""Columns of units with another name than in the raw table."""

SESSION = "ecephys_session_id"

Rows = Mapping[str, np.ndarray]
"""Table -> rows of it, one for each row of a merged table."""

_PARENTS = {"probes": "sessions", "channels": "probes", "units": "channels"}
_KEYS = {"probes": SESSION, "channels": "ecephys_probe_id", "units": "ecephys_channel_id"}
_IDS = set(_KEYS.values())
_JUDGED_BY = ("quality", "amplitude_cutoff", "presence_ratio", "isi_violations")
_PLACED_BY = ("ecephys_structure_id", "ecephys_structure_acronym", "valid_data")
_SHOWN_IDS = 5
_NO_ID = np.iinfo(np.int64).min
_NO_CODE = -1
NONE = -1
"""Row of a unit in the tables of channels and probes where it names no channel."""

_COUNTED = {
    "sessions": ("units", "channels", "probes"),
    "probes": ("units", "channels"),
    "channels": ("units",),
}
_COUNT_FIELDS = {
    "units": column("unit_count", pa.int64(), text="units that pass the filters"),
    "channels": column("channel_count", pa.int64()),
    "probes": column("probe_count", pa.int64()),
}
_ACRONYMS_FIELD = column(
    ACRONYMS,
    pa.list_(pa.string()),
    text="structures of the channels, by their ids; null is outside the brain",
)
_DERIVED_NAMES = {
    "sessions": ("unit_count", "channel_count", "probe_count", ACRONYMS),
    "probes": ("unit_count", "channel_count", ACRONYMS),
    "channels": ("unit_count",),
    "units": (),
}


@dataclass(frozen=True)
class ProjectTables:
    """The tables of a project, each sorted by id, and what happened on the way.

    Parameters
    ----------
    sessions, probes, channels, units, annotated_units : ids first
    filters : what each filter of units did
    findings : subject and reason: rows that were left out, and signs that a table is not whole
    """

    sessions: pa.Table
    probes: pa.Table
    channels: pa.Table
    units: pa.Table
    annotated_units: pa.Table
    filters: list[FilterRecord]
    findings: list[tuple[str, str]]


def project_tables(
    raw: RawTables, filters: UnitFilters, suppress: Mapping[str, Sequence[str]] | None = None
) -> ProjectTables:
    """Merge the raw tables, filter the units, and count what sessions, probes and channels hold.

    Probes are merged with their sessions, channels with those and units with those; rows without their counterpart
    are left out, with a finding. Counts of units are of the units that pass `filters`. Ids are unique in a table, or,
    in tables that hold ``ecephys_session_id`` too, in a session. Structure acronyms of a probe or session are listed
    in the order of its channels' ids, null (outside the brain) included.

    Parameters
    ----------
    raw : the raw tables
    filters : of units
    suppress : table (sessions, probes, channels, units) -> columns to leave out, in place of `SUPPRESSED`; the list
        of units is that of annotated units too

    Raises
    ------
    ConfigurationError
        if `suppress` names a table or column that does not exist.
    ProjectError
        if an id is there twice.
    """
    tables = {name: getattr(raw, name) for name in RAW_SCHEMAS}
    tables["probes"] = _with_rate_of_stored_lfp(tables["probes"])
    hidden = {**SUPPRESSED, **_checked_suppress(suppress or {}, tables)}
    by_session = all(SESSION in tables[name].column_names for name in _PARENTS)
    tables = {name: _sorted(table, name, by_session and name != "sessions") for name, table in tables.items()}
    parents = {name: _parent_rows(name, tables, by_session) for name in _PARENTS}
    rows: dict[str, Rows] = {"sessions": {"sessions": np.arange(tables["sessions"].num_rows)}}
    findings: list[tuple[str, str]] = []
    for name, parent in _PARENTS.items():
        rows[name], reasons = _merged_rows(name, tables, parents[name], rows[parent])
        if name == "units" and by_session:
            rows[name], reasons = _with_units_off_channels(tables, rows[name], parents[name])
        findings += [(name, reason) for reason in reasons]
    findings += _gaps(tables, rows)

    mask, records = filter_units(_filter_columns(tables, rows["units"]), filters)
    if not mask.all():
        rows["units"] = {name: at[mask] for name, at in rows["units"].items()}
    if filters.filter_by_validity:
        hidden["units"] = (*hidden["units"], "quality")

    derived = _counts(tables, rows)
    for name, lists in _grouped_acronyms(tables, rows["channels"]).items():
        derived[name].append((_ACRONYMS_FIELD, lists.take(array_of(rows[name][name]))))
    made = {}
    for name in RAW_SCHEMAS:
        shown = _shown(_merged_columns(name, tables), RENAMED[name], hidden[name])
        made[name] = _selected(tables, rows[name], shown, derived.get(name, []), hidden[name])
    annotated = _annotated(made["units"], hidden["units"])
    return ProjectTables(**made, annotated_units=annotated, filters=records, findings=findings)


def distinct(table: pa.Table, name: str) -> list[Any]:
    """Return the values of a column, each once, in order of appearance, without null and NaN.

    Raises
    ------
    ConfigurationError
        if there is no such column.
    """
    if name not in table.column_names:
        raise ConfigurationError(f"no column {name!r}; there is: {', '.join(table.column_names)}")
    values = table[name].unique().to_pylist()
    return [value for value in values if value is not None and value == value]


def _with_rate_of_stored_lfp(probes: pa.Table) -> pa.Table:
    """Return probes with the rate of the LFP as it is stored, which is one in so many samples of what was sampled."""
    rate, factor = "lfp_sampling_rate", "lfp_temporal_subsampling_factor"
    if rate not in probes.column_names or factor not in probes.column_names:
        return probes
    field = column(rate, pa.float64(), "Hz", "of the stored LFP")
    # session files give the rate of what they hold, and no factor
    factors = pc.fill_null(probes[factor].cast(pa.float64()), 1.0)
    stored = pc.divide(probes[rate].cast(pa.float64()), factors)
    return probes.set_column(probes.column_names.index(rate), field, stored)


def _checked_suppress(
    suppress: Mapping[str, Sequence[str]], tables: Mapping[str, pa.Table]
) -> dict[str, tuple[str, ...]]:
    if unknown := sorted(set(suppress) - set(SUPPRESSED)):
        raise ConfigurationError(
            f"suppress: no table {', '.join(map(str, unknown))}; known are {', '.join(SUPPRESSED)}"
        )
    for name, columns in suppress.items():
        merged = _merged_columns(name, tables).keys() - {"id"}
        renamed = ANNOTATED if name == "units" else RENAMED[name]
        known = merged.union(SUPPRESSED[name], renamed.values(), _DERIVED_NAMES[name])
        if missing := [each for each in columns if each not in known]:
            raise ConfigurationError(
                f"suppress: {name} have no column {', '.join(map(repr, missing))}; known are "
                f"{', '.join(sorted(known))}"
            )
    return {name: tuple(columns) for name, columns in suppress.items()}


def _sorted(table: pa.Table, name: str, by_session: bool) -> pa.Table:
    """Return a table sorted by id; by session and id where ids repeat between sessions."""
    ids = _ranks(table["id"])
    if np.all(ids[1:] > ids[:-1]):
        return table
    order = np.argsort(ids, kind="stable")
    again = ids[order[1:]] == ids[order[:-1]]
    if again.any() and by_session:
        sessions = _ranks(table[SESSION])
        order = np.lexsort((ids, sessions))
        again = (ids[order[1:]] == ids[order[:-1]]) & (sessions[order[1:]] == sessions[order[:-1]])
    if again.any():
        twice = table["id"][int(order[1:][again][0])].as_py()
        raise ProjectError(f"the table of {name} has id {twice} more than once")
    return table.take(array_of(order))


def _ranks(ids: pa.ChunkedArray) -> np.ndarray:
    """Return numbers that sort as ids do; null, which only ids of parents may be, comes first."""
    if pa.types.is_integer(ids.type):
        return values_of(ids, -1)
    encoded = ids.combine_chunks().dictionary_encode(null_encoding="encode")
    texts = ["" if text is None else str(text) for text in encoded.dictionary.to_pylist()]
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    return ranks[values_of(encoded.indices)]


def _parent_rows(name: str, tables: Mapping[str, pa.Table], by_session: bool) -> np.ndarray:
    """Return, for each row of a table, the row of its parent, or -1."""
    table, parent = tables[name], tables[_PARENTS[name]]
    if by_session and name != "probes":
        parents, own = _pairs(
            _codes(parent[SESSION], table[SESSION]), _codes(parent["id"], table[_KEYS[name]])
        )
    elif pa.types.is_integer(parent["id"].type) and pa.types.is_integer(table[_KEYS[name]].type):
        parents, own = values_of(parent["id"]), values_of(table[_KEYS[name]], _NO_ID)
    else:
        parents, own = _codes(parent["id"], table[_KEYS[name]])
    return _places(parents, own)


def _places(parents: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return where each number of `own` is in `parents`, or -1."""
    if not parents.size:
        return np.full(own.size, -1)
    order = np.argsort(parents, kind="stable")
    at = order[np.minimum(np.searchsorted(parents, own, sorter=order), parents.size - 1)]
    return np.where(parents[at] == own, at, -1)


def _codes(parents: pa.ChunkedArray, children: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers for ids of any type, from 0 on and the same in both; that for null is in no table of parents."""
    if parents.type != children.type:
        parents, children = parents.cast(pa.string()), children.cast(pa.string())
    both = pa.chunked_array([*parents.chunks, *children.chunks], parents.type).combine_chunks()
    codes = values_of(both.dictionary_encode().indices, _NO_CODE).astype(np.int64)
    return codes[: len(parents)], codes[len(parents) :]


def _pairs(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return one number for each pair of `_codes`."""
    # the codes are of less than 2**31 rows
    parents, own = (a << 32 | b & 0xFFFFFFFF for a, b in zip(first, second, strict=True))
    return parents, own


def _merged_rows(
    name: str, tables: Mapping[str, pa.Table], parents: np.ndarray, rows_of_parents: Rows
) -> tuple[Rows, list[str]]:
    """Return the rows of a table and of those above it that stay after the merge, and why others do not."""
    parent = _PARENTS[name]
    place = np.full(tables[parent].num_rows + 1, -1)
    place[rows_of_parents[parent]] = np.arange(len(rows_of_parents[parent]))
    # the last one is for rows without a parent, whose number is -1
    places = place[parents]
    own = np.flatnonzero(places >= 0)
    above = {table: at[places[own]] for table, at in rows_of_parents.items()}
    reasons = []
    if (unknown := np.flatnonzero(parents < 0)).size:
        reasons.append(
            f"{_some(tables[name], unknown)} are left out: their {parent} are not in the table of {parent}"
        )
    if (lost := np.flatnonzero((parents >= 0) & (places < 0))).size:
        reasons.append(f"{_some(tables[name], lost)} are left out with their {parent}")
    return {name: own, **above}, reasons


def _with_units_off_channels(
    tables: Mapping[str, pa.Table], rows: Rows, channels: np.ndarray
) -> tuple[Rows, list[str]]:
    """Return the rows of units with those that name no channel, as in plain session files; why others are left out.

    Their rows of channels and probes are `NONE`.
    """
    units = tables["units"]
    named = values_of(units[_KEYS["units"]].is_valid()).astype(bool)
    sessions = _places(*_codes(tables["sessions"]["id"], units[SESSION]))
    bare = np.flatnonzero(~named & (sessions >= 0))
    own = np.concatenate([rows["units"], bare])
    order = np.argsort(own, kind="stable")
    none = np.full(bare.size, NONE)
    added = {"units": bare, "channels": none, "probes": none, "sessions": sessions[bare]}
    together = {name: np.concatenate([at, added[name]])[order] for name, at in rows.items()}
    lost = np.setdiff1d(np.arange(units.num_rows), own)
    reasons = (
        [f"{_some(units, lost)} are left out: their channels are not in the table of channels"]
        if lost.size
        else []
    )
    if bare.size:
        reasons.append(f"{_some(units, bare)} name no channel: what channels and probes tell is null")
    return together, reasons


def _known(rows: np.ndarray) -> np.ndarray:
    """Return rows without those that are `NONE`."""
    return rows[rows != NONE]


def _gaps(tables: Mapping[str, pa.Table], rows: Mapping[str, Rows]) -> list[tuple[str, str]]:
    """Return signs that a table is not whole."""
    findings = []
    n_sessions, n_probes = tables["sessions"].num_rows, tables["probes"].num_rows
    bare = np.flatnonzero(np.bincount(rows["probes"]["sessions"], minlength=n_sessions) == 0)
    if bare.size:
        findings.append(
            (
                "sessions",
                f"{_some(tables['sessions'], bare)} have no probes: is the table of probes whole?",
            )
        )
    with_channels = np.bincount(rows["channels"]["probes"], minlength=n_probes) > 0
    with_units = np.bincount(_known(rows["units"]["probes"]), minlength=n_probes) > 0
    # where units name no channel, nothing says which probe they are of
    off = np.isin(rows["probes"]["sessions"], rows["units"]["sessions"][rows["units"]["probes"] == NONE])
    with_units[rows["probes"]["probes"][off]] = True
    if (without := np.setdiff1d(rows["probes"]["probes"], np.flatnonzero(with_channels))).size:
        findings.append(
            (
                "probes",
                f"{_some(tables['probes'], without)} have no channels: is the table of channels whole?",
            )
        )
    if (silent := np.flatnonzero(with_channels & ~with_units)).size:
        findings.append(
            (
                "probes",
                f"{_some(tables['probes'], silent)} have channels but no units: is the table of units whole?",
            )
        )
    return findings


def _some(table: pa.Table, rows: np.ndarray) -> str:
    """Return how many rows of a table there are, and the first ids."""
    ids = ", ".join(str(table["id"][int(row)]) for row in rows[:_SHOWN_IDS])
    more = ", ..." if len(rows) > _SHOWN_IDS else ""
    return f"{len(rows)} of {table.num_rows} (id {ids}{more})"


def _filter_columns(tables: Mapping[str, pa.Table], rows: Rows) -> pa.Table:
    """Return what filters of units look at, for the units that are on known channels."""
    columns = {SESSION: array_of(rows["sessions"])}
    for names, of in ((_JUDGED_BY, "units"), (_PLACED_BY, "channels")):
        for name in names:
            if name in tables[of].column_names:
                columns[name] = _taken(tables[of][name], rows[of])
    return pa.table(columns)


def _taken(values: pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """Return values of rows in increasing or any order, null for `NONE`; all rows are not copied."""
    whole = values.combine_chunks()
    if len(rows) and rows.min() == NONE:
        return whole.take(pc.if_else(array_of(rows != NONE), array_of(rows), pa.nulls(len(rows), pa.int64())))
    if len(rows) == len(whole) and np.all(rows[1:] > rows[:-1]):
        return whole
    return whole.take(array_of(rows))


def _merged_columns(name: str, tables: Mapping[str, pa.Table]) -> dict[str, tuple[str, str]]:
    """Return the columns of a table after the merge with those above it: name -> table and column.

    Columns of one name in both get a suffix, as ``_unit`` and ``_channel``; ids of parents are there once.
    """
    names = tables[name].column_names
    if name == "sessions":
        return {each: (name, each) for each in names if each != SESSION}
    renamed = RENAMED_UNITS if name == "units" else {}
    own = {_new_name(each, renamed, names): (name, each) for each in names}
    parent = _PARENTS[name]
    above = _merged_columns(parent, tables)
    above = {each: source for each, source in above.items() if each not in ("id", *(own.keys() & _IDS))}
    shared = own.keys() & above.keys()
    merged = {}
    for columns, suffix in ((own, name), (above, parent)):
        for each, source in columns.items():
            merged[f"{each}_{suffix.removesuffix('s')}" if each in shared else each] = source
    return merged


def _new_name(name: str, renamed: Mapping[str, str], names: Collection[str]) -> str:
    """Return the name that a column gets, unless another one has it."""
    new = renamed.get(name, name)
    return name if new in names else new


def _shown(
    merged: Mapping[str, tuple[str, str]], renamed: Mapping[str, str], hidden: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Return the merged columns that are not hidden, by their old or new name, with their new names."""
    named = {name: _new_name(name, renamed, merged) for name in merged}
    return {new: merged[name] for name, new in named.items() if name not in hidden and new not in hidden}


def _selected(
    tables: Mapping[str, pa.Table],
    rows: Rows,
    shown: Mapping[str, tuple[str, str]],
    derived: Sequence[tuple[pa.Field, pa.Array]],
    hidden: Sequence[str],
) -> pa.Table:
    """Return one table of columns of several, and of derived ones in place of those of their name."""
    derived = [(field, values) for field, values in derived if field.name not in hidden]
    replaced = {field.name for field, _ in derived}
    columns, fields = [], []
    for name, (of, each) in shown.items():
        if name not in replaced:
            columns.append(_taken(tables[of][each], rows[of]))
            fields.append(_field(tables[of], of, each).with_name(name))
    for field, values in derived:
        columns.append(values)
        fields.append(field)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _annotated(units: pa.Table, hidden: Sequence[str]) -> pa.Table:
    """Return units whose columns tell what of a probe or channel they are."""
    names = units.column_names
    annotated = units.rename_columns([_new_name(name, ANNOTATED, names) for name in names])
    return annotated.drop_columns([name for name in annotated.column_names if name in hidden])


def _field(table: pa.Table, of: str, name: str) -> pa.Field:
    """Return the description of a column, its own or that of the raw table."""
    field = table.schema.field(name)
    if not field.metadata and name in RAW_SCHEMAS[of].names:
        field = field.with_metadata(RAW_SCHEMAS[of].field(name).metadata)
    return field


def _counts(
    tables: Mapping[str, pa.Table], rows: Mapping[str, Rows]
) -> dict[str, list[tuple[pa.Field, pa.Array]]]:
    """Return, for each table, how many rows of those below belong to each of its rows."""
    counts: dict[str, list[tuple[pa.Field, pa.Array]]] = {}
    for name, owned in _COUNTED.items():
        counts[name] = []
        for below in owned:
            n_owned = np.bincount(_known(rows[below][name]), minlength=tables[name].num_rows)
            counts[name].append((_COUNT_FIELDS[below], array_of(n_owned[rows[name][name]])))
    return counts


def _grouped_acronyms(tables: Mapping[str, pa.Table], rows: Rows) -> dict[str, pa.Array]:
    """Return, for each row of probes and sessions, the acronyms of its channels in order of appearance.

    The list is null for those that have no channels.
    """
    if "ecephys_structure_acronym" not in tables["channels"].column_names:
        return {}
    acronyms = _taken(tables["channels"]["ecephys_structure_acronym"], rows["channels"]).cast(pa.string())
    encoded = acronyms.dictionary_encode(null_encoding="encode")
    codes = values_of(encoded.indices)
    n_codes = len(encoded.dictionary)
    lists = {}
    at = np.arange(len(codes))
    for name in ("probes", "sessions"):
        owners = rows[name][at]
        # few remain of many channels: those of a session are found among those of its probes
        _, first = np.unique(owners * n_codes + codes[at], return_index=True)
        at = at[np.sort(first)]
        order = np.argsort(rows[name][at], kind="stable")
        counts = np.bincount(rows[name][at], minlength=tables[name].num_rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        lists[name] = pa.ListArray.from_arrays(
            array_of(offsets),
            encoded.dictionary.take(array_of(codes[at[order]].astype(np.int64))),
            mask=array_of(counts == 0),
        )
    return lists
