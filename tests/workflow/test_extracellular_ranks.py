"""The MPI job of a weights file, as its rule calls it: any number of ranks, the same bytes; a failure ends all."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ephysflow import paths
from ephysflow.extracellular.positions_step import segment_positions
from ephysflow.plan import read_job
from ephysflow.planning import plan_workflow
from tests.small_circuit import configuration, write_electrodes, write_small_circuit

RESULTS = Path("results")

CSD = """name,x,y,z,type
d0,100,0,0,ObjectiveCSD_Disk_200
d1,100,100,0,ObjectiveCSD_Disk_200
d2,100,200,0,ObjectiveCSD_Disk_200
"""


@pytest.fixture
def plan_file(tmp_path, monkeypatch):
    """Write a circuit, plan it and compute the positions."""
    monkeypatch.chdir(tmp_path)
    write_small_circuit(tmp_path)
    write_electrodes(tmp_path / "probe.csv", "LineSource", 37)
    (tmp_path / "csd.csv").write_text(CSD)
    axis = np.linspace(-3000, 3000, 7)
    for name, shape in (("potential", (7, 7, 7)), ("electric_field", (7, 7, 7, 3))):
        values = np.random.default_rng(0).normal(size=shape)
        np.savez(tmp_path / f"{name}.npz", x=axis, y=axis, z=axis, current=1.0, **{name: values})
    (tmp_path / "fields.csv").write_text(
        "name,x,y,z,type\nf0,0,0,0,Reciprocity\nf1,0,0,0,DipoleReciprocity\n"
    )
    arrays = {
        "probe": {"electrodes": "probe.csv", "contact": {"radius": 6, "normal": [1, 0, 0], "points": 5}},
        "points": {
            "electrodes": "points.csv",
            "sigma": {"x": 0.3, "y": 0.2, "z": 0.4},
            "reference": "points0",
        },
        "csd": {"electrodes": "csd.csv"},
        "fields": {
            "electrodes": "fields.csv",
            "field": ["potential.npz", "electric_field.npz"],
            "field_unit": "mV/nA",
        },
    }
    plan, plan_file = plan_workflow(configuration(weights={"all": {"arrays": arrays}}))
    for chunk in plan.circuits["c"].chunks:
        segment_positions(read_job(plan_file, "segment_positions", ["c", chunk]))
    return plan_file


def job(plan_file: Path, launcher: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join((folder, os.environ["PATH"]))}
    command = [*launcher, sys.executable, "-m", "mpi4py", "-m", "ephysflow", "electrode-weights"]
    return subprocess.run(
        [*command, "--plan", str(plan_file), "--item", "c", "all", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ranks(plan_file: Path, count: int, *options: str) -> subprocess.CompletedProcess[str]:
    return job(plan_file, ["mpiexec", "-n", str(count)], *options)


def test_the_bytes_do_not_depend_on_the_ranks_or_the_buffer(plan_file):
    alone = job(plan_file, [])
    assert alone.returncode == 0, alone.stderr
    path = paths.weights(RESULTS, "c", "all")
    expected = path.read_bytes()
    with h5py.File(path) as file:
        values = file["electrodes/cells/scaling_factors"][:]
    assert np.isfinite(values).all()
    assert len(np.unique(values[:, 0])) == len(values)
    for count in (1, 2, 3, 5):
        path.unlink()
        done = ranks(plan_file, count, "--expected-ranks", str(count), "--buffer-mb", "1")
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == expected, count


def test_another_number_of_ranks_is_refused(plan_file):
    done = ranks(plan_file, 2, "--expected-ranks", "3")
    assert done.returncode != 0
    assert "expected 3 MPI ranks, got 2" in done.stderr
    assert not paths.weights(RESULTS, "c", "all").exists()


def test_a_mistake_is_told_once_and_ends_all_ranks(plan_file):
    with np.load("potential.npz") as field:
        small = {**field, "x": field["x"] / 100}
    np.savez("potential.npz", **small)
    done = ranks(plan_file, 3)
    assert done.returncode != 0
    assert done.stderr.count("compartments are outside the grid of its field") == 1
    assert "Traceback" not in done.stderr
    assert list(paths.circuit_folder(RESULTS, "c").glob("*all*")) == []
