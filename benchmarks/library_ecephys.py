"""Tables and a session by ephysflow's library; run by `ecephys.py` in a process of its own.

    python library_ecephys.py PROJECT_FOLDER SESSION_FILE HOST

PROJECT_FOLDER is a project in the results of the workflow. Prints one line of JSON for each operation, as
`peer_allensdk.py` does.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

NO_LIMITS = {"amplitude_cutoff_maximum": None, "presence_ratio_minimum": None, "isi_violations_maximum": None}


def measured(name: str, function: Callable[[], int]) -> None:
    """Run a function and print what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    size = function()
    report(name, time.process_time() - cpu, time.perf_counter() - wall, size)


def report(name: str, cpu: float, wall: float, size: int) -> None:
    """Print what an operation took."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"name": name, "cpu": cpu, "wall": wall, "size": size, "memory": memory}), flush=True)


def units_of_warehouse(host: str) -> int:
    """Ask a warehouse for its four tables, and make that of units."""
    from ephysflow.ecephys.manifest import TABLES
    from ephysflow.ecephys.project_tables import project_tables
    from ephysflow.ecephys.raw_tables import RawTables
    from ephysflow.ecephys.rma import fetch_table
    from ephysflow.ecephys.transport import Transport
    from ephysflow.ecephys.unit_filters import UnitFilters

    transport = Transport(scheme="http", host=host)
    raw = RawTables(**{name: fetch_table(transport, name) for name in TABLES})
    return project_tables(raw, UnitFilters()).units.num_rows


def main() -> None:
    """Run all operations."""
    folder, session_file, host = sys.argv[1:]
    cpu, wall = time.process_time(), time.perf_counter()
    from ephysflow.ecephys.project import open_project

    report("import", time.process_time() - cpu, time.perf_counter() - wall, 0)
    measured("units cold", lambda: units_of_warehouse(host))
    for _ in range(3):
        measured("units warm", lambda: len(open_project(folder).units()))
        measured("units without limits", lambda: len(open_project(folder).units(unit_filters=NO_LIMITS)))
        measured("sessions warm", lambda: len(open_project(folder).sessions()))
    cpu, wall = time.process_time(), time.perf_counter()
    from ephysflow.ecephys.session import open_session

    report("import of sessions", time.process_time() - cpu, time.perf_counter() - wall, 0)

    def n_spikes() -> int:
        with open_session(session_file) as session:
            return int(sum(len(times) for times in session.spike_times.values()))

    for _ in range(3):
        measured("session spikes", n_spikes)


if __name__ == "__main__":
    main()
