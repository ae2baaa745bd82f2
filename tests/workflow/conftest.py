"""The finished example, run once for all tests that look at it."""

from pathlib import Path

import pytest

from .folders import Folder


@pytest.fixture(scope="session")
def finished_example(tmp_path_factory) -> Folder:
    """Run the embedded example as its first user does, ``snakemake -c2``, in a copy of the checkout; read only.

    The tests that use it bear ``xdist_group("example")``, so that one worker makes it once.
    """
    folder = Folder.checkout(tmp_path_factory.mktemp("example") / "run")
    run = folder.snakemake("-c2")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture
def example(finished_example, monkeypatch) -> Path:
    """Go to the folder of the finished example; nothing may be changed in it."""
    monkeypatch.chdir(finished_example.path)
    return finished_example.path


@pytest.fixture
def own_example(finished_example, tmp_path) -> Folder:
    """Give a copy of the finished example to change."""
    return finished_example.copy(tmp_path / "run")
