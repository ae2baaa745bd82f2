"""The circuit of stage extracellular's example: a column of 40 cells of two layers."""

from dataclasses import dataclass

import numpy as np

POPULATION = "column"

RADIUS = 120.0
"""Of the column [um]."""

_UPRIGHT = "pyramid"
_SEED = 2015


@dataclass(frozen=True)
class CellClass:
    """Cells of one layer and morphological type; they have consecutive node ids.

    Attributes
    ----------
    layer, mtype, morphology : values of these properties
    size : number of cells
    depth : upper and lower border of the layer, from the pia [um]
    """

    layer: str
    mtype: str
    morphology: str
    size: int
    depth: tuple[float, float]


CLASSES = (
    CellClass("L4", "L4_TPC", "pyramid", 8, (700, 900)),
    CellClass("L4", "L4_SSC", "stick", 4, (700, 900)),
    CellClass("L4", "L4_LBC", "basket", 3, (700, 900)),
    CellClass("L4", "L4_NGC", "ball", 2, (700, 900)),
    CellClass("L5", "L5_TPC:A", "pyramid", 16, (900, 1400)),
    CellClass("L5", "L5_LBC", "basket", 7, (900, 1400)),
)
"""In the order of their node ids."""


def node_properties() -> dict[str, np.ndarray]:
    """Return the properties of the cells, one array each: texts as objects, positions in um, unit quaternions.

    Pyramidal cells are turned about the y axis alone, so that their apical dendrites rise to the pia; all others are
    turned in any way.
    """
    random = np.random.default_rng(_SEED)
    parts = [_properties(c, random) for c in CLASSES]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _properties(cells: CellClass, random: np.random.Generator) -> dict[str, np.ndarray]:
    n = cells.size
    angle, radius = 2 * np.pi * random.random(n), RADIUS * np.sqrt(random.random(n))
    quaternion = random.normal(size=(4, n))
    if cells.morphology == _UPRIGHT:
        quaternion[[1, 3]] = 0.0
    w, x, y, z = quaternion / np.sqrt((quaternion**2).sum(axis=0))
    return {
        "layer": np.full(n, cells.layer, dtype=object),
        "mtype": np.full(n, cells.mtype, dtype=object),
        "morphology": np.full(n, cells.morphology, dtype=object),
        "x": radius * np.cos(angle),
        "y": -random.uniform(*cells.depth, n),
        "z": radius * np.sin(angle),
        "orientation_w": w,
        "orientation_x": x,
        "orientation_y": y,
        "orientation_z": z,
    }
