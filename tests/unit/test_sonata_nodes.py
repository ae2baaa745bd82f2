"""Properties of nodes, node types, and node sets."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ephysflow.errors import SimulationError
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.simulation_config import CircuitFiles, MorphologyFolders, NodesFile

TEXT = h5py.string_dtype()


def write_nodes(path, population="a", node_type_id=(-1,) * 6, groups=None, **more):
    """Write six nodes; ``groups``: group name -> properties, library members as "@library/name"."""
    if groups is None:
        groups = {
            "0": {
                "k": np.arange(6),
                "x": np.arange(6) / 2,
                "mtype": np.array([0, 1, 1, 0, 2, 2], dtype="u4"),
                "@library/mtype": ["L1_DAC", "L23_PC", "L4_PC"],
                "morphology": list("mnopqm"),
                "dynamics_params/holding_current": np.zeros(6),
            }
        }
    with h5py.File(path, "a") as file:
        nodes = file.create_group(f"nodes/{population}")
        nodes["node_type_id"] = node_type_id
        for name, values in more.items():
            nodes[name] = values
        for group, properties in groups.items():
            nodes.create_group(group)
            for name, values in properties.items():
                texts = isinstance(values, list) and isinstance(values[0], str)
                nodes[group].create_dataset(name, data=values, dtype=TEXT if texts else None)
    return path


def circuit_of(*nodes):
    return CircuitFiles(Path("circuit.json"), nodes, None, "", {}, MorphologyFolders(), {})


@pytest.fixture
def population(tmp_path):
    return open_population(circuit_of(NodesFile(write_nodes(tmp_path / "n.h5"), None, ())), "a")


def test_properties(population):
    assert (population.name, population.size) == ("a", 6)
    assert population.property_names == ["k", "morphology", "mtype", "x"]
    assert population.property("k").tolist() == [0, 1, 2, 3, 4, 5]
    assert population.property("x").dtype == np.float64
    assert population.property("mtype").tolist() == ["L1_DAC", "L23_PC", "L23_PC", "L1_DAC", "L4_PC", "L4_PC"]
    assert population.property("morphology").dtype == object
    assert population.property("morphology").tolist() == list("mnopqm")
    assert population.property("k") is population.property("k")


def test_unknown_property_and_population(population, tmp_path):
    with pytest.raises(SimulationError, match="no property 'layer'; it has k, morphology, mtype, x"):
        population.property("layer")
    path = tmp_path / "n.h5"
    with pytest.raises(SimulationError, match="circuit.json: the circuit has no population 'b'; it has a"):
        open_population(circuit_of(NodesFile(path, None, ())), "b")
    with pytest.raises(SimulationError, match="no population 'a'; it has c"):
        open_population(circuit_of(NodesFile(path, None, ("c",))), "a")
    with pytest.raises(SimulationError, match=r"n.h5: group /nodes/c is missing \(there is: a\)"):
        open_population(circuit_of(NodesFile(path, None, ("c",))), "c")


def test_populations_in_several_files(tmp_path):
    files = [NodesFile(write_nodes(tmp_path / f"{name}.h5", name), None, ()) for name in "ab"]
    assert open_population(circuit_of(*files), "b").name == "b"


def test_node_types(tmp_path):
    types = tmp_path / "types.csv"
    types.write_text(
        'node_type_id ei size x "pop name" note dynamics_params\n'
        "7 e 1 9 fine NULL a.json\n\n"
        '100 i 2.5 9 "two words" 3 b.json\n'
        "5 unused 1 9 . 4 NULL\n"
    )
    path = write_nodes(tmp_path / "n.h5", node_type_id=[7, 7, 100, 7, 100, 7])
    population = open_population(circuit_of(NodesFile(path, types, ())), "a")
    assert population.property_names == ["ei", "k", "morphology", "mtype", "note", "pop name", "size", "x"]
    assert population.property("ei").tolist() == ["e", "e", "i", "e", "i", "e"]
    assert population.property("size").tolist() == [1, 1, 2.5, 1, 2.5, 1]
    assert population.property("note").tolist() == ["NULL", "NULL", "3", "NULL", "3", "NULL"]
    assert population.property("pop name")[2] == "two words"
    # a node's own value counts more
    assert population.property("x").tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "node types file .*types.csv is not there"),
        ("", "column 'node_type_id' is missing"),
        ("a,node_type_id\n1,2\n", "column 'node_type_id' is missing"),
        ("node_type_id a\n-1 x y\n", "row 1 has 3 values for 2 columns"),
        ("node_type_id a\n1 x\n", "node_type_id -1 of the nodes file is missing"),
    ],
)
def test_bad_node_types(tmp_path, text, message):
    types = tmp_path / "types.csv"
    if text is not None:
        types.write_text(text)
    with pytest.raises(SimulationError, match=message):
        open_population(circuit_of(NodesFile(write_nodes(tmp_path / "n.h5"), types, ())), "a")


GROUPS = {
    "0": {"k": [10, 11, 12], "mtype": np.array([0, 1, 0]), "@library/mtype": ["x", "y"]},
    "1": {"mtype": ["z", "z", "w"], "only": [1, 2, 3]},
}
GROUP_OF = {"node_group_id": [0, 1, 0, 1, 1, 0], "node_group_index": [2, 0, 0, 1, 2, 1]}


def test_several_groups_of_nodes(tmp_path):
    path = write_nodes(tmp_path / "n.h5", groups=GROUPS, **GROUP_OF)
    population = open_population(circuit_of(NodesFile(path, None, ())), "a")
    assert population.property_names == ["k", "mtype", "only"]
    np.testing.assert_array_equal(population.property("k"), [12, np.nan, 10, np.nan, np.nan, 11])
    assert population.property("mtype").tolist() == ["x", "z", "x", "z", "w", "y"]
    np.testing.assert_array_equal(population.property("only"), [np.nan, 1, np.nan, 2, 3, np.nan])


def test_a_group_without_a_property_takes_that_of_the_type(tmp_path):
    types = tmp_path / "types.csv"
    types.write_text("node_type_id k only\n-1 5 none\n")
    path = write_nodes(tmp_path / "n.h5", groups=GROUPS, **GROUP_OF)
    population = open_population(circuit_of(NodesFile(path, types, ())), "a")
    assert population.property("k").tolist() == [12, 5, 10, 5, 5, 11]
    assert population.property("only").tolist() == ["none", 1, "none", 2, 3, "none"]


@pytest.mark.parametrize(
    ("ids", "k"), [([5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0]), ([0, 2, 1, 3, 4, 5], [0, 2, 1, 3, 4, 5])]
)
def test_nodes_out_of_order(tmp_path, ids, k):
    path = write_nodes(tmp_path / "n.h5", node_id=ids)
    assert open_population(circuit_of(NodesFile(path, None, ())), "a").property("k").tolist() == k


def test_one_group_out_of_order(tmp_path):
    groups = {"0": {"k": [10, 11, 12, 13, 14, 15]}}
    index = [1, 0, 2, 3, 4, 5]
    path = write_nodes(tmp_path / "n.h5", groups=groups, node_group_id=[0] * 6, node_group_index=index)
    population = open_population(circuit_of(NodesFile(path, None, ())), "a")
    assert population.property("k").tolist() == [11, 10, 12, 13, 14, 15]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"node_id": [1, 2, 3, 4, 5, 6]}, "the ids of 6 nodes must be 0 .. 5, once each"),
        ({"node_id": [0, 1, 2, 3, 4, 4]}, "once each"),
        ({"node_id": [0, 1]}, "once each"),
        ({"node_type_id": [0.5] * 6}, "node_type_id has type float64"),
    ],
)
def test_bad_node_ids(tmp_path, more, message):
    path = write_nodes(tmp_path / "n.h5", **more)
    with pytest.raises(SimulationError, match=message):
        open_population(circuit_of(NodesFile(path, None, ())), "a")


@pytest.mark.parametrize(
    ("groups", "more", "message"),
    [
        ({"0": {"k": [1, 2]}}, {}, "property 'k' has 2 values for 6 nodes|property 'k' .* cannot be read"),
        ({"0": {"k": np.full(6, 3), "@library/k": ["a"]}}, {}, "the library has 1 texts|cannot be read"),
        ({"0": {"k": [1]}, "1": {"k": [1]}}, GROUP_OF, "/0/k has fewer values than its group has nodes"),
        ({"0": {"k": [1]}, "1": {"k": [1]}}, {}, "dataset /nodes/a/node_group_id is missing"),
        (
            {"0": {"k": [1]}, "1": {"k": [1]}},
            {"node_group_id": [0], "node_group_index": [0]},
            "node_group_id and node_group_index must have 6 values",
        ),
    ],
)
def test_bad_properties(tmp_path, groups, more, message):
    path = write_nodes(tmp_path / "n.h5", groups=groups, **more)
    with pytest.raises(SimulationError, match=message):
        open_population(circuit_of(NodesFile(path, None, ())), "a").property("k")


def test_bad_files(tmp_path):
    path = tmp_path / "n.h5"
    with pytest.raises(SimulationError, match="nodes file .*n.h5 is not there"):
        open_population(circuit_of(NodesFile(path, None, ())), "a")
    write_nodes(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SimulationError, match="is not HDF5, or is damaged"):
        open_population(circuit_of(NodesFile(path, None, ("a",))), "a")


@pytest.fixture
def ids(population, tmp_path):
    def of(rules, **others):
        path = tmp_path / "sets.json"
        path.write_text(json.dumps({"set": rules} | others))
        found = node_set_ids([path], "set", population)
        assert found.dtype == np.int64
        return found.tolist()

    return of


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"mtype": "L4_PC"}, [4, 5]),
        ({"mtype": ["L4_PC", "L1_DAC", "none"]}, [0, 3, 4, 5]),
        ({"mtype": []}, []),
        ({"k": 3}, [3]),
        ({"k": [1, 2.0, 77]}, [1, 2]),
        ({"x": 0.5}, [1]),
        ({"mtype": {"$regex": "PC"}}, [1, 2, 4, 5]),
        ({"mtype": {"$regex": "^L2.*C$"}}, [1, 2]),
        ({"x": {"$gt": 1, "$lte": 2}}, [3, 4]),
        ({"k": {"$gte": 4.5}}, [5]),
        ({"k": {"$lt": 2}}, [0, 1]),
        ({"mtype": "L23_PC", "k": {"$gt": 1}}, [2]),
        ({"population": "a"}, [0, 1, 2, 3, 4, 5]),
        ({"population": ["b", "a"], "node_id": [5, 1, 1, 999]}, [1, 5]),
        ({"population": "b", "no_such_property": 1}, []),
        ({"node_id": 3}, [3]),
        ({"node_id": []}, []),
        ({"gids": [3]}, [3]),
        ({"node_ids": [2, 0]}, [0, 2]),
        ([], []),
    ],
)
def test_rules(ids, rules, expected):
    assert ids(rules) == expected


def test_sets_of_sets(ids):
    assert ids(["p", "q", "p"], p=["r"], q={"node_id": [5]}, r={"node_id": [1, 2]}) == [1, 2, 5]


def test_many_references_to_the_same_sets_are_looked_up_once(ids):
    chain = {f"s{i}": [f"s{i + 1}", f"s{i + 1}"] for i in range(60)} | {"s60": {"node_id": 4}}
    assert ids(["s0"], **chain) == [4]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "node set 'set' must be rules on properties, or a list"),
        (3, "node set 'set' must be rules"),
        ({"nope": 1}, "no property 'nope'; it has k, morphology, mtype, x"),
        ({"mtype": 1}, "node set 'set': mtype: 1 is not a text"),
        ({"k": ["1"]}, "k: '1' is not a number"),
        ({"k": True}, "k: True is not a number"),
        ({"k": {}}, "k: an operator is missing"),
        (
            {"k": {"$regex": "1"}},
            r"'\$regex': '1' is not allowed; allowed is \$gt, \$gte, \$lt, \$lte and a number",
        ),
        ({"mtype": {"$gt": 1}}, r"allowed is \$regex and a text"),
        ({"mtype": {"$regex": "("}}, "'\\(' is not a regular expression"),
        ({"node_id": [-1]}, "node_id: -1 is not a node id"),
        ({"node_id": "1"}, "node_id: '1' is not a node id"),
        (["none"], "refers to 'none', which is no node set"),
        ([["set"]], "which is no node set"),
        (["set"], "node set 'set' refers to itself"),
    ],
)
def test_bad_rules(ids, rules, message):
    with pytest.raises(SimulationError, match=message):
        ids(rules)


def test_circles(ids):
    with pytest.raises(SimulationError, match="node set 'set' refers to itself"):
        ids(["p"], p=["q"], q=["set"])


def test_later_files_come_on_top(population, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({"p": {"node_id": [1]}, "both": ["p"]}))
    second.write_text(json.dumps({"p": {"node_id": [2]}}))
    assert node_set_ids([first, second], "both", population).tolist() == [2]
    assert node_set_ids([second, first], "both", population).tolist() == [1]


def test_bad_node_sets_files(population, tmp_path):
    path = tmp_path / "sets.json"
    with pytest.raises(SimulationError, match="node sets file .*sets.json is not there"):
        node_set_ids([path], "set", population)
    for text, message in [("{", "cannot be read as JSON"), ("[]", "must be names and rules")]:
        path.write_text(text)
        with pytest.raises(SimulationError, match=message):
            node_set_ids([path], "set", population)
    path.write_text('{"p": [], "q": []}')
    with pytest.raises(SimulationError, match="no node set 'set'; there is p, q"):
        node_set_ids([path], "set", population)
    with pytest.raises(SimulationError, match="no node sets file: no node set 'set'; there is none"):
        node_set_ids([], "set", population)
