"""Impedance of the membrane from a sweep with a broad-band current, such as SineSpec.

eFEL's own feature ``impedance`` is the frequency of the largest impedance alone.
"""

import numpy as np

# Below this share of the largest power, the current holds nothing to divide by.
_LEAST_POWER = 1e-4


def impedance(
    voltage: np.ndarray,
    current: np.ndarray,
    dt: float,
    max_frequency: float = 50.0,
    smoothing: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the impedance by frequency.

    The transfer function from current to voltage, ``|<V I*> / <I I*>|`` with V and I the Fourier transforms
    of the whole sweep less its mean and < > a Gaussian mean over neighbouring frequencies (H1 estimator;
    Bendat & Piersol, Random Data, 4th ed., chapter 6). Meaningful for sweeps without spikes.

    Parameters
    ----------
    voltage : (n,) [mV]
    current : (n,) [nA]
    dt : sampling interval [ms]
    max_frequency : highest frequency that is returned [Hz]
    smoothing : standard deviation of the Gaussian [Hz]; 0 for none

    Returns
    -------
    frequencies : (m,) multiples of 1 / duration, above 0 [Hz]
    magnitude : (m,) [MOhm]; NaN where the current has less than 1e-4 of its largest power
    """
    current = np.asarray(current, float)
    frequencies = np.fft.rfftfreq(len(current), dt / 1000.0)
    v = np.fft.rfft(voltage - np.mean(voltage, dtype=float))
    i = np.fft.rfft(current - current.mean())
    cross, power = v * i.conj(), np.abs(i) ** 2
    width = smoothing * len(current) * dt / 1000.0  # in frequencies
    if width > 0:
        reach = min(int(np.ceil(4 * width)), (len(frequencies) - 1) // 2)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        cross, power = np.convolve(cross, kernel, "same"), np.convolve(power, kernel, "same")
    stimulated = power > _LEAST_POWER * power[1:].max(initial=0.0)
    magnitude = np.full(len(frequencies), np.nan)
    magnitude[stimulated] = np.abs(cross[stimulated]) / power[stimulated]
    shown = (frequencies > 0) & (frequencies <= max_frequency)
    return frequencies[shown], magnitude[shown]
