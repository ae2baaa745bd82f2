"""Folders in which the workflow runs as a user runs it, in processes of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKOUT = ("Snakefile", "workflow", "config", "profiles", "slurm", "envs", "src")


class Folder:
    """A copy of what a checkout needs to run, so that nothing is written into the repository.

    ``snakemake --directory`` would not do for the example: its configuration and the profile are found relative to
    the folder in which snakemake starts. The library is copied too and comes first on PYTHONPATH: what a test
    compares with the finished results must not change under it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def checkout(cls, path: Path) -> "Folder":
        path.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in CHECKOUT:
            source = REPOSITORY / name
            if source.is_symlink() or source.is_file():
                shutil.copy2(source, path / name, follow_symlinks=False)
            else:
                shutil.copytree(source, path / name, symlinks=True, ignore=ignored)
        return cls(path)

    def copy(self, path: Path) -> "Folder":
        """Copy it with all times kept, but for what snakemake may be writing there meanwhile."""
        ignored = shutil.ignore_patterns(".snakemake", "report.html", "__pycache__")
        shutil.copytree(self.path, path, symlinks=True, ignore=ignored)
        return Folder(path)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.path / "src"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "COLUMNS": "200",
        }
        return subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=500, check=False
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "snakemake", *arguments)

    def ephysflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "ephysflow", *arguments)


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a sample sheet with the columns that the rows use; paths in it are relative to it."""
    columns = list(dict.fromkeys(("cell", "protocol", *(key for row in rows for key in row))))
    lines = ["\t".join(columns)]
    lines += ["\t".join(str(row.get(column, "")) for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_config(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
