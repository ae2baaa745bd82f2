"""BlueRecording's coefficients by reciprocity and objective CSD, from its own positions; golden ones are V/nA."""

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.fields import read_field
from ephysflow.extracellular.objective_csd import csd_coefficients, csd_regions
from ephysflow.extracellular.reciprocity import dipole_coefficients, reciprocity_coefficients

MILLIVOLTS = 1e3
DEFAULT_RADIUS = {"Sphere": 10.0, "Disk": 500.0, "Plane": None}

POSITIONS = {
    "synth3": ["0/positions0"],
    "synth3_mpi": ["0/positions0", "0/positions1", "1/positions2"],
    "single_L5": ["0/positions0"],
}


@pytest.fixture
def golden(shared):
    return shared / "golden/extracellular"


def midpoints(golden, case):
    """Return (C, 3) midpoints as the reference has them, and (C,) node ids: end points, the soma as it is."""
    found, nodes = [], []
    for name in POSITIONS[case]:
        with np.load(golden / case / "positions" / f"{name}.npz") as file:
            xyz, node, section = file["xyz"], file["node_id"], file["section_id"]
        borders = np.flatnonzero((np.diff(node) != 0) | (np.diff(section) != 0)) + 1
        for rows in np.split(np.arange(len(xyz)), borders):
            points = xyz[rows]
            found.append(points if section[rows[0]] == 0 else (points[1:] + points[:-1]) / 2)
            nodes.append(np.full(len(found[-1]), node[rows[0]]))
    return np.concatenate(found), np.concatenate(nodes)


def factors(golden, name):
    with h5py.File(golden / name) as file:
        population = next(key for key in file["electrodes"] if "scaling_factors" in file["electrodes"][key])
        return file[f"electrodes/{population}/scaling_factors"][()]


def centres_of(points, nodes):
    """Return (C, 3) the mean of the midpoints of each one's own cell."""
    found = np.empty_like(points)
    for node in np.unique(nodes):
        found[nodes == node] = points[nodes == node].mean(axis=0)
    return found


def csd_electrodes(path, indices=None):
    """Return a table's electrodes; the reference's thickness is half of ours (defect 8)."""
    found = []
    with open(path, newline="") as stream:
        for row, values in enumerate(csv.DictReader(stream)):
            kind = values["type"]
            method, *numbers = kind.removeprefix("ObjectiveCSD_").split("_")
            numbers = [float(number) for number in numbers]
            radius = DEFAULT_RADIUS.get(method)
            if method in ("Sphere", "Disk") and numbers:
                radius = numbers.pop(0)
            array = kind if indices is None else next((i for i in indices if row in range(*i)), None)
            found.append(
                Electrode(
                    name=values[""],
                    array="probe",
                    position=tuple(float(values[axis]) for axis in "xyz"),
                    layer=values["layer"],
                    region=values["region"],
                    type=kind,
                    method=method,
                    radius=radius,
                    thickness=2 * numbers[0] if numbers else None,
                    csd_array=str(array) if kind.startswith("ObjectiveCSD") else None,
                )
            )
    return found


@pytest.mark.parametrize(
    ("case", "file", "column"),
    [
        ("synth3", "synth3/coeffs.h5", 10),
        ("synth3_mpi", "synth3_mpi/coeffs.h5", 10),
        ("single_L5", "single_L5/coeffs_distant.h5", 0),
        ("single_L5", "single_L5/coeffs_close.h5", 0),
    ],
)
def test_reciprocity(golden, case, file, column):
    field = read_field(golden / case.removesuffix("_mpi") / "pot.h5", "potential", "V/nA")
    points, _ = midpoints(golden, case)
    expected = factors(golden, file)[:, column] * MILLIVOLTS
    np.testing.assert_allclose(reciprocity_coefficients(field, points), expected, rtol=1e-10, atol=0)


def dipoles(golden, case):
    field = read_field(golden / case.removesuffix("_mpi") / "efield.h5", "electric_field", "V/nA")
    points, nodes = midpoints(golden, case)
    return dipole_coefficients(field, points, centres_of(points, nodes))


@pytest.mark.parametrize("file", ["coeffs_distant.h5", "coeffs_close.h5"])
def test_dipole_of_one_cell(golden, file):
    found = dipoles(golden, "single_L5")
    expected = factors(golden, f"single_L5/{file}")[:, 1] * MILLIVOLTS
    # what remains of differences of positions of thousands of um
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


def test_dipole_of_a_cell_with_a_rank_of_its_own(golden):
    """One cell per rank: the reference's centre, the mean over the rank, is that of the cell."""
    found = dipoles(golden, "synth3_mpi")
    expected = factors(golden, "synth3_mpi/coeffs.h5")[:, 11] * MILLIVOLTS
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


def test_dipole_of_cells_that_share_a_rank_differs(golden):
    """Defect 3: the reference's centre is the mean over all cells of the rank; ours is each cell's own."""
    points, nodes = midpoints(golden, "synth3")
    expected = factors(golden, "synth3/coeffs.h5")[:, 11] * MILLIVOLTS
    found = dipoles(golden, "synth3")
    np.testing.assert_array_equal(found, dipoles(golden, "synth3_mpi"))
    for node in np.unique(nodes):
        assert np.abs(found - expected)[nodes == node].max() > 0.3 * np.abs(found[nodes == node]).max()
    # with the reference's centre the reference's values come out
    field = read_field(golden / "synth3/efield.h5", "electric_field", "V/nA")
    shared_centre = np.broadcast_to(points.mean(axis=0), points.shape)
    np.testing.assert_allclose(
        dipole_coefficients(field, points, shared_centre),
        expected,
        rtol=1e-10,
        atol=1e-12 * np.abs(expected).max(),
    )


@pytest.mark.parametrize(
    ("case", "table", "file", "indices", "columns"),
    [
        ("synth3", "synth3_csdidx/electrodes.csv", "synth3_csdidx/coeffs.h5", [(1, 4), (4, 8)], 7),
        ("single_L5", "single_L5/electrodes_csd.csv", "single_L5/coeffs_csd.h5", None, 8),
    ],
)
def test_objective_csd(golden, case, table, file, indices, columns):
    points, _ = midpoints(golden, case)
    expected = factors(golden, file)
    regions = csd_regions(csd_electrodes(golden / table, indices))
    assert len(regions) == columns
    for column, region in regions.items():
        np.testing.assert_array_equal(csd_coefficients(region, points), expected[:, column], str(column))
    assert expected[:, list(regions)].any()


def spacing_as_the_reference_has_it(electrodes, method):
    """Mean distance of neighbours, in the order of the table, of all electrodes of one shape."""
    positions = np.array([electrode.position for electrode in electrodes if electrode.method == method])
    distances = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return distances[distances > 1e-3].mean()


@pytest.mark.parametrize("case", ["synth3", "synth3_mpi"])
def test_objective_csd_of_several_types_at_the_same_contacts(golden, case):
    """Three contacts with every type; the reference's default thickness is too large (defect 8).

    It makes one array of all disks, whatever their radius and thickness, and one of all planes, and takes the steps
    back from the last contact to the first for spacings. Ours are the spacings of the contacts, whose pitch is 60 um.
    """
    points, _ = midpoints(golden, case)
    expected = factors(golden, f"{case}/coeffs.h5")
    electrodes = csd_electrodes(golden / "synth3/electrodes.csv")
    regions = csd_regions(electrodes)
    assert len(regions) == 21
    differing = {}
    for column, region in regions.items():
        rows = np.flatnonzero(csd_coefficients(region, points) != expected[:, column])
        if len(rows):
            differing[column] = rows.tolist()
    assert differing == {23: [15], 32: [15]}
    for column in (23, 32):
        assert regions[column].half_thickness == pytest.approx(np.hypot(60, 1) / 2, rel=1e-14)
    assert spacing_as_the_reference_has_it(electrodes, "Disk") == pytest.approx(np.hypot(60, 1) * 10 / 8)
    theirs = [
        replace(electrode, thickness=spacing_as_the_reference_has_it(electrodes, electrode.method))
        if electrode.thickness is None and electrode.method in ("Disk", "Plane")
        else electrode
        for electrode in electrodes
    ]
    for column, region in csd_regions(theirs).items():
        np.testing.assert_array_equal(csd_coefficients(region, points), expected[:, column], str(column))
