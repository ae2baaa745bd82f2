"""Stimuli with a waveform of their own: a chirp, pink noise and capacitance checks."""

# ruff: noqa: D102  (the methods are documented in Stimulus)

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ephysflow.recordings.stimuli.base import (
    Stimulus,
    Timing,
    amplitude,
    between,
    holding,
    index,
    known,
    or_usual,
    short_output,
)
from ephysflow.recordings.stimuli.edges import SURE, TINY, certainty
from ephysflow.recordings.stimuli.levels import FilteredCurrent, base_current, measurable
from ephysflow.recordings.stimuli.traces import on_grid
from ephysflow.recordings.sweep import Sweep

CHIRP: Mapping[str, float] = {
    "chirp_frequency_base": 1.0,
    "chirp_frequency_scale": 1.0,
    "chirp_frequency_denominator": 5.15,
    "chirp_time_offset": 0.1,
}
"""Chirp of the protocol SineSpec: frequency [Hz] and times [s]."""

BEYOND = 0.02
"""Part of its largest deviation at which a waveform is taken to have begun."""


class _Active(Stimulus):
    """Stimuli that are found as the stretch in which the current leaves its holding value."""

    usual_times: ClassVar[Mapping[str, float] | None] = None

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        traces = on_grid(sweeps)
        found = [_active(traces.values[row, :size]) for row, size in enumerate(traces.sizes)]
        sure = [times for times, strength in found if times is not None and strength >= SURE]
        group = np.median(sure, axis=0) * traces.step if sure else None
        result = []
        for times, strength in found:
            if times is not None and strength >= SURE:
                ton, toff = (times * traces.step).tolist()
                result.append(Timing({"ton": ton, "toff": toff}, "detected", certainty(strength)))
            elif group is not None:
                shared = {"ton": float(group[0]), "toff": float(group[1])}
                text = "no stimulus above its noise: times of the other sweeps"
                result.append(Timing(shared, "inherited", 0.5, text))
            else:
                nothing = Timing(None, reason="no stimulus found in any sweep of the protocol")
                result.append(or_usual(nothing, self.usual_times))
        return result


def _active(values: np.ndarray) -> tuple[np.ndarray | None, float]:
    """First and last point of the stretch in which a trace leaves its base.

    The base is the median of whichever end is quieter; the noise is that of the quietest tenth of the trace.

    Returns
    -------
    edges : (2,) points, the second one the first after the stretch; None when there is none
    strength : largest deviation over noise
    """
    width = max(4, len(values) // 100)
    blocks = values[: len(values) // width * width].reshape(-1, width)
    if len(blocks) < 4:
        return None, 0.0
    spread = blocks.std(axis=1)
    noise = float(np.quantile(spread, 0.1))
    ends = blocks[[0, -1]]
    base = float(np.median(ends[int(np.argmin(spread[[0, -1]]))]))
    change = np.abs(values - base)
    largest = float(change.max())
    strength = largest / (noise + 1e-3 * largest + TINY)
    limit = max(4.5 * noise, BEYOND * largest, TINY)
    beyond = np.flatnonzero(change > limit)
    if not len(beyond):
        return None, strength
    return np.array([beyond[0], beyond[-1] + 1], dtype=float), strength


class SineSpec(_Active):
    """A sine whose frequency rises, to measure the impedance."""

    name = "SineSpec"
    exported = (*Stimulus.exported, *CHIRP)
    usual_times: ClassVar[Mapping[str, float] | None] = {"ton": 150.0, "toff": 5100.0}

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        hypamp = amplitude(sweep, "hypamp", base_current(sweep.current))
        top = FilteredCurrent(measurable(sweep.current)).maximum()
        chirp = {
            key: usual if (value := known(sweep, key)) is None else value for key, usual in CHIRP.items()
        }
        return {"hypamp": hypamp, "amp": amplitude(sweep, "amp", top - hypamp), **chirp}

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {**short_output(parameters), **{key: parameters[key] for key in CHIRP}}

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        base, scale, denominator, offset = (parameters[key] for key in CHIRP)
        seconds = (time - parameters["ton"]) / 1000 - offset
        left = denominator - seconds
        frequency = base + scale / np.where(left == 0, np.inf, left)
        wave = parameters["amp"] * np.sin(2 * np.pi * frequency * seconds)
        return parameters["hypamp"] + np.where(between(time, parameters, "ton", "toff"), wave, 0.0)


class PinkNoise(_Active):
    """A stretch of noise; its shape is kept, as `waveform`."""

    name = "PinkNoise"
    exported = (*Stimulus.exported, "waveform")

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        start, end = (index(timing.times[key], sweep.dt) for key in self.timing_keys)
        hypamp = amplitude(sweep, "hypamp", holding(sweep, timing.times["ton"], timing.times["toff"]))
        stimulus = sweep.current[start:end] - hypamp
        amp = amplitude(sweep, "amp", float(np.abs(stimulus).max()))
        waveform = stimulus / amp if amp else np.zeros(len(stimulus))
        return {"hypamp": hypamp, "amp": amp, "waveform": [float(value) for value in waveform]}

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {**short_output(parameters), "dt": parameters["dt"], "waveform": parameters["waveform"]}

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        waveform = np.asarray(parameters["waveform"])
        sample = np.rint((time - parameters["ton"]) / parameters["dt"]).astype(int)
        inside = (sample >= 0) & (sample < len(waveform))
        current = np.full(len(time), float(parameters["hypamp"]))
        current[inside] += parameters["amp"] * waveform[sample[inside]]
        return current


class CapCheck(PinkNoise):
    """Short square pulses that show the capacitance of pipette and cell; kept sample by sample."""

    name = "CapCheck"
