"""Analysis metrics of units: responses to stimuli, as a warehouse or AllenSDK's cache gives them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.raw_tables import as_integers, check_ids, inferred, read_columns
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

UNIT = "ecephys_unit_id"
ON_SCREEN, P_VALUE = "on_screen_rf", "p_value_rf"

_UNIT_FIELD = column(UNIT, pa.int64(), text="unit")
_SHOWN_IDS = 5


def read_metrics(path: Path) -> pa.Table:
    """Read analysis metrics from a CSV of AllenSDK's cache, or from Parquet.

    A column of CSV has numbers or flags (True, False) where all its texts are; a list, as metrics may hold, stays
    text. The two metrics that the warehouse exchanges are in their places in both.

    Returns
    -------
    ``ecephys_unit_id`` first, then one column a metric; rows sorted by unit

    Raises
    ------
    ProjectError
        if the file is missing, empty, cut, an HTML page, a CSV header without rows or no table; if ``ecephys_unit_id`` is
        missing, or an id is no integer from 0 on, or repeats.
    """
    found = read_columns(path)
    if UNIT not in found.column_names:
        raise ProjectError(
            f"{path}: is no table of analysis metrics: column {UNIT} is missing (there is: "
            f"{', '.join(found.column_names)[:400]})"
        )
    if not found.num_rows and path.suffix != ".parquet":  # Parquet that was cut cannot be read
        raise ProjectError(f"{path}: has a header and no rows")
    ids = as_integers(found[UNIT], UNIT, path)
    check_ids(ids, UNIT, path)
    columns, fields = [ids], [_UNIT_FIELD]
    for name in found.column_names:
        if name != UNIT:
            columns.append(inferred(found[name]))
            fields.append(found.schema.field(name).with_type(columns[-1].type))
    return _sorted(pa.Table.from_arrays(columns, schema=pa.schema(fields)))


def with_exchanged_put_right(metrics: pa.Table) -> pa.Table:
    """Exchange ``on_screen_rf`` and ``p_value_rf`` where the source has exchanged them; see `exchange`."""
    exchanged, _ = exchange(metrics)
    if not exchanged:
        return metrics
    other = {ON_SCREEN: P_VALUE, P_VALUE: ON_SCREEN}
    return metrics.rename_columns([other.get(name, name) for name in metrics.column_names]).select(
        metrics.column_names
    )


def exchange(metrics: pa.Table) -> tuple[bool, str]:
    """Tell whether ``on_screen_rf`` (a flag) and ``p_value_rf`` (0 to 1) stand in each other's place.

    They do when all values of ``p_value_rf`` are True or False, and those of ``on_screen_rf`` are numbers that are
    not all 0 or 1. All values count, not the first one alone, which may be missing.

    Returns
    -------
    whether they do
    why it cannot be told: neither that nor the right way round; empty when it can, or a column is missing or has no
    value
    """
    if not {ON_SCREEN, P_VALUE} <= set(metrics.column_names):
        return False, ""
    flag, number = _kind(metrics[ON_SCREEN]), _kind(metrics[P_VALUE])
    if "nothing" in (flag, number) or (flag in _MAY_BE_FLAGS and number in _MAY_BE_NUMBERS):
        return False, ""
    if flag == "numbers" and number == "flags":
        return True, ""
    return False, (
        f"{ON_SCREEN} holds {flag} and {P_VALUE} {number}: it cannot be told whether they are exchanged; they are left "
        "as they are"
    )


def annotate_metrics(metrics: pa.Table, units: pa.Table) -> pa.Table:
    """Join metrics with their units.

    Parameters
    ----------
    metrics : with ``ecephys_unit_id``
    units : filtered or not, with ``id``; their filters decide which metrics stay

    Returns
    -------
    ``ecephys_unit_id``, the columns of units, then the metrics, for the units that have both, sorted by unit; a metric
    with the name of a column of units gets the suffix ``_metrics``
    """
    units = _sorted(units, "id")
    metrics = _sorted(metrics)
    ids, theirs = values_of(units["id"]), values_of(metrics[UNIT])
    common, of_units, of_metrics = np.intersect1d(ids, theirs, assume_unique=True, return_indices=True)
    columns, fields = [array_of(common)], [_UNIT_FIELD]
    for table, rows, key in ((units, of_units, "id"), (metrics, of_metrics, UNIT)):
        for field in table.schema:
            if field.name != key:
                columns.append(table[field.name].combine_chunks().take(array_of(rows)))
                taken = table is metrics and field.name in units.column_names
                fields.append(field.with_name(f"{field.name}_metrics") if taken else field)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def unknown_units(metrics: pa.Table, units: pa.Table) -> str:
    """Tell which units have metrics without being in the table of units: a sign that it was cut.

    Parameters
    ----------
    metrics : with ``ecephys_unit_id``
    units : the raw table, before any filter

    Returns
    -------
    a finding; empty when all units are known
    """
    ids = values_of(metrics[UNIT])
    unknown = ids[~np.isin(ids, values_of(units["id"]))]
    if not unknown.size:
        return ""
    shown = ", ".join(map(str, unknown[:_SHOWN_IDS])) + (", ..." if unknown.size > _SHOWN_IDS else "")
    return (
        f"{unknown.size} of {ids.size} units with analysis metrics are not in the table of units (id {shown}): is it "
        "whole?"
    )


_MAY_BE_FLAGS = ("flags", "only 0 and 1")
_MAY_BE_NUMBERS = ("numbers", "only 0 and 1")


def _kind(values: pa.ChunkedArray) -> str:
    """Return what a column holds, null and NaN aside."""
    present = values.drop_null()
    if pa.types.is_boolean(present.type) and len(present):
        return "flags"
    if pa.types.is_integer(present.type) or pa.types.is_floating(present.type):
        numbers = values_of(present.cast(pa.float64()))
        numbers = numbers[~np.isnan(numbers)]
        if numbers.size:
            return "only 0 and 1" if np.isin(numbers, (0, 1)).all() else "numbers"
    elif len(present):
        texts = pa.types.is_string(present.type)
        flags = texts and set(present.unique().to_pylist()) <= {"True", "False", "true", "false"}
        return "flags" if flags else "texts"
    return "nothing"


def _sorted(table: pa.Table, name: str = UNIT) -> pa.Table:
    ids = values_of(table[name])
    if np.all(ids[1:] > ids[:-1]):
        return table
    return table.take(array_of(np.argsort(ids, kind="stable")))
