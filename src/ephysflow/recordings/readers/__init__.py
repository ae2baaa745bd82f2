"""Readers of recording files: which one reads an entry, and the sweeps of the protocols that were asked for."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.recordings.readers import axon, csv_lccr, igor, matlab, nwb, table
from ephysflow.recordings.readers.common import FoundSweep, as_result, first_bytes, main_file, read_found
from ephysflow.recordings.readers.user import read_with
from ephysflow.recordings.sweep import RawSweep, ReadResult, UnreadableSweep

_OPENERS: dict[str, Callable[[Mapping[str, Any]], AbstractContextManager[list[FoundSweep]]]] = {
    "igor": igor.open_sweeps,
    "axon": axon.open_sweeps,
    "nwb": nwb.open_sweeps,
    "csv_lccr": csv_lccr.open_sweeps,
    "matlab": matlab.open_sweeps,
    "table": table.open_sweeps,
}
READERS = tuple(_OPENERS)

_EXTENSIONS = {
    ".ibw": "igor",
    ".bwav": "igor",
    ".abf": "axon",
    ".nwb": "nwb",
    ".txt": "csv_lccr",
    ".mat": "matlab",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "table",
}
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_entry(
    entry: Mapping[str, Any], user_reader: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None
) -> dict[str, ReadResult]:
    """Read the sweeps of one file entry, opening its files once.

    Parameters
    ----------
    entry : file entry with usable paths; `protocols` holds protocol name -> names in the file
    user_reader : function that `entry["reader"]` names, if that is a dotted path: it gets the entry with
        `protocol_name` and returns a list of mappings as BluePyEfe's readers do

    Returns
    -------
    protocol name -> its sweeps, in file order, and what could not be read. Names are compared without regard to
    case. A file that knows no protocols gives all its sweeps to each of them.

    Raises
    ------
    RecordingError
        if nothing can be read from the file.
    ConfigurationError
        if there is no reader of the name that the entry gives.
    """
    asked = {protocol: list(names) or [protocol] for protocol, names in entry["protocols"].items()}
    if user_reader is not None:
        return {
            protocol: _labelled(read_with(user_reader, entry, names), entry.get("reader"))
            for protocol, names in asked.items()
        }
    reader = choose_reader(entry)
    results = {}
    with _open(entry, reader) as found:
        read: dict[int, RawSweep | UnreadableSweep] = {}
        for protocol, names in asked.items():
            chosen, refusal = _choose(found, names, entry.get("repetition"))
            for k in chosen:
                if k not in read:
                    read[k] = read_found(found[k])
            results[protocol] = _labelled(as_result([read[k] for k in chosen], refusal), reader)
    return results


def read_all(entry: Mapping[str, Any]) -> list[tuple[FoundSweep, RawSweep | UnreadableSweep]]:
    """Read all sweeps of the file of an entry, whatever their protocol; errors as `read_entry`."""
    with _open(entry, choose_reader(entry)) as found:
        return [(sweep, read_found(sweep)) for sweep in found]


def choose_reader(entry: Mapping[str, Any]) -> str:
    """Return the name of the reader of an entry: the one that it names, else by content, else by extension.

    Raises
    ------
    RecordingError
        if the file cannot be opened, or neither content nor extension is known.
    ConfigurationError
        if the entry names a reader that does not exist; dotted paths, for users' functions, pass.
    """
    name = entry.get("reader")
    if not name:
        return recognise(main_file(entry))[0]
    if name not in _OPENERS and "." not in name:
        raise ConfigurationError(
            f"reader {name!r} is unknown: allowed are {', '.join(READERS)} or the dotted path of a function"
        )
    return str(name)


def recognise(path: Path) -> tuple[str, str]:
    """Return the reader for a file, and the reason; RecordingError as `choose_reader`."""
    head = first_bytes(path, 1032)
    for reader, sign, present in (
        (
            "matlab",
            "the header of a MATLAB file",
            head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")),
        ),
        ("nwb", "the signature of HDF5", any(head.startswith(_HDF5, start) for start in (0, 512, 1024))),
        ("axon", "the signature of Axon", head.startswith((b"ABF ", b"ABF2"))),
        ("igor", "the version number of an Igor binary wave", igor.is_wave(head)),
        ("table", "the signature of Parquet", head.startswith(b"PAR1")),
    ):
        if present:
            return reader, f"it begins with {sign}"
    if (extension := path.suffix.lower()) in _EXTENSIONS:
        return _EXTENSIONS[extension], f"its name ends with {extension}"
    raise RecordingError(
        f"{path}: neither content nor extension is known; name a reader: {', '.join(READERS)}"
    )


def _open(entry: Mapping[str, Any], reader: str) -> AbstractContextManager[list[FoundSweep]]:
    if reader not in _OPENERS:
        raise ConfigurationError(f"reader {reader!r} is a user's function and was not loaded")
    return _OPENERS[reader](entry)


def _choose(found: list[FoundSweep], names: list[str], repetition: Any) -> tuple[list[int], str | None]:
    """Return which sweeps carry one of `names` and a wanted repetition; if none does, say what there is."""
    wanted = {name.lower() for name in names}
    named = [
        k
        for k, sweep in enumerate(found)
        if not sweep.names or wanted & {name.lower() for name in sweep.names}
    ]
    if not named:
        present = ", ".join(dict.fromkeys(sweep.names[0] for sweep in found)) or "none"
        return [], f"no sweep of protocol {' or '.join(names)}; the file has: {present}"
    if repetition is None:
        return named, None
    numbers = _repetitions(repetition)
    chosen = [k for k in named if found[k].repetition in numbers]
    if chosen:
        return chosen, None
    present = ", ".join(sorted({str(found[k].repetition) for k in named if found[k].repetition is not None}))
    asked = ", ".join(map(str, sorted(numbers)))
    return (
        [],
        f"no sweep of {' or '.join(names)} of repetition {asked}; the file has: {present or 'no numbers'}",
    )


def _repetitions(repetition: Any) -> set[int]:
    values: Iterable[Any] = repetition if isinstance(repetition, list | tuple | set) else [repetition]
    try:
        return {int(str(value).removeprefix("repetition").strip()) for value in values}
    except ValueError:
        raise RecordingError(
            f"repetition must be a number or a list of numbers; found {repetition!r}"
        ) from None


def _labelled(result: ReadResult, reader: Any) -> ReadResult:
    """Put the name of the reader into the details of the sweeps."""
    return replace(
        result,
        sweeps=tuple(replace(raw, details={"reader": reader, **raw.details}) for raw in result.sweeps),
    )
