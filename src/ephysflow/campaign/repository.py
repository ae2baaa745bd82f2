"""The extraction tables of an analysis as pandas frames: ``repo`` of user functions and of Python access.

Nothing is read before it is asked for. The report of a big campaign need not be read whole:
``repo.report.read(simulation_id=0, columns=["gid", "time"], window="w1")``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from ephysflow.errors import ResultError, SimulationError

TABLES = ("simulations", "neurons", "neuron_classes", "windows")

ReadReport = Callable[[Sequence[int], Sequence[str] | None, Sequence[str] | None], pd.DataFrame]
"""``read(simulation_ids, columns or None, windows or None)`` -> rows, simulation by simulation."""

_ORDER = {
    "simulations": (),  # conditions first, in the order of the campaign file
    "neurons": ("circuit_id", "neuron_class", "gid", "neuron_class_index"),
    "neuron_classes": (
        *("circuit_id", "neuron_class", "count", "limit", "population", "node_set", "gids", "query"),
    ),
    "windows": (
        *("simulation_id", "circuit_id", "window", "trial", "offset"),
        *("t_start", "t_stop", "t_step", "duration", "window_type"),
    ),
}
_LAST = {"simulations": ("simulation_path", "simulation_id", "circuit_id")}
_WHERE = ("window", "trial", "simulation_id", "circuit_id", "neuron_class")
_DTYPES = {
    **dict.fromkeys(("simulation_id", "circuit_id", "trial"), "int32"),
    **dict.fromkeys(("gid", "neuron_class_index", "count"), "int64"),
    **dict.fromkeys(("time", "offset", "t_start", "t_stop", "t_step", "duration"), "float64"),
    "value": "float32",
}
_LABELS = ("neuron_class", "window")
LIVE_OBJECTS = ("simulation", "circuit")
LIVE_OBJECTS_TEXT = (
    "repo.simulations.df holds no live simulation and circuit objects; "
    "open the row's simulation_path with bluepysnap: bluepysnap.Simulation(row.simulation_path)"
)


class SimulationsFrame(pd.DataFrame):
    """Table of simulations that says where to get what BlueETL kept in it as live objects."""

    @property
    def _constructor(self) -> type["SimulationsFrame"]:
        return SimulationsFrame

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and key in LIVE_OBJECTS and key not in self.columns:
            raise SimulationError(LIVE_OBJECTS_TEXT)
        return super().__getitem__(key)


class RepositoryTable:
    """One table; `df` is read at its first use.

    Attributes
    ----------
    name : simulations, neurons, neuron_classes or windows
    """

    def __init__(self, name: str, load: Callable[[], pd.DataFrame]) -> None:
        self.name = name
        self._load = load

    @cached_property
    def df(self) -> pd.DataFrame:
        """The table with its columns in the order of BlueETL; labels are categories in alphabetical order."""
        frame = arranged(self.name, self._load())
        return SimulationsFrame(frame) if self.name == "simulations" else frame

    def __repr__(self) -> str:
        return f"<table {self.name}: .df>"


class ReportTable:
    """Rows of the reports of some simulations: `df` is all of them, `read` some."""

    name = "report"

    def __init__(
        self,
        read: ReadReport,
        simulation_ids: Callable[[], Sequence[int]],
        labels: Callable[[], Mapping[str, Sequence[str]]],
    ) -> None:
        self._read = read
        self._simulation_ids = simulation_ids
        self._labels = labels

    @cached_property
    def df(self) -> pd.DataFrame:
        """All rows, in memory from now on."""
        return self.read()

    def read(
        self,
        simulation_id: int | Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        window: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Read some rows and columns; nothing of it is kept.

        Parameters
        ----------
        simulation_id : of one simulation or several; None for all
        columns : names; None for all
        window : one label or several; None for all

        Raises
        ------
        ResultError
            if there is no such simulation, or the report cannot be read.
        """
        known = [int(number) for number in self._simulation_ids()]
        wanted = known
        if simulation_id is not None:
            asked = [simulation_id] if np.isscalar(simulation_id) else list(simulation_id)  # type: ignore[arg-type]
            if unknown := [number for number in asked if number not in known]:
                raise ResultError(
                    f"report: simulation_id {unknown} is not there (known: {', '.join(map(str, known)) or 'none'})"
                )
            wanted = [number for number in known if number in asked]
        windows = [window] if isinstance(window, str) else None if window is None else list(window)
        frame = self._read(wanted, columns, windows)
        return arranged("report", frame, self._labels(), columns)

    def __repr__(self) -> str:
        return "<table report: .df, .read(simulation_id, columns, window)>"


class Repository:
    """Extraction tables of one analysis.

    Attributes
    ----------
    simulations, neurons, neuron_classes, windows, report : tables with ``.df`` and ``.name``
    """

    def __init__(
        self,
        loaders: Mapping[str, Callable[[], pd.DataFrame]],
        read_report: ReadReport,
        exclusions: Callable[[], pd.DataFrame],
    ) -> None:
        self.simulations, self.neurons, self.neuron_classes, self.windows = (
            RepositoryTable(name, loaders[name]) for name in TABLES
        )
        self.report = ReportTable(read_report, lambda: self.simulation_ids, self._labels)
        self._read_report = read_report
        self._exclusions = exclusions

    @classmethod
    def from_folder(cls, folder: Path, simulation_id: int | None = None) -> "Repository":
        """Open published extraction tables, or what of them belongs to one simulation.

        Parameters
        ----------
        folder : with ``simulations.parquet`` and the others, and the partitions of the report
        simulation_id : the only one to show
        """

        def load(name: str) -> Callable[[], pd.DataFrame]:
            return lambda: _to_pandas(read_arrow(folder / f"{name}.parquet"))

        opened = cls(
            {name: load(name) for name in TABLES},
            partial(_read_partitions, folder / "report"),
            partial(read_exclusions, folder / "exclusions.parquet"),
        )
        return opened if simulation_id is None else opened.filtered([simulation_id])

    @classmethod
    def from_frames(
        cls,
        frames: Mapping[str, pd.DataFrame | Callable[[], pd.DataFrame]],
        report: pd.DataFrame | Callable[[int], pd.DataFrame],
        exclusions: Callable[[], pd.DataFrame] | None = None,
    ) -> "Repository":
        """Make a repository of frames, or of what loads them.

        Parameters
        ----------
        frames : simulations, neurons, neuron_classes, windows; each a frame or ``load() -> frame``
        report : all rows; or ``load(simulation_id) -> rows of one simulation`` (its id columns may be absent), which
            is called anew at each use, so that one simulation is in memory at a time
        exclusions : loads what was left out; nothing was when it is not given
        """

        def loader(given: pd.DataFrame | Callable[[], pd.DataFrame]) -> Callable[[], pd.DataFrame]:
            return given if callable(given) else lambda: given

        def read_report(
            ids: Sequence[int], columns: Sequence[str] | None, windows: Sequence[str] | None
        ) -> pd.DataFrame:
            if isinstance(report, pd.DataFrame):
                rows = report[report["simulation_id"].isin(ids)]
            else:
                simulations = made.simulations.df
                circuits = dict(zip(simulations["simulation_id"], simulations["circuit_id"], strict=True))
                rows = _joined([_with_ids(report(number), number, circuits[number]) for number in ids])
            if windows is not None:
                rows = rows[rows["window"].isin(windows)]
            return (rows if columns is None else rows[list(columns)]).reset_index(drop=True)

        made = cls({name: loader(frames[name]) for name in TABLES}, read_report, exclusions or no_exclusions)
        return made

    @property
    def names(self) -> list[str]:
        """Names of the tables."""
        return [*TABLES, "report"]

    @property
    def simulation_ids(self) -> list[int]:
        """Ids of the simulations that are there."""
        return [int(number) for number in self.simulations.df["simulation_id"]]

    def missing_simulations(self) -> pd.DataFrame:
        """Return the simulations that were left out: simulation_id, simulation_path, stage, reason."""
        rows = self._exclusions()
        left_out = ~rows["kept"].astype(bool) & rows["simulation_id"].notna()
        left_out &= rows["stage"].isin(["simulations", "report"])
        columns = ["simulation_id", "simulation_path", "stage", "reason"]
        return rows.loc[left_out, columns].astype({"simulation_id": "int32"}).reset_index(drop=True)

    def filtered(self, simulation_ids: Sequence[int]) -> "Repository":
        """Return the repository of some simulations and their circuits; nothing is read by this."""
        ids = list(simulation_ids)

        def of_simulations(table: RepositoryTable) -> Callable[[], pd.DataFrame]:
            return lambda: table.df[table.df["simulation_id"].isin(ids)].reset_index(drop=True)

        def of_circuits(table: RepositoryTable) -> Callable[[], pd.DataFrame]:
            def load() -> pd.DataFrame:
                simulations = self.simulations.df
                kept = simulations.loc[simulations["simulation_id"].isin(ids), "circuit_id"]
                return table.df[table.df["circuit_id"].isin(kept)].reset_index(drop=True)

            return load

        loaders = {
            "simulations": of_simulations(self.simulations),
            "neurons": of_circuits(self.neurons),
            "neuron_classes": of_circuits(self.neuron_classes),
            "windows": of_simulations(self.windows),
        }
        return Repository(loaders, self._read_report, self._exclusions)

    def __repr__(self) -> str:
        return f"<repository: {', '.join(self.names)}>"

    def _labels(self) -> dict[str, Sequence[str]]:
        tables = {"neuron_class": self.neurons.df, "window": self.windows.df}
        return {name: list(frame[name].cat.categories) for name, frame in tables.items()}


def arranged(
    table: str,
    frame: pd.DataFrame,
    labels: Mapping[str, Sequence[str]] | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table with BlueETL's order of columns and dtypes.

    Ids and trials are 32-bit integers, where BlueETL's 16 bits wrap around; classes and windows are categories in
    alphabetical order.

    Parameters
    ----------
    table : name of the table
    labels : column -> categories that it has at least
    columns : the order that was asked for, instead of the usual one
    """
    if columns is None:
        columns = _column_order(table, list(frame.columns))
    changed: dict[str, Any] = {}
    for name in columns:
        values = frame[name]
        if name in _LABELS:
            changed[name] = _categories(values, (labels or {}).get(name, ()))
        elif name in _DTYPES and values.dtype != _DTYPES[name]:
            changed[name] = values.astype(np.dtype(_DTYPES[name]))
    return frame[list(columns)].assign(**changed)


def read_arrow(path: Path, columns: Sequence[str] | None = None, rows: Any = None) -> pa.Table:
    """Read a published table.

    Parameters
    ----------
    path : of the Parquet file
    columns : names; None for all
    rows : expression of `pyarrow.dataset` that rows must match; None for all

    Raises
    ------
    ResultError
        if the file is missing or damaged.
    """
    try:
        return pq.read_table(
            path,
            columns=None if columns is None else list(columns),
            filters=rows,
            partitioning=None,  # folders may be called anything
            page_checksum_verification=True,
        )
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{path}: cannot be read as a Parquet table: {error}") from None


def read_exclusions(path: Path) -> pd.DataFrame:
    """Read what was left out: stage, simulation_id, simulation_path, subject, reason, kept; none if absent."""
    return _to_pandas(read_arrow(path)) if path.exists() else no_exclusions()


def no_exclusions() -> pd.DataFrame:
    """Return the table of what was left out when nothing was."""
    names = ("stage", "simulation_id", "simulation_path", "subject", "reason", "kept")
    return pd.DataFrame({name: pd.Series(dtype=bool if name == "kept" else object) for name in names})


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    # BlueETL keeps integers with gaps (limit) as objects; floats would make ids of them
    return table.to_pandas(integer_object_nulls=True, ignore_metadata=True)


def _read_partitions(
    folder: Path, ids: Sequence[int], columns: Sequence[str] | None, windows: Sequence[str] | None
) -> pd.DataFrame:
    wanted = set(ids)
    found: list[tuple[int, str]] = []
    for path in folder.glob("circuit_id=*/simulation_id=*/*.parquet"):
        number = path.parent.name.partition("=")[2]
        if number.isdigit() and int(number) in wanted:
            found.append((int(number), str(path)))
    if missing := wanted - {number for number, _ in found}:
        raise ResultError(f"{folder}: has no report of simulation_id {', '.join(map(str, sorted(missing)))}")
    if not found:
        empty = _no_rows()
        return empty if columns is None else empty[list(columns)]
    ids_in_path = pa.schema([("circuit_id", pa.int32()), ("simulation_id", pa.int32())])
    try:
        dataset = pyarrow.dataset.dataset(
            [path for _, path in sorted(found)],
            format="parquet",
            partitioning=pyarrow.dataset.partitioning(ids_in_path, flavor="hive"),
            partition_base_dir=str(folder),
        )
        if columns is not None and (unknown := set(columns) - set(dataset.schema.names)):
            raise ResultError(
                f"report: has no column {', '.join(sorted(unknown))} (known: {', '.join(dataset.schema.names)})"
            )
        rows = None
        if windows is not None:
            rows = pyarrow.dataset.field("window").cast(pa.string()).isin(list(windows))
        table = dataset.to_table(columns=None if columns is None else list(columns), filter=rows)
        return _to_pandas(table.unify_dictionaries())
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{folder}: the report cannot be read: {error}") from None


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series(dtype=_DTYPES.get(name, object)) for name in ("time", "gid", *_WHERE)}
    )


def _with_ids(rows: pd.DataFrame, simulation_id: int, circuit_id: int) -> pd.DataFrame:
    ids = {"simulation_id": np.int32(simulation_id), "circuit_id": np.int32(circuit_id)}
    return rows.assign(**{name: value for name, value in ids.items() if name not in rows.columns})


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _no_rows()
    labels = {
        name: sorted({str(label) for part in parts for label in part[name].unique()})
        for name in _LABELS
        if name in parts[0].columns
    }
    aligned = [
        part.assign(**{name: _categories(part[name], known) for name, known in labels.items()})
        for part in parts
    ]
    return pd.concat(aligned, ignore_index=True)


def _column_order(table: str, present: list[str]) -> list[str]:
    if table == "report":
        first: tuple[str, ...] = ("time", "gid")
        if "value" in present:
            first = ("gid", "section", "time", "value")
        order: tuple[str, ...] = (*first, *_WHERE)
    else:
        order = _ORDER[table]
    last = [name for name in _LAST.get(table, ()) if name in present]
    ordered = [name for name in order if name in present]
    return [*ordered, *(name for name in present if name not in (*ordered, *last)), *last]


def _categories(values: pd.Series, at_least: Sequence[str]) -> pd.Series:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype("category")
    categories = sorted({*values.cat.categories, *at_least})
    return values if list(values.cat.categories) == categories else values.cat.set_categories(categories)
