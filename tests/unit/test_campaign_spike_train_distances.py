import itertools
import math

import numpy as np
import pytest
from campaign_reports import neurons_of, report_of, trials_of
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.functions import spike_train_distances as module
from ephysflow.campaign.functions.spike_train_distances import (
    check_params,
    spike_train_distances,
    van_rossum,
    victor_purpura,
)
from ephysflow.campaign.observations import SimulationReport, observe
from ephysflow.errors import ConfigurationError, SimulationError

# Computed once with Elephant 1.2.1, elephant.spike_train_dissimilarity.van_rossum_distance(trains, tau) and
# victor_purpura_distance(trains, q): the values above the diagonal of the matrices.
TRAINS = [
    [20, 21.5, 33, 40, 62, 85],
    [39.9999999999, 40.1, 41, 60, 80, 89.9],
    [],
    [25, 26, 30.5, 61, 62, 63, 64],
    [20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85],
]
ELEPHANT_VAN_ROSSUM = {
    10.0: [2.9087180895208338, 3.333890584008279, 3.4297331423512207, 4.757885128063257, 3.705637756149919,
           4.451736897532136, 4.7754613480748525, 4.706496002460907, 7.023786947895884, 4.639366927305019],
    3.0: [3.2719699315941426, 2.7359905141778964, 3.8307304461675717, 3.6398625130342253, 3.3067018729087208,
          4.810836540429967, 4.051036920903466, 4.035836196045285, 4.4660749158092825, 4.385770034745412],
}  # fmt: skip
ELEPHANT_VICTOR_PURPURA = {
    0.1: [
        5.3499999999900005,
        6.0,
        6.2,
        8.75,
        6.0,
        8.65999999999,
        9.39999999999,
        7.0,
        14.0,
        9.249999999999998,
    ],
    1.0: [10.000000000100002, 6.0, 11.0, 14.0, 6.0, 12.0, 14.000000000100002, 7.0, 14.0, 15.5],
}

trains = st.lists(st.integers(0, 60).map(lambda x: x / 4), max_size=6).map(sorted)


def packed(*of):
    return np.concatenate([np.empty(0), *map(np.array, of)]), np.concatenate(
        [[0], np.cumsum([len(train) for train in of])]
    ).astype(int)


@pytest.mark.parametrize("tau", ELEPHANT_VAN_ROSSUM)
def test_van_rossum_equals_elephant(tau):
    np.testing.assert_allclose(van_rossum(*packed(*TRAINS), tau), ELEPHANT_VAN_ROSSUM[tau], rtol=1e-9)


@pytest.mark.parametrize("cost", ELEPHANT_VICTOR_PURPURA)
def test_victor_purpura_equals_elephant(cost):
    np.testing.assert_allclose(
        victor_purpura(*packed(*TRAINS), cost), ELEPHANT_VICTOR_PURPURA[cost], rtol=1e-9
    )


def test_van_rossum_closed_forms():
    assert van_rossum(*packed([], [3.0]), 5.0) == pytest.approx([1.0])
    assert van_rossum(*packed([1.0], [3.0]), 5.0) == pytest.approx([math.sqrt(2 - 2 * math.exp(-2 / 5))])
    assert van_rossum(*packed([], []), 5.0).tolist() == [0.0]


@given(trains, trains)
def test_van_rossum_is_the_double_sum(a, b):
    def kernel(x, y):
        return sum(math.exp(-abs(s - t) / 4.0) for s, t in itertools.product(x, y))

    squared = kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
    np.testing.assert_allclose(van_rossum(*packed(a, b), 4.0) ** 2, [squared], atol=1e-12)


@given(trains, trains, st.sampled_from([0.0, 0.1, 0.7, 5.0]))
def test_victor_purpura_is_the_textbook_recursion(a, b, cost):
    least = [[float(i + j) for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        moved = least[i - 1][j - 1] + cost * abs(a[i - 1] - b[j - 1])
        least[i][j] = min(least[i - 1][j] + 1, least[i][j - 1] + 1, moved)
    # further trains, so that the two are padded
    found = victor_purpura(*packed(a, b, [1.0] * 9), cost)
    np.testing.assert_allclose(found[0], least[-1][-1], atol=1e-12)


@given(trains, trains, trains, st.floats(0.01, 10))
def test_both_are_metrics(a, b, c, scale):
    for distance in (van_rossum, victor_purpura):
        ab, ac, bc = distance(*packed(a, b, c), scale)
        assert ab <= ac + bc + 1e-6
        assert min(ab, ac, bc) >= 0
        np.testing.assert_allclose(distance(*packed(b, a), scale), [ab], atol=1e-6)
        np.testing.assert_allclose(distance(*packed(a, a), scale), [0], atol=1e-6)


def report(trials, simulation_id=0):
    n_neurons, n_trials = len(trials[0]), len(trials)
    flat = [np.asarray(train, float) for trial in trials for train in trial]
    return SimulationReport(
        neurons={
            "neuron_class": np.full(n_neurons, "A"),
            "gid": np.arange(n_neurons) * 10,
            "neuron_class_index": np.arange(n_neurons),
        },
        trials={
            "simulation_id": np.full(n_trials, simulation_id),
            "window": np.full(n_trials, "w"),
            "trial": np.arange(n_trials),
            "offset": np.zeros(n_trials),
        },
        neuron=np.tile(np.arange(n_neurons), n_trials),
        trial=np.repeat(np.arange(n_trials), n_neurons),
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in flat])]).astype(int),
        rows={"time": np.concatenate([np.empty(0), *flat])},
    )


def test_table_has_a_row_for_each_pair_of_a_trial():
    reports = [report([TRAINS[:3], TRAINS[2:]]), report([TRAINS[1:4], TRAINS[:3]], 1)]
    table = spike_train_distances(observe(reports, ("simulation_id", "window")), {})["distances"]
    assert {name: column.tolist() for name, column in table.index.items()} == {
        "trial": [0, 0, 0, 1, 1, 1] * 2,
        "neuron_class": ["A"] * 12,
        "gid": [0, 0, 10] * 4,
        "other_neuron_class": ["A"] * 12,
        "other_gid": [10, 20, 20] * 4,
    }
    assert table.group.tolist() == [0] * 6 + [1] * 6
    for trial, of in enumerate((TRAINS[:3], TRAINS[2:], TRAINS[1:4], TRAINS[:3])):
        rows = slice(3 * trial, 3 * trial + 3)
        np.testing.assert_array_equal(table.values["van_rossum"][rows], van_rossum(*packed(*of), 10.0))
        np.testing.assert_array_equal(table.values["victor_purpura"][rows], victor_purpura(*packed(*of), 0.1))


def test_keys_that_tell_trials_apart_are_in_the_index():
    reports = [report([TRAINS[:2]], 0), report([TRAINS[:2]], 1)]
    table = spike_train_distances(observe(reports, ("neuron_class",)), {})["distances"]
    assert list(table.index) == ["simulation_id", "window", "trial", "gid", "other_gid"]
    assert table.index["simulation_id"].tolist() == [0, 1]


def test_keys_that_tell_neurons_apart_are_in_the_index():
    reports = [
        report_of(
            neurons_of({"A": [3], "B": [0, 3]}, circuit_id),
            trials_of({"w": (0.0, 90.0, 1)}, simulation_id, circuit_id),
            {(0, 0): TRAINS[0]},
        )
        for simulation_id, circuit_id in ((0, 1), (1, 0))
    ]
    index = spike_train_distances(observe(reports, ("window",)), {})["distances"].index
    assert {name: column.tolist() for name, column in index.items()} == {
        "simulation_id": [0, 0, 0, 1, 1, 1],
        "trial": [0] * 6,
        "circuit_id": [1, 1, 1, 0, 0, 0],
        "neuron_class": ["A", "A", "B"] * 2,
        "gid": [3, 3, 0] * 2,
        "other_neuron_class": ["B"] * 6,
        "other_gid": [0, 3, 3] * 2,
    }
    usual = observe(reports, ("simulation_id", "circuit_id", "neuron_class", "window"))
    assert list(spike_train_distances(usual, {})["distances"].index) == ["trial", "gid", "other_gid"]
    by_gid = spike_train_distances(observe(reports, ("simulation_id", "window", "gid")), {})["distances"]
    assert list(by_gid.index) == ["trial", "neuron_class", "other_neuron_class", "other_gid"]
    assert by_gid.index["other_gid"].tolist() == [3, 3]


def test_no_spikes_and_no_pairs():
    table = spike_train_distances(observe([report([[[], []]])], ("window",)), {})["distances"]
    assert table.values["van_rossum"].tolist() == [0.0]
    assert table.values["victor_purpura"].tolist() == [0.0]
    alone = spike_train_distances(observe([report([TRAINS])], ("gid",)), {})["distances"]
    assert len(alone.group) == len(alone.values["van_rossum"]) == 0


def test_too_many_are_refused(monkeypatch):
    observations = observe([report([TRAINS])], ("window",))
    with pytest.raises(
        SimulationError, match=r"5 spike trains in group \{'window': 'w'\}; allowed: max_trains, 4"
    ):
        spike_train_distances(observations, {"max_trains": 4})
    monkeypatch.setattr(module, "MOST_PAIRS", 9)
    with pytest.raises(SimulationError, match="10 pairs of spike trains; allowed: 9"):
        spike_train_distances(observations, {})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tau": 3}, "'tau' is unknown; known: van_rossum_tau, victor_purpura_cost, max_trains"),
        ({"van_rossum_tau": 0}, "van_rossum_tau is 0; allowed: a number of ms above 0"),
        ({"victor_purpura_cost": -1}, "victor_purpura_cost is -1; allowed"),
        ({"max_trains": 2.5}, "max_trains is 2.5; allowed: a whole number"),
        ({"van_rossum_tau": None}, "van_rossum_tau is None"),
    ],
)
def test_bad_params(params, message):
    with pytest.raises(ConfigurationError, match=message):
        check_params(params)
