"""What the amplifier and the converter make of a membrane potential and a command current."""

from dataclasses import dataclass

import numpy as np

from ephysflow.example.protocols import LIQUID_JUNCTION_POTENTIAL

VOLTAGE_UNIT = 0.03125
"""One step of the converter [mV]."""

CURRENT_UNIT = 0.1
"""One step of the converter [pA]."""

_UNCOMPENSATED_RESISTANCE = 4.0  # left by the bridge balance [MOhm]
_VOLTAGE_NOISE = 0.05  # white, standard deviation [mV]
_FLICKER = 0.1  # 1/f, standard deviation [mV]
_DRIFT = 0.3  # of the baseline over a sweep, standard deviation [mV]
_CURRENT_NOISE = 1.0  # white, standard deviation [pA]
_HUM, _HUM_FREQUENCY = 0.8, 0.05  # of the mains: amplitude [pA], frequency [kHz]


@dataclass(frozen=True)
class Digitised:
    """One sweep as the converter delivers it.

    Attributes
    ----------
    voltage : (n,) int16 [VOLTAGE_UNIT]
    current : (n,) int16 [CURRENT_UNIT]; its length differs from the voltage's in an aborted sweep
    """

    voltage: np.ndarray
    current: np.ndarray


def digitise(potential: np.ndarray, command: np.ndarray, dt: float, seed: tuple[int, ...]) -> Digitised:
    """Record one sweep.

    Parameters
    ----------
    potential : (n,) membrane potential [mV]
    command : (n,) injected current [nA]
    dt : sampling interval [ms]
    seed : of the noise
    """
    random = np.random.default_rng(seed)
    n = len(potential)
    t = np.arange(n) * dt
    voltage = (
        potential
        + LIQUID_JUNCTION_POTENTIAL
        + _UNCOMPENSATED_RESISTANCE * command
        + _DRIFT * random.standard_normal() * np.linspace(-0.5, 0.5, n)
        + _VOLTAGE_NOISE * random.standard_normal(n)
        + _FLICKER * _flicker(n, random)
    )
    current = (
        1e3 * command
        + _CURRENT_NOISE * random.standard_normal(n)
        + _HUM * np.sin(2 * np.pi * (_HUM_FREQUENCY * t + random.random()))
    )
    return Digitised(_convert(voltage / VOLTAGE_UNIT), _convert(current / CURRENT_UNIT))


def lose_seal(sweep: Digitised, sample: int, aborted: int) -> Digitised:
    """Return the sweep with the amplifier in saturation from `sample` on, and its voltage cut at `aborted`."""
    voltage = sweep.voltage[:aborted].copy()
    voltage[sample:] = np.iinfo(np.int16).max
    return Digitised(voltage, sweep.current)


def _flicker(n: int, random: np.random.Generator) -> np.ndarray:
    """1/f noise of unit variance."""
    spectrum = random.standard_normal(n // 2 + 1) + 1j * random.standard_normal(n // 2 + 1)
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, n)
    return noise / noise.std()


def _convert(values: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)
