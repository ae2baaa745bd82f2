"""One time series of an NWB file as an array, and a response with its stimulus as a sweep."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import regular_step
from ephysflow.recordings.readers.units import quantity_of
from ephysflow.recordings.sweep import RawSweep

# HDF5's gzip cannot shrink by more than this, so a larger announced array is an error or an attack.
_LARGEST_COMPRESSION = 1100

# Schema of NWB 2: starting_time and timestamps are in seconds, whatever else the attribute says.
_SECONDS = "seconds"


@dataclass(frozen=True)
class Series:
    """Samples of one series: `values` (n,) float32 after conversion and offset, in `unit`; `dt` in `t_unit`."""

    values: np.ndarray
    dt: float
    unit: str | None
    t_unit: str


def text(value: Any) -> str | None:
    """Return the text of an attribute or dataset of one element; None for anything else."""
    if value is None:
        return None
    if hasattr(value, "shape") and value.shape != ():
        value = value[0] if value.shape[0] else None
    elif hasattr(value, "shape") and hasattr(value, "file"):
        value = value[()]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip() if isinstance(value, str) else None


def kind_of(group: Any) -> str:
    """Return the neurodata type of a series: attribute of NWB 2, or the last ancestor of NWB 1; "" without."""
    ancestry = group.attrs.get("ancestry")
    old = text(ancestry[-1:]) if ancestry is not None and len(ancestry) else None
    return text(group.attrs.get("neurodata_type")) or old or ""


def scalar(group: Any, name: str) -> float | None:
    """Return the number that a group holds as dataset `name` (its first element), None where it has none."""
    dataset = group.get(name)
    if dataset is None or not hasattr(dataset, "dtype") or dataset.size == 0:
        return None
    return float(np.ravel(dataset[()])[0])


def read_series(group: Any, start: int = 0, count: int | None = None) -> Series:
    """Read a time series, or `count` samples of it from `start`.

    Parameters
    ----------
    group : h5py group with `data` and either `starting_time` (attribute rate [Hz]) or `timestamps`

    Raises
    ------
    RecordingError
        if the data is not a series of samples at regular times, or announces more than the file holds.
    """
    data = group.get("data") if group is not None else None
    if data is None or not hasattr(data, "dtype"):
        raise RecordingError(f"{_name(group)} has no data")
    if data.ndim != 1 or data.dtype.kind not in "fiu":
        raise RecordingError(f"{_name(group)}: one row of numbers is needed, found {data.dtype} {data.shape}")
    if data.nbytes > _LARGEST_COMPRESSION * data.id.get_storage_size():
        raise RecordingError(
            f"{_name(group)} announces {data.shape[0]} samples in {data.id.get_storage_size()} stored bytes"
        )
    stop = data.shape[0] if count is None else start + count
    if not 0 <= start < stop <= data.shape[0]:
        raise RecordingError(f"{_name(group)} has no samples {start} to {stop}: it has {data.shape[0]}")
    values = data[start:stop] * np.float64(data.attrs.get("conversion", 1.0))
    offset = float(data.attrs.get("offset", 0.0))
    if offset:
        values = values + offset
    dt, t_unit = _sampling(group, start, stop)
    return Series(values.astype(np.float32), dt, text(data.attrs.get("unit")), t_unit)


def _sampling(group: Any, start: int, stop: int) -> tuple[float, str]:
    timestamps, first = group.get("timestamps"), group.get("starting_time")
    if timestamps is not None:
        if timestamps.shape[0] < stop:
            raise RecordingError(f"{_name(group)} has fewer timestamps ({timestamps.shape[0]}) than samples")
        return regular_step(timestamps[start:stop].astype(float)), _SECONDS
    rate = first.attrs.get("rate") if first is not None else None
    if rate is None:
        raise RecordingError(f"{_name(group)} has neither a sampling rate nor timestamps")
    if not (np.isfinite(rate) and rate > 0):
        raise RecordingError(f"{_name(group)} has the sampling rate {rate}")
    return 1.0 / float(rate), text(first.attrs.get("unit")) or _SECONDS


def paired(response: Series, stimulus: Series, **more: Any) -> RawSweep:
    """Make a sweep of a recorded response and its stimulus; `more` are further fields of `RawSweep`.

    Raises
    ------
    RecordingError
        if the units are those of voltage clamp, or the sampling intervals differ.
    """
    if quantity_of(response.unit) == "current" or quantity_of(stimulus.unit) == "voltage":
        raise RecordingError(f"voltage clamp: response in {response.unit}, stimulus in {stimulus.unit}")
    if abs(response.dt - stimulus.dt) > 1e-3 * stimulus.dt or response.t_unit != stimulus.t_unit:
        raise RecordingError(
            f"response and stimulus differ in sampling interval: {response.dt:g} and {stimulus.dt:g} {stimulus.t_unit}"
        )
    return RawSweep(
        voltage=response.values,
        current=stimulus.values,
        dt=stimulus.dt,
        v_unit=response.unit,
        i_unit=stimulus.unit,
        t_unit=stimulus.t_unit,
        **more,
    )


def details_of(group: Any) -> dict[str, Any]:
    """Return what a current-clamp series says about amplifier and electrode, for people to read.

    Bridge balance [ohm], capacitance compensation [F] and bias current [A] have been applied by the amplifier.
    """
    names = ("bias_current", "bridge_balance", "capacitance_compensation", "gain")
    details: dict[str, Any] = {name: value for name in names if (value := scalar(group, name)) is not None}
    for name in ("stimulus_description", "description", "comments"):
        described = text(group.attrs.get(name))
        if described and described.lower() not in ("na", "no comments", "no description"):
            details[name] = described
    link = group.get("electrode", getlink=True)
    if link is not None:
        details["electrode"] = getattr(link, "path", group["electrode"].name).rsplit("/", 1)[-1]
    return details


def _name(group: Any) -> str:
    return "the series" if group is None else group.name.rsplit("/", 1)[-1]


def children(group: Any) -> dict[str, Any]:
    """Return the groups inside an h5py group by name; none for None, and broken links are left out."""
    return {name: child for name in group or () if hasattr(child := group.get(name), "keys")}
