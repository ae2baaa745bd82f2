"""Small reports of simulations for tests, and the same as one plain record an observation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ephysflow.campaign.observations import SimulationReport

WINDOWS = {"late": (20.0, 4.0, 2), "early": (-1.5, 2.5, 1), "same": (20.0, 4.0, 1)}
"""Label -> start and duration [ms] and number of trials."""


def neurons_of(classes: Mapping[str, Sequence[int]], circuit_id: int = 0) -> dict[str, np.ndarray]:
    """Return the neurons of a circuit; `classes` gives the gids of each."""
    rows = [(name, gid, i) for name in sorted(classes) for i, gid in enumerate(sorted(classes[name]))]
    return {
        "neuron_class": np.array([name for name, _, _ in rows], dtype=str),
        "gid": np.array([gid for _, gid, _ in rows], dtype=np.int64),
        "neuron_class_index": np.array([i for _, _, i in rows], dtype=np.int64),
        "circuit_id": np.full(len(rows), circuit_id, dtype=np.int16),
    }


def trials_of(
    windows: Mapping[str, tuple[float, float, int]], simulation_id: int = 0, circuit_id: int = 0
) -> dict[str, np.ndarray]:
    """Return the trials of a simulation; `windows` gives start and duration [ms] and number of trials of each."""
    rows = [(name, *windows[name][:2], k) for name in sorted(windows) for k in range(windows[name][2])]
    t_start, duration = (np.array([row[i] for row in rows], dtype=float) for i in (1, 2))
    return {
        "simulation_id": np.full(len(rows), simulation_id, dtype=np.int16),
        "circuit_id": np.full(len(rows), circuit_id, dtype=np.int16),
        "window": np.array([row[0] for row in rows], dtype=str),
        "trial": np.array([row[3] for row in rows], dtype=np.int16),
        "offset": np.zeros(len(rows)),
        "t_start": t_start,
        "t_stop": t_start + duration,
        "t_step": np.zeros(len(rows)),
        "duration": duration,
        "window_type": np.full(len(rows), ""),
    }


def report_of(
    neurons: Mapping[str, np.ndarray],
    trials: Mapping[str, np.ndarray],
    rows: Mapping[tuple[int, int], Sequence[float]],
    column: str = "time",
    dtype: Any = np.float64,
) -> SimulationReport:
    """Return a report in the order of extraction; `rows` maps (neuron, trial) to what is reported of them."""
    pairs = [(n, t) for n in range(len(neurons["gid"])) for t in range(len(trials["trial"]))]
    pairs.sort(key=lambda pair: (neurons["neuron_class"][pair[0]], pair[1], pair[0]))
    lists = [list(rows.get(pair, ())) for pair in pairs]
    values = np.array([value for values in lists for value in values], dtype=dtype)
    columns = {column: values} if column == "time" else {"time": np.zeros(len(values)), column: values}
    return SimulationReport(
        neurons,
        trials,
        np.array([n for n, _ in pairs], dtype=np.int64),
        np.array([t for _, t in pairs], dtype=np.int64),
        np.concatenate([[0], np.cumsum([len(values) for values in lists])]).astype(np.int64),
        columns,
    )


def records_of(reports: Sequence[SimulationReport], column: str = "time") -> list[dict[str, Any]]:
    """Return one record an observation: all its columns, and its rows as the list ``rows``."""
    return [
        {name: values[n].item() for name, values in report.neurons.items()}
        | {name: values[t].item() for name, values in report.trials.items()}
        | {"rows": report.rows[column][start:stop].tolist()}
        for report in reports
        for n, t, start, stop in zip(
            report.neuron, report.trial, report.offsets[:-1], report.offsets[1:], strict=True
        )
    ]


@st.composite
def spike_reports(
    draw: st.DrawFn, windows: Mapping[str, tuple[float, float, int]] = WINDOWS
) -> list[SimulationReport]:
    """Draw 1 to 3 simulations of 1 or 2 circuits, whose classes may share gids."""
    gids = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)
    circuits = draw(
        st.lists(
            st.dictionaries(st.sampled_from("abc"), gids, min_size=1, max_size=3), min_size=1, max_size=2
        )
    )
    reports = []
    for simulation_id in range(draw(st.integers(1, 3))):
        circuit_id = draw(st.integers(0, len(circuits) - 1))
        neurons, trials = (
            neurons_of(circuits[circuit_id], circuit_id),
            trials_of(windows, simulation_id, circuit_id),
        )
        rows = {}
        for pair in np.ndindex(len(neurons["gid"]), len(trials["trial"])):
            # positions on a grid that has points on the edges of bins and between them
            steps = int(trials["duration"][pair[1]] * 4)
            positions = draw(st.lists(st.integers(0, steps - 1), max_size=3))
            rows[pair] = sorted(trials["t_start"][pair[1]] + position / 4 for position in positions)
        reports.append(report_of(neurons, trials, rows))
    return reports
