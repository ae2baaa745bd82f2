"""Extraction tables of the golden campaigns, from their files to neurons, windows and report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ephysflow.campaign.analysis_config import read_analysis
from ephysflow.campaign.campaign_file import read_campaign
from ephysflow.campaign.functions.onset import onset_from_spikes
from ephysflow.campaign.neurons import SEQUENTIAL, select_neurons
from ephysflow.campaign.query import matches
from ephysflow.campaign.report import spike_rows, trace_rows
from ephysflow.campaign.trial_steps import dynamic_offset, trial_step_gids
from ephysflow.campaign.windows import static_trials
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.reports import open_report
from ephysflow.sonata.simulation_config import circuit_key, read_simulation
from ephysflow.sonata.spikes import read_spikes

CASES = [
    *((f"dense_{name}", "spikes") for name in ("01", "04", "bluecv", "coupled", "filter_ops", "limit10")),
    *((f"dense_{name}", "spikes") for name in ("no_export", "product", "trial_steps_list")),
    ("doc_config", "spikes"),
    ("neg_var_params_dotted", "spikes"),
    *((f"sonata_{name}", "spikes") for name in ("01", "02", "04", "08", "09")),
    ("sonata_05", "soma"),
    ("sonata_06", "compartment"),
    ("sonata_08", "soma"),
]


class Circuit:
    """Populations and node sets of a simulation's circuit."""

    def __init__(self, files):
        self.files = files
        self.opened = {}

    def population(self, name):
        if name not in self.opened:
            self.opened[name] = open_population(self.files.circuit, name)
        return self.opened[name]

    def node_set(self, population, name, extra):
        files = [self.files.circuit.node_sets_file, *([Path(extra)] if extra else [])]
        return node_set_ids(files, name, population)


def simulations_of(settings):
    """Return simulation_id -> files of those that the filter lets through, and circuit -> circuit_id over all."""
    campaign = read_campaign(settings.simulation_campaign)
    columns = {"simulation_id": np.arange(len(campaign.paths))}
    for name in campaign.condition_names:
        columns[name] = np.array([row[name] for row in campaign.conditions], dtype=object)
    wanted = matches(settings.simulations_filter, columns, "")
    complete = {i: read_simulation(Path(p)) for i, p in enumerate(campaign.paths) if p and Path(p).is_file()}
    circuit_ids = {circuit_key(files.circuit): i for i, files in reversed(complete.items())}
    return {i: files for i, files in complete.items() if wanted[i]}, circuit_ids


def extracted(config, analysis):
    """Return the tables neurons, neuron_classes, windows and report of all simulations, as in a BlueETL cache."""
    settings = read_analysis(config)
    extraction = settings.analyses[analysis].extraction
    parts = {"neurons": [], "neuron_classes": [], "windows": [], "report": []}
    chosen = {}
    simulations, circuit_ids = simulations_of(settings)
    for i, files in simulations.items():
        key = circuit_key(files.circuit)
        circuit = Circuit(files)
        circuit_id = circuit_ids[key]
        if key not in chosen:
            chosen[key] = select_neurons(
                extraction["neuron_classes"], circuit.population, circuit.node_set, SEQUENTIAL, 0
            )
            neurons, summaries, _ = chosen[key]
            parts["neurons"].append(pd.DataFrame(neurons).assign(circuit_id=circuit_id))
            parts["neuron_classes"].append(pd.DataFrame(summaries).assign(circuit_id=circuit_id))
        ids = {"simulation_id": i, "circuit_id": circuit_id}
        neurons, summaries, _ = chosen[key]
        populations = {row["neuron_class"]: row["population"] for row in summaries}
        offsets = {}
        for label, window in extraction["windows"].items():
            if step := window["trial_step"]:
                window = window | {"trial_step": step | {"figures_path": None}}
                gids = trial_step_gids(step, circuit.population, circuit.node_set, 0)
                spikes = read_spikes(files.spikes_file, step["population"])
                offsets[label] = dynamic_offset(window, spikes, gids, onset_from_spikes)
        trials = static_trials(extraction["windows"], offsets)
        parts["windows"].append(pd.DataFrame(trials).assign(**ids))
        if (kind := extraction["report"]["type"]) == "spikes":
            spikes = {name: read_spikes(files.spikes_file, name) for name in set(populations.values())}
            report, _ = spike_rows(spikes, neurons, populations, trials)
        else:
            path = files.reports[extraction["report"]["name"]]
            report, _ = trace_rows(
                lambda name, path=path: open_report(path, name), neurons, populations, trials, kind
            )
        neuron, trial = (
            np.repeat(values, np.diff(report.offsets)) for values in (report.neuron, report.trial)
        )
        rows = {name: report.neurons[name][neuron] for name in ("neuron_class", "gid")}
        rows |= {name: report.trials[name][trial] for name in ("window", "trial")}
        parts["report"].append(pd.DataFrame({**report.rows, **rows, **ids}))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def plain(frame):
    """Return a frame whose labels are texts and whose ids are int64."""
    whole = {name: np.int64 for name in frame if name.endswith("_id") or name in ("trial", "count")}
    texts = {name: object for name in frame if name in ("neuron_class", "window")}
    return frame.astype(whole | texts)


def assert_same(own, golden, sort=None):
    assert sorted(own) == sorted(golden)
    own, golden = plain(own)[[*golden]], plain(golden)
    if sort:
        own, golden = (frame.sort_values(sort, kind="stable", ignore_index=True) for frame in (own, golden))
    pd.testing.assert_frame_equal(
        own.reset_index(drop=True), golden.reset_index(drop=True), rtol=1e-9, atol=1e-9, check_dtype=False
    )


@pytest.mark.parametrize(("case", "analysis"), CASES)
def test_extraction_equals_the_golden_tables(shared, case, analysis):
    folder = shared / "golden/campaign" / case
    golden = {
        path.stem: pd.read_parquet(path)
        for path in (folder / "expected" / analysis / "repo").glob("*.parquet")
    }
    own = extracted(folder / "config.yaml", analysis)
    classes = own["neuron_classes"]
    # BlueETL drops classes without neurons; here they are reported
    assert set(classes.loc[classes["count"] == 0, "neuron_class"]).isdisjoint(
        golden["neuron_classes"]["neuron_class"]
    )
    assert_same(classes[classes["count"] > 0], golden["neuron_classes"])
    assert_same(own["neurons"], golden["neurons"])
    assert_same(own["windows"], golden["windows"])  # the order of rows, too
    by = ["simulation_id", "neuron_class", "window", "trial", "gid"]
    by += [name for name in ("section", "time") if name in own["report"]]
    assert_same(own["report"], golden["report"], by)
    assert own["report"]["time"].dtype == golden["report"]["time"].dtype == np.float64
    if "value" in own["report"]:
        assert own["report"]["value"].dtype == golden["report"]["value"].dtype == np.float32


def test_a_sample_of_a_larger_circuit(shared):
    """`limit: 100` of 342 neurons: the third class of its file, but the first that is larger than its limit."""
    golden = pd.read_parquet(
        shared / "golden/campaign/functional/sonata_analysis_11/spikes/repo/neurons.parquet"
    )
    ids = {label: part["gid"].to_numpy() for label, part in golden.groupby("neuron_class", observed=True)}

    class Nodes:
        name, size, property_names = "thalamus_neurons", int(ids["VPL_INH"].max()) + 1, ()

    classes = {
        "VPL_INH": {"limit": 1000, "node_set": "VPL_INH"},
        "Rt_EXC_VPL_INH_": {"limit": 100, "node_set": "VPL_INH"},
    }
    neurons, _, _ = select_neurons(classes, lambda _: Nodes(), lambda *_: ids["VPL_INH"], SEQUENTIAL, 0)
    for label in classes:
        np.testing.assert_array_equal(neurons["gid"][neurons["neuron_class"] == label], ids[label])
