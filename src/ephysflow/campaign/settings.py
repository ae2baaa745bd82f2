"""What a configuration says of one campaign."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.campaign.analysis_config import AnalysisFile, parse_analysis, read_analysis
from ephysflow.errors import ConfigurationError

OWN_KEYS = ("analysis_config", "seed", "sampling", "buckets")
"""Keys of ours; the others are those of an analysis configuration."""


@dataclass(frozen=True)
class CampaignSettings:
    """One campaign of a configuration.

    Attributes
    ----------
    name : of its folder in the results
    analyses : what to extract and compute
    folder : where modules of the user are looked for: beside the analysis configuration
    seed, sampling : of neurons where a class has a limit
    buckets : number of jobs that the simulations are put into; None for one a simulation
    where : file and key, for messages
    """

    name: str
    analyses: AnalysisFile
    folder: Path
    seed: int
    sampling: str
    buckets: int | None
    where: str

    @property
    def in_memory(self) -> dict[str, Any]:
        """What changes no result and is for Python only: analysis -> ``custom``, ``simulations_filter_in_memory``."""
        return {
            name: {
                "custom": {**self.analyses.custom, **analysis.custom},
                "simulations_filter_in_memory": self.analyses.simulations_filter_in_memory,
            }
            for name, analysis in self.analyses.analyses.items()
        }


def campaign_settings(name: str, content: Mapping[str, Any], folder: Path, where: str) -> CampaignSettings:
    """Read the section of one campaign.

    Parameters
    ----------
    name : of the campaign
    content : its keys, completed; the path of ``analysis_config`` is usable as it is
    folder : to which paths in the section are relative
    where : the file and key of the section, for messages

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    inline = {key: value for key, value in content.items() if key not in OWN_KEYS}
    if "analysis_config" in content:
        if inline:
            raise ConfigurationError(
                f"{where}: analysis_config and {', '.join(inline)} exclude each other: the file holds these keys"
            )
        path = Path(content["analysis_config"])
        analyses, folder, where = read_analysis(path), path.parent, f"{where} ({path})"
    else:
        source = "recorded_sessions" if "recorded_sessions" in inline else "simulation_campaign"
        if missing := [key for key in (source, "analysis") if key not in inline]:
            raise ConfigurationError(f"{where}: needs analysis_config, or {' and '.join(missing)}")
        analyses = parse_analysis(inline, folder, where)
    return CampaignSettings(
        name, analyses, folder, content["seed"], content["sampling"], content["buckets"], where
    )
