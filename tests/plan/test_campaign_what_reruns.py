"""What reruns when, for simulation campaigns. One test, one change, the exact set of jobs."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephysflow.errors import ConfigurationError
from ephysflow.planning import plan_workflow

from .campaigns import (
    ANALYSIS,
    CampaignWorkflow,
    write_campaign,
    write_campaign_file,
    write_circuit,
    write_simulation,
    write_workflow,
)
from .conftest import sheet, write_cell

SIMULATIONS = ("s1", "s2", "s3")
COMPUTATIONS = {
    "main": ("spike_train_distances 5.0", "spike_train_distances 20.0", "spread 2"),
    "other": ("population_statistics",),
}
"""What is computed of each simulation alone."""

POOLED = {"compute_features(main, rates, all)"}
"""A function of BlueETL's contract may read all simulations: it follows all of them."""


def selection(analysis: str) -> set[str]:
    return {f"select_neurons({analysis}, circuit)"}


def extraction(analysis: str, *simulations: str) -> set[str]:
    return {f"extract_report({analysis}, {simulation})" for simulation in simulations or SIMULATIONS}


def computation(analysis: str, name: str, *simulations: str) -> set[str]:
    return {
        f"compute_features({analysis}, {name}, {simulation})" for simulation in simulations or SIMULATIONS
    }


def features(analysis: str, *simulations: str) -> set[str]:
    return {job for name in COMPUTATIONS[analysis] for job in computation(analysis, name, *simulations)}


def publishing(*analyses: str) -> set[str]:
    return {f"publish_{what}({analysis})" for what in ("repo", "features") for analysis in analyses}


def after_extraction(analysis: str) -> set[str]:
    pooled = POOLED if analysis == "main" else set()
    return features(analysis) | pooled | publishing(analysis)


def after_selection(analysis: str) -> set[str]:
    return extraction(analysis) | after_extraction(analysis)


def of_simulation(simulation: str) -> set[str]:
    """Return the jobs that follow one simulation."""
    own = {job for analysis in COMPUTATIONS for job in extraction(analysis, simulation)}
    own |= {job for analysis in COMPUTATIONS for job in features(analysis, simulation)}
    return own | AFTER_LISTING


AFTER_LISTING = publishing("main", "other") | POOLED
"""What follows the list of simulations."""

PUBLISH_MAIN = {"publish_features(main)"}
EVERYTHING = {job for name in ("main", "other") for job in (*selection(name), *after_selection(name))}


@pytest.fixture(scope="session")
def finished_campaign(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run the campaign, once for all workers; nothing may be changed in it."""
    return made_once("finished_campaign", lambda folder: write_workflow(folder).run())


@pytest.fixture
def campaign(finished_campaign, tmp_path) -> CampaignWorkflow:
    """A finished campaign of its own for each test, with all times kept, at another place than it was run."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished_campaign), str(folder)], check=True)
    return CampaignWorkflow(folder)


@pytest.fixture
def change(campaign) -> Callable[..., None]:
    """Set one key of the analysis configuration: change(value, "analysis", "main", "custom")."""

    def set_key(value: Any, *keys: Any) -> None:
        content = campaign.analysis
        holder = content
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value
        campaign.write_analysis(content)

    return set_key


@pytest.fixture
def change_settings(campaign) -> Callable[[str, Any], None]:
    """Set one of our own keys of the campaign, e.g. the seed."""

    def set_key(key: str, value: Any) -> None:
        config = campaign.config
        config["campaign"]["c"][key] = value
        campaign.write_config(config)

    return set_key


MAIN = ("analysis", "main")
EXTRACTION = (*MAIN, "extraction")
TAU = (*MAIN, "features", 0, "params_product", "van_rossum_tau")


def test_nothing_changed(campaign):
    assert campaign.plan() == set()


def test_a_plan_from_nothing_names_every_job(campaign):
    shutil.rmtree(campaign.folder / "results")
    shutil.rmtree(campaign.folder / ".snakemake")
    assert campaign.plan() == EVERYTHING


@pytest.mark.parametrize(
    "values", [[5.0, 20.0, 10.0], [5.0, 10.0, 20.0]], ids=["at the end", "in the middle"]
)
def test_a_value_added_to_a_product(campaign, change, values):
    change(values, *TAU)
    assert campaign.plan() == computation("main", "spike_train_distances 10.0") | PUBLISH_MAIN


def test_a_value_removed_from_a_product(campaign, change):
    change([20.0], *TAU)
    assert campaign.plan() == PUBLISH_MAIN


def test_order_of_products_and_entries_concerns_names_alone(campaign, change):
    entries = ANALYSIS["analysis"]["main"]["features"]
    product = {"victor_purpura_cost": [0.1], "van_rossum_tau": [20.0, 5.0]}
    change([*entries[1:], {**entries[0], "params_product": product}], *MAIN, "features")
    assert campaign.plan() == PUBLISH_MAIN


def test_a_parameter_that_the_function_does_not_read(campaign, change):
    change({"max_trains": 5, "colour": "red"}, *MAIN, "features", 0, "params")
    assert campaign.plan() == PUBLISH_MAIN


def test_a_default_written_out(campaign, change):
    change({"bounds": [0.0, 50], "n_trials": 1, "t_step": 0}, *EXTRACTION, "windows", "early")
    assert campaign.plan() == set()


@pytest.mark.parametrize("seeds", [(1, 2, 3, 4), (1, 4, 2, 3)], ids=["at the end", "in the middle"])
def test_a_simulation_added(campaign, seeds):
    write_campaign_file(campaign.folder, seeds)
    assert campaign.plan() == of_simulation("s4")


def test_a_simulation_that_completes_later(campaign):
    spikes = campaign.folder / "simulations/s4/output/spikes.h5"
    spikes.unlink()
    write_campaign_file(campaign.folder, (1, 4, 2, 3))
    assert campaign.plan() == AFTER_LISTING  # the tables say that it is incomplete
    campaign.run()
    assert campaign.plan() == set()
    write_simulation(spikes.parents[1], 4)
    assert campaign.plan() == of_simulation("s4")


def test_a_spike_file_replaced(campaign):
    write_simulation(campaign.folder / "simulations/s2", 2, spikes_of=9)
    assert campaign.plan() == of_simulation("s2")


def test_a_window(campaign, change):
    change([0, 15], *EXTRACTION, "windows", "evoked", "bounds")
    assert campaign.plan() == after_selection("main")


def test_a_window_that_another_analysis_refers_to(campaign, change):
    change([0, 40], *EXTRACTION, "windows", "early", "bounds")
    assert campaign.plan() == after_selection("main") | after_selection("other")


def test_a_class_added(campaign, change):
    change({"query": {"layer": "deep"}}, *EXTRACTION, "neuron_classes", "deep")
    assert campaign.plan() == selection("main") | after_selection("main")


def test_order_of_classes(campaign, change):
    classes = ANALYSIS["analysis"]["main"]["extraction"]["neuron_classes"]
    change(dict(reversed(classes.items())), *EXTRACTION, "neuron_classes")
    assert campaign.plan() == set()
    limited = {label: {**choice, "limit": 10} for label, choice in classes.items()}
    change(limited, *EXTRACTION, "neuron_classes")
    there = _items(campaign, "select_neurons")
    change(dict(reversed(limited.items())), *EXTRACTION, "neuron_classes")
    back = _items(campaign, "select_neurons")
    assert [a == b for a, b in zip(there, back, strict=True)] == [
        False,
        True,
    ]  # drawn in turn, from one stream


@pytest.mark.parametrize(("key", "value"), [("seed", 7), ("sampling", "independent")])
def test_seed_and_sampling_concern_analyses_with_a_limit(campaign, change_settings, key, value):
    change_settings(key, value)
    assert campaign.plan() == selection("main") | after_selection("main")


def test_a_limit(campaign, change):
    change(5, *EXTRACTION, "neuron_classes", "upper", "limit")
    assert campaign.plan() == selection("main") | after_selection("main")


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        ("my_features", "count * ", "2 * count * ", computation("main", "spread 2") | PUBLISH_MAIN),
        ("my_groups", "float(", "2 * float(", POOLED | PUBLISH_MAIN),
        ("my_steps", "float(", "2 * float(", after_selection("main")),
    ],
)
def test_a_users_function_edited(campaign, module, old, new, expected):
    campaign.edit(f"{module}.py", old, new)
    assert campaign.plan() == expected


def test_comments_and_docstrings_edited(campaign):
    library = "src/ephysflow/campaign"
    own = ("my_features.py", "my_groups.py", "my_steps.py")
    for module in (*own, f"{library}/functions/population_statistics.py", f"{library}/report.py"):
        path = campaign.folder / module
        path.write_text(path.read_text().replace('"""', '"""Edited. ', 1) + "\n# a comment\n")
    assert campaign.plan() == set()


def test_a_shipped_function_edited(campaign):
    path = campaign.folder / "src/ephysflow/campaign/functions/population_statistics.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    assert campaign.plan() == features("other") | {"publish_features(other)"}


def test_a_filter_narrowed_and_widened_again(campaign, change):
    change({"seed": [1, 3]}, "simulations_filter")
    assert campaign.plan() == AFTER_LISTING
    campaign.run()
    assert campaign.plan() == set()
    change({}, "simulations_filter")
    assert campaign.plan() == AFTER_LISTING


def test_order_of_keys_without_meaning(campaign):
    content = campaign.analysis
    for analysis in content["analysis"].values():
        extraction_ = analysis["extraction"]
        for key in ("windows", "neuron_classes"):
            extraction_[key] = {
                label: value if isinstance(value, str) else dict(reversed(value.items()))
                for label, value in extraction_[key].items()
            }
        analysis["extraction"] = dict(reversed(extraction_.items()))
        analysis["features"] = [dict(reversed(entry.items())) for entry in analysis["features"]]
    content["analysis"] = dict(reversed(content["analysis"].items()))
    campaign.write_analysis(dict(reversed(content.items())))
    assert campaign.plan() == set()


def test_what_serves_python_alone(campaign):
    content = campaign.analysis
    content |= {
        "custom": {"colour": "red"},
        "simulations_filter_in_memory": {"seed": 1},
        "cache": {"path": "somewhere", "clear": True},
    }
    content["analysis"]["main"]["custom"] = {"colour": "blue"}
    campaign.write_analysis(content)
    assert campaign.plan() == set()


def test_files_with_the_same_content(campaign):
    write_circuit(campaign.folder / "circuit")
    for seed in (1, 2, 3):
        write_simulation(campaign.folder / f"simulations/s{seed}", seed)
    for name in (
        "campaign.json",
        "analysis.yaml",
        "config.yaml",
        "my_features.py",
        "my_groups.py",
        "my_steps.py",
    ):
        os.utime(campaign.folder / name)
    assert campaign.plan() == set()


def test_the_nodes_of_the_circuit_replaced(campaign):
    write_circuit(campaign.folder / "circuit", move=2)
    assert campaign.plan() == EVERYTHING


def test_an_analysis_added(campaign, change):
    change(ANALYSIS["analysis"]["other"], "analysis", "third")
    there = selection("other") | after_selection("other")
    assert campaign.plan() == {job.replace("(other", "(third") for job in there}


def test_a_condition_added(campaign):
    content = json.loads((campaign.folder / "campaign.json").read_text())
    for row in content["data"]:
        row["label"] = f"run {row['seed']}"
    (campaign.folder / "campaign.json").write_text(json.dumps(content))
    # no number depends on it; the functions that may look at `repo` run again
    assert campaign.plan() == AFTER_LISTING


def test_order_of_windows(campaign, change):
    windows = campaign.analysis["analysis"]["main"]["extraction"]["windows"]
    assert len(windows) > 1
    change(dict(reversed(windows.items())), *EXTRACTION, "windows")
    planned = campaign.plan()
    assert "publish_repo(main)" in planned
    assert not {job for job in planned if job.startswith(("extract_report", "select_neurons"))}


def test_recordings_added(campaign):
    write_cell(campaign.folder / "data" / "a")
    (campaign.folder / "sheet.tsv").write_text(sheet("a"))
    campaign.write_config({**campaign.config, "recordings": {"sheet": "sheet.tsv"}})
    assert campaign.plan() == {"ingest_recordings(a)", "summarise"}


def test_plots_are_off_the_way_and_follow_what_they_show(campaign, change):
    campaign.write_config({**campaign.config, "plots": True})
    plots = {f"plot_{plot}({name})" for plot in ("rasters", "firing_rates") for name in COMPUTATIONS}
    # nothing varies in the other analysis
    assert campaign.plan() == plots | {"plot_parameter_sweep(main)"}
    campaign.run()
    assert campaign.plan() == set()
    change([20.0, 5.0], *TAU)
    assert campaign.plan() == PUBLISH_MAIN | {"plot_parameter_sweep(main)"}


def test_a_moved_project(campaign, tmp_path):
    deeper = tmp_path / "some" / "where" / "else"
    deeper.mkdir(parents=True)
    moved = CampaignWorkflow(campaign.folder.rename(deeper / "project"))
    assert moved.plan() == set()


@pytest.mark.parametrize("absolute", [True, False], ids=["data stay", "data move too"])
def test_a_moved_project_beside_its_data(tmp_path, monkeypatch, absolute):
    (tmp_path / "data").mkdir()
    write_campaign(tmp_path / "data")
    (tmp_path / "project").mkdir()
    deeper = tmp_path / "some" / "where"
    deeper.mkdir(parents=True)
    analysis = str(tmp_path / "data/analysis.yaml") if absolute else "../data/analysis.yaml"
    config = {"results": "results", "campaign": {"c": {"analysis_config": analysis}}}
    monkeypatch.chdir(tmp_path / "project")
    before = plan_workflow(config)[0]
    (tmp_path / "project").rename(deeper / "project")
    if not absolute:
        (tmp_path / "data").rename(deeper / "data")
    monkeypatch.chdir(deeper / "project")
    after = plan_workflow(config)[0]
    assert before.items == after.items
    assert before.analyses == after.analyses


def test_deleted_tables_are_made_again(campaign):
    shutil.rmtree(campaign.results / "main/features")
    assert campaign.plan() == PUBLISH_MAIN
    shutil.rmtree(campaign.results / "main/repo")
    assert campaign.plan() == publishing("main") | POOLED


def test_buckets_keep_simulations_where_they_are(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = campaign.config
    config["campaign"]["c"]["buckets"] = 3
    before = plan_workflow(config, [tmp_path / "config.yaml"])[0].items
    write_campaign_file(tmp_path, (4, 1, 2, 3))
    after = plan_workflow(config, [tmp_path / "config.yaml"])[0].items
    of_main = [key for key in after if key[0] == "extract_report" and "main" in key[1]]
    assert len(of_main) <= 3
    assert len([key for key in of_main if after[key] != before.get(key)]) == 1


def test_parameters_are_checked_before_anything_runs(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path)
    monkeypatch.chdir(tmp_path)
    content = campaign.analysis
    content["analysis"]["main"]["features"][0]["params_product"]["van_rossum_tau"] = [5.0, -1.0]
    campaign.write_analysis(content)
    expected = (
        r"analysis\.yaml.*analysis\.main\.features\.0 \(spike_train_distances\): .*van_rossum_tau is -1\.0"
    )
    with pytest.raises(ConfigurationError, match=expected):
        plan_workflow(campaign.config, [tmp_path / "config.yaml"])


def _items(campaign: CampaignWorkflow, step: str) -> list[str]:
    """Return the settings of the jobs of a step, main first."""
    here = os.getcwd()
    os.chdir(campaign.folder)
    try:
        items = plan_workflow(campaign.config, [campaign.folder / "config.yaml"])[0].items
    finally:
        os.chdir(here)
    return [text for (name, _), text in items.items() if name == step]
