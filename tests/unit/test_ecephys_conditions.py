"""Conditions, epochs and gaps of presentations."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ephysflow.ecephys.conditions import parameter_values, stimulus_conditions, stimulus_table
from ephysflow.ecephys.presentations import INVALID, assemble
from ephysflow.ecephys.stimulus_epochs import EPOCH_SCHEMA, inter_presentation_intervals, stimulus_epochs
from ephysflow.errors import ConfigurationError


def table(invalid: Any = (), **columns: Any) -> pa.Table:
    arrays = {
        name: np.array(values, dtype=object if isinstance(values[0], str) else float)
        for name, values in columns.items()
    }
    return assemble([arrays], np.array(invalid, dtype=float).reshape(-1, 2), "file")


@pytest.fixture
def presentations() -> pa.Table:
    nan = np.nan
    return table(
        start_time=[0, 100, 101, 102, 110, 120, 130],
        stop_time=[100, 101, 102, 103, 120, 121, 131],
        stimulus_name=["", "gratings", "gratings", "gratings", "", "flashes", "flashes"],
        stimulus_block=[nan, 0, 0, 0, nan, 1, 1],
        orientation=[nan, 90, 45, 90, nan, nan, nan],
        color=["", "", "", "", "", "1.0", "-1.0"],
        trials_id=[0, 1, 2, 3, 4, 5, 6],
    )


def test_conditions_hold_the_parameters(presentations):
    assert stimulus_conditions(presentations).to_pydict() == {
        "stimulus_condition_id": [0, 1, 2, 3, 4],
        "stimulus_name": ["spontaneous", "gratings", "gratings", "flashes", "flashes"],
        "color": [None, None, None, 1.0, -1.0],
        "orientation": [None, 90.0, 45.0, None, None],
    }


def test_conditions_of_some_presentations_keep_their_ids(presentations):
    found = stimulus_conditions(stimulus_table(presentations, "flashes"))
    assert found.to_pydict() == {
        "stimulus_condition_id": [3, 4], "stimulus_name": ["flashes", "flashes"], "color": [1.0, -1.0],
    }  # fmt: skip


def test_a_condition_of_invalid_presentations_alone_is_left_out():
    found = table(
        [[1.2, 1.3]], start_time=[0, 1.1, 3], stop_time=[1, 2, 4], stimulus_name=["a"] * 3, p=[1, 2, 3]
    )
    assert stimulus_conditions(found).column("stimulus_condition_id").to_pylist() == [0, 2]


def test_stimulus_table_has_the_columns_that_apply(presentations):
    found = stimulus_table(presentations, ["gratings"])
    assert found.column("stimulus_presentation_id").to_pylist() == [1, 2, 3]
    assert "orientation" in found.column_names
    assert "color" not in found.column_names
    assert stimulus_table(presentations, ["flashes", "gratings"]).num_rows == 5


def test_unknown_stimuli_are_named_with_the_known(presentations):
    with pytest.raises(ConfigurationError, match="'gabors' is not among .*: flashes, gratings, spontaneous"):
        stimulus_table(presentations, ["flashes", "gabors"])
    with pytest.raises(ConfigurationError, match="no stimulus is named"):
        stimulus_table(presentations, [])


def test_parameter_values(presentations):
    assert parameter_values(presentations) == {"orientation": [45.0, 90.0], "color": [-1.0, 1.0]}
    assert parameter_values(presentations, "flashes") == {"color": [-1.0, 1.0]}
    assert parameter_values(presentations, ["spontaneous"]) == {}


def test_epochs_are_runs_of_a_block(presentations):
    assert stimulus_epochs(presentations).to_pydict() == {
        "start_time": [0.0, 100.0, 110.0, 120.0],
        "stop_time": [100.0, 103.0, 120.0, 131.0],
        "duration": [100.0, 3.0, 10.0, 11.0],
        "stimulus_name": ["spontaneous", "gratings", "spontaneous", "flashes"],
        "stimulus_block": [None, 0, None, 1],
        "stimulus_presentation_count": [1, 3, 1, 2],
    }


def test_short_spontaneous_epochs_may_be_left_out(presentations):
    found = stimulus_epochs(presentations, minimum_spontaneous_duration=90.0)
    assert found.column("start_time").to_pylist() == [0.0, 100.0, 120.0]


def test_an_invalid_presentation_is_an_epoch_of_its_own():
    found = table(
        [[1.2, 1.3]],
        start_time=[0, 1.1, 3],
        stop_time=[1, 2, 4],
        stimulus_name=["a"] * 3,
        stimulus_block=[0] * 3,
    )
    assert stimulus_epochs(found).column("stimulus_name").to_pylist() == ["a", INVALID, "a"]


def test_an_epoch_ends_with_its_latest_stop():
    found = table(start_time=[0, 1], stop_time=[10, 2], stimulus_name=["a"] * 2, stimulus_block=[0, 0])
    assert stimulus_epochs(found).column("stop_time").to_pylist() == [10.0]


def test_gaps_between_presentations(presentations):
    assert inter_presentation_intervals(stimulus_table(presentations, "flashes")).to_pydict() == {
        "from_presentation_id": [5],
        "to_presentation_id": [6],
        "interval": [9.0],
    }
    assert inter_presentation_intervals(presentations).column("interval").to_pylist() == [0, 0, 0, 7, 0, 9]


def test_no_presentations():
    nothing = assemble([], np.empty((0, 2)), "file")
    assert stimulus_conditions(nothing).num_rows == 0
    assert stimulus_epochs(nothing).schema == EPOCH_SCHEMA
    assert stimulus_epochs(nothing).num_rows == 0
    assert inter_presentation_intervals(nothing).num_rows == 0
    assert parameter_values(nothing) == {}
