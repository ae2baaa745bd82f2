"""The products ``stimulus_conditions`` and ``stimulus_epochs``."""

import pyarrow as pa

from ephysflow.ecephys.conditions import stimulus_conditions
from ephysflow.ecephys.presentations import read_presentations
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.stimulus_epochs import stimulus_epochs


def conditions(session: SessionFile) -> pa.Table:
    """Return the conditions of a session's stimuli."""
    return stimulus_conditions(read_presentations(session))


def epochs_of_stimuli(session: SessionFile) -> pa.Table:
    """Return the epochs of a session's stimuli."""
    return stimulus_epochs(read_presentations(session))
