"""Writes the HDF5 files of the example campaign; its configurations are in ``config/example_campaign``.

Formats: the SONATA data format (github.com/AllenInstitute/sonata, docs/SONATA_DEVELOPER_GUIDE.md) with the
enumerated properties (``@library``) of the SONATA extension of the Blue Brain Project. Nothing is compressed: the
HDF5 library in the wheels of libsonata (0.2.2) has no filters.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ephysflow.example.circuit import CLASSES, POPULATION, node_properties, recorded_cells
from ephysflow.example.network_activity import CONDITIONS, TSTOP, recorded_potentials, spikes
from ephysflow.example.simulation import STEP
from ephysflow.io.atomic import replacing

REPORT_STEP = 0.1
"""Interval of the report of membrane potentials [ms]."""

_MAGIC, _VERSION = 0x0A7A, (0, 1)  # by which readers know SONATA
_SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")


def write_example_campaign(folder: Path) -> None:
    """Write the circuit's nodes, and spikes and membrane potentials of each simulation.

    All values are the same at every call; so are the bytes, with the same version of h5py.

    Parameters
    ----------
    folder : gets ``nodes.h5`` and, for simulation i, ``<i>/spikes.h5`` and ``<i>/soma.h5``; made if needed, every
        file appears in it when it is complete
    """
    _write_nodes(folder / "nodes.h5")
    for i, (condition, potentials) in enumerate(zip(CONDITIONS, recorded_potentials(), strict=True)):
        _write_spikes(folder / str(i) / "spikes.h5", *spikes(condition, potentials))
        _write_report(folder / str(i) / "soma.h5", potentials[:: round(REPORT_STEP / STEP)])


def _write_nodes(path: Path) -> None:
    with _sonata_file(path) as file:
        population = file.create_group(f"nodes/{POPULATION}")
        n = sum(c.size for c in CLASSES)
        population.create_dataset("node_type_id", data=np.full(n, -1, dtype=np.int64))
        group = population.create_group("0")
        for name, values in node_properties().items():
            if values.dtype != object:
                group.create_dataset(name, data=values.astype(np.float32))
                continue
            names, codes = np.unique(values.astype(str), return_inverse=True)
            group.create_dataset(name, data=codes.astype(np.uint32))
            group.create_dataset(
                f"@library/{name}", data=names.astype(object), dtype=h5py.string_dtype("utf-8")
            )


def _write_spikes(path: Path, node_ids: np.ndarray, times: np.ndarray) -> None:
    with _sonata_file(path) as file:
        population = file.create_group(f"spikes/{POPULATION}")
        population.attrs.create("sorting", 2, dtype=_SORTING)
        population.create_dataset("node_ids", data=node_ids)
        population.create_dataset("timestamps", data=times).attrs["units"] = "ms"


def _write_report(path: Path, potentials: np.ndarray) -> None:
    ids = recorded_cells()
    with _sonata_file(path) as file:
        population = file.create_group(f"report/{POPULATION}")
        data = population.create_dataset("data", data=potentials.astype(np.float32))
        data.attrs["units"] = "mV"
        mapping = population.create_group("mapping")
        mapping.create_dataset("node_ids", data=ids.astype(np.uint64)).attrs["sorted"] = np.uint8(1)
        mapping.create_dataset("index_pointers", data=np.arange(len(ids) + 1, dtype=np.uint64))
        mapping.create_dataset("element_ids", data=np.zeros(len(ids), dtype=np.uint32))
        mapping.create_dataset("time", data=[0.0, TSTOP, REPORT_STEP]).attrs["units"] = "ms"


@contextmanager
def _sonata_file(path: Path) -> Iterator[h5py.File]:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["magic"] = np.uint32(_MAGIC)
        file.attrs["version"] = np.array(_VERSION, dtype=np.uint32)
        yield file
