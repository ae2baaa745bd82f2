"""Finding recordings in a folder: the rows of a sample sheet, as far as the files tell them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.recordings.inspection import inspect_file
from ephysflow.recordings.readers import igor, recognise
from ephysflow.recordings.readers.units import quantity_of
from ephysflow.recordings.stimuli.names import stimulus_name

_CHANNEL = re.compile(r"ch\d+", re.IGNORECASE)


@dataclass
class Found:
    """What a folder holds.

    Attributes
    ----------
    rows : rows of a sample sheet: cell, protocol, filepath or v_file and i_file
    unknown_protocols : names in files that no stimulus class is known for
    skipped : file -> why it is in no row
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    unknown_protocols: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)


def find_recordings(folder: Path) -> Found:
    """Look into every file of a folder and of those below it.

    A file in a folder of its own belongs to the cell of that folder's name, one at the top to the cell of its own
    name. Igor waves are paired by name and unit.

    Raises
    ------
    ConfigurationError
        if the folder is not there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: is not a folder")
    found = Found()
    waves: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    ):
        try:
            reader, _ = recognise(path)
            if reader == "igor":
                kind = _kind_of_wave(igor.read_wave(path).unit)
                waves.setdefault((path.parent, _CHANNEL.sub("ch", path.stem)), {})[kind] = path
            else:
                _add_file(found, folder, path)
        except RecordingError as error:
            found.skipped[str(path)] = str(error)
    for (_, name), pair in waves.items():
        _add_pair(found, folder, name, pair)
    return found


def _kind_of_wave(unit: str | None) -> str:
    kind = {"voltage": "v_file", "current": "i_file"}.get(quantity_of(unit) or "")
    if kind is None:
        raise RecordingError(f"its unit {unit!r} is neither one of voltage nor one of current")
    return kind


def _add_file(found: Found, folder: Path, path: Path) -> None:
    report = inspect_file(path)
    names = [name for name in report.get("protocols", {}) if name]
    if not report["sweeps"]:
        reasons = sorted({str(unreadable["reason"]) for unreadable in report["unreadable"]})
        found.skipped[str(path)] = "; ".join(reasons) or "holds no sweep"
        return
    known = _known(found, names or [path.stem])
    if known:
        found.rows.append({"cell": _cell(folder, path), "protocol": ";".join(known), "filepath": str(path)})
    else:
        found.skipped[str(path)] = f"protocol {', '.join(names) or path.stem} has no stimulus class"


def _add_pair(found: Found, folder: Path, name: str, pair: dict[str, Path]) -> None:
    if set(pair) != {"v_file", "i_file"}:
        for path in pair.values():
            found.skipped[str(path)] = "the other wave of the pair (voltage or current) was not found"
        return
    pattern = re.search(r"PATTERN:([^;]+)", igor.read_wave(pair["i_file"]).note or "")
    named = [pattern.group(1).strip()] if pattern else [part for part in name.split("_") if _is_known(part)]
    known = _known(found, named[:1] or [name])
    if known:
        paths: dict[str, Any] = {key: str(pair[key]) for key in ("v_file", "i_file")}
        found.rows.append({"cell": _cell(folder, pair["v_file"]), "protocol": known[0], **paths})
    else:
        found.skipped[str(pair["v_file"])] = "no part of its name is a known protocol"


def _known(found: Found, names: Iterable[str]) -> list[str]:
    known = []
    for name in names:
        if not _is_known(name):
            found.unknown_protocols.add(name)
            continue
        safe = _safe(name)
        known.append(safe if safe == name else f"{safe}={name}")
    return known


def _is_known(name: str) -> bool:
    try:
        stimulus_name(name, {})
    except ConfigurationError:
        return False
    return True


def _cell(folder: Path, path: Path) -> str:
    return _safe(path.stem if path.parent == folder else path.parent.name)


def _safe(name: str) -> str:
    """Return a name that may become part of a path."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.") or "unnamed"
