"""A warehouse of two small sessions whose files open, and the configuration of a project of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ephysflow.example.ecephys_files import write_lfp, write_session
from ephysflow.example.ecephys_sessions import probe_ids

from .fake_warehouse import SESSION_IDS, FakeWarehouse, small_project

FIRST, SECOND = map(str, SESSION_IDS)
LFP_PROBE = probe_ids(SESSION_IDS[0], 1)[0]
"""The first probe of the first session, the only one with an LFP file."""


def warehouse_of(folder: Path, kind: type[FakeWarehouse] = FakeWarehouse) -> FakeWarehouse:
    """Return a warehouse of both sessions and one LFP file, which are written to `folder` if they are not there."""
    folder.mkdir(exist_ok=True)
    sessions = {session: folder / f"session_{session}.nwb" for session in SESSION_IDS}
    for session, path in sessions.items():
        if not path.exists():
            write_session(path, session, seed=session)
    lfp = folder / f"probe_{LFP_PROBE}.nwb"
    if not lfp.exists():
        write_lfp(lfp, SESSION_IDS[0], LFP_PROBE, seed=1)
    return kind(*small_project(sessions, {LFP_PROBE: lfp}))


def warehouse_config(host: str, sessions: Iterable[str] | str = (FIRST,), **keys: Any) -> dict[str, Any]:
    """Return the configuration of the project ``p`` of the warehouse at `host`.

    Parameters
    ----------
    host : and port
    sessions : ids, or the name of a sheet
    keys : further ones of the project, or others in place of these
    """
    section = {
        "source": "warehouse",
        "sessions": sessions if isinstance(sessions, str) else [int(session) for session in sessions],
        "products": ["units", "running_speed"],
        "warehouse": {"host": host, "tries": 1, "read_timeout": 5},
        **keys,
    }
    return {"results": "results", "plots": False, "ecephys": {"p": section}}


def file_id(server: FakeWarehouse, owner: int | str) -> int:
    """Return the id of the file of a session or a probe."""
    records = server.records["WellKnownFile"]
    return next(record["id"] for record in records if record["attachable_id"] == int(owner))
