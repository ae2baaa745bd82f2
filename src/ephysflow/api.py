"""The patch-clamp pipeline as functions on tables, for use without Snakemake.

What ``bluepyefe.extract`` offers has its counterpart here (docs/from_bluepyefe.md maps each call). Tables are pandas
DataFrames with the columns of the result files; rows are computed by the very functions that the workflow runs.

Examples
--------
>>> sweeps, excluded = read_recordings("recordings.tsv")              # doctest: +SKIP
>>> rheobase = compute_rheobase(sweeps, protocols=["IDrest"])         # doctest: +SKIP
>>> features = extract_efeatures(sweeps, rheobase, targets)           # doctest: +SKIP
>>> grouped = group_efeatures(sweeps, features, rheobase, targets)    # doctest: +SKIP
>>> write_efeatures("results", grouped, sweeps, rheobase)             # doctest: +SKIP
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ephysflow.efeatures.auto_targets import AutoTarget, choose
from ephysflow.efeatures.efel_engine import feature_names
from ephysflow.efeatures.export import currents_json, features_json, json_text, protocols_json
from ephysflow.efeatures.extraction import DEFAULT_EFEL_SETTINGS, extract_features
from ephysflow.efeatures.feature_table import FEATURE_SCHEMA
from ephysflow.efeatures.grouping import (
    GroupedFeatures,
    amplitudes_by_protocol,
    group_each_cell,
    group_features,
)
from ephysflow.efeatures.rheobase import cell_rheobase
from ephysflow.efeatures.targets import Target, parse_targets
from ephysflow.io.atomic import replacing, write_text
from ephysflow.recordings.ingestion import ingest_cell
from ephysflow.recordings.legacy import LegacyConfiguration, read_legacy
from ephysflow.recordings.sheet import read_files_metadata, read_sheet
from ephysflow.recordings.stimuli import STIMULI
from ephysflow.recordings.stimuli.names import stimulus_name
from ephysflow.recordings.table import EXCLUSION_SCHEMA, sweep_schema
from ephysflow.recordings.user_stimuli import resolve_stimulus

RHEOBASE_PROTOCOLS = (
    "IV",
    "Step",
    "FirePattern",
    "IDrest",
    "IDRest",
    "IDthresh",
    "IDThresh",
    "IDThres",
    "IDthres",
)
"""Protocols that the rheobase is looked for in by default."""

Entries = Sequence[Mapping[str, Any]]


def read_recordings(
    recordings: str | Path | Mapping[str, Any] | Entries,
    *,
    stimuli: Mapping[str, str] | None = None,
    quality: Mapping[str, Any] | None = None,
    user_folder: str | Path | None = None,
    map_function: Callable[..., Iterable[Any]] = map,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read recordings, convert them to mV, nA and ms, find the stimuli and check the quality.

    Parameters
    ----------
    recordings : a sample sheet (.tsv, .csv), a files_metadata JSON file or mapping, or entries as the sheet gives them
    stimuli : protocol -> stimulus class, on top of the built-in names
    quality : ``preset``, ``limits``, ``exclude``; by default nothing is excluded
    user_folder : where modules of one's own readers and stimulus classes are
    map_function : `map`, or that of a pool of processes; a cell is a unit of work

    Returns
    -------
    sweeps : one row a sweep, traces included (columns: docs/recordings.md)
    exclusions : cell, protocol, file, sweep, stage, reason of what could not be used

    Raises
    ------
    ConfigurationError
        if the sheet, a protocol or a reader is wrong.
    """
    checked = {"preset": "none", "limits": {}, "exclude": False, **(quality or {})}
    entries_of: dict[str, list[Mapping[str, Any]]] = {}
    for entry in _entries(recordings):
        entries_of.setdefault(entry["cell"], []).append(entry)
    work = []
    for cell, entries in entries_of.items():
        protocols = dict.fromkeys(protocol for entry in entries for protocol in entry["protocols"])
        classes = {protocol: stimulus_name(protocol, stimuli or {}) for protocol in protocols}
        work.append((cell, entries, classes, checked, Path(user_folder) if user_folder else None))
    rows: list[dict[str, Any]] = []
    exclusions: list[dict[str, Any]] = []
    for cell_rows, cell_exclusions in map_function(_ingest, work):
        rows += cell_rows
        exclusions += cell_exclusions
    return (
        pd.DataFrame(rows, columns=sweep_schema().names),
        pd.DataFrame(exclusions, columns=EXCLUSION_SCHEMA.names),
    )


def compute_rheobase(
    sweeps: pd.DataFrame,
    *,
    strategy: str = "absolute",
    settings: Mapping[str, Any] | None = None,
    protocols: Sequence[str] = RHEOBASE_PROTOCOLS,
    efel_settings: Mapping[str, Any] | None = None,
    min_amplitude: float = 0.0,
) -> pd.DataFrame:
    """Find the rheobase of each cell.

    Parameters
    ----------
    sweeps : from `read_recordings`
    strategy : absolute, flush, majority or interpolation
    settings : of the strategy
    protocols : exact names of the protocols that it is looked for in
    efel_settings : of the spike detection
    min_amplitude : sweeps of this amplitude or less are not looked at [nA]

    Returns
    -------
    One row a cell: cell, rheobase [nA] (None where there is none), strategy, settings, reason, sweeps.
    """
    efel_settings = DEFAULT_EFEL_SETTINGS if efel_settings is None else efel_settings
    return pd.DataFrame(
        [
            cell_rheobase(
                str(cell), _rows(group), strategy, settings or {}, protocols, efel_settings, min_amplitude
            )
            for cell, group in sweeps.groupby("cell", sort=False)
        ],
        columns=["cell", "rheobase", "strategy", "settings", "reason", "sweeps"],
    ).astype({"rheobase": float})


def extract_efeatures(
    sweeps: pd.DataFrame,
    rheobase: pd.DataFrame | None,
    targets: Any,
    *,
    efel_settings: Mapping[str, Any] | None = None,
    absolute_amplitude: bool = False,
    all_sweeps: bool = False,
    map_function: Callable[..., Iterable[Any]] = map,
) -> pd.DataFrame:
    """Compute the e-features that targets want.

    Parameters
    ----------
    sweeps : from `read_recordings`
    rheobase : from `compute_rheobase`; not needed with `absolute_amplitude`
    targets : list of dicts, legacy form, `Target` objects; or `AutoTarget` objects: their features are computed on
        all sweeps
    efel_settings : of all targets; a target's own come before them
    absolute_amplitude : amplitudes of targets are nA, not percent of the rheobase
    all_sweeps : compute features on sweeps that no target matches, too
    map_function : `map`, or that of a pool of processes; a cell and protocol is a unit of work

    Returns
    -------
    One row a sweep and feature (columns: docs/efeatures.md).
    """
    efel_settings = DEFAULT_EFEL_SETTINGS if efel_settings is None else efel_settings
    wanted, auto = _targets(targets)
    known = {} if rheobase is None else _by_cell(rheobase)
    work = []
    for (cell, protocol), group in sweeps.groupby(["cell", "protocol"], sort=False):
        own = [target for target in wanted if target.protocol == protocol]
        own += [
            Target(name, str(protocol), 0, float("inf"))
            for entry in auto
            if protocol in entry.protocols
            for name in entry.efeatures
        ]
        if own:
            everything = all_sweeps or bool(auto)
            work.append(
                (_rows(group), known.get(str(cell)), own, efel_settings, absolute_amplitude, everything)
            )
    rows = [row for values in map_function(_extract, work) for row in values]
    return pd.DataFrame(rows, columns=FEATURE_SCHEMA.names)


def group_efeatures(
    sweeps: pd.DataFrame,
    features: pd.DataFrame,
    rheobase: pd.DataFrame | None,
    targets: Any,
    *,
    efel_settings: Mapping[str, Any] | None = None,
    user_folder: str | Path | None = None,
    **options: Any,
) -> GroupedFeatures:
    """Pool the values of all sweeps, or cells, that belong to a target.

    Parameters
    ----------
    sweeps, features, rheobase, targets, efel_settings : as for `extract_efeatures`, and what it returned
    user_folder : where modules of one's own stimulus classes are
    options : absolute_amplitude, protocol_mode, pooling, global_rheobase, threshold_nvalue_save, default_std_value
        (see `ephysflow.efeatures.grouping.group_features`)
    """
    known, wanted, options = _grouping(sweeps, rheobase, targets, efel_settings, user_folder, options)
    return group_features(sweeps, features, known, wanted, **options)


def group_efeatures_of_each_cell(
    sweeps: pd.DataFrame,
    features: pd.DataFrame,
    rheobase: pd.DataFrame | None,
    targets: Any,
    *,
    efel_settings: Mapping[str, Any] | None = None,
    user_folder: str | Path | None = None,
    **options: Any,
) -> dict[str, GroupedFeatures]:
    """Group each cell alone, with the very options of the whole; see `group_efeatures`."""
    known, wanted, options = _grouping(sweeps, rheobase, targets, efel_settings, user_folder, options)
    return dict(group_each_cell(sweeps, features, known, wanted, **options))


def _grouping(
    sweeps: pd.DataFrame,
    rheobase: pd.DataFrame | None,
    targets: Any,
    efel_settings: Mapping[str, Any] | None,
    user_folder: str | Path | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, float | None], list[Target], dict[str, Any]]:
    """Return rheobase, targets and options as grouping wants them."""
    wanted, auto = _targets(targets)
    known = {} if rheobase is None else _by_cell(rheobase)
    if auto:
        wanted += choose(auto, amplitudes_by_protocol(sweeps, known))
    folder = Path(user_folder) if user_folder else None
    own = {
        str(name): resolve_stimulus(str(name), folder) for name in set(sweeps["ecode"]) if "." in str(name)
    }
    settings = DEFAULT_EFEL_SETTINGS if efel_settings is None else efel_settings
    return known, wanted, {**options, "efel_settings": settings, "stimuli": {**STIMULI, **own}}


def write_efeatures(
    folder: str | Path,
    grouped: GroupedFeatures,
    sweeps: pd.DataFrame,
    rheobase: pd.DataFrame | None,
    default_std_value: float = 1e-3,
) -> list[Path]:
    """Write features.json, protocols.json and currents.json, and return their paths."""
    known = {} if rheobase is None else _by_cell(rheobase)
    contents = {
        "features.json": features_json(grouped),
        "protocols.json": protocols_json(grouped),
        "currents.json": currents_json(sweeps, known, default_std_value),
    }
    for name, content in contents.items():
        write_text(Path(folder) / name, json_text(content) + "\n")
    return [Path(folder) / name for name in contents]


def plot_recordings(
    folder: str | Path,
    sweeps: pd.DataFrame,
    rheobase: pd.DataFrame | None = None,
    user_folder: str | Path | None = None,
) -> list[Path]:
    """Draw the sweeps of each cell into ``<folder>/<cell>.pdf``, protocol by protocol, and return the paths.

    `user_folder` is where modules of one's own stimulus classes are.
    """
    from ephysflow.plots.pages import save_pages
    from ephysflow.plots.recordings import recordings_figures
    from ephysflow.plots.steps import crossings, rebuilt_current

    known = {} if rheobase is None else _by_cell(rheobase)
    written = []
    for cell, of_cell in sweeps.groupby("cell", sort=False):
        figures = []
        for _, group in of_cell.groupby("protocol", sort=False):
            rows = _rows(group)
            rebuilt = [rebuilt_current(row, Path(user_folder or ".")) for row in rows]
            figures += recordings_figures(
                rows, rebuilt, [crossings(row) for row in rows], known.get(str(cell))
            )
        written.append(Path(folder) / f"{cell}.pdf")
        with replacing(written[-1]) as temporary, open(temporary, "wb") as stream:
            save_pages(figures, stream)
    return written


def convert_legacy(path: str | Path) -> LegacyConfiguration:
    """Read a BluePyEfe-1 configuration: its recordings, targets and settings, and notes on what is not honoured."""
    return read_legacy(Path(path))


def _entries(recordings: Any) -> Entries:
    if isinstance(recordings, str | Path):
        path = Path(recordings)
        return read_files_metadata(path) if path.suffix.lower() == ".json" else read_sheet(path)
    return read_files_metadata(recordings) if isinstance(recordings, Mapping) else list(recordings)


def _targets(targets: Any) -> tuple[list[Target], list[AutoTarget]]:
    given = list(targets) if isinstance(targets, list | tuple) else targets
    if isinstance(given, list) and given and all(isinstance(target, AutoTarget) for target in given):
        return [], given
    if isinstance(given, list) and given and all(isinstance(target, Target) for target in given):
        return given, []
    return list(parse_targets(given, feature_names())), []


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a DataFrame's rows as mappings in which what is missing is None."""
    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        rows.append({str(key): None if _is_missing(value) else value for key, value in row.items()})
    return rows


def _is_missing(value: Any) -> bool:
    return value is None or (not hasattr(value, "__len__") and value != value)


def _by_cell(rheobase: pd.DataFrame) -> dict[str, float | None]:
    return {
        str(cell): None if _is_missing(value) else float(value)
        for cell, value in zip(rheobase["cell"], rheobase["rheobase"], strict=True)
    }


def _ingest(work: tuple[Any, ...]) -> Any:
    return ingest_cell(*work)


def _extract(work: tuple[Any, ...]) -> Any:
    rows, rheobase, targets, settings, absolute, everything = work
    return extract_features(
        rows, rheobase, targets, settings, absolute_amplitude=absolute, all_sweeps=everything
    )
