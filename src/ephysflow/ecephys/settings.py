"""What a configuration says of one project."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ephysflow import paths
from ephysflow.ecephys.products import DEFAULT_PRODUCTS, PRODUCTS, REQUIRED
from ephysflow.ecephys.sources import SESSION_NAME, Downloads, NwbFolder, Source, TablesFolder, find_manifest
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError

WAREHOUSE, LOCAL_TABLES, NWB, FIXED = "warehouse", "tables", "nwb", "fixed"
REFUSED_SOURCES = {
    "lims": "LIMS can be reached inside the Allen Institute only; use warehouse",
    "s3": "not read directly: copy the bucket's folder (e.g. `aws s3 sync --no-sign-request`) and use tables or nwb",
    "dandi": "not read directly: download the dandiset (`dandi download DANDI:000021`) and use nwb",
}
SHEET_COLUMNS = ("session_id", "file", "lfp_probes")
MAX_LINE = 100_000
"""Characters of a line of a sheet."""
MAX_SHEET_SIZE = 10_000_000
"""Bytes; a session file of some GB that is named by mistake must not be read."""


@dataclass(frozen=True)
class ProjectSettings:
    """One project of the stage ecephys.

    Attributes
    ----------
    name : of its folder in the results
    kind : warehouse, tables, nwb or fixed
    source : where its files are
    sessions : ids (or names) of the sessions that are wanted, in order
    lfp_probes : session -> probes whose LFP is wanted, where the configuration says so
    unit_filters, suppress : of the tables
    analysis_metrics : session types whose metrics are wanted
    templates : kind (natural_movie, natural_scene) -> numbers
    products : of every session
    product_options : product -> its options
    raster_stimulus : drawn in the plots; None for the one with the most presentations
    transport : how the warehouse is asked; {} for other sources
    sha256 : name of a downloaded file -> its digest, where the user gives one
    where : file and key, for messages
    """

    name: str
    kind: str
    source: Source
    sessions: Sequence[str]
    lfp_probes: Mapping[str, Sequence[str]]
    unit_filters: UnitFilters
    suppress: Mapping[str, Sequence[str]]
    analysis_metrics: Sequence[str]
    templates: Mapping[str, Sequence[int]]
    products: Sequence[str]
    product_options: Mapping[str, Mapping[str, Any]]
    raster_stimulus: str | None
    transport: Mapping[str, Any]
    sha256: Mapping[str, str]
    where: str

    def probes_with_lfp(self, session: str) -> list[str]:
        """Return the probes of a session whose LFP is to be read."""
        return list(self.lfp_probes.get(session, self.source.lfp_nwbs(session)))


def project_settings(
    name: str,
    content: Mapping[str, Any],
    folder: Path,
    where: str,
    results: Path,
    example_files: Sequence[str],
) -> ProjectSettings:
    """Read the section of one project.

    Parameters
    ----------
    name : of the project
    content : its keys, completed
    folder : to which paths in the section are relative
    where : the file and key of the section, for messages
    results : folder of all outputs
    example_files : session files that the embedded example makes; they count as being there

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    kind = content["source"]
    if kind in REFUSED_SOURCES:
        raise ConfigurationError(f"{where}: source {kind}: {REFUSED_SOURCES[kind]}")
    allowed = (WAREHOUSE, LOCAL_TABLES, NWB, FIXED)
    if kind not in allowed:
        raise ConfigurationError(f"{where}: source: {kind!r} is unknown (allowed: {', '.join(allowed)})")
    if kind not in (WAREHOUSE, FIXED) and content["warehouse"]["sha256"]:
        raise ConfigurationError(f"{where}: warehouse.sha256: is of downloads; source {kind} has none")
    if kind == WAREHOUSE and content.get("sessions") == "all":
        raise ConfigurationError(
            f"{where}: sessions: all: a session file has some GB; list ids, or name a sheet (`ephysflow init ecephys "
            "FOLDER --warehouse` writes one with all of them)"
        )
    rows = _session_rows(content.get("sessions"), folder, where)
    source = _source(name, kind, content, folder, where, results, rows, example_files)
    if kind in (WAREHOUSE, FIXED, LOCAL_TABLES):
        for session in rows or ():
            if not re.fullmatch(r"[0-9]{1,18}", session):
                raise ConfigurationError(
                    f"{where}: sessions: {session!r} is not an integer, as ids of this source are"
                )
    there = [] if kind == WAREHOUSE else source.sessions()
    metrics = content["analysis_metrics"]
    for session_type in metrics:
        if not SESSION_NAME.fullmatch(session_type) or re.fullmatch(r"session_\d+", session_type):
            raise ConfigurationError(
                f"{where}: analysis_metrics: {session_type!r} cannot be the name of a session type"
            )
    if kind == NWB and metrics:
        raise ConfigurationError(
            f"{where}: analysis_metrics: session files hold none; source nwb has no others"
        )
    lfp_probes = {session: row["lfp_probes"] for session, row in (rows or {}).items() if "lfp_probes" in row}
    products = content.get("products", DEFAULT_PRODUCTS)
    settings = ProjectSettings(
        name=name,
        kind=kind,
        source=source,
        sessions=there if rows is None else list(rows),
        lfp_probes=lfp_probes,
        unit_filters=UnitFilters.from_mapping(content["unit_filters"], f"{where}: unit_filters"),
        suppress=content["suppress"],
        analysis_metrics=metrics,
        templates={f"natural_{key}": content["templates"][f"natural_{key}s"] for key in ("movie", "scene")},
        products=products,
        product_options=_product_options(products, content["product_options"], where),
        raster_stimulus=content.get("raster_stimulus"),
        transport=_transport(content["warehouse"], where) if kind == WAREHOUSE else {},
        sha256=content["warehouse"]["sha256"],
        where=where,
    )
    wants_lfp = any(PRODUCTS[name].is_of_a_probe for name in settings.products)
    without = [session for session in rows or () if session not in lfp_probes]
    if kind == WAREHOUSE and wants_lfp and without:
        raise ConfigurationError(
            f"{where}: products: lfp: the probes of session {without[0]} are not known before its download; list them "
            "in the column lfp_probes of a sheet (`ephysflow init ecephys` writes it)"
        )
    return settings


def _source(
    name: str,
    kind: str,
    content: Mapping[str, Any],
    folder: Path,
    where: str,
    results: Path,
    rows: Mapping[str, Mapping[str, Any]] | None,
    example_files: Sequence[str],
) -> Source:
    if kind != NWB and any("file" in row for row in (rows or {}).values()):
        raise ConfigurationError(
            f"{where}: sessions: only source nwb has a column file in its sheet, this is {kind}"
        )
    given = content.get("folder")
    place = None if given is None else _usable(folder, given)
    if "manifest" in content and kind != LOCAL_TABLES:
        raise ConfigurationError(f"{where}: manifest: only source tables has one, this is {kind}")
    if kind == WAREHOUSE:
        if place is not None:
            raise ConfigurationError(
                f"{where}: folder: downloads are kept in {paths.downloads(results, '<project>')} (which may be a link)"
            )
        return Downloads(paths.downloads(results, name))
    if kind == FIXED:
        return Downloads(place or paths.downloads(results, name))
    if kind == LOCAL_TABLES:
        manifest = _usable(folder, content["manifest"]) if "manifest" in content else None
        if place is None and manifest is None:
            raise ConfigurationError(f"{where}: source tables needs folder or manifest")
        if manifest is not None and place not in (None, manifest.parent):
            raise ConfigurationError(
                f"{where}: folder: {place} is not the folder of the manifest, {manifest.parent}"
            )
        if place is None:
            assert manifest is not None
            place = manifest.parent
        if manifest is None:
            try:
                manifest = find_manifest(place)
            except ConfigurationError as error:
                raise ConfigurationError(f"{where}: {error}") from None
        return TablesFolder(place, manifest)
    will_be = place is not None and any(Path(file).is_relative_to(place) for file in example_files)
    if place is not None and not os.path.isdir(place) and not will_be:
        state = "is not a folder" if os.path.exists(place) else "is not there"
        raise ConfigurationError(f"{where}: folder: {place} {state}")
    files = {session: Path(row["file"]) for session, row in (rows or {}).items() if "file" in row}
    if place is None and not files:
        raise ConfigurationError(
            f"{where}: source nwb needs folder, or sessions: a sheet with the column file"
        )
    if files and (without := [session for session in rows or () if session not in files]):
        raise ConfigurationError(
            f"{where}: sessions: session {without[0]} has no file in the sheet, as others have"
        )
    return NwbFolder(place, files or None, example_files)


def _session_rows(given: Any, folder: Path, where: str) -> dict[str, dict[str, Any]] | None:
    """Return session -> what else is said of it; None for all that are there."""
    if given is None or given == "all":
        return None
    if isinstance(given, str):
        return _read_sheet(_usable(folder, given), where)
    sessions = [str(session) for session in given]
    if twice := [session for session in dict.fromkeys(sessions) if sessions.count(session) > 1]:
        raise ConfigurationError(f"{where}: sessions: {twice[0]} stands twice")
    for session in sessions:
        _check_name(session, f"{where}: sessions")
    return {session: {} for session in sessions}


def _read_sheet(path: Path, where: str) -> dict[str, dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_SHEET_SIZE:
            raise ConfigurationError(
                f"{where}: sessions: {path}: is larger than {MAX_SHEET_SIZE} bytes, which no sheet of sessions is"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{where}: sessions: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{where}: sessions: {path}: cannot be read: is no text in UTF-8 ({error.reason})"
        ) from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    # the limit of csv is one for the whole process, and other libraries raise it
    if longest := [line for line in lines if len(line) > MAX_LINE]:
        raise ConfigurationError(
            f"{path}: is no sheet of sessions: a line has {len(longest[0])} characters, more than {MAX_LINE}"
        )
    reader = csv.DictReader(lines, delimiter="," if path.suffix == ".csv" else "\t")
    try:
        names, read = list(reader.fieldnames or []), list(reader)
    except csv.Error as error:
        raise ConfigurationError(f"{path}: is no sheet of sessions: {error}") from None
    if "session_id" not in names or set(names) - set(SHEET_COLUMNS) or len(set(names)) < len(names):
        raise ConfigurationError(
            f"{path}: columns are {', '.join(map(str, names))[:200] or 'missing'}; session_id is needed, and allowed are "
            f"{', '.join(SHEET_COLUMNS)}, each once"
        )
    rows: dict[str, dict[str, Any]] = {}
    for line in read:
        if None in line or None in line.values():
            raise ConfigurationError(
                f"{path}: the row of session {line['session_id']!r} has not {len(names)} fields"
            )
        session = line["session_id"].strip()
        _check_name(session, f"{path}: session_id")
        if session in rows:
            raise ConfigurationError(f"{path}: session {session} stands twice")
        row: dict[str, Any] = {}
        if file := line.get("file", "").strip():
            row["file"] = str(_usable(path.parent, file))
        if "lfp_probes" in line:
            row["lfp_probes"] = re.findall(r"[^\s,;]+", line["lfp_probes"])
            for probe in row["lfp_probes"]:
                if not re.fullmatch(r"[0-9]{1,18}", probe):
                    raise ConfigurationError(
                        f"{path}: session {session}: lfp_probes: {probe!r} is not an integer"
                    )
        rows[session] = row
    return rows


def _check_name(session: str, where: str) -> None:
    if not SESSION_NAME.fullmatch(session):
        raise ConfigurationError(
            f"{where}: {session!r} is not the id of a session (an integer, or up to 128 letters, digits, _ . + -, the "
            "first a letter or digit)"
        )


def _transport(warehouse: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return how a warehouse is reached, checked."""
    from ephysflow.ecephys.transport import Transport  # local sources need no HTTP

    transport = {key: value for key, value in warehouse.items() if key != "sha256"}
    try:
        Transport(**{**transport, "allowed_hosts": tuple(transport["allowed_hosts"])})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: warehouse.{error}") from None
    return transport


def _product_options(
    products: Sequence[str], all_given: Mapping[str, Mapping[str, Any]], where: str
) -> dict[str, dict[str, Any]]:
    """Return product -> all its options, checked."""
    options: dict[str, dict[str, Any]] = {}
    for name in products:
        if name not in PRODUCTS:
            raise ConfigurationError(f"{where}: products: {name!r} is unknown (known: {', '.join(PRODUCTS)})")
        given = all_given.get(name, {})
        known = PRODUCTS[name].options
        place = f"{where}: product_options.{name}"
        if unknown := [key for key in given if key not in known]:
            raise ConfigurationError(
                f"{place}: {unknown[0]!r} is no option (known: {', '.join(known) or 'none'})"
            )
        options[name] = {**known, **given}
        if missing := [key for key, value in options[name].items() if value is REQUIRED]:
            raise ConfigurationError(f"{place}: needs {', '.join(missing)}")
        for key in ("bin_edges", "interval"):
            edges = options[name].get(key)
            if edges is not None and any(b <= a for a, b in pairwise(edges)):
                raise ConfigurationError(f"{place}.{key}: {edges} do not increase")
    if unused := [name for name in all_given if name not in options]:
        raise ConfigurationError(f"{where}: product_options: {unused[0]!r} is not among products")
    return options


def _usable(folder: Path, text: str) -> Path:
    """Return a path relative to the working directory where it is below it: a project that moves must not rerun."""
    path = Path(os.path.normpath(folder / text))
    inside = path.is_absolute() and path.is_relative_to(os.getcwd())
    return Path(os.path.relpath(path)) if inside else path
