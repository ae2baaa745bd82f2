"""How far the feature tables of two folders are apart; exit status 1 beyond a part in 1e9. Run by `campaign.py`.

python compare_tables.py OURS THEIRS TABLE...
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEYS = ("simulation_id", "circuit_id", "neuron_class", "window", "trial", "gid", "bin")

TOLERANCE = 1e-9


def main() -> None:
    """Print one line a table."""
    ours, theirs, *names = sys.argv[1:]
    print("\n| table | rows | largest relative difference |")
    print("|---|---:|---:|")
    equal = True
    for name in names:
        a, b = (sorted_table(Path(folder) / f"{name}.parquet") for folder in (ours, theirs))
        largest = np.inf
        if a.num_rows == b.num_rows and set(a.column_names) == set(b.column_names):
            largest = max(difference(a[column], b[column]) for column in a.column_names)
        equal &= largest <= TOLERANCE
        rows = f"{a.num_rows}" if a.num_rows == b.num_rows else f"{a.num_rows} and {b.num_rows}"
        print(f"| {name} | {rows} | {largest:.1e} |")
    sys.exit(0 if equal else 1)


def sorted_table(path: Path) -> pa.Table:
    """Read a table, its index columns as columns, with plain texts and sorted by its keys."""
    table = pq.ParquetFile(path).read()
    columns = {
        name: table[name].cast(pa.string()) if pa.types.is_dictionary(table[name].type) else table[name]
        for name in table.column_names
    }
    keys = [(name, "ascending") for name in KEYS if name in columns]
    table = pa.table(columns)
    return table.take(pc.sort_indices(table, keys))


def difference(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> float:
    """Return the largest relative difference of numbers, also in lists of equal lengths; infinity for other texts."""
    if pa.types.is_list(ours.type):
        if not pc.list_value_length(ours).equals(pc.list_value_length(theirs)):
            return np.inf
        return difference(pc.list_flatten(ours), pc.list_flatten(theirs))
    if pa.types.is_string(ours.type):
        return 0.0 if ours.to_pylist() == theirs.cast(pa.string()).to_pylist() else np.inf
    a, b = (column.to_numpy().astype(np.float64) for column in (ours, theirs))
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    size = np.maximum(np.abs(a), np.abs(b))
    return float(np.nanmax(np.abs(a - b) / np.where(size > 0, size, 1.0), initial=0.0))


if __name__ == "__main__":
    main()
