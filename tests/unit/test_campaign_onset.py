"""Onset of a response from a population's spikes, and the Gaussian smoothing that it shares with the histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ephysflow.campaign.functions.gaussian import gaussian_smoothed
from ephysflow.campaign.functions.onset import onset_from_spikes
from ephysflow.errors import SimulationError

PARAMS = {
    "bounds": [-50, 25],
    "smoothing_width": 0.1,
    "histo_bins_per_ms": 5,
    "threshold_std_multiple": 4,
    "ms_post_offset": 1,
}


@given(
    counts=st.lists(st.integers(0, 1000), min_size=1, max_size=80),
    sigma=st.floats(0, 12),
)
def test_smoothing_is_that_of_scipy_to_the_last_bit(counts, sigma):
    """Also where the kernel is wider than the histogram, and after truncation to integers."""
    counts = np.array(counts)
    ours = gaussian_smoothed(counts, sigma)
    np.testing.assert_array_equal(ours, gaussian_filter(counts.astype(float), sigma))
    np.testing.assert_array_equal(ours.astype(np.int64), gaussian_filter(counts, sigma))


def test_smoothing_acts_on_each_row():
    """Rows do not mix."""
    rows = np.random.default_rng(0).poisson(3.0, (4, 50))
    np.testing.assert_array_equal(
        gaussian_smoothed(rows, 4.0), [gaussian_filter1d(row.astype(float), 4.0) for row in rows]
    )


def test_onset_is_the_first_bin_above_the_baseline():
    """Ten spikes in the bin that begins 3.2 ms after the stimulus, over two trials; one per ms before it."""
    baseline = np.arange(-49.95, 0, 1)
    assert onset_from_spikes([baseline, np.full(10, 3.3)], PARAMS) == pytest.approx(3.2 + 1)


def test_threshold_is_strict_and_uses_the_population_std():
    """Baseline counts 0 and 2 in turns: mean 1, std 1 (ddof 0), so 5 spikes are at the threshold and 6 above it."""
    params = PARAMS | {"bounds": [-4, 4], "histo_bins_per_ms": 1, "ms_post_offset": 0}
    baseline = [-2.5, -2.5, -0.5, -0.5]
    assert onset_from_spikes([np.array([*baseline, *[2.5] * 5])], params) == 0
    assert onset_from_spikes([np.array([*baseline, *[2.5] * 6])], params) == 2


def test_smoothed_counts_are_truncated():
    """A single spike smoothed over 2 bins is below 1 everywhere: the truncated curve is flat and has no onset."""
    params = PARAMS | {"smoothing_width": 2}
    assert onset_from_spikes([np.array([10.1])], params) == 1
    assert onset_from_spikes([np.full(100, 10.1)], params) == pytest.approx(10 + 1 - 4 / 5)


@pytest.mark.parametrize("spikes", [[], [np.empty(0)], [np.empty(0)] * 3])
def test_without_spikes_the_onset_is_the_offset(spikes):
    """Index 0, as when no bin is above the threshold."""
    assert onset_from_spikes(spikes, PARAMS) == 1.0


def test_bins_are_counted_without_rounding_errors():
    """0.8 * 10 is 7.999... in binary: it makes 8 bins."""
    params = PARAMS | {"bounds": [-0.1, 0.7], "histo_bins_per_ms": 10, "ms_post_offset": 0}
    assert onset_from_spikes([np.full(9, 0.65)], params) == pytest.approx(0.6)


@pytest.mark.parametrize("name", PARAMS)
def test_missing_parameter_is_named(name):
    """The message says which one."""
    with pytest.raises(SimulationError, match=f"'{name}' is missing"):
        onset_from_spikes([], {key: value for key, value in PARAMS.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bounds", [0, 25]),
        ("bounds", [-5]),
        ("bounds", ["a", "b"]),
        ("bounds", [-1e-9, 25]),
        ("bounds", [-1e12, 25]),
        ("bounds", [-np.inf, 25]),
        ("histo_bins_per_ms", 0),
        ("histo_bins_per_ms", True),
        ("smoothing_width", -1),
        ("smoothing_width", 376),
        ("threshold_std_multiple", "4"),
        ("ms_post_offset", np.nan),
    ],
)
def test_wrong_parameter_is_named(name, value):
    """Nothing is allocated and nothing comes from the depths."""
    with pytest.raises(SimulationError, match=name):
        onset_from_spikes([], PARAMS | {name: value})


def test_figure_is_drawn_only_on_request(tmp_path):
    """One file a simulation, below the folder of the configuration."""
    spikes = [np.array([-10.0, 3.0, 3.1])]
    onset_from_spikes(spikes, PARAMS | {"base_path": str(tmp_path)})
    assert not list(tmp_path.iterdir())
    onset_from_spikes(
        spikes, PARAMS | {"base_path": str(tmp_path), "figures_path": "figures", "simulation_id": 3}
    )
    onset_from_spikes(spikes, PARAMS | {"figures_path": str(tmp_path / "figures")})
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(names) == 2
    assert "onset_3.png" in names
