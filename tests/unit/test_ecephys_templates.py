"""Movies, scenes and templates inside a session file; files that are none are refused."""

import io
import struct
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.templates import (
    MAX_SCENE_PIXELS,
    check_movie,
    check_scene,
    read_movie,
    read_scene,
    session_templates,
)
from ephysflow.errors import ProjectError

FRAMES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def npy(array, **keywords):
    stream = io.BytesIO()
    np.save(stream, array, **keywords)
    return stream.getvalue()


def test_a_movie_is_mapped_whatever_its_name(tmp_path):
    path = tmp_path / "natural_movie_1.h5"
    path.write_bytes(npy(FRAMES))
    check_movie(path)
    movie = read_movie(path)
    assert isinstance(movie, np.memmap)
    assert not movie.flags.writeable
    np.testing.assert_array_equal(movie, FRAMES)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["u1", "<i2", ">u2", "<f4", ">f8"]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements={"allow_nan": False},
    ),
    st.booleans(),
)
def test_any_movie_comes_back(tmp_path_factory, frames, by_column):
    path = tmp_path_factory.mktemp("m") / "movie.npy"
    path.write_bytes(npy(np.asfortranarray(frames) if by_column else frames))
    movie = read_movie(path)
    assert movie.dtype == frames.dtype
    np.testing.assert_array_equal(movie, frames)


def header(text):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no NumPy file"),
        (b"<html><body>Not found</body></html>", "is no NumPy file"),
        (npy(FRAMES)[:60], "is no NumPy file"),
        (npy(FRAMES)[:-1], r"is damaged: 151 bytes, but its header .* needs 152"),
        (npy(FRAMES) + b"\0", "is damaged: 153 bytes"),
        (npy(FRAMES[0]), r"has shape \(3, 4\); frames x height x width are needed"),
        (npy(FRAMES[:0]), r"has shape \(0, 3, 4\)"),
        (npy(np.array([[["a"]]], dtype=object), allow_pickle=True), "values of type object; numbers"),
        (npy(np.array([[["a"]]])), "values of type <U1; numbers"),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 1), }"),
            "is damaged",
        ),
        (header("__import__('os').system('true')"), "is no NumPy file"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 80, r"version \(9, 0\)"),
    ],
)
def test_what_is_no_movie_is_refused(tmp_path, content, message):
    path = tmp_path / "movie.npy"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=message) as raised:
        check_movie(path)
    assert str(path) in str(raised.value)


def tiff(array, **keywords):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="TIFF", **keywords)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_scene_is_read(tmp_path, kind):
    path = tmp_path / "natural_scene_0.tiff"
    path.write_bytes(tiff(FRAMES[1].astype(kind)))
    check_scene(path)
    scene = read_scene(path)
    assert scene.dtype == kind
    np.testing.assert_array_equal(scene, FRAMES[1])


def declared(width, height):
    """A TIFF that declares a size without holding it."""
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 1),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no TIFF image"),
        (b"<html></html>", "is no TIFF image"),
        (tiff(FRAMES[0])[:20], "scene.tiff is"),
        (tiff(np.zeros((30, 40), np.uint8))[:200], "scene.tiff is"),
        (tiff(np.zeros((3, 4, 3), np.uint8)), "1 images of mode RGB; one grey image is needed"),
        (
            tiff(FRAMES[0], save_all=True, append_images=[Image.fromarray(FRAMES[1])]),
            "2 images of mode L; one grey image is needed",
        ),
        (declared(8193, 8192), f"8193 x 8192 pixels; at most {MAX_SCENE_PIXELS} are read"),
        (declared(100000, 100000), "is refused: .*decompression bomb"),
    ],
)
def test_what_is_no_scene_is_refused(tmp_path, content, message):
    path = tmp_path / "scene.tiff"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=message) as raised:
        check_scene(path)
    assert str(path) in str(raised.value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 153), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_scene_is_read_or_refused(tmp_path_factory, changes):
    content = bytearray(tiff(FRAMES[0]))
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.mktemp("s") / "scene.tiff"
    path.write_bytes(content)
    # any other error would fail the test
    with suppress(ProjectError):
        assert read_scene(path).ndim == 2


def test_a_folder_or_nothing_is_refused(tmp_path):
    for read in (read_movie, read_scene):
        with pytest.raises(ProjectError, match="is not there"):
            read(tmp_path / "absent")
        with pytest.raises(ProjectError, match=str(tmp_path)):
            read(tmp_path)


@pytest.fixture
def session(tmp_path):
    path = tmp_path / "s.nwb"
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.2.2"
        file["identifier"] = "7"
        templates = file.create_group("stimulus/templates")
        templates["movie/data"] = FRAMES
        templates["movie/timestamps"] = [0.0, 1.0]
        templates["scenes/a"] = FRAMES[0]
        templates["scenes/b"] = FRAMES[1]
        templates["scenes/order_of_images"] = [0, 1]
        templates["elsewhere/data"] = np.empty((0, 0, 0))
        templates["elsewhere/external_file"] = [b"movie.avi"]
        templates["elsewhere/starting_time"] = 0.0
    return path


def test_templates_of_a_session_are_read_by_slices(session):
    with SessionFile(session) as opened:
        found = session_templates(opened)
        assert list(found) == ["movie", "scenes/a", "scenes/b"]
        assert isinstance(found["movie"], h5py.Dataset)
        np.testing.assert_array_equal(found["movie"][1, :2], FRAMES[1, :2])
        np.testing.assert_array_equal(found["scenes/b"][()], FRAMES[1])


def test_a_session_without_templates(session):
    with h5py.File(session, "a") as file:
        del file["stimulus"]
    with SessionFile(session) as opened:
        assert session_templates(opened) == {}


def test_templates_in_other_files_have_no_entry(session, tmp_path):
    with h5py.File(session, "a") as file:
        file["stimulus/templates/linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
    with SessionFile(session) as opened:
        assert list(session_templates(opened)) == ["movie", "scenes/a", "scenes/b"]
