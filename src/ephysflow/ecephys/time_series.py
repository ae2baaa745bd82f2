"""Series of samples (NWB TimeSeries): values in their unit, and their times."""

import math
from dataclasses import dataclass
from typing import overload

import h5py
import numpy as np

from ephysflow.ecephys.nwb_file import attribute, dataset, member, naming, read_values, where
from ephysflow.errors import ProjectError

_SECONDS = ("seconds", "second", "s")


class Regular:
    """Times of samples taken at a rate: sample ``i`` at ``start + i / rate``; nothing is stored."""

    def __init__(self, start: float, rate: float, count: int) -> None:
        self.start, self.rate, self.count = start, rate, count

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...
    def __getitem__(self, index: int | slice) -> float | np.ndarray:
        if isinstance(index, slice):
            return self.start + np.arange(*index.indices(self.count)) / self.rate
        return self.start + index / self.rate


@dataclass(frozen=True)
class Scale:
    """From numbers as stored to the unit of a series: ``number * conversion + offset``."""

    conversion: float
    offset: float
    unit: str

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Return the values; numbers of scale 1 stay as they are."""
        if self.conversion == 1.0 and self.offset == 0.0:
            return numbers
        return numbers * self.conversion + self.offset


def scale_of(data: h5py.Dataset) -> Scale:
    """Return the scale of the dataset ``data`` of an NWB TimeSeries; what is missing is 1, 0 and ''."""
    return Scale(
        conversion=_number(data, "conversion", 1.0),
        offset=_number(data, "offset", 0.0),
        unit=str(attribute(data, "unit") or ""),
    )


def _number(data: h5py.Dataset, name: str, default: float) -> float:
    value = attribute(data, name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProjectError(f"{where(data)}: its {name} is {value!r}; a number is needed")
    return float(value)


def sample_times(series: h5py.Group, count: int) -> h5py.Dataset | Regular:
    """Return the times (s) of the samples of an NWB TimeSeries, unread.

    Parameters
    ----------
    series : group of the series, with ``timestamps``, or ``starting_time`` with the attribute ``rate``
    count : number of samples

    Raises
    ------
    ProjectError
        if it has neither, they are not as many as the samples, or not numbers in seconds.
    """
    if member(series, "timestamps") is not None:
        times = dataset(series, "timestamps")
        if times.ndim != 1 or times.dtype.kind not in "fiu" or times.shape[0] != count:
            raise ProjectError(
                f"{where(times)} has type {times.dtype} and shape {times.shape}; one number for each of the {count} "
                "samples is needed"
            )
        if (unit := attribute(times, "unit")) not in (None, *_SECONDS):
            raise ProjectError(f"{where(times)} has the unit {unit!r}; seconds are needed")
        return times
    if member(series, "starting_time") is None:
        raise ProjectError(f"{where(series)} has neither timestamps nor starting_time")
    place = dataset(series, "starting_time")
    start, rate = read_values(place).ravel(), attribute(place, "rate")
    if len(start) != 1 or start.dtype.kind not in "fiu" or not np.isfinite(start[0]):
        raise ProjectError(f"{where(place)} is {start.tolist()}; one number is needed")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ProjectError(f"{where(place)}: its rate is {rate!r}; a number above 0 is needed")
    return Regular(float(start[0]), float(rate), count)


@dataclass(frozen=True)
class Samples:
    """A series of numbers that was read whole: one for each time, or several (second axis)."""

    times: np.ndarray
    values: np.ndarray
    unit: str


def read_series(series: h5py.Group) -> Samples:
    """Read all times (s) and values of an NWB TimeSeries of numbers or truth values.

    Raises
    ------
    ProjectError
        if it is damaged, holds something else, or times and values are not equally many.
    """
    data = dataset(series, "data")
    if data.ndim not in (1, 2) or data.dtype.kind not in "fiub":
        raise ProjectError(
            f"{where(data)} has type {data.dtype} and shape {data.shape}; numbers, one or more a sample, are needed"
        )
    times = sample_times(series, data.shape[0])
    scale = scale_of(data)
    with naming(data):
        seconds = np.asarray(times[:], dtype=np.float64)
    values = read_values(data)
    return Samples(seconds, values if values.dtype.kind == "b" else scale(values), scale.unit)
