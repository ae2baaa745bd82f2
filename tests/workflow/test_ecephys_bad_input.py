"""Session files, tables, manifests, servers and configurations that are wrong or damaged: one message, or listed."""

import importlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import ephysflow
from ephysflow.cli import JOBS, main
from ephysflow.codehash import CodeHasher
from ephysflow.errors import ConfigurationError, EphysflowError, ProjectError
from ephysflow.example.ecephys_files import write_lfp, write_session
from ephysflow.io.tables import read_rows, read_table
from ephysflow.io.yaml_files import read_yaml
from ephysflow.plan import SEPARATOR, Plan, read_job
from ephysflow.planning import plan_workflow
from ephysflow.steps import STEPS

from ..fake_warehouse import FakeWarehouse, small_project
from .folders import Folder, write_config

RESULTS = Path("results/ecephys/p")
FIRST, SECOND = "731000001", "731000002"
FILE = f"nwb/session_{FIRST}.nwb"
N_UNITS = 24
"""Units of a session, before any filter."""

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
    for session in (FIRST, SECOND):
        write_session(folder / f"nwb/session_{session}.nwb", int(session), seed=1)
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
    path = configure(section)
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


def text(name: str, value: str) -> Damage:
    def damage(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return in_file(damage)


PROBE = 740010010 if False else 0


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
}


def set_text(file: h5py.File, name: str, value: str) -> None:
    del file[name]
    file[name] = value


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
