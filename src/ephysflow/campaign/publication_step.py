"""The step ``publish_features``: feature tables under their names, put together from the computations.

A computation is kept under the hash of what it depends on, in one file a bucket of simulations and without ids.
Here each gets the name that its position in the product of parameters gives, simulations get their ids, and the
combinations of a product are stacked into one table.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ephysflow import paths
from ephysflow.campaign.analysis_plan import ALL_SIMULATIONS
from ephysflow.campaign.combinations import Combination, aliases, params_table
from ephysflow.campaign.feature_file import INDEX_KEY, FeatureFile
from ephysflow.campaign.repo_step import (
    EXCLUSION_SCHEMA,
    ID_FIELDS,
    extracted_simulations,
    link_or_copy,
)
from ephysflow.errors import SimulationError
from ephysflow.io.atomic import replacing, write_text
from ephysflow.io.canonical import canonical_json
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import PROVENANCE_KEY, numbers_writer, read_rows, write_table
from ephysflow.job import Job

Simulations = Sequence[Mapping[str, Any]]


@dataclass
class _Published:
    """A named table that was written, the number of its feature entry and that entry, resolved."""

    path: Path
    entry: int
    config: Mapping[str, Any]


@dataclass
class _State:
    """What publishing has written and found so far."""

    folder: Path
    provenance: Provenance
    by_name: dict[str, _Published] = field(default_factory=dict)
    stacked: dict[str, list[_Published]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)


def publish_features(job: Job) -> None:
    """Write every named table, the stacked ones with their parameters, and the table of exclusions."""
    item = job.settings
    where = (job.results, item["campaign"], item["analysis"])
    folder = paths.features_folder(*where)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    simulations = extracted_simulations(job.results, item)
    files = [
        paths.computed_features(*where, entry["computation"], bucket)
        for entry in item["features"]
        for bucket in entry["buckets"]
    ]
    state = _State(folder, job.provenance([paths.repo_exclusions(*where), *dict.fromkeys(files)]))
    # computation, index or not -> its tables that have a name already
    first_of: dict[tuple[str, bool], dict[str, Path]] = {}
    configs: dict[int, list[Mapping[str, Any]]] = {}
    for entry in item["features"]:
        config = json.loads(entry["config"])
        configs.setdefault(entry["entry"], []).append(config)
        named = first_of.setdefault((entry["computation"], config["multi_index"]), {})
        _publish_entry(entry, config, where, simulations, state, named)
    for base, parts in list(state.stacked.items()):
        for name in (base, f"{base}.params", f"{base}.aliases"):
            if name in state.by_name or (name != base and name in state.stacked):
                raise SimulationError(
                    f"features: table {name!r} is returned by a function and is made of the tables {base!r} with "
                    "suffixes; give the returned one another name, or all of its combinations a suffix"
                )
        try:
            # combinations that failed keep their number
            numbered = [c for number in dict.fromkeys(part.entry for part in parts) for c in configs[number]]
            _write_stacked(base, parts, numbered, state)
        except SimulationError as error:
            del state.stacked[base]
            stems = ", ".join(part.path.stem for part in parts)
            reason = f"its combinations ({stems}) are not stacked: {error}"
            _note(state, f"table {base}", {}, reason, kept=False)
    entries: dict[str, dict[str, Any]] = {
        name: {"config": published.config} for name, published in state.by_name.items()
    }
    entries |= {
        base: {"concatenated_from": [part.path.stem for part in parts]}
        for base, parts in state.stacked.items()
    }
    write_text(folder / "entries.json", canonical_json({}) if not entries else json.dumps(entries, indent=1))
    rows = [*read_rows(paths.repo_exclusions(*where)), *state.failures]
    write_table(paths.campaign_exclusions(*where), rows, EXCLUSION_SCHEMA, state.provenance)
    for row in rows:
        about = [row["simulation_path"], None if row["subject"] in row["reason"] else row["subject"]]
        said = ["warning" if row["kept"] else "left out", row["stage"], *about, row["reason"]]
        print(": ".join(text for text in said if text))
    print(f"{len(state.by_name)} feature tables, {len(state.stacked)} stacked ones")
    if item["features"] and not state.by_name:
        reasons = dict.fromkeys(row["reason"] for row in state.failures)
        raise SimulationError(
            f"campaign {item['campaign']}, analysis {item['analysis']}: no feature table is left: "
            + "; ".join(list(reasons)[:3])
        )


def _publish_entry(
    entry: Mapping[str, Any],
    config: Mapping[str, Any],
    where: tuple[Path, str, str],
    simulations: Simulations,
    state: _State,
    named: dict[str, Path],
) -> None:
    """Write, or link, the tables of one combination."""
    suffix = config["suffix"]
    files = {
        bucket: FeatureFile(paths.computed_features(*where, entry["computation"], bucket))
        for bucket in entry["buckets"]
    }
    _note_failures(files, suffix, simulations, state)
    parts = list(_parts(files, simulations))
    names = dict.fromkeys(name for _, key, file in parts for name in file.tables.get(key, ()))
    if not names and not any(file.failures for file in files.values()):
        _note(state, _subject(suffix), {}, f"{config['function']}: returned no table", kept=True)
    for name in names:
        final = f"{name}{suffix}"
        if final in state.by_name:
            raise SimulationError(
                f"features: two entries return a table {final!r} (functions {config['function']} and "
                f"{state.by_name[final].config['function']}); give one of them a suffix"
            )
        path = state.folder / f"{final}.parquet"
        if name in named:  # the same computation under another name: its function ignores what varies
            link_or_copy(named[name], path)
        else:
            try:
                _write_named(path, name, parts, config, state.provenance)
            except SimulationError as error:
                _note(state, f"table {final}", {}, f"{config['function']}: {error}", kept=False)
                continue
            named[name] = path
        state.by_name[final] = _Published(path, entry["entry"], config)
        if suffix:
            state.stacked.setdefault(name, []).append(state.by_name[final])


def _parts(
    files: Mapping[str, FeatureFile], simulations: Simulations
) -> Iterator[tuple[Mapping[str, int], str, FeatureFile]]:
    """Yield ids, key and file of each part of a computation, in the order of the ids."""
    if ALL_SIMULATIONS in files:
        yield {}, ALL_SIMULATIONS, files[ALL_SIMULATIONS]
        return
    for simulation in sorted(simulations, key=lambda s: s["simulation_id"]):
        ids = {name: simulation[name] for name in ID_FIELDS}
        yield ids, simulation["key"], files[simulation["bucket"]]


def _write_named(
    path: Path,
    name: str,
    parts: Sequence[tuple[Mapping[str, int], str, FeatureFile]],
    config: Mapping[str, Any],
    provenance: Provenance,
) -> None:
    """Write one table, one simulation in memory at a time where the order of the groups allows it."""
    groupby, multi_index = config["groupby"], config["multi_index"]
    having = [(ids, key, file) for ids, key, file in parts if name in file.tables.get(key, ())]
    schemas = [_schema_with_ids(file.schema(key, name), ids, groupby) for ids, key, file in having]
    if not all(schema.equals(schemas[0], check_metadata=True) for schema in schemas):
        # a table without rows says nothing of its columns
        filled = [k for k, (_, key, file) in enumerate(having) if file.read(key, name).num_rows] or [0]
        having, schemas = [having[k] for k in filled], [schemas[k] for k in filled]
    schema = _common_schema(schemas)
    indices = {schema.metadata[INDEX_KEY]: None for schema in schemas}
    if len(indices) > 1:
        given = " and ".join(index.decode() for index in indices)
        raise SimulationError(f"index levels differ between simulations: {given}")
    index = json.loads(schemas[0].metadata[INDEX_KEY])
    metadata = {
        INDEX_KEY: json.dumps(index if multi_index else []).encode(),
        PROVENANCE_KEY: provenance.text().encode(),
    }
    if multi_index:
        metadata[b"pandas"] = _pandas_metadata(schema, index)
    leading = [key for key in groupby if key in ID_FIELDS]
    # a simulation has one circuit: wherever circuit_id stands after it, simulations follow each other
    in_order = groupby[:1] == ["simulation_id"] or groupby[:2] == ["circuit_id", "simulation_id"]
    streamed = len(having) == 1 or in_order
    having.sort(key=lambda part: [part[0].get(key, 0) for key in leading])
    with replacing(path) as temporary, numbers_writer(schema.with_metadata(metadata), temporary) as writer:
        tables = (
            _in_schema(_with_ids(file.read(key, name), ids, groupby), schema) for ids, key, file in having
        )
        if streamed:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(metadata))
        else:
            keys = [key for key in groupby if key in schema.names]
            writer.write_table(_sorted(pa.concat_tables(tables), keys).replace_schema_metadata(metadata))


def _common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return a schema with the columns of all; numbers of different types become the larger one."""
    try:
        return pa.unify_schemas([s.remove_metadata() for s in schemas], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise SimulationError(f"columns do not fit together: {error}") from None


def _in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema, null where it has none of this name."""
    if table.schema.equals(schema):
        return table
    for column in schema:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(schema.names).cast(schema, safe=False)


def _schema_with_ids(schema: pa.Schema, ids: Mapping[str, int], groupby: Sequence[str]) -> pa.Schema:
    empty = schema.empty_table()
    return _with_ids(empty, ids, groupby).schema


def _with_ids(table: pa.Table, ids: Mapping[str, int], groupby: Sequence[str]) -> pa.Table:
    """Add the id columns that the entry groups by, each in its place among the key columns."""
    index = json.loads(table.schema.metadata[INDEX_KEY])
    for position, name in enumerate(groupby):
        if name in ids and name not in table.column_names:
            values = pa.repeat(pa.scalar(ids[name], pa.int32()), table.num_rows)
            table = table.add_column(position, ID_FIELDS[name], values)
            index.insert(position, name)
    return table.replace_schema_metadata({INDEX_KEY: json.dumps(index).encode()})


def _sorted(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Sort by the key columns; rows of one key keep their order."""
    position = pa.array(range(table.num_rows))
    plain = pa.table(
        {
            **{
                key: table[key].cast(pa.string()) if pa.types.is_dictionary(table[key].type) else table[key]
                for key in keys
            },
            "": position,
        }
    )
    return table.take(plain.sort_by([(key, "ascending") for key in (*keys, "")])[""])


def _pandas_metadata(schema: pa.Schema, index: Sequence[str]) -> bytes:
    """Return what makes `pandas.read_parquet` give these columns as the index."""
    kinds = [
        (pa.types.is_dictionary, "categorical"),
        (pa.types.is_integer, "int64"),
        (pa.types.is_floating, "float64"),
    ]

    def described(f: pa.Field) -> dict[str, Any]:
        kind = next((kind for test, kind in kinds if test(f.type)), "object")
        extra = None
        if kind == "categorical":
            extra = {"num_categories": 0, "ordered": False}
        numpy_type = {"categorical": "int32"}.get(kind, kind)
        return {
            "name": f.name,
            "field_name": f.name,
            "pandas_type": kind,
            "numpy_type": numpy_type,
            "metadata": extra,
        }

    return json.dumps(
        {
            "index_columns": list(index),
            "column_indexes": [],
            "columns": [described(f) for f in schema if f.name in index],
            "creator": {"library": "pyarrow", "version": pa.__version__},
            "pandas_version": None,
        }
    ).encode()


def _write_stacked(
    base: str, parts: Sequence[_Published], configs: Sequence[Mapping[str, Any]], state: _State
) -> None:
    """Write the combinations of a table one below the other, with ``params_id`` and what varies.

    `configs` are those of all combinations, also of those that have no such table; their order numbers them.
    """
    rows = params_table([Combination(config["suffix"], config["params"]) for config in configs])
    varying = aliases(rows)
    columns = {pair["alias"]: _param_column([row.get(pair["column"]) for row in rows]) for pair in varying}
    schemas = [pq.read_schema(part.path) for part in parts]
    schema = _common_schema(schemas)
    for name, values in (("params_id", pa.array([], pa.int64())), *columns.items()):
        if name in schema.names:
            raise SimulationError(f"a parameter is called {name!r}, as one of its columns is")
        schema = schema.append(pa.field(name, values.type))
    metadata = {**schemas[0].metadata, PROVENANCE_KEY: state.provenance.text().encode()}
    path = state.folder / f"{base}.parquet"
    with replacing(path) as temporary, numbers_writer(schema.with_metadata(metadata), temporary) as writer:
        for part in parts:
            number = configs.index(part.config)
            with pq.ParquetFile(part.path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    ids = pa.repeat(pa.scalar(number, pa.int64()), table.num_rows)
                    table = table.append_column("params_id", ids)
                    for name, values in columns.items():
                        table = table.append_column(name, _repeated(values, number, table.num_rows))
                    writer.write_table(_in_schema(table, schema).replace_schema_metadata(metadata))
    names = list(dict.fromkeys(name for row in rows for name in row))
    params = pa.table(
        {
            "params_id": pa.array(range(len(rows)), pa.int64()),
            **{name: _param_column([row.get(name) for row in rows]) for name in names},
        }
    )
    write_table(state.folder / f"{base}.params.parquet", params, params.schema, state.provenance)
    pairs = pa.table(
        {key: pa.array([pair[key] for pair in varying], pa.string()) for key in ("column", "alias")}
    )
    write_table(state.folder / f"{base}.aliases.parquet", pairs, pairs.schema, state.provenance)


def _param_column(values: Sequence[Any]) -> pa.Array:
    """Return the values of a parameter; as JSON where they have no common type."""
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        array = None
    if array is None or pa.types.is_struct(array.type):
        return pa.array([json.dumps(value) for value in values])
    return array


def _repeated(values: pa.Array, position: int, count: int) -> pa.Array:
    if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
        return values.take(pa.repeat(pa.scalar(position, pa.int64()), count))
    return pa.repeat(values[position], count)


def _note_failures(
    files: Mapping[str, FeatureFile], suffix: str, simulations: Simulations, state: _State
) -> None:
    ids = {s["key"]: s for s in simulations}
    for file in files.values():
        for failure in file.failures:
            _note(state, _subject(suffix), ids.get(failure.simulation, {}), failure.reason, kept=False)


def _subject(suffix: str) -> str:
    return f"combination {suffix}" if suffix else "feature entry"


def _note(state: _State, subject: str, simulation: Mapping[str, Any], reason: str, kept: bool) -> None:
    state.failures.append(
        {
            "stage": "features",
            "simulation_id": simulation.get("simulation_id"),
            "simulation_path": simulation.get("path"),
            "subject": subject,
            "reason": reason,
            "kept": kept,
        }
    )
