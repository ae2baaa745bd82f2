"""Grouping: the sweeps of all cells that belong to a target, pooled into a mean and a standard deviation.

Definitions
-----------
The amplitude of a sweep is 100 * amp / rheobase of its own cell [percent], or amp itself [nA] when amplitudes are
absolute; which of the sweep's parameters is compared (amp; amp2; delta [ms]) is a property of its stimulus class.
A sweep belongs to a target when ``|amplitude of the sweep - amplitude of the target| < tolerance`` (strict), with
each target's own tolerance; it may belong to several targets. Values that cannot be computed (NaN) are left out.

    mean = sum(values) / n,   std = sqrt(sum((values - mean)**2) / n)   (population, ddof 0)

A standard deviation of zero (n = 1, or equal values) is replaced by `default_std_value`, an absolute number in the
unit of the feature, and marked: a model fit divides by it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ephysflow.efeatures.targets import Target, plain_settings
from ephysflow.errors import ConfigurationError, ResultError

if TYPE_CHECKING:
    from ephysflow.recordings.stimuli import Stimulus

OPERATORS: Mapping[str, Callable[[np.ndarray], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
}
"""How the stimulus parameters of the sweeps of a target become one stimulus."""

LIST_PARAMETERS = ("tspike", "waveform")
"""Parameters that hold a list and cannot be averaged: the first sweep's are taken, with what belongs to them."""

FIRST_SWEEP_PARAMETERS = (*LIST_PARAMETERS, "n_spikes", "dt")


@dataclass(frozen=True)
class GroupedStimulus:
    """The stimulus of one protocol and amplitude.

    Attributes
    ----------
    protocol, ecode : name of the protocol and of its stimulus class
    parameters : times [ms], amplitudes [nA], relative amplitudes [percent] (``amp_rel``, ``amp2_rel``,
        ``hypamp_rel``) and lists that the class exports; None where no sweep has one
    step : the stimulus as its class writes it for model fitting
    """

    protocol: str
    ecode: str
    parameters: Mapping[str, Any]
    step: Mapping[str, Any]


@dataclass(frozen=True)
class GroupedFeatures:
    """What `group_features` finds.

    Attributes
    ----------
    targets : one row a target, in the order of the targets, with the columns

        key, protocol, amplitude, tolerance, location, efeature_name, efeature : the target;
        settings : dict, eFEL settings in force; Threshold is the median of the automatic ones where none was given;
        n_sweeps : number of sweeps that belong to the target;
        n, mean, std : number of values and their statistics, NaN when there is no value;
        default_std : whether `std` is the default for want of a measured one;
        kept : whether n reaches `threshold_nvalue_save`;
        values, cells : the pooled values and their cells;
        files : the sweeps that they come from, a text each, files joined by ";".
    stimuli : {key: stimulus} of the targets kept
    """

    targets: pd.DataFrame
    stimuli: Mapping[str, GroupedStimulus]


def amplitudes_by_protocol(
    sweeps: pd.DataFrame, rheobase: Mapping[str, float | None], absolute_amplitude: bool = False
) -> dict[str, np.ndarray]:
    """Amplitudes of all sweeps of each protocol, as targets compare them.

    Parameters
    ----------
    sweeps : one row a sweep, with cell, protocol, matched_by and stimulus parameters
    rheobase : rheobase of each cell [nA], None where it has none
    absolute_amplitude : nA instead of percent of the rheobase

    Returns
    -------
    {protocol: (n,) amplitudes}, NaN for sweeps that cannot belong to a target.
    """
    amplitudes = _amplitudes(sweeps, _rheobase_of_sweeps(sweeps, rheobase), absolute_amplitude)
    return {str(name): amplitudes[rows] for name, rows in _rows_by(sweeps, "protocol").items()}


def group_features(
    sweeps: pd.DataFrame,
    features: pd.DataFrame,
    rheobase: Mapping[str, float | None],
    targets: Sequence[Target],
    *,
    efel_settings: Mapping[str, Any],
    stimuli: Mapping[str, "Stimulus"] | None = None,
    absolute_amplitude: bool = False,
    protocol_mode: str = "mean",
    pooling: Literal["sweeps", "cells"] = "sweeps",
    global_rheobase: bool = True,
    threshold_nvalue_save: int = 1,
    default_std_value: float = 1e-3,
) -> GroupedFeatures:
    """Pool feature values into targets.

    Parameters
    ----------
    sweeps : one row a sweep, as ingestion writes them (traces are not needed); rows may come in any order, and
        the first one gives the lists of a stimulus
    features : one row a value: cell, protocol, sweep, efeature, settings (canonical JSON), value, and
        auto_threshold_used [mV], None or NaN where the settings hold a Threshold
    rheobase : rheobase of each cell [nA]; cells without one are left out unless `absolute_amplitude`
    targets : what to group
    efel_settings : settings that extraction used under those of the targets
    stimuli : {name in the column ecode: stimulus class}; by default those that ephysflow brings
    absolute_amplitude : amplitudes of targets are nA and not percent of the rheobase
    protocol_mode : mean, median, min or max: how stimulus parameters are put together
    pooling : "sweeps": each sweep is one value; "cells": the mean of each cell's sweeps is one value, so that a
        cell with more sweeps does not weigh more
    global_rheobase : amplitudes of the stimuli are the relative ones times the mean rheobase of the cells, so that
        cells of unequal rheobase agree; otherwise, and with `absolute_amplitude`, those of the sweeps
    threshold_nvalue_save : number of values that a target needs
    default_std_value : replaces a standard deviation of zero; unit of the feature

    Raises
    ------
    ConfigurationError
        if an option has a value that is not allowed.
    ResultError
        if `features` does not fit `sweeps`.
    """
    _check_options(protocol_mode, pooling, default_std_value)
    own_rheobase = _rheobase_of_sweeps(sweeps, rheobase)
    amplitudes = _amplitudes(sweeps, own_rheobase, absolute_amplitude)
    no_rows = np.array([], int)
    rows_of = _rows_by(sweeps, "protocol")
    values_of = _values_by_sweep(sweeps, rows_of, features)
    cells = sweeps["cell"].to_numpy(object)
    files = np.array([";".join(names) for names in sweeps["files"]], object)

    keys: dict[tuple[str, float], str] = {}
    matched: dict[tuple[str, float, float], np.ndarray] = {}
    used: dict[str, list[np.ndarray]] = {}
    table = []
    for target in targets:
        # 150 and 150.0 are one stimulus: the text given first names it
        key = keys.setdefault((target.protocol, float(target.amplitude)), target.key)
        match = (target.protocol, float(target.amplitude), target.tolerance)
        rows = rows_of.get(target.protocol, no_rows)
        if match not in matched:
            matched[match] = np.flatnonzero(np.abs(amplitudes[rows] - target.amplitude) < target.tolerance)
        found = matched[match]
        settings = {**plain_settings(efel_settings), **target.efel_settings}
        identity = (target.protocol, target.efeature, target.settings_text(efel_settings))
        values, thresholds = (
            values_of[identity][:, found] if identity in values_of else np.full((2, len(found)), np.nan)
        )
        computed = np.isfinite(values)
        values, thresholds, with_value = values[computed], thresholds[computed], rows[found[computed]]
        value_cells = cells[with_value]
        if len(automatic := thresholds[np.isfinite(thresholds)]):
            settings["Threshold"] = float(np.median(automatic))
        if pooling == "cells":
            values, value_cells = _cell_means(values, value_cells)
        mean, std, default_std = _statistics(values, default_std_value)
        kept = len(values) >= max(threshold_nvalue_save, 1)
        if kept:
            used.setdefault(key, []).append(rows[found])
        table.append(
            {
                "key": key,
                "protocol": target.protocol,
                "amplitude": float(target.amplitude),
                "tolerance": target.tolerance,
                "location": target.location,
                "efeature_name": target.efeature_name,
                "efeature": target.efeature,
                "settings": settings,
                "n_sweeps": len(found),
                "n": len(values),
                "mean": mean,
                "std": std,
                "default_std": default_std,
                "kept": kept,
                "values": values.tolist(),
                "cells": value_cells.tolist(),
                "files": files[with_value].tolist(),
            }
        )
    known = [value for value in map(_usable, rheobase.values()) if value is not None]
    scale = float(np.mean(known)) if known and global_rheobase and not absolute_amplitude else None
    if stimuli is None:
        from ephysflow.recordings.stimuli import STIMULI

        stimuli = STIMULI
    grouped = {}
    for key, all_rows in used.items():
        rows = np.unique(np.concatenate(all_rows))
        stimulus = stimuli[str(sweeps["ecode"].iloc[rows[0]])]
        grouped[key] = _stimulus(
            sweeps.iloc[rows], own_rheobase[rows], stimulus, OPERATORS[protocol_mode], scale
        )
    return GroupedFeatures(pd.DataFrame(table, columns=TARGET_COLUMNS), grouped)


TARGET_COLUMNS = [
    *("key", "protocol", "amplitude", "tolerance", "location", "efeature_name", "efeature", "settings"),
    *("n_sweeps", "n", "mean", "std", "default_std", "kept", "values", "cells", "files"),
]
"""Columns of `GroupedFeatures.targets`."""


def group_each_cell(
    sweeps: pd.DataFrame,
    features: pd.DataFrame,
    rheobase: Mapping[str, float | None],
    targets: Sequence[Target],
    **options: Any,
) -> Iterator[tuple[str, GroupedFeatures]]:
    """Group each cell alone, with the very options of the whole; see `group_features`.

    Yields
    ------
    Name of the cell, in the order of `sweeps`, and what `group_features` gives for it.
    """
    rows_of = _rows_by(features, "cell")
    for cell, rows in _rows_by(sweeps, "cell").items():
        own = features.iloc[rows_of.get(cell, np.array([], int))]
        name = str(cell)
        yield name, group_features(sweeps.iloc[rows], own, {name: rheobase.get(name)}, targets, **options)


def _check_options(protocol_mode: str, pooling: str, default_std_value: float) -> None:
    if protocol_mode == "lnmc":
        raise ConfigurationError(
            "protocol_mode is lnmc, which BluePyEfe documents but refuses as well: no definition of it exists; "
            f"allowed: {', '.join(OPERATORS)}"
        )
    if protocol_mode not in OPERATORS:
        raise ConfigurationError(f"protocol_mode is {protocol_mode!r}; allowed: {', '.join(OPERATORS)}")
    if pooling not in ("sweeps", "cells"):
        raise ConfigurationError(f"pooling is {pooling!r}; allowed: sweeps, cells")
    if not default_std_value > 0:
        raise ConfigurationError(f"default_std_value is {default_std_value!r}; it must be a number above 0")


def _usable(rheobase: float | None) -> float | None:
    """Return None for a rheobase that amplitudes cannot be divided by."""
    return None if rheobase is None or not np.isfinite(rheobase) or rheobase == 0 else float(rheobase)


def _rheobase_of_sweeps(sweeps: pd.DataFrame, rheobase: Mapping[str, float | None]) -> np.ndarray:
    """(n,) rheobase of each sweep's cell [nA], NaN where it has none."""
    usable = {cell: value for cell, given in rheobase.items() if (value := _usable(given)) is not None}
    return sweeps["cell"].map(usable).to_numpy(float, na_value=np.nan)


def _numbers(sweeps: pd.DataFrame, name: str) -> np.ndarray:
    """Column `name` as float64, NaN where a value or the whole column is missing."""
    if name not in sweeps:
        return np.full(len(sweeps), np.nan)
    return pd.to_numeric(sweeps[name]).to_numpy(float, na_value=np.nan)


def _rows_by(table: pd.DataFrame, by: str | list[str]) -> dict[Any, np.ndarray]:
    """Positions of the rows of each group, groups in the order of their first row."""
    return {key: np.asarray(rows) for key, rows in table.groupby(by, sort=False).indices.items()}


def _amplitudes(sweeps: pd.DataFrame, rheobase: np.ndarray, absolute: bool) -> np.ndarray:
    """(n,) amplitudes that targets are compared with: percent or nA, for SpikeRec ms; NaN where there is none."""
    amplitudes = np.full(len(sweeps), np.nan)
    for matched_by, rows in _rows_by(sweeps, "matched_by").items():
        values = _numbers(sweeps, matched_by)[rows]
        if absolute:
            amplitudes[rows] = values
        elif matched_by == "delta":
            amplitudes[rows] = np.where(np.isfinite(rheobase[rows]), values, np.nan)
        else:
            amplitudes[rows] = 100.0 * values / rheobase[rows]
    return amplitudes


def _values_by_sweep(
    sweeps: pd.DataFrame, rows_of: Mapping[Any, np.ndarray], features: pd.DataFrame
) -> dict[tuple[str, str, str], np.ndarray]:
    """Spread the feature rows over the sweeps of their protocol.

    Returns
    -------
    {(protocol, efeature, settings): (2, n) values and automatic thresholds of the protocol's n sweeps}, NaN where
    there is none.
    """
    cell_codes, names = pd.factorize(sweeps["cell"])
    numbers = sweeps["sweep"].to_numpy(np.int64)
    span = max(numbers.max(initial=0), features["sweep"].max() if len(features) else 0) + 1
    sweep_ids = cell_codes * span + numbers
    feature_cells = pd.Index(names).get_indexer(features["cell"])
    feature_ids = np.where(feature_cells < 0, -1, feature_cells * span + features["sweep"].to_numpy(np.int64))
    values, thresholds = _numbers(features, "value"), _numbers(features, "auto_threshold_used")
    spread: dict[tuple[str, str, str], np.ndarray] = {}
    for identity, rows in _rows_by(features, ["protocol", "efeature", "settings"]).items():
        ids = pd.Index(sweep_ids[rows_of.get(identity[0], np.array([], int))])
        positions = ids.get_indexer(pd.Index(feature_ids[rows]))
        if (positions < 0).any():
            lost = features.iloc[int(rows[positions < 0][0])].to_dict()
            raise ResultError(
                f"feature values of cell {lost['cell']}, protocol {lost['protocol']}, sweep {lost['sweep']} belong to "
                "no sweep of the sweep tables; extract the features again"
            )
        if len(np.unique(positions)) < len(positions):
            raise ResultError(
                f"two values of {identity[1]} with settings {identity[2]} for one sweep of {identity[0]}"
            )
        spread[identity] = np.full((2, len(ids)), np.nan)
        spread[identity][:, positions] = values[rows], thresholds[rows]
    return spread


def _cell_means(values: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean value of each cell, in the order in which the cells appear."""
    codes, names = pd.factorize(cells)
    return np.bincount(codes, values) / np.bincount(codes), np.asarray(names, object)


def _statistics(values: np.ndarray, default_std: float) -> tuple[float, float, bool]:
    if not len(values):
        return np.nan, np.nan, False
    # equal values: their computed standard deviation may be a rounding error instead of zero
    if values.min() == values.max():
        return float(values[0]), float(default_std), True
    return float(values.mean()), float(values.std()), False


def _stimulus(
    sweeps: pd.DataFrame,
    rheobase: np.ndarray,
    stimulus: "Stimulus",
    operator: Callable[[np.ndarray], Any],
    scale: float | None,
) -> GroupedStimulus:
    """Put the parameters of matched sweeps together; with `scale` [nA], amplitudes are relative ones times it."""
    parameters: dict[str, Any] = {}
    for name in stimulus.exported:
        if name in FIRST_SWEEP_PARAMETERS:
            parameters[name] = _first(sweeps, name)
            continue
        values = _numbers(sweeps, name.removesuffix("_rel"))
        relative = _combined(100.0 * values / rheobase, operator)
        if name.endswith("_rel"):
            parameters[name] = relative
        elif scale is not None and name in ("amp", "amp2"):
            parameters[name] = None if relative is None else relative * scale / 100.0
        else:
            parameters[name] = _combined(values, operator)
    ecode, protocol = str(sweeps["ecode"].iloc[0]), str(sweeps["protocol"].iloc[0])
    return GroupedStimulus(protocol, ecode, parameters, stimulus.step(parameters))


def _combined(values: np.ndarray, operator: Callable[[np.ndarray], Any]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(operator(finite)) if len(finite) else None


def _first(sweeps: pd.DataFrame, name: str) -> Any:
    """Value of the first sweep, as a Python number or list; None if it has none."""
    if name not in sweeps:
        return None
    value = sweeps[name].iloc[0]
    if name in LIST_PARAMETERS:
        return None if value is None or np.ndim(value) == 0 else np.asarray(value, float).tolist()
    return (
        None
        if pd.isna(value)
        else (int(value) if float(value).is_integer() and name == "n_spikes" else float(value))
    )
