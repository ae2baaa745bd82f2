"""The step ``extract_efeatures``: feature values of one protocol in the cells of one bucket."""

from math import inf

from ephysflow import paths
from ephysflow.efeatures.extraction import extract_features
from ephysflow.efeatures.feature_table import FEATURE_SCHEMA
from ephysflow.efeatures.rheobase_table import read_rheobase
from ephysflow.efeatures.targets import Target
from ephysflow.io.tables import write_table
from ephysflow.job import Job
from ephysflow.recordings.table import read_sweeps


def extract_efeatures(job: Job) -> None:
    """Extract what the targets of one protocol want; one cell in memory at a time."""
    item = job.settings
    protocol, bucket = item["protocol"], job.key.rpartition("\t")[2]
    target_set = job.key.partition("\t")[0]
    targets = [Target(**target) for target in item["targets"]]
    # which sweeps automatic targets will want is known only when all cells are: all are computed
    targets += [Target(name, protocol, 0, inf) for name in item["candidates"]]
    inputs = [paths.sweep_table(job.results, cell) for cell in item["cells"]]
    rheobase: dict[str, float | None] = {}
    if not item["absolute_amplitude"]:
        inputs.append(paths.bucket_rheobase(job.results, bucket))
        rheobase = read_rheobase(inputs[-1])
    features = []
    for cell, table in zip(item["cells"], inputs, strict=False):
        rows = read_sweeps(table, [protocol])
        values = extract_features(
            rows,
            rheobase.get(cell),
            targets,
            item["efel_settings"],
            absolute_amplitude=item["absolute_amplitude"],
            all_sweeps=item["all_sweeps"] or bool(item["candidates"]),
        )
        print(f"{cell}: {protocol}: {len(rows)} sweeps, {len(values)} values")
        features += values
    path = paths.extraction(job.results, target_set, protocol, bucket)
    write_table(path, features, FEATURE_SCHEMA, job.provenance(inputs))
