"""Extraction and features by BlueETL; run by `campaign.py` with the Python of an environment that has BlueETL.

    python peer_blueetl.py CONFIG

CONFIG is an analysis configuration; a feature function of the user's own may stand beside it.
"""

import sys
from pathlib import Path

from blueetl.analysis import run_from_file


def main() -> None:
    """Run the configuration: what is in its cache is not computed again."""
    run_from_file(Path(sys.argv[1]), seed=0, extract=True, calculate=True)


if __name__ == "__main__":
    main()
