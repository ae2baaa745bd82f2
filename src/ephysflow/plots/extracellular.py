"""Electrodes: where they and the cells are, coefficients against distance, and on one cell."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ephysflow.plots.style import CELL_COLOURS, INK, MUTED, quiet_grid, styled

VIEWS = ((0, 1), (2, 1))
"""Axes that the two sides show: x-y and z-y."""

POINT_SIGMA = 0.3
"""Conductivity of the line that guides the eye [S/m]."""


@styled
def place_figure(title: str, somata: np.ndarray, contacts: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw cells and electrodes from two sides.

    Parameters
    ----------
    title : of the page
    somata : (N, 3) um
    contacts : (E, 3) um
    names : of the electrodes; the first and the last are written
    """
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    for axes, (across, up) in zip(figure.subplots(1, 2, sharey=True), VIEWS, strict=True):
        _label(axes, across, up)
        axes.scatter(
            somata[:, across],
            somata[:, up],
            s=6,
            color=MUTED,
            linewidths=0,
            label=f"{len(somata)} somata",
            rasterized=len(somata) > 2000,
        )
        axes.scatter(
            contacts[:, across],
            contacts[:, up],
            s=7,
            marker="s",
            color=CELL_COLOURS[1],
            linewidths=0,
            label=f"{len(contacts)} electrodes",
        )
        for k in dict.fromkeys((0, len(contacts) - 1)):
            axes.annotate(
                names[k],
                contacts[k, [across, up]],
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=6,
                va="center",
            )
        _frame(axes, np.concatenate([somata, contacts]), across, up)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


@styled
def distance_figure(
    title: str, distances: np.ndarray, coefficients: np.ndarray, names: Sequence[str], unit: str
) -> Figure:
    """Draw coefficients against distance, one colour an electrode, with 1 / (4 pi sigma r) to compare.

    Parameters
    ----------
    title : of the page
    distances : (n, E) between midpoint of compartment and electrode [um]
    coefficients : (n, E)
    names : (E,) of the electrodes
    unit : of the coefficients
    """
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    axes = figure.subplots()
    size = np.abs(coefficients)
    for k, name in enumerate(names):
        drawn = (size[:, k] > 0) & (distances[:, k] > 0)  # false for NaN
        axes.scatter(
            distances[drawn, k],
            size[drawn, k],
            s=3,
            linewidths=0,
            color=CELL_COLOURS[k % len(CELL_COLOURS)],
            label=name,
            rasterized=len(distances) > 500,
        )
    known = distances[np.isfinite(distances) & (distances > 0)]
    if known.size:
        guide = np.geomspace(known.min(), known.max(), 50)
        scale = 1e-3 if unit == "V/nA" else 1.0
        axes.plot(
            guide,
            scale / (4 * np.pi * POINT_SIGMA * guide),
            color=INK,
            linewidth=0.6,
            label=f"point source, {POINT_SIGMA} S/m",
        )
    axes.set(xscale="log", yscale="log", xlabel="distance [µm]", ylabel=f"|coefficient| [{unit}]")
    quiet_grid(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def cell_figure(
    title: str, starts: np.ndarray, ends: np.ndarray, coefficients: np.ndarray, contact: np.ndarray, unit: str
) -> Figure:
    """Draw the coefficients of one electrode on the compartments of one cell, from two sides.

    Parameters
    ----------
    title : of the page
    starts, ends : (C, 3) um
    coefficients : (C,)
    contact : (3,) the electrode [um]
    unit : of the coefficients
    """
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    size = np.abs(coefficients)
    shown = size[size > 0]
    norm = LogNorm(shown.min(), max(shown.max(), shown.min() * 1.001)) if shown.size else None
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (across, up) in zip(panels, VIEWS, strict=True):
        _label(axes, across, up)
        lines = LineCollection(
            list(np.stack([starts[:, [across, up]], ends[:, [across, up]]], axis=1)),
            linewidths=1.2,
            norm=norm,
            cmap="viridis",
            capstyle="round",
        )
        lines.set_array(np.where(size > 0, size, np.nan))
        axes.add_collection(lines)
        points = (starts == ends).all(axis=1)
        axes.scatter(
            starts[points, across],
            starts[points, up],
            c=np.where(size > 0, size, np.nan)[points],
            s=30,
            norm=norm,
            cmap="viridis",
        )
        axes.scatter(contact[across], contact[up], s=25, marker="s", color=CELL_COLOURS[1], linewidths=0)
        _frame(axes, np.concatenate([starts, ends, contact[None]]), across, up)
    if norm is not None:
        figure.colorbar(lines, ax=panels, label=f"|coefficient| [{unit}]", shrink=0.7)
    return figure


def _label(axes: Axes, across: int, up: int) -> None:
    axes.set(xlabel=f"{'xyz'[across]} [µm]", ylabel=f"{'xyz'[up]} [µm]" if across == VIEWS[0][0] else "")


def _frame(axes: Axes, points: np.ndarray, across: int, up: int) -> None:
    """Show all points (n, 3) with the same scale on both axes, and on both views."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2 * 1.08, 1.0)
    axes.set(xlim=(middle[across] - half, middle[across] + half), ylim=(middle[up] - half, middle[up] + half))
    axes.set_aspect("equal")
    quiet_grid(axes)
