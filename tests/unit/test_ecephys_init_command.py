"""``ephysflow init ecephys``: what it writes can be loaded and planned as it is."""

from pathlib import Path

import pytest
import yaml
from session_nwb import write_allen_session, write_plain_session
from tests.ecephys_projects import plan_project, run_planned
from tests.fake_warehouse import FakeWarehouse, small_project

from ephysflow.cli import main
from ephysflow.plan import Plan


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def warehouse():
    records, files = small_project()
    with FakeWarehouse(records, files) as server:
        yield server


def planned(place: str) -> tuple[Plan, Path]:
    """Plan what was written, as ``snakemake --configfile`` gives it."""
    file = Path(place) / "config.yaml"
    return plan_project(yaml.safe_load(file.read_text(encoding="utf-8")), [file])


def rows(place: str) -> list[str]:
    lines = (Path(place) / "sessions.tsv").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def write_tables(folder: Path) -> None:
    for name in ("sessions", "probes", "channels", "units"):
        (folder / f"{name}.csv").touch()


def test_a_folder_of_session_files(folder, capsys):
    (folder / "data/sub-A").mkdir(parents=True)
    write_allen_session(folder / "data/sub-A/sub-A_ses-715.nwb")
    write_plain_session(folder / "data/A8604-211122.nwb")
    (folder / "data/sub-A/sub-A_ses-715_probe-900_ecephys.nwb").touch()
    assert main(["init", "ecephys", "mine", "--data", "data"]) == 0
    assert "2 sessions" in capsys.readouterr().out
    assert rows("mine") == ["session_id\tlfp_probes", "715\t900", "A8604-211122\t"]
    plan, file = planned("mine")
    project = plan.projects["mine"]
    assert {name: session.file for name, session in project.sessions.items()} == {
        "715": "data/sub-A/sub-A_ses-715.nwb",
        "A8604-211122": "data/A8604-211122.nwb",
    }
    assert plan.results == Path("mine/results")
    assert run_planned(plan, file) == {}
    assert all(output.is_file() for output in [*project.outputs(), *project.plot_outputs()])
    assert main(["validate", "mine/config.yaml"]) == 0
    assert main(["show", "mine/results"]) == 0


def test_a_cache_folder(folder):
    (folder / "cache/session_715").mkdir(parents=True)
    write_tables(folder / "cache")
    write_allen_session(folder / "cache/session_715/session_715.nwb")
    (folder / "cache/session_715/probe_900_lfp.nwb").touch()
    assert main(["init", "ecephys", "mine", "--data", "cache"]) == 0
    assert rows("mine") == ["session_id\tlfp_probes", "715\t900"]
    project = planned("mine")[0].projects["mine"]
    assert list(project.sessions) == ["715"]
    assert project.raw_tables["units"] == "cache/units.csv"


def test_tables_without_session_files(folder):
    (folder / "cache").mkdir()
    write_tables(folder / "cache")
    assert main(["init", "ecephys", "mine", "--data", "cache"]) == 0
    assert planned("mine")[0].projects["mine"].sessions == {}


def test_a_warehouse(warehouse):
    del warehouse.records["EcephysSession"][1]["well_known_files"][:]
    assert main(["init", "ecephys", "mine", "--warehouse", f"http://{warehouse.host}"]) == 0
    text = Path("mine/sessions.tsv").read_text()
    first, second = (record["id"] for record in warehouse.records["EcephysSession"])
    probe = warehouse.records["EcephysProbe"][0]["id"]
    assert rows("mine") == ["session_id\tlfp_probes", f"{first}\t{probe}"]
    assert f"# {second}\t" in text
    assert "the warehouse has no session file" in text
    assert warehouse.queries("EcephysUnit") == []
    plan, _ = planned("mine")
    assert f"session_{first}/session_{first}.nwb" in plan.projects["mine"].downloads
    assert plan.aside["fetch_file"]["mine"]["transport"]["host"] == warehouse.host


def test_nothing_is_replaced(folder, capsys):
    write_plain_session(folder / "a.nwb")
    Path("mine").mkdir()
    Path("mine/sessions.tsv").write_text("my own")
    assert main(["init", "ecephys", "mine", "--data", "."]) == 1
    assert "sessions.tsv is already there" in capsys.readouterr().err
    assert Path("mine/sessions.tsv").read_text() == "my own"
    assert not Path("mine/config.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --data FOLDER or --warehouse [HOST]"),
        (["--data", ".", "--warehouse", "h"], "give either --data FOLDER or --warehouse [HOST]"),
        (["--data", "none"], "none: is not a folder"),
        (["--data", "."], "holds no .nwb file, and neither a manifest nor units.csv or units.parquet"),
        (["--warehouse", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (["--warehouse", "ftp://h"], "scheme"),
    ],
)
def test_what_cannot_be_done_is_told(arguments, message, capsys):
    assert main(["init", "ecephys", "mine", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("mine/config.yaml").exists()


@pytest.mark.parametrize("name", ["my: project", "2021", "naïve", "yes", "it's #1"])
def test_names_that_yaml_would_take_for_something_else(folder, name):
    data = folder / f"data of {name}"
    data.mkdir()
    write_plain_session(data / "a.nwb")
    assert main(["init", "ecephys", name, "--data", str(data)]) == 0
    plan, _ = planned(name)
    assert plan.results == Path(name) / "results"
    (project,) = plan.projects.values()
    assert list(project.sessions) == ["a"]


def test_several_manifests(folder, capsys):
    write_tables(folder)
    for name in ("manifest.json", "old_manifest.json"):
        Path(name).touch()
    assert main(["init", "ecephys", "mine", "--data", "."]) == 1
    assert "several manifests (manifest.json, old_manifest.json)" in capsys.readouterr().err
