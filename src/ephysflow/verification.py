"""Telling a good tree of results from a bad one, without Snakemake's own records."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ephysflow import paths
from ephysflow.campaign import files as campaign_files
from ephysflow.campaign.feature_file import FeatureFile
from ephysflow.ecephys.array_file import read_array_provenance
from ephysflow.ecephys.download_record import check_against_record
from ephysflow.errors import ProjectError, ResultError
from ephysflow.extracellular.positions_file import read_positions_provenance
from ephysflow.extracellular.weights_file import check_complete, read_provenance_text
from ephysflow.io.canonical import file_digest
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import open_table, read_provenance
from ephysflow.plan import Plan, job_key

JSON_WITH_RECORD = ("features.json", "protocols.json", "currents.json")
DOWNLOADED = (".nwb", ".npy", ".tiff")
"""Endings of files that a warehouse sent; beside each is a record of its size and SHA-256."""
SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"
"""What Snakemake puts into a folder that is an output."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with one file.

    Attributes
    ----------
    path : the file
    status : missing, damaged, stale (something that it was made from has changed) or left over
    reason : what differs
    """

    path: Path
    status: str
    reason: str


def verify_results(plan: Plan) -> Iterator[Finding]:
    """Yield what is wrong with the outputs of a plan: missing, damaged and stale files."""
    digests: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    for path in expected_files(plan):
        if not path.is_file():
            yield Finding(path, "missing", "is not there")
            continue
        state = path.stat()
        if (state.st_dev, state.st_ino) in seen:  # a second name of a file that was read already
            continue
        seen.add((state.st_dev, state.st_ino))
        try:
            provenance = _checked_provenance(path)
        except ResultError as error:
            yield Finding(path, "damaged", str(error).removeprefix(f"{path}: "))
            continue
        if provenance is not None and (reason := _difference(provenance, plan, digests)):
            yield Finding(path, "stale", reason)


def expected_files(plan: Plan) -> list[Path]:
    """Return every file that the plan makes, intermediate ones included."""
    files = [*plan.recordings_outputs(), *plan.efeatures_outputs(), *plan.bucket_rheobase()]
    for name in plan.sets:
        files += plan.extractions(name)
    for analysis in plan.analyses.values():
        files += campaign_files.expected_files(analysis)
    files += plan.extracellular_outputs()
    files += [*plan.ecephys_outputs(), *plan.comparison_outputs(), *plan.downloaded_before()]
    return [*files, *plan.plot_outputs(), *(plan.summary_outputs() if plan.cells else [])]


def left_over(plan: Plan) -> list[Path]:
    """Return the files in the results folder that this plan does not make (any more), logs aside."""
    made = set(expected_files(plan))
    made |= {path.with_name(f"{path.name}.record.json") for path in made if path.suffix in DOWNLOADED}
    folders = {path.parent for path in made}
    aside = (plan.results / "logs", paths.plan_folder(plan.results), plan.results / "report.html")
    return sorted(
        path
        for path in plan.results.rglob("*")
        if path.is_file()
        and path not in made
        and not any(path.is_relative_to(other) for other in aside)
        and not (path.name == SNAKEMAKE_TIMESTAMP and path.parent in folders)
    )


def _checked_provenance(path: Path) -> Provenance | None:
    """Read all of a file and return its provenance; None for kinds that hold none (plots, CSV)."""
    if path.suffix == ".parquet":
        with open_table(path) as opened:
            for group in range(opened.num_row_groups):
                try:
                    opened.read_row_group(group)
                except Exception as error:  # pyarrow has many kinds
                    raise ResultError(f"{path}: damaged: {error}") from None
        return read_provenance(path)
    if path.suffix == ".zip":
        features = FeatureFile(path)
        features.check()
        return features.provenance
    if path.suffix == ".h5":
        if path.parent.name == paths.POSITIONS:
            return read_positions_provenance(path)
        if path.parent.parent.name == paths.SESSIONS:
            return read_array_provenance(path)
        check_complete(path)
        return Provenance.from_text(read_provenance_text(path))
    if path.suffix in DOWNLOADED:
        try:
            check_against_record(path)
        except ProjectError as error:
            raise ResultError(str(error)) from None
        return None
    if path.name == campaign_files.ENTRIES:
        campaign_files.named_tables(path.parent)
        return None
    if path.name in JSON_WITH_RECORD:
        record = _json(path.with_name("provenance.json"))
        if record.get("sha256", {}).get(path.name) != file_digest(path):
            raise ResultError(f"{path}: is not the file that provenance.json was written with")
        return None
    if path.name == "provenance.json":
        try:
            return Provenance.from_text(_json(path)["provenance"])
        except (KeyError, ValueError, TypeError) as error:
            raise ResultError(f"{path}: is not a record of provenance: {error}") from None
    if path.stat().st_size == 0:
        raise ResultError(f"{path}: is empty")
    return None


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None


def _difference(provenance: Provenance, plan: Plan, digests: dict[str, str]) -> str:
    """Return what has changed since the output was made; empty when nothing has."""
    item = plan.items.get((provenance.step, job_key([provenance.key])))
    if item is None:
        return f"was made by {provenance.step} for {provenance.key!r}, which the configuration does not have"
    if item != provenance.settings:
        return f"settings of {provenance.step} have changed"
    now = json.loads(plan.code[provenance.step])
    if now["code"] != provenance.code:
        return f"code of {provenance.step} has changed"
    for package, version in now["versions"].items():
        if provenance.versions.get(package) != version:
            return f"{package} was {provenance.versions.get(package)}, is {version}"
    for name, digest in provenance.inputs.items():
        if name not in digests:
            digests[name] = file_digest(name) if os.path.isfile(name) else "absent"
        if digests[name] != digest:
            return f"input {name} {'is gone' if digests[name] == 'absent' else 'has changed'}"
    return ""
