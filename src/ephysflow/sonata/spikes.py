"""Spikes of a simulation, from SONATA spike files of all layouts.

Written today: ``/spikes/<population>/{timestamps, node_ids}``. Old files hold ``/spikes/{timestamps, gids}`` and know
no populations. Attributes (unit, sorting) may be missing or of any type; libsonata refuses several of these files.
"""

from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.sonata import hdf5


def spike_populations(path: Path) -> list[str]:
    """Return the names of the populations in a spike file; none for the old layout, which knows no populations.

    Raises
    ------
    SimulationError
        if the file is not there, is damaged, or is not a spike file.
    """
    with hdf5.opened(path, "spikes") as file:
        spikes = hdf5.group(file, "spikes", path)
        return sorted(name for name in spikes if isinstance(spikes.get(name), h5py.Group))


def read_spikes(path: Path, population: str) -> tuple[np.ndarray, np.ndarray]:
    """Read all spikes of a population, in the order of the file.

    Parameters
    ----------
    path : spike file
    population : its name; a file of the old layout is taken to hold this population. A file without any population
        holds no spikes.

    Returns
    -------
    (n,) node id and (n,) time [ms] of each spike, int64 and float64

    Raises
    ------
    SimulationError
        if the file is not there or damaged, does not know the population, or holds what cannot be spikes.
    """
    with hdf5.opened(path, "spikes") as file:
        spikes = hdf5.group(file, "spikes", path)
        if "timestamps" in spikes:
            where, name = spikes, "gids" if "gids" in spikes else "node_ids"
        elif not len(spikes):
            return np.empty(0, dtype=np.int64), np.empty(0)
        elif population not in spikes:
            raise SimulationError(
                f"{path}: no population {population!r} (there is: {', '.join(sorted(spikes))})"
            )
        else:
            where, name = hdf5.group(spikes, population, path), "node_ids"
        times = hdf5.dataset(where, "timestamps", hdf5.NUMBERS, 1, path)
        nodes = hdf5.dataset(where, name, hdf5.INTEGERS, 1, path)
        if len(times) != len(nodes):
            raise SimulationError(
                f"{path}: {times.name} has {len(times)} values, but {nodes.name} has {len(nodes)}"
            )
        hdf5.check_milliseconds(times, path)
        gid, time = hdf5.ids(where, name, path), times[()].astype(np.float64, copy=False)
    # NaN fails both comparisons
    if len(time) and not (time.min() >= 0 and time.max() < np.inf):
        raise SimulationError(
            f"{path}: spike times must be finite and not negative; there is {_first_bad(time)}"
        )
    return gid, time


def _first_bad(time: np.ndarray) -> str:
    at = int(np.argmin(np.isfinite(time) & (time >= 0)))
    return f"{time[at]} at position {at}"
