import numpy as np
import pytest
from campaign_reports import neurons_of, records_of, report_of, spike_reports, trials_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.campaign.functions.spike_train_statistics import (
    FEATURES,
    check_params,
    spike_train_statistics,
)
from ephysflow.campaign.observations import SimulationReport, observe
from ephysflow.errors import ConfigurationError

# CV and LV computed once with Elephant 1.2.1 (elephant.statistics.cv, lv, isi) from these trains
TRAINS = [
    [20, 21.5, 33, 40, 62, 85],
    [39.9999999999, 40.1, 41, 60, 80, 89.9],
    [25, 26, 30.5, 61, 62, 63, 64],
    [20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85],
]
ELEPHANT_CV = [0.6449622712693718, 0.8523844972077703, 1.662914909445227, 0.0]
ELEPHANT_LV = [0.6891867925096609, 1.1865288149659143, 1.1003055165133087, 0.0]
GROUPBY = ("simulation_id", "neuron_class", "window")


def report(trials, gids=None, classes=None, simulation_id=0):
    """`trials` has a list of trains for each trial, of 70 ms from 20 ms on."""
    n_neurons, n_trials = len(trials[0]), len(trials)
    trains = [np.asarray(train, float) for trial in trials for train in trial]
    return SimulationReport(
        neurons={
            "neuron_class": np.array(classes or ["A"] * n_neurons),
            "gid": np.arange(n_neurons) * 10 if gids is None else np.array(gids),
            "neuron_class_index": np.arange(n_neurons),
        },
        trials={
            "simulation_id": np.full(n_trials, simulation_id),
            "window": np.full(n_trials, "w"),
            "trial": np.arange(n_trials),
            "offset": np.zeros(n_trials),
            "t_start": np.full(n_trials, 20.0),
            "t_stop": np.full(n_trials, 90.0),
            "duration": np.full(n_trials, 70.0),
        },
        neuron=np.tile(np.arange(n_neurons), n_trials),
        trial=np.repeat(np.arange(n_trials), n_neurons),
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in trains])]).astype(int),
        rows={"time": np.concatenate([np.empty(0), *trains])},
    )


def table(reports, params=None, groupby=GROUPBY):
    return spike_train_statistics(observe(reports, groupby), params or {})["by_gid"]


def test_one_trial_equals_elephant():
    found = table([report([TRAINS])])
    assert list(found.values) == list(FEATURES)
    np.testing.assert_allclose(found.values["CV"], ELEPHANT_CV, rtol=1e-12)
    np.testing.assert_allclose(found.values["LV"], ELEPHANT_LV, rtol=1e-12)
    np.testing.assert_allclose(found.values["MFR"], np.array([6, 6, 7, 14]) / 0.070)
    np.testing.assert_allclose(found.values["ISI"], [65 / 5, (89.9 - 39.9999999999) / 5, 39 / 6, 5])
    np.testing.assert_allclose(found.values["latency"], [0, 19.9999999999, 5, 0])
    assert found.values["spike_count"].tolist() == [6, 6, 7, 14]
    assert {name: column.tolist() for name, column in found.index.items()} == {
        "gid": [0, 10, 20, 30],
        "neuron_class_index": [0, 1, 2, 3],
    }


def test_trials_are_pooled_and_intervals_stay_within_a_trial():
    found = table([report([[[30, 34, 44], []], [[50, 52], []], [[], []]])])
    values = {name: column.tolist() for name, column in found.values.items()}
    assert values["spike_count"] == [5, 0]
    assert values["MFR"] == pytest.approx([5 / 0.210, 0.0])
    assert values["ISI"] == pytest.approx([(4 + 10 + 2) / 3, np.nan], nan_ok=True)
    assert values["CV"] == pytest.approx([np.std([4, 10, 2]) / np.mean([4, 10, 2]), np.nan], nan_ok=True)
    assert values["LV"] == pytest.approx([3 * (6 / 14) ** 2, np.nan], nan_ok=True)
    assert values["latency"] == pytest.approx([(10 + 30) / 2, np.nan], nan_ok=True)


def test_one_interval_has_no_variability():
    found = table([report([[[30, 34], [40]]])]).values
    assert found["ISI"].tolist() == pytest.approx([4, np.nan], nan_ok=True)
    assert np.isnan([found["CV"], found["LV"]]).all()


def test_no_spikes():
    found = table([report([[[], []], [[], []]])]).values
    assert found["spike_count"].tolist() == [0, 0]
    assert found["MFR"].tolist() == [0, 0]
    assert all(np.isnan(found[name]).all() for name in ("ISI", "CV", "LV", "latency"))


def test_simulations_pool_by_gid_when_not_grouped():
    reports = [report([[[30, 34], [50]]], simulation_id=0), report([[[40, 46], []]], simulation_id=1)]
    apart = table(reports)
    assert apart.group.tolist() == [0, 0, 1, 1]
    assert apart.values["spike_count"].tolist() == [2, 1, 2, 0]
    pooled = table(reports, groupby=("neuron_class", "window"))
    assert pooled.index["gid"].tolist() == [0, 10]
    assert pooled.values["spike_count"].tolist() == [4, 1]
    assert pooled.values["ISI"].tolist() == pytest.approx([5, np.nan], nan_ok=True)


def test_gid_among_the_keys():
    found = table([report([TRAINS])], {"spike_count": {}}, (*GROUPBY, "gid"))
    assert list(found.index) == ["neuron_class_index"]
    assert found.group.tolist() == [0, 1, 2, 3]
    assert found.values["spike_count"].tolist() == [6, 6, 7, 14]


@pytest.mark.parametrize("simulation", [(), ("simulation_id",)])
def test_neurons_of_one_gid_in_different_classes_are_different_neurons(simulation):
    """Gid 0 of two populations: the rank in the class is 0 for both, too."""
    two = report_of(
        neurons_of({"B": [0], "A": [0, 3]}),
        trials_of({"w": (20.0, 70.0, 1)}),
        {(0, 0): [30, 32], (1, 0): [40], (2, 0): [50, 60, 70]},
    )
    found = table([two], groupby=(*simulation, "window"))
    index = {name: column.tolist() for name, column in found.index.items()}
    assert index.pop("circuit_id", [0, 0, 0]) == [0, 0, 0]
    assert index == {"neuron_class": ["A", "A", "B"], "gid": [0, 3, 0], "neuron_class_index": [0, 1, 0]}
    assert found.values["spike_count"].tolist() == [2, 1, 3]
    assert found.values["MFR"].tolist() == pytest.approx([2 / 0.07, 1 / 0.07, 3 / 0.07])


@settings(max_examples=30, deadline=None)
@given(
    spike_reports(),
    st.lists(st.sampled_from(["simulation_id", "circuit_id", "neuron_class", "window", "gid"]), unique=True),
)
def test_each_row_is_one_neuron_of_one_group(reports, groupby):
    """Whatever the grouping, key and index tell rows apart, and their spikes are those of that neuron."""
    observations = observe(reports, groupby)
    found = spike_train_statistics(observations, {"spike_count": {}})["by_gid"]
    columns = {name: values[found.group] for name, values in observations.groups.items()} | found.index
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    expected: dict = {}
    for record in records_of(reports):
        key = tuple(record[name] for name in columns)
        expected[key] = expected.get(key, 0) + len(record["rows"])
    assert dict(zip(rows, found.values["spike_count"].tolist(), strict=True)) == expected
    assert len(rows) == len(expected)
    assert {"neuron_class", "gid"} <= set(columns)
    assert {"simulation_id", "circuit_id"} & set(columns)


@given(st.lists(st.lists(st.integers(20, 89), unique=True, max_size=8), min_size=6, max_size=6))
def test_each_neuron_alone_gives_the_same(trains):
    trains = [sorted(train) for train in trains]
    together = table([report([trains[:3], trains[3:]])]).values
    for i in range(3):
        alone = table([report([[trains[i]], [trains[3 + i]]])]).values
        for name in FEATURES:
            np.testing.assert_allclose(together[name][i], alone[name][0], rtol=1e-12)
    intervals = [np.diff(trains[i]) for i in (0, 3)]
    pooled = np.concatenate(intervals)
    if len(pooled) > 1:
        np.testing.assert_allclose(together["CV"][0], np.std(pooled) / np.mean(pooled), atol=1e-12)
    terms = np.concatenate([((i[:-1] - i[1:]) / (i[:-1] + i[1:])) ** 2 for i in intervals])
    if len(terms):
        np.testing.assert_allclose(together["LV"][0], 3 * terms.mean(), rtol=1e-12)


def test_variability_of_a_poisson_process_is_about_one():
    rng = np.random.default_rng(0)
    train = np.cumsum(rng.exponential(1.0, 20_000))
    found = table([report([[train]])]).values
    assert found["CV"][0] == pytest.approx(1, abs=0.03)
    assert found["LV"][0] == pytest.approx(1, abs=0.03)


def test_params():
    assert check_params({"LV": {}, "CV": None, "MFR": {"params": {}}}) == ("LV", "MFR")
    assert check_params({"LV": None}) == FEATURES
    assert list(table([report([TRAINS])], {"LV": {}, "MFR": {}}).values) == ["LV", "MFR"]
    with pytest.raises(ConfigurationError, match="'CV2' is not a spike train statistic; known: MFR, ISI"):
        check_params({"CV2": {}})
    with pytest.raises(ConfigurationError, match=r"CV is \{'bins': 3\}; allowed: \{\}"):
        check_params({"CV": {"bins": 3}})
