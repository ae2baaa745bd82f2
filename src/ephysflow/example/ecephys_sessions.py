"""The content of the example's Neuropixels sessions: probes, presentations, and units that respond to them.

No animal and no model of one: Poisson neurons with a dead time, whose rates follow the stimuli. Everything follows
from the seed, so that what an analysis should find is known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FRAME = 1 / 59.95
"""Duration of a frame of the monitor [s]: presentations last a whole number of frames."""

SAMPLING_RATE = 30_000.0
"""Of the spike band [Hz]; spikes fall on its samples."""

LFP_RATE, LFP_SUBSAMPLING = 2500.0, 2

N_SAMPLES = 82
"""Of a mean waveform."""

FULL_PROBE = 384
"""Channels of the real probe; the example keeps every so many of them."""

OUT_OF_BRAIN = ""

_BIN = 1e-3  # s, in which a neuron fires at most once
_DEAD_TIME = 2  # bins
_TRACKS = (
    (("LGd", 0.2), ("DG", 0.1), ("CA1", 0.2), ("VISp", 0.34), (OUT_OF_BRAIN, 0.16)),
    (("LP", 0.25), ("CA3", 0.1), ("CA1", 0.2), ("VISl", 0.3), (OUT_OF_BRAIN, 0.15)),
    (("LP", 0.2), ("DG", 0.15), ("CA1", 0.2), ("VISal", 0.3), (OUT_OF_BRAIN, 0.15)),
)  # structures from the tip of a probe upwards, with their share of its channels
_LATENCIES = {"LGd": 0.035, "VISp": 0.045, "VISl": 0.055, "VISal": 0.06, "LP": 0.07}
"""Of visual responses [s], in the order of the areas; other structures do not respond."""

_CASES = (
    *(
        "",
        "limits",
        "",
        "noise",
        "",
        "amplitude_cutoff",
        "",
        "presence_ratio",
        "",
        "isi_violations",
        "",
        "nan",
    ),
    *(
        "",
        "out_of_brain",
        "",
        "invalid_channel",
        "",
        "",
        "noise",
        "",
        "",
        "isi_violations",
        "",
        "nan_presence",
    ),
)
"""What is odd about each unit, over and over; the seed does not change it."""


@dataclass(frozen=True)
class Animal:
    """What depends on the type of a session."""

    session_type: str
    genotype: str
    sex: str
    age_in_days: float
    opsin: bool


ANIMALS = (
    Animal("brain_observatory_1.1", "Sst-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt", "M", 118.0, True),
    Animal("functional_connectivity", "wt/wt", "F", 107.0, False),
)


@dataclass(frozen=True)
class Probe:
    """One probe: its channels from the tip upwards.

    Attributes
    ----------
    id, name : of the probe
    channel_ids : (C,)
    local_index : (C,) from 0 on: the row of a channel in mean waveforms
    vertical, horizontal : (C,) um, from the tip
    structure : (C,) acronyms; empty out of the brain
    ccf : (C, 3) anterior-posterior, dorsal-ventral, left-right [um]; NaN out of the brain
    valid : (C,) false for the reference channel
    """

    id: int
    name: str
    channel_ids: np.ndarray
    local_index: np.ndarray
    vertical: np.ndarray
    horizontal: np.ndarray
    structure: np.ndarray
    ccf: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Block:
    """Presentations of one stimulus, one after another.

    Attributes
    ----------
    stimulus : name
    index : of the block; None for spontaneous activity
    start, stop : (P,) s
    parameters : name -> (P,) numbers with NaN, or texts with "N/A", where one does not apply
    """

    stimulus: str
    index: int | None
    start: np.ndarray
    stop: np.ndarray
    parameters: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Unit:
    """A unit: its peak channel, its spikes [s], their amplitudes [V], mean waveform (C, 82) [V] and metrics."""

    id: int
    probe: Probe
    peak: int
    quality: str
    times: np.ndarray
    amplitudes: np.ndarray
    waveform: np.ndarray
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Simulated:
    """A session: `pulses` are onsets of light [s], `duration` [s] is that of the recording."""

    animal: Animal
    probes: list[Probe]
    blocks: list[Block]
    pulses: np.ndarray
    units: list[Unit]
    duration: float


def animal_of(session_id: int) -> Animal:
    """Return the animal of a session: odd ids see the stimuli of ``brain_observatory_1.1``."""
    return ANIMALS[(session_id + 1) % 2]


def probe_ids(session_id: int, n_probes: int) -> list[int]:
    """Return the ids of the probes of a session."""
    return [740_000_000 + 10 * (session_id % 1_000_000) + p for p in range(n_probes)]


def probes_of(session_id: int, n_probes: int, n_channels: int) -> list[Probe]:
    """Return the probes of a session, at most ten."""
    first = 800_000_000 + 10_000 * (session_id % 10_000)
    return [
        _probe(probe_id, p, n_channels, first + 1000 * p)
        for p, probe_id in enumerate(probe_ids(session_id, n_probes))
    ]


def _probe(probe_id: int, position: int, n_channels: int, first_channel: int) -> Probe:
    k = np.arange(n_channels)
    vertical = 20 * (k * max(FULL_PROBE // n_channels, 1) // 2 + 1)
    track = _TRACKS[position % len(_TRACKS)]
    ends = np.round(np.cumsum([share for _, share in track]) * n_channels).astype(int)
    names = np.array([name for name, _ in track], dtype=object)
    structure = names[np.minimum(np.searchsorted(ends, k, side="right"), len(names) - 1)]
    surface = float(vertical[ends[-2] - 1]) if n_channels > 1 else float(vertical[0])
    depth = surface - vertical
    ccf = np.stack(
        [8300.0 + 350 * position - 0.2 * depth, 900.0 + 0.92 * depth, 8700.0 + 250 * position - 0.34 * depth],
        axis=1,
    ).round()
    ccf[structure == OUT_OF_BRAIN] = np.nan
    return Probe(
        probe_id,
        f"probe{chr(ord('A') + position)}",
        first_channel + k,
        k,
        vertical,
        np.array([43, 11, 59, 27])[k % 4],
        structure,
        ccf,
        k != n_channels // 2,
    )


def simulate_session(session_id: int, seed: int, n_probes: int, n_channels: int, n_units: int) -> Simulated:
    """Make a session of about three minutes.

    Parameters
    ----------
    session_id : decides the ids of everything, and by its parity the type of the session
    seed : decides the spikes
    n_probes, n_channels, n_units : channels and units of each probe
    """
    rng = np.random.default_rng(seed)
    animal = animal_of(session_id)
    probes = probes_of(session_id, n_probes, n_channels)
    blocks = list(presentations_of(animal))
    end = float(blocks[-1].stop[-1])
    pulses = end + 2.0 + 1.5 * np.arange(10) if animal.opsin else np.empty(0)
    duration = end + (20.0 if animal.opsin else 5.0)
    first = 950_000_000 + 10_000 * (session_id % 1_000)
    units = [
        _unit(rng, first + p * n_units + k, probe, (p * n_units + k), blocks, pulses, duration)
        for p, probe in enumerate(probes)
        for k in range(n_units)
    ]
    return Simulated(animal, probes, blocks, pulses, units, duration)


def presentations_of(animal: Animal) -> Iterator[Block]:
    """Yield the blocks in the order of time: those of stimuli between spontaneous activity."""
    stimuli = [_flashes(), _drifting_gratings()]
    if animal.session_type == "brain_observatory_1.1":
        stimuli.append(_natural_scenes())
    else:
        stimuli.insert(0, _gabors())
    time = 5.0
    yield _block("spontaneous", None, time, [20.0], 0.0, {})
    time += 20.0
    for index, (name, frames, gap, parameters) in enumerate(stimuli):
        count = len(next(iter(parameters.values())))
        block = _block(name, index, time, [frames * FRAME] * count, gap * FRAME, parameters)
        yield block
        time = float(block.stop[-1]) + gap * FRAME
        yield _block("spontaneous", None, time, [5.0], 0.0, {})
        time += 5.0


_Stimulus = tuple[str, int, int, dict[str, np.ndarray]]
"""Name, frames of a presentation, frames of the gap after it, parameters."""


def _flashes() -> _Stimulus:
    count = 16
    parameters = {
        "color": np.array(["1.0", "-1.0"], dtype=object)[np.arange(count) % 2],
        "contrast": np.full(count, 0.8),
        "size": _texts("[300.0, 300.0]", count),
        "phase": _texts("[0.0, 0.0]", count),
    }
    return "flashes", 15, 105, parameters


def _drifting_gratings() -> _Stimulus:
    """4 orientations by 2 temporal frequencies and a blank, three times."""
    shown = [(o, f) for o in (0.0, 45.0, 90.0, 135.0) for f in (2.0, 8.0)] + [(np.nan, np.nan)]
    order = np.concatenate([np.random.default_rng(k).permutation(len(shown)) for k in range(3)])
    orientation, frequency = np.array(shown)[order].T
    blank = np.isnan(orientation)
    parameters = {
        "orientation": orientation,
        "temporal_frequency": frequency,
        "contrast": np.where(blank, np.nan, 0.8),
        "spatial_frequency": np.where(blank, "N/A", "0.04").astype(object),
        "size": np.where(blank, "N/A", "[250.0, 250.0]").astype(object),
        "phase": np.where(blank, "N/A", "[5308.98333333, 5308.98333333]").astype(object),
    }
    return "drifting_gratings", 120, 60, parameters


def _natural_scenes() -> _Stimulus:
    """Five scenes and a blank, -1, ten times; no gap between them."""
    frames = np.concatenate([np.random.default_rng(k).permutation(6) - 1.0 for k in range(10)])
    return "natural_scenes", 15, 0, {"frame": frames}


def _gabors() -> _Stimulus:
    """Nine positions by three orientations, twice; no gap between them."""
    shown = [(x, y, o) for x in (-10.0, 0.0, 10.0) for y in (-10.0, 0.0, 10.0) for o in (0.0, 45.0, 90.0)]
    order = np.concatenate([np.random.default_rng(k).permutation(len(shown)) for k in range(2)])
    x, y, orientation = np.array(shown)[order].T
    parameters = {
        "x_position": x,
        "y_position": y,
        "orientation": orientation,
        "temporal_frequency": np.full(len(x), 4.0),
        "contrast": np.full(len(x), 0.8),
        "spatial_frequency": _texts("0.08", len(x)),
        "size": _texts("[20.0, 20.0]", len(x)),
        "phase": _texts("[3644.93333333, 3644.93333333]", len(x)),
    }
    return "gabors", 15, 0, parameters


def _texts(text: str, count: int) -> np.ndarray:
    return np.full(count, text, dtype=object)


def _block(
    name: str,
    index: int | None,
    time: float,
    durations: list[float],
    gap: float,
    parameters: Mapping[str, np.ndarray],
) -> Block:
    bounds = time + np.cumsum([0.0, *(duration + gap for duration in durations)])
    stop = bounds[1:] if gap == 0 else bounds[:-1] + durations
    return Block(name, index, bounds[:-1], stop, parameters)


def _unit(
    rng: np.random.Generator,
    unit_id: int,
    probe: Probe,
    position: int,
    blocks: list[Block],
    pulses: np.ndarray,
    duration: float,
) -> Unit:
    case = _CASES[position % len(_CASES)]
    peak = _peak_channel(probe, position, case)
    structure = str(probe.structure[peak])
    rate = _rate(rng, structure, position, blocks, pulses, duration)
    bins = np.flatnonzero(rng.random(len(rate)) < -np.expm1(-rate * _BIN))
    if case not in ("noise", "isi_violations"):
        bins = _with_dead_time(bins)
    times = np.floor((bins + rng.random(len(bins))) * _BIN * SAMPLING_RATE) / SAMPLING_RATE
    if case == "presence_ratio":
        times = times[times < 0.6 * duration]
    if case == "isi_violations":  # spikes of a neighbour
        echoes = times[::6] + np.round(0.8e-3 * SAMPLING_RATE) / SAMPLING_RATE
        times = np.unique(np.concatenate([times, echoes]))
    times = np.unique(times)
    size = 60e-6 * rng.lognormal(0.3, 0.3)
    amplitudes = np.round(size * np.maximum(rng.normal(1.0, 0.12, len(times)), 0.2), 8)
    return Unit(
        unit_id,
        probe,
        peak,
        "noise" if case == "noise" else "good",
        times,
        amplitudes,
        _waveform(rng, probe, peak, size),
        _metrics(rng, case, times, duration, size),
    )


def _peak_channel(probe: Probe, position: int, case: str) -> int:
    """Spread the units over the valid channels in the brain; two cases lie elsewhere."""
    inside = np.flatnonzero((probe.structure != OUT_OF_BRAIN) & probe.valid)
    if case == "out_of_brain":
        inside = np.flatnonzero(probe.structure == OUT_OF_BRAIN)
    elif case == "invalid_channel":
        inside = np.flatnonzero(~probe.valid)
    if not len(inside):
        return 0
    return int(inside[(position * 7) % len(inside)])  # 7: neighbours in number are not neighbours in place


def _rate(
    rng: np.random.Generator,
    structure: str,
    position: int,
    blocks: list[Block],
    pulses: np.ndarray,
    duration: float,
) -> np.ndarray:
    """Return the rate [Hz] in bins of 1 ms: a base that drifts, and responses to what is shown."""
    time = (np.arange(round(duration / _BIN)) + 0.5) * _BIN
    base = 1.5 + 4.0 * rng.lognormal(0.0, 0.5)
    rate = base * (1 + 0.25 * np.sin(2 * np.pi * (time / 60 + rng.random())))
    preferred = 45.0 * (position % 4)
    gain = base * (1.5 + rng.random()) if structure in _LATENCIES else 0.0
    latency = _LATENCIES.get(structure, 0.0)
    for block in blocks if gain else ():
        for k, (start, stop) in enumerate(zip(block.start.tolist(), block.stop.tolist(), strict=True)):
            shown = {name: values[k] for name, values in block.parameters.items()}
            strength = gain * _drive(block.stimulus, shown, preferred, position)
            if strength:
                first, last = int((start + latency) / _BIN), int((stop + latency + 0.05) / _BIN)
                since = time[first:last] - (start + latency)
                fades = np.minimum((stop + latency + 0.05 - time[first:last]) / 0.05, 1)
                course = 0.6 + 2.4 * np.exp(-since / 0.06)
                frequency = shown.get("temporal_frequency", 0.0)
                course *= 1 + 0.5 * np.sin(2 * np.pi * frequency * since)
                rate[first:last] += strength * course * fades
    if structure.startswith("VIS") and position % 3 == 0:  # neurons with the opsin
        for pulse in pulses.tolist():
            rate[int((pulse + 0.002) / _BIN) : int((pulse + 0.012) / _BIN)] += 150.0
    return rate


def _drive(stimulus: str, shown: Mapping[str, Any], preferred: float, position: int) -> float:
    """Return how much a stimulus drives a neuron, from 0 to about 2."""
    if stimulus == "flashes":
        return 1.4 if (shown["color"] == "1.0") == (position % 2 == 0) else 0.5
    if stimulus == "natural_scenes":
        return 0.0 if shown["frame"] < 0 else 0.2 + 1.4 * (int(shown["frame"]) == position % 5)
    if stimulus not in ("drifting_gratings", "gabors") or np.isnan(shown["orientation"]):
        return 0.0
    angle = np.deg2rad(shown["orientation"] - preferred)
    tuned = 0.15 + float(np.exp(2.5 * (np.cos(2 * angle) - 1)))  # the same for opposite directions
    if stimulus == "gabors":
        field = 10.0 * (position % 3) - 10, 10.0 * (position // 3 % 3) - 10
        distance = np.hypot(shown["x_position"] - field[0], shown["y_position"] - field[1])
        return 1.6 * tuned * float(np.exp(-((distance / 10) ** 2)))
    return tuned * (1.0 if shown["temporal_frequency"] == 2.0 else 0.5)


def _with_dead_time(bins: np.ndarray) -> np.ndarray:
    kept, last = [], -_DEAD_TIME - 1
    for value in bins.tolist():
        if value - last > _DEAD_TIME:
            kept.append(value)
            last = value
    return np.array(kept, dtype=np.int64)


def _waveform(rng: np.random.Generator, probe: Probe, peak: int, size: float) -> np.ndarray:
    """Return (C, 82) V: a trough and a slower hump that decay with distance from the peak channel."""
    sample = np.arange(N_SAMPLES)
    hump = 12.0 + 10.0 * rng.random()
    shape = -np.exp(-(((sample - 20) / 3.5) ** 2)) + 0.35 * np.exp(-(((sample - 20 - hump) / 8.0) ** 2))
    far = np.hypot(probe.vertical - probe.vertical[peak], probe.horizontal - probe.horizontal[peak])
    return (size * np.exp(-far / 150.0)[:, None] * shape).round(8)


def _metrics(
    rng: np.random.Generator, case: str, times: np.ndarray, duration: float, size: float
) -> dict[str, float]:
    """Return the columns of the units table: rate from the spikes, the others within what is usual."""
    special = {
        "limits": {"amplitude_cutoff": 0.1, "presence_ratio": 0.95, "isi_violations": 0.5},
        "amplitude_cutoff": {"amplitude_cutoff": 0.27},
        "presence_ratio": {"presence_ratio": 0.61},
        "isi_violations": {"isi_violations": 1.3},
        "nan": {"amplitude_cutoff": np.nan, "l_ratio": np.nan, "isolation_distance": np.nan},
        "nan_presence": {"presence_ratio": np.nan},
    }
    usual = {
        "PT_ratio": rng.uniform(0.3, 0.6),
        "amplitude": size * 1e6 * 1.35,  # peak to trough [uV]
        "amplitude_cutoff": rng.uniform(0.001, 0.08),
        "cumulative_drift": rng.uniform(50, 400),
        "d_prime": rng.uniform(3, 7),
        "firing_rate": len(times) / duration,
        "isi_violations": rng.uniform(0.0, 0.3),
        "isolation_distance": rng.uniform(30, 120),
        "l_ratio": rng.uniform(0.0005, 0.02),
        "max_drift": rng.uniform(15, 45),
        "nn_hit_rate": rng.uniform(0.8, 0.99),
        "nn_miss_rate": rng.uniform(0.001, 0.02),
        "presence_ratio": rng.uniform(0.97, 0.99),
        "recovery_slope": -rng.uniform(0.05, 0.3),
        "repolarization_slope": rng.uniform(0.3, 1.2),
        "silhouette_score": rng.uniform(0.05, 0.3),
        "snr": rng.uniform(1.5, 5.0),
        "spread": rng.uniform(30, 120),
        "velocity_above": rng.uniform(-1, 1),
        "velocity_below": rng.uniform(-1, 1),
        "waveform_duration": rng.uniform(0.2, 0.7),
        "waveform_halfwidth": rng.uniform(0.1, 0.3),
    }
    return {**usual, **special.get(case, {})}
