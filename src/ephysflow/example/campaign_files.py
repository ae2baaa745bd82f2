"""Writes the HDF5 files of the example campaign; its configurations are in ``config/example_campaign``."""

from pathlib import Path

import h5py
import numpy as np

from ephysflow.example.circuit import POPULATION, node_properties, recorded_cells
from ephysflow.example.network_activity import CONDITIONS, TSTOP, recorded_potentials, spikes
from ephysflow.example.simulation import STEP
from ephysflow.example.sonata_files import sonata_file, write_nodes, write_report

REPORT_STEP = 0.1
"""Interval of the report of membrane potentials [ms]."""

_SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")


def write_example_campaign(folder: Path) -> None:
    """Write the circuit's nodes, and spikes and membrane potentials of each simulation.

    All values are the same at every call; so are the bytes, with the same version of h5py.

    Parameters
    ----------
    folder : gets ``nodes.h5`` and, for simulation i, ``<i>/spikes.h5`` and ``<i>/soma.h5``; made if needed, every
        file appears in it when it is complete
    """
    write_nodes(folder / "nodes.h5", POPULATION, node_properties())
    ids = recorded_cells()
    for i, (condition, potentials) in enumerate(zip(CONDITIONS, recorded_potentials(), strict=True)):
        _write_spikes(folder / str(i) / "spikes.h5", *spikes(condition, potentials))
        write_report(
            folder / str(i) / "soma.h5",
            POPULATION,
            potentials[:: round(REPORT_STEP / STEP)],
            ids,
            [np.zeros(1)] * len(ids),
            (0.0, TSTOP, REPORT_STEP),
        )


def _write_spikes(path: Path, node_ids: np.ndarray, times: np.ndarray) -> None:
    with sonata_file(path) as file:
        population = file.create_group(f"spikes/{POPULATION}")
        population.attrs.create("sorting", 2, dtype=_SORTING)
        population.create_dataset("node_ids", data=node_ids)
        population.create_dataset("timestamps", data=times).attrs["units"] = "ms"
