"""Which stimulus class a protocol name stands for."""

from collections.abc import Mapping

from ephysflow.errors import ConfigurationError

CLASS_NAMES = (
    "Step",
    "Spontaneous",
    "Ramp",
    "SAHP",
    "HyperDePol",
    "DeHyperPol",
    "PosCheops",
    "NegCheops",
    "SpikeRec",
    "SineSpec",
    "PinkNoise",
    "CapCheck",
)
"""Names of the stimulus classes that ephysflow brings."""

_STEP = (
    "spontaneous idrest idthresh idthres idthreshold apwaveform iv step genericstep spontaps sponaps firepattern "
    "sponnohold30 sponhold30 spontnohold30 sponthold30 spontaneousnohold starthold startnohold delta"
)
_SPONTANEOUS = (
    "spontaneous spontaps sponaps sponnohold30 sponhold30 spontnohold30 sponthold30 spontaneousnohold starthold "
    "startnohold"
)
_SAHP = "sahp idhyperpol irdepol irhyperpol iddepol"
_RAMP = "ramp ap_thresh apthresh apthreshold"

BUILT_IN_NAMES: tuple[tuple[str, str], ...] = (
    *((part, "Spontaneous" if part in _SPONTANEOUS.split() else "Step") for part in _STEP.split()),
    *((part, "SAHP") for part in _SAHP.split()),
    *((part, "Ramp") for part in _RAMP.split()),
    ("hyperdepol", "HyperDePol"),
    ("dehyperpol", "DeHyperPol"),
    ("negcheops", "NegCheops"),
    ("poscheops", "PosCheops"),
    ("spikerec", "SpikeRec"),
    ("sinespec", "SineSpec"),
    ("pinknoise", "PinkNoise"),
    ("capcheck", "CapCheck"),
)
"""(part of a lower-case protocol name, stimulus class); the first part that occurs decides (as in BluePyEfe)."""


def stimulus_name(protocol: str, user_names: Mapping[str, str]) -> str:
    """Find the stimulus class of a protocol.

    A name of the user that equals the protocol decides first, then the first name of the user that is a part of it,
    then `BUILT_IN_NAMES`; upper and lower case are the same throughout.

    Parameters
    ----------
    protocol : protocol name, as in the sample sheet
    user_names : {protocol name or part of one: stimulus class name or dotted path of a class}

    Raises
    ------
    ConfigurationError
        When no name occurs in `protocol`.
    """
    wanted = protocol.lower()
    for name, stimulus in user_names.items():
        if name.lower() == wanted:
            return stimulus
    for name, stimulus in (*user_names.items(), *BUILT_IN_NAMES):
        if name.lower() in wanted:
            return stimulus
    raise ConfigurationError(
        f"protocol {protocol!r}: its name does not tell what its stimulus looks like. Map it to a stimulus class, "
        f"for example {{{protocol!r}: 'Step'}}; known classes: {', '.join(CLASS_NAMES)}, or the dotted path of "
        "a subclass of ephysflow.recordings.stimuli.Stimulus"
    )
