"""Figures of Neuropixels projects: what is counted and drawn, from which tables; never how it looks to the pixel."""

import re
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow import paths
from ephysflow.errors import ResultError
from ephysflow.example.ecephys_sessions import simulate_session
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import write_table
from ephysflow.job import Job
from ephysflow.plots import ecephys_step
from ephysflow.plots.ecephys import (
    GROUPS,
    NO_STRUCTURE,
    OTHER,
    STRUCTURES,
    Quality,
    counts_after,
    most_frequent,
    quality_figure,
    runs,
    structure_figure,
    times_after,
)
from ephysflow.plots.ecephys_step import plot_session, plot_units

PROVENANCE = Provenance("test", "", "", "", {}, {})
PROJECT, SESSION = "visual_coding", "731000001"
LIMITS = {
    "amplitude_cutoff_maximum": 0.1,
    "presence_ratio_minimum": 0.95,
    "isi_violations_maximum": 0.5,
    "filter_by_validity": True,
    "filter_out_of_brain_units": True,
}


def drawn_texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.fixture
def drawn(monkeypatch) -> list:
    """Keep the figures that a step draws; the first page of each file says where."""
    kept = []

    def keep(path, figures, without):
        kept.extend(figures)
        write(path, kept, without)

    write = ecephys_step.write_pages
    monkeypatch.setattr(ecephys_step, "write_pages", keep)
    return kept


# ---------------------------------------------------------------- what is counted

spike_times = st.lists(st.integers(0, 40), max_size=30).map(lambda times: np.sort(np.array(times) / 4.0))
onset_times = st.lists(st.integers(0, 40), min_size=1, max_size=5).map(
    lambda times: np.sort(np.array(times) / 4.0)
)


@given(spike_times, onset_times)
def test_bins_are_half_open_and_overlapping_presentations_both_count(times, onsets):
    edges = np.array([-0.5, 0.0, 0.25, 1.0])
    expected = [
        sum(1 for onset in onsets for t in times if low <= t - onset < high) for low, high in pairwise(edges)
    ]
    assert counts_after(times, onsets, edges).tolist() == expected


@given(spike_times, onset_times)
def test_times_after_onsets_are_those_of_a_half_open_window(times, onsets):
    since, which = times_after(times, onsets, (-0.5, 1.0))
    expected = [(k, t - onset) for k, onset in enumerate(onsets) for t in times if -0.5 <= t - onset < 1.0]
    assert list(zip(which.tolist(), since.tolist(), strict=True)) == expected


@given(st.lists(st.sampled_from(["VISp", "", "CA1"]), max_size=20))
def test_runs_put_together_again_are_the_labels(labels):
    found = runs(labels)
    assert [label for label, first, end in found for _ in range(first, end)] == labels
    assert all(a[0] != b[0] for a, b in pairwise(found))


def test_most_frequent_labels_come_first_and_equals_in_the_order_of_the_alphabet():
    assert most_frequent(["b", "a", "c", "c"], 2) == ["c", "a"]
    assert most_frequent([], 2) == []


# ---------------------------------------------------------------- figures


def test_structures_are_counted_by_session():
    figure = structure_figure("p", ["VISp", "VISp", "CA1", ""], ["1", "2", "1", "1"])
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["VISp", "CA1", NO_STRUCTURE]
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[1, 1, 1], [1, 0, 0]]


def test_structures_and_sessions_beyond_the_most_are_said():
    structures = [f"S{k:02d}" for k in range(STRUCTURES + 5)]
    sessions = [str(k) for k in range(STRUCTURES + 5)]
    figure = structure_figure("p", structures, sessions)
    text = drawn_texts(figure)
    assert f"the {STRUCTURES} with the most units of {STRUCTURES + 5} structures" in text
    assert "1 in 1 session" in text  # too many sessions to tell apart
    (bars,) = figure.axes[0].containers
    assert [bar.get_width() for bar in bars] == [1] * STRUCTURES


def test_limits_and_missing_values_stand_in_the_distributions():
    values = np.array([0.01, 0.2, 5.0, np.nan])
    filters = [
        {
            "filter": "filter_by_validity",
            "units_before": 5,
            "removed": 1,
            "removed_missing": 0,
            "units_after": 4,
            "note": "",
        },
        {
            "filter": "isi_violations_maximum",
            "units_before": 4,
            "removed": 2,
            "removed_missing": 1,
            "units_after": 2,
            "note": "",
        },
        {
            "filter": "presence_ratio_minimum",
            "units_before": 2,
            "removed": 0,
            "removed_missing": 0,
            "units_after": 2,
            "note": "no column presence_ratio",
        },
    ]
    text = drawn_texts(quality_figure("p", [Quality("isi_violations", "", values, maximum=0.5)], filters))
    for expected in (
        "isi violations",
        "≤ 0.5",
        "1 without a value",
        "by validity: 1",
        "isi violations: 2 (1 without a value)",
        "presence ratio: not applied",
        "distributions: 4 units; of 5 units, 2 pass all filters",
    ):
        assert expected in text


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0], [np.nan], [np.inf, 1.0]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_distributions_of_few_values_can_be_drawn(values, logarithmic):
    quality_figure("p", [Quality("firing_rate", "Hz", np.array(values), 0.5, None, logarithmic)], [])


# ---------------------------------------------------------------- the steps


def write(path: Path, table: pa.Table) -> None:
    write_table(path, table, table.schema, PROVENANCE)


def job(results: Path, **settings) -> Job:
    return Job("plot", "", {"project": PROJECT, **settings}, "", "", {}, results)


def write_products(results: Path, **changes: pa.Table) -> None:
    """Write what the plots of a session read, from the example's content."""
    simulated = simulate_session(int(SESSION), 1, 2, 24, 12)
    units = simulated.units
    channels = {
        "id": np.concatenate([p.channel_ids for p in simulated.probes]),
        "probe_id": np.concatenate([np.full(24, p.id) for p in simulated.probes]),
        "probe_vertical_position": np.concatenate([p.vertical for p in simulated.probes]).astype(float),
        "ecephys_structure_acronym": [s or None for p in simulated.probes for s in p.structure],
    }
    ccf = np.concatenate([p.ccf for p in simulated.probes])
    for k, name in enumerate(("anterior_posterior", "dorsal_ventral", "left_right")):
        channels[f"{name}_ccf_coordinate"] = pa.array(ccf[:, k], from_pandas=True)
    tables = {
        "units": pa.table(
            {
                "unit_id": [u.id for u in units],
                "firing_rate": [u.metrics["firing_rate"] for u in units],
                "probe_id": [u.probe.id for u in units],
                "probe_description": [u.probe.name for u in units],
                "probe_vertical_position": [float(u.probe.vertical[u.peak]) for u in units],
                "ecephys_structure_acronym": [str(u.probe.structure[u.peak]) or None for u in units],
            }
        ),
        "channels": pa.table(channels),
        "spikes": pa.table(
            {
                "unit_id": np.concatenate([np.full(len(u.times), u.id) for u in units]),
                "time": np.concatenate([u.times for u in units]),
            }
        ),
        "stimulus_presentations": pa.table(
            {
                "stimulus_name": [b.stimulus for b in simulated.blocks for _ in b.start],
                "start_time": np.concatenate([b.start for b in simulated.blocks]),
                "stop_time": np.concatenate([b.stop for b in simulated.blocks]),
            }
        ),
    }
    for name, table in {**tables, **changes}.items():
        write(paths.session_product(results, PROJECT, SESSION, f"{name}.parquet"), table)


def test_a_session_has_responses_and_tracks(tmp_path, drawn):
    write_products(tmp_path)
    plot_session(job(tmp_path, session=SESSION, stimulus=None))
    response, track, ccf = drawn
    text = drawn_texts(response)
    assert "natural_scenes" in text  # the most presentations
    assert "60 of 60 presentations" in text
    assert {"probeA", "probeB"} <= set(drawn_texts(track).split("\n")) & set(drawn_texts(ccf).split("\n"))
    assert "VISp" in drawn_texts(track)
    content = paths.project_plot(tmp_path, PROJECT, f"session_{SESSION}").read_bytes()
    assert content.startswith(b"%PDF")


def test_rates_are_means_over_presentations_and_units(tmp_path, drawn):
    write_products(
        tmp_path,
        units=pa.table({"unit_id": [1, 2]}),
        spikes=pa.table({"unit_id": [1, 1, 2, 3], "time": [1.0, 2.0, 2.0, 2.0]}),
        stimulus_presentations=pa.table(
            {"stimulus_name": ["flashes", "flashes"], "start_time": [1.0, 2.0], "stop_time": [1.5, 2.5]}
        ),
    )
    plot_session(job(tmp_path, session=SESSION, stimulus="flashes"))
    psth = drawn[0].axes[1].patches[0]
    counts, edges, _ = psth.get_data()
    width = edges[1] - edges[0]
    after = np.flatnonzero(np.isclose(edges[:-1], 0.0))[0]
    assert counts[after] == pytest.approx(
        3 / (2 * 2 * width)
    )  # 3 spikes at an onset, 2 units, 2 presentations
    assert np.count_nonzero(counts) == 1


def test_spikes_of_a_unit_may_lie_in_several_row_groups(tmp_path, drawn):
    write_products(tmp_path)
    plot_session(job(tmp_path, session=SESSION, stimulus="flashes"))
    path = paths.session_product(tmp_path, PROJECT, SESSION, "spikes.parquet")
    table = pq.read_table(path)
    write_table(
        path, table, table.schema, PROVENANCE, [1000] * (table.num_rows // 1000) + [table.num_rows % 1000]
    )
    first = [patch.get_data().values for patch in drawn[0].axes[1].patches if hasattr(patch, "get_data")]
    drawn.clear()
    plot_session(job(tmp_path, session=SESSION, stimulus="flashes"))
    again = [patch.get_data().values for patch in drawn[0].axes[1].patches if hasattr(patch, "get_data")]
    np.testing.assert_array_equal(first, again)


def test_structures_beyond_the_colours_are_drawn_together(tmp_path, drawn):
    n = GROUPS + 3
    write_products(
        tmp_path,
        units=pa.table({"unit_id": range(n), "ecephys_structure_acronym": [f"S{k}" for k in range(n)]}),
    )
    plot_session(job(tmp_path, session=SESSION, stimulus=None))
    assert f"{OTHER}\n3 units ×" in drawn_texts(drawn[0])


NO_PRESENTATIONS = pa.table(
    {
        "stimulus_name": pa.array([], pa.string()),
        "start_time": pa.array([], pa.float64()),
        "stop_time": pa.array([], pa.float64()),
    }
)


@pytest.mark.parametrize(
    ("changes", "stimulus", "page", "expected"),
    [
        ({"units": pa.table({"unit_id": pa.array([], pa.int64())})}, None, 0, "no unit passes the filters"),
        ({"stimulus_presentations": NO_PRESENTATIONS}, None, 0, "no presentations of a stimulus"),
        ({}, "gabors", 0, "gabors was not presented \\(there are drifting_gratings, flashes, natural_scenes, spontaneous\\)"),
        ({"channels": pa.table({"id": [1], "probe_id": pa.array([None], pa.int64())})}, None, 1, "positions of the channels are not known"),
        ({"channels": pa.table({"id": pa.array([], pa.int64())})}, None, 1, "positions of the channels are not known"),
        ({"channels": pa.table({"id": [1, 2], "probe_id": [1, 1], "probe_vertical_position": [20.0, None]})}, None, 2, "no coordinates"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(tmp_path, drawn, changes, stimulus, page, expected):
    write_products(tmp_path, **changes)
    plot_session(job(tmp_path, session=SESSION, stimulus=stimulus))
    assert re.search(expected, drawn_texts(drawn[page]).replace("\n", " "))


def test_units_without_a_structure_respond_too(tmp_path, drawn):
    write_products(
        tmp_path,
        units=pa.table({"unit_id": [950010000]}),
        spikes=pa.table({"unit_id": pa.array([], pa.int64()), "time": pa.array([], pa.float64())}),
    )
    plot_session(job(tmp_path, session=SESSION, stimulus="flashes"))
    assert f"{NO_STRUCTURE}\n1 unit ×" in drawn_texts(drawn[0])


def test_a_file_of_someone_else_is_refused(tmp_path):
    write_products(tmp_path)
    paths.session_product(tmp_path, PROJECT, SESSION, "spikes.parquet").write_bytes(b"PAR1")
    with pytest.raises(ResultError, match="spikes.parquet"):
        plot_session(job(tmp_path, session=SESSION, stimulus=None))


def write_project(results: Path, quality: pa.Table, annotated: pa.Table, filters: list[dict]) -> None:
    kinds = {"filter": pa.string(), "limit": pa.string(), "units_before": pa.int64(), "removed": pa.int64(),
             "removed_missing": pa.int64(), "units_after": pa.int64(), "note": pa.string()}  # fmt: skip
    tables = {
        "unit_quality": quality,
        "annotated_units": annotated,
        "unit_filters": pa.Table.from_pylist(filters, pa.schema(kinds)),
    }
    for name, table in tables.items():
        write(paths.project_table(results, PROJECT, name), table)


def test_a_project_has_structures_and_quality(tmp_path, drawn):
    units = simulate_session(int(SESSION), 1, 2, 24, 12).units
    metrics = pa.table({name: [u.metrics[name] for u in units] for name in units[0].metrics})
    annotated = pa.table(
        {
            "id": [u.id for u in units],
            "ecephys_session_id": [int(SESSION)] * len(units),
            "ecephys_structure_acronym": [str(u.probe.structure[u.peak]) for u in units],
        }
    )
    filters = [
        {
            "filter": "isi_violations_maximum",
            "limit": "0.5",
            "units_before": 24,
            "removed": 2,
            "removed_missing": 0,
            "units_after": 22,
            "note": "",
        }
    ]
    write_project(tmp_path, metrics, annotated, filters)
    plot_units(job(tmp_path, filters=LIMITS))
    structures, quality = drawn
    assert SESSION in drawn_texts(structures)
    assert "VISp" in drawn_texts(structures)
    for expected in (
        "presence ratio",
        "≥ 0.95",
        "≤ 0.1",
        "≤ 0.5",
        "snr",
        "firing rate",
        "isi violations: 2",
    ):
        assert expected in drawn_texts(quality)
    assert paths.project_plot(tmp_path, PROJECT, "units").is_file()


def test_a_project_without_units_or_metrics_says_so(tmp_path, drawn):
    write_project(tmp_path, pa.table({"id": ["a"]}), pa.table({"id": pa.array([], pa.int64())}), [])
    plot_units(job(tmp_path, filters=LIMITS))
    assert "no unit passes the filters" in drawn_texts(drawn[0])
    assert "no metrics of quality are known" in drawn_texts(drawn[1])
