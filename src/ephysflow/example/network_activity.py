"""What the cells of the example campaign do: spontaneous spikes, and responses to a stimulus every 200 ms.

Most cells are point processes: a rate that the stimulus modulates, an absolute refractory period, and adaptation by
the cell's own spikes. The few whose membrane potential is reported are conductance-based neurons that get a step of
current with each stimulus, on top of a noisy background. Nothing is connected: structure comes from what all have
in common, which is what an analysis should find again.
"""

from dataclasses import dataclass, replace

import numpy as np

from ephysflow.example.circuit import CLASSES, RECORDED_PER_CLASS, class_of_cells, recorded_cells
from ephysflow.example.simulation import STEP, Neuron, simulate

TSTOP = 1000.0
"""Duration of a simulation [ms]."""

STIMULUS_ONSETS = (200.0, 400.0, 600.0, 800.0)
"""[ms]"""

STIMULUS_DURATION = 100.0
"""[ms]"""

SPIKE_THRESHOLD = -30.0
"""A cell spikes when its membrane potential rises through this [mV]; the default of SONATA."""

_BIN = 0.5  # [ms]
_ADAPTATION_DECAY = 150.0  # [ms]
_SUSTAINED_DECAY = 60.0  # of the response during a stimulus [ms]
_SPREAD = 0.7  # of rates over the cells of a class, standard deviation of their logarithm
_REFERENCE_CALCIUM = 1.1  # [mM]
_COOPERATIVITY = 4  # of calcium in transmitter release: Dodge & Rahamimoff 1967, J Physiol 193:419-432
_CIRCUIT_SEED = 1967


@dataclass(frozen=True)
class Condition:
    """Under what one simulation runs.

    Attributes
    ----------
    calcium : extracellular concentration [mM]; the response grows with it
    seed : of everything random in the simulation
    current : step that the recorded cells get with each stimulus [nA]
    """

    calcium: float
    seed: int
    current: float


CONDITIONS = (
    Condition(1.1, 1, 0.30),
    Condition(1.1, 2, 0.30),
    Condition(1.25, 1, 0.36),
    Condition(1.25, 2, 0.36),
)
"""In the order of the campaign file, ``config/example_campaign/campaign.json``."""


@dataclass(frozen=True)
class _Behaviour:
    """How the cells of a class fire at the reference concentration of calcium.

    Attributes
    ----------
    spontaneous : median rate over cells [Hz]
    transient : median number of spikes at the onset of a stimulus
    sustained : median rate at the beginning of what follows [Hz]
    latency, latency_spread : mean over cells, and their standard deviation [ms]
    jitter : standard deviation of a cell's response time over stimuli [ms]
    refractory : absolute refractory period [ms]
    adaptation : what each spike takes off the logarithm of the rate
    neuron : the model of the recorded ones
    """

    spontaneous: float
    transient: float
    sustained: float
    latency: float
    latency_spread: float
    jitter: float
    refractory: float
    adaptation: float
    neuron: Neuron


_BEHAVIOUR = {
    ("L4", "EXC"): _Behaviour(
        0.8, 0.35, 4.0, 11.0, 1.5, 2.0, 3.0, 0.8,
        Neuron(diameter=76, g_na=50, g_h=0.02, g_m=0.09, background=0.03),
    ),
    ("L4", "INH"): _Behaviour(
        5.0, 0.9, 18.0, 8.0, 1.0, 1.2, 1.5, 0.15,
        Neuron(diameter=56, g_na=58, g_k=8, g_m=0.01, g_leak=0.04, background=0.02),
    ),
    ("L5", "EXC"): _Behaviour(
        2.0, 0.5, 8.0, 17.0, 3.0, 5.0, 3.0, 0.5,
        Neuron(diameter=74, g_na=50, g_h=0.05, g_m=0.1, background=0.03),
    ),
    ("L5", "INH"): _Behaviour(
        4.0, 0.6, 14.0, 13.0, 2.0, 3.0, 1.5, 0.2,
        Neuron(diameter=60, g_na=58, g_k=8, g_m=0.02, g_leak=0.04, background=0.02),
    ),
}  # fmt: skip


def recorded_potentials() -> list[np.ndarray]:
    """Simulate the membrane of the recorded cells under all conditions.

    Returns
    -------
    list of (n_steps, n_recorded) float64 arrays
        membrane potential [mV] of each condition, at intervals of `STEP`, cells as in `recorded_cells`.
    """
    neurons = recorded_neurons()
    currents = [stimulus_current(condition.current) for condition in CONDITIONS]
    # all at once: integration costs by the step, hardly by the cell
    potentials = simulate(
        neurons * len(CONDITIONS),
        [current for current in currents for _ in neurons],
        [0.0] * len(neurons) * len(CONDITIONS),
        _CIRCUIT_SEED,
    )
    n = len(neurons)
    return [np.stack(potentials[k * n : (k + 1) * n], axis=1) for k in range(len(CONDITIONS))]


def recorded_neurons() -> list[Neuron]:
    """Return the model of each recorded cell; those of a class differ in size."""
    sizes = np.linspace(0.92, 1.08, RECORDED_PER_CLASS)
    models = [_BEHAVIOUR[c.layer, c.synapse_class].neuron for c in CLASSES]
    return [
        replace(model, diameter=round(model.diameter * size, 2))
        for model in models
        for size in sizes.tolist()
    ]


def stimulus_current(amplitude: float) -> np.ndarray:
    """Return the current [nA] that recorded cells get, at intervals of `STEP`."""
    current = np.zeros(round(TSTOP / STEP))
    for onset in STIMULUS_ONSETS:
        current[round(onset / STEP) : round((onset + STIMULUS_DURATION) / STEP)] = amplitude
    return current


def spikes(condition: Condition, potentials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes of all cells in one simulation.

    Parameters
    ----------
    condition : of the simulation
    potentials : (n_steps, n_recorded) of its recorded cells, as from `recorded_potentials`

    Returns
    -------
    node_ids : (n,) uint64
    times : (n,) float64 [ms], sorted; multiples of `STEP`
    """
    gid, time = _point_process(condition)
    recorded = recorded_cells()
    others = ~np.isin(gid, recorded)
    rising = (potentials[1:] >= SPIKE_THRESHOLD) & (potentials[:-1] < SPIKE_THRESHOLD)
    step, column = np.nonzero(rising)
    gid = np.concatenate([gid[others], recorded[column]])
    time = np.concatenate([time[others], np.round((step + 1) * STEP, 2)])
    order = np.lexsort((gid, time))
    return gid[order].astype(np.uint64), time[order]


def _point_process(condition: Condition) -> tuple[np.ndarray, np.ndarray]:
    """Return id and time [ms] of the spikes of all cells as point processes; bins are shorter than what they resolve."""
    random = np.random.default_rng((condition.seed, round(1000 * condition.calcium)))
    rate = expected_rates(condition.calcium)
    kinds = [_BEHAVIOUR[c.layer, c.synapse_class] for c in CLASSES]
    refractory = np.array([kind.refractory for kind in kinds])[class_of_cells()]
    step = np.array([kind.adaptation for kind in kinds])[class_of_cells()]
    adaptation = np.zeros(len(step))
    last = np.full(len(step), -np.inf)
    decay = np.exp(-_BIN / _ADAPTATION_DECAY)
    gids, times = [], []
    for k in range(len(rate)):
        chance = -np.expm1(-rate[k] * np.exp(-adaptation) * (_BIN * 1e-3))
        fires = np.flatnonzero((random.random(len(step)) < chance) & (k * _BIN - last >= refractory))
        time = np.round(np.floor((k + random.random(len(fires))) * _BIN / STEP) * STEP, 2)
        last[fires] = time
        adaptation *= decay
        adaptation[fires] += step[fires]
        gids.append(fires)
        times.append(time)
    return np.concatenate(gids), np.concatenate(times)


def expected_rates(calcium: float) -> np.ndarray:
    """Return the rate [Hz] of each cell without its own adaptation, (n_bins, n_cells) in bins of half a ms.

    Parameters
    ----------
    calcium : extracellular concentration [mM]
    """
    random = np.random.default_rng(_CIRCUIT_SEED)
    gain = (calcium / _REFERENCE_CALCIUM) ** _COOPERATIVITY
    middle = (np.arange(round(TSTOP / _BIN)) + 0.5) * _BIN
    parts = []
    for c in CLASSES:
        kind = _BEHAVIOUR[c.layer, c.synapse_class]
        spontaneous, strength = np.exp(_SPREAD * random.standard_normal((2, c.size)))
        latency = kind.latency + kind.latency_spread * random.standard_normal(c.size)
        rate = np.tile(kind.spontaneous * spontaneous, (len(middle), 1))
        for onset in STIMULUS_ONSETS:
            during = (middle >= onset) & (middle < onset + STIMULUS_DURATION + kind.latency)
            since = middle[during, None] - onset - latency
            transient = 1e3 * kind.transient / (np.sqrt(2 * np.pi) * kind.jitter)
            transient = transient * np.exp(-0.5 * (since / kind.jitter) ** 2)
            on = (since >= 0) & (since < STIMULUS_DURATION)
            sustained = np.where(on, kind.sustained * np.exp(-np.abs(since) / _SUSTAINED_DECAY), 0.0)
            rate[during] += gain * strength * (transient + sustained)
        parts.append(rate)
    return np.concatenate(parts, axis=1)
