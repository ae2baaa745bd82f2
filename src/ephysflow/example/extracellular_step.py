"""The step ``example_extracellular``."""

from pathlib import Path

from ephysflow.example.extracellular_files import write_example_extracellular
from ephysflow.example.files import EXTRACELLULAR_FOLDER
from ephysflow.job import Job


def example_extracellular(job: Job) -> None:
    """Write the circuit of stage extracellular's example below the folder of example data."""
    folder = Path(job.settings["folder"]) / EXTRACELLULAR_FOLDER
    write_example_extracellular(folder)
    print(f"circuit with morphologies and a report: {folder}")
