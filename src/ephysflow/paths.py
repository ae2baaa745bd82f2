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


def plan_folder(results: Path) -> Path:
    """Where the checked plan of each parse is kept, under its content hash."""
    return results / ".ephysflow"
