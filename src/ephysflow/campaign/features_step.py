"""The step ``compute_features``: one combination of parameters of a feature entry, for a bucket of simulations."""

import copy
import importlib
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.campaign.analysis_plan import ALL_SIMULATIONS
from ephysflow.campaign.feature_file import INDEX_KEY, Failure, FeatureFileWriter, writing_features
from ephysflow.campaign.observations import FeatureRows, Observations, SimulationReport, observe
from ephysflow.campaign.repo_step import extracted_simulations, simulations_table, with_ids
from ephysflow.campaign.report import select
from ephysflow.campaign.tables import labels, read_neurons, read_report, read_windows
from ephysflow.campaign.user_functions import load_user_function
from ephysflow.errors import SimulationError
from ephysflow.io.tables import read_table
from ephysflow.job import Job

IDS = ("simulation_id", "circuit_id")

Where = tuple[Path, str, str]
"""Results, campaign and analysis."""


def compute_features(job: Job) -> None:
    """Compute all tables of one combination; a failure of the function is recorded, and the rest goes on."""
    item = job.settings
    where = (job.results, item["campaign"], item["analysis"])
    computation, bucket = job.key.split("\t")[-2:]
    whole_repo = item["contract"] == "group" and item["partition"] is None
    simulations = [] if whole_repo else extracted_simulations(job.results, item)
    inputs = _repo_files(where) if whole_repo else _extracted_files(where, simulations)
    path = paths.computed_features(*where, computation, bucket)
    with writing_features(path, job.provenance(inputs)) as output:
        if item["contract"] == "group":
            _with_group_function(item, where, simulations, output)
        else:
            _with_vectorised_function(item, where, simulations, output)
        for failure in output.failures:
            print(f"FAILED: {failure.simulation}: {failure.reason}")


def _with_vectorised_function(
    item: Mapping[str, Any], where: Where, simulations: Sequence[Mapping[str, Any]], output: FeatureFileWriter
) -> None:
    function = load_function(item)
    alone = item["partition"] == "simulation"
    # ids are positions in the campaign file: publishing adds them, and a job of one simulation never sees them
    groupby = [name for name in item["groupby"] if not (alone and name in IDS)]
    reports = (selected_report(item, where, simulation, with_ids=not alone) for simulation in simulations)
    for simulation, together in _in_parts(simulations, reports, alone):
        try:
            observations = observe(together, groupby)
            tables = feature_tables(
                function(observations, copy.deepcopy(item["params"])),
                observations,
                item["function"],
                item["groupby"],
            )
        except SimulationError as error:
            output.failures.append(Failure(simulation, str(error)))
        except (Exception, SystemExit) as error:
            if item["contract"] == "shipped":  # a mistake of ours: not to be hidden
                raise
            output.failures.append(Failure(simulation, f"{item['function']}: {_told(error, item)}"))
        else:
            for name, table in tables.items():
                output.add(simulation, name, table)


def _in_parts(
    simulations: Sequence[Mapping[str, Any]], reports: Iterator[SimulationReport], alone: bool
) -> Iterator[tuple[str, list[SimulationReport]]]:
    """Yield what the function is called with: each simulation by itself, one in memory at a time, or all together."""
    if not alone:
        together = list(reports)
        if together:
            yield ALL_SIMULATIONS, together
        return
    for simulation, report in zip(simulations, reports, strict=True):
        yield simulation["key"], [report]


def _with_group_function(
    item: Mapping[str, Any], where: Where, simulations: Sequence[Mapping[str, Any]], output: FeatureFileWriter
) -> None:
    from ephysflow.campaign.old_contract import apply_group_function
    from ephysflow.campaign.repository import Repository

    function = load_function(item)
    if item["partition"] is None:
        parts = [(ALL_SIMULATIONS, Repository.from_folder(paths.repo_folder(*where)))]
    else:
        parts = [(s["key"], _repository_of(s, where)) for s in simulations]
    for simulation, repo in parts:
        try:
            frames = apply_group_function(
                function,
                repo,
                groupby=item["groupby"],
                neuron_classes=item["neuron_classes"],
                windows=item["windows"],
                params=item["params"],
                type_=item["type"],
                name=item["name"],
            )
            tables = {name: table_of_frame(frame, name, item["function"]) for name, frame in frames.items()}
        except SimulationError as error:
            output.failures.append(Failure(simulation, str(error)))
        else:
            for name, table in tables.items():
                output.add(simulation, name, table)


def _repository_of(simulation: Mapping[str, Any], where: Where) -> Any:
    """Return a repository of one simulation from what was extracted from it alone."""
    from ephysflow.campaign.repository import Repository

    folder = paths.extracted_folder(*where, simulation["bucket"])
    neurons, classes = paths.circuit_neurons(*where, simulation["circuit"])[:2]
    ids = {name: simulation[name] for name in IDS}

    def frame(path: Path, *names: str) -> Any:
        return with_ids(read_table(path), {name: ids[name] for name in names}).to_pandas()

    tables = {
        "simulations": simulations_table([simulation]).to_pandas(),
        "neurons": partial(frame, neurons, "circuit_id"),
        "neuron_classes": partial(frame, classes, "circuit_id"),
        "windows": partial(frame, paths.extracted_windows(folder, simulation["key"]), *IDS),
    }
    report = paths.extracted_report(folder, simulation["key"])
    return Repository.from_frames(tables, lambda _: frame(report), _of_all_simulations)


def _of_all_simulations() -> Any:
    raise SimulationError(
        "repo.missing_simulations() is of all simulations, and `partition: simulation` shows the function only one; "
        "leave partition out"
    )


def load_function(item: Mapping[str, Any]) -> Callable[..., Any]:
    """Import the function of a job's settings: a shipped one, or the user's from beside the configuration."""
    if item["contract"] == "shipped":
        module, _, name = item["function"].partition(":")
        return getattr(importlib.import_module(module), name)
    return load_user_function(item["function"], Path(item["user_folder"]))


def selected_report(
    item: Mapping[str, Any], where: Where, simulation: Mapping[str, Any], with_ids: bool
) -> SimulationReport:
    """Read the report of one simulation, and of it the classes and windows that the entry names."""
    folder = paths.extracted_folder(*where, simulation["bucket"])
    neurons = read_neurons(paths.circuit_neurons(*where, simulation["circuit"])[0])
    trials = read_windows(paths.extracted_windows(folder, simulation["key"]))
    report = read_report(folder, simulation["key"], neurons, trials)
    report = select(report, item["neuron_classes"], item["windows"])
    if not with_ids:
        return report
    ids = {name: simulation[name] for name in IDS}
    size, trial_count = len(report.neurons["gid"]), len(report.trials["trial"])
    return SimulationReport(
        {"circuit_id": np.full(size, ids["circuit_id"], np.int32), **report.neurons},
        {**{name: np.full(trial_count, ids[name], np.int32) for name in IDS}, **report.trials},
        report.neuron,
        report.trial,
        report.offsets,
        report.rows,
    )


def feature_tables(
    returned: Any, observations: Observations, function: str, groupby: Sequence[str]
) -> dict[str, pa.Table]:
    """Return what a vectorised function gave as tables: key columns, then its index columns, then values.

    Raises
    ------
    SimulationError
        if it gave something else than a dict of `FeatureRows` whose columns fit together.
    """
    if not isinstance(returned, Mapping) or not all(map(_is_whole, returned.values())):
        raise SimulationError(
            f"{function}: must return a dict of table name -> ephysflow.FeatureRows, whose index and values are dicts "
            f"of columns by name; returned {_shown(returned)}"
        )
    tables = {}
    for name, rows in returned.items():
        check_table_name(name, function)
        group = np.asarray(rows.group)
        if (
            group.ndim != 1
            or group.dtype.kind not in "iu"
            or not (0 <= group.min(initial=0) <= group.max(initial=0) < max(observations.n_groups, 1))
        ):
            raise SimulationError(
                f"{function}: table {name}: group must give the number of each row's group, integers from 0 to "
                f"{observations.n_groups - 1}; given: {group.dtype} of shape {group.shape}"
                + (f", {group.min()} to {group.max()}" if group.size and group.dtype.kind in "iuf" else "")
            )
        columns = {key: _spread(values, group) for key, values in observations.groups.items()}
        columns |= dict(rows.index)
        taken = {*columns, *groupby}
        if twice := [k for k in rows.index if k in groupby] + [k for k in rows.values if k in taken]:
            raise SimulationError(f"{function}: table {name}: column {twice[0]!r} is there twice")
        index = list(columns)
        columns |= dict(rows.values)
        arrays = {}
        for key, values in columns.items():
            try:
                arrays[key] = _arrow(values)
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise SimulationError(
                    f"{function}: table {name}: column {key!r} cannot be stored: {error}"
                ) from None
        if odd := [key for key, array in arrays.items() if len(array) != len(group)]:
            raise SimulationError(
                f"{function}: table {name}: column {odd[0]!r} has {len(arrays[odd[0]])} values for {len(group)} rows"
            )
        table = pa.table(arrays)
        tables[name] = table.replace_schema_metadata({INDEX_KEY: json.dumps(index).encode()})
    return tables


def table_of_frame(frame: Any, name: str, function: str) -> pa.Table:
    """Return a DataFrame as a table whose metadata says which columns are its index.

    Raises
    ------
    SimulationError
        if a column holds what a table cannot hold.
    """
    check_table_name(name, function)
    index = [level for level in frame.index.names if level is not None]
    flat = frame.reset_index() if index else frame.reset_index(drop=True)
    flat.columns = [str(label) for label in flat.columns]
    if len(set(flat.columns)) < len(flat.columns):
        raise SimulationError(f"{function}: table {name}: a column is there twice: {', '.join(flat.columns)}")
    try:
        table = pa.Table.from_pandas(flat, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        said = ": ".join(map(str, reversed(error.args)))  # Arrow names the column last
        raise SimulationError(f"{function}: table {name}: {said}") from None
    return table.replace_schema_metadata({INDEX_KEY: json.dumps(index).encode()})


def check_table_name(name: Any, function: str) -> None:
    """Refuse a name of a table that could not be the name of a file."""
    from ephysflow.campaign.feature_entries import FILE_NAME, FILE_NAME_RULE

    if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
        raise SimulationError(f"{function}: table name {name!r}: allowed are {FILE_NAME_RULE}")


def _spread(values: np.ndarray, group: np.ndarray) -> Any:
    if values.dtype.kind in "UO":
        short = labels(values)
        # not take(): it would import pyarrow.compute
        return pa.DictionaryArray.from_arrays(pa.array(short.indices.to_numpy()[group]), short.dictionary)
    return values[group]


def _arrow(values: Any) -> pa.Array:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    values = np.asarray(values)
    return labels(values) if values.dtype.kind == "U" else pa.array(values)


def _is_whole(rows: Any) -> bool:
    return isinstance(rows, FeatureRows) and all(
        isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns)
        for columns in (rows.index, rows.values)
    )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {type(v).__name__}" for k, v in list(value.items())[:5]) + "}"
    return type(value).__name__


def _told(error: BaseException, item: Mapping[str, Any]) -> str:
    """Return what went wrong in a user's function and on which of its lines."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = str(Path(item["user_folder"]).resolve())
    own = [frame for frame in frames if str(Path(frame.filename).resolve()).startswith(folder)] or frames
    place = own[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def _repo_files(where: Where) -> list[Path]:
    folder = paths.repo_folder(*where)
    return sorted(path for path in folder.rglob("*.parquet"))


def _extracted_files(where: Where, simulations: Sequence[Mapping[str, Any]]) -> list[Path]:
    circuits = dict.fromkeys(s["circuit"] for s in simulations)
    files = [path for circuit in circuits for path in paths.circuit_neurons(*where, circuit)[:2]]
    for simulation in simulations:
        folder = paths.extracted_folder(*where, simulation["bucket"])
        files += [
            paths.extracted_windows(folder, simulation["key"]),
            paths.extracted_report(folder, simulation["key"]),
            paths.extracted_counts(folder, simulation["key"]),
        ]
    return files
