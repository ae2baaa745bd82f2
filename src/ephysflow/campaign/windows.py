"""Windows and their trials: when each of them is."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def static_trials(
    windows: Mapping[str, Mapping[str, Any]], dynamic_offsets: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the trials of all windows of one simulation.

    Parameters
    ----------
    windows : label -> ``bounds, initial_offset, t_step, n_trials, trial_steps_value, trial_steps_list, window_type``,
        in the order of the file
    dynamic_offsets : label -> offset [ms] that the simulation's spikes give, for windows with a trial step function

    Returns
    -------
    columns ``window, trial, offset, t_start, t_stop, t_step, duration, window_type``, one row a trial, windows in the
    order given. A trial lasts from ``offset + t_start`` to ``offset + t_stop`` [ms].
    """
    rows = []
    for label, window in windows.items():
        start, stop = map(float, window["bounds"])
        begin = window["initial_offset"] + dynamic_offsets.get(label, 0.0)
        for trial, step in enumerate(step_offsets(window)):
            offset = float(begin + step)
            row = (label, trial, offset, start, stop, window["t_step"], stop - start, window["window_type"])
            rows.append(row)
    columns = list(zip(*rows, strict=True)) or [()] * 8
    names = ("window", "trial", "offset", "t_start", "t_stop", "t_step", "duration", "window_type")
    kinds = (np.str_, np.int32, *[np.float64] * 5, np.str_)
    return {
        name: np.array(values, dtype=kind) for name, values, kind in zip(names, columns, kinds, strict=True)
    }


def step_offsets(window: Mapping[str, Any]) -> list[float]:
    """Return the offset [ms] of each trial of a window from its first."""
    if window["trial_steps_list"]:
        return list(window["trial_steps_list"])
    return [i * window["trial_steps_value"] for i in range(max(window["n_trials"], 1))]
