"""The files of positions: where the compartments of a circuit are, one file a chunk of nodes.

One group per population::

    node_ids        (N)    uint64   ascending
    offsets         (N+1)  uint64   rows of node i: offsets[i] .. offsets[i+1]
    section_ids     (C)    uint32   as in the report
    section_types   (C)    uint8    see `ephysflow.extracellular.section_types`
    radii           (C)    float64  um
    xyz             (P, 3) float64  um, end points of the compartments, section after section
    first_points    (C)    uint64   row of xyz at which a compartment starts
    last_points     (C)    uint64   row of xyz at which it ends; the same as the first for the soma, which is a point
    centres         (N, 3) float64  um, mean of the midpoints of the node's compartments

Rows are in the order of the weights file. A cell without a morphology has NaN for all that depends on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import ResultError, SimulationError
from ephysflow.extracellular.compartments import Compartments, joined, midpoints
from ephysflow.io.atomic import replacing
from ephysflow.io.provenance import Provenance
from ephysflow.sonata import hdf5

PICKLES = (".pkl", ".pickle")

PROVENANCE = "provenance"
"""Dataset with the record of where a file came from: it may be longer than an attribute can be."""

_UNITS = ("radii", "xyz", "centres")


@dataclass(frozen=True)
class PopulationPositions:
    """Compartments of the nodes of one population.

    Attributes
    ----------
    node_ids : (N,) ascending
    offsets : (N+1,) rows of compartments of each node
    compartments : of all nodes, one after the other
    """

    node_ids: np.ndarray
    offsets: np.ndarray
    compartments: Compartments

    @property
    def centres(self) -> np.ndarray:
        """(N, 3) mean of the midpoints of each node's compartments [um]."""
        middle = midpoints(self.compartments.starts, self.compartments.ends)
        parts = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        # one node after the other, so that no node's value depends on its neighbours
        return np.array([middle[a:b].mean(axis=0) for a, b in parts]).reshape(-1, 3)


def write_positions(
    path: Path, populations: Mapping[str, PopulationPositions], provenance: Provenance
) -> None:
    """Write the positions of one chunk atomically.

    Parameters
    ----------
    path : where
    populations : name -> its nodes
    provenance : kept in the file

    Raises
    ------
    SimulationError
        if a population has the name of the record of provenance.
    """
    if PROVENANCE in populations:
        raise SimulationError(
            f"population {PROVENANCE!r} cannot be in a file of positions: a part of the format has that name"
        )
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        for name, found in populations.items():
            group = file.create_group(name)
            xyz, first, last = _end_points(found.compartments)
            columns = {
                "node_ids": found.node_ids.astype("<u8"),
                "offsets": found.offsets.astype("<u8"),
                "section_ids": found.compartments.section_ids.astype("<u4"),
                "section_types": found.compartments.section_types.astype("u1"),
                "radii": found.compartments.radii.astype("<f8"),
                "xyz": xyz.astype("<f8"),
                "first_points": first.astype("<u8"),
                "last_points": last.astype("<u8"),
                "centres": found.centres.astype("<f8"),
            }
            for key, values in columns.items():
                dataset = group.create_dataset(key, data=values)
                if key in _UNITS:
                    dataset.attrs["units"] = "um"
        file.create_dataset(PROVENANCE, data=provenance.text())


def _end_points(compartments: Compartments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points that compartments start and end at, each once, and the first and last point of each."""
    starts, ends, ids = compartments.starts, compartments.ends, compartments.section_ids
    n = len(starts)
    same = np.zeros(n, dtype=bool)
    # bits and not values: NaN is equal to itself here, and no end point moves
    same[1:] = (ids[1:] == ids[:-1]) & (_bits(starts[1:]) == _bits(ends[:-1])).all(axis=1)
    is_point = (_bits(starts) == _bits(ends)).all(axis=1)
    new_starts, new_ends = ~same | is_point, ~is_point
    counts = np.cumsum(new_starts.astype(np.int64) + new_ends)
    last = counts - 1
    first = np.where(is_point, last, last - 1)
    xyz = np.empty((int(counts[-1]) if n else 0, 3))
    xyz[first], xyz[last] = starts, ends
    return xyz, first, last


def _bits(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points, dtype=np.float64).view(np.int64)


class PositionsFiles:
    """The positions of a circuit, all chunks together, read a range of rows at a time.

    No file is held open: there may be more chunks than files that a process may have open.

    Parameters
    ----------
    files : of all chunks, in the order of their nodes

    Attributes
    ----------
    names : of the populations, sorted

    Raises
    ------
    ResultError
        if a file is missing, damaged or not one of positions; then and when rows are read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._parts: dict[str, list[_Part]] = {}
        for path in files:
            with _opened(path) as file:
                for name in file:
                    if isinstance(file[name], h5py.Group):
                        self._parts.setdefault(name, []).append(_Part(path, file[name]))
        self.names = sorted(self._parts)
        for name, parts in self._parts.items():
            ids = self.node_ids(name)
            if (np.diff(ids) <= 0).any():
                raise ResultError(
                    f"{parts[0].path.parent}: chunks of population {name!r} do not follow each other"
                )

    def node_ids(self, name: str) -> np.ndarray:
        """Return (N,) int64 node ids of a population, ascending."""
        return np.concatenate([part.node_ids for part in self._parts[name]])

    def offsets(self, name: str) -> np.ndarray:
        """Return (N+1,) int64 rows of the nodes of a population."""
        counts = np.concatenate([np.diff(part.offsets) for part in self._parts[name]])
        return np.concatenate([[0], np.cumsum(counts)])

    def compartments(self, name: str, first: int, last: int) -> Compartments:
        """Return the compartments of the rows ``first .. last`` of a population."""
        found = [part.compartments(a, b) for part, a, b in self._pieces(name, first, last)]
        return found[0] if len(found) == 1 else joined(found)

    def centres(self, name: str, first: int, last: int) -> np.ndarray:
        """Return (last - first, 3) the centre of the node that each row belongs to [um]."""
        return np.concatenate([part.centres(a, b) for part, a, b in self._pieces(name, first, last)])

    def _pieces(self, name: str, first: int, last: int) -> Iterator[tuple["_Part", int, int]]:
        start = 0
        for part in self._parts[name]:
            a, b = max(first - start, 0), min(last - start, part.n_rows)
            if a < b:
                yield part, a, b
            start += part.n_rows


class _Part:
    """A population in one file."""

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self.path, self._name = path, group.name
        self.node_ids = hdf5.ids(group, "node_ids", path)
        self.offsets = hdf5.ids(group, "offsets", path)
        self.n_rows = len(hdf5.dataset(group, "first_points", hdf5.INTEGERS, 1, path))
        shapes = {
            **dict.fromkeys(("last_points", "section_ids", "section_types"), (hdf5.INTEGERS, (self.n_rows,))),
            "radii": (hdf5.NUMBERS, (self.n_rows,)),
            "centres": (hdf5.NUMBERS, (len(self.node_ids), 3)),
        }
        fitting = all(
            hdf5.dataset(group, name, kinds, len(shape), path).shape == shape
            for name, (kinds, shape) in shapes.items()
        )
        self._n_points, n_coordinates = hdf5.dataset(group, "xyz", hdf5.NUMBERS, 2, path).shape
        counts = np.diff(self.offsets, prepend=0, append=self.n_rows)
        fitting = fitting and n_coordinates == 3 and len(self.offsets) == len(self.node_ids) + 1
        if not fitting or counts[0] or counts[-1] or (counts < 0).any():
            raise ResultError(f"{path}: {group.name}: nodes and rows do not fit together")

    def compartments(self, a: int, b: int) -> Compartments:
        with _opened(self.path) as file:
            group = file[self._name]
            first, last = (
                group["first_points"][a:b].astype(np.int64),
                group["last_points"][a:b].astype(np.int64),
            )
            low, high = (int(first.min()), int(last.max()) + 1) if b > a else (0, 0)
            if not (low >= 0 and high <= self._n_points and (low <= last).all() and (first < high).all()):
                raise ResultError(
                    f"{self.path}: {self._name}: compartments and end points do not fit together"
                )
            xyz = group["xyz"][low:high]
            return Compartments(
                section_ids=group["section_ids"][a:b],
                section_types=group["section_types"][a:b],
                starts=xyz[first - low],
                ends=xyz[last - low],
                radii=group["radii"][a:b],
            )

    def centres(self, a: int, b: int) -> np.ndarray:
        node = np.searchsorted(self.offsets, np.arange(a, b), side="right") - 1
        with _opened(self.path) as file:
            return file[self._name]["centres"][node[0] : node[-1] + 1][node - node[0]]


def read_positions_provenance(path: Path) -> Provenance:
    """Read where a file of positions came from; the whole file is read.

    Raises
    ------
    ResultError
        if it is damaged or not such a file.
    """
    with _opened(path) as file:
        provenance = Provenance.from_text(file[PROVENANCE][()])
        for name in file:
            if isinstance(file[name], h5py.Group):
                for dataset in file[name].values():
                    dataset[()]
        return provenance


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if path.suffix in PICKLES:
        raise ResultError(
            f"{path}: pickles of BlueRecording are not read, as they can run any code; compute the positions anew: "
            "snakemake --cores 2 results/extracellular/CIRCUIT/positions/0.h5 --configfile CONFIG"
        )
    try:
        with hdf5.opened(path, "positions") as file:
            yield file
    except SimulationError as error:
        raise ResultError(str(error)) from None
