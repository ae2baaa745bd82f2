"""The steps ``plot_rasters``, ``plot_firing_rates`` and ``plot_parameter_sweep``: published tables in, figures out.

Reports are read one simulation at a time, feature tables one row group at a time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.campaign.feature_file import INDEX_KEY
from ephysflow.errors import ResultError
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
    trace_figure,
)
from ephysflow.plots.pages import text_figure, write_pages

CELLS_A_CLASS = 3
"""Of which traces are drawn."""

_IDS = ("simulation_path", "simulation_id", "circuit_id")
_LABELS = ("neuron_class", "window")
_COUNTERS = ("simulation_id", "circuit_id", "trial", "gid", "other_gid", "neuron_class_index", "params_id")


@dataclass(frozen=True)
class _Window:
    """A window of a simulation: (n_trials, 2) begin and end of each trial relative to its offset [ms]."""

    label: str
    trials: np.ndarray

    @property
    def bounds(self) -> tuple[float, float]:
        """Begin and end [ms], of the longest trials where they differ."""
        return float(self.trials[:, 0].min()), float(self.trials[:, 1].max())

    @property
    def n_trials(self) -> int:
        return len(self.trials)

    @property
    def seconds(self) -> float:
        return float(np.diff(self.trials).sum()) * 1e-3


def plot_rasters(job: Job) -> None:
    """Draw each simulation on a page: rasters and PSTHs, or the traces of a few cells where the report has values."""
    repo, path = _places(job, "rasters")
    spikes = job.settings["report"] == "spikes"
    draw = _raster_page if spikes else _trace_page
    columns = ["gid", "trial", "time", *([] if spikes else ["value"])]
    neurons, windows = _neurons(repo), _windows(repo)

    def pages() -> Iterator[Figure]:
        for simulation in _simulations(repo):
            classes = neurons.get(simulation["circuit_id"], {})
            shown = windows.get(simulation["simulation_id"], [])[:WINDOWS_A_PAGE]
            title = _title(simulation)
            if classes and shown:
                yield draw(title, _report(repo, simulation, columns), classes, shown)
            else:
                yield text_figure(f"{title}: no neuron class or no window")

    write_pages(path, pages(), "no simulation was extracted")


def plot_firing_rates(job: Job) -> None:
    """Draw the distribution of firing rates of each class and window over the simulations."""
    repo, path = _places(job, "firing_rates")
    simulations = _simulations(repo)
    summaries: dict[tuple[int, str, str], RateSummary] = {}
    classes: dict[str, None] = {}
    windows: dict[str, None] = {}
    all_neurons, all_windows = _neurons(repo), _windows(repo)
    for position, simulation in enumerate(simulations):
        neurons = all_neurons.get(simulation["circuit_id"], {})
        trials = all_windows.get(simulation["simulation_id"], [])
        classes.update(dict.fromkeys(neurons))
        windows.update(dict.fromkeys(window.label for window in trials))
        for name, window, rates in _rates(_report(repo, simulation, ["gid"]), neurons, trials):
            summaries[position, name, window] = summary_of_rates(rates)
    varying = _varying(simulations)
    texts = [
        "\n".join(_text(s[name]) for name in varying) if varying else str(s["simulation_id"])
        for s in simulations
    ]
    title = f"{job.settings['campaign']} · {job.settings['analysis']} · firing rates"
    pages = firing_rate_figures(
        title, texts, " / ".join(varying) or "simulation", list(classes), list(windows), summaries
    )
    write_pages(path, pages, "no neuron class and window")


def plot_parameter_sweep(job: Job) -> None:
    """Draw each numeric feature of the concatenated tables against each parameter that varies."""
    item = job.settings
    folder = paths.features_folder(job.results, item["campaign"], item["analysis"])
    _, path = _places(job, "parameter_sweep")
    tables = sorted(path.name.removesuffix(".aliases.parquet") for path in folder.glob("*.aliases.parquet"))
    pages = chain.from_iterable(_sweep_pages(folder, table) for table in tables)
    write_pages(path, pages, "no parameter varies, or no feature is a number")


def _places(job: Job, name: str) -> tuple[Path, Path]:
    """Return the folder of extraction tables and the path of a plot."""
    where = (job.results, job.settings["campaign"], job.settings["analysis"])
    return paths.repo_folder(*where), paths.campaign_plot(*where, name)


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


def _neurons(repo: Path) -> dict[int, dict[str, np.ndarray]]:
    """Return, for each circuit, the sorted gids of each class."""
    table = read_table(repo / "neurons.parquet", ["circuit_id", "neuron_class", "gid"])
    circuit, label, gid = (
        table["circuit_id"].to_numpy(),
        _labels(table["neuron_class"]),
        table["gid"].to_numpy(),
    )
    return {
        number: {
            str(name): np.sort(gid[(circuit == number) & (label == name)])
            for name in np.unique(label[circuit == number])
        }
        for number in np.unique(circuit).tolist()
    }


def _windows(repo: Path) -> dict[int, list[_Window]]:
    """Return the windows of each simulation, in the order of the configuration."""
    columns = ["simulation_id", "window", "trial", "t_start", "t_stop"]
    trials: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for row in read_rows(repo / "windows.parquet", columns):
        trials.setdefault((row["simulation_id"], row["window"]), []).append((row["t_start"], row["t_stop"]))
    found: dict[int, list[_Window]] = {}
    for (simulation, label), bounds in trials.items():
        found.setdefault(simulation, []).append(_Window(label, np.array(bounds)))
    return found


@dataclass(frozen=True)
class _Report:
    """Columns of the report of one simulation, and the rows of each class and window, which lie together."""

    columns: Mapping[str, np.ndarray]
    rows: Mapping[tuple[str, str], slice]

    def of(self, label: str, window: str) -> dict[str, np.ndarray]:
        """Return the rows of a class in a window."""
        rows = self.rows.get((label, window), slice(0, 0))
        return {name: values[rows] for name, values in self.columns.items()}


def _report(repo: Path, simulation: Mapping[str, Any], columns: Sequence[str]) -> _Report:
    ids = f"circuit_id={simulation['circuit_id']}/simulation_id={simulation['simulation_id']}"
    files = sorted((repo / "report" / ids).glob("*.parquet"))
    if len(files) != 1:
        raise ResultError(f"{repo / 'report' / ids}: holds {len(files)} Parquet files; needed is one")
    table = read_table(files[0], ["neuron_class", "window", *columns])
    (classes, class_code), (windows, window_code) = (_codes(table[n]) for n in ("neuron_class", "window"))
    pair = class_code.astype(np.int64) * (len(windows) + 1) + window_code
    edges = [0, *(np.flatnonzero(np.diff(pair)) + 1).tolist(), len(pair)]
    rows = {
        (classes[class_code[start]], windows[window_code[start]]): slice(start, stop)
        for start, stop in pairwise(edges)
        if stop > start
    }
    return _Report({name: table[name].to_numpy() for name in columns}, rows)


def _codes(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Return the texts of a dictionary column, and the position of each row's text among them."""
    if not len(column):
        return [], np.array([], dtype=np.int32)
    combined = column.unify_dictionaries().combine_chunks()
    array = combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
    return array.dictionary.to_pylist(), array.indices.to_numpy()


def _labels(column: pa.ChunkedArray) -> np.ndarray:
    names, codes = _codes(column)
    return np.array(names, dtype=np.str_)[codes]


def _raster_page(
    title: str, report: _Report, neurons: Mapping[str, np.ndarray], windows: Sequence[_Window]
) -> Figure:
    panels = []
    for window in windows:
        bin_size = psth_bin(window.bounds[1] - window.bounds[0])
        classes = []
        for label, gids in neurons.items():
            rows = report.of(label, window.label)
            spikes = (rows["gid"], rows["trial"], rows["time"])
            classes.append(class_spikes(label, gids, spikes, window.trials, bin_size))
        panels.append(RasterPanel(window.label, window.bounds, window.n_trials, bin_size, classes))
    return raster_figure(title, panels)


def _trace_page(
    title: str, report: _Report, neurons: Mapping[str, np.ndarray], windows: Sequence[_Window]
) -> Figure:
    panels = []
    for label in neurons:
        found = {window.label: report.of(label, window.label) for window in windows}
        reported = np.unique(np.concatenate([np.unique(rows["gid"]) for rows in found.values()]))
        n = min(len(reported), CELLS_A_CLASS)
        chosen = reported[(np.arange(n) * len(reported)) // max(n, 1)]
        for window, rows in found.items():
            own = {gid: rows["gid"] == gid for gid in chosen.tolist()}
            cells = {
                gid: _trials(*(rows[name][here] for name in ("trial", "time", "value")))
                for gid, here in own.items()
            }
            panels.append(TracePanel(window, label, cells))
    return trace_figure(title, panels)


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
    report: _Report, neurons: Mapping[str, np.ndarray], windows: Sequence[_Window]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield class, window and the firing rate [Hz] of each neuron over all trials of the window."""
    for label, gids in neurons.items():
        for window in windows:
            gid = report.of(label, window.label)["gid"]
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
            panels.append(SweepPanel("\n".join([feature, " · ".join(key)]).rstrip(), lines))
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
