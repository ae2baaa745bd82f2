"""Simulation and circuit configurations of SONATA and BMTK, by their JSON alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ephysflow.errors import SimulationError
from ephysflow.sonata.simulation_config import (
    MorphologyFolders,
    circuit_key,
    first_compartment_report,
    read_circuit,
    read_simulation,
)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


CIRCUIT = {
    "manifest": {"$BASE": ".", "$NODES": "${BASE}/nodes"},
    "node_sets_file": "$BASE/sets.json",
    "networks": {
        "nodes": [
            {"nodes_file": "$NODES/a.h5", "populations": {"a": {}, "b": {}}},
            {"nodes_file": "c.h5", "node_types_file": "$NODES/c.csv"},
            {"nodes_file": "/abs/d.h5", "node_types_file": "NULL"},
        ]
    },
}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "circuit/circuit.json", CIRCUIT)
    return tmp_path


@pytest.fixture
def simulation(folder):
    def read(**keys):
        content = {"network": "../circuit/circuit.json", "run": {"tstop": 100, "dt": 0.1}} | keys
        return read_simulation(write(folder / "sim/simulation_config.json", content))

    return read


def test_circuit_files(folder):
    circuit = read_circuit(folder / "circuit/circuit.json")
    a, c, d = circuit.nodes
    home = folder / "circuit"
    assert (a.file, a.types_file, a.populations) == (home / "nodes/a.h5", None, ("a", "b"))
    assert (c.file, c.types_file, c.populations) == (home / "c.h5", home / "nodes/c.csv", ())
    assert (d.file, d.types_file) == (Path("/abs/d.h5"), None)
    assert circuit.node_sets_file == home / "sets.json"


def test_defaults_of_the_output(simulation, folder):
    found = simulation()
    assert found.spikes_file == folder / "sim/output/spikes.h5"
    assert found.reports == {}
    assert found.node_sets_files == (folder / "circuit/sets.json",)
    assert found.tstop == 100.0
    assert found.circuit.config == folder / "circuit/circuit.json"


@pytest.mark.parametrize(
    ("manifest", "output", "spikes"),
    [
        ({"$OUT": "./here"}, {"output_dir": "$OUT", "spikes_file": "s.h5"}, "sim/here/s.h5"),
        ({"$OUT": "./here"}, {"output_dir": "$OUT", "spikes_file": "$OUT/s.h5"}, "sim/here/s.h5"),
        ({"BASE": "..", "OUT": "${BASE}/x"}, {"output_dir": "${OUT}/y"}, "x/y/spikes.h5"),
        ({"$N": "7"}, {"output_dir": "out_$N"}, "sim/out_7/spikes.h5"),
        ({}, {"output_dir": "/", "spikes_file": "abs/s.h5"}, "/abs/s.h5"),
    ],
)
def test_variables(simulation, folder, manifest, output, spikes):
    assert simulation(manifest=manifest, output=output).spikes_file == folder / spikes


def test_reports(simulation, folder):
    found = simulation(
        output={"output_dir": "out"},
        reports={
            "soma": {"file_name": "v"},
            "plain": {"module": "membrane_report"},
            "off": {"enabled": False, "file_name": 3},
            "dotted": {"file_name": "v.1"},
            "whole": {"file_name": "sub/x.h5"},
        },
    )
    names = {"soma": "v.h5", "plain": "plain.h5", "dotted": "v.1.h5", "whole": "sub/x.h5"}
    assert found.reports == {name: folder / "sim/out" / file for name, file in names.items()}


def test_node_sets_of_the_simulation_come_after_those_of_the_circuit(simulation, folder):
    own = simulation(node_sets_file="own.json").node_sets_files
    assert own == (folder / "circuit/sets.json", folder / "sim/own.json")
    assert simulation(node_sets_file="../circuit/sets.json").node_sets_files == own[:1]


def test_two_files_as_bmtk_writes_them_are_followed(simulation, folder):
    alone = simulation(output={"output_dir": "out"})
    merged = write(
        folder / "config.json",
        {"network": "circuit/circuit.json", "simulation": "sim/simulation_config.json"},
    )
    assert read_simulation(merged) == alone


def test_a_missing_end_is_not_an_error(simulation):
    assert simulation(run={}).tstop is None


def test_circuits_are_told_apart(simulation, folder):
    first, second = simulation().circuit, simulation(run={"tstop": 5}).circuit
    assert circuit_key(first) == circuit_key(second)
    moved = read_circuit(write(folder / "elsewhere/circuit.json", CIRCUIT))
    assert circuit_key(moved) != circuit_key(first)
    reordered = write(folder / "circuit/again.json", dict(reversed(CIRCUIT.items())))
    assert circuit_key(read_circuit(reordered)) == circuit_key(first)


@pytest.mark.parametrize("key", ["node_sets_file", "node_types_file"])
def test_equal_texts_that_mean_other_files_are_other_circuits(tmp_path, key):
    nodes = {"nodes_file": "/abs/nodes.h5"}
    content = {"networks": {"nodes": [nodes]}}
    (content if key == "node_sets_file" else nodes)[key] = "relative"
    first, second = (read_circuit(write(tmp_path / name / "circuit.json", content)) for name in "ab")
    assert first.content == second.content
    assert circuit_key(first) != circuit_key(second)


def test_a_circuit_may_hold_what_is_nothing_to_us(folder):
    write(folder / "circuit/circuit.json", CIRCUIT | {"x": "\ud800", "y": 1})
    text = (folder / "circuit/circuit.json").read_text().replace('"y": 1', '"y": 1e999')
    assert circuit_key(read_circuit(write(folder / "circuit/circuit.json", text)))


def test_a_changed_circuit_is_read_again(folder):
    path = folder / "circuit/circuit.json"
    before = read_circuit(path)
    assert read_circuit(path) is before
    write(path, CIRCUIT | {"version": 2})
    assert circuit_key(read_circuit(path)) != circuit_key(before)


BAD = {
    "not json": ("{", "simulation configuration {path} is not JSON"),
    "a list": ([], "simulation configuration {path} holds no keys"),
    "no network": ({}, "{path}: key 'network' is missing"),
    "network is a number": ({"network": 3}, "{path}: network: 3 is not a path"),
    "unknown variable": ({"network": "$A/c.json", "manifest": {"$B": "."}}, "network: variable $A is not a text in the manifest (known: $B)"),
    "variable of itself": (
        {"network": "$A/c.json", "manifest": {"$A": "$B", "$B": "${A}"}},
        "{path}: manifest: $A is defined by itself",
    ),
    "no circuit": ({"network": "none.json"}, "none.json is not there"),
    "run": ({"network": "../circuit/circuit.json", "run": 3}, "{path}: run: must be keys and values"),
    "tstop": ({"network": "../circuit/circuit.json", "run": {"tstop": "x"}}, "run.tstop: 'x' is not a finite number"),
    "NaN": ('{"network": "../circuit/circuit.json", "run": {"tstop": NaN}}', "run.tstop: 'NaN' is not a finite number"),
    "infinite": ('{"network": "../circuit/circuit.json", "run": {"tstop": 1e999}}', "run.tstop: inf is not a finite"),
    "400 digits": ({"network": "../circuit/circuit.json", "run": {"tstop": 10**400}}, "is not a finite number"),
    "half a character": ({"network": "\ud800.json"}, "is not a path"),
    "NUL": ({"network": "\0.json"}, "is not there"),
    "report": ({"network": "../circuit/circuit.json", "reports": {"a": 1}}, "reports.a: must be keys and values"),
    "report file": (
        {"network": "../circuit/circuit.json", "reports": {"a": {"file_name": 1}}},
        "reports.a.file_name: 1 is not a path",
    ),
    "output": ({"network": "../circuit/circuit.json", "output": {"output_dir": ""}}, "output.output_dir: '' is not"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_simulations(folder, content, message):
    path = write(folder / "sim/bad.json", content)
    with pytest.raises(SimulationError) as error:
        read_simulation(path)
    assert message.format(path=path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nodes", "circuit configuration {path} is not JSON"),
        ({}, "{path}: key 'networks.nodes' is missing"),
        ({"networks": {"nodes": {}}}, "key 'networks.nodes' is missing or not a list"),
        ({"networks": {"nodes": [{}]}}, "key 'networks.nodes[0].nodes_file' is missing"),
        (
            {"networks": {"nodes": [{"nodes_file": "a", "populations": [1]}]}},
            "networks.nodes[0].populations: must be",
        ),
        ({"networks": {"nodes": [{"nodes_file": 1}]}}, "networks.nodes[0].nodes_file: 1 is not a path"),
    ],
)
def test_bad_circuits(tmp_path, content, message):
    path = write(tmp_path / "circuit.json", content)
    with pytest.raises(SimulationError) as error:
        read_circuit(path)
    assert message.format(path=path) in str(error.value)


def with_components(path, components, populations, manifest=None):
    content = {
        "manifest": manifest or {},
        "components": components,
        "networks": {"nodes": [{"nodes_file": "nodes.h5", "populations": populations}], "edges": []},
    }
    return read_circuit(write(path / "circuit.json", content))


SWC = {"morphologies_dir": "$M/swc"}
ALTERNATE = {"alternate_morphologies": {"neurolucida-asc": "$M/asc", "h5v1": "./many.h5"}}
EVERYTHING = MorphologyFolders(Path("m/swc"), Path("m/asc"), Path("many.h5"))


@pytest.mark.parametrize(
    ("components", "population", "expected"),
    [
        ({}, {}, MorphologyFolders()),
        (SWC, {}, MorphologyFolders(swc=Path("m/swc"))),
        (SWC | ALTERNATE, {}, EVERYTHING),
        ({}, SWC | ALTERNATE, EVERYTHING),
        # each of the two keys by itself, as in libsonata
        (
            SWC | ALTERNATE,
            {"morphologies_dir": "own"},
            MorphologyFolders(Path("own"), Path("m/asc"), Path("many.h5")),
        ),
        (
            SWC | ALTERNATE,
            {"alternate_morphologies": {"h5v1": "/own"}},
            MorphologyFolders(swc=Path("m/swc"), h5=Path("/own")),
        ),
        (SWC | ALTERNATE, {"morphologies_dir": "", "alternate_morphologies": {}}, EVERYTHING),
        (
            SWC,
            {"alternate_morphologies": {"neurolucida-asc": None, "other": "x"}},
            MorphologyFolders(Path("m/swc")),
        ),
    ],
)
def test_places_of_morphologies(tmp_path, components, population, expected):
    circuit = with_components(tmp_path, components, {"a": population, "b": {}}, {"$M": "./m"})
    in_folder = (place and tmp_path / place for place in (expected.swc, expected.asc, expected.h5))
    assert circuit.morphologies["a"] == MorphologyFolders(*in_folder)
    assert circuit.morphologies["b"] == circuit.default_morphologies


def test_places_of_morphologies_are_those_of_libsonata(tmp_path):
    libsonata = pytest.importorskip("libsonata")
    kind = {"type": "biophysical"}
    populations = {
        "a": kind,
        "b": kind | {"morphologies_dir": "own"},
        "c": kind | {"alternate_morphologies": {"h5v1": "own"}},
        "d": kind | {"morphologies_dir": "$M/own", "alternate_morphologies": {"neurolucida-asc": "own"}},
    }
    for name in ("swc", "hoc"):
        (tmp_path / name).mkdir()
    circuit = with_components(
        tmp_path, SWC | ALTERNATE | {"biophysical_neuron_models_dir": "hoc"}, populations, {"$M": "./m"}
    )
    theirs = libsonata.CircuitConfig.from_file(str(circuit.config))
    for name in populations:
        known = theirs.node_population_properties(name)
        folders = circuit.morphologies[name]
        assert str(folders.swc) == known.morphologies_dir
        alternate = {"neurolucida-asc": folders.asc, "h5v1": folders.h5}
        assert {
            key: str(path) for key, path in alternate.items() if path
        } == known.alternate_morphology_formats


@pytest.mark.parametrize("key", ["$MORPHOLOGIES", "MORPHOLOGIES"])
def test_the_manifest_is_the_last_resort(tmp_path, key):
    manifest = {key: "./here"}
    circuit = with_components(
        tmp_path, {}, {"a": {}, "b": {"alternate_morphologies": {"h5v1": "own"}}}, manifest
    )
    assert (
        circuit.morphologies["a"] == circuit.default_morphologies == MorphologyFolders(swc=tmp_path / "here")
    )
    assert circuit.morphologies["b"].h5 == tmp_path / "own"
    circuit = with_components(tmp_path, {"morphologies_dir": "there"}, {"a": {}}, manifest)
    assert circuit.default_morphologies == MorphologyFolders(swc=tmp_path / "there")


def test_populations_that_are_not_listed(folder):
    circuit = read_circuit(
        write(folder / "circuit/circuit.json", CIRCUIT | {"components": {"morphologies_dir": "m"}})
    )
    assert [*circuit.morphologies] == ["a", "b"]
    assert circuit.default_morphologies == MorphologyFolders(swc=folder / "circuit/m")
    assert circuit.default_morphologies.places == [folder / "circuit/m"]


def test_types_of_populations(tmp_path):
    populations = {
        "a": {"type": "biophysical"},
        "b": {"type": "virtual"},
        "c": {},
        "d": {"type": None},
        "e": None,
    }
    assert with_components(tmp_path, {}, populations).population_types == {
        "a": "biophysical",
        "b": "virtual",
        "c": "",
        "d": "",
        "e": "",
    }


def test_types_of_reports(simulation):
    found = simulation(
        reports={
            "bmtk": {"module": "membrane_report"},
            "null": {"type": None},
            "off": {"enabled": False, "type": "compartment"},
            "sum": {"type": "summation"},
            "second": {"type": "compartment"},
            "first": {"type": "compartment"},
            "field": {"type": "lfp"},
        }
    )
    assert found.report_types == {
        "bmtk": "",
        "null": "",
        "sum": "summation",
        "second": "compartment",
        "first": "compartment",
        "field": "lfp",
    }
    assert [*found.report_types] == [*found.reports]
    # the order of the file counts, not that of the alphabet
    assert first_compartment_report(found) == "second"
    assert first_compartment_report(simulation(reports={"sum": {"type": "summation"}})) is None
    assert first_compartment_report(simulation()) is None


@pytest.mark.parametrize(
    ("components", "populations", "message"),
    [
        ([1], {}, "{path}: components: must be keys and values"),
        ({"morphologies_dir": 3}, {}, "{path}: components.morphologies_dir: 3 is not a path"),
        ({"alternate_morphologies": "x"}, {}, "components.alternate_morphologies: must be keys and values"),
        (
            {"alternate_morphologies": {"h5v1": [1]}},
            {},
            "components.alternate_morphologies.h5v1: [1] is not a path",
        ),
        (
            {"morphologies_dir": "$NO/x"},
            {},
            "components.morphologies_dir: variable $NO is not a text in the manifest",
        ),
        ({}, {"a": 1}, "networks.nodes[0].populations.a: must be keys and values"),
        (
            {},
            {"a": {"morphologies_dir": 3}},
            "networks.nodes[0].populations.a.morphologies_dir: 3 is not a path",
        ),
    ],
)
def test_bad_components(tmp_path, components, populations, message):
    with pytest.raises(SimulationError) as error:
        with_components(tmp_path, components, populations)
    assert message.format(path=tmp_path / "circuit.json") in str(error.value)


def test_missing_files(tmp_path):
    with pytest.raises(SimulationError, match="simulation configuration .*none.json is not there"):
        read_simulation(tmp_path / "none.json")


def test_planning_imports_nothing_heavy():
    code = (
        "import sys; import ephysflow.sonata.simulation_config, ephysflow.campaign.campaign_file;"
        "print([m for m in ('h5py', 'libsonata', 'numpy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
