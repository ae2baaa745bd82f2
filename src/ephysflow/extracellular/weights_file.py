"""The weights file: coefficients of compartments and electrodes in a SONATA electrodes file.

::

    /<population>/node_ids                      (N)        ascending
    /<population>/offsets                       (N+1)      rows of node i: offsets[i] .. offsets[i+1]
    /electrodes/<population>/scaling_factors    (C, E)     a row a compartment, a column an electrode
    /electrodes/<name>/position                 (3)        um
    /electrodes/<name>/type, layer, region      texts
    /electrodes/<name>/<population>             column of the electrode (group layout: its member ``electrode_id``)
    /electrodes/<name>/reference                names of the electrodes whose mean is subtracted, where there are any
    /ephysflow/provenance                       text; it may be longer than an attribute can be

Three layouts: ``sonata`` has the types of the SONATA specification (the "electrodes_file" of the SONATA extension) and
the column as the scalar dataset that libsonata reads; ``sonata_groups`` has the column in a group, as that
specification says, which libsonata refuses; ``bluerecording`` has the integer types of BlueRecording. Attributes hold what
the specification has no place for; neither libsonata nor neurodamus reads them.

Rank 0 makes the file (`create`), closes it, and all ranks write the coefficients where it says; the mark ``complete``
is set last (`finish`).
"""

import ctypes
import errno
import os
import shutil
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ephysflow.errors import ConfigurationError, ResultError, SimulationError
from ephysflow.extracellular.electrode_types import OBJECTIVE_CSD
from ephysflow.extracellular.electrodes import Electrode

ELECTRODES, FACTORS = "electrodes", "scaling_factors"
PROVENANCE = "ephysflow/provenance"
COMPLETE = "complete"
"""Attribute of the file: 0 while coefficients are written, 1 when all are there."""

LAYOUTS = ("sonata", "sonata_groups", "bluerecording")
PRECISIONS = {"float64": "<f8", "float32": "<f4"}
UNITS = ("mV/nA", "V/nA")
NO_UNIT = "1"
"""Unit of objective CSD: the sum of currents in a region."""

MEMBERS = ("position", "type", "layer", "region", "reference")
"""What an electrode's group holds; a population cannot have such a name."""

_ALIGNED, _ALIGNMENT = 1 << 16, 1 << 12
"""Datasets of so many bytes begin at such a boundary: pages with coefficients hold nothing that rank 0 writes."""


@dataclass(frozen=True)
class PopulationRows:
    """Rows of the nodes of one population.

    Attributes
    ----------
    name : of the population
    node_ids : (N,) integers, ascending
    offsets : (N+1,) integers; node i has the rows offsets[i] .. offsets[i+1]
    """

    name: str
    node_ids: np.ndarray
    offsets: np.ndarray

    @property
    def n_rows(self) -> int:
        """Number of compartments."""
        return int(self.offsets[-1])


@dataclass(frozen=True)
class WeightsContents:
    """All of a weights file but the coefficients.

    Attributes
    ----------
    electrodes : columns, in order
    populations : in the order of the file
    layout : sonata, sonata_groups or bluerecording
    column_of_ones : whether a last column of ones follows the electrodes
    unit : mV/nA or V/nA
    precision : float64 or float32
    provenance : text that is kept in the file
    versions : package -> version, of the packages that change numbers
    """

    electrodes: Sequence[Electrode]
    populations: Sequence[PopulationRows]
    layout: str
    column_of_ones: bool
    unit: str
    precision: str
    provenance: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype:
        """Type of the coefficients in the file."""
        return np.dtype(PRECISIONS[self.precision])

    @property
    def n_columns(self) -> int:
        """Columns of the file: electrodes, and the one of ones."""
        return len(self.electrodes) + self.column_of_ones


def create(path: Path, contents: WeightsContents) -> dict[str, int]:
    """Make a weights file without coefficients, with room for them reserved on the disk.

    Parameters
    ----------
    path : of a file that is not there
    contents : of the file

    Returns
    -------
    population -> place of its coefficients in the file [bytes from its beginning], row after row

    Raises
    ------
    ConfigurationError, SimulationError
        if there are no electrodes, no populations or no compartments, or names collide.
    ResultError
        if the file cannot be made, or the disk has not enough room.
    """
    _check(contents)
    needed = sum(population.n_rows for population in contents.populations) * contents.n_columns
    needed *= contents.dtype.itemsize
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise ResultError(f"{path}: needs {needed:,} bytes; {path.parent} has {free:,} free")
    try:
        with h5py.File(path, "x", alignment_threshold=_ALIGNED, alignment_interval=_ALIGNMENT) as file:
            _write_nodes(file, contents)
            _write_electrodes(file, contents)
            file[PROVENANCE] = contents.provenance
            file.attrs["layout"] = contents.layout
            file.attrs["units"] = contents.unit
            file.attrs["column_of_ones"] = np.uint8(contents.column_of_ones)
            for package, version in contents.versions.items():
                file.attrs[f"version_{package}"] = version
            file.attrs[COMPLETE] = np.uint8(0)
            # last, so that all before is written by this process alone
            places = {rows.name: _reserve_factors(file, rows, contents) for rows in contents.populations}
        _reserve_disk(path)
    except OSError as error:
        raise ResultError(f"{path}: cannot be made ({needed:,} bytes of coefficients): {error}") from None
    return places


def finish(path: Path) -> None:
    """Mark a file as complete, when all coefficients are written, and flush it to the disk.

    Raises
    ------
    ResultError
        if that fails.
    """
    try:
        with h5py.File(path, "r+") as file:
            file.attrs.modify(COMPLETE, np.uint8(1))  # in place
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:
        raise ResultError(f"{path}: cannot be finished: {error}") from None


def check_complete(path: Path) -> None:
    """Check that a file was written by ephysflow, to its end.

    Raises
    ------
    ResultError
        if it was not.
    """
    with _reading(path) as file:
        mark = file.attrs.get(COMPLETE)
        if mark is None:
            raise ResultError(f"{path}: has no mark {COMPLETE!r}: it is no weights file of ephysflow")
        if np.ndim(mark) or mark != 1:
            raise ResultError(f"{path}: is not complete: the job that wrote it was stopped")
        coefficients = [item[FACTORS] for item in file[ELECTRODES].values() if FACTORS in item]
        size = path.stat().st_size
        if not coefficients or any(_end(dataset) > size for dataset in coefficients):
            raise ResultError(f"{path}: is cut off")


def read_provenance_text(path: Path) -> str:
    """Read the text that was given as `WeightsContents.provenance`.

    Raises
    ------
    ResultError
        if the file is damaged or not one of ephysflow.
    """
    with _reading(path) as file:
        return file[PROVENANCE].asstr()[()]


def read_shapes(path: Path) -> dict[str, tuple[int, int]]:
    """Return population -> number of rows and of columns of its coefficients.

    Raises
    ------
    ResultError
        if the file is damaged or no weights file.
    """
    with _reading(path) as file:
        return {name: item[FACTORS].shape for name, item in file[ELECTRODES].items() if FACTORS in item}


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open a file; errors of h5py in the block become a `ResultError`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise ResultError(f"{path}: is not there") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"{path}: is damaged, or no weights file of ephysflow: {error}") from None


def _end(dataset: h5py.Dataset) -> int:
    """Return where the values of a contiguous dataset end in its file."""
    return (dataset.id.get_offset() or 0) + dataset.id.get_storage_size()


def _check(contents: WeightsContents) -> None:
    if contents.layout not in LAYOUTS or contents.precision not in PRECISIONS or contents.unit not in UNITS:
        raise ValueError(f"{contents.layout}, {contents.precision}, {contents.unit}")
    if not contents.electrodes:
        raise ConfigurationError("a weights file needs at least one electrode")
    if not contents.populations:
        raise SimulationError("a weights file needs at least one population; there is none")
    populations = [population.name for population in contents.populations]
    electrodes = [electrode.name for electrode in contents.electrodes]
    for kind, names in (("population", populations), ("electrode", electrodes)):
        (name, count), *_ = Counter(names).most_common(1)
        if count > 1:
            raise ConfigurationError(f"{kind} {name!r} is there twice")
        for name in names:
            if not name or name == "." or "/" in name or "\0" in name:
                raise ConfigurationError(f"{kind} {name!r} cannot be a name in an HDF5 file")
    for name in populations:
        if name in (ELECTRODES, *MEMBERS, *electrodes):
            raise ConfigurationError(
                f"population {name!r} cannot be in a weights file: an electrode, or a part of the format, has that name"
            )
    for rows in contents.populations:
        if not len(rows.node_ids) or rows.n_rows == 0:
            raise SimulationError(f"population {rows.name!r} has no compartments: nothing to compute")
        ids, offsets = (np.asarray(values).astype(np.int64) for values in (rows.node_ids, rows.offsets))
        if (
            (np.diff(ids) <= 0).any()
            or len(offsets) != len(ids) + 1
            or offsets[0]
            or (np.diff(offsets) < 0).any()
        ):
            raise ValueError(f"node ids or offsets of population {rows.name!r} do not ascend")


def _write_nodes(file: h5py.File, contents: WeightsContents) -> None:
    integers = "<i8" if contents.layout == "bluerecording" else "<u8"
    for rows in contents.populations:
        group = file.require_group(rows.name)
        group["node_ids"] = np.asarray(rows.node_ids).astype(integers)
        group["offsets"] = np.asarray(rows.offsets).astype(integers)


def _write_electrodes(file: h5py.File, contents: WeightsContents) -> None:
    is_bluerecording = contents.layout == "bluerecording"
    position_type, column_type = ("<f8", "<i8") if is_bluerecording else ("<f4", "<u8")
    # what many electrodes say is stored once, under many names: making a dataset takes longer than all coefficients of
    # an electrode
    stored: dict[Hashable, h5py.Dataset] = {}

    def store(group: h5py.Group, key: str, value: Any, identity: Hashable) -> None:
        if identity not in stored:
            group[key] = value
            stored[identity] = group[key]
        else:
            group[key] = stored[identity]

    for column, electrode in enumerate(contents.electrodes):
        group = file.create_group(f"{ELECTRODES}/{electrode.name}")
        group["position"] = np.array(electrode.position, dtype=position_type)
        group["position"].attrs["units"] = "um"
        kind = electrode.type
        if is_bluerecording and not electrode.has_unit:
            kind = OBJECTIVE_CSD + electrode.method  # its sizes are attributes there
        store(group, "type", kind, (kind, electrode.radius, electrode.thickness))
        for key in ("layer", "region"):
            store(group, key, getattr(electrode, key), getattr(electrode, key))
        for rows in contents.populations:
            where = f"{rows.name}/electrode_id" if contents.layout == "sonata_groups" else rows.name
            group[where] = np.array(column, dtype=column_type)
        for key, value in _attributes(electrode, contents.unit).items():
            group.attrs[key] = value
        if is_bluerecording:
            for key in ("radius", "thickness"):
                if getattr(electrode, key) is not None:
                    group["type"].attrs[key] = getattr(electrode, key)
        if electrode.reference:
            store(group, "reference", list(electrode.reference), ("reference", electrode.reference))


def _attributes(electrode: Electrode, unit: str) -> dict[str, object]:
    """Return how an electrode's coefficients were computed; lengths in um, conductivities in S/m."""
    given: Mapping[str, object] = {
        "array": electrode.array,
        "method": electrode.method,
        "units": unit if electrode.has_unit else NO_UNIT,
        "sigma": electrode.sigma,
        "minimum_distance": electrode.minimum_distance,
        "cutoff": electrode.cutoff,
        "contact_radius": electrode.contact_radius,
        "contact_normal": electrode.contact_normal,
        "contact_points": None if electrode.contact_radius is None else electrode.contact_points,
        "field": electrode.field,
        "field_unit": electrode.field_unit,
        "outside_field": None if electrode.field is None else electrode.outside_field,
        "radius": electrode.radius,
        "thickness": electrode.thickness,
        "csd_array": electrode.csd_array,
    }
    if electrode.slice is not None:
        given = {**given, **{f"slice_{key}": value for key, value in vars(electrode.slice).items()}}
    return {key: value for key, value in given.items() if value is not None}


def _reserve_factors(file: h5py.File, rows: PopulationRows, contents: WeightsContents) -> int:
    """Make a dataset of coefficients without values, and return where in the file they belong."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # equal contents, equal bytes
    group = file.require_group(f"{ELECTRODES}/{rows.name}")
    space = h5py.h5s.create_simple((rows.n_rows, contents.n_columns))
    stored = h5py.h5t.py_create(contents.dtype)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, FACTORS.encode(), stored, space, dcpl=properties))
    dataset.attrs["units"] = contents.unit
    place = dataset.id.get_offset()
    if place is None:
        raise ResultError(
            f"{file.filename}: HDF5 {h5py.version.hdf5_version} has not reserved {dataset.name}"
        )
    return place


def _reserve_disk(path: Path) -> None:
    """Reserve the blocks of a file, so that a full disk is found out now; nothing is done where that is impossible.

    Not `os.posix_fallocate`: where the file system cannot reserve, it writes to every block, which takes as long as
    writing the file.
    """
    reserve = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if reserve is None:
        return
    reserve.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    descriptor = os.open(path, os.O_RDWR)
    try:
        if reserve(descriptor, 0, 0, os.fstat(descriptor).st_size) != 0:
            reason = ctypes.get_errno()
            if reason in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(reason, os.strerror(reason))
    finally:
        os.close(descriptor)
