"""Tables are exactly what the warehouse has, or an error that says what is wrong with its answer."""

import copy
import json
import re
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fake_warehouse import SESSION_IDS, FakeWarehouse, small_project

from ephysflow.ecephys import rma
from ephysflow.ecephys.raw_tables import RAW_SCHEMAS
from ephysflow.ecephys.rma import (
    RemoteFile,
    fetch_analysis_metrics,
    fetch_table,
    find_lfp_nwb,
    find_session_nwb,
    find_template,
)
from ephysflow.ecephys.transport import Transport
from ephysflow.errors import ConfigurationError, ProjectError

MODELS = {
    "sessions": "EcephysSession",
    "probes": "EcephysProbe",
    "channels": "EcephysChannel",
    "units": "EcephysUnit",
}


@pytest.fixture
def project():
    records, files = small_project()
    return copy.deepcopy(records), files


@pytest.fixture
def server(project):
    with FakeWarehouse(*project) as server:
        yield server


def to(server: FakeWarehouse, **given) -> Transport:
    return Transport(**{"host": server.host, "read_timeout": 0.3, "backoff": 0.0} | given)


@pytest.mark.parametrize("table", MODELS)
def test_a_table_has_the_columns_of_its_schema_and_a_row_a_record(server, table):
    fetched = fetch_table(to(server), table)
    assert fetched.schema.equals(RAW_SCHEMAS[table], check_metadata=True)
    assert fetched["id"].to_pylist() == sorted(r["id"] for r in server.records[MODELS[table]])


def test_values_are_exact(server):
    units = {row["id"]: row for row in fetch_table(to(server), "units").to_pylist()}
    for record in server.records["EcephysUnit"]:
        assert units[record["id"]] == record
    for row, record in zip(
        fetch_table(to(server), "channels").to_pylist(), server.records["EcephysChannel"], strict=True
    ):
        structure = record.pop("structure") or {"id": None, "acronym": None}
        record |= {f"ecephys_structure_{key}": value for key, value in structure.items()}
        assert row == record


def test_sessions_gather_what_lies_deeper(server):
    first, second = fetch_table(to(server), "sessions").to_pylist()
    assert first["genotype"].startswith("Sst-IRES-Cre")
    assert second["genotype"] == "wt"
    assert second["isi_experiment_id"] is None
    assert (first["session_type"], first["sex"], first["age_in_days"], first["has_nwb"]) == (
        "brain_observatory_1.1",
        "M",
        100.0,
        True,
    )


def test_a_session_without_file_or_animal_is_legal(server):
    server.records["EcephysSession"][0] |= {"specimen": None, "well_known_files": []}
    server.records["EcephysSession"][1]["specimen"]["donor"]["age"] = None
    first, second = fetch_table(to(server), "sessions").to_pylist()
    assert (first["sex"], first["age_in_days"], first["genotype"], first["has_nwb"]) == (
        None,
        None,
        "wt",
        False,
    )
    assert (second["sex"], second["age_in_days"], second["has_nwb"]) == ("F", None, True)


def test_lfp_sampling_rate_is_as_fetched(server):
    assert fetch_table(to(server), "probes")["lfp_sampling_rate"][0].as_py() == 2499.996237


def test_pages_make_one_table(project):
    with FakeWarehouse(*project) as server, FakeWarehouse(*project, largest_page=7) as paging:
        assert fetch_table(to(paging), "channels").equals(fetch_table(to(server), "channels"))
        assert len(paging.queries("EcephysChannel")) == 14
        starts = [re.search(r"start_row\$eq(\d+)", r.path)[1] for r in paging.queries("EcephysChannel")]
        assert starts == [str(k) for k in range(0, 96, 7)]


@pytest.mark.parametrize("table", MODELS)
def test_a_table_without_rows_is_legal(server, table):
    server.records[MODELS[table]] = []
    fetched = fetch_table(to(server), table)
    assert fetched.num_rows == 0
    assert fetched.schema.equals(RAW_SCHEMAS[table])


def test_a_column_that_the_warehouse_lacks_is_left_out(server):
    for record in server.records["EcephysUnit"]:
        del record["spread"]
        record["new"] = 5
    names = fetch_table(to(server), "units").column_names
    assert names == [name for name in RAW_SCHEMAS["units"].names if name != "spread"]


def test_a_table_that_is_unknown_is_named():
    with pytest.raises(ConfigurationError, match="'unit'.*units"):
        fetch_table(Transport(), "unit")


@pytest.mark.parametrize(
    "fault", ["status500", "status503", "html", "not_json", "failure", "hang", "empty_page"]
)
def test_a_fault_that_passes_costs_a_request(server, fault):
    server.fault("EcephysUnit", fault, seconds=1)
    assert fetch_table(to(server), "units").num_rows == 48
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("status500", "HTTP status 500"),
        ("html", "the answer is an HTML page: '<html><body>Down"),
        ("not_json", "the answer is no JSON: 'Datastream"),
        ("failure", "the warehouse says: Datastream read failure"),
        ("hang", "no answer within 0.3 s"),
        ("empty_page", "0 rows from row 0 on, of 48 in all"),
    ],
)
def test_a_fault_that_stays_is_named(server, fault, message):
    server.fault("EcephysUnit", fault, 9, seconds=1)
    with pytest.raises(ProjectError, match=f"model::EcephysUnit.*given up after 2 tries: {message}"):
        fetch_table(to(server, tries=2), "units")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda answer: answer["msg"], "none of the query service"),
        (lambda answer: {"success": True}, "holds no records"),
        (lambda answer: answer | {"msg": "text"}, "holds no records"),
        (lambda answer: answer | {"msg": [1]}, "holds no records"),
        (lambda answer: answer | {"total_rows": None}, "contradicts itself.*total_rows None"),
        (lambda answer: answer | {"total_rows": -1}, "48 rows from row 0 on, of -1"),
        (lambda answer: answer | {"num_rows": 47}, r"num_rows 47 \(48 records\)"),
        (lambda answer: answer | {"start_row": 48}, r"start_row 48 \(asked for 0\)"),
        (lambda answer: answer | {"total_rows": 10}, "48 rows from row 0 on, of 10"),
        (lambda answer: answer | {"total_rows": 10**12}, "more than 20000000"),
    ],
)
def test_an_answer_that_contradicts_itself_is_named(server, change, message):
    server.fault("EcephysUnit", "page", change=change)
    with pytest.raises(ProjectError, match=message):
        fetch_table(to(server, tries=1), "units")


def test_a_table_that_changes_between_pages_is_refused(project):
    with FakeWarehouse(*project, largest_page=20) as server:
        server.fault("EcephysUnit", "page", change=lambda answer: answer)
        server.fault("EcephysUnit", "page", change=lambda answer: answer | {"total_rows": 49})
        with pytest.raises(ProjectError, match="49 rows in all, but 48 by the first page"):
            fetch_table(to(server), "units")


def test_an_answer_that_is_too_large_is_not_read(server, monkeypatch):
    monkeypatch.setattr(rma, "MOST_BYTES", 1000)
    with pytest.raises(ProjectError, match="larger than"):
        fetch_table(to(server), "units")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", "x", r"'x': id is 'x', not int64"),
        ("id", 1.5, "id is 1.5, not int64"),
        ("id", True, "id is True, not int64"),
        ("id", 2**70, "id: "),
        ("id", None, "1 rows have no id"),
        ("id", 950010001, "id 950010001 comes twice"),
        ("snr", "high", "snr is 'high', not double"),
        ("snr", True, "snr is True, not double"),
        ("snr", [1], "snr is .1., not double"),
        ("quality", 1, "quality is 1, not string"),
        ("quality", "\ud800", "quality: "),
    ],
)
def test_a_value_of_another_kind_is_named(server, key, value, message):
    assert server.records["EcephysUnit"][0]["id"] == 950010000
    server.fault("EcephysUnit", "page", change=lambda answer: _with(answer, key, value))
    with pytest.raises(ProjectError, match=message):
        fetch_table(to(server), "units")


def _with(answer: dict, key: str, value: object) -> dict:
    answer["msg"][0] = answer["msg"][0] | {key: value}
    return answer


@pytest.mark.parametrize("key", ["specimen", "well_known_files"])
def test_a_session_of_another_shape_is_named(server, key):
    server.records["EcephysSession"][0][key] = 5
    with pytest.raises(ProjectError, match=f"session {SESSION_IDS[0]}"):
        fetch_table(to(server), "sessions")


def test_numbers_and_truth_values_may_come_as_text(server):
    for record in server.records["EcephysProbe"]:
        record |= {"id": str(record["id"]), "use_lfp_data": str(record["use_lfp_data"]).lower()}
        record |= {"air_channel_index": f"{record['air_channel_index']}.0"}
    probes = fetch_table(to(server), "probes")
    assert probes["has_lfp_data"].to_pylist() == [True, False, True, False]
    assert probes["air_channel_index"].to_pylist() == [22] * 4


def test_a_record_without_a_column_that_others_have_is_named(server):
    del server.records["EcephysUnit"][5]["snr"]
    with pytest.raises(ProjectError, match="record 950010005 has no snr"):
        fetch_table(to(server), "units")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["success", "start_row", "num_rows", "total_rows", "msg"]), value=json_values)
def test_no_answer_ends_in_another_error(server, key, value):
    server.fault("EcephysSession", "page", change=lambda answer: answer | {key: value})
    with suppress(ProjectError):
        assert fetch_table(to(server, tries=1), "sessions").num_rows in (0, 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.sampled_from(RAW_SCHEMAS["units"].names), value=json_values)
def test_no_value_ends_in_another_error(server, column, value):
    server.fault("EcephysUnit", "page", change=lambda answer: _with(answer, column, value))
    with suppress(ProjectError):
        assert fetch_table(to(server, tries=1), "units").num_rows == 48


# --- metrics


def test_metrics_of_a_session_are_typed_and_sorted(server):
    metrics = fetch_analysis_metrics(to(server), session_id=SESSION_IDS[0])
    assert metrics.schema == pa.schema(
        [
            ("ecephys_unit_id", pa.int64()),
            ("g_osi_dg", pa.float64()),
            ("fano_fl", pa.float64()),
            ("on_screen_rf", pa.float64()),
            ("p_value_rf", pa.bool_()),
            ("pref_image_ns", pa.int64()),
        ]
    )
    assert metrics["ecephys_unit_id"].to_pylist() == list(range(950010000, 950010024))
    assert metrics["fano_fl"].null_count == 2  # NaN in the JSON text
    first = json.loads(server.records["EcephysUnitMetricBundle"][0]["data"])
    assert {name: metrics[name][0].as_py() for name in first} == first


def test_metrics_of_a_type_are_those_of_its_sessions(server):
    server.records["EcephysSession"][1]["stimulus_name"] = "brain_observatory_1.1"
    metrics = fetch_analysis_metrics(to(server), session_type="brain_observatory_1.1")
    assert metrics.num_rows == 48
    assert metrics["pref_image_ns"].null_count == 24


def test_a_session_without_metrics_gives_no_rows(server):
    assert fetch_analysis_metrics(to(server), session_id=1).num_rows == 0


def test_metrics_of_what_cannot_be_asked_for_are_refused(server):
    for chosen in ({}, {"session_id": 1, "session_type": "a"}, {"session_type": "a'],x[id$in1"}):
        with pytest.raises(ConfigurationError, match="session_type"):
            fetch_analysis_metrics(to(server), **chosen)
    assert not server.requests


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([None, True], pa.bool_(), [None, True]),
        ([float("nan"), True], pa.bool_(), [None, True]),
        (["a", None], pa.string(), ["a", None]),
        ([1, "a"], pa.string(), ["1", "a"]),
        ([True, 0.5], pa.string(), ["true", "0.5"]),
        ([[1, 2], 2**60], pa.string(), ["[1, 2]", str(2**60)]),
        ([None, float("nan")], pa.float64(), [None, None]),
        (["\ud800", "b"], pa.string(), ["?", "b"]),
    ],
)
def test_a_metric_has_the_type_that_holds_all_its_values(server, values, kind, expected):
    bundles = server.records["EcephysUnitMetricBundle"]
    for bundle, value in zip(bundles, values, strict=False):
        bundle["data"] = json.dumps({"m": value})
    del bundles[2:]
    metrics = fetch_analysis_metrics(to(server), session_id=SESSION_IDS[0])
    assert metrics["m"].type == kind
    assert metrics["m"].to_pylist() == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data is no text"),
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ("[" * 100_000, "is no JSON"),
        (" " * 2_000_000, "at most"),
        ('{"ecephys_unit_id": 1}', "cannot be one"),
        (json.dumps({str(k): 1 for k in range(2001)}), "2006 names"),
        ('{"\\ud800": 1}', "name of a metric"),
    ],
)
def test_metrics_that_cannot_be_read_are_named(server, data, message):
    server.records["EcephysUnitMetricBundle"][3]["data"] = data
    with pytest.raises(ProjectError, match=message):
        fetch_analysis_metrics(to(server), session_id=SESSION_IDS[0])


def test_two_sets_of_metrics_for_one_unit_are_refused(server):
    server.records["EcephysUnitMetricBundle"][3]["ecephys_unit_id"] = 950010000
    with pytest.raises(ProjectError, match="950010000 comes twice"):
        fetch_analysis_metrics(to(server), session_id=SESSION_IDS[0])


# --- files


def test_files_are_found(server):
    probe = server.records["EcephysProbe"][0]["id"]
    assert find_session_nwb(to(server), SESSION_IDS[0]) == RemoteFile(
        9001, server.url(9001), f"session_{SESSION_IDS[0]}.nwb"
    )
    assert find_lfp_nwb(to(server), probe) == RemoteFile(9002, server.url(9002), f"probe_{probe}_lfp.nwb")
    assert find_template(to(server), "natural_movie", 3).name == "natural_movie_3.npy"
    assert find_template(to(server), "natural_scene", 0).name == "0.tiff"


def test_a_file_that_the_warehouse_lacks_is_named(server):
    with pytest.raises(ProjectError, match="session 1: the warehouse has no NWB file"):
        find_session_nwb(to(server), 1)
    listed = server.records["EcephysProbe"][2]
    assert listed["use_lfp_data"]
    with pytest.raises(ProjectError, match=f"probe {listed['id']}: .*no LFP file.*has_lfp_data all the same"):
        find_lfp_nwb(to(server), listed["id"])
    with pytest.raises(ProjectError, match="natural_movie 2: .* it has 1, 3"):
        find_template(to(server), "natural_movie", 2)
    with pytest.raises(ProjectError, match="natural_scene 118: .* it has 0, 1"):
        find_template(to(server), "natural_scene", 118)
    with pytest.raises(ConfigurationError, match="natural_movie, natural_scene"):
        find_template(to(server), "movie", 1)


def test_other_files_among_the_templates_are_ignored(server):
    assert any(r["path"].endswith("warped.h5") for r in server.records["WellKnownFile"])
    assert find_template(to(server), "natural_scene", 1).id == 9007


def test_two_files_where_one_is_expected_are_named(server):
    files = server.records["WellKnownFile"]
    files.append(files[0] | {"id": 99})
    with pytest.raises(ProjectError, match=r"2 are listed \(ids 99, 9001\)"):
        find_session_nwb(to(server), SESSION_IDS[0])
    movie = next(r for r in files if r["path"].endswith("natural_movie_1.npy"))
    files.append(movie | {"id": 100})
    with pytest.raises(ProjectError, match="natural_movie 1 is listed twice"):
        find_template(to(server), "natural_movie", 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": None}, "path is None"),
        ({"path": "/external/.."}, "does not end in the name of a file"),
        ({"path": "/a\\b.nwb"}, "does not end in the name of a file"),
        ({"path": ""}, "does not end in the name of a file"),
        ({"download_link": None}, "download_link is None"),
        ({"download_link": ""}, "download link"),
        ({"download_link": "http://elsewhere.org/x"}, "another host"),
    ],
)
def test_a_file_that_cannot_be_named_or_reached_is_refused(server, given, message):
    server.records["WellKnownFile"][0] |= given
    with pytest.raises(ProjectError, match=message):
        find_session_nwb(to(server), SESSION_IDS[0])


def test_the_small_project_is_the_same_at_every_call():
    assert small_project() == small_project()
