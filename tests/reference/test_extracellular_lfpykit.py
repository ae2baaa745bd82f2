"""Coefficients against LFPykit on random geometry, and where the two differ by intent."""

import math

import numpy as np
import pytest

from ephysflow.extracellular.electrodes import Electrode, Slice
from ephysflow.extracellular.sites import analytic_coefficients, site_groups

lfpykit = pytest.importorskip("lfpykit", reason="needs LFPykit (pip install lfpykit)")

SIGMA = 0.3
METHODS = ["PointSource", "LineSource"]


def electrode(position, method, sigma=(SIGMA,) * 3, **settings):
    return Electrode(
        name="e",
        array="a",
        position=tuple(position),
        layer="NA",
        region="NA",
        type=method,
        method=method,
        sigma=sigma,
        **settings,
    )


def ours(geometry, positions, method, **settings):
    """Return (sites, compartments), as LFPykit has them."""
    electrodes = [electrode(position, method, **settings) for position in positions.tolist()]
    out = np.empty((geometry.totnsegs, len(electrodes)))
    starts, ends = (np.stack([geometry.x[:, i], geometry.y[:, i], geometry.z[:, i]], axis=1) for i in (0, 1))
    analytic_coefficients(site_groups(electrodes), starts, ends, geometry.d / 2, out)
    return out.T


def geometry_of(starts, ends, diameter):
    starts, ends = np.atleast_2d(starts).astype(float), np.atleast_2d(ends).astype(float)
    return lfpykit.CellGeometry(
        *np.stack([starts.T, ends.T], axis=2), d=np.broadcast_to(diameter, len(starts)).astype(float)
    )


def random_geometry(rng, n=60, low=(-150, -150, -150), high=(150, 150, 150)):
    starts = rng.uniform(low, high, (n, 3))
    ends = starts + rng.normal(size=(n, 3)) * rng.choice([0.3, 5, 40], (n, 1))
    return geometry_of(starts, np.clip(ends, low, high), rng.uniform(0.2, 2, n))


def outside(rng, geometry, n=40, spread=150.0):
    """Return sites that are in no compartment's round surface."""
    sites = rng.uniform(-spread, spread, (4 * n, 3))
    starts = np.stack([geometry.x[:, 0], geometry.y[:, 0], geometry.z[:, 0]], axis=1)
    ends = np.stack([geometry.x[:, 1], geometry.y[:, 1], geometry.z[:, 1]], axis=1)
    both = np.linalg.norm(sites[:, None] - starts, axis=2) + np.linalg.norm(sites[:, None] - ends, axis=2)
    free = (both > np.linalg.norm(ends - starts, axis=1) + geometry.d).all(axis=1)
    assert free.sum() >= n
    return sites[free][:n]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1, 30])
def test_isotropic(method, scale):
    rng = np.random.default_rng(1)
    geometry = random_geometry(rng)
    sites = outside(rng, geometry) * scale
    theirs = getattr(lfpykit, f"{method}Potential")(geometry, *sites.T, sigma=SIGMA)
    # LFPykit's logarithm loses digits for short compartments far away
    rtol = 1e-9 if scale == 1 or method == "PointSource" else 1e-8
    np.testing.assert_allclose(
        ours(geometry, sites, method), theirs.get_transformation_matrix(), rtol=rtol, atol=0
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sigma", [(0.3, 0.3, 0.45), (0.2, 0.4, 0.7)])
def test_anisotropic(method, sigma):
    rng = np.random.default_rng(2)
    geometry = random_geometry(rng)
    sites = outside(rng, geometry)
    theirs = lfpykit.RecExtElectrode(
        geometry, sigma=list(sigma), x=sites[:, 0], y=sites[:, 1], z=sites[:, 2], method=method.lower()
    )
    np.testing.assert_allclose(
        ours(geometry, sites, method, sigma=sigma), theirs.get_transformation_matrix(), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize(
    ("method", "sigma_below", "heights"),
    # LFPykit: images of line sources only on an insulating lower plane
    [("PointSource", 0.1, (0, 200)), ("PointSource", 0.0, (0, 200)), ("LineSource", 0.0, (0, 0))],
)
def test_method_of_images(method, sigma_below, heights):
    rng = np.random.default_rng(3)
    bottom = -40.0
    geometry = random_geometry(rng, low=(-150, -150, bottom), high=(150, 150, bottom + 200))
    sites = outside(rng, geometry)
    sites[:, 2] = bottom + rng.uniform(*heights, len(sites))
    theirs = lfpykit.RecMEAElectrode(
        geometry,
        sigma_T=SIGMA,
        sigma_S=1.5,
        sigma_G=sigma_below,
        h=200.0,
        z_shift=bottom,
        x=sites[:, 0],
        y=sites[:, 1],
        z=sites[:, 2],
        method=method.lower(),
    )
    # more than the 20 of both, as the two end their sums differently
    theirs.moi_param_kwargs["steps"] = 80
    tissue = Slice(bottom, bottom + 200, sigma_below, 1.5, 80)
    np.testing.assert_allclose(
        ours(geometry, sites, method, slice=tissue), theirs.get_transformation_matrix(), rtol=1e-9, atol=0
    )


def test_inside_the_radius_beside_a_segment():
    """Both take the site at the radius."""
    geometry = geometry_of([0, 0, 0], [20, 0, 0], 4)
    sites = np.array([[x, y, 0] for x in (0.5, 5, 10, 19) for y in (0.3, 1.0, 1.9)])
    theirs = lfpykit.LineSourcePotential(geometry, *sites.T, sigma=SIGMA).get_transformation_matrix()
    np.testing.assert_allclose(ours(geometry, sites, "LineSource"), theirs, rtol=1e-9)


def test_inside_the_radius_of_a_point():
    geometry = geometry_of([-1, 0, 0], [1, 0, 0], 20)
    sites = np.array([[0, 0.5, 0], [3, 4, 5], [0, 9.9, 0]])
    theirs = lfpykit.PointSourcePotential(geometry, *sites.T, sigma=SIGMA).get_transformation_matrix()
    np.testing.assert_allclose(ours(geometry, sites, "PointSource"), theirs, rtol=1e-12)


def test_where_lfpykit_moves_sites_that_are_outside():
    """It takes the radius as the smallest distance from the whole axis: sites in front of a segment are moved, too."""
    geometry = geometry_of([0, 0, 0], [20, 0, 0], 4)
    sites = np.array([[25.0, 0.5, 0], [60, 0, 0], [-3, 1, 0]])
    theirs = lfpykit.LineSourcePotential(geometry, *sites.T, sigma=SIGMA).get_transformation_matrix()
    across = np.hypot(sites[:, 1], sites[:, 2])
    d1, d2 = (np.hypot(sites[:, 0] - end, across) for end in (0, 20))
    exact = 2 * np.arctanh(20 / (d1 + d2)) / 20 / (4 * math.pi * SIGMA)
    np.testing.assert_allclose(ours(geometry, sites, "LineSource")[:, 0], exact, rtol=1e-12)
    assert (np.abs(theirs[:, 0] / exact - 1) > 1e-4).all()
