"""Known times and amplitudes, errors, outputs and rebuilt currents."""

import numpy as np
import pytest

from ephysflow.errors import RecordingError
from ephysflow.recordings.stimuli import STIMULI, auto_threshold, describe
from ephysflow.recordings.sweep import Sweep

DT = 0.1
STEP = STIMULI["Step"]


def sweep(given=None, stated=None, n=10000, times=(200.0, 700.0), amp=0.2, hold=-0.03, voltage=None):
    t = np.arange(n) * DT
    current = np.where((t >= times[0]) & (t < times[1]), hold + amp, hold)
    voltage = np.where((t >= times[0]) & (t < times[1]), -60.0, -75.0) if voltage is None else voltage
    return Sweep(voltage, current, DT, given or {}, stated or {})


def one(stimulus=STEP, **kwargs):
    return describe(stimulus, [sweep(**kwargs)])[0]


def test_given_times_are_taken_as_they_are():
    row = one(given={"ton": 150.0, "toff": 650.0})
    assert (row["ton"], row["toff"], row["tend"]) == pytest.approx((150.0, 650.0, 1000.0))
    assert (row["timing_source"], row["timing_confidence"], row["timing_reason"]) == ("given", 1.0, "")


def test_given_beats_stated_and_stated_is_in_ms():
    row = one(given={"ton": 150.0}, stated={"ton": 190.0, "toff": 690.0})
    assert (row["ton"], row["toff"], row["timing_source"]) == (
        pytest.approx(150.0),
        pytest.approx(690.0),
        "stated",
    )


def test_a_missing_time_is_estimated_without_touching_the_given_one():
    row = one(given={"ton": 150.0})
    assert (row["ton"], row["toff"]) == pytest.approx((150.0, 700.0))
    assert "ton known, toff estimated" in row["timing_reason"]


def test_given_amplitudes_come_first():
    row = one(given={"hypamp": -0.05, "ton": 200.0, "toff": 700.0})
    assert row["hypamp"] == -0.05
    assert row["amp"] == pytest.approx(0.22)
    assert one(given={"amp": 0.5})["amp"] == 0.5


def test_amplitudes_given_to_a_step_on_a_step_are_kept():
    times = {"ton": 200.0, "tmid": 300.0, "tmid2": 400.0, "toff": 700.0}
    row = one(STIMULI["SAHP"], given={**times, "amp": 0.1, "amp2": 0.3, "hypamp": 0.0})
    assert (row["amp"], row["amp2"], row["hypamp"]) == (0.1, 0.3, 0.0)


def test_a_step_from_the_first_sample_takes_its_holding_current_from_the_end():
    row = one(given={"ton": 0.0, "toff": 500.0}, times=(0.0, 500.0))
    assert (row["hypamp"], row["amp"]) == pytest.approx((-0.03, 0.2))
    assert row["auto_threshold"] == pytest.approx(-40.0)


def test_a_stimulus_to_the_last_sample():
    row = one(given={"ton": 200.0, "toff": 1000.0}, times=(200.0, 1000.0))
    assert (row["toff"], row["amp"]) == pytest.approx((1000.0, 0.2))


def test_a_window_that_fills_the_sweep_holds_the_holding_current():
    row = one(given={"ton": 0.0, "toff": 1000.0}, times=(0.0, 0.0))
    assert (row["hypamp"], row["amp"]) == pytest.approx((-0.03, 0.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ton": 200.0, "toff": 1200.0}, "ends at 1000 ms, before its stimulus"),
        ({"ton": 700.0, "toff": 200.0}, "must increase"),
        ({"ton": -5.0, "toff": 200.0}, "numbers from 0"),
        ({"ton": float("nan"), "toff": 200.0}, "numbers from 0"),
    ],
)
def test_impossible_times_are_errors(given, message):
    result = one(given=given)
    assert isinstance(result, RecordingError)
    assert message in str(result)


def test_one_bad_sweep_does_not_stop_the_others():
    bad = Sweep(np.full(100, -70.0), np.full(90, 0.0), DT)
    empty = Sweep(np.zeros(0), np.zeros(0), DT)
    rows = describe(STEP, [bad, sweep(), empty])
    assert [isinstance(row, RecordingError) for row in rows] == [True, False, True]


def test_nan_in_the_step_is_an_error():
    broken = sweep(given={"ton": 200.0, "toff": 700.0})
    broken.current[3000:3100] = np.nan
    assert "not numbers" in str(describe(STEP, [broken])[0])


def test_auto_threshold_lies_between_20_mv_above_rest_and_50_mv():
    voltage = np.concatenate((np.full(100, -75.0), np.full(100, -60.0), np.full(100, -75.0)))
    assert auto_threshold(voltage, 1.0, 100.0, 200.0) == -40.0
    assert auto_threshold(voltage + 100, 1.0, 100.0, 200.0) == 50.0
    assert auto_threshold(np.where(voltage > -70, -100.0, voltage), 1.0, 100.0, 200.0) == -55.0


def test_outputs_for_model_fitting():
    row = {**one(), "amp_rel": 150.0}
    assert STEP.step(row) == {
        "delay": pytest.approx(200.0),
        "amp": pytest.approx(0.2),
        "thresh_perc": 150.0,
        "duration": pytest.approx(500.0),
        "totduration": 1000.0,
    }
    long = {
        "ton": 1.0,
        "tmid": 2.0,
        "tmid2": 4.0,
        "toff": 8.0,
        "tend": 9.0,
        "amp": 0.1,
        "amp2": 0.3,
        "amp2_rel": 70.0,
    }
    assert STIMULI["SAHP"].step(long) == {
        "delay": 1.0, "tmid": 2.0, "tmid2": 4.0, "toff": 8.0, "amp": 0.3, "long_amp": 0.1,
        "thresh_perc": 70.0, "duration": 2.0, "totduration": 9.0,
    }  # fmt: skip
    two = {
        "ton": 1.0,
        "tmid": 2.0,
        "toff": 8.0,
        "tend": 9.0,
        "amp": 0.1,
        "amp2": -0.3,
        "amp_rel": 50.0,
        "amp2_rel": -150.0,
    }
    assert STIMULI["DeHyperPol"].step(two)["thresh_perc"] == -150.0
    assert STIMULI["DeHyperPol"].matched_by == "amp"


@pytest.mark.parametrize("name", [name for name in STIMULI if name != "SineSpec"])
def test_rebuilt_currents_are_described_by_what_they_were_built_from(name):
    stimulus = STIMULI[name]
    times = dict(zip(stimulus.timing_keys, np.linspace(200.0, 800.0, len(stimulus.timing_keys)), strict=True))
    made = {"hypamp": -0.02, "amp": 0.1, "amp2": 0.25, "dt": DT, "tend": 1000.0, **times}
    made |= {"tspike": [200.0, 300.0], "spike_duration": 5.0}
    made["amp"] = -0.1 if name in ("NegCheops", "HyperDePol") else 0.1
    made["waveform"] = np.sin(np.arange(6000)).tolist()
    current = stimulus.rebuild(made, np.arange(10000) * DT)
    row = describe(stimulus, [Sweep(np.full(10000, -70.0), current, DT, times)])[0]
    assert row["hypamp"] == pytest.approx(-0.02, abs=1e-3)
    assert row["amp"] == pytest.approx(made["amp"], abs=4e-3)
    for key in ("amp2", "tspike", "spike_duration"):
        if key in row:
            assert row[key] == pytest.approx(made[key])


def test_the_chirp_can_be_described():
    stimulus = STIMULI["SineSpec"]
    row = one(stimulus, given={"ton": 200.0, "toff": 700.0, "chirp_frequency_base": 2.0})
    assert (row["chirp_frequency_base"], row["chirp_frequency_denominator"]) == (2.0, 5.15)
    assert stimulus.step(row)["chirp_time_offset"] == 0.1
    current = stimulus.rebuild(row, np.arange(0.0, 6000.0, DT))
    assert np.isfinite(current).all()
    assert np.abs(current - row["hypamp"]).max() <= abs(row["amp"]) + 1e-12
