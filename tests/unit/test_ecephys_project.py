"""Python access to a project: results of the workflow, caches of AllenSDK, tables and session files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from PIL import Image
from session_nwb import write_allen_session, write_plain_session
from tests.ecephys_projects import one_project, run_project

import ephysflow
from ephysflow.ecephys.manifest import LAYOUT
from ephysflow.ecephys.project import Project, open_project
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.ecephys.tables_step import stacked_tables
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.example.ecephys_files import write_lfp, write_session

SESSIONS = (731, 732)
TYPES = {731: "brain_observatory_1.1", 732: "functional_connectivity"}
NO_FILTERS = {
    "amplitude_cutoff_maximum": None,
    "presence_ratio_minimum": None,
    "isi_violations_maximum": None,
    "filter_by_validity": False,
    "filter_out_of_brain_units": False,
}


@pytest.fixture(scope="module")
def work(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A working directory with a cache, a folder of session files, and results of both; nothing may be changed."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_cache(folder / "cache")
        (folder / "nwb").mkdir()
        for file in (folder / "cache").glob("session_*/*.nwb"):
            name = file.name if file.stem == file.parent.name else f"{file.parent.name}_{file.name}"
            shutil.copyfile(file, folder / "nwb" / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            of_cache = one_project(
                "tables",
                folder="cache",
                products=["units"],
                analysis_metrics=[TYPES[731]],
                unit_filters={"presence_ratio_minimum": 0.9},
                suppress={"units": ["snr"]},
            )
            config = {
                **of_cache,
                "ecephys": {
                    "cache": of_cache["ecephys"]["p"],
                    "nwb": {"source": "nwb", "folder": "nwb", "products": ["units"]},
                },
            }
            run_project(config)

    return made_once("ecephys_projects", make)


def write_cache(folder: Path) -> None:
    """Write an AllenSDK cache of two sessions, as 0.3.0 has it; only the first has LFP and metrics."""
    parts = {}
    for session in SESSIONS:
        of_session = folder / f"session_{session}"
        of_session.mkdir(parents=True)
        file = of_session / f"session_{session}.nwb"
        write_session(file, session, seed=session, n_probes=2, n_channels=8, n_units=12)
        with SessionFile(file) as opened:
            parts[str(session)] = session_rows(opened)
    raw, _ = stacked_tables(parts)
    probe = raw.probes["id"][0].as_py()
    write_lfp(folder / f"session_731/probe_{probe}_lfp.nwb", 731, probe, seed=1)
    channels = raw.channels.to_pydict()
    # the cache knows better than the file
    channels["ecephys_structure_acronym"] = [
        name and f"{name}x" for name in channels["ecephys_structure_acronym"]
    ]
    tables = {name: getattr(raw, name) for name in RAW_SCHEMAS} | {"channels": pa.table(channels)}
    for name, table in tables.items():
        kept = [each for each in table.column_names if each in RAW_SCHEMAS[name].names]
        pa.csv.write_csv(table.select(kept), folder / f"{name}.csv")
    metrics = pd.DataFrame({"ecephys_unit_id": parts["731"].units["id"].to_pylist()})
    metrics["g_osi_dg"] = np.arange(len(metrics)) / 7
    metrics["on_screen_rf"] = np.arange(len(metrics)) % 2 == 0
    for name in ("session_731/session_731", TYPES[731]):
        metrics.to_csv(folder / f"{name}_analysis_metrics.csv", index=False)
    for kind in ("natural_movie", "natural_scene"):
        (folder / f"{kind}_templates").mkdir()
    with open(folder / "natural_movie_templates/natural_movie_1.h5", "wb") as stream:
        np.save(stream, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    scene = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    scene.save(folder / "natural_scene_templates/natural_scene_0.tiff")
    entries = [
        {"key": key, "type": "file", "spec": spec, "parent_key": parent}
        for key, (spec, parent) in LAYOUT.items()
    ]
    content = {"manifest": [{"type": "manifest_version", "value": "0.3.0"}, *entries]}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture
def results(work) -> Project:
    return open_project(work / "results/ecephys/cache")


@pytest.fixture
def cache(work) -> Project:
    return open_project(work / "cache")


# ---------------------------------------------------------------- what can be opened


def test_the_public_function(work):
    assert isinstance(ephysflow.open_project(str(work / "cache")), Project)


@pytest.mark.parametrize(
    "place", ["cache", "cache/manifest.json", "nwb", "results/ecephys/cache", "results/ecephys/nwb"]
)
def test_every_kind_of_project_has_the_same_units(work, place):
    project = open_project(work / place)
    assert list(project.sessions().index) == list(SESSIONS)
    units = project.units(unit_filters={})
    reference = open_project(work / "nwb").units()
    on_invalid_channels = units.index.difference(reference.index)
    assert list(units.index.drop(on_invalid_channels)) == list(reference.index)
    # tables of a cache do not say which channels are not valid, session files do
    assert len(on_invalid_channels) == (2 if "cache" in place else 0)
    with project.open_session(731, unit_filters={}) as session:
        assert list(session.units.index) == list(reference.index[reference.ecephys_session_id == 731])
    assert [list(project.lfp_files(session)) for session in SESSIONS] == [
        [str(project.probes().index[0])],
        [],
    ]
    assert repr(project).startswith("Project(")


def test_tables_without_a_manifest(work, tmp_path):
    for name in RAW_SCHEMAS:
        shutil.copyfile(work / f"cache/{name}.csv", tmp_path / f"{name}.csv")
    project = open_project(tmp_path)
    pd.testing.assert_frame_equal(project.units(), open_project(work / "cache").units())
    with pytest.raises(ProjectError, match=r"the file of session 731 is not there \(files of: none\)"):
        project.open_session(731)
    with pytest.raises(ProjectError, match="there are no analysis metrics of session 731"):
        project.analysis_metrics(session_id=731)


def test_what_is_no_project_is_told(tmp_path):
    with pytest.raises(ProjectError, match="is not a folder, nor a manifest"):
        open_project(tmp_path / "none")
    with pytest.raises(
        ProjectError, match=r"neither results of a project, nor tables \(units.csv, units.parquet\)"
    ):
        open_project(tmp_path)
    with pytest.raises(ProjectError, match="cannot be read"):
        open_project(tmp_path / "manifest.json")
    for name in ("manifest.json", "manifest2.json"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match="several manifests"):
        open_project(tmp_path)


def test_a_session_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"<html>")
    with pytest.raises(ProjectError, match=r"a\.nwb"):
        open_project(tmp_path).units()


def test_a_damaged_session_is_in_no_other_ones_way(tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"<html>")
    write_plain_session(tmp_path / "b.nwb")
    with open_project(tmp_path).open_session("b") as session:
        assert len(session.units) == 5


# ---------------------------------------------------------------- tables


def test_tables_are_those_that_the_workflow_wrote(work, results):
    for name in ("sessions", "probes", "channels", "units", "annotated_units"):
        written = pd.read_parquet(work / f"results/ecephys/cache/{name}.parquet")
        found = getattr(results, name)()
        assert found.index.name == "id"
        assert list(found.index) == list(written["id"])
        assert [found.index.name, *found.columns] == list(written)
    assert results.unit_filters["presence_ratio_minimum"] == 0.9
    records = results.unit_filter_records()
    assert list(records["filter"]) == list(NO_FILTERS)
    assert records["units_before"][0] - records["removed"].sum() == len(results.units())


def test_tables_are_computed_alike(results, monkeypatch):
    written = {
        name: getattr(results, name)()
        for name in ("sessions", "probes", "channels", "units", "annotated_units")
    }
    records = results.unit_filter_records()
    monkeypatch.setattr(Project, "_published", lambda *_: None)
    for name, table in written.items():
        pd.testing.assert_frame_equal(getattr(results, name)(), table)
    pd.testing.assert_frame_equal(results.unit_filter_records(), records)


def test_other_filters_keep_other_units(results, cache):
    everything = results.units(unit_filters=NO_FILTERS)
    assert len(everything) == 48
    assert len(results.units()) < 48
    assert set(results.units(unit_filters={}).index) == set(cache.units().index)
    # keywords that are not given have their defaults, not those of the results
    assert len(results.units(unit_filters={})) <= len(results.units())
    assert len(results.annotated_units(unit_filters=NO_FILTERS)) == 48
    assert results.sessions(unit_filters=NO_FILTERS)["unit_count"].tolist() == [24, 24]
    assert results.probes(unit_filters=NO_FILTERS)["unit_count"].sum() == 48
    assert results.channels(unit_filters=NO_FILTERS)["unit_count"].sum() == 48
    assert results.unit_filter_records(unit_filters=NO_FILTERS)["removed"].sum() == 0
    with pytest.raises(ConfigurationError, match="snr_minimum"):
        results.units(unit_filters={"snr_minimum": 1})


def test_suppress_takes_the_place_of_the_list(results, cache):
    assert "snr" not in results.units()
    assert "snr" not in results.units(unit_filters={})
    assert "snr" in results.units(suppress=[])
    assert "snr" in cache.units()
    assert "snr" not in cache.units(suppress=["snr"])
    assert "genotype" not in cache.probes()
    assert "genotype" in cache.probes(suppress=[])
    assert "has_nwb" in cache.sessions(suppress=[])
    assert "sex" in cache.channels(suppress=[])
    with pytest.raises(ConfigurationError, match="units have no column 'colour'"):
        cache.units(suppress=["colour"])


def test_annotated_units_say_what_a_column_is_of(results):
    annotated = results.annotated_units()
    assert {"probe_name", "peak_channel", "probe_sampling_rate"} <= set(annotated)
    assert list(annotated.index) == list(results.units().index)


def test_integers_with_gaps_stay_integers(cache):
    assert str(cache.sessions(suppress=[])["isi_experiment_id"].dtype) == "Int64"
    assert cache.units()["ecephys_channel_id"].dtype == np.int64


@pytest.mark.parametrize("place", ["cache", "results/ecephys/cache", "nwb"])
def test_value_lists(work, place):
    project = open_project(work / place)
    assert project.session_types() == list(TYPES.values())
    assert len(project.full_genotypes()) == len(set(project.sessions()["full_genotype"]))
    assert project.ages() == project.sessions()["age_in_days"].tolist()
    assert set(project.sexes()) == set(project.sessions()["sex"])
    assert None not in project.structure_acronyms()
    assert set(project.structure_acronyms()) == set(project.channels()["ecephys_structure_acronym"].dropna())


# ---------------------------------------------------------------- analysis metrics


def test_metrics_with_the_columns_of_their_units(results):
    units = results.units()
    mine = units.index[units.ecephys_session_id == 731]
    for given in ({"session_id": 731}, {"session_type": TYPES[731]}):
        found = results.analysis_metrics(**given)
        assert found.index.name == "ecephys_unit_id"
        assert list(found.index) == list(mine)
        assert set(units) <= set(found)
        assert {"g_osi_dg", "on_screen_rf"} <= set(found)
        assert len(results.analysis_metrics(**given, unit_filters=NO_FILTERS)) == 24


def test_metrics_alone_are_of_all_units(results):
    for given in ({"session_id": 731}, {"session_type": TYPES[731]}):
        found = results.analysis_metrics(**given, annotate=False)
        assert list(found) == ["g_osi_dg", "on_screen_rf"]
        assert found["g_osi_dg"].tolist() == (np.arange(24) / 7).tolist()
        assert found["on_screen_rf"].dtype == bool


def test_metrics_that_there_are_not(results, work):
    with pytest.raises(ConfigurationError, match="give either session_id or session_type"):
        results.analysis_metrics()
    with pytest.raises(ConfigurationError, match="give either session_id or session_type"):
        results.analysis_metrics(session_id=731, session_type=TYPES[731])
    with pytest.raises(
        ConfigurationError, match=r"session_type 'foo' is unknown \(known: brain_observatory_1.1, func"
    ):
        results.analysis_metrics(session_type="foo")
    with pytest.raises(ConfigurationError, match=r"session 9 is unknown \(2 sessions, the first: 731, 732\)"):
        results.analysis_metrics(session_id=9)
    with pytest.raises(ProjectError, match="there are no analysis metrics of session 732"):
        results.analysis_metrics(session_id=732)
    with pytest.raises(
        ProjectError, match="there are no analysis metrics of session type functional_connectivity"
    ):
        results.analysis_metrics(session_type=TYPES[732])
    with pytest.raises(ProjectError, match="there are no analysis metrics of session 731"):
        open_project(work / "nwb").analysis_metrics(session_id=731)


# ---------------------------------------------------------------- sessions and templates


def test_a_session_has_the_filters_channels_and_metrics_of_its_project(results, cache, work):
    units = results.units()
    with results.open_session(731) as session:
        own = units[units.ecephys_session_id == 731]
        (invalid,) = own.index.difference(session.units.index)
        assert not session.channels.loc[own.loc[invalid, "ecephys_channel_id"], "valid_data"]
        assert session.units["ecephys_structure_acronym"].str.endswith("x").all()
        assert session.channels["ecephys_structure_acronym"].dropna().str.endswith("x").all()
        metrics = results.analysis_metrics(session_id=731, annotate=False)["g_osi_dg"]
        assert session.units["g_osi_dg"].tolist() == metrics[session.units.index].tolist()
    with results.open_session("731", unit_filters=NO_FILTERS) as session:
        assert len(session.units) == 24
    with ephysflow.open_session(732, project=work / "cache") as session:
        assert "g_osi_dg" not in session.units
        assert len(session.units) == (cache.units()["ecephys_session_id"] == 732).sum() - 1
    with open_project(work / "nwb").open_session(731) as session:
        assert not session.units["ecephys_structure_acronym"].str.endswith("x").any()


def test_unknown_sessions_are_told(results):
    for call in (results.open_session, results.session_file, results.lfp_files):
        for session in (9, "../x", "a"):
            with pytest.raises(ConfigurationError, match="is unknown"):
                call(session)


def test_lfp_is_found(results):
    probe = results.probes().index[0]
    with results.open_session(731) as session:
        assert len(session.lfp(probe, 20, 21))


def test_templates(results, cache, work):
    for project in (results, cache):
        np.testing.assert_array_equal(project.natural_movie(1), np.arange(24).reshape(2, 3, 4))
        np.testing.assert_array_equal(project.natural_scene(0), np.arange(12).reshape(3, 4))
    with pytest.raises(ProjectError, match="natural movie 2 is not there"):
        cache.natural_movie(2)
    with pytest.raises(ProjectError, match="natural scene 5 is not there"):
        open_project(work / "nwb").natural_scene(5)


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("kind", ["cache", "nwb"])
def test_results_are_read_from_any_working_directory(work, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    # a file of the same relative name that is none of the project's
    (tmp_path / kind).mkdir()
    (tmp_path / kind / ("units.csv" if kind == "cache" else "session_731.nwb")).write_text("wrong")
    project = open_project(work / "results/ecephys" / kind)
    assert len(project.units(unit_filters=NO_FILTERS)) == 48
    with project.open_session(731) as session:
        assert session.path.is_relative_to(work)


def test_results_that_moved_with_their_data_are_read(work, tmp_path):
    new = tmp_path / "moved"
    shutil.copytree(work, new)
    project = open_project(new / "results/ecephys/cache")
    assert project.session_file(731) == new / "cache/session_731/session_731.nwb"
    assert project.analysis_metrics(session_id=731) is not None


def test_published_metrics_do_not_need_the_source(work, tmp_path):
    new = tmp_path / "moved"
    shutil.copytree(work, new)
    (new / f"cache/{TYPES[731]}_analysis_metrics.csv").unlink()
    expected = open_project(work / "cache").analysis_metrics(
        session_type=TYPES[731], unit_filters={"presence_ratio_minimum": 0.9}
    )
    found = open_project(new / "results/ecephys/cache").analysis_metrics(session_type=TYPES[731])
    shared = [name for name in expected if name in found]
    assert {"g_osi_dg", "on_screen_rf"} <= set(shared)
    pd.testing.assert_frame_equal(found[shared], expected[shared])


# ---------------------------------------------------------------- plain files


def write_named(path: Path, identifier: str, trains: list[list[float]]) -> None:
    write_plain_session(path, trains)
    with h5py.File(path, "a") as file:
        del file["identifier"]
        file["identifier"] = identifier


@pytest.fixture
def two_plain(tmp_path, monkeypatch) -> Path:
    """Two sessions with names for ids, which are not their files' names; ids of units repeat."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_named(tmp_path / "data/mouse1.nwb", "f8b3-uuid", [[0.1, 0.2], [0.3]])
    write_named(tmp_path / "data/mouse2.nwb", "a17c-uuid", [[1.0], [2.0], [3.0]])
    return tmp_path


@pytest.mark.parametrize("place", ["data", "results/ecephys/p"])
def test_ids_that_are_texts_and_repeat_between_sessions(two_plain, place):
    run_project(one_project("nwb", folder="data", products=["units"]))
    project = open_project(two_plain / place)
    assert list(project.sessions().index) == ["mouse1", "mouse2"]
    assert project.sessions()["identifier"].tolist() == ["f8b3-uuid", "a17c-uuid"]
    units = project.units()
    assert units.index.tolist() == [0, 1, 0, 1, 2]
    assert units["ecephys_session_id"].tolist() == ["mouse1"] * 2 + ["mouse2"] * 3
    assert project.sessions()["unit_count"].to_dict() == {"mouse1": 2, "mouse2": 3}
    assert project.channels().index.tolist() == [0, 1, 2] * 2
    assert project.external_channels() is None


@pytest.mark.parametrize("place", ["data", "results/ecephys/p"])
def test_a_session_opens_by_its_id_or_by_the_name_of_its_file(two_plain, place):
    run_project(one_project("nwb", folder="data", products=["units"]))
    project = open_project(two_plain / place)
    for session in ("mouse2", "a17c-uuid"):
        with project.open_session(session) as opened:
            assert opened.session_id == "a17c-uuid"
            assert [times.tolist() for times in opened.spike_times.values()] == [[1.0], [2.0], [3.0]]


def test_a_file_with_the_id_of_another_is_left_out_and_told(two_plain):
    shutil.copyfile("data/mouse1.nwb", "data/copy.nwb")
    with pytest.warns(UserWarning, match="session mouse1: has the id f8b3-uuid, as session copy has"):
        assert len(open_project("data").units()) == 5


def test_sessions_with_and_without_quality_are_one_project(tmp_path):
    write_allen_session(tmp_path / "a.nwb")
    write_plain_session(tmp_path / "b.nwb")
    project = open_project(tmp_path)
    units = project.units()
    assert sorted(units["ecephys_session_id"]) == ["a"] * 2 + ["b"] * 5
    for session in (715, "715", "a"):
        assert project.session_file(session) == tmp_path / "a.nwb"
