"""The step ``select_neurons``: the neurons of each class in one circuit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ephysflow import paths
from ephysflow.campaign.neurons import select_neurons as select
from ephysflow.campaign.tables import (
    NEURON_CLASS_SCHEMA,
    NEURON_SCHEMA,
    POPULATION_SCHEMA,
    finding,
    write_columns,
    write_findings,
)
from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.io.tables import write_table
from ephysflow.job import Job
from ephysflow.sonata.nodes import Population, node_set_ids, open_population, population_names
from ephysflow.sonata.simulation_config import read_circuit


class CircuitAccess:
    """Populations and node sets of one circuit, each opened once.

    Parameters
    ----------
    config : the circuit's configuration
    node_sets_files : the circuit's node sets
    """

    def __init__(self, config: str, node_sets_files: Sequence[str]) -> None:
        self.files = read_circuit(Path(config))
        self.node_sets_files = [Path(file) for file in node_sets_files]
        self._populations: dict[str, Population] = {}

    def population(self, name: str | None) -> Population:
        """Return a population; the only one when no name is given."""
        if name is None:
            name = self._only_population()
        if name not in self._populations:
            self._populations[name] = open_population(self.files, name)
        return self._populations[name]

    def _only_population(self) -> str:
        names = population_names(self.files)
        if len(names) != 1:
            raise SimulationError(
                f"{self.files.config}: which population? The circuit has {', '.join(names) or 'none'}; give the key "
                "population in extraction or in each neuron class"
            )
        return names[0]

    def node_set(self, population: Population, name: str, extra: str | None) -> Any:
        """Return the sorted ids of a node set in a population; `extra` is a further file of node sets."""
        files = [*self.node_sets_files, *([Path(extra)] if extra else [])]
        return node_set_ids(files, name, population)


def select_neurons(job: Job) -> None:
    """Choose the neurons of all classes and write them, with the classes."""
    item = job.settings
    circuit = CircuitAccess(item["circuit_config"], item["node_sets_files"])
    try:
        neurons, classes, findings = select(
            dict(item["classes"]), circuit.population, circuit.node_set, item["sampling"], item["seed"]
        )
    except (SimulationError, ConfigurationError) as error:
        raise type(error)(f"campaign {item['campaign']}, analysis {item['analysis']}: {error}") from None
    used = [item["circuit_config"], *item["node_sets_files"]]
    for nodes in circuit.files.nodes:
        used += [str(nodes.file), *([str(nodes.types_file)] if nodes.types_file else [])]
    used += [choice["node_sets_file"] for _, choice in item["classes"] if choice.get("node_sets_file")]
    provenance = job.provenance(dict.fromkeys(used))
    neurons_file, classes_file, populations_file, findings_file = paths.circuit_neurons(
        job.results, item["campaign"], item["analysis"], job.key.split("\t")[-1]
    )
    write_columns(neurons_file, neurons, NEURON_SCHEMA, provenance)
    write_table(classes_file, classes, NEURON_CLASS_SCHEMA, provenance)
    sizes = {row["population"]: circuit.population(row["population"]).size for row in classes}
    rows = [{"population": name, "size": size} for name, size in sizes.items()]
    write_table(populations_file, rows, POPULATION_SCHEMA, provenance)
    found = [finding("neurons", None, subject, reason, kept=True) for subject, reason in findings]
    write_findings(findings_file, found, provenance)
    for row in classes:
        print(f"{row['neuron_class']}: {row['count']} neurons" + ("" if row["count"] else ": NONE"))
