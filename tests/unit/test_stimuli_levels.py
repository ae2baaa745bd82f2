import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.recordings.stimuli.levels import FilteredCurrent, base_current, measurable


@settings(deadline=None)
@given(st.integers(85, 400), st.sampled_from([3, 15, 85]), st.integers(0, 3), st.booleans())
def test_order_statistics_are_those_of_the_filtered_trace(n, window, decimals, single):
    ndimage = pytest.importorskip("scipy.ndimage")
    trace = np.round(np.random.default_rng(n).normal(size=n), decimals).astype("f4" if single else "f8")
    expected = ndimage.median_filter(trace, size=window)
    filtered = FilteredCurrent(trace, window)
    assert filtered.maximum() == expected.max()
    assert filtered.minimum() == expected.min()
    assert filtered.median(slice(None)) == np.median(expected.astype(float))
    ends = np.concatenate((expected[: n // 3], expected[n // 2 :])).astype(float)
    assert filtered.median(slice(0, n // 3), slice(n // 2, None)) == np.median(ends)


def test_no_sample_gives_nan():
    assert np.isnan(FilteredCurrent(np.ones(10)).median(slice(0, 0)))


def test_base_current_ignores_outliers():
    current = np.full(500, -0.05)
    current[100:110] = 3.0
    assert base_current(current) == -0.05


def test_measurable_cuts_trailing_nan_only():
    assert measurable(np.array([np.nan, 1.0, 2.0, np.nan])).tolist()[1:] == [1.0, 2.0]
    assert len(measurable(np.full(3, np.nan))) == 0
