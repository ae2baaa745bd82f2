"""Columns of NWB tables with one value a row, as numpy and Arrow columns; made without pandas, as in `columns`."""

from collections.abc import Sequence

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of
from ephysflow.ecephys.nwb_file import (
    Ragged,
    dataset,
    one_value_a_row,
    read_column,
    read_values,
    table_columns,
    where,
)
from ephysflow.errors import ProjectError


def row_ids(table: h5py.Group) -> np.ndarray:
    """Return (N,) int64 ids of a table's rows, in its order.

    Raises
    ------
    ProjectError
        if they are no integers, negative, or one occurs twice.
    """
    stored = dataset(table, "id")
    if stored.dtype.kind not in "iu" or stored.ndim != 1:
        raise ProjectError(
            f"{where(stored)} has type {stored.dtype} and shape {stored.shape}; one integer a row is needed"
        )
    ids = read_values(stored).astype(np.int64)
    if len(ids) and ids.min() < 0:
        raise ProjectError(f"{where(stored)} holds {ids.min()}, which is no id")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise ProjectError(f"{where(stored)}: id {unique[counts > 1][0]} occurs more than once")
    return ids


def plain_columns(table: h5py.Group, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the columns of a table that hold one number, flag, text or reference (its name) a row.

    Parameters
    ----------
    table : group of a DynamicTable
    names : which of them, where they are there; None for all

    Raises
    ------
    ProjectError
        if one is missing or has not one value a row.
    """
    found = {}
    for name in table_columns(table):
        if names is not None and name not in names:
            continue
        if not _is_scalar(dataset(table, name).dtype) or not one_value_a_row(table, name):
            continue
        values = read_column(table, name)
        assert not isinstance(values, Ragged)
        # h5py keeps the byte order of the file; Arrow has nothing wider than float64
        wide = values.dtype.kind == "f" and values.dtype.itemsize > 8
        found[name] = values.astype(np.float64 if wide else values.dtype.newbyteorder("="), copy=False)
    return found


def _is_scalar(kind: np.dtype) -> bool:
    if kind.kind == "O":
        return h5py.check_string_dtype(kind) is not None or h5py.check_ref_dtype(kind) is h5py.Reference
    return kind.kind in "biufS"


def positions(ids: np.ndarray, wanted: np.ndarray, what: str) -> np.ndarray:
    """Return (N,) positions of `wanted` in `ids`, -1 where they are not there.

    Raises
    ------
    ProjectError
        if one of `ids` occurs twice; `what` says in the message whose they are.
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if (twice := ordered[1:] == ordered[:-1]).any():
        raise ProjectError(f"{what}: id {ordered[1:][twice][0]} occurs more than once")
    if not len(ids):
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ids) - 1)
    return np.where(ordered[place] == wanted, order[place], -1)


def arrow_column(values: np.ndarray) -> pa.Array:
    """Return numbers, flags or text (objects) as they are; NaN and empty text become null."""
    if values.dtype.kind == "O":
        return text_column([str(value) or None for value in values])
    return array_of(values, np.isnan(values) if values.dtype.kind == "f" else None)


def text_column(values: Sequence[str | None]) -> pa.Array:
    """Return text, None becoming null."""
    stored = [(value or "").encode("utf-8", "replace") for value in values]
    ends = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(value) for value in stored], out=ends[1:])
    missing = np.array([value is None for value in values], dtype=bool)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    # 64-bit bounds hold any amount of text; the cast to the usual type fails above 2 GB instead of wrapping
    large = pa.Array.from_buffers(
        pa.large_string(), len(values), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(stored))]
    )
    return large.cast(pa.string())


def number_column(values: np.ndarray, kind: pa.DataType, place: str) -> pa.Array:
    """Return numbers as int64 or float64, NaN as null.

    Parameters
    ----------
    values : (N,) any
    kind : `pa.int64()` or `pa.float64()`
    place : file, table and column for messages

    Raises
    ------
    ProjectError
        if they are no numbers, or are to be integers and are none.
    """
    if values.dtype.kind not in "iuf":
        raise ProjectError(f"{place} must be numbers, but has type {_type_name(values)}")
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    if not pa.types.is_integer(kind):
        return array_of(values.astype(np.float64), missing)
    known = np.where(missing, 0, values)
    if (known != np.floor(known)).any() or (np.abs(known.astype(np.float64)) >= 2.0**63).any():
        raise ProjectError(f"{place} must be integers")
    return array_of(known.astype(np.int64), missing)


def flag_column(values: np.ndarray, place: str) -> pa.Array:
    """Return flags: booleans, 0 and 1, or the texts True and False; other values are a `ProjectError`."""
    texts = {"true": True, "false": False, "1": True, "0": False}
    try:
        return array_of(np.array([texts[str(value).lower()] for value in values], dtype=bool))
    except KeyError as error:
        raise ProjectError(f"{place} must be True or False, but one is {error}") from None


def _type_name(values: np.ndarray) -> str:
    return "text" if values.dtype.kind == "O" else str(values.dtype)
