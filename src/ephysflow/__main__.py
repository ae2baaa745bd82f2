"""``python -m ephysflow``: the same as the command ``ephysflow``."""

import sys

from ephysflow.cli import main

sys.exit(main())
