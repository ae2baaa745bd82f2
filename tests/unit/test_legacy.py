"""BluePyEfe-1 configurations are used unchanged, and what is not honoured is said."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ephysflow.efeatures.targets import parse_targets
from ephysflow.errors import ConfigurationError
from ephysflow.recordings.legacy import LegacyConfiguration, read_legacy

CONFIG: dict[str, Any] = {
    "features": {"IDrest": ["ISI_CV", "spikerate_drop"], "IV": ["voltage_base"]},
    "path": "./data",
    "format": "igor",
    "comment": ["free text"],
    "cells": {
        "C1": {
            "v_corr": False,
            "ljp": 14,
            "experiments": {
                "IDrest": {
                    "location": "soma.v",
                    "files": [
                        {
                            "i_file": "C1/i_1.ibw",
                            "v_file": "C1/v_1.ibw",
                            "i_unit": "A",
                            "v_unit": "V",
                            "t_unit": "s",
                        },
                        {
                            "i_file": "C1/i_2.ibw",
                            "v_file": "C1/v_2.ibw",
                            "dt": 0.00025,
                            "ljp": 10,
                            "toff": 2600,
                        },
                    ],
                },
                "IV": {"location": "soma.v", "files": [{"i_file": "C1/i_3.ibw", "v_file": "C1/v_3.ibw"}]},
            },
        },
        "C2": {
            "v_corr": -70,
            "ljp": False,
            "experiments": {"IDrest": {"files": [{"filepath": "/abs/c2.nwb"}]}},
        },
    },
    "options": {
        "onoff": {"IDrest": [700, 2700]},
        "expthreshold": ["IDrest"],
        "spike_threshold": 2,
        "relative": True,
        "target": [-20, "noinput", 150, "all"],
        "tolerance": [5, False, 10, False],
        "strict_stiminterval": {"base": True, "IV": False},
        "delay": 0,
        "nanmean": True,
    },
}


def read(tmp_path: Path, change: dict[str, Any] | None = None, **options: Any) -> LegacyConfiguration:
    config = copy.deepcopy(CONFIG) | (change or {})
    config["options"] = config["options"] | options
    path = tmp_path / "legacy.json"
    path.write_text(json.dumps(config))
    return read_legacy(path)


def test_files_times_and_corrections(tmp_path) -> None:
    """Defect 24: ljp and v_corr of a cell were lost, and paths were prefixed twice at a second reading."""
    first, second, third, fourth = read(tmp_path).entries
    assert first == {
        "cell": "C1",
        "protocols": {"IDrest": ["IDrest"]},
        "ljp": 14,
        "ton": 700,
        "toff": 2700,
        "i_file": str(tmp_path / "data/C1/i_1.ibw"),
        "v_file": str(tmp_path / "data/C1/v_1.ibw"),
        "i_unit": "A",
        "v_unit": "V",
        "t_unit": "s",
    }
    assert (second["ljp"], second["ton"], second["toff"]) == (10, 700, 2600)
    assert third["protocols"] == {"IV": ["IV"]}
    assert "ton" not in third
    assert fourth == {
        "cell": "C2",
        "protocols": {"IDrest": ["IDrest"]},
        "v_corr": -70,
        "ton": 700,
        "toff": 2700,
        "filepath": "/abs/c2.nwb",
    }


def test_targets_are_features_times_amplitudes(tmp_path) -> None:
    efeatures = read(tmp_path).efeatures
    targets = parse_targets(efeatures["targets"])
    found = [(t.efeature, t.key, t.tolerance, t.efel_settings, t.location) for t in targets]
    assert found == [
        ("ISI_CV", "IDrest_-20", 5.0, {"strict_stiminterval": True}, "soma"),
        ("ISI_CV", "IDrest_0", 10.0, {"strict_stiminterval": True}, "soma"),
        ("ISI_CV", "IDrest_150", 10.0, {"strict_stiminterval": True}, "soma"),
        ("voltage_base", "IV_-20", 5.0, {"strict_stiminterval": False}, "soma"),
        ("voltage_base", "IV_0", 10.0, {"strict_stiminterval": False}, "soma"),
        ("voltage_base", "IV_150", 10.0, {"strict_stiminterval": False}, "soma"),
    ]
    assert efeatures["rheobase"] == {
        "strategy": "absolute",
        "settings": {"spike_threshold": 2},
        "protocols": ["IDrest"],
    }
    assert efeatures["absolute_amplitude"] is False


def test_absolute_amplitudes(tmp_path) -> None:
    assert read(tmp_path, relative=False).efeatures["absolute_amplitude"] is True


def test_onoff_may_be_absent(tmp_path) -> None:
    """Defect 24: the translation needed options.onoff."""
    legacy = read(tmp_path, onoff=None)
    assert all("ton" not in entry for entry in legacy.entries)
    assert any("IDrest, IV: they are detected" in note for note in legacy.notes)


def test_what_is_not_honoured_is_said(tmp_path) -> None:
    cells = copy.deepcopy(CONFIG["cells"])
    cells["C1"] |= {"etype": "cAC"}
    legacy = read(tmp_path, {"cells": cells, "nonsense": 1}, delay=50, boxcox=True, new_option=3)
    text = "\n".join(legacy.notes)
    for words in (
        "delay is 50",
        "boxcox is True",
        "new_option is 3",
        "nonsense: not known",
    ):
        assert words in text
    assert "etype of C1: not honoured" in text
    assert "nanmean" not in text
    assert "spikerate_drop skipped" in text
    assert "all skipped" in text


def test_least_amplitude_of_the_rheobase(tmp_path) -> None:
    assert read(tmp_path, amp_min=0.1).efeatures["rheobase"]["min_amplitude"] == 0.1
    assert "min_amplitude" not in read(tmp_path, amp_min=0).efeatures["rheobase"]


@pytest.mark.parametrize(
    ("exclude", "unit", "expected"),
    [
        ([[0.1], [0.2, 0.3]], ["nA"], [[0.1], [0.2, 0.3]]),
        ([100, 200], "pA", [[0.1, 0.2], [0.1, 0.2]]),
        ([[100]], ["pA"], [[0.1], [0.1]]),
        ([[0.1], [], [0.2]], None, [[0.1, 0.2], [0.1, 0.2]]),
        ([[], []], None, [None, None]),
    ],
)
def test_amplitudes_to_leave_out(tmp_path, exclude, unit, expected) -> None:
    files = ["a.abf", "b.abf"]
    cells = {"H": {"exclude": exclude, "exclude_unit": unit, "experiments": {"step": {"files": files}}}}
    entries = read(tmp_path, {"cells": cells, "format": "axon"}).entries
    assert [
        entry.get("exclude_amplitudes") and pytest.approx(entry["exclude_amplitudes"]) for entry in entries
    ] == expected


def test_amplitudes_to_leave_out_that_make_no_sense(tmp_path) -> None:
    cells = {"H": {"exclude": ["big"], "experiments": {"step": {"files": ["a.abf"]}}}}
    with pytest.raises(ConfigurationError, match=r"cells.H.exclude is \['big'\]"):
        read(tmp_path, {"cells": cells, "format": "axon"})


def test_plain_file_names_of_axon(tmp_path) -> None:
    cells = {"H": {"experiments": {"step": {"location": "soma", "files": ["96711008", "96711009.abf"]}}}}
    entries = read(tmp_path, {"cells": cells, "format": "axon"}).entries
    assert [Path(entry["filepath"]).name for entry in entries] == ["96711008.abf", "96711009.abf"]


def test_text_files_by_filename(tmp_path) -> None:
    file = {"filename": "d/p.txt", "dt": 0.1, "amplitudes": [1, 2], "hypamp": -20, "ton": 400, "toff": 900}
    cells = {"H": {"experiments": {"step": {"files": [file]}}}}
    (entry,) = read(tmp_path, {"cells": cells, "format": "csv_lccr"}).entries
    assert entry["filepath"] == str(tmp_path / "data/d/p.txt")
    assert entry["amplitudes"] == [1, 2]


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"cells": {}}, {}, "cells: must be a mapping"),
        ({"features": []}, {}, "features: must be a mapping"),
        ({"cells": {"C1": {}}}, {}, r"cells\.C1: must be a mapping with experiments"),
        ({"cells": {"C1": {"experiments": {"IV": []}}}}, {}, "list of files"),
        ({"cells": {"C1": {"experiments": {"IV": {"files": [3]}}}}}, {}, "must be the path of a file"),
        ({"cells": {"../C": CONFIG["cells"]["C2"]}}, {}, "cannot be part of a file name"),
        ({"features": {"IV": "voltage_base"}}, {}, r"features\.IV"),
        ({}, {"onoff": {"IDrest": 700}}, r"options\.onoff\.IDrest is 700"),
        ({}, {"target": None}, r"options\.target"),
        ({}, {"tolerance": [1, 2]}, r"options\.tolerance has 2 values and options\.target 4"),
    ],
)
def test_wrong_configurations_are_named(tmp_path, change: dict, options: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        read(tmp_path, change, **options)
    assert all("legacy.json: " in line for line in str(caught.value).splitlines())


def test_other_files_are_refused(tmp_path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        read_legacy(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        read_legacy(tmp_path / "a.json")
    with pytest.raises(ConfigurationError, match="No such file"):
        read_legacy(tmp_path / "absent.json")


def test_published_configuration_gives_what_bluepyefe_was_given(shared) -> None:
    """The case of two cells was translated by BluePyEfe, whose loss of ljp (defect 24) was mended by hand."""
    case = shared / "golden" / "efeatures" / "sscx2_legacy_config"
    translated = json.loads((case / "config.json").read_text())
    legacy = read_legacy(case / "legacy_config_input.json")
    paths = ("i_file", "v_file")
    found: dict[str, dict[str, list]] = {}
    for entry in legacy.entries:
        (protocol,) = entry["protocols"]
        metadata = {k: v for k, v in entry.items() if k not in ("cell", "protocols")}
        metadata |= {key: str(Path(metadata[key]).relative_to(case)) for key in paths}
        found.setdefault(entry["cell"], {}).setdefault(protocol, []).append(metadata)
    assert found == translated["files_metadata"]
    assert parse_targets(legacy.efeatures["targets"]) == parse_targets(translated["targets"])
    assert legacy.efeatures["rheobase"]["protocols"] == translated["options"]["protocols_rheobase"]
    assert legacy.efeatures["rheobase"]["settings"] == translated["options"]["rheobase_settings"]


def test_published_configuration_finds_its_files(shared) -> None:
    legacy = read_legacy(shared / "data" / "patchclamp" / "sscx" / "legacy_config.json")
    assert {entry["cell"] for entry in legacy.entries} == {
        "C060109A1-SR-C1",
        "C060109A2-SR-C1",
        "C060114A5-SR-C1",
        "C061128A1-SR-C1",
    }
    assert all(Path(entry[key]).is_file() for entry in legacy.entries for key in ("i_file", "v_file"))
