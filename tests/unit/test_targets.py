"""Targets are read from every form that people have, and wrong ones are refused with what to change."""

import copy
import json

import numpy as np
import pandas as pd
import pytest

from ephysflow.efeatures.targets import Target, parse_targets, read_targets
from ephysflow.errors import ConfigurationError

KNOWN = ("Spikecount", "AP_amplitude", "mean_frequency", "voltage_base")
RECORD = {"efeature": "Spikecount", "protocol": "IDRest", "amplitude": 150, "tolerance": 20}


def test_list_form_with_defaults() -> None:
    (target,) = parse_targets([RECORD], KNOWN)
    assert target == Target("Spikecount", "IDRest", 150, 20.0, "Spikecount", {}, "soma")


def test_older_form_equals_its_expansion() -> None:
    older = {
        "IDRest": {
            "amplitudes": [150, 200],
            "tolerances": [20.0],
            "efeatures": {"Spikecount": {}, "mean_frequency": {"Threshold": -10.0}},
            "location": "soma",
        },
        "IV": {"amplitudes": [-20], "tolerances": [5], "efeatures": ["voltage_base"]},
    }
    listed = [
        {"efeature": f, "protocol": "IDRest", "amplitude": a, "tolerance": 20.0, "efel_settings": s}
        for a in (150, 200)
        for f, s in (("Spikecount", {}), ("mean_frequency", {"Threshold": -10.0}))
    ]
    listed.append({"efeature": "voltage_base", "protocol": "IV", "amplitude": -20, "tolerance": 5})
    assert parse_targets(older, KNOWN) == parse_targets(listed, KNOWN)


def test_input_is_not_changed() -> None:
    spec = {"IV": {"amplitudes": [-20], "tolerances": [5], "efeatures": {"voltage_base": {"b": 1, "a": 2}}}}
    before = copy.deepcopy(spec)
    (target,) = parse_targets(spec)
    target.efel_settings["a"] = 3  # type: ignore[index]
    assert spec == before


@pytest.mark.parametrize(
    ("amplitude", "key"),
    [
        (150, "IDRest_150"),
        (150.0, "IDRest_150.0"),
        (-0.1, "IDRest_-0.1"),
        (np.int64(150), "IDRest_150"),
        (np.float32(0.1), "IDRest_0.1"),
        (np.float64(150), "IDRest_150.0"),
    ],
)
def test_key_has_the_amplitude_as_given(amplitude: float, key: str) -> None:
    (target,) = parse_targets([RECORD | {"amplitude": amplitude, "tolerance": np.float32(20)}])
    assert target.key == key
    assert type(target.amplitude) in (int, float)


def test_settings_hold_plain_values_and_have_one_text() -> None:
    settings = {"strict_stiminterval": np.bool_(True), "Threshold": np.float32(-20), "interp_step": 0.1}
    (target,) = parse_targets([RECORD | {"efel_settings": settings}])
    assert json.loads(target.settings_text({})) == {
        "Threshold": -20.0,
        "interp_step": 0.1,
        "strict_stiminterval": True,
    }
    (other,) = parse_targets([RECORD | {"efel_settings": dict(reversed(settings.items()))}])
    assert other.settings_text({}) == target.settings_text({})
    assert json.loads(other.settings_text({"interp_step": 0.025, "stim_end": 5}))["interp_step"] == 0.1


def test_identical_targets_collapse_and_others_do_not() -> None:
    other_settings = RECORD | {"efel_settings": {"stim_end": 1200.0}}
    other_tolerance = RECORD | {"tolerance": 10}
    targets = parse_targets([RECORD, other_settings, RECORD, other_tolerance, dict(RECORD)])
    assert len(targets) == 3
    assert len(set(targets)) == 3


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"efeature": "AP_amplitud"}, ("target 0", "AP_amplitud", "did you mean AP_amplitude")),
        ({"tolerance": -5}, ("tolerance", "-5", "above 0")),
        ({"amplitude": "150%"}, ("amplitude", "150%", "finite number")),
        ({"amplitude": float("nan")}, ("amplitude", "nan")),
        ({"amplitude": True}, ("amplitude", "True")),
        ({"efel_setings": {}}, ("unknown key efel_setings", "did you mean efel_settings")),
        ({"efel_settings": [1]}, ("efel_settings", "mapping")),
        ({"efel_settings": {"Threshold": None}}, ("efel_settings", "Threshold", "None")),
        ({"efel_settings": {"Threshold": float("inf")}}, ("Threshold", "inf")),
        ({"protocol": ""}, ("protocol",)),
    ],
)
def test_wrong_value_is_named(record: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_targets([RECORD | record], KNOWN, source="my.yaml")
    assert all(word in str(caught.value) for word in ("my.yaml", *words))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_targets([{"efeature": "Spikecount"}, RECORD, RECORD | {"tolerance": 0}], KNOWN)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["target 0"] * 3 + ["target 2"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"amplitudes": [1], "tolerances": [1]}, "efeatures is missing"),
        ({"amplitudes": [1, 2, 3], "tolerances": [1, 2], "efeatures": ["Spikecount"]}, "2 tolerances for 3"),
        ({"amplitudes": [1], "tolerances": [1], "efeatures": "Spikecount"}, "must be lists"),
        (
            {"amplitudes": [1], "tolerances": [1], "efeatures": [], "locatoin": "soma"},
            "did you mean location",
        ),
        ([], "must be a mapping"),
    ],
)
def test_wrong_protocol_entry_is_named(entry: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_targets({"IV": entry})
    assert "protocol IV" in str(caught.value)


@pytest.mark.parametrize("spec", [None, "targets", 3, [3]])
def test_other_types_are_refused(spec: object) -> None:
    with pytest.raises(ConfigurationError, match="must be a"):
        parse_targets(spec)


def test_files_of_every_kind_give_the_same_targets(tmp_path) -> None:
    records = [
        RECORD | {"efel_settings": {"Threshold": -10.0}},
        RECORD | {"amplitude": 200.0, "location": "dend"},
    ]
    (tmp_path / "t.json").write_text(json.dumps(records))
    (tmp_path / "t.yaml").write_text(
        "- {efeature: Spikecount, protocol: IDRest, amplitude: 150, tolerance: 20, efel_settings: {Threshold: -10.0}}\n"
        "- {efeature: Spikecount, protocol: IDRest, amplitude: 200.0, tolerance: 20, location: dend}\n"
    )
    (tmp_path / "t.tsv").write_text(
        "# a comment\n"
        "efeature\tprotocol\tamplitude\ttolerance\tefel_settings\tlocation\n"
        'Spikecount\tIDRest\t150\t20\t"{""Threshold"": -10.0}"\t\n'
        "\n"
        "Spikecount\tIDRest\t200.0\t20\t\tdend\n"
    )
    expected = parse_targets(records)
    for name in ("t.json", "t.yaml", "t.tsv"):
        found = read_targets(tmp_path / name)
        assert found == expected
        assert [t.key for t in found] == ["IDRest_150", "IDRest_200.0"]
    assert parse_targets(pd.DataFrame(records)) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.json", "[", "not valid JSON"),
        ("t.yaml", "a: [", "not valid YAML"),
        ("t.tsv", "efeature\tprotocol\nSpikecount\tIV\t3\t4\n", "4 cells under 2"),
        ("t.tsv", "efeature\tprotocol\tamplitude\ttolerance\nSpikecount\tIV\tmany\t4\n", "'many'"),
        ("t.txt", "", "must be a .json"),
    ],
)
def test_damaged_files_are_named(tmp_path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_targets(tmp_path / name)
    assert name in str(caught.value)


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_targets(tmp_path / "absent.json")
