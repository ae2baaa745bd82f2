"""The products ``channels`` and ``channel_structure_intervals``."""

from pathlib import Path

import pyarrow as pa

from ephysflow.ecephys.raw_tables import read_raw_table
from ephysflow.ecephys.session_channels import session_channels
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.structure_intervals import structure_intervals_table


def project_channels(path: Path | None) -> pa.Table | None:
    """Read the channels table of the project, which says better than the session file where channels are."""
    return None if path is None else read_raw_table(path, "channels")


def channels_of_session(session: SessionFile, channels: Path | None) -> pa.Table:
    """Return the channels of a session; `channels` is the project's table, where it has one."""
    return session_channels(session, project_channels(channels))


def structure_intervals(session: SessionFile, channels: Path | None) -> pa.Table:
    """Return the structures along the probes of a session; `channels` as in `channels_of_session`."""
    return structure_intervals_table(channels_of_session(session, channels))
