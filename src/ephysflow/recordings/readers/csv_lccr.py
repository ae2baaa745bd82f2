"""Tab-separated text without a header: one column of voltages for each sweep, the current known from a list."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, demand, first_bytes, main_file, number, refusing
from ephysflow.recordings.readers.units import unit_factor
from ephysflow.recordings.sweep import RawSweep

_NEEDED = ("dt", "t_unit", "v_unit", "i_unit", "amplitudes", "ton", "toff", "hypamp")


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give one sweep a column, with the step current that the entry describes.

    The entry holds `dt`, `t_unit`, `v_unit`, `i_unit`, `amplitudes` (one a column, above `hypamp`), `ton`,
    `toff` [ms], `hypamp`, and may hold `remove_last_100ms`. Cells "-" or "" are missing samples.

    Raises
    ------
    RecordingError
        if the file is not such a table of numbers.
    """
    path = main_file(entry)
    first_bytes(path, 1)
    with refusing(f"{path.name}: not a table of tab-separated numbers"):
        import pyarrow as pa
        from pyarrow import csv

        count = path.open("rb").readline().count(b"\t") + 1
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(autogenerate_column_names=True),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                null_values=["-", ""],
                strings_can_be_null=True,
                column_types={f"f{k}": pa.float64() for k in range(count)},
            ),
        )
    columns = [column.to_numpy() for column in table.columns]
    amplitudes = list(entry.get("amplitudes") or [])
    found = [
        FoundSweep(f"column {k}", (), None, partial(_read, entry, values, amplitudes, k))
        for k, values in enumerate(columns)
    ]
    yield found + [
        FoundSweep(f"amplitude {amplitude}", (), None, partial(_no_column, k, len(columns)))
        for k, amplitude in enumerate(amplitudes)
        if k >= len(columns)
    ]


def _no_column(k: int, columns: int) -> RawSweep:
    raise RecordingError(f"amplitude number {k + 1} has no column: the file has {columns}")


def _read(entry: Mapping[str, Any], values: np.ndarray, amplitudes: list[Any], k: int) -> RawSweep:
    demand(entry, _NEEDED, "csv_lccr")
    if k >= len(amplitudes):
        raise RecordingError(f"column {k} has no amplitude: {len(amplitudes)} are given")
    given: dict[str, Any] = {key: number(entry, key) for key in ("dt", "hypamp", "ton", "toff")}
    dt, hypamp, ton, toff = given.values()
    amplitude = number({"amplitudes": amplitudes[k]}, "amplitudes")
    step = dt * unit_factor(entry["t_unit"], "time")
    if amplitude is None or step <= 0:
        raise RecordingError(f"needs a positive dt and a number for each of the amplitudes; dt is {dt:g}")
    if entry.get("remove_last_100ms"):
        values = values[: max(len(values) - int(100 / step), 0)]
    known = np.flatnonzero(~np.isnan(values))
    stop = int(known[-1]) + 1 if len(known) else 0
    if len(known) < stop or not stop:
        raise RecordingError(
            f"{stop - len(known) or len(values)} samples are missing before the end of the column"
        )
    current = np.full(stop, hypamp)
    current[int(ton / step) : int(toff / step)] = amplitude + hypamp
    cut = {"note": f"cut at sample {stop} of {len(values)}: no values after it"} if stop < len(values) else {}
    return RawSweep(
        voltage=values[:stop],
        current=current,
        dt=dt,
        sweep_id=f"column {k}",
        amplitudes={"amp": amplitude, "hypamp": hypamp},
        timing={"ton": ton, "toff": toff},
        details={"current": "made from amplitudes, ton and toff, not recorded", **cut},
    )
