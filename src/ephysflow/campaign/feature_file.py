"""The file of one computation: every table that a combination of parameters gave, for some simulations.

A zip file of Arrow tables, not compressed: ``<simulation key>/<table>.arrow``, beside ``provenance.json`` and
``failures.json``. One file a job, whatever tables a function returns, and each table has its own columns. The key is
``all`` when the function ran over all simulations at once. What is published from it is Parquet; here each table is
written and read once, and Arrow's own format needs no encoding.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing
from ephysflow.io.canonical import canonical_json
from ephysflow.io.provenance import Provenance

INDEX_KEY = b"ephysflow.index"
"""Metadata of a table: JSON list of its index columns."""

_HEADER, _ZIP64, _EXTRA = 30, 20, 4
"""Bytes of a member's header, of the field with its 64-bit sizes, and of the head of the field that pads it."""
_PADDING_ID = b"\xff\xff"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal work gives equal bytes


@dataclass(frozen=True)
class Failure:
    """A function that failed on one simulation (or on all together).

    Attributes
    ----------
    simulation : key of the simulation, or all
    reason : what happened, with the group's key
    """

    simulation: str
    reason: str


class FeatureFileWriter:
    """Writes the tables of a computation one after the other; see `writing_features`."""

    def __init__(self, stream: BinaryIO, archive: zipfile.ZipFile) -> None:
        self._stream, self._archive = stream, archive
        self.failures: list[Failure] = []

    def add(self, simulation: str, name: str, table: pa.Table) -> None:
        """Add one table of one simulation."""
        stream = pa.BufferOutputStream()
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
        self.put(f"{simulation}/{name}.arrow", memoryview(stream.getvalue()))

    def put(self, name: str, content: memoryview | bytes) -> None:
        """Add a member; its content begins at a multiple of 64 bytes, so that it can be used where it lies."""
        member = zipfile.ZipInfo(name, _EPOCH)
        start = self._stream.tell() + _HEADER + len(name.encode()) + _ZIP64 + _EXTRA
        padding = -start % 64
        member.extra = _PADDING_ID + padding.to_bytes(2, "little") + bytes(padding)
        with self._archive.open(member, "w", force_zip64=True) as stream:
            stream.write(content)


@contextmanager
def writing_features(path: Path, provenance: Provenance) -> Iterator[FeatureFileWriter]:
    """Give a writer of a feature file that appears, whole, when the block ends without an error."""
    with (
        replacing(path) as temporary,
        open(temporary, "wb") as stream,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive,
    ):
        writer = FeatureFileWriter(stream, archive)
        yield writer
        failures = [asdict(failure) for failure in writer.failures]
        writer.put("failures.json", canonical_json(failures).encode())
        writer.put("provenance.json", provenance.text().encode())


class FeatureFile:
    """A feature file for reading. It is opened for each access: a campaign may have thousands.

    Attributes
    ----------
    path : where it is
    provenance : where it came from
    failures : what failed
    tables : simulation key -> names of its tables, in the order in which they were returned

    Raises
    ------
    ResultError
        if the file is missing, is not whole or was not written by ephysflow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {member.filename: member for member in archive.infolist()}
                self.provenance = Provenance.from_text(archive.read("provenance.json"))
                self.failures = [Failure(**row) for row in json.loads(archive.read("failures.json"))]
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            raise ResultError(f"{path}: is not a whole feature file: {error}") from None
        except OSError as error:
            raise ResultError(f"{path}: cannot be read: {error.strerror}") from None
        self.tables: dict[str, list[str]] = {}
        for name in self._members:
            if name.endswith(".arrow"):
                simulation, _, table = name.partition("/")
                self.tables.setdefault(simulation, []).append(table.removesuffix(".arrow"))

    def schema(self, simulation: str, table: str) -> pa.Schema:
        """Return the columns of a table without reading it: the first message of Arrow's file format."""
        start, _ = self._place(simulation, table)
        head = self._content(start, 16)
        length = int.from_bytes(head[12:16].to_pybytes(), "little")
        try:
            return pa.ipc.read_schema(self._content(start + 8, 8 + length))
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"{self.path}: {simulation}/{table} is damaged: {error}") from None

    def read(self, simulation: str, table: str) -> pa.Table:
        """Read one table of one simulation; its checksum is verified."""
        start, member = self._place(simulation, table)
        content = self._content(start, member.file_size)
        if zlib.crc32(content) != member.CRC:
            raise ResultError(f"{self.path}: {simulation}/{table} is damaged: its checksum is wrong")
        try:
            return pa.ipc.open_file(pa.BufferReader(content)).read_all()
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"{self.path}: {simulation}/{table} is damaged: {error}") from None

    def _place(self, simulation: str, table: str) -> tuple[int, zipfile.ZipInfo]:
        """Return where the content of a member begins, and the member."""
        member = self._members.get(f"{simulation}/{table}.arrow")
        if member is None:
            raise ResultError(f"{self.path}: has no table {simulation}/{table}")
        lengths = self._content(member.header_offset + 26, 4).to_pybytes()  # of name and extra field
        extra = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        return member.header_offset + _HEADER + extra, member

    def _content(self, start: int, size: int) -> pa.Buffer:
        # not memory-mapped: what is mapped counts as memory of the process
        with pa.OSFile(str(self.path)) as file:
            file.seek(start)
            return file.read_buffer(size)

    def check(self) -> None:
        """Read everything against its checksums."""
        with zipfile.ZipFile(self.path) as archive:
            if damaged := archive.testzip():
                raise ResultError(f"{self.path}: {damaged} is damaged")
