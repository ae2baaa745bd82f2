"""From the feature entries of an analysis to their jobs: one computation for each choice of what matters."""

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ephysflow.campaign.analysis_config import Analysis
from ephysflow.campaign.analysis_plan import ALL_SIMULATIONS, Computation
from ephysflow.campaign.combinations import Combination
from ephysflow.campaign.feature_entries import FeatureEntry
from ephysflow.campaign.functions.registry import FEATURE_FUNCTIONS, shipped_function
from ephysflow.campaign.settings import CampaignSettings
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.provenance import installed_versions
from ephysflow.user_modules import check_user_object

NOT_IN_KEY = ("code", "versions", "user_folder")
"""Settings of a computation that make it run again but do not give it another name."""

Jobs = list[tuple[tuple[str, tuple[str, ...]], Any]]
"""((step, key within the analysis), settings) of each job."""


def feature_jobs(
    settings: CampaignSettings,
    analysis: Analysis,
    members: Mapping[str, Sequence[Mapping[str, Any]]],
    buckets: Sequence[str],
    hasher: CodeHasher,
) -> tuple[Jobs, dict[str, Computation], list[dict[str, Any]]]:
    """Return the jobs of all feature entries of an analysis.

    Parameters
    ----------
    settings, analysis : what to compute
    members : bucket, or `ALL_SIMULATIONS` -> its simulations: key, circuit, bucket, ids, conditions, path
    buckets : those that hold a simulation
    hasher : for the code of the functions

    Returns
    -------
    jobs : of the step ``compute_features``
    computations : key -> computation
    published : one mapping for each combination of each entry: which computation it is, and its entry, resolved

    Raises
    ------
    ConfigurationError
        if a function does not exist or its parameters are wrong.
    """
    where = {
        "campaign": settings.name,
        "analysis": analysis.name,
        "report": analysis.extraction["report"]["type"],
    }
    jobs: Jobs = []
    computations: dict[str, Computation] = {}
    published = []
    for number, entry in enumerate(analysis.features):
        code = _feature_code(entry, settings, hasher)
        versions = installed_versions(_packages(entry))
        place = f"{settings.where}: analysis.{analysis.name}.features.{number}"
        for combination in entry.combinations:
            item, whole_repo = _computation(entry, combination.params, settings)
            _check_params(entry, item["params"], place)
            item |= {**where, "code": code, "versions": versions}
            key = digest(canonical_json({k: v for k, v in item.items() if k not in NOT_IN_KEY}))
            if key not in computations:
                alone = item["partition"] == "simulation"
                names = list(buckets) if alone else [ALL_SIMULATIONS]
                computations[key] = Computation(names, whole_repo)
                # the settings of a job name nothing that it does not see: ids are positions, which may move
                shown: tuple[str, ...] = ("key", "circuit", "bucket")
                if not alone or item["contract"] == "group":
                    shown += ("simulation_id", "circuit_id", "conditions", "path")
                for bucket in names:
                    chosen = [{name: s[name] for name in shown} for s in members[bucket]]
                    own = {} if whole_repo else {"simulations": chosen}  # the repo says which there are
                    jobs.append((("compute_features", (key, bucket)), {**item, **own}))
            published.append(_published(entry, number, combination, key, computations[key].buckets))
    return jobs, computations, published


def user_code(name: str, settings: CampaignSettings, hasher: CodeHasher, shipped: Iterable[str]) -> str:
    """Return the hash of a function of the user's own.

    Raises
    ------
    ConfigurationError
        if there is no such function; `shipped` are the names that would have been shipped ones.
    """
    module = name.rpartition(".")[0]
    if not module:
        raise ConfigurationError(
            f"{settings.where}: function {name!r} is neither shipped ({', '.join(shipped)}) nor a dotted path "
            "(module.function)"
        )
    try:
        code = hasher.user_module(module, settings.folder)
        check_user_object(name, settings.folder)
    except ConfigurationError as error:
        raise ConfigurationError(f"{settings.where}: function {name!r}: {error}") from None
    return code


def _feature_code(entry: FeatureEntry, settings: CampaignSettings, hasher: CodeHasher) -> str:
    shipped = shipped_function(entry.function)
    if shipped is not None:
        return hasher.library([shipped.module])
    return user_code(entry.function, settings, hasher, FEATURE_FUNCTIONS)


def _packages(entry: FeatureEntry) -> tuple[str, ...]:
    """Return the packages whose version may change what a function computes."""
    shipped = shipped_function(entry.function)
    return shipped.packages if shipped else ("pandas",)


def _check_params(entry: FeatureEntry, read: Mapping[str, Any], where: str) -> None:
    """Refuse parameters that the function, when it is a shipped one, would refuse in every job."""
    shipped = shipped_function(entry.function)
    if shipped is None or not shipped.checked:
        return
    try:
        importlib.import_module(shipped.module).check_params(read)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where} ({entry.function}): {error}") from None


def _computation(
    entry: FeatureEntry, params: Mapping[str, Any], settings: CampaignSettings
) -> tuple[dict[str, Any], bool]:
    """Return what one combination of a feature entry depends on, code aside, and whether it may read ``repo``."""
    common = {
        "groupby": list(entry.groupby),
        "neuron_classes": list(entry.neuron_classes),
        "windows": list(entry.windows),
    }
    shipped = shipped_function(entry.function)
    if shipped is not None:
        # what a function does not read cannot change its result: such combinations are computed once
        read = {name: params.get(name, default) for name, default in shipped.parameters.items()}
        return {
            **common,
            "contract": "shipped",
            "function": f"{shipped.module}:{shipped.function}",
            "params": read,
            "partition": "simulation" if "simulation_id" in entry.groupby else None,
            "user_folder": None,
        }, False
    item = {
        **common,
        "contract": entry.contract,
        "function": entry.function,
        "params": dict(params),
        "partition": entry.partition,
        "user_folder": str(settings.folder),
    }
    if entry.contract == "group":
        item |= {"type": entry.type, "name": entry.name}
    return item, entry.contract == "group" and entry.partition is None


def _published(
    entry: FeatureEntry, number: int, combination: Combination, key: str, buckets: Sequence[str]
) -> dict[str, Any]:
    config = {
        **{k: v for k, v in asdict(replace(entry, combinations=[])).items() if k != "combinations"},
        "params": combination.params,
        "params_product": {},
        "params_zip": {},
        "suffix": combination.suffix,
    }
    return {
        "entry": number,
        "computation": key,
        "buckets": list(buckets),
        "config": json.dumps(config),  # a text, because the order of parameters is that of the columns
    }
