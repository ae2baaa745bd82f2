"""From a campaign of recorded sessions to its jobs: sessions of a project take the place of simulations."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ephysflow import paths
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
from ephysflow.campaign.recorded_settings import RecordedSessions
from ephysflow.campaign.settings import CampaignSettings
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import canonical_json, digest

SESSION_ID = "session_id"
"""The condition of a recorded session."""


class Project(Protocol):
    """What is needed of a project of the stage ecephys."""

    @property
    def sessions(self) -> Sequence[str]:
        """Ids of its sessions, in order."""


Projects = Mapping[str, Project]
"""Name -> project."""

Available = Mapping[str, Container[str]]
"""Project -> its sessions whose file is there, or will be; of a project that is not named, all are."""


def plan_recorded_campaign(
    settings: CampaignSettings,
    recorded: RecordedSessions,
    results: Path,
    hasher: CodeHasher,
    job_key: Callable[[Sequence[str]], str],
    projects: Projects,
    available: Available,
) -> tuple[Items, list[AnalysisPlan], list[str]]:
    """Return the settings of all jobs of a campaign, the plan of each analysis, and notes.

    The stage ecephys makes the products of the sessions that are available; the others are left out.

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    sessions = sessions_of(settings, recorded, projects)
    conditions = _conditions(sessions, projects[recorded.project].sessions)
    wanted = wanted_simulations(settings, [SESSION_ID], conditions)
    there = available.get(recorded.project, sessions)
    chosen = [(i, sessions[i], conditions[i]) for i in wanted if sessions[i] in there]
    left_out = [
        {
            "simulation_id": i,
            "simulation_path": str(paths.session_folder(results, recorded.project, sessions[i])),
            "reason": f"missing: the file of session {sessions[i]} is not there",
        }
        for i in wanted
        if sessions[i] not in there
    ]
    plan_one = partial(_plan_analysis, settings, recorded.project, chosen, left_out, results, hasher)
    return plan_analyses(settings, plan_one, job_key)


def sessions_of(settings: CampaignSettings, recorded: RecordedSessions, projects: Projects) -> Sequence[str]:
    """Return the ids of a campaign's sessions.

    Raises
    ------
    ConfigurationError
        if there is no such project or session; names those that there are.
    """
    where = f"{settings.where}: recorded_sessions"
    if recorded.project not in projects:
        known = ", ".join(projects) or "none"
        raise ConfigurationError(
            f"{where}.project: {recorded.project!r}: no such project in the section ecephys (known: {known})"
        )
    known_sessions = list(projects[recorded.project].sessions)
    if not known_sessions:
        raise ConfigurationError(f"{where}.project: {recorded.project!r}: has no sessions")
    if recorded.sessions is None:
        return known_sessions
    if unknown := [session for session in recorded.sessions if session not in known_sessions]:
        raise ConfigurationError(
            f"{where}.sessions: {', '.join(unknown)}: no such session in project {recorded.project!r} "
            f"(known: {', '.join(known_sessions)})"
        )
    return recorded.sessions


def needed_products(settings: CampaignSettings, projects: Projects) -> dict[str, dict[str, list[str]]]:
    """Return project -> session -> the products that a campaign reads; nothing for a campaign of simulations.

    Raises
    ------
    ConfigurationError
        as `sessions_of` says.
    """
    recorded = settings.analyses.recorded
    if recorded is None:
        return {}
    products = ["units"]
    for analysis in settings.analyses.analyses.values():
        products += _extracted_products(analysis)
    names = list(dict.fromkeys(products))
    return {recorded.project: dict.fromkeys(sessions_of(settings, recorded, projects), names)}


def _extracted_products(analysis: Analysis) -> list[str]:
    """Return the products that extraction reads: spikes, and the tables that windows name."""
    windows = analysis.extraction["windows"].values()
    return ["spikes", *sorted({window["trials"]["table"] for window in windows if "trials" in window})]


def _conditions(sessions: Sequence[str], of_project: Sequence[str]) -> list[dict[str, Any]]:
    """Return the id of each session as a condition: a number where all ids of the project are, as in its tables."""
    numeric = all(session.isdecimal() and str(int(session)) == session for session in of_project)
    return [{SESSION_ID: int(session) if numeric else session} for session in sessions]


def _plan_analysis(
    settings: CampaignSettings,
    project: str,
    sessions: Sequence[tuple[int, str, Mapping[str, Any]]],
    left_out: Sequence[Mapping[str, Any]],
    results: Path,
    hasher: CodeHasher,
    analysis: Analysis,
) -> tuple[OwnItems, AnalysisPlan]:
    """Return the items of one analysis, by step and key within the analysis, and its plan.

    Each session has units of its own, and so is a circuit of its own.
    """
    if not sessions:
        why = "; ".join(row["reason"] for row in left_out[:5]) or "simulations_filter leaves none"
        raise NoSimulationError(
            f"{settings.where}: analysis {analysis.name}: no session of project {project} can be used ({why})"
        )
    where = {"campaign": settings.name, "analysis": analysis.name}
    classes = analysis.extraction["neuron_classes"]
    selecting = {"classes": class_list(settings, classes), **sampling(settings, classes.values())}
    windows = analysis.extraction["windows"]
    items: OwnItems = []
    simulations: dict[str, PlannedSimulation] = {}
    circuit_files = {}
    buckets: dict[str, dict[str, Any]] = {}
    for i, session, conditions in sessions:
        key = digest(canonical_json([project, session]))
        units = str(_product(results, project, session, "units"))
        products = {
            name: str(_product(results, project, session, name)) for name in _extracted_products(analysis)
        }
        simulations[key] = PlannedSimulation(
            key=key,
            simulation_id=i,
            circuit_id=i,
            circuit=key,
            bucket=bucket_of(key, settings.buckets),
            conditions=conditions,
            path=str(paths.session_folder(results, project, session)),
            files=list(products.values()),
        )
        circuit_files[key] = [units]
        items.append((("select_units", (key,)), {"session": session, "units": units, **selecting, **where}))
        own = {"session": session, "products": products}
        buckets.setdefault(simulations[key].bucket, {})[key] = own
    for bucket, members in buckets.items():
        extraction = {
            **where,
            "windows": [[label, windows[label]] for label in sorted(windows)],
            "sessions": members,
        }
        items.append((("extract_recorded", (bucket,)), extraction))
    after, computations = jobs_after_extraction(settings, analysis, simulations, left_out, hasher)
    plan = AnalysisPlan(
        results=results,
        campaign=settings.name,
        analysis=analysis.name,
        report=analysis.extraction["report"]["type"],
        simulations=simulations,
        circuit_files=circuit_files,
        circuits_in_extraction=False,
        computations=computations,
        varies=any(len(entry.combinations) > 1 for entry in analysis.features),
        made=(),
        recorded=True,
    )
    return [*items, *after], plan


def _product(results: Path, project: str, session: str, name: str) -> Path:
    return paths.session_product(results, project, session, f"{name}.parquet")
