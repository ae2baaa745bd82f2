"""From the section ``comparison`` of a configuration to its jobs: which two analyses are laid side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow import paths
from ephysflow.campaign.analysis_config import Analysis
from ephysflow.campaign.analysis_plan import AnalysisPlan
from ephysflow.campaign.settings import CampaignSettings
from ephysflow.errors import ConfigurationError

SIDES = ("model", "recording")


@dataclass(frozen=True)
class ComparisonPlan:
    """Files of one comparison.

    Attributes
    ----------
    name, results : where its table is
    model, recording : the analyses that are compared
    """

    name: str
    results: Path
    model: AnalysisPlan
    recording: AnalysisPlan

    def inputs(self) -> list[Path]:
        """Return the folders of feature tables that are compared."""
        sides = ((side.results, side.campaign, side.analysis) for side in (self.model, self.recording))
        return [paths.features_folder(*side) for side in sides]

    def output(self) -> Path:
        """Return the table."""
        return paths.comparison(self.results, self.name)


def plan_comparisons(
    section: Mapping[str, Mapping[str, Any]],
    campaigns: Sequence[CampaignSettings],
    analyses: Mapping[tuple[str, str], AnalysisPlan],
    results: Path,
) -> tuple[dict[tuple[str, str], Any], dict[str, ComparisonPlan]]:
    """Return the settings of all jobs of the step ``compare_analyses``, and name -> plan.

    Parameters
    ----------
    section : name -> ``model`` and ``recording`` (``campaign``, ``analysis``), and optionally ``neuron_classes``,
        ``windows`` (label of the model -> label of the recording) and ``features`` (names of tables)
    campaigns : what the configuration says of campaigns
    analyses : (campaign, analysis) -> its plan
    results : folder of all outputs

    Raises
    ------
    ConfigurationError
        if an analysis or a label does not exist; names those that there are.
    """
    items: dict[tuple[str, str], Any] = {}
    plans = {}
    settings = {
        (campaign.name, name): analysis
        for campaign in campaigns
        for name, analysis in campaign.analyses.analyses.items()
    }
    for name, given in section.items():
        where = f"comparison.{name}"
        keys = [_analysis(given[side], f"{where}.{side}", analyses) for side in SIDES]
        for key in ("neuron_classes", "windows"):
            _check_labels(given.get(key), f"{where}.{key}", *(_labels(settings[k], key) for k in keys))
        items["compare_analyses", name] = {
            "name": name,
            **{side: dict(given[side]) for side in SIDES},
            **{key: given.get(key) for key in ("neuron_classes", "windows", "features")},
        }
        plans[name] = ComparisonPlan(name, results, *(analyses[k] for k in keys))
    return items, plans


def _analysis(
    given: Mapping[str, str], where: str, analyses: Mapping[tuple[str, str], AnalysisPlan]
) -> tuple[str, str]:
    key = given["campaign"], given["analysis"]
    if key not in analyses:
        known = ", ".join(f"{campaign}/{analysis}" for campaign, analysis in analyses) or "none"
        raise ConfigurationError(
            f"{where}: campaign {key[0]!r} has no analysis {key[1]!r} with anything to compare (known: {known})"
        )
    return key


def _labels(analysis: Analysis, key: str) -> list[str]:
    return list(analysis.extraction[key])


def _check_labels(
    given: Mapping[str, str] | None, where: str, model: Sequence[str], recorded: Sequence[str]
) -> None:
    for labels, known, side in (
        (given or {}, model, "model"),
        ((given or {}).values(), recorded, "recording"),
    ):
        if unknown := [label for label in labels if label not in known]:
            raise ConfigurationError(
                f"{where}: {unknown[0]!r}: unknown to the {side} (known there: {', '.join(known)})"
            )
