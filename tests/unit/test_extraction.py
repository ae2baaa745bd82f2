import json
import math

import numpy as np
import pytest

from ephysflow.efeatures.extraction import extract_features, relative_amplitude
from ephysflow.efeatures.targets import Target
from ephysflow.errors import ConfigurationError

SETTINGS = {"strict_stiminterval": True, "Threshold": -20.0, "interp_step": 0.1}


def row(sweep, amp, spikes=(), **changed):
    """Passive step of 100 MOhm on -70 mV, 100 to 400 ms, with spikes."""
    t = np.arange(5000) * 0.1
    voltage = -70.0 + 100 * amp * ((t > 100.5) & (t < 400))
    for spike in spikes:
        voltage += 90 * np.clip(1 - np.abs(t - spike), 0, None)
    return {
        "cell": "c1", "protocol": "IDrest", "sweep": sweep, "dt": 0.1, "ton": 100.0, "toff": 400.0,
        "response_start": 100.0, "response_end": 400.0, "amp": amp,
        "amp2": None, "delta": None, "matched_by": "amp", "auto_threshold": -40.0, "tspike": None,
        "spike_duration": None, "voltage": voltage, "current": amp * ((t >= 100) & (t < 400)), **changed,
    }  # fmt: skip


def target(efeature, amplitude, tolerance=10, **settings):
    return Target(efeature, "IDrest", amplitude, tolerance, efel_settings=settings)


def extract(rows, targets, rheobase=0.1, settings=SETTINGS, absolute=False, all_sweeps=False):
    return extract_features(
        rows, rheobase, targets, settings, absolute_amplitude=absolute, all_sweeps=all_sweeps
    )


def test_only_sweeps_of_targets_are_computed():
    rows = [row(0, 0.1), row(1, 0.12, (150.0,)), row(2, 0.15, (150.0, 200.0)), row(3, 0.109)]
    found = extract(rows, [target("Spikecount", 120), target("voltage_base", 100, 20)])
    assert [(v["sweep"], v["efeature"], v["value"]) for v in found] == [
        (0, "voltage_base", pytest.approx(-70)),
        (1, "Spikecount", 1),
        (3, "voltage_base", pytest.approx(-70)),
    ]
    assert found[1]["amp"] == 0.12
    assert found[1]["amp_rel"] == pytest.approx(120)
    assert (found[1]["cell"], found[1]["protocol"], found[1]["error"]) == ("c1", "IDrest", None)


def test_tolerance_is_strict_and_amplitudes_may_be_absolute():
    rows = [row(0, 0.25), row(1, 0.375)]
    assert [v["sweep"] for v in extract(rows, [target("Spikecount", 0.25, 0.125)], None, absolute=True)] == [
        0
    ]
    assert extract(rows, [target("Spikecount", 0.125, 0.125)], None, absolute=True) == []


def test_without_rheobase_nothing_belongs_to_a_relative_target():
    for rheobase in (None, 0.0, float("nan")):
        assert extract([row(0, 0.1)], [target("Spikecount", 100)], rheobase) == []
        everything = extract([row(0, 0.1)], [target("Spikecount", 100)], rheobase, all_sweeps=True)
        assert [v["amp_rel"] for v in everything] == [None]


def test_other_parameters_are_matched():
    rows = [row(0, 0.1, amp2=0.2, matched_by="amp2"), row(1, 0.1, delta=50.0, matched_by="delta")]
    assert [(v["sweep"], v["amp"]) for v in extract(rows, [target("Spikecount", 200)])] == [(0, 0.2)]
    by_gap = extract(rows, [target("Spikecount", 50)])
    assert [(v["sweep"], v["amp"], v["amp_rel"]) for v in by_gap] == [(1, 50.0, None)]


def test_two_settings_of_one_feature_stay_apart():
    # defect 4
    rows = [row(0, 0.1, (150.0, 250.0, 350.0))]
    late = target("Spikecount", 100, stim_start=200.0, stim_end=400.0)
    found = extract(rows, [target("Spikecount", 100), late, target("Spikecount", 105)])
    assert [v["value"] for v in found] == [3, 2]
    assert [json.loads(v["settings"]) for v in found] == [
        SETTINGS,
        {**SETTINGS, "stim_start": 200.0, "stim_end": 400.0},
    ]
    assert found[1]["settings"] == late.settings_text(SETTINGS)


def test_automatic_threshold_is_used_and_recorded():
    rows = [
        row(0, 0.1, (150.0,)),
        row(1, 0.1, (150.0,), auto_threshold=50.0),
        row(2, 0.1, auto_threshold=None),
    ]
    found = extract(rows, [target("Spikecount", 100)], settings={})
    assert [v["value"] for v in found[:2]] == [1, 0]
    assert [v["auto_threshold_used"] for v in found] == [-40.0, 50.0, None]
    assert math.isnan(found[2]["value"])
    assert "threshold" in found[2]["error"]
    assert extract(rows, [target("Spikecount", 100)])[0]["auto_threshold_used"] is None


def test_amplitude_reaches_efel_and_a_setting_comes_before_it():
    rows = [row(0, -0.1)]
    name = "ohmic_input_resistance_vb_ssse"
    own = target(name, -100, stimulus_current=-0.2)
    found = extract(rows, [target(name, -100), own])
    assert [v["value"] for v in found] == [pytest.approx(100), pytest.approx(50)]


def test_values_are_means_and_missing_ones_nan():
    rows = [row(0, 0.1, (150.0, 200.0, 300.0)), row(1, 0.1)]
    found = extract(rows, [target("peak_time", 100), target("AP_amplitude", 100)])
    assert found[0]["value"] == pytest.approx((150 + 200 + 300) / 3, abs=0.11)
    assert [math.isnan(v["value"]) for v in found] == [False, False, True, True]
    assert [v["error"] for v in found] == [None] * 4


def test_a_sweep_that_cannot_be_used_has_an_error_and_others_a_value():
    rows = [row(0, 0.1), row(1, 0.1, response_start=450.0), row(2, 0.1, response_start=None), row(3, 0.1)]
    found = extract(rows, [target("voltage_base", 100)])
    assert [v["error"] is None for v in found] == [True, False, False, True]
    assert [math.isnan(v["value"]) for v in found] == [False, True, True, False]


def test_unknown_names_are_refused():
    with pytest.raises(ConfigurationError, match="no_such"):
        extract([row(0, 0.1)], [target("no_such", 100)])
    with pytest.raises(ConfigurationError, match="no_such"):
        extract([row(0, 0.1)], [target("Spikecount", 100, no_such=1)])


def test_relative_amplitude():
    assert relative_amplitude(0.15, 0.1) == pytest.approx(150)
    assert relative_amplitude(-0.05, 0.1) == pytest.approx(-50)
    for amp, rheobase in ((None, 0.1), (0.1, None), (0.1, 0.0), (float("nan"), 0.1), (0.1, float("nan"))):
        assert relative_amplitude(amp, rheobase) is None
