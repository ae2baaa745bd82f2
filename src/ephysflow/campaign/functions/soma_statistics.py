"""Mean and standard deviation of a reported variable (membrane potential) by neuron class and window."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ephysflow.campaign.observations import Columns, FeatureRows, Observations

ROWS_AT_ONCE = 1_000_000
"""Report rows that are taken to float64 in one step, so that memory does not grow with the report."""


def soma_statistics(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Describe the reported values of every neuron class and window of a group.

    All neurons, trials and times are pooled; NaN values are left out. BlueETL 0.13.4 gives the same table
    (``blueetl.external.soma``), for groups by simulation and circuit only.

    Parameters
    ----------
    observations : of a soma or compartment report; ``value`` in the report's unit
    params : none are read

    Returns
    -------
    dict
        ``by_neuron_class``: ``mean`` and ``std`` (ddof 1, NaN below two values) of each group, ``neuron_class`` and
        ``window``. Sums run in float64; the results have the report's precision (float32 in SONATA), as in BlueETL,
        where the sum is rounded to it before it is divided.
    """
    class_names, class_code = np.unique(observations.neurons["neuron_class"], return_inverse=True)
    window_names, window_code = np.unique(observations.trials["window"], return_inverse=True)
    code = (observations.group * len(class_names) + class_code[observations.neuron]) * len(window_names)
    used, cell = np.unique(code + window_code[observations.trial], return_inverse=True)
    mean, std = _moments(observations.rows["value"], observations.offsets, cell, len(used))
    group, column = np.divmod(used, len(class_names) * len(window_names) or 1)
    index: Columns = {
        "neuron_class": class_names[column // len(window_names)] if len(used) else class_names[:0],
        "window": window_names[column % len(window_names)] if len(used) else window_names[:0],
    }
    index = {name: values for name, values in index.items() if name not in observations.groups}
    return {"by_neuron_class": FeatureRows(group, index, {"mean": mean, "std": std})}


def _moments(
    values: np.ndarray, offsets: np.ndarray, cell: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the values of each cell, in the precision of the values."""
    precision = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    number, sums = _summed(values, offsets, cell, n_cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        _, squares = _summed(values, offsets, cell, n_cells, centre=sums / number)
        std = np.sqrt(np.where(number > 1, squares / (number - 1), np.nan))
        return sums.astype(precision) / number.astype(precision), std.astype(precision)


def _summed(
    values: np.ndarray,
    offsets: np.ndarray,
    cell: np.ndarray,
    n_cells: int,
    centre: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each cell, the number of values and their sum, or that of their squared distances to its centre."""
    number, sums = np.zeros((2, n_cells))
    edges = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1], ROWS_AT_ONCE)))
    for start, stop in pairwise([*edges.tolist(), len(cell)]):
        rows = values[offsets[start] : offsets[stop]].astype(np.float64)
        if centre is not None:
            rows = (rows - np.repeat(centre[cell[start:stop]], np.diff(offsets[start : stop + 1]))) ** 2
        missing = np.isnan(rows)
        rows[missing] = 0.0
        filled = start + np.flatnonzero(np.diff(offsets[start : stop + 1]))
        begins = offsets[filled] - offsets[start]
        # rows of an observation first, then the observations of a cell
        number += np.bincount(cell[filled], np.add.reduceat(~missing, begins, dtype=np.float64), n_cells)
        sums += np.bincount(cell[filled], np.add.reduceat(rows, begins), n_cells)
    return number, sums
