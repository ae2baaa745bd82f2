"""The workflow on a real one-node Slurm gives the bytes of a local run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.plan.conftest import CONFIG, Workflow, sheet, write_cell
from tests.small_circuit import configuration, write_small_circuit

from .folders import Folder
from .small_campaign import write_small_campaign


@pytest.fixture(scope="session")
def slurm(shared, tmp_path_factory):
    """Start Slurm for the session; its variables are in the environment afterwards."""
    if not (shutil.which("slurmctld", path="/usr/sbin:/usr/bin:/sbin:/bin") and shutil.which("sbatch")):
        pytest.skip("Slurm (slurmctld, sbatch) is not installed")
    home = Path("/tmp") / f"slurm-{os.getpid()}"  # socket names must be short
    environment = {**os.environ, "SLURM_HOME": str(home)}
    scripts = shared / "slurm"
    subprocess.run([scripts / "start-slurm.sh", "--no-install"], env=environment, check=True, timeout=120)
    exports = subprocess.run(
        [scripts / "start-slurm.sh", "--env"], env=environment, check=True, capture_output=True, text=True
    ).stdout
    shown = subprocess.run(
        ["bash", "-c", f"{exports}\nenv -0"], capture_output=True, text=True, check=True
    ).stdout
    yield dict(line.partition("=")[::2] for line in shown.split("\0") if "=" in line)
    subprocess.run([scripts / "stop-slurm.sh", "--purge"], env=environment, check=False, timeout=120)


def test_results_are_those_of_a_local_run(slurm, tmp_path, monkeypatch):
    Folder.checkout(tmp_path / "w")
    workflow = Workflow(tmp_path / "w")
    write_cell(workflow.folder / "data" / "a")
    (workflow.folder / "sheet.tsv").write_text(sheet("a"))
    write_small_campaign(workflow.folder)
    write_small_circuit(workflow.folder)
    campaign = {"c": {"analysis_config": "analysis.yaml", "buckets": 1}}
    circuit = configuration(chunks=1)["extracellular"]
    workflow.write_config({**CONFIG, "campaign": campaign, "extracellular": circuit})
    workflow.run()
    local = tmp_path / "local"
    (workflow.folder / "results").rename(local)
    shutil.rmtree(workflow.folder / ".snakemake")
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    done = workflow.snakemake(
        *("--profile", "slurm", "--retries", "0", "--latency-wait", "10"),
        *("--slurm-init-seconds-before-status-checks", "1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = workflow.folder / "results"
    for path in local.rglob("*"):
        if path.is_file() and "logs" not in path.parts:
            assert (results / path.relative_to(local)).read_bytes() == path.read_bytes(), path
