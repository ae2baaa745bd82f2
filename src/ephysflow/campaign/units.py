"""The units of each class of a recorded session: query, listed ids and limit, in this order, as for neurons."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow.campaign.neurons import select_neurons
from ephysflow.campaign.recorded_files import numbers

POPULATION = "units"
"""What takes the place of a population's name."""


class Units:
    """The units of one session as nodes: node i is the unit of row i.

    Parameters
    ----------
    table : column ``unit_id`` (int64), by which rows are sorted, and any others
    """

    name = POPULATION

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.ids = table["unit_id"].to_numpy()
        self.size = len(self.ids)
        self.property_names: Sequence[str] = table.column_names

    def property(self, name: str) -> np.ndarray:
        """Return one column."""
        return numbers(self._table[name])


def select_units(
    classes: Mapping[str, Mapping[str, Any]], units: Units, sampling: str, seed: int
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], list[tuple[str, str]]]:
    """Choose the units of every class, as `select_neurons` chooses neurons; a gid is a unit id.

    Parameters
    ----------
    classes : label -> ``query, limit, node_id`` (unit ids), in the order of the file
    units : of the session
    sampling, seed : as for neurons

    Returns
    -------
    neurons, summaries, findings : as for neurons; ids that are listed and not there are of no unit of this session

    Raises
    ------
    SimulationError
        if a query names a column that the units do not have.
    ConfigurationError
        if a query compares what has no order.
    """
    by_row = {}
    findings = []
    for label, choice in classes.items():
        listed = choice.get("node_id")
        if listed is None:
            by_row[label] = choice
            continue
        wanted = np.asarray(listed, dtype=np.int64)
        rows = np.flatnonzero(np.isin(units.ids, wanted))
        by_row[label] = {**choice, "node_id": rows.tolist()}
        if unknown := [i for i in dict.fromkeys(listed) if i not in set(units.ids[rows].tolist())]:
            reason = f"node_id: {len(unknown)} of {len(listed)} are no units of this session, the first is {unknown[0]}"
            findings.append((f"neuron class {label}", reason))
    neurons, summaries, found = select_neurons(by_row, lambda _: units, _no_node_set, sampling, seed)
    for summary in summaries:
        listed = classes[summary["neuron_class"]].get("node_id")
        summary["gids"] = None if listed is None else json.dumps(listed)
    return {**neurons, "gid": units.ids[neurons["gid"]]}, summaries, [*findings, *found]


def _no_node_set(population: Any, name: str, file: str | None) -> np.ndarray:
    raise AssertionError(f"node set {name!r}: units have none, and configurations that name one are refused")
