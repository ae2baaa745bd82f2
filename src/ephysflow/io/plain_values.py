"""Which single values of a configuration every table and file can hold."""

import math
from typing import Any

INT64 = range(-(2**63), 2**63)


def value_problem(value: Any) -> str:
    """Return what is wrong with a text, number, truth value or None; '' if nothing is, or if it is something else."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, int) and value not in INT64:
        return "an integer outside -2**63 to 2**63 - 1 cannot be stored"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{value!r} is not text that UTF-8 can hold"
    return ""
