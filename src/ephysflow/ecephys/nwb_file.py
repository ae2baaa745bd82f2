"""NWB files read by h5py: opened and checked, so that a damaged or foreign one gives one clear error.

Objects are looked up link by link, because HDF5 would otherwise follow a link into any other file of the machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ephysflow.errors import ProjectError

MAX_COMPRESSION = 2000
"""Bytes that one stored byte may stand for: deflate reaches 1032; more is a file that is made to exhaust memory."""

_SHOWN = 40
"""Names that a message lists."""

MAX_SOFT_LINKS = 16
"""Soft links that may follow one another; more is a circle."""


def open_nwb(path: Path) -> h5py.File:
    """Open an NWB file (version 2) for reading; nothing but its root is read.

    Parameters
    ----------
    path : the file

    Returns
    -------
    the open file; the caller closes it

    Raises
    ------
    ProjectError
        if it is not there, is a folder, an HTML page, not HDF5, cut short, or HDF5 but not NWB 2.
    """
    try:
        if path.is_dir():
            raise ProjectError(f"{path} is a folder; an NWB file (HDF5) is needed")
        with path.open("rb") as stream:
            head = stream.read(512)
    except FileNotFoundError:
        raise ProjectError(f"NWB file {path} is not there") from None
    except OSError as error:
        raise ProjectError(f"NWB file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a text that can be no path
        raise ProjectError(f"NWB file {str(path)!r} cannot be read: {error}") from None
    if not head:
        raise ProjectError(f"NWB file {path} is empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ProjectError(f"{path} is an HTML or XML page, not an NWB file; the download gave an error page")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        kind = "is cut short" if "truncated" in str(error) else "is not HDF5, or is damaged"
        raise ProjectError(f"NWB file {path} {kind}: {error}") from None
    try:
        version = attribute(file, "nwb_version")
        if not isinstance(version, str) or not version.startswith("2"):
            found = "nwb_version is missing" if version is None else f"nwb_version is {version!r}"
            raise ProjectError(f"{path}: is HDF5, but no file of NWB 2 ({found})")
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def naming(item: h5py.Group | h5py.Dataset) -> Iterator[None]:
    """Turn errors of h5py into a `ProjectError` that names the file and the object.

    Needed around reads that do not go through `read_values`, e.g. slices of LFP.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise ProjectError(f"{where(item)} cannot be read: {error}") from None


def where(item: h5py.Group | h5py.Dataset) -> str:
    """Return file and place of an object for messages."""
    return f"{item.file.filename}: {item.name}"


def member(parent: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return the object at `path` below `parent` ("a/b/c"), or None.

    Raises
    ------
    ProjectError
        if a link on the way leaves the file, or the object is damaged.
    """
    return _member(parent, path, MAX_SOFT_LINKS)


def _member(parent: h5py.Group, path: str, links_left: int) -> h5py.Group | h5py.Dataset | None:
    found: h5py.Group | h5py.Dataset | None = parent.file if path.startswith("/") else parent
    for name in filter(None, path.split("/")):
        if not isinstance(found, h5py.Group):
            return None
        with naming(found):
            link = found.get(name, getlink=True)
            if isinstance(link, h5py.HardLink):
                found = found[name]
                continue
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise ProjectError(
                f"{where(found)}: {name} is a link to another file ({link.filename}), which is not read"
            )
        if not links_left:
            raise ProjectError(f"{where(found)}: {name} is a link that leads back to itself")
        found = _member(found, link.path, links_left - 1)
    return found


def group(parent: h5py.Group, path: str) -> h5py.Group:
    """Return the group at `path` below `parent`.

    Raises
    ------
    ProjectError
        if it is missing or is no group, naming what is there.
    """
    found = member(parent, path)
    if not isinstance(found, h5py.Group):
        raise ProjectError(_absent(parent, path, found, "group"))
    return found


def dataset(parent: h5py.Group, path: str) -> h5py.Dataset:
    """Return the dataset at `path` below `parent`, without reading it.

    Raises
    ------
    ProjectError
        if it is missing, is no dataset, or its values are in other files or not in the file at all.
    """
    found = member(parent, path)
    if not isinstance(found, h5py.Dataset):
        raise ProjectError(_absent(parent, path, found, "dataset"))
    with naming(found):
        if found.is_virtual or found.external:
            raise ProjectError(f"{where(found)} keeps its values in other files, which are not read")
        if found.shape is None:
            raise ProjectError(f"{where(found)} holds no values")
        if found.size * found.dtype.itemsize > MAX_COMPRESSION * found.id.get_storage_size():
            raise ProjectError(
                f"{where(found)} declares shape {found.shape}, but the file does not hold these values"
            )
    return found


def _absent(parent: h5py.Group, path: str, found: object, kind: str) -> str:
    if found is not None:
        return f"{where(parent)}: {path} is no {kind}"
    there = ", ".join(names(parent)[:_SHOWN]) or "nothing"
    return f"{where(parent)}: {kind} {path} is missing (there is: {there})"


def names(parent: h5py.Group) -> list[str]:
    """Return the names of what a group holds, sorted."""
    with naming(parent):
        found = list(parent)
    # h5py gives bytes where a name is no UTF-8
    return sorted(name.decode(errors="replace") if isinstance(name, bytes) else name for name in found)


def attribute(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute as a Python value (text, number, bool, list), or None where it is missing."""
    with naming(item):
        value = item.attrs.get(name)
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.ndim and value.size != 1 else value.item()
    elif isinstance(value, np.generic):
        value = value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def text(parent: h5py.Group, path: str) -> str | None:
    """Return the text of a scalar dataset; None where it is missing, is no text or is empty."""
    if not isinstance(member(parent, path), h5py.Dataset):
        return None
    values = read_values(dataset(parent, path)).ravel()
    return values[0] or None if len(values) == 1 and isinstance(values[0], str) else None


def read_values(values: h5py.Dataset, selection: Any = ()) -> np.ndarray:
    """Read a dataset, or a part of it, that `dataset` gave.

    Text becomes an object array of str, references become the names of what they point at (its last part),
    other values keep their type.

    Parameters
    ----------
    values : the dataset
    selection : what h5py takes as an index

    Raises
    ------
    ProjectError
        if the values are damaged or their filter (compression) is not there.
    """
    with naming(values):
        read = np.asarray(values[selection])
        if h5py.check_string_dtype(values.dtype) is not None:
            return _decoded(read)
        if h5py.check_ref_dtype(values.dtype) is h5py.Reference:
            return _targets(read, values.file)
    return read


def _decoded(values: np.ndarray) -> np.ndarray:
    texts = np.empty(values.shape, dtype=object)
    texts.ravel()[:] = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values.ravel()]
    return texts


def _targets(references: np.ndarray, file: h5py.File) -> np.ndarray:
    found = np.empty(references.shape, dtype=object)
    found.ravel()[:] = [
        (h5py.h5r.get_name(r, file.id) or b"").decode(errors="replace").rpartition("/")[2] if r else ""
        for r in references.ravel()
    ]
    return found


# ---------------------------------------------------------------- tables (DynamicTable)


@dataclass(frozen=True)
class Ragged:
    """A column with several values a row; they stay in the file.

    Attributes
    ----------
    values : all values, those of row ``i`` from ``offsets[i]`` to ``offsets[i + 1]`` along the first axis
    offsets : (N + 1,) int64, checked: from 0 to ``len(values)``, not decreasing
    inner : bounds of the pieces inside the rows where a row is itself ragged (two indices), else None
    """

    values: h5py.Dataset
    offsets: np.ndarray
    inner: np.ndarray | None = None

    def row(self, number: int) -> np.ndarray:
        """Read the values of one row."""
        return read_values(self.values, slice(self.offsets[number], self.offsets[number + 1]))


def table_columns(table: h5py.Group) -> list[str]:
    """Return the names of a table's columns in the order of ``colnames``; ``id`` is not among them.

    Raises
    ------
    ProjectError
        if ``colnames`` is missing, is no list of text, or names a column twice.
    """
    columns = attribute(table, "colnames")
    columns = [columns] if isinstance(columns, str) else columns
    if not isinstance(columns, list) or not all(isinstance(name, str | bytes) for name in columns):
        raise ProjectError(f"{where(table)} is no table: its attribute colnames is {columns!r}")
    columns = [name.decode(errors="replace") if isinstance(name, bytes) else name for name in columns]
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise ProjectError(f"{where(table)}: columns {', '.join(twice)} are named twice in colnames")
    return columns


def row_count(table: h5py.Group) -> int:
    """Return the number of rows: the length of the table's ``id``."""
    ids = dataset(table, "id")
    if ids.ndim != 1:
        raise ProjectError(f"{where(ids)} has shape {ids.shape}; one id a row is needed")
    return ids.shape[0]


def one_value_a_row(table: h5py.Group, name: str) -> bool:
    """Whether a column is plain, i.e. neither ragged nor with further axes; nothing is read."""
    return _index_of(table, name) is None and dataset(table, name).ndim == 1


def lazy_column(table: h5py.Group, name: str) -> h5py.Dataset | Ragged:
    """Return one column of a table (``id`` included) without reading its values.

    Parameters
    ----------
    table : group of a DynamicTable
    name : the column

    Returns
    -------
    a dataset whose first axis has one entry a row, or a `Ragged`

    Raises
    ------
    ProjectError
        if the column is missing, has not one entry a row, or its index is wrong.
    """
    rows = row_count(table)
    values = dataset(table, name)
    index = _index_of(table, name)
    if index is None:
        if values.ndim == 0 or values.shape[0] != rows:
            raise ProjectError(
                f"{where(values)} has shape {values.shape}, but the table has {rows} rows (length of id)"
            )
        return values
    if values.ndim == 0:
        raise ProjectError(f"{where(values)} is one value, but has an index")
    outer = _index_of(table, f"{name}_index")
    if outer is None:
        return Ragged(values, _offsets(index, rows, values))
    inner = _offsets(index, index.size, values)
    return Ragged(values, inner[_offsets(outer, rows, index)], inner)


def read_column(table: h5py.Group, name: str) -> np.ndarray | Ragged:
    """Read one column of a table; a ragged one stays in the file.

    Returns
    -------
    (N, ...) values as `read_values` gives them (references to table rows are row numbers), or a `Ragged`

    Raises
    ------
    ProjectError
        as `lazy_column`, or if values are damaged.
    """
    column = lazy_column(table, name)
    return column if isinstance(column, Ragged) else read_values(column)


def _index_of(table: h5py.Group, name: str) -> h5py.Dataset | None:
    index = f"{name}_index"
    # a column of its own may end in "_index", e.g. stimulus_index
    if index in table_columns(table) or member(table, index) is None:
        return None
    return dataset(table, index)


def _offsets(index: h5py.Dataset, rows: int, values: h5py.Dataset) -> np.ndarray:
    """Read a VectorIndex (end of each row) and check it against what it points into."""
    total = values.shape[0]
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise ProjectError(
            f"{where(index)} has type {index.dtype} and shape {index.shape}; one integer a row is needed"
        )
    if index.shape[0] != rows:
        raise ProjectError(
            f"{where(index)} has {index.shape[0]} entries, but the table has {rows} rows (length of id)"
        )
    offsets = np.zeros(rows + 1, dtype=np.int64)
    offsets[1:] = read_values(index)
    if (np.diff(offsets) < 0).any():
        row = int(np.argmax(np.diff(offsets) < 0))
        raise ProjectError(f"{where(index)} decreases at row {row} ({offsets[row]}, then {offsets[row + 1]})")
    if offsets[-1] != total:
        raise ProjectError(f"{where(index)} ends at {offsets[-1]}, but {values.name} has {total} values")
    return offsets
