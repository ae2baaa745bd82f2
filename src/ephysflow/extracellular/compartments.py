"""Compartments: the pieces that a simulator cuts sections into."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Compartments:
    """Compartments of a cell, or of many cells one after the other.

    Attributes
    ----------
    section_ids : (C,) section of each, as in the report: 0 for the soma
    section_types : (C,) see `ephysflow.extracellular.section_types`; 0 where unknown
    starts, ends : (C, 3) end points [um]; equal for the soma, which is a point
    radii : (C,) half the mean diameter; radius of the soma [um]
    """

    section_ids: np.ndarray
    section_types: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray


def joined(parts: Sequence[Compartments]) -> Compartments:
    """Return compartments one after the other; at least one part is needed."""
    names = [field.name for field in fields(Compartments)]
    return Compartments(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def midpoints(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return (C, 3) the points halfway between the end points (C, 3) of compartments."""
    return (starts + ends) / 2


def cut(points: np.ndarray, diameters: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a polyline into pieces of equal arc length.

    Parameters
    ----------
    points : (n, 3) um, n >= 1
    diameters : (n,) um
    count : number of pieces

    Returns
    -------
    (count + 1, 3) end points, the first and last point exactly, and (count,) radii: half the mean diameter of each
    piece by arc length. The pieces of a line without length are all at its point.
    """
    arc = arc_length(points)
    piece = arc[-1] / count
    if piece < np.finfo(np.float64).tiny:
        return np.repeat(points[:1], count + 1, axis=0), np.full(count, diameters.mean() / 2)
    inner = arc[-1] * (np.arange(1, count) / count)
    i = np.searchsorted(arc, inner, side="right") - 1
    beyond = inner - arc[i]
    share = beyond / (arc[i + 1] - arc[i])
    ends = np.concatenate([points[:1], points[i] + share[:, None] * (points[i + 1] - points[i]), points[-1:]])
    # integral of the diameter, which is linear between points
    integral = np.concatenate([[0.0], ((arc[1:] - arc[:-1]) * (diameters[1:] + diameters[:-1]) / 2).cumsum()])
    widths = diameters[i] + share * (diameters[i + 1] - diameters[i])
    integral = np.concatenate([[0.0], integral[i] + beyond * (diameters[i] + widths) / 2, integral[-1:]])
    return ends, (integral[1:] - integral[:-1]) / piece / 2


def arc_length(points: np.ndarray) -> np.ndarray:
    """Return (n,) the length of a polyline up to each of its points (n, 3)."""
    return np.concatenate([[0.0], distances(points[1:], points[:-1]).cumsum()])


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (n,) the distance of each point (n, 3) from another (n, 3)."""
    x, y, z = (points - others).T
    return np.sqrt(x * x + y * y + z * z)
