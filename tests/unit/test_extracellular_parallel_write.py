"""Coefficients written by MPI ranks: equal bytes for any number of ranks, and no file when anything fails."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mpi4py.MPI")
from mpi4py import MPI

from ephysflow.errors import ConfigurationError, ResultError
from ephysflow.extracellular import parallel_write
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.parallel_write import check_ranks, rows_per_block, share_of_rows, write_weights
from ephysflow.extracellular.weights_file import PopulationRows, WeightsContents, check_complete

BIN = Path(sys.executable).parent
LONGEST = 60
"""Seconds after which a job counts as hanging."""

SIZES = {"popA": [3, 0, 40, 1], "popB": [700, 5]}


def some_contents(**changes) -> WeightsContents:
    electrodes = [
        Electrode(f"e{i}", "probe", (0.0, 0.0, i), "NA", "NA", "PointSource", "PointSource", (0.3,) * 3)
        for i in range(7)
    ]
    populations = [
        PopulationRows(name, np.arange(len(counts)), np.concatenate([[0], np.cumsum(counts)]))
        for name, counts in SIZES.items()
    ]
    given = {
        "electrodes": electrodes,
        "populations": populations,
        "layout": "sonata",
        "column_of_ones": False,
        "unit": "mV/nA",
        "precision": "float64",
        "provenance": "text",
        **changes,
    }
    return WeightsContents(**given)


def values(population: int, first: int, last: int) -> np.ndarray:
    """Return numbers that are exact in float32, too."""
    return (population + 1) * 1000 + np.arange(first, last)[:, None] + np.arange(7) / 8


SCRIPT = """
import json, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from mpi4py import MPI
from test_extracellular_parallel_write import some_contents, values
from ephysflow.errors import SimulationError
from ephysflow.extracellular import parallel_write, weights_file

comm = MPI.COMM_WORLD
how = json.loads(sys.argv[1])
folder = Path(sys.argv[2])

def compute(population, first, last):
    if comm.rank == how.get("rank", 0) and (population, last) >= (1, 300):
        if how["fails"] == "raise":
            raise SimulationError("field file is damaged")
        if how["fails"] == "bug":
            raise RuntimeError("unforeseen")
        if how["fails"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how["fails"] == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    return values(population, first, last)

parallel_write.check_ranks(comm, how.get("expected"))
if how.get("unreserved"):
    weights_file._reserve_disk = lambda path: None
if how.get("limit"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, changes, buffer_bytes in how["files"]:
    contents = some_contents(**changes)
    parallel_write.write_weights(comm, folder / name, contents, compute, buffer_bytes, print)
"""

FILES = [
    ["float64.h5", {}, 50_000],
    ["small_blocks.h5", {}, 1],
    ["one_block.h5", {}, 1 << 30],
    ["ones.h5", {"column_of_ones": True, "layout": "bluerecording"}, 5_000],
    ["float32.h5", {"precision": "float32"}, 5_000],
    ["float32_ones.h5", {"precision": "float32", "column_of_ones": True}, 1 << 20],
]


def run(ranks: int | None, folder: Path, how: dict) -> subprocess.CompletedProcess:
    """Run the script on some ranks; None for one process without launcher."""
    folder.mkdir(exist_ok=True)
    script = folder.parent / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    launcher = [] if ranks is None else [str(BIN / "mpiexec"), "-n", str(ranks)]
    how = {"files": FILES, "fails": "no", **how}
    return subprocess.run(
        [*launcher, sys.executable, "-m", "mpi4py", str(script), json.dumps(how), str(folder)],
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Files that one process wrote without a launcher."""
    folder = tmp_path_factory.mktemp("alone") / "files"
    done = run(None, folder, {"expected": 1})
    assert done.returncode == 0, done.stderr
    return folder


needs_mpiexec = pytest.mark.skipif(
    not (BIN / "mpiexec").exists(), reason="no mpiexec beside the Python that runs"
)


def test_one_process_writes_the_right_values(alone):
    assert sorted(digests(alone)) == sorted(name for name, _, _ in FILES)
    for name, changes, _ in FILES:
        check_complete(alone / name)
        with h5py.File(alone / name) as file:
            for i, population in enumerate(SIZES):
                stored = file["electrodes"][population]["scaling_factors"]
                expected = values(i, 0, sum(SIZES[population]))
                assert stored.dtype == ("<f4" if changes.get("precision") else "<f8")
                np.testing.assert_array_equal(stored[:, :7], expected)
                if changes.get("column_of_ones"):
                    np.testing.assert_array_equal(stored[:, 7:], np.ones((len(expected), 1)))
                else:
                    assert stored.shape[1] == 7
    same = digests(alone)
    assert same["float64.h5"] == same["small_blocks.h5"] == same["one_block.h5"]


@needs_mpiexec
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_bytes_do_not_depend_on_the_number_of_ranks(ranks, alone, tmp_path):
    done = run(ranks, tmp_path / "files", {"expected": ranks})
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "files") == digests(alone)
    assert done.stdout.count("749 compartments x 7 electrodes written by") == len(FILES)


@needs_mpiexec
@pytest.mark.parametrize(
    ("fails", "message"),
    [("raise", "rank 1 of 3: error: field file is damaged"), ("bug", "RuntimeError: unforeseen")],
)
def test_a_rank_that_fails_ends_all_and_leaves_nothing(fails, message, tmp_path):
    done = run(3, tmp_path / "files", {"fails": fails, "rank": 1})
    assert done.returncode != 0
    assert done.stderr.count(message) == 1
    assert ("Traceback" in done.stderr) == (fails == "bug")
    assert digests(tmp_path / "files") == {}


@needs_mpiexec
def test_an_error_of_rank_0_at_the_start_ends_all(tmp_path):
    done = run(2, tmp_path / "files", {"files": [["w.h5", {"populations": []}, 1]]})
    assert done.returncode != 0
    assert done.stderr.count("rank 0 of 2: error: a weights file needs at least one population") == 1
    assert "Traceback" not in done.stderr
    assert digests(tmp_path / "files") == {}


@needs_mpiexec
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_killed_rank_there_is_no_file_and_the_next_run_is_clean(rank, alone, tmp_path):
    folder = tmp_path / "files"
    done = run(2, folder, {"fails": "kill", "rank": rank})
    assert done.returncode != 0
    left = list(folder.iterdir())
    assert all(path.name.startswith(".float64.h5.") for path in left)
    for path in left:
        with pytest.raises(ResultError):
            check_complete(path)
    done = run(2, folder, {})
    assert done.returncode == 0, done.stderr
    assert digests(folder) == digests(alone)


@needs_mpiexec
def test_a_wrong_number_of_ranks_is_refused(tmp_path):
    done = run(2, tmp_path / "files", {"expected": 3})
    assert done.returncode != 0
    assert "expected 3 MPI ranks, got 2" in done.stderr
    assert digests(tmp_path / "files") == {}
    with pytest.raises(ConfigurationError, match="expected 4 MPI ranks, got 1.*belongs to another MPI"):
        check_ranks(MPI.COMM_SELF, 4)
    check_ranks(MPI.COMM_SELF, 1)
    check_ranks(MPI.COMM_SELF, None)


@pytest.mark.parametrize("how", [{"limit": True}, {"fails": "limit", "unreserved": True}])
@pytest.mark.parametrize("ranks", [None, pytest.param(2, marks=needs_mpiexec)])
def test_a_file_that_cannot_grow_is_an_error_that_names_it(ranks, how, tmp_path):
    files = [["w.h5", {}, 20_000]]
    done = run(ranks, tmp_path / "files", {**how, "files": files})
    assert done.returncode != 0
    assert "w.h5" in done.stderr
    if how.get("limit"):  # found when the file is made, before anything is computed
        assert "cannot be made (41,944 bytes of coefficients): " in done.stderr
    else:
        assert "bytes at byte" in done.stderr or "could be written at byte" in done.stderr
    assert digests(tmp_path / "files") == {}


@pytest.mark.parametrize(
    ("unreserved", "message"),
    [
        (False, "cannot be made (41,944 bytes of coefficients): [Errno 28] No space left on device"),
        (True, " failed: Other I/O error No space left on device"),
    ],
)
@pytest.mark.parametrize("ranks", [None, pytest.param(2, marks=needs_mpiexec)])
def test_a_full_disk_is_an_error_that_says_so(ranks, unreserved, message, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    try:
        (disk / "other").write_bytes(b"x" * 1_000_000)
        done = run(ranks, disk, {"files": [["w.h5", {}, 20_000]], "unreserved": unreserved})
        assert done.returncode != 0
        assert ".w.h5." in done.stderr
        assert message in done.stderr
        assert sorted(digests(disk)) == ["other"]
    finally:
        # lazily: a rank that is being ended may hold it for a moment
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_killed_runs_left_is_removed(tmp_path):
    (tmp_path / ".w.h5.77.tmp").write_bytes(b"old")
    (tmp_path / ".w2.h5.77.tmp").write_bytes(b"of another file")
    (tmp_path / "w.h5").write_bytes(b"an older result")
    write_weights(MPI.COMM_SELF, tmp_path / "w.h5", some_contents(), values, 10_000, print)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".w2.h5.77.tmp", "w.h5"]
    check_complete(tmp_path / "w.h5")


def test_an_older_result_stays_when_a_new_run_fails(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"an older result")

    def fails(population: int, first: int, last: int) -> np.ndarray:
        raise ResultError("no")

    with pytest.raises(ResultError, match="no"):
        write_weights(MPI.COMM_SELF, tmp_path / "w.h5", some_contents(), fails, 10_000, print)
    assert digests(tmp_path) == {"w.h5": hashlib.sha256(b"an older result").hexdigest()}


def test_pieces_of_a_block_are_put_together(tmp_path, alone, monkeypatch):
    monkeypatch.setattr(parallel_write, "PIECE", 1001)
    write_weights(MPI.COMM_SELF, tmp_path / "float64.h5", some_contents(), values, 1 << 20, print)
    assert digests(tmp_path)["float64.h5"] == digests(alone)["float64.h5"]


def test_bytes_that_are_not_taken_are_an_error():
    class FullFile:
        def Write_at(self, place, buffer, status):
            status.Set_elements(MPI.BYTE, 5)

    with pytest.raises(ResultError, match="w.h5: only 5 of 16 bytes could be written at byte 100"):
        parallel_write._write_at(FullFile(), 100, np.zeros((1, 2)), Path("w.h5"))


def test_results_of_a_wrong_shape_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="coefficients computed"):
        write_weights(
            MPI.COMM_SELF, tmp_path / "w.h5", some_contents(), lambda *_: np.zeros((3, 7)), 10_000, print
        )
    assert digests(tmp_path) == {}


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel_write, "PROGRESS_EVERY", 0.0)
    lines: list[str] = []
    write_weights(MPI.COMM_SELF, tmp_path / "w.h5", some_contents(), values, 100_000, lines.append)
    assert "44 of its 749 compartments (6 %)" in lines[0]
    assert "749 of its 749 compartments (100 %)" in lines[-2]
    assert lines[-2].endswith("0 s left")
    assert "749 compartments x 7 electrodes written by 1 rank in" in lines[-1]


def test_a_block_keeps_within_the_buffer():
    assert rows_per_block(some_contents(), 10 * (7 * 8 + 256)) == 10
    assert rows_per_block(some_contents(column_of_ones=True), 10 * (7 * 8 + 8 * 8 + 256)) == 10
    assert rows_per_block(some_contents(precision="float32"), 10 * (7 * 8 + 7 * 4 + 256)) == 10
    assert rows_per_block(some_contents(), 1) == 1


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(1, 12))
def test_shares_are_all_rows_once_and_equal(sizes, size):
    shares = [share_of_rows(sizes, rank, size) for rank in range(size)]
    rows = [(p, row) for share in shares for p, first, last in share for row in range(first, last)]
    assert rows == [(p, row) for p, n_rows in enumerate(sizes) for row in range(n_rows)]
    counts = [sum(last - first for _, first, last in share) for share in shares]
    assert max(counts) - min(counts) <= 1
