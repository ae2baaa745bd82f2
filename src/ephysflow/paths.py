"""Names of result files: one place for the rules, the jobs and the readers of results."""

from pathlib import Path


def sweep_table(results: Path, cell: str) -> Path:
    """Sweeps of one cell."""
    return results / "recordings" / f"{cell}.parquet"


def cell_exclusions(results: Path, cell: str) -> Path:
    """What of one cell's recordings could not be used."""
    return results / "recordings" / "exclusions" / f"{cell}.parquet"


def exclusions(results: Path) -> Path:
    """What could not be used, all cells and stages."""
    return results / "recordings" / "exclusions.parquet"


def bucket_rheobase(results: Path, bucket: str) -> Path:
    """Rheobase and spike counts of the cells of one bucket."""
    return results / "efeatures" / "rheobase" / f"{bucket}.parquet"


def rheobase(results: Path) -> Path:
    """Rheobase of all cells."""
    return results / "efeatures" / "rheobase.parquet"


def set_folder(results: Path, target_set: str) -> Path:
    """Folder of a target set; the set without a name is the main one."""
    return results / "efeatures" / target_set


def extraction(results: Path, target_set: str, protocol: str, bucket: str) -> Path:
    """Feature values of one protocol and bucket of cells."""
    return set_folder(results, target_set) / "extraction" / protocol / f"{bucket}.parquet"


MODEL_FITTING_FILES = ("features.json", "protocols.json", "currents.json", "provenance.json")
"""What model fitting reads, with the record of where it came from."""


def model_fitting(results: Path, target_set: str) -> list[Path]:
    """Files for model fitting of a target set."""
    return [set_folder(results, target_set) / name for name in MODEL_FITTING_FILES]


def model_fitting_of_cell(results: Path, target_set: str, cell: str) -> list[Path]:
    """Files for model fitting of one cell alone."""
    return [set_folder(results, target_set) / "per_cell" / cell / name for name in MODEL_FITTING_FILES]


def feature_table(results: Path, target_set: str) -> Path:
    """Every sweep x feature value of a target set."""
    return set_folder(results, target_set) / "sweeps.parquet"


def target_table(results: Path, target_set: str) -> Path:
    """Every target of a target set with its mean, std, n and the sweeps that it was taken from."""
    return set_folder(results, target_set) / "targets.parquet"


def recordings_plot(results: Path, cell: str) -> Path:
    """Sweeps of one cell, protocol by protocol."""
    return results / "plots" / "recordings" / f"{cell}.pdf"


def efeatures_plot(results: Path, target_set: str) -> Path:
    """Features against amplitude with their targets."""
    return results / "plots" / "efeatures" / target_set / "features.pdf"


def fi_curve_plot(results: Path) -> Path:
    """f-I curve of each cell with its rheobase."""
    return results / "plots" / "fi_curves.pdf"


def impedance_plot(results: Path) -> Path:
    """Impedance against frequency of each cell with SineSpec sweeps."""
    return results / "plots" / "impedance.pdf"


def summary_plot(results: Path) -> Path:
    """One figure of the run."""
    return results / "plots" / "summary.png"


SUMMARY_TABLES = ("exclusions.csv", "flagged_sweeps.csv", "rheobase.csv", "targets.csv")
"""Tables for people, shown in the report."""


def summary_tables(results: Path) -> list[Path]:
    """Tables of the report."""
    return [results / "summary" / name for name in SUMMARY_TABLES]


def campaigns_in_memory(results: Path) -> Path:
    """What of the campaigns' configurations serves Python access and no job."""
    return plan_folder(results) / "campaigns.json"


def plan_folder(results: Path) -> Path:
    """Where the checked plan of each parse is kept, under its content hash."""
    return results / ".ephysflow"


def campaign_folder(results: Path, campaign: str, analysis: str) -> Path:
    """Folder of one analysis of a simulation campaign."""
    return results / "campaign" / campaign / analysis


CIRCUIT_TABLES = ("neurons", "neuron_classes", "populations", "findings")
"""What is chosen from one circuit."""


def circuit_neurons(results: Path, campaign: str, analysis: str, circuit: str) -> list[Path]:
    """Of one circuit: neurons of the classes, classes with their counts, populations with their sizes, findings."""
    folder = campaign_folder(results, campaign, analysis) / "circuits"
    return [folder / f"{circuit}.{name}.parquet" for name in CIRCUIT_TABLES]


def extracted_folder(results: Path, campaign: str, analysis: str, bucket: str) -> Path:
    """Folder of what was extracted from the simulations of one bucket."""
    return campaign_folder(results, campaign, analysis) / "extracted" / bucket


def extracted_report(folder: Path, simulation: str) -> Path:
    """Report rows of one simulation, by its key."""
    return folder / f"{simulation}.report.parquet"


def extracted_counts(folder: Path, simulation: str) -> Path:
    """Number of report rows of each neuron in each trial of one simulation, by its key."""
    return folder / f"{simulation}.counts.parquet"


def extracted_windows(folder: Path, simulation: str) -> Path:
    """Windows and trials of one simulation, by its key."""
    return folder / f"{simulation}.windows.parquet"


def extraction_findings(folder: Path) -> Path:
    """What could not be used, or is doubtful, in the simulations of a bucket."""
    return folder / "findings.parquet"


def computed_features(results: Path, campaign: str, analysis: str, computation: str, bucket: str) -> Path:
    """All tables of one combination of parameters for the simulations of one bucket."""
    return campaign_folder(results, campaign, analysis) / "computed" / computation / f"{bucket}.zip"


REPO_TABLES = ("simulations", "neurons", "neuron_classes", "windows")
"""Extraction tables beside the report."""


def repo_folder(results: Path, campaign: str, analysis: str) -> Path:
    """Folder of the extraction tables of an analysis."""
    return campaign_folder(results, campaign, analysis) / "repo"


def repo_exclusions(results: Path, campaign: str, analysis: str) -> Path:
    """Simulations that were left out, and what extraction found in the others."""
    return repo_folder(results, campaign, analysis) / "exclusions.parquet"


def features_folder(results: Path, campaign: str, analysis: str) -> Path:
    """Folder of the feature tables of an analysis."""
    return campaign_folder(results, campaign, analysis) / "features"


def campaign_exclusions(results: Path, campaign: str, analysis: str) -> Path:
    """What of an analysis was left out or is doubtful, with the reason."""
    return campaign_folder(results, campaign, analysis) / "exclusions.parquet"


def campaign_plot(results: Path, campaign: str, analysis: str, name: str) -> Path:
    """One of the plots of an analysis: rasters, firing_rates or parameter_sweep."""
    return results / "plots" / "campaign" / campaign / analysis / f"{name}.pdf"


def circuit_folder(results: Path, circuit: str) -> Path:
    """Folder of one circuit of the stage extracellular."""
    return results / "extracellular" / circuit


POSITIONS = "positions"
"""Folder of the positions of a circuit."""


def positions(results: Path, circuit: str, chunk: str) -> Path:
    """Compartments of one chunk of nodes and where they are."""
    return circuit_folder(results, circuit) / POSITIONS / f"{chunk}.h5"


def position_exclusions(results: Path, circuit: str, chunk: str) -> Path:
    """Cells of one chunk whose positions could not be computed, with the reason."""
    return circuit_folder(results, circuit) / POSITIONS / f"{chunk}.exclusions.parquet"


def weights(results: Path, circuit: str, weights: str) -> Path:
    """Coefficients of all compartments and electrodes: a SONATA electrodes file."""
    return circuit_folder(results, circuit) / f"{weights}.h5"


def circuit_plot(results: Path, circuit: str, weights: str) -> Path:
    """Probe and somata, coefficients against distance and on one cell."""
    return results / "plots" / "extracellular" / circuit / f"{weights}.pdf"


def project_folder(results: Path, project: str) -> Path:
    """Folder of one project of the stage ecephys."""
    return results / "ecephys" / project


PROJECT_TABLES = (
    "sessions",
    "probes",
    "channels",
    "units",
    "annotated_units",
    "unit_quality",
    "unit_filters",
)
"""Tables over all sessions of a project."""


def project_table(results: Path, project: str, name: str) -> Path:
    """One of the tables over all sessions of a project."""
    return project_folder(results, project) / f"{name}.parquet"


def project_findings(results: Path, project: str) -> Path:
    """What was left out of, or is doubtful in, the tables of a project."""
    return project_folder(results, project) / "findings.parquet"


def analysis_metrics(results: Path, project: str, session_type: str) -> Path:
    """Analysis metrics of the units of all sessions of one type."""
    return project_folder(results, project) / "analysis_metrics" / f"{session_type}.parquet"


def downloads(results: Path, project: str) -> Path:
    """Folder of what a warehouse was asked for, as it came."""
    return project_folder(results, project) / "downloads"


SESSIONS = "sessions"
"""Folder of the sessions of a project."""


def session_folder(results: Path, project: str, session: str) -> Path:
    """Folder of the products of one session."""
    return project_folder(results, project) / SESSIONS / session


SESSION_INDEX = ("session", "index.sessions", "index.probes", "index.channels", "index.units")
"""What is read of every session file first: what it is, and its part of the project's tables."""


def session_index(results: Path, project: str, session: str) -> list[Path]:
    """What a session file is, and its part of the project's raw tables."""
    folder = session_folder(results, project, session)
    return [folder / f"{name}.parquet" for name in SESSION_INDEX]


def session_product(results: Path, project: str, session: str, file_name: str) -> Path:
    """One product of a session."""
    return session_folder(results, project, session) / file_name


def project_plot(results: Path, project: str, name: str) -> Path:
    """Plots of all units of a project (units), or of one session (session_<id>)."""
    return results / "plots" / "ecephys" / project / f"{name}.pdf"


def comparison(results: Path, name: str) -> Path:
    """A model beside a recording: their feature tables, group by group."""
    return results / "comparison" / f"{name}.parquet"
