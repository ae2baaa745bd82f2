"""eFEL features of the sweeps of one protocol of one cell, as far as targets ask for them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ephysflow.efeatures.efel_engine import EfelTrace, feature_values, trace_of_row
from ephysflow.errors import RecordingError

if TYPE_CHECKING:
    from ephysflow.efeatures.targets import Target

DEFAULT_EFEL_SETTINGS: Mapping[str, Any] = {
    "strict_stiminterval": True,
    "Threshold": -20.0,
    "interp_step": 0.025,
}
"""eFEL settings of the features when the configuration gives none."""


def relative_amplitude(amplitude: float | None, rheobase: float | None) -> float | None:
    """Amplitude [nA] in percent of the rheobase [nA]; None when either is not known, NaN or 0."""
    if amplitude is None or rheobase is None or not math.isfinite(amplitude):
        return None
    return 100.0 * amplitude / rheobase if math.isfinite(rheobase) and rheobase != 0 else None


def extract_features(
    rows: Sequence[Mapping[str, Any]],
    rheobase: float | None,
    targets: Sequence["Target"],
    efel_settings: Mapping[str, Any],
    *,
    absolute_amplitude: bool,
    all_sweeps: bool,
) -> list[dict[str, Any]]:
    """Compute the features that targets want of the sweeps that belong to them.

    A sweep belongs to a target when ``|target.amplitude - amplitude of the sweep| < target.tolerance``; the
    amplitude of the sweep is its parameter `matched_by`: in nA when amplitudes are absolute, else in percent
    of the rheobase, but `delta` always in ms.

    Parameters
    ----------
    rows : sweep rows of one protocol of one cell
    rheobase : of this cell [nA]; without one, no sweep belongs to a target with a relative amplitude
    targets : those of this protocol
    efel_settings : settings of all targets; a target's own come before them. ``stim_start`` and ``stim_end``
        [ms] replace the stimulus window of the sweep. Without ``Threshold``, each sweep's own
        `auto_threshold` is taken.
    absolute_amplitude : amplitudes of targets are nA
    all_sweeps : compute all targets' features of all sweeps

    Returns
    -------
    One dict per sweep, feature and settings, in the order of the sweeps and targets: `cell`, `protocol`,
    `sweep`, `matched_by`, `amp` (the parameter of that name), `amp_rel` [percent], `efeature`, `settings`
    (canonical JSON of those in force: with `efeature`, the identity of a value), `value`,
    `auto_threshold_used` [mV] and `error`. The value is the mean of what eFEL returns without NaN; NaN where
    that is nothing or infinite.

    Raises
    ------
    ConfigurationError
        For a feature or a setting that eFEL does not know.
    """
    wanted: dict[str, Mapping[str, Any]] = {}
    jobs: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    amplitudes = [_amplitudes(row, rheobase) for row in rows]
    texts = [target.settings_text(efel_settings) for target in targets]
    for index, (amp, amp_rel) in enumerate(amplitudes):
        in_nano_ampere_or_ms = absolute_amplitude or rows[index]["matched_by"] == "delta"
        amplitude = amp if in_nano_ampere_or_ms else amp_rel
        asked: dict[str, dict[str, None]] = {}
        for target, text in zip(targets, texts, strict=True):
            matches = amplitude is not None and abs(target.amplitude - amplitude) < target.tolerance
            if matches or all_sweeps:
                wanted[text] = {**efel_settings, **target.efel_settings}
                asked.setdefault(text, {})[target.efeature] = None
        for text, features in asked.items():
            jobs.setdefault((text, tuple(features)), []).append(index)

    table: list[list[dict[str, Any]]] = [[] for _ in rows]
    for (text, names), indices in jobs.items():
        found = _values([rows[index] for index in indices], names, wanted[text])
        for index, values in zip(indices, found, strict=True):
            row, (amp, amp_rel) = rows[index], amplitudes[index]
            threshold = None if "Threshold" in wanted[text] else row["auto_threshold"]
            for name in names:
                value, error = mean_value(values[name])
                table[index].append(
                    {
                        "cell": row["cell"],
                        "protocol": row["protocol"],
                        "sweep": row["sweep"],
                        "matched_by": row["matched_by"],
                        "amp": amp,
                        "amp_rel": amp_rel,
                        "efeature": name,
                        "settings": text,
                        "value": value,
                        "auto_threshold_used": threshold,
                        "error": error,
                    }
                )
    return [value for of_sweep in table for value in of_sweep]


def _amplitudes(row: Mapping[str, Any], rheobase: float | None) -> tuple[float | None, float | None]:
    amp = row[row["matched_by"]]
    if amp is None or not math.isfinite(amp):
        return None, None
    return amp, None if row["matched_by"] == "delta" else relative_amplitude(amp, rheobase)


def _values(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Features of each row; where the row cannot be used, its error stands for each of them."""
    traces: list[EfelTrace | RecordingError] = []
    for row in rows:
        try:
            traces.append(trace_of_row(row, settings))
        except RecordingError as error:
            traces.append(error)
    found = iter(feature_values([trace for trace in traces if isinstance(trace, EfelTrace)], names, settings))
    return [next(found) if isinstance(trace, EfelTrace) else dict.fromkeys(names, trace) for trace in traces]


def mean_value(found: np.ndarray | RecordingError | None) -> tuple[float, str | None]:
    """Return the value of a feature, the mean of what eFEL gave without NaN, and why it could not be computed."""
    if isinstance(found, RecordingError):
        return math.nan, str(found)
    values = np.array([], float) if found is None else np.asarray(found, float)
    values = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        mean = float(np.mean(values)) if len(values) else math.nan
    return (mean if math.isfinite(mean) else math.nan), None
