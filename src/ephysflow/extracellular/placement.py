"""Where the cells of a circuit are and how they are turned: local coordinates to those of the circuit."""

import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.sonata.nodes import Population

QUATERNION = ("orientation_w", "orientation_x", "orientation_y", "orientation_z")
ANGLES = ("rotation_angle_xaxis", "rotation_angle_yaxis", "rotation_angle_zaxis")


def rotations(population: Population, rows: np.ndarray) -> np.ndarray:
    """Return the rotation of each node.

    Parameters
    ----------
    population : its nodes have a quaternion (Blue Brain), angles about the axes (Allen Institute, BMTK), or neither
    rows : (n,) node ids

    Returns
    -------
    (n, 3, 3) matrices R; a point p of the morphology is at R p + position

    Raises
    ------
    SimulationError
        if a quaternion is zero or lacks a part, or a value is not finite.

    Notes
    -----
    SONATA developer guide, optional reserved attributes of nodes: angles in radians, first about z, then y, then x,
    each about an axis of the circuit: R = Rx Ry Rz.
    """
    names = population.property_names
    parts = [name for name in QUATERNION if name in names]
    if parts:
        if len(parts) < len(QUATERNION):
            raise SimulationError(
                f"population {population.name!r}: has {', '.join(parts)}, but an orientation needs {', '.join(QUATERNION)}"
            )
        quaternion = np.stack([_numbers(population, name, rows) for name in QUATERNION])
        largest = np.abs(quaternion).max(
            axis=0
        )  # or squares of large and small numbers leave the range of float64
        if (largest == 0).any():
            raise SimulationError(
                f"population {population.name!r}: the orientation of node {rows[largest == 0][0]} is all zero"
            )
        quaternion /= largest
        return _of_quaternions(*(quaternion / np.sqrt((quaternion**2).sum(axis=0))))
    turned = np.broadcast_to(np.eye(3), (len(rows), 3, 3))
    for axis, name in enumerate(ANGLES):
        if name in names:
            turned = turned @ _about_axis(axis, _numbers(population, name, rows))
    return turned


def positions(population: Population, rows: np.ndarray) -> np.ndarray:
    """Return (n, 3) the positions x, y, z of nodes [um].

    Raises
    ------
    SimulationError
        if the population has no positions, or one is not finite.
    """
    return np.stack([_numbers(population, name, rows) for name in "xyz"], axis=1)


def are_recentred(population: Population, rows: np.ndarray) -> np.ndarray:
    """Return (n,) whether the morphology of each node is moved so that its soma is at the node's position.

    SONATA developer guide: morphologies are, unless the attribute ``recenter`` of a node is 0. Those of Blue Brain's
    circuits, whose nodes have quaternions, have their soma at the origin already and are left alone to the last bit.
    """
    if "recenter" in population.property_names:
        return _numbers(population, "recenter", rows) != 0
    return np.full(len(rows), not any(name in population.property_names for name in QUATERNION))


def placed(points: np.ndarray, rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return (n, 3) points of a morphology in the coordinates of the circuit: rotated, then moved.

    Each point by itself, so that a point that two compartments share stays the same to the last bit.
    """
    x, y, z = points.T
    return np.stack(
        [r[0] * x + r[1] * y + r[2] * z + p for r, p in zip(rotation, position, strict=True)], axis=1
    )


def _numbers(population: Population, name: str, rows: np.ndarray) -> np.ndarray:
    try:
        values = population.property(name)[rows].astype(np.float64)
    except ValueError:
        raise SimulationError(f"population {population.name!r}: property {name!r} is not a number") from None
    if not np.isfinite(values).all():
        node = rows[~np.isfinite(values)][0]
        raise SimulationError(f"population {population.name!r}: {name} of node {node} is not a finite number")
    return values


def _of_quaternions(w: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _about_axis(axis: int, angle: np.ndarray) -> np.ndarray:
    """Return (n, 3, 3) right-handed rotations about one axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    found = np.zeros((len(angle), 3, 3))
    found[:, axis, axis] = 1
    found[:, i, i] = found[:, j, j] = np.cos(angle)
    found[:, j, i] = np.sin(angle)
    found[:, i, j] = -np.sin(angle)
    return found
