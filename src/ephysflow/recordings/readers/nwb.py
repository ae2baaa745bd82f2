"""NWB files (.nwb), versions 1 and 2, by h5py: opening, and the choice of the layout.

A file is read in the way of the laboratory that wrote it where it bears the marks of one of five known ones, and
by the tables and types of the NWB 2 standard otherwise.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError
from ephysflow.recordings.readers import nwb_generic, nwb_laboratories
from ephysflow.recordings.readers.common import FoundSweep, first_bytes, main_file, refusing

_LISTS = {
    "generic": nwb_generic.list_sweeps,
    "bbp": nwb_laboratories.list_bbp,
    "aibs": nwb_laboratories.list_aibs,
    "scala": nwb_laboratories.list_scala,
    "trt": nwb_laboratories.list_trt,
    "vu": nwb_laboratories.list_vu,
}
LAYOUTS = tuple(_LISTS)


@contextmanager
def open_sweeps(entry: Mapping[str, Any]) -> Iterator[list[FoundSweep]]:
    """Give the sweeps of an NWB file, voltage clamp included; the file stays open while they are read.

    The entry may force a layout with `nwb_layout` and, for the layout "bbp", keep the sweeps of one original
    file with `v_file`.

    Raises
    ------
    RecordingError
        if the file is damaged or no NWB file.
    ConfigurationError
        if `nwb_layout` is none of `LAYOUTS`.
    """
    with open_file(main_file(entry)) as file:
        with refusing("the file is damaged"):
            layout = entry.get("nwb_layout") or choose_layout(file)[0]
        if layout not in _LISTS:
            raise ConfigurationError(f"nwb_layout {layout!r} is unknown: allowed are {', '.join(LAYOUTS)}")
        with refusing(f"the layout {layout} cannot be read"):
            found = _LISTS[layout](file, entry)
        yield found


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """Open an NWB file for reading, without locks: nothing is written and read-only folders have none."""
    import h5py

    first_bytes(path, 1)
    with refusing(f"{path.name}: damaged, truncated or no HDF5 file"):
        file = h5py.File(path, "r", locking=False)
    with file:
        yield file


def choose_layout(file: Any) -> tuple[str, str]:
    """Return the layout of an open NWB file, and the mark by which it was told; the order matters."""
    acquisition = list(file.get("acquisition", ()))
    recorded = set(acquisition) | set(file.get("acquisition/timeseries", ()))
    presented = list(file.get("stimulus/presentation", ()))
    if "data_organization" in file:
        return "bbp", "it has the group data_organization"
    if any("DA" in name and name.replace("DA", "AD") in recorded for name in presented):
        return "vu", "stimuli and responses are named DA and AD"
    if "timeseries" in acquisition:
        return "aibs", "it has the group acquisition/timeseries"
    if acquisition and acquisition[0].lower().startswith("index_"):
        return "trt", "its series are named index_"
    if nwb_generic.is_typed(file):
        return "generic", "it has typed current-clamp series or a table of intracellular recordings"
    return "scala", "it has no types and none of the other marks"
