"""Potentials of point and line sources against closed forms and numerical integrals."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from ephysflow.extracellular.analytic import (
    SERIES_LIMIT,
    SMALLEST_RADIUS,
    UNKNOWN_RADIUS,
    line_source_rows,
    point_source_rows,
    weighted_sums,
)

KERNELS = [point_source_rows, line_source_rows]
ISOTROPIC = 1.0, 1.0, 1.0


def rows(kernel, starts, ends, sites, radii=1e-5, prefactor=1.0, minimum_distance=math.nan, scale=ISOTROPIC):
    """Return (C, S) what a kernel writes; without a prefactor and with thin compartments unless told."""
    starts, ends, sites = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (starts, ends, sites))
    out = np.full((len(starts), len(sites)), -1.0)
    kernel(
        starts,
        ends,
        np.broadcast_to(np.asarray(radii, dtype=np.float64), len(starts)).copy(),
        np.ascontiguousarray(sites.T),
        np.full(len(sites), float(prefactor)),
        np.full(len(sites), float(minimum_distance)),
        np.array(scale, dtype=np.float64),
        out,
    )
    return out


def one(*args, **settings):
    return float(rows(*args, **settings)[0, 0])


def line(length, along, across):
    """Return the mean of 1 / distance over a segment, of a site at those coordinates along and across it, across > 0."""
    return (math.asinh((length - along) / across) + math.asinh(along / across)) / length


def scale_of(sigma):
    x, y, z = sigma
    return np.sqrt([y * z, x * z, x * y])


def directions(rng, n):
    found = rng.normal(size=(n, 3))
    return found / np.linalg.norm(found, axis=1)[:, None]


def branches(rng, n_branches=12, n_compartments=10, step=15.0):
    """Return end points of compartments: a soma and branches from it, each compartment where the one before ends."""
    starts, ends = [np.zeros((1, 3))], [np.zeros((1, 3))]
    for _ in range(n_branches):
        points = np.cumsum(np.concatenate([np.zeros((1, 3)), step * directions(rng, n_compartments)]), axis=0)
        starts.append(points[:-1])
        ends.append(points[1:])
    return np.concatenate(starts), np.concatenate(ends)


def test_a_point_source_at_1_um_and_0_3_siemens_per_metre():
    prefactor = 1 / (4 * math.pi * 0.3)
    assert one(point_source_rows, [1, 0, 0], [3, 0, 0], [2, 1, 0], prefactor=prefactor) == pytest.approx(
        0.26525823848649, rel=1e-13
    )


def test_point_sources_are_at_midpoints():
    found = rows(point_source_rows, [[0, 0, 0], [2, 2, 2]], [[4, 0, 0], [2, 2, 2]], [[2, 3, 4], [2, 2, 12]])
    np.testing.assert_allclose(found, [[1 / 5, 1 / math.sqrt(4 + 144)], [1 / math.sqrt(5), 1 / 10]], 1e-15)


@pytest.mark.parametrize("length", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("along", [-2.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("across", [1e-3, 0.1, 1.0, 3.0])
def test_line_source_beside_before_and_behind(length, along, across):
    """All branches of the formula with h and l, h = 0 and l = 0 included, where the reference crashes (defect 7)."""
    found = one(line_source_rows, [0, 0, 0], [0, 0, length], [0, across * length, along * length])
    assert found == pytest.approx(line(length, along * length, across * length), rel=1e-12)


@pytest.mark.parametrize("length", [1.0, 50.0])
@pytest.mark.parametrize("distance", [1e-3, 0.1, 2.0, 500.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_line_source_on_its_axis_outside_its_radius(length, distance, side):
    site = [(length + distance) if side > 0 else -distance, 0, 0]
    found = one(line_source_rows, [0, 0, 0], [length, 0, 0], site, radii=distance / 2)
    assert found == pytest.approx(math.log1p(length / distance) / length, rel=1e-13)


def test_a_long_line_is_the_potential_of_two_dimensions():
    """Per unit of length and up to a constant, that of an infinite line is -2 ln(distance)."""
    length, near, far = 1e7, 5.0, 80.0
    a, b = rows(line_source_rows, [0, 0, -length / 2], [0, 0, length / 2], [[near, 0, 7], [0, far, 7]])[0]
    assert (a - b) * length == pytest.approx(2 * math.log(far / near), rel=1e-7)


def test_far_and_short_segments_are_exact_to_the_last_digits():
    """1 um at 30 mm: the logarithm of the reference loses six digits; here the limit is a point source."""
    rng = np.random.default_rng(1)
    starts = 1000 * rng.normal(size=(20, 3))
    ends = starts + directions(rng, 20)
    sites = 3e4 * directions(rng, 30)
    found = rows(line_source_rows, starts, ends, sites)
    # next order: L^2 (3 cos^2 - 1) / (24 r^2) < 1e-10 of 1 / r
    d = sites - ((starts + ends) / 2)[:, None]
    r = np.linalg.norm(d, axis=2)
    cosine = (d * (ends - starts)[:, None]).sum(axis=2) / r
    np.testing.assert_allclose(found, (1 + (3 * cosine**2 - 1) / (24 * r**2)) / r, rtol=1e-15 * 4)


@pytest.mark.parametrize("factor", [1e-6, 0.01, 0.5, 0.99, 0.999999, 1.000001, 1.01, 2, 10, 24])
def test_the_series_and_the_logarithm_meet(factor):
    """On the perpendicular through the midpoint, L / (d1 + d2) = sin(angle): artanh of it in closed form."""
    q = math.sqrt(SERIES_LIMIT * factor)
    across = math.sqrt(1 / q**2 - 1) / 2
    assert one(line_source_rows, [0, 0, 0], [1, 0, 0], [0.5, across, 0]) == pytest.approx(
        2 * math.asinh(0.5 / across), rel=2e-15
    )


@pytest.mark.parametrize("radius", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("length", [1.0, 20.0, 1000.0])
def test_a_site_in_a_segment_is_taken_at_its_radius(radius, length):
    rng = np.random.default_rng(3)
    for direction in [*np.eye(3), *-np.eye(3), *directions(rng, 40)]:
        start = rng.uniform(-100, 100, 3) * rng.integers(0, 2)
        across = np.cross(direction, rng.normal(size=3))
        across /= np.linalg.norm(across)
        along = length * rng.choice([0.0, 0.25, rng.random(), 1.0])
        end = start + length * direction
        # on the axis, but for rounding, and off it
        for off in (0.0, 1e-15, 0.3 * radius, 0.999 * radius):
            found = one(line_source_rows, start, end, start + along * direction + off * across, radius)
            assert found == pytest.approx(line(length, along, radius), rel=1e-10), (direction, along, off)


def test_a_site_in_the_round_end_of_a_segment_is_at_its_radius_from_that_end():
    length, radius = 10.0, 2.0
    for off in (0.0, 0.5, 1.0):
        found = one(line_source_rows, [0, 0, 0], [length, 0, 0], [-1.5, off, 0], radius)
        assert found == pytest.approx(line(length, -1.5, math.sqrt(radius**2 - 1.5**2)), rel=1e-13)
    outside = one(line_source_rows, [0, 0, 0], [length, 0, 0], [-1.5, 1.4, 0], radius)
    assert outside == pytest.approx(line(length, -1.5, 1.4), rel=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sigma", [(0.3, 0.3, 0.3), (0.2, 0.3, 0.6)])
def test_the_potential_has_no_step_at_the_radius(kernel, sigma):
    rng = np.random.default_rng(4)
    start, end = np.array([1.0, 2, 3]), np.array([9.0, -4, 6])
    centre = (start + end) / 2 if kernel is point_source_rows else start + rng.random((50, 1)) * (end - start)
    across = directions(rng, 50)
    if kernel is line_source_rows:
        axis = (end - start) / np.linalg.norm(end - start)
        across -= np.outer(across @ axis, axis)
        across /= np.linalg.norm(across, axis=1)[:, None]
    inner, outer = (
        rows(kernel, start, end, centre + f * across, 1.0, scale=scale_of(sigma))
        for f in (1 - 1e-9, 1 + 1e-9)
    )
    np.testing.assert_allclose(inner, outer, rtol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_smallest_distance_is_the_electrodes_or_the_radius_or_that_of_an_unknown_radius(kernel):
    at = [0.0, 0, 0], [0.0, 0, 0], [[0.0, 0, 0], [0, 0.1, 0]]
    np.testing.assert_allclose(rows(kernel, *at, radii=3.0), 1 / 3, 1e-15)
    np.testing.assert_allclose(rows(kernel, *at, radii=3.0, minimum_distance=7.0), 1 / 7, 1e-15)
    np.testing.assert_allclose(rows(kernel, *at, radii=3.0, minimum_distance=0.2), 5, 1e-15)
    for radius in (0.0, 1e-300, SMALLEST_RADIUS, math.nan):
        np.testing.assert_allclose(rows(kernel, *at, radii=radius), 1 / UNKNOWN_RADIUS, 1e-15)


@pytest.mark.parametrize("scale", [ISOTROPIC, tuple(scale_of((0.2, 0.3, 0.6)))])
def test_a_segment_without_length_is_a_point(scale):
    starts = np.array([[0, 0, 0], [5, 5, 5], [5, 5, 5.0]])
    ends = np.array([[0, 0, 0], [5, 5, 5], [8, 5, 5.0]])
    sites = [[3, 4, 12], [5, 5, 5], [5, 5.2, 5]]
    line_, point = (rows(kernel, starts, ends, sites, 0.5, scale=scale) for kernel in KERNELS[::-1])
    np.testing.assert_array_equal(line_[:2], point[:2])
    # the one after it shares its end
    np.testing.assert_array_equal(
        line_[2:], rows(line_source_rows, starts[2:], ends[2:], sites, 0.5, scale=scale)
    )


@pytest.mark.parametrize("sigma", [(0.3, 0.3, 0.3), (0.2, 0.3, 0.6), (0.05, 1.0, 0.4)])
def test_against_a_numerical_integral_of_point_sources(sigma):
    """Nicholson & Freeman (1975), eq. for the potential of a point in an anisotropic medium, integrated along the segment."""
    rng = np.random.default_rng(5)
    starts, ends = rng.uniform(-20, 20, (6, 3)), rng.uniform(-20, 20, (6, 3))
    sites = rng.uniform(-40, 40, (5, 3))
    found = rows(line_source_rows, starts, ends, sites, prefactor=1 / (4 * math.pi), scale=scale_of(sigma))
    points = rows(point_source_rows, starts, ends, sites, prefactor=1 / (4 * math.pi), scale=scale_of(sigma))
    sx, sy, sz = sigma

    def potential(t, i, s):
        x, y, z = sites[s] - (starts[i] + t * (ends[i] - starts[i]))
        return 1 / (4 * math.pi * math.sqrt(sy * sz * x * x + sx * sz * y * y + sx * sy * z * z))

    for i in range(6):
        for s in range(5):
            expected = quad(potential, 0, 1, (i, s), epsabs=0, epsrel=1e-12, limit=200)[0]
            assert found[i, s] == pytest.approx(expected, rel=1e-11)
            assert points[i, s] == pytest.approx(potential(0.5, i, s), rel=1e-14)


def test_sites_are_moved_out_before_coordinates_are_scaled():
    """On the surface in true space: in an anisotropic medium its potential depends on the side."""
    scale = scale_of((0.2, 0.3, 0.6))
    found = rows(line_source_rows, [0, 0, -5], [0, 0, 5], [[1e-3, 0, 0], [0, 1e-3, 0]], 2.0, scale=scale)[0]
    # half length, distance and the mean of 1 / distance in scaled coordinates
    expected = [line(10 * scale[2], 5 * scale[2], 2 * scale[i]) for i in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    point = rows(point_source_rows, [0, 0, 0], [0, 0, 0], [[1e-3, 0, 0], [0, 0, -1e-3]], 2.0, scale=scale)[0]
    np.testing.assert_allclose(point, [1 / (2 * scale[0]), 1 / (2 * scale[2])], rtol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sigma", [(0.3, 0.3, 0.3), (0.2, 0.3, 0.6)])
def test_rows_have_the_same_bits_however_they_are_cut(kernel, sigma):
    rng = np.random.default_rng(6)
    starts, ends = branches(rng)
    # some inside compartments, some next to them, some far away; a number that no vector length divides
    sites = np.concatenate([starts[::7], ends[3::5] + 0.3, 300 * rng.normal(size=(14, 3))])[:57]
    radii = rng.uniform(0, 2, len(starts))

    def cut_in(size):
        parts = range(0, len(starts), size)
        return np.concatenate(
            [
                rows(kernel, starts[i : i + size], ends[i : i + size], sites, radii[i : i + size],
                     scale=scale_of(sigma))
                for i in parts
            ]
        )  # fmt: skip

    whole = cut_in(len(starts))
    assert np.isfinite(whole).all()
    for size in (1, 7, 50):
        np.testing.assert_array_equal(cut_in(size), whole)


@pytest.mark.parametrize("kernel", KERNELS)
def test_compartments_of_unknown_position_are_nan_and_leave_the_others_alone(kernel):
    starts, ends = branches(np.random.default_rng(7), 2, 4)
    sites = np.array([[0.0, 0, 0], [10, 20, 30]])
    expected = rows(kernel, starts, ends, sites, 0.5)
    starts[[2, 3]] = np.nan
    ends[[2, 3]] = np.nan
    found = rows(kernel, starts, ends, sites, np.where(np.isnan(starts[:, 0]), np.nan, 0.5))
    assert np.isnan(found[[2, 3]]).all()
    others = [0, 1, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(found[others], expected[others])


def test_no_digits_are_lost_next_to_thin_segments():
    for minimum in (1e-9, 1e-6, 1e-3):
        for across in (minimum / 2, 2 * minimum, 1e3 * minimum):
            found = one(line_source_rows, [0, 0, 0], [1000, 0, 0], [200, across, 0], minimum_distance=minimum)
            assert found == pytest.approx(line(1000, 200, max(across, minimum)), rel=1e-13)


COORDINATES = st.floats(-500, 500, allow_subnormal=False)
POINTS = st.tuples(COORDINATES, COORDINATES, COORDINATES).map(np.array)
RADII = st.floats(0, 20)


@pytest.mark.parametrize("kernel", KERNELS)
@given(start=POINTS, end=POINTS, site=POINTS, radius=RADII, sigma=st.tuples(*[st.floats(0.05, 3)] * 3))
@example(start=np.zeros(3), end=np.ones(3), site=np.ones(3), radius=0.0, sigma=(0.3,) * 3)
@example(start=np.zeros(3), end=np.full(3, 1e-200), site=np.zeros(3), radius=0.0, sigma=(0.3,) * 3)
@example(
    start=np.zeros(3), end=np.full(3, 1e-160), site=np.full(3, 1e-161), radius=1.0, sigma=(0.3, 0.2, 0.1)
)
@settings(deadline=None)
def test_every_coefficient_is_positive_and_bounded_by_its_smallest_distance(
    kernel, start, end, site, radius, sigma
):
    """Nothing is infinite: no site is nearer than the radius to any point of a compartment."""
    scale = scale_of(sigma)
    found = one(kernel, start, end, site, radius, scale=scale)
    smallest = (radius if radius > SMALLEST_RADIUS else UNKNOWN_RADIUS) * scale.min()
    length = np.linalg.norm((end - start) * scale)
    bound = 1 / smallest
    if kernel is line_source_rows and length > 2 * smallest:
        bound = line(length, length / 2, smallest)
    assert 0 < found <= bound * (1 + 1e-9)


@given(start=POINTS, end=POINTS, site=POINTS, shift=POINTS, radius=st.floats(0.1, 20))
@example(
    start=np.array([0, 0, 1e-5]),
    end=np.array([0, 350.0, 0]),
    site=np.zeros(3),
    shift=np.zeros(3),
    radius=3.0,
)
@settings(deadline=None)
def test_moved_mirrored_and_turned_round_segments_give_the_same(start, end, site, shift, radius):
    for kernel in KERNELS:
        found = one(kernel, start, end, site, radius)
        assert one(kernel, end, start, site, radius) == pytest.approx(found, rel=1e-9)
        mirror = np.array([1, -1, 1])
        assert one(kernel, mirror * start, mirror * end, mirror * site, radius) == pytest.approx(
            found, rel=1e-12
        )
        moved = one(kernel, start + shift, end + shift, site + shift, radius)
        assert moved == pytest.approx(found, rel=1e-9)


@given(start=POINTS, end=POINTS, site=POINTS, part=st.floats(0.1, 0.9))
@settings(deadline=None)
def test_the_mean_of_two_pieces_is_the_whole(start, end, site, part):
    """Weighted with their lengths, as the current spreads evenly; outside the radius."""
    middle = start + part * (end - start)
    first, second = rows(line_source_rows, [start, middle], [middle, end], site, 1e-4)[:, 0]
    if np.linalg.norm(end - start) > 1 and max(first, second) < 1:
        whole = one(line_source_rows, start, end, site, 1e-4)
        assert part * first + (1 - part) * second == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_currents_that_sum_to_zero_are_a_dipole_far_away(kernel):
    rng = np.random.default_rng(8)
    starts, ends = branches(rng)
    currents = rng.normal(size=len(starts))
    currents -= currents.mean()
    moment = currents @ ((starts + ends) / 2)
    direction = moment / np.linalg.norm(moment)
    distances = np.array([1e4, 1e5, 1e6])
    potentials = currents @ rows(kernel, starts, ends, np.outer(distances, direction))
    np.testing.assert_allclose(potentials * distances**2, np.linalg.norm(moment), rtol=0.05)
    np.testing.assert_allclose(potentials[1:] * distances[1:] ** 2, np.linalg.norm(moment), rtol=5e-3)


def test_weighted_sums_write_their_columns_only():
    values = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    out = np.full((2, 4), -1.0)
    weighted_sums(values, np.array([0, 3, 4]), np.array([0.5, 0.25, 0.25, 2]), np.array([3, 1]), out)
    np.testing.assert_array_equal(out, [[-1, 8, -1, 1.75], [-1, 16, -1, 5.75]])
