"""The plan of one project: which files each of its jobs reads and makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ephysflow import paths

SESSION_PLOT_PRODUCTS = ("units", "channels", "spikes", "stimulus_presentations")
"""What the plots of a session read."""


@dataclass(frozen=True)
class PlannedSession:
    """One session whose file is there, or will be.

    Attributes
    ----------
    file : session NWB
    products : name of a file -> LFP file that it is made of, None for most
    metrics : file of analysis metrics of its units, or None
    """

    file: str
    products: Mapping[str, str | None]
    metrics: str | None


@dataclass(frozen=True)
class ProjectPlan:
    """Jobs and files of one project.

    Attributes
    ----------
    results, project : where its files are
    sessions : id -> session
    raw_tables : table -> its file; {} where tables are made of the session files
    downloads : names of the files that are downloaded, below `paths.downloads`
    downloaded : files that were downloaded before and are used as they are (source fixed)
    metrics : session type -> raw file of its analysis metrics
    made : session files that the example makes; they count as being there
    """

    results: Path
    project: str
    sessions: Mapping[str, PlannedSession]
    raw_tables: Mapping[str, str]
    downloads: Sequence[str]
    downloaded: Sequence[str]
    metrics: Mapping[str, str]
    made: Sequence[str]

    def index_inputs(self, session: str) -> list[str]:
        """Return what the index of a session is made of."""
        return [self.sessions[session].file]

    def index_outputs(self, session: str) -> list[Path]:
        """Return what a session file is, and its part of the tables."""
        return paths.session_index(self.results, self.project, session)

    def product_inputs(self, session: str, file_name: str) -> list[str | Path]:
        """Return what a product of a session is made of.

        The session file is not among them: the index holds its digest, and Snakemake would read some GB for each product
        to compare it.
        """
        from ephysflow.ecephys.products import PRODUCTS, product_of  # rules of other stages need no registry

        planned = self.sessions[session]
        arguments = PRODUCTS[product_of(file_name)[0]].arguments
        files: list[str | Path] = [self.index_outputs(session)[0]]
        if "channels" in arguments and self.raw_tables:
            files.append(self.raw_tables["channels"])
        if "metrics" in arguments and planned.metrics is not None:
            files.append(planned.metrics)
        lfp_file = planned.products[file_name]
        return files if lfp_file is None else [*files, lfp_file]

    def tables_inputs(self) -> list[str | Path]:
        """Return what the tables of the project are made of."""
        return list(self.raw_tables.values() or self.indices())

    def tables_outputs(self) -> list[Path]:
        """Return the tables over all sessions, and what was found when they were made."""
        tables = [paths.project_table(self.results, self.project, name) for name in paths.PROJECT_TABLES]
        return [*tables, paths.project_findings(self.results, self.project)]

    def exclusions_inputs(self) -> list[str | Path]:
        """Return what the table of exclusions is made of."""
        metrics = [self.raw_tables["units"], *self.metrics.values()] if self.metrics else []
        indices = [self.index_outputs(session)[0] for session in self.sessions]
        findings = paths.project_findings(self.results, self.project)
        return [findings, *indices, *self.product_outputs(), *metrics]

    def exclusions_output(self) -> Path:
        """Return the table of what was left out of the project, or is doubtful."""
        return paths.project_table(self.results, self.project, "exclusions")

    def metrics_inputs(self, session_type: str) -> list[str | Path]:
        """Return what the table of analysis metrics of a session type is made of."""
        tables = [paths.project_table(self.results, self.project, name) for name in ("units", "sessions")]
        return [self.metrics[session_type], *tables]

    def metrics_outputs(self) -> list[Path]:
        """Return the tables of analysis metrics."""
        return [paths.analysis_metrics(self.results, self.project, name) for name in self.metrics]

    def product_outputs(self) -> list[Path]:
        """Return the products of all sessions."""
        return [
            paths.session_product(self.results, self.project, session, file_name)
            for session, planned in self.sessions.items()
            for file_name in planned.products
        ]

    def download_outputs(self) -> list[Path]:
        """Return the files that are downloaded."""
        folder = paths.downloads(self.results, self.project)
        return [folder / name for name in self.downloads]

    def units_plot_inputs(self) -> list[Path]:
        """Return what the plots of all units read."""
        names = ("annotated_units", "unit_quality", "unit_filters")
        return [paths.project_table(self.results, self.project, name) for name in names]

    def session_plot_inputs(self, session: str) -> list[Path]:
        """Return what the plots of a session read."""
        where = (self.results, self.project, session)
        return [paths.session_product(*where, f"{name}.parquet") for name in SESSION_PLOT_PRODUCTS]

    def plot_outputs(self) -> list[Path]:
        """Return all plots: of sessions whose products are there to be drawn."""
        needed = {f"{name}.parquet" for name in SESSION_PLOT_PRODUCTS}
        drawn = [session for session, planned in self.sessions.items() if needed <= planned.products.keys()]
        names = ["units", *(f"session_{session}" for session in drawn)]
        return [paths.project_plot(self.results, self.project, name) for name in names]

    def indices(self) -> list[Path]:
        """Return the indices of all sessions."""
        return [file for session in self.sessions for file in self.index_outputs(session)]

    def outputs(self) -> list[Path]:
        """Return everything public of the project, plots aside."""
        return [
            *self.tables_outputs(),
            self.exclusions_output(),
            *self.metrics_outputs(),
            *self.indices(),
            *self.product_outputs(),
            *self.download_outputs(),
        ]
