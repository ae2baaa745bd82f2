"""From raw electrophysiology to what circuit modelling needs.

The functions below are those of `ephysflow.api`, imported when they are asked for.
"""

from typing import Any

_API = (
    "compute_rheobase",
    "convert_legacy",
    "extract_efeatures",
    "group_efeatures",
    "group_efeatures_of_each_cell",
    "plot_recordings",
    "read_recordings",
    "write_efeatures",
)


def __getattr__(name: str) -> Any:
    """Import the public functions at their first use: a job of the workflow needs none of them."""
    if name in _API:
        import importlib

        return getattr(importlib.import_module("ephysflow.api"), name)
    raise AttributeError(f"module 'ephysflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_API]
