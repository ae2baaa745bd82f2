"""The steps ``plot_rasters``, ``plot_firing_rates`` and ``plot_parameter_sweep``: published tables in, figures out.

Reports are read one simulation at a time, feature tables one row group at a time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.campaign.feature_file import INDEX_KEY
from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing
from ephysflow.io.tables import open_table, read_rows, read_table
from ephysflow.job import Job
from ephysflow.plots.campaign import (
    WINDOWS_A_PAGE,
    RasterPanel,
    RateSummary,
    SweepPanel,
    TracePanel,
    class_spikes,
    firing_rate_figures,
    parameter_figures,
    psth_bin,
    raster_figure,
    summary_of_rates,
    text_figure,
    trace_figure,
)
from ephysflow.plots.pages import save_pages

CELLS_A_CLASS = 3
"""Of which traces are drawn."""

_IDS = ("simulation_path", "simulation_id", "circuit_id")
_LABELS = ("neuron_class", "window")
_COUNTERS = ("simulation_id", "circuit_id", "trial", "gid", "other_gid", "neuron_class_index", "params_id")


@dataclass(frozen=True)
class _Window:
    """A window of a simulation: its bounds relative to each trial's offset [ms], and its trials."""

    label: str
    bounds: tuple[float, float]
    n_trials: int

    @property
    def seconds(self) -> float:
        return (self.bounds[1] - self.bounds[0]) * self.n_trials * 1e-3


def plot_rasters(job: Job) -> None:
    """Draw each simulation on a page: rasters and PSTHs, or the traces of a few cells where the report has values."""
    repo, path = _places(job, "rasters")
    draw = _raster_page if job.settings["report"] == "spikes" else _trace_page
    _write_pages(path, (draw(repo, s) for s in _simulations(repo)), "no simulation was extracted")


def plot_firing_rates(job: Job) -> None:
    """Draw the distribution of firing rates of each class and window over the simulations."""
    repo, path = _places(job, "firing_rates")
    simulations = _simulations(repo)
    summaries: dict[tuple[int, str, str], RateSummary] = {}
    classes: dict[str, None] = {}
    windows: dict[str, None] = {}
    for position, simulation in enumerate(simulations):
        neurons, trials = _neurons(repo, simulation), _windows(repo, simulation)
        classes.update(dict.fromkeys(neurons))
        windows.update(dict.fromkeys(window.label for window in trials))
        for name, window, rates in _rates(_report(repo, simulation, ["gid"]), neurons, trials):
            summaries[position, name, window] = summary_of_rates(rates)
    varying = _varying(simulations)
    texts = [
        "\n".join(_text(s[name]) for name in varying) if varying else str(s["simulation_id"])
        for s in simulations
    ]
    pages = firing_rate_figures(
        texts, " / ".join(varying) or "simulation", list(classes), list(windows), summaries
    )
    _write_pages(path, pages, "no neuron class and window")


def plot_parameter_sweep(job: Job) -> None:
    """Draw each numeric feature of the concatenated tables against each parameter that varies."""
    item = job.settings
    folder = paths.features_folder(job.results, item["campaign"], item["analysis"])
    _, path = _places(job, "parameter_sweep")
    tables = sorted(path.name.removesuffix(".aliases.parquet") for path in folder.glob("*.aliases.parquet"))
    pages = chain.from_iterable(_sweep_pages(folder, table) for table in tables)
    _write_pages(path, pages, "no parameter varies, or no feature is a number")


def _places(job: Job, name: str) -> tuple[Path, Path]:
    """Return the folder of extraction tables and the path of a plot."""
    where = (job.results, job.settings["campaign"], job.settings["analysis"])
    return paths.repo_folder(*where), paths.campaign_plot(*where, name)


def _write_pages(path: Path, figures: Iterable[Figure], without: str) -> None:
    """Write one page a figure; a page that says `without` where there is none."""
    pages = iter(figures)
    first = next(pages, None) or text_figure(without)
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        save_pages(chain([first], pages), stream)


def _simulations(repo: Path) -> list[dict[str, Any]]:
    return read_rows(repo / "simulations.parquet")


def _varying(simulations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the conditions that differ between simulations."""
    names = [name for name in simulations[0] if name not in _IDS] if simulations else []
    return [name for name in names if len({_text(s[name]) for s in simulations}) > 1]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value is None else str(value)


def _title(simulation: Mapping[str, Any]) -> str:
    conditions = [f"{name} {_text(simulation[name])}" for name in simulation if name not in _IDS]
    return " · ".join([f"simulation {simulation['simulation_id']}", *conditions])


def _neurons(repo: Path, simulation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the sorted gids of each class."""
    table = read_table(repo / "neurons.parquet", ["circuit_id", "neuron_class", "gid"])
    table = table.filter(pc.equal(table["circuit_id"], simulation["circuit_id"]))
    label, gid = _labels(table["neuron_class"]), table["gid"].to_numpy()
    return {str(name): np.sort(gid[label == name]) for name in np.unique(label)}


def _windows(repo: Path, simulation: Mapping[str, Any]) -> list[_Window]:
    rows = [
        row
        for row in read_rows(
            repo / "windows.parquet", ["simulation_id", "window", "trial", "t_start", "t_stop"]
        )
        if row["simulation_id"] == simulation["simulation_id"]
    ]
    trials: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        trials.setdefault(row["window"], []).append(row)
    return [
        _Window(label, (members[0]["t_start"], members[0]["t_stop"]), len(members))
        for label, members in trials.items()
    ]


def _report(repo: Path, simulation: Mapping[str, Any], columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of the report of one simulation, with class and window."""
    ids = f"circuit_id={simulation['circuit_id']}/simulation_id={simulation['simulation_id']}"
    files = sorted((repo / "report" / ids).glob("*.parquet"))
    if len(files) != 1:
        raise ResultError(f"{repo / 'report' / ids}: holds {len(files)} Parquet files; needed is one")
    table = read_table(files[0], ["neuron_class", "window", *columns])
    return {
        name: _labels(table[name]) if name in ("neuron_class", "window") else table[name].to_numpy()
        for name in table.column_names
    }


def _labels(column: pa.ChunkedArray) -> np.ndarray:
    """Return texts that are stored as a dictionary as a numpy array."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    names = np.array(column.dictionary.to_pylist(), dtype=np.str_)
    codes = column.indices.to_numpy(zero_copy_only=False)
    return names[codes] if len(names) else np.array([], dtype=np.str_)


def _raster_page(repo: Path, simulation: Mapping[str, Any]) -> Figure:
    neurons, windows = _neurons(repo, simulation), _windows(repo, simulation)[:WINDOWS_A_PAGE]
    rows = _report(repo, simulation, ["gid", "trial", "time"])
    panels = []
    for window in windows:
        bin_size = psth_bin(window.bounds[1] - window.bounds[0])
        classes = []
        for label, gids in neurons.items():
            own = (rows["window"] == window.label) & (rows["neuron_class"] == label)
            spikes = (rows["gid"][own], rows["trial"][own], rows["time"][own])
            classes.append(class_spikes(label, gids, spikes, window.bounds, window.n_trials, bin_size))
        panels.append(RasterPanel(window.label, window.bounds, window.n_trials, bin_size, classes))
    if not panels or not neurons:
        return text_figure(f"{_title(simulation)}: no neuron class and window")
    return raster_figure(_title(simulation), panels)


def _trace_page(repo: Path, simulation: Mapping[str, Any]) -> Figure:
    neurons, windows = _neurons(repo, simulation), _windows(repo, simulation)[:WINDOWS_A_PAGE]
    rows = _report(repo, simulation, ["gid", "trial", "time", "value"])
    panels = []
    for label in neurons:
        own = rows["neuron_class"] == label
        reported = np.unique(rows["gid"][own])
        chosen = reported[(np.arange(min(len(reported), CELLS_A_CLASS)) * len(reported)) // CELLS_A_CLASS]
        for window in windows:
            cells = {}
            for gid in chosen.tolist():
                here = own & (rows["window"] == window.label) & (rows["gid"] == gid)
                cells[gid] = _trials(rows["trial"][here], rows["time"][here], rows["value"][here])
            panels.append(TracePanel(window.label, label, cells))
    if not panels:
        return text_figure(f"{_title(simulation)}: no neuron class and window")
    return trace_figure(_title(simulation), panels)


def _trials(trial: np.ndarray, time: np.ndarray, value: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return time and value of each trial; of the first section alone where a cell has several."""
    found = []
    for number in np.unique(trial):
        t, v = time[trial == number], value[trial == number]
        restarts = np.flatnonzero(np.diff(t) <= 0)
        end = restarts[0] + 1 if len(restarts) else len(t)
        found.append((t[:end], v[:end]))
    return found


def _rates(
    rows: Mapping[str, np.ndarray], neurons: Mapping[str, np.ndarray], windows: Sequence[_Window]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield class, window and the firing rate [Hz] of each neuron over all trials of the window."""
    for label, gids in neurons.items():
        of_class = rows["neuron_class"] == label
        for window in windows:
            gid = rows["gid"][of_class & (rows["window"] == window.label)]
            counts = np.bincount(np.searchsorted(gids, gid), minlength=len(gids))
            yield label, window.label, counts / window.seconds


def _sweep_pages(folder: Path, table: str) -> Iterator[Figure]:
    """Yield the pages of one concatenated table, parameter by parameter."""
    varying = read_rows(folder / f"{table}.aliases.parquet")
    params = read_rows(folder / f"{table}.params.parquet")
    if not varying:
        return
    means = _means(folder / f"{table}.parquet", [pair["alias"] for pair in varying])
    for pair in varying:
        texts = [json.dumps(row[pair["column"]]) for row in params]
        values = list(dict.fromkeys(texts))
        level = {row["params_id"]: values.index(text) for row, text in zip(params, texts, strict=True)}
        panels = _sweep_panels(means, level, len(values))
        others = [other["alias"] for other in varying if other is not pair]
        note = "mean and standard deviation over simulations"
        note += f"; mean over {', '.join(others)}" if others else ""
        if panels:
            yield from parameter_figures(table, pair["alias"], list(map(json.loads, values)), panels, note)


@dataclass(frozen=True)
class _Means:
    """Sums over the rows of a feature table that differ in nothing but trial, neuron and the like.

    Attributes
    ----------
    keys : names of the columns by which they are taken
    rows : values of these columns, then sum and number of values for each feature
    features : names
    """

    keys: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    features: Sequence[str]


def _means(path: Path, parameters: Sequence[str]) -> _Means:
    """Sum up the numeric features of a table by parameters, simulation, class, window and other labels."""
    with open_table(path) as opened:
        schema = opened.schema_arrow
        index = {*json.loads((schema.metadata or {}).get(INDEX_KEY, b"[]")), *_COUNTERS, *parameters}
        features = [f.name for f in schema if f.name not in index and _is_number(f.type)]
        keys = [
            f.name
            for f in schema
            if f.name in ("params_id", "simulation_id")
            or (_is_label(f.type) and f.name not in parameters and (f.name in index or f.name in _LABELS))
        ]
        if not features:
            return _Means(keys, [], [])
        parts = [
            _summed(opened.read_row_group(group, columns=[*keys, *features]), keys, features)
            for group in range(opened.num_row_groups)
        ]
    sums = [f"{name}_{kind}" for name in features for kind in ("sum", "count")]
    total = pa.concat_tables(parts).group_by(keys).aggregate([(name, "sum") for name in sums])
    return _Means(keys, total.rename_columns({f"{name}_sum": name for name in sums}).to_pylist(), features)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _is_label(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))
    )


def _summed(table: pa.Table, keys: Sequence[str], features: Sequence[str]) -> pa.Table:
    columns = {
        name: table[name].cast(pa.string()) if _is_label(table[name].type) else table[name] for name in keys
    }
    for name in features:
        values = table[name].cast(pa.float64())
        columns[name] = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    wanted = [(name, kind) for name in features for kind in ("sum", "count")]
    return pa.table(columns).group_by(list(keys)).aggregate(wanted)


def _sweep_panels(means: _Means, level: Mapping[int, int], n_levels: int) -> list[SweepPanel]:
    """Return a panel for each feature, window and other labels; a line a class.

    Parameters
    ----------
    means : of a table
    level : params_id -> position of the parameter's value
    n_levels : number of values
    """
    apart = [name for name in means.keys if name not in ("params_id", "simulation_id", "neuron_class")]
    panels = []
    for feature in means.features:
        # panel -> class -> simulation -> sum and number of values at each value of the parameter
        found: dict[tuple[str, ...], dict[str, dict[Any, np.ndarray]]] = {}
        for row in means.rows:
            of_class = found.setdefault(tuple(str(row[name]) for name in apart), {})
            of_simulation = of_class.setdefault(str(row.get("neuron_class", "")), {})
            sums = of_simulation.setdefault(row.get("simulation_id"), np.zeros((2, n_levels)))
            sums[:, level[row["params_id"]]] += (row[f"{feature}_sum"] or 0.0, row[f"{feature}_count"])
        for key in sorted(found):
            lines = {label: _line(list(found[key][label].values())) for label in sorted(found[key])}
            panels.append(SweepPanel(" · ".join([feature, *key]), lines))
    return panels


def _line(simulations: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over simulations of their means, at each value of the parameter."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.array([total / number for total, number in simulations])
        known = np.isfinite(values)
        n = known.sum(axis=0)
        mean = np.where(known, values, 0.0).sum(axis=0) / n
        deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / n)
    return mean, deviation
