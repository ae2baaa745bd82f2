"""The configuration: checked against its schema, defaults filled in, paths made usable.

A path in a configuration is relative to the file that holds it.
"""

import copy
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ephysflow.efeatures.auto_targets import AutoTarget, candidate_features, parse_auto_targets
from ephysflow.efeatures.targets import Target, parse_targets, read_targets
from ephysflow.errors import ConfigurationError

SCHEMA = Path(__file__).parent / "schemas" / "config.schema.yaml"

PATH_KEYS = (
    ("legacy_config",),
    ("example_data",),
    ("recordings", "sheet"),
    ("recordings", "files_metadata"),
    ("efeatures", "targets"),
)
"""Keys whose value, when it is a text, is a path; targets of further sets are added to them."""


@dataclass(frozen=True)
class TargetSet:
    """Targets over all cells, or over some of them (e.g. those of one e-type)."""

    targets: tuple[Target, ...]
    auto_targets: tuple[AutoTarget, ...]
    cells: tuple[str, ...] | None

    @property
    def protocols(self) -> list[str]:
        """Protocols that features are wanted of, those of explicit targets first."""
        wanted = [target.protocol for target in self.targets]
        wanted += [protocol for auto in self.auto_targets for protocol in auto.protocols]
        return list(dict.fromkeys(wanted))

    def candidates(self, protocol: str) -> list[str]:
        """Return the features that automatic targets may want of a protocol."""
        return list(candidate_features(self.auto_targets, protocol))


@dataclass(frozen=True)
class Configuration:
    """A checked and completed configuration, with what the files that it names hold.

    Attributes
    ----------
    content : the keys of ``schemas/config.schema.yaml`` with defaults filled in
    entries : one mapping a recording file
    target_sets : name ('' for the main one) -> targets
    folder : where modules of the user are looked for: beside the configuration
    notes : what the user should know
    origin : ``config`` as it was given and the ``files`` that it came from
    """

    content: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    target_sets: Mapping[str, TargetSet]
    folder: Path
    notes: Sequence[str]
    origin: Mapping[str, Any]


def read_yaml(path: Path) -> Any:
    """Read a YAML or JSON file that holds plain data only.

    Raises
    ------
    ConfigurationError
        if the file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not YAML: {error}") from None


def load(config: Mapping[str, Any], files: Sequence[Path] = ()) -> Configuration:
    """Check a configuration, complete it, and read the sheet and the targets that it names.

    Parameters
    ----------
    config : as Snakemake or `read_yaml` gives it; not changed
    files : the files that it was merged from, first to last: messages name them, and a path is relative to the
        one that holds it; to the working directory when none does (``--config`` on the command line)

    Raises
    ------
    ConfigurationError
        naming the file, the key, the value and what is allowed; all problems of the file at once.
    """
    from ephysflow.efeatures.efel_engine import check_settings, feature_names
    from ephysflow.efeatures.rheobase import check_strategy
    from ephysflow.recordings.quality import quality_limits
    from ephysflow.recordings.readers import READERS
    from ephysflow.recordings.readers.nwb import LAYOUTS
    from ephysflow.recordings.sheet import read_files_metadata, read_sheet
    from ephysflow.recordings.stimuli.names import CLASS_NAMES

    # Snakemake makes them absolute; a project that moves must not rerun
    files = [Path(os.path.relpath(file)) for file in files]
    name = ", ".join(str(file) for file in files) or "configuration"
    schema = read_yaml(SCHEMA)
    if problems := _problems(config, schema):
        raise ConfigurationError("\n".join(f"{name}: {problem}" for problem in problems))
    given = _with_usable_paths(config, files)
    notes: list[str] = []
    legacy = None
    if "legacy_config" in given:
        from ephysflow.recordings.legacy import read_legacy

        legacy = read_legacy(Path(given["legacy_config"]))
        notes += legacy.notes
        own = given.get("efeatures", {})
        replaced = ("targets",) if "auto_targets" in own else ()
        given["efeatures"] = {k: v for k, v in legacy.efeatures.items() if k not in replaced} | own
        given.setdefault("recordings", {})
    content = _with_defaults(given, schema, schema)
    _check_across_keys(content, name)
    recordings = content["recordings"]
    if legacy is not None:
        entries = legacy.entries
    elif "sheet" in recordings:
        entries = read_sheet(Path(recordings["sheet"]))
    else:
        entries = read_files_metadata(Path(recordings["files_metadata"]))
    known = feature_names()
    if efeatures := content.get("efeatures"):
        with _located(f"{name}: efeatures.efel_settings"):
            check_settings(efeatures["efel_settings"])
        with _located(f"{name}: efeatures.rheobase.settings"):
            check_strategy(efeatures["rheobase"]["strategy"], efeatures["rheobase"]["settings"])
    with _located(f"{name}: recordings.quality.limits"):
        quality_limits(recordings["quality"]["preset"], recordings["quality"]["limits"])
    for protocol, stimulus in recordings["stimuli"].items():
        if "." not in stimulus and stimulus not in CLASS_NAMES:
            raise ConfigurationError(
                f"{name}: recordings.stimuli.{protocol}: stimulus class {stimulus!r} is unknown: allowed are "
                f"{', '.join(CLASS_NAMES)} or the dotted path of a class"
            )
    for entry in entries:
        if (reader := entry.get("reader")) and "." not in reader and reader not in READERS:
            raise ConfigurationError(
                f"{name}: cell {entry['cell']}: reader {reader!r} is unknown: allowed are {', '.join(READERS)} or the "
                "dotted path of a function"
            )
        if (layout := entry.get("nwb_layout")) and layout not in LAYOUTS:
            raise ConfigurationError(
                f"{name}: cell {entry['cell']}: nwb_layout {layout!r} is unknown: allowed are {', '.join(LAYOUTS)}"
            )
    target_sets = {}
    for where, holder in _target_holders(content.get("efeatures")):
        targets, auto = holder.get("targets"), holder.get("auto_targets")
        if not targets and not auto:
            continue
        target_sets[where.removeprefix("efeatures").removeprefix(".sets.")] = TargetSet(
            targets=tuple(
                read_targets(Path(targets), known)
                if isinstance(targets, str)
                else parse_targets(targets, known, f"{name}: {where}.targets")
            )
            if targets
            else (),
            auto_targets=tuple(
                parse_auto_targets(
                    "default" if auto is True else auto, known, f"{name}: {where}.auto_targets"
                )
            )
            if auto
            else (),
            cells=tuple(holder["cells"]) if "cells" in holder else None,
        )
    folder = files[-1].parent if files else Path()
    origin = {"config": dict(config), "files": [str(file) for file in files]}
    return Configuration(content, entries, target_sets, folder, notes, origin)


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Say where the value stands that a check refuses."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _with_usable_paths(config: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """Return a copy in which paths are relative to the working directory, or absolute."""
    completed = copy.deepcopy(dict(config))
    contents = [(file, read_yaml(file)) for file in files]
    sets = completed.get("efeatures", {}).get("sets", {})
    for keys in (*PATH_KEYS, *(("efeatures", "sets", name, "targets") for name in sets)):
        holder = _get(completed, keys[:-1])
        if isinstance(holder, dict) and isinstance(value := holder.get(keys[-1]), str):
            base = next(
                (file.parent for file, held in reversed(contents) if _get(held, keys) == value), Path()
            )
            holder[keys[-1]] = os.path.normpath(base / value)
    return completed


def _get(content: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _check_across_keys(config: Mapping[str, Any], name: str) -> None:
    """Check what a schema cannot say."""
    recordings, efeatures = config.get("recordings"), config.get("efeatures")
    legacy = "legacy_config" in config
    if recordings is None and efeatures is None and not legacy:
        raise ConfigurationError(
            f"{name}: nothing to do: none of legacy_config, recordings, efeatures is there. "
            "`ephysflow init` writes a commented configuration."
        )
    if recordings is None and not legacy:
        raise ConfigurationError(f"{name}: efeatures needs a section recordings (or legacy_config)")
    if recordings is not None:
        sources = [key for key in ("sheet", "files_metadata") if key in recordings]
        if legacy:
            sources.append("legacy_config")
        if len(sources) != 1:
            raise ConfigurationError(
                f"{name}: recordings needs exactly one of sheet, files_metadata, legacy_config; "
                f"{' and '.join(sources) if sources else 'none'} given"
            )
    for where, holder in _target_holders(efeatures):
        given = [key for key in ("targets", "auto_targets") if holder.get(key)]
        if len(given) == 2:
            raise ConfigurationError(f"{name}: {where}: targets and auto_targets exclude each other")
        if not given and not (where == "efeatures" and holder["sets"]):
            raise ConfigurationError(f"{name}: {where}: needs targets or auto_targets")
    if efeatures and efeatures["absolute_amplitude"]:
        for where, holder in _target_holders(efeatures):
            if holder.get("auto_targets"):
                raise ConfigurationError(
                    f"{name}: {where}.auto_targets: amplitudes are in percent of the rheobase; "
                    "not possible with absolute_amplitude: true"
                )


def _target_holders(efeatures: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    if not efeatures:
        return []
    sets = efeatures["sets"]
    return [("efeatures", efeatures), *((f"efeatures.sets.{name}", sets[name]) for name in sets)]


def _problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = []
    for error in sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda e: list(map(str, e.path))
    ):
        if error.context and error.validator == "oneOf":
            error = best_match([error]) or error
        where = ".".join(str(part) for part in error.absolute_path)
        if error.validator == "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(known)):
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                place = f"{where}.{key}" if where else str(key)
                found.append(f"{place}: unknown key{hint} (known here: {', '.join(known)})")
        else:
            allowed = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
            found.append(
                f"{where or 'top level'}: {error.message}" + (f" ({allowed.strip()})" if allowed else "")
            )
    return found


def _with_defaults(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """Return a copy of `value` in which absent properties have the defaults of their schema."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        completed = {
            key: _with_defaults(item, properties.get(key, extra if isinstance(extra, dict) else {}), root)
            for key, item in value.items()
        }
        for key, sub in properties.items():
            if key not in completed and "default" in sub:
                completed[key] = _with_defaults(sub["default"], sub, root)
        return completed
    if isinstance(value, list):
        return [_with_defaults(item, schema.get("items", {}), root) for item in value]
    return value
