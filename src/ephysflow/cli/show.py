"""``ephysflow show``: what results hold, and where to look."""

import argparse
from collections.abc import Sequence
from pathlib import Path

FIRST = 5
"""Reasons that are shown; the others are in a table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="folder of results")


def run(arguments: argparse.Namespace) -> int:
    """Print the main figures of a finished run and the files that hold them."""
    from ephysflow import paths
    from ephysflow.configuration import load
    from ephysflow.io.tables import read_rows
    from ephysflow.plan import read_origin

    results = arguments.results
    config, files = read_origin(results)
    configuration = load({**config, "results": str(results)}, files)
    if "recordings" in configuration.content:
        _show_recordings(results, sorted({entry["cell"] for entry in configuration.entries}))
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
    for campaign in configuration.campaigns:
        for analysis in campaign.analyses.analyses.values():
            _show_analysis(results, campaign.name, analysis.name, analysis.extraction["report"]["type"])
    for circuit in configuration.circuits:
        _show_circuit(results, circuit.name, [weights.name for weights in circuit.weights], circuit.chunks)
    for project in configuration.projects:
        _show_project(results, project.name, project.sessions)
    for name in configuration.content.get("comparison", {}):
        table = paths.comparison(results, name)
        shown = f"{_row_count(table)} rows" if table.is_file() else "not there yet"
        print(f"\nComparison {name}: {shown}      {table}")
    return 0


def _show_project(results: Path, project: str, sessions: Sequence[str]) -> None:
    """Print what there is of one project of the stage ecephys."""
    from ephysflow import paths
    from ephysflow.io.tables import read_rows

    print(f"\nProject {project}: {paths.project_folder(results, project)}/")
    tables = {name: paths.project_table(results, project, name) for name in paths.PROJECT_TABLES}
    if not tables["units"].is_file():
        print("    tables:      not there yet")
        return
    counts = [f"{_row_count(tables[name])} {name}" for name in ("sessions", "probes", "channels", "units")]
    print(f"    tables:      {', '.join(counts)}")
    for row in read_rows(tables["unit_filters"]):
        missing = f" ({row['removed_missing']} for want of a value)" if row["removed_missing"] else ""
        note = f"; {row['note']}" if row["note"] else ""
        name = f"{row['filter']} {row['limit']}".strip()
        print(f"        {name:46} removed {row['removed']} of {row['units_before']}{missing}{note}")
    exclusions = paths.project_table(results, project, "exclusions")
    rows = read_rows(exclusions) if exclusions.is_file() else []
    for found, what in (
        ([r for r in rows if not r["kept"]], "LEFT OUT"),
        ([r for r in rows if r["kept"]], "warnings"),
    ):
        if found:
            print(f"    {what + ':':12} {len(found)} (all: {exclusions})")
            _print_first([f"{row['session'] or row['subject']}: {row['reason']}" for row in found], 8)
    indices = [paths.session_index(results, project, session)[0] for session in sessions]
    there = [
        path for path in indices if path.is_file() and read_rows(path, ["status"])[0]["status"] == "used"
    ]
    print(
        f"    sessions:    {len(there)} of {len(sessions)} can be used      {paths.project_folder(results, project) / paths.SESSIONS}/"
    )
    plots = paths.project_plot(results, project, "units").parent
    if plots.is_dir():
        print(f"    plots:       {plots}/")
    print(f"    in Python:   ephysflow.open_project({str(paths.project_folder(results, project))!r})")


def _show_circuit(results: Path, circuit: str, names: Sequence[str], chunks: int) -> None:
    """Print what there is of one circuit of the stage extracellular."""
    from ephysflow import paths
    from ephysflow.extracellular.positions_file import PositionsFiles
    from ephysflow.extracellular.weights_file import read_shapes
    from ephysflow.io.tables import read_rows

    print(f"\nCircuit {circuit}")
    files = [paths.positions(results, circuit, str(i)) for i in range(chunks)]
    if not all(file.is_file() for file in files):
        print("    positions:   not there yet")
        return
    positions = PositionsFiles(files)
    for name in positions.names:
        rows = int(positions.offsets(name)[-1])
        cells = len(positions.node_ids(name))
        print(f"    positions:   {name}: {cells} cells, {rows} compartments      {files[0].parent}/")
    exclusions = [paths.position_exclusions(results, circuit, str(i)) for i in range(chunks)]
    left_out = [row for table in exclusions if table.is_file() for row in read_rows(table)]
    if left_out:
        print(f"    LEFT OUT:    {len(left_out)} cells (why: {exclusions[0].parent}/*.exclusions.parquet)")
        _print_first([f"{row['population']} {row['node_id']}: {row['reason']}" for row in left_out], 8)
    for name in names:
        path = paths.weights(results, circuit, name)
        shapes = read_shapes(path) if path.is_file() else {}
        shown = ", ".join(f"{n} compartments x {columns} columns" for n, columns in shapes.values())
        print(f"    weights:     {shown or 'not there yet'}      {path}")
    plots = [paths.circuit_plot(results, circuit, name) for name in names]
    if any(path.is_file() for path in plots):
        print(f"    plots:       {plots[0].parent}/")


def _show_recordings(results: Path, cells: Sequence[str]) -> None:
    from ephysflow import paths
    from ephysflow.io.tables import read_rows

    there = [cell for cell in cells if paths.sweep_table(results, cell).is_file()]
    sweeps = sum(_row_count(paths.sweep_table(results, cell)) for cell in there)
    print(f"\nRecordings: {sweeps} sweeps of {len(there)} cells      {results / 'recordings'}/<cell>.parquet")
    if paths.exclusions(results).is_file():
        left_out = read_rows(paths.exclusions(results))
        print(f"Left out:   {len(left_out)} (why: {results / 'summary' / 'exclusions.csv'})")
        _print_first([f"{row['cell']} {row['protocol']} {row['sweep']}: {row['reason']}" for row in left_out])
    if paths.rheobase(results).is_file():
        print(f"Rheobase:   {paths.rheobase(results)}")
        for row in read_rows(paths.rheobase(results), ["cell", "rheobase", "strategy", "reason"])[:20]:
            value = "none" if row["rheobase"] is None else f"{1000 * row['rheobase']:.1f} pA"
            print(f"    {row['cell']:24} {value:>12}  ({row['strategy']}) {row['reason'] or ''}".rstrip())


def _show_analysis(results: Path, campaign: str, analysis: str, report: str) -> None:
    from ephysflow import paths
    from ephysflow.io.tables import read_rows

    where = (results, campaign, analysis)
    repo = paths.repo_folder(*where)
    print(f"\nCampaign {campaign}, analysis {analysis}: {paths.campaign_folder(*where)}/")
    if not (repo / "simulations.parquet").is_file():
        print("    is not there yet")
        return
    exclusions = next(
        path for path in (paths.campaign_exclusions(*where), paths.repo_exclusions(*where)) if path.is_file()
    )
    rows = read_rows(exclusions)
    lost = [row for row in rows if not row["kept"] and row["stage"] in ("simulations", "report")]
    print(
        f"    simulations: {_row_count(repo / 'simulations.parquet')} used, {len(lost)} left out"
        + (f" (why: {exclusions})" if rows else "")
    )
    _print_first([f"{row['simulation_path'] or row['simulation_id']}: {row['reason']}" for row in lost], 8)
    counts: dict[str, list[str]] = {}
    for row in read_rows(repo / "neuron_classes.parquet", ["neuron_class", "count"]):
        counts.setdefault(row["neuron_class"], []).append(str(row["count"]))
    # a class has a count in each circuit
    print("    neurons:     " + ", ".join(f"{name} {'/'.join(n)}" for name, n in counts.items()))
    parts = list((repo / "report").glob("*/*/*.parquet"))
    print(f"    report:      {sum(map(_row_count, parts))} rows, {report}      {repo / 'report'}/")
    _show_features(paths.features_folder(*where))
    failed = [row for row in rows if not row["kept"] and row["stage"] == "features"]
    doubtful = [row for row in rows if row["kept"]]
    for found, what in ((failed, "FAILED"), (doubtful, "warnings")):
        if found:
            print(f"    {what + ':':12} {len(found)} (all: {exclusions})")
            _print_first([f"{row['subject']}: {row['reason']}" for row in found], 8)
    plots = paths.campaign_plot(*where, "rasters").parent
    if plots.is_dir():
        print(f"    plots:       {plots}/")
    print(
        f"    in Python:   ephysflow.open_results({str(results)!r})"
        f"{_attribute('campaign')}{_attribute(campaign)}{_attribute(analysis)}"
    )


def _show_features(folder: Path) -> None:
    """Print one line a table; the combinations of a product are one line."""
    from ephysflow.campaign.files import named_tables

    if not folder.is_dir():
        print("    features:    not there yet")
        return
    tables = named_tables(folder)
    parts = {part for stacked_from in tables.values() for part in stacked_from}
    stacked = sum(bool(stacked_from) for stacked_from in tables.values())
    print(f"    features:    {len(tables) - stacked} tables      {folder}/")
    for name, stacked_from in tables.items():
        if name not in parts:
            combinations = f", {len(stacked_from)} combinations" if stacked_from else ""
            print(f"        {name:32} {_row_count(folder / f'{name}.parquet'):>10} rows{combinations}")


def _attribute(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"


def _row_count(path: Path) -> int:
    """Return the number of rows of a table without reading it."""
    from ephysflow.io.tables import open_table

    with open_table(path) as opened:
        return opened.metadata.num_rows


def _print_first(lines: Sequence[str], indent: int = 4) -> None:
    for line in lines[:FIRST]:
        print(f"{' ' * indent}{line}")
    if len(lines) > FIRST:
        print(f"{' ' * indent}and {len(lines) - FIRST} more")
