"""Spikes of whole sweeps, as eFEL finds them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.efeatures.efel_engine import EfelTrace, feature_values, trace_of_row
from ephysflow.errors import RecordingError


def spike_times(
    rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> list[np.ndarray | RecordingError]:
    """Find the spike times of sweeps.

    Parameters
    ----------
    rows : sweep rows
    settings : eFEL settings on top of ``strict_stiminterval`` true; without ``Threshold``, the sweep's own
        `auto_threshold` is used

    Returns
    -------
    One entry per row: times of the peaks [ms], empty for a silent sweep, or the error that explains why the
    spikes of this sweep cannot be told.
    """
    settings = {"strict_stiminterval": True, **settings}
    found: list[np.ndarray | RecordingError] = []
    traces: list[EfelTrace] = []
    for row in rows:
        try:
            traces.append(trace_of_row(row, settings))
            found.append(np.empty(0))
        except RecordingError as error:
            found.append(error)
    values = iter(feature_values(traces, ["peak_time"], settings))
    for i, entry in enumerate(found):
        if isinstance(entry, np.ndarray):
            peaks = next(values)["peak_time"]
            # eFEL has None for "no spike": a silent sweep is a result, not a gap.
            found[i] = np.empty(0) if peaks is None else peaks
    return found


def evoked_count(times: np.ndarray, start: float, end: float) -> int:
    """Count the spikes [ms] from `start` to `end`, both included: not the spontaneous and rebound ones."""
    return int(np.count_nonzero((times >= start) & (times <= end)))
