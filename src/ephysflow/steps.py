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
    "example_campaign": Step(("ephysflow.example.campaign_step",), ("numpy", "h5py")),
    "select_neurons": Step(("ephysflow.campaign.neurons_step",), ("numpy", "libsonata")),
    "extract_report": Step(("ephysflow.campaign.extraction_step",), ("numpy", "h5py", "libsonata")),
    "select_units": Step(("ephysflow.campaign.units_step",), ("numpy",)),
    "extract_recorded": Step(("ephysflow.campaign.recorded_extraction_step",), ("numpy",)),
    "publish_repo": Step(("ephysflow.campaign.repo_step",)),
    # packages that a function needs beside these stand in the settings of its jobs
    "compute_features": Step(("ephysflow.campaign.features_step",), ("numpy",)),
    "publish_features": Step(("ephysflow.campaign.publication_step",)),
    "compare_analyses": Step(("ephysflow.campaign.comparison_step",), ("numpy",)),
    "plot_rasters": Step(("ephysflow.plots.campaign_steps",), ("matplotlib",)),
    "plot_firing_rates": Step(("ephysflow.plots.campaign_steps",), ("matplotlib",)),
    "example_ecephys": Step(("ephysflow.example.ecephys_step",), ("numpy", "h5py")),
    # what was downloaded stays, whatever becomes of the code
    "fetch_file": Step(()),
    "index_session": Step(("ephysflow.ecephys.index_step",), ("h5py",)),
    # the module and the packages of a product stand in the settings of its jobs
    "extract_session": Step(("ephysflow.ecephys.products_step",)),
    "make_project_tables": Step(("ephysflow.ecephys.tables_step",), ("numpy",)),
    "collect_exclusions": Step(("ephysflow.ecephys.exclusions_step",)),
    "join_analysis_metrics": Step(("ephysflow.ecephys.tables_step",), ("numpy",)),
    "plot_units": Step(("ephysflow.plots.ecephys_step",), ("matplotlib",)),
    "plot_session": Step(("ephysflow.plots.ecephys_step",), ("matplotlib",)),
    "example_extracellular": Step(("ephysflow.example.extracellular_step",), ("numpy", "h5py")),
    "segment_positions": Step(
        ("ephysflow.extracellular.positions_step",), ("numpy", "h5py", "libsonata", "morphio")
    ),
    "electrode_weights": Step(("ephysflow.extracellular.weights_step",), ("numpy", "h5py", "numba")),
    "plot_weights": Step(("ephysflow.plots.extracellular_step",), ("matplotlib",)),
    "plot_parameter_sweep": Step(("ephysflow.plots.campaign_steps",), ("matplotlib",)),
}
