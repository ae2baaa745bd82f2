"""Axon binary files (.abf), versions 1 and 2, by pyabf."""

import contextlib
import io
import struct
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, first_bytes, main_file, refusing
from ephysflow.recordings.readers.units import quantity_of
from ephysflow.recordings.sweep import RawSweep


@dataclass(frozen=True)
class _Channels:
    """Which channel is the voltage, and where the current comes from: a channel, or the command of one."""

    voltage: int
    current: int | None


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give the sweeps of an ABF file; they have no protocol name to ask for, all belong to the file's one.

    Raises
    ------
    RecordingError
        if the file is damaged, recorded in voltage clamp, or does not say which channel is which.
    """
    abf = _load(main_file(entry))
    channels = _choose_channels(abf, entry)
    yield [FoundSweep(str(k), (), None, partial(_read, abf, channels, k)) for k in range(abf.sweepCount)]


def _load(path: Path) -> Any:
    """Return the pyabf object of a file whose sections lie inside it; its samples are in memory."""
    _check_sections(path)
    search_path = list(sys.path)
    with refusing(f"{path.name}: damaged or unsupported ABF file"), _silence():
        import pyabf

        sys.path[:] = search_path  # importing pyabf puts a folder of its own in front
        abf = pyabf.ABF(path, loadData=False)
        if abf.abfVersion["major"] == 1:
            # pyabf 2.3.8 takes the levels of the first epochs for the holding levels of version 1
            abf.holdingCommand = list(struct.unpack_from("<4f", first_bytes(path, 1410), 1394))
        _check_counts(abf)
        abf.setSweep(0)
    return abf


def _check_sections(path: Path) -> None:
    """Refuse a file that announces more than it holds, before pyabf makes room for it."""
    head, size = first_bytes(path, 512), path.stat().st_size
    short = RecordingError(f"{path.name}: truncated: the header announces more than the file's {size} bytes")
    if len(head) < 512:
        raise short
    if head[:4] == b"ABF ":
        samples, ignored = struct.unpack_from("<ih", head, 10)
        block, tag_block, tags = struct.unpack_from("<3i", head, 40)
        (sweeps,) = struct.unpack_from("<i", head, 16)
        parts = [(block * 512 + ignored, samples * 2), (tag_block * 512, tags * 64)]
    else:
        sections = [struct.unpack_from("<IIq", head, 76 + 16 * k) for k in range(18)]
        (sweeps,) = struct.unpack_from("<I", head, 12)
        parts = [(block * 512, max(item, 1) * count) for block, item, count in sections if count]
    parts.append((0, sweeps * 2))  # pyabf lists the sweeps before it looks at their samples
    if any(start < 0 or length < 0 or start + length > size for start, length in parts):
        raise short


def _check_counts(abf: Any) -> None:
    """Refuse numbers of sweeps and lengths of epochs that pyabf would make room for and no data can have."""
    if not (0 < abf.sweepCount <= abf.dataPointCount and abf.sweepPointCount > 0):
        raise ValueError(f"{abf.sweepCount} sweeps of {abf.dataPointCount} samples in all")
    epochs = abf._headerV1 if abf.abfVersion["major"] == 1 else abf._epochPerDacSection
    for first, increment in zip(epochs.lEpochInitDuration, epochs.lEpochDurationInc, strict=True):
        last = first + increment * (abf.sweepCount - 1)
        if not (0 <= first <= abf.sweepPointCount and 0 <= last <= abf.sweepPointCount):
            raise ValueError(f"an epoch of {first} to {last} samples in sweeps of {abf.sweepPointCount}")


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what pyabf prints and warns of away from the log; what matters is checked on its results."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _choose_channels(abf: Any, entry: Mapping[str, Any]) -> _Channels:
    listed = ", ".join(f"{k}: {abf.adcNames[k]} [{abf.adcUnits[k]}]" for k in abf.channelList)
    recorded = [quantity_of(unit) for unit in abf.adcUnits]
    commanded = [quantity_of(_dac(abf, k)[1]) for k in abf.channelList]
    v_asked, i_asked = (_channel(abf, entry, key, listed) for key in ("v_channel", "i_channel"))

    voltages = [k for k, quantity in enumerate(recorded) if quantity == "voltage"]
    currents = [k for k, quantity in enumerate(recorded) if quantity == "current"]
    driven = [k for k in voltages if commanded[k] == "current"]
    clamped = [k for k in currents if commanded[k] == "voltage" and _waveform(abf, k)[0]]
    if v_asked is None and ((not voltages and currents) or (clamped and not driven)):
        raise RecordingError(f"recorded in voltage clamp; channels: {listed}")

    if v_asked is not None:
        voltage = v_asked
    elif len(voltages) == 1:
        voltage = voltages[0]
    elif len(driven) == 1:
        voltage = driven[0]
    else:
        raise RecordingError(
            f"{len(voltages)} voltage channels with {len(driven)} current commands: "
            f"choose with v_channel (and i_channel); channels: {listed}"
        )
    if i_asked is not None:
        return _Channels(voltage, i_asked)
    if len(currents) > 1:
        raise RecordingError(f"{len(currents)} current channels: choose with i_channel; channels: {listed}")
    if currents:
        return _Channels(voltage, currents[0])
    if commanded[voltage] != "current":
        name, unit = _dac(abf, voltage)
        raise RecordingError(
            f"no current: no channel records one and the command {name!r} of channel {voltage} is in {unit!r}; "
            f"channels: {listed}"
        )
    return _Channels(voltage, None)


def _channel(abf: Any, entry: Mapping[str, Any], key: str, listed: str) -> int | None:
    """Return the number of the channel that the entry chooses by number or name, None if it does not."""
    asked = entry.get(key)
    if asked is None or asked == "":
        return None
    for k in abf.channelList:
        if str(asked).strip() in {str(k), abf.adcNames[k]}:
            return k
    raise RecordingError(f"{key} {asked!r} is not in the file; channels: {listed}")


def _dac(abf: Any, channel: int) -> tuple[str, str]:
    """Return name and unit of the command output that goes with a recording channel."""
    if channel < len(abf.dacUnits):
        return abf.dacNames[channel], abf.dacUnits[channel]
    return "", ""


def _waveform(abf: Any, channel: int) -> tuple[int, int]:
    """Return the (enabled, source) flags of the command waveform: source 1 is a table, 2 a file."""
    section = abf._headerV1 if abf.abfVersion["major"] == 1 else abf._dacSection
    if channel >= len(section.nWaveformEnable):
        return 0, 0
    return section.nWaveformEnable[channel], section.nWaveformSource[channel]


def _read(abf: Any, channels: _Channels, sweep: int) -> RawSweep:
    v, i = channels.voltage, channels.current
    abf.setSweep(sweep, channel=v)
    voltage = np.array(abf.sweepY, dtype=np.float32)
    details: dict[str, Any] = {"v_channel": f"{abf.adcNames[v]} [{abf.adcUnits[v]}]"}
    if i is None:
        enabled, source = _waveform(abf, v)
        with _silence():
            current = np.array(abf.sweepC, dtype=np.float32)
        if not np.isfinite(current).all():
            raise RecordingError(
                "the command waveform cannot be rebuilt: its file or epoch type is not known"
            )
        name, i_unit = _dac(abf, v)
        kind = (
            {1: "epoch table", 2: "stimulus file"}.get(source, "unknown") if enabled else "holding level only"
        )
        details["current"] = f"command waveform {name} ({kind})"
        details["note"] = f"the current was not recorded: taken from the {details['current']}"
    else:
        abf.setSweep(sweep, channel=i)
        current, i_unit = np.array(abf.sweepY, dtype=np.float32), abf.adcUnits[i]
        details["current"] = f"recorded channel {abf.adcNames[i]} [{i_unit}]"
    details["comment"] = abf.abfFileComment or None
    protocol = PureWindowsPath(abf.protocolPath).stem
    return RawSweep(
        voltage=voltage,
        current=current,
        dt=abf.dataSecPerPoint,
        v_unit=abf.adcUnits[v],
        i_unit=i_unit,
        t_unit="s",
        sweep_id=str(sweep),
        protocol=None if protocol in ("", "None") else protocol,
        details={key: value for key, value in details.items() if value},
    )
