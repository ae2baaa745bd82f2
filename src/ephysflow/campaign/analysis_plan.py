"""The plan of one analysis of a campaign: which files each of its jobs reads and makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ephysflow import paths

ALL_SIMULATIONS = "all"
"""Bucket of a computation that needs all simulations together."""


@dataclass(frozen=True)
class PlannedSimulation:
    """A simulation that can be used: its configuration and what the analysis reads are there; or a recorded session.

    Attributes
    ----------
    key : by which its files are named; from conditions and path, so that no other simulation can move it
    simulation_id : position in the campaign file
    circuit_id : smallest simulation_id with the same circuit
    circuit : key of the circuit
    bucket : the simulations that one job does together
    conditions, path : as in the campaign file
    files : raw files that extraction reads
    """

    key: str
    simulation_id: int
    circuit_id: int
    circuit: str
    bucket: str
    conditions: Mapping[str, Any]
    path: str
    files: Sequence[str]


@dataclass(frozen=True)
class Computation:
    """One feature entry with one combination of parameters, by the hash of what it depends on.

    Attributes
    ----------
    buckets : one job each; `ALL_SIMULATIONS` when the function needs all of them together
    whole_repo : the function may read the extraction tables through ``repo``
    """

    buckets: Sequence[str]
    whole_repo: bool


@dataclass(frozen=True)
class AnalysisPlan:
    """Jobs and files of one analysis.

    Attributes
    ----------
    results, campaign, analysis : where its files are
    report : spikes, soma or compartment
    simulations : key -> simulation, by simulation_id
    circuit_files : circuit key -> raw files that the choice of neurons reads
    circuits_in_extraction : extraction reads the circuits' files too (trial steps choose neurons of their own)
    computations : key -> computation
    varies : some feature entry has several combinations of parameters
    made : raw files that the example makes; they count as being there
    recorded : its simulations are recorded sessions
    """

    results: Path
    campaign: str
    analysis: str
    report: str
    simulations: Mapping[str, PlannedSimulation]
    circuit_files: Mapping[str, Sequence[str]]
    circuits_in_extraction: bool
    computations: Mapping[str, Computation]
    varies: bool
    made: Sequence[str]
    recorded: bool = False

    @cached_property
    def buckets(self) -> dict[str, list[PlannedSimulation]]:
        """Bucket -> its simulations."""
        found: dict[str, list[PlannedSimulation]] = {}
        for simulation in self.simulations.values():
            found.setdefault(simulation.bucket, []).append(simulation)
        return found

    def circuit_inputs(self, circuit: str) -> list[str]:
        """Return what the choice of neurons of a circuit reads."""
        return list(self.circuit_files[circuit])

    def circuit_outputs(self, circuit: str) -> list[Path]:
        """Return what is chosen from a circuit."""
        return paths.circuit_neurons(self.results, self.campaign, self.analysis, circuit)

    def extraction_inputs(self, bucket: str) -> list[str | Path]:
        """Return what the extraction of a bucket of simulations reads."""
        simulations = self.buckets[bucket]
        circuits = dict.fromkeys(simulation.circuit for simulation in simulations)
        # why units could not be chosen stands in the last table; neurons that cannot be chosen end the analysis
        tables = len(paths.CIRCUIT_TABLES) if self.recorded else len(paths.CIRCUIT_TABLES) - 1
        files: list[str | Path] = [
            path for circuit in circuits for path in self.circuit_outputs(circuit)[:tables]
        ]
        files += dict.fromkeys(file for simulation in simulations for file in simulation.files)
        if self.circuits_in_extraction:
            files += [file for circuit in circuits for file in self.circuit_files[circuit]]
        return list(dict.fromkeys(files))

    def extraction_output(self, bucket: str) -> Path:
        """Return the folder of what was extracted from a bucket."""
        return paths.extracted_folder(self.results, self.campaign, self.analysis, bucket)

    def all_extractions(self) -> list[Path]:
        """Return the folders of all buckets."""
        return [self.extraction_output(bucket) for bucket in self.buckets]

    def all_circuits(self) -> list[Path]:
        """Return what is chosen from all circuits."""
        return [path for circuit in self.circuit_files for path in self.circuit_outputs(circuit)]

    def repo_output(self) -> Path:
        """Return the folder of the published extraction tables."""
        return paths.repo_folder(self.results, self.campaign, self.analysis)

    def repo_inputs(self) -> list[Path]:
        """Return what the published extraction tables are put together from."""
        return [*self.all_circuits(), *self.all_extractions()]

    def computation_inputs(self, computation: str, bucket: str) -> list[Path]:
        """Return what one job of a computation reads."""
        if self.computations[computation].whole_repo:
            return [self.repo_output()]
        if bucket == ALL_SIMULATIONS:
            return self.repo_inputs()
        circuits = dict.fromkeys(simulation.circuit for simulation in self.buckets[bucket])
        chosen = [path for circuit in circuits for path in self.circuit_outputs(circuit)[:2]]
        return [*chosen, self.extraction_output(bucket)]

    def computation_output(self, computation: str, bucket: str) -> Path:
        """Return the file of one job of a computation."""
        return paths.computed_features(self.results, self.campaign, self.analysis, computation, bucket)

    def all_computed(self) -> list[Path]:
        """Return the files of all computations."""
        return [
            self.computation_output(key, bucket)
            for key, computation in self.computations.items()
            for bucket in computation.buckets
        ]

    def features_inputs(self) -> list[Path]:
        """Return what the published feature tables are put together from."""
        return [self.repo_output(), *self.all_computed()]

    def features_outputs(self) -> list[Path]:
        """Return the folder of the published feature tables, and the exclusions."""
        where = (self.results, self.campaign, self.analysis)
        return [paths.features_folder(*where), paths.campaign_exclusions(*where)]

    def plot_outputs(self) -> list[Path]:
        """Return the plots of the analysis: of what there is to draw."""
        names = ["rasters"]
        names += ["firing_rates"] if self.report == "spikes" else []
        names += ["parameter_sweep"] if self.varies else []
        return [paths.campaign_plot(self.results, self.campaign, self.analysis, name) for name in names]

    def outputs(self) -> list[Path]:
        """Return everything public of the analysis, plots aside."""
        return [self.repo_output(), *self.features_outputs()]
