"""Circuits, reports and tables of electrodes that are wrong or damaged: refused with one message, or listed."""

import io
import math
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from ephysflow.cli import main
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError, EphysflowError, ResultError, SimulationError
from ephysflow.extracellular.weights_step import electrode_weights
from ephysflow.io.tables import read_rows
from ephysflow.io.yaml_files import read_yaml
from ephysflow.plan import Plan, read_job
from ephysflow.planning import plan_workflow
from ephysflow.steps import STEPS

from ..circuits import Failures, run_circuit, run_planned
from ..small_circuit import (
    BASKET,
    POPULATION,
    PYRAMID,
    SECTIONS,
    SIZE,
    circuit_config,
    configuration,
    simulation_config,
    swc,
    write_electrodes,
    write_json,
    write_nodes,
    write_report,
    write_small_circuit,
    write_yaml,
)
from .folders import Folder

RESULTS = Path("results/extracellular/c")
EVERYTHING = {"positions/0.h5", "positions/1.h5", "probe.h5", "points.h5"}
BASKETS = (1, 3, 5)
"""Nodes with the morphology ``basket``."""

COMPARTMENTS = sum(SECTIONS.values())
HEADER = "name,x,y,z,layer,region,type"

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def code_hashes(tmp_path_factory) -> Path:
    """Hash the library once: it takes longer than a circuit of six cells."""
    path = tmp_path_factory.mktemp("code") / "code.json"
    hasher = CodeHasher(path)
    for step in STEPS.values():
        hasher.library(step.modules)
    hasher.save()
    return path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, code_hashes) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake/ephysflow").mkdir(parents=True)
    shutil.copy(code_hashes, ".snakemake/ephysflow/code.json")


@pytest.fixture(scope="module")
def good(tmp_path_factory, code_hashes) -> dict[str, np.ndarray]:
    """Return the coefficients of the circuit as it should be: weights file -> (cells, compartments, electrodes)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("good"))
        Path(".snakemake/ephysflow").mkdir(parents=True)
        shutil.copy(code_hashes, ".snakemake/ephysflow/code.json")
        _, failures = run()
        assert failures == {}
        return {name: coefficients(name).reshape(SIZE, COMPARTMENTS, -1) for name in ("probe", "points")}


def run(damage: Damage | None = None, **settings: Any) -> tuple[Plan, Failures]:
    """Run the small circuit after some damage."""
    write_small_circuit(Path(), **settings)
    if damage is not None:
        damage(Path())
    return run_circuit(read_yaml(Path("config.yaml")), [Path("config.yaml")])


def run_well(damage: Damage | None = None, **settings: Any) -> Plan:
    plan, failures = run(damage, **settings)
    assert failures == {}
    return plan


def made() -> set[str]:
    """Return all files of the circuit, tables of exclusions aside; hidden ones, which are half written, too."""
    files = {str(path.relative_to(RESULTS)) for path in RESULTS.rglob("*") if path.is_file()}
    return {name for name in files if not name.endswith(".exclusions.parquet")}


def coefficients(name: str, population: str = POPULATION) -> np.ndarray:
    with h5py.File(RESULTS / f"{name}.h5") as file:
        assert file.attrs["complete"] == 1
        return file[f"electrodes/{population}/scaling_factors"][()]


def exclusions() -> list[dict[str, Any]]:
    return [row for table in sorted(RESULTS.glob("positions/*.parquet")) for row in read_rows(table)]


def says(error: EphysflowError | str, wanted: Sequence[str]) -> bool:
    """Check that a message has all that it should have, and neither a traceback nor what a program calls things."""
    text = str(error)
    assert [part for part in wanted if part not in text] == [], text
    assert "Traceback" not in text
    assert "\x1b" not in text
    assert len(text) < 3000
    return True


def one_failure(failures: Failures) -> EphysflowError:
    (error,) = failures.values()
    return error


# ---------------------------------------------------------------- damages


def half(path: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: len(content) // 2])

    return damage


def without(path: str) -> Damage:
    return lambda folder: (folder / path).unlink()


def with_text(path: str, text: str | bytes) -> Damage:
    content = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / path).write_bytes(content)


def replaced(path: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return damage


def in_hdf5(path: str, change: Callable[[h5py.File], object]) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(folder / path, "a") as file:
            change(file)

    return damage


def set_values(name: str, values: Any) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def declared(name: str, shape: tuple[int, ...]) -> Callable[[h5py.File], object]:
    """Replace a dataset by one that declares `shape` and holds nothing."""

    def change(file: h5py.File) -> None:
        kind = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, kind, chunks=tuple(min(size, 1000) for size in shape))

    return change


def basket(text: str | bytes) -> Damage:
    return with_text("morphologies/basket.swc", text)


def morphology(*lines: str) -> Damage:
    return basket("\n".join(lines) + "\n")


def a_folder(path: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).mkdir()

    return damage


def report(sections: Mapping[int, Mapping[int, int]]) -> Damage:
    return lambda folder: write_report(folder / "compartments.h5", sections)


# ---------------------------------------------------------------- morphologies

AXON_AND_DENDRITES = ("2 2 0 -8 0 .5 1", "3 2 30 -60 0 .5 2", "4 3 8 0 0 .5 1", "5 3 60 40 0 .5 4")
NO_POSITIONS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    # name: damage to the morphology basket, what its cells' reason must say
    "missing": (without("morphologies/basket.swc"), ("'basket' is not there", "looked for", "basket.swc")),
    "empty": (basket(""), ("morphologies/basket.swc",)),
    "a text": (basket("hello"), ("morphologies/basket.swc", "cannot be read")),
    "binary": (basket(bytes(range(256))), ("morphologies/basket.swc", "cannot be read")),
    "a folder": (a_folder("morphologies/basket.swc"), ("'basket' is not there",)),
    "HDF5 under the name": (
        lambda folder: write_nodes(folder / "morphologies/basket.swc"),
        ("morphologies/basket.swc", "cannot be read"),
    ),
    "cut in the middle of a line": (
        lambda folder: basket(swc(BASKET)[:70])(folder),
        ("basket",),
    ),
    "too few values": (morphology("1 1 0 0 0 6 -1", "2 2 0 -8"), ("basket.swc", "cannot be read")),
    "no number": (
        morphology("1 1 0 0 0 6 -1", "2 2 zero -8 0 1 1"),
        ("basket.swc", "cannot be read"),
    ),
    "NaN": (morphology("1 1 0 0 0 6 -1", "2 2 nan -8 0 1 1", "3 2 0 -9 0 1 2"), ("basket.swc",)),
    "infinity": (morphology("1 1 0 0 0 6 -1", "2 2 0 1e999 0 1 1", "3 2 0 -9 0 1 2"), ("basket.swc",)),
    "unknown parent": (morphology("1 1 0 0 0 6 -1", "2 2 0 -8 0 1 99"), ("basket.swc", "99")),
    "own parent": (morphology("1 1 0 0 0 6 -1", "2 2 0 -8 0 1 2"), ("basket.swc",)),
    "circle of parents": (
        morphology("1 1 0 0 0 6 -1", "2 2 0 -8 0 1 3", "3 2 0 -9 0 1 2"),
        ("morphology 'basket', which has 0 sections",),  # those of the circle hang on nothing
    ),
    "negative diameter": (
        morphology("1 1 0 0 0 6 -1", "2 2 0 -8 0 -1 1", "3 2 0 -9 0 1 2"),
        ("basket.swc", "negative"),
    ),
    "unknown section type": (
        morphology("1 1 0 0 0 6 -1", *AXON_AND_DENDRITES, "6 7 0 9 0 1 1", "7 7 0 20 0 1 6"),
        ("basket.swc", "sections of type 7", "2 (axon), 3 (basal dendrite) and 4 (apical dendrite)"),
    ),
    "sections that it lacks": (
        basket(swc(BASKET[:4])),
        ("sections 5 and 6 are not in morphology 'basket', which has 4 sections", "the myelin"),
    ),
    "soma only": (morphology("1 1 0 0 0 6 -1"), ("sections 4 and 5 are not in", "has 0 sections")),
    "axon of many sections": (
        basket(swc((*BASKET[:3], (2, [(9, 9, 9)], -1), (2, [(9, 19, 9)], -2), *BASKET[3:]))),
        ("section 4 is one of the 5 axon sections", "replace_axons: false"),
    ),
}


@pytest.mark.parametrize("name", NO_POSITIONS)
def test_cells_without_positions_are_all_listed_and_refused(name):
    damage, wanted = NO_POSITIONS[name]
    _, failures = run(damage, chunks=1)
    assert [*failures] == ["segment_positions(c, 0)"]
    error = one_failure(failures)
    assert isinstance(error, SimulationError)
    assert says(error, ("circuit c: 3 cells have no positions", "missing_morphologies: nan", *wanted))
    assert re.findall(r"^ +cells (\d):", str(error), re.M) == [str(node) for node in BASKETS]
    assert len(str(error).splitlines()) == 1 + len(BASKETS)
    assert made() == set()
    assert exclusions() == []


@pytest.mark.parametrize("name", NO_POSITIONS)
def test_cells_without_positions_get_nan_and_nobody_else_is_moved(name, good):
    damage, wanted = NO_POSITIONS[name]
    plan = run_well(damage, missing_morphologies="nan")
    assert made() == EVERYTHING
    for file, values in good.items():
        found = coefficients(file).reshape(values.shape)
        assert np.isnan(found[1::2]).all()
        assert np.array_equal(found[::2], values[::2])
    listed = exclusions()
    assert [(row["population"], row["node_id"], row["morphology"]) for row in listed] == [
        (POPULATION, node, "basket") for node in BASKETS
    ]
    assert all(says(row["reason"], wanted) and "\n" not in row["reason"] for row in listed)
    assert plan.left_out() == [
        f"circuit c, chunk 0: 1 left out (why: {RESULTS}/positions/0.exclusions.parquet)",
        f"circuit c, chunk 1: 2 left out (why: {RESULTS}/positions/1.exclusions.parquet)",
    ]


AROUND = {"bottom": -5000, "top": 5000, "sigma_below": 0, "sigma_above": 1.5}


@pytest.mark.parametrize(
    ("kind", "of_array"),
    [
        *((kind, {"cutoff": 50}) for kind in ("PointSource", "LineSource")),
        *((kind, {"slice": AROUND}) for kind in ("PointSource", "LineSource")),
        ("LineSource", {"contact": {"radius": 5, "normal": [1, 0, 0], "points": 5}}),
        ("LineSource", {"sigma": {"x": 0.2, "y": 0.3, "z": 0.4}}),
        ("PointSource", {"minimum_distance": 20, "reference": "probe0"}),
        ("ObjectiveCSD_Sphere", {}),
        ("ObjectiveCSD_Disk_100", {}),
        ("ObjectiveCSD_Plane", {}),
    ],
    ids=str,
)
def test_with_every_method_only_cells_without_positions_are_nan(kind, of_array):
    def damage(folder: Path) -> None:
        write_electrodes(folder / "probe.csv", kind, 3)
        without("morphologies/basket.swc")(folder)

    run_well(damage, missing_morphologies="nan", **weights(**of_array))
    found = coefficients("probe").reshape(SIZE, COMPARTMENTS, 3)
    assert np.isnan(found[1::2]).all()
    assert np.isfinite(found[::2]).all()


def test_without_exclusions_nothing_is_said():
    plan = run_well(missing_morphologies="nan")
    assert exclusions() == []
    assert plan.left_out() == []


def test_the_good_chunk_is_not_lost():
    def damage(folder: Path) -> None:
        write_nodes(folder / "nodes.h5", SIZE, ("pyramid",) * 3 + ("lost",) * 3)

    _, failures = run(damage)
    assert [*failures] == ["segment_positions(c, 1)"]
    assert made() == {"positions/0.h5"}
    shutil.copy("morphologies/basket.swc", "morphologies/lost.swc")
    _, failures = run_circuit(read_yaml(Path("config.yaml")))
    assert failures == {}
    assert made() == EVERYTHING


def test_only_so_many_cells_are_named():
    def damage(folder: Path) -> None:
        write_nodes(folder / "nodes.h5", 100)
        write_report(folder / "compartments.h5", dict.fromkeys(range(100), SECTIONS))
        without("morphologies/basket.swc")(folder)

    _, failures = run(damage, chunks=1)
    text = str(one_failure(failures))
    assert "50 cells have no positions" in text
    assert len(text.splitlines()) == 22
    assert text.endswith("and 30 more")


@pytest.mark.parametrize(
    "name", ["../basket", "/etc/passwd", "a/../../basket", "..", ".", "", "a\\b", "x" * 300, "a\nb"]
)
def test_names_of_morphologies_are_no_paths(name):
    def damage(folder: Path) -> None:
        write_nodes(folder / "nodes.h5", SIZE, ("pyramid", name))
        shutil.copy(folder / "morphologies/basket.swc", folder)

    _, failures = run(damage, chunks=1)
    assert says(one_failure(failures), ("3 cells", "is not"))
    assert made() == set()


def container(basket: Mapping[str, Any] | bytes) -> Damage:
    """Put the morphologies into an HDF5 container, that of ``basket`` by its datasets; bytes: in place of the container."""

    def damage(folder: Path) -> None:
        path = folder / "morphologies.h5"
        write_json(
            folder / "circuit_config.json",
            circuit_config(morphologies_dir=None, alternate_morphologies={"h5v1": "$HERE/morphologies.h5"}),
        )
        if isinstance(basket, bytes):
            path.write_bytes(basket)
            return
        write_container(path, {"pyramid": PYRAMID, "basket": BASKET})
        with h5py.File(path, "a") as file:
            for name, values in basket.items():
                if values is None:
                    del file[name]
                elif isinstance(values, tuple):
                    declared(name, values)(file)
                else:
                    set_values(name, values)(file)

    return damage


def write_container(
    path: Path, morphologies: Mapping[str, Sequence[tuple[int, list[tuple[int, ...]], int]]]
) -> None:
    with h5py.File(path, "w") as file:
        for name, sections in morphologies.items():
            points: list[tuple[int, ...]] = [(6, 0, 0, 1), (0, 6, 0, 1), (-6, 0, 0, 1), (0, -6, 0, 1)]
            structure, last = [(0, 1, -1)], [points[0]]
            for kind, of_section, parent in sections:
                number = 0 if parent == 1 else len(structure) + parent
                structure.append((len(points), kind, number))
                points += [*([last[number]] if number else []), *((*point, 1) for point in of_section)]
                last.append(points[-1])
            file[f"{name}/points"] = np.array(points, dtype=np.float32)
            file[f"{name}/structure"] = np.array(structure)


CONTAINERS: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    "no such morphology": ({"basket": None}, ("'basket' is not there", "morphologies.h5")),
    "no points": ({"basket/points": None}, ("morphologies.h5", "Missing points or structure")),
    "no structure": ({"basket/structure": None}, ("morphologies.h5", "Missing points or structure")),
    "points of two numbers": ({"basket/points": np.zeros((9, 2), np.float32)}, ("morphologies.h5",)),
    "points that are texts": (
        {"basket/points": ["a", "b"]},
        ("morphologies.h5", "points", "needed are numbers"),
    ),
    "points that are declared and not there": (
        {"basket/points": (10**12, 4)},
        ("/basket/points declares (1000000000000, 4) values, but the file does not hold them",),
    ),
    "structure beyond the points": (
        {"basket/structure": [(0, 1, -1), (4, 3, 0), (10**6, 3, 1)]},
        ("morphologies.h5",),
    ),
    "structure that goes back": (
        {"basket/structure": [(0, 1, -1), (9, 3, 0), (6, 3, 0)]},
        ("morphologies.h5",),
    ),
    "negative structure": ({"basket/structure": [(0, 1, -1), (-5, 3, 0)]}, ("morphologies.h5",)),
    "parent that comes later": (
        {"basket/structure": [(0, 1, -1), (4, 3, 2), (6, 3, 0)]},
        ("morphologies.h5",),
    ),
    "parent that is not there": ({"basket/structure": [(0, 1, -1), (4, 3, 99)]}, ("morphologies.h5",)),
    "NaN": (
        {"basket/points": np.full((30, 4), np.nan, np.float32)},
        ("morphologies.h5", "not a finite number"),
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_broken_morphology_in_a_container(name, capfd):
    change, wanted = CONTAINERS[name]
    _, failures = run(container(change), chunks=1)
    assert says(one_failure(failures), ("3 cells", *wanted))
    assert "HDF5-DIAG" not in capfd.readouterr().err
    assert made() == set()


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000)], ids=["empty", "text", "zeros"])
def test_a_container_that_is_none(content):
    _, failures = run(container(content), chunks=1)
    assert says(one_failure(failures), ("6 cells", "morphologies.h5 is not HDF5"))
    assert made() == set()


def test_morphologies_in_a_container(good):
    run_well(container({}))
    assert np.allclose(
        coefficients("points").reshape(good["points"].shape)[:, 1:], good["points"][:, 1:], rtol=1e-6
    )


USABLE: dict[str, Sequence[str] | str] = {
    # morphologies of unusual shape that can be used
    "sections without length": swc(
        (*BASKET[:3], (3, [(8, 0, 0), (8, 0, 0), (8, 0, 0)], 1), (3, [(-8, 0, 0), (-50, 30, -30)], 1))
    ),
    "axon without length": swc(
        ((2, [(0, 0, 0), (0, 0, 0)], 1), (2, [(0, 0, 0)], -1), (2, [(0, 0, 0)], -2), *BASKET[3:])
    ),
    "points that are there twice": swc(
        (*BASKET[:3], (3, [(8, 0, 0), (8, 0, 0), (60, 40, 0), (60, 40, 0)], 1), BASKET[4])
    ),
    "diameters of 0": swc(BASKET).replace(" 0.5 ", " 0 "),
    "no soma": """1 2 0 -8 0 .5 -1
2 2 30 -60 0 .5 1
3 2 200 -80 0 .5 2
4 2 -150 -90 40 .5 2
5 3 8 0 0 .5 -1
6 3 60 40 0 .5 5
7 3 -8 0 0 .5 -1
8 3 -90 30 -30 .5 7
""",
    "sections of one point": """1 1 0 0 0 6 -1
2 2 0 -8 0 .5 1
3 2 30 -60 0 .5 2
4 2 200 -80 0 .5 3
5 2 -150 -90 40 .5 3
6 3 60 40 0 .5 1
7 3 -90 30 -30 .5 1
""",
}


@pytest.mark.parametrize("name", USABLE)
def test_unusual_morphologies_give_finite_coefficients(name, good):
    run_well(basket(USABLE[name]))
    assert exclusions() == []
    for file, values in good.items():
        found = coefficients(file).reshape(values.shape)
        assert np.isfinite(found).all()
        assert (found > 0).all()
        assert np.array_equal(found[::2], values[::2])


def test_cells_of_a_soma_alone(good):
    def damage(folder: Path) -> None:
        morphology("1 1 0 0 0 6 -1")(folder)
        write_report(folder / "compartments.h5", {1: {0: 1}, 2: SECTIONS, 3: {0: 1}})

    run_well(damage)
    found = coefficients("probe")
    assert len(found) == COMPARTMENTS + 2
    assert np.array_equal(found[[0, -1]], good["probe"][[1, 3], 0])


def test_a_report_of_somata_alone(good):
    somata = {0: 1}
    run_well(report(dict.fromkeys(range(SIZE), somata)))
    assert np.array_equal(coefficients("points"), good["points"][:, 0])


def test_axons_that_the_simulator_kept():
    sections = {0: 1, 1: 1, 2: 1, 3: 2, 4: 3, 5: 5}
    _, failures = run(report(dict.fromkeys(range(SIZE), sections)), chunks=1)
    assert says(
        one_failure(failures),
        ("6 cells", "section 3 is one of the 3 axon sections", "set replace_axons: false"),
    )


def test_axons_that_the_simulator_replaced():
    _, failures = run(replace_axons=False, chunks=1)
    assert says(
        one_failure(failures),
        ("6 cells", "section 6 is not in morphology 'pyramid'", "5 sections", "set replace_axons: true"),
    )


# ---------------------------------------------------------------- circuit and report

MAPPING = f"/report/{POPULATION}/mapping"
NODES = f"/nodes/{POPULATION}"
DAMAGED: dict[str, tuple[Damage, tuple[str, ...]]] = {
    # name: damage that a job finds, what it must say
    "half a report": (half("compartments.h5"), ("compartments.h5", "damaged")),
    "report that is no HDF5": (with_text("compartments.h5", "hello"), ("compartments.h5", "is not HDF5")),
    "report of nothing": (
        lambda folder: h5py.File(folder / "compartments.h5", "w").close(),
        ("compartments.h5: group /report is missing",),
    ),
    "report without populations": (
        in_hdf5("compartments.h5", lambda file: file.pop(f"report/{POPULATION}")),
        ("compartments.h5", "no population"),
    ),
    "report of another circuit": (
        report({0: SECTIONS, SIZE: SECTIONS}),
        ("compartments.h5: has node 6", "'cells' has 6 nodes", "another circuit?"),
    ),
    "report of another population": (
        lambda folder: write_report(folder / "compartments.h5", {0: SECTIONS}, "others"),
        ("circuit_config.json", "no population 'others'", "it has cells"),
    ),
    "section in two places": (
        in_hdf5(
            "compartments.h5",
            set_values(f"{MAPPING}/element_ids", [*np.repeat([0, 4, 1, 4], [4, 5, 4, 5]), *range(90)]),
        ),
        ("compartments.h5: compartments of section 4 of node", "(cells) are not together"),
    ),
    "node that is there twice": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/node_ids", [0, 1, 2, 3, 4, 4])),
        ("compartments.h5", "names a node twice"),
    ),
    "pointers beyond the report": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/index_pointers", [0, 1, 2, 3, 4, 5, 999])),
        ("compartments.h5", "index_pointers", "108"),
    ),
    "pointers that go back": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/index_pointers", [0, 18, 9, 54, 72, 90, 108])),
        ("compartments.h5", "index_pointers"),
    ),
    "negative sections": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/element_ids", np.full(108, -1))),
        ("compartments.h5", "element_ids", "-1", "not an id"),
    ),
    "sections that are no integers": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/element_ids", np.full(108, 0.5))),
        ("compartments.h5", "element_ids", "float64", "integers"),
    ),
    "mapping that is declared and not there": (
        in_hdf5("compartments.h5", declared(f"{MAPPING}/element_ids", (10**12,))),
        ("compartments.h5", "element_ids declares (1000000000000,)"),
    ),
    "report without compartments": (
        in_hdf5("compartments.h5", set_values(f"{MAPPING}/index_pointers", [0] * 7)),
        ("compartments.h5", "'cells' has no compartments"),
    ),
    "half a nodes file": (half("nodes.h5"), ("nodes.h5", "damaged")),
    "nodes without positions": (
        in_hdf5("nodes.h5", lambda file: file.pop(f"{NODES}/0/y")),
        ("population 'cells' has no property 'y'", "morphology, orientation_w"),
    ),
    "nodes without morphologies": (
        in_hdf5("nodes.h5", lambda file: file.pop(f"{NODES}/0/morphology")),
        ("population 'cells' has no property 'morphology'",),
    ),
    "morphologies that are numbers": (
        in_hdf5("nodes.h5", set_values(f"{NODES}/0/morphology", np.arange(SIZE))),
        ("morphology",),
    ),
    "morphologies that are no text": (
        in_hdf5("nodes.h5", set_values(f"{NODES}/0/morphology", np.array([b"\xff"] * SIZE, dtype=object))),
        ("nodes.h5: property 'morphology' of population 'cells' cannot be read", "utf-8"),
    ),
    "a part of an orientation": (
        in_hdf5("nodes.h5", lambda file: file.pop(f"{NODES}/0/orientation_w")),
        ("'cells'", "an orientation needs orientation_w, orientation_x"),
    ),
    "an orientation of zeros": (
        in_hdf5("nodes.h5", set_values(f"{NODES}/0/orientation_w", np.zeros(SIZE))),
        ("'cells'", "the orientation of node 0 is all zero"),
    ),
    "a position of NaN": (
        in_hdf5("nodes.h5", set_values(f"{NODES}/0/x", [0.0, np.nan, 0, 0, 0, 0])),
        ("'cells'", "x of node 1 is not a finite number"),
    ),
    "positions that are texts": (
        in_hdf5("nodes.h5", set_values(f"{NODES}/0/x", ["a"] * SIZE)),
        ("'x'",),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_circuit_or_report_is_named(name):
    damage, wanted = DAMAGED[name]
    _, failures = run(damage, chunks=1)
    assert [*failures] == ["segment_positions(c, 0)"]
    error = one_failure(failures)
    assert isinstance(error, SimulationError | ConfigurationError)
    assert says(error, wanted)
    assert "\n" not in str(error) or "cells have no positions" in str(error)
    assert made() == set()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"populations": ["others"]}, ("populations: 'others' is not in", "it has cells")),
        ({"populations": ["../x"]}, ("populations: '../x' is not in",)),
    ],
)
def test_an_unknown_population_is_refused_before_any_job(settings, wanted, capsys):
    refused_by_validate(capsys, None, settings, wanted)


def with_population(name: str) -> Damage:
    """Give the population of the circuit another name, everywhere."""

    def damage(folder: Path) -> None:
        with h5py.File(folder / "nodes.h5", "a") as file:
            file.move(NODES, f"/nodes/{name}")
        write_report(folder / "compartments.h5", dict.fromkeys(range(SIZE), SECTIONS), name)
        circuit = circuit_config()
        circuit["networks"]["nodes"][0]["populations"] = {name: {"type": "biophysical"}}
        write_json(folder / "circuit_config.json", circuit)

    return damage


@pytest.mark.parametrize("name", ["electrodes", "provenance", "position", "reference"])
def test_populations_whose_names_mean_something_in_our_files(name):
    _, failures = run(with_population(name), chunks=1)
    for error in failures.values():
        assert says(
            error,
            (
                f"population {name!r} cannot be in a",
                "part of the format, has that name" if name != "provenance" else "part of the format",
            ),
        )
    assert not {"probe.h5", "points.h5"} & made()
    assert failures


@pytest.mark.parametrize("name", ["a b", "..cells", "ephysflow", "\u00e9", "complete", "x" * 200])
def test_populations_of_strange_names(name, good):
    run_well(with_population(name))
    assert np.array_equal(coefficients("probe", name).reshape(good["probe"].shape), good["probe"])


@pytest.mark.parametrize(
    ("node_sets", "wanted"),
    [
        ({"other": ["some"]}, ("node_sets.json: no node set 'mine'", "there is other")),
        ({"mine": {"sinapse": "x"}}, ("node_sets.json: node set 'mine': sinapse", "it has morphology")),
        ({"mine": ["mine"]}, ("node_sets.json", "'mine' refers to itself")),
        ({"mine": ["gone"]}, ("node_sets.json", "'mine' refers to 'gone'")),
        ({"mine": {"node_id": [99]}}, ("no nodes of node set 'mine' in population cells",)),
        ({"mine": {"population": "others"}}, ("no nodes of node set 'mine' in population cells",)),
        ({"mine": {}}, ("node_sets.json", "'mine'")),
        ([], ("node_sets.json", "names and rules")),
        ("{", ("node_sets.json", "JSON")),
    ],
)
def test_a_node_set_that_cannot_be_used(node_sets, wanted):
    def damage(folder: Path) -> None:
        if isinstance(node_sets, str):
            (folder / "node_sets.json").write_text(node_sets)
        else:
            write_json(folder / "node_sets.json", node_sets)

    _, failures = run(damage, node_set="mine", chunks=1)
    assert says(one_failure(failures), wanted)
    assert made() == set()


def test_more_chunks_than_nodes(good):
    run_well(chunks=SIZE + 3)
    assert len(made()) == SIZE + 3 + 2
    for file, values in good.items():
        assert np.array_equal(coefficients(file).reshape(values.shape), values)


def test_nodes_in_any_order_in_the_report(good):
    run_well(report(dict.fromkeys((5, 0, 3, 1, 4, 2), SECTIONS)))
    assert np.array_equal(coefficients("probe").reshape(good["probe"].shape), good["probe"])


@pytest.mark.parametrize(
    "damage", ["half", "empty", "text", "another file", "rows", "points", "missing group"]
)
def test_damaged_positions_are_named(damage):
    run_well()
    path = RESULTS / "positions/1.h5"
    content = path.read_bytes()
    (RESULTS / "probe.h5").unlink()
    (RESULTS / "points.h5").unlink()
    if damage in ("rows", "points", "missing group"):
        with h5py.File(path, "a") as file:
            if damage == "rows":
                set_values("cells/offsets", np.array([0, 1, 2, 9]))(file)
            elif damage == "points":
                set_values("cells/last_points", np.full(54, 10**6))(file)
            else:
                del file["cells/xyz"]
    elif damage == "another file":
        shutil.copy("compartments.h5", path)
    else:
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    _, plan_file = plan_workflow(read_yaml(Path("config.yaml")), [])
    with pytest.raises(ResultError) as error:
        electrode_weights(read_job(plan_file, "electrode_weights", ["c", "probe"]))
    assert says(error.value, ("positions/1.h5",))
    assert made() == {"positions/0.h5", "positions/1.h5"}


# ---------------------------------------------------------------- refused before any job


def weights(electrodes: str = "probe.csv", **of_array: Any) -> dict[str, Any]:
    """Return the setting ``weights`` of one file ``probe`` with an array ``a``."""
    return {"weights": {"probe": {"arrays": {"a": {"electrodes": electrodes, **of_array}}}}}


def refused_by_validate(
    capsys: Any, damage: Damage | None, settings: Mapping[str, Any], wanted: Sequence[str]
) -> None:
    write_small_circuit(Path(), **settings)
    if damage is not None:
        damage(Path())
    assert main(["validate", "config.yaml"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow validate: error: ")
    assert says(printed.err, wanted)
    assert not Path("results").exists()


def config_json(**changes: Any) -> Damage:
    return lambda folder: write_json(folder / "simulation_config.json", {**simulation_config(), **changes})


def circuit_json(content: Any) -> Damage:
    return lambda folder: write_json(folder / "circuit_config.json", content)


WITHOUT_REPORT = {"simulation": None, "circuit": "circuit_config.json"}
WRONG_SETTINGS: dict[str, tuple[dict[str, Any], Damage | None, tuple[str, ...]]] = {
    "unknown report": (
        {"report": "voltage"},
        None,
        ("config.yaml", "no report 'voltage'", "soma (summation), compartments (compartment)"),
    ),
    "no compartment report": (
        {},
        config_json(reports={"soma": {"type": "summation"}}),
        ("simulation_config.json", "no compartment report", "soma (summation)"),
    ),
    "no report": ({}, config_json(reports={}), ("no compartment report", "reports: none")),
    "report that is off": (
        {},
        config_json(reports={"compartments": {"type": "compartment", "enabled": False}}),
        ("no compartment report", "reports: none"),
    ),
    "report file missing": ({}, without("compartments.h5"), ("compartments.h5 is not there",)),
    "nodes file missing": ({}, without("nodes.h5"), ("nodes.h5 is not there",)),
    "circuit missing": ({}, without("circuit_config.json"), ("circuit_config.json is not there",)),
    "simulation missing": (
        {"simulation": "lost.json"},
        None,
        ("lost.json is not there",),
    ),
    "simulation that is not JSON": (
        {},
        with_text("simulation_config.json", "{"),
        ("simulation_config.json is not JSON",),
    ),
    "simulation that is a list": ({}, with_text("simulation_config.json", "[]"), ("holds no keys",)),
    "circuit for a simulation": (
        {"simulation": "circuit_config.json"},
        None,
        ("circuit_config.json: key 'network' is missing", "simulation configuration?"),
    ),
    "simulation for a circuit": (
        {**WITHOUT_REPORT, "circuit": "simulation_config.json"},
        None,
        ("simulation_config.json: key 'networks.nodes' is missing", "circuit configuration?"),
    ),
    "unknown variable": (
        {},
        circuit_json(circuit_config(morphologies_dir="$NOWHERE/x")),
        ("circuit_config.json", "NOWHERE"),
    ),
    "both": (
        {"circuit": "circuit_config.json"},
        None,
        ("exactly one of simulation, circuit; both given",),
    ),
    "neither": ({"simulation": None}, None, ("exactly one of simulation, circuit; none given",)),
    "report of a circuit": (
        {**WITHOUT_REPORT, "report": "compartments"},
        None,
        ("report: only a simulation has reports",),
    ),
    "discretisation of a simulation": (
        {"discretisation": {"rule": "odd"}},
        None,
        ("discretisation: the report gives the compartments",),
    ),
    "unknown rule": (
        {**WITHOUT_REPORT, "discretisation": {"rule": "even"}},
        None,
        ("discretisation", "'even'", "odd", "max_length", "d_lambda"),
    ),
    "setting of another rule": (
        {**WITHOUT_REPORT, "discretisation": {"rule": "odd", "d_lambda": 0.1}},
        None,
        ("discretisation: d_lambda is not a setting of rule odd", "length"),
    ),
    "unknown setting of a rule": (
        {**WITHOUT_REPORT, "discretisation": {"rule": "odd", "lenght": 40}},
        None,
        ("discretisation", "lenght"),
    ),
    "length of 0": (
        {**WITHOUT_REPORT, "discretisation": {"rule": "odd", "length": 0}},
        None,
        ("discretisation.length", "0"),
    ),
    "stub of other pieces": (
        {**WITHOUT_REPORT, "discretisation": {"rule": "odd", "stub": [1, 1]}},
        None,
        ("discretisation", "stub", "stub_axon"),
    ),
    "stub without a stub": (
        {**WITHOUT_REPORT, "replace_axons": False, "discretisation": {"rule": "odd", "stub": [1, 1, 7]}},
        None,
        ("discretisation", "stub", "replace_axons"),
    ),
    "chunks of 0": ({"chunks": 0}, None, ("extracellular.c.chunks", "0")),
    "chunks of a text": ({"chunks": "four"}, None, ("extracellular.c.chunks", "four")),
    "stub of one piece": ({"stub_axon": [30]}, None, ("extracellular.c.stub_axon",)),
    "stub of negative length": ({"stub_axon": [30, -30, 1000]}, None, ("stub_axon", "-30")),
    "infinite stub": ({"stub_axon": [30, 30, math.inf]}, None, ("stub_axon", "inf")),
    "unknown key": ({"report_name": "x"}, None, ("extracellular.c", "report_name")),
    "unknown treatment": ({"missing_morphologies": "skip"}, None, ("missing_morphologies", "skip", "refuse")),
    "no weights": ({"weights": {}}, None, ("extracellular.c.weights",)),
    "weights name that is a path": (
        {"weights": {"../x": {"arrays": {"a": {"electrodes": "probe.csv"}}}}},
        None,
        ("extracellular.c.weights", "../x"),
    ),
    "array name that is a path": (
        {"weights": {"x": {"arrays": {"../a": {"electrodes": "probe.csv"}}}}},
        None,
        ("extracellular.c.weights.x.arrays", "../a"),
    ),
    "weights called as the positions": (
        {"weights": {"positions": {"arrays": {"a": {"electrodes": "probe.csv"}}}}},
        None,
        (),
    ),
    "ranks of 0": (
        {"weights": {"x": {"ranks": 0, "arrays": {"a": {"electrodes": "probe.csv"}}}}},
        None,
        ("weights.x.ranks", "0"),
    ),
    "unknown unit": (
        {"weights": {"x": {"unit": "V", "arrays": {"a": {"electrodes": "probe.csv"}}}}},
        None,
        ("weights.x.unit", "'V'", "mV/nA", "V/nA"),
    ),
    "unknown layout": (
        {"weights": {"x": {"layout": "nwb", "arrays": {"a": {"electrodes": "probe.csv"}}}}},
        None,
        ("weights.x.layout", "'nwb'", "sonata_groups", "bluerecording"),
    ),
}
del WRONG_SETTINGS[
    "weights called as the positions"
]  # it may be: positions/ is a folder, positions.h5 a file


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_wrong_configuration_is_refused_before_any_job(name, capsys):
    settings, damage, wanted = WRONG_SETTINGS[name]
    refused_by_validate(capsys, damage, settings, ("config.yaml", *wanted))


@pytest.mark.parametrize("name", ["../c", "a/b", ".c", ""])
def test_names_of_circuits_are_no_paths(name, capsys):
    write_small_circuit(Path())
    content = configuration()
    content["extracellular"] = {name: content["extracellular"]["c"]}
    write_yaml(Path("config.yaml"), content)
    assert main(["validate", "config.yaml"]) == 1
    assert says(capsys.readouterr().err, ("extracellular", repr(name)))
    assert not Path("results").exists()


# ---------------------------------------------------------------- tables of electrodes


def table(*rows: str, header: str = HEADER) -> Damage:
    return with_text("probe.csv", "\n".join([header, *rows]) + "\n")


def number(column: str, value: str) -> Damage:
    return table(f"e,0,0,0,NA,NA,LineSource,{value}", header=f"{HEADER},{column}")


FINE = "e,1,2,3,NA,NA,LineSource"
WRONG_TABLES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "missing": (without("probe.csv"), ("is not there",)),
    "a folder": (a_folder("probe.csv"), ("cannot be read",)),
    "binary": (with_text("probe.csv", bytes(range(256))), ("cannot be read",)),
    "NUL": (with_text("probe.csv", f"{HEADER}\ne\0,1,2,3,NA,NA,LineSource\n"), ("NUL",)),
    "no text of UTF-8": (
        with_text("probe.csv", f"{HEADER}\n\xe9,1,2,3,,,\n".encode("latin-1")),
        ("cannot be read",),
    ),
    "huge": (
        lambda folder: (folder / "probe.csv").open("r+b").truncate(10**12),
        ("has more than 200000000 bytes",),
    ),
    "a field without an end": (table('"e,1,2,3,NA,NA,LineSource', FINE), ("probe.csv",)),
    "a field of much text": (table(f"{'e' * 200_000},1,2,3,NA,NA,LineSource"), ("probe.csv",)),
    "empty": (with_text("probe.csv", ""), ("column x, y, z is missing",)),
    "no electrodes": (table(), ("has no electrodes",)),
    "blank rows": (table("", ",,,,,,"), ("has no electrodes",)),
    "x missing": (table("e,2,3", header="name,y,z"), ("column x is missing", "name, y, z")),
    "unknown column": (
        table(f"{FINE},1", header=f"{HEADER},sigma_s"),
        ("column 'sigma_s' is unknown", "sigma_x"),
    ),
    "column that is there twice": (table(f"{FINE},1", header=f"{HEADER},x"), ("column 'x' is there twice",)),
    "other separator": (
        table(FINE.replace(",", ";"), header=HEADER.replace(",", ";")),
        ("column x, y, z is missing",),
    ),
    "too few values": (table("e,1,2"), ("line 2 has 3 values for 7 columns",)),
    "too many values": (table(f"{FINE},9"), ("line 2 has 8 values for 7 columns",)),
    "name that is there twice": (table(FINE, FINE), ("line 3: electrode 'e' is in line 2 already",)),
    "same name but for blanks": (table(FINE, f" {FINE}"), ("electrode 'e' is in line 2 already",)),
    "no name": (table(FINE[1:]), ("line 2: '' cannot be the name",)),
    "name with a slash": (table(f"a/{FINE}"), ("line 2: 'a/e' cannot be the name", "without '/'")),
    "name of a folder": (table(f"..{FINE[1:]}"), ("'..' cannot be the name",)),
    "name of two lines": (table(f'"a\nb"{FINE[1:]}'), ("cannot be the name", "one line")),
    "no number": (
        table("e,1,two,3,NA,NA,LineSource"),
        ("line 2 (electrode 'e'): column y: 'two' is not a number",),
    ),
    "decimal comma": (table('e,"1,5",2,3,NA,NA,LineSource'), ("column x: '1,5' is not a number",)),
    "no value": (table("e,1,,3,NA,NA,LineSource"), ("column y: '' is not a number",)),
    "NA": (table("e,1,NA,3,NA,NA,LineSource"), ("column y: 'NA' is not a number",)),
    "NaN": (table("e,1,nan,3,NA,NA,LineSource"), ("column y: 'nan' is not a number",)),
    "infinity": (table("e,1,2,-inf,NA,NA,LineSource"), ("column z: '-inf' is not a number", "finite")),
    "too large": (table("e,1,2,1e300,NA,NA,LineSource"), ("column z: '1e300'", "up to 1e+09")),
    "unknown type": (
        table("e,1,2,3,NA,NA,Linesource"),
        ("line 2: type 'Linesource' is unknown", "PointSource, LineSource"),
    ),
    "type of a bad number": (
        table("e,1,2,3,NA,NA,ObjectiveCSD_Sphere_x"),
        ("line 2", "'x' is not a number above 0"),
    ),
    "type of a negative number": (
        table("e,1,2,3,NA,NA,ObjectiveCSD_Sphere_-5"),
        ("'-5' is not a number above 0",),
    ),
    "type of an infinite number": (
        table("e,1,2,3,NA,NA,ObjectiveCSD_Sphere_inf"),
        ("'inf' is not a number above 0",),
    ),
    "type of too many numbers": (table("e,1,2,3,NA,NA,ObjectiveCSD_Plane_1_2"), ("has too many numbers",)),
    "sigma of 0": (number("sigma", "0"), ("column sigma: '0' must be above 0",)),
    "negative sigma": (number("sigma", "-0.3"), ("column sigma: '-0.3' must be above 0",)),
    "sigma that is no number": (number("sigma", "grey"), ("column sigma: 'grey' is not a number",)),
    "infinite sigma": (number("sigma", "inf"), ("column sigma: 'inf' is not a number",)),
    "sigma along x alone": (number("sigma_x", "0.3"), ("either sigma, or sigma_x, sigma_y and sigma_z",)),
    "cut-off of 0": (number("cutoff", "0"), ("column cutoff: '0' must be above 0",)),
    "contact without a normal": (
        number("contact_radius", "5"),
        ("a contact with a radius needs its normal",),
    ),
    "radius of no meaning": (number("radius", "5"), ("column radius: has no meaning for type LineSource",)),
    "field of no meaning": (number("field", "x.h5"), ("column field: has no meaning for type LineSource",)),
    "unknown reference": (
        number("reference", "lost"),
        ("arrays.a: reference: there is no electrode 'lost', which 'e' names",),
    ),
    "reference of another unit": (
        table(f"{FINE},s", "s,0,0,0,NA,NA,ObjectiveCSD_Sphere,", header=f"{HEADER},reference"),
        ("'s' (ObjectiveCSD_Sphere) cannot be subtracted from 'e' (LineSource)", "mV/nA"),
    ),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_wrong_table_is_refused_before_any_job(name, capsys):
    damage, wanted = WRONG_TABLES[name]
    where = () if "reference" in name else ("probe.csv",)
    refused_by_validate(capsys, damage, weights(), (*where, *wanted))


def test_a_name_in_two_arrays_is_refused(capsys):
    arrays = {name: {"electrodes": "probe.csv"} for name in ("left", "right")}
    refused_by_validate(
        capsys,
        None,
        {"weights": {"probe": {"arrays": arrays}}},
        ("weights.probe", "arrays left and right both have an electrode 'probe0'"),
    )


def test_an_electrode_named_like_the_population():
    with pytest.raises(ConfigurationError) as error:
        run(table(f"{POPULATION}{FINE[1:]}"))
    assert says(error.value, ("electrode 'cells' (array probe)", "named like a population", "rename"))
    assert made() == set()


WRONG_ARRAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown type": ({"type": "Monopole"}, ()),
    "sigma of 0": ({"sigma": 0}, ("arrays.a.sigma", "0")),
    "negative sigma along z": ({"sigma": {"x": 0.3, "y": 0.3, "z": -1}}, ("arrays.a.sigma", "-1")),
    "sigma without z": ({"sigma": {"x": 0.3, "y": 0.3}}, ("arrays.a.sigma",)),
    "sigma that is a text": ({"sigma": "0.3 S/m"}, ("arrays.a.sigma", "0.3 S/m")),
    "infinite sigma": ({"sigma": math.inf}, ("sigma", "inf")),
    "tiny sigma": ({"sigma": 1e-320}, ("sigma", "1e-320")),
    "sigma list of another length": (
        {"sigma": [0.3, 0.4, 0.5]},
        ("arrays.a: sigma: has 3 values for 4 electrodes (PointSource or LineSource)", "one for all"),
    ),
    "sigma list with a 0": ({"sigma": [0.3, 0, 0.3, 0.3]}, ("arrays.a.sigma", "0")),
    "field of no meaning": ({"field": "field.npz"}, ("field: has no meaning", "Reciprocity")),
    "unit of no meaning": ({"field_unit": "V/nA"}, ("field_unit: has no meaning",)),
    "indices of no meaning": (
        {"objective_csd_array_indices": ["0:4"]},
        ("objective_csd_array_indices: has no meaning", "ObjectiveCSD"),
    ),
    "contact of radius 0": ({"contact": {"radius": 0, "normal": [0, 0, 1]}}, ("contact.radius", "0")),
    "contact without a direction": (
        {"contact": {"radius": 5, "normal": [0, 0, 0]}},
        ("needs its normal", "0 0 0"),
    ),
    "contact without a normal": ({"contact": {"radius": 5}}, ("arrays.a.contact", "normal")),
    "infinite normal": ({"contact": {"radius": 5, "normal": [0, 0, math.inf]}}, ("inf",)),
    "contact of too many points": (
        {"contact": {"radius": 5, "normal": [0, 0, 1], "points": 10**9}},
        ("contact.points", "1000000000"),
    ),
    "minimum distance of 0": ({"minimum_distance": 0}, ("minimum_distance", "0")),
    "unknown reference": ({"reference": ["probe0", "lost"]}, ("reference: there is no electrode 'lost'",)),
    "slice upside down": (
        {"slice": {"bottom": 100, "top": 0, "sigma_below": 0, "sigma_above": 1.5}},
        ("slice: bottom 100 must be below top 0",),
    ),
    "slice without its top": ({"slice": {"bottom": 0}}, ("arrays.a.slice", "top")),
    "slice with the electrode outside": (
        {"slice": {"bottom": 50, "top": 100, "sigma_below": 0, "sigma_above": 1.5}},
        ("probe.csv: line 2 (electrode 'probe0'): z 20.0 is outside its slice (50 to 100)",),
    ),
    "anisotropic slice": (
        {
            "sigma": {"x": 0.3, "y": 0.3, "z": 0.4},
            "slice": {"bottom": 0, "top": 100, "sigma_below": 0, "sigma_above": 1.5},
        },
        ("slice: the method of images needs the same sigma",),
    ),
    "negative conductivity outside": (
        {"slice": {"bottom": 0, "top": 100, "sigma_below": -1, "sigma_above": 1.5}},
        ("slice.sigma_below", "-1"),
    ),
    "unknown key": ({"sigmas": 0.3}, ("arrays.a", "sigmas")),
}
WRONG_ARRAYS["unknown type"] = ({"type": "Monopole"}, ("'Monopole' is unknown", "PointSource, LineSource"))


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_a_wrong_array_is_refused_before_any_job(name, capsys):
    of_array, wanted = WRONG_ARRAYS[name]
    no_types = table(*(f"probe{i},50,{60 * i},20" for i in range(4)), header="name,x,y,z")
    damage = no_types if name == "unknown type" else None
    refused_by_validate(capsys, damage, weights(**of_array), wanted)


@pytest.mark.parametrize(
    ("indices", "wanted"),
    [
        (["0:2"], ("row 2 (ObjectiveCSD_Plane) is in none of the arrays",)),
        (["0:5"], ("'0:5' must be start:stop, rows 0 to 4",)),
        (["2:4", "0:2"], ("'0:2' must be start:stop, rows 4 to 4", "one array after the other")),
        (["0:3", "2:4"], ("'2:4' must be start:stop, rows 3 to 4",)),
        (["2:2"], ("'2:2' must be start:stop",)),
        (["all"], ("'all' must be start:stop",)),
        (["-1:4"], ("'-1:4' must be start:stop",)),
        (["0:99999999999999999999"], ("must be start:stop",)),
        ("0:4", ("objective_csd_array_indices",)),
        ([4], ("objective_csd_array_indices", "4")),
    ],
)
def test_wrong_indices_of_csd_arrays_are_refused(indices, wanted, capsys):
    damage: Damage = lambda folder: write_electrodes(folder / "probe.csv", "ObjectiveCSD_Plane", 4)  # noqa: E731
    refused_by_validate(capsys, damage, weights(objective_csd_array_indices=indices), wanted)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (["e,0,0,0,NA,NA,ObjectiveCSD_Plane"], ("weights.probe", "electrodes 'e'", "two different places")),
        (
            ["e,0,0,0,NA,NA,ObjectiveCSD_Disk", "f,0,0,0,NA,NA,ObjectiveCSD_Disk"],
            ("'e', 'f'", "two different places"),
        ),
        (
            [
                f"{i},{x},{y},0,NA,NA,ObjectiveCSD_Plane"
                for i, (x, y) in enumerate([(0, 0), (0, 9), (9, 0), (9, 9)])
            ],
            ("equally in two directions",),
        ),
    ],
)
def test_csd_arrays_without_an_axis(rows, wanted, capsys):
    refused_by_validate(capsys, table(*rows), weights(), wanted)


def test_the_table_edited_between_plan_and_job():
    write_small_circuit(Path())
    plan, plan_file = plan_workflow(read_yaml(Path("config.yaml")), [])
    replaced("probe.csv", "60,20,L1", "65,20,L1")(Path())
    failures = run_planned(plan, plan_file)
    assert [*failures] == ["electrode_weights(c, probe)"]
    assert says(one_failure(failures), ("weights.probe", "changed while the workflow ran", "run it again"))
    assert made() == EVERYTHING - {"probe.h5"}


# ---------------------------------------------------------------- contacts at compartments


def contacts_at(folder: Path) -> list[tuple[float, float, float]]:
    """Return places in, at and beside compartments of the circuit, whose positions are computed."""
    with h5py.File(folder / RESULTS / "positions/0.h5") as file:
        cells = file[POPULATION]
        starts, ends = (cells["xyz"][()][cells[f"{key}_points"][()]] for key in ("first", "last"))
    a, b = starts[10], ends[10]
    return [
        tuple(point.tolist())
        for point in (
            *(starts[0], starts[0] + [1, 0, 0]),  # the centre of a soma, and inside of it
            *(a, b, (a + b) / 2, a + 0.25 * (b - a)),  # end points, and on the segment
            *(b + (b - a), a - 0.001 * (b - a)),  # on its line
            (a + b) / 2 + [1e-13, 0, 0],
        )
    ]


@pytest.mark.parametrize("kind", ["PointSource", "LineSource"])
@pytest.mark.parametrize(
    "of_array",
    [{}, {"minimum_distance": 1e-9}, {"sigma": {"x": 0.2, "y": 0.3, "z": 0.4}}, {"cutoff": 1e-6}],
    ids=str,
)
def test_contacts_at_compartments_have_finite_coefficients(kind, of_array):
    run_well()
    rows = [f"e{i},{x!r},{y!r},{z!r},NA,NA,{kind}" for i, (x, y, z) in enumerate(contacts_at(Path()))]
    run_well(table(*rows), **weights(**of_array))
    found = coefficients("probe")
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found > 0).all() or "cutoff" in of_array


# ---------------------------------------------------------------- fields and slices

GRID = {axis: np.linspace(-2000, 2000, 5) for axis in "xyz"} | {
    "current": 1.0,
    "potential": np.ones((5, 5, 5)),
}
DIPOLE = {key: value for key, value in GRID.items() if key != "potential"} | {
    "electric_field": np.ones((5, 5, 5, 3))
}


def field_electrodes(folder: Path, method: str = "Reciprocity") -> None:
    write_electrodes(folder / "probe.csv", method, 2)


def npz(content: Mapping[str, Any], method: str = "Reciprocity") -> Damage:
    def damage(folder: Path) -> None:
        field_electrodes(folder, method)
        np.savez_compressed(folder / "field.npz", **content)

    return damage


def with_potential(content: bytes, shape: tuple[int, ...], size: int | None = None) -> Damage:
    """Write a potential by hand: what is stored, the shape that its header declares, the size that the archive declares."""

    def damage(folder: Path) -> None:
        npz({key: value for key, value in GRID.items() if key != "potential"})(folder)
        header = io.BytesIO()
        declaration = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, declaration)
        path = folder / "field.npz"
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("potential.npy", header.getvalue() + content)
        if size is not None:
            archived = path.read_bytes()
            entry = archived.rindex(b"PK\x01\x02")
            path.write_bytes(archived[: entry + 24] + struct.pack("<I", size) + archived[entry + 28 :])

    return damage


def pickled(folder: Path) -> None:
    field_electrodes(folder)
    np.savez(folder / "field.npz", **{**GRID, "potential": np.array([{}], dtype=object)})


FIELD = {"field": "field.npz", "field_unit": "V/nA"}
WRONG_FIELDS: dict[str, tuple[Damage, dict[str, Any], tuple[str, ...]]] = {
    "wrong shape": (
        npz({**GRID, "potential": np.ones((5, 5, 4))}),
        {},
        ("field.npz: potential has shape (5, 5, 4); the axes need (5, 5, 5)",),
    ),
    "two dimensions": (
        npz({**GRID, "potential": np.ones((5, 5))}),
        {},
        ("field.npz: potential", "3 dimensions"),
    ),
    "axis that does not ascend": (
        npz({**GRID, "y": np.zeros(5)}),
        {},
        ("field.npz: y must be finite and ascend strictly",),
    ),
    "axis of one point": (
        npz({**GRID, "y": [0.0], "potential": np.ones((5, 1, 5))}),
        {},
        ("field.npz: y has 1 points", "at least 2"),
    ),
    "NaN": (
        npz({**GRID, "potential": np.full((5, 5, 5), np.nan)}),
        {},
        ("potential: 125 of 125 values", "not finite"),
    ),
    "current of 0": (npz({**GRID, "current": 0.0}), {}, ("field.npz: current is 0.0",)),
    "no current": (
        npz({k: v for k, v in GRID.items() if k != "current"}),
        {},
        ("field.npz: current is missing",),
    ),
    "potential for a dipole": (
        npz(GRID, "DipoleReciprocity"),
        {},
        ("field.npz holds a potential, but an electric field is needed", "DipoleReciprocity"),
    ),
    "electric field for a potential": (
        npz(DIPOLE),
        {},
        ("field.npz holds an electric field, but a potential is needed",),
    ),
    "neither HDF5 nor npz": (
        lambda folder: (field_electrodes(folder), (folder / "field.npz").write_text("hello")),
        {},
        ("field.npz is neither HDF5 nor npz",),
    ),
    "half": (lambda folder: (npz(GRID)(folder), half("field.npz")(folder)), {}, ("field.npz", "damaged")),
    "half an HDF5": (
        lambda folder: (
            field_electrodes(folder),
            shutil.copy(folder / "nodes.h5", folder / "field.npz"),
            half("field.npz")(folder),
        ),
        {},
        ("field.npz", "damaged"),
    ),
    "another HDF5": (
        lambda folder: (field_electrodes(folder), shutil.copy(folder / "nodes.h5", folder / "field.npz")),
        {},
        ("field.npz", "/x", "missing"),
    ),
    "values that are declared and not there": (
        with_potential(bytes(800), (5, 5, 5)),
        {},
        ("field.npz: potential declares (5, 5, 5) values, but the file does not hold them",),
    ),
    "huge values that are declared and not there": (
        with_potential(bytes(1000), (5, 5, 10**12)),
        {},
        ("field.npz: potential has shape (5, 5, 1000000000000)",),
    ),
    "zip bomb": (
        with_potential(bytes(10**7), (5, 5, 5)),
        {},
        ("field.npz: potential",),
    ),
    "zip bomb that says another size": (
        with_potential(bytes(10**7), (5, 5, 5), 2**32 - 2),
        {},
        ("field.npz: potential declares 4294967294 bytes, but the file does not hold them",),
    ),
    "pickle": (pickled, {}, ("field.npz: potential", "object")),
    "outside": (
        npz({**GRID, "z": np.linspace(-25, 2000, 5)}),
        {},
        (
            "electrode 'probe0': ",
            f" of {SIZE * COMPARTMENTS} compartments are outside the grid of its field",
            "outside_field: nan",
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG_FIELDS)
def test_a_field_that_cannot_be_used(name):
    damage, of_array, wanted = WRONG_FIELDS[name]
    _, failures = run(damage, **weights(**{**FIELD, **of_array}))
    assert [*failures] == ["electrode_weights(c, probe)"]
    error = one_failure(failures)
    assert isinstance(error, SimulationError)
    assert says(error, wanted)
    assert made() == EVERYTHING - {"probe.h5", "points.h5"}


@pytest.mark.parametrize(
    ("of_array", "wanted"),
    [
        ({"field_unit": "V/nA"}, ("probe.csv: line 2 (electrode 'probe0')", "needs a field file")),
        (
            {"field": "field.npz"},
            ("electrode 'probe0'", "field_unit of the array is missing", "V/nA, mV/nA or V/A"),
        ),
        ({**FIELD, "field_unit": "V"}, ("arrays.a.field_unit", "'V'", "mV/nA")),
        ({**FIELD, "field": "lost.npz"}, ("lost.npz is not there",)),
        ({**FIELD, "field": ["field.npz"] * 3}, ("field: has 3 values for 2 electrodes",)),
        ({**FIELD, "outside_field": "zero"}, ("outside_field", "'zero'", "refuse")),
        ({**FIELD, "sigma": 0.3}, ("sigma: has no meaning here",)),
    ],
    ids=str,
)
def test_wrong_settings_of_fields_are_refused_before_any_job(of_array, wanted, capsys):
    refused_by_validate(capsys, npz(GRID), weights(**of_array), wanted)


def test_compartments_outside_of_a_grid_are_nan_by_option():
    cut = {**GRID, "z": np.linspace(-25, 2000, 5)}
    _, failures = run(npz(cut), **weights(**FIELD))
    (count,) = {int(n) for n in re.findall(r"(\d+) of 108 compartments", str(one_failure(failures)))}
    run_well(npz(cut), **weights(**FIELD, outside_field="nan"))
    found = coefficients("probe")
    assert 0 < count < SIZE * COMPARTMENTS
    assert np.isnan(found).sum(axis=0).tolist() == [count, count]
    assert np.allclose(found[~np.isnan(found)], 1e3, rtol=1e-12)  # V/nA to mV/nA


def test_cells_without_positions_are_not_outside_of_a_grid():
    def damage(folder: Path) -> None:
        npz(GRID)(folder)
        without("morphologies/basket.swc")(folder)

    run_well(damage, missing_morphologies="nan", **weights(**FIELD))
    assert np.isnan(coefficients("probe")).sum(axis=0).tolist() == [COMPARTMENTS * 3] * 2


def test_compartments_outside_of_a_slice_are_counted():
    around = {"bottom": 0, "top": 100, "sigma_below": 0, "sigma_above": 1.5}
    _, failures = run(**weights(slice=around))
    assert [*failures] == ["electrode_weights(c, probe)"]
    assert says(
        one_failure(failures),
        ("electrode 'probe3': ", f" of {SIZE * COMPARTMENTS} compartments are outside its slice"),
    )
    assert "outside_field" not in str(one_failure(failures))
    assert made() == {"positions/0.h5", "positions/1.h5"}


def test_a_contact_that_reaches_out_of_its_slice():
    around = {"bottom": -5000, "top": 21, "sigma_below": 0, "sigma_above": 1.5}
    with pytest.raises(ConfigurationError) as error:
        run(**weights(slice=around, contact={"radius": 5, "normal": [1, 0, 0]}))
    assert says(error.value, ("electrode 'probe0': its contact reaches out of its slice",))
    assert made() == set()


# ---------------------------------------------------------------- without a report


def test_without_a_report_cells_without_a_morphology_are_refused():
    _, failures = run(without("morphologies/basket.swc"), **WITHOUT_REPORT, chunks=1)
    assert says(
        one_failure(failures), ("circuit c: 3 cells have no positions", "cells 5: morphology 'basket'")
    )
    assert made() == set()


def test_without_a_report_cells_without_a_morphology_are_left_out():
    run_well(**WITHOUT_REPORT)
    whole = coefficients("probe")
    with h5py.File(RESULTS / "probe.h5") as file:
        offsets = file[f"{POPULATION}/offsets"][()].astype(int)
    plan = run_well(without("morphologies/basket.swc"), **WITHOUT_REPORT, missing_morphologies="nan")
    with h5py.File(RESULTS / "probe.h5") as file:
        assert file[f"{POPULATION}/node_ids"][()].tolist() == [0, 2, 4]
    rows = [row for node in (0, 2, 4) for row in range(offsets[node], offsets[node + 1])]
    assert np.array_equal(coefficients("probe"), whole[rows])
    assert [row["node_id"] for row in exclusions()] == [*BASKETS]
    assert len(plan.left_out()) == 2


def test_without_a_report_and_without_any_morphology():
    def damage(folder: Path) -> None:
        shutil.rmtree(folder / "morphologies")

    _, failures = run(damage, **WITHOUT_REPORT, missing_morphologies="nan")
    assert {*failures} == {"electrode_weights(c, probe)", "electrode_weights(c, points)"}
    assert all(says(error, ("circuit c: no cell has a position", "positions")) for error in failures.values())


def test_without_a_report_too_many_compartments():
    _, failures = run(**WITHOUT_REPORT, discretisation={"rule": "odd", "length": 1e-3}, chunks=1)
    assert says(one_failure(failures), ("6 cells", "rule odd cuts its", "more than 32767 pieces"))


# ---------------------------------------------------------------- as a user runs it


def printed_by(folder: Folder) -> tuple[int, str]:
    done = folder.snakemake("-c2", "--configfile", "config.yaml")
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    return done.returncode, printed


def test_snakemake_goes_on_with_nan_and_says_so(tmp_path, good):
    folder = Folder.checkout(tmp_path)
    write_small_circuit(tmp_path, missing_morphologies="nan")
    without("morphologies/basket.swc")(tmp_path)
    status, printed = printed_by(folder)
    assert status == 0, printed
    assert f"circuit c, chunk 1: 2 left out (why: {RESULTS}/positions/1.exclusions.parquet)" in printed
    found = coefficients("probe").reshape(good["probe"].shape)
    assert np.array_equal(found[::2], good["probe"][::2])
    assert np.isnan(found[1::2]).all()


def test_snakemake_shows_what_is_wrong_and_finishes_the_rest(tmp_path):
    folder = Folder.checkout(tmp_path)
    write_small_circuit(tmp_path)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    thin = {"bottom": 19, "top": 21, "sigma_below": 0, "sigma_above": 1.5}
    content["extracellular"]["c"]["weights"]["probe"]["arrays"]["probe"]["slice"] = thin
    content["extracellular"]["lost"] = {**content["extracellular"]["c"], "replace_axons": False}
    write_yaml(tmp_path / "config.yaml", content)
    status, printed = printed_by(folder)
    assert status == 1
    for message in (
        "rank 0 of 2: error: electrode 'probe0': ",
        "compartments are outside its slice",
        "ephysflow segment-positions: error: circuit lost: 3 cells have no positions",
    ):
        assert message in printed
    assert made() == EVERYTHING - {"probe.h5"}
    assert not list(Path("results/extracellular/lost").rglob("*.h5"))


def test_snakemake_refuses_a_wrong_table_before_any_job(tmp_path):
    folder = Folder.checkout(tmp_path)
    write_small_circuit(tmp_path)
    table(FINE, FINE)(tmp_path)
    status, printed = printed_by(folder)
    assert status == 1
    assert "line 3: electrode 'e' is in line 2 already" in printed
    assert not Path("results").exists()
