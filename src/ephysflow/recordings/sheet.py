"""The list of recordings: a sample sheet, or BluePyEfe's files_metadata in its place.

Both become file entries: plain mappings with ``cell``, ``protocols`` ({protocol: [its names in the file]}), the files
and the metadata that were given. Paths are relative to the file that names them.
"""

import copy
import csv
import difflib
import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Names of cells and protocols: they become parts of file names."""

NAME_ALLOWED = "letters, digits, '.', '_', '+', '-', beginning with a letter or digit"

MOST_PROBLEMS_SHOWN = 50


@dataclass(frozen=True)
class Column:
    """One column of the sample sheet, which is one key of a file entry.

    Attributes
    ----------
    name : of column and key
    kind : "text", "path", "number", "numbers" (separated by ;), "flag", "repetition", "name" or "protocols"
    help : what it means, with its unit
    """

    name: str
    kind: str
    help: str


COLUMNS = (
    Column("cell", "name", f"name of the cell: {NAME_ALLOWED}"),
    Column(
        "protocol",
        "protocols",
        "name of the protocol; several in one file: IDrest;sAHP; with another name in the file: IDrest=Long Square",
    ),
    Column("filepath", "path", "file with voltage and current, relative to this sheet"),
    Column("i_file", "path", "file with the current, when it is one of its own"),
    Column("v_file", "path", "file with the voltage, when it is one of its own"),
    Column(
        "reader", "text", "reader to use instead of the one that the file's content tells, or module.function"
    ),
    Column("nwb_layout", "text", "layout of an NWB file, where it is not recognised"),
    Column("v_channel", "text", "number or name of the voltage's channel (ABF), where there are several"),
    Column("i_channel", "text", "number or name of the current's channel (ABF), where there are several"),
    Column("i_unit", "text", "unit of the current, where the file does not state it: A, mA, uA, nA, pA"),
    Column("v_unit", "text", "unit of the voltage, where the file does not state it: V, mV, uV"),
    Column("t_unit", "text", "unit of the time, where the file does not state it: s, ms"),
    Column(
        "dt", "number", "sampling interval in t_unit, where the file does not state it or states it wrong"
    ),
    Column("ton", "number", "start of the stimulus [ms]; detected when it is not given"),
    Column("tmid", "number", "second edge of the stimulus [ms]"),
    Column("tmid2", "number", "third edge of the stimulus [ms]"),
    Column("t1", "number", "end of the first triangle [ms] (PosCheops, NegCheops)"),
    Column("t2", "number", "start of the second triangle [ms]"),
    Column("t3", "number", "end of the second triangle [ms]"),
    Column("t4", "number", "start of the third triangle [ms]"),
    Column("toff", "number", "end of the stimulus [ms]"),
    Column("tend", "number", "end of the sweep [ms]"),
    Column(
        "amp", "number", "amplitude of the stimulus above hypamp, in i_unit; measured when it is not given"
    ),
    Column("amp2", "number", "amplitude of the second step above hypamp, in i_unit"),
    Column("hypamp", "number", "holding current, in i_unit; measured when it is not given"),
    Column(
        "exclude_amplitudes",
        "numbers",
        "leave out sweeps of these amplitudes above hypamp [nA], separated by ;",
    ),
    Column("v_corr", "number", "shift the voltage so that its first 100 samples have this median [mV]"),
    Column("ljp", "number", "liquid junction potential [mV], subtracted from the voltage"),
    Column(
        "lowpass",
        "number",
        "cut-off of a low-pass filter on the voltage [Hz]; no filter when it is not given",
    ),
    Column(
        "series_resistance", "number", "series resistance to correct for [MOhm]; none when it is not given"
    ),
    Column("repetition", "repetition", "repetitions to read, separated by ;; all when it is not given"),
    Column(
        "amplitudes",
        "numbers",
        "amplitudes of the columns of a text file above hypamp, in i_unit, separated by ;",
    ),
    Column("remove_last_100ms", "flag", "true: leave out the last 100 ms of a text file"),
    Column("chirp_frequency_base", "number", "SineSpec: constant frequency [Hz]"),
    Column("chirp_frequency_scale", "number", "SineSpec: scale of the growing frequency [Hz s]"),
    Column(
        "chirp_frequency_denominator", "number", "SineSpec: time at which the frequency would diverge [s]"
    ),
    Column("chirp_time_offset", "number", "SineSpec: start of the chirp after ton [s]"),
)
"""Every column of the sample sheet; a sheet needs cell, protocol and files, all others may be left out."""

_KINDS = {column.name: column.kind for column in COLUMNS}
_SWITCHED_OFF = ("v_corr", "ljp")


def read_sheet(path: Path) -> list[dict[str, Any]]:
    """Read a sample sheet.

    Parameters
    ----------
    path : ``.tsv`` (separated by tabs) or ``.csv`` (by commas), one header line with names from `COLUMNS`, one row a
        file. Lines that start with # are comments; an empty cell is a value not given.

    Returns
    -------
    File entries in the order of the rows.

    Raises
    ------
    ConfigurationError
        with all problems of the sheet, each with line, column, value and what is allowed.
    """
    path = Path(path)
    problems: list[str] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            entries = _rows(stream, "," if path.suffix.lower() == ".csv" else "\t", path.parent, problems)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: is not a table of UTF-8 text: {error}") from None
    if not entries and not problems:
        problems.append("has no rows; it needs a header and one row for each file")
    _raise(problems, str(path))
    return entries


def read_files_metadata(
    source: Path | str | Mapping[str, Any], folder: Path | None = None, name: str = "files_metadata"
) -> list[dict[str, Any]]:
    """Read BluePyEfe's ``files_metadata``, {cell: {protocol: [metadata of a file]}}.

    Metadata keys are those of `COLUMNS`, with BluePyEfe's ``protocol_name`` for the names in the file, and any other
    key that a user's own reader wants. ``false`` switches v_corr and ljp off.

    Parameters
    ----------
    source : JSON file, or its content; not changed
    folder : what paths are relative to; by default the folder of the file, or the working directory
    name : what messages call a mapping

    Returns
    -------
    File entries, cell by cell and protocol by protocol.

    Raises
    ------
    ConfigurationError
        with all problems, each with cell, protocol, number of the file, key, value and what is allowed.
    """
    if isinstance(source, str | os.PathLike):
        name = str(source)
        folder = folder or Path(source).parent
        try:
            source = json.loads(Path(source).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigurationError(f"{name}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigurationError(f"{name}: is not JSON: {error}") from None
    problems: list[str] = []
    locate = _locator(folder or Path())
    entries = [_entry(*file, locate, problems) for file in _files(source, problems)]
    _raise(problems, name)
    return entries


def check_name(name: Any) -> str:
    """Return what is wrong with the name of a cell or protocol; empty when it is right."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return ""
    return f"{name!r} cannot be part of a file name; allowed: {NAME_ALLOWED}"


def _raise(problems: list[str], source: str) -> None:
    if problems:
        shown = [f"{source}: {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN]]
        if len(problems) > len(shown):
            shown.append(f"{source}: and {len(problems) - len(shown)} more problems")
        raise ConfigurationError("\n".join(shown))


def _locator(folder: Path) -> Callable[[str], str]:
    """Return a function that makes a path, relative to `folder`, relative to the working directory or absolute."""
    folders: dict[str, str] = {}

    def locate(path: str) -> str:
        head = path[: path.rfind("/") + 1]
        if (start := folders.get(head)) is None:
            placed = os.path.normpath(os.path.join(folder, head))
            start = folders[head] = "" if placed == "." else os.path.join(placed, "")
        return start + path[len(head) :]

    return locate


# --- sample sheet -----------------------------------------------------------------------------------------------


def _rows(lines: Iterable[str], delimiter: str, folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    number = 0

    def content() -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(lines, 1):  # noqa: B007
            if line.strip() and not line.startswith("#"):
                yield line

    rows = csv.reader(content(), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(rows, [])]
    _check_header(header, problems)
    if problems:
        return []
    parsers = _parsers(_locator(folder))
    columns = [(name, parsers[_KINDS[name]]) for name in header]
    first_lines: dict[tuple[str, ...], int] = {}
    identity = [
        k
        for k, n in enumerate(header)
        if n in ("cell", "protocol", "filepath", "i_file", "v_file", "repetition")
    ]
    entries = []
    for row in rows:
        if len(row) > len(columns):
            problems.append(f"line {number}: {len(row)} cells, but the header has {len(columns)} columns")
            continue
        entry: dict[str, Any] = {}
        for (name, parse), text in zip(columns, row, strict=False):
            if not (text := text.strip()):
                continue
            try:
                entry[name] = parse(text)
            except ValueError as error:
                problems.append(f"line {number}, column {name}: {text!r}; {error}")
                entry[name] = None
        if missing := _missing(entry):
            problems += [f"line {number}: {problem}" for problem in missing]
        same = tuple(row[k].strip() for k in identity if k < len(row))
        if first_lines.setdefault(same, number) != number:
            problems.append(f"line {number}: the same cell, protocol and files as line {first_lines[same]}")
        if "protocol" in entry:
            entry["protocols"] = copy.copy(entry.pop("protocol"))  # rows share the remembered one
        entries.append(entry)
    return entries


def _check_header(header: list[str], problems: list[str]) -> None:
    for name in header:
        if name not in _KINDS:
            close = difflib.get_close_matches(name, _KINDS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"unknown column {name!r}{hint} (allowed: {', '.join(_KINDS)})")
    problems += [
        f"column {name} stands {header.count(name)} times"
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    problems += [f"column {name} is missing" for name in ("cell", "protocol") if name not in header]
    if "filepath" not in header and not {"i_file", "v_file"} <= set(header):
        problems.append("no column for files: it needs filepath, or i_file and v_file")


def _missing(entry: Mapping[str, Any]) -> list[str]:
    missing = [f"column {name} is empty" for name in ("cell", "protocol") if name not in entry]
    if "filepath" not in entry and not ("i_file" in entry and "v_file" in entry):
        missing.append("no file: give filepath, or i_file and v_file")
    return missing


def _parsers(locate: Callable[[str], str]) -> dict[str, Callable[[str], Any]]:
    """Return, by kind of column, a function that turns the text of a cell into its value or raises ValueError.

    Most cells of a sheet repeat another one, so values that nobody can change are remembered.
    """
    return {
        "name": functools.cache(_name),
        "protocols": functools.cache(_protocols),
        "path": locate,
        "text": str,
        "number": functools.cache(_number),
        "numbers": lambda text: [_number(part.strip()) for part in text.split(";")],
        "flag": _flag,
        "repetition": _repetition,
    }


def _name(text: str) -> str:
    if problem := check_name(text):
        raise ValueError(problem)
    return text


def _number(text: str) -> float:
    try:
        # Python takes 1_000, which is a typing error elsewhere
        number = math.nan if "_" in text else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a finite number, such as 0.25 or -1e-3")
    return number


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _repetition(text: str) -> int | str | list[int]:
    try:
        numbers = [int(part) for part in text.split(";")]
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


def _protocols(text: str) -> dict[str, list[str]]:
    """Read ``IDrest;sAHP=Name in the file``; a protocol may stand there several times, with one name each."""
    protocols: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, equals, in_file = (piece.strip() for piece in part.partition("="))
        if problem := check_name(name):
            raise ValueError(f"{problem}; another name in the file is given as NAME=name in the file")
        if equals and not in_file:
            raise ValueError(f"the name in the file is empty after {name}=")
        names = protocols.setdefault(name, [])
        if (wanted := in_file or name) in names:
            raise ValueError(f"{name} stands there twice")
        names.append(wanted)
    return protocols


# --- files_metadata ---------------------------------------------------------------------------------------------


def _files(source: Any, problems: list[str]) -> Iterator[tuple[str, str, int, Mapping[str, Any]]]:
    """Yield (cell, protocol, number, metadata) of each file."""
    if not isinstance(source, Mapping):
        problems.append(f"must be a mapping of cells, not {type(source).__name__}")
        return
    if not source:
        problems.append("has no cells")
    for cell, protocols in source.items():
        if problem := check_name(cell):
            problems.append(f"cell {problem}")
        if not isinstance(protocols, Mapping):
            problems.append(f"cell {cell}: must be a mapping of protocols, not {type(protocols).__name__}")
            continue
        for protocol, files in protocols.items():
            if problem := check_name(protocol):
                problems.append(
                    f"cell {cell}: protocol {problem}; give its name in the file as protocol_name"
                )
            if not isinstance(files, list | tuple):
                problems.append(
                    f"cell {cell}, {protocol}: must be a list of files, not {type(files).__name__}"
                )
                continue
            for number, metadata in enumerate(files):
                if isinstance(metadata, Mapping):
                    yield cell, protocol, number, metadata
                else:
                    problems.append(
                        f"cell {cell}, {protocol}, file {number}: must be a mapping, not {metadata!r}"
                    )


def _entry(
    cell: str,
    protocol: str,
    number: int,
    metadata: Mapping[str, Any],
    locate: Callable[[str], str],
    problems: list[str],
) -> dict[str, Any]:
    where = f"cell {cell}, {protocol}, file {number}"
    names = metadata.get("protocol_name", protocol)
    listed = [names] if isinstance(names, str) else names
    if (
        not isinstance(listed, list | tuple)
        or not listed
        or not all(isinstance(name, str) for name in listed)
    ):
        problems.append(f"{where}: protocol_name is {names!r}; must be a text or a list of texts")
        listed = []
    entry: dict[str, Any] = {"cell": cell, "protocols": {protocol: list(listed)}}
    for key, value in metadata.items():
        if key == "protocol_name" or value is None or (key in _SWITCHED_OFF and value is False):
            continue
        try:
            entry[key] = _plain(_KINDS.get(key, ""), value, locate)
        except ValueError as error:
            problems.append(f"{where}: {key} is {value!r}; {error}")
    problems += [f"{where}: {problem}" for problem in _missing({**entry, "protocol": protocol})]
    return entry


def _plain(kind: str, value: Any, locate: Callable[[str], str]) -> Any:
    """Return a checked copy of a metadata value with plain Python values, or raise ValueError."""
    if kind == "path":
        if isinstance(value, str | os.PathLike) and str(value):
            return locate(str(value))
        raise ValueError("must be the path of a file")
    if kind == "text" and not isinstance(value, str):
        raise ValueError("must be a text")
    if kind == "number":
        return _plain_number(value)
    if kind == "numbers":
        if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
            raise ValueError("must be a list of numbers")
        return [_plain_number(item) for item in value]
    if kind == "flag" and not isinstance(value, bool):
        raise ValueError("must be true or false")
    if kind == "repetition":
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(item, str | Integral) and not isinstance(item, bool) for item in items):
            raise ValueError("must be a number, a text or a list of them")
    return copy.deepcopy(value)


def _plain_number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError("must be a finite number")
    return int(value) if isinstance(value, Integral) else float(value)
