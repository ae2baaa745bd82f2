"""Observations sorted into groups: nothing is lost, and every observation keeps its rows."""

import numpy as np
import pytest
from campaign_reports import neurons_of, records_of, report_of, spike_reports, trials_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.campaign.observations import Observations, observe

KEYS = [
    "simulation_id",
    "circuit_id",
    "neuron_class",
    "window",
    "trial",
    "gid",
    "neuron_class_index",
    "t_start",
]


def observed_records(observations: Observations) -> list[dict]:
    """Return one record an observation, with its group."""
    return [
        {name: values[observations.neuron[k]].item() for name, values in observations.neurons.items()}
        | {name: values[observations.trial[k]].item() for name, values in observations.trials.items()}
        | {"rows": observations.rows["time"][slice(*observations.offsets[k : k + 2])].tolist()}
        for k in range(len(observations.group))
    ]


def canonical(records: list[dict]) -> list:
    """Return records in an order that does not depend on theirs."""
    return sorted((sorted(record.items()) for record in records), key=repr)


@settings(deadline=None)
@given(spike_reports(), st.lists(st.sampled_from(KEYS), unique=True))
def test_every_observation_keeps_its_rows_in_any_grouping(reports, groupby):
    """Several simulations and circuits, any columns in any order."""
    observations = observe(reports, groupby)
    records = observed_records(observations)
    expected = records_of(reports)
    assert canonical(records) == canonical(expected)

    keys = sorted({tuple(record[name] for name in groupby) for record in expected})
    assert list(observations.groups) == groupby
    assert observations.n_groups == len(keys)
    assert [tuple(observations.key(g).values()) for g in range(len(keys))] == keys

    edges = observations.group_offsets
    assert edges[0] == 0
    assert edges[-1] == len(records)
    assert (np.diff(edges) > 0).all()
    for g, key in enumerate(keys):
        members = records[edges[g] : edges[g + 1]]
        assert {tuple(record[name] for name in groupby) for record in members} == {key}
        order = [(r["simulation_id"], r["window"], r["trial"], r["neuron_class"], r["gid"]) for r in members]
        assert order == sorted(order)
    assert observations.counts.tolist() == [len(record["rows"]) for record in records]
    assert (
        np.bincount(observations.row_observation, minlength=len(records)).tolist()
        == observations.counts.tolist()
    )


@settings(deadline=None, max_examples=20)
@given(spike_reports())
def test_usual_grouping_moves_nothing(reports):
    """Extraction stores a report in this order: the rows of one simulation are not copied."""
    observations = observe(reports[:1], ["simulation_id", "circuit_id", "neuron_class", "window"])
    assert observations.rows["time"] is reports[0].rows["time"]


def test_dtypes_of_key_columns_are_kept():
    """Key columns are written as they are."""
    report = report_of(neurons_of({"a": [3]}), trials_of({"w": (0.0, 1.0, 1)}), {})
    groups = observe([report], ["simulation_id", "gid", "neuron_class"]).groups
    assert [values.dtype.kind + str(values.dtype.itemsize) for values in groups.values()] == [
        "i2",
        "i8",
        "U4",
    ]


def test_a_key_is_plain_values():
    """Labels may come as Python objects, as they do from Arrow."""
    neurons = neurons_of({"a": [3], "b": [4]})
    neurons["neuron_class"] = neurons["neuron_class"].astype(object)
    report = report_of(neurons, trials_of({"w": (0.0, 1.0, 1)}), {})
    assert observe([report], ["gid", "neuron_class", "t_start"]).key(1) == {
        "gid": 4,
        "neuron_class": "b",
        "t_start": 0.0,
    }


def test_many_columns_of_many_values_do_not_overflow():
    """The number of combinations that could be (10,000 to the fifth power) exceeds 64 bits."""
    n = 10_000
    neurons = neurons_of({"a": range(n)})
    # the same order in each column, so that the groups are known
    neurons |= dict.fromkeys(("x", "y", "z"), neurons["gid"] * 3)
    trials = trials_of({"w": (0.0, 1.0, 1)})
    report = report_of(neurons, trials, {(7, 0): [0.5]})
    observations = observe([report], ["gid", "neuron_class_index", "x", "y", "z"])
    assert observations.n_groups == n
    np.testing.assert_array_equal(observations.groups["z"], np.arange(n) * 3)
    assert np.flatnonzero(observations.counts).tolist() == [7]


def test_no_neurons_is_no_group():
    """Empty tables go through."""
    observations = observe(
        [report_of(neurons_of({}), trials_of({"w": (0.0, 1.0, 1)}), {})], ["gid", "window"]
    )
    assert observations.n_groups == 0
    assert observations.group_offsets.tolist() == [0]


def test_unknown_key_column_lists_the_known_ones():
    """The message says what may be asked for."""
    report = report_of(neurons_of({"a": [1]}), trials_of({"w": (0.0, 1.0, 1)}), {})
    with pytest.raises(ValueError, match=r"'layer' is not a column .*gid.*window"):
        observe([report], ["layer"])
