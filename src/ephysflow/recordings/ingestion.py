"""From the recording files of one cell to its sweep table: read, convert, find the stimulus, check the quality."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ephysflow import paths
from ephysflow.errors import RecordingError
from ephysflow.io.canonical import canonical_json
from ephysflow.io.tables import table_of, write_table
from ephysflow.job import Job
from ephysflow.recordings.entries import entry_files
from ephysflow.recordings.quality import quality_limits, sweep_quality
from ephysflow.recordings.readers import read_entry
from ephysflow.recordings.readers.common import refusing
from ephysflow.recordings.standardise import standardise
from ephysflow.recordings.stimuli import describe
from ephysflow.recordings.sweep import RawSweep, ReadResult, Sweep
from ephysflow.recordings.table import COLUMNS, EXCLUSION_SCHEMA, write_sweeps
from ephysflow.recordings.user_stimuli import resolve_stimulus
from ephysflow.user_modules import load_user_object

STAGE = "recordings"


def ingest_recordings(job: Job) -> None:
    """Run the step ``ingest_recordings`` for one cell: its sweep table, possibly without rows, and its exclusions."""
    item = job.settings
    folder = Path(item["user_folder"]) if item["user_folder"] else None
    rows, exclusions = ingest_cell(item["cell"], item["entries"], item["stimuli"], item["quality"], folder)
    files = sorted({file for entry in item["entries"] for file in entry_files(entry)})
    provenance = job.provenance(files)
    write_sweeps(paths.sweep_table(job.results, item["cell"]), rows, provenance)
    write_table(paths.cell_exclusions(job.results, item["cell"]), exclusions, EXCLUSION_SCHEMA, provenance)
    print(f"{item['cell']}: {len(rows)} sweeps, {len(exclusions)} excluded")
    for exclusion in exclusions:
        print(
            f"excluded: {exclusion['protocol']} {exclusion['file']} {exclusion['sweep']}: {exclusion['reason']}"
        )


def ingest_cell(
    cell: str,
    entries: Sequence[Mapping[str, Any]],
    stimuli: Mapping[str, str],
    quality: Mapping[str, Any],
    user_folder: Path | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read all recordings of a cell.

    Parameters
    ----------
    cell : its name
    entries : one mapping a recording file
    stimuli : protocol -> name of a stimulus class, or the dotted path of the user's own
    quality : ``preset``, ``limits`` and ``exclude``, as in the configuration
    user_folder : where the user's modules are

    Returns
    -------
    Sweep rows (see `ephysflow.recordings.table`), those of a protocol together, and exclusions.
    """
    limits = quality_limits(quality["preset"], quality["limits"])
    exclusions: list[dict[str, Any]] = []

    def exclude(protocol: str, entry: Mapping[str, Any], sweep: str, reason: str) -> None:
        names = " ".join(entry_files(entry))
        exclusions.append(
            {
                "cell": cell,
                "protocol": protocol,
                "file": names,
                "sweep": sweep,
                "stage": STAGE,
                "reason": reason,
            }
        )

    read: dict[str, list[tuple[Mapping[str, Any], RawSweep, Sweep]]] = {protocol: [] for protocol in stimuli}
    for entry, protocol, result in _read_all(entries, user_folder, exclude):
        for unreadable in result.unreadable:
            exclude(protocol, entry, unreadable.sweep_id, unreadable.reason)
        if not result.sweeps and not result.unreadable:
            exclude(protocol, entry, "", "the reader found no sweep")
        for raw in result.sweeps:
            try:
                read[protocol].append((entry, raw, standardise(raw, entry)))
            except RecordingError as error:
                exclude(protocol, entry, raw.sweep_id, str(error))
    rows = []
    for protocol, sweeps in read.items():
        described = described_sweeps(stimuli[protocol], user_folder, [sweep for _, _, sweep in sweeps])
        # a sweep keeps its number whatever is excluded around it
        for number, ((entry, raw, sweep), parameters) in enumerate(zip(sweeps, described, strict=True)):
            if isinstance(parameters, RecordingError):
                exclude(protocol, entry, raw.sweep_id, str(parameters))
                continue
            if reason := excluded_amplitude(parameters["amp"], entry):
                exclude(protocol, entry, raw.sweep_id, reason)
                continue
            checked = sweep_quality(sweep.voltage, sweep.current, sweep.dt, parameters, limits)
            row = {
                "cell": cell,
                "protocol": protocol,
                "ecode": stimuli[protocol],
                "sweep": number,
                "files": entry_files(entry),
                "sweep_id": raw.sweep_id,
                "repetition": raw.repetition,
                "reader": entry.get("reader") or raw.details.get("reader"),
                "dt": sweep.dt,
                "n_samples": len(sweep.voltage),
                "tend": sweep.duration,
                **parameters,
                **checked,
                **applied_corrections(raw, entry),
                "nan_count": raw.details.get("nan_cut", 0) + len(raw.voltage) - len(sweep.voltage),
                "note": raw.details.get("note"),
                "voltage": sweep.voltage,
                "current": sweep.current,
            }
            if quality["exclude"] and not checked["qc_passed"]:
                exclude(protocol, entry, raw.sweep_id, f"quality control: {checked['qc_reasons']}")
            else:
                rows.append(row)
    return rows, exclusions


def described_sweeps(
    name: str, user_folder: Path | None, sweeps: Sequence[Sweep]
) -> list[dict[str, Any] | RecordingError]:
    """Return what a stimulus class says of the sweeps of a protocol, for their rows.

    What a class of the user does wrong is a RecordingError of the sweeps that it concerns.
    """
    failure = f"stimulus class {name} failed"

    def completed(parameters: dict[str, Any]) -> dict[str, Any] | RecordingError:
        try:
            with refusing(failure):
                start, end = stimulus.response_window(parameters)
                window = {"response_start": start, "response_end": end}
                row = {**parameters, **window, "matched_by": stimulus.matched_by}
                table_of([row], pa.schema(COLUMNS))
                return row
        except RecordingError as error:
            return error

    try:
        with refusing(failure):
            stimulus = resolve_stimulus(name, user_folder)
            described = describe(stimulus, sweeps)
    except RecordingError as error:
        return [error] * len(sweeps)
    return [item if isinstance(item, RecordingError) else completed(item) for item in described]


def excluded_amplitude(amp: float | None, entry: Mapping[str, Any]) -> str:
    """Return why the user leaves out sweeps of this amplitude [nA]; empty when they are wanted.

    An amplitude is measured, the one to leave out is nominal: closer than 2 pA or 2 % is the same.
    """
    for nominal in entry.get("exclude_amplitudes") or ():
        if amp is not None and abs(amp - nominal) <= max(0.002, 0.02 * abs(nominal)):
            return f"its amplitude, {amp:.4g} nA, is among exclude_amplitudes ({nominal})"
    return ""


def applied_corrections(raw: RawSweep, entry: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the corrections that `standardise` applied: the user's value first, then the file's."""
    v_corr = entry.get("v_corr")
    return {
        "v_corr": None if v_corr is None or v_corr is False else float(v_corr),
        "ljp": entry.get("ljp", raw.ljp) or None,
        "lowpass": entry.get("lowpass") or None,
        "series_resistance": entry.get("series_resistance") or None,
    }


def _read_all(
    entries: Sequence[Mapping[str, Any]],
    user_folder: Path | None,
    exclude: Callable[[str, Mapping[str, Any], str, str], None],
) -> Any:
    """Yield (entry, protocol, result); a pair of files that two protocols share is read once."""
    known: dict[str, ReadResult] = {}
    for entry in entries:
        file_key = canonical_json(
            {k: v for k, v in entry.items() if k not in ("cell", "protocols", "ton", "toff")}
        )
        protocols = list(entry["protocols"])
        shared = len(protocols) == 1 and "i_file" in entry and "." not in (entry.get("reader") or "")
        if shared and file_key in known:
            yield entry, protocols[0], known[file_key]
            continue
        try:
            results = read_entry(entry, user_reader(entry, user_folder))
        except RecordingError as error:
            for protocol in protocols:
                exclude(protocol, entry, "", str(error))
            continue
        if shared:
            known[file_key] = results[protocols[0]]
        for protocol, result in results.items():
            yield entry, protocol, result


def user_reader(entry: Mapping[str, Any], folder: Path | None) -> Callable[..., Any] | None:
    """Return the user's own reader of an entry; None when a built-in one reads it."""
    reader = entry.get("reader") or ""
    if "." not in reader:
        return None
    with refusing(f"the reader {reader} cannot be imported"):
        return load_user_object(reader, folder)
