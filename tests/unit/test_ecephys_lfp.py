"""LFP by slices of time: the same as NumPy on the whole array, and clear errors for files that are wrong."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.ecephys import lfp as module
from ephysflow.ecephys.intervals import INTERVAL_SCHEMA
from ephysflow.ecephys.lfp import Lfp, LfpFile, copy_lfp, find_lfp
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ConfigurationError, ProjectError

PROBE = 810000000
ELECTRODE_IDS = [100, 102, 104, 106, 108, 110]


def add_electrodes(file, probes=(PROBE,) * 6, names=("probeA",) * 6):
    table = file.create_group("general/extracellular_ephys/electrodes")
    table.attrs["colnames"] = ["probe_id", "group_name"]
    table["id"] = ELECTRODE_IDS
    table["probe_id"] = probes
    table.create_dataset("group_name", data=names, dtype=h5py.string_dtype())


def add_series(parent, name, data, times=None, rows=None, start=None, rate=None, **attributes):
    series = parent.create_group(name)
    series.attrs["neurodata_type"] = "ElectricalSeries"
    series.create_dataset(
        "data", data=data, chunks=(min(4, len(data)), *data.shape[1:]) if len(data) else None
    )
    series["data"].attrs["unit"] = "volts"
    series["data"].attrs.update(attributes)
    if times is not None:
        series["timestamps"] = np.asarray(times, dtype=float)
        series["timestamps"].attrs["unit"] = "seconds"
    if start is not None:
        series["starting_time"] = start
        series["starting_time"].attrs["rate"] = rate
    columns = data.shape[1] if data.ndim == 2 else 1
    series["electrodes"] = np.arange(columns) if rows is None else rows
    return series


def add_container(file, name=f"probe_{PROBE}_lfp"):
    container = file.require_group("acquisition").create_group(name)
    container.attrs["neurodata_type"] = "LFP"
    return container


def nwb(path, identifier=str(PROBE)):
    file = h5py.File(path, "w")
    file.attrs["nwb_version"] = "2.2.2"
    file["identifier"] = identifier
    return file


@pytest.fixture
def values():
    return np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)


def write(path, data, times=None, **more):
    with nwb(path) as file:
        add_electrodes(file)
        times = 5 + 0.5 * np.arange(len(data)) if times is None and "start" not in more else times
        add_series(add_container(file), f"probe_{PROBE}_lfp_data", data, times, **more)
    return path


def invalid(*rows):
    return pa.Table.from_pylist(
        [
            {"id": i, "start_time": a, "stop_time": b, "tags": list(tags)}
            for i, (a, b, tags) in enumerate(rows)
        ],
        schema=INTERVAL_SCHEMA,
    )


def test_an_interval_is_read_with_its_channels(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values, rows=[4, 1, 2])
    with LfpFile(path, PROBE) as lfp:
        assert (lfp.probe_id, len(lfp), lfp.time_range) == (PROBE, 40, (5.0, 24.5))
        assert lfp.channel_ids.tolist() == [108, 102, 104]
        assert lfp.sampling_rate == 2.0
        times, read, channels = lfp.read(6.0, 8.0, [104, 108])
    assert times.tolist() == [6.0, 6.5, 7.0, 7.5]
    assert channels.tolist() == [104, 108]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values[2:6][:, [2, 0]])


def test_intervals_that_touch_share_no_sample(tmp_path, values):
    with LfpFile(write(tmp_path / "lfp.nwb", values)) as lfp:
        parts = [lfp.read(a, b)[1] for a, b in ((-np.inf, 9.0), (9.0, 12.25), (12.25, np.inf))]
    np.testing.assert_array_equal(np.concatenate(parts), values)


def test_the_sampling_rate_of_the_electrode_group_is_used(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values)
    with h5py.File(path, "a") as file:
        file.create_group("general/extracellular_ephys/probeA").attrs["lfp_sampling_rate"] = 1250.5
    with LfpFile(path) as lfp:
        assert lfp.sampling_rate == 1250.5


def test_numbers_are_scaled_to_volts(tmp_path):
    data = np.arange(12, dtype=np.int16).reshape(4, 3)
    path = write(tmp_path / "lfp.nwb", data, start=1.0, rate=10.0, conversion=1e-6, offset=0.5)
    with h5py.File(path, "a") as file:
        file[f"acquisition/probe_{PROBE}_lfp/probe_{PROBE}_lfp_data/channel_conversion"] = [1.0, 2.0, 3.0]
    with LfpFile(path) as lfp:
        times, read, _ = lfp.read(1.05, 1.25)
        assert lfp.sampling_rate == 10.0
    assert times.tolist() == [1.1, 1.2]
    np.testing.assert_allclose(read, (data[1:3] * 1e-6 + 0.5) * [1, 2, 3], rtol=1e-6)


def test_one_channel_may_be_stored_without_an_axis(tmp_path):
    with LfpFile(write(tmp_path / "lfp.nwb", np.arange(6.0))) as lfp:
        assert lfp.channel_ids.tolist() == [100]
        assert lfp.read(5.5, 6.5)[1].tolist() == [[1.0], [2.0]]


def test_a_file_without_samples_gives_none(tmp_path):
    with LfpFile(write(tmp_path / "lfp.nwb", np.empty((0, 3)))) as lfp:
        assert lfp.time_range is None
        assert lfp.read(-np.inf, np.inf)[1].shape == (0, 3)


@pytest.fixture
def memory_file():
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        add_electrodes(file)
        yield file


sizes = st.integers(0, 30)
bounds = st.floats(-5, 40) | st.sampled_from([-np.inf, np.inf]) | st.integers(-5, 40).map(float)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=sizes, start=bounds, stop=bounds, piece=st.sampled_from([1, 100, 1 << 20]))
def test_slices_are_those_of_numpy(data, n, start, stop, piece):
    """Times with and without gaps and repeats, any columns in any order, pieces of any size, invalid intervals."""
    start, stop = min(start, stop), max(start, stop)
    values = np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32)
    columns = data.draw(st.permutations(range(6)))[: data.draw(st.integers(0, 6))]
    names = data.draw(st.lists(st.sampled_from(["probeA", "probeB"]), min_size=6, max_size=6))
    hit = data.draw(
        st.lists(st.tuples(bounds, bounds, st.sampled_from(["all_probes", "probeA", "stimulus"])))
    )
    hit = [(min(a, b), max(a, b), [tag]) for a, b, tag in hit]
    with (
        pytest.MonkeyPatch.context() as patch,
        h5py.File("memory.h5", "w", driver="core", backing_store=False) as file,
    ):
        patch.setattr(module, "_PIECE", piece)
        add_electrodes(file, names=names)
        if data.draw(st.booleans()):
            times = np.sort(data.draw(st.lists(st.integers(0, 30).map(float), min_size=n, max_size=n)))
            series = add_series(file, "s", values, times)
        else:
            begin, rate = data.draw(st.floats(-2, 5)), data.draw(st.floats(0.5, 100))
            times = begin + np.arange(n) / rate
            series = add_series(file, "s", values, start=begin, rate=rate)
        file.flush()
        lfp = Lfp(series, invalid(*hit))
        found, read, ids = lfp.read(start, stop, [ELECTRODE_IDS[c] for c in columns])
        for a, b, (tag,) in hit:
            inside = (times >= a) & (times <= b)
            values[np.ix_(inside, [tag in ("all_probes", name) for name in names])] = np.nan
        wanted = (times >= start) & (times < stop)
        np.testing.assert_array_equal(found, times[wanted])
        np.testing.assert_array_equal(lfp.times(start, stop), times[wanted])
        np.testing.assert_array_equal(read, values[wanted][:, columns])
        assert ids.tolist() == [ELECTRODE_IDS[c] for c in columns]


def test_invalid_intervals_of_the_probe_are_blanked_ends_included(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values)
    table = invalid((6.0, 7.0, ["EcephysProbe", "probeA"]), (8.0, 8.0, ["all_probes"]), (9, 10, ["probeB"]))
    with LfpFile(path, PROBE, table) as lfp:
        _, read, _ = lfp.read(5.0, 11.0)
    assert np.flatnonzero(np.isnan(read).all(axis=1)).tolist() == [2, 3, 4, 6]
    assert np.isnan(read).any(axis=1).sum() == 4


def test_only_the_samples_asked_for_are_read(memory_file):
    class Watched:
        def __init__(self, dataset):
            self.dataset, self.read = dataset, 0

        def __getattr__(self, name):
            return getattr(self.dataset, name)

        def __len__(self):
            return len(self.dataset)

        def __getitem__(self, index):
            found = self.dataset[index]
            self.read += np.size(found)
            return found

    n = 100_000
    series = add_series(memory_file, "s", np.zeros((n, 6), dtype=np.float32), np.arange(n) / 1250)
    memory_file.flush()
    lfp = Lfp(series)
    lfp._times, lfp._data = Watched(lfp._times), Watched(lfp._data)
    times, _, _ = lfp.read(40.0, 40.1, [102, 104])
    assert len(times) == 125
    assert lfp._data.read == 125 * 2
    assert lfp._times.read < 125 + 60


def test_a_copy_equals_what_is_read(tmp_path, values, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 100)
    table = invalid((6.0, 7.0, ["all_probes"]))
    with (
        LfpFile(write(tmp_path / "lfp.nwb", values), PROBE, table) as lfp,
        h5py.File(tmp_path / "c.h5", "w") as out,
    ):
        copy_lfp(lfp, out, 5.5, 20.0, [104, 100])
        times, read, channels = lfp.read(5.5, 20.0, [104, 100])
        np.testing.assert_array_equal(out["times"], times)
        np.testing.assert_array_equal(out["values"], read)
        assert out["channel_ids"][()].tolist() == channels.tolist()
        assert (out["values"].attrs["unit"], out["times"].attrs["unit"]) == ("V", "s")
        assert (out.attrs["probe_id"], out.attrs["sampling_rate"]) == (PROBE, 2.0)


def test_channels_and_intervals_that_do_not_exist(tmp_path, values):
    with LfpFile(write(tmp_path / "lfp.nwb", values)) as lfp:
        with pytest.raises(ConfigurationError, match=r"no channels 7, 110; its channels are 100, 102, 104"):
            lfp.read(5, 6, [100, 7, 110])
        with pytest.raises(ConfigurationError, match="102 are given more than once"):
            lfp.read(5, 6, [102, 102])
        with pytest.raises(ConfigurationError, match="start must not be after the stop"):
            lfp.read(6, 5)
        with pytest.raises(ConfigurationError, match="start must not be after the stop"):
            lfp.times(float("nan"), 5)


@pytest.mark.parametrize(
    "times", [[0, 1, 3, 2, 4, 5], [0, 5, 1, 2, 3, 4], [0, 1, np.nan, 3, 4, 5], [np.nan] * 6]
)
def test_times_out_of_order_are_an_error(tmp_path, times):
    with (
        LfpFile(write(tmp_path / "lfp.nwb", np.zeros((6, 2)), times)) as lfp,
        pytest.raises(ProjectError, match="lfp.nwb: .*times are not"),
    ):
        lfp.read(-1, 10)


def test_times_out_of_order_between_two_pieces_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 1)
    with (
        LfpFile(write(tmp_path / "lfp.nwb", np.zeros((8, 2)), [0, 1, 2, 6, 3, 4, 5, 7])) as lfp,
        pytest.raises(ProjectError, match="not in order"),
    ):
        lfp.read(-1, 10)


def damage(name, value):
    def change(series):
        del series[name]
        if value is not None:
            series[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage("data", None), "dataset data is missing"),
        (damage("data", np.zeros((40, 2, 2))), r"shape \(40, 2, 2\); numbers of samples x channels"),
        (damage("data", np.zeros((40, 4))), r"one row number of the electrodes for each of the 4 channels"),
        (damage("data", np.zeros((39, 3))), r"shape \(40,\); one number for each of the 39 samples"),
        (damage("timestamps", None), "neither timestamps nor starting_time"),
        (damage("timestamps", [b"a"] * 40), "one number for each of the 40 samples"),
        (damage("electrodes", [0, 1, 6]), "names rows 0 to 6; there are 6 electrodes"),
        (damage("electrodes", None), "dataset electrodes is missing"),
        (lambda s: s["data"].attrs.update(unit="ampere"), "unit 'ampere'; volts are needed"),
        (lambda s: s["data"].attrs.update(conversion=np.nan), "conversion is nan; a number is needed"),
        (lambda s: s["timestamps"].attrs.update(unit="ms"), "unit 'ms'; seconds are needed"),
        (lambda s: s.create_dataset("channel_conversion", data=[1.0]), "for each of the 3 channels"),
    ],
)
def test_a_damaged_series_is_one_clear_error(tmp_path, values, change, message):
    path = write(tmp_path / "lfp.nwb", values)
    with h5py.File(path, "a") as file:
        change(file[f"acquisition/probe_{PROBE}_lfp/probe_{PROBE}_lfp_data"])
    with pytest.raises(ProjectError, match=message) as raised:
        LfpFile(path)
    assert "lfp.nwb" in str(raised.value)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.inf, "fast"])
def test_a_rate_that_is_none(tmp_path, values, rate):
    path = write(tmp_path / "lfp.nwb", values, start=0.0, rate=rate)
    with pytest.raises(ProjectError, match="its rate is .*; a number above 0 is needed"):
        LfpFile(path)


def test_a_file_without_lfp_with_several_or_of_another_probe(tmp_path, values):
    with nwb(tmp_path / "none.nwb") as file:
        add_electrodes(file)
    with pytest.raises(ProjectError, match="none.nwb holds no LFP"):
        LfpFile(tmp_path / "none.nwb")
    path = write(tmp_path / "lfp.nwb", values)
    with pytest.raises(ProjectError, match=f"is the LFP of probe {PROBE}, not of probe 5"):
        LfpFile(path, 5)
    with h5py.File(path, "a") as file:
        add_series(add_container(file, "other"), "data", values, np.arange(40))
    with pytest.raises(
        ProjectError, match=r"several LFP series \(acquisition/other/data, acquisition/probe_"
    ):
        LfpFile(path)
    with pytest.raises(ProjectError, match="is not there"):
        LfpFile(tmp_path / "absent.nwb")


def test_a_series_under_two_names_is_one(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values)
    with h5py.File(path, "a") as file:
        name = f"probe_{PROBE}_lfp_data"
        file[f"acquisition/{name}"] = h5py.SoftLink(f"/acquisition/probe_{PROBE}_lfp/{name}")
    with LfpFile(path) as lfp:
        assert len(lfp) == 40


def test_the_identifier_names_the_probe_where_electrodes_do_not(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values)
    with h5py.File(path, "a") as file:
        electrodes = file["general/extracellular_ephys/electrodes"]
        electrodes.attrs["colnames"] = ["group_name"]
    with LfpFile(path, PROBE) as lfp:
        assert lfp.probe_id == PROBE


def test_lfp_inside_a_session_file(tmp_path, values):
    """An LFP container of a processing module and a slow series are found; the wide band is not."""
    with nwb(tmp_path / "s.nwb", "12") as file:
        add_electrodes(file)
        container = file.create_group("processing/ecephys/LFP")
        container.attrs["neurodata_type"] = "LFP"
        add_series(container, "ElectricalSeries", values, start=0.0, rate=2.0)
        acquisition = file.create_group("acquisition")
        add_series(acquisition, "slow", values, np.arange(40) / 1250)
        add_series(acquisition, "wide", values, start=0.0, rate=30000.0)
        add_series(acquisition, "wide_by_times", values, np.arange(40) / 30000)
        table = file.create_group("intervals/invalid_times")
        table.attrs["colnames"] = ["start_time", "stop_time", "tags"]
        table["id"], table["start_time"], table["stop_time"] = [0], [1.0], [1.5]
        table["tags"], table["tags_index"] = [b"probeA"], [1]
    with SessionFile(tmp_path / "s.nwb") as session:
        found = find_lfp(session)
        assert list(found) == ["acquisition/slow", "processing/ecephys/LFP/ElectricalSeries"]
        _, read, _ = found["processing/ecephys/LFP/ElectricalSeries"].read(0, 3)
    assert np.flatnonzero(np.isnan(read[:, 0])).tolist() == [2, 3]
    np.testing.assert_array_equal(read[:2], values[:2])


def test_probes_of_a_plain_file_have_the_ids_of_the_session(tmp_path, values):
    with nwb(tmp_path / "s.nwb", "12") as file:
        add_electrodes(file, names=["imec1"] * 3 + ["imec0"] * 3)
        electrodes = file["general/extracellular_ephys/electrodes"]
        electrodes.attrs["colnames"] = ["group_name"]
        for name in ("imec0", "imec1"):
            place = file.create_group(f"general/extracellular_ephys/{name}")
            place.attrs["neurodata_type"] = "ElectrodeGroup"
        acquisition = file.create_group("acquisition")
        add_series(acquisition, "one_probe", values, start=0.0, rate=2.0)
        add_series(acquisition, "two_probes", values, start=0.0, rate=2.0, rows=[0, 1, 5])
    with SessionFile(tmp_path / "s.nwb") as session:
        found = find_lfp(session)
        assert found["acquisition/one_probe"].probe_id == 1
        assert found["acquisition/two_probes"].probe_id is None
        assert found["acquisition/two_probes"].probe_names == ["imec1", "imec1", "imec0"]


def add_csd(file, x=(24.0,) * 4, y=(0.0, 10.0, 20.0, 30.0), units=("um", "um")):
    place = file.create_group("processing/current_source_density/ecephys_csd")
    for axis, positions, unit in zip("xy", (x, y), units, strict=True):
        place[f"virtual_electrode_{axis}_positions"] = positions
        place[f"virtual_electrode_{axis}_positions"].attrs["unit"] = unit
    series = place.create_group("current_source_density")
    series["data"] = np.arange(12.0).reshape(3, 4)
    series["data"].attrs["unit"] = "V/cm^2"
    series["timestamps"] = [-0.1, 0.0, 0.1]


def test_current_source_density(tmp_path, values):
    path = write(tmp_path / "lfp.nwb", values)
    with LfpFile(path) as lfp, pytest.raises(ProjectError, match="holds no current source density"):
        lfp.csd()
    with h5py.File(path, "a") as file:
        add_csd(file)
    with LfpFile(path) as lfp:
        csd = lfp.csd()
    assert csd.y.tolist() == [0, 10, 20, 30]
    assert (csd.position_unit, csd.unit) == ("um", "V/cm^2")
    assert csd.times.tolist() == [-0.1, 0.0, 0.1]
    np.testing.assert_array_equal(csd.values, np.arange(12.0).reshape(3, 4).T)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": (1.0, 2.0)}, r"a number for each of the 4 channels"),
        ({"units": ("um", "mm")}, "units 'um' and 'mm'"),
    ],
)
def test_a_damaged_density(tmp_path, values, wrong, message):
    path = write(tmp_path / "lfp.nwb", values)
    with h5py.File(path, "a") as file:
        add_csd(file, **wrong)
    with LfpFile(path) as lfp, pytest.raises(ProjectError, match=message):
        lfp.csd()
