"""Quality of a sweep, in numbers that are always there, and limits that decide whether it passes.

Measures and the limits of preset "ipfx" follow the sweep criteria that the Allen Institute publishes with IPFX (v1.1),
as far as current-clamp sweeps alone can tell: noise in windows of 1.5 ms, slow noise and drift in stretches of up to
500 ms before the stimulus and at the end of the sweep.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.errors import ConfigurationError

NOISE_WINDOW = 1.5
"""Windows of fast noise [ms]; IPFX measures the first and the last, here it is the median of all in the stretch."""

STRETCH = 500.0
"""Longest stretch before the stimulus, and at the end, that is measured [ms]."""

SHORTEST_RUN = 1.0
"""Identical extreme values for so long [ms] are clipping."""

SHORTEST_ZEROS = 5.0
"""Exact zeros for so long at the end [ms] mean that the recording stopped."""

LIMITS: Mapping[str, tuple[str, str]] = {
    "noise_rms_pre": ("noise_rms_pre", "at most"),
    "noise_rms_post": ("noise_rms_post", "at most"),
    "slow_noise": ("slow_noise", "at most"),
    "vm_drift": ("vm_drift", "absolute value at most"),
    "vm_pre_min": ("vm_pre", "at least"),
    "vm_pre_max": ("vm_pre", "at most"),
    "current_noise_rms": ("current_noise_rms", "at most"),
    "holding_current": ("holding_current", "absolute value at most"),
}
"""Limit: (column that it bounds, how). Potentials in mV, currents in nA; None switches a limit off."""

QUALITY_LIMITS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "ipfx": {"noise_rms_pre": 0.07, "noise_rms_post": 0.07, "slow_noise": 0.5, "vm_drift": 1.0},
}
"""Presets of limits."""


def quality_limits(preset: str, limits: Mapping[str, float | None]) -> dict[str, float]:
    """Put a user's limits over a preset's.

    Parameters
    ----------
    preset : key of `QUALITY_LIMITS`
    limits : {key of `LIMITS`: number, or None to switch it off}

    Raises
    ------
    ConfigurationError
        When the preset or a limit is not known, or a limit is not a number.
    """
    if preset not in QUALITY_LIMITS:
        raise ConfigurationError(f"quality preset {preset!r}: known ones are {', '.join(QUALITY_LIMITS)}")
    merged: dict[str, float | None] = {**QUALITY_LIMITS[preset], **limits}
    for key, value in merged.items():
        if key not in LIMITS:
            raise ConfigurationError(f"quality limit {key!r}: known ones are {', '.join(LIMITS)}")
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if value is not None and not number:
            raise ConfigurationError(f"quality limit {key}: {value!r} is not a number")
    return {key: float(value) for key, value in merged.items() if value is not None}


def sweep_quality(
    voltage: np.ndarray,
    current: np.ndarray,
    dt: float,
    parameters: Mapping[str, Any],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """Measure the quality of one sweep and compare it with limits.

    Parameters
    ----------
    voltage : (n,) [mV]
    current : (n,) [nA]
    dt : sampling interval [ms]
    parameters : what `stimuli.describe` gives; `ton` and `toff` [ms] and, if known, `hypamp` [nA] are used
    limits : {key of `LIMITS`: bound}, as `quality_limits` gives them

    Returns
    -------
    noise_rms_pre, noise_rms_post [mV] : median rms of `NOISE_WINDOW` windows before the stimulus and at the end
    slow_noise [mV] : rms about the mean, before the stimulus
    vm_pre, vm_post, vm_drift [mV] : median potential before the stimulus, at the end, and their difference
    current_noise_rms [nA] : as noise_rms_pre, over the whole stretch before the stimulus
    holding_current [nA]
    saturated, early_end : bool
    nan_count : samples of voltage or current that are not numbers
    qc_passed : bool; NaN, saturation and an early end always fail
    qc_reasons : text, empty when passed

    A measure without enough samples is None, and then no limit applies to it.

    Raises
    ------
    ConfigurationError
        When a limit is not known.
    """
    unknown = [key for key in limits if key not in LIMITS]
    if unknown:
        raise ConfigurationError(f"quality limit {unknown[0]!r}: known ones are {', '.join(LIMITS)}")
    start, end = round(parameters["ton"] / dt), round(parameters["toff"] / dt)
    most = max(1, round(STRETCH / dt))
    before = slice(max(0, start - most), start)
    after = slice(max(end, len(voltage) - most), len(voltage))
    pre, post = _numbers(voltage[before]), _numbers(voltage[after])
    current_pre = _numbers(current[before])
    vm_pre, vm_post = _median(pre), _median(post)
    holding = parameters.get("hypamp")
    row: dict[str, Any] = {
        "noise_rms_pre": _fast_rms(pre, dt),
        "noise_rms_post": _fast_rms(post, dt),
        "slow_noise": float(pre.std()) if len(pre) > 1 else None,
        "vm_pre": vm_pre,
        "vm_post": vm_post,
        "vm_drift": None if vm_pre is None or vm_post is None else vm_post - vm_pre,
        "current_noise_rms": float(current_pre.std()) if len(current_pre) > 1 else None,
        "holding_current": _median(current_pre) if holding is None else float(holding),
        "saturated": _clipped(voltage, dt) or _clipped(current, dt),
        "early_end": _stops_early(voltage, dt, parameters["toff"]),
        "nan_count": int(np.count_nonzero(~(np.isfinite(voltage) & np.isfinite(current)))),
    }
    reasons = []
    if row["nan_count"]:
        reasons.append(f"{row['nan_count']} samples are not numbers")
    if row["saturated"]:
        reasons.append("the amplifier or converter was saturated")
    if row["early_end"]:
        reasons.append("the recording ends early")
    for key, bound in limits.items():
        column, how = LIMITS[key]
        value = row[column]
        if value is None:
            continue
        compared = abs(value) if how.startswith("absolute") else value
        if compared < bound if how == "at least" else compared > bound:
            reasons.append(f"{column} {value:.4g}: {how} {bound:g}")
    return {**row, "qc_passed": not reasons, "qc_reasons": "; ".join(reasons)}


def _numbers(values: np.ndarray) -> np.ndarray:
    """Finite values, as float64."""
    return np.asarray(values[np.isfinite(values)], dtype=float)


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _fast_rms(values: np.ndarray, dt: float) -> float | None:
    """Median over windows of the rms about each window's mean."""
    width = max(4, round(NOISE_WINDOW / dt))
    windows = values[: len(values) // width * width].reshape(-1, width)
    return float(np.median(windows.std(axis=1))) if len(windows) else None


def _clipped(values: np.ndarray, dt: float) -> bool:
    """Whether an otherwise noisy trace runs into its highest or lowest value and stays there.

    A trace that is constant most of the time (a computed current, a simulation) and the top of a slow hump, which
    ends in steps of the usual size, are not clipped.
    """
    finite = _numbers(values)
    if len(finite) < 8:
        return False
    change = np.abs(np.diff(finite))
    moving = change[change > 0]
    if len(moving) < 0.3 * len(change):
        return False
    usual = float(np.median(moving))
    shortest = max(4, round(SHORTEST_RUN / dt))
    for extreme in (finite.max(), finite.min()):
        inside = np.concatenate(([False], finite == extreme, [False]))
        runs = np.flatnonzero(np.diff(inside.astype(int))).reshape(-1, 2)
        for first, last in runs[np.diff(runs, axis=1)[:, 0] >= shortest]:
            entry = change[first - 1] if first > 0 else change[last - 1] if last < len(finite) else 0.0
            if entry > 3 * usual:
                return True
    return False


def _stops_early(voltage: np.ndarray, dt: float, toff: float) -> bool:
    """Whether the trace ends before the stimulus does, or is padded with zeros or NaN."""
    used = np.flatnonzero(np.isfinite(voltage) & (voltage != 0))
    if not len(used):
        return True
    padding = len(voltage) - 1 - int(used[-1])
    nan_tail = bool(len(voltage)) and not np.isfinite(voltage[-1])
    return nan_tail or padding * dt >= SHORTEST_ZEROS or len(voltage) < round(toff / dt)
