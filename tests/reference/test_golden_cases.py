"""BluePyEfe 2.3.63's reference cases, end to end through the public functions.

Each case's inputs go through `read_recordings`, `compute_rheobase`, `extract_efeatures`, `group_efeatures` and
`write_efeatures`. Where BluePyEfe's own inputs to a step are right, results must be BluePyEfe's. Where they are not,
the right value stands here, with the number of the defect in BluePyEfe's reference document, and is computed from the
raw files without ephysflow (see `golden`).

What is not compared stands in `NOT_COMPARED`, with the reason.
"""

import json
import math
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import (
    CASES,
    MATCHED_BY,
    READER,
    TIMES,
    Case,
    Run,
    case_of,
    defined_amplitudes,
    defined_threshold,
    expected_currents,
    expected_step,
    has_given_times,
    largest_changes,
    number,
    pulses_of,
    raw_sweep,
    rheobase_options,
    run_case,
    same_content,
    same_number,
    stock_efel,
    target_amplitude,
    value_of,
)

from ephysflow import api

SSCX_LAG = 1.0
"""The recorded current follows the published times by 0.5 to 0.75 ms."""

RIGHT_TIMES: dict[tuple[str, str], tuple[dict[str, float], float]] = {
    # (data, protocol): times [ms], how far ours may be from them [ms]; test_right_times says where they come from
    ("b6b8", "IDRest"): ({"ton": 700.0, "toff": 2700.0}, 0.0),
    ("nwb", "Step"): ({"ton": 31.2, "toff": 431.2}, 0.0),
    ("synth_nwb", "Step"): ({"ton": 100.0, "toff": 400.0}, 0.0),
    ("synth_nwb", "IDRest"): ({"ton": 100.0, "toff": 400.0}, 0.0),
    ("synth_ecodes", "Step"): ({"ton": 300.0, "toff": 1100.0}, 0.0),
    ("synth_ecodes", "ramp"): ({"ton": 200.0, "toff": 1200.0}, 0.0),
    ("sscx2", "IDrest"): ({"ton": 700.0, "toff": 2700.0}, SSCX_LAG),
    ("sscx2", "IDthresh"): ({"ton": 700.0, "toff": 2700.0}, SSCX_LAG),
    ("sscx2", "IV"): ({"ton": 20.0, "toff": 1020.0}, SSCX_LAG),
    ("sscx2", "sAHP"): ({"ton": 10.0, "tmid": 260.0, "tmid2": 360.0, "toff": 1360.0}, SSCX_LAG),
    ("sscx2", "IDhyperpol"): ({"ton": 100.0, "tmid": 700.0, "tmid2": 2700.0, "toff": 2900.0}, SSCX_LAG),
}

RIGHT_CASE = {
    # BluePyEfe detects these 700 to 2700 ms steps one sample late (defect 2); this case has the same inputs and
    # options, and the times
    "b6b8_absolute_mean": "b6b8_ton_toff_given",
    "b6b8_default_settings": "b6b8_ton_toff_given",
}

READ_AMPLITUDE = {"ohmic_input_resistance", "ohmic_input_resistance_vb_ssse"}
"""Features that eFEL computes from the amplitude of the stimulus."""


COMPARED = {
    "recordings": {
        *(
            "cell",
            "protocol",
            "ecode",
            "file",
            "id",
            "repetition",
            "n_samples",
            "ton",
            "toff",
            "tend",
            "amp",
            "hypamp",
        ),
        *(
            "dt",
            "amp_rel",
            "auto_threshold",
            "spikecount",
            "tmid",
            "amp2",
            "amp2_rel",
            "tmid2",
            "t1",
            "t2",
            "t3",
            "t4",
        ),
        *("tspike", "spike_duration", "delta", "waveform", "chirp_time_offset"),
        *("chirp_frequency_base", "chirp_frequency_scale", "chirp_frequency_denominator"),
    },
    "targets": {
        *(
            "protocol",
            "amplitude",
            "tolerance",
            "efeature_name",
            "efel_feature",
            "n",
            "mean",
            "std",
            "values",
        ),
        *("n_recordings_matched", "files"),
    },
    "rheobase": {"cell", "rheobase_nA", "n_recordings"},
}
"""Columns of BluePyEfe's tables, beside those of features."""

NOT_COMPARED = {
    "index": "a running number over all sweeps of a cell; ours starts at 0 in each protocol, and the order is compared",
    "hypamp_rel": "no column of ours; hypamp and rheobase, whose quotient it is, are compared",
    "peak_time_first": "spike times are no output of ours; their number and the features made of them are compared",
    "peak_time_last": "see peak_time_first",
    "versions.json": "numbers are compared, whatever made them",
    "warnings.txt: other lines": "defaults, threshold used, no rheobase, conversion of targets, delta of SpikeRec: "
    "stand in our documentation, in columns (auto_threshold_used, reason) or are compared as such",
}


def data_of(name: str) -> str:
    return next(
        data for data in ("b6b8", "csv", "nwb", "sscx2", "synth_ecodes", "synth_nwb") if name.startswith(data)
    )


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in CASES]
)
def run(request, shared, tmp_path_factory) -> Run:
    return run_case(case_of(shared, request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def expected_rheobase(shared) -> dict[str, Any]:
    return json.loads((shared / "golden" / "efeatures" / "rheobase_expected.json").read_text())["cases"]


def test_no_case_is_forgotten(shared) -> None:
    folders = (shared / "golden" / "efeatures").glob("*/config.json")
    assert sorted(path.parent.name for path in folders) == list(CASES)


def test_no_column_is_forgotten(run) -> None:
    for table, compared in COMPARED.items():
        rows = run.case.table(table)
        features = (
            {row["efel_feature"] for row in run.case.table("targets")} if table == "recordings" else set()
        )
        assert not rows or set(rows[0]) <= compared | features | set(NOT_COMPARED)


# ------------------------------------------------------------------------------------------------- sweeps


def test_all_sweeps_are_read(run) -> None:
    assert run.exclusions.empty
    assert len(run.rows) == len(run.case.recordings)
    for row, reference in run.pairs():
        files = [str(Path(file).relative_to(run.case.data)) for file in row["files"]]
        # files of a pair: BluePyEfe lists them as i_file;v_file
        assert ";".join(files) == reference["file"]
        assert row["ecode"] == reference["ecode"]
        assert row["n_samples"] == int(reference["n_samples"])
        assert row["matched_by"] == MATCHED_BY[row["ecode"]]
        assert row["sweep"] == row["place"]
        for key in ("dt", "tend"):
            assert same_number(row[key], number(reference[key]), 1e-15), key
        if reference["id"]:  # BluePyEfe names sweeps of NWB files alone
            assert row["sweep_id"] == reference["id"]
        if run.case.name == "synth_nwb_scala":
            # stands in the file's table of recordings, whose row the name of the series ends with; BluePyEfe reads
            # it to filter and does not keep it (not in the reference document)
            assert row["repetition"] == {"0": 1, "1": 2, "2": 2}[row["sweep_id"][-1]]
        else:
            assert same_number(row["repetition"], number(reference["repetition"]))


def test_order_of_protocols_is_that_of_the_input(run) -> None:
    ours = list(dict.fromkeys((row["cell"], row["protocol"]) for row in run.rows))
    assert ours == list(dict.fromkeys((row["cell"], row["protocol"]) for row in run.case.recordings))
    per_cell = defaultdict(int)
    for row in run.rows:
        per_cell[row["cell"]] += 1
    assert per_cell == {row["cell"]: int(row["n_recordings"]) for row in run.case.table("rheobase")}


def test_traces_are_those_of_the_files(run) -> None:
    for row in run.rows:
        voltage, current = raw_sweep(run.case, row)
        np.testing.assert_allclose(row["voltage"], voltage, rtol=1e-6)
        np.testing.assert_allclose(row["current"], current, rtol=1e-6, atol=1e-12)


def test_given_times_are_kept(run) -> None:
    for row, reference in run.pairs():
        if not has_given_times(run.case, row):
            continue
        assert row["timing_source"] == "given"
        for key in TIMES[row["ecode"]]:
            # 700 ms is 700 here and 2800 * 0.00025 * 1000 = 700.0000000000001 there: two units in the last place
            assert same_number(row[key], number(reference[key]), 2 * np.finfo(float).eps), key


def test_right_times(shared) -> None:
    """The times that detection must find, from where nobody detects them."""
    note = (shared / "data/patchclamp/exp_data/B6/B6_Ch3_IDRest_181.ibw").read_bytes().decode("latin-1")
    pulses = dict(re.findall(r"(P0(?:AMP|DUR)\d+):([-\d.]+)", note))
    assert [pulses[f"P0DUR{k}"] for k in range(1, 6)] == ["100", "600", "2000", "200", "100"]
    assert [pulses[f"P0AMP{k}"] for k in range(1, 6)] == ["0", "0", "50", "0", "0"]

    published = json.loads((shared / "data/patchclamp/sscx/legacy_config.json").read_text())["options"][
        "onoff"
    ]
    for protocol in ("IDrest", "IDthresh", "IV"):
        assert list(RIGHT_TIMES["sscx2", protocol][0].values()) == published[protocol]
    given = case_of(shared, "sscx2_all_ecodes_onoff").config["files_metadata"]
    sahp = next(iter(given.values()))["sAHP"][0]
    assert RIGHT_TIMES["sscx2", "sAHP"][0] == {key: sahp[key] for key in TIMES["SAHP"]}


@pytest.mark.parametrize(
    ("name", "data", "protocol"),
    [
        ("nwb_absolute", "nwb", "Step"),
        ("synth_nwb_aibs", "synth_nwb", "Step"),
        ("synth_nwb_scala", "synth_nwb", "IDRest"),
        ("synth_ecodes_timing_given", "synth_ecodes", "Step"),
        ("synth_ecodes_timing_given", "synth_ecodes", "ramp"),
        ("sscx2_autodetect", "sscx2", "IDhyperpol"),
    ],
)
def test_right_times_are_where_the_current_changes_most(shared, name, data, protocol) -> None:
    """In files of commands and of generated sweeps from one sample to the next; in recorded ones in 10 ms means."""
    case = case_of(shared, name)
    times, tolerance = RIGHT_TIMES[data, protocol]
    rows = [row for row in case.recordings if row["protocol"] == protocol]
    rows = [row for row in rows if row["cell"] == rows[-1]["cell"]]
    rows = [{**row, "place": place, "sweep_id": row["id"]} for place, row in enumerate(rows)]
    dt = number(rows[0]["dt"])
    entry = case.entry(rows[0]["cell"], protocol, 0)
    wanted = [time for key, time in times.items() if key not in entry]
    if data == "sscx2":
        current = np.mean([raw_sweep(case, row)[1] for row in rows], axis=0)
        found = largest_changes(current, len(wanted), round(10 / dt))
    else:
        found = largest_changes(raw_sweep(case, rows[-1])[1], len(wanted), 1)
    np.testing.assert_allclose(np.array(found) * dt, wanted, atol=tolerance + 1e-9)


def test_detected_times_are_right(run) -> None:
    """Defect 2: BluePyEfe's ends are one sample early, and of weak steps and many real ones both times are wrong."""
    detected = 0
    for row in run.rows:
        if has_given_times(run.case, row) or row["ecode"] == "SpikeRec":
            continue
        times, tolerance = RIGHT_TIMES[data_of(run.case.name), row["protocol"]]
        for key, time in times.items():
            assert row[key] == pytest.approx(time, abs=max(tolerance, 1e-9)), (row["files"], key)
        assert row["timing_source"] in ("detected", "inherited", "stated")
        detected += 1
    name = run.case.name
    if name == "sscx2_autodetect":
        assert detected == 190 - 12
    elif name == "sscx2_all_ecodes_onoff":
        assert detected == 6
    elif name == "synth_ecodes_timing_given":
        assert detected == 13
    elif name.startswith("sscx2") or name.startswith("csv") or name.endswith("ton_toff_given"):
        assert detected == 0
    else:
        assert detected == len(run.rows)


def test_a_sweep_without_current_gets_the_times_of_the_others(run) -> None:
    """Defect 2: where nothing exceeds the noise, BluePyEfe takes 2 ms to 2 ms before the end, without a word."""
    silent = [
        (row, ref) for row, ref in run.pairs() if number(ref["ton"]) == 2.0 and row["protocol"] == "Step"
    ]
    names = ("nwb_absolute", "nwb_flush", "synth_ecodes_timing_given")
    assert len(silent) == (1 if run.case.name in names else 0)
    for row, _ in silent:
        assert row["timing_source"] == "inherited"
        assert row["timing_reason"]


def test_amplitudes(run) -> None:
    """Equal where times are; else those that BluePyEfe's own definitions give at the right times.

    Where times were detected, BluePyEfe's holding current is that of the first 300 samples only (defect 32).
    """
    for row, reference in run.pairs():
        keys = ["amp", "hypamp"] + (["amp2"] if "amp2" in TIMES or reference.get("amp2") else [])
        if has_given_times(run.case, row):
            for key in keys:
                assert same_number(row[key], number(reference[key]), 1e-12), (row["files"], key)
        else:
            _, current = raw_sweep(run.case, row)
            expected = defined_amplitudes(row, current)
            assert set(expected) == {key for key in ("amp", "amp2", "hypamp") if row[key] is not None}
            for key, value in expected.items():
                assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-12), (row["files"], key)


@pytest.mark.parametrize("run", ["sscx2_autodetect"], indirect=True)
def test_detected_amplitudes_are_those_of_published_times(shared, run) -> None:
    """Defect 2: BluePyEfe's are wrong by more than 20 pA in 91 of 172 sweeps; ours in none."""
    twin = case_of(shared, "sscx2_all_ecodes_onoff")
    wrong = dict.fromkeys(("IV", "IDthresh", "IDrest", "sAHP"), 0)
    for (row, reference), (_, detected) in zip(run.pairs(twin), run.pairs(), strict=True):
        if row["protocol"] in wrong:
            keys = ("amp", "amp2") if row["ecode"] == "SAHP" else ("amp",)
            errors = [abs(number(detected[key]) - number(reference[key])) for key in keys]
            wrong[row["protocol"]] += max(errors) > 0.020
            for key in keys:
                assert row[key] == pytest.approx(number(reference[key]), abs=0.020), (row["files"], key)
    assert wrong == {"IV": 54, "IDthresh": 17, "IDrest": 8, "sAHP": 12}


def test_spike_thresholds(run) -> None:
    """Automatic thresholds; BluePyEfe has none where ton is 0 (defects 9 and 16)."""
    for row, reference in run.pairs():
        theirs = number(reference["auto_threshold"])
        if has_given_times(run.case, row) and number(reference["ton"]) > 0:
            assert same_number(row["auto_threshold"], theirs, 1e-12), row["files"]
        else:
            assert math.isnan(theirs) == (number(reference["ton"]) == 0)
            right = defined_threshold(row, *raw_sweep(run.case, row))
            # where recorded pulses begin and end is known to a sample or two, in which the potential rises by 0.1 mV
            allowed = 0.2 if row["ecode"] == "SpikeRec" else 1e-5
            assert row["auto_threshold"] == pytest.approx(right, abs=allowed), row["files"]


def test_pulses_of_spikerec(run) -> None:
    """BluePyEfe's pulses start one sample early, and one that an action potential dents counts twice.

    Real cells: pulses of 3 ms or, recorded, up to 3.1 ms; the first at 10 ms, the second 3.5 + 10 k ms later in sweep
    k of a cell; in the first sweep they touch. Generated: pulses of 4 ms from 30 ms on.
    """
    rows = [(row, reference) for row, reference in run.pairs() if row["ecode"] == "SpikeRec"]
    if data_of(run.case.name) == "synth_ecodes":
        for (row, reference), (count, period) in zip(rows, [(5, 20.0), (5, 50.0), (8, 10.0)], strict=True):
            expected = 30.0 + period * np.arange(count)
            np.testing.assert_allclose(row["tspike"], expected, rtol=1e-12)
            np.testing.assert_allclose(pulses_of(reference["tspike"]), expected - 0.1, rtol=1e-12)
            assert row["n_spikes"] == count
            assert row["spike_duration"] == pytest.approx(4.0, rel=1e-12)
            assert row["delta"] == pytest.approx(period - 4.0, rel=1e-12)
            assert (row["ton"], row["toff"]) == pytest.approx((30.0, expected[-1] + 4.0), rel=1e-12)
    for row, _ in rows:
        assert (row["response_start"], row["response_end"]) == (0.0, row["tend"])
        if data_of(run.case.name) == "synth_ecodes":
            continue
        file = int(re.search(r"_(\d+)\.ibw", row["files"][0])[1])
        k = file - {"C060109A1-SR-C1": 406, "C060114A5-SR-C1": 409}[row["cell"]]
        expected = [10.0] if k == 0 else [10.0, 13.5 + 10.0 * k]
        np.testing.assert_allclose(row["tspike"], expected, atol=0.2)
        assert row["n_spikes"] == len(expected)
        assert row["spike_duration"] == pytest.approx(6.0 if k == 0 else 3.0, abs=0.11)
        if k == 0:
            assert row["delta"] is None
        else:
            assert row["delta"] == pytest.approx(10.0 * k, abs=0.3)
    if run.case.name == "sscx2_all_ecodes_onoff":
        counts = [len(pulses_of(reference["tspike"])) for _, reference in rows]
        assert counts == [1, 2, 2, 2, 2, 2, 1, 3, 3, 4, 3, 3]


def test_chirps_and_waveforms(run) -> None:
    for row, reference in run.pairs():
        for key in ("base", "scale", "denominator"):
            name = f"chirp_frequency_{key}"
            assert same_number(row[name], number(reference.get(name))), name
        assert same_number(row["chirp_time_offset"], number(reference.get("chirp_time_offset")))
        if reference.get("waveform"):
            size, total = reference["waveform"].split()
            assert len(row["waveform"]) == int(size.removeprefix("len="))
            assert sum(row["waveform"]) == pytest.approx(float(total.removeprefix("sum=")), rel=1e-9)
        else:
            assert row["waveform"] is None


# ------------------------------------------------------------------------------------------------- rheobase


def test_spike_counts(run, shared) -> None:
    """Spikes in the window of the stimulus. An empty count of BluePyEfe is none (defect 1).

    Not compared: SpikeRec, whose spikes come after its pulses; the rheobase does not use them.
    """
    case = run.case
    protocols = sorted({row["protocol"] for row in run.rows if row["ecode"] != "SpikeRec"})
    settings = case.options.get("efel_settings")
    table = api.compute_rheobase(run.sweeps, protocols=protocols, efel_settings=settings)
    counts = {
        (cell, sweep["protocol"], sweep["sweep"]): sweep["spikecount"]
        for cell, sweeps in zip(table["cell"], table["sweeps"], strict=True)
        for sweep in sweeps
    }
    compared = 0
    for row, reference in run.pairs():
        if row["ecode"] == "SpikeRec":
            continue
        if same_inputs(row, reference, "peak_time", case.settings):
            right = int(reference["spikecount"] or 0)
        else:  # defect 2
            peaks = stock_efel(row, *raw_sweep(case, row), ["peak_time"], case.settings)["peak_time"]
            right = 0 if peaks is None else len(peaks)
        assert counts[row["cell"], row["protocol"], row["sweep"]] == right, row["files"]
        compared += 1
    assert compared == len(counts)


def reference_strategy(case: Case) -> str:
    """Return the name of a case's strategy and settings in rheobase_expected.json."""
    defaults = {"flush_length": 1, "spike_threshold": 1}
    settings = {k: v for k, v in case.options.get("rheobase_settings", {}).items() if defaults.get(k) != v}
    return f"{case.options.get('rheobase_strategy', 'absolute')} {json.dumps(settings)}"


def right_rheobase(expected: dict[str, Any], case: Case) -> dict[str, float | None]:
    """Return the rheobase of each cell by its definition, silent sweeps included, spontaneous spikes excluded."""
    twins = {"b6b8": "b6b8_absolute_mean", "nwb": "nwb_absolute", "sscx2": "sscx2_majority"}
    twin = twins.get(data_of(case.name), case.name)
    return expected[twin]["rheobase_nA"][reference_strategy(case)]["expected"]


def rheobase_tolerance(case: Case) -> float:
    """How far ours may be from the expected one [nA].

    The expected ones of synth_ecodes rest on amplitudes above a base of 300 samples (defect 32); those of
    sscx2_autodetect on published times, 0.5 ms before the recorded ones.
    """
    return {"synth_ecodes_timing_given": 2e-4, "sscx2_autodetect": 4e-4}.get(case.name, 1e-12)


def test_rheobase(run, expected_rheobase) -> None:
    """Defects 1 (silent sweeps), 3 (majority), 7 (spikes that no depolarising step evokes)."""
    if run.case.absolute:
        assert all(value is None for value in run.case.rheobase.values())
        return
    right = right_rheobase(expected_rheobase, run.case)
    assert set(run.known_rheobase) == set(right) == set(run.case.rheobase)
    for cell, value in right.items():
        if value is None:
            assert run.known_rheobase[cell] is None
            assert run.rheobase.set_index("cell").loc[cell, "reason"]
        else:
            assert run.known_rheobase[cell] == pytest.approx(
                value, rel=1e-9, abs=rheobase_tolerance(run.case)
            )
    theirs = [
        value is None if right[cell] is None else value == pytest.approx(right[cell], rel=1e-9)
        for cell, value in run.case.rheobase.items()
    ]
    assert all(theirs) == (run.case.name not in WRONG_RHEOBASE)


WRONG_RHEOBASE = {
    "b6b8_auto_targets_default_fail": "an upper bound of 4 spikes that nobody asked for (3.14)",
    "b6b8_majority_mean": "defect 3",
    "nwb_absolute": "defect 7",
    "nwb_flush": "defect 7",
    "nwb_ton_toff_given": "defect 7",
    "sscx2_autodetect": "defect 2",
    "sscx2_flush": "defect 1",
    "sscx2_majority": "defect 3",
}
"""Cases in which BluePyEfe's rheobase is not the right one, and why."""


@pytest.mark.parametrize(
    "name", ["b6b8_absolute_mean", "nwb_absolute", "sscx2_majority", "synth_ecodes_timing_given"]
)
def test_every_rheobase_strategy(shared, expected_rheobase, tmp_path, name) -> None:
    """Defects 1, 3 and 7, from the files on; interpolation gives BluePyEfe no rheobase at all."""
    case = case_of(shared, name)
    (tmp_path / "golden_reader.py").write_text(READER)
    protocols = expected_rheobase[name]["protocols_rheobase"]
    metadata = {
        cell: {key: value for key, value in of_cell.items() if key in protocols}
        for cell, of_cell in case.files_metadata().items()
    }
    sweeps, _ = api.read_recordings(metadata, user_folder=tmp_path)
    options = {key: value for key, value in rheobase_options(case).items() if key != "settings"}
    for text, values in expected_rheobase[name]["rheobase_nA"].items():
        strategy, _, settings = text.partition(" ")
        found = api.compute_rheobase(sweeps, strategy=strategy, settings=json.loads(settings), **options)
        for cell, value in zip(found["cell"], found["rheobase"], strict=True):
            right = values["expected"][cell]
            if right is None:
                assert math.isnan(value), (text, cell)
            else:
                assert value == pytest.approx(right, rel=1e-9, abs=rheobase_tolerance(case)), (text, cell)


def test_spikes_of_weak_currents_are_announced(run) -> None:
    """Defect 7, and BluePyEfe's warning of spikes below 0.01 nA, which becomes the reason."""
    if run.rheobase is None:
        return
    theirs = [line for line in run.case.warnings if "suspiciously low current" in line]
    ours = [re.search(r"(\d+) sweeps below 0.01 nA", reason) for reason in run.rheobase["reason"]]
    assert sum(int(match[1]) for match in ours if match) == len(theirs)


@pytest.mark.parametrize("run", ["b6b8_auto_targets_default_fail"], indirect=True)
def test_no_bound_on_spikes_unless_asked_for(run) -> None:
    """BluePyEfe sets upper_bound_spikecount 4 itself for auto targets with flush (3.14), and so finds no rheobase."""
    assert run.case.json("features") == {}
    options = {**rheobase_options(run.case), "settings": {"upper_bound_spikecount": 4}}
    bounded = api.compute_rheobase(run.sweeps, strategy="flush", **options)
    assert bounded["rheobase"].isna().all()
    assert bounded["reason"].str.contains("upper_bound_spikecount").all()
    grouped = api.group_efeatures(run.sweeps, run.features, bounded, run.case.targets)
    assert not grouped.targets["kept"].any()
    # without the bound: the very targets of the strategy "absolute", which has the same rheobase
    assert run.grouped.targets["kept"].all()


# ------------------------------------------------------------------------------------------------- feature values


def same_inputs(
    row: dict[str, Any], reference: dict[str, str], feature: str, settings: dict[str, Any]
) -> bool:
    """Whether eFEL got the same window, amplitude and threshold from BluePyEfe, as far as the feature reads them."""
    same = same_number(row["response_start"], number(reference["ton"]), 1e-12)
    same &= same_number(row["response_end"], number(reference["toff"]), 1e-12)
    if feature in READ_AMPLITUDE:
        same &= same_number(row["amp"], number(reference["amp"]), 1e-12)
    if "Threshold" not in settings:
        same &= same_number(row["auto_threshold"], number(reference["auto_threshold"]), 1e-12)
    return same


def feature_tolerance(case: Case, feature: str) -> float:
    """Relative difference that is allowed between values of equal inputs.

    The fit of this time constant to flat traces turns on whether a sample on the edge of its window is inside. In
    files whose time is in ms, BluePyEfe's times are k * dt; ours are k * (dt / 1000) * 1000 always, as BluePyEfe's are
    of files in s: one unit in the last place.
    """
    return 1e-4 if case.name.startswith("csv") and feature == "decay_time_constant_after_stim" else 1e-9


def test_feature_values(run, shared) -> None:
    """BluePyEfe's where it asked eFEL about the same window, else those of stock eFEL at the right window.

    Not compared: `NOT_STOCK` of SpikeRec, see test_decay_after_pulses.
    """
    case = run.case
    twins = [case] + ([case_of(shared, "b6b8_ton_toff_given")] if data_of(case.name) == "b6b8" else [])
    pairs = [{id(row): reference for row, reference in run.pairs(twin)} for twin in twins]

    def theirs(row: dict[str, Any], name: str, settings: dict[str, Any]) -> float | None:
        for twin, references in zip(twins, pairs, strict=True):
            reference = references[id(row)]
            equal_settings = twin is case or settings == twin.settings
            if reference.get(name) and equal_settings and same_inputs(row, reference, name, settings):
                return number(reference[name])
        return None

    from_stock = 0
    for row in run.rows:
        values = [v for v in run.of_sweep(row) if (row["ecode"], v["efeature"]) != ("SpikeRec", NOT_STOCK)]
        asked_there = {name for name in case.features if pairs[0][id(row)][name]} - {NOT_STOCK}
        assert asked_there <= {value["efeature"] for value in values}
        stock = defaultdict(list)
        for value in values:
            assert value["error"] is None
            name = value["efeature"]
            if (right := theirs(row, name, json.loads(value["settings"]))) is None:
                stock[value["settings"]].append(value)
            else:
                assert same_number(value["value"], right, feature_tolerance(case, name)), (row["files"], name)
        for text, of_settings in stock.items():
            assert not has_given_times(case, row)
            names = [value["efeature"] for value in of_settings]
            right = stock_efel(row, *raw_sweep(case, row), names, json.loads(text))
            for value in of_settings:
                name = value["efeature"]
                assert same_number(value["value"], value_of(right[name]), 1e-6), (row["files"], name)
                from_stock += 1
    assert (from_stock == 0) == (case.name in ALL_FROM_BLUEPYEFE)


NOT_STOCK = "multiple_decay_time_constant_after_stim"

ALL_FROM_BLUEPYEFE = {
    "b6b8_absolute_amplitude",
    "b6b8_absolute_mean",
    "b6b8_default_settings",
    "b6b8_flush",
    "b6b8_interpolation",
    "b6b8_majority_mean",
    "b6b8_mode_median",
    "b6b8_nvalue2_std",
    "b6b8_per_cell",
    "b6b8_ton_toff_given",
    "csv_lccr_absolute_amplitude",
    "nwb_ton_toff_given",
    "sscx2_flush",
    "sscx2_legacy_config",
    "sscx2_majority",
}
"""Cases whose values are all compared with BluePyEfe's: of this run, or of b6b8_ton_toff_given (right times)."""


@pytest.mark.parametrize(
    "run", ["sscx2_all_ecodes_onoff", "sscx2_autodetect", "synth_ecodes_timing_given"], indirect=True
)
def test_decay_after_pulses(run) -> None:
    """With the whole sweep as window, decay_time_constant_after_stim fails, which eFEL's file says this one needs."""
    for row, reference in run.pairs():
        if row["ecode"] == "SpikeRec":
            assert reference[NOT_STOCK] == "nan"
            stock = stock_efel(row, *raw_sweep(run.case, row), [NOT_STOCK], run.case.settings)
            assert stock[NOT_STOCK] is None
            (value,) = (v["value"] for v in run.of_sweep(row) if v["efeature"] == NOT_STOCK)
            assert math.isnan(value), row["files"]


def test_amplitudes_of_feature_rows(run) -> None:
    """Columns amp_rel and amp2_rel too: BluePyEfe's where amplitude and rheobase are."""
    for row, reference in run.pairs():
        name = MATCHED_BY[row["ecode"]]
        percent = None if run.case.absolute or row["ecode"] == "SpikeRec" else target_amplitude(run, row)
        for value in run.of_sweep(row):
            assert value["amp"] == row[name] or (row[name] is None and math.isnan(value["amp"]))
            if not run.case.absolute:
                assert same_number(value["amp_rel"], math.nan if percent is None else percent, 1e-12)
        if percent is not None and same_selection(run, [(row, reference)]):
            theirs = number(reference["amp2_rel" if name == "amp2" else "amp_rel"])
            assert same_number(percent, theirs, rheobase_difference(run.case))


# ------------------------------------------------------------------------------------------------- grouping


def same_selection(run: Run, pairs: list[tuple[dict[str, Any], dict[str, str]]]) -> bool:
    """Whether BluePyEfe compared the same amplitudes of these sweeps with targets."""
    for row, reference in pairs:
        theirs = run.case.rheobase[row["cell"]]
        ours = None if run.case.absolute else run.known_rheobase[row["cell"]]
        if not same_number(ours, math.nan if theirs is None else theirs, rheobase_difference(run.case)):
            return False
        name = MATCHED_BY[row["ecode"]]
        if not same_number(row[name], number(reference[name]), 1e-12):
            return False
        if run.case.absolute or name == "delta":
            continue
        percent = target_amplitude(run, row), number(reference["amp2_rel" if name == "amp2" else "amp_rel"])
        for amplitude, tolerance in run.case.ranges[row["protocol"]] if percent[0] is not None else ():
            inside = [abs(amplitude - value) < tolerance for value in percent]
            if inside[0] != inside[1]:
                return False
    return True


def clean_protocols(run: Run, twin: Case) -> set[str]:
    """Protocols whose sweeps all have the amplitudes, windows and rheobase that BluePyEfe had, and so must agree."""
    by_protocol = defaultdict(list)
    for row, reference in run.pairs(twin):
        by_protocol[row["protocol"]].append((row, reference))
    automatic = {} if "Threshold" not in run.case.settings else {"Threshold": 0.0}
    return {
        protocol
        for protocol, pairs in by_protocol.items()
        if same_selection(replace_case(run, twin), pairs)
        and all(same_inputs(row, reference, "ohmic_input_resistance", automatic) for row, reference in pairs)
        and all(same_number(row["hypamp"], number(reference["hypamp"]), 1e-12) for row, reference in pairs)
    }


def rheobase_difference(case: Case) -> float:
    """Relative difference of rheobases that are still called equal, unless it moves a sweep out of or into a target.

    That of synth_ecodes stands on an amplitude above a base of 300 samples (defect 32), and differs by 0.05 percent.
    """
    return 1e-3 if data_of(case.name) == "synth_ecodes" else 1e-9


def replace_case(run: Run, twin: Case) -> Run:
    return run if twin is run.case else replace(run, case=twin)


def test_clean_protocols(run, shared) -> None:
    """How much of BluePyEfe's files ours must equal: all but what a defect has touched."""
    everything = {row["protocol"] for row in run.rows}
    name = run.case.name
    touched = {
        "b6b8": {"IDRest"},  # defect 2
        "csv": set(),
        "nwb": {"Step"},  # defects 2 and 7
        "sscx2_all": {"IDhyperpol", "SpikeRec"},  # defects 2 and 16
        "sscx2_autodetect": everything,  # defect 2
        "sscx2_flush": everything,  # defect 1: one of two rheobases
        "sscx2_legacy": {"SpikeRec"},  # defect 16
        "sscx2_majority": everything,  # defect 3
        # defects 2 and 16; and the generated sAHP of 0.31 nA is 155 percent of the rheobase, 0.2 nA: just outside
        # 185 +- 30, but inside with BluePyEfe's rheobase (defect 32)
        "synth_ecodes": {"Step", "ramp", "SpikeRec", "sAHP"},
        "synth_nwb": everything,  # defect 2
    }
    if name == "b6b8_ton_toff_given" or name in RIGHT_CASE:
        expected = everything
    else:
        expected = everything - next(v for k, v in touched.items() if name.startswith(k))
    assert clean_protocols(run, reference_case(run, shared)) == expected


def reference_case(run: Run, shared: Path) -> Case:
    twin = case_of(shared, RIGHT_CASE.get(run.case.name, run.case.name))
    assert twin.target_list == run.case.target_list
    return twin


def test_targets(run) -> None:
    """Sweeps, values and statistics of each target, by section 3.12 from our own sweeps and values."""
    ours = run.grouped.targets.to_dict("records")
    expected = run.expected
    assert len(ours) == len(expected)
    for row, target in zip(ours, expected, strict=True):
        where = (target["protocol"], target["amplitude"], target["efeature"])
        assert (row["protocol"], row["amplitude"], row["efeature"]) == where
        assert row["key"] == f"{target['protocol']}_{target['amplitude']}"
        assert row["efeature_name"] == target["efeature_name"]
        assert row["tolerance"] == target["tolerance"]
        same_content(row["settings"], target["settings"], 1e-12)
        assert row["n_sweeps"] == len(target["found"])
        assert row["values"] == target["values"]
        assert row["n"] == len(target["values"])
        assert row["files"] == [";".join(files) for files in target["files"]]
        assert row["kept"] == target["kept"]
        assert same_number(row["mean"], target["mean"], 1e-12), where
        assert same_number(row["std"], target["std"], 1e-12), where
    if run.case.name.startswith("nwb"):  # defect 7: no rheobase, so no relative amplitude
        assert not any(row["n_sweeps"] for row in ours)


def test_targets_are_bluepyefes(run, shared) -> None:
    """Against targets.csv: members wherever amplitudes and rheobase agree, statistics wherever windows agree, too.

    Values agree within 1e-9 (see `feature_tolerance`), so a mean or a standard deviation must within 1e-9 times the
    largest value.
    """
    twin = reference_case(run, shared)
    clean = clean_protocols(run, twin)
    by_protocol = defaultdict(list)
    for row, reference in run.pairs(twin):
        by_protocol[row["protocol"]].append((row, reference))
    selected = {p for p, pairs in by_protocol.items() if same_selection(replace_case(run, twin), pairs)}
    ours = {
        (r["protocol"], r["amplitude"], r["efeature_name"]): r for r in run.grouped.targets.to_dict("records")
    }
    compared = set()
    for row in twin.table("targets"):
        identity = (row["protocol"], float(row["amplitude"]), row["efeature_name"])
        if row["protocol"] not in selected:
            continue
        compared.add(row["protocol"])
        found = ours[identity]
        assert row["efel_feature"] == found["efeature"]
        assert float(row["tolerance"]) == found["tolerance"]
        assert int(row["n_recordings_matched"]) == found["n_sweeps"], identity
        if row["protocol"] not in clean:
            continue
        files = [
            ";".join(str(Path(f).relative_to(twin.data)) for f in pair.split(";")) for pair in found["files"]
        ]
        assert ";".join(files) == row["files"], identity
        assert int(row["n"]) == found["n"], identity
        theirs = json.loads(row["values"].replace("nan", "NaN"))
        tolerance = feature_tolerance(twin, found["efeature"])
        np.testing.assert_allclose(found["values"], theirs, rtol=tolerance, err_msg=str(identity))
        if theirs:
            allowed = tolerance * np.abs(theirs).max()
            assert found["mean"] == pytest.approx(float(row["mean"]), abs=allowed)
            if found["default_std"]:
                assert float(row["std"]) == pytest.approx(0.0, abs=1e-9 * max(1.0, np.abs(theirs).max()))
            else:
                assert found["std"] == pytest.approx(float(row["std"]), abs=allowed)
    assert compared >= clean & set(by_protocol)


def exported(name: str) -> str:
    """BluePyEModel plays the pulses of SpikeRec under this name only."""
    return name.replace("SpikeRec", "SpikeRecMultiSpikes")


def once(features: dict[str, Any]) -> dict[str, Any]:
    """BluePyEfe writes a target that is listed twice two times."""
    return {
        exported(key): {
            place: [entry for k, entry in enumerate(entries) if entry not in entries[:k]]
            for place, entries in places.items()
        }
        for key, places in features.items()
    }


def protocol_of(key: str) -> str:
    return key.rpartition("_")[0]


def expected_features(targets: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for target in targets:
        if target["kept"]:
            key = exported(f"{target['protocol']}_{target['amplitude']}")
            content.setdefault(key, {}).setdefault(target.get("location", "soma"), []).append(
                {
                    "feature": target["efeature"],
                    "val": [target["mean"], target["std"]],
                    "n": len(target["values"]),
                    "efel_settings": target["settings"],
                    "efeature_name": target["efeature_name"],
                }
            )
    return content


def test_features_json(run, shared) -> None:
    """The file; its numbers are those of test_targets, and BluePyEfe's where nothing wrong went in."""
    found = run.json("features")
    same_content(found, expected_features(run.expected), 1e-12)
    twin = reference_case(run, shared)
    clean = {exported(protocol) for protocol in clean_protocols(run, twin)}
    theirs = {key: value for key, value in once(twin.json("features")).items() if protocol_of(key) in clean}
    ours = {key: value for key, value in found.items() if protocol_of(key) in clean}
    same_content(ours, theirs, 1e-4 if twin.name.startswith("csv") else 1e-9)


def same_stimuli(found: dict[str, Any], theirs: dict[str, Any], case: Case) -> None:
    """Assert that stimuli are equal but for 1e-9, and what is relative to the rheobase as far as that is."""
    found, theirs = (json.loads(json.dumps(content)) for content in (found, theirs))
    for content in (found, theirs):
        for entry in content.values():
            entry["step"].setdefault("thresh_perc", None)
    percent = [{key: entry["step"].pop("thresh_perc") for key, entry in c.items()} for c in (found, theirs)]
    same_content(*percent, rheobase_difference(case))
    same_content(found, theirs, 1e-9)


def test_protocols_json(run, shared) -> None:
    """Stimuli; equal to BluePyEfe's where nothing wrong went in, else by its own definitions."""
    found = run.json("protocols")
    twin = reference_case(run, shared)
    clean = {exported(protocol) for protocol in clean_protocols(run, twin)}
    theirs = {exported(key): value for key, value in twin.json("protocols").items()}
    same_stimuli(
        {key: value for key, value in found.items() if protocol_of(key) in clean},
        {key: value for key, value in theirs.items() if protocol_of(key) in clean},
        twin,
    )
    matched: dict[str, dict[int, Any]] = {}
    for target in run.expected:
        if target["kept"]:
            key = exported(f"{target['protocol']}_{target['amplitude']}")
            matched.setdefault(key, {}).update({id(row): row for row in target["found"]})
    assert set(found) == set(matched)
    for key, rows in matched.items():
        if protocol_of(key) not in clean:
            same_content(found[key], expected_step(run, list(rows.values())), 1e-9, key)


def test_currents_json(run, shared) -> None:
    """Defect 22: what no cell has is absent, not NaN."""
    found = run.json("currents")
    same_content(found, expected_currents(run, run.rows, run.known_rheobase), 1e-12)
    twin = reference_case(run, shared)
    pairs = list(run.pairs(twin))
    theirs = twin.json("currents")
    for name in ("holding_current", "threshold_current"):
        if math.isnan(theirs[name][0]):
            del theirs[name]
    if not all(same_number(row["hypamp"], number(reference["hypamp"]), 1e-12) for row, reference in pairs):
        assert data_of(run.case.name) in ("sscx2", "synth_ecodes")  # defect 32
        theirs.pop("holding_current")
        theirs.pop("all_holding_current")
    if run.case.name in WRONG_RHEOBASE:
        theirs.pop("threshold_current", None)
        theirs.pop("all_threshold_current")
    same_content({name: found[name] for name in theirs}, theirs, rheobase_difference(run.case))


@pytest.mark.parametrize("name", ["b6b8_per_cell", "sscx2_all_ecodes_onoff"])
def test_each_cell(shared, tmp_path, name: str) -> None:
    """Defect 5: BluePyEfe's files of one cell state the automatic threshold although -20 mV was used."""
    run = run_case(case_of(shared, name), tmp_path)
    cells = sorted(folder.name for folder in (run.case.folder / "per_cell").iterdir())
    assert cells == sorted(run.known_rheobase)
    for cell in cells:
        grouped = run.group(cell)
        sweeps, rheobase = (table[table["cell"] == cell] for table in (run.sweeps, run.rheobase))
        api.write_efeatures(tmp_path / cell, grouped, sweeps, rheobase)
        alone = replace(run, sweeps=sweeps, rheobase=rheobase, grouped=grouped, folder=tmp_path / cell)
        clean = {exported(protocol) for protocol in clean_protocols(run, run.case)}
        theirs = once(run.case.json("features", cell))
        for places in theirs.values():
            for entry in places["soma"]:
                assert entry["efel_settings"] != run.case.settings
                entry["efel_settings"] = run.case.settings
        found, protocols = alone.json("features"), alone.json("protocols")
        same_content(found, expected_features(alone.expected), 1e-12)
        assert set(found) == set(protocols)
        same_content(
            {key: value for key, value in found.items() if protocol_of(key) in clean},
            {key: value for key, value in theirs.items() if protocol_of(key) in clean},
            1e-9,
        )
        steps = {exported(key): value for key, value in run.case.json("protocols", cell).items()}
        same_stimuli(
            {key: value for key, value in protocols.items() if protocol_of(key) in clean},
            {key: value for key, value in steps.items() if protocol_of(key) in clean},
            run.case,
        )
        currents = run.case.json("currents", cell)
        ours = alone.json("currents")
        same_content(ours["all_threshold_current"], currents["all_threshold_current"], 1e-9)
        same_content(ours["threshold_current"], currents["threshold_current"], 1e-9)
        if name == "b6b8_per_cell":  # in the other case, defect 2 is in the holding current of IDhyperpol
            same_content(ours, currents, 1e-9)


def test_warnings_are_columns(run, shared) -> None:
    """What BluePyEfe warns of while grouping stands in the table of targets."""
    twin = reference_case(run, shared)
    clean = clean_protocols(run, twin)
    if twin.options.get("extract_per_cell"):
        grouped = [run.grouped, *(run.group(cell) for cell in run.known_rheobase)]
    else:
        grouped = [run.grouped]
    few, zero, without = set(), set(), set()
    for groups in grouped:
        for row in groups.targets.to_dict("records"):
            if not row["kept"]:
                few.add((row["efeature_name"], row["key"]))
            if row["default_std"]:
                zero.add((row["efeature_name"], row["protocol"]))
        kept = groups.targets.groupby("key")["kept"].any()
        without |= set(kept.index[~kept])
    text = "\n".join(twin.warnings)
    found_few = set(re.findall(r"threshold_nvalue_save for efeature (\S+) stimulus (\S+)\. ", text))
    found_zero = set(re.findall(r"Standard deviation for efeatures (\S+) stimulus (\S+) is 0", text))
    found_without = set(re.findall(r"No efeatures for stimulus (\S+)\. ", text))

    def of_clean(pairs: set, protocol: Any) -> set:
        return {pair for pair in pairs if protocol(pair) in clean}

    assert of_clean(few, lambda pair: protocol_of(pair[1])) == of_clean(
        found_few, lambda pair: protocol_of(pair[1])
    )
    assert of_clean(zero, lambda pair: pair[1]) == of_clean(found_zero, lambda pair: pair[1])
    assert of_clean(without, protocol_of) == of_clean(found_without, protocol_of)


# ------------------------------------------------------------------------------------------------- more inputs


def test_legacy_configuration(shared) -> None:
    """BluePyEfe-1 input of sscx2_legacy_config, read by ourselves: what BluePyEfe's translation made of it.

    Defect 24: that drops ljp and v_corr of a cell; here the files have their own ljp, and both agree.
    """
    case = case_of(shared, "sscx2_legacy_config")
    legacy = api.convert_legacy(case.folder / "legacy_config_input.json")
    expected = case.config["files_metadata"]
    assert len(legacy.entries) == sum(len(e) for protocols in expected.values() for e in protocols.values())
    place: dict[tuple[str, str], int] = defaultdict(int)
    for entry in legacy.entries:
        (protocol,) = entry["protocols"]
        theirs = expected[entry["cell"]][protocol][place[entry["cell"], protocol]]
        place[entry["cell"], protocol] += 1
        for key, value in theirs.items():
            if key in ("i_file", "v_file"):
                assert str(entry[key]).endswith(value)
            else:
                assert entry[key] == value, key
    targets = [
        {key: value for key, value in target.items() if key != "location"}
        for target in legacy.efeatures["targets"]
    ]
    assert targets == [
        {key: value for key, value in target.items() if key in targets[0]}
        for target in case.config["targets"]
    ]
    assert legacy.efeatures["rheobase"]["strategy"] == case.options["rheobase_strategy"]
    assert legacy.efeatures["rheobase"]["settings"] == case.options["rheobase_settings"]
    assert legacy.efeatures["rheobase"]["protocols"] == case.options["protocols_rheobase"]
    assert legacy.efeatures["absolute_amplitude"] is False


def test_one_feature_with_two_settings(shared) -> None:
    """Defect 4: BluePyEfe gives both targets 71.75 spikes, the count of the whole step."""
    case = case_of(shared, "b6b8_ton_toff_given")
    sweeps, _ = api.read_recordings(case.files_metadata())
    rheobase = api.compute_rheobase(sweeps, **rheobase_options(case))
    target = {"efeature": "Spikecount", "protocol": "IDRest", "amplitude": 225, "tolerance": 50.0}
    window = {"stim_start": 700.0, "stim_end": 1200.0}
    targets = [target, {**target, "efel_settings": window, "efeature_name": "first"}]
    features = api.extract_efeatures(sweeps, rheobase, targets)
    means = api.group_efeatures(sweeps, features, rheobase, targets).targets["mean"]
    assert means.tolist() == [71.75, 19.25]


def test_entry_shared_by_two_protocols(shared) -> None:
    """Defect 6: BluePyEfe writes the first protocol's name into the metadata and finds 0 sweeps for both."""
    entry = {"filepath": str(shared / "data/patchclamp/exp_data/hippocampus-portal/99111002.nwb")}
    entry["protocol_name"] = "Step"
    sweeps, _ = api.read_recordings({"cell": {"IV": [entry], "Step": [entry]}})
    assert sweeps.groupby("protocol")["sweep"].count().to_dict() == {"IV": 16, "Step": 16}


def test_given_holding_current_with_times_of_the_file(shared) -> None:
    """Defect 11: BluePyEfe subtracts it from a list and fails."""
    case = case_of(shared, "b6b8_absolute_mean")
    (entry, *_) = case.files_metadata()["MouseNeuron1"]["IDRest"]
    sweeps, _ = api.read_recordings({"MouseNeuron1": {"IDRest": [{**entry, "hypamp": -10.0}]}})
    measured = case.recordings[0]
    assert sweeps["hypamp"].tolist() == [-0.01]
    assert sweeps["amp"][0] == pytest.approx(number(measured["amp"]) + number(measured["hypamp"]) + 0.01)


def test_csv_case_with_a_relative_amplitude(shared) -> None:
    """Defect 7: each sweep has one spike; BluePyEfe's rheobase is -0.1 nA, the smallest depolarising step is 0.01."""
    case = case_of(shared, "csv_lccr_absolute_amplitude")
    sweeps, _ = api.read_recordings(case.files_metadata())
    (row,) = api.compute_rheobase(sweeps, protocols=["Step"]).to_dict("records")
    assert row["rheobase"] == pytest.approx(0.01, rel=1e-12)
    assert "10 sweeps below 0.01 nA have spikes" in row["reason"]


def test_tests_named_in_the_documentation_exist() -> None:
    tests = Path(__file__).resolve().parents[1]
    text = (tests.parent / "docs" / "differences.md").read_text()
    named = re.findall(r"\b(test_\w+)::(test_\w+)", text)
    assert len(named) > 60
    for file, test in named:
        (path,) = (path for path in tests.glob("*/*.py") if path.stem == file)
        assert f"def {test}(" in path.read_text(), f"{file}::{test}"
