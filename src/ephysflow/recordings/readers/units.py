"""Units of recordings: what a spelling means, and the factor to mV, nA and ms."""

from ephysflow.errors import RecordingError

# Prefixes are told apart by case (mV, MV) and "NA" may mean "not available": such spellings are only taken as
# written here. Words and symbols without such a twin are taken in any case.
_EXACT = {
    "voltage": {"mV": 1.0, "mv": 1.0, "uV": 1e-3},
    "current": {"nA": 1.0, "pA": 1e-3, "uA": 1e3, "mA": 1e6, "ma": 1e6},
    "time": {"ms": 1.0, "10th_ms": 0.1},
}
_ANY_CASE = {
    "voltage": {
        **dict.fromkeys(("v", "volt", "volts"), 1e3),
        **dict.fromkeys(("millivolt", "millivolts"), 1.0),
        **dict.fromkeys(("uv", "microvolt", "microvolts"), 1e-3),
    },
    "current": {
        **dict.fromkeys(("a", "amp", "amps", "ampere", "amperes"), 1e9),
        **dict.fromkeys(("ua", "microampere", "microamperes", "microamps"), 1e3),
        **dict.fromkeys(("nanoampere", "nanoamperes", "nanoamps"), 1.0),
        **dict.fromkeys(("pa", "picoampere", "picoamperes", "picoamps"), 1e-3),
    },
    "time": {
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1e3),
        **dict.fromkeys(("msec", "millisecond", "milliseconds"), 1.0),
        **dict.fromkeys(("us", "usec", "microsecond", "microseconds"), 1e-3),
    },
}
_KEYS = {"voltage": "v_unit", "current": "i_unit", "time": "t_unit"}
_SHOWN = {"voltage": "V, mV, uV", "current": "A, mA, uA, nA, pA", "time": "s, ms, us, 10th_ms"}


def unit_factor(unit: str | None, quantity: str) -> float:
    """Return the number by which values in `unit` become mV, nA or ms.

    Parameters
    ----------
    unit : spelling of the unit; None or blank where nobody states one
    quantity : "voltage", "current" or "time"

    Raises
    ------
    RecordingError
        if the unit is missing, unknown or ambiguous (MV, NA).
    """
    if unit is None or not unit.strip():
        raise RecordingError(
            f"the file states no unit of {quantity}: give {_KEYS[quantity]} (one of {_SHOWN[quantity]})"
        )
    factor = _factor(unit, quantity)
    if factor is None:
        raise RecordingError(f"{unit!r} is not a unit of {quantity}: allowed are {_SHOWN[quantity]}")
    return factor


def quantity_of(unit: str | None) -> str | None:
    """Return "voltage", "current" or "time", or None where `unit` is missing or none of their units."""
    return next((q for q in _KEYS if unit and _factor(unit, q) is not None), None)


def _factor(unit: str, quantity: str) -> float | None:
    spelled = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u")  # the two characters for micro
    return _EXACT[quantity].get(spelled, _ANY_CASE[quantity].get(spelled.lower()))
