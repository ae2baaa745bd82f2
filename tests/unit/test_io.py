"""Files are whole or absent, and damage is seen."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing, write_text
from ephysflow.io.canonical import canonical_json
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import column, read_provenance, read_rows, write_table

PROVENANCE = Provenance("test", "a", canonical_json({"x": 1}), "c0de", {"numpy": "2"}, {"f": "00"})
SCHEMA = pa.schema([column("name", pa.string()), column("amp", pa.float64(), "nA", "amplitude")])


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail_halfway() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_halfway()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_table_keeps_values_units_and_provenance(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, [{"name": "a", "amp": 0.1}, {"name": "b"}], SCHEMA, PROVENANCE)
    assert read_rows(path) == [{"name": "a", "amp": 0.1}, {"name": "b", "amp": None}]
    assert read_provenance(path) == PROVENANCE
    assert pa.parquet.read_schema(path).field("amp").metadata[b"unit"] == b"nA"


def test_equal_work_gives_equal_bytes(tmp_path):
    for name in "ab":
        write_table(tmp_path / name, [{"name": "a", "amp": 0.1}], SCHEMA, PROVENANCE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_unknown_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ampp"):
        write_table(tmp_path / "t", [{"ampp": 1}], SCHEMA, PROVENANCE)


@given(cut=st.floats(0, 0.999))
def test_truncated_table_is_refused(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    write_table(path, [{"name": str(i), "amp": i} for i in range(50)], SCHEMA, PROVENANCE)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(ResultError, match="t.parquet"):
        read_rows(path)


def test_flipped_byte_inside_the_data_is_seen(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, [{"name": str(i), "amp": i / 7} for i in range(500)], SCHEMA, PROVENANCE)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(ResultError, match="t.parquet"):
        read_rows(path)


def test_foreign_parquet_is_refused(tmp_path):
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(ResultError, match="not written by ephysflow"):
        read_rows(tmp_path / "t.parquet")


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_canonical_json_does_not_depend_on_order(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_canonical_json_tells_1_from_1_0_and_refuses_nan():
    assert canonical_json(1) != canonical_json(1.0)
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})
