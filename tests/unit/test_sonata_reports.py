"""Soma and compartment reports: which values are read, and reports that do not fit together."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.sonata import reports
from ephysflow.sonata.reports import open_report

NODES = [7, 2, 9]
COUNTS = [1, 3, 2]
N_COLUMNS = sum(COUNTS)


def values(n_frames):
    return np.arange(n_frames * N_COLUMNS, dtype="f8").reshape(n_frames, N_COLUMNS)


def write(path, n_frames=20, chunks=None, pointers="index_pointers", **changes):
    parts = {
        "data": values(n_frames),
        "mapping/node_ids": np.array(NODES, dtype="u8"),
        f"mapping/{pointers}": np.concatenate([[0], np.cumsum(COUNTS)]).astype("u8"),
        "mapping/element_ids": np.array([0, 0, 4, 5, 0, 1], dtype="u4"),
        "mapping/time": [10.0, 10.0 + n_frames * 0.5, 0.5],
    } | {key.replace("__", "/"): value for key, value in changes.items()}
    with h5py.File(path, "w") as file:
        for name, content in parts.items():
            if content is not None:
                file.create_dataset(
                    f"report/a/{name}", data=content, chunks=chunks if name == "data" else None
                )
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.h5"


@pytest.mark.parametrize("pointers", ["index_pointers", "index_pointer"])
def test_what_is_known_without_reading_values(path, pointers):
    with open_report(write(path, pointers=pointers), "a") as report:
        assert (report.start, report.step, report.stop, report.n_frames) == (10.0, 0.5, 20.0, 20)
        assert report.node_ids.tolist() == NODES
        columns, gids, elements = report.columns_of(np.array([2, 100, 7, 0]))
        assert columns.tolist() == [1, 2, 3, 0]
        assert gids.tolist() == [2, 2, 2, 7]
        assert elements.tolist() == [0, 4, 5, 0]


def test_no_nodes(path):
    with open_report(write(path), "a") as report:
        columns, gids, elements = report.columns_of(np.array([], dtype=int))
        assert (len(columns), len(gids), len(elements)) == (0, 0, 0)
        assert report.read(0, 20, 1, columns).shape == (20, 0)
        assert report.read(3, 3, 1, np.array([1])).shape == (0, 1)


@pytest.mark.parametrize("chunks", [None, (3, 2), (20, 6), (1, 6)])
@given(data=st.data())
def test_read_gives_what_indexing_gives(tmp_path_factory, chunks, data):
    path = tmp_path_factory.getbasetemp() / f"report_{chunks}.h5"
    if not path.exists():
        write(path, chunks=chunks)
    first = data.draw(st.integers(0, 20))
    last = data.draw(st.integers(first, 20))
    stride = data.draw(st.integers(1, 25))
    columns = np.array(data.draw(st.lists(st.integers(0, N_COLUMNS - 1), max_size=8)), dtype=int)
    with pytest.MonkeyPatch.context() as patch, open_report(path, "a") as report:
        # blocks as small as can be: every border between them occurs
        patch.setattr(reports, "BLOCK", data.draw(st.integers(1, 40)))
        found = report.read(first, last, stride, columns)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values(20)[first:last:stride][:, columns])


def test_frames_outside_are_a_mistake_of_the_caller(path):
    with open_report(write(path), "a") as report:
        for first, last, stride in [(-1, 5, 1), (5, 4, 1), (0, 21, 1), (0, 5, 0)]:
            with pytest.raises(ValueError, match="of 20"):
                report.read(first, last, stride, np.array([0]))


def test_errors_of_the_block_that_uses_a_report_pass(path):
    with pytest.raises(KeyError), open_report(write(path), "a"):
        raise KeyError("mine")


def test_a_last_frame_at_stop_is_accepted(path):
    with open_report(write(path, n_frames=21, mapping__time=[10.0, 20.0, 0.5]), "a") as report:
        assert (report.n_frames, report.stop) == (21, 20.5)


BAD = {
    "data missing": ({"data": None}, "dataset /report/a/data is missing"),
    "data flat": (
        {"data": np.zeros(5)},
        "/report/a/data has type float64 and shape (5,); needed are numbers in 2",
    ),
    "data texts": ({"data": [["x"]]}, "/report/a/data has type object"),
    "columns": ({"data": np.zeros((20, 5))}, "/report/a/data has 5 columns, but mapping/element_ids 6"),
    "frames": (
        {"data": np.zeros((15, 6))},
        "has 15 frames, but /report/a/mapping/time (start 10.0, stop 20.0",
    ),
    "time missing": ({"mapping__time": None}, "dataset /report/a/mapping/time is missing"),
    "time short": ({"mapping__time": [0.0, 1.0]}, "has 2 values; needed are start, stop and step"),
    "step zero": ({"mapping__time": [0.0, 10.0, 0.0]}, "step 0.0 are not a time grid"),
    "step NaN": ({"mapping__time": [0.0, 10.0, np.nan]}, "step nan are not a time grid"),
    "start NaN": ({"mapping__time": [np.nan, 10.0, 0.5]}, "start nan"),
    "pointers missing": (
        {"mapping__index_pointers": None},
        "dataset /report/a/mapping/index_pointer is missing",
    ),
    "pointers short": (
        {"mapping__index_pointers": [0, 1, 6]},
        "does not give each of the 3 nodes its columns",
    ),
    "pointers fall": ({"mapping__index_pointers": [0, 4, 1, 6]}, "does not give each of the 3 nodes"),
    "pointers far": ({"mapping__index_pointers": [0, 1, 4, 7]}, "its columns out of 6"),
    "pointers negative": ({"mapping__index_pointers": [-1, 1, 4, 6]}, "index_pointers holds -1"),
    "node twice": ({"mapping__node_ids": [1, 2, 1]}, "names a node twice"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_reports_that_do_not_fit_together(path, changes, message):
    write(path, **changes)
    with pytest.raises(SimulationError) as error, open_report(path, "a"):
        pass
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_population_file_and_unit(path):
    with pytest.raises(SimulationError, match="report file .*report.h5 is not there"), open_report(path, "a"):
        pass
    write(path)
    with pytest.raises(SimulationError, match=r"no population 'b' \(there is: a\)"), open_report(path, "b"):
        pass
    with h5py.File(path, "a") as file:
        file["report/a/mapping/time"].attrs["units"] = "s"
    with pytest.raises(SimulationError, match="has the unit 's'"), open_report(path, "a"):
        pass
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(SimulationError, match="is not HDF5, or is damaged"), open_report(path, "a"):
        pass


def test_damage_in_the_values_is_named(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("report/a/data", data=values(20), chunks=(20, 6), fletcher32=True)
        offset = file["report/a/data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 8] ^= 0xFF
    path.write_bytes(content)
    with h5py.File(path, "a") as file, h5py.File(write(path.with_name("whole.h5")), "r") as whole:
        whole.copy("report/a/mapping", file["report/a"])
    with open_report(path, "a") as report, pytest.raises(SimulationError, match="report file .* is damaged"):
        report.read(0, 20, 1, np.array([0]))
