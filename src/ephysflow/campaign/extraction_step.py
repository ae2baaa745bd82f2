"""The step ``extract_report``: windows and report of the simulations of one bucket, one in memory at a time."""

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow import paths
from ephysflow.campaign.functions.registry import TRIAL_STEP_FUNCTIONS
from ephysflow.campaign.neurons_step import CircuitAccess
from ephysflow.campaign.observations import Columns, SimulationReport
from ephysflow.campaign.report import Spikes, spike_rows, trace_rows, uncovered_windows
from ephysflow.campaign.tables import (
    WINDOW_SCHEMA,
    finding,
    read_neurons,
    read_populations,
    write_columns,
    write_findings,
    write_report,
)
from ephysflow.campaign.trial_steps import dynamic_offset, trial_step_gids
from ephysflow.campaign.user_functions import load_user_function
from ephysflow.campaign.windows import static_trials
from ephysflow.errors import SimulationError
from ephysflow.job import Job
from ephysflow.sonata.reports import open_report
from ephysflow.sonata.spikes import read_spikes, spike_populations


def extract_report(job: Job) -> None:
    """Write windows and report of each simulation; one that cannot be used becomes a finding, and the rest goes on."""
    item = job.settings
    where = (job.results, item["campaign"], item["analysis"])
    folder = paths.extracted_folder(*where, job.key.split("\t")[-1])
    chosen: dict[str, _Chosen] = {}
    findings = []
    used: dict[str, str] = {}  # input -> digest; a spike file is hashed once
    for key, simulation in item["simulations"].items():
        circuit = simulation["circuit_key"]
        tables = paths.circuit_neurons(*where, circuit)
        if circuit not in chosen:
            chosen[circuit] = _Chosen(read_neurons(tables[0]), *read_populations(tables[1], tables[2]))
        inputs = [simulation["config"], simulation["report_file"], *tables[:3]]
        if simulation["dynamic_windows"]:
            inputs.append(simulation["spikes_file"])
        provenance = job.provenance(dict.fromkeys(inputs))
        used |= provenance.inputs
        try:
            trials, report, said = _extract(item, simulation, chosen[circuit])
        except SimulationError as error:
            findings.append(finding("report", key, simulation["report_file"], str(error)))
            print(f"LEFT OUT: {simulation['config']}: {error}")
            continue
        findings += [finding("report", key, subject, reason, kept=True) for subject, reason in said]
        write_columns(paths.extracted_windows(folder, key), trials, WINDOW_SCHEMA, provenance)
        write_report(folder, key, report, item["report"]["type"], provenance)
        print(f"{simulation['config']}: {int(report.offsets[-1])} rows")
    write_findings(paths.extraction_findings(folder), findings, replace(job.provenance([]), inputs=used))


@dataclass(frozen=True)
class _Chosen:
    """What was chosen from a circuit: neurons, class -> population, population -> number of nodes."""

    neurons: Columns
    populations: Mapping[str, str]
    sizes: Mapping[str, int]


def _extract(
    item: Mapping[str, Any], simulation: Mapping[str, Any], chosen: _Chosen
) -> tuple[Columns, SimulationReport, list[tuple[str, str]]]:
    """Return the trials (in the order of the configuration), the report, and (subject, what is doubtful)."""
    windows = dict(item["windows"])
    trials = static_trials(windows, _dynamic_offsets(item, simulation, windows))
    kind, path = item["report"]["type"], Path(simulation["report_file"])
    neurons, populations = chosen.neurons, chosen.populations
    if kind == "spikes":
        spikes, silent = _spikes(path, dict.fromkeys(populations.values()))
        report, said = spike_rows(spikes, neurons, populations, trials, chosen.sizes)
        return trials, report, silent + said + uncovered_windows(trials, simulation["tstop"])
    report, said = trace_rows(partial(open_report, path), neurons, populations, trials, kind)
    return trials, report, said


def _spikes(path: Path, populations: Collection[str]) -> tuple[dict[str, Spikes], list[tuple[str, str]]]:
    """Return the spikes of each population.

    A population that the file does not have beside others is silent, which is said; when it has none of them, it is
    taken for the wrong file.
    """
    there = spike_populations(path)
    if not there and len(populations) > 1 and len(read_spikes(path, next(iter(populations)))[0]):
        raise SimulationError(
            f"{path}: is of the old layout, which names no population: its spikes cannot be told apart between "
            f"{', '.join(populations)}"
        )
    absent = [name for name in populations if name not in there]
    if not there or len(absent) == len(populations):
        absent = []
    spikes = {
        name: (np.empty(0, np.int64), np.empty(0)) if name in absent else read_spikes(path, name)
        for name in populations
    }
    reason = f"is not in {path} (there is: {', '.join(there)}): taken as silent"
    return spikes, [(f"population {name}", reason) for name in absent]


def _dynamic_offsets(
    item: Mapping[str, Any], simulation: Mapping[str, Any], windows: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Return the offset [ms] of each window whose trial step is a function of the spikes."""
    dynamic = {label: window for label, window in windows.items() if window["trial_step"]}
    if not dynamic:
        return {}
    circuit = CircuitAccess(simulation["circuit_config"], simulation["node_sets_files"])
    offsets = {}
    for label, window in dynamic.items():
        step = window["trial_step"]
        gids = trial_step_gids(step, circuit.population, circuit.node_set, item["seed"])
        name = circuit.population(step["population"]).name
        spikes = _spikes(Path(simulation["spikes_file"]), [name])[0][name]
        function = _trial_step_function(step["function"], item["user_folder"])
        offsets[label] = dynamic_offset(window, spikes, gids, function)
    return offsets


def _trial_step_function(name: str, user_folder: str | None) -> Callable[..., Any]:
    if name in TRIAL_STEP_FUNCTIONS:
        module, function = TRIAL_STEP_FUNCTIONS[name]
        return getattr(importlib.import_module(module), function)
    return load_user_function(name, Path(user_folder) if user_folder else None)
