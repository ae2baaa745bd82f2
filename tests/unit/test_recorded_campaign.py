"""Recorded sessions as a campaign: a whole run, against counts by hand and against the same spikes as a simulation."""

import json
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.plan.campaigns import write_circuit
from tests.recorded_campaigns import (
    PROJECT,
    RESULTS,
    TABLES,
    Sessions,
    plan_of,
    run,
    write_product,
    write_session,
)

from ephysflow import open_results, paths
from ephysflow.campaign.files import expected_files
from ephysflow.errors import SimulationError
from ephysflow.io.tables import read_rows, read_table
from ephysflow.verification import verify_results

BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]
STARTS = [0.4, 0.9, 1.4, 1.9]
UNITS = {
    "unit_id": [951, 952, 960, 961, 970],
    "structure": ["VISp", "VISp", "VISl", None, "VISp"],
    "quality": ["good", "good", "good", "good", "noise"],
    "snr": [3.0, 1.5, None, 4.0, 9.0],
}
PRESENTATIONS = {
    "stimulus_presentation_id": [0, 1, 2, 3],
    "stimulus_name": ["gratings", "flashes", "gratings", "gratings"],
    "start_time": STARTS,
    "stop_time": [0.65, 1.15, 1.66, 2.15],
    "orientation": [0.0, None, 90.0, 90.0],
}
GROUP_MODULE = '''
def per_neuron(repo, key, df, params):
    """Spikes of a neuron and trial, scaled: of BlueETL's contract."""
    n = df.groupby("gid")["trial"].nunique()
    return {"scaled": float(df["time"].count() / n.sum() * params["factor"])}
'''
VECTORISED_MODULE = """
import numpy as np
from ephysflow import FeatureRows


def spread(observations, params):
    count = np.add.reduceat(observations.counts, observations.group_offsets[:-1])
    return {"spread": FeatureRows(np.arange(observations.n_groups), {}, {"spread": count * params["factor"]})}
"""


def spikes_of(units: list[int], seed: int, rate: float = 40.0, stop: float = 3.0) -> dict[int, list[float]]:
    draw = random.Random(seed)
    return {u: sorted(draw.uniform(0, stop) for _ in range(round(rate * stop))) for u in units}


def write_sessions() -> dict[str, dict[int, list[float]]]:
    spikes = {name: spikes_of(UNITS["unit_id"][:-1], seed) for seed, name in enumerate(("11", "12"))}
    for name, times in spikes.items():
        write_session(name, UNITS, times, stimulus_presentations=PRESENTATIONS)
    return spikes


def campaign(features=(), sessions: Any = "all", **extraction: Any) -> dict[str, Any]:
    given = {
        "report": {"type": "spikes"},
        "neuron_classes": {
            "V1": {"query": {"structure": "VISp", "quality": "good"}},
            "other": {"query": {"structure": {"ne": "VISp"}}},
            "all": {},
        },
        "windows": {
            "before": {"bounds": [0, 300]},
            "gratings": {
                "trials": {"table": "stimulus_presentations", "query": {"stimulus_name": "gratings"}},
                "bounds": [-50, 250],
            },
        },
        **extraction,
    }
    return {
        "recorded_sessions": {"project": PROJECT, "sessions": sessions},
        "analysis": {"a": {"extraction": given, "features": list(features)}},
    }


def rates(**changes: Any) -> dict[str, Any]:
    return {"type": "multi", "groupby": BY_CLASS, "function": "firing_rates", **changes}


PROJECTS = {PROJECT: Sessions(["11", "12"])}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def analysis():
    return open_results(RESULTS).campaign.c.a


def test_every_presentation_is_a_trial_and_every_unit_a_neuron():
    spikes = write_sessions()
    run(plan_of({"c": campaign([rates(params={"export_all_neurons": True})])}, PROJECTS))
    counts = analysis().features.by_gid_and_trial.df["count"]
    seen = 0
    for i, session in enumerate(("11", "12")):
        for label, units in (("V1", [951, 952]), ("other", [960, 961]), ("all", UNITS["unit_id"])):
            for trial, start in enumerate(STARTS[i] for i in (0, 2, 3)):
                for unit in units:
                    times = np.array(spikes[session].get(unit, [])) * 1000
                    low, high = start * 1000 - 50, start * 1000 + 250
                    expected = np.count_nonzero((low <= times) & (times < high))
                    found = counts.xs(
                        (i, i, label, "gratings", trial, unit),
                        level=[*BY_CLASS, "trial", "gid"],
                    )
                    assert found.tolist() == [expected]
                    seen += 1
    assert seen == len(counts.xs("gratings", level="window"))
    by_gid = analysis().features.by_gid.df.xs("gratings", level="window")
    assert by_gid["mean_firing_rates_per_second"].tolist() == pytest.approx(
        (by_gid["mean_spike_counts"] / 0.3).tolist()
    )


def test_tables_name_sessions_units_and_presentations():
    write_sessions()
    run(plan_of({"c": campaign([rates()])}, PROJECTS))
    repo = analysis().repo
    simulations = repo.simulations.df
    assert simulations["session_id"].tolist() == [11, 12]
    assert simulations["simulation_path"].tolist() == [
        str(paths.session_folder(RESULTS, PROJECT, session)) for session in ("11", "12")
    ]
    assert repo.neurons.df.query("neuron_class == 'V1' and circuit_id == 1")["gid"].tolist() == [951, 952]
    windows = repo.windows.df.query("simulation_id == 0 and window == 'gratings'")
    assert windows["interval"].tolist() == [0, 2, 3]
    assert windows["offset"].tolist() == pytest.approx([400, 1400, 1900])
    assert repo.windows.df.query("window == 'before'")["interval"].isna().all()
    assert analysis().features.by_neuron_class.with_conditions()["session_id"].isin([11, 12]).all()
    only = analysis().apply_filter({"session_id": 12})
    assert set(only.repo.report.df["simulation_id"]) == {1}
    assert len(only.repo.windows.df.etl.q(window="gratings", trial=1)) == 1


def test_ids_of_sessions_that_are_names_stay_texts():
    write_sessions()
    plan = plan_of({"c": campaign()}, {PROJECT: Sessions(["11", "12", "A8604-211122"])})
    conditions = [s.conditions["session_id"] for s in plan.analyses["c", "a"].simulations.values()]
    assert conditions == ["11", "12", "A8604-211122"]


def test_the_same_spikes_as_simulation_and_as_session_give_equal_tables(monkeypatch, tmp_path):
    times = spikes_of(list(range(30)), seed=3, rate=30, stop=0.6)
    write_circuit(Path("circuit"))
    Path("sim/output").mkdir(parents=True)
    Path("sim/simulation_config.json").write_text(
        json.dumps(
            {
                "network": "../circuit/circuit_config.json",
                "run": {"tstop": 1000.0, "dt": 0.025, "random_seed": 1},
                "output": {"output_dir": "output", "spikes_file": "spikes.h5"},
            }
        )
    )
    with h5py.File("sim/output/spikes.h5", "w") as file:
        group = file.create_group("spikes/cells")
        group["timestamps"] = np.concatenate([times[unit] for unit in times]) * 1000
        group["node_ids"] = np.repeat(list(times), [len(times[unit]) for unit in times])
    Path("campaign.json").write_text(
        json.dumps(
            {
                "format": "blueetl",
                "version": 1,
                "name": "one",
                "attrs": {"circuit_config": "circuit/circuit_config.json"},
                "data": [{"session_id": 11, "simulation_path": "sim"}],
            }
        )
    )
    layers = ["upper"] * 16 + ["lower"] * 14 + ["deep"] * 10
    starts = [0.1, 0.25, 0.4]
    write_session(
        "11",
        {"unit_id": list(range(40)), "layer": layers},
        times,
        epochs={"start_time": starts, "stop_time": [0.2, 0.35, 0.5]},
    )
    Path("groups.py").write_text(GROUP_MODULE)
    Path("vectors.py").write_text(VECTORISED_MODULE)
    features = [
        rates(params={"export_all_neurons": True}, suffix="_rates"),
        rates(
            function="population_statistics",
            params={"CPDF": {}},
            params_product={"PSTH.params.bin_size": [2, 10]},
            suffix="_pop",
        ),
        rates(function="spike_train_statistics", suffix="_trains"),
        rates(function="spike_train_distances", params={"max_trains": 60}),
        rates(function="vectors.spread", contract="vectorised", params_product={"factor": [1, 2]}),
        {
            "type": "single",
            "name": "scaled",
            "groupby": BY_CLASS,
            "function": "groups.per_neuron",
            "params_product": {"factor": [1.0, 10.0]},
        },
    ]
    extraction = {
        "report": {"type": "spikes"},
        "neuron_classes": {
            "upper": {"query": {"layer": "upper"}, "limit": 5},
            "some": {"node_id": [1, 2, 20, 39]},
            "rest": {"query": {"layer": {"ne": "upper"}}, "limit": 7},
        },
    }
    static = {"bounds": [0, 100]}
    simulated = {
        "simulation_campaign": "campaign.json",
        "analysis": {
            "a": {
                "extraction": {
                    **extraction,
                    "windows": {
                        "w": static,
                        "e": {"bounds": [-10, 90], "trial_steps_list": [s * 1000 for s in starts]},
                    },
                },
                "features": features,
            }
        },
    }
    recorded = {
        "recorded_sessions": {"project": PROJECT, "sessions": [11]},
        "analysis": {
            "a": {
                "extraction": {
                    **extraction,
                    "windows": {"w": static, "e": {"bounds": [-10, 90], "trials": {"table": "epochs"}}},
                },
                "features": features,
            }
        },
    }
    plan = plan_of({"model": simulated, "data": recorded}, {PROJECT: Sessions(["11"])})
    run(plan)
    ours, theirs = (open_results(RESULTS).campaign[name].a for name in ("data", "model"))
    assert ours.features.names == theirs.features.names
    assert {"by_gid_rates", "by_neuron_class_pop_0", "spread", "scaled_1", "distances"} <= set(
        ours.features.names
    )
    for name in ours.features.names:
        own, other = ours.features[name].df, theirs.features[name].df
        assert len(own) > 0
        pd.testing.assert_frame_equal(own, other, check_exact=True)
    assert ours.repo.neurons.df.equals(theirs.repo.neurons.df)
    assert ours.repo.report.df.equals(theirs.repo.report.df)
    assert ours.repo.windows.df.drop(columns="interval").equals(theirs.repo.windows.df)


@pytest.mark.parametrize("table", TABLES)
def test_any_intervals_are_trials_with_a_length_of_their_own(table):
    units = {"unit_id": [7]}
    columns = {"start_time": [1.0, 1.5, 2.0], "stop_time": [1.5, 1.75, 2.0]}
    write_session("11", units, {7: [1.0, 1.2, 1.5, 1.6, 1.75, 2.0]}, **{table: columns})
    content = campaign(
        [
            rates(function="spike_train_statistics", params={"MFR": {}, "spike_count": {}}),
            rates(groupby=[*BY_CLASS, "trial"], suffix="_r"),
        ],
        neuron_classes={"all": {}},
        windows={"own": {"trials": {"table": table}}},
    )
    content["analysis"]["a"]["features"][0]["suffix"] = "_s"
    run(plan_of({"c": content}, {PROJECT: Sessions(["11"])}))
    windows = analysis().repo.windows.df
    assert windows["duration"].tolist() == pytest.approx([500, 250])
    assert windows["interval"].tolist() == [0, 1]
    (row,) = analysis().features.by_gid_s.df.to_dict("records")
    # the spike at 1.5 s is in the second trial alone, that at 1.75 s in none
    assert row["spike_count"] == 4
    assert row["MFR"] == pytest.approx(4 / 0.75)
    by_trial = analysis().features.by_gid_r.df["mean_firing_rates_per_second"]
    assert by_trial.tolist() == pytest.approx([2 / 0.5, 2 / 0.25])
    (said,) = [r for r in read_rows(paths.repo_exclusions(RESULTS, "c", "a")) if r["subject"] == "window own"]
    assert "1 of 3 rows" in said["reason"]
    assert said["kept"]


def test_trials_of_unequal_length_are_refused_where_they_have_no_common_rate():
    write_sessions()
    windows = {"gratings": {"trials": {"table": "stimulus_presentations"}}}
    content = campaign(
        [rates(suffix="_r"), rates(function="spike_train_statistics", suffix="_s")], windows=windows
    )
    run(plan_of({"c": content}, PROJECTS))
    assert analysis().features.names == ["by_gid_s", "by_gid"]
    (failed,) = {r["reason"] for r in analysis().exclusions.to_dict("records") if not r["kept"]}
    assert "different bounds" in failed
    assert "trial" in failed


def left_out() -> dict[int, str]:
    rows = read_rows(paths.campaign_exclusions(RESULTS, "c", "a"))
    return {row["simulation_id"]: row["reason"] for row in rows if not row["kept"]}


def empty(columns: dict[str, list[Any]]) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()}).slice(0, 0)


@pytest.mark.parametrize(
    ("product", "columns", "reason"),
    [
        ("units", UNITS, None),
        ("units", UNITS, "units/spike_times_index has 3 values for 5 units"),
        ("spikes", {"unit_id": [1], "time": [1.0], "amplitude": [1.0]}, None),
        ("spikes", {"unit_id": [1], "time": [1.0], "amplitude": [1.0]}, "spike times of unit 3 hold NaN"),
        ("stimulus_presentations", PRESENTATIONS, "the file has no stimulus_presentations"),
    ],
)
def test_a_session_without_rows_is_left_out_and_the_others_go_on(product, columns, reason):
    write_sessions()
    write_product("11", product, empty(columns), reason)
    plan = plan_of({"c": campaign([rates()])}, PROJECTS)
    run(plan)
    assert analysis().repo.simulations.df["simulation_id"].tolist() == [1]
    assert set(analysis().features.by_gid.df.index.get_level_values("simulation_id")) == {1}
    found = left_out()
    assert list(found) == [0]
    assert (reason or f"the session has no {product}") in found[0]
    assert analysis().repo.missing_simulations()["simulation_id"].tolist() == [0]
    assert all(path.is_file() for path in expected_files(plan.analyses["c", "a"]))


def test_a_session_without_units_of_any_class_is_left_out():
    write_sessions()
    write_session(
        "12", {**UNITS, "structure": ["LGd"] * 5}, spikes_of([951], 1), stimulus_presentations=PRESENTATIONS
    )
    content = campaign([rates()], neuron_classes={"V1": {"query": {"structure": "VISp"}}})
    run(plan_of({"c": content}, PROJECTS))
    assert left_out() == {1: "no unit is in any class"}


def test_a_window_without_trials_is_said_and_the_others_are_used():
    write_sessions()
    write_product("11", "stimulus_presentations", empty(PRESENTATIONS))
    run(plan_of({"c": campaign([rates()])}, PROJECTS))
    rows = analysis().features.by_neuron_class.df
    assert set(rows.xs(0, level="simulation_id").index.get_level_values("window")) == {"before"}
    assert set(rows.xs(1, level="simulation_id").index.get_level_values("window")) == {"before", "gratings"}
    said = [
        r for r in read_rows(paths.repo_exclusions(RESULTS, "c", "a")) if r["subject"] == "window gratings"
    ]
    assert [row["reason"] for row in said] == ["has no trial: stimulus_presentations is empty"]


@pytest.mark.parametrize(
    ("extraction", "message"),
    [
        (
            {"neuron_classes": {"a": {"query": {"structur": "VISp"}}}},
            r"neuron class a: query: .*no property 'structur'; known are quality, snr, structure, unit_id",
        ),
        (
            {
                "windows": {
                    "w": {"bounds": [0, 1], "trials": {"table": "stimulus_presentations", "query": {"x": 1}}}
                }
            },
            r"window w: trials.query: stimulus_presentations has no column 'x'; known are orientation, st",
        ),
        (
            {
                "windows": {
                    "w": {
                        "bounds": [0, 1],
                        "trials": {"table": "stimulus_presentations", "query": {"stimulus_name": {"gt": 3}}},
                    }
                }
            },
            r"window w: trials.query: stimulus_name: gt: 3 and 'gratings' have no order",
        ),
        (
            {
                "windows": {
                    "w": {
                        "bounds": [0, 1],
                        "trials": {"table": "stimulus_presentations", "query": {"stimulus_name": "none"}},
                    }
                }
            },
            "window w has no trial: its query lets no row of stimulus_presentations through",
        ),
    ],
)
def test_what_no_session_can_give_ends_the_analysis_with_the_reason(extraction, message):
    write_sessions()
    plan = plan_of({"c": campaign([rates()], **extraction)}, PROJECTS)
    with pytest.raises(SimulationError, match=message):
        run(plan)


def test_what_one_session_lacks_leaves_that_one_out():
    write_sessions()
    units = {name: values for name, values in UNITS.items() if name != "structure"}
    write_session("12", units, spikes_of([951], 1), stimulus_presentations=PRESENTATIONS)
    run(plan_of({"c": campaign([rates()])}, PROJECTS))
    assert list(left_out()) == [1]
    assert "no property 'structure'" in left_out()[1]


def test_listed_units_and_limits():
    write_sessions()
    classes = {"listed": {"node_id": [952, 951, 1]}, "two": {"limit": 2}}
    run(plan_of({"c": campaign([rates()], neuron_classes=classes)}, PROJECTS))
    neurons = analysis().repo.neurons.df.query("circuit_id == 0")
    assert neurons.query("neuron_class == 'listed'")["gid"].tolist() == [951, 952]
    assert len(neurons.query("neuron_class == 'two'")) == 2
    of_class = analysis().repo.neuron_classes.df.set_index("neuron_class")
    assert json.loads(of_class["gids"]["listed"].iloc[0]) == [952, 951, 1]
    assert set(of_class["population"]) == {"units"}
    said = [
        r["reason"] for r in read_rows(paths.repo_exclusions(RESULTS, "c", "a")) if "listed" in r["subject"]
    ]
    assert said == ["node_id: 1 of 3 are no units of this session, the first is 1"] * 2


def test_buckets_hold_several_sessions():
    write_sessions()
    alone = plan_of({"c": campaign([rates()])}, PROJECTS)
    run(alone)
    features = paths.features_folder(RESULTS, "c", "a") / "by_gid.parquet"
    expected = read_table(features).replace_schema_metadata(None)
    together = plan_of({"c": campaign([rates()])}, PROJECTS, buckets=1)
    assert len(together.analyses["c", "a"].buckets) == 1
    run(together)
    assert read_table(features).replace_schema_metadata(None).equals(expected)


def test_results_can_be_verified_and_changed_products_are_seen():
    write_sessions()
    plan = plan_of({"c": campaign([rates()])}, PROJECTS)
    run(plan)
    assert list(verify_results(plan)) == []
    write_session("11", UNITS, spikes_of([951], 9), stimulus_presentations=PRESENTATIONS)
    stale = {finding.path.name for finding in verify_results(plan) if finding.status == "stale"}
    assert any(name.endswith("report.parquet") for name in stale)


def test_spikes_outside_the_recording_are_said():
    write_sessions()
    content = campaign([rates()], windows={"late": {"bounds": [2900, 4100]}, "early": {"bounds": [0, 100]}})
    run(plan_of({"c": content}, PROJECTS))
    said = [
        r for r in read_rows(paths.repo_exclusions(RESULTS, "c", "a")) if r["subject"].startswith("window")
    ]
    assert {row["subject"] for row in said} == {"window late"}
    assert said[0]["reason"].startswith("1 of 1 trials begin more than 1000 ms before the first or end")
