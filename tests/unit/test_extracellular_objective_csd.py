"""Regions of objective CSD: geometry, axis, spacing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.objective_csd import csd_coefficients, csd_regions


def electrode(position, method="Disk", radius=500.0, thickness=None, csd_array="a", name="e"):
    return Electrode(
        name=name,
        array="probe",
        position=tuple(float(x) for x in position),
        layer="NA",
        region="NA",
        type=f"ObjectiveCSD_{method}",
        method=method,
        radius=None if method == "Plane" else radius,
        thickness=thickness,
        csd_array=csd_array,
    )


def along(direction, distances, **settings):
    return [
        electrode(np.array(direction) * distance, name=f"e{i}", **settings)
        for i, distance in enumerate(distances)
    ]


def turn(rng):
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def test_sphere_with_its_surface_and_without_an_axis():
    region = csd_regions([electrode((1, 2, 3), "Sphere", radius=10.0)])[0]
    assert region.axis is None
    points = np.array([[1, 2, 3], [11, 2, 3], [1, 2, 13.0001], [1 + 6, 2 + 8, 3], [7, 8, 9.0]])
    found = csd_coefficients(region, points)
    assert found.dtype == np.float64
    assert found.tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("axis", range(3))
def test_disk_and_plane_with_their_surfaces(axis):
    direction = np.eye(3)[axis]
    across = np.roll(direction, 1)
    disks = csd_regions(along(direction, [-60, 0, 60], radius=100.0))
    planes = csd_regions(along(direction, [-60, 0, 60], method="Plane"))
    np.testing.assert_array_equal(np.abs(disks[1].axis), direction)
    points = np.array([[30, 0], [30.001, 0], [-30, 100], [0, 100.001], [0, 1e6], [-31, 0]])
    points = points[:, :1] * direction + points[:, 1:] * across
    assert csd_coefficients(disks[1], points).tolist() == [1, 0, 1, 0, 0, 0]
    assert csd_coefficients(planes[1], points).tolist() == [1, 0, 1, 1, 1, 0]
    assert csd_coefficients(disks[0], points - 60 * direction).tolist() == [1, 0, 1, 0, 0, 0]


def test_an_explicit_thickness_is_a_whole_thickness():
    regions = csd_regions(along((0, 0, 1), [0, 60, 120], thickness=20.0))
    assert [region.half_thickness for region in regions.values()] == [10, 10, 10]
    assert csd_coefficients(regions[1], np.array([[0, 0, 50.0], [0, 0, 49.9]])).tolist() == [1, 0]


def test_regions_of_an_even_array_fill_space_without_overlap():
    regions = csd_regions(along((0, 1, 0), range(0, 500, 50), method="Plane"))
    points = np.random.default_rng(0).uniform([-100, -25, -100], [100, 475, 100], size=(2000, 3))
    assert (sum(csd_coefficients(region, points) for region in regions.values()) == 1).all()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2]])
def test_the_spacing_does_not_depend_on_the_order_of_the_contacts(order):
    regions = csd_regions(along((0, 1, 0), np.array([0, 100, 200, 400])[order]))
    assert regions[0].half_thickness == pytest.approx(400 / 3 / 2, rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_the_spacing_of_a_staggered_probe_is_that_of_its_rows(seed):
    """Neuropixels 1.0: two contacts in a row, rows 20 um apart; the principal component is a little askew."""
    i = np.arange(96)
    flat = np.stack([np.array([43.0, 11.0, 59.0, 27.0])[i % 4], 20.0 * (i // 2), 0.0 * i], axis=-1)
    probe = flat @ turn(np.random.default_rng(seed))
    regions = csd_regions([electrode(position) for position in probe])
    assert regions[0].half_thickness == pytest.approx(10, rel=2e-3)


def test_contacts_at_the_same_place_count_as_one():
    regions = csd_regions(along((0, 0, 1), [0, 0, 40, 40.0005, 80]))
    assert regions[0].half_thickness == pytest.approx(20, rel=1e-4)


def test_arrays_have_axes_of_their_own():
    first = along((0, 0, 1), [0, 20, 40], csd_array="a")
    second = along((1, 0, 0), [0, 50, 100], csd_array="b")
    mixed = [first[0], second[0], first[1], second[1], second[2], first[2]]
    regions = csd_regions(mixed)
    for column, one in enumerate(mixed):
        axis, half = ((0, 0, 1), 10) if one.csd_array == "a" else ((1, 0, 0), 25)
        np.testing.assert_array_equal(np.abs(regions[column].axis), axis)
        assert regions[column].half_thickness == pytest.approx(half, rel=1e-14)


def test_other_electrodes_are_left_out():
    other = electrode((5, 5, 5), "LineSource", csd_array=None)
    regions = csd_regions([other, *along((0, 0, 1), [0, 20]), other])
    assert list(regions) == [1, 2]
    assert csd_regions([other]) == {}
    assert csd_regions([]) == {}


@pytest.mark.parametrize("method", ["Disk", "Plane"])
@pytest.mark.parametrize("positions", [[(0, 0, 0)], [(1, 2, 3)] * 4, [(0, 0, 0), (0, 0, 5e-4)]])
@pytest.mark.parametrize("thickness", [None, 20.0])
def test_an_array_at_one_place_has_no_axis(method, positions, thickness):
    array = [
        electrode(position, method, thickness=thickness, name=f"name{i}")
        for i, position in enumerate(positions)
    ]
    with pytest.raises(ConfigurationError, match="'name0'.*contacts at two different places"):
        csd_regions(array)


def test_a_square_of_contacts_has_no_axis():
    square = [electrode((x, y, 7), name=f"{x}{y}") for x in (0, 40, 80) for y in (0, 40, 80)]
    with pytest.raises(ConfigurationError, match="'00', .* and 4 more: .* equally in two directions"):
        csd_regions(square)


def test_a_sphere_needs_no_array():
    assert list(csd_regions([electrode((0, 0, 0), "Sphere"), electrode((0, 0, 0), "Sphere")])) == [0, 1]


@pytest.mark.parametrize("method", ["Sphere", "Disk", "Plane"])
def test_unknown_positions_are_nan(method):
    region = csd_regions(along((0, 0, 1), [0, 20], method=method))[0]
    points = np.array([[0, 0, 0], [np.nan] * 3, [0, np.nan, 0], [1e5, 0, 1e5]])
    np.testing.assert_array_equal(csd_coefficients(region, points), [1, np.nan, np.nan, 0])


positions = st.lists(st.tuples(*[st.floats(-300, 300)] * 3), min_size=1, max_size=30)


@pytest.mark.parametrize("method", ["Sphere", "Disk", "Plane"])
@given(points=positions, cut=st.integers(0, 30))
def test_rows_do_not_depend_on_the_block(method, points, cut):
    points = np.array(points)
    region = csd_regions(along((1, 2, -1), [0, 70, 150], method=method, radius=120.0))[1]
    whole = csd_coefficients(region, points)
    assert set(whole) <= {0.0, 1.0}
    parts = [csd_coefficients(region, points[:cut]), csd_coefficients(region, points[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(seed=st.integers(0, 1000), shift=st.tuples(*[st.floats(-1e4, 1e4)] * 3))
def test_regions_turn_with_the_array(seed, shift):
    rng = np.random.default_rng(seed)
    rotation = turn(rng)
    points = rng.uniform(-200, 200, size=(50, 3))
    contacts = np.array([[0, 0, 0], [5, 0, 60], [-5, 0, 120], [0, 5, 180.0]])
    straight = csd_regions([electrode(contact, radius=90.0) for contact in contacts])
    turned = csd_regions([electrode(rotation @ contact + shift, radius=90.0) for contact in contacts])
    for column in straight:
        x, y = straight[column], turned[column]
        np.testing.assert_allclose(np.abs(rotation @ x.axis @ y.axis), 1, rtol=1e-12)
        away = points - x.centre
        height = np.abs(away @ x.axis)
        width = np.linalg.norm(away - np.outer(away @ x.axis, x.axis), axis=1)
        clear = (np.abs(height - x.half_thickness) > 1e-6) & (np.abs(width - x.radius) > 1e-6)
        expected = (height <= x.half_thickness) & (width <= x.radius)
        np.testing.assert_array_equal(csd_coefficients(x, points)[clear], expected[clear])
        moved = points @ rotation.T + shift
        np.testing.assert_array_equal(csd_coefficients(y, moved)[clear], expected[clear])
