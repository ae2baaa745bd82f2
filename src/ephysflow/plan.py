"""The plan: every job of a configuration and every file that it makes, known before anything runs.

The rules ask it for names of files and for the settings of each job; a job finds its own settings, by its key,
in the plan file that was written when the Snakefile was parsed.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ephysflow import paths
from ephysflow.campaign.analysis_plan import AnalysisPlan
from ephysflow.campaign.comparison_planning import ComparisonPlan
from ephysflow.ecephys.project_plan import ProjectPlan
from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.circuit_plan import CircuitPlan
from ephysflow.io.atomic import write_text
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.job import Job

SEPARATOR = "\t"


def job_key(parts: Iterable[str]) -> str:
    """Return the text by which a job is known, from the wildcards of its rule."""
    return SEPARATOR.join(part.rstrip("/") for part in parts)


@dataclass(frozen=True)
class Plan:
    """All jobs of one configuration.

    Attributes
    ----------
    results : folder of all outputs
    items : (step, key) -> canonical JSON text of the settings of that job
    code : step -> canonical JSON text of its code hash and of the versions of the packages that it uses
    cells : cell -> its protocols
    recording_files : cell -> its recording files, there or not
    buckets : bucket -> its cells
    sets : target set ('' is the main one) -> its protocols -> the buckets that have them
    analyses : (campaign, analysis) -> its plan
    comparisons : comparison of a model with a recording -> its plan
    circuits : circuit of the stage extracellular -> its plan
    projects : project of the stage ecephys -> its plan
    aside : step -> how its jobs work where that changes no result
    options : ``plots``, ``per_cell``, ``absolute_amplitude``, ``example_data`` of the configuration, and what of
        ``campaigns`` serves Python access only
    notes : what the user should know: options not honoured, protocols that no cell has
    origin : ``config`` and ``files`` that the plan was made from
    """

    results: Path
    items: Mapping[tuple[str, str], str]
    code: Mapping[str, str]
    cells: Mapping[str, Sequence[str]]
    recording_files: Mapping[str, Sequence[str]]
    buckets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    analyses: Mapping[tuple[str, str], AnalysisPlan] = field(default_factory=dict)
    comparisons: Mapping[str, ComparisonPlan] = field(default_factory=dict)
    circuits: Mapping[str, CircuitPlan] = field(default_factory=dict)
    projects: Mapping[str, ProjectPlan] = field(default_factory=dict)
    aside: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, step: str, *key: str) -> str:
        """Return the canonical JSON text of the settings of one job."""
        return self.items[step, job_key(key)]

    def existing_recordings(self, cell: str) -> list[str]:
        """Return the recording files of a cell that are there now or that the example makes; the job reports others."""
        made = self.example_recordings()
        return [file for file in self.recording_files[cell] if file in made or os.path.exists(file)]

    def example_recordings(self) -> list[str]:
        """Return the recording files that the embedded example makes; none for one's own data."""
        folder = self.options.get("example_data")
        if folder is None:
            return []
        files = sorted({file for files in self.recording_files.values() for file in files})
        return [file for file in files if Path(file).is_relative_to(folder)]

    def sweep_tables(self, cells: Iterable[str] | None = None) -> list[Path]:
        """Return the sweep tables of these cells; of all cells when none are given."""
        return [paths.sweep_table(self.results, cell) for cell in (self.cells if cells is None else cells)]

    def cell_exclusions(self) -> list[Path]:
        """Return the exclusion tables of all cells."""
        return [paths.cell_exclusions(self.results, cell) for cell in self.cells]

    def bucket_rheobase(self) -> list[Path]:
        """Return the rheobase tables of all buckets."""
        return [paths.bucket_rheobase(self.results, bucket) for bucket in self.buckets]

    def extraction_inputs(self, target_set: str, protocol: str, bucket: str) -> list[Path]:
        """Return what the extraction of one protocol and bucket reads."""
        item = json.loads(self.settings("extract_efeatures", target_set, protocol, bucket))
        relative = [] if item["absolute_amplitude"] else [paths.bucket_rheobase(self.results, bucket)]
        return self.sweep_tables(item["cells"]) + relative

    def extractions(self, target_set: str) -> list[Path]:
        """Return the feature tables of all protocols and buckets of a target set."""
        name = target_set.rstrip("/")
        return [
            paths.extraction(self.results, name, protocol, bucket)
            for protocol, buckets in self.sets[name].items()
            for bucket in buckets
        ]

    def grouping_inputs(self, target_set: str) -> list[Path]:
        """Return what the grouping of a target set reads."""
        cells = json.loads(self.settings("group_efeatures", target_set))["cells"]
        return [*self.sweep_tables(cells), paths.rheobase(self.results), *self.extractions(target_set)]

    def grouping_outputs(self, target_set: str) -> list[Path]:
        """Return what the grouping of a target set writes."""
        name = target_set.rstrip("/")
        return [
            *paths.model_fitting(self.results, name),
            paths.feature_table(self.results, name),
            paths.target_table(self.results, name),
        ]

    def grouping_inputs_of_cell(self, target_set: str, cell: str) -> list[Path]:
        """Return what the grouping of one cell alone reads."""
        item = json.loads(self.settings("group_efeatures_of_cell", target_set, cell))
        name = target_set.rstrip("/")
        return [
            paths.sweep_table(self.results, cell),
            paths.rheobase(self.results),
            *(
                paths.extraction(self.results, name, protocol, bucket)
                for protocol, buckets in item["extractions"].items()
                for bucket in buckets
            ),
        ]

    def per_cell_outputs(self, target_set: str) -> list[Path]:
        """Return the files for model fitting of each cell of a target set alone."""
        cells = json.loads(self.settings("group_efeatures", target_set))["cells"]
        return [
            path for cell in cells for path in paths.model_fitting_of_cell(self.results, target_set, cell)
        ]

    def analysis(self, wildcards: Any) -> AnalysisPlan:
        """Return the plan of the analysis that the wildcards of a rule name."""
        return self.analyses[wildcards.campaign, wildcards.analysis]

    def example_campaign(self) -> list[str]:
        """Return the files of simulations that the embedded example makes; none for one's own data."""
        return list(dict.fromkeys(file for analysis in self.analyses.values() for file in analysis.made))

    def campaign_outputs(self) -> list[Path]:
        """Return everything public of the stage campaign."""
        return [path for analysis in self.analyses.values() for path in analysis.outputs()]

    def campaigns(self, recorded: bool) -> list[str]:
        """Return the names of the campaigns of recorded sessions, or of those of simulations."""
        return list(
            dict.fromkeys(name for (name, _), plan in self.analyses.items() if plan.recorded == recorded)
        )

    def comparison_outputs(self) -> list[Path]:
        """Return the tables in which a model and a recording stand side by side."""
        return [comparison.output() for comparison in self.comparisons.values()]

    def example_extracellular(self) -> list[str]:
        """Return the files of circuits that the embedded example makes; none for one's own data."""
        return list(dict.fromkeys(file for circuit in self.circuits.values() for file in circuit.made))

    def extracellular_outputs(self) -> list[Path]:
        """Return everything public of the stage extracellular."""
        return [path for circuit in self.circuits.values() for path in circuit.outputs()]

    def example_ecephys(self) -> list[str]:
        """Return the session files that the embedded example makes; none for one's own data."""
        return list(dict.fromkeys(file for project in self.projects.values() for file in project.made))

    def ecephys_outputs(self) -> list[Path]:
        """Return everything public of the stage ecephys."""
        return [path for project in self.projects.values() for path in project.outputs()]

    def downloading_projects(self) -> list[str]:
        """Return the projects whose source is a warehouse."""
        return [name for name, project in self.projects.items() if project.downloads]

    def downloads(self) -> list[str]:
        """Return the names of all files that are downloaded, below the folders of downloads."""
        return sorted({file for project in self.projects.values() for file in project.downloads})

    def downloaded_before(self) -> list[Path]:
        """Return what was downloaded into the results and is used as it is (source fixed)."""
        files = [Path(file) for project in self.projects.values() for file in project.downloaded]
        return [file for file in files if file.is_relative_to(self.results)]

    def recordings_outputs(self) -> list[Path]:
        """Return every public table of the stage recordings."""
        return [*self.sweep_tables(), *self.cell_exclusions()]

    def efeatures_outputs(self) -> list[Path]:
        """Return every public table of the stage efeatures."""
        if not self.sets:
            return []
        outputs = [paths.rheobase(self.results)]
        for name in self.sets:
            outputs += self.grouping_outputs(name)
            if self.options["per_cell"]:
                outputs += self.per_cell_outputs(name)
        return outputs

    def plot_recordings_inputs(self, cell: str) -> list[Path]:
        """Return what the plot of a cell's sweeps reads."""
        bucket = json.loads(self.settings("plot_recordings", cell))["rheobase"]
        known = [] if bucket is None else [paths.bucket_rheobase(self.results, bucket)]
        return [paths.sweep_table(self.results, cell), *known]

    def plot_efeatures_inputs(self, target_set: str) -> list[Path]:
        """Return what the plots of features against amplitude read."""
        name = target_set.rstrip("/")
        return [paths.feature_table(self.results, name), paths.target_table(self.results, name)]

    def overview_inputs(self) -> list[Path]:
        """Return what f-I curves, impedance and the summary figure read."""
        tables = [path for name in self.sets for path in self.plot_efeatures_inputs(name)]
        return [*self.sweep_tables(), *self.bucket_rheobase(), *tables]

    def overview_outputs(self) -> list[Path]:
        """Return the plots over all cells."""
        return [
            paths.fi_curve_plot(self.results),
            paths.impedance_plot(self.results),
            paths.summary_plot(self.results),
        ]

    def plot_outputs(self) -> list[Path]:
        """Return every plot; none when the configuration asks for none."""
        if not self.options["plots"]:
            return []
        plots = [paths.recordings_plot(self.results, cell) for cell in self.cells]
        plots += [path for analysis in self.analyses.values() for path in analysis.plot_outputs()]
        plots += [path for circuit in self.circuits.values() for path in circuit.plot_outputs()]
        plots += [path for project in self.projects.values() for path in project.plot_outputs()]
        if self.sets:
            plots += self.overview_outputs()
            plots += [paths.efeatures_plot(self.results, name) for name in self.sets]
        return plots

    def summary_inputs(self) -> list[Path]:
        """Return what the summary tables are made of."""
        tables = [*self.sweep_tables(), *self.cell_exclusions()]
        if self.sets:
            tables.append(paths.rheobase(self.results))
            tables += [path for name in self.sets for path in self.plot_efeatures_inputs(name)]
        return tables

    def summary_outputs(self) -> list[Path]:
        """Return the table of exclusions and the tables for people."""
        return [paths.exclusions(self.results), *paths.summary_tables(self.results)]

    def all_outputs(self) -> list[Path]:
        """Return every public file of the configuration."""
        return [
            *self.recordings_outputs(),
            *self.efeatures_outputs(),
            *self.campaign_outputs(),
            *self.comparison_outputs(),
            *self.extracellular_outputs(),
            *self.ecephys_outputs(),
            *self.plot_outputs(),
            *(self.summary_outputs() if self.cells else []),
        ]

    def left_out(self) -> list[str]:
        """Return what a run that ended well should say: from where something was left out, and where the reasons are."""
        from ephysflow.io.tables import read_rows

        tables = {
            f"campaign {campaign}, analysis {name}": (
                paths.campaign_exclusions(self.results, campaign, name),
                f"ephysflow show {self.results}",
            )
            for campaign, name in self.analyses
        }
        for name, circuit in self.circuits.items():
            for table in circuit.exclusions():
                tables[f"circuit {name}, chunk {table.name.partition('.')[0]}"] = (table, str(table))
        for name in self.projects:
            table = paths.project_table(self.results, name, "exclusions")
            tables[f"project {name}"] = (table, f"ephysflow show {self.results}")
        if self.cells:
            tables["recordings"] = (
                paths.exclusions(self.results),
                str(self.results / "summary/exclusions.csv"),
            )
        lines = []
        for what, (table, reasons) in tables.items():
            rows = read_rows(table) if table.is_file() else []
            if count := sum(not row.get("kept") for row in rows):
                lines.append(f"{what}: {count} left out (why: {reasons})")
        return lines

    def write(self) -> Path:
        """Write the plan under its content hash, if it is not there yet, and return where."""
        head = {
            "results": str(self.results),
            "code": dict(self.code),
            "notes": list(self.notes),
            "aside": dict(self.aside),
            "origin": json.dumps(self.origin),  # a text, because the order of its keys may have a meaning
        }
        lines = [canonical_json(head)]
        lines += [
            SEPARATOR.join((step, canonical_json(key), text)) for (step, key), text in self.items.items()
        ]
        content = "\n".join(lines) + "\n"
        self._write_in_memory()
        path = paths.plan_folder(self.results) / f"plan-{digest(content)}.jsonl"
        if not path.is_file():
            write_text(path, content)
            os.utime(
                path, (0, 0)
            )  # a plan is as old as its last job, see `read_origin`; this one has run none
        return path

    def _write_in_memory(self) -> None:
        """Write what serves Python access only; no job depends on it, so no job could write it."""
        path = paths.campaigns_in_memory(self.results)
        content = json.dumps(self.options.get("campaigns", {}), indent=1)
        if self.analyses and not (path.is_file() and path.read_text(encoding="utf-8") == content):
            write_text(path, content)


def read_job(plan_file: Path, step: str, key: Sequence[str] = ()) -> Job:
    """Find the settings of one job in a plan file without reading those of the others.

    Raises
    ------
    ConfigurationError
        if the file is not a plan or does not have the job.
    """
    name = job_key(key)
    start = SEPARATOR.join((step, canonical_json(name), ""))
    known = []
    try:
        with open(plan_file, encoding="utf-8") as stream:
            head = json.loads(stream.readline())
            for line in stream:
                if line.startswith(start):
                    text = line[len(start) :].rstrip("\n")
                    code = json.loads(head["code"][step])
                    os.utime(plan_file)
                    return Job(
                        step,
                        name,
                        json.loads(text),
                        text,
                        code["code"],
                        code["versions"],
                        Path(head["results"]),
                        head["aside"].get(step, {}),
                    )
                if line.startswith(step + SEPARATOR):
                    known.append(line.split(SEPARATOR)[1])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"{plan_file}: is not a plan of ephysflow: {error}") from None
    raise ConfigurationError(
        f"{plan_file}: has no job {name!r} of step {step} (known: {', '.join(known[:20]) or 'none'})"
    )


def read_origin(results: Path) -> tuple[Mapping[str, Any], list[Path]]:
    """Return the configuration, and its files, that `results` was last planned with.

    Raises
    ------
    ConfigurationError
        if there is no plan in `results`.
    """
    plans = sorted(paths.plan_folder(results).glob("plan-*.jsonl"), key=lambda plan: plan.stat().st_mtime)
    if not plans:
        raise ConfigurationError(
            f"{results}: holds no plan of ephysflow; name the configuration with --config"
        )
    with open(plans[-1], encoding="utf-8") as stream:
        origin = json.loads(json.loads(stream.readline())["origin"])
    return origin["config"], [Path(file) for file in origin["files"]]
