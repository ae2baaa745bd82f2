"""A download is whole, or resumed, or an error; never something else under the final name."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fake_warehouse import FakeWarehouse

from ephysflow.ecephys import download as module
from ephysflow.ecephys.download import download
from ephysflow.ecephys.download_record import FileRecord, check_against_record, read_record, record_path
from ephysflow.ecephys.transport import Transport
from ephysflow.errors import ConfigurationError, ProjectError

MAGIC = b"\x89HDF\r\n\x1a\n"
CONTENT = MAGIC + np.random.default_rng(0).bytes(1_500_000)
OTHER = MAGIC + np.random.default_rng(1).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def check(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ProjectError(f"{path.name}: is not an HDF5 file")
        file.seek(0, os.SEEK_END)
        if file.tell() < len(CONTENT):
            raise ProjectError(f"{path.name}: is truncated")


@pytest.fixture
def server():
    with FakeWarehouse({}, {1: CONTENT}) as server:
        yield server


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "downloads 100%d" / "session.nwb"


def fetch(server: FakeWarehouse, target: Path, sha256: str | None = None, **given) -> FileRecord:
    transport = Transport(**{"host": server.host, "read_timeout": 0.3, "backoff": 0.0, "tries": 3} | given)
    return download(transport, server.url(1), target, check, sha256)


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def leave_beginning(server: FakeWarehouse, target: Path) -> None:
    """Leave a partial file as a job does that is killed half-way."""
    server.fault(1, "truncate")
    with pytest.raises(ProjectError, match="cut"):
        fetch(server, target, tries=1)
    assert names(target) == [".session.nwb.part", ".session.nwb.part.json"]
    server.requests.clear()


def ranges(server: FakeWarehouse) -> list[str | None]:
    return [request.headers.get("Range") for request in server.requests]


def test_a_file_comes_whole_with_its_record_and_nothing_else(server, target):
    record = fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert record == FileRecord(server.url(1), len(CONTENT), SHA256, record.etag)
    assert record.etag is not None
    assert read_record(target) == record == check_against_record(target)
    assert names(target) == ["session.nwb", "session.nwb.record.json"]


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ("truncate", 2),
        ("short", 2),
        ("garbage", 2),
        ("html", 2),
        ("status500", 2),
        ("status503", 2),
        ("hang", 2),
        ("stall", 2),
        ("slow", 1),
        ("unsized", 1),
    ],
)
def test_a_fault_that_passes_costs_a_request_at_most(server, target, fault, requests):
    server.fault(1, fault, seconds=0.6 if fault in ("hang", "stall") else 0.05)
    assert fetch(server, target).sha256 == SHA256
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == requests
    assert names(target) == ["session.nwb", "session.nwb.record.json"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("short", "does not open: .*truncated"),
        ("garbage", "does not open: .*not an HDF5 file"),
        ("html", "does not open: .*not an HDF5 file"),
        ("status500", "HTTP status 500"),
        ("hang", "no answer within 0.3 s"),
    ],
)
def test_a_fault_that_stays_leaves_no_file(server, target, fault, message):
    server.fault(1, fault, 9, seconds=0.6)
    with pytest.raises(ProjectError, match=f"download/1: given up after 3 tries: .*{message}"):
        fetch(server, target)
    assert len(server.requests) == 3
    assert names(target) == []


def test_a_file_that_is_not_there_is_asked_for_once(server, target):
    server.files.clear()
    with pytest.raises(ProjectError, match="download/1: HTTP status 404"):
        fetch(server, target)
    assert len(server.requests) == 1
    assert names(target) == []


def test_a_cut_download_goes_on_where_it_was_cut(server, target):
    server.fault(1, "truncate", 2)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    first, *later = ranges(server)
    assert first is None
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in later]
    assert 0 < starts[0] < starts[1] < len(CONTENT)
    assert server.requests[1].headers["If-Range"] == read_record(target).etag


def test_what_an_earlier_job_left_is_gone_on_with(server, target):
    leave_beginning(server, target)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(ranges(server)) == 1
    assert ranges(server)[0] is not None


def test_what_a_killed_process_left_is_gone_on_with(server, target):
    server.fault(1, "stall", seconds=60)
    code = (
        "import sys; from pathlib import Path; from ephysflow.ecephys.download import download\n"
        "from ephysflow.ecephys.transport import Transport\n"
        "download(Transport(host=sys.argv[1]), sys.argv[2], Path(sys.argv[3]), lambda path: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, server.host, server.url(1), str(target)])
    partial = target.with_name(".session.nwb.part")
    try:
        while not (partial.exists() and partial.stat().st_size > 100_000):
            assert process.poll() is None
            threading.Event().wait(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not target.exists()
    server.requests.clear()
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert ranges(server)[0] is not None
    assert names(target) == ["session.nwb", "session.nwb.record.json"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, len(CONTENT)))
def test_any_beginning_can_be_gone_on_with(server, target, kept):
    target.unlink(missing_ok=True)
    record_path(target).unlink(missing_ok=True)
    leave_beginning(server, target)
    target.with_name(".session.nwb.part").write_bytes(CONTENT[:kept])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == (kept < len(CONTENT))


def test_a_beginning_of_other_content_is_not_gone_on_with(server, target):
    leave_beginning(server, target)
    server.files[1] = OTHER
    fetch(server, target)
    assert target.read_bytes() == OTHER


def test_a_beginning_from_another_address_is_not_gone_on_with(server, target):
    leave_beginning(server, target)
    server.files[2] = OTHER
    transport = Transport(host=server.host, read_timeout=0.3)
    download(transport, server.url(2), target, check)
    assert target.read_bytes() == OTHER
    assert ranges(server) == [None]


def test_without_a_mark_of_the_content_nothing_is_gone_on_with(target):
    with FakeWarehouse({}, {1: CONTENT}, validators=False) as server:
        server.fault(1, "truncate", 1)
        fetch(server, target)
        assert target.read_bytes() == CONTENT
        assert ranges(server) == [None, None]
        target.unlink()
        server.fault(1, "truncate", 9)
        with pytest.raises(ProjectError, match="cut"):
            fetch(server, target)
        assert names(target) == ["session.nwb.record.json"]


@pytest.mark.parametrize("fault", ["wrong_range", "ignore_range"])
def test_an_answer_with_other_bytes_than_asked_for_starts_again(server, target, fault):
    leave_beginning(server, target)
    server.fault(1, fault)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "state", ["", "[]", "{}", '{"url": 1}', '{"url": "x", "etag": 5, "last_modified": null, "total": 1}']
)
def test_a_damaged_note_of_a_partial_file_starts_again(server, target, state):
    leave_beginning(server, target)
    target.with_name(".session.nwb.part.json").write_text(state)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_partial_file_that_is_too_long_starts_again(server, target):
    leave_beginning(server, target)
    target.with_name(".session.nwb.part").write_bytes(CONTENT + b"x")
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_range_that_the_server_lacks_starts_again(server, target):
    leave_beginning(server, target)
    note = target.with_name(".session.nwb.part.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"total": None}))
    target.with_name(".session.nwb.part").write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT)}-", None]


def test_other_content_than_the_recorded_one_is_refused_and_both_are_named(server, target):
    fetch(server, target)
    target.unlink()
    server.files[1] = OTHER
    server.requests.clear()
    with pytest.raises(ProjectError) as error:
        fetch(server, target)
    assert SHA256 in str(error.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(error.value)
    assert "session.nwb.record.json" in str(error.value)
    assert len(server.requests) == 2  # the same content twice: no fault of the transfer
    assert names(target) == ["session.nwb.record.json"]
    server.files[1] = CONTENT
    assert fetch(server, target).sha256 == SHA256


def test_content_is_compared_with_the_digest_that_the_user_gives(server, target):
    with pytest.raises(ProjectError, match="expected is " + "0" * 64):
        fetch(server, target, "0" * 64)
    assert names(target) == []
    assert fetch(server, target, SHA256.upper()).sha256 == SHA256
    with pytest.raises(ProjectError, match="expected is " + "0" * 64):
        fetch(server, target, "0" * 64)
    assert target.read_bytes() == CONTENT  # what was accepted before is not lost


def test_what_is_no_digest_is_named(server, target):
    with pytest.raises(ConfigurationError, match=r"sha256 of session.nwb: 'abc'"):
        fetch(server, target, "abc")
    assert not server.requests


def test_a_file_that_is_what_its_record_says_is_not_fetched_again(server, target):
    record = fetch(server, target)
    server.requests.clear()
    assert fetch(server, target) == record
    assert not server.requests


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_file_is_noticed_and_fetched_again(server, target, damage):
    fetch(server, target)
    damaged = bytearray(CONTENT[:700_000] if damage == "truncated" else CONTENT)
    damaged[5000:6000] = bytes(1000)
    target.write_bytes(damaged)
    with pytest.raises(ProjectError, match="session.nwb"):
        check_against_record(target)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_file_without_record_is_replaced(server, target):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"unknown")
    with pytest.raises(ProjectError, match="no record"):
        check_against_record(target)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"url": "u", "size": 1, "sha256": "x", "etag": null}'])
def test_a_damaged_record_is_named(server, target, content):
    target.parent.mkdir(parents=True)
    record_path(target).write_text(content)
    with pytest.raises(ProjectError, match=r"session.nwb.record.json"):
        fetch(server, target)
    assert not server.requests


def test_a_full_disk_is_noticed_before_a_byte_is_written(server, target, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ProjectError, match=f"{len(CONTENT)} bytes are to come, but only 1000 are free"):
        fetch(server, target)
    assert len(server.requests) == 1
    assert names(target) == []


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "session.nwb")


def test_two_that_want_one_file_fetch_it_once(server, target):
    server.fault(1, "slow", seconds=0.05)
    records: list[FileRecord] = []
    threads = [threading.Thread(target=lambda: records.append(fetch(server, target))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records[0] == records[1]
    assert len(server.requests) == 1
    assert names(target) == ["session.nwb", "session.nwb.record.json"]


def test_the_check_may_open_the_file_with_hdf5(server, target, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "made.h5", "w") as made:
        made["x"] = np.arange(5)
    server.files[1] = (tmp_path / "made.h5").read_bytes()
    transport = Transport(host=server.host, tries=1)
    download(transport, server.url(1), target, lambda path: h5py.File(path).close())
    with h5py.File(target) as got:
        assert got["x"][()].tolist() == [0, 1, 2, 3, 4]
