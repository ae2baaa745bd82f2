"""The query language, against pandas and against what the reference states."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.query import OPERATORS, check_query, matches, query_columns
from ephysflow.errors import ConfigurationError

TEXT = np.array(["L1", "L23", "L1", "L5"], dtype=object)
COLUMNS = {
    "layer": TEXT,
    "fixed": TEXT.astype(str),
    "n": np.array([1, 2, 3, 4]),
    "x": np.array([0.5, np.nan, 1.0, 2.0]),
    "flag": np.array([True, False, True, False]),
    "mixed": np.array(["1", 1, None, np.nan], dtype=object),
    "numbers": np.array([1, 2.5, None, np.nan], dtype=object),
}


def rows(query, columns=COLUMNS):
    return np.flatnonzero(matches(query, columns)).tolist()


@pytest.mark.parametrize("query", [{}, [], None, [{}], [{}, {}]])
def test_empty_queries_let_everything_through(query):
    assert rows(query) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"layer": "L1"}, [0, 2]),
        ({"fixed": "L1"}, [0, 2]),
        ({"layer": ["L1", "L5"]}, [0, 2, 3]),
        ({"layer": []}, []),
        ({"layer": "L1", "n": {"gt": 1}}, [2]),
        ([{"layer": "L5"}, {"n": 1}], [0, 3]),
        ([{}, {"n": 1}], [0]),
        ({"n": {"ge": 2, "lt": 4}}, [1, 2]),
        ({"n": {"le": 2, "ne": 1}}, [1]),
        ({"n": 1.0}, [0]),
        ({"n": True}, [0]),
        ({"n": [1.0, 4]}, [0, 3]),
        ({"n": 2**70}, []),
        ({"n": "1"}, []),
        ({"n": ["1", 2]}, [1]),
        ({"layer": 1}, []),
        ({"mixed": 1}, [1]),
        ({"mixed": "1"}, [0]),
        ({"mixed": ["1", 1, None, float("nan")]}, [0, 1]),
        ({"mixed": None}, []),
        ({"x": float("nan")}, []),
        ({"x": {"ne": 1.0}}, [0, 1, 3]),
        ({"x": {"lt": 5}}, [0, 2, 3]),
        ({"flag": True}, [0, 2]),
        ({"flag": [0, 2]}, [1, 3]),
        ({"flag": {"eq": False}}, [1, 3]),
        ({"layer": {"regex": "2|5"}}, [1, 3]),
        ({"layer": {"regex": "^1"}}, []),
        ({"layer": {"regex": "L", "ne": "L1"}}, [1, 3]),
        ({"layer": {"isin": ["L1"], "eq": "L23"}}, []),
        ({"layer": {"gt": "L1"}}, [1, 3]),
        ({"mixed": {"regex": "1"}}, [0]),
        ({"numbers": {"gt": 1}}, [1]),
        ({"numbers": {"le": float("nan")}}, []),
    ],
)
def test_rows(query, expected):
    assert rows(query) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"n": {}}, r"here: n: \{\} asks for nothing; allowed operators: eq, ne"),
        ({"n": {"gte": 1}}, r"here: n: unknown operator 'gte'; allowed operators: eq, ne"),
        ({"depth": 1}, r"here: 'depth': unknown \(known: layer, fixed, n, x"),
        ({"layer": {"regex": "("}}, r"layer: regex: '\(' is not a regular expression"),
        ({"layer": {"regex": 1}}, "layer: regex: needs a text"),
        ({"n": {"regex": "1"}}, "n: regex: looks into texts"),
        ({"numbers": {"regex": "1"}}, "numbers: regex: looks into texts"),
        ({"layer": {"lt": 1}}, "layer: lt: 1 and 'L1' have no order"),
        ({"n": {"lt": "1"}}, "n: lt: '1' is a text"),
        ({"n": {"lt": None}}, "n: lt: needs a number or a text"),
        ({"n": {"isin": 1}}, "n: isin: needs a list"),
        ({"n": {"eq": [1]}}, "n: eq: needs a text, a number"),
        ({"n": [[1]]}, "n: isin: a list of texts and numbers"),
        ({1: 1}, "1: the name of a column must be a text"),
        ("layer", "a query is a mapping"),
        ([["layer"]], "a query is a mapping"),
    ],
)
def test_refused(query, message):
    with pytest.raises(ConfigurationError, match=message):
        matches(query, COLUMNS, "here")


def test_all_problems_come_at_once():
    with pytest.raises(ConfigurationError) as error:
        check_query([{"a": {}}, {"b": {"like": 1}}], "file")
    assert len(str(error.value).splitlines()) == 2


def test_columns_of_a_query():
    assert query_columns([{"b": 1, "a": {"gt": 1}}, {}, {"a": 2}]) == ["b", "a"]
    assert query_columns(None) == []


def test_no_rows_and_no_columns():
    assert matches({"n": {"gt": 1}}, {"n": np.array([])}).shape == (0,)
    assert matches({"n": {"regex": "a"}}, {"n": np.array([], dtype=object)}).shape == (0,)
    assert matches({}, {}).shape == (0,)


NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, float("nan")]))


@given(st.lists(NUMBERS, max_size=8), st.sampled_from(OPERATORS[:6]), NUMBERS, st.booleans())
def test_numbers_compare_as_in_pandas(values, operation, operand, as_objects):
    column = np.array(values, dtype=object if as_objects else float)
    series = pd.Series(values, dtype=float)
    expected = getattr(series, operation)(operand).tolist()
    assert matches({"x": {operation: operand}}, {"x": column}).tolist() == expected


@given(st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=8), st.sampled_from(["a", "^b", "", "b$"]))
def test_patterns_are_searched_as_in_pandas(values, pattern):
    expected = pd.Series(values, dtype=object).str.contains(pattern, regex=True).astype(bool).tolist()
    assert matches({"x": {"regex": pattern}}, {"x": np.array(values, dtype=object)}).tolist() == expected
