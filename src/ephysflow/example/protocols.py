"""The cells of the example, and what was done to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ephysflow.example.simulation import Neuron

LIQUID_JUNCTION_POTENTIAL = 14.0
"""Of the pipette solution [mV]: the files hold the membrane potential plus this."""


@dataclass(frozen=True)
class Cell:
    """One simulated cell and its rig.

    Attributes
    ----------
    name : of the cell
    neuron : what is patched
    rheobase : smallest multiple of 5 pA that makes a one-second step fire [nA]: the experimenter scales
        the amplitudes of all stimuli by it
    holding : current [nA]
    sampling_interval : [ms]
    idrest_repetitions : how often the IDrest steps are given
    """

    name: str
    neuron: Neuron
    rheobase: float
    holding: float
    sampling_interval: float
    idrest_repetitions: int = 1


CELLS = (
    Cell(
        "pyr1",
        Neuron(diameter=80, g_na=40, g_h=0.04, g_leak=0.030, g_m=0.075, background=0.004),
        0.15,
        -0.02,
        0.05,
        2,
    ),
    Cell(
        "pyr2",
        Neuron(diameter=86, g_na=44, g_h=0.06, g_leak=0.034, g_m=0.10, tau_m_max=500, background=0.004),
        0.21,
        -0.03,
        0.1,
    ),
    Cell(
        "pyr3",
        Neuron(diameter=72, g_na=36, g_h=0.05, g_leak=0.032, g_m=0.085, v_threshold=-57.5, background=0.003),
        0.125,
        -0.015,
        0.2,
    ),
    Cell(
        "pyr4",
        Neuron(diameter=76, g_na=42, g_h=0.07, g_leak=0.028, g_m=0.12, v_threshold=-55.5, background=0.004),
        0.16,
        -0.025,
        0.2,
    ),
)


@dataclass(frozen=True)
class Stimulus:
    """The true stimulus of one sweep; times in ms from its start, amplitudes in nA above `hypamp`.

    Attributes
    ----------
    cell, protocol : names as in the sample sheet
    sweep : 0, 1... within cell and protocol, in the order of the files
    repetition : 1, 2... of the same stimulus
    tend : duration of the sweep
    ton, toff : the stimulus is on in [ton, toff)
    amp : amplitude; of a ramp, at its end; of a step within a step, of the outer one
    hypamp : holding current
    tmid, tmid2, amp2 : of a step within a step: the inner one is on in [tmid, tmid2)
    tspike, spike_duration : of a train of pulses: the beginnings, and how long each lasts
    """

    cell: str
    protocol: str
    sweep: int
    repetition: int
    tend: float
    ton: float
    toff: float
    amp: float
    hypamp: float
    tmid: float | None = None
    tmid2: float | None = None
    amp2: float | None = None
    tspike: tuple[float, ...] = ()
    spike_duration: float | None = None

    def current(self, dt: float) -> np.ndarray:
        """Return the command current [nA] at the interval `dt` [ms]."""
        t = np.arange(round(self.tend / dt)) * dt + dt / 1000  # 1000th of a step: edges fall on their sample
        on = (t >= self.ton) & (t < self.toff)
        if self.protocol == "APThreshold":
            return self.hypamp + np.where(on, self.amp * (t - self.ton) / (self.toff - self.ton), 0.0)
        if self.spike_duration is not None:
            on = np.any([(t >= start) & (t < start + self.spike_duration) for start in self.tspike], axis=0)
        command = self.hypamp + np.where(on, self.amp, 0.0)
        if self.tmid is not None and self.tmid2 is not None and self.amp2 is not None:
            command[(t >= self.tmid) & (t < self.tmid2)] = self.hypamp + self.amp2
        return command


def stimuli_of(cell: Cell) -> list[Stimulus]:
    """Return what a cell is given, protocol by protocol."""

    def times_rheobase(factor: float) -> float:
        return round(round(factor * cell.rheobase / 0.005) * 0.005, 3)

    def sweep(protocol: str, factor: float, tend: float, ton: float, toff: float) -> Stimulus:
        return Stimulus(cell.name, protocol, 0, 1, tend, ton, toff, times_rheobase(factor), cell.holding)

    def step_within(
        protocol: str, outer: float, inner: float, tend: float, times: tuple[float, float, float, float]
    ) -> Stimulus:
        ton, tmid, tmid2, toff = times
        return replace(
            sweep(protocol, outer, tend, ton, toff), tmid=tmid, tmid2=tmid2, amp2=times_rheobase(inner)
        )

    def pulses(gap: float) -> Stimulus:
        starts = tuple(20 + k * (4 + gap) for k in range(5))
        train = sweep("SpikeRec", 11.0, starts[-1] + 84, starts[0], starts[-1] + 4)
        return replace(train, tspike=starts, spike_duration=4.0)

    given = [sweep("IV", k, 750, 100, 600) for k in (-1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4)]
    for repetition in range(1, cell.idrest_repetitions + 1):
        given += [
            replace(sweep("IDrest", k, 1400, 200, 1200), repetition=repetition)
            for k in (0.6, 0.8, 0.9, 1.0, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0)
        ]
    given += [sweep("APWaveform", k, 200, 50, 100) for k in (2.0, 2.5, 3.0, 3.5)]
    given += [step_within("IDhyperpol", -0.5, k, 1100, (100, 300, 800, 950)) for k in (1.5, 2.0)]
    given += [step_within("sAHP", 0.4, k, 1500, (50, 300, 400, 1400)) for k in (2.0, 2.5, 3.0)]
    given += [replace(sweep("APThreshold", 2.0, 1200, 100, 1100), repetition=k) for k in (1, 2)]
    given += [pulses(gap) for gap in (11.0, 16.0, 36.0)]
    return _numbered(given)


def _numbered(stimuli: Sequence[Stimulus]) -> list[Stimulus]:
    """Give the sweeps of each protocol the numbers 0, 1..."""
    seen: dict[str, int] = {}
    numbered = []
    for stimulus in stimuli:
        number = seen.get(stimulus.protocol, 0)
        seen[stimulus.protocol] = number + 1
        numbered.append(replace(stimulus, sweep=number))
    return numbered
