"""Tables of intervals in a session file: invalid times, epochs, trials."""

from typing import Any, TypeGuard

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.nwb_columns import arrow_column, text_column
from ephysflow.ecephys.nwb_file import (
    attribute,
    dataset,
    member,
    naming,
    read_column,
    read_values,
    table_columns,
    where,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.tables import column

INVALID_TIMES = "intervals/invalid_times"

INTERVAL_SCHEMA = pa.schema(
    [
        column("id", pa.int64(), "", "as in the file"),
        column("start_time", pa.float64(), "s"),
        column("stop_time", pa.float64(), "s"),
        column("tags", pa.list_(pa.string())),
    ]
)
"""Columns of the invalid times."""

EPOCH_SCHEMA = pa.schema([column("interval_table", pa.string(), "", "name in the file"), *INTERVAL_SCHEMA])
"""Columns that the table of epochs always has."""


def read_invalid_times(session: SessionFile) -> pa.Table:
    """Read the intervals in which something was wrong.

    Returns
    -------
    table of `INTERVAL_SCHEMA`. Tags are what the interval holds for: ``stimulus``, ``all_probes``, or a probe's name

    Raises
    ------
    ProjectError
        if the table is damaged, or an interval does not start and stop, in this order.
    """
    place = member(session.h5, INVALID_TIMES)
    if not isinstance(place, h5py.Group):
        return INTERVAL_SCHEMA.empty_table()
    table = read_table(place, INTERVAL_SCHEMA).select(INTERVAL_SCHEMA.names)
    start, stop = (values_of(table[name]) for name in ("start_time", "stop_time"))
    wrong = np.flatnonzero(~(start <= stop))
    if len(wrong):
        row = int(wrong[0])
        raise ProjectError(f"{where(place)}: row {row} is from {start[row]} to {stop[row]} s")
    return table


def interval_tables(session: SessionFile) -> list[str]:
    """Return the names of the tables of intervals that can serve as trials.

    These are all tables with ``start_time`` and ``stop_time`` in ``intervals`` (stimulus presentations, epochs, trials,
    but not the invalid times) and in the modules of ``processing`` (e.g. ``optogenetic_stimulation``). A name that
    occurs twice is given as ``<module>/<name>`` for the one in processing.
    """
    return list(_tables(session))


def read_intervals(session: SessionFile, name: str) -> pa.Table:
    """Read one table of intervals with all its columns, in the order of the file.

    Parameters
    ----------
    name : one of `interval_tables`

    Returns
    -------
    ``id``, ``start_time``, ``stop_time`` (s), then the columns of the file; lists where a row has several values,
    null for NaN and empty text.
    Columns of references to series are left out.

    Raises
    ------
    ConfigurationError
        if the session has no such table.
    ProjectError
        if the table is damaged.
    """
    tables = _tables(session)
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise ConfigurationError(
            f"{session.path}: there is no table of intervals {name!r}; there are: {known}"
        )
    return _read(tables[name])


def read_epochs(session: SessionFile) -> pa.Table:
    """Read all tables of ``intervals`` that are neither stimulus presentations nor invalid times.

    Returns
    -------
    columns of `EPOCH_SCHEMA`, then the further columns of the tables, null where a table has none of that name. A
    column that has another type in another table is named ``<table>.<column>``.

    Raises
    ------
    ProjectError
        if a table is damaged.
    """
    tables = {
        name: read_table(place, INTERVAL_SCHEMA)
        for name, place in _tables(session).items()
        if place.parent.name == "/intervals" and not name.endswith("_presentations")
    }
    kinds: dict[str, set[str]] = {}
    for table in tables.values():
        for field in table.schema:
            kinds.setdefault(field.name, set()).add(str(field.type))
    renamed = [
        table.rename_columns(
            [c if len(kinds[c]) == 1 else f"{name}.{c}" for c in table.column_names]
        ).add_column(0, EPOCH_SCHEMA.field("interval_table"), text_column([name] * table.num_rows))
        for name, table in tables.items()
    ]
    return pa.concat_tables([EPOCH_SCHEMA.empty_table(), *renamed], promote_options="default")


def children(place: h5py.Group) -> dict[str, h5py.Group | h5py.Dataset]:
    """Return what is in a group, by name in alphabetical order; links to nothing and to other files are left out.

    Raises
    ------
    ProjectError
        if the group, or something in it, is damaged.
    """
    with naming(place):
        names = sorted(place)
        if not all(isinstance(name, str) and name == _readable(name) for name in names):
            raise ProjectError(f"{where(place)}: names of what is in it are no text")
        inside = [n for n in names if not isinstance(place.get(n, getlink=True), h5py.ExternalLink)]
    found = {name: member(place, name) for name in inside}
    return {name: item for name, item in found.items() if item is not None}


def _readable(name: str) -> str:
    # bytes that are no UTF-8 come as surrogates
    return name.encode("utf-8", "replace").decode()


def modules(file: h5py.File) -> dict[str, h5py.Group]:
    """Return the groups of ``processing``, by name; errors as `children`."""
    place = member(file, "processing")
    found = children(place) if isinstance(place, h5py.Group) else {}
    return {name: item for name, item in found.items() if isinstance(item, h5py.Group)}


def _tables(session: SessionFile) -> dict[str, h5py.Group]:
    found: dict[str, h5py.Group] = {}
    intervals = member(session.h5, "intervals")
    for name, table in children(intervals).items() if isinstance(intervals, h5py.Group) else ():
        if _holds_intervals(table) and table.name != f"/{INVALID_TIMES}":
            found[name] = table
    for module, place in modules(session.h5).items():
        for name, table in children(place).items():
            if _holds_intervals(table):
                found[f"{module}/{name}" if name in found else name] = table
    return found


def _holds_intervals(place: h5py.Group | h5py.Dataset) -> TypeGuard[h5py.Group]:
    return (
        isinstance(place, h5py.Group)
        and attribute(place, "colnames") is not None
        and member(place, "start_time") is not None
        and member(place, "stop_time") is not None
    )


def _read(place: h5py.Group) -> pa.Table:
    names = ["start_time", "stop_time"]
    names += [name for name in table_columns(place) if name not in names and not _is_compound(place, name)]
    arrays = {"id": _array(place, "id"), **{name: _array(place, name) for name in names}}
    for name in ("start_time", "stop_time"):
        if not pa.types.is_floating(arrays[name].type) and not pa.types.is_integer(arrays[name].type):
            raise ProjectError(f"{where(place)}: column {name} does not hold numbers")
        arrays[name] = arrays[name].cast(pa.float64())
    fields = [column(n, a.type, "s" if n in ("start_time", "stop_time") else "") for n, a in arrays.items()]
    return pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))


def _is_compound(place: h5py.Group, name: str) -> bool:
    """Whether a column refers to parts of series, which is of no use outside of the file."""
    return dataset(place, name).dtype.kind == "V"


def _array(place: h5py.Group, name: str) -> pa.Array:
    """Read a column as an Arrow array: lists where a row has several values; NaN and empty text become null."""
    kind = dataset(place, name).dtype
    is_text = h5py.check_string_dtype(kind) is not None or h5py.check_ref_dtype(kind) is h5py.Reference
    if not is_text and (kind.kind not in "biuf" or kind.itemsize > 8):
        raise ProjectError(
            f"{where(place)}: column {name} has type {kind}; numbers, flags or text are needed"
        )
    values = read_column(place, name)
    if isinstance(values, np.ndarray):
        return _lists(values)
    if values.inner is not None:
        raise ProjectError(f"{where(place)}: column {name} is ragged twice, which is not read")
    return pa.ListArray.from_arrays(
        array_of(values.offsets.astype(np.int32)), _lists(read_values(values.values))
    )


def _lists(values: np.ndarray) -> pa.Array:
    if values.ndim > 1:
        flat = _lists(values.reshape(-1))
        for size in values.shape[:0:-1]:
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return flat
    # h5py keeps the byte order of the file
    return arrow_column(values.astype(values.dtype.newbyteorder("="), copy=False))


def read_table(place: h5py.Group, schema: pa.Schema) -> pa.Table:
    """Read a table of intervals with the columns of `schema` first, in its types; null where the file has none.

    Parameters
    ----------
    place : group of the table
    schema : columns that the table is to have; the further ones of the file follow

    Raises
    ------
    ProjectError
        if the table is damaged, or a column cannot be of the type that it should have.
    """
    table = _read(place)
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(table.num_rows, field.type)
            continue
        found = table[field.name]
        if pa.types.is_list(field.type) and pa.types.is_string(found.type):
            # one text a row, written without an index
            ends = array_of(np.arange(len(found) + 1, dtype=np.int32))
            found = pa.ListArray.from_arrays(ends, found.combine_chunks())
        # a number would become text without a word
        if pa.types.is_string(field.type) != pa.types.is_string(found.type):
            raise _wrong_type(place, field, found.type)
        try:
            columns[field.name] = found.cast(field.type)
        except pa.ArrowException:
            raise _wrong_type(place, field, found.type) from None
    others = [field for field in table.schema if field.name not in columns]
    columns |= {field.name: table[field.name] for field in others}
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema([*schema, *others]))


def _wrong_type(place: h5py.Group, field: pa.Field, found: pa.DataType) -> ProjectError:
    return ProjectError(f"{where(place)}: column {field.name} has type {found}; {field.type} is needed")
