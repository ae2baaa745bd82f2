"""Writes the files of the example's column: nodes, morphologies and a compartment report of one step.

Its configurations and electrode tables are in ``config/example_extracellular``.
"""

from pathlib import Path

import numpy as np

from ephysflow.example.column import POPULATION, SIZE, node_properties
from ephysflow.example.morphologies import example_morphologies, report_sections, swc_text
from ephysflow.example.sonata_files import write_nodes, write_report
from ephysflow.io.atomic import write_text

RESTING = -65.0
"""Membrane potential of the report [mV]; nobody reads it."""


def write_example_column(folder: Path) -> None:
    """Write ``nodes.h5``, ``compartments.h5`` and ``morphologies/*.swc``, the same at every call.

    Parameters
    ----------
    folder : made if needed
    """
    cells = example_morphologies()
    for name, cell in cells.items():
        write_text(folder / "morphologies" / f"{name}.swc", swc_text(cell))
    properties = node_properties()
    write_nodes(folder / "nodes.h5", POPULATION, properties)
    sections = {name: report_sections(cell) for name, cell in cells.items()}
    elements = [np.repeat(list(sections[m]), list(sections[m].values())) for m in properties["morphology"]]
    values = np.full((2, sum(map(len, elements))), RESTING)
    write_report(folder / "compartments.h5", POPULATION, values, np.arange(SIZE), elements, (0.0, 0.2, 0.1))
