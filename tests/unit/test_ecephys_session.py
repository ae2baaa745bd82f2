"""Python access to a session: what it gives, when it opens and closes files, and what it refuses."""

import shutil
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest

from ephysflow.ecephys import nwb_file
from ephysflow.ecephys.session import open_session
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.example.ecephys_files import write_lfp, write_session

SESSION = 715
NO_FILTERS = {
    "amplitude_cutoff_maximum": None,
    "presence_ratio_minimum": None,
    "isi_violations_maximum": None,
    "filter_by_validity": False,
    "filter_out_of_brain_units": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a session and the LFP of its first probe."""
    path = tmp_path_factory.mktemp("nwb")
    file = path / f"session_{SESSION}.nwb"
    write_session(file, SESSION, seed=1, n_units=24)
    with open_session(file) as session:
        probe = int(session.probes.index[session.probes.has_lfp_data][0])
    write_lfp(path / f"session_{SESSION}_probe_{probe}_lfp.nwb", SESSION, probe, seed=1)
    return path


@pytest.fixture(scope="module")
def file(folder):
    return folder / f"session_{SESSION}.nwb"


@pytest.fixture(scope="module")
def lfp_file(folder):
    return next(folder.glob("*_lfp.nwb"))


@pytest.fixture
def session(file):
    with open_session(file) as opened:
        yield opened


# ---------------------------------------------------------------- files


def test_the_file_is_opened_once_and_closed_at_the_end(file, monkeypatch):
    opened = []

    def counted(path):
        opened.append(open_nwb(path))
        return opened[-1]

    open_nwb = nwb_file.open_nwb
    monkeypatch.setattr("ephysflow.ecephys.session_file.open_nwb", counted)
    with open_session(file) as session:
        for name in ("units", "channels", "spike_times", "stimulus_presentations", "running_speed", "units"):
            getattr(session, name)
        times = session.spike_times
    assert len(opened) == 1
    assert not opened[0]
    assert sum(map(len, times.values())) > 0


def test_a_closed_session_gives_what_was_read_and_refuses_the_rest(file):
    with open_session(file) as session:
        units = session.units
    assert session.units is units
    with pytest.raises(ConfigurationError, match="closed"):
        _ = session.channels
    session.close()


def test_what_is_not_asked_for_is_not_read(file, tmp_path):
    broken = tmp_path / "session_715.nwb"
    shutil.copy(file, broken)
    with h5py.File(broken, "a") as nwb:
        nwb["units/spike_times"][3] = np.nan
    with open_session(broken, unit_filters=NO_FILTERS) as session:
        assert len(session.units) == 48
        assert len(session.running_speed) > 0
        with pytest.raises(ProjectError, match="nan"):
            _ = session.spike_times


def test_a_file_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(ProjectError, match="is not there"):
        open_session(tmp_path / "absent.nwb")


# ---------------------------------------------------------------- units and spikes


def test_spikes_and_waveforms_are_those_of_the_units(session):
    assert list(session.spike_times) == list(session.units.index)
    assert list(session.mean_waveforms) == list(session.units.index)
    unit = session.units.index[0]
    assert len(session.spike_times[unit]) == len(session.spike_amplitudes[unit]) > 0
    waveform = session.mean_waveforms[unit]
    assert waveform.columns.name == "time"
    assert set(waveform.index) <= set(session.channels.index)


def test_filters_are_those_that_are_given(file):
    with open_session(file, unit_filters=NO_FILTERS) as session:
        assert len(session.units) == 48
        assert session.unit_filter_records.removed.sum() == 0
    with open_session(file, unit_filters={"presence_ratio_minimum": None}) as session:
        some = len(session.units)
    with open_session(file) as session:
        assert 0 < len(session.units) < some < 48
        records = session.unit_filter_records
        assert 48 - records.removed.sum() == len(session.units)


def test_an_unknown_filter_is_an_error_that_names_the_known_ones(file):
    with pytest.raises(ConfigurationError, match="presence_ratio_min.*presence_ratio_minimum"):
        open_session(file, unit_filters={"presence_ratio_min": 0.5})


def test_units_are_counted_by_structure(session):
    assert session.structurewise_unit_counts.sum() == len(session.units)


def test_structure_intervals_cover_the_channels(session):
    labels, bounds = session.channel_structure_intervals()
    assert bounds[-1] == len(session.channels)
    assert len(labels) == len(bounds) - 1
    labels, bounds = session.channel_structure_intervals(session.channels.index[:3])
    assert bounds[-1] == 3


# ---------------------------------------------------------------- stimuli


def test_presentations_keep_integers_where_some_are_missing(session):
    presentations = session.stimulus_presentations
    assert presentations.stimulus_block.isna().any()
    assert str(presentations.stimulus_block.dtype) == "Int64"
    assert session.stimulus_conditions.index.name == "stimulus_condition_id"


def test_a_stimulus_has_the_columns_that_apply_to_it(session):
    table = session.stimulus_table("flashes")
    assert set(table.stimulus_name) == {"flashes"}
    assert "orientation" not in table.columns
    assert "orientation" in session.stimulus_table(["flashes", "drifting_gratings"]).columns
    with pytest.raises(ConfigurationError, match="drifting_gratings"):
        session.stimulus_table("drifting")
    assert "orientation" in session.stimulus_parameter_values()
    assert "orientation" not in session.stimulus_parameter_values("flashes")


def test_presentations_follow_one_another(session):
    gaps = session.inter_presentation_intervals()
    assert len(gaps) == len(session.stimulus_presentations) - 1
    gaps = session.inter_presentation_intervals("flashes")
    assert gaps.index.names == ["from_presentation_id", "to_presentation_id"]
    assert len(gaps) == len(session.stimulus_table("flashes")) - 1
    epochs = session.stimulus_epochs()
    assert epochs.stimulus_presentation_count.sum() == len(session.stimulus_presentations)
    assert len(session.stimulus_epochs(1e9)) < len(epochs)


# ---------------------------------------------------------------- spikes by presentation


def test_counts_are_labelled(session):
    presentations = session.stimulus_table("flashes").index[:4]
    units = session.units.index[::-1][:2]
    found = session.presentationwise_spike_counts([0.0, 0.1, 0.25], presentations, units)
    assert found.counts.shape == (4, 2, 2)
    assert list(found.unit_ids) == list(units)
    np.testing.assert_allclose(found.bin_centres, [0.05, 0.175])
    frame = found.to_frame()
    assert frame.shape == (8, 2)
    start = session.stimulus_presentations.start_time[presentations[2]]
    train = session.spike_times[units[1]]
    expected = ((train >= start + 0.1) & (train < start + 0.25)).sum()
    assert frame.loc[(presentations[2], 0.175), units[1]] == expected
    binary = session.presentationwise_spike_counts([0.0, 100.0], presentations, units, binarize=True)
    assert set(np.unique(binary.counts)) <= {0, 1}


def test_counts_times_and_statistics_agree(session):
    presentations = session.stimulus_table("drifting_gratings").index
    units = session.units.index[:3]
    times = session.presentationwise_spike_times(presentations, units)
    statistics = session.conditionwise_spike_statistics(presentations, units)
    assert times.index.name == "spike_time"
    assert len(times) == statistics.spike_count.sum() > 0
    assert statistics.index.names == ["unit_id", "stimulus_condition_id"]
    rates = session.conditionwise_spike_statistics(presentations, units, use_rates=True)
    assert (rates.spike_mean <= statistics.spike_mean).all()  # gratings last longer than 1 s


def test_all_presentations_and_units_are_taken_where_none_are_named(session):
    found = session.presentationwise_spike_counts([0.0, 0.1])
    assert found.counts.shape == (len(session.stimulus_presentations), 1, len(session.units))


@pytest.mark.parametrize("what", ["stimulus_presentation_ids", "unit_ids"])
@pytest.mark.parametrize("method", ["presentationwise_spike_times", "conditionwise_spike_statistics"])
def test_ids_that_are_unknown_or_named_twice_are_refused(session, what, method):
    known = int(
        {"stimulus_presentation_ids": session.stimulus_presentations, "unit_ids": session.units}[what].index[
            0
        ]
    )
    with pytest.raises(ConfigurationError, match=rf"{what}: -2, -1 unknown; there are \d+: {known}, "):
        getattr(session, method)(**{what: [-2, known, -1]})
    with pytest.raises(ConfigurationError, match=f"{what}: {known} given more than once"):
        getattr(session, method)(**{what: [known, known]})


# ---------------------------------------------------------------- the animal, intervals, LFP


def test_what_a_file_does_not_hold_has_no_rows(session):
    assert len(session.eye_tracking) == 0
    assert isinstance(session.epochs, pd.DataFrame)
    assert session.stimulus_templates == {}
    assert len(session.optogenetic_stimulation) > 0
    assert {"start_time", "stop_time", "tags"} <= set(session.invalid_times.columns)


def test_tables_of_intervals_are_read_by_name(session):
    names = session.interval_tables()
    assert "flashes_presentations" in names
    assert {"start_time", "stop_time", "color"} <= set(session.intervals("flashes_presentations").columns)
    with pytest.raises(ConfigurationError, match="flashes_presentations"):
        session.intervals("flashes")


def test_lfp_is_read_in_an_interval(file, lfp_file):
    with open_session(file) as session:
        probe = session.probes.index[session.probes.has_lfp_data][0]
    with open_session(file, lfp_files={probe: lfp_file}) as session:
        lfp = session.lfp(probe, 20.0, 20.25)
        assert (lfp.index.name, lfp.columns.name) == ("time", "channel_id")
        assert 20.0 <= lfp.index[0] < lfp.index[-1] < 20.25
        one = session.lfp(str(probe), 20.0, 20.25, channel_ids=lfp.columns[2:3])
        pd.testing.assert_frame_equal(one, lfp.iloc[:, 2:3])
        csd = session.csd(probe)
        assert csd._asdict()["values"].shape == (len(csd.x), len(csd.times))
        with pytest.raises(ConfigurationError, match=f"no LFP of probe 1; there is LFP of: {probe}"):
            session.lfp(1)
    with open_session(file) as session, pytest.raises(ConfigurationError, match="no LFP of probe"):
        session.lfp(probe)


# ---------------------------------------------------------------- as part of a project


def test_a_session_of_a_project_finds_its_files(folder, file, lfp_file):
    with open_session(SESSION, project=folder) as session:
        assert session.path == file
        probe = session.probes.index[session.probes.has_lfp_data][0]
        assert len(session.lfp(probe, 20.0, 20.1)) > 0


def test_what_the_sensor_of_the_wheel_gave(session):
    raw = session.raw_running
    assert list(raw.columns) == ["time", "net_rotation", "signal_voltage", "supply_voltage"]
    assert len(raw) == len(session.running_speed)


class Project:
    """What `open_session` asks of a project."""

    def __init__(self, file, channels=None, metrics=None):
        self.file, self.channels, self.table = file, channels, metrics

    unit_filters: ClassVar[dict] = {}

    def session_file(self, session_id):
        return self.file

    def lfp_files(self, session_id):
        return {}

    def external_channels(self):
        return self.channels

    def metrics(self, session_id):
        return self.table


def test_channels_and_metrics_of_the_project_are_joined(file, session):
    import pyarrow as pa

    ids = list(session.channels.index)
    channels = pa.table({"id": ids, "ecephys_structure_acronym": ["XYZ"] * len(ids)})
    units = list(session.units.index)
    metrics = pa.table({"ecephys_unit_id": units[1:], "area_rf": np.arange(len(units) - 1.0)})
    with open_session(SESSION, project=Project(file, channels, metrics)) as other:
        assert set(other.channels.ecephys_structure_acronym) == {"XYZ"}
        assert other.units.area_rf[units[1:]].tolist() == list(range(len(units) - 1))
        assert np.isnan(other.units.area_rf[units[0]])
        assert set(other.structurewise_unit_counts.index) == {"XYZ"}


def test_an_id_without_a_project_is_refused():
    with pytest.raises(ConfigurationError, match="project"):
        open_session(SESSION)
