"""Trial steps by a function: the offset of a window that follows from the spikes of the simulation."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from numbers import Real
from typing import Any

import numpy as np

from ephysflow.campaign.neurons import (
    FindNodeSet,
    FindPopulation,
    node_set_members,
    sample,
    stream_of,
)
from ephysflow.campaign.windows import step_offsets
from ephysflow.errors import SimulationError

TrialStepFunction = Callable[[Sequence[np.ndarray], Mapping[str, Any]], float]


def trial_step_gids(
    trial_step: Mapping[str, Any],
    population_of: FindPopulation,
    node_set: FindNodeSet,
    seed: int,
) -> np.ndarray:
    """Return the sorted ids of the neurons whose spikes a trial step looks at.

    Parameters
    ----------
    trial_step : ``label, population, node_set, node_sets_file, limit``
    population_of, node_set : access to the circuit
    seed : with the label it decides what is drawn where there is a limit; classes and other trial steps do not
    """
    population = population_of(trial_step.get("population"))
    ids = node_set_members(trial_step, population, node_set)
    return sample(ids, trial_step.get("limit"), stream_of(seed, f"trial step {trial_step['label']}"))


def dynamic_offset(
    window: Mapping[str, Any],
    spikes: tuple[np.ndarray, np.ndarray],
    gids: np.ndarray,
    function: TrialStepFunction,
) -> float:
    """Return the offset [ms] that a trial step's function finds in the spikes; it holds for all trials of the window.

    Parameters
    ----------
    window : its ``trial_step`` has ``label``, ``function``, ``bounds`` and what else the function reads
    spikes : (n,) node id and (n,) time [ms] of the spikes of the trial step's population
    gids : sorted ids of the neurons to look at
    function : called with the spike times of each trial, relative to the trial and within the bounds, both included,
        and with the settings of the trial step

    Raises
    ------
    SimulationError
        if the function raises, or returns something else than a finite number.
    """
    trial_step = window["trial_step"]
    gid, time = spikes
    first, last = trial_step["bounds"]
    times = []
    for step in step_offsets(window):
        zero = window["initial_offset"] + step
        within = np.flatnonzero((time >= zero + first) & (time <= zero + last))
        times.append(time[within[np.isin(gid[within], gids)]] - zero)
    where = f"trial step {trial_step['label']}: function {trial_step['function']}"
    try:
        offset = function(times, deepcopy(dict(trial_step)))
    except (Exception, SystemExit) as error:
        raise SimulationError(f"{where}: {type(error).__name__}: {error}") from error
    if isinstance(offset, bool) or not isinstance(offset, Real) or not math.isfinite(offset):
        raise SimulationError(f"{where}: must return a finite number [ms]; returned {offset!r}")
    return float(offset)
