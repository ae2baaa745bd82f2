"""Morphologies: the same cell in all formats, where files are looked for, the radius of the soma, files that cannot be used."""

import os
from contextlib import suppress
from itertools import pairwise

import h5py
import morphio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.extracellular.morphologies import morphology_file, read_morphology, recentred
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL
from ephysflow.sonata.simulation_config import MORPHOLOGY_SUBFOLDERS, MorphologyFolders

# type, parent, points, diameters: two trees, the order of types is not that of the section lists
SECTIONS = [
    (BASAL, -1, [[0, 5, 0], [0, 10, 0], [0, 20, 1]], [2, 1.5, 1]),
    (BASAL, 0, [[0, 20, 1], [5, 30, 0]], [1, 0.5]),
    (BASAL, 0, [[0, 20, 1], [-5, 30, 0.25]], [1, 0.75]),
    (AXON, -1, [[0, -5, 0], [0, -50, 0]], [0.5, 0.25]),
    (APICAL, -1, [[5, 0, 0], [50, 0, 0]], [3, 2]),
]
CONTOUR = [[5, 0, 0], [0, 5, 0], [-5, 0, 0], [0, -5, 0]]
SOMA = "1 1 0 0 0 5 -1\n"
DENDRITE = SOMA + "2 3 5 0 0 1 1\n3 3 10 0 0 1 2\n"


def written(path, sections=SECTIONS):
    """Write a morphology with MorphIO, in the format of the extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cell = morphio.mut.Morphology()
    if path.suffix == ".swc":
        cell.soma.points, cell.soma.diameters = [[0, 0, 0]], [10]
        cell.soma.type = morphio.SomaType.SOMA_SINGLE_POINT
    else:
        cell.soma.points, cell.soma.diameters = CONTOUR, [0] * 4
        cell.soma.type = morphio.SomaType.SOMA_SIMPLE_CONTOUR
    made = []
    for kind, parent, points, diameters in sections:
        add = cell.append_root_section if parent < 0 else made[parent].append_section
        made.append(add(morphio.PointLevel(points, diameters), morphio.SectionType(kind)))
    cell.write(path)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def container(path, *members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for member in members:
            with h5py.File(member) as source:
                group = file.create_group(member.stem)
                for key in source:
                    source.copy(key, group)
    return path


def swc(path, content):
    """Read what a SWC file with this content holds."""
    text(path / "cell.swc", content)
    return read_morphology(MorphologyFolders(swc=path), "cell")


def assert_is_the_cell(found):
    assert found.name == "cell"
    assert found.section_types.tolist() == [section[0] for section in SECTIONS]
    assert found.parents.tolist() == [section[1] for section in SECTIONS]
    assert found.points.dtype == found.diameters.dtype == np.float64
    assert found.section_offsets.tolist() == [0, 3, 5, 7, 9, 11]
    for k, (_, _, points, diameters) in enumerate(SECTIONS):
        np.testing.assert_array_equal(found.points[found.section(k)], points)
        np.testing.assert_array_equal(found.diameters[found.section(k)], diameters)
    assert found.soma_radius == 5


@pytest.mark.parametrize("suffix", ["asc", "h5", "swc"])
def test_the_same_cell_in_all_formats(tmp_path, suffix):
    path = written(tmp_path / f"cell.{suffix}")
    key = "swc" if suffix == "swc" else suffix
    folders = MorphologyFolders(**{key: tmp_path})
    assert morphology_file(folders, "cell") == path
    assert_is_the_cell(read_morphology(folders, "cell"))


@pytest.mark.parametrize("key", ["h5", "swc"])
@pytest.mark.parametrize("name", ["many.h5", "cell.h5"])
def test_containers(tmp_path, key, name):
    # in alternate_morphologies or as morphologies_dir; a container may be named like one of its morphologies
    path = container(tmp_path / name, written(tmp_path / "of/cell.h5"))
    folders = MorphologyFolders(**{key: path})
    assert morphology_file(folders, "cell") == path
    assert_is_the_cell(read_morphology(folders, "cell"))
    assert morphology_file(folders, "other") is None
    with pytest.raises(SimulationError, match=f"'other' is not there .looked for: .*{name}"):
        read_morphology(folders, "other")


def test_a_container_that_lacks_a_cell_is_passed_over_in_silence(tmp_path, capfd):
    path = container(tmp_path / "many.h5", written(tmp_path / "of/other.h5"))
    written(tmp_path / "swc/cell.swc")
    folders = MorphologyFolders(h5=path, swc=tmp_path / "swc")
    assert morphology_file(folders, "cell") == tmp_path / "swc/cell.swc"
    assert_is_the_cell(read_morphology(folders, "cell"))
    assert capfd.readouterr() == ("", "")


def test_the_order_of_formats(tmp_path):
    paths = [written(tmp_path / kind / f"cell.{kind}") for kind in ("asc", "h5", "swc")]
    folders = MorphologyFolders(**{path.parent.name: path.parent for path in paths})
    for path in paths:
        assert morphology_file(folders, "cell") == path
        path.unlink()
    with pytest.raises(SimulationError) as error:
        read_morphology(folders, "cell")
    assert f"looked for: {', '.join(map(str, paths))}" in str(error.value)


def test_folders_below_morphologies_dir(tmp_path):
    places = [(suffix, below) for suffix, all_ in MORPHOLOGY_SUBFOLDERS.items() for below in all_]
    assert {
        (".asc", "ascii"),
        (".asc", "morphologies_asc"),
        (".swc", "swc"),
        (".swc", "morphologies_swc"),
    } <= {*places}
    paths = [written(tmp_path / below / f"cell{suffix}") for suffix, below in places]
    for path in paths:
        assert morphology_file(MorphologyFolders(swc=tmp_path), "cell") == path
        path.unlink()
    assert morphology_file(MorphologyFolders(swc=tmp_path), "cell") is None
    # only where no format has a place of its own
    path = written(tmp_path / "ascii/cell.asc")
    assert morphology_file(MorphologyFolders(swc=tmp_path), "cell") == path
    assert morphology_file(MorphologyFolders(swc=tmp_path, h5=tmp_path / "none"), "cell") is None


def test_names_with_an_extension_as_bmtk_has_them(tmp_path):
    path = written(tmp_path / "cell.swc")
    assert morphology_file(MorphologyFolders(swc=tmp_path), "cell.swc") == path
    path = written(tmp_path / "dotted.x1.000.swc")
    assert morphology_file(MorphologyFolders(swc=tmp_path), "dotted.x1.000") == path


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../cell", "a/cell", "/cell", "a\\cell", "ce\0ll", "x" * 300]
)
def test_names_that_are_none_of_a_file(tmp_path, name):
    written(tmp_path / "cell.swc")
    (tmp_path / "a").mkdir()
    with pytest.raises(SimulationError, match="is not a name of a file"):
        read_morphology(MorphologyFolders(swc=tmp_path / "a"), name)


def test_names_too_long_for_the_disk(tmp_path):
    with pytest.raises(SimulationError, match="cannot be looked for: .*too long"):
        read_morphology(MorphologyFolders(swc=tmp_path), "\u4e2d" * 200)


def test_no_places():
    with pytest.raises(
        SimulationError, match="'cell' is not there .looked for: no folder: components name none"
    ):
        read_morphology(MorphologyFolders(), "cell")


def test_a_file_that_changes_is_read_again(tmp_path):
    folders = MorphologyFolders(swc=tmp_path)
    path = text(tmp_path / "cell.swc", DENDRITE)
    first = read_morphology(folders, "cell")
    assert read_morphology(folders, "cell") is first
    text(path, DENDRITE.replace(" 10 ", " 20 "))
    os.utime(path, ns=(1, 1))
    assert read_morphology(folders, "cell").points[-1].tolist() == [20, 0, 0]


@pytest.mark.parametrize(
    ("soma", "radius"),
    [
        ("1 1 1 2 3 5 -1\n", 5),
        # three points as NeuroMorpho.org writes them
        ("1 1 0 0 0 5 -1\n2 1 0 -5 0 5 1\n3 1 0 5 0 5 1\n", 5),
        # a cylinder as long as wide has the surface of the sphere
        ("1 1 0 0 0 4 -1\n2 1 0 8 0 4 1\n", 4),
        ("", 0),
    ],
)
def test_radius_of_the_soma_in_swc(tmp_path, soma, radius):
    parent = 1 if soma else -1
    assert swc(tmp_path, soma + f"8 3 5 0 0 1 {parent}\n9 3 10 0 0 1 8\n").soma_radius == pytest.approx(
        radius, rel=1e-12
    )


def test_surface_of_a_soma_of_cylinders(tmp_path):
    radius = swc(tmp_path, "1 1 0 0 0 1 -1\n2 1 0 5 0 4 1\n3 1 0 9 0 2 2\n4 1 0 12 0 1 3\n").soma_radius
    surface = morphio.Morphology(str(tmp_path / "cell.swc")).soma.surface
    assert 4 * np.pi * radius**2 == pytest.approx(surface, rel=1e-6)


def test_radius_of_a_contour_is_the_mean_distance_from_its_centre(tmp_path):
    # a rhombus away from the origin, half axes 6 and 2
    text(tmp_path / "cell.asc", '("CellBody" (CellBody) (16 9 1 0) (10 11 1 0) (4 9 1 0) (10 7 1 0))')
    found = read_morphology(MorphologyFolders(asc=tmp_path), "cell")
    assert found.soma_radius == pytest.approx(4, rel=1e-12)
    assert (found.points.shape, found.section_offsets.tolist()) == ((0, 3), [0])


def test_soma_alone(tmp_path):
    found = swc(tmp_path, SOMA)
    assert found.points.shape == (0, 3)
    assert [len(a) for a in (found.diameters, found.section_types, found.parents)] == [0, 0, 0]
    assert (found.section_offsets.tolist(), found.soma_radius) == ([0], 5)


def test_sections_of_one_point(tmp_path):
    found = swc(tmp_path, SOMA + "2 3 5 0 0 1 1\n3 2 0 7 0 1 1\n4 2 0 9 0 1 3\n5 2 1 9 0 1 3\n")
    # the axon's first section ends where it branches
    assert found.section_types.tolist() == [BASAL, AXON, AXON, AXON]
    assert found.section_offsets.tolist() == [0, 1, 2, 4, 6]
    assert found.parents.tolist() == [-1, -1, 1, 1]


def test_points_that_are_the_same(tmp_path):
    found = swc(tmp_path, SOMA + "2 3 5 0 0 1 1\n3 3 5 0 0 1 2\n4 3 5 0 0 1 3\n")
    np.testing.assert_array_equal(found.points, [[5, 0, 0]] * 3)


def test_warnings_are_not_printed_and_stay_on_for_others(tmp_path, capfd):
    swc(tmp_path, "1 3 0 0 0 0 -1\n2 3 5 0 0 0 1\n")
    assert capfd.readouterr() == ("", "")
    morphio.Morphology(str(tmp_path / "cell.swc"))
    assert "warning" in capfd.readouterr().err.lower()


BROKEN = {
    "not a number": ("cell.swc", SOMA + "2 3 5 x 0 1 1\n", "cannot be read: cell.swc:2:error Unable to parse"),
    "NaN": ("cell.swc", SOMA + "2 3 nan 0 0 1 1\n", "Unable to parse"),
    "beyond float32": ("cell.swc", DENDRITE.replace(" 10 ", " 1e39 "), "a point or diameter is not a finite number"),
    "soma beyond float32": ("cell.swc", DENDRITE.replace(" 5 -1", " 1e39 -1"), "is not a finite number"),
    "negative radius": ("cell.swc", DENDRITE.replace(" 1 2", " -1 2"), "a diameter is negative"),
    "negative soma": ("cell.swc", DENDRITE.replace(" 5 -1", " -5 -1"), "a diameter is negative"),
    "no parent": ("cell.swc", SOMA + "2 3 5 0 0 1 9\n3 3 6 0 0 1 2\n", "refers to non-existant parent ID: 9"),
    "two somata": ("cell.swc", SOMA + "2 1 9 9 9 5 -1\n", "Multiple somata"),
    "custom type": ("cell.swc", DENDRITE.replace(" 3 5 0", " 5 5 0").replace(" 3 10 0", " 5 10 0"), "sections of type 5; known are 2 (axon), 3 (basal dendrite) and 4 (apical dendrite)"),
    "type 0": ("cell.swc", DENDRITE.replace(" 3 5 0", " 0 5 0").replace(" 3 10 0", " 0 10 0"), "sections of type 0"),
    "unknown type": ("cell.swc", SOMA + "2 99 5 0 0 1 1\n3 99 6 0 0 1 2\n", "Unsupported section type: 99"),
    "empty": ("cell.swc", "", "has neither a soma nor neurites"),
    "binary": ("cell.swc", "\x00\x01\x02", ""),
    "prose": ("cell.asc", "hello", "has neither a soma nor neurites"),
    "empty asc": ("cell.asc", "", "cannot be read"),
    "bracket": ("cell.asc", '("CellBody" (CellBody) (5 0 0', "cannot be read"),
    "contour of one point": ("cell.asc", '("CellBody" (CellBody) (0 0 0 8))', "only a single point"),
    "no HDF5": ("cell.h5", "hello", "Not an HDF5 file"),
    "no container": ("many.h5/", "hello", "is not HDF5, or is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files(tmp_path, file, content, message):
    path = text(tmp_path / file.rstrip("/"), content)
    folder = path if file.endswith("/") else tmp_path
    with pytest.raises(SimulationError) as error:
        read_morphology(
            MorphologyFolders(h5=folder) if path.suffix == ".h5" else MorphologyFolders(swc=folder), "cell"
        )
    said = str(error.value)
    assert str(path) in said
    assert message in said.replace(f"{tmp_path}{os.sep}", "")[len("morphology ") :]
    assert not {"\x1b", "\n"} & {*said}


def structure(offset, kind, parent):
    """Return a change of the last section of `SECTIONS` in a HDF5 file."""

    def change(file):
        file["structure"][-1] = [offset, kind, parent]

    return change


def dropped(name):
    def change(file):
        del file[name]

    return change


def not_finite(file):
    file["points"][-1] = np.nan


DAMAGE = {
    "NaN": (not_finite, "a point or diameter is not a finite number"),
    "type": (structure(13, 9, 0), "sections of type 9"),
    "unknown type": (structure(13, 99, 0), ""),
    "parent behind": (structure(13, 4, 99), ""),
    "its own parent": (structure(13, 4, 5), ""),
    "offset behind the points": (structure(99, 4, 0), ""),
    "no structure": (dropped("structure"), "Missing points or structure"),
    "no points": (dropped("points"), "Missing points or structure"),
}


@pytest.mark.parametrize("in_container", [False, True])
@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_hdf5(tmp_path, change, message, in_container):
    path = written(tmp_path / "cell.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    if in_container:
        path = container(tmp_path / "many.h5", path)
    with pytest.raises(SimulationError) as error:
        read_morphology(MorphologyFolders(h5=path if in_container else tmp_path), "cell")
    assert str(error.value).startswith(f"morphology {path}")
    assert message in str(error.value)


@st.composite
def trees(draw):
    """Draw sections in the order of a file: (type, parent, points of its own)."""
    sections = []
    number = st.integers(-4000, 4000).map(lambda k: k / 8)
    point = st.tuples(number, number, number)

    def grow(kind, parent, depth):
        sections.append((kind, parent, draw(st.lists(point, min_size=1, max_size=3))))
        here = len(sections) - 1
        for _ in range(draw(st.sampled_from([0, 2, 3])) if depth else 0):
            grow(kind, here, depth - 1)

    for kind in draw(st.lists(st.sampled_from([AXON, BASAL, APICAL]), max_size=4)):
        grow(kind, -1, 2)
    return sections


@given(sections=trees())
def test_swc_gives_what_was_written(tmp_path_factory, sections):
    folder = tmp_path_factory.getbasetemp() / "trees"
    lines, last_of = [SOMA.strip()], {-1: 1}
    for k, (kind, parent, points) in enumerate(sections):
        before = last_of[parent]
        for x, y, z in points:
            lines.append(f"{len(lines) + 1} {kind} {x} {y} {z} 0.5 {before}")
            before = len(lines)
        last_of[k] = before
    found = swc(folder, "\n".join(lines) + "\n")
    assert found.section_types.tolist() == [kind for kind, _, _ in sections]
    assert found.parents.tolist() == [parent for _, parent, _ in sections]
    assert len(found.points) == found.section_offsets[-1]
    for (begin, end), (_, parent, points) in zip(
        pairwise(found.section_offsets.tolist()), sections, strict=True
    ):
        before = [] if parent < 0 else sections[parent][2][-1:]
        # MorphIO does not repeat the parent's last point where the section has it as its first one already
        np.testing.assert_array_equal(
            found.points[begin:end], points if before == points[:1] else before + points
        )


LINES = st.lists(
    st.tuples(
        st.integers(-1, 6), st.integers(-1, 8), *[st.sampled_from([0, 1, -2.5, 1e30])] * 4, st.integers(-2, 6)
    ),
    max_size=6,
).map(lambda rows: "".join(" ".join(map(str, row)) + "\n" for row in rows))


@given(
    suffix=st.sampled_from([".swc", ".asc"]), content=LINES | st.text('()|"; \n1.e-CellBodyAxon', max_size=60)
)
def test_any_text_is_a_morphology_or_one_error(tmp_path_factory, suffix, content):
    folder = tmp_path_factory.getbasetemp() / "texts"
    text(folder / f"cell{suffix}", content)
    with suppress(SimulationError):
        found = read_morphology(MorphologyFolders(**{suffix[1:]: folder}), "cell")
        assert np.isfinite(found.points).all()
        assert (np.diff(found.section_offsets) > 0).all()


def test_a_soma_away_from_the_origin(tmp_path):
    (tmp_path / "far.swc").write_text("1 1 100 50 -20 5 -1\n2 3 100 55 -20 1 1\n3 3 100 90 -20 1 2\n")
    found = read_morphology(MorphologyFolders(swc=tmp_path), "far")
    assert found.soma_centre.tolist() == [100, 50, -20]
    moved = recentred(found)
    assert moved.points.tolist() == [[0, 5, 0], [0, 40, 0]]
    assert moved.soma_centre.tolist() == [0, 0, 0]
