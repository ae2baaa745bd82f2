"""The products ``lfp`` and ``csd``: copies of what the LFP file of a probe holds."""

import math
from collections.abc import Sequence
from pathlib import Path

import h5py

from ephysflow.ecephys.intervals import read_invalid_times
from ephysflow.ecephys.lfp import LfpFile, copy_lfp
from ephysflow.ecephys.session_file import SessionFile


def lfp(
    session: SessionFile, file: h5py.File, probe: str, lfp_file: Path, interval: Sequence[float] | None
) -> None:
    """Copy the LFP of a probe, NaN in the session's invalid times.

    Parameters
    ----------
    session : the open session file
    file : HDF5 file to write to
    probe : id
    lfp_file : NWB file of the probe
    interval : first and last time that are copied [s]; None for all
    """
    start, stop = (-math.inf, math.inf) if interval is None else interval
    with LfpFile(lfp_file, probe, read_invalid_times(session)) as found:
        copy_lfp(found, file, start, stop)


def csd(session: SessionFile, file: h5py.File, probe: str, lfp_file: Path) -> None:
    """Copy the current source density of a probe: ``times`` (T,), ``values`` (C, T), ``x`` and ``y`` (C,).

    Arguments as in `lfp`; `session` is not read.
    """
    with LfpFile(lfp_file, probe) as found:
        density = found.csd()
    units = {"times": "s", "values": density.unit, "x": density.position_unit, "y": density.position_unit}
    for name, unit in units.items():
        dataset = file.create_dataset(name, data=getattr(density, name))
        dataset.attrs["unit"] = unit
