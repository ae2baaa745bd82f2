import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.functions import population_statistics as module
from ephysflow.campaign.functions.population_statistics import (
    DEFAULTS,
    check_params,
    population_statistics,
)
from ephysflow.campaign.observations import SimulationReport, observe
from ephysflow.errors import ConfigurationError, SimulationError

# The values marked Elephant were computed once with Elephant 1.2.1 from these trains as neo.SpikeTrain, t_start 20 ms,
# t_stop 90 ms: Complexity(trains, bin_size=b).pdf(), correlation_coefficient(BinnedSpikeTrain(trains, bin_size=5 ms)).
TRAINS = [
    [20, 21.5, 33, 40, 62, 85],
    [39.9999999999, 40.1, 41, 60, 80, 89.9],
    [],
    [25, 26, 30.5, 61, 62, 63, 64],
    [20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85],
]
ELEPHANT_AC = [
    0.3394573021281205,
    np.nan,
    0.20519567041703082,
    np.nan,
    np.nan,
    0.07784989441615225,
    np.nan,
    np.nan,
    np.nan,
    np.nan,
]
ELEPHANT_CPDF = {
    1: [0.6714285714285714, 0.21428571428571427, 0.1, 0.014285714285714285],
    5: [0.0, 0.5, 0.21428571428571427, 0.21428571428571427, 0.07142857142857142],
    7: [0.0, 0.2, 0.2, 0.6],
    20: [0.0, 0.0, 0.0, 0.6666666666666666, 0.3333333333333333],
}


def report(trials, bounds=(20.0, 90.0), simulation_id=0, window="w"):
    """One class of neurons; `trials` has a list of trains for each trial."""
    n_neurons, n_trials = len(trials[0]), len(trials)
    t_start, t_stop = np.full(n_trials, bounds[0]), np.full(n_trials, bounds[1])
    trains = [np.asarray(train, float) for trial in trials for train in trial]
    return SimulationReport(
        neurons={
            "neuron_class": np.full(n_neurons, "A"),
            "gid": np.arange(n_neurons),
            "neuron_class_index": np.arange(n_neurons),
        },
        trials={
            "simulation_id": np.full(n_trials, simulation_id),
            "window": np.full(n_trials, window),
            "trial": np.arange(n_trials),
            "offset": np.zeros(n_trials),
            "t_start": t_start,
            "t_stop": t_stop,
            "duration": t_stop - t_start,
        },
        neuron=np.tile(np.arange(n_neurons), n_trials),
        trial=np.repeat(np.arange(n_trials), n_neurons),
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in trains])]).astype(int),
        rows={"time": np.concatenate([np.empty(0), *trains])},
    )


def computed(reports, params, groupby=("simulation_id", "neuron_class", "window")):
    """Feature -> one value (plain lists) for each group."""
    table = population_statistics(observe(reports, groupby), params)["by_neuron_class"]
    return {name: values.to_pylist() for name, values in table.values.items()}


def one(trials, params):
    return {name: values[0] for name, values in computed([report(trials)], params).items()}


@pytest.mark.parametrize("bin_size", ELEPHANT_CPDF)
def test_complexity_equals_elephant(bin_size):
    found = one([TRAINS], {"CPDF": {"params": {"bin_size": bin_size}}})
    np.testing.assert_allclose(found["CPDF"], ELEPHANT_CPDF[bin_size], rtol=1e-12)


def test_correlations_equal_elephant():
    np.testing.assert_allclose(one([TRAINS], {"AC": {}})["AC"], ELEPHANT_AC, rtol=1e-12)


def test_correlations_of_trials_side_by_side():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, (2, 4, 14))  # trial, neuron, bin of 5 ms
    trials = [[np.repeat(20.5 + 5 * np.arange(14), neuron) for neuron in trial] for trial in counts]
    expected = np.corrcoef(np.concatenate([counts[0], counts[1]], axis=1))[np.triu_indices(4, 1)]
    np.testing.assert_allclose(one(trials, {"AC": {}})["AC"], expected, rtol=1e-12)


def test_trials_lie_on_top_of_each_other():
    found = one(
        [[[21.0, 41.0], []], [[22.0], [23.0]]],
        {"PSTH": {"params": {"bin_size": 10}}, "CPDF": {"params": {"bin_size": 10}}},
    )
    assert found["PSTH"] == [[3, 0, 1, 0, 0, 0, 0], [20, 30, 40, 50, 60, 70, 80]]
    # first bin: both neurons, the first of them in both trials
    assert found["CPDF"] == pytest.approx([5 / 7, 1 / 7, 1 / 7])


@given(
    st.lists(st.floats(20, 90, exclude_max=True), max_size=30),
    st.sampled_from([0.1, 0.3, 1.0, 5.0, 7.0, 20.0, 69.0, 100.0]),
)
def test_psth_equals_numpy(times, bin_size):
    counts, edges = one([[sorted(times), []]], {"PSTH": {"params": {"bin_size": bin_size}}})["PSTH"]
    n_bins = {0.1: 700, 0.3: 234, 1.0: 70, 5.0: 14, 7.0: 10, 20.0: 4, 69.0: 2, 100.0: 1}[bin_size]
    expected, expected_edges = np.histogram(times, bins=n_bins, range=(20, 90))
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose(edges, expected_edges[:-1], rtol=1e-12)


@pytest.mark.parametrize("n_segments", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_psd_is_welch_of_the_spike_times_by_neuron(n, n_segments):
    rng = np.random.default_rng(0)
    trials = [[np.sort(rng.uniform(20, 90, n)) for _ in range(3)] for _ in range(2)]
    by_neuron = np.concatenate([trials[trial][neuron] for neuron in range(3) for trial in range(2)])
    segment = int(2 * len(by_neuron) / (n_segments + 1))
    expected = scipy.signal.welch(by_neuron, nperseg=segment)[1]
    found = one(trials, {"PSD": {"params": {"n_segments": n_segments}}})["PSD"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_silent_neurons_do_not_spoil_the_psd():
    trains = [[30.0, 40.0, 55.0], [22.0, 80.0]]
    assert one([[*trains, []]], {"PSD": {}}) == one([trains], {"PSD": {}})


def test_no_spikes():
    found = one([[[], []]], {})
    assert list(found) == list(DEFAULTS)
    assert found["PSD"] == []
    assert np.isnan(found["AC"]).all()
    assert found["CPDF"] == [1.0]
    assert found["PSTH"] == [[0, 0, 0, 0], [20, 37.5, 55, 72.5]]


def test_window_shorter_than_a_bin():
    found = computed([report([[[20.0], [21.0]]], (20.0, 25.0))], {})
    assert found["CPDF"] == [[]]
    assert np.isnan(found["AC"]).all()
    assert found["PSTH"] == [[[2], [20]]]


def test_groups_of_different_bounds_are_apart():
    params = {"PSTH": {"params": {"bin_size": 5}}, "CPDF": {"params": {"bin_size": 5}}, "AC": {}, "PSD": {}}
    reports = [
        report([TRAINS], simulation_id=0),
        report([[[1.0, 2.0, 7.0], [1.5]]], (0.0, 12.0), simulation_id=1),
        report([[[], []]], (0.0, 3.0), simulation_id=2),
    ]
    together = computed(reports, params)
    for i, alone in enumerate(reports):
        for name, values in computed([alone], params).items():
            np.testing.assert_equal(together[name][i], values[0])
    assert list(together) == ["PSTH", "CPDF", "AC", "PSD"]


def test_groups_of_one_neuron_have_no_pairs():
    assert computed([report([TRAINS])], {"AC": {}}, ("gid",))["AC"] == [[]] * 5


def test_no_observations():
    none = observe([report([[[1.0]]])], ("window",))
    empty = type(none)({"window": np.empty(0, object)}, none.neurons, none.trials, *[np.empty(0, int)] * 3,
                       np.zeros(1, int), {"time": np.empty(0)}, 0)  # fmt: skip
    table = population_statistics(empty, {})["by_neuron_class"]
    assert [len(values) for values in table.values.values()] == [0] * 4


def test_mixed_windows_are_refused():
    reports = [report([[[30.0]]], window="a"), report([[[3.0]]], (0.0, 70.0), window="b")]
    message = (
        r"PSTH: group .* pools windows of different bounds \(a: 20 to 90 ms, b: 0 to 70 ms\); add window"
    )
    with pytest.raises(SimulationError, match=message):
        computed(reports, {"PSTH": {}}, ("neuron_class",))


def test_correlations_across_simulations_are_refused():
    reports = [report([TRAINS], simulation_id=0), report([TRAINS], simulation_id=1)]
    with pytest.raises(SimulationError, match="needed: simulation_id in groupby"):
        computed(reports, {"AC": {}}, ("neuron_class", "window"))


def test_sizes_are_checked_before_allocation(monkeypatch):
    with pytest.raises(SimulationError, match="bins in all groups together"):
        one([TRAINS], {"CPDF": {"params": {"bin_size": 1e-300}}})
    monkeypatch.setattr(module, "MOST_PAIRS", 9)
    with pytest.raises(SimulationError, match="10 pairs of neurons; allowed: 9"):
        one([TRAINS], {"AC": {}})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"PSD2": {}}, "'PSD2' is not a population statistic; known: PSD, AC, CPDF, PSTH"),
        ({"AC": {"bin_size": 5}}, r"AC is .*; allowed: \{params: \{bin_size: number\}\}"),
        ({"AC": 5}, "AC is 5"),
        ({"AC": {"params": {"bin": 5}}}, "AC.params has the unknown key 'bin'; known: bin_size"),
        ({"AC": {"params": {"bin_size": 0}}}, "AC.params.bin_size is 0; allowed: a number of ms above 0"),
        ({"AC": {"params": {"bin_size": "5"}}}, "AC.params.bin_size is '5'"),
        ({"PSD": {"params": {"n_segments": 1.5}}}, "n_segments is 1.5; allowed: a whole number above 0"),
    ],
)
def test_bad_params(params, message):
    with pytest.raises(ConfigurationError, match=message):
        check_params(params)


def test_params_that_are_not_named_are_not_asked_for():
    assert check_params({"PSTH": {"params": {"bin_size": 3}}, "AC": None, "CPDF": {"params": None}}) == {
        "PSTH": 3,
        "CPDF": 20.0,
    }
    assert list(check_params(dict.fromkeys(DEFAULTS))) == list(DEFAULTS)


@given(
    st.lists(st.lists(st.integers(80, 359).map(lambda x: x / 4), max_size=8), min_size=6, max_size=6),
    st.sampled_from([0.5, 7, 20, 70]),
)
def test_complexity_counts_neurons(trains, width):
    trains = [sorted(train) for train in trains]
    neurons = [trains[i] + trains[3 + i] for i in range(3)]  # two trials
    n_bins = int(70 / width)
    firing = [
        sum(any(b * width <= t - 20 < (b + 1) * width for t in of) for of in neurons) for b in range(n_bins)
    ]
    found = one([trains[:3], trains[3:]], {"CPDF": {"params": {"bin_size": width}}})["CPDF"]
    np.testing.assert_allclose(found, np.bincount(firing) / n_bins)


def test_last_spike_of_the_window_is_counted():
    assert one([[[np.nextafter(90, 0)]]], {"CPDF": {"params": {"bin_size": 35}}})["CPDF"] == [0.5, 0.5]
