"""What reruns when, for segment positions and electrode weights. One test, one change, the exact set of jobs."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_circuit import (
    BASKET,
    SECTIONS,
    SIZE,
    configuration,
    swc,
    write_nodes,
    write_report,
    write_small_circuit,
    write_yaml,
)

from .conftest import REPOSITORY, Workflow

POSITIONS = {"segment_positions(c, 0)", "segment_positions(c, 1)"}
WEIGHTS = {"electrode_weights(c, probe)", "electrode_weights(c, points)"}
PROBE = {"electrode_weights(c, probe)"}
EVERYTHING = POSITIONS | WEIGHTS


@pytest.fixture(scope="session")
def finished_circuit(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run the small circuit, once for all workers; nothing may be changed in it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in ("workflow", "src", "profiles", "envs"):
            shutil.copytree(REPOSITORY / name, folder / name, symlinks=True, ignore=ignored)
        shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")
        write_small_circuit(folder)
        Workflow(folder).run()

    return made_once("finished_circuit", make)


@pytest.fixture
def circuit(finished_circuit, tmp_path) -> Workflow:
    """A finished circuit of its own for each test, with all times kept, at another place than it was run."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished_circuit), str(folder)], check=True)
    return Workflow(folder)


@pytest.fixture
def change(circuit) -> Callable[..., None]:
    """Set keys of the circuit's section."""

    def set_keys(**settings: Any) -> None:
        write_yaml(circuit.folder / "config.yaml", configuration(**settings))

    return set_keys


def weights(**of_probe: Any) -> dict[str, Any]:
    """Return the section weights with changed settings of the file ``probe``."""
    section = configuration()["extracellular"]["c"]["weights"]
    section["probe"] |= of_probe
    return section


def arrays(**of_array: Any) -> dict[str, Any]:
    return {"probe": {"electrodes": "probe.csv", **of_array}}


def test_nothing_changed(circuit):
    assert circuit.plan() == set()


def test_a_plan_from_nothing_names_every_job(circuit):
    shutil.rmtree(circuit.folder / "results")
    shutil.rmtree(circuit.folder / ".snakemake")
    assert circuit.plan() == EVERYTHING


def test_electrodes_moved_or_added_leave_positions_alone(circuit):
    circuit.edit("probe.csv", "60,20,L1", "65,20,L1")
    assert circuit.plan() == PROBE


def test_an_electrode_added(circuit):
    with open(circuit.folder / "probe.csv", "a") as table:
        table.write("last,0,0,50,NA,NA,PointSource\n")
    assert circuit.plan() == PROBE


def test_a_table_that_says_the_same_in_other_words(circuit):
    circuit.edit("probe.csv", "50,0,20,L0", " 50.0 , 0.00 ,20,L0")
    assert circuit.plan() == set()


@pytest.mark.parametrize(
    "settings",
    [
        {"arrays": arrays(sigma=0.5)},
        {"arrays": arrays(minimum_distance=1.0)},
        {"arrays": arrays(cutoff=1000)},
        {"arrays": arrays(reference="probe0")},
        {"unit": "V/nA"},
        {"precision": "float32"},
        {"layout": "bluerecording"},
        {"column_of_ones": True},
    ],
    ids=str,
)
def test_a_setting_of_one_file(circuit, change, settings):
    change(weights=weights(**settings))
    assert circuit.plan() == PROBE


@pytest.mark.parametrize("settings", [{"ranks": 3}, {"buffer_mb": 1}], ids=str)
def test_how_a_file_is_computed_changes_nothing(circuit, change, settings):
    change(weights=weights(**settings))
    assert circuit.plan() == set()


def test_a_setting_that_says_the_default(circuit, change):
    change(weights=weights(unit="mV/nA"), replace_axons=True, missing_morphologies="refuse")
    assert circuit.plan() == set()


def test_a_weights_file_added(circuit, change):
    new = {"electrodes": "points.csv", "type": "LineSource", "sigma": 0.2}
    change(weights=weights() | {"new": {"arrays": {"points": new}}})
    assert circuit.plan() == {"electrode_weights(c, new)"}


def test_a_weights_file_removed(circuit, change):
    change(weights={"probe": weights()["probe"]})
    assert circuit.plan() == set()


@pytest.mark.parametrize(
    "settings",
    [{"stub_axon": [40, 40, 1000]}, {"node_set": "some"}, {"missing_morphologies": "nan"}],
    ids=str,
)
def test_a_setting_of_the_positions(circuit, change, settings):
    change(**settings)
    assert circuit.plan() == EVERYTHING


def test_another_number_of_chunks(circuit, change):
    change(chunks=3)
    assert circuit.plan() == EVERYTHING | {"segment_positions(c, 2)"}


def test_a_morphology_changed(circuit):
    text = swc(BASKET).replace("60 40", "65 40")
    (circuit.folder / "morphologies" / "basket.swc").write_text(text)
    assert circuit.plan() == EVERYTHING


def test_nodes_moved(circuit):
    write_nodes(circuit.folder / "nodes.h5", SIZE + 1)
    assert circuit.plan() == EVERYTHING


def test_the_report_changed(circuit):
    write_report(circuit.folder / "compartments.h5", dict.fromkeys(range(SIZE - 1), SECTIONS))
    assert circuit.plan() == EVERYTHING


def test_touched_files_with_the_same_content(circuit):
    for name in ("nodes.h5", "compartments.h5", "probe.csv", "circuit_config.json", "simulation_config.json"):
        os.utime(circuit.folder / name)
    assert circuit.plan() == set()


def test_an_unrelated_key_of_the_circuit_or_the_simulation(circuit):
    circuit.edit("simulation_config.json", '"tstop": 0.2', '"tstop": 0.3')
    assert circuit.plan() == set()


def test_another_report_by_name(circuit):
    circuit.edit("simulation_config.json", '"compartments": {', '"other": {')
    write_report(circuit.folder / "other.h5", dict.fromkeys(range(SIZE), SECTIONS))
    assert circuit.plan() == EVERYTHING


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("stub_axon", EVERYTHING),
        ("analytic", WEIGHTS),
        ("fields", WEIGHTS),
        ("weights_check", set()),
        ("probes", set()),
    ],
)
def test_a_library_function_edited(circuit, module, jobs):
    path = circuit.folder / "src" / "ephysflow" / "extracellular" / f"{module}.py"
    path.write_text(path.read_text() + "\n\nNEW = 1\n")
    assert circuit.plan() == jobs


def test_a_comment_in_the_library(circuit):
    path = circuit.folder / "src" / "ephysflow" / "extracellular" / "stub_axon.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert circuit.plan() == set()


def test_a_deleted_file_is_made_again(circuit):
    (circuit.folder / "results/extracellular/c/points.h5").unlink()
    assert circuit.plan() == {"electrode_weights(c, points)"}


def test_deleted_positions_are_made_again(circuit):
    (circuit.folder / "results/extracellular/c/positions/1.h5").unlink()
    assert circuit.plan() == {"segment_positions(c, 1)", *WEIGHTS}


def test_verify_agrees_with_the_plan(circuit):
    found = circuit.ephysflow("verify", "results")
    assert found.returncode == 0, found.stdout + found.stderr
    circuit.edit("probe.csv", "60,20,L1", "65,20,L1")
    found = circuit.ephysflow("verify", "results", "--config", "config.yaml")
    assert found.returncode == 1
    assert "stale    results/extracellular/c/probe.h5: settings" in found.stdout
    assert "points.h5" not in found.stdout
