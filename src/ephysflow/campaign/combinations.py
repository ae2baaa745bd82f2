"""Combinations of parameters of a feature entry, and the names of what they give."""

import copy
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ephysflow.errors import ConfigurationError

MAX_COMBINATIONS = 100_000
"""More than this is a mistake: each is a job and a table."""


@dataclass(frozen=True)
class Combination:
    """One choice of parameters.

    Attributes
    ----------
    suffix : what the names of its tables end in
    params : what the feature function is given
    """

    suffix: str
    params: dict[str, Any]


def expand(entry: Mapping[str, Any]) -> list[Combination]:
    """Return the combinations of a feature entry.

    Keys of ``params_product`` come in the order of the file, the last one fastest; value i of each adds ``_i`` to the
    name. Lists of ``params_zip`` go together; index i adds ``__i``. A dotted key ``a.b`` reaches into parameter ``a``.

    Parameters
    ----------
    entry : with ``params``, ``params_product``, ``params_zip`` and ``suffix``, each optional

    Raises
    ------
    ConfigurationError
        if a list is empty, lists of ``params_zip`` differ in length, two keys reach the same parameter, a dotted key
        reaches into what is not a mapping, or there are too many.
    """
    product, zipped = entry.get("params_product") or {}, entry.get("params_zip") or {}
    _check(product, zipped)
    zip_places: Sequence[int | None] = range(len(next(iter(zipped.values())))) if zipped else [None]
    product_places = [range(len(values)) for values in product.values()]
    if (count := math.prod(map(len, product_places)) * len(zip_places)) > MAX_COMBINATIONS:
        raise ConfigurationError(f"params_product: {count} combinations; allowed are {MAX_COMBINATIONS}")
    found = []
    for *places, zip_place in itertools.product(*product_places, zip_places):
        params = copy.deepcopy(dict(entry.get("params") or {}))
        for (key, values), place in zip(product.items(), places, strict=True):
            _set(params, key, values[place], "params_product")
        for key, values in zipped.items():
            _set(params, key, values[zip_place], "params_zip")
        flatten(params)
        suffix = "".join(f"_{place}" for place in places)
        suffix += f"__{zip_place}" if zip_place is not None else ""
        found.append(Combination(f"{entry.get('suffix') or ''}{suffix}", params))
    return found


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by dotted name; lists and empty mappings are values.

    Raises
    ------
    ConfigurationError
        if two parameters have the same dotted name (``a.b`` and ``b`` in ``a``).
    """
    flat: dict[str, Any] = {}
    for key, value in params.items():
        inner = flatten(value) if isinstance(value, Mapping) and value else {"": value}
        for name, leaf in inner.items():
            full = f"{key}.{name}" if name else str(key)
            if full in flat:
                raise ConfigurationError(f"params: two parameters are called {full}")
            flat[full] = leaf
    return flat


def params_table(combinations: Sequence[Combination]) -> list[dict[str, Any]]:
    """Return one row a combination, with the flattened parameters of all; None where one has no such parameter."""
    flat = [flatten(combination.params) for combination in combinations]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    return [{name: row.get(name) for name in columns} for row in flat]


def aliases(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a short name for each column of `params_table` that varies, in its order.

    It is the last dotted part where no other varying column ends alike, else the full name.
    """
    varying = [name for name in (rows[0] if rows else ()) if len({_text(row[name]) for row in rows}) > 1]
    last = [name.rpartition(".")[2] for name in varying]
    return [
        {"column": name, "alias": short if last.count(short) == 1 else name}
        for name, short in zip(varying, last, strict=True)
    ]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _check(product: Mapping[str, Any], zipped: Mapping[str, Any]) -> None:
    for where, lists in (("params_product", product), ("params_zip", zipped)):
        for key, values in lists.items():
            if not isinstance(values, list) or not values:
                raise ConfigurationError(
                    f"{where}.{key}: needs a list of at least one value; given: {values!r}"
                )
            if not all(key.split(".")):
                raise ConfigurationError(f"{where}.{key}: a part of the dotted name is empty")
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise ConfigurationError(f"params_zip: the lists must have one length; given: {listed}")
    keys = [*(("params_product", key) for key in product), *(("params_zip", key) for key in zipped)]
    for (where, key), (other_where, other) in itertools.combinations(keys, 2):
        if key == other or key.startswith(f"{other}.") or other.startswith(f"{key}."):
            raise ConfigurationError(f"{where}.{key} and {other_where}.{other} reach the same parameter")


def _set(params: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    holder: Any = params
    for depth, name in enumerate(parents):
        holder = holder.setdefault(name, {})
        if not isinstance(holder, dict):
            inner = ".".join(parents[: depth + 1])
            raise ConfigurationError(f"{where}.{key}: params.{inner} is not a mapping but {holder!r}")
    holder[last] = copy.deepcopy(value)
