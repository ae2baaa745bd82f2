"""What was accepted as the content of a downloaded file, and whether the file is still that.

Apart from the downloads: what reads these records does not depend on how files are fetched.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.errors import ProjectError

MOST_BYTES = 2**16
"""Of the JSON files beside downloads."""


@dataclass(frozen=True)
class FileRecord:
    """What was accepted as the content of a file.

    Attributes
    ----------
    url : where it came from
    size : bytes
    sha256 : hexadecimal digest of the content
    etag : the server's mark of this content, if it gave one
    """

    url: str
    size: int
    sha256: str
    etag: str | None


def record_path(target: Path) -> Path:
    """Return where the record of a downloaded file is kept; it stays when the file is deleted."""
    return target.with_name(f"{target.name}.record.json")


def read_record(target: Path) -> FileRecord | None:
    """Read what was accepted as the content of `target`; None if nothing was yet.

    Raises
    ------
    ProjectError
        if the record is damaged.
    """
    path = record_path(target)
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: the record of a download cannot be read: {error}") from None
    kinds: dict[str, type | tuple[type, ...]] = {
        "url": str,
        "size": int,
        "sha256": str,
        "etag": (str, type(None)),
    }
    if (
        set(content) != set(kinds)
        or not all(isinstance(content[key], kind) for key, kind in kinds.items())
        or not is_sha256(content["sha256"])
    ):
        raise ProjectError(f"{path}: is not the record of a download ({', '.join(kinds)})")
    return FileRecord(**content)


def check_against_record(target: Path) -> FileRecord:
    """Compare a downloaded file with its record, reading it whole, in pieces.

    Raises
    ------
    ProjectError
        if the file or its record is missing, or size or sha256 differ.
    """
    record = read_record(target)
    if record is None:
        raise ProjectError(f"{target}: there is no record of its download ({record_path(target).name})")
    try:
        size = target.stat().st_size
        if size != record.size:
            raise ProjectError(f"{target}: {size} bytes, but {record.size} were downloaded from {record.url}")
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProjectError(f"{target}: cannot be read: {error}") from None
    _check_same(target, found, record)
    return record


def check_digest(target: Path, found: str) -> None:
    """Compare the digest of a file with its record, if there is one; errors as `check_against_record`."""
    record = read_record(target)
    if record is not None:
        _check_same(target, found, record)


def _check_same(target: Path, found: str, record: FileRecord) -> None:
    if found != record.sha256:
        raise ProjectError(
            f"{target}: sha256 is {found}, but {record.sha256} was downloaded from {record.url}"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a small file; ValueError if there is none."""
    with path.open("rb") as file:
        text = file.read(MOST_BYTES)
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 digest in lower-case hexadecimal digits."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None
