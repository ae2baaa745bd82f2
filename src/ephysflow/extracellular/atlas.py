"""Region and layer of positions, from a voxel atlas (NRRD) and the hierarchy of its regions.

Only the voxels that are asked for are read, so that an atlas of any size needs no memory. The origin is the corner of
the first voxel, as in the Allen Institute's atlases and in voxcell; the NRRD format would have it in the middle.
"""

import bz2
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import nrrd
import numpy as np

from ephysflow.errors import ConfigurationError

OUTSIDE = "Outside"
"""Region and layer of what is in no region, as BlueRecording writes it."""

UNKNOWN = "NA"
"""Layer of a region that names none."""

LAYER_SEPARATOR = ";"
"""Between region and layer in an acronym of the Blue Brain Project, e.g. ``S1FL;L5``."""

MICROMETRES = {"um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "millimeters": 1e3}
"""Unit of the space -> um."""

INTEGER_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": (
        "ulonglong",
        "unsigned long long",
        "unsigned long long int",
        "uint64",
        "uint64_t",
    ),
}
"""Types of voxels, and how NRRD spells them."""

MAX_LINES, MAX_LINE = 1000, 10_000
"""Of a header."""

MAX_HIERARCHY_BYTES = 100_000_000


def region_and_layer(
    positions: np.ndarray, atlas: Path | None, hierarchy: Path | None = None
) -> list[tuple[str, str]]:
    """Return in which region and layer positions are.

    Parameters
    ----------
    positions : (n, 3) [um]
    atlas : NRRD file of the numbers of regions; None for no atlas
    hierarchy : JSON file with the acronyms of the numbers, as the Allen Institute's; None names regions by their number

    Returns
    -------
    n pairs: "NA" and "NA" without an atlas, "Outside" and "Outside" outside of it, in voxels of 0 and in those whose
    number the hierarchy does not know. What stands behind ``;`` in an acronym is the layer; "NA" where there is none.

    Raises
    ------
    ConfigurationError
        if a file is missing, damaged, or of a kind that is not read.
    """
    if atlas is None:
        return [(UNKNOWN, UNKNOWN)] * len(positions)
    acronyms = None if hierarchy is None else read_acronyms(hierarchy)
    return [_region(number, acronyms) for number in voxel_numbers(atlas, positions)]


def _region(number: int, acronyms: Mapping[int, str] | None) -> tuple[str, str]:
    acronym = str(number) if acronyms is None else acronyms.get(number)
    if number == 0 or acronym is None:
        return OUTSIDE, OUTSIDE
    region, _, layer = (part.strip() for part in acronym.partition(LAYER_SEPARATOR))
    return region or UNKNOWN, layer or UNKNOWN


def voxel_numbers(path: Path, positions: np.ndarray) -> list[int]:
    """Return the number of the voxel at each position; 0 outside of the volume.

    Parameters
    ----------
    path : NRRD file: three axes of integers, with ``space directions``, in the file itself (raw, gzip or bzip2)
    positions : (n, 3) [um]

    Raises
    ------
    ConfigurationError
        if the file is missing, damaged, or of another kind.
    """
    try:
        with path.open("rb") as file:
            header = _header(file, path)
            sizes, dtype = _layout(header, path)
            indices = _indices(header, sizes, positions, path)
            stream, start = _voxels(file, header, path)
            # the first axis runs fastest
            places = {
                row: int(i) + sizes[0] * (int(j) + sizes[1] * int(k))
                for row, (i, j, k) in enumerate(indices)
                if ((indices[row] >= 0) & (indices[row] < sizes)).all()
            }
            numbers: dict[int, int] = {}
            # each once and forwards: a compressed file behind a header cannot be read backwards
            for place in sorted(set(places.values())):
                stream.seek(start + place * dtype.itemsize)
                numbers[place] = int(np.frombuffer(stream.read(dtype.itemsize), dtype, 1)[0])
            return [numbers[places[row]] if row in places else 0 for row in range(len(positions))]
    except FileNotFoundError:
        raise ConfigurationError(f"atlas {path} is not there") from None
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise ConfigurationError(
            f"atlas {path} cannot be read ({error}); it is damaged or not whole"
        ) from None


def read_acronyms(path: Path) -> dict[int, str]:
    """Read the acronym of each region of a hierarchy.

    Parameters
    ----------
    path : JSON: a region with ``id``, ``acronym`` and ``children`` (regions), or the Allen Institute's ``{"msg": [...]}``

    Raises
    ------
    ConfigurationError
        if the file is missing or is no hierarchy.
    """
    try:
        if path.stat().st_size > MAX_HIERARCHY_BYTES:
            raise ConfigurationError(f"{path}: has more than {MAX_HIERARCHY_BYTES} bytes; is it a hierarchy?")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(f"hierarchy {path} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"hierarchy {path} cannot be read as JSON: {error}") from None
    if isinstance(content, dict) and "msg" in content:
        content = content["msg"]
    waiting = list(content) if isinstance(content, list) else [content]
    acronyms: dict[int, str] = {}
    while waiting:
        region = waiting.pop()
        if (
            not isinstance(region, dict)
            or type(region.get("id")) is not int
            or not isinstance(region.get("acronym"), str)
            or not isinstance(region.get("children", []), list)
        ):
            raise ConfigurationError(
                f"{path}: needed are regions with id (integer), acronym (text) and children (regions)"
            )
        acronyms[region["id"]] = region["acronym"]
        waiting += region.get("children", [])
    return acronyms


def _header(file: IO[bytes], path: Path) -> Mapping[str, Any]:
    """Read the header; the file is left where the voxels begin."""
    lines: list[bytes] = []
    for _ in range(MAX_LINES):
        line = file.readline(MAX_LINE)
        if not line.strip() or (not lines and not line.startswith(b"NRRD")):
            break
        lines.append(line)
    try:
        header = nrrd.read_header(lines)
    except Exception as error:  # pynrrd checks little: a wrong header fails anywhere
        raise ConfigurationError(
            f"atlas {path} has no NRRD header: {type(error).__name__}: {error}"
        ) from None
    if missing := [key for key in ("type", "dimension", "sizes", "encoding") if key not in header]:
        raise ConfigurationError(f"atlas {path}: {', '.join(missing)} is missing in the header")
    return header


def _layout(header: Mapping[str, Any], path: Path) -> tuple[list[int], np.dtype]:
    """Return the sizes of the three axes, and the type of the voxels."""
    sizes = [int(size) for size in header["sizes"]]
    if header["dimension"] != 3 or len(sizes) != 3 or min(sizes) < 1:
        raise ConfigurationError(
            f"atlas {path}: has sizes {sizes}; needed are three axes, with one number per voxel"
        )
    code = next((code for code, names in INTEGER_TYPES.items() if header["type"] in names), None)
    if code is None:
        raise ConfigurationError(
            f"atlas {path}: type {header['type']!r} of the voxels is not an integer, as numbers of regions are"
        )
    dtype = np.dtype(code)
    if dtype.itemsize > 1 and header.get("endian") not in ("little", "big"):
        raise ConfigurationError(f"atlas {path}: endian {header.get('endian')!r} must be little or big")
    return sizes, dtype.newbyteorder(">" if header.get("endian") == "big" else "<")


def _indices(
    header: Mapping[str, Any], sizes: Sequence[int], positions: np.ndarray, path: Path
) -> np.ndarray:
    """Return (n, 3) indices of the voxels that positions are in; -1 for what is far outside."""
    directions = np.array(header.get("space directions"), dtype=np.float64)
    origin = np.array(header.get("space origin", (0.0, 0.0, 0.0)), dtype=np.float64)
    scales = []
    for unit in header.get("space units", ["um"] * 3):
        if unit not in MICROMETRES:
            raise ConfigurationError(
                f"atlas {path}: space units {unit!r} is unknown; allowed are {', '.join(MICROMETRES)}"
            )
        scales.append(MICROMETRES[unit])
    if directions.shape != (3, 3) or origin.shape != (3,) or len(scales) != 3:
        raise ConfigurationError(
            f"atlas {path}: needed are space directions (three vectors) and a space origin in three dimensions"
        )
    # rows of the directions are the steps along the axes: position = origin + index @ directions
    try:
        indices = np.linalg.solve((directions * scales).T, (positions - origin * scales).T).T
    except np.linalg.LinAlgError:
        indices = np.full((1, 3), np.nan)
    if not np.isfinite(indices).all():
        raise ConfigurationError(
            f"atlas {path}: space directions and space origin must be finite, and the directions independent"
        )
    return np.clip(np.floor(indices), -1, sizes).astype(np.int64)


def _voxels(file: IO[bytes], header: Mapping[str, Any], path: Path) -> tuple[IO[bytes], int]:
    """Return a stream of the voxels, and where in it the first one is."""
    for key in ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"):
        if header.get(key, 0) != 0:
            raise ConfigurationError(
                f"atlas {path}: {key} is not supported; needed are voxels right behind the header"
            )
    encoding = header["encoding"]
    if encoding == "raw":
        return file, file.tell()
    if encoding in ("gzip", "gz"):
        return gzip.GzipFile(fileobj=file), 0  # type: ignore[return-value]
    if encoding in ("bzip2", "bz2"):
        return bz2.BZ2File(file), 0
    raise ConfigurationError(
        f"atlas {path}: encoding {encoding!r} is not supported; allowed are raw, gzip and bzip2"
    )
