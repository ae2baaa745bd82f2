"""Tables of electrodes: BlueRecording's unchanged, further columns, and what is refused."""

import contextlib
import csv
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular import electrode_table
from ephysflow.extracellular.electrode_table import (
    COLUMNS,
    NORMAL,
    POSITIVE,
    TableRow,
    read_electrode_table,
    write_electrode_table,
)
from ephysflow.extracellular.electrode_types import parse_type

GOLDEN = {
    "circuitTest/electrodes.csv": 8,
    "single_L5/electrodes_close.csv": 6,
    "single_L5/electrodes_csd.csv": 10,
    "single_L5/electrodes_distant.csv": 6,
    "synth3/electrodes.csv": 33,
    "synth3_csdidx/electrodes.csv": 8,
    "synth3_names/electrodes.csv": 3,
}


def rows_of(folder, text):
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_electrode_table(path)


@pytest.mark.parametrize("name", GOLDEN)
def test_tables_of_bluerecording(shared, name):
    path = shared / "golden/extracellular" / name
    rows = read_electrode_table(path)
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert len(rows) == GOLDEN[name]
    assert [row.name for row in rows] == [line[0] for line in lines]
    assert [row.position for row in rows] == [tuple(map(float, line[1:4])) for line in lines]
    assert [row.texts["type"] for row in rows] == [line[6] for line in lines]
    assert [row.texts.get("region", "NA") for row in rows] == [line[5].strip() for line in lines]
    assert [row.texts.get("layer", "NA") for row in rows] == [line[4] for line in lines]
    assert all(not row.numbers for row in rows)
    for row in rows:
        parse_type(row.texts["type"], "here")


def test_blanks_integers_and_missing_values(tmp_path):
    rows = rows_of(
        tmp_path,
        '\ufeffwhatever, x ,y,z,layer,region,type\r\n b2 ,1,-2,3e1,NA, Outside,\r\n\r\n"a, 1",0.5,0,-0,,"S1; 5",PointSource\r\n',
    )
    assert rows == [
        TableRow("b2", 2, (1.0, -2.0, 30.0), {"region": "Outside"}, {}),
        TableRow("a, 1", 4, (0.5, 0.0, 0.0), {"region": "S1; 5", "type": "PointSource"}, {}),
    ]
    assert all(type(value) is float for row in rows for value in row.position)


def test_further_columns_and_any_order(tmp_path):
    row = rows_of(
        tmp_path, ",z,sigma,y,x,normal_z,reference,field,contact_radius\ne,3,0.3,2,1,-1,ref,f.h5,6\n"
    )[0]
    assert row.position == (1, 2, 3)
    assert row.numbers == {"sigma": 0.3, "normal_z": -1, "contact_radius": 6}
    assert row.texts == {"reference": "ref", "field": "f.h5"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "column x, y, z is missing"),
        ("name,x,y,z\n", "has no electrodes"),
        ("name,x,y\ne,1,2\n", "column z is missing"),
        ("name,x,y,z,x\ne,1,2,3,4\n", "column 'x' is there twice"),
        ("name,x,y,z,depth\ne,1,2,3,4\n", "column 'depth' is unknown; known are x, y, z, layer"),
        ("name,x,y,z,Sigma\ne,1,2,3,4\n", "column 'Sigma' is unknown"),
        ("name,x,y,z\ne,1,2\n", "line 2 has 3 values for 4 columns"),
        ("name,x,y,z\ne,1,2,3,4\n", "line 2 has 5 values for 4 columns"),
        ("name,x,y,z\ne,1,2,3\ne,4,5,6\n", "line 3: electrode 'e' is in line 2 already"),
        ("name,x,y,z\ne,1,2,3\n e ,4,5,6\n", "line 3: electrode 'e' is in line 2 already"),
        ("name,x,y,z\n,1,2,3\n", "line 2: '' cannot be the name"),
        ("name,x,y,z\na/b,1,2,3\n", "line 2: 'a/b' cannot be the name"),
        ("name,x,y,z\n..,1,2,3\n", "line 2: '..' cannot be the name"),
        ('name,x,y,z\n"a\nb",1,2,3\n', "cannot be the name"),
        ("name,x,y,z\n" + "e" * 201 + ",1,2,3\n", "cannot be the name"),
        ("name,x,y,z\ne\0,1,2,3\n", "NUL"),
        ("name,x,y,z\ne,one,2,3\n", "line 2 (electrode 'e'): column x: 'one' is not a number"),
        ("name,x,y,z\ne,1,,3\n", "column y: '' is not a number"),
        ("name,x,y,z\ne,1,2,NA\n", "column z: 'NA' is not a number"),
        ("name,x,y,z\ne,1,2,nan\n", "column z: 'nan' is not a number"),
        ("name,x,y,z\ne,1,2,-inf\n", "column z: '-inf' is not a number"),
        ("name,x,y,z\ne,1,2,1_0\n", "column z: '1_0' is not a number"),
        (
            "name,x,y,z\ne,1,2,1e300\n",
            "column z: '1e300' is not a number; allowed are finite ones up to 1e+09",
        ),
        ("name,x,y,z,sigma\ne,1,2,3,0\n", "column sigma: '0' must be above 0"),
        ("name,x,y,z,sigma_z\ne,1,2,3,-0.3\n", "column sigma_z: '-0.3' must be above 0"),
        ("name,x,y,z,cutoff\ne,1,2,3,1e-320\n", "column cutoff: '1e-320' must be above 0"),
        ("name,x,y,z,thickness\ne,1,2,3,thick\n", "column thickness: 'thick' is not a number"),
        ('name,x,y,z\n"e,1,2,3\n', "cannot be read"),
        (b"name,x,y,z\n\xff,1,2,3\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, named):
    with pytest.raises(ConfigurationError) as error:
        rows_of(tmp_path, text)
    assert named in str(error.value)
    assert str(tmp_path / "table.csv") in str(error.value)


def test_files_that_are_no_tables(tmp_path, monkeypatch):
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "none" / "table.csv"):
        with pytest.raises(ConfigurationError, match=str(path)):
            read_electrode_table(path)
    monkeypatch.setattr(electrode_table, "MAX_BYTES", 10)
    with pytest.raises(ConfigurationError, match="more than 10 bytes"):
        rows_of(tmp_path, "name,x,y,z\ne,1,2,3\n")


CELL = st.one_of(
    st.sampled_from(["", "NA", "nan", "1", "-2.5", "1e400", "0", "x", '"', " 7 ", "\0", "a\nb", "e1"]),
    st.floats().map(repr),
    st.text(max_size=5),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(st.sampled_from([*COLUMNS, "name", "other"]), max_size=6),
    table=st.lists(st.lists(CELL, max_size=10), max_size=6),
)
def test_any_table_gives_sound_rows_or_one_error(tmp_path, columns, table):
    header = ["name", "x", "y", "z", *columns]
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([header, *table])
    try:
        rows = read_electrode_table(path)
    except ConfigurationError:
        return
    assert len({row.name for row in rows}) == len(rows) > 0
    for row in rows:
        assert all(math.isfinite(value) for value in (*row.position, *row.numbers.values()))
        assert all(row.numbers[key] > 0 for key in POSITIVE if key in row.numbers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), header=st.sampled_from([b"", b"name,x,y,z\n"]))
def test_any_bytes_give_rows_or_one_error(tmp_path, content, header):
    with contextlib.suppress(ConfigurationError):
        assert rows_of(tmp_path, header + content)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and "/" not in text and text not in (".", "..")
)
NUMBERS = st.floats(-1e9, 1e9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    position=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    numbers=st.dictionaries(st.sampled_from(POSITIVE), st.floats(1e-6, 1e6)),
    normal=st.dictionaries(st.sampled_from(NORMAL), st.floats(-1, 1)),
)
def test_what_is_written_is_read(tmp_path, names, position, numbers, normal):
    rows = [
        TableRow(name, i + 2, position, {"type": "PointSource", "layer": "L5"}, numbers | normal)
        for i, name in enumerate(names)
    ]
    write_electrode_table(tmp_path / "out.csv", rows)
    assert read_electrode_table(tmp_path / "out.csv") == rows


def test_an_unreadable_table_is_not_written(tmp_path):
    rows = [TableRow("a/b", 2, (0, 0, 0), {}, {})]
    with pytest.raises(ConfigurationError, match="'a/b' cannot be the name"):
        write_electrode_table(tmp_path / "out.csv", rows)
    assert not list(tmp_path.iterdir())
