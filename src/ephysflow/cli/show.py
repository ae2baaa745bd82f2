"""``ephysflow show``: what results hold, and where to look."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="folder of results")


def run(arguments: argparse.Namespace) -> int:
    """Print the main figures of a finished run and the files that hold them."""
    from ephysflow import paths
    from ephysflow.configuration import load
    from ephysflow.io.tables import read_rows, read_table
    from ephysflow.plan import read_origin

    results = arguments.results
    config, files = read_origin(results)
    configuration = load({**config, "results": str(results)}, files)
    cells = sorted({entry["cell"] for entry in configuration.entries})
    there = [cell for cell in cells if paths.sweep_table(results, cell).is_file()]
    sweeps = sum(read_table(paths.sweep_table(results, cell), ["sweep"]).num_rows for cell in there)
    print(f"\nRecordings: {sweeps} sweeps of {len(there)} cells      {results / 'recordings'}/<cell>.parquet")
    if paths.exclusions(results).is_file():
        left_out = read_rows(paths.exclusions(results))
        print(f"Left out:   {len(left_out)} (why: {results / 'summary' / 'exclusions.csv'})")
        for row in left_out[:5]:
            print(f"    {row['cell']} {row['protocol']} {row['sweep']}: {row['reason']}")
        if len(left_out) > 5:
            print(f"    and {len(left_out) - 5} more")
    if paths.rheobase(results).is_file():
        print(f"Rheobase:   {paths.rheobase(results)}")
        for row in read_rows(paths.rheobase(results), ["cell", "rheobase", "strategy", "reason"])[:20]:
            value = "none" if row["rheobase"] is None else f"{1000 * row['rheobase']:.1f} pA"
            print(f"    {row['cell']:24} {value:>12}  ({row['strategy']}) {row['reason'] or ''}".rstrip())
    for name in configuration.target_sets:
        if not paths.target_table(results, name).is_file():
            continue
        kept = [row for row in read_rows(paths.target_table(results, name)) if row["kept"]]
        stimuli = len({row["key"] for row in kept})
        of = f" of set {name}" if name else ""
        print(f"E-features{of}: {len(kept)} features at {stimuli} stimuli, for model fitting:")
        for path in paths.model_fitting(results, name)[:3]:
            print(f"    {path}")
        print(
            f"    every mean can be traced: {paths.target_table(results, name)}, {paths.feature_table(results, name)}"
        )
    if paths.summary_plot(results).is_file():
        print(f"Look at:    {paths.summary_plot(results)}, {results / 'plots'}/")
    return 0
