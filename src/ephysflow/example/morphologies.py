"""Morphologies of stage extracellular's example: sections that fork as a plan says, along paths that wind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ephysflow.extracellular.section_types import APICAL, AXON, BASAL, SOMA

_STEP = {AXON: 30.0, BASAL: 15.0, APICAL: 15.0}
"""Distance of the points of a section [um]."""

_WINDING = 0.12
_VARIATION = 0.15
"""How much a path turns from step to step; by what part the lengths of sections vary."""

_TAPER, _DAUGHTER = 0.75, 0.85
"""Diameter at the end of a section, and at the start of its children, as a part of that before."""

_DECIMALS = 3
"""Of the coordinates in the files."""

_SEED = 1952


@dataclass(frozen=True)
class Section:
    """A section of a neurite.

    Attributes
    ----------
    kind : AXON, BASAL or APICAL
    parent : position of its parent in the file, -1 at the soma
    points : (n, 3), in local coordinates; the first one is the parent's last [um]
    diameters : (n,) um
    """

    kind: int
    parent: int
    points: np.ndarray
    diameters: np.ndarray

    @property
    def length(self) -> float:
        """Of its path [um]."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


@dataclass(frozen=True)
class Morphology:
    """A soma, which is a ball around the origin, and the sections in the order of the file."""

    soma_radius: float
    sections: Sequence[Section]


@dataclass(frozen=True)
class _Shape:
    """Plan of a section: length [um], angle to its parent [degrees], children."""

    length: float
    angle: float = 0.0
    children: "tuple[_Shape, ...]" = ()


@dataclass(frozen=True)
class _Neurite:
    """Plan of a neurite: type, direction in which it leaves the soma, diameter there [um], its sections."""

    kind: int
    direction: tuple[float, float, float]
    diameter: float
    shape: _Shape


def _fork(lengths: Sequence[float], angle: float, first: float = 0.0) -> _Shape:
    """Plan a tree whose sections all fork in two, up to the last of `lengths`."""
    children = (_fork(lengths[1:], angle, angle),) * 2 if len(lengths) > 1 else ()
    return _Shape(lengths[0], first, children)


def _around(kind: int, count: int, rise: float, diameter: float, shape: _Shape) -> tuple[_Neurite, ...]:
    """Plan neurites that leave the soma all around the y axis; `rise` is the y of their directions."""
    angles = 2 * np.pi * np.arange(count) / count
    return tuple(_Neurite(kind, (np.cos(a), rise, np.sin(a)), diameter, shape) for a in angles)


_TUFT = _fork((90, 110, 80), 35, first=25)
_APICAL = _Shape(
    110,
    0,
    (
        _fork((50, 90), 30, first=65),
        _Shape(150, 8, (_Shape(120, 60), _Shape(160, 8, (_TUFT, _TUFT)))),
    ),
)
# collaterals come first; the trunk, which a stub axon of 1060 um follows, is the last branch of the file
_COLLATERAL = _fork((80, 150, 120), 40, first=70)
_LONG_AXON = _Shape(
    50, 0, (_Shape(140, 60), _Shape(320, 5, (_COLLATERAL, _Shape(450, 5, (_Shape(200, 50), _Shape(500, 5))))))
)

_PLANS: dict[str, tuple[float, tuple[_Neurite, ...]]] = {
    "ball": (6.0, ()),
    "stick": (
        7.0,
        (
            _Neurite(AXON, (0, -1, 0), 0.8, _fork((30, 45), 30)),
            _Neurite(BASAL, (0, 1, 0), 2.0, _Shape(350)),
        ),
    ),
    "pyramid": (
        9.0,
        (
            _Neurite(AXON, (0, -1, 0), 1.0, _LONG_AXON),
            *_around(BASAL, 5, -0.4, 1.8, _fork((25, 60, 95), 30)),
            _Neurite(APICAL, (0, 1, 0), 3.2, _APICAL),
        ),
    ),
    # the axon comes after the dendrites, and is shorter than a stub axon
    "basket": (
        7.5,
        (
            *_around(BASAL, 4, 0.3, 1.4, _fork((35, 110), 35)),
            _Neurite(AXON, (0.3, 1, 0), 0.7, _fork((40, 90, 130, 110), 50)),
        ),
    ),
}
"""Name -> radius of the soma [um] and neurites in the order of the file."""


def example_morphologies() -> dict[str, Morphology]:
    """Return the morphologies of the example by their names.

    A soma alone; a dendrite with a short axon; a pyramidal cell whose axon is longer than the stub that neurodamus puts
    in its place (1060 um); a basket cell. All values are the same at every call.
    """
    return {
        name: Morphology(radius, _grown(neurites, radius, np.random.default_rng([_SEED, i])))
        for i, (name, (radius, neurites)) in enumerate(_PLANS.items())
    }


def swc(morphology: Morphology) -> str:
    """Return the text of a morphology in the format SWC (Cannon et al. 1998, J. Neurosci. Methods 84:49)."""
    lines = ["# id type x y z radius parent", f"1 {SOMA} 0 0 0 {morphology.soma_radius:g} -1"]
    last_of: list[int] = []  # sample in which each section ends
    sample = 1
    for section in morphology.sections:
        is_child = section.parent >= 0
        before = last_of[section.parent] if is_child else 1
        for (x, y, z), diameter in zip(section.points[is_child:], section.diameters[is_child:], strict=True):
            sample += 1
            place = " ".join(f"{value:.{_DECIMALS}f}" for value in (x, y, z))
            lines.append(f"{sample} {section.kind} {place} {diameter / 2:.{_DECIMALS}f} {before}")
            before = sample
        last_of.append(sample)
    return "\n".join(lines) + "\n"


def _grown(neurites: Sequence[_Neurite], soma_radius: float, random: np.random.Generator) -> list[Section]:
    sections: list[Section] = []
    for neurite in neurites:
        direction = _unit(np.array(neurite.direction, dtype=np.float64))
        start = direction * soma_radius
        _grow(sections, random, neurite.kind, neurite.shape, -1, start, direction, neurite.diameter)
    return sections


def _grow(
    sections: list[Section],
    random: np.random.Generator,
    kind: int,
    shape: _Shape,
    parent: int,
    start: np.ndarray,
    direction: np.ndarray,
    diameter: float,
) -> None:
    """Append a section and all that it carries, a child with its own children before the next one."""
    length = shape.length * random.uniform(1 - _VARIATION, 1 + _VARIATION)
    n = max(2, round(length / _STEP[kind]))
    steps = direction + _WINDING * random.normal(size=(n, 3)).cumsum(axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    points = np.concatenate([start[None], start + steps.cumsum(axis=0) * (length / n)])
    diameters = np.linspace(diameter, diameter * _TAPER, n + 1)
    # + 0.0: no negative zero
    points = points.round(_DECIMALS) + 0.0
    here = len(sections)
    sections.append(Section(kind, parent, points, diameters))
    azimuth = random.uniform(0, 2 * np.pi)
    for k, child in enumerate(shape.children):
        towards = _turned(steps[-1], child.angle, azimuth + 2 * np.pi * k / len(shape.children))
        _grow(sections, random, kind, child, here, points[-1], towards, diameters[-1] * _DAUGHTER)


def _turned(direction: np.ndarray, angle: float, azimuth: float) -> np.ndarray:
    """Return the unit vector at an angle [degrees] to another, on the side that the azimuth gives."""
    across = _unit(np.cross(direction, np.eye(3)[np.abs(direction).argmin()]))
    side = np.cos(azimuth) * across + np.sin(azimuth) * np.cross(direction, across)
    return np.cos(np.deg2rad(angle)) * direction + np.sin(np.deg2rad(angle)) * side


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
