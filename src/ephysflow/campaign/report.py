"""Rows of a report, sorted by observation: class, window, trial, neuron; within one by (section and) time.

Observations are all pairs of a neuron and a trial; silent neurons have no rows. Windows are sorted as texts, as
neuron classes are, whatever their order in the configuration. A spike in several trials or of a neuron in several
classes has a row in each.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ephysflow.campaign.observations import Columns, SimulationReport
from ephysflow.errors import SimulationError

if TYPE_CHECKING:  # feature jobs read no HDF5
    from ephysflow.sonata.reports import ElementReport

Spikes = tuple[np.ndarray, np.ndarray]
"""(n,) node id, not negative, and (n,) time [ms] of spikes."""

Finding = tuple[str, str]
"""What is doubtful: its subject and the reason."""

LOOKUP_SIZE = 1 << 24
"""Ids up to this are looked up in an array (16 million ids, 64 MB), larger ones by bisection."""

GRID_TOLERANCE = 1e-3
"""Part of a report's time step within which a bound counts as on a frame: grids are stored rounded, some in float32."""

MAX_TRACE_ROWS = 1 << 30
"""More rows than this in one simulation would not fit in memory (20 bytes a row and more)."""

MAX_OBSERVATIONS = 200_000_000
"""More observations than this in one simulation would not fit in memory (40 bytes each)."""


def spike_rows(
    spikes: Mapping[str, Spikes],
    neurons: Columns,
    populations: Mapping[str, str],
    trials: Columns,
    sizes: Mapping[str, int] | None = None,
) -> tuple[SimulationReport, list[Finding]]:
    """Sort the spikes of one simulation into observations.

    A trial takes the spikes with ``offset + t_start <= t < offset + t_stop``. Their times are given relative to the
    offset; where the subtraction would round a time out of the trial's ``[t_start, t_stop)``, it is the nearest time
    within.

    Parameters
    ----------
    spikes : population -> its spikes, in any order; sorted times are faster
    neurons : columns ``neuron_class, gid``, sorted by both
    populations : neuron class -> population
    trials : columns ``window, trial, offset, t_start, t_stop`` and others
    sizes : population -> number of its nodes, where it is known

    Returns
    -------
    report : its rows have ``time``; its trials are sorted by window and trial
    findings : spikes of nodes that do not exist; that there are no rows at all

    Raises
    ------
    SimulationError
        if there are too many observations.
    """
    trials = _sorted_trials(trials)
    n_trials, n_neurons = len(trials["trial"]), len(neurons["gid"])
    _check_observations(n_trials, n_neurons)
    bounds = _class_bounds(neurons)
    sources = _sources(spikes, neurons, populations, bounds)
    counts = np.zeros((n_trials, n_neurons), dtype=np.int64)
    times = []
    for trial in range(n_trials):
        offset, start, stop = (trials[name][trial].item() for name in ("offset", "t_start", "t_stop"))
        found = [source.within(offset + start, offset + stop) for source in sources]
        row = np.concatenate([_no_rows(n_neurons), *(row for row, _ in found)])
        time = np.concatenate([np.empty(0), *(time for _, time in found)])
        time -= offset
        if len(time) and not (time.min() >= start and time.max() < stop):
            np.clip(time, start, np.nextafter(stop, -np.inf), out=time)
        counts[trial] = np.bincount(row, minlength=n_neurons)
        times.append(time[_stable_order(row)])
    # per trial the rows are sorted by class and neuron; now class comes before trial
    edges = np.zeros((n_trials, n_neurons + 1), dtype=np.int64)
    np.cumsum(counts, axis=1, out=edges[:, 1:])
    blocks = [
        times[trial][edges[trial, first] : edges[trial, last]]
        for first, last in _pairs(bounds)
        for trial in range(n_trials)
    ]
    sizes_of_blocks = [counts[:, first:last].ravel() for first, last in _pairs(bounds)]
    neuron, trial_of = _observations(bounds, n_trials)
    report = SimulationReport(
        neurons,
        trials,
        neuron,
        trial_of,
        _offsets(np.concatenate([np.empty(0, np.int64), *sizes_of_blocks])),
        {"time": np.concatenate([np.empty(0), *blocks])},
    )
    findings = []
    for population, (gid, _) in spikes.items():
        if sizes and population in sizes:
            findings += unknown_nodes(gid, population, sizes[population])
    if not len(report.rows["time"]):
        findings.append(("spikes", "no neuron of any class has a spike in any window"))
    return report, findings


class _Source:
    """The spikes of one population and the rows of its neurons."""

    def __init__(self, spikes: Spikes, gid: np.ndarray, row: np.ndarray, n_neurons: int) -> None:
        self.gid, self.time = spikes
        if not (self.time[1:] >= self.time[:-1]).all():
            order = np.argsort(self.time, kind="stable")
            self.gid, self.time = self.gid[order], self.time[order]
        self.none = n_neurons
        kind = _row_type(n_neurons)
        # a gid that stands k times, in overlapping classes, needs k lookups
        order = np.argsort(gid, kind="stable")
        gid, row = gid[order], row[order].astype(kind)
        repeat = np.arange(len(gid)) - np.searchsorted(gid, gid)
        self.layers = []
        for k in range(repeat.max(initial=-1) + 1):
            layer_gid, layer_row = gid[repeat == k], row[repeat == k]
            table = None
            if layer_gid[-1] < LOOKUP_SIZE:
                table = np.full(layer_gid[-1] + 2, n_neurons, dtype=kind)
                table[layer_gid] = layer_row
            self.layers.append((layer_gid, layer_row, table))

    def within(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the neuron row and a copy of the time of the spikes in ``start <= t < stop``, by time."""
        here = slice(*np.searchsorted(self.time, [start, stop]))
        gid, time = self.gid[here], self.time[here]
        rows, times = [_no_rows(self.none)], [np.empty(0)]
        for layer_gid, layer_row, table in self.layers:
            if table is not None:
                # ids beyond the table end at its last entry, which is no neuron
                row = table.take(gid, mode="clip")
            else:
                place = np.minimum(np.searchsorted(layer_gid, gid), len(layer_gid) - 1)
                row = np.where(layer_gid[place] == gid, layer_row[place], layer_row.dtype.type(self.none))
            wanted = row < self.none
            every = bool(wanted.all())
            rows.append(row if every else row[wanted])
            times.append(time if every else time[wanted])
        return np.concatenate(rows), np.concatenate(times)


def _sources(
    spikes: Mapping[str, Spikes], neurons: Columns, populations: Mapping[str, str], bounds: np.ndarray
) -> list[_Source]:
    members: dict[str, list[np.ndarray]] = {}
    for first, last in _pairs(bounds):
        population = populations[str(neurons["neuron_class"][first])]
        members.setdefault(population, []).append(np.arange(first, last))
    rows = {population: np.concatenate(parts) for population, parts in members.items()}
    n_neurons = len(neurons["gid"])
    return [_Source(spikes[name], neurons["gid"][row], row, n_neurons) for name, row in rows.items()]


def unknown_nodes(gid: np.ndarray, population: str, size: int) -> list[Finding]:
    """Return a finding if spikes are of nodes that the population, of `size` nodes, does not have."""
    if not len(gid) or gid.max() < size:
        return []
    beyond = gid >= size
    reason = (
        f"{np.count_nonzero(beyond)} of {len(gid)} spikes are of nodes that are not there ({size} nodes), the first is "
        f"{gid[np.argmax(beyond)]}; they are ignored"
    )
    return [(f"population {population}", reason)]


def uncovered_windows(trials: Columns, tstop: float | None) -> list[Finding]:
    """Return a finding for each trial that begins before the simulation or ends after it.

    Features count such a trial with its whole duration, so that rates come out too low.

    Parameters
    ----------
    trials : columns ``window, trial, offset, t_start, t_stop``
    tstop : end of the simulation [ms]; None if it is not known
    """
    findings = []
    for trial in range(len(trials["trial"])):
        start, stop = _interval(trials, trial)
        lasts = f"lasts from {start:g} to {stop:g} ms"
        if start < -1e-9:
            findings.append((_named(trials, trial), f"{lasts}: it begins before the simulation"))
        if tstop is not None and stop > tstop * (1 + 1e-9):
            findings.append(
                (_named(trials, trial), f"{lasts}: it ends after the simulation, which ends at {tstop:g} ms")
            )
    return findings


def trace_rows(
    open_report: Callable[[str], AbstractContextManager["ElementReport"]],
    neurons: Columns,
    populations: Mapping[str, str],
    trials: Columns,
    kind: str,
) -> tuple[SimulationReport, list[Finding]]:
    """Read the values of one simulation's soma or compartment report, sorted into observations.

    A trial takes the frames with ``offset + t_start <= t <= offset + t_stop``, both ends included, on the report's own
    grid; with ``t_step`` it takes every n-th, where n is ``t_step`` over the report's step, rounded and at least 1.
    Frames of one trial are read at a time.

    Parameters
    ----------
    open_report : gives the report of a population, by its name
    neurons : columns ``neuron_class, gid``, sorted by both
    populations : neuron class -> population
    trials : columns ``window, trial, offset, t_start, t_stop, t_step`` and others
    kind : ``soma`` or ``compartment``

    Returns
    -------
    report : rows ``time`` [ms, relative to the offset] and ``value`` (float32), for compartments ``section`` (element
        id), sorted by section and time within an observation; its trials are sorted by window and trial
    findings : trials that the report does not cover, steps that were rounded, neurons that it does not have

    Raises
    ------
    SimulationError
        if the report cannot be read, is too large, or is no soma report where one is asked for.
    """
    trials = _sorted_trials(trials)
    n_trials, bounds = len(trials["trial"]), _class_bounds(neurons)
    _check_observations(n_trials, len(neurons["gid"]))
    labels = [str(neurons["neuron_class"][first]) for first, _ in _pairs(bounds)]
    findings: list[Finding] = []
    with ExitStack() as stack:
        reports = {
            name: stack.enter_context(open_report(name))
            for name in dict.fromkeys(populations[label] for label in labels)
        }
        classes = []
        for label, (first, last) in zip(labels, _pairs(bounds), strict=True):
            elements = _elements(reports, populations[label], neurons["gid"][first:last], kind)
            if missing := np.count_nonzero(elements.counts == 0):
                findings.append(
                    (f"neuron class {label}", f"{missing} of {last - first} neurons are not in the report")
                )
            classes.append(elements)
        frames: dict[tuple[str, int], range] = {}
        for name, report in reports.items():
            for trial in range(n_trials):
                frames[name, trial], said = _frames(report, trials, trial)
                findings += said
        sizes = [c.counts * len(frames[c.population, trial]) for c in classes for trial in range(n_trials)]
        offsets = _offsets(np.concatenate([np.empty(0, np.int64), *sizes]))
        rows = _trace_columns(reports, classes, frames, bounds, offsets, trials, kind)
    neuron, trial_of = _observations(bounds, n_trials)
    return SimulationReport(neurons, trials, neuron, trial_of, offsets, rows), list(dict.fromkeys(findings))


@dataclass(frozen=True)
class _Elements:
    """Elements of the neurons of one class, sorted by neuron and section.

    Attributes
    ----------
    population : whose report has them
    columns, section : (c,) column in the report and element id
    counts : (n,) number of elements of each neuron of the class
    """

    population: str
    columns: np.ndarray
    section: np.ndarray
    counts: np.ndarray


def _elements(
    reports: Mapping[str, "ElementReport"], population: str, gid: np.ndarray, kind: str
) -> _Elements:
    report = reports[population]
    columns, node, section = report.columns_of(gid)
    row = np.searchsorted(gid, node)
    order = np.lexsort((section, row))
    counts = np.bincount(row, minlength=len(gid))
    if kind == "soma" and counts.max(initial=0) > 1:
        raise SimulationError(
            f"{report.path}: node {gid[counts.argmax()]} has {counts.max()} elements: this is no soma report; "
            "read it as type compartment"
        )
    return _Elements(population, columns[order], section[order], counts)


def _trace_columns(
    reports: Mapping[str, "ElementReport"],
    classes: Sequence[_Elements],
    frames: Mapping[tuple[str, int], range],
    bounds: np.ndarray,
    offsets: np.ndarray,
    trials: Columns,
    kind: str,
) -> dict[str, np.ndarray]:
    """Read the values, trial after trial, to their places among the rows."""
    n_trials, n_rows = len(trials["trial"]), offsets[-1].item()
    if n_rows > MAX_TRACE_ROWS:
        raise SimulationError(
            f"{n_rows} values are asked for; at most {MAX_TRACE_ROWS} are allowed: use fewer neurons (limit), "
            "shorter windows or a larger t_step"
        )
    rows = {"time": np.empty(n_rows), "value": np.empty(n_rows, dtype=np.float32)}
    if kind == "compartment":
        rows["section"] = np.empty(n_rows, dtype=np.int64)
    for name, trial in frames:
        report, taken = reports[name], frames[name, trial]
        own = [k for k, elements in enumerate(classes) if elements.population == name]
        columns = np.concatenate([classes[k].columns for k in own])
        values = report.read(taken.start, taken.stop, taken.step, columns).T
        time = report.start + np.asarray(taken) * report.step - trials["offset"][trial]
        for k in own:
            section = classes[k].section
            start = offsets[bounds[k] * n_trials + trial * (bounds[k + 1] - bounds[k])]
            here = slice(start, start + len(section) * len(taken))
            shape = (len(section), len(taken))
            rows["value"][here].reshape(shape)[:] = values[: len(section)]
            rows["time"][here].reshape(shape)[:] = time
            if kind == "compartment":
                rows["section"][here].reshape(shape)[:] = section[:, None]
            values = values[len(section) :]
    return rows


def _frames(report: "ElementReport", trials: Columns, trial: int) -> tuple[range, list[Finding]]:
    """Return the frames of a report that a trial takes, and what there is to say about them."""
    start, stop = _interval(trials, trial)
    t_step = trials["t_step"][trial].item()
    findings = []
    stride = 1
    if t_step:
        stride = max(round(t_step / report.step), 1)
        if abs(t_step - stride * report.step) > GRID_TOLERANCE * report.step:
            reason = (
                f"t_step {t_step:g} ms is not a multiple of the report's step, {report.step:g} ms: "
                f"{stride * report.step:g} ms is used"
            )
            findings.append((f"window {trials['window'][trial]}", reason))
    first = math.ceil((start - report.start) / report.step - GRID_TOLERANCE)
    last = math.floor((stop - report.start) / report.step + GRID_TOLERANCE)
    # a report of 0 to 100 ms has no frame at 100 ms, and yet covers a window that ends there
    if first < 0 or last > report.n_frames:
        common = last >= 0 and first < report.n_frames
        reason = (
            f"lasts from {start:g} to {stop:g} ms, but the report from {report.start:g} to {report.stop:g} ms: "
            + ("only the values in both are given" if common else "there are no values")
        )
        findings.append((_named(trials, trial), reason))
    first, end = min(max(first, 0), report.n_frames), min(last + 1, report.n_frames)
    return range(first, max(first, end), stride), findings


def report_from_counts(
    neurons: Columns, trials: Columns, counts: np.ndarray, rows: Columns
) -> SimulationReport:
    """Return the report of which the number of rows of each observation was stored beside the rows.

    Parameters
    ----------
    neurons : columns ``neuron_class, gid``, sorted by both
    trials : columns ``window, trial`` and others, in any order
    counts : (K,) rows of each observation, sorted by class, window, trial and gid
    rows : ``time`` and others of each row

    Raises
    ------
    ValueError
        if these do not belong together.
    """
    trials = _sorted_trials(trials)
    neuron, trial = _observations(_class_bounds(neurons), len(trials["trial"]))
    if len(counts) != len(neuron):
        raise ValueError(
            f"{len(counts)} observations, but there are {len(neuron)} of these neurons and windows"
        )
    offsets = _offsets(counts)
    if any(len(values) != offsets[-1] for values in rows.values()):
        raise ValueError(f"{len(rows['time'])} rows, but the observations have {offsets[-1]}")
    return SimulationReport(neurons, trials, neuron, trial, offsets, rows)


def select(
    report: SimulationReport, neuron_classes: Sequence[str], windows: Sequence[str]
) -> SimulationReport:
    """Return the part of a report that is of some neuron classes and windows; none named stands for all."""
    of_neuron = _named_ones(report.neurons["neuron_class"], neuron_classes)
    of_trial = _named_ones(report.trials["window"], windows)
    if of_neuron.all() and of_trial.all():
        return report
    wanted = of_neuron[report.neuron] & of_trial[report.trial]
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).reshape(-1, 2)
    runs = [slice(*run) for run in report.offsets[edges].tolist()]
    return SimulationReport(
        {name: values[of_neuron] for name, values in report.neurons.items()},
        {name: values[of_trial] for name, values in report.trials.items()},
        (np.cumsum(of_neuron) - 1)[report.neuron[wanted]],
        (np.cumsum(of_trial) - 1)[report.trial[wanted]],
        _offsets(np.diff(report.offsets)[wanted]),
        {
            name: np.concatenate([values[:0], *(values[r] for r in runs)])
            for name, values in report.rows.items()
        },
    )


def _named_ones(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    if not names:
        return np.ones(len(labels), dtype=bool)
    return np.isin(labels, np.array(names, dtype=np.str_))


def _sorted_trials(trials: Columns) -> dict[str, np.ndarray]:
    order = np.lexsort((trials["trial"], trials["window"]))
    return {name: values[order] for name, values in trials.items()}


def _class_bounds(neurons: Columns) -> np.ndarray:
    """Return (classes + 1,) rows of `neurons` between which each class stands."""
    labels = neurons["neuron_class"]
    starts = (
        np.flatnonzero(np.append(True, labels[1:] != labels[:-1])) if len(labels) else np.empty(0, np.int64)
    )
    return np.append(starts, len(labels))


def _pairs(bounds: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def _check_observations(n_trials: int, n_neurons: int) -> None:
    if n_trials * n_neurons > MAX_OBSERVATIONS:
        raise SimulationError(
            f"{n_neurons} neurons in {n_trials} trials are {n_trials * n_neurons} observations; at most "
            f"{MAX_OBSERVATIONS} are allowed: use fewer neurons (limit), windows or trials (n_trials)"
        )


def _observations(bounds: np.ndarray, n_trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the neuron and the trial of each observation."""
    neuron = [np.tile(np.arange(first, last), n_trials) for first, last in _pairs(bounds)]
    trial = [np.repeat(np.arange(n_trials), last - first) for first, last in _pairs(bounds)]
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *neuron]), np.concatenate([none, *trial])


def _offsets(counts: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _row_type(n_neurons: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds the rows of neurons and one number more: numpy sorts 16 bits by radix."""
    return np.uint16 if n_neurons < 1 << 16 else np.uint32


def _no_rows(n_neurons: int) -> np.ndarray:
    return np.empty(0, dtype=_row_type(n_neurons))


def _stable_order(row: np.ndarray) -> np.ndarray:
    """Return the stable order of rows; 32 bits in two passes of 16, which numpy sorts by radix."""
    if row.dtype == np.uint16:
        return np.argsort(row, kind="stable")
    order = np.argsort(row.astype(np.uint16), kind="stable")
    return order[np.argsort((row >> 16).astype(np.uint16)[order], kind="stable")]


def _interval(trials: Columns, trial: int) -> tuple[float, float]:
    offset = trials["offset"][trial].item()
    return offset + trials["t_start"][trial].item(), offset + trials["t_stop"][trial].item()


def _named(trials: Columns, trial: int) -> str:
    return f"window {trials['window'][trial]}, trial {trials['trial'][trial]}"
