"""Running the jobs of the stage ecephys in this process, in the order of the rules: as the workflow does, without its start."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ephysflow.cli import JOBS
from ephysflow.codehash import CodeHasher
from ephysflow.configuration import load
from ephysflow.errors import EphysflowError
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import make_plan

HASHER = CodeHasher()
"""One for all plans: it remembers sources by their content."""

STEPS = (
    "example_ecephys",
    "fetch_file",
    "index_session",
    "extract_session",
    "make_project_tables",
    "collect_exclusions",
    "join_analysis_metrics",
    "plot_units",
    "plot_session",
)
RECORDED_STEPS = ("select_units", "extract_recorded", "publish_repo", "compute_features", "publish_features")

Failures = dict[str, EphysflowError]
"""Job, e.g. ``fetch_file(p, units.parquet)`` -> why it failed."""


def plan_project(config: Mapping[str, Any], files: list[Path] | None = None) -> tuple[Plan, Path]:
    """Plan a configuration in the working directory, as `ephysflow.planning.plan_workflow` does, and write the plan."""
    plan = make_plan(load(config, files or []), HASHER)
    return plan, plan.write()


def run_project(
    config: Mapping[str, Any], files: list[Path] | None = None, *, recorded: bool = False
) -> Plan:
    """Plan a configuration in the working directory and run all jobs of its projects; a failure passes.

    Parameters
    ----------
    config, files : as of `ephysflow.planning.plan_workflow`
    recorded : run the campaigns of recorded sessions too
    """
    plan, plan_file = plan_project(config, files)
    failures = run_planned(plan, plan_file, STEPS + (RECORDED_STEPS if recorded else ()))
    for error in failures.values():
        raise error
    return plan


def run_planned(plan: Plan, plan_file: Path, steps: tuple[str, ...] = STEPS) -> Failures:
    """Run the jobs of some steps and return which failed, and why; every error that is not the input's fault passes."""
    failures: Failures = {}
    for step in steps:
        if step.startswith("plot_") and not plan.options["plots"]:
            continue
        module, name, _ = JOBS[step.replace("_", "-")]
        function = getattr(importlib.import_module(module), name)
        for key in [key for of_step, key in plan.items if of_step == step]:
            parts = key.split(SEPARATOR) if key else []
            try:
                function(read_job(plan_file, step, parts))
            except EphysflowError as error:
                failures[f"{step}({', '.join(parts)})"] = error
    return failures


def one_project(source: str, **settings: Any) -> dict[str, Any]:
    """Return the configuration of one project ``p``, without plots unless ``plots`` is given."""
    plots = settings.pop("plots", False)
    return {"results": "results", "plots": plots, "ecephys": {"p": {"source": source, **settings}}}
