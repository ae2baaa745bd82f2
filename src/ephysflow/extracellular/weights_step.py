"""The step ``electrode_weights``: the coefficients of all compartments and electrodes, computed by MPI ranks."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ephysflow import paths
from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.extracellular.array_settings import check_population_names, resolve_electrodes
from ephysflow.extracellular.coefficients import (
    Model,
    can_be_outside,
    coefficients,
    count_outside,
    make_model,
    refuse_outside,
)
from ephysflow.extracellular.parallel_write import check_ranks, ending_all, share_of_rows, write_weights
from ephysflow.extracellular.positions_file import PositionsFiles
from ephysflow.extracellular.weights_file import PopulationRows, WeightsContents
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.provenance import installed_versions
from ephysflow.job import Job

if TYPE_CHECKING:
    from mpi4py import MPI

MEGABYTE = 1_000_000

CHECKED_ROWS = 100_000
"""Compartments that are compared with grids and slices at a time."""

MILLIVOLTS_PER_VOLT = 1e3


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
    with ending_all(comm):
        check_ranks(comm, expected_ranks)
        item = job.settings
        # a mistake in the configuration is found, and told, by one rank; the others wait and are ended with it
        if comm.rank:
            comm.Barrier()
        model = _model(item)
        files = [paths.positions(job.results, item["circuit"], str(i)) for i in range(item["chunks"])]
        positions = PositionsFiles(files)
        if not positions.names:
            raise SimulationError(
                f"circuit {item['circuit']}: no cell has a position (why: the tables of exclusions in "
                f"{files[0].parent})"
            )
        check_population_names(model.electrodes, positions.names)
        if not comm.rank:
            comm.Barrier()
        _check_places(comm, model, positions)
        used = [*map(str, files), *dict.fromkeys(e.field for e in model.electrodes if e.field)]
        provenance = job.provenance(used).text() if comm.rank == 0 else ""
        contents = WeightsContents(
            electrodes=model.electrodes,
            populations=[
                PopulationRows(name, positions.node_ids(name), positions.offsets(name))
                for name in positions.names
            ],
            layout=item["layout"],
            column_of_ones=item["column_of_ones"],
            unit=item["unit"],
            precision=item["precision"],
            provenance=provenance,
            versions={**job.versions, **installed_versions(["ephysflow"])},
        )
        write_weights(
            comm,
            paths.weights(job.results, item["circuit"], item["weights"]),
            contents,
            _computation(model, positions, item["unit"]),
            buffer_mb * MEGABYTE,
            partial(print, flush=True),
        )


def _model(item: Any) -> Model:
    where = f"circuit {item['circuit']}: weights.{item['weights']}"
    electrodes = resolve_electrodes(dict(item["arrays"]), where)
    if digest(canonical_json([asdict(electrode) for electrode in electrodes])) != item["electrodes"]:
        raise ConfigurationError(
            f"{where}: a table of electrodes was changed while the workflow ran; run it again"
        )
    return make_model(electrodes)


def _check_places(comm: "MPI.Comm", model: Model, positions: PositionsFiles) -> None:
    """Refuse compartments outside of grids and slices, which the ranks count together."""
    if not can_be_outside(model):
        return
    counts, total = np.zeros(len(model.electrodes), dtype=np.int64), 0
    sizes = [int(positions.offsets(name)[-1]) for name in positions.names]
    for population, first, last in _blocks(share_of_rows(sizes, comm.rank, comm.size)):
        name = positions.names[population]
        total += last - first
        counts += count_outside(
            model, positions.compartments(name, first, last), positions.centres(name, first, last)
        )
    counts, total = sum(comm.allgather(counts)), sum(comm.allgather(total))
    if comm.rank == 0:
        refuse_outside(model, counts, total)
    comm.Barrier()


def _blocks(share: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    for population, first, last in share:
        for start in range(first, last, CHECKED_ROWS):
            yield population, start, min(start + CHECKED_ROWS, last)


def _computation(model: Model, positions: PositionsFiles, unit: str) -> Callable[[int, int, int], np.ndarray]:
    """Return what computes the rows ``first .. last`` of a population in the unit of the file."""
    with_unit = [i for i, electrode in enumerate(model.electrodes) if electrode.has_unit]

    def compute(population: int, first: int, last: int) -> np.ndarray:
        name = positions.names[population]
        found = coefficients(
            model, positions.compartments(name, first, last), positions.centres(name, first, last)
        )
        if unit == "V/nA":
            found[:, with_unit] /= MILLIVOLTS_PER_VOLT
        return found

    return compute
