"""The whole stage on BlueRecording's circuits: the weights file against the one that BlueRecording wrote."""

import json
import shutil
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.circuits import run_circuit

from ephysflow import paths
from ephysflow.extracellular.positions_file import PositionsFiles

NO_CLAMP = 1e-6
"""Distance [um] below which nothing is clamped: BlueRecording never does (defect 7)."""


def run(simulation, weights, **settings):
    circuit = {"simulation": str(simulation), "weights": {"w": weights}, **settings}
    config = {"results": "results", "plots": False, "extracellular": {"c": circuit}}
    if "circuit" in settings:
        del circuit["simulation"]
    _, failures = run_circuit(config)
    assert failures == {}
    return paths.weights(Path("results"), "c", "w")


def array(folder, table, **settings):
    fields = {"field": [str(folder / name) for name in ("pot.h5", "efield.h5")], "field_unit": "V/nA"}
    used = fields if "Reciprocity" in Path(table).read_text() else {}
    return {"electrodes": str(table), "minimum_distance": NO_CLAMP, **used, **settings}


def test_a_file_is_that_of_bluerecording_but_for_its_defects(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shared / "golden/extracellular/synth3"
    arrays = {"all": array(folder, folder / "electrodes.csv")}
    path = run(
        folder / "circuit/simulation_config.json",
        {"layout": "bluerecording", "unit": "V/nA", "arrays": arrays},
    )
    with h5py.File(path) as ours, h5py.File(folder / "coeffs.h5") as theirs:
        for name in ("popA/node_ids", "popA/offsets"):
            assert ours[name].dtype == theirs[name].dtype
            assert np.array_equal(ours[name], theirs[name])
        electrodes = sorted(set(theirs["electrodes"]) - {"popA"})
        assert sorted(set(ours["electrodes"]) - {"popA"}) == electrodes
        for name in electrodes:
            a, b = ours["electrodes"][name], theirs["electrodes"][name]
            assert a["popA"][()] == b["popA"][()]
            assert np.array_equal(a["position"], b["position"])
            assert [a[key].asstr()[()] for key in ("type", "layer", "region")] == [
                b[key].asstr()[()] for key in ("type", "layer", "region")
            ]
        a, b = (file["electrodes/popA/scaling_factors"][:] for file in (ours, theirs))
    assert a.dtype == b.dtype
    assert (a[:, -1] == 1).all()
    # the second piece of the stub of node 2 follows the path of its axon (defect 6)
    positions = paths.positions(Path("results"), "c", "0")
    sections = PositionsFiles([positions]).compartments("popA", 0, len(a)).section_ids
    moved = (np.arange(len(a)) >= 62) & (sections == 2)
    assert moved.sum() == 3
    np.testing.assert_allclose(a[~moved, :11], b[~moved, :11], rtol=1e-10)
    # 0 and 1; explicit thicknesses are whole ones, and default spacings are not drifted (defect 8)
    whole = [*range(12, 18), 21, 22, 24, 25, 26, 30, 31]
    assert np.array_equal(a[~moved][:, whole], b[~moved][:, whole])


@pytest.mark.parametrize("kind", ["distant", "close", "csd"])
def test_a_real_cell(shared, tmp_path, monkeypatch, kind):
    """Its stub differs (defects 4 and 6); all other compartments agree in every method."""
    monkeypatch.chdir(tmp_path)
    folder = shared / "golden/extracellular/single_L5"
    arrays = {"all": array(folder, folder / f"electrodes_{kind}.csv")}
    path = run(folder / "circuit/simulation_config.json", {"unit": "V/nA", "arrays": arrays})
    with h5py.File(path) as ours, h5py.File(folder / f"coeffs_{kind}.h5") as theirs:
        name = "electrodes/S1nonbarrel_neurons/scaling_factors"
        a, b = ours[name][:], theirs[name][:, :-1]
    positions = PositionsFiles([paths.positions(Path("results"), "c", "0")])
    cell = positions.compartments("S1nonbarrel_neurons", 0, len(a))
    same = ~np.isin(cell.section_ids, (1, 2, 361))
    assert same.sum() > 1000
    assert not np.isin(cell.section_types[same], (2, 7)).any()
    # the centre of a dipole is the mean over the cell, so over its stub, too
    columns = [k for k in range(a.shape[1]) if kind == "csd" or k != 1]
    np.testing.assert_allclose(a[same][:, columns], b[same][:, columns], rtol=1e-10)


@pytest.fixture
def real_circuit(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "circuit"
    shutil.copytree(
        shared / "golden/extracellular/circuitTest/circuit", folder, copy_function=shutil.copyfile
    )
    with tarfile.open(shared / "golden/extracellular/circuitTest/morphologies_ascii.tar.xz") as archive:
        archive.extractall(folder / "morphologies", filter="data")
    return folder


def test_without_a_report_the_compartments_are_those_that_the_simulator_reported(real_circuit):
    """100 cells of Blue Brain: rule odd for the dendrites, and what their templates give the stub."""
    table = real_circuit / "probe.csv"
    table.write_text("name,x,y,z,type\na,4000,-1200,-2200,PointSource\n")
    weights = {"arrays": {"a": {"electrodes": str(table)}}}
    reported = run(real_circuit / "simulation_config.json", weights)
    with h5py.File(reported) as file:
        expected = {
            name: file[name][:]
            for name in ("S1nonbarrel_neurons/offsets", "electrodes/S1nonbarrel_neurons/scaling_factors")
        }
    shutil.rmtree("results")
    without = run(
        None,
        weights,
        circuit=str(real_circuit / "circuit_config.json"),
        discretisation={"rule": "odd", "length": 40, "stub": [5, 5, 5]},
        chunks=3,
    )
    with h5py.File(without) as file:
        for name, values in expected.items():
            assert np.array_equal(file[name], values), name


def test_two_populations_of_one_report(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = shared / "golden/extracellular/synth3/circuit"
    folder = tmp_path / "two"
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    config = json.loads((folder / "circuit_config.json").read_text())
    config["networks"]["nodes"][0]["populations"]["popB"] = {"type": "biophysical"}
    (folder / "circuit_config.json").write_text(json.dumps(config))
    with h5py.File(folder / "nodes.h5", "a") as nodes:
        nodes.copy("nodes/popA", "nodes/popB")
        nodes["nodes/popB/0/x"][...] += 1000
    with h5py.File(folder / "reporting/voltage.h5", "a") as report:
        report.copy("report/popA", "report/popB")
    table = tmp_path / "probe.csv"
    table.write_text("name,x,y,z,type\nhere,0,40,9,LineSource\nthere,1000,40,9,LineSource\n")
    path = run(folder / "simulation_config.json", {"arrays": {"a": {"electrodes": str(table)}}}, chunks=2)
    with h5py.File(path) as file:
        a, b = (file[f"electrodes/{name}/scaling_factors"][:] for name in ("popA", "popB"))
        assert [int(file[f"electrodes/there/{name}"][()]) for name in ("popA", "popB")] == [1, 1]
    np.testing.assert_allclose(a[:, 0], b[:, 1], rtol=1e-12)
    assert not np.allclose(a[:, 0], a[:, 1])
    assert a.shape == b.shape == (82, 2)
