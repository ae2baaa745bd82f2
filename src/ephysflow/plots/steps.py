"""The steps ``plot_recordings``, ``plot_efeatures`` and ``plot_overview``: tables in, figures out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.efeatures.impedance import impedance
from ephysflow.io.atomic import replacing
from ephysflow.io.tables import read_rows, read_table
from ephysflow.job import Job
from ephysflow.plots.features import FeaturePanel, feature_amplitude_figure, fi_curve_figure, impedance_figure
from ephysflow.plots.pages import save_png, text_figure, write_pages
from ephysflow.plots.recordings import recordings_figures
from ephysflow.plots.summary import summary_figure
from ephysflow.recordings.table import read_sweeps, sweep_parameters
from ephysflow.recordings.user_stimuli import resolve_stimulus

SUMMARY_FEATURES = ("mean_frequency", "AP_amplitude", "voltage_base")
"""Features that the summary figure shows when they are there; the first two."""

SUMMARY_SHARES = (0.9, 1.0, 1.5, 2.5)
"""Amplitudes of the sweeps that it shows, as shares of the rheobase."""


def plot_recordings(job: Job) -> None:
    """Draw all sweeps of a cell, protocol by protocol, one protocol in memory at a time."""
    cell, bucket = job.settings["cell"], job.settings["rheobase"]
    table = paths.sweep_table(job.results, cell)
    rheobase = None
    if bucket is not None:
        found = read_rows(paths.bucket_rheobase(job.results, bucket), ["cell", "rheobase"])
        rheobase = next(row["rheobase"] for row in found if row["cell"] == cell)
    protocols = dict.fromkeys(read_table(table, ["protocol"])["protocol"].to_pylist())
    folder = Path(job.settings["user_folder"])

    def pages() -> Iterable[Figure]:
        for protocol in protocols:
            rows = read_sweeps(table, [protocol])
            rebuilt = [rebuilt_current(row, folder) for row in rows]
            yield from recordings_figures(rows, rebuilt, [crossings(row) for row in rows], rheobase)

    write_pages(paths.recordings_plot(job.results, cell), pages(), f"no usable sweep of {cell}")


def plot_efeatures(job: Job) -> None:
    """Draw each feature of a target set against the amplitude, with its targets."""
    features = read_rows(paths.feature_table(job.results, job.key))
    targets = read_rows(paths.target_table(job.results, job.key))
    panels = feature_panels(features, targets, job.settings["absolute_amplitude"])
    pages = map(feature_amplitude_figure, panels)
    write_pages(paths.efeatures_plot(job.results, job.key), pages, "no feature was computed")


def plot_overview(job: Job) -> None:
    """Draw the f-I curves, the impedance of cells with SineSpec sweeps, and the summary figure."""
    rheobase_rows = [
        row
        for bucket in job.settings["buckets"]
        for row in read_rows(paths.bucket_rheobase(job.results, bucket))
    ]
    rheobase = {row["cell"]: row["rheobase"] for row in rheobase_rows}
    counted = [
        (sweep["amp"], sweep["spikecount"], row["cell"]) for row in rheobase_rows for sweep in row["sweeps"]
    ]
    amplitudes, counts, cells = (
        (list(values) for values in zip(*counted, strict=True)) if counted else ([], [], [])
    )
    curves = [fi_curve_figure(amplitudes, counts, cells, rheobase)] if counted else []
    write_pages(paths.fi_curve_plot(job.results), curves, "no sweep for the rheobase")
    tables = [paths.sweep_table(job.results, cell) for cell in job.settings["cells"]]
    write_pages(paths.impedance_plot(job.results), _impedances(tables), "no SineSpec sweep")
    with replacing(paths.summary_plot(job.results)) as temporary, open(temporary, "wb") as stream:
        save_png(_summary(job, tables, amplitudes, counts, cells, rheobase), stream)


def crossings(row: Mapping[str, Any]) -> np.ndarray:
    """Return the times [ms] at which the voltage of a sweep row rises through its own spike threshold."""
    if row["auto_threshold"] is None:
        return np.array([])
    above = row["voltage"] > row["auto_threshold"]
    return (np.flatnonzero(above[1:] & ~above[:-1]) + 1) * row["dt"]


def rebuilt_current(row: Mapping[str, Any], user_folder: Path) -> np.ndarray | None:
    """Return the current [nA] that the stimulus parameters of a sweep row give."""
    stimulus = resolve_stimulus(row["ecode"], user_folder)
    return stimulus.rebuild(row, np.arange(row["n_samples"]) * row["dt"])


def feature_panels(
    features: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], absolute: bool
) -> list[FeaturePanel]:
    """Return one panel for each feature, protocol and settings of a feature table."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in features:
        groups.setdefault((row["protocol"], row["efeature"], row["settings"]), []).append(row)
    panels = []
    for (protocol, feature, settings), rows in groups.items():
        means = [
            (target["amplitude"], target["mean"], target["std"])
            for target in targets
            if (target["protocol"], target["efeature"]) == (protocol, feature)
            and target["kept"]
            and _same_settings(target["settings"], settings)
        ]
        against = _axis(rows, absolute)
        shown = [{**row, "delta": row["amp"]} for row in rows] if against == "delta" else rows
        panels.append(FeaturePanel(feature, protocol, shown, means, against=against))
    return panels


def _axis(rows: Sequence[Mapping[str, Any]], absolute: bool) -> str:
    """Return what the values are drawn against: the amplitude by which targets choose their sweeps."""
    if any(row["matched_by"] == "delta" for row in rows):
        return "delta"
    return "amp_rel" if not absolute and any(row["amp_rel"] is not None for row in rows) else "amp"


def _same_settings(of_target: str, of_value: str) -> bool:
    """Compare settings; a Threshold that stands for automatic ones was put in by grouping."""
    target, value = json.loads(of_target), json.loads(of_value)
    if "Threshold" not in value:
        target.pop("Threshold", None)
    return target == value


def _impedances(tables: Sequence[Path]) -> Iterable[Figure]:
    for table in tables:
        parameters = sweep_parameters([table])
        chirps = parameters.filter(pc.equal(parameters["ecode"], "SineSpec"))["protocol"].to_pylist()
        for row in read_sweeps(table, list(dict.fromkeys(chirps))) if chirps else []:
            figure = impedance_figure(*impedance(row["voltage"], row["current"], row["dt"]))
            figure.suptitle(f"{row['cell']} {row['protocol']} {row['sweep']}")
            yield figure


def _summary(
    job: Job,
    tables: Sequence[Path],
    amplitudes: list[float],
    counts: list[float],
    cells: list[str],
    rheobase: Mapping[str, float | None],
) -> Figure:
    """Draw the cell and protocol with the most sweeps that were counted, and the first features that vary."""
    features, targets = [], []
    for name in job.settings["sets"]:
        features += read_rows(paths.feature_table(job.results, name))
        targets += read_rows(paths.target_table(job.results, name))
    panels = [panel for panel in feature_panels(features, targets, absolute=False) if panel.means]
    panels.sort(
        key=lambda panel: (
            SUMMARY_FEATURES.index(panel.feature)
            if panel.feature in SUMMARY_FEATURES
            else len(SUMMARY_FEATURES),
            -len(panel.rows),
        )
    )
    distinct = list({panel.feature: panel for panel in reversed(panels)}.values())[::-1]
    if not counted_enough(counts) or len(distinct) < 2:
        return text_figure("not enough features for a summary")
    best = max(tables, key=lambda table: len(read_table(table, ["sweep"])))
    parameters = sweep_parameters([best]).to_pylist()
    protocols = [row["protocol"] for row in parameters if row["ecode"] == "Step"]
    if not protocols:
        return text_figure("no step protocol for a summary")
    rows = read_sweeps(best, [max(dict.fromkeys(protocols), key=protocols.count)])
    rows.sort(key=lambda row: row["amp"])
    scale = rheobase.get(rows[0]["cell"]) or rows[-1]["amp"] / 2.5
    wanted = [min(rows, key=lambda row: abs(row["amp"] / scale - share)) for share in SUMMARY_SHARES]
    chosen = list({row["sweep"]: row for row in wanted}.values())
    return summary_figure(chosen, amplitudes, counts, cells, rheobase, (distinct[0], distinct[1]))


def counted_enough(counts: Sequence[float]) -> bool:
    """Tell whether there are spikes to draw an f-I curve of."""
    return any(count for count in counts)
