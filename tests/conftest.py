"""Fixtures that every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real data and reference results, beside the checkout; absent in a lone clone."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(
            "needs ../shared (real recordings and reference results), which is not beside this checkout"
        )
    return SHARED
