"""Neuropixels projects: units by structure and quality, responses to a stimulus, tracks of probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ephysflow.plots.style import (
    CELL_COLOURS,
    CURRENT,
    GRID,
    INK,
    MUTED,
    VOLTAGE,
    WARNING,
    quiet_grid,
    styled,
)

STRUCTURES = 30
"""Most structures of which the units are counted on a page."""

GROUPS = len(CELL_COLOURS)
"""Most structures that have a colour of their own, and most sessions that are told apart."""

LINES = 150
"""Lines of a structure in a raster, a unit and presentation each: of fewer units, more presentations are shown."""

RASTERISED = 20_000
"""From this many spikes on, a raster is drawn as an image."""

NO_STRUCTURE, OTHER = "no structure", "other"

PROBES_A_PAGE = 6

_BINS = 40
_TAIL = 99.0  # percentile up to which a distribution is drawn


@dataclass(frozen=True)
class Quality:
    """A quality metric of units.

    Attributes
    ----------
    name, unit : for the axis
    values : of all units; NaN where there is none
    minimum, maximum : limits of the filters; None where there is none
    logarithmic : scale of the values
    """

    name: str
    unit: str
    values: np.ndarray
    minimum: float | None = None
    maximum: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Response:
    """Units of one structure around the onsets of a stimulus.

    Attributes
    ----------
    label : of the structure
    n_units, n_shown : units, and presentations that the raster shows of each
    times, lines : (n,) time since onset [s] of the spikes shown, and their line from the top: unit * n_shown +
        presentation
    psth : (B,) mean rate of the units [Hz]
    """

    label: str
    n_units: int
    n_shown: int
    times: np.ndarray
    lines: np.ndarray
    psth: np.ndarray


@dataclass(frozen=True)
class Track:
    """A probe.

    Attributes
    ----------
    label : name or id
    vertical : (C,) position of the channels [um], from the tip
    structure : (C,) acronyms; empty out of the brain
    ccf : (C, 3) anterior-posterior, dorsal-ventral, left-right [um]; NaN where not known
    unit_vertical, unit_rate : (U,) position [um] of the units' peak channels, and firing rate [Hz]
    """

    label: str
    vertical: np.ndarray
    structure: Sequence[str]
    ccf: np.ndarray
    unit_vertical: np.ndarray
    unit_rate: np.ndarray


def most_frequent(labels: Sequence[str] | np.ndarray, most: int) -> list[str]:
    """Return at most `most` of the different labels, the most frequent first, equals in the order of the alphabet."""
    names, counts = np.unique(np.asarray(labels, dtype=object).astype(str), return_counts=True)
    return names[np.lexsort((names, -counts))][:most].tolist()


def counts_after(times: np.ndarray, onsets: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count the spikes after all onsets in half-open bins, ``left <= time - onset < right``.

    Parameters
    ----------
    times : (n,) s, ascending
    onsets : (P,) s
    edges : (B + 1,) s since onset, ascending

    Returns
    -------
    (B,) summed over the onsets
    """
    places = np.searchsorted(times, onsets[:, None] + edges, side="left")
    return np.diff(places, axis=1).sum(axis=0)


def times_after(
    times: np.ndarray, onsets: np.ndarray, window: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) time since onset [s] and (n,) index of the onset of the spikes in a half-open window after each.

    Parameters
    ----------
    times : s, ascending
    onsets : (P,) s
    window : start and end [s] since onset
    """
    first, last = (np.searchsorted(times, onsets + edge, side="left") for edge in window)
    which = np.repeat(np.arange(len(onsets)), last - first)
    inside = np.arange(len(which)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    return times[first[which] + inside] - onsets[which], which


def runs(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return label, first and end (exclusive) of the runs of equal labels."""
    starts = [k for k in range(len(labels)) if k == 0 or labels[k] != labels[k - 1]]
    return [(labels[a], a, b) for a, b in pairwise([*starts, len(labels)])]


@styled
def structure_figure(title: str, structures: Sequence[str], sessions: Sequence[str]) -> Figure:
    """Draw the number of units in each structure, those of each session on top of each other if they are few.

    Parameters
    ----------
    title : of the page
    structures : (N,) acronym of each unit; empty for none
    sessions : (N,) of each unit
    """
    named = np.array([s or NO_STRUCTURE for s in structures], dtype=object)
    owners = np.array([str(s) for s in sessions], dtype=object)
    shown = most_frequent(named, STRUCTURES)
    n_structures, all_owners = len(set(named.tolist())), sorted(set(owners.tolist()))
    figure = Figure(figsize=(7.2, 1.4 + 0.19 * max(len(shown), 6)), layout="constrained")
    cut = (
        f", the {STRUCTURES} with the most units of {n_structures} structures"
        if n_structures > STRUCTURES
        else ""
    )
    _title(figure, title, f"{len(named)} units of {_many(len(all_owners), 'session')}{cut}")
    axes = figure.subplots()
    place, left = np.arange(len(shown)), np.zeros(len(shown))
    few = len(all_owners) <= GROUPS
    for k, owner in enumerate(all_owners if few else [None]):
        mine = named if owner is None else named[owners == owner]
        count = np.array([np.count_nonzero(mine == name) for name in shown])
        axes.barh(
            place, count, left=left, height=0.75, color=CELL_COLOURS[k % GROUPS], label=owner, linewidth=0
        )
        left += count
    for y, (name, total) in enumerate(zip(shown, left, strict=True)):
        spread = "" if few else f" in {_many(len(set(owners[named == name].tolist())), 'session')}"
        axes.annotate(
            f"{total:.0f}{spread}", (total, y), (3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    axes.set_yticks(place, shown)
    axes.tick_params(axis="y", length=0)
    room = 1.08 if few else 1.2
    axes.set(xlabel="units", ylim=(len(shown) - 0.4, -0.6), xlim=(0, max(float(left.max()), 1) * room))
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if few:
        figure.legend(loc="outside right upper", title="session", alignment="left")
    return figure


@styled
def quality_figure(title: str, metrics: Sequence[Quality], filters: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the distribution of each metric with its limits, and how many units each filter removed.

    Parameters
    ----------
    title : of the page
    metrics : at most five
    filters : rows of the table ``unit_filters``
    """
    figure = Figure(figsize=(7.6, 5.0), layout="constrained")
    before = filters[0]["units_before"] if filters else 0
    after = filters[-1]["units_after"] if filters else 0
    drawn = max((len(metric.values) for metric in metrics), default=0)
    passed = f"; of {before} units, {after} pass all filters" if filters else ""
    _title(figure, title, f"distributions: {_many(drawn, 'unit')}{passed}")
    grid = figure.subplots(2, 3).ravel()
    for axes, metric in zip(grid, metrics, strict=False):
        _draw_distribution(axes, metric)
    for axes in grid[len(metrics) : 5]:
        axes.remove()
    _draw_filters(grid[5], filters)
    for axes in (grid[0], grid[3]):
        axes.set_ylabel("units")
    return figure


def _draw_distribution(axes: Axes, metric: Quality) -> None:
    values = metric.values[np.isfinite(metric.values)]
    missing = len(metric.values) - len(values)
    notes = [f"{missing} without a value"] if missing else []
    axes.set_title(metric.name.replace("_", " "), loc="left", fontweight="bold", pad=11)
    if metric.logarithmic:
        if zeros := int(np.count_nonzero(values <= 0)):
            notes.append(f"{zeros} not above 0")
        values = values[values > 0]
    if len(values):
        edges = _bins(values, metric)
        if beyond := int(np.count_nonzero((values < edges[0]) | (values > edges[-1]))):
            notes.append(f"{beyond} beyond the axis")
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts, edges, fill=True, color=VOLTAGE, alpha=0.75, linewidth=0)
        if metric.logarithmic:
            axes.set_xscale("log")
            is_narrow = edges[-1] < 100 * edges[0]
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_narrow else (1,)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, max(int(counts.max()), 1) * 1.25))
        for limit, sign in ((metric.minimum, "≥"), (metric.maximum, "≤")):
            if limit is None:
                continue
            removed = (edges[0], limit) if sign == "≥" else (limit, edges[-1])
            axes.axvspan(*removed, color=WARNING, alpha=0.1, linewidth=0)
            axes.axvline(limit, color=WARNING, linewidth=0.9)
            is_left = sign == "≤" and limit < (edges[0] + edges[-1]) / 2
            axes.annotate(
                f"{sign} {limit:g}",
                (limit, 1),
                ((3 if is_left else -3), -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if is_left else "right",
                va="top",
                fontsize=6.5,
                color=WARNING,
            )
    axes.locator_params(axis="y", integer=True, nbins=5)
    axes.set_xlabel(metric.unit or " ")
    axes.annotate(
        "; ".join(notes),
        (1, 1),
        (0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=6,
        color=MUTED,
    )


def _bins(values: np.ndarray, metric: Quality) -> np.ndarray:
    """Return edges that show all but the tail, and every limit."""
    if metric.logarithmic:
        return np.geomspace(values.min() / 1.05, values.max() * 1.05, _BINS + 1)
    low, high = np.percentile(values, (100 - _TAIL, _TAIL)).tolist()
    high = float(values.max()) if values.max() <= 1.5 * high else high
    if metric.maximum is not None:
        high = float(np.clip(high, 1.2 * metric.maximum, 4 * metric.maximum))
    if metric.minimum is not None:
        low, high = min(low, metric.minimum), max(float(values.max()), metric.minimum)
    low = min(low, 0.0)
    return np.linspace(low, high if high > low else low + 1, _BINS + 1)


def _draw_filters(axes: Axes, filters: Sequence[Mapping[str, Any]]) -> None:
    """Draw what each filter removed, in the order in which they were applied."""
    axes.set_title("removed by filters", loc="left", fontweight="bold", pad=11)
    if not filters:
        axes.axis("off")
        return
    place = np.arange(len(filters))
    missing = np.array([row["removed_missing"] for row in filters])
    limit = np.array([row["removed"] for row in filters]) - missing
    axes.barh(place, limit, height=0.45, color=WARNING, linewidth=0)
    axes.barh(place, missing, left=limit, height=0.45, color=CURRENT, linewidth=0)
    for y, row in zip(place, filters, strict=True):
        name = str(row["filter"]).removeprefix("filter_").replace("_", " ")
        name = name.removesuffix(" maximum").removesuffix(" minimum")
        text = "not applied" if row["note"] and not row["removed"] else f"{row['removed']}"
        if row["removed_missing"]:
            text += f" ({row['removed_missing']} without a value)"
        axes.annotate(
            f"{name}: {text}", (0, y - 0.28), (1, 0), textcoords="offset points", va="bottom", fontsize=6.5
        )
    axes.set(ylim=(len(filters) - 0.4, -0.9), xlim=(0, max(int((limit + missing).max()), 1) * 1.05))
    axes.set_xlabel("units")
    axes.set_yticks([])
    axes.locator_params(axis="x", integer=True, nbins=5)


@styled
def response_figure(
    title: str, note: str, responses: Sequence[Response], edges: np.ndarray, duration: float
) -> Figure:
    """Draw the raster of units, in bands of equal height a structure, and the mean rate of each structure below.

    Parameters
    ----------
    title, note : of the page
    responses : a structure each, from the top
    edges : (B + 1,) of the bins [s since onset]
    duration : of a presentation [s]
    """
    figure = Figure(figsize=(7.2, 2.6 + 0.62 * len(responses)), dpi=200, layout="constrained")
    _title(figure, title, note)
    heights = (0.62 * len(responses), 1.8)
    raster, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    n_spikes = sum(len(response.times) for response in responses)
    for k, response in enumerate(responses):
        colour = _colour(k, response.label)
        n_lines = max(response.n_units * response.n_shown, 1)
        raster.plot(
            response.times,
            k + (response.lines + 0.5) / n_lines,
            linestyle="none",
            marker="|",
            markersize=min(max(44.0 / n_lines, 2.0), 6.0),  # a band is 0.62 inch, 44 points, high
            markeredgewidth=0.7,
            color=colour,
            rasterized=n_spikes >= RASTERISED,
        )
        raster.axhline(k + 1, color=MUTED, linewidth=0.4)
        below.stairs(response.psth, edges, color=colour, linewidth=1.0, baseline=None, label=response.label)
    names = [f"{r.label}\n{_many(r.n_units, 'unit')} × {r.n_shown}" for r in responses]
    raster.set_yticks(np.arange(len(responses)) + 0.5, names)
    for k, (tick, response) in enumerate(zip(raster.get_yticklabels(), responses, strict=True)):
        tick.set_color(_colour(k, response.label))
    raster.tick_params(axis="y", length=0)
    raster.set(ylim=(len(responses), 0), xlim=(edges[0], edges[-1]))
    for axes in (raster, below):
        axes.axvspan(0, duration, color=CURRENT, alpha=0.15, linewidth=0, zorder=0)
    below.set(xlabel="time since onset [s]", ylabel="mean rate [Hz]")
    below.set_ylim(bottom=0)
    below.set_title(f"bins of {1e3 * (edges[1] - edges[0]):g} ms", loc="right", fontsize=6.5, color=MUTED)
    quiet_grid(below)
    return figure


@styled
def track_figure(title: str, tracks: Sequence[Track], with_label: Sequence[str]) -> Figure:
    """Draw structures along each probe, and the firing rate of its units where they lie.

    Parameters
    ----------
    title : of the page
    tracks : at most `PROBES_A_PAGE`
    with_label : all structures that the pages show; the position of a structure decides its colour
    """
    figure = Figure(figsize=(1.0 + 1.9 * max(len(tracks), 2), 6.0), layout="constrained")
    _title(figure, title, "bands: structure of the channels; points: units at their peak channel")
    grid = figure.subplots(1, len(tracks), squeeze=False, sharey=True)[0]
    highest = max(
        float(rate.max())
        for rate in [*(t.unit_rate[np.isfinite(t.unit_rate)] for t in tracks), np.ones(1)]
        if rate.size
    )
    for axes, track in zip(grid, tracks, strict=True):
        _draw_bands(axes, track, with_label)
        axes.scatter(track.unit_rate, track.unit_vertical, s=9, color=INK, alpha=0.75, linewidths=0, zorder=3)
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlim(0, highest * 1.5)
        axes.set_xticks([v for v in (0, 1, 10, 100) if v <= highest * 1.5], None)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(track.label, loc="left", fontweight="bold")
        axes.set_title(_many(len(track.unit_rate), "unit"), loc="right", fontsize=6.5, color=MUTED)
        axes.set_xlabel("firing rate [Hz]")
    grid[0].set_ylabel("distance from the tip [µm]")
    return figure


def _draw_bands(axes: Axes, track: Track, with_label: Sequence[str]) -> None:
    order = np.argsort(track.vertical, kind="stable")
    vertical = track.vertical[order]
    found = runs([track.structure[k] for k in order])
    for label, first, end in found:
        low = vertical[0] if first == 0 else (vertical[first - 1] + vertical[first]) / 2
        high = vertical[-1] if end == len(vertical) else (vertical[end - 1] + vertical[end]) / 2
        if label:
            colour = CELL_COLOURS[with_label.index(label) % len(CELL_COLOURS)]
            axes.axhspan(low, high, color=colour, alpha=0.22, linewidth=0)
            axes.annotate(
                label,
                (1, (low + high) / 2),
                (-2, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=6.5,
                bbox={"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.8},
                zorder=4,
            )
        axes.axhline(high, color="white", linewidth=0.6)


@styled
def ccf_figure(title: str, tracks: Sequence[Track]) -> Figure:
    """Draw the tracks of the probes in the common coordinate framework, from the side and from the front."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    _title(figure, title, "common coordinate framework; circles: the channels nearest to the tip")
    views = ((0, "anterior → posterior [µm]"), (2, "left → right [µm]"))
    for axes, (across, label) in zip(figure.subplots(1, 2, sharey=True), views, strict=True):
        for k, track in enumerate(tracks):
            known = np.isfinite(track.ccf).all(axis=1)
            if not known.any():
                continue
            order = np.flatnonzero(known)[np.argsort(track.vertical[known], kind="stable")]
            x, y = track.ccf[order, across], track.ccf[order, 1]
            colour = CELL_COLOURS[k % len(CELL_COLOURS)]
            axes.plot(x, y, color=colour, linewidth=1.4, label=track.label)
            axes.plot(x[0], y[0], marker="o", markersize=4, color=colour)
        axes.set_xlabel(label)
        axes.set_aspect("equal", adjustable="datalim")
        axes.locator_params(axis="x", nbins=4)
        quiet_grid(axes)
    figure.axes[0].set_ylabel("dorsal → ventral [µm]")
    figure.axes[0].invert_yaxis()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _colour(position: int, label: str) -> str:
    return CURRENT if label == OTHER else CELL_COLOURS[position % len(CELL_COLOURS)]


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _title(figure: Figure, title: str, note: str = "") -> None:
    figure.suptitle(title, x=0.12 / figure.get_figwidth(), ha="left", fontsize=10, fontweight="bold")
    if note:
        figure.supxlabel(note, x=0.12 / figure.get_figwidth(), ha="left", fontsize=6.5, color=MUTED)
