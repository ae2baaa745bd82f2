"""Parquet tables with units and provenance: written whole, checked when read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing
from ephysflow.io.provenance import Provenance

PROVENANCE_KEY = b"ephysflow"


def column(name: str, kind: pa.DataType, unit: str = "", text: str = "") -> pa.Field:
    """Describe one column: its unit and meaning travel with the file as field metadata."""
    described = {key: value for key, value in (("unit", unit), ("description", text)) if value}
    return pa.field(name, kind, metadata=described)


def write_table(
    path: Path,
    rows: Sequence[Mapping[str, Any]] | pa.Table,
    schema: pa.Schema,
    provenance: Provenance,
    row_groups: Sequence[int] | None = None,
) -> None:
    """Write `rows` atomically.

    Parameters
    ----------
    path : where
    rows : one mapping a row (missing keys become null), or a table of that schema
    schema : columns with their units
    provenance : stored in the file's metadata
    row_groups : number of rows of each row group, in order; None for one group
    """
    table = rows if isinstance(rows, pa.Table) else table_of(rows, schema)
    schema = table.schema.with_metadata({PROVENANCE_KEY: provenance.text().encode()})
    floats_in_lists = [f.name for f in schema if pa.types.is_list(f.type)]
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[f.name for f in schema if f.name not in floats_in_lists],
            write_page_checksum=True,
        ) as writer,
    ):
        start = 0
        for size in row_groups or [table.num_rows]:
            # not cast(): it would import pyarrow.compute, and only the metadata differs
            writer.write_table(table.slice(start, size).replace_schema_metadata(schema.metadata))
            start += size


def write_numbers(path: Path, table: pa.Table, provenance: Provenance) -> None:
    """Write a big table of numbers atomically: faster than `write_table`, and a little larger."""
    schema = table.schema.with_metadata({PROVENANCE_KEY: provenance.text().encode()})
    with replacing(path) as temporary, numbers_writer(schema, temporary) as writer:
        writer.write_table(table.replace_schema_metadata(schema.metadata))


def numbers_writer(schema: pa.Schema, path: Path) -> pq.ParquetWriter:
    """Open a writer for big tables of numbers.

    Measured floats hardly compress, integers of sorted tables do as differences, and labels are few.
    """
    integers = [f.name for f in schema if pa.types.is_integer(f.type)]
    labels = [f.name for f in schema if pa.types.is_dictionary(f.type) or pa.types.is_string(f.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=labels,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        write_statistics=[*integers, *labels],
        write_page_checksum=True,
    )


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of `schema` from mappings; keys that the schema does not know are an error."""
    known = set(schema.names)
    for row in rows:
        if unknown := set(row) - known:
            raise ValueError(f"columns {sorted(unknown)} are not in the table's schema")
    return pa.Table.from_arrays(
        [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema], schema=schema
    )


def open_table(path: Path) -> pq.ParquetFile:
    """Open a table that ephysflow wrote.

    Raises
    ------
    ResultError
        if the file is missing, is not whole, or was not written by ephysflow.
    """
    try:
        opened = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{path}: cannot be read as a Parquet table: {error}") from None
    if PROVENANCE_KEY not in (opened.schema_arrow.metadata or {}):
        raise ResultError(f"{path}: was not written by ephysflow (no provenance in its metadata)")
    return opened


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns; errors as `open_table`, damage inside pages included."""
    with open_table(path) as opened:
        try:
            return opened.read(columns=None if columns is None else list(columns))
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"{path}: damaged: {error}") from None


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read a table as one dictionary a row."""
    return read_table(path, columns).to_pylist()


def read_provenance(path: Path) -> Provenance:
    """Return the provenance of a table that ephysflow wrote; errors as `open_table`."""
    with open_table(path) as opened:
        try:
            return Provenance.from_text(opened.schema_arrow.metadata[PROVENANCE_KEY])
        except (ValueError, TypeError) as error:
            raise ResultError(f"{path}: its provenance cannot be read: {error}") from None
