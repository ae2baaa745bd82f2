import itertools
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from ephysflow.efeatures import efel_engine
from ephysflow.efeatures.efel_engine import (
    EfelTrace,
    check_settings,
    computed_together,
    feature_names,
    feature_values,
    setting_types,
    trace_of_row,
)
from ephysflow.errors import ConfigurationError, RecordingError

DT, START, STOP = 0.1, 100.0, 300.0
SPIKES = np.array([112.0, 130.0, 155.0, 187.0, 230.0, 281.0])


def spiking(spikes=SPIKES, noise=0.2, dt=DT, seed=0) -> EfelTrace:
    """400 ms with a step of 12 mV and triangular spikes of 2 ms, with noise of a fixed seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(400 / dt)) * dt
    inside = (t > START + 0.5) & (t < STOP)
    voltage = -70.0 + 12.0 * inside + rng.normal(0, noise, len(t))
    for spike in spikes:
        voltage += 90 * np.clip(1 - np.abs(t - spike), 0, None)
        voltage -= 10 * np.where(t > spike + 1, np.exp(-(t - spike - 1) / 8), 0)
    current = 0.1 * inside - 0.02 + rng.normal(0, 0.001, len(t))
    return EfelTrace(voltage, dt, START, STOP, current, {"stimulus_current": [0.1]})


def stock_alone(trace: EfelTrace, feature: str, settings: dict) -> np.ndarray | None:
    """What eFEL itself answers when asked for one feature."""
    import efel

    efel.reset()
    for name, value in settings.items():
        efel.set_setting(name, value)
    data = {
        "T": (np.arange(len(trace.voltage)) * (trace.dt / 1000) * 1000).tolist(),
        "V": trace.voltage.tolist(),
        "I": trace.current.tolist(),
        "stim_start": [trace.stim_start],
        "stim_end": [trace.stim_end],
        **trace.values,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = efel.get_feature_values([data], [feature], raise_warnings=False)[0][feature]
    efel.reset()
    return answer


def identical(a, b) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_names_are_those_of_efel():
    import efel

    assert feature_names() == set(efel.get_feature_names())


def test_settings_are_those_of_efel():
    import efel

    own = {
        name: type(value) for name, value in vars(efel.Settings()).items() if name != "dependencyfile_path"
    }
    assert {name: kind for name, kind in setting_types().items() if name in own} == own


def test_names_and_settings_do_not_import_efel():
    code = (
        "import sys; from ephysflow.efeatures.efel_engine import *;"
        "assert 'AP_amplitude' in feature_names(); check_settings({'Threshold': -20});"
        "assert not {'efel', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_get_the_types_of_efel():
    checked = check_settings(
        {
            "Threshold": -20,
            "strict_stiminterval": 1,
            "DerivativeWindow": np.int64(3),
            "interp_step": np.float32(0.1),
        }
    )
    assert [type(value) for value in checked.values()] == [float, bool, int, float]


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": -20},
        {"Threshold": "low"},
        {"Threshold": True},
        {"Threshold": float("nan")},
        {"DerivativeWindow": 2.5},
        {"strict_stiminterval": "yes"},
        {"voltage_base_mode": 1},
        {"interp_step": 0},
        {"dependencyfile_path": "/etc/passwd"},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        check_settings(settings)


def test_unknown_feature_is_refused():
    with pytest.raises(ConfigurationError, match="AP_hight"):
        feature_values([spiking()], ["AP_hight"], {})


def test_values_of_a_known_trace():
    values = feature_values(
        [spiking(noise=0)],
        ["peak_time", "spike_count", "voltage_base", "inv_first_ISI", "ohmic_input_resistance"],
        {},
    )[0]
    assert values["peak_time"] == pytest.approx(SPIKES, abs=0.11)
    assert values["spike_count"] == [6]
    assert values["voltage_base"] == pytest.approx([-70])
    assert values["inv_first_ISI"] == pytest.approx([1000 / 18], rel=0.01)
    assert list(values) == [
        "peak_time",
        "spike_count",
        "voltage_base",
        "inv_first_ISI",
        "ohmic_input_resistance",
    ]


def test_membrane_time_constant_and_resistance_of_a_passive_step():
    t = np.arange(6000) * DT
    tau, deflection = 12.0, -9.0
    decay = np.where(
        t < START, 0, np.where(t < STOP, 1 - np.exp((START - t) / tau), np.exp((STOP - t) / tau))
    )
    trace = EfelTrace(-70 + deflection * decay, DT, START, STOP, values={"stimulus_current": [-0.1]})
    values = feature_values(
        [trace], ["decay_time_constant_after_stim", "ohmic_input_resistance_vb_ssse"], {}
    )[0]
    assert values["decay_time_constant_after_stim"] == pytest.approx([tau], rel=0.02)
    assert values["ohmic_input_resistance_vb_ssse"] == pytest.approx([90], rel=0.01)


def test_decay_after_each_of_several_pulses():
    t = np.arange(4000) * DT
    voltage = np.full(len(t), -70.0)
    for start, tau in ((100.0, 6.0), (200.0, 11.0)):
        after = t - start - 2
        voltage += 10 * np.where(after >= 0, np.exp(-np.clip(after, 0, None) / tau), after >= -2)
    row = {
        "voltage": voltage,
        "current": np.zeros(4000),
        "dt": DT,
        "response_start": 90.0,
        "response_end": 300.0,
        "amp": 1.0,
    }
    row |= {"auto_threshold": None, "tspike": [100.0, 200.0], "spike_duration": 2.0}
    settings = {"Threshold": -20.0}
    several, one = "multiple_decay_time_constant_after_stim", "decay_time_constant_after_stim"
    values = feature_values([trace_of_row(row, settings)], [several], settings)[0][several]
    pulses = [EfelTrace(voltage, DT, start, start + 2) for start in (100.0, 200.0)]
    each = [found[one][0] for found in feature_values(pulses, [one], settings)]
    assert values.tolist() == each
    assert len(set(each)) == 2


def test_value_does_not_depend_on_what_else_is_asked_for():
    trace = spiking(dt=1 / 30)
    settings = {"interp_step": 0.025, "strict_stiminterval": True}
    names = [
        "Spikecount",
        "AP_amplitude",
        "burst_number",
        "current",
        "AP_fall_time",
        "sag_ratio1",
        "depol_block",
    ]
    alone = {name: stock_alone(trace, name, settings) for name in names}
    requests = [*([name] for name in names), *itertools.permutations(names, 2), names, names[::-1]]
    for request in requests:
        values = feature_values([trace], request, settings)[0]
        assert list(values) == list(request)
        for name in request:
            assert identical(values[name], alone[name]), (name, request)


def test_current_is_handed_over_only_where_it_is_read():
    trace = spiking()
    without = EfelTrace(trace.voltage, trace.dt, trace.stim_start, trace.stim_end, values=trace.values)
    slow = {"activation_time_constant", "deactivation_time_constant", "inactivation_time_constant"}
    names = sorted(feature_names() - slow)
    found = feature_values([trace, without], names, {})
    different = {name for name in names if not identical(found[0][name], found[1][name])}
    assert different == {"current", "current_base", "steady_state_current_stimend"}
    assert computed_together(names)


def test_silent_sweep_has_no_peaks_and_no_spikes():
    values = feature_values([spiking(spikes=())], ["peak_time", "Spikecount", "AP_amplitude"], {})[0]
    assert values["peak_time"] is None
    assert values["Spikecount"] == [0]
    assert values["AP_amplitude"] is None


@pytest.mark.parametrize(
    "broken",
    [
        EfelTrace(np.zeros(100), DT, 5.0, 5.0),
        EfelTrace(np.zeros(100), DT, float("nan"), 5.0),
        EfelTrace(np.full(100, np.nan), DT, 1.0, 5.0),
        EfelTrace(np.zeros(0), DT, 1.0, 5.0),
    ],
)
def test_a_broken_sweep_does_not_take_others_with_it(broken):
    good = spiking()
    found = feature_values([good, broken, good], ["voltage_base", "Spikecount"], {})
    assert found[0]["Spikecount"] == found[2]["Spikecount"] == [6]
    for name, error in found[1].items():
        assert isinstance(error, RecordingError)
        assert name in str(error)


def test_a_feature_that_crashes_does_not_take_others_with_it():
    trace = spiking()
    beyond = EfelTrace(
        trace.voltage, DT, START, 1000.0
    )  # eFEL's depol_block looks for a sample after the end
    values = feature_values([beyond], ["Spikecount", "depol_block", "phaseslope_max"], {})[0]
    assert isinstance(values["depol_block"], RecordingError)
    assert values["Spikecount"] == [6]
    assert values["phaseslope_max"] is not None


def test_settings_of_one_call_do_not_reach_the_next():
    trace = spiking()
    before = feature_values([trace], ["Spikecount", "AP_width"], {})[0]
    high = feature_values([trace], ["Spikecount"], {"Threshold": 60.0, "decay_end_after_stim": 30.0})[0]
    after = feature_values([trace], ["Spikecount", "AP_width"], {})[0]
    assert high["Spikecount"] == [0]
    assert all(identical(before[name], after[name]) for name in before)


def test_settings_come_before_the_values_of_the_sweep():
    trace = spiking()
    own = EfelTrace(trace.voltage, DT, START, STOP, values={"Threshold": [60.0]})
    assert feature_values([own], ["Spikecount"], {})[0]["Spikecount"] == [0]
    assert feature_values([own], ["Spikecount"], {"Threshold": -20.0})[0]["Spikecount"] == [6]
    window = {"Threshold": -20.0, "stim_start": 120.0, "stim_end": 200.0, "strict_stiminterval": True}
    assert feature_values([own], ["Spikecount"], window)[0]["Spikecount"] == [3]


def test_efel_is_left_as_it_was_found():
    import efel

    efel.reset()
    efel.set_setting("Threshold", -33.0)
    efel.set_setting("stimulus_current", 0.5)
    found = dict(vars(efel.get_settings()))
    feature_values([spiking()], ["Spikecount", "burst_number"], {"Threshold": 0.0})
    assert vars(efel.get_settings()) == found
    trace = spiking()
    data = {
        "T": (np.arange(4000) * DT).tolist(),
        "V": trace.voltage.tolist(),
        "stim_start": [START],
        "stim_end": [STOP],
    }
    assert len(efel.get_feature_values([data], ["AP_amplitude"])[0]["AP_amplitude"]) == 6
    efel.reset()


def test_falls_back_to_stock_with_a_warning_when_values_differ(monkeypatch):
    trace, names = spiking(), ["AP_amplitude", "Spikecount", "AHP_depth"]
    expected = {name: stock_alone(trace, name, {}) for name in names}
    right = efel_engine._plan

    def wrong(features):
        plan = right(features)
        # no interpolation: other values
        text = "".join(line.split("#")[0].strip() + "\n" for line in plan.text.splitlines())
        return replace(plan, text=text)

    monkeypatch.setattr(efel_engine, "_plan", wrong)
    efel_engine._equals_stock.cache_clear()
    with pytest.warns(RuntimeWarning, match="falling back"):
        values = feature_values([trace], names, {})[0]
    assert not computed_together(names)
    assert all(identical(values[name], expected[name]) for name in names)
    efel_engine._equals_stock.cache_clear()


def test_row_without_window_or_threshold_is_an_error():
    row = {
        "voltage": np.zeros(10),
        "current": np.zeros(10),
        "dt": DT,
        "response_start": None,
        "response_end": 5.0,
        "amp": 0.1,
    }
    with pytest.raises(RecordingError, match="window"):
        trace_of_row(row, {"Threshold": 0.0})
    with pytest.raises(RecordingError, match="threshold"):
        trace_of_row({**row, "response_start": 1.0, "auto_threshold": float("nan")}, {})


def test_a_feature_whose_step_has_no_value_has_none():
    """Stock eFEL has no value of a feature when one that it rests on has none; neither have we."""
    trace = replace(spiking(), stim_end=400.0)
    (found,) = feature_values([trace], ["multiple_decay_time_constant_after_stim", "Spikecount"], {})
    assert found["multiple_decay_time_constant_after_stim"] is None
    assert found["Spikecount"] is not None


@pytest.mark.parametrize("length", [2.0, 4.0])
def test_a_window_that_ends_the_process_in_efel_is_an_error(length):
    trace = replace(spiking(), stim_end=START + length)
    (found,) = feature_values([trace], ["time_constant", "voltage_base"], {})
    assert isinstance(found["time_constant"], RecordingError)
    assert found["voltage_base"] is not None
