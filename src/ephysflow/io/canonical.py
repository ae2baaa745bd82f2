"""One text for one meaning: the JSON by which settings are compared, stored and hashed."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the JSON text of `value` with sorted keys and no blanks; 1 and 1.0 stay different.

    Raises
    ------
    ValueError
        if `value` holds NaN or infinity, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(text: str | bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def file_digest(path: Any) -> str:
    """Return the SHA-256 of a file in hexadecimal digits, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
