"""Campaigns over circuits and outputs of BMTK, through all jobs; expected values are counted with h5py alone."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from tests.campaigns import one_campaign, run_campaign

import ephysflow

BY_CLASS = ["simulation_id", "circuit_id", "neuron_class", "window"]
FIRING_RATES = {
    "type": "multi",
    "groupby": BY_CLASS,
    "function": "firing_rates",
    "params": {"export_all_neurons": True},
}
WINDOWS = {"whole": [0, 3000], "early": [0, 1000], "late": [1000.5, 2500]}


@pytest.fixture
def analyse(tmp_path, monkeypatch):
    """Give a function that runs one analysis of the simulation in a folder."""
    monkeypatch.chdir(tmp_path)

    def run(simulation: Path, extraction: dict, *features: dict):
        attrs = {"path_prefix": str(simulation.parent), "circuit_config": "circuit_config.json"}
        rows = [{"circuit": simulation.name, "simulation_path": simulation.name}]
        campaign = {"format": "blueetl", "version": 1, "name": "bmtk", "attrs": attrs, "data": rows}
        Path("campaign.json").write_text(json.dumps(campaign))
        extraction = {
            "report": {"type": "spikes"},
            "windows": {name: {"bounds": bounds} for name, bounds in WINDOWS.items()},
            **extraction,
        }
        content = {
            "version": 4,
            "simulation_campaign": "campaign.json",
            "analysis": {"a": {"extraction": extraction, "features": [*features]}},
        }
        Path("analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        run_campaign(one_campaign(Path("analysis.yaml")))
        return ephysflow.open_results("results").campaign.c.a

    return run


@pytest.fixture
def examples(shared):
    return shared / "data/sonata/examples"


def node_types(examples, circuit, population):
    """Return the properties of each node that stand in the table of node types."""
    network = examples / circuit / "network"
    types = pd.read_csv(network / f"{population}_node_types.csv", sep=" ").set_index("node_type_id")
    with h5py.File(network / f"{population}_nodes.h5") as file:
        of_node = file[f"nodes/{population}/node_type_id"][()]
    return types.loc[of_node].reset_index()


def spikes_of(path, population):
    with h5py.File(path) as file:
        group = file["spikes"] if population is None else file[f"spikes/{population}"]
        ids = group["gids" if population is None else "node_ids"][()]
        return ids.astype(int), group["timestamps"][()]


def assert_counts(analysis, members, spikes):
    """Compare report, classes and firing rates with what was counted; all by neuron class."""
    classes = analysis.repo.neuron_classes.df
    assert dict(zip(classes.neuron_class.astype(str), classes["count"], strict=True)) == {
        label: len(ids) for label, ids in members.items()
    }
    by_gid = analysis.features.by_gid.df.reset_index()
    for label, ids in members.items():
        gid, time = spikes[label]
        for window in analysis.repo.windows.df.itertuples():
            inside = (time >= window.t_start) & (time < window.t_stop)
            counts = np.bincount(gid[inside], minlength=ids.max() + 1)[ids]
            own = by_gid[(by_gid.neuron_class == label) & (by_gid.window == window.window)]
            assert own.gid.tolist() == ids.tolist()
            assert own.mean_spike_counts.tolist() == counts.tolist()
            report = analysis.repo.report.df
            rows = report[(report.neuron_class == label) & (report.window == window.window)]
            wanted = time[inside & np.isin(gid, ids)]
            np.testing.assert_array_equal(np.sort(rows.time), np.sort(wanted))
    assert len(analysis.repo.report.df) > 0


def test_classes_by_node_types_and_their_spikes(analyse, examples):
    classes = {
        "scnn1a": {"query": {"model_name": "Scnn1a"}},
        "others": {"query": {"model_name": ["Rorb", "Nr5a1"]}},
        "excitatory": {"query": {"ei": "e"}, "node_set": "biophys_cells"},
        "right": {"query": {"x": {"gt": 20}, "model_type": "biophysical"}},
    }
    analysis = analyse(
        examples / "9_cells", {"neuron_classes": classes, "population": "cortex"}, FIRING_RATES
    )
    nodes = node_types(examples, "9_cells", "cortex")
    with h5py.File(examples / "9_cells/network/cortex_nodes.h5") as file:
        x = file["nodes/cortex/0/x"][()]
    members = {
        "scnn1a": np.flatnonzero(nodes.model_name == "Scnn1a"),
        "others": np.flatnonzero(nodes.model_name.isin(["Rorb", "Nr5a1"])),
        "excitatory": np.flatnonzero(nodes.ei == "e"),
        "right": np.flatnonzero(x > 20),
    }
    assert 0 < len(members["scnn1a"]) < 9
    spikes = spikes_of(examples / "9_cells/output/spikes.h5", "cortex")
    assert_counts(analysis, members, dict.fromkeys(members, spikes))
    assert analysis.exclusions.empty
    assert list(analysis.repo.simulations.df["circuit"]) == ["9_cells"]


def test_a_circuit_of_300_cells_one_nodes_file_of_which_is_not_there(analyse, examples):
    nodes = node_types(examples, "300_cells", "internal")
    names = sorted(set(nodes.model_name))
    assert len(names) == 5
    classes = {name: {"query": {"model_name": name}} for name in names}
    classes["recorded"] = {"node_set": "recorded_cells"}
    windows = {"whole": {"bounds": [0, 1500]}, "part": {"bounds": [200, 900.05]}}
    analysis = analyse(
        examples / "300_cells",
        {"neuron_classes": classes, "population": "internal", "windows": windows},
        FIRING_RATES,
    )
    members = {name: np.flatnonzero(nodes.model_name == name) for name in names}
    members["recorded"] = np.array([0, 80, 160, 240, 270])
    spikes = spikes_of(examples / "300_cells/output/spikes.h5", "internal")
    assert_counts(analysis, members, dict.fromkeys(members, spikes))
    in_classes = analysis.repo.report.df.query("window == 'whole' and neuron_class != 'recorded'")
    assert len(in_classes) == np.sum(spikes[1] < 1500)


def copied(examples, folder, write_spikes):
    """Copy the circuit and configuration of 9_cells, with spikes of one's own."""
    source = examples / "9_cells"
    (folder / "output").mkdir(parents=True)
    (folder / "network").symlink_to(source / "network")
    for name in ("circuit_config.json", "simulation_config.json", "node_sets.json"):
        shutil.copy(source / name, folder / name)
    with h5py.File(folder / "output/spikes.h5", "w") as file:
        write_spikes(file)
    return folder


def test_classes_of_several_populations_with_the_same_ids(analyse, examples, shared, tmp_path):
    gid, time = spikes_of(shared / "data/sonata/spike_files/spikes.multipop.h5", "tw")
    virtual = gid < 10, time < 3000
    virtual = gid[virtual[0] & virtual[1]], time[virtual[0] & virtual[1]]

    def both(file):
        with h5py.File(examples / "9_cells/output/spikes.h5") as real:
            real.copy("spikes/cortex", file.create_group("spikes"))
        group = file.create_group("spikes/excvirt")
        group["node_ids"], group["timestamps"] = virtual

    folder = copied(examples, tmp_path / "both", both)
    classes = {
        "cortex": {"query": {"ei": "e"}, "population": "cortex"},
        "virtual": {"query": {"model_type": "virtual"}},
        "few": {"node_id": [1, 2], "population": "excvirt"},
    }
    analysis = analyse(folder, {"neuron_classes": classes, "population": "excvirt"}, FIRING_RATES)
    populations = analysis.repo.neuron_classes.df.set_index("neuron_class")["population"].to_dict()
    assert populations == {"cortex": "cortex", "few": "excvirt", "virtual": "excvirt"}
    spikes = dict.fromkeys(classes, virtual)
    spikes["cortex"] = spikes_of(folder / "output/spikes.h5", "cortex")
    members = {"cortex": np.arange(9), "few": np.array([1, 2]), "virtual": np.arange(10)}
    assert_counts(analysis, members, spikes)


def test_spikes_of_the_old_layout(analyse, examples, shared, tmp_path):
    path = shared / "data/sonata/spike_files/spikes.old.h5"

    def old(file):
        with h5py.File(path) as real:
            real.copy("spikes", file)

    folder = copied(examples, tmp_path / "old", old)
    analysis = analyse(
        folder, {"neuron_classes": {"all": {"query": {}}}, "population": "cortex"}, FIRING_RATES
    )
    gid, time = spikes_of(path, None)
    assert (gid >= 9).any()  # of nodes that this circuit does not have
    assert_counts(analysis, {"all": np.arange(9)}, {"all": (gid, time)})
    (found,) = analysis.exclusions.itertuples()
    assert found.kept
    assert f"{np.sum(gid >= 9)} of {len(gid)} spikes are of nodes that are not there" in found.reason


def soma(examples):
    """Return time [ms] and voltage [mV] of the nodes 0..8."""
    with h5py.File(examples / "9_cells/output/membrane_potential.h5") as file:
        group = file["report/cortex"]
        start, _, step = group["mapping/time"][()]
        assert group["mapping/node_ids"][()].tolist() == list(range(9))
        values = group["data"][()]
    return start + np.arange(len(values)) * step, values


def test_soma_report_and_its_efeatures(analyse, examples):
    """Peaks above the threshold at which the simulator noted spikes are as many as the spikes that it noted."""
    threshold = json.loads((examples / "9_cells/simulation_config.json").read_text())["run"][
        "spike_threshold"
    ]
    names = ["Spikecount", "voltage_base", "AP_amplitude", "minimum_voltage", "maximum_voltage", "peak_time"]
    analysis = analyse(
        examples / "9_cells",
        {
            "report": {"type": "soma", "name": "membrane_potential"},
            "neuron_classes": {name: {"query": {"model_name": name}} for name in ("Scnn1a", "Rorb", "Nr5a1")},
            "population": "cortex",
            "windows": {"most": {"bounds": [100, 2900]}, "late": {"bounds": [1000, 2000], "t_step": 0.2}},
        },
        {
            **FIRING_RATES,
            "function": "efeatures",
            "windows": ["most"],
            "params": {"efeatures": names, "efel_settings": {"Threshold": threshold}},
        },
        {
            **FIRING_RATES,
            "function": "soma_statistics",
            "params": {},
            "groupby": ["simulation_id", "circuit_id"],
        },
    )
    time, voltage = soma(examples)
    inside = (time > 100 - 0.05) & (time < 2900 + 0.05)
    nodes = node_types(examples, "9_cells", "cortex")
    report = analysis.repo.report.df
    table = analysis.features.efeatures.df.reset_index().pivot_table("value", "gid", "efeature")
    gid, spikes = spikes_of(examples / "9_cells/output/spikes.h5", "cortex")
    for node in range(9):
        trace = voltage[inside, node]
        rows = report[(report.gid == node) & (report.window == "most")]
        np.testing.assert_array_equal(rows.value, trace.astype(np.float32))
        np.testing.assert_allclose(rows.time, time[inside], rtol=1e-12)
        assert set(rows.neuron_class) == {nodes.model_name[node]}
        crossings = np.sum((trace[1:] > threshold) & (trace[:-1] <= threshold))
        noted = np.sum((gid == node) & (spikes >= 100) & (spikes <= 2900))
        assert crossings == noted
        assert table.loc[node, "Spikecount"] == noted
        assert table.loc[node, "maximum_voltage"] == pytest.approx(trace.max(), abs=0.5)
        assert table.loc[node, "minimum_voltage"] == pytest.approx(trace.min(), abs=0.5)
        assert -100 < table.loc[node, "minimum_voltage"] < -50
        if noted:
            assert 20 < table.loc[node, "AP_amplitude"] < 130
            assert 0 < table.loc[node, "peak_time"] < 2800  # eFEL's time starts with the window
    assert table["Spikecount"].sum() > 0
    statistics = analysis.features.by_neuron_class.df.reset_index().set_index(["neuron_class", "window"])
    late = (time > 1000 - 0.05) & (time < 2000 + 0.05)
    for name in ("Scnn1a", "Rorb", "Nr5a1"):
        own = voltage[late][::2, (nodes.model_name == name).to_numpy()].astype(np.float32).astype(float)
        assert statistics.loc[(name, "late"), "mean"] == pytest.approx(own.mean(), rel=1e-6)
        assert statistics.loc[(name, "late"), "std"] == pytest.approx(own.std(ddof=1), rel=1e-6)


def test_a_report_that_is_not_there_is_said(analyse, examples):
    from ephysflow.errors import ConfigurationError

    extraction = {"neuron_classes": {"all": {}}, "population": "cortex"}
    for name, said in (
        ("calcium_concentration", "calcium_concentration.h5 is not there"),
        ("no_such", "has no report 'no_such'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            analyse(examples / "9_cells", {**extraction, "report": {"type": "soma", "name": name}})
