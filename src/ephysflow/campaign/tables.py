"""Tables of an extraction: their columns, and how they are written and read back."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.campaign.observations import REPORT_COLUMNS, Columns, SimulationReport
from ephysflow.campaign.report import report_from_counts
from ephysflow.errors import ResultError
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import column, open_table, read_table, write_numbers, write_table

LABEL = pa.dictionary(pa.int32(), pa.string())

NEURON_SCHEMA = pa.schema(
    [
        column("neuron_class", LABEL),
        column("gid", pa.int64(), text="node id in its population"),
        column("neuron_class_index", pa.int64(), text="rank of the gid in its class"),
    ]
)
NEURON_CLASS_SCHEMA = pa.schema(
    [
        column("neuron_class", LABEL),
        column("count", pa.int64(), text="neurons that were taken"),
        column("limit", pa.int64(), text="most neurons to take; null: all"),
        column("population", pa.string()),
        column("node_set", pa.string()),
        column("gids", pa.string(), text="JSON list that the class was restricted to"),
        column("query", pa.string(), text="JSON"),
    ]
)
POPULATION_SCHEMA = pa.schema([column("population", pa.string()), column("size", pa.int64(), text="nodes")])
WINDOW_SCHEMA = pa.schema(
    [
        column("window", LABEL),
        column("trial", pa.int32()),
        column("offset", pa.float64(), "ms", "time to which the times of this trial are relative"),
        column("t_start", pa.float64(), "ms", "relative to offset"),
        column("t_stop", pa.float64(), "ms", "relative to offset"),
        column("t_step", pa.float64(), "ms", "0: as in the report"),
        column("duration", pa.float64(), "ms"),
        column("window_type", pa.string()),
    ]
)
_TIME = column("time", pa.float64(), "ms", "relative to the trial's offset")
_GID = column("gid", pa.int64())
_WHERE = [column("window", LABEL), column("trial", pa.int32()), column("neuron_class", LABEL)]
_VALUE = column("value", pa.float32(), "unit of the report")
REPORT_SCHEMAS = {
    "spikes": pa.schema([_TIME, _GID, *_WHERE]),
    "soma": pa.schema([_GID, _TIME, _VALUE, *_WHERE]),
    "compartment": pa.schema([_GID, column("section", pa.int64()), _TIME, _VALUE, *_WHERE]),
}
COUNT_SCHEMA = pa.schema([column("rows", pa.int32(), text="of one neuron in one trial")])
FINDING_SCHEMA = pa.schema(
    [
        column("stage", pa.string(), text="neurons, simulations, report or features"),
        column("simulation", pa.string(), text="key of the simulation; null: of none in particular"),
        column("subject", pa.string(), text="file, class, window or table"),
        column("reason", pa.string()),
        column("kept", pa.bool_(), text="used all the same"),
    ]
)


def labels(values: np.ndarray) -> pa.DictionaryArray:
    """Return texts as a dictionary array whose dictionary is sorted."""
    names, codes = np.unique(values, return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32)), pa.array(names.tolist(), pa.string())
    )


def write_columns(path: Path, columns: Mapping[str, Any], schema: pa.Schema, provenance: Provenance) -> None:
    """Write columns as a table of `schema`; text arrays become labels where the schema has labels."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        if field.type == LABEL and not isinstance(values, pa.DictionaryArray):
            values = labels(np.asarray(values))
        arrays.append(pa.array(values, field.type) if not isinstance(values, pa.Array) else values)
    write_table(path, pa.Table.from_arrays(arrays, schema=schema), schema, provenance)


def write_report(
    folder: Path, simulation: str, report: SimulationReport, kind: str, provenance: Provenance
) -> None:
    """Write the rows of one simulation, with class, gid, window and trial on each, and their counts beside them."""
    counts = np.diff(report.offsets)

    def of_neuron(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[report.neuron], counts)

    def of_trial(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[report.trial], counts)

    def labelled(values: np.ndarray, spread: Callable[[np.ndarray], np.ndarray]) -> pa.DictionaryArray:
        names, codes = np.unique(values, return_inverse=True)
        spread_codes = pa.array(spread(codes.astype(np.int32)))
        return pa.DictionaryArray.from_arrays(spread_codes, pa.array(names.tolist(), pa.string()))

    columns = {
        **report.rows,
        "gid": of_neuron(report.neurons["gid"]),
        "trial": of_trial(report.trials["trial"]),
        "neuron_class": labelled(report.neurons["neuron_class"], of_neuron),
        "window": labelled(report.trials["window"], of_trial),
    }
    schema = REPORT_SCHEMAS[kind]
    arrays = [pa.array(columns[f.name], f.type) if f.type != LABEL else columns[f.name] for f in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    write_numbers(paths.extracted_report(folder, simulation), table, provenance)
    table = pa.Table.from_arrays([pa.array(counts, pa.int32())], schema=COUNT_SCHEMA)
    write_table(paths.extracted_counts(folder, simulation), table, COUNT_SCHEMA, provenance)


def read_neurons(path: Path) -> Columns:
    """Read the neurons of a circuit: ``neuron_class, gid, neuron_class_index``, sorted by class and gid."""
    return _columns(read_table(path))


def read_windows(path: Path) -> Columns:
    """Read the trials of a simulation, in the order of the configuration."""
    return _columns(read_table(path))


def read_report(folder: Path, simulation: str, neurons: Columns, trials: Columns) -> SimulationReport:
    """Read the rows of one simulation back; which neuron and trial each belongs to follows from the counts.

    Raises
    ------
    ResultError
        if a file is damaged or does not belong to these neurons and windows.
    """
    path = paths.extracted_report(folder, simulation)
    with open_table(path) as opened:
        names = [name for name in REPORT_COLUMNS if name in opened.schema_arrow.names]
    table = read_table(path, names)
    counts = read_table(paths.extracted_counts(folder, simulation))["rows"].to_numpy()
    try:
        return report_from_counts(neurons, trials, counts, {name: table[name].to_numpy() for name in names})
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from None


def read_populations(classes: Path, populations: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Return neuron class -> population, and population -> number of nodes."""
    of_class = read_table(classes, ["neuron_class", "population"]).to_pylist()
    sizes = read_table(populations).to_pylist()
    return (
        {row["neuron_class"]: row["population"] for row in of_class},
        {row["population"]: row["size"] for row in sizes},
    )


def finding(
    stage: str, simulation: str | None, subject: str, reason: str, kept: bool = False
) -> dict[str, Any]:
    """Return one row of the findings table."""
    return {"stage": stage, "simulation": simulation, "subject": subject, "reason": reason, "kept": kept}


def write_findings(path: Path, findings: Iterable[Mapping[str, Any]], provenance: Provenance) -> None:
    """Write the findings of one job; without any it is an empty table."""
    write_table(path, list(findings), FINDING_SCHEMA, provenance)


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    found = {}
    for name in table.column_names:
        values = table[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            texts = np.array(values.dictionary.to_pylist(), dtype=np.str_)
            found[name] = texts[values.indices.to_numpy()] if len(values) else texts[:0]
        elif pa.types.is_string(values.type):
            found[name] = np.array(values.to_pylist(), dtype=np.str_)
        else:
            found[name] = values.to_numpy(zero_copy_only=False)
    return found
