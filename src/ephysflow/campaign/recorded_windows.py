"""Windows of a recorded session: rows of a table of intervals are their trials, or they are at fixed times."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.campaign.query import matches, query_columns
from ephysflow.campaign.recorded_files import Intervals, queried_columns
from ephysflow.campaign.windows import static_trials
from ephysflow.errors import ConfigurationError, SimulationError

SILENCE = 1000.0
"""Longest time [ms] before the first and after the last spike of a session that is taken for recorded."""
NO_INTERVAL = -1
"""Stands for the interval of trials that are no rows of a table."""

Finding = tuple[str, str]


def recorded_trials(
    windows: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Intervals]
) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Return the trials of all windows of one session.

    Each row of its table that the query of a window lets through is a trial, in the order of the table: the offset is
    its start, and it lasts as the window's bounds say, or, without bounds, until its stop.

    Parameters
    ----------
    windows : label -> window; ``trials`` (``table``, ``query``), if any, and ``bounds`` [ms] or None
    tables : name -> rows of each table that windows name

    Returns
    -------
    columns : as of `static_trials`, and ``interval``: the id of the row, or `NO_INTERVAL`
    findings : windows without trials, rows that have no time

    Raises
    ------
    SimulationError
        if a query names a column that the table does not have, or compares what has no order.
    """
    parts, findings = [], []
    for label, window in windows.items():
        if "trials" not in window:
            part = static_trials({label: window}, {})
            parts.append({**part, "interval": np.full(len(part["trial"]), NO_INTERVAL)})
            continue
        part, said = _trials_of_rows(label, window, tables[window["trials"]["table"]])
        parts.append(part)
        findings += [(f"window {label}", reason) for reason in said]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, findings


def _trials_of_rows(
    label: str, window: Mapping[str, Any], intervals: Intervals
) -> tuple[dict[str, np.ndarray], list[str]]:
    chosen = _queried(label, window["trials"]["query"], intervals)
    said = []
    bounds = window["bounds"]
    with np.errstate(invalid="ignore"):
        timed = np.isfinite(intervals.start)
        if bounds is None:
            timed &= np.isfinite(intervals.stop) & (intervals.stop > intervals.start)
    if untimed := np.count_nonzero(chosen & ~timed):
        lacking = "start" if bounds is not None else "start, or no stop after it"
        said.append(f"{untimed} of {np.count_nonzero(chosen)} rows of {intervals.name} have no {lacking}")
    rows = np.flatnonzero(chosen & timed)
    if not len(rows):
        said.append(f"has no trial: {_why_none(chosen, intervals)}")
    n, offset = len(rows), intervals.start[rows]
    if bounds is None:
        start, stop = np.zeros(n), _until(offset, intervals.stop[rows])
    else:
        start, stop = np.full(n, bounds[0]), np.full(n, bounds[1])
    return {
        "window": np.full(n, label),
        "trial": np.arange(n, dtype=np.int32),
        "offset": offset,
        "t_start": start,
        "t_stop": stop,
        "t_step": np.full(n, float(window["t_step"])),
        "duration": stop - start,
        "window_type": np.full(n, window["window_type"]),
        "interval": intervals.ids[rows],
    }, said


def _why_none(chosen: np.ndarray, intervals: Intervals) -> str:
    if not len(chosen):
        return f"{intervals.name} is empty"
    if not chosen.any():
        return f"its query lets no row of {intervals.name} through"
    return "none of its rows has a time"


def _until(offset: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return t such that offset + t is `stop`, rounding included: intervals that touch share no spike and lose none."""
    t = stop - offset
    t = np.where(offset + t < stop, np.nextafter(t, np.inf), t)
    return np.where(offset + t > stop, np.nextafter(t, -np.inf), t)


def _queried(label: str, query: Any, intervals: Intervals) -> np.ndarray:
    n = len(intervals.start)
    names = query_columns(query)
    if not n or not names:
        return np.ones(n, dtype=bool)
    known = intervals.table.column_names
    where = f"window {label}: trials.query"
    if unknown := [name for name in names if name not in known]:
        raise SimulationError(
            f"{where}: {intervals.name} has no column {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    try:
        return matches(query, queried_columns(intervals.table, names), where)
    except ConfigurationError as error:
        raise SimulationError(str(error)) from None


def outside_of_spikes(trials: Mapping[str, np.ndarray], time: np.ndarray) -> list[Finding]:
    """Return a finding for each window with trials that begin long before the first or end long after the last spike.

    How long a session was recorded is not known, but all of its units are hardly ever silent for a second. Features count such trials with their whole duration, so that rates may come out too low.

    Parameters
    ----------
    trials : columns ``window, offset, t_start, t_stop``
    time : (n,) of all spikes [ms], at least one
    """
    first, last = time.min(), time.max()
    begin, end = (trials["offset"] + trials[name] for name in ("t_start", "t_stop"))
    outside = (begin < first - SILENCE) | (end > last + SILENCE)
    findings = []
    for label in dict.fromkeys(trials["window"][outside].tolist()):
        own = trials["window"] == label
        reason = (
            f"{np.count_nonzero(own & outside)} of {np.count_nonzero(own)} trials begin more than {SILENCE:g} ms "
            f"before the first or end more than {SILENCE:g} ms after the last spike of the session ({first:g} to {last:g} ms)"
        )
        findings.append((f"window {label}", reason))
    return findings
