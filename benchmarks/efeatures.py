"""E-features: ephysflow (library and whole workflow, Snakemake included) against BluePyEfe, side by side in one run.

CPU seconds are those of the whole process tree, memory is that of its biggest process. See benchmarks/README.md.

    python benchmarks/efeatures.py --data ../shared/data/patchclamp --peer PYTHON_WITH_BLUEPYEFE
"""

import argparse
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PEER_VERSION = "2.3.63"
PEER_ENVIRONMENT = "EPHYSFLOW_PEER_PYTHON"
CORES = 2

EFEL_SETTINGS = {"strict_stiminterval": True, "Threshold": -20.0, "interp_step": 0.025}
"""Given to both sides in all cases."""

TWO_CELLS = ("C060109A1-SR-C1", "C060109A2-SR-C1")
ALL_CELLS = (*TWO_CELLS, "C060114A5-SR-C1", "C061128A1-SR-C1")

FEATURES = (
    *("voltage_base", "adaptation_index2", "mean_frequency", "time_to_first_spike", "time_to_last_spike"),
    *("inv_first_ISI", "inv_second_ISI", "inv_third_ISI", "inv_fourth_ISI", "inv_fifth_ISI", "inv_last_ISI"),
    *("ISI_CV", "ISI_log_slope", "doublet_ISI", "AP_amplitude", "AP1_amp", "APlast_amp", "AHP_depth"),
    *("AHP_time_from_peak", "steady_state_voltage_stimend"),
)
"""Those of BluePyEfe's first set of automatic targets, and one more."""

MEMORY_AIM = 400


@dataclass(frozen=True)
class Usage:
    """What one command took: CPU and wall time [s] and the largest process [MB]."""

    cpu: float
    wall: float
    memory: float


# ------------------------------------------------------------------------------------------------ measuring


def usage(command: Sequence[str | Path], environment: dict[str, str], log: Path) -> Usage:
    """Run a command to its end; CPU time and memory are those of it and of all processes that it waited for."""
    with open(log, "w") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{log.read_text()[-3000:]}")
    return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def compiled(folder: Path) -> dict[str, str]:
    """Return an environment in which both sides keep their bytecode, as after an ordinary installation."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def peer_python(given: str | None) -> Path | None:
    """Return the Python that has BluePyEfe: the one given, or that of an environment made here; None if neither."""
    if given:
        return Path(given)
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"ephysflow/bluepyefe-{PEER_VERSION}"
    )
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with BluePyEfe {PEER_VERSION} ...", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", f"bluepyefe=={PEER_VERSION}"], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(folder, ignore_errors=True)
            print(
                f"BluePyEfe left out: {error}; name an environment that has it with --peer or {PEER_ENVIRONMENT}"
            )
            return None
    return python


# ---------------------------------------------------------------------------------------------------- cases


def legacy_case(
    data: Path, cells: Sequence[str], folder: Path, copies: int = 1, files: int | None = None
) -> Path:
    """Write the published configuration for some cells, each under `copies` names, and return its path."""
    config = json.loads((data / "sscx" / "legacy_config.json").read_text())
    config["path"] = f"{data / 'sscx'}/"
    chosen = {}
    for copy in range(copies):
        for cell in cells:
            content = json.loads(json.dumps(config["cells"][cell]))
            for experiment in content["experiments"].values():
                # BluePyEfe drops the junction potential of a cell, but not that of a file
                experiment["files"] = [
                    {**file, "ljp": content["ljp"]} for file in experiment["files"][:files]
                ]
            chosen[f"{cell}-{copy}" if copies > 1 else cell] = content
    config["cells"] = chosen
    path = folder / f"legacy_{len(chosen)}.json"
    path.write_text(json.dumps(config))
    return path


def sweeps_case(data: Path, cells: int = 40) -> dict[str, Any]:
    """Return 5 sweeps of 3 s at 4 kHz for each of `cells` cells, files used more than once, and 20 features."""
    groups = []
    for cell in ("B6", "B8"):
        currents = sorted((data / "exp_data" / cell).glob("*_Ch0_IDRest_*.ibw"))
        units = {"i_unit": "pA", "v_unit": "mV"}
        groups.append([{**_pair(path, "_Ch0_", "_Ch3_"), **units} for path in currents])
    for cell in ALL_CELLS:
        currents = sorted((data / "sscx" / cell).glob("X_IDrest_ch0_*.ibw"))
        units = {"i_unit": "A", "v_unit": "V"}
        count = len(currents) // 5
        for first in range(count):
            groups.append([{**_pair(path, "_ch0_", "_ch1_"), **units} for path in currents[first::count][:5]])
    common = {"t_unit": "s", "dt": 0.00025, "ljp": 14.0, "ton": 700.0, "toff": 2700.0}
    return {
        "files_metadata": {
            f"cell{i:02d}": {"IDrest": [{**entry, **common} for entry in groups[i % len(groups)]]}
            for i in range(cells)
        },
        "targets": [
            {"efeature": name, "protocol": "IDrest", "amplitude": amplitude, "tolerance": 25.0}
            for amplitude in (150, 200, 250, 300)
            for name in FEATURES
        ],
        "protocols_rheobase": ["IDrest"],
    }


def _pair(current: Path, current_mark: str, voltage_mark: str) -> dict[str, str]:
    voltage = current.with_name(current.name.replace(current_mark, voltage_mark))
    return {"i_file": str(current), "v_file": str(voltage)}


def write_job(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """Write what the two extraction scripts read."""
    path = folder / f"{name}.job.json"
    path.write_text(json.dumps({**content, "efel_settings": EFEL_SETTINGS}))
    return path


# ------------------------------------------------------------------------------------------------- commands


Command = Callable[[Path], list[str | Path]]
"""From an empty output folder to the command that fills it."""


@dataclass(frozen=True)
class Bench:
    """Where measurements run, how often, and in what environment."""

    folder: Path
    repeat: int
    environment: dict[str, str]

    def measure(self, command: Command, repeat: int | None = None) -> tuple[Usage, Path]:
        """Run a command a few times, each with a new output folder; return the medians and the last folder."""
        runs = []
        for _ in range(repeat or self.repeat):
            output = Path(tempfile.mkdtemp(dir=self.folder))
            runs.append(usage(command(output), self.environment, self.folder / "log"))
        medians = (
            statistics.median(getattr(run, name) for run in runs) for name in ("cpu", "wall", "memory")
        )
        return Usage(*medians), output


def library(job: Path, processes: int = 1) -> Command:
    """Return the command of ephysflow's library."""
    return lambda output: [sys.executable, HERE / "library_ephysflow.py", job, output, str(processes)]


def peer(python: Path, job: Path, processes: int = 1) -> Command:
    """Return the command of BluePyEfe."""
    return lambda output: [python, HERE / "peer_bluepyefe.py", job, output, str(processes)]


def workflow(config: dict[str, Any], *more: str) -> Command:
    """Return the command of the whole workflow, from nothing: no results, no .snakemake."""

    def command(output: Path) -> list[str | Path]:
        file = output / "config.yaml"
        file.write_text(json.dumps({**config, "plots": False}))  # JSON is YAML
        snakemake: list[str | Path] = [
            sys.executable,
            "-m",
            "snakemake",
            f"-c{CORES}",
            "--snakefile",
            REPOSITORY / "Snakefile",
        ]
        return [*snakemake, "--directory", output, "--configfile", file, *more]

    return command


def workflow_config(job: dict[str, Any], folder: Path, buckets: int) -> dict[str, Any]:
    """Return the configuration for what the extraction scripts get as a job."""
    file = folder / "files_metadata.json"
    file.write_text(json.dumps(job["files_metadata"]))
    return {
        "recordings": {"files_metadata": str(file)},
        "efeatures": {
            "targets": job["targets"],
            "rheobase": {"protocols": job["protocols_rheobase"]},
            "efel_settings": EFEL_SETTINGS,
            "buckets": buckets,
        },
    }


# -------------------------------------------------------------------------------------------------- reports


def print_table(title: str, rows: dict[str, Usage], aims: dict[str, float]) -> bool:
    """Print a case; ratios are to the best of BluePyEfe's rows. Return whether all aims are reached."""
    print(f"\n### {title}\n")
    print("| | CPU s | wall s | largest process MB | CPU ratio | wall ratio | aim |")
    print("|---|---:|---:|---:|---:|---:|---|")
    theirs = [used for name, used in rows.items() if name in PEER]
    reached = True
    for name, used in rows.items():
        compared = ["", "", ""]
        if theirs and name not in PEER:
            cpu, wall = (min(getattr(row, quantity) for row in theirs) for quantity in ("cpu", "wall"))
            compared = [_ratio(used.cpu, cpu), _ratio(used.wall, wall), ""]
            if name in aims:
                fine = used.cpu <= cpu * aims[name] and used.wall < wall and used.memory <= MEMORY_AIM
                compared[2] = f"1/{1 / aims[name]:.0f}: {'reached' if fine else 'MISSED'}"
                reached &= fine
        cells = [name, f"{used.cpu:.2f}", f"{used.wall:.2f}", f"{used.memory:.0f}", *compared]
        print("| " + " | ".join(cells) + " |")
    return reached


def _ratio(ours: float, theirs: float) -> str:
    return f"1/{theirs / ours:.1f}" if ours < theirs else f"{ours / theirs:.1f}"


def print_rules(output: Path, total: Usage, start: Usage) -> None:
    """Print where a run of the workflow spent its time, rule by rule, from the benchmark files of the jobs."""
    rules: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    logs = output / "results" / "logs"
    for file in logs.rglob("*.benchmark.tsv"):
        rule = file.relative_to(logs).parts[0].removesuffix(".benchmark.tsv")
        with open(file, newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                rules[rule].append(tuple(_number(row[name]) for name in ("s", "cpu_time", "max_rss")))  # type: ignore[arg-type]
    print("\n| rule | jobs | wall s, summed | CPU s, sampled | largest MB, sampled |")
    print("|---|---:|---:|---:|---:|")
    for rule, jobs in sorted(rules.items(), key=lambda item: -sum(job[0] for job in item[1])):
        wall, cpu, memory = zip(*jobs, strict=True)
        print(f"| {rule} | {len(jobs)} | {sum(wall):.2f} | {sum(cpu):.2f} | {max(memory):.0f} |")
    print(f"\n`snakemake -n` (start, parsing, plan, job graph): {start.cpu:.2f} of {total.cpu:.2f} CPU s.")
    print("Snakemake samples a job's CPU time and misses its end: jobs below about 2 s show too little.")


def _number(text: str) -> float:
    return 0.0 if text in ("", "-", "NA") else float(text)


def print_agreement(ours: Path, theirs: Path) -> None:
    """Print how many means of features.json are equal on both sides."""
    a, b = (_means(path / "features.json") for path in (ours, theirs))
    common = set(a) & set(b)
    equal = sum(math.isclose(a[key], b[key], rel_tol=1e-6, abs_tol=1e-9) for key in common)
    print(
        f"\nfeatures.json: {len(a)} means here, {len(b)} from BluePyEfe; {equal} of the {len(common)} in both are equal."
    )


def _means(path: Path) -> dict[tuple[str, str], float]:
    content = json.loads(path.read_text())
    return {
        (stimulus, feature["efeature_name"]): feature["val"][0]
        for stimulus, sites in content.items()
        for features in sites.values()
        for feature in features
    }


# ---------------------------------------------------------------------------------------------------- main

PEER = ("BluePyEfe, one process", f"BluePyEfe, Pool({CORES})")
LIBRARY = ("ephysflow library, one process", f"ephysflow library, Pool({CORES})")
WORKFLOW = f"ephysflow workflow, snakemake -c{CORES}"


def two_cells(bench: Bench, data: Path, python: Path | None) -> bool:
    """Case 1: the published configuration of two cells."""
    legacy = legacy_case(data, TWO_CELLS, bench.folder)
    job = write_job(bench.folder, "two_cells", {"legacy_config": str(legacy)})
    return _side_by_side(
        bench,
        python,
        "1. Published configuration, 2 cells, 310 sweeps",
        job,
        {"legacy_config": str(legacy)},
        {LIBRARY[0]: 1 / 10, LIBRARY[1]: 1 / 10, WORKFLOW: 1 / 4},
    )


def many_sweeps(bench: Bench, data: Path, python: Path | None) -> bool:
    """Case 2: 200 sweeps, 20 features."""
    content = sweeps_case(data)
    everything = write_job(bench.folder, "all_sweeps", {**content, "all_sweeps": True})
    return _side_by_side(
        bench,
        python,
        "2. 200 sweeps of 40 cells, 20 features",
        write_job(bench.folder, "many_sweeps", content),
        workflow_config(content, bench.folder, buckets=8),
        {LIBRARY[0]: 1 / 10, LIBRARY[1]: 1 / 10},
        {f"{LIBRARY[0]}, every sweep": library(everything)},
    )


def _side_by_side(
    bench: Bench,
    python: Path | None,
    title: str,
    job: Path,
    config: dict[str, Any],
    aims: dict[str, float],
    more: dict[str, Command] | None = None,
) -> bool:
    """Measure and print both sides, where the workflow's time goes, and whether the values are the same."""
    commands: dict[str, Command] = {}
    for processes, theirs, ours in zip((1, CORES), PEER, LIBRARY, strict=True):
        if python:
            commands[theirs] = peer(python, job, processes)
        commands[ours] = library(job, processes)
    commands |= {**(more or {}), WORKFLOW: workflow(config)}
    rows, outputs = {}, {}
    for name, command in commands.items():
        rows[name], outputs[name] = bench.measure(command)
    start, _ = bench.measure(workflow(config, "--dry-run", "--quiet"))
    reached = print_table(
        title, {name: rows[name] for name in sorted(rows, key=lambda name: name not in PEER)}, aims
    )
    print_rules(outputs[WORKFLOW], rows[WORKFLOW], start)
    if python:
        print_agreement(outputs[LIBRARY[0]], outputs[PEER[0]])
    return reached


def many_cells(bench: Bench, data: Path, python: Path | None) -> bool:
    """Case 3: 40 cells; BluePyEfe's time a cell is that of two cells, less its start."""
    copies = 10
    legacy = legacy_case(data, ALL_CELLS, bench.folder, copies)
    rows = {}
    if python:
        two = legacy_case(data, TWO_CELLS, bench.folder)
        job = write_job(bench.folder, "two_cells", {"legacy_config": str(two)})
        idle, _ = bench.measure(lambda _: [python, "-c", "import bluepyefe.extract"])
        run, _ = bench.measure(peer(python, job), repeat=1)
        rows[PEER[0]] = _each(run, len(TWO_CELLS), idle)
    config = {"legacy_config": str(legacy), "efeatures": {"buckets": 8}}
    total, output = bench.measure(workflow(config), repeat=1)
    start, _ = bench.measure(workflow(config, "--dry-run", "--quiet"), repeat=1)
    count = copies * len(ALL_CELLS)
    rows[WORKFLOW] = _each(total, count)
    reached = print_table(
        f"3. {count} cells (4 cells under {copies} names), per cell", rows, {WORKFLOW: 1 / 8}
    )
    print_rules(output, total, start)
    return reached


def _each(total: Usage, cells: int, idle: Usage | None = None) -> Usage:
    """Return what one of several cells took; memory is that of the process."""
    cpu, wall = (total.cpu - idle.cpu, total.wall - idle.wall) if idle else (total.cpu, total.wall)
    return Usage(cpu / cells, wall / cells, total.memory)


CASES = {"two-cells": two_cells, "many-sweeps": many_sweeps, "many-cells": many_cells}


def main() -> None:
    """Run the cases that the command line names; exit status 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "patchclamp")
    parser.add_argument("--peer", default=os.environ.get(PEER_ENVIRONMENT), help="Python that has BluePyEfe")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command; medians are printed")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    chosen = parser.parse_args()
    data = chosen.data.resolve()
    if not (data / "sscx" / "legacy_config.json").is_file():
        print(f"skipped: no recordings in {data}; name the folder that holds sscx/ and exp_data/ with --data")
        return
    python = peer_python(chosen.peer)
    with tempfile.TemporaryDirectory(prefix="ephysflow-benchmark-") as name:
        folder = Path(name)
        bench = Bench(folder, chosen.repeat, compiled(folder / "bytecode"))
        small = legacy_case(data, TWO_CELLS[:1], folder, files=2)
        job = write_job(folder, "small", {"legacy_config": str(small)})
        # once without looking: bytecode and the disk's cache are there afterwards
        for command in (
            library(job),
            workflow({"legacy_config": str(small)}),
            *([peer(python, job)] if python else []),
        ):
            bench.measure(command, repeat=1)
        reached = [CASES[case](bench, data, python) for case in chosen.cases]
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
