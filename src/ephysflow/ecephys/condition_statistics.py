"""Statistics of the spikes of each unit over the presentations of each condition."""

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.conditions import integers
from ephysflow.ecephys.spike_counts import unit_id_type, unit_trains
from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import column


def condition_statistics(
    times: np.ndarray,
    offsets: np.ndarray,
    unit_ids: np.ndarray,
    presentations: pa.Table,
    use_rates: bool = False,
) -> pa.Table:
    """Return mean and spread of the spikes of a presentation, for each unit and condition.

    Spikes count in [start, stop) of each presentation.

    Parameters
    ----------
    times : (n,) spike times, rising in each unit (s)
    offsets : (U + 1,) bounds of the units in `times`
    unit_ids : (U,) integers or text
    presentations : any rows of `presentations.read_presentations`; those without a condition (invalid ones) are left out
    use_rates : mean and spread of spikes per second of each presentation instead of spikes

    Returns
    -------
    one row for each unit and condition, in the order of `unit_ids`, then of the conditions' ids; silent units too:

    - unit_id, stimulus_condition_id
    - spike_count : spikes in all presentations together, also with `use_rates`
    - stimulus_presentation_count
    - spike_mean, spike_std (divisor n - 1), spike_sem (std / sqrt n): over the presentations; std and sem are null for
      one presentation

    Raises
    ------
    ConfigurationError
        if `use_rates` is wanted and a presentation lasts no time, or spikes of a unit are not sorted.
    """
    conditions, known = integers(presentations, "stimulus_condition_id")
    starts, stops = (presentations.column(name).to_numpy()[known] for name in ("start_time", "stop_time"))
    durations = stops - starts
    if use_rates and (durations <= 0).any():
        number = presentations.column("stimulus_presentation_id").to_numpy()[known][np.argmax(durations <= 0)]
        raise ConfigurationError(f"presentation {number} lasts no time: use_rates needs a duration")
    found, condition, repeats = np.unique(conditions[known], return_inverse=True, return_counts=True)
    condition = condition.ravel()
    trains = unit_trains(times, offsets)
    total = np.zeros((len(trains), len(found)), dtype=np.int64)
    mean, squares = np.zeros(total.shape), np.zeros(total.shape)
    for unit, train in enumerate(trains):
        counts = np.searchsorted(train, stops) - np.searchsorted(train, starts)
        values = counts / durations if use_rates else counts.astype(float)
        total[unit] = np.bincount(condition, counts, len(found))
        mean[unit] = np.bincount(condition, values, len(found)) / repeats
        # deviations from the mean, not mean of squares: no cancellation
        squares[unit] = np.bincount(condition, (values - mean[unit][condition]) ** 2, len(found))
    single = np.broadcast_to(repeats < 2, total.shape).ravel()
    std = np.sqrt(squares / np.maximum(repeats - 1, 1))
    ids = np.repeat(np.asarray(unit_ids), len(found))
    columns = (
        ids,
        np.tile(found, len(trains)),
        total.ravel(),
        np.tile(repeats, len(trains)),
        mean.ravel(),
        std.ravel(),
        (std / np.sqrt(repeats)).ravel(),
    )
    schema = statistics_schema(use_rates, unit_id_type(ids))
    arrays = [
        pa.array(values, type=field.type, mask=single if field.name in ("spike_std", "spike_sem") else None)
        for field, values in zip(schema, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def statistics_schema(use_rates: bool, unit_type: pa.DataType) -> pa.Schema:
    """Return the columns of `condition_statistics`; `unit_type` is the type of unit ids."""
    unit, of = ("1/s", "spikes per second") if use_rates else ("", "spikes per presentation")
    return pa.schema(
        [
            column("unit_id", unit_type),
            column("stimulus_condition_id", pa.int64()),
            column("spike_count", pa.int64(), "", "in all presentations together"),
            column("stimulus_presentation_count", pa.int64()),
            column("spike_mean", pa.float64(), unit, of),
            column("spike_std", pa.float64(), unit, "divisor n - 1; null for one presentation"),
            column("spike_sem", pa.float64(), unit, "std / sqrt(n); null for one presentation"),
        ]
    )
