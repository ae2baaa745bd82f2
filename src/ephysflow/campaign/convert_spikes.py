"""Spikes that stand in a text file, as a SONATA campaign of one simulation with all that an analysis needs."""

import json
import math
import re
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ephysflow.errors import ConfigurationError
from ephysflow.io.atomic import replacing, write_text

HEADERS = (("node_ids", "timestamps"), ("ids", "times"))
"""Names of the two columns; either column may come first."""

MAX_NODES = 10_000_000
"""A larger node id is a mistake, e.g. columns that changed places: the circuit needs a row for each node."""

SORTING = {"none": 0, "by_id": 1, "by_time": 2}
"""Values of the attribute of SONATA's spike files."""

CIRCUIT, NODES, NODE_SETS = "circuit/circuit_config.json", "circuit/nodes.h5", "circuit/node_sets.json"
SIMULATION, SPIKES = "simulation/simulation_config.json", "simulation/output/spikes.h5"
CAMPAIGN, ANALYSIS = "campaign.json", "analysis.yaml"

ANALYSIS_TEXT = """\
# Made by `ephysflow convert-spikes`: one neuron class of all neurons, one window over all spikes.
version: 4
simulation_campaign: {campaign}
analysis:
  spikes:
    extraction:
      report: {{type: spikes}}
      population: "{population}"
      neuron_classes:
        all: {{query: {{}}}}
      windows:
        all: {{bounds: [0, {stop}]}}
    features:
    - type: multi
      groupby: [simulation_id, circuit_id, neuron_class, window]
      function: firing_rates
"""


def convert_spikes(table: Path, folder: Path, population: str) -> list[Path]:
    """Write a circuit of virtual nodes, a simulation with their spikes, a campaign file and an analysis configuration.

    Paths inside the files are relative: the folder may be moved.

    Parameters
    ----------
    table : text file, see `read_table_of_spikes`
    folder : where to write; made if needed
    population : name of the node population

    Returns
    -------
    the files

    Raises
    ------
    ConfigurationError
        if the table cannot be read, the name cannot be used, or a file is already there.
    """
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", population, flags=re.ASCII):
        raise ConfigurationError(
            f"node population {population!r}: a name begins with a letter, and goes on with letters, digits and _ . -"
        )
    names = (CIRCUIT, NODES, NODE_SETS, SIMULATION, SPIKES, CAMPAIGN, ANALYSIS)
    if there := [name for name in names if (folder / name).exists()]:
        raise ConfigurationError(
            f"{folder}: {', '.join(there)} is already there; name another folder or move it"
        )
    ids, times = read_table_of_spikes(table)
    # windows are half open: the first whole millisecond after the last spike
    stop = math.floor(times.max()) + 1
    _write_nodes(folder / NODES, population, int(ids.max()) + 1)
    _write_spikes(folder / SPIKES, population, ids, times)
    _write_json(folder / NODE_SETS, {"All": {"population": population}})
    _write_json(
        folder / CIRCUIT,
        {
            "version": 2,
            "manifest": {"$BASE_DIR": "."},
            "node_sets_file": "$BASE_DIR/node_sets.json",
            "networks": {
                "nodes": [
                    {"nodes_file": "$BASE_DIR/nodes.h5", "populations": {population: {"type": "virtual"}}}
                ],
                "edges": [],
            },
        },
    )
    _write_json(
        folder / SIMULATION,
        {
            "version": 1,
            "manifest": {"$OUTPUT_DIR": "./output"},
            "run": {"tstop": stop, "dt": 0.025, "random_seed": 0},
            "network": f"../{CIRCUIT}",
            "output": {"output_dir": "$OUTPUT_DIR", "spikes_file": "spikes.h5"},
        },
    )
    _write_json(
        folder / CAMPAIGN,
        {
            "format": "blueetl",
            "version": 1,
            "name": "converted_spikes",
            "attrs": {"path_prefix": ".", "circuit_config": CIRCUIT},
            "data": [{"simulation_path": str(Path(SIMULATION).parent)}],
        },
    )
    write_text(folder / ANALYSIS, ANALYSIS_TEXT.format(campaign=CAMPAIGN, population=population, stop=stop))
    return [folder / name for name in names]


def read_table_of_spikes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a table of spikes: a header, then one spike a line.

    Parameters
    ----------
    path : columns ``node_ids`` and ``timestamps`` [ms] (or ``ids`` and ``times``), separated by blanks, tabs or commas

    Returns
    -------
    (n,) node id and (n,) time [ms] of each spike, int64 and float64, in the order of the file; n > 0

    Raises
    ------
    ConfigurationError
        naming the line that cannot be read.
    """
    ids, times = array("q"), array("d")
    try:
        with open(path, encoding="utf-8-sig") as stream:
            header = stream.readline()
            separator = next((character for character in "\t," if character in header), None)
            names = tuple(name.strip() for name in header.split(separator))
            if names not in HEADERS and names[::-1] not in HEADERS:
                allowed = " or ".join(f"'{' '.join(columns)}'" for columns in HEADERS)
                raise ConfigurationError(
                    f"{path}: line 1: the header must be {allowed}, not {header.strip()!r}"
                )
            id_column = 0 if names in HEADERS else 1
            for number, line in enumerate(stream, start=2):
                if line.isspace():
                    continue
                cells = line.split(separator)
                if len(cells) != 2:
                    raise ConfigurationError(
                        f"{path}: line {number}: {len(cells)} values instead of 2: {line.strip()!r}"
                    )
                ids.append(_node_id(cells[id_column].strip(), f"{path}: line {number}"))
                times.append(_time(cells[1 - id_column].strip(), f"{path}: line {number}"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not text: {error}") from None
    if not ids:
        raise ConfigurationError(f"{path}: holds no spikes")
    return np.array(ids, dtype=np.int64), np.array(times)


def _node_id(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) >= MAX_NODES:
        raise ConfigurationError(f"{where}: node id {text!r} is not a whole number from 0 to {MAX_NODES - 1}")
    return int(text)


def _time(text: str, where: str) -> float:
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not 0 <= time < math.inf:
        raise ConfigurationError(f"{where}: time {text!r} is not a number of ms from 0 on")
    return time


def _write_nodes(path: Path, population: str, size: int) -> None:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        nodes = file.create_group(f"nodes/{population}")
        nodes["node_type_id"] = np.full(size, -1, dtype=np.int64)
        nodes["0/@library/model_type"] = np.array(["virtual"], dtype=h5py.string_dtype())
        nodes["0/model_type"] = np.zeros(size, dtype=np.uint32)


def _write_spikes(path: Path, population: str, ids: np.ndarray, times: np.ndarray) -> None:
    order = np.argsort(times, kind="stable")
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        spikes = file.create_group(f"spikes/{population}")
        spikes.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="u1"))
        spikes["node_ids"] = ids[order].astype(np.uint64)
        spikes["timestamps"] = times[order]
        spikes["timestamps"].attrs["units"] = "ms"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
