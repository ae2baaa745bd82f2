"""Neurons of classes, on a population that is a few arrays."""

import numpy as np
import pytest

from ephysflow.campaign.neurons import INDEPENDENT, SEQUENTIAL, select_neurons
from ephysflow.errors import SimulationError


class Nodes:
    """Two layers that alternate, with the even half of the nodes excitatory."""

    name = "cells"
    size = 40
    property_names = ("layer", "synapse_class")

    def property(self, name):
        ids = np.arange(self.size)
        return ids % 2 if name == "layer" else np.where(ids < 20, "EXC", "INH").astype(object)


def selected(classes, sampling=SEQUENTIAL, seed=0):
    def node_set(population, name, extra):
        assert extra is None
        return {"first": np.arange(6), "none": np.arange(0)}[name]

    return select_neurons(classes, lambda name: Nodes(), node_set, sampling, seed)


def gids(neurons, label):
    return neurons["gid"][neurons["neuron_class"] == label].tolist()


def test_classes_are_sorted_by_label_and_gid_and_may_overlap():
    neurons, summaries, findings = selected(
        {"b": {"query": {"layer": 1}, "node_set": "first"}, "a": {"node_set": "first"}}
    )
    assert neurons["neuron_class"].tolist() == ["a"] * 6 + ["b"] * 3
    assert neurons["gid"].tolist() == [0, 1, 2, 3, 4, 5, 1, 3, 5]
    assert neurons["neuron_class_index"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert [row["neuron_class"] for row in summaries] == ["a", "b"]
    assert summaries[1] == {
        "neuron_class": "b",
        "count": 3,
        "limit": None,
        "population": "cells",
        "node_set": "first",
        "gids": None,
        "query": '{"layer": 1}',
    }
    assert findings == []


def test_listed_ids_are_met_with_the_query():
    neurons, summaries, findings = selected({"a": {"query": {"layer": 0}, "node_id": [4, 2, 3, 2, 99]}})
    assert gids(neurons, "a") == [2, 4]
    assert summaries[0]["gids"] == "[4, 2, 3, 2, 99]"
    assert findings == [
        (
            "neuron class a",
            "node_id: 1 of 5 are not in population 'cells' of 40 nodes, the first is 99",
        )
    ]


@pytest.mark.parametrize("choice", [{"node_id": []}, {"query": {"layer": 7}}, {"node_set": "none"}])
def test_a_class_without_neurons_is_reported(choice):
    neurons, summaries, findings = selected({"a": choice, "b": {"node_set": "first"}})
    assert gids(neurons, "a") == []
    assert [row["count"] for row in summaries] == [0, 6]
    assert ("neuron class a", "no neurons") in findings


def test_no_neurons_at_all_keep_the_columns():
    neurons, summaries, _ = selected({"a": {"node_id": []}})
    assert {name: len(values) for name, values in neurons.items()} == dict.fromkeys(neurons, 0)
    assert neurons["gid"].dtype == np.int64
    assert len(summaries) == 1


def test_an_unknown_property_is_named_with_those_that_exist():
    with pytest.raises(SimulationError, match="neuron class a: .*'mtype'; known are layer, synapse_class"):
        selected({"a": {"query": {"mtype": "L1"}}})


def test_a_sequential_sample_is_numpys_choice_from_one_stream_in_file_order():
    classes = {"z": {"limit": 5}, "small": {"limit": 6, "node_set": "first"}, "a": {"limit": 3}}
    neurons, _, _ = selected(classes, seed=3)
    stream = np.random.RandomState(3)
    assert gids(neurons, "z") == sorted(stream.choice(40, 5, replace=False))
    assert gids(neurons, "small") == [0, 1, 2, 3, 4, 5]  # all fit: nothing is drawn
    assert gids(neurons, "a") == sorted(stream.choice(40, 3, replace=False))


def test_independent_samples_do_not_depend_on_other_classes():
    alone, _, _ = selected({"a": {"limit": 5}}, INDEPENDENT)
    beside, _, _ = selected({"b": {"limit": 5}, "a": {"limit": 5}}, INDEPENDENT)
    assert gids(alone, "a") == gids(beside, "a") != gids(beside, "b")
    other_seed, _, _ = selected({"a": {"limit": 5}}, INDEPENDENT, seed=1)
    assert gids(other_seed, "a") != gids(alone, "a")


@pytest.mark.parametrize("limit", [None, 0, 40, 100])
def test_no_limit_takes_all(limit):
    assert gids(selected({"a": {"limit": limit}})[0], "a") == list(range(40))
