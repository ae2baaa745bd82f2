"""A simulation campaign: ephysflow (whole workflow, Snakemake included) against BlueETL, in one run.

CPU seconds are those of the whole process tree, memory is that of its biggest process. See benchmarks/README.md.

    python benchmarks/campaign.py --shared ../shared --peer PYTHON_WITH_BLUEETL
"""

import argparse
import copy
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from efeatures import CORES, HERE, REPOSITORY, Usage, compiled, print_rules, usage, workflow

PEER_VERSION = "0.13.4"
PEER_PACKAGES = (f"blueetl=={PEER_VERSION}", "pandas<3", "elephant")
PEER_ENVIRONMENT = "EPHYSFLOW_BLUEETL_PYTHON"

N_SIMULATIONS = 16
BUCKETS = (None, 2)
"""Settings of ``buckets`` that are measured: one job a simulation, the default, and few jobs."""

COLD_AIM, CHANGED_AIM = 20.0, 8.0
"""CPU seconds."""

MEMORY_AIM = 600.0
"""Of the largest process [MB]."""

FLAT_AIM = 1.2
"""Largest process with 16 simulations, over that with 4."""

PRODUCT_AIM = 3.0
"""Cost of 12 combinations over that of one."""

DOCUMENTED_AIM = 0.5
"""Cost of the documented example over BlueETL's."""

GROUPBY = ["simulation_id", "circuit_id", "neuron_class", "window"]

FIRING_RATES = "blueetl.external.bnac.calculate_features.calculate_features_multi"

POPULATION = "blueetl.external.bluecv.neuron_class.calculate_features_by_neuron_class"

UNREAD_PARAMETERS = {
    "params_product": {
        "ratio": [0.25, 0.5, 0.75],
        "nested_example": [{"params": {"bin_size": 1}}, {"params": {"bin_size": 2}}],
    },
    "params_zip": {"param1": [10, 20], "param2": [11, 21]},
}
"""The 12 combinations of BlueETL's documentation; the function reads none of them."""

BIN_SIZES = (1, 2, 4, 5, 10, 20, 25, 50, 100, 125, 250, 500)

USER_FUNCTION = '''
import pandas as pd


def spike_counts(repo, key, df, params):
    """Return statistics of the number of spikes a neuron of one group."""
    counts = df.groupby("gid")["time"].count()
    values = {"mean": counts.mean(), "std": counts.std(), "active": int((counts > 0).sum())}
    return {"spike_counts": pd.DataFrame([values])}
'''

PEER, PEER_PARALLEL = "BlueETL", f"BlueETL, BLUEETL_JOBLIB_JOBS={CORES}"


@dataclass(frozen=True)
class Bench:
    """Where measurements run, how often, in what environment, and BlueETL's Python where there is one."""

    folder: Path
    data: Path
    documented: Path
    repeat: int
    environment: dict[str, str]
    python: Path | None

    def ours(self, config: Path, buckets: int | None, folder: Path, *more: str) -> Usage:
        """Run the workflow with a BlueETL configuration in a folder, which may hold an earlier run."""
        campaign = {"analysis_config": str(config), "buckets": buckets}
        command = workflow({"campaign": {"synthetic": campaign}}, *more)(folder)
        return usage(command, self.environment, self.folder / "log")

    def from_nothing(self, config: Path, buckets: int | None) -> tuple[Usage, Path]:
        """Return the medians of a few runs, each in a new folder, and the last folder; the others are removed."""
        runs, folder = [], self.new_folder()
        for _ in range(self.repeat):
            shutil.rmtree(folder)
            folder.mkdir()
            runs.append(self.ours(config, buckets, folder))
        return medians(runs), folder

    def peer(self, config: Path, jobs: int = 1) -> Usage:
        """Run BlueETL once; its cache is named by the configuration."""
        environment = {**self.environment, "BLUEETL_JOBLIB_JOBS": str(jobs), "SHMDIR": str(self.folder)}
        environment["PYTHONPATH"] = str(config.parent)
        command = [str(self.python), HERE / "peer_blueetl.py", config]
        return usage(command, environment, self.folder / "log")

    def new_folder(self) -> Path:
        """Return a new, empty folder for results."""
        runs = self.folder / "runs"
        runs.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=runs))


def medians(runs: Sequence[Usage]) -> Usage:
    """Return the median of each quantity."""
    return Usage(
        *(statistics.median(getattr(run, name) for run in runs) for name in ("cpu", "wall", "memory"))
    )


def peer_python(given: str | None) -> Path | None:
    """Return the Python that has BlueETL: the one given, or that of an environment made here; None if neither."""
    if given:
        return Path(given)
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = caches / f"ephysflow/blueetl-{PEER_VERSION}"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with BlueETL {PEER_VERSION} ...", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(folder, ignore_errors=True)
            print(
                f"BlueETL left out: {error}; name an environment that has it with --peer or {PEER_ENVIRONMENT}"
            )
            return None
    return python


# ------------------------------------------------------------------------------------------- configurations


def write_variant(data: Path, name: str, change: Callable[[dict[str, Any]], None], cache: str = "") -> Path:
    """Write the campaign's configuration with a change beside it; BlueETL's cache is called as the variant."""
    config = copy.deepcopy(yaml.safe_load((data / "analysis.yaml").read_text()))
    change(config)
    config["cache"] = {"path": f"cache_{cache or name}"}
    path = data / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def unchanged(config: dict[str, Any]) -> None:
    """Leave the configuration as it is."""


def first_simulations(count: int, config: dict[str, Any]) -> None:
    """Take the first simulations only."""
    config["simulations_filter"] = {"simulation_id": {"lt": count}}


def with_features(entry: Mapping[str, Any], config: dict[str, Any]) -> None:
    """Compute one feature entry instead of those of the campaign."""
    config["analysis"]["spikes"]["features"] = [{"type": "multi", "groupby": GROUPBY, **entry}]


def psth_entry(bin_sizes: Sequence[int]) -> dict[str, Any]:
    """Return a feature entry with a PSTH of each bin size [ms]."""
    values = [{"params": {"bin_size": float(size)}} for size in bin_sizes]
    return {"function": POPULATION, "params_product": {"PSTH": values}}


# -------------------------------------------------------------------------------------------------- reports


@dataclass(frozen=True)
class Row:
    """One line of a table: what was run, what it took, the aim in words and whether it is reached."""

    name: str
    used: Usage
    aim: str = ""
    reached: bool = True


def print_rows(title: str, rows: Sequence[Row]) -> bool:
    """Print a case and return whether all aims are reached."""
    print(f"\n### {title}\n")
    print("| | CPU s | wall s | largest process MB | aim |")
    print("|---|---:|---:|---:|---|")
    for row in rows:
        aim = f"{row.aim}: {'reached' if row.reached else 'MISSED'}" if row.aim else ""
        print(f"| {row.name} | {row.used.cpu:.2f} | {row.used.wall:.1f} | {row.used.memory:.0f} | {aim} |")
    sys.stdout.flush()
    return all(row.reached for row in rows)


def limited(name: str, used: Usage, cpu: float, text: str) -> Row:
    """Return a row whose CPU time and memory are limited."""
    aim = f"{text}, {MEMORY_AIM:.0f} MB"
    return Row(name, used, aim, used.cpu <= cpu and used.memory <= MEMORY_AIM)


def print_agreement(ours: Path, theirs: Path, names: Sequence[str]) -> bool:
    """Print how far the tables of both sides are apart; return whether all are equal within a part in 1e9.

    In a process of its own: a process that starts others hands its memory on to what is measured of them.
    """
    sys.stdout.flush()
    command = [sys.executable, HERE / "compare_tables.py", ours, theirs, *names]
    return subprocess.run(command).returncode == 0


# ---------------------------------------------------------------------------------------------------- cases

TABLES = ("by_neuron_class", "by_neuron_class_and_trial", "by_gid", "by_gid_and_trial", "histograms")


def campaign(bench: Bench) -> bool:
    """Case 1: from nothing, nothing to do, one parameter changed, one simulation added."""
    base = write_variant(bench.data, "campaign", unchanged)
    entry = {"function": FIRING_RATES, "params": {"export_all_neurons": False}}
    changed = write_variant(bench.data, "changed", partial(with_features, entry), cache="campaign")
    fewer = write_variant(bench.data, "fewer", partial(first_simulations, N_SIMULATIONS - 1), cache="fewer")
    reached, tables = True, Path()
    for buckets in BUCKETS:
        runs: dict[str, list[Usage]] = {name: [] for name in ("cold", "warm", "changed", "added")}
        for _ in range(bench.repeat):
            folder = bench.new_folder()
            runs["cold"].append(bench.ours(base, buckets, folder))
            runs["warm"].append(bench.ours(base, buckets, folder))
            tables = folder / "results/campaign/synthetic/spikes/features"
            growing = bench.new_folder()
            bench.ours(fewer, buckets, growing)
            runs["added"].append(bench.ours(base, buckets, growing))
            runs["changed"].append(bench.ours(changed, buckets, growing))
        used = {name: medians(values) for name, values in runs.items()}
        rows = [
            limited("from nothing", used["cold"], COLD_AIM, f"{COLD_AIM:.0f} CPU s"),
            Row("nothing to do", used["warm"]),
            limited("one parameter changed", used["changed"], CHANGED_AIM, f"{CHANGED_AIM:.0f} CPU s"),
            Row("one simulation added to 15", used["added"]),
        ]
        reached &= print_rows(f"1. Campaign, ephysflow, buckets: {_yaml(buckets)}", rows)
        start = bench.ours(base, buckets, bench.new_folder(), "--dry-run", "--quiet")
        print_rules(folder, used["cold"], start)
    if bench.python:
        rows = [
            Row(f"{PEER_PARALLEL}, from nothing", bench.peer(base, CORES)),
            Row(f"{PEER_PARALLEL}, nothing to do", bench.peer(base, CORES)),
        ]
        reached &= print_agreement(tables, bench.data / "cache_campaign/spikes/features", TABLES)
        rows.append(Row(f"{PEER_PARALLEL}, one parameter changed", bench.peer(changed, CORES)))
        print_rows("1. Campaign, BlueETL", rows)
    return reached


def memory(bench: Bench) -> bool:
    """Case 2: the largest process does not depend on the number of simulations."""
    reached = True
    for buckets in BUCKETS:
        rows: list[Row] = []
        for count in (N_SIMULATIONS // 4, N_SIMULATIONS // 2, N_SIMULATIONS):
            config = write_variant(bench.data, f"first_{count}", partial(first_simulations, count))
            used, _ = bench.from_nothing(config, buckets)
            rows.append(Row(f"{count} simulations", used))
        ratio = rows[-1].used.memory / rows[0].used.memory
        aim = f"at most {FLAT_AIM:g} times the memory of {N_SIMULATIONS // 4}"
        rows[-1] = Row(rows[-1].name, rows[-1].used, aim, ratio <= FLAT_AIM)
        reached &= print_rows(f"2. Number of simulations, buckets: {_yaml(buckets)}", rows)
    return reached


def combinations(bench: Bench) -> bool:
    """Case 3: 12 combinations against one, of parameters that the function does not read and of one that it does."""
    entry = {"function": FIRING_RATES, "params": {"export_all_neurons": True}}
    kinds = {
        "firing rates, parameters that it does not read": (entry, {**entry, **UNREAD_PARAMETERS}),
        "PSTH, bin sizes": (psth_entry(BIN_SIZES[:1]), psth_entry(BIN_SIZES)),
    }
    reached = True
    for number, (kind, entries) in enumerate(kinds.items()):
        configs = [
            write_variant(bench.data, f"{name}_{number}", partial(with_features, given))
            for name, given in zip(("one", "twelve"), entries, strict=True)
        ]
        rows = []
        for buckets in BUCKETS:
            one, twelve = (bench.from_nothing(config, buckets)[0] for config in configs)
            aim = f"{PRODUCT_AIM:g} times one, {MEMORY_AIM:.0f} MB"
            fine = twelve.cpu <= PRODUCT_AIM * one.cpu and twelve.memory <= MEMORY_AIM
            rows.append(Row(f"one combination, buckets: {_yaml(buckets)}", one))
            rows.append(
                Row(
                    f"12 combinations, buckets: {_yaml(buckets)} ({twelve.cpu / one.cpu:.1f} times)",
                    twelve,
                    aim,
                    fine,
                )
            )
        reached &= print_rows(f"3. Combinations: {kind}", rows)
    return reached


def user_function(bench: Bench) -> bool:
    """Case 4: a function of the user's in BlueETL's contract, once a group."""
    (bench.data / "own_functions.py").write_text(USER_FUNCTION)
    entry = {"function": "own_functions.spike_counts"}
    config = write_variant(bench.data, "user", partial(with_features, entry))
    alone = write_variant(bench.data, "alone", partial(with_features, {**entry, "partition": "simulation"}))
    theirs = bench.peer(config) if bench.python else None
    rows = [Row(PEER, theirs)] if theirs else []
    tables = Path()
    for buckets in BUCKETS:
        for name, file in (("unchanged", config), ("partition: simulation", alone)):
            used, folder = bench.from_nothing(file, buckets)
            tables = folder / "results/campaign/synthetic/spikes/features"
            aim = "BlueETL's CPU time" if theirs else ""
            rows.append(
                Row(f"{name}, buckets: {_yaml(buckets)}", used, aim, theirs is None or used.cpu <= theirs.cpu)
            )
    reached = print_rows("4. A user's function, 640 groups", rows)
    if theirs:
        peer_tables = bench.data / "cache_user/spikes/features"
        reached &= print_agreement(tables, peer_tables, ("spike_counts",))
    return reached


def documented(bench: Bench) -> bool:
    """Case 5: BlueETL's documented example, 64 spikes and 12 combinations."""
    config = yaml.safe_load(bench.documented.read_text())
    config["simulation_campaign"] = str((bench.documented.parent / config["simulation_campaign"]).resolve())
    path = bench.folder / "documented.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    theirs = bench.peer(path) if bench.python else None
    rows = [Row(PEER, theirs)] if theirs else []
    tables = Path()
    for buckets in BUCKETS:
        used, folder = bench.from_nothing(path, buckets)
        tables = folder / "results/campaign/synthetic/spikes/features"
        fine = theirs is None or used.cpu <= DOCUMENTED_AIM * theirs.cpu
        aim = f"{DOCUMENTED_AIM:g} of BlueETL's CPU time" if theirs else ""
        rows.append(Row(f"ephysflow, buckets: {_yaml(buckets)}", used, aim, fine))
    reached = print_rows("5. Documented example", rows)
    if theirs:
        names = [f"{table}_0_0__0" for table in TABLES]
        reached &= print_agreement(tables, bench.folder / "cache/spikes/features", names)
    return reached


def _yaml(buckets: int | None) -> str:
    return "null" if buckets is None else str(buckets)


CASES = {
    "campaign": campaign,
    "memory": memory,
    "combinations": combinations,
    "user-function": user_function,
    "documented": documented,
}


def main() -> None:
    """Run the cases that the command line names; exit status 1 when an aim is missed or results differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shared",
        type=Path,
        default=REPOSITORY.parent / "shared",
        help="folder with tools/make_synthetic_campaign.py and golden/campaign",
    )
    parser.add_argument("--peer", default=os.environ.get(PEER_ENVIRONMENT), help="Python that has BlueETL")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ephysflow; medians are printed")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    chosen = parser.parse_args()
    generator = chosen.shared.resolve() / "tools/make_synthetic_campaign.py"
    example = chosen.shared.resolve() / "golden/campaign/doc_config/config.yaml"
    if absent := [path for path in (generator, example) if not path.is_file()]:
        print(f"skipped: {absent[0]} is not there; name the folder that holds it with --shared")
        return
    python = peer_python(chosen.peer)
    with tempfile.TemporaryDirectory(prefix="ephysflow-benchmark-") as name:
        folder = Path(name)
        data = folder / "data"
        subprocess.run([sys.executable, generator, data], check=True)
        bench = Bench(folder, data, example, chosen.repeat, compiled(folder / "bytecode"), python)
        bench.ours(example, None, bench.new_folder())  # not counted: bytecode is there afterwards
        reached = []
        for case in chosen.cases:
            reached.append(CASES[case](bench))
            shutil.rmtree(folder / "runs")  # some GB
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
