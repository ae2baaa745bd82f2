"""MATLAB files (.mat, versions 4 to 7) in which HEKA's Patchmaster exports traces."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, first_bytes, main_file, refusing, regular_step
from ephysflow.recordings.sweep import RawSweep

# zlib cannot shrink by more than this, so a larger announced array is an error or an attack.
_LARGEST_COMPRESSION = 1100


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give one sweep for each pair `..Trace.._1` (current) and `..Trace.._2` (voltage).

    Each variable has two columns, times and values; the file states no units.

    Raises
    ------
    RecordingError
        if the file is damaged, of version 7.3, or holds no such variable.
    """
    path = main_file(entry)
    if first_bytes(path, 19).startswith(b"MATLAB 7.3"):
        raise RecordingError(f"{path.name}: MATLAB 7.3 files are not read; save it again with the option -v7")
    with refusing(f"{path.name}: not a MATLAB file of version 4 to 7, or damaged"):
        from scipy.io import whosmat

        shapes = {name: shape for name, shape, _ in whosmat(str(path))}
    stems = [name[:-2] for name in shapes if "Trace" in name and name.endswith("_1")]
    if not stems:
        raise RecordingError(
            f"{path.name}: no variable named ..Trace.._1; it holds: {', '.join(shapes) or 'none'}"
        )
    yield [FoundSweep(stem, (), None, partial(_read, path, stem, shapes)) for stem in stems]


def _read(path: Path, stem: str, shapes: Mapping[str, tuple[int, ...]]) -> RawSweep:
    names = [f"{stem}_1", f"{stem}_2"]
    for name in names:
        if name not in shapes:
            raise RecordingError(f"the file has no {name} beside {names[0]}")
        shape = shapes[name]
        if len(shape) != 2 or shape[1] < 2:
            raise RecordingError(
                f"{name} has the shape {shape}; a column of times and one of values are needed"
            )
        if 8 * shape[0] * shape[1] > _LARGEST_COMPRESSION * path.stat().st_size:
            raise RecordingError(f"{name} announces {shape[0]} samples, more than the file can hold")
    from scipy.io import loadmat

    current, voltage = (np.asarray(loadmat(str(path), variable_names=[name])[name]) for name in names)
    return RawSweep(
        voltage=voltage[:, 1],
        current=current[:, 1],
        dt=regular_step(voltage[:, 0].astype(float)),
        sweep_id=stem,
    )
