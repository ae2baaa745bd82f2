"""Where the files of a project are: names of sessions and of LFP files, in every layout."""

import shutil
from pathlib import Path

import pytest

from ephysflow.ecephys.sources import (
    Downloads,
    NwbFolder,
    Source,
    TablesFolder,
    find_manifest,
    folder_source,
    recorded_source,
    source_record,
)
from ephysflow.errors import ConfigurationError, ProjectError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


# ---------------------------------------------------------------- folders of session files


@pytest.mark.parametrize(
    ("file", "session"),
    [
        ("session_715093703.nwb", "715093703"),
        ("session-12.nwb", "12"),
        ("sub-699733573_ses-715093703.nwb", "715093703"),
        ("sub-m1_ses-123_behavior+ecephys.nwb", "123"),
        ("mouse1_session_4.nwb", "4"),
        ("A8604-211122.nwb", "A8604-211122"),
        # a name that begins like an id is not cut
        ("sub-m1_ses-20211122T120000.nwb", "sub-m1_ses-20211122T120000"),
        ("session_2021-11-22.nwb", "session_2021-11-22"),
        ("noses-12.nwb", "noses-12"),
    ],
)
def test_a_session_is_called_by_its_file(tmp_path, file, session):
    source = NwbFolder(touch(tmp_path, f"sub/{file}"))
    assert source.sessions() == [session]
    assert source.session_nwb(session) == tmp_path / "sub" / file


def test_the_folder_of_a_session_file_does_not_name_it(tmp_path):
    assert NwbFolder(touch(tmp_path, "session_1/a.nwb", "session_1/b.nwb")).sessions() == ["a", "b"]


@pytest.mark.parametrize(
    ("session_file", "lfp_file"),
    [
        ("sub-X_ses-123.nwb", "sub-X_ses-123_probe-7_ecephys.nwb"),
        ("sub-X_ses-123.nwb", "lfp/sub-X_ses-123_probe-7_ecephys.nwb"),
        ("sub-X_ses-123_image.nwb", "sub-X_ses-123_probe-7_ecephys.nwb"),
        ("sub-X_ses-2021T12.nwb", "sub-X_ses-2021T12_probe-7_ecephys.nwb"),
        ("session_123.nwb", "session_123_probe_7_lfp.nwb"),
        ("session_123/session_123.nwb", "session_123/probe_7_lfp.nwb"),
        ("mouse1/mouse1.nwb", "mouse1/probe_7_lfp.nwb"),
    ],
)
def test_lfp_files_belong_to_their_session(tmp_path, session_file, lfp_file):
    source = NwbFolder(touch(tmp_path, session_file, lfp_file, "session_9.nwb"))
    session = next(name for name in source.sessions() if name != "9")
    assert source.lfp_nwbs(session) == {"7": tmp_path / lfp_file}
    assert source.probe_lfp(session, "7") == tmp_path / lfp_file
    assert source.lfp_nwbs("9") == {}


def test_lfp_of_two_animals_with_one_session_number_is_not_mixed(tmp_path):
    touch(
        tmp_path, "sub-A_ses-1.nwb", "sub-A_ses-1_probe-7.nwb", "sub-B_ses-1.nwb", "sub-B_ses-1_probe-8.nwb"
    )
    files = {"A": tmp_path / "sub-A_ses-1.nwb", "B": tmp_path / "sub-B_ses-1.nwb"}
    for folder in (tmp_path, None):
        source = NwbFolder(folder, files)
        assert source.sessions() == ["A", "B"]
        assert source.lfp_nwbs("A") == {"7": tmp_path / "sub-A_ses-1_probe-7.nwb"}
        assert source.lfp_nwbs("B") == {"8": tmp_path / "sub-B_ses-1_probe-8.nwb"}


def test_lfp_beside_the_session_comes_before_other_copies(tmp_path):
    touch(tmp_path, "a/session_1.nwb", "a/session_1_probe_7.nwb", "old/session_1_probe_7.nwb")
    assert NwbFolder(tmp_path).lfp_nwbs("1") == {"7": tmp_path / "a/session_1_probe_7.nwb"}


def test_two_lfp_files_of_one_probe_are_refused(tmp_path):
    touch(tmp_path, "session_1.nwb", "session_1_probe_7_lfp.nwb", "session_1_probe-7_new.nwb")
    with pytest.raises(ConfigurationError, match="are both of probe 7 of .*session_1.nwb"):
        NwbFolder(tmp_path)


def test_two_files_of_one_session_are_refused_unless_a_sheet_names_them(tmp_path):
    touch(tmp_path, "sub-A/sub-A_ses-1.nwb", "sub-B/sub-B_ses-1.nwb")
    with pytest.raises(
        ConfigurationError, match=r"sub-A_ses-1.nwb and .*sub-B_ses-1.nwb are both of session 1"
    ):
        NwbFolder(tmp_path)
    files = {"b": tmp_path / "sub-B/sub-B_ses-1.nwb"}
    assert NwbFolder(tmp_path, files).sessions() == ["b"]


def test_without_a_folder_nothing_but_the_files_of_the_sheet_is_looked_at(tmp_path, monkeypatch):
    touch(tmp_path, "elsewhere/session_2.nwb", "here/session_1.nwb", "here/session_1_probe_7.nwb")
    monkeypatch.chdir(tmp_path)
    source = NwbFolder(None, {"m": Path("here/session_1.nwb")})
    assert source.sessions() == ["m"]
    assert source.lfp_nwbs("m") == {"7": Path("here/session_1_probe_7.nwb")}


def test_hidden_files_are_no_sessions(tmp_path):
    touch(tmp_path, "session_1.nwb", "._session_1.nwb", ".session_2.nwb")
    assert NwbFolder(tmp_path).sessions() == ["1"]


def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'a b' is not usable as the name of a session"):
        NwbFolder(touch(tmp_path, "a b.nwb"))


def test_what_is_not_there_has_a_path_all_the_same(tmp_path):
    source = NwbFolder(touch(tmp_path, "session_1.nwb"))
    assert not source.session_nwb("2").exists()
    assert not source.probe_lfp("1", "7").exists()
    assert source.table("units") is None
    assert source.metrics("session_1") is None
    assert source.template("natural_movie", 1) == tmp_path / "natural_movie_templates/natural_movie_1.npy"


def test_files_that_the_example_will_make_are_there(tmp_path):
    made = [
        str(tmp_path / "e/session_1.nwb"),
        str(tmp_path / "e/session_1_probe_7_lfp.nwb"),
        "x/session_2.nwb",
    ]
    source = NwbFolder(tmp_path / "e", None, made)
    assert source.sessions() == ["1"]
    assert list(source.lfp_nwbs("1")) == ["7"]


# ---------------------------------------------------------------- caches and downloads


@pytest.mark.parametrize("kind", [Downloads, lambda folder: TablesFolder(folder, None)])
def test_caches_have_a_folder_for_each_session(tmp_path, kind):
    touch(tmp_path, "session_5/session_5.nwb", "session_5/probe_70_lfp.nwb", "session_5/probe_x_lfp.nwb")
    touch(tmp_path, "session_6/probe_71_lfp.nwb", "session_7.nwb", "session_8/session_9.nwb")
    source: Source = kind(tmp_path)
    assert source.sessions() == ["5"]
    assert source.session_nwb("5") == tmp_path / "session_5/session_5.nwb"
    assert source.lfp_nwbs("5") == {"70": tmp_path / "session_5/probe_70_lfp.nwb"}
    assert source.probe_lfp("5", "70") == tmp_path / "session_5/probe_70_lfp.nwb"
    assert source.template("natural_scene", 3) == tmp_path / "natural_scene_templates/natural_scene_3.tiff"


def test_tables_are_csv_or_parquet(tmp_path):
    source = TablesFolder(touch(tmp_path, "units.csv"), None)
    assert source.table("units") == tmp_path / "units.csv"
    touch(tmp_path, "units.parquet")
    assert source.table("units") == tmp_path / "units.parquet"


def test_metrics_are_there_or_not(tmp_path):
    source = TablesFolder(tmp_path, None)
    assert source.metrics("session_5") is None
    assert source.metrics("brain_observatory_1.1") is None
    touch(tmp_path, "session_5/session_5_analysis_metrics.csv", "brain_observatory_1.1_analysis_metrics.csv")
    assert source.metrics("session_5") == tmp_path / "session_5/session_5_analysis_metrics.csv"
    assert source.metrics("brain_observatory_1.1") == tmp_path / "brain_observatory_1.1_analysis_metrics.csv"
    # downloads will be there
    assert Downloads(tmp_path).metrics("session_9") == tmp_path / "session_9_analysis_metrics.parquet"


# ---------------------------------------------------------------- which one a folder is


def test_a_folder_is_tables_or_session_files_or_nothing(tmp_path):
    assert folder_source(touch(tmp_path / "empty", "notes.txt")) is None
    assert isinstance(folder_source(touch(tmp_path / "nwb", "sub/a.nwb")), NwbFolder)
    for name in ("units.csv", "units.parquet"):
        assert isinstance(folder_source(touch(tmp_path / name, name, "a.nwb")), TablesFolder)


def test_several_manifests_are_refused(tmp_path):
    assert find_manifest(touch(tmp_path, "manifest.json")) == tmp_path / "manifest.json"
    with pytest.raises(ConfigurationError, match="several manifests .*manifest.json, manifest_v2.json"):
        folder_source(touch(tmp_path, "manifest_v2.json"))


@pytest.mark.parametrize("kind", ["downloads", "tables", "sessions"])
def test_a_source_is_found_again_where_the_project_has_moved(tmp_path, kind):
    old, new = tmp_path / "old", tmp_path / "new"
    touch(old, "session_5/session_5.nwb", "session_5/probe_7_lfp.nwb")
    source: Source = {
        "downloads": Downloads,
        "tables": lambda f: TablesFolder(f, None),
        "sessions": NwbFolder,
    }[kind](old)
    record = source_record(source)
    shutil.move(old, new)
    files = {"5": new / "session_5/session_5.nwb"}
    again = recorded_source(record, files, lambda path: Path(path.replace(str(old), str(new))))
    assert type(again) is type(source)
    assert again.sessions() == ["5"]
    assert again.lfp_nwbs("5") == {"7": new / "session_5/probe_7_lfp.nwb"}


def test_a_source_without_its_folder_is_refused():
    with pytest.raises(ProjectError, match="has no folder"):
        recorded_source({"layout": "downloads", "folder": None, "manifest": None}, {}, Path)
