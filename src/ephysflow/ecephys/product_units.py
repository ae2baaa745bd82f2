"""The product ``units``, and which units the other products are made of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.analysis_metrics import read_metrics
from ephysflow.ecephys.columns import values_of
from ephysflow.ecephys.product_channels import project_channels
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_units import session_units
from ephysflow.ecephys.unit_filters import UnitFilters


def units(
    session: SessionFile,
    filters: UnitFilters,
    channels: Path | None,
    metrics: Path | None,
    report: Callable[[str, str], None],
) -> pa.Table:
    """Return the units of a session that pass the filters, and print how many each of them removed.

    Parameters
    ----------
    session : the open file
    filters : which units are kept
    channels : channels table of the project, where it has one
    metrics : analysis metrics of the session's units, where there are any
    report : told, as subject and reason, of filters that could not be applied and of units without their channel
    """
    table, records = session_units(
        session,
        filters,
        project_channels(channels),
        None if metrics is None else read_metrics(metrics),
    )
    for record in records:
        removed = f"{record.removed} of {record.units_before} units removed"
        print(f"{record.filter} {record.limit}: {removed}")
        if record.note:
            report(record.filter, f"{removed}: {record.note}" if record.removed else record.note)
    return table


def retained_units(session: SessionFile, filters: UnitFilters, channels: Path | None) -> np.ndarray:
    """Return (U,) ids of the units of a session that pass the filters, ascending; arguments as `units`."""
    table, _ = session_units(session, filters, project_channels(channels))
    return values_of(table["unit_id"])
