"""Statistics of single neurons' spike trains: rate, inter-spike intervals, their variability, latency, count."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.campaign.functions.members import neuron_index, neurons_of_groups
from ephysflow.campaign.observations import FeatureRows, Observations
from ephysflow.errors import ConfigurationError

FEATURES = ("MFR", "ISI", "CV", "LV", "latency", "spike_count")


def spike_train_statistics(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Compute rate, interval statistics, latency and count of each neuron of each group.

    The trials of a neuron in a group are pooled; so are simulations when they are not in ``groupby``. Intervals never
    reach from one trial into another. n is the number of spikes of a trial, I_1 ... I_(n-1) are the differences of
    successive spike times.

    ``MFR``
        Mean firing rate [1/s]: spikes of all trials, divided by the duration of all trials; 0 for a silent neuron.
        (Elephant's ``mean_firing_rate``, in BlueETL per ms.)
    ``ISI``
        Mean inter-spike interval [ms], over the intervals of all trials; NaN when there are none. (BlueETL gives the
        first interval only.)
    ``CV``
        Coefficient of variation of the intervals: standard deviation (of the population, ddof 0) over mean; 1 in a
        Poisson process (Holt, Softky, Koch & Douglas 1996, J. Neurophysiol. 75:1806-1814; Elephant's ``cv``). NaN
        with fewer than two intervals.
    ``LV``
        Local variation: 3 times the mean of ((I_i - I_(i+1)) / (I_i + I_(i+1)))^2 over pairs of successive intervals
        of all trials; 1 in a Poisson process (Shinomoto, Shima & Tanji 2003, Neural Comput. 15:2823-2842, eq. 2.2;
        Elephant's ``lv``). NaN without such a pair, or when three spikes coincide.
    ``latency``
        Time of the first spike minus t_start [ms], mean over the trials with a spike; NaN for a silent neuron.
    ``spike_count``
        Number of spikes in all trials; 0 for a silent neuron.

    Parameters
    ----------
    observations : of a spike report, times sorted within each observation
    params : names of the features wanted as keys, each with ``{}``; those with None are not computed. All are when
        none is named

    Returns
    -------
    Table ``by_gid`` with one row a neuron (a gid of a class of a circuit) of the group and one column a feature; index
    ``circuit_id`` (if simulations are pooled), ``neuron_class, gid, neuron_class_index``, without those in ``groupby``,
    sorted by the first three.

    Raises
    ------
    ConfigurationError
        for a feature that does not exist, or a parameter, of which there are none.
    """
    names = check_params(params)
    members = neurons_of_groups(observations)
    row, n = members.of_observation, len(members.group)
    time, offsets = observations.rows["time"], observations.offsets
    counts = observations.counts

    def summed(values: np.ndarray, of: np.ndarray) -> np.ndarray:
        return np.bincount(of, weights=values, minlength=n)

    n_spikes = np.bincount(np.repeat(row, counts), minlength=n)
    interval = np.diff(time)
    within = np.ones(max(len(time) - 1, 0), dtype=bool)
    borders = offsets[1:-1]
    within[borders[(borders > 0) & (borders < len(time))] - 1] = False
    row_of_interval = np.repeat(row, counts)[1:]
    of_interval = row_of_interval[within]
    n_intervals = np.bincount(of_interval, minlength=n)

    values: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = summed(interval[within], of_interval) / n_intervals
        for name in names:
            if name == "MFR":
                duration = summed(observations.trials["duration"][observations.trial], row)
                values[name] = 1000.0 * n_spikes / duration
            elif name == "ISI":
                values[name] = mean
            elif name == "CV":
                squares = summed((interval[within] - mean[of_interval]) ** 2, of_interval)
                values[name] = np.where(n_intervals > 1, np.sqrt(squares / n_intervals) / mean, np.nan)
            elif name == "LV":
                pair = within[:-1] & within[1:]
                before, after = interval[:-1][pair], interval[1:][pair]
                of_pair = row_of_interval[1:][pair]
                terms = ((before - after) / (before + after)) ** 2
                values[name] = 3.0 * summed(terms, of_pair) / np.bincount(of_pair, minlength=n)
            elif name == "latency":
                fired = np.flatnonzero(counts)
                first = time[offsets[fired]] - observations.trials["t_start"][observations.trial[fired]]
                values[name] = summed(first, row[fired]) / np.bincount(row[fired], minlength=n)
            else:
                values[name] = n_spikes
    index = neuron_index(observations, members.neuron)
    return {"by_gid": FeatureRows(members.group, index, values)}


def check_params(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the features asked for.

    Raises
    ------
    ConfigurationError
        for a feature that does not exist, or a parameter, of which there are none.
    """
    for name, given in params.items():
        if name not in FEATURES:
            raise ConfigurationError(
                f"params: {name!r} is not a spike train statistic; known: {', '.join(FEATURES)}"
            )
        if given not in (None, {}, {"params": {}}, {"params": None}):
            raise ConfigurationError(f"params: {name} is {given!r}; allowed: {{}}, as it has no parameters")
    return tuple(name for name, given in params.items() if given is not None) or FEATURES
