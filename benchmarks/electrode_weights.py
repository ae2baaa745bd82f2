"""Coefficients of electrodes: the MPI job as the workflow runs it, its kernels alone, and LFPykit on the same cells.

CPU seconds are those of all ranks with their launcher, memory is that of the biggest process. See benchmarks/README.md.

    python benchmarks/electrode_weights.py [--figure docs/figures/electrode_weights_cost.png]
"""

import argparse
import json
import os
import re
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from efeatures import Usage, compiled, usage
from ephysflow import paths
from ephysflow.extracellular.array_settings import resolve_electrodes
from ephysflow.extracellular.coefficients import coefficients, make_model
from ephysflow.extracellular.compartments import Compartments
from ephysflow.extracellular.morphologies import read_morphology
from ephysflow.extracellular.placement import placed, rotations
from ephysflow.extracellular.placement import positions as places
from ephysflow.extracellular.positions_file import PopulationPositions, write_positions
from ephysflow.extracellular.report_sections import read_report_sections
from ephysflow.extracellular.section_matching import cell_compartments
from ephysflow.extracellular.section_types import BASAL, SOMA
from ephysflow.extracellular.weights_step import electrode_weights
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.io.provenance import Provenance
from ephysflow.job import Job
from ephysflow.sonata.nodes import open_population
from ephysflow.sonata.simulation_config import MorphologyFolders, read_circuit

CELLS, COMPARTMENTS, ELECTRODES = 1_000, 300, 384
"""Of the full case."""

SECTION = 10
"""Compartments of a dendrite."""

LENGTH = 20.0
"""Of a compartment [um]."""

COLUMN = (250.0, 1_900.0)
"""Radius and half of the height of the column of cells [um]; the probe goes through its middle."""

KERNEL_AIM = {"LineSource": 10.0, "PointSource": 4.0}
"""CPU ns a coefficient."""

WRITE_AIM = 2.0
"""Wall time of the job over that of a plain write of as many bytes."""

BLUERECORDING_NS = {"PointSource": 0.51e6, "LineSource": 0.45e6}
"""CPU ns a coefficient of BlueRecording 0.2.1, measured on 20 cells and not here (notes beside the project's data)."""

PEER_CELLS = 10
RUNS = 5
"""Of which medians are printed; job and plain write in turn, as the speed of the disk varies."""
BUFFER_MB = 64


@dataclass(frozen=True)
class Case:
    """Size of one job."""

    cells: int
    compartments: int
    electrodes: int
    kind: str

    @property
    def coefficients(self) -> int:
        """Number of coefficients."""
        return self.cells * self.compartments * self.electrodes

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.kind}-{self.cells}-{self.compartments}-{self.electrodes}"


def cells(case: Case) -> PopulationPositions:
    """Return cells in a column: a soma and dendrites of `SECTION` compartments that turn at random."""
    random = np.random.default_rng(0)
    n = case.cells * case.compartments
    angle, radius = 2 * np.pi * random.random(case.cells), COLUMN[0] * np.sqrt(random.random(case.cells))
    height = random.uniform(-COLUMN[1], COLUMN[1], case.cells)
    somata = np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)
    n_dendrites = -(-(case.compartments - 1) // SECTION)
    steps = random.normal(size=(case.cells, n_dendrites, SECTION, 3))
    steps *= LENGTH / np.linalg.norm(steps, axis=3, keepdims=True)
    ends = somata[:, None, None, :] + np.cumsum(steps, axis=2)
    starts = np.concatenate(
        [np.broadcast_to(somata[:, None, None, :], ends[:, :, :1].shape), ends[:, :, :-1]], axis=2
    )
    shape = (case.cells, n_dendrites * SECTION, 3)
    keep = case.compartments - 1
    starts = np.concatenate([somata[:, None, :], starts.reshape(shape)[:, :keep]], axis=1).reshape(n, 3)
    ends = np.concatenate([somata[:, None, :], ends.reshape(shape)[:, :keep]], axis=1).reshape(n, 3)
    section = np.concatenate([[0], 1 + np.arange(keep) // SECTION])
    return PopulationPositions(
        np.arange(case.cells),
        np.arange(case.cells + 1) * case.compartments,
        Compartments(
            np.tile(section, case.cells),
            np.tile(np.where(section == 0, SOMA, BASAL), case.cells),
            starts,
            ends,
            np.tile(np.where(section == 0, 8.0, 0.5), case.cells),
        ),
    )


def write_case(folder: Path, case: Case) -> dict[str, Any]:
    """Write positions and a table of electrodes, and return the settings of the job."""
    write_positions(
        paths.positions(folder, case.name, "0"),
        {"cells": cells(case)},
        Provenance("benchmark", case.name, "{}", ""),
    )
    height = np.repeat(np.arange(case.electrodes // 2), 2) * 20.0 - 10.0 * case.electrodes / 2
    across = np.resize([0.0, 32.0, 16.0, 48.0], case.electrodes)
    table = folder / f"{case.name}.csv"
    rows = [f"e{i},{x},{y},0,{case.kind}" for i, (x, y) in enumerate(zip(across, height, strict=True))]
    table.write_text("\n".join(["name,x,y,z,type", *rows]))
    arrays = {"probe": {"electrodes": str(table), "sigma": 0.3}}
    electrodes = resolve_electrodes(arrays, "benchmark")
    return {
        "circuit": case.name,
        "weights": "weights",
        "arrays": list(arrays.items()),
        "electrodes": digest(canonical_json([asdict(electrode) for electrode in electrodes])),
        "layout": "sonata",
        "column_of_ones": False,
        "unit": "mV/nA",
        "precision": "float64",
        "chunks": 1,
    }


def run_rank(folder: Path, name: str) -> None:
    """Do the job of a case: what each rank runs."""
    text = (folder / f"{name}.json").read_text()
    electrode_weights(
        Job("electrode_weights", name, json.loads(text), text, "", {}, folder), buffer_mb=BUFFER_MB
    )
    print(f"peak {peak_memory():.1f} MB", flush=True)


def peak_memory() -> float:
    """Return the largest memory that this process has had [MB]."""
    status = Path("/proc/self/status").read_text()
    return float(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def job(folder: Path, case: Case, ranks: int, environment: dict[str, str]) -> Usage:
    """Run the job of a case with some ranks."""
    (folder / f"{case.name}.json").write_text(canonical_json(write_case(folder, case)))
    launcher = Path(sys.executable).parent / "mpiexec"
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "mpi4py", __file__]
    os.sync()
    log = folder / f"{case.name}.log"
    used = usage([*command, "--rank", str(folder), "--case", case.name], environment, log)
    # not what the system says of our children: they begin with our own memory
    peaks = [float(peak) for peak in re.findall(r"^peak (\S+) MB", log.read_text(), re.MULTILINE)]
    return replace(used, memory=max(peaks))


def kernel(case: Case) -> float:
    """Return the CPU ns a coefficient of the kernels alone, one thread, the best of three."""
    found = cells(case)
    with tempfile.TemporaryDirectory() as folder:
        item = write_case(Path(folder), case)
        model = make_model(resolve_electrodes(dict(item["arrays"]), "benchmark"))
    centres = np.zeros_like(found.compartments.starts)
    coefficients(model, cells(Case(1, 20, case.electrodes, case.kind)).compartments, centres[:20])  # compiles
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        coefficients(model, found.compartments, centres)
        best = min(best, time.process_time() - start)
    return best / case.coefficients * 1e9


def plain_write(folder: Path, n_bytes: int) -> float:
    """Return the wall seconds of writing as many bytes from memory in blocks of the same size, and of flushing them."""
    block = np.zeros(BUFFER_MB * 1_000_000 // 8)
    os.sync()
    start = time.perf_counter()
    with open(folder / "plain", "wb") as stream:
        for begin in range(0, n_bytes, block.nbytes):
            stream.write(block[: min(block.nbytes, n_bytes - begin) // 8].data)
        stream.flush()
        os.fsync(stream.fileno())
    seconds = time.perf_counter() - start
    (folder / "plain").unlink()
    return seconds


def lfpykit(case: Case) -> tuple[float, float] | None:
    """Return the CPU ns a coefficient of LFPykit, a cell at a time, and how far its values are from ours."""
    try:
        from lfpykit import CellGeometry, LineSourcePotential, PointSourcePotential
    except ImportError:
        return None
    small = Case(PEER_CELLS, case.compartments, case.electrodes, case.kind)
    found = cells(small)
    with tempfile.TemporaryDirectory() as folder:
        item = write_case(Path(folder), small)
        electrodes = resolve_electrodes(dict(item["arrays"]), "benchmark")
    contacts = np.array([electrode.position for electrode in electrodes]).T
    of_kind = LineSourcePotential if case.kind == "LineSource" else PointSourcePotential
    ours = coefficients(make_model(electrodes), found.compartments, np.zeros_like(found.compartments.starts))
    spent, difference = 0.0, 0.0
    for first in range(0, PEER_CELLS * case.compartments, case.compartments):
        # without the soma, which LFPykit would divide by its length
        part = slice(first + 1, first + case.compartments)
        a, b = found.compartments.starts[part], found.compartments.ends[part]
        start = time.process_time()
        geometry = CellGeometry(*np.stack([a.T, b.T], axis=2), d=2 * found.compartments.radii[part])
        theirs = of_kind(geometry, *contacts, sigma=0.3).get_transformation_matrix().T
        spent += time.process_time() - start
        difference = max(difference, float(np.median(np.abs(theirs / ours[part] - 1))))
    return spent / (small.coefficients - PEER_CELLS * case.electrodes) * 1e9, difference


def full_case(folder: Path, environment: dict[str, str]) -> bool:
    """Measure 1,000 cells x 300 compartments x 384 electrodes for both methods."""
    reached = True
    n_bytes = 8 * CELLS * COMPARTMENTS * ELECTRODES
    print(
        f"{CELLS:,} cells x {COMPARTMENTS} compartments x {ELECTRODES} electrodes, {n_bytes / 1e9:.2f} GB, float64\n"
    )
    for kind in ("PointSource", "LineSource"):
        case = Case(CELLS, COMPARTMENTS, ELECTRODES, kind)
        alone = kernel(Case(100, COMPARTMENTS, ELECTRODES, kind))
        good = alone <= KERNEL_AIM[kind]
        print(
            f"{kind}: kernel alone {alone:.2f} ns CPU a coefficient (aim {KERNEL_AIM[kind]:g}: {said(good)})"
        )
        reached &= good
        if peer := lfpykit(case):
            print(
                f"    LFPykit, {PEER_CELLS} of the cells: {peer[0]:.0f} ns, {peer[0] / alone:.0f} times; median difference {peer[1]:.1e}"
            )
        print(f"    BlueRecording 0.2.1, not measured here: {BLUERECORDING_NS[kind]:.2g} ns")
        for ranks in (1, 2):
            start = job(
                folder, Case(1, COMPARTMENTS, ELECTRODES, kind), ranks, environment
            )  # kernels get compiled
            start = job(folder, Case(1, COMPARTMENTS, ELECTRODES, kind), ranks, environment)
            runs = [
                (job(folder, case, ranks, environment), plain_write(folder, n_bytes)) for _ in range(RUNS)
            ]
            cpu, wall, memory = (
                statistics.median(getattr(run[0], key) for run in runs) for key in ("cpu", "wall", "memory")
            )
            plain = statistics.median(run[1] for run in runs)
            good = wall <= WRITE_AIM * plain
            walls = ", ".join(f"{run[0].wall:.1f}/{run[1]:.1f}" for run in runs)
            print(
                f"    {ranks} rank{'s' if ranks > 1 else ' '}: {cpu:.1f} CPU s, {wall:.1f} s wall, "
                f"{n_bytes / wall / 1e6:.0f} MB/s; the same for one cell: {start.cpu:.1f} CPU s, {start.wall:.1f} s wall; "
                f"so {(cpu - start.cpu) / case.coefficients * 1e9:.1f} CPU ns a coefficient with writing; largest process "
                f"{memory:.0f} MB"
            )
            print(
                f"        plain write {plain:.1f} s, {n_bytes / plain / 1e6:.0f} MB/s: {wall / plain:.1f} times (aim "
                f"{WRITE_AIM:g}: {said(good)}), {(wall - start.wall) / plain:.1f} times without the start; runs {walls}"
            )
            reached &= good
        print()
    return reached


def growth(folder: Path, environment: dict[str, str], figure: Path | None) -> None:
    """Measure how the cost grows with cells, compartments and electrodes, one at a time."""
    sizes = {
        "cells": [Case(n, COMPARTMENTS, ELECTRODES, "LineSource") for n in (62, 125, 250, 500, 1000)],
        "compartments of a cell": [Case(250, n, ELECTRODES, "LineSource") for n in (75, 150, 300, 600, 1200)],
        "electrodes": [Case(250, COMPARTMENTS, n, "LineSource") for n in (48, 96, 192, 384, 768, 1536)],
    }
    measured: dict[str, list[tuple[int, Usage]]] = {}
    for what, cases in sizes.items():
        print(f"growth with {what} (2 ranks, LineSource)")
        for case in cases:
            n = {"cells": case.cells, "electrodes": case.electrodes}.get(what, case.compartments)
            used = job(folder, case, 2, environment)
            paths.weights(folder, case.name, "weights").unlink()
            measured.setdefault(what, []).append((n, used))
            print(
                f"    {n:6,}: {used.cpu:6.2f} CPU s, {used.wall:6.2f} s wall, {used.memory:5.0f} MB, {case.coefficients / 1e6:7.1f} million coefficients"
            )
    if figure is not None:
        draw(measured, figure)


def draw(measured: dict[str, list[tuple[int, Usage]]], path: Path) -> None:
    """Draw CPU and wall time and memory against each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.6), layout="constrained")
    for axes, (what, rows) in zip(figure.subplots(1, 3), measured.items(), strict=True):
        sizes = [n for n, _ in rows]
        axes.plot(sizes, [used.cpu for _, used in rows], "o-", ms=3, label="CPU [s]")
        axes.plot(sizes, [used.wall for _, used in rows], "s-", ms=3, label="wall [s]")
        axes.plot(
            sizes,
            [used.memory / 100 for _, used in rows],
            "^:",
            ms=3,
            color="gray",
            label="largest process [100 MB]",
        )
        axes.set(xscale="log", yscale="log", xlabel=what)
        axes.grid(color="#e4e4e4", linewidth=0.6)
    figure.axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def positions(shared: Path) -> None:
    """Measure the positions of real cells: CPU time of reading a morphology and of all that follows."""
    folder = shared / "golden/extracellular/circuitTest"
    circuit = read_circuit(folder / "circuit/circuit_config.json")
    (name,) = circuit.morphologies
    population = open_population(circuit, name)
    report = read_report_sections(folder / "circuit/reporting/voltage.h5", name)
    nodes = report.node_ids
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(folder / "morphologies_ascii.tar.xz") as archive:
            archive.extractall(unpacked, filter="data")
        start = time.process_time()
        found = [
            read_morphology(
                MorphologyFolders(swc=Path(unpacked)), str(population.property("morphology")[node])
            )
            for node in nodes
        ]
        read = time.process_time() - start
    turned, moved = rotations(population, nodes), places(population, nodes)
    start, n_rows = time.process_time(), 0
    for i, node in enumerate(nodes.tolist()):
        cell = cell_compartments(
            found[i], report.runs_of(node), replace_axons=True, stub_lengths=(30.0, 30.0, 1000.0)
        )
        placed(cell.starts, turned[i], moved[i]), placed(cell.ends, turned[i], moved[i])
        n_rows += len(cell.starts)
    rest = time.process_time() - start
    print(
        f"positions of {len(nodes)} real cells, {n_rows} compartments: {1e3 * read / len(nodes):.0f} ms CPU a cell to read "
        f"the morphology (.asc), {1e3 * rest / len(nodes):.0f} ms for the rest"
    )


def said(good: bool) -> str:
    """Return whether an aim was reached."""
    return "reached" if good else "MISSED"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, or what one rank of it runs; exit status 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw the growth (PNG)")
    parser.add_argument("--skip-growth", action="store_true")
    parser.add_argument(
        "--shared", type=Path, help="folder with golden/extracellular, for positions of real cells"
    )
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.rank:
        run_rank(given.rank, given.case)
        return 0
    with tempfile.TemporaryDirectory(prefix="weights") as name:
        folder = Path(name)
        environment = compiled(folder)
        if given.shared:
            positions(given.shared)
        reached = full_case(folder, environment)
        if not given.skip_growth:
            growth(folder, environment, given.figure)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
