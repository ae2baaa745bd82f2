"""BlueRecording's coefficients of point and line sources, from its own positions; golden ones are V/nA (defect 1).

Its smallest distance is none (defect 7): here it is set to next to nothing.
"""

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ephysflow.extracellular.electrode_types import ANALYTIC
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.sites import analytic_coefficients, site_groups

MILLIVOLTS = 1e3

CASES = {
    "synth3": ("positions0", "electrodes.csv", "coeffs.h5", 5, 5),
    "single_L5 distant": ("positions0", "electrodes_distant.csv", "coeffs_distant.h5", 2, 2),
    "single_L5 close": ("positions0", "electrodes_close.csv", "coeffs_close.h5", 2, 2),
    "single_L5 csd": ("positions0", "electrodes_csd.csv", "coeffs_csd.h5", 1, 1),
    "circuitTest": ("positions_first50", "electrodes.csv", "coeffs_first50.npz", 4, 4),
}
"""Positions, table, coefficients, numbers of point and line sources."""


@pytest.fixture
def golden(shared):
    return shared / "golden/extracellular"


def end_points(path):
    """Return (C, 3) starts and ends of compartments: n + 1 points of a section with n; those of a soma are points."""
    with np.load(path, allow_pickle=False) as file:
        xyz, node, section = file["xyz"], file["node_id"], file["section_id"]
    borders = np.flatnonzero((np.diff(node) != 0) | (np.diff(section) != 0)) + 1
    starts, ends = [], []
    for rows in np.split(np.arange(len(xyz)), borders):
        soma = section[rows[0]] == 0
        starts.append(xyz[rows if soma else rows[:-1]])
        ends.append(xyz[rows if soma else rows[1:]])
    return np.concatenate(starts), np.concatenate(ends)


def analytic_electrodes(path, sigma=0.277):
    """Return column -> electrode, in the order of the table."""
    with open(path, newline="") as file:
        _, *rows = csv.reader(file)
    return {
        column: Electrode(
            name=name,
            array="a",
            position=(float(x), float(y), float(z)),
            layer=layer,
            region=region,
            type=kind,
            method=kind,
            sigma=(sigma,) * 3,
            minimum_distance=1e-9,
        )
        for column, (name, x, y, z, layer, region, kind) in enumerate(rows)
        if kind in ANALYTIC
    }


def factors(path):
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return file["scaling_factors"]
    with h5py.File(path) as file:
        population = next(key for key in file["electrodes"] if "scaling_factors" in file["electrodes"][key])
        return file[f"electrodes/{population}/scaling_factors"][()]


def computed(electrodes, starts, ends):
    out = np.empty((len(starts), len(electrodes)))
    analytic_coefficients(site_groups(electrodes), starts, ends, np.ones(len(starts)), out)
    return out


@pytest.mark.parametrize("case", CASES)
def test_point_and_line_sources(golden, case):
    positions, table, coefficients, n_points, n_lines = CASES[case]
    folder = golden / case.split()[0]
    starts, ends = end_points(folder / "positions/0" / f"{positions}.npz")
    electrodes = analytic_electrodes(folder / table)
    methods = [electrode.method for electrode in electrodes.values()]
    assert (methods.count("PointSource"), methods.count("LineSource")) == (n_points, n_lines)
    expected = factors(folder / coefficients)
    assert len(expected) == len(starts)
    found = computed(list(electrodes.values()), starts, ends)
    np.testing.assert_allclose(found / MILLIVOLTS, expected[:, list(electrodes)], rtol=1e-10, atol=0)
    # the reference's last column is that of the sum of currents
    np.testing.assert_array_equal(expected[:, -1], 1)


def test_columns_and_sigmas_are_those_of_the_table(golden):
    """Defect 2: the reference computes electrodes in the order of their names and declares that of the table."""
    starts, ends = end_points(golden / "synth3/positions/0/positions0.npz")
    electrodes = list(analytic_electrodes(golden / "synth3_names/electrodes.csv").values())
    assert [electrode.name for electrode in electrodes] == ["b2", "a10", "a2"]
    path = golden / "synth3_names/coeffs.h5"
    with h5py.File(path) as file:
        declared = {e.name: int(file[f"electrodes/{e.name}/popA"][()]) for e in electrodes}
    assert declared == {"b2": 0, "a10": 1, "a2": 2}
    expected = factors(path) * MILLIVOLTS
    actual = {name: column for column, name in enumerate(sorted(declared))}
    # its list of sigmas follows the names, too
    with_sigma = [replace(e, sigma=((0.3, 0.4, 0.5)[actual[e.name]],) * 3) for e in electrodes]
    found = computed(with_sigma, starts, ends)
    for column, electrode in enumerate(electrodes):
        np.testing.assert_allclose(found[:, column], expected[:, actual[electrode.name]], rtol=1e-10, atol=0)
        assert not np.allclose(found[:, column], expected[:, declared[electrode.name]], rtol=0.01)
