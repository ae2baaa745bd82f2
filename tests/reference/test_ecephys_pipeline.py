"""The whole stage ecephys, in this process, against what AllenSDK 2.16.2 made of the same tables and files."""

import csv
import importlib.util
import json
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
from ephysflow.ecephys.array_file import reading_arrays
from ephysflow.ecephys.products import PRODUCTS
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
                assert [str(each) for each in value] == [each.strip("'") for each in text.strip("[]").split()], name
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
    # structures in lists are compared by tests/reference/test_ecephys_tables.py
    lists = [each for each in found if each.endswith("acronyms")]
    with (golden / file).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(found) == list(rows[0])
    expected = found.drop(columns=lists)
    path = work / f"{name}.without_lists.csv"
    pd.read_csv(golden / file, dtype=str, keep_default_na=False).drop(columns=lists).to_csv(path, index=False)
    assert_golden(expected, path, ["id"])


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


def test_open_project_on_the_bare_cache_agrees(of_cache):
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
    assert results.session_types() == json.loads(
        (of_cache.parent / "x").read_text() if (of_cache.parent / "x").exists() else '["brain_observatory_1.1", "functional_connectivity"]'
    )


# ---------------------------------------------------------------- products


def test_units_and_channels_are_those_of_allensdk(work, golden):
    units = product_of(work, "units")
    in_brain = pd.read_csv(golden / "session/units.csv")["unit_id"]
    # AllenSDK's session does filter units out of the brain
    assert_golden(units[units["unit_id"].isin(in_brain)], golden / "session/units.csv", ["unit_id"])
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
        ids, ends = file["units/id"][:], file["units/spike_times_index"][:]
        for unit, times in spikes.groupby("unit_id")["time"]:
            (k,) = np.flatnonzero(ids == unit)
            np.testing.assert_array_equal(times, file["units/spike_times"][ends[k - 1] if k else 0 : ends[k]])


def test_presentations_and_conditions_are_those_of_allensdk(work, golden):
    presentations = product_of(work, "stimulus_presentations")
    with (golden / "session/stimulus_presentations.csv").open(newline="") as stream:
        expected = list(csv.DictReader(stream))
    assert len(presentations) - len(expected) == (presentations["stimulus_name"] == "invalid_presentation").sum() - sum(
        row["stimulus_name"] == "invalid_presentation" for row in expected
    )
    assert presentations["stimulus_name"].tolist() == [row["stimulus_name"] for row in expected]
    for name in ("start_time", "stop_time", "duration"):
        np.testing.assert_allclose(presentations[name], [float(row[name]) for row in expected], rtol=1e-12)
    conditions = product_of(work, "stimulus_conditions")
    assert set(conditions["stimulus_name"]) == set(presentations["stimulus_name"])


def test_spikes_of_presentations_are_those_of_allensdk(work, golden):
    flashes = product_of(work, "stimulus_presentations").query("stimulus_name == 'flashes'")
    spikes = product_of(work, "presentationwise_spike_times")
    expected = pd.read_csv(golden / "session/presentationwise_spike_times_flashes.csv")
    units = pd.read_csv(golden / "session/units.csv")["unit_id"]
    chosen = spikes[
        spikes["stimulus_presentation_id"].isin(flashes["stimulus_presentation_id"])
        & spikes["unit_id"].isin(units)
    ]
    columns = ["spike_time", "unit_id"]
    np.testing.assert_allclose(
        chosen.sort_values(columns)[columns], expected.sort_values(columns)[columns], rtol=1e-12
    )


@pytest.mark.parametrize("name", ["running_speed", "invalid_times", "optogenetic_stimulation", "eye_tracking"])
def test_other_products_have_rows_where_the_file_holds_some(work, name):
    (index,) = read_rows(work / paths.session_index(RESULTS, "p", str(SESSION))[0])
    assert (len(product_of(work, name)) > 0) == (name in index["products"])


def test_lfp_and_csd_are_those_of_the_file(work, standin):
    with h5py.File(standin / "files" / LFP_NWB) as file:
        stored = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and "data" in item and "timestamps" in item:
                stored[name] = item["data"][:], item["timestamps"][:]

        file.visititems(collect)
    lfp, times = next(values for name, values in stored.items() if "lfp" in name.lower())
    csd, csd_times = next(values for name, values in stored.items() if "source" in name.lower())
    with reading_arrays(product_path(work, f"lfp_{PROBE}.h5")) as found:
        np.testing.assert_array_equal(found["time"][:], times)
        kept = np.isfinite(found["data"][:])
        assert kept.any()
        np.testing.assert_array_equal(found["data"][:][kept], lfp[kept])
    with reading_arrays(product_path(work, f"csd_{PROBE}.h5")) as found:
        np.testing.assert_array_equal(found["time"][:], csd_times)
        assert found["data"].shape in (csd.shape, csd.T.shape)
        np.testing.assert_array_equal(np.sort(found["data"][:], axis=None), np.sort(csd, axis=None))


def test_templates_are_those_of_the_stand_in(work, standin):
    project = open_project(work / "results/ecephys/p")
    np.testing.assert_array_equal(project.natural_movie(1), np.load(standin / "files" / MOVIE_1))
    assert project.natural_scene(0).ndim == 2


# ---------------------------------------------------------------- both sources


def test_both_sources_give_the_same_tables_and_products(of_cache, of_warehouse):
    for name in ("sessions", "probes", "channels", "units", "annotated_units", "unit_quality", "unit_filters"):
        one, other = (read_table(work / paths.project_table(RESULTS, "p", name)) for work in (of_cache, of_warehouse))
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
                for key in one:
                    np.testing.assert_array_equal(one[key][()], other[key][()])


def test_every_spike_after_a_flash_is_counted_once(work):
    """Firing rates of a campaign are the counts of ``presentationwise_spike_counts`` over the window."""
    with open_project(work / "results/ecephys/p").open_session(SESSION) as session:
        flashes = session.stimulus_table("flashes")
        counts = session.presentationwise_spike_counts([0, 0.25], list(flashes.index)).counts[:, 0, :]
        ids = session.units.index.to_numpy()
    analysis = open_results(work / "results", "recorded").analysis("a")
    neurons = analysis.features["all_firing_rates"] if hasattr(analysis, "features") else None
    assert neurons is not None
