"""The step ``select_units``: the units of each class of one recorded session."""

from pathlib import Path

import numpy as np

from ephysflow import paths
from ephysflow.campaign.recorded_files import read_units
from ephysflow.campaign.tables import (
    NEURON_CLASS_SCHEMA,
    NEURON_SCHEMA,
    POPULATION_SCHEMA,
    finding,
    write_columns,
    write_findings,
)
from ephysflow.campaign.units import POPULATION, Units
from ephysflow.campaign.units import select_units as select
from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.io.tables import write_table
from ephysflow.job import Job


def select_units(job: Job) -> None:
    """Choose the units of all classes and write them, with the classes; none where they cannot be chosen, and why."""
    item = job.settings
    size = 0
    neurons = {
        "neuron_class": np.empty(0, np.str_),
        "gid": np.empty(0, np.int64),
        "neuron_class_index": np.empty(0, np.int64),
    }
    try:
        units = Units(read_units(Path(item["units"])))
        size = units.size
        neurons, classes, found = select(dict(item["classes"]), units, item["sampling"], item["seed"])
    except (SimulationError, ConfigurationError) as error:
        classes, found = [], [(f"session {item['session']}", str(error))]
        print(f"NO UNITS: {error}")
    provenance = job.provenance([item["units"]])
    key = job.key.split("\t")[-1]
    files = paths.circuit_neurons(job.results, item["campaign"], item["analysis"], key)
    neurons_file, classes_file, populations_file, findings_file = files
    write_columns(neurons_file, neurons, NEURON_SCHEMA, provenance)
    write_table(classes_file, classes, NEURON_CLASS_SCHEMA, provenance)
    sizes = [{"population": POPULATION, "size": size}]
    write_table(populations_file, sizes, POPULATION_SCHEMA, provenance)
    rows = [finding("neurons", key, subject, reason, kept=True) for subject, reason in found]
    write_findings(findings_file, rows, provenance)
    for row in classes:
        print(f"{row['neuron_class']}: {row['count']} units" + ("" if row["count"] else ": NONE"))
