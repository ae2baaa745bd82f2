"""The three files that model fitting reads, as plain values and as JSON text.

The layout is BluePyEfe's; BluePyEModel reads it. Two differences, both because of what that client accepts:

* A protocol of class SpikeRec is written as ``SpikeRecMultiSpikes``: only this name makes BluePyEModel play the
  pulses; under ``SpikeRec`` it plays one long step.
* What cannot be computed is left out and NaN, which is not JSON, is never written. Only ``thresh_perc`` stays, as
  null, where the rheobase is not known.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ephysflow.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from ephysflow.efeatures.grouping import GroupedFeatures

# fmt: off
CLIENT_NAMES = (
    "spontaneous", "step", "idrest", "idthres", "spontaps", "sponnohold30", "sponhold30",
    "rinholdcurrent", "bap", "iv", "spikerec", "apwaveform", "firepattern", "sahp", "idhyperpol",
    "irdepol", "irhyperpol", "iddepol", "hyperdepol", "dehyperpol", "poscheops", "negcheops", "ramp",
    "ap_thresh", "apthresh", "sinespec", "subwhitenoise", "noiseou3", "whitenoise", "highfreq",
    "synaptic", "bac", "dendritic", "randomsteps", "custom", "startnohold", "thresholdaddition",
    "probampanmda_ems", "bposquarepulse",
)
# fmt: on
"""Parts of a lower-case protocol name by which BluePyEModel 1.0.50 finds a stimulus."""


def exported_name(key: str, ecode: str) -> str:
    """Return the name in the files of the stimulus called `key` ("<protocol>_<amplitude>"), of stimulus class `ecode`."""
    if ecode != "SpikeRec":
        return key
    return re.sub("spikerec(?!multispikes)", "SpikeRecMultiSpikes", key, count=1, flags=re.IGNORECASE)


def features_json(grouped: "GroupedFeatures") -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the features kept: {stimulus: {location: [{feature, val: [mean, std], n, efel_settings, efeature_name}]}}."""
    content: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in grouped.targets[grouped.targets["kept"]].to_dict("records"):
        name = exported_name(row["key"], grouped.stimuli[row["key"]].ecode)
        content.setdefault(name, {}).setdefault(row["location"], []).append(
            {
                "feature": row["efeature"],
                "val": [row["mean"], row["std"]],
                "n": row["n"],
                "efel_settings": row["settings"],
                "efeature_name": row["efeature_name"],
            }
        )
    return content


def protocols_json(grouped: "GroupedFeatures") -> dict[str, dict[str, dict[str, Any]]]:
    """Return the stimuli of the features kept: {stimulus: {holding: {...}, step: {...}}}; ms, nA, percent of the rheobase.

    The keys of ``step`` are those that the stimulus class rebuilds its current from.
    """
    return {
        exported_name(key, stimulus.ecode): {
            "holding": _holding(stimulus.parameters),
            "step": {k: v for k, v in stimulus.step.items() if k == "thresh_perc" or v is not None},
        }
        for key, stimulus in grouped.stimuli.items()
    }


def currents_json(
    sweeps: "pd.DataFrame", rheobase: Mapping[str, float | None], default_std_value: float = 1e-3
) -> dict[str, Any]:
    """Return the holding current and the rheobase of the cells [nA].

    ``all_holding_current``: mean over all sweeps of each cell; ``all_threshold_current``: rheobase of each cell;
    ``holding_current``, ``threshold_current``: their mean and standard deviation (ddof 0) over cells. A quantity that
    no cell has is left out.

    Parameters
    ----------
    sweeps : one row a sweep, with cell and hypamp
    rheobase : rheobase of each cell, None where it has none
    default_std_value : replaces a standard deviation of zero [nA]
    """
    means = sweeps.groupby("cell", sort=False)["hypamp"].mean()
    holding = {str(cell): float(value) for cell, value in means.items() if math.isfinite(value)}
    threshold = {
        cell: float(value)
        for cell, value in rheobase.items()
        if value is not None and value and math.isfinite(value)
    }
    content: dict[str, Any] = {}
    for name, values in (("holding_current", holding), ("threshold_current", threshold)):
        if values:
            mean, std = float(np.mean(list(values.values()))), float(np.std(list(values.values())))
            content[name] = [mean, std if len(set(values.values())) > 1 else default_std_value]
    return {**content, "all_holding_current": holding, "all_threshold_current": threshold}


def unplayable(names: Iterable[str]) -> dict[str, str]:
    """Find the stimuli that BluePyEModel loads but cannot play, with the reason.

    Parameters
    ----------
    names : names of stimuli or protocols, as `protocols_json` writes them

    Returns
    -------
    {name: reason}, empty when all can be played.
    """
    return {
        name: "BluePyEModel 1.0.50 finds a stimulus by a part of its name and has none for this one; "
        "take it out of a fit with that program, or teach it the stimulus"
        for name in names
        if not any(part in name.lower() for part in CLIENT_NAMES)
    }


def json_text(content: Any) -> str:
    """Return JSON text, indented by 2.

    Raises
    ------
    ConfigurationError
        if `content` holds NaN or infinity, which JSON does not have.
    """
    try:
        return json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise ConfigurationError(f"cannot be written as JSON: {error}") from None


def _holding(parameters: Mapping[str, Any]) -> dict[str, float | None]:
    end = parameters["tend"]
    return {"delay": 0.0, "amp": parameters["hypamp"], "duration": end, "totduration": end}
