"""Morphologies made in tests."""

import numpy as np

from ephysflow.extracellular.morphologies import Morphology
from ephysflow.extracellular.report_sections import SectionRuns


def cell(*sections, soma_radius=5.0, name="made"):
    """Return a morphology; each section is (type, parent, points) or (type, parent, points, diameters)."""
    points = [np.array(section[2], dtype=np.float64).reshape(-1, 3) for section in sections]
    diameters = [
        np.broadcast_to(np.array(section[3] if len(section) > 3 else 1.0), len(p)).astype(np.float64)
        for section, p in zip(sections, points, strict=True)
    ]
    return Morphology(
        name=name,
        points=np.concatenate([np.empty((0, 3)), *points]),
        diameters=np.concatenate([np.empty(0), *diameters]),
        section_offsets=np.cumsum([0, *map(len, points)]),
        section_types=np.array([section[0] for section in sections], dtype=np.int64),
        parents=np.array([section[1] for section in sections], dtype=np.int64),
        soma_centre=np.zeros(3),
        soma_radius=soma_radius,
    )


def runs(sections):
    """Return the sections of a report from id -> number of compartments."""
    return SectionRuns(np.array([*sections], dtype=np.int64), np.array([*sections.values()], dtype=np.int64))


def place_along(points, distance):
    """Return the point of a polyline at a distance from its first one: walked step by step."""
    here = np.asarray(points[0], dtype=np.float64)
    for there in np.asarray(points[1:], dtype=np.float64):
        step = float(np.sqrt(((there - here) ** 2).sum()))
        if step >= distance and step > 0:
            return here + (there - here) * (distance / step)
        distance -= step
        here = there
    return here


def random_rotation(seed):
    """Return a (3, 3) rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))
