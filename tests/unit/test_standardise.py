"""Units, precision, precedence and corrections of a sweep."""

import math

import numpy as np
import pytest

from ephysflow.errors import RecordingError
from ephysflow.recordings.standardise import lowpass, standardise
from ephysflow.recordings.sweep import RawSweep

UNITS = {"v_unit": "mV", "i_unit": "nA", "t_unit": "ms"}


def raw(voltage=(-70.0, -71.0, -72.0), current=(0.0, 0.1, 0.2), dt=0.1, dtype="f8", **more) -> RawSweep:
    return RawSweep(np.asarray(voltage, dtype), np.asarray(current, dtype), dt, **{**UNITS, **more})


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[(unit, 1e3) for unit in ("V", "v", "volts", "Volts", "VOLT", " V ")],
        *[(unit, 1.0) for unit in ("mV", "mv", "millivolts")],
        *[(unit, 1e-3) for unit in ("uV", "µV", "μV", "microvolts")],
    ],
)
def test_units_of_voltage(unit, factor):
    assert standardise(raw([0.01], [0.0], v_unit=unit), {}).voltage[0] == pytest.approx(
        0.01 * factor, rel=1e-12
    )


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[(unit, 1e9) for unit in ("A", "a", "amperes", "Amperes", "AMPS", "amp")],
        ("mA", 1e6),
        *[(unit, 1e3) for unit in ("uA", "µA", "μA")],
        ("nA", 1.0),
        *[(unit, 1e-3) for unit in ("pA", "pa", "PA", "picoamperes")],
    ],
)
def test_units_of_current_and_amplitudes(unit, factor):
    sweep = standardise(
        raw([0.0], [1e-9], i_unit=unit, amplitudes={"amp2": 3e-9}), {"amp": 2e-9, "hypamp": -1e-9}
    )
    assert sweep.current[0] == pytest.approx(1e-9 * factor, rel=1e-12)
    assert sweep.given == pytest.approx({"amp": 2e-9 * factor, "hypamp": -1e-9 * factor}, rel=1e-12)
    assert sweep.stated == pytest.approx({"amp2": 3e-9 * factor}, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [*[(unit, 1e3) for unit in ("s", "S", "sec", "Seconds")], ("ms", 1.0), ("10th_ms", 0.1), ("us", 1e-3)],
)
def test_units_of_time(unit, factor):
    assert standardise(raw(t_unit=unit), {}).dt == pytest.approx(0.1 * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        *[("v_unit", unit) for unit in ("MV", "Mv", "kV", "A", "mA", "?", "dB")],
        *[("i_unit", unit) for unit in ("MA", "NA", "na", "V", "mV", "?")],
        *[("t_unit", unit) for unit in ("MS", "min", "Hz", "1")],
    ],
)
def test_unknown_and_ambiguous_units_are_named(key, unit):
    with pytest.raises(
        RecordingError, match=rf"'{unit.replace('?', '[?]')}' is not a unit of .*: allowed are"
    ):
        standardise(raw(**{key: unit}), {})


@pytest.mark.parametrize("key", ["v_unit", "i_unit", "t_unit"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_missing_units_are_named(key, value):
    with pytest.raises(RecordingError, match=rf"states no unit of .*: give {key} \(one of "):
        standardise(raw(**{key: value}), {key: value})


def test_the_user_comes_before_the_file_key_by_key():
    file = raw(
        [0.0],
        [1.0],
        v_unit="kV",
        i_unit="pA",
        ljp=10.0,
        timing={"ton": 5.0, "toff": 6.0},
        amplitudes={"amp": 100.0, "hypamp": 7.0},
    )
    entry = {
        "v_unit": "mV",
        "dt": 2,
        "t_unit": "s",
        "ljp": 3,
        "ton": 4,
        "amp": 50.0,
        "tend": None,
        "extra": "x",
    }
    sweep = standardise(file, entry)
    assert (sweep.dt, sweep.voltage[0], sweep.current[0]) == (2000.0, -3.0, 1e-3)
    assert sweep.given == {"ton": 4.0, "amp": 0.05}
    assert sweep.stated == {"ton": 5.0, "toff": 6.0, "amp": 0.1, "hypamp": pytest.approx(0.007)}
    assert standardise(file, {"v_unit": "mV"}).voltage[0] == -10.0


def test_options_of_the_stimulus():
    assert standardise(raw(), {"chirp_frequency_base": 2, "chirp_time_offset": None}).given == {
        "chirp_frequency_base": 2.0
    }


@pytest.mark.parametrize("dtype", ["f4", ">f4", "<f8", ">f8", "i2"])
def test_precision_is_kept(dtype):
    sweep = standardise(
        raw([-70, -71], [1, 2], dtype=dtype, i_unit="pA"),
        {"v_corr": -65.0, "ljp": 14.0, "series_resistance": 10.0},
    )
    wanted = np.float32 if dtype.endswith("f4") else np.float64
    assert sweep.voltage.dtype == sweep.current.dtype == wanted
    assert sweep.voltage.dtype.isnative


def test_float32_arithmetic_is_that_of_the_reference():
    values = np.random.default_rng(2).normal(-0.07, 0.01, 500).astype("f4")
    sweep = standardise(raw(values, values * 0, dtype="f4", v_unit="V"), {"v_corr": -70.0, "ljp": 14.0})
    expected = values * np.float32(1e3)
    expected = expected - np.median(expected[:100]) + np.float32(-70.0) - np.float32(14.0)
    assert np.array_equal(sweep.voltage, expected)


class TestCorrections:
    def test_base_then_junction_potential(self):
        voltage = np.r_[np.full(100, -60.0), np.full(20, -40.0)]
        sweep = standardise(raw(voltage, voltage * 0), {"v_corr": -65.0, "ljp": 14.0})
        assert sweep.voltage[[0, -1]] == pytest.approx([-79, -59])

    @pytest.mark.parametrize("off", [None, False])
    def test_base_is_left_alone(self, off):
        assert standardise(raw(), {"v_corr": off}).voltage[0] == -70.0

    def test_base_of_zero_and_true(self):
        assert standardise(raw([-70.0], [0.0]), {"v_corr": 0.0}).voltage[0] == 0.0
        with pytest.raises(RecordingError, match="v_corr must be a number; found True"):
            standardise(raw(), {"v_corr": True})

    def test_series_resistance_is_ohms_law(self):
        sweep = standardise(raw([-70.0, -60.0], [0.0, 100.0], i_unit="pA"), {"series_resistance": 20.0})
        assert sweep.voltage == pytest.approx([-70.0, -62.0])  # 0.1 nA x 20 MOhm = 2 mV

    def test_base_is_that_of_the_compensated_trace(self):
        sweep = standardise(
            raw(np.full(50, -70.0), np.full(50, 0.1)), {"series_resistance": 20.0, "v_corr": -65.0}
        )
        assert sweep.voltage == pytest.approx(np.full(50, -65.0))

    @pytest.mark.parametrize(
        ("frequency", "gain", "tolerance"), [(50.0, 1.0, 0.01), (1000.0, 0.5, 0.005), (8000.0, 0.0, 0.005)]
    )
    def test_lowpass_gain_and_phase(self, frequency, gain, tolerance):
        """Twice through a filter of 1/sqrt(2) at 1 kHz leaves a half, without delay."""
        dt = 0.02
        times = np.arange(20_000) * dt
        wave = np.sin(2 * np.pi * frequency * times / 1e3)
        out = lowpass(wave, dt, 1000.0)[5000:15_000]
        assert np.dot(out, wave[5000:15_000]) / 5000 == pytest.approx(gain, abs=tolerance)
        quadrature = np.cos(2 * np.pi * frequency * times / 1e3)[5000:15_000]
        assert np.dot(out, quadrature) / 5000 == pytest.approx(0, abs=tolerance)

    def test_lowpass_keeps_constant_and_precision(self):
        voltage = np.full(100, -70, "f4")
        sweep = standardise(raw(voltage, voltage * 0, dtype="f4"), {"lowpass": 2000.0})
        assert sweep.voltage.dtype == np.float32
        assert sweep.voltage == pytest.approx(voltage, abs=1e-4)

    @pytest.mark.parametrize("cutoff", [0.0, -5.0, 5000.0, 1e6])
    def test_lowpass_outside_the_band(self, cutoff):
        with pytest.raises(RecordingError, match="between 0 and 5000 Hz"):
            standardise(raw(np.zeros(100), np.zeros(100)), {"lowpass": cutoff})

    def test_lowpass_of_too_few_samples(self):
        with pytest.raises(RecordingError, match="too few"):
            standardise(raw(), {"lowpass": 100.0})


class TestRefusals:
    @pytest.mark.parametrize("dt", [0.0, -0.1, math.nan, math.inf])
    def test_sampling_interval(self, dt):
        with pytest.raises(RecordingError, match="dt must be positive"):
            standardise(raw(dt=dt), {})

    def test_unequal_and_empty(self):
        with pytest.raises(RecordingError, match="voltage has 2 samples and current 3"):
            standardise(raw(voltage=[0.0, 1.0]), {})
        with pytest.raises(RecordingError, match="no samples"):
            standardise(raw([], []), {})
        with pytest.raises(RecordingError, match="no samples"):
            standardise(raw([np.nan] * 3), {})
        with pytest.raises(RecordingError, match="no row of numbers"):
            standardise(raw(np.zeros((2, 3)), np.zeros((2, 3))), {})

    def test_nan_at_the_end_is_cut(self):
        current = np.r_[np.zeros(80), np.full(20, np.nan)]
        voltage = np.r_[np.zeros(90), np.full(10, np.nan)]
        sweep = standardise(raw(voltage, current), {})
        assert len(sweep.voltage) == len(sweep.current) == 80

    def test_other_nan_is_refused_with_its_times(self):
        voltage = np.zeros(100)
        voltage[[10, 11, 12, 50]] = np.nan
        with pytest.raises(RecordingError, match=r"not a number at 1 to 1\.3, 5 to 5\.1 ms"):
            standardise(raw(voltage, np.zeros(100)), {})
        with pytest.raises(RecordingError, match=r"not a number at 0 to 0\.1 ms"):
            standardise(raw([np.inf, 0.0, 0.0]), {})

    def test_swapped_channels_or_wrong_units(self):
        with pytest.raises(RecordingError, match=r"70000 mV is impossible.*v_unit V is wrong"):
            standardise(raw([-70.0], [0.0], v_unit="V"), {})
        with pytest.raises(
            RecordingError, match="nA is impossible: the channels look swapped, or i_unit A is wrong"
        ):
            standardise(raw([0.0], [-65.0], i_unit="A"), {})

    @pytest.mark.parametrize("value", ["soon", math.nan, [1], True])
    def test_times_and_amplitudes_must_be_numbers(self, value):
        for key in ("ton", "amp", "dt", "ljp"):
            with pytest.raises(RecordingError, match=f"{key} must be a number"):
                standardise(raw(), {key: value})


def test_inputs_are_not_changed():
    given = raw(v_unit="V", voltage=[-0.07, -0.06, -0.05])
    before = given.voltage.copy()
    entry = {"v_corr": -65, "ljp": 1, "series_resistance": 3}
    standardise(given, entry)
    assert np.array_equal(given.voltage, before)
    assert entry == {"v_corr": -65, "ljp": 1, "series_resistance": 3}
