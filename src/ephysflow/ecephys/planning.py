"""From the configuration of a project to its jobs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
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
    source = settings.source
    fetches = settings.kind == WAREHOUSE
    made: list[str] = []

    def is_there(file: Path) -> bool:
        if made_in is not None and file.is_relative_to(made_in):
            made.append(str(file))
            return True
        return fetches or os.path.isfile(file)  # False too for what can be no path

    raw_tables = {}
    missing = []
    for name in TABLES:
        table = source.table(name)
        if table is None:
            continue
        raw_tables[name] = str(table)
        if not is_there(table):
            missing.append(table)
    if missing and settings.kind != FIXED:
        names = ", ".join(map(str, missing))
        raise ConfigurationError(f"{settings.where}: {names} is not there")
    sessions, left_out = {}, []
    for session in settings.sessions:
        file = source.session_nwb(session)
        if not is_there(file):
            missing.append(file)
            reason = f"{file} is not there"
            left_out.append({"session": session, "file": str(file), "reason": reason, "kept": False})
            continue
        products: dict[str, str | None] = {}
        for product in dict.fromkeys([*settings.products, *needed.get(session, ())]):
            of_probe = PRODUCTS[product].is_of_a_probe
            probes = settings.probes_with_lfp(session) if of_probe else []
            if not of_probe:
                products[PRODUCTS[product].file] = None
            elif not probes and session not in settings.lfp_probes:
                reason = f"product {product}: no LFP file of the session is there (a sheet's lfp_probes names probes)"
                left_out.append({"session": session, "file": str(file), "reason": reason, "kept": True})
            for probe, name in zip(probes, files_of(product, probes) if of_probe else [], strict=True):
                lfp = source.probe_lfp(session, probe)
                there = is_there(lfp)
                if settings.kind == NWB and not there:
                    products[name] = None  # the session file may hold it
                elif there:
                    products[name] = str(lfp)
                else:
                    missing.append(lfp)
                    reason = f"{lfp} is not there"
                    left_out.append({"session": session, "file": str(lfp), "reason": reason, "kept": False})
        metrics = source.metrics(f"session_{session}")
        if metrics is not None and not is_there(metrics):
            metrics = None  # of what was downloaded before, sessions may have none
        sessions[session] = PlannedSession(str(file), products, None if metrics is None else str(metrics))
    if isinstance(source, NwbFolder) and not sessions:
        why = f"{source.folder} holds no .nwb file" if not source.sessions() else "sessions lists none"
        if left_out:
            why = str(left_out[0]["reason"])
        raise ConfigurationError(f"{settings.where}: no session file is there: {why}")
    types = {}
    for session_type in settings.analysis_metrics:
        metrics = source.metrics(session_type)
        if metrics is None or not is_there(metrics):
            wanted = metrics or f"{session_type}_analysis_metrics.csv"
            if settings.kind != FIXED:
                raise ConfigurationError(f"{settings.where}: analysis_metrics: {wanted} is not there")
            missing.append(Path(wanted))
            continue
        types[session_type] = str(metrics)
    templates = [
        source.template(kind, number) for kind, numbers in settings.templates.items() for number in numbers
    ]
    absent = [file for file in templates if not is_there(file)]
    if absent and settings.kind != FIXED:
        raise ConfigurationError(f"{settings.where}: templates: {absent[0]} is not there")
    missing += absent
    if missing and settings.kind == FIXED:
        listed = "".join(f"\n    {file}" for file in missing)
        raise ConfigurationError(
            f"{settings.where}: source fixed never downloads, and {len(missing)} files are not there:{listed}\n"
            "with source: warehouse they would be downloaded"
        )
    used = _used_files(sessions, raw_tables, types, templates)
    plan = ProjectPlan(
        results=results,
        project=settings.name,
        sessions=sessions,
        raw_tables=raw_tables,
        downloads=_names_below(settings, used) if fetches else [],
        downloaded=used if settings.kind == FIXED else [],
        metrics=types,
        made=tuple(dict.fromkeys(made)),
    )
    return _items(settings, plan, left_out, hasher, job_key), plan


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
