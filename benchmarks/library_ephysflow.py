"""One extraction by the library of ephysflow, without Snakemake; run by `efeatures.py`.

    python library_ephysflow.py JOB OUTPUT_FOLDER PROCESSES

JOB is as for `peer_bluepyefe.py`. BluePyEfe computes features on all sweeps of a protocol and then takes those that
belong to a target; ephysflow does so when JOB has `all_sweeps`. The files that come out are the same.
"""

import json
import sys
from collections.abc import Callable, Iterable
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import ephysflow


def extract(job: dict[str, Any], output: str, map_function: Callable[..., Iterable[Any]]) -> None:
    """Extract, and write the JSON files."""
    if "legacy_config" in job:
        legacy = ephysflow.convert_legacy(job["legacy_config"])
        recordings, targets, rheobase_options = (
            legacy.entries,
            legacy.efeatures["targets"],
            legacy.efeatures["rheobase"],
        )
    else:
        recordings, targets = job["files_metadata"], job["targets"]
        rheobase_options = {"protocols": job["protocols_rheobase"]}
    settings = job["efel_settings"]
    sweeps, _ = ephysflow.read_recordings(recordings, map_function=map_function)
    rheobase = ephysflow.compute_rheobase(sweeps, efel_settings=settings, **rheobase_options)
    features = ephysflow.extract_efeatures(
        sweeps,
        rheobase,
        targets,
        efel_settings=settings,
        all_sweeps=job.get("all_sweeps", False),
        map_function=map_function,
    )
    grouped = ephysflow.group_efeatures(sweeps, features, rheobase, targets, efel_settings=settings)
    ephysflow.write_efeatures(output, grouped, sweeps, rheobase)


def main() -> None:
    """Run the job that the command line names."""
    job_file, output, processes = sys.argv[1:]
    job = json.loads(Path(job_file).read_text())
    if processes == "1":
        extract(job, output, map)
    else:
        with Pool(int(processes)) as pool:
            extract(job, output, pool.map)


if __name__ == "__main__":
    main()
