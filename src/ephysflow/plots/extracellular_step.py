"""The step ``plot_weights``: positions and a weights file in, figures out; a sample of the rows is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.errors import ResultError
from ephysflow.extracellular.compartments import joined, midpoints
from ephysflow.extracellular.positions_file import PositionsFiles
from ephysflow.extracellular.weights_file import NO_UNIT
from ephysflow.job import Job
from ephysflow.plots.extracellular import cell_figure, distance_figure, place_figure
from ephysflow.plots.pages import write_pages

SOMATA = 1_000
ROWS = 1_000
ELECTRODES = 7
"""Most that are drawn."""


@dataclass(frozen=True)
class _Weights:
    """An open weights file: electrodes in the order of their columns."""

    names: list[str]
    contacts: np.ndarray
    has_unit: np.ndarray
    unit: str
    factors: dict[str, h5py.Dataset]


def plot_weights(job: Job) -> None:
    """Draw electrodes and somata, coefficients against distance, and one cell, for each population."""
    item = job.settings
    where = (job.results, item["circuit"])
    positions = PositionsFiles([paths.positions(*where, chunk) for chunk in item["chunks"]])
    with _open_weights(paths.weights(*where, item["weights"]), positions.names) as weights:
        pages = (page for name in positions.names for page in _pages(name, positions, weights))
        write_pages(paths.circuit_plot(*where, item["weights"]), pages, "there are no compartments")


@contextmanager
def _open_weights(path: Path, populations: list[str]) -> Iterator[_Weights]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None
    with file:
        groups = file["electrodes"]
        column = {}
        for name in groups:
            if name not in populations:
                place = groups[name][populations[0]]
                column[name] = int((place["electrode_id"] if isinstance(place, h5py.Group) else place)[()])
        names = sorted(column, key=column.__getitem__)
        yield _Weights(
            names,
            np.array([groups[name]["position"][()] for name in names], dtype=np.float64),
            np.array([groups[name].attrs["units"] != NO_UNIT for name in names]),
            str(file.attrs["units"]),
            {name: groups[name]["scaling_factors"] for name in populations},
        )


def _pages(name: str, positions: PositionsFiles, weights: _Weights) -> Iterator[Figure]:
    offsets, node_ids = positions.offsets(name), positions.node_ids(name)
    nodes = _spread(len(node_ids), SOMATA)
    somata = np.concatenate([positions.compartments(name, a, a + 1).starts for a in offsets[nodes].tolist()])
    yield place_figure(f"{name}: {len(node_ids)} cells", somata, weights.contacts, weights.names)
    shown = np.flatnonzero(weights.has_unit)[_spread(int(weights.has_unit.sum()), ELECTRODES)]
    if not len(shown):
        return
    rows = _spread(int(offsets[-1]), ROWS)
    sample = joined([positions.compartments(name, r, r + 1) for r in rows.tolist()])
    middle = midpoints(sample.starts, sample.ends)
    distances = np.linalg.norm(middle[:, None, :] - weights.contacts[shown], axis=2)
    factors = np.array([weights.factors[name][r, : len(weights.names)] for r in rows.tolist()])
    size = np.abs(factors[:, weights.has_unit])
    if not (np.isfinite(size) & (size > 0)).any():  # all cells without a morphology, or cut off
        return
    labels = [weights.names[k] for k in shown]
    title = (
        f"{name}: {len(rows)} of {offsets[-1]} compartments, {len(shown)} of {len(weights.names)} electrodes"
    )
    yield distance_figure(title, distances, factors[:, shown], labels, weights.unit)
    row, best = np.unravel_index(np.nanargmax(size), size.shape)
    electrode = int(np.flatnonzero(weights.has_unit)[best])
    node = int(np.searchsorted(offsets, rows[row], side="right") - 1)
    first, last = int(offsets[node]), int(offsets[node + 1])
    cell = positions.compartments(name, first, last)
    yield cell_figure(
        f"{name}: cell {node_ids[node]} and electrode {weights.names[electrode]}",
        cell.starts,
        cell.ends,
        weights.factors[name][first:last, electrode],
        weights.contacts[electrode],
        weights.unit,
    )


def _spread(total: int, most: int) -> np.ndarray:
    """Return at most `most` of the numbers 0 .. total - 1, evenly spread."""
    return (
        np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))
        if total
        else np.empty(0, np.int64)
    )
