"""Simulated patch-clamp cells: a single-compartment, conductance-based cortical pyramidal neuron.

The model is the adapting regular-spiking neuron of Pospischil et al. 2008, "Minimal Hodgkin-Huxley type
models for different classes of cortical and thalamic neurons", Biol Cybern 99:427-441 (sodium, delayed-rectifier
and M-type potassium currents and a leak), with the hyperpolarisation-activated current of Kole et al. 2006,
"Single Ih channels in pyramidal neuron dendrites", J Neurosci 26:1677-1687, for the sag.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEP = 0.05
"""Integration step [ms]."""

_E_NA, _E_K, _E_H = 50.0, -90.0, -45.0  # reversal potentials [mV]
_CAPACITANCE = 1.0  # [uF/cm2]
_TABLE_START, _TABLE_STOP, _TABLE_STEP = -160.0, 90.0, 0.05  # range of the rate tables [mV]
_SYNAPTIC_DECAY = 3.0  # time constant of the background current [ms]


@dataclass(frozen=True)
class Neuron:
    """Parameters of one cell; the defaults are the regular-spiking fit of Pospischil et al. 2008.

    Attributes
    ----------
    diameter : of the cylinder that is as long as wide [um]
    g_na, g_k, g_m, g_h, g_leak : maximal conductances [mS/cm2] of the sodium, delayed-rectifier, M-type,
        hyperpolarisation-activated and leak currents
    e_leak : reversal potential of the leak [mV]
    v_threshold : shift of the spike-generating currents' kinetics [mV]
    tau_m_max : longest time constant of the M-type current [ms]
    background : standard deviation of the synaptic background current [nA]
    """

    diameter: float = 61.4
    g_na: float = 56.0
    g_k: float = 6.0
    g_m: float = 0.075
    g_h: float = 0.0
    g_leak: float = 0.0205
    e_leak: float = -70.3
    v_threshold: float = -56.2
    tau_m_max: float = 608.0
    background: float = 0.0

    @property
    def area(self) -> float:
        """Membrane area [cm2]."""
        return float(np.pi) * self.diameter**2 * 1e-8


def simulate(
    neurons: Sequence[Neuron], current: Sequence[np.ndarray], holding: Sequence[float], seed: int
) -> list[np.ndarray]:
    """Integrate many independent sweeps at once, each from its steady state at the holding current.

    The gates advance by exponential Euler, staggered by half a step against the membrane potential, which
    advances by the trapezoidal rule: second order and stable at any step (Hines 1984, Int J Biomed Comput
    15:69-76). The gates' steady states and decays come from tables over the membrane potential.

    Parameters
    ----------
    neurons : one for each sweep
    current : one (n_steps,) array for each sweep [nA], in steps of `STEP`
    holding : current before the first step of each sweep [nA]
    seed : of the synaptic background current

    Returns
    -------
    list of (n_steps,) float64 arrays
        membrane potential at the beginning of each step [mV]
    """
    order = np.argsort([-len(trace) for trace in current], kind="stable")  # the active ones stay in front
    lengths = np.array([len(current[i]) for i in order])
    injected = np.zeros((lengths[0], len(order)))
    for column, i in enumerate(order):
        injected[: lengths[column], column] = current[i]
    ordered = [neurons[i] for i in order]
    distinct = list(dict.fromkeys(ordered))
    tables = np.concatenate([_rate_table(neuron) for neuron in distinct])
    rows_of_table = len(tables) // len(distinct)
    first_row = np.array([distinct.index(neuron) * rows_of_table for neuron in ordered])

    def parameter(name: str) -> np.ndarray:
        return np.array([getattr(neuron, name) for neuron in ordered])

    g_na, g_k, g_m, g_h, g_leak = (parameter(name) for name in ("g_na", "g_k", "g_m", "g_h", "g_leak"))
    leak_current = g_leak * parameter("e_leak")
    per_area = 1e-3 / parameter("area")  # nA -> uA/cm2
    injected *= per_area
    background = parameter("background") * per_area
    synaptic = np.zeros(len(order))
    synaptic_decay = np.exp(-STEP / _SYNAPTIC_DECAY)
    kicks = np.sqrt(1 - synaptic_decay**2)
    random = np.random.default_rng(seed)

    v, gates = _steady_state(ordered, np.array([holding[i] for i in order]))
    potential = np.empty_like(injected)
    block = 1000
    for start in range(0, len(injected), block):
        active = int(np.sum(lengths > start))
        noise = kicks * random.standard_normal((block, len(order)))[:, :active] * background[:active]
        v, gates, synaptic, first_row, leak_current = (
            a[..., :active] for a in (v, gates, synaptic, first_row, leak_current)
        )
        g_na, g_k, g_m, g_h, g_leak = (a[:active] for a in (g_na, g_k, g_m, g_h, g_leak))
        for k in range(start, min(start + block, len(injected))):
            potential[k, :active] = v
            row = first_row + np.rint((v - _TABLE_START) / _TABLE_STEP).astype(np.intp)
            rates = tables[row].T
            gates = rates[:5] + (gates - rates[:5]) * rates[5:]
            m, h, n, p, q = gates
            na = g_na * m * m * m * h
            k_total = g_k * (n * n) ** 2 + g_m * p
            ih = g_h * q
            synaptic = synaptic * synaptic_decay + noise[k - start]
            drive = na * _E_NA + k_total * _E_K + ih * _E_H + leak_current + injected[k, :active] + synaptic
            half = 2 * _CAPACITANCE / STEP
            middle = (half * v + drive) / (half + na + k_total + ih + g_leak)
            v = 2 * middle - v
    sweeps: list[np.ndarray] = [np.empty(0)] * len(order)
    for column, i in enumerate(order):
        sweeps[i] = potential[: lengths[column], column].copy()
    return sweeps


def _linoid(x: np.ndarray, scale: float) -> np.ndarray:
    """Return x / (1 - exp(-x/scale)), continuous at 0."""
    ratio = np.where(np.abs(x / scale) < 1e-6, 1e-6, x / scale)
    return scale * ratio / -np.expm1(-ratio)


def _kinetics(neuron: Neuron, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steady states and time constants [ms] of the gates m, h, n, p (M-type) and q (Ih); (5, ...) each."""
    u = v - neuron.v_threshold
    opening = [
        0.32 * _linoid(u - 13, 4),
        0.128 * np.exp(-(u - 17) / 18),
        0.032 * _linoid(u - 15, 5),
        0.001 * 6.43 * _linoid(-(v + 154.9), 11.9),
    ]
    closing = [
        0.28 * _linoid(-(u - 40), 5),
        4 / (1 + np.exp(-(u - 40) / 5)),
        0.5 * np.exp(-(u - 10) / 40),
        0.001 * 193 * np.exp(v / 33.1),
    ]
    rates = np.array(opening) + np.array(closing)
    steady, tau = np.array(opening) / rates, 1 / rates
    steady_p = 1 / (1 + np.exp(-(v + 35) / 10))
    tau_p = neuron.tau_m_max / (3.3 * np.exp((v + 35) / 20) + np.exp(-(v + 35) / 20))
    return np.insert(steady, 3, steady_p, axis=0), np.insert(tau, 3, tau_p, axis=0)


def _rate_table(neuron: Neuron) -> np.ndarray:
    """Steady states and decays in one step of the five gates, one row a membrane potential."""
    v = np.arange(_TABLE_START, _TABLE_STOP + _TABLE_STEP, _TABLE_STEP)
    steady, tau = _kinetics(neuron, v)
    return np.concatenate([steady, np.exp(-STEP / tau)]).T.copy()


def _steady_state(neurons: Sequence[Neuron], holding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Membrane potential and gates at rest under the holding current, found by bisection."""
    low, high = np.full(len(neurons), -150.0), np.full(len(neurons), -50.0)

    def gates(v: np.ndarray) -> np.ndarray:
        return np.array([_kinetics(n, x)[0] for n, x in zip(neurons, v, strict=True)]).T

    for _ in range(40):
        v = (low + high) / 2
        m, h, n, p, q = gates(v)
        outward = [
            c.g_na * m[i] ** 3 * h[i] * (v[i] - _E_NA)
            + (c.g_k * n[i] ** 4 + c.g_m * p[i]) * (v[i] - _E_K)
            + c.g_h * q[i] * (v[i] - _E_H)
            + c.g_leak * (v[i] - c.e_leak)
            - holding[i] * 1e-3 / c.area
            for i, c in enumerate(neurons)
        ]
        too_high = np.array(outward) > 0
        high = np.where(too_high, v, high)
        low = np.where(too_high, low, v)
    return v, gates(v)
