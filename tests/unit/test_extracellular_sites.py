"""Sites of electrodes: finite contacts, slices of tissue, cutoffs, references."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import j0

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular import sites
from ephysflow.extracellular.analytic import line_source_rows, point_source_rows
from ephysflow.extracellular.electrodes import Electrode, Slice
from ephysflow.extracellular.sites import (
    analytic_coefficients,
    compartments_outside,
    contact_sites,
    cut_off,
    image_heights,
    site_groups,
    subtract_references,
)

SIGMA = 0.3
PREFACTOR = 1 / (4 * math.pi * SIGMA)


def electrode(position=(0, 0, 0), method="PointSource", name="e", sigma=(SIGMA,) * 3, **settings):
    return Electrode(
        name=name,
        array="a",
        position=tuple(float(x) for x in position),
        layer="NA",
        region="NA",
        type=method,
        method=method,
        sigma=sigma,
        **settings,
    )


def disk(radius, points, normal=(0, 0, 1), **settings):
    return electrode(contact_radius=radius, contact_normal=normal, contact_points=points, **settings)


def coefficients(electrodes, starts, ends=None, radii=0.1):
    starts = np.atleast_2d(np.asarray(starts, dtype=np.float64))
    ends = starts if ends is None else np.atleast_2d(np.asarray(ends, dtype=np.float64))
    out = np.full((len(starts), len(electrodes)), -1.0)
    analytic_coefficients(site_groups(electrodes), starts, ends, np.full(len(starts), float(radii)), out)
    cut_off(electrodes, (starts + ends) / 2, out)
    return out


def some_segments(seed=0, n=40, low=(-200, -200, -200), high=(200, 200, 200)):
    rng = np.random.default_rng(seed)
    starts = rng.uniform(low, high, (n, 3))
    return starts, np.clip(starts + rng.normal(size=(n, 3)) * 10, low, high)


# electrodes and columns


def test_electrodes_of_all_methods_in_one_file_have_their_own_columns():
    starts, ends = some_segments()
    electrodes = [
        electrode((1, 2, 3), "LineSource", sigma=(0.2, 0.3, 0.4)),
        electrode((1, 2, 3), "PointSource"),
        electrode((1, 2, 3), "Reciprocity", sigma=None, field="x", field_unit="V/nA"),
        electrode((1, 2, 3), "LineSource", sigma=(0.6,) * 3),
        electrode((1, 2, 3), "Sphere", sigma=None, radius=10),
        electrode((5, 2, 3), "LineSource", sigma=(0.2, 0.3, 0.4)),
        electrode((1, 2, 3), "PointSource", minimum_distance=300.0),
        electrode((1, 2, 3), "LineSource", sigma=(0.4, 0.3, 0.2)),
    ]
    groups = site_groups(electrodes)
    assert sorted(tuple(group.columns) for group in groups) == [(0, 5), (1, 6), (3,), (7,)]
    found = coefficients(electrodes, starts, ends)
    np.testing.assert_array_equal(found[:, [2, 4]], -1)
    for column in (0, 1, 3, 5, 6, 7):
        np.testing.assert_array_equal(found[:, [column]], coefficients([electrodes[column]], starts, ends))
    assert found[:, 6].max() <= PREFACTOR / 300 * (1 + 1e-15)


def test_point_contacts_are_what_the_kernels_give():
    starts, ends = some_segments()
    positions = np.array([[1.0, 2, 3], [-50, 0, 7], [0, 0, 0]])
    sigmas = [0.2, 0.3, 0.5]
    for method, kernel in (("PointSource", point_source_rows), ("LineSource", line_source_rows)):
        electrodes = [electrode(p, method, sigma=(s,) * 3) for p, s in zip(positions, sigmas, strict=True)]
        expected = np.empty((len(starts), 3))
        prefactors = 1 / (4 * math.pi * np.array(sigmas))
        kernel(
            starts,
            ends,
            np.full(len(starts), 0.1),
            np.ascontiguousarray(positions.T),
            prefactors,
            np.full(3, np.nan),
            np.ones(3),
            expected,
        )
        np.testing.assert_array_equal(coefficients(electrodes, starts, ends), expected)
        # the same values when other columns keep them from being written in place
        others = [*electrodes, electrode(method="Sphere", sigma=None)]
        np.testing.assert_array_equal(coefficients(others, starts, ends)[:, :3], expected)


def test_rows_have_the_same_bits_however_they_are_cut_and_buffered(monkeypatch):
    starts, ends = some_segments(n=60, low=(-200, -200, 0), high=(200, 200, 200))
    tissue = Slice(0, 200, 0, 1.5, 6)
    electrodes = [
        disk(8, 11, slice=tissue, method="LineSource"),
        disk(20, 5, (0, 1, 1), sigma=(0.2, 0.3, 0.4)),
        electrode((3, 4, 5), "LineSource", cutoff=150.0),
    ]
    whole = coefficients(electrodes, starts, ends)
    for n in (1, 7):
        parts = [coefficients(electrodes, starts[i : i + n], ends[i : i + n]) for i in range(0, 60, n)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    monkeypatch.setattr(sites, "BUFFER", 8 * 300 * 13)
    np.testing.assert_array_equal(coefficients(electrodes, starts, ends), whole)


# cutoff


def test_a_cutoff_is_from_the_electrode_to_the_midpoint():
    starts = np.array([[90, 0, 0], [91, 0, 0], [99, 0, 0], [np.nan, 0, 0]])
    ends = starts + np.array([20, 0, 0])
    found = coefficients(
        [electrode(cutoff=100.0), electrode(), disk(30, 20, (1, 0, 0), cutoff=100.0)], starts, ends
    )
    np.testing.assert_array_equal(found[:3, 0], [PREFACTOR / 100, 0, 0])
    assert (found[:3, 1] > 0).all()
    assert found[0, 2] > 0
    np.testing.assert_array_equal(found[1:3, 2], 0)
    # unknown positions stay unknown
    assert np.isnan(found[3]).all()


# finite contacts


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 0, -2.5), (1, 0, 0), (0.3, -2, 0.7)])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_sites_of_a_contact_are_on_its_disk(normal, count):
    centre = np.array([10.0, -20, 30])
    found = contact_sites(centre, normal, 12.0, count)
    assert found.shape == (count, 3)
    np.testing.assert_allclose((found - centre) @ np.array(normal), 0, atol=1e-12)
    distances = np.linalg.norm(found - centre, axis=1)
    # equal areas: the number within a radius grows as its square
    np.testing.assert_allclose(distances, 12 * np.sqrt((np.arange(count) + 0.5) / count), rtol=1e-12)
    np.testing.assert_array_equal(found, contact_sites(centre, normal, 12.0, count))
    if count == 100:
        assert np.linalg.norm(found.mean(axis=0) - centre) < 0.05 * 12


@pytest.mark.parametrize("height", [5.0, 20.0, 200.0])
def test_a_contact_is_the_mean_over_its_disk(height):
    """Of 1 / distance over a disk of radius R, on its axis: 2 (sqrt(R^2 + z^2) - z) / R^2."""
    radius = 15.0
    expected = 2 * (math.hypot(radius, height) - height) / radius**2
    for points, tolerance in ((50, 3e-3), (2000, 1e-4)):
        for normal, source in (((0, 0, 1), (0, 0, height)), ((0, 1, 0), (0, -height, 0))):
            found = coefficients([disk(radius, points, normal)], [source])[0, 0]
            assert found == pytest.approx(PREFACTOR * expected, rel=tolerance)


def test_a_small_contact_is_a_point():
    starts, ends = some_segments()
    for method in ("PointSource", "LineSource"):
        found = coefficients([disk(1e-6, 30, method=method), electrode(method=method)], starts, ends)
        np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)


# slices


@pytest.mark.parametrize("method", ["PointSource", "LineSource"])
def test_a_slice_in_its_own_medium_changes_nothing(method):
    starts, ends = some_segments(low=(-200, -200, 0), high=(200, 200, 200))
    found = coefficients(
        [electrode((3, 4, 50), method, slice=Slice(0, 200, SIGMA, SIGMA, 20)), electrode((3, 4, 50), method)],
        starts,
        ends,
    )
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


@pytest.mark.parametrize("method", ["PointSource", "LineSource"])
def test_an_insulating_half_space_doubles_the_potential_at_its_surface(method):
    starts, ends = some_segments(low=(-200, -200, 0), high=(200, 200, 200))
    infinite = coefficients([electrode((3, 4, 0), method)], starts, ends)
    below = electrode((3, 4, 0), method, slice=Slice(0, 1000, 0, SIGMA, 20))
    above = electrode((3, 4, 0), method, slice=Slice(-1000, 0, SIGMA, 0, 20))
    np.testing.assert_allclose(coefficients([below], starts, ends), 2 * infinite, rtol=1e-14)
    np.testing.assert_allclose(
        coefficients([above], starts * [1, 1, -1], ends * [1, 1, -1]), 2 * infinite, rtol=1e-14
    )


def test_a_very_conductive_half_space_grounds_its_surface():
    starts, ends = some_segments(low=(-200, -200, 10), high=(200, 200, 200))
    found = coefficients([electrode((3, 4, 0), slice=Slice(0, 1000, 1e12, SIGMA, 20))], starts, ends)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def layered(tissue, sigma, rho, z, source):
    """Return the potential of 1 nA in three layers at distance rho and height z, by its Hankel transform.

    For every wave number the potential is a sum of exp(kz) and exp(-kz) in each layer; the potential and the current
    through each plane are continuous: four linear equations.
    """
    bottom, top = tissue.bottom, tissue.top

    def reflected(k):
        low, high = math.exp(-k * (source - bottom)), math.exp(-k * (top - source))
        fall = math.exp(-k * (top - bottom))
        # unknowns: below A exp(k (z - bottom)); in the tissue B exp(-k (z - bottom)) + C exp(k (z - top));
        # above D exp(-k (z - top)); the source itself has exp(-k |z - source|)
        equations = [
            [1, -1, -fall, 0],
            [tissue.sigma_below, sigma, -sigma * fall, 0],
            [0, -fall, -1, 1],
            [0, -sigma * fall, sigma, tissue.sigma_above],
        ]
        _, b, c, _ = np.linalg.solve(equations, [low, sigma * low, high, sigma * high])
        return (b * math.exp(-k * (z - bottom)) + c * math.exp(k * (z - top))) * j0(k * rho)

    added = quad(reflected, 0, 3, epsabs=1e-13, epsrel=1e-11, limit=2000)[0]
    return (1 / math.hypot(rho, z - source) + added) / (4 * math.pi * sigma)


@pytest.mark.parametrize(
    "tissue",
    [
        Slice(0, 200, 0, 1.5, 80),
        Slice(-50, 150, 0.01, 1.5, 80),
        Slice(-300, -100, 1.5, 1.5, 80),
        Slice(0, 100, 2.0, 0.05, 80),
    ],
)
def test_against_the_solution_of_three_layers(tissue):
    """Potentials and currents are continuous at both planes, for sites and sources at any height in the tissue."""
    thickness = tissue.top - tissue.bottom
    for at, source, rho in ((0.2, 0.5, 30.0), (0.5, 0.7, 120.0), (0.8, 0.3, 5.0)):
        z, from_ = tissue.bottom + at * thickness, tissue.bottom + source * thickness
        found = coefficients([electrode((rho, 0, z), slice=tissue)], [0, 0, from_])[0, 0]
        assert found == pytest.approx(layered(tissue, SIGMA, rho, z, from_), rel=1e-8)


@given(height=st.floats(0, 1), source=st.floats(0, 1), images=st.integers(1, 30))
@settings(deadline=None)
def test_site_and_source_may_change_places(height, source, images):
    """Reciprocity; and no image but those in a plane is in the tissue, so that the current is that of one source."""
    tissue = Slice(-30, 70, 0.1, 1.5, images)
    z, from_ = -30 + 100 * height, -30 + 100 * source
    first = coefficients([electrode((10, 0, z), slice=tissue)], [0, 0, from_])[0, 0]
    second = coefficients([electrode((10, 0, from_), slice=tissue)], [0, 0, z])[0, 0]
    assert first == pytest.approx(second, rel=1e-12)
    heights, weights = image_heights(z, tissue, SIGMA)
    assert (heights[0], weights[0]) == (z, 1)
    assert len(heights) == len(weights) == 1 + 4 * images
    assert not ((heights[1:] > -30 + 1e-9) & (heights[1:] < 70 - 1e-9)).any()


def test_more_images_change_less_and_less():
    z = [coefficients([electrode((9, 0, 0), slice=Slice(0, 200, 0, 1.5, n))], [0, 0, 150])[0, 0]
         for n in (5, 10, 20, 40)]  # fmt: skip
    steps = np.abs(np.diff(z)) / z[-1]
    assert (np.diff(steps) < 0).all()
    # the default of the configuration
    assert steps[-1] < 1e-4


def test_sites_of_a_contact_have_their_own_images():
    tissue = Slice(0, 200, 0, 1.5, 20)
    starts, ends = some_segments(low=(-200, -200, 0), high=(200, 200, 200))
    contact = disk(20, 9, (0, 1, 0), position=(0, 0, 50), slice=tissue, method="LineSource")
    points = contact_sites((0, 0, 50), (0, 1, 0), 20, 9)
    apart = coefficients([electrode(p, "LineSource", slice=tissue) for p in points], starts, ends)
    np.testing.assert_allclose(coefficients([contact], starts, ends)[:, 0], apart.mean(axis=1), rtol=1e-13)


@pytest.mark.parametrize(
    "refused",
    [
        electrode((0, 0, -1), slice=Slice(0, 200, 0, 1.5, 20), name="low"),
        electrode((0, 0, 200.1), slice=Slice(0, 200, 0, 1.5, 20), name="high"),
        disk(20, 30, (1, 0, 0), position=(0, 0, 190), slice=Slice(0, 200, 0, 1.5, 20), name="upright"),
    ],
)
def test_a_contact_out_of_its_slice_is_refused(refused):
    with pytest.raises(ConfigurationError, match=f"'{refused.name}'.*slice.*0 to 200"):
        site_groups([electrode(), refused])


def test_a_contact_in_a_plane_is_in_the_slice():
    flat = disk(15, 20, position=(0, 0, 0.1), slice=Slice(0.1, 200, 0, 1.5, 20))
    assert site_groups([flat, replace(flat, position=(0, 0, 200.0))])


def test_compartments_outside_a_slice_are_counted():
    tissue = Slice(0, 100, 0, 1.5, 20)
    starts = np.array([[0, 0, 0], [0, 0, 100], [0, 0, 50], [0, 0, 50], [0, 0, -1], [0, 0, np.nan]])
    ends = np.array([[0, 0, 100], [0, 0, 100], [0, 0, 100.1], [0, 0, 51], [0, 0, -1], [0, 0, np.nan]])
    assert compartments_outside(tissue, starts, ends) == 2
    assert compartments_outside(tissue, ends, starts) == 2


# references


def test_the_mean_of_the_references_is_subtracted_as_it_was():
    rng = np.random.default_rng(9)
    before = rng.normal(size=(20, 4))
    electrodes = [
        electrode(name="a", reference=("b", "c")),
        electrode(name="b", reference=("a",)),
        electrode(name="c"),
        electrode(name="d", reference=("a", "b", "c", "d")),
    ]
    found = before.copy()
    subtract_references(electrodes, found)
    a, b, c, d = before.T
    np.testing.assert_allclose(
        found, np.stack([a - (b + c) / 2, b - a, c, d - (a + b + c + d) / 4], axis=1), rtol=0, atol=1e-15
    )
    parts = [before[i : i + 3].copy() for i in range(0, 20, 3)]
    for part in parts:
        subtract_references(electrodes, part)
    np.testing.assert_array_equal(np.concatenate(parts), found)


def test_a_bipolar_pair_far_away_sees_less_than_each():
    pair = [electrode((0, 0, 0), name="a", reference=("b",)), electrode((0, 0, 20), name="b")]
    found = coefficients(pair, [[5000, 0, 5000]])
    single = found[0, 0]
    subtract_references(pair, found)
    # gradient of 1 / r along z, over 20 um
    assert found[0, 0] == pytest.approx(-single * 20 / (2 * 5000), rel=5e-3)
