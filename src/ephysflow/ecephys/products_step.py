"""The step ``extract_session``: one product of one session, from its NWB file."""

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ephysflow import paths
from ephysflow.ecephys.array_file import FINDINGS, LEFT_OUT, reading_arrays, writing_arrays
from ephysflow.ecephys.download_record import check_digest
from ephysflow.ecephys.products import PRODUCTS, Product
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ProjectError
from ephysflow.io.atomic import replacing
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import PROVENANCE_KEY, numbers_writer, open_table, read_rows
from ephysflow.job import Job


def extract_session(job: Job) -> None:
    """Write one product; of a session that was left out, or whose product cannot be read, a file without rows."""
    item = job.settings
    product = PRODUCTS[item["product"]]
    index = paths.session_index(job.results, item["project"], item["session"])[0]
    (session,) = read_rows(index)
    provenance = _provenance(job, session)
    path = paths.session_product(job.results, item["project"], item["session"], _file_name(product, item))
    reason = session["reason"]
    if reason is None:
        _check_unchanged(Path(item["file"]), session["size"])
        try:
            if item["lfp_file"] is not None:
                check_digest(Path(item["lfp_file"]), provenance.inputs[item["lfp_file"]])
            _make(product, item, path, provenance)
        except ProjectError as error:
            reason = str(error)
    if reason is not None:
        _write_left_out(product, path, provenance, reason)
        print(f"LEFT OUT: {item['product']} of session {item['session']}: {reason}")


def left_out_reason(path: Path) -> str | None:
    """Return why a product's file holds nothing; None where it holds what the session has.

    Raises
    ------
    ResultError
        if it is not a file that ephysflow wrote, or is damaged.
    """
    if path.suffix == ".parquet":
        with open_table(path) as opened:
            found = opened.schema_arrow.metadata.get(LEFT_OUT.encode())
        return found.decode() if found is not None else None
    with reading_arrays(path) as file:
        found = file.attrs.get(LEFT_OUT)
    return None if found is None else str(found)


def findings_of(path: Path) -> list[tuple[str, str]]:
    """Return what is doubtful in a product, as subject and reason; errors as `left_out_reason`."""
    if path.suffix == ".parquet":
        with open_table(path) as opened:
            found = (opened.metadata.metadata or {}).get(FINDINGS.encode())
    else:
        with reading_arrays(path) as file:
            found = file[FINDINGS][()] if FINDINGS in file else None
    return [] if found is None else [(subject, reason) for subject, reason in json.loads(found)]


def _check_unchanged(path: Path, size: int) -> None:
    """Check that the index, which gives the digest, is of this file; by size, as its content may be some GB."""
    if path.is_file() and path.stat().st_size != size:
        raise ProjectError(f"{path}: has changed since the session was indexed: it had {size} bytes")


def _file_name(product: Product, item: Mapping[str, Any]) -> str:
    return product.file.format(probe=item["probe"])


def _provenance(job: Job, session: Mapping[str, Any]) -> Provenance:
    """Return the record; the session's NWB, of some GB, was hashed once by its index."""
    item = job.settings
    others = [
        item[name] for name in ("channels_table", "metrics_table", "lfp_file") if item[name] is not None
    ]
    record = job.provenance(others)
    return replace(record, inputs={**record.inputs, item["file"]: session["sha256"] or "absent"})


def _make(product: Product, item: Mapping[str, Any], path: Path, provenance: Provenance) -> None:
    function = getattr(importlib.import_module(product.module), product.function)
    keywords = {**_arguments(product, item), **product.options, **item["options"]}
    findings: list[tuple[str, str]] = []

    def report(subject: str, reason: str) -> None:
        findings.append((subject, reason))
        print(f"note: {subject}: {reason}")

    if product.reports:
        keywords["report"] = report
    with SessionFile(Path(item["file"])) as session:
        if product.kind == "arrays":
            with writing_arrays(path, provenance) as file:
                function(session, file, **keywords)
                file.create_dataset(FINDINGS, data=json.dumps(findings))
        elif product.kind == "pieces":
            schema, pieces = function(session, **keywords)
            _write_pieces(path, schema, pieces, provenance, findings)
        else:
            table = function(session, **keywords)
            _write_pieces(path, table.schema, [table], provenance, findings)


def _arguments(product: Product, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a product depends on beside the session file."""
    found: dict[str, Any] = {}
    if "filters" in product.arguments:
        found["filters"] = UnitFilters(**item["filters"])
    for name, key in (("channels", "channels_table"), ("metrics", "metrics_table"), ("lfp_file", "lfp_file")):
        if name in product.arguments:
            found[name] = None if item[key] is None else Path(item[key])
    return found if item["probe"] is None else {**found, "probe": item["probe"]}


def _write_pieces(
    path: Path,
    schema: pa.Schema,
    pieces: Iterable[pa.Table],
    provenance: Provenance,
    findings: Sequence[tuple[str, str]],
) -> None:
    """Write a table atomically, a row group a piece; `findings` are complete when the last piece was made."""
    schema = schema.with_metadata({PROVENANCE_KEY: provenance.text().encode()})
    with replacing(path) as temporary, numbers_writer(schema, temporary) as writer:
        for piece in pieces:
            writer.write_table(piece.replace_schema_metadata(schema.metadata))
        writer.add_key_value_metadata({FINDINGS: json.dumps(findings)})


def _write_left_out(product: Product, path: Path, provenance: Provenance, reason: str) -> None:
    if product.kind == "arrays":
        with writing_arrays(path, provenance) as file:
            file.attrs[LEFT_OUT] = reason
        return
    schema = pa.schema(
        [pa.field(name, pa.type_for_alias(kind)) for name, kind in product.columns.items()],
        {PROVENANCE_KEY: provenance.text().encode(), LEFT_OUT.encode(): reason.encode()},
    )
    with replacing(path) as temporary:
        pq.write_table(schema.empty_table(), temporary)
