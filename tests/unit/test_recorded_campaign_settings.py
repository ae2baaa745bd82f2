"""Recorded sessions in a configuration: what is refused before any job, and what is planned."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.recorded_campaigns import PROJECT, Sessions, plan_of, settings_of, settings_text

from ephysflow.campaign.analysis_config import parse_analysis
from ephysflow.campaign.recorded_planning import needed_products
from ephysflow.errors import ConfigurationError

PROJECTS = {PROJECT: Sessions(["11", "12", "13"]), "q": Sessions([])}


def window(**changes: Any) -> dict[str, Any]:
    return {"bounds": [0, 10], "trials": {"table": "epochs"}, **changes}


def content(sessions: Any = "all", project: str = PROJECT, top=(), **extraction: Any) -> dict[str, Any]:
    given = {
        "report": {"type": "spikes"},
        "neuron_classes": {"A": {}},
        "windows": {"w": window()},
        **extraction,
    }
    return {
        "recorded_sessions": {"project": project, "sessions": sessions},
        "analysis": {"a": {"extraction": given}},
        **dict(top),
    }


E = "analysis.a.extraction"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            content(top={"simulation_campaign": "c.json"}),
            "simulation_campaign: recorded_sessions stands in its place; give one of them",
        ),
        (
            {"analysis": content()["analysis"]},
            "'simulation_campaign' is a required property.*Or recorded_sessions",
        ),
        (content(sessions=[]), "recorded_sessions.sessions: .*(non-empty|too short)"),
        (content(sessions="some"), "recorded_sessions.sessions: 'all' was expected"),
        (content(sessions=[1.5]), "recorded_sessions.sessions.0: 1.5 is not of type 'integer', 'string'"),
        (content(sessions=[11, "11", 12]), "recorded_sessions.sessions: 11: given more than once"),
        (
            content(top={"recorded_sessions": {"projet": "p"}}),
            "recorded_sessions.projet: unknown key; did you mean project",
        ),
        (
            content(report={"type": "soma", "name": "v"}),
            f"{E}.report.type: 'soma': recorded sessions have spikes only",
        ),
        (content(population="units"), f"{E}.population: 'units': is of a circuit.*query or node_id"),
        (content(node_set="Mosaic"), f"{E}.node_set: 'Mosaic': is of a circuit"),
        (content(node_sets_file="n.json"), f"{E}.node_sets_file: 'n.json': is of a circuit"),
        (
            content(neuron_classes={"A": {"node_set": "x"}}),
            f"{E}.neuron_classes.A.node_set: 'x': is of a circuit",
        ),
        (
            content(trial_steps={"t": {"function": "onset_from_spikes", "bounds": [0, 1]}}),
            f"{E}.trial_steps: .*use the key trials",
        ),
        (
            content(windows={"w": window(trials={"table": "running_speed"})}),
            f"{E}.windows.w.trials.table: 'running_speed' is not one of .*'invalid_times'",
        ),
        (content(windows={"w": window(trials={})}), f"{E}.windows.w.trials: 'table' is a required property"),
        (
            content(windows={"w": window(trials={"table": "epochs", "query": {"x": {"like": 1}}})}),
            f"{E}.windows.w.trials.query: .*like",
        ),
        (content(windows={"w": window(bounds=[1, 0])}), f"{E}.windows.w.bounds: .* reversed"),
        (content(windows={"w": {}}), f"{E}.windows.w: 'bounds' is a required property"),
        *(
            (content(windows={"w": window(**{key: value})}), f"{E}.windows.w: trials and {key}: .* exclude")
            for key, value in (
                ("n_trials", 2),
                ("initial_offset", 5),
                ("trial_steps_value", 5),
                ("trial_steps_list", [0, 5]),
            )
        ),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_analysis(given, Path(), "config.yaml")


def test_simulations_have_no_tables_of_trials():
    given = content()
    given["simulation_campaign"] = "c.json"
    del given["recorded_sessions"]
    with pytest.raises(
        ConfigurationError, match=f"{E}.windows.w.trials: are rows of .*recorded sessions.*n_trials"
    ):
        parse_analysis(given, Path(), "config.yaml")


def test_one_section_needs_one_source():
    with pytest.raises(ConfigurationError, match="campaign.c: needs analysis_config, or analysis"):
        settings_of({"recorded_sessions": {"project": PROJECT}})


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (content(project="x"), r"recorded_sessions.project: 'x': no such project .*\(known: p, q\)"),
        (content(project="q"), "recorded_sessions.project: 'q': has no sessions"),
        (
            content(sessions=[11, 7]),
            r"recorded_sessions.sessions: 7: no such session in project 'p' \(known: 11, 12, 13\)",
        ),
        (content(top={"simulations_filter": {"session_id": 7}}), "simulations_filter leaves none"),
        (
            content(top={"simulations_filter": {"seed": 7}}),
            r"simulations_filter: 'seed': unknown \(known here: session_id, simulation_id\)",
        ),
    ],
)
def test_what_the_project_does_not_have_is_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        plan_of({"c": given}, PROJECTS)


def simulations(given: dict[str, Any], **more: Any) -> dict[int, Any]:
    plan = plan_of({"c": given}, PROJECTS, **more).analyses["c", "a"]
    return {s.simulation_id: s.conditions["session_id"] for s in plan.simulations.values()}


def test_ids_are_positions_whatever_is_filtered_or_absent():
    assert simulations(content()) == {0: 11, 1: 12, 2: 13}
    assert simulations(content(sessions=[13, "11"])) == {0: 13, 1: 11}
    assert simulations(content(top={"simulations_filter": {"session_id": [12, 13]}})) == {1: 12, 2: 13}
    assert simulations(content(), available={PROJECT: ["11", "13"]}) == {0: 11, 2: 13}


def test_sessions_whose_file_is_absent_are_left_out():
    plan = plan_of({"c": content()}, PROJECTS, available={PROJECT: ["11"]})
    (repo,) = settings_text(plan, "publish_repo")
    assert [(row["simulation_id"], row["reason"]) for row in repo["left_out"]] == [
        (1, "missing: the file of session 12 is not there"),
        (2, "missing: the file of session 13 is not there"),
    ]
    with pytest.raises(
        ConfigurationError, match=r"no session of project p can be used \(missing: .* 11 is not there"
    ):
        plan_of({"c": content()}, PROJECTS, available={PROJECT: []})


def test_products_that_are_needed():
    windows = {
        "fixed": {"bounds": [0, 1]},
        "a": window(trials={"table": "stimulus_presentations"}),
        "b": window(),
    }
    needed = needed_products(settings_of(content(sessions=[12], windows=windows)), PROJECTS)
    assert needed == {PROJECT: {"12": ["units", "spikes", "epochs", "stimulus_presentations"]}}
    simulated = content(windows={"w": {"bounds": [0, 1]}}, top={"simulation_campaign": "c.json"})
    del simulated["recorded_sessions"]
    assert needed_products(settings_of(simulated), PROJECTS) == {}


def test_jobs_read_what_the_windows_name_and_nothing_else():
    plan = plan_of({"c": content(windows={"w": {"bounds": [0, 1]}, "e": window()})}, PROJECTS)
    (extraction, *_) = settings_text(plan, "extract_recorded")
    ((_, session),) = extraction["sessions"].items()
    assert {name: Path(path).name for name, path in session["products"].items()} == {
        "spikes": "spikes.parquet",
        "epochs": "epochs.parquet",
    }
    analysis = plan.analyses["c", "a"]
    (bucket, *_) = analysis.buckets
    read = {Path(file).name.partition(".")[2] for file in analysis.extraction_inputs(bucket)}
    assert read >= {"neurons.parquet", "findings.parquet", "parquet"}


def test_windows_of_another_analysis_keep_their_trials():
    given = content()
    extraction = given["analysis"]["a"]["extraction"]
    given["analysis"]["b"] = {"extraction": {**extraction, "windows": {"v": "a.extraction.windows.w"}}}
    windows = parse_analysis(given, Path(), "c").analyses["b"].extraction["windows"]
    assert windows["v"]["trials"] == {"table": "epochs", "query": {}}


def test_settings_of_simulations_do_not_know_of_trials():
    given = content(windows={"w": {"bounds": [0, 1]}}, top={"simulation_campaign": "c.json"})
    del given["recorded_sessions"]
    read = parse_analysis(given, Path(), "c")
    assert read.recorded is None
    assert "trials" not in json.dumps(read.analyses["a"].extraction["windows"]).replace("n_trials", "")
