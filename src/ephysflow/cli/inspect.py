"""``ephysflow inspect``: what is in a recording file, and what could be read?"""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, help="recording file (for Igor: the wave of the voltage, or a single wave)")
    parser.add_argument("--i-file", type=Path, help="Igor: the wave of the current that belongs to it")
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the sweeps of the file, its protocols and what could not be read."""
    from ephysflow.recordings.inspection import inspect_file, inspection_text

    found = inspect_file(arguments.file, arguments.i_file)
    print(json.dumps(found, indent=2, default=str) if arguments.json else inspection_text(found))
    return 0
