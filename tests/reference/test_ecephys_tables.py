"""Tables of a project against those that AllenSDK 2.16.2 made of the same raw tables.

Rows are compared by id: AllenSDK's order is that of its merges, ours is by id. Floats are equal to rtol 1e-12: AllenSDK
loses their last bit in reading CSV.
"""

import csv
import json
import math
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from ephysflow.ecephys.analysis_metrics import annotate_metrics, exchange, read_metrics, unknown_units
from ephysflow.ecephys.manifest import read_manifest
from ephysflow.ecephys.project_tables import ProjectTables, distinct, project_tables
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, RawTables, read_raw_table
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ProjectError

OUT_OF_BRAIN = 7
"""Units of golden get_units__default on channels without a structure: AllenSDK's filter of them does nothing there."""


@pytest.fixture(scope="module")
def golden(shared) -> Path:
    return shared / "golden" / "ecephys"


@pytest.fixture(scope="module")
def raw(golden) -> RawTables:
    cache = read_manifest(golden / "cache_csv" / "manifest.json")
    return RawTables(**{name: read_raw_table(cache.table(name), name) for name in RAW_SCHEMAS})


@pytest.fixture(scope="module")
def as_allensdk(raw) -> ProjectTables:
    """Tables with the filter of units outside the brain off, which AllenSDK's tables ignore."""
    return project_tables(raw, UnitFilters(filter_out_of_brain_units=False))


def assert_equal_to(table: pa.Table, path: Path) -> None:
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert table.column_names == header
    expected = {int(line[0]): line for line in lines}
    assert table[header[0]].to_pylist() == sorted(expected)
    for row in table.to_pylist():
        for name, text in zip(header, expected[row[header[0]]], strict=True):
            assert _same(row[name], text), f"{name} of {row[header[0]]}: {row[name]!r} is not {text!r}"


def _same(value: object, text: str) -> bool:
    if isinstance(value, list):
        items = re.findall(r"'[^']*'|nan", text)
        return value == [None if item == "nan" else item.strip("'") for item in items]
    if value is None or value != value:
        return text == ""
    if isinstance(value, (bool, str)):
        return str(value) == text
    return math.isclose(value, float(text), rel_tol=1e-12)


def test_sessions_probes_and_channels_are_those_of_allensdk(golden, as_allensdk):
    assert_equal_to(as_allensdk.sessions, golden / "get_session_table.csv")
    assert_equal_to(as_allensdk.probes, golden / "get_probes.csv")
    assert_equal_to(as_allensdk.channels, golden / "get_channels.csv")


def test_units_are_those_of_allensdk(golden, raw, as_allensdk):
    assert_equal_to(as_allensdk.units, golden / "get_units__default.csv")
    assert_equal_to(as_allensdk.units, golden / "get_units__with_out_of_brain.csv")
    all_qualities = project_tables(
        raw, UnitFilters(filter_by_validity=False, filter_out_of_brain_units=False)
    )
    assert_equal_to(all_qualities.units, golden / "get_units__not_filter_by_validity.csv")


def test_units_outside_the_brain_are_left_out_by_default_and_counts_follow(raw, as_allensdk):
    """Other than AllenSDK: its session has 8 units where its session table counts 10."""
    tables = project_tables(raw, UnitFilters())
    outside = {row["id"] for row in as_allensdk.units.to_pylist() if row["ecephys_structure_id"] is None}
    assert len(outside) == OUT_OF_BRAIN
    assert set(as_allensdk.units["id"].to_pylist()) - set(tables.units["id"].to_pylist()) == outside
    assert tables.filters[-1].removed == OUT_OF_BRAIN
    assert tables.sessions["unit_count"].to_pylist()[0] == 8
    assert sum(tables.sessions["unit_count"].to_pylist()) == tables.units.num_rows == 27 - OUT_OF_BRAIN
    for name in ("probes", "channels"):
        assert sum(getattr(tables, name)["unit_count"].to_pylist()) == tables.units.num_rows
    others = [name for name in tables.sessions.column_names if name != "unit_count"]
    assert tables.sessions.select(others).equals(as_allensdk.sessions.select(others))


def test_without_a_limit_units_without_a_value_stay(raw):
    """Other than AllenSDK, which keeps 156 of 160: NaN passes no comparison there, even with infinity."""
    none = UnitFilters(None, None, None, filter_by_validity=False, filter_out_of_brain_units=False)
    tables = project_tables(raw, none)
    assert tables.units.num_rows == 159
    assert {950000007, 950000008, 950000009} <= set(tables.units["id"].to_pylist())
    assert tables.findings == [
        (
            "units",
            "1 of 160 (id 950000011) are left out: their channels are not in the table of channels",
        )
    ]


def test_annotated_units_have_the_names_that_allensdk_throws_away(as_allensdk):
    renamed = {
        "name": "probe_name",
        "phase": "probe_phase",
        "sampling_rate": "probe_sampling_rate",
        "lfp_sampling_rate": "probe_lfp_sampling_rate",
        "local_index": "peak_channel",
    }
    expected = as_allensdk.units.rename_columns(
        [renamed.get(name, name) for name in as_allensdk.units.column_names]
    )
    assert as_allensdk.annotated_units.equals(expected)


def test_suppress_of_nothing_shows_all_columns(raw):
    tables = project_tables(raw, UnitFilters(), dict.fromkeys(RAW_SCHEMAS, ()))
    assert {"has_nwb", "isi_experiment_id", "date_of_acquisition"} <= set(tables.sessions.column_names)
    assert {"probe_name", "genotype", "air_channel_index"} <= set(tables.channels.column_names)
    # dropped by the filter, not suppressed
    assert set(RAW_SCHEMAS["units"].names) - set(tables.units.column_names) == {
        "PT_ratio",
        "amplitude",
        "duration",
        "halfwidth",
        "l_ratio",
        "recovery_slope",
        "repolarization_slope",
        "spread",
        "velocity_above",
        "velocity_below",
        "quality",
    }


def test_value_lists(golden, as_allensdk):
    expected = json.loads((golden / "misc.json").read_text())
    sessions = as_allensdk.sessions
    assert distinct(sessions, "session_type") == expected["session_types"]
    assert distinct(sessions, "full_genotype") == expected["full_genotypes"]
    assert distinct(sessions, "age_in_days") == expected["ages"]
    assert distinct(sessions, "sex") == expected["sexes"]
    # other than AllenSDK, without the null of channels outside the brain
    acronyms = [name for name in expected["structure_acronyms"] if name != "nan"]
    assert distinct(as_allensdk.channels, "ecephys_structure_acronym") == acronyms


@pytest.mark.parametrize(
    ("file", "filters", "session", "expected"),
    [
        ("session_715000000", UnitFilters(filter_out_of_brain_units=False), 715000000, "metrics_for_session"),
        (
            "brain_observatory_1.1",
            UnitFilters(filter_out_of_brain_units=False),
            None,
            "metrics_by_session_type__brain_observatory_1.1",
        ),
        (
            "session_715000000",
            UnitFilters(None, None, None, filter_by_validity=False, filter_out_of_brain_units=False),
            715000000,
            "metrics_for_session__all_units",
        ),
    ],
)
def test_annotated_metrics_are_those_of_allensdk(golden, raw, file, filters, session, expected, tmp_path):
    cache = read_manifest(golden / "cache_csv" / "manifest.json")
    path = cache.folder / f"{file}_analysis_metrics.csv"
    metrics = read_metrics(path)
    assert exchange(metrics) == (False, "")
    units = project_tables(raw, filters).units
    if session is not None:
        units = units.filter([row == session for row in units["ecephys_session_id"].to_pylist()])
    table = annotate_metrics(metrics, units)
    if expected == "metrics_for_session__all_units":
        # other than AllenSDK, the three units with NaN in the column of a limit that is off are there
        without_value = {950000007, 950000008, 950000009}
        ids = table["ecephys_unit_id"].to_pylist()
        assert without_value <= set(ids)
        table = table.filter([unit not in without_value for unit in ids])
    assert_equal_to(table, golden / f"{expected}.csv")


def test_files_of_metrics_name_units_that_are_known(golden, raw):
    for path in sorted((golden / "cache_csv").glob("*_analysis_metrics.csv")):
        assert unknown_units(read_metrics(path), raw.units) == ""


FAULTY_UNITS = {
    # AllenSDK: 76 units, in silence
    "cached_units_csv__half": (lambda text: text[: len(text) // 2], "was it cut"),
    # AllenSDK: empty and wrong are fetched again, header_only is a table of 0 units
    "cached_units_csv__header_only": (lambda text: text.splitlines(keepends=True)[0], "header and no rows"),
    "cached_units_csv__empty": (lambda text: "", "is empty"),
    "cached_units_csv__wrong": (lambda text: "a,b\n1,2\n", "is no table of units: column id"),
    "cut in a line, with a line feed": (lambda text: text[: len(text) // 2] + "\n", "was the file cut"),
    "html": (lambda text: "<!DOCTYPE html><html>500</html>\n", "HTML"),
}


@pytest.mark.parametrize("case", FAULTY_UNITS)
def test_a_damaged_table_of_units_is_refused(golden, tmp_path, case):
    damage, message = FAULTY_UNITS[case]
    path = tmp_path / "units.csv"
    path.write_text(damage((golden / "cache_csv" / "units.csv").read_text()))
    with pytest.raises(ProjectError, match=message) as error:
        read_raw_table(path, "units")
    assert str(path) in str(error.value)


def test_a_table_of_units_cut_at_a_line_is_found(golden, raw, tmp_path):
    """Fault cached_units_csv__line. AllenSDK: 35 units, in silence. Here probes without units, and metrics of unknown units, tell it."""
    lines = (golden / "cache_csv" / "units.csv").read_text().splitlines(keepends=True)
    path = tmp_path / "units.csv"
    path.write_text("".join(lines[: len(lines) // 2]))
    cut = read_raw_table(path, "units")
    tables = project_tables(RawTables(raw.sessions, raw.probes, raw.channels, cut), UnitFilters())
    assert any("have channels but no units" in reason for _, reason in tables.findings)
    metrics = read_metrics(golden / "cache_csv" / "functional_connectivity_analysis_metrics.csv")
    assert "not in the table of units" in unknown_units(metrics, cut)


FAULTY_MANIFESTS = {
    "manifest_version_0.2.0": '"0.2.0"',
    "manifest_version_0.4.0": '"0.4.0"',
    "manifest_version_0.10.0": '"0.10.0"',
    "manifest_version_None": "null",
    "manifest_version_3": "3",
}


@pytest.mark.parametrize("case", FAULTY_MANIFESTS)
def test_a_manifest_of_another_version_is_refused(golden, tmp_path, case):
    path = tmp_path / "manifest.json"
    path.write_text((golden / "manifest.json").read_text().replace('"0.3.0"', FAULTY_MANIFESTS[case]))
    with pytest.raises(ProjectError, match=re.escape("can be read are 0.2.1 and 0.3.0")) as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_a_manifest_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text('{"manifest": [')
    with pytest.raises(ProjectError, match="is no JSON"):
        read_manifest(path)


def test_version_0_2_1_is_read(golden, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text((golden / "manifest.json").read_text().replace("0.3.0", "0.2.1"))
    assert read_manifest(path).session_nwb(1) == tmp_path / "session_1" / "session_1.nwb"


def test_percent_in_the_path_of_the_cache_is_harmless(golden, tmp_path):
    """AllenSDK: TypeError, not enough arguments for format string."""
    folder = tmp_path / "100%d of %s"
    shutil.copytree(golden / "cache_csv", folder)
    cache = read_manifest(folder / "manifest.json")
    assert cache.session_metrics(715000000).parent == folder / "session_715000000"
    assert read_raw_table(cache.table("sessions"), "sessions").num_rows == 4
