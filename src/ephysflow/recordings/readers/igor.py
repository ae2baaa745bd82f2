"""Igor binary waves (.ibw, .bwav), versions 2, 3 and 5: one file with the voltage, one with the current.

Layout of the headers: WaveMetrics, Technical Note 003 "Igor Binary Format".
"""

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, demand, first_bytes, number, with_note
from ephysflow.recordings.readers.units import quantity_of, unit_factor
from ephysflow.recordings.sweep import RawSweep

# Offsets in bytes; those of the wave header count from its beginning.
_LAYOUTS: dict[int, dict[str, int]] = {
    2: {"header": 16, "note_size": 6, "data": 110, "padding": 16, "checked": 142},
    3: {"header": 20, "note_size": 6, "formula_size": 10, "data": 110, "padding": 16, "checked": 146},
    5: {"header": 64, "note_size": 12, "formula_size": 8, "data": 320, "padding": 0, "checked": 384},
}
_WAVE2: dict[str, Any] = {
    "points": 42,
    "type": 0,
    "name": (6, 20),
    "step": 48,
    "units": (34, 4),
    "x_units": (38, 4),
}
_WAVE5: dict[str, Any] = {
    "points": 12,
    "type": 16,
    "name": (28, 32),
    "step": 84,
    "units": (148, 4),
    "x_units": (152, 4),
}

_COMPLEX = 0x01
_TYPES = {0x02: "f4", 0x04: "f8", 0x08: "i1", 0x10: "i2", 0x20: "i4", 0x48: "u1", 0x50: "u2", 0x60: "u4"}


@dataclass(frozen=True)
class Wave:
    """One Igor wave.

    Attributes
    ----------
    name : its name in Igor
    values : (n,) float32, or float64 where float32 would not hold the values of the file
    step : distance of two samples, in `x_unit`
    unit, x_unit : as written; None where blank
    note : text that the recording program attached
    version : 2, 3 or 5
    """

    name: str
    values: np.ndarray
    step: float
    unit: str | None
    x_unit: str | None
    note: str
    version: int


def is_wave(head: bytes) -> bool:
    """Tell from the first two bytes whether a file may be an Igor binary wave."""
    return head[:2] in {struct.pack(order + "h", v) for order in "<>" for v in _LAYOUTS}


def read_wave(path: Path) -> Wave:
    """Read one wave; the header's checksum and sizes are checked before the samples are taken.

    Raises
    ------
    RecordingError
        if the file is missing, damaged, or holds something else than a series of real numbers.
    """
    try:
        return _parse(first_bytes(path, -1))
    except RecordingError as error:
        raise RecordingError(str(error) if str(path) in str(error) else f"{path.name}: {error}") from None


def _parse(content: bytes) -> Wave:
    if not is_wave(content):
        raise RecordingError("not an Igor binary wave of version 2, 3 or 5")
    order = ">" if content[0] == 0 else "<"
    version = struct.unpack_from(order + "h", content)[0]
    layout, wave = _LAYOUTS[version], _WAVE5 if version == 5 else _WAVE2
    start = layout["header"] + layout["data"]
    if len(content) < max(start, layout["checked"]):
        raise RecordingError(f"truncated: {len(content)} bytes do not hold the header")
    if np.frombuffer(content, order + "u2", layout["checked"] // 2).sum() % 0x10000:
        raise RecordingError("the checksum of the header is wrong: the file is damaged")

    def value(code: str, offset: int) -> Any:
        return struct.unpack_from(order + code, content, offset)[0]

    def wave_text(place: tuple[int, int]) -> str:
        offset, size = place
        return _text(content[layout["header"] + offset :][:size])

    points = value("i", layout["header"] + wave["points"])
    code = value("h", layout["header"] + wave["type"])
    if code & _COMPLEX or code not in _TYPES:
        raise RecordingError(
            "the wave holds text or complex numbers"
            if code in (0, 1) or code & 1
            else f"unknown type of number {code:#x}"
        )
    if version == 5 and any(struct.unpack_from(order + "3i", content, layout["header"] + 72)):
        raise RecordingError("the wave has more than one dimension; one wave for each sweep is needed")
    stored = np.dtype(order + _TYPES[code])
    if points < 0 or start + points * stored.itemsize > len(content):
        raise RecordingError(
            f"truncated: the header announces {points} samples, {(len(content) - start) // stored.itemsize} are there"
        )
    values = np.frombuffer(content, stored, points, start)
    exact = np.float32 if (stored.kind == "f" and stored.itemsize == 4) or stored.itemsize < 4 else np.float64

    # In versions 2 and 3 the note comes first, then the formula; in version 5 the other way round.
    note_size = value("i", layout["note_size"])
    formula_size = value("i", layout["formula_size"]) if version != 2 else 0
    unit_size = value("i", 16) if version == 5 else 0
    after = start + points * stored.itemsize + layout["padding"]
    note_start = after + (formula_size if version == 5 else 0)
    if min(note_size, formula_size, unit_size) < 0 or note_start + note_size + unit_size > len(content):
        raise RecordingError("truncated: the end of the wave's note is missing")
    long_unit = _text(content[note_start + note_size :][:unit_size])
    return Wave(
        name=wave_text(wave["name"]),
        values=values.astype(exact),
        step=value("d", layout["header"] + wave["step"]),
        unit=long_unit or wave_text(wave["units"]) or None,
        x_unit=wave_text(wave["x_units"]) or None,
        note=_text(content[note_start : note_start + note_size]),
        version=version,
    )


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").replace("\r", "\n").strip()


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give the one sweep of an Igor entry (`v_file`, `i_file`); the note's PATTERN is not asked for."""
    demand(entry, ("v_file", "i_file"), "igor")
    yield [FoundSweep(Path(entry["v_file"]).stem, (), None, lambda: _read(entry))]


def _read(entry: Mapping[str, Any]) -> RawSweep:
    voltage, current = read_wave(Path(entry["v_file"])), read_wave(Path(entry["i_file"]))
    details: dict[str, Any] = {"channels": f"{voltage.name}, {current.name}"}
    if quantity_of(voltage.unit) == "current" and quantity_of(current.unit) == "voltage":
        voltage, current = current, voltage
        details = with_note(details, "v_file held the current and i_file the voltage: put right")
    if abs(voltage.step - current.step) > 1e-6 * abs(voltage.step):
        raise RecordingError(
            f"the two waves differ in sampling interval: {voltage.step:g} (voltage), {current.step:g} (current)"
        )
    if (difference := _disagreement(entry, voltage)) is not None:
        details = with_note(details, difference)
    raw = RawSweep(
        voltage=voltage.values,
        current=current.values,
        dt=voltage.step,
        v_unit=voltage.unit,
        i_unit=current.unit,
        t_unit=voltage.x_unit,
        sweep_id=voltage.name,
        details=details,
    )
    return _with_note_of_wave(raw, voltage.note)


def _disagreement(entry: Mapping[str, Any], wave: Wave) -> str | None:
    """Say where the user's `dt`, which wins, is not that of the wave's header."""
    given = number(entry, "dt")
    if given is None:
        return None
    unit = entry.get("t_unit") or wave.x_unit
    ours = given * unit_factor(unit, "time")
    theirs = wave.step * unit_factor(wave.x_unit or unit, "time")
    if abs(ours - theirs) <= 0.01 * theirs:
        return None
    return f"dt is {ours:g} ms as given; the header says {theirs:g} ms"


def _with_note_of_wave(raw: RawSweep, note: str) -> RawSweep:
    """Add what the note of a wave says: its pattern as protocol, and times of a single step.

    Amplitudes of the pulse table are shown but not stated: they count in units of the amplifier's
    command (50 for a step of 119 pA in the published example).
    """
    fields = dict(re.findall(r"([^:;\n]+):([^;\n]*)", note))
    pulses = _pulse_table(fields)
    details = dict(raw.details)
    if pulses:
        details["pulses"] = "; ".join(f"{amplitude:g} for {duration:g} ms" for amplitude, duration in pulses)
    timing = _single_step(fields, pulses, len(raw.voltage))
    return replace(raw, protocol=fields.get("PATTERN") or None, timing=timing, details=details)


def _pulse_table(fields: Mapping[str, str]) -> list[tuple[float, float]]:
    """Return (amplitude, duration [ms]) of the epochs of table P0, those without duration left out."""
    pulses = []
    try:
        for k in range(1, 100):
            if f"P0DUR{k}" not in fields:
                break
            pulses.append((float(fields[f"P0AMP{k}"]), float(fields[f"P0DUR{k}"])))
    except (KeyError, ValueError):
        return []
    return [(amplitude, duration) for amplitude, duration in pulses if duration > 0]


def _single_step(
    fields: Mapping[str, str], pulses: list[tuple[float, float]], samples: int
) -> dict[str, float]:
    """Return ton and toff [ms] if the note describes one step, and nothing where there is any doubt.

    No doubt means: type "pulse", one pulse table, one sampling interval, epochs that last exactly as long as
    the sweep, and one amplitude in neighbouring epochs that differs from that of the first.
    """
    intervals = {v for k, v in fields.items() if re.fullmatch(r"SI|P0SI\d+", k)}
    tables = {k[:2] for k in fields if re.fullmatch(r"P\dDUR\d+", k)}
    if fields.get("TYPE") != "pulse" or tables != {"P0"} or len(intervals) != 1 or not pulses:
        return {}
    try:
        interval = float(intervals.pop()) / 1000.0
    except ValueError:
        return {}
    ends = np.cumsum([duration for _, duration in pulses])
    away = [k for k, (amplitude, _) in enumerate(pulses) if amplitude != pulses[0][0]]
    one_run = bool(away) and away[-1] - away[0] + 1 == len(away)
    if not one_run or len({pulses[k][0] for k in away}) != 1 or abs(ends[-1] - samples * interval) > interval:
        return {}
    return {"ton": float(ends[away[0] - 1]), "toff": float(ends[away[-1]])}
