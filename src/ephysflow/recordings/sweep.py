"""What a reader returns, and what the rest of the stage works on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TIMING_KEYS = ("ton", "tmid", "tmid2", "t1", "t2", "t3", "t4", "toff", "tend")
"""Names of stimulus times [ms from the start of the sweep]."""

AMPLITUDE_KEYS = ("amp", "amp2", "hypamp")
"""Names of stimulus amplitudes; ``amp`` and ``amp2`` are relative to the holding current ``hypamp``."""


@dataclass(frozen=True)
class RawSweep:
    """One sweep as a reader found it: values and units of the file, nothing converted yet.

    Attributes
    ----------
    voltage, current : (n,) float32 or float64 arrays, native byte order, in `v_unit` and `i_unit`
    dt : sampling interval in `t_unit`
    v_unit, i_unit, t_unit : as the file states them; None where it does not
    sweep_id : how the file names the sweep; empty where it does not
    repetition : repetition number of the stimulus, if the file has one
    protocol : stimulus name in the file, if it has one
    timing : stimulus times that the file states [ms], keys from `TIMING_KEYS`
    amplitudes : stimulus amplitudes that the file states, in `i_unit`, keys from `AMPLITUDE_KEYS`
    ljp : liquid junction potential that the file states [mV]
    details : anything else worth showing to a person (holding, electrode, comments, channel names)
    """

    voltage: np.ndarray
    current: np.ndarray
    dt: float
    v_unit: str | None = None
    i_unit: str | None = None
    t_unit: str | None = None
    sweep_id: str = ""
    repetition: int | None = None
    protocol: str | None = None
    timing: Mapping[str, float] = field(default_factory=dict)
    amplitudes: Mapping[str, float] = field(default_factory=dict)
    ljp: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UnreadableSweep:
    """A sweep of a file that could not be read, with the reason."""

    sweep_id: str
    reason: str


@dataclass(frozen=True)
class ReadResult:
    """All that one file entry gave: nothing is dropped without a word."""

    sweeps: tuple[RawSweep, ...]
    unreadable: tuple[UnreadableSweep, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """One sweep in mV, nA and ms, with what is known of its stimulus before looking at the trace.

    Attributes
    ----------
    voltage : (n,) membrane potential [mV], after `v_corr` and `ljp`
    current : (n,) injected current [nA], holding current included
    dt : sampling interval [ms]
    given : times [ms] and amplitudes [nA] (keys from `TIMING_KEYS` and `AMPLITUDE_KEYS`) and stimulus
        options (``chirp_*``) from the user's metadata: taken as they are
    stated : the same from the file itself; the user's come first, key by key
    """

    voltage: np.ndarray
    current: np.ndarray
    dt: float
    given: Mapping[str, float] = field(default_factory=dict)
    stated: Mapping[str, float] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Length of the sweep [ms]."""
        return len(self.voltage) * self.dt
