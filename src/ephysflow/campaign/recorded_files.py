"""What a campaign reads of a recorded session's products. Their times are in seconds; from here on they are in ms."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ephysflow.errors import SimulationError
from ephysflow.io.tables import read_table

MS = 1000.0
"""Milliseconds in a second."""
PRESENTATION = "stimulus_presentation_id"
LEFT_OUT_KEY = b"left_out"
"""In the metadata of a product that holds nothing, with the reason; `ephysflow.ecephys.products_step` writes it."""


@dataclass(frozen=True)
class Intervals:
    """Rows of a table of intervals.

    Attributes
    ----------
    name : of the table
    table : all columns, as in the product
    start, stop : (N,) [ms]; NaN where the table has none
    ids : (N,) what a row is known by: its stimulus_presentation_id, else its place in the table
    """

    name: str
    table: pa.Table
    start: np.ndarray
    stop: np.ndarray
    ids: np.ndarray


def read_units(path: Path) -> pa.Table:
    """Read the units of a session, sorted by ``unit_id``.

    Raises
    ------
    SimulationError
        if the session has none, or a unit is there twice.
    """
    table = _with_rows(path, "units")
    ids = table["unit_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    if len(twice := np.flatnonzero(np.diff(ids[order]) == 0)):
        raise SimulationError(f"{path}: unit {ids[order][twice[0]]} is there twice")
    return table.take(pa.array(order))


def read_spikes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the spikes of a session: (n,) unit id and (n,) time [ms].

    Raises
    ------
    SimulationError
        if the session has none.
    """
    table = _with_rows(path, "spikes", ["unit_id", "time"])
    return table["unit_id"].to_numpy(), table["time"].to_numpy() * MS


def read_intervals(path: Path, name: str) -> Intervals:
    """Read a table of intervals, which may have no rows.

    Raises
    ------
    SimulationError
        if the session's product says why it holds nothing.
    """
    table = read_table(path)
    if (reason := _left_out(table)) is not None:
        raise SimulationError(f"{path}: {reason}")
    start, stop = (numbers(table[key]).astype(np.float64) * MS for key in ("start_time", "stop_time"))
    ids = table[PRESENTATION].to_numpy() if PRESENTATION in table.column_names else np.arange(len(start))
    return Intervals(name, table, start, stop, ids.astype(np.int64))


def queried_columns(table: pa.Table, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return some columns as a query needs them: numbers, truth values or objects; unknown names are left out."""
    return {name: numbers(table[name]) for name in names if name in table.column_names}


def numbers(values: pa.ChunkedArray) -> np.ndarray:
    """Return a column as numbers (null becomes NaN) or truth values (objects, where some are null), or as objects."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return values.to_numpy()
    objects = np.empty(len(values), dtype=object)
    objects[:] = values.to_pylist()
    return objects


def _with_rows(path: Path, what: str, columns: list[str] | None = None) -> pa.Table:
    table = read_table(path, columns)
    if not table.num_rows:
        raise SimulationError(f"{path}: {_left_out(table) or f'the session has no {what}'}")
    return table


def _left_out(table: pa.Table) -> str | None:
    """Return why a product holds nothing; None where it holds what the session has."""
    found = (table.schema.metadata or {}).get(LEFT_OUT_KEY)
    return None if found is None else found.decode()
