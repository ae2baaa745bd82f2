"""The faults of test_ecephys_faults.py that concern files on this machine: caches, manifests, and source fixed.

What AllenSDK 2.16.2 makes of each is in the comments, and in golden/ecephys/faults.json.
"""

import shutil
from pathlib import Path

import h5py
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ephysflow.configuration import load
from ephysflow.ecephys.index_step import index_session
from ephysflow.ecephys.manifest import read_manifest
from ephysflow.ecephys.project import open_project
from ephysflow.ecephys.project_tables import project_tables
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables, read_raw_table
from ephysflow.ecephys.tables_step import make_project_tables
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.tables import read_rows, read_table
from ephysflow.plan import read_job
from ephysflow.planning import plan_workflow

PROJECT, SESSION = "p", 715000000
WITH_OUT_OF_BRAIN = {"filter_out_of_brain_units": False}


@pytest.fixture(scope="module")
def golden(shared) -> Path:
    return shared / "golden" / "ecephys"


@pytest.fixture
def cache(golden, tmp_path) -> Path:
    return Path(shutil.copytree(golden / "cache_csv", tmp_path / "cache"))


@pytest.fixture
def raw(golden) -> RawTables:
    folder = read_manifest(golden / "cache_csv" / "manifest.json")
    return RawTables(**{name: read_raw_table(folder.table(name), name) for name in RAW_SCHEMAS})


@pytest.fixture
def downloads(golden, tmp_path, monkeypatch) -> Path:
    """The four tables as the workflow downloads them; tests run in the folder that holds `results`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "ecephys" / PROJECT / "downloads"
    folder.mkdir(parents=True)
    for name in RAW_SCHEMAS:
        table = read_raw_table(golden / "cache_csv" / f"{name}.csv", name)
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def configured(**project) -> dict:
    return {"results": "results", "plots": False, "ecephys": {PROJECT: project}}


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


# AllenSDK: makes the folder, and a manifest of files that are not there
def test_nothing_is_made_where_there_is_no_project(tmp_path):
    folder = tmp_path / "nowhere"
    for path in (folder, folder / "manifest.json"):
        with pytest.raises(ProjectError, match="nowhere"):
            open_project(path).units()
        with pytest.raises(ConfigurationError, match="nowhere"):
            plan_workflow(configured(source="tables", folder=str(folder)))
    assert not folder.exists()


def test_a_cache_without_its_manifest_has_the_usual_names(cache):
    before = open_project(cache).units()
    (cache / "manifest.json").unlink()
    assert open_project(cache).units().equals(before)
    assert not (cache / "manifest.json").exists()


# AllenSDK: version= other than 0.3.0 refuses every manifest, also the one that it has just written
@pytest.mark.parametrize("manifest", [True, False])
def test_the_version_is_that_of_the_file(cache, manifest):
    if not manifest:
        (cache / "manifest.json").unlink()
    given = configured(source="tables", folder=str(cache))
    assert load(given).projects
    given["ecephys"][PROJECT]["version"] = "0.9"
    with pytest.raises(ConfigurationError, match=r"ecephys\.p.*version"):
        load(given)


# AllenSDK: TypeError "unlink: path should be string, bytes or os.PathLike, not NoneType"
def test_nothing_is_written_beside_a_cache(cache):
    before = files_of(cache)
    project = open_project(cache)
    assert len(project.units(unit_filters=WITH_OUT_OF_BRAIN)) == 27
    assert len(project.sessions()) == 4
    with pytest.raises(ConfigurationError, match=r"ecephys\.p.*cache"):
        load(configured(source="tables", folder=str(cache), cache=False))
    assert files_of(cache) == before


# AllenSDK: RuntimeError "no running event loop"
def test_each_download_is_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = Path("sessions.tsv")
    sheet.write_text("session_id\tlfp_probes\n715000000\t729000000\n715001000\t\n")
    given = configured(
        source="warehouse",
        sessions=str(sheet),
        products=["units", "lfp"],
        templates={"natural_movies": [1], "natural_scenes": [0, 1]},
        analysis_metrics=["brain_observatory_1.1"],
    )
    plan, plan_file = plan_workflow(given)
    names = plan.projects[PROJECT].downloads
    assert {*names} == {
        *(f"{name}.parquet" for name in RAW_SCHEMAS),
        *(f"session_{name}/session_{name}.nwb" for name in (715000000, 715001000)),
        *(f"session_{name}_analysis_metrics.parquet" for name in (715000000, 715001000)),
        "session_715000000/probe_729000000_lfp.nwb",
        "brain_observatory_1.1_analysis_metrics.parquet",
        "natural_movie_templates/natural_movie_1.npy",
        "natural_scene_templates/natural_scene_0.tiff",
        "natural_scene_templates/natural_scene_1.tiff",
    }
    for name in names:
        assert read_job(plan_file, "fetch_file", [PROJECT, name]).settings["file"] == name


# AllenSDK: AttributeError "'EcephysProjectFixedApi' object has no attribute 'rma_engine'"; made in another way: 27 units
def test_fixed_has_what_was_downloaded(downloads):
    given = configured(source="fixed", unit_filters=WITH_OUT_OF_BRAIN)
    plan, plan_file = plan_workflow(given)
    assert plan.projects[PROJECT].downloads == []
    make_project_tables(read_job(plan_file, "make_project_tables", [PROJECT]))
    assert read_table(downloads.parent / "units.parquet").num_rows == 27


# AllenSDK: MissingDataError "Data not found!", of one table and without its name
def test_fixed_without_tables(downloads):
    for name in ("units", "channels"):
        (downloads / f"{name}.parquet").unlink()
    with pytest.raises(ConfigurationError, match="never downloads, and 2 files are not there") as error:
        plan_workflow(configured(source="fixed"))
    for name in ("units", "channels"):
        assert f"downloads/{name}.parquet" in str(error.value)


# AllenSDK: "data for session 715000000 not found!"; NotImplementedError without a message; "natural movie template not
# found for movie 1"
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"sessions": [SESSION]}, ["session_715000000/session_715000000.nwb"]),
        (
            {"analysis_metrics": ["functional_connectivity"]},
            ["functional_connectivity_analysis_metrics.parquet"],
        ),
        ({"templates": {"natural_movies": [1]}}, ["natural_movie_templates/natural_movie_1.npy"]),
        (
            {"sessions": [SESSION], "templates": {"natural_scenes": [7]}},
            ["session_715000000/session_715000000.nwb", "natural_scene_templates/natural_scene_7.tiff"],
        ),
    ],
)
def test_fixed_lists_all_that_is_missing(downloads, given, missing):
    with pytest.raises(ConfigurationError, match="never downloads") as error:
        plan_workflow(configured(source="fixed", **given))
    for name in missing:
        assert f"downloads/{name}" in str(error.value)


# AllenSDK: "data for session 715000000 not found!", although it is there; the file is left
def test_fixed_says_what_is_wrong_with_a_session_file(downloads):
    file = downloads / f"session_{SESSION}" / f"session_{SESSION}.nwb"
    file.parent.mkdir()
    with h5py.File(file, "w") as content:
        content["data"] = list(range(1000))
    damaged = file.read_bytes()[:-100]
    file.write_bytes(damaged)
    _, plan_file = plan_workflow(configured(source="fixed"))
    index_session(read_job(plan_file, "index_session", [PROJECT, str(SESSION)]))
    (row,) = read_rows(downloads.parent / "sessions" / str(SESSION) / "session.parquet")
    assert row["status"] == "left out"
    assert "truncated" in row["reason"]
    assert file.read_bytes() == damaged


def of_sessions(raw: RawTables, ids: list[int]) -> RawTables:
    """Return the rows of some sessions, and of the first probe of each."""
    sessions = raw.sessions.filter(pa.array([row in ids for row in raw.sessions["id"].to_pylist()]))
    first = {}
    for probe in raw.probes.to_pylist():
        first.setdefault(probe["ecephys_session_id"], probe["id"])
    probes = [first[session] for session in ids]
    return RawTables(
        sessions,
        raw.probes.filter(pa.array([row in probes for row in raw.probes["id"].to_pylist()])),
        raw.channels.filter(
            pa.array([row in probes for row in raw.channels["ecephys_probe_id"].to_pylist()])
        ),
        raw.units,
    )


# AllenSDK: the same, with nan among the structures
def test_a_project_of_one_session_and_one_probe(golden, raw):
    tables = project_tables(of_sessions(raw, [SESSION]), UnitFilters())
    assert tables.sessions.num_rows == tables.probes.num_rows == 1
    with (golden / "get_session_table.csv").open() as file:
        assert tables.sessions.column_names == file.readline().strip().split(",")
    (row,) = tables.sessions.to_pylist()
    assert row["probe_count"] == 1
    assert row["unit_count"] == tables.units.num_rows > 0
    assert {"VISp", None} <= set(row["ecephys_structure_acronyms"])


# AllenSDK: the same
def test_two_sessions_of_two_structures_each(raw):
    two = of_sessions(raw, [SESSION, 715001000])
    n = two.channels.num_rows
    place = two.channels.column_names.index("ecephys_structure_acronym")
    acronyms = pa.array(["VISp" if row % 2 == 0 else "CA1" for row in range(n)])
    channels = two.channels.set_column(place, two.channels.schema.field(place), acronyms)
    tables = project_tables(RawTables(two.sessions, two.probes, channels, two.units), UnitFilters())
    assert tables.sessions["ecephys_structure_acronyms"].to_pylist() == [["VISp", "CA1"]] * 2
