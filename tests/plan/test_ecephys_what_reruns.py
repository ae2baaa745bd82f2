"""What reruns when, for Neuropixels projects. One test, one change, the exact set of jobs."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..small_warehouse import FIRST, SECOND, warehouse_config, warehouse_of
from .ecephys import (
    OF_UNITS,
    PRODUCTS,
    SESSIONS,
    ProjectWorkflow,
    write_nwb,
    write_nwb_project,
    write_workflow,
)

EXCLUSIONS = {"collect_exclusions(p)"}
TABLES = {"make_project_tables(p)", *EXCLUSIONS}
PUBLISHING = {"publish_repo(c, a)", "publish_features(c, a)"}


def products(*names: str, of: tuple[str, ...] = SESSIONS) -> set[str]:
    return {f"extract_session({session}, {name})" for session in of for name in names}


def indices(*sessions: str) -> set[str]:
    return {f"index_session({session})" for session in sessions}


def extraction(*sessions: str) -> set[str]:
    """Return the jobs of the campaign after the choice of units."""
    steps = ("extract_recorded", "compute_features")
    return {f"{step}(c, a, {session})" for step in steps for session in sessions or SESSIONS} | PUBLISHING


def campaign(*sessions: str) -> set[str]:
    return {f"select_units(c, a, {session})" for session in sessions or SESSIONS} | extraction(*sessions)


def of_session(session: str) -> set[str]:
    """Return everything that follows one session file."""
    return indices(session) | products(*PRODUCTS, of=(session,)) | TABLES | campaign(session)


EVERYTHING = {job for session in SESSIONS for job in of_session(session)}


@pytest.fixture(scope="session")
def finished_project(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run the project of session files, once for all workers; nothing may be changed in it."""
    return made_once("finished_project", lambda folder: write_nwb_project(folder).run())


@pytest.fixture
def project(finished_project, tmp_path) -> ProjectWorkflow:
    """A finished project of its own for each test, with all times kept, at another place than it was run."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished_project), str(folder)], check=True)
    return ProjectWorkflow(folder)


def with_product(project: ProjectWorkflow, name: str, **options: Any) -> None:
    more = {name: options} if options else {}
    project.change(
        products=[*project.project["products"], name],
        product_options=project.project["product_options"] | more,
    )


def test_nothing_changed(project):
    assert project.plan() == set()
    found = project.ephysflow("verify", "results", "--config", "config.yaml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_plan_from_nothing_names_every_job(project):
    shutil.rmtree(project.folder / "results")
    shutil.rmtree(project.folder / ".snakemake")
    assert project.plan() == EVERYTHING


def test_a_session_file_added(project):
    write_nwb(project.folder, 3)
    assert project.plan() == of_session("3")


def test_a_session_file_removed(project):
    (project.folder / "nwb/session_2.nwb").unlink()
    assert project.plan() == TABLES | PUBLISHING


def test_a_session_file_changed(project):
    write_nwb(project.folder, 2, seed=9)
    assert project.plan() == of_session("2")


def test_touched_and_rewritten_files_with_the_same_content(project):
    os.utime(project.folder / "nwb/session_1.nwb")
    os.utime(project.folder / "config.yaml")
    write_nwb(project.folder, 2)
    assert project.plan() == set()


def test_a_unit_filter(project):
    project.change(unit_filters={"presence_ratio_minimum": 0.9})
    assert project.plan() == TABLES | products(*OF_UNITS) | campaign()


def test_columns_that_are_shown(project):
    project.change(suppress={"units": []})
    assert project.plan() == TABLES


@pytest.mark.parametrize(
    ("name", "file", "options"),
    [
        ("optogenetic_stimulation", "optogenetic_stimulation.parquet", {}),
        ("presentationwise_spike_times", "presentationwise_spike_times.parquet", {"stimuli": ["flashes"]}),
    ],
)
def test_a_product_added(project, name, file, options):
    with_product(project, name, **options)
    assert project.plan() == products(file) | EXCLUSIONS


def test_a_product_removed(project):
    kept = [name for name in project.project["products"] if name != "running_speed"]
    project.change(products=kept)
    assert project.plan() == EXCLUSIONS


def test_a_product_that_a_campaign_reads_cannot_be_removed(project):
    kept = [name for name in project.project["products"] if name not in ("units", "spikes")]
    project.change(products=kept)
    assert project.plan() <= EXCLUSIONS


def test_an_option_of_a_product(project):
    options = project.project["product_options"]
    options["presentationwise_spike_counts"]["bin_edges"] = [0, 0.05, 0.2]
    project.change(product_options=options)
    assert project.plan() == products("presentationwise_spike_counts.h5") | EXCLUSIONS


def test_order_of_keys_and_defaults_written_out(project):
    section = project.project
    section["product_options"] = dict(reversed(section["product_options"].items()))
    section |= {
        "sessions": "all",
        "unit_filters": {"filter_by_validity": True, "amplitude_cutoff_maximum": 0.1},
        "suppress": {},
        "templates": {"natural_movies": []},
    }
    config = project.config
    config["ecephys"]["p"] = dict(reversed(section.items()))
    project.write_config(dict(reversed(config.items())))
    assert project.plan() == set()


def test_order_of_products(project):
    project.change(products=list(reversed(project.project["products"])))
    assert project.plan() <= EXCLUSIONS


def test_a_key_that_only_plots_read(project):
    project.change(raster_stimulus="flashes")
    assert project.plan() == set()


def test_plots_are_off_the_way(project):
    project.write_config({**project.config, "plots": True})
    planned = project.plan()
    assert planned
    assert all(job.startswith("plot_") for job in planned), planned


def test_a_window_of_the_campaign(project):
    config = project.config
    windows = config["campaign"]["c"]["analysis"]["a"]["extraction"]["windows"]
    windows["flash"]["bounds"] = [0, 100]
    project.write_config(config)
    assert project.plan() == extraction()


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("behaviour", products("running_speed.parquet") | EXCLUSIONS),
        ("product_waveforms", products("mean_waveforms.h5") | EXCLUSIONS),
        (
            "product_counts",
            products("presentationwise_spike_counts.h5", "conditionwise_spike_statistics.parquet")
            | EXCLUSIONS,
        ),
        ("project_tables", TABLES),
        ("exclusions_step", EXCLUSIONS),
        ("lfp", set()),
        ("eye_tracking", set()),
        ("download", set()),
        ("session", set()),
    ],
)
def test_a_library_module_edited(project, module, jobs):
    path = project.folder / "src/ephysflow/ecephys" / f"{module}.py"
    path.write_text(path.read_text() + "\n\nNEW = 1\n")
    assert project.plan() == jobs


def test_comments_in_the_library(project):
    for module in ("behaviour", "session_file", "project_tables", "products_step", "index_step"):
        path = project.folder / "src/ephysflow/ecephys" / f"{module}.py"
        path.write_text(path.read_text() + "\n# a comment\n")
    assert project.plan() == set()


def test_deleted_files_are_made_again(project):
    (project.folder / "results/ecephys/p/sessions/1/running_speed.parquet").unlink()
    assert project.plan() == products("running_speed.parquet", of=("1",)) | EXCLUSIONS


def test_deleted_tables_are_made_again(project):
    (project.folder / "results/ecephys/p/units.parquet").unlink()
    assert project.plan() == TABLES


def test_a_moved_project(project, tmp_path):
    deeper = tmp_path / "some" / "where"
    deeper.mkdir(parents=True)
    moved = ProjectWorkflow(project.folder.rename(deeper / "project"))
    assert moved.plan() == set()


def test_verify_agrees_with_the_plan(project):
    project.change(unit_filters={"presence_ratio_minimum": 0.9})
    found = project.ephysflow("verify", "results", "--config", "config.yaml")
    assert found.returncode == 1
    assert "stale    results/ecephys/p/units.parquet: settings" in found.stdout
    assert "running_speed" not in found.stdout


# --- a warehouse --------------------------------------------------------------------------------------

RAW = ("sessions.parquet", "probes.parquet", "channels.parquet", "units.parquet")
FETCHED = ("units.parquet", "running_speed.parquet")
"""Products of the project of the warehouse."""


def fetches(*names: str) -> set[str]:
    return {f"fetch_file({name})" for name in names}


def files_of(session: str) -> tuple[str, str]:
    return f"session_{session}/session_{session}.nwb", f"session_{session}_analysis_metrics.parquet"


@pytest.fixture(scope="session")
def finished_warehouse(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run a project of a warehouse, which is down afterwards; nothing may be changed in it."""

    def make(folder: Path) -> None:
        write_workflow(folder)
        with warehouse_of(folder / "served") as server:
            workflow = ProjectWorkflow(folder)
            workflow.write_config(warehouse_config(server.host))
            workflow.run()
        shutil.rmtree(folder / "served")

    return made_once("finished_warehouse_plan", make)


@pytest.fixture
def downloaded(finished_warehouse, tmp_path) -> ProjectWorkflow:
    """A finished project of its own for each test; its warehouse does not answer."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished_warehouse), str(folder)], check=True)
    return ProjectWorkflow(folder)


def test_nothing_changed_and_the_warehouse_is_down(downloaded):
    assert downloaded.plan() == set()


def test_how_the_warehouse_is_asked_changes_nothing(downloaded):
    given = {"host": "mirror.example.org", "scheme": "https", "read_timeout": 1, "tries": 9}
    downloaded.change(warehouse=given)
    assert downloaded.plan() == set()


@pytest.mark.parametrize("module", ["rma", "download", "transport", "fetch_step"])
def test_new_code_downloads_nothing_again(downloaded, module):
    path = downloaded.folder / "src/ephysflow/ecephys" / f"{module}.py"
    path.write_text(path.read_text() + "\n\nNEW = 1\n")
    assert not {job for job in downloaded.plan() if job.startswith("fetch_file")}


def test_a_unit_filter_downloads_nothing_again(downloaded):
    downloaded.change(unit_filters={"presence_ratio_minimum": 0.9})
    assert downloaded.plan() == TABLES | products("units.parquet", of=(FIRST,))


def test_downloads_are_forced_by_name(downloaded):
    planned = downloaded.snakemake("--dry-run", "-R", "fetch_file")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    for name in (*RAW, *files_of(FIRST)):
        assert f"Download {name} (p)." in planned.stdout + planned.stderr


def test_a_deleted_download_is_fetched_again(downloaded):
    nwb, _ = files_of(FIRST)
    (downloaded.folder / "results/ecephys/p/downloads" / nwb).unlink()
    planned = downloaded.plan()
    assert fetches(nwb) == {job for job in planned if job.startswith("fetch_file")}


def test_fixed_takes_what_was_downloaded(downloaded):
    downloaded.change(source="fixed", warehouse=None)
    assert downloaded.plan() == set()


def test_fixed_beside_a_warehouse(downloaded):
    config = downloaded.config
    config["ecephys"]["q"] = config["ecephys"]["p"] | {"products": ["units"]}
    downloaded.write_config(config)
    downloaded.change(source="fixed", warehouse=None)
    planned = downloaded.plan()
    assert "fetch_file(q, units.parquet)" in planned
    assert all("(q" in job for job in planned), planned


def test_a_session_added(downloaded):
    downloaded.change(sessions=[int(FIRST), int(SECOND)])
    # the tables are the warehouse's: they need no session file
    expected = fetches(*files_of(SECOND)) | indices(SECOND) | products(*FETCHED, of=(SECOND,)) | EXCLUSIONS
    assert downloaded.plan() == expected


def test_tables_asked_again(downloaded):
    tables = [f"{name}.parquet" for name in ("sessions", "probes", "channels", "units")]
    folder = downloaded.folder / "results/ecephys/p/downloads"
    planned = downloaded.snakemake(
        "--dry-run", "-R", *(str((folder / t).relative_to(downloaded.folder)) for t in tables)
    )
    assert planned.returncode == 0, planned.stderr
    text = planned.stdout + planned.stderr
    assert {name for name in tables if f"Download {name} (p)" in text} == set(tables)
    assert ".nwb (p)" not in text


def test_templates_added(downloaded):
    downloaded.change(templates={"natural_movies": [1], "natural_scenes": [0]})
    assert downloaded.plan() == fetches(
        "natural_movie_templates/natural_movie_1.npy", "natural_scene_templates/natural_scene_0.tiff"
    )


def test_analysis_metrics_added(downloaded):
    downloaded.change(analysis_metrics=["brain_observatory_1.1"])
    expected = fetches("brain_observatory_1.1_analysis_metrics.parquet")
    assert downloaded.plan() == expected | {"join_analysis_metrics(brain_observatory_1.1)"} | EXCLUSIONS
