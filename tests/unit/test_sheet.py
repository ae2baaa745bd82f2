"""The list of recordings is read strictly, and everything wrong with it is said at once."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import ConfigurationError
from ephysflow.recordings.sheet import COLUMNS, NAME, read_files_metadata, read_sheet

HEADER = "cell\tprotocol\tfilepath\tton\n"


def sheet(folder: Path, text: str, name: str = "recordings.tsv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_sheet(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_rows_become_entries(tmp_path) -> None:
    path = sheet(
        tmp_path,
        "# recordings of today\n"
        "cell\tprotocol\ti_file\tv_file\tfilepath\tdt\tljp\trepetition\tamplitudes\tremove_last_100ms\ti_unit\n"
        "\n"
        "B6\tIDRest\tB6/i.ibw\tB6/v.ibw\t\t0.00025\t14\t\t\t\tpA\n"
        "\t\t\n"
        "B7\tIDrest=Long Square;IDrest=Other;sAHP\t\t\t../b7.nwb\t\t\t1;2\t-20; 30\tTrue\n"
        "# the end\n",
    )
    first, second = read_sheet(path)
    assert first == {
        "cell": "B6",
        "protocols": {"IDRest": ["IDRest"]},
        "i_file": str(tmp_path / "B6/i.ibw"),
        "v_file": str(tmp_path / "B6/v.ibw"),
        "dt": 0.00025,
        "ljp": 14.0,
        "i_unit": "pA",
    }
    assert second == {
        "cell": "B7",
        "protocols": {"IDrest": ["Long Square", "Other"], "sAHP": ["sAHP"]},
        "filepath": str(tmp_path.parent / "b7.nwb"),
        "repetition": [1, 2],
        "amplitudes": [-20.0, 30.0],
        "remove_last_100ms": True,
    }


def test_paths_are_relative_to_the_sheet(tmp_path, monkeypatch) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path)
    sheet(
        tmp_path / "config",
        HEADER + "A\tIV\t../data/a.abf\t\nA\tIV\tb.abf\t\nA\tIV\t/c.abf\t\nA\tIV\t/data/c.abf\t\n",
    )
    found = [entry["filepath"] for entry in read_sheet(Path("config/recordings.tsv"))]
    assert found == ["data/a.abf", "config/b.abf", "/c.abf", "/data/c.abf"]


def test_commas_and_byte_order_mark(tmp_path) -> None:
    path = sheet(tmp_path, '\ufeffcell,protocol,filepath\nA,IV,"a,1.abf"\n', "recordings.csv")
    assert read_sheet(path)[0]["filepath"] == str(tmp_path / "a,1.abf")


def test_rows_do_not_share_what_can_change(tmp_path) -> None:
    first, second = read_sheet(sheet(tmp_path, HEADER + "A\tIV\ta.abf\t\nA\tIV\tb.abf\t\n"))
    first["protocols"]["Step"] = ["Step"]
    assert second["protocols"] == {"IV": ["IV"]}


@pytest.mark.parametrize(
    "text",
    ["fast", "1_000", "nan", "inf", "3,5", "0x10", "7 ms"],
)
def test_numbers_are_strict(tmp_path, text: str) -> None:
    (problem,) = problems(sheet(tmp_path, HEADER + f"A\tIV\ta.abf\t{text}\n"))
    assert problem == f"line 2, column ton: {text!r}; must be a finite number, such as 0.25 or -1e-3"


@pytest.mark.parametrize("cell", ["../x", ".hidden", "-x", "a/b", "a b", "ä", "a\\b", "_a"])
def test_names_that_are_not_safe_in_paths_are_refused(tmp_path, cell: str) -> None:
    (problem,) = problems(sheet(tmp_path, HEADER + f"{cell}\tIV\ta.abf\t\n"))
    assert "line 2, column cell" in problem
    assert repr(cell) in problem
    assert "letters, digits" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Long Square", "NAME=name in the file"),
        ("=x", "cannot be part of a file name"),
        ("IV=", "name in the file is empty"),
        ("IV;", "cannot be part of a file name"),
        ("IV;IV", "stands there twice"),
        ("../IV", "cannot be part of a file name"),
    ],
)
def test_wrong_protocol_cells_are_refused(tmp_path, text: str, words: str) -> None:
    (problem,) = problems(sheet(tmp_path, HEADER + f"A\t{text}\ta.abf\t\n"))
    assert "line 2, column protocol" in problem
    assert words in problem


def test_all_problems_come_in_one_message(tmp_path) -> None:
    text = (
        HEADER
        + "A\tIV\ta.abf\tx\nA\t\tb.abf\t\nA\tIV\t\t\nA\tIV\tc.abf\t1\nA\tIV\tc.abf\t2\nA\tIV\td.abf\t1\t2\n"
    )
    assert problems(sheet(tmp_path, text)) == [
        "line 2, column ton: 'x'; must be a finite number, such as 0.25 or -1e-3",
        "line 3: column protocol is empty",
        "line 4: no file: give filepath, or i_file and v_file",
        "line 6: the same cell, protocol and files as line 5",
        "line 7: 5 cells, but the header has 4 columns",
    ]


def test_many_problems_are_counted(tmp_path) -> None:
    found = problems(sheet(tmp_path, HEADER + "".join(f"A\tIV\t{k}.abf\tx\n" for k in range(80))))
    assert len(found) == 51
    assert found[-1] == "and 30 more problems"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("cell\tprotocol\tfilepat", "did you mean filepath"),
        ("cell\tprotocol\tv_file", "it needs filepath, or i_file and v_file"),
        ("protocol\tfilepath", "column cell is missing"),
        ("cell\tcell\tprotocol\tfilepath", "column cell stands 2 times"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, header: str, words: str) -> None:
    assert any(words in problem for problem in problems(sheet(tmp_path, header + "\n")))


def test_empty_missing_and_binary_sheets_are_refused(tmp_path) -> None:
    assert "column cell is missing" in problems(sheet(tmp_path, ""))
    assert "no rows" in problems(sheet(tmp_path, HEADER))[0]
    with pytest.raises(ConfigurationError, match="No such file"):
        read_sheet(tmp_path / "absent.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_sheet(tmp_path / "binary.tsv")


def test_one_file_with_two_protocols_in_two_rows_is_no_duplicate(tmp_path) -> None:
    assert len(read_sheet(sheet(tmp_path, HEADER + "A\tStep\ta.abf\t\nA\tIDrest\ta.abf\t\n"))) == 2


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "s.tsv"
    path.write_bytes((HEADER + text).encode("utf-8", "surrogatepass"))
    try:
        entries = read_sheet(path)
    except ConfigurationError:
        return
    assert all(NAME.fullmatch(entry["cell"]) for entry in entries)


def test_columns_are_named_once_and_explained() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(column.help for column in COLUMNS)


FILE = {"filepath": "a.nwb", "ljp": 14.0}


def test_files_metadata_becomes_entries(tmp_path) -> None:
    metadata = {
        "A": {
            "IV": [FILE, {"i_file": "i.ibw", "v_file": "v.ibw", "dt": np.float32(0.25), "ordinal": "7"}],
            "Step": [FILE | {"protocol_name": ["Long Square", "Step"], "v_corr": False, "ton": None}],
        }
    }
    (tmp_path / "m.json").write_text(json.dumps(metadata, default=float))
    entries = read_files_metadata(metadata, tmp_path)
    assert entries == read_files_metadata(tmp_path / "m.json")
    assert entries[0] == {
        "cell": "A",
        "protocols": {"IV": ["IV"]},
        "filepath": str(tmp_path / "a.nwb"),
        "ljp": 14.0,
    }
    assert entries[1]["ordinal"] == "7"
    assert type(entries[1]["dt"]) is float
    assert entries[2]["protocols"] == {"Step": ["Long Square", "Step"]}
    assert "v_corr" not in entries[2]
    assert "ton" not in entries[2]


def test_metadata_shared_by_two_protocols_is_not_changed() -> None:
    """Defect 6: the name of the first protocol stayed in the shared mapping, and both found nothing."""
    shared = copy.deepcopy(FILE)
    metadata = {"A": {"IV": [shared], "Step": [shared]}}
    entries = read_files_metadata(metadata)
    assert shared == FILE
    assert [entry["protocols"] for entry in entries] == [{"IV": ["IV"]}, {"Step": ["Step"]}]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ([], "must be a mapping of cells"),
        ({}, "has no cells"),
        ({"A": []}, "cell A: must be a mapping of protocols"),
        ({"A": {"IV": FILE}}, "must be a list of files"),
        ({"A": {"IV": ["a.abf"]}}, "file 0: must be a mapping"),
        ({"../A": {"IV": [FILE]}}, "cannot be part of a file name"),
        ({"A": {"I V": [FILE]}}, "protocol_name"),
        ({"A": {"IV": [{"v_file": "v.ibw"}]}}, "no file"),
        ({"A": {"IV": [FILE | {"ton": "20"}]}}, "ton is '20'; must be a finite number"),
        ({"A": {"IV": [FILE | {"ljp": True}]}}, "ljp is True"),
        ({"A": {"IV": [FILE | {"amplitudes": 3}]}}, "must be a list of numbers"),
        ({"A": {"IV": [FILE | {"protocol_name": 3}]}}, "protocol_name is 3"),
        ({"A": {"IV": [FILE | {"filepath": ""}]}}, "must be the path of a file"),
    ],
)
def test_wrong_metadata_is_named(metadata: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_files_metadata(metadata)


def test_damaged_metadata_file_is_named(tmp_path) -> None:
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"m\.json: is not JSON"):
        read_files_metadata(tmp_path / "m.json")
