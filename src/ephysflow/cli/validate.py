"""``ephysflow validate``: is a configuration right, and what would be done?"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ephysflow.campaign.analysis_config import Analysis
    from ephysflow.campaign.analysis_plan import AnalysisPlan
    from ephysflow.ecephys.project_plan import ProjectPlan
    from ephysflow.ecephys.settings import ProjectSettings
    from ephysflow.extracellular.circuit_plan import CircuitPlan
    from ephysflow.extracellular.settings import CircuitSettings

FIRST = 20
"""Missing files that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, help="configuration (YAML)")


def run(arguments: argparse.Namespace) -> int:
    """Print what the configuration asks for, and what looks wrong without being an error."""
    import os

    from ephysflow.codehash import CodeHasher
    from ephysflow.configuration import load
    from ephysflow.io.yaml_files import read_yaml
    from ephysflow.planning import make_plan

    configuration = load(read_yaml(arguments.config) or {}, [arguments.config])
    plan = make_plan(configuration, CodeHasher())
    print(f"{arguments.config}: fine")
    if "recordings" in configuration.content:
        recordings = sum(len(files) for files in plan.recording_files.values())
        print(f"cells: {len(plan.cells)}, recording files: {recordings}")
    for name, target_set in configuration.target_sets.items():
        print(
            f"target set {name or '(main)'}: {len(target_set.targets)} targets, "
            f"{len(target_set.auto_targets)} automatic sets, "
            f"protocols: {', '.join(plan.sets[name]) or 'none'}"
        )
    for campaign in configuration.campaigns:
        for analysis in campaign.analyses.analyses.values():
            left_out = json.loads(plan.settings("publish_repo", campaign.name, analysis.name))["left_out"]
            own_plan = plan.analyses[campaign.name, analysis.name]
            _print_analysis(analysis, own_plan, left_out, plots=plan.options["plots"])
    for circuit in configuration.circuits:
        _print_circuit(circuit, plan.circuits[circuit.name])
    for project in configuration.projects:
        _print_project(project, plan.projects[project.name])
    made = set(plan.example_recordings())
    missing = [
        file
        for files in plan.recording_files.values()
        for file in files
        if file not in made and not os.path.exists(file)
    ]
    for note in plan.notes:
        print(f"note: {note}")
    for file in missing[:FIRST]:
        print(f"note: recording file is not there: {file}")
    if len(missing) > FIRST:
        print(f"note: and {len(missing) - FIRST} more recording files are not there")
    return 0


def _print_analysis(
    analysis: "Analysis", plan: "AnalysisPlan", left_out: Sequence[Mapping[str, Any]], plots: bool
) -> None:
    """Print what one analysis of a campaign would do."""
    report = " ".join(filter(None, (analysis.extraction["report"][key] for key in ("type", "name"))))
    print(f"campaign {plan.campaign}, analysis {plan.analysis} (report: {report})")
    kinds = [row["reason"].partition(":")[0] for row in left_out]
    others = "".join(f", {kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"    simulations: {len(plan.simulations)} complete{others}; circuits: {len(plan.circuit_files)}")
    for row in left_out[:FIRST]:
        print(f"        {row['simulation_path'] or row['simulation_id']}: {row['reason']}")
    if len(left_out) > FIRST:
        print(f"        and {len(left_out) - FIRST} more")
    print(f"    neuron classes: {', '.join(analysis.extraction['neuron_classes']) or 'none'}")
    print(f"    windows: {', '.join(analysis.extraction['windows']) or 'none'}")
    for entry in analysis.features:
        count = len(entry.combinations)
        combinations = f": {count} combinations" if count > 1 else ""
        print(f"    features: {entry.function} by {', '.join(entry.groupby) or 'nothing'}{combinations}")
    computing = sum(len(computation.buckets) for computation in plan.computations.values())
    drawing = len(plan.plot_outputs()) if plots else 0
    print(
        f"    jobs: {len(plan.circuit_files)} to choose neurons, {len(plan.buckets)} of extraction, "
        f"{computing} of features ({len(plan.computations)} different computations), 2 to publish, {drawing} plots"
    )


def _print_circuit(circuit: "CircuitSettings", plan: "CircuitPlan") -> None:
    """Print what would be done for one circuit."""
    from ephysflow.extracellular.array_settings import resolve_electrodes

    source = circuit.simulation or circuit.circuit
    rule = f", compartments by rule {circuit.discretisation['rule']}" if circuit.discretisation else ""
    print(f"circuit {circuit.name} ({source}{rule})")
    print(f"    positions: {len(plan.chunks)} jobs; axons {'replaced' if circuit.replace_axons else 'kept'}")
    for weights in circuit.weights:
        electrodes = resolve_electrodes(weights.arrays, circuit.where)
        kinds = [electrode.type for electrode in electrodes]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        print(f"    weights {weights.name}: {len(electrodes)} electrodes ({counts}), {weights.ranks} ranks")


def _print_project(project: "ProjectSettings", plan: "ProjectPlan") -> None:
    """Print what would be done for one project."""
    print(f"project {project.name} (source {project.kind})")
    absent = [session for session in project.sessions if session not in plan.sessions]
    print(f"    sessions: {len(plan.sessions)}" + (f"; not there: {', '.join(absent)}" if absent else ""))
    print(f"    products: {', '.join(project.products)}")
    if plan.downloads:
        waiting = [file for file in plan.download_outputs() if not file.is_file()]
        print(f"    downloads: {len(waiting)} of {len(plan.downloads)} files are still to be had")
    print(
        f"    jobs: {len(plan.downloads)} downloads, {len(plan.sessions)} indices, {len(plan.product_outputs())} products"
    )
