"""Whole runs that several tests look at: each is made once, whichever worker of pytest-xdist comes first."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .folders import Folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Folder]:
    """Give ``made_once(name, make)``: the folder that ``make(path)`` filled, in this worker or in another one."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def folder(name: str, make: Callable[[Path], None]) -> Folder:
        done = base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                make(base / name)
                done.touch()
        return Folder(base / name)

    return folder


@pytest.fixture(scope="session")
def finished_example(made_once) -> Folder:
    """Run the embedded example as its first user does, ``snakemake -c2``, in a copy of the checkout; read only."""

    def run(path: Path) -> None:
        done = Folder.checkout(path).snakemake("-c2")
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once("finished_example", run)


@pytest.fixture
def example(finished_example, monkeypatch) -> Path:
    """Go to the folder of the finished example; nothing may be changed in it."""
    monkeypatch.chdir(finished_example.path)
    return finished_example.path


@pytest.fixture
def own_example(finished_example, tmp_path) -> Folder:
    """Give a copy of the finished example to change."""
    return finished_example.copy(tmp_path / "run")
