"""Presentations of stimuli: the ``*_presentations`` tables of a session file as one typed table.

Names of stimuli and parameters are those that the AllenSDK documents. Two names of one thing in the released files
(e.g. "flash_250ms" and "flashes") thereby become one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.conditions import COUNTERS, FIXED_COLUMNS, condition_ids
from ephysflow.ecephys.intervals import read_invalid_times
from ephysflow.ecephys.nwb_file import (
    Ragged,
    group,
    member,
    read_column,
    read_values,
    row_count,
    table_columns,
    where,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.stimulus_epochs import SPONTANEOUS
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

INVALID = "invalid_presentation"
"""Name of presentations during which the stimulus was not as planned."""

STIMULUS_NAMES = {
    "": SPONTANEOUS,
    "Natural Images": "natural_scenes",
    "contrast_response": "drifting_gratings_contrast",
    "flash_250ms": "flashes",
    "gabor_20_deg_250ms": "gabors",
    "motion_stimulus": "dot_motion",
    "natural_movie_1": "natural_movie_one",
    "natural_movie_1_more_repeats": "natural_movie_one_more_repeats",
    "natural_movie_3": "natural_movie_three",
    "natural_movie_shuffled": "natural_movie_one_shuffled",
}
"""Name in the file -> name in the table; others stay as they are."""

PARAMETER_NAMES = {
    "Color": "color",
    "Contrast": "contrast",
    "Image": "frame",
    "Ori": "orientation",
    "Phase": "phase",
    "Pos_x": "x_position",
    "Pos_y": "y_position",
    "SF": "spatial_frequency",
    "TF": "temporal_frequency",
}
"""Column in the file -> column in the table; others stay as they are."""

UNITS = {
    "orientation": "deg",
    "spatial_frequency": "cycle/deg",
    "temporal_frequency": "Hz",
    "x_position": "deg",
    "y_position": "deg",
}

_NOT_READ = frozenset(("tags", "timeseries", "stimulus_index"))
"""Columns of every released table that say nothing about a presentation: one constant text, samples of a series of time
stamps, and the number of the stimulus, for which there is its name."""

_MADE_ANEW = frozenset(("stimulus_presentation_id", "stimulus_condition_id", "duration"))

_MISSING = frozenset(("", "N/A", "nan", "NaN", "null"))
"""Texts that mean that a parameter does not apply."""

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?")
"""A number's text; "007" is a label."""

_SUFFIX = "_presentations"


@dataclass(frozen=True)
class _Column:
    """A column of one type: values, and which of them are missing (these hold anything)."""

    values: np.ndarray
    missing: np.ndarray


def read_presentations(session: SessionFile) -> pa.Table:
    """Read all presentations of a session.

    Parameters
    ----------
    session : the open file

    Returns
    -------
    one row for each presentation, sorted by start time (then stop time, name of its table in the file, and row there):

    - `conditions.FIXED_COLUMNS`: id (0, 1, ...), block (null outside blocks), name, start, stop and duration in s, and
      the id of the condition: ids count the distinct sets of name and parameters in the order of first appearance.
      The ids and the duration are made anew where the file has columns of these names.
    - then all further columns alphabetically, each with one type; null where a column does not apply. A column is of
      numbers if each of its values is a number or a number's text, else of text; several values in one cell
      become their text ("[20.0, 20.0]").

    A presentation that overlaps an interval of invalid times with tag "stimulus" (touching counts) is named
    "invalid_presentation"; its parameters, block and condition are null.

    Raises
    ------
    ProjectError
        if a table lacks times, has times that are not finite or run backwards, a block that is no integer, or two
        columns for one parameter.
    """
    intervals = member(session.h5, "intervals")
    names = sorted(n for n in intervals if n.endswith(_SUFFIX)) if isinstance(intervals, h5py.Group) else []
    tables = [_read_table(group(session.h5, f"intervals/{name}")) for name in names]
    return assemble(tables, _invalid_intervals(session), str(session.path))


def assemble(tables: Sequence[Mapping[str, np.ndarray]], invalid: np.ndarray, source: str) -> pa.Table:
    """Join tables of presentations to one; see `read_presentations`.

    Parameters
    ----------
    tables : column -> (n,) numbers, bool or text (object), names as in the result. All have start_time and stop_time
        (s, float64) and stimulus_name
    invalid : (K, 2) start and stop of the intervals in which stimuli are invalid (s)
    source : file, for messages
    """
    sizes = [len(table["start_time"]) for table in tables]
    start = np.concatenate([np.empty(0), *(table["start_time"] for table in tables)])
    stop = np.concatenate([np.empty(0), *(table["stop_time"] for table in tables)])
    order = np.lexsort((stop, start))
    start, stop = start[order], stop[order]
    own = sorted(set().union(*tables) - {"start_time", "stop_time", *_MADE_ANEW})
    columns = {}
    for name in {"stimulus_name", "stimulus_block", *own}:
        pieces = [table.get(name, np.full(n, np.nan)) for table, n in zip(tables, sizes, strict=True)]
        joined = _text(pieces) if name == "stimulus_name" else _typed(pieces)
        columns[name] = _Column(joined.values[order], joined.missing[order])
    stimulus = columns.pop("stimulus_name")
    stimulus.values[stimulus.missing] = ""
    shown = np.array([STIMULUS_NAMES.get(name, name) for name in stimulus.values], dtype=object)
    block = _block(columns.pop("stimulus_block"), source)

    parameters = [columns[name] for name in sorted(columns) if name not in COUNTERS]
    labels = _Column(shown, np.zeros(len(shown), dtype=bool))
    # before parameters of invalid ones are taken away: ids do not depend on invalid times, as in the AllenSDK
    ids = condition_ids([(part.values, part.missing) for part in (labels, *parameters)], len(start))

    bad = _overlapping(start, stop, invalid)
    shown[bad] = INVALID
    made = (
        pa.array(np.arange(len(start))),
        pa.array(block.values, type=pa.int64(), mask=block.missing | bad),
        pa.array(shown, type=pa.string()),
        pa.array(start),
        pa.array(stop),
        pa.array(stop - start),
        pa.array(ids, mask=bad),
    )
    fields = [
        column(FIXED_COLUMNS[0], pa.int64()),
        column(FIXED_COLUMNS[1], pa.int64(), text="null outside blocks"),
        column(FIXED_COLUMNS[2], pa.string()),
        column(FIXED_COLUMNS[3], pa.float64(), "s"),
        column(FIXED_COLUMNS[4], pa.float64(), "s"),
        column(FIXED_COLUMNS[5], pa.float64(), "s"),
        column(FIXED_COLUMNS[6], pa.int64(), text="null for invalid presentations"),
    ]
    further = [
        pa.array(
            columns[name].values, mask=columns[name].missing | bad, type=_arrow_type(columns[name].values)
        )
        for name in sorted(columns)
    ]
    fields += [column(n, a.type, UNITS.get(n, "")) for n, a in zip(sorted(columns), further, strict=True)]
    return pa.Table.from_arrays([*made, *further], schema=pa.schema(fields))


def _overlapping(start: np.ndarray, stop: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Return which presentations meet one of the (closed) intervals."""
    hit = np.zeros(len(start), dtype=bool)
    for begin, end in intervals:
        hit |= (start <= end) & (stop >= begin)
    return hit


def _block(blocks: _Column, source: str) -> _Column:
    known = blocks.values[~blocks.missing]
    if known.dtype.kind not in "iuf" or (known != np.floor(known)).any() or (np.abs(known) >= 2**53).any():
        raise ProjectError(f"{source}: stimulus_block of the presentations holds values that are no integers")
    whole = np.zeros(len(blocks.values), dtype=np.int64)
    whole[~blocks.missing] = known
    return _Column(whole, blocks.missing)


# ---------------------------------------------------------------- one type for a column


def _arrow_type(values: np.ndarray) -> pa.DataType:
    return {"b": pa.bool_(), "i": pa.int64(), "f": pa.float64()}.get(values.dtype.kind, pa.string())


def _typed(pieces: Sequence[np.ndarray]) -> _Column:
    """Join pieces of a column, each of them numbers, bool or text, to one type that holds all values."""
    read = [_read_numbers(piece) for piece in pieces]
    missing = _joined([part.missing for part in read], bool)
    kinds = {part.values.dtype.kind for part in read if not part.missing.all()}
    if "O" in kinds:
        # texts stay as they were written, also those of numbers
        return _text(pieces)
    kind = {"b": bool, "i": np.int64}.get(kinds.pop(), float) if len(kinds) == 1 else float
    filled = [np.where(part.missing, 0, part.values) if part.missing.any() else part.values for part in read]
    return _Column(_joined(filled, kind), missing)


def _joined(pieces: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=kind), *(piece.astype(kind) for piece in pieces)])


def _read_numbers(piece: np.ndarray) -> _Column:
    """Return a piece as bool, int64, float64, or text where one of its texts is no number's."""
    if piece.dtype.kind == "b":
        return _Column(piece, np.zeros(len(piece), dtype=bool))
    if piece.dtype.kind in "iu":
        fits = piece.dtype.kind == "i" or piece.max(initial=0) <= np.iinfo(np.int64).max
        return _Column(piece.astype(np.int64 if fits else float), np.zeros(len(piece), dtype=bool))
    if piece.dtype.kind == "f":
        return _Column(piece.astype(float), np.isnan(piece))
    missing = _missing(piece)
    # few distinct texts, many rows
    distinct = set(piece[~missing])
    if not all(_NUMBER.fullmatch(text) for text in distinct):
        return _Column(piece, missing)
    numbers = {text: float(text) for text in distinct}
    return _Column(np.array([numbers.get(text, np.nan) for text in piece], dtype=float), missing)


def _missing(texts: np.ndarray) -> np.ndarray:
    return np.fromiter((text in _MISSING for text in texts), bool, len(texts))


def _text(pieces: Sequence[np.ndarray]) -> _Column:
    """Join pieces as text; numbers become their shortest text."""
    texts = [np.empty(0, dtype=object)]
    for piece in pieces:
        part = np.empty(len(piece), dtype=object)
        part[:] = piece if piece.dtype.kind == "O" else [str(value) for value in piece.tolist()]
        texts.append(part)
    joined = np.concatenate(texts)
    return _Column(joined, _missing(joined))


# ---------------------------------------------------------------- reading


def _read_table(table: h5py.Group) -> dict[str, np.ndarray]:
    """Read one table of presentations with the names of columns that the result has."""
    in_file = [name for name in table_columns(table) if name not in _NOT_READ]
    renamed = [PARAMETER_NAMES.get(name, name) for name in in_file]
    for name in ("start_time", "stop_time"):
        if name not in renamed:
            raise ProjectError(f"{where(table)} has no column {name}; there are: {', '.join(in_file)}")
    if twice := sorted({name for name in renamed if renamed.count(name) > 1}):
        raise ProjectError(f"{where(table)} has two columns for {', '.join(twice)} ({', '.join(in_file)})")
    columns = {
        name: _cells(table, stored)
        for name, stored in zip(renamed, in_file, strict=True)
        if name not in _MADE_ANEW
    }
    columns["start_time"], columns["stop_time"] = _times(table, columns["start_time"], columns["stop_time"])
    if "stimulus_name" not in columns:
        of_table = table.name.rpartition("/")[2].removesuffix(_SUFFIX)
        columns["stimulus_name"] = np.full(row_count(table), of_table, dtype=object)
    return columns


def _cells(table: h5py.Group, name: str) -> np.ndarray:
    """Read a column with one number, bool or text a row; several values of a row become one text."""
    values = read_column(table, name)
    if isinstance(values, Ragged):
        read = read_values(values.values)
        rows = [read[a:b] for a, b in pairwise(values.offsets)]
    elif values.ndim > 1:
        read, rows = values, list(values)
    else:
        read, rows = values, None
    if read.dtype.kind not in "biufO" or not all(
        isinstance(value, str) for value in read.flat if read.dtype == object
    ):
        raise ProjectError(
            f"{where(table)}: column {name} is of type {read.dtype}; numbers, bool or text are needed"
        )
    if rows is None:
        return read
    texts = np.empty(len(rows), dtype=object)
    texts[:] = [json.dumps(row.tolist()) if len(row) else "" for row in rows]
    return texts


def _times(table: h5py.Group, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if start.dtype.kind not in "iuf" or stop.dtype.kind not in "iuf":
        raise ProjectError(f"{where(table)}: start_time and stop_time are not numbers")
    start, stop = start.astype(float), stop.astype(float)
    wrong = ~(np.isfinite(start) & np.isfinite(stop) & (start <= stop))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ProjectError(
            f"{where(table)}: row {row} lasts from {start[row]} to {stop[row]} s ({wrong.sum()} such rows); "
            "finite times are needed, and no stop before the start"
        )
    return start, stop


def _invalid_intervals(session: SessionFile) -> np.ndarray:
    """Return (K, 2) start and stop of the invalid times that are tagged as the stimulus'."""
    table = read_invalid_times(session)
    tagged = np.array(["stimulus" in (tags or ()) for tags in table.column("tags").to_pylist()], dtype=bool)
    return np.stack([table.column(name).to_numpy()[tagged] for name in ("start_time", "stop_time")], axis=1)
