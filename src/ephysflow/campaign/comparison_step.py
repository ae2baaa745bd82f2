"""The step ``compare_analyses``: the feature tables of a model beside those of a recording."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.campaign.comparison import Group, Statistics, compared, summarise
from ephysflow.campaign.feature_file import INDEX_KEY
from ephysflow.campaign.files import ENTRIES, named_tables
from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import column, open_table, write_table
from ephysflow.job import Job

_MODEL, _RECORDING = "of the model", "of the recording"
COMPARISON_SCHEMA = pa.schema(
    [
        column("table", pa.string(), text="feature table; its suffix tells combinations of parameters apart"),
        column("neuron_class", pa.string(), text=_MODEL),
        column("window", pa.string(), text=_MODEL),
        column("item", pa.string(), text="JSON: further index columns (bin, efeature); null: none"),
        column("recorded_neuron_class", pa.string(), text=_RECORDING),
        column("recorded_window", pa.string(), text=_RECORDING),
        column("column", pa.string(), text="of the feature table; its unit is that of all numbers here"),
        column("model_mean", pa.float64(), text="over all rows of the group; null: none has a value"),
        column("model_std", pa.float64(), text="ddof 1; null: fewer than two values"),
        column("model_n", pa.int64(), text="values; null: the model has no such group"),
        column("recorded_mean", pa.float64(), text="over all rows of the group; null: none has a value"),
        column("recorded_std", pa.float64(), text="ddof 1; null: fewer than two values"),
        column("recorded_n", pa.int64(), text="values; null: the recording has no such group"),
        column("difference", pa.float64(), text="model_mean - recorded_mean"),
        column("difference_in_stds", pa.float64(), text="difference / recorded_std; null where that is 0"),
    ]
)


def compare_analyses(job: Job) -> None:
    """Write the comparison of two analyses.

    Raises
    ------
    ConfigurationError
        if a table that is asked for is on one side only or on none, or if the sides have none in common.
    """
    item = job.settings
    model_folder, recording_folder = folders = [
        paths.features_folder(job.results, item[side]["campaign"], item[side]["analysis"])
        for side in ("model", "recording")
    ]
    where = f"comparison {item['name']}"
    tables = common_tables(item["features"], model_folder, recording_folder, where)
    rows = []
    for name in tables:
        model, recorded = (summary_of(folder / f"{name}.parquet") for folder in folders)
        found = list(compared(model, recorded, item["neuron_classes"], item["windows"]))
        both = sum(row.get("difference") is not None for row in found)
        print(f"{name}: {len(found)} rows, {both} with values on both sides")
        rows += [{"table": name, **row} for row in found]
    used = [folder / ENTRIES for folder in folders]
    used += [folder / f"{name}.parquet" for folder in folders for name in tables]
    output = paths.comparison(job.results, item["name"])
    write_table(output, rows, COMPARISON_SCHEMA, job.provenance(used))


def common_tables(wanted: list[str] | None, model: Path, recording: Path, where: str) -> list[str]:
    """Return the names of the feature tables to compare, stacked ones as the tables that they were stacked from.

    Parameters
    ----------
    wanted : names; None for all that both sides have
    model, recording : folders of feature tables
    where : for messages

    Raises
    ------
    ConfigurationError
        naming the tables that there are.
    """
    sides = {"model": named_tables(model), "recording": named_tables(recording)}
    if wanted is None:
        names = [name for name, parts in sides["model"].items() if not parts and name in sides["recording"]]
        if not names:
            there = "; ".join(f"{side}: {', '.join(named) or 'none'}" for side, named in sides.items())
            raise ConfigurationError(f"{where}: there is no feature table on both sides ({there})")
        return names
    names = []
    for name in wanted:
        for side, named in sides.items():
            if name not in named:
                raise ConfigurationError(
                    f"{where}: features: {name!r}: the {side} has no such table (tables: {', '.join(named) or 'none'})"
                )
        parts = [sides["model"][name] or [name], sides["recording"][name] or [name]]
        common = [part for part in parts[0] if part in parts[1]]
        if not common:
            raise ConfigurationError(
                f"{where}: features: {name!r}: its combinations of parameters have no table in common (model: "
                f"{', '.join(parts[0])}; recording: {', '.join(parts[1])})"
            )
        names += common
    return list(dict.fromkeys(names))


def summary_of(path: Path) -> dict[Group, dict[str, Statistics]]:
    """Read a feature table and return the statistics of its columns of numbers."""
    with open_table(path) as opened:
        metadata = opened.schema_arrow.metadata or {}
        table = opened.read()
    index = json.loads(metadata.get(INDEX_KEY, b"[]"))
    return summarise(_columns(table, index), index)


def _columns(table: pa.Table, index: list[str]) -> Mapping[str, Any]:
    """Return index columns, and those that hold numbers."""
    found = {}
    for name in table.column_names:
        values, kind = table[name], table[name].type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            found[name] = values.to_numpy()
        elif name in index or name in ("neuron_class", "window"):
            found[name] = np.empty(len(values), dtype=object)
            found[name][:] = values.to_pylist()
    return found
