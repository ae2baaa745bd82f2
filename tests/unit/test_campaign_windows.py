"""Trials of windows."""

import numpy as np

from ephysflow.campaign.windows import static_trials, step_offsets


def window(**settings):
    given = {
        "bounds": [0.0, 10.0],
        "initial_offset": 0.0,
        "t_step": 0.0,
        "n_trials": 0,
        "trial_steps_value": 0.0,
        "trial_steps_list": [],
        "window_type": "",
    }
    return given | settings


def test_trials_keep_the_order_of_the_file():
    trials = static_trials(
        {
            "w2": window(bounds=[10, 70], initial_offset=10, n_trials=3, trial_steps_value=10),
            "w1": window(bounds=[-5, 90], window_type="spontaneous", t_step=0.5),
        },
        {},
    )
    assert {name: values.tolist() for name, values in trials.items()} == {
        "window": ["w2", "w2", "w2", "w1"],
        "trial": [0, 1, 2, 0],
        "offset": [10.0, 20.0, 30.0, 0.0],
        "t_start": [10.0, 10.0, 10.0, -5.0],
        "t_stop": [70.0, 70.0, 70.0, 90.0],
        "t_step": [0.0, 0.0, 0.0, 0.5],
        "duration": [60.0, 60.0, 60.0, 95.0],
        "window_type": ["", "", "", "spontaneous"],
    }
    assert trials["trial"].dtype == np.int32
    assert trials["offset"].dtype == np.float64


def test_a_dynamic_offset_moves_all_trials_of_its_window():
    windows = {"a": window(trial_steps_list=[0.0, 7.5], initial_offset=5.0), "b": window()}
    trials = static_trials(windows, {"a": 1.25})
    assert trials["offset"].tolist() == [6.25, 13.75, 0.0]


def test_without_windows_there_are_no_trials():
    assert {name: len(values) for name, values in static_trials({}, {}).items()}["offset"] == 0


def test_a_list_of_steps_counts_more_than_a_number_of_trials():
    assert step_offsets(window(trial_steps_list=[0, 3, 1])) == [0, 3, 1]
    assert step_offsets(window(n_trials=2, trial_steps_value=4)) == [0, 4]
    assert step_offsets(window()) == [0]
