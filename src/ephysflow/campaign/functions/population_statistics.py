"""Statistics of a population's spikes, one row a group: PSTH, complexity, correlations, and Welch of the times."""

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ephysflow.campaign.functions.members import common_windows, trials_of_groups
from ephysflow.campaign.observations import FeatureRows, Observations
from ephysflow.errors import ConfigurationError, SimulationError

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULTS: Mapping[str, tuple[str, float]] = {
    "PSD": ("n_segments", 2),
    "AC": ("bin_size", 5.0),
    "CPDF": ("bin_size", 20.0),
    "PSTH": ("bin_size", 20.0),
}
"""Feature -> its only parameter and the default; ``bin_size`` in ms."""

MOST_PAIRS = 20_000_000
"""Correlations that one call may return; 8 bytes each, and as much again for the matrix of the largest group."""

MOST_BINS = 50_000_000

_BLOCK = 1 << 15
"""Report rows that are binned at a time: as many as stay in the processor's cache."""
# a time this close below the edge of a bin [bins] belongs to the next one: rounding, as in Elephant
_ROUNDING = 1e-8


def population_statistics(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Compute PSD, AC, CPDF and PSTH of the spikes of each group.

    Usually a group is a neuron class in a window of a simulation. All times are relative to the trial's offset, and
    the trials of a group lie on top of each other. Neurons of different simulations are different neurons.

    ``PSTH``
        List of two lists of equal length: spike counts, summed over neurons and trials, and left edges of the bins
        [ms]. ``ceil((t_stop - t_start) / bin_size)`` equal bins span the window, so that they are narrower than
        `bin_size` where it does not divide the window.
    ``CPDF``
        Distribution of complexity (Gruen, Abeles & Diesmann 2007; Elephant's ``Complexity(bin_size=...).pdf()``):
        item c is the fraction of bins in which exactly c neurons fire. Bins of `bin_size` from t_start on; what
        remains before t_stop when `bin_size` does not divide the window is left out. A neuron counts once in a bin,
        however often and in however many trials it fires there. Ends with the highest c that occurs; empty when the
        window is shorter than a bin.
    ``AC``
        Pearson correlation of the spike counts in bins of `bin_size` (bins as for CPDF, not clipped to 1) of each
        pair of neurons: the strict upper triangle of the matrix, row by row (as ``numpy.triu_indices(n, 1)``),
        neurons in the order of the neurons table. Bins of several trials stand side by side. NaN where a neuron is
        silent, or fires equally often in all bins.
    ``PSD``
        Welch's estimate (Hann window, segments that overlap by half, constant trend removed, one-sided density) of
        the sequence of spike TIMES [ms], the neurons one after the other, as if it were a signal sampled at 1 Hz. This
        is what BlueETL calls PSD, and it is kept for comparison with old results. It is *not* the power spectrum of
        the firing rate; for that, take the spectrum of a PSTH. A segment has ``int(2 n / (n_segments + 1))`` of the n
        spikes; empty when that is 0. (In BlueETL, silent neurons add NaN to the sequence, and the result is NaN.)

    Parameters
    ----------
    observations : of a spike report, times sorted within each observation
    params : ``{feature: {"params": {...}}}`` for each feature wanted, e.g. ``{"PSTH": {"params": {"bin_size": 5}}}``;
        defaults are in `DEFAULTS`. Features that are not named, or None, are not computed; all are when none is named.

    Returns
    -------
    Table ``by_neuron_class`` with one row a group and one list column a feature.

    Raises
    ------
    ConfigurationError
        for a feature or parameter that does not exist, or a value that is not allowed.
    SimulationError
        if a group mixes windows of different bounds (PSTH, CPDF, AC) or simulations (AC), or too much is asked for.
    """
    features = {
        "PSD": _power_of_times,
        "AC": _correlations,
        "CPDF": _complexity,
        "PSTH": _psth,
    }
    values = {
        name: features[name](observations, parameter) for name, parameter in check_params(params).items()
    }
    return {"by_neuron_class": FeatureRows(np.arange(observations.n_groups), {}, values)}


def check_params(params: Mapping[str, Any]) -> dict[str, float]:
    """Return the features asked for, each with the value of its parameter.

    Raises
    ------
    ConfigurationError
        for a feature or parameter that does not exist, or a value that is not allowed.
    """
    if unknown := [name for name in params if name not in DEFAULTS]:
        raise ConfigurationError(
            f"params: {unknown[0]!r} is not a population statistic; known: {', '.join(DEFAULTS)}"
        )
    named = {name: given for name, given in params.items() if given is not None}
    return {
        name: _parameter(name, given) for name, given in (named or {name: {} for name in DEFAULTS}).items()
    }


def _parameter(name: str, given: Any) -> float:
    key, default = DEFAULTS[name]
    inner = None
    if isinstance(given, Mapping) and not set(given) - {"params"}:
        inner = {} if given.get("params") is None else given["params"]
    if not isinstance(inner, Mapping):
        raise ConfigurationError(
            f"params: {name} is {given!r}; allowed: {{params: {{{key}: number}}}}, or {{}} for the default {default}"
        )
    if unknown := sorted(map(str, set(inner) - {key})):
        raise ConfigurationError(f"params: {name}.params has the unknown key {unknown[0]!r}; known: {key}")
    value = inner.get(key, default)
    whole = key == "n_segments"
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0 or (whole and value != int(value)):
        allowed = "a whole number above 0" if whole else "a number of ms above 0"
        raise ConfigurationError(f"params: {name}.params.{key} is {value!r}; allowed: {allowed}")
    return value


def _psth(observations: Observations, bin_size: float) -> "pa.Array":
    t_start, t_stop = _bounds(observations, "PSTH")
    n_bins, starts = _counted(np.ceil((t_stop - t_start) / bin_size - _ROUNDING), "PSTH")
    width = (t_stop - t_start) / n_bins
    time = observations.rows["time"]
    rows = observations.offsets[observations.group_offsets]
    counts = np.zeros(starts[-1], dtype=np.int64)
    for begin in range(0, len(time), _BLOCK):
        end = min(begin + _BLOCK, len(time))
        groups = slice(np.searchsorted(rows, begin, "right") - 1, np.searchsorted(rows, end))
        start, step, last, first = (
            np.repeat(values[groups], np.diff(np.clip(rows[groups.start : groups.stop + 1], begin, end)))
            for values in (t_start, width, n_bins - 1, starts[:-1])
        )
        block = time[begin:end]
        index = np.floor((block - start) / step).astype(np.int64)
        # rounding: a time belongs to the bin whose edges, computed as numpy.linspace does, lie around it
        index -= block < start + index * step
        index += block >= start + (index + 1) * step
        index = np.clip(index, 0, last) + first
        bins = slice(starts[groups.start], starts[groups.stop])
        counts[bins] += np.bincount(index - bins.start, minlength=bins.stop - bins.start)
    of_bin = np.repeat(np.arange(len(n_bins)), n_bins)
    edges = t_start[of_bin] + (np.arange(starts[-1]) - starts[of_bin]) * width[of_bin]
    # counts and edges of a group follow each other
    both = np.empty(2 * starts[-1])
    place = np.arange(starts[-1]) + starts[of_bin]
    both[place], both[place + n_bins[of_bin]] = counts, edges
    return _lists(_lists(both, np.repeat(n_bins, 2)), np.full(len(n_bins), 2))


def _complexity(observations: Observations, bin_size: float) -> "pa.Array":
    bins, starts = _binned(observations, "CPDF", bin_size)
    n_bins = np.diff(starts)
    inside = bins >= 0
    n_neurons = len(observations.neurons["gid"])
    in_bin = bins[inside] * n_neurons + observations.neuron[observations.row_observation][inside]
    # times are sorted, so that a neuron's spikes in a bin follow each other, trial by trial
    once = in_bin[np.diff(in_bin, prepend=-1) != 0]
    if _neurons_repeat(observations):
        once = np.unique(once)
    firing = once // max(n_neurons, 1)
    complexity = np.bincount(firing, minlength=starts[-1])
    of_bin = np.repeat(np.arange(len(n_bins)), n_bins)
    lengths = np.zeros(len(n_bins), np.int64)
    np.maximum.at(lengths, of_bin, complexity + 1)
    first = np.concatenate([[0], np.cumsum(lengths)])
    histogram = np.bincount(first[of_bin] + complexity, minlength=first[-1])
    return _lists(histogram / np.repeat(n_bins, lengths), lengths)


def _neurons_repeat(observations: Observations) -> bool:
    """Whether a neuron has several observations in a group."""
    seen = np.sort(observations.group * len(observations.neurons["gid"]) + observations.neuron)
    return bool((np.diff(seen) == 0).any())


def _correlations(observations: Observations, bin_size: float) -> "pa.Array":
    bins, starts = _binned(observations, "AC", bin_size)
    n_bins = np.diff(starts)
    rows = observations.offsets[observations.group_offsets]
    row_observation = observations.row_observation
    members = []
    for g, (start, stop) in enumerate(itertools.pairwise(observations.group_offsets.tolist())):
        neurons, neuron = np.unique(observations.neuron[start:stop], return_inverse=True)
        trials, trial = np.unique(observations.trial[start:stop], return_inverse=True)
        if len(neurons) * len(trials) != stop - start:
            raise SimulationError(
                f"AC: group {observations.key(g)} has neurons of several simulations or circuits, which cannot be "
                "correlated; needed: simulation_id in groupby"
            )
        members.append((neuron, len(neurons), trial, len(trials)))
    pairs = np.array([n * (n - 1) // 2 for _, n, _, _ in members], dtype=np.int64)
    if pairs.sum() > MOST_PAIRS:
        raise SimulationError(
            f"AC: {pairs.sum()} pairs of neurons; allowed: {MOST_PAIRS} in one call. Set `limit` of the neuron classes "
            "to fewer neurons, or name the other features in params"
        )
    parts = []
    for g, (neuron, n_neurons, trial, n_trials) in enumerate(members):
        n, first = int(n_bins[g]), observations.group_offsets[g]
        if n_neurons * n_trials * n > MOST_BINS:
            raise SimulationError(
                f"AC: {n_neurons} neurons in {n_trials} trials of {n} bins in group {observations.key(g)}; allowed: "
                f"{MOST_BINS} bins together. Choose a larger bin_size"
            )
        inside = np.flatnonzero(bins[rows[g] : rows[g + 1]] >= 0) + rows[g]
        of_row = row_observation[inside] - first
        place = (neuron[of_row] * n_trials + trial[of_row]) * n + bins[inside] - starts[g]
        counts = np.bincount(place, minlength=n_neurons * n_trials * n).reshape(n_neurons, n_trials * n)
        parts.append(_upper_triangle(counts))
    return _lists(np.concatenate([np.empty(0), *parts]), pairs)


def _upper_triangle(counts: np.ndarray) -> np.ndarray:
    """Return the correlations of the rows of ``counts`` (n, bins) that stand above the matrix's diagonal."""
    n = len(counts)
    if not counts.shape[1]:
        return np.full(n * (n - 1) // 2, np.nan)
    deviation = counts - counts.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation /= np.sqrt((deviation**2).sum(axis=1, keepdims=True))
    correlation = deviation @ deviation.T
    return correlation[np.triu(np.ones((n, n), dtype=bool), 1)]


def _power_of_times(observations: Observations, n_segments: float) -> "pa.Array":
    time = observations.rows["time"][_rows_by_neuron(observations)]
    rows = observations.offsets[observations.group_offsets]
    parts = [
        _welch(time[start:stop], int(2 * (stop - start) / (n_segments + 1)))
        for start, stop in itertools.pairwise(rows.tolist())
    ]
    return _lists(np.concatenate([np.empty(0), *parts]), np.array([len(part) for part in parts], np.int64))


def _rows_by_neuron(observations: Observations) -> np.ndarray:
    """Return the rows in the order group, neuron, trial; they are stored by group, trial, neuron."""
    order = np.lexsort((observations.trial, observations.neuron, observations.group))
    counts = observations.counts[order]
    return np.repeat(observations.offsets[order] - (np.cumsum(counts) - counts), counts) + np.arange(
        counts.sum()
    )


def _welch(signal: np.ndarray, n: int) -> np.ndarray:
    """Return Welch's one-sided power spectral density of a signal sampled at 1 Hz, as ``scipy.signal.welch``.

    Welch (1967), IEEE Trans. Audio Electroacoust. 15:70-73. Written out because importing scipy.signal takes longer
    than the whole computation.

    Parameters
    ----------
    signal : (N,)
    n : length of a segment; the result has ``n // 2 + 1`` values, none when n is 0
    """
    if n == 0:
        return np.empty(0)
    segments = np.lib.stride_tricks.sliding_window_view(signal, n)[:: n - n // 2]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) if n > 1 else np.ones(1)
    spectra = np.fft.rfft((segments - segments.mean(axis=1, keepdims=True)) * window, axis=1)
    power = (spectra.real**2 + spectra.imag**2) / (window**2).sum()
    power[:, 1 : None if n % 2 else -1] *= 2  # negative frequencies; 0 and Nyquist have none
    return power.mean(axis=0)


def _bounds(observations: Observations, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """Return t_start and t_stop [ms] of each group (G,), the same in all its trials."""
    window = common_windows(observations, trials_of_groups(observations), feature)
    return observations.trials["t_start"][window], observations.trials["t_stop"][window]


def _binned(observations: Observations, feature: str, bin_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin of each report row (-1 in none) and the first bin of each group and of the end (G + 1,).

    Whole bins from t_start on, counted through all groups; as Elephant's ``BinnedSpikeTrain`` does it.
    """
    t_start, t_stop = _bounds(observations, feature)
    n_bins, starts = _counted(np.floor((t_stop - t_start) / bin_size + _ROUNDING), feature)
    group = observations.group[observations.row_observation]
    position = (observations.rows["time"] - t_start[group]) / bin_size
    index = np.floor(position + _ROUNDING).astype(np.int64)
    # rounding must not move a spike out of the last bin
    index = np.where(position < n_bins[group], np.minimum(index, n_bins[group] - 1), index)
    inside = (index >= 0) & (index < n_bins[group])
    return np.where(inside, starts[group] + index, -1), starts


def _counted(n_bins: np.ndarray, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of bins as integers, and the first bin of each group and of the end."""
    if (total := n_bins.sum()) > MOST_BINS:
        raise SimulationError(
            f"{feature}: {total:.0f} bins in all groups together; allowed: {MOST_BINS}. Choose a larger bin_size"
        )
    counts = n_bins.astype(np.int64)
    return counts, np.concatenate([[0], np.cumsum(counts)])


def _lists(values: "np.ndarray | pa.Array", lengths: np.ndarray) -> "pa.Array":
    """Return a list array: ``lengths[i]`` of the values stand in list i."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), values if isinstance(values, pa.Array) else pa.array(values)
    )
