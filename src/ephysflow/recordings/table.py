"""The sweep table of one cell: one row a sweep, with its stimulus, its quality and its traces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow.errors import ResultError
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import column, open_table, read_table, write_table

TRACES = ("voltage", "current")

_TEXT, _NUMBER, _INTEGER, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_NUMBERS = pa.list_(pa.float64())

COLUMNS = (
    column("cell", _TEXT),
    column("protocol", _TEXT),
    column("ecode", _TEXT, text="stimulus class, or the dotted path of the user's own"),
    column("matched_by", _TEXT, text="the parameter that a target's amplitude is compared with"),
    column("sweep", _INTEGER, text="number within cell and protocol, in the order of the files"),
    column("files", pa.list_(pa.string()), text="the files that it was read from"),
    column("sweep_id", _TEXT, text="how the file names the sweep"),
    column("repetition", _INTEGER),
    column("reader", _TEXT),
    column("dt", _NUMBER, "ms", "sampling interval"),
    column("n_samples", _INTEGER),
    *(
        column(name, _NUMBER, "ms")
        for name in ("ton", "tmid", "tmid2", "t1", "t2", "t3", "t4", "toff", "tend")
    ),
    column("response_start", _NUMBER, "ms", "start of the stretch in which features look for the response"),
    column("response_end", _NUMBER, "ms", "end of that stretch"),
    column("amp", _NUMBER, "nA", "amplitude relative to hypamp"),
    column("amp2", _NUMBER, "nA", "second amplitude relative to hypamp"),
    column("hypamp", _NUMBER, "nA", "holding current"),
    column("tspike", _NUMBERS, "ms", "starts of the pulses of SpikeRec"),
    column("n_spikes", _INTEGER, text="number of pulses of SpikeRec"),
    column("spike_duration", _NUMBER, "ms", "length of the pulses of SpikeRec"),
    column("delta", _NUMBER, "ms", "gap between the pulses of SpikeRec"),
    column("chirp_frequency_base", _NUMBER, "Hz"),
    column("chirp_frequency_scale", _NUMBER, "Hz s"),
    column("chirp_frequency_denominator", _NUMBER, "s"),
    column("chirp_time_offset", _NUMBER, "s"),
    column("waveform", _NUMBERS, text="stimulus divided by amp (PinkNoise, CapCheck)"),
    column("timing_source", _TEXT, text="given, stated, detected, inherited or default"),
    column("timing_confidence", _NUMBER, text="0 (a guess) to 1 (given or beyond doubt)"),
    column("timing_reason", _TEXT, text="why the confidence is not 1; empty when nothing is to be said"),
    column("auto_threshold", _NUMBER, "mV", "spike threshold from the trace, for when none is set"),
    column("noise_rms_pre", _NUMBER, "mV", "rms of the voltage before the stimulus"),
    column("noise_rms_post", _NUMBER, "mV", "rms of the voltage at the end"),
    column("slow_noise", _NUMBER, "mV", "rms of the voltage over a long stretch before the stimulus"),
    column("vm_pre", _NUMBER, "mV", "median voltage before the stimulus"),
    column("vm_post", _NUMBER, "mV", "median voltage at the end"),
    column("vm_drift", _NUMBER, "mV", "vm_post less vm_pre"),
    column("current_noise_rms", _NUMBER, "nA"),
    column("holding_current", _NUMBER, "nA"),
    column("saturated", _FLAG, text="the trace is clipped at an extreme value"),
    column("early_end", _FLAG, text="the recording ends before the stimulus does"),
    column("nan_count", _INTEGER, text="samples that were not numbers at the end and were cut"),
    column("qc_passed", _FLAG, text="within all quality limits in force"),
    column("qc_reasons", _TEXT, text="limits that were missed"),
    column("v_corr", _NUMBER, "mV", "start of the voltage was set to this value"),
    column("ljp", _NUMBER, "mV", "liquid junction potential that was subtracted"),
    column("lowpass", _NUMBER, "Hz", "cut-off of the low-pass filter that was applied"),
    column("series_resistance", _NUMBER, "MOhm", "series resistance that was corrected for"),
    column("note", _TEXT, text="what the reader put right, e.g. exchanged channels"),
)
EXCLUSION_SCHEMA = pa.schema(
    [
        column("cell", _TEXT),
        column("protocol", _TEXT),
        column("file", _TEXT),
        column("sweep", _TEXT, text="how the file names the sweep; empty for the whole file"),
        column("stage", _TEXT),
        column("reason", _TEXT),
    ]
)


def sweep_schema(precision: np.dtype | type = np.float32) -> pa.Schema:
    """Return the schema of a sweep table whose traces are stored in `precision` (float32 or float64)."""
    trace = pa.list_(pa.from_numpy_dtype(np.dtype(precision)))
    return pa.schema([*COLUMNS, column("voltage", trace, "mV"), column("current", trace, "nA")])


def write_sweeps(path: Path, rows: Sequence[Mapping[str, Any]], provenance: Provenance) -> None:
    """Write the sweep table of a cell, one row group a protocol so that one can be read without the others.

    Parameters
    ----------
    path : where
    rows : sweep rows, those of a protocol together
    provenance : stored in the file
    """
    double = any(row[trace].dtype == np.float64 for row in rows for trace in TRACES)
    protocols = [row["protocol"] for row in rows]
    groups = [protocols.count(protocol) for protocol in dict.fromkeys(protocols)]
    write_table(path, rows, sweep_schema(np.float64 if double else np.float32), provenance, groups or None)


def read_sweeps(
    path: Path, protocols: Sequence[str] | None = None, traces: bool = True
) -> list[dict[str, Any]]:
    """Read sweep rows.

    Parameters
    ----------
    path : a sweep table
    protocols : only these; all when None
    traces : with the arrays ``voltage`` [mV] and ``current`` [nA], or without

    Raises
    ------
    ResultError
        if the table is missing, damaged, or not a sweep table.
    """
    with open_table(path) as opened:
        missing = set(sweep_schema().names) - set(opened.schema_arrow.names)
        if missing:
            raise ResultError(f"{path}: is not a sweep table: no column {', '.join(sorted(missing))}")
        columns = [name for name in opened.schema_arrow.names if traces or name not in TRACES]
        rows: list[dict[str, Any]] = []
        try:
            for group in range(opened.num_row_groups):
                if opened.metadata.num_rows == 0:
                    break
                protocol = opened.read_row_group(group, columns=["protocol"])["protocol"][0].as_py()
                if protocols is not None and protocol not in protocols:
                    continue
                rows += _rows(opened.read_row_group(group, columns=columns))
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"{path}: damaged: {error}") from None
    return rows


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    plain = table.drop_columns([name for name in TRACES if name in table.column_names]).to_pylist()
    for name in TRACES:
        if name in table.column_names:
            for row, trace in zip(plain, table[name], strict=True):
                row[name] = trace.values.to_numpy(zero_copy_only=False)
    return plain


def sweep_parameters(tables: Sequence[Path]) -> pa.Table:
    """Return the rows of several sweep tables without the traces; errors as `read_sweeps`."""
    names = [field.name for field in COLUMNS]
    schema = pa.schema(COLUMNS)
    return pa.concat_tables(
        [schema.empty_table(), *(read_table(path, names).cast(schema) for path in tables)]
    )
