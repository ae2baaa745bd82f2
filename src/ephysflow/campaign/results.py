"""Results of campaigns as Python objects: nothing is computed, and nothing is read before it is asked for.

>>> results = open_results("results")                                        # doctest: +SKIP
>>> analysis = results.campaign.my_campaign.spikes                           # doctest: +SKIP
>>> analysis.repo.report.df, analysis.features.by_neuron_class.df            # doctest: +SKIP
>>> analysis.apply_filter({"seed": 1}).features.by_gid.with_conditions()     # doctest: +SKIP

Names that are not Python names are reached as items: ``results.campaign["my-campaign"]``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

import ephysflow.campaign.etl  # noqa: F401  the accessor belongs to the frames that are given out
from ephysflow import paths
from ephysflow.campaign.feature_file import INDEX_KEY
from ephysflow.campaign.query import Query
from ephysflow.campaign.repository import Repository, read_arrow, read_exclusions
from ephysflow.errors import ResultError

NOT_CONDITIONS = ("simulation_path", "simulation_id", "circuit_id")

T = TypeVar("T")


class NoSuchNameError(ResultError, AttributeError):
    """What was asked for as an attribute is not there."""


class Named(Generic[T]):
    """Things by name, as attributes and as items; made when they are asked for.

    Parameters
    ----------
    kind : what they are, for messages
    where : what holds them, for messages
    makers : name -> function that makes it
    """

    def __init__(self, kind: str, where: str, makers: Mapping[str, Callable[[], T]]) -> None:
        self._kind, self._where, self._makers = kind, where, makers
        self._made: dict[str, T] = {}

    @property
    def names(self) -> list[str]:
        """What is there."""
        return list(self._makers)

    def __getitem__(self, name: str) -> T:
        if name not in self._makers:
            raise ResultError(self._missing(name))
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __getattr__(self, name: str) -> T:
        if name.startswith("_"):  # Python and notebooks look for methods that are not there
            raise AttributeError(name)
        if name not in self._makers:
            raise NoSuchNameError(self._missing(name))
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self._makers if name.isidentifier())]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __repr__(self) -> str:
        return f"<{self._kind} of {self._where}: {', '.join(self._makers) or 'none'}>"

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def _missing(self, name: str) -> str:
        return f"{self._where}: has no {name!r} among its {self._kind} (there are: {', '.join(self._makers) or 'none'})"


class FeatureTable:
    """One feature table.

    Attributes
    ----------
    name : of its file
    config : the resolved feature entry that it comes from, or the names of the tables that it was stacked from
    """

    def __init__(self, analysis: "Analysis", path: Path, entry: Mapping[str, Any]) -> None:
        self.name = path.name.removesuffix(".parquet")
        self.config = dict(entry.get("config", entry))
        self._analysis, self._path = analysis, path

    @cached_property
    def df(self) -> pd.DataFrame:
        """The whole table; the entry's settings are in ``df.attrs["config"]``."""
        return self.read()

    @property
    def params(self) -> pd.DataFrame:
        """Parameters of each combination, by params_id; only of a table that holds several combinations."""
        return self._beside("params").set_index("params_id")

    @property
    def aliases(self) -> pd.DataFrame:
        """Parameters that vary and the columns that they are in; only of a table that holds several combinations."""
        return self._beside("aliases")

    def read(
        self, columns: Sequence[str] | None = None, simulations: int | Sequence[int] | Query = None
    ) -> pd.DataFrame:
        """Read some columns and rows; nothing of it is kept.

        Parameters
        ----------
        columns : names of columns; None for all. Index columns are always read
        simulations : id, ids, or a query on conditions and simulation_id; None for all

        Raises
        ------
        ResultError
            if the table cannot be read, has no such column, or its rows do not belong to single simulations.
        """
        schema = _schema(self._path)
        index = _index_columns(self._path, schema)
        names = list(schema.names)
        if columns is not None:
            if unknown := [name for name in columns if name not in names]:
                raise ResultError(f"{self._path}: has no {', '.join(unknown)} (columns: {', '.join(names)})")
            names = list(dict.fromkeys([*index, *columns]))
        ids = self._analysis.chosen(simulations)
        rows = None
        if ids is not None:
            if "simulation_id" not in schema.names:
                raise ResultError(
                    f"{self._path}: its rows are over all simulations (groupby has no simulation_id), so that it "
                    "cannot be filtered; set simulations_filter in the configuration and run again"
                )
            rows = pyarrow.dataset.field("simulation_id").isin(list(ids))
        frame = read_arrow(self._path, names, rows).to_pandas(ignore_metadata=True)
        if index:
            frame = frame.set_index(index)
        frame.attrs["config"] = self.config
        return frame

    def with_conditions(self) -> pd.DataFrame:
        """Return the table with the conditions of its simulations as further columns."""
        return self._analysis.with_conditions(self.df)

    def __repr__(self) -> str:
        several = ", .params, .aliases" if "concatenated_from" in self.config else ""
        return f"<feature table {self.name}: .df{several}>"

    def _beside(self, what: str) -> pd.DataFrame:
        path = self._path.with_name(f"{self.name}.{what}.parquet")
        if not path.exists():
            raise ResultError(
                f"{self.name}: is of one combination of parameters and has no {what}; its parameters: .config['params']"
            )
        return read_arrow(path).to_pandas(integer_object_nulls=True, ignore_metadata=True)


class Analysis:
    """One analysis of a campaign.

    Attributes
    ----------
    folder : where its results are
    repo : the extraction tables
    features : the feature tables by name
    custom : what the configuration holds for the user's own code
    simulations_filter_in_memory : default of `apply_filter`
    """

    def __init__(
        self, folder: Path, settings: Callable[[], Mapping[str, Any]], chosen: Sequence[int] | None = None
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._chosen = chosen

    @cached_property
    def repo(self) -> Repository:
        """The extraction tables."""
        folder = self.folder / "repo"
        if not folder.is_dir():
            raise ResultError(f"{folder}: is not there; the extraction of this analysis has not ended")
        whole = Repository.from_folder(folder)
        return whole if self._chosen is None else whole.filtered(self._chosen)

    @cached_property
    def features(self) -> Named[FeatureTable]:
        """The feature tables by name."""
        folder = self.folder / "features"
        entries = _json(folder / "entries.json") if (folder / "entries.json").exists() else {}
        stems = [path.name.removesuffix(".parquet") for path in sorted(folder.glob("*.parquet"))]
        beside = (".params", ".aliases")
        names = [
            name for name in entries or stems if name in stems and (entries or not name.endswith(beside))
        ]

        def maker(name: str) -> Callable[[], FeatureTable]:
            return lambda: FeatureTable(self, folder / f"{name}.parquet", entries.get(name, {}))

        return Named("feature tables", str(folder), {name: maker(name) for name in names})

    @property
    def custom(self) -> dict[str, Any]:
        """What the configuration holds for the user's own code."""
        return dict(self._settings().get("custom") or {})

    @property
    def simulations_filter_in_memory(self) -> Query:
        """The filter of the configuration that `apply_filter` takes by default."""
        return self._settings().get("simulations_filter_in_memory") or {}

    @cached_property
    def exclusions(self) -> pd.DataFrame:
        """What was left out or is doubtful: stage, simulation_id, simulation_path, subject, reason, kept."""
        return read_exclusions(self.folder / "exclusions.parquet")

    def apply_filter(self, simulations_filter: Query = None) -> "Analysis":
        """Return the analysis of some simulations; this one and its files stay as they are.

        Parameters
        ----------
        simulations_filter : query on conditions and simulation_id; by default `simulations_filter_in_memory`

        Raises
        ------
        ConfigurationError
            if the query is malformed or names an unknown condition.
        """
        query = self.simulations_filter_in_memory if simulations_filter is None else simulations_filter
        ids = self.repo.simulations.df.etl.q(query)["simulation_id"].tolist()
        return Analysis(self.folder, self._settings, ids)

    def chosen(self, simulations: int | Sequence[int] | Query) -> Sequence[int] | None:
        """Return the ids that `simulations` (ids or a query) leaves of this analysis; None for all."""
        if simulations is None:
            return self._chosen
        given: Any = simulations
        if np.isscalar(given) or isinstance(given, Mapping):
            given = [given]
        if any(isinstance(part, Mapping) for part in given):
            return self.repo.simulations.df.etl.q(given)["simulation_id"].tolist()
        known = self.repo.simulation_ids
        if unknown := [number for number in given if number not in known]:
            raise ResultError(
                f"simulation_id {unknown}: not there (known: {', '.join(map(str, known)) or 'none'})"
            )
        return [int(number) for number in given]

    def with_conditions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame with the conditions of its simulations (seed, ...) as further columns.

        Raises
        ------
        ResultError
            if the frame has no simulation_id, or a column is called like a condition.
        """
        if "simulation_id" in frame.columns:
            ids = frame["simulation_id"].to_numpy()
        elif "simulation_id" in frame.index.names:
            ids = frame.index.get_level_values("simulation_id").to_numpy()
        else:
            raise ResultError("conditions: the table has no simulation_id, its rows are over all simulations")
        simulations = self.repo.simulations.df.set_index("simulation_id")
        names = [name for name in simulations.columns if name not in NOT_CONDITIONS]
        if twice := [name for name in names if name in frame.columns or name in frame.index.names]:
            raise ResultError(
                f"conditions: the table has a column called {', '.join(twice)}; rename it first"
            )
        rows = simulations.index.get_indexer(pd.Index(ids))
        result = frame.assign(**{name: simulations[name].array.take(rows, allow_fill=True) for name in names})
        result.attrs = dict(frame.attrs)
        return result

    def __repr__(self) -> str:
        some = "" if self._chosen is None else f", simulations {', '.join(map(str, self._chosen)) or 'none'}"
        features = ", ".join(self.features.names) or "none"
        return f"<analysis {self.folder.parent.name}/{self.folder.name}{some}: .repo, .features ({features})>"


class Results:
    """A results folder.

    Attributes
    ----------
    folder : where it is
    campaign : campaigns by name, of each its analyses by name
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def campaign(self) -> Named[Named[Analysis]]:
        """The campaigns by name, of each its analyses by name."""
        base = self.folder / "campaign"
        if not base.is_dir():
            there = ", ".join(_folders(self.folder)) or "nothing"
            raise ResultError(f"{self.folder}: has no results of simulation campaigns (there is: {there})")

        def analysis(campaign: str, name: str) -> Callable[[], Analysis]:
            folder = paths.campaign_folder(self.folder, campaign, name)
            return lambda: Analysis(folder, lambda: self._settings.get(campaign, {}).get(name, {}))

        def analyses(campaign: str) -> Callable[[], Named[Analysis]]:
            names = _folders(base / campaign)
            makers = {name: analysis(campaign, name) for name in names}
            return lambda: Named("analyses", f"campaign {campaign}", makers)

        return Named("campaigns", str(self.folder), {name: analyses(name) for name in _folders(base)})

    def __repr__(self) -> str:
        campaigns = _folders(self.folder / "campaign")
        return f"<results in {self.folder}: .campaign ({', '.join(campaigns) or 'none'})>"

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        """What of the campaigns' configurations serves no job: custom, simulations_filter_in_memory."""
        path = paths.campaigns_in_memory(self.folder)
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ResultError(f"{path}: cannot be read: {error}") from None


def open_results(folder: str | Path = "results") -> Results:
    """Open a results folder.

    Raises
    ------
    ResultError
        if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ResultError(f"{folder}: no such folder")
    return Results(folder)


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise ResultError(f"{path}: cannot be read as a Parquet table: {error}") from None


def _index_columns(path: Path, schema: pa.Schema) -> list[str]:
    text = (schema.metadata or {}).get(INDEX_KEY, b"[]")
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or any(name not in schema.names for name in names):
        raise ResultError(f"{path}: its metadata names index columns that it does not have: {text!r}")
    return names


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ResultError(f"{path}: must be a mapping of table name -> feature entry")
    return content
