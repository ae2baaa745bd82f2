"""Cutting a polyline into compartments of equal length."""

import numpy as np
import pytest
from extracellular_cells import place_along, random_rotation
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.extracellular.compartments import arc_length, cut

# points on a coarse lattice: steps without length and places that are met again are common
POLYLINES = st.lists(
    st.tuples(*[st.integers(-40, 40).map(lambda k: k / 4)] * 3, st.floats(0, 8, allow_subnormal=False)),
    min_size=1,
    max_size=12,
).map(lambda rows: (np.array(rows)[:, :3], np.array(rows)[:, 3]))
COUNTS = st.integers(1, 9)


def mean_diameter(arc, diameters, begin, end):
    """Mean between two places of the piecewise linear diameter: sum of trapezia, one step after the other."""
    total = 0.0
    for a, b, da, db in zip(arc[:-1], arc[1:], diameters[:-1], diameters[1:], strict=True):
        low, high = max(a, begin), min(b, end)
        if high > low:
            at = [da + (db - da) * (place - a) / (b - a) for place in (low, high)]
            total += (high - low) * (at[0] + at[1]) / 2
    return total / (end - begin)


def test_a_straight_cone():
    ends, radii = cut(np.array([[0.0, 0, 0], [0, 0, 12.0]]), np.array([4.0, 1.0]), 3)
    np.testing.assert_allclose(ends, [[0, 0, 0], [0, 0, 4], [0, 0, 8], [0, 0, 12]], atol=1e-15)
    np.testing.assert_allclose(radii, [1.75, 1.25, 0.75], rtol=1e-15)


def test_a_bent_line():
    ends, radii = cut(np.array([[5.0, 0, 0], [15, 0, 0], [15, 30, 0]]), np.array([2.0, 2.0, 2.0]), 3)
    np.testing.assert_allclose(ends, [[5, 0, 0], [15, 10 / 3, 0], [15, 50 / 3, 0], [15, 30, 0]], rtol=1e-15)
    np.testing.assert_allclose(radii, 1, rtol=1e-15)


def test_a_step_in_the_diameter():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [2, 0, 0]])
    np.testing.assert_allclose(cut(points, np.array([2.0, 2, 6, 6]), 2)[1], [1, 3], rtol=1e-15)
    np.testing.assert_allclose(cut(points, np.array([2.0, 2, 6, 6]), 1)[1], [2], rtol=1e-15)


@pytest.mark.parametrize(
    ("points", "diameters"),
    [
        ([[1.0, 2, 3]], [4.0]),
        ([[1.0, 2, 3]] * 4, [4.0, 2.0, 6.0, 4.0]),
        ([[1.0, 2, 3], [1.0, 2, 3]], [0.0, 8.0]),
        ([[0.0, 0, 0], [5e-324, 0, 0]], [4.0, 4.0]),  # the length cannot be divided
    ],
)
def test_lines_without_length(points, diameters):
    ends, radii = cut(np.array(points), np.array(diameters), 3)
    np.testing.assert_array_equal(ends, np.repeat(points[:1], 4, axis=0))
    np.testing.assert_array_equal(radii, [2, 2, 2])


@given(POLYLINES, COUNTS)
def test_pieces_have_equal_lengths_along_the_line(line, count):
    points, diameters = line
    ends, radii = cut(points, diameters, count)
    assert ends.shape == (count + 1, 3)
    np.testing.assert_array_equal(ends[[0, -1]], points[[0, -1]])
    arc = arc_length(points)
    expected = [place_along(points, arc[-1] * k / count) for k in range(count + 1)]
    np.testing.assert_allclose(ends, expected, atol=1e-11)
    assert (np.linalg.norm(np.diff(ends, axis=0), axis=1) <= arc[-1] / count + 1e-11).all()
    if arc[-1] > 0:
        edges = arc[-1] * np.arange(count + 1) / count
        means = [mean_diameter(arc, diameters, *edges[k : k + 2]) for k in range(count)]
        np.testing.assert_allclose(radii, np.array(means) / 2, rtol=1e-9, atol=1e-9)
    assert np.isfinite(radii).all()


@given(POLYLINES, COUNTS, st.integers(0, 1000), st.tuples(*[st.floats(-1e4, 1e4)] * 3))
def test_turning_and_moving_the_line_turns_and_moves_its_pieces(line, count, seed, shift):
    points, diameters = line
    rotation = random_rotation(seed)
    ends, radii = cut(points, diameters, count)
    turned, same = cut(points @ rotation.T + shift, diameters, count)
    np.testing.assert_allclose(turned, ends @ rotation.T + shift, atol=1e-9)
    np.testing.assert_allclose(same, radii, atol=1e-7)


@given(POLYLINES, COUNTS)
def test_half_as_many_pieces_are_pairs_of_pieces(line, count):
    ends, radii = cut(*line, 2 * count)
    wide, means = cut(*line, count)
    np.testing.assert_allclose(ends[::2], wide, atol=1e-11)
    np.testing.assert_allclose((radii[::2] + radii[1::2]) / 2, means, atol=1e-9)


@given(POLYLINES, COUNTS)
def test_the_other_way_round(line, count):
    points, diameters = line
    ends, radii = cut(points, diameters, count)
    back, same = cut(points[::-1], diameters[::-1], count)
    np.testing.assert_allclose(back[::-1], ends, atol=1e-11)
    np.testing.assert_allclose(same[::-1], radii, atol=1e-9)
