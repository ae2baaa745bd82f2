"""One extraction by BluePyEfe; run by `efeatures.py` with the Python of an environment that has BluePyEfe.

    python peer_bluepyefe.py JOB OUTPUT_FOLDER PROCESSES

JOB is a JSON file: `legacy_config` (path of a BluePyEfe-1 configuration), or `files_metadata`, `targets` and
`protocols_rheobase`; and `efel_settings`.
"""

import json
import logging
import sys
from multiprocessing import Pool
from pathlib import Path

from bluepyefe.extract import extract_efeatures
from bluepyefe.translate_legacy_config import translate_legacy_config


def main() -> None:
    """Extract, and write the JSON files."""
    job_file, output, processes = sys.argv[1:]
    job = json.loads(Path(job_file).read_text())
    logging.disable()  # thousands of lines; not printing them is in BluePyEfe's favour
    settings = job.pop("efel_settings")
    job.pop("all_sweeps", None)  # always so
    if "legacy_config" in job:
        job = translate_legacy_config(json.loads(Path(job["legacy_config"]).read_text()))
    arguments = {**job, "efel_settings": settings, "write_files": True}
    if processes == "1":
        extract_efeatures(output, **arguments)
    else:
        with Pool(int(processes)) as pool:
            extract_efeatures(output, map_function=pool.map, **arguments)


if __name__ == "__main__":
    main()
