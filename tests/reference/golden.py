"""BluePyEfe 2.3.63's reference cases, and the same inputs run through ephysflow's public functions.

Nothing here compares; the tests do. What the tests expect where BluePyEfe is wrong is computed here from the raw
files, with igor2, h5py, SciPy and stock eFEL, and without ephysflow.
"""

import ast
import csv
import json
import math
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ephysflow import api
from ephysflow.efeatures.auto_targets import DEFAULT_AUTO_TARGETS
from ephysflow.efeatures.grouping import GroupedFeatures

csv.field_size_limit(sys.maxsize)

CASES = (
    "b6b8_absolute_amplitude",
    "b6b8_absolute_mean",
    "b6b8_auto_targets_absolute",
    "b6b8_auto_targets_default_fail",
    "b6b8_default_settings",
    "b6b8_flush",
    "b6b8_interpolation",
    "b6b8_legacy_targets",
    "b6b8_majority_mean",
    "b6b8_mode_median",
    "b6b8_no_threshold",
    "b6b8_nvalue2_std",
    "b6b8_per_cell",
    "b6b8_ton_toff_given",
    "csv_lccr_absolute_amplitude",
    "nwb_absolute",
    "nwb_flush",
    "nwb_ton_toff_given",
    "sscx2_all_ecodes_onoff",
    "sscx2_autodetect",
    "sscx2_flush",
    "sscx2_legacy_config",
    "sscx2_majority",
    "synth_ecodes_timing_given",
    "synth_nwb_aibs",
    "synth_nwb_scala",
)

ROOTS = {
    "exp_data": "data/patchclamp/exp_data",
    "sscx": "data/patchclamp/sscx",
    "synthetic": "golden/efeatures/synthetic_data",
}
FILE_KEYS = ("filepath", "i_file", "v_file")

READER = '''"""A user's reader, with BluePyEfe's contract: current in pA, voltage in mV, dt in s."""

import numpy as np


def read(metadata):
    with np.load(metadata["filepath"]) as arrays:
        return [{name: arrays[name] for name in ("voltage", "current")} | {"dt": float(arrays["dt"])}]
'''

DEFAULT_SETTINGS = {"strict_stiminterval": True, "Threshold": -20.0, "interp_step": 0.025}
TIMES = {  # needed to call the times of a sweep given
    "Step": ("ton", "toff"),
    "Ramp": ("ton", "toff"),
    "SAHP": ("ton", "tmid", "tmid2", "toff"),
    "HyperDePol": ("ton", "tmid", "toff"),
    "DeHyperPol": ("ton", "tmid", "toff"),
    "PosCheops": ("ton", "t1", "t2", "t3", "t4", "toff"),
    "NegCheops": ("ton", "t1", "t2", "t3", "t4", "toff"),
    "SpikeRec": ("ton", "toff"),
    "SineSpec": ("ton", "toff"),
    "PinkNoise": ("ton", "toff"),
    "CapCheck": ("ton", "toff"),
}
MATCHED_BY = defaultdict(lambda: "amp", SAHP="amp2", SpikeRec="delta")

Row = Mapping[str, Any]


def number(text: str | None) -> float:
    """Return the number of a cell of a reference table; NaN for an empty one."""
    return float(text) if text else math.nan


def same_number(found: Any, expected: float, rel: float = 0.0, abs_: float = 0.0) -> bool:
    """Whether two numbers are equal, None and NaN being the same."""
    found = math.nan if found is None else float(found)
    if math.isnan(found) or math.isnan(expected):
        return math.isnan(found) and math.isnan(expected)
    return found == expected or abs(found - expected) <= max(abs_, rel * abs(expected))


# ------------------------------------------------------------------------------------------------- reference


class Case:
    """Inputs and outputs of one BluePyEfe run."""

    def __init__(self, shared: Path, name: str):
        self.shared = shared
        self.name = name
        self.folder = shared / "golden" / "efeatures" / name
        self.config = json.loads((self.folder / "config.json").read_text())
        self.options: dict[str, Any] = self.config["options"]
        self.settings: dict[str, Any] = self.options.get("efel_settings", DEFAULT_SETTINGS)
        self.absolute: bool = self.options.get("absolute_amplitude", False)
        self.data = shared / ROOTS[self.config["data_root"]]

    def table(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / f"{name}.csv", newline="") as stream:
            return list(csv.DictReader(stream))

    @cached_property
    def recordings(self) -> list[dict[str, str]]:
        return self.table("recordings")

    @cached_property
    def features(self) -> set[str]:
        """Columns of the recordings table that hold features."""
        columns = list(self.recordings[0])
        return {row["efeature_name"] for row in self.table("targets")} & set(columns)

    @cached_property
    def rheobase(self) -> dict[str, float | None]:
        return {
            row["cell"]: float(row["rheobase_nA"]) if row["rheobase_nA"] else None
            for row in self.table("rheobase")
        }

    def json(self, name: str, cell: str = "") -> Any:
        folder = self.folder / "per_cell" / cell if cell else self.folder
        return json.loads((folder / f"{name}.json").read_text())

    @cached_property
    def warnings(self) -> list[str]:
        return (self.folder / "warnings.txt").read_text().splitlines()

    @property
    def targets(self) -> Any:
        """Targets as our functions take them."""
        given = self.config["targets"]
        return list(DEFAULT_AUTO_TARGETS) if given is None else given

    def files_metadata(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        own_reader = {"reader": "golden_reader.read"} if self.config["reader"] == "npz" else {}
        return {
            cell: {
                protocol: [
                    {
                        key: str(self.data / value) if key in FILE_KEYS else value
                        for key, value in entry.items()
                    }
                    | own_reader
                    for entry in entries
                ]
                for protocol, entries in protocols.items()
            }
            for cell, protocols in self.config["files_metadata"].items()
        }

    def entry(self, cell: str, protocol: str, number: int) -> Row:
        """Metadata of a sweep; a file with several sweeps has one entry."""
        entries = self.config["files_metadata"][cell][protocol]
        return entries[number if len(entries) > 1 else 0]

    @cached_property
    def target_list(self) -> list[dict[str, Any]]:
        """Targets in list form, each once; those that BluePyEfe chose itself, from its table."""
        given = self.config["targets"]
        if given is None:
            # BluePyEfe chooses none without a rheobase; ours has one here, the one of the other case
            chosen = self.table("targets") or Case(self.shared, "b6b8_auto_targets_absolute").table("targets")
            given = [
                {
                    "efeature": row["efel_feature"],
                    "protocol": row["protocol"],
                    "amplitude": json.loads(row["amplitude"]),
                    "tolerance": float(row["tolerance"]),
                }
                for row in chosen
            ]
        elif isinstance(given, dict):
            (tolerance,) = {t for entry in given.values() for t in entry["tolerances"]}
            given = [
                {
                    "efeature": name,
                    "protocol": protocol,
                    "amplitude": amplitude,
                    "tolerance": tolerance,
                    "efel_settings": settings,
                }
                for protocol, entry in given.items()
                for amplitude in entry["amplitudes"]
                for name, settings in entry["efeatures"].items()
            ]
        given = [
            {"efeature_name": target["efeature"], "efel_settings": {}}
            | {key: value for key, value in target.items() if value is not None}
            for target in given
        ]
        return list({json.dumps(target, sort_keys=True): target for target in given}.values())

    @cached_property
    def ranges(self) -> dict[str, set[tuple[float, float]]]:
        """Amplitude and tolerance of the targets of each protocol."""
        ranges = defaultdict(set)
        for target in self.target_list:
            ranges[target["protocol"]].add((target["amplitude"], target["tolerance"]))
        return ranges


@cache
def case_of(shared: Path, name: str) -> Case:
    return Case(shared, name)


# ------------------------------------------------------------------------------------------------- our run


@dataclass(frozen=True)
class Run:
    """What our public functions make of a case's inputs."""

    case: Case
    sweeps: pd.DataFrame
    exclusions: pd.DataFrame
    rheobase: pd.DataFrame | None
    features: pd.DataFrame
    grouped: GroupedFeatures
    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Sweeps in the order of the table, each with its place in cell and protocol."""
        rows = self.sweeps.to_dict("records")
        seen: dict[tuple[str, str], int] = defaultdict(int)
        for row in rows:
            for key, value in row.items():
                if isinstance(value, float) and math.isnan(value):
                    row[key] = None
            row["place"] = seen[row["cell"], row["protocol"]]
            seen[row["cell"], row["protocol"]] += 1
        return rows

    @cached_property
    def known_rheobase(self) -> dict[str, float | None]:
        if self.rheobase is None:
            return {}
        pairs = zip(self.rheobase["cell"], self.rheobase["rheobase"], strict=True)
        return {cell: None if math.isnan(value) else value for cell, value in pairs}

    @cached_property
    def values(self) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
        """Feature rows of each sweep."""
        values = defaultdict(list)
        for row in self.features.to_dict("records"):
            values[row["cell"], row["protocol"], row["sweep"]].append(row)
        return values

    def of_sweep(self, row: Row) -> list[dict[str, Any]]:
        return self.values.get((row["cell"], row["protocol"], row["sweep"]), [])

    def pairs(self, case: Case | None = None) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Our sweeps with those of a case on the same files, by their place in cell and protocol."""
        reference = defaultdict(list)
        for row in (case or self.case).recordings:
            reference[row["cell"], row["protocol"]].append(row)
        for row in self.rows:
            yield row, reference[row["cell"], row["protocol"]][row["place"]]

    @cached_property
    def expected(self) -> list[dict[str, Any]]:
        return expected_targets(self)

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())

    def group(self, cell: str) -> GroupedFeatures:
        """Group one cell alone, with the options of the whole."""
        tables = [table[table["cell"] == cell] for table in (self.sweeps, self.features, self.rheobase)]
        return api.group_efeatures(*tables, self.case.targets, **grouping_options(self.case))


def grouping_options(case: Case) -> dict[str, Any]:
    names = ("absolute_amplitude", "protocol_mode", "threshold_nvalue_save", "default_std_value")
    chosen = {name: case.options[name] for name in names if name in case.options}
    return {"efel_settings": case.options.get("efel_settings"), **chosen}


def rheobase_options(case: Case) -> dict[str, Any]:
    names = {"rheobase_settings": "settings", "protocols_rheobase": "protocols"}
    chosen = {ours: case.options[name] for name, ours in names.items() if name in case.options}
    return {"efel_settings": case.options.get("efel_settings"), **chosen}


def run_case(case: Case, folder: Path) -> Run:
    """Run a case end to end; features of every sweep of a target's protocol, as BluePyEfe computes them."""
    (folder / "golden_reader.py").write_text(READER)
    settings = case.options.get("efel_settings")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sweeps, exclusions = api.read_recordings(case.files_metadata(), user_folder=folder)
        rheobase = None
        if not case.absolute:
            strategy = case.options.get("rheobase_strategy", "absolute")
            rheobase = api.compute_rheobase(sweeps, strategy=strategy, **rheobase_options(case))
        features = api.extract_efeatures(
            sweeps,
            rheobase,
            case.targets,
            efel_settings=settings,
            absolute_amplitude=case.absolute,
            all_sweeps=True,
        )
        grouped = api.group_efeatures(sweeps, features, rheobase, case.targets, **grouping_options(case))
        api.write_efeatures(folder, grouped, sweeps, rheobase, case.options.get("default_std_value", 1e-3))
    return Run(case, sweeps, exclusions, rheobase, features, grouped, folder)


def has_given_times(case: Case, row: Row) -> bool:
    """Whether the metadata hold all times of a sweep; those of SpikeRec are its pulses, which nobody gives."""
    entry = case.entry(row["cell"], row["protocol"], row["place"])
    return row["ecode"] != "SpikeRec" and all(key in entry for key in TIMES[row["ecode"]])


# ------------------------------------------------------------------------------------------------- raw data


def raw_sweep(case: Case, row: Row) -> tuple[np.ndarray, np.ndarray]:
    """Voltage [mV] and current [nA] of a sweep, read without ephysflow."""
    entry = case.entry(row["cell"], row["protocol"], row["place"])
    if "i_file" in entry:
        from igor2 import binarywave

        current, voltage = (
            binarywave.load(str(case.data / entry[key]))["wave"]["wData"].astype(np.float32)
            for key in ("i_file", "v_file")
        )
    elif entry["filepath"].endswith(".txt"):
        return _column(case.data / entry["filepath"], entry, row["place"])
    elif entry["filepath"].endswith(".npz"):
        with np.load(case.data / entry["filepath"]) as arrays:
            current, voltage = arrays["current"], arrays["voltage"]
    else:
        import h5py

        with h5py.File(case.data / entry["filepath"]) as file:
            current, voltage = (_series(file, name) for name in _series_names(row["sweep_id"]))
            entry = {"i_unit": "A", "v_unit": "V", **entry}
    current = current * {"A": 1e9, "pA": 1e-3}[entry["i_unit"]]
    return voltage * {"V": 1e3, "mV": 1.0}[entry["v_unit"]] - entry.get("ljp", 0.0), current


def _column(path: Path, entry: Row, place: int) -> tuple[np.ndarray, np.ndarray]:
    """One column of a text file in mV, with the current that its metadata describe (section 3.4)."""
    cells = [line.split("\t")[place].strip() for line in path.read_text().splitlines()]
    voltage = np.array([0.0 if cell in ("", "-") else float(cell) for cell in cells])
    voltage = voltage[: len(voltage) - int(100 / entry["dt"])] - entry["ljp"]
    ton, toff = (int(entry[key] / entry["dt"]) for key in ("ton", "toff"))
    current = np.full(len(voltage), float(entry["hypamp"]))
    current[ton:toff] += entry["amplitudes"][place]
    return voltage, current * 1e-3


def _series_names(name: str) -> tuple[str, str]:
    """Paths of the stimulus and the response that a sweep of the three NWB files consists of."""
    if name.startswith("Sweep_"):
        return f"stimulus/presentation/{name}", f"acquisition/timeseries/{name}"
    stimulus = name.replace("ic_", "ics_", 1).replace("ClampSeries", "ClampStimulusSeries")
    return f"stimulus/presentation/{stimulus}", f"acquisition/{name}"


def _series(file: Any, name: str) -> np.ndarray:
    data = file[name]["data"]
    return (data[()] * data.attrs["conversion"]).astype(np.float32)


def samples(time: float, row: Row) -> int:
    return round(time / row["dt"])


def defined_amplitudes(row: Row, current: np.ndarray) -> dict[str, float]:
    """Amplitudes [nA] by section 3.8 of the reference document, at the times of a sweep row."""
    from scipy.ndimage import median_filter

    def filtered(values: np.ndarray, size: int = 85) -> np.ndarray:
        return median_filter(values, size=size)

    at = {key: samples(row[key], row) for key in TIMES[row["ecode"]]}
    ton, toff = at["ton"], at["toff"]
    if row["ecode"] == "SAHP":
        smooth = filtered(current)
        hypamp = float(np.median(np.concatenate((smooth[:ton], smooth[toff:])).astype(float)))
        long = np.concatenate((smooth[ton : at["tmid"]], smooth[at["tmid2"] : toff])).astype(float)
        short = smooth[at["tmid"] : at["tmid2"]].astype(float)
        return {
            "hypamp": hypamp,
            "amp": float(np.median(long)) - hypamp,
            "amp2": float(np.median(short)) - hypamp,
        }
    if row["ecode"] == "Step":
        hypamp = float(np.median(filtered(current[:ton]).astype(float)))
        return {"hypamp": hypamp, "amp": float(np.median(current[ton:toff])) - hypamp}
    hypamp = float(np.median(filtered(current[:300]).astype(float)))
    if row["ecode"] == "Ramp":
        return {"hypamp": hypamp, "amp": float(np.median(current[toff - 10 : toff])) - hypamp}
    assert row["ecode"] == "SpikeRec"  # defect 16: BluePyEfe does not subtract the holding current
    return {"hypamp": hypamp, "amp": float(filtered(current, 15).max()) - hypamp}


def defined_threshold(row: Row, voltage: np.ndarray, current: np.ndarray) -> float:
    """Automatic spike threshold [mV] by section 3.9; without a stretch before the stimulus the one after it serves."""
    ton, toff = (samples(row[key], row) for key in ("ton", "toff"))
    if row["ecode"] == "SpikeRec":  # given times are those of the first pulse alone
        inside = np.flatnonzero(current > row["hypamp"] + row["amp"] / 2)
        ton, toff = int(inside[0]), int(inside[-1]) + 1
    base = float(np.median(voltage[:ton] if ton else voltage[toff:]))
    step = float(np.median(voltage[ton:toff]))
    return float(np.clip(max(base, step) + 20.0, base + 20.0, 50.0))


def stock_efel(
    row: Row, voltage: np.ndarray, current: np.ndarray, names: Sequence[str], settings: Row
) -> dict[str, Any]:
    """What eFEL as it is installed returns for a sweep, called as section 3.10 describes."""
    import efel

    trace = {
        "T": (np.arange(len(voltage)) * (row["dt"] / 1000.0) * 1000.0).tolist(),
        "V": voltage.astype(float).tolist(),
        "I": current.astype(float).tolist(),
        "stim_start": [settings.get("stim_start", row["response_start"])],
        "stim_end": [settings.get("stim_end", row["response_end"])],
        "stimulus_current": [row["amp"]],
    }
    if row["ecode"] == "SpikeRec":
        trace["multi_stim_start"] = list(row["tspike"])
        trace["multi_stim_end"] = [start + row["spike_duration"] for start in row["tspike"]]
    efel.reset()
    efel.set_setting("Threshold", settings.get("Threshold", row["auto_threshold"]))
    for name, value in settings.items():
        if name not in ("stim_start", "stim_end"):
            efel.set_setting(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = efel.get_feature_values([trace], list(names), raise_warnings=False)[0]
        efel.reset()
    return found


def value_of(found: Any) -> float:
    """One number for what eFEL returned (section 3.10); NaN where it has none."""
    values = np.array([] if found is None else found, float)
    mean = float(np.mean(values[~np.isnan(values)])) if not np.isnan(values).all() else math.nan
    return mean if math.isfinite(mean) else math.nan


def largest_changes(current: np.ndarray, count: int, width: int) -> list[int]:
    """Samples at which the mean over the next `width` samples differs most from that over the last ones."""
    sums = np.concatenate(([0.0], np.cumsum(current, dtype=float)))
    means = (sums[width:] - sums[:-width]) / width
    change = np.zeros(len(current))
    change[width : len(current) - width + 1] = np.abs(means[width:] - means[:-width])
    found = []
    for _ in range(count):
        found.append(int(np.argmax(change)))
        change[max(0, found[-1] - 2 * width) : found[-1] + 2 * width + 1] = 0.0
    return sorted(found)


# ------------------------------------------------------------------------------------------------- grouping


def expected_targets(run: Run) -> list[dict[str, Any]]:
    """Sweeps and statistics of each target, by section 3.12, from our sweeps, rheobase and feature values."""
    case, table = run.case, []
    least = case.options.get("threshold_nvalue_save", 1)
    default_std = case.options.get("default_std_value", 1e-3)
    for target in case.target_list:
        settings = {**case.settings, **target["efel_settings"]}
        found, values, thresholds, files = [], [], [], []
        for row in run.rows:
            amplitude = target_amplitude(run, row)
            if row["protocol"] != target["protocol"] or amplitude is None:
                continue
            if not abs(target["amplitude"] - amplitude) < target["tolerance"]:
                continue
            found.append(row)
            (value,) = (
                v["value"]
                for v in run.of_sweep(row)
                if v["efeature"] == target["efeature"] and json.loads(v["settings"]) == settings
            )
            if not math.isnan(value):
                values.append(value)
                thresholds.append(row["auto_threshold"])
                files.append(list(row["files"]))
        if values and "Threshold" not in settings:
            settings["Threshold"] = float(np.median(thresholds))
        std = float(np.std(values)) if values and len(set(values)) > 1 else default_std
        table.append(
            {
                **target,
                "settings": settings,
                "found": found,
                "values": values,
                "files": files,
                "kept": len(values) >= max(least, 1),
                "mean": float(np.mean(values)) if values else math.nan,
                "std": std if values else math.nan,
            }
        )
    return table


def target_amplitude(run: Run, row: Row) -> float | None:
    """Amplitude that targets are compared with: nA, percent of the rheobase, or ms for SpikeRec."""
    own = row[MATCHED_BY[row["ecode"]]]
    if run.case.absolute:
        return own
    rheobase = run.known_rheobase[row["cell"]]
    if own is None or rheobase is None:
        return None
    return own if row["ecode"] == "SpikeRec" else 100.0 * own / rheobase


def expected_step(run: Run, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """One entry of protocols.json by sections 3.8 and 3.12, for the classes whose times were detected."""
    operator = {"mean": np.mean, "median": np.median}[run.case.options.get("protocol_mode", "mean")]
    scales = [value for value in run.known_rheobase.values() if value is not None]

    def together(key: str) -> float:
        return float(operator([row[key] for row in rows]))

    def relative(key: str) -> float | None:
        if any(run.known_rheobase.get(row["cell"]) is None for row in rows):
            return None
        return float(operator([100.0 * row[key] / run.known_rheobase[row["cell"]] for row in rows]))

    def amplitude(key: str) -> float:
        return together(key) if run.case.absolute else relative(key) * float(np.mean(scales)) / 100.0

    tend = together("tend")
    holding = {"delay": 0.0, "amp": together("hypamp"), "duration": tend, "totduration": tend}
    ecode = rows[0]["ecode"]
    step: dict[str, Any] = {"delay": together("ton"), "totduration": tend}
    if ecode == "SAHP":
        step |= {key: together(key) for key in ("tmid", "tmid2", "toff")}
        step |= {"amp": amplitude("amp2"), "long_amp": amplitude("amp"), "thresh_perc": relative("amp2")}
        step["duration"] = step["tmid2"] - step["tmid"]
    else:
        step |= {"amp": amplitude("amp"), "thresh_perc": relative("amp")}
    if ecode == "SpikeRec":
        step |= {"delay": rows[0]["tspike"][0], "n_spikes": len(rows[0]["tspike"])}
        step["spike_duration"] = together("spike_duration")
        step["delta"] = float(operator([row["delta"] for row in rows if row["delta"] is not None]))
    elif ecode != "SAHP":
        step["duration"] = together("toff") - together("ton")
    return {"holding": holding, "step": step}


def expected_currents(run: Run, rows: Sequence[Row], rheobase: Mapping[str, float | None]) -> dict[str, Any]:
    """Content of currents.json by section 3.13; what no cell has is absent (defect 22)."""
    default = run.case.options.get("default_std_value", 1e-3)
    cells = dict.fromkeys(row["cell"] for row in rows)
    holding = {cell: float(np.mean([r["hypamp"] for r in rows if r["cell"] == cell])) for cell in cells}
    threshold = {cell: value for cell, value in rheobase.items() if value is not None}
    content: dict[str, Any] = {"all_holding_current": holding, "all_threshold_current": threshold}
    for name, of_cells in (("holding_current", holding), ("threshold_current", threshold)):
        if of_cells:
            values = list(of_cells.values())
            content[name] = [float(np.mean(values)), float(np.std(values)) or default]
    return content


def same_content(found: Any, expected: Any, rel: float, where: str = "") -> None:
    """Assert that two JSON contents are equal, their numbers but for `rel`; order of lists counts."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        assert set(found) == set(expected), where
        for key, value in expected.items():
            same_content(found[key], value, rel, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for k, pair in enumerate(zip(found, expected, strict=True)):
            same_content(*pair, rel, f"{where}/{k}")
    elif isinstance(expected, float):
        assert same_number(found, expected, rel, 1e-15), f"{where}: {found} is not {expected}"
    else:
        assert found == expected, where


def pulses_of(text: str) -> list[float]:
    """Pulse starts in a cell of a reference table."""
    return ast.literal_eval(text)
