"""E-features of eFEL on simulated somatic voltage, with the names and settings used for recordings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ephysflow.campaign.functions.members import neuron_index, trial_index
from ephysflow.campaign.observations import FeatureRows, Observations
from ephysflow.efeatures.efel_engine import (
    EfelTrace,
    FeatureValues,
    check_settings,
    efel_version,
    feature_names,
    feature_values,
)
from ephysflow.efeatures.extraction import DEFAULT_EFEL_SETTINGS
from ephysflow.errors import ConfigurationError, RecordingError, SimulationError

PARAMETERS = ("efeatures", "efel_settings", "stimulus")

# largest deviation of a time step from the mean one; times may have been stored in single precision
_UNEVEN = 1e-2


def efeatures(observations: Observations, params: Mapping[str, Any]) -> dict[str, FeatureRows]:
    """Compute eFEL features of the voltage of each neuron in each trial.

    Features, settings and their defaults are those of stage ``efeatures`` for recordings, so that a model's values
    can be laid beside a cell's. eFEL's time starts at the first sample of the trial. A report has no injected current:
    features that need it have no values, unless the eFEL setting ``stimulus_current`` [nA] is all that they need.

    Parameters
    ----------
    observations : of a soma report of membrane potential [mV] on a uniform time grid
    params : ``efeatures``, names of eFEL features; ``efel_settings``, instead of the default ``strict_stiminterval:
        true, Threshold: -20.0, interp_step: 0.025``; ``stimulus``, ``[start, end]`` [ms, relative to the offset of
        the trial, as the window's bounds], default the window's bounds

    Returns
    -------
    Table ``efeatures`` with index ``circuit_id`` (if simulations are pooled), ``neuron_class, gid, neuron_class_index,
    simulation_id, window, trial`` (each unless in ``groupby``), ``efeature``; one row a neuron, trial and feature. Columns
    ``value``, the mean of what eFEL returns without NaN, in the feature's unit, NaN when there is nothing or it is
    infinite; ``n``, the number of values in that mean; ``error``, why a feature could not be computed, else null. A
    voltage trace that cannot be used has the error in each of its rows.

    Raises
    ------
    ConfigurationError
        as `check_params`.
    SimulationError
        if the report has no values.
    """
    names, settings, stimulus = check_params(params)
    if "value" not in observations.rows:
        raise SimulationError(
            "efeatures: the report has no values; needed: a soma report of membrane potential"
        )
    found = _features(observations, names, settings, stimulus)
    summaries = [_summary(values[name]) for values in found for name in names]
    value, n, error = (list(column) for column in zip(*summaries, strict=True)) if summaries else ([], [], [])
    of_observation = neuron_index(observations, observations.neuron) | trial_index(
        observations, observations.trial
    )
    index = {name: np.repeat(column, len(names)) for name, column in of_observation.items()}
    index["efeature"] = np.tile(np.array(names, dtype=object), len(observations.group))
    columns = {
        "value": np.array(value, dtype=float),
        "n": np.array(n, dtype=np.int64),
        "error": _texts(error),
    }
    return {"efeatures": FeatureRows(np.repeat(observations.group, len(names)), index, columns)}


def check_params(
    params: Mapping[str, Any],
) -> tuple[tuple[str, ...], dict[str, Any], tuple[float, float] | None]:
    """Return the names of the features, the eFEL settings and the stimulus; does not import eFEL.

    Raises
    ------
    ConfigurationError
        for a parameter, feature or setting that does not exist, or a value that is not allowed.
    """
    if unknown := [name for name in params if name not in PARAMETERS]:
        raise ConfigurationError(f"params: {unknown[0]!r} is unknown; known: {', '.join(PARAMETERS)}")
    names = params.get("efeatures")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"params: efeatures is {names!r}; needed: a list of eFEL feature names")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"params: efeatures names {twice!r} twice")
    if missing := sorted(set(names) - feature_names()):
        raise ConfigurationError(
            f"params: efeatures: eFEL {efel_version()} has no feature {missing[0]!r}; known: "
            + ", ".join(sorted(feature_names()))
        )
    return tuple(names), _settings(params.get("efel_settings")), _stimulus(params.get("stimulus"))


def _settings(given: Any) -> dict[str, Any]:
    if given is None:
        return check_settings(DEFAULT_EFEL_SETTINGS)
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"params: efel_settings is {given!r}; allowed: a mapping of eFEL settings to values"
        )
    if sweep := sorted({"stim_start", "stim_end"} & set(given)):
        raise ConfigurationError(
            f"params: efel_settings.{sweep[0]} is not allowed; needed: stimulus: [start, end] in ms relative to the "
            "trial's offset"
        )
    try:
        return check_settings(given)
    except ConfigurationError as error:
        raise ConfigurationError(f"params: efel_settings: {error}") from None


def _stimulus(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    numbers = isinstance(given, list | tuple) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in given
    )
    if not numbers or len(given) != 2 or not given[0] < given[1]:
        raise ConfigurationError(
            f"params: stimulus is {given!r}; allowed: [start, end] in ms, start before end, relative to the trial's "
            "offset"
        )
    return float(given[0]), float(given[1])


def _features(
    observations: Observations,
    names: tuple[str, ...],
    settings: Mapping[str, Any],
    stimulus: tuple[float, float] | None,
) -> list[FeatureValues]:
    """Return the features of each observation; where its trace cannot be used, the reason stands for each."""
    time, voltage, trials = observations.rows["time"], observations.rows["value"], observations.trials
    traces: list[EfelTrace | RecordingError] = []
    for start, stop, trial in zip(
        observations.offsets[:-1], observations.offsets[1:], observations.trial, strict=True
    ):
        window = float(trials["t_start"][trial]), float(trials["t_stop"][trial])
        try:
            traces.append(_trace(time[start:stop], voltage[start:stop], stimulus or window))
        except RecordingError as error:
            traces.append(error)
    computed = iter(feature_values([t for t in traces if isinstance(t, EfelTrace)], names, settings))
    return [next(computed) if isinstance(t, EfelTrace) else dict.fromkeys(names, t) for t in traces]


def _trace(time: np.ndarray, voltage: np.ndarray, stimulus: tuple[float, float]) -> EfelTrace:
    """Return a trace whose time starts at 0.

    Raises
    ------
    RecordingError
        if there are less than 2 samples, steps of time differ, or the stimulus lies outside of the samples.
    """
    if len(time) < 2:
        raise RecordingError(f"{len(time)} samples of voltage; needed: at least 2")
    first, last = float(time[0]), float(time[-1])
    dt = (last - first) / (len(time) - 1)
    steps = np.diff(time)
    if not dt > 0 or np.abs(steps - dt).max() > _UNEVEN * dt:
        raise RecordingError(
            f"steps of time between {steps.min():g} and {steps.max():g} ms; needed: a uniform time grid"
        )
    if stimulus[0] < first - dt or stimulus[1] > last + dt * (1 + _UNEVEN):
        raise RecordingError(
            f"stimulus from {stimulus[0]:g} to {stimulus[1]:g} ms, but samples from {first:g} to {last:g} ms"
        )
    # bounds of a window need not fall on samples
    start, end = (min(max(bound, first), last) - first for bound in stimulus)
    return EfelTrace(voltage, dt, start, end)


def _summary(found: np.ndarray | RecordingError | None) -> tuple[float, int, str | None]:
    """Return value, number of values and error of a feature, the value as in stage ``efeatures``."""
    from ephysflow.efeatures.extraction import mean_value

    value, error = mean_value(found)
    usable = found is not None and not isinstance(found, RecordingError)
    count = np.count_nonzero(~np.isnan(np.asarray(found, float))) if usable else 0
    return value, int(count), error


def _texts(values: list[str | None]) -> Any:
    import pyarrow as pa

    return pa.array(values, type=pa.string())
