"""Downloads of whole files: streamed, resumed, checked, recorded.

A download lives in a hidden partial file beside its target and takes the target's name when everything was
checked. A killed download leaves the partial file, which the next one resumes.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import requests

from ephysflow.ecephys.download_record import (
    FileRecord,
    check_against_record,
    is_sha256,
    read_json,
    read_record,
    record_path,
)
from ephysflow.ecephys.transport import PassingError, Transport, opened, trying
from ephysflow.errors import ConfigurationError, ProjectError
from ephysflow.io.atomic import write_text

PIECE = 2**18  # bytes
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class _State:
    """What is known of the content that a partial file is the beginning of."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    def validator(self) -> str | None:
        """Return what If-Range may hold: weak marks do not promise equal bytes."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


def download(
    transport: Transport,
    url: str,
    target: Path,
    check: Callable[[Path], None],
    sha256: str | None = None,
) -> FileRecord:
    """Fetch one file, and accept it once.

    A file that is at `target` already is kept if it is what its record (and `sha256`) says. Another process that
    fetches the same target is waited for.

    Parameters
    ----------
    transport : time-outs, tries, hosts
    url : address
    target : final place
    check : raises ProjectError if the file at the path that it is given does not open; gets the partial file
    sha256 : digest that the content must have; where none is given, that of the first accepted download

    Returns
    -------
    The record, which is also written beside the file.

    Raises
    ------
    ProjectError
        if no usable file comes within ``transport.tries`` requests, the content is not the expected one, or the
        disk has too little space.
    """
    if sha256 is not None and not is_sha256(sha256.lower()):
        raise ConfigurationError(f"sha256 of {target.name}: {sha256!r} is no digest (64 hexadecimal digits)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            expected, source = _expectation(target, sha256)
            if target.exists():
                with suppress(ProjectError):
                    kept = check_against_record(target)
                    if expected in (None, kept.sha256):
                        _discard(target)
                        return kept
            partial = os.open(_partial(target), os.O_RDWR | os.O_CREAT, 0o666)
            with os.fdopen(partial, "r+b") as file:
                return _Download(transport, url, target, check, expected, source, file).run()
    except OSError as error:
        raise ProjectError(f"{target}: cannot be written: {error}") from None


def _expectation(target: Path, sha256: str | None) -> tuple[str | None, str]:
    """Return the digest that the content must have, and where it is from."""
    if sha256 is not None:
        return sha256.lower(), "the one given"
    if (recorded := read_record(target)) is not None:
        return recorded.sha256, f"that of the first download, {recorded.url}, in {record_path(target)}"
    return None, ""


class _Download:
    """One download: the partial file, open, and what was seen of its content."""

    def __init__(
        self,
        transport: Transport,
        url: str,
        target: Path,
        check: Callable[[Path], None],
        expected: str | None,
        source: str,
        file: BinaryIO,
    ) -> None:
        self.transport = transport
        self.url = url
        self.target = target
        self.check = check
        self.expected = expected
        self.source = source
        self.file = file
        self.refused: set[str] = set()
        self.state = self._known_state()
        self.digest = hashlib.sha256()
        self.offset = 0
        if self.state is not None:
            self._read_beginning(self.state)

    def run(self) -> FileRecord:
        try:
            return trying(self.transport, self.url, self._attempt)
        except ProjectError:
            if self.offset == 0 or self.state is None or self.state.validator() is None:
                _discard(self.target)  # nothing that could be resumed
            raise

    def _known_state(self) -> _State | None:
        try:
            content = read_json(_state_path(self.target))
            state = _State(**content)
        except (OSError, ValueError, TypeError):
            return None
        texts = (state.etag, state.last_modified)
        if state.url != self.url or not all(text is None or isinstance(text, str) for text in texts):
            return None
        if state.total is not None and type(state.total) is not int:
            return None
        return state

    def _read_beginning(self, state: _State) -> None:
        """Hash what an earlier process left, if it can be gone on with."""
        size = os.fstat(self.file.fileno()).st_size
        if state.validator() is None or (state.total is not None and size > state.total):
            self._start_again()
            return
        self.file.seek(0)
        while piece := self.file.read(PIECE):
            self.digest.update(piece)
        self.offset = size
        self.file.seek(size)

    def _start_again(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.state, self.offset, self.digest = None, 0, hashlib.sha256()

    def _attempt(self) -> FileRecord:
        if self.state is None or self.state.validator() is None:
            self._start_again()
        if self.state is None or self.offset != self.state.total:
            self._fetch()
        return self._accept()

    def _fetch(self) -> None:
        headers = {}
        if self.state is not None and self.offset:
            headers = {"Range": f"bytes={self.offset}-", "If-Range": self.state.validator() or ""}
        with opened(self.transport, self.url, headers, (200, 206, 416) if headers else (200,)) as response:
            if response.status_code == 200:
                self._begin(response)
            else:
                self._go_on(response)
            self._check_space()
            for piece in response.iter_content(PIECE):
                self.file.write(piece)
                self.digest.update(piece)
                self.offset += len(piece)
        total = self.state.total if self.state is not None else None
        if total is not None and self.offset != total:
            raise PassingError(f"{self.offset} bytes came of {total}")

    def _begin(self, response: requests.Response) -> None:
        """Take the answer as the whole content, from its first byte."""
        self._start_again()
        headers = response.headers
        length = headers.get("Content-Length")
        if length is not None and not re.fullmatch(r"[0-9]{1,18}", length):
            raise ProjectError(f"{self.url}: Content-Length is {length!r}")
        total = None if length is None else int(length)
        self.state = _State(self.url, headers.get("ETag"), headers.get("Last-Modified"), total)
        write_text(_state_path(self.target), json.dumps(asdict(self.state)))

    def _go_on(self, response: requests.Response) -> None:
        """Take the answer as what the partial file lacks, if it is that."""
        total = None if self.state is None else _total_of_rest(response, self.state, self.offset)
        if self.state is None or total is None:
            message = (
                f"asked for the bytes from {self.offset} on, got HTTP status {response.status_code} and "
                f"Content-Range {response.headers.get('Content-Range')!r}"
            )
            self._start_again()
            raise PassingError(message)
        self.state = replace(self.state, total=total)

    def _check_space(self) -> None:
        if self.state is None or self.state.total is None:
            return
        needed, free = self.state.total - self.offset, shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise ProjectError(
                f"{self.url}: {needed} bytes are to come, but only {free} are free in {self.target.parent}"
            )

    def _accept(self) -> FileRecord:
        self.file.flush()
        os.fsync(self.file.fileno())
        partial = _partial(self.target)
        try:
            self.check(partial)
        except ProjectError as error:
            self._start_again()
            raise PassingError(f"what came does not open: {error}") from None
        found = self.digest.hexdigest()
        if self.expected not in (None, found):
            self._start_again()
            message = f"sha256 of what came is {found}, expected is {self.expected} ({self.source})"
            if found in self.refused:  # the same content twice is no fault of the transfer
                raise ProjectError(f"{self.url}: {message}")
            self.refused.add(found)
            raise PassingError(message)
        record = FileRecord(self.url, self.offset, found, self.state.etag if self.state is not None else None)
        # before the rename: a process that dies in between leaves a partial file that is whole
        write_text(record_path(self.target), json.dumps(asdict(record), indent=1) + "\n")
        os.replace(partial, self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        _state_path(self.target).unlink(missing_ok=True)
        return record


def _total_of_rest(response: requests.Response, state: _State, offset: int) -> int | None:
    """Return the size of the whole content, if the answer is its rest from `offset` on; None otherwise."""
    headers = response.headers
    found = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", headers.get("Content-Range", "")
    )
    if response.status_code != 206 or not found or int(found[1]) != offset:
        return None
    totals = {int(found[2]) + 1}
    if found[3] != "*":
        totals.add(int(found[3]))
    if state.total is not None:
        totals.add(state.total)
    marks = (headers.get("ETag", state.etag), headers.get("Last-Modified", state.last_modified))
    if len(totals) > 1 or marks != (state.etag, state.last_modified):
        return None
    return totals.pop()


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other processes from fetching the same file; waits for one that does."""
    # not a lock of the partial file: HDF5 takes one of its own when the file is opened for the check
    path = target.with_name(f".{target.name}.part.lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if (
                    error.errno not in NO_LOCKS
                ):  # file systems without locks: the workflow runs one job a file
                    raise
            if _is_at(descriptor, path):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still at `path`: who had the lock before has removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _discard(target: Path) -> None:
    _partial(target).unlink(missing_ok=True)
    _state_path(target).unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _state_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.part.json")
