"""The query language: which rows of a table have the asked values.

A query is a mapping ``column -> condition``, all of which must hold, or a list of such mappings, of which one must.
A condition is a value (equal to it), a list (one of them), or a mapping of operators, all of which must hold.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.errors import ConfigurationError

OPERATORS = ("eq", "ne", "le", "lt", "ge", "gt", "isin", "regex")

_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "le": operator.le,
    "lt": operator.lt,
    "ge": operator.ge,
    "gt": operator.gt,
}
_SCALARS = (str, bool, int, float, np.generic)
_LISTS = (list, tuple, np.ndarray)

Query = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def matches(query: Query, columns: Mapping[str, np.ndarray], where: str = "") -> np.ndarray:
    """Return the mask of the rows that a query lets through.

    Values compare as in pandas: 1 equals 1.0 and true, never the text "1"; nothing equals NaN or null.

    Parameters
    ----------
    query : mapping, list of mappings, or None; an empty one lets everything through, and an empty mapping in a list
        counts for nothing
    columns : name -> (N,) numbers, truth values or texts; object arrays may mix them
    where : file and key, for messages

    Returns
    -------
    (N,) bool

    Raises
    ------
    ConfigurationError
        if the query is malformed, names an unknown column, or compares what has no order.
    """
    check_query(query, where)
    size = len(next(iter(columns.values()))) if columns else 0
    alternatives = _alternatives(query)
    if unknown := [name for name in query_columns(query) if name not in columns]:
        raise ConfigurationError(
            f"{_located(where)}{', '.join(map(repr, unknown))}: unknown "
            f"(known: {', '.join(map(str, columns)) or 'none'})"
        )
    if not alternatives:
        return np.ones(size, dtype=bool)
    found = np.zeros(size, dtype=bool)
    for conditions in alternatives:
        held = np.ones(size, dtype=bool)
        for name, condition in conditions.items():
            values = _plain(columns[name])
            for operation, operand in _operations(condition).items():
                try:
                    held &= _holds(values, operation, operand)
                except _IncomparableError as error:
                    raise ConfigurationError(f"{_located(where)}{name}: {operation}: {error}") from None
        found |= held
    return found


def query_columns(query: Query) -> list[str]:
    """Return the names of the columns that a query reads, each once, in its order."""
    return list(dict.fromkeys(name for conditions in _alternatives(query) for name in conditions))


def check_query(query: Any, where: str = "") -> None:
    """Refuse a query that is malformed whatever the columns are.

    Raises
    ------
    ConfigurationError
        naming each key in question and what is allowed, all at once.
    """
    if found := list(_problems(query)):
        raise ConfigurationError("\n".join(f"{_located(where)}{problem}" for problem in found))


class _IncomparableError(Exception):
    """Values that an operator cannot be applied to."""


def _problems(query: Any) -> list[str]:
    if query is None:
        return []
    if isinstance(query, Mapping):
        query = [query]
    if not isinstance(query, list | tuple) or not all(isinstance(part, Mapping) for part in query):
        return [f"a query is a mapping, or a list of mappings; given: {query!r}"]
    found = []
    for conditions in query:
        for name, condition in conditions.items():
            if not isinstance(name, str):
                found.append(f"{name!r}: the name of a column must be a text")
                continue
            allowed = f"allowed operators: {', '.join(OPERATORS)}"
            if isinstance(condition, Mapping):
                if not condition:
                    found.append(f"{name}: {{}} asks for nothing; {allowed}")
                for key in condition:
                    if key not in OPERATORS:
                        found.append(f"{name}: unknown operator {key!r}; {allowed}")
            for operation, operand in _operations(condition).items():
                if problem := _operand_problem(operation, operand):
                    found.append(f"{name}: {operation}: {problem}")
    return found


def _operand_problem(operation: str, operand: Any) -> str | None:
    if operation == "isin":
        if not isinstance(operand, _LISTS):
            return f"needs a list; given: {operand!r}"
        bad = [value for value in operand if not (value is None or isinstance(value, _SCALARS))]
        return f"a list of texts and numbers; it has {bad[0]!r}" if bad else None
    if operation == "regex":
        if not isinstance(operand, str):
            return f"needs a text; given: {operand!r}"
        try:
            re.compile(operand)
        except (re.error, RecursionError, OverflowError) as error:
            return f"{operand!r} is not a regular expression: {error}"
        return None
    if operation in _ORDERINGS:
        return None if isinstance(operand, _SCALARS) else f"needs a number or a text; given: {operand!r}"
    if operation in OPERATORS and not (operand is None or isinstance(operand, _SCALARS)):
        return f"needs a text, a number or a truth value; given: {operand!r}"
    return None


def _alternatives(query: Query) -> list[Mapping[str, Any]]:
    if isinstance(query, Mapping):
        query = [query]
    return [conditions for conditions in query or [] if conditions]


def _operations(condition: Any) -> Mapping[str, Any]:
    if isinstance(condition, Mapping):
        return condition
    return {"isin" if isinstance(condition, _LISTS) else "eq": condition}


def _plain(values: np.ndarray) -> np.ndarray:
    """Return numbers and truth values as they are, anything else as objects."""
    values = np.asarray(values)
    return values if values.dtype.kind in "biuf" else values.astype(object)


def _holds(values: np.ndarray, operation: str, operand: Any) -> np.ndarray:
    if operation == "eq":
        return _is_one_of(values, [operand])
    if operation == "ne":
        return ~_is_one_of(values, [operand])
    if operation == "isin":
        return _is_one_of(values, operand)
    if operation == "regex":
        return _has_pattern(values, operand)
    return _is_ordered(values, operation, operand)


def _is_one_of(values: np.ndarray, wanted: Sequence[Any]) -> np.ndarray:
    present = [value for value in wanted if not _is_missing(value)]
    if values.dtype == object:
        known = set(present)  # 1, 1.0 and True have one hash
        try:
            return np.fromiter(map(known.__contains__, values), dtype=bool, count=len(values))
        except TypeError:  # a list among the values
            return np.array([_is_hashable(value) and value in known for value in values], dtype=bool)
    numbers = [value for value in present if not isinstance(value, str)]
    if not numbers:
        return np.zeros(len(values), dtype=bool)
    if len(numbers) == 1:
        return np.asarray(values == numbers[0])
    return np.isin(values.astype(np.int8) if values.dtype == bool else values, np.asarray(numbers))


def _has_pattern(values: np.ndarray, pattern: str) -> np.ndarray:
    given = [value for value in values if not _is_missing(value)]
    if given and not any(isinstance(value, str) for value in given):
        raise _IncomparableError(f"looks into texts, and this column has none (e.g. {given[0]!r})")
    search = re.compile(pattern).search
    found = {text: search(text) is not None for text in {value for value in given if isinstance(value, str)}}
    return np.array([isinstance(value, str) and found[value] for value in values], dtype=bool)


def _is_ordered(values: np.ndarray, operation: str, operand: Any) -> np.ndarray:
    compare = _ORDERINGS[operation]
    as_text = isinstance(operand, str)
    if values.dtype != object:
        if as_text:
            raise _IncomparableError(f"{operand!r} is a text, and the column has numbers")
        return np.asarray(compare(values, operand))
    held = np.zeros(len(values), dtype=bool)
    present = np.array([not _is_missing(value) for value in values], dtype=bool)
    for value in values[present]:
        if not isinstance(value, _SCALARS) or isinstance(value, str) != as_text:
            raise _IncomparableError(f"{operand!r} and {value!r} have no order")
    held[present] = [bool(compare(value, operand)) for value in values[present]]
    return held


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _is_hashable(value: Any) -> bool:
    return not isinstance(value, list | dict | np.ndarray)


def _located(where: str) -> str:
    return f"{where}: " if where else ""
