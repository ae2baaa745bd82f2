"""Grouping: which sweeps belong to a target, and what their mean, standard deviation and stimulus are."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.efeatures.auto_targets import AutoTarget, choose
from ephysflow.efeatures.grouping import amplitudes_by_protocol, group_each_cell, group_features
from ephysflow.efeatures.targets import Target, parse_targets
from ephysflow.errors import ConfigurationError, ResultError

STEP = SimpleNamespace(
    matched_by="amp",
    exported=("ton", "toff", "tend", "amp", "hypamp", "dt", "amp_rel", "hypamp_rel"),
    step=lambda p: {"delay": p["ton"], "amp": p["amp"], "thresh_perc": p["amp_rel"]},
)
SAHP = SimpleNamespace(
    matched_by="amp2",
    exported=("tend", "amp", "amp2", "hypamp", "amp_rel", "amp2_rel"),
    step=lambda p: {"amp": p["amp2"], "long_amp": p["amp"], "thresh_perc": p["amp2_rel"]},
)
PULSES = SimpleNamespace(
    matched_by="delta",
    exported=("tend", "amp", "hypamp", "amp_rel", "tspike", "n_spikes", "delta"),
    step=lambda p: {"delay": p["tspike"][0], "n_spikes": p["n_spikes"], "delta": p["delta"]},
)
STIMULI = {"Step": STEP, "SAHP": SAHP, "SpikeRec": PULSES}
SETTINGS = {"Threshold": -20.0}


def sweep(cell: str, amp: float, number: int = 0, **others: Any) -> dict[str, Any]:
    ecode = others.get("ecode", "Step")
    return {
        "cell": cell,
        "protocol": "IDrest",
        "ecode": ecode,
        "matched_by": STIMULI[ecode].matched_by,
        "sweep": number,
        "files": [f"{cell}_{number}_i", f"{cell}_{number}_v"],
        "dt": 0.25,
        "ton": 700.0,
        "toff": 2700.0,
        "tend": 3000.0,
        "amp": amp,
        "hypamp": -0.05,
        "amp2": None,
        "delta": None,
        "tspike": None,
        "n_spikes": None,
    } | others


def value(cell: str, value: float, number: int = 0, **others: Any) -> dict[str, Any]:
    return {
        "cell": cell,
        "protocol": "IDrest",
        "sweep": number,
        "efeature": "Spikecount",
        "settings": '{"Threshold":-20.0}',
        "value": value,
        "auto_threshold_used": None,
    } | others


def group(
    sweeps: list[dict], values: list[dict], rheobase: dict, targets: list[Target], **options: Any
) -> Any:
    defaults: dict[str, Any] = {"efel_settings": SETTINGS, "stimuli": STIMULI}
    columns = [*("cell", "protocol", "sweep", "efeature", "settings", "value", "auto_threshold_used")]
    features = pd.DataFrame(values, columns=columns)
    return group_features(pd.DataFrame(sweeps), features, rheobase, targets, **(defaults | options))


def target(amplitude: float = 150, tolerance: float = 10.0, **others: Any) -> Target:
    given: dict[str, Any] = {"efeature": "Spikecount", "protocol": "IDrest"} | others
    return Target(amplitude=amplitude, tolerance=tolerance, **given)


TWO_CELLS = [sweep("A", 0.15), sweep("A", 0.16, 1), sweep("B", 0.30), sweep("C", 0.15)]
TWO_CELL_VALUES = [value("A", 4), value("A", 6, 1), value("B", 8), value("C", 100)]
RHEOBASE = {"A": 0.1, "B": 0.2, "C": None}


def test_values_of_all_cells_are_pooled_relative_to_their_own_rheobase() -> None:
    grouped = group(TWO_CELLS, TWO_CELL_VALUES, RHEOBASE, [target(tolerance=10.1)])
    row = grouped.targets.iloc[0]
    # 150 and 160 percent of cell A, 150 percent of cell B; cell C has no rheobase
    assert row["values"] == [4, 6, 8]
    assert row["cells"] == ["A", "A", "B"]
    assert row["files"] == ["A_0_i;A_0_v", "A_1_i;A_1_v", "B_0_i;B_0_v"]
    assert (row["n"], row["mean"]) == (3, 6.0)
    assert row["std"] == pytest.approx(np.sqrt(8 / 3), rel=1e-12)


def test_tolerance_is_strict() -> None:
    sweeps = [sweep("A", 0.5), sweep("A", 0.75, 1)]
    grouped = group(sweeps, [value("A", 1), value("A", 2, 1)], {"A": 0.5}, [target(100, 50.0)])
    assert grouped.targets["values"].iloc[0] == [1]


def test_each_target_has_its_own_tolerance() -> None:
    """Defect 29: the tolerance of the first target of a stimulus served all of them."""
    targets = [target(tolerance=5.0), target(tolerance=15.0, efeature="ISI_CV")]
    values = [value("A", 4), value("A", 6, 1)]
    values += [v | {"efeature": "ISI_CV"} for v in values]
    grouped = group(TWO_CELLS[:2], values, {"A": 0.1}, targets)
    assert list(grouped.targets["n"]) == [1, 2]


def test_two_settings_of_one_feature_stay_apart() -> None:
    """Defect 4: values had the name of the feature only, and the last settings overwrote the first."""
    early = {"efel_settings": {"stim_end": 1200}}
    values = [value("A", 72), value("A", 19, settings='{"Threshold":-20.0,"stim_end":1200}')]
    grouped = group([sweep("A", 0.15)], values, {"A": 0.1}, [target(), target(**early)])
    assert list(grouped.targets["mean"]) == [72, 19]
    assert list(grouped.targets["settings"]) == [SETTINGS, SETTINGS | {"stim_end": 1200}]


def test_absolute_amplitudes_need_no_rheobase() -> None:
    grouped = group(TWO_CELLS, TWO_CELL_VALUES, {}, [target(0.15, 0.005)], absolute_amplitude=True)
    assert grouped.targets["cells"].iloc[0] == ["A", "C"]
    assert grouped.stimuli["IDrest_0.15"].step == {"delay": 700.0, "amp": 0.15, "thresh_perc": None}


def test_stimulus_is_relative_amplitude_times_mean_rheobase() -> None:
    grouped = group(TWO_CELLS, TWO_CELL_VALUES, RHEOBASE, [target(tolerance=20.0)])
    parameters = grouped.stimuli["IDrest_150"].parameters
    assert parameters["amp_rel"] == pytest.approx((150 + 160 + 150) / 3, rel=1e-12)
    assert parameters["amp"] == pytest.approx((150 + 160 + 150) / 3 / 100 * 0.15, rel=1e-12)
    assert parameters["hypamp"] == pytest.approx(-0.05, rel=1e-12)
    own = group(TWO_CELLS, TWO_CELL_VALUES, RHEOBASE, [target(tolerance=20.0)], global_rheobase=False)
    assert own.stimuli["IDrest_150"].parameters["amp"] == pytest.approx((0.15 + 0.16 + 0.30) / 3, rel=1e-12)


@pytest.mark.parametrize(("mode", "expected"), [("mean", 158), ("median", 155), ("min", 150), ("max", 172)])
def test_protocol_modes(mode: str, expected: float) -> None:
    sweeps = [sweep("A", amp, k) for k, amp in enumerate((0.15, 0.152, 0.158, 0.172))]
    values = [value("A", 1, k) for k in range(4)]
    grouped = group(sweeps, values, {"A": 0.1}, [target(tolerance=30.0)], protocol_mode=mode)
    assert grouped.stimuli["IDrest_150"].parameters["amp_rel"] == pytest.approx(expected, rel=1e-12)


def test_pooling_by_cell_gives_each_cell_one_value() -> None:
    """Defect 31: a cell with more sweeps weighs more."""
    grouped = group(TWO_CELLS, TWO_CELL_VALUES, RHEOBASE, [target(tolerance=20.0)], pooling="cells")
    row = grouped.targets.iloc[0]
    assert (row["values"], row["cells"], row["n"]) == ([5, 8], ["A", "B"], 2)
    assert (row["mean"], row["std"]) == (6.5, 1.5)


def test_default_std_replaces_zero_and_is_marked() -> None:
    sweeps = [sweep("A", 0.15, k) for k in range(3)]
    same, one = group(
        sweeps,
        [value("A", 0.1, k) for k in range(3)] + [value("A", 7, 0, efeature="ISI_CV")],
        {"A": 0.1},
        [target(), target(efeature="ISI_CV")],
        default_std_value=0.05,
    ).targets.to_dict("records")
    assert (same["n"], same["mean"], same["std"], same["default_std"]) == (3, 0.1, 0.05, True)
    assert (one["n"], one["std"], one["default_std"]) == (1, 0.05, True)


def test_values_not_computed_do_not_count() -> None:
    values = [value("A", np.nan), value("A", 6, 1)]
    targets = [target(tolerance=20.0), target(300), target(efeature="absent", tolerance=20.0)]
    grouped = group(TWO_CELLS[:2], values, {"A": 0.1}, targets)
    assert list(grouped.targets["n"]) == [1, 0, 0]
    assert list(grouped.targets["n_sweeps"]) == [2, 0, 2]
    assert list(grouped.targets["kept"]) == [True, False, False]
    assert np.isnan(grouped.targets["mean"].iloc[1])
    assert list(grouped.stimuli) == ["IDrest_150"]
    assert not group(TWO_CELLS, values, {"A": 0.1}, targets, threshold_nvalue_save=2).targets["kept"].any()


def test_automatic_threshold_is_the_median_of_the_sweeps_with_a_value() -> None:
    rows = [
        value("A", v, k, settings="{}", auto_threshold_used=-40.0 + k)
        for k, v in enumerate((1, 2, np.nan, 4))
    ]
    sweeps = [sweep("A", 0.15, k) for k in range(4)]
    grouped = group(sweeps, rows, {"A": 0.1}, [target()], efel_settings={})
    assert grouped.targets["settings"].iloc[0] == {"Threshold": -39.0}


def test_second_step_is_matched_for_sahp() -> None:
    sweeps = [sweep("A", 0.05, ecode="SAHP", amp2=0.15)]
    grouped = group(sweeps, [value("A", 1)], {"A": 0.1}, [target()])
    step = grouped.stimuli["IDrest_150"].step
    assert step == pytest.approx({"amp": 0.15, "long_amp": 0.05, "thresh_perc": 150.0}, rel=1e-12)


def test_gaps_are_matched_for_pulses_and_lists_come_from_the_first_sweep() -> None:
    sweeps = [
        sweep("A", 1.5, k, ecode="SpikeRec", delta=delta, tspike=np.array(times), n_spikes=len(times))
        for k, (delta, times) in enumerate(
            [(11.0, [30.0, 45.0]), (12.0, [31.0, 47.0, 63.0]), (np.nan, [30.0])]
        )
    ]
    grouped = group(sweeps, [value("A", 1, k) for k in range(3)], {"A": 0.1}, [target(10, 5.0)])
    assert grouped.targets["n"].iloc[0] == 2
    assert grouped.stimuli["IDrest_10"].step == {"delay": 30.0, "n_spikes": 2, "delta": 11.5}


def test_150_and_150_0_are_one_stimulus() -> None:
    targets = parse_targets(
        [
            {"efeature": name, "protocol": "IDrest", "amplitude": amplitude, "tolerance": 5}
            for name, amplitude in (("Spikecount", 150), ("ISI_CV", 150.0))
        ]
    )
    values = [value("A", 1), value("A", 2, efeature="ISI_CV")]
    grouped = group([sweep("A", 0.15)], values, {"A": 0.1}, list(targets))
    assert list(grouped.targets["key"]) == ["IDrest_150"] * 2


def test_each_cell_alone_has_the_options_of_all() -> None:
    """Defect 5: settings, absolute amplitudes and default std were lost in the files of one cell."""
    frames = pd.DataFrame(TWO_CELLS), pd.DataFrame(TWO_CELL_VALUES)
    options: dict[str, Any] = {"efel_settings": SETTINGS, "stimuli": STIMULI}
    options |= {"absolute_amplitude": True, "default_std_value": 0.7}
    alone = dict(group_each_cell(*frames, {}, [target(0.15, 0.005)], **options))
    assert list(alone) == ["A", "B", "C"]
    assert [g.targets["n"].iloc[0] for g in alone.values()] == [1, 0, 1]
    assert alone["C"].targets["std"].iloc[0] == 0.7
    assert alone["C"].targets["settings"].iloc[0] == SETTINGS


def test_amplitudes_by_protocol_feed_auto_targets() -> None:
    amplitudes = amplitudes_by_protocol(pd.DataFrame(TWO_CELLS), RHEOBASE)
    np.testing.assert_allclose(amplitudes["IDrest"], [150, 160, 150, np.nan], rtol=1e-12)
    auto = AutoTarget(("IDrest",), (200, 150), ("Spikecount",), min_recordings_per_amplitude=2)
    assert choose([auto], amplitudes) == (target(),)


@pytest.mark.parametrize("rheobase", [None, 0, 0.0, np.nan, False])
def test_cells_without_a_usable_rheobase_are_left_out(rheobase: Any) -> None:
    grouped = group([sweep("A", 0.15)], [value("A", 1)], {"A": rheobase}, [target()])
    assert grouped.targets["n"].iloc[0] == 0


def test_nothing_at_all_gives_empty_tables() -> None:
    grouped = group([sweep("A", 0.15)], [], {"A": 0.1}, [])
    assert len(grouped.targets) == 0
    assert not grouped.stimuli
    assert list(group([sweep("A", 0.15)], [], {"A": 0.1}, [target()]).targets["n_sweeps"]) == [1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol_mode": "lnmc"}, "no definition of it exists"),
        ({"protocol_mode": "mode"}, "allowed: mean, median, min, max"),
        ({"pooling": "all"}, "allowed: sweeps, cells"),
        ({"default_std_value": 0}, "above 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        group(TWO_CELLS, TWO_CELL_VALUES, RHEOBASE, [target()], **options)


def test_values_that_fit_no_sweep_are_refused() -> None:
    for lost in (value("A", 1, 7), value("Z", 1)):
        with pytest.raises(ResultError, match="belong to no sweep"):
            group(TWO_CELLS, [lost], RHEOBASE, [target()])
    with pytest.raises(ResultError, match="two values of Spikecount"):
        group(TWO_CELLS, [value("A", 1), value("A", 2)], RHEOBASE, [target()])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"),
            st.floats(-1, 1),
            st.one_of(st.just(float("nan")), st.floats(-1e3, 1e3)),
        ),
        min_size=1,
        max_size=25,
    ),
    st.floats(-300, 300),
    st.floats(1, 300),
)
def test_grouping_equals_its_definition(rows: list[tuple], amplitude: float, tolerance: float) -> None:
    rheobase: dict[str, float | None] = {"A": 0.2, "B": 0.3, "C": None}
    sweeps = [sweep(cell, amp, k) for k, (cell, amp, _) in enumerate(rows)]
    values = [value(cell, v, k) for k, (cell, _, v) in enumerate(rows)]
    row = group(sweeps, values[::-1], rheobase, [target(amplitude, tolerance)]).targets.iloc[0]
    expected = [
        v
        for cell, amp, v in rows
        if (own := rheobase[cell]) and abs(100 * amp / own - amplitude) < tolerance and not np.isnan(v)
    ]
    assert row["values"] == expected
    if len(set(expected)) > 1:
        assert row["mean"] == pytest.approx(np.mean(expected), rel=1e-12, abs=1e-12)
        assert row["std"] == pytest.approx(np.std(expected), rel=1e-9, abs=1e-9)
