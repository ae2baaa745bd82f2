"""Every fault that was tried on AllenSDK's EcephysProjectCache, with what happens here.

The server is the stand-in of ../shared, which serves neither ranges nor ETags; tests/unit/test_ecephys_download.py
has those. ``CASES`` names the place of every case's test.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import h5py
import pytest

from ephysflow.ecephys.download import download
from ephysflow.ecephys.download_record import check_against_record
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS
from ephysflow.ecephys.rma import (
    fetch_analysis_metrics,
    fetch_table,
    find_lfp_nwb,
    find_session_nwb,
    find_template,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.transport import Transport
from ephysflow.errors import ConfigurationError, ProjectError

SESSION = 715000000
HERE = "reference/test_ecephys_faults.py"
PASSING = f"{HERE}::test_a_fault_of_a_download_that_passes"
STAYING = f"{HERE}::test_a_fault_of_a_download_that_stays"
QUERY_PASSES = f"{HERE}::test_a_fault_of_a_query_that_passes"
QUERY_STAYS = f"{HERE}::test_a_fault_of_a_query_that_stays"
LOCAL = "reference/test_ecephys_faults_local.py"
TABLES = "reference/test_ecephys_tables.py"
UNITS_REFUSED = f"{TABLES}::test_a_damaged_table_of_units_is_refused"

CASES: dict[str, str] = {
    **{f"session_nwb__{kind}_x1": PASSING for kind in ("truncate", "short", "garbage", "html", "status500")},
    "session_nwb__status404_x1": STAYING,
    **{
        f"session_nwb__{kind}_x5": STAYING
        for kind in ("truncate", "short", "garbage", "html", "status500", "status404")
    },
    "session_nwb__hang8s_timeout2": f"{HERE}::test_a_silent_server",
    "cached_session_nwb_truncated": f"{HERE}::test_a_damaged_session_file",
    "cached_session_nwb_spike_times_zeroed_in_place": f"{HERE}::test_a_damaged_session_file",
    "cached_units_csv__half": UNITS_REFUSED,
    "cached_units_csv__line": f"{TABLES}::test_a_table_of_units_cut_at_a_line_is_found",
    "cached_units_csv__header_only": UNITS_REFUSED,
    "cached_units_csv__empty": UNITS_REFUSED,
    "cached_units_csv__wrong": UNITS_REFUSED,
    **{f"rma_units__{kind}_x1": QUERY_PASSES for kind in ("status500", "notjson", "failmsg")},
    **{f"rma_units__{kind}_x5": QUERY_STAYS for kind in ("status500", "notjson", "failmsg")},
    "unknown_session_id__session_data": f"{HERE}::test_what_the_warehouse_lacks",
    "unknown_session_id__metrics": f"{HERE}::test_metrics_of_an_unknown_session",
    "unknown_session_id__metrics_not_annotated": f"{HERE}::test_metrics_of_an_unknown_session",
    "session_without_nwb": f"{HERE}::test_what_the_warehouse_lacks",
    "unknown_movie": f"{HERE}::test_what_the_warehouse_lacks",
    "unknown_scene": f"{HERE}::test_what_the_warehouse_lacks",
    "fetch_tries_0": f"{HERE}::test_no_tries",
    "missing_manifest_is_created": f"{LOCAL}::test_nothing_is_made_where_there_is_no_project",
    "manifest_version_0.2.0": f"{TABLES}::test_a_manifest_of_another_version_is_refused",
    "manifest_version_0.4.0": f"{TABLES}::test_a_manifest_of_another_version_is_refused",
    "manifest_version_0.10.0": f"{TABLES}::test_a_manifest_of_another_version_is_refused",
    "manifest_version_None": f"{TABLES}::test_a_manifest_of_another_version_is_refused",
    "manifest_version_3": f"{TABLES}::test_a_manifest_of_another_version_is_refused",
    "manifest_malformed_json": f"{TABLES}::test_a_manifest_that_is_no_json_is_refused",
    "version_argument_0.9": f"{LOCAL}::test_the_version_is_that_of_the_file",
    "version_argument_with_new_manifest": f"{LOCAL}::test_the_version_is_that_of_the_file",
    "fixed": f"{LOCAL}::test_fixed_has_what_was_downloaded",
    "fixed_with_writer__cached_tables": f"{LOCAL}::test_fixed_has_what_was_downloaded",
    "fixed_with_writer__no_tables": f"{LOCAL}::test_fixed_without_tables",
    "fixed_with_writer__no_nwb": f"{LOCAL}::test_fixed_lists_all_that_is_missing",
    "fixed_with_writer__no_metrics": f"{LOCAL}::test_fixed_lists_all_that_is_missing",
    "fixed_with_writer__no_movie": f"{LOCAL}::test_fixed_lists_all_that_is_missing",
    "fixed_with_writer__corrupt_nwb": f"{LOCAL}::test_fixed_says_what_is_wrong_with_a_session_file",
    "cache_False": f"{LOCAL}::test_nothing_is_written_beside_a_cache",
    "percent_in_path": f"{HERE}::test_percent_in_path",
    "asynchronous_True": f"{LOCAL}::test_each_download_is_a_job",
    "scheme_without_host_is_ignored": f"{HERE}::test_scheme_and_host_act_each_for_itself",
    "host_without_scheme_is_ignored": f"{HERE}::test_scheme_and_host_act_each_for_itself",
    "project_of_one_session_one_probe": f"{LOCAL}::test_a_project_of_one_session_and_one_probe",
    "two_sessions_two_structures_each": f"{LOCAL}::test_two_sessions_of_two_structures_each",
    "project_without_units": f"{HERE}::test_a_project_without_units",
}


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"standin_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def standin(shared, made_once) -> SimpleNamespace:
    """The stand-in's warehouse, serving a small project."""
    code = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        folder.mkdir()
        project = loaded(code / "make_tables.py").build(4, 2, 24, 20, 0, True)
        (folder / "warehouse.json").write_text(json.dumps(project))
        command = [sys.executable, code / "make_nwb.py", folder, str(SESSION)]
        subprocess.run(command, check=True, capture_output=True)

    folder = made_once("ecephys_standin", make)
    warehouse, server, port = loaded(code / "fake_warehouse.py").serve(str(folder))
    yield SimpleNamespace(
        warehouse=warehouse, host=f"127.0.0.1:{port}", content=(folder / "files" / "9001").read_bytes()
    )
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(standin):
    standin.warehouse.log.clear()
    standin.warehouse.faults.clear()
    return standin


def to(server: SimpleNamespace, **given) -> Transport:
    return Transport(**{"host": server.host, "read_timeout": 1.0, "backoff": 0.0, "tries": 2} | given)


def opens(path: Path) -> None:
    with SessionFile(path):
        pass


def fetch_session(server: SimpleNamespace, target: Path, **given) -> None:
    transport = to(server, **given)
    download(transport, find_session_nwb(transport, SESSION).url, target, opens)


def downloads(server: SimpleNamespace) -> int:
    return sum("well_known_file_download" in line for line in server.warehouse.log)


def test_the_table_of_cases_is_complete(shared):
    faults = json.loads((shared / "golden" / "ecephys" / "faults.json").read_text())
    assert set(CASES) == set(faults)
    assert len(CASES) == 57


@pytest.mark.parametrize("place", sorted(set(CASES.values())))
def test_the_test_of_a_case_exists(place):
    path, _, function = place.partition("::")
    assert f"def {function}(" in (Path(__file__).parents[1] / path).read_text()


# AllenSDK: the second download goes well, too
@pytest.mark.parametrize("kind", ["truncate", "short", "garbage", "html", "status500"])
def test_a_fault_of_a_download_that_passes(server, tmp_path, kind):
    server.warehouse.faults["9001"] = [kind, 1]
    target = tmp_path / "session.nwb"
    fetch_session(server, target)
    assert target.read_bytes() == server.content
    assert downloads(server) == 2


@pytest.mark.parametrize(
    ("kind", "count", "message", "tried"),
    [
        ("truncate", 5, "the connection was cut", 2),  # AllenSDK: ChunkedEncodingError
        ("short", 5, "does not open", 2),  # AllenSDK: OSError "truncated file"
        ("garbage", 5, "does not open", 2),  # AllenSDK: OSError "file signature not found"
        ("html", 5, "does not open", 2),  # AllenSDK: the same
        ("status500", 5, "HTTP status 500", 2),  # AllenSDK: the same; the body of the error page was the file
        ("status404", 5, "HTTP status 404", 1),  # AllenSDK: the same
        # AllenSDK: fetched again, which went well; a file that is not there is not asked for again here
        ("status404", 1, "HTTP status 404", 1),
    ],
)
def test_a_fault_of_a_download_that_stays(server, tmp_path, kind, count, message, tried):
    server.warehouse.faults["9001"] = [kind, count]
    with pytest.raises(ProjectError, match=f"well_known_file_download/9001.*{message}"):
        fetch_session(server, tmp_path / "session.nwb")
    assert downloads(server) == tried
    assert not list(tmp_path.iterdir())


# AllenSDK: waits for the 8 s although its limit is 2 s; without a limit by default
def test_a_silent_server(server, tmp_path):
    server.warehouse.faults["9001"] = ["hang", 1]
    target = tmp_path / "session.nwb"
    fetch_session(server, target, read_timeout=0.3)
    assert target.read_bytes() == server.content
    assert downloads(server) == 2


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900_000])


def _zero_spike_times(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["units/spike_times"][:] = 0.0


# AllenSDK: fetches the truncated file again, and delivers the zeros
@pytest.mark.parametrize("damage", [_truncate, _zero_spike_times])
def test_a_damaged_session_file(server, tmp_path, damage):
    target = tmp_path / "session.nwb"
    fetch_session(server, target)
    damage(target)
    with pytest.raises(ProjectError, match=r"session.nwb: .*downloaded from"):
        check_against_record(target)
    fetch_session(server, target)
    assert target.read_bytes() == server.content
    assert downloads(server) == 2


# AllenSDK: the same
@pytest.mark.parametrize("kind", ["status500", "notjson", "failmsg"])
def test_a_fault_of_a_query_that_passes(server, kind):
    server.warehouse.faults["rma:EcephysUnit"] = [kind, 1]
    assert fetch_table(to(server), "units").num_rows == 160
    assert len(server.warehouse.log) == 2


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("status500", "HTTP status 500"),  # AllenSDK: JSONDecodeError
        ("notjson", "the answer is an HTML page: '<html>maintenance"),  # AllenSDK: JSONDecodeError
        (
            "failmsg",
            "the warehouse says: Datastream read failure.",
        ),  # AllenSDK: RmaRequestError, the same text
    ],
)
def test_a_fault_of_a_query_that_stays(server, kind, message):
    server.warehouse.faults["rma:EcephysUnit"] = [kind, 5]
    with pytest.raises(ProjectError, match=f"model::EcephysUnit.*given up after 2 tries: {message}"):
        fetch_table(to(server), "units")
    assert len(server.warehouse.log) == 2


@pytest.mark.parametrize(
    ("find", "message"),
    [
        # AllenSDK: ValueError "expected exactly 1 nwb file for session 1, found: Empty DataFrame", after 2 queries
        (lambda transport: find_session_nwb(transport, 1), "session 1: the warehouse has no NWB file"),
        (lambda transport: find_session_nwb(transport, 715003000), "session 715003000: .* no NWB file"),
        (lambda transport: find_lfp_nwb(transport, 729000010), "probe 729000010: .* no LFP file"),
        # AllenSDK: ValueError "expected exactly one natural movie template with number 2, found Empty DataFrame"
        (lambda transport: find_template(transport, "natural_movie", 2), "natural_movie 2: .* it has 1, 3"),
        (
            lambda transport: find_template(transport, "natural_scene", 118),
            "natural_scene 118: .* 0, 1, 2, 3",
        ),
    ],
)
def test_what_the_warehouse_lacks(server, find, message):
    with pytest.raises(ProjectError, match=message):
        find(to(server))
    # of a session the message says whether there is such a one at all, and which there are
    assert len(server.warehouse.log) == (2 if message.startswith("session") else 1)


# AllenSDK: KeyError "None of ['ecephys_unit_id'] are in the columns"
def test_metrics_of_an_unknown_session(server):
    assert fetch_analysis_metrics(to(server), session_id=1).num_rows == 0


# AllenSDK: fetch_tries=0 means never to fetch, and ends in FileNotFoundError; that is source `fixed` here
def test_no_tries():
    with pytest.raises(ConfigurationError, match="tries: 0 is not a number of at least 1"):
        Transport(tries=0)


# AllenSDK: TypeError "not enough arguments for format string"
def test_percent_in_path(server, tmp_path):
    target = tmp_path / "100%d %s" / "session.nwb"
    fetch_session(server, target)
    assert target.read_bytes() == server.content


# AllenSDK: one without the other is ignored, and the public server is asked
def test_scheme_and_host_act_each_for_itself(server):
    assert find_session_nwb(Transport(host=server.host), SESSION).url.startswith(f"http://{server.host}/")
    assert Transport(scheme="https") == Transport("https", "api.brain-map.org")


# AllenSDK: KeyError "None of ['id'] are in the columns"
def test_a_project_without_units(server, monkeypatch):
    monkeypatch.setitem(server.warehouse.w, "EcephysUnit", [])
    units = fetch_table(to(server), "units")
    assert units.num_rows == 0
    assert units.schema.equals(RAW_SCHEMAS["units"])


def test_queries_are_those_that_the_warehouse_knows(server, shared, tmp_path):
    transport = to(server)
    for table in RAW_SCHEMAS:
        fetch_table(transport, table)
    fetch_analysis_metrics(transport, session_id=SESSION)
    for session_type in ("brain_observatory_1.1", "functional_connectivity"):
        fetch_analysis_metrics(transport, session_type=session_type)
    for kind, number in (("natural_movie", 1), ("natural_scene", 2)):
        download(transport, find_template(transport, kind, number).url, tmp_path / kind, lambda path: None)
    expected = json.loads((shared / "golden" / "ecephys" / "http_requests.json").read_text())
    assert set(server.warehouse.log) == set(expected)


@pytest.mark.parametrize("table", ["sessions", "probes", "channels", "units"])
def test_fetched_tables_are_those_of_the_reference(server, shared, table):
    with (shared / "golden" / "ecephys" / "cache_csv" / f"{table}.csv").open() as file:
        header = file.readline().strip().split(",")
        lines = [line.rstrip("\n").split(",") for line in file]
    fetched = fetch_table(to(server), table)
    assert fetched.column_names == header
    texts = dict.fromkeys(("", "nan"))
    rows = {int(line[0]): line for line in lines}
    for row in fetched.to_pylist():
        for value, text in zip(row.values(), rows[row["id"]], strict=True):
            if isinstance(value, float | int) and not isinstance(value, bool):
                assert value == pytest.approx(float(text), rel=1e-12)
            else:
                assert (None if value is None else str(value)) == texts.get(text, text)


def test_a_record_says_what_was_accepted(server, tmp_path):
    target = tmp_path / "session.nwb"
    fetch_session(server, target)
    assert check_against_record(target).sha256 == hashlib.sha256(server.content).hexdigest()
