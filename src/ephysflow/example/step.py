"""The step ``example_recordings``."""

from pathlib import Path

from ephysflow.example.files import write_example
from ephysflow.job import Job


def example_recordings(job: Job) -> None:
    """Write the example's recordings into the folder that the configuration names."""
    folder = Path(job.settings["folder"])
    write_example(folder)
    print(f"recordings of simulated cells: {folder}")
