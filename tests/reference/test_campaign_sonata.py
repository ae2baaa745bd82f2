"""SONATA circuits, spikes and reports of two simulators: what we read is what libsonata reads, where it reads."""

import json

import h5py
import libsonata
import numpy as np
import pytest

from ephysflow.campaign.campaign_file import read_campaign
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.reports import open_report
from ephysflow.sonata.simulation_config import circuit_key, read_simulation
from ephysflow.sonata.spikes import read_spikes, spike_populations

POPULATION = "thalamus_neurons"
CASES = ("doc", "dense", "reports")


@pytest.fixture
def data(shared):
    return shared / "golden/campaign/_data"


@pytest.fixture
def sonata(shared):
    return shared / "data/sonata"


def simulation_of(data, case, number=0):
    return read_simulation(data / case / f"simulation-campaign/{number}/simulation_config.json")


@pytest.mark.parametrize(
    ("file", "conditions", "there"),
    [
        ("config.json", [(334630, 1.0), (334630, 1.25), (174404, 1.0), (174404, 1.25)], [True] * 4),
        ("config_coupled.json", [(1, 1.0), (2, 1.1), (3, 1.2), (4, 1.3)], [True, None, True, False]),
        ("config_native.json", [(1, "a"), (2, "b"), (3, "")], [True, True, None]),
    ],
)
def test_campaign_files(data, file, conditions, there):
    campaign = read_campaign(data / "dense/simulation-campaign" / file)
    assert [tuple(row.values()) for row in campaign.conditions] == conditions
    home = data / "dense/simulation-campaign"
    assert [(home / path).is_file() if path else None for path in campaign.paths] == there


@pytest.mark.parametrize("case", CASES)
def test_simulation_files_are_those_of_libsonata(data, case):
    ours = simulation_of(data, case)
    theirs = libsonata.SimulationConfig.from_file(str(ours.config))
    assert str(ours.spikes_file) == theirs.output.spikes_file
    assert ours.tstop == theirs.run.tstop
    files = {name: theirs.report(name).file_name for name in theirs.list_report_names}
    assert {name: str(path) for name, path in ours.reports.items()} == files
    circuit = libsonata.CircuitConfig.from_file(str(ours.circuit.config))
    assert str(ours.circuit.node_sets_file) == circuit.node_sets_path
    (nodes,) = ours.circuit.nodes
    assert str(nodes.file) == circuit.node_population_properties(POPULATION).elements_path


def test_circuits_of_two_campaigns_with_the_same_text_differ(data):
    doc, dense = simulation_of(data, "doc"), simulation_of(data, "dense")
    assert doc.circuit.config.read_bytes() == dense.circuit.config.read_bytes()
    assert circuit_key(doc.circuit) != circuit_key(dense.circuit)
    assert circuit_key(simulation_of(data, "dense", 3).circuit) == circuit_key(dense.circuit)


@pytest.mark.parametrize("case", CASES)
def test_properties_and_node_sets_are_those_of_libsonata(data, case):
    simulation = simulation_of(data, case)
    ours = open_population(simulation.circuit, POPULATION)
    circuit = libsonata.CircuitConfig.from_file(str(simulation.circuit.config))
    theirs = circuit.node_population(POPULATION)
    assert ours.property_names == sorted(theirs.attribute_names)
    for name in ours.property_names:
        np.testing.assert_array_equal(ours.property(name), theirs.get_attribute(name, theirs.select_all()))
    sets = libsonata.NodeSets.from_file(str(simulation.circuit.node_sets_file))
    for name in sets.names:
        found = node_set_ids(simulation.node_sets_files, name, ours)
        assert found.tolist() == sets.materialize(name, theirs).flatten().tolist()


@pytest.mark.parametrize(
    "rules",
    [
        {"mtype": {"$regex": "PL"}},
        {"mtype": {"$regex": "^VPL_[IT]"}, "synapse_class": "EXC"},
        {"x": {"$gt": 300}},
        {"x": {"$lte": 300.5}, "layer": ["VPL"]},
        {"node_id": [3, 1, 999, 3]},
        {"population": [POPULATION, "other"], "etype": ["dAD_ltb", "none"]},
        {"population": "other"},
        ["Rt_RC", "VPL_IN"],
    ],
)
def test_rules_mean_what_they_mean_to_libsonata(data, tmp_path, rules):
    simulation = simulation_of(data, "dense")
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"mine": rules}))
    ours = node_set_ids(
        [*simulation.node_sets_files, own], "mine", open_population(simulation.circuit, POPULATION)
    )
    circuit_sets = json.loads(simulation.circuit.node_sets_file.read_text())
    sets = libsonata.NodeSets(json.dumps(circuit_sets | {"mine": rules}))
    circuit = libsonata.CircuitConfig.from_file(str(simulation.circuit.config))
    theirs = sets.materialize("mine", circuit.node_population(POPULATION))
    assert ours.tolist() == theirs.flatten().tolist()


@pytest.mark.parametrize("case", CASES)
def test_spikes_are_those_of_libsonata(data, case):
    simulation = simulation_of(data, case)
    gid, time = read_spikes(simulation.spikes_file, POPULATION)
    theirs = libsonata.SpikeReader(str(simulation.spikes_file))[POPULATION].get_dict()
    np.testing.assert_array_equal(gid, theirs["node_ids"])
    np.testing.assert_array_equal(time, theirs["timestamps"])
    assert len(time) == {"dense": 3000}.get(case, 10)


@pytest.mark.parametrize(("report", "elements"), [("soma_report", 1), ("section_report", 3)])
@pytest.mark.parametrize(("t_start", "t_stop", "stride"), [(0, 99.5, 1), (10, 12, 1), (50, 70, 4)])
def test_reports_are_those_of_libsonata(data, report, elements, t_start, t_stop, stride):
    path = simulation_of(data, "reports").reports[report]
    theirs = libsonata.ElementReportReader(str(path))[POPULATION]
    nodes = [5, 2, 399]
    frame = theirs.get(libsonata.Selection(nodes), tstart=t_start, tstop=t_stop, tstride=stride)
    with open_report(path, POPULATION) as ours:
        assert (ours.start, ours.stop, ours.step) == theirs.times
        assert ours.node_ids.tolist() == list(theirs.get_node_ids())
        columns, gids, element_ids = ours.columns_of(np.array(nodes))
        assert len(columns) == 3 * elements
        np.testing.assert_array_equal(np.column_stack([gids, element_ids]), frame.ids)
        first, last = round(t_start / ours.step), round(t_stop / ours.step)
        values = ours.read(first, last + 1, stride, columns)
        times = ours.start + ours.step * np.arange(first, last + 1, stride)
    np.testing.assert_array_equal(values, frame.data)
    np.testing.assert_allclose(times, frame.times)


@pytest.mark.parametrize(
    ("example", "population", "size"), [("9_cells", "cortex", 9), ("300_cells", "internal", 300)]
)
def test_bmtk_circuit_and_spikes(sonata, example, population, size):
    simulation = read_simulation(sonata / "examples" / example / "config.json")
    nodes = open_population(simulation.circuit, population)
    assert nodes.size == size
    assert {*nodes.property("model_type")} == {"biophysical"}
    assert {"x", "y", "z", "ei", "model_name"} <= {*nodes.property_names}
    assert "dynamics_params" not in nodes.property_names
    gid, time = read_spikes(simulation.spikes_file, population)
    with h5py.File(simulation.spikes_file) as file:
        np.testing.assert_array_equal(gid, file[f"spikes/{population}/node_ids"])
        np.testing.assert_array_equal(time, file[f"spikes/{population}/timestamps"])
    assert gid.max() < size
    assert time.max() <= simulation.tstop


def test_node_types_are_joined_by_their_id(sonata):
    simulation = read_simulation(sonata / "examples/300_cells/simulation_config.json")
    nodes = open_population(simulation.circuit, "internal")
    text = (sonata / "examples/300_cells/network/internal_node_types.csv").read_text()
    header, *rows = (line.split(" ") for line in text.splitlines())
    models = {int(row[0]): row[header.index("model_name")] for row in rows}
    with h5py.File(sonata / "examples/300_cells/network/internal_nodes.h5") as file:
        types = file["nodes/internal/node_type_id"][()]
    assert nodes.property("model_name").tolist() == [models[node_type] for node_type in types]


def test_bmtk_node_sets(sonata):
    nine = read_simulation(sonata / "examples/9_cells/config.json")
    for population, name, number in [("cortex", "biophys_cells", 9), ("cortex", "virtual_cells", 0), ("excvirt", "virtual_cells", 10)]:  # fmt: skip
        nodes = open_population(nine.circuit, population)
        assert len(node_set_ids(nine.node_sets_files, name, nodes)) == number
    many = read_simulation(sonata / "examples/300_cells/config.json")
    nodes = open_population(many.circuit, "internal")
    assert node_set_ids(many.node_sets_files, "recorded_cells", nodes).tolist() == [0, 80, 160, 240, 270]
    assert len(node_set_ids(many.node_sets_files, "external", nodes)) == 0


def test_bmtk_report(sonata):
    simulation = read_simulation(sonata / "examples/9_cells/config.json")
    path = simulation.reports["membrane_potential"]
    with h5py.File(path) as file:
        expected = file["report/cortex/data"][()]
    with open_report(path, "cortex") as report:
        assert (report.start, report.stop, report.n_frames) == (0.0, simulation.tstop, 30_000)
        columns, gids, _ = report.columns_of(np.array([8, 0]))
        assert gids.tolist() == [8, 0]
        values = report.read(1000, 3000, 7, columns)
    np.testing.assert_array_equal(values, expected[1000:3000:7, [8, 0]].astype(np.float32))


def test_other_layouts_of_spike_files(sonata):
    path = sonata / "spike_files/spikes.multipop.h5"
    assert spike_populations(path) == ["lgn", "tw"]
    assert [len(read_spikes(path, name)[0]) for name in ("lgn", "tw")] == [123_356, 21_078]
    old = sonata / "spike_files/spikes.old.h5"
    gid, time = read_spikes(old, "anything")
    with h5py.File(old) as file:
        np.testing.assert_array_equal(gid, file["spikes/gids"])
        np.testing.assert_array_equal(time, file["spikes/timestamps"])
