"""Spike counts, rates and histograms, against the formulas written out neuron by neuron."""

import math

import numpy as np
import pyarrow as pa
import pytest
from campaign_reports import neurons_of, records_of, report_of, spike_reports, trials_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from ephysflow.campaign.functions.firing_rates import firing_rates
from ephysflow.campaign.functions.registry import FEATURE_FUNCTIONS
from ephysflow.campaign.observations import FeatureRows, Observations, observe
from ephysflow.errors import ConfigurationError, SimulationError

DEFAULT = ["simulation_id", "circuit_id", "neuron_class", "window"]
NEURON = ("circuit_id", "neuron_class", "gid")
TRIAL = ("simulation_id", "window", "trial")
OTHERS = ["simulation_id", "circuit_id", "neuron_class", "trial", "gid", "neuron_class_index"]


def rows_of(observations: Observations, table: FeatureRows) -> list[dict]:
    """Return a table as one dict a row, key first."""
    columns = {name: values[table.group].tolist() for name, values in observations.groups.items()}
    assert not set(columns) & set(table.index)
    columns |= {name: values.tolist() for name, values in {**table.index, **table.values}.items()}
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def tables_of(reports, groupby=DEFAULT, **params) -> dict[str, list[dict]]:
    """Return all tables as dicts."""
    observations = observe(reports, groupby)
    return {name: rows_of(observations, table) for name, table in firing_rates(observations, params).items()}


def by_the_formulas(records: list[dict], groupby: list[str], export_all: bool) -> dict[str, list[dict]]:
    """Return all tables, computed group by group and neuron by neuron."""
    tables = {name: [] for name in FEATURE_FUNCTIONS["firing_rates"].tables}
    neuron_index = [n for n in NEURON if n not in groupby] + ["neuron_class_index"] * (
        "neuron_class_index" not in groupby
    )
    if "simulation_id" in groupby and "circuit_id" in neuron_index:
        neuron_index.remove("circuit_id")
    trial_index = [n for n in TRIAL if n not in groupby]
    for key in sorted({tuple(r[n] for n in groupby) for r in records}):
        members = [r for r in records if tuple(r[n] for n in groupby) == key]
        key = dict(zip(groupby, key, strict=True))
        t_start, duration = members[0]["t_start"], members[0]["duration"]
        means, rates = [], []
        silent = set()
        for neuron in sorted({tuple(r[n] for n in NEURON) for r in members}):
            own = [r for r in members if tuple(r[n] for n in NEURON) == neuron]
            firsts = [min(r["rows"]) for r in own if r["rows"]]
            means.append(sum(len(r["rows"]) for r in own) / len(own))
            rates.append(1000 * means[-1] / duration)
            row = {
                "first_spike_time_means_cort_zeroed": np.mean(firsts) if firsts else math.nan,
                "mean_spike_counts": means[-1],
                "mean_firing_rates_per_second": rates[-1],
            }
            if firsts or export_all:
                tables["by_gid"].append(key | {n: own[0][n] for n in neuron_index} | row)
            else:
                silent.add(neuron)
        for trial in sorted({tuple(r[n] for n in TRIAL) for r in members}):
            own = [r for r in members if tuple(r[n] for n in TRIAL) == trial]
            index = key | {n: own[0][n] for n in trial_index}
            mean = np.mean([len(r["rows"]) for r in own])
            tables["by_neuron_class_and_trial"].append(index | {"mean_of_spike_counts_for_each_trial": mean})
            for r in sorted(own, key=lambda r: tuple(r[n] for n in NEURON)):
                if tuple(r[n] for n in NEURON) in silent:
                    continue
                first = min(r["rows"], default=math.nan)
                row = {"count": len(r["rows"]), "first": first, "times": r["rows"]}
                tables["by_gid_and_trial"].append(index | {n: r[n] for n in neuron_index} | row)
        edges = t_start + np.arange(math.ceil(duration) + 1)
        counts = np.histogram([t for r in members for t in r["rows"]], edges)[0] / len(members)
        by_max = counts / (counts.max() or 1)
        smooth = gaussian_filter1d(by_max, 4.0)
        smooth /= smooth.max() or 1
        names = [
            f"{kind}_hist_1ms_bin"
            for kind in (
                "spike_times_normalised",
                "spike_times_max_normalised",
                "smoothed_3ms_spike_times_max_normalised",
            )
        ]
        tables["histograms"] += [
            key | {"bin": b} | dict(zip(names, row, strict=True))
            for b, row in enumerate(zip(counts, by_max, smooth, strict=True))
        ]
        tables["by_neuron_class"].append(
            key
            | {
                "mean_of_mean_spike_counts": np.mean(means),
                "mean_of_mean_firing_rates_per_second": np.mean(rates),
                "std_of_mean_firing_rates_per_second": np.std(rates),
                "mean_of_spike_times_normalised_hist_1ms_bin": counts.mean(),
                "min_of_spike_times_normalised_hist_1ms_bin": counts.min(),
                "max_of_spike_times_normalised_hist_1ms_bin": counts.max(),
                "argmax_spike_times_hist_1ms_bin": int(counts.argmax()),
            }
        )
    return tables


@settings(max_examples=60, deadline=None)
@given(
    spike_reports(),
    st.lists(st.sampled_from(OTHERS), unique=True),
    st.sampled_from(["window", "t_start"]),
    st.booleans(),
)
def test_all_tables_follow_the_formulas_in_any_grouping(reports, others, window, export_all):
    """Pooled simulations, circuits, classes with common gids, and windows of equal bounds."""
    groupby = [*others, window]
    expected = by_the_formulas(records_of(reports), groupby, export_all)
    tables = tables_of(reports, groupby, export_all_neurons=export_all)
    assert list(tables) == list(expected)
    for name, rows in expected.items():
        assert len(tables[name]) == len(rows), name
        for ours, row in zip(tables[name], rows, strict=True):
            assert list(ours) == list(row)
            for column, value in row.items():
                exact = isinstance(value, (str, list, int))
                assert ours[column] == (value if exact else pytest.approx(value, 1e-12, 1e-12, nan_ok=True))


def test_two_simulations_pooled_keep_their_rate():
    """One spike a trial in each of two simulations is one spike a trial, not two."""
    neurons = neurons_of({"a": [1]})
    reports = [report_of(neurons, trials_of({"w": (0.0, 10.0, 1)}, i), {(0, 0): [2.0 + i]}) for i in range(2)]
    tables = tables_of(reports, ["neuron_class", "window"], export_all_neurons=True)
    (row,) = tables["by_gid"]
    assert row["mean_spike_counts"] == 1
    assert row["mean_firing_rates_per_second"] == 100
    assert row["first_spike_time_means_cort_zeroed"] == 2.5
    assert [r["simulation_id"] for r in tables["by_gid_and_trial"]] == [0, 1]
    assert [r["spike_times_normalised_hist_1ms_bin"] for r in tables["histograms"]][1:5] == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("t_start", "duration", "times", "bins"),
    [
        (0.0, 10.5, [0.0, 9.999, 10.0, 10.4], [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
        (0.0, 0.25, [0.1, 0.2], [2]),
        (-0.5, 0.8, [-0.5, 0.2], [2]),
        (70.0, 2.99999999, [70.5, 72.99999998], [1, 0, 1]),
        (0.1, 69.99999999999999, [0.1, 70.09], [1] + [0] * 68 + [1]),
        (0.0, 3.0000000001, [2.9, 3.00000000005], [0, 0, 2]),
        (-3.0, 3.0, [-3.0, -2.0, -1e-20], [1, 1, 1]),
        (0.1, 3.0, [0.1, 1.0999999999999999, 1.1, 2.1], [2, 1, 1]),
        (0.1, 5.0, [4.1], [0, 0, 0, 0, 1]),
        (0.7, 4.0, [3.6999999999999997], [0, 0, 1, 0]),
        (20.0, 3.0, [19.999999999999996, 22.0], [1, 0, 1]),
        (20.0, 3.0, [20.0, 23.0], [1, 0, 1]),
    ],
)
def test_bins_are_one_millisecond_from_the_start_of_the_window(t_start, duration, times, bins):
    """The last bin holds the rest; rounding neither makes nor loses a bin; all spikes are counted."""
    report = report_of(neurons_of({"a": [1]}), trials_of({"w": (t_start, duration, 1)}), {(0, 0): times})
    rows = tables_of([report])["histograms"]
    assert [row["bin"] for row in rows] == list(range(len(bins)))
    assert [row["spike_times_normalised_hist_1ms_bin"] for row in rows] == bins


def test_no_spike_at_all():
    """Counts 0, no first spike, flat histograms, nothing is divided by 0."""
    report = report_of(neurons_of({"a": [1, 2]}), trials_of({"w": (0.0, 2.0, 2)}), {})
    with np.errstate(all="raise"):
        tables = tables_of([report], export_all_neurons=True)
    assert [row["count"] for row in tables["by_gid_and_trial"]] == [0] * 4
    assert [row["times"] for row in tables["by_gid_and_trial"]] == [[]] * 4
    assert all(math.isnan(row["first_spike_time_means_cort_zeroed"]) for row in tables["by_gid"])
    assert {value for row in tables["histograms"] for value in list(row.values())[5:]} == {0.0}
    (row,) = tables["by_neuron_class"]
    assert set(list(row.values())[4:]) == {0}
    tables = tables_of([report], export_all_neurons=False)
    assert not tables["by_gid"]
    assert not tables["by_gid_and_trial"]
    assert tables["by_neuron_class"] == [row]


def test_no_neurons_are_empty_tables():
    """Nothing to count is not an error of the function."""
    report = report_of(neurons_of({}), trials_of({"w": (0.0, 2.0, 2)}), {})
    assert set(map(len, tables_of([report]).values())) == {0}


def test_silent_neurons_are_left_out_by_default():
    """A neuron that spikes in one trial only keeps its row of the other trial; class means count all."""
    report = report_of(neurons_of({"a": [1, 2]}), trials_of({"w": (0.0, 2.0, 2)}), {(1, 1): [0.5, 0.7]})
    tables = tables_of([report])
    assert [row["gid"] for row in tables["by_gid"]] == [2]
    assert [(row["gid"], row["trial"], row["times"]) for row in tables["by_gid_and_trial"]] == [
        (2, 0, []),
        (2, 1, [0.5, 0.7]),
    ]
    assert tables["by_neuron_class"][0]["mean_of_mean_spike_counts"] == 0.5
    assert tables["histograms"][0]["spike_times_normalised_hist_1ms_bin"] == 0.5


def test_spikes_need_not_be_in_order_of_time():
    """The first spike is the earliest one."""
    report = report_of(neurons_of({"a": [1]}), trials_of({"w": (0.0, 9.0, 1)}), {(0, 0): [5.0, 2.0, 3.0]})
    tables = tables_of([report])
    assert tables["by_gid_and_trial"][0]["first"] == 2.0
    assert tables["by_gid"][0]["first_spike_time_means_cort_zeroed"] == 2.0


def test_lists_of_times_share_memory_with_the_report():
    """Two million times are not copied."""
    report = report_of(
        neurons_of({"a": [1, 2]}), trials_of({"w": (0.0, 9.0, 1)}), {(0, 0): [5.0], (1, 0): [3.0]}
    )
    observations = observe([report], DEFAULT)
    times = firing_rates(observations, {})["by_gid_and_trial"].values["times"]
    assert isinstance(times, pa.ListArray)
    assert np.shares_memory(times.values.to_numpy(), observations.rows["time"])


def test_dtypes_are_those_of_the_reference():
    """Whole numbers are int64, the rest float64."""
    report = report_of(neurons_of({"a": [1]}), trials_of({"w": (0.0, 9.0, 1)}), {(0, 0): [5.0]})
    tables = firing_rates(observe([report], DEFAULT), {})
    whole = {("by_gid_and_trial", "count"), ("by_neuron_class", "argmax_spike_times_hist_1ms_bin")}
    for name, table in tables.items():
        for column, values in table.values.items():
            if column != "times":
                assert values.dtype == (np.int64 if (name, column) in whole else np.float64)
    assert tables["histograms"].index["bin"].dtype == np.int64
    assert list(tables["by_gid"].index) == ["gid", "neuron_class_index"]
    assert list(tables["by_gid_and_trial"].index) == ["trial", "gid", "neuron_class_index"]


def test_windows_of_different_bounds_have_no_common_rate():
    """The message names the group and the windows."""
    report = report_of(
        neurons_of({"a": [1]}), trials_of({"v": (0.0, 9.0, 2), "w": (0.0, 10.0, 1), "x": (1.0, 9.0, 1)}), {}
    )
    message = r"\{'gid': 1\} pools windows of different bounds \(v: 0 to 9 ms, w: 0 to 10 ms\)"
    with pytest.raises(SimulationError, match=message):
        tables_of([report], ["gid"])
    assert len(tables_of([report], ["gid", "t_start", "duration"])["by_neuron_class"]) == 3


def test_unusable_parameter_and_window_are_refused():
    """A text is not true; a histogram of a million million bins is not made."""
    neurons = neurons_of({"a": [1]})
    with pytest.raises(ConfigurationError, match="export_all_neurons is 'no'"):
        tables_of([report_of(neurons, trials_of({"w": (0.0, 1.0, 1)}), {})], export_all_neurons="no")
    with pytest.raises(SimulationError, match="bins of 1 ms"):
        tables_of([report_of(neurons, trials_of({"w": (0.0, 1e12, 1)}), {})])
