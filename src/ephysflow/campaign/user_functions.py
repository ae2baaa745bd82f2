"""Importing a user's feature or trial-step function, whose module may fail in any way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ephysflow.errors import CampaignError, EphysflowError
from ephysflow.user_modules import load_user_object


def load_user_function(dotted: str, folder: Path | None) -> Callable[..., Any]:
    """Import ``module.function`` of the user, from beside the configuration first.

    Raises
    ------
    CampaignError
        if the module cannot be imported, or has no such function.
    """
    try:
        found = load_user_object(dotted, folder)
    except EphysflowError as error:
        raise CampaignError(f"{dotted}: {error}") from None
    except (Exception, SystemExit) as error:
        raise CampaignError(f"{dotted}: cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise CampaignError(f"{dotted}: is not a function but {type(found).__name__}: {found!r}")
    return found
