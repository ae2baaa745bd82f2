"""The sweeps of one cell and protocol, with what was found in them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ephysflow.plots.style import CURRENT, INK, MUTED, REBUILT, STIMULUS, VOLTAGE, WARNING, envelope, styled

COLUMNS, COLUMNS_OF_FEW, SWEEPS_A_PAGE = 6, 4, 12

SweepRow = Mapping[str, Any]

_KEY = (
    Line2D([], [], color=CURRENT, linewidth=1.6, label="measured current"),
    Line2D([], [], color=REBUILT, linewidth=0.8, linestyle="--", label="rebuilt current"),
    Patch(color=STIMULUS, label="stimulus"),
    Line2D([], [], color="black", marker="|", markersize=5, linestyle="none", label="spike"),
    Line2D([], [], color=REBUILT, linewidth=0.6, linestyle=":", label="spike threshold"),
)


@styled
def recordings_figures(
    rows: Sequence[SweepRow],
    rebuilt: Sequence[np.ndarray | None],
    spike_times: Sequence[np.ndarray | None] | None = None,
    rheobase: float | None = None,
) -> list[Figure]:
    """Draw the sweeps of one cell and protocol, sorted by amplitude, 12 a page: current above voltage.

    Parameters
    ----------
    rows : sweep rows with `voltage` [mV], `current` [nA] and the stimulus found in them; those with a
        ``timing_reason`` or ``qc_reasons`` are marked with it
    rebuilt : for each row the current [nA] that its stimulus parameters give, or None; drawn dashed
    spike_times : for each row the times of its spikes [ms], or None
    rheobase : of the cell [nA], for the amplitudes in percent

    Returns
    -------
    list of figures
        one a page; all sweeps have the same scales of current and voltage.
    """
    order = sorted(range(len(rows)), key=lambda k: (_number(rows[k].get("amp")), k))
    current_limits = _limits([rows[k]["current"] for k in order])
    voltage_limits = _limits([rows[k]["voltage"] for k in order], room=0.12)
    columns = COLUMNS if len(order) > COLUMNS_OF_FEW else COLUMNS_OF_FEW
    pages = [order[k : k + SWEEPS_A_PAGE] for k in range(0, len(order), SWEEPS_A_PAGE)]
    figures = []
    for number, page in enumerate(pages, start=1):
        lines = -(-len(page) // columns)
        width, height = 0.75 + 2.4 * columns, 0.9 + 3.5 * lines
        figure = Figure(figsize=(width, height))
        first = rows[page[0]]
        figure.suptitle(
            f"{first['cell']} · {first['protocol']}"
            + (f" · page {number} of {len(pages)}" if len(pages) > 1 else ""),
            x=0.65 / width,
            y=1 - 0.12 / height,
            ha="left",
            va="top",
            fontsize=11,
            fontweight="bold",
        )
        figure.legend(
            handles=_KEY, loc="upper right", bbox_to_anchor=(1, 1), ncols=len(_KEY), columnspacing=1.2
        )
        grid = figure.add_gridspec(
            lines,
            columns,
            left=0.65 / width,
            right=1 - 0.15 / width,
            top=1 - 0.95 / height,
            bottom=0.5 / height,
            hspace=0.42,
            wspace=0.12,
        )
        for place, k in enumerate(page):
            line, column = divmod(place, columns)
            pair = grid[line, column].subgridspec(2, 1, height_ratios=(1, 2.4), hspace=0.08)
            above, below = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
            times = None if spike_times is None else spike_times[k]
            _draw_sweep(above, below, rows[k], rebuilt[k], times)
            _set_title(above, rows[k], rheobase)
            above.set_ylim(current_limits)
            below.set_ylim(voltage_limits)
            above.tick_params(labelbottom=False)
            if column == 0:
                above.set_ylabel("current [nA]")
                below.set_ylabel("voltage [mV]")
            else:
                above.tick_params(labelleft=False)
                below.tick_params(labelleft=False)
            if place + columns >= len(page):
                below.set_xlabel("time [ms]")
        figures.append(figure)
    return figures


def mark_stimulus(axes: Axes, row: SweepRow) -> None:
    """Shade the time during which the stimulus is on, and mark the times within it."""
    pulses = row.get("tspike")
    if pulses is not None and len(pulses):
        on = [(start, start + row["spike_duration"]) for start in pulses]
    else:
        on = [(row["ton"], row["toff"])] if row.get("ton") is not None else []
    for start, stop in on:
        axes.axvspan(start, stop, color=STIMULUS, linewidth=0)
    for key in ("tmid", "tmid2", "t1", "t2", "t3", "t4"):
        if row.get(key) is not None:
            axes.axvline(row[key], color=MUTED, linewidth=0.6, linestyle=(0, (2, 2)))


def _draw_sweep(
    above: Axes, below: Axes, row: SweepRow, rebuilt: np.ndarray | None, spike_times: np.ndarray | None
) -> None:
    dt = row["dt"]
    for axes in (above, below):
        mark_stimulus(axes, row)
        axes.set_xlim(0, max(len(row["voltage"]) * dt, dt))
        axes.locator_params(nbins=4)
    above.plot(*envelope(np.asarray(row["current"]), dt), color=CURRENT, linewidth=1.6)
    if rebuilt is not None:
        above.plot(*envelope(np.asarray(rebuilt), dt), color=REBUILT, linewidth=0.8, linestyle="--")
    below.plot(*envelope(np.asarray(row["voltage"]), dt), color=VOLTAGE, linewidth=0.7)
    if row.get("auto_threshold") is not None and np.isfinite(row["auto_threshold"]):
        below.axhline(row["auto_threshold"], color=REBUILT, linewidth=0.6, linestyle=":")
    if spike_times is not None and len(spike_times):
        below.plot(
            spike_times,
            np.full(len(spike_times), 0.97),
            transform=below.get_xaxis_transform(),
            color="black",
            marker="|",
            markersize=5,
            linestyle="none",
        )


def _set_title(axes: Axes, row: SweepRow, rheobase: float | None) -> None:
    amplitude = f"amp {_text(row.get('amp'))} nA"
    if rheobase and row.get("amp") is not None:
        amplitude += f" ({100 * row['amp'] / rheobase:.0f}%)"
    title = [f"{row.get('sweep_id') or 'sweep ' + str(row['sweep'])}", amplitude]
    if row.get("amp2") is not None:
        title[1] += f", amp2 {_text(row['amp2'])} nA"
    title.append(f"holding {_text(row.get('hypamp'))} nA")
    if row.get("repetition") is not None:
        title[2] += f", repetition {row['repetition']}"
    flag = "; ".join(filter(None, (row.get("timing_reason"), row.get("qc_reasons"))))
    if flag:
        title.insert(0, _shortened(f"⚠ {flag}", 48))
        for spine in axes.spines.values():
            spine.set_color(WARNING)
    axes.set_title("\n".join(title), loc="left", fontsize=7, color=WARNING if flag else INK)


def _limits(traces: Sequence[np.ndarray], room: float = 0.06) -> tuple[float, float]:
    """Limits of an axis that hold all finite values."""
    low = min((float(np.nanmin(t)) for t in traces if np.isfinite(t).any()), default=0.0)
    high = max((float(np.nanmax(t)) for t in traces if np.isfinite(t).any()), default=1.0)
    margin = room * (high - low) or 0.01
    return low - margin, high + margin


def _number(value: float | None) -> float:
    return np.inf if value is None or np.isnan(value) else float(value)


def _text(value: float | None) -> str:
    return "?" if value is None or np.isnan(value) else f"{value:.3f}"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
