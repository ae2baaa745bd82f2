"""Python access to a project: its tables as DataFrames, its sessions as objects. Nothing is computed beforehand.

Examples
--------
>>> project = open_project("results/ecephys/visual_coding")                    # doctest: +SKIP
>>> project.units(unit_filters={"presence_ratio_minimum": 0.9})                # doctest: +SKIP
>>> with project.open_session(715093703) as session: session.spike_times       # doctest: +SKIP
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from ephysflow.ecephys.analysis_metrics import annotate_metrics, read_metrics
from ephysflow.ecephys.project_tables import ProjectTables, distinct, project_tables
from ephysflow.ecephys.raw_tables import RawTables, read_raw_table
from ephysflow.ecephys.sources import TABLES, Downloads, NwbFolder, Source, TablesFolder
from ephysflow.ecephys.tables_step import tables_of_sessions
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.tables import read_provenance, read_rows, read_table

if TYPE_CHECKING:
    from ephysflow.ecephys.session import Session


class _Files(Protocol):
    """What a project is read from."""

    source: Source
    filters: UnitFilters
    suppress: Mapping[str, Sequence[str]]

    def raw(self) -> RawTables:
        """Return the raw tables."""

    def published(self, name: str) -> pa.Table | None:
        """Return a table that the workflow wrote; None where it did not."""


class _Results:
    """A project folder in the results of the workflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.item = json.loads(read_provenance(folder / "units.parquet").settings)
        self.filters = UnitFilters(**self.item["filters"])
        self.suppress = self.item["suppress"]
        self.indices = {name: folder / "sessions" / name for name in self.item["sessions"]}
        rows = {name: read_rows(index / "session.parquet")[0] for name, index in self.indices.items()}
        self.files = {name: self._found(row["file"]) for name, row in rows.items() if row["status"] == "used"}
        downloads = folder / "downloads"
        tables = {name: self._found(path) for name, path in self.item["tables"].items()}
        self.tables = tables
        if downloads.is_dir():
            self.source: Source = Downloads(downloads)
        elif tables:
            place = next(iter(tables.values())).parent
            manifests = sorted(place.glob("*manifest*.json"))
            self.source = TablesFolder(place, manifests[0] if manifests else None)
        else:
            self.source = NwbFolder(next(iter(self.files.values()), folder).parent, self.files)

    def _found(self, path: str) -> Path:
        """Return a file of the plan, whose path is relative to where snakemake ran."""
        bases = (Path(), *self.folder.resolve().parents)
        return next((base / path for base in bases if (base / path).exists()), Path(path))

    def raw(self) -> RawTables:
        if self.tables:
            return RawTables(**{name: read_raw_table(path, name) for name, path in self.tables.items()})
        names = [f"index.{name}.parquet" for name in TABLES]
        files = {
            name: [index / "session.parquet", *(index / f for f in names)]
            for name, index in self.indices.items()
        }
        return tables_of_sessions(files)[0]

    def published(self, name: str) -> pa.Table | None:
        path = self.folder / f"{name}.parquet"
        return read_table(path) if path.is_file() else None


class _Folder:
    """Tables or session files on disk, without results of the workflow."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.filters = UnitFilters()
        self.suppress: Mapping[str, Sequence[str]] = {}

    def raw(self) -> RawTables:
        files = {name: self.source.table(name) for name in TABLES}
        if None not in files.values():
            return RawTables(**{name: read_raw_table(Path(str(path)), name) for name, path in files.items()})
        from ephysflow.ecephys.session_file import SessionFile
        from ephysflow.ecephys.session_rows import session_rows
        from ephysflow.ecephys.tables_step import stacked_tables

        parts = {}
        for name in self.source.sessions():
            with SessionFile(self.source.session_nwb(name)) as session:
                parts[name] = session_rows(session)
        return stacked_tables(parts)[0]

    def published(self, name: str) -> pa.Table | None:
        return None


class Project:
    """A project: see `open_project`.

    Tables are DataFrames whose index is the id. `unit_filters` and `suppress` are those of the configuration
    (docs/ecephys.md) in place of the ones that the results were made with; ``None`` takes the latter.
    """

    def __init__(self, files: _Files, where: Path) -> None:
        self._files = files
        self.where = where

    def __repr__(self) -> str:
        return f"Project({str(self.where)!r})"

    @cached_property
    def _raw(self) -> RawTables:
        return self._files.raw()

    def _tables(
        self, unit_filters: Mapping[str, Any] | None, suppress: Mapping[str, Sequence[str]] | None
    ) -> ProjectTables:
        filters = self._files.filters
        if unit_filters is not None:
            filters = UnitFilters.from_mapping(unit_filters, "unit_filters")
        return project_tables(self._raw, filters, self._files.suppress if suppress is None else suppress)

    def _table(
        self,
        name: str,
        unit_filters: Mapping[str, Any] | None,
        suppress: Sequence[str] | None,
    ) -> pa.Table:
        if unit_filters is None and suppress is None:
            published = self._files.published(name)
            if published is not None:
                return published
        hidden = None if suppress is None else {name.removeprefix("annotated_"): suppress}
        return getattr(self._tables(unit_filters, hidden), name)

    def sessions(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the sessions, with counts of their probes, channels and units."""
        return _frame(self._table("sessions", unit_filters, suppress))

    def probes(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the probes, with counts of their channels and units."""
        return _frame(self._table("probes", unit_filters, suppress))

    def channels(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the channels, with counts of their units."""
        return _frame(self._table("channels", unit_filters, suppress))

    def units(
        self, *, unit_filters: Mapping[str, Any] | None = None, suppress: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the units that the filters keep, with the columns of their channel, probe and session."""
        return _frame(self._table("units", unit_filters, suppress))

    def annotated_units(self, *, unit_filters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the units with names of columns that say what they are of, e.g. ``probe_name``."""
        return _frame(self._table("annotated_units", unit_filters, None))

    def unit_filter_records(self, *, unit_filters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return how many units each filter removed."""
        return pd.DataFrame(self._tables(unit_filters, None).filters)

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
        file = self._files.source.metrics(name)
        if file is None or not file.is_file():
            raise ProjectError(f"{self.where}: there are no analysis metrics of {name.replace('_', ' ', 1)}")
        metrics = read_metrics(file)
        if annotate:
            metrics = annotate_metrics(metrics, self._table("units", unit_filters, None))
        return metrics.to_pandas().set_index("ecephys_unit_id")

    def _check_session(self, session_id: Any) -> None:
        known = self._raw.sessions["id"].to_pylist()
        if session_id not in known:
            some = ", ".join(map(str, known[:10]))
            raise ConfigurationError(
                f"{self.where}: session {session_id!r} is unknown ({len(known)} sessions, the first: {some})"
            )

    def session_file(self, session_id: int | str) -> Path:
        """Return the session file.

        Raises
        ------
        ConfigurationError
            if the project has no such session.
        ProjectError
            if its file is not there.
        """
        there = self._files.source.sessions()
        path = self._files.source.session_nwb(str(session_id)) if str(session_id) in there else None
        if path is None:
            self._check_session(session_id)
            raise ProjectError(
                f"{self.where}: the file of session {session_id} is not there (files of: {', '.join(there) or 'none'})"
            )
        return path

    def lfp_files(self, session_id: int | str) -> dict[str, Path]:
        """Return probe -> LFP file of a session, for those that are there."""
        return self._files.source.lfp_nwbs(str(session_id))

    def external_channels(self) -> pa.Table | None:
        """Return the raw channels of the project; None where they are those of the session files."""
        return None if self._files.source.table("channels") is None else self._raw.channels

    def metrics(self, session_id: int | str) -> pa.Table | None:
        """Return the raw analysis metrics of a session's units; None where there are none."""
        file = self._files.source.metrics(f"session_{session_id}")
        return read_metrics(file) if file is not None and file.is_file() else None

    def open_session(
        self, session_id: int | str, *, unit_filters: Mapping[str, Any] | None = None
    ) -> "Session":
        """Open a session: see `ephysflow.open_session`."""
        from ephysflow.ecephys.session import open_session

        return open_session(session_id, project=self, unit_filters=unit_filters)

    @property
    def unit_filters(self) -> dict[str, Any]:
        """Filters of units that the tables were made with; the default ones where there are no results."""
        return asdict(self._files.filters)

    def natural_movie(self, number: int) -> np.ndarray:
        """Return the frames of a natural movie, (frames, height, width); read from disk as needed."""
        from ephysflow.ecephys.templates import read_movie

        return read_movie(self._template("natural_movie", number))

    def natural_scene(self, number: int) -> np.ndarray:
        """Return a natural scene, (height, width)."""
        from ephysflow.ecephys.templates import read_scene

        return read_scene(self._template("natural_scene", number))

    def _template(self, kind: str, number: int) -> Path:
        path = self._files.source.template(kind, int(number))
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
        return Project(_Folder(TablesFolder(path.parent, path)), path)
    if not path.is_dir():
        raise ProjectError(f"{path}: is not a folder, nor a manifest (.json)")
    if (path / "units.parquet").is_file() and (path / "unit_filters.parquet").is_file():
        return Project(_Results(path), path)
    manifests = sorted(path.glob("*manifest*.json"))
    tables = [path / f"units{ending}" for ending in (".csv", ".parquet")]
    if manifests or any(table.is_file() for table in tables):
        return Project(_Folder(TablesFolder(path, manifests[0] if manifests else None)), path)
    source = NwbFolder(path)
    if not source.sessions():
        raise ProjectError(
            f"{path}: holds neither results of a project, nor tables (units.csv, units.parquet), a manifest or .nwb files"
        )
    return Project(_Folder(source), path)


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().set_index("id")
