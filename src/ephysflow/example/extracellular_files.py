"""Writes the files of stage extracellular's example; its configurations are in ``config/example_extracellular``."""

from pathlib import Path

import numpy as np

from ephysflow.example.column import POPULATION, node_properties
from ephysflow.example.morphologies import Morphology, example_morphologies, swc
from ephysflow.example.sonata_files import write_nodes, write_report
from ephysflow.extracellular.section_types import APICAL, AXON, BASAL
from ephysflow.io.atomic import write_text

REPORT_STEP, N_FRAMES = 0.1, 2
"""Interval of the report [ms]; its frames, as after a run of one step."""

RESTING = -65.0
"""Membrane potential [mV]."""

STUBS = (30.0, 30.0)
MYELIN = 1000.0
"""Lengths of what neurodamus puts in the place of an axon [um]."""


def write_example_extracellular(folder: Path) -> None:
    """Write the morphologies and nodes of the circuit, and a compartment report of all its cells.

    All values are the same at every call; so are the bytes, with the same version of h5py.

    Parameters
    ----------
    folder : gets ``nodes.h5``, ``compartments.h5`` and ``morphologies/*.swc``; made if needed, every file appears in
        it when it is complete
    """
    morphologies = example_morphologies()
    for name, morphology in morphologies.items():
        write_text(folder / "morphologies" / f"{name}.swc", swc(morphology))
    properties = node_properties()
    write_nodes(folder / "nodes.h5", POPULATION, properties)
    columns = {name: _section_ids(morphology) for name, morphology in morphologies.items()}
    elements = [columns[name] for name in properties["morphology"]]
    potentials = np.full((N_FRAMES, sum(map(len, elements))), RESTING)
    time = (0.0, N_FRAMES * REPORT_STEP, REPORT_STEP)
    write_report(
        folder / "compartments.h5", POPULATION, np.arange(len(elements)), elements, potentials, time
    )


def _section_ids(morphology: Morphology) -> np.ndarray:
    """Return the section of each compartment of a cell, as neurodamus reports it after it has replaced the axon.

    Axon, basal and apical sections are counted from 1 in this order. The pieces of the stub have the first ids, the
    myelin the one after all; other ids of axon sections are gone. A soma without neurites stays as it is.
    """
    counts = {0: 1}
    kinds = [section.kind for section in morphology.sections]
    if kinds:
        counts |= {i: _compartments(length) for i, length in enumerate(STUBS, start=1)}
        dendrites = [s for kind in (BASAL, APICAL) for s in morphology.sections if s.kind == kind]
        first = kinds.count(AXON) + 1
        counts |= {i: _compartments(s.length) for i, s in enumerate(dendrites, start=first)}
        counts[len(kinds) + 1] = _compartments(MYELIN)
    return np.repeat([*counts], [*counts.values()])


def _compartments(length: float) -> int:
    """Return the number of compartments of a section: pieces shorter than 40 um, an odd number."""
    return 1 + 2 * int(length / 40)
