"""Field files: both layouts, units, damage; interpolation."""

import contextlib
import io
import struct
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.extracellular.fields import Field, Grid, read_field

AXES = {  # um; steps are not equal
    "x": np.array([-100.0, -40.0, 0.0, 70.0, 100.0]),
    "y": np.array([-50.0, 10.0, 60.0, 90.0]),
    "z": np.array([0.0, 30.0, 80.0]),
}
CURRENT = 2.0
POTENTIAL = "EM Potential(x,y,z,f0)"
ELECTRIC = "EM E(x,y,z,f0)"
POINTS = np.array([[-100.0, 10.0, 30.0], [3.0, 44.5, 51.0], [60.5, -19.0, 16.0], [85.0, 75.0, 55.0]])


def linear(x, y, z):
    """A potential in the file's unit, times the current; x, y and z in um."""
    return CURRENT * (5 + 0.25 * x - 0.5 * y + 2 * z)


def slopes(component, x, y, z):
    """A linear electric field, times the current; x, y and z in um."""
    return CURRENT * ((component + 1) * 100 + x - (component + 2) * y + 3 * z)


def mesh(*axes):
    return np.meshgrid(*axes, indexing="ij")


def plain(**changes):
    grid = mesh(*AXES.values())
    electric = np.stack([slopes(k, *grid) for k in range(3)], axis=-1)
    parts = AXES | {"potential": linear(*grid), "electric_field": electric, "current": CURRENT} | changes
    return {name: value for name, value in parts.items() if value is not None}


def write_hdf5(path, parts, units=None):
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            file[name] = value
        for name, unit in (units or {}).items():
            file[name].attrs["units"] = unit
    return path


def write_npz(path, parts, compressed=True):
    (np.savez_compressed if compressed else np.savez)(path, **parts)
    return path


def complex_pair(real):
    return np.stack([real, np.full_like(real, 7.0)], axis=-1)


def sim4life(name, group="fg0", **changes):
    """Parts of an export; axes in m."""
    axes = list(AXES.values())
    base = f"FieldGroups/{group}/AllFields/{name}/_Object/Snapshots/0"
    parts = {f"Meshes/mesh0/axis_{axis}": values / 1e6 for axis, values in AXES.items()}
    parts["CurrentApplied"] = CURRENT
    if name == POTENTIAL:
        parts[f"{base}/comp0"] = complex_pair(linear(*mesh(*axes)))
    else:
        for k in range(3):
            middles = [(a[1:] + a[:-1]) / 2 if i == k else a for i, a in enumerate(axes)]
            parts[f"{base}/comp{k}"] = complex_pair(slopes(k, *mesh(*middles)))
    parts |= {key.replace("__", "/").replace("BASE", base): value for key, value in changes.items()}
    return {key: value for key, value in parts.items() if value is not None}


@pytest.fixture(params=["plain_hdf5", "plain_npz", "sim4life"])
def potential_file(request, tmp_path):
    path = tmp_path / "field.any"
    if request.param == "plain_hdf5":
        return write_hdf5(path, plain(electric_field=None))
    if request.param == "plain_npz":
        with path.open("wb") as stream:
            np.savez(stream, **plain(electric_field=None))
        return path
    return write_hdf5(path, sim4life(POTENTIAL))


@pytest.fixture(params=["plain_hdf5", "plain_npz", "sim4life"])
def electric_file(request, tmp_path):
    if request.param == "plain_hdf5":
        return write_hdf5(tmp_path / "field.h5", plain(potential=None))
    if request.param == "plain_npz":
        return write_npz(tmp_path / "field.npz", plain(potential=None))
    return write_hdf5(tmp_path / "field.h5", sim4life(ELECTRIC))


@pytest.mark.parametrize(("unit", "factor"), [("V/nA", 1e3), ("mV/nA", 1.0), ("V/A", 1e-6)])
def test_a_linear_potential_is_exact_in_all_units(potential_file, unit, factor):
    found = read_field(potential_file, "potential", unit).at(POINTS)
    assert found.shape == (4, 1)
    np.testing.assert_allclose(found[:, 0], factor * linear(*POINTS.T) / CURRENT, rtol=1e-13)


@pytest.mark.parametrize(("unit", "factor"), [("V/nA", 1e-3), ("mV/nA", 1e-6), ("V/A", 1e-12)])
def test_a_linear_electric_field_is_exact_in_all_units(electric_file, unit, factor):
    inside = POINTS[1:3]  # of the middles of edges too
    found = read_field(electric_file, "electric_field", unit).at(inside)
    expected = np.stack([slopes(k, *inside.T) for k in range(3)], axis=-1) * factor / CURRENT
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("unit", "length"), [("um", 1.0), ("mm", 1e3), ("m", 1e6)])
def test_axes_of_a_plain_grid_have_units(tmp_path, unit, length):
    parts = plain(**{name: values / length for name, values in AXES.items()})
    path = write_hdf5(tmp_path / "f.h5", parts, dict.fromkeys("xyz", unit))
    found = read_field(path, "potential", "mV/nA").at(POINTS[1:])
    np.testing.assert_allclose(found[:, 0], linear(*POINTS[1:].T) / CURRENT, rtol=1e-12)


def test_an_unknown_unit_of_an_axis_is_refused(tmp_path):
    path = write_hdf5(tmp_path / "f.h5", plain(), {"y": "inch"})
    with pytest.raises(SimulationError, match=r"f.h5: /y has the unit 'inch'; allowed are um, mm, m"):
        read_field(path, "potential", "V/nA")


def test_an_unknown_unit_of_the_values_is_refused(tmp_path):
    path = write_hdf5(tmp_path / "f.h5", plain())
    with pytest.raises(ConfigurationError, match=r"'V/m'; allowed are V/nA, mV/nA, V/A"):
        read_field(path, "potential", "V/m")


def test_values_at_nodes_are_the_file_s_own_up_to_the_last_plane():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 4, 3))
    field = Field([Grid(list(AXES.values()), values)])
    nodes = np.stack(mesh(*AXES.values()), axis=-1).reshape(-1, 3)
    np.testing.assert_array_equal(field.at(nodes)[:, 0], values.ravel())


def test_outside_is_nan_and_a_point_at_nan_is_not_outside():
    field = Field([Grid(list(AXES.values()), np.ones((5, 4, 3)))])
    points = np.array(
        [[0, 0, 0], [0, 0, 80.1], [-101, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0], [np.nan, 0, 99]]
    )
    assert field.outside(points).tolist() == [False, True, True, False, True, True]
    np.testing.assert_array_equal(np.isnan(field.at(points)[:, 0]), [False, True, True, True, True, True])
    assert not field.outside(np.full((2, 3), np.nan)).any()


def test_a_staggered_component_ends_half_a_cell_earlier(tmp_path):
    field = read_field(write_hdf5(tmp_path / "e.h5", sim4life(ELECTRIC)), "electric_field", "V/nA")
    points = np.array(
        [[-70.0, 0, 40], [-70.1, 0, 40], [0, -20, 40], [0, -20.1, 40], [0, 0, 55], [0, 0, 55.1]]
    )
    assert field.outside(points).tolist() == [False, True] * 3


@given(
    points=st.lists(st.tuples(*[st.floats(-120, 120)] * 3), min_size=1, max_size=40),
    cut=st.integers(0, 40),
    seed=st.integers(0, 10),
)
def test_a_point_s_value_does_not_depend_on_the_block(points, cut, seed):
    values = np.random.default_rng(seed).normal(size=(5, 4, 3))
    field = Field([Grid(list(AXES.values()), values)])
    points = np.array(points)
    whole = field.at(points)
    np.testing.assert_array_equal(np.concatenate([field.at(points[:cut]), field.at(points[cut:])]), whole)
    np.testing.assert_array_equal(np.concatenate([field.at(point[np.newaxis]) for point in points]), whole)


@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(-50, 90), st.floats(0, 80)), min_size=1, max_size=20)
)
def test_interpolation_agrees_with_scipy(points):
    values = np.random.default_rng(3).normal(size=(5, 4, 3))
    points = np.array(points)
    expected = RegularGridInterpolator(tuple(AXES.values()), values)(points)
    found = Field([Grid(list(AXES.values()), values)]).at(points)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_interpolation_stays_between_the_values_of_the_cell():
    values = np.random.default_rng(5).uniform(1, 2, size=(5, 4, 3))
    points = np.random.default_rng(6).uniform([-100, -50, 0], [100, 90, 80], size=(500, 3))
    found = Field([Grid(list(AXES.values()), values)]).at(points)
    assert found.min() >= values.min()
    assert found.max() <= values.max()


@pytest.mark.parametrize("dtype", ["f4", "i4", ">f8"])
def test_other_types_of_numbers_are_read(tmp_path, dtype):
    parts = plain(potential=plain()["potential"].astype(dtype))
    expected = parts["potential"][2, 1, 1] / CURRENT
    for path in (write_hdf5(tmp_path / "f.h5", parts), write_npz(tmp_path / "f.npz", parts)):
        assert read_field(path, "potential", "mV/nA").at(np.array([[0.0, 10.0, 30.0]]))[0, 0] == expected


def test_fortran_order_and_stored_members_of_an_npz(tmp_path):
    parts = plain(potential=np.asfortranarray(plain()["potential"]))
    path = write_npz(tmp_path / "f.npz", parts, compressed=False)
    np.testing.assert_allclose(
        read_field(path, "potential", "mV/nA").at(POINTS)[:, 0], linear(*POINTS.T) / CURRENT, rtol=1e-13
    )


def test_of_several_field_groups_the_last_with_the_quantity_and_of_meshes_the_first(tmp_path):
    old = {key: np.asarray(value) * 3 for key, value in sim4life(POTENTIAL, "a").items() if "comp" in key}
    other = {key: value for key, value in sim4life(ELECTRIC, "z").items() if "comp" in key}
    parts = sim4life(POTENTIAL, "b") | old | other
    parts["Meshes/mesh1/axis_x"] = [0.0, 1.0]
    found = read_field(write_hdf5(tmp_path / "f.h5", parts), "potential", "mV/nA").at(POINTS)[:, 0]
    np.testing.assert_allclose(found, linear(*POINTS.T) / CURRENT, rtol=1e-12)


def test_axes_may_lie_deeper_in_the_mesh(tmp_path):
    parts = {key.replace("mesh0", "mesh0/_Object"): value for key, value in sim4life(POTENTIAL).items()}
    found = read_field(write_hdf5(tmp_path / "f.h5", parts), "potential", "mV/nA").at(POINTS)[:, 0]
    np.testing.assert_allclose(found, linear(*POINTS.T) / CURRENT, rtol=1e-12)


def test_the_other_quantity_is_named(tmp_path):
    files = [
        (write_hdf5(tmp_path / "p.h5", plain(electric_field=None)), "potential"),
        (write_npz(tmp_path / "p.npz", plain(electric_field=None)), "potential"),
        (write_hdf5(tmp_path / "s.h5", sim4life(POTENTIAL)), "potential"),
        (write_hdf5(tmp_path / "e.h5", plain(potential=None)), "electric_field"),
        (write_hdf5(tmp_path / "t.h5", sim4life(ELECTRIC)), "electric_field"),
    ]
    for path, held in files:
        needed = {"potential": "electric_field", "electric_field": "potential"}[held]
        with pytest.raises(SimulationError, match="DipoleReciprocity an electric field") as caught:
            read_field(path, needed, "V/nA")
        words = {"potential": "a potential", "electric_field": "an electric field"}
        assert f"{path} holds {words[held]}, but {words[needed]} is needed" in str(caught.value)


GRID = linear(*mesh(*AXES.values()))
NOT_FINITE = np.where(np.arange(GRID.size).reshape(GRID.shape) < 2, np.nan, GRID)

PLAIN_FAULTS = {
    "no potential": ({"potential": None, "electric_field": None}, r"potential is missing"),
    "no axis": ({"y": None}, r"y is missing"),
    "no current": ({"current": None}, r"current is missing"),
    "transposed": ({"potential": GRID.T}, r"potential has shape \(3, 4, 5\); the axes need \(5, 4, 3\)"),
    "flat": ({"potential": GRID.ravel()}, r"shape \(60,\); needed are numbers in 3 dim"),
    "text": ({"potential": np.full((5, 4, 3), b"1")}, r"needed are numbers"),
    "complex": ({"potential": GRID + 0j}, r"needed are numbers"),
    "NaN": ({"potential": NOT_FINITE}, r"potential: 2 of 60 values are not finite"),
    "huge": ({"potential": np.full_like(GRID, np.inf)}, r"values are not finite"),
    "descending": ({"x": AXES["x"][::-1].copy()}, r"x must be finite and ascend strictly"),
    "twice the same": ({"x": np.array([0.0, 1, 1, 2, 3])}, r"x must be finite and ascend strictly"),
    "axis NaN": ({"z": np.array([0.0, np.nan, 2])}, r"z must be finite and ascend strictly"),
    "axis infinite": ({"z": np.array([0.0, 1, np.inf])}, r"z must be finite and ascend strictly"),
    "axis too long": ({"z": np.array([-1.7e308, 0.0, 1.7e308])}, None),
    "one plane": (
        {"z": np.array([1.0]), "potential": GRID[:, :, :1]},
        r"z has 1 points; needed are at least 2",
    ),
    "empty axis": ({"z": np.empty(0), "potential": GRID[:, :, :0]}, r"z has 0 points"),
    "axis of two dimensions": ({"x": np.ones((5, 1))}, r"needed are numbers in 1 dim"),
    "current 0": ({"current": 0.0}, r"current is 0.0; needed is a finite current that is not 0"),
    "current NaN": ({"current": np.nan}, r"current is nan; needed"),
    "current array": ({"current": np.array([1.0])}, r"needed are numbers in 0 dim"),
    "current tiny": ({"current": 5e-324}, r"values are not finite"),
}


@pytest.mark.parametrize("kind", ["h5", "npz"])
@pytest.mark.parametrize("fault", PLAIN_FAULTS)
def test_faults_of_a_plain_grid(tmp_path, kind, fault):
    changes, message = PLAIN_FAULTS[fault]
    path = tmp_path / f"field.{kind}"
    (write_hdf5 if kind == "h5" else write_npz)(path, plain(**changes))
    if message is None:
        # so large that it is useless, but not wrong
        assert np.isfinite(read_field(path, "potential", "mV/nA").at(np.zeros((1, 3)))).all()
        return
    with pytest.raises(SimulationError, match=message) as caught:
        read_field(path, "potential", "mV/nA")
    assert str(path) in str(caught.value)


SIM4LIFE_FAULTS = {
    "not staggered": (
        ELECTRIC,
        {"BASE__comp1": np.zeros((5, 4, 3, 2))},
        r"comp1 has shape \(5, 4, 3, 2\); the axes need \(5, 3, 3, 2\)",
    ),
    "real only": (
        POTENTIAL,
        {"BASE__comp0": GRID},
        r"comp0 .* shape \(5, 4, 3\); needed are numbers in 4 dim",
    ),
    "no component": (ELECTRIC, {"BASE__comp2": None}, r"comp2 is missing"),
    "no current": (POTENTIAL, {"CurrentApplied": None}, r"CurrentApplied is missing"),
    "current 0": (POTENTIAL, {"CurrentApplied": 0}, r"CurrentApplied is 0.0"),
    "no axis": (POTENTIAL, {"Meshes__mesh0__axis_z": None}, r"axis_z is missing"),
    "no first axis": (POTENTIAL, {"Meshes__mesh0__axis_x": None}, r"axis_x is missing"),
    "descending": (
        POTENTIAL,
        {"Meshes__mesh0__axis_z": [3.0, 2.0, 1.0]},
        r"axis_z must be finite and ascend",
    ),
    "two points": (
        ELECTRIC,
        {"Meshes__mesh0__axis_x": [0.0, 1.0]},
        r"axis_x has 2 points; an electric field needs 3",
    ),
    "NaN": (POTENTIAL, {"BASE__comp0": complex_pair(NOT_FINITE)}, r"comp0: 2 of 60 values are not finite"),
}


@pytest.mark.parametrize("fault", SIM4LIFE_FAULTS)
def test_faults_of_an_export(tmp_path, fault):
    name, changes, message = SIM4LIFE_FAULTS[fault]
    path = write_hdf5(tmp_path / "field.h5", sim4life(name, **changes))
    with pytest.raises(SimulationError, match=message) as caught:
        read_field(path, "potential" if name == POTENTIAL else "electric_field", "V/nA")
    assert str(path) in str(caught.value)


def test_an_export_without_a_field_or_mesh(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["CurrentApplied"] = 1.0
        file.create_group("FieldGroups")
    with pytest.raises(SimulationError, match=r"EM Potential\(x,y,z,f0\)/_Object/Snapshots/0 is missing"):
        read_field(path, "potential", "V/nA")
    with h5py.File(path, "a") as file:
        file["FieldGroups"].create_group(f"a/AllFields/{POTENTIAL}/_Object/Snapshots/0")
    with pytest.raises(SimulationError, match="Meshes is missing"):
        read_field(path, "potential", "V/nA")
    with h5py.File(path, "a") as file:
        file.create_group("Meshes")
    with pytest.raises(SimulationError, match="holds no mesh"):
        read_field(path, "potential", "V/nA")


@pytest.mark.parametrize(
    "content", [b"", b"x,y,z\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]
)
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "field.h5"
    path.write_bytes(content)
    with pytest.raises(SimulationError, match="neither HDF5 nor npz|is not HDF5|is not an npz"):
        read_field(path, "potential", "V/nA")


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.h5", tmp_path):
        with pytest.raises(SimulationError, match=f"field file {path} cannot be read"):
            read_field(path, "potential", "V/nA")


def test_hdf5_that_declares_more_than_it_holds(tmp_path):
    path = write_hdf5(tmp_path / "bomb.h5", plain(potential=None, electric_field=None))
    with h5py.File(path, "a") as file:
        file.create_dataset("potential", (10**5, 10**5, 10**4), "f8", chunks=(100, 100, 100))
    with pytest.raises(
        SimulationError, match="potential declares .* values, but the file does not hold them"
    ):
        read_field(path, "potential", "V/nA")


def npy(shape, dtype="<f8", content=b"", order=False):
    """Bytes of an array that may hold less than it declares."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": order, "shape": shape})
    return stream.getvalue() + content


def npz_with(path, potential, method=zipfile.ZIP_DEFLATED):
    write_npz(path, plain(potential=None, electric_field=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("potential.npy", potential, method)
    return path


NPZ_FAULTS = {
    "zeros without end": (npy((5, 4, 3), content=b"\0" * 10**7), "the file does not hold them"),
    "more declared than there": (npy((5, 4, 3), content=b"\0" * 100), "the file does not hold them"),
    "wrong shape of much memory": (npy((10**6, 10**6, 10**6)), "the axes need"),
    "negative": (npy((5, -4, 3)), "the axes need|not an npz"),
    "objects": (npy((5, 4, 3), "|O"), "needed are numbers"),
    "no header": (b"1234567890", "is not an npz file, or is damaged"),
    "code in the header": (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 30) + b"__import__('os').getcwd()     ",
        "is not an npz file, or is damaged",
    ),
    "version": (b"\x93NUMPY\x07\x00" + b"\0" * 90, r"version \(7, 0\)"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_damaged_members_of_an_npz(tmp_path, fault):
    content, message = NPZ_FAULTS[fault]
    with pytest.raises(SimulationError, match=message):
        read_field(npz_with(tmp_path / "f.npz", content), "potential", "V/nA")


def test_other_compression_of_an_npz_is_refused(tmp_path):
    content = npy((5, 4, 3), content=bytes(480))
    path = npz_with(tmp_path / "f.npz", content, zipfile.ZIP_BZIP2)
    with pytest.raises(SimulationError, match="another method than deflate"):
        read_field(path, "potential", "V/nA")


def test_a_wrong_checksum_of_an_npz_is_found(tmp_path):
    content = npy((5, 4, 3), content=GRID.tobytes())
    path = npz_with(tmp_path / "f.npz", content, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    at = whole.index(GRID.tobytes())
    path.write_bytes(whole[: at + 8] + b"\1" + whole[at + 9 :])
    with pytest.raises(SimulationError, match="CRC"):
        read_field(path, "potential", "V/nA")


def mutated(data, content):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    return bytes(content)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    return {
        # without units: libhdf5 itself crashes on damaged text of variable length
        "h5": write_hdf5(folder / "a.h5", plain(electric_field=None)).read_bytes(),
        "npz": write_npz(folder / "a.npz", plain(electric_field=None)).read_bytes(),
        "stored": write_npz(folder / "b.npz", plain(electric_field=None), compressed=False).read_bytes(),
        "sim4life": write_hdf5(folder / "s.h5", sim4life(POTENTIAL)).read_bytes(),
    }


@pytest.mark.parametrize("kind", ["h5", "npz", "stored", "sim4life"])
@given(data=st.data())
def test_mutated_bytes_give_one_kind_of_error(small_files, tmp_path_factory, kind, data):
    path = tmp_path_factory.getbasetemp() / f"mutated_{kind}"
    path.write_bytes(mutated(data, small_files[kind]))
    with contextlib.suppress(SimulationError):
        field = read_field(path, "potential", "V/nA")
        assert all(np.isfinite(grid.values).all() for grid in field.grids)
