"""``ephysflow example``: the embedded example's recordings, by hand."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="where to write; made if needed")


def run(arguments: argparse.Namespace) -> int:
    """Write the recordings and their sample sheet."""
    from ephysflow.example import write_example

    write_example(arguments.folder)
    print(f"recordings and sample sheet: {arguments.folder}")
    return 0
