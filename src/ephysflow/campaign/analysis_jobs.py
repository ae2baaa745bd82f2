"""What the plans of simulations and of recorded sessions have in common: all but the choice of neurons and extraction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.campaign.analysis_config import Analysis, check_filter
from ephysflow.campaign.analysis_plan import (
    ALL_SIMULATIONS,
    AnalysisPlan,
    Computation,
    PlannedSimulation,
)
from ephysflow.campaign.feature_jobs import feature_jobs
from ephysflow.campaign.neurons import SEQUENTIAL
from ephysflow.campaign.query import matches
from ephysflow.campaign.settings import CampaignSettings
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError

Items = dict[tuple[str, str], Any]
"""(step, key) -> settings of the job."""

OwnItems = list[tuple[tuple[str, tuple[str, ...]], Any]]
"""((step, key within the analysis), settings) of each job."""


class NoSimulationError(ConfigurationError):
    """An analysis has nothing to do."""


def plan_analyses(
    settings: CampaignSettings,
    plan_one: Callable[[Analysis], tuple[OwnItems, AnalysisPlan]],
    job_key: Callable[[Sequence[str]], str],
) -> tuple[Items, list[AnalysisPlan], list[str]]:
    """Return the settings of all jobs of a campaign, the plan of each analysis, and notes.

    Raises
    ------
    ConfigurationError
        if no analysis has anything to do.
    """
    items: Items = {}
    plans = []
    notes = [f"campaign {settings.name}: {note}" for note in settings.analyses.notes]
    unusable: list[NoSimulationError] = []
    for analysis in settings.analyses.analyses.values():
        try:
            own_items, plan = plan_one(analysis)
        except NoSimulationError as error:  # e.g. its report is not there yet; the other analyses go on
            unusable.append(error)
            continue
        items |= {
            (step, job_key((settings.name, analysis.name, *key))): item for (step, key), item in own_items
        }
        plans.append(plan)
    if not plans:
        raise unusable[0]
    notes += [f"campaign {settings.name}: left out: {error}" for error in unusable]
    return items, plans, notes


def wanted_simulations(
    settings: CampaignSettings, names: Sequence[str], conditions: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Return the ids of the simulations that the filter lets through.

    Parameters
    ----------
    names : of the conditions
    conditions : of each simulation, by its id

    Raises
    ------
    ConfigurationError
        if a filter is malformed or names no condition.
    """
    for key in ("simulations_filter", "simulations_filter_in_memory"):
        check_filter(getattr(settings.analyses, key), names, f"{settings.where}: {key}")
    columns: dict[str, np.ndarray] = {"simulation_id": np.arange(len(conditions))}
    for name in names:
        values = np.empty(len(conditions), dtype=object)
        values[:] = [own[name] for own in conditions]
        columns[name] = values
    mask = matches(settings.analyses.simulations_filter, columns, f"{settings.where}: simulations_filter")
    return np.flatnonzero(mask).tolist()


def class_list(
    settings: CampaignSettings, classes: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the neuron classes in an order that means something only where it matters.

    It matters to classes that are drawn in turn, from one random stream, and to no others.
    """
    in_turn = [label for label, choice in classes.items() if choice.get("limit")]
    in_turn = in_turn if settings.sampling == SEQUENTIAL else []
    return [(label, dict(classes[label])) for label in dict.fromkeys([*in_turn, *sorted(classes)])]


def sampling(settings: CampaignSettings, choices: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how neurons are drawn; the same for all settings where nothing has a limit, and so nothing is drawn."""
    if not any(choice.get("limit") for choice in choices):
        return {"sampling": SEQUENTIAL, "seed": 0}
    return {"sampling": settings.sampling, "seed": settings.seed}


def bucket_of(key: str, count: int | None) -> str:
    """Return the bucket of a simulation: its own, or by its key, which others do not change."""
    if count is None:
        return key
    return f"bucket-{int(key, 16) % count:0{len(str(count - 1))}d}"


def jobs_after_extraction(
    settings: CampaignSettings,
    analysis: Analysis,
    simulations: Mapping[str, PlannedSimulation],
    left_out: Sequence[Mapping[str, Any]],
    hasher: CodeHasher,
) -> tuple[OwnItems, Mapping[str, Computation]]:
    """Return the jobs that publish, compute and draw, whatever was extracted from, and the computations.

    Parameters
    ----------
    simulations : key -> simulation, by simulation_id
    left_out : ``simulation_id, simulation_path, reason`` of those that cannot be used
    """
    where = {"campaign": settings.name, "analysis": analysis.name}
    report = analysis.extraction["report"]["type"]
    listing: list[dict[str, Any]] = [
        {
            "key": s.key,
            "simulation_id": s.simulation_id,
            "circuit_id": s.circuit_id,
            "circuit": s.circuit,
            "bucket": s.bucket,
            "conditions": dict(s.conditions),
            "path": s.path,
        }
        for s in simulations.values()
    ]
    windows = list(analysis.extraction["windows"])
    repo = {**where, "windows": windows, "simulations": listing, "left_out": list(left_out)}
    members: dict[str, list[dict[str, Any]]] = {ALL_SIMULATIONS: listing}
    for described in listing:
        members.setdefault(described["bucket"], []).append(described)
    buckets = [bucket for bucket in members if bucket != ALL_SIMULATIONS]
    feature_items, computations, published = feature_jobs(settings, analysis, members, buckets, hasher)
    publishing = {
        **where,
        "report": report,
        "simulations": [{k: s[k] for k in s if k != "conditions"} for s in listing],
        "features": published,
    }
    items: OwnItems = [(("publish_repo", ()), repo), *feature_items, (("publish_features", ()), publishing)]
    plotting = {**where, "report": report}
    items += [
        ((step, ()), plotting) for step in ("plot_rasters", "plot_firing_rates", "plot_parameter_sweep")
    ]
    return items, computations
