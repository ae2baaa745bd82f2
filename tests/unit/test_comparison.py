"""A model beside a recording: statistics of each group, and what is on one side only."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recorded_campaigns import PROJECT, RESULTS, Sessions, plan_of, run, settings_of, write_session

from ephysflow import paths
from ephysflow.campaign.comparison import compared, summarise
from ephysflow.campaign.comparison_planning import plan_comparisons
from ephysflow.campaign.comparison_step import common_tables
from ephysflow.errors import ConfigurationError
from ephysflow.io.tables import read_table
from ephysflow.verification import expected_files

BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def test_rows_of_a_group_are_pooled_whatever_they_are_of():
    columns = {
        "simulation_id": np.array([0, 0, 1, 1]),
        "neuron_class": objects("A", "B", "A", "A"),
        "window": objects("w", "w", "w", "w"),
        "gid": np.array([1, 2, 1, 2]),
        "rate": np.array([1.0, 5.0, 2.0, 6.0]),
        "count": np.array([1, 2, 3, 4]),
        "times": objects([1.0], [], [2.0], []),
    }
    found = summarise(columns, ["simulation_id", "neuron_class", "window", "gid"])
    assert list(found) == [("A", "w", None), ("B", "w", None)]
    rate = found["A", "w", None]["rate"]
    assert (rate.mean, rate.n) == (3.0, 3)
    assert rate.std == pytest.approx(statistics.stdev([1, 2, 6]))
    assert set(found["B", "w", None]) == {"rate", "count"}
    alone = found["B", "w", None]["rate"]
    assert (alone.mean, alone.n) == (5.0, 1)
    assert math.isnan(alone.std)


def test_further_index_columns_are_groups_of_their_own_in_the_order_of_their_values():
    columns = {
        "neuron_class": objects("A", "A", "A"),
        "bin": np.array([10, 2, 2]),
        "value": np.array([1.0, 2.0, 4.0]),
    }
    found = summarise(columns, ["neuron_class", "bin"])
    assert list(found) == [("A", None, json.dumps({"bin": 2})), ("A", None, json.dumps({"bin": 10}))]
    assert found["A", None, '{"bin": 2}']["value"].mean == 3


def test_a_table_without_rows_or_labels():
    assert summarise({"value": np.empty(0)}, []) == {}
    assert summarise({}, []) == {}
    assert summarise({"value": np.array([1.0])}, [])[None, None, None]["value"].mean == 1


values = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=30
)


@given(values, st.randoms(use_true_random=False))
def test_statistics_are_those_of_each_group_by_itself(numbers, random):
    labels = [random.choice("abc") for _ in numbers]
    found = summarise({"neuron_class": objects(*labels), "x": np.array(numbers)}, ["neuron_class"])
    assert set(found) == {(label, None, None) for label in labels}
    for (label, _, _), of_columns in found.items():
        own = [x for x, name in zip(numbers, labels, strict=True) if name == label and math.isfinite(x)]
        assert of_columns["x"].n == len(own)
        if own:
            assert of_columns["x"].mean == pytest.approx(statistics.fmean(own), abs=1e-6)
        if len(own) > 1:
            assert of_columns["x"].std == pytest.approx(statistics.stdev(own), abs=1e-6)


def summary(**groups):
    """Return a summary of column x by class, all in window w."""
    labels = [label for label, numbers in groups.items() for _ in numbers]
    numbers = [number for own in groups.values() for number in own]
    columns = {
        "neuron_class": objects(*labels),
        "window": objects(*["w"] * len(labels)),
        "x": np.array(numbers, float),
    }
    return summarise(columns, ["neuron_class", "window"])


def test_differences_and_groups_of_one_side():
    rows = list(compared(summary(A=[1, 3], B=[1]), summary(A=[4, 6, 8], C=[2, 2])))
    assert [(r["neuron_class"], r["recorded_neuron_class"]) for r in rows] == [
        ("A", "A"),
        ("B", "B"),
        ("C", "C"),
    ]
    both, ours, theirs = rows
    assert (both["model_mean"], both["model_n"], both["recorded_mean"], both["recorded_n"]) == (2, 2, 6, 3)
    assert both["difference"] == -4
    assert both["difference_in_stds"] == -2
    assert ours["model_mean"] == 1
    assert ours["model_std"] is None
    assert "recorded_n" not in ours
    assert theirs["recorded_mean"] == 2
    assert "model_n" not in theirs
    assert "difference" not in theirs


def test_a_recording_that_does_not_vary_has_no_measure_of_the_difference():
    (row,) = compared(summary(A=[1, 3]), summary(A=[4, 4]))
    assert row["difference"] == -2
    assert row["difference_in_stds"] is None
    (row,) = compared(summary(A=[math.nan]), summary(A=[4, 4]))
    assert row["model_mean"] is None
    assert row["model_n"] == 0
    assert row["difference"] is None


def test_labels_of_the_two_sides_are_paired():
    model, recorded = summary(L4=[1], L5=[2], L6=[3]), summary(VISp=[5, 7], LGd=[9])
    rows = list(compared(model, recorded, {"L4": "VISp", "L5": "VISp", "L1": "LGd"}))
    assert [(r["neuron_class"], r["recorded_neuron_class"]) for r in rows] == [
        ("L4", "VISp"),
        ("L5", "VISp"),
        ("L1", "LGd"),
    ]
    assert [row.get("difference") for row in rows] == [-5, -4, None]
    assert list(compared(model, recorded, windows={"other": "w"})) == [
        {**row, "window": "other"} for row in compared({}, recorded)
    ]


def write_entries(folder, **named):
    folder.mkdir(parents=True)
    entries = {
        name: {"concatenated_from": parts} if parts else {"config": {}} for name, parts in named.items()
    }
    (folder / "entries.json").write_text(json.dumps(entries))
    return folder


def test_integers_of_one_side_are_floats_of_the_other():
    sides = []
    for bins in (np.array([0, 1]), np.array([0.0, 1.0])):
        columns = {
            "neuron_class": objects("A", "A"),
            "window": objects("w", "w"),
            "bin": bins,
            "x": np.ones(2),
        }
        sides.append(summarise(columns, ["neuron_class", "window", "bin"]))
    assert sides[0].keys() == sides[1].keys()


def test_tables_that_are_compared(tmp_path):
    model = write_entries(tmp_path / "m", t_0=[], t_1=[], t=["t_0", "t_1"], only=[], both=[])
    recording = write_entries(tmp_path / "r", t_0=[], t=["t_0"], both=[], other=[])
    assert common_tables(None, model, recording, "c") == ["t_0", "both"]
    assert common_tables(["t", "t_0"], model, recording, "c") == ["t_0"]
    with pytest.raises(
        ConfigurationError, match=r"c: features: 'only': the recording .*\(tables: t_0, t, both, oth"
    ):
        common_tables(["only"], model, recording, "c")
    alone = write_entries(tmp_path / "a", t=[])
    with pytest.raises(ConfigurationError, match=r"'t': its combinations .*model: t_0, t_1; recording: t\)"):
        common_tables(["t"], model, alone, "c")
    nothing = write_entries(tmp_path / "n", x=[])
    with pytest.raises(
        ConfigurationError, match=r"no feature table on both sides \(model: t_0.*recording: x\)"
    ):
        common_tables(None, model, nothing, "c")


def campaign(labels, **extra):
    return {
        "recorded_sessions": {"project": PROJECT},
        "analysis": {
            "a": {
                "extraction": {
                    "report": {"type": "spikes"},
                    "neuron_classes": {label: {} for label in labels},
                    "windows": {"w": {"bounds": [0, 1000]}},
                },
                "features": [
                    {
                        "type": "multi",
                        "groupby": BY_CLASS,
                        "function": "firing_rates",
                        "params": {"export_all_neurons": True},
                    }
                ],
            }
        },
        **extra,
    }


SIDES = {
    "model": {"campaign": "m", "analysis": "a"},
    "recording": {"campaign": "r", "analysis": "a"},
}


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_a_whole_comparison():
    spikes = {"11": {1: [0.1, 0.2], 2: [0.5]}, "12": {1: [0.1, 0.3, 0.4, 0.9], 3: []}}
    for session, times in spikes.items():
        write_session(session, {"unit_id": list(times)}, times)
    given = {**SIDES, "neuron_classes": {"L4": "VISp"}, "features": ["by_gid", "by_neuron_class"]}
    campaigns = {
        "m": campaign(["L4", "L5"], simulations_filter={"session_id": 11}),
        "r": campaign(["VISp"], simulations_filter={"session_id": 12}),
    }
    plan = plan_of(campaigns, {PROJECT: Sessions(["11", "12"])}, {"rates": given})
    run(plan)
    output = paths.comparison(RESULTS, "rates")
    assert plan.comparisons["rates"].output() == output
    assert output in expected_files(plan)
    rows = read_table(output).to_pandas().set_index(["table", "column"])
    row = rows.loc["by_gid", "mean_firing_rates_per_second"]
    assert (row["neuron_class"], row["recorded_neuron_class"], row["window"]) == ("L4", "VISp", "w")
    assert (row["model_mean"], row["model_n"]) == (1.5, 2)
    assert (row["recorded_mean"], row["recorded_n"]) == (2, 2)
    assert row["recorded_std"] == pytest.approx(statistics.stdev([4, 0]))
    assert row["difference"] == -0.5
    assert row["difference_in_stds"] == pytest.approx(-0.5 / statistics.stdev([4, 0]))
    # over sessions: one on each side
    row = rows.loc["by_neuron_class", "mean_of_mean_firing_rates_per_second"]
    assert (row["model_n"], row["recorded_n"], row["difference"]) == (1, 1, -0.5)
    assert pd.isna(row["difference_in_stds"])
    assert pd.isna(row["model_std"])
    assert set(rows["neuron_class"]) == {"L4"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model": {"campaign": "x", "analysis": "a"}},
            r"comparison.one.model: campaign 'x' has no analysis 'a' .*\(known: m/a, r/a\)",
        ),
        (
            {"recording": {"campaign": "r", "analysis": "b"}},
            r"comparison.one.recording: campaign 'r' has no analysis 'b'",
        ),
        (
            {"neuron_classes": {"L6": "VISp"}},
            r"comparison.one.neuron_classes: 'L6': unknown to the model \(known there: L4, L5\)",
        ),
        (
            {"neuron_classes": {"L4": "V1"}},
            r"comparison.one.neuron_classes: 'V1': unknown to the recording \(known there: VISp\)",
        ),
        (
            {"windows": {"w": "x"}},
            r"comparison.one.windows: 'x': unknown to the recording \(known there: w\)",
        ),
    ],
)
@pytest.mark.usefixtures("_here")
def test_what_does_not_exist_is_refused(change, message):
    campaigns = {"m": campaign(["L4", "L5"]), "r": campaign(["VISp"])}
    with pytest.raises(ConfigurationError, match=message):
        plan_of(campaigns, {PROJECT: Sessions(["11"])}, {"one": {**SIDES, **change}})


@pytest.mark.usefixtures("_here")
def test_no_campaign_at_all():
    with pytest.raises(ConfigurationError, match=r"has no analysis 'a' .*\(known: none\)"):
        plan_comparisons({"one": SIDES}, [settings_of(campaign(["A"]), "m")], {}, RESULTS)
