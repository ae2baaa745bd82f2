"""A circuit of a few cells that a test can read with the eye, to be changed and damaged: morphologies, nodes, report, probe.

Two morphologies, ``pyramid`` and ``basket``; cells alternate. Sections as neurodamus numbers them where it replaces
axons: 0 soma, 1 and 2 the stub, 3 gone with the axon, 4 and 5 dendrites, 6 the myelin.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

POPULATION = "cells"
SIZE = 6
SECTIONS = {0: 1, 1: 1, 2: 1, 4: 3, 5: 5, 6: 7}
"""Section -> compartments, of every cell."""

# (type, points, parent point): a neurite begins at the soma, which is point 1
PYRAMID = (
    (2, [(0, -10, 0), (0, -80, 0)], 1),
    (2, [(0, -500, 0), (100, -1100, 0)], -1),
    (2, [(40, -120, 0)], -2),
    (3, [(10, 0, 0), (80, -20, 10), (120, -60, 10)], 1),
    (4, [(0, 10, 0), (0, 150, 5), (20, 300, 5)], 1),
)
BASKET = (
    (2, [(0, -8, 0), (30, -60, 0)], 1),
    (2, [(200, -80, 0)], -1),
    (2, [(-150, -90, 40)], -2),
    (3, [(8, 0, 0), (60, 40, 0)], 1),
    (3, [(-8, 0, 0), (-50, 30, -30), (-90, 30, -30)], 1),
)


def write_small_circuit(folder: Path, **settings: Any) -> Path:
    """Write everything into `folder` and return ``config.yaml``; `settings` replace keys of the circuit's section."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "morphologies").mkdir(exist_ok=True)
    for name, sections in (("pyramid", PYRAMID), ("basket", BASKET)):
        (folder / "morphologies" / f"{name}.swc").write_text(swc(sections))
    write_nodes(folder / "nodes.h5")
    write_report(folder / "compartments.h5", dict.fromkeys(range(SIZE), SECTIONS))
    write_json(folder / "node_sets.json", {"some": {"population": POPULATION, "node_id": [1, 2, 4]}})
    write_json(folder / "circuit_config.json", circuit_config())
    write_json(folder / "simulation_config.json", simulation_config())
    write_electrodes(folder / "probe.csv", "LineSource", 4)
    write_electrodes(folder / "points.csv", "PointSource", 2)
    return write_yaml(folder / "config.yaml", configuration(**settings))


def configuration(**settings: Any) -> dict[str, Any]:
    """Return a configuration with one circuit ``c``."""
    circuit = {
        "simulation": "simulation_config.json",
        "chunks": 2,
        "weights": {
            "probe": {"arrays": {"probe": {"electrodes": "probe.csv"}}},
            "points": {"arrays": {"points": {"electrodes": "points.csv", "sigma": 0.3}}},
        },
        **settings,
    }
    circuit = {key: value for key, value in circuit.items() if value is not None}
    return {"results": "results", "plots": False, "extracellular": {"c": circuit}}


def circuit_config(**components: Any) -> dict[str, Any]:
    return {
        "version": 2,
        "manifest": {"$HERE": "."},
        "components": {"morphologies_dir": "$HERE/morphologies", **components},
        "node_sets_file": "$HERE/node_sets.json",
        "networks": {
            "nodes": [{"nodes_file": "$HERE/nodes.h5", "populations": {POPULATION: {"type": "biophysical"}}}],
            "edges": [],
        },
    }


def simulation_config() -> dict[str, Any]:
    return {
        "version": 2.4,
        "run": {"dt": 0.025, "tstop": 0.2, "random_seed": 1},
        "network": "circuit_config.json",
        "node_set": "some",
        "output": {"output_dir": "."},
        "reports": {
            "soma": {"type": "summation", "cells": "some", "variable_name": "v", "dt": 0.1},
            "compartments": {"type": "compartment", "sections": "all", "variable_name": "v", "dt": 0.1},
        },
    }


def swc(sections: Sequence[tuple[int, Sequence[tuple[float, float, float]], int]]) -> str:
    """Return an SWC text; a parent of 1 is the soma, -k the last point of the k-th section before."""
    lines, last = ["1 1 0 0 0 6 -1"], [1]
    for kind, points, parent in sections:
        before = 1 if parent == 1 else last[parent]
        for x, y, z in points:
            number = len(lines) + 1
            lines.append(f"{number} {kind} {x} {y} {z} 0.5 {before}")
            before = number
        last.append(before)
    return "\n".join(lines) + "\n"


def write_nodes(path: Path, size: int = SIZE, morphologies: Sequence[str] = ("pyramid", "basket")) -> None:
    angle = np.arange(size) * 0.7
    properties = {
        "x": np.arange(size) * 40.0,
        "y": np.arange(size) % 3 * 25.0,
        "z": -np.arange(size) * 10.0,
        "orientation_w": np.cos(angle / 2),
        "orientation_x": np.zeros(size),
        "orientation_y": np.sin(angle / 2),
        "orientation_z": np.zeros(size),
    }
    with h5py.File(path, "w") as file:
        population = file.create_group(f"nodes/{POPULATION}")
        population["node_type_id"] = np.full(size, -1)
        for name, values in properties.items():
            population[f"0/{name}"] = values
        names = [morphologies[i % len(morphologies)] for i in range(size)]
        population["0"].create_dataset("morphology", data=names, dtype=h5py.string_dtype())


def write_report(path: Path, cells: Mapping[int, Mapping[int, int]], population: str = POPULATION) -> None:
    """Write a compartment report of two frames: node -> section -> compartments."""
    elements = [np.repeat(list(c), list(c.values())) for c in cells.values()]
    with h5py.File(path, "w") as file:
        group = file.create_group(f"report/{population}")
        group["data"] = np.full((2, sum(map(len, elements))), -65.0, dtype=np.float32)
        mapping = group.create_group("mapping")
        mapping["node_ids"] = np.array(list(cells), dtype=np.uint64)
        mapping["index_pointers"] = np.cumsum([0, *map(len, elements)]).astype(np.uint64)
        mapping["element_ids"] = np.concatenate(elements).astype(np.uint32)
        mapping["time"] = [0.0, 0.2, 0.1]
        mapping["time"].attrs["units"] = "ms"


def write_electrodes(path: Path, kind: str, count: int) -> None:
    rows = [f"{path.stem}{i},{50 + 5 * i},{60 * i},{20},L{i},NA,{kind}" for i in range(count)]
    path.write_text("\n".join(["name,x,y,z,layer,region,type", *rows]) + "\n")


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path


def write_yaml(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
