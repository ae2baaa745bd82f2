"""BluePyEfe-1 configurations (JSON with cells, features, options, path), read as they are.

Nothing of such a file is dropped without a word: what ephysflow does not honour stands in `notes`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.recordings.readers.units import unit_factor
from ephysflow.recordings.sheet import read_files_metadata

NO_INPUT_TOLERANCE = 10
"""Tolerance of the target "noinput" [percent of the rheobase], whose amplitude is 0."""

_OPTIONS_READ = (
    "onoff",
    "spike_threshold",
    "expthreshold",
    "relative",
    "tolerance",
    "target",
    "strict_stiminterval",
    "amp_min",
)

_OPTIONS_IGNORED = {
    # option: (values without an effect, why it is not honoured)
    "delay": ((0, None), "times are ms from the start of the sweep"),
    "nanmean": ((True,), "values that cannot be computed are always left out of a mean"),
    "nangrace": ((0, None), "a target needs efeatures.threshold_nvalue_save values, whatever the others are"),
    "boxcox": ((False, None), "values are not transformed"),
    "logging": ((), "each job writes a log"),
    "saveraw": ((), "sweeps are always kept, in results/recordings"),
}

_CELL_KEYS_READ = ("v_corr", "ljp", "experiments", "exclude", "exclude_unit")

_CELL_KEYS_IGNORED = {
    "etype": "several types over the same recordings are efeatures.sets of an ephysflow configuration",
}

_FILE_EXTENSIONS = {"axon": ".abf"}


@dataclass(frozen=True)
class LegacyConfiguration:
    """What a BluePyEfe-1 configuration says, in the forms of ephysflow.

    Attributes
    ----------
    entries : file entries, as `ephysflow.recordings.sheet.read_sheet` gives them
    efeatures : section ``efeatures`` of a configuration: targets (list form), rheobase, absolute_amplitude
    notes : what is not honoured or was understood in a way worth knowing, for the user
    """

    entries: Sequence[Mapping[str, Any]]
    efeatures: Mapping[str, Any]
    notes: Sequence[str]


def read_legacy(path: Path) -> LegacyConfiguration:
    """Read a BluePyEfe-1 configuration.

    ``path`` in it is relative to its own folder. Stimulus times come from ``onoff`` unless a file has its own;
    protocols without an entry there are detected. ``ljp`` and ``v_corr`` of a cell apply to all its files unless a
    file has its own; ``false`` is off.

    Raises
    ------
    ConfigurationError
        with all problems, each naming the key, the value and what is allowed.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not JSON: {error}") from None
    try:
        return _understand(config, path.parent)
    except ConfigurationError as error:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def _understand(config: Any, folder: Path) -> LegacyConfiguration:
    if not isinstance(config, Mapping):
        raise ConfigurationError(
            f"must be a mapping with cells, features, options and path, not {type(config).__name__}"
        )
    cells, features, options = (_section(config, key) for key in ("cells", "features", "options"))
    notes: list[str] = []
    known = ("cells", "features", "options", "path", "format", "comment")
    notes += [f"{key}: not known; it has no effect" for key in config if key not in known]
    notes += _option_notes(options)
    metadata, locations = _metadata(cells, options, str(config.get("format", "")), notes)
    entries = read_files_metadata(metadata, folder / str(config.get("path", "")), "cells")
    efeatures = {
        "targets": _targets(features, options, locations, notes),
        "rheobase": {
            "strategy": "absolute",
            **(
                {"settings": {"spike_threshold": n}}
                if (n := options.get("spike_threshold")) is not None
                else {}
            ),
            **({"protocols": list(names)} if (names := options.get("expthreshold")) else {}),
            **({"min_amplitude": least} if (least := options.get("amp_min")) else {}),
        },
        "absolute_amplitude": not options.get("relative", True),
    }
    return LegacyConfiguration(entries, efeatures, notes)


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = config.get(key, {})
    if not isinstance(section, Mapping) or (key != "options" and not section):
        raise ConfigurationError(f"{key}: must be a mapping that is not empty; found {section!r:.60}")
    return section


def _option_notes(options: Mapping[str, Any]) -> list[str]:
    notes = []
    for key, value in options.items():
        if key in _OPTIONS_IGNORED:
            harmless, reason = _OPTIONS_IGNORED[key]
            if not any(
                value is given or (value == given and type(value) is type(given)) for given in harmless
            ):
                notes.append(f"options.{key} is {value!r:.60}: not honoured; {reason}")
        elif key not in _OPTIONS_READ:
            notes.append(f"options.{key} is {value!r:.60}: not known; it has no effect")
    return notes


def _metadata(
    cells: Mapping[str, Any], options: Mapping[str, Any], file_format: str, notes: list[str]
) -> tuple[dict[str, dict[str, list[Any]]], dict[str, str]]:
    """Return files_metadata, {cell: {protocol: [metadata]}}, and {protocol: recording site}."""
    onoff = options.get("onoff") or {}
    metadata: dict[str, dict[str, list[Any]]] = {}
    locations: dict[str, str] = {}
    detected: dict[str, None] = {}
    ignored: dict[str, list[str]] = {}
    problems: list[str] = []
    for cell, content in cells.items():
        if not isinstance(content, Mapping) or not isinstance(content.get("experiments"), Mapping):
            problems.append(f"cells.{cell}: must be a mapping with experiments")
            continue
        for key, value in content.items():
            if key not in _CELL_KEYS_READ and _says_something(value):
                ignored.setdefault(key, []).append(cell)
        of_cell = {key: content[key] for key in ("ljp", "v_corr") if content.get(key) is not None}
        metadata[cell] = {}
        for protocol, experiment in content["experiments"].items():
            where = f"cells.{cell}.experiments.{protocol}"
            if not isinstance(experiment, Mapping) or not isinstance(experiment.get("files"), list):
                problems.append(f"{where}: must be a mapping with a list of files")
                continue
            site = str(experiment.get("location", "soma")).removesuffix(".v")
            if locations.setdefault(protocol, site) != site:
                problems.append(
                    f"{where}.location is {site}; other cells have {locations[protocol]}: one is allowed"
                )
            times = dict(of_cell)
            if protocol in onoff:
                try:
                    times["ton"], times["toff"] = onoff[protocol]
                except (TypeError, ValueError):
                    problems.append(
                        f"options.onoff.{protocol} is {onoff[protocol]!r}; must be [start, end] in ms"
                    )
            else:
                detected[protocol] = None
            excluded = _excluded(content, len(experiment["files"]), f"cells.{cell}", problems)
            metadata[cell][protocol] = [
                {**times, **of_file, **_file(file, file_format)}
                for file, of_file in zip(experiment["files"], excluded, strict=True)
            ]
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))
    if detected:
        notes.append(f"options.onoff has no times for {', '.join(detected)}: they are detected")
    for key, having in ignored.items():
        reason = _CELL_KEYS_IGNORED.get(key, "not known")
        shown = ", ".join(having[:3]) + (f" and {len(having) - 3} more" if len(having) > 3 else "")
        notes.append(f"cells: {key} of {shown}: not honoured; {reason}")
    return metadata, locations


def _excluded(
    content: Mapping[str, Any], n_files: int, where: str, problems: list[str]
) -> list[dict[str, list[float]]]:
    """Return for each file the amplitudes to leave out [nA].

    As many lists as files are one a file; other numbers of lists, and amplitudes without lists, are for all files.
    """
    given, unit = content.get("exclude"), content.get("exclude_unit") or "nA"
    unit = unit[0] if isinstance(unit, list) and unit else unit
    if not isinstance(given, list) or not _says_something(given):
        return [{} for _ in range(n_files)]
    lists = given if all(isinstance(part, list) for part in given) else [given]
    try:
        factor = unit_factor(str(unit), "current")
        amplitudes = [[float(value) * factor for value in part] for part in lists]
    except (RecordingError, TypeError, ValueError):
        problems.append(
            f"{where}.exclude is {given!r:.60} with exclude_unit {unit!r}; must be a list of amplitudes in A, mA, uA, nA "
            "or pA, or one such list for each file"
        )
        return [{} for _ in range(n_files)]
    if len(amplitudes) != n_files:
        amplitudes = [[value for part in amplitudes for value in part]] * n_files
    return [{"exclude_amplitudes": part} if part else {} for part in amplitudes]


def _says_something(value: Any) -> bool:
    """Whether a value is more than empty lists in lists."""
    return any(map(_says_something, value)) if isinstance(value, list) else value not in (None, "", False)


def _file(file: Any, file_format: str) -> Any:
    """Return metadata of a file: a plain name becomes a path, BluePyEfe-1's ``filename`` becomes ``filepath``."""
    if isinstance(file, str):
        extension = _FILE_EXTENSIONS.get(file_format, "")
        return {"filepath": file if file.lower().endswith(extension) else file + extension}
    if isinstance(file, Mapping) and "filename" in file:
        return {
            "filepath": file["filename"],
            **{key: value for key, value in file.items() if key != "filename"},
        }
    return file if isinstance(file, Mapping) else {"filepath": file}


def _targets(
    features: Mapping[str, Any], options: Mapping[str, Any], locations: Mapping[str, str], notes: list[str]
) -> list[dict[str, Any]]:
    amplitudes = _amplitudes(options, notes)
    strict = options.get("strict_stiminterval", True)
    skipped: dict[str, None] = {}
    targets = []
    for protocol, names in features.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ConfigurationError(
                f"features.{protocol} is {names!r:.60}; must be a list of names of features"
            )
        within = strict.get(protocol, strict.get("base", True)) if isinstance(strict, Mapping) else strict
        for name in names:
            if "spikerate" in name:
                skipped[name] = None
                continue
            targets += [
                {
                    "efeature": name,
                    "protocol": protocol,
                    "amplitude": amplitude,
                    "tolerance": tolerance,
                    "efel_settings": {"strict_stiminterval": bool(within)},
                    "location": locations.get(protocol, "soma"),
                }
                for amplitude, tolerance in amplitudes
            ]
    if skipped:
        notes.append(f"features: {', '.join(skipped)} skipped: eFEL has no spikerate features")
    return targets


def _amplitudes(options: Mapping[str, Any], notes: list[str]) -> list[tuple[Any, Any]]:
    """Return (amplitude, tolerance) of each target."""
    amplitudes, tolerances = options.get("target"), options.get("tolerance")
    if not isinstance(amplitudes, list) or not amplitudes:
        raise ConfigurationError(f"options.target is {amplitudes!r:.60}; must be a list of amplitudes")
    if not isinstance(tolerances, list):
        tolerances = [tolerances]
    if len(tolerances) == 1:
        tolerances = tolerances * len(amplitudes)
    if len(tolerances) != len(amplitudes):
        raise ConfigurationError(
            f"options.tolerance has {len(tolerances)} values and options.target {len(amplitudes)}; "
            "give one tolerance, or one for each target"
        )
    pairs = []
    for amplitude, tolerance in zip(amplitudes, tolerances, strict=True):
        if amplitude == "all":
            notes.append("options.target: all skipped: it is every amplitude together, which is no target")
        elif amplitude == "noinput":
            notes.append(f"options.target: noinput is amplitude 0 with tolerance {NO_INPUT_TOLERANCE}")
            pairs.append((0, NO_INPUT_TOLERANCE))
        else:
            pairs.append((amplitude, tolerance))
    return pairs
