"""From the configuration of a project to its jobs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ephysflow.codehash import CodeHasher
from ephysflow.ecephys.download_record import read_record, record_path
from ephysflow.ecephys.manifest import TABLES
from ephysflow.ecephys.products import PRODUCTS, files_of, product_of
from ephysflow.ecephys.project_plan import SESSION_PLOT_PRODUCTS, PlannedSession, ProjectPlan
from ephysflow.ecephys.settings import FIXED, NWB, WAREHOUSE, ProjectSettings
from ephysflow.ecephys.sources import Downloads, NwbFolder, source_record
from ephysflow.errors import ConfigurationError
from ephysflow.io.provenance import installed_versions

Items = dict[tuple[str, str], Any]
FIRST = 20
"""Downloaded files that a message lists."""


def plan_project(
    settings: ProjectSettings,
    needed: Mapping[str, Sequence[str]],
    results: Path,
    hasher: CodeHasher,
    job_key: Callable[[Sequence[str]], str],
    made_in: str | None,
) -> tuple[Items, ProjectPlan]:
    """Return the settings of all jobs of a project, and its plan.

    Parameters
    ----------
    settings : of the project
    needed : session -> products that campaigns of recorded sessions read, beside those of the configuration
    results : folder of all outputs
    hasher : for the code of each product
    job_key : how the key of a job is made of its parts
    made_in : folder whose files the embedded example makes; they count as being there

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed; for source fixed, every file that is missing.
    """
    files = _Files(settings.kind == WAREHOUSE, made_in)
    raw_tables = _raw_tables(settings, files)
    sessions = _sessions(settings, needed, files)
    types = _metrics_by_type(settings, files)
    templates = _templates(settings, files)
    if settings.kind == FIXED and files.missing:
        listed = "".join(f"\n    {file}" for file in files.missing)
        raise ConfigurationError(
            f"{settings.where}: source fixed never downloads, and {len(files.missing)} files are not there:{listed}\n"
            "with source: warehouse they would be downloaded"
        )
    used = _used_files(sessions, raw_tables, types, templates)
    names = _names_below(settings, used) if isinstance(settings.source, Downloads) else []
    plan = ProjectPlan(
        results=results,
        project=settings.name,
        sessions=sessions,
        raw_tables=raw_tables,
        downloads=names if files.fetched else [],
        downloaded=used if settings.kind == FIXED else [],
        metrics=types,
        made=tuple(dict.fromkeys(files.made)),
    )
    return _items(settings, plan, files.left_out, hasher, job_key), plan


@dataclass
class _Files:
    """Which files of a source are there, and what was found when they were looked for.

    Attributes
    ----------
    fetched : what is not there will be downloaded
    made_in : folder whose files the embedded example makes; they count as being there
    made : those of them that were asked for
    missing : files that are wanted and are not there
    left_out : rows of the table of exclusions
    """

    fetched: bool
    made_in: str | None
    made: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def is_there(self, file: Path) -> bool:
        """Whether a file is there, or will be; one that is not is remembered."""
        if self.made_in is not None and file.is_relative_to(self.made_in):
            self.made.append(str(file))
            return True
        if self.fetched or os.path.isfile(file):  # False too for what can be no path
            return True
        self.missing.append(file)
        return False

    def leave_out(self, session: str, file: Path, reason: str, kept: bool = False) -> None:
        """Remember what cannot be used, and why; `kept`: the rest of the session can."""
        self.left_out.append({"session": session, "file": str(file), "reason": reason, "kept": kept})


def _raw_tables(settings: ProjectSettings, files: _Files) -> dict[str, str]:
    """Return table -> its file; {} where tables are made of the session files."""
    tables = {name: settings.source.table(name) for name in TABLES}
    found = {name: path for name, path in tables.items() if path is not None}
    absent = [path for path in found.values() if not files.is_there(path)]
    if absent and settings.kind != FIXED:
        raise ConfigurationError(f"{settings.where}: {', '.join(map(str, absent))} is not there")
    return {name: str(path) for name, path in found.items()}


def _sessions(
    settings: ProjectSettings, needed: Mapping[str, Sequence[str]], files: _Files
) -> dict[str, PlannedSession]:
    """Return id -> session, of those whose file is there."""
    source = settings.source
    sessions = {}
    for session in settings.sessions:
        file = source.session_nwb(session)
        if not files.is_there(file):
            files.leave_out(session, file, f"{file} is not there")
            continue
        wanted = dict.fromkeys([*settings.products, *needed.get(session, ())])
        products: dict[str, str | None] = {}
        for product in wanted:
            products |= _product_files(settings, session, product, files)
        metrics = source.metrics(f"session_{session}")
        if metrics is not None and not (files.fetched or metrics.is_file()):
            metrics = None  # they are extra: of what was downloaded before, sessions may have none
        sessions[session] = PlannedSession(str(file), products, None if metrics is None else str(metrics))
    if isinstance(source, NwbFolder) and not sessions:
        why = f"{source.folder} holds no .nwb file" if not source.sessions() else "sessions lists none"
        if files.left_out:
            why = files.left_out[0]["reason"]
        raise ConfigurationError(f"{settings.where}: no session file is there: {why}")
    return sessions


def _product_files(
    settings: ProjectSettings, session: str, product: str, files: _Files
) -> dict[str, str | None]:
    """Return the name of each file of a product -> LFP file that it is made of, None for the session file."""
    if not PRODUCTS[product].is_of_a_probe:
        return {PRODUCTS[product].file: None}
    source = settings.source
    probes = settings.probes_with_lfp(session)
    if not probes and session not in settings.lfp_probes:
        reason = f"product {product}: no LFP file of the session is there (a sheet's lfp_probes names probes)"
        files.leave_out(session, source.session_nwb(session), reason, kept=True)
    found: dict[str, str | None] = {}
    for probe, name in zip(probes, files_of(product, probes), strict=True):
        lfp = source.probe_lfp(session, probe)
        if files.is_there(lfp):
            found[name] = str(lfp)
        elif settings.kind == NWB:
            found[name] = None  # the session file may hold it
        else:
            files.leave_out(session, lfp, f"{lfp} is not there")
    return found


def _metrics_by_type(settings: ProjectSettings, files: _Files) -> dict[str, str]:
    """Return session type -> raw file of its analysis metrics."""
    found = {}
    for session_type in settings.analysis_metrics:
        metrics = settings.source.metrics(session_type) or Path(f"{session_type}_analysis_metrics.csv")
        if files.is_there(metrics):
            found[session_type] = str(metrics)
        elif settings.kind != FIXED:
            raise ConfigurationError(f"{settings.where}: analysis_metrics: {metrics} is not there")
    return found


def _templates(settings: ProjectSettings, files: _Files) -> list[Path]:
    """Return the files of the stimulus templates."""
    found = [
        settings.source.template(kind, number)
        for kind, numbers in settings.templates.items()
        for number in numbers
    ]
    absent = [file for file in found if not files.is_there(file)]
    if absent and settings.kind != FIXED:
        raise ConfigurationError(f"{settings.where}: templates: {absent[0]} is not there")
    return found


def _used_files(
    sessions: Mapping[str, PlannedSession],
    raw_tables: Mapping[str, str],
    types: Mapping[str, str],
    templates: Sequence[Path],
) -> list[str]:
    """Return all files of the source that are read."""
    files = [*raw_tables.values(), *types.values(), *map(str, templates)]
    for planned in sessions.values():
        files += [planned.file, *filter(None, [planned.metrics, *planned.products.values()])]
    return list(dict.fromkeys(files))


def _names_below(settings: ProjectSettings, files: Sequence[str]) -> list[str]:
    """Return the names of files that are downloaded, below the folder of downloads; checks the digests given."""
    assert isinstance(settings.source, Downloads)
    folder = settings.source.folder
    names = [str(Path(file).relative_to(folder)) for file in files]
    # tables are answers to queries, and no files of the warehouse
    digestible = [name for name in names if not name.endswith(".parquet")]
    if unknown := [name for name in settings.sha256 if name not in digestible]:
        raise ConfigurationError(
            f"{settings.where}: warehouse.sha256: {unknown[0]!r} is no file that is downloaded (files: "
            f"{', '.join(digestible[:FIRST]) or 'none'})"
        )
    for name, wanted in settings.sha256.items():
        record = read_record(folder / name) if (folder / name).is_file() else None
        if record is not None and record.sha256 != wanted:
            raise ConfigurationError(
                f"{settings.where}: warehouse.sha256: {folder / name} was downloaded with SHA-256 {record.sha256}, not "
                f"{wanted}; delete it, and {record_path(folder / name).name} beside it, to download it again"
            )
    return names


def _items(
    settings: ProjectSettings,
    plan: ProjectPlan,
    left_out: Sequence[Mapping[str, Any]],
    hasher: CodeHasher,
    job_key: Callable[[Sequence[str]], str],
) -> Items:
    project = settings.name
    items: Items = {}
    for name in plan.downloads:
        # not the host: what is there is not downloaded again because it could be had elsewhere
        items["fetch_file", job_key((project, name))] = {"project": project, "file": name}
    code = {name: hasher.library([product.module]) for name, product in PRODUCTS.items()}
    versions = installed_versions(("numpy", "h5py"))
    filters = asdict(settings.unit_filters)
    for session, planned in plan.sessions.items():
        items["index_session", job_key((project, session))] = {
            "project": project,
            "session": session,
            "file": planned.file,
            "downloaded": settings.kind in (WAREHOUSE, FIXED),
        }
        for file_name, lfp_file in planned.products.items():
            product, probe = product_of(file_name)
            arguments = PRODUCTS[product].arguments
            with_channels = "channels" in arguments and bool(plan.raw_tables)
            items["extract_session", job_key((project, session, file_name))] = {
                "project": project,
                "session": session,
                "file": planned.file,
                "product": product,
                "probe": probe,
                "lfp_file": lfp_file,
                "filters": filters if "filters" in arguments else None,
                "channels_table": plan.raw_tables["channels"] if with_channels else None,
                "metrics_table": planned.metrics if "metrics" in arguments else None,
                "options": settings.product_options.get(product, {}),
                "code": code[product],
                "versions": versions,
            }
    items["make_project_tables", project] = {
        "project": project,
        "source": source_record(settings.source),
        "tables": dict(plan.raw_tables),
        "sessions": [] if plan.raw_tables else list(plan.sessions),
        "filters": filters,
        "suppress": {name: list(columns) for name, columns in settings.suppress.items()},
    }
    items["collect_exclusions", project] = {
        "project": project,
        "sessions": {session: list(planned.products) for session, planned in plan.sessions.items()},
        "left_out": list(left_out),
        "metrics": list(plan.metrics.values()),
        "units_table": plan.raw_tables["units"] if plan.metrics else None,
    }
    for session_type, file in plan.metrics.items():
        items["join_analysis_metrics", job_key((project, session_type))] = {
            "project": project,
            "session_type": session_type,
            "file": file,
        }
    items["plot_units", project] = {"project": project, "filters": filters}
    for session, planned in plan.sessions.items():
        if {f"{name}.parquet" for name in SESSION_PLOT_PRODUCTS} <= planned.products.keys():
            items["plot_session", job_key((project, session))] = {
                "project": project,
                "session": session,
                "stimulus": settings.raster_stimulus,
            }
    return items
