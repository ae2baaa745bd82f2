"""NWB files as they come: whole, damaged, foreign, and made to harm."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_nwb import TEXT, write_file, write_table

from ephysflow.ecephys.nwb_file import (
    Ragged,
    attribute,
    dataset,
    group,
    lazy_column,
    member,
    one_value_a_row,
    open_nwb,
    read_column,
    read_values,
    table_columns,
    text,
)
from ephysflow.errors import ProjectError


@pytest.fixture
def file(tmp_path):
    """An open file without tables, that may be written to."""
    with h5py.File(write_file(tmp_path / "a.nwb"), "a") as opened:
        yield opened


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "HTML"),
        (b"<HTML>", "HTML"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b"unit_id,quality\n1,good\n", "not HDF5"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 30, "not HDF5, or is damaged|is cut short"),
    ],
)
def test_foreign_file_is_refused(tmp_path, content, message):
    path = tmp_path / "session.nwb"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=message) as caught:
        open_nwb(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(ProjectError, match="is not there"):
        open_nwb(tmp_path / "absent.nwb")
    with pytest.raises(ProjectError, match="is a folder"):
        open_nwb(tmp_path)


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_cut_file_is_refused(tmp_path, part):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as opened:
        opened["big"] = np.arange(10000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(ProjectError, match="cut short"):
        open_nwb(path)


@pytest.mark.parametrize("version", [None, "NWB-1.0.6", 2])
def test_hdf5_that_is_no_nwb_2_is_refused(tmp_path, version):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as opened:
        if version is not None:
            opened.attrs["nwb_version"] = version
    with pytest.raises(ProjectError, match="no file of NWB 2"):
        open_nwb(path)


def test_values_become_plain_ones(file):
    other = file.create_group("general/probe A")
    file["text"] = "\N{GREEK SMALL LETTER MU}V"
    file["blank"] = ""
    file["flags"] = np.array([True, False])
    file.create_dataset("references", data=[other.ref, None], dtype=h5py.ref_dtype)
    assert read_values(dataset(file, "flags")).tolist() == [True, False]
    assert read_values(dataset(file, "references")).tolist() == ["probe A", ""]
    assert text(file, "text") == "\N{GREEK SMALL LETTER MU}V"
    assert text(file, "blank") is None
    assert text(file, "flags") is None
    assert text(file, "absent") is None


def test_fixed_and_variable_text_read_alike(file):
    file["fixed"] = np.array([b"ab", b"c"])
    file.create_dataset("variable", data=["ab", "c"], dtype=TEXT)
    assert read_values(dataset(file, "fixed")).tolist() == ["ab", "c"]
    assert read_values(dataset(file, "variable")).tolist() == ["ab", "c"]


def test_attributes_become_plain_values(file):
    file.attrs["array"] = np.array([1.5])
    file.attrs["flag"] = np.bool_(True)
    file.attrs["bytes"] = np.bytes_(b"ab")
    file.attrs["none"] = h5py.Empty("f")
    assert [attribute(file, name) for name in ("array", "flag", "bytes", "none", "absent")] == [
        1.5,
        True,
        "ab",
        None,
        None,
    ]


def test_group_and_dataset_are_told_apart(file):
    file["a/b"] = [1]
    with pytest.raises(ProjectError, match="b is no group"):
        group(file["a"], "b")
    with pytest.raises(ProjectError, match="a is no dataset"):
        dataset(file, "a")
    with pytest.raises(ProjectError, match="dataset c is missing .there is: b"):
        dataset(file["a"], "c")
    assert member(file, "a/b/c") is None


def test_soft_links_are_followed_and_circles_found(file):
    file["a/b"] = [1]
    file["a/link"] = h5py.SoftLink("b")
    file["c"] = h5py.SoftLink("/a/link")
    file["dangling"] = h5py.SoftLink("/nowhere")
    file["circle"] = h5py.SoftLink("/circle")
    assert member(file, "c").name == "/a/b"
    assert member(file, "dangling") is None
    with pytest.raises(ProjectError, match="back to itself"):
        member(file, "circle")


def test_values_in_other_files_are_not_read(file, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"12345678")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a"] = [1]
    file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
    file["soft"] = h5py.SoftLink("/link")
    file.create_dataset("raw", shape=(8,), dtype="u1", external=[(str(secret), 0, 8)])
    layout = h5py.VirtualLayout(shape=(1,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", shape=(1,))
    file.create_virtual_dataset("virtual", layout)
    for name in ("link", "soft"):
        with pytest.raises(ProjectError, match="link to another file .*other.h5"):
            member(file, name)
    for name in ("raw", "virtual"):
        with pytest.raises(ProjectError, match="values in other files"):
            dataset(file, name)


def test_absurd_shape_is_refused_before_memory_is_taken(file):
    file.create_dataset("huge", shape=(2**40,), dtype="f8", chunks=(1024,))
    file["none"] = h5py.Empty("f")
    with pytest.raises(ProjectError, match="does not hold these values"):
        dataset(file, "huge")
    with pytest.raises(ProjectError, match="holds no values"):
        dataset(file, "none")


def test_damaged_chunk_is_named(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as opened:
        values = opened.create_dataset(
            "values", data=np.random.default_rng(1).random(4096), chunks=(4096,), compression="gzip"
        )
        place = values.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 64] = bytes(64)
    path.write_bytes(content)
    with open_nwb(path) as opened, pytest.raises(ProjectError, match="/values cannot be read"):
        read_values(dataset(opened, "values"))


def test_columns_of_a_table(file):
    table = write_table(
        file,
        "t",
        {"stimulus": ["a", "b"], "stimulus_index": [5, 6], "tags": [["x", "y"], []]},
        ragged=("tags",),
    )
    assert table_columns(table) == ["stimulus", "stimulus_index", "tags"]
    assert read_column(table, "stimulus_index").tolist() == [5, 6]
    # stimulus_index is a column, not the index of stimulus
    assert read_column(table, "stimulus").tolist() == ["a", "b"]
    assert [read_column(table, "tags").row(i).tolist() for i in range(2)] == [["x", "y"], []]
    assert read_column(table, "id").tolist() == [0, 1]
    assert [one_value_a_row(table, name) for name in table_columns(table)] == [True, True, False]


def test_reading_of_a_whole_column_can_be_put_off(file):
    table = write_table(file, "t", {"waveform": np.zeros((2, 5, 3))})
    assert lazy_column(table, "waveform").shape == (2, 5, 3)
    assert not one_value_a_row(table, "waveform")


@pytest.mark.parametrize("colnames", [None, 5, np.array(["a", "a"], dtype=object), np.arange(2)])
def test_columns_that_are_not_named_rightly_are_refused(file, colnames):
    table = file.create_group("t")
    if colnames is not None:
        table.attrs["colnames"] = colnames
    with pytest.raises(ProjectError, match="colnames"):
        table_columns(table)


def test_column_of_wrong_length_is_refused(file):
    table = write_table(file, "t", {"a": [1, 2, 3]}, ids=[0, 1])
    with pytest.raises(ProjectError, match=r"a\.nwb: /t/a has shape \(3,\), but the table has 2 rows"):
        read_column(table, "a")


def test_column_that_is_named_but_missing_is_refused(file):
    table = write_table(file, "t", {"a": [1]})
    del table["a"]
    with pytest.raises(ProjectError, match="dataset a is missing"):
        read_column(table, "a")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.array([2, 1, 4]), "decreases at row 1"),
        (np.array([-1, 2, 4]), "decreases at row 0"),
        (np.array([2, 3, 5]), "ends at 5, but /t/a has 4 values"),
        (np.array([1, 2, 3]), "ends at 3, but /t/a has 4 values"),
        (np.array([2, 4]), "has 2 entries, but the table has 3 rows"),
        (np.array([1.0, 2.0, 4.0]), "one integer a row"),
        (np.array([[1], [2], [4]]), "one integer a row"),
        (np.array([2**64 - 1, 2, 4], dtype=np.uint64), "decreases"),
    ],
)
def test_wrong_index_is_refused(file, index, message):
    table = write_table(file, "t", {"a": [[1, 2], [3], [4]]}, ragged=("a",))
    del table["a_index"]
    table["a_index"] = index
    with pytest.raises(ProjectError, match=message):
        read_column(table, "a")


@given(
    rows=st.lists(st.lists(st.integers(-1000, 1000), max_size=5), max_size=12),
    kind=st.sampled_from([np.uint8, np.uint16, np.int32, np.uint64]),
)
@settings(max_examples=40, deadline=None)
def test_ragged_columns_come_back(rows, kind):
    with h5py.File("ragged", "w", driver="core", backing_store=False) as opened:
        table = write_table(opened, "t", {"a": rows}, ragged=("a",))
        index = table["a_index"][()].astype(kind)
        del table["a_index"]
        table["a_index"] = index
        column = read_column(table, "a")
        assert isinstance(column, Ragged)
        assert [column.row(i).tolist() for i in range(len(rows))] == rows


@given(rows=st.lists(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=4), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_doubly_ragged_columns_come_back(rows):
    pieces = [piece for row in rows for piece in row]
    with h5py.File("doubly", "w", driver="core", backing_store=False) as opened:
        table = opened.create_group("t")
        table.attrs["colnames"] = np.array(["a"], dtype=TEXT)
        table["id"] = np.arange(len(rows))
        table["a"] = np.array([value for piece in pieces for value in piece], dtype=np.int64)
        table["a_index"] = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        table["a_index_index"] = np.cumsum([len(row) for row in rows], dtype=np.int64)
        column = read_column(table, "a")
        assert isinstance(column, Ragged)
        assert [column.row(i).tolist() for i in range(len(rows))] == [
            [value for piece in row for value in piece] for row in rows
        ]
        assert column.inner is not None
        assert column.inner.tolist() == [0, *np.cumsum([len(piece) for piece in pieces]).tolist()]


def test_text_index_is_refused(file):
    table = write_table(file, "t", {"a": [[1], [2]]}, ragged=("a",))
    del table["a_index"]
    table.create_dataset("a_index", data=["1", "2"], dtype=TEXT)
    with pytest.raises(ProjectError, match="one integer a row"):
        read_column(table, "a")
