"""Tables, unit metrics and files of a warehouse, asked for in its query language (RMA).

Shapes of queries and answers: Allen Brain Atlas API, as the public Neuropixels project uses it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from ephysflow.ecephys.raw_tables import NEEDED, RAW_SCHEMAS
from ephysflow.ecephys.transport import PassingError, Transport, link_url, opened, trying
from ephysflow.errors import ConfigurationError, ProjectError

PAGE_ROWS = 5000
MOST_ROWS = 20_000_000  # of one table; the public project has 123,000 channels
MOST_BYTES = 512 * 2**20  # of one answer, which is held in memory
MOST_METRIC_TEXT = 2**20  # characters of the metrics of one unit
MOST_METRICS = 2000  # columns
SHOWN_SESSIONS = 10
TEMPLATE_PRODUCT = 714914585  # the product whose files are the stimulus templates
TEMPLATE_PATHS = {
    "natural_movie": re.compile(r"natural_movie_([0-9]{1,9})\.npy"),
    "natural_scene": re.compile(r"/([0-9]{1,9})\.tiff"),
}
FILE_NAME = re.compile(r"[A-Za-z0-9_+@=,. -]{1,255}")
SESSION_TYPE = re.compile(r"[A-Za-z0-9_.+ -]+")

Record = Mapping[str, Any]

CHANNEL_COLUMNS = (
    "ecephys_channels.id",
    "ecephys_probe_id",
    "local_index",
    "probe_horizontal_position",
    "probe_vertical_position",
    "anterior_posterior_ccf_coordinate",
    "dorsal_ventral_ccf_coordinate",
    "left_right_ccf_coordinate",
    "structures.id as ecephys_structure_id",
    "structures.acronym as ecephys_structure_acronym",
)
TABLE_QUERIES = {
    "sessions": "model::EcephysSession,"
    "rma::include,specimen(donor(age)),well_known_files(well_known_file_type)",
    "probes": "model::EcephysProbe",
    "channels": "model::EcephysChannel,rma::include,structure,"
    f"rma::options[tabular$eq'{','.join(CHANNEL_COLUMNS)}']",
    "units": "model::EcephysUnit",
}
# table -> column -> key of it in the warehouse's records, where that is another one
SOURCE_KEYS: dict[str, dict[str, str]] = {
    "sessions": {"session_type": "stimulus_name"},
    "probes": {"has_lfp_data": "use_lfp_data"},
    "channels": {},
    "units": {},
}


@dataclass(frozen=True)
class RemoteFile:
    """A file that the warehouse lists.

    Attributes
    ----------
    id : of the file
    url : where it is downloaded
    name : last part of its path at the warehouse
    """

    id: int
    url: str
    name: str


def fetch_table(transport: Transport, table: str) -> pa.Table:
    """Fetch one of the tables sessions, probes, channels, units.

    Values are converted by the table's schema, also where the warehouse sends numbers as text; null and NaN
    both become null. Columns that the schema does not name are left out.

    Returns
    -------
    Table with the columns of ``RAW_SCHEMAS[table]`` that the warehouse has, sorted by id; without rows where the
    warehouse has none.

    Raises
    ------
    ProjectError
        if the warehouse cannot be asked, or its answer is not such a table.
    """
    if table not in TABLE_QUERIES:
        raise ConfigurationError(f"table {table!r} is unknown; there are {', '.join(TABLE_QUERIES)}")
    fields: list[pa.Field] = []
    pages = []
    for records, url in _pages(transport, TABLE_QUERIES[table]):
        fields = fields or _fields(table, records)
        arrays = [
            _converted(records, _cells(table, field.name, records, url), field, url) for field in fields
        ]
        pages.append(pa.Table.from_arrays(arrays, schema=pa.schema(fields)))
    return _sorted_by_id(
        pa.concat_tables(pages) if pages else RAW_SCHEMAS[table].empty_table(), f"table {table}"
    )


def fetch_analysis_metrics(
    transport: Transport, *, session_id: int | None = None, session_type: str | None = None
) -> pa.Table:
    """Fetch the analysis metrics of the units of one session, or of all sessions of one type.

    Parameters
    ----------
    transport : how the warehouse is reached
    session_id, session_type : one of the two

    Returns
    -------
    Table with ecephys_unit_id (int64), then one column a metric, in order of appearance: bool, int64 or float64;
    text where a metric is text, or of kinds that no column holds together. Null where a unit lacks a metric or
    has NaN. Sorted by unit. The metrics on_screen_rf and p_value_rf are as the warehouse has them. A session or
    type that is unknown, or without metrics, gives no rows.

    Raises
    ------
    ProjectError
        if the warehouse cannot be asked, or its answer is not such a table.
    """
    if (session_id is None) == (session_type is None):
        raise ConfigurationError("analysis metrics: give either session_id or session_type")
    if session_type is not None and not SESSION_TYPE.fullmatch(session_type):
        raise ConfigurationError(
            f"session_type: {session_type!r} cannot be asked for; letters, digits, spaces and _ . + - are allowed"
        )
    chosen = f"stimulus_name$in'{session_type}'" if session_id is None else f"id$in{int(session_id)}"
    query = (
        "model::EcephysUnitMetricBundle,rma::criteria,"
        f"ecephys_unit(ecephys_channel(ecephys_probe(ecephys_session[{chosen}])))"
    )
    units: list[pa.Array] = []
    metrics: list[dict[str, Any]] = []
    field = pa.field("ecephys_unit_id", pa.int64())
    for records, url in _pages(transport, query):
        ids = _values(records, field.name, url)
        units.append(_converted(records, ids, field, url))
        metrics += [_metrics(record, url) for record in records]
    names = list(dict.fromkeys(name for row in metrics for name in row))
    if field.name in names or len(names) > MOST_METRICS:
        raise ProjectError(
            f"analysis metrics: {len(names)} names (at most {MOST_METRICS}; {field.name} cannot be one)"
        )
    columns = {field.name: pa.chunked_array(units, type=pa.int64())}
    columns |= {name: _metric_column([row.get(name) for row in metrics]) for name in names}
    try:
        table = pa.table(columns)
    except UnicodeEncodeError as error:
        raise ProjectError(f"analysis metrics: the name of a metric is no text: {error}") from None
    return _sorted_by_id(table, "analysis metrics")


def find_session_nwb(transport: Transport, session_id: int) -> RemoteFile:
    """Find the NWB file of a session; ProjectError if the warehouse has none."""
    return _the_file(
        transport,
        "EcephysNwb",
        "EcephysSession",
        session_id,
        lambda: _why_no_nwb(transport, session_id),
    )


def _why_no_nwb(transport: Transport, session_id: int) -> str:
    known = fetch_table(transport, "sessions")["id"].to_pylist()
    message = f"session {session_id}: the warehouse has no NWB file of it"
    if session_id in known:
        return f"{message} (see has_nwb in the sessions table)"
    shown = ", ".join(map(str, known[:SHOWN_SESSIONS])) + (", ..." if len(known) > SHOWN_SESSIONS else "")
    return f"{message}, nor any such session (known: {shown or 'none'})"


def find_lfp_nwb(transport: Transport, probe_id: int) -> RemoteFile:
    """Find the LFP file of a probe; ProjectError if the warehouse has none."""
    return _the_file(
        transport,
        "EcephysLfpNwb",
        "EcephysProbe",
        probe_id,
        lambda: (
            f"probe {probe_id}: the warehouse has no LFP file of it. The probes table may say has_lfp_data all the "
            "same (so it is for some probes of the public project): leave out the LFP of this probe"
        ),
    )


def find_template(transport: Transport, kind: str, number: int) -> RemoteFile:
    """Find a stimulus template.

    Parameters
    ----------
    transport : how the warehouse is reached
    kind : natural_movie or natural_scene
    number : of the movie (from 1) or scene (from 0)

    Raises
    ------
    ProjectError
        if the warehouse has none of that number; names those it has.
    """
    if kind not in TEMPLATE_PATHS:
        raise ConfigurationError(f"template {kind!r} is unknown; there are {', '.join(TEMPLATE_PATHS)}")
    files: dict[int, RemoteFile] = {}
    for record, url in _files(transport, "Stimulus", "Product", TEMPLATE_PRODUCT):
        found = TEMPLATE_PATHS[kind].search(_text(record, "path", url))
        if not found or found.end() != len(record["path"]):
            continue  # the product also lists other templates
        if int(found.group(1)) in files:
            raise ProjectError(f"{url}: {kind} {found.group(1)} is listed twice")
        files[int(found.group(1))] = _remote_file(transport, record, url)
    if number not in files:
        there = ", ".join(map(str, sorted(files))) or "none"
        raise ProjectError(f"{kind} {number}: the warehouse has no such template; it has {there}")
    return files[number]


def _the_file(
    transport: Transport, kind: str, owner: str, owner_id: int, absent: Callable[[], str]
) -> RemoteFile:
    files = list(_files(transport, kind, owner, owner_id))
    if not files:
        raise ProjectError(absent())
    if len(files) > 1:
        ids = ", ".join(str(record.get("id")) for record, _ in files)
        raise ProjectError(f"{files[0][1]}: one file was expected, {len(files)} are listed (ids {ids})")
    return _remote_file(transport, *files[0])


def _files(transport: Transport, kind: str, owner: str, owner_id: int) -> Iterator[tuple[Record, str]]:
    query = (
        f"model::WellKnownFile,rma::criteria,well_known_file_type[name$eq'{kind}']"
        f"[attachable_type$eq'{owner}'][attachable_id$eq{int(owner_id)}]"
    )
    for records, url in _pages(transport, query):
        for record in records:
            yield record, url


def _remote_file(transport: Transport, record: Record, url: str) -> RemoteFile:
    number, path = record.get("id"), _text(record, "path", url)
    if type(number) is not int:
        raise ProjectError(f"{url}: id of a file is {number!r}, not an integer")
    name = PurePosixPath(path).name
    if not FILE_NAME.fullmatch(name) or name.strip(".") == "":
        raise ProjectError(f"{url}: file {number}: path {path!r} does not end in the name of a file")
    return RemoteFile(number, link_url(transport, _text(record, "download_link", url)), name)


def _text(record: Record, key: str, url: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ProjectError(f"{url}: file {record.get('id')!r}: {key} is {value!r}, not a text")
    return value


# --- pages ------------------------------------------------------------------------------------------------


def _pages(transport: Transport, query: str) -> Iterator[tuple[list[Record], str]]:
    """Yield the records of each page and the page's address."""
    start, total = 0, None
    while total is None or start < total:
        options = f",rma::options[start_row$eq{start}][num_rows$eq{PAGE_ROWS}][order$eq'id']"
        criteria = quote(f"criteria={query}{options}", safe="=:,$[]()'")
        url = f"{transport.scheme}://{transport.host}/api/v2/data/query.json?{criteria}"
        records, rows = trying(transport, url, _page_reader(transport, url, start))
        if total is not None and rows != total:
            raise ProjectError(f"{url}: {rows} rows in all, but {total} by the first page; ask again later")
        if rows > MOST_ROWS:
            raise ProjectError(f"{url}: {rows} rows in all are more than {MOST_ROWS}")
        total = rows
        start += len(records)
        if records:
            yield records, url


def _page_reader(transport: Transport, url: str, start: int) -> Callable[[], tuple[list[Record], int]]:
    """Return the function that fetches one page: its records, and how many the table has."""

    def read() -> tuple[list[Record], int]:
        answer = _json(_body(transport, url))
        if not isinstance(answer, dict) or "success" not in answer:
            raise PassingError("the answer is JSON, but none of the query service")
        if answer["success"] is not True:
            raise PassingError(f"the warehouse says: {_short(answer.get('msg'))}")
        first, rows, total = (answer.get(key) for key in ("start_row", "num_rows", "total_rows"))
        records = answer.get("msg")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise PassingError(f"the answer holds no records but {_short(records)}")
        if type(total) is not int or first != start or rows != len(records):
            raise PassingError(
                f"the answer contradicts itself: start_row {first!r} (asked for {start}), num_rows {rows!r} "
                f"({len(records)} records), total_rows {total!r}"
            )
        if start + len(records) > total or (not records and start < total):
            raise PassingError(f"{len(records)} rows from row {start} on, of {total} in all")
        return records, total

    return read


def _body(transport: Transport, url: str) -> bytes:
    body = bytearray()
    with opened(transport, url) as response:
        for piece in response.iter_content(2**18):
            body += piece
            if len(body) > MOST_BYTES:
                raise ProjectError(f"{url}: the answer is larger than {MOST_BYTES // 2**20} MB")
        length = response.headers.get("Content-Length", "")
    if length.isdecimal() and len(body) != int(length):
        raise PassingError(f"{len(body)} bytes came of {length}")
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        start = body[:80].decode(errors="replace")
        kind = "an HTML page" if re.match(r"\s*<", start) else "no JSON"
        raise PassingError(f"the answer is {kind}: {start!r}") from None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


# --- records to columns -----------------------------------------------------------------------------------


def _fields(table: str, records: Sequence[Record]) -> list[pa.Field]:
    """Return the columns of a table that its first records hold."""
    keys = SOURCE_KEYS[table]
    known = {*NEEDED[table], *(SESSION_CELLS if table == "sessions" else ())}
    return [
        field
        for field in RAW_SCHEMAS[table]
        if field.name in known or any(keys.get(field.name, field.name) in record for record in records)
    ]


def _cells(table: str, name: str, records: Sequence[Record], url: str) -> list[Any]:
    if table == "sessions" and name in SESSION_CELLS:
        return [SESSION_CELLS[name](record, url) for record in records]
    return _values(records, SOURCE_KEYS[table].get(name, name), url)


def _values(records: Sequence[Record], key: str, url: str) -> list[Any]:
    try:
        return [record[key] for record in records]
    except KeyError:
        missing = next(record for record in records if key not in record)
        raise ProjectError(f"{url}: record {missing.get('id')!r} has no {key}") from None


def _of_donor(*keys: str) -> Callable[[Record, str], Any]:
    return lambda session, url: _nested(session, session, ("specimen", "donor", *keys), url)


def _genotype(session: Record, url: str) -> Any:
    # the warehouse has no genotype of a wild-type mouse
    value = _of_donor("full_genotype")(session, url)
    return "wt" if value is None else value


def _has_nwb(session: Record, url: str) -> bool:
    files = session.get("well_known_files") or []
    if not isinstance(files, list):
        raise ProjectError(f"{url}: session {session.get('id')!r}: well_known_files is no list")
    kinds = [_nested(session, file, ("well_known_file_type", "name"), url) for file in files]
    return "EcephysNwb" in kinds


def _nested(session: Record, value: Any, keys: Sequence[str], url: str) -> Any:
    """Return what lies under `keys` in `value`; None where one of them is null or absent."""
    for key in keys:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ProjectError(f"{url}: session {session.get('id')!r}: no {key} can be in {_short(value)}")
        value = value.get(key)
    return value


# columns of the sessions table that lie deeper in a record
SESSION_CELLS: dict[str, Callable[[Record, str], Any]] = {
    "age_in_days": _of_donor("age", "days"),
    "sex": _of_donor("sex"),
    "genotype": _genotype,
    "has_nwb": _has_nwb,
}


def _converted(records: Sequence[Record], values: list[Any], field: pa.Field, url: str) -> pa.Array:
    """Return a column of the field's type; texts of numbers are converted, anything else is an error."""
    kinds = set(map(type, values)) - {type(None)}
    converter, direct = _CONVERTERS[field.type]
    if not kinds <= direct:
        for index, value in enumerate(values):
            try:
                values[index] = None if value is None else converter(value)
            except (ValueError, TypeError, OverflowError):
                raise ProjectError(
                    f"{url}: record {records[index].get('id')!r}: {field.name} is {_short(repr(value))}, not {field.type}"
                ) from None
    try:
        return pa.array(values, type=field.type, from_pandas=True)  # NaN becomes null
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise ProjectError(f"{url}: {field.name}: {error}") from None


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,19}", value):
        return int(value)
    if isinstance(value, float | str) and float(value).is_integer() and abs(float(value)) <= 2**53:
        return int(float(value))
    raise ValueError


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError
    return float(value)


def _boolean(value: Any) -> bool:
    texts = {"true": True, "t": True, "false": False, "f": False}
    if isinstance(value, str) and value.lower() in texts:
        return texts[value.lower()]
    if isinstance(value, bool):
        return value
    raise ValueError


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


# type of a column -> converter of one value, Python types of which pyarrow makes the column unaided
_CONVERTERS: dict[pa.DataType, tuple[Callable[[Any], Any], set[type]]] = {
    pa.int64(): (_integer, {int}),
    pa.float64(): (_float, {int, float}),
    pa.bool_(): (_boolean, {bool}),
    pa.string(): (_string, {str}),
}


def _metrics(record: Record, url: str) -> dict[str, Any]:
    """Return the metrics of one unit: JSON in a text, in which NaN may stand."""
    unit, text = record.get("ecephys_unit_id"), record.get("data")
    if not isinstance(text, str) or len(text) > MOST_METRIC_TEXT:
        raise ProjectError(f"{url}: unit {unit!r}: data is no text of at most {MOST_METRIC_TEXT} characters")
    try:
        metrics = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{url}: unit {unit!r}: data is no JSON: {error}: {_short(text)}") from None
    if not isinstance(metrics, dict):
        raise ProjectError(f"{url}: unit {unit!r}: data is no JSON object: {_short(text)}")
    return metrics


def _metric_column(values: list[Any]) -> pa.Array:
    values = [None if isinstance(value, float) and value != value else value for value in values]
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.array(values, type=pa.float64())
    if kinds == {bool}:
        return pa.array(values, type=pa.bool_())
    if kinds <= {int, float} and all(abs(value) <= 2**53 for value in values if type(value) is int):
        return pa.array(values, type=pa.int64() if kinds == {int} else pa.float64())
    return pa.array([value if value is None else _metric_text(value) for value in values], type=pa.string())


def _metric_text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()  # JSON can hold halves of characters, which Arrow cannot


def _sorted_by_id(table: pa.Table, what: str) -> pa.Table:
    """Sort by the first column, whose values must not be null nor repeat."""
    name = table.column_names[0]
    if table[name].null_count:
        raise ProjectError(f"{what}: {table[name].null_count} rows have no {name}")
    ids = table[name].to_numpy()
    order = ids.argsort(kind="stable")
    ids = ids[order]
    if (twice := ids[1:][ids[1:] == ids[:-1]]).size:
        raise ProjectError(f"{what}: {name} {twice[0]} comes twice")
    return table if (order[1:] > order[:-1]).all() else table.take(order)
