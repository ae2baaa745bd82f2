"""Importing a user's feature or trial-step function, whose module may fail in any way."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError, EphysflowError
from ephysflow.user_modules import load_user_object


def load_user_function(dotted: str, folder: Path | None) -> Callable[..., Any]:
    """Import ``module.function`` of the user, from beside the configuration first.

    Raises
    ------
    ConfigurationError
        if the module cannot be imported, or has no such function. The job then ends: a package that was missing may
        be there when it is run again, and no input would tell.
    """
    try:
        found = load_user_object(dotted, folder)
    except EphysflowError as error:
        raise ConfigurationError(f"{dotted}: {error}") from None
    except (Exception, SystemExit) as error:
        files = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename[0] != "<"]
        place = f"{Path(files[-1].filename).name}, line {files[-1].lineno}"
        what = f"{type(error).__name__}: {error} ({place})"
        raise ConfigurationError(f"{dotted}: its module cannot be imported: {what}") from error
    if not callable(found):
        raise ConfigurationError(f"{dotted}: is not a function but {type(found).__name__}: {found!r}")
    return found
