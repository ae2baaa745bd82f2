"""Physics: membrane currents of NEURON times the coefficients of our file, against LFPykit on the same cell."""

import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from ephysflow import paths
from ephysflow.extracellular.array_settings import resolve_electrodes
from ephysflow.extracellular.compartments import Compartments, cut
from ephysflow.extracellular.positions_file import PopulationPositions, write_positions
from ephysflow.extracellular.weights_step import electrode_weights
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.provenance import Provenance
from ephysflow.job import Job

SITES = np.array([[50, 0, 0], [50, 150, 0], [100, 300, 50], [-40, -100, 20.0]])
SIGMA = 0.3


@pytest.fixture(scope="module")
def cell():
    """A branched cell that spikes: end points, diameters and section of its segments, and its membrane currents [nA]."""
    neuron = pytest.importorskip("neuron", reason="needs NEURON (pip install neuron)")
    h = neuron.h
    h.load_file("stdrun.hoc")

    def section(name, points, parent=None, where=1.0, mechanism="pas"):
        made = h.Section(name=name)
        for point in points:
            h.pt3dadd(*point, sec=made)
        if parent:
            made.connect(parent(where))
        made.insert(mechanism)
        made.Ra, made.cm, made.nseg = 100, 1, 1 + 2 * int(made.L / 40)
        return made

    soma = section("soma", [(0, -10, 0, 20), (0, 10, 0, 20)], mechanism="hh")
    axon = section("axon", [(0, -10, 0, 1), (3, -150, 5, 1)], soma, 0.0, "hh")
    trunk = section("trunk", [(0, 10, 0, 3), (5, 80, 0, 3), (0, 200, 10, 2.5)], soma)
    b1 = section("b1", [(0, 200, 10, 1.5), (60, 300, 20, 1.2), (60, 400, 60, 1)], trunk)
    b2 = section("b2", [(0, 200, 10, 1.5), (-90, 260, 0, 1)], trunk)
    sections = [soma, axon, trunk, b1, b2]
    ends = [
        cut(
            np.array([[f(i, sec=s) for f in (h.x3d, h.y3d, h.z3d)] for i in range(int(s.n3d()))]),
            np.array([s.diam3d(i) for i in range(int(s.n3d()))]),
            s.nseg,
        )[0]
        for s in sections
    ]
    segments = [segment for s in sections for segment in s]
    synapse = h.ExpSyn(trunk(0.5))
    synapse.tau = 2
    connection = h.NetCon(None, synapse)
    connection.weight[0] = 0.05
    h.cvode.use_fast_imem(1)
    recorded = [h.Vector().record(segment._ref_i_membrane_) for segment in segments]
    voltage = h.Vector().record(soma(0.5)._ref_v)
    start = h.FInitializeHandler(lambda: connection.event(2.0))
    h.dt = 0.025
    h.finitialize(-65)
    h.continuerun(20)
    del start
    assert voltage.max() > 0
    currents = np.array([np.array(vector) for vector in recorded])
    ids = np.repeat(np.arange(len(sections)), [s.nseg for s in sections])
    types = np.array([1, 2, 3, 3, 3])[ids]
    starts, stops = np.concatenate([e[:-1] for e in ends]), np.concatenate([e[1:] for e in ends])
    radii = np.array([segment.diam for segment in segments]) / 2
    return Compartments(ids, types, starts, stops, radii), currents


def written(folder, cell, kind, sites=SITES):
    """Return the coefficients (compartments, sites) of the file that the workflow's job writes."""
    compartments, _ = cell
    n = len(compartments.radii)
    write_positions(
        paths.positions(folder, "c", "0"),
        {"cells": PopulationPositions(np.array([0]), np.array([0, n]), compartments)},
        Provenance("test", "c", "{}", ""),
    )
    table = folder / "sites.csv"
    rows = [f"s{i},{x},{y},{z},{kind}" for i, (x, y, z) in enumerate(sites)]
    table.write_text("\n".join(["name,x,y,z,type", *rows]))
    arrays = {"a": {"electrodes": str(table), "sigma": SIGMA}}
    item = {
        "circuit": "c",
        "weights": "w",
        "arrays": list(arrays.items()),
        "electrodes": digest(canonical_json([asdict(e) for e in resolve_electrodes(arrays, "test")])),
        "layout": "sonata",
        "column_of_ones": False,
        "unit": "mV/nA",
        "precision": "float64",
        "chunks": 1,
    }
    text = json.dumps(item)
    electrode_weights(Job("electrode_weights", "c\tw", item, text, "", {}, folder))
    with h5py.File(paths.weights(folder, "c", "w")) as file:
        return file["electrodes/cells/scaling_factors"][:]


@pytest.mark.parametrize("kind", ["LineSource", "PointSource"])
def test_potentials_of_a_spiking_cell_are_those_of_lfpykit(tmp_path, cell, kind):
    lfpykit = pytest.importorskip("lfpykit", reason="needs LFPykit (pip install lfpykit)")
    compartments, currents = cell
    a, b = compartments.starts, compartments.ends
    geometry = lfpykit.CellGeometry(*np.stack([a.T, b.T], axis=2), d=2 * compartments.radii)
    of_kind = getattr(lfpykit, f"{kind}Potential")
    theirs = of_kind(geometry, *SITES.T, sigma=SIGMA).get_transformation_matrix()
    ours = written(tmp_path, cell, kind)
    np.testing.assert_allclose(ours.T, theirs, rtol=1e-9)
    np.testing.assert_allclose(ours.T @ currents, theirs @ currents, rtol=1e-9, atol=1e-15)
    # uV: of the order of what extracellular electrodes record
    assert 1 < np.ptp(ours.T @ currents, axis=1).max() * 1e3 < 1000


def test_a_closed_cell_is_a_dipole_far_away(tmp_path, cell):
    """Currents that sum to zero leave no monopole: twice as far, a quarter of the potential and not a half."""
    _, currents = cell
    assert np.abs(currents.sum(axis=0))[1:].max() < 1e-9
    strongest = np.argmax(np.abs(written(tmp_path, cell, "LineSource").T @ currents)[0])
    direction = np.array([0.3, 0.9, 0.1])
    sites = np.outer([2e4, 4e4, 8e4, 1.6e5], direction / np.linalg.norm(direction))
    far = written(tmp_path, cell, "LineSource", sites).T @ currents[:, strongest]
    np.testing.assert_allclose(far[:-1] / far[1:], 4, rtol=0.05)
