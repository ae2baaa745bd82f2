"""Stimulus templates: natural movies (NumPy files), natural scenes (TIFF), and the images inside a session file."""

import math
import warnings
from pathlib import Path

import h5py
import numpy as np

from ephysflow.ecephys.intervals import children
from ephysflow.ecephys.nwb_file import dataset, member
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ProjectError

MAX_SCENE_PIXELS = 1 << 26
"""Pixels that a scene may have (natural scenes of the project have about 1 million); a TIFF of a few bytes can declare
an image that fills the memory."""

_GREY = ("L", "I", "F", "I;16", "I;16B", "I;16L")
"""Pillow's names of images with one number a pixel."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_movie(path: Path) -> np.memmap:
    """Map a movie template into memory; frames are read when they are used.

    Parameters
    ----------
    path : NumPy file (.npy) under any name: a cache folder of AllenSDK calls it ``natural_movie_<n>.h5``

    Returns
    -------
    (frames, height, width), read-only

    Raises
    ------
    ProjectError
        if it is not there, is no NumPy file, holds Python objects or anything but numbers in three dimensions, or
        has another size than its header says.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise ProjectError(
                    f"movie {path} is a NumPy file of version {version}; known are 1.0 and 2.0"
                )
            shape, by_column, kind = _HEADERS[version](stream)
            start = stream.tell()
        size = path.stat().st_size
    except FileNotFoundError:
        raise ProjectError(f"movie {path} is not there") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProjectError(f"movie {path} is no NumPy file (.npy), or is damaged: {error}") from None
    if kind.hasobject or kind.kind not in "uif":
        raise ProjectError(f"movie {path} holds values of type {kind}; numbers are needed")
    if len(shape) != 3 or min(shape) < 1:
        raise ProjectError(f"movie {path} has shape {shape}; frames x height x width are needed")
    if size != start + math.prod(shape) * kind.itemsize:
        raise ProjectError(
            f"movie {path} is damaged: {size} bytes, but its header (shape {shape}, {kind}) needs "
            f"{start + math.prod(shape) * kind.itemsize}"
        )
    return np.memmap(path, dtype=kind, mode="r", offset=start, shape=shape, order="F" if by_column else "C")


def read_scene(path: Path) -> np.ndarray:
    """Read a scene template.

    Parameters
    ----------
    path : TIFF file with one grey image, at most `MAX_SCENE_PIXELS` large

    Returns
    -------
    (height, width), of the file's type

    Raises
    ------
    ProjectError
        if it is not there, is no TIFF, is damaged, has several images or colours, or is too large.
    """
    from PIL import Image  # only scenes need it

    try:
        with warnings.catch_warnings():
            # what Pillow warns of (truncated data, suspicious sizes) is damage here
            warnings.simplefilter("error")
            with Image.open(path, formats=["TIFF"]) as image:
                width, height = image.size
                if width * height > MAX_SCENE_PIXELS:
                    raise ProjectError(
                        f"scene {path} has {width} x {height} pixels; at most {MAX_SCENE_PIXELS} are read"
                    )
                if image.mode not in _GREY or getattr(image, "n_frames", 1) != 1:
                    raise ProjectError(
                        f"scene {path} has {getattr(image, 'n_frames', 1)} images of mode {image.mode}; one grey image "
                        "is needed"
                    )
                return np.asarray(image)
    except FileNotFoundError:
        raise ProjectError(f"scene {path} is not there") from None
    # Pillow's reader of TIFF lets errors of many kinds through for damaged files
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OverflowError,
    ) as error:
        raise ProjectError(f"scene {path} is no TIFF image, or is damaged: {error}") from None
    except (Warning, MemoryError, RuntimeError, Image.DecompressionBombError) as error:
        raise ProjectError(f"scene {path} is refused: {error}") from None


def check_movie(path: Path) -> None:
    """Raise `ProjectError` unless a download is a movie; only the header is read."""
    read_movie(path)


def check_scene(path: Path) -> None:
    """Raise `ProjectError` unless a download is a scene."""
    read_scene(path)


def session_templates(session: SessionFile) -> dict[str, h5py.Dataset]:
    """Return the templates that a session file holds, in ``/stimulus/templates``; nothing is read.

    Parameters
    ----------
    session : open session file; the datasets can be used until it is closed

    Returns
    -------
    name -> dataset, to be sliced. A series of images (ImageSeries) is one entry of (frames, ...); an image of a
    collection (Images) is the entry ``<collection>/<image>``. Images that lie in other files
    (``external_file``, or a link) have no entry.

    Raises
    ------
    ProjectError
        if the file is damaged, or does not hold the values that it declares.
    """
    parent = member(session.h5, "stimulus/templates")
    found: dict[str, h5py.Dataset] = {}
    if not isinstance(parent, h5py.Group):
        return found
    for name, template in children(parent).items():
        parts = children(template) if isinstance(template, h5py.Group) else {}
        if "external_file" in parts:
            continue
        names = {"data": name} if "data" in parts else {part: f"{name}/{part}" for part in parts}
        found |= {
            entry: dataset(parent, f"{name}/{part}")
            for part, entry in names.items()
            if part != "order_of_images" and isinstance(parts[part], h5py.Dataset)
        }
    return found
