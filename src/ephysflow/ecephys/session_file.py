"""One session's NWB file: which session it is, which layout it has, and the row of the sessions table."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import pyarrow as pa

from ephysflow.ecephys.nwb_file import attribute, group, member, open_nwb, table_columns, text
from ephysflow.errors import ProjectError
from ephysflow.io.tables import column

ELECTRODES = "general/extracellular_ephys/electrodes"
ELECTRODE_GROUPS = "general/extracellular_ephys"

SESSION_SCHEMA = pa.schema(
    [
        column("id", pa.int64(), "", "session; text where the file's identifier is no integer"),
        column("session_type", pa.string(), "", "set of stimuli"),
        column("date_of_acquisition", pa.string(), "", "start in UTC, ISO 8601"),
        column("specimen_name", pa.string(), "", "specimen, or the subject's id"),
        column("age_in_days", pa.float64(), "d"),
        column("sex", pa.string()),
        column("genotype", pa.string()),
        column("strain", pa.string()),
        column("species", pa.string()),
        column("institution", pa.string()),
        column("nwb_version", pa.string()),
        column("layout", pa.string(), "", "visual_coding, visual_behavior or plain"),
        column("session_start_time", pa.string(), "", "as in the file; times of the session count from here"),
    ]
)
"""Columns of `SessionFile.metadata`; `session_schema` gives the one with text ids."""

_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_AGE = re.compile(r"P([0-9]{1,6}(?:\.[0-9]{1,9})?)([DW])")
_DAYS = {"D": 1.0, "W": 7.0}


class SessionFile:
    """An open session NWB file; use it as a context manager. Big data stay in the file until asked for.

    Parameters
    ----------
    path : the file; it may have any name

    Attributes
    ----------
    path : the file
    h5 : the open file
    session_id : the text ``identifier`` as an integer, else ``general/session_id`` as an integer, else the
        first of the two that can be used as a name

    Raises
    ------
    ProjectError
        if the file is not there, is an HTML page, cut short, not HDF5 or not NWB 2, or has no usable identifier.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.h5: h5py.File = open_nwb(path)
        try:
            self.session_id: int | str = _session_id(self.h5, path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; arrays that were read stay, lazy columns do not."""
        self.h5.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def layout(self) -> str:
        """How probes and channels are stored.

        ``visual_coding``: electrode groups with a probe_id, electrodes with local_index. ``visual_behavior``: the same
        with probe_channel_number. ``plain``: neither, as pynwb writes a file.
        """
        if not isinstance(member(self.h5, ELECTRODES), h5py.Group):
            return "plain"
        columns = table_columns(group(self.h5, ELECTRODES))
        if "probe_id" not in columns:
            return "plain"
        if "probe_channel_number" in columns:
            return "visual_behavior"
        return "visual_coding" if "local_index" in columns else "plain"

    def metadata(self) -> dict[str, Any]:
        """Return one row of `SESSION_SCHEMA`; what the file does not say is None."""
        start = text(self.h5, "session_start_time")
        return {
            "id": self.session_id,
            "session_type": text(self.h5, "general/stimulus"),
            "date_of_acquisition": _utc(start),
            "specimen_name": self._subject("specimen_name") or self._subject("subject_id"),
            "age_in_days": self._age_in_days(),
            **{name: self._subject(name) for name in ("sex", "genotype", "strain", "species")},
            "institution": text(self.h5, "general/institution"),
            "nwb_version": attribute(self.h5, "nwb_version"),
            "layout": self.layout,
            "session_start_time": start,
        }

    def _subject(self, name: str) -> str | None:
        """Return a text of the subject: plain NWB keeps datasets, extensions attributes."""
        subject = member(self.h5, "general/subject")
        if not isinstance(subject, h5py.Group):
            return None
        value = attribute(subject, name)
        return value or None if isinstance(value, str) else text(subject, name)

    def _age_in_days(self) -> float | None:
        subject = member(self.h5, "general/subject")
        value = attribute(subject, "age_in_days") if isinstance(subject, h5py.Group) else None
        if isinstance(value, int | float) and value >= 0:
            return float(value)
        # an ISO 8601 duration; months and years have no fixed number of days
        age = _AGE.fullmatch(self._subject("age") or "")
        return float(age[1]) * _DAYS[age[2]] if age else None


def session_schema(session_id: int | str) -> pa.Schema:
    """Return `SESSION_SCHEMA` with the type of this session's id."""
    if isinstance(session_id, int):
        return SESSION_SCHEMA
    return SESSION_SCHEMA.set(0, SESSION_SCHEMA.field("id").with_type(pa.string()))


def _session_id(file: h5py.File, path: Path) -> int | str:
    found = {
        place: value.strip()
        for place in ("identifier", "general/session_id")
        if (value := text(file, place)) is not None
    }
    for value in found.values():
        if _INTEGER.fullmatch(value):
            return int(value)
    for value in found.values():
        if _NAME.fullmatch(value):
            return value
    given = ", ".join(f"{place} = {value[:80]!r}" for place, value in found.items()) or "neither is there"
    raise ProjectError(
        f"{path}: the session cannot be named: identifier or general/session_id must be an integer or up to 128 "
        f"letters, digits, '_', '-', '.' (not '.' or '-' first); {given}"
    )


def _utc(start: str | None) -> str | None:
    try:
        moment = datetime.fromisoformat(start or "")
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
