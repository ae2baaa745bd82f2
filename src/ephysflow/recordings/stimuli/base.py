"""What a stimulus class is, and how it describes the sweeps of one protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.stimuli.levels import base_current, measurable
from ephysflow.recordings.sweep import Sweep

THRESHOLD_ABOVE = 20.0
"""The spike threshold stands so far above the more depolarised of holding and stimulus potential [mV]."""

THRESHOLD_MOST = 50.0
"""Highest spike threshold [mV]."""


DEFAULT_CONFIDENCE = 0.05
"""Confidence of times that are only usual for a protocol."""


@dataclass(frozen=True)
class Timing:
    """When the stimulus of one sweep happens, and how far that can be trusted.

    Attributes
    ----------
    times : {key of `Stimulus.timing_keys`: ms from the start of the sweep}; None when no stimulus was found
    source : "given" (metadata), "stated" (file), "detected" (in this sweep), "inherited" (from the other sweeps of
        the protocol) or "default" (usual times of the protocol)
    confidence : 0 to 1
    reason : what a person should know; empty when there is nothing to say
    since : end of what the current does before a detected stimulus (a test pulse, another step) [ms], from which on
        it is at its holding level
    """

    times: Mapping[str, float] | None
    source: str = "detected"
    confidence: float = 1.0
    reason: str = ""
    since: float = 0.0


class Stimulus:
    """A class of stimuli; subclass it to teach ephysflow another one.

    A subclass sets the attributes and defines `estimate_timing`, `parameters`, `step` and `rebuild`. Instances hold
    no state.

    Attributes
    ----------
    name : class name, as it stands in tables
    timing_keys : names of its times, in the order in which they happen (from `sweep.TIMING_KEYS`)
    exported : parameters that are averaged over sweeps into protocols.json
    matched_by : parameter that the amplitude of a target is compared with
    """

    name: str = ""
    timing_keys: tuple[str, ...] = ("ton", "toff")
    exported: tuple[str, ...] = ("ton", "toff", "tend", "amp", "hypamp", "dt", "amp_rel", "hypamp_rel")
    matched_by: str = "amp"

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        """Estimate the times of `timing_keys` from the currents.

        Parameters
        ----------
        sweeps : all sweeps of one protocol of one cell; their `given` and `stated` times are not looked at

        Returns
        -------
        One timing a sweep, in their order.
        """
        raise NotImplementedError

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        """Measure the amplitudes [nA] and other parameters of one sweep.

        Given and stated amplitudes come first. Raises RecordingError when the sweep cannot be measured.
        """
        raise NotImplementedError

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the "step" entry of protocols.json.

        Parameters
        ----------
        parameters : those of `exported`, averaged; `amp_rel` and `amp2_rel` [% of rheobase] may be missing
        """
        raise NotImplementedError

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        """Return the ideal current [nA] at `time` [ms], for plots.

        Parameters
        ----------
        parameters : a sweep row, or the dict that `describe` gives
        """
        raise NotImplementedError

    def response_window(self, parameters: Mapping[str, Any]) -> tuple[float, float]:
        """Start and end [ms] of the stretch in which e-features look for the response."""
        return float(parameters["ton"]), float(parameters["toff"])


def known(sweep: Sweep, key: str) -> float | None:
    """Return the value that the user gives or else the file states for `key`, or None."""
    for source in (sweep.given, sweep.stated):
        if source.get(key) is not None:
            return float(source[key])
    return None


def amplitude(sweep: Sweep, key: str, measured: float) -> float:
    """Return the known amplitude, else the measured one [nA]; RecordingError when that is not a number."""
    value = known(sweep, key)
    value = measured if value is None else value
    if not np.isfinite(value):
        raise RecordingError(
            f"{key} cannot be measured: the current has values that are not numbers, or too few samples"
        )
    return value


def index(time: float, dt: float) -> int:
    """Return the sample at `time` [ms]."""
    return round(time / dt)


def holding(sweep: Sweep, ton: float, toff: float, since: float = 0.0) -> float:
    """Measure the holding current before the stimulus, or after it when there is no before [nA].

    A stimulus that fills the sweep leaves nothing to compare with: its median is the holding current then. What
    comes earlier than `since` [ms] does not count.
    """
    current = measurable(sweep.current)
    start, end = index(ton, sweep.dt), index(toff, sweep.dt)
    if start > 0:
        first = index(since, sweep.dt) if since < ton else 0
        return base_current(current[first:], start - first)
    if end < len(current):
        return base_current(current[end:], len(current) - end)
    return float(np.median(current))


def between(time: np.ndarray, parameters: Mapping[str, Any], start: str, end: str) -> np.ndarray:
    """Where `time` lies in the half-open stretch between two times of a stimulus."""
    return (time >= parameters[start]) & (time < parameters[end])


def or_usual(timing: Timing, times: Mapping[str, float] | None) -> Timing:
    """Return the timing, or the usual times of the protocol, marked as such, where nothing was found."""
    if timing.times is not None or times is None:
        return timing
    text = f"{timing.reason}; the usual times of this stimulus are assumed"
    return Timing(times, "default", DEFAULT_CONFIDENCE, text)


def short_output(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the "step" entry of stimuli with a start, an end and one amplitude."""
    return {
        "delay": parameters["ton"],
        "amp": parameters["amp"],
        "thresh_perc": parameters.get("amp_rel"),
        "duration": parameters["toff"] - parameters["ton"],
        "totduration": parameters["tend"],
    }


def auto_threshold(voltage: np.ndarray, dt: float, ton: float, toff: float) -> float | None:
    """Voltage that a spike crosses and the stimulus alone does not [mV].

    20 mV above the higher of the median potentials before and during the stimulus, at most 50 mV, at least 20 mV
    above the median before. Without a stretch before the stimulus the one after it serves, and without either the
    stimulus alone.

    Parameters
    ----------
    voltage : (n,) [mV]
    dt, ton, toff : [ms]
    """
    start, end = index(ton, dt), index(toff, dt)
    during = voltage[start:end]
    rest = voltage[:start] if start > 0 else voltage[end:]
    if not len(during):
        return None
    step = float(np.median(during))
    base = float(np.median(rest)) if len(rest) else step
    threshold = max(base + THRESHOLD_ABOVE, min(max(base, step) + THRESHOLD_ABOVE, THRESHOLD_MOST))
    return threshold if np.isfinite(threshold) else None


def describe(stimulus: Stimulus, sweeps: Sequence[Sweep]) -> list[dict[str, Any] | RecordingError]:
    """Describe the stimulus of every sweep of one protocol in one cell.

    Times that the user gives are taken as they are, then those that the file states, then estimates over all sweeps
    together; an estimate never replaces a known time.

    Parameters
    ----------
    stimulus : the class of the protocol
    sweeps : its sweeps in file order

    Returns
    -------
    For each sweep its part of the sweep row (times [ms], amplitudes [nA], extras, `timing_source`,
    `timing_confidence` (0 to 1), `timing_reason`, `auto_threshold` [mV]), or the error why it cannot be used.
    """
    keys = stimulus.timing_keys
    complete = [all(known(sweep, key) is not None for key in keys) for sweep in sweeps]
    readable = [k for k, sweep in enumerate(sweeps) if _unusable(sweep) is None]
    estimates: dict[int, Timing] = {}
    if not all(complete):
        timings = stimulus.estimate_timing([sweeps[k] for k in readable]) if readable else []
        estimates = dict(zip(readable, timings, strict=True))
    rows: list[dict[str, Any] | RecordingError] = []
    for k, sweep in enumerate(sweeps):
        unusable = _unusable(sweep)
        if unusable is not None:
            rows.append(RecordingError(unusable))
            continue
        try:
            rows.append(_row(stimulus, sweep, _settled(stimulus, sweep, estimates.get(k))))
        except RecordingError as error:
            rows.append(error)
    return rows


def _unusable(sweep: Sweep) -> str | None:
    """Why nothing can be measured in a sweep."""
    if len(sweep.current) != len(sweep.voltage):
        return f"current has {len(sweep.current)} samples, voltage {len(sweep.voltage)}"
    if len(sweep.current) < 4:
        return f"the sweep has only {len(sweep.current)} samples"
    if not np.isfinite(sweep.dt) or sweep.dt <= 0:
        return f"sampling interval {sweep.dt} ms: must be above 0"
    if not np.isfinite(sweep.current).any():
        return "the current has no sample that is a number"
    return None


def _settled(stimulus: Stimulus, sweep: Sweep, estimate: Timing | None) -> Timing:
    """Join known times with estimated ones and check the result."""
    fixed = {key: value for key in stimulus.timing_keys if (value := known(sweep, key)) is not None}
    missing = [key for key in stimulus.timing_keys if key not in fixed]
    if not missing:
        source = (
            "given" if all(sweep.given.get(key) is not None for key in stimulus.timing_keys) else "stated"
        )
        timing = Timing(fixed, source)
    else:
        assert estimate is not None
        if estimate.times is None:
            raise RecordingError(
                f"{estimate.reason}; give {', '.join(missing)} [ms] in the metadata to use the sweep"
            )
        reason = estimate.reason
        if fixed:
            text = f"{', '.join(fixed)} known, {', '.join(missing)} estimated"
            reason = f"{text}; {reason}" if reason else text
        times = {key: fixed.get(key, estimate.times[key]) for key in stimulus.timing_keys}
        timing = replace(estimate, times=times, reason=reason)
    _check(stimulus, sweep, timing)
    return timing


def _check(stimulus: Stimulus, sweep: Sweep, timing: Timing) -> None:
    """Refuse times that are out of order or outside the sweep."""
    assert timing.times is not None
    times = [timing.times[key] for key in stimulus.timing_keys]
    text = (
        ", ".join(f"{key} {timing.times[key]:.6g}" for key in stimulus.timing_keys) + f" ms ({timing.source})"
    )
    where = [index(time, sweep.dt) if np.isfinite(time) else -1 for time in times]
    if where[0] < 0:
        raise RecordingError(f"stimulus times must be numbers from 0: {text}")
    if any(first >= second for first, second in pairwise(where)):
        raise RecordingError(f"stimulus times must increase: {text}")
    if where[-1] > len(sweep.current):
        raise RecordingError(f"the sweep ends at {sweep.duration:.6g} ms, before its stimulus: {text}")


def _row(stimulus: Stimulus, sweep: Sweep, timing: Timing) -> dict[str, Any]:
    """Everything that the sweep row says of the stimulus."""
    assert timing.times is not None
    snapped = {key: index(time, sweep.dt) * sweep.dt for key, time in timing.times.items()}
    timing = replace(timing, times=snapped)
    tend = known(sweep, "tend")
    row: dict[str, Any] = {
        "dt": sweep.dt,
        **snapped,
        "tend": sweep.duration if tend is None else tend,
        "timing_source": timing.source,
        "timing_confidence": round(timing.confidence, 3),
        "timing_reason": timing.reason,
        "auto_threshold": auto_threshold(sweep.voltage, sweep.dt, snapped["ton"], snapped["toff"]),
    }
    row.update(stimulus.parameters(sweep, timing))
    return row
