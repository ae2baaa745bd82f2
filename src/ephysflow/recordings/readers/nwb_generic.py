"""The way of the NWB 2 standard: typed patch-clamp series and the tables of intracellular recordings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep
from ephysflow.recordings.readers.nwb_laboratories import step_names
from ephysflow.recordings.readers.nwb_series import (
    children,
    details_of,
    kind_of,
    paired,
    read_series,
    text,
)
from ephysflow.recordings.sweep import RawSweep

_TABLES = "general/intracellular_ephys"
_RESPONSES = ("CurrentClampSeries", "IZeroClampSeries", "VoltageClampSeries")
_STIMULUS = "CurrentClampStimulusSeries"


@dataclass(frozen=True)
class _Part:
    """Some samples of a series: all of them where `count` is None."""

    series: Any
    start: int = 0
    count: int | None = None


def is_typed(file: Any) -> bool:
    """Tell whether a file has the table of recordings, or current-clamp responses by type."""
    return f"{_TABLES}/intracellular_recordings/responses" in file or any(
        kind_of(series) in _RESPONSES for series in children(file.get("acquisition")).values()
    )


def list_sweeps(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List the rows of the table of intracellular recordings, then the typed responses that no row names.

    The protocol is the stimulus type of the sequential recordings, else the description of the stimulus; the
    repetition is a column of that name in the table of recordings, else the id in the table of repetitions.
    """
    found = []
    tabled = set()
    types, repetitions = _groupings(file)
    for row, (response, stimulus) in enumerate(_rows(file)):
        if response is None:
            names = (types[row],) if row in types else ("unnamed",)
            found.append(FoundSweep(f"recording {row}", names, repetitions.get(row), _no_response))
        else:
            tabled.add(response.series)
            found.append(_found(response, stimulus, types.get(row), repetitions.get(row)))
    responses = children(file.get("acquisition"))
    presented = children(file.get("stimulus/presentation"))
    stimuli = {name: series for name, series in presented.items() if kind_of(series) == _STIMULUS}
    numbered: dict[int, list[Any]] = {}
    for series in stimuli.values():
        if (number := series.attrs.get("sweep_number")) is not None:
            numbered.setdefault(int(number), []).append(series)
    for name, series in responses.items():
        if kind_of(series) in _RESPONSES and series not in tabled:
            partner = _partner(name, series, stimuli, numbered)
            found.append(_found(_Part(series), None if partner is None else _Part(partner), None, None))
    return found


def _found(
    response: _Part, stimulus: _Part | None, stimulus_type: str | None, repetition: int | None
) -> FoundSweep:
    described = text(response.series.attrs.get("stimulus_description"))
    stated = [name for name in (stimulus_type, described) if name and name.lower() != "na"]
    names = tuple(dict.fromkeys([*stated, *step_names(stated[0] if stated else None)]))
    sweep_id = response.series.name.rsplit("/", 1)[-1]
    if response.count is not None and response.count < response.series["data"].shape[0]:
        sweep_id += f"[{response.start}:{response.start + response.count}]"
    read = partial(_read, response, stimulus, sweep_id, names[0], repetition)
    return FoundSweep(sweep_id, names, repetition, read)


def _no_response() -> RawSweep:
    raise RecordingError("the row of the table refers to no response")


def _read(
    response: _Part, stimulus: _Part | None, sweep_id: str, protocol: str, repetition: int | None
) -> RawSweep:
    kind = kind_of(response.series)
    if kind == "VoltageClampSeries":
        raise RecordingError("voltage clamp")
    voltage = read_series(response.series, response.start, response.count)
    details = details_of(response.series)
    if kind == "IZeroClampSeries":
        current = replace(voltage, values=np.zeros_like(voltage.values), unit="amperes")
        details["current"] = "zero by the type of the series (IZeroClampSeries)"
    elif stimulus is None or stimulus.series == response.series:
        raise RecordingError("the file has no stimulus that belongs to it")
    else:
        current = read_series(stimulus.series, stimulus.start, stimulus.count)
        details["current"] = f"stimulus {stimulus.series.name.rsplit('/', 1)[-1]}"
    return paired(
        voltage, current, sweep_id=sweep_id, protocol=protocol, repetition=repetition, details=details
    )


def _rows(file: Any) -> Iterator[tuple[_Part | None, _Part | None]]:
    """Give response and stimulus of each row of the table of recordings; None where one is missing."""
    table = file.get(f"{_TABLES}/intracellular_recordings")
    responses = None if table is None else table.get("responses/response")
    if responses is None:
        return
    stimuli = table.get("stimuli/stimulus")
    for row, reference in enumerate(responses[()]):
        stimulus = None if stimuli is None or row >= len(stimuli) else _part(file, stimuli[row])
        yield _part(file, reference), stimulus


def _part(file: Any, reference: Any) -> _Part | None:
    """Resolve a reference to a time series; the standard writes start and count of -1 for "none"."""
    start, count = int(reference["idx_start"]), int(reference["count"])
    try:
        series = file[reference["timeseries"]]
    except (ValueError, KeyError):
        return None
    return _Part(series, start, count) if start >= 0 and count > 0 else None


def _groupings(file: Any) -> tuple[dict[int, str], dict[int, int]]:
    """Return row of the table of recordings -> stimulus type, and row -> repetition, for the rows that have one."""
    recordings = _members(file, "simultaneous_recordings", "recordings")
    simultaneous = _members(file, "sequential_recordings", "simultaneous_recordings")
    sequential = _members(file, "repetitions", "sequential_recordings")
    labels = file.get(f"{_TABLES}/sequential_recordings/stimulus_type")
    numbers = file.get(f"{_TABLES}/repetitions/id")
    own = file.get(f"{_TABLES}/intracellular_recordings/repetition")

    rows_of = [
        [row for k in members if k < len(recordings) for row in recordings[k]] for members in simultaneous
    ]
    types = {
        row: label
        for k, rows in enumerate(rows_of)
        for row in rows
        if labels is not None and k < len(labels) and (label := text(labels[k]))
    }
    repetitions = {
        row: int(numbers[k])
        for k, members in enumerate(sequential)
        for member in members
        if numbers is not None and member < len(rows_of)
        for row in rows_of[member]
    }
    if own is not None:
        repetitions |= {row: int(value) for row, value in enumerate(own[()])}
    return types, repetitions


def _members(file: Any, table: str, column: str) -> list[list[int]]:
    """Return, for each row of a grouping table, the rows of the table below that it holds."""
    values, ends = (file.get(f"{_TABLES}/{table}/{name}") for name in (column, f"{column}_index"))
    if values is None or ends is None:
        return []
    return [part.tolist() for part in np.split(values[()], ends[()])[: len(ends)]]


def _partner(
    name: str, series: Any, stimuli: Mapping[str, Any], numbered: Mapping[int, list[Any]]
) -> Any | None:
    """Return the stimulus of a response: by sweep number and electrode, else by name; None where none is sure."""
    number = series.attrs.get("sweep_number")
    if number is not None:
        same = [stimulus for stimulus in numbered.get(int(number), ()) if _share(stimulus, series)]
        if len(same) == 1:
            return same[0]
    for candidate in (name, name.replace("Series", "StimulusSeries")):
        if candidate in stimuli:
            return stimuli[candidate]
    ending = re.search(r"\d+$", name)
    alike = [s for key, s in stimuli.items() if ending and re.search(rf"(?<!\d){ending[0]}$", key)]
    return alike[0] if len(alike) == 1 else None


def _share(stimulus: Any, response: Any) -> bool:
    """Tell whether two series may be of one electrode: both name the same, or one names none."""
    electrodes = [series.get("electrode") for series in (stimulus, response)]
    return None in electrodes or electrodes[0] == electrodes[1]
