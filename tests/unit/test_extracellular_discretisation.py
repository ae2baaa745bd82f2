"""Numbers of compartments without a report; the rule d_lambda against NEURON's own."""

import numpy as np
import pytest
from extracellular_cells import cell
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.extracellular.compartments import arc_length
from ephysflow.extracellular.discretisation import discretise, length_constant, n_compartments
from ephysflow.extracellular.section_matching import cell_compartments, in_walking_order
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL, MYELIN, SOMA
from ephysflow.extracellular.settings import DISCRETISATION_SETTINGS

ODD = {"rule": "odd", "length": 40.0}
D_LAMBDA = {"rule": "d_lambda", **DISCRETISATION_SETTINGS["d_lambda"]}
LENGTHS = [30.0, 30.0, 1000.0]
AXONS = [(AXON, -1, [[0, -5, 0], [0, -85, 0]]), (AXON, 0, [[0, -85, 0], [0, -285, 0]])]
DENDRITES = [
    (BASAL, -1, [[5, 0, 0], [44.9, 0, 0]]),
    (BASAL, -1, [[-5, 0, 0], [-85, 0, 0]]),
    (APICAL, -1, [[0, 5, 0], [0, 205, 0]]),
]


def straight(length):
    return np.array([[0.0, 0, 0], [0, 0, length]]), np.ones(2)


@pytest.mark.parametrize(
    ("length", "odd", "max_length"),
    [(0, 1, 1), (1, 1, 1), (39.5, 1, 1), (40, 3, 1), (40.5, 3, 2), (79.5, 3, 2), (80, 5, 2), (1000, 51, 25)],
)
def test_rules_by_length(length, odd, max_length):
    assert n_compartments(*straight(length), ODD) == odd
    assert n_compartments(*straight(length), {"rule": "max_length", "length": 40.0}) == max_length


def test_length_constant_of_a_cylinder():
    # Hines & Carnevale (2001): lambda_f = 1/2 sqrt(d / (pi f Ra Cm)), here with d in cm, Cm in F/cm2
    diameter, frequency, resistivity, capacitance = 2.5, 100.0, 180.0, 0.9
    expected = 1e4 * 0.5 * np.sqrt(diameter * 1e-4 / (np.pi * frequency * resistivity * capacitance * 1e-6))
    got = length_constant(np.array([0.0, 300]), np.full(2, diameter), frequency, resistivity, capacitance)
    assert got == pytest.approx(expected, rel=1e-12)


def neuron_section(h, points, diameters, resistivity, capacitance):
    section = h.Section(name="made")
    for point, diameter in zip(points, diameters, strict=True):
        section.pt3dadd(*map(float, point), float(diameter))
    section.Ra, section.cm = resistivity, capacitance
    return section


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(-200, 200).map(float)] * 3, st.floats(0.25, 6)),
        min_size=2,
        max_size=8,
        unique=True,
    ),
    st.floats(20, 400),
    st.floats(0.5, 3),
    st.sampled_from([50.0, 100.0, 1000.0]),
    st.sampled_from([0.03, 0.1, 0.3]),
)
def test_d_lambda_is_that_of_neuron(rows, resistivity, capacitance, frequency, d_lambda):
    h = pytest.importorskip("neuron").h
    h.load_file("stdlib.hoc")
    points, diameters = np.array(rows)[:, :3], np.array(rows)[:, 3]
    arc = arc_length(points)
    if arc[-1] == 0:
        return
    section = neuron_section(h, points, diameters, resistivity, capacitance)
    expected = h.lambda_f(frequency, sec=section)
    got = length_constant(arc, diameters, frequency, resistivity, capacitance)
    assert got == pytest.approx(expected, rel=1e-5)  # NEURON keeps 3-D points as float32
    rule = {
        "rule": "d_lambda",
        "d_lambda": d_lambda,
        "frequency": frequency,
        "axial_resistivity": resistivity,
        "membrane_capacitance": capacitance,
    }
    exact = section.L / (d_lambda * expected) + 0.999
    if abs(exact / 2 - round(exact / 2)) > 1e-4:  # elsewhere rounding decides
        # the formula of the paper, as users of NEURON write it, run by NEURON
        h(f"lambda_of_test = {expected!r}\nL_of_test = {section.L!r}\nd_of_test = {d_lambda}")
        h("nseg_of_test = int((L_of_test/(d_of_test*lambda_of_test)+0.999)/2)*2 + 1")
        assert n_compartments(points, diameters, rule) == h.nseg_of_test


def test_repeated_points_do_not_matter_to_d_lambda():
    points, diameters = np.array([[0.0, 0, 0], [0, 0, 0], [300, 0, 0], [300, 0, 0]]), np.array([0.0, 0, 1, 1])
    expected = n_compartments(points[1:3], diameters[1:3], D_LAMBDA)
    assert n_compartments(points, diameters, D_LAMBDA) == expected
    assert n_compartments(points[:2], diameters[:2], D_LAMBDA) == 1


def of(morphology, rule=ODD, replace_axons=True):
    found = discretise(morphology, rule, replace_axons=replace_axons, stub_lengths=LENGTHS)
    return list(zip(found.ids.tolist(), found.counts.tolist(), strict=True))


def test_ids():
    morphology = cell(*DENDRITES, *((t, p + 3 * (p >= 0), x) for t, p, x in AXONS))
    stub = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 5), (5, 11), (6, 51)]
    assert of(morphology) == stub
    assert of(morphology, replace_axons=False) == [(0, 1), (1, 5), (2, 11), (3, 1), (4, 5), (5, 11)]


def test_ids_of_an_axon_of_many_sections():
    axon = [(AXON, -1, [[0, -k, 0], [0, -k, 50]]) for k in range(5)]
    assert of(cell(*axon, *DENDRITES)) == [(0, 1), (1, 1), (2, 1), (6, 1), (7, 5), (8, 11), (9, 51)]


@pytest.mark.parametrize("n_axon", [0, 1, 2])
def test_no_dendrite_is_lost_where_the_stub_has_more_pieces_than_the_axon_sections(n_axon):
    morphology = cell(*AXONS[:n_axon], *DENDRITES)
    found = discretise(morphology, ODD, replace_axons=True, stub_lengths=LENGTHS)
    cut = cell_compartments(morphology, found, replace_axons=True, stub_lengths=LENGTHS)
    types = [SOMA, AXON, AXON, *[BASAL] * 6, *[APICAL] * 11, *[MYELIN] * 51]
    np.testing.assert_array_equal(cut.section_types, types)
    assert in_walking_order(cut, found)
    for kind, _, line in DENDRITES:
        rows = cut.section_types == kind
        assert (cut.starts[rows] == line[0]).all(axis=1).any()
        assert (cut.ends[rows] == line[1]).all(axis=1).any()


def test_cells_without_neurites():
    assert of(cell()) == [(0, 1), (1, 1), (2, 1), (3, 51)]
    assert of(cell(), replace_axons=False) == [(0, 1)]


@pytest.mark.parametrize(
    ("rule", "diameter"),
    [
        ({"rule": "odd", "length": 1e-6}, 1),
        ({"rule": "max_length", "length": 1e-300}, 1),
        ({**D_LAMBDA, "d_lambda": 1e-9}, 1),
        (D_LAMBDA, 0),
    ],
)
def test_more_compartments_than_a_simulator_can_have(rule, diameter):
    morphology = cell((BASAL, -1, [[5, 0, 0], [44.9, 0, 0]], diameter))
    with pytest.raises(
        SimulationError, match=r"section 1 of morphology 'made': rule .* more than 32767 pieces"
    ):
        discretise(morphology, rule, replace_axons=False, stub_lengths=())
