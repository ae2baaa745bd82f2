"""What the section of a project says: defaults, sheets of sessions, and what is refused before any job."""

from pathlib import Path
from typing import Any

import pytest
from tests.ecephys_projects import one_project, plan_project

from ephysflow.configuration import load
from ephysflow.ecephys.products import DEFAULT_PRODUCTS, PRODUCTS
from ephysflow.ecephys.settings import ProjectSettings
from ephysflow.ecephys.sources import Downloads, NwbFolder, TablesFolder
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with two session files, LFP of the first, and a cache; the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/session_1.nwb", "data/session_1_probe_7_lfp.nwb", "data/session_2.nwb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("sessions", "probes", "channels", "units"):
        (cache / f"{name}.csv").touch()
    (cache / "session_3").mkdir()
    (cache / "session_3/session_3.nwb").touch()
    return tmp_path


def settings_of(source: str, **settings: Any) -> ProjectSettings:
    return load(one_project(source, **settings)).projects[0]


def sheet(text: str, name: str = "s.tsv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


# ---------------------------------------------------------------- defaults


def test_defaults():
    settings = settings_of("nwb", folder="data")
    assert isinstance(settings.source, NwbFolder)
    assert settings.sessions == ["1", "2"]
    assert settings.unit_filters == UnitFilters()
    assert settings.products == DEFAULT_PRODUCTS
    assert settings.probes_with_lfp("1") == ["7"]
    assert settings.probes_with_lfp("2") == []
    assert (settings.suppress, settings.analysis_metrics, settings.raster_stimulus) == ({}, [], None)
    assert settings.transport == {}


def test_a_warehouse_has_no_sessions_unless_they_are_named():
    settings = settings_of("warehouse")
    assert settings.sessions == []
    assert isinstance(settings.source, Downloads)
    assert settings.source.folder == Path("results/ecephys/p/downloads")
    assert settings.transport == {
        "scheme": "http",
        "host": "api.brain-map.org",
        "connect_timeout": 10,
        "read_timeout": 60,
        "tries": 3,
        "backoff": 1,
        "allowed_hosts": [],
    }


def test_all_sessions_of_a_warehouse_are_not_asked_for_by_mistake():
    with pytest.raises(ConfigurationError, match=r"ecephys\.p: sessions: all: .* list ids"):
        settings_of("warehouse", sessions="all")


def test_digests_are_of_downloads_alone():
    digests = {"sha256": {"session_5/session_5.nwb": "0" * 64}}
    assert settings_of("fixed", warehouse=digests).sha256 == digests["sha256"]
    with pytest.raises(ConfigurationError, match="source nwb has none"):
        settings_of("nwb", folder="data", warehouse=digests)


def test_a_manifest_is_in_the_folder_that_is_named(folder):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/manifest.json").touch()
    with pytest.raises(
        ConfigurationError, match=r"folder: cache is not the folder of the manifest, elsewhere"
    ):
        settings_of("tables", folder="cache", manifest="elsewhere/manifest.json")


def test_a_session_without_lfp_says_so():
    plan, _ = plan_project(one_project("nwb", folder="data", products=["units", "lfp"]))
    assert list(plan.projects["p"].sessions["2"].products) == ["units.parquet"]
    assert "product lfp: no LFP file of the session is there" in plan.settings("collect_exclusions", "p")


def test_sessions_of_a_cache_are_those_that_are_there(folder):
    settings = settings_of("tables", folder="cache")
    assert isinstance(settings.source, TablesFolder)
    assert settings.sessions == ["3"]
    # a path may be absolute: inside of the working directory it is the same project
    assert settings_of("tables", folder=str(folder / "cache")).source.table("units") == Path(
        "cache/units.csv"
    )


def test_filters_and_options_are_completed():
    settings = settings_of(
        "nwb",
        folder="data",
        unit_filters={"presence_ratio_minimum": None},
        products=["units", "presentationwise_spike_counts"],
        product_options={"presentationwise_spike_counts": {"bin_edges": [0, 1]}},
    )
    assert settings.unit_filters == UnitFilters(presence_ratio_minimum=None)
    assert settings.product_options["presentationwise_spike_counts"] == {"bin_edges": [0, 1], "stimuli": None}


# ---------------------------------------------------------------- sessions


def test_sessions_are_listed_in_the_order_given():
    assert settings_of("nwb", folder="data", sessions=[2, "1"]).sessions == ["2", "1"]


def test_a_sheet_lists_sessions_and_probes():
    text = "\ufeff# comment\nsession_id\tlfp_probes\n\n2\t\n# 5\t6\n1\t7, 8;9\n"
    settings = settings_of("nwb", folder="data", sessions=sheet(text))
    assert settings.sessions == ["2", "1"]
    assert settings.probes_with_lfp("2") == []
    assert settings.probes_with_lfp("1") == ["7", "8", "9"]


def test_without_the_column_lfp_probes_those_that_are_there_are_taken():
    settings = settings_of("nwb", folder="data", sessions=sheet("session_id\n1\n", "s.csv"))
    assert settings.probes_with_lfp("1") == ["7"]


def test_files_of_a_sheet_are_relative_to_it(folder):
    (folder / "lists").mkdir()
    sheet("session_id,file\nmouse,../data/session_2.nwb\n", "lists/s.csv")
    settings = settings_of("nwb", sessions="lists/s.csv")
    assert settings.sessions == ["mouse"]
    assert settings.source.session_nwb("mouse") == Path("data/session_2.nwb")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.tsv: columns are missing; session_id is needed"),
        (
            "file\nx\n",
            "s.tsv: columns are file; session_id is needed, and allowed are session_id, file, lfp_probes",
        ),
        ("session_id\tcolour\n1\tred\n", "columns are session_id, colour"),
        ("session_id\tlfp_probes\n1\n", "the row of session '1' has not 2 fields"),
        ("session_id\n1\t2\n", "the row of session '1' has not 1 fields"),
        ("session_id\n1\n1\n", "session 1 stands twice"),
        ("session_id\n../x\n", "'../x' is not the id of a session"),
        ("session_id\tlfp_probes\n1\tA\n", "session 1: lfp_probes: 'A' is not an integer"),
        (
            "session_id\tfile\n1\tdata/session_1.nwb\n2\t\n",
            "session 2 has no file in the sheet, as others have",
        ),
    ],
)
def test_wrong_sheets(text, message):
    with pytest.raises(ConfigurationError) as raised:
        settings_of("nwb", folder="data", sessions=sheet(text))
    assert message in str(raised.value)


def test_a_sheet_that_is_not_there_or_no_text_is_refused(folder):
    with pytest.raises(ConfigurationError, match=r"ecephys.p: sessions: none.tsv: cannot be read"):
        settings_of("nwb", folder="data", sessions="none.tsv")
    (folder / "b.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"b.tsv: cannot be read"):
        settings_of("nwb", folder="data", sessions="b.tsv")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("lims", {}, "source lims: LIMS can be reached inside the Allen Institute only; use warehouse"),
        ("dandi", {}, "dandi download"),
        ("s3", {}, "aws s3 sync"),
        ("ftp", {}, "source: 'ftp' is unknown (allowed: warehouse, tables, nwb, fixed)"),
        ("nwb", {}, "source nwb needs folder, or sessions: a sheet with the column file"),
        ("nwb", {"folder": "data", "manifest": "m.json"}, "only source tables has one, this is nwb"),
        ("nwb", {"folder": "data", "analysis_metrics": ["a"]}, "source nwb has no others"),
        ("nwb", {"folder": "data", "sessions": [1, 1]}, "sessions: 1 stands twice"),
        ("nwb", {"folder": "data", "sessions": ["a/b"]}, "'a/b' is not the id of a session"),
        ("tables", {}, "source tables needs folder or manifest"),
        ("tables", {"folder": "cache", "sessions": ["m1"]}, "'m1' is not an integer"),
        ("tables", {"folder": "cache", "analysis_metrics": ["../x"]}, "cannot be the name of a session type"),
        ("warehouse", {"folder": "data"}, "downloads are kept in results/ecephys/<project>/downloads"),
        ("warehouse", {"warehouse": {"host": "a/b"}}, "warehouse.host"),
        ("warehouse", {"sessions": [5], "products": ["lfp"]}, "the probes of session 5 are not known"),
        ("nwb", {"folder": "data", "products": ["spykes"]}, "'spykes' is unknown (known: units, channels"),
        ("nwb", {"folder": "data", "product_options": {"lfp": {}}}, "'lfp' is not among products"),
        (
            "nwb",
            {"folder": "data", "products": ["lfp"], "product_options": {"lfp": {"stimuli": ["a"]}}},
            "'stimuli' is no option (known: interval)",
        ),
        (
            "nwb",
            {"folder": "data", "products": ["lfp"], "product_options": {"lfp": {"interval": [3, 3]}}},
            "product_options.lfp.interval: [3, 3] do not increase",
        ),
        (
            "nwb",
            {"folder": "data", "products": ["presentationwise_spike_counts"]},
            "needs bin_edges",
        ),
        ("nwb", {"folder": "data", "unit_filters": {"snr_minimum": 2}}, "snr_minimum"),
    ],
)
def test_wrong_sections(source, settings, message):
    with pytest.raises(ConfigurationError) as raised:
        settings_of(source, **settings)
    assert "ecephys.p" in str(raised.value)
    assert message in str(raised.value)


def test_a_column_of_files_is_of_source_nwb_alone():
    text = "session_id\tfile\n3\tdata/session_1.nwb\n"
    with pytest.raises(
        ConfigurationError, match="only source nwb has a column file in its sheet, this is tables"
    ):
        settings_of("tables", folder="cache", sessions=sheet(text))


def test_several_manifests_are_refused_unless_one_is_named(folder):
    for name in ("manifest.json", "old_manifest.json"):
        (folder / "cache" / name).touch()
    with pytest.raises(ConfigurationError, match=r"ecephys.p: folder cache has several manifests"):
        settings_of("tables", folder="cache")


# ---------------------------------------------------------------- what planning finds


def test_missing_tables_are_named(folder):
    (folder / "cache/units.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"ecephys.p: cache/units.csv is not there"):
        plan_project(one_project("tables", folder="cache"))


def test_a_folder_without_sessions_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"no session file is there: empty holds no .nwb file"):
        plan_project(one_project("nwb", folder="empty"))
    with pytest.raises(
        ConfigurationError, match=r"no session file is there: data/session_9.nwb is not there"
    ):
        plan_project(one_project("nwb", folder="data", sessions=[9]))


def test_source_fixed_names_all_that_is_missing():
    with pytest.raises(ConfigurationError) as raised:
        plan_project(
            one_project("fixed", sessions=[5], analysis_metrics=["a"], templates={"natural_scenes": [1]})
        )
    folder = "results/ecephys/p/downloads"
    for name in (
        "sessions.parquet",
        "units.parquet",
        "session_5/session_5.nwb",
        "a_analysis_metrics.parquet",
        "natural_scene_templates/natural_scene_1.tiff",
    ):
        assert f"{folder}/{name}" in str(raised.value)


def test_metrics_and_templates_that_are_not_there_are_named():
    with pytest.raises(ConfigurationError, match=r"analysis_metrics: a_analysis_metrics.csv is not there"):
        plan_project(one_project("tables", folder="cache", analysis_metrics=["a"]))
    with pytest.raises(ConfigurationError, match=r"templates: cache/natural_movie_templates/.* is not there"):
        plan_project(one_project("tables", folder="cache", templates={"natural_movies": [1]}))


def test_a_session_or_lfp_file_that_is_not_there_is_left_out():
    products = ["units", "lfp"]
    text = sheet("session_id\tlfp_probes\n1\t7 8\n9\t\n")
    plan, _ = plan_project(one_project("nwb", folder="data", sessions=text, products=products))
    assert list(plan.projects["p"].sessions) == ["1"]
    assert list(plan.projects["p"].sessions["1"].products) == [
        "units.parquet",
        "lfp_7.h5",
        "lfp_8.h5",  # which the session file may hold
    ]
    left_out = plan.settings("collect_exclusions", "p")
    assert "session_9.nwb is not there" in left_out


def test_a_warehouse_is_asked_for_what_is_wanted_and_nothing_else():
    text = sheet("session_id\tlfp_probes\n5\t70\n")
    config = one_project(
        "warehouse",
        sessions=text,
        products=["units", "csd"],
        analysis_metrics=["a"],
        templates={"natural_movies": [1]},
    )
    plan, _ = plan_project(config)
    assert sorted(plan.projects["p"].downloads) == [
        "a_analysis_metrics.parquet",
        "channels.parquet",
        "natural_movie_templates/natural_movie_1.npy",
        "probes.parquet",
        "session_5/probe_70_lfp.nwb",
        "session_5/session_5.nwb",
        "session_5_analysis_metrics.parquet",
        "sessions.parquet",
        "units.parquet",
    ]


def test_every_product_has_a_job_of_its_own():
    products = [name for name, product in PRODUCTS.items() if not product.options]
    plan, _ = plan_project(one_project("nwb", folder="data", products=products))
    files = plan.projects["p"].sessions["1"].products
    assert set(files) == {PRODUCTS[name].file.format(probe=7) for name in products}
