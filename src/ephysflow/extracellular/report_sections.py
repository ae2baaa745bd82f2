"""Which sections and compartments the nodes of a compartment report have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.sonata import hdf5
from ephysflow.sonata.reports import open_report


@dataclass(frozen=True)
class SectionRuns:
    """Sections of one node, in order.

    Attributes
    ----------
    ids : (S,) int64 section ids, 0 for the soma
    counts : (S,) int64 compartments of each
    """

    ids: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class ReportSections:
    """Sections of all nodes of a population in a report.

    Attributes
    ----------
    node_ids : (N,) int64, ascending
    """

    node_ids: np.ndarray
    _starts: np.ndarray
    _stops: np.ndarray
    _ids: np.ndarray
    _counts: np.ndarray

    def runs_of(self, node_id: int) -> SectionRuns:
        """Return the sections of a node of the report; KeyError if it has no such node."""
        i = int(np.searchsorted(self.node_ids, node_id))
        if i == len(self.node_ids) or self.node_ids[i] != node_id:
            raise KeyError(node_id)
        part = slice(self._starts[i], self._stops[i])
        return SectionRuns(self._ids[part], self._counts[part])


def report_populations(path: Path) -> list[str]:
    """Return the names of the populations of a report, sorted.

    Raises
    ------
    SimulationError
        if the file is missing, damaged or not a report.
    """
    with hdf5.opened(path, "report") as file:
        return sorted(hdf5.group(file, "report", path))


def report_nodes(path: Path, population: str) -> np.ndarray:
    """Return (N,) the nodes of a population in a report that have compartments, ascending.

    Raises
    ------
    SimulationError
        if the file is missing or damaged, or no node has compartments.
    """
    with open_report(path, population) as report:
        node_ids = np.sort(report.node_ids[report.counts > 0])
    if not len(node_ids):
        raise SimulationError(f"{path}: population {population!r} has no compartments")
    return node_ids


def read_report_sections(path: Path, population: str, node_ids: np.ndarray | None = None) -> ReportSections:
    """Read the sections of some nodes of a population.

    Parameters
    ----------
    path : of the report
    population : of the nodes
    node_ids : (N,) some of `report_nodes`, ascending, and no more is read than lies between the first and the last of
        them; None for all

    Raises
    ------
    SimulationError
        if the file is missing or damaged, or a section of a node is in two places.
    """
    if node_ids is None:
        node_ids = report_nodes(path, population)
    with open_report(path, population) as report:
        _, nodes, elements = report.columns_of(node_ids)
    if not len(nodes):
        nothing = np.empty(0, dtype=np.int64)
        return ReportSections(nothing, nothing, nothing, nothing, nothing)
    begins = np.flatnonzero(np.r_[True, (np.diff(nodes) != 0) | (np.diff(elements) != 0)])
    counts = np.diff(np.r_[begins, len(nodes)])
    run_nodes, run_ids = nodes[begins], elements[begins]
    sorted_runs = np.lexsort((run_ids, run_nodes))
    twice = (np.diff(run_nodes[sorted_runs]) == 0) & (np.diff(run_ids[sorted_runs]) == 0)
    if twice.any():
        run = sorted_runs[np.flatnonzero(twice)[0]]
        raise SimulationError(
            f"{path}: compartments of section {run_ids[run]} of node {run_nodes[run]} ({population}) are not together"
        )
    starts = np.searchsorted(run_nodes, node_ids)
    stops = np.searchsorted(run_nodes, node_ids, side="right")
    return ReportSections(node_ids, starts, stops, run_ids, counts)
