"""Where the tables and session files of a project come from: one interface for all sources.

A source says which file holds what, and lists what there is; it opens nothing. That a file is missing is seen by
those who need it. Other sources (an S3 bucket, a dandiset) would be further classes with these methods.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ephysflow.ecephys.manifest import CacheFolder, read_manifest
from ephysflow.errors import ConfigurationError, ProjectError

SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
"""Ids of sessions name folders and parts of file names; those of the Allen Institute are integers."""


SESSION_ID = re.compile(r"(?:^|_)(?:ses-|session[-_])(\d+)(?=_|$)")
PROBE = re.compile(r"(?:^|[_-])probe[-_](\d+)(?![A-Za-z0-9])")
SUBJECT = re.compile(r"sub-([^_]+)_")
"""Parts of the names of session and LFP files; ``sub-``, ``ses-`` and ``probe-`` are those of DANDI."""


class Source(Protocol):
    """Files of a project."""

    def table(self, name: str) -> Path | None:
        """Return the file of a raw table; None where tables are made of the session files."""

    def sessions(self) -> list[str]:
        """Return the sessions whose files are there, sorted."""

    def session_nwb(self, session: str) -> Path:
        """Return the session file, there or not."""

    def lfp_nwbs(self, session: str) -> dict[str, Path]:
        """Return probe -> LFP file, for those that are there."""

    def probe_lfp(self, session: str, probe: str) -> Path:
        """Return the LFP file of a probe, there or not."""

    def metrics(self, name: str) -> Path | None:
        """Return the file of analysis metrics of ``session_<id>`` or of a session type; None where there is none."""

    def template(self, kind: str, number: int) -> Path:
        """Return the file of a natural_movie or natural_scene, there or not."""


class Downloads:
    """What a warehouse was asked for: the layout is that of AllenSDK's cache, tables are Parquet.

    Parameters
    ----------
    folder : where the files are, or will be
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, name: str) -> Path:
        """Return the file of a raw table."""
        return self.folder / f"{name}.parquet"

    def sessions(self) -> list[str]:
        """Return the sessions whose files are there, sorted."""
        found = self.folder.glob("session_*/session_*.nwb")
        return sorted(file.stem.removeprefix("session_") for file in found if file.stem == file.parent.name)

    def session_nwb(self, session: str) -> Path:
        """Return the session file, there or not."""
        return self.folder / f"session_{session}" / f"session_{session}.nwb"

    def lfp_nwbs(self, session: str) -> dict[str, Path]:
        """Return probe -> LFP file, for those that are there."""
        return _probes_of(self.session_nwb(session).parent)

    def probe_lfp(self, session: str, probe: str) -> Path:
        """Return the LFP file of a probe, there or not."""
        return self.folder / f"session_{session}" / f"probe_{probe}_lfp.nwb"

    def metrics(self, name: str) -> Path:
        """Return the file of analysis metrics."""
        return self.folder / f"{name}_analysis_metrics.parquet"

    def template(self, kind: str, number: int) -> Path:
        """Return the file of a template, there or not."""
        ending = {"natural_movie": "npy", "natural_scene": "tiff"}[kind]
        return self.folder / f"{kind}_templates" / f"{kind}_{number}.{ending}"


class TablesFolder:
    """Tables that are already on disk: an AllenSDK cache folder with its manifest, or plain CSV or Parquet files.

    Parameters
    ----------
    folder : with the tables, and session files as in AllenSDK's cache
    manifest : of AllenSDK; None when there is none, which stands for the usual names
    """

    def __init__(self, folder: Path, manifest: Path | None) -> None:
        self.manifest = manifest
        self.cache = CacheFolder(folder) if manifest is None else read_manifest(manifest)
        self.folder = self.cache.folder

    def table(self, name: str) -> Path:
        """Return the file of a raw table; Parquet before CSV where both are there."""
        file = self.cache.table(name)
        parquet = file.with_suffix(".parquet")
        return parquet if parquet.is_file() else file

    def sessions(self) -> list[str]:
        """Return the sessions whose files are there, sorted."""
        return sorted(
            (
                folder.name.removeprefix("session_")
                for folder in self.folder.glob("session_*")
                if _is_id(folder.name.removeprefix("session_"))
                and self.session_nwb(folder.name.removeprefix("session_")).is_file()
            ),
            key=int,
        )

    def session_nwb(self, session: str) -> Path:
        """Return the session file, there or not."""
        return self.cache.session_nwb(int(session))

    def lfp_nwbs(self, session: str) -> dict[str, Path]:
        """Return probe -> LFP file, for those that are there."""
        return _probes_of(self.session_nwb(session).parent)

    def probe_lfp(self, session: str, probe: str) -> Path:
        """Return the LFP file of a probe, there or not."""
        return self.cache.probe_lfp(int(session), int(probe))

    def metrics(self, name: str) -> Path | None:
        """Return the file of analysis metrics; None where it is not there."""
        session = name.removeprefix("session_")
        of_session = name.startswith("session_") and _is_id(session)
        file = self.cache.session_metrics(int(session)) if of_session else self.cache.typewise_metrics(name)
        # metrics are extra: sessions and units are whole without them; those of a session also lie beside the tables
        places = [
            place
            for path in (file, self.folder / file.name)
            for place in (path.with_suffix(".parquet"), path)
        ]
        return next((path for path in places if path.is_file()), None)

    def template(self, kind: str, number: int) -> Path:
        """Return the file of a template, there or not."""
        return getattr(self.cache, kind)(number)


class NwbFolder:
    """A folder of session files, from DANDI or one's own lab, in any subfolders; the tables are made of them.

    A session is named by its file: ``session_<id>.nwb``, ``sub-<subject>_ses-<id>.nwb`` (DANDI) or any other name.
    LFP files have ``probe-<id>`` or ``probe_<id>`` in their name, and else that of their session, or are in a folder
    of that name; those beside the session file come before others. Hidden files do not count.

    Parameters
    ----------
    folder : searched; None: LFP files lie beside the session files
    files : session -> file, from a sheet, in place of what is found
    made : files in the folder that will be there: those of the embedded example

    Raises
    ------
    ConfigurationError
        if two files are of one session, or of one probe of it.
    """

    def __init__(
        self, folder: Path | None, files: Mapping[str, Path] | None = None, made: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.files: dict[str, Path] = dict(files or {})
        if folder is None:
            there = [
                file for parent in {f.parent for f in self.files.values()} for file in parent.glob("*.nwb")
            ]
        else:
            there = [*folder.rglob("*.nwb"), *(Path(f) for f in made if Path(f).is_relative_to(folder))]
        seen = sorted({file for file in there if not file.name.startswith(".")} - set(self.files.values()))
        lfp = [file for file in seen if PROBE.search(file.stem) is not None]
        if files is None:
            for file in seen:
                if PROBE.search(file.stem) is None:
                    self._add(_name_of(file), file)
        self.lfp = {session: _lfp_of(file, lfp) for session, file in self.files.items()}
        if files is None:
            taken = {file for of_probe in self.lfp.values() for file in of_probe.values()}
            for file in lfp:
                if file not in taken and not any(_is_of(file, session) for session in self.files.values()):
                    # no session has such LFP: it may be the file of a session with one probe
                    self._add(file.stem, file)
                    self.lfp[file.stem] = {}

    def _add(self, session: str, file: Path) -> None:
        if session in self.files:
            raise ConfigurationError(
                f"{self.folder}: {self.files[session]} and {file} are both of session {session}; move one away, or list "
                "the sessions in a sheet"
            )
        if not SESSION_NAME.fullmatch(session):
            raise ConfigurationError(
                f"{file}: {session!r} is not usable as the name of a session (up to 128 letters, digits, _ . + -, the "
                "first a letter or digit): name the session in a sheet"
            )
        self.files[session] = file

    def table(self, name: str) -> None:
        """Return None: the tables are made of the session files."""

    def sessions(self) -> list[str]:
        """Return the sessions, sorted."""
        return sorted(self.files)

    def session_nwb(self, session: str) -> Path:
        """Return the session file; one that does not exist where the session is unknown."""
        return self.files.get(session, (self.folder or Path()) / f"session_{session}.nwb")

    def lfp_nwbs(self, session: str) -> dict[str, Path]:
        """Return probe -> LFP file, for those that are there."""
        return dict(self.lfp.get(session, {}))

    def probe_lfp(self, session: str, probe: str) -> Path:
        """Return the LFP file of a probe, there or not."""
        there = self.lfp.get(session, {})
        return there.get(probe, self.session_nwb(session).with_name(f"probe_{probe}_lfp.nwb"))

    def metrics(self, name: str) -> None:
        """Return None: session files hold no analysis metrics."""

    def template(self, kind: str, number: int) -> Path:
        """Return the file of a template, there or not."""
        return Downloads(self.folder or Path()).template(kind, number)


def source_record(source: Source) -> dict[str, str | None]:
    """Return what says, in the settings of a job, where the files of a project are; `recorded_source` reads it."""
    layout = next(name for name, kind in _LAYOUTS.items() if isinstance(source, kind))
    record: dict[str, str | None] = {"layout": layout}
    for name in ("folder", "manifest"):
        path = getattr(source, name, None)
        record[name] = None if path is None else str(path)
    return record


def recorded_source(
    record: Mapping[str, str | None], files: Mapping[str, Path], found: Callable[[str], Path]
) -> Source:
    """Return the source that `source_record` was made of.

    Parameters
    ----------
    record : what it returned
    files : session -> file, of a folder of session files
    found : where a file or folder is now
    """
    folder, manifest = (
        None if record[name] is None else found(str(record[name])) for name in ("folder", "manifest")
    )
    if record["layout"] == "sessions":
        return NwbFolder(folder, files)
    if folder is None:
        raise ProjectError(f"the source {dict(record)} has no folder")
    return Downloads(folder) if record["layout"] == "downloads" else TablesFolder(folder, manifest)


_LAYOUTS = {"downloads": Downloads, "tables": TablesFolder, "sessions": NwbFolder}


def find_manifest(folder: Path) -> Path | None:
    """Return the manifest in a folder; None where there is none.

    Raises
    ------
    ConfigurationError
        if there are several.
    """
    found = sorted(folder.glob("*manifest*.json"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ConfigurationError(f"folder {folder} has several manifests ({names}): name one (manifest)")
    return found[0] if found else None


def folder_source(folder: Path) -> TablesFolder | NwbFolder | None:
    """Return the source that a folder is: tables, an AllenSDK cache, or session files; None if it is nothing of these.

    Raises
    ------
    ConfigurationError
        if it has several manifests.
    """
    manifest = find_manifest(folder)
    if manifest is not None or any((folder / f"units{ending}").is_file() for ending in (".csv", ".parquet")):
        return TablesFolder(folder, manifest)
    source = NwbFolder(folder)
    return source if source.files else None


def _name_of(file: Path) -> str:
    """Return the name of a session that its file, or its folder, tells: an id, or the whole name."""
    name = file.stem if file.suffix == ".nwb" else file.name
    found = SESSION_ID.search(name)
    return name if found is None else found[1]


def _lfp_of(file: Path, lfp_files: Sequence[Path]) -> dict[str, Path]:
    """Return probe -> LFP file, of those that belong to a session file."""
    found: dict[str, Path] = {}
    mine = [lfp for lfp in lfp_files if _is_of(lfp, file)]
    for lfp in [lfp for lfp in mine if lfp.parent == file.parent] or mine:
        probe = PROBE.findall(lfp.stem)[0]
        if probe in found:
            raise ConfigurationError(
                f"{found[probe]} and {lfp} are both of probe {probe} of {file}; move one away"
            )
        found[probe] = lfp
    return found


def _is_of(lfp: Path, file: Path) -> bool:
    """Tell whether an LFP file is of the session of a session file."""
    own = PROBE.split(lfp.stem)[0]
    if own == file.stem:
        return True
    if SESSION_ID.search(own) is None:
        return _name_of(lfp.parent) == _name_of(file)
    animals = {found[1] for name in (own, file.stem) if (found := SUBJECT.match(name)) is not None}
    return SESSION_ID.findall(own)[0] == _name_of(file) and len(animals) < 2


def _probes_of(folder: Path) -> dict[str, Path]:
    found = (
        (re.fullmatch(r"probe_(\d+)_lfp", file.stem), file) for file in sorted(folder.glob("probe_*.nwb"))
    )
    return {name[1]: file for name, file in found if name is not None}


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit()
