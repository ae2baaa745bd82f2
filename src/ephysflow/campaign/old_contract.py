"""User functions of BlueETL's contract, ``function(repo, key, df, params)``, called once per group.

``repo`` is a `ephysflow.campaign.repository.Repository` and offers

- ``repo.simulations.df``: condition columns, ``simulation_path, simulation_id, circuit_id``
- ``repo.neurons.df``: ``circuit_id, neuron_class, gid, neuron_class_index``
- ``repo.neuron_classes.df``: ``circuit_id, neuron_class, count, limit, population, node_set, gids, query``
- ``repo.windows.df``: ``simulation_id, circuit_id, window, trial, offset, t_start, t_stop, t_step, duration, window_type``
- ``repo.report.df``: ``time, gid, window, trial, simulation_id, circuit_id, neuron_class`` (soma: and ``value``;
  compartment: and ``section, value``), and ``repo.report.read(simulation_id, columns, window)`` for a part of it
- ``.name`` of each table, ``repo.names``, ``repo.simulation_ids``, ``repo.missing_simulations()``
- the ``.etl`` accessor on all frames (`ephysflow.campaign.etl`)

It does not offer live objects: ``repo.simulations.df["simulation"]`` and ``["circuit"]`` are refused; open the row's
``simulation_path`` with bluepysnap.

``key`` is a namedtuple of the ``groupby`` columns, ``params`` a private copy. ``df`` holds the neurons of the group, each
in all its trials, with its rows of the report: at least one row for each neuron and trial, with NaN as time when the
neuron is silent.
"""

import copy
import traceback
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ephysflow.campaign.etl  # noqa: F401  user functions use the accessor without importing it
from ephysflow.campaign.feature_entries import FILE_NAME, FILE_NAME_RULE
from ephysflow.campaign.repository import LIVE_OBJECTS, LIVE_OBJECTS_TEXT, Repository
from ephysflow.errors import SimulationError

ROWS_AT_ONCE = 200_000
GROUPS_AT_ONCE = 2_000
"""Groups are cut out of a joined table of about this many rows; BlueETL joins anew for each."""


def apply_group_function(
    function: Callable[..., Any],
    repo: Repository,
    groupby: Sequence[str],
    neuron_classes: Sequence[str],
    windows: Sequence[str],
    params: Mapping[str, Any],
    type_: str,
    name: str | None,
) -> dict[str, pd.DataFrame]:
    """Call a function once per group and put together what it returns.

    Groups are the distinct combinations of the key columns over neurons and windows, so that silent neurons and
    groups without a spike are seen. A key column that only the report has (e.g. section) groups the report's rows.

    Parameters
    ----------
    function : ``function(repo, key, df, params)``
    repo : what the function gets, too; with simulation_id in `groupby` one report is in memory at a time
    groupby : key columns, any of neurons, windows or report
    neuron_classes, windows : labels to take; empty for all
    params : each call gets a private copy
    type_ : multi (the function returns a dict of DataFrames) or single (a DataFrame, or a dict of numbers)
    name : name of the table of a single function

    Returns
    -------
    Table name -> rows of all groups, in the order of the keys, which are the outer index levels; named levels of the
    returned index follow. Without any group there is no table.

    Raises
    ------
    SimulationError
        if the function raises or returns something else; names function, group and what is allowed.
    """
    call = _Call(function, repo, tuple(groupby), params, type_, name)
    collected: dict[str, _Collected] = {}
    keys: list[tuple] = []
    make_key = namedtuple("Key", groupby)  # type: ignore[misc]
    for joined in _joined_groups(repo, groupby, neuron_classes, windows):
        returned: dict[str, list[_Returned]] = {}
        for values, start, stop in joined.groups:
            frame = joined.frame.iloc[start:stop]
            frame.index = pd.RangeIndex(stop - start)
            key = make_key(*values)
            for table, part in call(key, frame).items():
                returned.setdefault(table, []).append(_Returned(len(keys), key, part))
            keys.append(values)
        for table, parts in returned.items():
            collected.setdefault(table, _Collected(table, call)).add(parts)
    dtypes = _key_dtypes(repo, groupby)
    return {table: found.frame(keys, dtypes) for table, found in collected.items()}


@dataclass(frozen=True)
class _Call:
    """A function with all that its calls have in common."""

    function: Callable[..., Any]
    repo: Repository
    groupby: tuple[str, ...]
    params: Mapping[str, Any]
    type_: str
    name: str | None

    def __call__(self, key: tuple, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
        try:
            returned = self.function(self.repo, key, frame, copy.deepcopy(self.params))
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {error}{_line(error, self.function)}{_advice(error)}"
            raise self.error(key, f"raised {what}") from error
        tables = returned
        if self.type_ == "single":
            if isinstance(returned, Mapping) and not any(map(_is_table, returned.values())):
                returned = pd.DataFrame({column: [value] for column, value in returned.items()})
            tables = {self.name: returned}
        if problem := _problem(tables):
            allowed = "a DataFrame or a dict of numbers" if self.type_ == "single" else "a dict of DataFrames"
            raise self.error(key, f"returned {problem}; allowed is {allowed}")
        return tables

    def error(self, key: tuple, what: str) -> SimulationError:
        """Return an error that says which function and group it was."""
        module = getattr(self.function, "__module__", "")
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        group = ", ".join(f"{column}={value!r}" for column, value in zip(self.groupby, key, strict=True))
        return SimulationError(f"{module}.{name}: group ({group}): {what}")


@dataclass(frozen=True)
class _Returned:
    """A table that a call returned, and the number and values of its key."""

    number: int
    key: tuple
    frame: pd.DataFrame


@dataclass
class _Collected:
    """What the calls returned under one name: frames without index, and the number of the key of each row."""

    table: str
    call: _Call
    levels: list[Any] | None = None
    frames: list[pd.DataFrame] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)

    def add(self, parts: Sequence[_Returned]) -> None:
        """Take the tables of some groups; those without rows say nothing about the columns if there are others."""
        filled = [part for part in parts if len(part.frame)]
        if not filled:
            filled = [] if self.frames else list(parts[:1])
        if not filled:
            return
        if self.frames and not len(self.frames[0]):
            self.levels, self.frames, self.numbers = None, [], []
        flat = pd.concat([self._flat(part) for part in filled], ignore_index=True)
        for column in [name for name, kind in flat.dtypes.items() if kind in (object, "str")]:
            flat[column] = pd.Series([_storable(value) for value in flat[column]], dtype=object)
        self.frames.append(flat)
        self.numbers.append(np.repeat([p.number for p in filled], [len(p.frame) for p in filled]))

    def frame(self, keys: Sequence[tuple], dtypes: Mapping[str, Any]) -> pd.DataFrame:
        """Return the rows of all groups in the order of the keys."""
        flat = pd.concat(self.frames, ignore_index=True) if len(self.frames) > 1 else self.frames[0]
        number = np.concatenate(self.numbers)
        in_order = sorted(range(len(keys)), key=keys.__getitem__)
        rank = np.empty(len(keys), np.int64)
        rank[in_order] = np.arange(len(keys))
        if (np.diff(rank[number]) < 0).any():
            order = np.argsort(rank[number], kind="stable")
            flat, number = flat.iloc[order].reset_index(drop=True), number[order]
        columns = {
            name: pd.Series([key[k] for key in keys], dtype=dtype).array.take(number)
            for k, (name, dtype) in enumerate(dtypes.items())
        }
        whole = pd.concat([pd.DataFrame(columns, index=flat.index), flat], axis=1) if columns else flat
        index = [*columns, *(self.levels or [])]
        return whole.set_index(index) if index else whole

    def _flat(self, part: _Returned) -> pd.DataFrame:
        frame = part.frame
        levels: list[Any] = []
        if frame.index.nlevels > 1 or frame.index.name is not None:
            levels = [f"level_{k}" if level is None else level for k, level in enumerate(frame.index.names)]
            if twice := [level for level in levels if level in frame.columns]:
                raise self.call.error(
                    part.key, f"table {self.table!r}: {twice[0]!r} is an index level and a column"
                )
            frame = frame.reset_index(names=levels)
        for column, value in zip(self.call.groupby, part.key, strict=True):
            if column in frame.columns:
                if not (frame[column] == value).all():
                    raise self.call.error(
                        part.key,
                        f"table {self.table!r}: column {column!r} differs from the group's {value!r}",
                    )
                frame = frame.drop(columns=column)
                levels = [level for level in levels if level != column]
        if self.levels is None:
            self.levels = levels
        elif levels != self.levels:
            raise self.call.error(
                part.key,
                f"table {self.table!r}: its index levels are {levels}, those of other groups {self.levels}",
            )
        return frame


@dataclass(frozen=True)
class _Joined:
    """Some groups: rows ``start:stop`` of the frame belong to a group; ``(key values, start, stop)`` each."""

    frame: pd.DataFrame
    groups: list[tuple[tuple, int, int]]


def _joined_groups(
    repo: Repository, groupby: Sequence[str], neuron_classes: Sequence[str], windows: Sequence[str]
) -> Iterator[_Joined]:
    neurons = _with_labels(repo.neurons.df, "neuron_class", neuron_classes)
    trials = _with_labels(repo.windows.df, "window", windows)
    parts: list[Any] = [None]
    if "simulation_id" in groupby and "simulation_id" in trials.columns:
        parts = sorted(trials["simulation_id"].unique())
    for simulation_id in parts:
        own = trials
        if simulation_id is not None:
            own = trials[trials["simulation_id"] == simulation_id].reset_index(drop=True)
        report = repo.report.read(simulation_id, window=list(windows) or None)
        yield from _groups_of(neurons, own, report, groupby)


def _groups_of(
    neurons: pd.DataFrame, trials: pd.DataFrame, report: pd.DataFrame, groupby: Sequence[str]
) -> Iterator[_Joined]:
    """Join neurons, trials and report on the columns that they share, and cut the result into groups.

    The order inside a group is that of neurons, then of trials, then of the report.
    """
    source = dict.fromkeys(report.columns, "report")
    source |= dict.fromkeys(trials.columns, "trials")
    source |= dict.fromkeys(neurons.columns, "neurons")
    if unknown := [name for name in groupby if name not in source]:
        raise SimulationError(
            f"groupby: {', '.join(unknown)} is not a column of neurons, windows or report "
            f"(known: {', '.join(sorted(source))})"
        )
    frames = {"neurons": neurons, "trials": trials, "report": report}
    both = [(neurons[name], None, trials[name]) for name in neurons.columns if name in trials.columns]
    found = _look_up(*_codes(both, len(neurons), len(trials)))
    rows = {
        "neurons": np.repeat(np.arange(len(neurons)), found.count),
        "trials": found.order[_runs(found.start, found.count)],
    }
    shared = [name for name in report.columns if source[name] != "report"]
    in_report = [(frames[source[name]][name], rows[source[name]], report[name]) for name in shared]
    found = _look_up(*_codes(in_report, len(rows["neurons"]), len(report)))
    start, count = found.start, found.count
    if any(source[name] == "report" for name in groupby):
        rows = {name: np.repeat(taken, count) for name, taken in rows.items()}
        start = _runs(start, count)
        count = np.ones(len(start), np.int64)
        rows["report"] = found.order[start]
    group, keys = _grouped([(frames[source[name]][name], rows[source[name]]) for name in groupby], len(start))
    sorting = np.argsort(group, kind="stable")
    start, count = start[sorting], count[sorting]
    rows = {name: taken[sorting] for name, taken in rows.items()}
    first = np.searchsorted(group[sorting], np.arange(len(keys) + 1))
    own = [
        _Column(str(name), values.array, rows[table])
        for table in ("neurons", "trials")
        for name, values in frames[table].items()
        if source[str(name)] == table
    ]
    of_report = {str(name): values for name, values in report.items() if source[str(name)] == "report"}
    if (count == 0).any():  # integers have no NaN for silent neurons
        of_report = {
            name: values.astype("float64") if pd.api.types.is_integer_dtype(values.dtype) else values
            for name, values in of_report.items()
        }
    yield from _cut(own, of_report, _Found(found.order, start, count), keys, first)


@dataclass(frozen=True)
class _Column:
    """A column of neurons or trials, and the row of it that each neuron in a trial takes."""

    name: str
    array: Any
    taken: np.ndarray


def _cut(
    columns: Sequence[_Column],
    of_report: Mapping[str, pd.Series],
    found: "_Found",
    keys: list[tuple],
    first: np.ndarray,
) -> Iterator[_Joined]:
    """Build frames of some groups each; neurons in trials ``first[g]:first[g + 1]`` belong to group g."""
    shown = np.maximum(found.count, 1)  # a silent neuron has one row
    offsets = np.concatenate([[0], np.cumsum(shown)])[first]
    start = 0
    while start < len(keys):
        full = int(np.searchsorted(offsets, offsets[start] + ROWS_AT_ONCE, side="right")) - 1
        stop = min(max(full, start + 1), start + GROUPS_AT_ONCE, len(keys))
        part = slice(first[start], first[stop])
        unit = np.repeat(np.arange(part.start, part.stop), shown[part])
        row = np.full(len(unit), -1)
        row[found.count[unit] > 0] = found.order[_runs(found.start[part], found.count[part])]
        frame = {column.name: column.array.take(column.taken[unit]) for column in columns}
        frame |= {name: values.array.take(row, allow_fill=True) for name, values in of_report.items()}
        bounds = (offsets[start : stop + 1] - offsets[start]).tolist()
        yield _Joined(pd.DataFrame(frame), list(zip(keys[start:stop], bounds[:-1], bounds[1:], strict=True)))
        start = stop


@dataclass(frozen=True)
class _Found:
    """Rows ``order[start[k]:start[k] + count[k]]`` of the right table match row k of the left one."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray


def _look_up(left: np.ndarray, right: np.ndarray) -> _Found:
    order = np.argsort(right, kind="stable")
    in_order = right[order]
    start = np.searchsorted(in_order, left, side="left")
    return _Found(order, start, np.searchsorted(in_order, left, side="right") - start)


def _runs(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return ``start[k], start[k] + 1, ...`` (count[k] of them) of all k."""
    return np.repeat(start - (np.cumsum(count) - count), count) + np.arange(count.sum())


def _codes(
    shared: Sequence[tuple[pd.Series, np.ndarray | None, pd.Series]], n_left: int, n_right: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number of each row of two tables, equal where all shared columns are; -1 for none on the left.

    Parameters
    ----------
    shared : (left values, rows to take of them or None for all, right values) of each shared column; without any, all
        rows are equal
    n_left, n_right : numbers of rows
    """
    left, right = np.zeros(n_left, np.int64), np.zeros(n_right, np.int64)
    unknown = np.zeros(n_right, bool)
    for values, taken, others in shared:
        known, codes = _distinct(values)
        left = left * len(known) + (codes if taken is None else codes[taken])
        codes = _codes_in(known, others)
        unknown |= codes < 0
        right = right * len(known) + codes
    right[unknown] = -1
    return left, right


def _grouped(columns: Sequence[tuple[pd.Series, np.ndarray]], size: int) -> tuple[np.ndarray, list[tuple]]:
    """Return the group of each row, and the sorted keys of the groups."""
    group = np.zeros(size, np.int64)
    levels = []
    for values, taken in columns:
        known, codes = _distinct(values)
        group = group * len(known) + codes[taken]
        levels.append(known.tolist())
    used, group = np.unique(group, return_inverse=True)
    codes_of = np.unravel_index(used, [len(known) for known in levels]) if levels else ()
    named = [[known[code] for code in codes] for known, codes in zip(levels, codes_of, strict=True)]
    return group, list(zip(*named, strict=True)) if named else [()] * len(used)


def _distinct(values: pd.Series) -> tuple[pd.Index, np.ndarray]:
    """Return the sorted distinct values, and the position in them of each value."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        known = pd.Index(sorted(values.cat.categories))
    else:
        known = pd.Index(values.unique()).sort_values()
    return known, _codes_in(known, values)


def _codes_in(known: pd.Index, values: pd.Series) -> np.ndarray:
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = known.get_indexer(values.cat.categories)
        return np.append(codes, -1)[values.cat.codes.to_numpy()]
    return known.get_indexer(pd.Index(values))


def _with_labels(frame: pd.DataFrame, column: str, labels: Sequence[str]) -> pd.DataFrame:
    return frame[frame[column].isin(list(labels))].reset_index(drop=True) if labels else frame


def _key_dtypes(repo: Repository, groupby: Sequence[str]) -> dict[str, Any]:
    known = {**repo.windows.df.dtypes, **repo.neurons.df.dtypes}
    return {name: known.get(name) for name in groupby}


def _is_table(value: Any) -> bool:
    return isinstance(value, pd.DataFrame | pd.Series | Mapping)


def _problem(tables: Any) -> str:
    """Return what is wrong with the tables that a call returned; nothing if they are right."""
    if not isinstance(tables, Mapping):
        return f"a {type(tables).__name__}"
    for name, frame in tables.items():
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            return f"a table named {name!r}, where a name has {FILE_NAME_RULE}"
        if not isinstance(frame, pd.DataFrame):
            return f"a {type(frame).__name__} as {name!r}"
        if not all(isinstance(column, str) for column in frame.columns):
            return f"columns that are not texts in {name!r} ({', '.join(map(repr, frame.columns[:5]))})"
        if not frame.columns.is_unique:
            return f"columns of equal name in {name!r} ({', '.join(frame.columns)})"
    return ""


def _storable(value: Any) -> Any:
    """Return matrices as lists of lists, which a table's cell can hold."""
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value


def _line(error: BaseException, function: Callable[..., Any]) -> str:
    """Return the last line of the function's file that the error went through."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    called = traceback.extract_tb(error.__traceback__)[1:]  # the first is the call in this module
    own = [frame for frame in called if frame.filename == file] or called
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _advice(error: BaseException) -> str:
    name = error.name if isinstance(error, AttributeError) else next(iter(error.args), None)
    missing = isinstance(error, AttributeError | KeyError) and name in LIVE_OBJECTS
    return f"; {LIVE_OBJECTS_TEXT}" if missing else ""
