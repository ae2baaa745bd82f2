"""How well stimulus times are found in real recordings whose true times are published.

Reads the folder of somatosensory cells (Reva et al. 2023) and prints, per cell and protocol, how many sweeps have all
their times within 2 ms of the published ones, how many are flagged as doubtful and how many are wrong without a word.

    python benchmarks/detection_accuracy.py --data ../shared/data/patchclamp/sscx
"""

import argparse
import json
import re
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ephysflow.recordings.stimuli import STIMULI, describe, stimulus_name
from ephysflow.recordings.sweep import Sweep

WITHIN = 2.0
"""Largest error of a time [ms]."""

DOUBTFUL = 0.5
"""A confidence below this flags a sweep."""

WEAK = 0.005
"""Sweeps whose step is weaker than this [nA] are counted apart."""

DT = {"APWaveform": 0.01, "APThreshold": 0.1, "SpikeRec": 0.05}
"""Sampling intervals [ms] that differ from 0.25 ms (the header of sAHP files states twice the true one)."""

NESTED = {"sAHP": (10.0, 260.0, 360.0, 1360.0), "IDhyperpol": (100.0, 700.0, 2700.0, 2900.0)}
"""Times of protocols that the published configuration leaves out [ms]: the first from the analysis of these cells
with given times, the second read from the current by eye."""


@dataclass(frozen=True)
class Score:
    """Outcome for one protocol of one cell."""

    cell: str
    protocol: str
    sweeps: int
    strong: int
    right: int
    flagged: int
    wrong: int
    weak_right: int
    worst: float
    seconds: float


def protocols(folder: Path) -> Iterator[tuple[str, list[Sweep]]]:
    """Read the sweeps of one cell, protocol by protocol, in the order of their numbers."""
    from igor2.binarywave import load

    files: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in folder.glob("*_ch0_*.ibw"):
        match = re.fullmatch(r"(?:X|exp)_(\w+)_ch0_(\d+)\.ibw", path.name)
        if match:
            files[match[1]].append((int(match[2]), path))
    for protocol, numbered in sorted(files.items()):
        sweeps = []
        for _, path in sorted(numbered):
            current = load(str(path))["wave"]["wData"].astype(np.float32) * np.float32(1e9)
            other = path.with_name(path.name.replace("_ch0_", "_ch1_"))
            voltage = load(str(other))["wave"]["wData"].astype(np.float32) * np.float32(1e3)
            sweeps.append(Sweep(voltage, current, DT.get(protocol, 0.25)))
        yield protocol, sweeps


def scores(data: Path) -> list[Score]:
    """Compare found and published times for all cells in a folder."""
    options = json.loads((data / "legacy_config.json").read_text())["options"]
    truth = {name: tuple(map(float, times)) for name, times in options["onoff"].items()} | NESTED
    result = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        for protocol, sweeps in protocols(folder):
            stimulus = STIMULI[stimulus_name(protocol, {})]
            begun = time.process_time()
            rows = describe(stimulus, sweeps)
            seconds = time.process_time() - begun
            right = flagged = wrong = weak_right = strong = 0
            worst = 0.0
            for row, sweep in zip(rows, sweeps, strict=True):
                known = truth[protocol]
                first, last = round(known[0] / sweep.dt), round(known[-1] / sweep.dt)
                outside = np.concatenate((sweep.current[:first], sweep.current[last:]))
                step = abs(float(np.median(sweep.current[first:last])) - float(np.median(outside)))
                error = np.inf if isinstance(row, Exception) else _error(stimulus.timing_keys, row, known)
                good = error <= WITHIN
                worst = max(worst, error)
                if step < WEAK:
                    weak_right += good
                    continue
                strong += 1
                doubtful = isinstance(row, Exception) or row["timing_confidence"] < DOUBTFUL
                right += good
                flagged += doubtful and not good
                wrong += not good and not doubtful
            result.append(
                Score(
                    folder.name,
                    protocol,
                    len(sweeps),
                    strong,
                    right,
                    flagged,
                    wrong,
                    weak_right,
                    worst,
                    seconds,
                )
            )
    return result


def _error(keys: tuple[str, ...], row: dict, known: tuple[float, ...]) -> float:
    """Largest error of the times of a row [ms]; of a train of pulses, that of its first start."""
    if "tspike" in row:
        return abs(row["tspike"][0] - known[0])
    return max(abs(row[key] - time) for key, time in zip(keys, known, strict=True))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "patchclamp" / "sscx"
    parser.add_argument("--data", type=Path, default=default, help="folder with one folder per cell")
    data = parser.parse_args().data
    if not (data / "legacy_config.json").is_file():
        print(f"no recordings with published times in {data}: nothing to do")
        return 0
    warnings.simplefilter("ignore")
    table = scores(data)
    print(
        f"{'cell':<18}{'protocol':<13}{'sweeps':>7}{'>=5 pA':>7}{'<2 ms':>7}{'flagged':>8}{'wrong':>6}",
        end="",
    )
    print(f"{'weak':>6}{'<2 ms':>6}{'worst ms':>10}{'CPU ms/sweep':>14}")
    for line in table:
        print(f"{line.cell:<18}{line.protocol:<13}{line.sweeps:>7}{line.strong:>7}{line.right:>7}", end="")
        print(f"{line.flagged:>8}{line.wrong:>6}{line.sweeps - line.strong:>6}{line.weak_right:>6}", end="")
        print(f"{line.worst:>10.2f}{1000 * line.seconds / line.sweeps:>14.1f}")
    strong = sum(line.strong for line in table)
    right = sum(line.right for line in table)
    wrong = sum(line.wrong for line in table)
    print(f"{right} of {strong} sweeps with 5 pA or more within {WITHIN} ms, {wrong} wrong without a word")
    return 0


if __name__ == "__main__":
    sys.exit(main())
