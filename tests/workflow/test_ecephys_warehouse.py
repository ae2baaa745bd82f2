"""Projects of a warehouse, run as a user runs them: what is downloaded, what goes wrong, what the results hold."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import yaml

from ephysflow import open_project
from ephysflow.ecephys.download_record import read_record
from ephysflow.ecephys.products_step import left_out_reason
from ephysflow.ecephys.project_tables import project_tables
from ephysflow.ecephys.raw_tables import RawTables, read_raw_table
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import file_digest
from ephysflow.io.tables import read_rows, read_table
from ephysflow.planning import plan_workflow

from ..ecephys_projects import run_planned
from ..fake_warehouse import SESSION_TYPES, FakeWarehouse
from ..small_warehouse import FIRST, LFP_PROBE, SECOND, file_id, warehouse_config, warehouse_of
from .folders import Folder, write_config

PROJECT = Path("results/ecephys/p")
DOWNLOADS = PROJECT / "downloads"
NWB = {session: f"session_{session}/session_{session}.nwb" for session in (FIRST, SECOND)}
LFP = f"session_{FIRST}/probe_{LFP_PROBE}_lfp.nwb"
FILES = (
    *NWB.values(),
    LFP,
    "natural_movie_templates/natural_movie_1.npy",
    "natural_scene_templates/natural_scene_0.tiff",
)
TABLES = ("sessions", "probes", "channels", "units")
METRICS = (
    f"session_{FIRST}_analysis_metrics",
    f"session_{SECOND}_analysis_metrics",
    f"{SESSION_TYPES[0]}_analysis_metrics",
)
OF_A_PROJECT = {
    "products": ["units", "running_speed", "lfp"],
    "product_options": {"lfp": {"interval": [20, 21]}},
    "templates": {"natural_movies": [1], "natural_scenes": [0]},
    "analysis_metrics": [SESSION_TYPES[0]],
}


class CountingWarehouse(FakeWarehouse):
    """Answers take a while, and the most that were being given at the same time are counted."""

    now = most = 0
    counting = threading.Lock()

    def _wait(self) -> None:
        with self.counting:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.2)
        with self.counting:
            self.now -= 1

    def answer(self, criteria: str) -> dict[str, Any]:
        self._wait()
        return super().answer(criteria)

    def content(self, file_id: int) -> bytes | None:
        self._wait()
        return super().content(file_id)


def configure(folder: Path, host: str, **keys: Any) -> Path:
    """Write configuration and sheet of a project of two sessions and an LFP file."""
    (folder / "sessions.tsv").write_text(f"session_id\tlfp_probes\n{FIRST}\t{LFP_PROBE}\n{SECOND}\t\n")
    return write_config(folder / "own.yaml", warehouse_config(host, "sessions.tsv", **OF_A_PROJECT | keys))


def products_there(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder / PROJECT))
        for path in (folder / PROJECT).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


@pytest.fixture(scope="session")
def finished_run(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Folder:
    """Run a project twice: while the second session's file is a page of HTML, and without that; read only.

    ``first.json`` and ``second.json`` tell what came of it.
    """

    def make(path: Path) -> None:
        folder = Folder.checkout(path)
        with warehouse_of(path / "served", CountingWarehouse) as server:
            configure(path, server.host)
            server.fault(file_id(server, SECOND), "html", count=1000)
            for name, arguments in (("first", ("-c4", "--resources", "downloads=1")), ("second", ("-c2",))):
                start = len(server.requests)
                server.most = 0
                done = folder.snakemake("--configfile", "own.yaml", *arguments)
                told = {
                    "status": done.returncode,
                    "output": done.stdout + done.stderr,
                    "most": server.most,
                    "requests": [request.path for request in server.requests[start:]],
                    "there": products_there(path),
                }
                (path / f"{name}.json").write_text(json.dumps(told))
                server._faults.clear()

    return Folder(made_once("finished_warehouse_run", make))


@pytest.fixture
def run(finished_run, monkeypatch) -> Folder:
    """Go to the folder of the finished runs; nothing may be changed in it."""
    monkeypatch.chdir(finished_run.path)
    return finished_run


@pytest.fixture
def own_run(finished_run, tmp_path, monkeypatch) -> Folder:
    """Go to a copy of the finished project, to change; its warehouse does not answer."""
    shutil.copytree(finished_run.path, tmp_path / "run", symlinks=True)
    monkeypatch.chdir(tmp_path / "run")
    return Folder(tmp_path / "run")


def told(folder: Folder, name: str) -> dict[str, Any]:
    return json.loads((folder.path / f"{name}.json").read_text())


# --- a fault of one file ------------------------------------------------------------------------------


def test_a_file_that_does_not_come_fails_its_job_alone(run):
    first = told(run, "first")
    assert first["status"] == 1
    log = Path(f"results/logs/fetch_file/p/{NWB[SECOND]}.log")
    assert f"{log}" in first["output"]
    assert "is an HTML or XML page" in first["output"]
    assert "Traceback" not in first["output"]
    there = first["there"]
    for name in ("session", "units", "running_speed"):
        assert f"sessions/{FIRST}/{name}.parquet" in there
    assert f"sessions/{FIRST}/lfp_{LFP_PROBE}.h5" in there
    assert {f"downloads/{name}" for name in FILES if name != NWB[SECOND]} <= set(there)
    assert f"downloads/{NWB[SECOND]}" not in there
    assert not [name for name in there if name.startswith(f"sessions/{SECOND}/")]


def test_the_next_run_fetches_what_is_missing_alone(run):
    second = told(run, "second")
    assert second["status"] == 0, second["output"]
    fetched = [request for request in second["requests"] if "well_known_file_download" in request]
    assert len(fetched) == 1
    assert len(second["requests"]) == 2  # where the file is, and the file


def test_no_more_downloads_at_once_than_were_allowed(run):
    assert told(run, "first")["most"] == 1


def test_no_partial_files_are_left(run):
    assert not [path for path in DOWNLOADS.rglob(".*") if path.name != ".snakemake_timestamp"]


# --- results ------------------------------------------------------------------------------------------


def raw_tables() -> RawTables:
    return RawTables(**{name: read_raw_table(DOWNLOADS / f"{name}.parquet", name) for name in TABLES})


def test_every_table_and_file_is_there_with_its_record(run):
    for name in (*TABLES, *METRICS):
        assert read_table(DOWNLOADS / f"{name}.parquet").num_rows
    for name in FILES:
        record = read_record(DOWNLOADS / name)
        assert record is not None
        assert record.sha256 == file_digest(DOWNLOADS / name)
        assert record.size == (DOWNLOADS / name).stat().st_size
        assert "/api/v2/well_known_file_download/" in record.url
    served = {FIRST: f"served/session_{FIRST}.nwb", SECOND: f"served/session_{SECOND}.nwb"}
    for session, original in served.items():
        assert file_digest(DOWNLOADS / NWB[session]) == file_digest(original)
        (index,) = read_rows(PROJECT / f"sessions/{session}/session.parquet")
        assert (index["status"], index["sha256"]) == ("used", file_digest(original))


def test_tables_are_those_of_the_records(run):
    expected = project_tables(raw_tables(), UnitFilters())
    for name in (*TABLES, "annotated_units"):
        table = read_table(PROJECT / f"{name}.parquet").replace_schema_metadata(None)
        assert table.equals(getattr(expected, name).replace_schema_metadata(None)), name
    with warehouse_of(run.path / "served") as server:
        records = server.records
    inside = {row["id"] for row in records["EcephysChannel"] if row["structure"]}
    kept = [
        row["id"]
        for row in records["EcephysUnit"]
        if row["quality"] == "good"
        and row["amplitude_cutoff"] <= 0.1
        and row["isi_violations"] is not None
        and row["ecephys_channel_id"] in inside
    ]
    units = read_table(PROJECT / "units.parquet")
    assert units["id"].to_pylist() == sorted(kept)
    snr = {row["id"]: row["snr"] for row in records["EcephysUnit"]}
    np.testing.assert_array_equal(units["snr"].to_numpy(), [snr[unit] for unit in sorted(kept)])


def test_analysis_metrics_are_joined_with_the_units_that_are_kept(run):
    metrics = read_table(PROJECT / f"analysis_metrics/{SESSION_TYPES[0]}.parquet")
    units = read_table(PROJECT / "units.parquet")
    of_type = [
        unit
        for unit, session in zip(
            units["id"].to_pylist(), units["ecephys_session_id"].to_pylist(), strict=True
        )
        if str(session) == FIRST
    ]
    assert metrics["ecephys_unit_id"].to_pylist() == of_type
    assert pa.types.is_boolean(metrics.schema.field("on_screen_rf").type)
    assert {"g_osi_dg", "snr", "ecephys_structure_acronym"} <= set(metrics.column_names)


def test_lfp_and_templates_are_read(run):
    project = open_project(PROJECT)
    assert project.natural_movie(1).shape == (5, 12, 16)
    assert project.natural_scene(0).shape == (18, 24)
    with project.open_session(int(FIRST)) as session:
        assert len(session.units)
        assert session.lfp(LFP_PROBE, 20.0, 21.0).values.size
    assert not read_rows(PROJECT / "exclusions.parquet")


def test_verify_and_show(run):
    verified = run.ephysflow("verify", "results", "--config", "own.yaml")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    shown = run.ephysflow("show", "results")
    assert shown.returncode == 0, shown.stderr
    assert "Project p" in shown.stdout
    assert "2 sessions, 4 probes, 96 channels" in shown.stdout
    assert "2 of 2" in shown.stdout


# --- afterwards ---------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Change some bytes in the middle of a file, and not its size."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        before = file.read(64)
        file.seek(size // 2)
        file.write(bytes(byte ^ 0xFF for byte in before))
    assert path.stat().st_size == size


def test_a_download_that_was_damaged_is_noticed(own_run):
    damage(DOWNLOADS / NWB[FIRST])
    verified = own_run.ephysflow("verify", "results")
    assert verified.returncode == 1
    assert "session_731000001.nwb" in verified.stdout
    assert "was downloaded" in verified.stdout
    plan, plan_file = plan_workflow(warehouse_config("nowhere", (FIRST, SECOND)))
    steps = ("index_session", "extract_session", "make_project_tables", "collect_exclusions")
    assert not run_planned(plan, plan_file, steps)
    (index,) = read_rows(PROJECT / f"sessions/{FIRST}/session.parquet")
    assert index["status"] == "left out"
    assert "sha256" in index["reason"]
    assert index["sha256"] == file_digest(DOWNLOADS / NWB[FIRST])
    lost = [row for row in read_rows(PROJECT / "exclusions.parquet") if not row["kept"]]
    assert [(row["session"], row["reason"]) for row in lost] == [(FIRST, index["reason"])]
    assert read_table(PROJECT / f"sessions/{FIRST}/units.parquet").num_rows == 0
    assert read_table(PROJECT / f"sessions/{SECOND}/units.parquet").num_rows


def test_an_lfp_file_that_was_damaged_is_noticed(own_run):
    configuration = yaml.safe_load((own_run.path / "own.yaml").read_text())
    plan, plan_file = plan_workflow(configuration, [own_run.path / "own.yaml"])
    product = PROJECT / f"sessions/{FIRST}/lfp_{LFP_PROBE}.h5"
    assert left_out_reason(product) is None
    damage(DOWNLOADS / LFP)
    assert not run_planned(plan, plan_file, ("extract_session", "collect_exclusions"))
    reason = left_out_reason(product)
    assert reason is not None
    assert f"{LFP}: sha256 is" in reason
    assert [row["reason"] for row in read_rows(PROJECT / "exclusions.parquet") if not row["kept"]] == [reason]


def test_fixed_lists_everything_that_is_missing(own_run):
    missing = [NWB[SECOND], LFP, "units.parquet", "natural_movie_templates/natural_movie_1.npy"]
    for name in missing:
        (DOWNLOADS / name).unlink()
    configuration = configure(own_run.path, "", source="fixed", warehouse={})
    planned = own_run.snakemake("-n", "--configfile", str(configuration))
    assert planned.returncode == 1
    for name in missing:
        assert f"{DOWNLOADS / name}\n" in planned.stdout + planned.stderr
    assert "4 files are not there" in planned.stdout + planned.stderr
    assert "Traceback" not in planned.stdout + planned.stderr


def _fetching(process: subprocess.Popen[str]) -> psutil.Process | None:
    """Return the Python that downloads a file for a run, if there is one."""
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "fetch-file" in child.cmdline() and child.exe() == os.path.realpath(sys.executable):
                return child
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def _waited_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_killed_download_is_resumed(own_run):
    target = DOWNLOADS / NWB[SECOND]
    target.unlink()
    partial = target.with_name(f".{target.name}.part")
    with warehouse_of(own_run.path / "served") as server:
        configure(own_run.path, server.host, warehouse={"host": server.host, "tries": 1, "read_timeout": 200})
        number = file_id(server, SECOND)
        server.fault(number, "stall", seconds=200)
        environment = {
            **os.environ,
            "PYTHONPATH": str(own_run.path / "src"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "-c2",
            "--configfile",
            "own.yaml",
            "--until",
            "fetch_file",
        ]
        with (own_run.path / "killed.out").open("w") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
            )
            _waited_for(lambda: partial.is_file() and partial.stat().st_size > 0)
            fetching = _waited_for(lambda: _fetching(process))
            fetching.send_signal(signal.SIGKILL)
            assert process.wait(200) == 1, (own_run.path / "killed.out").read_text()
        assert partial.is_file()
        again = own_run.run(*command)
        assert again.returncode == 0, again.stdout + again.stderr
        ranges = [request.headers.get("Range") for request in server.downloads(number)]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")
    assert ranges[1] != "bytes=0-"
    assert len(ranges) == 2
    assert file_digest(target) == file_digest(f"served/session_{SECOND}.nwb")
    assert not partial.exists()


def test_a_file_that_came_whole_is_kept_when_its_job_runs_again(own_run):
    """As after a kill of snakemake alone, whose job went on: the job looks at the file and does not ask for it."""
    target = DOWNLOADS / NWB[SECOND]
    before = target.stat().st_ino
    with warehouse_of(own_run.path / "served") as server:
        configure(own_run.path, server.host)
        done = own_run.snakemake(
            "-c2", "--configfile", "own.yaml", "--until", "fetch_file", "-R", str(target)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Download {NWB[SECOND]} (p)" in done.stdout + done.stderr
        assert server.downloads(file_id(server, SECOND)) == []
    assert target.stat().st_ino == before


def test_tables_are_asked_again_on_demand(own_run):
    with warehouse_of(own_run.path / "served") as server:
        configure(own_run.path, server.host)
        tables = [str(DOWNLOADS / f"{name}.parquet") for name in ("sessions", "probes", "channels", "units")]
        done = own_run.snakemake("-c2", "--configfile", "own.yaml", "--until", "fetch_file", "-R", *tables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.queries("EcephysUnit")
        assert not any(server.downloads(file_id(server, session)) for session in (FIRST, SECOND))


# --- wishes that the warehouse cannot fulfil ----------------------------------------------------------


def failures(config: dict[str, Any]) -> dict[str, str]:
    """Download everything of a configuration in this process; return what failed, and why."""
    plan, plan_file = plan_workflow(config)
    failed = run_planned(plan, plan_file, ("fetch_file",))
    return {job: str(error) for job, error in failed.items()}


@pytest.fixture
def server(finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warehouse_of(finished_run.path / "served") as started:
        yield started


def test_an_unknown_session(server):
    failed = failures(warehouse_config(server.host, (FIRST, "999")))
    assert list(failed) == ["fetch_file(p, session_999/session_999.nwb)"]
    assert (
        f"session 999: the warehouse has no NWB file of it, nor any such session (known: {FIRST}, {SECOND})"
        in failed["fetch_file(p, session_999/session_999.nwb)"]
    )


def test_lfp_that_the_table_lists_and_the_warehouse_lacks(server, tmp_path):
    probes = server.records["EcephysProbe"]
    listed = [row["id"] for row in probes if row["use_lfp_data"] and row["ecephys_session_id"] == int(SECOND)]
    (tmp_path / "sheet.tsv").write_text(f"session_id\tlfp_probes\n{SECOND}\t{listed[0]}\n")
    config = warehouse_config(server.host, "sheet.tsv", products=["units", "lfp"])
    failed = failures(config)
    (reason,) = failed.values()
    assert list(failed) == [f"fetch_file(p, session_{SECOND}/probe_{listed[0]}_lfp.nwb)"]
    assert f"probe {listed[0]}: the warehouse has no LFP file" in reason


def test_a_digest_that_the_file_does_not_have(server):
    given = {"host": server.host, "tries": 2, "backoff": 0.01, "sha256": {NWB[FIRST]: "0" * 64}}
    failed = failures(warehouse_config(server.host, (FIRST,), warehouse=given))
    (reason,) = failed.values()
    assert "sha256" in reason
    assert "the one given" in reason
    assert not (DOWNLOADS / NWB[FIRST]).exists()


@pytest.mark.parametrize("name", [NWB[SECOND], "units.csv"])
def test_a_digest_of_a_file_that_is_not_downloaded(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    given = {"host": "nowhere", "sha256": {name: "0" * 64}}
    with pytest.raises(ConfigurationError, match="is no file that is downloaded"):
        plan_workflow(warehouse_config("nowhere", (FIRST,), warehouse=given))


def test_lfp_without_a_sheet_of_probes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="lfp_probes"):
        plan_workflow(warehouse_config("nowhere", (FIRST,), products=["lfp"]))
