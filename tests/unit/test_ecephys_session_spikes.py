"""Spikes and mean waveforms of small session files."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_nwb import TRAINS, UNIT_IDS, write_allen_session, write_file, write_plain_session, write_table

from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_spikes import session_mean_waveforms, session_spikes
from ephysflow.errors import ConfigurationError, ProjectError


@pytest.fixture
def allen(tmp_path):
    with SessionFile(write_allen_session(tmp_path / "allen.nwb")) as session:
        yield session


def trains(spikes, values: str = "times") -> dict[int, list[float]]:
    parts = np.split(getattr(spikes, values), spikes.offsets[1:-1])
    return {unit: part.tolist() for unit, part in zip(spikes.unit_ids.tolist(), parts, strict=True)}


# ---------------------------------------------------------------- spikes


def test_all_spikes(allen):
    spikes = session_spikes(allen)
    assert trains(spikes) == {unit: list(train) for unit, train in zip(UNIT_IDS, TRAINS, strict=True)}
    assert spikes.amplitudes is not None
    assert spikes.amplitudes.tolist() == [1e-4] * sum(map(len, TRAINS))
    assert spikes.times.dtype == np.float64
    assert spikes.findings == []


@pytest.mark.parametrize("wanted", [[], [20], [50, 30], [40, 10, 20, 50, 30], [30, 10, 20, 40, 50]])
def test_units_come_in_the_wanted_order(allen, wanted):
    spikes = session_spikes(allen, np.array(wanted, dtype=np.int64))
    assert spikes.unit_ids.tolist() == wanted
    assert spikes.offsets.tolist() == [0, *np.cumsum([len(TRAINS[UNIT_IDS.index(unit)]) for unit in wanted])]
    assert spikes.times.tolist() == [t for unit in wanted for t in TRAINS[UNIT_IDS.index(unit)]]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_selection_of_any_trains(tmp_path_factory, data):
    times = st.lists(st.floats(0, 1e4, allow_nan=False).map(lambda t: round(t, 3)), max_size=6)
    stored = data.draw(st.lists(times, min_size=1, max_size=8))
    wanted = data.draw(
        st.permutations(range(len(stored))).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: p[:n]))
    )
    path = write_plain_session(tmp_path_factory.mktemp("trains") / "a.nwb", trains=stored)
    with SessionFile(path) as session:
        spikes = session_spikes(session, np.array(wanted, dtype=np.int64))
    assert (
        trains(spikes) == {unit: sorted(stored[unit]) for unit in wanted}
        if wanted
        else len(spikes.times) == 0
    )
    unsorted = {f"unit {unit}" for unit in wanted if stored[unit] != sorted(stored[unit])}
    assert {subject for subject, _ in spikes.findings} == unsorted


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([10, 99], "unit 99 is not in session 715 .*there are 30, 10, 20, 40, 50"),
        ([10, 10], "twice"),
        ([1.5], "list of integers"),
        ([[10]], "list of integers"),
    ],
)
def test_unknown_units_are_refused(allen, wanted, message):
    with pytest.raises(ConfigurationError, match=message):
        session_spikes(allen, np.array(wanted))


def test_file_without_amplitudes(tmp_path):
    with SessionFile(write_plain_session(tmp_path / "a.nwb")) as session:
        assert session_spikes(session).amplitudes is None


def test_unsorted_spikes_are_sorted_with_their_amplitudes(tmp_path):
    path = write_allen_session(
        tmp_path / "a.nwb",
        units={
            "spike_times": [[3.0, 1.0, 2.0], [0.1], [], [0.05, 0.07], [9.0]],
            "spike_amplitudes": [[30.0, 10.0, 20.0], [1.0], [], [5.0, 7.0], [9.0]],
        },
    )
    with SessionFile(path) as session:
        spikes = session_spikes(session)
    assert trains(spikes)[30] == [1.0, 2.0, 3.0]
    assert trains(spikes, "amplitudes")[30] == [10.0, 20.0, 30.0]
    assert spikes.findings == [("unit 30", "its spike times were not in order; they were sorted")]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_times_that_are_not_finite_name_the_unit(tmp_path, wrong):
    times = [[0.5, 1.0, 2.5], [0.1], [], [3.0, wrong], [1.0, 2.0]]
    path = write_allen_session(tmp_path / "a.nwb", units={"spike_times": times})
    with SessionFile(path) as session:
        with pytest.raises(
            ProjectError, match=r"a\.nwb: /units/spike_times: unit 40 has a spike time that is"
        ):
            session_spikes(session)
        assert session_spikes(session, np.array([30, 50])).times.tolist() == [0.5, 1.0, 2.5, 1.0, 2.0]


def test_amplitudes_that_do_not_fit_name_the_unit(tmp_path):
    amplitudes = [[1.0] * len(train) for train in TRAINS]
    amplitudes[1] = [1.0, 1.0]
    path = write_allen_session(tmp_path / "a.nwb", units={"spike_amplitudes": amplitudes})
    with SessionFile(path) as session, pytest.raises(ProjectError, match="unit 10 has 1 spike_times, but 2"):
        session_spikes(session)


def damaged(path, name: str, values) -> None:
    with h5py.File(path, "a") as file:
        del file[f"units/{name}"]
        if values is not None:
            file[f"units/{name}"] = values


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spike_times", np.arange(5.0), "ends at 8, but /units/spike_times has 5 values"),
        ("spike_times", [b"a"] * 8, "must be numbers in one dimension"),
        ("spike_times", np.zeros((8, 2)), "must be numbers in one dimension"),
        ("spike_times", None, "spike_times is missing"),
        ("spike_times_index", [3, 4, 4, 6], "has 4 entries, but the table has 5 rows"),
        ("spike_times_index", [3, 2, 4, 6, 8], "decreases at row 1"),
        ("spike_times_index", None, "has shape|must have one index"),
    ],
)
def test_damaged_columns_are_refused(tmp_path, name, values, message):
    path = write_allen_session(tmp_path / "a.nwb")
    damaged(path, name, values)
    with SessionFile(path) as session, pytest.raises(ProjectError, match=message):
        session_spikes(session)


def test_session_without_units_or_without_spikes(tmp_path):
    path = write_file(tmp_path / "a.nwb")
    with SessionFile(path) as session, pytest.raises(ProjectError, match="has no units"):
        session_spikes(session)
    with h5py.File(path, "a") as file:
        write_table(file, "units", {"quality": ["good"]})
    with SessionFile(path) as session, pytest.raises(ProjectError, match="spike_times is missing"):
        session_spikes(session)


# ---------------------------------------------------------------- mean waveforms


def test_rows_of_waveforms_are_the_valid_channels_of_the_probe(allen):
    found = {waveform.unit_id: waveform for waveform in session_mean_waveforms(allen)}
    assert list(found) == list(UNIT_IDS)
    # of four rows the last is of a channel that is not valid
    assert found[30].channel_ids.tolist() == [100, 101, 102]
    assert found[10].channel_ids.tolist() == [104, 105, 106]
    assert found[10].values.tolist() == np.arange(12, 21).reshape(3, 3).tolist()
    assert found[30].sampling_rate == 30000.5


def test_sampling_rate_of_the_waveforms_comes_first(tmp_path):
    path = write_allen_session(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file["units/waveform_mean"].attrs["sampling_rate"] = 20000.0
    with SessionFile(path) as session:
        (waveform,) = session_mean_waveforms(session, np.array([20]))
    assert (waveform.unit_id, waveform.sampling_rate) == (20, 20000.0)


@pytest.mark.parametrize(
    ("shape", "units", "channel_ids"),
    [
        ((5, 4), {}, [-1]),
        ((5, 4), {"electrodes": [[2], [1], [0], [0], [1]]}, [2]),
        ((5, 4, 3), {"electrode_group": ()}, [0, 1, 2]),
        ((5, 4, 2), {"electrodes": [[2, 0]] * 5}, [2, 0]),
        ((5, 4, 3), {}, [-1, -1, -1]),
    ],
)
def test_dense_waveforms_of_plain_files(tmp_path, shape, units, channel_ids):
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    path = write_plain_session(tmp_path / "a.nwb", units={"waveform_mean": values, **units})
    with SessionFile(path) as session:
        first = next(session_mean_waveforms(session))
    assert first.channel_ids.tolist() == channel_ids
    assert first.values.tolist() == np.atleast_2d(values[0].T).tolist()
    assert first.sampling_rate is None


def test_waveforms_with_two_indices(tmp_path):
    path = write_plain_session(
        tmp_path / "a.nwb", trains=[[1.0], [2.0]], units={"waveform_mean": np.zeros(2)}
    )
    with h5py.File(path, "a") as file:
        del file["units/waveform_mean"]
        file["units/waveform_mean"] = np.arange(8.0)
        file["units/waveform_mean_index"] = [2, 4, 8]
        file["units/waveform_mean_index_index"] = [2, 3]
    with SessionFile(path) as session:
        values = [waveform.values.tolist() for waveform in session_mean_waveforms(session)]
    assert values == [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0, 6.0, 7.0]]]
    damaged(path, "waveform_mean_index", [1, 4, 8])
    with SessionFile(path) as session, pytest.raises(ProjectError, match="unit 0 are of 1 to 3 samples"):
        next(session_mean_waveforms(session))


def test_file_without_waveforms(tmp_path):
    with SessionFile(write_plain_session(tmp_path / "a.nwb")) as session:
        assert list(session_mean_waveforms(session)) == []


@pytest.mark.parametrize("values", [["a"] * 5, np.zeros((5, 1, 1, 1))])
def test_wrong_waveforms_are_refused(tmp_path, values):
    path = write_plain_session(tmp_path / "a.nwb", units={"waveform_mean": values})
    with SessionFile(path) as session, pytest.raises(ProjectError, match="waveform_mean must be numbers"):
        list(session_mean_waveforms(session))
