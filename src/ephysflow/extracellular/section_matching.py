"""From the section ids of a report to polylines: sections of the morphology, or pieces of a stub axon."""

from collections.abc import Callable, Sequence

import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.extracellular.compartments import Compartments, cut
from ephysflow.extracellular.morphologies import Morphology
from ephysflow.extracellular.report_sections import SectionRuns
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL, MYELIN, SOMA
from ephysflow.extracellular.stub_axon import part_of_path, stub_path, stub_windows

Line = tuple[int, np.ndarray, np.ndarray]
"""Type, points (n, 3) and diameters (n,) of a section [um]."""


def numbered_sections(morphology: Morphology) -> np.ndarray:
    """Return (S,) the sections of a morphology in the order of their ids: that of id s is entry s - 1.

    neurodamus counts axon, basal and apical sections, each in the order of the file; the soma has id 0. The sections
    of an axon that the template replaces keep their ids, which no section has any more.
    """
    types = morphology.section_types
    return np.concatenate([np.flatnonzero(types == kind) for kind in (AXON, BASAL, APICAL)])


def cell_compartments(
    morphology: Morphology, sections: SectionRuns, *, replace_axons: bool, stub_lengths: Sequence[float]
) -> Compartments:
    """Return the compartments of a cell in local coordinates.

    Parameters
    ----------
    morphology : of the cell
    sections : ids and numbers of compartments, in any order
    replace_axons : the axon is a stub: ids 1, 2, ... are its pieces, ids beyond the sections of the morphology its
        myelin
    stub_lengths : lengths of the pieces of the stub, the myelin last [um]

    Returns
    -------
    Rows in the order in which neurodamus walks the sections: by type (`ephysflow.extracellular.section_types`), in the
    order of `sections` within a type

    Raises
    ------
    SimulationError
        if a section is none of the morphology's, or more than one comes after all of them, where only the myelin may.

    Notes
    -----
    Where the morphology has fewer axon sections than the stub has pieces, an id may mean a piece or a dendrite: where
    it comes first it is the piece (as in BlueRecording), where it comes again the dendrite. neurodamus 4.2 writes no
    reports of such cells.
    """
    line_of = _lines(morphology, sections.ids, replace_axons, stub_lengths)
    ids = sections.ids.tolist()
    seen: set[int] = set()
    lines = []
    for section in ids:
        lines.append(line_of(section, section in seen))
        seen.add(section)
    counts = sections.counts.tolist()
    parts = []
    for i in sorted(range(len(lines)), key=lambda i: lines[i][0]):
        kind, points, diameters = lines[i]
        ends, radii = cut(points, diameters, counts[i])
        parts.append((ids[i], kind, ends[:-1], ends[1:], radii))
    n = [len(radii) for *_, radii in parts]
    return Compartments(
        np.repeat([part[0] for part in parts], n).astype(np.int64),
        np.repeat([part[1] for part in parts], n).astype(np.uint8),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
        np.concatenate([part[4] for part in parts]),
    )


def in_walking_order(cell: Compartments, sections: SectionRuns) -> bool:
    """Return whether the rows of a cell are in the order of the report."""
    return np.array_equal(cell.section_ids, np.repeat(sections.ids, sections.counts))


def _lines(
    morphology: Morphology, ids: np.ndarray, replace_axons: bool, stub_lengths: Sequence[float]
) -> Callable[[int, bool], Line]:
    """Return what gives the line of a section by its id and whether the id came before; all ids are checked."""
    numbered = numbered_sections(morphology)
    n_axon = int(np.count_nonzero(morphology.section_types == AXON))
    n_stubs = len(stub_lengths) - 1 if replace_axons else 0
    beyond = ids[ids > max(len(numbered), n_stubs)].tolist()
    if replace_axons:
        removed = [section for section in ids.tolist() if n_stubs < section <= n_axon]
        if removed:
            raise SimulationError(
                f"section {removed[0]} is one of the {n_axon} axon sections of morphology {morphology.name!r}, which "
                "replace_axons says are gone; set replace_axons: false if the simulator keeps axons"
            )
        if len(beyond) > 1:
            raise SimulationError(
                f"sections {beyond[0]} and {beyond[1]} are not in morphology {morphology.name!r}, which has "
                f"{len(numbered)} sections; only one, the myelin, may have an id beyond them"
            )
        windows = stub_windows(stub_lengths)
        path = stub_path(morphology, windows[-1, 1])
    elif beyond:
        raise SimulationError(
            f"section {beyond[0]} is not in morphology {morphology.name!r}, which has {len(numbered)} sections; "
            "set replace_axons: true if the simulator replaces axons by stubs"
        )
    soma = np.zeros((1, 3)), np.array([2 * morphology.soma_radius])

    def line(section: int, again: bool) -> Line:
        if section == 0:
            return (SOMA, *soma)
        if section <= n_stubs and not (again and section > n_axon):
            return (AXON, *part_of_path(*path, *windows[section - 1]))
        if section > len(numbered):
            return (MYELIN, *part_of_path(*path, *windows[-1]))
        k = numbered[section - 1]
        part = morphology.section(k)
        return int(morphology.section_types[k]), morphology.points[part], morphology.diameters[part]

    return line
