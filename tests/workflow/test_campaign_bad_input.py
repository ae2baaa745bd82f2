"""Campaigns with wrong configurations and damaged files: refused with one message, or listed, and the rest comes out."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ephysflow.campaign.functions.registry import FEATURE_FUNCTIONS
from ephysflow.campaign.publication_step import publish_features
from ephysflow.cli import main
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError, ResultError, SimulationError
from ephysflow.io.tables import read_rows
from ephysflow.io.yaml_files import read_yaml
from ephysflow.plan import read_job
from ephysflow.steps import STEPS

from ..campaigns import run_campaign
from .folders import Folder
from .small_campaign import (
    FIRING_RATES,
    POPULATION,
    SIZE,
    SOMA_STATISTICS,
    analysis_configuration,
    spikes,
    write_campaign_file,
    write_simulation,
    write_small_campaign,
    write_soma,
    write_spikes,
    write_yaml,
)

RESULTS = Path("results/campaign/c/a")
SHIPPED = ("by_gid", "by_gid_and_trial", "by_neuron_class", "by_neuron_class_and_trial", "histograms")
SOMA: dict[str, Any] = {
    "extraction": {"report": {"type": "soma", "name": "soma"}},
    "features": [SOMA_STATISTICS],
}
OWN: dict[str, Any] = {**FIRING_RATES, "function": "mine.compute"}
MODULE = """\
import sys

import numpy as np
import pandas as pd

from ephysflow.campaign.observations import FeatureRows


def compute(repo, key, df, params):
    {body}


def vectorised(observations, params):
    {vectorised}


number = 3
"""

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def code_hashes(tmp_path_factory) -> Path:
    """Hash the library once: it takes longer than a campaign of twelve neurons."""
    path = tmp_path_factory.mktemp("code") / "code.json"
    hasher = CodeHasher(path)
    for step in STEPS.values():
        hasher.library(step.modules)
    for function in FEATURE_FUNCTIONS.values():
        hasher.library([function.module])
    hasher.save()
    return path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, code_hashes) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake/ephysflow").mkdir(parents=True)
    shutil.copy(code_hashes, ".snakemake/ephysflow/code.json")


def run(
    damage: Damage | None = None, body: str = "pass", vectorised: str = "pass", **changes: Any
) -> list[dict]:
    """Run a campaign of three simulations after some damage, and return its exclusions."""
    write_small_campaign(Path(), **changes)
    Path("mine.py").write_text(MODULE.format(body=body, vectorised=vectorised))
    if damage is not None:
        damage(Path())
    run_campaign(read_yaml(Path("config.yaml")), [Path("config.yaml")])
    return read_rows(RESULTS / "exclusions.parquet")


def feature_rows(table: str) -> list[dict]:
    return pq.read_table(RESULTS / "features" / f"{table}.parquet").to_pylist()


def tables() -> list[str]:
    return sorted(path.stem for path in (RESULTS / "features").glob("*.parquet"))


def simulations_in(table: str) -> set[int]:
    return {row["simulation_id"] for row in feature_rows(table)}


def same_in(table: str, simulation: int, other: int) -> bool:
    """Whether two simulations have the same rows."""
    first, second = (
        [{**row, "simulation_id": None} for row in feature_rows(table) if row["simulation_id"] == i]
        for i in (simulation, other)
    )
    return bool(first) and repr(first) == repr(second)  # NaN is not equal to itself


def half(path: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: len(content) // 2])

    return damage


def without(path: str) -> Damage:
    return lambda folder: (folder / path).unlink()


def with_spikes(gid: Any, time: Any) -> Damage:
    return lambda folder: write_spikes(folder / "sim1/output/spikes.h5", gid, time)


def in_hdf5(path: str, change: Callable[[h5py.File], object]) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(folder / path, "a") as file:
            change(file)

    return damage


def declared(name: str, shape: tuple[int, ...]) -> Callable[[h5py.File], object]:
    """Replace a dataset by one that declares `shape` and holds nothing."""

    def change(file: h5py.File) -> None:
        kind = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, kind, chunks=tuple(min(size, 1000) for size in shape))

    return change


# ---------------------------------------------------------------- files of a simulation

GID, TIME = spikes()
OUTPUT = f"/spikes/{POPULATION}"
ONE_LEFT_OUT: dict[str, tuple[Damage, Mapping[str, Any], str, tuple[str, ...]]] = {
    # name: damage to simulation 1, changes of the configuration, stage, what the exclusion must say
    "no spikes": (
        without("sim1/output/spikes.h5"),
        {},
        "simulations",
        ("incomplete", "sim1/output/spikes.h5 is not there"),
    ),
    "no report": (
        without("sim1/output/soma.h5"),
        SOMA,
        "simulations",
        ("incomplete", "sim1/output/soma.h5 is not there"),
    ),
    "no configuration": (
        without("sim1/simulation_config.json"),
        {},
        "simulations",
        ("missing", "sim1/simulation_config.json is not there"),
    ),
    "configuration that is not JSON": (
        lambda folder: (folder / "sim1/simulation_config.json").write_text("Run Default {"),
        {},
        "simulations",
        ("sim1/simulation_config.json is not JSON",),
    ),
    "configuration without a network": (
        lambda folder: (folder / "sim1/simulation_config.json").write_text("{}"),
        {},
        "simulations",
        ("sim1/simulation_config.json", "'network' is missing"),
    ),
    "report of another name": (
        lambda folder: (folder / "sim1/simulation_config.json").write_text(
            (folder / "sim1/simulation_config.json").read_text().replace('{"soma": {', '{"voltage": {')
        ),
        SOMA,
        "simulations",
        ("incomplete", "no report 'soma'", "voltage"),
    ),
    "half a spike file": (
        half("sim1/output/spikes.h5"),
        {},
        "report",
        ("sim1/output/spikes.h5", "damaged", "truncated"),
    ),
    "half a report": (
        half("sim1/output/soma.h5"),
        SOMA,
        "report",
        ("sim1/output/soma.h5", "damaged", "truncated"),
    ),
    "NaN": (with_spikes([1], [np.nan]), {}, "report", ("spikes.h5", "finite", "nan at position 0")),
    "infinity": (with_spikes([1, 1], [3, np.inf]), {}, "report", ("inf at position 1",)),
    "negative time": (with_spikes([1], [-1]), {}, "report", ("not negative", "-1.0")),
    "negative id": (with_spikes([-1], [1]), {}, "report", (f"{OUTPUT}/node_ids", "-1", "not an id")),
    "ids that are no integers": (with_spikes([1.5], [1]), {}, "report", ("node_ids", "float64", "integers")),
    "more ids than times": (with_spikes([1, 2], [1]), {}, "report", ("timestamps has 1", "node_ids has 2")),
    "spikes of another population": (
        in_hdf5("sim1/output/spikes.h5", lambda file: file.move(OUTPUT, "/spikes/others")),
        {},
        "report",
        ("spikes.h5", f"no population {POPULATION!r}", "others"),
    ),
    "report of another population": (
        lambda folder: write_soma(folder / "sim1/output/soma.h5", "others"),
        SOMA,
        "report",
        ("soma.h5", f"no population {POPULATION!r}", "others"),
    ),
    "spikes that are declared and not there": (
        in_hdf5("sim1/output/spikes.h5", declared(f"{OUTPUT}/timestamps", (10**12,))),
        {},
        "report",
        ("timestamps declares (1000000000000,)",),
    ),
    "values that are declared and not there": (
        in_hdf5("sim1/output/soma.h5", declared(f"/report/{POPULATION}/data", (200, 10**10))),
        SOMA,
        "report",
        ("data declares (200, 10000000000)",),
    ),
    "mapping that is declared and not there": (
        in_hdf5("sim1/output/soma.h5", declared(f"/report/{POPULATION}/mapping/node_ids", (10**12,))),
        SOMA,
        "report",
        ("node_ids declares",),
    ),
    "compartments as a soma report": (
        in_hdf5(
            "sim1/output/soma.h5",
            lambda file: file[f"/report/{POPULATION}/mapping/index_pointers"].write_direct(
                np.array([0, 2, *range(2, SIZE + 1)], dtype=np.uint64)
            ),
        ),
        SOMA,
        "report",
        ("soma.h5", "node 0 has 2 elements", "no soma report", "compartment"),
    ),
}


@pytest.mark.parametrize("name", ONE_LEFT_OUT)
def test_a_simulation_that_cannot_be_used_is_listed_and_the_others_are_used(name):
    damage, changes, stage, wanted = ONE_LEFT_OUT[name]
    (exclusion,) = run(damage, **changes)
    assert exclusion["simulation_id"] == 1
    assert exclusion["simulation_path"] == "sim1/simulation_config.json"
    assert exclusion["stage"] == stage
    assert not exclusion["kept"]
    said = f"{exclusion['subject']} {exclusion['reason']}"
    assert [text for text in wanted if text not in said] == [], said
    assert "\n" not in said
    assert simulations_in("by_neuron_class") == {0, 2}
    assert [row["simulation_id"] for row in read_rows(RESULTS / "repo/simulations.parquet")] == [0, 2]


def test_the_damaged_file_is_used_once_it_is_whole():
    run(half("sim1/output/spikes.h5"))
    write_simulation(Path("sim1"))
    run_campaign(read_yaml(Path("config.yaml")), [Path("config.yaml")])
    assert read_rows(RESULTS / "exclusions.parquet") == []
    assert simulations_in("by_neuron_class") == {0, 1, 2}


def test_without_any_usable_report_the_reason_is_said():
    def damage(folder: Path) -> None:
        for i in range(3):
            (folder / f"sim{i}/output/spikes.h5").write_bytes(b"nothing")

    with pytest.raises(SimulationError) as error:
        run(damage)
    assert "campaign c, analysis a: no simulation can be used" in str(error.value)
    assert "sim0/output/spikes.h5 is not HDF5" in str(error.value)


@pytest.mark.parametrize(
    ("function", "made"), [("firing_rates", SHIPPED), ("spike_train_statistics", ("by_gid",))]
)
def test_unsorted_spikes_give_the_results_of_sorted_ones(function, made):
    order = np.random.default_rng(1).permutation(len(GID))
    entry = {**FIRING_RATES, "function": function}
    assert run(with_spikes(GID[order], TIME[order]), features=[entry]) == []
    assert tables() == sorted(made)
    for table in made:
        assert same_in(table, 0, 1)


def test_spikes_of_nodes_that_do_not_exist_are_a_warning_and_change_nothing():
    (warning,) = run(with_spikes([*GID, 99, 10**9], [*TIME, 10.0, 20.0]))
    assert warning["kept"]
    assert warning["simulation_id"] == 1
    assert warning["subject"] == f"population {POPULATION}"
    assert (
        warning["reason"]
        == "2 of 62 spikes are of nodes that are not there (12 nodes), the first is 99; they are ignored"
    )
    assert all(same_in(table, 0, 1) for table in SHIPPED)


@pytest.mark.parametrize("empty_group", [False, True])
def test_no_spikes_anywhere_are_a_warning_and_the_tables_are_there(empty_group):
    def damage(folder: Path) -> None:
        for i in range(3):
            path = folder / f"sim{i}/output/spikes.h5"
            write_spikes(path, np.empty(0, np.int64), [])
            if empty_group:
                with h5py.File(path, "a") as file:
                    del file[OUTPUT]

    exclusions = run(damage)
    assert {row["simulation_id"] for row in exclusions} == {0, 1, 2}
    assert {(row["kept"], row["reason"]) for row in exclusions} == {
        (True, "no neuron of any class has a spike in any window")
    }
    assert set(tables()) == set(SHIPPED)
    assert {row["neuron_class"] for row in feature_rows("by_neuron_class")} == {"exc", "inh"}


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        (50.0, 80.0, "the report from 50 to 80 ms: only the values in both are given"),
        (200.0, 280.0, "the report from 200 to 280 ms: there are no values"),
    ],
)
def test_a_report_that_does_not_cover_a_window_is_said_and_kept(start, stop, said):
    exclusions = run(
        lambda folder: write_soma(folder / "sim1/output/soma.h5", start=start, stop=stop), **SOMA
    )
    assert {row["subject"] for row in exclusions} == {"window whole, trial 0", "window late, trial 0"}
    assert {(row["simulation_id"], row["kept"]) for row in exclusions} == {(1, True)}
    assert all(said in row["reason"] for row in exclusions)
    assert {0, 2} <= simulations_in("by_neuron_class")


def test_a_window_outside_the_run_is_said_and_kept():
    windows = {"over": {"bounds": [50, 150]}, "early": {"bounds": [-10, 10]}, "fine": {"bounds": [0, 100]}}
    exclusions = run(extraction={"windows": windows}, simulations=1)
    assert {row["subject"]: row["reason"] for row in exclusions} == {
        "window over, trial 0": "lasts from 50 to 150 ms: it ends after the simulation, which ends at 100 ms",
        "window early, trial 0": "lasts from -10 to 10 ms: it begins before the simulation",
    }
    assert all(row["kept"] for row in exclusions)
    assert {row["window"] for row in feature_rows("by_neuron_class")} == {"over", "early", "fine"}


def test_overlapping_trials_are_noted(capsys):
    windows = {"w": {"bounds": [0, 50], "n_trials": 3, "trial_steps_value": 20}}
    write_small_campaign(Path(), extraction={"windows": windows})
    assert main(["validate", "config.yaml"]) == 0
    assert "analysis.a.extraction.windows.w: trials overlap" in capsys.readouterr().out


# ---------------------------------------------------------------- neurons


def test_a_class_without_neurons_is_reported_and_stays_in_the_table_of_classes():
    nobody = {"nobody": {"query": {"synapse_class": "OTHER"}}, "exc": {"query": {"synapse_class": "EXC"}}}
    (warning,) = run(extraction={"neuron_classes": nobody})
    assert (warning["subject"], warning["reason"], warning["kept"]) == (
        "neuron class nobody",
        "no neurons",
        True,
    )
    counts = {row["neuron_class"]: row["count"] for row in read_rows(RESULTS / "repo/neuron_classes.parquet")}
    assert counts == {"exc": 6, "nobody": 0}


def test_without_any_neuron_the_tables_are_there_and_empty():
    exclusions = run(extraction={"neuron_classes": {"nobody": {"query": {"synapse_class": "OTHER"}}}})
    assert "neuron class nobody" in {row["subject"] for row in exclusions}
    assert set(tables()) == set(SHIPPED)
    assert feature_rows("by_neuron_class") == []


def test_listed_ids_that_do_not_exist_are_a_warning():
    (warning,) = run(extraction={"neuron_classes": {"x": {"node_id": [1, 99]}}})
    assert (warning["kept"], warning["subject"]) == (True, "neuron class x")
    assert "1 of 2 are not in population 'cells' of 12 nodes, the first is 99" in warning["reason"]


WRONG_NEURONS: dict[str, tuple[Damage | None, dict[str, Any], tuple[str, ...]]] = {
    "unknown property": (
        None,
        {"query": {"sinapse": "EXC"}},
        ("neuron class x: query", "'sinapse'", "layer, synapse_class"),
    ),
    "unknown node set": (None, {"node_set": "Uper"}, ("node_sets.json", "no node set 'Uper'", "Upper")),
    "unknown population": (
        None,
        {"population": "cels"},
        ("circuit_config.json", "no population 'cels'", "it has cells"),
    ),
    "number for a text": (
        None,
        {"query": {"synapse_class": {"gt": 3}}},
        ("neuron class x: query: synapse_class: gt", "no order"),
    ),
    "half the nodes": (half("circuit/nodes.h5"), {}, ("nodes file", "circuit/nodes.h5", "damaged")),
    "no nodes": (without("circuit/nodes.h5"), {}, ("nodes file", "circuit/nodes.h5 is not there")),
    "nodes that are declared and not there": (
        in_hdf5("circuit/nodes.h5", declared(f"/nodes/{POPULATION}/node_type_id", (10**12,))),
        {},
        ("nodes.h5", "node_type_id declares"),
    ),
    "node sets that are not JSON": (
        lambda folder: (folder / "circuit/node_sets.json").write_text("{"),
        {"node_set": "Upper"},
        ("node_sets.json", "JSON"),
    ),
}


@pytest.mark.parametrize("name", WRONG_NEURONS)
def test_neurons_that_cannot_be_chosen_end_the_analysis_with_one_message(name):
    damage, choice, wanted = WRONG_NEURONS[name]
    with pytest.raises((SimulationError, ConfigurationError)) as error:
        run(damage, extraction={"neuron_classes": {"x": choice}})
    message = str(error.value)
    assert message.startswith("campaign c, analysis a: ")
    assert [text for text in wanted if text not in message] == [], message
    assert "\n" not in message


# ---------------------------------------------------------------- functions of the user

PRODUCT = {**OWN, "params_product": {"k": [1, 2, 3]}}
GROUP = "group (simulation_id=0, circuit_id=0, neuron_class='exc', window='late')"


def test_a_function_that_raises_for_one_group_loses_that_combination_alone():
    body = (
        "return {'mine': pd.DataFrame({'v': [1 / (key.simulation_id != 1 or key.neuron_class != 'inh' "
        "or params['k'] != 2)]})}"
    )
    (exclusion,) = run(body=body, features=[FIRING_RATES, PRODUCT])
    assert (exclusion["stage"], exclusion["subject"], exclusion["kept"]) == (
        "features",
        "combination _1",
        False,
    )
    assert exclusion["reason"] == (
        "mine.compute: group (simulation_id=1, circuit_id=0, neuron_class='inh', window='late'): raised "
        "ZeroDivisionError: division by zero (mine.py, line 10)"
    )
    assert set(tables()) == {*SHIPPED, "mine", "mine_0", "mine_2", "mine.params", "mine.aliases"}
    assert {row["k"] for row in feature_rows("mine")} == {1, 3}


def test_a_function_that_raises_in_one_simulation_keeps_the_others_where_each_is_done_alone():
    body = "return {'mine': pd.DataFrame({'v': [1 / (key.simulation_id - 1)]})}"
    (exclusion,) = run(body=body, features=[{**OWN, "partition": "simulation"}])
    assert exclusion["simulation_id"] == 1
    assert "ZeroDivisionError" in exclusion["reason"]
    assert simulations_in("mine") == {0, 2}


def test_when_all_combinations_fail_the_reason_is_said_once():
    with pytest.raises(SimulationError) as error:
        run(body="return 1 / 0", features=[PRODUCT])
    message = str(error.value)
    assert message.startswith("campaign c, analysis a: no feature table is left: mine.compute: group (")
    assert message.count("ZeroDivisionError: division by zero (mine.py, line 10)") == 1


WRONG_RETURN = {
    # what a function of BlueETL's contract returns: what the message must say
    "[1]": ("returned a list", "a dict of DataFrames"),
    "None": ("returned a NoneType",),
    "pd.DataFrame({'v': [1]})": ("returned a DataFrame", "a dict of DataFrames"),
    "{'a': [1, 2]}": ("a list as 'a'",),
    "{'a': pd.DataFrame([[1, 2]], columns=['v', 'v'])}": ("columns of equal name in 'a'",),
    "{'a': pd.DataFrame({'neuron_class': ['other']})}": ("'neuron_class' differs from the group's 'exc'",),
    "{'../x': pd.DataFrame({'v': [1]})}": ("'../x'", "letters, digits"),
    "{1: pd.DataFrame({'v': [1]})}": ("a table named 1",),
    "sys.exit(3)": ("SystemExit: 3",),
    "repo.simulations.df['simulation']": ("no live simulation", "bluepysnap"),
}


@pytest.mark.parametrize("returned", WRONG_RETURN)
def test_a_function_that_returns_the_wrong_thing_is_told_with_its_group(returned):
    (exclusion,) = run(body=f"return {returned}", features=[FIRING_RATES, OWN])
    assert exclusion["reason"].startswith(f"mine.compute: {GROUP}: ")
    assert [t for t in WRONG_RETURN[returned] if t not in exclusion["reason"]] == [], exclusion["reason"]
    assert set(tables()) == set(SHIPPED)


@pytest.mark.parametrize("value", ["object()", "1 if key.neuron_class == 'exc' else 'x'", "1j"])
def test_values_that_no_table_can_hold_are_told_with_their_column(value):
    (exclusion,) = run(body=f"return {{'a': pd.DataFrame({{'v': [{value}]}})}}", features=[FIRING_RATES, OWN])
    assert exclusion["reason"].startswith("mine.compute: table a: Conversion failed for column v")


WRONG_VECTORISED = {
    "[1]": ("dict of table name -> ephysflow.FeatureRows", "returned list"),
    "{'a': [1]}": ("'a': list",),
    "{'../x': FeatureRows(np.arange(2), {}, {'v': np.zeros(2)})}": ("'../x'", "letters, digits"),
    "{'a': FeatureRows(np.arange(2), {}, {'v': np.zeros(3)})}": ("column 'v' has 3 values for 2 rows",),
    "{'a': FeatureRows(np.arange(2), {}, {'v': np.zeros((2, 2))})}": ("column 'v'", "1-dimensional"),
    "{'a': FeatureRows(np.arange(2), {'window': np.zeros(2)}, {'v': np.zeros(2)})}": (
        "'window' is there twice",
    ),
    "{'a': FeatureRows(np.arange(1), {'simulation_id': np.zeros(1)}, {'v': np.zeros(1)})}": (
        "'simulation_id' is there twice",
    ),
    "{'a': FeatureRows(np.arange(1), {}, {'circuit_id': np.zeros(1)})}": ("'circuit_id' is there twice",),
    "{'a': FeatureRows(np.array([100]), {}, {'v': np.zeros(1)})}": (
        "group must",
        "from 0 to 3",
        "100 to 100",
    ),
    "{'a': FeatureRows(np.array([-1]), {}, {'v': np.zeros(1)})}": ("group must", "-1"),
    "{'a': FeatureRows(np.array([0.5]), {}, {'v': np.zeros(1)})}": ("group must", "integers", "float64"),
    "{'a': FeatureRows(np.arange(1), None, {'v': np.zeros(1)})}": ("index and values are dicts",),
    "{'a': FeatureRows(np.arange(1), {}, {1: np.zeros(1)})}": ("index and values are dicts",),
    "sys.exit(1)": ("SystemExit: 1", "mine.py"),
    "{}['k']": ("KeyError", "mine.py"),
}


@pytest.mark.parametrize("returned", WRONG_VECTORISED)
def test_a_vectorised_function_that_returns_the_wrong_thing_is_told(returned):
    own = {**OWN, "function": "mine.vectorised", "contract": "vectorised", "partition": "simulation"}
    exclusions = run(vectorised=f"return {returned}", features=[FIRING_RATES, own])
    assert [row["simulation_id"] for row in exclusions] == [0, 1, 2]
    for row in exclusions:
        assert row["reason"].startswith("mine.vectorised: ")
        assert [text for text in WRONG_VECTORISED[returned] if text not in row["reason"]] == [], row["reason"]
    assert set(tables()) == set(SHIPPED)


def test_a_function_that_returns_no_table_is_noted():
    (warning,) = run(body="return {}", features=[FIRING_RATES, OWN])
    assert (warning["kept"], warning["reason"]) == (True, "mine.compute: returned no table")


PER_SIMULATION = {**OWN, "partition": "simulation"}
PER_VALUE = {**OWN, "params_product": {"k": [0, 1]}}
EITHER = {"simulations": ("key.simulation_id", PER_SIMULATION), "combinations": ("params['k']", PER_VALUE)}


@pytest.mark.parametrize("between", EITHER)
def test_columns_that_some_tables_lack_are_null_there(between):
    which, entry = EITHER[between]
    body = f"return {{'a': pd.DataFrame({{'v': [1]}} if {which} else {{'w': [2.5]}})}}"
    assert run(body=body, features=[entry]) == []
    rows = feature_rows("a")
    assert {(row["v"], row["w"]) for row in rows} == {(1, None), (None, 2.5)}


@pytest.mark.parametrize("between", EITHER)
def test_columns_whose_types_do_not_fit_are_told(between):
    which, entry = EITHER[between]
    body = f"return {{'a': pd.DataFrame({{'v': [1 if {which} else 'x']}})}}"
    (exclusion,) = run(body=body, features=[FIRING_RATES, entry])
    assert (exclusion["subject"], exclusion["kept"]) == ("table a", False)
    assert "Field v has incompatible types: string vs int64" in exclusion["reason"]
    left = {"a_0", "a_1"} if between == "combinations" else set()
    assert set(tables()) == {*SHIPPED, *left}


def test_tables_without_rows_say_nothing_of_columns():
    body = "return {'a': pd.DataFrame({'v': ['x'] if key.simulation_id else []}, dtype=object if key.simulation_id else float)}"
    assert run(body=body, features=[PER_SIMULATION]) == []
    assert {row["v"] for row in feature_rows("a")} == {"x"}


def test_a_parameter_that_is_called_as_a_column_leaves_the_tables_unstacked():
    (exclusion,) = run(body="return {'a': pd.DataFrame({'k': [1]})}", features=[PER_VALUE])
    assert (exclusion["subject"], exclusion["kept"]) == ("table a", False)
    assert "(a_0, a_1) are not stacked: a parameter is called 'k'" in exclusion["reason"]
    assert set(tables()) == {"a_0", "a_1"}


@pytest.mark.parametrize(
    ("body", "entries", "wanted"),
    [
        (
            "return {'by_gid': pd.DataFrame({'v': [1]})}",
            [FIRING_RATES, OWN],
            ("'by_gid'", "firing_rates", "mine.compute", "suffix"),
        ),
        (
            "return {'a': pd.DataFrame({'v': [1]}), 'a.params': pd.DataFrame({'v': [1]})}",
            [PER_VALUE],
            ("'a.params'", "'a'", "another name"),
        ),
    ],
)
def test_a_table_name_that_is_taken_is_refused_when_it_is_published(body, entries, wanted):
    with pytest.raises(SimulationError) as error:
        run(body=body, features=entries)
    assert [text for text in wanted if text not in str(error.value)] == [], str(error.value)


@pytest.mark.parametrize("contract", ["group", "vectorised"])
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("import nowhere_at_all\n", ("ModuleNotFoundError", "nowhere_at_all", "mine.py, line 1")),
        ("1 / 0\n", ("ZeroDivisionError", "mine.py, line 1")),
        ("raise SystemExit(2)\n", ("SystemExit", "mine.py, line 1")),
    ],
)
def test_a_module_that_cannot_be_imported_ends_the_job_with_its_line(contract, line, wanted):
    def damage(folder: Path) -> None:
        (folder / "mine.py").write_text(line + (folder / "mine.py").read_text())

    with pytest.raises(ConfigurationError) as error:
        run(damage, features=[{**OWN, "contract": contract}])
    assert str(error.value).startswith("mine.compute: its module cannot be imported: ")
    assert [text for text in wanted if text not in str(error.value)] == [], str(error.value)


def test_what_is_not_a_function_is_refused():
    with pytest.raises(ConfigurationError, match="mine.number: is not a function but int: 3"):
        run(features=[{**OWN, "function": "mine.number"}])


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("float('nan')", "must return a finite number [ms]; returned nan"),
        ("'early'", "must return a finite number [ms]; returned 'early'"),
        ("sys.exit(1)", "SystemExit"),
    ],
)
def test_a_trial_step_function_that_fails_names_the_trial_step(returned, wanted):
    def damage(folder: Path) -> None:
        (folder / "steps.py").write_text(
            f"import sys\n\n\ndef offset(times, params):\n    return {returned}\n"
        )

    extraction = {
        "windows": {"w": {"bounds": [0, 10], "trial_steps_label": "t"}},
        "trial_steps": {"t": {"function": "steps.offset", "bounds": [0, 50]}},
    }
    with pytest.raises(SimulationError) as error:
        run(damage, extraction=extraction)
    assert "no simulation can be used: trial step t: function steps.offset: " in str(error.value)
    assert wanted in str(error.value)


# ---------------------------------------------------------------- wrong configuration


def windows(**given: Any) -> dict[str, Any]:
    return {"extraction": {"windows": given}}


def features(*changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"features": [{**FIRING_RATES, **change} for change in changes]}


def replaced(file: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / file).read_text()
        assert old in content
        (folder / file).write_text(content.replace(old, new))

    return damage


def inline_with_a_key_twice(folder: Path) -> None:
    content = (folder / "analysis.yaml").read_text().replace("        inh:", "        exc:")
    lines = [f"    {line}\n" for line in content.replace("version: 4\n", "").splitlines()]
    (folder / "config.yaml").write_text("campaign:\n  c:\n" + "".join(lines))


def campaign_of(*rows: Mapping[str, Any]) -> Damage:
    return lambda folder: write_campaign_file(folder / "campaign.json", rows)


def section(**keys: Any) -> Damage:
    return lambda folder: write_yaml(
        folder / "config.yaml", {"campaign": {"c": {"analysis_config": "analysis.yaml", **keys}}}
    )


WRONG: dict[str, tuple[dict[str, Any], Damage | None, tuple[str, ...]]] = {
    # name: changes of the analysis configuration, damage, what the message must say
    "reversed bounds": (windows(w={"bounds": [50, 10]}), None, ("windows.w.bounds: [50, 10] are reversed",)),
    "equal bounds": (windows(w={"bounds": [50, 50]}), None, ("windows.w.bounds: [50, 50] are equal",)),
    "three bounds": (windows(w={"bounds": [1, 2, 3]}), None, ("windows.w.bounds", "Two times [ms]")),
    "window that refers to itself": (
        windows(w="a.extraction.windows.w"),
        None,
        ("windows.w: circular references: a.w -> a.w",),
    ),
    "windows that refer to each other": (
        windows(v="a.extraction.windows.w", w="a.extraction.windows.v"),
        None,
        ("circular references: a.w -> a.v -> a.w",),
    ),
    "reference to no analysis": (
        windows(w="b.extraction.windows.w"),
        None,
        ("windows.w", "'b' is unknown (known: a)"),
    ),
    "unknown key": (
        {"simulation_filter": {}},
        None,
        ("simulation_filter", "did you mean simulations_filter"),
    ),
    "unknown key of the extraction": (
        {"extraction": {"neuron_clases": {}}},
        None,
        ("extraction.neuron_clases", "did you mean neuron_classes"),
    ),
    "unknown key of a class": (
        {"extraction": {"neuron_classes": {"x": {"qery": {}}}}},
        None,
        ("neuron_classes.x.qery", "did you mean query"),
    ),
    "unknown key of a feature": (features({"group_by": []}), None, ("features.0.group_by", "groupby")),
    "unknown key of the campaign": (
        {},
        section(sampeling="sequential"),
        ("config.yaml", "campaign.c.sampeling", "did you mean sampling"),
    ),
    "unknown operator": (
        {"extraction": {"neuron_classes": {"x": {"query": {"layer": {"gte": 1}}}}}},
        None,
        ("neuron_classes.x.query: layer", "'gte'", "eq, ne, le, lt, ge, gt"),
    ),
    "unknown function": (features({"function": "firing_rate"}), None, ("'firing_rate'", "firing_rates")),
    "module that is not there": (
        features({"function": "nowhere.compute"}),
        None,
        ("'nowhere.compute'", "neither a Python file"),
    ),
    "function that its module lacks": (
        features({"function": "mine.compte"}),
        None,
        ("mine.py", "no 'compte'"),
    ),
    "module that is not Python": (
        features({"function": "mine.compute"}),
        lambda folder: (folder / "mine.py").write_text("def compute(:\n"),
        ("mine.py", "line 1", "invalid syntax"),
    ),
    "unknown class in a feature": (
        features({"neuron_classes": ["excc"]}),
        None,
        ("features.0: neuron_classes: 'excc'", "exc, inh"),
    ),
    "unknown window in a feature": (
        features({"windows": ["wholee"]}),
        None,
        ("features.0: windows: 'wholee'", "whole, late"),
    ),
    "unknown column to group by": (
        features({"groupby": ["neuron_clas"]}),
        None,
        ("groupby: 'neuron_clas'", "neuron_class"),
    ),
    "name that leaves the folder": (
        features({"function": "mine.compute", "type": "single", "name": "../x"}),
        None,
        ("features.0: name: '../x'", "letters, digits"),
    ),
    "suffix that leaves the folder": (
        features({"suffix": "/../x"}),
        None,
        ("features.0.suffix", "'/../x'", "Letters, digits"),
    ),
    "campaign that leaves the folder": (
        {},
        lambda folder: write_yaml(
            folder / "config.yaml", {"campaign": {"../c": {"analysis_config": "analysis.yaml"}}}
        ),
        ("config.yaml", "campaign", "'../c'"),
    ),
    "lists of different length": (
        features({"params_zip": {"a": [1, 2], "b": [1]}}),
        None,
        ("params_zip", "one length", "a: 2, b: 1"),
    ),
    "empty list": (features({"params_product": {"a": []}}), None, ("params_product.a", "non-empty")),
    "function on the wrong report": (
        {"extraction": SOMA["extraction"]},
        None,
        ("firing_rates works on reports of type spikes", "soma"),
    ),
    "unknown kind of report": (
        {"extraction": {"report": {"type": "lfp"}}},
        None,
        ("report.type: 'lfp'", "spikes", "soma"),
    ),
    "soma report without a name": (
        {**SOMA, "extraction": {"report": {"type": "soma"}}},
        None,
        ("report.name: missing",),
    ),
    "unknown report": (
        {**SOMA, "extraction": {"report": {"type": "soma", "name": "sma"}}},
        None,
        ("no report 'sma'", "reports: soma", "sim0/simulation_config.json"),
    ),
    "unknown trial step": (
        windows(w={"bounds": [0, 10], "trial_steps_label": "onset"}),
        None,
        ("windows.w.trial_steps_label: 'onset' is unknown",),
    ),
    "file of node sets that is not there": (
        {"extraction": {"node_sets_file": "nowhere.json"}},
        None,
        ("node_sets_file nowhere.json", "not there"),
    ),
    "filter that leaves none": (
        {"simulations_filter": {"seed": 77}},
        None,
        ("campaign.json", "simulations_filter leaves none"),
    ),
    "unknown condition in a filter": (
        {"simulations_filter": {"sede": 0}},
        None,
        ("simulations_filter: 'sede'", "seed, simulation_id"),
    ),
    "filter that compares a text with numbers": (
        {"simulations_filter": {"seed": {"ge": "a"}}},
        None,
        ("simulations_filter: seed: ge: 'a'", "no order"),
    ),
    "condition that is called as an id": (
        {},
        campaign_of({"circuit_id": 0, "simulation_path": "sim0"}),
        ("campaign.json", "condition 'circuit_id'", "simulation_id, circuit_id, simulation_path"),
    ),
    "conditions that are there twice": (
        {},
        campaign_of({"seed": 0, "simulation_path": "sim0"}, {"seed": 0, "simulation_path": "sim1"}),
        ("campaign.json", "rows 0 and 1 have the same conditions"),
    ),
    "simulations elsewhere": (
        {},
        campaign_of({"seed": 0, "simulation_path": "https://example.org/sim0"}),
        ("campaign.json", "https://example.org/sim0 is not a local path"),
    ),
    "BlueConfig": (
        {},
        replaced("campaign.json", "circuit/circuit_config.json", "circuit/CircuitConfig"),
        ("campaign.json", "attrs.circuit_config", "BlueConfig", "SONATA"),
    ),
    "no campaign file": ({}, without("campaign.json"), ("campaign.json", "cannot be read")),
    "empty campaign file": (
        {},
        lambda folder: (folder / "campaign.json").write_text(""),
        ("campaign.json", "is not a campaign file"),
    ),
    "no analysis configuration": ({}, without("analysis.yaml"), ("analysis.yaml", "cannot be read")),
    "label that is there twice": (
        {},
        replaced("analysis.yaml", "        inh:", "        exc:"),
        ("analysis.yaml", "key 'exc' stands twice, in lines"),
    ),
    "label that is there twice in config.yaml": (
        {},
        inline_with_a_key_twice,
        ("config.yaml", "key 'exc' stands twice, in lines"),
    ),
    "older version": ({"version": 2}, None, ("analysis.yaml", "version: 2", "migrate-config")),
    "NaN": (
        {},
        lambda folder: (folder / "analysis.yaml").write_text(
            (folder / "analysis.yaml").read_text() + "custom: {a: .nan}\n"
        ),
        ("custom.a: nan is not a finite number",),
    ),
    "no simulation that can be used": (
        {},
        lambda folder: [(folder / f"sim{i}/output/spikes.h5").unlink() for i in range(3)],
        ("campaign.json", "no simulation", "sim0/output/spikes.h5 is not there", "sim2/output/spikes.h5"),
    ),
    "circuit that is not there": (
        {},
        without("circuit/circuit_config.json"),
        ("circuit configuration", "circuit/circuit_config.json is not there"),
    ),
}


def write_wrong(folder: Path, name: str) -> tuple[str, ...]:
    changes, damage, wanted = WRONG[name]
    write_small_campaign(folder, **changes)
    (folder / "mine.py").write_text(MODULE.format(body="pass", vectorised="pass"))
    if damage is not None:
        damage(folder)
    return wanted


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_refused_before_any_job(capsys, name):
    wanted = write_wrong(Path(), name)
    assert main(["validate", "config.yaml"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow validate: error: ")
    assert [text for text in wanted if text not in printed.err] == [], printed.err
    assert "Traceback" not in printed.err
    assert not Path("results").exists()


@pytest.mark.parametrize("single", [True, False])
def test_one_table_name_of_two_entries_is_refused(capsys, single):
    own = {"function": "mine.compute", "type": "single", "name": "t"}
    write_small_campaign(Path(), **features(*([own, own] if single else [{}, {}])))
    Path("mine.py").write_text(MODULE.format(body="pass", vectorised="pass"))
    assert main(["validate", "config.yaml"]) == 1
    name = "t" if single else "by_gid"
    assert f"features.1: table {name!r} is also made by features.0" in capsys.readouterr().err


def test_conditions_may_be_called_as_columns_of_other_tables():
    rows = [{"gid": i, "window": "x", "simulation_path": f"sim{i}"} for i in range(3)]
    assert run(campaign_of(*rows)) == []
    listed = read_rows(RESULTS / "repo/simulations.parquet")
    assert [(row["gid"], row["window"]) for row in listed] == [(0, "x"), (1, "x"), (2, "x")]
    assert {row["window"] for row in feature_rows("by_gid")} == {"whole", "late"}


# ---------------------------------------------------------------- results


def publish_again() -> None:
    (plan,) = Path("results/.ephysflow").glob("plan-*.jsonl")
    publish_features(read_job(plan, "publish_features", ["c", "a"]))


@pytest.mark.parametrize("damage", ["half", "zeros", "middle", "empty", "another file"])
def test_a_damaged_file_of_computed_features_is_named(damage):
    run()
    computed = sorted(RESULTS.glob("computed/*/*.zip"))[0]
    content = computed.read_bytes()
    third = len(content) // 3
    computed.write_bytes(
        {
            "half": content[: len(content) // 2],
            "zeros": bytes(len(content)),
            "middle": content[:third]
            + bytes(255 - byte for byte in content[third:-third])
            + content[-third:],
            "empty": b"",
            "another file": b"hello",
        }[damage]
    )
    with pytest.raises(ResultError, match=re.escape(str(computed))) as error:
        publish_again()
    assert "\n" not in str(error.value)


def test_a_table_of_an_entry_that_is_gone_is_not_left_behind():
    body = "return {'mine': pd.DataFrame({'v': [1]})}"
    run(body=body, features=[FIRING_RATES, OWN])
    assert set(tables()) == {*SHIPPED, "mine"}
    write_yaml(Path("analysis.yaml"), analysis_configuration())
    run_campaign(read_yaml(Path("config.yaml")), [Path("config.yaml")])
    assert set(tables()) == set(SHIPPED)
    assert set(json.loads((RESULTS / "features/entries.json").read_text())) == set(SHIPPED)


def test_a_table_that_is_not_whole_is_not_published(monkeypatch):
    run()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ephysflow.campaign.publication_step._in_schema", killed)
    with pytest.raises(KeyboardInterrupt):
        publish_again()
    assert tables() == []


# ---------------------------------------------------------------- as a user runs it


def printed_by(folder: Folder) -> tuple[int, str]:
    done = folder.snakemake("-c2", "--configfile", "config.yaml")
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    return done.returncode, printed


def test_snakemake_goes_on_with_what_can_be_used(tmp_path, monkeypatch):
    folder = Folder.checkout(tmp_path)
    body = "return {'mine': pd.DataFrame({'v': [1 / (params['k'] - 2 or key.simulation_id)]})}"
    write_small_campaign(tmp_path, simulations=4, features=[FIRING_RATES, PRODUCT])
    (tmp_path / "mine.py").write_text(MODULE.format(body=body, vectorised="pass"))
    half("sim2/output/spikes.h5")(tmp_path)
    without("sim3/output/spikes.h5")(tmp_path)
    status, _ = printed_by(folder)
    assert status == 0
    exclusions = read_rows(RESULTS / "exclusions.parquet")
    assert [(row["stage"], row["simulation_id"]) for row in exclusions] == [
        ("simulations", 3),
        ("report", 2),
        ("features", None),
    ]
    assert set(tables()) == {*SHIPPED, "mine", "mine_0", "mine_2", "mine.params", "mine.aliases"}
    log = Path("results/logs/publish_features/c/a.log").read_text()
    assert "left out: report: sim2/simulation_config.json: " in log
    assert f"left out: features: combination _1: mine.compute: {GROUP}: raised ZeroDivisionError" in log


def test_snakemake_shows_what_is_wrong_and_finishes_the_other_analyses(tmp_path):
    folder = Folder.checkout(tmp_path)
    write_small_campaign(tmp_path, simulations=2)
    both = analysis_configuration()
    for name, extraction, entries in (
        ("no_property", {"neuron_classes": {"x": {"query": {"sinapse": "EXC"}}}}, [FIRING_RATES]),
        ("all_fail", {}, [OWN]),
    ):
        both["analysis"][name] = analysis_configuration(extraction, entries)["analysis"]["a"]
    write_yaml(tmp_path / "analysis.yaml", both)
    (tmp_path / "mine.py").write_text(MODULE.format(body="raise ValueError('too few')", vectorised="pass"))
    status, printed = printed_by(folder)
    assert status == 1
    for message in (
        "ephysflow select-neurons: error: campaign c, analysis no_property: neuron class x: query: population 'cells' "
        "has no property 'sinapse'; known are layer, synapse_class",
        "ephysflow publish-features: error: campaign c, analysis all_fail: no feature table is left: mine.compute: "
        f"{GROUP}: raised ValueError: too few (mine.py, line 10)",
    ):
        assert message in printed
    assert set(tables()) == set(SHIPPED)
    assert not Path("results/campaign/c/all_fail/features").exists()


@pytest.mark.parametrize("name", ["windows that refer to each other", "no simulation that can be used"])
def test_snakemake_refuses_a_wrong_configuration_before_any_job(tmp_path, name):
    folder = Folder.checkout(tmp_path)
    wanted = write_wrong(tmp_path, name)
    refused = folder.snakemake("-n", "--configfile", "config.yaml")
    printed = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert [text for text in wanted if text not in printed] == [], printed
    assert "Traceback" not in printed
    assert not Path("results").exists()
