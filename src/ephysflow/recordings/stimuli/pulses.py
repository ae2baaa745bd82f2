"""Trains of short pulses."""

# ruff: noqa: D102  (the methods are documented in Stimulus)

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.stimuli.base import Stimulus, Timing, amplitude, auto_threshold, index
from ephysflow.recordings.stimuli.edges import SURE, TINY, certainty, fine_time
from ephysflow.recordings.stimuli.levels import PULSE_WINDOW, FilteredCurrent, base_current, measurable
from ephysflow.recordings.stimuli.traces import Traces, finite_current, on_grid
from ephysflow.recordings.sweep import Sweep

SHORTEST_GAP = 0.5
"""Pulses closer than this are one [ms]: an action potential may dent the current of a pulse."""

SHORTEST_PULSE = 0.4
"""Part of the usual duration below which a pulse is an artefact of an action potential."""


class SpikeRec(Stimulus):
    """A train of equal short pulses that make the cell spike; targets are compared with the pause `delta` [ms].

    `ton` is the start of the first pulse and `toff` the end of the last one. Spikes follow their pulse, so that
    e-features look for the response in the whole sweep.
    """

    name = "SpikeRec"
    exported = (
        "ton",
        "toff",
        "tend",
        "amp",
        "hypamp",
        "dt",
        "tspike",
        "spike_duration",
        "delta",
        "amp_rel",
        "hypamp_rel",
    )
    matched_by = "delta"

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        traces = on_grid(sweeps)
        found = [_pulses(sweep, traces.only(row)) for row, sweep in enumerate(sweeps)]
        starts = [pulses[0, 0] for pulses, _ in found if len(pulses)]
        usual = float(np.median(starts)) if starts else 0.0
        result = []
        for pulses, strength in found:
            if not len(pulses):
                result.append(Timing(None, reason="no pulse found above the noise"))
                continue
            times = {"ton": float(pulses[0, 0]), "toff": float(pulses[-1, 1])}
            odd = abs(times["ton"] - usual) > 2.0
            text = "its first pulse does not come when that of the other sweeps does" if odd else ""
            result.append(Timing(times, "detected", certainty(strength) * (0.7 if odd else 1.0), text))
        return result

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        pulses, _ = _pulses(sweep, on_grid([sweep]))
        if not len(pulses):
            raise RecordingError("no pulse found above the noise; spike times cannot be stated")
        current = FilteredCurrent(measurable(sweep.current), PULSE_WINDOW)
        hypamp = amplitude(sweep, "hypamp", base_current(sweep.current))
        top, bottom = current.maximum() - hypamp, current.minimum() - hypamp
        middle = np.median(
            [
                np.median(
                    sweep.current[
                        index(start, sweep.dt) : max(index(end, sweep.dt), index(start, sweep.dt) + 1)
                    ]
                )
                for start, end in pulses
            ]
        )
        gaps = pulses[1:, 0] - pulses[:-1, 1]
        first, last = float(pulses[0, 0]), float(pulses[-1, 1])
        return {
            "hypamp": hypamp,
            "amp": amplitude(sweep, "amp", top if middle > hypamp else bottom),
            "tspike": [float(time) for time in pulses[:, 0]],
            "n_spikes": len(pulses),
            "spike_duration": float(np.mean(pulses[:, 1] - pulses[:, 0])),
            "delta": float(np.mean(gaps)) if len(gaps) else None,
            "auto_threshold": auto_threshold(sweep.voltage, sweep.dt, first, last),
        }

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "delay": parameters["tspike"][0],
            "n_spikes": len(parameters["tspike"]),
            "delta": parameters["delta"],
            "amp": parameters["amp"],
            "thresh_perc": parameters.get("amp_rel"),
            "spike_duration": parameters["spike_duration"],
            "totduration": parameters["tend"],
        }

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        current = np.full(len(time), float(parameters["hypamp"]))
        for start in parameters["tspike"]:
            current[(time >= start) & (time < start + parameters["spike_duration"])] += parameters["amp"]
        return current

    def response_window(self, parameters: Mapping[str, Any]) -> tuple[float, float]:
        return 0.0, float(parameters["tend"])


def _pulses(sweep: Sweep, trace: Traces) -> tuple[np.ndarray, float]:
    """Find the pulses of one sweep: where the current is beyond half of their height.

    Returns
    -------
    times : (pulses, 2) first instants in and after each pulse [ms]
    strength : height over noise
    """
    values = trace.values[0, : trace.sizes[0]]
    nothing = np.zeros((0, 2))
    if len(values) < 8:
        return nothing, 0.0
    change = values - np.median(values)
    noise = 1.4826 * float(np.median(np.abs(change)))
    change = change if change.max() >= -change.min() else -change
    height = float(change.max())
    strength = height / (noise + 1e-3 * height + TINY)
    if strength < SURE:
        return nothing, strength
    height = float(np.median(change[change > 0.5 * height]))
    inside = np.concatenate(([False], change > 0.5 * height, [False]))
    edges = np.flatnonzero(np.diff(inside.astype(int))).reshape(-1, 2)
    apart = (edges[1:, 0] - edges[:-1, 1]) * trace.step >= SHORTEST_GAP
    edges = np.stack((edges[np.append(True, apart), 0], edges[np.append(apart, True), 1]), axis=1)
    length = edges[:, 1] - edges[:, 0]
    edges = edges[length >= SHORTEST_PULSE * np.median(length)]
    times = edges * trace.step
    current = finite_current(sweep.current)
    for row in times:
        reach = min(1.0, 0.45 * float(row[1] - row[0]))
        for k in (0, 1):
            exact = fine_time(current, sweep.dt, float(row[k]), max(reach, 2.5 * sweep.dt))
            row[k] = row[k] if exact is None else exact
    return times, strength
