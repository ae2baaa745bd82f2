"""Readers that a user writes: functions with the contract of BluePyEfe's `recording_reader`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, as_result, number, read_found, refusing
from ephysflow.recordings.sweep import AMPLITUDE_KEYS, TIMING_KEYS, RawSweep, ReadResult

_KNOWN = {
    "voltage",
    "current",
    "dt",
    "t",
    "v_unit",
    "i_unit",
    "t_unit",
    "id",
    "repetition",
    "ljp",
    "filename",
}


def read_with(
    reader: Callable[[dict[str, Any]], list[dict[str, Any]]], entry: Mapping[str, Any], names: list[str]
) -> ReadResult:
    """Call a user's reader and check what it returns.

    Parameters
    ----------
    reader : gets a copy of the entry with `protocol_name`; returns mappings with voltage, current and dt (or t),
        and possibly v_unit, i_unit, t_unit, id, repetition, ljp [mV], filename, stimulus times [ms], amplitudes
    entry : file entry
    names : names of the protocol in the file; one is passed as text, several as a list

    Raises
    ------
    RecordingError
        if the function fails or returns something else than a list of mappings.
    """
    called = getattr(reader, "__name__", "the user's reader")
    metadata = {key: value for key, value in entry.items() if key not in ("protocols", "reader")}
    metadata["protocol_name"] = names[0] if len(names) == 1 else list(names)
    with refusing(f"{called} failed"):
        returned = reader(metadata)
    if not isinstance(returned, list | tuple) or not all(isinstance(item, Mapping) for item in returned):
        raise RecordingError(
            f"{called} must return a list of dictionaries; it returned {type(returned).__name__}"
        )
    return as_result(
        read_found(FoundSweep(str(item.get("id") or f"sweep {k}"), (), None, partial(_adapt, item)))
        for k, item in enumerate(returned)
    )


def _adapt(item: Mapping[str, Any]) -> RawSweep:
    missing = [key for key in ("voltage", "current") if item.get(key) is None]
    dt = number(item, "dt")
    if dt is None and item.get("t") is not None and len(item["t"]) > 1:
        dt = float(item["t"][1] - item["t"][0])
    if missing or dt is None:
        raise RecordingError(f"the reader returned no {', '.join(missing or ['dt'])}")
    repetition = number(item, "repetition")
    units = {key: None if item.get(key) is None else str(item[key]) for key in ("v_unit", "i_unit", "t_unit")}
    extra = set(item) - _KNOWN - set(TIMING_KEYS) - set(AMPLITUDE_KEYS)
    return RawSweep(
        voltage=_samples(item["voltage"], "voltage"),
        current=_samples(item["current"], "current"),
        dt=dt,
        sweep_id=str(item.get("id") or ""),
        repetition=None if repetition is None else int(repetition),
        timing=_numbers(item, TIMING_KEYS),
        amplitudes=_numbers(item, AMPLITUDE_KEYS),
        ljp=number(item, "ljp"),
        details={key: str(item[key]) for key in sorted(extra | {"filename"} & set(item))},
        **units,
    )


def _samples(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise RecordingError(f"{name} must be one row of numbers; found {array.dtype} of shape {array.shape}")
    wanted = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize == 4 else np.float64
    return array.astype(wanted)


def _numbers(item: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, float]:
    return {key: value for key in keys if (value := number(item, key)) is not None}
