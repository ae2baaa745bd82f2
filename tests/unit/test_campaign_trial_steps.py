"""Offsets that a function finds in the spikes."""

import numpy as np
import pytest

from ephysflow.campaign.trial_steps import dynamic_offset, trial_step_gids
from ephysflow.errors import SimulationError

STEP = {"label": "ts1", "function": "mine.onset", "bounds": [-1.0, 2.0], "extra": {"a": 1}}
WINDOW = {
    "bounds": [0, 1],
    "initial_offset": 10.0,
    "n_trials": 2,
    "trial_steps_value": 5.0,
    "trial_steps_list": [],
    "trial_step": STEP,
}
SPIKES = (np.array([1, 2, 1, 3, 2, 1]), np.array([9.0, 12.0, 12.5, 14.5, 17.0, 10.0]))


def test_the_function_sees_the_spikes_of_each_trial_with_both_bounds():
    seen = []

    def function(times, params):
        seen.extend(times)
        assert params == STEP
        params["extra"]["a"] = 2  # a copy: the settings stay
        return np.float64(1.5)

    assert dynamic_offset(WINDOW, SPIKES, np.array([1, 2]), function) == 1.5
    assert [times.tolist() for times in seen] == [[-1.0, 2.0, 0.0], [2.0]]
    assert STEP["extra"] == {"a": 1}


@pytest.mark.parametrize("returned", [None, "3", np.nan, np.inf, True, np.array([1.0]), (1,)])
def test_anything_else_than_a_finite_number_is_refused(returned):
    with pytest.raises(
        SimulationError, match="trial step ts1: function mine.onset: must return a finite number"
    ):
        dynamic_offset(WINDOW, SPIKES, np.array([1]), lambda times, params: returned)


def test_what_the_function_raises_is_told():
    def function(times, params):
        raise ZeroDivisionError("no spikes")

    with pytest.raises(SimulationError, match="ts1: function mine.onset: ZeroDivisionError: no spikes"):
        dynamic_offset(WINDOW, SPIKES, np.array([1]), function)


def test_neurons_are_drawn_by_seed_and_label():
    class Nodes:
        name, size, property_names = "cells", 100, ()

    def gids(seed, **settings):
        step = {**STEP, "population": "cells", **settings}
        return trial_step_gids(step, lambda name: Nodes(), lambda *_: np.arange(50), seed).tolist()

    assert gids(0) == list(range(100))
    assert gids(0, node_set="half") == list(range(50))
    drawn = gids(0, limit=10)
    assert len(drawn) == 10
    assert drawn == sorted(drawn) == gids(0, limit=10)
    assert drawn != gids(1, limit=10)
    assert drawn != gids(0, limit=10, label="ts2")
