"""Running the jobs of a campaign in this process, in the order of the plan: as the workflow does, without its start."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ephysflow.cli import JOBS
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import plan_workflow


def run_campaign(config: Mapping[str, Any], files: list[Path] | None = None) -> Plan:
    """Plan a configuration in the working directory and run its campaign jobs, plots aside."""
    plan, plan_file = plan_workflow(config, files or [])
    for step, key in plan.items:
        if step in (
            "select_neurons",
            "extract_report",
            "publish_repo",
            "compute_features",
            "publish_features",
        ):
            module, function, _ = JOBS[step.replace("_", "-")]
            getattr(importlib.import_module(module), function)(
                read_job(plan_file, step, key.split(SEPARATOR))
            )
    return plan


def one_campaign(path: Path, **settings: Any) -> dict[str, Any]:
    """Return the configuration of one campaign ``c`` with a BlueETL analysis configuration."""
    return {
        "results": "results",
        "plots": False,
        "campaign": {"c": {"analysis_config": str(path), **settings}},
    }
