"""Where cells are and how they are turned: quaternions, angles, and what is wrong with them."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ephysflow.errors import SimulationError
from ephysflow.extracellular.placement import are_recentred, placed, positions, rotations
from ephysflow.sonata.nodes import Population

QUARTER = np.pi / 2


@pytest.fixture
def population(tmp_path):
    def make(**properties):
        n = len(next(iter(properties.values())))
        with h5py.File(tmp_path / "nodes.h5", "w") as file:
            nodes = file.create_group("nodes/a")
            nodes["node_type_id"] = np.zeros(n, dtype="i8")
            for name, values in properties.items():
                nodes[f"0/{name}"] = values
        return Population(tmp_path / "nodes.h5", None, "a")

    return make


def orientation(w, x, y, z):
    return {
        f"orientation_{k}": np.atleast_1d(v).astype(float) for k, v in zip("wxyz", (w, x, y, z), strict=True)
    }


def angles(**of_axes):
    return {f"rotation_angle_{axis}axis": np.atleast_1d(v).astype(float) for axis, v in of_axes.items()}


def turned(population, point):
    """Return where a point of the first node's morphology points to."""
    return rotations(population, np.array([0]))[0] @ point


def test_nothing_is_turned_without_properties(population):
    found = rotations(population(x=[0.0, 1.0]), np.array([0, 1, 1]))
    np.testing.assert_array_equal(found, [np.eye(3)] * 3)


@pytest.mark.parametrize(
    ("quaternion", "expected"),
    [
        ((1, 0, 0, 0), (1, 2, 3)),
        ((1, 1, 0, 0), (1, -3, 2)),  # a quarter turn about x
        ((1, 0, 1, 0), (3, 2, -1)),
        ((1, 0, 0, 1), (-2, 1, 3)),
        ((1, 1, 1, 1), (3, 1, 2)),  # a third of a turn about the diagonal
        ((0, 0, 0, 5), (-1, -2, 3)),
    ],
)
@pytest.mark.parametrize("size", [1, -1, 1e-200, 1e200])
def test_quaternions_of_any_length(population, quaternion, expected, size):
    found = turned(population(**orientation(*(size * np.array(quaternion)))), (1, 2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-15 * 4)


@pytest.mark.parametrize(
    ("of_axes", "expected"),
    [
        ({"x": QUARTER}, (1, -3, 2)),
        ({"y": QUARTER}, (3, 2, -1)),
        ({"z": QUARTER}, (-2, 1, 3)),
        # SONATA developer guide: first about z, then y, then x, all about the axes of the circuit
        ({"z": QUARTER, "y": QUARTER}, (3, 1, 2)),
        ({"z": QUARTER, "x": QUARTER}, (-2, -3, 1)),
        ({"y": QUARTER, "x": QUARTER}, (3, 1, 2)),
    ],
)
def test_angles(population, of_axes, expected):
    np.testing.assert_allclose(turned(population(**angles(**of_axes)), (1, 2, 3)), expected, atol=1e-15 * 4)


def test_angles_of_many_nodes_one_rotation_after_the_other(population):
    x, y, z = np.random.default_rng(1).uniform(-4, 4, (3, 20))
    rows = np.array([3, 7, 19, 7])
    found = rotations(population(**angles(x=x, y=y, z=z)), rows)
    for matrix, row in zip(found, rows, strict=True):
        p = np.array([1.0, -2.0, 0.5])
        for axis, of_nodes in (("z", z), ("y", y), ("x", x)):
            p = Rotation.from_euler(axis, of_nodes[row]).apply(p)
        np.testing.assert_allclose(matrix @ [1.0, -2.0, 0.5], p, atol=1e-14)


def test_quaternions_count_more_than_angles(population):
    np.testing.assert_allclose(
        turned(population(**orientation(1, 0, 0, 0), **angles(z=1)), (1, 2, 3)), (1, 2, 3)
    )


@given(
    parts=st.lists(
        st.floats(-1e3, 1e3).filter(lambda v: v == 0 or abs(v) > 1e-3), min_size=4, max_size=4
    ).filter(any)
)
def test_quaternions_against_scipy(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "quaternion_nodes.h5"
    with h5py.File(path, "w") as file:
        file["nodes/a/node_type_id"] = [0]
        for name, values in orientation(*parts).items():
            file[f"nodes/a/0/{name}"] = values
    (found,) = rotations(Population(path, None, "a"), np.array([0]))
    expected = Rotation.from_quat([*parts[1:], parts[0]]).as_matrix()
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            orientation([1, 0], [0, 0], [0, 0], [0, 0]),
            "population 'a': the orientation of node 1 is all zero",
        ),
        (orientation([1, np.nan], [0, 0], [0, 0], [0, 0]), "orientation_w of node 1 is not a finite number"),
        (orientation([1, 1], [0, 0], [0, np.inf], [0, 0]), "orientation_y of node 1 is not a finite number"),
        (angles(z=[0, np.nan]), "rotation_angle_zaxis of node 1 is not a finite number"),
        (
            {k: v for k, v in orientation([1, 1], [0, 0], [0, 0], [0, 0]).items() if k != "orientation_y"},
            "has orientation_w, orientation_x, orientation_z, but an orientation needs orientation_w, orientation_x, ",
        ),
        ({"rotation_angle_xaxis": ["a", "b"]}, "property 'rotation_angle_xaxis' is not a number"),
    ],
)
def test_bad_orientations(population, properties, message):
    nodes = population(**properties)
    with pytest.raises(SimulationError, match=message):
        rotations(nodes, np.array([0, 1]))


def test_a_bad_node_that_is_not_asked_for_is_no_matter(population):
    nodes = population(**orientation([1, 0], [0, 0], [0, 0], [0, 0]))
    np.testing.assert_array_equal(rotations(nodes, np.array([0])), [np.eye(3)])


def test_positions(population):
    nodes = population(x=[1.0, 2, 3], y=[4.0, 5, 6], z=np.array([7, 8, 9], dtype="f4"))
    found = positions(nodes, np.array([2, 0]))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[3, 6, 9], [1, 4, 7]])
    assert positions(nodes, np.array([], dtype=int)).shape == (0, 3)
    assert rotations(nodes, np.array([], dtype=int)).shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"x": [1.0], "y": [1.0]}, "population 'a' has no property 'z'; it has x, y"),
        ({"x": [1.0], "y": [np.nan], "z": [1.0]}, "population 'a': y of node 0 is not a finite number"),
    ],
)
def test_bad_positions(population, properties, message):
    nodes = population(**properties)
    with pytest.raises(SimulationError, match=message):
        positions(nodes, np.array([0]))


def test_placed_is_turned_then_moved():
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = placed(np.array([[1.0, 2, 3], [0, 0, 0]]), quarter, np.array([10.0, 20, 30]))
    np.testing.assert_array_equal(found, [[8, 21, 33], [10, 20, 30]])
    assert placed(np.empty((0, 3)), quarter, np.zeros(3)).shape == (0, 3)


def test_a_point_is_at_the_same_place_whatever_it_is_placed_with():
    rng = np.random.default_rng(2)
    points, position = rng.normal(0, 300, (1001, 3)), rng.normal(0, 5e3, 3)
    rotation = Rotation.random(random_state=3).as_matrix()
    together = placed(points, rotation, position)
    for part in (slice(0, 1), slice(5, 12), slice(1, None, 3)):
        np.testing.assert_array_equal(placed(points[part], rotation, position), together[part])
    np.testing.assert_allclose(together, points @ rotation.T + position, rtol=1e-12)


def test_which_cells_are_recentred(population):
    node = np.array([0])
    assert are_recentred(population(x=[0.0]), node).tolist() == [True]
    assert are_recentred(population(**angles(x=0.1)), node).tolist() == [True]
    assert are_recentred(population(**orientation(1, 0, 0, 0)), node).tolist() == [False]
    mixed = population(**orientation([1, 1], [0, 0], [0, 0], [0, 0]), recenter=[1, 0])
    assert are_recentred(mixed, np.array([0, 1])).tolist() == [True, False]
