"""Fields of simulations by finite elements: the potential or electric field in tissue while an electrode injects a current.

Two kinds of files are read, told apart by what is in them:

* the HDF5 export of Sim4Life with BlueRecording's scalar ``CurrentApplied``: axes [m] below ``Meshes``, values below
  ``FieldGroups``; real parts only; components of an electric field lie in the middle of the grid's edges;
* a plain grid, HDF5 or npz: axes ``x``, ``y``, ``z`` (um; in HDF5 each may have an attribute ``units``: um, mm or m),
  ``potential`` (nx, ny, nz) or ``electric_field`` (nx, ny, nz, 3), and the scalar ``current`` that was injected.

The axes ascend; their steps need not be equal.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import ConfigurationError, SimulationError
from ephysflow.sonata.hdf5 import MAX_COMPRESSION, NUMBERS, dataset, group, opened, text_attribute

MILLIVOLT_PER_NANOAMPERE = {"V/nA": 1e3, "mV/nA": 1.0, "V/A": 1e-6}
"""Unit of a potential per current -> mV/nA."""

MICROMETRES = {"um": 1.0, "mm": 1e3, "m": 1e6}
"""Unit of a plain grid's axis -> um."""

WORDS = {"potential": "a potential", "electric_field": "an electric field"}
SIM4LIFE_NAMES = {"potential": "EM Potential(x,y,z,f0)", "electric_field": "EM E(x,y,z,f0)"}

AXES = "xyz"

NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

Load = Callable[[str, int, tuple[int, ...] | None], np.ndarray]
"""Read a dataset as float64, given its name, dimensions and shape (None: any)."""


@dataclass(frozen=True)
class Grid:
    """One component of a field.

    Attributes
    ----------
    axes : three ascending axes [um]
    values : (nx, ny, nz) float64
    """

    axes: Sequence[np.ndarray]
    values: np.ndarray


@dataclass(frozen=True)
class Field:
    """A field per injected current.

    Attributes
    ----------
    grids : one of the potential [mV/nA], or three of the electric field along x, y and z [mV/(nA um)]
    """

    grids: Sequence[Grid]

    def outside(self, points: np.ndarray) -> np.ndarray:
        """Return (C,) which points [um] lie outside of a grid; a point at NaN does not count."""
        found = np.zeros(len(points), dtype=bool)
        for grid in self.grids:
            for axis, along in zip(grid.axes, points.T, strict=True):
                found |= (along < axis[0]) | (along > axis[-1])
        return found

    def at(self, points: np.ndarray) -> np.ndarray:
        """Interpolate linearly along all three axes.

        What comes out for a point depends on no other point, not even in its last bit.

        Parameters
        ----------
        points : (C, 3) um

        Returns
        -------
        (C, number of grids); NaN outside of the grid and for points at NaN
        """
        found = np.full((len(points), len(self.grids)), np.nan)
        inside = np.flatnonzero(~self.outside(points) & ~np.isnan(points).any(axis=1))
        for component, grid in enumerate(self.grids):
            found[inside, component] = _trilinear(grid, points[inside])
        return found


def read_field(path: Path, quantity: str, unit: str) -> Field:
    """Read a field file.

    Parameters
    ----------
    path : Sim4Life's HDF5, or a plain grid in HDF5 or npz
    quantity : ``potential`` or ``electric_field``
    unit : what the file's values are after division by its current: a key of `MILLIVOLT_PER_NANOAMPERE`;
        for an electric field the same per metre (V/nA: V/m per nA)

    Returns
    -------
    the potential [mV/nA], or the electric field [mV/(nA um)]

    Raises
    ------
    ConfigurationError
        if the unit is not known.
    SimulationError
        if the file is missing or damaged, holds another quantity, or its datasets do not fit together.
    """
    if unit not in MILLIVOLT_PER_NANOAMPERE:
        allowed = ", ".join(MILLIVOLT_PER_NANOAMPERE)
        raise ConfigurationError(f"{path}: the unit of the field is {unit!r}; allowed are {allowed}")
    factor = MILLIVOLT_PER_NANOAMPERE[unit]
    if quantity == "electric_field":
        factor /= MICROMETRES["m"]
    try:
        if h5py.is_hdf5(path):
            return _read_hdf5(path, quantity, factor)
        if _starts_as_zip(path):
            return _read_npz(path, quantity, factor)
    except MemoryError:
        raise SimulationError(f"field file {path} does not fit into memory") from None
    raise SimulationError(f"field file {path} is neither HDF5 nor npz")


def _trilinear(grid: Grid, points: np.ndarray) -> np.ndarray:
    """Return the values at points inside of the grid."""
    cells, weights = [], []
    for axis, along in zip(grid.axes, points.T, strict=True):
        # a point on the last plane belongs to the last cell
        cell = np.minimum(np.searchsorted(axis, along, side="right") - 1, len(axis) - 2)
        cells.append(cell)
        weights.append((along - axis[cell]) / (axis[cell + 1] - axis[cell]))
    (i, j, k), (u, v, w) = cells, weights

    def along_z(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return grid.values[i, j, k] * (1 - w) + grid.values[i, j, k + 1] * w

    def along_y(i: np.ndarray) -> np.ndarray:
        return along_z(i, j) * (1 - v) + along_z(i, j + 1) * v

    return along_y(i) * (1 - u) + along_y(i + 1) * u


def _starts_as_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise SimulationError(f"field file {path} cannot be read: {error.strerror}") from None


def _read_hdf5(path: Path, quantity: str, factor: float) -> Field:
    with opened(path, "field") as file:
        if "FieldGroups" in file:
            return _sim4life(file, path, quantity, factor)
        load = partial(_load_hdf5, file, path)
        units = [_micrometres(file, name, path) for name in AXES]
        return _plain(load, list(file), units, path, quantity, factor)


def _read_npz(path: Path, quantity: str, factor: float) -> Field:
    with _naming_zip(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        return _plain(partial(_load_npz, archive, path), names, [1.0] * len(AXES), path, quantity, factor)


def _plain(
    load: Load, names: Collection[str], units: Sequence[float], path: Path, quantity: str, factor: float
) -> Field:
    """Read the datasets of a plain grid."""
    other = next(name for name in WORDS if name != quantity)
    if quantity not in names and other in names:
        raise SimulationError(_other_quantity(path, quantity, other))
    axes = [
        _checked_axis(load(name, 1, None), unit, f"{path}: {name}")
        for name, unit in zip(AXES, units, strict=True)
    ]
    scale = factor / _checked_current(load("current", 0, ()), f"{path}: current")
    shape = tuple(len(axis) for axis in axes)
    if quantity == "potential":
        values = _scaled(load(quantity, 3, shape), scale, f"{path}: {quantity}")
        return Field([Grid(axes, values)])
    values = _scaled(load(quantity, 4, (*shape, 3)), scale, f"{path}: {quantity}")
    return Field([Grid(axes, values[..., component]) for component in range(3)])


def _sim4life(file: h5py.File, path: Path, quantity: str, factor: float) -> Field:
    """Read Sim4Life's layout; of several field groups with the quantity the last, as BlueRecording does."""
    current = _load_hdf5(file, path, "CurrentApplied", 0, ())
    scale = factor / _checked_current(current, f"{path}: /CurrentApplied")
    snapshot = _snapshot(group(file, "FieldGroups", path), path, quantity)
    axes = _sim4life_axes(file, path)
    shape = tuple(len(axis) for axis in axes)
    # the last dimension of the values: real and imaginary part
    if quantity == "potential":
        values = _real_part(snapshot, "comp0", shape, path)
        return Field([Grid(axes, _scaled(values, scale, f"{path}: {snapshot.name}/comp0"))])
    grids = []
    for component in range(3):
        name = f"comp{component}"
        middles = [
            (axis[1:] + axis[:-1]) / 2 if along == component else axis for along, axis in enumerate(axes)
        ]
        if len(middles[component]) < 2:
            raise SimulationError(
                f"{path}: axis_{AXES[component]} has {len(axes[component])} points; an electric field needs 3"
            )
        values = _real_part(snapshot, name, tuple(len(axis) for axis in middles), path)
        grids.append(Grid(middles, _scaled(values, scale, f"{path}: {snapshot.name}/{name}")))
    return Field(grids)


def _snapshot(fields: h5py.Group, path: Path, quantity: str) -> h5py.Group:
    """Return the group of the components of a quantity."""
    found = {}
    for name, within in SIM4LIFE_NAMES.items():
        for key in fields:
            item = fields.get(f"{key}/AllFields/{within}/_Object/Snapshots/0")
            if isinstance(item, h5py.Group):
                found[name] = item
    if quantity in found:
        return found[quantity]
    if found:
        raise SimulationError(_other_quantity(path, quantity, next(iter(found))))
    where = f"/FieldGroups/.../AllFields/{SIM4LIFE_NAMES[quantity]}/_Object/Snapshots/0"
    raise SimulationError(f"{path}: group {where} is missing")


def _sim4life_axes(file: h5py.File, path: Path) -> list[np.ndarray]:
    """Return the axes of the first mesh [um]; they may lie deeper than in the mesh's own group."""
    meshes = group(file, "Meshes", path)
    first = next(iter(meshes), None)
    if first is None:
        raise SimulationError(f"{path}: /Meshes holds no mesh")
    mesh = group(meshes, first, path)
    if "axis_x" not in mesh:
        mesh = mesh.visititems(_with_axes) or mesh
    return [
        _checked_axis(
            _load_hdf5(mesh, path, f"axis_{name}", 1, None),
            MICROMETRES["m"],
            f"{path}: {mesh.name}/axis_{name}",
        )
        for name in AXES
    ]


def _with_axes(_: str, item: h5py.Group | h5py.Dataset) -> h5py.Group | None:
    return item if isinstance(item, h5py.Group) and "axis_x" in item else None


def _real_part(parent: h5py.Group, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    found = dataset(parent, name, NUMBERS, 4, path)
    _check_shape(found.shape, (*shape, 2), f"{path}: {found.name}")
    return found.astype(np.float64)[..., 0]


def _load_hdf5(
    parent: h5py.Group, path: Path, name: str, ndim: int, shape: tuple[int, ...] | None
) -> np.ndarray:
    found = dataset(parent, name, NUMBERS, ndim, path)
    _check_shape(found.shape, shape, f"{path}: {found.name}")
    return np.asarray(found.astype(np.float64)[()])


def _micrometres(file: h5py.File, name: str, path: Path) -> float:
    """Return how many um the unit of a plain grid's axis has."""
    unit = text_attribute(dataset(file, name, NUMBERS, 1, path), "units") or "um"
    if unit not in MICROMETRES:
        raise SimulationError(f"{path}: /{name} has the unit {unit!r}; allowed are {', '.join(MICROMETRES)}")
    return MICROMETRES[unit]


def _load_npz(
    archive: zipfile.ZipFile, path: Path, name: str, ndim: int, shape: tuple[int, ...] | None
) -> np.ndarray:
    """Read an array of an npz file after comparing what it declares with what the file holds."""
    where = f"{path}: {name}"
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        there = ", ".join(archive.namelist()) or "nothing"
        raise SimulationError(f"{where} is missing (there is: {there})") from None
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SimulationError(f"{where} is compressed by another method than deflate")
    stored = min(member.compress_size, path.stat().st_size)
    if member.file_size > MAX_COMPRESSION * stored:
        raise SimulationError(f"{where} declares {member.file_size} bytes, but the file does not hold them")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in NPY_HEADERS:
            raise SimulationError(
                f"{where} has version {version} of the npy format; known are (1, 0) and (2, 0)"
            )
        declared, _, dtype = NPY_HEADERS[version](stream)
        header = stream.tell()
    if dtype.kind not in NUMBERS or len(declared) != ndim:
        raise SimulationError(
            f"{where} has type {dtype} and shape {declared}; needed are numbers in {ndim} dimensions"
        )
    _check_shape(declared, shape, where)
    size = dtype.itemsize
    for length in declared:
        size *= length
    if min(declared, default=0) < 0 or header + size != member.file_size:
        raise SimulationError(f"{where} declares {declared} values, but the file does not hold them")
    with archive.open(member) as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False)
        # the checksum is compared at the end of the member
        stream.read(1)
    return values.astype(np.float64, copy=False)


@contextmanager
def _naming_zip(path: Path) -> Iterator[None]:
    """Turn what the readers of zip and npy raise for damaged files into a `SimulationError` that names the file."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error),
        *(OSError, EOFError, RuntimeError, ValueError, TypeError, SyntaxError, OverflowError),
    ) as error:
        raise SimulationError(f"field file {path} is not an npz file, or is damaged: {error}") from None


def _checked_axis(values: np.ndarray, unit: float, where: str) -> np.ndarray:
    """Return an axis in um."""
    with np.errstate(over="ignore", invalid="ignore"):
        axis = values * unit
        steps = np.diff(axis)
    if len(axis) < 2:
        raise SimulationError(f"{where} has {len(axis)} points; needed are at least 2")
    if not (np.isfinite(axis).all() and np.isfinite(steps).all() and (steps > 0).all()):
        raise SimulationError(f"{where} must be finite and ascend strictly")
    return axis


def _checked_current(value: np.ndarray, where: str) -> float:
    current = float(value)
    if not np.isfinite(current) or current == 0:
        raise SimulationError(f"{where} is {current}; needed is a finite current that is not 0")
    return current


def _scaled(values: np.ndarray, scale: float, where: str) -> np.ndarray:
    """Scale values in place, since a field may fill much of the memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scale
    # the smallest and the largest are NaN if any value is
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        count = np.count_nonzero(~np.isfinite(values))
        raise SimulationError(f"{where}: {count} of {values.size} values are not finite")
    return values


def _check_shape(found: tuple[int, ...], needed: tuple[int, ...] | None, where: str) -> None:
    if needed is not None and found != needed:
        raise SimulationError(f"{where} has shape {found}; the axes need {needed}")


def _other_quantity(path: Path, quantity: str, other: str) -> str:
    return (
        f"{path} holds {WORDS[other]}, but {WORDS[quantity]} is needed "
        "(type Reciprocity needs a potential, DipoleReciprocity an electric field)"
    )
