"""Presentations of stimuli from small session files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.ecephys.conditions import FIXED_COLUMNS
from ephysflow.ecephys.presentations import INVALID, assemble, read_presentations
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ProjectError

TEXT = h5py.string_dtype()
NONE = np.empty((0, 2))


def write_session(path: Path, tables: Mapping[str, Mapping[str, Any]], ragged: tuple[str, ...] = ()) -> Path:
    """Write a session file with tables of intervals; columns in `ragged` are lists of lists."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.2.2"
        file["identifier"] = "1"
        for name, columns in tables.items():
            place = file.create_group(f"intervals/{name}")
            place.attrs["colnames"] = np.array(list(columns), dtype=TEXT)
            place["id"] = np.arange(len(columns["start_time"]))
            for column, values in columns.items():
                if column in ragged:
                    place[f"{column}_index"] = np.cumsum([len(row) for row in values])
                    values = [value for row in values for value in row]
                is_text = any(isinstance(value, str) for value in values)
                place.create_dataset(column, data=values, dtype=TEXT if is_text else None)
    return path


def read(path: Path) -> pa.Table:
    with SessionFile(path) as session:
        return read_presentations(session)


def shown(start: list[float], **columns: Any) -> dict[str, Any]:
    """Columns of presentations of one second."""
    return {"start_time": start, "stop_time": [s + 1.0 for s in start], **columns}


def test_tables_are_joined_in_the_order_of_time(tmp_path):
    tables = {
        "gabors_presentations": shown([3.0, 1.0], stimulus_name=["gabors"] * 2, stimulus_block=[2.0, 0.0]),
        "spontaneous_presentations": shown([2.0], stimulus_name=["spontaneous"], stimulus_index=[np.nan]),
    }
    found = read(write_session(tmp_path / "s.nwb", tables))
    assert tuple(found.column_names) == FIXED_COLUMNS
    assert found.to_pydict() == {
        "stimulus_presentation_id": [0, 1, 2],
        "stimulus_block": [0, None, 2],
        "stimulus_name": ["gabors", "spontaneous", "gabors"],
        "start_time": [1.0, 2.0, 3.0],
        "stop_time": [2.0, 3.0, 4.0],
        "duration": [1.0, 1.0, 1.0],
        "stimulus_condition_id": [0, 1, 0],
    }
    assert found.schema.field("start_time").metadata[b"unit"] == b"s"


def test_a_session_without_presentations_gives_no_rows(tmp_path):
    path = write_session(tmp_path / "s.nwb", {"epochs": shown([1.0])})
    found = read(path)
    assert (found.num_rows, tuple(found.column_names)) == (0, FIXED_COLUMNS)
    assert found.schema.field("stimulus_condition_id").type == pa.int64()


def test_columns_get_one_type_each(tmp_path):
    tables = {
        "a_presentations": shown(
            [1.0, 2.0],
            SF=["0.08", "N/A"],
            size=["[20.0, 20.0]", "null"],
            label=["007", "8"],
            count=[1, 2],
            active=[True, False],
            mixed=["x", "0.5"],
        ),
        "b_presentations": shown([3.0], SF=[0.04], mixed=[0.5], empty=[np.nan]),
    }
    found = read(write_session(tmp_path / "s.nwb", tables))
    own = found.drop_columns(list(FIXED_COLUMNS))
    assert own.to_pydict() == {
        "active": [True, False, None],
        "count": [1, 2, None],
        "empty": [None, None, None],
        "label": ["007", "8", None],
        "mixed": ["x", "0.5", "0.5"],
        "size": ["[20.0, 20.0]", None, None],
        "spatial_frequency": [0.08, None, 0.04],
    }
    assert [field.type for field in own.schema] == [
        pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.string(), pa.string(), pa.float64(),
    ]  # fmt: skip


def test_names_of_stimuli(tmp_path):
    names = ["flash_250ms", "Natural Images", "", "natural_movie_1", "contrast_response", "my own"]
    tables = {
        "x_presentations": shown([float(k) for k in range(6)], stimulus_name=names),
        "flash_250ms_presentations": shown([10.0]),
    }
    found = read(write_session(tmp_path / "s.nwb", tables)).column("stimulus_name").to_pylist()
    assert found == [
        "flashes",
        "natural_scenes",
        "spontaneous",
        "natural_movie_one",
        "drifting_gratings_contrast",
        "my own",
        "flashes",
    ]


def test_visual_behavior_columns_are_kept_and_counters_make_no_conditions(tmp_path):
    images = shown(
        [1.0, 2.0, 3.0, 4.0],
        stimulus_name=["Natural_Images"] * 4,
        stimulus_block=[0, 0, 0, 0],
        image_name=["im1", "im2", "im1", "omitted"],
        is_change=[False, True, True, False],
        omitted=[False, False, False, True],
        active=[True] * 4,
        start_frame=[10, 20, 30, 40],
        trials_id=[0, 0, 1, 1],
        flashes_since_change=[1.0, 0.0, 0.0, 1.0],
        duration=[9.0] * 4,
    )
    tables = {"Natural_Images_presentations": images, "flash_250ms_presentations": shown([6.0], color=[1.0])}
    found = read(write_session(tmp_path / "s.nwb", tables))
    assert found.column("stimulus_condition_id").to_pylist() == [0, 1, 2, 3, 4]
    images["is_change"] = [False] * 4
    found = read(write_session(tmp_path / "t.nwb", tables))
    assert found.column("stimulus_condition_id").to_pylist() == [0, 1, 0, 2, 3]
    assert found.column("start_frame").to_pylist() == [10, 20, 30, 40, None]
    assert found.column("omitted").to_pylist() == [False, False, False, True, None]
    assert found.column("duration").to_pylist() == [1.0] * 5
    assert found.column_names[len(FIXED_COLUMNS) :] == sorted(found.column_names[len(FIXED_COLUMNS) :])


def test_several_values_in_a_cell_become_text(tmp_path):
    tables = {
        "a_presentations": shown(
            [1.0, 2.0], size=np.array([[20.0, 20.0], [1.0, 2.0]]), path=[[1.0, 2.0], []], tags=[["x"], ["y"]]
        )
    }
    found = read(write_session(tmp_path / "s.nwb", tables, ragged=("path", "tags")))
    assert found.column("size").to_pylist() == ["[20.0, 20.0]", "[1.0, 2.0]"]
    assert found.column("path").to_pylist() == ["[1.0, 2.0]", None]
    assert "tags" not in found.column_names


def test_invalid_times_of_the_stimulus(tmp_path):
    tables = {
        "a_presentations": shown([0.0, 2.0, 4.0], frame=[5, 6, 7], stimulus_block=[0, 0, 0]),
        "invalid_times": {
            "start_time": [2.5, 4.2],
            "stop_time": [2.6, 4.3],
            "tags": [["EcephysSession", "1", "stimulus"], ["EcephysProbe", "2", "probeA"]],
        },
    }
    found = read(write_session(tmp_path / "s.nwb", tables, ragged=("tags",)))
    assert found.column("stimulus_name").to_pylist() == ["a", INVALID, "a"]
    assert found.column("frame").to_pylist() == [5, None, 7]
    assert found.column("stimulus_block").to_pylist() == [0, None, 0]
    # ids stay integers, and are those of the presentations as they were planned
    assert found.column("stimulus_condition_id").to_pylist() == [0, None, 2]
    assert found.column("stimulus_condition_id").type == pa.int64()
    assert found.column("duration").to_pylist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (shown([np.nan]), "row 0 lasts from nan"),
        ({"start_time": [1.0, 5.0], "stop_time": [2.0, 4.0]}, "row 1 lasts from 5.0 to 4.0 s"),
        ({"start_time": ["a"], "stop_time": ["b"]}, "are not numbers"),
        ({"start_time": [1.0]}, "no column stop_time; there are: start_time"),
        (shown([1.0], stimulus_block=[0.5]), "stimulus_block"),
        (shown([1.0], stimulus_block=["first"]), "stimulus_block"),
        (shown([1.0], Ori=[1.0], orientation=[2.0]), "two columns for orientation"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, columns, message):
    path = write_session(tmp_path / "s.nwb", {"a_presentations": columns})
    with pytest.raises(ProjectError, match=message) as caught:
        read(path)
    assert "s.nwb" in str(caught.value)


def test_a_column_of_compounds_is_refused(tmp_path):
    pairs = np.zeros(1, dtype=[("a", "i4"), ("b", "f8")])
    path = write_session(tmp_path / "s.nwb", {"a_presentations": shown([1.0], extra=pairs)})
    with pytest.raises(ProjectError, match="column extra"):
        read(path)


cells = st.one_of(
    st.floats(allow_infinity=False),
    st.booleans(),
    st.sampled_from(["", "N/A", "x", "0.5", "1"]),
    st.integers(-9, 9),
)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(["a", "b"]), cells), max_size=6
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=80, deadline=None)
def test_any_presentations(tables):
    """Sorted, of one type a column, and one condition for equal parameters."""
    written = []
    for table in tables:
        values = [cell for *_, cell in table]
        kinds = {type(value) for value in values}
        as_text = str in kinds or len(kinds) > 1
        written.append(
            {
                "start_time": np.array([float(start) for start, *_ in table]),
                "stop_time": np.array([float(start + last) for start, last, *_ in table]),
                "stimulus_name": np.array([name for _, _, name, _ in table], dtype=object),
                "p": np.array([str(v) for v in values], dtype=object) if as_text else np.array(values),
            }
        )
    found = assemble(written, NONE, "file")
    rows = found.to_pylist()
    assert found.column("stimulus_presentation_id").to_pylist() == list(range(sum(map(len, tables))))
    assert [r["start_time"] for r in rows] == sorted(r["start_time"] for r in rows)
    seen: dict[tuple, int] = {}
    for row in rows:
        assert row["stimulus_condition_id"] == seen.setdefault((row["stimulus_name"], row["p"]), len(seen))
    assert found.equals(assemble(written, NONE, "file"))
