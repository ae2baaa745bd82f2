"""Members of each group: its neurons, its trials, and the index columns that tell them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ephysflow.campaign.observations import Observations
from ephysflow.errors import SimulationError


@dataclass(frozen=True)
class Members:
    """Neurons of each group: M rows sorted by group and neuron; `of_observation` (K,) is the member of each observation."""

    group: np.ndarray
    neuron: np.ndarray
    of_observation: np.ndarray


@dataclass(frozen=True)
class Runs:
    """Trials of each group: one row a run of observations that begins at `start`."""

    start: np.ndarray
    length: np.ndarray
    group: np.ndarray
    trial: np.ndarray


def neurons_of_groups(observations: Observations) -> Members:
    """Return the neurons of each group; a neuron is a gid of a class of a circuit, whatever the simulation."""
    rank = row = np.arange(len(observations.neurons["gid"]))
    if "simulation_id" not in observations.groups:
        rank, row = _distinct_neurons(observations)
    code = observations.group * len(rank) + rank[observations.neuron]
    used, member = np.unique(code, return_inverse=True)
    group, neuron = np.divmod(used, max(len(rank), 1))
    return Members(group, row[neuron], member)


def _distinct_neurons(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each row's neuron among all, and a row of each neuron; simulations may share neurons."""
    code = np.zeros(len(observations.neurons["gid"]), dtype=np.int64)
    for name in ("circuit_id", "neuron_class", "gid"):
        if name in observations.neurons:
            values, position = np.unique(observations.neurons[name], return_inverse=True)
            code = code * len(values) + position
    _, row, rank = np.unique(code, return_index=True, return_inverse=True)
    return rank, row


def trials_of_groups(observations: Observations) -> Runs:
    """Return the trials of each group."""
    group, trial = observations.group, observations.trial
    begins = np.ones(len(group), dtype=bool)
    begins[1:] = (np.diff(group) != 0) | (np.diff(trial) != 0)
    start = np.flatnonzero(begins)
    return Runs(start, np.diff(start, append=len(group)), group[start], trial[start])


def common_windows(observations: Observations, runs: Runs, feature: str) -> np.ndarray:
    """Return (G,) a row of the trials table for each group, the bounds of which are those of all its trials.

    Raises
    ------
    SimulationError
        if a group pools windows of different bounds; names the feature, the group and the windows.
    """
    t_start, t_stop = (observations.trials[name][runs.trial] for name in ("t_start", "t_stop"))
    first = np.searchsorted(runs.group, np.arange(observations.n_groups))
    other = (t_start != t_start[first][runs.group]) | (t_stop != t_stop[first][runs.group])
    if other.any():
        run = int(np.argmax(other))
        group = int(runs.group[run])
        windows = ", ".join(
            f"{observations.trials['window'][runs.trial[i]]}: {t_start[i]:g} to {t_stop[i]:g} ms"
            for i in (first[group], run)
        )
        raise SimulationError(
            f"{feature}: group {observations.key(group)} pools windows of different bounds ({windows}); "
            "add window to groupby, or choose windows of equal bounds (of trials that last as long as their intervals: "
            "give the window bounds, or add trial to groupby)"
        )
    return runs.trial[first]


def neuron_index(
    observations: Observations,
    neuron: np.ndarray,
    names: Sequence[str] = ("neuron_class", "gid", "neuron_class_index"),
) -> dict[str, np.ndarray]:
    """Return the index columns of some rows of the neurons table; ``circuit_id`` too if simulations are pooled."""
    if "simulation_id" not in observations.groups:
        names = ("circuit_id", *names)
    return _index(observations.neurons, names, neuron, observations)


def trial_index(observations: Observations, trial: np.ndarray) -> dict[str, np.ndarray]:
    """Return the index columns of some rows of the trials table."""
    return _index(observations.trials, ("simulation_id", "window", "trial"), trial, observations)


def _index(
    table: Mapping[str, np.ndarray], names: Sequence[str], rows: np.ndarray, observations: Observations
) -> dict[str, np.ndarray]:
    """Return the index columns that the key does not hold already."""
    return {name: table[name][rows] for name in names if name in table and name not in observations.groups}
