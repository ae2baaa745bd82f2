"""Analysis metrics of units: reading, joining, and the two that the warehouse exchanges."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ephysflow.ecephys.analysis_metrics import (
    annotate_metrics,
    exchange,
    read_metrics,
    unknown_units,
    with_exchanged_put_right,
)
from ephysflow.errors import ProjectError


def written(tmp_path, text):
    path = tmp_path / "session_1_analysis_metrics.csv"
    path.write_text(text)
    return path


def test_csv_is_read_with_the_types_of_its_values(tmp_path):
    path = written(
        tmp_path,
        'pref_sf,ecephys_unit_id,flag,rate,sizes,odd\n1,7,True,0.10220698881119748,"[0.02, 0.04]",x\n2,5,False,,[],1\n',
    )
    table = read_metrics(path)
    assert table.to_pylist() == [
        {"ecephys_unit_id": 5, "pref_sf": 2, "flag": False, "rate": None, "sizes": "[]", "odd": "1"},
        {
            "ecephys_unit_id": 7,
            "pref_sf": 1,
            "flag": True,
            "rate": 0.10220698881119748,
            "sizes": "[0.02, 0.04]",
            "odd": "x",
        },
    ]
    pq.write_table(table, tmp_path / "metrics.parquet")
    assert read_metrics(tmp_path / "metrics.parquet").equals(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("ecephys_unit_id,x\n", "a header and no rows"),
        ("id,x\n1,2\n", "column ecephys_unit_id is missing"),
        ("ecephys_unit_id,x\n1,2", "was it cut"),
        ("ecephys_unit_id,x\n1,2\n1,3\n", "row 3 .*: ecephys_unit_id 1 is there already"),
        ("ecephys_unit_id,x\nu1,2\n", "row 2 .*: ecephys_unit_id is 'u1', which is not an integer"),
        ("ecephys_unit_id,x\n-1,2\n", "row 2 .*: ecephys_unit_id -1 is negative"),
        ("<html></html>\n", "HTML"),
    ],
)
def test_metrics_that_cannot_be_used_are_refused(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ProjectError, match=message) as error:
        read_metrics(path)
    assert str(path) in str(error.value)


def metrics(on_screen, p_value):
    return pa.table(
        {
            "ecephys_unit_id": range(len(on_screen)),
            "on_screen_rf": on_screen,
            "x": on_screen,
            "p_value_rf": p_value,
        }
    )


@pytest.mark.parametrize(
    ("on_screen", "p_value"),
    [
        ([0.5, 0.2], [True, False]),
        # the first value may be missing, or look like a flag
        (pa.array([None, 0.2]), pa.array([None, True])),
        ([1.0, 0.2], [True, False]),
        ([float("nan"), 0.2], [True, True]),
        ([0.5, 0.2], ["True", "False"]),
    ],
)
def test_exchanged_metrics_are_put_right_once(on_screen, p_value):
    table = metrics(on_screen, p_value)
    assert exchange(table) == (True, "")
    right = with_exchanged_put_right(table)
    assert right.column_names == table.column_names
    # as text: NaN is not equal to itself
    for name, was in (("p_value_rf", "on_screen_rf"), ("on_screen_rf", "p_value_rf"), ("x", "x")):
        assert str(right[name]) == str(table[was])
    assert with_exchanged_put_right(right) is right


@pytest.mark.parametrize(
    ("on_screen", "p_value", "doubt"),
    [
        ([True, False], [0.5, 0.2], ""),
        ([True, False], [1.0, 0.0], ""),
        ([1, 0], [0.5, 0.2], ""),
        ([1, 0], [0.0, 1.0], ""),
        (pa.array([None, None], pa.float64()), [True, False], ""),
        ([1.0, 0.0], [True, False], "on_screen_rf holds only 0 and 1 and p_value_rf flags"),
        ([True, False], [True, True], "on_screen_rf holds flags and p_value_rf flags"),
        ([0.5, 0.2], [0.1, 0.2], "on_screen_rf holds numbers and p_value_rf numbers"),
        ([0.5, 0.2], [0.0, 1.0], "on_screen_rf holds numbers and p_value_rf only 0 and 1"),
        ([0.5, 0.2], ["True", "0.3"], "p_value_rf texts"),
        ([[1], [2]], [True, False], "on_screen_rf holds texts"),
    ],
)
def test_other_metrics_are_left_as_they_are(on_screen, p_value, doubt):
    table = metrics(on_screen, p_value)
    exchanged, reason = exchange(table)
    assert not exchanged
    assert (doubt in reason) if doubt else (reason == "")
    assert with_exchanged_put_right(table) is table


def test_without_the_two_metrics_nothing_happens():
    table = pa.table({"ecephys_unit_id": [1], "on_screen_rf": [0.5]})
    assert exchange(table) == (False, "")
    assert with_exchanged_put_right(table) is table


def test_metrics_are_joined_with_the_units_that_are_kept():
    found = pa.table({"ecephys_unit_id": [3, 1, 2], "g_osi_dg": [0.3, 0.1, 0.2], "snr": [30, 10, 20]})
    units = pa.table({"id": [4, 3, 1], "snr": [4.0, 3.0, 1.0], "quality": ["d", "c", "a"]})
    assert annotate_metrics(found, units).to_pylist() == [
        {"ecephys_unit_id": 1, "snr": 1.0, "quality": "a", "g_osi_dg": 0.1, "snr_metrics": 10},
        {"ecephys_unit_id": 3, "snr": 3.0, "quality": "c", "g_osi_dg": 0.3, "snr_metrics": 30},
    ]
    assert annotate_metrics(found, units.slice(0, 0)).num_rows == 0


def test_metrics_of_unknown_units_tell_that_a_table_was_cut():
    found = pa.table({"ecephys_unit_id": range(10)})
    assert unknown_units(found, pa.table({"id": range(12)})) == ""
    assert unknown_units(found, pa.table({"id": [0, 1, 2]})) == (
        "7 of 10 units with analysis metrics are not in the table of units (id 3, 4, 5, 6, 7, ...): is it whole?"
    )
