"""HDF5 files of simulations: opened and checked, so that a damaged or foreign one gives one clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import SimulationError

MILLISECONDS = ("ms", "msec", "millisecond", "milliseconds")
"""Spellings of the one unit of time that simulators write; BMTK writes the long one."""

MAX_COMPRESSION = 2000
"""Bytes that one stored byte may stand for: deflate reaches 1032; more is a file that is made to exhaust memory."""

INTEGERS, NUMBERS = "iu", "iuf"
"""Kinds of `numpy.dtype` that a dataset may have."""


@contextmanager
def opened(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a file for reading; what h5py raises inside the block becomes a `SimulationError` that names the file.

    Parameters
    ----------
    path : the file
    kind : what it should be, for messages, e.g. ``spikes``

    Raises
    ------
    SimulationError
        if it is not there, is not HDF5, or is damaged.
    """
    with naming(path, kind), h5py.File(path, "r") as file:
        yield file


@contextmanager
def naming(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of h5py into a `SimulationError` that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise SimulationError(f"{kind} file {path} is not there") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise SimulationError(f"{kind} file {path} is not HDF5, or is damaged: {error}") from None


def group(parent: h5py.Group, name: str, path: Path) -> h5py.Group:
    """Return a group of `parent`; it is an error if it is missing."""
    found = parent.get(name)
    if not isinstance(found, h5py.Group):
        there = ", ".join(sorted(parent)) or "nothing"
        raise SimulationError(f"{path}: group {_where(parent, name)} is missing (there is: {there})")
    return found


def dataset(parent: h5py.Group, name: str, kinds: str, ndim: int, path: Path) -> h5py.Dataset:
    """Return a dataset of `parent` whose type, dimensions and stored size are as they should be, without reading it."""
    found = parent.get(name)
    where = _where(parent, name)
    if not isinstance(found, h5py.Dataset):
        there = ", ".join(sorted(parent)) or "nothing"
        raise SimulationError(f"{path}: dataset {where} is missing (there is: {there})")
    if found.dtype.kind not in kinds or found.ndim != ndim:
        raise SimulationError(
            f"{path}: {where} has type {found.dtype} and shape {found.shape}; needed are "
            f"{'integers' if kinds == INTEGERS else 'numbers'} in {ndim} dimension{'s' if ndim > 1 else ''}"
        )
    declared = found.size * found.dtype.itemsize
    if declared > MAX_COMPRESSION * found.id.get_storage_size():
        raise SimulationError(
            f"{path}: {where} declares {found.shape} values, but the file does not hold them"
        )
    return found


def ids(parent: h5py.Group, name: str, path: Path) -> np.ndarray:
    """Read a dataset of numbers 0, 1, 2, ... (node ids and the like) as int64."""
    values = dataset(parent, name, INTEGERS, 1, path)[()].astype(np.int64)
    # unsigned numbers above the largest int64 become negative
    if len(values) and values.min() < 0:
        raise SimulationError(f"{path}: {_where(parent, name)} holds {values.min()}, which is not an id")
    return values


def check_milliseconds(times: h5py.Dataset, path: Path) -> None:
    """Check the unit of a dataset of times; where the file gives none it is ms, as SONATA demands."""
    unit = text_attribute(times, "units")
    if unit and unit.lower() not in MILLISECONDS:
        raise SimulationError(f"{path}: {times.name} has the unit {unit!r}; only ms can be read")


def text_attribute(item: h5py.Dataset, name: str) -> str:
    """Return a text attribute; '' where it is missing."""
    value = item.attrs.get(name, "")
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _where(parent: h5py.Group, name: str) -> str:
    return f"{parent.name.rstrip('/')}/{name}"
