"""Writes the example: recordings in the files of three kinds of rig, and the sample sheet that lists them."""

import csv
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from ephysflow.errors import ConfigurationError
from ephysflow.example import rig
from ephysflow.example.igor import write_wave
from ephysflow.example.protocols import CELLS, LIQUID_JUNCTION_POTENTIAL, Cell, Stimulus, stimuli_of
from ephysflow.example.simulation import STEP, simulate

SHEET = "recordings.tsv"
SHEET_COLUMNS = ("cell", "protocol", "filepath", "i_file", "v_file", "ljp")

_SEED = 2008
CAMPAIGN_FOLDER, COLUMN_FOLDER, ECEPHYS_FOLDER = "campaign", "extracellular", "ecephys"
_ABORTED_CELL = "pyr3"  # its last IDrest sweep lost the seal
_SPONTANEOUS = ("pyr2", "IDrest", 1, 80.0)  # cell, protocol, sweep, time [ms] of a spike before the stimulus

Recorded = list[tuple[Stimulus, rig.Digitised]]


def true_stimuli() -> list[Stimulus]:
    """Return the stimulus of every usable sweep of the example, cell by cell, in the order of the files."""
    return [stimulus for cell in CELLS for stimulus in stimuli_of(cell)]


def write_example(folder: Path) -> None:
    """Simulate four patch-clamp cells and write their recordings with a sample sheet, ``recordings.tsv``.

    Two cells are in NWB files, one in Igor binary waves, one in Parquet tables. One sweep of the Igor cell is
    beyond use: the seal was lost, and its voltage wave is shorter than its current wave. All values are the
    same at every call; so are the bytes, with the same versions of pynwb, h5py and pyarrow.

    Parameters
    ----------
    folder : made if needed; every file appears in it when it is complete, the sheet last

    Raises
    ------
    ConfigurationError
        if the folder holds files that are not the example's.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        temporary = Path(name)
        writers = (_write_nwb, _write_nwb, _write_igor, _write_parquet)
        lines: list[dict[str, Any]] = []
        for (cell, recorded), write in zip(_record(), writers, strict=True):
            lines += write(temporary, cell, recorded)
        files = sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file())
        files.append(Path(SHEET))
        _write_sheet(temporary / SHEET, lines)
        _refuse_foreign(folder, files, (temporary / SHEET).read_bytes())
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / file, folder / file)


def _refuse_foreign(folder: Path, files: Sequence[Path], sheet: bytes) -> None:
    """Refuse a folder in which the example would mix with, or replace, somebody's own files."""
    present = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    # the example's simulations have a folder of their own in it
    foreign = sorted(
        str(path)
        for path in present.difference(files)
        if path.parts[0] not in (CAMPAIGN_FOLDER, COLUMN_FOLDER, ECEPHYS_FOLDER)
    )
    if Path(SHEET) in present and (folder / SHEET).read_bytes() != sheet:
        foreign.append(SHEET)
    if foreign:
        raise ConfigurationError(
            f"{folder}: holds files that are not the example's ({', '.join(foreign[:3])}); name a new folder"
        )


def _record() -> list[tuple[Cell, Recorded]]:
    """Simulate all sweeps of all cells and digitise them."""
    planned = [(cell, stimulus) for cell in CELLS for stimulus in _given(cell)]
    commands = [stimulus.current(STEP) for _, stimulus in planned]
    injected = [
        command + _synaptic_input(stimulus) for (_, stimulus), command in zip(planned, commands, strict=True)
    ]
    potentials = simulate(
        [cell.neuron for cell, _ in planned], injected, [stimulus.hypamp for _, stimulus in planned], _SEED
    )
    recorded: dict[str, Recorded] = {cell.name: [] for cell in CELLS}
    for k, ((cell, stimulus), potential) in enumerate(zip(planned, potentials, strict=True)):
        every = round(cell.sampling_interval / STEP)
        sweep = rig.digitise(
            potential[::every], stimulus.current(cell.sampling_interval), cell.sampling_interval, (_SEED, k)
        )
        if _is_aborted(cell, stimulus):
            sweep = rig.lose_seal(sweep, len(sweep.voltage) // 2, len(sweep.voltage) * 2 // 3)
        recorded[cell.name].append((stimulus, sweep))
    return [(cell, recorded[cell.name]) for cell in CELLS]


def _given(cell: Cell) -> list[Stimulus]:
    """Return the stimuli of a cell, the sweep that went wrong included."""
    stimuli = stimuli_of(cell)
    if cell.name == _ABORTED_CELL:
        last = [s for s in stimuli if s.protocol == "IDrest"][-1]
        stimuli.insert(stimuli.index(last) + 1, replace(last, sweep=last.sweep + 1, repetition=2))
    return stimuli


def _is_aborted(cell: Cell, stimulus: Stimulus) -> bool:
    return stimulus not in stimuli_of(cell)


def _synaptic_input(stimulus: Stimulus) -> np.ndarray | float:
    """Return the current [nA] that no rig injected: it makes one cell fire before its stimulus."""
    *where, time = _SPONTANEOUS
    if [stimulus.cell, stimulus.protocol, stimulus.sweep] != where:
        return 0.0
    t = np.arange(round(stimulus.tend / STEP)) * STEP
    return np.where((t >= time) & (t < time + 5), 1.5, 0.0)


def _write_nwb(folder: Path, cell: Cell, recorded: Recorded) -> list[dict[str, Any]]:
    """Write all sweeps of a cell to one NWB file; stimulus names are those that BluePyEfe looks for too."""
    from hdmf.backends.hdf5.h5_utils import H5DataIO
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.file import Subject
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    date = datetime(2020, 3, 4, 12, tzinfo=UTC)
    nwbfile = NWBFile(
        session_description="Current-clamp recordings of one simulated pyramidal cell.",
        identifier=f"ephysflow-example-{cell.name}",
        session_start_time=date,
        file_create_date=date,
        session_id=cell.name,
        experimenter=["Example, Ephysflow"],
        experiment_description="Simulated: the adapting regular-spiking neuron of Pospischil et al. 2008.",
        institution="none: simulated data",
        keywords=["patch clamp", "simulation"],
    )
    nwbfile.subject = Subject(
        subject_id=f"simulated-{cell.name}",
        species="Rattus norvegicus",
        sex="U",
        age="P14D",
        description="No animal: a model of a rat's neuron.",
    )
    electrode = nwbfile.create_icephys_electrode(
        name="electrode_0",
        description="Patch pipette.",
        device=nwbfile.create_device(name="amplifier", description="Simulated amplifier."),
        cell_id=cell.name,
        location="simulated",
    )
    start = 0.0
    for k, (stimulus, sweep) in enumerate(recorded):
        common = {
            "electrode": electrode,
            "starting_time": start,
            "rate": 1000.0 / cell.sampling_interval,
            "stimulus_description": stimulus.protocol,
            "description": f"{stimulus.protocol}, sweep {stimulus.sweep}",
            "sweep_number": np.uint64(k),
        }
        given = CurrentClampStimulusSeries(
            name=f"CurrentClampStimulusSeries_{k:03d}",
            data=H5DataIO(sweep.current, compression="gzip", compression_opts=4, shuffle=True),
            conversion=rig.CURRENT_UNIT * 1e-12,
            **common,
        )
        response = CurrentClampSeries(
            name=f"CurrentClampSeries_{k:03d}",
            data=H5DataIO(sweep.voltage, compression="gzip", compression_opts=4, shuffle=True),
            conversion=rig.VOLTAGE_UNIT * 1e-3,
            **common,
        )
        nwbfile.add_intracellular_recording(electrode=electrode, stimulus=given, response=response)
        start += 2.0
    nwbfile.intracellular_recordings.add_column(
        name="repetition",
        description="Repetition of the same stimulus.",
        data=[stimulus.repetition for stimulus, _ in recorded],
    )
    path = folder / f"{cell.name}.nwb"

    class ReproducibleFile(NWBHDF5IO):
        def write_builder(self, builder: Any, **options: Any) -> None:
            _fix_identifiers(builder, cell.name)
            super().write_builder(builder, **options)

    with ReproducibleFile(path, "w") as file:
        file.write(nwbfile)
    protocols = dict.fromkeys(stimulus.protocol for stimulus, _ in recorded)
    return [{"cell": cell.name, "protocol": ";".join(protocols), "filepath": path.name}]


def _fix_identifiers(builder: Any, name: str) -> None:
    """Replace the random identifiers of a tree of HDF5 objects by ones that follow from the objects' names."""
    if "object_id" in builder.attributes:
        builder.attributes["object_id"] = str(uuid5(NAMESPACE_URL, f"ephysflow-example/{name}"))
    for child in [*getattr(builder, "groups", {}).values(), *getattr(builder, "datasets", {}).values()]:
        _fix_identifiers(child, f"{name}/{child.name}")


def _write_igor(folder: Path, cell: Cell, recorded: Recorded) -> list[dict[str, Any]]:
    """Write a pair of waves for each sweep, as an acquisition program numbers them."""
    (folder / cell.name).mkdir()
    lines = []
    for k, (stimulus, sweep) in enumerate(recorded):
        names = [f"{cell.name}/{stimulus.protocol}_ch{channel}_{k + 101}.ibw" for channel in (0, 1)]
        dt = cell.sampling_interval * 1e-3
        write_wave(folder / names[0], sweep.current * (rig.CURRENT_UNIT * 1e-12), dt, "A")
        write_wave(folder / names[1], sweep.voltage * (rig.VOLTAGE_UNIT * 1e-3), dt, "V")
        lines.append(
            {"cell": cell.name, "protocol": stimulus.protocol, "i_file": names[0], "v_file": names[1]}
        )
    return lines


def _write_parquet(folder: Path, cell: Cell, recorded: Recorded) -> list[dict[str, Any]]:
    """Write one table for each protocol, its sweeps one after another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / cell.name).mkdir()
    lines = []
    for protocol in dict.fromkeys(stimulus.protocol for stimulus, _ in recorded):
        sweeps = [sweep for stimulus, sweep in recorded if stimulus.protocol == protocol]
        lengths = [len(sweep.voltage) for sweep in sweeps]
        table = pa.table(
            {
                "sweep": np.repeat(np.arange(len(sweeps), dtype=np.int32), lengths),
                "time [ms]": np.concatenate([np.arange(n) * cell.sampling_interval for n in lengths]),
                "voltage [mV]": _joined([sweep.voltage for sweep in sweeps], rig.VOLTAGE_UNIT),
                "current [pA]": _joined([sweep.current for sweep in sweeps], rig.CURRENT_UNIT),
            }
        )
        path = f"{cell.name}/{protocol}.parquet"
        pq.write_table(table, folder / path, compression="zstd")
        lines.append({"cell": cell.name, "protocol": protocol, "filepath": path})
    return lines


def _joined(traces: Sequence[np.ndarray], unit: float) -> np.ndarray:
    return (np.concatenate(traces) * unit).astype(np.float32)


def _write_sheet(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        sheet = csv.DictWriter(stream, SHEET_COLUMNS, restval="", delimiter="\t", lineterminator="\n")
        sheet.writeheader()
        sheet.writerows({**line, "ljp": f"{LIQUID_JUNCTION_POTENTIAL:g}"} for line in lines)
