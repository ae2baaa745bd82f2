"""Trials of recorded sessions, and the units of their classes, against loops."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.recorded_files import Intervals
from ephysflow.campaign.recorded_windows import NO_INTERVAL, outside_of_spikes, recorded_trials
from ephysflow.campaign.report import spike_rows
from ephysflow.campaign.units import Units, select_units
from ephysflow.errors import SimulationError

STATIC = {
    "initial_offset": 5.0,
    "t_step": 0.0,
    "n_trials": 2,
    "trial_steps_value": 10.0,
    "trial_steps_list": [],
    "window_type": "",
}
seconds = st.floats(0, 1e4)


def window(bounds=None, query=None, table="epochs", **changes):
    given = {
        "bounds": bounds,
        "trials": {"table": table, "query": query or {}},
        "t_step": 0,
        "window_type": "x",
    }
    return {**given, **changes}


def intervals(start, stop, **columns):
    table = pa.table({"start_time": pa.array(start), "stop_time": pa.array(stop), **columns})
    start, stop = (np.array(values, float) * 1000 for values in (start, stop))
    return {"epochs": Intervals("epochs", table, start, stop, np.arange(len(start)) + 100)}


def test_windows_keep_their_order_and_static_ones_have_no_interval():
    windows = {"w": window([-1.0, 2.0]), "s": {**STATIC, "bounds": [0.0, 4.0]}}
    trials, findings = recorded_trials(windows, intervals([1.0, 3.0], [2.0, 4.0]))
    assert findings == []
    assert trials["window"].tolist() == ["w", "w", "s", "s"]
    assert trials["trial"].tolist() == [0, 1, 0, 1]
    assert trials["offset"].tolist() == [1000, 3000, 5, 15]
    assert trials["interval"].tolist() == [100, 101, NO_INTERVAL, NO_INTERVAL]
    assert trials["duration"].tolist() == [3, 3, 4, 4]
    assert {
        str(values.dtype) for name, values in trials.items() if name in ("offset", "t_start", "t_step")
    } == {"float64"}


@pytest.mark.parametrize(
    ("bounds", "kept", "reason"),
    [
        ([0.0, 1.0], [100, 102, 103], "1 of 4 rows of epochs have no start"),
        (None, [100], "3 of 4 rows of epochs have no start, or no stop after it"),
    ],
)
def test_rows_without_a_time_are_no_trials(bounds, kept, reason):
    nan = float("nan")
    trials, findings = recorded_trials({"w": window(bounds)}, intervals([0, nan, 1, 2], [1, 1, nan, 2]))
    assert trials["interval"].tolist() == kept
    assert findings == [("window w", reason)]


def test_a_query_is_of_the_columns_of_the_table():
    tables = intervals(
        [0.0, 1.0, 2.0], [1.0, 2.0, 3.0], contrast=pa.array([0.5, None, 1.0]), name=["a", None, "b"]
    )
    chosen = [
        recorded_trials({"w": window(None, query)}, tables)[0]["interval"].tolist()
        for query in (
            {"contrast": {"ge": 0.5}},
            {"name": "b"},
            {"start_time": {"lt": 2}},
            [{"name": "a"}, {"name": "b"}],
        )
    ]
    assert chosen == [[100, 102], [102], [100, 101], [100, 102]]
    with pytest.raises(
        SimulationError, match="window w: trials.query: epochs has no column 'x'; known are contrast"
    ):
        recorded_trials({"w": window(None, {"x": 1})}, tables)


@given(st.lists(seconds, min_size=2, max_size=12, unique=True), st.lists(seconds, max_size=30), st.data())
def test_intervals_that_touch_share_no_spike_and_lose_none(edges, spikes, data):
    edges = sorted(edges)
    spikes = sorted([*spikes, *data.draw(st.lists(st.sampled_from(edges), max_size=5))])
    trials, _ = recorded_trials({"w": window()}, intervals(edges[:-1], edges[1:]))
    time = np.array(spikes, float) * 1000
    neurons = {"neuron_class": np.array(["A"]), "gid": np.array([7]), "neuron_class_index": np.array([0])}
    source = {"units": (np.full(len(time), 7), time)}
    report, _ = spike_rows(source, neurons, {"A": "units"}, trials)
    # edges so close that they are one in milliseconds make no trial
    start, stop = np.array(edges[:-1]) * 1000, np.array(edges[1:]) * 1000
    used = stop > start
    expected = [
        np.count_nonzero((time >= a) & (time < b)) for a, b in zip(start[used], stop[used], strict=True)
    ]
    assert np.diff(report.offsets).tolist() == expected
    assert (report.rows["time"] >= 0).all()


def test_trials_that_are_not_within_the_spikes():
    trials, _ = recorded_trials({"w": window([0.0, 100.0])}, intervals([1.0, 5.0, 9.0], [2.0, 6.0, 10.0]))
    assert outside_of_spikes(trials, np.array([1500.0, 8500.0])) == []
    ((subject, reason),) = outside_of_spikes(trials, np.array([2500.0, 8000.0]))
    assert subject == "window w"
    assert reason.startswith("2 of 3 trials")


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=40, unique=True),
    st.lists(st.integers(0, 50), max_size=10),
    st.integers(0, 8),
    st.sampled_from(["sequential", "independent"]),
)
def test_units_are_chosen_by_query_then_list_then_limit(ids, listed, limit, sampling):
    ids = sorted(ids)
    snr = [float(unit % 5) for unit in ids]
    units = Units(pa.table({"unit_id": ids, "snr": snr}))
    wanted = [*ids[::2], *listed]
    classes = {
        "high": {"query": {"snr": {"ge": 2}}},
        "listed": {"node_id": wanted},
        "both": {"query": {"snr": {"ge": 2}}, "node_id": wanted, "limit": limit},
    }
    neurons, summaries, _ = select_units(classes, units, sampling, 1)
    chosen = {label: neurons["gid"][neurons["neuron_class"] == label].tolist() for label in classes}
    high = [unit for unit, value in zip(ids, snr, strict=True) if value >= 2]
    assert chosen["high"] == high
    assert chosen["listed"] == [unit for unit in ids if unit in wanted]
    candidates = [unit for unit in high if unit in wanted]
    assert set(chosen["both"]) <= set(candidates)
    assert len(chosen["both"]) == (min(limit, len(candidates)) if limit else len(candidates))
    assert chosen["both"] == sorted(chosen["both"])
    assert {row["neuron_class"]: row["count"] for row in summaries} == {k: len(v) for k, v in chosen.items()}
