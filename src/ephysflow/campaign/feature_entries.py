"""Feature entries of an analysis configuration: what to compute, checked and expanded into combinations."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ephysflow.campaign.combinations import Combination, expand
from ephysflow.campaign.functions.registry import FEATURE_FUNCTIONS, ShippedFunction, shipped_function
from ephysflow.errors import ConfigurationError

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,149}")
"""Names that become names of files and folders; suffixes come on top."""
FILE_NAME_RULE = "letters, digits and _ . + -, beginning with a letter or digit, at most 150 characters"

GROUP_COLUMNS = (
    "simulation_id",
    "circuit_id",
    "neuron_class",
    "window",
    "trial",
    "gid",
    "neuron_class_index",
    "offset",
    "t_start",
    "t_stop",
    "t_step",
    "duration",
    "window_type",
)
"""Columns of neurons and of windows, by which everything can be grouped."""


@dataclass(frozen=True)
class FeatureEntry:
    """One entry of ``features``.

    Attributes
    ----------
    type, name : single (one table, of this name) or multi
    groupby : key columns
    function : shipped name, alias of one, or dotted path of the user's own
    neuron_classes, windows : labels to restrict the tables to; all when empty
    params, params_product, params_zip, suffix : as given; `combinations` is what they amount to
    multi_index : key columns as index levels
    contract, partition : of the user's own function
    combinations : at least one
    """

    type: str
    name: str | None
    groupby: list[str]
    function: str
    neuron_classes: list[str]
    windows: list[str]
    params: dict[str, Any]
    params_product: dict[str, list[Any]]
    params_zip: dict[str, list[Any]]
    suffix: str
    multi_index: bool
    contract: str
    partition: str | None
    combinations: list[Combination]


@dataclass(frozen=True)
class ReadEntries:
    """Entries that can be used, what is wrong with the others, and what the user should know; one line each."""

    entries: list[FeatureEntry]
    problems: list[str]
    notes: list[str]


def read_entries(
    given: Sequence[Mapping[str, Any]], report_type: str, classes: Sequence[str], windows: Sequence[str]
) -> ReadEntries:
    """Check the feature entries of one analysis.

    Parameters
    ----------
    given : entries with the defaults of the schema
    report_type : spikes, soma or compartment
    classes, windows : labels that there are
    """
    entries: dict[str, FeatureEntry] = {}
    problems: list[str] = []
    notes: list[str] = []
    for i, item in enumerate(given):
        where = f"features.{i}"
        own = _label_problems(item, classes, windows)
        shipped = shipped_function(item["function"])
        own += _shipped_problems(item, shipped, report_type) if shipped else _own_problems(item, report_type)
        if item["type"] == "single" and not shipped:
            own += _name_problems(item)
        elif item["name"] and item["type"] == "multi":
            notes.append(f"{where}: name: {item['name']!r} is used for type single only")
        try:
            entries[where] = FeatureEntry(**item, combinations=expand(item))
        except ConfigurationError as error:
            own.append(str(error))
        else:
            if shipped and (unread := _unread(entries[where], shipped)):
                own += _misspelt(unread, shipped)
                known = ", ".join(shipped.parameters) or "none"
                notes.append(
                    f"{where}: {item['function']} does not read {', '.join(unread)} of its parameters: they change no "
                    f"result (known: {known})"
                )
        problems += [f"{where}: {problem}" for problem in own]
    return ReadEntries(list(entries.values()), problems + _clashes(entries), notes)


def _label_problems(item: Mapping[str, Any], classes: Sequence[str], windows: Sequence[str]) -> list[str]:
    return [
        f"{key}: {label!r} is unknown (known: {', '.join(known)})"
        for key, known in (("neuron_classes", classes), ("windows", windows))
        for label in item[key]
        if label not in known
    ]


def _shipped_problems(item: Mapping[str, Any], shipped: ShippedFunction, report_type: str) -> list[str]:
    found = _groupby_problems(item["groupby"], GROUP_COLUMNS)
    name = item["function"]
    if report_type not in shipped.reports:
        found.append(
            f"function: {name} works on reports of type {' and '.join(shipped.reports)}; given: {report_type}"
        )
    if item["type"] == "single":
        tables = ", ".join(shipped.tables)
        found.append(f"type: {name} names its tables itself ({tables}): allowed is multi; given: single")
    return found


def _own_problems(item: Mapping[str, Any], report_type: str) -> list[str]:
    allowed: tuple[str, ...] = GROUP_COLUMNS
    if item["contract"] == "group":
        allowed += ("time", "section") if report_type == "compartment" else ("time",)
    found = _groupby_problems(item["groupby"], allowed)
    if not all(part.isidentifier() for part in item["function"].split(".")) or "." not in item["function"]:
        found.append(
            f"function: {item['function']!r} is neither shipped ({', '.join(FEATURE_FUNCTIONS)}) "
            "nor a dotted path module.function"
        )
    if item["partition"] == "simulation" and "simulation_id" not in item["groupby"]:
        found.append("partition: simulation needs simulation_id in groupby, or groups would be torn apart")
    if item["contract"] == "vectorised" and item["type"] == "single":
        found.append("type: single is for the contract group; a vectorised function names its tables itself")
    return found


def _groupby_problems(groupby: Sequence[str], allowed: Sequence[str]) -> list[str]:
    return [
        f"groupby: {name!r} is not a column to group by (allowed: {', '.join(allowed)})"
        for name in groupby
        if name not in allowed
    ]


def _name_problems(item: Mapping[str, Any]) -> list[str]:
    if not item["name"]:
        return ["name: type single needs the name of its table"]
    if not FILE_NAME.fullmatch(item["name"]):
        return [f"name: {item['name']!r}: allowed are {FILE_NAME_RULE}"]
    return []


def _unread(entry: FeatureEntry, shipped: ShippedFunction) -> list[str]:
    """Return the parameters that cannot change a result."""
    given = dict.fromkeys(name for combination in entry.combinations for name in combination.params)
    return [name for name in given if name not in shipped.parameters]


def _misspelt(unread: Sequence[str], shipped: ShippedFunction) -> list[str]:
    """Return a problem for each parameter that is read by no other name than a similar one."""
    close = {name: difflib.get_close_matches(name, shipped.parameters, 1, 0.8) for name in unread}
    return [f"params.{name}: unknown; did you mean {found[0]}?" for name, found in close.items() if found]


def _clashes(entries: Mapping[str, FeatureEntry]) -> list[str]:
    """Return the tables that two entries would make, as far as their names are known before anything is run.

    Tables with a suffix are also stacked, under the name without it; entries may share such a table.
    """
    found = []
    made: dict[str, str] = {}
    stacked: dict[str, str] = {}
    for where, entry in entries.items():
        shipped = shipped_function(entry.function)
        names = shipped.tables if shipped else (entry.name,) if entry.type == "single" else ()
        for name in names:
            finals = [f"{name}{combination.suffix}" for combination in entry.combinations]
            if twice := [final for final in finals if final in made]:
                found.append(
                    f"{where}: table {twice[0]!r} is also made by {made[twice[0]]}; give one of them a suffix"
                )
            made |= dict.fromkeys(finals, where)
            if any(combination.suffix for combination in entry.combinations):
                stacked.setdefault(str(name), where)
    for name, where in stacked.items():
        if name in made:
            found.append(
                f"{where}: its tables are stacked as {name!r}, which {made[name]} makes too; give both a suffix"
            )
    return found
