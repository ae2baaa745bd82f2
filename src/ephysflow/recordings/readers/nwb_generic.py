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
    repetition is that of the repetitions table, or of a column of that name.
    """
    found, tabled = [], set()
    types, repetitions = _groupings(file)
    responses = children(file.get("acquisition"))
    for row, (response, stimulus) in enumerate(_rows(file)):
        tabled.add(response.series.id.__hash__())
        found.append(_found(response, stimulus, types.get(row), repetitions.get(row)))
    stimuli = {
        name: series
        for name, series in children(file.get("stimulus/presentation")).items()
        if kind_of(series) == _STIMULUS
    }
    for name, series in responses.items():
        if kind_of(series) in _RESPONSES and series.id.__hash__() not in tabled:
            partner = _partner(name, series, responses, stimuli)
            found.append(_found(_Part(series), None if partner is None else _Part(partner), None, None))
    return found
