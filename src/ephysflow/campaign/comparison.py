"""A model beside a recording: statistics of the columns of numbers of their feature tables, group by group.

A group is a neuron class, a window and a value of each further index column that is no id (a bin, an e-feature). All rows
of a group are pooled: what a row is, a neuron, a trial of a neuron or a class in a simulation, the table says; rows of all
simulations, or sessions, are in it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Group = tuple[str | None, str | None, str | None]
"""Neuron class, window, and further index columns as JSON; None where a table has no such column."""

LABELS = ("neuron_class", "window")
POOLED = (
    "simulation_id",
    "circuit_id",
    "gid",
    "other_gid",
    "neuron_class_index",
    "trial",
    "offset",
    "t_start",
    "t_stop",
    "t_step",
    "duration",
    "window_type",
)
"""Columns that tell rows of a group apart."""


@dataclass(frozen=True)
class Statistics:
    """Of one column in one group.

    Attributes
    ----------
    mean : NaN without values
    std : sample standard deviation (ddof 1); NaN with fewer than two values
    n : number of values, those left out that are not finite
    """

    mean: float
    std: float
    n: int


Summary = Mapping[Group, Mapping[str, Statistics]]
"""Group -> column -> its statistics, groups sorted."""


def summarise(columns: Mapping[str, np.ndarray], index: Iterable[str]) -> dict[Group, dict[str, Statistics]]:
    """Return the statistics of all columns of numbers of a feature table.

    Parameters
    ----------
    columns : name -> (N,) values; texts are objects or numpy texts, and columns that are no numbers are not summarised
    index : names of index columns
    """
    keys = [name for name in (*LABELS, *index) if name in columns and name not in POOLED]
    keys = list(dict.fromkeys(keys))
    size = len(next(iter(columns.values()))) if columns else 0
    group, members = _grouped([columns[name] for name in keys], size)
    shown = [{name: columns[name][row] for name in keys} for row in members]
    summary: dict[Group, dict[str, Statistics]] = {_group(key): {} for key in shown}
    for name, values in columns.items():
        if name in keys or name in POOLED or name in index or values.dtype.kind not in "iuf":
            continue
        found = _statistics(group, len(members), values.astype(np.float64))
        for key, statistics in zip(summary, found, strict=True):
            summary[key][name] = statistics
    return summary


def compared(
    model: Summary,
    recorded: Summary,
    neuron_classes: Mapping[str, str] | None = None,
    windows: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each group and column, those of the model first; what one side only has has nulls for the other.

    Parameters
    ----------
    model, recorded : of tables of one name
    neuron_classes, windows : label of the model -> label of the recording, the only ones that are compared; None for all,
        those with equal labels being one
    """
    back = [_backwards(neuron_classes), _backwards(windows)]
    pairs: dict[tuple[Group, Group], None] = {}
    for cell, window, item in model:
        for other in _other(cell, neuron_classes):
            for other_window in _other(window, windows):
                pairs[(cell, window, item), (other, other_window, item)] = None
    for cell, window, item in recorded:
        for other in _others(cell, back[0]):
            for other_window in _others(window, back[1]):
                pairs.setdefault(((other, other_window, item), (cell, window, item)))
    for ours, theirs in pairs:
        of_model, of_recording = model.get(ours, {}), recorded.get(theirs, {})
        for column in dict.fromkeys((*of_model, *of_recording)):
            yield {
                **dict(zip((*LABELS, "item"), ours, strict=True)),
                "recorded_neuron_class": theirs[0],
                "recorded_window": theirs[1],
                "column": column,
                **_beside(of_model.get(column), of_recording.get(column)),
            }


def _beside(model: Statistics | None, recorded: Statistics | None) -> dict[str, float | int | None]:
    row: dict[str, float | int | None] = {}
    for side, statistics in (("model", model), ("recorded", recorded)):
        if statistics is not None:
            row[f"{side}_mean"] = _finite(statistics.mean)
            row[f"{side}_std"] = _finite(statistics.std)
            row[f"{side}_n"] = statistics.n
    if model is not None and recorded is not None:
        difference = model.mean - recorded.mean
        row["difference"] = _finite(difference)
        row["difference_in_stds"] = _finite(difference / recorded.std) if recorded.std else None
    return row


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _other(label: str | None, labels: Mapping[str, str] | None) -> list[str | None]:
    """Return the label of the other side, if any; a table without the column has the label None on both sides."""
    if label is None or labels is None:
        return [label]
    return [labels[label]] if label in labels else []


def _others(label: str | None, labels: Mapping[str, Sequence[str]] | None) -> Sequence[str | None]:
    if label is None or labels is None:
        return [label]
    return labels.get(label, [])


def _backwards(labels: Mapping[str, str] | None) -> dict[str, list[str]] | None:
    if labels is None:
        return None
    found: dict[str, list[str]] = {}
    for ours, theirs in labels.items():
        found.setdefault(theirs, []).append(ours)
    return found


def _group(key: Mapping[str, Any]) -> Group:
    labels = [None if key.get(name) is None else str(key[name]) for name in LABELS]
    item = {name: _plain(value) for name, value in key.items() if name not in LABELS}
    return labels[0], labels[1], json.dumps(item) if item else None


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    # bin 0 of one side is bin 0.0 of the other
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _grouped(keys: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each row, groups being sorted by their keys, and a row of each group."""
    group = np.zeros(size, dtype=np.int64)
    for values in keys:
        if values.dtype == object:
            values = np.array(["" if value is None else str(value) for value in values])
        _, code = np.unique(values, return_inverse=True)
        _, group = np.unique(group * (code.max(initial=0) + 1) + code, return_inverse=True)
    _, first = np.unique(group, return_index=True)
    return group, first


def _statistics(group: np.ndarray, n_groups: int, values: np.ndarray) -> list[Statistics]:
    there = np.isfinite(values)
    group, values = group[there], values[there]
    n = np.bincount(group, minlength=n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(group, weights=values, minlength=n_groups) / n
        squares = np.bincount(group, weights=(values - mean[group]) ** 2, minlength=n_groups)
        std = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    return [Statistics(*row) for row in zip(mean.tolist(), std.tolist(), n.tolist(), strict=True)]
