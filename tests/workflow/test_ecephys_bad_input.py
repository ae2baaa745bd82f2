"""Session files, tables, manifests, servers and configurations that are wrong or damaged: one message, or listed."""

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ephysflow.cli import JOBS, main
from ephysflow.codehash import CodeHasher
from ephysflow.errors import EphysflowError
from ephysflow.example.ecephys_files import write_lfp, write_session
from ephysflow.io.tables import read_rows, read_table
from ephysflow.io.yaml_files import read_yaml
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import plan_workflow
from ephysflow.steps import STEPS

from ..unit.session_nwb import write_allen_session
from .folders import write_config

RESULTS = Path("results/ecephys/p")
FIRST, SECOND = "731000001", "731000002"
FILE = f"nwb/session_{FIRST}.nwb"
PROBE = 740000010
"""The one with LFP."""

HTML = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>\n"
EXCLUSION_STEPS = ("fetch_file", "index_session", "extract_session", "make_project_tables", "collect_exclusions")
STEPS_RUN = (*EXCLUSION_STEPS, "join_analysis_metrics")

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
    path = RESULTS / f"{table}.parquet" if session is None else RESULTS / f"sessions/{session}/{table}.parquet"
    return read_table(path).num_rows


def says(error: EphysflowError | str, wanted: Sequence[str]) -> bool:
    """Check that a message has all that it should have, and neither a traceback nor what a program calls things."""
    text = str(error)
    assert [part for part in wanted if part not in text] == [], text
    for unwanted in ("Traceback", "\x1b", "Errno", "<class", "object at 0x"):
        assert unwanted not in text, text
    assert len(text) < 3000
    return True


def refused(capsys: Any, wanted: Sequence[str], section: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Check that ``ephysflow validate`` refuses a configuration, in few words, before anything is written."""
    configure(section, **more)
    assert main(["validate", "config.yaml"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow validate: error: ")
    assert says(printed.err, wanted)
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
        in_file(lambda f: [set_text(f, name, "../../etc/passwd") for name in ("identifier", "general/session_id")]),
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
        in_file(lambda f: (f.__delitem__("units"), f.__setitem__("units", h5py.ExternalLink("b.nwb", "/units")))),
        ("link to another file", "b.nwb"),
    ),
    "units in a circle of links": (
        in_file(lambda f: (f.__delitem__("units"), f.__setitem__("units", h5py.SoftLink("/units")))),
        ("leads back to itself",),
    ),
    "ids of a declared size": (declared("units/id", (10**12,)), ("/units/id", "does not hold these values")),
    "a column of a declared size": (declared("units/snr", (10**12,)), ("/units/snr", "does not hold these values")),
    "without spike times": (without("units/spike_times"), ("/units", "spike_times")),
    "without index": (without("units/spike_times_index"), ("/units/spike_times", "shape", "24 rows")),
    "waveforms of a declared size": (declared("units/waveform_mean", (10**9, 1000)),
        ("/units/waveform_mean", "declares shape (1000000000, 1000)", "does not hold these values"),
    ),
    "spike times of a declared size": (declared("units/spike_times", (10**12,)),
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
        values(f"{AMPLITUDES}_index", lambda found: found - 10 * (np.arange(len(found)) == 0).astype(found.dtype)),
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
    failures = run()
    assert [*failures] in ([], ["make_project_tables()"])
    assert len(exclusions()) == 2


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


def both(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


NAMES_REFUSED = ("../x", "a/b", ".", "..", "", "-x", " ", "a b", "x\ty", "a\\b", "\u00e9", "a\x00b", "~", "*", "x" * 300)
SHEET = {"sessions": "sessions.tsv"}
WRONG_NWB: dict[str, tuple[Damage, dict[str, Any], tuple[str, ...]]] = {
    # name: what is done to the folder, the section's settings, what the message must say
    "a folder that is not there": (nothing, {"folder": "nowhere"}, ("config.yaml: ecephys.p", "nowhere")),
    "a folder that is a file": (with_bytes("file", "x"), {"folder": "file"}, ("config.yaml: ecephys.p", "file")),
    "a folder without session files": (
        lambda folder: (folder / "none").mkdir(),
        {"folder": "none"},
        ("config.yaml: ecephys.p", "none", "holds no .nwb file"),
    ),
    "no folder": (nothing, {"folder": None}, ("config.yaml: ecephys.p", "source nwb needs folder", "column file")),
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
    "an empty sheet": (sheet(""), SHEET, ("sessions.tsv", "columns are missing", "session_id, file, lfp_probes")),
    "a sheet without sessions": (sheet("session_id\n"), SHEET, ("no session file is there", "sessions lists none")),
    "an HTML page as sheet": (sheet(HTML.decode()), SHEET, ("sessions.tsv", "columns are", "session_id is needed")),
    "a sheet that is binary": (with_bytes("sessions.tsv", bytes(range(256))), SHEET, ("sessions.tsv", "cannot be read")),
    "a sheet without its column": (sheet("file\na.nwb\n"), SHEET, ("columns are file", "session_id is needed")),
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
    "a sheet of one endless line": (sheet("x" * 200_000), SHEET, ("sessions.tsv", "field larger than field limit")),
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
    assert sorted(read_table(RESULTS / "sessions.parquet")["id"].to_pylist()) == [SECOND, "M3.2"]
