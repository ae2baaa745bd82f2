"""The file of one computation: every table that a combination of parameters gave, for some simulations.

A zip file of Parquet tables, stored without further compression: ``<simulation key>/<table>.parquet``, beside
``provenance.json`` and ``failures.json``. One file a job, whatever tables a function returns, and each table has its
own columns. The key is ``all`` when the function ran over all simulations at once.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ephysflow.campaign.analysis_plan import ALL_SIMULATIONS
from ephysflow.errors import ResultError
from ephysflow.io.atomic import replacing
from ephysflow.io.canonical import canonical_json
from ephysflow.io.provenance import Provenance

INDEX_KEY = b"ephysflow.index"
"""Metadata of a table: JSON list of its index columns."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal work gives equal bytes


@dataclass(frozen=True)
class Failure:
    """A function that failed on one simulation (or on all together).

    Attributes
    ----------
    simulation : key of the simulation, or `ALL_SIMULATIONS`
    reason : what happened, with the group's key
    """

    simulation: str
    reason: str


class FeatureFileWriter:
    """Writes the tables of a computation one after the other; see `writing_features`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.failures: list[Failure] = []

    def add(self, simulation: str, name: str, table: pa.Table) -> None:
        """Add one table of one simulation."""
        stream = pa.BufferOutputStream()
        write_parquet(table, stream)
        self._put(f"{simulation}/{name}.parquet", memoryview(stream.getvalue()))

    def _put(self, name: str, content: memoryview | bytes) -> None:
        with self._archive.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as member:
            member.write(content)


@contextmanager
def writing_features(path: Path, provenance: Provenance) -> Iterator[FeatureFileWriter]:
    """Give a writer of a feature file that appears, whole, when the block ends without an error."""
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            writer = FeatureFileWriter(archive)
            yield writer
            failures = [asdict(failure) for failure in writer.failures]
            writer._put("failures.json", canonical_json(failures).encode())
            writer._put("provenance.json", provenance.text().encode())


class FeatureFile:
    """A feature file, opened for reading; use it in a ``with`` block.

    Raises
    ------
    ResultError
        if the file is missing, is not whole or was not written by ephysflow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self._content = pa.memory_map(str(path)).read_buffer()
            self.provenance = Provenance.from_text(self._archive.read("provenance.json"))
            self.failures = [Failure(**row) for row in json.loads(self._archive.read("failures.json"))]
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            raise ResultError(f"{path}: is not a whole feature file: {error}") from None

    def __enter__(self) -> "FeatureFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._archive.close()

    @property
    def tables(self) -> Mapping[str, Sequence[str]]:
        """Simulation key -> names of its tables, in the order in which they were returned."""
        found: dict[str, list[str]] = {}
        for name in self._archive.namelist():
            if name.endswith(".parquet"):
                simulation, _, table = name.partition("/")
                found.setdefault(simulation, []).append(table.removesuffix(".parquet"))
        return found

    def schema(self, simulation: str, table: str) -> pa.Schema:
        """Return the columns of a table without reading it."""
        return self._opened(simulation, table).schema_arrow

    def read(self, simulation: str, table: str) -> pa.Table:
        """Read one table of one simulation; its pages are checked against their checksums."""
        try:
            return self._opened(simulation, table).read()
        except (OSError, pa.ArrowException) as error:
            raise ResultError(f"{self.path}: {simulation}/{table} is damaged: {error}") from None

    def _opened(self, simulation: str, table: str) -> pq.ParquetFile:
        """Open a member in place: members are stored as they are, one after the other."""
        try:
            member = self._archive.getinfo(f"{simulation}/{table}.parquet")
            start = member.header_offset
            names = self._content[start + 26 : start + 30].to_pybytes()  # lengths of name and extra field
            start += 30 + int.from_bytes(names[:2], "little") + int.from_bytes(names[2:], "little")
            content = self._content[start : start + member.file_size]
            return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ResultError(f"{self.path}: {simulation}/{table} is damaged: {error}") from None

    def check(self) -> None:
        """Read everything against its checksums."""
        if damaged := self._archive.testzip():
            raise ResultError(f"{self.path}: {damaged} is damaged")


def write_parquet(table: pa.Table, target: pa.NativeFile | Path) -> None:
    """Write a table with the encodings that suit feature tables: dictionaries for keys, plain lists and floats."""
    with parquet_writer(table.schema, target) as writer:
        writer.write_table(table)


def parquet_writer(schema: pa.Schema, target: pa.NativeFile | Path) -> pq.ParquetWriter:
    """Open a writer of feature tables; floats are hardly compressible, and not compressing them is twice as fast."""
    keys = [f.name for f in schema if not pa.types.is_floating(f.type) and not pa.types.is_nested(f.type)]
    return pq.ParquetWriter(
        target,
        schema,
        compression="lz4",
        use_dictionary=keys,
        write_statistics=keys,
        write_page_checksum=True,
    )
