"""The example of stage extracellular: its configurations agree with its files, these with SONATA, ids with morphologies."""

import hashlib
import shutil
from pathlib import Path

import libsonata
import morphio
import numpy as np
import pytest

from ephysflow.example.column import DEPTH, POPULATION, RADIUS, SIZE
from ephysflow.example.extracellular_files import write_example_column
from ephysflow.example.extracellular_step import example_extracellular
from ephysflow.example.files import _refuse_foreign
from ephysflow.extracellular.array_settings import check_population_names, resolve_electrodes
from ephysflow.extracellular.discretisation import discretise
from ephysflow.extracellular.morphologies import read_morphology
from ephysflow.extracellular.report_sections import read_report_sections
from ephysflow.extracellular.section_matching import cell_compartments
from ephysflow.job import Job
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.simulation_config import first_compartment_report, read_simulation

CONFIG = Path(__file__).parents[2] / "config" / "example_extracellular"
MORPHOLOGIES = ("ball", "basket", "pyramidal", "stick")
STUB = (30.0, 30.0, 1000.0)
AXON, BASAL, APICAL = 2, 3, 4


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Folder with the shipped configurations and the files that they name, as after a run."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(CONFIG, folder / "config" / "example_extracellular")
    job = Job("example_extracellular", "", {"folder": str(folder / "example_data")}, "", "", {}, folder)
    example_extracellular(job)
    return folder


@pytest.fixture(scope="module")
def config(project) -> Path:
    return project / "config" / "example_extracellular"


@pytest.fixture(scope="module")
def data(project) -> Path:
    return project / "example_data" / "extracellular"


@pytest.fixture(scope="module")
def nodes(data):
    return libsonata.NodeStorage(str(data / "nodes.h5")).open_population(POPULATION)


@pytest.fixture(scope="module")
def report(data):
    return libsonata.ElementReportReader(str(data / "compartments.h5"))[POPULATION]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def section_lengths(path: Path) -> list[tuple[int, float]]:
    """Type and length of each section, as MorphIO reads them."""
    return [
        (
            int(section.type),
            float(np.linalg.norm(np.diff(section.points.astype(float), axis=0), axis=1).sum()),
        )
        for section in morphio.Morphology(str(path)).sections
    ]


def reported(sections: list[tuple[int, float]]) -> dict[int, int]:
    """Section id -> compartments, after the axon has become a stub: the rule of Blue Brain's templates."""
    numbered = [section for kind in (AXON, BASAL, APICAL) for section in sections if section[0] == kind]
    found = {0: 1, 1: 1, 2: 1}
    found |= {i: 1 + 2 * int(length // 40) for i, (kind, length) in enumerate(numbered, 1) if kind != AXON}
    return found | {max(len(numbered), 2) + 1: 51}


def sections_of(simulation, nodes, name: str):
    """Reported sections of the first cell with a morphology."""
    found = read_report_sections(simulation.reports["compartments"], POPULATION)
    names = nodes.get_attribute("morphology", nodes.select_all())
    return found.runs_of(int(np.flatnonzero(names == name)[0]))


# ---------------------------------------------------------------- configurations


def test_libsonata_parses_the_simulation(config, data):
    simulation = libsonata.SimulationConfig.from_file(config / "simulation_config.json")
    found = simulation.report("compartments")
    assert Path(found.file_name) == data / "compartments.h5"
    assert (found.type.name, found.sections.name, found.variable_name) == ("compartment", "all", "v")
    assert (found.start_time, found.end_time, found.dt) == (0, 0.2, 0.1)
    assert Path(simulation.network) == config / "circuit_config.json"


def test_libsonata_parses_the_circuit(config, data):
    circuit = libsonata.CircuitConfig.from_file(config / "circuit_config.json")
    assert circuit.node_population(POPULATION).size == SIZE
    folder = circuit.node_population_properties(POPULATION).morphologies_dir
    assert Path(folder).resolve() == (data / "morphologies").resolve()


def test_our_readers_find_the_files_and_no_others_are_written(config, data):
    simulation = read_simulation(config / "simulation_config.json")
    assert first_compartment_report(simulation) == "compartments"
    folder = simulation.circuit.morphologies[POPULATION].swc
    named = {simulation.reports["compartments"], *(nodes.file for nodes in simulation.circuit.nodes)}
    named |= {folder / f"{name}.swc" for name in MORPHOLOGIES}
    written = {path for path in data.rglob("*") if path.is_file()}
    assert written == named
    assert sum(path.stat().st_size for path in written) < 300_000


def test_node_sets_are_those_of_libsonata_and_split_the_column(config, nodes):
    simulation = read_simulation(config / "simulation_config.json")
    population = open_population(simulation.circuit, POPULATION)
    sets = libsonata.NodeSets.from_file(str(config / "node_sets.json"))
    found = {}
    for name in sets.names:
        found[name] = node_set_ids(simulation.node_sets_files, name, population)
        np.testing.assert_array_equal(found[name], sets.materialize(name, nodes).flatten())
    assert sorted(np.concatenate([*found.values()])) == [*range(SIZE)]


# ---------------------------------------------------------------- files


def test_the_same_bytes_at_every_call(data, tmp_path):
    write_example_column(tmp_path)
    assert digests(tmp_path) == digests(data)


def test_the_example_of_recordings_does_not_refuse_the_column(project):
    _refuse_foreign(project / "example_data", [], b"")


def test_nodes(nodes):
    everyone = nodes.select_all()
    assert nodes.size == SIZE
    assert nodes.enumeration_names == {"layer", "morphology", "mtype"}
    assert set(nodes.get_attribute("morphology", everyone)) == set(MORPHOLOGIES)
    x, y, z = (nodes.get_attribute(name, everyone) for name in "xyz")
    assert np.hypot(x, z).max() <= RADIUS
    assert DEPTH[0] <= y.min() < y.max() <= DEPTH[1]


def test_cells_are_turned_about_y_and_lean_a_little(nodes):
    names = [f"orientation_{axis}" for axis in "wxyz"]
    w, x, y, z = (nodes.get_attribute(name, nodes.select_all()).astype(float) for name in names)
    np.testing.assert_allclose(w * w + x * x + y * y + z * z, 1, atol=1e-6)
    upright = 1 - 2 * (x * x + z * z)  # y of the turned y axis
    assert np.cos(0.15) - 1e-6 <= upright.min() < 1
    assert np.ptp(np.arctan2(y, w)) > 1


@pytest.mark.parametrize("name", MORPHOLOGIES)
def test_morphologies(data, name):
    read = morphio.Morphology(str(data / "morphologies" / f"{name}.swc"))
    assert read.soma.type == morphio.SomaType.SOMA_SINGLE_POINT
    assert len(read.points) < 500
    for section in read.sections:
        assert len(section.points) >= 2
        assert np.linalg.norm(np.diff(section.points, axis=0), axis=1).min() > 1
    types = {int(section.type) for section in read.sections}
    expected = {"ball": set(), "stick": {AXON, BASAL}, "basket": {AXON, BASAL}}
    assert types == expected.get(name, {AXON, BASAL, APICAL})


@pytest.mark.parametrize(("name", "is_long"), [("pyramidal", True), ("basket", False), ("stick", False)])
def test_only_the_pyramidal_axon_is_longer_than_the_stub(data, name, is_long):
    read = morphio.Morphology(str(data / "morphologies" / f"{name}.swc"))
    reach = []
    for section in read.sections:
        if int(section.type) == AXON and not section.children:
            branch = [part.points for part in section.iter(morphio.IterType.upstream)]
            points = np.concatenate([np.zeros((1, 3)), *reversed(branch)])
            reach.append(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    assert len(reach) > 1  # it branches
    assert (max(reach) > sum(STUB)) == is_long


# ---------------------------------------------------------------- report


def test_the_report_has_two_frames_at_rest(report):
    assert report.times == (0.0, 0.2, 0.1)
    assert (report.time_units, report.data_units, report.sorted) == ("ms", "mV", True)
    frames = report.get()
    assert frames.data.shape == (2, len(frames.ids))
    assert (frames.data == -65).all()
    np.testing.assert_array_equal(report.get_node_ids(), np.arange(SIZE))


def test_sections_of_the_report_are_those_of_the_morphologies(data, nodes, report):
    sections = {name: section_lengths(data / "morphologies" / f"{name}.swc") for name in MORPHOLOGIES}
    names = nodes.get_attribute("morphology", nodes.select_all())
    expected = [
        (node, section)
        for node, name in enumerate(names)
        for section, count in sorted(reported(sections[name]).items())
        for _ in range(count)
    ]
    np.testing.assert_array_equal(np.array(report.get().ids), expected)


def test_no_length_is_where_rounding_decides_on_the_number_of_compartments(data):
    for name in MORPHOLOGIES:
        for _, length in section_lengths(data / "morphologies" / f"{name}.swc"):
            assert 0.05 < length % 40 < 39.95


@pytest.mark.parametrize("name", MORPHOLOGIES)
def test_our_rule_without_a_report_gives_what_is_reported(config, nodes, name):
    simulation = read_simulation(config / "simulation_config.json")
    morphology = read_morphology(simulation.circuit.morphologies[POPULATION], name)
    own = discretise(morphology, {"rule": "odd", "length": 40.0}, replace_axons=True, stub_lengths=STUB)
    runs = sections_of(simulation, nodes, name)
    assert dict(zip(own.ids, own.counts, strict=True)) == dict(zip(runs.ids, runs.counts, strict=True))


@pytest.mark.parametrize("name", MORPHOLOGIES)
def test_each_compartment_of_the_report_gets_a_place(config, nodes, name):
    simulation = read_simulation(config / "simulation_config.json")
    morphology = read_morphology(simulation.circuit.morphologies[POPULATION], name)
    runs = sections_of(simulation, nodes, name)
    cell = cell_compartments(morphology, runs, replace_axons=True, stub_lengths=STUB)
    assert len(cell.section_ids) == runs.counts.sum()
    assert np.isfinite(cell.starts).all()
    assert np.isfinite(cell.ends).all()


# ---------------------------------------------------------------- electrodes


def test_electrode_tables(config):
    arrays = {name: {"electrodes": str(config / f"{name}.csv")} for name in ("probe", "csd")}
    electrodes = resolve_electrodes(arrays, "example")
    check_population_names(electrodes, [POPULATION])
    probe = [e for e in electrodes if e.array == "probe"]
    assert {e.method for e in probe} == {"LineSource"}
    # the contacts go through the column
    heights = [e.position[1] for e in probe]
    assert min(heights) <= DEPTH[0] < DEPTH[1] <= max(heights)
    assert max(np.hypot(e.position[0], e.position[2]) for e in probe) < RADIUS
    csd = [e for e in electrodes if e.array == "csd"]
    assert {e.method for e in csd} == {"Disk", "PointSource"}
    assert len({e.csd_array for e in csd if e.method == "Disk"}) == 1


def test_the_probe_has_the_layout_of_neuropixels(config):
    pytest.importorskip("probeinterface")
    from ephysflow.extracellular.probes import read_probe

    electrodes = resolve_electrodes({"probe": {"electrodes": str(config / "probe.csv")}}, "example")
    probe = read_probe("NP1000", str(len(electrodes)))
    assert [e.name for e in electrodes] == probe.names
    moved = np.array([e.position for e in electrodes]) - probe.positions
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)
