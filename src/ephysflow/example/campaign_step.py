"""The step ``example_campaign``."""

from pathlib import Path

from ephysflow.example.campaign_files import write_example_campaign
from ephysflow.example.files import CAMPAIGN_FOLDER
from ephysflow.job import Job


def example_campaign(job: Job) -> None:
    """Write the circuit and the simulations of the example campaign below the folder of example data."""
    folder = Path(job.settings["folder"]) / CAMPAIGN_FOLDER
    write_example_campaign(folder)
    print(f"circuit and simulations: {folder}")
