"""The steps of the workflow: which modules and packages each one's numbers depend on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One rule's computation.

    Attributes
    ----------
    modules : modules of ephysflow that do the work; what they import is found from their sources
    packages : installed packages whose version changes numbers
    """

    modules: tuple[str, ...]
    packages: tuple[str, ...] = ()


STEPS = {
    "example_recordings": Step(("ephysflow.example.step",), ("numpy",)),
    "ingest_recordings": Step(("ephysflow.recordings.ingestion",), ("numpy", "scipy", "h5py", "pyabf")),
    "find_rheobase": Step(("ephysflow.efeatures.rheobase_step",), ("numpy", "efel")),
    "collect_rheobase": Step(("ephysflow.efeatures.rheobase_table",)),
    "extract_efeatures": Step(("ephysflow.efeatures.extraction_step",), ("numpy", "efel")),
    "group_efeatures": Step(("ephysflow.efeatures.grouping_step",), ("numpy", "pandas")),
    "group_efeatures_of_cell": Step(("ephysflow.efeatures.grouping_step",), ("numpy", "pandas")),
    "plot_recordings": Step(("ephysflow.plots.steps",), ("matplotlib",)),
    "plot_efeatures": Step(("ephysflow.plots.steps",), ("matplotlib",)),
    "plot_overview": Step(("ephysflow.plots.steps",), ("matplotlib",)),
    "summarise": Step(("ephysflow.summary",)),
}
