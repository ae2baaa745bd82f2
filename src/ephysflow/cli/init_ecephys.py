"""``ephysflow init ecephys``: a commented configuration and a sheet of sessions to start from."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

CONFIG = """\
# Made by `ephysflow init ecephys`. Check:  ephysflow validate {folder}/config.yaml
# Plan:  snakemake -n --configfile {folder}/config.yaml       Run:  snakemake -c2 --configfile {folder}/config.yaml
# A path is relative to this file; results are relative to the folder in which snakemake is started.
# Every key is explained in config/README.md of ephysflow.

results: {results}

ecephys:
  {project}:
    source: {source}
{place}
    # One row a session; take away the rows of sessions that you do not want.
    sessions: sessions.tsv

    # Which units are kept; null switches a limit off.
    unit_filters:
      amplitude_cutoff_maximum: 0.1
      presence_ratio_minimum: 0.95
      isi_violations_maximum: 0.5
      filter_by_validity: true          # quality "good", on a valid channel
      filter_out_of_brain_units: true

    # What is written of every session; without this key, all that needs no LFP file (docs/ecephys.md).
    # products: [units, channels, spikes, stimulus_presentations, lfp]
"""


def write_project(arguments: argparse.Namespace, folder: Path) -> int:
    """Write configuration and sheet; existing ones are never replaced."""
    from ephysflow.ecephys.sources import SESSION_NAME
    from ephysflow.errors import ConfigurationError
    from ephysflow.io.atomic import write_text

    if there := [name for name in ("config.yaml", "sessions.tsv") if (folder / name).exists()]:
        raise ConfigurationError(
            f"{folder}: {', '.join(there)} is already there; name another folder or move it"
        )
    if (arguments.data is None) == (arguments.warehouse is None):
        raise ConfigurationError("init ecephys: give either --data FOLDER or --warehouse [HOST]")
    if arguments.data is not None:
        source, place, rows = _local(arguments.data, folder)
    else:
        source = "warehouse"
        place, rows = _warehouse(arguments.warehouse)
    project = folder.name if SESSION_NAME.fullmatch(folder.name) else "neuropixels"
    text = CONFIG.format(
        folder=folder, results=_yaml(folder / "results"), project=_yaml(project), source=source, place=place
    )
    write_text(folder / "config.yaml", text)
    write_text(folder / "sessions.tsv", _sheet(rows))
    print(folder / "config.yaml")
    print(folder / "sessions.tsv")
    print(f"{len(rows)} sessions")
    print(f"Next: look at sessions.tsv, then: ephysflow validate {folder / 'config.yaml'}")
    return 0


Rows = Sequence[tuple[str, Sequence[str], str]]
"""Session, its probes with LFP, and what there is to say of it."""


def _local(data: Path, folder: Path) -> tuple[str, str, Rows]:
    """Return source, lines of the configuration, and the sessions of a folder."""
    from ephysflow.ecephys.sources import TablesFolder, folder_source
    from ephysflow.errors import ConfigurationError

    if not data.is_dir():
        raise ConfigurationError(f"{data}: is not a folder")
    source = folder_source(data)
    if source is None:
        raise ConfigurationError(
            f"{data}: holds no .nwb file, and neither a manifest nor units.csv or units.parquet"
        )
    place = f"    folder: {_yaml(os.path.relpath(data, folder))}\n"
    rows = [(session, list(source.lfp_nwbs(session)), "") for session in source.sessions()]
    return "tables" if isinstance(source, TablesFolder) else "nwb", place, rows


def _warehouse(host: str) -> tuple[str, Rows]:
    """Return lines of the configuration, and the sessions that a warehouse has."""
    from ephysflow.ecephys.rma import fetch_table
    from ephysflow.ecephys.transport import Transport

    scheme, _, name = host.rstrip("/").rpartition("://")
    transport: Transport = Transport(scheme=scheme or "http", host=name)
    sessions = fetch_table(transport, "sessions").to_pylist()
    with_lfp: dict[int, list[str]] = {}
    for probe in fetch_table(transport, "probes").to_pylist():
        if probe["has_lfp_data"]:
            with_lfp.setdefault(probe["ecephys_session_id"], []).append(str(probe["id"]))
    place = f"    warehouse: {{scheme: {transport.scheme}, host: {transport.host}}}\n"
    rows = [
        (
            str(row["id"]),
            with_lfp.get(row["id"], []),
            "" if row["has_nwb"] else "the warehouse has no session file",
        )
        for row in sessions
    ]
    return place, rows


def _yaml(text: str | Path) -> str:
    """Return a text as YAML reads it: quoted where it would be something else without."""
    import yaml

    plain = str(text)
    try:
        is_plain = yaml.safe_load(f"key: {plain}") == {"key": plain}
    except yaml.YAMLError:
        is_plain = False
    return plain if is_plain else json.dumps(plain, ensure_ascii=False)


def _sheet(rows: Rows) -> str:
    lines = [
        "# One row a session, columns separated by tabs: its id, and the probes whose LFP is wanted where products",
        "# name lfp or csd. Rows that begin with # are comments.",
        "session_id\tlfp_probes",
    ]
    for session, probes, note in rows:
        row = f"{session}\t{' '.join(probes)}"
        lines.append(f"# {row}\t({note})" if note else row)
    return "\n".join(lines) + "\n"
