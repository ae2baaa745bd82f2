import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.efeatures.rheobase import cell_rheobase, check_strategy, rheobase
from ephysflow.efeatures.spikes import evoked_count, spike_times
from ephysflow.errors import ConfigurationError, RecordingError

AMPS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def row(sweep, amp, spikes, *, protocol="IDrest", threshold=-20.0, **changed):
    t = np.arange(5000) * 0.1
    voltage = np.full(5000, -70.0)
    for spike in spikes:
        voltage += 90 * np.clip(1 - np.abs(t - spike), 0, None)
    return {
        "cell": "c1", "protocol": protocol, "sweep": sweep, "dt": 0.1, "ton": 100.0, "toff": 400.0,
        "response_start": 100.0, "response_end": 400.0, "amp": amp,
        "auto_threshold": threshold, "voltage": voltage, "current": np.zeros(5000), **changed,
    }  # fmt: skip


def test_silent_sweeps_count_for_flush():
    # defect 1: a silent sweep between two spiking ones breaks the run
    result = rheobase("flush", {}, AMPS, [0, 1, 0, 2, 3, 4])
    assert result.value == 0.4
    assert result.used == (3, 4)


def test_flush_needs_all_following_sweeps_and_obeys_the_bound():
    assert rheobase("flush", {"flush_length": 2}, AMPS, [0, 0, 0, 0, 2, 3]).value is None
    bound = {"flush_length": 2, "upper_bound_spikecount": 4}
    result = rheobase("flush", bound, AMPS, [0, 0, 5, 6, 7, 8])
    assert result.value is None
    assert "upper_bound_spikecount" in result.reason


def test_absolute_takes_the_first_with_enough_spikes():
    assert rheobase("absolute", {}, AMPS, [0, 0, 2, 0, 5, 6]).value == 0.3
    assert rheobase("absolute", {"spike_threshold": 3}, AMPS, [0, 0, 2, 0, 5, 6]).value == 0.5
    assert rheobase("absolute", {"spike_threshold": 9}, AMPS, [0, 0, 2, 0, 5, 6]).value is None


def test_majority_is_the_centre_of_the_bin():
    # defect 3: neither one bin too high, nor without the last bin
    assert rheobase("majority", {"min_step": 0.1}, AMPS, [0, 0, 1, 1, 1, 1]).value == pytest.approx(0.35)
    assert rheobase("majority", {"min_step": 0.1}, AMPS, [0, 0, 0, 0, 0, 1]).value == pytest.approx(0.65)
    share = {"min_step": 0.2, "majority": 0.6}
    assert rheobase("majority", share, AMPS, [0, 1, 1, 1, 0, 0]).value == pytest.approx(0.4)
    assert rheobase("majority", {}, AMPS, [0] * 6).value is None


def test_interpolation_takes_the_line_at_one_spike():
    # 0.1 nA per spike from 0.3 nA on
    assert rheobase("interpolation", {}, AMPS, [0, 0, 0, 1, 2, 3]).value == pytest.approx(0.4)
    assert "silent" in rheobase("interpolation", {}, AMPS, [1, 2, 3, 4, 5, 6]).reason
    result = rheobase("interpolation", {}, [0.1, 0.2, 0.21], [0, 10, 20])
    assert result.value == pytest.approx(np.polyval(np.polyfit([0, 10, 20], [0.1, 0.2, 0.21], 1), 1))
    assert (
        rheobase("interpolation", {}, [0.1, 0.2, 0.3, 2.0, 3.0, 4.0], [0, 20, 21, 22, 23, 24]).value is None
    )


@pytest.mark.parametrize("strategy", ["absolute", "flush", "majority", "interpolation"])
def test_only_depolarising_sweeps_count(strategy):
    # defect 7: a rebound spike does not make a negative rheobase
    result = rheobase(strategy, {}, [-1.8, -0.2, 0.0, 0.2, 0.4], [1, 22, 3, 0, 0])
    assert result.value is None
    assert "below 0.01 nA have spikes" in result.reason
    assert rheobase(strategy, {}, [], []).value is None


@given(
    st.lists(st.tuples(st.floats(-1, 2), st.integers(0, 50)), max_size=20),
    st.sampled_from(["absolute", "flush", "majority", "interpolation"]),
    st.randoms(),
)
def test_any_order_gives_the_same_positive_value(sweeps, strategy, random):
    shuffled = random.sample(sweeps, len(sweeps))
    one, other = (
        rheobase(strategy, {}, [amp for amp, _ in of], [n for _, n in of]) for of in (sweeps, shuffled)
    )
    assert (one.value is None) == (other.value is None)
    if one.value is not None:
        assert one.value > 0
        assert one.value == pytest.approx(other.value)
        assert all(sweeps[i][0] > 0 for i in one.used)


@pytest.mark.parametrize(
    ("strategy", "settings", "known"),
    [
        ("first", {}, "absolute, flush, majority, interpolation"),
        ("absolute", {"flush_length": 1}, "spike_threshold"),
        ("absolute", {"spike_threshold": 0}, "whole number"),
        ("flush", {"flush_length": 1.5}, "whole number"),
        ("majority", {"min_step": 0.0}, "above 0"),
        ("majority", {"majority": 2}, "at most 1"),
        ("interpolation", {"min_step": 0.1}, "none"),
    ],
)
def test_unknown_strategies_and_settings_are_refused(strategy, settings, known):
    with pytest.raises(ConfigurationError, match=known):
        check_strategy(strategy, settings)


def test_spikes_of_sweeps():
    rows = [
        row(0, 0.1, (150.0, 250.0)),
        row(1, 0.1, ()),
        row(2, 0.1, (150.0,), threshold=None),
        row(3, 0.1, (), response_start=500.0),
    ]
    found = spike_times(rows, {})
    assert found[0] == pytest.approx([150, 250], abs=0.11)
    assert len(found[1]) == 0
    assert isinstance(found[2], RecordingError)
    assert isinstance(found[3], RecordingError)
    assert len(spike_times([rows[2]], {"Threshold": -20.0})[0]) == 1


def test_spontaneous_and_rebound_spikes_are_not_evoked():
    spontaneous = row(0, 0.1, (50.0, 150.0, 450.0))
    for strict in (True, False):
        times = spike_times([spontaneous], {"strict_stiminterval": strict})[0]
        assert evoked_count(times, 100.0, 400.0) == 1


def test_rheobase_of_a_cell():
    rows = [
        row(0, 0.1, ()),
        row(1, 0.3, (150.0, 200.0)),
        row(2, 0.2, (50.0,)),
        row(3, 0.25, (150.0,), response_start=None),
        row(0, 0.05, (150.0,), protocol="idrest"),
    ]
    result = cell_rheobase("c1", rows, "absolute", {"spike_threshold": 1}, ["IDrest"], {})
    assert (result["cell"], result["rheobase"], result["strategy"]) == ("c1", 0.3, "absolute")
    assert result["settings"] == '{"spike_threshold":1}'
    assert [(s["sweep"], s["spikecount"], s["used"]) for s in result["sweeps"]] == [
        (0, 0, False), (1, 2, True), (2, 0, False), (3, None, False),
    ]  # fmt: skip
    assert "IDrest sweep 3 does not count" in result["reason"]


def test_cell_without_sweeps_has_no_rheobase_but_a_reason():
    result = cell_rheobase("c1", [], "majority", {}, ["IDrest", "IV"], {})
    assert result["rheobase"] is None
    assert "IDrest, IV" in result["reason"]


def test_protocols_as_one_text_are_refused():
    # defect 28: "IDrest" would match parts of names
    with pytest.raises(ConfigurationError, match="list"):
        cell_rheobase("c1", [], "absolute", {}, "IDrest", {})
