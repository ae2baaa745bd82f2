"""Made-up recording rigs: current traces with all that stands in the way of finding a stimulus."""

from dataclasses import dataclass

import numpy as np

from ephysflow.recordings.sweep import Sweep


@dataclass(frozen=True)
class Rig:
    """One protocol of one cell on one rig, with the truth."""

    sweeps: list[Sweep]
    times: tuple[float, ...]
    amps: np.ndarray


def coloured(rng: np.random.Generator, n: int, exponent: float) -> np.ndarray:
    """Noise of rms 1 whose power falls with frequency to the given exponent."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    frequency = np.fft.rfftfreq(n)
    frequency[0] = frequency[1]
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n)
    return noise / noise.std()


def levels(n: int, dt: float, times: tuple[float, ...], heights: tuple[float, ...]) -> np.ndarray:
    """Piecewise constant current that takes `heights[k]` from `times[k]` on."""
    current = np.zeros(n)
    for time, height in zip(times, heights, strict=True):
        current[round(time / dt) :] = height
    return current


def rig(seed: int, sweeps: int | None = None) -> Rig:
    """Draw a rig and run a step protocol on it."""
    rng = np.random.default_rng(seed)
    dt = float(rng.choice([0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.25]))
    length = float(rng.choice([2.0, 5.0, 50.0, 200.0, 500.0, 1000.0, 2000.0]))
    ton = float(rng.choice([5.0, 20.0, 50.0, 100.0, 270.0, 700.0, 1000.0]))
    after = float(rng.choice([20.0, 100.0, 300.0, 1000.0]))
    test_pulse = ton >= 50 and rng.random() < 0.4
    if test_pulse:
        ton += 100
    ton, length = round(ton / dt) * dt, round(length / dt) * dt
    n = round((ton + length + after) / dt)
    count = int(rng.choice([1, 3, 8, 15, 30])) if sweeps is None else sweeps
    kind = rng.choice(["ladder", "equal", "random"])
    unit = float(rng.choice([5, 10, 25, 50])) * 1e-3
    if kind == "ladder":
        amps = unit * (np.arange(count) - int(rng.integers(0, count + 1)))
    elif kind == "equal":
        amps = np.full(count, unit * int(rng.integers(2, 8)))
    else:
        amps = unit * rng.integers(-4, 8, count).astype(float)
    if count == 1 or not amps.any():
        amps = np.where(amps == 0, 4 * unit, amps)
    white = float(rng.choice([0.0, 0.3, 2.0, 5.0])) * 1e-3
    pink = float(rng.choice([0.0, 0.0, 1.0, 2.0])) * 1e-3
    hum = float(rng.choice([0.0, 0.0, 1.0, 3.0])) * 1e-3
    carrier = float(rng.choice([0.0, 0.0, 0.0, 80.0])) * 1e-3
    drift = float(rng.choice([0.0, 0.0, 10.0, -20.0])) * 1e-3
    transient = float(rng.choice([0.0, 0.0, 0.5]))
    quantum = float(rng.choice([0.0, 0.3125, 1.0])) * 1e-3
    hold_spread = float(rng.choice([0.0, 20.0])) * 1e-3
    spikes = rng.random() < 0.3
    t = np.arange(n) * dt
    pulse_height = -float(rng.choice([10.0, 50.0, 100.0])) * 1e-3
    result = []
    for amp in amps:
        current = levels(n, dt, (ton, ton + length), (amp, 0.0))
        if test_pulse:
            current += levels(n, dt, (20.0, 20.0 + 30.0), (pulse_height, 0.0))
        if transient:
            step = np.diff(current, prepend=current[0])
            for k in np.flatnonzero(step):
                current[k:] += transient * step[k] * np.exp(-(t[k:] - t[k]) / 0.3)
        if spikes and amp > 0.1:
            for start in ton + np.cumsum(rng.uniform(20, 60, 200)):
                if start < ton + length:
                    current += 0.5 * np.exp(-(((t - start) / 0.5) ** 2))
                    current -= 0.5 * np.exp(-(((t - start - 1.2) / 0.5) ** 2))
        current += -0.03 + hold_spread * rng.normal() + drift * t / t[-1]
        current += white * rng.normal(size=n) + pink * coloured(rng, n, 1.0)
        current += hum * np.sin(2 * np.pi * 0.05 * t + rng.uniform(0, 7))
        current += carrier * np.sqrt(2) * np.sin(2 * np.pi * 1.93 * t + rng.uniform(0, 7))
        if quantum:
            current = np.round(current / quantum) * quantum
        result.append(Sweep(np.full(n, -70.0), current.astype(np.float32), dt))
    return Rig(result, (ton, ton + length), amps)


HOLD = -0.03
"""Holding current of rigs with several steps [nA]."""


def rig_of_several_steps(seed: int, layout: str, sweeps: int = 12) -> Rig:
    """Draw a rig on which the current has more than one step; the truth is the step of interest.

    Parameters
    ----------
    layout : "both vary": a step, a constant one, and the first one again; "touching": the same, the constant one
        directly before the last one; "constant after", "constant before": a step and a constant one
    """
    rng = np.random.default_rng(seed)
    dt = float(rng.choice([0.05, 0.1, 0.2]))
    length = float(rng.choice([200.0, 500.0, 1000.0]))
    gap = float(rng.choice([60.0, 150.0, 500.0]))
    constant_length = float(rng.choice([100.0, 300.0, 500.0]))
    constant = -float(rng.choice([20.0, 50.0, 100.0])) * 1e-3
    unit = float(rng.choice([10, 25, 50])) * 1e-3
    amps = unit * (np.arange(sweeps) - int(rng.integers(0, sweeps)))
    ton = float(rng.choice([50.0, 146.8, 400.0]))
    if layout == "constant before":
        first = ton, ton + constant_length
        ton = first[1] + gap
        others = [(*first, False)]
    else:
        start = ton + length + gap
        others = [(start, start + constant_length, False)]
        again = start + constant_length + (0.0 if layout == "touching" else gap)
        if layout != "constant after":
            others.append((again, again + length, True))
    n = round((max(ton + length, others[-1][1]) + float(rng.choice([50.0, 300.0]))) / dt)
    white = float(rng.choice([0.0, 0.3, 2.0])) * 1e-3
    pink = float(rng.choice([0.0, 1.0])) * 1e-3
    hum = float(rng.choice([0.0, 0.0, 1.0])) * 1e-3
    t = np.arange(n) * dt
    result = []
    for amp in amps:
        current = HOLD + levels(n, dt, (ton, ton + length), (amp, 0.0))
        for start, end, varies in others:
            current += levels(n, dt, (start, end), (amp if varies else constant, 0.0))
        current += white * rng.normal(size=n) + pink * coloured(rng, n, 1.0)
        current += hum * np.sin(2 * np.pi * 0.05 * t + rng.uniform(0, 7))
        result.append(Sweep(np.full(n, -70.0), current.astype(np.float32), dt))
    return Rig(result, (ton, ton + length), amps)
