"""Campaign files: both formats, and what is refused."""

import json
import os
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.campaign_file import read_campaign
from ephysflow.errors import ConfigurationError


def product(**changes):
    """Two conditions in all combinations, as xarray writes them."""
    return {
        "name": "test",
        "attrs": {"path_prefix": "sims", "circuit_config": "../circuit/./circuit_config.json", "free": 1},
        "dims": ["seed", "ca"],
        "coords": {
            "ca": {"dims": ["ca"], "attrs": {}, "data": [1.0, 1.5, 2.0]},
            "seed": {"dims": ["seed"], "attrs": {}, "data": [7, 8]},
        },
        "data": [["a", "b", ""], ["https://host/x", "e/other.json", "/abs/../f"]],
    } | changes


def coupled(**changes):
    return {
        "name": None,
        "attrs": {"circuit_config": "/c/circuit.json"},
        "dims": ["pair"],
        "coords": {
            "seed": {"dims": ["pair"], "attrs": {}, "data": [1, 2]},
            "label": {"dims": ["pair"], "attrs": {}, "data": ["x", "x"]},
        },
        "data": ["0", "1"],
    } | changes


def native(**changes):
    return {
        "format": "blueetl",
        "version": 1,
        "name": "native",
        "attrs": {"path_prefix": ".", "circuit_config": "circuit.json"},
        "data": [
            {"seed": 1, "on": True, "window": [0, 1.5], "simulation_path": "0"},
            {"window": [1], "seed": 1, "on": None, "simulation_path": ""},
        ],
    } | changes


@pytest.fixture
def read(tmp_path):
    def written(content, dump=json.dumps):
        path = tmp_path / "campaign.json"
        path.write_text(content if isinstance(content, str) else dump(content))
        return read_campaign(path)

    return written


def test_product_is_in_c_order_of_dims(read, tmp_path):
    campaign = read(product())
    assert campaign.condition_names == ["seed", "ca"]
    assert campaign.conditions == [{"seed": s, "ca": c} for s in (7, 8) for c in (1.0, 1.5, 2.0)]
    sims = f"{tmp_path}/sims"
    assert campaign.paths == [
        f"{sims}/a/simulation_config.json",
        f"{sims}/b/simulation_config.json",
        "",
        "https://host/x",
        f"{sims}/e/other.json",
        "/f/simulation_config.json",
    ]
    assert campaign.attrs == {
        "path_prefix": sims,
        "circuit_config": f"{tmp_path.parent}/circuit/circuit_config.json",
        "free": 1,
    }
    assert (campaign.name, campaign.file) == ("test", tmp_path / "campaign.json")


def test_coupled_conditions_vary_together_and_the_dimension_is_none(read, tmp_path):
    campaign = read(coupled())
    assert campaign.conditions == [{"seed": 1, "label": "x"}, {"seed": 2, "label": "x"}]
    assert campaign.paths == [f"{tmp_path}/{i}/simulation_config.json" for i in (0, 1)]
    assert campaign.name == ""


def test_native_rows_have_one_order_of_conditions(read, tmp_path):
    campaign = read(native())
    assert [list(row) for row in campaign.conditions] == [["seed", "on", "window"]] * 2
    assert campaign.conditions[1] == {"seed": 1, "on": None, "window": [1]}
    assert campaign.paths == [f"{tmp_path}/0/simulation_config.json", ""]


@pytest.mark.parametrize("content", [product(), coupled(), native()])
def test_yaml_holds_the_same(read, content):
    assert read(content, yaml.safe_dump).conditions == read(content).conditions


def test_no_simulations(read):
    campaign = read(native(data=[]))
    assert (campaign.conditions, campaign.paths, campaign.condition_names) == ([], [], [])


def test_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "campaign.json").write_text(json.dumps(native()))
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert read_campaign(tmp_path / "link/campaign.json").attrs["path_prefix"] == f"{tmp_path}/link"


def without(content, key):
    return {k: v for k, v in content.items() if k != key}


def seeds(values, **more):
    return {"seed": {"dims": ["seed"], "attrs": {}, "data": values}} | more


BAD = {
    "no keys": ("[1, 2]", "holds no keys"),
    "not yaml": ("a: [", "neither JSON nor YAML"),
    "python object": ("name: !!python/tuple [1]", "neither JSON nor YAML"),
    "another file": ({"name": "x", "data": []}, "neither 'format: blueetl' nor"),
    "format": (native(format="csv"), "'csv' is not known; allowed is 'blueetl'"),
    "version": (native(version=2), "version: 2 is not known; allowed is 1"),
    "native key missing": (without(native(), "attrs"), "'attrs' is missing"),
    "array key missing": (without(product(), "coords"), "'coords' is missing"),
    "unknown key": (product(extra=1), "unknown key 'extra'"),
    "circuit missing": (native(attrs={}), "'circuit_config' is missing"),
    "BlueConfig": (
        native(attrs={"circuit_config": "CircuitConfig"}),
        "BlueConfig simulations are not supported",
    ),
    "circuit is a number": (native(attrs={"circuit_config": 3}), "attrs.circuit_config: 3 is not a path"),
    "attrs": (native(attrs=[1]), "attrs: must be"),
    "name": (native(name=3), "name: 3 is not a text"),
    "row without path": (native(data=[{"seed": 1}]), "row 0: key 'simulation_path' is missing"),
    "rows of other conditions": (
        native(data=[{"a": 1, "simulation_path": ""}, {"b": 1, "simulation_path": ""}]),
        "row 1: every row must have the same conditions; not all have 'a', 'b'",
    ),
    "rows are texts": (native(data=["x"]), "data: must be a list"),
    "path is a number": (
        native(data=[{"seed": 1, "simulation_path": 0}]),
        "row 0: simulation path 0 is not a text",
    ),
    "same conditions": (
        native(data=[{"s": 1, "simulation_path": p} for p in "ab"]),
        "rows 0 and 1 have the same",
    ),
    "same value twice": (
        product(dims=["seed"], coords=seeds([7, 7]), data=["a", "b"]),
        'conditions: {"seed":7}',
    ),
    "reserved": (native(data=[{"circuit_id": 1, "simulation_path": ""}]), "'circuit_id': this name is taken"),
    "condition is a number": (
        "format: blueetl\nversion: 1\nname: x\nattrs: {circuit_config: c.json}\n"
        "data: [{1: 2, simulation_path: ''}]",
        "condition 1: its name must be a text",
    ),
    "NaN": (native(data=[{"a": float("nan"), "simulation_path": ""}]), "'a': nan is not a finite number"),
    "mapping": (native(data=[{"a": {"b": 1}, "simulation_path": ""}]), "'a': a value of type dict; allowed"),
    "huge integer": (native(data=[{"a": 2**63, "simulation_path": ""}]), "'a': an integer outside -2**63"),
    "huge integer in a list": (
        native(data=[{"a": [-(2**63) - 1], "simulation_path": ""}]),
        "an integer outside",
    ),
    "half a character": (
        native(data=[{"a": "\ud800", "simulation_path": ""}]),
        "is not text that UTF-8 can hold",
    ),
    "half a character in a name": (native(data=[{"\ud800": 1, "simulation_path": ""}]), "condition names: "),
    "half a character in a path": (native(data=[{"simulation_path": "\ud800"}]), "row 0: simulation path: "),
    "half a character in the circuit": (native(attrs={"circuit_config": "\ud800.json"}), "is not a path"),
    "a list that holds itself": (
        "{name: x, attrs: {circuit_config: c.json}, dims: [seed], data: [a],"
        " coords: {seed: {dims: [seed], data: [&a [*a]]}}}",
        "'seed': lists are nested more than 10 levels",
    ),
    "nothing at all": (product(dims=["seed"], coords={}, data=None), "data: None is not a list"),
    "dims": (product(dims="seed"), "dims: 'seed' is not a list"),
    "dims twice": (product(dims=["seed", "seed"]), "is not a list of different names"),
    "coords": (product(coords=[]), "coords: must give"),
    "coordinate missing": (product(dims=["seed", "ca", "dt"]), "values of the dimension 'dt' are missing"),
    "coordinate of no dimension": (
        product(coords=product()["coords"] | {"z": {"dims": ["ca"], "data": [1, 2, 3]}}),
        "coords.z: is not one of dims",
    ),
    "coordinate without data": (
        product(dims=["seed"], coords={"seed": {"dims": ["seed"]}}),
        "'dims' and 'data'",
    ),
    "coordinate is one value": (product(dims=["seed"], coords=seeds(7)), "coords.seed.data: must be a list"),
    "coordinate along another": (
        coupled(coords={"seed": {"dims": ["other"], "data": [1, 2]}}),
        "coords.seed.dims: ['other'] must be ['pair']",
    ),
    "coupled lengths": (
        coupled(coords={"a": {"dims": ["pair"], "data": [1, 2]}, "b": {"dims": ["pair"], "data": [1]}}),
        "coords.b: 1 values, but other conditions have 2",
    ),
    "ragged data": (product(data=[["a", "b", "c"], ["d"]]), "data[1]: 1 entries, but 3 are needed"),
    "flat data": (product(data=["a", "b"]), "data[0]: 'a', but 3 are needed"),
    "too many": (
        product(
            dims=list("abcdefg"),
            coords={d: {"dims": [d], "data": list(range(10))} for d in "abcdefg"},
        ),
        "10000000 simulations; at most 1000000",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_what_is_refused(read, tmp_path, content, message):
    with pytest.raises(ConfigurationError) as error:
        read(content)
    assert str(tmp_path / "campaign.json") in str(error.value)
    assert message in str(error.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_campaign(tmp_path / "none.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigurationError, match="is not text"):
        read_campaign(tmp_path / "binary")


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats()
ANYTHING = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dims", "data", "a"]), inner)
    ),
    max_leaves=6,
)


@given(content=st.sampled_from([product(), coupled(), native()]), key=st.sampled_from(
    ["name", "attrs", "data", "dims", "coords", "format", "version"]), value=ANYTHING)  # fmt: skip
def test_any_value_is_read_or_refused_clearly(tmp_path_factory, content, key, value):
    path = tmp_path_factory.getbasetemp() / "any_campaign.json"
    path.write_text(json.dumps(content | {key: value}))
    with suppress(ConfigurationError):
        campaign = read_campaign(path)
        assert len(campaign.conditions) == len(campaign.paths)
