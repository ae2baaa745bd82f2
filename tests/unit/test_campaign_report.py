"""Rows of a report, against loops over neurons and trials."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.campaign import report as module
from ephysflow.campaign.report import (
    report_from_counts,
    select,
    spike_rows,
    trace_rows,
    uncovered_windows,
)
from ephysflow.errors import SimulationError


def neurons_of(classes):
    labels = sorted(classes)
    return {
        "neuron_class": np.repeat(np.array(labels, dtype=np.str_), [len(classes[k]) for k in labels]),
        "gid": np.array([gid for k in labels for gid in sorted(classes[k])], dtype=np.int64),
    }


def trials_of(*rows, t_step=0.0):
    """(window, trial, offset, t_start, t_stop) a row."""
    names = ("window", "trial", "offset", "t_start", "t_stop")
    columns = {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    floats = {name: columns[name].astype(float) for name in names[2:]}
    return {**columns, **floats, "t_step": np.full(len(rows), t_step)}


def flat(report):
    """Rows as ``{(class, gid, window, trial): values}`` in order, silent ones included."""
    found = {}
    for k, (n, t) in enumerate(zip(report.neuron, report.trial, strict=True)):
        key = (
            str(report.neurons["neuron_class"][n]),
            int(report.neurons["gid"][n]),
            str(report.trials["window"][t]),
            int(report.trials["trial"][t]),
        )
        found[key] = report.rows["time"][report.offsets[k] : report.offsets[k + 1]].tolist()
    return found


def expected(spikes, neurons, populations, trials):
    rows = {}
    for n in range(len(neurons["gid"])):
        label = str(neurons["neuron_class"][n])
        gid, time = spikes[populations[label]]
        for t in range(len(trials["trial"])):
            offset, start, stop = (trials[name][t] for name in ("offset", "t_start", "t_stop"))
            within = (time >= offset + start) & (time < offset + stop) & (gid == neurons["gid"][n])
            key = (label, int(neurons["gid"][n]), str(trials["window"][t]), int(trials["trial"][t]))
            rows[key] = sorted((time[within] - offset).tolist())
    return rows


CLASSES = {"b": {0, 3, 5}, "a": {1, 3}, "other": {0, 7}, "c": set()}
POPULATIONS = {"a": "p", "b": "p", "c": "p", "other": "q"}
TRIALS = trials_of(
    ("w2", 0, 10, 0, 8), ("w2", 1, 14, 0, 8), ("w10", 0, 0, -2, 5), ("w2", 2, 30, 0, 8), ("x", 0, 2, 0, 1)
)

spike_trains = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 160)), max_size=60)


@given(p=spike_trains, q=spike_trains, in_order=st.booleans())
@settings(max_examples=60, deadline=None)
def test_spikes_are_where_a_loop_puts_them(p, q, in_order):
    spikes = {}
    for name, train in (("p", p), ("q", q)):
        train = sorted(train, key=lambda spike: spike[1]) if in_order else train
        pairs = np.array(train, dtype=np.int64).reshape(-1, 2)
        spikes[name] = (pairs[:, 0], pairs[:, 1] / 4)
    neurons = neurons_of(CLASSES)
    report, _ = spike_rows(spikes, neurons, POPULATIONS, TRIALS)
    rows = expected(spikes, neurons, POPULATIONS, TRIALS)
    assert flat(report) == rows
    # sorted by class, window, trial and gid, and every pair is there
    assert list(flat(report)) == sorted(rows, key=lambda key: (key[0], key[2], key[3], key[1]))
    assert report.offsets[-1] == len(report.rows["time"])

    same = stored_and_read(report, neurons)
    assert flat(same) == rows
    np.testing.assert_array_equal(same.offsets, report.offsets)

    part = select(report, ["b", "other"], ["w2", "x"])
    kept = {key: rows[key] for key in flat(report) if key[0] in ("b", "other") and key[2] in ("w2", "x")}
    assert list(flat(part).items()) == list(kept.items())


def stored_and_read(report, neurons):
    return report_from_counts(neurons, TRIALS, np.diff(report.offsets), report.rows)


def some_report():
    rng = np.random.default_rng(1)
    spikes = (rng.integers(0, 9, 300), np.sort(rng.uniform(0, 40, 300)))
    neurons = neurons_of(CLASSES)
    return spike_rows({"p": spikes, "q": spikes}, neurons, POPULATIONS, TRIALS)[0], neurons


def test_large_ids_and_many_neurons_take_the_other_paths(monkeypatch):
    report, _ = some_report()
    monkeypatch.setattr(module, "LOOKUP_SIZE", 2)
    by_bisection, _ = some_report()
    monkeypatch.setattr(module, "_row_type", lambda n: np.uint32)
    by_two_passes, _ = some_report()
    assert flat(report) == flat(by_bisection) == flat(by_two_passes)


def test_rows_beyond_65536_neurons_are_sorted():
    gid = np.array([70_000, 3, 70_000, 65_536, 3])
    neurons = neurons_of({"a": range(70_001)})
    report, _ = spike_rows({"p": (gid, np.arange(5.0))}, neurons, {"a": "p"}, trials_of(("w", 0, 0, 0, 10)))
    assert report.rows["time"].tolist() == [1, 4, 3, 0, 2]
    assert np.flatnonzero(np.diff(report.offsets)).tolist() == [3, 65_536, 70_000]


def test_a_time_that_rounds_out_of_its_trial_is_put_back():
    # 0.7 + 0.1 is below 0.8, and 0.8 - 0.7 is above 0.1
    offset, start = 0.7, 0.1
    first = offset + start
    assert first - offset < start
    last = np.nextafter(offset + 0.2, 0)
    report, _ = spike_rows(
        {"p": (np.array([0, 0]), np.array([first, last]))},
        neurons_of({"a": [0]}),
        {"a": "p"},
        trials_of(("w", 0, offset, start, 0.2)),
    )
    assert report.rows["time"].min() == start
    assert report.rows["time"].max() < 0.2


def test_no_spikes_and_unknown_nodes_are_told():
    neurons, trials = neurons_of({"a": [0]}), trials_of(("w", 0, 0, 0, 10))
    none = (np.empty(0, np.int64), np.empty(0))
    report, findings = spike_rows({"p": none}, neurons, {"a": "p"}, trials, {"p": 5})
    assert report.offsets.tolist() == [0, 0]
    assert findings == [("spikes", "no neuron of any class has a spike in any window")]
    spikes = (np.array([0, 5, 9]), np.array([1.0, 2.0, 3.0]))
    report, findings = spike_rows({"p": spikes}, neurons, {"a": "p"}, trials, {"p": 5})
    assert report.rows["time"].tolist() == [1.0]
    assert findings == [
        (
            "population p",
            "2 of 3 spikes are of nodes that are not there (5 nodes), the first is 5; they are ignored",
        )
    ]


def test_no_neurons_and_no_trials_give_no_observations():
    spikes = {"p": (np.array([1]), np.array([1.0]))}
    report, _ = spike_rows(spikes, neurons_of({}), {}, TRIALS)
    assert report.offsets.tolist() == [0]
    assert len(report.neuron) == 0
    no_trials = {name: values[:0] for name, values in TRIALS.items()}
    report, _ = spike_rows(spikes, neurons_of({"a": [1]}), {"a": "p"}, no_trials)
    assert report.offsets.tolist() == [0]
    assert len(report.trial) == 0


def test_windows_outside_the_simulation_are_told():
    trials = trials_of(("w", 0, 0, -1, 10), ("w", 1, 90, 0, 10), ("w", 2, 95, 0, 10))
    assert [subject for subject, _ in uncovered_windows(trials, 100.0)] == [
        "window w, trial 0",
        "window w, trial 2",
    ]
    assert [subject for subject, _ in uncovered_windows(trials, None)] == ["window w, trial 0"]


def test_rows_that_do_not_belong_to_the_neurons_and_windows():
    report, neurons = some_report()
    counts = np.diff(report.offsets)
    with pytest.raises(ValueError, match="observations, but there are"):
        report_from_counts(neurons, TRIALS, counts[1:], report.rows)
    with pytest.raises(ValueError, match="rows, but the observations have"):
        report_from_counts(neurons, TRIALS, counts, {"time": report.rows["time"][1:]})


def test_selecting_nothing_by_name_keeps_everything():
    report, _ = some_report()
    assert select(report, [], []) is report
    assert select(report, ["c"], []).offsets.tolist() == [0]


class Grid:
    """A report of nodes 0 to 4, two elements each; element e of node n has the value 100 n + 10 e + frame."""

    path, start, n_frames = "grid.h5", 0.0, 21

    def __init__(self, step=0.5, elements=2):
        self.step, self.elements = step, elements
        self.stop = self.start + self.n_frames * step

    def columns_of(self, gids):
        gids = np.asarray(gids)[np.asarray(gids) < 5]
        # the file has the later section first
        section = np.tile(np.arange(self.elements)[::-1], len(gids))
        node = np.repeat(gids, self.elements)
        return node * self.elements + (self.elements - 1 - section), node, section

    def read(self, first, last, stride, columns):
        node, section = columns // self.elements, self.elements - 1 - columns % self.elements
        frame = np.arange(first, last, stride)
        return (100 * node + 10 * section + frame[:, None]).astype(np.float32)


def traces(classes, trials, kind="compartment", **grid):
    opened = nullcontext(Grid(**grid))
    return trace_rows(lambda name: opened, neurons_of(classes), dict.fromkeys(classes, "p"), trials, kind)


def test_frames_of_both_bounds_are_taken_by_section_and_time():
    report, findings = traces({"b": [1, 4], "a": [1]}, trials_of(("w", 0, 1, 0, 1), ("v", 0, 0, 2, 2.4)))
    assert findings == []
    # class a: v, w; class b: v (gids 1, 4), w (gids 1, 4)
    assert np.diff(report.offsets).tolist() == [2, 6, 2, 2, 6, 6]
    assert report.rows["section"][2:8].tolist() == [0, 0, 0, 1, 1, 1]
    assert report.rows["time"][2:8].tolist() == [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]
    assert report.rows["value"][2:8].tolist() == [102, 103, 104, 112, 113, 114]
    assert report.rows["value"][-6:].tolist() == [402, 403, 404, 412, 413, 414]
    assert report.rows["value"][10:12].tolist() == [404, 414]
    assert report.rows["value"].dtype == np.float32


@pytest.mark.parametrize(
    ("t_step", "used", "told"), [(1.0, 1.0, False), (1.2, 1.0, True), (0.4, 0.5, True), (0.1, 0.5, True)]
)
def test_t_step_becomes_a_multiple_of_the_grid(t_step, used, told):
    report, findings = traces({"a": [1]}, trials_of(("w", 0, 0, 0, 3), t_step=t_step), "soma", elements=1)
    assert np.diff(report.rows["time"]).tolist() == [used] * int(3 / used)
    assert bool(findings) is told
    assert "section" not in report.rows
    if told:
        assert findings[0][0] == "window w"
        assert f"{t_step:g} ms is not a multiple" in findings[0][1]


def test_a_grid_that_is_stored_rounded_still_has_its_bounds():
    step = float(np.float32(0.1))
    report, findings = traces({"a": [1]}, trials_of(("w", 0, 0.3, 0.4, 1.5)), "soma", elements=1, step=step)
    np.testing.assert_allclose(report.rows["time"], np.arange(4, 16) / 10, atol=1e-6)
    assert findings == []


@pytest.mark.parametrize(
    ("bounds", "frames"), [((-2, 1), (0, 3)), ((9, 30), (18, 21)), ((40, 50), (0, 0)), ((-9, -8), (0, 0))]
)
def test_a_window_that_the_report_does_not_cover_is_told(bounds, frames):
    report, findings = traces({"a": [1]}, trials_of(("w", 0, 0, *bounds)), "soma", elements=1)
    assert report.rows["value"].tolist() == [100 + frame for frame in range(*frames)]
    assert findings[0][0] == "window w, trial 0"
    assert "the report from 0 to 10.5 ms" in findings[0][1]


def test_each_class_is_read_from_the_report_of_its_population():
    grids = {"p": Grid(step=0.5), "q": Grid(step=1.0, elements=1)}
    report, findings = trace_rows(
        lambda name: nullcontext(grids[name]),
        neurons_of({"a": [1], "b": [0, 2], "c": [3]}),
        {"a": "q", "b": "p", "c": "q"},
        trials_of(("w", 0, 0, 0, 1), ("w", 1, 2, 0, 1)),
        "compartment",
    )
    assert np.diff(report.offsets).tolist() == [2, 2, 6, 6, 6, 6, 2, 2]
    assert report.rows["value"][:4].tolist() == [100, 101, 102, 103]
    assert report.rows["value"][-4:].tolist() == [300, 301, 302, 303]
    assert report.rows["value"][10:16].tolist() == [200, 201, 202, 210, 211, 212]
    assert findings == []


def test_neurons_that_the_report_does_not_have_are_silent_and_told():
    report, findings = traces({"a": [1, 8, 9]}, trials_of(("w", 0, 0, 0, 1)))
    assert np.diff(report.offsets).tolist() == [6, 0, 0]
    assert findings == [("neuron class a", "2 of 3 neurons are not in the report")]


def test_a_report_of_many_elements_is_no_soma_report():
    with pytest.raises(SimulationError, match="node 1 has 2 elements"):
        traces({"a": [1]}, trials_of(("w", 0, 0, 0, 1)), "soma")


def test_more_rows_than_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_TRACE_ROWS", 5)
    with pytest.raises(SimulationError, match="6 values are asked for; at most 5"):
        traces({"a": [1]}, trials_of(("w", 0, 0, 0, 1)))


def test_more_observations_than_fit_in_memory_are_refused(monkeypatch):
    """Neither spikes nor a report are read for them."""
    neurons, trials = neurons_of({"a": {1, 2, 3}}), trials_of(("w", 0, 0, 0, 1), ("w", 1, 5, 0, 1))
    none = (np.empty(0, np.int64), np.empty(0))
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 6)
    report, _ = spike_rows({"p": none}, neurons, {"a": "p"}, trials)
    assert len(report.neuron) == 6
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 5)
    message = r"3 neurons in 2 trials are 6 observations; at most 5 are allowed: use fewer neurons \(limit\)"
    with pytest.raises(SimulationError, match=message):
        spike_rows({"p": none}, neurons, {"a": "p"}, trials)
    with pytest.raises(SimulationError, match=message):
        trace_rows(pytest.fail, neurons, {"a": "p"}, trials, "soma")
