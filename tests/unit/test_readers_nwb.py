"""NWB files: the five laboratory layouts, the standard's own way, and damaged files."""

import contextlib
import csv
import datetime
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.recordings.readers import read_entry
from ephysflow.recordings.readers.nwb import choose_layout
from ephysflow.recordings.standardise import standardise

RATE = 10_000.0


def series(
    parent: h5py.Group,
    name: str,
    data,
    unit: str,
    conversion: float = 1.0,
    kind: str | None = None,
    timestamps=None,
    rate=RATE,
    **attributes,
) -> h5py.Group:
    group = parent.create_group(name)
    group["data"] = data
    group["data"].attrs["conversion"] = conversion
    group["data"].attrs["unit"] = unit
    if timestamps is not None:
        group["timestamps"] = timestamps
    elif rate is not None:
        group["starting_time"] = 7.5
        group["starting_time"].attrs["rate"] = rate
        group["starting_time"].attrs["unit"] = "seconds"
    if kind:
        group.attrs["neurodata_type"] = kind
    for key, value in attributes.items():
        group.attrs[key] = value
    return group


def pair(
    file, response: str, stimulus: str, k: int = 0, where: str = "acquisition", samples=200, **attributes
):
    series(
        file.require_group(where), response, np.full(samples, -70.0 + k, "f4"), "volts", 1e-3, **attributes
    )
    current = np.zeros(samples, "f4")
    current[50:150] = 100.0 + k
    return series(file.require_group("stimulus/presentation"), stimulus, current, "amperes", 1e-12)


def read(path, names="Step", **more):
    return read_entry({"filepath": str(path), "protocols": {"P": [names]}, **more})["P"]


def ids(result) -> list[str]:
    return [sweep.sweep_id for sweep in result.sweeps]


@pytest.fixture
def bbp(tmp_path):
    path = tmp_path / "bbp.nwb"
    with h5py.File(path, "w") as file:
        for k, (protocol, repetition) in enumerate([("IDRest", 1), ("IDRest", 2), ("IV", 1)]):
            trace = f"ic__{protocol}__{k}"
            pair(file, trace, f"ics__{protocol}__{k}", k, description=f"/data/raw/ch0_{k}.ibw")
            sweep = file.require_group(
                f"data_organization/cell 1/{protocol}/repetition {repetition}/sweep {k}"
            )
            sweep[trace] = h5py.SoftLink(f"/acquisition/{trace}")
            sweep[f"ics__{protocol}__{k}"] = h5py.SoftLink(f"/stimulus/presentation/ics__{protocol}__{k}")
        clamp = file.require_group("data_organization/cell 1/IV/repetition 1/sweep 9")
        series(file["acquisition"], "vcs__IV__9", np.zeros(5), "amperes")
        clamp["vcs__IV__9"] = h5py.SoftLink("/acquisition/vcs__IV__9")
    return path


class TestBbp:
    def test_sweeps_of_protocol_and_repetition(self, bbp):
        assert ids(read(bbp, "idrest")) == ["ic__IDRest__0", "ic__IDRest__1"]
        assert ids(read(bbp, "IDRest", repetition=2)) == ["ic__IDRest__1"]
        assert ids(read(bbp, "IDRest", repetition=["1", 2])) == ["ic__IDRest__0", "ic__IDRest__1"]
        assert [sweep.repetition for sweep in read(bbp, "IDRest").sweeps] == [1, 2]

    def test_absent_repetition_is_said_and_is_no_error(self, bbp):
        result = read(bbp, "IDRest", repetition=7)
        assert not result.sweeps
        assert "repetition 7" in result.unreadable[0].reason
        assert "1, 2" in result.unreadable[0].reason

    def test_original_file(self, bbp):
        assert ids(read(bbp, "IDRest", v_file="elsewhere/ch0_1.ibw")) == ["ic__IDRest__1"]

    def test_voltage_clamp_is_said(self, bbp):
        result = read(bbp, "IV")
        assert ids(result) == ["ic__IV__2"]
        assert [(u.sweep_id, u.reason) for u in result.unreadable] == [("vcs__IV__9", "voltage clamp")]

    def test_absent_protocol(self, bbp):
        result = read(bbp, "Ramp")
        assert result.unreadable[0].reason == "no sweep of protocol Ramp; the file has: IDRest, IV"

    def test_two_protocols_of_one_file(self, bbp):
        entry = {"filepath": str(bbp), "protocols": {"a": ["IV"], "b": ["IDRest", "IV"], "IDRest": []}}
        results = read_entry(entry)
        assert [len(results[key].sweeps) for key in ("a", "b", "IDRest")] == [1, 3, 2]


def test_aibs(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        for k, name in enumerate(["Long Square", "Ramp", "long square"]):
            pair(file, f"Sweep_{k}", f"Sweep_{k}", k, where="acquisition/timeseries")
            file[f"acquisition/timeseries/Sweep_{k}/aibs_stimulus_name"] = name.encode()
        clamp = series(file["acquisition/timeseries"], "Sweep_9", np.zeros(5), "A")
        clamp["aibs_stimulus_name"] = b"Ramp"
        clamp.attrs["ancestry"] = np.array(["TimeSeries", "PatchClampSeries", "VoltageClampSeries"], "S")
    assert ids(read(tmp_path / "a.nwb", "LONG SQUARE")) == ["Sweep_0", "Sweep_2"]
    assert read(tmp_path / "a.nwb", "Ramp").unreadable[0].reason == "voltage clamp"


def test_scala(tmp_path):
    path = tmp_path / "s.nwb"
    with h5py.File(path, "w") as file:
        for k, described in enumerate(["CCSteps", None, "GenericStep", "Sine", "na"]):
            named = {} if described is None else {"stimulus_description": described}
            pair(file, f"CurrentClampSeries_{k}", f"CurrentClampStimulusSeries_{k}", k, **named)
        file["general/intracellular_ephys/intracellular_recordings/repetition"] = [0, 0, 1, 1, 1]
    assert ids(read(path, "Step")) == [f"CurrentClampSeries_{k}" for k in (0, 1, 4)]
    assert ids(read(path, "GenericStep")) == ["CurrentClampSeries_2"]
    assert ids(read(path, "sine")) == ["CurrentClampSeries_3"]
    assert ids(read(path, "Step", repetition=0)) == ["CurrentClampSeries_0", "CurrentClampSeries_1"]


class TestTrt:
    def test_partners(self, tmp_path):
        path = tmp_path / "t.nwb"
        with h5py.File(path, "w") as file:
            for k in range(3):
                pair(file, f"index_{k:02d}", f"index_{2 * k + 1:02d}", k)
        result = read(path, "step")
        assert ids(result) == ["index_00", "index_01", "index_02"]
        assert [round(1e12 * float(s.current.max())) for s in result.sweeps] == [100, 101, 102]
        assert ids(read(path, "GenericStep")) == ids(result)
        assert "the file has: Step" in read(path, "IV").unreadable[0].reason

    def test_partners_of_names_with_three_numbers(self, tmp_path):
        path = tmp_path / "t.nwb"
        with h5py.File(path, "w") as file:
            for k, (response, stimulus) in enumerate([(0, 1), (3, 2)]):
                pair(file, f"index_000_12_{response:02d}", f"index_000_12_{stimulus:02d}", k)
        result = read(path)
        assert [round(1e12 * float(s.current.max())) for s in result.sweeps] == [100, 101]

    def test_swapped_scales_are_put_right(self, tmp_path):
        path = tmp_path / "t.nwb"
        with h5py.File(path, "w") as file:
            series(file.require_group("acquisition"), "index_0", np.full(9, -70.0), "volts", 1e-12)
            series(file.require_group("stimulus/presentation"), "index_1", np.full(9, 50.0), "volts", 1e-3)
        sweep = standardise(read(path).sweeps[0], {})
        assert sweep.voltage[0] == pytest.approx(-70)
        assert sweep.current[0] == pytest.approx(0.05)


def vu_file(path: Path, current, code="X2LP_Search_DA_0", bias=None, voltage=None, kind="CurrentClampSeries"):
    with h5py.File(path, "w") as file:
        voltage = np.full(len(current), -70.0, "f4") if voltage is None else voltage
        response = series(file.require_group("acquisition"), "data_00_AD0", voltage, "volts", 1e-3, kind)
        stimuli = file.require_group("stimulus/presentation")
        series(stimuli, "data_00_DA0", current, "amperes", 1e-12, stimulus_description=code)
        if bias is not None:
            response["bias_current"] = bias
    return path


class TestVu:
    def test_code_and_usual_name(self, tmp_path):
        path = vu_file(tmp_path / "v.nwb", np.full(3000, 25.0, "f4"))
        for name in ("IDThresh", "idthresh", "X2LP_Search", "X2LP_Search_DA_0"):
            assert ids(read(path, name)) == ["data_00_DA0"]
        assert not read(path, "IDRest").sweeps

    def test_nan_ends_the_sweep(self, tmp_path):
        current = np.full(3000, 25.0, "f4")
        current[2000:] = np.nan
        path = vu_file(tmp_path / "v.nwb", current)
        raw = read(path, "IDThresh").sweeps[0]
        assert len(raw.voltage) == len(raw.current) == 2000
        assert "2000" in raw.details["note"]

    @pytest.mark.parametrize("first_nan", [0, 500])
    def test_short_sweep_is_said(self, tmp_path, first_nan):
        current = np.full(3000, 25.0, "f4")
        current[first_nan:] = np.nan
        path = vu_file(tmp_path / "v.nwb", current, code="CCSteps_DA_0")
        result = read(path, "Step", toff=200)
        assert not result.sweeps
        assert f"only {first_nan / 10:g} ms" in result.unreadable[0].reason

    @pytest.mark.parametrize("bias", [[-20.0], np.float32(-20e-12)])
    def test_bias_current(self, tmp_path, bias):
        path = vu_file(tmp_path / "v.nwb", np.full(3000, 25.0, "f4"), bias=bias)
        assert standardise(read(path, "IDThresh").sweeps[0], {}).current[0] == pytest.approx(0.005, rel=1e-5)

    def test_test_pulse_is_blanked_for_some_codes_only(self, tmp_path):
        current, voltage = np.arange(3000, dtype="f4"), np.arange(3000, dtype="f4")[::-1] / 100
        for code, name, first in (("X1PS_SubThresh_DA_0", "IV", 900.0), ("X7Ramp_DA_0", "Ramp", 0.0)):
            path = vu_file(tmp_path / f"{name}.nwb", current, code=code, voltage=voltage)
            sweep = standardise(read(path, name).sweeps[0], {})
            assert 1e3 * sweep.current[0] == pytest.approx(first)
            assert 1e3 * sweep.current[899] == pytest.approx(max(first, 899))
            assert 1e3 * sweep.current[1000] == pytest.approx(1000)
            assert sweep.voltage[0] == pytest.approx((2999 - first) / 100)

    def test_voltage_clamp(self, tmp_path):
        path = vu_file(tmp_path / "v.nwb", np.full(3000, 25.0, "f4"), kind="VoltageClampSeries")
        assert read(path, "IDThresh").unreadable[0].reason == "voltage clamp"


class TestLayout:
    def test_forced(self, bbp):
        assert ids(read(bbp, "Step", nwb_layout="generic")) == []
        with pytest.raises(ConfigurationError, match="allowed are generic, bbp"):
            read(bbp, nwb_layout="other")

    def test_of_real_files(self, shared):
        synthetic = shared / "golden/efeatures/synthetic_data"
        hippocampus = shared / "data/patchclamp/exp_data/hippocampus-portal/99111002.nwb"
        for path, layout in (
            (synthetic / "aibs.nwb", "aibs"),
            (synthetic / "scala.nwb", "scala"),
            (hippocampus, "bbp"),
        ):
            with h5py.File(path) as file:
                assert choose_layout(file)[0] == layout


@pytest.mark.parametrize("case", ["nwb_ton_toff_given", "synth_nwb_aibs", "synth_nwb_scala"])
def test_same_sweeps_as_the_reference(shared, case):
    """Sweeps, their order, lengths, rates and step amplitudes as BluePyEfe found them."""
    folder = shared / "golden/efeatures" / case
    config = json.loads((folder / "config.json").read_text())
    roots = {"exp_data": shared / "data/patchclamp/exp_data"}
    root = roots.get(config["data_root"], shared / "golden/efeatures/synthetic_data")
    with open(folder / "recordings.csv") as stream:
        expected = list(csv.DictReader(stream))
    got = []
    for protocols in config["files_metadata"].values():
        for protocol, entries in protocols.items():
            for entry in entries:
                names = entry.get("protocol_name", protocol)
                asked = {protocol: [names] if isinstance(names, str) else names}
                entry = {**entry, "filepath": str(root / entry["filepath"]), "protocols": asked}
                got += [(raw, standardise(raw, entry)) for raw in read_entry(entry)[protocol].sweeps]
    assert [raw.sweep_id for raw, _ in got] == [row["id"] for row in expected]
    for (_, sweep), row in zip(got, expected, strict=True):
        assert len(sweep.voltage) == int(row["n_samples"])
        assert sweep.dt == pytest.approx(float(row["dt"]), rel=1e-12)
        step = slice(round(float(row["ton"]) / sweep.dt), round(float(row["toff"]) / sweep.dt))
        assert float(np.median(sweep.current[step])) == float(row["amp"]) + float(row["hypamp"])


class TestTime:
    def test_regular_timestamps(self, tmp_path):
        with h5py.File(tmp_path / "a.nwb", "w") as file:
            times = 12.0 + np.arange(200) / 5000
            series(
                file.require_group("acquisition"),
                "CurrentClampSeries_0",
                np.zeros(200),
                "V",
                timestamps=times,
            )
            stimuli = file.require_group("stimulus/presentation")
            series(stimuli, "CurrentClampStimulusSeries_0", np.zeros(200), "A", rate=5000.0)
        assert standardise(read(tmp_path / "a.nwb").sweeps[0], {}).dt == pytest.approx(0.2)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"timestamps": np.sort(np.random.default_rng(0).random(200))}, "not regular"),
            ({"timestamps": np.arange(100)}, "fewer timestamps"),
            ({"rate": 0.0}, "sampling rate 0"),
            ({"rate": np.nan}, "sampling rate nan"),
            ({"rate": None}, "neither a sampling rate nor timestamps"),
            ({"rate": 5000.0}, "differ in sampling interval"),
            ({"data": np.zeros((200, 2))}, "one row of numbers"),
            ({"data": np.array([b"a"] * 200)}, "one row of numbers"),
            ({"unit": "amperes"}, "voltage clamp"),
        ],
    )
    def test_bad_series_leaves_the_others(self, tmp_path, options, reason):
        with h5py.File(tmp_path / "a.nwb", "w") as file:
            pair(file, "CurrentClampSeries_0", "CurrentClampStimulusSeries_0")
            pair(file, "CurrentClampSeries_1", "CurrentClampStimulusSeries_1")
            del file["acquisition/CurrentClampSeries_0"]
            settings = {"data": np.zeros(200), "unit": "volts"} | options
            series(file["acquisition"], "CurrentClampSeries_0", **settings)
        result = read(tmp_path / "a.nwb")
        assert ids(result) == ["CurrentClampSeries_1"]
        assert [u.sweep_id for u in result.unreadable] == ["CurrentClampSeries_0"]
        assert reason in result.unreadable[0].reason

    def test_conversion_and_offset(self, tmp_path):
        with h5py.File(tmp_path / "a.nwb", "w") as file:
            pair(file, "CurrentClampSeries_0", "CurrentClampStimulusSeries_0")
            del file["acquisition/CurrentClampSeries_0"]
            data = np.array([-32768, 0, 32767], "i2")
            group = series(file["acquisition"], "CurrentClampSeries_0", data, "volts", 2e-6)
            group["data"].attrs["offset"] = -0.005
        raw = read(tmp_path / "a.nwb").sweeps[0]
        assert raw.voltage.dtype == np.float32
        assert raw.voltage == pytest.approx([-0.070536, -0.005, 0.060534], abs=1e-8)

    def test_announced_size_is_checked_before_reading(self, tmp_path):
        with h5py.File(tmp_path / "a.nwb", "w") as file:
            pair(file, "CurrentClampSeries_0", "CurrentClampStimulusSeries_0")
            del file["acquisition/CurrentClampSeries_0/data"]
            file["acquisition/CurrentClampSeries_0"].create_dataset("data", (10**12,), "f8", chunks=(1000,))
        assert "announces 1000000000000 samples" in read(tmp_path / "a.nwb").unreadable[0].reason


def standard_file(path: Path, tables: bool = True, sweep_numbers: bool = True):
    """Two current-clamp sweeps and one in voltage clamp of two protocols, written by pynwb."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.icephys import (
        CurrentClampSeries,
        CurrentClampStimulusSeries,
        VoltageClampSeries,
        VoltageClampStimulusSeries,
    )

    start = datetime.datetime(2020, 3, 4, tzinfo=datetime.UTC)
    file = NWBFile(session_description="x", identifier="x", session_start_time=start)
    device = file.create_device(name="amplifier")
    electrode = file.create_icephys_electrode(name="pipette", description="x", device=device)
    rows = []
    for k, described in enumerate(["Long square", "Chirp", "VC test"]):
        common = {
            "electrode": electrode,
            "starting_time": 3.0 * k,
            "rate": 20_000.0,
            "stimulus_description": described,
            "sweep_number": np.uint64(k) if sweep_numbers else None,
        }
        command, trace = np.linspace(0, 100 + k, 400, dtype="f4"), np.linspace(-70, -60 + k, 400, dtype="f4")
        if described == "VC test":
            stimulus = VoltageClampStimulusSeries(name=f"stim{k}", data=trace, conversion=1e-3, **common)
            response = VoltageClampSeries(name=f"resp{k}", data=command, conversion=1e-12, **common)
        else:
            stimulus = CurrentClampStimulusSeries(name=f"stim{k}", data=command, conversion=1e-12, **common)
            response = CurrentClampSeries(
                name=f"resp{k}",
                data=trace,
                conversion=1e-3,
                bridge_balance=12e6,
                bias_current=5e-12,
                capacitance_compensation=3e-12,
                **common,
            )
        if tables:
            row = file.add_intracellular_recording(
                electrode=electrode,
                stimulus=stimulus,
                response=response,
                stimulus_start_index=100,
                stimulus_index_count=200,
                response_start_index=100,
                response_index_count=200,
            )
            rows.append(file.add_icephys_simultaneous_recording(recordings=[row]))
        else:
            file.add_stimulus(stimulus)
            file.add_acquisition(response)
    if tables:
        first = file.add_icephys_sequential_recording(
            simultaneous_recordings=rows[:1], stimulus_type="IDrest"
        )
        other = file.add_icephys_sequential_recording(
            simultaneous_recordings=rows[1:], stimulus_type="Chirps"
        )
        file.add_icephys_repetition(sequential_recordings=[first], id=3)
        file.add_icephys_repetition(sequential_recordings=[other], id=4)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


@pytest.fixture(scope="module")
def tabled(tmp_path_factory):
    return standard_file(tmp_path_factory.mktemp("nwb") / "a.nwb")


class TestStandard:
    def test_tables_give_protocol_repetition_and_part(self, tabled):
        raw = read(tabled, "idrest").sweeps[0]
        assert (raw.sweep_id, raw.protocol, raw.repetition) == ("resp0[100:300]", "IDrest", 3)
        sweep = standardise(raw, {})
        assert sweep.voltage == pytest.approx(np.linspace(-70, -60, 400)[100:300], abs=1e-4)
        assert sweep.current == pytest.approx(np.linspace(0, 0.1, 400)[100:300], abs=1e-6)
        assert sweep.dt == pytest.approx(0.05)

    def test_stimulus_description_is_a_name_too(self, tabled):
        assert ids(read(tabled, "long square")) == ["resp0[100:300]"]

    def test_details(self, tabled):
        details = read(tabled, "IDrest").sweeps[0].details
        assert details["bridge_balance"] == pytest.approx(12e6)
        assert details["bias_current"] == pytest.approx(5e-12)
        assert details["capacitance_compensation"] == pytest.approx(3e-12)
        assert details["electrode"] == "pipette"

    def test_voltage_clamp_is_said(self, tabled):
        result = read(tabled, "Chirps")
        assert ids(result) == ["resp1[100:300]"]
        assert [u.reason for u in result.unreadable] == ["voltage clamp"]

    @pytest.mark.parametrize("sweep_numbers", [True, False])
    def test_without_tables(self, tmp_path, sweep_numbers):
        path = standard_file(tmp_path / "a.nwb", tables=False, sweep_numbers=sweep_numbers)
        raw = read(path, "chirp").sweeps[0]
        assert raw.sweep_id == "resp1"
        assert raw.details["current"] == "stimulus stim1"
        assert 1e12 * raw.current.max() == pytest.approx(101)

    def test_response_without_stimulus_and_izero(self, tmp_path):
        path = tmp_path / "a.nwb"
        with h5py.File(path, "w") as file:
            group = file.require_group("acquisition")
            series(group, "a", np.zeros(50), "volts", kind="CurrentClampSeries", stimulus_description="x")
            series(group, "b", np.zeros(50), "volts", kind="IZeroClampSeries", stimulus_description="x")
        result = read(path, "x")
        assert ids(result) == ["b"]
        assert not result.sweeps[0].current.any()
        assert "no stimulus" in result.unreadable[0].reason

    def test_names(self, tabled, tmp_path):
        """A description of some steps can be asked for as Step, a stated stimulus type without one cannot."""
        path = tmp_path / "a.nwb"
        path.write_bytes(tabled.read_bytes())
        with h5py.File(path, "r+") as file:
            del file["acquisition/resp0"].attrs["stimulus_description"]
            file["acquisition/resp1"].attrs["stimulus_description"] = "CCSteps"
            del file["general/intracellular_ephys/sequential_recordings"]
        assert ids(read(path, "step")) == ["resp0[100:300]", "resp1[100:300]"]
        assert read(path, "CCSTEPS").sweeps[0].protocol == "CCSteps"
        path.write_bytes(tabled.read_bytes())
        with h5py.File(path, "r+") as file:
            del file["acquisition/resp0"].attrs["stimulus_description"]
        assert not read(path, "Step").sweeps

    def test_row_without_stimulus_or_response(self, tabled, tmp_path):
        path = tmp_path / "a.nwb"
        path.write_bytes(tabled.read_bytes())
        with h5py.File(path, "r+") as file:
            table = file["general/intracellular_ephys/intracellular_recordings"]
            for name, row in (("stimuli/stimulus", 0), ("responses/response", 1)):
                rows = table[name][()]
                rows[row]["idx_start"] = rows[row]["count"] = -1
                table[name][...] = rows
        assert "no stimulus" in read(path, "IDrest").unreadable[0].reason
        assert "no response" in read(path, "Chirps").unreadable[0].reason


class TestDamage:
    def test_truncated_at_many_lengths(self, bbp, tmp_path):
        content = bbp.read_bytes()
        path = tmp_path / "cut.nwb"
        for length in (8, 96, 700, len(content) // 3, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises(RecordingError, match=r"cut\.nwb: damaged, truncated"):
                read(path)

    def test_damage_inside_is_contained(self, bbp, tmp_path):
        """Whatever bytes are wrong: an error of ours, or sweeps and reasons."""
        content = bbp.read_bytes()
        path = tmp_path / "bad.nwb"
        for seed in range(20):
            rng = np.random.default_rng(seed)
            damaged = bytearray(content)
            for place in rng.integers(8, len(content), 30):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            with contextlib.suppress(RecordingError):
                read(path, "IDRest")

    def test_hdf5_without_recordings(self, tmp_path):
        h5py.File(tmp_path / "a.nwb", "w").close()
        assert (
            read(tmp_path / "a.nwb").unreadable[0].reason == "no sweep of protocol Step; the file has: none"
        )
