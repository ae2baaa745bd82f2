"""What a feature function sees: observations (one neuron in one trial), sorted into groups.

A feature is asked for "by simulation, neuron class and window", or by any other columns. Whatever these are, the
rows of a report are held once, sorted by observation; every group is a contiguous run of observations, and silent
neurons are observations without rows. A vectorised function works on these arrays and never loops over groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Columns = Mapping[str, np.ndarray]
"""Column name -> values, all of one length."""

REPORT_COLUMNS = ("time", "value", "section")

MAX_CODE = 2**62
"""Codes of combinations of key columns stay below this, so that int64 holds them."""


@dataclass(frozen=True)
class SimulationReport:
    """The report of one simulation, as extraction stores it.

    Attributes
    ----------
    neurons : columns ``neuron_class, gid, neuron_class_index`` (and ``circuit_id`` where ids are known), N rows sorted
        by class and gid
    trials : columns ``window, trial, offset, t_start, t_stop, t_step, duration, window_type`` (and ``simulation_id,
        circuit_id``), T rows sorted by window and trial
    neuron, trial : (K,) row of `neurons` and of `trials` of each observation
    offsets : (K + 1,) rows ``offsets[k]:offsets[k + 1]`` of the report belong to observation k
    rows : ``time`` [ms, relative to the trial's offset], for soma and compartment reports ``value``, for
        compartment reports ``section``
    """

    neurons: Columns
    trials: Columns
    neuron: np.ndarray
    trial: np.ndarray
    offsets: np.ndarray
    rows: Columns


@dataclass(frozen=True)
class Observations:
    """Observations of one or several simulations, sorted by group, then simulation, window and trial, then neuron.

    Attributes
    ----------
    groups : the key columns, in the order of ``groupby``; G rows, sorted, without repetition
    neurons, trials : as in `SimulationReport`; of all simulations one after the other
    group, neuron, trial : (K,) group (non-decreasing), row of `neurons` and row of `trials` of each observation
    offsets : (K + 1,) rows ``offsets[k]:offsets[k + 1]`` of the report belong to observation k
    rows : ``time`` [ms] and, where the report has them, ``value`` and ``section``
    """

    groups: Columns
    neurons: Columns
    trials: Columns
    group: np.ndarray
    neuron: np.ndarray
    trial: np.ndarray
    offsets: np.ndarray
    rows: Columns
    n_groups: int

    @property
    def counts(self) -> np.ndarray:
        """(K,) number of report rows of each observation."""
        return np.diff(self.offsets)

    @property
    def row_observation(self) -> np.ndarray:
        """(R,) observation of each report row."""
        return np.repeat(np.arange(len(self.group)), self.counts)

    @property
    def group_offsets(self) -> np.ndarray:
        """(G + 1,) observations ``group_offsets[g]:group_offsets[g + 1]`` belong to group g."""
        return np.searchsorted(self.group, np.arange(self.n_groups + 1))

    def key(self, group: int) -> dict[str, Any]:
        """Return the key of one group as plain values."""
        return {name: values[group : group + 1].tolist()[0] for name, values in self.groups.items()}


@dataclass(frozen=True)
class FeatureRows:
    """One table that a vectorised feature function returns.

    Attributes
    ----------
    group : (n,) group of each row, non-decreasing
    index : further index columns, e.g. ``gid``; they come after the key columns
    values : the feature columns; numpy or pyarrow arrays (e.g. lists) of length n
    """

    group: np.ndarray
    index: Mapping[str, Any]
    values: Mapping[str, Any]


def observe(reports: Sequence[SimulationReport], groupby: Sequence[str]) -> Observations:
    """Sort the observations of some simulations into groups.

    Parameters
    ----------
    reports : one a simulation, each with the same columns
    groupby : key columns, each a column of neurons or of trials; none makes one group of everything

    Raises
    ------
    ValueError
        if a key column is neither of neurons nor of trials.
    """
    neurons, trials = _stacked([r.neurons for r in reports]), _stacked([r.trials for r in reports])
    neuron = np.concatenate([r.neuron + start for r, start in _starts(reports, "neurons", "gid")])
    trial = np.concatenate([r.trial + start for r, start in _starts(reports, "trials", "offset")])
    counts = np.concatenate([np.diff(r.offsets) for r in reports])
    rows = _stacked([r.rows for r in reports])
    group, groups, n_groups = _grouped(neurons, trials, neuron, trial, groupby)
    # the usual grouping is the order in which extraction stores a report: then nothing has to move
    place = (group * (trial.max(initial=0) + 1) + trial) * (neuron.max(initial=0) + 1) + neuron
    if len(place) and (np.diff(place) < 0).any():
        order = np.argsort(place, kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
        group, neuron, trial = group[order], neuron[order], trial[order]
        moved, counts = starts[order], counts[order]
        take = np.repeat(moved - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        rows = {name: values[take] for name, values in rows.items()}
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Observations(groups, neurons, trials, group, neuron, trial, offsets, rows, n_groups)


def _starts(
    reports: Sequence[SimulationReport], table: str, column: str
) -> list[tuple[SimulationReport, int]]:
    sizes = [len(getattr(report, table)[column]) for report in reports]
    return list(zip(reports, np.concatenate([[0], np.cumsum(sizes)])[:-1].tolist(), strict=True))


def _stacked(parts: Sequence[Columns]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _grouped(
    neurons: Columns, trials: Columns, neuron: np.ndarray, trial: np.ndarray, groupby: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
    """Return the group of each observation, the key columns and the number of groups."""
    group, size = np.zeros(len(neuron), dtype=np.int64), 1
    key_values = {}
    for name in groupby:
        if name in neurons:
            table, row = neurons[name], neuron
        elif name in trials:
            table, row = trials[name], trial
        else:
            known = sorted({*neurons, *trials})
            raise ValueError(f"groupby: {name!r} is not a column of neurons or windows ({', '.join(known)})")
        values, code = np.unique(table, return_inverse=True)
        if size * len(values) > MAX_CODE:
            used, group = np.unique(group, return_inverse=True)
            size = len(used)
        group = group * len(values) + code[row]
        size *= len(values)
        key_values[name] = (table, row)
    used, first, group = np.unique(group, return_index=True, return_inverse=True)
    groups = {name: table[row[first]] for name, (table, row) in key_values.items()}
    return group, groups, len(used)
