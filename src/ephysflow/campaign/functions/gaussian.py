"""Gaussian smoothing of histograms, without the cost of importing scipy.ndimage."""

import numpy as np

TRUNCATE = 4.0
"""The kernel ends at this many standard deviations."""


def gaussian_smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth along the last axis with a normalised Gaussian kernel; the edges are reflected (d c b a | a b c d).

    The kernel and the order of the sum are those of ``scipy.ndimage.gaussian_filter1d`` with its defaults, so that
    the results are the same to the last bit and may be truncated to integers as there.

    Parameters
    ----------
    values : (..., n), n >= 1
    sigma : standard deviation of the kernel [bins], 0 or more

    Returns
    -------
    np.ndarray
        (..., n) float64.
    """
    values = np.asarray(values, dtype=np.float64)
    radius = int(TRUNCATE * sigma + 0.5)
    if radius == 0:
        return values.copy()
    positions = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / sigma**2 * positions**2)
    kernel /= kernel.sum()
    n = values.shape[-1]
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(radius, radius)], mode="symmetric")
    smoothed = values * kernel[radius]
    for distance in range(radius, 0, -1):
        both = (
            padded[..., radius - distance : radius - distance + n] + padded[..., radius + distance :][..., :n]
        )
        smoothed += both * kernel[radius - distance]
    return smoothed
