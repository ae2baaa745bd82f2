"""Names, numbers and order of the published tables, whatever happened to some of their parts."""

import json
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from ephysflow.errors import ConfigurationError
from tests.campaigns import run_campaign

from .small_campaign import (
    FIRING_RATES,
    analysis_configuration,
    write_campaign_file,
    write_simulation,
    write_small_campaign,
    write_yaml,
)

FEATURES = Path("results/campaign/c/a/features")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(simulations: int = 3, settings: dict | None = None, **changes) -> None:
    path = write_small_campaign(Path(), simulations, **changes)
    config = yaml.safe_load(path.read_text())
    config["campaign"]["c"] |= settings or {}
    run_campaign(config, [path])


def own(function: str, **keys) -> dict:
    return {
        "type": "multi",
        "groupby": ["simulation_id", "neuron_class"],
        "function": f"mine.{function}",
        **keys,
    }


def write_module(text: str) -> None:
    Path("mine.py").write_text(text)


def test_one_computation_with_and_without_index():
    run(features=[{**FIRING_RATES, "suffix": "_x"}, {**FIRING_RATES, "suffix": "_y", "multi_index": False}])
    assert pd.read_parquet(FEATURES / "by_gid_x.parquet").index.nlevels == 6
    flat = pd.read_parquet(FEATURES / "by_gid_y.parquet")
    assert flat.index.nlevels == 1
    assert "gid" in flat.columns


def test_a_combination_that_fails_keeps_its_number():
    write_module(
        "import pandas as pd\n"
        "def f(repo, key, df, params):\n"
        "    if params['k'] == 1:\n"
        "        raise ValueError('no')\n"
        "    return {'t': pd.DataFrame({'x': [params['k']]})}\n"
    )
    run(features=[own("f", params_product={"k": [0, 1, 2]})])
    stacked = pd.read_parquet(FEATURES / "t.parquet")
    assert sorted(set(zip(stacked["params_id"], stacked["k"], strict=True))) == [(0, 0), (2, 2)]
    assert pd.read_parquet(FEATURES / "t.params.parquet")["k"].tolist() == [0, 1, 2]


def test_thousands_of_files_need_no_more_descriptors_than_one():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    entry = {**FIRING_RATES, "params_product": {"ignored": list(range(30))}}
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 25, limits[1]))
        run(simulations=30, features=[entry])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert pd.read_parquet(FEATURES / "by_neuron_class.parquet")["params_id"].nunique() == 30


@pytest.mark.parametrize("buckets", [None, 1])
def test_a_function_that_changes_its_parameters_does_not_reach_the_next_simulation(buckets):
    write_module(
        "import numpy as np\n"
        "from ephysflow import FeatureRows\n"
        "def f(observations, params):\n"
        "    params['seen'].append(1)\n"
        "    n = observations.n_groups\n"
        "    return {'t': FeatureRows(np.arange(n), {}, {'n': np.full(n, len(params['seen']))})}\n"
    )
    entry = own("f", contract="vectorised", partition="simulation", params={"seen": []})
    run(features=[entry], settings={"buckets": buckets})
    assert (pd.read_parquet(FEATURES / "t.parquet")["n"] == 1).all()


@pytest.mark.parametrize(
    "groupby",
    [
        ["simulation_id", "neuron_class", "window", "circuit_id"],
        ["neuron_class", "simulation_id", "window"],
        ["window", "neuron_class", "circuit_id", "simulation_id"],
    ],
)
def test_rows_are_sorted_by_the_keys_wherever_the_ids_stand(groupby):
    run(features=[{**FIRING_RATES, "groupby": groupby}])
    keys = pd.read_parquet(FEATURES / "by_neuron_class.parquet").reset_index()[groupby]
    assert list(keys.columns) == groupby
    texts = keys.astype(dict.fromkeys(("neuron_class", "window"), str))
    pd.testing.assert_frame_equal(texts, texts.sort_values(groupby, ignore_index=True))


def test_a_partitioned_function_cannot_ask_what_is_missing_elsewhere():
    write_module(
        "import pandas as pd\n"
        "def f(repo, key, df, params):\n"
        "    return {'t': pd.DataFrame({'n': [len(repo.missing_simulations())]})}\n"
    )
    shutil.rmtree("results", ignore_errors=True)
    run(features=[own("f", partition="simulation"), FIRING_RATES])
    rows = pd.read_parquet("results/campaign/c/a/exclusions.parquet")
    assert rows["reason"].str.contains("partition: simulation").all()
    assert len(rows) == 3


def test_spikes_without_population_cannot_be_told_apart_between_two():
    path = write_small_campaign(Path())
    with h5py.File("circuit/nodes.h5", "a") as file:
        file.copy("nodes/cells", "nodes/others")
    circuit = json.loads(Path("circuit/circuit_config.json").read_text())
    circuit["networks"]["nodes"][0]["populations"]["others"] = {}
    Path("circuit/circuit_config.json").write_text(json.dumps(circuit))
    with h5py.File("sim1/output/spikes.h5", "w") as file:
        file["spikes/gids"], file["spikes/timestamps"] = np.arange(3), np.arange(3.0)
    classes = {"one": {}, "two": {"population": "others"}}
    write_yaml(Path("analysis.yaml"), analysis_configuration({"neuron_classes": classes}))
    run_campaign(yaml.safe_load(path.read_text()), [path])
    rows = pd.read_parquet("results/campaign/c/a/exclusions.parquet")
    left_out = rows[~rows["kept"]]
    assert left_out["simulation_id"].tolist() == [1]
    assert "old layout" in left_out["reason"].iloc[0]


def test_an_analysis_without_usable_simulations_does_not_stop_the_others():
    path = write_small_campaign(Path())
    content = analysis_configuration()
    content["analysis"]["b"] = json.loads(json.dumps(content["analysis"]["a"]))
    content["analysis"]["b"]["extraction"]["report"] = {"type": "soma", "name": "later"}
    content["analysis"]["b"]["features"] = []
    write_yaml(Path("analysis.yaml"), content)
    plan = run_campaign(yaml.safe_load(path.read_text()), [path])
    assert [name for _, name in plan.analyses] == ["a"]
    assert any("analysis b: no simulation" in note and "later" in note for note in plan.notes)
    del content["analysis"]["a"]
    write_yaml(Path("analysis.yaml"), content)
    with pytest.raises(ConfigurationError, match="analysis b: no simulation"):
        run_campaign(yaml.safe_load(path.read_text()), [path])


def test_one_path_under_two_conditions():
    path = write_small_campaign(Path())
    write_simulation(Path("sim0"))
    rows = [{"seed": i, "simulation_path": "sim0"} for i in range(2)]
    write_campaign_file(Path("campaign.json"), rows)
    run_campaign(yaml.safe_load(path.read_text()), [path])
    assert len(pd.read_parquet("results/campaign/c/a/repo/simulations.parquet")) == 2
