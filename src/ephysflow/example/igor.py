"""Writes Igor Pro binary waves, version 5 (WaveMetrics, Igor Pro Technical Note 003)."""

import struct
from pathlib import Path

import numpy as np

_BIN_HEADER = struct.Struct("<hhiiii4i4iiii")
_WAVE_HEADER = struct.Struct("<iIIihh6sh32sii4i4d4d4s4s4s4s4shhddi4i4ii16ihhhBBiihhii")
_FLOAT32 = 2


def write_wave(path: Path, values: np.ndarray, dt: float, unit: str) -> None:
    """Write one wave.

    Parameters
    ----------
    path : where
    values : (n,) array, written as float32
    dt : sampling interval [s]
    unit : of the values, at most 3 characters
    """
    data = np.asarray(values, dtype="<f4").tobytes()
    n = len(values)
    name = path.stem.encode()[:31]

    def headers(checksum: int) -> bytes:
        binary = _BIN_HEADER.pack(
            5, checksum, _WAVE_HEADER.size + len(data), 0, 0, 0, *[0] * 4, *[0] * 4, 0, 0, 0
        )
        # fmt: off
        wave = _WAVE_HEADER.pack(
            0, 0, 0, n, _FLOAT32, 0, b"", 1, name, 0, 0,
            n, 0, 0, 0, dt, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0,
            unit.encode(), b"s", b"", b"", b"",
            0, 0, 0.0, 0.0, 0, *[0] * 4, *[0] * 4, 0, *[0] * 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )
        # fmt: on
        return binary + wave

    total = sum(struct.unpack("<192h", headers(0)))  # the 16-bit words of both headers must add up to 0
    checksum = (-total + 0x8000) % 0x10000 - 0x8000
    path.write_bytes(headers(checksum) + data)
