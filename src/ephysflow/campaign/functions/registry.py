"""Names of the shipped functions; nothing is imported until one is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ShippedFunction:
    """One shipped feature function.

    Attributes
    ----------
    module, function : where it is; its contract is ``function(observations, params) -> dict of FeatureRows``
    tables : names of the tables that it returns
    parameters : what it reads of ``params``, with defaults; others cannot change its result
    reports : types of report that it works on
    aliases : dotted paths in BlueETL of the function that it replaces
    packages : further installed packages whose version changes numbers
    checked : its module has ``check_params(params)``, which raises `ConfigurationError` and imports nothing heavy
    """

    module: str
    function: str
    tables: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reports: tuple[str, ...] = ("spikes",)
    aliases: tuple[str, ...] = ()
    checked: bool = False
    packages: tuple[str, ...] = ()


FEATURE_FUNCTIONS: dict[str, ShippedFunction] = {
    "firing_rates": ShippedFunction(
        module="ephysflow.campaign.functions.firing_rates",
        function="firing_rates",
        tables=("by_gid", "by_gid_and_trial", "by_neuron_class", "by_neuron_class_and_trial", "histograms"),
        parameters={"export_all_neurons": False},
        checked=True,
        aliases=("blueetl.external.bnac.calculate_features.calculate_features_multi",),
    ),
    "population_statistics": ShippedFunction(
        module="ephysflow.campaign.functions.population_statistics",
        function="population_statistics",
        tables=("by_neuron_class",),
        parameters={"PSD": None, "AC": None, "CPDF": None, "PSTH": None},
        aliases=("blueetl.external.bluecv.neuron_class.calculate_features_by_neuron_class",),
        checked=True,
    ),
    "spike_train_statistics": ShippedFunction(
        module="ephysflow.campaign.functions.spike_train_statistics",
        function="spike_train_statistics",
        tables=("by_gid",),
        parameters={"MFR": None, "ISI": None, "CV": None, "LV": None, "latency": None, "spike_count": None},
        aliases=("blueetl.external.bluecv.gid.calculate_features_by_gid",),
        checked=True,
    ),
    "spike_train_distances": ShippedFunction(
        module="ephysflow.campaign.functions.spike_train_distances",
        function="spike_train_distances",
        tables=("distances",),
        parameters={"van_rossum_tau": 10.0, "victor_purpura_cost": 0.1, "max_trains": 500},
        checked=True,
    ),
    "soma_statistics": ShippedFunction(
        module="ephysflow.campaign.functions.soma_statistics",
        function="soma_statistics",
        tables=("by_neuron_class",),
        reports=("soma", "compartment"),
        aliases=("blueetl.external.soma.calculate_features.calculate_features_by_simulation_circuit",),
    ),
    "efeatures": ShippedFunction(
        module="ephysflow.campaign.functions.efeatures",
        function="efeatures",
        tables=("efeatures",),
        parameters={"efeatures": None, "efel_settings": None, "stimulus": None},
        packages=("efel",),
        reports=("soma",),
        checked=True,
    ),
}

TRIAL_STEP_FUNCTIONS: dict[str, tuple[str, str]] = {
    "onset_from_spikes": ("ephysflow.campaign.functions.onset", "onset_from_spikes"),
    "blueetl.external.bnac.calculate_trial_step.onset_from_spikes": (
        "ephysflow.campaign.functions.onset",
        "onset_from_spikes",
    ),
}
"""Name, or dotted path in BlueETL -> module, function of ``function(list of spike time arrays, params) -> number``."""


def shipped_function(name: str) -> ShippedFunction | None:
    """Return the shipped feature function of this name or alias, None when it is somebody's own."""
    if name in FEATURE_FUNCTIONS:
        return FEATURE_FUNCTIONS[name]
    return next((f for f in FEATURE_FUNCTIONS.values() if name in f.aliases), None)
