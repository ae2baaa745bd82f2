"""The circuit of the example campaign: 1,000 cells of two layers, excitatory and inhibitory."""

from dataclasses import dataclass

import numpy as np

POPULATION = "cortex"

RADIUS = 250.0
"""Of the column [um]."""

RECORDED_PER_CLASS = 3

_SEED = 1906


@dataclass(frozen=True)
class CellClass:
    """Cells of one layer and synapse class; they have consecutive node ids.

    Attributes
    ----------
    layer, synapse_class : values of these properties
    size : number of cells
    mtypes : morphological types, and how much of the class each is
    depth : upper and lower border of the layer, from the pia [um]
    """

    layer: str
    synapse_class: str
    size: int
    mtypes: tuple[tuple[str, float], ...]
    depth: tuple[float, float]


CLASSES = (
    CellClass("L4", "EXC", 400, (("L4_SSC", 0.3), ("L4_TPC", 0.7)), (700, 900)),
    CellClass("L4", "INH", 100, (("L4_LBC", 0.6), ("L4_MC", 0.4)), (700, 900)),
    CellClass("L5", "EXC", 380, (("L5_TPC:A", 0.6), ("L5_UPC", 0.4)), (900, 1400)),
    CellClass("L5", "INH", 120, (("L5_LBC", 0.5), ("L5_MC", 0.5)), (900, 1400)),
)
"""In the order of their node ids."""


def class_of_cells() -> np.ndarray:
    """Return the position in `CLASSES` of each cell."""
    return np.repeat(np.arange(len(CLASSES)), [c.size for c in CLASSES])


def recorded_cells() -> np.ndarray:
    """Return the node ids of the cells whose membrane potential is reported: of each class every n-th."""
    first = np.cumsum([0, *(c.size for c in CLASSES)])[:-1]
    steps = [np.arange(RECORDED_PER_CLASS) * (c.size // RECORDED_PER_CLASS) for c in CLASSES]
    return np.concatenate([start + step for start, step in zip(first, steps, strict=True)])


def node_properties() -> dict[str, np.ndarray]:
    """Return the properties of the cells, one array each: texts as objects, positions in um."""
    random = np.random.default_rng(_SEED)
    columns: dict[str, list[np.ndarray]] = {}
    for c in CLASSES:
        angle, radius = 2 * np.pi * random.random(c.size), RADIUS * np.sqrt(random.random(c.size))
        names, shares = zip(*c.mtypes, strict=True)
        part = {
            "layer": np.full(c.size, c.layer, dtype=object),
            "synapse_class": np.full(c.size, c.synapse_class, dtype=object),
            "mtype": random.choice(np.array(names, dtype=object), c.size, p=shares),
            "x": radius * np.cos(angle),
            "y": -random.uniform(*c.depth, c.size),
            "z": radius * np.sin(angle),
        }
        for name, values in part.items():
            columns.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}
