"""Raw tables of a project: sessions, probes, channels and units as a warehouse gives them, read from CSV or Parquet."""

import csv
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

_TEXT, _NUMBER, _INTEGER, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()

RAW_SCHEMAS: dict[str, pa.Schema] = {
    "sessions": pa.schema(
        [
            column("id", _INTEGER, text="session"),
            column("date_of_acquisition", _TEXT, text="start of the recording, ISO 8601"),
            column("isi_experiment_id", _INTEGER, text="intrinsic signal imaging of the same animal"),
            column("published_at", _TEXT, text="ISO 8601"),
            column("specimen_id", _INTEGER, text="animal"),
            column("session_type", _TEXT, text="set of stimuli"),
            column("age_in_days", _NUMBER, "d", "age of the animal"),
            column("sex", _TEXT, text="M or F"),
            column("genotype", _TEXT),
            column("has_nwb", _FLAG, text="whether the source has a session file"),
        ]
    ),
    "probes": pa.schema(
        [
            column("id", _INTEGER, text="probe"),
            column("air_channel_index", _INTEGER, text="local index of the lowest channel in air"),
            column("ecephys_session_id", _INTEGER, text="session"),
            column("lfp_sampling_rate", _NUMBER, "Hz", "rate at which the LFP was sampled"),
            column(
                "lfp_temporal_subsampling_factor", _NUMBER, text="one in so many samples of the LFP is kept"
            ),
            column("name", _TEXT, text="place of the probe on the rig"),
            column("phase", _TEXT, text="generation of the probe"),
            column("sampling_rate", _NUMBER, "Hz", "rate at which spikes were sampled"),
            column(
                "surface_channel_index", _INTEGER, text="local index of the channel at the brain's surface"
            ),
            column("has_lfp_data", _FLAG, text="whether the source has an LFP file"),
        ]
    ),
    "channels": pa.schema(
        [
            column("id", _INTEGER, text="channel"),
            column("ecephys_probe_id", _INTEGER, text="probe"),
            column("local_index", _INTEGER, text="number on its probe"),
            column("probe_horizontal_position", _NUMBER, "um", "across the probe"),
            column("probe_vertical_position", _NUMBER, "um", "along the probe, from its tip"),
            column("anterior_posterior_ccf_coordinate", _NUMBER, "um", "in the Common Coordinate Framework"),
            column("dorsal_ventral_ccf_coordinate", _NUMBER, "um", "in the Common Coordinate Framework"),
            column("left_right_ccf_coordinate", _NUMBER, "um", "in the Common Coordinate Framework"),
            column("ecephys_structure_id", _INTEGER, text="structure; null outside the brain"),
            column("ecephys_structure_acronym", _TEXT, text="structure; null outside the brain"),
        ]
    ),
    "units": pa.schema(
        [
            column("id", _INTEGER, text="unit"),
            column("PT_ratio", _NUMBER, text="peak over trough of the waveform"),
            column("amplitude", _NUMBER, "uV", "trough to peak of the waveform"),
            column(
                "amplitude_cutoff", _NUMBER, text="estimated part of spikes below the threshold, 0 to 0.5"
            ),
            column("cumulative_drift", _NUMBER, "um", "drift summed over the session"),
            column("d_prime", _NUMBER, text="separation from the nearest cluster"),
            column("duration", _NUMBER, "ms", "trough to peak of the waveform"),
            column("ecephys_channel_id", _INTEGER, text="channel of the largest waveform"),
            column("epoch_name_quality_metrics", _TEXT, text="part of the session used for quality"),
            column("epoch_name_waveform_metrics", _TEXT, text="part of the session used for waveforms"),
            column("firing_rate", _NUMBER, "Hz", "mean over the session"),
            column("halfwidth", _NUMBER, "ms", "width of the waveform at half of its amplitude"),
            column("isi_violations", _NUMBER, text="rate of refractory violations over the firing rate"),
            column("isolation_distance", _NUMBER, text="Mahalanobis distance from other clusters"),
            column("l_ratio", _NUMBER, text="contamination from Mahalanobis distances"),
            column("max_drift", _NUMBER, "um", "largest drift within the session"),
            column("nn_hit_rate", _NUMBER, text="nearest neighbours in the same cluster"),
            column("nn_miss_rate", _NUMBER, text="nearest neighbours of other clusters in this one"),
            column("presence_ratio", _NUMBER, text="part of the session with spikes, 0 to 1"),
            column("quality", _TEXT, text="good or noise"),
            column("recovery_slope", _NUMBER, text="of the waveform after its peak"),
            column("repolarization_slope", _NUMBER, text="of the waveform between trough and peak"),
            column("silhouette_score", _NUMBER, text="separation of clusters, -1 to 1"),
            column("snr", _NUMBER, text="signal to noise ratio of the waveform"),
            column("spread", _NUMBER, "um", "extent of the waveform along the probe"),
            column("velocity_above", _NUMBER, "s/m", "inverse speed of the waveform towards the surface"),
            column("velocity_below", _NUMBER, "s/m", "inverse speed of the waveform towards the tip"),
        ]
    ),
}
"""Columns of the raw tables that have a meaning here; a source may lack some, and may have more."""

NEEDED = {
    "sessions": ("id", "session_type"),
    "probes": ("id", "ecephys_session_id"),
    "channels": ("id", "ecephys_probe_id"),
    "units": ("id", "ecephys_channel_id"),
}
"""Columns without which a table is not that table."""

ACRONYMS = "ecephys_structure_acronyms"

NULL_WORDS = ("", "nan", "NaN", "NA", "N/A", "null", "NULL", "None")
"""Texts that stand for no value in columns of numbers and flags; in columns of text only the empty one does."""

EXACT_INTEGERS = 2**53
"""From here on a float64 does not hold every integer."""

MAX_ROWS = 50_000_000
"""More than any project has: a small file may declare any number of rows, which would be allocated."""

_HEAD = 65536
_SHOWN = 60
_INTEGER_TEXT = r"^-?[0-9]+$"
_NUMBER_TEXT = re.compile(
    r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE
)
_LIST_ITEM = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|(nan|None|null))\s*,?""")


@dataclass(frozen=True)
class RawTables:
    """The raw tables of one project, of `RAW_SCHEMAS`; session files may lack columns."""

    sessions: pa.Table
    probes: pa.Table
    channels: pa.Table
    units: pa.Table


def read_raw_table(path: Path, table: str) -> pa.Table:
    """Read a raw table from CSV or Parquet, of AllenSDK's cache or made by hand.

    Floats are exact to the last bit. Columns that `RAW_SCHEMAS` does not know are kept, behind the known ones; a
    column ``structure_acronyms`` of sessions becomes ``ecephys_structure_acronyms``, a list of text. That rows were
    cut off at a line's end cannot be seen here, but often in `project_tables`.

    Parameters
    ----------
    path : CSV with a header (UTF-8), or Parquet
    table : sessions, probes, channels or units

    Returns
    -------
    the columns of `RAW_SCHEMAS` that the file has, in that order, then its further ones; rows in the file's order

    Raises
    ------
    ProjectError
        if the file is missing, empty, cut, an HTML page or a header without rows; if a row has a wrong number of
        fields; if columns are missing or named twice; if ids are not integers from 0 on, or repeat; if a value does
        not fit its column.
    """
    schema = RAW_SCHEMAS[table]
    found = read_columns(path, [field.name for field in schema if pa.types.is_floating(field.type)])
    if missing := [name for name in NEEDED[table] if name not in found.schema.names]:
        raise ProjectError(
            f"{path}: is no table of {table}: column {' and '.join(missing)} is missing (there is: "
            f"{_shortened(', '.join(found.schema.names), 400)})"
        )
    if not found.num_rows:
        raise ProjectError(f"{path}: has a header and no rows")
    columns, fields = [], []
    for field in schema:
        if field.name in found.schema.names:
            columns.append(_converted(found.column(field.name), field, path))
            fields.append(field)
    check_ids(columns[0], "id", path)
    for name in found.schema.names:
        if table == "sessions" and name == "structure_acronyms":
            fields.append(column(ACRONYMS, pa.list_(pa.string()), text="structures, as the table lists them"))
            columns.append(_acronym_lists(found.column(name), path))
        elif name not in schema.names:
            columns.append(inferred(found.column(name)))
            fields.append(pa.field(name, columns[-1].type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def read_columns(path: Path, numbers: Collection[str] = ()) -> pa.Table:
    """Read a CSV or Parquet file as it is: CSV as text (nothing is null), Parquet with its own types.

    Parameters
    ----------
    path : the file
    numbers : columns of a CSV file that become numbers where all their texts are

    Raises
    ------
    ProjectError
        as `read_raw_table`, for what does not depend on the meaning of columns.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            last = file.read(1)
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read: {error.strerror}") from None
    if not head.strip():
        raise ProjectError(f"{path}: is empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ProjectError(f"{path}: is an HTML or XML page, not a table: did a server answer with an error?")
    if head.startswith(b"PAR1") or path.suffix == ".parquet":
        return _read_parquet(path)
    if last != b"\n":
        raise ProjectError(
            f"{path}: does not end with a line feed: was it cut? (if it is whole, add one at its end)"
        )
    return _read_csv(path, _header(head, path), numbers)


def check_ids(ids: pa.Array, name: str, path: Path) -> None:
    """Refuse ids that are missing, negative or not unique.

    Parameters
    ----------
    ids : int64
    name : of their column
    path : for messages
    """
    if ids.null_count:
        raise ProjectError(
            f"{path}: row {_row(np.flatnonzero(values_of(ids.is_null())), path)}: {name} is missing"
        )
    values = values_of(ids)
    if (negative := np.flatnonzero(values < 0)).size:
        raise ProjectError(f"{path}: row {_row(negative, path)}: {name} {values[negative[0]]} is negative")
    if np.all(values[1:] > values[:-1]):
        return
    order = np.argsort(values, kind="stable")
    again = order[1:][values[order[1:]] == values[order[:-1]]]
    if again.size:
        row = np.sort(again)[:1]
        first = np.flatnonzero(values == values[row[0]])[:1]
        raise ProjectError(
            f"{path}: row {_row(row, path)}: {name} {values[row[0]]} is there already, in row {_row(first, path)}"
        )


def as_integers(values: pa.ChunkedArray, name: str, path: Path) -> pa.Array:
    """Return a column as integers; those written as numbers, as 385.0, are taken when nothing is lost.

    Raises
    ------
    ProjectError
        naming the first row with another value.
    """
    whole = _whole(values)
    field = pa.field(name, _INTEGER)
    if pa.types.is_integer(whole.type):
        return _cast(whole, field, path, "an integer")
    if pa.types.is_string(whole.type) and pc.all(pc.match_substring_regex(whole, _INTEGER_TEXT)).as_py():
        return _cast(whole, field, path, "an integer", _is_integer)
    numbers = _cast(whole, pa.field(name, _NUMBER), path, "an integer", _is_integer)
    floats = values_of(numbers)
    missing = np.isnan(floats)
    lost = (np.floor(floats) != floats) | (np.abs(floats) >= EXACT_INTEGERS)
    if (at := np.flatnonzero(lost & ~missing)).size:
        raise ProjectError(_refusal(path, at, name, whole[int(at[0])].as_py(), "an integer"))
    return array_of(np.where(missing, 0, floats).astype(np.int64), missing)


def inferred(values: pa.ChunkedArray) -> pa.Array:
    """Give a column of text the type that all its values have: integer, number, flag (True or False) or text.

    A column that is not text is returned as it is.
    """
    whole = _whole(values)
    if not pa.types.is_string(whole.type):
        return whole
    for kind in (_INTEGER, _NUMBER):
        try:
            return whole.cast(kind)
        except pa.ArrowInvalid:
            pass
    if set(whole.unique().drop_null().to_pylist()) <= {"True", "False", "true", "false", "TRUE", "FALSE"}:
        return whole.cast(_FLAG)
    return whole


def _header(head: bytes, path: Path) -> list[str]:
    line, feed, _ = head.partition(b"\n")
    try:
        names = next(csv.reader([line.decode("utf-8-sig").rstrip("\r")])) if feed else []
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names:
        raise ProjectError(f"{path}: its first line is no header of a CSV table in UTF-8")
    return _checked_names(names, path)


def _checked_names(names: list[str], path: Path) -> list[str]:
    if "" in names:
        raise ProjectError(f"{path}: column {names.index('') + 1} has no name")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ProjectError(f"{path}: column {', '.join(twice)} is there more than once")
    return names


def _read_csv(path: Path, names: list[str], numbers: Collection[str]) -> pa.Table:
    wrong: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        return pacsv.read_csv(
            path,
            # rows are numbered, for messages, only without threads
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pacsv.ConvertOptions(
                column_types={name: _NUMBER if name in numbers else _TEXT for name in names},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (OSError, pa.ArrowException) as error:
        if wrong:
            raise ProjectError(
                f"{path}: row {wrong[0].number} (the header is row 1) has {wrong[0].actual_columns} fields, the header "
                f"{wrong[0].expected_columns}: was the file cut?"
            ) from None
        if numbers:
            return _read_csv(path, names, ())
        raise ProjectError(f"{path}: is no CSV table in UTF-8: {_shortened(str(error), 300)}") from None


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise ProjectError(
                    f"{path}: declares {file.metadata.num_rows} rows; read are at most {MAX_ROWS}"
                )
            found = file.read()
        # texts are not checked in reading
        found.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise ProjectError(
            f"{path}: is no Parquet table, or was cut: {_shortened(str(error), 300)}"
        ) from None
    _checked_names(found.schema.names, path)
    return found.replace_schema_metadata(None)


def _whole(values: pa.ChunkedArray) -> pa.Array:
    """Return one array, categories and large or binary-view texts as plain ones."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    return values.combine_chunks()


def _converted(values: pa.ChunkedArray, field: pa.Field, path: Path) -> pa.Array:
    whole = _whole(values)
    text = pa.types.is_string(whole.type)
    if pa.types.is_string(field.type):
        return whole if text else _cast(whole, field, path, "text")
    if pa.types.is_boolean(field.type):
        return _cast(whole, field, path, "True or False", _is_flag)
    if pa.types.is_floating(field.type):
        return _cast(whole, field, path, "a number", _is_number)
    return as_integers(values, field.name, path)


def _cast(
    values: pa.Array, field: pa.Field, path: Path, what: str, fits: Callable[[str], bool] | None = None
) -> pa.Array:
    """Cast to the field's type; `fits` tells which text has it, and null words of text become null."""
    try:
        return values.cast(field.type)
    except pa.ArrowException:
        pass
    if fits is None or not pa.types.is_string(values.type):
        raise ProjectError(
            f"{path}: column {field.name} is of type {values.type} with values that are not {what}"
        )
    for at, text in enumerate(values.to_pylist()):
        if text is not None and text not in NULL_WORDS and not fits(text):
            raise ProjectError(_refusal(path, np.array([at]), field.name, text, what))
    null = pc.is_in(values, value_set=pa.array(NULL_WORDS))
    try:
        return pc.if_else(null, pa.scalar(None, pa.string()), values).cast(field.type)
    except pa.ArrowException as error:
        raise ProjectError(
            f"{path}: column {field.name}: not {what}: {_shortened(str(error), 300)}"
        ) from None


def _is_flag(text: str) -> bool:
    return text.lower() in ("true", "false", "1", "0")


def _is_number(text: str) -> bool:
    return _NUMBER_TEXT.fullmatch(text) is not None and text.isascii()


def _is_integer(text: str) -> bool:
    return _is_number(text) and float(text).is_integer() and abs(float(text)) < 2**63


def _refusal(path: Path, rows: np.ndarray, name: str, value: object, what: str) -> str:
    return f"{path}: row {_row(rows, path)}: {name} is {_shortened(repr(value), _SHOWN)}, which is not {what}"


def _row(rows: np.ndarray, path: Path) -> str:
    """Return the number of the first of `rows` as a user counts them."""
    number = int(rows[0]) + 1
    return str(number) if path.suffix == ".parquet" else f"{number + 1} (the header is row 1)"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _acronym_lists(values: pa.ChunkedArray, path: Path) -> pa.Array:
    """Read the lists that AllenSDK writes as text, ``['VISp', nan]`` with or without commas."""
    whole = _whole(values)
    if pa.types.is_list(whole.type):
        return whole.cast(pa.list_(pa.string()))
    return pa.array(
        [
            None if text is None else _acronym_list(text, at, path)
            for at, text in enumerate(whole.to_pylist())
        ],
        pa.list_(pa.string()),
    )


def _acronym_list(text: str, at: int, path: Path) -> list[str | None]:
    inner = str(text).strip()
    items: list[str | None] = []
    if inner[:1] + inner[-1:] in ("[]", "()"):
        position, end = 1, len(inner) - 1
        while (item := _LIST_ITEM.match(inner, position, end)) is not None:
            items.append(item[1] if item[1] is not None else item[2])
            position = item.end()
        if not inner[position:end].strip():
            return items
    raise ProjectError(
        _refusal(path, np.array([at]), "structure_acronyms", text, "a list of quoted acronyms")
    )
