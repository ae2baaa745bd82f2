"""Stimuli: what a protocol's current looks like, when it happens and how strong it is."""

from collections.abc import Mapping

from ephysflow.recordings.stimuli.base import Stimulus, Timing, auto_threshold, describe
from ephysflow.recordings.stimuli.names import BUILT_IN_NAMES, CLASS_NAMES, stimulus_name
from ephysflow.recordings.stimuli.pulses import SpikeRec
from ephysflow.recordings.stimuli.ramps import NegCheops, PosCheops, Ramp
from ephysflow.recordings.stimuli.steps import SAHP, DeHyperPol, HyperDePol, Spontaneous, Step
from ephysflow.recordings.stimuli.waveforms import CapCheck, PinkNoise, SineSpec

STIMULI: Mapping[str, Stimulus] = {
    stimulus.name: stimulus
    for stimulus in (
        Step(),
        Spontaneous(),
        Ramp(),
        SAHP(),
        HyperDePol(),
        DeHyperPol(),
        PosCheops(),
        NegCheops(),
        SpikeRec(),
        SineSpec(),
        PinkNoise(),
        CapCheck(),
    )
}
"""The stimulus classes that ephysflow brings, by name."""

__all__ = [
    "BUILT_IN_NAMES",
    "CLASS_NAMES",
    "STIMULI",
    "Stimulus",
    "Timing",
    "auto_threshold",
    "describe",
    "stimulus_name",
]
