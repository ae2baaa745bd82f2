"""A small workflow that was run once; each test copies it, changes one thing and looks at the plan."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from ephysflow.example.igor import write_wave

REPOSITORY = Path(__file__).resolve().parents[2]
DT = 0.25  # ms

CONFIG = {
    "results": "results",
    "plots": False,
    "recordings": {"sheet": "sheet.tsv"},
    "efeatures": {
        "targets": [
            {"efeature": "Spikecount", "protocol": "IDrest", "amplitude": 150, "tolerance": 30},
            {"efeature": "voltage_base", "protocol": "IV", "amplitude": -50, "tolerance": 30},
        ],
        "rheobase": {"strategy": "absolute", "protocols": ["IDrest"]},
    },
}


class Workflow:
    """A folder with the workflow, its data and its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    def write_config(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._call("snakemake", "--configfile", "config.yaml", *arguments)

    def _call(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src"), "COLUMNS": "200"}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def ephysflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._call("ephysflow", *arguments)

    def run(self) -> None:
        done = self.snakemake("--cores", "2")
        assert done.returncode == 0, done.stdout + done.stderr

    def plan(self) -> set[str]:
        """Return the planned jobs, e.g. ``extract_efeatures(IDrest, a)``."""
        planned = self.snakemake("--dry-run", "--printshellcmds")
        assert planned.returncode == 0, planned.stdout + planned.stderr
        jobs = set()
        text = planned.stdout + planned.stderr
        for command, item in re.findall(
            r"^Shell command: (?:mpiexec .* -m )?ephysflow (\S+) --plan \S+(?: --item (.*?))?(?: --expected-ranks .*?)? > ",
            text,
            re.MULTILINE,
        ):
            names = ", ".join(part.strip("'") for part in item.split() if part.strip("'"))
            jobs.add(command.replace("-", "_") + (f"({names})" if names else ""))
        assert jobs or "Nothing to be done" in text, text
        return jobs


def write_cell(folder: Path, scale: float = 1.0) -> None:
    """Write an IDrest (0.05, 0.1, 0.15 nA) and an IV (-0.05, 0 nA) series; the cell fires from 0.1 nA on."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(0, 600, DT)
    on = (time >= 100) & (time < 500)
    for protocol, amplitudes in (("IDrest", (0.05, 0.1, 0.15)), ("IV", (-0.05, 0.0))):
        for k, amplitude in enumerate(amplitudes):
            voltage = -70 + 100 * amplitude * on * scale
            if amplitude >= 0.1:
                for spike in np.linspace(150, 450, round(amplitude * 40)):
                    voltage += 90 * np.exp(-(((time - spike) / 1.0) ** 2))
            write_wave(folder / f"{protocol}_v{k}.ibw", voltage * 1e-3, DT * 1e-3, "V")
            write_wave(folder / f"{protocol}_i{k}.ibw", amplitude * on * 1e-9, DT * 1e-3, "A")


def sheet(cells: str) -> str:
    rows = ["cell\tprotocol\ti_file\tv_file"]
    for cell in cells:
        for protocol, count in (("IDrest", 3), ("IV", 2)):
            rows += [
                f"{cell}\t{protocol}\tdata/{cell}/{protocol}_i{k}.ibw\tdata/{cell}/{protocol}_v{k}.ibw"
                for k in range(count)
            ]
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def finished(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """Run the small workflow, once for all workers; nothing may be changed in it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name in ("workflow", "src", "profiles", "envs"):
            shutil.copytree(
                REPOSITORY / name,
                folder / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
            )
        shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")
        for cell in "abc":
            write_cell(folder / "data" / cell)
        (folder / "sheet.tsv").write_text(sheet("ab"))
        workflow = Workflow(folder)
        workflow.write_config(CONFIG)
        workflow.run()

    return made_once("finished_plan", make)


@pytest.fixture
def workflow(finished, tmp_path) -> Workflow:
    """A finished workflow of its own for each test, with all times kept."""
    folder = tmp_path / "w"
    subprocess.run(["cp", "-a", str(finished), str(folder)], check=True)
    return Workflow(folder)


@pytest.fixture
def change_config(workflow) -> Callable[..., None]:
    """Set one key of the configuration: change_config(value, "efeatures", "pooling")."""

    def change(value: object, *keys: str) -> None:
        config = workflow.config
        holder = config
        for key in keys[:-1]:
            holder = holder.setdefault(key, {})
        holder[keys[-1]] = value
        workflow.write_config(config)

    return change
