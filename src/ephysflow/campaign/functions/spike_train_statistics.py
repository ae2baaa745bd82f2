"""Statistics of single neurons' spike trains: rate, inter-spike intervals, their variability, latency, count."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
    Table ``by_gid`` with index ``gid, neuron_class_index`` (without those in ``groupby``), one row a neuron of the
    group, sorted by gid, and one column a feature.

    Raises
    ------
    ConfigurationError
        for a feature that does not exist, or a parameter, of which there are none.
    """
    names = check_params(params)
    row, group, index = _neurons_of_groups(observations)
    n, time, offsets = len(group), observations.rows["time"], observations.offsets
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
    return {"by_gid": FeatureRows(group, index, values)}


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


def _neurons_of_groups(
    observations: Observations,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the table's row of each observation, the group of each row, and the index columns."""
    gid, rank = observations.neurons["gid"], observations.neurons["neuron_class_index"]
    order = np.lexsort((rank, gid))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(gid[order]) != 0) | (np.diff(rank[order]) != 0)
    identity = np.empty(len(order), dtype=np.int64)
    identity[order] = np.cumsum(new) - 1
    n_identities = int(new.sum())
    key, row = np.unique(
        observations.group * n_identities + identity[observations.neuron], return_inverse=True
    )
    group, which = key // max(n_identities, 1), order[new][key % max(n_identities, 1)]
    columns = {"gid": gid, "neuron_class_index": rank}
    index = {name: column[which] for name, column in columns.items() if name not in observations.groups}
    return row, group, index
