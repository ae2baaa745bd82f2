"""The plan of one circuit: which files each of its jobs reads and makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ephysflow import paths

RANK_MB = 400
"""Memory of one rank beside its buffers: Python, the compiler of the kernels and the positions of some cells."""


@dataclass(frozen=True)
class PlannedWeights:
    """One weights file.

    Attributes
    ----------
    fields : field files that it is computed from
    ranks : MPI processes
    buffer_mb : memory of a rank for coefficients [MB]
    fields_mb : size of the field files [MB]
    """

    fields: Sequence[str]
    ranks: int
    buffer_mb: int
    fields_mb: int


@dataclass(frozen=True)
class CircuitPlan:
    """Jobs and files of one circuit.

    Attributes
    ----------
    results, circuit : where its files are
    chunks : names of the chunks of nodes
    files : raw files that the positions are computed from, morphologies aside
    weights : name -> weights file
    made : raw files that the example makes; they count as being there
    """

    results: Path
    circuit: str
    chunks: Sequence[str]
    files: Sequence[str]
    weights: Mapping[str, PlannedWeights]
    made: Sequence[str]

    def positions_outputs(self, chunk: str) -> list[Path]:
        """Return the positions of one chunk, and the cells that have none."""
        return [
            paths.positions(self.results, self.circuit, chunk),
            paths.position_exclusions(self.results, self.circuit, chunk),
        ]

    def all_positions(self) -> list[Path]:
        """Return the positions of all chunks, in the order of their nodes."""
        return [paths.positions(self.results, self.circuit, chunk) for chunk in self.chunks]

    def weights_inputs(self, weights: str) -> list[str | Path]:
        """Return what a weights file is computed from."""
        return [*self.all_positions(), *self.weights[weights].fields]

    def weights_memory(self, weights: str) -> int:
        """Return the memory that the job of a weights file needs on one machine [MB]."""
        planned = self.weights[weights]
        # each rank reads the fields; numbers of 4 bytes become 8
        return planned.ranks * (RANK_MB + 2 * planned.buffer_mb + 2 * planned.fields_mb)

    def plot_inputs(self, weights: str) -> list[Path]:
        """Return what the plots of a weights file read."""
        return [*self.all_positions(), paths.weights(self.results, self.circuit, weights)]

    def plot_outputs(self) -> list[Path]:
        """Return the plots of all weights files."""
        return [paths.circuit_plot(self.results, self.circuit, name) for name in self.weights]

    def exclusions(self) -> list[Path]:
        """Return the tables of cells without positions."""
        return [paths.position_exclusions(self.results, self.circuit, chunk) for chunk in self.chunks]

    def outputs(self) -> list[Path]:
        """Return everything public of the circuit, plots aside."""
        files = [file for chunk in self.chunks for file in self.positions_outputs(chunk)]
        return [*files, *(paths.weights(self.results, self.circuit, name) for name in self.weights)]
