"""A session of the stand-in project against the AllenSDK's results, and a real NWB file of another laboratory."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.ecephys_jobs import extract, index

from ephysflow.ecephys.array_file import reading_arrays
from ephysflow.ecephys.presentations import INVALID
from ephysflow.ecephys.products import PRODUCTS
from ephysflow.ecephys.products_step import left_out_reason
from ephysflow.ecephys.project import open_project
from ephysflow.ecephys.session import open_session
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.io.tables import read_rows, read_table

pytest.importorskip("pynwb")

SESSION, PROBE = 715000000, 729000000
SESSION_FILE, LFP_FILE = "9001", "9002"
PLAIN = "A8604-211122"
NOT_APPLICABLE = ("", "null")
NO_FILTERS = UnitFilters(None, None, None, False, False)


@pytest.fixture(scope="module")
def cache(shared, made_once, tmp_path_factory) -> Path:
    """AllenSDK's cache folder with the session and LFP files of the stand-in."""
    scripts = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        for arguments in (("make_tables.py", folder, "--cases"), ("make_nwb.py", folder, SESSION)):
            command = [sys.executable, *(str(a) for a in (scripts / arguments[0], *arguments[1:]))]
            subprocess.run(command, check=True, capture_output=True)

    files = made_once("ecephys_standin_presentations", make) / "files"
    folder = tmp_path_factory.mktemp("cache")
    of_session = folder / f"session_{SESSION}"
    of_session.mkdir()
    for file in (shared / "golden" / "ecephys" / "cache_csv").iterdir():
        place = of_session if file.name.startswith("session_") else folder
        shutil.copyfile(file, place / file.name)
    shutil.copyfile(files / SESSION_FILE, of_session / f"session_{SESSION}.nwb")
    shutil.copyfile(files / LFP_FILE, of_session / f"probe_{PROBE}_lfp.nwb")
    return folder


@pytest.fixture(scope="module")
def nwb(cache) -> Path:
    return cache / f"session_{SESSION}" / f"session_{SESSION}.nwb"


@pytest.fixture(scope="module")
def session(cache):
    with open_session(SESSION, project=open_project(cache)) as opened:
        yield opened


@pytest.fixture(scope="module")
def golden(shared) -> Path:
    return shared / "golden" / "ecephys" / "session"


def assert_golden(frame: pd.DataFrame, path: Path, keys: list[str], absent: tuple[str, ...] = ()) -> None:
    """Compare all columns of a golden table; those in `absent` have no value in it and no column with us."""
    with path.open(newline="") as stream:
        expected = {tuple(float(row[key]) for key in keys): row for row in csv.DictReader(stream)}
    found = frame.reset_index()
    assert len(found) == len(expected)
    for row in found.to_dict("records"):
        wanted = expected[tuple(float(row[key]) for key in keys)]
        for name, text in wanted.items():
            if name in absent:
                assert text in NOT_APPLICABLE
            elif text in NOT_APPLICABLE:
                assert pd.isna(row[name]), (name, row)
            elif text in ("True", "False"):
                assert row[name] == (text == "True"), (name, row)
            elif isinstance(row[name], str):
                assert row[name] == text, (name, row)
            else:
                assert float(row[name]) == pytest.approx(float(text), rel=1e-12, abs=0), (name, row)


def test_units(session, golden):
    assert_golden(session.units, golden / "units.csv", ["unit_id"])
    # the AllenSDK renames two columns to waveform_..., and forgets this one
    assert set(session.units) - set(pd.read_csv(golden / "units.csv")) >= {"waveform_halfwidth"}


def test_analysis_metrics_are_joined_onto_the_units(session, shared):
    metrics = pd.read_csv(shared / "golden/ecephys/metrics_for_session__all_units.csv").set_index(
        "ecephys_unit_id"
    )
    known = session.units.index.intersection(metrics.index)
    assert len(known)
    for name in ("g_osi_dg", "p_value_rf", "on_screen_rf"):
        np.testing.assert_allclose(
            session.units.loc[known, name].astype(float), metrics.loc[known, name].astype(float), rtol=1e-12
        )


def test_the_filters_mean_the_same_without_a_project(nwb, session):
    with open_session(nwb) as alone:
        assert list(alone.units.index) == list(session.units.index)


def test_channels(session, golden):
    # the AllenSDK leaves channels out that are not valid; here a column tells
    channels = session.channels
    assert_golden(channels[channels.valid_data], golden / "channels.csv", ["id"])
    assert len(channels) == 48


def test_probes(session, golden):
    assert_golden(session.probes, golden / "probes.csv", ["id"])


def test_spike_times(session, golden):
    expected = pd.read_csv(golden / "spike_times.csv", index_col=0)["n"].to_dict()
    assert {unit: len(times) for unit, times in session.spike_times.items()} == expected
    assert {unit: len(values) for unit, values in session.spike_amplitudes.items()} == expected


def test_invalid_times(session, golden):
    expected = pd.read_csv(golden / "invalid_times.csv")
    found = session.invalid_times
    np.testing.assert_array_equal(found[["start_time", "stop_time"]], expected[["start_time", "stop_time"]])
    assert [str(np.array(tags)) for tags in found.tags] == expected.tags.tolist()


def test_stimulus_presentations(session, golden):
    presentations = session.stimulus_presentations
    invalid = presentations.stimulus_name == INVALID
    assert invalid.sum() == 1
    # the AllenSDK forgets how long an invalid presentation lasted
    np.testing.assert_array_equal(
        presentations.duration[invalid], (presentations.stop_time - presentations.start_time)[invalid]
    )
    presentations = presentations.assign(duration=presentations.duration.where(~invalid))
    assert_golden(presentations, golden / "stimulus_presentations.csv", ["stimulus_presentation_id"])


def test_stimulus_conditions(session, golden):
    # color_triplet is a column of the AllenSDK that no stimulus of the file has
    path = golden / "stimulus_conditions.csv"
    assert_golden(session.stimulus_conditions, path, ["stimulus_condition_id"], ("color_triplet",))


def test_presentationwise_spike_times(session, golden):
    found = session.presentationwise_spike_times(session.stimulus_table("flashes").index)
    keys = ["spike_time", "unit_id"]
    assert_golden(found, golden / "presentationwise_spike_times_flashes.csv", keys)


def test_conditionwise_spike_statistics(session, golden):
    found = session.conditionwise_spike_statistics(session.stimulus_table("drifting_gratings").index)
    keys = ["unit_id", "stimulus_condition_id"]
    assert_golden(found, golden / "conditionwise_spike_statistics_gratings.csv", keys)


def test_lfp_is_nan_in_invalid_times_of_the_probe(session):
    lfp = session.lfp(PROBE, 59.5, 61.5)
    bad = (lfp.index >= 60) & (lfp.index <= 61)
    assert lfp[bad].isna().all(axis=None)
    assert lfp[~bad].notna().all(axis=None)
    assert session.csd(PROBE).times[0] == pytest.approx(-0.1)


# ---------------------------------------------------------------- products of the workflow


@pytest.fixture(scope="module")
def made(cache, nwb, tmp_path_factory):
    """``made(product, ...)``: the product as the workflow writes it."""
    results = tmp_path_factory.mktemp("results")
    index(results, SESSION, nwb)
    tables = {
        "channels": {"channels_table": cache / "channels.csv"},
        "metrics": {"metrics_table": nwb.parent / f"session_{SESSION}_analysis_metrics.csv"},
    }

    def make(product: str, **more) -> Path:
        for name in PRODUCTS[product].arguments:
            more = {**tables.get(name, {}), **more}
        path = extract(results, SESSION, nwb, product, **more)
        assert left_out_reason(path) is None
        return path

    return make


TABLES = {
    "units": lambda s: s.units,
    "channels": lambda s: s.channels,
    "probes": lambda s: s.probes,
    "stimulus_presentations": lambda s: s.stimulus_presentations,
    "stimulus_conditions": lambda s: s.stimulus_conditions,
    "stimulus_epochs": lambda s: s.stimulus_epochs(),
    "running_speed": lambda s: s.running_speed,
    "optogenetic_stimulation": lambda s: s.optogenetic_stimulation,
    "invalid_times": lambda s: s.invalid_times,
    "epochs": lambda s: s.epochs,
    "eye_tracking": lambda s: s.eye_tracking,
    "conditionwise_spike_statistics": lambda s: s.conditionwise_spike_statistics(),
}


@pytest.mark.parametrize("product", TABLES)
def test_tables_of_the_workflow_are_those_of_the_session(made, session, product):
    table = read_table(made(product)).to_pandas()
    expected = TABLES[product](session)
    if expected.index.names[0] is not None:
        expected = expected.reset_index()
    assert list(table.columns) == list(expected.columns)
    for name in table:
        # integers with nulls are floats in the one, and nullable integers in the other
        left, right = (
            frame[name].astype(object).where(frame[name].notna(), None) for frame in (table, expected)
        )
        assert [str(value) for value in left] == [str(value) for value in right] or np.array_equal(
            left, right
        )


def test_spikes_of_the_workflow_are_those_of_the_session(made, session):
    table = read_table(made("spikes")).to_pandas()
    for unit, times in session.spike_times.items():
        mine = table[table.unit_id == unit]
        np.testing.assert_array_equal(mine.time, times)
        np.testing.assert_array_equal(mine.amplitude, session.spike_amplitudes[unit])
    assert table.unit_id.nunique() == len(session.spike_times)


def test_spike_times_of_presentations_are_those_of_the_session(made, session):
    table = read_table(made("presentationwise_spike_times")).to_pandas()
    expected = session.presentationwise_spike_times().reset_index()
    keys = ["unit_id", "spike_time", "stimulus_presentation_id"]
    pd.testing.assert_frame_equal(
        table.sort_values(keys, ignore_index=True), expected.sort_values(keys, ignore_index=True)
    )


def test_arrays_of_the_workflow_are_those_of_the_session(made, session):
    edges = [0.0, 0.01, 0.05, 0.2]
    with reading_arrays(made("presentationwise_spike_counts", options={"bin_edges": edges})) as arrays:
        counts = session.presentationwise_spike_counts(edges)
        np.testing.assert_array_equal(arrays["counts"], counts.counts)
        np.testing.assert_array_equal(arrays["unit_id"], counts.unit_ids)
    with reading_arrays(made("mean_waveforms")) as arrays:
        bounds = arrays["offsets"][()]
        assert list(arrays["unit_ids"]) == list(session.mean_waveforms)
        for k, waveform in enumerate(session.mean_waveforms.values()):
            part = slice(bounds[k], bounds[k + 1])
            np.testing.assert_array_equal(arrays["values"][part], waveform)
            np.testing.assert_array_equal(arrays["channel_ids"][part], waveform.index)


def test_lfp_of_the_workflow_is_that_of_the_session(made, session, nwb):
    more = {"probe": str(PROBE), "lfp_file": nwb.with_name(f"probe_{PROBE}_lfp.nwb")}
    with reading_arrays(made("lfp", **more, options={"interval": [59.5, 60.5]})) as arrays:
        lfp = session.lfp(PROBE, 59.5, 60.5)
        np.testing.assert_array_equal(arrays["values"], lfp)
        np.testing.assert_array_equal(arrays["times"], lfp.index)
        np.testing.assert_array_equal(arrays["channel_ids"], lfp.columns)
    with reading_arrays(made("csd", **more)) as arrays:
        csd = session.csd(PROBE)
        for name, values in csd._asdict().items():
            if name in arrays:
                np.testing.assert_array_equal(arrays[name], values)


# ---------------------------------------------------------------- a plain NWB file


@pytest.fixture(scope="module")
def plain(shared) -> Path:
    return shared / "data" / "ecephys" / "pynapple_nwb" / f"{PLAIN}.nwb"


def test_a_plain_file_gives_its_units(plain):
    with open_session(plain) as session:
        assert session.metadata["layout"] == "plain"
        assert {unit: len(times) for unit, times in session.spike_times.items()} == {
            6: 11020,
            191: 4690,
            206: 5644,
        }
        assert session.spike_amplitudes == {}
        assert session.mean_waveforms == {}
        assert len(session.channels) == 383
        assert session.epochs[["start_time", "stop_time"]].to_numpy().tolist() == [[0.0, 1087.5289]]
        assert session.epochs.tags[0] == ["wake"]
        assert len(session.stimulus_presentations) == 0
        assert session.unit_filter_records.removed.sum() == 0
        assert session.unit_filter_records.note.str.contains("not applied").all()


@pytest.mark.parametrize("product", [name for name, p in PRODUCTS.items() if not p.is_of_a_probe])
def test_a_plain_file_has_every_product(plain, tmp_path, product):
    (row,) = read_rows(index(tmp_path, PLAIN, plain)[0])
    assert (row["status"], row["n_units"], row["id"]) == ("used", 3, PLAIN)
    assert {"units", "spikes", "epochs", "channels"} <= set(row["products"])
    assert {"mean_waveforms", "running_speed", "stimulus_presentations"}.isdisjoint(row["products"])
    options = {"bin_edges": [0.0, 1.0]} if product == "presentationwise_spike_counts" else {}
    path = extract(tmp_path, PLAIN, plain, product, filters=NO_FILTERS, options=options)
    assert left_out_reason(path) is None
    if product == "spikes":
        assert read_table(path).num_rows == 21354
