"""When a response to a stimulus begins: the offset of a trial step, from the spikes of a population."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ephysflow.campaign.functions.gaussian import gaussian_smoothed
from ephysflow.errors import SimulationError

MAX_BINS = 10_000_000


def onset_from_spikes(spikes: Sequence[np.ndarray], params: Mapping[str, Any]) -> float:
    """Return how long after the stimulus (t = 0) the population's rate leaves its baseline.

    The spikes of all trials are counted in one histogram, which is smoothed with a Gaussian kernel. The onset is the
    first bin after t = 0 that lies strictly above ``mean + threshold_std_multiple * std`` (ddof 0) of the bins that end
    at or before it; the first bin where none does. This is BlueETL's ``onset_from_spikes`` (0.13.4), including one
    detail that changes its results and is therefore kept: the smoothed counts are truncated to whole numbers.

    Parameters
    ----------
    spikes : times of the spikes of each trial [ms], relative to the stimulus
    params : ``bounds`` [from, to] of the histogram [ms], from < 0 < to; ``histo_bins_per_ms``; ``smoothing_width``,
        standard deviation of the kernel [bins]; ``threshold_std_multiple``; ``ms_post_offset`` [ms], added to the
        onset. With ``figures_path`` (a folder, relative to ``base_path``) the curve is drawn into
        ``onset_<simulation_id>.png`` there; without ``simulation_id``, a checksum of the spikes takes its place.

    Returns
    -------
    float
        Onset [ms].

    Raises
    ------
    SimulationError
        if a parameter is missing or is not what it must be.
    """
    low, high = _bounds(params)
    bins_per_ms = _number(params, "histo_bins_per_ms", above=0)
    width = _number(params, "smoothing_width", least=0)
    multiple = _number(params, "threshold_std_multiple")
    post_offset = _number(params, "ms_post_offset")
    n_bins, n_before = _whole((high - low) * bins_per_ms), _whole(-low * bins_per_ms)
    if not 0 < n_before < n_bins <= MAX_BINS:
        raise SimulationError(
            f"onset_from_spikes: bounds {[low, high]} with histo_bins_per_ms {bins_per_ms:g} give {n_before} bins before "
            f"t = 0 and {n_bins - n_before} after it; needed is at least one of each, and {MAX_BINS} at most"
        )
    if width > n_bins:
        raise SimulationError(
            f"onset_from_spikes: smoothing_width is {width:g} bins; the histogram has {n_bins} and no more make sense"
        )
    times = np.concatenate([np.asarray(trial, dtype=np.float64) for trial in spikes] or [np.empty(0)])
    counts, edges = np.histogram(times, bins=n_bins, range=(low, high))
    curve = gaussian_smoothed(counts, width).astype(np.int64)
    before, after = curve[:n_before], curve[n_before:]
    threshold = float(before.mean() + multiple * before.std())
    index = int(np.argmax(after > threshold))
    onset = float(index / bins_per_ms + post_offset)
    if params.get("figures_path"):
        name = params.get("simulation_id", f"{zlib.crc32(times.tobytes()):08x}")
        folder = Path(params.get("base_path") or ".") / str(params["figures_path"])
        _draw(folder / f"onset_{name}.png", edges, counts, curve, threshold, onset)
    return onset


def _whole(number: float) -> int:
    # 0.8 * 10 bins may come out as 7.999...: that is 8
    return int(number + 1e-6)


def _given(params: Mapping[str, Any], name: str) -> Any:
    if params.get(name) is None:
        raise SimulationError(f"onset_from_spikes: parameter {name!r} is missing in the trial step")
    return params[name]


def _number(
    params: Mapping[str, Any], name: str, above: float | None = None, least: float | None = None
) -> float:
    value = _given(params, name)
    allowed = "a finite number"
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
    if above is not None:
        fits, allowed = fits and value > above, f"a number above {above:g}"
    if least is not None:
        fits, allowed = fits and value >= least, f"a number of at least {least:g}"
    if not fits:
        raise SimulationError(f"onset_from_spikes: {name} is {value!r}; it must be {allowed}")
    return float(value)


def _bounds(params: Mapping[str, Any]) -> tuple[float, float]:
    value = _given(params, "bounds")
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (-np.inf < low < 0 < high < np.inf):
        raise SimulationError(
            f"onset_from_spikes: bounds are {value!r}; they must be two numbers [ms], one before and one after t = 0, "
            "because the baseline is taken before it"
        )
    return low, high


def _draw(
    path: Path, edges: np.ndarray, counts: np.ndarray, curve: np.ndarray, threshold: float, onset: float
) -> None:
    from matplotlib.figure import Figure

    from ephysflow.io.atomic import replacing

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True, color="0.8", label="spikes")
    axes.stairs(curve, edges, baseline=None, color="C0", label="smoothed")
    axes.axhline(threshold, color="C1", linestyle="--", label="threshold")
    axes.axvline(onset, color="C3", label=f"onset {onset:g} ms")
    axes.set(xlabel="time after the stimulus [ms]", ylabel="spikes per bin", xlim=(edges[0], edges[-1]))
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
