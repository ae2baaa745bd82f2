"""Which files a SONATA simulation consists of, read from its JSON alone: it runs whenever jobs are planned.

Simulations and circuits of BMTK are read as well; the configuration parsers of libsonata refuse them. Source: the
SONATA format of the Allen Institute and the SONATA extension of the Blue Brain Project (manifest, output, reports).
"""

import json
import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ephysflow.errors import SimulationError
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.plain_values import value_problem

VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True)
class NodesFile:
    """One nodes file of a circuit.

    Attributes
    ----------
    file : HDF5 file
    types_file : CSV of node types, where the circuit has one
    populations : names as the configuration lists them; empty where it does not
    """

    file: Path
    types_file: Path | None
    populations: tuple[str, ...]


MORPHOLOGY_SUBFOLDERS = {
    ".asc": ("", "ascii", "asc", "morphologies_asc"),
    ".h5": ("", "h5", "h5v1", "morphologies_h5"),
    ".swc": ("", "swc", "morphologies_swc"),
}
"""Extension -> folders below ``morphologies_dir`` that are looked in when no other place is named."""


@dataclass(frozen=True)
class MorphologyFolders:
    """Where the morphologies of a population are, by format; None where the configuration names no place.

    Attributes
    ----------
    swc : ``morphologies_dir``
    asc : ``alternate_morphologies``, neurolucida-asc
    h5 : ``alternate_morphologies``, h5v1; a folder, or one container file
    """

    swc: Path | None = None
    asc: Path | None = None
    h5: Path | None = None

    @property
    def places(self) -> list[Path]:
        """The places that are named."""
        return [place for place in (self.asc, self.h5, self.swc) if place is not None]

    @property
    def is_customary(self) -> bool:
        """Whether ``morphologies_dir`` is all that is named, and a folder: any format may be in the folders below it."""
        return self.swc is not None and self.places == [self.swc] and self.swc.suffix != ".h5"

    @property
    def searched(self) -> list[Path]:
        """Folders and containers that morphologies are looked for in."""
        if self.swc is None or not self.is_customary:
            return self.places
        below = dict.fromkeys(name for names in MORPHOLOGY_SUBFOLDERS.values() for name in names)
        return [self.swc / name for name in below]


@dataclass(frozen=True)
class CircuitFiles:
    """The files of a circuit that are read.

    Attributes
    ----------
    config : the circuit's configuration
    nodes : its nodes files
    node_sets_file : where the circuit has one
    content : digest of what the configuration holds
    morphologies : of the populations that the configuration lists
    default_morphologies : of all others
    population_types : type (biophysical, virtual, ...) of the populations that the configuration lists; '' where it
        gives none
    """

    config: Path
    nodes: tuple[NodesFile, ...]
    node_sets_file: Path | None
    content: str
    morphologies: Mapping[str, MorphologyFolders]
    default_morphologies: MorphologyFolders
    population_types: Mapping[str, str]


@dataclass(frozen=True)
class SimulationFiles:
    """The files of one simulation; none is looked for.

    Attributes
    ----------
    config : the file that was read
    spikes_file : output of spikes
    reports : name -> file of each enabled report
    report_types : name -> type of each enabled report (compartment, summation, lfp ...), '' where it gives none
    circuit : the circuit that was simulated
    node_sets_files : those of the circuit first, then those of the simulation, whose sets come on top
    tstop : end of the run [ms], where the file gives it
    """

    config: Path
    spikes_file: Path
    reports: Mapping[str, Path]
    report_types: Mapping[str, str]
    circuit: CircuitFiles
    node_sets_files: tuple[Path, ...]
    tstop: float | None


def read_simulation(path: Path) -> SimulationFiles:
    """Read the configuration of a simulation, and that of its circuit.

    Parameters
    ----------
    path : a SONATA simulation configuration, or a file with only the keys ``network`` and ``simulation``, as BMTK
        writes it

    Raises
    ------
    SimulationError
        if the file, or the circuit's, is missing, is not JSON, or lacks a key; the message names file and key.
    """
    config = _read(path, "simulation")
    network = _path(config, "network", path) if "network" in config else None
    if "simulation" in config and "output" not in config:
        path = _path(config, "simulation", path)
        config = _read(path, "simulation")
        network = network or _path(config, "network", path)
    if network is None:
        raise SimulationError(f"{path}: key 'network' is missing; is it a simulation configuration?")
    run, output = _section(config, "run", path), _section(config, "output", path)
    folder = _path({"output_dir": "output", **output}, "output_dir", path, config, "output.")
    spikes = _path({"spikes_file": "spikes.h5", **output}, "spikes_file", path, config, "output.", folder)
    circuit = read_circuit(network)
    sets = [circuit.node_sets_file] if circuit.node_sets_file else []
    if config.get("node_sets_file"):
        sets.append(_path(config, "node_sets_file", path))
    return SimulationFiles(
        config=path,
        spikes_file=spikes,
        reports=_reports(config, folder, path),
        report_types={
            name: str(report.get("type") or "")
            for name, report in _section(config, "reports", path).items()
            if _is_enabled(report)
        },
        circuit=circuit,
        node_sets_files=tuple(dict.fromkeys(sets)),
        tstop=_number(run, "tstop", path),
    )


def read_circuit(path: Path) -> CircuitFiles:
    """Read which files a circuit consists of.

    All simulations of a campaign name the same circuit: it is parsed again only when the file has changed.

    Raises
    ------
    SimulationError
        if the file is missing, is not JSON, or lacks a key.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError):  # a path with a NUL
        raise SimulationError(f"circuit configuration {path} is not there") from None
    return _read_circuit(path, state.st_mtime_ns, state.st_size)


def first_compartment_report(simulation: SimulationFiles) -> str | None:
    """Return the name of the first report of compartments; None when there is none."""
    return next((name for name, kind in simulation.report_types.items() if kind == "compartment"), None)


def circuit_key(circuit: CircuitFiles) -> str:
    """Return a key that is equal for equal circuits: the same content of the configuration and the same files."""
    files = [circuit.node_sets_file]
    for nodes in circuit.nodes:
        files += [nodes.file, nodes.types_file]
    return digest(canonical_json([circuit.content, [file and str(file) for file in files]]))


@lru_cache(maxsize=64)
def _read_circuit(path: Path, mtime: int, size: int) -> CircuitFiles:
    config = _read(path, "circuit")
    networks = _section(config, "networks", path)
    if not isinstance(networks.get("nodes"), list):
        raise SimulationError(
            f"{path}: key 'networks.nodes' is missing or not a list; is it a circuit configuration?"
        )
    components = _section(config, "components", path)
    default = _morphology_folders(components, path, config, "components.", MorphologyFolders())
    manifest = _section(config, "manifest", path)
    if not default.places and any(key in manifest for key in ("$MORPHOLOGIES", "MORPHOLOGIES")):
        default = MorphologyFolders(swc=_path({"": "$MORPHOLOGIES"}, "", path, config, "manifest."))
    nodes = []
    folders: dict[str, MorphologyFolders] = {}
    types: dict[str, str] = {}
    for i, entry in enumerate(networks["nodes"]):
        prefix = f"networks.nodes[{i}]."
        if not isinstance(entry, Mapping) or "nodes_file" not in entry:
            raise SimulationError(f"{path}: key '{prefix}nodes_file' is missing")
        populations = _section(entry, "populations", path, prefix)
        for name in populations:
            own = _section(populations, name, path, f"{prefix}populations.")
            types[name] = str(own.get("type") or "")
            inside = f"{prefix}populations.{name}."
            folders[name] = _morphology_folders(own, path, config, inside, default)
        has_types = entry.get("node_types_file") not in (None, "", "NULL", "NONE")
        nodes.append(
            NodesFile(
                file=_path(entry, "nodes_file", path, config, prefix),
                types_file=_path(entry, "node_types_file", path, config, prefix) if has_types else None,
                populations=tuple(populations),
            )
        )
    return CircuitFiles(
        config=path,
        nodes=tuple(nodes),
        node_sets_file=_path(config, "node_sets_file", path) if config.get("node_sets_file") else None,
        # not canonical_json: what is nothing to us may be infinite, or text that is not Unicode
        content=digest(json.dumps(config, sort_keys=True)),
        morphologies=folders,
        default_morphologies=default,
        population_types=types,
    )


def _morphology_folders(
    section: Mapping[str, Any], path: Path, config: Mapping[str, Any], prefix: str, default: MorphologyFolders
) -> MorphologyFolders:
    """Return the folders that a section of components names; those of `default` where it names none.

    The formats of ``alternate_morphologies`` are replaced together, as in libsonata.
    """
    swc, asc, h5 = default.swc, default.asc, default.h5
    if section.get("morphologies_dir"):
        swc = _path(section, "morphologies_dir", path, config, prefix)
    if alternate := _section(section, "alternate_morphologies", path, prefix):
        asc, h5 = (
            _path(alternate, key, path, config, f"{prefix}alternate_morphologies.")
            if alternate.get(key)
            else None
            for key in ("neurolucida-asc", "h5v1")
        )
    return MorphologyFolders(swc, asc, h5)


def _read(path: Path, kind: str) -> dict[str, Any]:
    try:
        # NaN and infinity, which JSON does not have, become texts: where a number is needed these are refused
        content = json.loads(path.read_bytes(), parse_constant=str)
    except FileNotFoundError:
        raise SimulationError(f"{kind} configuration {path} is not there") from None
    except OSError as error:
        raise SimulationError(f"{kind} configuration {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SimulationError(f"{kind} configuration {path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise SimulationError(f"{kind} configuration {path} holds no keys")
    return content


def _section(config: Mapping[str, Any], key: str, path: Path, prefix: str = "") -> Mapping[str, Any]:
    """Return a part of the configuration that has keys of its own; empty where it is missing."""
    section = config.get(key) or {}
    if not isinstance(section, Mapping):
        raise SimulationError(f"{path}: {prefix}{key}: must be keys and values")
    return section


def _number(section: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = section.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise SimulationError(f"{path}: run.{key}: {reprlib.repr(value)} is not a finite number")


def _reports(config: Mapping[str, Any], folder: Path, path: Path) -> dict[str, Path]:
    """Return the file of each enabled report; its name is the report's where the configuration gives none."""
    files = {}
    for name, report in _section(config, "reports", path).items():
        prefix = f"reports.{name}."
        if not isinstance(report, Mapping):
            raise SimulationError(f"{path}: reports.{name}: must be keys and values")
        if not _is_enabled(report):
            continue
        file = _path({"file_name": name, **report}, "file_name", path, config, prefix, folder)
        files[name] = file if file.suffix == ".h5" else Path(f"{file}.h5")
    return files


def _is_enabled(report: Mapping[str, Any]) -> bool:
    return report.get("enabled", True) is not False


def _path(
    section: Mapping[str, Any],
    key: str,
    path: Path,
    config: Mapping[str, Any] | None = None,
    prefix: str = "",
    folder: Path | None = None,
) -> Path:
    """Return the path under a key: relative to the working directory or absolute, as `path` or the text itself is.

    Parameters
    ----------
    section : holds the key
    path : the configuration file, for messages
    config : the whole content of that file, whose manifest gives the variables; None if it is `section`
    prefix : where `section` stands in the file, for messages
    folder : what the path is relative to; None for the folder of the file
    """
    text = section[key]
    if not isinstance(text, str) or not text or value_problem(text):
        raise SimulationError(f"{path}: {prefix}{key}: {text!r} is not a path")
    if "$" in text:
        manifest = _section(section if config is None else config, "manifest", path)
        text = _expanded(text, manifest, path, f"{prefix}{key}")
        if text.startswith("."):  # a variable is relative to the file, whatever the key is relative to
            folder = None
    return Path(os.path.normpath(os.path.join(path.parent if folder is None else folder, text)))


def _expanded(
    text: str, manifest: Mapping[str, Any], path: Path, where: str, open_: tuple[str, ...] = ()
) -> str:
    """Replace ``$NAME`` and ``${NAME}``; the value of a variable may hold others."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        given = next((manifest[k] for k in (f"${name}", name, f"${{{name}}}") if k in manifest), None)
        if not isinstance(given, str):
            known = ", ".join(manifest) or "none"
            raise SimulationError(
                f"{path}: {where}: variable ${name} is not a text in the manifest (known: {known})"
            )
        if name in open_:
            raise SimulationError(f"{path}: manifest: ${name} is defined by itself")
        return _expanded(given, manifest, path, where, (*open_, name)) if "$" in given else given

    return VARIABLE.sub(value, text)
