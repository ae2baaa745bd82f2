"""Session files, tables, manifests, servers and configurations that are wrong or damaged: one message, or listed."""

import importlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

import ephysflow
from ephysflow.cli import JOBS, main
from ephysflow.codehash import CodeHasher
from ephysflow.ecephys.manifest import LAYOUT
from ephysflow.errors import ConfigurationError, EphysflowError, ProjectError
from ephysflow.example.ecephys_files import write_lfp, write_session
from ephysflow.io.tables import read_rows, read_table
from ephysflow.io.yaml_files import read_yaml
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import plan_workflow
from ephysflow.steps import STEPS

from ..fake_warehouse import FakeWarehouse, small_project
from ..unit.session_nwb import write_allen_session
from .folders import Folder, write_config

RESULTS = Path("results/ecephys/p")
FIRST, SECOND = "731000001", "731000002"
FILE = f"nwb/session_{FIRST}.nwb"
PROBE = 740000010
"""The one with LFP."""

HTML = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>\n"
STEPS_RUN = (
    "fetch_file",
    "index_session",
    "extract_session",
    "make_project_tables",
    "collect_exclusions",
    "join_analysis_metrics",
)
"""In the order of their inputs; plots aside."""

Damage = Callable[[Path], object]
Failures = dict[str, EphysflowError]


# ---------------------------------------------------------------- a small project


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Make what all tests begin with: the session files, and the hashes of the library."""
    folder = tmp_path_factory.mktemp("made")
    write_session(folder / FILE, int(FIRST), seed=1)
    other = write_allen_session(folder / f"nwb/session_{SECOND}.nwb")  # few columns: read in every test
    with h5py.File(other, "a") as file:
        set_text(file, "identifier", SECOND)
    write_lfp(folder / f"lfp_{PROBE}.nwb", int(FIRST), PROBE, seed=1)
    hasher = CodeHasher(folder / "code.json")
    for step in STEPS.values():
        hasher.library(step.modules)
    hasher.save()
    return folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, made) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".snakemake/ephysflow").mkdir(parents=True)
    shutil.copy(made / "code.json", ".snakemake/ephysflow/code.json")
    shutil.copytree(made / "nwb", "nwb")


def project(**settings: Any) -> dict[str, Any]:
    """Return the section of a project; None takes a key away."""
    section = {"source": "nwb", "folder": "nwb", "products": ["units", "spikes"], **settings}
    return {key: value for key, value in section.items() if value is not None}


def configure(section: Mapping[str, Any] | None = None, **more: Any) -> Path:
    """Write the configuration of one project, ``p``."""
    content = {"results": "results", "plots": False, "ecephys": {"p": dict(section or project())}, **more}
    return write_config(Path("config.yaml"), content)


def run(section: Mapping[str, Any] | None = None) -> Failures:
    """Plan the configuration in this process and run all its jobs whose inputs are there, plots aside.

    Only what is the input's fault counts as a failure; every other error passes, and fails the test.
    """
    return run_file(configure(section))


def run_file(path: Path) -> Failures:
    plan, plan_file = plan_workflow(read_yaml(path), [path])
    failures: Failures = {}
    for step in STEPS_RUN:
        for key in [key for of_step, key in plan.items if of_step == step]:
            parts = key.split(SEPARATOR)
            if not all(Path(file).is_file() for file in inputs_of(plan, step, parts)):
                continue
            module, function, _ = JOBS[step.replace("_", "-")]
            try:
                getattr(importlib.import_module(module), function)(read_job(plan_file, step, parts))
            except EphysflowError as error:
                failures[f"{step}({', '.join(parts[1:])})"] = error
    return failures


def inputs_of(plan: Plan, step: str, parts: Sequence[str]) -> list[str | Path]:
    own, *item = parts
    project_plan = plan.projects[own]
    inputs: dict[str, Callable[..., list[Any]]] = {
        "fetch_file": lambda _: [],
        "index_session": project_plan.index_inputs,
        "extract_session": project_plan.product_inputs,
        "make_project_tables": project_plan.tables_inputs,
        "collect_exclusions": project_plan.exclusions_inputs,
        "join_analysis_metrics": project_plan.metrics_inputs,
    }
    return inputs[step](*item)


def exclusions() -> list[dict[str, Any]]:
    return read_rows(RESULTS / "exclusions.parquet")


def rows_of(table: str, session: str | None = None) -> int:
    path = (
        RESULTS / f"{table}.parquet" if session is None else RESULTS / f"sessions/{session}/{table}.parquet"
    )
    return read_table(path).num_rows


def says(error: EphysflowError | str, wanted: Sequence[str]) -> bool:
    """Check that a message has all that it should have, and neither a traceback nor what a program calls things."""
    text = str(error)
    assert [part for part in wanted if part not in text] == [], text
    for unwanted in ("Traceback", "\x1b", "Errno", "<class", "object at 0x"):
        assert unwanted not in text, text
    assert len(text) < 3000
    return True


def refused(
    capsys: Any, wanted: Sequence[str], section: Mapping[str, Any] | None = None, **more: Any
) -> None:
    """Check that ``ephysflow validate`` refuses a configuration, in few words, before anything is written."""
    configure(section, **more)
    assert main(["validate", "config.yaml"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow validate: error: ")
    assert says(printed.err, wanted)
    lines = printed.err.splitlines()  # one, or one a key that is wrong
    assert "source fixed" in lines[0] or all("config.yaml: ecephys.p" in line for line in lines[1:])
    assert not Path("results").exists()


def one_failure(failures: Failures, job: str) -> EphysflowError:
    assert [*failures] == [job]
    return failures[job]


# ---------------------------------------------------------------- damages


def with_bytes(path: str, content: bytes | str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def cut(path: str, keep: Callable[[bytes], int] = lambda content: len(content) // 2) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: keep(content)])

    return damage


def in_file(change: Callable[[h5py.File], object], path: str = FILE) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(folder / path, "a") as file:
            change(file)

    return damage


def values(name: str, change: Callable[[np.ndarray], Any]) -> Damage:
    """Replace a dataset by what `change` makes of its values."""

    def damage(file: h5py.File) -> None:
        found, attributes = file[name][()], dict(file[name].attrs)
        del file[name]
        file[name] = change(found)
        file[name].attrs.update(attributes)

    return in_file(damage)


def declared(name: str, shape: tuple[int, ...], path: str = FILE) -> Damage:
    """Replace a dataset by one that declares `shape` and holds nothing."""

    def damage(file: h5py.File) -> None:
        kind, attributes = file[name].dtype, dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, shape, kind, chunks=tuple(min(size, 1000) for size in shape))
        file[name].attrs.update(attributes)

    return in_file(damage, path)


def without(name: str) -> Damage:
    return in_file(lambda file: file.__delitem__(name))


def attribute(value: Any, name: str = "nwb_version", place: str = "/") -> Damage:
    return in_file(lambda file: file[place].attrs.__setitem__(name, value))


def entry(place: int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(found: np.ndarray) -> np.ndarray:
        found[place] = value
        return found

    return change


def set_text(file: h5py.File, name: str, value: str) -> None:
    del file[name]
    file[name] = value


def text(name: str, value: str) -> Damage:
    return in_file(lambda file: set_text(file, name, value))


@pytest.fixture(scope="module")
def good(tmp_path_factory, made) -> dict[str, int]:
    """Return the rows of the products of the second session as they should be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("good"))
        shutil.copytree(made / "nwb", "nwb")
        Path(".snakemake/ephysflow").mkdir(parents=True)
        shutil.copy(made / "code.json", ".snakemake/ephysflow/code.json")
        assert run() == {}
        assert exclusions() == []
        return {name: rows_of(name, SECOND) for name in ("units", "spikes")}


# ---------------------------------------------------------------- session files that cannot be used at all

UNUSABLE: dict[str, tuple[Damage, tuple[str, ...]]] = {
    # name: damage to the first session's file, what its reason must say
    "without units": (without("units"), ("the session has no units", "/units is missing")),
    "units that are no table": (
        in_file(lambda f: f["units"].attrs.__delitem__("colnames")),
        ("/units", "no table", "colnames"),
    ),
    "units without ids": (without("units/id"), ("/units", "id is missing")),
    "cut in the middle": (cut(FILE), ("cut short",)),
    "cut by one byte": (cut(FILE, lambda content: len(content) - 1), ("cut short",)),
    "empty": (with_bytes(FILE, b""), ("is empty",)),
    "garbage": (with_bytes(FILE, bytes(range(256)) * 40), ("not HDF5", "damaged")),
    "zeros": (with_bytes(FILE, bytes(5000)), ("not HDF5", "damaged")),
    "an HTML page": (with_bytes(FILE, HTML), ("is an HTML or XML page, not an NWB file",)),
    "a table": (with_bytes(FILE, "id,quality\n1,good\n"), ("not HDF5",)),
    "HDF5, not NWB": (
        in_file(lambda f: f.attrs.__delitem__("nwb_version")),
        ("is HDF5, but no file of NWB 2", "nwb_version is missing"),
    ),
    "NWB 1": (attribute("NWB-1.0.6"), ("no file of NWB 2", "'NWB-1.0.6'")),
    "NWB 1 by number": (attribute(1.0), ("no file of NWB 2", "1.0")),
    "without identifier": (
        in_file(lambda f: [f.__delitem__(name) for name in ("identifier", "general/session_id")]),
        ("cannot be named", "identifier", "neither is there"),
    ),
    "a path as identifier": (
        in_file(
            lambda f: [set_text(f, name, "../../etc/passwd") for name in ("identifier", "general/session_id")]
        ),
        ("cannot be named", "'../../etc/passwd'", "letters, digits"),
    ),
    "of another session": (
        text("identifier", "731000009"),
        ("is the file of session 731000009", f"stands for session {FIRST}"),
    ),
    "units of one id": (values("units/id", entry(1, 950010000)), ("/units/id", "occurs more than once")),
    "negative ids": (values("units/id", entry(1, -5)), ("/units/id", "-5", "no id")),
    "ids that are texts": (
        values("units/id", lambda found: found.astype("S")),
        ("/units/id", "one integer a row is needed"),
    ),
    "more ids than units": (
        values("units/id", lambda found: np.append(found, found.max() + 1)),
        ("units", "shape", "25 rows", "length of id"),
    ),
    "an id too little": (values("units/id", lambda found: found[:-1]), ("units", "23 rows", "length of id")),
    "a column of wrong length": (
        values("units/snr", lambda found: found[:-1]),
        ("/units/snr", "(23,)", "24 rows"),
    ),
    "a metric of texts": (
        values("units/presence_ratio", lambda found: found.astype("S")),
        ("units/presence_ratio", "must be numbers"),
    ),
    "a column that is not there": (without("units/snr"), ("/units", "snr is missing")),
    "electrodes that are no table": (
        in_file(lambda f: f["general/extracellular_ephys/electrodes"].attrs.__delitem__("colnames")),
        ("electrodes", "no table", "colnames"),
    ),
    "channels of one id": (
        values("general/extracellular_ephys/electrodes/id", lambda found: found * 0 + 7),
        ("electrodes/id", "7 occurs more than once"),
    ),
    "peak channels that are no integers": (
        values("units/peak_channel_id", lambda found: found + 0.5),
        ("units/peak_channel_id", "one integer a unit"),
    ),
    "units in another file": (
        in_file(
            lambda f: (f.__delitem__("units"), f.__setitem__("units", h5py.ExternalLink("b.nwb", "/units")))
        ),
        ("link to another file", "b.nwb"),
    ),
    "units in a circle of links": (
        in_file(lambda f: (f.__delitem__("units"), f.__setitem__("units", h5py.SoftLink("/units")))),
        ("leads back to itself",),
    ),
    "ids of a declared size": (declared("units/id", (10**12,)), ("/units/id", "does not hold these values")),
    "a column of a declared size": (
        declared("units/snr", (10**12,)),
        ("/units/snr", "does not hold these values"),
    ),
    "without spike times": (without("units/spike_times"), ("/units", "spike_times")),
    "without index": (without("units/spike_times_index"), ("/units/spike_times", "shape", "24 rows")),
    "waveforms of a declared size": (
        declared("units/waveform_mean", (10**9, 1000)),
        ("/units/waveform_mean", "declares shape (1000000000, 1000)", "does not hold these values"),
    ),
    "spike times of a declared size": (
        declared("units/spike_times", (10**12,)),
        ("/units/spike_times", "declares shape (1000000000000,)", "does not hold these values"),
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_session_file_that_cannot_be_used_is_left_out_and_the_others_go_on(name, good):
    damage, wanted = UNUSABLE[name]
    damage(Path())
    assert run() == {}
    (row,) = exclusions()
    assert (row["session"], row["subject"], row["kept"]) == (FIRST, "session", False)
    assert says(row["reason"], wanted)
    assert FILE in row["reason"]
    assert "\n" not in row["reason"]
    assert rows_of("sessions") == 1
    assert {product: rows_of(product, SECOND) for product in good} == good
    assert {product: rows_of(product, FIRST) for product in good} == {"units": 0, "spikes": 0}


# ---------------------------------------------------------------- products that cannot be read

AMPLITUDES = "units/spike_amplitudes"
TIMES = "units/spike_times"
ELECTRODES = "general/extracellular_ephys/electrodes"
DAMAGED: dict[str, tuple[str, Damage, tuple[str, ...]]] = {
    # name: the product that is lost, damage to the first session's file, what its reason must say
    "index beyond the data": (
        "spikes",
        values(f"{TIMES}_index", lambda found: found + (np.arange(len(found)) == len(found) - 1)),
        ("/units/spike_times_index", "ends at", "/units/spike_times has"),
    ),
    "index far beyond the data": (
        "spikes",
        values(f"{TIMES}_index", lambda found: np.append(found[:-1].astype(np.uint64), np.uint64(2**62))),
        ("/units/spike_times_index", "ends at 4611686018427387904"),
    ),
    "index short of the data": (
        "spikes",
        values(f"{TIMES}_index", lambda found: np.minimum(found, found[-1] - 3)),
        ("/units/spike_times_index", "ends at"),
    ),
    "decreasing index": (
        "spikes",
        values(f"{TIMES}_index", entry(3, 1)),
        ("/units/spike_times_index", "decreases at row 3"),
    ),
    "index of wrong length": (
        "spikes",
        values(f"{TIMES}_index", lambda found: found[:-1]),
        ("/units/spike_times_index", "has 23 entries", "24 rows (length of id)"),
    ),
    "index of numbers with points": (
        "spikes",
        values(f"{TIMES}_index", lambda found: found.astype(float)),
        ("/units/spike_times_index", "float64", "one integer a row is needed"),
    ),
    "negative index": (
        "spikes",
        values(f"{TIMES}_index", lambda found: entry(0, -4)(found.astype(np.int64))),
        ("/units/spike_times_index", "decreases at row 0 (0, then -4)"),
    ),
    "a spike time that is NaN": (
        "spikes",
        values(TIMES, entry(100, np.nan)),
        ("/units/spike_times", "unit 950010", "a spike time that is nan", "spike 100)"),
    ),
    "a spike time that is infinite": (
        "spikes",
        values(TIMES, entry(100, np.inf)),
        ("/units/spike_times", "a spike time that is inf"),
    ),
    "spike times of texts": (
        "spikes",
        values(TIMES, lambda found: found.astype("S")),
        ("/units/spike_times", "must be numbers"),
    ),
    "spike times in two dimensions": (
        "spikes",
        values(TIMES, lambda found: np.stack([found, found], axis=1)),
        ("/units/spike_times", "one dimension", "shape"),
    ),
    "amplitudes of wrong number": (
        "spikes",
        values(
            f"{AMPLITUDES}_index", lambda found: found - 10 * (np.arange(len(found)) == 0).astype(found.dtype)
        ),
        ("/units", "spike_times, but", "spike_amplitudes"),
    ),
    "waveforms of texts": (
        "mean_waveforms",
        values("units/waveform_mean", lambda found: found.astype("S")),
        ("/units/waveform_mean", "must be numbers"),
    ),
    "presentations without start": (
        "stimulus_presentations",
        without("intervals/flashes_presentations/start_time"),
        ("/intervals/flashes_presentations", "start_time is missing"),
    ),
    "presentations of wrong length": (
        "stimulus_presentations",
        values("intervals/flashes_presentations/stop_time", lambda found: found[:-1]),
        ("/intervals/flashes_presentations/stop_time", "rows"),
    ),
    "presentations that start at NaN": (
        "stimulus_presentations",
        values("intervals/flashes_presentations/start_time", entry(1, np.nan)),
        ("/intervals/flashes_presentations: row 1", "from nan to", "finite times are needed"),
    ),
    "presentations that stop before they start": (
        "stimulus_presentations",
        values("intervals/flashes_presentations/stop_time", entry(1, -1.0)),
        ("/intervals/flashes_presentations: row 1", "to -1.0 s", "no stop before the start"),
    ),
    "presentations of a declared size": (
        "stimulus_presentations",
        declared("intervals/flashes_presentations/start_time", (10**12,)),
        ("/intervals/flashes_presentations/start_time", "does not hold these values"),
    ),
    "running speed of wrong length": (
        "running_speed",
        values("processing/running/running_speed/data", lambda found: found[:-1]),
        ("/processing/running/running_speed",),
    ),
    "running speed of a declared size": (
        "running_speed",
        declared("processing/running/running_speed/data", (10**12,)),
        ("/processing/running/running_speed/data", "does not hold these values"),
    ),
    "pulses of wrong length": (
        "optogenetic_stimulation",
        values("processing/optotagging/optogenetic_stimulation/stop_time", lambda found: found[:-1]),
        ("/processing/optotagging/optogenetic_stimulation/stop_time",),
    ),
    "invalid times without stop": (
        "invalid_times",
        without("intervals/invalid_times/stop_time"),
        ("/intervals/invalid_times", "stop_time is missing"),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_product_that_cannot_be_read_is_left_out_and_the_others_go_on(name, good):
    product, damage, wanted = DAMAGED[name]
    damage(Path())
    others = ["units", "spikes"]
    assert run(project(products=[*others, *({product} - set(others))])) == {}
    (row,) = exclusions()
    assert (row["session"], row["stage"], row["kept"]) == (FIRST, product, False)
    assert says(row["reason"], wanted)
    assert FILE in row["reason"]
    assert "\n" not in row["reason"]
    assert {other: rows_of(other, SECOND) for other in good} == good
    assert rows_of("units", FIRST) > 0
    assert rows_of("sessions") == 2
    if product == "spikes":
        assert rows_of("spikes", FIRST) == 0


def test_spike_times_out_of_order_are_sorted_and_said_so():
    found = {}

    def shuffle(file: h5py.File) -> None:
        end = int(file[f"{TIMES}_index"][0])
        for name in (TIMES, AMPLITUDES):
            found[name] = file[name][:end]
            file[name][:end] = found[name][::-1]

    in_file(shuffle)(Path())
    assert run() == {}
    (row,) = exclusions()
    assert (row["session"], row["stage"], row["kept"]) == (FIRST, "spikes", True)
    assert says(f"{row['subject']}: {row['reason']}", ("unit 950010000", "not in order", "sorted"))
    spikes = read_table(RESULTS / f"sessions/{FIRST}/spikes.parquet").to_pandas()
    of_unit = spikes[spikes["unit_id"] == 950010000]
    assert np.array_equal(of_unit["time"], found[TIMES])
    assert np.array_equal(of_unit["amplitude"], found[AMPLITUDES])


def test_units_on_channels_that_do_not_exist_are_left_out_and_counted(good):
    values("units/peak_channel_id", entry(4, 999))(Path())
    assert run() == {}
    rows = exclusions()
    assert {row["stage"] for row in rows} == {"tables", "units"}
    of_tables = next(row for row in rows if row["stage"] == "tables")
    assert says(of_tables["reason"], ("1 ", "950010004", "channels are not in the table of channels"))
    for row in rows:
        if row["stage"] == "units":
            assert says(f"{row['subject']}: {row['reason']}", ("950010004", "999"))
    assert 950010004 not in read_table(RESULTS / f"sessions/{FIRST}/units.parquet")["unit_id"].to_pylist()
    assert {product: rows_of(product, SECOND) for product in good} == good


def test_units_without_any_channel_stay():
    values("units/peak_channel_id", lambda found: found * 0 - 1)(Path())
    assert run() == {}
    assert all(row["kept"] for row in exclusions())
    assert rows_of("units", FIRST) > 0


def test_a_session_without_electrodes_has_units_and_spikes():
    without(ELECTRODES)(Path())
    assert run() == {}
    assert all(row["kept"] for row in exclusions())
    assert rows_of("spikes", FIRST) > 0


def test_no_usable_session_at_all_is_no_traceback():
    for session in (FIRST, SECOND):
        with_bytes(f"nwb/session_{session}.nwb", HTML)(Path())
    assert run() == {}
    assert [row["session"] for row in exclusions()] == [FIRST, SECOND]
    assert [rows_of(table) for table in ("sessions", "probes", "channels", "units")] == [0, 0, 0, 0]


# ---------------------------------------------------------------- folders and sheets of session files


def sheet(content: str, name: str = "sessions.tsv") -> Damage:
    return with_bytes(name, content)


def nothing(folder: Path) -> None:
    pass


def copied(name: str, source: str = FILE) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / source, folder / name)

    return damage


def huge(name: str) -> Damage:
    """Make a file that declares 1 TB and holds nothing."""

    def damage(folder: Path) -> None:
        with open(folder / name, "wb") as file:
            file.truncate(10**12)

    return damage


def of_session(damage: Damage | None = None) -> Damage:
    """Put the first session's file into the cache folder, after some damage."""

    def whole(folder: Path) -> None:
        if damage is not None:
            damage(folder)
        copied(f"cache/session_{FIRST}/session_{FIRST}.nwb")(folder)

    return whole


def without_file(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def both(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


NAMES_REFUSED = (
    "../x",
    "a/b",
    ".",
    "..",
    "",
    "-x",
    " ",
    "a b",
    "x\ty",
    "a\\b",
    "\u00e9",
    "a\x00b",
    "~",
    "*",
    "x" * 300,
)
SHEET = {"sessions": "sessions.tsv"}
WRONG_NWB: dict[str, tuple[Damage, dict[str, Any], tuple[str, ...]]] = {
    # name: what is done to the folder, the section's settings, what the message must say
    "a folder that is not there": (nothing, {"folder": "nowhere"}, ("config.yaml: ecephys.p", "nowhere")),
    "a folder that is a file": (
        with_bytes("file", "x"),
        {"folder": "file"},
        ("ecephys.p: folder: file is not a folder",),
    ),
    "a folder of a very long name": (nothing, {"folder": "x" * 300}, ("ecephys.p: folder", "is not there")),
    "a sheet of a very long name": (
        nothing,
        {"sessions": "x" * 300},
        ("ecephys.p: sessions", "name too long"),
    ),
    "a file in a sheet of a very long name": (
        sheet(f"session_id\tfile\n1\t{'x' * 300}\n"),
        SHEET,
        ("no session file is there", "is not there"),
    ),
    "a folder without session files": (
        lambda folder: (folder / "none").mkdir(),
        {"folder": "none"},
        ("config.yaml: ecephys.p", "none", "holds no .nwb file"),
    ),
    "no folder": (
        nothing,
        {"folder": None},
        ("config.yaml: ecephys.p", "source nwb needs folder", "column file"),
    ),
    "two files of one session": (
        copied(f"nwb/again/session_{FIRST}.nwb"),
        {},
        ("nwb/again/session_731000001.nwb", "nwb/session_731000001.nwb", f"both of session {FIRST}", "sheet"),
    ),
    "two files of one session, as DANDI names them": (
        copied(f"nwb/sub-1/sub-1_ses-{FIRST}.nwb"),
        {},
        (f"sub-1_ses-{FIRST}.nwb", f"both of session {FIRST}"),
    ),
    "a file whose name cannot be one": (
        copied("nwb/a b.nwb"),
        {},
        ("nwb/a b.nwb", "'a b'", "letters, digits", "sheet"),
    ),
    "a file of a very long name": (copied(f"nwb/{'x' * 240}.nwb"), {}, ("x" * 240, "name of a session")),
    "a session twice": (nothing, {"sessions": [FIRST, int(FIRST)]}, ("sessions", f"{FIRST} stands twice")),
    "a sheet that is not there": (nothing, SHEET, ("ecephys.p: sessions", "sessions.tsv")),
    "a sheet that is a folder": (lambda folder: (folder / "sessions.tsv").mkdir(), SHEET, ("sessions.tsv",)),
    "an empty sheet": (
        sheet(""),
        SHEET,
        ("sessions.tsv", "columns are missing", "session_id, file, lfp_probes"),
    ),
    "a sheet without sessions": (
        sheet("session_id\n"),
        SHEET,
        ("no session file is there", "sessions lists none"),
    ),
    "an HTML page as sheet": (
        sheet(HTML.decode()),
        SHEET,
        ("sessions.tsv", "columns are", "session_id is needed"),
    ),
    "a sheet that is binary": (
        with_bytes("sessions.tsv", bytes(range(256))),
        SHEET,
        ("sessions.tsv", "cannot be read"),
    ),
    "a sheet without its column": (
        sheet("file\na.nwb\n"),
        SHEET,
        ("columns are file", "session_id is needed"),
    ),
    "an unknown column": (
        sheet("session_id\tprobes\n1\t2\n"),
        SHEET,
        ("columns are session_id, probes", "allowed are session_id, file, lfp_probes"),
    ),
    "a column twice": (sheet("session_id\tfile\tfile\n1\ta\tb\n"), SHEET, ("sessions.tsv", "file")),
    "a session twice in a sheet": (
        sheet(f"session_id\n{FIRST}\n{FIRST}\n"),
        SHEET,
        ("sessions.tsv", f"session {FIRST} stands twice"),
    ),
    "a field too little": (
        sheet(f"session_id\tlfp_probes\n{FIRST}\n"),
        SHEET,
        ("sessions.tsv", FIRST, "not 2 fields"),
    ),
    "a field too much": (
        sheet(f"session_id\tlfp_probes\n{FIRST}\t1\t2\n"),
        SHEET,
        ("sessions.tsv", FIRST, "not 2 fields"),
    ),
    "probes that are no ids": (
        sheet(f"session_id\tlfp_probes\n{FIRST}\t1 probeA\n"),
        SHEET,
        ("sessions.tsv", f"session {FIRST}", "lfp_probes", "'probeA' is not an integer"),
    ),
    "a path as probe": (
        sheet(f"session_id\tlfp_probes\n{FIRST}\t../../x\n"),
        SHEET,
        ("lfp_probes", "'../../x' is not an integer"),
    ),
    "no session of a list is there": (
        nothing,
        {"sessions": [1, 2]},
        ("no session file is there", "session_1.nwb is not there"),
    ),
    "a sheet of one endless line": (
        sheet("x" * 200_000),
        SHEET,
        ("sessions.tsv", "a line has 200000 characters"),
    ),
    "a session file as sheet": (copied("s.nwb"), {"sessions": "s.nwb"}, ("s.nwb", "cannot be read", "UTF-8")),
    "a huge file as sheet": (huge("s.nwb"), {"sessions": "s.nwb"}, ("s.nwb", "larger than 10000000 bytes")),
}


@pytest.mark.parametrize("name", WRONG_NWB)
def test_wrong_folders_and_sheets_are_refused_before_any_job(name, capsys):
    damage, settings, wanted = WRONG_NWB[name]
    damage(Path())
    refused(capsys, wanted, project(**settings))


@pytest.mark.parametrize("name", NAMES_REFUSED)
def test_names_of_sessions_are_no_paths(name, capsys):
    refused(capsys, ("config.yaml: ecephys.p", "sessions"), project(sessions=[name]))


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "-x", "\u00e9", "x" * 300])
def test_names_in_a_sheet_are_no_paths(name, capsys):
    sheet(f"session_id\tfile\n{name}\t{FILE}\n")(Path())
    refused(capsys, ("sessions.tsv: session_id", name[:50], "letters, digits"), project(**SHEET))


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "", "-x", "\u00e9", "x" * 300, "a b", ".hidden"])
def test_names_of_projects_are_no_paths(name, capsys):
    content = {"results": "results", "plots": False, "ecephys": {name: project()}}
    write_config(Path("config.yaml"), content)
    assert main(["validate", "config.yaml"]) == 1
    printed = capsys.readouterr()
    assert says(printed.err, ("config.yaml", "ecephys"))
    assert printed.out == ""


def test_of_two_files_with_one_id_the_first_is_taken():
    copied("nwb/mouse.nwb")(Path())
    assert run() == {}
    (row,) = exclusions()
    assert (row["session"], row["subject"], row["kept"]) == ("mouse", "id", False)
    assert says(row["reason"], (f"has the id {FIRST}", f"as session {FIRST} has", "only that one"))
    assert rows_of("sessions") == 2


def test_of_two_rows_with_one_file_the_first_is_taken():
    sheet(f"session_id\tfile\na\t{FILE}\nb\t{FILE}\n")(Path())
    assert run(project(**SHEET)) == {}
    (row,) = exclusions()
    assert (row["session"], row["kept"]) == ("b", False)
    assert says(row["reason"], (f"has the id {FIRST}", "as session a has"))


def test_a_session_that_is_not_there_is_left_out(good):
    assert run(project(sessions=[int(SECOND), 7])) == {}
    (row,) = exclusions()
    assert (row["session"], row["kept"]) == ("7", False)
    assert says(row["reason"], ("nwb/session_7.nwb is not there",))
    assert {product: rows_of(product, SECOND) for product in good} == good


def test_two_projects_do_not_mix(good):
    values(TIMES, entry(100, np.nan))(Path())
    path = configure(ecephys={"p": project(sessions=[FIRST]), "q": project(sessions=[SECOND])})
    run_file(path)
    assert [row["session"] for row in exclusions()] == [FIRST]
    assert read_rows(Path("results/ecephys/q/exclusions.parquet")) == []
    assert rows_of("sessions") == 1
    assert read_table(f"results/ecephys/q/sessions/{SECOND}/spikes.parquet").num_rows == good["spikes"]


def test_sessions_of_names_and_of_numbers_go_together():
    shutil.move(f"nwb/session_{FIRST}.nwb", "nwb/mouse-3_day2.nwb")
    for name in ("identifier", "general/session_id"):
        in_file(lambda file, name=name: set_text(file, name, "M3.2"), "nwb/mouse-3_day2.nwb")(Path())
    assert run() == {}
    assert exclusions() == []
    assert sorted(read_table(RESULTS / "sessions.parquet")["id"].to_pylist()) == [SECOND, "mouse-3_day2"]
    identifiers = read_table(RESULTS / "sessions.parquet")["identifier"].to_pylist()
    assert sorted(identifiers) == [SECOND, "M3.2"]


# ---------------------------------------------------------------- tables on disk

TABLES = {
    "sessions": "id,session_type,age_in_days\n731000001,brain_observatory_1.1,100.0\n731000002,functional_connectivity,\n",
    "probes": "id,ecephys_session_id,name\n740000010,731000001,probeA\n740000020,731000002,probeA\n",
    "channels": (
        "id,ecephys_probe_id,local_index,ecephys_structure_id,ecephys_structure_acronym\n"
        "800010000,740000010,0,385,VISp\n800010001,740000010,1,382,CA1\n800020000,740000020,0,385,VISp\n"
    ),
    "units": (
        "id,ecephys_channel_id,quality,amplitude_cutoff,presence_ratio,isi_violations,snr\n"
        "950010000,800010000,good,0.01,0.99,0.1,2.5\n950010001,800010001,good,0.01,0.99,0.1,1.25\n"
        "950020000,800020000,good,0.01,0.99,0.1,3.125\n"
    ),
}
OF_TABLES = {"source": "tables", "folder": "cache"}
METRICS_TYPE = "brain_observatory_1.1"
METRICS_FILE = f"cache/{METRICS_TYPE}_analysis_metrics.csv"
METRICS = "ecephys_unit_id,g_osi_dg\n950010000,0.5\n950010001,0.25\n"


def write_tables(folder: Path = Path("cache")) -> None:
    folder.mkdir()
    for name, content in TABLES.items():
        (folder / f"{name}.csv").write_text(content)


def as_parquet(name: str) -> None:
    table = pyarrow.csv.read_csv(f"cache/{name}.csv")
    pyarrow.parquet.write_table(table, f"cache/{name}.parquet")
    Path(f"cache/{name}.csv").unlink()


def replaced(name: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "cache" / f"{name}.csv"
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return damage


def table_text(name: str, content: str | bytes) -> Damage:
    return with_bytes(f"cache/{name}.csv", content)


HEADERS = {name: content.partition("\n")[0] for name, content in TABLES.items()}
UNITS = "cache/units.csv"
WRONG_TABLES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    # name: damage to the tables, what the message must say
    "cut in the middle": (cut(UNITS), (UNITS, "was it cut?")),
    "cut in the header": (cut(UNITS, lambda _: 20), (UNITS, "was it cut?")),
    "cut after some fields": (
        table_text("units", f"{HEADERS['units']}\n950010000,800010000,good\n"),
        (UNITS, "row 2", "3 fields, the header 7", "was the file cut?"),
    ),
    "header only": (table_text("units", f"{HEADERS['units']}\n"), (UNITS, "has a header and no rows")),
    "header only, of sessions": (
        table_text("sessions", f"{HEADERS['sessions']}\n"),
        ("cache/sessions.csv", "has a header and no rows"),
    ),
    "empty": (table_text("units", ""), (UNITS, "is empty")),
    "blank": (table_text("units", " \n\n"), (UNITS, "is empty")),
    "an HTML page": (table_text("units", HTML), (UNITS, "is an HTML or XML page, not a table")),
    "an HTML page as Parquet": (
        both(without_file(UNITS), with_bytes("cache/units.parquet", HTML)),
        ("cache/units.parquet", "is an HTML or XML page, not a table"),
    ),
    "binary": (table_text("units", bytes(range(256))), (UNITS,)),
    "Latin-1": (
        table_text("units", TABLES["units"].replace("good", "g\u00fct").encode("latin-1")),
        (UNITS, "UTF-8"),
    ),
    "another table": (
        table_text("units", TABLES["probes"]),
        (UNITS, "is no table of units", "ecephys_channel_id is missing", "ecephys_session_id, name"),
    ),
    "semicolons": (
        table_text("units", TABLES["units"].replace(",", ";")),
        (UNITS, "is no table of units", "id and ecephys_channel_id is missing"),
    ),
    "a column twice": (replaced("units", "quality", "snr"), (UNITS, "column snr is there more than once")),
    "a column without name": (replaced("units", "quality", ""), (UNITS, "column 3 has no name")),
    "an id that is a text": (
        replaced("units", "950010001", "abc"),
        (UNITS, "row 3", "id is 'abc'", "not an integer"),
    ),
    "an id with a fraction": (
        replaced("units", "950010001", "1.5"),
        (UNITS, "row 3", "1.5", "not an integer"),
    ),
    "an id that is missing": (replaced("units", "950010001", ""), (UNITS, "row 3", "id is missing")),
    "a negative id": (replaced("units", "950010001", "-4"), (UNITS, "row 3", "-4 is negative")),
    "a huge id": (replaced("units", "950010001", "9" * 30), (UNITS, "not an integer")),
    "an id twice": (
        replaced("units", "950010001", "950010000"),
        (UNITS, "row 3", "id 950010000 is there already, in row 2"),
    ),
    "two sessions of one id": (
        replaced("sessions", "731000002", FIRST),
        ("cache/sessions.csv", "row 3", f"id {FIRST} is there already, in row 2"),
    ),
    "a session id that is a text": (
        replaced("sessions", FIRST, "mouse-3"),
        ("cache/sessions.csv", "row 2", "id is 'mouse-3'", "not an integer"),
    ),
    "a key that is a text": (
        replaced("units", "950010001,800010001", "950010001,x"),
        (UNITS, "row 3", "ecephys_channel_id is 'x'", "not an integer"),
    ),
    "a metric that is a text": (
        replaced("units", "good,0.01", "good,little"),
        (UNITS, "row 2", "amplitude_cutoff is 'little'", "not a number"),
    ),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_table_that_cannot_be_used_is_refused(name):
    damage, wanted = WRONG_TABLES[name]
    write_tables()
    damage(Path())
    error = one_failure(run(project(**OF_TABLES)), "make_project_tables()")
    assert isinstance(error, ProjectError)
    assert says(error, wanted)
    assert len(str(error).splitlines()) == 1
    assert not list(RESULTS.glob("*.parquet"))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_parquet_that_was_cut_is_refused(keep):
    write_tables()
    as_parquet("units")
    cut("cache/units.parquet", lambda content: int(len(content) * keep))(Path())
    error = one_failure(run(project(**OF_TABLES)), "make_project_tables()")
    assert says(error, ("cache/units.parquet", "no Parquet table, or was cut"))


def test_a_table_cut_at_the_end_of_a_line_shows_in_the_exclusions():
    write_tables()
    table_text("units", "".join(TABLES["units"].splitlines(keepends=True)[:3]))(Path())
    assert run(project(**OF_TABLES)) == {}
    rows = exclusions()
    assert all(row["kept"] for row in rows)
    assert any("740000020" in row["reason"] for row in rows), rows


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        ("units", "950010001,800010001", "950010001,7", ("1 ", "950010001", "channels are not in the table")),
        (
            "channels",
            "800010001,740000010",
            "800010001,7",
            ("1 ", "800010001", "probes are not in the table"),
        ),
        (
            "probes",
            f"740000020,{SECOND}",
            "740000020,7",
            ("1 ", "740000020", "sessions are not in the table"),
        ),
    ],
)
def test_rows_of_nothing_known_are_left_out_and_counted(name, old, new, wanted):
    write_tables()
    replaced(name, old, new)(Path())
    assert run(project(**OF_TABLES)) == {}
    assert any(says(row["reason"], wanted) for row in exclusions() if row["subject"] == name)


METRICS_DAMAGED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "empty": ("", ("is empty",)),
    "header only": ("ecephys_unit_id,g_osi_dg\n", ("has a header and no rows",)),
    "cut": (METRICS[:-3], ("was it cut?",)),
    "an HTML page": (HTML, ("is an HTML or XML page",)),
    "another table": (TABLES["units"], ("no table of analysis metrics", "ecephys_unit_id is missing")),
    "an id that is a text": (METRICS.replace("950010001", "abc"), ("row 3", "'abc'", "not an integer")),
    "an id twice": (METRICS.replace("950010001", "950010000"), ("row 3", "950010000 is there already")),
}


@pytest.mark.parametrize("name", METRICS_DAMAGED)
def test_metrics_that_cannot_be_used_are_refused_and_the_tables_are_made(name):
    content, wanted = METRICS_DAMAGED[name]
    write_tables()
    with_bytes(METRICS_FILE, content)(Path())
    failures = run(project(**OF_TABLES, analysis_metrics=[METRICS_TYPE]))
    assert f"join_analysis_metrics({METRICS_TYPE})" in failures
    assert all(says(error, (METRICS_FILE, *wanted)) for error in failures.values())
    assert rows_of("units") == 3


def test_metrics_of_an_unknown_type_are_refused():
    write_tables()
    with_bytes("cache/abc_analysis_metrics.csv", METRICS)(Path())
    failures = run(project(**OF_TABLES, analysis_metrics=["abc"]))
    error = one_failure(failures, "join_analysis_metrics(abc)")
    assert says(error, ("'abc' is unknown", "brain_observatory_1.1, functional_connectivity"))


def test_metrics_of_units_that_are_not_in_the_table_are_said():
    write_tables()
    with_bytes(METRICS_FILE, METRICS.replace("950010001", "7"))(Path())
    assert run(project(**OF_TABLES, analysis_metrics=[METRICS_TYPE])) == {}
    assert any(says(row["reason"], ("1 of 2 units", "id 7", "is it whole?")) for row in exclusions())


@pytest.mark.parametrize(
    ("suppress", "wanted"),
    [
        ({"units": ["colour"]}, ("units have no column 'colour'", "known are", "snr")),
        ({"sessions": ["id"]}, ("sessions have no column 'id'", "known are")),
    ],
)
def test_unknown_tables_and_columns_of_suppress_are_refused(suppress, wanted):
    write_tables()
    error = one_failure(run(project(**OF_TABLES, suppress=suppress)), "make_project_tables()")
    assert isinstance(error, ConfigurationError)
    assert says(error, ("suppress", *wanted))


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (cut(FILE), ("cut short",)),
        (with_bytes(FILE, HTML), ("is an HTML or XML page",)),
        (text("identifier", "731000009"), ("is the file of session 731000009",)),
        (without("units"), ("the session has no units",)),
    ],
    ids=["cut", "HTML", "of another session", "without units"],
)
def test_a_session_file_beside_tables_is_left_out_and_the_tables_are_made(damage, wanted):
    write_tables()
    of_session(damage)(Path())
    assert run(project(**OF_TABLES)) == {}
    (row,) = [row for row in exclusions() if not row["kept"]]
    assert (row["session"], row["subject"]) == (FIRST, "session")
    assert says(row["reason"], (f"cache/session_{FIRST}/session_{FIRST}.nwb", *wanted))
    assert rows_of("sessions") == 2
    assert rows_of("units") == 3


def test_a_session_file_beside_tables_that_names_no_number_is_taken_by_its_place():
    write_tables()
    for name in ("identifier", "general/session_id"):
        text(name, "M3.2")(Path())
    of_session()(Path())
    assert run(project(**OF_TABLES)) == {}
    assert rows_of("units", FIRST) > 0
    assert read_table(RESULTS / "sessions.parquet")["id"].to_pylist() == [int(FIRST), int(SECOND)]


# ---------------------------------------------------------------- manifests of AllenSDK


def manifest(version: Any = "0.3.0", **changes: Any) -> dict[str, Any]:
    """Return a manifest; `changes` are specs by key, None for none, a mapping for the whole entry."""
    entries = [{"type": "manifest_version", "value": version}]
    for key, (spec, parent) in LAYOUT.items():
        changed = changes.get(key, spec)
        if changed is not None:
            whole = {"key": key, "type": "file", "spec": changed, "parent_key": parent}
            entries.append({"key": key, **changed} if isinstance(changed, Mapping) else whole)
    return {"manifest": entries}


def entries(change: Callable[[list[Any]], Any]) -> dict[str, Any]:
    content = manifest()
    change(content["manifest"])
    return content


VERSIONS_READ = "those that can be read are 0.2.1 and 0.3.0"
WRONG_MANIFESTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    # name: content (a text is taken as it is), what the message must say
    **{
        f"version {version!r}": (
            manifest(version),
            (f"version of the manifest is {version!r}", VERSIONS_READ),
        )
        for version in ("0.2.0", "0.4.0", "0.10.0", None, 3, 0.3, ["0.3.0"], "", "0.3.0\n")
    },
    "without version": (entries(lambda found: found.pop(0)), ("not stated", VERSIONS_READ)),
    "two versions": (
        entries(lambda found: found.insert(0, {"type": "manifest_version", "value": "0.2.1"})),
        ("'0.2.1' and '0.3.0'", VERSIONS_READ),
    ),
    "empty": ("", ("is no JSON",)),
    "cut": (json.dumps(manifest())[:300], ("is no JSON",)),
    "an HTML page": (HTML.decode(), ("is no JSON",)),
    "a list": ([], ("is no manifest of AllenSDK",)),
    "a number": (3, ("is no manifest of AllenSDK",)),
    "another object": ({"a": 1}, ("is no manifest of AllenSDK", "manifest")),
    "deep": ("[" * 100_000, ("is no JSON",)),
    "huge": (" " * 1_100_000 + "{}", ("is larger than 1000000 bytes",)),
    "an entry that is a text": (entries(lambda found: found.append("abc")), ("entry 'abc' has no key",)),
    "a missing key": (manifest(units=None), ("key units is missing", "0.3.0 has", "session_nwb")),
    "a key twice": (entries(lambda found: found.append(found[-1])), ("is there more than once",)),
    "an unknown parent": (
        manifest(units={"spec": "units.csv", "parent_key": "nowhere"}),
        ("key units", "parent_key is 'nowhere'", "known are BASEDIR"),
    ),
    "a circle": (
        manifest(BASEDIR={"spec": ".", "parent_key": "BASEDIR"}),
        ("lead back to themselves",),
    ),
    **{
        f"spec {spec!r}": (
            manifest(units=spec),
            ("key units", "spec is", "a relative path inside the folder with no %", "units.csv"),
        )
        for spec in (
            "../units.csv",
            "/etc/passwd",
            "a/../../x",
            "units_%d.csv",
            "",
            3,
            "a\\b",
            "a\nb",
            "C:\\x",
        )
    },
    **{
        f"spec {spec!r} of sessions": (
            manifest(session_nwb=spec),
            ("key session_nwb", "spec is", "a relative path inside the folder with one %d", "session_%d.nwb"),
        )
        for spec in ("session.nwb", "%d_%d.nwb", "../%d.nwb", "%s.nwb", "/tmp/%d.nwb", "%1000000000d.nwb")
    },
}


@pytest.mark.parametrize("name", WRONG_MANIFESTS)
def test_a_manifest_that_cannot_be_used_is_refused_before_any_job(name, capsys):
    content, wanted = WRONG_MANIFESTS[name]
    write_tables()
    text = content if isinstance(content, str) else json.dumps(content)
    with_bytes("cache/manifest.json", text)(Path())
    refused(capsys, ("cache/manifest.json: ", *wanted), project(**OF_TABLES))


@pytest.mark.parametrize("version", ["0.2.1", "0.3.0"])
def test_manifests_that_are_read(version, capsys):
    write_tables()
    with_bytes("cache/manifest.json", json.dumps(manifest(version)))(Path())
    configure(project(**OF_TABLES))
    assert main(["validate", "config.yaml"]) == 0
    assert "fine" in capsys.readouterr().out


WRONG_FOLDERS: dict[str, tuple[Damage, dict[str, Any], tuple[str, ...]]] = {
    "a folder that is not there": (nothing, {"folder": "nowhere"}, ("nowhere",)),
    "a folder without tables": (
        nothing,
        {"folder": "nwb"},
        ("nwb/sessions.csv", "nwb/units.csv", "is not there"),
    ),
    "a table that is not there": (without_file(UNITS), {}, (UNITS, "is not there")),
    "a table that is a folder": (
        both(without_file(UNITS), lambda folder: (folder / UNITS).mkdir()),
        {},
        (UNITS, "is not there"),
    ),
    "neither folder nor manifest": (nothing, {"folder": None}, ("source tables needs folder or manifest",)),
    "several manifests": (
        both(with_bytes("cache/manifest.json", "{}"), with_bytes("cache/manifest_v2.json", "{}")),
        {},
        ("cache", "several manifests", "manifest.json, manifest_v2.json"),
    ),
    "a manifest that is not there": (nothing, {"manifest": "cache/m.json"}, ("cache/m.json", "No such file")),
    "metrics that are not there": (
        nothing,
        {"analysis_metrics": [METRICS_TYPE]},
        ("analysis_metrics", f"{METRICS_TYPE}_analysis_metrics.csv", "is not there"),
    ),
    "a session type that is a path": (
        nothing,
        {"analysis_metrics": ["../x"]},
        ("analysis_metrics", "'../x'"),
    ),
    "a movie that is not there": (
        nothing,
        {"templates": {"natural_movies": [1]}},
        ("templates", "natural_movie_1", "is not there"),
    ),
    "a scene that is not there": (
        nothing,
        {"templates": {"natural_scenes": [7]}},
        ("templates", "natural_scene_7", "is not there"),
    ),
}


@pytest.mark.parametrize("name", WRONG_FOLDERS)
def test_wrong_folders_of_tables_are_refused_before_any_job(name, capsys):
    damage, settings, wanted = WRONG_FOLDERS[name]
    write_tables()
    damage(Path())
    refused(capsys, wanted, project(**{**OF_TABLES, **settings}))


# ---------------------------------------------------------------- settings

WRONG_SETTINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # name: settings of the section, what the message must say
    "unknown source": ({"source": "cloud"}, ("source: 'cloud' is unknown", "warehouse, tables, nwb, fixed")),
    "no source": ({"source": None}, ("ecephys.p", "source")),
    "a source that is a number": ({"source": 3}, ("ecephys.p.source", "3")),
    "lims": ({"source": "lims"}, ("source lims", "inside the Allen Institute only", "warehouse")),
    "s3": ({"source": "s3"}, ("source s3", "aws s3 sync", "tables or nwb")),
    "dandi": ({"source": "dandi"}, ("source dandi", "dandi download", "nwb")),
    "unknown key": ({"fetch_tries": 2}, ("ecephys.p", "fetch_tries")),
    "unknown filter": (
        {"unit_filters": {"presence_ratio": 0.9}},
        ("ecephys.p.unit_filters", "presence_ratio", "presence_ratio_minimum"),
    ),
    "a filter of wrong type": (
        {"unit_filters": {"presence_ratio_minimum": "high"}},
        ("ecephys.p.unit_filters.presence_ratio_minimum", "'high'"),
    ),
    "a filter that is a text": (
        {"unit_filters": {"filter_by_validity": "yes please"}},
        ("ecephys.p.unit_filters.filter_by_validity", "'yes please'"),
    ),
    "filter by nothing": (
        {"unit_filters": {"filter_by_validity": None}},
        ("ecephys.p.unit_filters.filter_by_validity", "None"),
    ),
    "a filter that is NaN": (
        {"unit_filters": {"presence_ratio_minimum": float("nan")}},
        ("unit_filters", "presence_ratio_minimum", "nan"),
    ),
    "filters that are a list": ({"unit_filters": [1]}, ("ecephys.p.unit_filters",)),
    "suppress that is a list": ({"suppress": ["units"]}, ("ecephys.p.suppress",)),
    "unknown product": ({"products": ["spike"]}, ("products: 'spike' is unknown", "spikes", "csd")),
    "a product twice": ({"products": ["units", "units"]}, ("ecephys.p.products",)),
    "an option that is missing": (
        {"products": ["presentationwise_spike_counts"]},
        ("product_options.presentationwise_spike_counts", "needs bin_edges"),
    ),
    "an unknown option": (
        {"product_options": {"units": {"stimuli": ["flashes"]}}},
        ("product_options.units", "'stimuli' is no option", "none"),
    ),
    "an option of another product": (
        {"products": ["lfp"], "product_options": {"lfp": {"bin_edges": [0, 1]}}},
        ("product_options.lfp", "'bin_edges' is no option", "interval"),
    ),
    "options of a product that is not made": (
        {"product_options": {"lfp": {"interval": [0, 1]}}},
        ("product_options", "'lfp' is not among products"),
    ),
    "options of no product": ({"product_options": {"abc": {}}}, ("product_options", "'abc'")),
    "edges that do not increase": (
        {
            "products": ["presentationwise_spike_counts"],
            "product_options": {"presentationwise_spike_counts": {"bin_edges": [0, 0.2, 0.1]}},
        },
        ("product_options.presentationwise_spike_counts.bin_edges", "[0, 0.2, 0.1] do not increase"),
    ),
    "edges that are equal": (
        {
            "products": ["presentationwise_spike_counts"],
            "product_options": {"presentationwise_spike_counts": {"bin_edges": [0, 0]}},
        },
        ("bin_edges", "[0, 0] do not increase"),
    ),
    "edges that are NaN": (
        {
            "products": ["presentationwise_spike_counts"],
            "product_options": {"presentationwise_spike_counts": {"bin_edges": [0, float("nan"), 1]}},
        },
        ("bin_edges", "nan"),
    ),
    "edges of texts": (
        {
            "products": ["presentationwise_spike_counts"],
            "product_options": {"presentationwise_spike_counts": {"bin_edges": ["a", "b"]}},
        },
        ("bin_edges", "'a'"),
    ),
    "an interval backwards": (
        {"products": ["lfp"], "product_options": {"lfp": {"interval": [2, 1]}}},
        ("product_options.lfp.interval", "[2, 1] do not increase"),
    ),
    "metrics of nwb": (
        {"analysis_metrics": [METRICS_TYPE]},
        ("analysis_metrics", "session files hold none", "source nwb"),
    ),
    "a manifest of nwb": ({"manifest": "m.json"}, ("manifest", "only source tables has one", "this is nwb")),
    "a folder of a warehouse": (
        {"source": "warehouse"},
        ("folder", "downloads are kept in results/ecephys/<project>/downloads"),
    ),
    "a scheme": (
        {"source": "warehouse", "folder": None, "warehouse": {"scheme": "ftp"}},
        ("warehouse.scheme", "'ftp'", "'http', 'https'"),
    ),
    "a host that is an address": (
        {"source": "warehouse", "folder": None, "warehouse": {"host": "http://a/b"}},
        ("warehouse.host", "'http://a/b'", "not the name of a host"),
    ),
    "an allowed host that is an address": (
        {"source": "warehouse", "folder": None, "warehouse": {"allowed_hosts": ["a/b"]}},
        ("warehouse.allowed_hosts", "'a/b'", "not the name of a host"),
    ),
    "no tries": (
        {"source": "warehouse", "folder": None, "warehouse": {"tries": 0}},
        ("ecephys.p.warehouse.tries", "0", "1"),
    ),
    "no time": (
        {"source": "warehouse", "folder": None, "warehouse": {"read_timeout": 0}},
        ("ecephys.p.warehouse.read_timeout", "0"),
    ),
    "an endless time": (
        {"source": "warehouse", "folder": None, "warehouse": {"read_timeout": float("inf")}},
        ("ecephys.p.warehouse.read_timeout", "inf"),
    ),
    "a digest that is none": (
        {"source": "warehouse", "folder": None, "warehouse": {"sha256": {"units.parquet": "abc"}}},
        ("ecephys.p.warehouse.sha256", "'abc'"),
    ),
    "a table of suppress that there is not": (
        {"suppress": {"channel": []}},
        ("ecephys.p.suppress", "'channel'", "'sessions', 'probes', 'channels', 'units'"),
    ),
    "a digest of an unknown file": (
        {"source": "warehouse", "folder": None, "warehouse": {"sha256": {"abc.nwb": "0" * 64}}},
        ("warehouse.sha256", "'abc.nwb' is no file that is downloaded", "files: none"),
    ),
    "LFP of a warehouse without probes": (
        {"source": "warehouse", "folder": None, "products": ["lfp"], "sessions": [int(FIRST)]},
        ("products: lfp", f"session {FIRST}", "lfp_probes", "ephysflow init ecephys"),
    ),
    "a negative movie": ({"templates": {"natural_movies": [-1]}}, ("templates.natural_movies", "-1")),
    "a movie that is a text": (
        {"templates": {"natural_movies": ["one"]}},
        ("templates.natural_movies", "'one'"),
    ),
    "unknown templates": ({"templates": {"movies": [1]}}, ("ecephys.p.templates", "movies")),
    "a template of a folder": (
        {"templates": {"natural_movies": [1]}},
        ("templates", "natural_movie_1", "is not there"),
    ),
    "sessions that are a number": ({"sessions": 3}, ("ecephys.p.sessions", "3")),
    "sessions that are numbers with points": ({"sessions": [1.5]}, ("ecephys.p.sessions", "1.5")),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_wrong_settings_are_refused_before_any_job(name, capsys):
    settings, wanted = WRONG_SETTINGS[name]
    refused(capsys, ("config.yaml", *wanted), project(**settings))


@pytest.mark.parametrize("source", ["warehouse", "tables", "fixed"])
@pytest.mark.parametrize("session", ["abc", "1.5", "-3", "9" * 30, "0x10", "\u0661"])
def test_ids_that_are_no_integers_are_refused(source, session, capsys):
    write_tables()
    folder = {"tables": "cache", "fixed": "cache"}.get(source)
    refused(
        capsys,
        ("config.yaml: ecephys.p: sessions", repr(session)[:20]),
        project(source=source, folder=folder, sessions=[session]),
    )


def test_fixed_lists_all_that_is_missing(capsys):
    wanted = ("source fixed never downloads", "6 files are not there", "sessions.parquet", "units.parquet")
    files = (f"session_{FIRST}/session_{FIRST}.nwb", "natural_movie_templates/natural_movie_1.npy")
    section = project(source="fixed", folder=None, sessions=[int(FIRST)], templates={"natural_movies": [1]})
    refused(capsys, (*wanted, *files, "source: warehouse"), section)


@pytest.mark.parametrize(
    "content", ["", "ecephys:\n", "ecephys: []\n", "ecephys: {}\n", "ecephys: {p: }\n", "ecephys: {p: 3}\n"]
)
def test_a_section_that_is_no_project(content, capsys):
    Path("config.yaml").write_text(f"results: results\n{content}")
    assert main(["validate", "config.yaml"]) == 1
    assert says(capsys.readouterr().err, ("config.yaml",))


# ---------------------------------------------------------------- servers

NWB_ID = 9001
"""File of the first session at the fake warehouse."""

DOWNLOADED = RESULTS / f"downloads/session_{FIRST}/session_{FIRST}.nwb"
OF_SESSION = f"fetch_file(session_{FIRST}/session_{FIRST}.nwb)"
MODELS = {
    "sessions": "EcephysSession",
    "probes": "EcephysProbe",
    "channels": "EcephysChannel",
    "units": "EcephysUnit",
}


@pytest.fixture
def server(made):
    nwbs = {int(FIRST): made / FILE}
    with FakeWarehouse(*small_project(nwbs, {PROBE: made / f"lfp_{PROBE}.nwb"})) as warehouse:
        yield warehouse


def of_warehouse(host: str, warehouse: Mapping[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Return the section of a project of a warehouse that gives up soon."""
    soon = {"host": host, "read_timeout": 0.3, "connect_timeout": 2, "tries": 2, "backoff": 0}
    given = {"source": "warehouse", "folder": None, "products": ["units"], **settings}
    return project(**given, warehouse={**soon, **(warehouse or {})})


FAULTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    # name: fault of the session's file, its options, what the message must say
    "an HTML page": ("html", {}, ("given up after 2 tries", "does not open", "is an HTML or XML page")),
    "garbage": ("garbage", {}, ("given up after 2 tries", "does not open", "not HDF5")),
    "half of the bytes, as if they were all": ("short", {}, ("given up after 2 tries", "cut short")),
    "a connection that breaks": ("truncate", {}, ("given up after 2 tries", "bytes")),
    "silence in the middle": ("stall", {"seconds": 30}, ("given up after 2 tries", "no byte for 0.3 s")),
    "silence before the answer": (
        "hang",
        {"seconds": 30},
        ("given up after 2 tries", "no answer within 0.3 s"),
    ),
    "status 500": ("status500", {}, ("given up after 2 tries", "HTTP status 500")),
    "status 404": ("status404", {}, ("HTTP status 404",)),
    "status 403": ("status", {"status": 403}, ("HTTP status 403",)),
    "another host": (
        "redirect",
        {"url": "http://elsewhere.example/file.nwb"},
        ("redirect", "http://elsewhere.example/file.nwb is at another host", "allowed_hosts adds hosts"),
    ),
    "a file of this machine": (
        "redirect",
        {"url": "file:///etc/passwd"},
        ("redirect", "'file:///etc/passwd' is not the http(s) address of a file"),
    ),
    "another port": (
        "redirect",
        {"url": "http://127.0.0.1:1/x"},
        ("redirect", "http://127.0.0.1:1/x is at another host"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_download_that_goes_wrong_is_named_and_leaves_nothing(name, server):
    kind, options, wanted = FAULTS[name]
    server.fault(NWB_ID, kind, count=100, **options)
    failures = run(of_warehouse(server.host, sessions=[int(FIRST)]))
    error = one_failure(failures, OF_SESSION)
    assert isinstance(error, ProjectError)
    assert says(error, (f"well_known_file_download/{NWB_ID}", *wanted))
    assert not DOWNLOADED.exists()
    assert (RESULTS / "downloads/units.parquet").is_file()
    assert len(server.downloads(NWB_ID)) <= 2


def test_a_redirect_to_an_allowed_host_is_followed(server, made):
    with FakeWarehouse({}, {1: made / FILE}) as other:
        server.fault(NWB_ID, "redirect", url=other.url(1))
        section = of_warehouse(server.host, {"allowed_hosts": [other.host]}, sessions=[int(FIRST)])
        assert run(section) == {}
    assert DOWNLOADED.read_bytes() == (made / FILE).read_bytes()
    assert rows_of("sessions") == 2
    assert rows_of("units", FIRST) > 0


def test_a_fault_that_passes_loses_nothing(server, made):
    for kind in ("html", "status500"):
        server.fault(NWB_ID, kind)
    assert run(of_warehouse(server.host, {"tries": 3}, sessions=[int(FIRST)])) == {}
    assert DOWNLOADED.read_bytes() == (made / FILE).read_bytes()


TABLE_FAULTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "an HTML page": ("html", {}, ("EcephysUnit", "HTML")),
    "no JSON": ("not_json", {}, ("EcephysUnit", "JSON")),
    "status 500": ("status500", {}, ("given up after 2 tries", "HTTP status 500")),
    "silence": ("hang", {"seconds": 30}, ("given up after 2 tries", "no answer within 0.3 s")),
    "a failure": ("failure", {}, ("Datastream read failure",)),
    "fewer rows than there are": ("empty_page", {}, ("EcephysUnit", "rows")),
    "an id that is a text": (
        "page",
        {"change": lambda answer: with_first(answer, id="abc")},
        ("id", "'abc'"),
    ),
    "an id that is missing": ("page", {"change": lambda answer: with_first(answer, id=None)}, ("id",)),
    "an id twice": (
        "page",
        {"change": lambda answer: with_first(answer, id=answer["msg"][1]["id"])},
        ("id", "950010001"),
    ),
    "a list": ("page", {"change": lambda answer: answer["msg"]}, ("EcephysUnit",)),
    "rows that are texts": (
        "page",
        {"change": lambda answer: {**answer, "msg": ["a"] * answer["num_rows"]}},
        ("EcephysUnit",),
    ),
    "rows without columns": (
        "page",
        {"change": lambda answer: {**answer, "msg": [{}] * answer["num_rows"]}},
        ("EcephysUnit", "id"),
    ),
    "a redirect": (
        "redirect",
        {"url": "http://elsewhere.example/x"},
        ("is at another host", "allowed_hosts"),
    ),
}


def with_first(answer: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**answer, "msg": [{**answer["msg"][0], **changed}, *answer["msg"][1:]]}


@pytest.mark.parametrize("name", TABLE_FAULTS)
def test_a_table_that_comes_wrong_is_named_and_leaves_nothing(name, server):
    kind, options, wanted = TABLE_FAULTS[name]
    server.fault("EcephysUnit", kind, count=100, **options)
    error = one_failure(run(of_warehouse(server.host)), "fetch_file(units.parquet)")
    assert isinstance(error, ProjectError)
    assert says(error, wanted)
    assert not (RESULTS / "downloads/units.parquet").exists()
    assert (RESULTS / "downloads/channels.parquet").is_file()


@pytest.mark.parametrize("table", MODELS)
def test_a_warehouse_without_rows_of_a_table(table, server):
    server.records[MODELS[table]] = []
    error = one_failure(run(of_warehouse(server.host)), f"fetch_file({table}.parquet)")
    assert isinstance(error, ProjectError)
    assert says(error, (f"table {table}", "no rows"))
    assert not (RESULTS / f"downloads/{table}.parquet").exists()


def test_nobody_answers():
    failures = run(of_warehouse("127.0.0.1:9", sessions=[int(FIRST)]))
    assert len([job for job in failures if job.startswith("fetch_file")]) == len(failures) >= 5
    assert all(
        says(error, ("127.0.0.1:9", "given up after 2 tries", "connection failed"))
        for error in failures.values()
    )


def test_what_the_warehouse_lacks_is_named(server):
    sheet("session_id\tlfp_probes\n731000001\t740000011\n731000002\t\n731000009\t\n")(Path())
    section = of_warehouse(server.host, products=["units", "lfp"], **SHEET, templates={"natural_movies": [7]})
    failures = run(section)
    assert says(
        failures.pop("fetch_file(session_731000002/session_731000002.nwb)"),
        ("731000002", "no NWB file", "has_nwb"),
    )
    assert says(
        failures.pop("fetch_file(session_731000009/session_731000009.nwb)"), ("731000009", "no NWB file")
    )
    lfp = failures.pop(f"fetch_file(session_{FIRST}/probe_740000011_lfp.nwb)")
    assert says(lfp, ("probe 740000011", "no LFP file", "has_lfp_data"))
    movie = failures.pop("fetch_file(natural_movie_templates/natural_movie_7.npy)")
    assert says(movie, ("natural_movie 7", "no such template", "it has 1, 3"))
    assert failures == {}
    assert rows_of("units", FIRST) > 0


def test_the_file_of_another_session_is_refused(server, made):
    server.files[NWB_ID] = made / f"nwb/session_{SECOND}.nwb"
    error = one_failure(run(of_warehouse(server.host, sessions=[int(FIRST)])), OF_SESSION)
    assert says(error, ("does not open", f"is the file of session {SECOND}, not {FIRST}"))
    assert not DOWNLOADED.exists()


def test_a_file_of_another_digest_is_refused(server):
    digests = {"sha256": {f"session_{FIRST}/session_{FIRST}.nwb": "0" * 64}}
    section = of_warehouse(server.host, digests, sessions=[int(FIRST)])
    error = one_failure(run(section), OF_SESSION)
    assert says(error, ("sha256 of what came is", "expected is " + "0" * 64, "the one given"))
    assert not DOWNLOADED.exists()


def test_a_download_that_was_changed_on_the_disk_is_left_out(server):
    section = of_warehouse(server.host, sessions=[int(FIRST)])
    assert run(section) == {}
    with open(DOWNLOADED, "ab") as file:
        file.write(b"more")
    assert run({**section, "source": "fixed", "warehouse": {}}) == {}
    (row,) = exclusions()
    assert (row["session"], row["kept"]) == (FIRST, False)
    assert says(row["reason"], (str(DOWNLOADED), "bytes, but", "were downloaded from"))


def test_sessions_without_metrics_have_units_without_metrics(server):
    server.records["EcephysUnitMetricBundle"] = []
    assert run(of_warehouse(server.host, sessions=[int(FIRST)])) == {}
    assert all(row["kept"] for row in exclusions())
    assert rows_of("units", FIRST) > 0


def test_metrics_of_a_type_that_the_warehouse_lacks(server):
    failures = run(of_warehouse(server.host, analysis_metrics=["abc"]))
    error = one_failure(failures, "fetch_file(abc_analysis_metrics.parquet)")
    assert says(
        error, ("session type 'abc'", "no analysis metrics", "brain_observatory_1.1, functional_connectivity")
    )
    assert rows_of("units") > 0


# ---------------------------------------------------------------- LFP

LFP_FILE = f"nwb/session_{FIRST}_probe_{PROBE}_lfp.nwb"
SERIES = f"acquisition/probe_{PROBE}_lfp/probe_{PROBE}_lfp_data"
WRONG_LFP: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "cut": (cut(LFP_FILE), ("cut short",)),
    "an HTML page": (with_bytes(LFP_FILE, HTML), ("is an HTML or XML page",)),
    "of another probe": (
        in_file(
            lambda f: [
                set_text(f, "identifier", "7"),
                f[f"{ELECTRODES}/probe_id"].__setitem__(slice(None), 7),
            ],
            LFP_FILE,
        ),
        ("is the LFP of probe 7", f"not of probe {PROBE}"),
    ),
    "without LFP": (
        in_file(lambda f: f.__delitem__(f"acquisition/probe_{PROBE}_lfp"), LFP_FILE),
        ("holds no LFP",),
    ),
    "without data": (in_file(lambda f: f.__delitem__(f"{SERIES}/data"), LFP_FILE), ("data is missing",)),
    "of a declared size": (
        declared(f"{SERIES}/data", (10**10, 100), LFP_FILE),
        (f"/{SERIES}/data", "does not hold these values"),
    ),
    "in microvolts": (
        in_file(lambda f: f[f"{SERIES}/data"].attrs.__setitem__("unit", "uV"), LFP_FILE),
        (f"/{SERIES}/data", "'uV'", "volts are needed"),
    ),
    "times of wrong length": (
        in_file(
            lambda f: f[SERIES].move("timestamps", "t") or f[SERIES].__setitem__("timestamps", [1.0]),
            LFP_FILE,
        ),
        (f"/{SERIES}", "timestamps"),
    ),
    "times out of order": (
        in_file(lambda f: f[f"{SERIES}/timestamps"].__setitem__(slice(10, 20), 0.0), LFP_FILE),
        (f"/{SERIES}/data", "not in order"),
    ),
    "channels that do not exist": (
        in_file(lambda f: f[f"{SERIES}/electrodes"].__setitem__(0, 99), LFP_FILE),
        (f"/{SERIES}/electrodes", "99"),
    ),
}


@pytest.mark.parametrize("name", WRONG_LFP)
def test_lfp_that_cannot_be_read_is_left_out(name, made, good):
    damage, wanted = WRONG_LFP[name]
    shutil.copy(made / f"lfp_{PROBE}.nwb", LFP_FILE)
    damage(Path())
    assert run(project(products=["units", "spikes", "lfp"])) == {}
    (row,) = [row for row in exclusions() if not row["kept"]]
    assert (row["session"], row["stage"], row["subject"], row["kept"]) == (
        FIRST,
        "lfp",
        f"lfp_{PROBE}.h5",
        False,
    )
    assert says(row["reason"], (LFP_FILE, *wanted))
    assert {product: rows_of(product, SECOND) for product in good} == good
    assert rows_of("spikes", FIRST) > 0


def test_lfp_of_a_probe_that_is_not_there_is_left_out(good):
    sheet(f"session_id\tlfp_probes\n{FIRST}\t740000011\n{SECOND}\t\n")(Path())
    assert run(project(products=["units", "spikes", "lfp"], **SHEET)) == {}
    (row,) = exclusions()
    assert (row["session"], row["kept"]) == (FIRST, False)
    assert says(row["reason"], ("holds no LFP of probe 740000011", "probe_740000011_lfp.nwb is not there"))
    assert rows_of("spikes", FIRST) > 0


# ---------------------------------------------------------------- ephysflow init ecephys


@pytest.mark.parametrize(
    ("arguments", "damage", "wanted"),
    [
        (["ecephys"], nothing, ("name the folder too",)),
        (["ecephys", "new"], nothing, ("give either --data FOLDER or --warehouse",)),
        (
            ["ecephys", "new", "--data", "nwb", "--warehouse"],
            nothing,
            ("give either --data FOLDER or --warehouse",),
        ),
        (["ecephys", "new", "--data", "nowhere"], nothing, ("nowhere: is not a folder",)),
        (["ecephys", "new", "--data", FILE], nothing, (f"{FILE}: is not a folder",)),
        (
            ["ecephys", "new", "--data", "none"],
            lambda folder: (folder / "none").mkdir(),
            ("none: holds no .nwb file",),
        ),
        (
            ["ecephys", "new", "--data", "nwb"],
            with_bytes("new/config.yaml", "x"),
            ("new: config.yaml", "already there"),
        ),
        (
            ["ecephys", "new", "--data", "nwb"],
            with_bytes("new/sessions.tsv", "x"),
            ("new: sessions.tsv", "already there"),
        ),
        (
            ["ecephys", "new", "--data", "nwb"],
            copied("nwb/a b.nwb"),
            ("nwb/a b.nwb", "'a b'", "name of a session"),
        ),
        (
            ["ecephys", "new", "--data", "nwb"],
            with_bytes("nwb/manifest.json", "{}"),
            ("nwb/manifest.json", "no manifest of AllenSDK"),
        ),
        (["ecephys", "new", "--warehouse", "127.0.0.1:9"], nothing, ("127.0.0.1:9", "connection failed")),
        (["ecephys", "new", "--warehouse", "ftp://a"], nothing, ("scheme", "'ftp'", "http nor https")),
        (["ecephys", "new", "--warehouse", "a/b c"], nothing, ("host", "'a/b c'", "not the name of a host")),
        (["ecephys", "new", "more"], nothing, ("give one folder, or ecephys and a folder",)),
        (["other", "new"], nothing, ("give one folder, or ecephys and a folder",)),
        (["new", "--warehouse"], nothing, ("--warehouse is for Neuropixels projects",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_init_that_cannot_write_a_project(arguments, damage, wanted, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    damage(Path())
    before = sorted(Path().rglob("*"))
    assert main(["init", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow init: error: ")
    assert says(printed.err, wanted)
    assert sorted(Path().rglob("*")) == before


# ---------------------------------------------------------------- Python access


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("nowhere", ("nowhere", "not a folder, nor a manifest")),
        (FILE, (FILE, "not a folder, nor a manifest")),
        ("none", ("none", "neither results of a project, nor tables", ".nwb files")),
        ("none/m.json", ("none/m.json", "cannot be read")),
        ("", ("not a folder", "")),
        ("x" * 300, ("x" * 300,)),
        ("a\0b", ("a",)),
        ("broken", ("broken/manifest.json", "no manifest of AllenSDK")),
        ("results", ("results/units.parquet",)),
    ],
)
def test_open_project_of_nothing_useful(path, wanted):
    Path("none").mkdir()
    with_bytes("broken/manifest.json", "{}")(Path())
    for name in ("units", "unit_filters"):
        with_bytes(f"results/{name}.parquet", HTML)(Path())
    if path == "":
        Path("nwb").rename("aside")
        Path("aside").rename("none/nwb")
        shutil.rmtree("none/nwb")
        shutil.rmtree("broken")
        shutil.rmtree("results")
        wanted = ("neither results of a project",)
    with pytest.raises(EphysflowError) as caught:
        ephysflow.open_project(path)
    assert says(caught.value, wanted)


@pytest.mark.parametrize(
    ("session", "wanted"),
    [
        ("nowhere.nwb", ("nowhere.nwb is not there",)),
        ("nwb", ("nwb is a folder",)),
        ("", ("folder",)),
        (7, ("7 is the id of a session", "project is needed")),
        ("x" * 300, ("x" * 300,)),
        ("a\0b.nwb", ("a",)),
        (None, ("None", "project is needed")),
        (7.5, ("7.5", "project is needed")),
    ],
)
def test_open_session_of_nothing_useful(session, wanted):
    with pytest.raises(EphysflowError) as caught:
        ephysflow.open_session(session)
    assert says(caught.value, wanted)


@pytest.mark.parametrize("session", [7, "7", "abc", "../x", None, 1.5, "", "nwb/session_731000001.nwb", True])
@pytest.mark.parametrize("kind", ["nwb", "cache"])
def test_sessions_that_a_project_does_not_have(kind, session):
    write_tables()
    opened = ephysflow.open_project(kind)
    with pytest.raises(ConfigurationError) as caught:
        opened.open_session(session)
    assert says(
        caught.value, (kind, f"session {session}" if session == "7" else repr(session), "is unknown", FIRST)
    )


def test_a_session_whose_file_is_not_there():
    write_tables()
    with pytest.raises(ProjectError) as caught:
        ephysflow.open_project("cache").open_session(int(FIRST))
    assert says(caught.value, ("cache", f"the file of session {FIRST} is not there", "none"))


def raising(call: Callable[[Any], Any], opened: Any, wanted: Sequence[str]) -> None:
    with pytest.raises(EphysflowError) as caught:
        call(opened)
    assert isinstance(caught.value, ConfigurationError)
    assert says(caught.value, wanted)


OF_PROJECT: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "unknown filter": (
        lambda p: p.units(unit_filters={"presence_ratio": 1}),
        ("unit_filters: unknown filter of units presence_ratio;", "known are", "presence_ratio_minimum"),
    ),
    "a filter that is a text": (
        lambda p: p.units(unit_filters={"presence_ratio_minimum": "high"}),
        ("presence_ratio_minimum", "'high'"),
    ),
    "filters that are a list": (
        lambda p: p.units(unit_filters=["presence_ratio_minimum"]),
        ("unit_filters",),
    ),
    "unknown column": (lambda p: p.units(suppress=["colour"]), ("suppress", "'colour'", "known are")),
    "a column in place of a list": (lambda p: p.units(suppress="snr"), ("suppress", "snr")),
    "metrics of nothing": (lambda p: p.analysis_metrics(), ("either session_id or session_type",)),
    "metrics of both": (
        lambda p: p.analysis_metrics(session_id=1, session_type="a"),
        ("either session_id or session_type",),
    ),
    "metrics of an unknown type": (
        lambda p: p.analysis_metrics(session_type="abc"),
        ("'abc' is unknown", "brain_observatory_1.1, functional_connectivity"),
    ),
    "metrics of a type that is a path": (
        lambda p: p.analysis_metrics(session_type="../x"),
        ("'../x' is unknown",),
    ),
    "metrics of an unknown session": (
        lambda p: p.analysis_metrics(session_id=7),
        ("session 7 is unknown", FIRST),
    ),
    "a negative movie": (lambda p: p.natural_movie(-1), ("-1",)),
    "a movie that is a path": (lambda p: p.natural_movie("../x"), ("'../x'",)),
    "a movie that is none": (lambda p: p.natural_movie(None), ("None",)),
    "an unknown filter of a session": (
        lambda p: p.open_session(int(FIRST), unit_filters={"snr": 2}),
        ("unit_filters: unknown filter of units snr;", "known are", "presence_ratio_minimum"),
    ),
}


@pytest.mark.parametrize("name", OF_PROJECT)
def test_wrong_questions_to_a_project(name):
    call, wanted = OF_PROJECT[name]
    write_tables()
    copied(f"cache/session_{FIRST}/session_{FIRST}.nwb")(Path())
    raising(call, ephysflow.open_project("cache"), wanted)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda p: p.natural_movie(1), ("natural_movie_1", "is not there")),
        (lambda p: p.natural_scene(0), ("natural_scene_0", "is not there")),
        (lambda p: p.analysis_metrics(session_type=METRICS_TYPE), ("no analysis metrics of", METRICS_TYPE)),
        (lambda p: p.analysis_metrics(session_id=int(FIRST)), ("no analysis metrics of", FIRST)),
    ],
)
def test_what_a_project_does_not_have(call, wanted):
    write_tables()
    with pytest.raises(ProjectError) as caught:
        call(ephysflow.open_project("cache"))
    assert says(caught.value, ("cache", *wanted))


@pytest.mark.parametrize("name", ["units", "channels", "probes", "sessions"])
def test_a_cut_table_in_python(name):
    write_tables()
    cut(f"cache/{name}.csv")(Path())
    with pytest.raises(ProjectError) as caught:
        ephysflow.open_project("cache").units()
    assert says(caught.value, (f"cache/{name}.csv", "was it cut?"))


def test_a_damaged_session_file_in_python():
    cut(FILE)(Path())
    with pytest.raises(ProjectError) as caught:
        ephysflow.open_project("nwb").units()
    assert says(caught.value, (FILE, "cut short"))


UNKNOWN_IDS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "unit": (
        lambda s: s.presentationwise_spike_counts([0, 1], unit_ids=[7]),
        ("unit_ids: 7 unknown", "950010000"),
    ),
    "unit that is a text": (
        lambda s: s.presentationwise_spike_times(unit_ids=["a"]),
        ("unit_ids: a unknown",),
    ),
    "unit that is no list": (
        lambda s: s.presentationwise_spike_times(unit_ids=950010000),
        ("unit_ids", "950010000"),
    ),
    "units of units": (lambda s: s.presentationwise_spike_times(unit_ids=[[950010000]]), ("unit_ids",)),
    "unit twice": (
        lambda s: s.conditionwise_spike_statistics(unit_ids=[950010000] * 2),
        ("unit_ids: 950010000 given more than once",),
    ),
    "presentation": (
        lambda s: s.presentationwise_spike_counts([0, 1], stimulus_presentation_ids=[10**6]),
        ("stimulus_presentation_ids: 1000000 unknown", "there are"),
    ),
    "edges that fall": (lambda s: s.presentationwise_spike_counts([1, 0]), ("bin",)),
    "one edge": (lambda s: s.presentationwise_spike_counts([1]), ("bin",)),
    "no edge": (lambda s: s.presentationwise_spike_counts([]), ("bin",)),
    "edges that are NaN": (lambda s: s.presentationwise_spike_counts([0, np.nan]), ("bin",)),
    "edges that are texts": (lambda s: s.presentationwise_spike_counts(["a", "b"]), ("bin", "'a'")),
    "stimulus": (lambda s: s.stimulus_table("abc"), ("'abc'", "flashes")),
    "stimuli": (lambda s: s.stimulus_parameter_values(["flashes", "abc"]), ("'abc'", "flashes")),
    "intervals": (lambda s: s.intervals("abc"), ("no table of intervals 'abc'", "flashes_presentations")),
    "intervals by a path": (lambda s: s.intervals("../units"), ("'../units'", "flashes_presentations")),
    "LFP": (lambda s: s.lfp(7), ("no LFP of probe 7", str(PROBE))),
    "CSD": (lambda s: s.csd("abc"), ("no LFP of probe abc", str(PROBE))),
    "channel of LFP": (lambda s: s.lfp(PROBE, 20, 21, [7]), ("7",)),
    "LFP backwards": (lambda s: s.lfp(PROBE, 21, 20), ("21", "20")),
    "LFP at NaN": (lambda s: s.lfp(PROBE, np.nan, 20), ("nan",)),
    "channel of structures": (lambda s: s.channel_structure_intervals([7]), ("7",)),
}


@pytest.mark.parametrize("name", UNKNOWN_IDS)
def test_wrong_questions_to_a_session(name, made):
    call, wanted = UNKNOWN_IDS[name]
    with ephysflow.open_session(FILE, lfp_files={PROBE: made / f"lfp_{PROBE}.nwb"}) as session:
        raising(call, session, wanted)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.units,
        lambda s: s.spike_times,
        lambda s: s.metadata,
        lambda s: s.lfp(PROBE),
        lambda s: s.stimulus_templates,
        lambda s: s.running_speed,
    ],
)
def test_a_closed_session(call):
    session = ephysflow.open_session(FILE)
    session.close()
    session.close()
    raising(call, session, (f"session {FIRST}", FILE, "is closed"))


def test_lfp_files_of_nothing(made):
    with ephysflow.open_session(
        FILE, lfp_files={PROBE: "nowhere.nwb", 7: made / f"lfp_{PROBE}.nwb"}
    ) as session:
        with pytest.raises(ProjectError) as caught:
            session.lfp(PROBE)
        assert says(caught.value, ("nowhere.nwb is not there",))
        with pytest.raises(ProjectError) as caught:
            session.lfp(7)
        assert says(caught.value, (f"is the LFP of probe {PROBE}, not of probe 7",))


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", HTML, b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}  "], ids=str
)
def test_templates_that_are_damaged(content):
    write_tables()
    with_bytes("cache/natural_movie_templates/natural_movie_1.h5", content)(Path())
    with_bytes("cache/natural_scene_templates/natural_scene_1.tiff", content)(Path())
    opened = ephysflow.open_project("cache")
    for call, kind in ((opened.natural_movie, "natural_movie_1"), (opened.natural_scene, "natural_scene_1")):
        with pytest.raises(ProjectError) as caught:
            call(1)
        assert says(caught.value, (kind,))


# ---------------------------------------------------------------- as a user runs it


def test_snakemake_goes_on_without_a_session_and_says_so(tmp_path, good):
    folder = Folder.checkout(tmp_path)
    cut(FILE)(tmp_path)
    configure()
    done = folder.snakemake("-c2", "--configfile", "config.yaml")
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "Traceback" not in printed
    (row,) = exclusions()
    assert says(row["reason"], (FILE, "cut short"))
    assert {product: rows_of(product, SECOND) for product in good} == good


def test_snakemake_shows_what_is_wrong_with_a_table(tmp_path):
    folder = Folder.checkout(tmp_path)
    write_tables()
    cut(UNITS)(tmp_path)
    configure(project(**OF_TABLES))
    done = folder.snakemake("-c1", "--configfile", "config.yaml")
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in printed
    assert f"ephysflow make-project-tables: error: {UNITS}: " in printed


def test_show_after_a_session_was_left_out(capsys):
    cut(FILE)(Path())
    assert run() == {}
    assert main(["show", "results"]) == 0
    assert says(capsys.readouterr().out, (FIRST, "cut short"))
