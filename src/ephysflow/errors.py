"""The errors that ephysflow raises on purpose: their text alone tells a user what to change."""


class EphysflowError(Exception):
    """Base of all errors that are the input's fault and not the program's."""


class ConfigurationError(EphysflowError):
    """A configuration, sheet or target list is wrong; raised before any job starts.

    The message names the file, the key, the value and what is allowed.
    """


class RecordingError(EphysflowError):
    """A recording file or a sweep cannot be used; ends up as a row of the exclusions table.

    The message names what is wrong; file and sweep stand in columns of their own.
    """


class SimulationError(EphysflowError):
    """A file of a simulation or circuit, or what a feature function returned, cannot be used.

    Ends up as a row of the exclusions table where the rest can go on. The message names what is wrong.
    """


class ProjectError(EphysflowError):
    """A table, session file or download of a Neuropixels project cannot be used.

    Ends up as a row of the exclusions table where the rest can go on. The message names what is wrong.
    """


class ResultError(EphysflowError):
    """A file that ephysflow wrote is damaged, or is not what it is taken for."""
