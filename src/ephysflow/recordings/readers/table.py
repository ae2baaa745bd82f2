"""Tables with a header (.csv, .tsv, .parquet): columns of time, voltage and current, one or many sweeps."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import (
    FoundSweep,
    first_bytes,
    main_file,
    number,
    refusing,
    regular_step,
)
from ephysflow.recordings.readers.units import quantity_of
from ephysflow.recordings.sweep import RawSweep

_MEANINGS = {
    "t": "time",
    "time": "time",
    "v": "voltage",
    "voltage": "voltage",
    "i": "current",
    "current": "current",
    "sweep": "sweep",
    "protocol": "protocol",
}


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give the sweeps of a table with the columns voltage, current and, where it has them, time, sweep, protocol.

    Short names are `v`, `i`, `t`; a unit may follow as `voltage [mV]`, `voltage (mV)` or `voltage_mV`. Without
    a time column the entry holds `dt`.

    Raises
    ------
    RecordingError
        if the file cannot be read as a table, or a column is missing, double or not of numbers.
    """
    path = main_file(entry)
    table = _load(path)
    columns, units = _understand(table.column_names)
    import pyarrow as pa

    with refusing(f"{path.name}: the columns voltage, current and time must hold numbers"):
        values: dict[str, np.ndarray] = {
            key: table[columns[key]].cast(pa.float64()).to_numpy()
            for key in ("time", "voltage", "current")
            if key in columns
        }
    keys = [key for key in ("sweep", "protocol") if key in columns]
    groups: list[tuple[dict[str, Any], np.ndarray]] = [({}, np.arange(table.num_rows))]
    if keys:
        labelled = table.select([columns[key] for key in keys]).rename_columns(keys)
        labelled = labelled.append_column("row", pa.array(np.arange(table.num_rows)))
        grouped = labelled.group_by(keys, use_threads=False).aggregate([("row", "list")])
        groups = [(group, np.asarray(group.pop("row_list"))) for group in grouped.to_pylist()]
    found = []
    for label, rows in groups:
        protocol = None if label.get("protocol") is None else str(label["protocol"])
        sweep_id = "" if label.get("sweep") is None else str(label["sweep"])
        read = partial(_read, entry, values, units, rows, sweep_id, protocol)
        found.append(FoundSweep(sweep_id, (protocol,) if protocol else (), None, read))
    yield found


def _load(path: Path) -> Any:
    head = first_bytes(path, 1 << 16)
    with refusing(f"{path.name}: cannot be read as a table"):
        if head[:4] == b"PAR1" or path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            return parquet.read_table(path)
        from pyarrow import csv

        header = head.splitlines()[0]
        delimiter = max(b"\t,;", key=header.count)
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=chr(delimiter)))


def _understand(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return meaning -> column name, and meaning -> unit for the columns whose names hold one."""
    columns: dict[str, str] = {}
    units: dict[str, str] = {}
    for name in names:
        match = re.fullmatch(r"\s*([A-Za-z]+)\s*(?:[\[(]\s*(.*?)\s*[\])]|_(\w+))?\s*", name)
        meaning = _MEANINGS.get(match[1].lower()) if match else None
        if not match or not meaning:
            continue
        unit = match[2] or match[3]
        if match[3] and quantity_of(unit) != meaning:
            continue  # such as voltage_command: another thing with a name of its own
        if meaning in columns:
            raise RecordingError(f"two columns of {meaning}: {columns[meaning]!r} and {name!r}")
        columns[meaning] = name
        if unit:
            units[meaning] = unit
    missing = [key for key in ("voltage", "current") if key not in columns]
    if missing:
        raise RecordingError(f"no column of {' or '.join(missing)}; the header has: {', '.join(names)}")
    return columns, units


def _read(
    entry: Mapping[str, Any],
    values: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    rows: np.ndarray,
    sweep_id: str,
    protocol: str | None,
) -> RawSweep:
    dt = number(entry, "dt")
    if dt is None:
        if "time" not in values:
            raise RecordingError("no column of time and no dt in the entry")
        dt = regular_step(values["time"][rows])
    return RawSweep(
        voltage=values["voltage"][rows],
        current=values["current"][rows],
        dt=dt,
        v_unit=units.get("voltage"),
        i_unit=units.get("current"),
        t_unit=units.get("time"),
        sweep_id=sweep_id,
        protocol=protocol,
    )
