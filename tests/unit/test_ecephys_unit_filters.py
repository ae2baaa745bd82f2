"""Filters of units: limits, missing values, and what is not applied."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.ecephys.unit_filters import UnitFilters, filter_units
from ephysflow.errors import ConfigurationError

OFF = {
    "amplitude_cutoff_maximum": None,
    "presence_ratio_minimum": None,
    "isi_violations_maximum": None,
    "filter_by_validity": False,
    "filter_out_of_brain_units": False,
}


def kept(columns, **on):
    """Return the kept rows, and the record of the one filter that is on."""
    mask, records = filter_units(pa.table(columns), UnitFilters(**{**OFF, **on}))
    assert [record.filter for record in records] == list(OFF)
    (name,) = on
    return np.flatnonzero(mask).tolist(), next(record for record in records if record.filter == name)


@pytest.mark.parametrize(
    ("keyword", "column", "values", "limit", "expected"),
    [
        ("amplitude_cutoff_maximum", "amplitude_cutoff", [0.0, 0.1, 0.1000001], 0.1, [0, 1]),
        ("isi_violations_maximum", "isi_violations", [0.5, 0.5000001, 0.0], 0.5, [0, 2]),
        ("presence_ratio_minimum", "presence_ratio", [0.95, 0.9499999, 1.0], 0.95, [0, 2]),
        ("amplitude_cutoff_maximum", "amplitude_cutoff", [0.0, 1e-9], 0, [0]),
    ],
)
def test_limits_are_inclusive_and_0_is_one(keyword, column, values, limit, expected):
    rows, record = kept({column: values}, **{keyword: limit})
    assert rows == expected
    n_units, n_kept = len(values), len(expected)
    assert (record.units_before, record.removed, record.units_after) == (n_units, n_units - n_kept, n_kept)


def test_units_without_a_value_are_removed_by_a_limit_and_counted_apart():
    columns = {"amplitude_cutoff": pa.array([0.01, None, np.nan, 0.3])}
    rows, record = kept(columns, amplitude_cutoff_maximum=0.1)
    assert rows == [0]
    assert (record.removed, record.removed_missing, record.limit, record.note) == (3, 2, "<= 0.1", "")
    mask, records = filter_units(pa.table(columns), UnitFilters(**OFF))
    assert mask.all()
    assert {(record.limit, record.removed, record.note) for record in records} == {("none", 0, "")}


def test_a_filter_without_its_column_is_not_applied_and_says_so():
    mask, records = filter_units(pa.table({"firing_rate": [1.0, 2.0]}), UnitFilters())
    assert mask.all()
    assert [record.note for record in records] == [
        f"not applied: the units have no {column}"
        for column in ("amplitude_cutoff", "presence_ratio", "isi_violations", "quality", "structure")
    ]


def test_in_a_project_a_filter_spares_the_sessions_without_values():
    """So that a session's units are the same in its own file as among others."""
    columns = {
        "ecephys_session_id": ["a", "a", "b", "b"],
        "amplitude_cutoff": [0.01, None, None, None],
    }
    rows, record = kept(columns, amplitude_cutoff_maximum=0.1)
    assert rows == [0, 2, 3]
    assert record.note == "not applied to 2 of 4 units, whose sessions have no amplitude_cutoff"
    assert (record.removed, record.removed_missing) == (1, 1)


def test_validity_is_good_quality_on_a_valid_channel():
    columns = {
        "quality": ["good", "noise", None, "good", "good", ""],
        "valid_data": [True, True, True, False, None, True],
    }
    rows, record = kept(columns, filter_by_validity=True)
    assert rows == [0, 4]
    assert (record.limit, record.removed, record.removed_missing) == ("good and valid channel", 4, 2)


def test_without_qualities_the_channel_decides():
    rows, record = kept({"valid_data": [True, False]}, filter_by_validity=True)
    assert rows == [0]
    assert record.note == "not applied: the units have no quality"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"ecephys_structure_id": pa.array([385, None])}, [0]),
        ({"ecephys_structure_acronym": ["VISp", "", "None", "nan", None, "root"]}, [0, 5]),
        # the id decides where there is one
        ({"ecephys_structure_id": pa.array([385, None]), "ecephys_structure_acronym": ["VISp", "LP"]}, [0]),
        (
            {
                "ecephys_structure_id": pa.array([None, None], pa.int64()),
                "ecephys_structure_acronym": ["", "LP"],
            },
            [1],
        ),
        ({"ecephys_structure_acronym": ["", None]}, [0, 1]),
        ({"ecephys_structure_id": pa.array([None, None], pa.int64())}, [0, 1]),
    ],
)
def test_units_outside_the_brain(columns, expected):
    rows, record = kept(columns, filter_out_of_brain_units=True)
    assert rows == expected
    assert record.removed_missing == 0


def test_no_units():
    mask, records = filter_units(
        pa.table({"quality": pa.array([], pa.string()), "amplitude_cutoff": pa.array([], pa.float64())}),
        UnitFilters(),
    )
    assert mask.shape == (0,)
    assert all((record.units_before, record.removed, record.units_after) == (0, 0, 0) for record in records)


NUMBERS = st.none() | st.floats(-1, 2) | st.just(float("nan"))


@given(
    st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from(["good", "noise", None]), st.integers(0, 2)), max_size=30
    ),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
)
def test_records_add_up_and_the_order_of_units_does_not_matter(rows, cutoff, presence):
    names = ("amplitude_cutoff", "presence_ratio", "quality", "ecephys_session_id")
    types = (pa.float64(), pa.float64(), pa.string(), pa.int64())
    units = pa.table(
        {
            name: pa.array([row[i] for row in rows], kind)
            for i, (name, kind) in enumerate(zip(names, types, strict=True))
        }
    )
    filters = UnitFilters(cutoff, presence)
    mask, records = filter_units(units, filters)
    before = len(rows)
    for record in records:
        assert record.units_before == before
        assert record.units_after == before - record.removed
        assert 0 <= record.removed_missing <= record.removed
        before = record.units_after
    assert mask.sum() == before
    reverse = units.take(pa.array(np.arange(len(rows))[::-1], pa.int64()))
    assert np.array_equal(filter_units(reverse, filters)[0], mask[::-1])


def test_keywords_of_a_mapping():
    filters = UnitFilters.from_mapping(
        {"amplitude_cutoff_maximum": None, "isi_violations_maximum": 1}, "here"
    )
    assert filters == UnitFilters(amplitude_cutoff_maximum=None, isi_violations_maximum=1.0)
    assert UnitFilters.from_mapping({}, "here") == UnitFilters(0.1, 0.95, 0.5, True, True)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"amplitude_cutoff": 0.1},
            "here: unknown filter of units amplitude_cutoff; known are amplitude_cutoff_max",
        ),
        ({3: 0.1}, "here: unknown filter of units 3"),
        ({"presence_ratio_minimum": "0.9"}, "presence_ratio_minimum is '0.9'; allowed are a number and null"),
        ({"presence_ratio_minimum": True}, "presence_ratio_minimum is True"),
        ({"presence_ratio_minimum": float("nan")}, "presence_ratio_minimum is nan"),
        ({"presence_ratio_minimum": float("-inf")}, "presence_ratio_minimum is -inf"),
        ({"filter_by_validity": 1}, "filter_by_validity is 1; allowed are true and false"),
        ({"filter_out_of_brain_units": None}, "filter_out_of_brain_units is None"),
    ],
)
def test_what_is_no_filter_is_refused(mapping, message):
    with pytest.raises(ConfigurationError, match=message):
        UnitFilters.from_mapping(mapping, "here")
