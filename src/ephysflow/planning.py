"""From a checked configuration to its plan."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ephysflow.campaign.analysis_plan import AnalysisPlan
from ephysflow.campaign.comparison_planning import plan_comparisons
from ephysflow.campaign.planning import plan_campaign
from ephysflow.campaign.recorded_planning import needed_products
from ephysflow.codehash import CodeHasher
from ephysflow.configuration import Configuration, TargetSet, load
from ephysflow.ecephys.planning import plan_project
from ephysflow.ecephys.project_plan import ProjectPlan
from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.circuit_plan import CircuitPlan
from ephysflow.extracellular.planning import plan_circuit
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.provenance import installed_versions
from ephysflow.plan import Plan, job_key
from ephysflow.recordings.entries import entry_files
from ephysflow.steps import STEPS
from ephysflow.user_modules import check_user_object

RESERVED_CELLS = ("exclusions",)
RESERVED_SETS = ("extraction", "per_cell", "rheobase")


def plan_workflow(config: Mapping[str, Any], files: Sequence[str | Path] = ()) -> tuple[Plan, Path]:
    """Check a configuration, plan it and write the plan file.

    Parameters
    ----------
    config : the merged configuration
    files : the files that it was merged from

    Returns
    -------
    The plan and the path of the plan file.

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    configuration = load(config, [Path(file) for file in files])
    hasher = CodeHasher(Path(".snakemake") / "ephysflow" / "code.json")
    plan = make_plan(configuration, hasher)
    hasher.save()
    return plan, plan.write()


def make_plan(configuration: Configuration, hasher: CodeHasher) -> Plan:
    """Return the plan of a checked configuration.

    Raises
    ------
    ConfigurationError
        if names clash or a user's module cannot be found.
    """
    content = configuration.content
    entries_of: dict[str, list[Mapping[str, Any]]] = {}
    for entry in configuration.entries:
        entries_of.setdefault(entry["cell"], []).append(entry)
    _refuse_reserved("cell", entries_of, RESERVED_CELLS)
    _refuse_reserved("target set", configuration.target_sets, RESERVED_SETS)
    cells = {cell: _protocols(entries) for cell, entries in entries_of.items()}
    items: dict[tuple[str, str], Any] = {}
    if "example_data" in content and "recordings" in content:
        items["example_recordings", ""] = {"folder": content["example_data"]}
    for cell, entries in entries_of.items():
        items["ingest_recordings", cell] = _ingestion_item(cell, entries, cells[cell], configuration, hasher)
        items["plot_recordings", cell] = {
            "cell": cell,
            "rheobase": None,
            "user_folder": str(configuration.folder),
        }
    sets: dict[str, dict[str, list[str]]] = {}
    buckets: dict[str, list[str]] = {}
    notes = list(configuration.notes)
    efeatures = content.get("efeatures")
    if efeatures:
        for cell in cells:
            buckets.setdefault(_bucket(cell, efeatures["buckets"]), []).append(cell)
        for bucket, members in buckets.items():
            rheobase = {
                "cells": members,
                **efeatures["rheobase"],
                "efel_settings": efeatures["efel_settings"],
            }
            items["find_rheobase", bucket] = rheobase
            for cell in members:
                items["plot_recordings", cell]["rheobase"] = bucket
        bucket_of = {cell: bucket for bucket, members in buckets.items() for cell in members}
        items["collect_rheobase", ""] = {"buckets": list(buckets)}
        for name, target_set in configuration.target_sets.items():
            members = _members(name, target_set, cells)
            sets[name], missing = _distribute(target_set, members, cells, buckets)
            notes += [f"targets name protocol {protocol!r}, which no cell has" for protocol in missing]
            for protocol, used in sets[name].items():
                for bucket in used:
                    here = [cell for cell in buckets[bucket] if cell in members and protocol in cells[cell]]
                    item = _extraction_item(here, protocol, target_set, efeatures)
                    items["extract_efeatures", job_key((name, protocol, bucket))] = item
            grouping = _grouping_item(members, target_set, sets[name], efeatures, str(configuration.folder))
            items["group_efeatures", name] = grouping
            for cell in members if efeatures["per_cell"] else ():
                own = [protocol for protocol in sets[name] if protocol in cells[cell]]
                alone = {"cells": [cell], "extractions": {p: [bucket_of[cell]] for p in own}}
                items["group_efeatures_of_cell", job_key((name, cell))] = {**grouping, **alone}
            items["plot_efeatures", name] = {"absolute_amplitude": efeatures["absolute_amplitude"]}
        items["plot_overview", ""] = {"cells": list(cells), "buckets": list(buckets), "sets": list(sets)}
    results, made_in = Path(content["results"]), content.get("example_data")
    project_items, projects = _plan_projects(configuration, results, hasher)
    items |= project_items
    if any(plan.made for plan in projects.values()):
        items["example_ecephys", ""] = {"folder": made_in}
    analyses: dict[tuple[str, str], AnalysisPlan] = {}
    of_projects = {project.name: project for project in configuration.projects}
    available = {name: plan.sessions for name, plan in projects.items()}
    for campaign in configuration.campaigns:
        campaign_items, plans, own_notes = plan_campaign(
            campaign, results, hasher, job_key, made_in, of_projects, available
        )
        items |= campaign_items
        analyses |= {(plan.campaign, plan.analysis): plan for plan in plans}
        notes += own_notes
    comparison_items, comparisons = plan_comparisons(
        content.get("comparison", {}), configuration.campaigns, analyses, results
    )
    items |= comparison_items
    if any(plan.made for plan in analyses.values()):
        items["example_campaign", ""] = {"folder": made_in}
    circuits: dict[str, CircuitPlan] = {}
    for circuit in configuration.circuits:
        circuit_items, circuits[circuit.name] = plan_circuit(circuit, results, job_key, made_in)
        items |= circuit_items
    if any(plan.made for plan in circuits.values()):
        items["example_extracellular", ""] = {"folder": made_in}
    items["summarise", ""] = {"cells": list(cells), "sets": list(sets), "notes": notes}
    return Plan(
        results=results,
        items={key: canonical_json(item) for key, item in items.items()},
        code={
            name: canonical_json(
                {"code": hasher.library(step.modules), "versions": installed_versions(step.packages)}
            )
            for name, step in STEPS.items()
        },
        cells=cells,
        recording_files={cell: _recording_files(entries) for cell, entries in entries_of.items()},
        buckets=buckets,
        sets=sets,
        analyses=analyses,
        comparisons=comparisons,
        circuits=circuits,
        projects=projects,
        aside={
            "fetch_file": {
                project.name: {"transport": project.transport, "sha256": dict(project.sha256)}
                for project in configuration.projects
                if projects[project.name].downloads
            }
        },
        options={
            "plots": content["plots"],
            "per_cell": bool(efeatures and efeatures["per_cell"]),
            "example_data": content.get("example_data"),
            "campaigns": {c.name: c.in_memory for c in configuration.campaigns},
        },
        notes=tuple(dict.fromkeys(notes)),
        origin=configuration.origin,
    )


def _plan_projects(
    configuration: Configuration, results: Path, hasher: CodeHasher
) -> tuple[dict[tuple[str, str], Any], dict[str, ProjectPlan]]:
    """Return the settings of all jobs of the stage ecephys, and the plan of each project.

    Products that campaigns of recorded sessions read are made too.
    """
    of_projects = {project.name: project for project in configuration.projects}
    needed: dict[str, dict[str, list[str]]] = {}
    for campaign in configuration.campaigns:
        for project, sessions in needed_products(campaign, of_projects).items():
            for session, products in sessions.items():
                needed.setdefault(project, {}).setdefault(session, []).extend(products)
    items: dict[tuple[str, str], Any] = {}
    plans = {}
    made_in = configuration.content.get("example_data")
    for name, settings in of_projects.items():
        own_items, plans[name] = plan_project(
            settings, needed.get(name, {}), results, hasher, job_key, made_in
        )
        items |= own_items
    return items, plans


def _refuse_reserved(kind: str, names: Mapping[str, Any], reserved: Sequence[str]) -> None:
    for name in names:
        if name in reserved:
            raise ConfigurationError(
                f"a {kind} cannot be named {name!r}: results have a file of that name (also taken: {', '.join(reserved)})"
            )


def _protocols(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(protocol for entry in entries for protocol in entry["protocols"]))


def _recording_files(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({file for entry in entries for file in entry_files(entry)})


def _bucket(cell: str, count: int | None) -> str:
    """Return the bucket of a cell: its own, or by a hash that other cells do not change."""
    if count is None:
        return cell
    return f"bucket-{int(digest(cell), 16) % count:0{len(str(count - 1))}d}"


def _members(name: str, target_set: TargetSet, cells: Mapping[str, Any]) -> list[str]:
    if unknown := sorted(set(target_set.cells or ()) - set(cells)):
        raise ConfigurationError(
            f"efeatures.sets.{name}.cells: no such cell: {', '.join(unknown)} (cells: {', '.join(cells)})"
        )
    return [cell for cell in cells if target_set.cells is None or cell in target_set.cells]


def _distribute(
    target_set: TargetSet,
    members: Sequence[str],
    cells: Mapping[str, Sequence[str]],
    buckets: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[str]], list[str]]:
    """Return protocol -> buckets that have it, and the protocols of explicit targets that no cell has."""
    having = {
        protocol: {cell for cell in members if protocol in cells[cell]} for protocol in target_set.protocols
    }
    explicit = {target.protocol for target in target_set.targets}
    return (
        {
            protocol: [bucket for bucket, inside in buckets.items() if here.intersection(inside)]
            for protocol, here in having.items()
            if here
        },
        [protocol for protocol, here in having.items() if not here and protocol in explicit],
    )


def _ingestion_item(
    cell: str,
    entries: Sequence[Mapping[str, Any]],
    protocols: Sequence[str],
    configuration: Configuration,
    hasher: CodeHasher,
) -> dict[str, Any]:
    from ephysflow.recordings.stimuli.names import stimulus_name

    settings = configuration.content["recordings"]
    stimuli = {protocol: stimulus_name(protocol, settings["stimuli"]) for protocol in protocols}
    own = {path for path in stimuli.values() if "." in path}
    own |= {entry["reader"] for entry in entries if "." in (entry.get("reader") or "")}
    return {
        "cell": cell,
        "entries": list(entries),
        "stimuli": stimuli,
        "quality": settings["quality"],
        "user_folder": str(configuration.folder) if own else None,
        "user_code": _user_code(own, configuration, hasher),
    }


def _user_code(own: set[str], configuration: Configuration, hasher: CodeHasher) -> dict[str, str]:
    code = {path: hasher.user_module(path.rpartition(".")[0], configuration.folder) for path in sorted(own)}
    for path in own:
        check_user_object(path, configuration.folder)
    return code


def _extraction_item(
    cells: Sequence[str], protocol: str, target_set: TargetSet, efeatures: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "cells": list(cells),
        "protocol": protocol,
        "targets": [asdict(target) for target in target_set.targets if target.protocol == protocol],
        "candidates": target_set.candidates(protocol),
        "efel_settings": efeatures["efel_settings"],
        "absolute_amplitude": efeatures["absolute_amplitude"],
        "all_sweeps": efeatures["all_sweeps"],
    }


def _grouping_item(
    cells: Sequence[str],
    target_set: TargetSet,
    protocols: Mapping[str, Sequence[str]],
    efeatures: Mapping[str, Any],
    user_folder: str,
) -> dict[str, Any]:
    options = (
        "absolute_amplitude",
        "protocol_mode",
        "pooling",
        "threshold_nvalue_save",
        "default_std_value",
        "global_rheobase",
        "efel_settings",
    )
    return {
        "cells": list(cells),
        "targets": [asdict(target) for target in target_set.targets],
        "auto_targets": [asdict(auto) for auto in target_set.auto_targets],
        "extractions": {protocol: list(buckets) for protocol, buckets in protocols.items()},
        "user_folder": user_folder,  # of the user's stimulus classes
        **{option: efeatures[option] for option in options},
    }
