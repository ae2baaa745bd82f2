"""The whole stage ecephys, in this process, against what AllenSDK 2.16.2 made of the same tables and files."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from tests.ecephys_projects import one_project, run_project

from ephysflow import open_project, paths
from ephysflow.campaign.results import open_results
from ephysflow.ecephys.array_file import PROVENANCE, reading_arrays
from ephysflow.ecephys.presentations import INVALID
from ephysflow.ecephys.products import DEFAULT_PRODUCTS, PRODUCTS
from ephysflow.ecephys.products_step import left_out_reason
from ephysflow.io.tables import read_rows, read_table

pytest.importorskip("pynwb")

SESSION, PROBE = 715000000, 729000000
SESSION_NWB, LFP_NWB, MOVIE_1, SCENE_0 = "9001", "9002", "9007", "9009"
"""Names of the stand-in's files."""
SESSION_TYPE = "brain_observatory_1.1"
FILTERS = {"filter_out_of_brain_units": False}
"""AllenSDK's filter of units out of the brain does nothing in its tables."""
RESULTS = Path("results")
PRODUCTS_WANTED = [name for name in PRODUCTS if name != "presentationwise_spike_counts"]
NOT_APPLICABLE = ("", "null")
LIST_ITEM = re.compile(r"'[^']*'|nan")
PLAIN = "A8604-211122"


# ---------------------------------------------------------------- the three sources, each run once


@pytest.fixture(scope="module")
def standin(shared, made_once) -> Path:
    """The stand-in's folder: warehouse.json and files/."""
    scripts = shared / "ecephys_standin"

    def make(folder: Path) -> None:
        for arguments in (("make_tables.py", folder, "--cases"), ("make_nwb.py", folder, SESSION)):
            command = [sys.executable, *(str(a) for a in (scripts / arguments[0], *arguments[1:]))]
            subprocess.run(command, check=True, capture_output=True)

    return made_once("ecephys_standin_presentations", make)


@pytest.fixture(scope="module")
def golden(shared) -> Path:
    return shared / "golden" / "ecephys"


def configuration(source: str, **settings: Any) -> dict[str, Any]:
    """Return a project with all products, and one campaign of its sessions."""
    config = one_project(
        source,
        products=PRODUCTS_WANTED,
        unit_filters=FILTERS,
        analysis_metrics=[SESSION_TYPE],
        templates={"natural_movies": [1], "natural_scenes": [0]},
        **settings,
    )
    windows = {
        "flash": {
            "bounds": [0, 250],
            "trials": {"table": "stimulus_presentations", "query": {"stimulus_name": "flashes"}},
        }
    }
    return {**config, "plots": True, "campaign": {"recorded": recorded(windows)}}


def recorded(windows: dict[str, Any]) -> dict[str, Any]:
    """Return a campaign with firing rates of all units."""
    groupby = ["simulation_id", "circuit_id", "neuron_class", "window"]
    rates = {
        "type": "multi",
        "groupby": groupby,
        "function": "firing_rates",
        "params": {"export_all_neurons": True},
    }
    extraction = {"report": {"type": "spikes"}, "neuron_classes": {"all": {}}, "windows": windows}
    return {
        "recorded_sessions": {"project": "p", "sessions": "all"},
        "analysis": {"a": {"extraction": extraction, "features": [rates]}},
    }


@pytest.fixture(scope="module")
def of_cache(standin, golden, made_once) -> Path:
    """A working directory with AllenSDK's cache, and the results of source tables."""

    def make(folder: Path) -> None:
        cache = folder / "cache"
        of_session = cache / f"session_{SESSION}"
        of_session.mkdir(parents=True)
        for file in (golden / "cache_csv").iterdir():
            shutil.copyfile(file, (of_session if file.name.startswith("session_") else cache) / file.name)
        files = standin / "files"
        shutil.copyfile(files / SESSION_NWB, of_session / f"session_{SESSION}.nwb")
        shutil.copyfile(files / LFP_NWB, of_session / f"probe_{PROBE}_lfp.nwb")
        for kind, file, name in (("movie", MOVIE_1, "1.h5"), ("scene", SCENE_0, "0.tiff")):
            (cache / f"natural_{kind}_templates").mkdir()
            shutil.copyfile(files / file, cache / f"natural_{kind}_templates/natural_{kind}_{name}")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            run_project(configuration("tables", folder="cache"), recorded=True)

    return made_once("ecephys_pipeline_cache", make)


@pytest.fixture(scope="module")
def of_warehouse(standin, shared, made_once) -> Path:
    """A working directory with the results of source warehouse, as the stand-in serves it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        path = shared / "ecephys_standin" / "fake_warehouse.py"
        spec = importlib.util.spec_from_file_location("ecephys_standin_warehouse", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _, server, port = module.serve(str(standin))
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                Path("sheet.tsv").write_text(f"session_id\tlfp_probes\n{SESSION}\t{PROBE}\n")
                host = {"host": f"127.0.0.1:{port}", "backoff": 0}
                run_project(configuration("warehouse", sessions="sheet.tsv", warehouse=host), recorded=True)
        finally:
            server.shutdown()
            server.server_close()

    return made_once("ecephys_pipeline_warehouse", make)


@pytest.fixture(scope="module")
def of_plain(shared, made_once) -> Path:
    """A working directory with the results of a plain NWB file of another laboratory."""

    def make(folder: Path) -> None:
        folder.mkdir()
        data = shared / "data" / "ecephys" / "pynapple_nwb"
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            config = one_project("nwb", folder=str(data))
            campaign = recorded({"static": {"bounds": [100_000, 160_000]}})
            run_project({**config, "plots": True, "campaign": {"recorded": campaign}}, recorded=True)

    return made_once("ecephys_pipeline_plain", make)


@pytest.fixture(params=["tables", "warehouse"])
def work(request) -> Iterator[Path]:
    """Both sources of the stand-in's project."""
    return request.getfixturevalue({"tables": "of_cache", "warehouse": "of_warehouse"}[request.param])


def table_of(work: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(work / paths.project_table(RESULTS, "p", name))


def product_path(work: Path, name: str, session: str = str(SESSION)) -> Path:
    return work / paths.session_product(RESULTS, "p", session, name)


def product_of(work: Path, name: str) -> pd.DataFrame:
    return read_table(product_path(work, f"{name}.parquet")).to_pandas(integer_object_nulls=True)


def assert_golden(found: pd.DataFrame, path: Path, keys: list[str]) -> None:
    """Compare all columns of a golden table, row by row; other columns of ours may be there too.

    A golden column without any value need not be there.
    """
    with path.open(newline="") as stream:
        expected = {tuple(float(row[key]) for key in keys): row for row in csv.DictReader(stream)}
    assert len(found) == len(expected)
    for row in found.to_dict("records"):
        wanted = expected[tuple(float(row[key]) for key in keys)]
        for name, text in wanted.items():
            value = row.get(name)
            if isinstance(value, np.ndarray):
                structures = [None if item == "nan" else item.strip("'") for item in LIST_ITEM.findall(text)]
                assert value.tolist() == structures, (name, row)
            elif text in NOT_APPLICABLE:
                assert pd.isna(value), (name, row)
            elif text in ("True", "False"):
                assert bool(value) == (text == "True"), (name, row)
            elif isinstance(value, str):
                assert value == text, (name, row)
            else:
                assert float(value) == pytest.approx(float(text), rel=1e-12, abs=0), (name, row)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sessions", "get_session_table.csv"),
        ("probes", "get_probes.csv"),
        ("channels", "get_channels.csv"),
        ("units", "get_units__default.csv"),
    ],
)
def test_published_tables_are_those_of_allensdk(work, golden, name, file):
    found = table_of(work, name)
    with (golden / file).open(newline="") as stream:
        assert list(found) == next(csv.reader(stream))
    assert_golden(found, golden / file, ["id"])


def test_analysis_metrics_are_joined(work, golden):
    found = pd.read_parquet(work / paths.analysis_metrics(RESULTS, "p", SESSION_TYPE))
    expected = pd.read_csv(golden / f"metrics_by_session_type__{SESSION_TYPE}.csv")
    metrics = pd.read_csv(golden / f"cache_csv/{SESSION_TYPE}_analysis_metrics.csv")
    assert set(metrics) <= set(found)
    assert sorted(found["ecephys_unit_id"]) == sorted(expected["ecephys_unit_id"])
    mine = found.set_index("ecephys_unit_id").sort_index()
    theirs = metrics.set_index("ecephys_unit_id").loc[mine.index]
    for name in theirs:
        np.testing.assert_allclose(mine[name].astype(float), theirs[name].astype(float), rtol=1e-12)
    units = table_of(work, "units").set_index("id").loc[mine.index]
    pd.testing.assert_frame_equal(mine[list(units)], units, check_names=False)


def test_everything_that_was_planned_is_there_and_nothing_was_left_out(work):
    rows = read_rows(work / paths.project_table(RESULTS, "p", "exclusions"))
    assert [row for row in rows if not row["kept"]] == []
    for product in PRODUCTS_WANTED:
        name = PRODUCTS[product].file.format(probe=PROBE)
        assert left_out_reason(product_path(work, name)) is None
    for plot in ("units", f"session_{SESSION}"):
        assert (work / paths.project_plot(RESULTS, "p", plot)).read_bytes().startswith(b"%PDF")


def test_open_project_on_the_bare_cache_agrees(of_cache, golden):
    bare, results = open_project(of_cache / "cache"), open_project(of_cache / "results/ecephys/p")
    for name in ("sessions", "probes", "channels", "units", "annotated_units"):
        found = getattr(bare, name)(unit_filters=FILTERS)
        pd.testing.assert_frame_equal(found, getattr(results, name)())
    metrics = {"session_type": SESSION_TYPE}
    pd.testing.assert_frame_equal(
        bare.analysis_metrics(**metrics, unit_filters=FILTERS), results.analysis_metrics(**metrics)
    )
    with bare.open_session(SESSION, unit_filters=FILTERS) as one, results.open_session(SESSION) as other:
        pd.testing.assert_frame_equal(one.units, other.units)
        np.testing.assert_array_equal(one.lfp(PROBE, 30, 31), other.lfp(PROBE, 30, 31))
    misc = json.loads((golden / "misc.json").read_text())
    assert results.session_types() == bare.session_types() == misc["session_types"]
    assert results.ages() == misc["ages"]
    # AllenSDK makes a structure "nan" of channels without one
    assert results.structure_acronyms() == [name for name in misc["structure_acronyms"] if name != "nan"]


# ---------------------------------------------------------------- products


def test_units_and_channels_are_those_of_allensdk(work, golden):
    units = product_of(work, "units")
    assert_golden(of_golden_units(units, golden), golden / "session/units.csv", ["unit_id"])
    assert {"g_osi_dg", "on_screen_rf", "p_value_rf"} <= set(units)
    channels = product_of(work, "channels")
    assert_golden(channels[channels["valid_data"].astype(bool)], golden / "session/channels.csv", ["id"])
    assert_golden(product_of(work, "probes"), golden / "session/probes.csv", ["id"])


def test_spikes_are_those_of_the_file(work, golden, standin):
    spikes = product_of(work, "spikes")
    counts = pd.read_csv(golden / "session/spike_times.csv", index_col=0)["n"]
    found = spikes.groupby("unit_id").size()
    assert found[counts.index].to_dict() == counts.to_dict()
    with h5py.File(standin / "files" / SESSION_NWB) as file:
        rows = {unit: k for k, unit in enumerate(file["units/id"][:].tolist())}
        bounds = [0, *file["units/spike_times_index"][:].tolist()]
        for unit, times in spikes.groupby("unit_id")["time"]:
            stored = file["units/spike_times"][slice(*bounds[rows[unit] : rows[unit] + 2])]
            np.testing.assert_array_equal(times, stored)


def test_presentations_and_conditions_are_those_of_allensdk(work, golden):
    presentations = product_of(work, "stimulus_presentations")
    # AllenSDK forgets how long an invalid presentation lasted
    invalid = presentations["stimulus_name"] == INVALID
    presentations["duration"] = presentations["duration"].where(~invalid)
    path = golden / "session/stimulus_presentations.csv"
    assert_golden(presentations, path, ["stimulus_presentation_id"])
    path = golden / "session/stimulus_conditions.csv"
    assert_golden(product_of(work, "stimulus_conditions"), path, ["stimulus_condition_id"])


def of_golden_units(found: pd.DataFrame, golden: Path) -> pd.DataFrame:
    """Return the rows of units in the brain: AllenSDK's session does filter them, other than its tables."""
    return found[found["unit_id"].isin(pd.read_csv(golden / "session/units.csv")["unit_id"])]


def test_spikes_by_presentation_and_condition_are_those_of_allensdk(work, golden):
    presentations = product_of(work, "stimulus_presentations").set_index("stimulus_presentation_id")
    spikes = of_golden_units(product_of(work, "presentationwise_spike_times"), golden)
    names = presentations["stimulus_name"][spikes["stimulus_presentation_id"]].to_numpy()
    path = golden / "session/presentationwise_spike_times_flashes.csv"
    assert_golden(spikes[names == "flashes"], path, ["spike_time", "unit_id"])
    statistics = of_golden_units(product_of(work, "conditionwise_spike_statistics"), golden)
    gratings = presentations["stimulus_condition_id"][presentations["stimulus_name"] == "drifting_gratings"]
    path = golden / "session/conditionwise_spike_statistics_gratings.csv"
    chosen = statistics[statistics["stimulus_condition_id"].isin(gratings)]
    assert_golden(chosen, path, ["unit_id", "stimulus_condition_id"])


@pytest.mark.parametrize(
    "name", ["running_speed", "invalid_times", "optogenetic_stimulation", "eye_tracking"]
)
def test_other_products_have_rows_where_the_file_holds_some(work, name):
    (index,) = read_rows(work / paths.session_index(RESULTS, "p", str(SESSION))[0])
    assert (len(product_of(work, name)) > 0) == (name in index["products"])


def test_lfp_and_csd_are_those_of_the_file(work, standin):
    with h5py.File(standin / "files" / LFP_NWB) as file:
        series = file[f"acquisition/probe_{PROBE}_lfp/probe_{PROBE}_lfp_data"]
        lfp, times = series["data"][:], series["timestamps"][:]
        series = file["processing/current_source_density/ecephys_csd/current_source_density"]
        csd, csd_times = series["data"][:], series["timestamps"][:]
    with reading_arrays(product_path(work, f"lfp_{PROBE}.h5")) as found:
        np.testing.assert_array_equal(found["times"][:], times)
        bad = (times >= 60) & (times <= 61)
        assert np.isnan(found["values"][:][bad]).all()
        np.testing.assert_array_equal(found["values"][:][~bad], lfp[~bad])
    with reading_arrays(product_path(work, f"csd_{PROBE}.h5")) as found:
        np.testing.assert_array_equal(found["times"][:], csd_times)
        np.testing.assert_array_equal(found["values"][:], csd.T)


def test_templates_are_those_of_the_stand_in(work, standin):
    project = open_project(work / "results/ecephys/p")
    np.testing.assert_array_equal(project.natural_movie(1), np.load(standin / "files" / MOVIE_1))
    assert project.natural_scene(0).ndim == 2


# ---------------------------------------------------------------- both sources


def test_both_sources_give_the_same_tables_and_products(of_cache, of_warehouse):
    for name in (
        "sessions",
        "probes",
        "channels",
        "units",
        "annotated_units",
        "unit_quality",
        "unit_filters",
    ):
        one, other = (
            read_table(work / paths.project_table(RESULTS, "p", name)) for work in (of_cache, of_warehouse)
        )
        assert one.replace_schema_metadata(None).equals(other.replace_schema_metadata(None)), name
    for product in PRODUCTS_WANTED:
        name = PRODUCTS[product].file.format(probe=PROBE)
        files = [product_path(work, name) for work in (of_cache, of_warehouse)]
        if name.endswith(".parquet"):
            one, other = (read_table(file).replace_schema_metadata(None) for file in files)
            assert one.equals(other), name
        else:
            with reading_arrays(files[0]) as one, reading_arrays(files[1]) as other:
                assert set(one) == set(other)
                for key in set(one) - {PROVENANCE}:
                    np.testing.assert_array_equal(one[key][()], other[key][()])


# ---------------------------------------------------------------- as a campaign


def rates_of(work: Path) -> Any:
    return open_results(work / "results").campaign["recorded"].a.features


def test_spikes_after_flashes_are_those_of_the_presentations(work):
    with open_project(work / "results/ecephys/p").open_session(SESSION) as session:
        flashes = session.stimulus_table("flashes")
        counts = session.presentationwise_spike_counts([0, 0.25], list(flashes.index)).counts[:, 0, :]
        units = session.units.index
    found = rates_of(work)["by_gid_and_trial"].df.pivot_table("count", "trial", "gid", "sum")
    assert found.columns.tolist() == units.tolist()
    np.testing.assert_array_equal(found, counts)
    assert counts.sum() > 0
    mean = rates_of(work)["by_gid"].df["mean_firing_rates_per_second"]
    np.testing.assert_allclose(mean, counts.mean(axis=0) / 0.25, rtol=1e-12)


def test_both_sources_give_the_same_campaign(of_cache, of_warehouse):
    one, other = rates_of(of_cache), rates_of(of_warehouse)
    assert one.names == other.names
    for name in one.names:
        pd.testing.assert_frame_equal(one[name].df, other[name].df, check_exact=True)


# ---------------------------------------------------------------- a plain file of another laboratory


def test_a_plain_file_keeps_its_units_and_says_which_filters_were_not_applied(of_plain):
    assert table_of(of_plain, "units")["id"].tolist() == [6, 191, 206]
    assert table_of(of_plain, "sessions")["id"].tolist() == [PLAIN]
    filters = table_of(of_plain, "unit_filters")
    assert filters["removed"].sum() == 0
    assert filters["note"].str.contains("not applied").all()


def test_products_of_a_plain_file_have_rows_where_it_holds_some(of_plain):
    rows = read_rows(of_plain / paths.project_table(RESULTS, "p", "exclusions"))
    assert [row for row in rows if not row["kept"]] == []
    counts = {}
    for product in DEFAULT_PRODUCTS:
        path = product_path(of_plain, PRODUCTS[product].file, PLAIN)
        assert left_out_reason(path) is None
        if path.suffix == ".parquet":
            counts[product] = read_table(path).num_rows
    assert (counts["units"], counts["spikes"], counts["epochs"], counts["channels"]) == (3, 21354, 1, 383)
    for product in ("stimulus_presentations", "stimulus_conditions", "stimulus_epochs", "running_speed"):
        assert counts[product] == 0
    for product in ("optogenetic_stimulation", "invalid_times", "eye_tracking"):
        assert counts[product] == 0
    for plot in ("units", f"session_{PLAIN}"):
        assert (of_plain / paths.project_plot(RESULTS, "p", plot)).read_bytes().startswith(b"%PDF")


def test_rates_of_a_plain_file_are_those_of_its_spike_times(of_plain, shared):
    file = next((shared / "data/ecephys/pynapple_nwb").glob("*.nwb"))
    with h5py.File(file) as stored:
        ids, bounds = stored["units/id"][:], [0, *stored["units/spike_times_index"][:].tolist()]
        trains = [stored["units/spike_times"][slice(*bounds[k : k + 2])] for k in range(len(ids))]
    counts = [np.count_nonzero((1000 * t >= 100_000) & (1000 * t < 160_000)) for t in trains]
    frame = rates_of(of_plain)["by_gid"].df.reset_index().set_index("gid")
    assert frame.index.tolist() == sorted(ids.tolist())
    assert frame["mean_spike_counts"][ids].tolist() == counts
    np.testing.assert_allclose(frame["mean_firing_rates_per_second"][ids], np.array(counts) / 60, rtol=1e-12)


def test_a_plain_file_opens_through_its_project(of_plain):
    project = open_project(of_plain / "results/ecephys/p")
    with project.open_session(PLAIN) as session:
        assert list(session.units.index) == [6, 191, 206]
