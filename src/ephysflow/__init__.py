"""From raw electrophysiology to what circuit modelling needs.

The names below are imported when they are asked for: functions of `ephysflow.api`, Python access to the results of
simulation campaigns and to Neuropixels projects and sessions, and what a feature function of one's own is given and returns.
"""

from typing import Any

_MODULES = {
    **dict.fromkeys(
        (
            "compute_rheobase",
            "convert_legacy",
            "extract_efeatures",
            "group_efeatures",
            "group_efeatures_of_each_cell",
            "plot_recordings",
            "read_recordings",
            "write_efeatures",
        ),
        "ephysflow.api",
    ),
    "open_results": "ephysflow.campaign.results",
    "open_project": "ephysflow.ecephys.project",
    "open_session": "ephysflow.ecephys.session",
    **dict.fromkeys(("FeatureRows", "Observations"), "ephysflow.campaign.observations"),
}


def __getattr__(name: str) -> Any:
    """Import the public names at their first use: a job of the workflow needs none of them."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'ephysflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
