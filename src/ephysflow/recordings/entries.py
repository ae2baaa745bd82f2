"""What a file entry, one row of the sample sheet, names."""

from collections.abc import Mapping
from typing import Any


def entry_files(entry: Mapping[str, Any]) -> list[str]:
    """Return the files of one entry; beside `filepath`, `v_file` is a filter inside an NWB file."""
    keys = ("filepath",) if "filepath" in entry else ("i_file", "v_file")
    return [str(entry[key]) for key in keys if key in entry]
