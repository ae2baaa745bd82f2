"""The raw tables of several sessions as one, and what the filters look at."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from session_nwb import write_allen_session, write_file, write_plain_session, write_table
from tests.ecephys_projects import one_project, plan_project, run_planned, run_project

from ephysflow import paths
from ephysflow.ecephys.raw_tables import RawTables
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.ecephys.tables_step import stacked_tables, unit_quality
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.io.tables import read_provenance, read_rows, read_table


def rows_of(path: Path) -> RawTables:
    with SessionFile(path) as session:
        return session_rows(session)


def renamed(path: Path, identifier: str) -> Path:
    with h5py.File(path, "a") as file:
        del file["identifier"]
        file["identifier"] = identifier
    return path


@pytest.fixture
def allen(tmp_path) -> RawTables:
    return rows_of(write_allen_session(tmp_path / "allen.nwb"))


@pytest.fixture
def plain(tmp_path) -> RawTables:
    return rows_of(write_plain_session(tmp_path / "plain.nwb"))


# ---------------------------------------------------------------- stacking


def test_integer_ids_stay_integers(tmp_path, allen):
    other = rows_of(renamed(write_allen_session(tmp_path / "other.nwb"), "716"))
    raw, left_out = stacked_tables({"715": allen, "716": other})
    assert left_out == []
    assert raw.sessions["id"].to_pylist() == [715, 716]
    assert raw.units["ecephys_session_id"].to_pylist() == [715] * 5 + [716] * 5
    assert raw.units["id"].to_pylist() == allen.units["id"].to_pylist() * 2


def test_ids_of_sessions_are_their_names_in_the_project(allen, plain):
    raw, left_out = stacked_tables({"715": allen, "plain": plain})
    assert left_out == []
    assert raw.sessions["id"].to_pylist() == ["715", "plain"]
    assert raw.sessions["identifier"].to_pylist() == ["715", "A8604-211122"]
    for name in ("probes", "channels", "units"):
        found = set(getattr(raw, name)["ecephys_session_id"].to_pylist())
        assert found == {"715", "plain"}
        assert pa.types.is_integer(getattr(raw, name)["id"].type)


def test_names_that_are_numbers_make_ids_that_are_integers(allen, plain):
    raw, _ = stacked_tables({"715": allen, "8": plain})
    assert raw.sessions["id"].to_pylist() == [715, 8]
    assert set(raw.units["ecephys_session_id"].to_pylist()) == {715, 8}


def test_columns_that_one_session_lacks_are_null_there(allen, plain):
    raw, _ = stacked_tables({"allen": allen, "plain": plain})
    labels, quality = raw.units["label"].to_pylist(), raw.units["quality"].to_pylist()
    assert labels == [None] * 5 + ["a"] * 5
    assert quality[5:] == [None] * 5
    assert sorted(quality[:5]) == ["good"] * 4 + ["noise"]


def test_columns_of_different_number_types_become_the_wider_one(tmp_path, plain):
    parts = {
        name: rows_of(renamed(write_plain_session(tmp_path / name, units={"depth": values}), name))
        for name, values in (("a", [1, 2, 3, 4, 5]), ("b", [0.5] * 5))
    }
    raw, _ = stacked_tables(parts)
    assert raw.units["depth"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0] + [0.5] * 5


def test_columns_that_are_numbers_here_and_texts_there_are_texts(tmp_path):
    parts = {
        name: rows_of(renamed(write_plain_session(tmp_path / name, units={"group": values}), name))
        for name, values in (("a", [1, 2, 3, 4, 5]), ("b", ["x"] * 5))
    }
    raw, _ = stacked_tables(parts)
    assert raw.units["group"].to_pylist() == ["1", "2", "3", "4", "5"] + ["x"] * 5
    assert pa.types.is_integer(raw.units["id"].type)


def test_of_two_files_with_one_id_the_first_is_taken(allen):
    raw, left_out = stacked_tables({"a": allen, "b": allen, "c": allen})
    assert raw.sessions.num_rows == 1
    assert raw.units.num_rows == 5
    assert [row["session"] for row in left_out] == ["b", "c"]
    assert left_out[1]["reason"] == "has the id 715, as session a has: only that one is in the tables"


def test_sessions_without_units_keep_the_columns(tmp_path, allen):
    empty = tmp_path / "empty.nwb"
    write_file(empty, "716")
    with h5py.File(empty, "a") as file:
        write_table(file, "units", {"spike_times": []}, np.empty(0, int), ("spike_times",))
    raw, _ = stacked_tables({"715": allen, "716": rows_of(empty)})
    assert raw.sessions["id"].to_pylist() == [715, 716]
    assert raw.units.column_names == allen.units.column_names


# ---------------------------------------------------------------- quality


def test_quality_is_of_all_units_and_says_which_are_kept(allen):
    quality = unit_quality(allen, UnitFilters())
    kept = dict(zip(quality["id"].to_pylist(), quality["kept"].to_pylist(), strict=True))
    assert kept == {30: True, 10: True, 20: False, 40: False, 50: False}
    assert set(quality["quality"].to_pylist()) == {"good", "noise"}
    assert {"amplitude_cutoff", "presence_ratio", "isi_violations"} <= set(quality.column_names)
    assert all(unit_quality(allen, UnitFilters(None, None, None, False, False))["kept"].to_pylist())


def test_plain_units_have_a_quality_table_too(plain):
    quality = unit_quality(plain, UnitFilters())
    assert quality["id"].to_pylist() == list(range(5))


# ---------------------------------------------------------------- the step


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_allen_session(Path("data/session_715.nwb"))
    write_allen_session(Path("data/copy.nwb"))
    Path("data/broken.nwb").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    plan = run_project(one_project("nwb", folder="data", products=["units"]))
    where = (Path("results"), "p")
    assert read_table(paths.project_table(*where, "sessions"))["id"].to_pylist() == [715]
    rows = {
        row["session"]: row for row in read_rows(paths.project_table(*where, "exclusions")) if not row["kept"]
    }
    assert set(rows) == {"broken", "copy"}
    assert "has the id 715, as session 715 has" in rows["copy"]["reason"]
    assert "data/broken.nwb" in rows["broken"]["reason"]
    assert all(file.is_file() for file in plan.projects["p"].outputs())
    inputs = read_provenance(paths.project_table(*where, "units")).inputs
    assert len(inputs) == 3 * 5


def test_a_session_that_lacks_its_lfp_still_says_what_else_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_allen_session(Path("session_715.nwb"))
    Path("sheet.tsv").write_text("session_id\tlfp_probes\n715\t900\n")
    with h5py.File("session_715.nwb", "a") as file:
        file["units/spike_times"][0] = np.nan
    run_project(one_project("nwb", folder=".", sessions="sheet.tsv", products=["spikes", "lfp"]))
    rows = read_rows(paths.project_table(Path("results"), "p", "exclusions"))
    assert {row["stage"] for row in rows if row["session"] == "715" and not row["kept"]} == {
        "lfp",
        "spikes",
    }


def test_an_unknown_type_of_analysis_metrics_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = write_cache(tmp_path / "cache")
    (cache / "odd_analysis_metrics.csv").write_text("ecephys_unit_id,g_osi\n30,0.5\n99,0.1\n")
    (cache / "kind_analysis_metrics.csv").write_text("ecephys_unit_id,g_osi\n30,0.5\n99,0.1\n")
    plan, file = plan_project(one_project("tables", folder="cache", analysis_metrics=["odd", "kind"]))
    failures = run_planned(plan, file)
    assert list(failures) == ["join_analysis_metrics(p, odd)"]
    assert "session type 'odd' is unknown (known: kind)" in str(failures["join_analysis_metrics(p, odd)"])
    joined = read_table(paths.analysis_metrics(Path("results"), "p", "kind"))
    assert joined["ecephys_unit_id"].to_pylist() == [30]
    assert joined["g_osi"].to_pylist() == [0.5]
    rows = read_rows(paths.project_table(Path("results"), "p", "exclusions"))
    assert any("1 of 2 units with analysis metrics are not in the table" in row["reason"] for row in rows)


def write_cache(folder: Path) -> Path:
    """Write the four tables of a session with two units, 30 and 31, of which the second is noise."""
    folder.mkdir()
    metrics = "amplitude_cutoff,presence_ratio,isi_violations,quality"
    tables = {
        "sessions": "id,session_type,genotype,age_in_days,sex\n5,kind,wt,100,M\n",
        "probes": "id,ecephys_session_id,name,lfp_sampling_rate,lfp_temporal_subsampling_factor\n7,5,probeA,2500,2\n",
        "channels": "id,ecephys_probe_id,local_index,ecephys_structure_acronym,ecephys_structure_id\n8,7,0,VISp,385\n",
        "units": f"id,ecephys_channel_id,{metrics}\n30,8,0,1,0,good\n31,8,0,1,0,noise\n",
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_the_settings_of_the_tables_are_in_their_provenance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cache(tmp_path / "cache")
    run_project(one_project("tables", folder="cache", suppress={"units": ["quality"]}))
    settings = json.loads(read_provenance(paths.project_table(Path("results"), "p", "units")).settings)
    assert settings["suppress"] == {"units": ["quality"]}
    assert settings["source"] == {"layout": "tables", "folder": "cache", "manifest": None}
