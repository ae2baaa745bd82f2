"""How many compartments a section has, where no report says so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.extracellular.compartments import arc_length
from ephysflow.extracellular.morphologies import Morphology
from ephysflow.extracellular.report_sections import SectionRuns
from ephysflow.extracellular.section_matching import numbered_sections
from ephysflow.extracellular.section_types import AXON
from ephysflow.extracellular.stub_axon import part_of_path, stub_path, stub_windows


def discretise(
    morphology: Morphology, rule: Mapping[str, Any], *, replace_axons: bool, stub_lengths: Sequence[float]
) -> SectionRuns:
    """Return the sections of a cell and their numbers of compartments.

    Parameters
    ----------
    morphology : of the cell
    rule : ``rule`` and its settings, see `ephysflow.extracellular.settings.DISCRETISATION_SETTINGS`
    replace_axons, stub_lengths : as in `ephysflow.extracellular.section_matching.cell_compartments`

    Returns
    -------
    Ids as neurodamus gives them: 0 the soma, of one compartment; the pieces of the stub 1, 2, ...; sections by type;
    the myelin after all sections of the morphology
    """
    numbered = numbered_sections(morphology)
    kept = range(1, len(numbered) + 1)
    stubs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    if replace_axons:
        n_axon = int(np.count_nonzero(morphology.section_types == AXON))
        windows = stub_windows(stub_lengths)
        path = stub_path(morphology, windows[-1, 1])
        pieces = [part_of_path(*path, *window) for window in windows]
        stubs = {i + 1: piece for i, piece in enumerate(pieces[:-1])}
        # a dendrite whose id a piece of the stub has taken cannot be told from it
        kept = range(max(n_axon, len(stubs)) + 1, len(numbered) + 1)
        stubs[max(len(numbered), len(stubs)) + 1] = pieces[-1]
    lines = {0: None, **stubs}
    for section in kept:
        part = morphology.section(numbered[section - 1])
        lines[section] = morphology.points[part], morphology.diameters[part]
    ids = sorted(lines)
    counts = [1 if lines[s] is None else n_compartments(*lines[s], rule) for s in ids]
    return SectionRuns(np.array(ids, dtype=np.int64), np.array(counts, dtype=np.int64))


def n_compartments(points: np.ndarray, diameters: np.ndarray, rule: Mapping[str, Any]) -> int:
    """Return the number of compartments of a section.

    Parameters
    ----------
    points : (n, 3) um
    diameters : (n,) um
    rule : ``odd``: 1 + 2 int(L / length), as Blue Brain's templates; ``max_length``: the fewest that are no longer
        than length; ``d_lambda``: the odd number of Hines & Carnevale (2001), The Neuroscientist 7:123, as NEURON's
        ``stdlib.hoc`` has it: int((L / (d_lambda lambda_f) + 0.999) / 2) 2 + 1
    """
    arc = arc_length(points)
    length = float(arc[-1])
    if rule["rule"] == "odd":
        return 1 + 2 * int(length / rule["length"])
    if rule["rule"] == "max_length":
        return max(1, math.ceil(length / rule["length"]))
    if length == 0:
        return 1
    constant = length_constant(
        arc, diameters, rule["frequency"], rule["axial_resistivity"], rule["membrane_capacitance"]
    )
    return int((length / (rule["d_lambda"] * constant) + 0.999) / 2) * 2 + 1


def length_constant(
    arc: np.ndarray, diameters: np.ndarray, frequency: float, resistivity: float, capacitance: float
) -> float:
    """Return the length constant of a section for alternating current [um].

    Parameters
    ----------
    arc : (n,) length up to each point [um]
    diameters : (n,) um
    frequency : Hz
    resistivity : axial [ohm cm]
    capacitance : of the membrane [uF/cm2]

    Notes
    -----
    Hines & Carnevale (2001), The Neuroscientist 7:123; for diameters that vary as ``lambda_f`` in NEURON's
    ``stdlib.hoc``.
    """
    per_diameter = float((np.diff(arc) / np.sqrt(diameters[1:] + diameters[:-1])).sum())
    factor = math.sqrt(2) * 1e-5 * math.sqrt(4 * math.pi * frequency * resistivity * capacitance)
    return float(arc[-1]) / (per_diameter * factor)
