"""The analysis configuration: completed as the reference says, and wrong ones refused before any job."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ephysflow.campaign.analysis_config import check_filter, parse_analysis, read_analysis
from ephysflow.campaign.query import matches
from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import canonical_json
from ephysflow.io.yaml_files import read_yaml

BNAC = "blueetl.external.bnac.calculate_features.calculate_features_multi"
KEY = ["simulation_id", "circuit_id", "neuron_class", "window"]


def feature(**changes) -> dict[str, Any]:
    return {"type": "multi", "groupby": KEY, "function": "firing_rates", **changes}


def own(**changes) -> dict[str, Any]:
    return feature(**{"function": "mine.f", **changes})


def analysis(features=(), **extraction) -> dict[str, Any]:
    given = {
        "report": {"type": "spikes"},
        "neuron_classes": {"A": {}, "B": {"limit": 3}},
        "windows": {"w": {"bounds": [0, 10]}},
        **extraction,
    }
    return {"extraction": given, "features": list(features)}


def config(first=None, **others) -> dict[str, Any]:
    return {"simulation_campaign": "c.json", "analysis": {"spikes": first or analysis(), **others}}


def parsed(content, folder="."):
    return parse_analysis(content, Path(folder), "config.yaml")


def windows(**given):
    return config(analysis(windows=given))


STEP = {"function": "onset_from_spikes", "bounds": [-5, 5], "threshold_std_multiple": 4}


@pytest.fixture
def golden_configurations(shared):
    folder = shared / "golden/campaign"
    found = [*folder.glob("*/config.yaml"), *folder.glob("functional/*/config.yaml")]
    assert len(found) > 25
    return found


def test_golden_configurations(golden_configurations):
    for file in golden_configurations:
        read = read_analysis(file)
        given = yaml.safe_load(file.read_text())
        assert list(read.analyses) == list(given["analysis"])
        for name, item in read.analyses.items():
            extraction = given["analysis"][name]["extraction"]
            assert list(item.extraction["neuron_classes"]) == list(extraction["neuron_classes"])
            assert list(item.extraction["windows"]) == list(extraction["windows"])
            assert len(item.features) == len(given["analysis"][name].get("features", []))
            canonical_json(item.extraction)


def test_golden_reference_and_node_sets_file(shared):
    soma = read_analysis(shared / "golden/campaign/sonata_08/config.yaml").analyses["soma"]
    window = soma.extraction["windows"]["w9"]
    assert window["bounds"] == [0.0, 25.0]
    assert window["initial_offset"] == 50.0
    assert window["trial_step"]["label"] == "ts1"
    assert window["trial_step"]["population"] == "thalamus_neurons"
    assert window["trial_step"]["limit"] == 1000
    folder = shared / "golden/campaign/neg_sonata_12"
    classes = read_analysis(folder / "config.yaml").analyses["spikes"].extraction["neuron_classes"]
    assert classes["Rt_INH"] == {
        "query": {"layer": ["Rt"]},
        "node_set": "Inhibitory",
        "population": "thalamus_neurons",
        "node_sets_file": str(folder / "node_sets/node_sets_01.json"),
        "limit": 1000,
        "node_id": None,
    }


def test_golden_products(shared):
    read = read_analysis(shared / "golden/campaign/doc_config/config.yaml")
    (entry,) = read.analyses["spikes"].features
    assert len(entry.combinations) == 12
    assert [note for note in read.notes if "ratio, nested_example, param1, param2" in note]
    read = read_analysis(shared / "golden/campaign/neg_var_params_dotted/config.yaml")
    assert [c.params for c in read.analyses["spikes"].features[0].combinations] == [
        {"a": {"b": 1}},
        {"a": {"b": 2}},
    ]


def test_what_extraction_says_holds_where_a_class_says_nothing():
    classes = {"A": {}, "B": {"limit": None, "node_set": "x"}, "C": {"node_sets_file": None}}
    given = analysis(
        neuron_classes=classes, population="p", node_set=None, node_sets_file="../sets.json", limit=10
    )
    read = parsed(config(given), "some/folder").analyses["spikes"].extraction["neuron_classes"]
    assert list(read) == ["A", "B", "C"]
    assert [choice["limit"] for choice in read.values()] == [10, None, 10]
    assert [choice["node_set"] for choice in read.values()] == [None, "x", None]
    assert [choice["node_sets_file"] for choice in read.values()] == [
        "some/sets.json",
        "some/sets.json",
        None,
    ]
    assert {choice["population"] for choice in read.values()} == {"p"}


def test_windows_are_completed():
    given = {"w": {"bounds": [0, 10], "trial_steps_label": "t"}, "v": {"bounds": [0, 1], "n_trials": 0}}
    read = parsed(config(analysis(windows=given, trial_steps={"t": STEP}, limit=5))).analyses["spikes"]
    assert read.extraction["windows"]["v"] == {
        "bounds": [0.0, 1.0],
        "initial_offset": 0.0,
        "t_step": 0.0,
        "n_trials": 1,
        "trial_steps_value": 0.0,
        "trial_steps_list": [],
        "trial_steps_label": "",
        "window_type": "",
        "trial_step": None,
    }
    unset = {"population": None, "node_set": None, "node_sets_file": None}
    assert read.extraction["windows"]["w"]["trial_step"] == {"label": "t", **STEP, **unset, "limit": 5}


def test_equal_numbers_give_one_text():
    as_int = parsed(windows(w={"bounds": [0, 10], "n_trials": 2, "trial_steps_value": 20}))
    as_float = parsed(windows(w={"bounds": [0.0, 10.0], "n_trials": 2.0, "trial_steps_value": 20.0}))
    texts = {canonical_json(read.analyses["spikes"].extraction) for read in (as_int, as_float)}
    assert len(texts) == 1


def test_given_configuration_is_not_changed_and_nothing_is_shared():
    content = config(analysis(features=[feature(params={"export_all_neurons": True})]))
    before = copy.deepcopy(content)
    read = parsed(content)
    read.analyses["spikes"].features[0].combinations[0].params["x"] = 1
    read.analyses["spikes"].extraction["neuron_classes"]["A"]["query"]["x"] = 1
    assert content == before
    assert parsed(content).analyses["spikes"].extraction["neuron_classes"]["A"]["query"] == {}


def test_feature_entries_are_completed():
    (entry,) = parsed(config(analysis([own()]))).analyses["spikes"].features
    assert (entry.contract, entry.partition, entry.multi_index, entry.suffix) == ("group", None, True, "")
    assert entry.windows == entry.neuron_classes == []
    assert [combination.suffix for combination in entry.combinations] == [""]


@pytest.mark.parametrize("groupby", [["simulation_id"], ["gid", "time"], [], ["window", "neuron_class"]])
def test_any_grouping(groupby):
    parsed(config(analysis([own(groupby=groupby)])))


def test_campaign_path_and_what_serves_python_access():
    content = {**config(), "simulations_filter_in_memory": {"seed": 1}, "custom": {"a": [1]}}
    content["analysis"]["spikes"]["custom"] = {"b": 2}
    read = parsed(content, "/data/x/..")
    assert read.simulation_campaign == Path("/data/c.json")
    assert read.simulations_filter_in_memory == {"seed": 1}
    assert (read.custom, read.analyses["spikes"].custom) == ({"a": [1]}, {"b": 2})


def test_notes():
    content = {
        **config(analysis([feature(params={"x": 1, "y": 2}, name="n")], windows={
            "a": {"bounds": [0, 10], "n_trials": 2, "trial_steps_value": -5},
            "b": {"bounds": [0, 10], "trial_steps_list": [20, 0, 10]},
            "c": {"bounds": [0, 10], "trial_steps_list": [0, 0]},
        })),
        "version": 3,
        "output": "x",
        "cache": {"path": "y", "clear": True},
    }  # fmt: skip
    notes = parsed(content).notes
    assert len(notes) == 6
    assert "migrate-config" in notes[0]
    assert notes[1].startswith("cache, output: not used")
    assert [note.split(":")[0][-9:] for note in notes if "overlap" in note] == ["windows.a", "windows.c"]
    assert notes[4].startswith("analysis.spikes.features.0: name: 'n' is used for type single only")
    assert "firing_rates does not read x, y of its parameters" in notes[5]


W = "analysis.spikes.extraction.windows.w"
F0 = "analysis.spikes.features.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**config(), "version": 2}, "version: 2: allowed are 4 and 3. `ephysflow migrate-config"),
        ({**config(), "version": 5}, "version: 5: allowed are 4 and 3$"),
        ({**config(), "version": True}, "version: True: allowed"),
        ({"analysis": {}}, "'simulation_campaign' is a required property"),
        ({**config(), "analyses": {}}, "analyses: unknown key; did you mean analysis"),
        ({**config(), "analysis": {"../x": analysis()}}, "'../x' does not match.*Letters, digits"),
        ({**config(), "analysis": {"x/y": analysis()}}, "'x/y' does not match"),
        (
            {**config(), "simulations_filter": {"seed": {"like": 1}}},
            "simulations_filter: seed: unknown operator",
        ),
        ({**config(), "simulations_filter_in_memory": {"seed": {}}}, "in_memory: seed: {} asks for nothing"),
        ({**config(), "custom": {1: 2}}, "custom: key 1 is not a text; put it in quotes"),
        ({**config(), "custom": {"a": float("nan")}}, "custom.a: nan is not a finite number"),
        (config(analysis([feature(params={"a": 2**63})])), "params.a: an integer outside"),
        ({**config(), "custom": {"a": "\ud800"}}, "custom.a: .* is not text that UTF-8 can hold"),
        ({**config(), "custom": {"\ud800": 1}}, "custom: key .* is not text that UTF-8 can hold"),
        (
            config(analysis([feature(function="mine.f", type="single", name="a" * 151)])),
            "at most 150 characters",
        ),
        ({**config(), "custom": {"a": yaml.safe_load("2020-01-01")}}, "custom.a: .*put it in quotes"),
        (config(analysis(report={"type": "soma"})), "report.name: missing; a report of type soma needs"),
        (
            config(analysis(report={"type": "spikes", "name": "x"})),
            "report.name: 'x': a spikes report has no",
        ),
        (
            config(analysis(report={"type": "lfp"})),
            r"'lfp' is not one of \['spikes', 'soma', 'compartment'\]",
        ),
        (config(analysis(neuron_classes={})), "neuron_classes"),
        (config(analysis(neuron_classes={"A": {"limit": -1}})), "A.limit: -1 is less than the minimum"),
        (
            config(analysis(neuron_classes={"A": {"node_id": ["1"]}})),
            "A.node_id.0: '1' is not of type 'integer'",
        ),
        (
            config(analysis(neuron_classes={"A": {"query": {"x": {"gte": 1}}}})),
            "A.query: x: unknown operator",
        ),
        (
            config(analysis(neuron_classes={"A": {"nodeset": "x"}})),
            "nodeset: unknown key; did you mean node_set",
        ),
        (windows(w={"bounds": [10, 0]}), rf"{W}.bounds: \[10, 0\] are reversed"),
        (windows(w={"bounds": [5, 5]}), rf"{W}.bounds: \[5, 5\] are equal"),
        (windows(w={"bounds": [1]}), rf"{W}.bounds: \[1\] is too short.*Two times"),
        (windows(w={"bounds": [0, float("inf")]}), f"{W}.bounds.1: inf is not a finite number"),
        (windows(w={"bounds": [0, 1], "t_step": -1}), f"{W}.t_step: -1 is less"),
        (windows(w={"bounds": [0, 1], "n_trials": 2}), f"{W}: n_trials: 2 needs a trial_steps_value"),
        (
            windows(w={"bounds": [0, 1], "n_trials": 10**9, "trial_steps_value": 1}),
            "greater than the maximum",
        ),
        (windows(w={"bounds": [0, 1], "n_trials": 2, "trial_steps_list": [1]}), "and n_trials: 2 exclude"),
        (windows(w={"bounds": [0, 1], "trial_steps_value": 2, "trial_steps_list": [1]}), "value: 2 exclude"),
        (
            windows(w={"bounds": [0, 1], "trial_steps_label": "t"}),
            r"'t' is unknown \(trial_steps here: none\)",
        ),
        (windows(w={"bound": [0, 1]}), f"{W}.bound: unknown key; did you mean bounds"),
        (windows(w="x"), f"{W}: 'x' does not match.*reference to one of another analysis"),
        (windows(w="y.extraction.windows.z"), rf"{W}: analysis 'y' is unknown \(known: spikes\)"),
        (
            windows(w={"bounds": [0, 1]}, v="spikes.extraction.windows.z"),
            r"no window 'z' \(windows there: w\)",
        ),
        (windows(w="spikes.extraction.windows.w"), "circular references: spikes.w -> spikes.w"),
        (config(analysis(trial_steps={"t": {**STEP, "initial_offset": 1}})), "t.initial_offset: is a key of"),
        (
            config(analysis(trial_steps={"t": {**STEP, "bounds": [1, 0]}})),
            "trial_steps.t.bounds: .* reversed",
        ),
        (config(analysis([feature(windows=["v"])])), rf"{F0}: windows: 'v' is unknown \(known: w\)"),
        (
            config(analysis([feature(neuron_classes=["C"])])),
            r"neuron_classes: 'C' is unknown \(known: A, B\)",
        ),
        (config(analysis([feature(groupby=["layer"])])), "groupby: 'layer' is not a column.*simulation_id"),
        (config(analysis([feature(groupby=["time"])])), "groupby: 'time' is not a column"),
        (config(analysis([own(groupby=["time"], contract="vectorised")])), "groupby: 'time' is not a column"),
        (config(analysis([own(groupby=["section"])])), "groupby: 'section' is not a column"),
        (config(analysis([own(groupby=["gid", "gid"])])), "has non-unique elements"),
        (config(analysis([feature(), feature()])), "features.1: table 'by_gid' is also made by features.0"),
        (
            config(analysis([feature(), feature(suffix="_x")])),
            "features.1: its tables are stacked as 'by_gid'",
        ),
        (config(analysis([feature(suffix="_and_trial")])), "stacked as 'by_gid_and_trial', which features.0"),
        (config(analysis([own(type="single", name="a"), own(type="single", name="a")])), "table 'a' is also"),
        (config(analysis([own(type="single")])), f"{F0}: name: type single needs the name"),
        (config(analysis([own(type="single", name="a/b")])), "name: 'a/b': allowed are letters"),
        (config(analysis([feature(type="single", name="a")])), "names its tables itself.*allowed is multi"),
        (config(analysis([feature(suffix="/../x")])), "suffix: '/../x' does not match"),
        (
            config(analysis([feature(function="firing_rate")])),
            "'firing_rate' is neither shipped .firing_rates,",
        ),
        (config(analysis([feature(function="soma_statistics")])), "soma and compartment; given: spikes"),
        (config(analysis([feature(params_product={"a": []})])), "params_product.a"),
        (config(analysis([feature(params_product={"a": 3})])), "params_product.a: 3 is not of type 'array'"),
        (
            config(analysis([feature(params_zip={"a": [1], "b": [1, 2]})])),
            f"{F0}: params_zip: the lists must",
        ),
        (config(analysis([feature(params_product={k: [*range(99)] for k in "abc"})])), "970299 combinations"),
        (config(analysis([feature(params={"a.b": 1, "a": {"b": 2}})])), "two parameters are called a.b"),
        (config(analysis([own(groupby=["gid"], partition="simulation")])), "needs simulation_id in groupby"),
        (config(analysis([own(contract="rows")])), r"'rows' is not one of \['group', 'vectorised'\]"),
        (
            config(analysis([own(contract="vectorised", type="single", name="a")])),
            "single is for the contract",
        ),
        ([], "must be a mapping of keys; given: list"),
    ],
)
def test_refused(content, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        parsed(content)
    assert all(line.startswith("config.yaml: ") for line in str(error.value).splitlines())


def test_references_between_analyses():
    other = analysis(windows={"v": "spikes.extraction.windows.w", "u": {"bounds": [1, 2]}})
    read = parsed(config(other=other))
    assert read.analyses["other"].extraction["windows"]["v"]["bounds"] == [0.0, 10.0]
    third = analysis(windows={"v": "other.extraction.windows.v"})
    with pytest.raises(ConfigurationError, match="is a reference itself .spikes.extraction.windows.w."):
        parsed(config(other=other, third=third))
    first = analysis(windows={"w": "other.extraction.windows.v"})
    with pytest.raises(ConfigurationError, match="circular references: other.v -> spikes.w -> other.v"):
        parsed(config(first, other=other))


def test_problems_of_all_analyses_come_at_once():
    first = analysis([feature(windows=["x"])], windows={"w": {"bounds": [1, 0]}})
    with pytest.raises(ConfigurationError) as error:
        parsed(config(first, other=first))
    assert len(str(error.value).splitlines()) == 4


def test_entries_with_different_suffixes_are_stacked_together():
    parsed(config(analysis([feature(suffix="_x"), feature(suffix="_y", params_product={"a": [1, 2]})])))


def test_filters():
    check_filter({"seed": 1, "simulation_id": [0]}, ["seed"])
    with pytest.raises(ConfigurationError, match=r"'sed': unknown \(known here: seed, ca, simulation_id\)"):
        check_filter([{"seed": 1}, {"sed": 1}], ["seed", "ca"])
    with pytest.raises(ConfigurationError, match="unknown operator"):
        check_filter({"seed": {"x": 1}}, ["seed"])


def test_golden_filter_ops(shared):
    read = read_analysis(shared / "golden/campaign/dense_filter_ops/config.yaml")
    import numpy as np

    columns = {"seed": np.array([174404, 174404, 1]), "ca": np.array([1.2, 1.1, 1.2])}
    assert matches(read.simulations_filter, columns).tolist() == [True, False, False]


def written(folder, text):
    (folder / "a.yaml").write_text(text)
    return folder / "a.yaml"


def test_file(tmp_path):
    file = written(tmp_path, json.dumps({"version": 4, **config()}))
    assert read_analysis(file).simulation_campaign == tmp_path / "c.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "simulation_campaign: x",
            "version: missing; allowed are 4 and 3. Of an older file, `ephysflow migrate",
        ),
        ("version: 4\nanalysis: {a: 1, a: 2}", "key 'a' stands twice, in lines 2 and 2"),
        ("version: 4\nx: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("version: 4\nx: &x [*x]", "nested more than 50 levels"),
        ("version: 4\nx: 2020-13-45", "is not YAML"),
        ("x", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_refused_files(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        read_analysis(written(tmp_path, text))


def test_aliases_that_multiply_are_refused(tmp_path):
    lines = [
        "version: 4",
        "a0: &a0 []",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)),
    ]
    with pytest.raises(ConfigurationError, match="more than 1000000 values"):
        read_analysis(written(tmp_path, "\n".join(lines)))


def test_keys_that_override_a_merge_are_not_duplicates(tmp_path):
    text = "base: &b {k: 1, m: 2}\ndeep: {er: {x: &x {<<: *b, k: 3}}}\nlast: {<<: *x, m: 4}\n"
    read = read_yaml(written(tmp_path, text), unique_keys=True)
    assert read["deep"]["er"]["x"] == {"k": 3, "m": 2}
    assert read["last"] == {"k": 3, "m": 4}


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_analysis(tmp_path / "nowhere.yaml")
