"""HDF5 files of a session's products: whole or not at all, with the record of where they came from.

::

    /provenance      text; it may be longer than an attribute can be
    /findings        JSON text: list of [subject, reason] of what is doubtful
    attribute complete   1, written last
    attribute left_out   why there is nothing else in the file, where there is not
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing
from ephysflow.io.provenance import Provenance

PROVENANCE, FINDINGS, COMPLETE, LEFT_OUT = "provenance", "findings", "complete", "left_out"

_PIECE = 1 << 24
"""Bytes of a dataset that are read at once when a file is checked."""


@contextmanager
def writing_arrays(path: Path, provenance: Provenance) -> Iterator[h5py.File]:
    """Give an HDF5 file to write to; it takes the place of `path` when the block ends without an error."""
    # bytes of a result depend on what is in it alone, not on when it was made
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        yield file
        file.create_dataset(PROVENANCE, data=provenance.text())
        file.flush()
        file.attrs[COMPLETE] = 1


@contextmanager
def reading_arrays(path: Path) -> Iterator[h5py.File]:
    """Open a file that `writing_arrays` made.

    Raises
    ------
    ResultError
        if it is missing, damaged, not whole, or was not written by ephysflow.
    """
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get(PROVENANCE), h5py.Dataset):
                raise ResultError(f"{path}: was not written by ephysflow (it holds no provenance)")
            if file.attrs.get(COMPLETE) != 1:
                raise ResultError(f"{path}: is not complete: the job that wrote it was stopped")
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read as HDF5, or is damaged: {error}") from None


def read_array_provenance(path: Path) -> Provenance:
    """Read where a file of arrays came from; all of the file is read, in pieces.

    Raises
    ------
    ResultError
        if it is missing, damaged, not whole, or was not written by ephysflow.
    """
    with reading_arrays(path) as file:
        provenance = Provenance.from_text(file[PROVENANCE][()])
        file.visititems(lambda _, item: _read(item) if isinstance(item, h5py.Dataset) else None)
        return provenance


def _read(dataset: h5py.Dataset) -> None:
    if dataset.ndim == 0:
        dataset[()]
        return
    if not dataset.size:
        return
    row = dataset.dtype.itemsize * (dataset.size // dataset.shape[0])
    # whole chunks, so that each is read once
    chunk = dataset.chunks[0] if dataset.chunks else 1
    rows = max(_PIECE // row // chunk, 1) * chunk
    for start in range(0, dataset.shape[0], rows):
        dataset[start : start + rows]
