"""Morphologies of neurons, read with MorphIO: neurites as polylines in local coordinates.

The origin of coordinates is the position of the node. Blue Brain's morphologies have their soma there; those that do
not are moved (`recentred`).
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import h5py
import morphio
import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL
from ephysflow.sonata import hdf5
from ephysflow.sonata.simulation_config import MORPHOLOGY_SUBFOLDERS, MorphologyFolders

NAME = re.compile(r"[^/\\\0]{1,250}")
COLOURS = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True)
class Morphology:
    """The neurites of a cell, section after section as in its file.

    Attributes
    ----------
    name : of the morphology
    points : (P, 3) um; a section repeats the last point of its parent
    diameters : (P,) um
    section_offsets : (S+1,) section k has the points offsets[k] .. offsets[k+1]
    section_types : (S,) AXON, BASAL or APICAL
    parents : (S,) parent of each section, -1 for those that begin at the soma
    soma_centre : (3,) um; the origin where the file has no soma
    soma_radius : mean distance of the soma's contour from its centre, or the radius of a soma of one or three points,
        or that of a sphere with the surface of a soma of cylinders; 0 where the file has no soma [um]
    """

    name: str
    points: np.ndarray
    diameters: np.ndarray
    section_offsets: np.ndarray
    section_types: np.ndarray
    parents: np.ndarray
    soma_centre: np.ndarray
    soma_radius: float

    def section(self, k: int) -> slice:
        """Return which points section k has."""
        return slice(int(self.section_offsets[k]), int(self.section_offsets[k + 1]))


def recentred(morphology: Morphology) -> Morphology:
    """Return a morphology moved so that the centre of its soma is at the origin."""
    return replace(
        morphology,
        points=morphology.points - morphology.soma_centre,
        soma_centre=np.zeros_like(morphology.soma_centre),
    )


def read_morphology(folders: MorphologyFolders, name: str) -> Morphology:
    """Read a morphology by its name.

    Where it is looked for is said at `morphology_file`.

    Parameters
    ----------
    folders : where the configuration says that morphologies are
    name : of the morphology; its extension may be left out

    Raises
    ------
    SimulationError
        if it is in none of the places, which are named, or cannot be used.
    """
    found = _found(folders, name)
    if found is None:
        places = ", ".join(str(path) for path, _ in _candidates(folders, name))
        raise SimulationError(
            f"morphology {name!r} is not there (looked for: {places or 'no folder: components name none'})"
        )
    path, in_container = found
    state = path.stat()
    return _read(path, in_container, name, state.st_mtime_ns, state.st_size)


def morphology_file(folders: MorphologyFolders, name: str) -> Path | None:
    """Return the file that holds a morphology, a container included; None when there is none.

    The formats in order: neurolucida-asc, h5v1 and swc where the configuration names their places; where it names
    ``morphologies_dir`` alone, any format there and in the customary folders below (`MORPHOLOGY_SUBFOLDERS`). A place that ends
    with ``.h5`` is a container, which has a group for each morphology.

    Raises
    ------
    SimulationError
        if the name is none of a file, or a place cannot be read.
    """
    found = _found(folders, name)
    return found and found[0]


def _found(folders: MorphologyFolders, name: str) -> tuple[Path, bool] | None:
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise SimulationError(f"morphology {name!r} is not a name of a file")
    try:
        for path, is_container in _candidates(folders, name):
            if path.is_file() and (not is_container or _contains(path, name)):
                return path, is_container
    except OSError as error:
        raise SimulationError(f"morphology {name!r} cannot be looked for: {error}") from None
    return None


def _candidates(folders: MorphologyFolders, name: str) -> list[tuple[Path, bool]]:
    """Return the files that may hold a morphology, and whether they are containers."""
    if folders.swc is not None and folders.is_customary:
        places = [
            (folders.swc / below, suffix) for suffix, all_ in MORPHOLOGY_SUBFOLDERS.items() for below in all_
        ]
    else:
        formats = ((folders.asc, ".asc"), (folders.h5, ".h5"), (folders.swc, ".swc"))
        places = [(place, suffix) for place, suffix in formats if place is not None]
    return [
        # BMTK's circuits give names with an extension
        (place, True) if place.suffix == ".h5" else (place / (name.removesuffix(suffix) + suffix), False)
        for place, suffix in places
    ]


def _contains(path: Path, name: str) -> bool:
    # asked first, as MorphIO lets HDF5 print pages where a group is missing
    with hdf5.opened(path, "morphology") as file:
        return name in file


@lru_cache(maxsize=64)  # cells of a circuit share morphologies
def _read(path: Path, in_container: bool, name: str, mtime: int, size: int) -> Morphology:
    where = f"morphology {path}: {name}" if in_container else f"morphology {path}"
    # warnings are collected and dropped: they would be thousands of lines for some circuits
    warnings = morphio.WarningHandlerCollector()
    try:
        if h5py.is_hdf5(path):
            _check_sizes(path, name if in_container else "/")
        if in_container:
            with morphio.Collection(str(path)) as container:
                read = container.load(name, warning_handler=warnings)
        else:
            read = morphio.Morphology(str(path), warning_handler=warnings)
        points, diameters = np.asarray(read.points, np.float64), np.asarray(read.diameters, np.float64)
        offsets = np.asarray(read.section_offsets, dtype=np.int64)
        types = np.asarray(read.section_types, dtype=np.int64)
        soma_points = np.asarray(read.soma.points, np.float64)
        soma_diameters = np.asarray(read.soma.diameters, np.float64)
        soma_type = read.soma.type
        parents = np.full(len(types), -1, dtype=np.int64)
        for parent, children in read.connectivity.items():
            parents[children] = parent
    except (morphio.MorphioError, RuntimeError, ValueError, OSError, MemoryError) as error:
        reason = " ".join(COLOURS.sub("", str(error)).split())
        raise SimulationError(f"{where} cannot be read: {reason[:500]}") from None
    if not len(soma_points) and not len(types):
        raise SimulationError(f"{where} has neither a soma nor neurites; is it a morphology?")
    if not all(np.isfinite(values).all() for values in (points, diameters, soma_points, soma_diameters)):
        raise SimulationError(f"{where}: a point or diameter is not a finite number")
    if (diameters < 0).any() or (soma_diameters < 0).any():
        raise SimulationError(f"{where}: a diameter is negative")
    if (np.diff(offsets) < 1).any():
        raise SimulationError(f"{where}: section {np.argmin(np.diff(offsets))} has no points")
    if (parents >= np.arange(len(parents))).any():
        raise SimulationError(f"{where}: a section comes before its parent")
    if strange := sorted(set(types.tolist()) - {AXON, BASAL, APICAL}):
        raise SimulationError(
            f"{where}: sections of type {strange[0]}; known are {AXON} (axon), {BASAL} (basal dendrite) "
            f"and {APICAL} (apical dendrite)"
        )
    radius = _soma_radius(soma_type, soma_points, soma_diameters)
    centre = np.asarray(read.soma.center, np.float64) if len(soma_points) else np.zeros(3)
    return Morphology(name, points.reshape(-1, 3), diameters, offsets, types, parents, centre, radius)


def _check_sizes(path: Path, group: str) -> None:
    """Refuse datasets that declare more than the file holds: MorphIO would reserve memory for them."""
    with hdf5.opened(path, "morphology") as file:
        parent = hdf5.group(file, group, path)
        for name in ("points", "structure"):
            if name in parent:
                hdf5.dataset(parent, name, hdf5.NUMBERS, 2, path)


def _soma_radius(kind: morphio.SomaType, points: np.ndarray, diameters: np.ndarray) -> float:
    if len(points) == 0:
        return 0.0
    if kind == morphio.SomaType.SOMA_CYLINDERS:
        r, height = diameters / 2, np.linalg.norm(np.diff(points, axis=0), axis=1)
        sides = np.pi * (r[1:] + r[:-1]) * np.hypot(height, np.diff(r))  # of truncated cones
        return float(np.sqrt(sides.sum() / (4 * np.pi)))
    if kind in (morphio.SomaType.SOMA_SIMPLE_CONTOUR, morphio.SomaType.SOMA_UNDEFINED):
        return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())
    return float(diameters[0]) / 2
