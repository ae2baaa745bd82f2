"""Calls eFEL, fast and with unchanged values: the only module that touches eFEL and its global settings.

eFEL interpolates the trace and searches the spikes again for each feature asked for. Which steps a feature
needs stands in a text file of the installed eFEL, and eFEL reads another such file on request. This module
derives from the installed one a file in which the trace is interpolated once and each step is computed
once, for the features asked for.

A value is always the one that eFEL gives when asked for that one feature alone; it does not depend on what
else is asked for. (Stock eFEL asked for several features at once interpolates the interpolated trace again,
which moves some samples by one unit in the last place.) A feature written in Python that makes eFEL
interpolate several times is therefore asked for alone. Each process compares both ways on a tiny trace
first, and takes the slow one, with a warning, where they differ.

eFEL keeps settings and trace in global variables: not safe with threads; use processes.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import logging
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from ephysflow.errors import ConfigurationError, RecordingError

FeatureValues = dict[str, np.ndarray | RecordingError | None]
"""By feature: the values, None where eFEL finds none, or the error that eFEL met."""

Setting = bool | int | float | str

_INTERPOLATE = "interpolate"
_SHORTEST_WINDOW = {"time_constant": 5.0}
"""Features with which eFEL 5.7 ends the process when the stimulus window is shorter than this [ms]."""

# Asked for first, it makes eFEL interpolate; cheap, and no other feature asks for it again.
_FIRST = "minimum_voltage"
# eFEL reads these by name as well, though its class of settings does not list them.
_OF_THE_SWEEP = ("stim_start", "stim_end", "stimulus_current")
_UNLISTED = ("decay_start_after_stim", "decay_end_after_stim")


@dataclass(frozen=True)
class EfelTrace:
    """One sweep as eFEL wants it.

    Attributes
    ----------
    voltage : (n,) membrane potential [mV]
    dt : sampling interval [ms]
    stim_start, stim_end : stimulus window [ms from the first sample]
    current : (n,) injected current [nA]; handed to eFEL only when a feature asked for reads it
    values : other numbers that eFEL looks up by name: ``stimulus_current`` [nA], ``multi_stim_start`` and
        ``multi_stim_end`` [ms], a ``Threshold`` [mV] of this sweep's own
    """

    voltage: np.ndarray
    dt: float
    stim_start: float
    stim_end: float
    current: np.ndarray | None = None
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)


@functools.cache
def feature_names() -> frozenset[str]:
    """Names of all features that the installed eFEL can be asked for; found without importing eFEL."""
    return frozenset(_dependencies()) - {_INTERPOLATE} | _python_features()


@functools.cache
def setting_types() -> dict[str, type]:
    """Names of the settings that eFEL knows, with the type of each; found without importing eFEL.

    `stim_start`, `stim_end` [ms] and `stimulus_current` [nA] replace the sweep's own values.
    """
    types = {"bool": bool, "int": int, "float": float, "str": str}
    found = {
        line.target.id: types[line.annotation.id]
        for node in ast.parse((_efel_folder() / "settings.py").read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(line.annotation, ast.Name)
    }
    del found["dependencyfile_path"]  # this module's own affair
    return found | dict.fromkeys(_OF_THE_SWEEP + _UNLISTED, float)


def check_settings(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Return eFEL settings with the types that eFEL wants; does not import eFEL.

    Raises
    ------
    ConfigurationError
        For a setting that eFEL does not know, or a value of another type.
    """
    types = setting_types()
    checked: dict[str, Setting] = {}
    for name, value in settings.items():
        if name not in types:
            raise ConfigurationError(f"unknown eFEL setting {name!r}; known: {', '.join(sorted(types))}")
        wanted = types[name]
        number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
        fits = {
            bool: isinstance(value, bool | np.bool_) or (number and value in (0, 1)),
            int: number and (isinstance(value, Integral) or float(value).is_integer()),
            float: number and math.isfinite(value),
            str: isinstance(value, str),
        }[wanted]
        if not fits:
            raise ConfigurationError(
                f"eFEL setting {name!r} is {value!r}; allowed: a finite value of type {wanted.__name__}"
            )
        if name in ("interp_step", "precision_threshold") and value <= 0:
            raise ConfigurationError(f"eFEL setting {name!r} is {value!r}; allowed: a number above 0")
        checked[name] = wanted(value)
    return checked


def feature_values(
    traces: Sequence[EfelTrace], features: Sequence[str], settings: Mapping[str, Any]
) -> list[FeatureValues]:
    """Compute features of many sweeps with one set of settings.

    Parameters
    ----------
    traces : sweeps; the more at once, the less time goes into preparing eFEL
    features : names from `feature_names`
    settings : eFEL settings; those not given have eFEL's defaults, and those given come before a sweep's own
        values (`stim_start`, `stim_end`, `stimulus_current`, ``Threshold``)

    Returns
    -------
    One dict per sweep, keys in the order of `features`: the array that eFEL returns, None where eFEL finds
    no value, or a RecordingError (not raised) where eFEL fails; other sweeps and features are not concerned.

    Raises
    ------
    ConfigurationError
        For a feature or a setting that eFEL does not know.
    """
    checked = check_settings(settings)
    unknown = sorted(set(features) - feature_names())
    if unknown:
        raise ConfigurationError(
            f"eFEL {efel_version()} has no feature {', '.join(map(repr, unknown))}; known: "
            + ", ".join(sorted(feature_names()))
        )
    if not traces or not features:
        return [{} for _ in traces]
    plan = _plan(tuple(sorted(set(features))))
    fast = computed_together(features)
    with _efel(checked):
        results = _in_one_call(traces, plan, checked) if fast else [{} for _ in traces]
        _one_by_one(traces, features, checked, results, plan.reads_current)
    return [{name: found[name] for name in features} for found in results]


def trace_of_row(row: Mapping[str, Any], settings: Mapping[str, Any]) -> EfelTrace:
    """Take a sweep row (of ``results/recordings``) as a trace for eFEL.

    ``stimulus_current`` is the row's `amp`; the pulses of a row with `tspike` are its multiple stimuli;
    without ``Threshold`` in `settings`, the row's `auto_threshold` is the spike threshold.

    Raises
    ------
    RecordingError
        If the row has no stimulus window, or no spike threshold is known.
    """
    values: dict[str, Sequence[float]] = {}
    if row.get("amp") is not None:
        values["stimulus_current"] = [row["amp"]]
    pulses, length = row.get("tspike"), row.get("spike_duration")
    if pulses is not None and length is not None:
        values["multi_stim_start"] = list(pulses)
        values["multi_stim_end"] = [pulse + length for pulse in pulses]
    if "Threshold" not in settings:
        threshold = row.get("auto_threshold")
        if threshold is None or not math.isfinite(threshold):
            raise RecordingError(
                "no spike threshold: eFEL's setting Threshold is not given, and the sweep has none"
            )
        values["Threshold"] = [threshold]
    start, end = (
        settings.get(key, row.get(name))
        for key, name in (("stim_start", "response_start"), ("stim_end", "response_end"))
    )
    if start is None or end is None:
        raise RecordingError(f"stimulus window is {start} to {end} ms; needed: both times")
    return EfelTrace(np.asarray(row["voltage"]), row["dt"], start, end, np.asarray(row["current"]), values)


def computed_together(features: Iterable[str]) -> bool:
    """Whether these features go the fast way; False when its values differ from stock eFEL's, with a warning.

    Decided once per process. To be recorded with the results, beside `efel_version`.
    """
    return _equals_stock(tuple(sorted(set(features))))


def efel_version() -> str:
    """Version of the installed eFEL; does not import it."""
    return importlib.metadata.version("efel")


# ---------------------------------------------------------------------------- what the installed eFEL holds


@functools.cache
def _efel_folder() -> Path:
    spec = importlib.util.find_spec("efel")
    if spec is None or spec.origin is None:
        raise ConfigurationError("eFEL is not installed: pip install efel")
    return Path(spec.origin).parent


@functools.cache
def _dependencies() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read eFEL's own dependency file: name of a step -> (entry in the file, names of what it needs)."""
    steps = {}
    for line in (_efel_folder() / "DependencyV5.txt").read_text().splitlines():
        entry, *needs = (part.strip() for part in line.split("#"))
        if entry:
            steps[entry.split(":")[1]] = (entry, tuple(need.split(":")[1] for need in needs))
    return steps


@functools.cache
def _python_features() -> frozenset[str]:
    """Names of the features that eFEL computes in Python, on top of its compiled steps."""
    for node in ast.parse((_efel_folder() / "pyfeatures" / "pyfeatures.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "all_pyfeatures":
            return frozenset(ast.literal_eval(node.value))
    raise ConfigurationError(f"eFEL {efel_version()} has no list of Python features; ephysflow needs 5.7")


def _requests(python_feature: str) -> list[str]:
    """Compiled steps that a Python feature may ask for, with repetition: read from its byte code."""
    import efel.pyfeatures

    requests: list[str] = []
    seen: set[FunctionType] = set()
    waiting = [getattr(efel.pyfeatures, python_feature)]
    while waiting:
        function = inspect.unwrap(waiting.pop())
        if function in seen:
            continue
        seen.add(function)
        code = function.__code__
        requests += [text for text in code.co_consts if isinstance(text, str) and text in _dependencies()]
        waiting += [
            called
            for name in code.co_names
            if isinstance(called := function.__globals__.get(name), FunctionType)
        ]
    return requests


# ------------------------------------------------------------------------------------------- the fast way


@dataclass(frozen=True)
class _Plan:
    """How to ask eFEL for features: `requests`, in this order, under the dependency file `text`.

    `together` are the features that this gives; the others are to be asked for one by one. `needs` has all steps,
    direct and indirect, that each of them rests on.
    """

    together: tuple[str, ...]
    needs: Mapping[str, frozenset[str]]
    requests: tuple[str, ...]
    text: str
    reads_current: bool


@functools.cache
def _plan(features: tuple[str, ...]) -> _Plan:
    steps = _dependencies()
    needed_by = {name: [name] if name in steps else _requests(name) for name in features}
    together = tuple(name for name in features if len(needed_by[name]) == 1)

    order: list[str] = []  # each step after what it needs

    def add(step: str) -> None:
        if step not in order and step != _INTERPOLATE:
            for need in steps[step][1]:
                add(need)
            order.append(step)

    for step in (_FIRST, *(step for name in together for step in needed_by[name])):
        add(step)
    needs = {need for step in order for need in steps[step][1]}
    before = [step for step in order if step in needs]
    interpolate = steps[_INTERPOLATE][0]
    text = "".join(f"{steps[step][0]}{f' #{interpolate}' if step == _FIRST else ''}\n" for step in order)
    all_needs: dict[str, frozenset[str]] = {}
    for step in order:  # what a step needs comes before it
        direct = [need for need in steps[step][1] if need != _INTERPOLATE]
        all_needs[step] = frozenset(direct).union(*(all_needs[need] for need in direct))
    return _Plan(
        together=together,
        needs={name: all_needs[step] | ({step} - {name}) for name in together for step in needed_by[name]},
        requests=tuple(dict.fromkeys((_FIRST, *before, *together))),
        text=text,
        reads_current=any("current" in step for name in features for step in needed_by[name]),
    )


@functools.cache
def _equals_stock(features: tuple[str, ...]) -> bool:
    plan = _plan(features)
    traces = [_spiking_trace()]
    with _efel({}):
        fast = _in_one_call(traces, plan, {})
        stock: list[FeatureValues] = [{}]
        _one_by_one(traces, plan.together, {}, stock, plan.reads_current)
    different = [name for name in plan.together if not _same(fast[0].get(name), stock[0][name])]
    if different:
        warnings.warn(
            f"eFEL {efel_version()} gives other values of {', '.join(different)} when its steps are computed "
            "once for all features: falling back to one call per feature, which takes about ten times longer",
            RuntimeWarning,
            stacklevel=2,
        )
    return not different


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return type(a) is type(b)


def _spiking_trace() -> EfelTrace:
    """Make 90 ms with six spikes on a step of 60 ms: short, with values for nearly all features."""
    dt, start, stop = 0.1, 20.0, 80.0
    t = np.arange(900) * dt
    inside = (t >= start) & (t < stop)
    voltage = -70.0 + 15.0 * np.where(
        inside, 1 - np.exp(-(t - start) / 4), np.exp(-np.abs(t - stop) / 4) * (t >= stop)
    )
    for spike in (25.3, 29.1, 33.4, 46.2, 58.7, 71.9):
        after = t - spike
        shape = 85 * np.exp(-after / 0.5) - 14 * (1 - np.exp(-after)) * np.exp(-after / 6)
        voltage += np.where(after >= 0, shape, 85 * np.clip(1 + after, 0, None))
    current = 0.2 * inside - 0.05
    values = {"stimulus_current": [0.2], "multi_stim_start": [start], "multi_stim_end": [stop]}
    return EfelTrace(voltage, dt, start, stop, current, values)


# ---------------------------------------------------------------------------------- eFEL's global variables


@contextmanager
def _efel(settings: Mapping[str, Setting]) -> Iterator[None]:
    """Put eFEL into a known state, and leave it as it was found."""
    import efel

    live = vars(efel.get_settings())
    found = dict(live)
    log = logging.getLogger("efel")
    level = log.level
    live.clear()
    live.update(vars(efel.Settings()))
    for name, value in settings.items():
        efel.set_setting(name, value)
    try:
        with warnings.catch_warnings():
            # A missing value is reported as such; these are on names and on numerics inside of eFEL.
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)
            yield
    finally:
        log.setLevel(level)
        live.clear()
        live.update(found)
        efel.get_feature_names()  # loads the dependency file that the settings name


def _in_one_call(
    traces: Sequence[EfelTrace], plan: _Plan, settings: Mapping[str, Setting]
) -> list[FeatureValues]:
    """Ask for what can be computed together; a sweep in which that fails is left to `_one_by_one`."""
    import efel

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as own:
        own.write(plan.text)
        own.flush()
        efel.set_setting("dependencyfile_path", own.name)
        efel.get_feature_names()  # loads the file, which is not needed any more after that
    results: list[FeatureValues] = []
    for trace in traces:
        try:
            for name in plan.requests:
                _refuse_short_window(trace, name, settings)
            data = _handed_over(trace, settings, plan.reads_current)
            found = efel.get_feature_values([data], list(plan.requests), raise_warnings=False)[0]
        except Exception:
            found = {}
        # stock eFEL has no value where a needed step has none; here the step was not asked for again
        missing = {step for step, value in found.items() if value is None}
        results.append(
            {n: v for n, v in found.items() if v is None or not plan.needs.get(n, missing) & missing}
        )
    return results


def _one_by_one(
    traces: Sequence[EfelTrace],
    features: Sequence[str],
    settings: Mapping[str, Setting],
    results: Sequence[FeatureValues],
    with_current: bool,
) -> None:
    """Ask stock eFEL, one feature a call, for those that `results` lack, and add them."""
    import efel

    if all(name in found for found in results for name in features):
        return
    efel.set_setting("dependencyfile_path", str(_efel_folder() / "DependencyV5.txt"))
    efel.get_feature_names()
    for trace, found in zip(traces, results, strict=True):
        for name in features:
            if name in found:
                continue
            try:
                _refuse_short_window(trace, name, settings)
                data = _handed_over(trace, settings, with_current)
                found[name] = efel.get_feature_values([data], [name], raise_warnings=False)[0][name]
            except Exception as error:
                found[name] = RecordingError(f"eFEL cannot compute {name}: {error}")


def _refuse_short_window(trace: EfelTrace, feature: str, settings: Mapping[str, Setting]) -> None:
    start, end = (
        float(settings.get(name, own))
        for name, own in (("stim_start", trace.stim_start), ("stim_end", trace.stim_end))
    )
    if end - start < _SHORTEST_WINDOW.get(feature, 0.0):
        raise RecordingError(
            f"a stimulus of {end - start:g} ms is too short; needed: {_SHORTEST_WINDOW[feature]:g} ms"
        )


def _handed_over(
    trace: EfelTrace, settings: Mapping[str, Setting], with_current: bool
) -> dict[str, list[float]]:
    """Sweep as eFEL takes it: lists by name, which it copies faster than arrays."""
    current = trace.current if with_current else None
    n = len(trace.voltage)
    if n < 2 or not np.isfinite(trace.voltage).all():
        raise RecordingError(f"voltage has {n} samples, not all finite; needed: at least 2, all finite")
    if current is not None and (len(current) != n or not np.isfinite(current).all()):
        raise RecordingError(f"current has {len(current)} samples, not all finite; needed: {n}, all finite")
    data: dict[str, list[float]] = {
        # by way of seconds, as BluePyEfe: a sample on the edge of a criterion then falls on the same side
        "T": (np.arange(n) * (trace.dt / 1000.0) * 1000.0).tolist(),
        "V": np.asarray(trace.voltage, float).tolist(),
    }
    if current is not None:
        data["I"] = np.asarray(current, float).tolist()
    own = {"stim_start": [trace.stim_start], "stim_end": [trace.stim_end], **trace.values}
    data |= {name: [float(x) for x in values] for name, values in own.items() if name not in settings}
    data |= {name: [float(settings[name])] for name in _OF_THE_SWEEP if name in settings}
    start, end = data["stim_start"][0], data["stim_end"][0]
    if not start < end:
        raise RecordingError(f"stimulus window is {start} to {end} ms; needed: start before end")
    return data
