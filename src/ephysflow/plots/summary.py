"""One figure that shows what a run gives: for the README and the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ephysflow.plots.features import FeaturePanel, draw_feature, draw_fi_curves
from ephysflow.plots.recordings import mark_stimulus
from ephysflow.plots.style import envelope, look_of_cells, styled


@styled
def summary_figure(
    rows: Sequence[Mapping[str, Any]],
    amplitudes: Sequence[float],
    counts: Sequence[float],
    cells: Sequence[str],
    rheobase: Mapping[str, float | None],
    panels: tuple[FeaturePanel, FeaturePanel],
) -> Figure:
    """Draw sweeps of one cell with the detected stimulus, f-I curves, and two e-features with their targets.

    Parameters
    ----------
    rows : sweep rows of one cell and protocol, three or four, of rising amplitude
    amplitudes, counts, cells, rheobase : as for `fi_curve_figure`
    panels : two e-features
    """
    figure = Figure(figsize=(11, 5.4))
    left = figure.add_gridspec(
        len(rows) + 1,
        1,
        left=0.06,
        right=0.475,
        top=0.935,
        bottom=0.09,
        hspace=0.10,
        height_ratios=[1] * len(rows) + [0.75],
    )
    right = figure.add_gridspec(
        2, 2, left=0.56, right=0.985, top=0.935, bottom=0.09, hspace=0.42, wspace=0.34
    )
    _draw_traces(figure, left, rows, rheobase.get(rows[0]["cell"]))

    looks = look_of_cells(sorted(set(cells)))
    fi_axes = figure.add_subplot(right[0, :])
    draw_fi_curves(fi_axes, amplitudes, counts, cells, rheobase, looks)
    fi_axes.legend(loc="upper left", handletextpad=0.2, borderaxespad=0.2)
    _caption(fi_axes, "B", "f-I curves and rheobase")
    for column, (letter, panel) in enumerate(zip("CD", panels, strict=True)):
        axes = figure.add_subplot(right[1, column])
        draw_feature(axes, panel, looks)
        _caption(axes, letter, f"{panel.feature}, {panel.protocol}")
    axes.legend(
        handles=[h for h in axes.get_legend_handles_labels()[0] if "mean" in str(h.get_label())],
        loc="best",
        handletextpad=0.3,
    )
    return figure


def _draw_traces(
    figure: Figure, grid: Any, rows: Sequence[Mapping[str, Any]], rheobase: float | None
) -> None:
    """Draw the voltage of each sweep above the other's, and below them all their currents."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.78, len(rows)))
    low = min(np.nanmin(row["voltage"]) for row in rows) - 4
    high = max(np.nanmax(row["voltage"]) for row in rows) + 4
    bottom = figure.add_subplot(grid[len(rows)])
    mark_stimulus(bottom, rows[-1])
    for place, (row, shade) in enumerate(zip(reversed(rows), shades[::-1], strict=True)):
        axes = figure.add_subplot(grid[place], sharex=bottom)
        mark_stimulus(axes, row)
        axes.plot(*envelope(np.asarray(row["voltage"]), row["dt"], bins=1500), color=shade, linewidth=0.7)
        bottom.plot(*envelope(np.asarray(row["current"]), row["dt"], bins=1500), color=shade, linewidth=0.7)
        axes.set_ylim(low, high)
        axes.tick_params(labelbottom=False, bottom=False)
        axes.spines["bottom"].set_visible(False)
        label = f"{row['amp']:+.3f} nA" + (f"\n{100 * row['amp'] / rheobase:.0f}%" if rheobase else "")
        axes.text(0.995, 0.95, label, transform=axes.transAxes, ha="right", va="top", color=shade)
        if place == 0:
            _caption(axes, "A", f"{row['cell']}, {row['protocol']}: detected stimulus shaded")
    box = grid[0 : len(rows)].get_position(figure)
    figure.text(0.012, (box.y0 + box.y1) / 2, "voltage [mV]", rotation=90, va="center")
    bottom.set(xlabel="time [ms]", ylabel="current [nA]")
    bottom.set_xlim(0, len(rows[0]["voltage"]) * rows[0]["dt"])


def _caption(axes: Any, letter: str, text: str) -> None:
    axes.set_title(f"$\\bf{{{letter}}}$  {text}", loc="left", pad=6)
