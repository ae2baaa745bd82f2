"""Writes the example's Neuropixels sessions as NWB files in the layout of the Visual Coding release.

Written with h5py, object by object: pynwb opens the files, but could not write them with the same bytes twice.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import h5py
import numpy as np

from ephysflow.errors import ConfigurationError
from ephysflow.example.ecephys_sessions import (
    LFP_RATE,
    LFP_SUBSAMPLING,
    OUT_OF_BRAIN,
    SAMPLING_RATE,
    Animal,
    Block,
    Probe,
    Simulated,
    animal_of,
    presentations_of,
    probe_ids,
    probes_of,
    simulate_session,
)
from ephysflow.io.atomic import replacing

SESSION_IDS = (731000001, 731000002)
"""Of the example; their types differ."""

_SEED = 2019
_N_PROBES, _N_CHANNELS, _N_UNITS = 2, 24, 12
_LFP_STEP = 4  # every so many channels of a probe has LFP
_LFP_BOUNDS = 15.0, 40.0  # s

_CORE, _COMMON, _EXTENSION = "core", "hdmf-common", "ndx-aibs-ecephys"
_EXTENSION_VERSION = "0.2.0"
_NWB_VERSION = "2.7.0"
_DATE = "2019-01-08T13:55:01-08:00"
_TEXT = h5py.string_dtype()
_COMPRESSED = 256  # values from which on a dataset is


def example_files() -> list[str]:
    """Return the names of the files that `write_example_project` writes."""
    return [*(_session_name(s) for s in SESSION_IDS), _lfp_name(*_lfp_probe())]


def write_example_project(folder: Path) -> None:
    """Write two sessions and the LFP of one probe of the first, the same bytes at every call.

    Parameters
    ----------
    folder : made if needed; all files lie in it
    """
    for k, session_id in enumerate(SESSION_IDS):
        write_session(folder / _session_name(session_id), session_id, seed=_SEED + k)
    session_id, probe_id = _lfp_probe()
    write_lfp(folder / _lfp_name(session_id, probe_id), session_id, probe_id, seed=_SEED)


def _session_name(session_id: int) -> str:
    return f"session_{session_id}.nwb"


def _lfp_name(session_id: int, probe_id: int) -> str:
    return f"session_{session_id}_probe_{probe_id}_lfp.nwb"


def _lfp_probe() -> tuple[int, int]:
    return SESSION_IDS[0], probe_ids(SESSION_IDS[0], 1)[0]


def write_session(
    path: Path,
    session_id: int,
    *,
    seed: int,
    n_probes: int = _N_PROBES,
    n_channels: int = _N_CHANNELS,
    n_units: int = _N_UNITS,
) -> None:
    """Write a session of about three minutes: units, presentations, running speed, optotagging.

    Sessions with odd ids are of type ``brain_observatory_1.1`` (flashes, drifting gratings, natural scenes,
    optotagging), those with even ids of ``functional_connectivity`` (gabors, flashes, drifting gratings; no light).
    Only the first probe has LFP. Among each 24 units are two of noise, one exactly on the limits of the default
    filters, one or two beyond each of them, two with NaN, one out of the brain and one on an invalid channel.

    Parameters
    ----------
    path : where
    session_id : the identifier of the file; the ids of probes, channels and units follow from it
    seed : of the spikes
    n_probes, n_channels, n_units : probes, and channels and units of each
    """
    session = simulate_session(session_id, seed, n_probes, n_channels, n_units)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _write_head(file, str(session_id), session_id, session.animal, "Simulated Neuropixels session.")
        _write_probes(file, [(probe, np.arange(n_channels)) for probe in session.probes])
        frames = _write_stimulus_times(file, session.duration)
        for name in dict.fromkeys(block.stimulus for block in session.blocks):
            _write_presentations(file, [b for b in session.blocks if b.stimulus == name], frames)
        _write_invalid_times(file, session_id, session)
        _write_running(file, session.duration)
        if len(session.pulses):
            _write_optotagging(file, session.pulses)
        _write_rig(file)
        _write_units(file, session)
        _write_specification(file)


def write_lfp(path: Path, session_id: int, probe_id: int, *, seed: int) -> None:
    """Write 25 s of LFP of every fourth of the 24 channels of a probe, and a current source density after flashes.

    Parameters
    ----------
    path : where
    session_id : of the session
    probe_id : of one of its first ten probes
    seed : of the noise

    Raises
    ------
    ConfigurationError
        if the session has no such probe.
    """
    probes = {probe.id: probe for probe in probes_of(session_id, 10, _N_CHANNELS)}
    if probe_id not in probes:
        raise ConfigurationError(
            f"probe {probe_id}: session {session_id} of the example has probes {min(probes)} to {max(probes)}"
        )
    probe, rng = probes[probe_id], np.random.default_rng(seed)
    channels = np.arange(0, _N_CHANNELS, _LFP_STEP)
    rate = LFP_RATE / LFP_SUBSAMPLING
    times = _LFP_BOUNDS[0] + np.arange(round((_LFP_BOUNDS[1] - _LFP_BOUNDS[0]) * rate)) / rate
    flashes = next(b for b in presentations_of(animal_of(session_id)) if b.stimulus == "flashes").start
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        animal = animal_of(session_id)
        _write_head(file, str(probe_id), session_id, animal, "Simulated LFP of one probe.")
        _write_probes(file, [(probe, channels)])
        name = f"probe_{probe_id}_lfp"
        series = _time_series(
            _typed(file.require_group("acquisition"), name, "LFP"),
            f"{name}_data",
            times,
            _lfp(rng, times, flashes, probe.vertical[channels]),
            "volts",
            kind="ElectricalSeries",
        )
        region = _dataset(series, "electrodes", np.arange(len(channels)))
        _mark(region, "DynamicTableRegion", _COMMON, "channels with LFP")
        region.attrs["table"] = file["general/extracellular_ephys/electrodes"].ref
        _write_csd(file, rng, rate)
        _write_specification(file)


def _lfp(
    rng: np.random.Generator, times: np.ndarray, flashes: np.ndarray, vertical: np.ndarray
) -> np.ndarray:
    """Return (T, C) V: theta, a deflection after each flash whose size depends on the place, and noise."""
    evoked = np.zeros(len(times))
    for onset in flashes.tolist():
        since = times - onset - 0.05
        evoked -= np.where(since > 0, since / 0.03 * np.exp(1 - np.maximum(since, 0) / 0.03), 0.0)
    place = np.cos(vertical / 600.0)
    values = 8e-5 * np.sin(2 * np.pi * 7 * times)[:, None] + 1.5e-4 * evoked[:, None] * place
    values += rng.normal(0, 1e-5, values.shape)
    return (np.round(values / 4.69e-6) * 4.69e-6).astype(np.float32)  # steps of the converter


def _write_csd(file: h5py.File, rng: np.random.Generator, rate: float) -> None:
    """Write (positions, times): a sink in the middle of the virtual electrodes, 60 ms after a flash."""
    times = np.arange(round(-0.1 * rate), round(0.25 * rate)) / rate
    positions = 40.0 * np.arange(20)
    sink = -np.exp(-(((positions - 400) / 120) ** 2))[:, None] * np.exp(-(((times - 0.06) / 0.02) ** 2))
    module = _module(file, "current_source_density", "Current source density after flashes.")
    csd = _typed(module, "ecephys_csd", "EcephysCSD", _EXTENSION)
    values = (sink + rng.normal(0, 0.03, sink.shape)).round(4)
    _time_series(csd, "current_source_density", times, values.T, "V/cm^2")
    for axis, where in (("x", np.full(20, 24.0)), ("y", positions)):
        _dataset(csd, f"virtual_electrode_{axis}_positions", where.astype(np.float32), unit="um")


def _write_head(file: h5py.File, identifier: str, session_id: int, animal: Animal, description: str) -> None:
    _dataset(file, "identifier", identifier)
    _mark(file, "NWBFile", _CORE)
    file.attrs["nwb_version"] = _NWB_VERSION
    _dataset(file, "file_create_date", [_DATE])
    for name, text in (
        ("session_description", description),
        ("session_start_time", _DATE),
        ("timestamps_reference_time", _DATE),
    ):
        _dataset(file, name, text)
    for name in ("acquisition", "analysis", "processing", "stimulus/presentation", "stimulus/templates"):
        file.require_group(name)
    general = file.create_group("general")
    _dataset(general, "institution", "none: simulated data")
    _dataset(general, "session_id", str(session_id))
    _dataset(general, "stimulus", animal.session_type)
    subject = _typed(general, "subject", "EcephysSpecimen", _EXTENSION)
    subject.attrs["specimen_name"] = f"simulated-{session_id}"
    subject.attrs["age_in_days"] = animal.age_in_days
    for name, text in (
        ("age", f"P{animal.age_in_days:.0f}D"),
        ("description", "No animal: simulated units."),
        ("genotype", animal.genotype),
        ("sex", animal.sex),
        ("species", "Mus musculus"),
        ("strain", "Unknown"),
        ("subject_id", f"{session_id - 30_000_000}"),
    ):
        _dataset(subject, name, text)
    subject["age"].attrs["reference"] = "birth"


def _write_probes(file: h5py.File, probes: Sequence[tuple[Probe, np.ndarray]]) -> None:
    """Write devices, electrode groups and the table of the electrodes: the given channels of each probe."""
    ephys = file.create_group("general/extracellular_ephys")
    for k, (probe, _) in enumerate(probes):
        device = _typed(file.require_group("general/devices"), probe.name, "EcephysProbe", _EXTENSION)
        device.attrs.update(
            {
                "description": "Neuropixels 1.0 Probe",
                "manufacturer": "imec",
                "probe_id": probe.id,
                "sampling_rate": SAMPLING_RATE,
            }
        )
        group = _typed(ephys, probe.name, "EcephysElectrodeGroup", _EXTENSION)
        group.attrs.update(
            {
                "description": "Ecephys Electrode Group",
                "location": "See electrode locations",
                "probe_id": probe.id,
                "has_lfp_data": k == 0,
                "lfp_sampling_rate": LFP_RATE / LFP_SUBSAMPLING,
            }
        )
        group["device"] = h5py.SoftLink(device.name)
    chosen = {
        name: np.concatenate([getattr(probe, name)[kept] for probe, kept in probes])
        for name in ("channel_ids", "ccf", "structure", "vertical", "horizontal", "local_index", "valid")
    }
    names = [probe.name for probe, kept in probes for _ in kept]
    # both texts are in use for channels out of the brain
    empty = {probe.name: "" if k % 2 else "None" for k, (probe, _) in enumerate(probes)}
    structures = chosen["structure"].tolist()
    locations = [empty[n] if s == OUT_OF_BRAIN else s for n, s in zip(names, structures, strict=True)]
    columns = {
        "x": chosen["ccf"][:, 0],
        "y": chosen["ccf"][:, 1],
        "z": chosen["ccf"][:, 2],
        "imp": np.full(len(names), np.nan),
        "location": locations,
        "filtering": ["AP band: 500 Hz high-pass; LFP band: 1000 Hz low-pass"] * len(names),
        "group": np.array([ephys[name].ref for name in names], dtype=h5py.ref_dtype),
        "group_name": names,
        "probe_vertical_position": chosen["vertical"],
        "probe_horizontal_position": chosen["horizontal"],
        "probe_id": np.repeat([probe.id for probe, _ in probes], [len(kept) for _, kept in probes]),
        "local_index": chosen["local_index"],
        "valid_data": chosen["valid"],
    }
    _table(ephys, "electrodes", "DynamicTable", chosen["channel_ids"], columns, "Channels of all probes.")


def _write_stimulus_times(file: h5py.File, duration: float) -> h5py.Group:
    times = np.arange(0.0, duration, 0.5)
    module = _module(file, "stimulus", "Stimulus times.")
    return _time_series(module, "timestamps", times, times, "s")


def _write_presentations(file: h5py.File, blocks: Sequence[Block], frames: h5py.Group) -> None:
    name = blocks[0].stimulus
    start, stop = (np.concatenate([getattr(b, side) for b in blocks]) for side in ("start", "stop"))
    columns: dict[str, Any] = {
        "start_time": start,
        "stop_time": stop,
        "stimulus_name": [name] * len(start),
    }
    index = blocks[0].index
    if index is not None:
        columns["stimulus_block"] = np.full(len(start), float(index))
    columns |= blocks[0].parameters  # a stimulus has one block; spontaneous activity has none
    columns["stimulus_index"] = np.full(len(start), np.nan if index is None else float(index))
    table = _intervals(
        file.require_group("intervals"),
        f"{name}_presentations",
        columns,
        f"Presentations of {name}.",
        [["stimulus_time_interval"]] * len(start),
    )
    _reference_series(table, frames, start, stop)


def _write_invalid_times(file: h5py.File, session_id: int, session: Simulated) -> None:
    """Write one interval in which a flash was not as it should be, and one without signal of the first probe."""
    flash = next(b for b in session.blocks if b.stimulus == "flashes").start[2]
    probe = session.probes[0]
    _intervals(
        file.require_group("intervals"),
        "invalid_times",
        {"start_time": np.array([flash + 0.05, 24.0]), "stop_time": np.array([flash + 0.15, 24.5])},
        "Times to be left out of analyses.",
        [["EcephysSession", str(session_id), "stimulus"], ["EcephysProbe", str(probe.id), probe.name]],
    )


def _write_running(file: h5py.File, duration: float) -> None:
    """Write rotation and speed of the wheel: bouts of running in between rest."""
    times = np.arange(0.0, duration, 0.05)
    speed = np.round(25 * np.maximum(np.sin(2 * np.pi * times / 47), 0) ** 2, 3)  # cm/s
    rotation = np.round(speed * 0.05 / 5.5, 6)
    module = _module(file, "running", "Running speed.")
    _time_series(module, "running_speed", times, speed, "cm/s")
    _time_series(module, "running_speed_end_times", times + 0.05, speed, "cm/s")
    _time_series(module, "running_wheel_rotation", times, rotation, "radians")
    voltage = np.round(np.cumsum(rotation) % (2 * np.pi) / (2 * np.pi) * 5, 3)
    for name, values, unit in (
        ("raw_running_wheel_rotation", rotation, "radians"),
        ("running_wheel_signal_voltage", voltage, "V"),
        ("running_wheel_supply_voltage", np.full(len(times), 5.0), "V"),
    ):
        _time_series(file["acquisition"], name, times, values, unit)


def _write_optotagging(file: h5py.File, pulses: np.ndarray) -> None:
    length = np.full(len(pulses), 0.01)
    module = _module(file, "optotagging", "Optogenetic stimulation.")
    series = _time_series(module, "optotagging", pulses, length, "seconds")
    table = _intervals(
        module,
        "optogenetic_stimulation",
        {
            "start_time": pulses,
            "stop_time": pulses + length,
            "condition": ["a single square pulse"] * len(pulses),
            "level": np.array([1.0, 1.7, 2.5])[np.arange(len(pulses)) % 3],
            "stimulus_name": ["pulse"] * len(pulses),
            "duration": length,
        },
        "Pulses of light.",
        [["optical_stimulation"]] * len(pulses),
    )
    _reference_series(table, series, pulses, pulses + length)


def _write_rig(file: h5py.File) -> None:
    module = _module(file, "eye_tracking_rig_metadata", "Geometry of the rig.")
    rig = _typed(module, "eye_tracking_rig_metadata", "EcephysEyeTrackingRigMetadata", _EXTENSION)
    rig.attrs["equipment"] = "simulated rig"
    for name, values, unit in (
        ("monitor_position", (86.2, 31.6, 118.6), "mm"),
        ("camera_position", (102.8, 74.7, 31.6), "mm"),
        ("led_position", (246.0, 92.3, 52.6), "mm"),
        ("monitor_rotation", (0.0, 0.0, 0.0), "deg"),
        ("camera_rotation", (0.0, 0.0, 2.8), "deg"),
    ):
        _dataset(rig, name, np.array(values, dtype=np.float32), unit=unit)


def _write_units(file: h5py.File, session: Simulated) -> None:
    units = session.units
    names = list(units[0].metrics) if units else []
    columns: dict[str, Any] = {name: np.array([unit.metrics[name] for unit in units]) for name in names}
    columns |= {
        "local_index": np.arange(len(units)),
        "cluster_id": np.arange(len(units)),
        "peak_channel_id": np.array([u.probe.channel_ids[u.peak] for u in units], dtype=np.int64),
        "quality": [u.quality for u in units],
    }
    ids = np.array([u.id for u in units], dtype=np.int64)
    ragged = {
        "spike_times": [u.times for u in units],
        "spike_amplitudes": [u.amplitudes for u in units],
        "waveform_mean": [u.waveform.astype(np.float32) for u in units],
    }
    table = _table(file, "units", "Units", ids, columns, "Simulated units.", ragged)
    if units:
        table["spike_times"].attrs["resolution"] = 1 / SAMPLING_RATE
        table["waveform_mean"].attrs.update({"sampling_rate": SAMPLING_RATE, "unit": "volts"})


def _intervals(
    parent: h5py.Group, name: str, columns: Mapping[str, Any], description: str, tags: Sequence[Sequence[str]]
) -> h5py.Group:
    ids = np.arange(len(columns["start_time"]))
    return _table(parent, name, "TimeIntervals", ids, columns, description, {"tags": tags}, _CORE)


def _reference_series(table: h5py.Group, series: h5py.Group, start: np.ndarray, stop: np.ndarray) -> None:
    """Say which samples of a time series belong to each interval, as pynwb does for intervals of a series."""
    times = series["timestamps"][()]
    first, last = np.searchsorted(times, start), np.searchsorted(times, stop)
    kind = np.dtype([("idx_start", "<i4"), ("count", "<i4"), ("timeseries", h5py.ref_dtype)])
    rows = np.array(
        [(a, b - a, series.ref) for a, b in zip(first.tolist(), last.tolist(), strict=True)], dtype=kind
    )
    values = table.create_dataset("timeseries", data=rows, track_times=False)
    _mark(values, "TimeSeriesReferenceVectorData", _CORE, "samples of a time series")
    _index(table, values, np.arange(1, len(rows) + 1))
    _name_columns(table, [*table.attrs["colnames"], "timeseries"])


def _table(
    parent: h5py.Group,
    name: str,
    kind: str,
    ids: np.ndarray,
    columns: Mapping[str, Any],
    description: str,
    ragged: Mapping[str, Sequence[Any]] | None = None,
    namespace: str | None = None,
) -> h5py.Group:
    """Write a dynamic table.

    Parameters
    ----------
    parent, name : where
    kind, namespace : neurodata type; of the core unless it is a plain DynamicTable
    ids : (N,)
    columns : name -> (N,) values
    description : of the table
    ragged : name -> N sequences of values
    """
    table = _typed(parent, name, kind, namespace or (_COMMON if kind == "DynamicTable" else _CORE))
    table.attrs["description"] = description
    _mark(_dataset(table, "id", ids), "ElementIdentifiers", _COMMON)
    for column, values in columns.items():
        _mark(_dataset(table, column, values), "VectorData", _COMMON, column.replace("_", " "))
    for column, rows in (ragged or {}).items():
        flat = _joined(rows)
        values = _dataset(table, column, flat)
        _mark(values, "VectorData", _COMMON, column.replace("_", " "))
        _index(table, values, np.cumsum([len(row) for row in rows], dtype=np.int64))
    _name_columns(table, [*columns, *(ragged or {})])
    return table


def _joined(rows: Sequence[Any]) -> Any:
    if rows and isinstance(rows[0], np.ndarray):
        return np.concatenate(rows)
    return [text for row in rows for text in row]


def _index(table: h5py.Group, values: h5py.Dataset, ends: np.ndarray) -> None:
    name = values.name.rsplit("/", 1)[1]
    index = _dataset(table, f"{name}_index", ends.astype(np.uint32))
    _mark(index, "VectorIndex", _COMMON, f"ends of the rows of {name}")
    index.attrs["target"] = values.ref


def _name_columns(table: h5py.Group, names: Sequence[str]) -> None:
    table.attrs.create("colnames", np.array(names, dtype=object), dtype=_TEXT)


def _time_series(
    parent: h5py.Group,
    name: str,
    times: np.ndarray,
    values: np.ndarray,
    unit: str,
    kind: str = "TimeSeries",
) -> h5py.Group:
    series = _typed(parent, name, kind)
    series.attrs.update({"comments": "no comments", "description": name.replace("_", " ")})
    _dataset(series, "data", values, unit=unit, conversion=1.0, offset=0.0, resolution=-1.0)
    _dataset(series, "timestamps", times, unit="seconds", interval=np.int32(1))
    return series


def _module(file: h5py.File, name: str, description: str) -> h5py.Group:
    module = _typed(file["processing"], name, "ProcessingModule")
    module.attrs["description"] = description
    return module


def _typed(parent: h5py.Group, name: str, kind: str, namespace: str = _CORE) -> h5py.Group:
    group = parent.create_group(name)
    _mark(group, kind, namespace)
    return group


def _mark(item: h5py.Group | h5py.Dataset, kind: str, namespace: str, description: str = "") -> None:
    """Give an object its neurodata type, and an id that follows from its place and from the file's identifier."""
    identifier = item.file["identifier"].asstr()[()]
    item.attrs["neurodata_type"] = kind
    item.attrs["namespace"] = namespace
    item.attrs["object_id"] = str(uuid5(NAMESPACE_URL, f"ephysflow-example/{identifier}{item.name}"))
    if description:
        item.attrs["description"] = description


def _dataset(parent: h5py.Group, name: str, values: Any, **attributes: Any) -> h5py.Dataset:
    """Write values without the time of writing, compressed where that is worth it; texts as UTF-8."""
    if isinstance(values, str):
        dataset = parent.create_dataset(name, data=values, dtype=_TEXT, track_times=False)
    elif isinstance(values, list) or (values.dtype == object and h5py.check_ref_dtype(values.dtype) is None):
        dataset = parent.create_dataset(
            name, data=np.array(values, dtype=object), dtype=_TEXT, track_times=False
        )
    else:
        packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
        dataset = parent.create_dataset(
            name, data=values, track_times=False, **(packed if values.size >= _COMPRESSED else {})
        )
    dataset.attrs.update(attributes)
    return dataset


def _write_specification(file: h5py.File) -> None:
    """Write what the types of the extension are, so that pynwb knows them: names and fields are facts of the release."""

    def attribute(name: str, kind: str) -> dict[str, Any]:
        return {"name": name, "dtype": kind, "doc": name.replace("_", " ")}

    def measured(name: str) -> dict[str, Any]:
        doc = name.replace("_", " ")
        return {
            "name": name,
            "dtype": "float32",
            "shape": [None],
            "doc": doc,
            "attributes": [attribute("unit", "text")],
        }

    def extended(kind: str, base: str, doc: str, **content: Any) -> dict[str, Any]:
        return {"neurodata_type_def": kind, "neurodata_type_inc": base, "doc": doc, **content}

    positions = ("monitor_position", "camera_position", "led_position", "monitor_rotation", "camera_rotation")
    probe_id = attribute("probe_id", "int")
    groups = [
        extended(
            "EcephysProbe", "Device", "A probe.", attributes=[attribute("sampling_rate", "float64"), probe_id]
        ),
        extended(
            "EcephysElectrodeGroup",
            "ElectrodeGroup",
            "The channels of a probe.",
            attributes=[
                attribute("has_lfp_data", "bool"),
                probe_id,
                attribute("lfp_sampling_rate", "float64"),
            ],
        ),
        extended(
            "EcephysSpecimen",
            "Subject",
            "An animal.",
            attributes=[attribute("specimen_name", "text"), attribute("age_in_days", "float")],
        ),
        extended(
            "EcephysEyeTrackingRigMetadata",
            "NWBDataInterface",
            "Geometry of a rig.",
            attributes=[attribute("equipment", "text")],
            datasets=[measured(name) for name in positions],
        ),
        extended(
            "EcephysCSD",
            "NWBDataInterface",
            "Current source density.",
            groups=[{"neurodata_type_inc": "TimeSeries", "doc": "Values, time by position."}],
            datasets=[measured(f"virtual_electrode_{axis}_positions") for axis in "xy"],
        ),
    ]
    source = f"{_EXTENSION}.extensions"
    namespace = {
        "name": _EXTENSION,
        "version": _EXTENSION_VERSION,
        "doc": "Types of Neuropixels sessions.",
        "author": ["Allen Institute for Brain Science"],
        "contact": ["https://portal.brain-map.org"],
        "schema": [{"namespace": _CORE}, {"source": source}],
    }
    folder = file.create_group(f"specifications/{_EXTENSION}/{_EXTENSION_VERSION}")
    _dataset(folder, "namespace", json.dumps({"namespaces": [namespace]}))
    _dataset(folder, source, json.dumps({"groups": groups}))
    file.attrs[".specloc"] = file["specifications"].ref
