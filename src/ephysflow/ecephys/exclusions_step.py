"""The step ``collect_exclusions``: everything of a project that was left out or is doubtful, in one table."""

from typing import Any

import pyarrow as pa

from ephysflow import paths
from ephysflow.ecephys.products_step import findings_of, left_out_reason
from ephysflow.ecephys.tables_step import FINDING_SCHEMA
from ephysflow.io.tables import column, read_rows, write_table
from ephysflow.job import Job

EXCLUSION_SCHEMA = pa.schema([column("stage", pa.string(), text="tables, or a product"), *FINDING_SCHEMA])


def collect_exclusions(job: Job) -> None:
    """Write what the tables of a project found, and what its products could not be made of."""
    item = job.settings
    where = (job.results, item["project"])
    found = paths.project_findings(*where)
    rows: list[dict[str, Any]] = [{"stage": "tables", **row} for row in read_rows(found)]
    lost = {row["session"] for row in rows if row["subject"] == "session"}  # said once, not for every product
    products = [
        (session, name, paths.session_product(*where, session, name))
        for session, names in item["sessions"].items()
        for name in names
    ]
    for session, name, path in products:
        reason = left_out_reason(path)
        if reason is not None and session not in lost:
            row = {"session": session, "file": str(path), "subject": name, "reason": reason, "kept": False}
            rows.append({"stage": name.partition(".")[0], **row})
        for subject, reason in findings_of(path):
            row = {"session": session, "file": str(path), "subject": subject, "reason": reason, "kept": True}
            rows.append({"stage": name.partition(".")[0], **row})
    provenance = job.provenance([found, *(path for _, _, path in products)])
    write_table(paths.project_table(*where, "exclusions"), rows, EXCLUSION_SCHEMA, provenance)
    for row in rows:
        sign = "note" if row["kept"] else "LEFT OUT"
        print(f"{sign}: {row['session'] or row['subject']}: {row['reason']}")
