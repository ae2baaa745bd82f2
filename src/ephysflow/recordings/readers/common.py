"""What the readers share: a sweep that was found, and how errors of a file become one sentence."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.errors import EphysflowError, RecordingError
from ephysflow.recordings.sweep import RawSweep, ReadResult, UnreadableSweep


@dataclass(frozen=True)
class FoundSweep:
    """A sweep that a file lists, before its samples are read.

    Attributes
    ----------
    sweep_id : how it is called in messages; the file's own name where it has one
    names : protocol names under which it can be asked for, the main one first; empty where the file has none
    repetition : repetition number, if the file has one
    read : reads the samples; raises RecordingError where that is not possible
    """

    sweep_id: str
    names: tuple[str, ...]
    repetition: int | None
    read: Callable[[], RawSweep]


def read_found(found: FoundSweep) -> RawSweep | UnreadableSweep:
    """Read one sweep; what goes wrong is the reason of an `UnreadableSweep`."""
    try:
        with refusing("the sweep cannot be read"):
            return without_nan_tail(found.read())
    except RecordingError as error:
        return UnreadableSweep(found.sweep_id, str(error))


def as_result(sweeps: Iterable[RawSweep | UnreadableSweep], refusal: str | None = None) -> ReadResult:
    """Sort sweeps into read and unreadable ones; `refusal` is a reason that concerns none of them alone."""
    sweeps = list(sweeps)
    unreadable = [sweep for sweep in sweeps if isinstance(sweep, UnreadableSweep)]
    if refusal is not None:
        unreadable.append(UnreadableSweep("", refusal))
    return ReadResult(tuple(sweep for sweep in sweeps if isinstance(sweep, RawSweep)), tuple(unreadable))


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn any error of a file format's library into a RecordingError that begins with `what`.

    Damaged files make those libraries raise errors of every type, so no shorter list would do.
    """
    try:
        yield
    except EphysflowError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise RecordingError(f"{what}: {text or type(error).__name__}") from error


def first_bytes(path: Path, size: int) -> bytes:
    """Return the first `size` bytes of a file, fewer if it is shorter, all for -1.

    Raises
    ------
    RecordingError
        if there is no such file, it is empty, or may not be read.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(size)
    except FileNotFoundError:
        raise RecordingError(f"{path}: there is no such file") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be opened: {error.strerror}") from None
    if not content:
        raise RecordingError(f"{path}: the file is empty")
    return content


def main_file(entry: Mapping[str, Any]) -> Path:
    """Return the path of the file that decides how an entry is read.

    Raises
    ------
    RecordingError
        if the entry names no file.
    """
    name = entry.get("filepath") or entry.get("v_file")
    if not name:
        raise RecordingError("the entry names no file: give filepath, or v_file and i_file")
    return Path(name)


def number(entry: Mapping[str, Any], key: str) -> float | None:
    """Return the finite number that an entry holds under `key`; None where it has none.

    Raises
    ------
    RecordingError
        if the value is something else.
    """
    value = entry.get(key)
    if value is None:
        return None
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise RecordingError(f"{key} must be a number; found {value!r}")
    return result


def demand(entry: Mapping[str, Any], keys: Iterable[str], reader: str) -> None:
    """Raise a RecordingError that names those of `keys` that the entry lacks."""
    missing = [key for key in keys if entry.get(key) is None]
    if missing:
        raise RecordingError(f"the reader {reader} also needs {', '.join(missing)} in the entry")


def with_note(details: Mapping[str, Any], note: str) -> dict[str, Any]:
    """Return `details` with `note` added to what stands under "note"."""
    return {**details, "note": "; ".join(filter(None, (details.get("note"), note)))}


def without_nan_tail(raw: RawSweep) -> RawSweep:
    """Cut the NaN by which some programs fill up a sweep that was stopped early, and note it.

    The result is empty when no sample is left; unequal lengths are left to `standardise`.
    """
    if len(raw.voltage) != len(raw.current) or not len(raw.voltage):
        return raw
    if not (np.isnan(raw.voltage[-1]) or np.isnan(raw.current[-1])):
        return raw
    known = np.flatnonzero(~(np.isnan(raw.voltage) | np.isnan(raw.current)))
    stop = int(known[-1]) + 1 if len(known) else 0
    note = f"cut at sample {stop} of {len(raw.voltage)}: only NaN after it"
    return replace(
        raw,
        voltage=raw.voltage[:stop],
        current=raw.current[:stop],
        details={**with_note(raw.details, note), "nan_cut": len(raw.voltage) - stop},
    )


def regular_step(times: np.ndarray) -> float:
    """Return the sampling interval of a time axis, in the unit of `times`, shape (n,).

    Raises
    ------
    RecordingError
        if there are fewer than two times, or an interval is off the mean one by more than 1 %.
    """
    if len(times) < 2:
        raise RecordingError("one sample only: its times give no sampling interval")
    steps = np.diff(times)
    step = float(times[-1] - times[0]) / (len(times) - 1)
    if not (step > 0 and np.abs(steps - step).max() <= 0.01 * step):  # also False for NaN
        raise RecordingError(
            f"the times are not regular: intervals from {steps.min():g} to {steps.max():g} (mean {step:g})"
        )
    return step
