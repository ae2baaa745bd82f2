"""Small recordings in the file formats of real rigs: a cell that fires from 0.1 nA on."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ephysflow.example.igor import write_wave

DT = 0.25  # ms
DURATION, TON, TOFF = 600.0, 100.0, 500.0  # ms
IDREST = (0.05, 0.1, 0.15)  # nA
RHEOBASE = 0.1  # nA

Row = dict[str, Any]


def sweep(amplitude: float, ton: float = TON) -> tuple[np.ndarray, np.ndarray]:
    """Return voltage [mV] and current [nA] of a step; 2, 3... spikes at 0.1, 0.15... nA."""
    time = np.arange(0, DURATION, DT)
    on = (time >= ton) & (time < TOFF)
    voltage = -70 + 100 * amplitude * on
    if amplitude >= RHEOBASE:
        for spike in np.linspace(150, 450, round(amplitude * 20)):
            voltage = voltage + 90 * np.exp(-((time - spike) ** 2))
    return voltage, amplitude * on


def write_igor(
    folder: Path,
    name: str,
    voltage: np.ndarray,
    current: np.ndarray,
    dt: float = DT,
    i_dt: float | None = None,
) -> Row:
    """Write a pair of waves and return its part of a sheet's row."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wave(folder / f"{name}_v.ibw", voltage * 1e-3, dt * 1e-3, "V")
    write_wave(folder / f"{name}_i.ibw", current * 1e-9, (dt if i_dt is None else i_dt) * 1e-3, "A")
    return {"v_file": f"{folder.name}/{name}_v.ibw", "i_file": f"{folder.name}/{name}_i.ibw"}


def write_good(folder: Path, cell: str = "good") -> list[Row]:
    """Write the steps of a good cell as Igor waves and return its rows of a sheet."""
    return [
        {"cell": cell, "protocol": "IDrest", **write_igor(folder, f"good_{k}", *sweep(amplitude))}
        for k, amplitude in enumerate(IDREST)
    ]


# ------------------------------------------------------------ one file of each other format, IDrest at IDREST


def as_igor(folder: Path) -> Row:
    return write_igor(folder, "pair", *sweep(0.1))


def as_table(folder: Path, names: Sequence[str] = ("time [ms]", "voltage [mV]", "current [nA]")) -> Row:
    write_table(folder / "table.parquet", *sweep(0.1), names=names)
    return {"filepath": f"{folder.name}/table.parquet"}


def as_csv(folder: Path) -> Row:
    from pyarrow import csv

    folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(_table(*sweep(0.1)), folder / "table.csv")
    return {"filepath": f"{folder.name}/table.csv"}


def as_nwb(folder: Path) -> Row:
    write_nwb(folder / "cell.nwb", [sweep(amplitude) for amplitude in IDREST])
    return {"filepath": f"{folder.name}/cell.nwb"}


def as_abf(folder: Path) -> Row:
    """Write an Axon file of version 1 without a command: it holds no stimulus."""
    voltage, _ = sweep(0.05)
    data = np.round(voltage).astype("<i2")
    head = bytearray(6144)
    for offset, code, *values in (
        (0, "4s", b"ABF "),
        (4, "<f", 1.83),
        (8, "<hi", 5, data.size),
        (16, "<i", 1),
        (40, "<i", 12),
        (120, "<hf", 1, DT * 1e3),
        (244, "<ffii", 10.0, 10.0, 32768, 32768),
        (442, "10s", b"IN 0      "),
        (602, "8s", b"mV      "),
        (1306, "10s", b"Cmd 0     "),
        (1346, "8s", b"pA      "),
    ):
        struct.pack_into(code, head, offset, *values)
    for offset in (730, 922, 1050):  # gains
        struct.pack_into("<16f", head, offset, *[1.0] * 16)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cell.abf").write_bytes(bytes(head) + data.tobytes())
    return {"filepath": f"{folder.name}/cell.abf"}


def as_matlab(folder: Path) -> Row:
    from scipy.io import savemat

    voltage, current = sweep(0.1)
    time = np.arange(len(voltage)) * DT
    folder.mkdir(parents=True, exist_ok=True)
    traces = {"Trace_1_1": np.stack([time, current], 1), "Trace_1_2": np.stack([time, voltage], 1)}
    savemat(folder / "cell.mat", traces)
    return {"filepath": f"{folder.name}/cell.mat", "v_unit": "mV", "i_unit": "nA", "t_unit": "ms"}


def as_columns(folder: Path) -> Row:
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "cell.txt", np.stack([sweep(amplitude)[0] for amplitude in IDREST], 1), "%.3f", "\t")
    units = {"v_unit": "mV", "i_unit": "nA", "t_unit": "ms", "dt": DT}
    stimulus = {"ton": TON, "toff": TOFF, "hypamp": 0, "amplitudes": ";".join(map(str, IDREST))}
    return {"filepath": f"{folder.name}/cell.txt", **units, **stimulus}


FORMATS: dict[str, Callable[[Path], Row]] = {
    "igor": as_igor,
    "parquet": as_table,
    "csv": as_csv,
    "nwb": as_nwb,
    "abf": as_abf,
    "matlab": as_matlab,
    "columns": as_columns,
}


def main_file(folder: Path, row: Row) -> Path:
    """Return the file of a row that decides how it is read; the row's paths begin in the folder above."""
    return folder.parent / (row.get("filepath") or row["v_file"])


def _table(
    voltage: np.ndarray,
    current: np.ndarray,
    names: Sequence[str] = ("time [ms]", "voltage [mV]", "current [nA]"),
) -> pa.Table:
    return pa.table([np.arange(len(voltage)) * DT, voltage, current], names=list(names))


def write_table(path: Path, voltage: np.ndarray, current: np.ndarray, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(_table(voltage, current, **more), path)


def write_nwb(
    path: Path, sweeps: Sequence[tuple[np.ndarray, np.ndarray]], protocol: str = "IDrest", i_dt: float = DT
) -> None:
    """Write typed series of the NWB 2 standard; the two of a sweep may differ in length and rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for k, traces in enumerate(sweeps):
            for place, kind, values, unit, conversion, dt in (
                ("acquisition", "CurrentClampSeries", traces[0], "volts", 1e-3, DT),
                ("stimulus/presentation", "CurrentClampStimulusSeries", traces[1], "amperes", 1e-9, i_dt),
            ):
                series = file.require_group(place).create_group(f"{kind}_{k}")
                series["data"] = values
                series["data"].attrs.update(conversion=conversion, unit=unit)
                series["starting_time"] = 0.0
                series["starting_time"].attrs.update(rate=1e3 / dt, unit="seconds")
                series.attrs.update(
                    neurodata_type=kind, stimulus_description=protocol, sweep_number=np.uint64(k)
                )
