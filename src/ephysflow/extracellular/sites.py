"""Sites: the points at which potentials are computed; an analytic electrode is a weighted sum of sites.

A point contact is one site. A finite contact is the mean over sites on its area. In a slice of tissue the potential of
the mirror images of a source equals that of the source at the mirror images of the site, so that the method of images
adds sites, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.electrode_types import ANALYTIC
from ephysflow.extracellular.electrodes import Electrode, Slice

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))

BUFFER = 32_000_000
"""Bytes of potentials at sites that are held at a time."""


@dataclass(frozen=True)
class SiteGroup:
    """Sites that one call of a kernel computes.

    Attributes
    ----------
    method : PointSource or LineSource
    scale : (3,) of the coordinates in anisotropic media, else ones
    positions : (3, S) um
    prefactors : (S,) of the kernels
    minimum_distances : (S,) um; NaN for the radius of each compartment
    columns : (G,) electrodes
    offsets : (G+1,) electrode g has the sites offsets[g] .. offsets[g+1]
    weights : (S,) of the sites in the sum of their electrode
    """

    method: str
    scale: np.ndarray
    positions: np.ndarray
    prefactors: np.ndarray
    minimum_distances: np.ndarray
    columns: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray

    @property
    def is_plain(self) -> bool:
        """Whether each electrode is one site of weight 1."""
        return len(self.weights) == len(self.columns) and bool((self.weights == 1).all())


def site_groups(electrodes: Sequence[Electrode]) -> list[SiteGroup]:
    """Return the sites of the analytic electrodes, grouped by what a kernel needs.

    Parameters
    ----------
    electrodes : of all methods, in the order of their columns

    Raises
    ------
    ConfigurationError
        if a contact reaches out of its slice.
    """
    members: dict[tuple[str, tuple[float, float, float] | None], list[int]] = {}
    for column, electrode in enumerate(electrodes):
        if electrode.method in ANALYTIC:
            sigma = electrode.sigma
            assert sigma is not None
            isotropic = sigma[0] == sigma[1] == sigma[2]
            members.setdefault((electrode.method, None if isotropic else sigma), []).append(column)
    return [_group(method, sigma, columns, electrodes) for (method, sigma), columns in members.items()]


def analytic_coefficients(
    groups: Sequence[SiteGroup], starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, out: np.ndarray
) -> None:
    """Compute the coefficients of analytic electrodes.

    Parameters
    ----------
    groups : sites of the electrodes
    starts, ends : (C, 3) um
    radii : (C,) um
    out : (C, E) mV/nA; the columns of these electrodes are written
    """
    for group in groups:
        if group.is_plain and len(group.columns) == out.shape[1] and (np.diff(group.columns) == 1).all():
            _potentials(group, starts, ends, radii, out)
        else:
            _summed(group, starts, ends, radii, out)


def subtract_references(electrodes: Sequence[Electrode], coefficients: np.ndarray) -> None:
    """Subtract from each electrode the mean of its reference electrodes, in place.

    Parameters
    ----------
    electrodes : E
    coefficients : (C, E), before any reference is subtracted
    """
    column_of = {electrode.name: column for column, electrode in enumerate(electrodes)}
    names = dict.fromkeys(name for electrode in electrodes for name in electrode.reference)
    before = {name: coefficients[:, column_of[name]].copy() for name in names}
    for column, electrode in enumerate(electrodes):
        if electrode.reference:
            total = np.zeros(len(coefficients))
            for name in electrode.reference:
                total += before[name]
            coefficients[:, column] -= total / len(electrode.reference)


def cut_off(electrodes: Sequence[Electrode], midpoints: np.ndarray, coefficients: np.ndarray) -> None:
    """Set the coefficients of compartments to 0, in place, that are farther away than the electrode's cutoff.

    Parameters
    ----------
    electrodes : E
    midpoints : (C, 3) of the compartments [um]
    coefficients : (C, E), with references subtracted: what is left is complete
    """
    for column, electrode in enumerate(electrodes):
        if electrode.cutoff is not None:
            x, y, z = (midpoints - np.array(electrode.position)).T
            coefficients[x * x + y * y + z * z > electrode.cutoff**2, column] = 0


def compartments_outside(slice_: Slice, starts: np.ndarray, ends: np.ndarray) -> int:
    """Return how many compartments reach out of a slice."""
    low, high = np.minimum(starts[:, 2], ends[:, 2]), np.maximum(starts[:, 2], ends[:, 2])
    return int(np.count_nonzero((low < slice_.bottom) | (high > slice_.top)))


def contact_sites(centre: Sequence[float], normal: Sequence[float], radius: float, count: int) -> np.ndarray:
    """Return (count, 3) sites spread evenly on a disk [um].

    Source: Vogel (1979), Mathematical Biosciences 44:179: radii as the square root of the number, angles in steps of
    the golden angle.
    """
    normal_ = np.asarray(normal, dtype=np.float64) / np.linalg.norm(normal)
    first = np.cross(normal_, np.eye(3)[np.argmin(np.abs(normal_))])
    first /= np.linalg.norm(first)
    second = np.cross(normal_, first)
    k = np.arange(count)
    r, angle = radius * np.sqrt((k + 0.5) / count), k * GOLDEN_ANGLE
    return np.asarray(centre) + np.outer(r * np.cos(angle), first) + np.outer(r * np.sin(angle), second)


def image_heights(z: float, slice_: Slice, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mirror images of a site in both planes of a slice.

    Parameters
    ----------
    z : height of the site [um], between the planes
    slice_ : the planes
    sigma : conductivity of the tissue [S/m]

    Returns
    -------
    heights [um] and weights, (1 + 4 images,); the first is the site itself, with weight 1

    Notes
    -----
    Ness et al. (2015), Neuroinformatics 13:403, with W = (sigma - sigma_outside) / (sigma + sigma_outside) for both
    planes; there for a site on the lower plane, here for any height, by the same reflections.
    """
    below = (sigma - slice_.sigma_below) / (sigma + slice_.sigma_below)
    above = (sigma - slice_.sigma_above) / (sigma + slice_.sigma_above)
    thickness, height = slice_.top - slice_.bottom, z - slice_.bottom
    heights, weights = [height], [1.0]
    for n in range(slice_.images):
        pairs, shift = (below * above) ** n, 2 * (n + 1) * thickness
        heights += [shift - height, -(height + 2 * n * thickness), height + shift, height - shift]
        weights += [pairs * above, pairs * below, pairs * below * above, pairs * below * above]
    return np.array(heights) + slice_.bottom, np.array(weights)


def _group(
    method: str,
    sigma: tuple[float, float, float] | None,
    columns: Sequence[int],
    electrodes: Sequence[Electrode],
) -> SiteGroup:
    """Return the sites of some electrodes; with their own isotropic conductivities where `sigma` is None."""
    found: dict[str, list[Any]] = {"positions": [], "weights": [], "prefactors": [], "minimum_distances": []}
    counts = []
    for column in columns:
        electrode = electrodes[column]
        assert electrode.sigma is not None
        positions, weights = _sites(electrode)
        counts.append(len(weights))
        minimum = electrode.minimum_distance
        prefactor = 1 / (4 * math.pi * electrode.sigma[0]) if sigma is None else 1 / (4 * math.pi)
        found["positions"].append(positions)
        found["weights"].append(weights)
        found["prefactors"].append(np.full(len(weights), prefactor))
        found["minimum_distances"].append(np.full(len(weights), np.nan if minimum is None else minimum))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    scale = np.ones(3)
    if sigma is not None:
        x, y, z = sigma
        scale = np.sqrt([y * z, x * z, x * y])
    return SiteGroup(
        method=method,
        scale=scale,
        positions=np.ascontiguousarray(joined["positions"].T),
        prefactors=joined["prefactors"],
        minimum_distances=joined["minimum_distances"],
        columns=np.array(columns, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        weights=joined["weights"],
    )


def _sites(electrode: Electrode) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n, 3) sites of an electrode and their weights (n,)."""
    positions = np.array([electrode.position], dtype=np.float64)
    if electrode.contact_radius is not None:
        assert electrode.contact_normal is not None
        positions = contact_sites(
            electrode.position, electrode.contact_normal, electrode.contact_radius, electrode.contact_points
        )
    weights = np.full(len(positions), 1 / len(positions))
    if electrode.slice is None:
        return positions, weights
    assert electrode.sigma is not None
    z = positions[:, 2]
    # a contact in a plane is on it but for rounding
    slack = 1e-9 * (electrode.slice.top - electrode.slice.bottom)
    if (z < electrode.slice.bottom - slack).any() or (z > electrode.slice.top + slack).any():
        raise ConfigurationError(
            f"electrode {electrode.name!r}: its contact reaches out of its slice "
            f"({electrode.slice.bottom} to {electrode.slice.top} um)"
        )
    images = [image_heights(height, electrode.slice, electrode.sigma[0]) for height in z.tolist()]
    heights = np.concatenate([image[0] for image in images])
    n_images = len(images[0][0])
    mirrored = np.repeat(positions, n_images, axis=0)
    mirrored[:, 2] = heights
    return mirrored, np.concatenate([image[1] for image in images]) / len(positions)


def _summed(
    group: SiteGroup, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, out: np.ndarray
) -> None:
    """Compute the potentials at all sites, some rows at a time, and sum them up for each electrode."""
    from ephysflow.extracellular.analytic import weighted_sums

    n_sites = len(group.weights)
    rows = max(1, BUFFER // (8 * n_sites))
    values = np.empty((min(rows, len(starts)), n_sites))
    for first in range(0, len(starts), rows):
        part = slice(first, first + rows)
        block = values[: len(starts[part])]
        _potentials(group, starts[part], ends[part], radii[part], block)
        weighted_sums(block, group.offsets, group.weights, group.columns, out[part])


def _potentials(
    group: SiteGroup, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, out: np.ndarray
) -> None:
    from ephysflow.extracellular.analytic import line_source_rows, point_source_rows

    rows = point_source_rows if group.method == "PointSource" else line_source_rows
    rows(
        starts,
        ends,
        radii,
        group.positions,
        group.prefactors,
        group.minimum_distances,
        group.scale,
        out,
    )
