"""Wrong configurations are refused with one message that says what to change."""

from pathlib import Path

import pytest
import yaml

from ephysflow.configuration import load
from ephysflow.errors import ConfigurationError

SHEET = "cell\tprotocol\tfilepath\nc1\tIDrest\ta.nwb\n"
TARGETS = [{"efeature": "Spikecount", "protocol": "IDrest", "amplitude": 150, "tolerance": 20}]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "recordings.tsv").write_text(SHEET)
    return tmp_path


def loaded(folder, config):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return load(config, [file])


def minimal(**efeatures):
    return {"recordings": {"sheet": "recordings.tsv"}, "efeatures": {"targets": TARGETS, **efeatures}}


def test_defaults_are_filled_in_and_paths_are_relative_to_the_file(folder):
    configuration = loaded(folder, minimal())
    assert configuration.content["efeatures"]["rheobase"]["strategy"] == "absolute"
    assert configuration.content["efeatures"]["efel_settings"]["interp_step"] == 0.025
    assert Path(configuration.content["recordings"]["sheet"]).resolve() == folder / "recordings.tsv"
    assert Path(configuration.entries[0]["filepath"]).resolve() == folder / "a.nwb"
    assert configuration.content["results"] == "results"


def test_given_configuration_is_not_changed(folder):
    config = minimal()
    before = yaml.safe_dump(config)
    loaded(folder, config)
    assert yaml.safe_dump(config) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "nothing to do"),
        ({"recordings": {}}, "exactly one of sheet, files_metadata, legacy_config; none given"),
        ({"recordings": {"sheet": "recordings.tsv", "files_metadata": "x.json"}}, "exactly one of"),
        ({"recordings": {"sheet": "nowhere.tsv"}}, "nowhere.tsv"),
        ({"efeatures": {"targets": TARGETS}}, "needs a section recordings"),
        ({"efeature": {}}, r"efeature: unknown key; did you mean efeatures\?"),
        (minimal(rheobase={"strategy": "majorty"}), "efeatures.rheobase.strategy: 'majorty' is not one of"),
        (minimal(protocol_mode="lnmc"), "lnmc"),
        (minimal(threshold_nvalue_save=0), "threshold_nvalue_save: 0 is less than the minimum of 1"),
        (minimal(auto_targets=True), "targets and auto_targets exclude each other"),
        (minimal(sets={"../x": {"targets": TARGETS}}), "sets"),
        (minimal(targets=[{**TARGETS[0], "efeature": "Spikecounts"}]), "Spikecounts.*Spikecount"),
        (minimal(targets=None), "targets"),
        (minimal(buckets=0), "buckets: 0 is less than the minimum"),
        ({"recordings": {"sheet": "recordings.tsv", "quality": {"preset": "best"}}}, "'best' is not one of"),
    ],
)
def test_wrong_configurations(folder, config, message):
    with pytest.raises(ConfigurationError, match=message):
        loaded(folder, config)


def test_all_problems_come_at_once_with_the_file(folder):
    with pytest.raises(ConfigurationError) as error:
        loaded(folder, minimal(pooling="cell", buckets="many", tolerance=3))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all("config.yaml: efeatures." in line for line in lines)


def test_targets_may_stand_in_a_file_of_their_own(folder):
    (folder / "lists").mkdir()
    (folder / "lists" / "targets.yaml").write_text(yaml.safe_dump(TARGETS))
    config = minimal()
    config["efeatures"]["targets"] = "lists/targets.yaml"
    assert loaded(folder, config).target_sets[""].targets[0].efeature == "Spikecount"


def test_yaml_that_builds_objects_is_refused(folder):
    from ephysflow.io.yaml_files import read_yaml

    (folder / "bad.yaml").write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigurationError, match="bad.yaml"):
        read_yaml(folder / "bad.yaml")
