"""Finding recordings in a folder: the rows of a sample sheet, as far as the files tell them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

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
    unknown : the same of protocols that no stimulus class is known for
    skipped : file -> why it is in no row
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    unknown: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def find_recordings(folder: Path) -> Found:
    """Look into every file of a folder and of those below it.

    An NWB file is one cell. A file of another kind belongs to the cell of its folder's name, one at the top to the
    cell of its own name. Igor waves are paired by name and unit.

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
    if not report["sweeps"]:
        reasons = sorted({str(unreadable["reason"]) for unreadable in report["unreadable"]})
        found.skipped[str(path)] = "; ".join(reasons) or "holds no sweep"
        return
    names = [name for name in report["protocols"] if name]
    # a file without names of protocols gives all its sweeps to the protocol of its row
    names = names or list(dict.fromkeys(sweep["protocol"] or path.stem for sweep in report["sweeps"]))[:1]
    # an NWB file is one cell; files of other formats are one protocol, their folder is the cell
    cell = _safe(path.stem if report["reader"] == "nwb" or path.parent == folder else path.parent.name)
    for known, chosen in ((True, found.rows), (False, found.unknown)):
        if listed := [_named(name) for name in names if _is_known(name) == known]:
            chosen.append({"cell": cell, "protocol": ";".join(listed), "filepath": str(path)})


def _add_pair(found: Found, folder: Path, name: str, pair: dict[str, Path]) -> None:
    if set(pair) != {"v_file", "i_file"}:
        for path in pair.values():
            found.skipped[str(path)] = "the other wave of the pair (voltage or current) was not found"
        return
    pattern = re.search(r"PATTERN:([^;]+)", igor.read_wave(pair["i_file"]).note or "")
    parts = [part for part in name.split("_") if _is_known(part)]
    protocol = pattern.group(1).strip() if pattern else (parts or [name])[0]
    top = pair["v_file"].parent == folder
    row = {
        "cell": _safe(pair["v_file"].stem if top else pair["v_file"].parent.name),
        "protocol": _named(protocol),
        **{key: str(pair[key]) for key in ("v_file", "i_file")},
    }
    (found.rows if _is_known(protocol) else found.unknown).append(row)


def _named(name: str) -> str:
    """Return how a sheet names a protocol: with its name in the file where that cannot become part of a path."""
    return _safe(name) if _safe(name) == name else f"{_safe(name)}={name}"


def _is_known(name: str) -> bool:
    try:
        stimulus_name(name, {})
    except ConfigurationError:
        return False
    return True


def _safe(name: str) -> str:
    """Return a name that may become part of a path."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.") or "unnamed"
