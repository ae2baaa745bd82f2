"""How many compartments a section has, where no report says so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.extracellular.compartments import arc_length
from ephysflow.extracellular.morphologies import Morphology
from ephysflow.extracellular.report_sections import SectionRuns
from ephysflow.extracellular.section_matching import numbered_sections
from ephysflow.extracellular.section_types import AXON
from ephysflow.extracellular.stub_axon import part_of_path, stub_path, stub_windows

Line = tuple[int, np.ndarray, np.ndarray, float | None]
"""Id, points, diameters and length of a section; None for the length of its points."""

MOST_COMPARTMENTS = 32767
"""Of one section; the limit of NEURON's nseg."""


def discretise(
    morphology: Morphology, rule: Mapping[str, Any], *, replace_axons: bool, stub_lengths: Sequence[float]
) -> SectionRuns:
    """Return the sections of a cell and their numbers of compartments.

    Parameters
    ----------
    morphology : of the cell
    rule : ``rule`` and its settings, see `ephysflow.extracellular.settings.DISCRETISATION_SETTINGS`; ``stub``: numbers
        for the pieces of the stub, the myelin last, where they do not follow the rule
    replace_axons, stub_lengths : as in `ephysflow.extracellular.section_matching.cell_compartments`

    Returns
    -------
    Ids as neurodamus gives them: 0 the soma, of one compartment; the pieces of the stub 1, 2, ...; sections by type;
    the myelin after all sections of the morphology. Where the morphology has fewer axon sections than the stub has
    pieces, ids of pieces come again as those of dendrites (see `cell_compartments`).

    Raises
    ------
    SimulationError
        if a section would have more compartments than a simulator can handle.
    """
    numbered = numbered_sections(morphology).tolist()
    parts = [morphology.section(k) for k in numbered]
    lines: list[Line] = [
        (s + 1, morphology.points[p], morphology.diameters[p], None) for s, p in enumerate(parts)
    ]
    if replace_axons:
        n_axon = int(np.count_nonzero(morphology.section_types == AXON))
        windows = stub_windows(stub_lengths)
        path = stub_path(morphology, windows[-1, 1])
        pieces = [part_of_path(*path, *window) for window in windows]
        myelin = max(len(numbered), len(pieces) - 1) + 1
        stub: list[Line] = [
            (s, *piece, length) for s, (piece, length) in enumerate(zip(pieces, stub_lengths, strict=True), 1)
        ]
        lines = [*stub[:-1], *lines[n_axon:], (myelin, *stub[-1][1:])]
    counts = [1]
    for section, points, diameters, length in lines:
        try:
            counts.append(n_compartments(points, diameters, rule, length))
        except ValueError as error:
            raise SimulationError(f"section {section} of morphology {morphology.name!r}: {error}") from None
    if replace_axons and rule.get("stub"):
        *pieces_of_axon, of_myelin = rule["stub"]
        counts[1 : len(pieces_of_axon) + 1], counts[-1] = pieces_of_axon, of_myelin
    return SectionRuns(np.array([0, *(s for s, *_ in lines)], np.int64), np.array(counts, np.int64))


def n_compartments(
    points: np.ndarray, diameters: np.ndarray, rule: Mapping[str, Any], length: float | None = None
) -> int:
    """Return the number of compartments of a section.

    Parameters
    ----------
    points : (n, 3) um
    diameters : (n,) um
    rule : ``odd``: 1 + 2 int(L / length), as Blue Brain's templates; ``max_length``: the fewest that are no longer
        than length; ``d_lambda``: the odd number of Hines & Carnevale (2001), The Neuroscientist 7:123, as NEURON's
        ``stdlib.hoc`` has it: int((L / (d_lambda lambda_f) + 0.999) / 2) 2 + 1
    length : of the section [um], where it is known better than from its points; None where it is not

    Raises
    ------
    ValueError
        if that is more than `MOST_COMPARTMENTS`, as where diameters are 0.
    """
    arc = arc_length(points)
    length = float(arc[-1]) if length is None else length
    if length == 0:
        return 1
    if rule["rule"] == "d_lambda":
        constant = length_constant(
            arc, diameters, rule["frequency"], rule["axial_resistivity"], rule["membrane_capacitance"]
        )
        longest = rule["d_lambda"] * constant
    else:
        longest = rule["length"]
    too_many = MOST_COMPARTMENTS + 1
    ratio = min(length / longest, too_many) if longest > 0 else too_many
    if rule["rule"] == "odd":
        count = 1 + 2 * int(ratio)
    elif rule["rule"] == "max_length":
        count = math.ceil(ratio)
    else:
        count = int((ratio + 0.999) / 2) * 2 + 1
    if count > MOST_COMPARTMENTS:
        raise ValueError(
            f"rule {rule['rule']} cuts its {length:.6g} um into more than {MOST_COMPARTMENTS} pieces"
        )
    return count


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
    ``stdlib.hoc``. It is 0 where a piece has no diameter.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        per_diameter = float(np.nansum(np.diff(arc) / np.sqrt(diameters[1:] + diameters[:-1])))
    factor = math.sqrt(2) * 1e-5 * math.sqrt(4 * math.pi * frequency * resistivity * capacitance)
    return float(arc[-1]) / (per_diameter * factor)
