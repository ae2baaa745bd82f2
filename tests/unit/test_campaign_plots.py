"""Figures of simulation campaigns: what is drawn, from which tables; never how it looks to the pixel."""

import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow import paths
from ephysflow.campaign.feature_file import INDEX_KEY
from ephysflow.campaign.tables import LABEL, REPORT_SCHEMAS, labels
from ephysflow.errors import ResultError
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import PROVENANCE_KEY, write_table
from ephysflow.job import Job
from ephysflow.plots import campaign_steps
from ephysflow.plots import pages as page_files
from ephysflow.plots.campaign import (
    RasterPanel,
    RateSummary,
    SweepPanel,
    TracePanel,
    class_spikes,
    firing_rate_figures,
    parameter_figures,
    psth_bin,
    raster_figure,
    summary_of_rates,
    trace_figure,
)
from ephysflow.plots.pages import save_pages, text_figure
from ephysflow.plots.style import CELL_COLOURS

PROVENANCE = Provenance("test", "", "", "", {}, {})


def drawn_texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


# ---------------------------------------------------------------- what is counted


@given(st.floats(1e-2, 1e6))
def test_psth_bins_are_round_and_20_to_50(duration):
    size = psth_bin(duration)
    assert 19.9 <= duration / size <= 50.001
    assert f"{size:e}"[0] in "125"


@given(
    st.integers(1, 500),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 499), st.integers(0, 4), st.floats(0, 99.999)), max_size=60),
)
def test_psth_counts_all_spikes_and_the_raster_those_of_the_chosen_neurons(n_neurons, n_trials, spikes):
    gids = np.arange(n_neurons) * 3
    kept = [(gids[n], trial, time) for n, trial, time in spikes if n < n_neurons and trial < n_trials]
    gid, trial, time = (np.array([s[k] for s in kept]) for k in range(3))
    found = class_spikes(
        "a", gids, (gid.astype(int), trial.astype(int), time), np.array([[0.0, 100.0]] * n_trials), 8.0
    )
    widths = np.append(np.full(12, 8.0), 4.0)
    assert (found.psth * widths * 1e-3 * n_neurons * n_trials).sum() == pytest.approx(len(kept))
    assert found.n_shown == min(n_neurons, 200 // n_trials)
    shown = gids[(np.arange(found.n_shown) * n_neurons) // found.n_shown]
    expected = sorted(
        (t, k * found.n_shown + shown.tolist().index(g)) for g, k, t in kept if g in shown.tolist()
    )
    assert sorted(zip(found.times.tolist(), found.lines.tolist(), strict=True)) == expected


def test_a_trial_that_has_ended_counts_in_no_bin():
    spikes = np.array([1, 1, 1]), np.array([0, 0, 1]), np.array([5.0, 15.0, 5.0])
    found = class_spikes("a", np.array([1]), spikes, np.array([[0.0, 20.0], [0.0, 10.0]]), 10.0)
    assert found.psth.tolist() == [100.0, 100.0]


def test_a_class_without_neurons_has_no_lines_and_no_rate():
    nothing = np.array([], dtype=int)
    found = class_spikes("a", nothing, (nothing, nothing, nothing.astype(float)), np.array([[0, 10]]), 5)
    assert (found.n_neurons, found.n_shown, len(found.times), found.psth.tolist()) == (0, 0, 0, [0, 0])


def test_summary_of_rates():
    found = summary_of_rates(np.arange(101.0))
    assert (found.mean, found.percentiles) == (50.0, (5.0, 25.0, 50.0, 75.0, 95.0))
    assert np.isnan(summary_of_rates(np.array([])).mean)


# ---------------------------------------------------------------- figures


def raster_panel(window: str, n_trials: int = 2, n_classes: int = 2) -> RasterPanel:
    gids = np.arange(10)
    trial = np.minimum([0, 1, 1], n_trials - 1)
    spikes = (np.array([3, 3, 7]), trial, np.array([1.0, 50.0, 99.0]))
    bounds = (0.0, 100.0)
    classes = [
        class_spikes(f"c{k}", gids, spikes, np.array([bounds] * n_trials), 5.0) for k in range(n_classes)
    ]
    return RasterPanel(window, bounds, n_trials, 5.0, classes)


def test_a_raster_has_a_column_a_window_and_a_band_a_class():
    figure = raster_figure("simulation 0", [raster_panel("before", 1), raster_panel("after")])
    above, _, below, _ = figure.axes
    assert figure.get_suptitle() == "simulation 0"
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["before", "after"]
    assert [t.get_text() for t in above.get_yticklabels()] == ["c0\n10 neurons", "c1\n10 neurons"]
    assert (below.get_xlabel(), below.get_ylabel()) == ("time [ms]", "firing rate [Hz]")
    bands = [line for line in above.lines if line.get_marker() == "|"]
    assert [line.get_color() for line in bands] == list(CELL_COLOURS[:2])
    for position, line in enumerate(bands):
        assert ((line.get_ydata() > position) & (line.get_ydata() < position + 1)).all()
    after = next(line for line in figure.axes[1].lines if line.get_marker() == "|")
    np.testing.assert_array_equal(after.get_xdata(), [1.0, 50.0, 99.0])
    np.testing.assert_allclose(after.get_ydata(), 1 - (np.array([3, 13, 17]) + 0.5) / 20)
    assert "2 trials of at most 10 neurons a class" in drawn_texts(figure)


def test_no_rate_is_cut_off():
    figure = raster_figure("", [raster_panel("w"), raster_panel("v")])
    for axes, panel in zip(figure.axes[2:], [raster_panel("w"), raster_panel("v")], strict=True):
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > max(c.psth.max() for c in panel.classes)


def test_more_classes_than_colours_have_other_lines():
    figure = raster_figure("", [raster_panel("w", n_classes=8)])
    patches = figure.axes[1].patches
    assert patches[0].get_linestyle() != patches[7].get_linestyle()


def test_traces_of_a_class_lie_below_each_other():
    time = np.arange(-5.0, 15.0, 0.1)
    cells = {gid: [(time, -70 + 10 * np.sin(time)), (time, -70 + 5 * np.cos(time))] for gid in (3, 9)}
    figure = trace_figure("simulation 1", [TracePanel("w", "a", cells), TracePanel("w", "b", cells)])
    first, second = figure.axes
    assert [t.get_text() for t in first.get_yticklabels()] == ["gid 3", "gid 9"]
    traces = [line.get_ydata() for line in first.lines if len(line.get_xdata()) > 2]
    assert len(traces) == 4
    assert min(traces[1]) > max(traces[3])
    assert second.get_xlabel() == "time [ms]"
    assert "10" in drawn_texts(figure)  # the bar


def test_traces_without_values_are_a_page_all_the_same():
    empty = np.array([], dtype=float)
    figure = trace_figure("s", [TracePanel("w", "a", {3: [(empty, empty)]}), TracePanel("v", "a", {})])
    save_pages([figure], io.BytesIO())


def test_firing_rates_are_paged_and_hold_every_box():
    simulations = [f"{k}" for k in range(30)]
    summary = RateSummary(3.0, (0.0, 1.0, 2.0, 4.0, 8.0))
    summaries = {(k, c, w): summary for k in range(30) for c in "abcdef" for w in "xy"}
    del summaries[0, "a", "x"]
    pages = list(firing_rate_figures("rates", simulations, "seed", list("abcdef"), list("xy"), summaries))
    assert [len(page.axes) for page in pages] == [10, 2, 10, 2]
    boxes = [
        patch for page in pages for axes in page.axes for patch in axes.patches if patch.get_label() != "none"
    ]
    assert len(boxes) == len(summaries)
    first = pages[0].axes[0]
    assert first.get_ylabel() == "a\nfiring rate [Hz]"
    assert first.get_ylim()[0] == 0
    assert first.get_ylim()[1] > 8
    assert pages[0].axes[-1].get_xlabel() == "seed"
    assert [t.get_text() for t in pages[2].axes[-1].get_xticklabels()] == simulations[24:]


def test_a_feature_is_drawn_against_numbers_to_scale_and_in_their_order():
    line = (np.array([3.0, 1.0, 2.0]), np.array([0.1, 0.1, np.nan]))
    (figure,) = parameter_figures("t", "tau", [20, 5, 10], [SweepPanel("f", {"a": line, "b": line})], "note")
    axes = figure.axes[0]
    (drawn, *_) = axes.containers[0]
    np.testing.assert_array_equal(drawn.get_xdata(), [5, 10, 20])
    np.testing.assert_array_equal(drawn.get_ydata(), [1, 2, 3])
    assert {"a", "b", "f", "tau", "t · tau", "note"} <= drawn_texts(figure)


def test_a_feature_is_drawn_against_texts_evenly_twelve_a_page():
    line = (np.array([3.0, 1.0]), np.zeros(2))
    panels = [SweepPanel(f"f{k}", {"a": line}) for k in range(14)]
    pages = list(parameter_figures("t", "kind", ["long", [1, 2]], panels))
    assert [len(page.axes) for page in pages] == [12, 2]
    assert [t.get_text() for t in pages[0].axes[0].get_xticklabels()] == ["long", "[1, 2]"]


def test_equal_pages_give_equal_bytes():
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        save_pages([raster_figure("s", [raster_panel("w")]), text_figure("none")], stream)
    assert streams[0].getvalue() == streams[1].getvalue()


# ---------------------------------------------------------------- steps


def write(path: Path, columns: dict, schema: pa.Schema | None = None, index: list[str] | None = None) -> None:
    arrays = {k: labels(np.array(v)) if k in ("neuron_class", "window") else v for k, v in columns.items()}
    table = pa.table(arrays) if schema is None else pa.table(arrays).select(schema.names).cast(schema)
    write_table(path, table, table.schema, PROVENANCE)
    if index is not None:  # as feature tables are written
        import pyarrow.parquet as pq

        metadata = {INDEX_KEY: json.dumps(index).encode(), PROVENANCE_KEY: PROVENANCE.text().encode()}
        pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=3)


@pytest.fixture
def job(tmp_path) -> Job:
    """Two simulations, classes a (gids 1, 2) and b (gids 2, 5), windows early (2 trials) and late."""
    results = tmp_path / "results"
    repo = paths.repo_folder(results, "c", "x")
    write(
        repo / "simulations.parquet",
        {
            "ca": [1.0, 2.0],
            "seed": [7, 7],
            "simulation_path": ["0", "1"],
            "simulation_id": [0, 1],
            "circuit_id": [0, 0],
        },
    )
    write(
        repo / "neurons.parquet",
        {"circuit_id": [0] * 4, "neuron_class": ["a", "a", "b", "b"], "gid": [1, 2, 2, 5]},
    )
    rows = [(s, w, t) for s in (0, 1) for w, t in (("late", 0), ("early", 0), ("early", 1))]
    write(
        repo / "windows.parquet",
        {
            "simulation_id": [s for s, _, _ in rows],
            "window": [w for _, w, _ in rows],
            "trial": [t for _, _, t in rows],
            "t_start": [0.0] * 6,
            "t_stop": [100.0 if w == "early" else 500.0 for _, w, _ in rows],
        },
    )
    for s in (0, 1):
        write(
            repo / "report" / "circuit_id=0" / f"simulation_id={s}" / f"{s}.parquet",
            {
                "time": [10.0, 20.0, 30.0, 40.0],
                "gid": [2, 2, 2, 5],
                "window": ["early", "early", "late", "late"],
                "trial": pa.array([0, 1, 0, 0], pa.int32()),
                "neuron_class": ["a", "a", "b", "b"],
            },
            REPORT_SCHEMAS["spikes"],
        )
    return Job("plot", "", {"campaign": "c", "analysis": "x", "report": "spikes"}, "", "", {}, results)


@pytest.fixture
def pages(monkeypatch) -> list:
    """The figures that a step draws."""
    drawn: list = []

    def collect(figures, stream):
        drawn.extend(figures)
        save_pages(drawn, stream)

    monkeypatch.setattr(page_files, "save_pages", collect)
    return drawn


def written(job: Job, name: str) -> bytes:
    return paths.campaign_plot(job.results, "c", "x", name).read_bytes()


def test_rasters_have_a_page_a_simulation(job, pages):
    campaign_steps.plot_rasters(job)
    titles = ["simulation 0 · ca 1 · seed 7", "simulation 1 · ca 2 · seed 7"]
    assert [page.get_suptitle() for page in pages] == titles
    assert [axes.get_title(loc="left") for axes in pages[0].axes[:2]] == ["late", "early"]
    late = [line.get_xdata().tolist() for line in pages[0].axes[0].lines if line.get_marker() == "|"]
    early = [line.get_xdata().tolist() for line in pages[0].axes[1].lines if line.get_marker() == "|"]
    assert late == [[], [30, 40]]
    assert early == [[10, 20], []]
    assert written(job, "rasters").startswith(b"%PDF")


def test_firing_rates_count_silent_neurons_and_all_trials(job, pages, monkeypatch):
    seen: dict = {}
    original = campaign_steps.firing_rate_figures

    def collect(title, simulations, label, classes, windows, summaries):
        seen.update(summaries)
        assert (simulations, label, classes, windows) == (["1", "2"], "ca", ["a", "b"], ["late", "early"])
        return original(title, simulations, label, classes, windows, summaries)

    monkeypatch.setattr(campaign_steps, "firing_rate_figures", collect)
    campaign_steps.plot_firing_rates(job)
    assert {key[1:]: s.mean for key, s in seen.items()} == {
        ("a", "early"): pytest.approx((0 + 2 / 0.2) / 2),
        ("a", "late"): 0.0,
        ("b", "early"): 0.0,
        ("b", "late"): pytest.approx(1 / 0.5),
    }
    assert len(seen) == 8
    assert len(pages) == 1
    assert written(job, "firing_rates").startswith(b"%PDF")


def test_traces_of_a_report_with_values(job, pages):
    repo = paths.repo_folder(job.results, "c", "x")
    time = np.tile(np.arange(0, 5, 0.5), 4)
    for s in (0, 1):
        write(
            repo / "report" / "circuit_id=0" / f"simulation_id={s}" / f"{s}.parquet",
            {
                "gid": np.repeat([1, 2, 1, 2], 10),
                "time": time,
                "value": np.float32(np.sin(time) - 70),
                "window": ["early"] * 40,
                "trial": np.repeat([0, 0, 1, 1], 10),
                "neuron_class": ["a"] * 40,
            },
            REPORT_SCHEMAS["soma"],
        )
    campaign_steps.plot_rasters(Job("plot", "", {**job.settings, "report": "soma"}, "", "", {}, job.results))
    assert len(pages) == 2
    assert len(pages[0].axes) == 4
    early = pages[0].axes[1]
    traces = [line.get_xdata() for line in early.lines if len(line.get_xdata()) == 10]
    assert len(traces) == 4
    np.testing.assert_allclose(traces[0], time[:10])


def test_only_the_first_section_of_a_compartment_report_is_drawn():
    trial, time = np.zeros(6, dtype=int), np.array([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    ((t, v),) = campaign_steps._trials(trial, time, np.arange(6.0))
    assert (t.tolist(), v.tolist()) == ([0, 1, 2], [0, 1, 2])


def sweep_tables(job: Job, extra: dict | None = None) -> None:
    folder = paths.features_folder(job.results, "c", "x")
    rows = [(p, s, c, t) for p in (0, 1) for s in (0, 1) for c in "ab" for t in (0, 1)]
    columns = {
        "simulation_id": pa.array([s for _, s, _, _ in rows], pa.int32()),
        "neuron_class": [c for _, _, c, _ in rows],
        "trial": [t for *_, t in rows],
        "rate": [10.0 * p + s + (np.nan if t else 0.0) for p, s, _, t in rows],
        "text": [c for _, _, c, _ in rows],
        "params_id": [p for p, *_ in rows],
        "tau": [[5, 20][p] for p, *_ in rows],
        **(extra or {}),
    }
    write(folder / "t.parquet", columns, index=["simulation_id", "neuron_class", "trial"])
    write(folder / "t.params.parquet", {"params_id": [0, 1], "x.tau": [5, 20], "y": [1, 1]})
    write(folder / "t.aliases.parquet", {"column": ["x.tau"], "alias": ["tau"]})


def test_a_sweep_shows_the_mean_over_simulations_of_each_numeric_feature(job, pages):
    sweep_tables(job)
    campaign_steps.plot_parameter_sweep(job)
    (page,) = pages
    (axes,) = page.axes
    assert (axes.get_title(loc="left"), axes.get_xlabel()) == ("rate", "tau")
    assert len(axes.containers) == 2
    for line, *_ in axes.containers:
        np.testing.assert_array_equal(line.get_xdata(), [5, 20])
        np.testing.assert_allclose(line.get_ydata(), [0.5, 10.5])
    bars = axes.containers[0][2][0].get_segments()
    np.testing.assert_allclose([np.ptp(bar[:, 1]) for bar in bars], 1.0)  # +- 0.5
    assert written(job, "parameter_sweep").startswith(b"%PDF")


def test_other_labels_of_a_table_have_panels_of_their_own(job, pages):
    sweep_tables(job, {"window": ["early", "early", "late", "late"] * 4})
    campaign_steps.plot_parameter_sweep(job)
    assert [axes.get_title(loc="left") for axes in pages[0].axes] == ["rate\nearly", "rate\nlate"]


def test_a_page_says_that_nothing_varies(job, pages):
    paths.features_folder(job.results, "c", "x").mkdir(parents=True)
    campaign_steps.plot_parameter_sweep(job)
    assert drawn_texts(pages[0]) == {"no parameter varies, or no feature is a number"}


def test_a_simulation_without_report_is_an_error_that_names_it(job, pages):
    next(job.results.rglob("simulation_id=1/*.parquet")).unlink()
    with pytest.raises(ResultError, match="simulation_id=1: holds 0 Parquet files"):
        campaign_steps.plot_rasters(job)


def test_labels_are_read_as_texts_wherever_chunks_end():
    parts = [pa.array(values).dictionary_encode().cast(LABEL) for values in (["b", "a"], ["c", "a", "a"])]
    found = campaign_steps._labels(pa.chunked_array(parts))
    assert found.tolist() == ["b", "a", "c", "a", "a"]
    assert campaign_steps._labels(pa.chunked_array([], LABEL)).tolist() == []
