"""Conditions of stimuli: which presentations show the same set of parameters, and which parameters there are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import column

FIXED_COLUMNS = (
    "stimulus_presentation_id",
    "stimulus_block",
    "stimulus_name",
    "start_time",
    "stop_time",
    "duration",
    "stimulus_condition_id",
)
"""Columns that every table of presentations has, in this order before its own ones."""

COUNTERS = frozenset(
    (
        "start_frame",
        "stop_frame",
        "end_frame",
        "trials_id",
        "flashes_since_change",
        "movie_repeat_index",
        "repeat",
    )
)
"""Own columns (Visual Behavior, Visual Coding of two photons) that say when something is shown and not what: they differ
from presentation to presentation and are no parameters of a condition."""


def condition_ids(columns: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Number sets of parameters in the order of their first appearance.

    Parameters
    ----------
    columns : (P,) values (numbers, bool or text) and (P,) mask of those that are missing, for each parameter
    count : P

    Returns
    -------
    (P,) int64 ids from 0; equal where all parameters are equal (missing equals missing)
    """
    keys = np.zeros(count, dtype=np.int64)
    for values, missing in columns:
        codes = np.zeros(count, dtype=np.int64)
        codes[~missing] = _codes(values[~missing]) + 1
        # dense again after each column, so that the product cannot overflow
        keys = np.unique(keys * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1].ravel()
    _, first, ids = np.unique(keys, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[ids.ravel()]


def _codes(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return np.unique(values, return_inverse=True)[1].ravel()
    known: dict[Any, int] = {}
    return np.fromiter((known.setdefault(value, len(known)) for value in values), np.int64, len(values))


def parameter_columns(presentations: pa.Table) -> list[str]:
    """Return the names of the columns that hold parameters of stimuli, `COUNTERS` left out."""
    return [name for name in presentations.column_names if name not in FIXED_COLUMNS and name not in COUNTERS]


def stimulus_conditions(presentations: pa.Table) -> pa.Table:
    """Return one row for each condition.

    Parameters
    ----------
    presentations : as `presentations.read_presentations` gives them

    Returns
    -------
    stimulus_condition_id, stimulus_name and the parameters, sorted by id. A condition all of whose presentations are
    invalid is not among them (its parameters are not known), and its id is left out.
    """
    ids, known = integers(presentations, "stimulus_condition_id")
    found, first = np.unique(ids[known], return_index=True)
    rows = pa.array(np.flatnonzero(known)[first])
    chosen = presentations.select(["stimulus_name", *parameter_columns(presentations)]).take(rows)
    identity = column("stimulus_condition_id", pa.int64())
    return chosen.add_column(0, identity, pa.array(found, type=pa.int64()))


def parameter_values(
    presentations: pa.Table, names: str | Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return which values each parameter takes.

    Parameters
    ----------
    presentations : as `presentations.read_presentations` gives them
    names : stimuli to regard; None for all

    Returns
    -------
    parameter -> its distinct values in rising order; a parameter that does not apply is left out

    Raises
    ------
    ConfigurationError
        if there is no stimulus of that name.
    """
    chosen = presentations if names is None else stimulus_table(presentations, names)
    values = {name: set(chosen.column(name).drop_null().to_pylist()) for name in parameter_columns(chosen)}
    return {name: sorted(found) for name, found in values.items() if found}


def stimulus_table(presentations: pa.Table, names: str | Sequence[str]) -> pa.Table:
    """Return the presentations of some stimuli, with the columns that apply to them.

    Parameters
    ----------
    presentations : as `presentations.read_presentations` gives them
    names : one or several values of ``stimulus_name``

    Returns
    -------
    the rows in their order; of the columns after `FIXED_COLUMNS` those that have a value in one of the rows

    Raises
    ------
    ConfigurationError
        if there is no stimulus of that name.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    there = np.asarray(presentations.column("stimulus_name").to_pylist(), dtype=object)
    if unknown := [name for name in wanted if name not in set(there)]:
        raise ConfigurationError(
            f"stimulus {', '.join(map(repr, unknown))} is not among the presentations; known are: "
            f"{', '.join(sorted(set(there))) or 'none'}"
        )
    if not wanted:
        raise ConfigurationError("no stimulus is named; at least one value of stimulus_name is needed")
    chosen = presentations.filter(pa.array(np.isin(there.astype(str), wanted)))
    return chosen.select(
        [
            name
            for name, values in zip(chosen.column_names, chosen.columns, strict=True)
            if name in FIXED_COLUMNS or values.null_count < len(values)
        ]
    )


def integers(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of integers that may be null: (N,) int64, 0 where null, and (N,) mask of those that are known."""
    values = table.column(name).combine_chunks()
    known = values.is_valid().to_numpy(zero_copy_only=False)
    return values.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), known
