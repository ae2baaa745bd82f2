"""Tables and a session by AllenSDK; run by `ecephys.py` with the Python of an environment that has AllenSDK.

    python peer_allensdk.py CACHE_FOLDER HOST SESSION_ID (units|session)

Prints one line of JSON for each operation: name, CPU seconds, wall seconds, number of rows (or spikes), largest memory.
"""

import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable()


def measured(name, function):
    """Run a function and print what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    size = function()
    report(name, time.process_time() - cpu, time.perf_counter() - wall, size)


def report(name, cpu, wall, size):
    """Print what an operation took."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"name": name, "cpu": cpu, "wall": wall, "size": size, "memory": memory}), flush=True)


def main():
    """Run all operations: tables from the server, tables from the cache (best of 3), and a session."""
    folder, host, session_id = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cpu, wall = time.process_time(), time.perf_counter()
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

    report("import", time.process_time() - cpu, time.perf_counter() - wall, 0)

    def cache():
        manifest = Path(folder) / "manifest.json"
        return EcephysProjectCache.from_warehouse(scheme="http", host=host, manifest=str(manifest))

    if sys.argv[4] == "session":
        measured("session download", lambda: cache().get_session_data(session_id).session_start_time.year)
        for _ in range(2):
            measured("session spikes", lambda: n_spikes(cache().get_session_data(session_id)))
        return
    measured("units cold", lambda: len(cache().get_units()))
    for _ in range(3):
        measured("units warm", lambda: len(cache().get_units()))
        measured("units without limits", lambda: len(no_limits(cache())))
        measured("sessions warm", lambda: len(cache().get_session_table()))


def no_limits(cache):
    """Return all units, whatever their quality."""
    infinity = float("inf")
    return cache.get_units(
        amplitude_cutoff_maximum=infinity, presence_ratio_minimum=-infinity, isi_violations_maximum=infinity
    )


def n_spikes(session):
    """Read all spikes of a session and count them."""
    return int(sum(len(times) for times in session.spike_times.values()))


if __name__ == "__main__":
    main()
