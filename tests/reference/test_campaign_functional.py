"""Shipped feature functions on the extraction tables of reference cases: the tables that BlueETL made from them."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from campaign_golden import as_frame, golden_features, golden_reports

from ephysflow.campaign.functions.firing_rates import firing_rates
from ephysflow.campaign.functions.onset import onset_from_spikes
from ephysflow.campaign.functions.soma_statistics import soma_statistics
from ephysflow.campaign.observations import observe

FUNCTIONAL = [
    f"functional/{kind}_analysis_{n}" for kind in ("bbp", "sonata") for n in ("01", "03", "09", "11")
]
EXTRACTED = [
    f"{case}/expected"
    for case in (
        "dense_01",
        "dense_04",
        "dense_coupled",
        "dense_filter_ops",
        "dense_limit10",
        "dense_no_export",
        "dense_product",
        "dense_trial_steps_list",
        "doc_config",
        "sonata_01",
        "sonata_02",
        "sonata_04",
        "sonata_08",
        "sonata_09",
    )
]
SOMA = [
    "functional/bbp_analysis_05",
    "functional/sonata_analysis_05",
    "sonata_05/expected",
    "sonata_08/expected",
]
BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]


def assert_same(ours: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Same columns, dtypes, rows and order of rows; numbers to 1e-9."""
    if "times" in expected:
        assert ours["times"].map(len).tolist() == expected["times"].map(len).tolist()
        np.testing.assert_array_equal(np.concatenate(ours["times"]), np.concatenate(expected["times"]))
        ours, expected = ours.drop(columns="times"), expected.drop(columns="times")
    texts = {name: object for name in ("neuron_class", "window") if name in expected}
    # a spread of equal rates is 0 up to rounding: hence the absolute tolerance
    pd.testing.assert_frame_equal(ours.astype(texts), expected.astype(texts), rtol=1e-9, atol=1e-12)


def assert_all_same(observations, tables, expected: dict[str, pd.DataFrame]) -> None:
    """Every expected table, of every combination of parameters, is ours of that name."""
    names = {stem: max((name for name in tables if stem.startswith(name)), key=len) for stem in expected}
    assert set(names.values()) == set(tables)
    frames = {name: as_frame(observations, table) for name, table in tables.items()}
    for stem, name in names.items():
        assert_same(frames[name], expected[stem])


@pytest.mark.parametrize("case", FUNCTIONAL + EXTRACTED)
def test_firing_rates_are_those_of_the_reference(shared, case):
    """All five tables, in the reference's order of rows."""
    folder = shared / "golden/campaign" / case / "spikes"
    observations = observe(golden_reports(folder / "repo"), BY_CLASS)
    tables = firing_rates(observations, {"export_all_neurons": True})
    assert_all_same(observations, tables, golden_features(folder / "features"))


@pytest.mark.parametrize("case", ["dense_no_export/expected", "doc_config/expected", FUNCTIONAL[0]])
def test_neurons_that_never_spike_are_left_out_on_request(shared, case):
    """What ``export_all_neurons: false`` says and BlueETL does not do; everything else stays the reference's."""
    folder = shared / "golden/campaign" / case / "spikes"
    observations = observe(golden_reports(folder / "repo"), BY_CLASS)
    expected = golden_features(folder / "features")
    for stem, frame in expected.items():
        if stem.startswith("by_gid"):
            counts = frame["count"] if "count" in frame else frame["mean_spike_counts"]
            total = counts.groupby([frame[name] for name in [*BY_CLASS, "gid"]]).transform("sum")
            expected[stem] = frame[total > 0].reset_index(drop=True)
    assert_all_same(observations, firing_rates(observations, {"export_all_neurons": False}), expected)


@pytest.mark.parametrize("case", SOMA)
def test_soma_statistics_are_those_of_the_reference(shared, case):
    """Equal to the last bit of the report's float32, in the reference's order of rows."""
    folder = shared / "golden/campaign" / case / "soma"
    observations = observe(golden_reports(folder / "repo"), ["simulation_id", "circuit_id"])
    tables = soma_statistics(observations, {})
    expected = golden_features(folder / "features")
    assert_all_same(observations, tables, expected)
    ours = as_frame(observations, tables["by_neuron_class"])
    for name in ("mean", "std"):
        np.testing.assert_array_equal(ours[name], expected["by_neuron_class"][name])


@pytest.mark.parametrize("case", ["sonata_02", "sonata_08"])
def test_onset_is_that_of_the_reference(shared, case):
    """The offset of the window that refers to the trial step."""
    folder = shared / "golden/campaign" / case
    extraction = yaml.safe_load((folder / "config.yaml").read_text())["analysis"]["spikes"]["extraction"]
    params = extraction["trial_steps"]["ts1"]
    params = {name: value for name, value in params.items() if name != "figures_path"}
    start = extraction["windows"]["w3"]["initial_offset"]
    windows = pd.read_parquet(folder / "expected/spikes/repo/windows.parquet")
    simulations = pd.read_parquet(folder / "expected/spikes/repo/simulations.parquet")
    for row in windows[windows.window == "w3"].itertuples():
        (config,) = simulations[simulations.simulation_id == row.simulation_id].simulation_path
        times = spike_times(shared / "golden/campaign" / config) - start
        low, high = params["bounds"]
        onset = onset_from_spikes([times[(times >= low) & (times <= high)]], params)
        assert row.offset == start + onset


def spike_times(simulation: Path) -> np.ndarray:
    """Return the times of all spikes of a simulation of the reference campaigns."""
    with h5py.File(next(simulation.parent.rglob("*spikes*.h5"))) as file:
        return np.concatenate([population["timestamps"][()] for population in file["spikes"].values()])
