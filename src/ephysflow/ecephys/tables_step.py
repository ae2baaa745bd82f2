"""The steps ``make_project_tables`` and ``join_analysis_metrics``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ephysflow import paths
from ephysflow.ecephys.analysis_metrics import annotate_metrics, read_metrics
from ephysflow.ecephys.manifest import TABLES
from ephysflow.ecephys.project_tables import distinct, project_tables
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables, read_raw_table
from ephysflow.ecephys.unit_filters import UnitFilters, filter_units
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column, read_table, write_table
from ephysflow.job import Job

NO_FILTERS = UnitFilters(None, None, None, False, False)
QUALITY_COLUMNS = (
    "id",
    "ecephys_session_id",
    "ecephys_structure_acronym",
    "quality",
    "amplitude_cutoff",
    "presence_ratio",
    "isi_violations",
    "snr",
    "firing_rate",
)
FILTER_SCHEMA = pa.schema(
    [
        column("filter", pa.string(), text="keyword of unit_filters"),
        column("limit", pa.string()),
        column("units_before", pa.int64()),
        column("removed", pa.int64(), text="missing values included"),
        column("removed_missing", pa.int64(), text="removed because they have no value"),
        column("units_after", pa.int64()),
        column("note", pa.string(), text="why a filter was not applied"),
    ]
)
FINDING_SCHEMA = pa.schema(
    [
        column("session", pa.string(), text="id; empty for what concerns all"),
        column("file", pa.string()),
        column("subject", pa.string()),
        column("reason", pa.string()),
        column("kept", pa.bool_(), text="used all the same: a warning"),
    ]
)


def make_project_tables(job: Job) -> None:
    """Write the tables over all sessions, the record of the filters, and what was found on the way.

    Where there are raw tables, those of the project need no session file.
    """
    item = job.settings
    where = (job.results, item["project"])
    if item["tables"]:
        findings: list[dict[str, Any]] = []
        inputs = [Path(path) for path in item["tables"].values()]
        raw = RawTables(**{name: read_raw_table(Path(path), name) for name, path in item["tables"].items()})
    else:
        files = {session: paths.session_index(*where, session) for session in item["sessions"]}
        raw, findings = tables_of_sessions(files)
        inputs = [path for index in files.values() for path in index]
    filters = UnitFilters(**item["filters"])
    tables = project_tables(raw, filters, item["suppress"])
    findings += [
        {"session": "", "file": "", "subject": subject, "reason": reason, "kept": True}
        for subject, reason in tables.findings
    ]
    quality = unit_quality(raw, filters)
    provenance = job.provenance(inputs)
    for name in (*TABLES, "annotated_units"):
        table = getattr(tables, name)
        write_table(paths.project_table(*where, name), table, table.schema, provenance)
        print(f"{name}: {table.num_rows}")
    write_table(paths.project_table(*where, "unit_quality"), quality, quality.schema, provenance)
    records = [asdict(record) for record in tables.filters]
    write_table(paths.project_table(*where, "unit_filters"), records, FILTER_SCHEMA, provenance)
    write_table(paths.project_findings(*where), findings, FINDING_SCHEMA, provenance)


def unit_quality(raw: RawTables, filters: UnitFilters) -> pa.Table:
    """Return what the filters look at of all units, those that they remove too, and whether they keep them."""
    everything = project_tables(raw, NO_FILTERS, {"units": []}).units
    kept = column("kept", pa.bool_(), text="passes unit_filters")
    shown = everything.select([name for name in QUALITY_COLUMNS if name in everything.column_names])
    return shown.append_column(kept, pa.array(filter_units(everything, filters)[0]))


def tables_of_sessions(files: Mapping[str, Sequence[Path]]) -> tuple[RawTables, list[dict[str, Any]]]:
    """Return the raw tables of all sessions from their indices, and what had to be left out, as `stacked_tables`."""
    parts = {
        session: RawTables(**dict(zip(TABLES, map(read_table, tables), strict=True)))
        for session, (_, *tables) in files.items()
    }
    return stacked_tables(parts)


def stacked_tables(parts: Mapping[str, RawTables]) -> tuple[RawTables, list[dict[str, Any]]]:
    """Return the raw tables of all sessions, one after the other, and an exclusion for each that is left out.

    Ids of sessions are the names that they have in the project, as in its folders and campaigns: integers where all
    are. What a file calls itself is in the column ``identifier`` of sessions; of two files with one identifier the
    first, by name, is taken.

    Parameters
    ----------
    parts : name of a session -> its raw tables
    """
    taken: dict[Any, str] = {}
    exclusions, used = [], {}
    for session, part in parts.items():
        ids = part.sessions["id"].to_pylist()
        if not ids:  # it was left out, as its index says
            continue
        if ids[0] in taken:
            reason = f"has the id {ids[0]}, as session {taken[ids[0]]} has: only that one is in the tables"
            row = {"session": session, "file": "", "subject": "id", "reason": reason, "kept": False}
            exclusions.append(row)
        else:
            used[session] = part
        taken = dict.fromkeys(ids, session) | taken
    if not used:
        return RawTables(**{name: RAW_SCHEMAS[name].empty_table() for name in TABLES}), exclusions
    numeric = all(re.fullmatch(r"[1-9][0-9]{0,17}|0", session) for session in used)
    named = [_named(part, int(session) if numeric else session) for session, part in used.items()]
    return RawTables(
        **{name: _stacked([getattr(part, name) for part in named]) for name in TABLES}
    ), exclusions


def _named(part: RawTables, session: int | str) -> RawTables:
    """Return the raw tables of a session with its name in place of the identifier of its file."""
    identifier = column("identifier", pa.string(), text="of the session file")
    ids = pa.array([str(each) for each in part.sessions["id"].to_pylist()], pa.string())
    sessions = part.sessions.append_column(identifier, ids)
    tables = {name: getattr(part, name) for name in TABLES[1:]}
    return RawTables(
        sessions=_with_constant(sessions, "id", session),
        **{name: _with_constant(table, "ecephys_session_id", session) for name, table in tables.items()},
    )


def _with_constant(table: pa.Table, name: str, value: int | str) -> pa.Table:
    i = table.column_names.index(name)
    kind = pa.int64() if isinstance(value, int) else pa.string()
    values = pa.array([value] * table.num_rows, kind)
    return table.set_column(i, table.schema.field(i).with_type(kind), values)


def _stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of several layouts, one a session, as one: columns that one does not have are null there.

    A column that is of numbers in one and of texts in another is of texts in all.
    """
    tables = [table.replace_schema_metadata(None) for table in tables]
    filled = [table for table in tables if table.num_rows] or list(tables[:1])
    texts = _without_common_type(filled)
    filled = [_with_texts(table, [each for each in texts if each in table.column_names]) for table in filled]
    return pa.concat_tables(filled, promote_options="permissive")


def _without_common_type(tables: Sequence[pa.Table]) -> list[str]:
    """Return the columns that no type of numbers, or other, can hold in all tables."""
    found = []
    for name in dict.fromkeys(name for table in tables for name in table.column_names):
        fields = [table.schema.field(name) for table in tables if name in table.column_names]
        try:
            pa.unify_schemas([pa.schema([field]) for field in fields], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            found.append(name)
    return found


def _with_texts(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        i = table.column_names.index(name)
        values = [None if value is None else str(value) for value in table[name].to_pylist()]
        field = table.schema.field(i).with_type(pa.string())
        table = table.set_column(i, field, pa.array(values, pa.string()))
    return table


def join_analysis_metrics(job: Job) -> None:
    """Write the analysis metrics of a session type with the columns of their units."""
    item = job.settings
    units_file, sessions_file = (
        paths.project_table(job.results, item["project"], name) for name in ("units", "sessions")
    )
    units, metrics = read_table(units_file), read_metrics(Path(item["file"]))
    sessions = read_table(sessions_file, ["session_type"])
    if item["session_type"] not in (known := distinct(sessions, "session_type")):
        raise ProjectError(
            f"analysis_metrics: session type {item['session_type']!r} is unknown (known: {', '.join(known)})"
        )
    table = annotate_metrics(metrics, units)
    target = paths.analysis_metrics(job.results, item["project"], item["session_type"])
    write_table(target, table, table.schema, job.provenance([item["file"], units_file, sessions_file]))
    print(
        f"{target}: {table.num_rows} of {metrics.num_rows} units with metrics are among the units of the project"
    )
