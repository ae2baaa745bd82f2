"""What a configuration says of recorded sessions that take the place of simulations, and what it cannot say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALL_SESSIONS = "all"
OF_CIRCUITS = ("population", "node_set", "node_sets_file")
"""Keys of ``extraction`` and of its neuron classes that only a circuit has a meaning for."""


@dataclass(frozen=True)
class RecordedSessions:
    """Sessions of one project.

    Attributes
    ----------
    project : its name in the section ``ecephys``
    sessions : ids as texts, in order; None for all of the project
    """

    project: str
    sessions: tuple[str, ...] | None


def recorded_sessions(given: Mapping[str, Any] | None) -> tuple[RecordedSessions | None, list[str]]:
    """Return the sessions that a configuration names, if any, and what is wrong with them, one line each."""
    if given is None:
        return None, []
    if given["sessions"] == ALL_SESSIONS:
        return RecordedSessions(given["project"], None), []
    ids = [str(session) for session in given["sessions"]]
    twice = [session for session in dict.fromkeys(ids) if ids.count(session) > 1]
    found = [f"recorded_sessions.sessions: {', '.join(twice)}: given more than once"] if twice else []
    return RecordedSessions(given["project"], tuple(ids)), found


def recorded_problems(extraction: Mapping[str, Any]) -> list[str]:
    """Return what of an extraction recorded sessions cannot give, one line each."""
    found = []
    if extraction["report"]["type"] != "spikes":
        found.append(
            f"extraction.report.type: {extraction['report']['type']!r}: recorded sessions have spikes only"
        )
    reason = "is of a circuit, and recorded sessions have units; choose them by query or node_id (unit ids)"
    for key in OF_CIRCUITS:
        if extraction.get(key) is not None:
            found.append(f"extraction.{key}: {extraction[key]!r}: {reason}")
            continue
        for label, choice in extraction["neuron_classes"].items():
            if choice[key] is not None:
                found.append(f"extraction.neuron_classes.{label}.{key}: {choice[key]!r}: {reason}")
    if extraction["trial_steps"]:
        found.append(
            "extraction.trial_steps: they find the onset in the spikes of a simulation; recorded sessions know when a "
            "stimulus began: use the key trials of a window"
        )
    return found


def simulated_problems(extraction: Mapping[str, Any]) -> list[str]:
    """Return what of an extraction simulations cannot give, one line each."""
    return [
        f"extraction.windows.{label}.trials: are rows of a table of recorded sessions, and simulations have none; "
        "use n_trials with trial_steps_value, or trial_steps_list"
        for label, window in extraction["windows"].items()
        if not isinstance(window, str) and "trials" in window
    ]
