"""Probes of probeinterface, and how they are placed in a circuit.

A probe's own coordinates: x across the shaft, y along it from the tip to the base, z the direction that the contacts
look in (out of the page when probeinterface draws the probe). They are right-handed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ephysflow.errors import ConfigurationError

if TYPE_CHECKING:
    import probeinterface

MICROMETRES = {"um": 1.0, "mm": 1e3, "m": 1e6}
"""Units of probeinterface -> um."""

MAX_BYTES = 100_000_000
"""Of a probe's file; a Neuropixels probe with 5120 contacts has 3 MB."""

LARGEST = 1e9
"""A coordinate that is no probe's [um]."""

SAME_HEIGHT = 1.0
"""Lowest points of a probe's outline that are at one height: the tips of its shanks [um]."""

PARALLEL = 1e-6
"""A sine below which two directions count as the same."""

UNIQUE_AXIS = 1e-6
"""Part by which the spread along the main axis must be larger than along any other."""

RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")


@dataclass(frozen=True)
class Probe:
    """Contacts of a probe.

    Attributes
    ----------
    names : of the n contacts, unique
    positions : (n, 3) [um]
    normals : (n, 3) unit vectors, the directions that the contacts look in
    axes : (3, 3) rows x, y, z: the probe's own coordinates
    tip : (3,) of the shaft, in the middle of the tips where there are several shanks [um]
    in_space : whether the file gives positions in three dimensions
    """

    names: list[str]
    positions: np.ndarray
    normals: np.ndarray
    axes: np.ndarray
    tip: np.ndarray
    in_space: bool


def read_probe(source: str, contacts: str | None = None) -> Probe:
    """Read a probe.

    Parameters
    ----------
    source : a JSON file of probeinterface, or the part number of a Neuropixels probe, e.g. NP1000
    contacts : ``N`` for the first N contacts, ``START:STOP`` for a range, ``channels`` for those that are wired to a
        channel of the recording device, in the order of channels; None for all

    Raises
    ------
    ConfigurationError
        if there is no such probe, its file is damaged, or the choice of contacts gives none.
    """
    probe = _from_file(Path(source)) if source.endswith(".json") else _neuropixels(source)
    whole = _converted(probe, source)
    chosen = _chosen(contacts, len(whole.names), probe.device_channel_indices, source)
    return Probe(
        [whole.names[i] for i in chosen],
        whole.positions[chosen],
        whole.normals[chosen],
        whole.axes,
        whole.tip,
        whole.in_space,
    )


def placed_by_tip(
    probe: Probe, tip: Sequence[float], direction: Sequence[float], twist: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Place a probe by its tip.

    Parameters
    ----------
    probe : n contacts
    tip : where the tip is [um]
    direction : of the shaft from its tip to its base: against the direction of insertion
    twist : right-handed rotation about `direction` [degrees]; see `shaft_axes`

    Returns
    -------
    (n, 3) positions [um] and (n, 3) normals

    Raises
    ------
    ConfigurationError
        if the direction is zero, or a number is not finite.
    """
    if not (np.abs(tip) < LARGEST).all():
        raise ConfigurationError(f"tip {_text(tip)}: coordinates must be below {LARGEST:g} um")
    turn = shaft_axes(direction, twist).T @ probe.axes
    return np.asarray(tip, dtype=np.float64) + (probe.positions - probe.tip) @ turn.T, probe.normals @ turn.T


def placed_by_centre(
    probe: Probe, centre: np.ndarray, direction: np.ndarray, twist: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Place a probe so that the mean of its contacts is at `centre` (3,) [um]; else as `placed_by_tip`."""
    positions, normals = placed_by_tip(probe, (0, 0, 0), [*direction], twist)
    return positions - positions.mean(axis=0) + centre, normals


def shaft_axes(direction: Sequence[float], twist: float) -> np.ndarray:
    """Return where the probe's own axes point.

    Parameters
    ----------
    direction : of the shaft from its tip to its base
    twist : right-handed rotation about `direction` [degrees]. At 0 the contacts look as nearly along +z as the shaft
        allows; those of a shaft along z look along +x.

    Returns
    -------
    (3, 3) rows x, y, z: unit vectors at right angles

    Raises
    ------
    ConfigurationError
        if the direction is zero, or a number is not finite.
    """
    along = np.asarray(direction, dtype=np.float64)
    size = np.abs(along).max()
    if not 0 < size < np.inf or not np.isfinite(twist):
        raise ConfigurationError(
            f"direction {_text(direction)} with twist {twist}: needed are a direction that is not 0 0 0 and finite numbers"
        )
    along = along / size
    along /= np.linalg.norm(along)
    is_vertical = np.hypot(along[0], along[1]) < PARALLEL
    across = np.cross(along, [1.0, 0, 0] if is_vertical else [0, 0, 1.0])
    across /= np.linalg.norm(across)
    looks = np.cross(across, along)
    angle = np.deg2rad(twist)
    return np.stack(
        [
            np.cos(angle) * across - np.sin(angle) * looks,
            along,
            np.cos(angle) * looks + np.sin(angle) * across,
        ]
    )


def main_axis(somata: np.ndarray, hint: Sequence[float] | None = None) -> np.ndarray:
    """Return the direction along which somata are spread most: their first principal component.

    Parameters
    ----------
    somata : (n, 3) positions [um]
    hint : the axis points to the same side as this direction; None makes the largest of its coordinates positive. A
        principal component has no sign of its own: without this rule the probe might be upside down.

    Returns
    -------
    (3,) unit vector

    Raises
    ------
    ConfigurationError
        if the somata have no main axis, or the hint is at right angles to it.
    """
    away = somata - somata.mean(axis=0) if len(somata) else np.zeros((1, 3))
    spread, directions = np.linalg.eigh(away.T @ away)
    if spread[2] <= 0 or spread[1] > spread[2] * (1 - UNIQUE_AXIS):
        raise ConfigurationError(
            f"the {len(somata)} somata have no main axis: they are at one place, or spread equally in two directions; "
            "place the probe by its tip and direction"
        )
    axis = directions[:, 2]
    if hint is None:
        return axis * np.sign(axis[np.argmax(np.abs(axis))])
    side = float(axis @ shaft_axes(hint, 0)[1])
    if abs(side) < PARALLEL:
        raise ConfigurationError(
            f"direction {_text(hint)} is at right angles to the main axis {_text(axis)} and cannot fix its sign"
        )
    return axis * np.sign(side)


def _from_file(path: Path) -> "probeinterface.Probe":
    from probeinterface import read_probeinterface

    if not path.is_file():
        raise ConfigurationError(f"probe {path} is not there")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigurationError(f"{path}: has more than {MAX_BYTES} bytes; is it a probe?")
    try:
        probes = read_probeinterface(path).probes
    except Exception as error:  # probeinterface checks little: a wrong file fails anywhere
        raise ConfigurationError(
            f"{path}: is not a probe of probeinterface (JSON): {type(error).__name__}: {error}"
        ) from None
    if len(probes) != 1:
        raise ConfigurationError(f"{path}: has {len(probes)} probes; needed is a file with one")
    return probes[0]


def _neuropixels(part: str) -> "probeinterface.Probe":
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    try:
        return build_neuropixels_probe(part)
    except KeyError:
        raise ConfigurationError(
            f"probe {part!r} is neither a file (*.json) nor the part number of a Neuropixels probe "
            "(e.g. NP1000 for 1.0, NP2000 for 2.0, NP2010 for 2.0 with four shanks)"
        ) from None


def _converted(probe: "probeinterface.Probe", source: str) -> Probe:
    """Return all contacts in three dimensions and um."""
    if probe.si_units not in MICROMETRES:
        raise ConfigurationError(
            f"{source}: si_units {probe.si_units!r} is unknown; allowed are {', '.join(MICROMETRES)}"
        )
    scale = MICROMETRES[probe.si_units]
    try:
        n = probe.get_contact_count()
        positions = _in_space(probe.contact_positions, (n, 3)) * scale
        planes = _in_space(probe.contact_plane_axes, (n, 2, 3))
        outline = probe.probe_planar_contour
        outline = positions if outline is None else _in_space(outline, (len(outline), 3)) * scale
        sides = [""] * n if probe.contact_sides is None else [str(side) for side in probe.contact_sides]
        names = [str(name) for name in probe.contact_ids]
    except (TypeError, ValueError, IndexError) as error:
        raise ConfigurationError(f"{source}: contacts of the probe are damaged: {error}") from None
    if n == 0 or not all((np.abs(array) < LARGEST).all() for array in (positions, planes, outline)):
        raise ConfigurationError(f"{source}: needed are contacts at positions below {LARGEST:g} um")
    if len(set(names)) < n or len(sides) != n or len(names) != n:
        raise ConfigurationError(f"{source}: contact_ids must differ, one for each of the {n} contacts")
    normals = np.cross(planes[:, 0], planes[:, 1])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ConfigurationError(f"{source}: contact_plane_axes must be two axes that are not parallel")
    normals /= lengths
    # contacts of a 2-D probe may be turned in its plane; the probe itself is not
    axes = np.eye(3) if probe.ndim == 2 else _axes(planes, source)
    heights = outline @ axes[1]
    tip = outline[heights < heights.min() + SAME_HEIGHT].mean(axis=0)
    normals[[side == "back" for side in sides]] *= -1
    return Probe(names, positions, normals, axes, tip, probe.ndim == 3)


def _in_space(values: Sequence[Sequence[float]], shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers with a third coordinate, 0 where there is none, of the shape that is needed."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == len(shape) and array.shape[-1] == 2:
        array = np.concatenate([array, np.zeros((*array.shape[:-1], 1))], axis=-1)
    if array.shape != shape:
        raise ValueError(f"shape {array.shape} where {shape} is needed")
    return array


def _axes(planes: np.ndarray, source: str) -> np.ndarray:
    """Return (3, 3) rows x, y, z of a 3-D probe: the axes of its contacts' planes, which must agree."""
    first = planes[0] / np.linalg.norm(planes[0], axis=1, keepdims=True)
    others = planes / np.linalg.norm(planes, axis=2, keepdims=True)
    across, along = first
    if np.abs(others - first).max() > PARALLEL or abs(across @ along) > PARALLEL:
        raise ConfigurationError(
            f"{source}: contact_plane_axes of a 3-D probe must be the same for all contacts, at right angles, and the "
            "second one along the shaft; else the probe has no direction to be placed by"
        )
    return np.stack([across, along, np.cross(across, along)])


def _chosen(contacts: str | None, count: int, channels: np.ndarray | None, source: str) -> np.ndarray:
    """Return the indices of the contacts that are wanted."""
    if contacts is None:
        return np.arange(count)
    if contacts == "channels":
        wired = np.full(count, -1) if channels is None else np.asarray(channels)
        order = np.argsort(wired, kind="stable")
        chosen = order[wired[order] >= 0]
        if len(chosen) == 0:
            raise ConfigurationError(f"{source}: no contact is wired to a channel (device_channel_indices)")
        return chosen
    match = RANGE.fullmatch(contacts if ":" in contacts else f"0:{contacts}")
    if not match or not int(match[1]) < int(match[2]) <= count:
        raise ConfigurationError(
            f"contacts {contacts!r}: allowed are N, START:STOP and channels; {source} has {count} contacts"
        )
    return np.arange(int(match[1]), int(match[2]))


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
