"""Every file of one analysis, intermediate ones included: what `ephysflow verify` looks for.

Which simulations could be extracted, and which tables a function returned, is known only when it has been done:
the files say so themselves. Where such a record is missing or damaged, what is there counts as expected.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ephysflow import paths
from ephysflow.campaign.analysis_plan import AnalysisPlan, PlannedSimulation
from ephysflow.errors import ResultError
from ephysflow.io.tables import read_table

ENTRIES = "entries.json"
"""Of the feature tables: the entry that each comes from."""
TABLE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of published tables, suffixes included."""


def expected_files(plan: AnalysisPlan) -> list[Path]:
    """Return the files that an analysis makes, plots aside."""
    where = (plan.results, plan.campaign, plan.analysis)
    repo = plan.repo_output()
    files = plan.all_circuits()
    links = []
    for bucket, simulations in plan.buckets.items():
        folder = plan.extraction_output(bucket)
        files.append(paths.extraction_findings(folder))
        extracted = _extracted(folder, simulations)
        for s in simulations:
            names = (paths.extracted_report, paths.extracted_counts, paths.extracted_windows)
            made = [name(folder, s.key) for name in names]
            ids = (f"circuit_id={s.circuit_id}", f"simulation_id={s.simulation_id}")
            link = repo.joinpath("report", *ids, f"{s.key}.parquet")
            if extracted is None:
                made, linked = [path for path in made if path.is_file()], link.is_file()
            else:
                made, linked = (made, True) if s.key in extracted else ([], False)
            files += made
            links += [link] if linked else []
    files += [repo / f"{name}.parquet" for name in paths.REPO_TABLES]
    files += [paths.repo_exclusions(*where), *links, *plan.all_computed()]
    return [*files, *_feature_files(paths.features_folder(*where)), paths.campaign_exclusions(*where)]


def _extracted(folder: Path, simulations: Sequence[PlannedSimulation]) -> set[str] | None:
    """Return the keys of the simulations that extraction did not leave out; None when nothing says so."""
    try:
        findings = read_table(paths.extraction_findings(folder), ["simulation", "kept"]).to_pylist()
    except ResultError:
        return None
    left_out = {row["simulation"] for row in findings if not row["kept"]}
    return {simulation.key for simulation in simulations} - left_out


def named_tables(folder: Path) -> dict[str, list[str]]:
    """Return the feature tables that ``entries.json`` names, each with the tables that it was stacked from, if any.

    Raises
    ------
    ResultError
        if the file is missing or damaged.
    """
    path = folder / ENTRIES
    try:
        entries = json.loads(path.read_bytes())
        named = {name: list(entry.get("concatenated_from", ())) for name, entry in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None
    if wrong := [name for name in named if not TABLE_FILE.fullmatch(name)]:
        raise ResultError(f"{path}: {wrong[0]!r} is not the name of a table")
    return named


def _feature_files(folder: Path) -> list[Path]:
    """Return the feature tables that ``entries.json`` names, and itself."""
    try:
        named = named_tables(folder)
    except ResultError:
        return [folder / ENTRIES, *sorted(folder.glob("*.parquet"))]
    files = [folder / ENTRIES]
    for name, stacked_from in named.items():
        endings = ("", ".params", ".aliases") if stacked_from else ("",)
        files += [folder / f"{name}{ending}.parquet" for ending in endings]
    return files
