"""Stimuli made of slopes: a ramp, and three triangles in a row."""

# ruff: noqa: D102  (the methods are documented in Stimulus)

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ephysflow.recordings.stimuli.base import (
    Stimulus,
    Timing,
    amplitude,
    holding,
    index,
    or_usual,
    short_output,
)
from ephysflow.recordings.stimuli.edges import SURE, TINY, certainty, fine_time, propose
from ephysflow.recordings.stimuli.levels import BASE_SAMPLES, FilteredCurrent, base_current, measurable
from ephysflow.recordings.stimuli.traces import Traces, finite_current, on_grid
from ephysflow.recordings.sweep import Sweep

TOP_SAMPLES = 10
"""Samples before `toff` whose median is the height of a ramp."""

SHORTEST_BASE = 5.0
"""A ramp that starts sooner [ms] takes its holding current from its own first samples."""

BASELESS_CONFIDENCE = 0.45
"""At most this confidence has a ramp that starts with the sweep: no holding current shows where, or from what level."""

RAMP_POINTS = 4000
"""About so many points describe a sweep when the slope is looked for."""


class Ramp(Stimulus):
    """A ramp from 0 at `ton` to `amp` at `toff`, then back to holding at once."""

    name = "Ramp"

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        longest = max(sweep.duration for sweep in sweeps)
        traces = on_grid(sweeps, finest=longest / RAMP_POINTS)
        points = [point for point in propose(traces, 12) if point > 4]
        edges = max(
            (_best_ramp(traces, end) for end in [*points, traces.values.shape[1]]), key=lambda found: found[0]
        )[1]
        strength = np.array([_ramp_strength(traces, row, edges) for row in range(len(sweeps))])
        together = float(np.sqrt(np.mean(np.minimum(strength, 50.0) ** 2)))
        if together < SURE and not (strength >= SURE).any():
            return [Timing(None, reason="no ramp found in any sweep of the protocol") for _ in sweeps]
        end = _ramp_ends(sweeps, traces, edges, strength)
        group = {"ton": float(edges[0] * traces.step), "toff": float(np.median(end[strength >= SURE]))}
        timings = [
            Timing({**group, "toff": float(end[row])}, "detected", certainty(float(strength[row])))
            if strength[row] >= SURE
            else Timing(
                group, "inherited", 0.8 * certainty(together), "no ramp above its noise: times of the others"
            )
            for row in range(len(sweeps))
        ]
        if group["ton"] >= SHORTEST_BASE:
            return timings
        return [
            replace(
                timing,
                confidence=min(timing.confidence, BASELESS_CONFIDENCE),
                reason="; ".join(
                    filter(None, (timing.reason, "the ramp starts with the sweep, without a holding current"))
                ),
            )
            for timing in timings
        ]

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        start, end = (index(timing.times[key], sweep.dt) for key in self.timing_keys)
        samples = min(start, BASE_SAMPLES) if timing.times["ton"] >= SHORTEST_BASE else BASE_SAMPLES
        hypamp = amplitude(sweep, "hypamp", base_current(sweep.current, samples))
        top = float(np.median(sweep.current[max(start, end - TOP_SAMPLES) : end]))
        return {"hypamp": hypamp, "amp": amplitude(sweep, "amp", top - hypamp)}

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return short_output(parameters)

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        ton, toff = parameters["ton"], parameters["toff"]
        inside = (time >= ton) & (time < toff)
        return parameters["hypamp"] + np.where(inside, parameters["amp"] * (time - ton) / (toff - ton), 0.0)


def _best_ramp(traces: Traces, end: int) -> tuple[float, np.ndarray]:
    """Best start of a ramp that ends at a grid point, by least squares over all sweeps.

    Returns
    -------
    score : sum over sweeps of log(variance / variance left)
    edges : (2,) start and end, grid points
    """
    values, sizes = traces.values, traces.sizes
    count = values.shape[1]
    inside = np.arange(count) < sizes[:, None]
    y = np.where(inside, values - values.mean(axis=1, keepdims=True), 0.0)
    total = y.sum(axis=1)
    variance = (y**2).sum(axis=1) - total**2 / np.maximum(sizes, 1)
    t = np.arange(count, dtype=float)
    from_start = np.cumsum(y[:, :end][:, ::-1], axis=1)[:, ::-1]
    moment = np.cumsum((y * t)[:, :end][:, ::-1], axis=1)[:, ::-1]
    starts = np.arange(0, end - 3)
    reach = end - starts
    h1 = reach * (reach - 1) / 2.0
    h2 = (reach - 1) * reach * (2 * reach - 1) / 6.0
    hy = moment[:, starts] - starts * from_start[:, starts]
    mean = total / np.maximum(sizes, 1)
    covariance = hy - h1 * mean[:, None]
    spread = h2 - h1**2 / count
    left = variance[:, None] - covariance**2 / np.maximum(spread, TINY)
    floor = 1e-6 * variance[:, None] + TINY**2
    score = np.log((variance[:, None] + floor) / (np.maximum(left, 0) + floor)).sum(axis=0)
    best = int(np.argmax(score))
    return float(score[best]), np.array([starts[best], end])


def _ramp_strength(traces: Traces, row: int, edges: np.ndarray) -> float:
    """Height of the ramp of one sweep over the spread of the current about it."""
    size = int(traces.sizes[row])
    start, end = int(edges[0]), min(int(edges[1]), size)
    if end - start < 4:
        return 0.0
    y = traces.values[row, :size]
    slope = np.zeros(size)
    slope[start:end] = np.arange(end - start) / (end - start)
    fit, offset = np.polyfit(slope, y, 1)
    rest = y - fit * slope - offset
    noise = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    return float(abs(fit) / (noise + 1e-3 * abs(fit) + TINY))


def _ramp_ends(
    sweeps: Sequence[Sweep], traces: Traces, edges: np.ndarray, strength: np.ndarray
) -> np.ndarray:
    """End of the ramp in each sweep, to the sample where the drop is sharp [ms]."""
    rough = edges[1] * traces.step
    ends = np.full(len(sweeps), rough)
    for row, sweep in enumerate(sweeps):
        if edges[1] >= traces.values.shape[1]:
            ends[row] = sweep.duration
        elif strength[row] >= SURE:
            time = fine_time(finite_current(sweep.current), sweep.dt, rough, max(1.5, 1.5 * traces.step))
            ends[row] = rough if time is None else time
    return ends


class PosCheops(Stimulus):
    """Three triangles, from `ton` to `t1`, `t2` to `t3` and `t4` to `toff`, all of height `amp`."""

    name = "PosCheops"
    timing_keys = ("ton", "t1", "t2", "t3", "t4", "toff")
    exported = (
        "ton",
        "t1",
        "t2",
        "t3",
        "t4",
        "toff",
        "tend",
        "amp",
        "hypamp",
        "dt",
        "amp_rel",
        "hypamp_rel",
    )
    sign: ClassVar[int] = 1
    usual_times: ClassVar[Mapping[str, float]] = dict(
        zip(timing_keys, (250.0, 8250.0, 10250.0, 14250.0, 16250.0, 18916.0), strict=True)
    )

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        traces = on_grid(sweeps, finest=max(sweep.duration for sweep in sweeps) / RAMP_POINTS)
        found = [
            _triangles(self.sign * traces.values[row, : traces.sizes[row]]) for row in range(len(sweeps))
        ]
        good = [times for times, _ in found if times is not None]
        group = np.median(good, axis=0) * traces.step if good else None
        result = []
        for times, strength in found:
            if times is not None:
                own = dict(zip(self.timing_keys, (times * traces.step).tolist(), strict=True))
                result.append(Timing(own, "detected", certainty(strength)))
            elif group is not None:
                shared = dict(zip(self.timing_keys, group.tolist(), strict=True))
                result.append(
                    Timing(shared, "inherited", 0.5, "no three triangles of its own: times of the others")
                )
            else:
                nothing = Timing(None, reason="three triangles were not found in any sweep of the protocol")
                result.append(or_usual(nothing, self.usual_times))
        return result

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        start = index(timing.times["ton"], sweep.dt)
        current = FilteredCurrent(measurable(sweep.current))
        base = current.median(slice(0, start)) if start else holding(sweep, 0.0, timing.times["toff"])
        hypamp = amplitude(sweep, "hypamp", base)
        top = current.maximum() if self.sign > 0 else current.minimum()
        return {"hypamp": hypamp, "amp": amplitude(sweep, "amp", top - hypamp)}

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "delay": parameters["ton"],
            **{key: parameters[key] for key in ("t1", "t2", "t3", "t4", "toff")},
            "amp": parameters["amp"],
            "thresh_perc": parameters.get("amp_rel"),
            "duration": parameters["toff"] - parameters["ton"],
            "totduration": parameters["tend"],
        }

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        current = np.full(len(time), float(parameters["hypamp"]))
        for start, end in (("ton", "t1"), ("t2", "t3"), ("t4", "toff")):
            middle = (parameters[start] + parameters[end]) / 2
            corners = [parameters[start], middle, parameters[end]]
            current += np.interp(time, corners, [0.0, parameters["amp"], 0.0])
        return current


class NegCheops(PosCheops):
    """Three triangles downwards."""

    name = "NegCheops"
    sign = -1
    usual_times: ClassVar[Mapping[str, float]] = dict(
        zip(PosCheops.timing_keys, (1750.0, 8416.0, 10416.0, 13748.0, 15748.0, 17970.0), strict=True)
    )


def _triangles(values: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Find three upward triangles: lines through the middle of each flank, where they meet the base.

    Returns
    -------
    feet : (6,) starts and ends of the triangles, in points; None unless there are three
    strength : height over noise
    """
    if len(values) < 20:
        return None, 0.0
    bottom = values[values <= np.quantile(values, 0.3)]
    low = float(np.median(bottom))
    height = float(np.quantile(values, 0.999)) - low
    noise = 1.4826 * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2)
    strength = height / (noise + 1e-3 * height + TINY)
    if strength < SURE:
        return None, strength
    above = np.concatenate(([False], values - low > 0.35 * height, [False]))
    edges = np.flatnonzero(np.diff(above.astype(int))).reshape(-1, 2)
    edges = edges[np.diff(edges, axis=1)[:, 0] > 0.01 * len(values)]
    if len(edges) != 3:
        return None, strength
    feet: list[float] = []
    outside = np.ones(len(values), dtype=bool)
    flanks = []
    for start, end in edges:
        middle, width = (start + end) // 2, end - start
        outside[max(0, start - width) : end + width] = False
        rising = np.arange(start, start + int(0.8 * (middle - start)))
        falling = np.arange(end - int(0.8 * (end - middle)), end)
        if min(len(rising), len(falling)) < 3:
            return None, strength
        flanks.append((rising, falling))
    base = float(np.median(values[outside])) if outside.any() else low
    for pair in flanks:
        for flank in pair:
            slope, offset = np.polyfit(flank, values[flank], 1)
            if slope == 0:
                return None, strength
            feet.append((base - offset) / slope)
    times = np.clip(np.array(feet), 0, len(values))
    return (times if (np.diff(times) > 0).all() else None), strength
