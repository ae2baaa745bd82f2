"""Soma and compartment reports of a simulation: SONATA element reports, read a window and some neurons at a time.

``/report/<population>/data`` has a row for each frame and a column for each element (section); ``mapping`` tells the
node of each column. libsonata refuses the reports of BMTK, which spell ``index_pointers`` without the s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.sonata import hdf5

BLOCK = 1 << 24
"""Values that are read at a time: 64 MB of float32."""


@dataclass(frozen=True)
class ElementReport:
    """An open report.

    Attributes
    ----------
    path : its file
    start, step : frame i was taken at ``start + i * step`` [ms]
    n_frames : number of frames
    node_ids : (n,) nodes of the report, in the order of the file
    """

    path: Path
    start: float
    step: float
    n_frames: int
    node_ids: np.ndarray
    _pointers: np.ndarray
    _element_ids: h5py.Dataset
    _data: h5py.Dataset

    @property
    def stop(self) -> float:
        """Time [ms] at which the next frame would follow; frames are before it."""
        return self.start + self.n_frames * self.step

    @property
    def counts(self) -> np.ndarray:
        """Number of elements of each node."""
        return np.diff(self._pointers)

    def columns_of(self, gids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the values of some nodes are.

        Parameters
        ----------
        gids : (m,) nodes; those that the report does not have are left out

        Returns
        -------
        (c,) column, (c,) node and (c,) element id of each of their elements, node after node as in `gids`
        """
        order = np.argsort(self.node_ids)
        place = np.searchsorted(self.node_ids, gids, sorter=order)
        known = place < len(order)
        node = order[place[known]]
        node = node[self.node_ids[node] == np.asarray(gids)[known]]
        counts = self._pointers[node + 1] - self._pointers[node]
        ends = np.cumsum(counts)
        columns = np.arange(counts.sum()) + np.repeat(self._pointers[node] - (ends - counts), counts)
        return columns, np.repeat(self.node_ids[node], counts), self._elements(columns)

    def _elements(self, columns: np.ndarray) -> np.ndarray:
        """Read the element ids of some columns, and no more than those between the first and the last of them."""
        if not len(columns):
            return np.empty(0, dtype=np.int64)
        first = int(columns.min())
        with hdf5.naming(self.path, "report"):
            found = self._element_ids[first : int(columns.max()) + 1].astype(np.int64)
        if found.min() < 0:
            raise SimulationError(
                f"{self.path}: {self._element_ids.name} holds {found.min()}, which is not an id"
            )
        return found[columns - first]

    def read(self, first: int, last: int, stride: int, columns: np.ndarray) -> np.ndarray:
        """Read the frames ``first, first + stride, ...`` before `last` of some columns.

        No more than these and a block of about 64 MB is held in memory.

        Returns
        -------
        (frames, columns) float32

        Raises
        ------
        SimulationError
            if the file is damaged there.
        """
        if not 0 <= first <= last <= self.n_frames or stride < 1:
            raise ValueError(f"frames {first}:{last}:{stride} of {self.n_frames}")
        frames = range(first, last, stride)
        values = np.empty((len(frames), len(columns)), dtype=np.float32)
        if not values.size:
            return values
        sorted_columns = np.argsort(columns, kind="stable")
        ordered = np.asarray(columns)[sorted_columns]
        width = int(ordered[-1] - ordered[0]) + 1
        # whole chunks at a time, or each of them would be decompressed again and again
        chunk_rows, chunk_columns = self._data.chunks or (1, 1)
        n_rows = max(chunk_rows // stride, BLOCK // width, 1)
        n_columns = max(chunk_columns, BLOCK // n_rows)
        with hdf5.naming(self.path, "report"):
            for left in range(int(ordered[0]), int(ordered[-1]) + 1, n_columns):
                here = slice(*np.searchsorted(ordered, [left, left + n_columns]))
                if here.start == here.stop:
                    continue
                right = int(ordered[here.stop - 1]) + 1
                for top in range(0, len(frames), n_rows):
                    part = frames[top : top + n_rows]
                    block = self._data[part[0] : part[-1] + 1 : stride, left:right]
                    values[top : top + n_rows, sorted_columns[here]] = block[:, ordered[here] - left]
        return values


@contextmanager
def open_report(path: Path, population: str) -> Iterator[ElementReport]:
    """Open a soma or compartment report; no values are read yet.

    Raises
    ------
    SimulationError
        if the file is not there or damaged, does not know the population, or does not fit together.
    """
    # errors of the block that uses the report must pass: only what is done here is named after the file
    with hdf5.naming(path, "report"):
        file = h5py.File(path, "r")
    with file:
        with hdf5.naming(path, "report"):
            report = _checked(file, path, population)
        yield report


def _checked(file: h5py.File, path: Path, population: str) -> ElementReport:
    reports = hdf5.group(file, "report", path)
    if population not in reports:
        raise SimulationError(
            f"{path}: no population {population!r} (there is: {', '.join(sorted(reports))})"
        )
    data = hdf5.dataset(hdf5.group(reports, population, path), "data", hdf5.NUMBERS, 2, path)
    mapping = hdf5.group(reports[population], "mapping", path)
    time = hdf5.dataset(mapping, "time", hdf5.NUMBERS, 1, path)
    if time.shape != (3,):
        raise SimulationError(f"{path}: {time.name} has {len(time)} values; needed are start, stop and step")
    hdf5.check_milliseconds(time, path)
    start, stop, step = (float(value) for value in time[()])
    if not (np.isfinite([start, stop]).all() and 0 < step < np.inf):
        raise SimulationError(
            f"{path}: {time.name}: start {start}, stop {stop} and step {step} are not a time grid"
        )
    n_frames, n_columns = data.shape
    # some simulators count the frame at stop, too
    if abs((stop - start) / step - n_frames) > 1.5:
        raise SimulationError(
            f"{path}: {data.name} has {n_frames} frames, but {time.name} (start {start}, stop {stop}, step {step}) "
            f"means {(stop - start) / step:.6g}"
        )
    node_ids = hdf5.ids(mapping, "node_ids", path)
    elements = hdf5.dataset(mapping, "element_ids", hdf5.INTEGERS, 1, path)
    pointers = hdf5.ids(mapping, "index_pointers" if "index_pointers" in mapping else "index_pointer", path)
    if len(elements) != n_columns:
        raise SimulationError(
            f"{path}: {data.name} has {n_columns} columns, but mapping/element_ids {len(elements)}"
        )
    if len(pointers) != len(node_ids) + 1 or (np.diff(pointers) < 0).any() or pointers[-1] > n_columns:
        raise SimulationError(
            f"{path}: mapping/index_pointers does not give each of the {len(node_ids)} nodes its columns out of {n_columns}"
        )
    if len(np.unique(node_ids)) < len(node_ids):
        raise SimulationError(f"{path}: mapping/node_ids names a node twice")
    return ElementReport(path, start, step, n_frames, node_ids, pointers, elements, data)
