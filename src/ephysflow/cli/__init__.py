"""The command line: each subcommand is a thin layer on the library and imports what it needs, when it runs."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from ephysflow.errors import EphysflowError

JOBS = {
    "example-recordings": (
        "ephysflow.example.step",
        "example_recordings",
        "make the embedded example's recordings",
    ),
    "ingest-recordings": ("ephysflow.recordings.ingestion", "ingest_recordings", "sweep table of one cell"),
    "find-rheobase": (
        "ephysflow.efeatures.rheobase_step",
        "find_rheobase",
        "rheobase of the cells of a bucket",
    ),
    "collect-rheobase": (
        "ephysflow.efeatures.rheobase_table",
        "collect_rheobase",
        "rheobase table of all cells",
    ),
    "extract-efeatures": (
        "ephysflow.efeatures.extraction_step",
        "extract_efeatures",
        "features of a protocol",
    ),
    "group-efeatures": (
        "ephysflow.efeatures.grouping_step",
        "group_efeatures",
        "targets and model-fitting files",
    ),
    "group-efeatures-of-cell": (
        "ephysflow.efeatures.grouping_step",
        "group_efeatures",
        "model-fitting files of one cell alone",
    ),
    "plot-recordings": ("ephysflow.plots.steps", "plot_recordings", "sweeps of one cell, drawn"),
    "plot-efeatures": ("ephysflow.plots.steps", "plot_efeatures", "features against amplitude, drawn"),
    "plot-overview": (
        "ephysflow.plots.steps",
        "plot_overview",
        "f-I curves, impedance and the summary figure",
    ),
    "example-campaign": (
        "ephysflow.example.campaign_step",
        "example_campaign",
        "make the embedded example's simulations",
    ),
    "select-neurons": ("ephysflow.campaign.neurons_step", "select_neurons", "neurons of each class"),
    "extract-report": (
        "ephysflow.campaign.extraction_step",
        "extract_report",
        "windows and report of the simulations of a bucket",
    ),
    "select-units": ("ephysflow.campaign.units_step", "select_units", "units of each class of a session"),
    "extract-recorded": (
        "ephysflow.campaign.recorded_extraction_step",
        "extract_recorded",
        "windows and spikes of the recorded sessions of a bucket",
    ),
    "publish-repo": ("ephysflow.campaign.repo_step", "publish_repo", "extraction tables, put together"),
    "compute-features": (
        "ephysflow.campaign.features_step",
        "compute_features",
        "one combination of parameters",
    ),
    "publish-features": (
        "ephysflow.campaign.publication_step",
        "publish_features",
        "feature tables under their names",
    ),
    "compare-analyses": (
        "ephysflow.campaign.comparison_step",
        "compare_analyses",
        "a model's features beside those of a recording",
    ),
    "plot-rasters": ("ephysflow.plots.campaign_steps", "plot_rasters", "rasters or traces, drawn"),
    "plot-firing-rates": (
        "ephysflow.plots.campaign_steps",
        "plot_firing_rates",
        "firing rates by class, drawn",
    ),
    "plot-parameter-sweep": (
        "ephysflow.plots.campaign_steps",
        "plot_parameter_sweep",
        "features against parameters, drawn",
    ),
    "example-ecephys": (
        "ephysflow.example.ecephys_step",
        "example_ecephys",
        "make the embedded example's session files",
    ),
    "fetch-file": ("ephysflow.ecephys.fetch_step", "fetch_file", "one table or file of a warehouse"),
    "index-session": (
        "ephysflow.ecephys.index_step",
        "index_session",
        "what a session file is, and its part of the project's tables",
    ),
    "extract-session": (
        "ephysflow.ecephys.products_step",
        "extract_session",
        "one product of a session",
    ),
    "make-project-tables": (
        "ephysflow.ecephys.tables_step",
        "make_project_tables",
        "sessions, probes, channels and units of a project",
    ),
    "collect-exclusions": (
        "ephysflow.ecephys.exclusions_step",
        "collect_exclusions",
        "what was left out of a project",
    ),
    "join-analysis-metrics": (
        "ephysflow.ecephys.tables_step",
        "join_analysis_metrics",
        "analysis metrics of the units of a session type",
    ),
    "plot-units": ("ephysflow.plots.ecephys_step", "plot_units", "units of a project, drawn"),
    "plot-session": (
        "ephysflow.plots.ecephys_step",
        "plot_session",
        "rasters and probes of a session, drawn",
    ),
    "example-extracellular": (
        "ephysflow.example.extracellular_step",
        "example_extracellular",
        "make the embedded example's column of cells",
    ),
    "segment-positions": (
        "ephysflow.extracellular.positions_step",
        "segment_positions",
        "where the compartments of a chunk of nodes are",
    ),
    "electrode-weights": (
        "ephysflow.extracellular.weights_step",
        "electrode_weights",
        "coefficients of all compartments and electrodes (MPI)",
    ),
    "plot-weights": (
        "ephysflow.plots.extracellular_step",
        "plot_weights",
        "probe, somata and coefficients, drawn",
    ),
    "summarise": ("ephysflow.summary", "summarise", "exclusions and tables for people"),
}
"""Subcommands that the rules call: module, function of one `ephysflow.job.Job`, help text."""

JOB_OPTIONS: dict[str, dict[str, str]] = {
    "electrode-weights": {
        "expected_ranks": "refuse another number of MPI processes",
        "buffer_mb": "memory of a rank for coefficients [MB]",
    },
}
"""Numbers that a job is given beside its item and that change no result: argument of the function, help text."""

NEED_PANDAS = "group-efeatures"
"""Jobs whose name begins so work with DataFrames; the others must not pay for importing pandas."""

HELPERS = {
    "inspect": ("ephysflow.cli.inspect", "what is in a recording file and what could be read"),
    "init": ("ephysflow.cli.init", "write a commented configuration and sample sheet for one's own data"),
    "validate": ("ephysflow.cli.validate", "check a configuration and say what would be done"),
    "show": ("ephysflow.cli.show", "what results hold, and where to look"),
    "verify": ("ephysflow.cli.verify", "check that results are whole and up to date"),
    "migrate-config": ("ephysflow.cli.migrate_config", "bring an older BlueETL configuration to version 4"),
    "convert-spikes": ("ephysflow.cli.convert_spikes", "make a campaign of a table of spikes"),
    "electrodes": (
        "ephysflow.cli.electrodes",
        "make a table of a probe's contacts; check a weights file",
    ),
    "example": ("ephysflow.cli.example", "write the embedded example's recordings into a folder"),
}
"""Subcommands for people: module with `add_arguments(parser)` and `run(arguments) -> exit status`, help text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 fine, 1 bad input, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser, subparsers = _parser()
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command in HELPERS:
        importlib.import_module(HELPERS[command][0]).add_arguments(subparsers[command])
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command in JOBS:
            _run_job(parsed)
            return 0
        return int(importlib.import_module(HELPERS[parsed.command][0]).run(parsed))
    except EphysflowError as error:
        print(f"ephysflow {parsed.command}: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="ephysflow", description="From raw electrophysiology to what circuit modelling needs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subparsers = {
        name: commands.add_parser(name, help=text, description=text) for name, (_, text) in HELPERS.items()
    }
    for name, (_, _, text) in JOBS.items():
        subparsers[name] = commands.add_parser(name, help=f"(rule) {text}", description=text)
        subparsers[name].add_argument(
            "--plan", required=True, help="plan file, written when the Snakefile is parsed"
        )
        subparsers[name].add_argument(
            "--item", nargs="*", default=[], help="the item, by the wildcards of its rule"
        )
        for option, text in JOB_OPTIONS.get(name, {}).items():
            subparsers[name].add_argument(f"--{option.replace('_', '-')}", type=int, help=text)
    return parser, subparsers


def _run_job(parsed: argparse.Namespace) -> None:
    from pathlib import Path

    from ephysflow.plan import read_job

    module, function, _ = JOBS[parsed.command]
    job = read_job(Path(parsed.plan), parsed.command.replace("-", "_"), parsed.item)
    # a user's own feature function may do what it likes
    own_function = job.settings.get("contract", "shipped") != "shipped"
    if not parsed.command.startswith(NEED_PANDAS) and not own_function:
        _spare_pandas()
    given = {option: getattr(parsed, option) for option in JOB_OPTIONS.get(parsed.command, ())}
    options = {option: value for option, value in given.items() if value is not None}
    getattr(importlib.import_module(module), function)(job, **options)


def _spare_pandas() -> None:
    """Keep pyarrow from importing pandas, which it tries at the first conversion of a list and which costs a second.

    pyarrow looks for pandas once; here it finds none. Only for the process of a job, which ends with it.
    """
    import pyarrow as pa

    class NoPandas:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "pandas":
                raise ModuleNotFoundError("not wanted in this job")

    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, NoPandas)
        pa.array([0])
        sys.meta_path.remove(NoPandas)
