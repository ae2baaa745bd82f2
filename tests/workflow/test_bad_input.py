"""Wrong configurations are refused before any job; bad recordings become exclusions, and the good cells come out."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ephysflow.cli import main
from ephysflow.codehash import CodeHasher
from ephysflow.configuration import load
from ephysflow.io.tables import read_rows
from ephysflow.plan import read_job
from ephysflow.planning import make_plan
from ephysflow.recordings.ingestion import ingest_cell, ingest_recordings
from ephysflow.recordings.table import read_sweeps

from .folders import Folder, write_config, write_sheet
from .recorded import (
    FORMATS,
    IDREST,
    RHEOBASE,
    Row,
    as_abf,
    as_csv,
    as_igor,
    as_nwb,
    as_table,
    main_file,
    sweep,
    write_good,
    write_igor,
    write_nwb,
)

TARGET = {"efeature": "Spikecount", "protocol": "IDrest", "amplitude": 150, "tolerance": 20}
HASHER = CodeHasher()  # remembers what it has read

USER_CODE = """\
import numpy as np

from ephysflow.recordings.stimuli.steps import Step


def raises(metadata):
    raise KeyError("no such channel")


def nothing(metadata):
    return None


def no_sweeps(metadata):
    return []


def text(metadata):
    return ["text"]


def no_current(metadata):
    return [{"voltage": np.zeros(100), "dt": 0.1}]


def a_matrix(metadata):
    return [{"voltage": np.zeros((9, 9)), "current": np.zeros(9), "dt": 0.1}]


def words(metadata):
    return [{"voltage": ["high"], "current": ["low"], "dt": 0.1}]


class Estimates(Step):
    def estimate_timing(self, sweeps):
        raise KeyError("edges")


class TooFew(Step):
    def estimate_timing(self, sweeps):
        return []


class Measures(Step):
    def parameters(self, sweep, timing):
        return {"amp": 1 / 0}


class Words(Step):
    def parameters(self, sweep, timing):
        return {"amp": "a lot", "hypamp": 0.0}


class Window(Step):
    def response_window(self, parameters):
        return parameters["nowhere"]


class Other:
    pass
"""


# ---------------------------------------------------------------- wrong configuration


def minimal(**efeatures: Any) -> dict[str, Any]:
    return {"recordings": {"sheet": "sheet.tsv"}, "efeatures": {"targets": [TARGET], **efeatures}}


def with_recordings(**recordings: Any) -> dict[str, Any]:
    config = minimal()
    config["recordings"] |= recordings
    return config


GOOD_ROW: Row = {"cell": "good", "protocol": "IDrest", "filepath": "good.nwb"}

WRONG: dict[str, tuple[Any, list[Row] | bytes | None, tuple[str, ...]]] = {
    # name: configuration, rows or bytes of the sheet (None: the good row), what the message must say
    "cell that leaves the folder": (
        minimal(),
        [{**GOOD_ROW, "cell": "../x"}],
        ("sheet.tsv", "line 2", "cell", "'../x'", "letters, digits"),
    ),
    "duplicate rows": (minimal(), [GOOD_ROW, GOOD_ROW], ("sheet.tsv", "line 3", "line 2")),
    "missing column": (
        minimal(),
        b"protocol\tfilepath\nIDrest\ta.nwb\n",
        ("sheet.tsv", "column cell is missing"),
    ),
    "no column for files": (minimal(), b"cell\tprotocol\na\tIDrest\n", ("sheet.tsv", "filepath", "i_file")),
    "mistyped column": (
        minimal(),
        [{**GOOD_ROW, "v_units": "mV"}],
        ("sheet.tsv", "'v_units'", "did you mean v_unit"),
    ),
    "sheet that is not UTF-8": (
        minimal(),
        "cell\tprotocol\tfilepath\nzürich\tIDrest\ta.nwb\n".encode("latin-1"),
        ("sheet.tsv", "UTF-8"),
    ),
    "sheet without rows": (minimal(), b"cell\tprotocol\tfilepath\n", ("sheet.tsv", "has no rows")),
    "word for a number": (
        minimal(),
        [{**GOOD_ROW, "ton": "early"}],
        ("sheet.tsv", "line 2", "column ton", "'early'", "number"),
    ),
    "no sheet": (with_recordings(sheet="nowhere.tsv"), None, ("nowhere.tsv", "No such file")),
    "list instead of a mapping": (["recordings", "efeatures"], None, ("config.yaml", "object")),
    "text instead of a mapping": ("recordings", None, ("config.yaml", "object")),
    "nothing": (None, None, ("config.yaml", "nothing to do")),
    "unknown reader": (
        minimal(),
        [{**GOOD_ROW, "reader": "heka"}],
        ("good", "reader", "'heka'", "igor", "nwb"),
    ),
    "unknown layout": (
        minimal(),
        [{**GOOD_ROW, "nwb_layout": "blue"}],
        ("good", "nwb_layout", "'blue'", "generic", "bbp"),
    ),
    "unknown stimulus class": (
        with_recordings(stimuli={"IDrest": "Stepp"}),
        None,
        ("config.yaml", "stimuli", "IDrest", "Stepp", "SineSpec"),
    ),
    "protocol without a stimulus class": (
        minimal(),
        [{**GOOD_ROW, "protocol": "Foo"}],
        ("'Foo'", "Step", "CapCheck"),
    ),
    "unknown feature": (
        minimal(targets=[{**TARGET, "efeature": "Spikecounts"}]),
        None,
        ("config.yaml", "efeature", "'Spikecounts'", "did you mean", "Spikecount"),
    ),
    "unknown rheobase strategy": (
        minimal(rheobase={"strategy": "majorty"}),
        None,
        ("config.yaml", "rheobase.strategy", "'majorty'", "majority"),
    ),
    "unknown setting of a strategy": (
        minimal(rheobase={"strategy": "flush", "settings": {"spike_threshold": 1}}),
        None,
        ("config.yaml", "rheobase", "'spike_threshold'", "flush_length"),
    ),
    "unknown quality limit": (
        with_recordings(quality={"limits": {"noise": 1}}),
        None,
        ("config.yaml", "quality", "'noise'", "noise_rms_pre"),
    ),
    "unknown eFEL setting": (
        minimal(efel_settings={"threshold": -20}),
        None,
        ("config.yaml", "efel_settings", "threshold", "Threshold"),
    ),
    "set of a cell that is not there": (
        minimal(sets={"mine": {"cells": ["gone"], "targets": [TARGET]}}),
        None,
        ("sets.mine.cells", "gone", "good"),
    ),
    "reader in no module": (minimal(), [{**GOOD_ROW, "reader": "nowhere.read"}], ("'nowhere'",)),
    "reader that its module lacks": (minimal(), [{**GOOD_ROW, "reader": "mine.reed"}], ("mine.py", "'reed'")),
    "stimulus class that its module lacks": (
        with_recordings(stimuli={"IDrest": "mine.Stepp"}),
        None,
        ("mine.py", "'Stepp'"),
    ),
}


def write_wrong(folder: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    config, sheet, wanted = WRONG[name]
    (folder / "mine.py").write_text(USER_CODE)
    if isinstance(sheet, bytes):
        (folder / "sheet.tsv").write_bytes(sheet)
    else:
        write_sheet(folder / "sheet.tsv", sheet or [GOOD_ROW])
    return write_config(folder / "config.yaml", config), wanted


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_refused_with_one_message(tmp_path, capsys, name):
    config, wanted = write_wrong(tmp_path, name)
    assert main(["validate", str(config)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ephysflow validate: error: ")
    assert [text for text in wanted if text not in printed.err] == [], printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["cell that leaves the folder", "unknown stimulus class"])
def test_snakemake_refuses_with_the_same_message_before_any_job(tmp_path, name):
    folder = Folder.checkout(tmp_path)
    write_wrong(tmp_path, name)
    message = (
        folder.ephysflow("validate", "config.yaml").stderr.removeprefix("ephysflow validate: error: ").strip()
    )
    refused = folder.snakemake("-n", "--configfile", "config.yaml")
    assert refused.returncode == 1
    assert message in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert not (tmp_path / "results").exists()


def test_snakemake_refuses_yaml_that_is_not_a_mapping(tmp_path):
    folder = Folder.checkout(tmp_path)
    config, _ = write_wrong(tmp_path, "list instead of a mapping")
    refused = folder.snakemake("-n", "--configfile", str(config))
    assert refused.returncode == 1
    assert "Config file" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_what_is_not_yaml_is_refused(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("recordings: [\n")
    assert main(["validate", str(tmp_path / "config.yaml")]) == 1
    assert "is not YAML" in capsys.readouterr().err
    assert main(["validate", str(tmp_path / "gone.yaml")]) == 1
    assert "gone.yaml: cannot be read" in capsys.readouterr().err


def test_a_target_of_a_protocol_that_no_cell_has_is_noted_and_no_error(tmp_path, capsys):
    write_sheet(tmp_path / "sheet.tsv", [GOOD_ROW])
    targets = [TARGET, {**TARGET, "protocol": "Absent"}]
    assert main(["validate", str(write_config(tmp_path / "config.yaml", minimal(targets=targets)))]) == 0
    printed = capsys.readouterr().out
    assert "'Absent', which no cell has" in printed
    assert "good.nwb" in printed.partition("not there: ")[2]


# ---------------------------------------------------------------- bad data, one cell at a time


def ingest(folder: Path, rows: list[Row], **recordings: Any) -> tuple[list[dict], list[dict]]:
    """Ingest the cell of the rows as its job does."""
    write_sheet(folder / "sheet.tsv", rows)
    config = {"recordings": {"sheet": "sheet.tsv", **recordings}}
    plan = make_plan(load(config, [write_config(folder / "config.yaml", config)]), HASHER)
    item = json.loads(plan.settings("ingest_recordings", rows[0]["cell"]))
    user_folder = Path(item["user_folder"]) if item["user_folder"] else None
    return ingest_cell(item["cell"], item["entries"], item["stimuli"], item["quality"], user_folder)


def beside_good(folder: Path, *bad: Row, **recordings: Any) -> list[dict]:
    """Ingest bad files together with good ones; check that the good ones are there, and return the exclusions."""
    good = write_good(folder / "good")
    rows, exclusions = ingest(
        folder, [*good, *({"cell": "good", "protocol": "IDrest", **row} for row in bad)], **recordings
    )
    assert [round(row["amp"], 3) for row in rows] == list(IDREST)
    assert all((row["ton"], row["toff"]) == (100, 500) for row in rows)
    for exclusion in exclusions:
        assert exclusion["cell"] == "good"
        assert exclusion["stage"] == "recordings"
        assert exclusion["reason"]
    named = [exclusion["file"] for exclusion in exclusions]
    for row in bad:
        assert any(row.get("filepath", row.get("v_file", "")) in files for files in named), named
    return exclusions


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "is empty"),
        (lambda content: content[: len(content) * 6 // 10 - 3], ""),
        (lambda content: content[:40], ""),
        (lambda content: bytes(len(content)), ""),
    ],
    ids=["empty", "truncated", "head alone", "zeros"],
)
def test_damaged_files(tmp_path, format_, damage, reason):
    row = FORMATS[format_](tmp_path / "bad")
    file = main_file(tmp_path / "bad", row)
    file.write_bytes(damage(file.read_bytes()))
    exclusions = beside_good(tmp_path, row)
    assert all(reason in exclusion["reason"] for exclusion in exclusions)


def test_undamaged_files_of_every_format_are_read(tmp_path):
    for name, write in FORMATS.items():
        if name != "abf":  # the one without a stimulus
            row = {"cell": "c", "protocol": "IDrest", **write(tmp_path / name)}
            rows, exclusions = ingest(tmp_path, [row])
            assert not exclusions
            assert {round(row["amp"], 3) for row in rows} <= set(IDREST)


@pytest.mark.parametrize(
    ("write", "name"), [(as_table, "bad/table.abf"), (as_nwb, "bad/cell.txt"), (as_nwb, "bad/cell")]
)
def test_content_wins_over_the_extension(tmp_path, write, name):
    shutil.copy(main_file(tmp_path / "bad", write(tmp_path / "bad")), tmp_path / name)
    rows, exclusions = ingest(tmp_path, [{"cell": "c", "protocol": "IDrest", "filepath": name}])
    assert not exclusions
    assert 0.1 in [round(row["amp"], 3) for row in rows]


def test_a_wrong_extension_that_the_content_does_not_mend(tmp_path):
    file = main_file(tmp_path / "bad", as_csv(tmp_path / "bad"))
    shutil.copy(file, file.with_suffix(".parquet"))
    shutil.copy(file, file.with_suffix(".dat"))
    as_parquet, unknown = beside_good(
        tmp_path, {"filepath": "bad/table.parquet"}, {"filepath": "bad/table.dat"}
    )
    assert "Parquet" in as_parquet["reason"]
    assert "name a reader: igor, axon, nwb" in unknown["reason"]


VOLTAGE, CURRENT = sweep(0.1)
HOLE = np.where((np.arange(len(VOLTAGE)) >= 100) & (np.arange(len(VOLTAGE)) < 200), np.nan, VOLTAGE)

BAD_SWEEPS: dict[str, tuple[Callable[[Path], Row], str]] = {
    "lengths, Igor": (lambda f: write_igor(f, "x", VOLTAGE[:-50], CURRENT), "2350 samples and current 2400"),
    "rates, Igor": (lambda f: write_igor(f, "x", VOLTAGE, CURRENT, i_dt=0.5), "sampling interval"),
    "rates and lengths, Igor": (
        lambda f: write_igor(f, "x", VOLTAGE, CURRENT[::2], i_dt=0.5),
        "sampling interval",
    ),
    "dt 0 in the file": (lambda f: write_igor(f, "x", VOLTAGE, CURRENT, dt=0.0), "dt must be positive"),
    "dt 0 in the sheet": (lambda f: {**as_igor(f), "dt": 0}, "dt must be positive"),
    "dt below 0 in the sheet": (lambda f: {**as_igor(f), "dt": -0.25}, "dt must be positive"),
    "NaN stretch": (lambda f: write_igor(f, "x", HOLE, CURRENT), "not a number at 25 to 50 ms"),
    "nothing but NaN": (lambda f: write_igor(f, "x", HOLE * np.nan, CURRENT), "no samples"),
    "toff past the end": (lambda f: {**as_igor(f), "ton": 100, "toff": 700}, "ends at 600 ms"),
    "toff before ton": (lambda f: {**as_igor(f), "ton": 500, "toff": 100}, "must increase"),
    "ton before the sweep": (lambda f: {**as_igor(f), "ton": -1, "toff": 500}, "from 0"),
    "no unit": (lambda f: as_table(f, ("time [ms]", "voltage [mV]", "current")), "give i_unit"),
    "no unit of time": (lambda f: as_table(f, ("time", "voltage [mV]", "current [nA]")), "give t_unit"),
    "units of each other": (
        lambda f: as_table(f, ("time [ms]", "voltage [nA]", "current [mV]")),
        "not a unit of",
    ),
    "no such columns": (lambda f: as_table(f, ("time [ms]", "membrane", "command")), "membrane, command"),
    "impossible values": (
        lambda f: {**as_table(f, ("time [ms]", "voltage", "current [nA]")), "v_unit": "V"},
        "impossible",
    ),
    "two channels exchanged in the table": (
        lambda f: as_table(f, ("time [ms]", "current [nA]", "voltage [mV]")),
        "swapped",
    ),
    "missing file": (lambda f: {"filepath": "bad/gone.nwb"}, "no such file"),
    "missing wave": (lambda f: {**as_igor(f), "i_file": "bad/gone.ibw"}, "no such file"),
    "two waves of voltage": (
        lambda f: {**(row := as_igor(f)), "i_file": row["v_file"]},
        "not a unit of current",
    ),
    "another reader": (lambda f: {**as_nwb(f), "reader": "matlab"}, "MATLAB"),
    "half of a pair": (lambda f: {"filepath": as_igor(f)["v_file"]}, "i_file"),
}


@pytest.mark.parametrize("name", BAD_SWEEPS)
def test_bad_sweeps(tmp_path, name):
    write, reason = BAD_SWEEPS[name]
    (exclusion,) = beside_good(tmp_path, write(tmp_path / "bad"))
    assert reason in exclusion["reason"]


def test_no_stimulus_in_any_sweep(tmp_path):
    row = {"cell": "c", "protocol": "IDrest", **as_abf(tmp_path / "bad")}
    rows, (exclusion,) = ingest(tmp_path, [row])
    assert not rows
    assert "no stimulus found" in exclusion["reason"]
    assert "ton, toff" in exclusion["reason"]


def test_lengths_and_rates_that_differ_in_nwb(tmp_path):
    write_nwb(tmp_path / "bad" / "lengths.nwb", [sweep(0.1), (VOLTAGE[:-50], CURRENT)])
    write_nwb(tmp_path / "bad" / "rates.nwb", [(VOLTAGE, CURRENT)], i_dt=0.5)
    good = write_good(tmp_path / "good")
    files = [
        {"cell": "good", "protocol": "IDrest", "filepath": f"bad/{name}.nwb"} for name in ("lengths", "rates")
    ]
    rows, (lengths, rates) = ingest(tmp_path, [*good, *files])
    assert len(rows) == len(IDREST) + 1
    assert lengths["sweep"] == "CurrentClampSeries_1"
    assert "2350" in lengths["reason"]
    assert "sampling interval" in rates["reason"]


def test_channels_exchanged_in_the_sheet_are_put_right_with_a_note(tmp_path):
    row = as_igor(tmp_path / "bad")
    exchanged = {"cell": "c", "protocol": "IDrest", "v_file": row["i_file"], "i_file": row["v_file"]}
    (found,), exclusions = ingest(tmp_path, [exchanged])
    assert not exclusions
    assert found["amp"] == pytest.approx(0.1)
    assert "put right" in found["note"]


def test_a_stimulus_from_the_first_sample_on(tmp_path):
    row = write_igor(tmp_path / "bad", "x", *sweep(0.1, ton=0.0))
    (found,), exclusions = ingest(
        tmp_path, [{"cell": "c", "protocol": "IDrest", **row, "ton": 0, "toff": 500}]
    )
    assert not exclusions
    assert (found["ton"], found["toff"]) == (0, 500)
    assert found["amp"] == pytest.approx(0.1)
    assert found["hypamp"] == pytest.approx(0.0)


def test_without_times_a_stimulus_from_the_first_sample_on_is_doubtful(tmp_path):
    row = write_igor(tmp_path / "bad", "x", *sweep(0.1, ton=0.0))
    (found,), _ = ingest(tmp_path, [{"cell": "c", "protocol": "IDrest", **row}])
    assert found["timing_confidence"] < 0.5


def test_a_file_that_lacks_one_of_the_protocols_asked_for(tmp_path):
    row = {"cell": "c", "protocol": "IDrest;sAHP", **as_nwb(tmp_path / "bad")}
    rows, (exclusion,) = ingest(tmp_path, [row])
    assert len(rows) == len(IDREST)
    assert exclusion["protocol"] == "sAHP"
    assert exclusion["reason"] == "no sweep of protocol sAHP; the file has: IDrest"


def test_a_folder_in_a_recordings_place(tmp_path):
    (tmp_path / "bad" / "cell.nwb").mkdir(parents=True)
    (exclusion,) = beside_good(tmp_path, {"filepath": "bad/cell.nwb"})
    assert "Is a directory" in exclusion["reason"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    locked = main_file(tmp_path / "locked", as_nwb(tmp_path / "locked"))
    locked.chmod(0)
    (exclusion,) = beside_good(tmp_path, {"filepath": "locked/cell.nwb"})
    assert "Permission denied" in exclusion["reason"]


def test_a_file_that_vanishes_between_plan_and_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sheet(tmp_path / "sheet.tsv", write_good(tmp_path / "good"))
    config = write_config(tmp_path / "config.yaml", {"recordings": {"sheet": "sheet.tsv"}})
    plan = make_plan(load({"recordings": {"sheet": "sheet.tsv"}}, [config]), HASHER)
    (tmp_path / "good" / "good_1_v.ibw").unlink()
    ingest_recordings(read_job(plan.write(), "ingest_recordings", ["good"]))
    rows = read_sweeps(tmp_path / "results/recordings/good.parquet")
    assert [round(row["amp"], 3) for row in rows] == [0.05, 0.15]
    (exclusion,) = read_rows(tmp_path / "results/recordings/exclusions/good.parquet")
    assert "good_1_v.ibw: there is no such file" in exclusion["reason"]


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        ("raises", "raises failed: 'no such channel'"),
        ("nothing", "must return a list of dictionaries; it returned NoneType"),
        ("no_sweeps", "found no sweep"),
        ("text", "must return a list of dictionaries"),
        ("no_current", "no current"),
        ("a_matrix", "of shape (9, 9)"),
        ("words", "row of numbers"),
    ],
)
def test_a_users_reader_that_fails(tmp_path, reader, reason):
    (tmp_path / "mine.py").write_text(USER_CODE)
    (exclusion,) = beside_good(tmp_path, {"filepath": "any.dat", "reader": f"mine.{reader}"})
    assert reason in exclusion["reason"]


def test_a_users_module_that_cannot_be_imported(tmp_path):
    (tmp_path / "broken.py").write_text("import a_package_that_nobody_has\n\n\ndef read(metadata): ...\n")
    (exclusion,) = beside_good(tmp_path, {"filepath": "any.dat", "reader": "broken.read"})
    assert "broken.read cannot be imported" in exclusion["reason"]
    assert "a_package_that_nobody_has" in exclusion["reason"]


@pytest.mark.parametrize(
    ("stimulus", "reason"),
    [
        ("Estimates", "'edges'"),
        ("TooFew", ""),
        ("Measures", "division by zero"),
        ("Words", "a lot"),
        ("Window", "'nowhere'"),
    ],
)
def test_a_users_stimulus_class_that_fails(tmp_path, stimulus, reason):
    (tmp_path / "mine.py").write_text(USER_CODE)
    bad = {"protocol": "Mine", "filepath": "bad/cell.nwb"}
    write_nwb(tmp_path / "bad" / "cell.nwb", [sweep(0.1), sweep(0.15)], protocol="Mine")
    exclusions = beside_good(tmp_path, bad, stimuli={"Mine": f"mine.{stimulus}"})
    assert len(exclusions) == 2
    assert all(f"stimulus class mine.{stimulus} failed" in exclusion["reason"] for exclusion in exclusions)
    assert all(reason in exclusion["reason"] for exclusion in exclusions)


# ---------------------------------------------------------------- a whole run


def cut(folder: Path, row: Row) -> Row:
    file = main_file(folder, row)
    file.write_bytes(file.read_bytes()[:-600])
    return row


BAD_CELLS: dict[str, tuple[Callable[[Path], Row], str]] = {
    # name: how its files are written, a part of the reason
    "truncated": (lambda f: cut(f, as_nwb(f)), "truncated"),
    "cut_wave": (lambda f: cut(f, as_igor(f)), "truncated"),
    "missing": (lambda f: {"filepath": "missing/cell.abf"}, "no such file"),
    "a_folder": (lambda f: f.mkdir() or {"filepath": "a_folder"}, "Is a directory"),
    "hole": (lambda f: write_igor(f, "x", HOLE, CURRENT), "not a number"),
    "lengths": (lambda f: write_igor(f, "x", VOLTAGE, CURRENT[9:]), "samples"),
    "no_unit": (lambda f: as_table(f, ("time [ms]", "voltage", "current")), "_unit"),
    "no_stimulus": (as_abf, "no stimulus"),
    "past_the_end": (lambda f: {**as_igor(f), "ton": 100, "toff": 9e9}, "ends at 600 ms"),
    "other_protocol": (lambda f: {**as_nwb(f), "protocol": "IDrest=IV"}, "the file has: IDrest"),
    "own_reader": (lambda f: {"filepath": "own_reader.dat", "reader": "mine.raises"}, "no such channel"),
    "own_class": (lambda f: {"protocol": "Mine", **as_igor(f)}, "mine.Estimates failed"),
}


@pytest.fixture(scope="module")
def bad_run(made_once) -> Folder:
    """One good cell, one that never fires and many bad ones, run to the end."""

    def run(path: Path) -> None:
        folder = Folder.checkout(path)
        (path / "mine.py").write_text(USER_CODE)
        rows = [
            {"cell": cell, "protocol": "IDrest", **write(path / cell)}
            for cell, (write, _) in BAD_CELLS.items()
        ]
        rows += [
            {"cell": "silent", "protocol": "IDrest", **write_igor(path / "silent", str(k), *sweep(amplitude))}
            for k, amplitude in enumerate((0.02, 0.05))
        ]
        write_sheet(path / "sheet.tsv", [*rows, *write_good(path / "good")])
        config = minimal(
            targets=[TARGET, {**TARGET, "protocol": "Mine"}, {**TARGET, "protocol": "Absent"}],
            sets={"hopeless": {"cells": ["truncated", "silent"], "targets": [TARGET]}},
            buckets=1,
        )
        config["recordings"]["stimuli"] = {"Mine": "mine.Estimates"}
        write_config(path / "config.yaml", {**config, "plots": False})
        done = folder.snakemake("-c2", "--configfile", "config.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    return Folder(made_once("bad_run", run))


def test_the_good_cell_comes_out(bad_run):
    results = bad_run.path / "results"
    rheobase = {row["cell"]: row["rheobase"] for row in read_rows(results / "efeatures/rheobase.parquet")}
    assert rheobase.pop("good") == pytest.approx(RHEOBASE)
    assert set(rheobase.values()) == {None}
    features = json.loads((results / "efeatures/features.json").read_text())
    (spikes,) = features["IDrest_150"]["soma"]
    assert spikes["val"][0] == 3
    assert spikes["n"] == 1
    assert set(features) == {"IDrest_150"}
    currents = json.loads((results / "efeatures/currents.json").read_text())
    assert currents["all_threshold_current"] == {"good": pytest.approx(RHEOBASE)}


def test_every_bad_thing_is_in_both_tables_of_exclusions(bad_run):
    table = read_rows(bad_run.path / "results/recordings/exclusions.parquet")
    with open(bad_run.path / "results/summary/exclusions.csv", newline="") as stream:
        for_people = list(csv.DictReader(stream))
    for rows in (table, for_people):
        of_recordings = {row["cell"]: row["reason"] for row in rows if row["stage"] == "recordings"}
        assert set(of_recordings) == set(BAD_CELLS)
        assert [cell for cell, (_, reason) in BAD_CELLS.items() if reason not in of_recordings[cell]] == []
        without = {row["cell"]: row["reason"] for row in rows if row["stage"] == "rheobase"}
        assert set(without) == {*BAD_CELLS, "silent"}
        assert "no sweep has 1 or more spikes" in without["silent"]


def test_a_bad_cell_has_an_empty_sweep_table(bad_run):
    for cell in BAD_CELLS:
        assert read_sweeps(bad_run.path / f"results/recordings/{cell}.parquet") == []


def test_a_set_of_hopeless_cells_has_files_without_features(bad_run):
    hopeless = bad_run.path / "results/efeatures/hopeless"
    assert json.loads((hopeless / "features.json").read_text()) == {}
    assert json.loads((hopeless / "protocols.json").read_text()) == {}


def test_verify_is_content_and_nothing_is_left_to_do(bad_run):
    verified = bad_run.ephysflow("verify", "results", "--prune")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "left over" not in verified.stdout
    again = bad_run.snakemake("-n", "--configfile", "config.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_run_of_which_nothing_is_left_ends_and_says_why(tmp_path):
    folder = Folder.checkout(tmp_path / "run")
    row = {"cell": "only", "protocol": "IDrest", **as_nwb(folder.path / "only")}
    main_file(folder.path / "only", row).write_bytes(b"")
    write_sheet(folder.path / "sheet.tsv", [row])
    write_config(folder.path / "config.yaml", {"plots": True, **minimal(per_cell=True)})
    run = folder.snakemake("-c2", "--configfile", "config.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    results = folder.path / "results"
    assert (results / "plots/summary.png").stat().st_size > 0
    assert (results / "plots/recordings/only.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((results / "efeatures/per_cell/only/features.json").read_text()) == {}
    assert "the file is empty" in (results / "summary/exclusions.csv").read_text()
    shown = folder.ephysflow("show", "results")
    assert shown.returncode == 0, shown.stderr
    assert "the file is empty" in shown.stdout
