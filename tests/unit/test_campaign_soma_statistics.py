"""Mean and standard deviation of reported values by class and window."""

import numpy as np
import pytest
from campaign_reports import neurons_of, report_of, trials_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.campaign.functions import soma_statistics as module
from ephysflow.campaign.functions.soma_statistics import soma_statistics
from ephysflow.campaign.observations import observe

WINDOWS = {"v": (0.0, 2.0, 2), "w": (0.0, 1.0, 1)}


def table_of(reports, groupby):
    """Return index and values, row by row."""
    observations = observe(reports, groupby)
    table = soma_statistics(observations, {})["by_neuron_class"]
    key = {name: values[table.group].tolist() for name, values in observations.groups.items()}
    columns = {**key, **{name: values.tolist() for name, values in {**table.index, **table.values}.items()}}
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("groupby", "added"),
    [
        (["simulation_id", "circuit_id"], ["neuron_class", "window"]),
        (["simulation_id", "neuron_class", "window"], []),
        (["window"], ["neuron_class"]),
        ([], ["neuron_class", "window"]),
    ],
)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_values_of_a_class_in_a_window_are_pooled(groupby, added, data):
    """All neurons, trials and, where the group has several, simulations."""
    values = st.lists(st.floats(-100, 50, width=32), max_size=4)
    neurons, pooled, reports = neurons_of({"a": [1, 2], "b": [2]}), {}, []
    for simulation_id in range(2):
        trials = trials_of(WINDOWS, simulation_id)
        rows = {pair: data.draw(values) for pair in np.ndindex(3, 3)}
        reports.append(report_of(neurons, trials, rows, "value", np.float64))
        for (neuron, trial), own in rows.items():
            cell = {"simulation_id": simulation_id, "circuit_id": 0}
            cell |= {"neuron_class": "aab"[neuron], "window": "vvw"[trial]}
            key = tuple(cell[name] for name in [*groupby, *added])
            pooled.setdefault(key, []).extend(own)
    rows = table_of(reports, groupby)
    assert [tuple(row[name] for name in [*groupby, *added]) for row in rows] == sorted(pooled)
    for row, key in zip(rows, sorted(pooled), strict=True):
        own = np.array(pooled[key])
        assert list(row) == [*groupby, *added, "mean", "std"]
        expected = np.mean(own) if len(own) else np.nan
        assert row["mean"] == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
        expected = np.std(own, ddof=1) if len(own) > 1 else np.nan
        assert row["std"] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_sums_do_not_lose_the_precision_of_the_report():
    """A small spread about a large mean, in float32: a sum in float32 would lose it."""
    values = (-70 + 1e-3 * np.sin(np.arange(200_000))).astype(np.float32)
    report = report_of(
        neurons_of({"a": [1]}), trials_of({"w": (0.0, 1.0, 1)}), {(0, 0): values}, "value", np.float32
    )
    table = soma_statistics(observe([report], []), {})["by_neuron_class"]
    assert table.values["mean"].dtype == table.values["std"].dtype == np.float32
    exact = values.astype(np.float64)
    assert table.values["mean"][0] == pytest.approx(exact.mean(), rel=1.2e-7)
    assert table.values["std"][0] == np.float32(exact.std(ddof=1))


@settings(deadline=None)
@given(st.integers(1, 7), st.lists(st.lists(st.floats(-9, 9), max_size=5), min_size=6, max_size=6))
def test_result_does_not_depend_on_how_many_rows_are_taken_at_once(at_once, values):
    """Steps end between observations; an observation may be longer than a step."""
    neurons, trials = neurons_of({"a": [1, 2, 3]}), trials_of({"w": (0.0, 1.0, 2)})
    rows = dict(zip(np.ndindex(3, 2), values, strict=True))
    reports = [report_of(neurons, trials, rows, "value")]
    whole = table_of(reports, ["gid"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", at_once)
        for row, expected in zip(table_of(reports, ["gid"]), whole, strict=True):
            for name in ("mean", "std"):
                assert row[name] == pytest.approx(expected[name], rel=1e-12, abs=1e-12, nan_ok=True)


def test_missing_values_are_left_out():
    """As in pandas."""
    neurons, trials = neurons_of({"a": [1, 2]}), trials_of({"w": (0.0, 1.0, 1)})
    report = report_of(neurons, trials, {(0, 0): [1.0, np.nan], (1, 0): [3.0]}, "value")
    (row,) = table_of([report], [])
    assert row["mean"] == 2
    assert row["std"] == pytest.approx(np.sqrt(2))
    (row,) = table_of([report_of(neurons, trials, {(0, 0): [np.nan]}, "value")], [])
    assert np.isnan(row["mean"])
    assert np.isnan(row["std"])


def test_no_neurons_and_no_rows():
    """Nothing reported is NaN, nobody to report is no row."""
    trials = trials_of({"w": (0.0, 1.0, 1)})
    with np.errstate(all="raise"):
        (row,) = table_of([report_of(neurons_of({"a": [1]}), trials, {}, "value")], ["simulation_id"])
        assert row["neuron_class"] == "a"
        assert np.isnan(row["mean"])
        assert np.isnan(row["std"])
        assert table_of([report_of(neurons_of({}), trials, {}, "value")], ["simulation_id"]) == []
