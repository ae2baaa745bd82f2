"""Checking of weights files: each kind of damage is told, and named by what clients do with it."""

import json
import random
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.extracellular import weights_check
from ephysflow.extracellular.compartments import Compartments
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.positions_file import PopulationPositions, write_positions
from ephysflow.extracellular.weights_check import inspect_weights
from ephysflow.extracellular.weights_file import PopulationRows, WeightsContents, create, finish
from ephysflow.io.provenance import Provenance

NODES, OFFSETS = (0, 2, 5), (0, 4, 6, 9)
FACTORS = "electrodes/popA/scaling_factors"


def check_weights(path, **against):
    return inspect_weights(path, **against).problems


def write(path: Path, **changes) -> Path:
    """Write a sound file of ephysflow: one population, three nodes, two electrodes."""
    electrodes = [
        Electrode(f"e{i}", "probe", (0.0, 0.0, i), "L1", "NA", "PointSource", "PointSource", (0.3,) * 3)
        for i in range(2)
    ]
    rows = PopulationRows("popA", np.array(NODES), np.array(OFFSETS))
    given = {
        "electrodes": electrodes,
        "populations": [rows],
        "layout": "sonata",
        "column_of_ones": False,
        "unit": "mV/nA",
        "precision": "float64",
        "provenance": "text",
        **changes,
    }
    contents = WeightsContents(**given)
    create(path, contents)
    with h5py.File(path, "r+") as file:
        factors = file[FACTORS]
        factors[...] = 1 / (2 + np.arange(factors.size).reshape(factors.shape))
        if contents.column_of_ones:
            factors[:, -1] = 1
    finish(path)
    return path


def test_a_sound_file_has_no_findings(tmp_path):
    for layout in ("sonata", "bluerecording"):
        found = inspect_weights(write(tmp_path / f"{layout}.h5", layout=layout, precision="float32"))
        assert found.problems == []
        assert (found.remarks == []) == (layout == "sonata")
    assert "popA" in " ".join(found.summary)
    assert "3 nodes, 9 compartments, 2 columns of float32" in " ".join(found.summary)
    assert "2 electrodes: 2 PointSource" in found.summary


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"layout": "sonata_groups"}, "libsonata refuses such a file"),
        ({"column_of_ones": True}, "column 2 of ones, without electrode: neurodamus reports it"),
        ({"unit": "V/nA"}, "coefficients are in V/nA, not mV/nA"),
    ],
)
def test_what_is_right_but_unusual_is_a_remark(tmp_path, changes, remark):
    found = inspect_weights(write(tmp_path / "w.h5", **changes))
    assert found.problems == []
    assert [remark in text for text in found.remarks] == [True]


def _set(name, value):
    def change(file):
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        file[name] = value
        for key, attribute in attributes.items():
            file[name].attrs[key] = attribute

    return change


def _delete(name):
    return lambda file: file.pop(name)


def _put(index, value):
    def change(file):
        file[FACTORS][index] = value

    return change


def _attribute(name, key, value):
    def change(file):
        file[name].attrs[key] = value

    return change


def _compress(file):
    values = np.full(file[FACTORS].shape, 0.5)
    del file[FACTORS]
    file.create_dataset(FACTORS, data=values, compression="gzip")
    file[FACTORS].attrs["units"] = "mV/nA"


PROBLEMS = {
    "no electrodes": (_delete("electrodes"), "group /electrodes is missing: neurodamus and libsonata refuse"),
    "no factors": (_delete(FACTORS), "/electrodes/popA/scaling_factors is missing"),
    "no nodes": (_delete("popA"), "/popA/node_ids is missing"),
    "no offsets": (_delete("popA/offsets"), "dataset /popA/offsets is missing"),
    "not complete": (_attribute("/", "complete", 0), "the mark 'complete' is not set"),
    "float ids": (_set("popA/node_ids", np.array([0.0, 2.0, 5.0])), "node_ids has type float64"),
    "negative ids": (_set("popA/node_ids", np.array([-1, 2, 5])), "which is not an id"),
    "huge ids": (_set("popA/node_ids", np.array([2**63, 2, 5], dtype="u8")), "which is not an id"),
    "same ids": (_set("popA/node_ids", np.array([2, 2, 5])), "node 2 in node_ids more than once"),
    "too few offsets": (_set("popA/offsets", np.array([0, 4, 9])), "3 offsets for 3 nodes, 4 needed"),
    "descending": (_set("popA/offsets", np.array([0, 6, 4, 9])), "offsets descend at node 2"),
    "short": (
        _set("popA/offsets", np.array([0, 4, 6, 8])),
        "offsets go from 0 to 8, but scaling_factors has 9",
    ),
    "far": (_set("popA/offsets", np.array([0, 4, 6, 10])), "offsets go from 0 to 10"),
    "late": (_set("popA/offsets", np.array([1, 4, 6, 9])), "offsets go from 1 to 9"),
    "no rows": (_set("popA/offsets", np.array([0, 4, 4, 9])), "no rows for node 2"),
    "one dimension": (_set(FACTORS, np.ones(9)), "needed are numbers in 2 dimensions"),
    "text": (_set(FACTORS, "text"), "needed are numbers in 2 dimensions"),
    "empty": (_set(FACTORS, np.ones((0, 2))), "nothing is there"),
    "NaN": (_put((5, 1), np.nan), "NaN in 1 of 9 rows, of node 2: neurodamus uses them"),
    "infinite": (_put((8, 1), -np.inf), "1 coefficients are infinite, in column 1"),
    "compressed": (_compress, "stored with deflate: libsonata cannot read it"),
    "no position": (_delete("electrodes/e0/position"), "electrode e0: no position of 3 numbers"),
    "short position": (_set("electrodes/e0/position", np.zeros(2)), "electrode e0: no position of 3"),
    "lost": (
        _set("electrodes/e0/position", np.array([0, np.nan, 0], "f4")),
        "'e0': position [ 0. nan  0.] is",
    ),
    "no type": (_delete("electrodes/e1/type"), "electrode e1: no type: libsonata fails"),
    "type number": (_set("electrodes/e1/type", 3), "electrode e1: no type: libsonata fails"),
    "no column": (_delete("electrodes/e1/popA"), "electrode e1: no column"),
    "real column": (_set("electrodes/e1/popA", 1.0), "electrode e1: no column"),
    "beyond": (_set("electrodes/e1/popA", 2), "electrode e1: column outside 0..1"),
    "negative": (_set("electrodes/e1/popA", -1), "electrode e1: column outside 0..1"),
    "twice": (
        _set("electrodes/e1/popA", 0),
        "column 0 belongs to electrodes e0, e1; libsonata does not notice",
    ),
    "free": (_delete("electrodes/e1"), "column 1: no electrode; neurodamus reports it"),
    "unit": (_attribute(FACTORS, "units", "mA"), "unit 'mA'; mV/nA by the specification"),
    "own unit": (_attribute("electrodes/e1", "units", "V/nA"), "'e1': unit 'V/nA', but"),
}


@pytest.mark.parametrize(("change", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_damage_is_a_problem(tmp_path, change, problem):
    with h5py.File(write(tmp_path / "w.h5"), "r+") as file:
        change(file)
    problems = check_weights(tmp_path / "w.h5")
    assert any(problem in text for text in problems), problems


REMARKS = {
    "order": (_set("popA/node_ids", np.array([5, 0, 2], "u8")), "node_ids do not ascend"),
    "signed": (_set("popA/node_ids", np.array([0, 2, 5], "i8")), "node_ids is int64"),
    "position": (_set("electrodes/e0/position", np.zeros(3)), "libsonata warns of each"),
    "type": (_set("electrodes/e0/type", "Guess"), "electrode e0: type 'Guess' is unknown"),
    "layer": (_set("electrodes/e0/layer", np.nan), "electrode e0: layer is not a text"),
    "length one": (_set("electrodes/e0/popA", np.zeros(1, "u8")), None),
    "region of another type": (_set("electrodes/e1/region", np.bytes_("S1")), None),
    "no layer": (_delete("electrodes/e0/layer"), None),
    "zero": (_put((slice(None), 1), 0), "electrode e1: all coefficients are 0"),
    "integers": (_set(FACTORS, np.full((9, 2), 3)), "scaling_factors is int64"),
    "no unit": (_set(FACTORS, np.full((9, 2), 0.5)), None),
}


@pytest.mark.parametrize(("change", "remark"), REMARKS.values(), ids=REMARKS)
def test_what_clients_can_read_is_at_most_a_remark(tmp_path, change, remark):
    with h5py.File(write(tmp_path / "w.h5"), "r+") as file:
        change(file)
    found = inspect_weights(tmp_path / "w.h5")
    assert found.problems == []
    assert remark is None or any(remark in text for text in found.remarks), found.remarks


def test_blocks_of_rows_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_check, "BLOCK", 4)  # two rows of two columns
    with h5py.File(write(tmp_path / "w.h5"), "r+") as file:
        file[FACTORS][0, 0] = file[FACTORS][7, 1] = np.nan
    (problem,) = check_weights(tmp_path / "w.h5")
    assert "NaN in 2 of 9 rows, of nodes 0, 5:" in problem


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_not_hdf5_is_a_problem(tmp_path, content):
    (tmp_path / "w.h5").write_bytes(content)
    (problem,) = check_weights(tmp_path / "w.h5")
    assert "is not HDF5, or is damaged" in problem
    assert "is not there" in check_weights(tmp_path / "absent.h5")[0]


def test_a_size_that_the_file_does_not_hold_is_a_problem(tmp_path):
    with h5py.File(write(tmp_path / "w.h5"), "r+") as file:
        del file[FACTORS]
        file.create_dataset(FACTORS, shape=(10**9, 10**6), dtype="f8", chunks=(100, 100), compression="gzip")
    (problem,) = check_weights(tmp_path / "w.h5")
    assert "but the file does not hold them" in problem


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    return write(tmp_path_factory.mktemp("sound") / "w.h5", column_of_ones=True).read_bytes()


def outside_heaps(content: bytes) -> list[int]:
    """Return the places of a file but those of its heaps of texts: HDF5 itself ends the process on some damage there."""
    heaps = [match.start() for match in re.finditer(b"GCOL", content)]
    ends = [start + int.from_bytes(content[start + 8 : start + 16], "little") for start in heaps]
    inside = set().union(*(range(a, b) for a, b in zip(heaps, ends, strict=True)))
    return [place for place in range(len(content)) if place not in inside]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_bytes=st.integers(1, 30), cut=st.booleans())
def test_changed_bytes_never_raise(sound, tmp_path_factory, seed, n_bytes, cut):
    chance = random.Random(seed)
    content = bytearray(sound)
    places = outside_heaps(sound)
    for _ in range(n_bytes):
        content[chance.choice(places)] = chance.choice((0, 1, 255, chance.randrange(256)))
    if cut:
        content = content[: chance.randrange(len(content))]
    path = tmp_path_factory.mktemp("changed") / "w.h5"
    path.write_bytes(content)
    inspect_weights(path)


# --- against other files


@pytest.fixture
def circuit(tmp_path) -> Path:
    nodes = tmp_path / "nodes.h5"
    with h5py.File(nodes, "w") as file:
        for name in ("popA", "popV"):
            file[f"nodes/{name}/node_type_id"] = np.full(6, -1)
            file[f"nodes/{name}/0/x"] = np.zeros(6)
    populations = {"popA": {"type": "biophysical"}, "popV": {"type": "virtual"}}
    config = {"networks": {"nodes": [{"nodes_file": str(nodes), "populations": populations}]}}
    (tmp_path / "circuit_config.json").write_text(json.dumps(config))
    return tmp_path / "circuit_config.json"


def test_against_a_circuit(tmp_path, circuit):
    found = inspect_weights(write(tmp_path / "w.h5"), circuit=circuit)
    assert found.problems == []
    assert ["3 of the circuit's 6 nodes are not in the file" in text for text in found.remarks] == [True]
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file["popA/node_ids"][2] = 6
    (problem,) = check_weights(tmp_path / "w.h5", circuit=circuit)
    assert f"node 6: the circuit {circuit} has nodes 0..5 only" in problem


def test_against_a_circuit_without_such_nodes(tmp_path, circuit):
    rows = [PopulationRows(name, np.array(NODES), np.array(OFFSETS)) for name in ("popA", "popB", "popV")]
    write(tmp_path / "w.h5", populations=rows)
    problems = check_weights(tmp_path / "w.h5", circuit=circuit)
    assert any("no population 'popB'" in text for text in problems)
    assert any("'popV': is of type virtual" in text for text in problems)
    (problem,) = check_weights(write(tmp_path / "x.h5"), circuit=tmp_path / "absent.json")
    assert "absent.json is not there" in problem


def _report(path: Path, sections_of: dict[int, list[int]]) -> Path:
    """Write a compartment report: node -> section of each of its compartments."""
    counts = [len(sections) for sections in sections_of.values()]
    with h5py.File(path, "w") as file:
        group = file.create_group("report/popA")
        group["data"] = np.zeros((2, sum(counts)), dtype="f4")
        group["mapping/node_ids"] = np.array([*sections_of], dtype="u8")
        group["mapping/index_pointers"] = np.concatenate([[0], np.cumsum(counts)]).astype("u8")
        group["mapping/element_ids"] = np.concatenate([*sections_of.values()]).astype("u4")
        group["mapping/time"] = np.array([0.0, 2.0, 1.0])
    return path


def test_against_a_report(tmp_path):
    write(tmp_path / "w.h5")
    same = _report(tmp_path / "same.h5", {5: [0, 1, 1], 0: [0, 1, 1, 2], 2: [0, 0]})
    assert check_weights(tmp_path / "w.h5", report=same) == []
    other = _report(tmp_path / "other.h5", {0: [0, 1, 1, 2, 2], 2: [0, 0], 7: [0]})
    problems = check_weights(tmp_path / "w.h5", report=other)
    assert len(problems) == 3
    assert f"node 5: not in report {other}" in problems[0]
    assert f"node 7 of report {other}: not in the weights file" in problems[1]
    assert f"node 0: other numbers of compartments than report {other} (node 0: 4, not 5)" in problems[2]
    (problem,) = check_weights(tmp_path / "w.h5", report=tmp_path / "absent.h5")
    assert "absent.h5 is not there" in problem


def _positions(path: Path, types: list[int]) -> Path:
    """Write positions of the nodes of `write`, with these types of sections."""
    xyz = np.arange(27.0).reshape(9, 3)
    compartments = Compartments(
        np.array([0, 1, 2, 3, 0, 1, 0, 1, 2]), np.array(types), xyz, xyz + 1, np.ones(9)
    )
    rows = PopulationPositions(np.array(NODES), np.array(OFFSETS), compartments)
    write_positions(path, {"popA": rows}, Provenance("segment_positions", "c/0", "{}", ""))
    return path


@pytest.mark.parametrize("block", [1 << 23, 64 * 2])
def test_against_positions(tmp_path, block, monkeypatch):
    monkeypatch.setattr(weights_check, "BLOCK", block)
    write(tmp_path / "w.h5")
    right = _positions(tmp_path / "right.h5", [1, 2, 3, 4, 1, 3, 1, 2, 7])
    assert check_weights(tmp_path / "w.h5", positions=[right]) == []
    wrong = _positions(tmp_path / "wrong.h5", [1, 2, 4, 3, 1, 3, 1, 7, 3])
    (problem,) = check_weights(tmp_path / "w.h5", positions=[wrong])
    assert "sections of nodes 0, 5 are not in the order soma, axon, basal, apical" in problem
    (problem,) = check_weights(tmp_path / "w.h5", positions=[tmp_path / "absent.h5"])
    assert "absent.h5 is not there" in problem


def test_pickles_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "positions0.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (problem,) = check_weights(write(tmp_path / "w.h5"), positions=[tmp_path / "positions0.pkl"])
    assert "pickles of BlueRecording are not read" in problem
    assert "snakemake" in problem
