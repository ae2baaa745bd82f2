"""Region and layer of positions from a voxel atlas, made here with pynrrd."""

import contextlib
import json

import nrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular import atlas
from ephysflow.extracellular.atlas import read_acronyms, region_and_layer, voxel_numbers

ORIGIN = np.array([100.0, -50.0, 7.0])
STRAIGHT = np.diag([25.0, 10.0, 40.0])
# oblique, with one axis reversed
OBLIQUE = np.array([[20.0, 5.0, 0.0], [0.0, 0.0, -10.0], [3.0, 15.0, 2.0]])
SIZES = (4, 3, 5)
HIERARCHY = {
    "id": 997,
    "acronym": "root",
    "children": [
        {"id": 1, "acronym": "S1FL;L5", "children": [{"id": 3, "acronym": "VPL"}]},
        {"id": 2**31 + 1, "acronym": "SSp-ll5 ; "},
    ],
}


def volume(dtype="uint32"):
    return np.random.default_rng(5).integers(1, 120, SIZES).astype(dtype)


def written(path, data, directions=STRAIGHT, origin=ORIGIN, encoding="gzip", **more):
    header = {"space dimension": 3, "space directions": directions, "space origin": origin, **more}
    nrrd.write(str(path), data, {**header, "encoding": encoding})
    return path


@pytest.mark.parametrize(
    "directions", [STRAIGHT, OBLIQUE, -STRAIGHT], ids=["straight", "oblique", "reversed"]
)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u4", "int64"])
def test_each_voxel_from_its_origin_and_directions(tmp_path, directions, encoding, dtype):
    data = volume(dtype)
    path = written(tmp_path / "a.nrrd", data, directions, encoding=encoding)
    rng = np.random.default_rng(1)
    index = np.stack([rng.integers(0, size, 200) for size in SIZES], axis=1)
    # anywhere inside the voxels; the origin is the corner of the first one
    positions = ORIGIN + (index + rng.uniform(0.001, 0.999, index.shape)) @ directions
    assert voxel_numbers(path, positions) == data[tuple(index.T)].tolist()


def test_outside_of_the_volume(tmp_path):
    path = written(tmp_path / "a.nrrd", volume())
    index = np.array([[-0.01, 0, 0], [0, 3.01, 0], [0, 0, 5.5], [-4, 1, 1], [1e15, 1, 1], [3.99, 2.99, 4.99]])
    found = voxel_numbers(path, ORIGIN + index @ STRAIGHT)
    assert found[:-1] == [0] * 5
    assert found[-1] == volume()[3, 2, 4]


def test_units_of_the_space(tmp_path):
    path = written(
        tmp_path / "a.nrrd", volume(), STRAIGHT / 1000, ORIGIN / 1000, **{"space units": ["mm"] * 3}
    )
    position = ORIGIN + np.array([[1.5, 2.5, 3.5]]) @ STRAIGHT
    assert voxel_numbers(path, position) == [volume()[1, 2, 3]]


def test_regions_and_layers_of_a_hierarchy(tmp_path):
    data = np.array([0, 1, 2**31 + 1, 3, 5], dtype=np.uint32).reshape(5, 1, 1)
    path = written(tmp_path / "a.nrrd", data, np.eye(3), np.zeros(3))
    positions = np.array([[x, 0.5, 0.5] for x in (0.5, 1.5, 2.5, 3.5, 4.5, 9.5)])
    hierarchy = tmp_path / "hierarchy.json"
    outside = ("Outside", "Outside")
    expected = [outside, ("S1FL", "L5"), ("SSp-ll5", "NA"), ("VPL", "NA"), outside, outside]
    for content in (HIERARCHY, {"msg": [HIERARCHY], "success": True}, [HIERARCHY]):
        hierarchy.write_text(json.dumps(content))
        assert region_and_layer(positions, path, hierarchy) == expected
    numbers = [outside, ("1", "NA"), ("2147483649", "NA"), ("3", "NA"), ("5", "NA"), outside]
    assert region_and_layer(positions, path) == numbers
    assert region_and_layer(positions, None) == [("NA", "NA")] * 6


def test_a_deep_hierarchy(tmp_path):
    region = {"id": 0, "acronym": "0"}
    for i in range(1, 200):
        region = {"id": i, "acronym": str(i), "children": [region]}
    (tmp_path / "h.json").write_text(json.dumps(region))
    assert len(read_acronyms(tmp_path / "h.json")) == 200


@pytest.mark.parametrize(
    "content",
    [
        *("", "[", "3", "null", "[1]", "{}", '{"id": 1}', '{"id": "1", "acronym": "a"}', "[" * 100_000),
        *(
            '{"id": true, "acronym": "a"}',
            '{"id": 1, "acronym": 2}',
            '{"id": 1, "acronym": "a", "children": 3}',
        ),
    ],
)
def test_hierarchies_that_are_none(tmp_path, content):
    path = tmp_path / "h.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"h\.json"):
        read_acronyms(path)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"NRRD0005", b"NORD0005", "has no NRRD header"),
        (b"type: uint32", b"type: float", "type 'float' of the voxels is not an integer"),
        (b"type: uint32", b"type: block", "type 'block' of the voxels"),
        (b"type: uint32\n", b"", "type is missing"),
        (b"dimension: 3\nspace", b"dimension: 4\nspace", "needed are three axes"),
        (b"sizes: 4 3 5", b"sizes: 4 3", "needed are three axes"),
        (b"sizes: 4 3 5", b"sizes: 4 0 5", "needed are three axes"),
        (b"sizes: 4 3 5", b"sizes: 4 x 5", "has no NRRD header"),
        (b"endian: little", b"endian: middle", "endian 'middle' must be little or big"),
        (b"encoding: raw", b"encoding: ascii", "encoding 'ascii' is not supported; allowed are raw, gzip"),
        (b"encoding: raw", b"encoding: gzip", "is damaged or not whole"),
        (b"encoding: raw", b"encoding: bzip2", "is damaged or not whole"),
        (b"encoding: raw", b"encoding: raw\ndata file: /etc/passwd", "data file is not supported"),
        (b"encoding: raw", b"encoding: raw\nbyte skip: 7", "byte skip is not supported"),
        (b"encoding: raw", b'encoding: raw\nspace units: "ly" "ly" "ly"', "space units 'ly' is unknown"),
        (b"space directions: (25,0,0)", b"space directions: (0,0,0)", "the directions independent"),
        (b"space directions: (25,0,0)", b"space directions: (nan,0,0)", "finite"),
        (b"space directions: (25,0,0)", b"space directions: none", "space directions"),
        (b"space directions", b"directions", "needed are space directions"),
        (b"space origin: (100", b"space origin: (inf", "finite"),
        (b"sizes: 4 3 5", b"sizes: 4 3 4000000000", "is damaged or not whole"),
        (b"sizes: 4 3 5", b"sizes: 4 9999999999 9999999999", "is damaged or not whole"),
    ],
)
def test_atlases_that_cannot_be_used_are_named(tmp_path, old, new, named):
    path = written(tmp_path / "a.nrrd", volume(), encoding="raw")
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ConfigurationError) as error:
        voxel_numbers(path, ORIGIN + np.array([[1.5, 2.5, 3.5], [0, 2.5, 1e9]]) @ STRAIGHT)
    assert named in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_a_cut_atlas(tmp_path, encoding):
    path = written(tmp_path / "a.nrrd", volume(), encoding=encoding)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigurationError, match="is damaged or not whole"):
        voxel_numbers(path, ORIGIN + np.array([[3.5, 2.5, 4.5]]) @ STRAIGHT)


def test_files_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="atlas .* is not there"):
        voxel_numbers(tmp_path / "a.nrrd", np.zeros((1, 3)))
    with pytest.raises(ConfigurationError, match="hierarchy .* is not there"):
        read_acronyms(tmp_path / "h.json")
    (tmp_path / "h.json").write_text(json.dumps(HIERARCHY))
    monkeypatch.setattr(atlas, "MAX_HIERARCHY_BYTES", 10)
    with pytest.raises(ConfigurationError, match="more than 10 bytes"):
        read_acronyms(tmp_path / "h.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), junk=st.binary(max_size=8), keep=st.booleans())
def test_any_damage_gives_numbers_or_one_error(tmp_path, place, junk, keep):
    path = written(tmp_path / "a.nrrd", volume("uint8"), encoding="gzip")
    content = path.read_bytes()
    path.write_bytes(content[:place] + junk + (content[place + len(junk) :] if keep else b""))
    with contextlib.suppress(ConfigurationError):
        assert len(voxel_numbers(path, ORIGIN + np.array([[1.5, 2.5, 3.5]]) @ STRAIGHT)) == 1
