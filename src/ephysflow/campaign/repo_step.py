"""The step ``publish_repo``: the extraction tables of all simulations, with their ids, put together."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ephysflow import paths
from ephysflow.errors import SimulationError
from ephysflow.io.tables import column, read_rows, read_table, write_table
from ephysflow.job import Job

ID_FIELDS = {
    "simulation_id": column("simulation_id", pa.int32(), text="position in the campaign file"),
    "circuit_id": column("circuit_id", pa.int32(), text="smallest simulation_id with the same circuit"),
}


EXCLUSION_SCHEMA = pa.schema(
    [
        column("stage", pa.string(), text="simulations, neurons, report or features"),
        ID_FIELDS["simulation_id"],
        column("simulation_path", pa.string()),
        column("subject", pa.string(), text="file, class, window or table"),
        column("reason", pa.string()),
        column("kept", pa.bool_(), text="used all the same: a warning"),
    ]
)


def publish_repo(job: Job) -> None:
    """Write the tables simulations, neurons, neuron_classes and windows, and link the report of each simulation.

    The report is a folder partitioned by ``circuit_id`` and ``simulation_id``, as pandas, pyarrow, polars and
    DuckDB read it; its files are those that extraction wrote, not copies.
    """
    item = job.settings
    where = (job.results, item["campaign"], item["analysis"])
    folder = paths.repo_folder(*where)
    shutil.rmtree(folder, ignore_errors=True)
    simulations = extracted_simulations(job.results, item)
    if not simulations:
        reasons = dict.fromkeys(row["reason"] for row in exclusions(job.results, item) if not row["kept"])
        raise SimulationError(
            f"campaign {item['campaign']}, analysis {item['analysis']}: no simulation can be used: "
            + "; ".join(list(reasons)[:5])
        )
    extracted = {s["key"]: paths.extracted_folder(*where, s["bucket"]) for s in simulations}
    circuits = {s["circuit"]: s["circuit_id"] for s in reversed(simulations)}
    inputs = [path for circuit in circuits for path in paths.circuit_neurons(*where, circuit)]
    inputs += [paths.extracted_windows(extracted[s["key"]], s["key"]) for s in simulations]
    inputs += [*_circuit_findings(job.results, item), *_findings(job.results, item)]
    provenance = job.provenance(inputs)

    def write(name: str, table: pa.Table) -> None:
        write_table(folder / f"{name}.parquet", table, table.schema, provenance)

    write("simulations", simulations_table(simulations))
    for k, name in enumerate(("neurons", "neuron_classes")):
        parts = [
            with_ids(read_table(paths.circuit_neurons(*where, circuit)[k]), {"circuit_id": circuit_id})
            for circuit, circuit_id in sorted(circuits.items(), key=lambda pair: pair[1])
        ]
        write(name, pa.concat_tables(parts).unify_dictionaries().combine_chunks())
    windows = [
        with_ids(
            in_order(
                read_table(paths.extracted_windows(extracted[s["key"]], s["key"])), "window", item["windows"]
            ),
            {"simulation_id": s["simulation_id"], "circuit_id": s["circuit_id"]},
        )
        for s in simulations
    ]
    write("windows", pa.concat_tables(windows).unify_dictionaries().combine_chunks())
    rows = exclusions(job.results, item)
    write_table(paths.repo_exclusions(*where), rows, EXCLUSION_SCHEMA, provenance)
    for s in simulations:
        partition = (
            folder / "report" / f"circuit_id={s['circuit_id']}" / f"simulation_id={s['simulation_id']}"
        )
        partition.mkdir(parents=True)
        link_or_copy(paths.extracted_report(extracted[s["key"]], s["key"]), partition / f"{s['key']}.parquet")
    failed = len(item["simulations"]) - len(simulations)
    print(f"{len(simulations)} simulations, {len(item['left_out']) + failed} left out")


def extracted_simulations(results: Path, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the simulations of a job's settings whose report was extracted, in the order of the campaign file."""
    where = (results, item["campaign"], item["analysis"])
    return [
        s
        for s in item["simulations"]
        if paths.extracted_report(paths.extracted_folder(*where, s["bucket"]), s["key"]).is_file()
    ]


def simulations_table(simulations: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the table of simulations: its conditions, path and ids.

    A condition whose values have no common type (numbers and texts, mappings) is written as JSON.
    """
    names = list(dict.fromkeys(name for s in simulations for name in s["conditions"]))
    arrays, fields = [], []
    for name in names:
        values = [s["conditions"].get(name) for s in simulations]
        try:
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            array = pa.array([json.dumps(value) for value in values])
        arrays.append(array)
        fields.append(column(name, array.type, text="condition"))
    arrays += [pa.array([s["path"] for s in simulations], pa.string())]
    fields.append(column("simulation_path", pa.string()))
    for name, field in ID_FIELDS.items():
        arrays.append(pa.array([s[name] for s in simulations], pa.int32()))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def with_ids(table: pa.Table, ids: Mapping[str, int]) -> pa.Table:
    """Return a table with constant id columns in front."""
    for name in reversed(list(ids)):
        values = pa.repeat(pa.scalar(ids[name], pa.int32()), table.num_rows)
        table = table.add_column(0, ID_FIELDS[name], values)
    return table.replace_schema_metadata(None)


def in_order(table: pa.Table, name: str, labels: Sequence[str]) -> pa.Table:
    """Return a table whose rows are sorted by the place of a label in `labels`, and else stay in order."""
    place = {label: number for number, label in enumerate(labels)}
    found = [place[label] for label in table[name].to_pylist()]
    return table.take(pa.array(sorted(range(len(found)), key=found.__getitem__), pa.int64()))


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def exclusions(results: Path, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the simulations that were left out, and what extraction found in the others."""
    rows = [
        {**row, "stage": "simulations", "subject": "simulation", "kept": False} for row in item["left_out"]
    ]
    by_key = {s["key"]: s for s in item["simulations"]}
    for path in [*_circuit_findings(results, item), *_findings(results, item)]:
        for found in read_rows(path):
            simulation = by_key.get(found["simulation"], {})
            ids = {
                "simulation_id": simulation.get("simulation_id"),
                "simulation_path": simulation.get("path"),
            }
            rows.append({**ids, **{k: found[k] for k in ("stage", "subject", "reason", "kept")}})
    return rows


def _circuit_findings(results: Path, item: Mapping[str, Any]) -> list[Path]:
    where = (results, item["campaign"], item["analysis"])
    circuits = dict.fromkeys(s["circuit"] for s in item["simulations"])
    return [paths.circuit_neurons(*where, circuit)[3] for circuit in circuits]


def _findings(results: Path, item: Mapping[str, Any]) -> list[Path]:
    where = (results, item["campaign"], item["analysis"])
    buckets = dict.fromkeys(s["bucket"] for s in item["simulations"])
    return [paths.extraction_findings(paths.extracted_folder(*where, bucket)) for bucket in buckets]
