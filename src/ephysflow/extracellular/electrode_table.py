"""Tables of electrodes: the CSV of BlueRecording, with further columns for what differs between electrodes."""

import csv
import io
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ephysflow.errors import ConfigurationError
from ephysflow.io.atomic import write_text

COORDINATES = ("x", "y", "z")
TEXTS = ("layer", "region", "type", "field", "reference")
POSITIVE = (
    "sigma",
    "sigma_x",
    "sigma_y",
    "sigma_z",
    "minimum_distance",
    "cutoff",
    "contact_radius",
    "radius",
    "thickness",
)
NORMAL = ("normal_x", "normal_y", "normal_z")
COLUMNS = (*COORDINATES, *TEXTS, *POSITIVE, *NORMAL)
"""All columns after the first, which is the name."""

MISSING = ("", "NA", "NaN", "nan")
NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,200}")
LARGEST, SMALLEST = 1e9, 1e-9
"""Of all columns, and of those that must be above 0: beyond, squares and quotients are no numbers any more."""

MAX_BYTES = 200_000_000
"""More than a million electrodes."""


@dataclass(frozen=True)
class TableRow:
    """One electrode as its table has it.

    Attributes
    ----------
    name : of the electrode
    line : of the file, for messages
    position : x, y, z [um]
    texts : of the columns `TEXTS` that are given; "NA" of layer and region stays
    numbers : of the columns `POSITIVE` and `NORMAL` that are given
    """

    name: str
    line: int
    position: tuple[float, float, float]
    texts: Mapping[str, str]
    numbers: Mapping[str, float]


def read_electrode_table(path: Path) -> list[TableRow]:
    """Read a table of electrodes.

    Parameters
    ----------
    path : CSV with a header; the first column is the name, whatever its heading; x, y, z are needed

    Raises
    ------
    ConfigurationError
        naming file, line, column, value and what is allowed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path}: has more than {MAX_BYTES} bytes; is it a table of electrodes?")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"table of electrodes {path} is not there") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"table of electrodes {path} cannot be read: {error}") from None
    return _parsed(text, path)


def write_electrode_table(path: Path, rows: Sequence[TableRow]) -> None:
    """Write a table of electrodes, with those columns that a row has.

    Raises
    ------
    ConfigurationError
        if it could not be read again, as a name cannot be that of an electrode, or is there twice.
    """
    given = {key for row in rows for key in (*row.texts, *row.numbers)}
    columns = [key for key in (*TEXTS, *POSITIVE, *NORMAL) if key in given]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["name", *COORDINATES, *columns])
    for row in rows:
        # layer and region as BlueRecording has them
        texts = {"layer": "NA", "region": "NA", **row.texts}
        values = [texts.get(key, "") if key in TEXTS else row.numbers.get(key, "") for key in columns]
        writer.writerow([row.name, *row.position, *values])
    _parsed(file.getvalue(), path)
    write_text(path, file.getvalue())


def _parsed(text: str, path: Path) -> list[TableRow]:
    """Return the rows of a table."""
    if "\0" in text:
        raise ConfigurationError(f"{path}: has a NUL character; is it a table of electrodes?")
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise ConfigurationError(f"table of electrodes {path} cannot be read: {error}") from None
    header = [heading.strip() for heading in lines[0]] if lines else []
    columns = _columns(header, path)
    rows: list[TableRow] = []
    seen: dict[str, int] = {}
    for number, values in enumerate(lines[1:], start=2):
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            raise ConfigurationError(
                f"{path}: line {number} has {len(values)} values for {len(header)} columns"
            )
        row = _row(
            dict(zip(columns, (value.strip() for value in values[1:]), strict=True)), values[0], number, path
        )
        if row.name in seen:
            raise ConfigurationError(
                f"{path}: line {number}: electrode {row.name!r} is in line {seen[row.name]} already; names must differ"
            )
        seen[row.name] = number
        rows.append(row)
    if not rows:
        raise ConfigurationError(f"{path}: has no electrodes")
    return rows


def _columns(header: list[str], path: Path) -> list[str]:
    """Return the columns after the name; an unknown or missing one is an error."""
    columns = header[1:]
    for name in columns:
        if name not in COLUMNS:
            raise ConfigurationError(
                f"{path}: column {reprlib.repr(name)} is unknown; known are {', '.join(COLUMNS)}"
            )
        if columns.count(name) > 1:
            raise ConfigurationError(f"{path}: column {reprlib.repr(name)} is there twice")
    if missing := [name for name in COORDINATES if name not in columns]:
        raise ConfigurationError(
            f"{path}: column {', '.join(missing)} is missing (there is: {', '.join(header) or 'nothing'})"
        )
    return columns


def _row(values: Mapping[str, str], name: str, line: int, path: Path) -> TableRow:
    name = name.strip()
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise ConfigurationError(
            f"{path}: line {line}: {reprlib.repr(name)} cannot be the name of an electrode: needed is a text of one line without '/'"
        )
    where = f"{path}: line {line} (electrode {reprlib.repr(name)}): column"
    x, y, z = (_number(values[key], f"{where} {key}") for key in COORDINATES)
    texts = {key: values[key] for key in TEXTS if values.get(key, "") not in MISSING}
    numbers = {
        key: _number(values[key], f"{where} {key}")
        for key in (*POSITIVE, *NORMAL)
        if values.get(key, "") not in MISSING
    }
    for key in POSITIVE:
        if numbers.get(key, 1.0) < SMALLEST:
            raise ConfigurationError(
                f"{where} {key}: {reprlib.repr(values[key])} must be above 0 (at least {SMALLEST:g})"
            )
    return TableRow(name, line, (x, y, z), texts, numbers)


def _number(text: str, where: str) -> float:
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise ConfigurationError(
            f"{where}: {reprlib.repr(text)} is not a number; allowed are finite ones up to {LARGEST:g}"
        )
    return value
