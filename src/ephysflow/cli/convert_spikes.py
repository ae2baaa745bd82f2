"""``ephysflow convert-spikes``: a table of spikes as a campaign of one simulation."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "table",
        metavar="CSV",
        type=Path,
        help="columns 'node_ids timestamps' (or 'ids times'), separated by blanks, tabs or commas; times in ms",
    )
    parser.add_argument("folder", metavar="OUT", type=Path, help="where to write; made if needed")
    parser.add_argument("--node-population", default="synthetic", help="its name (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write circuit, simulation, campaign file and analysis configuration; existing files are never replaced."""
    from ephysflow.campaign.convert_spikes import convert_spikes

    for path in convert_spikes(arguments.table, arguments.folder, arguments.node_population):
        print(path)
    return 0
