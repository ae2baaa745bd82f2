"""The step ``example_extracellular``."""

from pathlib import Path

from ephysflow.example.extracellular_files import write_example_column
from ephysflow.example.files import COLUMN_FOLDER
from ephysflow.job import Job


def example_extracellular(job: Job) -> None:
    """Write the example's column of cells below the folder of example data."""
    folder = Path(job.settings["folder"]) / COLUMN_FOLDER
    write_example_column(folder)
    print(f"column of cells: {folder}")
