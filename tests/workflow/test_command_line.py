"""The command line, as people type it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ephysflow.cli import HELPERS, JOBS, main
from ephysflow.recordings.sheet import read_sheet

from .folders import Folder, write_config, write_sheet
from .recorded import FORMATS, as_nwb, main_file


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in (*HELPERS, *JOBS) if name not in text] == []


@pytest.mark.parametrize("command", [*HELPERS, *JOBS])
def test_help_of_each_subcommand(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: ephysflow {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["inspect"], ["verify", "--nonsense"]])
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: ephysflow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "gone.nwb"], "gone.nwb: there is no such file"),
        (["inspect", "notes.xyz"], "notes.xyz: neither content nor extension is known"),
        (["inspect", "empty.nwb"], "the file is empty"),
        (["inspect", "."], "cannot be opened"),
        (["init", "mine", "--data", "nowhere"], "nowhere: is not a folder"),
        (["init", "taken"], "config.yaml is already there"),
        (["validate", "gone.yaml"], "gone.yaml: cannot be read"),
        (["validate", "list.yaml"], "list.yaml"),
        (["show", "nowhere"], "nowhere: holds no plan"),
        (["verify", "nowhere"], "nowhere: holds no plan"),
        (["verify", "nowhere", "--config", "list.yaml"], "list.yaml"),
        (["verify", "nowhere", "--config", "nothing.yaml"], "nothing.yaml"),
        (["verify", "nowhere", "--config", "gone.yaml"], "gone.yaml: cannot be read"),
        (["ingest-recordings", "--plan", "gone.jsonl", "--item", "a"], "gone.jsonl: is not a plan"),
        (["ingest-recordings", "--plan", "notes.xyz", "--item", "a"], "notes.xyz: is not a plan"),
    ],
)
def test_errors_go_to_stderr_and_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("notes.xyz").write_text("remember the milk")
    Path("empty.nwb").touch()
    Path("taken").mkdir()
    Path("taken/config.yaml").touch()
    Path("list.yaml").write_text("- a\n- b\n")
    Path("nothing.yaml").touch()
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"ephysflow {arguments[0]}: error: ")
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_an_installed_command_ends_with_the_status(tmp_path):
    done = Folder(tmp_path).run("ephysflow", "show", "nowhere")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- inspect


def inspected(capsys, *arguments: str) -> tuple[str, dict]:
    assert main(["inspect", *arguments]) == 0
    text = capsys.readouterr().out
    assert main(["inspect", *arguments, "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "reader", "protocol", "sweeps"),
    [
        (["example_data/pyr1.nwb"], "nwb", "IDrest", 20),
        (["example_data/pyr4/IDrest.parquet"], "table", "", 10),
        (
            ["example_data/pyr3/IDrest_ch1_109.ibw", "--i-file", "example_data/pyr3/IDrest_ch0_109.ibw"],
            "igor",
            "",
            1,
        ),
    ],
)
def test_inspect_the_examples_files(example, capsys, arguments, reader, protocol, sweeps):
    text, report = inspected(capsys, *arguments)
    assert reader in text
    assert report["reader"] == reader
    assert report["protocols"][protocol] == sweeps
    assert report["unreadable"] == []
    first = report["sweeps"][0]
    assert first["dt"] > 0
    assert first["samples"] > 1000


def test_inspect_one_wave_alone(example, capsys):
    text, report = inspected(capsys, "example_data/pyr3/IDrest_ch1_109.ibw")
    assert "i_file" in text
    assert report["wave"]["unit"] == "V"


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "igor"])
def test_inspect_every_format(tmp_path, capsys, format_):
    file = main_file(tmp_path / "data", FORMATS[format_](tmp_path / "data"))
    text, report = inspected(capsys, str(file))
    assert str(file) in text
    assert report["sweeps"] or report["unreadable"]


# ---------------------------------------------------------------- init, validate, show


def test_init_from_a_folder_of_recordings(example, tmp_path, capsys):
    mine = tmp_path / "mine"
    assert main(["init", str(mine), "--data", "example_data"]) == 0
    printed = capsys.readouterr().out
    assert "for 4 cells" in printed
    listed = read_sheet(mine / "recordings.tsv")
    original = read_sheet(Path("config/recordings.tsv"))

    def files(entries: list[dict]) -> set[tuple[str, str, str]]:
        return {
            (entry["cell"], protocol, Path(entry.get("filepath") or entry["v_file"]).name)
            for entry in entries
            for protocol in entry["protocols"]
        }

    assert files(listed) == files(original)
    assert main(["validate", str(mine / "config.yaml")]) == 0
    validated = capsys.readouterr().out
    assert "fine" in validated
    assert "not there" not in validated


def test_a_configuration_from_init_can_be_planned(finished_example, tmp_path):
    mine = tmp_path / "mine"
    assert main(["init", str(mine), "--data", str(finished_example.path / "example_data")]) == 0
    planned = finished_example.snakemake(
        "-n", "--configfile", str(mine / "config.yaml"), "--directory", str(tmp_path)
    )
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert re.search(r"ingest_recordings +4\b", planned.stdout)
    assert "example_recordings" not in planned.stdout


def test_init_without_recordings_waits_for_rows(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    assert "validate" in capsys.readouterr().out
    assert main(["validate", str(tmp_path / "config.yaml")]) == 1
    assert "recordings.tsv: has no rows" in capsys.readouterr().err
    sheet = tmp_path / "recordings.tsv"
    rows = [re.sub(r"^# (?=my_cell\t)", "", line) for line in sheet.read_text().splitlines()]
    sheet.write_text("\n".join(rows) + "\n")
    assert main(["validate", str(tmp_path / "config.yaml")]) == 0
    assert "recording file is not there" in capsys.readouterr().out


def test_init_never_replaces_a_file(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / "config.yaml").unlink()
    before = (tmp_path / "recordings.tsv").read_text()
    assert main(["init", str(tmp_path)]) == 1
    assert "recordings.tsv, targets.yaml" in capsys.readouterr().err
    assert (tmp_path / "recordings.tsv").read_text() == before
    assert not (tmp_path / "config.yaml").exists()


def test_init_passes_over_what_it_cannot_read_and_says_so(tmp_path, capsys):
    as_nwb(tmp_path / "data" / "cell_1")
    (tmp_path / "data" / "broken.nwb").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "data" / "readme.md").write_text("# data")
    assert main(["init", str(tmp_path / "mine"), "--data", str(tmp_path / "data")]) == 0
    printed = capsys.readouterr().out
    assert "1 rows for 1 cells" in printed
    for name in ("broken.nwb", "readme.md"):
        assert re.search(rf"not in the sheet: \S*{name}: ", printed)
    assert main(["validate", str(tmp_path / "mine/config.yaml")]) == 0


def test_validate_the_example(example, capsys):
    assert main(["validate", "config/config.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "cells: 4" in printed
    assert f"{len(yaml.safe_load(Path('config/targets.yaml').read_text()))} targets" in printed


def test_show_the_finished_example(example, capsys):
    assert main(["show"]) == 0
    printed = capsys.readouterr().out
    assert "of 4 cells" in printed
    assert "Left out:   1" in printed
    assert "voltage has 4666 samples" in printed
    assert re.search(r"pyr2 +210\.0 pA", printed)
    for line in re.findall(r"results/\S+", printed):
        if "<cell>" not in line:
            assert Path(line.rstrip(",):'")).exists(), line


# ---------------------------------------------------------------- jobs by hand


@pytest.mark.parametrize("rule", ["ingest_recordings", "group_efeatures", "summarise"])
def test_a_printed_command_can_be_run_by_hand(own_example, rule):
    output = {
        "ingest_recordings": "results/recordings/pyr4.parquet",
        "group_efeatures": "results/efeatures/features.json",
        "summarise": "results/summary/targets.csv",
    }[rule]
    planned = own_example.snakemake("-n", "--printshellcmds", "--forcerun", output, "--", output)
    command = rule.replace("_", "-")
    (line,) = re.findall(rf"(ephysflow {command} --plan .*)", planned.stdout)
    path = own_example.path / output
    before = path.read_bytes()
    path.unlink()
    done = own_example.run("bash", "-c", line)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before  # equal work, equal bytes


def test_an_item_that_the_plan_does_not_have(example, capsys):
    (plan,) = Path("results/.ephysflow").glob("plan-*.jsonl")
    assert main(["ingest-recordings", "--plan", str(plan), "--item", "pyr9"]) == 1
    error = capsys.readouterr().err
    assert "'pyr9'" in error
    assert "pyr1" in error


def test_the_end_of_a_pipe_may_close_early(finished_example):
    done = finished_example.run("bash", "-c", "ephysflow inspect example_data/pyr1.nwb --json | head -1")
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


def test_show_and_verify_while_half_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sheet(tmp_path / "sheet.tsv", [{"cell": "c", "protocol": "IDrest", "filepath": "c.nwb"}])
    config = {"recordings": {"sheet": "sheet.tsv"}}
    write_config(tmp_path / "config.yaml", config)
    from ephysflow.planning import plan_workflow

    plan_workflow(config, ["config.yaml"])
    assert main(["show"]) == 0
    assert "0 sweeps of 0 cells" in capsys.readouterr().out
    assert main(["verify", "results"]) == 1
    assert "missing  results/recordings/c.parquet: is not there" in capsys.readouterr().out
