"""What a configuration says of one circuit, its electrodes and weights files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError

DISCRETISATION_SETTINGS: Mapping[str, Mapping[str, float]] = {
    "odd": {"length": 40.0},
    "max_length": {"length": 40.0},
    "d_lambda": {
        "d_lambda": 0.1,
        "frequency": 100.0,
        "axial_resistivity": 100.0,
        "membrane_capacitance": 1.0,
    },
}
"""Rule -> its settings with their defaults."""


@dataclass(frozen=True)
class WeightsSettings:
    """One weights file.

    Attributes
    ----------
    name : of the file
    arrays : name -> settings; paths are usable as they are
    layout, column_of_ones, unit, precision : of the file
    ranks, buffer_mb : of the job that makes it
    """

    name: str
    arrays: Mapping[str, Mapping[str, Any]]
    layout: str
    column_of_ones: bool
    unit: str
    precision: str
    ranks: int
    buffer_mb: int


@dataclass(frozen=True)
class CircuitSettings:
    """One circuit of the stage extracellular.

    Attributes
    ----------
    name : of its folder in the results
    simulation : simulation configuration, or None
    circuit : circuit configuration, or None; one of the two is given
    report : name of the report; None for the first compartment report
    populations : None for all
    node_set : None for all nodes
    chunks : number of jobs that compute positions
    replace_axons, stub_axon, missing_morphologies : as in the configuration
    discretisation : rule and its settings; None with a report
    weights : the files
    where : file and key, for messages
    """

    name: str
    simulation: Path | None
    circuit: Path | None
    report: str | None
    populations: Sequence[str] | None
    node_set: str | None
    chunks: int
    replace_axons: bool
    stub_axon: Sequence[float]
    discretisation: Mapping[str, Any] | None
    missing_morphologies: str
    weights: Sequence[WeightsSettings]
    where: str


def circuit_settings(name: str, content: Mapping[str, Any], folder: Path, where: str) -> CircuitSettings:
    """Read the section of one circuit.

    Parameters
    ----------
    name : of the circuit
    content : its keys, completed
    folder : to which paths in the section are relative
    where : the file and key of the section, for messages

    Raises
    ------
    ConfigurationError
        naming what is wrong and what is allowed.
    """
    given = [key for key in ("simulation", "circuit") if key in content]
    if len(given) != 1:
        raise ConfigurationError(
            f"{where}: needs exactly one of simulation, circuit; {'both' if given else 'none'} given"
        )
    if "report" in content and "circuit" in content:
        raise ConfigurationError(
            f"{where}: report: only a simulation has reports; give simulation, not circuit"
        )
    discretisation = content.get("discretisation")
    if discretisation is not None and "simulation" in content:
        raise ConfigurationError(
            f"{where}: discretisation: the report gives the compartments; only with circuit in place of simulation"
        )
    return CircuitSettings(
        name=name,
        simulation=_path(folder, content.get("simulation")),
        circuit=_path(folder, content.get("circuit")),
        report=content.get("report"),
        populations=content.get("populations"),
        node_set=content.get("node_set"),
        chunks=content["chunks"],
        replace_axons=content["replace_axons"],
        stub_axon=content["stub_axon"],
        discretisation=_discretisation(content, where) if "circuit" in content else None,
        missing_morphologies=content["missing_morphologies"],
        weights=[_weights(key, value, folder) for key, value in content["weights"].items()],
        where=where,
    )


def _discretisation(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a rule with all its settings; Blue Brain's rule when none is given."""
    given = content.get("discretisation", {"rule": "odd"})
    settings = DISCRETISATION_SETTINGS[given["rule"]]
    stub = given.get("stub")
    if stub is not None and (not content["replace_axons"] or len(stub) != len(content["stub_axon"])):
        raise ConfigurationError(
            f"{where}: discretisation.stub: needs replace_axons: true, and a number for each of the "
            f"{len(content['stub_axon'])} pieces of stub_axon; {len(stub)} given"
        )
    if unknown := [key for key in given if key not in settings and key not in ("rule", "stub")]:
        raise ConfigurationError(
            f"{where}: discretisation: {', '.join(unknown)} is not a setting of rule {given['rule']} "
            f"(its settings: {', '.join(settings)})"
        )
    return {**settings, **given}


def _weights(name: str, content: Mapping[str, Any], folder: Path) -> WeightsSettings:
    return WeightsSettings(
        name=name,
        arrays={key: _with_usable_paths(array, folder) for key, array in content["arrays"].items()},
        layout=content["layout"],
        column_of_ones=content.get("column_of_ones", content["layout"] == "bluerecording"),
        unit=content["unit"],
        precision=content["precision"],
        ranks=content["ranks"],
        buffer_mb=content["buffer_mb"],
    )


def _with_usable_paths(array: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    usable = {**array, "electrodes": str(_path(folder, array["electrodes"]))}
    if isinstance(field := array.get("field"), list):
        usable["field"] = [str(_path(folder, name)) for name in field]
    elif field is not None:
        usable["field"] = str(_path(folder, field))
    return usable


def _path(folder: Path, text: str | None) -> Path | None:
    return None if text is None else Path(os.path.normpath(folder / text))
