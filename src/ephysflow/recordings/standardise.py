"""From a file's sweep to mV, nA and ms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import number, without_nan_tail
from ephysflow.recordings.readers.units import unit_factor
from ephysflow.recordings.sweep import AMPLITUDE_KEYS, TIMING_KEYS, RawSweep, Sweep

_BASE_SAMPLES = 100
_LARGEST_VOLTAGE = 1000.0  # mV
_LARGEST_CURRENT = 50.0  # nA; so that a membrane potential in its place is noticed


def standardise(raw: RawSweep, entry: Mapping[str, Any]) -> Sweep:
    """Convert a sweep to mV, nA and ms, with the user's metadata before the file's, key by key.

    In this order: units, series resistance, `v_corr`, liquid junction potential, low-pass filter. Arithmetic is in
    the precision of the data (float32 stays float32).

    Parameters
    ----------
    raw : sweep as its reader found it
    entry : file entry. `v_unit`, `i_unit`, `t_unit`, `dt` (in `t_unit`), times [ms], amplitudes (in `i_unit`),
        `chirp_*`; `v_corr` [mV]: median that the first 100 samples shall have; `ljp` [mV]: subtracted;
        `series_resistance` [MOhm]: V - I R is taken; `lowpass` [Hz]: see `lowpass`. A value of None (for `v_corr`
        also False) is none.

    Raises
    ------
    RecordingError
        if a unit or dt is missing or wrong, the sweep is empty, uneven, or has NaN before its end, or its
        values are impossible in these units.
    """
    raw = replace(raw, voltage=_floats(raw.voltage, "voltage"), current=_floats(raw.current, "current"))
    raw = without_nan_tail(raw)
    v_unit, i_unit, t_unit = (entry.get(key) or getattr(raw, key) for key in ("v_unit", "i_unit", "t_unit"))
    dt = number(entry, "dt")
    dt = (raw.dt if dt is None else dt) * unit_factor(t_unit, "time")
    if not (np.isfinite(dt) and dt > 0):
        raise RecordingError(f"dt must be positive; found {dt:g} ms")
    i_factor = unit_factor(i_unit, "current")
    voltage = raw.voltage * unit_factor(v_unit, "voltage")
    current = raw.current * i_factor
    _check(voltage, current, dt, str(v_unit), str(i_unit))

    if resistance := number(entry, "series_resistance"):
        voltage = voltage - current.astype(voltage.dtype) * resistance  # nA times MOhm is mV
    if entry.get("v_corr") is not False and (base := number(entry, "v_corr")) is not None:
        voltage = voltage - np.median(voltage[:_BASE_SAMPLES]) + base
    ljp = number(entry, "ljp")
    if (ljp := raw.ljp if ljp is None else ljp) is not None:
        voltage = voltage - ljp
    if (cutoff := number(entry, "lowpass")) is not None:
        voltage = lowpass(voltage, dt, cutoff)
    return Sweep(
        voltage=voltage,
        current=current,
        dt=float(dt),
        given=_known(entry, i_factor)
        | {key: n for key in entry if key.startswith("chirp_") and (n := number(entry, key)) is not None},
        stated=_known({**raw.timing, **raw.amplitudes}, i_factor),
    )


def lowpass(voltage: np.ndarray, dt: float, cutoff: float) -> np.ndarray:
    """Filter with a Bessel filter of 4 poles forwards and backwards: no phase shift, half the amplitude at `cutoff`.

    Parameters
    ----------
    voltage : (n,) trace
    dt : sampling interval [ms]
    cutoff : [Hz], where one pass leaves 1/sqrt(2) of the amplitude

    Raises
    ------
    RecordingError
        if `cutoff` is not between 0 and half the sampling rate, or the trace is too short to filter.
    """
    rate = 1e3 / dt
    if not 0 < cutoff < rate / 2:
        raise RecordingError(
            f"lowpass must lie between 0 and {rate / 2:g} Hz (half the rate); found {cutoff:g}"
        )
    from scipy.signal import bessel, sosfiltfilt

    sections = bessel(4, cutoff, fs=rate, output="sos", norm="mag")
    padding = 3 * (2 * len(sections) + 1)  # what sosfiltfilt extends each end by
    if len(voltage) <= padding:
        raise RecordingError(f"{len(voltage)} samples are too few for the low-pass filter")
    return sosfiltfilt(sections, voltage, padlen=padding).astype(voltage.dtype)


def _floats(values: np.ndarray, name: str) -> np.ndarray:
    """Return the values in native byte order, as float32 where they are and float64 otherwise."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise RecordingError(f"{name} is no row of numbers: {array.dtype} of shape {array.shape}")
    kind = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize == 4 else np.float64
    return array.astype(kind, copy=False)


def _check(voltage: np.ndarray, current: np.ndarray, dt: float, v_unit: str, i_unit: str) -> None:
    if len(voltage) != len(current):
        raise RecordingError(f"voltage has {len(voltage)} samples and current {len(current)}")
    if not len(voltage):
        raise RecordingError("the sweep has no samples")
    bad = ~(np.isfinite(voltage) & np.isfinite(current))
    if bad.any():
        edges = np.flatnonzero(np.diff(bad, prepend=False, append=False)).reshape(-1, 2)
        shown = ", ".join(f"{start * dt:g} to {stop * dt:g}" for start, stop in edges[:3])
        raise RecordingError(
            f"not a number at {shown} ms"
            + (f" and {len(edges) - 3} more stretches" if len(edges) > 3 else "")
        )
    for values, largest, what, unit in (
        (voltage, _LARGEST_VOLTAGE, "mV", f"v_unit {v_unit}"),
        (current, _LARGEST_CURRENT, "nA", f"i_unit {i_unit}"),
    ):
        if (extreme := float(np.abs(values).max())) > largest:
            raise RecordingError(
                f"{extreme:g} {what} is impossible: the channels look swapped, or {unit} is wrong"
            )


def _known(values: Mapping[str, Any], i_factor: float) -> dict[str, float]:
    """Return times [ms] and amplitudes [nA] among `values`."""
    times = {key: n for key in TIMING_KEYS if (n := number(values, key)) is not None}
    amplitudes = {key: n * i_factor for key in AMPLITUDE_KEYS if (n := number(values, key)) is not None}
    return times | amplitudes
