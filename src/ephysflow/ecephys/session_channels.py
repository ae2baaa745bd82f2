"""Probes and channels of one session file, with one set of columns for every layout."""

from collections.abc import Mapping, Sequence

import h5py
import numpy as np
import pyarrow as pa

from ephysflow.ecephys.columns import array_of, values_of
from ephysflow.ecephys.nwb_columns import (
    arrow_column,
    flag_column,
    number_column,
    plain_columns,
    positions,
    row_ids,
    text_column,
)
from ephysflow.ecephys.nwb_file import attribute, group, member, names, text, where
from ephysflow.ecephys.session_file import ELECTRODE_GROUPS, ELECTRODES, SessionFile
from ephysflow.ecephys.unit_filters import NO_STRUCTURE
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

PROBE_SCHEMA = pa.schema(
    [
        column("id", pa.int64()),
        column("description", pa.string(), "", "name of the probe"),
        column("location", pa.string()),
        column("sampling_rate", pa.float64(), "Hz"),
        column("lfp_sampling_rate", pa.float64(), "Hz"),
        column("has_lfp_data", pa.bool_()),
    ]
)
"""Columns of `session_probes`."""

CHANNEL_SCHEMA = pa.schema(
    [
        column("id", pa.int64()),
        column("filtering", pa.string()),
        column("probe_channel_number", pa.int64(), "", "number on the probe (local_index)"),
        column("probe_horizontal_position", pa.float64(), "um"),
        column("probe_id", pa.int64()),
        column("probe_vertical_position", pa.float64(), "um"),
        column("structure_acronym", pa.string(), "", "as the session file says"),
        column("ecephys_structure_id", pa.int64()),
        column("ecephys_structure_acronym", pa.string(), "", "of the project, else as the session file says"),
        column("anterior_posterior_ccf_coordinate", pa.float64(), "um"),
        column("dorsal_ventral_ccf_coordinate", pa.float64(), "um"),
        column("left_right_ccf_coordinate", pa.float64(), "um"),
        column("valid_data", pa.bool_(), "", "whether the channel works"),
    ]
)
"""First columns of `session_channels`; null is not known."""

EXTERNAL_COLUMNS = (
    "ecephys_structure_id",
    "ecephys_structure_acronym",
    "anterior_posterior_ccf_coordinate",
    "dorsal_ventral_ccf_coordinate",
    "left_right_ccf_coordinate",
)
"""Columns of channels in which the project's table overrides the session file."""

_NUMBERS = {
    "probe_channel_number": ("probe_channel_number", "local_index"),
    "probe_horizontal_position": ("probe_horizontal_position", "rel_x"),
    "probe_vertical_position": ("probe_vertical_position", "rel_y"),
}
"""Column of channels -> its names in files; the first one that is there counts."""

_COORDINATES = {
    "anterior_posterior_ccf_coordinate": "x",
    "dorsal_ventral_ccf_coordinate": "y",
    "left_right_ccf_coordinate": "z",
}
"""Only in the layouts of the Allen Institute: what x, y, z of other files count from is not known."""


def electrode_groups(session: SessionFile) -> dict[str, h5py.Group]:
    """Return the electrode groups of a session by name, in the order of names."""
    parent = member(session.h5, ELECTRODE_GROUPS)
    if not isinstance(parent, h5py.Group):
        return {}
    found = {name: member(parent, name) for name in names(parent)}
    return {
        name: item
        for name, item in found.items()
        if isinstance(item, h5py.Group) and str(attribute(item, "neurodata_type")).endswith("ElectrodeGroup")
    }


def probe_ids(session: SessionFile) -> dict[str, int]:
    """Return the id of the probe of each electrode group.

    Where the groups hold no ``probe_id`` it is the position of the group in the order of names.

    Raises
    ------
    ProjectError
        if two groups have one id, only some have one, or one is no integer.
    """
    given = {name: attribute(item, "probe_id") for name, item in electrode_groups(session).items()}
    if all(value is None for value in given.values()):
        return {name: position for position, name in enumerate(given)}
    if wrong := {name: value for name, value in given.items() if type(value) is not int}:
        raise ProjectError(f"{session.path}: probe_id of electrode groups must be an integer, but is {wrong}")
    if len(set(given.values())) < len(given):
        raise ProjectError(f"{session.path}: two electrode groups have one probe_id: {given}")
    return given


def session_probes(session: SessionFile) -> pa.Table:
    """Return the probes (electrode groups) of a session: columns of `PROBE_SCHEMA`, sorted by id.

    Raises
    ------
    ProjectError
        as `probe_ids`.
    """
    groups = electrode_groups(session)
    named = sorted((number, name) for name, number in probe_ids(session).items())
    items = [groups[name] for _, name in named]
    devices = [member(item, "device") for item in items]
    columns = [
        array_of(np.array([number for number, _ in named], dtype=np.int64)),
        text_column([name for _, name in named]),
        text_column([_text(attribute(item, "location")) or text(item, "location") for item in items]),
        _rates([attribute(d, "sampling_rate") if isinstance(d, h5py.Group) else None for d in devices]),
        _rates([attribute(item, "lfp_sampling_rate") for item in items]),
        _flags([attribute(item, "has_lfp_data") for item in items]),
    ]
    return pa.Table.from_arrays(columns, schema=PROBE_SCHEMA)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _rates(values: Sequence[object]) -> pa.Array:
    rates = np.array([rate(value) or np.nan for value in values], dtype=np.float64)
    return array_of(rates, np.isnan(rates))


def _flags(values: Sequence[object]) -> pa.Array:
    known = np.array([isinstance(value, bool | int) for value in values], dtype=bool)
    return array_of(np.array([bool(value) for value in values], dtype=bool) & known, ~known)


def rate(value: object) -> float | None:
    """Return a sampling rate that an attribute gives, None where it is none (missing, NaN, 0, text)."""
    return float(value) if isinstance(value, int | float) and 0 < value < float("inf") else None


def session_channels(session: SessionFile, external: pa.Table | None = None) -> pa.Table:
    """Return all channels of a session, valid or not, sorted by id.

    Parameters
    ----------
    session : the open file
    external : the project's channels (id and `EXTERNAL_COLUMNS`; only those of this session where there is
        ecephys_session_id): they override the file's in the channels that both hold

    Returns
    -------
    columns of `CHANNEL_SCHEMA`, then the other columns of the file that hold one value a channel (one whose name is
    taken gets ``_in_file`` appended). Acronyms of the Allen Institute's layouts are cut at the first "-". A file
    without electrodes has no channels.

    Raises
    ------
    ProjectError
        if ids are no integers or occur twice, or a column is of the wrong length or type.
    """
    if not isinstance(member(session.h5, ELECTRODES), h5py.Group):
        return CHANNEL_SCHEMA.empty_table()
    table = group(session.h5, ELECTRODES)
    ids = row_ids(table)
    known, own = _stored(session, table, len(ids))
    if external is not None:
        known |= _overridden(session, ids, known, external)
    columns = [array_of(ids), *(known[name] for name in CHANNEL_SCHEMA.names[1:]), *own.values()]
    schema = pa.schema([*CHANNEL_SCHEMA, *(pa.field(name, values.type) for name, values in own.items())])
    found = pa.Table.from_arrays(columns, schema=schema)
    return found.take(array_of(np.argsort(ids, kind="stable")))


def _stored(
    session: SessionFile, table: h5py.Group, rows: int
) -> tuple[dict[str, pa.Array], dict[str, pa.Array]]:
    """Return the columns of `CHANNEL_SCHEMA` but id, and the file's others, in the order of the file."""
    stored = plain_columns(table)
    of_allen = session.layout != "plain"
    used = {"group", "group_name", *(("imp", *_COORDINATES.values()) if of_allen else ())}
    known = {field.name: pa.nulls(rows, field.type) for field in CHANNEL_SCHEMA if field.name != "id"}
    sources = _NUMBERS | ({name: (axis,) for name, axis in _COORDINATES.items()} if of_allen else {})
    for name, candidates in sources.items():
        if (source := next((n for n in candidates if n in stored), None)) is not None:
            kind = CHANNEL_SCHEMA.field(name).type
            known[name] = number_column(stored[source], kind, f"{where(table)}/{source}")
            used.add(source)
    if "filtering" in stored:
        known["filtering"] = text_column([str(value) or None for value in stored["filtering"]])
        used.add("filtering")
    if "valid_data" in stored:
        known["valid_data"] = flag_column(stored["valid_data"], f"{where(table)}/valid_data")
        used.add("valid_data")
    if "location" in stored:
        acronyms = text_column([_acronym(str(value), of_allen) for value in stored["location"]])
        known["structure_acronym"] = known["ecephys_structure_acronym"] = acronyms
        used.add("location")
    if of_allen:
        known["probe_id"] = number_column(stored["probe_id"], pa.int64(), f"{where(table)}/probe_id")
        used.add("probe_id")
    elif (groups := stored.get("group", stored.get("group_name"))) is not None:
        known["probe_id"] = probes_by_name(session, groups)
    return known, {
        f"{name}_in_file" if name in CHANNEL_SCHEMA.names else name: arrow_column(values)
        for name, values in stored.items()
        if name not in used
    }


def _acronym(value: str, of_allen: bool) -> str | None:
    if value in NO_STRUCTURE:
        return None
    return value.partition("-")[0] if of_allen else value


def probes_by_name(session: SessionFile, groups: np.ndarray) -> pa.Array:
    """Return (N,) ids of the probes whose electrode groups have these groups, null where there is none."""
    ids = probe_ids(session)
    found = np.array([ids.get(str(name), -1) for name in groups], dtype=np.int64)
    return array_of(found, found < 0)


def _overridden(
    session: SessionFile, ids: np.ndarray, ours: Mapping[str, pa.Array], external: pa.Table
) -> dict[str, pa.Array]:
    """Return the columns that the project's channels give, with the file's values where they lack a channel."""
    if "ecephys_session_id" in external.column_names:
        here = str(session.session_id)
        mine = [str(value) == here for value in external["ecephys_session_id"].to_pylist()]
        external = external.filter(array_of(np.array(mine, dtype=bool)))
    rows = positions(values_of(external["id"]), ids, f"{session.path}: the project's channels")
    choice = array_of(np.where(rows >= 0, rows, external.num_rows + np.arange(len(ids))))
    overridden = {}
    for name in EXTERNAL_COLUMNS:
        if name in external.column_names:
            theirs = external[name].cast(ours[name].type).chunks
            if pa.types.is_string(ours[name].type):
                theirs = [text_column([_acronym(v or "", False) for v in c.to_pylist()]) for c in theirs]
            overridden[name] = pa.concat_arrays([*theirs, ours[name]]).take(choice)
    return overridden
