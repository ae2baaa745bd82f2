"""Whole runs that several tests look at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .folders import Folder


@pytest.fixture(scope="session")
def finished_example(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Folder:
    """Run the embedded example as its first user does, ``snakemake -c2``, in a copy of the checkout; read only."""

    def run(path: Path) -> None:
        done = Folder.checkout(path).snakemake("-c2")
        assert done.returncode == 0, done.stdout + done.stderr

    return Folder(made_once("finished_example", run))


@pytest.fixture
def example(finished_example, monkeypatch) -> Path:
    """Go to the folder of the finished example; nothing may be changed in it."""
    monkeypatch.chdir(finished_example.path)
    return finished_example.path


@pytest.fixture
def own_example(finished_example, tmp_path) -> Folder:
    """Give a copy of the finished example to change."""
    return finished_example.copy(tmp_path / "run")
