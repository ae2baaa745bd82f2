import math

import numpy as np
import pytest
from campaign_reports import neurons_of, report_of, trials_of

from ephysflow.campaign.functions.efeatures import check_params, efeatures
from ephysflow.campaign.observations import SimulationReport, observe
from ephysflow.efeatures.efel_engine import EfelTrace, feature_values
from ephysflow.efeatures.extraction import DEFAULT_EFEL_SETTINGS
from ephysflow.errors import ConfigurationError, SimulationError

DT, START, STOP = 0.1, 100.0, 500.0
NAMES = ["Spikecount", "mean_frequency", "voltage_base", "AP_amplitude", "sag_amplitude"]
GROUPBY = ("neuron_class", "window")


def voltage(spikes):
    """Step of 12 mV from 200 to 400 ms, with triangular spikes at these times; samples from 100 to 500 ms."""
    t = START + np.arange(round((STOP - START) / DT) + 1) * DT
    v = -70.0 + 12.0 * ((t > 200) & (t < 400))
    for spike in spikes:
        v += 90 * np.clip(1 - np.abs(t - spike), 0, None)
    return t, v.astype(np.float32)


def report(traces, n_trials=1):
    """`traces`: (time, voltage) of each neuron in the first trial, then in the second."""
    n_neurons = len(traces) // n_trials
    return SimulationReport(
        neurons={
            "neuron_class": np.full(n_neurons, "A"),
            "gid": np.arange(n_neurons) + 7,
            "neuron_class_index": np.arange(n_neurons),
        },
        trials={
            "simulation_id": np.zeros(n_trials, int),
            "window": np.full(n_trials, "w"),
            "trial": np.arange(n_trials),
            "offset": np.zeros(n_trials),
            "t_start": np.full(n_trials, START),
            "t_stop": np.full(n_trials, STOP),
        },
        neuron=np.tile(np.arange(n_neurons), n_trials),
        trial=np.repeat(np.arange(n_trials), n_neurons),
        offsets=np.concatenate([[0], np.cumsum([len(t) for t, _ in traces])]),
        rows={
            "time": np.concatenate([t for t, _ in traces]),
            "value": np.concatenate([v for _, v in traces]),
        },
    )


def rows(traces, params, n_trials=1, groupby=GROUPBY):
    table = efeatures(observe([report(traces, n_trials)], groupby), params)["efeatures"]
    columns = {"group": table.group, **table.index, **table.values}
    plain = {name: column.tolist() if isinstance(column, np.ndarray) else column.to_pylist()
             for name, column in columns.items()}  # fmt: skip
    return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def test_values_are_those_of_the_stage():
    traces = [voltage([220, 260, 310, 370]), voltage([]), voltage([250, 251.5]), voltage([390])]
    found = rows(traces, {"efeatures": NAMES, "stimulus": [200, 400]}, n_trials=2)
    expected = feature_values(
        [EfelTrace(v, DT, 100.0, 300.0) for _, v in traces], NAMES, DEFAULT_EFEL_SETTINGS
    )
    assert [(row["gid"], row["neuron_class_index"], row["trial"], row["efeature"]) for row in found] == [
        (gid, gid - 7, trial, name) for trial in (0, 1) for gid in (7, 8) for name in NAMES
    ]
    for row, values in zip(found, [by_name[name] for by_name in expected for name in NAMES], strict=True):
        n = 0 if values is None else len(values)
        assert row["n"] == n
        assert row["value"] == pytest.approx(np.mean(values) if n else math.nan, rel=1e-9, nan_ok=True)
        assert row["error"] is None
    assert [found[0]["value"], found[len(NAMES)]["value"]] == [4, 0]
    assert found[0]["simulation_id"] == 0


def test_default_stimulus_is_the_window():
    found = rows([voltage([120, 130, 480])], {"efeatures": ["Spikecount_stimint", "Spikecount"]})
    assert [row["value"] for row in found] == [3, 3]
    found = rows([voltage([120, 130, 480])], {"efeatures": ["Spikecount_stimint"], "stimulus": [125, 400]})
    assert found[0]["value"] == 1


def test_settings_are_handed_on():
    params = {"efeatures": ["Spikecount"], "efel_settings": {"Threshold": 40.0}}
    assert rows([voltage([220])], params)[0]["value"] == 0


def test_index_leaves_out_the_keys():
    table = efeatures(
        observe([report([voltage([])])], ("simulation_id", "window", "gid")), {"efeatures": ["Spikecount"]}
    )["efeatures"]
    assert list(table.index) == ["neuron_class", "neuron_class_index", "trial", "efeature"]


def test_index_tells_neurons_of_one_gid_apart():
    reports = [
        report_of(
            neurons_of({"A": [0], "B": [0]}, circuit_id),
            trials_of({"w": (START, STOP - START, 1)}, simulation_id, circuit_id),
            {},
            "value",
        )
        for simulation_id, circuit_id in ((0, 1), (1, 0))
    ]
    params = {"efeatures": ["Spikecount", "voltage_base"]}
    index = efeatures(observe(reports, ("window",)), params)["efeatures"].index
    assert {name: column.tolist() for name, column in index.items()} == {
        "circuit_id": [1, 1, 1, 1, 0, 0, 0, 0],
        "neuron_class": ["A", "A", "B", "B"] * 2,
        "gid": [0] * 8,
        "neuron_class_index": [0] * 8,
        "simulation_id": [0, 0, 0, 0, 1, 1, 1, 1],
        "trial": [0] * 8,
        "efeature": ["Spikecount", "voltage_base"] * 4,
    }
    usual = observe(reports, ("simulation_id", "circuit_id", "neuron_class", "window"))
    names = ["gid", "neuron_class_index", "trial", "efeature"]
    assert list(efeatures(usual, params)["efeatures"].index) == names


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ((np.empty(0), np.empty(0)), "0 samples of voltage; needed: at least 2"),
        ((np.array([0.0]), np.array([-70.0])), "1 samples of voltage"),
        ((np.array([100.0, 100.1, 100.3]), np.zeros(3)), "steps of time between 0.1 and 0.2 ms"),
        ((np.array([100.0, 100.0, 100.0]), np.zeros(3)), "needed: a uniform time grid"),
        ((np.arange(100, 200, 0.1), np.zeros(1000)), "stimulus from 100 to 500 ms, but samples from 100 to 199.9"),
        ((voltage([])[0], np.full(4001, np.nan)), "not all finite"),
    ],
)  # fmt: skip
def test_bad_traces_are_rows_with_an_error(trace, message):
    found = rows([voltage([220]), trace], {"efeatures": ["Spikecount", "voltage_base"]})
    assert [row["error"] for row in found[:2]] == [None, None]
    assert found[0]["value"] == 1
    for row in found[2:]:
        assert message in row["error"]
        assert math.isnan(row["value"])
        assert row["n"] == 0


def test_window_whose_bounds_lie_between_samples():
    t, v = voltage([220])
    assert rows([(t[:-1] + 0.03, v[:-1])], {"efeatures": ["Spikecount"]})[0]["value"] == 1


def test_a_feature_that_needs_the_current_has_no_value():
    found = rows([voltage([220])], {"efeatures": ["Spikecount", "current_base"]})
    assert [row["n"] for row in found] == [1, 0]
    assert math.isnan(found[1]["value"])


def test_a_report_without_values_is_refused():
    whole = report([voltage([])])
    spikes = SimulationReport(
        whole.neurons, whole.trials, whole.neuron, whole.trial, whole.offsets, {"time": whole.rows["time"]}
    )
    with pytest.raises(SimulationError, match="needed: a soma report"):
        efeatures(observe([spikes], GROUPBY), {"efeatures": ["Spikecount"]})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "efeatures is None; needed: a list of eFEL feature names"),
        ({"efeatures": "Spikecount"}, "efeatures is 'Spikecount'"),
        ({"efeatures": []}, "needed: a list"),
        ({"efeatures": ["Spikecount", "Spikecount"]}, "names 'Spikecount' twice"),
        ({"efeatures": ["Spikecounts"]}, "has no feature 'Spikecounts'; known: "),
        ({"efeatures": ["Spikecount"], "stim": [0, 1]}, "'stim' is unknown; known: efeatures, efel_settings"),
        ({"efeatures": ["Spikecount"], "stimulus": [5, 1]}, r"stimulus is \[5, 1\]; allowed: \[start, end\]"),
        ({"efeatures": ["Spikecount"], "stimulus": ["a", 1]}, "stimulus is"),
        ({"efeatures": ["Spikecount"], "stimulus": 5}, "stimulus is 5"),
        (
            {"efeatures": ["Spikecount"], "efel_settings": {"Thresh": 1}},
            "efel_settings: unknown eFEL setting",
        ),
        ({"efeatures": ["Spikecount"], "efel_settings": {"stim_end": 1.0}}, "needed: stimulus"),
        ({"efeatures": ["Spikecount"], "efel_settings": 3}, "efel_settings is 3; allowed: a mapping"),
    ],
)
def test_bad_params(params, message):
    with pytest.raises(ConfigurationError, match=message):
        check_params(params)
