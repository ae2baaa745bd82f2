"""Reports of simulations, built from the extraction tables of a reference case."""

from pathlib import Path

import numpy as np
import pandas as pd

from ephysflow.campaign.observations import FeatureRows, Observations, SimulationReport


def golden_reports(repo: Path) -> list[SimulationReport]:
    """Return the report of each simulation; `repo` holds the tables neurons, windows and report."""
    neurons, windows, report = (_plain(repo / f"{name}.parquet") for name in ("neurons", "windows", "report"))
    reports = []
    for simulation_id, trials in windows.groupby("simulation_id"):
        (circuit_id,) = trials.circuit_id.unique()
        reports.append(
            _report(
                neurons[neurons.circuit_id == circuit_id].sort_values(["neuron_class", "gid"]),
                trials.sort_values(["window", "trial"]),
                report[report.simulation_id == simulation_id],
            )
        )
    return reports


def golden_features(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the expected tables, their index turned into columns."""
    return {path.stem: _plain(path) for path in sorted(folder.glob("*.parquet"))}


def as_frame(observations: Observations, table: FeatureRows) -> pd.DataFrame:
    """Return a table with its key columns, as a user sees it."""
    key = {name: values[table.group] for name, values in observations.groups.items()}
    values = {n: v if isinstance(v, np.ndarray) else v.to_pylist() for n, v in table.values.items()}  # noqa: PD011
    return pd.DataFrame({**key, **table.index, **values})


def _plain(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if frame.index.names != [None]:
        frame = frame.reset_index()
    labels = [name for name in ("neuron_class", "window") if name in frame]
    return frame.astype(dict.fromkeys(labels, str))


def _report(neurons: pd.DataFrame, trials: pd.DataFrame, rows: pd.DataFrame) -> SimulationReport:
    neurons, trials = neurons.reset_index(drop=True), trials.reset_index(drop=True)
    pairs = (
        neurons.rename_axis("neuron")
        .reset_index()[["neuron", "neuron_class", "gid"]]
        .merge(trials.rename_axis("trial_row").reset_index()[["trial_row", "window", "trial"]], how="cross")
    )
    pairs = pairs.sort_values(["neuron_class", "trial_row", "neuron"]).reset_index(drop=True)
    pairs["observation"] = np.arange(len(pairs))
    rows = rows.merge(pairs, on=["neuron_class", "gid", "window", "trial"], validate="many_to_one")
    rows = rows.sort_values(["observation", "time"], kind="stable")
    counts = np.bincount(rows.observation, minlength=len(pairs))
    return SimulationReport(
        _columns(neurons),
        _columns(trials),
        pairs.neuron.to_numpy(),
        pairs.trial_row.to_numpy(),
        np.concatenate([[0], np.cumsum(counts)]),
        {name: rows[name].to_numpy() for name in ("time", "value", "section") if name in rows},
    )


def _columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(values, dtype=str) if values.dtype.kind in "OUT" else values.to_numpy()
        for name, values in frame.items()
    }
