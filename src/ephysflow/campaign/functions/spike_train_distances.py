"""Distances between the spike trains of the neurons of a group: van Rossum's, and Victor and Purpura's."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.campaign.functions.members import neuron_index, trial_index, trials_of_groups
from ephysflow.campaign.observations import FeatureRows, Observations
from ephysflow.errors import ConfigurationError, SimulationError

DEFAULTS: Mapping[str, float] = {"van_rossum_tau": 10.0, "victor_purpura_cost": 0.1, "max_trains": 500}

MOST_PAIRS = 20_000_000
"""Pairs that one call may return, about 50 bytes each."""

MOST_CELLS = 50_000_000
"""Trains of a group times spikes of the longest one; 8 bytes each, several times over."""


def spike_train_distances(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Compute the distances between the spike trains of each pair of neurons of a group, trial by trial.

    ``van_rossum``
        Euclidean distance of the trains, each convolved with a causal exponential of time constant tau (van Rossum
        2001, Neural Comput. 13:751-763), normalised so that a train without spikes has distance 1 from one with a
        single spike (as Elephant; sqrt(2) times the paper's). With K(a, b) the sum of exp(-|s - t| / tau) over all
        spikes s of a and t of b, it is sqrt(K(a, a) + K(b, b) - 2 K(a, b)); computed in linear time as Houghton &
        Kreuz (2012), Network 23:48-58.
    ``victor_purpura``
        Lowest cost of turning one train into the other when adding or removing a spike costs 1, and moving it by dt
        costs q dt (Victor & Purpura 1996, J. Neurophysiol. 76:1310-1326).

    Parameters
    ----------
    observations : of a spike report, times sorted within each observation
    params : ``van_rossum_tau`` [ms], default 10; ``victor_purpura_cost``, q [1/ms], default 0.1; ``max_trains``, the
        most neurons that a group may have, default 500: the number of pairs grows with its square

    Returns
    -------
    Table ``distances``, one row a pair: the neuron of the earlier class, within a class that of the lower gid, is the
    first. Index ``simulation_id, window, trial``, ``circuit_id`` (if simulations are pooled), ``neuron_class, gid,
    other_neuron_class`` (each unless in ``groupby``; the last as ``neuron_class``), ``other_gid``; columns
    ``van_rossum`` and ``victor_purpura``, no unit. Trains of different trials are not compared.

    Raises
    ------
    ConfigurationError
        for a parameter that does not exist, or a value that is not allowed.
    SimulationError
        if a group has more than ``max_trains`` neurons: no subset is drawn silently.
    """
    checked = check_params(params)
    blocks = _blocks(observations)
    first, second = _pairs(observations, blocks, int(checked["max_trains"]))
    rossum, purpura = np.empty(len(first)), np.empty(len(first))
    done = 0
    for start, stop in blocks:
        trains = observations.offsets[start : stop + 1]
        times = observations.rows["time"][trains[0] : trains[-1]]
        part = slice(done, done + (stop - start) * (stop - start - 1) // 2)
        rossum[part] = van_rossum(times, trains - trains[0], checked["van_rossum_tau"])
        purpura[part] = victor_purpura(times, trains - trains[0], checked["victor_purpura_cost"])
        done = part.stop
    values = {"van_rossum": rossum, "victor_purpura": purpura}
    return {"distances": FeatureRows(observations.group[first], _index(observations, first, second), values)}


def check_params(params: Mapping[str, Any]) -> dict[str, float]:
    """Return the parameters, with defaults.

    Raises
    ------
    ConfigurationError
        for a parameter that does not exist, or a value that is not allowed.
    """
    if unknown := [name for name in params if name not in DEFAULTS]:
        raise ConfigurationError(f"params: {unknown[0]!r} is unknown; known: {', '.join(DEFAULTS)}")
    checked = {**DEFAULTS, **params}
    allowed = {
        "van_rossum_tau": ("a number of ms above 0", lambda value: value > 0),
        "victor_purpura_cost": ("a number per ms, 0 or above", lambda value: value >= 0),
        "max_trains": ("a whole number, 2 or above", lambda value: value >= 2 and value == int(value)),
    }
    for name, (text, fits) in allowed.items():
        value = checked[name]
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not fits(value):
            raise ConfigurationError(f"params: {name} is {value!r}; allowed: {text}")
    return checked


def van_rossum(times: np.ndarray, offsets: np.ndarray, tau: float) -> np.ndarray:
    """Return van Rossum's distance of each pair of trains, in the order of ``numpy.triu_indices(n, 1)``.

    Parameters
    ----------
    times : (S,) spike times of all trains one after the other, each sorted
    offsets : (n + 1,) ``times[offsets[i]:offsets[i + 1]]`` is train i
    tau : time constant, in the unit of `times`
    """
    n, counts = len(offsets) - 1, np.diff(offsets)
    scaled, train = times / tau, np.repeat(np.arange(n), counts)
    kernel = np.zeros((n, n))
    for i in range(n):
        own = scaled[offsets[i] : offsets[i + 1]]
        if not len(own):
            continue
        traced = _trace_after_spikes(own)
        # pairs with the spike of train i not after the other one, then those with it before the other one
        not_after = np.searchsorted(own, scaled, "right") - 1
        before = np.searchsorted(own, scaled, "left") - 1
        kernel[i] += _trace_in_trains(own, traced, scaled, not_after, train, n)
        kernel[:, i] += _trace_in_trains(own, traced, scaled, before, train, n)
    own_part = np.diagonal(kernel)
    squared = own_part[:, None] + own_part[None, :] - 2.0 * kernel
    return np.sqrt(np.maximum(squared, 0.0))[np.triu_indices(n, 1)]


def _trace_in_trains(
    own: np.ndarray, traced: np.ndarray, scaled: np.ndarray, last: np.ndarray, train: np.ndarray, n: int
) -> np.ndarray:
    """Return the trace of a train, as its spike ``last`` left it (-1: none), summed over the spikes of each train."""
    heard = last >= 0
    at_spike = np.exp(own[last[heard]] - scaled[heard]) * traced[last[heard]]
    return np.bincount(train[heard], weights=at_spike, minlength=n)


def _trace_after_spikes(scaled: np.ndarray) -> np.ndarray:
    """Return, after each spike, the sum of exp(-(t_i - t_j)) over it and all earlier ones."""
    decay = np.exp(-np.diff(scaled)).tolist()
    trace = [1.0]
    for factor in decay:
        trace.append(1.0 + trace[-1] * factor)
    return np.array(trace)


def victor_purpura(times: np.ndarray, offsets: np.ndarray, cost: float) -> np.ndarray:
    """Return Victor and Purpura's distance of each pair of trains, in the order of ``numpy.triu_indices(n, 1)``.

    The recursion over the spikes of one train runs for all others, and all their spikes, at once.

    Parameters
    ----------
    times, offsets : as for `van_rossum`
    cost : of moving a spike by one unit of time
    """
    n, counts = len(offsets) - 1, np.diff(offsets)
    longest = int(counts.max(initial=0))
    if n * longest > MOST_CELLS:
        raise SimulationError(
            f"{n} spike trains of up to {longest} spikes cannot be compared at once; allowed: {MOST_CELLS} together"
        )
    padded = np.zeros((n, longest))
    padded[np.repeat(np.arange(n), counts), np.arange(len(times)) - np.repeat(offsets[:-1], counts)] = times
    step = np.arange(longest + 1.0)
    parts = []
    for i in range(n - 1):
        others, lengths = padded[i + 1 :], counts[i + 1 :]
        others = others[:, : int(lengths.max())]
        steps = step[: others.shape[1] + 1]
        # lowest[k, j]: cost of turning the spikes so far into the first j of train k
        lowest = np.broadcast_to(steps, (len(others), len(steps))).copy()
        for spike in padded[i, : counts[i]]:
            moved = lowest[:, :-1] + cost * np.abs(others - spike)
            lowest += 1.0
            np.minimum(lowest[:, 1:], moved, out=lowest[:, 1:])
            # adding spikes of train k: the least over j' <= j of lowest[j'] + (j - j')
            lowest -= steps
            np.minimum.accumulate(lowest, axis=1, out=lowest)
            lowest += steps
        parts.append(lowest[np.arange(len(others)), lengths])
    return np.concatenate([np.empty(0), *parts])


def _blocks(observations: Observations) -> list[tuple[int, int]]:
    """Return first and end of each run of observations of one group and one trial."""
    runs = trials_of_groups(observations)
    return list(zip(runs.start.tolist(), (runs.start + runs.length).tolist(), strict=True))


def _index(observations: Observations, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Return the index columns of pairs of observations of the same trial, and so of the same circuit."""
    other = observations.neuron[second]
    index = trial_index(observations, observations.trial[first])
    index |= neuron_index(observations, observations.neuron[first], ("neuron_class", "gid"))
    if "neuron_class" in index:
        index["other_neuron_class"] = observations.neurons["neuron_class"][other]
    return index | {"other_gid": observations.neurons["gid"][other]}


def _pairs(
    observations: Observations, blocks: list[tuple[int, int]], max_trains: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return both observations of each pair of the same group and trial."""
    for start, stop in blocks:
        if stop - start > max_trains:
            raise SimulationError(
                f"{stop - start} spike trains in group {observations.key(int(observations.group[start]))}; allowed: "
                f"max_trains, {max_trains}. Raise it, or set `limit` of the neuron class to fewer neurons"
            )
    total = sum((stop - start) * (stop - start - 1) // 2 for start, stop in blocks)
    if total > MOST_PAIRS:
        raise SimulationError(
            f"{total} pairs of spike trains; allowed: {MOST_PAIRS}. Set `limit` of the neuron classes to fewer neurons"
        )
    pairs = [np.array(np.triu_indices(stop - start, 1)) + start for start, stop in blocks]
    first, second = np.concatenate([np.empty((2, 0), np.int64), *pairs], axis=1)
    return first, second
