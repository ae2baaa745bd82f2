"""Stimulus classes by name, those of the user included."""

from pathlib import Path

from ephysflow.errors import ConfigurationError
from ephysflow.recordings.stimuli import STIMULI, Stimulus
from ephysflow.user_modules import load_user_object


def resolve_stimulus(name: str, folder: Path | None = None) -> Stimulus:
    """Return the stimulus class of that name, or the user's own by dotted path.

    Raises
    ------
    ConfigurationError
        if there is none, or the user's is not a `Stimulus`.
    """
    if "." not in name:
        return STIMULI[name]
    own = load_user_object(name, folder)
    if not (isinstance(own, type) and issubclass(own, Stimulus)):
        raise ConfigurationError(
            f"{name}: a stimulus class must be a subclass of ephysflow's Stimulus; it is {own!r}"
        )
    return own()
