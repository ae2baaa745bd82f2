"""The step ``collect_exclusions``: everything of a project that was left out or is doubtful, in one table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ephysflow import paths
from ephysflow.ecephys.analysis_metrics import exchange, read_metrics, unknown_units
from ephysflow.ecephys.index_step import USED
from ephysflow.ecephys.products import product_of
from ephysflow.ecephys.products_step import findings_of, left_out_reason
from ephysflow.ecephys.raw_tables import read_raw_table
from ephysflow.ecephys.tables_step import FINDING_SCHEMA
from ephysflow.io.tables import column, read_rows, write_table
from ephysflow.job import Job

EXCLUSION_SCHEMA = pa.schema(
    [column("stage", pa.string(), text="sessions, tables, analysis_metrics, or a product"), *FINDING_SCHEMA]
)


def collect_exclusions(job: Job) -> None:
    """Write what the tables of a project found, and what its products could not be made of."""
    item = job.settings
    where = (job.results, item["project"])
    found = paths.project_findings(*where)
    rows: list[dict[str, Any]] = [{"stage": "tables", **row} for row in read_rows(found)]
    absent = [{**row, "subject": "file"} for row in item["left_out"]]
    indices = {session: paths.session_index(*where, session)[0] for session in item["sessions"]}
    unusable = _left_out_sessions(indices)
    rows += [{"stage": "sessions", **row} for row in (*absent, *unusable)]
    lost = {row["session"] for row in unusable}  # said once, not for every product
    products = [
        (session, name, paths.session_product(*where, session, name))
        for session, names in item["sessions"].items()
        for name in names
    ]
    for session, name, path in products:
        reason = left_out_reason(path)
        if reason is not None and session not in lost:
            row = {"session": session, "file": str(path), "subject": name, "reason": reason, "kept": False}
            rows.append({"stage": product_of(name)[0], **row})
        for subject, reason in findings_of(path):
            row = {"session": session, "file": str(path), "subject": subject, "reason": reason, "kept": True}
            rows.append({"stage": product_of(name)[0], **row})
    rows += _doubtful_metrics(item)
    inputs = [item["units_table"], *item["metrics"]] if item["metrics"] else []
    provenance = job.provenance([found, *indices.values(), *(path for _, _, path in products), *inputs])
    write_table(paths.project_table(*where, "exclusions"), rows, EXCLUSION_SCHEMA, provenance)
    for row in rows:
        sign = "note" if row["kept"] else "LEFT OUT"
        print(f"{sign}: {row['session'] or row['subject']}: {row['reason']}")


def _left_out_sessions(indices: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return an exclusion for each session file that could not be used."""
    found = []
    for session, index in indices.items():
        row = read_rows(index, ["file", "status", "reason"])[0]
        if row["status"] != USED:
            found.append(
                {
                    "session": session,
                    "file": row["file"],
                    "subject": "session",
                    "reason": row["reason"],
                    "kept": False,
                }
            )
    return found


def _doubtful_metrics(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each doubt about the tables of analysis metrics: units that are unknown, exchanged metrics."""
    if not item["metrics"]:
        return []
    units = read_raw_table(Path(item["units_table"]), "units")
    rows = []
    for file in item["metrics"]:
        metrics = read_metrics(Path(file))
        doubts = {"units": unknown_units(metrics, units), "on_screen_rf and p_value_rf": exchange(metrics)[1]}
        for subject, reason in doubts.items():
            if reason:
                row = {"session": "", "file": file, "subject": subject, "reason": reason, "kept": True}
                rows.append({"stage": "analysis_metrics", **row})
    return rows
