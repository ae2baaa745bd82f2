"""The ``.etl`` accessor: short ways to filter, select and regroup frames whose index levels are conditions.

Importing this module registers it on DataFrame, Series and Index, under the names that BlueETL uses. The *conditions*
of an object are the names of its index levels. Nothing changes the object it is called on.

>>> features.df.etl.q(simulation_id=[0, 1], mean_spike_counts={"gt": 2})   # doctest: +SKIP
>>> features.df.etl.pool(["neuron_class", "window"], "mean")                # doctest: +SKIP
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from ephysflow.campaign.query import matches
from ephysflow.errors import ResultError

Conditions = str | Sequence[str]
Query = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
T = TypeVar("T", pd.DataFrame, pd.Series)


@pd.api.extensions.register_index_accessor("etl")
class IndexAccessor:
    """``index.etl``."""

    def __init__(self, index: pd.Index) -> None:
        self._index = index

    @property
    def conditions(self) -> list[Any]:
        """Names of the levels, outer first."""
        return list(self._index.names)

    def complementary_conditions(self, conditions: Conditions) -> list[Any]:
        """Return the names of the levels that are not among `conditions`."""
        given = _known(self._index, conditions)
        return [name for name in self._index.names if name not in given]

    def labels(self, conditions: Conditions | None = None) -> list[pd.Index]:
        """Return the distinct values of each level, or of each level named."""
        names = self.conditions if conditions is None else _known(self._index, conditions)
        return [self.labels_of(name) for name in names]

    def labels_of(self, condition: str) -> pd.Index:
        """Return the distinct values of one level, in order of first appearance."""
        _known(self._index, condition)
        return self._index.get_level_values(condition).unique()

    @property
    def dtypes(self) -> pd.Series:
        """Type of each level."""
        levels = range(self._index.nlevels)
        types = [self._index.get_level_values(k).dtype for k in levels]
        return pd.Series(types, index=self.conditions, dtype=object)

    def astype(self, dtype: Any) -> pd.Index:
        """Return the index with other types: one for all levels, or a mapping ``name -> type``."""
        if isinstance(dtype, Mapping):
            wanted = dict(dtype)
            _known(self._index, list(wanted))
        else:
            wanted = dict.fromkeys(self.conditions, dtype)
        if not isinstance(self._index, pd.MultiIndex):
            return self._index.astype(wanted[self._index.name]) if self._index.name in wanted else self._index
        return pd.MultiIndex.from_frame(self._index.to_frame(index=False).astype(wanted))

    def iter(self) -> Iterator[Any]:
        """Yield each entry as a namedtuple of the levels."""
        return map(_record(self.conditions)._make, _tuples(self._index))

    def iterdict(self) -> Iterator[dict[str, Any]]:
        """Yield each entry as a dict ``level -> value``."""
        return (dict(zip(self.conditions, values, strict=True)) for values in _tuples(self._index))


class _ValuesAccessor(Generic[T]):
    """What frames and series have in common."""

    def __init__(self, values: T) -> None:
        self._obj: Any = values

    @property
    def conditions(self) -> list[Any]:
        """Names of the index levels, outer first."""
        return list(self._obj.index.names)

    def complementary_conditions(self, conditions: Conditions) -> list[Any]:
        """Return the names of the index levels that are not among `conditions`."""
        return IndexAccessor(self._obj.index).complementary_conditions(conditions)

    def labels(self, conditions: Conditions | None = None) -> list[pd.Index]:
        """Return the distinct values of each index level, or of each level named."""
        return IndexAccessor(self._obj.index).labels(conditions)

    def labels_of(self, condition: str) -> pd.Index:
        """Return the distinct values of one index level, in order of first appearance."""
        return IndexAccessor(self._obj.index).labels_of(condition)

    def remove_conditions(self, conditions: Conditions) -> T:
        """Return the object without these index levels; without any level left, rows are numbered."""
        names = _known(self._obj.index, conditions)
        if len(names) == self._obj.index.nlevels:
            return self._obj.reset_index(drop=True)
        return self._obj.droplevel(names)

    def keep_conditions(self, conditions: Conditions) -> T:
        """Return the object with these index levels only, in the given order."""
        names = _known(self._obj.index, conditions)
        kept: Any = self.remove_conditions(self.complementary_conditions(names))
        return kept.reorder_levels(names) if len(names) > 1 else kept

    def add_conditions(self, conditions: Conditions, values: Any) -> T:
        """Return the object with further index levels outside of those that it has.

        An index of one level without a name only numbers the rows, and is replaced.

        Parameters
        ----------
        conditions : one name or several
        values : the value of each: a scalar, or one for each row
        """
        names = [conditions] if isinstance(conditions, str) else list(conditions)
        given = [values] if isinstance(conditions, str) else list(values)
        if len(names) != len(given):
            raise ResultError(
                f"add_conditions: {len(names)} names ({', '.join(names)}) and {len(given)} values"
            )
        if twice := [name for name in names if name in self.conditions]:
            raise ResultError(f"add_conditions: index level {', '.join(twice)} is there already")
        rows, index = range(len(self._obj)), self._obj.index
        levels = [pd.Index(pd.Series(v, index=rows), name=n) for n, v in zip(names, given, strict=True)]
        if self.conditions != [None]:
            levels += [index.get_level_values(k) for k in range(index.nlevels)]
        result = self._obj.copy()
        result.index = pd.MultiIndex.from_arrays(levels) if len(levels) > 1 else levels[0]
        return result

    def q(self, query: Query = None, /, **conditions: Any) -> T:
        """Return the rows that a query lets through.

        Parameters
        ----------
        query : mapping ``column or index level -> condition``, or a list of such mappings, of which one must hold
        conditions : the same as keywords, all of which must hold. A condition is a value, a list of values or a
            mapping of operators (eq, ne, le, lt, ge, gt, isin, regex). A column comes before an index level of the same
            name

        Raises
        ------
        ConfigurationError
            if the query is malformed or names what is not there.
        """
        if query and conditions:
            raise ResultError("q: give either a query or keywords")
        return self._obj[_mask(query or conditions, self._columns())]

    def one(self, query: Query = None, /, **conditions: Any) -> Any:
        """Return the only row that a query lets through: a Series of a frame, a value of a series.

        Raises
        ------
        ResultError
            if there is not exactly one.
        """
        found = self.q(query, **conditions)
        if len(found) != 1:
            raise ResultError(f"one: {len(found)} rows match {query or conditions!r}")
        return found.iloc[0]

    def first(self, query: Query = None, /, **conditions: Any) -> Any:
        """Return the first row that a query lets through; ResultError if there is none."""
        found = self.q(query, **conditions)
        if not len(found):
            raise ResultError(f"first: no row matches {query or conditions!r}")
        return found.iloc[0]

    def select(self, **conditions: Any) -> T:
        """Return the rows with these values of index levels; a level that is given one value is dropped.

        Parameters
        ----------
        conditions : index level -> condition as in `q`
        """
        _known(self._obj.index, list(conditions))
        levels = {name: self._obj.index.get_level_values(name).to_series() for name in conditions}
        found = self._obj[_mask(conditions, levels)] if conditions else self._obj
        fixed = [name for name, condition in conditions.items() if np.isscalar(condition)]
        return _ValuesAccessor(found).remove_conditions(fixed) if fixed else found

    def groupby_except(self, conditions: Conditions, **options: Any) -> Any:
        """Return the pandas groupby over all index levels but these; `options` go to pandas.

        Combinations of labels that do not occur make no group (``observed=True``), unless an option says otherwise.
        """
        names = self.complementary_conditions(conditions)
        if not names:
            raise ResultError(
                f"groupby_except: no index level is left (levels: {', '.join(self.conditions)})"
            )
        return self._obj.groupby(level=names, **{"observed": True, **options})

    def pool(self, conditions: Conditions, function: str | Callable) -> T:
        """Keep these index levels, and aggregate over all others.

        Parameters
        ----------
        conditions : the levels to keep, which are the sorted index of the result
        function : what pandas' ``agg`` takes: a name (``"mean"``) or a function of a Series
        """
        names = _known(self._obj.index, conditions)
        return self._obj.groupby(level=names, observed=True).agg(function)

    def _columns(self) -> dict[str, pd.Series]:
        index = self._obj.index
        return {
            name: index.get_level_values(k).to_series()
            for k, name in enumerate(index.names)
            if name is not None
        }


@pd.api.extensions.register_series_accessor("etl")
class SeriesAccessor(_ValuesAccessor[pd.Series]):
    """``series.etl``."""

    def iter(self) -> Iterator[tuple[Any, Any]]:
        """Yield ``(namedtuple of the conditions, value)`` of each entry."""
        return zip(IndexAccessor(self._obj.index).iter(), self._obj, strict=True)

    def iterdict(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield ``(dict of the conditions, value)`` of each entry."""
        return zip(IndexAccessor(self._obj.index).iterdict(), self._obj, strict=True)

    def _columns(self) -> dict[str, pd.Series]:
        own = {} if self._obj.name is None else {str(self._obj.name): self._obj}
        return {**super()._columns(), **own}


@pd.api.extensions.register_dataframe_accessor("etl")
class DataFrameAccessor(_ValuesAccessor[pd.DataFrame]):
    """``frame.etl``."""

    def iter(self) -> Iterator[tuple[Any, Any]]:
        """Yield ``(namedtuple of the conditions, namedtuple of the columns)`` of each row."""
        values = self._obj.itertuples(index=False, name=None)
        rows = map(_record([str(name) for name in self._obj.columns])._make, values)
        return zip(IndexAccessor(self._obj.index).iter(), rows, strict=True)

    def iterdict(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield ``(dict of the conditions, dict of the columns)`` of each row."""
        names = list(self._obj.columns)
        rows = (dict(zip(names, row, strict=True)) for row in self._obj.itertuples(index=False, name=None))
        return zip(IndexAccessor(self._obj.index).iterdict(), rows, strict=True)

    def groupby_iter(
        self, groupby: Conditions, columns: Sequence[str] | None = None, **options: Any
    ) -> Iterator[tuple[Any, pd.DataFrame]]:
        """Yield ``(namedtuple of the key, frame)`` of each group that occurs.

        Parameters
        ----------
        groupby : columns or index levels
        columns : of the frames; None for all
        options : of pandas' groupby, e.g. ``sort=False``
        """
        names = [groupby] if isinstance(groupby, str) else list(groupby)
        known = [*map(str, self._obj.columns), *(name for name in self.conditions if name is not None)]
        if unknown := [name for name in names if name not in known]:
            raise ResultError(f"groupby_iter: {', '.join(unknown)} is not there (known: {', '.join(known)})")
        make = _record(names)._make
        groups = self._obj.groupby(names, **{"observed": True, **options})
        for key, frame in groups:
            yield make(key), frame if columns is None else frame[list(columns)]

    def insert_columns(self, loc: int, columns: Sequence[str], values: Sequence[Any]) -> pd.DataFrame:
        """Return the frame with further columns before position `loc`.

        Parameters
        ----------
        loc : position of the first of them
        columns, values : names, and for each a scalar or one value a row
        """
        if len(columns) != len(values):
            raise ResultError(f"insert_columns: {len(columns)} names and {len(values)} values")
        result = self._obj.copy()
        for k, (name, value) in enumerate(zip(columns, values, strict=True)):
            result.insert(loc + k, name, value)
        return result

    def _columns(self) -> dict[str, pd.Series]:
        return {**super()._columns(), **{str(name): column for name, column in self._obj.items()}}


def _known(index: pd.Index, conditions: Conditions) -> list[str]:
    names = [conditions] if isinstance(conditions, str) else list(conditions)
    if unknown := [name for name in names if name not in index.names]:
        known = ", ".join(str(name) for name in index.names)
        raise ResultError(f"{', '.join(map(str, unknown))}: no such index level (known: {known})")
    return names


def _mask(query: Any, columns: Mapping[str, pd.Series]) -> np.ndarray:
    """Return which rows a query lets through; labels are compared once each, not on every row."""
    matches(query, {name: np.empty(0, dtype=object) for name in columns})
    size = len(next(iter(columns.values()))) if columns else 0
    found = np.zeros(size, dtype=bool)
    alternatives = [part for part in ([query] if isinstance(query, Mapping) else query or []) if part]
    for conditions in alternatives:
        held = np.ones(size, dtype=bool)
        for name, condition in conditions.items():
            held &= _holds(name, condition, columns[name])
        found |= held
    return found if alternatives else np.ones(size, dtype=bool)


def _holds(name: str, condition: Any, values: pd.Series) -> np.ndarray:
    if isinstance(values.dtype, pd.CategoricalDtype):
        of_category = matches({name: condition}, {name: values.cat.categories.to_numpy()})
        missing = matches({name: condition}, {name: np.array([None], dtype=object)})
        return np.append(of_category, missing)[values.cat.codes.to_numpy()]
    return matches({name: condition}, {name: values.to_numpy()})


def _record(names: Sequence[str | None]) -> Any:
    fields = [f"level_{k}" if name is None else name for k, name in enumerate(names)]
    return namedtuple("Record", fields, rename=True)


def _tuples(index: pd.Index) -> Iterator[tuple]:
    return iter(index) if isinstance(index, pd.MultiIndex) else ((value,) for value in index)
