"""The manifest of an AllenSDK cache folder: where its files are."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ephysflow.errors import ConfigurationError, ProjectError

VERSIONS = ("0.2.1", "0.3.0")
"""Versions of the manifest that are read."""

LAYOUT: dict[str, tuple[str, str | None]] = {
    "BASEDIR": (".", None),
    "sessions": ("sessions.csv", "BASEDIR"),
    "probes": ("probes.csv", "BASEDIR"),
    "channels": ("channels.csv", "BASEDIR"),
    "units": ("units.csv", "BASEDIR"),
    "session_data": ("session_%d", "BASEDIR"),
    "session_nwb": ("session_%d.nwb", "session_data"),
    "session_analysis_metrics": ("session_%d_analysis_metrics.csv", "session_data"),
    "probe_lfp_nwb": ("probe_%d_lfp.nwb", "session_data"),
    "movie_dir": ("natural_movie_templates", "BASEDIR"),
    "natural_movie": ("natural_movie_%d.h5", "movie_dir"),
    "natural_scene_dir": ("natural_scene_templates", "BASEDIR"),
    "natural_scene": ("natural_scene_%d.tiff", "natural_scene_dir"),
    "typewise_analysis_metrics": ("%s_analysis_metrics.csv", "BASEDIR"),
}
"""Key -> spec and key of the folder it is in, as version 0.3.0 has them."""

TABLES = ("sessions", "probes", "channels", "units")
"""Raw tables of a project."""

_SESSION_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+ -]{0,149}")
_MAX_SIZE = 1_000_000


@dataclass(frozen=True)
class CacheFolder:
    """The files of a cache folder, there or not.

    Parameters
    ----------
    folder : of the manifest
    layout : key -> spec (a relative path with ``%d`` for an id or ``%s`` for a session type) and key of its folder
    """

    folder: Path
    layout: Mapping[str, tuple[str, str | None]] = field(default_factory=lambda: dict(LAYOUT))

    def table(self, name: str) -> Path:
        """Return the file of a raw table: sessions, probes, channels or units."""
        if name not in TABLES:
            raise ConfigurationError(f"no table {name!r}; known are {', '.join(TABLES)}")
        return self._path(name)

    def session_nwb(self, session_id: int) -> Path:
        """Return the NWB file of a session."""
        return self._path("session_nwb", session_data=session_id, session_nwb=session_id)

    def session_metrics(self, session_id: int) -> Path:
        """Return the analysis metrics of the units of a session."""
        key = "session_analysis_metrics"
        return self._path(key, session_data=session_id, session_analysis_metrics=session_id)

    def typewise_metrics(self, session_type: str) -> Path:
        """Return the analysis metrics of the units of a session type."""
        if not isinstance(session_type, str) or not _SESSION_TYPE.fullmatch(session_type):
            raise ConfigurationError(
                f"session type {session_type!r} cannot be part of a file's name; allowed are letters, digits, spaces and "
                "_ . + -, the first a letter or digit"
            )
        return self._path("typewise_analysis_metrics", typewise_analysis_metrics=session_type)

    def probe_lfp(self, session_id: int, probe_id: int) -> Path:
        """Return the LFP file of a probe."""
        return self._path("probe_lfp_nwb", session_data=session_id, probe_lfp_nwb=probe_id)

    def natural_movie(self, number: int) -> Path:
        """Return the template of a movie: numpy's format, in spite of its ending ``.h5``."""
        return self._path("natural_movie", natural_movie=number)

    def natural_scene(self, number: int) -> Path:
        """Return the template of a scene, TIFF."""
        return self._path("natural_scene", natural_scene=number)

    def _path(self, key: str, **values: int | str) -> Path:
        """Return the path of a key; `values` fill the specs of that key and of the folders it is in."""
        parts: list[str] = []
        at: str | None = key
        while at is not None:
            spec, parent = self.layout[at]
            if "%s" in spec:
                spec = spec.replace("%s", str(values[at]))
            elif "%d" in spec:
                spec = spec.replace("%d", str(_checked_id(values[at])))
            parts.append(spec)
            at = parent
        return self.folder.joinpath(*reversed(parts))


def read_manifest(path: Path) -> CacheFolder:
    """Read the manifest of an AllenSDK cache folder, of version 0.2.1 or 0.3.0.

    The cache folder is the folder of the manifest. Keys that version 0.2.1 lacks are as in 0.3.0; keys that neither
    knows are ignored.

    Raises
    ------
    ProjectError
        if the file is missing, is not JSON or of another version; if a key is missing or named twice; if a spec is
        not a relative path inside the folder with the placeholder of its key.
    """
    content = _content(path)
    version = _version(content, path)
    found: dict[str, tuple[str, str | None]] = {}
    for entry in content:
        if isinstance(entry, Mapping) and entry.get("type") == "manifest_version":
            continue
        key = entry.get("key") if isinstance(entry, Mapping) else None
        if not isinstance(key, str):
            raise ProjectError(f"{path}: entry {_shown(entry)} has no key")
        if key not in LAYOUT:
            continue
        if key in found:
            raise ProjectError(f"{path}: key {key} is there more than once")
        parent = entry.get("parent_key")
        if parent is not None and parent not in list(LAYOUT):
            raise ProjectError(
                f"{path}: key {key}: parent_key is {_shown(parent)}; known are {', '.join(LAYOUT)}"
            )
        found[key] = (_checked_spec(entry.get("spec"), key, path), parent)
    missing = [key for key in LAYOUT if key not in found]
    if missing and version != VERSIONS[0]:
        raise ProjectError(
            f"{path}: key {', '.join(missing)} is missing; a manifest of version {version} has {', '.join(LAYOUT)}"
        )
    layout = {key: found.get(key, known) for key, known in LAYOUT.items()}
    for key in layout:
        _check_folders(key, layout, path)
    return CacheFolder(path.parent, layout)


def _content(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise ProjectError(f"{path}: is larger than {_MAX_SIZE} bytes, which no manifest is")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{path}: is no JSON: {error}") from None
    entries = content.get("manifest") if isinstance(content, Mapping) else None
    if not isinstance(entries, list):
        raise ProjectError(
            f"{path}: is no manifest of AllenSDK, which is an object with one list, manifest, in it"
        )
    return entries


def _version(entries: list[Any], path: Path) -> str:
    found = [
        entry.get("value")
        for entry in entries
        if isinstance(entry, Mapping) and entry.get("type") == "manifest_version"
    ]
    if len(found) == 1 and isinstance(found[0], str) and found[0] in VERSIONS:
        return found[0]
    stated = " and ".join(_shown(value) for value in found) or "not stated"
    raise ProjectError(
        f"{path}: version of the manifest is {stated}; those that can be read are {' and '.join(VERSIONS)}"
    )


def _checked_spec(spec: Any, key: str, path: Path) -> str:
    """Return a spec that leads, inside the folder, to one file or folder for each id."""
    placeholder = "".join(re.findall("%[ds]", LAYOUT[key][0]))
    needed = f"one {placeholder}" if placeholder else "no %"
    usable = (
        isinstance(spec, str)
        and re.fullmatch(r"[^\x00-\x1f\x7f\\]+", spec) is not None
        and not PurePosixPath(spec).is_absolute()
        and ".." not in PurePosixPath(spec).parts
        and spec.count("%") == len(placeholder) // 2
        and placeholder in spec
    )
    if not usable:
        raise ProjectError(
            f"{path}: key {key}: spec is {_shown(spec)}; allowed is a relative path inside the folder with {needed}, as "
            f"{LAYOUT[key][0]}"
        )
    return spec


def _check_folders(key: str, layout: Mapping[str, tuple[str, str | None]], path: Path) -> None:
    """Refuse a chain of folders without an end, and one whose ids are not those of its file."""
    at, above = layout[key][1], []
    while at is not None:
        above.append(at)
        if len(above) > len(layout):
            raise ProjectError(f"{path}: key {key}: its parent keys lead back to themselves")
        if "%" in layout[at][0] and (at, LAYOUT[key][1]) != ("session_data", "session_data"):
            raise ProjectError(f"{path}: key {key}: is in {at}, whose spec {layout[at][0]} has a placeholder")
        at = layout[at][1]


def _checked_id(value: int | str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"id {value!r}: allowed are integers from 0 on")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
