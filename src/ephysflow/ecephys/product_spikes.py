"""The product ``spikes``, and how other products read spikes: a few units at once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of
from ephysflow.ecephys.product_units import retained_units
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_spikes import Spikes, session_spikes
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.io.tables import column

UNITS_AT_ONCE = 32
"""Units whose spikes are in memory at once: some million spikes of a long session."""

SPIKE_SCHEMA = pa.schema(
    [
        column("unit_id", pa.int64()),
        column("time", pa.float64(), "s"),
        column("amplitude", pa.float64(), "V", "null where the file holds none"),
    ]
)


def spikes(
    session: SessionFile, filters: UnitFilters, channels: Path | None, report: Callable[[str, str], None]
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Return the spikes of the units that pass the filters, by unit and time; arguments as `product_units.units`."""
    unit_ids = retained_units(session, filters, channels)
    return SPIKE_SCHEMA, (_table(found) for found in spikes_in_pieces(session, unit_ids, report))


def spikes_in_pieces(
    session: SessionFile, unit_ids: np.ndarray, report: Callable[[str, str], None]
) -> Iterator[Spikes]:
    """Yield the spikes of `UNITS_AT_ONCE` units at a time, and report what had to be put right in them."""
    for first in range(0, len(unit_ids), UNITS_AT_ONCE):
        found = session_spikes(session, unit_ids[first : first + UNITS_AT_ONCE])
        for subject, reason in found.findings:
            report(subject, reason)
        yield found


def _table(found: Spikes) -> pa.Table:
    columns = [
        array_of(np.repeat(found.unit_ids, np.diff(found.offsets))),
        array_of(found.times),
        pa.nulls(len(found.times), pa.float64()) if found.amplitudes is None else array_of(found.amplitudes),
    ]
    return pa.Table.from_arrays(columns, schema=SPIKE_SCHEMA)
