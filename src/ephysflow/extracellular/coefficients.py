"""The coefficients of compartments and electrodes: each electrode by its method, all in mV/nA or without a unit.

V = C^T i: the potential at an electrode is the sum of its coefficients times the membrane currents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ephysflow.errors import SimulationError
from ephysflow.extracellular.compartments import Compartments, midpoints
from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.fields import Field, read_field
from ephysflow.extracellular.objective_csd import CsdRegion, csd_coefficients, csd_regions
from ephysflow.extracellular.reciprocity import dipole_coefficients, reciprocity_coefficients
from ephysflow.extracellular.sites import (
    SiteGroup,
    analytic_coefficients,
    compartments_outside,
    cut_off,
    site_groups,
    subtract_references,
)

FIELD_QUANTITIES = {"Reciprocity": "potential", "DipoleReciprocity": "electric_field"}
"""Method -> what its field file holds."""

LISTED = 20
"""Electrodes that an error names."""


@dataclass(frozen=True)
class Model:
    """Electrodes, made ready: everything that is the same for all compartments.

    Attributes
    ----------
    electrodes : columns, in order
    groups : sites of the analytic electrodes
    fields : column -> field of a (dipole) reciprocity electrode
    regions : column -> region of an objective CSD electrode
    """

    electrodes: Sequence[Electrode]
    groups: Sequence[SiteGroup]
    fields: dict[int, Field]
    regions: dict[int, CsdRegion]


def make_model(electrodes: Sequence[Electrode]) -> Model:
    """Read the fields that electrodes need and find their sites and regions.

    Raises
    ------
    ConfigurationError
        if electrodes do not fit together.
    SimulationError
        if a field file cannot be used.
    """
    read: dict[tuple[str, str, str], Field] = {}
    fields = {}
    for column, electrode in enumerate(electrodes):
        if electrode.method in FIELD_QUANTITIES:
            assert electrode.field is not None
            assert electrode.field_unit is not None
            key = electrode.field, FIELD_QUANTITIES[electrode.method], electrode.field_unit
            if key not in read:
                read[key] = read_field(Path(key[0]), key[1], key[2])
            fields[column] = read[key]
    return Model(electrodes, site_groups(electrodes), fields, csd_regions(electrodes))


def coefficients(model: Model, compartments: Compartments, centres: np.ndarray) -> np.ndarray:
    """Return the coefficients of some compartments; a row depends on nothing but its own compartment and cell.

    Parameters
    ----------
    model : the electrodes
    compartments : C of them [um]
    centres : (C, 3) the centre of the cell that each belongs to [um], for dipoles

    Returns
    -------
    (C, E) float64 mV/nA; 0 or 1 for objective CSD; NaN for compartments of unknown position
    """
    found = np.empty((len(compartments.starts), len(model.electrodes)))
    analytic_coefficients(model.groups, compartments.starts, compartments.ends, compartments.radii, found)
    middle = midpoints(compartments.starts, compartments.ends)
    for column, field in model.fields.items():
        if model.electrodes[column].method == "Reciprocity":
            found[:, column] = reciprocity_coefficients(field, middle)
        else:
            found[:, column] = dipole_coefficients(field, middle, centres)
    for column, region in model.regions.items():
        found[:, column] = csd_coefficients(region, middle)
    subtract_references(model.electrodes, found)
    cut_off(model.electrodes, middle, found)
    return found


def can_be_outside(model: Model) -> bool:
    """Return whether compartments can be where an electrode's method has no value, and are refused there."""
    refusing = any(model.electrodes[column].outside_field == "refuse" for column in model.fields)
    return refusing or any(electrode.slice is not None for electrode in model.electrodes)


def count_outside(model: Model, compartments: Compartments, centres: np.ndarray) -> np.ndarray:
    """Return (E,) how many compartments each electrode's method has no value for: outside its field or its slice."""
    counts = np.zeros(len(model.electrodes), dtype=np.int64)
    middle = midpoints(compartments.starts, compartments.ends)
    known = ~np.isnan(middle).any(axis=1)
    for column, field in model.fields.items():
        electrode = model.electrodes[column]
        if electrode.outside_field == "refuse":
            at = middle if electrode.method == "Reciprocity" else centres
            counts[column] = np.count_nonzero(field.outside(at) & known)
    for column, electrode in enumerate(model.electrodes):
        if electrode.slice is not None:
            counts[column] = compartments_outside(electrode.slice, compartments.starts, compartments.ends)
    return counts


def refuse_outside(model: Model, counts: np.ndarray, total: int) -> None:
    """Raise an error if compartments are outside the field or slice of an electrode.

    Raises
    ------
    SimulationError
        that names the electrodes and counts the compartments.
    """
    lines = []
    for electrode, count in zip(model.electrodes, counts.tolist(), strict=True):
        if count:
            of = (
                "its slice"
                if electrode.slice is not None
                else f"the grid of its field {electrode.field} (outside_field: nan gives them NaN)"
            )
            lines.append(f"electrode {electrode.name!r}: {count} of {total} compartments are outside {of}")
    if len(lines) > LISTED:
        lines[LISTED:] = [f"and {len(lines) - LISTED} more electrodes"]
    if lines:
        raise SimulationError("\n".join(lines))
