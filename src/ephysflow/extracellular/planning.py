"""From the configuration of a circuit to its jobs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.extracellular.array_settings import check_population_names, resolve_electrodes
from ephysflow.extracellular.circuit_plan import CircuitPlan, PlannedWeights
from ephysflow.extracellular.objective_csd import csd_regions
from ephysflow.extracellular.settings import CircuitSettings, WeightsSettings
from ephysflow.extracellular.sites import site_groups
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.sonata.simulation_config import (
    CircuitFiles,
    first_compartment_report,
    read_circuit,
    read_simulation,
)

Items = dict[tuple[str, str], Any]


def plan_circuit(
    settings: CircuitSettings, results: Path, job_key: Callable[[Sequence[str]], str], made_in: str | None
) -> tuple[Items, CircuitPlan]:
    """Return the settings of all jobs of a circuit, and its plan.

    Parameters
    ----------
    settings : of the circuit
    results : folder of all outputs
    job_key : how the key of a job is made of its parts
    made_in : folder whose files the embedded example makes; they count as being there

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    made: list[str] = []

    def required(file: Path) -> str:
        """Return the file; it is an error if it neither is there nor will be."""
        if made_in is not None and file.is_relative_to(made_in):
            made.append(str(file))
        elif not file.is_file():
            raise ConfigurationError(f"{settings.where}: {file} is not there")
        return str(file)

    try:
        circuit, node_sets, report = _read(settings)
    except SimulationError as error:
        raise ConfigurationError(f"{settings.where}: {error}") from None
    _check_populations(settings, circuit)
    files = [required(circuit.config)]
    for nodes in circuit.nodes:
        files += [required(nodes.file), *([required(nodes.types_file)] if nodes.types_file else [])]
    if settings.node_set is not None:
        files += [required(file) for file in node_sets]
    if report is not None:
        files.append(required(report))
    positions = {
        "circuit": settings.name,
        "circuit_config": str(circuit.config),
        "node_sets_files": [str(file) for file in node_sets] if settings.node_set is not None else [],
        "report_file": None if report is None else str(report),
        "populations": settings.populations,
        "node_set": settings.node_set,
        "chunks": settings.chunks,
        "replace_axons": settings.replace_axons,
        "stub_axon": list(settings.stub_axon) if settings.replace_axons else None,
        "discretisation": settings.discretisation,
        "missing_morphologies": settings.missing_morphologies,
        "morphologies": _morphologies_digest(settings, circuit, made_in),
    }
    chunks = [str(i) for i in range(settings.chunks)]
    items: Items = {
        ("segment_positions", job_key((settings.name, chunk))): {**positions, "chunk": int(chunk)}
        for chunk in chunks
    }
    weights = {}
    populations = settings.populations or sorted(circuit.morphologies)
    for planned in settings.weights:
        item, fields = _weights_item(settings, planned, populations, required)
        key = job_key((settings.name, planned.name))
        items["electrode_weights", key] = item
        items["plot_weights", key] = {"circuit": settings.name, "weights": planned.name, "chunks": chunks}
        weights[planned.name] = PlannedWeights(fields, planned.ranks, planned.buffer_mb, _megabytes(fields))
    plan = CircuitPlan(
        results=results,
        circuit=settings.name,
        chunks=chunks,
        files=list(dict.fromkeys(files)),
        weights=weights,
        made=tuple(dict.fromkeys(made)),
    )
    return items, plan


def _read(settings: CircuitSettings) -> tuple[CircuitFiles, list[Path], Path | None]:
    """Return the circuit, its node sets files, and the report that gives the compartments."""
    if settings.simulation is None:
        assert settings.circuit is not None
        circuit = read_circuit(_relative(settings.circuit))
        return circuit, [circuit.node_sets_file] if circuit.node_sets_file else [], None
    files = read_simulation(_relative(settings.simulation))
    name = settings.report or first_compartment_report(files)
    if name is None or name not in files.reports:
        known = ", ".join(f"{key} ({kind or 'no type'})" for key, kind in files.report_types.items())
        wanted = f"no report {name!r}" if name else "no compartment report"
        raise SimulationError(f"{files.config}: has {wanted} (reports: {known or 'none'})")
    return files.circuit, list(files.node_sets_files), files.reports[name]


def _relative(path: Path) -> Path:
    """Return a path below the working directory relative to it: a project that moves must not rerun."""
    inside = path.is_absolute() and path.is_relative_to(os.getcwd())
    return Path(os.path.relpath(path)) if inside else path


def _check_populations(settings: CircuitSettings, circuit: CircuitFiles) -> None:
    listed = [name for nodes in circuit.nodes for name in nodes.populations]
    all_listed = all(nodes.populations for nodes in circuit.nodes)
    for name in settings.populations or ():
        if all_listed and name not in listed:
            raise ConfigurationError(
                f"{settings.where}: populations: {name!r} is not in {circuit.config} (it has {', '.join(listed)})"
            )


def _morphologies_digest(settings: CircuitSettings, circuit: CircuitFiles, made_in: str | None) -> str:
    """Return a digest of names, sizes and times of change of the files in the folders of morphologies."""
    names = settings.populations or sorted(circuit.morphologies)
    folders = [circuit.morphologies.get(name, circuit.default_morphologies) for name in names]
    # populations that the configuration does not list
    folders += [] if names else [circuit.default_morphologies]
    state: dict[str, Any] = {}
    for place in dict.fromkeys(place for folder in folders for place in folder.searched):
        if made_in is not None and place.is_relative_to(made_in):
            state[str(place)] = "made by the example"
            continue
        try:
            state[str(place)] = _state(place)
        except OSError as error:
            raise ConfigurationError(
                f"{settings.where}: morphologies in {place} cannot be listed: {error}"
            ) from None
    return digest(canonical_json(state))


def _state(place: Path) -> Any:
    """Return name, size and time of change of the files in a folder, or of one file; None where there is nothing."""
    if not place.is_dir():
        return [place.stat().st_size, place.stat().st_mtime_ns] if place.exists() else None
    with os.scandir(place) as entries:
        # as links to nothing have no size
        files = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    return sorted([name, state.st_size, state.st_mtime_ns] for name, state in files)


def _megabytes(files: Sequence[str]) -> int:
    """Return the size of those files that are there [MB]."""
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file)) // 1_000_000


def _weights_item(
    settings: CircuitSettings,
    planned: WeightsSettings,
    populations: Sequence[str],
    required: Callable[[Path], str],
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the job that computes a weights file, and the field files that it reads."""
    where = f"{settings.where}: weights.{planned.name}"
    electrodes = resolve_electrodes(planned.arrays, where)
    try:
        csd_regions(electrodes)
        check_population_names(electrodes, populations)
        if any(electrode.slice and electrode.contact_radius for electrode in electrodes):
            site_groups(electrodes)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    fields = [required(Path(name)) for name in dict.fromkeys(e.field for e in electrodes if e.field)]
    item: Mapping[str, Any] = {
        "circuit": settings.name,
        "weights": planned.name,
        "arrays": [[name, array] for name, array in planned.arrays.items()],
        # by meaning: blanks in a table, or a comment beside it, change nothing
        "electrodes": digest(canonical_json([asdict(electrode) for electrode in electrodes])),
        "layout": planned.layout,
        "column_of_ones": planned.column_of_ones,
        "unit": planned.unit,
        "precision": planned.precision,
        "chunks": settings.chunks,
    }
    return dict(item), fields
