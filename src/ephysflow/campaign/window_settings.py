"""Windows of an analysis configuration: checked, completed, references and trial steps resolved."""

import copy
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

REFERENCE = ".extraction.windows."
_NUMBERS = ("initial_offset", "t_step", "trial_steps_value")
_OF_STEPS = {
    "initial_offset": 0,
    "n_trials": 1,
    "trial_steps_value": 0,
    "trial_steps_list": [],
    "trial_steps_label": "",
}
"""Keys, with their defaults, by which trials that are no rows of a table follow each other."""


def window_problems(label: str, window: Mapping[str, Any], trial_steps: Mapping[str, Any]) -> list[str]:
    """Return what a schema cannot say of one window (with its defaults), one line each."""
    where = f"windows.{label}"
    found = bounds_problems(where, window) if "bounds" in window else []
    if "trials" in window:
        return found + [
            f"{where}: trials and {key}: {window[key]!r} exclude each other; bounds are relative to the start of each trial"
            for key, default in _OF_STEPS.items()
            if window[key] != default
        ]
    if window["trial_steps_list"]:
        for key, alone in (("n_trials", (0, 1)), ("trial_steps_value", (0,))):
            if window[key] not in alone:
                found.append(f"{where}: trial_steps_list and {key}: {window[key]!r} exclude each other")
    elif window["n_trials"] > 1 and window["trial_steps_value"] == 0:
        found.append(f"{where}: n_trials: {window['n_trials']} needs a trial_steps_value other than 0")
    step = window["trial_steps_label"]
    if step and step not in trial_steps:
        known = ", ".join(trial_steps) or "none"
        found.append(f"{where}.trial_steps_label: {step!r} is unknown (trial_steps here: {known})")
    return found


def bounds_problems(where: str, holder: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the ``bounds`` of a window or of a trial step."""
    start, stop = holder["bounds"]
    if start < stop:
        return []
    wrong = "equal" if start == stop else "reversed"
    return [f"{where}.bounds: [{start}, {stop}] are {wrong}; the first must be below the second"]


def overlapping_trials(window: Mapping[str, Any]) -> bool:
    """Whether two trials of a window have times in common, so that rows of the report are there twice.

    Of trials that are rows of a table this is not known before the table is there: False.
    """
    if "trials" in window:
        return False
    duration = window["bounds"][1] - window["bounds"][0]
    offsets = sorted(window["trial_steps_list"])
    if not offsets and window["n_trials"] > 1:
        offsets = [0, abs(window["trial_steps_value"])]
    return any(after - before < duration for before, after in pairwise(offsets))


def resolved_window(window: Mapping[str, Any], trial_steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return a window with its trial step, if any, under ``trial_step``; one text for equal numbers.

    ``bounds`` are None where each trial, a row of a table, has its own.
    """
    step = window["trial_steps_label"]
    bounds = window.get("bounds")
    return {
        **window,
        **{key: float(window[key]) for key in _NUMBERS},
        "bounds": None if bounds is None else [float(time) for time in bounds],
        "n_trials": max(int(window["n_trials"]), 1),
        "trial_steps_list": [float(time) for time in window["trial_steps_list"]],
        "trial_step": {**copy.deepcopy(trial_steps[step]), "label": step} if step else None,
    }


def references(windows: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield label, analysis and label there of the windows that are references."""
    for label, window in windows.items():
        if isinstance(window, str):
            analysis, _, there = window.partition(REFERENCE)
            yield label, analysis, there


def reference_problem(analysis: str, label: str, given: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return why a reference cannot be followed, None when it can.

    Parameters
    ----------
    analysis, label : what the reference names
    given : analysis -> its windows as they were given, references being texts
    """
    if analysis not in given:
        return f"analysis {analysis!r} is unknown (known: {', '.join(given)})"
    windows = given[analysis]
    if label not in windows:
        known = ", ".join(name for name, window in windows.items() if not isinstance(window, str)) or "none"
        return f"analysis {analysis!r} has no window {label!r} (windows there: {known})"
    if not isinstance(windows[label], str):
        return None
    seen = [(analysis, label)]
    while isinstance(target := given.get(seen[-1][0], {}).get(seen[-1][1]), str):
        name, _, there = target.partition(REFERENCE)
        if (name, there) in seen:
            chain = " -> ".join(".".join(step) for step in [*seen, (name, there)])
            return f"circular references: {chain}"
        seen.append((name, there))
    return f"{analysis}{REFERENCE}{label} is a reference itself ({windows[label]}); name that window directly"
