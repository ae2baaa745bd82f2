"""Running the jobs of the stage extracellular in this process, with one rank: as the workflow does, without its start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ephysflow.errors import EphysflowError
from ephysflow.extracellular.positions_step import segment_positions
from ephysflow.extracellular.weights_step import electrode_weights
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import plan_workflow

JOBS = {"segment_positions": segment_positions, "electrode_weights": electrode_weights}

Failures = dict[str, EphysflowError]
"""Job, e.g. ``segment_positions(c, 0)`` -> why it failed."""


def run_circuit(config: Mapping[str, Any], files: list[Path] | None = None) -> tuple[Plan, Failures]:
    """Plan a configuration in the working directory and run its jobs, plots aside, as `run_planned`."""
    plan, plan_file = plan_workflow(config, files or [])
    return plan, run_planned(plan, plan_file)


def run_planned(plan: Plan, plan_file: Path) -> Failures:
    """Run all jobs whose inputs are there, as ``snakemake --keep-going`` does, and return which failed, and why.

    Only what is the input's fault counts as a failure; every other error passes.
    """
    failures: Failures = {}
    for step, function in JOBS.items():
        for key in [key for of_step, key in plan.items if of_step == step]:
            circuit, name = key.split(SEPARATOR)
            inputs = plan.circuits[circuit].all_positions() if step == "electrode_weights" else []
            if all(file.is_file() for file in inputs):
                try:
                    function(read_job(plan_file, step, [circuit, name]))
                except EphysflowError as error:
                    failures[f"{step}({circuit}, {name})"] = error
    return failures
