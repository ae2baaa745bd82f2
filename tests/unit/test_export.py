"""Files for model fitting: BluePyEfe's layout, valid JSON, nothing that its reader misunderstands."""

import json

import numpy as np
import pandas as pd
import pytest

from ephysflow.efeatures.export import (
    currents_json,
    exported_name,
    features_json,
    json_text,
    protocols_json,
    unplayable,
)
from ephysflow.efeatures.grouping import GroupedFeatures, GroupedStimulus
from ephysflow.errors import ConfigurationError


def row(key: str, efeature: str, **others: object) -> dict:
    given = {"key": key, "location": "soma", "efeature_name": efeature, "efeature": efeature}
    return given | {"settings": {"Threshold": -20.0}, "n": 3, "mean": 5.0, "std": 0.5, "kept": True} | others


def stimulus(ecode: str, step: dict) -> GroupedStimulus:
    return GroupedStimulus(ecode, ecode, {"tend": 3000.0, "hypamp": -0.05}, step)


GROUPED = GroupedFeatures(
    pd.DataFrame(
        [
            row("IDrest_150", "Spikecount"),
            row("IDrest_150", "AP_amplitude", efeature_name="height", location="dend"),
            row("IDrest_150", "ISI_CV", kept=False, mean=np.nan, std=np.nan, n=0),
            row("SpikeRec_10", "Spikecount"),
        ]
    ),
    {
        "IDrest_150": stimulus("Step", {"delay": 700.0, "amp": 0.1, "thresh_perc": None}),
        "SpikeRec_10": stimulus(
            "SpikeRec", {"delay": 10.0, "n_spikes": 1, "delta": None, "thresh_perc": 700.0}
        ),
    },
)


def test_features_layout() -> None:
    assert features_json(GROUPED) == {
        "IDrest_150": {
            "soma": [
                {
                    "feature": "Spikecount",
                    "val": [5.0, 0.5],
                    "n": 3,
                    "efel_settings": {"Threshold": -20.0},
                    "efeature_name": "Spikecount",
                }
            ],
            "dend": [
                {
                    "feature": "AP_amplitude",
                    "val": [5.0, 0.5],
                    "n": 3,
                    "efel_settings": {"Threshold": -20.0},
                    "efeature_name": "height",
                }
            ],
        },
        "SpikeRecMultiSpikes_10": {"soma": [features_json(GROUPED)["IDrest_150"]["soma"][0]]},
    }


def test_protocols_layout_leaves_out_what_is_not_known() -> None:
    holding = {"delay": 0.0, "amp": -0.05, "duration": 3000.0, "totduration": 3000.0}
    assert protocols_json(GROUPED) == {
        "IDrest_150": {"holding": holding, "step": {"delay": 700.0, "amp": 0.1, "thresh_perc": None}},
        "SpikeRecMultiSpikes_10": {
            "holding": holding,
            "step": {"delay": 10.0, "n_spikes": 1, "thresh_perc": 700.0},
        },
    }


def test_features_and_protocols_have_the_same_names() -> None:
    assert set(features_json(GROUPED)) == set(protocols_json(GROUPED))


@pytest.mark.parametrize(
    ("key", "ecode", "name"),
    [
        ("SpikeRec_10", "SpikeRec", "SpikeRecMultiSpikes_10"),
        ("myspikerec_-1.5", "SpikeRec", "mySpikeRecMultiSpikes_-1.5"),
        ("SpikeRecMultiSpikes_10", "SpikeRec", "SpikeRecMultiSpikes_10"),
        ("SpikeRec_10", "Step", "SpikeRec_10"),
        ("IDrest_150", "Step", "IDrest_150"),
    ],
)
def test_names_of_pulses(key: str, ecode: str, name: str) -> None:
    assert exported_name(key, ecode) == name


def test_currents_are_means_over_cells() -> None:
    sweeps = pd.DataFrame({"cell": ["A", "A", "B"], "hypamp": [-0.1, -0.3, -0.4]})
    found = currents_json(sweeps, {"A": 0.2, "B": 0.4, "C": None})
    assert found["all_holding_current"] == pytest.approx({"A": -0.2, "B": -0.4}, rel=1e-12)
    assert found["holding_current"] == pytest.approx([-0.3, 0.1], rel=1e-12)
    assert found["threshold_current"] == pytest.approx([0.3, 0.1], rel=1e-12)
    assert found["all_threshold_current"] == {"A": 0.2, "B": 0.4}


def test_currents_of_one_cell_have_the_default_std_and_no_nan() -> None:
    """Defect 22: NaN, which is not JSON, stood where no cell had a rheobase."""
    sweeps = pd.DataFrame({"cell": ["A"], "hypamp": [-0.1]})
    found = currents_json(sweeps, {"A": None}, 0.002)
    assert found == {
        "holding_current": [-0.1, 0.002],
        "all_holding_current": {"A": -0.1},
        "all_threshold_current": {},
    }
    assert json.loads(json_text(found)) == found


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_text_is_json_or_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        json_text({"a": value})


def test_stimuli_that_the_client_cannot_play_are_named() -> None:
    playable = [
        "IDrest_150",
        "IV_-20",
        "SpikeRecMultiSpikes_10",
        "sAHP_150.0",
        "PosCheops_300",
        "APThreshold_300",
    ]
    others = ["CapCheck_30", "PinkNoise_100", "delta_5", "starthold_1", "sponaps_0", "RMP_0"]
    found = unplayable([*playable, *others])
    assert list(found) == others
    assert all(found.values())
