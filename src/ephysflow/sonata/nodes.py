"""Nodes of a circuit: their properties and the sets of them that have names.

libsonata reads the properties. What it does not read is done here: node types (a CSV beside the nodes, as BMTK
writes it), populations of several groups with different properties, and node sets on properties of node types.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import libsonata
import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.sonata import hdf5
from ephysflow.sonata.simulation_config import CircuitFiles, NodesFile

LIBRARY, DYNAMICS = "@library", "dynamics_params"
"""Members of a group of nodes that are not properties."""

NODE_ID_KEYS = ("node_id", "node_ids", "gids")
"""Spellings of "these nodes" in a node set; the last two are BMTK's."""

OPERATORS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "$gt": np.greater,
    "$gte": np.greater_equal,
    "$lt": np.less,
    "$lte": np.less_equal,
}


class Population:
    """The nodes of one population; a property is read when it is asked for, and kept.

    Attributes
    ----------
    name : name of the population
    size : number of nodes N; their ids are 0 .. N-1
    """

    def __init__(self, file: Path, types_file: Path | None, name: str) -> None:
        self.name = name
        self._file = file
        with hdf5.opened(file, "nodes") as opened:
            nodes = hdf5.group(hdf5.group(opened, "nodes", file), name, file)
            types = hdf5.dataset(nodes, "node_type_id", hdf5.INTEGERS, 1, file)[()]
            self.size = len(types)
            self._row_of = _row_of_id(nodes, self.size, file)
            groups = {
                key: nodes[key] for key in nodes if key.isdigit() and isinstance(nodes[key], h5py.Group)
            }
            properties = {key: _property_names(group) for key, group in groups.items()}
            index = nodes.get("node_group_index")
            # what libsonata reads: one group whose rows are the nodes in order
            self._plain = [*groups] == ["0"] and (
                index is None or np.array_equal(index[()], np.arange(self.size))
            )
        self._groups = sorted(groups)
        self._in_nodes = {name for names in properties.values() for name in names}
        self._of_types = _type_columns(types_file, types) if types_file else {}
        self._known: dict[str, np.ndarray] = {}

    @property
    def property_names(self) -> list[str]:
        """Names of all properties, sorted."""
        return sorted({*self._in_nodes, *self._of_types})

    def property(self, name: str) -> np.ndarray:
        """Return a property of all nodes.

        A node's own value counts more than that of its type. Where a node has neither, as other groups of its
        population may have other properties, the value is NaN or ''.

        Returns
        -------
        (N,) numbers, or texts as an object array

        Raises
        ------
        SimulationError
            if there is no such property, or the file is damaged.
        """
        if name not in self._known:
            if name not in self._in_nodes and name not in self._of_types:
                raise SimulationError(
                    f"population {self.name!r} has no property {name!r}; it has {', '.join(self.property_names)}"
                )
            self._known[name] = self._read(name)[self._row_of]
        return self._known[name]

    def _read(self, name: str) -> np.ndarray:
        if name not in self._in_nodes:
            return self._of_types[name]
        if self._plain:
            return _of_single_group(self._file, self.name, name, self.size)
        return _of_groups(self._file, self.name, self._groups, name, self._of_types.get(name), self.size)


def population_names(circuit: CircuitFiles) -> list[str]:
    """Return the names of the populations of a circuit, sorted."""
    return sorted({name for nodes in circuit.nodes for name in _populations(nodes)})


def _populations(nodes: NodesFile) -> tuple[str, ...]:
    # where the configuration lists the populations of a file, the others in it are not part of the circuit
    if nodes.populations:
        return nodes.populations
    with hdf5.opened(nodes.file, "nodes") as opened:
        return tuple(hdf5.group(opened, "nodes", nodes.file))


def open_population(circuit: CircuitFiles, name: str) -> Population:
    """Open a population of nodes of a circuit.

    Raises
    ------
    SimulationError
        if the circuit has no such population, or its files are missing or damaged.
    """
    known: list[str] = []
    for nodes in circuit.nodes:
        populations = _populations(nodes)
        if name in populations:
            return Population(nodes.file, nodes.types_file, name)
        known += populations
    raise SimulationError(
        f"{circuit.config}: the circuit has no population {name!r}; it has {', '.join(sorted(known)) or 'none'}"
    )


def node_set_ids(node_sets_files: Sequence[Path], name: str, population: Population) -> np.ndarray:
    """Return the nodes of a population that are in a node set.

    Parameters
    ----------
    node_sets_files : JSON files; a set of a later file replaces one of the same name
    name : name of the set
    population : its nodes

    Returns
    -------
    (n,) int64, sorted; none if the set is one of another population. Ids that do not exist are left out.

    Raises
    ------
    SimulationError
        if the set is not there, refers to itself, or has a rule that does not fit the population.

    Notes
    -----
    Rules of the SONATA developer guide (node sets), with BMTK's `gids` and `node_ids`; `$regex` matches anywhere in
    the text, as in libsonata.
    """
    sets: dict[str, Any] = {}
    for path in node_sets_files:
        sets |= _node_sets(path)
    where = ", ".join(map(str, node_sets_files)) or "no node sets file"
    if name not in sets:
        raise SimulationError(f"{where}: no node set {name!r}; there is {', '.join(sorted(sets)) or 'none'}")
    return np.flatnonzero(_in_set(sets, name, population, where, {})).astype(np.int64)


def _row_of_id(nodes: h5py.Group, size: int, path: Path) -> np.ndarray:
    """Return the row of each node id; files without ids have them in order."""
    if "node_id" not in nodes:
        return np.arange(size)
    ids = hdf5.ids(nodes, "node_id", path)
    order = np.argsort(ids)
    if len(ids) != size or (ids[order] != np.arange(size)).any():
        raise SimulationError(
            f"{path}: {nodes.name}/node_id: the ids of {size} nodes must be 0 .. {size - 1}, once each"
        )
    return order


def _property_names(group: h5py.Group) -> list[str]:
    return [
        name
        for name in group
        if name not in (LIBRARY, DYNAMICS) and isinstance(group.get(name), h5py.Dataset)
    ]


def _of_single_group(path: Path, population: str, name: str, size: int) -> np.ndarray:
    """Read a property with libsonata."""
    try:
        nodes = libsonata.NodeStorage(str(path)).open_population(population)
        everything = nodes.select_all()
        if name in nodes.enumeration_names:
            library = np.array(nodes.enumeration_values(name), dtype=object)
            return _labels(library, nodes.get_enumeration(name, everything), f"{path}: {name}")
        values = np.asarray(nodes.get_attribute(name, everything))
    except (libsonata.SonataError, RuntimeError, UnicodeDecodeError) as error:
        raise SimulationError(
            f"{path}: property {name!r} of population {population!r} cannot be read: {error}"
        ) from None
    if len(values) != size:
        raise SimulationError(f"{path}: property {name!r} has {len(values)} values for {size} nodes")
    return values


def _of_groups(
    path: Path, population: str, groups: Sequence[str], name: str, of_types: np.ndarray | None, size: int
) -> np.ndarray:
    """Read a property of a population with several groups of nodes, which libsonata refuses."""
    with hdf5.opened(path, "nodes") as opened:
        nodes = opened["nodes"][population]
        group_id, row = hdf5.ids(nodes, "node_group_id", path), hdf5.ids(nodes, "node_group_index", path)
        if len(group_id) != size or len(row) != size:
            raise SimulationError(
                f"{path}: {nodes.name}: node_group_id and node_group_index must have {size} values"
            )
        parts = {}
        for key in groups:
            if isinstance(nodes[key].get(name), h5py.Dataset):
                here = np.flatnonzero(group_id == int(key))
                values = _of_group(nodes[key], name, path)
                if len(here) and row[here].max() >= len(values):
                    raise SimulationError(
                        f"{path}: {nodes[key].name}/{name} has fewer values than its group has nodes"
                    )
                parts[key] = here, values[row[here]]
    texts = any(values.dtype == object for _, values in parts.values())
    missing = "" if texts else np.nan
    whole = (
        np.full(size, missing, dtype=object if texts else np.float64) if of_types is None else of_types.copy()
    )
    for here, values in parts.values():
        whole = whole if whole.dtype == values.dtype else whole.astype(np.result_type(whole, values))
        whole[here] = values
    return whole


def _of_group(group: h5py.Group, name: str, path: Path) -> np.ndarray:
    dataset = group[name]
    if h5py.check_string_dtype(dataset.dtype):
        return dataset.asstr()[()]
    values = hdf5.dataset(group, name, hdf5.NUMBERS, 1, path)[()]
    library = group.get(f"{LIBRARY}/{name}")
    return values if library is None else _labels(library.asstr()[()], values, f"{path}: {dataset.name}")


def _labels(library: np.ndarray, codes: np.ndarray, where: str) -> np.ndarray:
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(library):
        raise SimulationError(f"{where}: numbers without a text: the library has {len(library)} texts")
    return library[codes]


def _type_columns(path: Path, types: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a node types file, spread over the nodes with these types."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            lines = [line for line in csv.reader(stream, delimiter=" ", skipinitialspace=True) if line]
    except FileNotFoundError:
        raise SimulationError(f"node types file {path} is not there") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SimulationError(f"{path}: node types cannot be read: {error}") from None
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    if "node_type_id" not in header:
        raise SimulationError(
            f"{path}: column 'node_type_id' is missing (columns, separated by blanks: {header})"
        )
    row_of: dict[str, int] = {}
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise SimulationError(f"{path}: row {i + 1} has {len(row)} values for {len(header)} columns")
        row_of[row[header.index("node_type_id")]] = i
    used, type_of_node = np.unique(types, return_inverse=True)
    if missing := [str(used_id) for used_id in used if str(used_id) not in row_of]:
        raise SimulationError(f"{path}: node_type_id {', '.join(missing)} of the nodes file is missing")
    take = np.array([row_of[str(used_id)] for used_id in used], dtype=np.int64)[type_of_node]
    return {
        name: _numbers_or_texts([row[i] for row in rows])[take]
        for i, name in enumerate(header)
        if name not in ("node_type_id", DYNAMICS)
    }


def _numbers_or_texts(texts: Sequence[str]) -> np.ndarray:
    """Return numbers where all texts are; NULL is a text, as many columns say NULL for some types only."""
    for parse, kind in ((int, np.int64), (float, np.float64)):
        try:
            return np.array([parse(text) for text in texts], dtype=kind)
        except (ValueError, OverflowError):
            continue
    return np.array(texts, dtype=object)


def _node_sets(path: Path) -> dict[str, Any]:
    try:
        sets = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SimulationError(f"node sets file {path} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SimulationError(f"{path}: node sets cannot be read as JSON: {error}") from None
    if not isinstance(sets, dict):
        raise SimulationError(f"{path}: node sets must be names and rules")
    return sets


def _in_set(
    sets: Mapping[str, Any],
    name: str,
    population: Population,
    where: str,
    found: dict[str, np.ndarray | None],
) -> np.ndarray:
    """Return (N,) whether each node is in the set; `found` keeps the sets met before, None for those not finished."""
    if name in found:
        known = found[name]
        if known is None:
            raise SimulationError(f"{where}: node set {name!r} refers to itself")
        return known
    found[name] = None
    rules = sets[name]
    if isinstance(rules, list):
        inside = np.zeros(population.size, dtype=bool)
        for member in rules:
            if not isinstance(member, str) or member not in sets:
                raise SimulationError(
                    f"{where}: node set {name!r} refers to {member!r}, which is no node set"
                )
            inside |= _in_set(sets, member, population, where, found)
    elif isinstance(rules, dict) and rules:
        inside = _fulfilling(rules, population, f"{where}: node set {name!r}")
    else:
        raise SimulationError(
            f"{where}: node set {name!r} must be rules on properties, or a list of node sets"
        )
    found[name] = inside
    return inside


def _fulfilling(rules: Mapping[str, Any], population: Population, where: str) -> np.ndarray:
    """Return (N,) whether each node fulfils all rules; rules for other populations are not looked at."""
    if "population" in rules and population.name not in _listed(rules["population"]):
        return np.zeros(population.size, dtype=bool)
    inside = np.ones(population.size, dtype=bool)
    for key, rule in rules.items():
        if key != "population":
            for accepted in _accepted(key, rule, population, f"{where}: {key}"):
                inside &= accepted
    return inside


def _accepted(key: str, rule: Any, population: Population, where: str) -> Iterator[np.ndarray]:
    """Yield (N,) whether each node fulfils one condition of a rule."""
    if key in NODE_ID_KEYS and key not in population.property_names:
        yield _with_ids(_listed(rule), population.size, where)
        return
    try:
        values = population.property(key)
    except SimulationError as error:
        raise SimulationError(f"{where}: {error}") from None
    texts = values.dtype == object
    if not isinstance(rule, Mapping):
        wanted = _listed(rule)
        for value in wanted:
            if isinstance(value, bool) or not isinstance(value, str if texts else int | float):
                raise SimulationError(
                    f"{where}: {value!r} is not a {'text' if texts else 'number'}, as the property is"
                )
        yield np.isin(values, wanted) if wanted else np.zeros(len(values), dtype=bool)
        return
    if not rule:
        raise SimulationError(f"{where}: an operator is missing")
    for operator, value in rule.items():
        if operator == "$regex" and texts and isinstance(value, str):
            yield _matching(values, value, where)
        elif (
            operator in OPERATORS
            and not texts
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ):
            yield OPERATORS[operator](values, value)
        else:
            allowed = "$regex and a text" if texts else f"{', '.join(OPERATORS)} and a number"
            raise SimulationError(f"{where}: {operator!r}: {value!r} is not allowed; allowed is {allowed}")


def _with_ids(ids: Sequence[Any], size: int, where: str) -> np.ndarray:
    inside = np.zeros(size, dtype=bool)
    for node in ids:
        if isinstance(node, bool) or not isinstance(node, int) or node < 0:
            raise SimulationError(f"{where}: {node!r} is not a node id")
    inside[[node for node in ids if node < size]] = True
    return inside


def _matching(values: np.ndarray, pattern: str, where: str) -> np.ndarray:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise SimulationError(f"{where}: $regex: {pattern!r} is not a regular expression: {error}") from None
    texts, place = np.unique(values, return_inverse=True)
    return np.array([search(text) is not None for text in texts], dtype=bool)[place]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
