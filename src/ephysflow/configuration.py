"""The configuration: checked against its schema, defaults filled in, paths made usable.

A path in a configuration is relative to the file that holds it.
"""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.campaign.settings import CampaignSettings, campaign_settings
from ephysflow.ecephys.settings import ProjectSettings, project_settings
from ephysflow.efeatures.auto_targets import AutoTarget, candidate_features, parse_auto_targets
from ephysflow.efeatures.targets import Target, parse_targets, read_targets
from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.settings import CircuitSettings, circuit_settings
from ephysflow.io.yaml_files import read_yaml
from ephysflow.schema import problems, with_defaults

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
    campaigns : one a simulation campaign
    circuits : one a circuit of the stage extracellular
    projects : one a project of the stage ecephys
    folder : where modules of the user are looked for: beside the configuration
    notes : what the user should know
    origin : ``config`` as it was given and the ``files`` that it came from
    """

    content: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    target_sets: Mapping[str, TargetSet]
    campaigns: Sequence[CampaignSettings]
    circuits: Sequence[CircuitSettings]
    projects: Sequence[ProjectSettings]
    folder: Path
    notes: Sequence[str]
    origin: Mapping[str, Any]


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
    from ephysflow.efeatures.efel_engine import feature_names

    # Snakemake makes them absolute; a project that moves must not rerun
    files = [Path(os.path.relpath(file)) for file in files]
    name = ", ".join(str(file) for file in files) or "configuration"
    schema = read_yaml(SCHEMA)
    if found := problems(config, schema):
        raise ConfigurationError("\n".join(f"{name}: {problem}" for problem in found))
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
    content = with_defaults(given, schema, schema)
    _check_across_keys(content, name)
    entries: Sequence[Mapping[str, Any]] = []
    if "recordings" in content:
        entries = legacy.entries if legacy is not None else _recording_entries(content["recordings"])
        _check_recordings(content, entries, name)
    known = feature_names() if content.get("efeatures") else frozenset()
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
    campaigns = []
    for label, section in content.get("campaign", {}).items():
        base = _folder_of(files, ("campaign", label))
        campaigns.append(campaign_settings(label, section, base, f"{name}: campaign.{label}"))
    circuits = []
    for label, section in content.get("extracellular", {}).items():
        base = _folder_of(files, ("extracellular", label))
        circuits.append(circuit_settings(label, section, base, f"{name}: extracellular.{label}"))
    projects = []
    made = _example_sessions(content) if "ecephys" in content else []
    for label, section in content.get("ecephys", {}).items():
        base = _folder_of(files, ("ecephys", label))
        where = f"{name}: ecephys.{label}"
        projects.append(project_settings(label, section, base, where, Path(content["results"]), made))
    origin = {"config": dict(config), "files": [str(file) for file in files]}
    return Configuration(content, entries, target_sets, campaigns, circuits, projects, folder, notes, origin)


def _example_sessions(content: Mapping[str, Any]) -> list[str]:
    """Return the session files that the embedded example makes; none for one's own data."""
    if "example_data" not in content:
        return []
    from ephysflow.example.ecephys_files import example_files
    from ephysflow.example.files import ECEPHYS_FOLDER

    return [str(Path(content["example_data"], ECEPHYS_FOLDER, name)) for name in example_files()]


def _recording_entries(recordings: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    from ephysflow.recordings.sheet import read_files_metadata, read_sheet

    if "sheet" in recordings:
        return read_sheet(Path(recordings["sheet"]))
    return read_files_metadata(Path(recordings["files_metadata"]))


def _check_recordings(content: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], name: str) -> None:
    """Check the names that recordings and efeatures use."""
    from ephysflow.efeatures.efel_engine import check_settings
    from ephysflow.efeatures.rheobase import check_strategy
    from ephysflow.recordings.quality import quality_limits
    from ephysflow.recordings.readers import READERS
    from ephysflow.recordings.readers.nwb import LAYOUTS
    from ephysflow.recordings.stimuli.names import CLASS_NAMES

    recordings = content["recordings"]
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
    contents = [(file, read_yaml(file, unique_keys=True)) for file in files]
    sets = completed.get("efeatures", {}).get("sets", {})
    campaigns = [("campaign", name, "analysis_config") for name in completed.get("campaign", {})]
    for keys in (*PATH_KEYS, *(("efeatures", "sets", name, "targets") for name in sets), *campaigns):
        holder = _get(completed, keys[:-1])
        if isinstance(holder, dict) and isinstance(value := holder.get(keys[-1]), str):
            base = next(
                (file.parent for file, held in reversed(contents) if _get(held, keys) == value), Path()
            )
            holder[keys[-1]] = os.path.normpath(base / value)
    return completed


def _folder_of(files: Sequence[Path], keys: Sequence[str]) -> Path:
    """Return the folder of the last file that holds these keys; the working directory when none does."""
    holding = (file.parent for file in reversed(files) if _get(read_yaml(file), keys) is not None)
    return next(holding, Path())


def _get(content: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _check_across_keys(config: Mapping[str, Any], name: str) -> None:
    """Check what a schema cannot say."""
    recordings, efeatures = config.get("recordings"), config.get("efeatures")
    legacy = "legacy_config" in config
    if (
        recordings is None
        and efeatures is None
        and not legacy
        and not config.keys() & {"campaign", "ecephys", "extracellular"}
    ):
        raise ConfigurationError(
            f"{name}: nothing to do: none of legacy_config, recordings, efeatures, ecephys, campaign, extracellular is there. "
            "`ephysflow init` writes a commented configuration."
        )
    if recordings is None and efeatures is not None and not legacy:
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
