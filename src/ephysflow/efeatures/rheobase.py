"""Rheobase of a cell: the smallest current step that makes it spike, by one of four definitions.

Only depolarising sweeps (amplitude above 0) count, and a silent sweep counts with 0 spikes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ephysflow.efeatures.spikes import evoked_count, spike_times
from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.io.canonical import canonical_json

DEFAULT_PROTOCOLS = (
    "IV", "Step", "FirePattern", "IDrest", "IDRest", "IDthresh", "IDThresh", "IDThres", "IDthres",
)  # fmt: skip
"""Stimulus names whose sweeps give the rheobase when the configuration names none."""

_SUSPICIOUS = 0.01  # nA; a spike below it is hardly evoked


@dataclass(frozen=True)
class RheobaseResult:
    """Rheobase of one cell.

    Attributes
    ----------
    value : rheobase [nA], above 0; None when it cannot be told
    reason : why there is no value, or what to look at; empty when there is nothing to say
    used : positions, in the input arrays, of the sweeps that the value rests on
    """

    value: float | None
    reason: str = ""
    used: tuple[int, ...] = ()


def absolute(amplitudes: np.ndarray, counts: np.ndarray, *, spike_threshold: int = 1) -> RheobaseResult:
    """Take the smallest amplitude with at least `spike_threshold` spikes.

    Parameters
    ----------
    amplitudes : (n,) positive, ascending [nA]
    counts : (n,) evoked spikes
    """
    enough = np.flatnonzero(counts >= spike_threshold)
    if not len(enough):
        return RheobaseResult(None, f"no sweep has {spike_threshold} or more spikes")
    return RheobaseResult(float(amplitudes[enough[0]]), used=(int(enough[0]),))


def flush(
    amplitudes: np.ndarray,
    counts: np.ndarray,
    *,
    flush_length: int = 1,
    upper_bound_spikecount: int | None = None,
) -> RheobaseResult:
    """Take the smallest spiking amplitude whose next `flush_length` sweeps all spike.

    None when that sweep has more than `upper_bound_spikecount` spikes: the true rheobase then lies below the
    amplitudes that were tried. Arrays as for `absolute`.
    """
    for first in np.flatnonzero(counts > 0):
        run = counts[first : first + 1 + flush_length]
        if len(run) > flush_length and np.all(run > 0):
            if upper_bound_spikecount is not None and counts[first] > upper_bound_spikecount:
                reason = (
                    f"the first sweep of {flush_length + 1} spiking in a row has {counts[first]} spikes, "
                    f"more than upper_bound_spikecount {upper_bound_spikecount}"
                )
                return RheobaseResult(None, reason)
            used = tuple(range(int(first), int(first) + len(run)))
            return RheobaseResult(float(amplitudes[first]), used=used)
    return RheobaseResult(None, f"no spiking sweep is followed by {flush_length} more")


def majority(
    amplitudes: np.ndarray, counts: np.ndarray, *, min_step: float = 0.01, majority: float = 0.5
) -> RheobaseResult:
    """Take the centre of the lowest bin of amplitudes where at least the share `majority` of sweeps spikes.

    Bins [b, b + `min_step`) [nA] start at the smallest amplitude; empty ones are passed over. Arrays as for
    `absolute`.
    """
    lowest = amplitudes[0]
    bins = np.floor((amplitudes - lowest) / min_step + 1e-9)  # 0.3 is on the edge of 0.1 + 2 * 0.1
    for index in np.unique(bins):
        members = np.flatnonzero(bins == index)
        if np.mean(counts[members] > 0) >= majority:
            value = float(lowest + index * min_step + min_step / 2)
            return RheobaseResult(value, used=tuple(members.tolist()))
    return RheobaseResult(None, f"in no bin of {min_step} nA does a share of {majority} of the sweeps spike")


def interpolation(amplitudes: np.ndarray, counts: np.ndarray) -> RheobaseResult:
    """Take the amplitude at 1 spike of a straight line of amplitude on spike count.

    The line is fitted from the first silent sweep on that a spiking one follows. Arrays as for `absolute`.
    """
    pairs = np.flatnonzero((counts[:-1] == 0) & (counts[1:] > 0))
    if not len(pairs):
        return RheobaseResult(None, "no silent sweep is followed by a spiking one")
    start = int(pairs[0])
    slope, offset = np.polyfit(counts[start:], amplitudes[start:], 1)
    value = float(slope + offset)
    if value <= 0:
        return RheobaseResult(None, f"the line crosses 1 spike at {value:.4g} nA, which is not depolarising")
    return RheobaseResult(value, used=tuple(range(start, len(counts))))


_STRATEGIES: dict[str, Callable[..., RheobaseResult]] = {
    "absolute": absolute,
    "flush": flush,
    "majority": majority,
    "interpolation": interpolation,
}


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def _number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most


_ALLOWED: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "absolute": {"spike_threshold": (lambda x: _whole(x, 1), "a whole number above 0")},
    "flush": {
        "flush_length": (lambda x: _whole(x, 0), "a whole number, 0 or more"),
        "upper_bound_spikecount": (lambda x: x is None or _whole(x, 1), "a whole number above 0, or null"),
    },
    "majority": {
        "min_step": (lambda x: _number(x, 1e6), "a number above 0 [nA]"),
        "majority": (lambda x: _number(x, 1), "a number above 0, at most 1"),
    },
    "interpolation": {},
}


def check_strategy(strategy: str, settings: Mapping[str, Any]) -> None:
    """Refuse a rheobase strategy, or settings of it, that `rheobase` does not know.

    Raises
    ------
    ConfigurationError
        Naming what is allowed.
    """
    if strategy not in _ALLOWED:
        raise ConfigurationError(f"unknown rheobase strategy {strategy!r}; known: {', '.join(_ALLOWED)}")
    allowed = _ALLOWED[strategy]
    for name, value in settings.items():
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise ConfigurationError(
                f"rheobase strategy {strategy!r} has no setting {name!r}; known: {known}"
            )
        fits, wanted = allowed[name]
        if not fits(value):
            raise ConfigurationError(f"rheobase setting {name!r} is {value!r}; allowed: {wanted}")


def rheobase(
    strategy: str,
    settings: Mapping[str, Any],
    amplitudes: Sequence[float] | np.ndarray,
    counts: Sequence[int] | np.ndarray,
    min_amplitude: float = 0.0,
) -> RheobaseResult:
    """Rheobase from the step amplitudes and spike counts of one cell.

    Parameters
    ----------
    strategy : ``absolute``, ``flush``, ``majority`` or ``interpolation``
    settings : keyword arguments of the function of that name
    amplitudes : (n,) relative to the holding current [nA], any order and sign
    counts : (n,) evoked spikes
    min_amplitude : sweeps of this amplitude or less are not looked at [nA]; at 0 these are the hyperpolarising ones

    Raises
    ------
    ConfigurationError
        For an unknown strategy or setting.
    """
    check_strategy(strategy, settings)
    amplitudes, counts = np.asarray(amplitudes, float), np.asarray(counts, int)
    order = np.lexsort((counts, amplitudes))
    order = order[amplitudes[order] > min_amplitude]
    if not len(order):
        return RheobaseResult(None, f"no depolarising sweep above {min_amplitude:g} nA")
    result = _STRATEGIES[strategy](amplitudes[order], counts[order], **settings)
    used = tuple(int(order[i]) for i in result.used)
    early = amplitudes[(amplitudes < _SUSPICIOUS) & (counts > 0)]
    note = f"{len(early)} sweeps below {_SUSPICIOUS} nA have spikes" if len(early) else ""
    return replace(result, reason="; ".join(filter(None, (result.reason, note))), used=used)


def cell_rheobase(
    cell: str,
    rows: Sequence[Mapping[str, Any]],
    strategy: str,
    settings: Mapping[str, Any],
    protocols: Sequence[str],
    efel_settings: Mapping[str, Any],
    min_amplitude: float = 0.0,
) -> dict[str, Any]:
    """Rheobase of one cell from its sweep rows.

    Parameters
    ----------
    cell : its name
    rows : sweep rows of this cell; all that are given and whose protocol is in `protocols` count
    strategy, settings : as for `rheobase`
    protocols : exact names
    efel_settings : eFEL settings of the spike detection, as for `spike_times`
    min_amplitude : as for `rheobase`

    Returns
    -------
    dict with `cell`, `rheobase` [nA] or None, `strategy`, `settings` (JSON), `reason`, and `sweeps`: a list
    of dicts `protocol`, `sweep`, `amp` [nA], `spikecount` (None when it cannot be told; then the reason says
    why), `used`.

    Raises
    ------
    ConfigurationError
        If `protocols` is not a list of names, or strategy or settings are unknown.
    """
    if isinstance(protocols, str):
        raise ConfigurationError(f"the protocols of the rheobase are {protocols!r}; allowed: a list of names")
    check_strategy(strategy, settings)
    candidates = [row for row in rows if row["protocol"] in protocols]
    sweeps: list[dict[str, Any]] = []
    problems: list[str] = []
    for row, times in zip(candidates, spike_times(candidates, efel_settings), strict=True):
        count, problem = None, ""
        if isinstance(times, RecordingError):
            problem = str(times)
        elif row["amp"] is None or not np.isfinite(row["amp"]):
            problem = "the amplitude of the stimulus is not known"
        else:
            start, end = (
                efel_settings.get(a, row[b])
                for a, b in (("stim_start", "response_start"), ("stim_end", "response_end"))
            )
            count = evoked_count(times, start, end)
        if problem:
            problems.append(f"{row['protocol']} sweep {row['sweep']} does not count: {problem}")
        sweeps.append(
            {**{key: row[key] for key in ("protocol", "sweep", "amp")}, "spikecount": count, "used": False}
        )
    counted = [sweep for sweep in sweeps if sweep["spikecount"] is not None]
    result = rheobase(
        strategy,
        settings,
        [sweep["amp"] for sweep in counted],
        [sweep["spikecount"] for sweep in counted],
        min_amplitude,
    )
    for i in result.used:
        counted[i]["used"] = True
    reason = result.reason if candidates else f"no sweep of the protocols {', '.join(protocols)}"
    return {
        "cell": cell,
        "rheobase": result.value,
        "strategy": strategy,
        "settings": canonical_json(dict(settings)),
        "reason": "; ".join(filter(None, (reason, *problems))),
        "sweeps": sweeps,
    }
