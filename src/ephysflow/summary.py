"""The step ``summarise``: what was left out, what is doubtful and what came out, in tables for people."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ephysflow import paths
from ephysflow.efeatures.rheobase_table import RHEOBASE_SCHEMA
from ephysflow.io.atomic import write_text
from ephysflow.io.tables import read_rows, read_table, write_table
from ephysflow.job import Job
from ephysflow.recordings.table import EXCLUSION_SCHEMA, sweep_parameters

DOUBTFUL_CONFIDENCE = 0.5
"""Sweeps whose stimulus timing is less certain than this are listed."""


def summarise(job: Job) -> None:
    """Write the table of all exclusions and the tables of the report."""
    cells, sets = job.settings["cells"], job.settings["sets"]
    own_exclusions = [paths.cell_exclusions(job.results, cell) for cell in cells]
    sweep_tables = [paths.sweep_table(job.results, cell) for cell in cells]
    feature_tables = [paths.feature_table(job.results, name) for name in sets]
    target_tables = [paths.target_table(job.results, name) for name in sets]
    rheobase_tables = [paths.rheobase(job.results)] if sets else []
    inputs = [*own_exclusions, *sweep_tables, *rheobase_tables, *feature_tables, *target_tables]

    sweeps = sweep_parameters(sweep_tables)
    rheobase = [row for table in rheobase_tables for row in read_rows(table)]
    exclusions = [row for table in own_exclusions for row in read_rows(table)]
    exclusions += without_rheobase(rheobase)
    exclusions += failed_extractions(feature_tables)
    write_table(paths.exclusions(job.results), exclusions, EXCLUSION_SCHEMA, job.provenance(inputs))

    names = ("cell", "protocol", "sweep", "file", "doubt")
    tables: dict[str, tuple[Sequence[str], Iterable[Mapping[str, Any]]]] = {
        "exclusions.csv": (EXCLUSION_SCHEMA.names, exclusions),
        "flagged_sweeps.csv": (names, flagged_sweeps(sweeps)),
        "rheobase.csv": ([name for name in RHEOBASE_SCHEMA.names if name != "sweeps"], rheobase),
        "targets.csv": (
            ("set", "protocol", "amplitude", "efeature_name", "mean", "std", "n", "n_sweeps", "kept"),
            [
                {"set": name, **row}
                for name, table in zip(sets, target_tables, strict=True)
                for row in read_rows(table)
            ],
        ),
    }
    for path in paths.summary_tables(job.results):
        write_csv(path, *tables[path.name])
    for note in job.settings["notes"]:
        print(f"note: {note}")
    print(f"{sweeps.num_rows} sweeps, {len(exclusions)} exclusions")


def without_rheobase(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return an exclusion for each cell that has no rheobase."""
    return [
        {
            "cell": row["cell"],
            "protocol": "",
            "file": "",
            "sweep": "",
            "stage": "rheobase",
            "reason": row["reason"],
        }
        for row in rows
        if row["rheobase"] is None
    ]


def failed_extractions(feature_tables: Iterable[Path]) -> list[dict[str, Any]]:
    """Return an exclusion for each sweep and reason that feature extraction failed with."""
    failed: dict[tuple[str, ...], None] = {}
    for path in feature_tables:
        table = read_table(path, ["cell", "protocol", "sweep", "error"])
        for row in table.filter(pc.is_valid(table["error"])).to_pylist():
            failed[row["cell"], row["protocol"], str(row["sweep"]), row["error"]] = None
    return [
        {
            "cell": cell,
            "protocol": protocol,
            "file": "",
            "sweep": sweep,
            "stage": "efeatures",
            "reason": reason,
        }
        for cell, protocol, sweep, reason in failed
    ]


def flagged_sweeps(sweeps: pa.Table) -> list[dict[str, Any]]:
    """Return the sweeps whose stimulus timing is doubtful or whose quality missed a limit, with the reason."""
    flagged = []
    columns = ["cell", "protocol", "sweep", "files", "timing_confidence", "timing_reason", "qc_reasons"]
    for row in sweeps.select(columns).to_pylist():
        doubts = []
        if row["timing_confidence"] is not None and row["timing_confidence"] < DOUBTFUL_CONFIDENCE:
            doubts.append(f"timing: {row['timing_reason']}")
        if row["qc_reasons"]:
            doubts.append(f"quality: {row['qc_reasons']}")
        if doubts:
            flagged.append({**row, "file": " ".join(row["files"]), "doubt": "; ".join(doubts)})
    return flagged


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as comma-separated values with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
