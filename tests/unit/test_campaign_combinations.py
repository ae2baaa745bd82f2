"""Combinations of parameters: names, tables and aliases as in the reference."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.combinations import Combination, aliases, expand, flatten, params_table
from ephysflow.errors import ConfigurationError


def suffixes(**entry):
    return [combination.suffix for combination in expand(entry)]


def test_product_in_file_order_then_zip():
    entry = {"params_product": {"b": [1, 2, 3], "a": [1, 2]}, "params_zip": {"z": [5, 6], "y": [7, 8]}}
    found = expand(entry)
    assert [c.suffix for c in found][:4] == ["_0_0__0", "_0_0__1", "_0_1__0", "_0_1__1"]
    assert found[-1] == Combination("_2_1__1", {"b": 3, "a": 2, "z": 6, "y": 8})
    assert len(found) == 12


def test_other_suffixes():
    assert suffixes() == [""]
    assert suffixes(suffix="_x") == ["_x"]
    assert suffixes(params_zip={"z": [1, 2]}) == ["__0", "__1"]
    assert suffixes(params_product={"a": [1]}) == ["_0"]
    assert suffixes(suffix="_x", params_product={"a": [1], "b": [1]}, params_zip={"z": [1]}) == ["_x_0_0__0"]


def test_product_replaces_a_parameter_whole_and_keeps_its_place():
    (found,) = expand({"params": {"a": {"b": 1, "c": 2}, "d": 3}, "params_product": {"a": [{"b": 5}]}})
    assert json.dumps(found.params) == '{"a": {"b": 5}, "d": 3}'


def test_dotted_keys_reach_into_parameters():
    entry = {
        "params": {"a": {"b": 1, "c": 2}},
        "params_product": {"a.b": [7, 8]},
        "params_zip": {"n.m.k": [[1]]},
    }
    first, second = expand(entry)
    assert first.params == {"a": {"b": 7, "c": 2}, "n": {"m": {"k": [1]}}}
    assert second.params["a"] == {"b": 8, "c": 2}
    assert entry["params"] == {"a": {"b": 1, "c": 2}}


def test_combinations_share_nothing():
    first, second = expand({"params": {"a": [1]}, "params_product": {"b": [1, 2], "c": [[3]]}})
    first.params["a"].append(2)
    first.params["c"].append(2)
    assert second.params == {"a": [1], "b": 2, "c": [3]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"params_zip": {"a": [1], "b": [1, 2]}},
            "params_zip: the lists must have one length; given: a: 1, b: 2",
        ),
        ({"params_product": {"a": []}}, "params_product.a: needs a list of at least one value"),
        ({"params_zip": {"a": []}}, "params_zip.a: needs a list of at least one value"),
        ({"params_product": {"a": 5}}, "params_product.a: needs a list"),
        ({"params_product": {"a": [1]}, "params_zip": {"a": [1]}}, "params_product.a and params_zip.a reach"),
        ({"params_product": {"a": [{}], "a.b": [1]}}, "params_product.a and params_product.a.b reach"),
        (
            {"params": {"a": 3}, "params_product": {"a.b": [1]}},
            "params_product.a.b: params.a is not a mapping but 3",
        ),
        ({"params_product": {"a..b": [1]}}, "a part of the dotted name is empty"),
    ],
)
def test_refused(entry, message):
    with pytest.raises(ConfigurationError, match=message):
        expand(entry)


def test_flatten():
    assert flatten({"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}) == {
        "a.b": [1, {"c": 2}],
        "a.d": {},
        "e": None,
    }
    with pytest.raises(ConfigurationError, match="two parameters are called a.b"):
        flatten({"a.b": 1, "a": {"b": 2}})


def test_parameters_that_some_combinations_lack():
    rows = params_table(expand({"params_product": {"x": [{"a": 1}, {"b": 2}]}}))
    assert rows == [{"x.a": 1, "x.b": None}, {"x.a": None, "x.b": 2}]


def test_aliases():
    rows = params_table(
        expand({"params": {"k": 1}, "params_product": {"a.n": [1, 2], "b.n": [1, 2], "c.m": [[1], [2]]}})
    )
    assert aliases(rows) == [
        {"column": "a.n", "alias": "a.n"},
        {"column": "b.n", "alias": "b.n"},
        {"column": "c.m", "alias": "m"},
    ]
    assert aliases(params_table(expand({"params": {"k": 1}, "params_product": {"a": [1]}}))) == []
    assert aliases([]) == []


@pytest.mark.parametrize("case", ["dense_product", "sonata_09", "doc_config"])
def test_golden_params_and_aliases(shared, case):
    folder = shared / "golden/campaign" / case
    config = yaml.safe_load((folder / "config.yaml").read_text())
    found = expand(config["analysis"]["spikes"]["features"][0])
    rows = params_table(found)
    files = sorted((folder / "expected/spikes/concatenated").glob("*.params.json"))
    assert files
    for file in files:
        base = file.name.removesuffix(".params.json")
        params = json.loads(file.read_text())
        assert [list(row) for row in rows] == [params["columns"]] * len(params["data"])
        assert [list(row.values()) for row in rows] == params["data"]
        alias = json.loads((file.parent / f"{base}.aliases.json").read_text())
        assert [list(row.values()) for row in aliases(rows)] == alias["data"]
        tables = {path.stem for path in (folder / "expected/spikes/features").glob(f"{base}_[0-9]*.parquet")}
        assert tables == {f"{base}{combination.suffix}" for combination in found}


VALUES = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@given(
    st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3),
    st.integers(1, 3),
    st.lists(st.sampled_from("xyz"), unique=True, max_size=2),
)
def test_names_are_unique_and_positions_in_the_lists(product, length, names):
    zipped = {name: list(range(length)) for name in names}
    found = expand({"params_product": product, "params_zip": zipped})
    assert len({combination.suffix for combination in found}) == len(found)
    for combination in found:
        places, _, last = combination.suffix.partition("__")
        for (key, values), place in zip(product.items(), places.split("_")[1:], strict=True):
            assert combination.params[key] == values[int(place)]
        if names:
            assert combination.params[names[0]] == int(last)
