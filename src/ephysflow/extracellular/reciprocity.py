"""Coefficients by reciprocity: from the field in tissue while the electrode injects a current.

The potential that a current at r causes at an electrode is the potential that the same current, injected through
the electrode, causes at r (Helmholtz 1853; Rush and Driscoll 1969). For a distant electrode the field is nearly
uniform over a cell, and the potential is developed about the cell's centre c up to its gradient: -E(c) . (r - c);
the potential at c itself is left out, since the membrane currents of a cell add up to 0.
"""

import numpy as np

from ephysflow.extracellular.fields import Field


def reciprocity_coefficients(field: Field, midpoints: np.ndarray) -> np.ndarray:
    """Return the potential at the midpoints.

    Parameters
    ----------
    field : a potential [mV/nA]
    midpoints : (C, 3) of compartments [um]

    Returns
    -------
    (C,) mV/nA; NaN outside of the grid and for midpoints at NaN
    """
    return field.at(midpoints)[:, 0]


def dipole_coefficients(field: Field, midpoints: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the potential at the midpoints relative to their cell's centre, in the field at that centre.

    Parameters
    ----------
    field : an electric field [mV/(nA um)]
    midpoints : (C, 3) of compartments [um]
    centres : (C, 3) the mean of the midpoints of the cell that each belongs to [um]

    Returns
    -------
    (C,) mV/nA; NaN where the centre is outside of the grid, and for midpoints at NaN
    """
    # compartments of a cell follow one another: one interpolation for all of them
    first = np.ones(len(centres), dtype=bool)
    first[1:] = (centres[1:] != centres[:-1]).any(axis=1)
    cells = np.cumsum(first) - 1
    at_centre = field.at(centres[first])[cells]
    away = midpoints - centres
    return -(at_centre[:, 0] * away[:, 0] + at_centre[:, 1] * away[:, 1] + at_centre[:, 2] * away[:, 2])
