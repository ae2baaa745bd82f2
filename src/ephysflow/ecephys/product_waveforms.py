"""The product ``mean_waveforms``.

::

    /unit_ids      (U)      int64    units that have a mean waveform
    /offsets       (U + 1)  int64    rows of unit i: offsets[i] .. offsets[i + 1]
    /channel_ids   (C)      int64    of each row; -1 where the session file does not tell
    /values        (C, T)   float64  in the unit of the session file; its attribute sampling_rate is in Hz
"""

from pathlib import Path

import h5py
import numpy as np

from ephysflow.ecephys.product_units import retained_units
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_spikes import session_mean_waveforms
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ProjectError


def mean_waveforms(
    session: SessionFile, file: h5py.File, filters: UnitFilters, channels: Path | None
) -> None:
    """Write the mean waveforms of the units that pass the filters, one unit in memory at a time.

    Parameters
    ----------
    session : the open file
    file : HDF5 file to write to
    filters, channels : as in `product_units.units`
    """
    unit_ids, offsets, channel_ids = [], [0], [np.empty(0, dtype=np.int64)]
    dataset, rate = None, None
    for found in session_mean_waveforms(session, retained_units(session, filters, channels)):
        n_rows, n_samples = found.values.shape
        if dataset is None:
            # rows are appended, so that no more than a unit's are in memory
            shape, chunks = (None, n_samples), (128, max(n_samples, 1))
            dataset = file.create_dataset("values", (0, n_samples), "<f8", maxshape=shape, chunks=chunks)
            rate = found.sampling_rate
        elif dataset.shape[1] != n_samples:
            raise ProjectError(
                f"{session.path}: the mean waveform of unit {found.unit_id} has {n_samples} samples, that of unit "
                f"{unit_ids[0]} {dataset.shape[1]}"
            )
        start = offsets[-1]
        dataset.resize(start + n_rows, axis=0)
        dataset[start:] = found.values
        unit_ids.append(found.unit_id)
        channel_ids.append(found.channel_ids)
        offsets.append(start + n_rows)
    if dataset is None:
        dataset = file.create_dataset("values", (0, 0), "<f8")
    if rate is not None:
        dataset.attrs["sampling_rate"] = rate
    file.create_dataset("unit_ids", data=np.array(unit_ids, dtype="<i8"))
    file.create_dataset("offsets", data=np.array(offsets, dtype="<i8"))
    file.create_dataset("channel_ids", data=np.concatenate(channel_ids).astype("<i8"))
