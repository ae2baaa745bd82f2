"""Spikes by presentation and by condition against loops over everything."""

import math
import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.ecephys import spike_counts
from ephysflow.ecephys.condition_statistics import condition_statistics
from ephysflow.ecephys.presentations import assemble
from ephysflow.ecephys.spike_counts import (
    overlapping_presentations,
    presentation_spike_counts,
    presentation_spike_times,
)
from ephysflow.errors import ConfigurationError

# quarters: edges and spikes meet, and sums are exact
moments = st.integers(-8, 40).map(lambda k: k / 4)
trains = st.lists(st.lists(moments, max_size=12).map(sorted), max_size=4)
spans = st.lists(st.tuples(moments, st.integers(0, 12).map(lambda k: k / 4)), max_size=6)
bins = st.lists(moments, min_size=2, max_size=5, unique=True).map(sorted)


def joined(units: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([t for unit in units for t in unit]), np.cumsum([0, *map(len, units)])


def presentations(spans: list[tuple[float, float]], parameter: list[float] | None = None) -> pa.Table:
    start = np.array([start for start, _ in spans], dtype=float)
    names = np.array(["a"] * len(spans), dtype=object)
    columns = {"start_time": start, "stop_time": start + [d for _, d in spans], "stimulus_name": names}
    if parameter is not None:
        columns["p"] = np.array(parameter, dtype=float)
    return assemble([columns], np.empty((0, 2)), "file")


@given(trains, st.lists(moments, max_size=6), bins)
@settings(deadline=None)
def test_counts_equal_those_of_a_double_loop(units, starts, edges):
    expected = np.zeros((len(starts), len(edges) - 1, len(units)), dtype=int)
    for p, start in enumerate(starts):
        for b in range(len(edges) - 1):
            for u, unit in enumerate(units):
                expected[p, b, u] = sum(start + edges[b] <= t < start + edges[b + 1] for t in unit)
    counts = presentation_spike_counts(*joined(units), starts, edges)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.uint32
    binary = presentation_spike_counts(*joined(units), starts, edges, binarize=True)
    np.testing.assert_array_equal(binary, expected > 0)


def test_counts_do_not_depend_on_how_the_work_is_cut(monkeypatch):
    rng = np.random.default_rng(1)
    units = [np.sort(rng.uniform(0, 50, rng.integers(0, 300))).tolist() for _ in range(7)]
    starts, edges = rng.uniform(0, 50, 40), [0.0, 0.5, 2.0]
    whole = presentation_spike_counts(*joined(units), starts, edges)
    monkeypatch.setattr(spike_counts, "_UNITS_AT_ONCE", 3)
    monkeypatch.setattr(spike_counts, "_EDGES_AT_ONCE", 10)
    np.testing.assert_array_equal(presentation_spike_counts(*joined(units), starts, edges), whole)


def test_a_spike_on_an_inner_edge_counts_once():
    counts = presentation_spike_counts(*joined([[0.0, 1.0, 2.0]]), [0.0], [0.0, 1.0, 2.0])
    assert counts[0, :, 0].tolist() == [1, 1]


@pytest.mark.parametrize(
    "edges", [[0.0], [], [[0.0, 1.0]], [0.0, 0.0], [1.0, 0.0], [0.0, np.nan], [0.0, np.inf]]
)
def test_edges_that_make_no_bins(edges):
    with pytest.raises(ConfigurationError, match="bin_edges"):
        presentation_spike_counts(*joined([[1.0]]), [0.0], edges)


@pytest.mark.parametrize(
    ("times", "offsets", "message"),
    [
        ([2.0, 1.0], [0, 2], "unit number 0"),
        ([1.0, 2.0, np.nan], [0, 2, 3], "unit number 1"),
        ([1.0, np.inf], [0, 2], "unit number 0"),
        ([1.0], [0, 2], "bounds of 1"),
        ([1.0], [], "bounds of 1"),
        ([1.0, 2.0], [0, 2, 1, 2], "decrease"),
    ],
)
def test_spikes_that_cannot_be_counted(times, offsets, message):
    with pytest.raises(ConfigurationError, match=message):
        presentation_spike_counts(np.array(times), np.array(offsets), [0.0], [0.0, 1.0])


def test_starts_have_to_be_finite():
    with pytest.raises(ConfigurationError, match="not finite"):
        presentation_spike_counts(*joined([[1.0]]), [np.nan], [0.0, 1.0])


def test_results_that_are_too_big_are_refused_before_they_are_made():
    with pytest.raises(ConfigurationError, match="100000 presentations x 99999 bins x 1 units would take 37"):
        presentation_spike_counts(*joined([[1.0]]), np.zeros(100_000), np.arange(100_000.0))


def test_spike_times_that_are_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(spike_counts, "LARGEST_RESULT", 50)
    with pytest.raises(ConfigurationError, match="choose fewer presentations"):
        presentation_spike_times(*joined([[0.1, 0.2]]), np.array([1]), presentations([(0.0, 1.0)]))


@given(trains, spans)
@settings(deadline=None)
def test_spike_times_equal_those_of_a_loop(units, spans):
    ids = np.arange(len(units)) + 10
    table = presentations(spans)
    rows = table.to_pylist()
    expected = [
        (t, row["stimulus_presentation_id"], unit_id, t - row["start_time"])
        for unit_id, unit in zip(ids.tolist(), units, strict=True)
        for row in rows
        for t in unit
        if row["start_time"] <= t < row["stop_time"]
    ]
    expected.sort(key=lambda row: row[0])
    found = presentation_spike_times(*joined(units), ids, table)
    assert found.column_names == [
        "spike_time", "stimulus_presentation_id", "unit_id", "time_since_stimulus_presentation_onset",
    ]  # fmt: skip
    assert list(zip(*(column.to_pylist() for column in found.columns), strict=True)) == expected


def test_a_spike_in_two_presentations_has_two_rows():
    found = presentation_spike_times(
        *joined([[1.5]]), np.array(["7"], dtype=object), presentations([(0.0, 2.0), (1.0, 2.0)])
    )
    assert found.to_pydict() == {
        "spike_time": [1.5, 1.5],
        "stimulus_presentation_id": [0, 1],
        "unit_id": ["7", "7"],
        "time_since_stimulus_presentation_onset": [1.5, 0.5],
    }


@given(spans)
def test_overlaps_equal_those_of_a_double_loop(spans):
    starts = np.array([start for start, _ in spans], dtype=float)
    stops = starts + np.array([d for _, d in spans], dtype=float)
    expected = [
        any(starts[k] < stops[j] and starts[j] < stops[k] for j in range(len(spans)) if j != k)
        for k in range(len(spans))
    ]
    assert overlapping_presentations(starts, stops).tolist() == expected


@given(trains, st.lists(st.tuples(moments, st.integers(1, 12), st.integers(0, 2)), max_size=8), st.booleans())
@settings(deadline=None)
def test_statistics_equal_those_of_the_standard_library(units, shown, use_rates):
    table = presentations([(start, d / 4) for start, d, _ in shown], [p for *_, p in shown])
    ids = np.arange(len(units)) + 10
    found = condition_statistics(*joined(units), ids, table, use_rates=use_rates).to_pylist()
    rows = table.to_pylist()
    conditions = sorted({row["stimulus_condition_id"] for row in rows})
    assert [(r["unit_id"], r["stimulus_condition_id"]) for r in found] == [
        (unit, condition) for unit in ids for condition in conditions
    ]
    for row in found:
        train = units[row["unit_id"] - 10]
        mine = [r for r in rows if r["stimulus_condition_id"] == row["stimulus_condition_id"]]
        counts = [sum(r["start_time"] <= t < r["stop_time"] for t in train) for r in mine]
        values = [c / r["duration"] if use_rates else c for c, r in zip(counts, mine, strict=True)]
        assert (row["spike_count"], row["stimulus_presentation_count"]) == (sum(counts), len(mine))
        assert row["spike_mean"] == pytest.approx(statistics.fmean(values))
        if len(mine) == 1:
            assert (row["spike_std"], row["spike_sem"]) == (None, None)
        else:
            assert row["spike_std"] == pytest.approx(statistics.stdev(values))
            assert row["spike_sem"] == pytest.approx(statistics.stdev(values) / math.sqrt(len(mine)))


def test_statistics_leave_out_invalid_presentations():
    columns = {
        "start_time": np.array([0.0, 2.0]),
        "stop_time": np.array([1.0, 3.0]),
        "stimulus_name": np.array(["a", "a"], dtype=object),
    }
    table = assemble([columns], np.array([[2.1, 2.2]]), "file")
    found = condition_statistics(*joined([[0.5, 2.5], []]), np.array([1, 2]), table)
    assert found.column("spike_count").to_pylist() == [1, 0]
    assert found.column("stimulus_presentation_count").to_pylist() == [1, 1]


def test_rates_need_a_duration():
    table = presentations([(0.0, 1.0), (2.0, 0.0)])
    with pytest.raises(ConfigurationError, match="presentation 1 lasts no time"):
        condition_statistics(*joined([[0.5]]), np.array([1]), table, use_rates=True)


def test_rates_have_a_unit():
    schema = condition_statistics(
        *joined([[0.5]]), np.array([1]), presentations([(0.0, 2.0)]), use_rates=True
    ).schema
    assert schema.field("spike_mean").metadata[b"unit"] == b"1/s"
