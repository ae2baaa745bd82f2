"""Objective CSD: coefficients are 1 inside of a region about the contact and 0 outside.

Sums of membrane currents in spheres, in disks or between planes, for comparison with estimates of the current source
density. Disks and planes stand across the axis of their array, which is the first principal component of its contacts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.electrodes import Electrode

SAME_PLACE = 1e-3
"""Contacts that are not farther apart than this along the axis count as one [um]."""

SAME_ROW = 0.01
"""So do contacts not farther apart than this part of the largest spacing: contacts side by side in a staggered array,
whose axis is a little askew."""

UNIQUE_AXIS = 1e-6
"""The variance of contacts along the axis must exceed that across it by at least this, relatively."""


@dataclass(frozen=True)
class CsdRegion:
    """Where coefficients are 1.

    Attributes
    ----------
    centre : (3,) position of the contact [um]
    axis : (3,) unit vector across disk or planes; None for a sphere
    half_thickness : along the axis, on both sides of the centre [um]; infinite for a sphere
    radius : from the centre (sphere) or from the axis through the centre (disk) [um]; infinite between planes
    """

    centre: np.ndarray
    axis: np.ndarray | None
    half_thickness: float
    radius: float


def csd_regions(electrodes: Sequence[Electrode]) -> dict[int, CsdRegion]:
    """Return the regions of the objective CSD electrodes.

    Parameters
    ----------
    electrodes : all of a file

    Returns
    -------
    column -> region, of electrodes whose method is Sphere, Disk or Plane

    Raises
    ------
    ConfigurationError
        if an array does not define the axis or the thickness of its disks or planes.
    """
    axes: dict[str, tuple[np.ndarray, float]] = {}
    regions = {}
    for column, electrode in enumerate(electrodes):
        if electrode.method not in ("Sphere", "Disk", "Plane"):
            continue
        centre = np.array(electrode.position, dtype=np.float64)
        radius = np.inf
        if electrode.method != "Plane":
            assert electrode.radius is not None
            radius = electrode.radius
        if electrode.method == "Sphere":
            regions[column] = CsdRegion(centre, None, np.inf, radius)
            continue
        assert electrode.csd_array is not None
        if electrode.csd_array not in axes:
            members = [other for other in electrodes if other.csd_array == electrode.csd_array]
            axes[electrode.csd_array] = _axis_and_spacing(members)
        axis, spacing = axes[electrode.csd_array]
        thickness = spacing if electrode.thickness is None else electrode.thickness
        regions[column] = CsdRegion(centre, axis, thickness / 2, radius)
    return regions


def csd_coefficients(region: CsdRegion, midpoints: np.ndarray) -> np.ndarray:
    """Return 1 for midpoints in the region or on its surface, 0 for others.

    Parameters
    ----------
    region : of one electrode
    midpoints : (C, 3) of compartments [um]

    Returns
    -------
    (C,) float64; NaN for midpoints at NaN
    """
    x, y, z = (midpoints - region.centre).T
    squared = x * x + y * y + z * z
    if region.axis is None:
        inside = np.sqrt(squared) <= region.radius
    else:
        along = x * region.axis[0] + y * region.axis[1] + z * region.axis[2]
        # rounding may bring the difference below 0 on the axis
        across = np.sqrt(np.maximum(squared - along * along, 0))
        inside = (np.abs(along) <= region.half_thickness) & (across <= region.radius)
    return np.where(np.isnan(squared), np.nan, inside)


def _axis_and_spacing(members: Sequence[Electrode]) -> tuple[np.ndarray, float]:
    """Return the first principal component of the contacts of an array, and their mean spacing along it [um]."""
    positions = np.array([electrode.position for electrode in members], dtype=np.float64)
    away = positions - positions.mean(axis=0)
    # sums without BLAS, whose last bits depend on the number of its threads
    products = (away[:, :, np.newaxis] * away[:, np.newaxis, :]).sum(axis=0)
    variances, directions = np.linalg.eigh(products)
    axis = directions[:, -1]
    projections = np.sort(away[:, 0] * axis[0] + away[:, 1] * axis[1] + away[:, 2] * axis[2])
    spacings = np.diff(projections)
    limit = max(SAME_PLACE, SAME_ROW * spacings.max(initial=0))
    spacings = spacings[spacings > limit]
    if len(spacings) == 0:
        raise ConfigurationError(
            f"{_names(members)}: the axis of disks and planes needs an array with contacts at two different places"
        )
    if variances[1] > variances[2] * (1 - UNIQUE_AXIS):
        raise ConfigurationError(
            f"{_names(members)}: the contacts spread equally in two directions, "
            "so that the array has no axis for disks and planes"
        )
    return axis, float(spacings.mean())


def _names(members: Sequence[Electrode]) -> str:
    names = [repr(electrode.name) for electrode in members]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"ObjectiveCSD electrodes {', '.join(names[:5])}{more}"
