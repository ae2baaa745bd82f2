"""Older analysis configurations, by the steps that BlueETL's documentation gives."""

import argparse

import pytest
import yaml

from ephysflow.campaign.analysis_config import parse_analysis, read_analysis
from ephysflow.campaign.migration import migrate
from ephysflow.cli import migrate_config
from ephysflow.errors import ConfigurationError

WINDOWS = {"w": {"bounds": [0, 10]}}
FEATURES = [
    {
        "type": "multi",
        "groupby": ["simulation_id", "circuit_id", "neuron_class", "window"],
        "function": "firing_rates",
        "params_product": {"z": [1, 2], "a": [1]},
    }
]
VERSION_1 = {
    "simulation_campaign": "/data/config.json",
    "output": "out",
    "extraction": {
        "neuron_classes": {"L1": {"layer": [1], "$limit": 5}, "ids": {"gid": [1, 2]}},
        "limit": 10,
        "target": "Mosaic",
        "windows": WINDOWS,
    },
    "analysis": {"features": FEATURES, "colour": "red"},
    "author": "me",
}
VERSION_2 = {
    "version": 2,
    "simulation_campaign": "/data/config.json",
    "output": "out",
    "clear_cache": True,
    "analysis": {
        "spikes": {
            "extraction": {
                "report": {"type": "spikes"},
                "neuron_classes": {
                    "z": {"$query": {"layer": 1}, "$target": "T", "$gids": None},
                    "a": [{"layer": 1}, {"mtype": {"regex": "PC"}}],
                    "m": {},
                },
                "trial_steps": {"t": {"function": "onset_from_spikes", "bounds": [-1, 1], "target": "T"}},
                "windows": WINDOWS,
            }
        }
    },
}
VERSION_4 = {
    "version": 4,
    "simulation_campaign": "/data/config.json",
    "cache": {"path": "out"},
    "analysis": {
        "spikes": {
            "extraction": {
                "report": {"type": "spikes"},
                "neuron_classes": {
                    "L1": {"query": {"layer": [1]}, "limit": 5},
                    "ids": {"node_id": [1, 2]},
                },
                "limit": 10,
                "windows": WINDOWS,
                "node_set": "Mosaic",
            },
            "features": FEATURES,
            "custom": {"colour": "red"},
        }
    },
    "custom": {"author": "me"},
}


def changed(content, **changes):
    return {**content, **changes}


def in_class(choice):
    return {"version": 2, "analysis": {"s": {"extraction": {"neuron_classes": {"A": choice}}}}}


def test_version_1(tmp_path):
    before = yaml.safe_dump(VERSION_1)
    assert migrate(VERSION_1) == VERSION_4
    assert yaml.safe_dump(VERSION_1) == before
    parse_analysis(migrate(VERSION_1), tmp_path, "x")


def test_version_2(tmp_path):
    migrated = migrate(VERSION_2)
    assert migrated["cache"] == {"path": "out", "clear": True}
    assert not {"output", "clear_cache"} & set(migrated)
    extraction = migrated["analysis"]["spikes"]["extraction"]
    assert list(extraction["neuron_classes"].items()) == [
        ("z", {"query": {"layer": 1}, "node_set": "T", "node_id": None}),
        ("a", {"query": [{"layer": 1}, {"mtype": {"regex": "PC"}}]}),
        ("m", {}),
    ]
    assert extraction["trial_steps"]["t"]["node_set"] == "T"
    parse_analysis(migrated, tmp_path, "x")


def test_version_3():
    given = {"version": 3, "simulation_campaign": "c", "output": "o", "analysis": {}}
    assert list(migrate(given).items()) == [
        ("version", 4),
        ("simulation_campaign", "c"),
        ("cache", {"path": "o"}),
        ("analysis", {}),
    ]
    assert migrate({"version": 3, "cache": {"path": "p"}})["cache"] == {"path": "p"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VERSION_4, "4 already"),
        (changed(VERSION_4, version=5), "version: 5: allowed are 1 to 4"),
        (changed(VERSION_4, version="3"), "version: '3': allowed"),
        ({"analysis": {}}, "version: missing, and no section 'extraction'"),
        ([], "must be a mapping"),
        ({"extraction": 1}, "extraction: must be a mapping"),
        ({"version": 2}, "analysis: must be a mapping"),
        ({"version": 2, "analysis": {"s": {}}}, "analysis.s.extraction: must be a mapping"),
        (in_class({"$queries": 1}), r"'\$queries' is unknown \(known: \$query, \$target"),
        (in_class({"$query": {}, "layer": 1}), r"\$query and layer exclude each other"),
        (in_class({"$target": "a", "target": "b"}), "node_set is there under two names"),
        (in_class([{"$limit": 1}]), r"\$limit in a list of queries"),
        (in_class("x"), "neuron_classes.A: must be a mapping"),
        ({"version": 3, "output": "a", "cache": {}}, "cache: excludes output"),
    ],
)
def test_refused(content, message):
    with pytest.raises(ConfigurationError, match=message):
        migrate(content)


def command(*arguments):
    parser = argparse.ArgumentParser()
    migrate_config.add_arguments(parser)
    return migrate_config.run(parser.parse_args([str(argument) for argument in arguments]))


def test_command(tmp_path, capsys):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("# precious\n" + yaml.safe_dump(VERSION_2, sort_keys=False))
    assert command(old, new) == 0
    assert read_analysis(new).analyses["spikes"]
    shown = capsys.readouterr().out
    assert "version 2 brought to version 4" in shown
    assert "Comments are lost" in shown
    assert "node sets" in shown
    with pytest.raises(ConfigurationError, match="new.yaml: is already there"):
        command(old, new)
    with pytest.raises(ConfigurationError, match="new.yaml: version: 4 already"):
        command(new, tmp_path / "newer.yaml")


def test_sorted_command_keeps_the_order_that_means_something(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(VERSION_1, sort_keys=False))
    assert command(old, new, "--sort") == 0
    written = yaml.safe_load(new.read_text())
    assert written == VERSION_4
    assert list(written) == ["version", "simulation_campaign", "custom", "cache", "analysis"]
    spikes = written["analysis"]["spikes"]
    assert list(spikes["extraction"]) == ["report", "neuron_classes", "windows", "node_set", "limit"]
    assert list(spikes["extraction"]["neuron_classes"]) == ["L1", "ids"]
    assert list(spikes["features"][0]["params_product"]) == ["z", "a"]


def test_command_says_what_is_left_to_do(tmp_path, capsys):
    old, new = tmp_path / "old.yaml", tmp_path / "sub" / "new.yaml"
    extraction = {**VERSION_1["extraction"], "mystery": 1}
    old.write_text(yaml.safe_dump(changed(VERSION_1, extraction=extraction)))
    assert command(old, new) == 1
    shown = capsys.readouterr().out
    assert "analysis.spikes.extraction.mystery: unknown key" in shown
    assert "in another folder now" in shown
