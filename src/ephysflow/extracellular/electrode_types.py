"""The types of electrodes, as BlueRecording writes them in its tables."""

from dataclasses import dataclass

from ephysflow.errors import ConfigurationError

ANALYTIC = ("PointSource", "LineSource")
FIELD_BASED = ("Reciprocity", "DipoleReciprocity")
OBJECTIVE_CSD = "ObjectiveCSD_"

DEFAULT_RADIUS = {"Sphere": 10.0, "Disk": 500.0, "Plane": None}
"""Of the regions of ObjectiveCSD [um]; a plane has none."""

ALLOWED = (
    "PointSource, LineSource, Reciprocity, DipoleReciprocity, ObjectiveCSD_Sphere[_radius], "
    "ObjectiveCSD_Disk[_radius[_thickness]] and ObjectiveCSD_Plane[_thickness], in um"
)


@dataclass(frozen=True)
class ElectrodeType:
    """What the text of a type says.

    Attributes
    ----------
    method : PointSource, LineSource, Reciprocity, DipoleReciprocity, Sphere, Disk or Plane
    radius, thickness : of an ObjectiveCSD region [um]; thickness None: the spacing of the array
    """

    method: str
    radius: float | None = None
    thickness: float | None = None


def parse_type(text: str, where: str) -> ElectrodeType:
    """Return what a type says.

    Parameters
    ----------
    text : e.g. ``LineSource`` or ``ObjectiveCSD_Disk_150_40``
    where : place of the text, for messages

    Raises
    ------
    ConfigurationError
        if there is no such type.
    """
    if text in ANALYTIC + FIELD_BASED:
        return ElectrodeType(text)
    shape, *numbers = text.removeprefix(OBJECTIVE_CSD).split("_")
    if not text.startswith(OBJECTIVE_CSD) or shape not in DEFAULT_RADIUS:
        raise ConfigurationError(f"{where}: type {text!r} is unknown; allowed are {ALLOWED}")
    values = [_positive(number, text, where) for number in numbers]
    if len(values) > (2 if shape == "Disk" else 1):
        raise ConfigurationError(f"{where}: type {text!r} has too many numbers; allowed are {ALLOWED}")
    if shape == "Plane":
        return ElectrodeType(shape, None, values[0] if values else None)
    return ElectrodeType(
        shape, values[0] if values else DEFAULT_RADIUS[shape], values[1] if len(values) > 1 else None
    )


def _positive(number: str, text: str, where: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ConfigurationError(
            f"{where}: type {text!r}: {number!r} is not a number above 0; allowed are {ALLOWED}"
        )
    return value
