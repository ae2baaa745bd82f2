"""What reruns when: the table of the architecture, pinned. One test, one change, the exact set of jobs."""

import os
import shutil

from .conftest import CONFIG, sheet, write_cell

AFTER_GROUPING = {"summarise"}
GROUPING = {"group_efeatures", *AFTER_GROUPING}
EXTRACTION = {f"extract_efeatures({protocol}, {cell})" for protocol in ("IDrest", "IV") for cell in "ab"}
RHEOBASE = {"find_rheobase(a)", "find_rheobase(b)", "collect_rheobase"}


def extraction(protocol: str = "", cell: str = "") -> set[str]:
    return {job for job in EXTRACTION if protocol in job and f" {cell}" in job}


def test_nothing_changed(workflow):
    assert workflow.plan() == set()


def test_a_plan_from_nothing_names_every_job(workflow):
    shutil.rmtree(workflow.folder / "results")
    shutil.rmtree(workflow.folder / ".snakemake")
    ingestion = {"ingest_recordings(a)", "ingest_recordings(b)"}
    assert workflow.plan() == ingestion | RHEOBASE | EXTRACTION | GROUPING


def test_one_recording_file(workflow):
    write_cell(workflow.folder / "data" / "a", scale=1.1)
    assert workflow.plan() == {
        "ingest_recordings(a)",
        "find_rheobase(a)",
        "collect_rheobase",
        *extraction(cell="a"),
        *GROUPING,
    }


def test_touched_files_with_the_same_content(workflow):
    write_cell(workflow.folder / "data" / "a")
    for file in (workflow.folder / "sheet.tsv", workflow.folder / "config.yaml"):
        os.utime(file)
    assert workflow.plan() == set()


def test_one_target_changed(workflow, change_config):
    targets = CONFIG["efeatures"]["targets"]
    change_config([targets[0], {**targets[1], "tolerance": 25}], "efeatures", "targets")
    assert workflow.plan() == extraction("IV") | GROUPING


def test_one_target_added(workflow, change_config):
    added = {"efeature": "AP_amplitude", "protocol": "IDrest", "amplitude": 100, "tolerance": 20}
    change_config([*CONFIG["efeatures"]["targets"], added], "efeatures", "targets")
    assert workflow.plan() == extraction("IDrest") | GROUPING


def test_rheobase_strategy(workflow, change_config):
    change_config("flush", "efeatures", "rheobase", "strategy")
    assert workflow.plan() == RHEOBASE | EXTRACTION | GROUPING


def test_what_does_not_depend_on_relative_amplitude_does_not_follow_the_rheobase(workflow, change_config):
    targets = [{**target, "amplitude": 0.1, "tolerance": 0.2} for target in CONFIG["efeatures"]["targets"]]
    change_config(targets, "efeatures", "targets")
    change_config(True, "efeatures", "absolute_amplitude")
    workflow.run()
    change_config("flush", "efeatures", "rheobase", "strategy")
    assert workflow.plan() == RHEOBASE | GROUPING


def test_pooling_concerns_grouping_alone(workflow, change_config):
    change_config("cells", "efeatures", "pooling")
    assert workflow.plan() == GROUPING


def test_quality_limits_concern_ingestion_and_what_follows(workflow, change_config):
    change_config("ipfx", "recordings", "quality", "preset")
    ingestion = {"ingest_recordings(a)", "ingest_recordings(b)"}
    assert workflow.plan() == ingestion | RHEOBASE | EXTRACTION | GROUPING


def test_order_of_keys_without_meaning(workflow):
    config = workflow.config
    config["efeatures"] = dict(reversed(config["efeatures"].items()))
    config["efeatures"]["targets"] = [dict(reversed(t.items())) for t in config["efeatures"]["targets"]]
    workflow.write_config(dict(reversed(config.items())))
    assert workflow.plan() == set()


def test_a_default_written_out(workflow, change_config):
    change_config("sweeps", "efeatures", "pooling")
    assert workflow.plan() == set()


def test_unrelated_key(workflow, change_config):
    change_config({"SomeLabProtocol": "Ramp"}, "recordings", "stimuli")
    assert workflow.plan() == set()


def test_one_cell_added(workflow):
    (workflow.folder / "sheet.tsv").write_text(sheet("abc"))
    assert workflow.plan() == {
        "ingest_recordings(c)",
        "find_rheobase(c)",
        "collect_rheobase",
        "extract_efeatures(IDrest, c)",
        "extract_efeatures(IV, c)",
        *GROUPING,
    }


def test_one_cell_removed_and_order_of_the_sheet(workflow):
    (workflow.folder / "sheet.tsv").write_text(sheet("b"))
    assert workflow.plan() == {"collect_rheobase", *GROUPING}


def test_metadata_of_one_row(workflow):
    workflow.edit("sheet.tsv", "cell\tprotocol\ti_file\tv_file", "cell\tprotocol\ti_file\tv_file\tljp")
    text = (workflow.folder / "sheet.tsv").read_text().splitlines()
    text[1] += "\t14"
    (workflow.folder / "sheet.tsv").write_text("\n".join(text) + "\n")
    assert "ingest_recordings(a)" in workflow.plan()
    assert "ingest_recordings(b)" not in workflow.plan()


def test_a_library_function_edited(workflow):
    workflow.edit("src/ephysflow/efeatures/extraction.py", "100.0 * amplitude", "100 * amplitude * 1.0")
    assert workflow.plan() == EXTRACTION | GROUPING


def test_a_reader_edited(workflow):
    path = workflow.folder / "src/ephysflow/recordings/readers/igor.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    ingestion = {"ingest_recordings(a)", "ingest_recordings(b)"}
    assert workflow.plan() == ingestion | RHEOBASE | EXTRACTION | GROUPING


def test_comments_docstrings_and_the_command_line_edited(workflow):
    for module in ("efeatures/extraction.py", "recordings/ingestion.py", "io/tables.py"):
        path = workflow.folder / "src/ephysflow" / module
        path.write_text(path.read_text().replace('"""', '"""Edited. ', 1) + "\n# a comment\n")
    path = workflow.folder / "src/ephysflow/cli/__init__.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    assert workflow.plan() == set()


def test_a_users_reader_edited(workflow):
    reader = workflow.folder / "my_reader.py"
    reader.write_text(
        "import numpy as np\n\n\ndef read(metadata):\n"
        "    t = np.arange(0, 600, 0.25)\n"
        "    on = (t >= 100) & (t < 500)\n"
        "    return [{'voltage': -70 + 5 * on, 'current': 0.05 * on, 'dt': 0.25,\n"
        "             'v_unit': 'mV', 'i_unit': 'nA', 't_unit': 'ms'}]\n"
    )
    rows = sheet("ab").splitlines()
    rows[0] += "\treader"
    rows.append("c\tIV\tdata/c/IV_i0.ibw\tdata/c/IV_v0.ibw\tmy_reader.read")
    (workflow.folder / "sheet.tsv").write_text("\n".join(rows) + "\n")
    workflow.run()
    assert workflow.plan() == set()
    reader.write_text(reader.read_text() + "# a comment\n")
    assert workflow.plan() == set()
    reader.write_text(reader.read_text().replace("5 * on", "6 * on"))
    assert workflow.plan() == {
        "ingest_recordings(c)",
        "find_rheobase(c)",
        "collect_rheobase",
        "extract_efeatures(IV, c)",
        *GROUPING,
    }


def test_a_deleted_table_is_made_again(workflow):
    (workflow.folder / "results/efeatures/features.json").unlink()
    assert workflow.plan() == GROUPING
    (workflow.folder / "results/summary/rheobase.csv").unlink()
    assert workflow.plan() == GROUPING


def test_buckets_keep_cells_where_they_are(workflow, change_config):
    change_config(2, "efeatures", "buckets")
    workflow.run()
    before = {path.name for path in (workflow.folder / "results/efeatures/rheobase").glob("bucket-*")}
    (workflow.folder / "sheet.tsv").write_text(sheet("abc"))
    planned = workflow.plan()
    found = {job for job in planned if job.startswith("find_rheobase")}
    assert len(found) == 1
    assert {path.name for path in (workflow.folder / "results/efeatures/rheobase").glob("bucket-*")} == before


def test_a_missing_file_that_appears(workflow):
    missing = workflow.folder / "data/a/IV_v0.ibw"
    content = missing.read_bytes()
    missing.unlink()
    assert "ingest_recordings(a)" in workflow.plan()
    workflow.run()
    assert workflow.plan() == set()
    missing.write_bytes(content)
    assert "ingest_recordings(a)" in workflow.plan()
    assert "ingest_recordings(b)" not in workflow.plan()


def test_a_second_target_set_leaves_the_first_alone(workflow, change_config):
    change_config(
        {"other": {"cells": ["b"], "targets": CONFIG["efeatures"]["targets"][:1]}}, "efeatures", "sets"
    )
    assert workflow.plan() == {
        "extract_efeatures(other/, IDrest, b)",
        "group_efeatures(other/)",
        *AFTER_GROUPING,
    }


def test_plots_are_off_the_way(workflow, change_config):
    change_config(True, "plots")
    assert workflow.plan() == {
        "plot_recordings(a)",
        "plot_recordings(b)",
        "plot_efeatures",
        "plot_overview",
    }


def test_recordings_alone(workflow):
    config = workflow.config
    del config["efeatures"]
    workflow.write_config(config)
    assert workflow.plan() == {"summarise"}


def test_verify_finds_the_configuration_of_the_last_run_with_its_order(workflow, change_config):
    by_protocol = {
        protocol: {
            "amplitudes": [100],
            "tolerances": [60],
            "efeatures": {"voltage_base": {}, "Spikecount": {}},
        }
        for protocol in ("IV", "IDrest")
    }
    change_config(by_protocol, "efeatures", "targets")
    workflow.run()
    other = {**workflow.config, "efeatures": {**CONFIG["efeatures"], "pooling": "cells"}}
    mine = (workflow.folder / "config.yaml").read_text()
    workflow.write_config(other)
    assert workflow.plan()  # a mere plan of another configuration is not a run
    (workflow.folder / "config.yaml").write_text(mine)
    assert workflow.plan() == set()
    verified = workflow.ephysflow("verify", "results")
    assert verified.returncode == 0, verified.stdout
