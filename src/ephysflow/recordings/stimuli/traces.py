"""The current of all sweeps of one protocol, smoothed, on one time grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ephysflow.recordings.sweep import Sweep

SMOOTHING = 0.25
"""Standard deviation of the Gaussian [ms]: passes edges half a millisecond apart, removes noise above 1 kHz."""

GRID = 0.1
"""Finest grid [ms]."""

MAX_POINTS = 20_000
"""Longest grid: longer sweeps get a coarser one."""

MAX_SWEEPS_POINTS = 4_000_000
"""Most points of all sweeps together: more of them get a coarser grid, too."""


@dataclass(frozen=True)
class Traces:
    """Currents of several sweeps on a common grid that starts with each sweep.

    Attributes
    ----------
    values : (sweeps, points) [nA]; behind its end a sweep holds its last value
    sizes : (sweeps,) points that each sweep really has
    step : distance of points [ms]
    """

    values: np.ndarray
    sizes: np.ndarray
    step: float

    @cached_property
    def sums(self) -> np.ndarray:
        """Cumulative sums, (sweeps, points + 1), to get means over any window."""
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        inside = np.arange(self.values.shape[1]) < self.sizes[:, None]
        return np.concatenate(
            (np.zeros((len(centred), 1)), np.cumsum(np.where(inside, centred, 0.0), axis=1)), axis=1
        )

    @cached_property
    def squares(self) -> np.ndarray:
        """Sum of squares of each sweep, about the mean that `sums` is about, (sweeps,)."""
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        inside = np.arange(self.values.shape[1]) < self.sizes[:, None]
        return np.sum(np.square(centred, where=inside, out=np.zeros_like(centred)), axis=1)

    @cached_property
    def moments(self) -> np.ndarray:
        """Sum of (point number times value) of each sweep, about the mean that `sums` is about, (sweeps,)."""
        point = np.arange(self.values.shape[1])
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        return np.where(point < self.sizes[:, None], centred, 0.0) @ point.astype(float)

    def points(self, time: float) -> int:
        """Grid points in a time [ms], at least one."""
        return max(1, round(time / self.step))

    def only(self, sweep: int) -> "Traces":
        """Return the traces of one sweep, its own length long."""
        size = int(self.sizes[sweep])
        return Traces(self.values[sweep : sweep + 1, :size], self.sizes[sweep : sweep + 1], self.step)

    def part(self, first: int, last: int) -> "Traces":
        """Return the traces from one grid point to before another."""
        return Traces(self.values[:, first:last], np.clip(self.sizes - first, 0, last - first), self.step)

    def varying(self) -> "Traces":
        """Return what differs between sweeps: each less the median of all at the same time.

        A pulse that is the same in every sweep (a test pulse) is gone from it.
        """
        if (self.sizes == self.sizes[0]).all():
            common = np.median(self.values, axis=0)
        else:
            inside = np.arange(self.values.shape[1]) < self.sizes[:, None]
            common = np.nanmedian(np.where(inside, self.values, np.nan), axis=0)
        return Traces(self.values - common, self.sizes, self.step)


def finite_current(current: np.ndarray) -> np.ndarray:
    """Return a current up to its last finite sample, with NaN inside bridged, as float64 [nA]."""
    finite = np.isfinite(current)
    if finite.all():
        return np.asarray(current, dtype=float)
    where = np.flatnonzero(finite)
    if not len(where):
        return np.zeros(0)
    inside = np.arange(where[-1] + 1)
    return np.interp(inside, where, np.asarray(current, dtype=float)[where])


def smooth(current: np.ndarray, deviation: float) -> np.ndarray:
    """Zero-phase Gaussian filter; at the ends, where its window is cut, the nearest whole window's value is held.

    Parameters
    ----------
    current : (n,) trace
    deviation : standard deviation of the Gaussian, in samples
    """
    reach = int(np.ceil(3.5 * deviation))
    if deviation < 0.2 or len(current) <= 4 * reach:
        return current
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    inner = np.convolve(current, kernel / kernel.sum(), mode="valid")
    return np.concatenate((np.full(reach, inner[0]), inner, np.full(reach, inner[-1])))


def on_grid(sweeps: Sequence[Sweep], finest: float = GRID) -> Traces:
    """Smooth the currents and bring them to one grid.

    Parameters
    ----------
    sweeps : one or more, of any length and sampling interval
    finest : smallest step of the grid [ms]; never finer than the sampling
    """
    longest = max(sweep.duration for sweep in sweeps)
    coarse = max(finest, longest / MAX_POINTS, longest * len(sweeps) / MAX_SWEEPS_POINTS)
    step = max(sweep.dt * max(1, int(np.ceil(coarse / sweep.dt - 1e-6))) for sweep in sweeps)
    count = max(1, int(np.floor(longest / step + 1e-6)))
    values = np.zeros((len(sweeps), count))
    sizes = np.zeros(len(sweeps), dtype=int)
    for row, sweep in enumerate(sweeps):
        current = finite_current(sweep.current)
        if not len(current):
            continue
        filtered = smooth(current, max(SMOOTHING, step / 2) / sweep.dt)
        size = min(count, int((len(current) - 1) * sweep.dt / step + 1e-6) + 1)
        stride = step / sweep.dt
        if abs(stride - round(stride)) < 1e-6:
            values[row, :size] = filtered[:: round(stride)][:size]
        else:
            values[row, :size] = np.interp(
                np.arange(size) * step, np.arange(len(current)) * sweep.dt, filtered
            )
        values[row, size:] = values[row, size - 1]
        sizes[row] = size
    return Traces(values, sizes, step)
