"""Compartments: the pieces that a simulator cuts sections into."""

from dataclasses import dataclass

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
    if arc[-1] == 0:
        return np.repeat(points[:1], count + 1, axis=0), np.full(count, diameters.mean() / 2)
    at = np.linspace(0, arc[-1], count + 1)
    ends = np.stack([np.interp(at, arc, coordinate) for coordinate in points.T], axis=1)
    ends[0], ends[-1] = points[0], points[-1]
    # integral of the diameter, which is linear between all these places
    places = np.sort(np.concatenate([arc, at]))
    widths = np.interp(places, arc, diameters)
    integral = np.concatenate([[0], np.cumsum(np.diff(places) * (widths[1:] + widths[:-1]) / 2)])
    return ends, np.diff(np.interp(at, places, integral)) / np.diff(at) / 2


def arc_length(points: np.ndarray) -> np.ndarray:
    """Return (n,) the length of a polyline up to each of its points (n, 3)."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
