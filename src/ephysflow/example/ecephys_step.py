"""The step ``example_ecephys``."""

from pathlib import Path

from ephysflow.example.ecephys_files import write_example_project
from ephysflow.example.files import ECEPHYS_FOLDER
from ephysflow.job import Job


def example_ecephys(job: Job) -> None:
    """Write the example's Neuropixels sessions below the folder of example data."""
    folder = Path(job.settings["folder"]) / ECEPHYS_FOLDER
    write_example_project(folder)
    print(f"Neuropixels sessions: {folder}")
