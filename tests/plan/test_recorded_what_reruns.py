"""What reruns when, for campaigns of recorded sessions and comparisons. One test, one change, the exact set of jobs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephysflow.example.ecephys_files import write_session
from ephysflow.io.canonical import canonical_json, digest

from .campaigns import write_campaign_file, write_circuit, write_simulation
from .conftest import REPOSITORY, Workflow

BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]
SESSIONS = ("1", "2")


def features(**changes: Any) -> dict[str, Any]:
    return {"type": "multi", "groupby": BY_CLASS, "function": "firing_rates", **changes}


FLASHES = {
    "bounds": [0, 250],
    "trials": {"table": "stimulus_presentations", "query": {"stimulus_name": "flashes"}},
}
RECORDED = {
    "recorded_sessions": {"project": "p"},
    "analysis": {
        "a": {
            "extraction": {
                "report": {"type": "spikes"},
                "neuron_classes": {"cortex": {"query": {"structure_acronym": {"regex": "VIS"}}}, "all": {}},
                "windows": {"flashes": FLASHES, "fixed": {"bounds": [1000, 1500]}},
            },
            "features": [features()],
        }
    },
}
SIMULATED = {
    "simulation_campaign": "campaign.json",
    "analysis": {
        "a": {
            "extraction": {
                "report": {"type": "spikes"},
                "population": "cells",
                "neuron_classes": {"all": {}},
                "windows": {"fixed": {"bounds": [0, 50]}},
            },
            "features": [features()],
        }
    },
}
CONFIG = {
    "results": "results",
    "plots": False,
    "ecephys": {"p": {"source": "nwb", "folder": "nwb", "products": ["units"]}},
    "campaign": {"model": SIMULATED, "data": RECORDED},
    "comparison": {
        "c": {
            "model": {"campaign": "model", "analysis": "a"},
            "recording": {"campaign": "data", "analysis": "a"},
            "features": ["by_gid"],
        }
    },
}


class RecordedWorkflow(Workflow):
    """A workflow of the campaigns ``model`` and ``data``, whose jobs have readable names."""

    def plan(self) -> set[str]:
        """Return the planned jobs, e.g. ``compute_features(data, a, rates, 1)``; those of simulations by their campaign."""
        names = {digest(canonical_json(["p", session])): session for session in (*SESSIONS, "3")}
        jobs = set()
        for job in super().plan():
            step, _, rest = job.rstrip(")").partition("(")
            parts = [names.get(part, part) for part in rest.split(", ")]
            if step == "compute_features":
                del parts[2]
            jobs.add(f"{step}({', '.join(parts)})")
        return jobs


def write_workflow(folder: Path) -> RecordedWorkflow:
    """Write sessions, simulations and the configuration; run nothing."""
    folder.mkdir()
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")
    for session in SESSIONS:
        write_nwb(folder, int(session))
    write_circuit(folder / "circuit")
    write_simulation(folder / "simulations" / "s1", 1)
    write_campaign_file(folder, (1,))
    workflow = RecordedWorkflow(folder)
    workflow.write_config(CONFIG)
    return workflow


def write_nwb(folder: Path, session: int) -> None:
    (folder / "nwb").mkdir(exist_ok=True)
    write_session(folder / f"nwb/session_{session}.nwb", session, seed=session, n_channels=8, n_units=4)


@pytest.fixture(scope="session")
def finished_recorded(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run the workflow, once for all workers; nothing may be changed in it."""
    return made_once("finished_recorded", lambda folder: write_workflow(folder).run())


@pytest.fixture
def workflow(finished_recorded, tmp_path) -> RecordedWorkflow:
    """A finished workflow of its own for each test, with all times kept."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished_recorded), str(folder)], check=True)
    return RecordedWorkflow(folder)


@pytest.fixture
def change(workflow) -> Callable[..., None]:
    """Set one key of the configuration: change(value, "campaign", "data", "seed")."""

    def set_key(value: Any, *keys: Any) -> None:
        config = workflow.config
        holder = config
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value
        workflow.write_config(config)

    return set_key


EXTRACTION = ("campaign", "data", "analysis", "a", "extraction")
COMPARING = {"compare_analyses(c)"}
OF_PROJECT = {"collect_exclusions(p)"}
"""What of a project follows the list of its products."""
PUBLISHING = {"publish_repo(data, a)", "publish_features(data, a)"}


def selection(*sessions: str) -> set[str]:
    return {f"select_units(data, a, {session})" for session in sessions or SESSIONS}


def extraction(*sessions: str) -> set[str]:
    return {f"extract_recorded(data, a, {session})" for session in sessions or SESSIONS}


def computing(*sessions: str) -> set[str]:
    return {f"compute_features(data, a, {session})" for session in sessions or SESSIONS}


def campaign_jobs(*sessions: str) -> set[str]:
    return selection(*sessions) | extraction(*sessions) | computing(*sessions) | PUBLISHING | COMPARING


def products(session: str, *names: str) -> set[str]:
    return {f"extract_session(p, {session}, {name}.parquet)" for name in names}


def test_nothing_changed(workflow):
    assert workflow.plan() == set()
    assert workflow.ephysflow("verify", "results").returncode == 0


def test_a_new_session_adds_its_jobs_and_the_tables(workflow):
    write_nwb(workflow.folder, 3)
    session = {"index_session(p, 3)", "make_project_tables(p)"} | OF_PROJECT
    session |= products("3", "units", "spikes", "stimulus_presentations")
    assert workflow.plan() == session | campaign_jobs("3")


def test_a_class_changed(workflow, change):
    change({"query": {"structure_acronym": "CA1"}}, *EXTRACTION, "neuron_classes", "cortex")
    assert workflow.plan() == campaign_jobs()


def test_a_query_of_trials_changed(workflow, change):
    change({"stimulus_name": "spontaneous"}, *EXTRACTION, "windows", "flashes", "trials", "query")
    assert workflow.plan() == extraction() | computing() | PUBLISHING | COMPARING


def test_a_window_of_another_table_needs_that_product(workflow, change):
    change({"bounds": [0, 100], "trials": {"table": "stimulus_epochs"}}, *EXTRACTION, "windows", "epochs")
    made = {job for session in SESSIONS for job in products(session, "stimulus_epochs")}
    assert workflow.plan() == made | extraction() | computing() | PUBLISHING | COMPARING | OF_PROJECT


def test_only_one_session_is_asked_for(workflow, change):
    change(["2"], "campaign", "data", "recorded_sessions", "sessions")
    # its id is now 0: that is of the tables that are published, and of no job of extraction
    assert workflow.plan() == PUBLISHING | COMPARING | OF_PROJECT


def test_a_feature_added(workflow, change):
    added = features(function="spike_train_statistics", suffix="_s")
    change([features(suffix="_r"), added], "campaign", "data", "analysis", "a", "features")
    change(["by_gid_r"], "comparison", "c", "features")
    change([features(suffix="_r")], "campaign", "model", "analysis", "a", "features")
    assert workflow.plan() == computing() | COMPARING | {
        "publish_features(data, a)",
        "publish_features(model, a)",
    }


def test_labels_of_a_comparison_changed(workflow, change):
    change({"all": "cortex"}, "comparison", "c", "neuron_classes")
    assert workflow.plan() == COMPARING


def test_code_of_recorded_extraction_is_none_of_simulations(workflow):
    workflow.edit(
        "src/ephysflow/campaign/recorded_windows.py", "NO_INTERVAL = -1", "NO_INTERVAL = -1\nMORE = 1"
    )
    assert workflow.plan() == extraction() | computing() | PUBLISHING | COMPARING


def test_code_of_units_is_none_of_simulations(workflow):
    workflow.edit("src/ephysflow/campaign/units_step.py", "size = 0", "size = int(0)")
    assert workflow.plan() == campaign_jobs()


def test_code_of_simulations_is_none_of_sessions(workflow):
    workflow.edit(
        "src/ephysflow/campaign/extraction_step.py",
        'inputs = [simulation["config"]',
        'inputs = [*(), simulation["config"]',
    )
    planned = workflow.plan()
    assert any(job.startswith("extract_report(model") for job in planned)
    assert not any(
        job.startswith(("extract_recorded", "select_units", "publish_repo(data")) for job in planned
    )


def test_the_comparison_has_values(workflow):
    shown = workflow.ephysflow("show", "results")
    assert shown.returncode == 0, shown.stderr
    assert "Campaign data, analysis a" in shown.stdout
    log = workflow.folder / "results/logs/compare_analyses/c.log"
    assert "with values on both sides" in log.read_text()
    entries = json.loads((workflow.folder / "results/campaign/data/a/features/entries.json").read_text())
    assert "by_gid" in entries
