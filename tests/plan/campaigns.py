"""A campaign of 40 neurons and three simulations with two analyses, and its workflow with jobs that have readable names."""

import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from .conftest import REPOSITORY, Workflow

POPULATION = "cells"
LAYERS = {"upper": range(16), "lower": range(16, 30), "deep": range(30, 40)}

USER_MODULE = '''\
"""Functions of the user."""

import numpy as np

from ephysflow import FeatureRows


def spread(observations, params):
    """Spikes of each group, scaled."""
    count = np.add.reduceat(observations.counts, observations.group_offsets[:-1])
    return {"spread": FeatureRows(np.arange(observations.n_groups), {}, {"spread": count * params["factor"]})}
'''

GROUP_MODULE = '''\
"""A function of BlueETL's contract."""


def rates(repo, key, df, params):
    """Number of spikes of a group."""
    return {"spikes": float(df["time"].count())}
'''

STEP_MODULE = '''\
"""A trial-step function."""


def first_spike(times, params):
    """Time of the first spike."""
    return float(min(min(trial, default=0.0) for trial in times))
'''

BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]

ANALYSIS: dict[str, Any] = {
    "version": 4,
    "simulation_campaign": "campaign.json",
    "analysis": {
        "main": {
            "extraction": {
                "report": {"type": "spikes"},
                "population": POPULATION,
                "neuron_classes": {
                    "upper": {"query": {"layer": "upper"}, "limit": 10},
                    "lower": {"query": {"layer": "lower"}},
                },
                "windows": {
                    "early": {"bounds": [0, 50]},
                    "evoked": {
                        "bounds": [0, 20],
                        "initial_offset": 50,
                        "n_trials": 2,
                        "trial_steps_value": 20,
                        "trial_steps_label": "onset",
                    },
                },
                "trial_steps": {"onset": {"function": "my_steps.first_spike", "bounds": [0, 10]}},
            },
            "features": [
                {
                    "type": "multi",
                    "groupby": BY_CLASS,
                    "function": "spike_train_distances",
                    "params": {"max_trains": 5},
                    "params_product": {"van_rossum_tau": [5.0, 20.0], "victor_purpura_cost": [0.1]},
                },
                {
                    "type": "multi",
                    "groupby": BY_CLASS,
                    "function": "my_features.spread",
                    "contract": "vectorised",
                    "partition": "simulation",
                    "params": {"factor": 2},
                },
                {"type": "single", "name": "rates", "groupby": BY_CLASS, "function": "my_groups.rates"},
            ],
        },
        "other": {
            "extraction": {
                "report": {"type": "spikes"},
                "population": POPULATION,
                "neuron_classes": {"all": {}},
                "windows": {"borrowed": "main.extraction.windows.early"},
            },
            "features": [
                {
                    "type": "multi",
                    "groupby": BY_CLASS,
                    "function": "population_statistics",
                    "params": {"PSTH": {"params": {"bin_size": 5}}},
                }
            ],
        },
    },
}


class CampaignWorkflow(Workflow):
    """A workflow of the campaign ``c``."""

    @property
    def analysis(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "analysis.yaml").read_text())

    def write_analysis(self, content: dict[str, Any]) -> None:
        (self.folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def results(self) -> Path:
        return self.folder / "results" / "campaign" / "c"

    def plan(self) -> set[str]:
        """Return the planned jobs, e.g. ``compute_features(main, spread 2, s1)``."""
        planned = super().plan()
        names = self._names()
        jobs = set()
        for job in planned:
            step, _, rest = job.rstrip(")").partition("(")
            parts = [names.get(part, part) for part in rest.split(", ") if part not in ("", "c")]
            jobs.add(f"{step}({', '.join(parts)})" if parts else step)
        assert len(jobs) == len(planned), planned
        return jobs

    def _names(self) -> dict[str, str]:
        """Return key -> name of all simulations, circuits and computations that were ever planned here."""
        names = {}
        for file in (self.folder / "results" / ".ephysflow").glob("plan-*.jsonl"):
            for line in file.read_text().splitlines()[1:]:
                step, key, text = line.split("\t", 2)
                item = json.loads(text)
                if step == "publish_repo":
                    for simulation in item["simulations"]:
                        names[simulation["key"]] = Path(simulation["path"]).parent.name
                        names[simulation["circuit"]] = "circuit"
                if step == "compute_features":
                    names[json.loads(key).split("\t")[2]] = computation(item["function"], item["params"])
        return names


def computation(function: str, params: dict[str, Any]) -> str:
    """Return a short name of a computation: its function and the parameter that the tests change."""
    name = function.replace(":", ".").rpartition(".")[2]
    value = next((params[key] for key in ("van_rossum_tau", "factor") if key in params), "")
    return f"{name} {value}".strip()


def write_campaign_file(folder: Path, seeds: Iterable[int]) -> None:
    """Write the campaign file: one simulation a seed, in this order."""
    rows = [{"seed": seed, "simulation_path": f"simulations/s{seed}"} for seed in seeds]
    attrs = {"circuit_config": "circuit/circuit_config.json"}
    content = {"format": "blueetl", "version": 1, "name": "small", "attrs": attrs, "data": rows}
    (folder / "campaign.json").write_text(json.dumps(content))


def write_circuit(folder: Path, move: int = 0) -> None:
    """Write the circuit of 40 nodes in three layers; `move` nodes of the last one become upper ones."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [{"nodes_file": "nodes.h5", "populations": {POPULATION: {}}}]
    content = {"networks": {"nodes": nodes, "edges": []}, "node_sets_file": "node_sets.json"}
    (folder / "circuit_config.json").write_text(json.dumps(content))
    (folder / "node_sets.json").write_text(json.dumps({"Some": {"node_id": [0, 1, 2, 20, 30]}}))
    layer = [name for name, members in LAYERS.items() for _ in members]
    layer[len(layer) - move :] = ["upper"] * move
    with h5py.File(folder / "nodes.h5", "w") as file:
        group = file.create_group(f"nodes/{POPULATION}/0")
        group.parent["node_type_id"] = np.full(len(layer), -1)
        group["layer"] = np.array(layer, dtype=object)


def write_simulation(folder: Path, seed: int, spikes_of: int | None = None) -> None:
    """Write a simulation and its 400 spikes in 100 ms; `spikes_of` is the seed of these when it is another one."""
    (folder / "output").mkdir(parents=True, exist_ok=True)
    content = {
        "network": "../../circuit/circuit_config.json",
        "run": {"tstop": 100.0, "dt": 0.025, "random_seed": seed},
        "output": {"output_dir": "output", "spikes_file": "spikes.h5"},
    }
    (folder / "simulation_config.json").write_text(json.dumps(content))
    draw = random.Random(seed if spikes_of is None else spikes_of)
    spikes = sorted((draw.uniform(0, 100), draw.randrange(40)) for _ in range(400))
    with h5py.File(folder / "output" / "spikes.h5", "w") as file:
        group = file.create_group(f"spikes/{POPULATION}")
        group["timestamps"] = np.array([time for time, _ in spikes])
        group["timestamps"].attrs["units"] = "ms"
        group["node_ids"] = np.array([node for _, node in spikes])


def write_workflow(folder: Path) -> CampaignWorkflow:
    """Write the workflow and the campaign; run nothing."""
    folder.mkdir()
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")
    return write_campaign(folder)


def write_campaign(folder: Path) -> CampaignWorkflow:
    """Write circuit, five simulations (three of them in the campaign) and configuration."""
    write_circuit(folder / "circuit")
    for seed in range(1, 6):
        write_simulation(folder / "simulations" / f"s{seed}", seed)
    write_campaign_file(folder, (1, 2, 3))
    for name, content in (
        ("my_features", USER_MODULE),
        ("my_groups", GROUP_MODULE),
        ("my_steps", STEP_MODULE),
    ):
        (folder / f"{name}.py").write_text(content)
    workflow = CampaignWorkflow(folder)
    workflow.write_analysis(ANALYSIS)
    config = {
        "results": "results",
        "plots": False,
        "campaign": {"c": {"analysis_config": "analysis.yaml"}},
    }
    workflow.write_config(config)
    return workflow
