"""Filters of units by quality and place: the same in project tables and in sessions, each with a record."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import values_of
from ephysflow.errors import ConfigurationError

NO_STRUCTURE = ("", "None", "nan")
"""Acronyms of channels outside the brain, besides null, in session files."""

GOOD = "good"


@dataclass(frozen=True)
class UnitFilters:
    """Which units are kept; the defaults are AllenSDK's.

    Parameters
    ----------
    amplitude_cutoff_maximum : largest part of spikes that may have been missed; None: no limit
    presence_ratio_minimum : smallest part of the session that must hold spikes; None: no limit
    isi_violations_maximum : largest rate of refractory violations over the firing rate; None: no limit
    filter_by_validity : keep only units of quality "good" on channels that are valid
    filter_out_of_brain_units : keep only units on channels that are in a structure
    """

    amplitude_cutoff_maximum: float | None = 0.1
    presence_ratio_minimum: float | None = 0.95
    isi_violations_maximum: float | None = 0.5
    filter_by_validity: bool = True
    filter_out_of_brain_units: bool = True

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str) -> "UnitFilters":
        """Return the filters that a configuration or a call names; keywords that are not given have their default.

        Parameters
        ----------
        mapping : keyword -> value
        where : file and key, or function, for messages

        Raises
        ------
        ConfigurationError
            if a keyword is unknown, or a value is not what the keyword takes.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(mapping, Mapping):
            raise ConfigurationError(
                f"{where}: {str(mapping)[:80]} is no mapping of filters to their values; known are {', '.join(known)}"
            )
        if unknown := sorted(set(map(str, mapping)) - set(known)):
            raise ConfigurationError(
                f"{where}: unknown filter of units {', '.join(unknown)}; known are {', '.join(known)}"
            )
        return cls(**{name: _checked(name, value, where) for name, value in mapping.items()})


@dataclass(frozen=True)
class FilterRecord:
    """What one filter did; filters act one after the other.

    Parameters
    ----------
    filter : keyword of `UnitFilters`
    limit : the test, or none
    units_before, units_after : number of units
    removed : number of units, those without a value included
    removed_missing : number of units removed because they have no value
    note : why the filter was not applied, to all or to some units; empty when nothing is to be said
    """

    filter: str
    limit: str
    units_before: int
    removed: int
    removed_missing: int
    units_after: int
    note: str


@dataclass(frozen=True)
class _Test:
    """Outcome of one test on all units.

    Parameters
    ----------
    limit, column : for the record
    acts : (N,) bool, False for units of sessions in which nothing can be tested
    present, passed : (N,) bool, whether the unit has a value, and whether it passes
    """

    limit: str
    column: str
    acts: np.ndarray
    present: np.ndarray
    passed: np.ndarray


def filter_units(units: pa.Table, filters: UnitFilters) -> tuple[np.ndarray, list[FilterRecord]]:
    """Tell which units pass all filters.

    A limit is inclusive, and 0 is a limit. A unit without a value (null or NaN) does not pass a limit that is set; a
    filter that is None or False asks nothing, so that it keeps such units. A filter acts on the units of a session
    only when some of them have a value in its column: it is not applied to sessions without such a column.

    Parameters
    ----------
    units : joined with their channels, N rows; used are ``quality``, ``amplitude_cutoff``, ``presence_ratio``,
        ``isi_violations``, of the channels ``ecephys_structure_id``, ``ecephys_structure_acronym`` and ``valid_data``,
        and ``ecephys_session_id`` (absent: all are of one session)
    filters : to apply

    Returns
    -------
    mask : (N,) bool, True for units that are kept
    records : one a filter, in the order of `UnitFilters`
    """
    sessions = _sessions(units)
    mask = np.ones(units.num_rows, dtype=bool)
    records = []
    for field in fields(filters):
        value = getattr(filters, field.name)
        tests = [] if value is None or value is False else _TESTS[field.name](units, value, sessions)
        before = int(np.count_nonzero(mask))
        failed, with_value, notes = np.zeros_like(mask), np.zeros_like(mask), []
        for test in tests:
            fails = test.acts & ~test.passed
            failed |= fails
            with_value |= fails & test.present
            notes += _notes(test.column, int(np.count_nonzero(~test.acts)), mask.size)
        missing = int(np.count_nonzero(mask & failed & ~with_value))
        mask &= ~failed
        after = int(np.count_nonzero(mask))
        limit = " and ".join(test.limit for test in tests) or "none"
        records.append(
            FilterRecord(field.name, limit, before, before - after, missing, after, "; ".join(notes))
        )
    return mask, records


def in_structure(acronyms: pa.ChunkedArray) -> np.ndarray:
    """Return, for acronyms of structures, True where there is one: not null, "", "None" or "nan"."""
    return _where(acronyms, lambda text: text is not None and text not in NO_STRUCTURE)


def _checked(name: str, value: Any, where: str) -> Any:
    if name.startswith("filter_"):
        if not isinstance(value, bool):
            raise ConfigurationError(f"{where}: {name} is {value!r}; allowed are true and false")
        return value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(
            f"{where}: {name} is {value!r}; allowed are a number and null, which is no limit"
        )
    return float(value)


def _sessions(units: pa.Table) -> np.ndarray:
    """Return a number from 0 on for the session of each unit."""
    if "ecephys_session_id" not in units.column_names or not units.num_rows:
        return np.zeros(units.num_rows, dtype=np.int64)
    ids = units["ecephys_session_id"].combine_chunks().dictionary_encode(null_encoding="encode")
    return values_of(ids.indices)


def _of_sessions_with(present: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Return, for each unit, whether any unit of its session has a value."""
    if not present.size:
        return present
    return (np.bincount(sessions, weights=present) > 0)[sessions]


def _notes(column: str, n_spared: int, n_units: int) -> list[str]:
    if not n_spared:
        return []
    if n_spared == n_units:
        return [f"not applied: the units have no {column}"]
    return [f"not applied to {n_spared} of {n_units} units, whose sessions have no {column}"]


def _where(texts: pa.ChunkedArray, fits: Callable[[str | None], bool]) -> np.ndarray:
    """Return a boolean array of a test of each text; the test is made once for each different text."""
    encoded = texts.cast(pa.string()).combine_chunks().dictionary_encode(null_encoding="encode")
    return np.array([fits(text) for text in encoded.dictionary.to_pylist()], dtype=bool)[
        values_of(encoded.indices)
    ]


def _limit(column: str, sign: str) -> "_Tests":
    def tests(units: pa.Table, limit: float, sessions: np.ndarray) -> list[_Test]:
        if column in units.column_names:
            values = values_of(units[column].cast(pa.float64()))
        else:
            values = np.full(units.num_rows, np.nan)
        present = ~np.isnan(values)
        passed = values >= limit if sign == ">=" else values <= limit
        return [_Test(f"{sign} {limit:g}", column, _of_sessions_with(present, sessions), present, passed)]

    return tests


def _validity(units: pa.Table, _: bool, sessions: np.ndarray) -> list[_Test]:
    """Units have a quality; whether their channel is valid only session files tell."""
    rated = good = np.zeros(units.num_rows, dtype=bool)
    if "quality" in units.column_names:
        rated, good = _where(units["quality"], bool), _where(units["quality"], lambda text: text == GOOD)
    tests = [_Test(GOOD, "quality", _of_sessions_with(rated, sessions), rated, good)]
    if "valid_data" in units.column_names:
        valid = values_of(units["valid_data"].cast(pa.float64()))
        known = ~np.isnan(valid)
        tests.append(_Test("valid channel", "valid_data", known, known, valid != 0))
    return tests


def _in_brain(units: pa.Table, _: bool, sessions: np.ndarray) -> list[_Test]:
    """The id of the structure decides; the acronym does where a session has no ids."""
    inside = np.zeros(units.num_rows, dtype=bool)
    if "ecephys_structure_acronym" in units.column_names:
        inside = in_structure(units["ecephys_structure_acronym"])
    if "ecephys_structure_id" in units.column_names:
        with_id = values_of(units["ecephys_structure_id"].is_valid()).astype(bool)
        inside = np.where(_of_sessions_with(with_id, sessions), with_id, inside)
    # to have no structure is what is asked for, not a missing value
    known = np.ones_like(inside)
    return [_Test("in a structure", "structure", _of_sessions_with(inside, sessions), known, inside)]


_Tests = Callable[[pa.Table, Any, np.ndarray], list[_Test]]

_TESTS: dict[str, _Tests] = {
    "amplitude_cutoff_maximum": _limit("amplitude_cutoff", "<="),
    "presence_ratio_minimum": _limit("presence_ratio", ">="),
    "isi_violations_maximum": _limit("isi_violations", "<="),
    "filter_by_validity": _validity,
    "filter_out_of_brain_units": _in_brain,
}
