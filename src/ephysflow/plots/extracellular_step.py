"""The step ``plot_weights``: positions and a weights file in, figures out; a sample of the rows is read."""

from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from matplotlib.figure import Figure

from ephysflow import paths
from ephysflow.extracellular.coefficients import midpoints
from ephysflow.extracellular.compartments import Compartments
from ephysflow.extracellular.positions_file import PositionsFiles, open_positions
from ephysflow.extracellular.weights_file import WeightsFile, open_weights
from ephysflow.job import Job
from ephysflow.plots.extracellular import cell_figure, distance_figure, place_figure
from ephysflow.plots.pages import write_pages

SOMATA = 5_000
ROWS = 2_000
ELECTRODES = 7
"""Most that are drawn."""


def plot_weights(job: Job) -> None:
    """Draw probe and somata, coefficients against distance, and one cell; for each population."""
    item = job.settings
    where = (job.results, item["circuit"])
    files = [paths.positions(*where, chunk) for chunk in item["chunks"]]
    with open_positions(files) as positions, open_weights(paths.weights(*where, item["weights"])) as weights:
        pages = (page for name in positions.names for page in _pages(name, positions, weights))
        write_pages(paths.circuit_plot(*where, item["weights"]), pages, "there are no compartments")
