"""The steps ``plot_units`` and ``plot_session``: tables of a project and products of a session in, figures out.

Spikes are read one row group at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.ecephys.columns import values_of
from ephysflow.ecephys.presentations import INVALID
from ephysflow.ecephys.stimulus_epochs import SPONTANEOUS
from ephysflow.errors import ResultError
from ephysflow.io.tables import open_table, read_rows, read_table
from ephysflow.job import Job
from ephysflow.plots.campaign import psth_bin
from ephysflow.plots.ecephys import (
    GROUPS,
    LINES,
    NO_STRUCTURE,
    OTHER,
    PROBES_A_PAGE,
    Quality,
    Response,
    Track,
    ccf_figure,
    counts_after,
    most_frequent,
    quality_figure,
    response_figure,
    structure_figure,
    times_after,
    track_figure,
)
from ephysflow.plots.pages import text_figure, write_pages

PRESENTATIONS = 200
"""Most presentations, evenly spread, that a response is the mean of."""

_CCF = (
    "anterior_posterior_ccf_coordinate",
    "dorsal_ventral_ccf_coordinate",
    "left_right_ccf_coordinate",
)
_STRUCTURE, _VERTICAL = "ecephys_structure_acronym", "probe_vertical_position"
_METRICS = (
    ("presence_ratio", "", "presence_ratio_minimum", None),
    ("amplitude_cutoff", "", None, "amplitude_cutoff_maximum"),
    ("isi_violations", "", None, "isi_violations_maximum"),
    ("snr", "", None, None),
    ("firing_rate", "Hz", None, None),
)
"""Column of units, its unit, keywords of the filters that limit it from below and from above."""


def plot_units(job: Job) -> None:
    """Draw how many units each structure has, their quality, and how many each filter removed."""
    item = job.settings
    quality, annotated = (
        read_table(paths.project_table(job.results, item["project"], name))
        for name in ("unit_quality", "annotated_units")
    )
    filters = read_rows(paths.project_table(job.results, item["project"], "unit_filters"))

    def pages() -> Iterator[Figure]:
        if annotated.num_rows:
            sessions = _texts(annotated, "ecephys_session_id")
            yield structure_figure(item["project"], _texts(annotated, _STRUCTURE), sessions)
        else:
            yield _said(f"{item['project']}: no unit passes the filters")
        metrics = _qualities(quality, item["filters"])
        if metrics:
            yield quality_figure(item["project"], metrics, filters)
        else:
            yield _said(f"{item['project']}: no metrics of quality are known of the units")

    write_pages(paths.project_plot(job.results, item["project"], "units"), pages(), "")


def plot_session(job: Job) -> None:
    """Draw responses of the units of a session to a stimulus, and the structures along its probes."""
    item = job.settings
    files = {
        name: paths.session_product(job.results, item["project"], item["session"], f"{name}.parquet")
        for name in ("units", "channels", "spikes", "stimulus_presentations")
    }
    title = f"{item['project']} · {item['session']}"

    def pages() -> Iterator[Figure]:
        units = read_table(files["units"])
        presentations = read_table(files["stimulus_presentations"])
        yield _response_page(title, units, presentations, files["spikes"], item["stimulus"])
        yield from _track_pages(title, units, read_table(files["channels"]))

    target = paths.project_plot(job.results, item["project"], f"session_{item['session']}")
    write_pages(target, pages(), "")


def _qualities(units: pa.Table, filters: Mapping[str, Any]) -> list[Quality]:
    found = []
    for name, unit, minimum, maximum in _METRICS:
        values = _numbers(units, name)
        if np.isfinite(values).any():
            low, high = (filters.get(key) if key else None for key in (minimum, maximum))
            found.append(Quality(name, unit, values, low, high, logarithmic=name == "firing_rate"))
    return found


def _response_page(
    title: str, units: pa.Table, presentations: pa.Table, spikes: Path, stimulus: str | None
) -> Figure:
    """Draw the response to a stimulus, or say why there is none."""
    if not units.num_rows:
        return _said(f"{title}: no unit passes the filters")
    names = _texts(presentations, "stimulus_name")
    chosen = stimulus or _most_presented(names)
    if chosen is None:
        return _said(f"{title}: no presentations of a stimulus")
    start, stop = _numbers(presentations, "start_time"), _numbers(presentations, "stop_time")
    shown = np.flatnonzero(np.array([name == chosen for name in names], dtype=bool) & np.isfinite(start))
    if not len(shown):
        return _said(f"{title}: {chosen} was not presented (there are {', '.join(sorted(set(names)))})")
    duration = float(np.nanmedian(stop[shown] - start[shown]))
    sample = shown[_spread(len(shown), PRESENTATIONS)]
    around = float(np.clip(0.4 * duration, 0.1, 0.5))
    width = 1e-3 * psth_bin(1e3 * (duration + 2 * around))
    edges = width * np.arange(-round(around / width), int(np.ceil((duration + around) / width - 1e-9)) + 1)
    groups = _groups(units)
    responses = _responses(spikes, groups, np.sort(start[sample]), edges)
    note = (
        f"rates: {len(sample)} of {len(shown)} presentations; raster: units from the surface down × presentations; "
        "grey: the presentation"
    )
    return response_figure(f"{title} · {chosen}", note, responses, edges, duration)


def _most_presented(names: Sequence[str]) -> str | None:
    stimuli = most_frequent([name for name in names if name not in ("", SPONTANEOUS, INVALID)], 1)
    return stimuli[0] if stimuli else None


def _groups(units: pa.Table) -> list[tuple[str, np.ndarray]]:
    """Return label and unit ids of each structure that is drawn, from the surface down, and of all others."""
    ids = values_of(units["unit_id"])
    structures = np.array([name or NO_STRUCTURE for name in _texts(units, _STRUCTURE)], dtype=object)
    depth = -np.nan_to_num(_numbers(units, _VERTICAL))
    order = np.argsort(depth, kind="stable")
    common = most_frequent(structures, GROUPS)
    common.sort(key=lambda name: float(np.median(depth[structures == name])))
    groups = [(name, ids[order][structures[order] == name]) for name in common]
    others = ids[order][~np.isin(structures[order], common)]
    return [*groups, (OTHER, others)] if len(others) else groups


def _responses(
    path: Path, groups: Sequence[tuple[str, np.ndarray]], onsets: np.ndarray, edges: np.ndarray
) -> list[Response]:
    """Count the spikes of all units after all onsets (P,), and keep those after as many as the raster shows."""
    shown = [onsets[_spread(len(onsets), max(LINES // len(ids), 1))] for _, ids in groups]
    place = {unit: (g, k) for g, (_, ids) in enumerate(groups) for k, unit in enumerate(ids.tolist())}
    counts = np.zeros((len(groups), len(edges) - 1))
    times: list[list[np.ndarray]] = [[] for _ in groups]
    lines: list[list[np.ndarray]] = [[] for _ in groups]
    for unit, piece in _spikes(path):
        if unit not in place:
            continue
        group, position = place[unit]
        counts[group] += counts_after(piece, onsets, edges)
        since, which = times_after(piece, shown[group], (float(edges[0]), float(edges[-1])))
        times[group].append(since)
        lines[group].append(position * len(shown[group]) + which)
    seconds = np.diff(edges) * len(onsets)
    return [
        Response(
            label,
            len(ids),
            len(shown[g]),
            np.concatenate([np.empty(0), *times[g]]),
            np.concatenate([np.empty(0, np.int64), *lines[g]]),
            counts[g] / (seconds * len(ids)),
        )
        for g, (label, ids) in enumerate(groups)
    ]


def _spikes(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a unit and times of it, ascending [s]; a unit comes again where its spikes lie in several row groups."""
    with open_table(path) as table:
        for k in range(table.num_row_groups):
            try:
                rows = table.read_row_group(k, columns=["unit_id", "time"])
            except (OSError, pa.ArrowException) as error:
                raise ResultError(f"{path}: damaged: {error}") from None
            units, times = values_of(rows["unit_id"]), values_of(rows["time"])
            bounds = np.flatnonzero(np.diff(units)) + 1
            for first, end in zip([0, *bounds], [*bounds, len(units)], strict=True):
                if end > first:
                    yield int(units[first]), np.sort(times[first:end])


def _track_pages(title: str, units: pa.Table, channels: pa.Table) -> Iterator[Figure]:
    tracks = _tracks(units, channels)
    if not tracks:
        yield _said(f"{title}: the positions of the channels are not known")
        return
    structures = list(dict.fromkeys(name for track in tracks for name in track.structure if name))
    for k in range(0, len(tracks), PROBES_A_PAGE):
        yield track_figure(title, tracks[k : k + PROBES_A_PAGE], structures)
    if any(np.isfinite(track.ccf).all(axis=1).any() for track in tracks):
        yield ccf_figure(title, tracks)
    else:
        yield _said(f"{title}: no coordinates of the channels in the common coordinate framework")


def _tracks(units: pa.Table, channels: pa.Table) -> list[Track]:
    """Return the probes whose channels have positions."""
    vertical = _numbers(channels, _VERTICAL)
    probes, unit_probes = _texts(channels, "probe_id"), _texts(units, "probe_id")
    names = dict(zip(unit_probes, _texts(units, "probe_description"), strict=True))
    structure = _texts(channels, _STRUCTURE)
    ccf = np.stack([_numbers(channels, name) for name in _CCF], axis=1)
    unit_vertical, rate = _numbers(units, _VERTICAL), _numbers(units, "firing_rate")
    tracks = []
    for probe in dict.fromkeys(probes):
        mine = np.flatnonzero(np.array([p == probe for p in probes], dtype=bool) & np.isfinite(vertical))
        owned = np.array([p == probe for p in unit_probes], dtype=bool)
        if len(mine):
            tracks.append(
                Track(
                    names.get(probe) or f"probe {probe}",
                    vertical[mine],
                    [structure[k] for k in mine.tolist()],
                    ccf[mine],
                    unit_vertical[owned],
                    rate[owned],
                )
            )
    return tracks


def _said(text: str) -> Figure:
    """Return a page that says why there is nothing to draw, in lines that fit."""
    return text_figure(fill(text, 80))


def _texts(table: pa.Table, name: str) -> list[str]:
    """Return a column as texts; empty where it is null, and everywhere if there is no such column."""
    if name not in table.column_names:
        return [""] * table.num_rows
    return ["" if value is None else str(value) for value in table[name].to_pylist()]


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as floats; NaN where it is null, and everywhere if there is no such column of numbers."""
    kind = table.schema.field(name).type if name in table.column_names else pa.null()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.full(table.num_rows, np.nan)
    return values_of(table[name].cast(pa.float64()))


def _spread(total: int, most: int) -> np.ndarray:
    """Return at most `most` of the numbers 0 .. total - 1, evenly spread."""
    return (np.arange(min(total, most)) * total) // max(min(total, most), 1)
