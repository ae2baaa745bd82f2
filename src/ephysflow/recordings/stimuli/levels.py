"""Robust current levels: medians of the median-filtered current, without filtering it.

Amplitudes are defined on the current after a running median of 85 samples (15 for pulses), borders reflected, as in
BluePyEfe. A filtered sample is at most c exactly where most samples of its window are at most c, so any order
statistic of the filtered trace is found by bisection over the values that occur: a few counts over the trace instead
of a filter over it, with identical results.
"""

from collections.abc import Callable

import numpy as np

WINDOW = 85
"""Samples of the running median under amplitudes."""

PULSE_WINDOW = 15
"""Samples of the running median under the amplitudes of short pulses."""

BASE_SAMPLES = 300
"""Samples at the start that give the holding current where the stimulus's start does not."""


def measurable(current: np.ndarray) -> np.ndarray:
    """Return a current up to its last sample that is a number: some files pad a sweep with NaN."""
    if len(current) == 0 or np.isfinite(current[-1]):
        return current
    finite = np.flatnonzero(np.isfinite(current))
    return current[: finite[-1] + 1] if len(finite) else current[:0]


class FilteredCurrent:
    """The running median of a trace, to be asked for medians and extremes.

    Parameters
    ----------
    current : (n,) trace [nA], n >= 1
    window : odd number of samples
    """

    def __init__(self, current: np.ndarray, window: int = WINDOW):
        self._padded = np.pad(current, window // 2, mode="symmetric")
        self._values = np.unique(current)
        self._window = window

    def _at_most(self, value: np.generic) -> np.ndarray:
        """Where the filtered trace is at most `value`."""
        count = np.concatenate(([0], np.cumsum(self._padded <= value)))
        return count[self._window :] - count[: -self._window] > self._window // 2

    def _smallest(self, holds: Callable[[np.ndarray], bool]) -> np.generic:
        """Smallest value c of the trace for which `holds(filtered <= c)`; monotonic in c."""
        low, high = 0, len(self._values) - 1
        while low < high:
            middle = (low + high) // 2
            if holds(self._at_most(self._values[middle])):
                high = middle
            else:
                low = middle + 1
        return self._values[low]

    def median(self, *parts: slice) -> float:
        """Median of the filtered trace over `parts` together [nA]; NaN when they hold no sample."""

        def count(mask: np.ndarray) -> int:
            return sum(int(np.count_nonzero(mask[part])) for part in parts)

        size = count(np.ones(len(self._padded) - self._window + 1, dtype=bool))
        if size == 0:
            return float("nan")
        ranks = {(size - 1) // 2, size // 2}
        middle = [self._smallest(lambda mask, rank=rank: count(mask) > rank) for rank in sorted(ranks)]  # type: ignore[misc]
        return float(np.mean(np.array(middle, dtype=float)))

    def maximum(self) -> float:
        """Largest value of the filtered trace [nA]."""
        return float(self._smallest(lambda mask: bool(mask.all())))

    def minimum(self) -> float:
        """Smallest value of the filtered trace [nA]."""
        return float(self._smallest(lambda mask: bool(mask.any())))


def base_current(current: np.ndarray, samples: int = BASE_SAMPLES) -> float:
    """Return the holding current: median of the first `samples` samples after the running median [nA]."""
    first = current[:samples]
    return FilteredCurrent(first).median(slice(None))
