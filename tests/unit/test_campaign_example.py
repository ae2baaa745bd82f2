"""The example campaign: its configurations agree with its files, these with SONATA, and the activity has structure."""

import hashlib
import shutil
from pathlib import Path

import libsonata
import numpy as np
import pytest

from ephysflow.campaign.analysis_config import read_analysis
from ephysflow.campaign.campaign_file import read_campaign
from ephysflow.efeatures.efel_engine import EfelTrace, feature_values
from ephysflow.efeatures.extraction import DEFAULT_EFEL_SETTINGS
from ephysflow.example import network_activity as activity
from ephysflow.example.campaign_files import REPORT_STEP, write_example_campaign
from ephysflow.example.campaign_step import example_campaign
from ephysflow.example.circuit import CLASSES, POPULATION, RECORDED_PER_CLASS, class_of_cells, recorded_cells
from ephysflow.example.simulation import STEP
from ephysflow.job import Job
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.simulation_config import circuit_key, read_simulation
from ephysflow.sonata.spikes import read_spikes

CONFIG = Path(__file__).parents[2] / "config" / "example_campaign"
NAMES = [f"{c.layer}_{c.synapse_class}" for c in CLASSES]
LAST_STEP = activity.TSTOP - STEP


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Folder with the shipped configurations and the files that they name, as after a run."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(CONFIG, folder / "config" / "example_campaign")
    job = Job("example_campaign", "", {"folder": str(folder / "example_data")}, "", "", {}, folder)
    example_campaign(job)
    return folder


@pytest.fixture(scope="module")
def config(project) -> Path:
    return project / "config" / "example_campaign"


@pytest.fixture(scope="module")
def data(project) -> Path:
    return project / "example_data" / "campaign"


@pytest.fixture(scope="module")
def all_spikes(data) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for i in range(len(activity.CONDITIONS)):
        spikes = libsonata.SpikeReader(str(data / str(i) / "spikes.h5"))[POPULATION].get_dict()
        found.append((spikes["node_ids"].astype(int), spikes["timestamps"]))
    return found


@pytest.fixture(scope="module")
def reports(data) -> list:
    reader = libsonata.SomaReportReader
    return [reader(str(data / str(i) / "soma.h5"))[POPULATION] for i in range(len(activity.CONDITIONS))]


def in_windows(times: np.ndarray, start: float, duration: float) -> np.ndarray:
    """Which times are in a window of each stimulus."""
    return np.any(
        [(times >= t + start) & (times < t + start + duration) for t in activity.STIMULUS_ONSETS], 0
    )


# ---------------------------------------------------------------- configurations


def test_libsonata_parses_the_configurations_and_they_say_what_was_simulated(config, data):
    campaign = read_campaign(config / "campaign.json")
    assert len(campaign.paths) == len(activity.CONDITIONS)
    for i, (path, condition) in enumerate(zip(campaign.paths, activity.CONDITIONS, strict=True)):
        assert campaign.conditions[i] == {"ca": condition.calcium, "seed": condition.seed}
        simulation = libsonata.SimulationConfig.from_file(path)
        assert simulation.run.random_seed == condition.seed
        assert simulation.conditions.extracellular_calcium == condition.calcium
        assert (simulation.run.tstop, simulation.run.dt) == (activity.TSTOP, STEP)
        assert Path(simulation.output.spikes_file) == data / str(i) / "spikes.h5"
        report = simulation.report("soma")
        assert Path(report.file_name) == data / str(i) / "soma.h5"
        assert (report.start_time, report.end_time, report.dt) == (0, activity.TSTOP, REPORT_STEP)
        pulse = simulation.input("stimulus")
        assert pulse.amp_start == condition.current
        period = 1000 / pulse.frequency
        onsets = pulse.delay + np.arange(round(pulse.duration / period)) * period
        assert tuple(onsets) == activity.STIMULUS_ONSETS
        assert pulse.width == activity.STIMULUS_DURATION
        circuit = libsonata.CircuitConfig.from_file(simulation.network)
        population = circuit.node_population(POPULATION)
        sets = libsonata.NodeSets.from_file(circuit.node_sets_path)
        recorded = sets.materialize(report.cells, population).flatten()
        np.testing.assert_array_equal(recorded, recorded_cells())
        np.testing.assert_array_equal(sets.materialize(pulse.node_set, population).flatten(), recorded)
        assert sets.materialize("cortex", population).flat_size == 1000


def test_our_readers_read_the_same(config, data, all_spikes):
    campaign = read_campaign(config / "campaign.json")
    simulations = [read_simulation(Path(path)) for path in campaign.paths]
    assert len({circuit_key(simulation.circuit) for simulation in simulations}) == 1
    for i, simulation in enumerate(simulations):
        assert simulation.spikes_file == data / str(i) / "spikes.h5"
        assert simulation.reports == {"soma": data / str(i) / "soma.h5"}
        gid, time = read_spikes(simulation.spikes_file, POPULATION)
        np.testing.assert_array_equal(gid, all_spikes[i][0])
        np.testing.assert_array_equal(time, all_spikes[i][1])
    population = open_population(simulations[0].circuit, POPULATION)
    sets = simulations[0].node_sets_files
    np.testing.assert_array_equal(node_set_ids(sets, "recorded", population), recorded_cells())


def test_all_files_that_the_configurations_name_are_written_and_no_others(config, data):
    simulations = [read_simulation(Path(path)) for path in read_campaign(config / "campaign.json").paths]
    named = {nodes.file for s in simulations for nodes in s.circuit.nodes}
    named |= {file for s in simulations for file in (s.spikes_file, *s.reports.values())}
    written = {path for path in data.rglob("*") if path.is_file()}
    assert written == named
    assert sum(path.stat().st_size for path in written) < 3_000_000


def test_the_analysis_is_valid_and_its_classes_are_those_of_the_circuit(config):
    analyses = read_analysis(config / "analysis.yaml")
    assert analyses.simulation_campaign.resolve() == (config / "campaign.json").resolve()
    assert {a.extraction["report"]["type"] for a in analyses.analyses.values()} == {"spikes", "soma"}
    for analysis in analyses.analyses.values():
        assert list(analysis.extraction["neuron_classes"]) == NAMES
    combinations = {
        name: [len(entry.combinations) for entry in analysis.features]
        for name, analysis in analyses.analyses.items()
    }
    assert combinations == {"spikes": [1], "synchrony": [2, 3], "soma": [1]}


# ---------------------------------------------------------------- files


def test_the_same_bytes_at_every_call(data, tmp_path):
    write_example_campaign(tmp_path)
    digests = [
        {
            path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (data, tmp_path)
    ]
    assert digests[0] == digests[1]


def test_nodes(data):
    population = libsonata.NodeStorage(str(data / "nodes.h5")).open_population(POPULATION)
    everyone = population.select_all()
    assert population.size == 1000
    assert population.enumeration_names == {"layer", "mtype", "synapse_class"}
    layer, synapse_class = (population.get_attribute(name, everyone) for name in ("layer", "synapse_class"))
    label = [f"{a}_{b}" for a, b in zip(layer, synapse_class, strict=True)]
    assert label == [NAMES[k] for k in class_of_cells()]
    assert all(
        m.startswith(a) for m, a in zip(population.get_attribute("mtype", everyone), layer, strict=True)
    )
    y = population.get_attribute("y", everyone)
    assert y[np.array(layer) == "L4"].min() > y[np.array(layer) == "L5"].max()


def test_spikes_are_sorted_and_within_the_simulation(data, all_spikes):
    for i, (gid, time) in enumerate(all_spikes):
        population = libsonata.SpikeReader(str(data / str(i) / "spikes.h5"))[POPULATION]
        assert population.sorting == "by_time"
        assert (np.diff(time) >= 0).all()
        assert time[0] >= 0
        assert time[-1] <= LAST_STEP
        assert gid.max() < 1000
        np.testing.assert_allclose(time / STEP, np.rint(time / STEP), atol=1e-6)


def test_report(reports):
    for report in reports:
        assert report.times == (0.0, activity.TSTOP, REPORT_STEP)
        assert (report.time_units, report.data_units, report.sorted) == ("ms", "mV", True)
        frames = report.get()
        np.testing.assert_array_equal(np.array(frames.ids).reshape(-1), recorded_cells())
        assert frames.data.shape == (round(activity.TSTOP / REPORT_STEP), len(recorded_cells()))
        assert frames.data.dtype == np.float32
        assert np.isfinite(frames.data).all()


# ---------------------------------------------------------------- activity


def test_spikes_of_recorded_cells_are_those_of_their_membrane(all_spikes, reports):
    for (gid, time), report in zip(all_spikes, reports, strict=True):
        above = report.get().data >= activity.SPIKE_THRESHOLD
        for column, cell in enumerate(recorded_cells()):
            frames = np.flatnonzero(above[1:, column] & ~above[:-1, column]) + 1
            np.testing.assert_allclose(time[gid == cell], frames * REPORT_STEP, atol=REPORT_STEP)


def test_no_cell_fires_within_its_refractory_period(all_spikes):
    for gid, time in all_spikes:
        order = np.lexsort((time, gid))
        intervals = np.diff(time[order])[np.diff(gid[order]) == 0]
        assert intervals.min() >= 1.5 - 0.5  # a spike may lie anywhere in its bin of 0.5 ms


def test_the_response_comes_with_the_latency_of_the_class_and_grows_with_calcium(all_spikes):
    of_class = class_of_cells()
    evoked = np.zeros((len(NAMES), len(all_spikes)))
    for i, (gid, time) in enumerate(all_spikes):
        peaks = []
        for k in range(len(NAMES)):
            mine = (of_class[gid] == k) & ~np.isin(gid, recorded_cells())
            size = CLASSES[k].size - RECORDED_PER_CLASS
            evoked[k, i] = in_windows(time[mine], 0, 100).sum() / size / 0.4
            spontaneous = (time[mine] < 200).sum() / size / 0.2
            assert evoked[k, i] > 2 * spontaneous > 0
            since = (time[mine] % 200)[time[mine] >= 200]
            counts, edges = np.histogram(since, np.arange(0, 40, 2.0))
            peaks.append(edges[np.argmax(counts)])
        assert peaks[1] < peaks[0] < peaks[2]
        assert peaks[1] < peaks[3] <= peaks[2]
    assert evoked[:, 2:].min(axis=1) == pytest.approx(evoked[:, 2:].max(axis=1), rel=0.15)
    assert (evoked[:, 2:].min(axis=1) > 1.15 * evoked[:, :2].max(axis=1)).all()


def test_rates_differ_more_between_cells_than_chance_makes_them(all_spikes):
    of_class = class_of_cells()
    for k in range(len(NAMES)):
        counts = sum(np.bincount(gid, minlength=1000) for gid, _ in all_spikes)[of_class == k]
        assert counts.var() > 2 * counts.mean()


def test_efel_finds_spikes_that_look_like_spikes(reports):
    names = ("Spikecount", "mean_frequency", "AP_amplitude", "spike_half_width", "voltage_base")
    every = round(1 / REPORT_STEP)
    voltages = [report.get().data[150 * every : 350 * every, c] for report in reports for c in range(12)]
    start = activity.STIMULUS_ONSETS[0] - 150
    traces = [EfelTrace(v, REPORT_STEP, start, start + activity.STIMULUS_DURATION) for v in voltages]
    limits = {
        "Spikecount": (2, 15),
        "mean_frequency": (20, 150),
        "AP_amplitude": (40, 110),
        "spike_half_width": (0.3, 2.5),
        "voltage_base": (-80, -60),
    }
    for values in feature_values(traces, names, DEFAULT_EFEL_SETTINGS):
        for name, (low, high) in limits.items():
            found = np.asarray(values[name], dtype=float)
            assert len(found), name
            assert low <= found.mean() <= high, name
