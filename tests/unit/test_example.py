"""The embedded example: the model behaves as its papers say, the files are what their formats demand."""

import csv
import hashlib
import math
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from ephysflow.efeatures.targets import parse_targets
from ephysflow.errors import ConfigurationError
from ephysflow.example import true_stimuli, write_example
from ephysflow.example.igor import write_wave
from ephysflow.example.protocols import CELLS, Stimulus
from ephysflow.example.rig import digitise
from ephysflow.example.simulation import STEP, Neuron, simulate

PASSIVE = Neuron(diameter=100, g_na=0, g_k=0, g_m=0, g_h=0, g_leak=0.1, e_leak=-70)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "data"
    write_example(folder)
    return folder


@pytest.fixture(scope="module")
def sheet(example) -> list[dict[str, str]]:
    with open(example / "recordings.tsv", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def spike_times(voltage: np.ndarray, dt: float) -> np.ndarray:
    return np.flatnonzero((voltage[1:] > 0) & (voltage[:-1] <= 0)) * dt


# ---------------------------------------------------------------- model


def test_a_passive_membrane_follows_the_charging_curve():
    current = np.zeros(4000)
    current[1000:] = 0.05  # nA, from 50 ms
    (voltage,) = simulate([PASSIVE], [current], [0.0], seed=1)
    area = math.pi * 100e-4 * 100e-4  # cm2
    rise = 0.05e-3 / (0.1 * area)  # uA/mS = mV
    t = (np.arange(4000) - 1000) * STEP
    expected = -70 + np.where(t > 0, rise * (1 - np.exp(-t / 10)), 0)  # tau = 1 uF / 0.1 mS = 10 ms
    np.testing.assert_allclose(voltage, expected, atol=0.01)


def test_a_sweep_starts_at_rest_under_its_holding_current():
    neurons = [CELLS[0].neuron, CELLS[1].neuron]
    quiet = [replace(neuron, background=0.0) for neuron in neurons]
    holding = [-0.05, 0.02]
    for voltage in simulate(quiet, [np.full(4000, h) for h in holding], holding, seed=1):
        assert np.ptp(voltage) < 0.01


def test_sweeps_do_not_depend_on_their_company():
    neuron = Neuron()
    short, long = np.full(500, 0.3), np.full(3000, 0.3)
    alone = simulate([neuron], [short], [0.0], seed=1)[0]
    together = simulate([neuron, PASSIVE, neuron], [long, long, short], [0.0] * 3, seed=1)
    np.testing.assert_array_equal(together[2], alone)
    np.testing.assert_array_equal(together[0][:500], alone)


def test_a_regular_spiking_cell_adapts_and_a_blocked_one_is_silent():
    current = np.zeros(28000)
    current[4000:24000] = 0.3
    firing, blocked = simulate([Neuron(), Neuron(g_na=0.0)], [current, current], [0.0, 0.0], seed=1)
    times = spike_times(firing, STEP)
    assert len(times) > 20
    assert times.min() > 200
    assert times.max() < 1201
    intervals = np.diff(times)
    assert intervals[-1] > 1.3 * intervals[0]
    assert not len(spike_times(blocked, STEP))


def test_ih_gives_a_sag_and_its_absence_none():
    current = np.zeros(16000)
    current[2000:14000] = -0.1
    with_ih, without = simulate(
        [Neuron(g_h=0.1, g_leak=0.04), Neuron(g_leak=0.04)], [current] * 2, [0.0, 0.0], seed=1
    )

    def sag(voltage: np.ndarray) -> float:
        return voltage[13000:14000].mean() - voltage[2000:14000].min()

    assert sag(with_ih) > 1
    assert sag(without) < 0.1


# ---------------------------------------------------------------- stimuli


def test_a_step_is_on_in_its_half_open_interval():
    step = Stimulus("c", "IDrest", 0, 1, tend=10, ton=2, toff=6, amp=0.5, hypamp=-0.1)
    current = step.current(0.1)
    assert len(current) == 100
    assert set(current[20:60]) == {0.4}
    assert set(current[:20]) | set(current[60:]) == {-0.1}


def test_every_stimulus_reaches_its_amplitudes_in_its_times():
    for stimulus in true_stimuli():
        dt = next(cell.sampling_interval for cell in CELLS if cell.name == stimulus.cell)
        above = stimulus.current(dt) - stimulus.hypamp
        t = np.arange(len(above)) * dt
        inner = (stimulus.amp2,) if stimulus.amp2 is not None else ()
        assert above.max() == pytest.approx(max(stimulus.amp, 0, *inner), abs=0.002)
        outside = (t < stimulus.ton - dt / 2) | (t > stimulus.toff - dt / 2)
        np.testing.assert_allclose(above[outside], 0, atol=1e-12)


def test_every_protocol_of_the_example_has_all_cells():
    protocols = {(s.cell, s.protocol) for s in true_stimuli()}
    assert len(protocols) == len(CELLS) * 7


def test_noise_of_the_rig_has_the_size_of_a_good_recording():
    recorded = digitise(np.full(20000, -80.0), np.full(20000, 0.1), 0.1, (1, 2))
    voltage, current = recorded.voltage * 0.03125, recorded.current * 0.1
    assert voltage.mean() == pytest.approx(-80 + 14 + 0.4, abs=0.05)  # junction potential, 4 MOhm x 0.1 nA
    assert 0.03 < np.std(voltage) < 0.3
    assert current.mean() == pytest.approx(100, abs=0.1)
    assert 0.5 < np.std(current) < 2


# ---------------------------------------------------------------- files


def test_the_sheet_lists_files_that_exist_and_no_stimulus_times(example, sheet):
    assert {line["cell"] for line in sheet} == {cell.name for cell in CELLS}
    assert set(sheet[0]) == {"cell", "protocol", "filepath", "i_file", "v_file", "ljp"}
    listed = {line[key] for line in sheet for key in ("filepath", "i_file", "v_file") if line[key]}
    there = {path.relative_to(example).as_posix() for path in example.rglob("*") if path.is_file()}
    assert there == listed | {"recordings.tsv"}
    assert sum((example / name).stat().st_size for name in there) < 15e6


def test_equal_runs_give_equal_bytes(example, tmp_path):
    def digests(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    (tmp_path / "other" / "pyr3").mkdir(parents=True)  # an empty folder is in nobody's way
    write_example(tmp_path / "other")
    assert digests(tmp_path / "other") == digests(example)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("name", ["notes.txt", "recordings.tsv"])
def test_files_of_others_are_neither_mixed_with_nor_replaced(tmp_path, name, monkeypatch):
    def no_cells(neurons, current, holding, seed):  # the check does not need them, and they take a second
        return [np.full(len(trace), -70.0) for trace in current]

    monkeypatch.setattr("ephysflow.example.files.simulate", no_cells)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=name):
        write_example(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["pyr1", "pyr2"])
def test_nwb_files_are_valid_and_beyond_reproach(example, name):
    import pynwb
    from nwbinspector import available_checks, configure_checks, inspect_nwbfile, load_config

    path = str(example / f"{name}.nwb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pynwb.validate(path=path) == []
    checks = configure_checks(checks=available_checks, config=load_config("dandi"))
    assert list(inspect_nwbfile(nwbfile_path=path, checks=checks)) == []


def test_nwb_holds_the_true_stimuli_in_order(example):
    from pynwb import NWBHDF5IO

    expected = [s for s in true_stimuli() if s.cell == "pyr1"]
    with NWBHDF5IO(str(example / "pyr1.nwb"), "r") as file:
        nwbfile = file.read()
        table = nwbfile.intracellular_recordings
        assert len(table) == len(expected)
        assert list(table["repetition"][:]) == [s.repetition for s in expected]
        for k, stimulus in enumerate(expected):
            given = nwbfile.stimulus[f"CurrentClampStimulusSeries_{k:03d}"]
            response = nwbfile.acquisition[f"CurrentClampSeries_{k:03d}"]
            assert given.stimulus_description == response.stimulus_description == stimulus.protocol
            assert given.rate == response.rate == 20000
            current = given.data[:] * given.conversion * 1e9
            np.testing.assert_allclose(current, stimulus.current(0.05), atol=0.008)
            assert len(response.data) == len(given.data)
        rest = nwbfile.acquisition["CurrentClampSeries_005"]  # 0 pA
        assert np.median(rest.data[:]) * rest.conversion * 1e3 == pytest.approx(-59.4, abs=1)  # -73.4 + 14


def test_igor_waves_are_read_by_igor2_with_units_and_interval(example, sheet):
    binarywave = pytest.importorskip("igor2.binarywave")
    lines = [line for line in sheet if line["cell"] == "pyr3"]
    stimuli = [s for s in true_stimuli() if s.cell == "pyr3"]
    aborted = [line for line in lines if line["protocol"] == "IDrest"][-1]
    lines.remove(aborted)
    assert [line["protocol"] for line in lines] == [s.protocol for s in stimuli]
    for line, stimulus in zip(lines, stimuli, strict=True):
        waves = {key: binarywave.load(example / line[key])["wave"] for key in ("i_file", "v_file")}
        for key, unit in (("i_file", b"A"), ("v_file", b"V")):
            header = waves[key]["wave_header"]
            assert b"".join(header["dataUnits"]) == unit
            assert b"".join(header["dimUnits"][0]) == b"s"
            assert header["sfA"][0] == pytest.approx(2e-4)
        np.testing.assert_allclose(waves["i_file"]["wData"] * 1e9, stimulus.current(0.2), atol=0.008)


def test_one_sweep_is_beyond_use(example, sheet):
    binarywave = pytest.importorskip("igor2.binarywave")
    line = [line for line in sheet if line["cell"] == "pyr3" and line["protocol"] == "IDrest"][-1]
    current, voltage = (binarywave.load(example / line[key])["wave"]["wData"] for key in ("i_file", "v_file"))
    assert len(voltage) < len(current) == 7000
    assert voltage[-1] > 1  # V: the amplifier's end


def test_the_checksum_of_an_igor_wave_covers_both_headers(tmp_path):
    path = tmp_path / "wave.ibw"
    write_wave(path, np.array([1.0, -2.0, 3.5]), 1e-4, "V")
    content = path.read_bytes()
    assert len(content) == 384 + 12
    assert sum(struct.unpack("<192h", content[:384])) % 0x10000 == 0
    assert struct.unpack("<3f", content[384:]) == (1.0, -2.0, 3.5)


def test_tables_name_their_columns_with_units(example):
    table = pq.read_table(example / "pyr4" / "IDrest.parquet")
    assert table.column_names == ["sweep", "time [ms]", "voltage [mV]", "current [pA]"]
    stimuli = [s for s in true_stimuli() if (s.cell, s.protocol) == ("pyr4", "IDrest")]
    sweep = np.asarray(table["sweep"])
    for stimulus in stimuli:
        current = np.asarray(table["current [pA]"])[sweep == stimulus.sweep]
        np.testing.assert_allclose(current * 1e-3, stimulus.current(0.2), atol=0.008)


def test_cells_fire_from_their_rheobase_on(example):
    table = pq.read_table(example / "pyr4" / "IDrest.parquet")
    sweep, voltage = np.asarray(table["sweep"]), np.asarray(table["voltage [mV]"])
    rheobase = next(cell.rheobase for cell in CELLS if cell.name == "pyr4")
    for stimulus in true_stimuli():
        if (stimulus.cell, stimulus.protocol) == ("pyr4", "IDrest"):
            fired = len(spike_times(voltage[sweep == stimulus.sweep], 0.2)) > 0
            assert fired == (stimulus.amp >= rheobase)


def test_a_spike_comes_before_a_stimulus_that_evokes_none(example):
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(example / "pyr2.nwb"), "r") as file:
        names = [s for s in true_stimuli() if s.cell == "pyr2"]
        k = next(k for k, s in enumerate(names) if (s.protocol, s.sweep) == ("IDrest", 1))
        series = file.read().acquisition[f"CurrentClampSeries_{k:03d}"]
        times = spike_times(series.data[:] * series.conversion * 1e3, 0.1)
    assert len(times) == 1
    assert times[0] < names[k].ton


def test_targets_of_the_example_find_sweeps_of_every_cell():
    path = Path(__file__).parents[2] / "config" / "targets.yaml"
    targets = parse_targets(yaml.safe_load(path.read_text()))
    for target in targets:
        for cell in CELLS:
            close = 0
            for s in true_stimuli():
                if (s.cell, s.protocol) != (cell.name, target.protocol):
                    continue
                percent = 100 * (s.amp if s.amp2 is None else s.amp2) / cell.rheobase
                gap = s.tspike[1] - s.tspike[0] - 4 if s.tspike else percent
                close += abs(gap - target.amplitude) < target.tolerance
            assert close, (target, cell.name)
