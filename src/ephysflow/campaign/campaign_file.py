"""The campaign file: which simulations there are, and under which conditions each of them ran.

Two formats exist. bbp-workflow writes a labelled array (`xarray.DataArray.to_dict`): one dimension a condition and a
simulation for every combination of their values, or one dimension that several conditions share ("coupled"). The
native format of BlueETL lists the simulations one by one. Either may be JSON or YAML.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import canonical_json
from ephysflow.io.plain_values import value_problem

SIMULATION_CONFIG = "simulation_config.json"
MAX_SIMULATIONS = 1_000_000
"""More rows than this are a mistake, or a file that is made to exhaust memory."""
MAX_DEPTH = 10
"""Of lists in a condition; in YAML a list can even hold itself."""

ARRAY_KEYS = ("name", "attrs", "data", "dims", "coords")
NATIVE_KEYS = ("format", "version", "name", "attrs", "data")
PATH_KEY = "simulation_path"
RESERVED = ("simulation_id", "circuit_id", PATH_KEY)
"""Columns of the table of simulations that are not conditions."""


@dataclass(frozen=True)
class Campaign:
    """Simulations and their conditions; row i is the simulation with ``simulation_id`` i.

    Attributes
    ----------
    name : name of the campaign as its file gives it; may be ''
    attrs : free attributes; ``path_prefix`` and ``circuit_config`` are absolute
    conditions : condition name -> value, one mapping a simulation; all have the same names in the same order
    paths : absolute path of each simulation's configuration, '' for an excluded one, an address that begins with
        ``https://`` as it was given
    file : the campaign file
    """

    name: str
    attrs: Mapping[str, Any]
    conditions: list[dict[str, Any]]
    paths: list[str]
    file: Path

    @property
    def condition_names(self) -> list[str]:
        """Names of the conditions, in the order of the file."""
        return list(self.conditions[0]) if self.conditions else []


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file of either format.

    Raises
    ------
    ConfigurationError
        naming the file, the key, the value and what is allowed.
    """
    content = _read(path)
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path}: is not a campaign file: it holds no keys")
    if "format" in content:
        conditions, paths = _native_rows(content, path)
    elif "dims" in content or "coords" in content:
        conditions, paths = _array_rows(content, path)
    else:
        raise ConfigurationError(
            f"{path}: is not a campaign file: neither 'format: blueetl' nor the keys {', '.join(ARRAY_KEYS)}"
        )
    name = "" if content["name"] is None else content["name"]
    if not isinstance(name, str):
        raise ConfigurationError(f"{path}: name: {name!r} is not a text")
    _check_conditions(conditions, path)
    folder = os.path.dirname(os.path.abspath(path))
    attrs = _absolute_attrs(content["attrs"], folder, path)
    paths = [_simulation_path(text, attrs["path_prefix"], f"{path}: row {i}") for i, text in enumerate(paths)]
    return Campaign(name, attrs, conditions, paths, path)


def _read(path: Path) -> Any:
    """Parse JSON, which is fast for thousands of rows, or else YAML: the file's name does not tell."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: campaign file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: campaign file is not text: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: campaign file is neither JSON nor YAML: {error}") from None


def _check_keys(content: Mapping[str, Any], allowed: Sequence[str], path: Path) -> None:
    if missing := [key for key in allowed if key not in content]:
        raise ConfigurationError(f"{path}: key {missing[0]!r} is missing; needed are {', '.join(allowed)}")
    if unknown := [key for key in content if key not in allowed]:
        raise ConfigurationError(f"{path}: unknown key {unknown[0]!r}; allowed are {', '.join(allowed)}")


def _native_rows(content: Mapping[str, Any], path: Path) -> tuple[list[dict[str, Any]], list[Any]]:
    if content["format"] != "blueetl":
        raise ConfigurationError(f"{path}: format: {content['format']!r} is not known; allowed is 'blueetl'")
    _check_keys(content, NATIVE_KEYS, path)
    if content["version"] != 1 or isinstance(content["version"], bool):
        raise ConfigurationError(f"{path}: version: {content['version']!r} is not known; allowed is 1")
    rows = content["data"]
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigurationError(f"{path}: data: must be a list of conditions with their {PATH_KEY!r}")
    _check_number(len(rows), path)
    names = [name for name in rows[0] if name != PATH_KEY] if rows else []
    conditions = []
    for i, row in enumerate(rows):
        if PATH_KEY not in row:
            raise ConfigurationError(
                f"{path}: data, row {i}: key {PATH_KEY!r} is missing ('' excludes a simulation)"
            )
        if odd := set(row) ^ {*names, PATH_KEY}:
            raise ConfigurationError(
                f"{path}: data, row {i}: every row must have the same conditions; not all have "
                f"{', '.join(sorted(map(repr, odd)))}"
            )
        conditions.append({name: row[name] for name in names})
    return conditions, [row[PATH_KEY] for row in rows]


def _array_rows(content: Mapping[str, Any], path: Path) -> tuple[list[dict[str, Any]], list[Any]]:
    _check_keys(content, ARRAY_KEYS, path)
    dims, coords = content["dims"], content["coords"]
    if (
        not isinstance(dims, list)
        or not all(isinstance(dim, str) for dim in dims)
        or len({*dims}) < len(dims)
    ):
        raise ConfigurationError(f"{path}: dims: {dims!r} is not a list of different names")
    if not isinstance(coords, Mapping):
        raise ConfigurationError(f"{path}: coords: must give the values of each condition")
    if dims and not isinstance(content["data"], list):
        raise ConfigurationError(f"{path}: data: {content['data']!r} is not a list of simulation paths")
    values = {name: _coordinate(name, coord, dims, path) for name, coord in coords.items()}
    if coupled := len(dims) == 1 and [*values] != dims:
        shape = [len(next(iter(values.values()), content["data"]))]
        for name, listed in values.items():
            if len(listed) != shape[0]:
                raise ConfigurationError(
                    f"{path}: coords.{name}: {len(listed)} values, but other conditions have {shape[0]}; "
                    "conditions that share a dimension need as many values each"
                )
    else:
        for dim in dims:
            if dim not in values:
                raise ConfigurationError(f"{path}: coords: values of the dimension {dim!r} are missing")
        for name in values:
            if name not in dims:
                raise ConfigurationError(
                    f"{path}: coords.{name}: is not one of dims {dims}; with several dimensions each condition is one"
                )
        shape = [len(values[dim]) for dim in dims]
    _check_number(math.prod(shape), path)
    paths = list(_flat(content["data"], shape, "data", path))
    if coupled:
        return [{name: listed[i] for name, listed in values.items()} for i in range(shape[0])], paths
    return [dict(zip(dims, row, strict=True)) for row in _combinations([values[dim] for dim in dims])], paths


def _combinations(levels: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield all combinations, the last level fastest (C order of the array)."""
    if not levels:
        yield ()
        return
    for first in levels[0]:
        for rest in _combinations(levels[1:]):
            yield (first, *rest)


def _coordinate(name: Any, coord: Any, dims: Sequence[str], path: Path) -> list[Any]:
    """Return the values of one coordinate, which must lie along one dimension of the array."""
    if not isinstance(coord, Mapping) or "dims" not in coord or "data" not in coord:
        raise ConfigurationError(f"{path}: coords.{name}: needs the keys 'dims' and 'data'")
    along = [name] if name in dims else list(dims) if len(dims) == 1 else None
    if along is not None and coord["dims"] != along:
        raise ConfigurationError(f"{path}: coords.{name}.dims: {coord['dims']!r} must be {along!r}")
    if not isinstance(coord["data"], list):
        raise ConfigurationError(f"{path}: coords.{name}.data: must be a list of values")
    return coord["data"]


def _flat(data: Any, shape: Sequence[int], where: str, path: Path) -> Iterator[Any]:
    """Yield the elements of nested lists in C order; lists of another shape are an error."""
    if not shape:
        yield data
        return
    if not isinstance(data, list) or len(data) != shape[0]:
        found = f"{len(data)} entries" if isinstance(data, list) else repr(data)
        raise ConfigurationError(
            f"{path}: {where}: {found}, but {shape[0]} are needed, one a value of the condition"
        )
    for i, part in enumerate(data):
        yield from _flat(part, shape[1:], f"{where}[{i}]", path)


def _check_number(number: int, path: Path) -> None:
    if number > MAX_SIMULATIONS:
        raise ConfigurationError(f"{path}: {number} simulations; at most {MAX_SIMULATIONS} are allowed")


def _check_conditions(conditions: Sequence[Mapping[Any, Any]], path: Path) -> None:
    """Check names and values, and that no two simulations have the same conditions."""
    for name in conditions[0] if conditions else ():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{path}: condition {name!r}: its name must be a text")
        if problem := value_problem(name):
            raise ConfigurationError(f"{path}: condition names: {problem}")
        if name in RESERVED:
            raise ConfigurationError(
                f"{path}: condition {name!r}: this name is taken; not allowed are {', '.join(RESERVED)}"
            )
    seen: dict[str, int] = {}
    for i, row in enumerate(conditions):
        for name, value in row.items():
            if problem := _condition_problem(value):
                raise ConfigurationError(
                    f"{path}: row {i}: condition {name!r}: {problem}; allowed are finite numbers, text, true or "
                    "false, nothing (null), and lists of these"
                )
        key = canonical_json(row)
        if key in seen:
            raise ConfigurationError(f"{path}: rows {seen[key]} and {i} have the same conditions: {key}")
        seen[key] = i


def _condition_problem(value: Any, depth: int = 0) -> str:
    if isinstance(value, list):
        if depth == MAX_DEPTH:
            return f"lists are nested more than {MAX_DEPTH} levels deep"
        return next(filter(None, (_condition_problem(item, depth + 1) for item in value)), "")
    if value is not None and not isinstance(value, str | int | float):
        return f"a value of type {type(value).__name__}"
    return value_problem(value)


def _absolute_attrs(attrs: Any, folder: str, path: Path) -> dict[str, Any]:
    if not isinstance(attrs, Mapping):
        raise ConfigurationError(f"{path}: attrs: must be keys and values, with at least 'circuit_config'")
    if "circuit_config" not in attrs:
        raise ConfigurationError(f"{path}: attrs: key 'circuit_config' is missing")
    prefix, circuit = attrs.get("path_prefix", ""), attrs["circuit_config"]
    for key, value in (("path_prefix", prefix), ("circuit_config", circuit)):
        if not isinstance(value, str) or value_problem(value):
            raise ConfigurationError(f"{path}: attrs.{key}: {value!r} is not a path")
    if not circuit.endswith(".json"):
        raise ConfigurationError(
            f"{path}: attrs.circuit_config: {circuit!r} does not end in .json: BlueConfig simulations are not "
            "supported, only SONATA"
        )
    return {
        **attrs,
        "path_prefix": os.path.normpath(os.path.join(folder, prefix)),
        "circuit_config": os.path.normpath(os.path.join(folder, circuit)),
    }


def _simulation_path(text: Any, prefix: str, where: str) -> str:
    if not isinstance(text, str):
        raise ConfigurationError(f"{where}: simulation path {text!r} is not a text; put it in quotes")
    if problem := value_problem(text):
        raise ConfigurationError(f"{where}: simulation path: {problem}")
    if not text or text.startswith("https://"):
        return text
    whole = os.path.join(prefix, text)
    return os.path.normpath(whole if whole.endswith(".json") else os.path.join(whole, SIMULATION_CONFIG))
