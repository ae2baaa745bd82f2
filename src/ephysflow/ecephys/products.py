"""The products of a session: which there are, what each is made by, and in which file it ends up.

Modules are named as texts and imported when a product is made, so that the hash of a job's code covers its own
product and not the others'.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROBE = "{probe}"
"""Stands in the file name of a product that has one file a probe."""


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes
    ----------
    file : name of its file; one that holds `PROBE` is made once for each probe with LFP
    module, function : what makes it. Called with the open `SessionFile` (kind ``arrays``: and the HDF5 file to write
        to), with `arguments` and `options` as keywords, and ``probe`` where there is one file a probe
    kind : ``table`` (returns a table), ``pieces`` (returns the schema and an iterator of tables) or ``arrays`` (writes)
    columns : name -> type of the columns that the table always has, whatever the layout of the session file
    arguments : which of ``filters``, ``channels`` (of the project), ``metrics`` and ``lfp_file`` it depends on; the
        last three are paths
    options : what the configuration may set, with defaults; `REQUIRED` where there is none
    held_as : regular expression of the HDF5 names in the session file that it comes from; '' for what other files hold
    reports : it is called with ``report``, a function of subject and reason, for what is doubtful
    by_default : whether it is made when the configuration lists no products
    """

    file: str
    module: str
    function: str
    kind: Literal["table", "pieces", "arrays"] = "table"
    columns: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    held_as: str = ""
    reports: bool = False
    by_default: bool = True

    @property
    def is_of_a_probe(self) -> bool:
        """Whether there is one file a probe."""
        return PROBE in self.file


REQUIRED: Any = "required"
"""Default of an option that the configuration has to give."""

_HERE = "ephysflow.ecephys"
_INTERVAL = {"start_time": "float64", "stop_time": "float64"}
_PRESENTATIONS = "intervals/[^/]+_presentations"
_OF_UNITS = ("filters", "channels")

PRODUCTS: dict[str, Product] = {
    "units": Product(
        file="units.parquet",
        module=f"{_HERE}.product_units",
        function="units",
        columns={"unit_id": "int64"},
        arguments=(*_OF_UNITS, "metrics"),
        held_as="units/id",
        reports=True,
    ),
    "channels": Product(
        file="channels.parquet",
        module=f"{_HERE}.product_channels",
        function="channels_of_session",
        columns={"id": "int64"},
        arguments=("channels",),
        held_as="general/extracellular_ephys/electrodes",
    ),
    "probes": Product(
        file="probes.parquet",
        module=f"{_HERE}.session_channels",
        function="session_probes",
        columns={"id": "int64"},
        held_as="general/extracellular_ephys/electrodes",
    ),
    "spikes": Product(
        file="spikes.parquet",
        module=f"{_HERE}.product_spikes",
        function="spikes",
        kind="pieces",
        columns={"unit_id": "int64", "time": "float64", "amplitude": "float64"},
        arguments=_OF_UNITS,
        held_as="units/spike_times",
        reports=True,
    ),
    "mean_waveforms": Product(
        file="mean_waveforms.h5",
        module=f"{_HERE}.product_waveforms",
        function="mean_waveforms",
        kind="arrays",
        arguments=_OF_UNITS,
        held_as="units/waveform_mean",
    ),
    "stimulus_presentations": Product(
        file="stimulus_presentations.parquet",
        module=f"{_HERE}.presentations",
        function="read_presentations",
        columns={"stimulus_presentation_id": "int64", "stimulus_name": "string", **_INTERVAL},
        held_as=_PRESENTATIONS,
    ),
    "stimulus_conditions": Product(
        file="stimulus_conditions.parquet",
        module=f"{_HERE}.product_stimuli",
        function="conditions",
        columns={"stimulus_condition_id": "int64", "stimulus_name": "string"},
        held_as=_PRESENTATIONS,
    ),
    "stimulus_epochs": Product(
        file="stimulus_epochs.parquet",
        module=f"{_HERE}.product_stimuli",
        function="epochs_of_stimuli",
        columns={"stimulus_name": "string", **_INTERVAL},
        held_as=_PRESENTATIONS,
    ),
    "running_speed": Product(
        file="running_speed.parquet",
        module=f"{_HERE}.behaviour",
        function="read_running_speed",
        columns={"start_time": "float64", "end_time": "float64", "velocity": "float64"},
        held_as="processing/running/(running_speed|speed)",
    ),
    "optogenetic_stimulation": Product(
        file="optogenetic_stimulation.parquet",
        module=f"{_HERE}.behaviour",
        function="read_optogenetic_stimulation",
        columns=_INTERVAL,
        held_as="processing/optotagging/optogenetic_stimulation",
    ),
    "invalid_times": Product(
        file="invalid_times.parquet",
        module=f"{_HERE}.intervals",
        function="read_invalid_times",
        columns=_INTERVAL,
        held_as="intervals/invalid_times",
    ),
    "epochs": Product(
        file="epochs.parquet",
        module=f"{_HERE}.intervals",
        function="read_epochs",
        columns=_INTERVAL,
        held_as="intervals/(?!invalid_times$)[^/]+(?<!_presentations)",
    ),
    "eye_tracking": Product(
        file="eye_tracking.parquet",
        module=f"{_HERE}.eye_tracking",
        function="read_eye_tracking",
        columns={"time": "float64"},
        held_as="processing/(eye_tracking|(raw|filtered)_gaze_mapping)"
        "|(acquisition|processing/[^/]+)/(Eye|Pupil|EllipseEye)Tracking",
    ),
    "channel_structure_intervals": Product(
        file="channel_structure_intervals.parquet",
        module=f"{_HERE}.product_channels",
        function="structure_intervals",
        columns={
            "probe_id": "int64",
            "structure": "string",
            "first_channel": "int64",
            "last_channel": "int64",
        },
        arguments=("channels",),
        held_as="general/extracellular_ephys/electrodes",
    ),
    "presentationwise_spike_counts": Product(
        file="presentationwise_spike_counts.h5",
        module=f"{_HERE}.product_counts",
        function="spike_counts",
        kind="arrays",
        arguments=_OF_UNITS,
        options={"bin_edges": REQUIRED, "stimuli": None},
        held_as=_PRESENTATIONS,
        reports=True,
        by_default=False,
    ),
    "presentationwise_spike_times": Product(
        file="presentationwise_spike_times.parquet",
        module=f"{_HERE}.product_counts",
        function="spike_times",
        kind="pieces",
        columns={
            "spike_time": "float64",
            "stimulus_presentation_id": "int64",
            "unit_id": "int64",
            "time_since_stimulus_presentation_onset": "float64",
        },
        arguments=_OF_UNITS,
        options={"stimuli": None},
        held_as=_PRESENTATIONS,
        reports=True,
        by_default=False,
    ),
    "conditionwise_spike_statistics": Product(
        file="conditionwise_spike_statistics.parquet",
        module=f"{_HERE}.product_counts",
        function="statistics",
        columns={"unit_id": "int64", "stimulus_condition_id": "int64"},
        arguments=_OF_UNITS,
        options={"stimuli": None},
        held_as=_PRESENTATIONS,
        reports=True,
        by_default=False,
    ),
    "lfp": Product(
        file=f"lfp_{PROBE}.h5",
        module=f"{_HERE}.product_lfp",
        function="lfp",
        kind="arrays",
        arguments=("lfp_file",),
        options={"interval": None},
        by_default=False,
    ),
    "csd": Product(
        file=f"csd_{PROBE}.h5",
        module=f"{_HERE}.product_lfp",
        function="csd",
        kind="arrays",
        arguments=("lfp_file",),
        by_default=False,
    ),
}

DEFAULT_PRODUCTS = tuple(name for name, product in PRODUCTS.items() if product.by_default)
"""What is made when the configuration lists no products: all but the tables of spikes by presentation and condition,
which grow with spikes x presentations, and what comes from LFP files, of 1-3 GB a probe."""


def files_of(product: str, probes: Sequence[str | int] = ()) -> list[str]:
    """Return the names of the files of a product.

    Parameters
    ----------
    product : key of `PRODUCTS`
    probes : ids of the probes of the session that have LFP
    """
    name = PRODUCTS[product].file
    if PROBE not in name:
        return [name]
    return [name.replace(PROBE, str(probe)) for probe in probes]


def product_of(file_name: str) -> tuple[str, str | None]:
    """Return the product that a file holds, and the id of the probe where it is of one.

    Raises
    ------
    KeyError
        if no product has such a file.
    """
    for name, product in PRODUCTS.items():
        before, found, after = product.file.partition(PROBE)
        pattern = re.escape(before) + ("(.+)" if found else "") + re.escape(after)
        if match := re.fullmatch(pattern, file_name):
            return name, match[1] if found else None
    raise KeyError(file_name)
