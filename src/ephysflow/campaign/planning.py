"""From the configuration of a campaign to its jobs."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ephysflow.campaign.analysis_config import Analysis
from ephysflow.campaign.analysis_jobs import (
    Items,
    NoSimulationError,
    OwnItems,
    bucket_of,
    class_list,
    jobs_after_extraction,
    plan_analyses,
    sampling,
    wanted_simulations,
)
from ephysflow.campaign.analysis_plan import AnalysisPlan, PlannedSimulation
from ephysflow.campaign.campaign_file import Campaign, read_campaign
from ephysflow.campaign.feature_jobs import user_code
from ephysflow.campaign.functions.registry import TRIAL_STEP_FUNCTIONS
from ephysflow.campaign.recorded_planning import Available, Projects, plan_recorded_campaign
from ephysflow.campaign.settings import CampaignSettings
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.sonata.simulation_config import CircuitFiles, SimulationFiles, circuit_key, read_simulation


@dataclass(frozen=True)
class _Found:
    """A simulation of the campaign file: usable, or the reason why not."""

    simulation_id: int
    files: SimulationFiles | None
    reason: str


def plan_campaign(
    settings: CampaignSettings,
    results: Path,
    hasher: CodeHasher,
    job_key: Callable[[Sequence[str]], str],
    made_in: str | None,
    projects: Projects,
    available: Available = MappingProxyType({}),
) -> tuple[Items, list[AnalysisPlan], list[str]]:
    """Return the settings of all jobs of a campaign, the plan of each analysis, and notes.

    Parameters
    ----------
    settings : of the campaign
    results : folder of all outputs
    hasher : for the code of feature and trial-step functions
    job_key : how the key of a job is made of its parts
    made_in : folder whose files the embedded example makes; they count as being there
    projects : name -> project of the stage ecephys, for campaigns of recorded sessions
    available : project -> sessions whose file is there, or will be; of a project that is not named, all are

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    if settings.analyses.recorded is not None:
        return plan_recorded_campaign(
            settings, settings.analyses.recorded, results, hasher, job_key, projects, available
        )
    assert settings.analyses.simulation_campaign is not None
    campaign = read_campaign(settings.analyses.simulation_campaign)
    if not campaign.paths:
        raise ConfigurationError(f"{campaign.file}: lists no simulation")
    wanted = wanted_simulations(settings, campaign.condition_names, campaign.conditions)
    everything = [_find(campaign, i) for i in range(len(campaign.paths))]
    # ids must not depend on the filter
    first_with: dict[str, int] = {}
    for candidate in everything:
        if candidate.files is not None:
            first_with.setdefault(_circuit_key(candidate.files), candidate.simulation_id)
    found = [everything[i] for i in wanted]
    plan_one = partial(_plan_analysis, settings, campaign, found, first_with, results, hasher, made_in)
    return plan_analyses(settings, plan_one, job_key)


def _find(campaign: Campaign, i: int) -> _Found:
    path = campaign.paths[i]
    if not path:
        return _Found(i, None, "excluded: has no path in the campaign file")
    if "://" in path:
        return _Found(i, None, f"missing: {path} is not a local path")
    path = _usable_path(campaign, i)
    if not os.path.isfile(path):
        if os.path.isfile(os.path.join(os.path.dirname(path), "BlueConfig")):
            return _Found(
                i, None, f"not supported: {path} is not there, but a BlueConfig simulation, which is not read"
            )
        return _Found(i, None, f"missing: {path} is not there")
    try:
        return _Found(i, read_simulation(Path(path)), "")
    except SimulationError as error:
        return _Found(i, None, f"missing: {error}")


def _usable_path(campaign: Campaign, i: int) -> str:
    """Return the path of a simulation relative to the working directory: a project that moves must not rerun.

    It stays absolute where the campaign itself is given by an absolute path to another place; '' and what is no path
    of a file stay what they are.
    """
    path = campaign.paths[i]
    elsewhere = campaign.file.is_absolute() and not Path(path).is_relative_to(os.getcwd())
    if elsewhere or not path or "://" in path:
        return path
    return os.path.relpath(path)


def _plan_analysis(
    settings: CampaignSettings,
    campaign: Campaign,
    found: Sequence[_Found],
    first_with: Mapping[str, int],
    results: Path,
    hasher: CodeHasher,
    made_in: str | None,
    analysis: Analysis,
) -> tuple[OwnItems, AnalysisPlan]:
    """Return the items of one analysis, by step and key within the analysis, and its plan."""
    report = analysis.extraction["report"]
    windows = analysis.extraction["windows"]
    trial_steps = {label: w["trial_step"] for label, w in windows.items() if w["trial_step"]}
    made: list[str] = []

    def is_there(file: Path) -> bool:
        if made_in is not None and file.is_relative_to(made_in):
            made.append(str(file))
            return True
        return file.is_file()

    paths_of = Counter(_usable_path(campaign, candidate.simulation_id) for candidate in found)
    usable: dict[str, tuple[PlannedSimulation, SimulationFiles]] = {}
    left_out = []
    for candidate in found:
        i, files = candidate.simulation_id, candidate.files
        path = _usable_path(campaign, i)
        reason, raw = candidate.reason, []
        if files is not None:
            try:
                raw = _raw_files(files, report, bool(trial_steps))
                absent = [str(file) for file in raw if not is_there(file)]
                reason = f"incomplete: {', '.join(absent)} is not there" if absent else ""
            except SimulationError as error:
                reason = f"incomplete: {error}"
        if files is None or reason:
            left_out.append({"simulation_id": i, "simulation_path": path, "reason": reason})
            continue
        # nothing of a simulation depends on its conditions, unless one stands in the file twice
        twice = paths_of[path] > 1
        key = digest(canonical_json([path, campaign.conditions[i]] if twice else [path]))
        circuit = _circuit_key(files)
        usable[key] = (
            PlannedSimulation(
                key=key,
                simulation_id=i,
                circuit_id=first_with[circuit],
                circuit=circuit,
                bucket=bucket_of(key, settings.buckets),
                conditions=campaign.conditions[i],
                path=path,
                files=[str(files.config), *map(str, raw)],
            ),
            files,
        )
    if not usable:
        reasons = "; ".join(f"{row['simulation_path']}: {row['reason']}" for row in left_out[:5])
        raise NoSimulationError(
            f"{settings.where}: analysis {analysis.name}: no simulation of {campaign.file} can be used"
            + (f" ({reasons})" if reasons else ": simulations_filter leaves none")
        )
    circuits: dict[str, SimulationFiles] = {}
    for simulation, files in usable.values():
        circuits.setdefault(simulation.circuit, files)
    extra = _node_sets_files(analysis, trial_steps)
    for file in extra:
        if not file.is_file():
            raise ConfigurationError(f"{settings.where}: node_sets_file {file}: is not there")
    circuit_files = {}
    for key, files in circuits.items():
        raw = [*_circuit_files(files.circuit), *_circuit_node_sets(files), *extra]
        circuit_files[key] = list(dict.fromkeys(str(file) for file in raw if is_there(file)))

    where = {"campaign": settings.name, "analysis": analysis.name}
    items: OwnItems = []
    classes = analysis.extraction["neuron_classes"]
    selecting = {"classes": class_list(settings, classes), **sampling(settings, classes.values())}
    for key, files in circuits.items():
        selection = {**_described(files), **selecting, **where}
        items.append((("select_neurons", (key,)), selection))
    functions = {
        step["function"]: _trial_step_code(step["function"], settings, hasher)
        for step in trial_steps.values()
    }
    buckets: dict[str, list[str]] = {}
    for key, (simulation, _) in usable.items():
        buckets.setdefault(simulation.bucket, []).append(key)
    for bucket, keys in buckets.items():
        extraction = {
            **where,
            "report": report,
            "windows": [[label, windows[label]] for label in sorted(windows)],
            "functions": functions,
            "user_folder": str(settings.folder) if _are_own(functions) else None,
            "simulations": {
                key: {
                    **(_described(usable[key][1]) if trial_steps else {}),
                    "config": str(usable[key][1].config),
                    "report_file": _report_file(usable[key][1], report),
                    **({"spikes_file": str(usable[key][1].spikes_file)} if trial_steps else {}),
                    "tstop": usable[key][1].tstop,
                    "dynamic_windows": bool(trial_steps),
                    "circuit_key": usable[key][0].circuit,
                }
                for key in keys
            },
            **({"seed": sampling(settings, trial_steps.values())["seed"]} if trial_steps else {}),
        }
        items.append((("extract_report", (bucket,)), extraction))

    simulations = {key: simulation for key, (simulation, _) in usable.items()}
    own_items, computations = jobs_after_extraction(settings, analysis, simulations, left_out, hasher)
    items += own_items
    plan = AnalysisPlan(
        results=results,
        campaign=settings.name,
        analysis=analysis.name,
        report=report["type"],
        simulations=simulations,
        circuit_files=circuit_files,
        circuits_in_extraction=bool(trial_steps),
        computations=computations,
        varies=any(len(entry.combinations) > 1 for entry in analysis.features),
        made=tuple(dict.fromkeys(made)),
    )
    return items, plan


def _raw_files(files: SimulationFiles, report: Mapping[str, str], trial_steps: bool) -> list[Path]:
    raw = []
    if report["type"] == "spikes" or trial_steps:
        raw.append(files.spikes_file)
    if report["type"] != "spikes":
        if report["name"] not in files.reports:
            raise SimulationError(
                f"{files.config}: has no report {report['name']!r} (reports: {', '.join(files.reports) or 'none'})"
            )
        raw.append(files.reports[report["name"]])
    return raw


def _report_file(files: SimulationFiles, report: Mapping[str, str]) -> str:
    return str(files.spikes_file if report["type"] == "spikes" else files.reports[report["name"]])


def _circuit_files(circuit: CircuitFiles) -> list[Path]:
    files = [circuit.config]
    for nodes in circuit.nodes:
        files.append(nodes.file)
        files += [nodes.types_file] if nodes.types_file else []
    return files


def _described(files: SimulationFiles) -> dict[str, Any]:
    """Return where a circuit and its node sets are."""
    return {
        "circuit_config": str(files.circuit.config),
        "node_sets_files": [str(file) for file in _circuit_node_sets(files)],
    }


def _circuit_node_sets(files: SimulationFiles) -> list[Path]:
    """Return the circuit's own node sets; those of the simulation where the circuit has none (BMTK)."""
    own = files.circuit.node_sets_file
    return [own] if own is not None else list(files.node_sets_files)


def _circuit_key(files: SimulationFiles) -> str:
    """Return the key of what neurons are chosen from: the circuit, with the node sets that it has or is given."""
    if files.circuit.node_sets_file is not None:
        return circuit_key(files.circuit)
    # by content: each simulation may have a copy of its own
    contents = [file.read_bytes() for file in files.node_sets_files if file.is_file()]
    return digest(canonical_json([circuit_key(files.circuit), *map(digest, contents)]))


def _node_sets_files(analysis: Analysis, trial_steps: Mapping[str, Any]) -> list[Path]:
    holders = [*analysis.extraction["neuron_classes"].values(), *trial_steps.values()]
    names = [holder.get("node_sets_file") for holder in holders]
    return [Path(name) for name in dict.fromkeys(names) if name]


def _trial_step_code(name: str, settings: CampaignSettings, hasher: CodeHasher) -> str:
    if name in TRIAL_STEP_FUNCTIONS:
        return hasher.library([TRIAL_STEP_FUNCTIONS[name][0]])
    return user_code(name, settings, hasher, TRIAL_STEP_FUNCTIONS)


def _are_own(functions: Mapping[str, str]) -> bool:
    return any(name not in TRIAL_STEP_FUNCTIONS for name in functions)
