"""The example's Neuropixels sessions: valid NWB in the layout of the release, the same at every call, units that respond."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hdmf.validate import ValidatorMap
from pynwb import NWBHDF5IO

from ephysflow.errors import ConfigurationError
from ephysflow.example.ecephys_files import (
    SESSION_IDS,
    example_files,
    write_lfp,
    write_session,
)
from ephysflow.example.ecephys_sessions import (
    ANIMALS,
    OUT_OF_BRAIN,
    presentations_of,
    probe_ids,
    simulate_session,
)
from ephysflow.example.ecephys_step import example_ecephys
from ephysflow.example.files import ECEPHYS_FOLDER
from ephysflow.job import Job

MOST_BYTES = 1_500_000
DEAD_TIME = 1e-3  # s


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("example")
    example_ecephys(Job("example_ecephys", "", {"folder": str(results)}, "", "", {}, results))
    return results / ECEPHYS_FOLDER


@pytest.fixture(scope="module")
def session():
    return simulate_session(SESSION_IDS[0], 2019, 2, 24, 12)


def test_the_files_are_those_that_are_announced_and_small(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(example_files())
    assert all(path.stat().st_size < MOST_BYTES for path in folder.iterdir())


@pytest.mark.parametrize("name", example_files())
def test_the_files_are_valid_nwb(folder, name):
    with NWBHDF5IO(folder / name, "r") as io:
        io.read()
        catalogue = io.manager.namespace_catalog
        for namespace in ("core", "ndx-aibs-ecephys"):
            found = ValidatorMap(catalogue.get_namespace(namespace)).validate(io.read_builder())
            assert not [str(error) for error in found]


def test_pynwb_reads_what_was_written(folder, session):
    with NWBHDF5IO(folder / f"session_{SESSION_IDS[0]}.nwb", "r") as io:
        read = io.read()
        assert read.identifier == str(SESSION_IDS[0])
        assert read.subject.specimen_name
        assert read.stimulus_notes == session.animal.session_type
        units = read.units.to_dataframe()
        assert units.index.tolist() == [u.id for u in session.units]
        assert all(np.array_equal(a, u.times) for a, u in zip(units.spike_times, session.units, strict=True))
        assert units.waveform_mean.iloc[0].shape == (24, 82)
        assert set(units.peak_channel_id) <= set(read.electrodes.id[:])
        assert {"None", ""} <= set(read.electrodes["location"][:])  # the two texts for out of the brain
        for block in session.blocks:
            table = read.intervals[f"{block.stimulus}_presentations"].to_dataframe()
            assert set(block.start) <= set(table.start_time)
        flashes = read.intervals["flashes_presentations"].to_dataframe()
        assert flashes.timeseries.iloc[0][0].timeseries.name == "timestamps"
        assert {"running", "optotagging", "eye_tracking_rig_metadata"} <= set(read.processing)


def test_sessions_of_the_other_type_have_other_stimuli_and_no_light(folder):
    with h5py.File(folder / f"session_{SESSION_IDS[1]}.nwb") as file:
        assert file["general/stimulus"].asstr()[()] == "functional_connectivity"
        assert "gabors_presentations" in file["intervals"]
        assert "natural_scenes_presentations" not in file["intervals"]
        assert "optotagging" not in file["processing"]


def test_lfp_lies_in_the_session_and_names_its_channels(folder, session):
    probe = session.probes[0]
    with h5py.File(folder / f"session_{SESSION_IDS[0]}_probe_{probe.id}_lfp.nwb") as file:
        series = file[f"acquisition/probe_{probe.id}_lfp/probe_{probe.id}_lfp_data"]
        times = series["timestamps"][()]
        channels = file["general/extracellular_ephys/electrodes/id"][()]
        assert series["data"].shape == (len(times), len(channels))
        assert set(channels) <= set(probe.channel_ids)
        assert 0 < times[0] < times[-1] < session.duration
        csd = file["processing/current_source_density/ecephys_csd"]
        assert csd["current_source_density/data"].shape == (
            len(csd["current_source_density/timestamps"]),
            len(csd["virtual_electrode_y_positions"]),
        )


def test_the_same_call_writes_the_same_bytes_and_another_seed_others(tmp_path):
    small = {"n_probes": 1, "n_channels": 8, "n_units": 3}
    paths = [tmp_path / f"{k}.nwb" for k in range(3)]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        write_session(path, 7, seed=seed, **small)
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other


def test_ids_of_sessions_in_a_row_do_not_meet(folder):
    ids: dict[str, list[int]] = {"units/id": [], "general/extracellular_ephys/electrodes/id": []}
    for session_id in SESSION_IDS:
        with h5py.File(folder / f"session_{session_id}.nwb") as file:
            for name, found in ids.items():
                found += file[name][()].tolist()
    assert all(len(set(found)) == len(found) for found in ids.values())


def test_a_session_may_have_no_units(tmp_path):
    write_session(tmp_path / "none.nwb", 7, seed=1, n_probes=1, n_channels=8, n_units=0)
    with NWBHDF5IO(tmp_path / "none.nwb", "r") as io:
        assert len(io.read().units) == 0


def test_lfp_of_an_unknown_probe_is_refused(tmp_path):
    with pytest.raises(
        ConfigurationError, match="probe 5: session 731000001 of the example has probes 740000010 to"
    ):
        write_lfp(tmp_path / "lfp.nwb", SESSION_IDS[0], 5, seed=1)


def test_lfp_of_any_probe_of_a_session_can_be_written(tmp_path):
    probe = probe_ids(SESSION_IDS[1], 3)[2]
    write_lfp(tmp_path / "lfp.nwb", SESSION_IDS[1], probe, seed=1)
    with h5py.File(tmp_path / "lfp.nwb") as file:
        assert file["identifier"].asstr()[()] == str(probe)


# ---------------------------------------------------------------- the content


def test_presentations_follow_one_another():
    for animal in ANIMALS:
        blocks = list(presentations_of(animal))
        start = np.concatenate([block.start for block in blocks])
        stop = np.concatenate([block.stop for block in blocks])
        assert (stop > start).all()
        assert (start[1:] >= stop[:-1]).all()
        assert 120 < stop[-1] < 200


def test_gratings_have_every_condition_and_a_blank():
    block = next(b for b in presentations_of(ANIMALS[0]) if b.stimulus == "drifting_gratings")
    orientation, frequency = block.parameters["orientation"], block.parameters["temporal_frequency"]
    shown = set(zip(orientation.tolist(), frequency.tolist(), strict=True))
    assert len({pair for pair in shown if pair[0] == pair[0]}) == 8
    assert np.count_nonzero(np.isnan(orientation)) == 3
    assert (block.parameters["phase"] == "N/A").tolist() == np.isnan(orientation).tolist()


def test_limits_of_the_default_filters_are_met_missed_and_unknown(session):
    def values(name: str) -> np.ndarray:
        return np.array([unit.metrics[name] for unit in session.units])

    for name, limit, beyond in (
        ("amplitude_cutoff", 0.1, np.greater),
        ("presence_ratio", 0.95, np.less),
        ("isi_violations", 0.5, np.greater),
    ):
        assert (values(name) == limit).any()
        assert beyond(values(name), limit).any()
    assert np.isnan(values("amplitude_cutoff")).any()
    assert np.isnan(values("presence_ratio")).any()
    assert {unit.quality for unit in session.units} == {"good", "noise"}
    assert any(unit.probe.structure[unit.peak] == OUT_OF_BRAIN for unit in session.units)
    assert any(not unit.probe.valid[unit.peak] for unit in session.units)


def test_good_units_have_a_dead_time_and_plausible_rates(session):
    for unit in session.units:
        assert (np.diff(unit.times) > 0).all()
        assert (unit.times < session.duration).all()
        assert 1 < unit.metrics["firing_rate"] < 30
        if unit.quality == "good" and unit.metrics["isi_violations"] <= 0.5:
            assert np.diff(unit.times).min() > DEAD_TIME
    assert any(np.diff(unit.times).min() < DEAD_TIME for unit in session.units)


def rate(times: np.ndarray, onsets: np.ndarray, first: float, last: float) -> float:
    """Return the mean rate [Hz] between `first` and `last` s after onsets."""
    low, high = (np.searchsorted(times, onsets + edge) for edge in (first, last))
    return float((high - low).sum() / (len(onsets) * (last - first)))


def test_visual_units_respond_to_flashes_and_those_of_the_hippocampus_do_not(session):
    flashes = next(b for b in session.blocks if b.stimulus == "flashes").start
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for unit in session.units:
        structure = str(unit.probe.structure[unit.peak])
        visual = structure.startswith(("VIS", "LGd", "LP"))
        ratio = rate(unit.times, flashes, 0.04, 0.24) / rate(unit.times, flashes, -1.0, 0.0)
        ratios[visual].append(ratio)
    assert np.median(ratios[True]) > 1.7
    assert 0.6 < np.median(ratios[False]) < 1.4


def test_visual_units_prefer_an_orientation(session):
    block = next(b for b in session.blocks if b.stimulus == "drifting_gratings")
    orientation = block.parameters["orientation"]
    indices = []
    for k, unit in enumerate(session.units):
        if str(unit.probe.structure[unit.peak]).startswith(("VIS", "LGd", "LP")):
            preferred = 45.0 * (k % 4)
            best = rate(unit.times, block.start[orientation == preferred], 0.05, 2.0)
            worst = rate(unit.times, block.start[orientation == (preferred + 90) % 180], 0.05, 2.0)
            indices.append((best - worst) / (best + worst))
    assert np.median(indices) > 0.2


def test_some_cortical_units_answer_light(session):
    answers = [rate(u.times, session.pulses, 0.0, 0.015) > 50 for u in session.units]
    assert 0 < sum(answers) < len(answers)
