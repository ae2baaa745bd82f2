"""The step ``index_session``: what a session file is and holds, and its part of the project's raw tables."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa

from ephysflow import paths
from ephysflow.ecephys.download_record import check_against_record, read_record
from ephysflow.ecephys.products import PRODUCTS
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables
from ephysflow.ecephys.session_file import SESSION_SCHEMA, SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.errors import ProjectError
from ephysflow.io.canonical import file_digest
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import column, write_table
from ephysflow.job import Job

USED, LEFT_OUT = "used", "left out"

_METADATA = [SESSION_SCHEMA.field(name) for name in SESSION_SCHEMA.names if name != "id"]

INDEX_SCHEMA = pa.schema(
    [
        column("session", pa.string(), text="name of the session in the project"),
        column("status", pa.string(), text=f"{USED} or {LEFT_OUT}"),
        column("reason", pa.string(), text="why it was left out"),
        column("file", pa.string()),
        column("size", pa.int64(), "B"),
        column("sha256", pa.string()),
        column("id", pa.string(), text="of the session, as its file says"),
        *_METADATA,
        column("n_probes", pa.int64()),
        column("n_channels", pa.int64()),
        column("n_units", pa.int64(), text="before any filter"),
        column("products", pa.list_(pa.string()), text="those that the file has something for"),
    ]
)
"""The one row of ``session.parquet``."""

_DEPTH = 3
"""Parts of the longest name that tells that a product is there, e.g. general/extracellular_ephys/electrodes."""


def index_session(job: Job) -> None:
    """Write the index of one session file; a file that cannot be used is left out, with the reason."""
    item = job.settings
    path = Path(item["file"])
    row: dict[str, Any] = {"session": item["session"], "status": USED, "file": item["file"]}
    rows = None
    try:
        if path.is_file():
            row |= _size_and_digest(path, item["downloaded"])
        with SessionFile(path) as session:
            checked_id(session, item["session"])
            rows = session_rows(session)
            row |= _contents(session, rows)
    except ProjectError as error:
        row |= {"status": LEFT_OUT, "reason": str(error)}
        if path.is_file() and "sha256" not in row:
            row |= _size_and_digest(path, downloaded=False)
        print(f"LEFT OUT: session {item['session']}: {error}")
    _write(job, row, rows if row["status"] == USED else None)


def checked_id(session: SessionFile, expected: str) -> None:
    """Check that a file is of the session that it is taken for.

    Where the project names its sessions by integers these are their ids; other names are free.

    Raises
    ------
    ProjectError
        if the file says that it is of another session.
    """
    if isinstance(session.session_id, int) and _is_integer(expected) and int(expected) != session.session_id:
        raise ProjectError(
            f"{session.path}: is the file of session {session.session_id}, but stands for session {expected}"
        )


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _contents(session: SessionFile, rows: RawTables) -> dict[str, Any]:
    return {
        **session.metadata(),
        "id": str(session.session_id),
        "n_probes": rows.probes.num_rows,
        "n_channels": rows.channels.num_rows,
        "n_units": rows.units.num_rows,
        "products": held_products(session.h5),
    }


def held_products(file: h5py.File) -> list[str]:
    """Return the products that a session file has something for, by the names of what it holds."""
    names = list(_names(file))
    return [
        name
        for name, product in PRODUCTS.items()
        if any(re.fullmatch(product.held_as, there) for there in names)
    ]


def _names(parent: h5py.Group, above: str = "", depth: int = 1) -> Iterator[str]:
    """Yield the names of the objects in a file, those of a few levels; links are not followed out of it."""
    for name in parent:
        yield f"{above}{name}"
        if depth < _DEPTH and isinstance(parent.get(name, getlink=True), h5py.HardLink):
            found = parent[name]
            if isinstance(found, h5py.Group):
                yield from _names(found, f"{above}{name}/", depth + 1)


def _size_and_digest(path: Path, downloaded: bool) -> dict[str, Any]:
    """Return size and SHA-256 of a file; what was downloaded must be what the record of its download says."""
    if downloaded and read_record(path) is not None:
        known = check_against_record(path)
        return {"size": known.size, "sha256": known.sha256}
    return {"size": path.stat().st_size, "sha256": file_digest(path)}


def _write(job: Job, row: Mapping[str, Any], rows: RawTables | None) -> None:
    item = job.settings
    index, *tables = paths.session_index(job.results, item["project"], item["session"])
    provenance: Provenance = job.provenance([])
    provenance = replace(provenance, inputs={item["file"]: row.get("sha256") or "absent"})
    write_table(index, [row], INDEX_SCHEMA, provenance)
    for path in tables:
        name = path.stem.removeprefix("index.")
        table = RAW_SCHEMAS[name].empty_table() if rows is None else getattr(rows, name)
        write_table(path, table, table.schema, provenance)
