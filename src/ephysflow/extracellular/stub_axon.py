"""The stub that model templates put in the place of an axon, along the path of the axon that was there."""

from collections.abc import Sequence

import numpy as np

from ephysflow.extracellular.compartments import arc_length, distances
from ephysflow.extracellular.morphologies import Morphology
from ephysflow.extracellular.section_types import APICAL, AXON

NO_AXON_DIAMETER = 1.0
"""Of the stub of a cell whose morphology has no axon [um]."""

SHORTEST_STEP = 1e-3
"""Between points that give a direction [um]; coordinates in files are rounded to a tenth of it or so."""


def stub_path(morphology: Morphology, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the path that a stub axon follows, from the centre of the soma.

    It is the branch of the axon, from its root to a tip, that comes first in the file among those longer than
    `length`; where none is, the longest one, prolonged in its last direction. A cell without an axon gets a straight
    path away from its apical dendrite (from all neurites where it has none; along -y where it has no neurite at all).

    Parameters
    ----------
    morphology : of the cell
    length : that the path must have [um]

    Returns
    -------
    (n, 3) points and (n,) diameters [um]; the path is at least as long as `length`

    Notes
    -----
    Not always the longest branch: the choice is that of BlueRecording, where one is long enough. An axon without
    length counts as none.
    """
    points, diameters = _axon_branch(morphology, length)
    points = np.concatenate([np.zeros((1, 3)), points])
    diameters = np.concatenate([diameters[:1], diameters])
    away = np.flatnonzero(distances(points, points[-1]) > SHORTEST_STEP)
    if not len(away):
        points = np.stack([points[0], _away_from_dendrites(morphology) * length])
        return points, np.full(2, diameters[0] if len(diameters) else NO_AXON_DIAMETER)
    missing = length - arc_length(points)[-1]
    if missing > 0:
        direction = points[-1] - points[away[-1]]
        beyond = points[-1] + direction * (missing / np.linalg.norm(direction))
        points, diameters = np.concatenate([points, beyond[None]]), np.r_[diameters, diameters[-1]]
    return points, diameters


def part_of_path(
    points: np.ndarray, diameters: np.ndarray, begin: float, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points and diameters of a path between two places, given by the length up to them [um]."""
    arc = arc_length(points)
    inside = (arc > begin) & (arc < end)
    edges = np.array([begin, end])

    def values(column: np.ndarray) -> np.ndarray:
        first, last = np.interp(edges, arc, column)
        return np.concatenate([[first], column[inside], [last]])

    return np.stack([values(coordinate) for coordinate in points.T], axis=1), values(diameters)


def stub_windows(lengths: Sequence[float]) -> np.ndarray:
    """Return (n, 2) where each piece of the stub begins and ends on the path [um]."""
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _axon_branch(morphology: Morphology, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the chosen branch, from its root on; none where there is no axon."""
    axon = morphology.section_types == AXON
    if not axon.any():
        return np.empty((0, 3)), np.empty(0)
    parents = morphology.parents
    is_tip = axon.copy()
    is_tip[parents[axon & (parents >= 0)]] = False
    tips = np.flatnonzero(is_tip)
    reach = _lengths_from_soma(morphology)[tips]
    enough = tips[reach > length]
    section = int(enough[0] if len(enough) else tips[np.argmax(reach)])
    branch = []
    while section >= 0:
        branch.append(morphology.section(section))
        section = int(parents[section])
    rows = np.concatenate([np.arange(part.start, part.stop) for part in reversed(branch)])
    return morphology.points[rows], morphology.diameters[rows]


def _lengths_from_soma(morphology: Morphology) -> np.ndarray:
    """Return (S,) the length of the path from the centre of the soma to the end of each section [um]."""
    firsts, lasts = morphology.section_offsets[:-1], morphology.section_offsets[1:] - 1
    points, parents = morphology.points, morphology.parents
    before = np.concatenate([np.zeros((1, 3)), points[:-1]])
    before[firsts] = np.where(parents[:, None] < 0, 0.0, points[lasts[parents]])
    reach = np.add.reduceat(distances(points, before), firsts).tolist()
    for section, parent in enumerate(parents.tolist()):  # parents come before their children
        if parent >= 0:
            reach[section] += reach[parent]
    return np.array(reach)


def _away_from_dendrites(morphology: Morphology) -> np.ndarray:
    """Return the unit vector away from the apical dendrite, or from all neurites."""
    apical = np.repeat(morphology.section_types == APICAL, np.diff(morphology.section_offsets))
    points = morphology.points[apical] if apical.any() else morphology.points
    middle = points.mean(axis=0) if len(points) else np.zeros(3)
    norm = np.linalg.norm(middle)
    return -middle / norm if norm > 0 else np.array([0.0, -1.0, 0.0])
