"""Tables of electrodes: the CSV of BlueRecording, with further columns for what differs between electrodes."""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ephysflow.errors import ConfigurationError

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
NAME = re.compile(r"[^/\0]{1,200}")
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
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except FileNotFoundError:
        raise ConfigurationError(f"table of electrodes {path} is not there") from None
    except (OSError, ValueError, csv.Error) as error:
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
            raise ConfigurationError(f"{path}: column {name!r} is unknown; known are {', '.join(COLUMNS)}")
        if columns.count(name) > 1:
            raise ConfigurationError(f"{path}: column {name!r} is there twice")
    if missing := [name for name in COORDINATES if name not in columns]:
        raise ConfigurationError(
            f"{path}: column {', '.join(missing)} is missing (there is: {', '.join(header) or 'nothing'})"
        )
    return columns


def _row(values: Mapping[str, str], name: str, line: int, path: Path) -> TableRow:
    name = name.strip()
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise ConfigurationError(
            f"{path}: line {line}: {name!r} cannot be the name of an electrode: needed is a text without '/'"
        )
    where = f"{path}: line {line} (electrode {name!r}): column"
    x, y, z = (_number(values[key], f"{where} {key}") for key in COORDINATES)
    texts = {key: values[key] for key in TEXTS if values.get(key, "") not in MISSING}
    numbers = {
        key: _number(values[key], f"{where} {key}")
        for key in (*POSITIVE, *NORMAL)
        if values.get(key, "") not in MISSING
    }
    for key in POSITIVE:
        if key in numbers and numbers[key] <= 0:
            raise ConfigurationError(f"{where} {key}: {values[key]!r} must be above 0")
    return TableRow(name, line, (x, y, z), texts, numbers)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f"{where}: {text!r} is not a finite number")
    return value
