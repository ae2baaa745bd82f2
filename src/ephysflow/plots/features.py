"""E-features against amplitude, f-I curves and impedance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ephysflow.plots.style import MUTED, VOLTAGE, look_of_cells, quiet_grid, styled

_ABSCISSAE = {
    "amp_rel": ("amp_rel", "amplitude [% of rheobase]"),
    "amp": ("amp", "amplitude [nA]"),
    "delta": ("amp", "gap between pulses [ms]"),
}

_POINTS: dict[str, Any] = {
    "linestyle": "none",
    "markersize": 4.5,
    "markeredgecolor": "white",
    "markeredgewidth": 0.5,
}


@dataclass(frozen=True)
class FeaturePanel:
    """What is drawn of one e-feature and protocol.

    Attributes
    ----------
    feature, protocol : names
    rows : feature rows (`cell`, `amp`, `amp_rel`, `value`) of one e-feature with one set of settings
    means : (amplitude, mean, standard deviation) at each target, as in features.json
    unit : of the values; empty if they have none
    against : what targets are compared with: ``amp_rel``, the rows' `amp_rel` [% of the rheobase]; ``amp``, their
        `amp` [nA]; or ``delta``, their `amp` where it is the gap between the pulses of SpikeRec [ms]
    """

    feature: str
    protocol: str
    rows: Sequence[Mapping[str, Any]]
    means: Sequence[tuple[float, float, float]] = ()
    unit: str = ""
    against: str = "amp_rel"


@styled
def feature_amplitude_figure(panel: FeaturePanel) -> Figure:
    """Draw an e-feature of every sweep, by cell, with mean and standard deviation at the targets."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    looks = look_of_cells(sorted({row["cell"] for row in panel.rows}))
    draw_feature(axes, panel, looks)
    axes.set_title(f"{panel.feature} · {panel.protocol}", loc="left", fontweight="bold")
    _legend_beside(axes, len(axes.get_legend_handles_labels()[0]))
    return figure


@styled
def fi_curve_figure(
    amplitudes: Sequence[float],
    counts: Sequence[float],
    cells: Sequence[str],
    rheobase: Mapping[str, float | None],
) -> Figure:
    """Draw the number of spikes against the amplitude, one curve a cell, the rheobase marked on the axis.

    Parameters
    ----------
    amplitudes, counts, cells : of each sweep: amplitude [nA], number of spikes, name of the cell
    rheobase : cell -> rheobase [nA]; None where there is none
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    looks = look_of_cells(sorted(set(cells)))
    draw_fi_curves(axes, amplitudes, counts, cells, rheobase, looks)
    axes.set_title("f-I curves", loc="left", fontweight="bold")
    _legend_beside(axes, len(axes.get_legend_handles_labels()[0]))
    return figure


@styled
def impedance_figure(frequencies: np.ndarray, magnitude: np.ndarray) -> Figure:
    """Draw the magnitude of the impedance, with the frequency of its maximum.

    Parameters
    ----------
    frequencies : (n,) [Hz]
    magnitude : (n,) [MOhm] (mV / nA)
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(frequencies, magnitude, color=VOLTAGE, linewidth=1.2)
    if np.isfinite(magnitude).any():
        peak = int(np.nanargmax(magnitude))
        axes.axvline(frequencies[peak], color=MUTED, linewidth=0.8, linestyle="--")
        axes.annotate(
            f"{frequencies[peak]:.1f} Hz",
            (frequencies[peak], magnitude[peak]),
            xytext=(5, 0),
            textcoords="offset points",
        )
    axes.set(xlabel="frequency [Hz]", ylabel="|impedance| [MΩ]", ylim=(0, None))
    quiet_grid(axes)
    return figure


def draw_feature(axes: Axes, panel: FeaturePanel, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw one panel into `axes`; `looks` as from `look_of_cells`."""
    key, label = _ABSCISSAE[panel.against]
    for cell, look in looks.items():
        points = [
            (row[key], row["value"]) for row in panel.rows if row["cell"] == cell and row[key] is not None
        ]
        if points:
            x, y = np.array(points, dtype=float).T
            axes.plot(x, y, label=cell, **_POINTS, **look)
    if panel.means:
        x, mean, std = np.array(panel.means, dtype=float).T
        axes.errorbar(
            x,
            mean,
            std,
            fmt="_",
            color="black",
            markersize=14,
            markeredgewidth=1.4,
            elinewidth=1.2,
            capsize=4,
            label="mean ± std at targets",
            zorder=1.8,  # behind the points, which would be hidden otherwise
        )
    axes.set_xlabel(label)
    axes.set_ylabel(f"{panel.feature} [{panel.unit}]" if panel.unit else panel.feature)
    quiet_grid(axes)


def draw_fi_curves(
    axes: Axes,
    amplitudes: Sequence[float],
    counts: Sequence[float],
    cells: Sequence[str],
    rheobase: Mapping[str, float | None],
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw f-I curves into `axes`; the lines join the means of repeated sweeps."""
    x, y, of = np.asarray(amplitudes, dtype=float), np.asarray(counts, dtype=float), np.asarray(cells)
    for cell, look in looks.items():
        mine = of == cell
        levels, which = np.unique(np.round(x[mine], 4), return_inverse=True)
        if not len(levels):
            continue
        mean = np.bincount(which, y[mine]) / np.bincount(which)
        axes.plot(levels, mean, color=look["color"], linewidth=1.0)
        axes.plot(x[mine], y[mine], label=cell, **_POINTS, **look)
        threshold = rheobase.get(cell)
        if threshold is not None and np.isfinite(threshold):
            axes.plot(
                [threshold],
                [-0.04],
                transform=axes.get_xaxis_transform(),
                marker=(3, 0, 0),
                markersize=7,
                color=look["color"],
                clip_on=False,
                linestyle="none",
                zorder=6,
            )
    axes.set_xlabel("amplitude [nA]  (▲ rheobase)")
    axes.tick_params(axis="x", pad=9)
    axes.set_ylabel("number of spikes")
    axes.set_ylim(0, None)
    quiet_grid(axes)


def _legend_beside(axes: Axes, entries: int) -> None:
    """Put the legend to the right of the axes, in columns of at most 24."""
    if not entries:
        return
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        handletextpad=0.3,
        ncols=1 + entries // 24,
    )
