"""Structures along a probe."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.ecephys.structure_intervals import (
    channel_structure_intervals,
    sort_channels,
    structure_intervals_table,
)
from ephysflow.errors import ConfigurationError


def channels(rows, **more):
    ids, probes, vertical, structures = zip(*rows, strict=True) if rows else ((),) * 4
    return pa.table(
        {
            "id": pa.array(ids),
            "probe_id": pa.array(probes, pa.int64()),
            "probe_vertical_position": pa.array(vertical, pa.int64()),
            "ecephys_structure_acronym": pa.array(structures, pa.string()),
            **more,
        }
    )


TWO_PROBES = [
    (14, 2, 20, "VISp"),
    (10, 1, 40, "VISp"),
    (11, 1, 20, "CA1"),
    (12, 1, 60, None),
    (13, 1, 80, ""),
    (15, 1, 30, "CA1"),
]


def test_runs_are_those_of_the_sorted_channels():
    labels, bounds = channel_structure_intervals(channels(TWO_PROBES))
    assert labels == ["CA1", "VISp", None, "VISp"]
    assert bounds.tolist() == [0, 2, 3, 5, 6]
    assert sort_channels(channels(TWO_PROBES))["id"].to_pylist() == [11, 15, 10, 12, 13, 14]


def test_some_channels_in_any_order():
    labels, bounds = channel_structure_intervals(channels(TWO_PROBES), np.array([13, 10, 11]))
    assert labels == ["CA1", "VISp", None]
    assert bounds.tolist() == [0, 1, 2, 3]


def test_a_run_ends_where_the_probe_does():
    labels, bounds = channel_structure_intervals(channels([(1, 1, 20, "CA1"), (2, 2, 20, "CA1")]))
    assert (labels, bounds.tolist()) == (["CA1", "CA1"], [0, 1, 2])


def test_no_channels():
    labels, bounds = channel_structure_intervals(channels(TWO_PROBES), [])
    assert (labels, bounds.tolist()) == ([], [0])
    assert structure_intervals_table(channels([])).num_rows == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([10, 99], "the session has no channels 99; its channels are 14, 10, 11, 12, 13, 15"),
        ([10, 11, 10], "channels 10 are given more than once"),
        (list(range(100, 120)), "100, 101, .* 109 and 10 more"),
    ],
)
def test_channels_that_do_not_exist(asked, message):
    with pytest.raises(ConfigurationError, match=message):
        channel_structure_intervals(channels(TWO_PROBES), asked)


def test_the_table_names_channels_and_positions():
    table = structure_intervals_table(channels(TWO_PROBES))
    assert table.to_pylist()[:2] == [
        {
            "probe_id": 1,
            "structure": "CA1",
            "first_channel": 11,
            "last_channel": 15,
            "channel_count": 2,
            "lower_vertical_position": 20.0,
            "upper_vertical_position": 30.0,
        },
        {
            "probe_id": 1,
            "structure": "VISp",
            "first_channel": 10,
            "last_channel": 10,
            "channel_count": 1,
            "lower_vertical_position": 40.0,
            "upper_vertical_position": 40.0,
        },
    ]
    assert table["structure"].to_pylist() == ["CA1", "VISp", None, "VISp"]
    assert table.schema.field("lower_vertical_position").metadata[b"unit"] == b"um"


def test_without_positions_probes_or_external_structures():
    """A plain file knows ids and its own structures only."""
    plain = pa.table({"id": ["b", "a", "c"], "structure_acronym": ["CA1", "CA1", "None"]})
    table = structure_intervals_table(plain)
    assert table["structure"].to_pylist() == ["CA1", None]
    assert table["first_channel"].to_pylist() == ["a", "c"]
    assert table["probe_id"].to_pylist() == [None, None]
    assert table["lower_vertical_position"].to_pylist() == [None, None]


def test_an_empty_external_column_gives_way_to_the_files_own():
    table = channels([(1, 1, 20, None)], structure_acronym=["DG"])
    assert channel_structure_intervals(table)[0] == ["DG"]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.sampled_from(["A", "B", None])), max_size=20
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows)))))
)
def test_runs_cover_all_channels_once_and_cannot_be_joined(drawn):
    rows, order = drawn
    table = channels([(i, *rows[i]) for i in order])
    labels, bounds = channel_structure_intervals(table)
    ordered = sort_channels(table)
    assert np.all(np.diff(bounds) > 0)
    assert (bounds[0], bounds[-1]) == (0, len(rows))
    assert np.repeat(labels, np.diff(bounds)).tolist() == ordered["ecephys_structure_acronym"].to_pylist()
    probes = ordered["probe_id"].to_pylist()
    runs = [(probes[start], label) for start, label in zip(bounds, labels, strict=False)]
    assert all(run != following for run, following in pairwise(runs))
    keys = list(
        zip(probes, ordered["probe_vertical_position"].to_pylist(), ordered["id"].to_pylist(), strict=True)
    )
    assert keys == sorted(keys)
