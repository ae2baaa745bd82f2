"""Small session files written with h5py alone, so that they can be wrong in any way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TEXT = h5py.string_dtype()
ELECTRODES = "general/extracellular_ephys/electrodes"


def write_file(path: Path, identifier: str = "7", **texts: str) -> Path:
    """Write a file with nothing but its identifier, and other texts by place (with _ for /)."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.4.0"
        file["identifier"] = identifier
        for place, value in texts.items():
            file[place] = value
    return path


def write_table(
    file: h5py.File,
    place: str,
    columns: Mapping[str, Any],
    ids: Sequence[int] | np.ndarray | None = None,
    ragged: Sequence[str] = (),
) -> h5py.Group:
    """Write a DynamicTable; columns in `ragged` are lists of lists."""
    table = file.create_group(place)
    table.attrs["colnames"] = np.array(list(columns), dtype=TEXT)
    rows = len(next(iter(columns.values()), ()))
    table["id"] = np.arange(rows) if ids is None else np.asarray(ids)
    for name, values in columns.items():
        if name in ragged:
            ends = np.cumsum([len(row) for row in values], dtype=np.int64)
            table[f"{name}_index"] = ends.astype(np.uint8 if ends.max(initial=0) < 256 else np.uint32)
            values = [value for row in values for value in row]
        kinds = {type(value) for value in values}
        kind = TEXT if str in kinds else h5py.ref_dtype if h5py.Reference in kinds else None
        table.create_dataset(name, data=values, dtype=kind)
    return table


def write_probe(file: h5py.File, name: str, **attributes: Any) -> h5py.Group:
    """Write an electrode group with its device; sampling_rate is the device's."""
    device = file.create_group(f"general/devices/{name}")
    if "sampling_rate" in attributes:
        device.attrs["sampling_rate"] = attributes.pop("sampling_rate")
    found = file.create_group(f"general/extracellular_ephys/{name}")
    found.attrs["neurodata_type"] = "EcephysElectrodeGroup"
    for key, value in attributes.items():
        found.attrs[key] = value
    found["device"] = h5py.SoftLink(f"/general/devices/{name}")
    return found


UNIT_IDS = (30, 10, 20, 40, 50)
TRAINS = ([0.5, 1.0, 2.5], [0.1], [], [3.0, 4.0], [1.0, 2.0])


def write_allen_session(
    path: Path,
    number: str = "local_index",
    units: Mapping[str, Any] | None = None,
    electrodes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a session in the layout of the Allen Institute: two probes of four channels, five units.

    Of the units 30 and 10 pass the default filters, 20 is noise, 40 is out of the brain, 50 on a channel that is not valid.
    Channel ids are 100 to 107; number 3 of a probe is not valid, number 2 is out of the brain.
    """
    write_file(path, "715")
    with h5py.File(path, "a") as file:
        for position, name in enumerate(("probeB", "probeA")):
            write_probe(
                file,
                name,
                probe_id=900 + position,
                has_lfp_data=position == 0,
                lfp_sampling_rate=1250.0,
                sampling_rate=30000.0 + position,
                location="See electrode locations",
            )
        columns: dict[str, Any] = {
            "location": ["VISp", "DG-mo", "None", "CA1"] * 2,
            "probe_vertical_position": np.arange(8) * 20,
            "probe_horizontal_position": np.arange(8) % 2 * 16 + 11,
            "probe_id": np.repeat([900, 901], 4),
            number: np.tile(np.arange(4), 2),
            "valid_data": np.tile([True, True, True, False], 2),
            "x": [8000.0, 8001.0, np.nan, 8003.0] * 2,
            "y": np.arange(8.0),
            "z": np.arange(8.0),
            "group_name": ["probeB"] * 4 + ["probeA"] * 4,
            **(electrodes or {}),
        }
        write_table(file, ELECTRODES, columns, np.arange(100, 108))
        waveforms = np.arange(5 * 4 * 3, dtype=float).reshape(20, 3)
        columns = {
            "peak_channel_id": np.array([101, 104, 100, 102, 103]),
            "quality": ["good", "good", "noise", "good", "good"],
            "amplitude_cutoff": np.full(5, 0.01),
            "presence_ratio": np.full(5, 0.99),
            "isi_violations": np.full(5, 0.1),
            "PT_ratio": np.arange(5.0),
            "waveform_halfwidth": [0.1, 0.2, np.nan, 0.4, 0.5],
            "l_ratio": np.arange(5.0),
            "local_index": np.arange(5),
            "spike_times": TRAINS,
            "spike_amplitudes": [[1e-4] * len(train) for train in TRAINS],
            "waveform_mean": np.split(waveforms, 5),
            **(units or {}),
        }
        ragged = ("spike_times", "spike_amplitudes", "waveform_mean")
        write_table(file, "units", columns, UNIT_IDS, ragged)
    return path


def write_plain_session(
    path: Path, trains: Sequence[Sequence[float]] = TRAINS, units: Mapping[str, Any] | None = None
) -> Path:
    """Write a session as pynwb writes it: one shank of three electrodes, units without quality."""
    write_file(path, "A8604-211122")
    with h5py.File(path, "a") as file:
        shank = write_probe(file, "shank0")
        shank.attrs["neurodata_type"] = "ElectrodeGroup"
        write_table(
            file, ELECTRODES, {"location": ["CA1", "", "CA3"], "group": [shank.ref] * 3, "x": [1.0, 2.0, 3.0]}
        )
        columns = {"spike_times": trains, "label": ["a"] * len(trains), **(units or {})}
        if "electrode_group" in columns:
            columns["electrode_group"] = [shank.ref] * len(trains)
        write_table(file, "units", columns, None, ("spike_times", "electrodes"))
    return path
