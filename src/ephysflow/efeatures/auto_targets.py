"""Auto targets: amplitudes chosen from what the recordings hold, for features named beforehand.

Extraction computes the features on every sweep of the protocols named here (`candidate_features`); which amplitudes
become targets is decided afterwards from all cells together (`choose`). Nothing is remembered between calls.

BluePyEfe sets ``upper_bound_spikecount`` to 4 for the rheobase strategy *flush* when it chooses targets itself and
no settings are given. Here auto targets have no influence on the rheobase: state the bound in its settings.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ephysflow.efeatures.targets import Target, plain_number, unknown_name
from ephysflow.errors import ConfigurationError


@dataclass(frozen=True)
class AutoTarget:
    """Features wanted at the first amplitudes that enough sweeps have.

    Attributes
    ----------
    protocols : names of protocols, the preferred ones first
    amplitudes : amplitudes [percent of the rheobase], the preferred ones first
    efeatures : names of eFEL features
    min_recordings_per_amplitude : number of sweeps, all cells together, that an amplitude needs
    preferred_number_protocols : at most so many pairs of protocol and amplitude are taken
    tolerance : sweeps closer to an amplitude than this count for it [percent]
    """

    protocols: tuple[str, ...]
    amplitudes: tuple[int | float, ...]
    efeatures: tuple[str, ...]
    min_recordings_per_amplitude: int = 10
    preferred_number_protocols: int = 1
    tolerance: float = 10.0


# fmt: off
_STEPS = ("Step", "FirePattern", "IDrest", "IDRest", "IDthresh", "IDThresh", "IDThres", "IDthres", "IV")

DEFAULT_AUTO_TARGETS = (
    AutoTarget(  # firing pattern
        protocols=_STEPS,
        amplitudes=(200, 150, 250, 300),
        efeatures=(
            "voltage_base", "adaptation_index2", "mean_frequency", "time_to_first_spike", "time_to_last_spike",
            "inv_first_ISI", "inv_second_ISI", "inv_third_ISI", "inv_fourth_ISI", "inv_fifth_ISI", "inv_last_ISI",
            "ISI_CV", "ISI_log_slope", "doublet_ISI", "AP_amplitude", "AP1_amp", "APlast_amp", "AHP_depth",
            "AHP_time_from_peak",
        ),
        min_recordings_per_amplitude=1, preferred_number_protocols=2, tolerance=25.0,
    ),
    AutoTarget(  # action potential waveform
        protocols=("APWaveform", "APwaveform", *_STEPS),
        amplitudes=(300, 350, 250, 400, 200),
        efeatures=(
            "AP_amplitude", "AP1_amp", "AP2_amp", "AP_width", "AP_duration_half_width", "AP_rise_time",
            "AP_fall_time", "AHP_depth_abs", "AHP_time_from_peak", "AHP_depth",
        ),
        min_recordings_per_amplitude=1, preferred_number_protocols=1, tolerance=25.0,
    ),
    AutoTarget(  # passive properties
        protocols=("IV", "Step"),
        amplitudes=(-50, -100),
        efeatures=(
            "voltage_base", "steady_state_voltage_stimend", "ohmic_input_resistance_vb_ssse", "voltage_deflection",
            "voltage_deflection_begin", "decay_time_constant_after_stim", "Spikecount", "sag_ratio1", "sag_ratio2",
            "sag_amplitude", "sag_time_constant",
        ),
        min_recordings_per_amplitude=1, preferred_number_protocols=1, tolerance=10.0,
    ),
)
"""The sets that BluePyEfe takes by default: firing pattern, action potential waveform, passive properties."""
# fmt: on


def parse_auto_targets(
    spec: Any, known_features: Collection[str] | None = None, source: str = "auto_targets"
) -> tuple[AutoTarget, ...]:
    """Check auto targets of a configuration.

    Parameters
    ----------
    spec : "default" for `DEFAULT_AUTO_TARGETS`, or a list of mappings with the attributes of `AutoTarget`;
        protocols, amplitudes and efeatures are needed. Never changed.
    known_features : names that eFEL has; None to take any name
    source : what messages call the specification

    Raises
    ------
    ConfigurationError
        with all problems at once, each naming the entry, the key, the value and what is allowed.
    """
    if isinstance(spec, str) and spec == "default":
        return DEFAULT_AUTO_TARGETS
    if not isinstance(spec, list | tuple):
        raise ConfigurationError(f"{source}: must be `default` or a list of auto targets, not {spec!r}")
    problems: list[str] = []
    found = []
    for index, entry in enumerate(spec):
        values, wrong = _checked(entry, known_features)
        problems += [f"{source}: entry {index}: {problem}" for problem in wrong]
        if not wrong:
            found.append(AutoTarget(**values))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return tuple(found)


def _checked(entry: Any, known_features: Collection[str] | None) -> tuple[dict[str, Any], list[str]]:
    names = [attribute.name for attribute in fields(AutoTarget)]
    if not isinstance(entry, Mapping):
        return {}, [f"must be a mapping with {', '.join(names)}, not {entry!r}"]
    problems = [
        f"unknown key {key}{unknown_name(str(key), names)} (allowed: {', '.join(names)})"
        for key in entry
        if key not in names
    ]
    values: dict[str, Any] = {}
    for key in ("protocols", "efeatures", "amplitudes"):
        wanted = "numbers" if key == "amplitudes" else "texts"
        items = entry.get(key)
        listed = list(items) if isinstance(items, list | tuple | np.ndarray) else []
        checked = [
            plain_number(v) if wanted == "numbers" else (v if isinstance(v, str) else None) for v in listed
        ]
        if not checked or None in checked:
            problems.append(f"{key} is {items!r}; it must be a list of {wanted}, not empty")
        values[key] = tuple(checked)
    if known_features is not None:
        problems += [
            f"efeatures holds {name!r}, which eFEL does not have{unknown_name(str(name), known_features)}"
            for name in values["efeatures"]
            if name is not None and name not in known_features
        ]
    for key in ("min_recordings_per_amplitude", "preferred_number_protocols"):
        if key in entry:
            values[key] = plain_number(entry[key])
            if not isinstance(values[key], int) or values[key] < 1:
                problems.append(f"{key} is {entry[key]!r}; it must be a whole number, 1 or more")
    if "tolerance" in entry:
        values["tolerance"] = plain_number(entry["tolerance"])
        if values["tolerance"] is None or values["tolerance"] <= 0:
            problems.append(f"tolerance is {entry['tolerance']!r}; it must be a number above 0")
    return values, problems


def candidate_features(auto: Sequence[AutoTarget], protocol: str) -> tuple[str, ...]:
    """Names of the features that extraction must compute on every sweep of `protocol`, each once."""
    names = (name for entry in auto if protocol in entry.protocols for name in entry.efeatures)
    return tuple(dict.fromkeys(names))


def choose(auto: Sequence[AutoTarget], amplitudes: Mapping[str, np.ndarray]) -> tuple[Target, ...]:
    """Turn auto targets into targets by counting sweeps.

    Protocols are tried in their order and, within one, amplitudes in theirs; a pair is taken when at least
    `min_recordings_per_amplitude` sweeps are closer than `tolerance`; the first `preferred_number_protocols` pairs
    of each entry are kept.

    Parameters
    ----------
    auto : entries, each looked at by itself
    amplitudes : for each protocol, (n,) amplitudes of all its sweeps of all cells [percent of the cell's own
        rheobase]; NaN where there is none. See `ephysflow.efeatures.grouping.sweep_amplitudes`.

    Returns
    -------
    Targets, those that two entries have in common once.
    """
    targets: list[Target] = []
    for entry in auto:
        pairs = [
            (protocol, amplitude)
            for protocol in entry.protocols
            if protocol in amplitudes
            for amplitude in entry.amplitudes
            if np.count_nonzero(np.abs(np.asarray(amplitudes[protocol]) - amplitude) < entry.tolerance)
            >= entry.min_recordings_per_amplitude
        ]
        targets += [
            Target(name, protocol, amplitude, float(entry.tolerance))
            for protocol, amplitude in pairs[: entry.preferred_number_protocols]
            for name in entry.efeatures
        ]
    return tuple(dict.fromkeys(targets))
