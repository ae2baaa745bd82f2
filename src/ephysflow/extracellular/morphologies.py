"""Morphologies of neurons, read with MorphIO: neurites as polylines in local coordinates.

The origin of coordinates is the position of the node, where the soma is (SONATA extension, morphologies).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import morphio
import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL
from ephysflow.sonata.simulation_config import MorphologyFolders

SUBFOLDERS = {
    ".asc": ("", "ascii", "asc", "morphologies_asc"),
    ".h5": ("", "h5", "h5v1", "morphologies_h5"),
    ".swc": ("", "swc", "morphologies_swc"),
}
"""Extension -> folders below ``morphologies_dir`` that are looked in when no other place is named."""

NAME = re.compile(r"[^/\\\0]{1,250}")
COLOURS = re.compile("\x1b\\[[0-9;]*m")

morphio.set_maximum_warnings(0)  # they go to stderr, thousands of lines for some circuits


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
    soma_radius : mean distance of the soma's contour from its centre, or the radius of a soma of one or three points;
        0 where the file has no soma [um]
    """

    name: str
    points: np.ndarray
    diameters: np.ndarray
    section_offsets: np.ndarray
    section_types: np.ndarray
    parents: np.ndarray
    soma_radius: float

    def section(self, k: int) -> slice:
        """Return which points section k has."""
        return slice(int(self.section_offsets[k]), int(self.section_offsets[k + 1]))


def read_morphology(folders: MorphologyFolders, name: str) -> Morphology:
    """Read a morphology by its name.

    Parameters
    ----------
    folders : where the configuration says that morphologies are
    name : of the morphology, without extension

    Raises
    ------
    SimulationError
        if it is in none of the places, which are named, or cannot be used.
    """
    path = morphology_file(folders, name)
    if path is None:
        places = ", ".join(map(str, _candidates(folders, name))) or "no folder: components name none"
        raise SimulationError(f"morphology {name!r} is not there (looked for: {places})")
    state = path.stat()
    return _read(path, name, state.st_mtime_ns, state.st_size)


def morphology_file(folders: MorphologyFolders, name: str) -> Path | None:
    """Return the file that holds a morphology, a container included; None when there is none.

    The formats in order: neurolucida-asc, h5v1 and swc where the configuration names their places; where it names
    ``morphologies_dir`` alone, any format there and in the customary folders below.
    """
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise SimulationError(f"morphology {name!r} is not a name of a file")
    return next((path for path in _candidates(folders, name) if path.is_file()), None)


def _candidates(folders: MorphologyFolders, name: str) -> list[Path]:
    places = [(folders.asc, ".asc"), (folders.h5, ".h5"), (folders.swc, ".swc")]
    found = [
        place if place.suffix == ".h5" else place / f"{name}{suffix}" for place, suffix in places if place
    ]
    if folders.swc is not None and folders.places == [folders.swc] and folders.swc.suffix != ".h5":
        found = [
            folders.swc / below / f"{name}{suffix}" for suffix, all_ in SUBFOLDERS.items() for below in all_
        ]
    return found


@lru_cache(maxsize=64)  # cells of a circuit share morphologies
def _read(path: Path, name: str, mtime: int, size: int) -> Morphology:
    try:
        if path.stem != name and path.suffix == ".h5":
            read = morphio.Collection(str(path)).load(name)
        else:
            read = morphio.Morphology(str(path))
        points, diameters = np.asarray(read.points, np.float64), np.asarray(read.diameters, np.float64)
        offsets = np.asarray(read.section_offsets, dtype=np.int64)
        types = np.asarray(read.section_types, dtype=np.int64)
        radius = _soma_radius(read.soma)
        parents = np.full(len(types), -1, dtype=np.int64)
        for parent, children in read.connectivity.items():
            parents[children] = parent
    except (morphio.MorphioError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(COLOURS.sub("", str(error)).split())
        raise SimulationError(f"morphology {path} cannot be read: {reason[:500]}") from None
    if not (np.isfinite(points).all() and np.isfinite(diameters).all()):
        raise SimulationError(f"morphology {path}: a point or diameter is not a finite number")
    if (diameters < 0).any():
        raise SimulationError(f"morphology {path}: diameter {diameters.min():.6g} is negative")
    if (np.diff(offsets) < 1).any():
        raise SimulationError(f"morphology {path}: section {np.argmin(np.diff(offsets))} has no points")
    if (parents >= np.arange(len(parents))).any():
        raise SimulationError(f"morphology {path}: a section comes before its parent")
    if strange := sorted(set(types.tolist()) - {AXON, BASAL, APICAL}):
        raise SimulationError(
            f"morphology {path}: sections of type {strange[0]}; known are {AXON} (axon), {BASAL} (basal dendrite) "
            f"and {APICAL} (apical dendrite)"
        )
    return Morphology(name, points.reshape(-1, 3), diameters, offsets, types, parents, radius)


def _soma_radius(soma: morphio.Soma) -> float:
    points = np.asarray(soma.points, np.float64)
    if len(points) == 0 or not np.isfinite(points).all():
        return 0.0
    contours = (morphio.SomaType.SOMA_SIMPLE_CONTOUR, morphio.SomaType.SOMA_UNDEFINED)
    if soma.type in contours and len(points) > 1:
        return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())
    return float(soma.diameters[0]) / 2
