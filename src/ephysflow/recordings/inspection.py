"""What is in a recording file: the answer of ``ephysflow inspect FILE``."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers import igor, nwb, read_all, recognise
from ephysflow.recordings.readers.common import FoundSweep
from ephysflow.recordings.readers.units import unit_factor
from ephysflow.recordings.sweep import RawSweep

_BASE_SAMPLES = 100


def inspect_file(path: Path, i_file: Path | None = None) -> dict[str, Any]:
    """Describe all that a recording file holds, and what of it cannot be read.

    Parameters
    ----------
    path : any recording file; of an Igor pair, the voltage
    i_file : the current of an Igor pair

    Returns
    -------
    Plain values, fit for JSON: `file`, `bytes`, `reader`, `why`, for NWB `layout` and `layout_why`, for a single Igor
    wave `wave` and `note`, else `protocols` (name -> number of sweeps, "" where the file has no names), `sweeps` and
    `unreadable` (with reasons).

    Raises
    ------
    RecordingError
        if the file as a whole cannot be read.
    """
    reader, why = recognise(path)
    report: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size, "reader": reader, "why": why}
    if reader == "igor" and i_file is None:
        return report | _single_wave(path)
    if reader == "nwb":
        with nwb.open_file(path) as file:
            report["layout"], report["layout_why"] = nwb.choose_layout(file)
    files = {"filepath": str(path)} if i_file is None else {"v_file": str(path), "i_file": str(i_file)}
    sweeps = read_all({**files, "reader": reader})
    report["protocols"] = dict(Counter(_protocol(found) for found, _ in sweeps))
    report["sweeps"] = [_describe(found, raw) for found, raw in sweeps if isinstance(raw, RawSweep)]
    report["unreadable"] = [
        {"sweep": found.sweep_id, "protocol": _protocol(found), "reason": raw.reason}
        for found, raw in sweeps
        if not isinstance(raw, RawSweep)
    ]
    return report


def _protocol(found: FoundSweep) -> str:
    return found.names[0] if found.names else ""


def _describe(found: FoundSweep, raw: RawSweep) -> dict[str, Any]:
    """Describe one sweep; currents are in its own `i_unit`, `holding` being the median of the first 100 samples."""
    described: dict[str, Any] = {
        "sweep": found.sweep_id,
        "protocol": _protocol(found) or raw.protocol,
        "repetition": raw.repetition,
        "samples": len(raw.voltage),
        "dt": raw.dt,
        "v_unit": raw.v_unit,
        "i_unit": raw.i_unit,
        "t_unit": raw.t_unit,
    }
    try:
        step = raw.dt * unit_factor(raw.t_unit, "time")
        described |= {"rate_hz": 1e3 / step, "duration_ms": len(raw.voltage) * step}
    except (RecordingError, ZeroDivisionError):
        described |= {"rate_hz": None, "duration_ms": None}
    if len(raw.current):
        described["holding"] = float(np.nanmedian(raw.current[:_BASE_SAMPLES]))
        described["current_range"] = [float(np.nanmin(raw.current)), float(np.nanmax(raw.current))]
        described["voltage_range"] = [float(np.nanmin(raw.voltage)), float(np.nanmax(raw.voltage))]
        described["stimulus"] = bool(np.nanmax(raw.current) > np.nanmin(raw.current))
    stated = {**raw.timing, **raw.amplitudes, **({} if raw.ljp is None else {"ljp": raw.ljp})}
    return described | {"stated": stated, "details": dict(raw.details)}


def _single_wave(path: Path) -> dict[str, Any]:
    wave = igor.read_wave(path)
    return {
        "wave": {
            "name": wave.name,
            "version": wave.version,
            "samples": len(wave.values),
            "step": wave.step,
            "unit": wave.unit,
            "x_unit": wave.x_unit,
            "range": [float(wave.values.min()), float(wave.values.max())] if len(wave.values) else [],
        },
        "note": wave.note,
        "sweeps": [],
        "unreadable": [
            {"sweep": wave.name, "protocol": "", "reason": "one wave: give the other one as i_file"}
        ],
    }
