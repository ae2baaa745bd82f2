"""The step ``segment_positions``: where the compartments of a chunk of nodes are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.extracellular.compartments import Compartments, joined
from ephysflow.extracellular.discretisation import discretise
from ephysflow.extracellular.morphologies import morphology_file, read_morphology, recentred
from ephysflow.extracellular.placement import are_recentred, placed, positions, rotations
from ephysflow.extracellular.positions_file import PopulationPositions, write_positions
from ephysflow.extracellular.report_sections import (
    SectionRuns,
    read_report_sections,
    report_nodes,
    report_populations,
)
from ephysflow.extracellular.section_matching import cell_compartments, in_walking_order
from ephysflow.io.tables import column, write_table
from ephysflow.job import Job
from ephysflow.sonata.nodes import Population, node_set_ids, open_population, population_names
from ephysflow.sonata.simulation_config import CircuitFiles, read_circuit

EXCLUSION_SCHEMA = pa.schema(
    [
        column("population", pa.string()),
        column("node_id", pa.int64()),
        column("morphology", pa.string()),
        column("reason", pa.string(), text="why the positions of the cell could not be computed"),
    ]
)

LISTED = 20
"""Cells without positions that an error names."""


@dataclass
class _Found:
    """Positions of the nodes of a population, as they are found; `n_wanted` counts those of all chunks."""

    n_wanted: int = 0
    node_ids: list[int] = field(default_factory=list)
    cells: list[Compartments] = field(default_factory=list)
    exclusions: list[dict[str, Any]] = field(default_factory=list)
    morphologies: dict[str, None] = field(default_factory=dict)
    reordered: int = 0

    def joined(self) -> PopulationPositions:
        """Return all nodes one after the other."""
        counts = [len(cell.section_ids) for cell in self.cells]
        return PopulationPositions(
            np.array(self.node_ids, dtype=np.int64),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            joined(self.cells),
        )


def segment_positions(job: Job) -> None:
    """Compute the positions of one chunk of nodes of each population and write them."""
    item = job.settings
    circuit = read_circuit(Path(item["circuit_config"]))
    found = {
        name: _population_positions(item, circuit, open_population(circuit, name))
        for name in _populations(item, circuit)
    }
    if not any(population.n_wanted for population in found.values()):
        of_set = "" if item["node_set"] is None else f" of node set {item['node_set']!r}"
        raise SimulationError(
            f"circuit {item['circuit']}: there are no nodes{of_set} in population {', '.join(found)}"
        )
    exclusions = [row for population in found.values() for row in population.exclusions]
    if exclusions and item["missing_morphologies"] == "refuse":
        raise SimulationError(_refusal(item["circuit"], exclusions))
    used = _circuit_files(item, circuit)
    used += [name for population in found.values() for name in population.morphologies]
    provenance = job.provenance(dict.fromkeys(used))
    where = (job.results, item["circuit"], str(item["chunk"]))
    computed = {name: population.joined() for name, population in found.items() if population.cells}
    write_positions(paths.positions(*where), computed, provenance)
    write_table(paths.position_exclusions(*where), exclusions, EXCLUSION_SCHEMA, provenance)
    for name, done in computed.items():
        print(f"{name}: {len(done.node_ids)} nodes, {len(done.compartments.section_ids)} compartments")
        if reordered := found[name].reordered:
            print(
                f"{name}: rows of {reordered} cells are not in the order of the report, but in neurodamus's"
            )
    if exclusions:
        print(f"{len(exclusions)} cells have no positions: see the table of exclusions")


def _circuit_files(item: Mapping[str, Any], circuit: CircuitFiles) -> list[str]:
    """Return the files that the nodes and their compartments come from."""
    files = [item["circuit_config"], *item["node_sets_files"]]
    for nodes in circuit.nodes:
        files += [str(nodes.file), *([str(nodes.types_file)] if nodes.types_file else [])]
    return files + ([item["report_file"]] if item["report_file"] else [])


def _refusal(circuit: str, exclusions: Sequence[Mapping[str, Any]]) -> str:
    listed = [f"    {row['population']} {row['node_id']}: {row['reason']}" for row in exclusions[:LISTED]]
    if len(exclusions) > LISTED:
        listed.append(f"    and {len(exclusions) - LISTED} more")
    heading = (
        f"circuit {circuit}: {len(exclusions)} cells have no positions "
        "(missing_morphologies: nan goes on with NaN in their rows):"
    )
    return "\n".join([heading, *listed])


def _populations(item: Mapping[str, Any], circuit: CircuitFiles) -> list[str]:
    """Return the names of the populations that positions are computed of."""
    if item["report_file"]:
        there, where = report_populations(Path(item["report_file"])), f"report {item['report_file']}"
        default = there
    else:
        there, where = population_names(circuit), f"circuit {circuit.config}"
        # BMTK's circuits name no types
        default = [name for name in there if circuit.population_types.get(name, "") in ("biophysical", "")]
    wanted = item["populations"] or default
    if missing := [name for name in wanted if name not in there]:
        raise ConfigurationError(
            f"{where}: has no population {missing[0]!r} (it has {', '.join(there) or 'none'})"
        )
    if not wanted:
        kind = "population" if item["report_file"] else "population of type biophysical"
        raise SimulationError(f"{where}: has no {kind} (it has {', '.join(there) or 'none'})")
    return sorted(wanted)


def _population_positions(item: Mapping[str, Any], circuit: CircuitFiles, population: Population) -> _Found:
    """Compute the positions of this chunk's nodes of a population."""
    wanted = _wanted_nodes(item, population)
    node_ids = _chunk(wanted, item["chunk"], item["chunks"])
    report = None
    if item["report_file"]:
        report = read_report_sections(Path(item["report_file"]), population.name, node_ids)
    names = population.property("morphology")[node_ids]
    rotation, position = rotations(population, node_ids), positions(population, node_ids)
    recentre = are_recentred(population, node_ids)
    folders = circuit.morphologies.get(population.name, circuit.default_morphologies)
    axons = {"replace_axons": item["replace_axons"], "stub_lengths": item["stub_axon"] or ()}
    found = _Found(len(wanted))
    for i, node_id in enumerate(node_ids.tolist()):
        sections = report.runs_of(node_id) if report is not None else None
        name = str(names[i])
        try:
            morphology = read_morphology(folders, name)
            if recentre[i]:
                morphology = recentred(morphology)
            cell = cell_compartments(
                morphology, sections or discretise(morphology, item["discretisation"], **axons), **axons
            )
        except SimulationError as error:
            row = {
                "population": population.name,
                "node_id": node_id,
                "morphology": name,
                "reason": str(error),
            }
            found.exclusions.append(row)
            if sections is not None:  # the report demands rows
                found.node_ids.append(node_id)
                found.cells.append(_unknown(sections))
            continue
        found.reordered += sections is not None and not in_walking_order(cell, sections)
        found.morphologies[str(morphology_file(folders, name))] = None
        found.node_ids.append(node_id)
        found.cells.append(
            Compartments(
                cell.section_ids,
                cell.section_types,
                placed(cell.starts, rotation[i], position[i]),
                placed(cell.ends, rotation[i], position[i]),
                cell.radii,
            )
        )
    return found


def _wanted_nodes(item: Mapping[str, Any], population: Population) -> np.ndarray:
    """Return the nodes that positions are computed of, ascending."""
    node_ids = np.arange(population.size)
    if item["report_file"]:
        node_ids = report_nodes(Path(item["report_file"]), population.name)
        if node_ids[-1] >= population.size:
            raise SimulationError(
                f"{item['report_file']}: has node {node_ids[-1]}, but population {population.name!r} has "
                f"{population.size} nodes; is it the report of another circuit?"
            )
    if item["node_set"] is None:
        return node_ids
    files = [Path(file) for file in item["node_sets_files"]]
    return np.intersect1d(node_ids, node_set_ids(files, item["node_set"], population))


def _chunk(node_ids: np.ndarray, chunk: int, chunks: int) -> np.ndarray:
    """Return the share of one chunk: consecutive nodes, as many as in any other, give or take one."""
    bounds = np.arange(chunks + 1) * len(node_ids) // chunks
    return node_ids[bounds[chunk] : bounds[chunk + 1]]


def _unknown(sections: SectionRuns) -> Compartments:
    """Return the compartments of a cell without a morphology, in the order of the report."""
    ids = np.repeat(sections.ids, sections.counts)
    nowhere = np.full((len(ids), 3), np.nan)
    return Compartments(ids, np.zeros(len(ids), dtype=np.uint8), nowhere, nowhere, np.full(len(ids), np.nan))
