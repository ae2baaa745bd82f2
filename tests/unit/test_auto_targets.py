"""Auto targets choose the first amplitudes that enough sweeps have, without a memory."""

import numpy as np
import pytest

from ephysflow.efeatures.auto_targets import (
    DEFAULT_AUTO_TARGETS,
    AutoTarget,
    candidate_features,
    choose,
    parse_auto_targets,
)
from ephysflow.errors import ConfigurationError

AUTO = AutoTarget(("IDrest", "Step"), (200, 150, 250), ("Spikecount", "ISI_CV"), 2, 2, 10.0)


def pairs(targets) -> list[tuple[str, float]]:
    return list(dict.fromkeys((t.protocol, t.amplitude) for t in targets))


def test_order_of_protocols_then_amplitudes_decides() -> None:
    amplitudes = {"Step": np.array([200.0, 200, 150, 150]), "IDrest": np.array([251.0, 249, 152, 148, 200])}
    assert pairs(choose([AUTO], amplitudes)) == [("IDrest", 150), ("IDrest", 250)]


def test_tolerance_is_strict_and_nan_does_not_count() -> None:
    assert choose([AUTO], {"Step": np.array([210.0, 190.0, np.nan, np.nan])}) == ()
    assert pairs(choose([AUTO], {"Step": np.array([209.9, 190.1, np.nan])})) == [("Step", 200)]


def test_no_state_is_kept_between_calls() -> None:
    full, empty = {"Step": np.array([200.0, 200.0])}, {"Step": np.array([])}
    first = choose([AUTO], full)
    assert choose([AUTO], empty) == ()
    assert choose([AUTO], full) == first
    assert len(first) == 2


def test_each_entry_counts_for_itself_and_common_targets_appear_once() -> None:
    amplitudes = {"IDrest": np.array([300.0])}
    targets = choose(DEFAULT_AUTO_TARGETS, amplitudes)
    assert len(targets) == len(set(targets))
    assert pairs(targets) == [("IDrest", 300)]
    # 19 + 10 features, of which AP_amplitude, AP1_amp, AHP_depth and AHP_time_from_peak are in both sets
    assert len(targets) == 25


def test_protocol_names_are_exact() -> None:
    assert choose([AUTO], {"step": np.array([200.0, 200.0])}) == ()


def test_candidates_are_the_union_of_entries_that_name_the_protocol() -> None:
    assert candidate_features(DEFAULT_AUTO_TARGETS, "APWaveform") == DEFAULT_AUTO_TARGETS[1].efeatures
    assert set(candidate_features(DEFAULT_AUTO_TARGETS, "IV")) == {
        n for a in DEFAULT_AUTO_TARGETS for n in a.efeatures
    }
    assert candidate_features(DEFAULT_AUTO_TARGETS, "sAHP") == ()


def test_default_sets_are_those_of_the_reference() -> None:
    assert [len(entry.efeatures) for entry in DEFAULT_AUTO_TARGETS] == [19, 10, 11]
    assert parse_auto_targets("default") is DEFAULT_AUTO_TARGETS


def test_configuration_is_read() -> None:
    spec = [
        {"protocols": ["Step"], "amplitudes": [np.float32(150)], "efeatures": ["Spikecount"], "tolerance": 5}
    ]
    assert parse_auto_targets(spec, ["Spikecount"]) == (
        AutoTarget(("Step",), (150,), ("Spikecount",), tolerance=5),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": ["Step"]}, "did you mean protocols"),
        ({"protocols": "Step"}, "protocols is 'Step'; it must be a list of texts"),
        ({"amplitudes": []}, "amplitudes is .*not empty"),
        ({"efeatures": ["Spikecnt"]}, "did you mean Spikecount"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"min_recordings_per_amplitude": 0}, "1 or more"),
        ({"preferred_number_protocols": 1.5}, "whole number"),
    ],
)
def test_wrong_configuration_is_named(change: dict, words: str) -> None:
    entry = {"protocols": ["Step"], "amplitudes": [150], "efeatures": ["Spikecount"]} | change
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_auto_targets([entry], ["Spikecount"])
    assert "entry 0" in str(caught.value)


@pytest.mark.parametrize("spec", ["firing", None, [3]])
def test_other_types_are_refused(spec: object) -> None:
    with pytest.raises(ConfigurationError, match="must be"):
        parse_auto_targets(spec)
