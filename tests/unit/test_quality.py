import numpy as np
import pytest

from ephysflow.errors import ConfigurationError
from ephysflow.recordings.quality import QUALITY_LIMITS, quality_limits, sweep_quality

DT = 0.1
WINDOW = {"ton": 600.0, "toff": 1100.0, "hypamp": -0.05}


def traces(noise=0.03, drift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    n = 20000
    voltage = -70.0 + noise * rng.normal(size=n) + np.where(np.arange(n) > 12000, drift, 0.0)
    return voltage, -0.05 + 0.001 * rng.normal(size=n)


def quality(voltage, current, limits=None, window=None):
    return sweep_quality(voltage, current, DT, window or WINDOW, limits or {})


def test_measures_of_white_noise():
    row = quality(*traces(noise=0.1, drift=2.0))
    assert row["noise_rms_pre"] == pytest.approx(0.1, rel=0.1)
    assert row["noise_rms_post"] == pytest.approx(0.1, rel=0.1)
    assert row["slow_noise"] == pytest.approx(0.1, rel=0.05)
    assert row["vm_pre"] == pytest.approx(-70, abs=0.01)
    assert row["vm_post"] == pytest.approx(-68, abs=0.01)
    assert row["vm_drift"] == pytest.approx(2, abs=0.02)
    assert row["current_noise_rms"] == pytest.approx(0.001, rel=0.05)
    assert row["holding_current"] == -0.05
    assert (row["saturated"], row["early_end"], row["nan_count"]) == (False, False, 0)
    assert (row["qc_passed"], row["qc_reasons"]) == (True, "")


def test_published_criteria():
    limits = quality_limits("ipfx", {})
    assert quality(*traces(noise=0.05), limits)["qc_passed"]
    noisy = quality(*traces(noise=0.09), limits)
    assert not noisy["qc_passed"]
    assert "noise_rms_pre" in noisy["qc_reasons"]
    assert "vm_drift -1.5" in quality(*traces(drift=-1.5), limits)["qc_reasons"]


def test_bounds_in_both_directions():
    assert "at least -65" in quality(*traces(), {"vm_pre_min": -65.0})["qc_reasons"]
    assert quality(*traces(), {"vm_pre_min": -75.0, "vm_pre_max": -60.0})["qc_passed"]
    assert not quality(*traces(), {"holding_current": 0.04})["qc_passed"]


def test_clipped_spikes_are_seen():
    voltage, current = traces()
    t = np.arange(20000) * DT
    spikes = 120 * np.exp(-(((t % 50) - 25) ** 2) / 4)
    assert not quality(voltage + spikes, current)["saturated"]
    row = quality(np.minimum(voltage + spikes, 0.0), current)
    assert row["saturated"]
    assert not row["qc_passed"]


def test_computed_currents_and_flat_simulations_are_not_saturated():
    current = np.where((np.arange(20000) > 6000) & (np.arange(20000) < 11000), 0.2, 0.0)
    assert not quality(np.full(20000, -70.0), current)["saturated"]
    assert not quality(traces()[0], current)["saturated"]
    quantised = np.round(traces()[0] / 0.03) * 0.03
    assert not quality(quantised, current)["saturated"]


def test_padded_and_short_sweeps_end_early():
    voltage, current = traces()
    voltage[15000:] = 0.0
    assert "ends early" in quality(voltage, current)["qc_reasons"]
    voltage[15000:] = np.nan
    row = quality(voltage, current)
    assert row["early_end"]
    assert row["nan_count"] == 5000
    assert quality(*(trace[:9000] for trace in traces()))["early_end"]


def test_nothing_before_the_stimulus_gives_none_and_no_failure():
    row = quality(*traces(), quality_limits("ipfx", {}), {"ton": 0.0, "toff": 2000.0})
    assert row["noise_rms_pre"] is None
    assert row["vm_drift"] is None
    assert row["holding_current"] is None
    assert row["qc_passed"]


def test_limits_of_a_user():
    assert quality_limits("none", {}) == QUALITY_LIMITS["none"] == {}
    assert quality_limits("ipfx", {"slow_noise": 1, "vm_drift": None}) == {
        "noise_rms_pre": 0.07,
        "noise_rms_post": 0.07,
        "slow_noise": 1.0,
    }
    with pytest.raises(ConfigurationError, match=r"'slow_nose'.*slow_noise"):
        quality_limits("ipfx", {"slow_nose": 1.0})
    with pytest.raises(ConfigurationError, match=r"'Allen'.*ipfx"):
        quality_limits("Allen", {})
    with pytest.raises(ConfigurationError, match="not a number"):
        quality_limits("none", {"slow_noise": float("nan")})
    with pytest.raises(ConfigurationError, match="known ones"):
        quality(*traces(), {"noise": 1.0})
