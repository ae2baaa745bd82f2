"""Edges of the injected current, found over all sweeps of one protocol together.

Edges are proposed where the means of two neighbouring windows differ by more than such means usually do (windows from
1 to 100 ms, so that short pulses, weak long steps, 50 Hz and 60 Hz hum are all covered), summed over the sweeps, so
that what recurs at the same time stands out of what does not (action potentials in the recorded current, noise). Of
the proposed edges, those are taken that leave least of the currents unexplained as a sequence of constant levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ephysflow.recordings.stimuli.traces import Traces, finite_current, on_grid
from ephysflow.recordings.sweep import Sweep

WINDOWS = (1.0, 5.0, 20.0, 100.0)
"""Lengths of the windows on either side of an edge [ms]; whole periods of 50 Hz, and of 60 Hz, among them."""

PER_WINDOW = 8
"""Edges proposed per window length."""

PROPOSED = {2: 24, 3: 20, 4: 16}
"""Most proposals kept, by the number of edges wanted."""

TRIED = 8
"""So many of the best choices of edges are looked at more closely."""

SURE = 5.0
"""An edge of a sweep is seen when the change of level is so many times its standard error."""

SAME = 2.0
"""Times closer than this [ms] are the same edge."""

LONGEST_WINDOW = 100.0
"""Longest stretch beside an edge that measures its height [ms]."""

BORDER = 2.0
"""No edge is looked for closer than this to either end of a sweep [ms]."""

TEST_PULSE = 200.0
"""Longest test pulse [ms]."""

TEST_PULSE_END = 500.0
"""A test pulse has ended by then [ms]."""

MOST = 4.5
"""Most that one sweep adds to the evidence for an edge, so that a single odd sweep is not taken for all."""

DIFFERS = 0.25
"""A pulse varies over the sweeps when its height does by so much of what that of the most varying one does."""

SEEN = 1 / 3
"""An edge, or one of several pulses, belongs to the protocol when it is seen in so many of the sweeps."""

BETTER = 0.1
"""A further pulse explains so much more of a sweep, as the logarithm of the variance left."""

MOST_PULSES = 6
"""Most pulses that are told apart."""

AS_LARGE = 0.8
"""Of pulses that are the same in every sweep, the first with so much of the largest charge is the stimulus."""

DOUBT = 0.45
"""Factor on the confidence when there is a remark."""

TINY = 1e-6
"""A current that nobody injects [nA]."""


@dataclass(frozen=True)
class Edges:
    """Edges of one sweep.

    Attributes
    ----------
    times : (edges,) first instant of each new level [ms]; None when no stimulus was found
    source : "detected" in this sweep, or "inherited" from the others of the protocol
    confidence : 0 (none) to 1
    reason : what a person should know
    since : when the level before the first edge began [ms]
    """

    times: np.ndarray | None
    source: str = "detected"
    confidence: float = 0.0
    reason: str = ""
    since: float = 0.0


def certainty(strength: float) -> float:
    """Confidence, 0 to 1, of something seen at `strength` times its standard error."""
    return float(strength**2 / (strength**2 + 36.0))


def evidence(strength: np.ndarray) -> np.ndarray:
    """Return the mean over sweeps of log(1 + z^2), (sweeps, edges) to (edges,); no single sweep counts for more than `MOST`."""
    return np.minimum(np.log1p(strength**2), MOST).mean(axis=0)


def usual(sweeps: int) -> float:
    """Mean of log(1 + z^2) over sweeps that noise alone hardly reaches anywhere in a trace.

    Its mean under a normal z is 0.55, its standard deviation about 0.6; one sweep needs z = 5.
    """
    return 0.55 + 2.7 / np.sqrt(sweeps)


def contrasts(traces: Traces, window: float) -> np.ndarray:
    """Difference of the means after and before each point, in units of its usual size.

    Returns
    -------
    (sweeps, points) array, 0 within a millisecond of either end
    """
    width = traces.points(window)
    count = traces.values.shape[1]
    least = max(2, traces.points(1.0))
    z = np.zeros_like(traces.values)
    for size in np.unique(traces.sizes).tolist():
        rows = traces.sizes == size
        at = np.arange(least, size - least + 1)[: count - least]
        if not len(at):
            continue
        sums = traces.sums if rows.all() else traces.sums[rows]
        left, right = np.minimum(at, width), np.minimum(size - at, width)
        middle = sums[:, at[0] : at[-1] + 1]
        change = (np.take(sums, at + right, axis=1) - middle) * (1 / right)
        change -= (middle - np.take(sums, at - left, axis=1)) * (1 / left)
        change *= np.sqrt(2 / width / (1 / left + 1 / right))
        sample = change[:, :: max(1, width // 4)]
        usually = np.median(sample, axis=1, keepdims=True)
        spread = 1.4826 * np.median(np.abs(sample - usually), axis=1, keepdims=True)
        largest = np.maximum(change.max(axis=1), -change.min(axis=1))[:, None]
        change -= usually
        change /= np.maximum(spread, 1e-3 * largest + TINY)
        z[rows, at[0] : at[-1] + 1] = change
    return z


def propose(traces: Traces, most: int) -> list[int]:
    """Grid points at which the currents may change their level, the most evident first."""
    found: list[tuple[float, int]] = []
    longest = traces.values.shape[1] * traces.step / 4
    for window in WINDOWS:
        if window > max(longest, WINDOWS[0]):
            break
        each = np.log1p(contrasts(traces, window) ** 2)
        clear, score = np.minimum(each, MOST).mean(axis=0), each.mean(axis=0)
        score[clear < usual(len(traces.sizes))] = 0
        reach = traces.points(max(window, 1.0))
        for _ in range(PER_WINDOW):
            point = int(np.argmax(score))
            if score[point] == 0:
                break
            if all(abs(point - other) * traces.step > 1.5 for _, other in found):
                found.append((float(score[point]), point))
            score[max(0, point - reach) : point + reach + 1] = 0
    return sorted(point for _, point in sorted(found, reverse=True)[:most])


def explained(traces: Traces, edges: np.ndarray, pattern: Sequence[int], drift: bool = True) -> np.ndarray:
    """How well constant levels between edges, on a steady drift, describe each sweep.

    Least squares with an offset per level and, with `drift`, one slope per sweep.

    Parameters
    ----------
    edges : (candidates, edges) increasing grid points
    pattern : (edges + 1,) number of the level of each segment; segments of one number share their level

    Returns
    -------
    (sweeps, candidates) logarithm of (variance left without levels / variance left with them)
    """
    count = traces.values.shape[1]
    bounds = np.concatenate((np.zeros((len(edges), 1), int), edges, np.full((len(edges), 1), count)), axis=1)
    everything = _left(traces, np.array([[0, count]]), (0,), drift)
    floor = 1e-6 * everything + TINY**2
    return np.log((everything + floor) / (_left(traces, bounds, pattern, drift) + floor))


def _left(traces: Traces, bounds: np.ndarray, pattern: Sequence[int], drift: bool) -> np.ndarray:
    """Sum of squares that levels, and perhaps a drift, leave, (sweeps, candidates)."""
    ends = np.minimum(bounds[None], traces.sizes[:, None, None])
    rows = np.arange(len(traces.sizes))[:, None, None]
    value = np.diff(traces.sums[rows, ends], axis=2)
    number = np.diff(ends, axis=2)
    place = np.diff(ends * (ends - 1) / 2, axis=2)
    size = traces.sizes[:, None].astype(float)
    left = np.repeat(traces.squares[:, None], len(bounds), axis=1)
    slope = np.repeat(traces.moments[:, None], len(bounds), axis=1)
    spread = np.repeat((size - 1) * size * (2 * size - 1) / 6, len(bounds), axis=1)
    for level in set(pattern):
        member = [k for k, other in enumerate(pattern) if other == level]
        weight = np.maximum(number[:, :, member].sum(axis=2), 1)
        total, places = value[:, :, member].sum(axis=2), place[:, :, member].sum(axis=2)
        left -= total**2 / weight
        slope -= places * total / weight
        spread -= places**2 / weight
    if drift:
        left -= slope**2 / np.maximum(spread, 1.0)
    return np.maximum(left, 0.0)


def best_edges(traces: Traces, points: Sequence[int], pattern: Sequence[int]) -> np.ndarray | None:
    """Choose the edges among `points` that describe all sweeps best as levels and that all sweeps show.

    Returns
    -------
    (edges,) grid points, or None when there are none
    """
    choices = np.array(list(combinations(sorted(points), len(pattern) - 1)), dtype=int)
    if not len(choices):
        return None
    gain = explained(traces, choices, pattern).sum(axis=0)
    for choice in np.argsort(-gain, kind="stable")[:TRIED]:
        edges = _moved(traces, choices[choice])
        if _shown(traces, edges, closed=pattern[0] == pattern[-1]):
            return edges
    return None


def _moved(traces: Traces, edges: np.ndarray) -> np.ndarray:
    """Move each edge to the point near it that divides its surroundings best into two levels."""
    edges = edges.copy()
    count = traces.values.shape[1]
    border = traces.points(min(BORDER, 0.025 * count * traces.step))
    for reach in (traces.points(30.0), traces.points(3.0)):
        bounds = [0, *edges.tolist(), count]
        for k, edge in enumerate(edges):
            first = max(bounds[k], int(edge) - 2 * reach)
            last = min(bounds[k + 2], int(edge) + 2 * reach)
            near = traces.part(first, last)
            places = np.arange(max(first + 1, edge - reach), min(last - 1, edge + reach) + 1)
            places = places[(places >= border) & (places <= count - border)]
            if len(places):
                score = explained(near, places[:, None] - first, (0, 1), drift=False).sum(axis=0)
                edges[k] = places[int(np.argmax(score))]
    return edges


def heights(traces: Traces, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change of level at each edge in each sweep, and how many standard errors that is.

    Levels are taken beside the edge, so that slow drifts do not count; the standard error is that of means over
    stretches of the same length elsewhere in the sweep, so that noise of any colour and hum count in full.

    Returns
    -------
    height : (sweeps, edges) [nA]
    strength : (sweeps, edges), 0 where a sweep ends before the edge
    """
    least = max(2, traces.points(0.5))
    height = np.zeros((len(traces.sizes), len(edges)))
    strength = np.zeros_like(height)
    for row, size in enumerate(traces.sizes):
        bounds = [0, *(min(int(edge), int(size)) for edge in edges), int(size)]
        segments = [traces.values[row, low:high] for low, high in pairwise(bounds)]
        level = [float(np.median(part)) if len(part) else np.nan for part in segments]
        rest = np.concatenate([part - base for part, base in zip(segments, level, strict=True)])
        if len(rest) < 4:
            continue
        limit = 5 * 1.4826 * float(np.median(np.abs(rest))) + TINY
        rest = np.clip(rest, -limit, limit)
        errors: dict[int, float] = {}
        for k in range(len(edges)):
            sides = []
            for low, high, before in (
                (bounds[k], bounds[k + 1], True),
                (bounds[k + 1], bounds[k + 2], False),
            ):
                guard = traces.points(1.0) if (high - low) * traces.step > 4 else 1
                width = min(high - low - guard, traces.points(LONGEST_WINDOW))
                if width < least:
                    break
                start = high - guard - width if before else low + guard
                if width not in errors:
                    errors[width] = _error_of_means(rest, width)
                base = level[k] if before else level[k + 1]
                sides.append((base + rest[start : start + width].mean(), errors[width]))
            if len(sides) < 2:
                continue
            change = sides[1][0] - sides[0][0]
            error = np.hypot(sides[0][1], sides[1][1])
            height[row, k] = change
            strength[row, k] = abs(change) / np.sqrt(error**2 + (1e-3 * change) ** 2 + TINY**2)
    return height, strength


def _error_of_means(rest: np.ndarray, width: int) -> float:
    """Estimate the standard error of a mean over `width` points, from the means of blocks; a steady drift does not count."""
    width = max(1, min(width, len(rest) // 8))
    blocks = rest[: len(rest) // width * width].reshape(-1, width).mean(axis=1)
    changes = np.diff(blocks)
    middle = np.median(changes)
    return float(1.4826 * np.median(np.abs(changes - middle)) / np.sqrt(2))


def fine_time(current: np.ndarray, dt: float, time: float, reach: float) -> float | None:
    """Place an edge to the sample: where two constant levels describe the samples around `time` best.

    Returns
    -------
    Time of the first sample of the new level [ms]; None when noise within `reach` hides it.
    """
    low = max(0, round((time - reach) / dt))
    high = min(len(current), round((time + reach) / dt) + 1)
    part = current[low:high]
    count = len(part)
    if count < 4:
        return None
    first = np.arange(1, count)
    sums = np.cumsum(part - part.mean())[:-1]
    gain = sums**2 * (1 / first + 1 / (count - first))
    k = int(np.argmax(gain)) + 1
    jump = abs(part[k:].mean() - part[:k].mean())
    noise = np.sqrt((part[k:].var() * (count - k) + part[:k].var() * k) / count)
    return (low + k) * dt if jump > 4 * noise + TINY else None


def _shown(traces: Traces, edges: np.ndarray, closed: bool) -> bool:
    """Whether the sweeps together show every edge and, if `closed`, come back to where they started."""
    if (np.diff(edges) <= 0).any():
        return False
    height, strength = heights(traces, edges)
    if not (evidence(strength) > usual(len(traces.sizes))).all():
        return False
    if not closed:
        return True
    whole = strength.min(axis=1) > 0
    back = np.abs(height[whole].sum(axis=1)) <= 0.5 * np.abs(height[whole]).max(axis=1)
    return len(back) > 0 and float(np.mean(back)) > 0.5


def _common_edges(
    traces: Traces, points: Sequence[int], pattern: Sequence[int]
) -> tuple[np.ndarray | None, str]:
    """Edges of the stimulus in all sweeps together, and a remark."""
    whole = best_edges(traces, points, pattern)
    if len(pattern) > 3:
        return whole, ""
    varying = _varying_pulses(traces, whole)
    if varying:
        return varying[0], _unused(traces, varying[1:])
    if whole is None:
        return None, ""
    return _main_pulse(traces, _pulses(traces, points, whole))


def _pulses(traces: Traces, points: Sequence[int], edges: np.ndarray) -> list[np.ndarray]:
    """Return all pulses, in order of time, starting from the edges of the one that describes all sweeps best.

    That one may be two with a short pause, or the pause between two: pairs of edges are added as long as all sweeps
    together show them, wherever they lie.
    """
    near = traces.points(SAME)
    while len(edges) < 2 * MOST_PULSES:
        others = [point for point in points if np.abs(edges - point).min() > near]
        if len(others) < 2:
            break
        choices = np.array([np.sort(np.append(edges, pair)) for pair in combinations(others, 2)])
        gain = explained(traces, choices, _pattern(len(edges) // 2 + 1)).sum(axis=0)
        least = explained(traces, edges[None], _pattern(len(edges) // 2)).sum() + BETTER * len(traces.sizes)
        tried = [choice for choice in np.argsort(-gain, kind="stable")[:TRIED] if gain[choice] > least]
        moved = (_moved(traces, choices[choice]) for choice in tried)
        more = next((choice for choice in moved if _all_shown(traces, choice)), None)
        if more is None:
            break
        edges = more
    return list(edges.reshape(-1, 2))


def _all_shown(traces: Traces, edges: np.ndarray) -> bool:
    """Whether all sweeps together show every pulse, and enough of them by themselves."""
    if not _shown(traces, edges, closed=True):
        return False
    return all(np.mean(_seen(traces, pulse, edges) >= SURE) >= SEEN for pulse in edges.reshape(-1, 2))


def _pattern(pulses: int) -> list[int]:
    """Return the numbers of the levels of so many pulses in a row."""
    return [level for k in range(pulses) for level in (0, k + 1)] + [0]


def _unused(traces: Traces, pulses: Sequence[np.ndarray]) -> str:
    """Say which pulses are left aside; empty when there are none."""
    times = [f"{low:.5g} to {high:.5g} ms" for low, high in (edges * traces.step for edges in pulses)]
    if not times:
        return ""
    what = "a further step" if len(times) == 1 else "further steps"
    return f"the current has {what} at {', '.join(times)}, not used"


def _apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two pulses do not overlap."""
    return bool(first[1] <= second[0] or second[1] <= first[0])


def _varying_pulses(traces: Traces, whole: np.ndarray | None) -> list[np.ndarray]:
    """Return the pulses whose height differs between sweeps, in order of time; none where only `whole` may.

    A test pulse is the same in every sweep and may be the larger one.
    """
    if len(traces.sizes) < 3:
        return []
    varying = traces.varying()
    points = propose(varying, PROPOSED[2])
    edges = best_edges(varying, points, (0, 1, 0))
    if edges is None:
        return []
    pulses = _pulses(varying, points, edges)
    size = np.std(heights(varying, np.concatenate(pulses))[0][:, ::2], axis=0)
    pulses = [pulse for pulse, each in zip(pulses, size, strict=True) if each > DIFFERS * size.max()]
    if whole is None:
        return pulses
    if not all(_apart(pulse, whole) for pulse in pulses):
        gain = explained(traces, np.concatenate(pulses)[None], _pattern(len(pulses))).sum()
        return pulses if gain >= explained(traces, whole[None], (0, 1, 0)).sum() else []
    constant = np.median(np.abs(heights(traces, whole)[0][:, 0]))
    return pulses if size.max() > 0.05 * constant else []


def _main_pulse(traces: Traces, pulses: Sequence[np.ndarray]) -> tuple[np.ndarray, str]:
    """Tell the stimulus from test pulses when none of them differs between sweeps.

    A short hyperpolarising pulse at the start, before another one, is a test pulse; of the rest, the pulse of the
    largest charge is the stimulus, the first one where several are about as large.
    """
    height = [float(np.median(heights(traces, edges)[0][:, 0])) for edges in pulses]
    length = [float(edges[1] - edges[0]) * traces.step for edges in pulses]
    charge = [abs(h) * t for h, t in zip(height, length, strict=True)]
    test = height[0] < 0 and length[0] <= TEST_PULSE and pulses[0][1] * traces.step <= TEST_PULSE_END
    first = 1 if test and len(pulses) > 1 else 0
    if test and len(pulses) == 1 and pulses[0][1] < 0.25 * traces.values.shape[1]:
        return pulses[0], "it may be a test pulse: short, hyperpolarising, early, and the same in every sweep"
    large = AS_LARGE * max(charge[first:])
    main = next(k for k in range(first, len(pulses)) if charge[k] >= large)
    doubtful = [k for k in range(len(pulses)) if k != main and charge[k] > 0.3 * charge[main]]
    return pulses[main], _unused(traces, [pulses[k] for k in doubtful])


def _one_edge(traces: Traces, points: Sequence[int]) -> tuple[np.ndarray | None, str]:
    """Return a step that has no second edge: it lasts to the end, or the sweep starts in it."""
    count = traces.values.shape[1]
    edge = best_edges(traces, points, (0, 1))
    if edge is None:
        return None, ""
    before = np.median(traces.values[:, : edge[0]], axis=1)
    after = np.median(traces.values[:, edge[0] :], axis=1)
    if len(traces.sizes) >= 3 and before.std() > 3 * after.std() + TINY:
        return np.array([0, edge[0]]), "only the end of the step is seen: the sweep starts in it"
    return np.array([edge[0], count]), "only the start of the step is seen: it is taken to last to the end"


def _seen(traces: Traces, edges: np.ndarray, others: Sequence[int] | np.ndarray = ()) -> np.ndarray:
    """Strength, per sweep, of the weakest of the edges that lie inside the sweeps; `others` end the levels, too."""
    inner = edges[(edges > 0) & (edges < traces.values.shape[1])]
    places = np.union1d(inner, np.asarray(others, dtype=int))
    height, strength = (each[:, np.isin(places, inner)] for each in heights(traces, places))
    weakest = strength.min(axis=1)
    if len(inner) == 2:
        opposite = np.sign(height[:, 0]) == -np.sign(height[:, 1])
        similar = np.abs(height.sum(axis=1)) <= 0.5 * np.abs(height).max(axis=1)
        weakest[~(opposite & similar)] = 0
    return weakest


def _other_edges(traces: Traces, points: Sequence[int], common: np.ndarray | None) -> list[int]:
    """Return the points where many sweeps change their level, those of the stimulus apart."""
    if common is None:
        return []
    near = traces.points(SAME)
    others = [point for point in points if np.abs(common - point).min() > near]
    inner = common[(common > 0) & (common < traces.values.shape[1])]
    places = np.sort(np.concatenate((inner, np.array(others, dtype=int))))
    often = np.mean(heights(traces, places)[1] >= SURE, axis=0) >= SEEN
    return [point for point in others if often[places == point].any()]


def _own_edges(
    traces: Traces, row: int, pattern: Sequence[int], common: np.ndarray | None, known: Sequence[int]
) -> tuple[np.ndarray, float] | None:
    """Edges of one sweep that differ from those of the others, with their strength."""
    alone = traces.only(row)
    near = traces.points(SAME)
    points = [p for p in propose(alone, PROPOSED[len(pattern) - 1]) if all(abs(p - k) > near for k in known)]
    edges = best_edges(alone, points, pattern)
    if edges is None:
        return None
    new = edges if common is None else [edge for edge in edges if np.abs(common - edge).min() > near]
    strength = float(_seen(alone, edges)[0])
    if strength < SURE or any(abs(edge - k) <= near for edge in new for k in known):
        return None
    if common is not None:
        gain = explained(alone, np.stack((edges, np.minimum(common, alone.values.shape[1]))), pattern)[0]
        if strength < 8 or gain[0] < gain[1] + 0.7 or np.abs(edges - common).max() <= near:
            return None
    return edges, strength


def find_edges(sweeps: Sequence[Sweep], pattern: Sequence[int]) -> list[Edges]:
    """Find the edges of a stimulus of constant levels in each sweep of one protocol and cell.

    Parameters
    ----------
    sweeps : one or more
    pattern : number of the level of each segment, 0 = holding; (0, 1, 0) is a step

    Returns
    -------
    One entry a sweep, in their order.
    """
    traces = on_grid(sweeps)
    points = propose(traces, PROPOSED[len(pattern) - 1])
    common, remark = _common_edges(traces, points, pattern)
    known = _other_edges(traces, points, common)
    strength = np.zeros(len(sweeps)) if common is None else _seen(traces, common, known)
    own: dict[int, tuple[np.ndarray, float]] = {}
    if len(sweeps) > 1:
        for row in np.flatnonzero(strength < SURE).tolist():
            found = _own_edges(traces, row, pattern, common, known)
            if found is not None:
                own[row] = found
    if common is None and own:
        common, strength = _most_shared(own, strength, traces.points(SAME))
        own = {row: found for row, found in own.items() if strength[row] == 0}
    if common is None and len(pattern) == 3:
        common, remark = _one_edge(traces, points)
        strength = strength if common is None else _seen(traces, common)
    if common is None:
        return [Edges(None, reason="no stimulus found in any sweep of the protocol") for _ in sweeps]
    seen = strength >= SURE
    shared = int(seen.sum())
    together = certainty(float(np.sqrt(np.sum(np.minimum(strength, 50.0) ** 2))))
    together *= max(shared, 1) / (max(shared, 1) + len(own)) * (DOUBT if remark else 1.0)
    times = _exact_times(sweeps, traces, common, seen)
    group = _group_times(times, common, traces)
    result = []
    for row, sweep in enumerate(sweeps):
        start = int((own[row][0] if row in own else common)[0]) - traces.points(SAME)
        since = max((point for point in known if point < start), default=0) * traces.step
        if row in own:
            edges, own_strength = own[row]
            exact = _exact_times([sweep], traces.only(row), edges, np.array([True]))[0]
            own_times = np.where(np.isnan(exact), edges * traces.step, exact)
            text = "its times differ from those of the other sweeps"
            result.append(Edges(own_times, "detected", 0.7 * certainty(own_strength), text, since))
        elif seen[row]:
            exact = np.where(np.isnan(times[row]), group, times[row])
            confidence = certainty(float(strength[row])) * (DOUBT if remark else 1.0)
            result.append(Edges(exact, "detected", confidence, remark, since))
        else:
            text = f"no stimulus above its noise: times of the {shared} sweeps that show it"
            if not shared:
                text = "no stimulus above its noise: times seen in all sweeps together"
            text = f"{text}; {remark}" if remark else text
            result.append(Edges(group, "inherited", 0.8 * together, text, since))
    return result


def _most_shared(
    own: dict[int, tuple[np.ndarray, float]], strength: np.ndarray, near: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges that most sweeps agree on, and the strength of the sweeps that do."""
    best: list[int] = []
    for edges, _ in own.values():
        agree = [row for row, (other, _) in own.items() if np.abs(other - edges).max() <= near]
        best = agree if len(agree) > len(best) else best
    strength = strength.copy()
    for row in best:
        strength[row] = own[row][1]
    return np.median([own[row][0] for row in best], axis=0).astype(int), strength


def _exact_times(sweeps: Sequence[Sweep], traces: Traces, edges: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Give times to the sample where a sweep's own noise allows it, NaN elsewhere, (sweeps, edges) [ms]."""
    times = np.full((len(sweeps), len(edges)), np.nan)
    rough = edges * traces.step
    gaps = np.diff(np.concatenate(([0.0], rough, [traces.values.shape[1] * traces.step])))
    reach = np.minimum(1.5, 0.45 * np.minimum(gaps[:-1], gaps[1:]))
    for row in np.flatnonzero(seen).tolist():
        sweep = sweeps[row]
        current = finite_current(sweep.current)
        for k, edge in enumerate(edges):
            if edge >= traces.values.shape[1]:
                times[row, k] = sweep.duration
            elif edge <= 0:
                times[row, k] = 0.0
            else:
                time = fine_time(current, sweep.dt, rough[k], max(reach[k], 2.5 * sweep.dt))
                times[row, k] = np.nan if time is None else time
    return times


def _group_times(times: np.ndarray, common: np.ndarray, traces: Traces) -> np.ndarray:
    """Give times for sweeps without an own one: the middle of the exact ones, else the common grid points [ms]."""
    group = common * traces.step
    for k in range(len(common)):
        exact = times[~np.isnan(times[:, k]), k]
        if len(exact):
            group[k] = np.sort(exact)[len(exact) // 2]
    return group
