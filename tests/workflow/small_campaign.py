"""A campaign of a few neurons that a test can read with the eye, to be damaged: circuit, simulations, configuration.

Twelve nodes: 0-5 are EXC, 6-9 INH, 10-11 MOD. Each simulation lasts 100 ms and has spikes and a soma report. Every
node fires at ``5 + node`` ms and then every 20 ms.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

POPULATION = "cells"
SIZE = 12
CLASSES = np.array(["EXC"] * 6 + ["INH"] * 4 + ["MOD"] * 2)
TSTOP, DT = 100.0, 0.5

FIRING_RATES: dict[str, Any] = {
    "type": "multi",
    "groupby": ["simulation_id", "circuit_id", "neuron_class", "window"],
    "function": "firing_rates",
}
SOMA_STATISTICS: dict[str, Any] = {**FIRING_RATES, "function": "soma_statistics"}


def write_small_campaign(folder: Path, simulations: int = 3, **changes: Any) -> Path:
    """Write everything into `folder`, with `analysis_configuration(**changes)`, and return ``config.yaml``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_circuit(folder / "circuit")
    rows = []
    for i in range(simulations):
        write_simulation(folder / f"sim{i}")
        rows.append({"seed": i, "simulation_path": f"sim{i}"})
    write_campaign_file(folder / "campaign.json", rows)
    write_yaml(folder / "analysis.yaml", analysis_configuration(**changes))
    config = {
        "results": "results",
        "plots": False,
        "campaign": {"c": {"analysis_config": "analysis.yaml"}},
    }
    return write_yaml(folder / "config.yaml", config)


def analysis_configuration(
    extraction: Mapping[str, Any] | None = None,
    features: Sequence[Mapping[str, Any]] = (FIRING_RATES,),
    **others: Any,
) -> dict[str, Any]:
    """Return a BlueETL analysis configuration of one analysis ``a``; `extraction` replaces keys of its extraction."""
    own = {
        "report": {"type": "spikes"},
        "neuron_classes": {
            "exc": {"query": {"synapse_class": "EXC"}},
            "inh": {"query": {"synapse_class": "INH"}},
        },
        "windows": {"whole": {"bounds": [0, 100]}, "late": {"bounds": [50, 100]}},
        "population": POPULATION,
    }
    return {
        "version": 4,
        "simulation_campaign": "campaign.json",
        "analysis": {"a": {"extraction": {**own, **(extraction or {})}, "features": [*features]}},
        **others,
    }


def write_campaign_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a campaign file of the native format: conditions and ``simulation_path``."""
    attrs = {"path_prefix": "", "circuit_config": "circuit/circuit_config.json"}
    content = {"format": "blueetl", "version": 1, "name": "small", "attrs": attrs, "data": [*rows]}
    path.write_text(json.dumps(content))


def write_circuit(folder: Path) -> None:
    """Write nodes with the properties ``synapse_class`` and ``layer``, and the node set ``Upper`` (layers 1 and 2)."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [{"nodes_file": "nodes.h5", "populations": {POPULATION: {}}}]
    content = {"networks": {"nodes": nodes, "edges": []}, "node_sets_file": "node_sets.json"}
    (folder / "circuit_config.json").write_text(json.dumps(content))
    (folder / "node_sets.json").write_text(json.dumps({"Upper": {"layer": [1, 2]}}))
    with h5py.File(folder / "nodes.h5", "w") as file:
        group = file.create_group(f"nodes/{POPULATION}/0")
        group.parent["node_type_id"] = np.full(SIZE, -1, np.int64)
        group["synapse_class"] = CLASSES.astype(object)
        group["layer"] = np.arange(SIZE) % 3 + 1


def write_simulation(folder: Path) -> None:
    """Write one simulation and its outputs."""
    (folder / "output").mkdir(parents=True, exist_ok=True)
    content = {
        "network": "../circuit/circuit_config.json",
        "run": {"tstop": TSTOP, "dt": 0.025},
        "output": {"output_dir": "output", "spikes_file": "spikes.h5"},
        "reports": {"soma": {"type": "compartment", "sections": "soma", "file_name": "soma"}},
    }
    (folder / "simulation_config.json").write_text(json.dumps(content))
    write_spikes(folder / "output" / "spikes.h5", *spikes())
    write_soma(folder / "output" / "soma.h5")


def spikes() -> tuple[np.ndarray, np.ndarray]:
    """Return node and time [ms] of all spikes, sorted by time."""
    gid = np.tile(np.arange(SIZE), 5)
    time = 5.0 + gid + np.repeat(np.arange(5) * 20.0, SIZE)
    order = np.argsort(time, kind="stable")
    return gid[order], time[order]


def write_spikes(path: Path, gid: Any, time: Any) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group(f"spikes/{POPULATION}")
        group["node_ids"] = np.asarray(gid)
        group["timestamps"] = np.asarray(time, dtype=np.float64)
        group["timestamps"].attrs["units"] = "ms"


def write_soma(path: Path, population: str = POPULATION, start: float = 0.0, stop: float = TSTOP) -> None:
    """Write a soma report of all nodes; frame i of node n has the value ``n + i / 1000``."""
    count = round((stop - start) / DT)
    with h5py.File(path, "w") as file:
        group = file.create_group(f"report/{population}")
        values = np.arange(SIZE)[None, :] + np.arange(count)[:, None] / 1000
        group["data"] = values.astype(np.float32)
        group["data"].attrs["units"] = "mV"
        group["mapping/time"] = [start, stop, DT]
        group["mapping/time"].attrs["units"] = "ms"
        group["mapping/node_ids"] = np.arange(SIZE, dtype=np.uint64)
        group["mapping/element_ids"] = np.zeros(SIZE, dtype=np.uint32)
        group["mapping/index_pointers"] = np.arange(SIZE + 1, dtype=np.uint64)


def write_yaml(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
