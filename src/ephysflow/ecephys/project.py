"""Python access to a project: its tables as DataFrames, its sessions as objects. Nothing is computed beforehand.

Examples
--------
>>> project = open_project("results/ecephys/visual_coding")                    # doctest: +SKIP
>>> project.units(unit_filters={"presence_ratio_minimum": 0.9})                # doctest: +SKIP
>>> with project.open_session(715093703) as session: session.spike_times       # doctest: +SKIP
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ephysflow.ecephys.analysis_metrics import annotate_metrics, read_metrics
from ephysflow.ecephys.index_step import USED
from ephysflow.ecephys.manifest import TABLES
from ephysflow.ecephys.project_tables import ProjectTables, distinct, project_tables
from ephysflow.ecephys.raw_tables import RawTables, read_raw_table
from ephysflow.ecephys.session import Session, frame_of, open_session
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_rows import session_rows
from ephysflow.ecephys.sources import Source, TablesFolder, folder_source, recorded_source
from ephysflow.ecephys.tables_step import stacked_tables, tables_of_sessions
from ephysflow.ecephys.templates import read_movie, read_scene
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.tables import read_provenance, read_rows, read_table
from ephysflow.paths import SESSION_INDEX


@dataclass(frozen=True)
class _Content:
    """What a project is read from.

    Attributes
    ----------
    where : folder or manifest, for messages
    source : of its files
    raw : reads the raw tables, and what was left out of them
    names : returns id of a session -> its name in the source, where they differ
    filters, suppress : that the tables are made with
    results : folder of the tables that the workflow wrote; None where it did not
    """

    where: Path
    source: Source
    raw: Callable[[], tuple[RawTables, list[dict[str, Any]]]]
    names: Callable[[], Mapping[str, str]]
    filters: UnitFilters = field(default_factory=UnitFilters)
    suppress: Mapping[str, Sequence[str]] | None = None
    results: Path | None = None


class Project:
    """A project: see `open_project`.

    Tables are DataFrames whose index is the id. `unit_filters` and `suppress` are those of the configuration
    (docs/ecephys.md) in place of the ones that the results were made with; ``None`` takes the latter.
    """

    def __init__(self, content: _Content) -> None:
        self._content = content
        self.where = content.where

    def __repr__(self) -> str:
        return f"Project({str(self.where)!r})"

    @cached_property
    def _raw(self) -> RawTables:
        raw, left_out = self._content.raw()
        if self._content.results is None:  # else they are in the table of exclusions
            for row in left_out:
                warnings.warn(f"{self.where}: session {row['session']}: {row['reason']}", stacklevel=4)
        return raw

    def _tables(
        self, unit_filters: Mapping[str, Any] | None, suppress: Mapping[str, Sequence[str]] | None
    ) -> ProjectTables:
        filters = self._content.filters
        if unit_filters is not None:
            filters = UnitFilters.from_mapping(unit_filters, "unit_filters")
        made = project_tables(self._raw, filters, self._content.suppress if suppress is None else suppress)
        if self._content.results is None:  # else they are in the table of exclusions
            for subject, reason in made.findings:
                warnings.warn(f"{self.where}: {subject}: {reason}", stacklevel=4)
        return made

    def _published(self, name: str) -> pa.Table | None:
        """Return a table that the workflow wrote; None where it did not."""
        path = None if self._content.results is None else self._content.results / f"{name}.parquet"
        return None if path is None or not path.is_file() else read_table(path)

    def _table(
        self,
        name: str,
        unit_filters: Mapping[str, Any] | None,
        suppress: Sequence[str] | None = None,
    ) -> pa.Table:
        if unit_filters is None and suppress is None and (published := self._published(name)) is not None:
            return published
        hidden = None
        if suppress is not None:
            hidden = {**(self._content.suppress or {}), name: suppress}
        return getattr(self._tables(unit_filters, hidden), name)

    def sessions(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the sessions, with counts of their probes, channels and units."""
        return frame_of(self._table("sessions", unit_filters, suppress), "id")

    def probes(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the probes, with counts of their channels and units."""
        return frame_of(self._table("probes", unit_filters, suppress), "id")

    def channels(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the channels, with counts of their units."""
        return frame_of(self._table("channels", unit_filters, suppress), "id")

    def units(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the units that the filters keep, with the columns of their channel, probe and session."""
        return frame_of(self._table("units", unit_filters, suppress), "id")

    def annotated_units(self, *, unit_filters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the units with names of columns that say what they are of, e.g. ``probe_name``."""
        return frame_of(self._table("annotated_units", unit_filters), "id")

    def unit_filter_records(self, *, unit_filters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return how many units each filter removed."""
        published = self._published("unit_filters") if unit_filters is None else None
        if published is not None:
            return published.to_pandas()
        return pd.DataFrame([asdict(record) for record in self._tables(unit_filters, None).filters])

    def session_types(self) -> list[str]:
        """Return the types of sessions, in order of appearance."""
        return distinct(self._raw.sessions, "session_type")

    def full_genotypes(self) -> list[str]:
        """Return the genotypes of the animals, in order of appearance."""
        return distinct(self._raw.sessions, "genotype")

    def ages(self) -> list[float]:
        """Return the ages of the animals [days], in order of appearance."""
        return distinct(self._raw.sessions, "age_in_days")

    def sexes(self) -> list[str]:
        """Return the sexes of the animals, in order of appearance."""
        return distinct(self._raw.sessions, "sex")

    def structure_acronyms(self) -> list[str]:
        """Return the structures of the channels, in order of appearance."""
        return distinct(self._raw.channels, "ecephys_structure_acronym")

    def analysis_metrics(
        self,
        *,
        session_id: int | None = None,
        session_type: str | None = None,
        annotate: bool = True,
        unit_filters: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the analysis metrics of the units of a session, or of all sessions of a type.

        Parameters
        ----------
        session_id, session_type : one of the two
        annotate : with the columns of `units`, of those units that the filters keep; else metrics alone, of all units
        unit_filters : as in `units`

        Raises
        ------
        ConfigurationError
            if the session or the type is unknown.
        ProjectError
            if there are no metrics of it.
        """
        if (session_id is None) == (session_type is None):
            raise ConfigurationError("analysis_metrics: give either session_id or session_type")
        if session_type is not None:
            if session_type not in (known := self.session_types()):
                raise ConfigurationError(
                    f"session_type {session_type!r} is unknown (known: {', '.join(known)})"
                )
            name = session_type
        else:
            self._check_session(session_id)
            name = f"session_{session_id}"
        if annotate and unit_filters is None and session_type is not None:
            published = self._published(f"analysis_metrics/{session_type}")
            if published is not None:
                return frame_of(published, "ecephys_unit_id")
        file = self._content.source.metrics(name)
        if file is None or not file.is_file():
            asked = f"session {session_id}" if session_type is None else f"session type {session_type}"
            raise ProjectError(f"{self.where}: there are no analysis metrics of {asked}")
        metrics = read_metrics(file)
        if annotate:
            metrics = annotate_metrics(metrics, self._table("units", unit_filters))
        return frame_of(metrics, "ecephys_unit_id")

    def _check_session(self, session_id: Any) -> None:
        known = [str(found) for found in self._raw.sessions["id"].to_pylist()]
        if str(session_id) not in known:
            raise ConfigurationError(
                f"{self.where}: session {session_id!r} is unknown ({len(known)} sessions, the first: "
                f"{', '.join(known[:10])})"
            )

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Id of a session -> its name in the source, where they differ."""
        return self._content.names()

    def _name(self, session_id: int | str) -> str:
        """Return the name, in the source, of a session whose file is there; errors as `session_file`."""
        there = self._content.source.sessions()
        if str(session_id) in there:
            return str(session_id)
        if str(session_id) in self._names:
            return self._names[str(session_id)]
        self._check_session(session_id)
        raise ProjectError(
            f"{self.where}: the file of session {session_id} is not there (files of: {', '.join(there) or 'none'})"
        )

    def session_file(self, session_id: int | str) -> Path:
        """Return the session file.

        Parameters
        ----------
        session_id : id, as in the tables; or what the file's name calls the session

        Raises
        ------
        ConfigurationError
            if the project has no such session.
        ProjectError
            if its file is not there.
        """
        return self._content.source.session_nwb(self._name(session_id))

    def lfp_files(self, session_id: int | str) -> dict[str, Path]:
        """Return probe -> LFP file of a session, for those that are there; errors as `session_file`."""
        return self._content.source.lfp_nwbs(self._name(session_id))

    def external_channels(self) -> pa.Table | None:
        """Return the raw channels of the project; None where they are those of the session files."""
        return None if self._content.source.table("channels") is None else self._raw.channels

    def metrics(self, session_id: int | str) -> pa.Table | None:
        """Return the raw analysis metrics of a session's units; None where there are none."""
        file = self._content.source.metrics(f"session_{session_id}")
        return read_metrics(file) if file is not None and file.is_file() else None

    def open_session(
        self, session_id: int | str, *, unit_filters: Mapping[str, Any] | None = None
    ) -> Session:
        """Open a session: see `ephysflow.open_session`."""
        return open_session(session_id, project=self, unit_filters=unit_filters)

    @property
    def unit_filters(self) -> dict[str, Any]:
        """Filters of units that the tables were made with; the default ones where there are no results."""
        return asdict(self._content.filters)

    def natural_movie(self, number: int) -> np.ndarray:
        """Return the frames of a natural movie, (frames, height, width); read from disk as needed."""
        return read_movie(self._template("natural_movie", number))

    def natural_scene(self, number: int) -> np.ndarray:
        """Return a natural scene, (height, width)."""
        return read_scene(self._template("natural_scene", number))

    def _template(self, kind: str, number: int) -> Path:
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
            raise ConfigurationError(f"{kind}: number {number!r} is not an integer from 0 on")
        path = self._content.source.template(kind, int(number))
        if not path.is_file():
            raise ProjectError(f"{path}: {kind.replace('_', ' ')} {number} is not there")
        return path


def open_project(path: str | Path) -> Project:
    """Open a project.

    Parameters
    ----------
    path : ``results/ecephys/<project>`` of the workflow; or an AllenSDK cache folder, or its manifest; or a folder with
        the four tables as CSV or Parquet; or a folder of session NWB files

    Raises
    ------
    ProjectError
        if there is nothing of a project.
    """
    path = Path(path)
    if path.suffix == ".json":
        return Project(_of_source(path, TablesFolder(path.parent, path)))
    if not os.path.isdir(path):  # False too for what can be no path
        raise ProjectError(f"{path}: is not a folder, nor a manifest (.json)")
    if (path / "units.parquet").is_file() and (path / "unit_filters.parquet").is_file():
        return Project(_of_results(path))
    source = folder_source(path)
    if source is None:
        raise ProjectError(
            f"{path}: holds neither results of a project, nor tables (units.csv, units.parquet), a manifest or .nwb files"
        )
    return Project(_of_source(path, source))


def _of_source(where: Path, source: Source) -> _Content:
    """Return the content of tables or session files on disk, without results of the workflow."""
    if source.table("units") is not None:
        tables = {name: Path(str(source.table(name))) for name in TABLES}
        return _Content(where, source, lambda: (_raw_tables(tables), []), dict)

    def raw() -> tuple[RawTables, list[dict[str, Any]]]:
        parts = {}
        for name in source.sessions():
            with SessionFile(source.session_nwb(name)) as session:
                parts[name] = session_rows(session)
        return stacked_tables(parts)

    def names() -> dict[str, str]:
        found: dict[str, str] = {}
        for name in source.sessions():
            with SessionFile(source.session_nwb(name)) as session:
                found.setdefault(str(session.session_id), name)
        return found

    return _Content(where, source, raw, names)


def _of_results(folder: Path) -> _Content:
    """Return the content of a project folder in the results of the workflow."""
    item = json.loads(read_provenance(folder / "units.parquet").settings)
    # where there are raw tables, those of the project know nothing of session files
    names = item["sessions"]
    if item["tables"]:
        exclusions = folder / "exclusions.parquet"
        names = json.loads(read_provenance(exclusions).settings)["sessions"] if exclusions.is_file() else []
    indices = {
        name: [folder / "sessions" / name / f"{table}.parquet" for table in SESSION_INDEX] for name in names
    }
    rows = {name: read_rows(index[0])[0] for name, index in indices.items()}
    used = {name: row for name, row in rows.items() if row["status"] == USED}
    places = [item["source"]["folder"], item["source"]["manifest"], *item["tables"].values()]
    base = _working_directory(folder, [*filter(None, places), *(row["file"] for row in used.values())])
    source = recorded_source(
        item["source"], {name: base / row["file"] for name, row in used.items()}, lambda path: base / path
    )
    tables = {name: base / path for name, path in item["tables"].items()}
    ids: dict[str, str] = {}
    for name, row in used.items():
        ids.setdefault(row["id"], name)
    return _Content(
        folder,
        source,
        (lambda: (_raw_tables(tables), [])) if tables else (lambda: tables_of_sessions(indices)),
        (dict if tables else lambda: ids),
        UnitFilters(**item["filters"]),
        item["suppress"],
        folder,
    )


def _working_directory(folder: Path, files: Sequence[str]) -> Path:
    """Return the folder in which snakemake ran, to which the files of a plan are relative: that which has most of them.

    It is above the results, unless these are elsewhere and it is the present one.
    """
    bases = [*folder.resolve().parents[2:], Path()]
    return max(bases, key=lambda base: sum((base / file).exists() for file in files))


def _raw_tables(files: Mapping[str, Path]) -> RawTables:
    return RawTables(**{name: read_raw_table(path, name) for name, path in files.items()})
