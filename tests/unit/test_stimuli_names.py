import pytest

from ephysflow.errors import ConfigurationError
from ephysflow.recordings.stimuli import CLASS_NAMES, STIMULI, stimulus_name


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("IDrest", "Step"),
        ("IDthresh", "Step"),
        ("APWaveform", "Step"),
        ("PassiveHyperpolarisation", "Step"),  # "iv" is part of "passive"
        ("StepRamp", "Step"),
        ("SpontAPs", "Spontaneous"),
        ("SponNoHold30", "Spontaneous"),
        ("StartNoHold", "Spontaneous"),
        ("StepSpontAPs", "Step"),
        ("sAHP", "SAHP"),
        ("IDhyperpol", "SAHP"),
        ("APThreshold", "Ramp"),
        ("AP_Thresh", "Ramp"),
        ("HyperDePol", "HyperDePol"),
        ("DeHyperPol", "DeHyperPol"),
        ("PosCheops", "PosCheops"),
        ("NegCheops", "NegCheops"),
        ("SpikeRec", "SpikeRec"),
        ("SineSpec", "SineSpec"),
        ("PinkNoise_2", "PinkNoise"),
        ("CapCheck", "CapCheck"),
    ],
)
def test_built_in_names(protocol, name):
    assert stimulus_name(protocol, {}) == name


def test_exact_names_of_the_user_come_before_parts_and_parts_before_built_in_ones():
    names = {"Long": "Ramp", "LongSquare": "Step", "idrest": "my.module.Mine"}
    assert stimulus_name("longsquare", names) == "Step"
    assert stimulus_name("VeryLong", names) == "Ramp"
    assert stimulus_name("IDrest", names) == "my.module.Mine"


def test_an_unknown_name_says_what_is_known():
    with pytest.raises(ConfigurationError, match=r"'Foo'.*HyperDePol.*CapCheck.*Stimulus"):
        stimulus_name("Foo", {})


def test_every_class_is_there():
    assert tuple(STIMULI) == CLASS_NAMES
