"""Where a result came from: settings, code, versions and inputs, kept inside each output."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ephysflow.io.canonical import canonical_json, file_digest


@dataclass(frozen=True)
class Provenance:
    """What one job did, without time, host or command: equal work gives equal bytes.

    Attributes
    ----------
    step : name of the step (see `ephysflow.steps`)
    key : the item that the job computed, e.g. the name of a cell
    settings : canonical JSON text of the item's settings
    code : hash of the library code (and the user's functions) that the step uses
    versions : package -> version, for the packages that change numbers
    inputs : path as named in the configuration -> SHA-256 of the content at the time of reading
    """

    step: str
    key: str
    settings: str
    code: str
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the canonical JSON text in which it is stored."""
        return canonical_json(asdict(self))

    @classmethod
    def from_text(cls, text: str | bytes) -> "Provenance":
        """Read the text that `text` gave; a ValueError or TypeError means that it is not one."""
        return cls(**json.loads(text))


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package; 'absent' where it is not installed."""
    from importlib.metadata import (  # only planning asks; a job starts sooner without it
        PackageNotFoundError,
        version,
    )

    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def input_digests(paths: Iterable[str | Path]) -> dict[str, str]:
    """Return path -> SHA-256 for those of `paths` that exist, 'absent' for the others."""
    return {str(path): file_digest(path) if Path(path).is_file() else "absent" for path in paths}
