"""The coefficients of a weights file, computed and written by MPI ranks.

Rank 0 makes the file with serial HDF5 and closes it. Every rank then computes its share of the compartments and writes
the rows where rank 0 said, through MPI-IO, independently of the others. At last rank 0 marks the file as complete and
gives it its name. A file under that name is always whole, and its bytes do not depend on the number of ranks.
"""

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from mpi4py import MPI

from ephysflow.errors import ConfigurationError, EphysflowError, ResultError
from ephysflow.extracellular.weights_file import WeightsContents, create, finish

PIECE = 1 << 30
"""Most bytes of one call of MPI-IO: the counts of MPI-3 end below 2 GiB."""

ROW_GEOMETRY = 256
"""Bytes that are counted for a compartment beside its coefficients: its type, end points, midpoint, centre, radius."""

PROGRESS_EVERY = 5.0
"""Seconds between lines of progress."""

FORWARDING = 0.3
"""Seconds in which a launcher passes on what a rank has just printed; when a rank aborts, mpiexec may drop the rest."""


def check_ranks(comm: MPI.Comm, expected: int | None) -> None:
    """Check that there are as many ranks as there should be.

    Raises
    ------
    ConfigurationError
        if there are not: most often each process is alone, as it was started by the launcher of another MPI.
    """
    if expected is not None and comm.size != expected:
        library = MPI.Get_library_version().strip().splitlines()[0].strip(" \0")
        raise ConfigurationError(
            f"expected {expected} MPI ranks, got {comm.size}: most likely mpiexec (or srun --mpi=...) belongs to another "
            f"MPI than the library in use, {library}; put the folder of {sys.executable} first on PATH, or use "
            f"mpiexec -n {expected} of that library"
        )


@contextmanager
def ending_all(comm: MPI.Comm) -> Iterator[None]:
    """End all ranks when one of them fails inside the block, so that none waits for it for ever.

    The rank that fails says why on stderr. A single process raises as usual.
    """
    try:
        yield
    except BaseException as error:
        if comm.size == 1:
            raise
        if isinstance(error, EphysflowError):
            print(f"rank {comm.rank} of {comm.size}: error: {error}", file=sys.stderr)
        else:
            print(f"rank {comm.rank} of {comm.size}:\n{traceback.format_exc()}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(FORWARDING)
        comm.Abort(1)
        os._exit(1)  # MPI_Abort may return; nothing may follow it


def share_of_rows(sizes: Sequence[int], rank: int, size: int) -> list[tuple[int, int, int]]:
    """Return which rows of which populations a rank computes: all ranks have equally many, give or take one.

    Parameters
    ----------
    sizes : number of rows of each population
    rank, size : of the rank, and number of ranks

    Returns
    -------
    (index of the population, first row, row after the last), in order
    """
    total = sum(sizes)
    begin, end = total * rank // size, total * (rank + 1) // size
    share = []
    start = 0
    for population, n_rows in enumerate(sizes):
        first, last = max(begin - start, 0), min(end - start, n_rows)
        if first < last:
            share.append((population, first, last))
        start += n_rows
    return share


def rows_per_block(contents: WeightsContents, buffer_bytes: int) -> int:
    """Return how many rows are computed at a time: at least one.

    A row counts with its float64 coefficients, its values in the file where these are a copy (float32, or a column of
    ones), and `ROW_GEOMETRY`.
    """
    row = 8 * len(contents.electrodes) + ROW_GEOMETRY
    if _is_copied(contents):
        row += contents.dtype.itemsize * contents.n_columns
    return max(buffer_bytes // row, 1)


def write_weights(
    comm: MPI.Intracomm,
    path: Path,
    contents: WeightsContents,
    compute: Callable[[int, int, int], np.ndarray],
    buffer_bytes: int,
    log: Callable[[str], object],
) -> None:
    """Compute all coefficients and write the weights file; every rank of `comm` calls this.

    When it returns, on any rank, the file is whole and under its name. If a rank fails, all end, and there is no new
    file under that name. What killed runs left beside it is removed: two runs must not write the same file at a time.

    Parameters
    ----------
    comm : the ranks
    path : of the file; its folder is made if needed
    contents : all but the coefficients; the same on all ranks (`provenance` on rank 0 is the one that counts)
    compute : index of a population, first row and row after the last -> (rows, electrodes) float64 in the unit of the
        file; what it gives for a row may not depend on the others
    buffer_bytes : memory for the rows that a rank computes at a time (see `rows_per_block`)
    log : is given lines of progress on rank 0; they count rank 0's share, which is like that of the others

    Raises
    ------
    EphysflowError
        where there is one rank only; several ranks are ended by ``MPI_Abort``.
    ResultError
        if the file cannot be written, e.g. as the disk is full.
    """
    with ending_all(comm):
        started = time.monotonic()
        temporary, places = comm.bcast(_prepare(path, contents) if comm.rank == 0 else None)
        try:
            _write_share(comm, temporary, places, contents, compute, buffer_bytes, log)
            # by now all coefficients of all ranks are on the disk
            comm.Barrier()
            if comm.rank == 0:
                finish(temporary)
                os.replace(temporary, path)
                _flush_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        comm.Barrier()
        if comm.rank == 0:
            log(_summary(contents, comm.size, time.monotonic() - started))


def _prepare(path: Path, contents: WeightsContents) -> tuple[Path, dict[str, int]]:
    """Make the temporary file beside `path`, and return it with the places of the coefficients."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name)}\.\d+\.tmp", other.name):
                other.unlink()
    except OSError as error:
        raise ResultError(f"{path}: cannot be made: {error}") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        return temporary, create(temporary, contents)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_share(
    comm: MPI.Intracomm,
    path: Path,
    places: dict[str, int],
    contents: WeightsContents,
    compute: Callable[[int, int, int], np.ndarray],
    buffer_bytes: int,
    log: Callable[[str], object],
) -> None:
    """Compute and write the rows of this rank, and flush them to the disk."""
    share = share_of_rows([rows.n_rows for rows in contents.populations], comm.rank, comm.size)
    progress = _Progress(
        sum(last - first for _, first, last in share), len(contents.electrodes), comm.size, log
    )
    step = rows_per_block(contents, buffer_bytes)
    row_bytes = contents.n_columns * contents.dtype.itemsize
    with _naming(path, "opening"):
        file = MPI.File.Open(comm, str(path), MPI.MODE_WRONLY)
    try:
        for population, first, last in share:
            place = places[contents.populations[population].name]
            for start in range(first, last, step):
                stop = min(start + step, last)
                rows = _rows_of_file(compute(population, start, stop), stop - start, contents)
                _write_at(file, place + start * row_bytes, rows, path)
                del rows  # or two blocks would be in memory while the next one is computed
                progress.add(stop - start, comm.rank == 0)
        with _naming(path, "flushing to the disk"):
            file.Sync()
    except BaseException:
        # all ranks close together: one that fails would wait here for those that it is going to end
        if comm.size == 1:
            file.Close()
        raise
    file.Close()


def _is_copied(contents: WeightsContents) -> bool:
    return contents.column_of_ones or contents.dtype != np.float64


def _rows_of_file(coefficients: np.ndarray, n_rows: int, contents: WeightsContents) -> np.ndarray:
    """Return computed rows as they are in the file: of its type, with the column of ones."""
    n_electrodes = len(contents.electrodes)
    if coefficients.shape != (n_rows, n_electrodes):
        raise ValueError(f"{coefficients.shape} coefficients computed, {(n_rows, n_electrodes)} needed")
    if not _is_copied(contents):
        return np.ascontiguousarray(coefficients, dtype=contents.dtype)
    rows = np.ones((n_rows, contents.n_columns), dtype=contents.dtype)
    rows[:, :n_electrodes] = coefficients
    return rows


def _write_at(file: MPI.File, place: int, rows: np.ndarray, path: Path) -> None:
    """Write rows at a place in the file [bytes], and check that all bytes were taken."""
    data = rows.view(np.uint8).reshape(-1)
    status = MPI.Status()
    for begin in range(0, len(data), PIECE):
        piece = data[begin : begin + PIECE]
        with _naming(path, f"writing {len(piece):,} bytes at byte {place + begin:,}"):
            file.Write_at(place + begin, [piece, MPI.BYTE], status)
        written = status.Get_count(MPI.BYTE)
        if written != len(piece):
            raise ResultError(
                f"{path}: only {written:,} of {len(piece):,} bytes could be written at byte {place + begin:,}: "
                "the disk may be full"
            )


@contextmanager
def _naming(path: Path, action: str) -> Iterator[None]:
    """Turn errors of MPI-IO into a `ResultError` that names the file and what was tried."""
    try:
        yield
    except MPI.Exception as error:
        # the last line ends with the reason; above it is the stack of calls inside MPI
        reason = str(error).strip().splitlines()[-1].rsplit(": ", 1)[-1]
        raise ResultError(f"{path}: {action} failed: {reason}") from None


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _summary(contents: WeightsContents, n_ranks: int, seconds: float) -> str:
    n_rows = sum(rows.n_rows for rows in contents.populations)
    size = n_rows * contents.n_columns * contents.dtype.itemsize
    return (
        f"{n_rows:,} compartments x {len(contents.electrodes):,} electrodes written by {n_ranks} rank"
        f"{'s' if n_ranks > 1 else ''} in {seconds:.1f} s ({size / 1e6:,.1f} MB, {size / 1e6 / seconds:,.0f} MB/s)"
    )


class _Progress:
    """Counts the compartments of a rank that are done, and says so every few seconds."""

    def __init__(self, total: int, n_electrodes: int, n_ranks: int, log: Callable[[str], object]) -> None:
        self._total, self._n_electrodes, self._n_ranks, self._log = total, n_electrodes, n_ranks, log
        self._done = 0
        self._started = self._told = time.monotonic()

    def add(self, n_rows: int, tells: bool) -> None:
        """Count rows that are written; say how far the rank is if it `tells` and some time has passed."""
        self._done += n_rows
        now = time.monotonic()
        if tells and now - self._told >= PROGRESS_EVERY:
            self._told = now
            rate = self._done / (now - self._started)
            self._log(
                f"rank 0 of {self._n_ranks}: {self._done:,} of its {self._total:,} compartments "
                f"({100 * self._done / self._total:.0f} %), {rate * self._n_electrodes:.3g} coefficients/s, "
                f"{(self._total - self._done) / rate:.0f} s left"
            )
