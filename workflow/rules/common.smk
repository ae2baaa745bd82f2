# The configuration becomes a plan here: names of all jobs and files. No rules in this file.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from ephysflow import paths
from ephysflow.errors import EphysflowError
from ephysflow.planning import plan_workflow

# mpiexec, python and ephysflow are those of the running Python, activated or not.
os.environ.update(
    PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
)

try:
    plan, plan_file = plan_workflow(config, workflow.configfiles)
except EphysflowError as error:
    raise WorkflowError(str(error)) from None

RESULTS = str(plan.results)
LOGS = f"{RESULTS}/logs"
CAMPAIGN = f"{RESULTS}/campaign/{{campaign}}/{{analysis}}"
CAMPAIGN_PLOTS = f"{RESULTS}/plots/campaign/{{campaign}}/{{analysis}}"
# Patterns of names: recorded sessions and simulations make the same files by rules of their own, and files of a
# project are downloaded only if its source is a warehouse. (?!) fits nothing.
SIMULATED, RECORDED, FETCHING, FETCHED = (
    "|".join(map(re.escape, names)) or "(?!)"
    for names in (
        plan.campaigns(recorded=False),
        plan.campaigns(recorded=True),
        plan.downloading_projects(),
        plan.downloads(),
    )
)
# Rules name the plan file as a resource: like a parameter it may stand in `shell:`, and unlike one it triggers nothing.


wildcard_constraints:
    cell=r"(?!exclusions\.parquet)[^/]+",
    protocol=r"[^/]+",
    bucket=r"[^/]+",
    campaign=r"[^/]+",
    analysis=r"[^/]+",
    circuit=r"[^/]+",
    computation=r"[0-9a-f]+",
    chunk=r"[0-9]+",
    weights=r"[^/]+",
    project=r"[^/]+",
    session=r"[^/]+",
    session_type=r"[^/]+",
    product_file=r"(?!session\.parquet|index\.)[^/]+",
    # "" is the main set of targets; others have a folder of their own
    target_set=r"([^/]+/)?",
