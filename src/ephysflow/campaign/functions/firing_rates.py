"""Spike counts, firing rates and spike-time histograms by neuron, trial and neuron class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.campaign.functions.gaussian import gaussian_smoothed
from ephysflow.campaign.functions.members import (
    Members,
    Runs,
    common_windows,
    neuron_index,
    neurons_of_groups,
    trial_index,
    trials_of_groups,
)
from ephysflow.campaign.observations import FeatureRows, Observations
from ephysflow.errors import ConfigurationError, SimulationError

SMOOTHING_SIGMA = 4.0
"""Standard deviation of the smoothed histogram [bins of 1 ms]; the column's name says 3 ms, as it does in BlueETL."""
DURATION_TOLERANCE = 1e-6
"""A remainder of a duration [ms] below this is rounding (70.1 - 0.1) and makes no bin of its own."""
MAX_BINS = 200_000_000
"""Rows of the histogram table above which the windows are taken for a mistake."""

SMOOTHED_AT_ONCE = 100_000
"""Bins that are smoothed in one step: as many as stay in the processor's cache."""


def firing_rates(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Count spikes by neuron, by neuron and trial, by class, by class and trial, and in bins of 1 ms.

    The formulas are those of BlueETL's ``bnac`` features (0.13.4) and, for its only grouping (simulation, circuit,
    class, window), so are the results. c is the number of spikes of a neuron in a trial, d the duration [ms].

    - ``by_gid``: ``first_spike_time_means_cort_zeroed`` [ms] mean, over the trials with a spike, of the first spike's
      time (NaN without any); ``mean_spike_counts`` mean of c over trials; ``mean_firing_rates_per_second`` [Hz]
      1000 times that by d.
    - ``by_gid_and_trial``: ``count``; ``first`` [ms]; ``times`` [ms], a list.
    - ``by_neuron_class``: mean over neurons of the mean counts and rates, and the standard deviation (ddof 0) of the
      rates; mean, minimum, maximum and index of the first maximum of the histogram.
    - ``by_neuron_class_and_trial``: mean of c over neurons.
    - ``histograms``: spikes by neuron, trial and bin; the same divided by its maximum; the same smoothed with a Gaussian
      kernel of 4 bins and divided by its maximum. A maximum of 0 does not divide.

    Where BlueETL is wrong this differs: without ``export_all_neurons``, neurons that are silent in all trials of the
    group are left out of ``by_gid`` and ``by_gid_and_trial`` (means over the class still count them). Bins are 1 ms wide
    from the start of the window; the last one holds the rest of a duration that is not whole, down to a window below
    1 ms, which has one bin. So all spikes are in some bin, and a shorter last bin is expected to hold fewer.

    In other groupings, a neuron is a gid of a class of a circuit and a trial is one trial of one window of one
    simulation: to pool simulations adds trials, not spikes to a trial, so rates stay rates. The columns that tell
    neurons or trials of one group apart and are not in ``groupby`` are added to the index.

    Parameters
    ----------
    observations : of spikes
    params : ``export_all_neurons`` (false)

    Raises
    ------
    SimulationError
        if a group pools windows of different bounds, which have no common rate; names the group.
    """
    export_all = check_params(params)
    runs = trials_of_groups(observations)
    window = common_windows(observations, runs, "firing_rates")
    t_start, duration = (observations.trials[name][window] for name in ("t_start", "duration"))
    members = neurons_of_groups(observations)
    first, last = _extremes(observations)
    by_gid = _by_gid(observations, members, first, duration)
    counts = _histogram(observations, t_start, duration, first, last)
    histograms = _histograms(observations, counts, _n_bins(duration))
    silent = by_gid.values["mean_spike_counts"] == 0
    by_trial = _by_gid_and_trial(observations, first, ~silent[members.of_observation] | export_all)
    return {
        "by_gid": by_gid if export_all else _selected(by_gid, ~silent),
        "by_gid_and_trial": by_trial,
        "by_neuron_class": _by_neuron_class(observations.n_groups, by_gid, histograms),
        "by_neuron_class_and_trial": _by_neuron_class_and_trial(observations, runs),
        "histograms": histograms,
    }


def check_params(params: Mapping[str, Any]) -> bool:
    """Return ``export_all_neurons``.

    Raises
    ------
    ConfigurationError
        if it is neither true nor false.
    """
    export_all = params.get("export_all_neurons", False)
    if not isinstance(export_all, bool):
        raise ConfigurationError(f"params: export_all_neurons is {export_all!r}; allowed: true or false")
    return export_all


def _extremes(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Return (K,) first and last spike time of each observation, NaN where it is silent."""
    first, last = np.full((2, len(observations.group)), np.nan)
    spiking = np.flatnonzero(observations.counts)
    start = observations.offsets[spiking]
    first[spiking] = np.minimum.reduceat(observations.rows["time"], start)
    last[spiking] = np.maximum.reduceat(observations.rows["time"], start)
    return first, last


def _by_gid(
    observations: Observations, members: Members, first: np.ndarray, duration: np.ndarray
) -> FeatureRows:
    n_members, member = len(members.group), members.of_observation
    spiking = observations.counts > 0
    n_trials = np.bincount(member, minlength=n_members)
    n_spiking = np.bincount(member[spiking], minlength=n_members)
    firsts = np.bincount(member[spiking], weights=first[spiking], minlength=n_members)
    mean_counts = np.bincount(member, weights=observations.counts, minlength=n_members) / n_trials
    with np.errstate(invalid="ignore"):
        values = {
            "first_spike_time_means_cort_zeroed": firsts / n_spiking,
            "mean_spike_counts": mean_counts,
            "mean_firing_rates_per_second": 1000.0 * mean_counts / duration[members.group],
        }
    return FeatureRows(members.group, neuron_index(observations, members.neuron), values)


def _by_gid_and_trial(observations: Observations, first: np.ndarray, kept: np.ndarray) -> FeatureRows:
    offsets = observations.offsets
    # what is left out has no spikes: the lists of the rest still follow each other without a gap
    times = _lists(np.append(offsets[:-1][kept], offsets[-1]), observations.rows["time"])
    return FeatureRows(
        observations.group[kept],
        trial_index(observations, observations.trial[kept])
        | neuron_index(observations, observations.neuron[kept]),
        {"count": observations.counts[kept], "first": first[kept], "times": times},
    )


def _lists(offsets: np.ndarray, values: np.ndarray) -> Any:
    """Return an Arrow array of lists ``values[offsets[i]:offsets[i + 1]]``; the values are not copied."""
    import pyarrow as pa

    def arrow(array: np.ndarray) -> pa.Array:
        # pa.array() would import pandas, which takes longer than all counting
        array = np.ascontiguousarray(array)
        return pa.Array.from_buffers(
            pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(array)]
        )

    if offsets[-1] <= np.iinfo(np.int32).max:
        return pa.ListArray.from_arrays(arrow(offsets.astype(np.int32)), arrow(values))
    return pa.LargeListArray.from_arrays(arrow(offsets.astype(np.int64)), arrow(values))


def _by_neuron_class(n_groups: int, by_gid: FeatureRows, histograms: FeatureRows) -> FeatureRows:
    group = by_gid.group
    rates, mean_counts = by_gid.values["mean_firing_rates_per_second"], by_gid.values["mean_spike_counts"]
    n_members = np.bincount(group, minlength=n_groups)
    mean_rate = np.bincount(group, weights=rates, minlength=n_groups) / n_members
    squares = np.bincount(group, weights=(rates - mean_rate[group]) ** 2, minlength=n_groups)
    counts = histograms.values["spike_times_normalised_hist_1ms_bin"]
    start = np.searchsorted(histograms.group, np.arange(n_groups))
    highest = np.maximum.reduceat(counts, start)
    at_highest = np.flatnonzero(counts == highest[histograms.group])
    _, earliest = np.unique(histograms.group[at_highest], return_index=True)
    values = {
        "mean_of_mean_spike_counts": np.bincount(group, weights=mean_counts, minlength=n_groups) / n_members,
        "mean_of_mean_firing_rates_per_second": mean_rate,
        "std_of_mean_firing_rates_per_second": np.sqrt(squares / n_members),
        "mean_of_spike_times_normalised_hist_1ms_bin": np.add.reduceat(counts, start)
        / np.diff(start, append=len(counts)),
        "min_of_spike_times_normalised_hist_1ms_bin": np.minimum.reduceat(counts, start),
        "max_of_spike_times_normalised_hist_1ms_bin": highest,
        "argmax_spike_times_hist_1ms_bin": histograms.index["bin"][at_highest[earliest]],
    }
    return FeatureRows(np.arange(n_groups), {}, values)


def _by_neuron_class_and_trial(observations: Observations, runs: Runs) -> FeatureRows:
    mean_counts = np.add.reduceat(observations.counts, runs.start) / runs.length
    return FeatureRows(
        runs.group,
        trial_index(observations, runs.trial),
        {"mean_of_spike_counts_for_each_trial": mean_counts},
    )


def _n_bins(duration: np.ndarray) -> np.ndarray:
    return np.maximum(np.ceil(duration - DURATION_TOLERANCE), 1).astype(np.int64)


def _histogram(
    observations: Observations,
    t_start: np.ndarray,
    duration: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
) -> np.ndarray:
    """Return the number of spikes in each bin of each group, the groups one after the other."""
    if np.ceil(duration).sum() > MAX_BINS:
        raise SimulationError(
            f"firing_rates: the histograms of {len(duration)} groups with windows of up to {duration.max():g} ms "
            f"have {np.ceil(duration).sum():.0f} bins of 1 ms; at most {MAX_BINS} are made"
        )
    n_bins = _n_bins(duration)
    ends = np.cumsum(n_bins)
    group, counts, time = observations.group, observations.counts, observations.rows["time"]
    place = (ends - n_bins)[group]
    if (t_start == np.floor(t_start)).all():
        # the edges are whole numbers: exact without a comparison with them
        place = np.repeat(place - t_start[group].astype(np.int64), counts)
        place += np.floor(time).astype(np.int64)
    else:
        start = np.repeat(t_start[group], counts)
        bins = np.floor(time - start)
        bins -= time < start + bins
        bins += time >= start + bins + 1
        place = np.repeat(place, counts) + bins.astype(np.int64)
    # rounding of a time that is relative to its trial may carry it over the window's bounds
    if (first < t_start[group]).any() or (last >= (t_start + n_bins)[group]).any():
        place = np.clip(place, np.repeat((ends - n_bins)[group], counts), np.repeat(ends[group] - 1, counts))
    return np.bincount(place, minlength=int(n_bins.sum()))


def _histograms(observations: Observations, counts: np.ndarray, n_bins: np.ndarray) -> FeatureRows:
    group = np.repeat(np.arange(len(n_bins)), n_bins)
    start = np.cumsum(n_bins) - n_bins
    n_observations = np.diff(observations.group_offsets)
    normalised = counts / n_observations[group]
    by_maximum = normalised / _divisor(np.maximum.reduceat(normalised, start))[group]
    smoothed = np.empty(len(counts))
    for length in np.unique(n_bins):
        starts = start[n_bins == length]
        at_once = int(max(SMOOTHED_AT_ONCE // length, 1))
        for i in range(0, len(starts), at_once):
            rows = starts[i : i + at_once, np.newaxis] + np.arange(length)
            curves = gaussian_smoothed(by_maximum[rows], SMOOTHING_SIGMA)
            smoothed[rows] = curves / _divisor(curves.max(axis=1, keepdims=True))
    values = {
        "spike_times_normalised_hist_1ms_bin": normalised,
        "spike_times_max_normalised_hist_1ms_bin": by_maximum,
        "smoothed_3ms_spike_times_max_normalised_hist_1ms_bin": smoothed,
    }
    return FeatureRows(group, {"bin": np.arange(len(counts)) - start[group]}, values)


def _divisor(maximum: np.ndarray) -> np.ndarray:
    return np.where(maximum > 0, maximum, 1.0)


def _selected(table: FeatureRows, kept: np.ndarray) -> FeatureRows:
    return FeatureRows(
        table.group[kept],
        {name: values[kept] for name, values in table.index.items()},
        {name: values[kept] for name, values in table.values.items()},
    )
