"""Sections of a report found in a morphology; "defect n" is that of BlueRecording 0.2.1, which is not reproduced."""

import numpy as np
import pytest
from extracellular_cells import cell, runs
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.extracellular.compartments import cut
from ephysflow.extracellular.report_sections import SectionRuns
from ephysflow.extracellular.section_matching import cell_compartments, in_walking_order, numbered_sections
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL, MYELIN, SOMA

LENGTHS = [30.0, 30.0, 1000.0]
# sections 1, 2 and 3 of the axon, 4 and 5 basal, 6 apical; in a file they may come in any order
AXONS = [
    (AXON, -1, [[0, -5, 0], [0, -2000, 0]]),
    (AXON, 0, [[0, -2000, 0], [0, -2000, 70]]),
    (AXON, 0, [[0, -2000, 0], [0, -2000, -70]]),
]
BASALS = [(BASAL, -1, [[5, 0, 0], [45, 0, 0]], [4, 2]), (BASAL, -1, [[-5, 0, 0], [-25, 0, 0]])]
APICALS = [(APICAL, -1, [[0, 5, 0], [0, 65, 0]])]
CELL = cell(*AXONS, *BASALS, *APICALS)
WHOLE = {0: 1, 1: 3, 2: 3, 4: 2, 5: 1, 6: 3, 7: 5}


def replaced(morphology, sections, lengths=LENGTHS):
    found = sections if isinstance(sections, SectionRuns) else runs(sections)
    return cell_compartments(morphology, found, replace_axons=True, stub_lengths=lengths)


def kept(morphology, sections):
    return cell_compartments(morphology, runs(sections), replace_axons=False, stub_lengths=())


def line_of(compartments, section):
    """Return the end points of a section's compartments."""
    of = compartments.section_ids == section
    starts, ends = compartments.starts[of], compartments.ends[of]
    np.testing.assert_array_equal(starts[1:], ends[:-1])
    return np.concatenate([starts[:1], ends])


def test_a_cell_with_a_stub():
    found = replaced(CELL, WHOLE)
    np.testing.assert_array_equal(found.section_ids, np.repeat([*WHOLE], [*WHOLE.values()]))
    types = {section: found.section_types[found.section_ids == section][0] for section in WHOLE}
    assert types == {0: SOMA, 1: AXON, 2: AXON, 4: BASAL, 5: BASAL, 6: APICAL, 7: MYELIN}
    np.testing.assert_array_equal(line_of(found, 0), [[0, 0, 0], [0, 0, 0]])
    assert found.radii[0] == 5
    np.testing.assert_allclose(line_of(found, 1)[:, 1], [0, -10, -20, -30])
    np.testing.assert_allclose(line_of(found, 2)[:, 1], [-30, -40, -50, -60])
    np.testing.assert_allclose(line_of(found, 7)[:, 1], [-60, -260, -460, -660, -860, -1060])
    np.testing.assert_allclose(line_of(found, 4), [[5, 0, 0], [25, 0, 0], [45, 0, 0]])
    np.testing.assert_allclose(found.radii[found.section_ids == 4], [1.75, 1.25])
    np.testing.assert_allclose(line_of(found, 6)[:, 1], [5, 25, 45, 65])
    columns = [found.section_ids, found.section_types, found.starts, found.ends, found.radii]
    assert [len(column) for column in columns] == [18] * 5


def test_a_cell_with_its_axon():
    sections = {0: 2, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1}
    found = kept(CELL, sections)
    np.testing.assert_array_equal(found.section_types, [SOMA] * 2 + [AXON] * 4 + [BASAL] * 2 + [APICAL])
    np.testing.assert_array_equal(line_of(found, 2), [[0, -2000, 0], [0, -2000, 35], [0, -2000, 70]])
    np.testing.assert_array_equal(line_of(found, 0), np.zeros((3, 3)))


def test_pieces_of_other_lengths():
    found = replaced(CELL, {1: 1, 2: 1, 3: 1, 9: 1}, [10, 20, 40, 50])
    np.testing.assert_allclose(found.starts[:, 1], [0, -10, -30, -70])
    np.testing.assert_allclose(found.ends[:, 1], [-10, -30, -70, -120])
    np.testing.assert_array_equal(found.section_types, [AXON] * 3 + [MYELIN])


@pytest.mark.parametrize("kinds", [(2, 0, 1), (1, 2, 0), (0, 2, 1), (2, 1, 0), (1, 0, 2)])
def test_the_order_of_types_in_the_file_does_not_matter(kinds):
    groups = [AXONS, BASALS, APICALS]
    sections = []
    for kind in kinds:
        first = len(sections)
        sections += [(t, p if p < 0 else p + first, *rest) for t, p, *rest in groups[kind]]
    found, expected = replaced(cell(*sections), WHOLE), replaced(CELL, WHOLE)
    for name in ("section_ids", "section_types", "starts", "ends", "radii"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_defect_10_a_dendrite_after_the_axon_is_no_myelin():
    morphology = cell(BASALS[0], AXONS[0], BASALS[1])  # ids: axon 1, basal 2 and 3
    np.testing.assert_array_equal(numbered_sections(morphology), [1, 0, 2])
    found = replaced(morphology, {0: 1, 3: 1, 4: 1})
    np.testing.assert_array_equal(line_of(found, 3), [[-5, 0, 0], [-25, 0, 0]])
    np.testing.assert_allclose(line_of(found, 4), [[0, -60, 0], [0, -1060, 0]])


def test_defect_10_a_missing_section_does_not_shift_the_others():
    morphology = cell(*BASALS, *APICALS, *AXONS[:1])  # ids: axon 1, basal 2 and 3, apical 4
    whole, part = replaced(morphology, {0: 1, 1: 1, 2: 2, 3: 2, 4: 1}), replaced(morphology, {1: 1, 4: 1})
    np.testing.assert_array_equal(part.section_ids, [1, 4])
    np.testing.assert_array_equal(line_of(part, 4), line_of(whole, 4))
    np.testing.assert_array_equal(line_of(part, 4), [[0, 5, 0], [0, 65, 0]])


def test_defect_11_axons_that_are_not_replaced():
    dendrites_first = cell(*BASALS, *AXONS[:1])
    found = kept(dendrites_first, {0: 1, 1: 1, 2: 1, 3: 1})
    np.testing.assert_array_equal(line_of(found, 1), [[0, -5, 0], [0, -2000, 0]])
    np.testing.assert_array_equal(line_of(found, 3), [[-5, 0, 0], [-25, 0, 0]])
    with pytest.raises(
        SimulationError, match=r"section 9 is not in morphology 'made', which has 6 sections.*true"
    ):
        kept(CELL, {0: 1, 1: 1, 9: 1})


def test_defect_12_a_cell_that_is_only_a_soma():
    for morphology in (CELL, cell()):
        for found in (replaced(morphology, {0: 1}), kept(morphology, {0: 1})):
            np.testing.assert_array_equal(found.starts, [[0, 0, 0]])
            np.testing.assert_array_equal(found.ends, [[0, 0, 0]])
            np.testing.assert_array_equal(found.radii, [5])
    stub = replaced(cell(), {0: 1, 1: 1, 2: 1, 3: 1})
    np.testing.assert_array_equal(stub.section_types, [SOMA, AXON, AXON, MYELIN])
    np.testing.assert_allclose(stub.ends[:, 1], [0, -30, -60, -1060])


def test_defect_12_no_soma_and_sections_in_any_order():
    only = replaced(CELL, {1: 3})
    np.testing.assert_allclose(line_of(only, 1)[:, 1], [0, -10, -20, -30])
    mixed, whole = replaced(CELL, {7: 5, 5: 1, 4: 2, 2: 3}), replaced(CELL, WHOLE)
    for section in (7, 5, 4, 2):
        np.testing.assert_array_equal(line_of(mixed, section), line_of(whole, section))


def test_rows_come_in_the_order_in_which_neurodamus_walks_the_sections():
    # by type; within a type as in the report
    sections = runs({7: 1, 6: 2, 5: 1, 4: 1, 2: 1, 0: 1, 1: 1})
    found = replaced(CELL, sections)
    np.testing.assert_array_equal(found.section_ids, [0, 2, 1, 5, 4, 6, 6, 7])
    assert not in_walking_order(found, sections)
    assert in_walking_order(replaced(CELL, WHOLE), runs(WHOLE))
    # apical before basal in the file: ids are by type all the same, and so is the report
    swapped = cell(*AXONS, *APICALS, *BASALS)
    assert in_walking_order(replaced(swapped, WHOLE), runs(WHOLE))


def test_fewer_axon_sections_than_pieces():
    morphology = cell(AXONS[0], *BASALS)  # id 2 is the second piece or the first dendrite
    found = replaced(morphology, {0: 1, 1: 1, 2: 1, 3: 1, 5: 1})
    np.testing.assert_array_equal(found.section_types, [SOMA, AXON, AXON, BASAL, MYELIN])
    np.testing.assert_allclose(line_of(found, 2), [[0, -30, 0], [0, -60, 0]])
    np.testing.assert_array_equal(line_of(found, 3), [[-5, 0, 0], [-25, 0, 0]])
    # the same id again is the dendrite
    again = replaced(morphology, SectionRuns(np.array([0, 1, 2, 2, 3]), np.array([1, 1, 1, 1, 1])))
    np.testing.assert_array_equal(again.section_types, [SOMA, AXON, AXON, BASAL, BASAL])
    np.testing.assert_array_equal(again.ends[3], [45, 0, 0])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({0: 1, 3: 1}, r"section 3 is one of the 3 axon sections of morphology 'made'.*replace_axons: false"),
        ({0: 1, 7: 1, 9: 1}, r"sections 7 and 9 are not in morphology 'made', which has 6 sections"),
    ],
)
def test_sections_that_cannot_be(sections, message):
    with pytest.raises(SimulationError, match=message):
        replaced(CELL, sections)


@given(
    st.permutations(range(6)), st.permutations([1, 2, 3, 4, 5, 6]), st.lists(st.integers(1, 4), min_size=6)
)
def test_every_section_is_cut_by_itself(file_order, report_order, counts):
    """Roots of all types, in any order in the file and in the report."""
    lines = [(kind, [[k, 0, 0], [k, 7, k], [k, 9, 9]], [k + 1, 3, 2]) for k, kind in enumerate((2, 3, 4) * 2)]
    sections = [(lines[k][0], -1, lines[k][1], lines[k][2]) for k in file_order]
    by_type = [section for kind in (AXON, BASAL, APICAL) for section in sections if section[0] == kind]
    found = kept(cell(*sections), dict(zip(report_order, counts, strict=False)))
    for section, count in zip(report_order, counts, strict=False):
        kind, _, points, diameters = by_type[section - 1]
        ends, radii = cut(np.array(points, dtype=float), np.array(diameters, dtype=float), count)
        np.testing.assert_array_equal(line_of(found, section), ends)
        of = found.section_ids == section
        np.testing.assert_array_equal(found.radii[of], radii)
        assert (found.section_types[of] == kind).all()
    assert (np.diff(found.section_types.astype(int)) >= 0).all()
