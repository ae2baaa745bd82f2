"""The .etl accessor."""

import numpy as np
import pandas as pd
import pytest

import ephysflow.campaign.etl  # noqa: F401
from ephysflow.errors import ConfigurationError, ResultError


@pytest.fixture
def frame():
    index = pd.MultiIndex.from_product(
        [[0, 1], pd.Categorical(["INH", "EXC"]), ["w1", "w2"]],
        names=["simulation_id", "neuron_class", "window"],
    )
    return pd.DataFrame({"rate": np.arange(8.0), "n": np.arange(8) % 3}, index=index)


def test_conditions_and_labels(frame):
    assert frame.etl.conditions == ["simulation_id", "neuron_class", "window"]
    assert frame["rate"].etl.complementary_conditions("window") == ["simulation_id", "neuron_class"]
    assert [labels.tolist() for labels in frame.etl.labels()] == [[0, 1], ["INH", "EXC"], ["w1", "w2"]]
    assert frame.index.etl.labels_of("window").tolist() == ["w1", "w2"]
    with pytest.raises(ResultError, match="layer: no such index level"):
        frame.etl.labels_of("layer")


@pytest.mark.parametrize(
    ("query", "rates"),
    [
        ({"simulation_id": 1, "window": "w1"}, [4, 6]),
        ({"neuron_class": ["EXC"], "rate": {"ge": 3, "lt": 7}}, [3, 6]),
        ([{"rate": 0}, {}, {"neuron_class": {"regex": "^E"}, "simulation_id": {"ne": 0}}], [0, 6, 7]),
        ({}, list(range(8))),
        ([{}], list(range(8))),
        ({"neuron_class": {"isin": []}}, []),
        ({"neuron_class": {"ne": "INH"}, "window": "w2"}, [3, 7]),
    ],
)
def test_q(frame, query, rates):
    assert frame.etl.q(query)["rate"].tolist() == rates
    assert frame["rate"].etl.q(query).tolist() == rates
    if isinstance(query, dict):
        assert frame.etl.q(**query)["rate"].tolist() == rates
        assert frame.reset_index().etl.q(query)["rate"].tolist() == rates


def test_q_takes_a_column_before_a_level_of_its_name(frame):
    both = frame.assign(simulation_id=7)
    assert len(both.etl.q(simulation_id=7)) == 8
    assert len(both.etl.q(simulation_id=0)) == 0


def test_q_on_missing_labels():
    labels = pd.Series(pd.Categorical(["a", None, "b"]), name="label")
    assert labels.etl.q(label="a").index.tolist() == [0]
    assert labels.etl.q(label={"ne": "a"}).index.tolist() == [1, 2]


def test_q_refuses(frame):
    with pytest.raises(ConfigurationError, match="'layer': unknown"):
        frame.etl.q(layer=1)
    with pytest.raises(ConfigurationError, match="unknown operator"):
        frame.etl.q(rate={"above": 1})
    with pytest.raises(ConfigurationError, match="asks for nothing"):
        frame.etl.q(rate={})
    with pytest.raises(ResultError, match="either a query or keywords"):
        frame.etl.q({"rate": 1}, n=1)


def test_one_and_first(frame):
    assert frame.etl.one(rate=3)["n"] == 0
    assert frame["rate"].etl.first(window="w2") == 1
    with pytest.raises(ResultError, match="one: 2 rows"):
        frame.etl.one(simulation_id=0, window="w1")
    with pytest.raises(ResultError, match="first: no row"):
        frame.etl.first(rate=-1)


def test_levels_are_removed_kept_and_added(frame):
    assert frame.etl.remove_conditions("window").index.names == ["simulation_id", "neuron_class"]
    assert frame.etl.keep_conditions(["window", "simulation_id"]).index.names == ["window", "simulation_id"]
    assert frame.etl.remove_conditions(frame.etl.conditions).index.equals(pd.RangeIndex(8))
    assert frame.etl.keep_conditions("window").index.name == "window"
    added = frame.etl.add_conditions(["seed", "trial"], [5, range(8)])
    assert added.index.names == ["seed", "trial", *frame.index.names]
    assert added.index[-1] == (5, 7, 1, "EXC", "w2")
    assert pd.Series([1.0, 2.0]).etl.add_conditions("seed", 5).index.tolist() == [5, 5]
    assert frame.index.names == ["simulation_id", "neuron_class", "window"]
    with pytest.raises(ResultError, match="window is there already"):
        frame.etl.add_conditions("window", 1)


def test_select_drops_levels_with_one_value(frame):
    selected = frame.etl.select(simulation_id=1, window=["w1"])
    assert selected.index.names == ["neuron_class", "window"]
    assert selected["rate"].tolist() == [4, 6]
    assert frame["rate"].etl.select(simulation_id=0, neuron_class="INH", window="w2").tolist() == [1]


def test_regrouping(frame):
    means = frame.etl.pool(["neuron_class"], "mean")
    assert means["rate"].to_dict() == {"EXC": 4.5, "INH": 2.5}
    assert frame["rate"].etl.pool("window", np.max).to_dict() == {"w1": 6, "w2": 7}
    pd.testing.assert_frame_equal(
        frame.etl.groupby_except(["simulation_id", "window"]).mean().sort_index(), means.sort_index()
    )
    with pytest.raises(ResultError, match="no index level is left"):
        frame.etl.groupby_except(frame.etl.conditions)


def test_iteration(frame):
    key, row = next(frame.etl.iter())
    assert (key.simulation_id, key.window, row.rate) == (0, "w1", 0.0)
    assert next(frame.etl.iterdict())[0] == {"simulation_id": 0, "neuron_class": "INH", "window": "w1"}
    assert next(frame["rate"].etl.iter())[1] == 0.0
    assert [key["window"] for key in frame.index.etl.iterdict()][:2] == ["w1", "w2"]
    groups = list(frame.etl.groupby_iter(["window", "n"], columns=["rate"]))
    assert [(key.window, key.n) for key, _ in groups] == [(w, n) for w in ("w1", "w2") for n in (0, 1, 2)]
    assert groups[0][1]["rate"].tolist() == [0.0, 6.0]


def test_insert_columns(frame):
    wider = frame.etl.insert_columns(1, ["a", "b"], [1, range(8)])
    assert list(wider.columns) == ["rate", "a", "b", "n"]
    assert list(frame.columns) == ["rate", "n"]


def test_types_of_levels(frame):
    assert frame.index.etl.dtypes["simulation_id"] == "int64"
    assert frame.index.etl.astype({"simulation_id": "int32"}).etl.dtypes["simulation_id"] == "int32"
    assert pd.Index([1, 2], name="gid").etl.astype("float64").dtype == "float64"
