"""Stimuli of constant levels: none, one step, a step on a step, and two steps in a row."""

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
    or_usual,
    short_output,
)
from ephysflow.recordings.stimuli.edges import find_edges
from ephysflow.recordings.stimuli.levels import FilteredCurrent, measurable
from ephysflow.recordings.sweep import Sweep

LEAD = 100.0
"""Stretch at the start of a sweep without stimulus that shows the resting potential [ms]; eFEL needs some."""

LEAD_PART = 0.1
"""The most of a sweep that this stretch takes."""

CONSTANT = 0.9
"""Confidence that there is no stimulus where none is expected and none is seen."""

NOT_CONSTANT = 0.4
"""The same where the current changes after all."""


class _Levels(Stimulus):
    """Stimuli whose edges are found by `find_edges`."""

    pattern: ClassVar[tuple[int, ...]]

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        return [
            Timing(
                None
                if edges.times is None
                else dict(zip(self.timing_keys, map(float, edges.times), strict=True)),
                edges.source,
                edges.confidence,
                edges.reason,
                edges.since,
            )
            for edges in find_edges(sweeps, self.pattern)
        ]


class Step(_Levels):
    """A rectangular step from `ton` to `toff`."""

    name = "Step"
    pattern = (0, 1, 0)

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        ton, toff = timing.times["ton"], timing.times["toff"]
        hypamp = amplitude(sweep, "hypamp", holding(sweep, ton, toff, timing.since))
        during = sweep.current[index(ton, sweep.dt) : index(toff, sweep.dt)]
        return {"hypamp": hypamp, "amp": amplitude(sweep, "amp", float(np.median(during)) - hypamp)}

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return short_output(parameters)

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        return parameters["hypamp"] + np.where(
            between(time, parameters, "ton", "toff"), parameters["amp"], 0.0
        )


class Spontaneous(Step):
    """No stimulus: the cell at rest or at a constant current; with given times, a step.

    The sweep is the response, but for a short stretch at its start, which e-features take the resting potential from.
    A current that does change is not taken for the stimulus, but said.
    """

    name = "Spontaneous"

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        result = []
        for sweep, edges in zip(sweeps, find_edges(sweeps, self.pattern), strict=True):
            ton = min(LEAD, LEAD_PART * sweep.duration)
            confidence, reason = CONSTANT, "no stimulus expected"
            if edges.times is not None and edges.source == "detected":
                low, high = edges.times
                confidence = NOT_CONSTANT
                reason += f" in this protocol, but the current has a step at {low:.5g} to {high:.5g} ms"
            result.append(Timing({"ton": ton, "toff": sweep.duration}, "default", confidence, reason))
        return result

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        if timing.source != "default":
            return super().parameters(sweep, timing)
        median = float(np.median(measurable(sweep.current)))
        return {"hypamp": amplitude(sweep, "hypamp", median), "amp": amplitude(sweep, "amp", 0.0)}


class SAHP(_Levels):
    """A short step from `tmid` to `tmid2` on a long one from `ton` to `toff`: `amp` is the long, `amp2` the short."""

    name = "SAHP"
    pattern = (0, 1, 2, 1, 0)
    timing_keys = ("ton", "tmid", "tmid2", "toff")
    exported = (
        "ton",
        "tmid",
        "tmid2",
        "toff",
        "tend",
        "amp",
        "amp2",
        "hypamp",
        "dt",
        "amp_rel",
        "amp2_rel",
        "hypamp_rel",
    )
    matched_by = "amp2"

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        ton, tmid, tmid2, toff = (index(timing.times[key], sweep.dt) for key in self.timing_keys)
        current = FilteredCurrent(measurable(sweep.current))
        hypamp = amplitude(sweep, "hypamp", current.median(slice(0, ton), slice(toff, None)))
        long = current.median(slice(ton, tmid), slice(tmid2, toff)) - hypamp
        short = current.median(slice(tmid, tmid2)) - hypamp
        return {
            "hypamp": hypamp,
            "amp": amplitude(sweep, "amp", long),
            "amp2": amplitude(sweep, "amp2", short),
        }

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "delay": parameters["ton"],
            "tmid": parameters["tmid"],
            "tmid2": parameters["tmid2"],
            "toff": parameters["toff"],
            "amp": parameters["amp2"],
            "long_amp": parameters["amp"],
            "thresh_perc": parameters.get("amp2_rel"),
            "duration": parameters["tmid2"] - parameters["tmid"],
            "totduration": parameters["tend"],
        }

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        long = np.where(between(time, parameters, "ton", "toff"), parameters["amp"], 0.0)
        return parameters["hypamp"] + np.where(
            between(time, parameters, "tmid", "tmid2"), parameters["amp2"], long
        )


class HyperDePol(_Levels):
    """A hyperpolarising step from `ton` to `tmid`, then a depolarising one to `toff`: `amp`, then `amp2`."""

    name = "HyperDePol"
    pattern = (0, 1, 2, 0)
    timing_keys = ("ton", "tmid", "toff")
    exported = (
        "ton",
        "tmid",
        "toff",
        "tend",
        "amp",
        "amp2",
        "hypamp",
        "dt",
        "amp_rel",
        "amp2_rel",
        "hypamp_rel",
    )
    usual_times: ClassVar[Mapping[str, float] | None] = {"ton": 250.0, "tmid": 700.0, "toff": 970.0}

    def estimate_timing(self, sweeps: Sequence[Sweep]) -> list[Timing]:
        return [or_usual(timing, self.usual_times) for timing in super().estimate_timing(sweeps)]

    def parameters(self, sweep: Sweep, timing: Timing) -> dict[str, Any]:
        assert timing.times is not None
        ton, tmid, toff = (index(timing.times[key], sweep.dt) for key in self.timing_keys)
        current = FilteredCurrent(measurable(sweep.current))
        hypamp = amplitude(sweep, "hypamp", current.median(slice(0, ton), slice(toff, None)))
        return {
            "hypamp": hypamp,
            "amp": amplitude(sweep, "amp", current.median(slice(ton, tmid)) - hypamp),
            "amp2": amplitude(sweep, "amp2", current.median(slice(tmid, toff)) - hypamp),
        }

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "delay": parameters["ton"],
            "tmid": parameters["tmid"],
            "toff": parameters["toff"],
            "amp": parameters["amp"],
            "amp2": parameters["amp2"],
            "thresh_perc": parameters.get("amp_rel"),
            "duration": parameters["toff"] - parameters["ton"],
            "totduration": parameters["tend"],
        }

    def rebuild(self, parameters: Mapping[str, Any], time: np.ndarray) -> np.ndarray:
        first = np.where(between(time, parameters, "ton", "tmid"), parameters["amp"], 0.0)
        second = np.where(between(time, parameters, "tmid", "toff"), parameters["amp2"], 0.0)
        return parameters["hypamp"] + first + second


class DeHyperPol(HyperDePol):
    """A depolarising step from `ton` to `tmid`, then a hyperpolarising one to `toff`.

    Targets are compared with `amp`. In protocols.json, `thresh_perc` belongs to the second step: BluePyEModel scales
    that one by it and takes `amp` as it is.
    """

    name = "DeHyperPol"
    usual_times = None

    def step(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().step(parameters), "thresh_perc": parameters.get("amp2_rel")}
