"""Morphologies of the embedded example, made by the project: a ball, a stick, and two branched cells, as SWC files.

Coordinates in um, the soma at the origin, the apical dendrite upwards along y.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AXON, BASAL, APICAL = 2, 3, 4
"""Types of sections in SWC."""

STEP = 15.0
"""Between points [um]."""

_SEED = 1873


@dataclass(frozen=True)
class Section:
    """An unbranched piece of a neurite.

    Attributes
    ----------
    kind : AXON, BASAL or APICAL
    parent : position in the list of sections; -1 for the soma
    points : (n, 3) um, without the last point of the parent
    diameter : um
    """

    kind: int
    parent: int
    points: np.ndarray
    diameter: float


@dataclass(frozen=True)
class Cell:
    """One morphology: its soma [um] and its sections, parents first."""

    soma_diameter: float
    sections: Sequence[Section]


def example_morphologies() -> dict[str, Cell]:
    """Return the morphologies by name; the same at every call."""
    return {"ball": Cell(16.0, ()), "stick": _stick(), "pyramidal": _pyramidal(), "basket": _basket()}


def swc_text(cell: Cell) -> str:
    """Return a morphology as SWC: number, type, x, y, z, radius, parent."""
    lines = ["# made by ephysflow for its example", f"1 1 0 0 0 {cell.soma_diameter / 2:g} -1"]
    last: list[int] = []
    number = 1
    for section in cell.sections:
        before = 1 if section.parent < 0 else last[section.parent]
        for x, y, z in section.points.tolist():
            number += 1
            lines.append(f"{number} {section.kind} {x:.3f} {y:.3f} {z:.3f} {section.diameter / 2:g} {before}")
            before = number
        last.append(number)
    return "\n".join(lines) + "\n"


def report_sections(cell: Cell, stub: Sequence[float] = (30.0, 30.0, 1000.0)) -> Mapping[int, int]:
    """Return section id -> compartments as neurodamus reports them where it replaces axons.

    Ids: 0 the soma; 1, 2 the pieces of the stub; basal and apical sections after all sections of the axon that was
    there; the myelin last. Compartments: 1 + 2 int(L / 40 um), the rule of Blue Brain's templates.
    """
    kinds = np.array([section.kind for section in cell.sections])
    found = {0: 1, **{i + 1: _compartments(length) for i, length in enumerate(stub[:-1])}}
    ordered = [k for kind in (AXON, BASAL, APICAL) for k in np.flatnonzero(kinds == kind)]
    for i, k in enumerate(ordered):
        if kinds[k] != AXON:
            found[i + 1] = _compartments(_length(cell.sections, int(k)))
    return {**found, max(len(ordered), len(stub) - 1) + 1: _compartments(stub[-1])}


def _compartments(length: float) -> int:
    return 1 + 2 * int(length / 40)


def _length(sections: Sequence[Section], k: int) -> float:
    section = sections[k]
    points = section.points
    if section.parent >= 0:
        points = np.concatenate([sections[section.parent].points[-1:], points])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _stick() -> Cell:
    """Return a soma with one dendrite, and an axon that soon ends in two twigs."""
    up, down = np.array([0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0])
    return Cell(
        14.0,
        [
            Section(AXON, -1, _straight(7 * down, down, 90), 1.0),
            Section(AXON, 0, _straight(97 * down, np.array([0.6, -0.8, 0.0]), 60)[1:], 0.6),
            Section(AXON, 0, _straight(97 * down, np.array([-0.8, -0.6, 0.0]), 45)[1:], 0.6),
            Section(BASAL, -1, _straight(7 * up, up, 400), 2.0),
        ],
    )


def _pyramidal() -> Cell:
    """Return a pyramidal cell: an axon that is long enough for a stub, basal dendrites, an apical one with a tuft."""
    random = np.random.default_rng(_SEED)
    sections: list[Section] = []
    axon = _grow(sections, random, AXON, -1, (0, -10, 0), (0, -1, 0), 350, 1.2)
    _grow(sections, random, AXON, axon, None, (0.2, -1, 0.1), 900, 0.8)
    _grow(sections, random, AXON, axon, None, (-1, -0.3, 0.4), 300, 0.6)
    for angle in np.arange(5) * 2 * np.pi / 5:
        out = (np.cos(angle), -0.5, np.sin(angle))
        trunk = _grow(sections, random, BASAL, -1, np.array(out) * 8, out, 60, 1.8)
        for turn in (-0.6, 0.6):
            _grow(
                sections,
                random,
                BASAL,
                trunk,
                None,
                (np.cos(angle + turn), -0.4, np.sin(angle + turn)),
                130,
                1.0,
            )
    trunk = _grow(sections, random, APICAL, -1, (0, 10, 0), (0, 1, 0), 320, 3.0)
    for out in ((1, 0.6, 0.2), (-1, 0.6, -0.3), (0.1, 0.7, 1)):
        branch = _grow(sections, random, APICAL, trunk, None, out, 90, 1.4)
        for turn in (-0.5, 0.5):
            _grow(sections, random, APICAL, branch, None, np.add(out, (turn, 0.5, -turn)), 110, 0.8)
    return Cell(18.0, sections)


def _basket() -> Cell:
    """Return an interneuron with dendrites all around and a short axon."""
    random = np.random.default_rng(_SEED + 1)
    sections: list[Section] = []
    axon = _grow(sections, random, AXON, -1, (0, 7, 0), (0.3, 1, 0), 60, 1.0)
    for out in ((1, 0.5, 0), (-1, 0.2, 0.5), (0, 0.2, -1)):
        _grow(sections, random, AXON, axon, None, out, 180, 0.6)
    for height in (-0.6, 0.6):
        for angle in np.arange(3) * 2 * np.pi / 3:
            out = (np.cos(angle), height, np.sin(angle))
            trunk = _grow(sections, random, BASAL, -1, np.array(out) * 6, out, 70, 1.4)
            for turn in (-0.5, 0.5):
                _grow(
                    sections,
                    random,
                    BASAL,
                    trunk,
                    None,
                    (np.cos(angle + turn), height, np.sin(angle + turn)),
                    90,
                    0.8,
                )
    return Cell(12.0, sections)


def _straight(start: np.ndarray, direction: np.ndarray, length: float) -> np.ndarray:
    return start + np.outer(np.arange(0, length + STEP / 2, STEP), direction)


def _grow(
    sections: list[Section],
    random: np.random.Generator,
    kind: int,
    parent: int,
    start: Sequence[float] | np.ndarray | None,
    direction: Sequence[float] | np.ndarray,
    length: float,
    diameter: float,
) -> int:
    """Add a section that wanders along a direction, and return its position; it begins where its parent ends."""
    way = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    steps = way + random.normal(0, 0.15, (round(length / STEP), 3))
    steps *= STEP / np.linalg.norm(steps, axis=1, keepdims=True)
    begin = sections[parent].points[-1] if start is None else np.asarray(start, dtype=np.float64)
    points = begin + np.cumsum(steps, axis=0)
    sections.append(Section(kind, parent, points if start is None else np.vstack([begin, points]), diameter))
    return len(sections) - 1
