"""The neurons of each class: node set, query, listed ids and limit, in this order."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ephysflow.campaign.query import matches, query_columns
from ephysflow.errors import SimulationError
from ephysflow.io.canonical import canonical_json, digest

SEQUENTIAL, INDEPENDENT = "sequential", "independent"


class Nodes(Protocol):
    """What is needed of a population of nodes."""

    @property
    def name(self) -> str:
        """Name of the population."""

    @property
    def size(self) -> int:
        """Number of nodes; their ids are 0 to size - 1."""

    @property
    def property_names(self) -> Sequence[str]:
        """Names of the properties that nodes have."""

    def property(self, name: str) -> np.ndarray:
        """Return one property of all nodes."""


FindPopulation = Callable[[str | None], Nodes]
"""Name, None for the only one that there is -> population."""

FindNodeSet = Callable[[Any, str, str | None], np.ndarray]
"""Population, name of a node set, further file of node sets or None -> sorted ids."""


def select_neurons(
    classes: Mapping[str, Mapping[str, Any]],
    population_of: FindPopulation,
    node_set: FindNodeSet,
    sampling: str,
    seed: int,
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], list[tuple[str, str]]]:
    """Choose the neurons of every class.

    Parameters
    ----------
    classes : label -> ``query, population, node_set, node_sets_file, limit, node_id``, in the order of the file
    population_of, node_set : access to the circuit
    sampling : how a class with more neurons than its limit is sampled; ``sequential``: one random stream for all classes
        in file order, which gives the neurons that BlueETL gives; ``independent``: a stream for each class, so that a
        class keeps its neurons when others come or go
    seed : of the random streams

    Returns
    -------
    neurons : columns ``neuron_class, gid, neuron_class_index``, sorted by class and gid; a neuron is there once for each
        of its classes
    summaries : one mapping a class, sorted by label: ``neuron_class, count, limit, population, node_set, gids, query``;
        a class without neurons is there, too
    findings : (subject, reason): classes without neurons, listed ids that do not exist

    Raises
    ------
    SimulationError
        if a query names a property that the population does not have.
    """
    one_stream = np.random.RandomState(seed)
    gids, summaries, findings = {}, [], []
    for label, choice in classes.items():
        where = f"neuron class {label}"
        population = population_of(choice.get("population"))
        ids = node_set_members(choice, population, node_set)
        ids = ids[_queried(choice.get("query"), population, where)[ids]]
        listed = choice.get("node_id")
        if listed is not None:
            findings += _unknown_ids(listed, population, where)
            ids = np.intersect1d(ids, np.asarray(listed, dtype=np.int64))
        stream = one_stream if sampling == SEQUENTIAL else stream_of(seed, label)
        gids[label] = sample(ids, choice.get("limit"), stream)
        if not len(gids[label]):
            findings.append((where, "no neurons"))
        summaries.append(
            {
                "neuron_class": label,
                "count": len(gids[label]),
                "limit": choice.get("limit"),
                "population": population.name,
                "node_set": choice.get("node_set"),
                "gids": None if listed is None else json.dumps(listed),
                "query": json.dumps(choice.get("query") or {}),
            }
        )
    labels = sorted(gids)
    counts = [len(gids[label]) for label in labels]
    neurons = {
        "neuron_class": np.repeat(np.array(labels, dtype=np.str_), counts),
        "gid": np.concatenate([np.empty(0, np.int64), *(gids[label] for label in labels)]),
        "neuron_class_index": np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)]),
    }
    return neurons, sorted(summaries, key=lambda row: row["neuron_class"]), findings


def node_set_members(choice: Mapping[str, Any], population: Nodes, node_set: FindNodeSet) -> np.ndarray:
    """Return the sorted ids of the node set that a class or trial step names; all nodes when it names none."""
    name = choice.get("node_set")
    if not name:
        return np.arange(population.size, dtype=np.int64)
    return np.asarray(node_set(population, name, choice.get("node_sets_file")), dtype=np.int64)


def sample(ids: np.ndarray, limit: int | None, stream: np.random.RandomState) -> np.ndarray:
    """Return at most `limit` of the sorted `ids`, sorted; None and 0 take all, and nothing is drawn when all fit."""
    if not limit or len(ids) <= limit:
        return ids
    return np.sort(stream.choice(ids, size=limit, replace=False))


def stream_of(seed: int, label: str) -> np.random.RandomState:
    """Return the random stream that belongs to a seed and a label, and to nothing else."""
    return np.random.RandomState(int(digest(canonical_json([seed, label]))[:8], 16))


def _queried(query: Any, population: Nodes, where: str) -> np.ndarray:
    """Return the mask of the nodes that a query lets through."""
    names = query_columns(query)
    if unknown := [name for name in names if name not in population.property_names]:
        raise SimulationError(
            f"{where}: query: population {population.name!r} has no property {unknown[0]!r}; "
            f"known are {', '.join(sorted(population.property_names))}"
        )
    if not names:
        return np.ones(population.size, dtype=bool)
    return matches(query, {name: population.property(name) for name in names}, f"{where}: query")


def _unknown_ids(listed: Sequence[int], population: Nodes, where: str) -> list[tuple[str, str]]:
    unknown = [i for i in dict.fromkeys(listed) if not 0 <= i < population.size]
    if not unknown:
        return []
    reason = (
        f"node_id: {len(unknown)} of {len(listed)} are not in population {population.name!r} of {population.size} "
        f"nodes, the first is {unknown[0]}"
    )
    return [(where, reason)]
