"""Figures: what is drawn, where, with which labels; never how it looks to the pixel."""

import io

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.plots.features import (
    FeaturePanel,
    feature_amplitude_figure,
    fi_curve_figure,
    impedance_figure,
)
from ephysflow.plots.pages import save_pages, save_png
from ephysflow.plots.recordings import recordings_figures
from ephysflow.plots.style import envelope, look_of_cells
from ephysflow.plots.summary import summary_figure


def sweep_row(amp: float, /, **more) -> dict:
    n = 2000
    current = np.full(n, -0.02)
    current[500:1500] += amp
    voltage = -70 + 100 * (current + 0.02)
    row = {
        "cell": "c1",
        "protocol": "IDrest",
        "sweep": 0,
        "sweep_id": f"sweep-{amp}",
        "repetition": 2,
        "dt": 0.1,
        "ton": 50.0,
        "toff": 150.0,
        "amp": amp,
        "hypamp": -0.02,
        "auto_threshold": -35.0,
        "timing_reason": "",
        "qc_reasons": "",
        "voltage": voltage,
        "current": current,
    }
    return row | more


def drawn(axes) -> list[np.ndarray]:
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata()) > 2]


# ---------------------------------------------------------------- thinning


@given(st.integers(1, 5000), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_envelope_keeps_the_extremes_and_the_order_of_time(n, bins, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    times, thin = envelope(values, 0.5, bins)
    assert len(times) == len(thin) <= max(4 * bins, 1)
    assert thin.min() == values.min()
    assert thin.max() == values.max()
    assert (np.diff(times) > 0).all()
    np.testing.assert_array_equal(values[np.rint(times / 0.5).astype(int)], thin)


def test_the_envelope_keeps_each_spike_of_a_long_trace():
    values = np.full(100_000, -70.0)
    spikes = np.arange(500, 100_000, 1000)
    values[spikes] = 40
    times, thin = envelope(values, 0.05)
    np.testing.assert_allclose(times[thin == 40], spikes * 0.05)


# ---------------------------------------------------------------- recordings


def test_every_sweep_is_drawn_once_by_amplitude_twelve_a_page():
    amplitudes = np.linspace(-0.3, 0.3, 27)
    rows = [sweep_row(amp) for amp in amplitudes[::-1]]
    figures = recordings_figures(rows, [None] * 27)
    assert [len(figure.axes) for figure in figures] == [24, 24, 6]
    seen = [drawn(axes)[0] for figure in figures for axes in figure.axes[::2]]
    for amp, current in zip(amplitudes, seen, strict=True):
        np.testing.assert_array_equal(current, sweep_row(amp)["current"])
    assert "page 3 of 3" in figures[2].get_suptitle()


def test_one_sweep_has_its_current_above_its_voltage_and_all_that_was_found():
    row = sweep_row(0.2)
    rebuilt = row["current"] + 0.001
    (figure,) = recordings_figures([row], [rebuilt], [np.array([60.0, 80.0])], rheobase=0.1)
    above, below = figure.axes
    assert above.get_position().y0 > below.get_position().y1
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == (
        "current [nA]",
        "voltage [mV]",
        "time [ms]",
    )
    measured, dashed = drawn(above)
    np.testing.assert_array_equal(measured, row["current"])
    np.testing.assert_array_equal(dashed, rebuilt)
    assert above.lines[1].get_linestyle() == "--"
    np.testing.assert_array_equal(drawn(below)[0], row["voltage"])
    assert any(list(line.get_xdata()) == [60.0, 80.0] for line in below.lines)
    assert any(set(line.get_ydata()) == {-35.0} for line in below.lines)
    title = above.get_title(loc="left")
    for part in ("sweep-0.2", "0.200 nA", "(200%)", "holding -0.020 nA", "repetition 2"):
        assert part in title
    for axes in (above, below):
        shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert (shaded.x0, shaded.x1) == pytest.approx((50, 150))
    assert figure.get_suptitle() == "c1 · IDrest"


def test_times_within_the_stimulus_and_pulses_are_marked():
    inner = sweep_row(0.1, tmid=80.0, tmid2=120.0, amp2=0.3)
    train = sweep_row(0.5, ton=None, toff=None, tspike=[20.0, 40.0, 60.0], spike_duration=4.0)
    (figure,) = recordings_figures([inner, train], [None, None])
    marks = {line.get_xdata()[0] for line in figure.axes[1].lines if len(set(line.get_xdata())) == 1}
    assert marks == {80.0, 120.0}
    assert "amp2 0.300 nA" in figure.axes[0].get_title(loc="left")
    assert len(figure.axes[3].patches) == 3


def test_a_doubtful_sweep_says_why():
    rows = [sweep_row(0.1, timing_reason="nothing stands out", qc_reasons="vm_drift"), sweep_row(0.2)]
    (figure,) = recordings_figures(rows, [None, None])
    doubtful, good = figure.axes[0], figure.axes[2]
    assert "nothing stands out; vm_drift" in doubtful.get_title(loc="left")
    assert "⚠" not in good.get_title(loc="left")


@pytest.mark.parametrize(
    "row",
    [
        sweep_row(0.1, amp=None, hypamp=None, ton=None, toff=None, repetition=None, sweep_id=""),
        sweep_row(0.1, amp=float("nan"), auto_threshold=float("nan")),
        sweep_row(0.1, voltage=np.full(2000, np.nan)),
        sweep_row(0.1, voltage=np.full(1, -70.0), current=np.zeros(1)),
    ],
)
def test_what_was_not_found_is_left_out_and_stops_nothing(row):
    (figure,) = recordings_figures([row, sweep_row(0.3)], [None, None])
    save_png(figure, io.BytesIO(), dpi=30)
    assert len(figure.axes) == 4


def test_no_sweeps_give_no_figures():
    assert recordings_figures([], []) == []


# ---------------------------------------------------------------- features


def feature_rows() -> list[dict]:
    return [
        {"cell": cell, "amp": amp, "amp_rel": 1000 * amp, "value": value}
        for cell, amp, value in (("b", 0.1, 3.0), ("a", 0.2, 5.0), ("b", 0.15, float("nan")), ("b", 0.3, 7.0))
    ]


@pytest.mark.parametrize(
    ("against", "label", "x"),
    [
        ("amp_rel", "amplitude [% of rheobase]", [200.0]),
        ("amp", "amplitude [nA]", [0.2]),
        ("delta", "gap between pulses [ms]", [0.2]),
    ],
)
def test_every_value_is_a_point_of_its_cell(against, label, x):
    panel = FeaturePanel("ISI_CV", "IDrest", feature_rows(), against=against)
    (axes,) = feature_amplitude_figure(panel).axes
    by_cell = {line.get_label(): line for line in axes.lines}
    assert set(by_cell) == {"a", "b"}
    assert list(by_cell["a"].get_xdata()) == pytest.approx(x)
    assert list(by_cell["a"].get_ydata()) == [5.0]
    assert len(by_cell["b"].get_xdata()) == 3
    assert by_cell["a"].get_color() != by_cell["b"].get_color()
    assert by_cell["a"].get_marker() != by_cell["b"].get_marker()
    assert axes.get_xlabel() == label
    assert axes.get_ylabel() == "ISI_CV"


def test_means_stand_at_their_targets_with_bars_of_one_standard_deviation():
    panel = FeaturePanel("AP_amplitude", "IDrest", feature_rows(), [(200, 5.0, 1.5), (300, 7.0, 0.5)], "mV")
    (axes,) = feature_amplitude_figure(panel).axes
    (bars,) = axes.containers
    points, _, (spans,) = bars.lines
    assert list(points.get_xdata()) == [200, 300]
    assert list(points.get_ydata()) == [5.0, 7.0]
    np.testing.assert_allclose(spans.get_segments(), [[[200, 3.5], [200, 6.5]], [[300, 6.5], [300, 7.5]]])
    assert axes.get_ylabel() == "AP_amplitude [mV]"


def test_a_cell_without_rheobase_has_no_relative_amplitude():
    rows = [{"cell": "a", "amp": 0.1, "amp_rel": None, "value": 1.0}]
    (axes,) = feature_amplitude_figure(FeaturePanel("ISI_CV", "IDrest", rows)).axes
    assert not axes.lines
    (axes,) = feature_amplitude_figure(FeaturePanel("ISI_CV", "IDrest", rows, against="amp")).axes
    assert len(axes.lines) == 1


def test_sixty_cells_all_look_different():
    looks = look_of_cells([str(k) for k in range(60)])
    assert len({tuple(look.values()) for look in looks.values()}) == 60


def test_f_i_curves_join_means_and_mark_the_rheobase():
    figure = fi_curve_figure([0.2, 0.1, 0.2, 0.1], [6, 0, 4, 1], ["a", "a", "a", "b"], {"a": 0.15, "b": None})
    (axes,) = figure.axes
    curve = next(line for line in axes.lines if list(line.get_xdata()) == [0.1, 0.2])
    assert list(curve.get_ydata()) == [0, 5]
    assert sum(list(line.get_xdata()) == [0.15] for line in axes.lines) == 1
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"a", "b"}
    assert "[nA]" in axes.get_xlabel()


def test_the_impedance_names_the_frequency_of_its_maximum():
    frequencies = np.linspace(0.5, 20, 40)
    magnitude = 100 * np.exp(-(((frequencies - 6.5) / 5) ** 2))
    (axes,) = impedance_figure(frequencies, magnitude).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), magnitude)
    assert axes.texts[0].get_text() == "6.5 Hz"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("frequency [Hz]", "|impedance| [MΩ]")


# ---------------------------------------------------------------- summary and files


def summary():
    panel = FeaturePanel("ISI_CV", "IDrest", feature_rows(), [(200, 5.0, 1.0)])
    return summary_figure(
        [sweep_row(amp) for amp in (0.1, 0.2, 0.3)],
        [0.1, 0.2],
        [0, 4],
        ["a", "b"],
        {"c1": 0.2},
        (panel, panel),
    )


def test_the_summary_shows_sweeps_f_i_curves_and_two_features():
    figure = summary()
    assert len(figure.axes) == 1 + 3 + 1 + 2
    labels = [axes.get_title(loc="left") for axes in figure.axes]
    for letter in "ABCD":
        assert sum(f"{{{letter}}}" in label for label in labels) == 1
    currents = drawn(figure.axes[0])
    assert len(currents) == 3
    largest = max(currents, key=np.max)
    np.testing.assert_array_equal(largest, sweep_row(0.3)["current"])


def test_equal_figures_give_equal_bytes():
    pages, images = [], []
    for _ in range(2):
        stream = io.BytesIO()
        save_pages([summary(), *recordings_figures([sweep_row(0.1)], [None])], stream)
        pages.append(stream.getvalue())
        stream = io.BytesIO()
        save_png(summary(), stream, dpi=50)
        images.append(stream.getvalue())
    assert pages[0] == pages[1]
    assert images[0] == images[1]
    assert pages[0].count(b"/Type /Page\n") + pages[0].count(b"/Type /Page ") == 2
    assert b"CreationDate" not in pages[0]
    assert images[0].startswith(b"\x89PNG")


def test_the_users_settings_of_matplotlib_stay():
    before = dict(matplotlib.rcParams)
    save_png(summary(), io.BytesIO(), dpi=30)
    assert dict(matplotlib.rcParams) == before
