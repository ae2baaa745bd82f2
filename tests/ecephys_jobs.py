"""Jobs of the stage ecephys as the workflow makes them, for tests that run steps on session files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ephysflow import paths
from ephysflow.ecephys.index_step import index_session
from ephysflow.ecephys.products import PRODUCTS, files_of
from ephysflow.ecephys.products_step import extract_session
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.io.canonical import canonical_json
from ephysflow.job import Job

PROJECT = "recorded"


def job(results: Path, step: str, key: str, settings: dict[str, Any]) -> Job:
    return Job(step, key, settings, canonical_json(settings), "code", {"numpy": "2"}, results)


def index(results: Path, session: int | str, file: Path, *, downloaded: bool = False) -> list[Path]:
    """Run ``index_session`` and return its files."""
    settings = {
        "project": PROJECT,
        "session": str(session),
        "file": str(file),
        "downloaded": downloaded,
    }
    index_session(job(results, "index_session", f"{PROJECT}\t{session}", settings))
    return paths.session_index(results, PROJECT, str(session))


def extract(
    results: Path,
    session: int | str,
    file: Path,
    product: str,
    *,
    filters: UnitFilters | None = None,
    probe: str | None = None,
    **more: Any,
) -> Path:
    """Run ``extract_session`` for one product of an indexed session and return its file."""
    arguments = PRODUCTS[product].arguments
    settings = {
        "project": PROJECT,
        "session": str(session),
        "file": str(file),
        "product": product,
        "probe": probe,
        "lfp_file": None,
        "filters": asdict(filters or UnitFilters()) if "filters" in arguments else None,
        "channels_table": None,
        "metrics_table": None,
        "options": {},
        **{key: str(value) if isinstance(value, Path) else value for key, value in more.items()},
    }
    (name,) = files_of(product, [probe] if probe else [])
    extract_session(job(results, "extract_session", f"{PROJECT}\t{session}\t{name}", settings))
    return paths.session_product(results, PROJECT, str(session), name)
