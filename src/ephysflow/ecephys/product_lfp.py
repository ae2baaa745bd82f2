"""The products ``lfp`` and ``csd``: copies of what the LFP file of a probe holds."""

import math
from collections.abc import Sequence
from pathlib import Path

import h5py

from ephysflow.ecephys.intervals import read_invalid_times
from ephysflow.ecephys.lfp import Lfp, LfpFile, copy_lfp, lfp_of_probe
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ProjectError


def lfp(
    session: SessionFile,
    file: h5py.File,
    probe: str,
    lfp_file: Path | None,
    interval: Sequence[float] | None,
) -> None:
    """Copy the LFP of a probe, NaN in the session's invalid times.

    Parameters
    ----------
    session : the open session file
    file : HDF5 file to write to
    probe : id
    lfp_file : NWB file of the probe; None: the session file itself
    interval : what is copied, from the first to before the second time [s]; None for all

    Raises
    ------
    ProjectError
        if there is no LFP of the probe.
    """
    start, stop = (-math.inf, math.inf) if interval is None else interval
    if lfp_file is None:
        try:
            inside = lfp_of_probe(session, probe)
        except ProjectError as error:
            raise ProjectError(f"{error}, and probe_{probe}_lfp.nwb is not there") from None
        copy_lfp(inside, file, start, stop)
        _check_copied(inside, file, probe, interval)
        return
    with LfpFile(lfp_file, probe, read_invalid_times(session)) as found:
        copy_lfp(found, file, start, stop)
        _check_copied(found, file, probe, interval)


def _check_copied(lfp: Lfp, file: h5py.File, probe: str, interval: Sequence[float] | None) -> None:
    if not len(file["times"]):
        first, last = lfp.time_range or (math.nan, math.nan)
        raise ProjectError(
            f"interval {interval} holds no LFP of probe {probe}, which lasts from {first:g} to {last:g} s"
        )


def csd(session: SessionFile, file: h5py.File, probe: str, lfp_file: Path | None) -> None:
    """Copy the current source density of a probe: ``times`` (T,), ``values`` (C, T), ``x`` and ``y`` (C,).

    Arguments as in `lfp`; `session` is not read.
    """
    if lfp_file is None:
        raise ProjectError(f"{session.path}: there is no LFP file of probe {probe}, which would hold its CSD")
    with LfpFile(lfp_file, probe) as found:
        density = found.csd()
    units = {"times": "s", "values": density.unit, "x": density.position_unit, "y": density.position_unit}
    for name, unit in units.items():
        dataset = file.create_dataset(name, data=getattr(density, name))
        dataset.attrs["unit"] = unit
