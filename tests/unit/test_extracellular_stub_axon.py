"""The stub in the place of an axon; "defect n" is that of BlueRecording 0.2.1, which is not reproduced."""

from itertools import pairwise

import numpy as np
import pytest
from extracellular_cells import cell, place_along, random_rotation
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.extracellular.compartments import arc_length, cut
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL
from ephysflow.extracellular.stub_axon import part_of_path, stub_path, stub_windows

LENGTHS = [30.0, 30.0, 1000.0]


def stub(morphology, lengths=LENGTHS):
    """Return (points, diameters) of each piece."""
    windows = stub_windows(lengths)
    path = stub_path(morphology, windows[-1, 1])
    return [part_of_path(*path, *window) for window in windows]


def ends(morphology, lengths=LENGTHS):
    """Return the end points of the pieces, from the soma on."""
    pieces = stub(morphology, lengths)
    return np.array([pieces[0][0][0], *(points[-1] for points, _ in pieces)])


def test_defect_4_the_stub_begins_at_the_soma():
    # few points in each piece, and coordinates that fall along the axon: sorting them turns it round
    axon = [[-3, -4, 0], [-103, -4, 0], [-203, -104, 0], [-203, -104, -2000]]
    np.testing.assert_allclose(
        ends(cell((AXON, -1, axon)))[:3], [[0, 0, 0], [-28, -4, 0], [-58, -4, 0]], atol=1e-12
    )


def test_defect_5_the_longest_branch_where_none_is_long_enough():
    trunk, twig = [[0, -5, 0], [0, -500, 0]], [[5, 0, 0], [20, 0, 0]]
    for axons in ([trunk, twig], [twig, trunk]):
        morphology = cell(*((AXON, -1, axon) for axon in axons))
        expected = [[0, 0, 0], [0, -30, 0], [0, -60, 0], [0, -1060, 0]]
        np.testing.assert_allclose(ends(morphology), expected, atol=1e-9)


def test_defect_6_a_bent_axon_is_followed_round_its_bend():
    axon = [[0, -20, 0], [1200, -20, 0]]
    pieces = stub(cell((AXON, -1, axon)))
    np.testing.assert_array_equal(pieces[0][0], [[0, 0, 0], [0, -20, 0], [10, -20, 0]])
    np.testing.assert_array_equal(pieces[1][0], [[10, -20, 0], [40, -20, 0]])
    np.testing.assert_array_equal(pieces[2][0], [[40, -20, 0], [1040, -20, 0]])
    np.testing.assert_allclose(cut(*pieces[0], 3)[0], [[0, 0, 0], [0, -10, 0], [0, -20, 0], [10, -20, 0]])


def test_the_first_branch_that_is_long_enough():
    # leaves in the order of the file: 700 um, 1060 um (not longer than the stub), 1100 um, 3000 um
    sections = [[[0, -10 * k, 0], [0, -10 * k, z]] for k, z in ((1, 690), (2, 1040), (3, 1070), (4, 2960))]
    morphology = cell(*((AXON, -1, points) for points in sections))
    np.testing.assert_allclose(ends(morphology)[-1], [0, -30, 1030], atol=1e-12)
    # 1 um more, and only the last one is
    np.testing.assert_allclose(ends(morphology, [30, 30, 1041])[-1], [0, -40, 1061], atol=1e-12)
    # of branches of the same length the first one
    twins = cell((AXON, -1, [[1, 0, 0], [9, 0, 0]]), (AXON, -1, [[0, 1, 0], [0, 9, 0]]))
    np.testing.assert_allclose(ends(twins, [5, 5])[-1], [10, 0, 0], atol=1e-12)


def test_the_length_of_a_branch_counts_from_the_soma_with_its_gaps():
    # from the soma 100 um to the root, and 300 um from its end to the child; the other one is 450 um long
    gaps = [(AXON, -1, [[100, 0, 0], [110, 0, 0]]), (AXON, 0, [[410, 0, 0], [460, 0, 0]])]
    morphology = cell((AXON, -1, [[0, 0, 0], [0, 450, 0]]), *((k, p + (p >= 0), x) for k, p, x in gaps))
    np.testing.assert_allclose(ends(morphology, [400, 55])[1:], [[400, 0, 0], [455, 0, 0]], atol=1e-12)


def test_a_branch_of_several_sections():
    morphology = cell(
        (BASAL, -1, [[5, 0, 0], [2000, 0, 0]]),
        (AXON, -1, [[0, -5, 0], [0, -45, 0]]),
        (AXON, 1, [[0, -45, 0], [200, -45, 0]]),
        (AXON, 1, [[0, -45, 0], [0, -100, 0]]),
        (AXON, 3, [[0, -100, 0], [0, -100, 1000]]),
        (APICAL, -1, [[0, 5, 0], [0, 3000, 0]]),
    )
    np.testing.assert_allclose(
        ends(morphology), [[0, 0, 0], [0, -30, 0], [0, -60, 0], [0, -100, 960]], atol=1e-12
    )


def test_an_axon_that_begins_on_a_dendrite():
    morphology = cell(
        (BASAL, -1, [[0, -5, 0], [0, -50, 0]]),
        (AXON, -1, [[5, 0, 0], [60, 0, 0]]),
        (AXON, 0, [[0, -50, 0], [40, -50, 0]]),  # 40 um of its own, 90 um from the soma
    )
    np.testing.assert_allclose(ends(morphology, [40, 40]), [[0, 0, 0], [0, -40, 0], [30, -50, 0]], atol=1e-12)


def test_a_short_axon_goes_on_in_its_last_direction():
    tip = [[0, -5, 0], [0, -45, 0], [20, -60, 0]]
    for axon in (tip, [*tip, tip[-1], tip[-1]]):
        pieces = stub(cell((AXON, -1, axon, [4, 2, *[1] * (len(axon) - 2)])))
        np.testing.assert_allclose(pieces[1][0], [[0, -30, 0], [0, -45, 0], [12, -54, 0]], atol=1e-12)
        np.testing.assert_allclose(pieces[2][0][-1], [812, -654, 0], rtol=1e-12)
        assert pieces[2][1][-1] == 1
        assert arc_length(pieces[2][0])[-1] == pytest.approx(1000, rel=1e-14)


@pytest.mark.parametrize(
    ("sections", "direction"),
    [
        ([], (0, -1, 0)),
        ([(BASAL, -1, [[0, 0, 0], [0, 0, 0]])], (0, -1, 0)),
        ([(BASAL, -1, [[3, 0, 0], [3, 0, 0]])], (-1, 0, 0)),
        ([(BASAL, -1, [[3, 0, 0], [3, 0, 0]]), (APICAL, -1, [[0, 0, 2], [0, 0, 4]])], (0, 0, -1)),
    ],
)
def test_no_axon(sections, direction):
    pieces = stub(cell(*sections))
    expected = np.outer([0, 30, 60, 1060], direction)
    np.testing.assert_allclose(ends(cell(*sections)), expected, atol=1e-12)
    assert all((diameters == 1).all() for _, diameters in pieces)


def test_an_axon_without_length():
    pieces = stub(cell((APICAL, -1, [[0, 0, 2], [0, 0, 4]]), (AXON, -1, [[0, 0, 0], [0, 0, 0]], 0.5)))
    np.testing.assert_allclose(pieces[-1][0][-1], [0, 0, -1060], atol=1e-12)
    assert all((diameters == 0.5).all() for _, diameters in pieces)


def test_diameters():
    # 2 um up to the first point at 10 um, then down to 1 um at 110 um
    (_, first), (_, second), _ = stub(cell((AXON, -1, [[0, 0, 10], [0, 0, 110], [0, 0, 2000]], [2, 1, 1])))
    np.testing.assert_allclose(first, [2, 2, 1.8], rtol=1e-14)
    np.testing.assert_allclose(second, [1.8, 1.5], rtol=1e-14)


def test_windows():
    np.testing.assert_array_equal(stub_windows(LENGTHS), [[0, 30], [30, 60], [60, 1060]])
    np.testing.assert_array_equal(stub_windows([1.5]), [[0, 1.5]])


def test_an_axon_of_very_many_sections():
    n = 5000
    sections = [(AXON, k - 1, [[0, -k / 8, 0], [0, -(k + 1) / 8, 0]]) for k in range(n)]
    np.testing.assert_allclose(ends(cell(*sections)), [[0, 0, 0], [0, -30, 0], [0, -60, 0], [0, -1060, 0]])


@st.composite
def axons(draw):
    """Return a morphology with a branched axon on a lattice, and its branches as lists of points from the soma."""
    coordinates = st.tuples(*[st.integers(-20, 20)] * 3).map(list)
    sections, paths = [], []
    for k in range(draw(st.integers(1, 6))):
        parent = draw(st.integers(-1, k - 1))
        points = draw(st.lists(coordinates, min_size=1, max_size=5))
        if parent >= 0:
            points = [sections[parent][2][-1], *points]
        sections.append((AXON, parent, points))
        paths.append([*(paths[parent] if parent >= 0 else [[0, 0, 0]]), *points])
    parents = {parent for _, parent, _ in sections}
    return sections, [path for k, path in enumerate(paths) if k not in parents]


@given(axons(), st.lists(st.floats(0.5, 100), min_size=2, max_size=4), st.integers(0, 1000))
def test_the_pieces_follow_the_branch_and_meet(tree, lengths, seed):
    sections, branches = tree
    morphology = cell(*sections)
    pieces = stub(morphology, lengths)
    for (before, _), (after, _) in pairwise(pieces):
        np.testing.assert_array_equal(before[-1], after[0])
    np.testing.assert_array_equal(pieces[0][0][0], [0, 0, 0])
    np.testing.assert_allclose([arc_length(points)[-1] for points, _ in pieces], lengths, atol=1e-9)

    reach = [sum(np.linalg.norm(np.diff(path, axis=0), axis=1)) for path in branches]
    total = sum(lengths)
    # a branch whose length is the total, or that of another one, up to rounding: which is taken is no matter here
    longest = max(reach)
    path = next(
        (p for p, r in zip(branches, reach, strict=True) if r > total), branches[reach.index(longest)]
    )
    unclear = [abs(r - total) < 1e-6 or 0 < abs(r - longest) < 1e-6 for r in reach]
    if not any(unclear) and longest > 0:
        at = np.concatenate([[0], np.cumsum(lengths)])
        within = at <= arc_length(np.array(path, dtype=float))[-1]
        expected = [place_along(path, distance) for distance in at[within]]
        np.testing.assert_allclose(ends(morphology, lengths)[within], expected, atol=1e-9)

        rotation = random_rotation(seed)
        turned = cell(*((kind, parent, np.array(p) @ rotation.T) for kind, parent, p in sections))
        if len({round(r, 6) for r in reach}) == len(reach):
            np.testing.assert_allclose(
                ends(turned, lengths), ends(morphology, lengths) @ rotation.T, atol=1e-6
            )


def test_steps_as_short_as_rounding_give_no_direction():
    axon = [[0, -5, 0], [0, -45, 0], [1e-5, -45, 0], [1e-5, -45, 1e-5], [0, -45, 0]]
    np.testing.assert_allclose(ends(cell((AXON, -1, axon)))[-1], [0, -1060, 0], atol=1e-3)
    tip = ends(cell((AXON, -1, [[0, 1e-6, 0], [0, 0, 1e-6], [0, 0, 0]])))[-1]
    assert np.linalg.norm(tip) == pytest.approx(1060)
