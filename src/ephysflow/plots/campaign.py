"""Simulation campaigns: rasters with PSTHs, voltage traces, firing rates over conditions, features over parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ephysflow.plots.style import CELL_COLOURS, INK, MUTED, envelope, look_of_cells, quiet_grid, styled

LINES_A_CLASS = 200
"""Most lines, one a neuron and trial, that a raster shows of a class."""

RASTERISED = 20_000
"""From this many spikes on, a raster is drawn as an image: a PDF of so many marks would be slow to open."""

CLASSES_A_PAGE, WINDOWS_A_PAGE, SIMULATIONS_A_PAGE = 5, 3, 24
PANELS_A_PAGE, PANELS_A_LINE = 12, 3

LINE_STYLES = ("-", "--", ":")
"""Of PSTHs of more classes than there are colours."""

_LEFT = 0.12  # of a title, from the left edge of the page [inch]


@dataclass(frozen=True)
class ClassSpikes:
    """Spikes of a neuron class in a window.

    Attributes
    ----------
    label : of the class
    n_neurons : in the class
    n_shown : neurons that the raster shows
    times : (n,) times [ms] of the spikes of those
    lines : (n,) trial * n_shown + position of the neuron
    psth : (n_bins,) rate [Hz] of all neurons of the class
    """

    label: str
    n_neurons: int
    n_shown: int
    times: np.ndarray
    lines: np.ndarray
    psth: np.ndarray


@dataclass(frozen=True)
class RasterPanel:
    """One window of a simulation.

    Attributes
    ----------
    window : label
    bounds : start and end [ms]
    n_trials : of the window
    bin_size : of the PSTHs [ms]
    classes : spikes of each class; the same classes in every panel of a page
    """

    window: str
    bounds: tuple[float, float]
    n_trials: int
    bin_size: float
    classes: Sequence[ClassSpikes]


@dataclass(frozen=True)
class TracePanel:
    """Values of some cells of a class in a window.

    Attributes
    ----------
    window, label : of the window and of the class
    cells : gid -> its trials, each time [ms] and value
    """

    window: str
    label: str
    cells: Mapping[int, Sequence[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class RateSummary:
    """Distribution of the firing rates [Hz] of the neurons of a class in a window of a simulation."""

    mean: float
    percentiles: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class SweepPanel:
    """A feature against a parameter.

    Attributes
    ----------
    title : feature, and below it what else tells it from others
    lines : class -> mean and standard deviation over simulations at each value of the parameter; NaN where there is none
    """

    title: str
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]]


PERCENTILES = (5, 25, 50, 75, 95)
"""Of `RateSummary`."""


def summary_of_rates(rates: np.ndarray) -> RateSummary:
    """Return mean and percentiles of (n,) firing rates [Hz]; NaN when there are none."""
    if not len(rates):
        return RateSummary(np.nan, (np.nan,) * 5)
    low, first, median, third, high = np.percentile(rates, PERCENTILES).tolist()
    return RateSummary(float(np.mean(rates)), (low, first, median, third, high))


def psth_bin(duration: float) -> float:
    """Return a round bin size [ms], 1, 2 or 5 times a power of ten, that makes 20 to 50 bins of a duration."""
    if not duration > 0:
        return 1.0
    exponent = np.floor(np.log10(duration / 50))
    return next(
        float(size) for size in np.array([1, 2, 5, 10]) * 10.0**exponent if size * 50 >= duration * (1 - 1e-9)
    )


def class_spikes(
    label: str,
    gids: np.ndarray,
    spikes: tuple[np.ndarray, np.ndarray, np.ndarray],
    trials: np.ndarray,
    bin_size: float,
) -> ClassSpikes:
    """Choose the neurons that a raster shows, evenly over the class, and count the spikes of all.

    Parameters
    ----------
    label : of the class
    gids : (n_neurons,) sorted
    spikes : gid, trial (from 0) and time [ms] of the spikes of the class in the window
    trials : (n_trials, 2) begin and end of each trial of the window [ms]; a bin counts the trials that go on in it
    bin_size : of the PSTH [ms]; the last bin may be narrower
    """
    gid, trial, time = spikes
    n_trials, bounds = len(trials), (trials[:, 0].min(), trials[:, 1].max())
    most = max(LINES_A_CLASS // max(n_trials, 1), 1)
    n_shown = min(len(gids), most)
    shown = gids[(np.arange(n_shown) * len(gids)) // max(n_shown, 1)]
    place = np.minimum(np.searchsorted(shown, gid), max(n_shown - 1, 0))
    visible = shown[place] == gid if n_shown else np.zeros(len(gid), dtype=bool)
    edges = _edges(bounds, bin_size)
    counts, _ = np.histogram(time, edges)
    lasting = np.minimum(edges[1:], trials[:, 1:]) - np.maximum(edges[:-1], trials[:, :1])
    seconds = lasting.clip(min=0).sum(axis=0) * 1e-3 * max(len(gids), 1)
    psth = np.divide(counts, seconds, out=np.zeros(len(counts)), where=seconds > 0)
    return ClassSpikes(
        label, len(gids), n_shown, time[visible], trial[visible] * n_shown + place[visible], psth
    )


@styled
def raster_figure(title: str, panels: Sequence[RasterPanel]) -> Figure:
    """Draw one simulation: a column a window, the raster of each class above, the PSTHs below.

    Classes have bands of equal height; in a band the trials lie one above the other, the first at the bottom.
    """
    labels = [c.label for c in panels[0].classes]
    looks = look_of_cells(labels)
    height = 2.9 + 0.75 * len(labels)
    width = 1.4 + 3.1 * len(panels)
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    _set_page_title(figure, title)
    grid = figure.subplots(
        2,
        len(panels),
        squeeze=False,
        sharex="col",
        sharey="row",
        gridspec_kw={"height_ratios": (0.75 * len(labels), 1.5)},
    )
    for column, panel in enumerate(panels):
        raster, below = grid[:, column]
        for position, c in enumerate(panel.classes):
            colour = looks[c.label]["color"]
            _draw_band(raster, c, position, panel.n_trials, colour)
            edges = _edges(panel.bounds, panel.bin_size)
            style = LINE_STYLES[position // len(CELL_COLOURS) % len(LINE_STYLES)]
            below.stairs(c.psth, edges, color=colour, linestyle=style, linewidth=0.9, baseline=None)
        raster.set_title(panel.window, loc="left", fontweight="bold")
        raster.set_title(_shown(panel), loc="right", fontsize=6.5, color=MUTED)
        raster.tick_params(axis="y", length=0)
        raster.set_ylim(len(labels), 0)
        for border in range(1, len(labels)):
            raster.axhline(border, color=MUTED, linewidth=0.4)
        raster.set_xlim(panel.bounds)
        below.set_xlabel("time [ms]")
        below.annotate(
            f"bins of {panel.bin_size:g} ms",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=6.5,
            color=MUTED,
        )
        quiet_grid(below)
    first = grid[0, 0]
    first.set_yticks(
        np.arange(len(labels)) + 0.5, [f"{c.label}\n{c.n_neurons} neurons" for c in panels[0].classes]
    )
    for tick, label in zip(first.get_yticklabels(), labels, strict=True):
        tick.set_color(looks[label]["color"])
    grid[1, 0].set_ylabel("firing rate [Hz]")
    grid[1, 0].set_ylim(bottom=0)
    return figure


@styled
def trace_figure(title: str, panels: Sequence[TracePanel]) -> Figure:
    """Draw one simulation: a line a class, a column a window; cells below each other, the first trial on top of others.

    All cells of a class have the same scale, which a bar shows in the unit of the report.
    """
    labels = list(dict.fromkeys(panel.label for panel in panels))
    windows = list(dict.fromkeys(panel.window for panel in panels))
    looks = look_of_cells(labels)
    figure = Figure(
        figsize=(1.2 + 3.3 * len(windows), 0.9 + 1.55 * len(labels)), dpi=200, layout="constrained"
    )
    _set_page_title(
        figure,
        title,
        "bars: unit of the report (mV for membrane potential); dark: first trial, pale: others",
    )
    grid = figure.subplots(len(labels), len(windows), squeeze=False, sharex="col", sharey="row")
    for line, label in enumerate(labels):
        mine = {panel.window: panel for panel in panels if panel.label == label}
        distance = _distance([panel.cells for panel in mine.values()])
        for column, window in enumerate(windows):
            axes = grid[line, column]
            if window in mine:
                _draw_traces(axes, mine[window].cells, distance, looks[label]["color"])
            if line == 0:
                axes.set_title(window, loc="left", fontweight="bold")
            if line == len(labels) - 1:
                axes.set_xlabel("time [ms]")
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
        grid[line, 0].set_ylabel(label, color=looks[label]["color"], fontweight="bold")
        _draw_scale(grid[line, -1], distance)
    return figure


def firing_rate_figures(
    title: str,
    simulations: Sequence[str],
    label: str,
    classes: Sequence[str],
    windows: Sequence[str],
    summaries: Mapping[tuple[int, str, str], RateSummary],
) -> Iterator[Figure]:
    """Draw the firing rates of the neurons of each class (lines) and window (columns) over the simulations.

    Parameters
    ----------
    title : of the pages
    simulations : text of each simulation's conditions
    label : names of these conditions
    classes, windows : in the order in which they are drawn
    summaries : (position of the simulation, class, window) -> rates

    Yields
    ------
    pages of at most 5 classes, 3 windows and 24 simulations
    """
    looks = look_of_cells(list(classes))
    pages = product(
        _chunks(range(len(simulations)), SIMULATIONS_A_PAGE),
        _chunks(classes, CLASSES_A_PAGE),
        _chunks(windows, WINDOWS_A_PAGE),
    )
    for chosen, class_part, window_part in pages:
        rates = {
            (name, window): [summaries.get((k, name, window)) for k in chosen]
            for name, window in product(class_part, window_part)
        }
        yield _firing_rate_page(
            title, [simulations[k] for k in chosen], label, class_part, window_part, rates, looks
        )


@styled
def _firing_rate_page(
    title: str,
    simulations: Sequence[str],
    label: str,
    classes: Sequence[str],
    windows: Sequence[str],
    rates: Mapping[tuple[str, str], Sequence[RateSummary | None]],
    looks: Mapping[str, Mapping[str, Any]],
) -> Figure:
    n = len(simulations)
    size = 1.0 + len(windows) * (1.4 + 0.22 * max(n, 4)), 1.2 + 1.35 * len(classes)
    figure = Figure(figsize=size, layout="constrained")
    _set_page_title(figure, title, "distribution over neurons: quartiles, 5th to 95th percentile, ◆ mean")
    grid = figure.subplots(len(classes), len(windows), squeeze=False, sharex=True, sharey="row")
    rotation = 90 if n > 8 else 0
    for (line, name), (column, window) in product(enumerate(classes), enumerate(windows)):
        axes = grid[line, column]
        _draw_boxes(axes, rates[name, window], looks[name]["color"])
        axes.set_xlim(-0.6, n - 0.4)
        axes.set_xticks(range(n), simulations, rotation=rotation)
        if line == 0:
            axes.set_title(window, loc="left", fontweight="bold")
        if line == len(classes) - 1:
            axes.set_xlabel(label)
        if column == 0:
            axes.set_ylabel(f"{name}\nfiring rate [Hz]")
    for axes in grid[:, 0]:
        axes.set_ylim(bottom=0)
    return figure


def parameter_figures(
    table: str, parameter: str, values: Sequence[Any], panels: Sequence[SweepPanel], note: str = ""
) -> Iterator[Figure]:
    """Draw features against a parameter, one panel a feature, one line a class; bars: deviation over simulations.

    Parameters
    ----------
    table : name of the feature table
    parameter : its name
    values : of the parameter; numbers are drawn to scale, anything else evenly
    panels : features
    note : what else is to be said on the page

    Yields
    ------
    pages of 12 panels
    """
    looks = look_of_cells(sorted({label for panel in panels for label in panel.lines}))
    for part in _chunks(panels, PANELS_A_PAGE):
        yield _parameter_page(f"{table} · {parameter}", parameter, values, part, note, looks)


@styled
def _parameter_page(
    title: str,
    parameter: str,
    values: Sequence[Any],
    panels: Sequence[SweepPanel],
    note: str,
    looks: Mapping[str, Mapping[str, Any]],
) -> Figure:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    x = np.array(values if numeric else range(len(values)), dtype=float)
    order = np.argsort(x, kind="stable")
    columns = min(len(panels), PANELS_A_LINE)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(1.3 + 2.6 * max(columns, 2), 0.9 + 2.1 * lines), layout="constrained")
    _set_page_title(figure, title, note)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        for label, (mean, deviation) in panel.lines.items():
            axes.errorbar(
                x[order],
                mean[order],
                deviation[order],
                markersize=4,
                capsize=2,
                elinewidth=0.8,
                **looks[label],
            )
        axes.set_title(panel.title, loc="left", fontsize=7.5)
        axes.set_xlabel(parameter)
        axes.margins(x=0.08)
        axes.locator_params(nbins=5)
        if not numeric:
            axes.set_xticks(x, [str(value) for value in values], rotation=30, ha="right")
        quiet_grid(axes)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    handles = [Line2D([], [], label=label, markersize=4, **look) for label, look in looks.items() if label]
    if handles:
        figure.legend(handles=handles, loc="outside right upper")
    return figure


@styled
def _set_page_title(figure: Figure, title: str, note: str = "") -> None:
    figure.suptitle(title, x=_LEFT / figure.get_figwidth(), ha="left", fontsize=10, fontweight="bold")
    if note:
        figure.supxlabel(note, x=_LEFT / figure.get_figwidth(), ha="left", fontsize=6.5, color=MUTED)


def _edges(bounds: tuple[float, float], bin_size: float) -> np.ndarray:
    start, stop = bounds
    edges = start + np.arange(int(np.ceil((stop - start) / bin_size - 1e-9))) * bin_size
    return np.append(edges, stop)


def _shown(panel: RasterPanel) -> str:
    """Return what the raster of a window shows."""
    most = max((c.n_shown for c in panel.classes), default=0)
    trials = f"{panel.n_trials} trials of " if panel.n_trials > 1 else ""
    return f"{trials}at most {most} neurons a class"


def _draw_band(axes: Axes, spikes: ClassSpikes, position: int, n_trials: int, colour: str) -> None:
    n_lines = max(spikes.n_shown * n_trials, 1)
    y = position + 1 - (spikes.lines + 0.5) / n_lines
    axes.plot(
        spikes.times,
        y,
        linestyle="none",
        marker="|",
        markersize=min(max(54.0 / n_lines, 1.6), 6.0),  # a band is 0.75 inch, 54 points, high
        markeredgewidth=0.6,
        color=colour,
        rasterized=len(y) > RASTERISED,
    )
    for trial in range(1, n_trials) if n_trials <= LINES_A_CLASS else ():
        axes.axhline(position + trial / n_trials, color=MUTED, linewidth=0.25, linestyle=(0, (1, 2)))


def _distance(panels: Sequence[Mapping[int, Sequence[tuple[np.ndarray, np.ndarray]]]]) -> float:
    """Return how far apart the traces of a class are drawn: the largest range of any cell and a bit."""
    values = [value for cells in panels for trials in cells.values() for _, value in trials if len(value)]
    widest = max((float(np.nanmax(v) - np.nanmin(v)) for v in values if np.isfinite(v).any()), default=0.0)
    return 1.08 * widest if widest > 0 else 1.0


def _draw_traces(
    axes: Axes,
    cells: Mapping[int, Sequence[tuple[np.ndarray, np.ndarray]]],
    distance: float,
    colour: str,
) -> None:
    ticks = []
    for position, trials in enumerate(cells.values()):
        finite = [v[np.isfinite(v)] for _, v in trials]
        base = float(np.median(np.concatenate(finite))) if any(map(len, finite)) else 0.0
        for number, (time, value) in reversed(list(enumerate(trials))):
            dt = (time[-1] - time[0]) / (len(time) - 1) if len(time) > 1 else 1.0
            t, v = envelope(value, float(dt))
            start = time[0] if len(time) else 0.0
            axes.plot(
                start + t,
                v - base - position * distance,
                color=colour,
                linewidth=0.7 if number == 0 else 0.5,
                alpha=1.0 if number == 0 else 0.3,
            )
        ticks.append(-position * distance)
    axes.set_yticks(ticks, [f"gid {gid}" for gid in cells])


def _draw_scale(axes: Axes, distance: float) -> None:
    """Draw a bar of a round length to the right of the traces."""
    exponent = np.floor(np.log10(distance / 2))
    length = max(size for size in np.array([1, 2, 5]) * 10.0**exponent if size <= distance / 2)
    across = axes.get_yaxis_transform()
    axes.plot([1.02, 1.02], [0, length], transform=across, color=INK, linewidth=1.2, clip_on=False)
    axes.text(1.035, length / 2, f"{length:g}", transform=across, va="center", fontsize=7)


def _draw_boxes(axes: Axes, rates: Sequence[RateSummary | None], colour: str) -> None:
    known = [(x, s) for x, s in enumerate(rates) if s is not None and np.isfinite(s.mean)]
    if known:
        axes.bxp(
            [
                dict(zip(("whislo", "q1", "med", "q3", "whishi"), s.percentiles, strict=True), fliers=[])
                for _, s in known
            ],
            positions=[x for x, _ in known],
            widths=0.55,
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
            whiskerprops={"color": colour},
            capprops={"color": colour},
            medianprops={"color": INK, "linewidth": 1.2},
        )
        x, mean = zip(*((x, s.mean) for x, s in known), strict=True)
        axes.plot(x, mean, linestyle="none", marker="D", markersize=3, color=INK)
    quiet_grid(axes)


def _chunks(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[k : k + size] for k in range(0, len(values), size)]
