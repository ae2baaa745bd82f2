"""Coefficients by reciprocity against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.extracellular.fields import Field, Grid, read_field
from ephysflow.extracellular.reciprocity import dipole_coefficients, reciprocity_coefficients

SIGMA = 0.3
SOURCE = np.array([900.0, -300.0, 500.0])  # um
STEP = 10.0


def potential(points):
    """Of 1 nA at the source, in an infinite medium [mV/nA]."""
    return 1 / (4 * np.pi * SIGMA * np.linalg.norm(points - SOURCE, axis=-1))


def electric_field(points):
    """Minus the gradient of the potential [mV/(nA um)]."""
    away = points - SOURCE
    return away / (4 * np.pi * SIGMA * np.linalg.norm(away, axis=-1, keepdims=True) ** 3)


def axes():
    return [np.arange(-200.0, 200.1, STEP)] * 3


def nodes(along):
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)


def potential_field():
    return Field([Grid(axes(), potential(nodes(axes())))])


def dipole_field():
    values = electric_field(nodes(axes()))
    return Field([Grid(axes(), values[..., k]) for k in range(3)])


def cell(seed, count=30, size=60.0, at=(0.0, 0.0, 0.0)):
    return np.random.default_rng(seed).uniform(-size, size, size=(count, 3)) + at


def centre_of(points):
    return np.broadcast_to(points.mean(axis=0), points.shape)


def test_a_point_source_s_potential():
    points = cell(0, 200, 200.0)
    found = reciprocity_coefficients(potential_field(), points)
    # error of linear interpolation: step^2 / 8 times the second derivatives, each at most 2 V / r^2
    nearest = np.linalg.norm(nodes(axes()) - SOURCE, axis=-1).min()
    np.testing.assert_allclose(found, potential(points), rtol=3 * STEP**2 / 8 * 2 / nearest**2)


def test_a_far_cell_s_dipole():
    points = cell(1)
    found = dipole_coefficients(dipole_field(), points, centre_of(points))
    c = points.mean(axis=0)
    np.testing.assert_allclose(found, -(points - c) @ electric_field(c), rtol=1e-3, atol=1e-9)
    # developed about the centre: the rest is of second order in size / distance
    exact = potential(points) - potential(c)
    assert np.abs(found - exact).max() < np.abs(exact).max() * 0.2


def test_the_sign_is_that_of_the_potential():
    toward = np.array([[60.0, -20.0, 30.0], [-60.0, 20.0, -30.0]])
    found = dipole_coefficients(dipole_field(), toward, np.zeros((2, 3)))
    assert found[0] > 0 > found[1]
    near, far = reciprocity_coefficients(potential_field(), toward)
    assert near > far > 0


def test_coefficients_of_a_dipole_add_up_to_0_over_the_cell():
    points = cell(2)
    found = dipole_coefficients(dipole_field(), points, centre_of(points))
    assert abs(found.sum()) < 1e-13 * np.abs(found).sum()


def test_each_cell_has_the_field_at_its_own_centre():
    cells = [cell(seed, 7, 30.0, at) for seed, at in enumerate([(0, 0, 0), (120, 0, 0), (0, 100, -90)])]
    apart = [dipole_coefficients(dipole_field(), points, centre_of(points)) for points in cells]
    together = dipole_coefficients(
        dipole_field(), np.concatenate(cells), np.concatenate([centre_of(points) for points in cells])
    )
    np.testing.assert_array_equal(together, np.concatenate(apart))


@given(cut=st.integers(0, 21))
def test_rows_do_not_depend_on_the_block(cut):
    cells = [cell(seed, 7, 30.0, (40.0 * seed, 0, 0)) for seed in range(3)]
    middle, centres = np.concatenate(cells), np.concatenate([centre_of(points) for points in cells])
    dipole, monopole = dipole_field(), potential_field()
    blocks = [slice(0, cut), slice(cut, None)]
    parts = [dipole_coefficients(dipole, middle[rows], centres[rows]) for rows in blocks]
    np.testing.assert_array_equal(np.concatenate(parts), dipole_coefficients(dipole, middle, centres))
    parts = [reciprocity_coefficients(monopole, middle[rows]) for rows in blocks]
    np.testing.assert_array_equal(np.concatenate(parts), reciprocity_coefficients(monopole, middle))


def test_unknown_positions_and_places_outside_are_nan():
    points = np.array([[0.0, 0, 0], [np.nan, np.nan, np.nan], [201.0, 0, 0]])
    np.testing.assert_array_equal(
        np.isnan(reciprocity_coefficients(potential_field(), points)), [False, True, True]
    )
    centres = np.array([[5.0, 0, 0], [np.nan] * 3, [5.0, 0, 0]])
    # far compartments of a cell within the grid have a value: the field is taken at the centre
    np.testing.assert_array_equal(
        np.isnan(dipole_coefficients(dipole_field(), points, centres)), [False, True, False]
    )
    assert np.isnan(dipole_coefficients(dipole_field(), points, centres + 500)).all()


def test_no_compartments():
    none = np.empty((0, 3))
    assert reciprocity_coefficients(potential_field(), none).shape == (0,)
    assert dipole_coefficients(dipole_field(), none, none).shape == (0,)


@pytest.mark.parametrize("unit", ["V/nA", "mV/nA", "V/A"])
def test_both_methods_have_the_same_unit(tmp_path, unit):
    """A uniform field: its potential, read from a file, minus that at the centre is what the dipole gives."""
    slope = np.array([2.0, -3.0, 0.5])  # units per um
    x = np.array([-100.0, 0.0, 100.0])
    grid = nodes([x, x, x])
    current = 4.0
    per_metre = np.broadcast_to(-slope * 1e6, grid.shape)
    np.savez(tmp_path / "p.npz", x=x, y=x, z=x, potential=(50 + grid @ slope) * current, current=current)
    np.savez(tmp_path / "e.npz", x=x, y=x, z=x, electric_field=per_metre * current, current=current)
    points = cell(3)
    potentials = reciprocity_coefficients(read_field(tmp_path / "p.npz", "potential", unit), points)
    field = read_field(tmp_path / "e.npz", "electric_field", unit)
    factor = {"V/nA": 1e3, "mV/nA": 1.0, "V/A": 1e-6}[unit]
    np.testing.assert_allclose(
        dipole_coefficients(field, points, centre_of(points)),
        potentials - factor * (50 + points.mean(axis=0) @ slope),
        rtol=1e-10,
        atol=1e-12 * factor * 300,
    )
