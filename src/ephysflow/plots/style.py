"""One look for all figures: legible when small, and for readers who do not see all colours."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

INK, MUTED, GRID = "#222222", "#6f6f6f", "#e4e4e4"
VOLTAGE, CURRENT, REBUILT, STIMULUS, WARNING = "#0072b2", "#9a9a9a", "#d55e00", "#e9eff5", "#b24700"

CELL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette (2008, jfly.uni-koeln.de/color) in an order for points on white."""

CELL_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""As many as share no factor with the colours, so that 63 cells look different."""

styled = matplotlib.rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8.0,
        "axes.titlesize": 8.0,
        "axes.labelsize": 8.0,
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "legend.fontsize": 7.0,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "lines.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "path.simplify": True,
        "svg.hashsalt": "ephysflow",
    }
)
"""Decorator and context: Matplotlib's parameters while a figure is made or saved; the user's come back after."""


def look_of_cells(cells: list[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each cell; the order of `cells` decides."""
    return {
        cell: {
            "color": CELL_COLOURS[k % len(CELL_COLOURS)],
            "marker": CELL_MARKERS[k % len(CELL_MARKERS)],
        }
        for k, cell in enumerate(cells)
    }


def envelope(values: np.ndarray, dt: float, bins: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Thin a trace for drawing: keep the smallest and the largest value of each of `bins` stretches.

    Parameters
    ----------
    values : (n,) trace; NaN stay gaps
    dt : sampling interval
    bins : a trace of at most 4 times as many samples is returned as it is

    Returns
    -------
    times, values : both (m,), in the order of time, m <= 4 * bins
    """
    n = len(values)
    if n <= 4 * bins:
        return np.arange(n) * dt, np.asarray(values)
    width = -(-n // bins)
    padded = np.concatenate([values, np.full(-n % width, values[-1])]).reshape(-1, width)
    ends = np.stack([padded.argmin(axis=1), padded.argmax(axis=1)], axis=1)
    index = np.arange(len(padded))[:, None] * width + np.sort(ends, axis=1)
    index = np.unique(np.minimum(index, n - 1))
    return index * dt, np.asarray(values)[index]


def quiet_grid(axes: Axes) -> None:
    """Draw the grid of a diagram of points."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
