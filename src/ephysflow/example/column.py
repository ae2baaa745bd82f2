"""The circuit of the example's electrodes: a small column of cells of four morphologies, each turned by itself."""

import numpy as np

POPULATION = "column"
SIZE = 40
RADIUS, DEPTH = 120.0, (-1000.0, -600.0)
"""Of the column, and its lower and upper end [um]."""

KINDS = (
    ("pyramidal", "L5_TPC:A"),
    ("basket", "L5_LBC"),
    ("pyramidal", "L5_TPC:A"),
    ("stick", "L5_BP"),
    ("ball", "L5_NGC"),
)
"""Morphology and m-type, in turn."""

LEANING = 0.15
"""Angle by which cells lean, at most [rad]."""

_SEED = 1952


def node_properties() -> dict[str, np.ndarray]:
    """Return the properties of the cells, one array each: texts as objects, positions in um, rotations as quaternions."""
    random = np.random.default_rng(_SEED)
    radius, around = RADIUS * np.sqrt(random.random(SIZE)), 2 * np.pi * random.random(SIZE)
    turn, lean, side = (
        2 * np.pi * random.random(SIZE),
        LEANING * random.random(SIZE),
        2 * np.pi * random.random(SIZE),
    )
    # about y, then leaning about a horizontal axis
    leaning = np.stack(
        [np.cos(lean / 2), np.sin(lean / 2) * np.cos(side), 0 * lean, np.sin(lean / 2) * np.sin(side)]
    )
    turning = np.stack([np.cos(turn / 2), 0 * turn, np.sin(turn / 2), 0 * turn])
    w, x, y, z = _product(leaning, turning)
    kinds = [KINDS[i % len(KINDS)] for i in range(SIZE)]
    return {
        "morphology": np.array([morphology for morphology, _ in kinds], dtype=object),
        "mtype": np.array([mtype for _, mtype in kinds], dtype=object),
        "layer": np.full(SIZE, "L5", dtype=object),
        "x": radius * np.cos(around),
        "y": random.uniform(*DEPTH, SIZE),
        "z": radius * np.sin(around),
        "orientation_w": w,
        "orientation_x": x,
        "orientation_y": y,
        "orientation_z": z,
    }


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of quaternions (4, n): first b, then a."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ]
    )
