"""The step ``fetch_file``: one table or file of a warehouse, as it comes.

What is downloaded depends on nothing but its name: neither another time-out nor new code downloads 3 GB again. So the
transport stands beside the settings of the job, and ``ephysflow.steps`` lists no code for this step.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

from ephysflow import paths
from ephysflow.ecephys.analysis_metrics import with_exchanged_put_right
from ephysflow.ecephys.download import download
from ephysflow.ecephys.lfp import LfpFile
from ephysflow.ecephys.manifest import TABLES
from ephysflow.ecephys.project_tables import distinct
from ephysflow.ecephys.rma import (
    RemoteFile,
    fetch_analysis_metrics,
    fetch_table,
    find_lfp_nwb,
    find_session_nwb,
    find_template,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.templates import check_movie, check_scene
from ephysflow.ecephys.transport import Transport
from ephysflow.errors import ProjectError
from ephysflow.io.tables import write_table
from ephysflow.job import Job

METRICS = re.compile(r"(?:session_(?P<session>\d+)|(?P<type>.+))_analysis_metrics\.parquet")
SESSION = re.compile(r"session_(\d+)/session_\1\.nwb")
LFP = re.compile(r"session_\d+/probe_(\d+)_lfp\.nwb")
TEMPLATE = re.compile(r"(natural_movie|natural_scene)_templates/\1_(\d+)\.(?:npy|tiff)")


def fetch_file(job: Job) -> None:
    """Ask the warehouse for a table, or download a file, and check that it opens."""
    project, name = job.settings["project"], job.settings["file"]
    given = job.aside[project]
    transport = Transport(
        **{**given["transport"], "allowed_hosts": tuple(given["transport"]["allowed_hosts"])}
    )
    target = paths.downloads(job.results, project) / name
    try:
        table = _table(transport, name)
    except ProjectError as error:
        raise ProjectError(f"{name}: {error}") from None
    if table is not None:
        write_table(target, table, table.schema, job.provenance([]))
        print(f"{target}: {table.num_rows} rows")
        return
    try:
        remote, check = _remote(transport, name)
        record = download(transport, remote.url, target, check, given["sha256"].get(name))
    except ProjectError as error:
        raise ProjectError(f"{name}: {error}") from None
    print(f"{target}: {record.size} bytes, SHA-256 {record.sha256}, from {record.url}")


def _table(transport: Transport, name: str) -> pa.Table | None:
    """Return a table that the warehouse answers a query with; None if the name is of a file."""
    stem = name.removesuffix(".parquet")
    if stem in TABLES:
        table = fetch_table(transport, stem)
        if not table.num_rows:  # would stay
            raise ProjectError(f"table {stem}: the warehouse sent no rows of it")
        return table
    if (metrics := METRICS.fullmatch(name)) is None:
        return None
    if metrics["session"]:
        table = fetch_analysis_metrics(transport, session_id=int(metrics["session"]))
    else:
        table = fetch_analysis_metrics(transport, session_type=metrics["type"])
        if not table.num_rows:
            known = ", ".join(distinct(fetch_table(transport, "sessions"), "session_type"))
            raise ProjectError(
                f"session type {metrics['type']!r}: the warehouse has no analysis metrics of it (its session types: {known})"
            )
    return with_exchanged_put_right(table)


def _remote(transport: Transport, name: str) -> tuple[RemoteFile, Callable[[Path], None]]:
    """Return where a file is, and how to see that it is whole."""
    if found := SESSION.fullmatch(name):
        return find_session_nwb(transport, int(found[1])), partial(_check_session, int(found[1]))
    if found := LFP.fullmatch(name):
        return find_lfp_nwb(transport, int(found[1])), partial(_check_lfp, int(found[1]))
    found = TEMPLATE.fullmatch(name)
    if found is None:
        raise ProjectError(f"{name}: is not the name of anything that a warehouse has")
    check = check_movie if found[1] == "natural_movie" else check_scene
    return find_template(transport, found[1], int(found[2])), check


def _check_session(session_id: int, path: Path) -> None:
    with SessionFile(path) as session:
        if session.session_id != session_id:
            raise ProjectError(f"is the file of session {session.session_id}, not {session_id}")


def _check_lfp(probe_id: int, path: Path) -> None:
    with LfpFile(path) as lfp:
        if lfp.probe_id != probe_id:
            raise ProjectError(f"is the file of probe {lfp.probe_id}, not {probe_id}")
