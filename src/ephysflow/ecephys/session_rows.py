"""The raw tables of one session file: what a project is built from when its source is session files."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of
from ephysflow.ecephys.nwb_columns import arrow_column, text_column
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables
from ephysflow.ecephys.session_channels import session_channels, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_units import UNIT_RENAMES, stored_units
from ephysflow.ecephys.unit_electrodes import peak_channels
from ephysflow.io.tables import column

SESSION = "ecephys_session_id"

_PROBE_COLUMNS = {"name": "description"}
_CHANNEL_COLUMNS = {"ecephys_probe_id": "probe_id", "local_index": "probe_channel_number"}
_UNIT_COLUMNS = {"id": "unit_id", **UNIT_RENAMES}
"""Column of a raw table -> its name in session tables, where they differ."""


def session_rows(session: SessionFile) -> RawTables:
    """Return the rows that one session adds to the raw tables of a project.

    Columns are those of `RAW_SCHEMAS`, null where the file does not say, and ``ecephys_session_id`` in the tables of
    probes, channels and units. Channels have ``valid_data`` too where the file has it; units have the file's other
    columns with one value a unit (``local_index`` as ``unit_local_index``). Ids are the file's, so that those of
    probes, channels and units may repeat between sessions; a probe without id has the position of its electrode group.
    ``ecephys_channel_id`` of a unit is its peak channel, null where it has none.

    Raises
    ------
    ProjectError
        as `session_channels` and `session_units`.
    """
    probes, channels, units = session_probes(session), session_channels(session), stored_units(session)
    peaks = peak_channels(session)
    more_of_units = {}
    if peaks is not None:
        more_of_units["ecephys_channel_id"] = array_of(peaks, peaks < 0)
    valid = {}
    if channels["valid_data"].null_count < channels.num_rows:
        valid["valid_data"] = channels["valid_data"]
    known = set(_UNIT_COLUMNS.values()) | {"peak_channel_id", SESSION}
    own = {
        "unit_local_index" if name == "local_index" else name: units[name]
        for name in units.column_names
        if name not in known and name not in RAW_SCHEMAS["units"].names
    }
    return RawTables(
        sessions=_session_row(session),
        probes=_raw_table("probes", session, probes, _PROBE_COLUMNS, {}, {}),
        channels=_raw_table("channels", session, channels, _CHANNEL_COLUMNS, {}, valid),
        units=_raw_table("units", session, units, _UNIT_COLUMNS, more_of_units, own),
    )


def _session_row(session: SessionFile) -> pa.Table:
    metadata = session.metadata()
    made = {
        "id": _session_ids(session, 1),
        "age_in_days": arrow_column(np.array([metadata["age_in_days"]], dtype=np.float64)),
        "has_nwb": array_of(np.ones(1, dtype=bool)),
    }
    columns, fields = [], []
    for field in RAW_SCHEMAS["sessions"]:
        if field.name in made:
            columns.append(made[field.name])
        elif field.name in metadata:
            columns.append(text_column([metadata[field.name]]))
        else:
            columns.append(pa.nulls(1, field.type))
        fields.append(field.with_type(columns[-1].type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _raw_table(
    name: str,
    session: SessionFile,
    table: pa.Table,
    renamed: Mapping[str, str],
    made: Mapping[str, pa.Array],
    more: Mapping[str, pa.ChunkedArray],
) -> pa.Table:
    """Return one raw table: known columns out of `made` or `table`, the session's id, then further columns."""
    columns, fields = [], []
    for field in RAW_SCHEMAS[name]:
        source = renamed.get(field.name, field.name)
        if field.name == SESSION:
            values = _session_ids(session, table.num_rows)
            field = field.with_type(values.type)
        elif field.name in made:
            values = made[field.name]
        elif source in table.column_names:
            values = table[source].cast(field.type)
        else:
            values = pa.nulls(table.num_rows, field.type)
        columns.append(values)
        fields.append(field)
    if SESSION not in RAW_SCHEMAS[name].names:
        columns.append(_session_ids(session, table.num_rows))
        fields.append(column(SESSION, columns[-1].type, text="session"))
    for each, values in more.items():
        columns.append(values)
        fields.append(pa.field(each, values.type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _session_ids(session: SessionFile, count: int) -> pa.Array:
    if isinstance(session.session_id, int):
        return array_of(np.full(count, session.session_id, dtype=np.int64))
    return text_column([session.session_id] * count)
