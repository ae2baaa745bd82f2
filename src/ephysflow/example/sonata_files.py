"""Writes the SONATA files of the example: nodes and reports.

Formats: the SONATA data format (github.com/AllenInstitute/sonata, docs/SONATA_DEVELOPER_GUIDE.md) with the
enumerated properties (``@library``) of the SONATA extension of the Blue Brain Project. Nothing is compressed: the
HDF5 library in the wheels of libsonata (0.2.2) has no filters.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ephysflow.io.atomic import replacing

_MAGIC, _VERSION = 0x0A7A, (0, 1)  # by which readers know SONATA


def write_nodes(path: Path, population: str, properties: Mapping[str, np.ndarray]) -> None:
    """Write the nodes of a population: numbers as float32, texts as numbers with a library."""
    with sonata_file(path) as file:
        nodes = file.create_group(f"nodes/{population}")
        n = len(next(iter(properties.values())))
        nodes.create_dataset("node_type_id", data=np.full(n, -1, dtype=np.int64))
        group = nodes.create_group("0")
        for name, values in properties.items():
            if values.dtype != object:
                group.create_dataset(name, data=values.astype(np.float32))
                continue
            names, codes = np.unique(values.astype(str), return_inverse=True)
            group.create_dataset(name, data=codes.astype(np.uint32))
            group.create_dataset(
                f"@library/{name}", data=names.astype(object), dtype=h5py.string_dtype("utf-8")
            )


def write_report(
    path: Path,
    population: str,
    values: np.ndarray,
    node_ids: np.ndarray,
    elements: Sequence[np.ndarray],
    times: Sequence[float],
) -> None:
    """Write a report of membrane potentials.

    Parameters
    ----------
    path : where
    population : of the nodes
    values : (frames, elements of all nodes) mV
    node_ids : (n,) ascending
    elements : section ids of the elements of each node
    times : start, stop and step [ms]
    """
    with sonata_file(path) as file:
        report = file.create_group(f"report/{population}")
        data = report.create_dataset("data", data=values.astype(np.float32))
        data.attrs["units"] = "mV"
        mapping = report.create_group("mapping")
        mapping.create_dataset("node_ids", data=node_ids.astype(np.uint64)).attrs["sorted"] = np.uint8(1)
        pointers = np.cumsum([0, *(len(ids) for ids in elements)])
        mapping.create_dataset("index_pointers", data=pointers.astype(np.uint64))
        mapping.create_dataset("element_ids", data=np.concatenate(elements).astype(np.uint32))
        mapping.create_dataset("time", data=np.array(times, dtype=np.float64)).attrs["units"] = "ms"


@contextmanager
def sonata_file(path: Path) -> Iterator[h5py.File]:
    """Make an HDF5 file that readers know as SONATA; it appears when it is complete."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["magic"] = np.uint32(_MAGIC)
        file.attrs["version"] = np.array(_VERSION, dtype=np.uint32)
        yield file
