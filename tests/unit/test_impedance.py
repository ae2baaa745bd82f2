import numpy as np
import pytest

from ephysflow.efeatures.efel_engine import EfelTrace, feature_values
from ephysflow.efeatures.impedance import impedance

R, C = 100.0, 0.1  # MOhm, nF: 10 ms
DT, DURATION = 0.1, 20.0  # ms, s


def chirp(first=0.5, last=30.0):
    """Current [nA] whose frequency rises linearly between 1 s after the start and 1 s before the end."""
    t = np.arange(int(DURATION * 1000 / DT)) * DT / 1000
    s, length = t - 1, DURATION - 2
    phase = 2 * np.pi * (first * s + (last - first) * s**2 / (2 * length))
    return np.where((s > 0) & (s < length), 0.05 * np.sin(phase), 0) - 0.02


def response(current, transfer):
    """Voltage [mV] of a linear membrane with impedance `transfer(frequency)` [MOhm]."""
    frequencies = np.fft.rfftfreq(len(current), DT / 1000)
    return np.fft.irfft(np.fft.rfft(current) * transfer(frequencies), len(current)) - 70


def passive(f):
    return R / (1 + 2j * np.pi * f * R * C * 1e-3)


def resonant(f):
    w = 2e-3 * np.pi * f
    return 1 / (1 / R + 1j * w * C + 1 / (50 + 1j * w * 2000))


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_passive_membrane(noise):
    current = chirp()
    voltage = response(current, passive) + np.random.default_rng(0).normal(0, noise, len(current))
    frequencies, magnitude = impedance(voltage, current, DT)
    inside = (frequencies > 1) & (frequencies < 28)
    expected = R / np.sqrt(1 + (2 * np.pi * frequencies * R * C * 1e-3) ** 2)
    assert magnitude[inside] == pytest.approx(expected[inside], rel=0.01)


def test_frequencies_are_those_of_the_sampling():
    # defect 21: the axis follows dt, and nothing else
    current = chirp()
    frequencies, _ = impedance(response(current, passive), current, DT, max_frequency=20.0)
    assert frequencies[0] == pytest.approx(1 / DURATION)
    assert frequencies[-1] == pytest.approx(20)
    halved, _ = impedance(response(current, passive), current, DT / 2, max_frequency=20.0)
    assert halved[0] == pytest.approx(2 / DURATION)


def test_resonance():
    current = chirp()
    frequencies, magnitude = impedance(response(current, resonant), current, DT)
    fine = np.linspace(0.5, 28, 5000)
    expected = np.abs(resonant(fine))
    inside = (frequencies > 0.5) & (frequencies < 28)
    found = frequencies[inside][magnitude[inside].argmax()]
    assert found == pytest.approx(fine[expected.argmax()], abs=0.2)


@pytest.mark.parametrize("step", [0.025, 0.1])
def test_efel_finds_the_same_resonance(step):
    current = chirp()
    trace = EfelTrace(response(current, resonant), DT, 1000.0, 19000.0, current)
    settings = {"impedance_max_freq": 28.0, "interp_step": step}
    fine = np.linspace(0.5, 28, 5000)
    value = feature_values([trace], ["impedance"], settings)[0]["impedance"]
    assert value == pytest.approx(fine[np.abs(resonant(fine)).argmax()], abs=0.2)


def test_frequencies_that_are_not_stimulated_have_no_value():
    t = np.arange(20000) * DT / 1000
    current = 0.05 * np.sin(2 * np.pi * 10 * t)
    frequencies, magnitude = impedance(response(current, passive), current, DT, smoothing=0.0)
    assert frequencies[np.isfinite(magnitude)] == pytest.approx([10])
    assert magnitude[np.isfinite(magnitude)] == pytest.approx(abs(passive(10)))
    _, nothing = impedance(response(current, passive), np.zeros(20000), DT)
    assert np.isnan(nothing).all()
