"""The step ``find_rheobase``: spikes and rheobase of the cells of one bucket."""

from ephysflow import paths
from ephysflow.efeatures.rheobase import cell_rheobase
from ephysflow.efeatures.rheobase_table import RHEOBASE_SCHEMA
from ephysflow.io.tables import write_table
from ephysflow.job import Job
from ephysflow.recordings.table import read_sweeps


def find_rheobase(job: Job) -> None:
    """Count the evoked spikes of each cell's sweeps and find its rheobase; one cell in memory at a time."""
    item = job.settings
    tables, found = [], []
    for cell in item["cells"]:
        table = paths.sweep_table(job.results, cell)
        tables.append(table)
        rows = read_sweeps(table, item["protocols"])
        result = cell_rheobase(
            cell,
            rows,
            item["strategy"],
            item["settings"],
            item["protocols"],
            item["efel_settings"],
            item["min_amplitude"],
        )
        print(f"{cell}: rheobase {result['rheobase']} nA ({result['strategy']}) {result['reason']}")
        found.append(result)
    write_table(paths.bucket_rheobase(job.results, job.key), found, RHEOBASE_SCHEMA, job.provenance(tables))
