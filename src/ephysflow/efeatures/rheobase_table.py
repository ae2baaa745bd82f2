"""The rheobase table: one row a cell, with the sweeps that its rheobase was found in."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ephysflow import paths
from ephysflow.io.tables import column, read_rows, read_table, write_table
from ephysflow.job import Job

RHEOBASE_SCHEMA = pa.schema(
    [
        column("cell", pa.string()),
        column("rheobase", pa.float64(), "nA", "null where none was found"),
        column("strategy", pa.string()),
        column("settings", pa.string(), text="settings of the strategy, JSON"),
        column("reason", pa.string(), text="why there is no rheobase, or what is doubtful"),
        column(
            "sweeps",
            pa.list_(
                pa.struct(
                    [
                        pa.field("protocol", pa.string()),
                        pa.field("sweep", pa.int64()),
                        pa.field("amp", pa.float64(), metadata={"unit": "nA"}),
                        pa.field("spikecount", pa.int64()),
                        pa.field("used", pa.bool_()),
                    ]
                )
            ),
            text="sweeps looked at, with their evoked spikes; used: those that the value rests on",
        ),
    ]
)


def read_rheobase(path: Path) -> dict[str, float | None]:
    """Return cell -> rheobase [nA], None where it has none."""
    return {row["cell"]: row["rheobase"] for row in read_rows(path, ["cell", "rheobase"])}


def collect_rheobase(job: Job) -> None:
    """Run the step ``collect_rheobase``: the rheobase of all cells in one table, in the order of the cells' names."""
    tables = [paths.bucket_rheobase(job.results, bucket) for bucket in job.settings["buckets"]]
    joined = pa.concat_tables([read_table(table) for table in tables]).sort_by("cell")
    write_table(paths.rheobase(job.results), joined, RHEOBASE_SCHEMA, job.provenance(tables))
    found: Mapping[str, float | None] = read_rheobase(paths.rheobase(job.results))
    print(f"{sum(value is not None for value in found.values())} of {len(found)} cells have a rheobase")
