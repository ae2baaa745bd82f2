"""Raw tables from CSV and Parquet: exact values, and one clear error for what cannot be used."""

import struct

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ephysflow.ecephys.raw_tables import RAW_SCHEMAS, inferred, read_raw_table
from ephysflow.errors import ProjectError

TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)

CHANNELS = (
    "id,ecephys_probe_id,local_index,probe_horizontal_position,ecephys_structure_id,ecephys_structure_acronym"
)


def csv_of(tmp_path, text, name="channels.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def channels(tmp_path, *lines, header=CHANNELS):
    return read_raw_table(csv_of(tmp_path, "\n".join([header, *lines, ""])), "channels")


def test_columns_have_the_types_and_descriptions_of_the_schema(tmp_path):
    table = channels(tmp_path, "5,1,0,11,385,VISp", "3,1,1,59.5,,", header=CHANNELS)
    assert table.to_pylist() == [
        {
            "id": 5,
            "ecephys_probe_id": 1,
            "local_index": 0,
            "probe_horizontal_position": 11.0,
            "ecephys_structure_id": 385,
            "ecephys_structure_acronym": "VISp",
        },
        {
            "id": 3,
            "ecephys_probe_id": 1,
            "local_index": 1,
            "probe_horizontal_position": 59.5,
            "ecephys_structure_id": None,
            "ecephys_structure_acronym": None,
        },
    ]
    for field in table.schema:
        assert field.equals(RAW_SCHEMAS["channels"].field(field.name), check_metadata=True)


@TMP
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_floats_are_exact_to_the_last_bit(tmp_path, values):
    lines = [f"{i},1,{value!r}" for i, value in enumerate(values)]
    table = channels(tmp_path, *lines, header="id,ecephys_probe_id,probe_vertical_position")
    found = table["probe_vertical_position"].to_pylist()
    assert struct.pack(f"{len(values)}d", *found) == struct.pack(f"{len(values)}d", *values)


@TMP
@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1)
)
def test_texts_are_as_they_were_written(tmp_path, values):
    frame = pd.DataFrame({"ecephys_probe_id": 1, "ecephys_structure_acronym": values})
    path = tmp_path / "channels.csv"
    # a lone carriage return is not quoted by pandas
    frame["ecephys_structure_acronym"] = frame["ecephys_structure_acronym"].str.replace("\r", "")
    frame = frame[frame["ecephys_structure_acronym"] != ""]
    if frame.empty:
        return
    frame.to_csv(path, index_label="id")
    table = read_raw_table(path, "channels")
    assert table["ecephys_structure_acronym"].to_pylist() == frame["ecephys_structure_acronym"].tolist()


def test_integers_written_as_numbers_and_words_for_nothing_are_read(tmp_path):
    table = channels(tmp_path, "1.0,1,0,NA,385.0,NA", "2.0,1,1,nan,None,nan")
    assert table["id"].to_pylist() == [1, 2]
    assert table["ecephys_structure_id"].to_pylist() == [385, None]
    assert table["probe_horizontal_position"].to_pylist()[0] is None
    # in text they are text
    assert table["ecephys_structure_acronym"].to_pylist() == ["NA", "nan"]


def test_flags_are_read_as_allensdk_writes_them(tmp_path):
    text = "id,ecephys_session_id,has_lfp_data\n1,7,True\n2,7,False\n3,7,\n"
    table = read_raw_table(csv_of(tmp_path, text), "probes")
    assert table["has_lfp_data"].to_pylist() == [True, False, None]


def test_further_columns_are_kept_with_the_type_of_their_values(tmp_path):
    table = channels(
        tmp_path, "1,1,4,0.5,True,2020-01-01,x", "2,1,5,,False,,7", header="id,ecephys_probe_id,n,f,b,d,t"
    )
    assert table.column_names == ["id", "ecephys_probe_id", "n", "f", "b", "d", "t"]
    assert [str(field.type) for field in table.schema][2:] == ["int64", "double", "bool", "string", "string"]


def test_zeros_and_ones_are_no_flags():
    assert inferred(pa.chunked_array([["0", "1"]])).type == pa.int64()
    assert inferred(pa.chunked_array([["True", "1"]])).type == pa.string()


def test_windows_line_ends_a_byte_order_mark_and_quotes_are_read(tmp_path):
    text = b'\xef\xbb\xbfid,ecephys_probe_id,ecephys_structure_acronym\r\n1,1,"a, ""b""\r\nc"\r\n'
    table = read_raw_table(csv_of(tmp_path, text), "channels")
    assert table["ecephys_structure_acronym"].to_pylist() == ['a, "b"\r\nc']


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['VISp', 'CA1']", ["VISp", "CA1"]),
        ("['VISp' \"CA1\" nan]", ["VISp", "CA1", None]),
        ("('VISp',)", ["VISp"]),
        ("[]", []),
    ],
)
def test_lists_of_acronyms_are_parsed(tmp_path, text, expected):
    quoted = text.replace('"', '""')
    path = csv_of(tmp_path, f'id,session_type,structure_acronyms\n1,a,"{quoted}"\n2,a,\n')
    table = read_raw_table(path, "sessions")
    assert table["ecephys_structure_acronyms"].to_pylist() == [expected, None]


@pytest.mark.parametrize("text", ["__import__('os')", "['a'", "[1]", "['a'] + ['b']", "VISp"])
def test_what_is_no_list_of_acronyms_is_refused(tmp_path, text):
    path = csv_of(tmp_path, f'id,session_type,structure_acronyms\n1,a,"{text}"\n')
    with pytest.raises(ProjectError, match=r"row 2 \(the header is row 1\): structure_acronyms"):
        read_raw_table(path, "sessions")


HEADER = "id,ecephys_probe_id\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (HEADER, "has a header and no rows"),
        (HEADER + "1,2\n3", "does not end with a line feed: was it cut"),
        (HEADER + "1,2\n3\n", r"row 3 \(the header is row 1\) has 1 fields, the header 2: was the file cut"),
        (HEADER + "1,2\n3,4,5\n", r"row 3 \(the header is row 1\) has 3 fields"),
        (HEADER + "1,2\n2,2\n1,2\n", r"row 4 \(the header is row 1\): id 1 is there already, in row 2"),
        (HEADER + "1,2\nx,2\n", r"row 3 \(the header is row 1\): id is 'x', which is not an integer"),
        (HEADER + "1,2\n1.5,2\n", r"row 3 .*: id is '1.5', which is not an integer"),
        (HEADER + "1,2\n0x10,2\n", r"row 3 .*: id is '0x10', which is not an integer"),
        (HEADER + "1,2\n1e300,2\n", r"row 3 .*: id is '1e300', which is not an integer"),
        (HEADER + "1,2\n9007199254740993.0,2\n", r"row 3 .*: id is '9007199254740993.0'"),
        (HEADER + "99999999999999999999,2\n", "row 2 .*: id is '99999999999999999999'"),
        (HEADER + "1,2\n-4,2\n", r"row 3 .*: id -4 is negative"),
        (HEADER + "1,2\n,2\n", r"row 3 .*: id is missing"),
        (HEADER + "1,True\n", "row 2 .*: ecephys_probe_id is 'True'"),
        ("id,x\n1,2\n", r"no table of channels: column ecephys_probe_id is missing \(there is: id, x\)"),
        ("id;ecephys_probe_id\n1;2\n", r"column id and ecephys_probe_id is missing"),
        (",id,ecephys_probe_id\n0,1,2\n", "column 1 has no name"),
        ("id,ecephys_probe_id,id\n1,2,3\n", "column id is there more than once"),
        ("<html>\n<body>500</body>\n", "is an HTML or XML page"),
        ("\n <!DOCTYPE html>\n", "is an HTML or XML page"),
        (
            "id,ecephys_probe_id,probe_vertical_position\n1,2,3\n2,2,4 um\n",
            "row 3 .*position is '4 um'.*a number",
        ),
        (b"id,ecephys_probe_id\n1,\xff\n", "UTF-8"),
        (b"\xff\xfe1,2\n", "no header of a CSV table in UTF-8"),
        (b'id,ecephys_probe_id\n1,"2\n', "row 2"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    path = csv_of(tmp_path, text)
    with pytest.raises(ProjectError, match=message) as error:
        read_raw_table(path, "channels")
    assert str(path) in str(error.value)


def test_a_flag_that_is_none_is_refused(tmp_path):
    path = csv_of(tmp_path, "id,ecephys_session_id,has_lfp_data\n1,7,True\n2,7,maybe\n")
    with pytest.raises(ProjectError, match="row 3 .*has_lfp_data is 'maybe'.*True or False"):
        read_raw_table(path, "probes")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ProjectError, match="cannot be read: No such file"):
        read_raw_table(tmp_path / "units.csv", "units")


@TMP
@given(st.binary(max_size=200).map(lambda tail: HEADER.encode() + b"1,2\n" + tail))
def test_any_content_is_read_or_refused(tmp_path, content):
    path = csv_of(tmp_path, content)
    try:
        table = read_raw_table(path, "channels")
    except ProjectError:
        return
    assert table["id"].to_pylist()[0] == 1


@pytest.mark.parametrize("name", ["channels.parquet", "channels.pq"])
def test_parquet_of_pandas_is_read(tmp_path, name):
    frame = pd.DataFrame(
        {
            "ecephys_probe_id": pd.array([1, 1], dtype="int32"),
            "ecephys_structure_id": [385.0, float("nan")],
            "ecephys_structure_acronym": pd.Categorical(["VISp", None]),
            "probe_vertical_position": pd.array([20, 40], dtype="float32"),
            "note": ["a", "b"],
        },
        index=pd.Index([8, 9], name="id"),
    )
    frame.to_parquet(tmp_path / name)
    table = read_raw_table(tmp_path / name, "channels")
    assert table.column_names[:2] == ["id", "ecephys_probe_id"]
    assert table["id"].to_pylist() == [8, 9]
    assert table["ecephys_structure_id"].to_pylist() == [385, None]
    assert table["ecephys_structure_acronym"].to_pylist() == ["VISp", None]
    assert table["note"].to_pylist() == ["a", "b"]
    assert table.schema.field("probe_vertical_position").type == pa.float64()


def test_parquet_is_read_as_csv_is(tmp_path):
    from_csv = channels(tmp_path, "5,1,0,11,385,VISp", "3,1,1,59.5,,")
    pq.write_table(from_csv, tmp_path / "channels.parquet")
    assert read_raw_table(tmp_path / "channels.parquet", "channels").equals(from_csv)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "b"], "ecephys_probe_id": [1, 1]}, "row 1: id is 'a', which is not an integer"),
        ({"id": [1.0, 1.5], "ecephys_probe_id": [1, 1]}, "row 2: id is 1.5"),
        ({"id": [1, 1], "ecephys_probe_id": [1, 1]}, "row 2: id 1 is there already, in row 1"),
        ({"id": [[1], [2]], "ecephys_probe_id": [1, 1]}, "column id is of type list"),
        ({"id": [1, 2]}, "column ecephys_probe_id is missing"),
        ({"id": pa.array([], pa.int64()), "ecephys_probe_id": pa.array([], pa.int64())}, "no rows"),
    ],
)
def test_parquet_that_cannot_be_used_is_refused(tmp_path, columns, message):
    path = tmp_path / "channels.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ProjectError, match=message):
        read_raw_table(path, "channels")


def test_cut_parquet_is_refused(tmp_path):
    path = tmp_path / "channels.parquet"
    pq.write_table(pa.table({"id": [1], "ecephys_probe_id": [1]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ProjectError, match="is no Parquet table, or was cut"):
        read_raw_table(path, "channels")
    path.write_text("id,ecephys_probe_id\n1,1\n")
    with pytest.raises(ProjectError, match="is no Parquet table, or was cut"):
        read_raw_table(path, "channels")


def test_parquet_with_texts_that_are_no_utf8_is_refused(tmp_path):
    path = tmp_path / "channels.parquet"
    text = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": [1], "ecephys_probe_id": [1], "note": text}), path)
    with pytest.raises(ProjectError, match="is no Parquet table, or was cut"):
        read_raw_table(path, "channels")


def test_parquet_that_declares_too_many_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ephysflow.ecephys.raw_tables.MAX_ROWS", 1)
    path = tmp_path / "channels.parquet"
    pq.write_table(pa.table({"id": [1, 2], "ecephys_probe_id": [1, 1]}), path)
    with pytest.raises(ProjectError, match="declares 2 rows; read are at most 1"):
        read_raw_table(path, "channels")
