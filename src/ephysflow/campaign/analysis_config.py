"""The analysis configuration of BlueETL (version 4): checked, completed, paths usable, references resolved."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.campaign.feature_entries import FILE_NAME, FeatureEntry, read_entries
from ephysflow.campaign.query import Query, check_query, query_columns
from ephysflow.campaign.recorded_settings import (
    RecordedSessions,
    recorded_problems,
    recorded_sessions,
    simulated_problems,
)
from ephysflow.campaign.window_settings import (
    bounds_problems,
    overlapping_trials,
    reference_problem,
    references,
    resolved_window,
    window_problems,
)
from ephysflow.errors import ConfigurationError
from ephysflow.io.plain_values import value_problem
from ephysflow.io.yaml_files import read_yaml
from ephysflow.schema import problems, with_defaults

__all__ = [
    "FILE_NAME",
    "Analysis",
    "AnalysisFile",
    "FeatureEntry",
    "check_filter",
    "parse_analysis",
    "read_analysis",
]

SCHEMA = Path(__file__).parents[1] / "schemas" / "analysis.schema.yaml"
NEWEST, OLDEST = 4, 3
MIGRATION = "`ephysflow migrate-config OLD NEW` brings it to version 4"
UNUSED = ("cache", "output", "clear_cache")
PUSHED_DOWN = ("population", "node_set", "node_sets_file", "limit")
"""Keys of ``extraction`` that hold for every neuron class and trial step that does not set them itself."""
MAX_DEPTH, MAX_VALUES = 50, 1_000_000


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    Attributes
    ----------
    name : of its folder in the results
    extraction : ``report``, ``neuron_classes`` (label -> query, population, node_set, node_sets_file, limit, node_id),
        ``windows`` (label -> window with all keys; ``trial_step`` is None or the trial step with its label) and
        ``trial_steps``; labels in the order of the file
    features : what to compute
    custom : anything, for the user's own code
    """

    name: str
    extraction: dict[str, Any]
    features: list[FeatureEntry]
    custom: dict[str, Any]


@dataclass(frozen=True)
class AnalysisFile:
    """A checked analysis configuration.

    Attributes
    ----------
    simulation_campaign : the campaign file; relative to the working directory, or absolute. None for recorded sessions
    recorded : the sessions that take the place of simulations; None for simulations
    simulations_filter, simulations_filter_in_memory : queries on conditions and simulation_id
    custom : anything, for the user's own code
    analyses : name -> analysis, in the order of the file
    notes : what the user should know
    """

    simulation_campaign: Path | None
    recorded: RecordedSessions | None
    simulations_filter: Any
    simulations_filter_in_memory: Any
    custom: dict[str, Any]
    analyses: dict[str, Analysis]
    notes: list[str]


def read_analysis(path: Path) -> AnalysisFile:
    """Read a BlueETL analysis configuration; its paths are relative to it.

    Raises
    ------
    ConfigurationError
        naming the file, the key, the value and what is allowed; as many problems at once as can be found.
    """
    content = read_yaml(path, unique_keys=True)
    if isinstance(content, Mapping) and "version" not in content:
        raise ConfigurationError(
            f"{path}: version: missing; allowed are {NEWEST} and {OLDEST}. Of an older file, {MIGRATION}"
        )
    return parse_analysis(content, path.parent, str(path))


def parse_analysis(content: Any, folder: Path, where: str) -> AnalysisFile:
    """Check and complete an analysis configuration.

    Parameters
    ----------
    content : the keys of ``schemas/analysis.schema.yaml``; ``version`` may be missing
    folder : what its paths are relative to
    where : file, and key if any, for messages

    Raises
    ------
    ConfigurationError
        as `read_analysis` says.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{where}: must be a mapping of keys; given: {type(content).__name__}")
    _refuse(where, plain_data_problems(content))
    _check_version(content.get("version", NEWEST), where)
    schema = read_yaml(SCHEMA)
    _refuse(where, problems(content, schema))
    completed = with_defaults(content, schema, schema)
    for analysis in completed["analysis"].values():
        extraction = analysis["extraction"]
        extraction["windows"] = {
            label: window
            if isinstance(window, str)
            else with_defaults(window, schema["$defs"]["window"], schema)
            for label, window in extraction["windows"].items()
        }
        for key in ("neuron_classes", "trial_steps"):
            extraction[key] = _pushed_down(extraction, extraction[key], folder)

    notes = _version_notes(content)
    found = _filter_problems(completed)
    recorded, sessions_problems = recorded_sessions(completed.get("recorded_sessions"))
    found += sessions_problems
    given_windows = {name: a["extraction"]["windows"] for name, a in completed["analysis"].items()}
    all_steps = {name: a["extraction"]["trial_steps"] for name, a in completed["analysis"].items()}
    for name, analysis in completed["analysis"].items():
        extraction = analysis["extraction"]
        own = _extraction_problems(extraction)
        own += simulated_problems(extraction) if recorded is None else recorded_problems(extraction)
        for label, other, there in references(extraction["windows"]):
            if problem := reference_problem(other, there, given_windows):
                own.append(f"extraction.windows.{label}: {problem}")
        for label, window in extraction["windows"].items():
            if not isinstance(window, str) and overlapping_trials(window):
                notes.append(
                    f"analysis.{name}.extraction.windows.{label}: trials overlap: "
                    "what is in several of them is counted in each"
                )
        entries = read_entries(
            analysis["features"],
            extraction["report"]["type"],
            list(extraction["neuron_classes"]),
            list(extraction["windows"]),
        )
        found += [f"analysis.{name}.{problem}" for problem in [*own, *entries.problems]]
        notes += [f"analysis.{name}.{note}" for note in entries.notes]
        analysis["features"] = entries.entries
    _refuse(where, found)

    analyses = {}
    for name, analysis in completed["analysis"].items():
        windows = {}
        sources = {label: (other, there) for label, other, there in references(given_windows[name])}
        for label in given_windows[name]:
            source, there = sources.get(label, (name, label))
            windows[label] = resolved_window(given_windows[source][there], all_steps[source])
        extraction = analysis["extraction"]
        kept = {key: extraction[key] for key in ("report", "neuron_classes")}
        kept |= {"windows": windows, "trial_steps": extraction["trial_steps"]}
        analyses[name] = Analysis(name, kept, analysis["features"], analysis["custom"])
    file = completed.get("simulation_campaign")
    return AnalysisFile(
        simulation_campaign=None if file is None else Path(os.path.normpath(folder / file)),
        recorded=recorded,
        simulations_filter=completed["simulations_filter"],
        simulations_filter_in_memory=completed["simulations_filter_in_memory"],
        custom=completed["custom"],
        analyses=analyses,
        notes=notes,
    )


def check_filter(query: Query, condition_names: Sequence[str], where: str = "simulations_filter") -> None:
    """Refuse a filter of simulations that is malformed or names no condition of the campaign.

    Raises
    ------
    ConfigurationError
        naming the conditions that there are.
    """
    check_query(query, where)
    known = [*condition_names, "simulation_id"]
    if unknown := [name for name in query_columns(query) if name not in known]:
        raise ConfigurationError(
            f"{where}: {', '.join(map(repr, unknown))}: unknown (known here: {', '.join(known)})"
        )


def plain_data_problems(content: Any) -> list[str]:
    """Return what JSON or a table could not hold: keys that are not texts, dates, NaN, huge integers; at most 20."""
    found = []
    for count, problem in enumerate(_unplain(content, ())):
        if problem:
            found.append(problem)
        if len(found) == 20 or count == MAX_VALUES:
            break
    else:
        return found
    return found or [f"holds more than {MAX_VALUES} values"]


def _unplain(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield one empty text a value, so that values can be counted, and one for each problem."""
    where = ".".join(path) or "top level"
    yield ""
    if len(path) > MAX_DEPTH:
        yield f"{'.'.join(path[:3])}...: is nested more than {MAX_DEPTH} levels deep"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where}: key {key!r} is not a text; put it in quotes"
            elif problem := value_problem(key):
                yield f"{where}: key {problem}"
            else:
                yield from _unplain(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unplain(item, (*path, str(i)))
    elif problem := value_problem(value):
        yield f"{where}: {problem}"
    elif not (value is None or isinstance(value, str | bool | int | float)):
        yield f"{where}: {value!r} is neither text, number, truth value nor null; put it in quotes"


def _refuse(where: str, found: Sequence[str]) -> None:
    if found:
        raise ConfigurationError("\n".join(f"{where}: {problem}" for problem in found))


def _check_version(version: Any, where: str) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or not OLDEST <= version <= NEWEST:
        older = isinstance(version, int) and not isinstance(version, bool) and version < OLDEST
        hint = f". {MIGRATION}" if older else ""
        raise ConfigurationError(f"{where}: version: {version!r}: allowed are {NEWEST} and {OLDEST}{hint}")


def _version_notes(content: Mapping[str, Any]) -> list[str]:
    notes = []
    if content.get("version") == OLDEST:
        notes.append(f"version: {OLDEST} is read as {NEWEST}; {MIGRATION}")
    if unused := [key for key in UNUSED if key in content]:
        notes.append(f"{', '.join(unused)}: not used; the results are kept in the folder of outputs")
    return notes


def _pushed_down(
    extraction: Mapping[str, Any], labelled: Mapping[str, Mapping[str, Any]], folder: Path
) -> dict[str, dict[str, Any]]:
    """Return neuron classes or trial steps with what ``extraction`` says of all of them."""
    common = {key: extraction.get(key) for key in PUSHED_DOWN}
    resolved = {}
    for label, given in labelled.items():
        own = {**given, **{key: given.get(key, common[key]) for key in PUSHED_DOWN}}
        file, limit = own["node_sets_file"], own["limit"]
        own["node_sets_file"] = os.path.normpath(folder / file) if file else None
        own["limit"] = limit if limit is None else int(limit)
        if own.get("node_id") is not None:
            own["node_id"] = [int(node) for node in own["node_id"]]
        resolved[label] = own
    return resolved


def _filter_problems(completed: Mapping[str, Any]) -> list[str]:
    keys = ("simulations_filter", "simulations_filter_in_memory")
    return [problem for key in keys for problem in _query_problems(completed[key], key)]


def _query_problems(query: Any, where: str) -> list[str]:
    try:
        check_query(query, where)
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


def _extraction_problems(extraction: Mapping[str, Any]) -> list[str]:
    """Return what the schema cannot say of an extraction, references between windows aside."""
    report = extraction["report"]
    found = []
    if report["type"] == "spikes" and report["name"]:
        found.append(f"report.name: {report['name']!r}: a spikes report has no name")
    if report["type"] != "spikes" and not report["name"]:
        found.append(f"report.name: missing; a report of type {report['type']} needs its name")
    for label, choice in extraction["neuron_classes"].items():
        found += _query_problems(choice["query"], f"neuron_classes.{label}.query")
    for label, step in extraction["trial_steps"].items():
        found += bounds_problems(f"trial_steps.{label}", step)
        if "initial_offset" in step:
            found.append(f"trial_steps.{label}.initial_offset: is a key of windows, not of trial steps")
    for label, window in extraction["windows"].items():
        if not isinstance(window, str):
            found += window_problems(label, window, extraction["trial_steps"])
            if "trials" in window:
                found += _query_problems(window["trials"]["query"], f"windows.{label}.trials.query")
    return [f"extraction.{problem}" for problem in found]
