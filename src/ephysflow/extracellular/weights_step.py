"""The step ``electrode_weights``: the coefficients of all compartments and electrodes, computed by MPI ranks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow import paths
from ephysflow.errors import ConfigurationError, EphysflowError, SimulationError
from ephysflow.extracellular.array_settings import check_population_names, resolve_electrodes
from ephysflow.extracellular.coefficients import (
    OBJECTIVE_CSD,
    Model,
    coefficients,
    count_outside,
    make_model,
    refuse_outside,
)
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.parallel_write import check_ranks, collectively, share_of, write_weights
from ephysflow.extracellular.positions_file import PositionsFiles, open_positions
from ephysflow.extracellular.weights_file import PopulationRows, WeightsContents
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.job import Job

MEGABYTE = 1_000_000

CHECKED_ROWS = 100_000
"""Compartments that are compared with a field's grid at a time."""


def electrode_weights(job: Job, expected_ranks: int | None = None, buffer_mb: int = 64) -> None:
    """Compute the coefficients of all compartments of a circuit and write the weights file.

    Every rank of ``MPI.COMM_WORLD`` calls this; one process without a launcher is a world of its own.

    Parameters
    ----------
    job : of one weights file
    expected_ranks : refuse another number of ranks; None for any
    buffer_mb : memory for the coefficients that a rank is computing [MB]
    """
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    item = job.settings
    check_ranks(comm, expected_ranks)
    positions = [paths.positions(job.results, item["circuit"], str(i)) for i in range(item["chunks"])]
    electrodes = collectively(comm, lambda: _electrodes(item))
