"""A function of BlueETL's contract on the golden extraction tables gives BlueETL's feature tables."""

import pandas as pd
import pytest

from ephysflow.campaign.old_contract import apply_group_function
from ephysflow.campaign.repository import TABLES, Repository

GROUPBY = ["simulation_id", "circuit_id", "neuron_class", "window"]


def spike_counts(repo, key, df, params):
    grouped = df.groupby(["trial", "gid", "neuron_class_index"], observed=True)["time"]
    by_trial = grouped.agg(count="count", first="min")
    per_neuron = by_trial["count"].groupby(["gid", "neuron_class_index"]).mean()
    rates = per_neuron * 1000 / df["duration"].iloc[0]
    summary = {
        "mean_of_mean_firing_rates_per_second": [rates.mean()],
        "std_of_mean_firing_rates_per_second": [rates.std(ddof=0)],
    }
    return {"by_gid_and_trial": by_trial, "by_neuron_class": pd.DataFrame(summary)}


@pytest.mark.parametrize(
    "case",
    [
        *("dense_01/expected", "dense_trial_steps_list/expected", "sonata_01/expected"),
        *("functional/bbp_analysis_11", "functional/sonata_analysis_11"),
    ],
)
def test_tables_of_a_group_function(shared, case):
    folder = shared / "golden/campaign" / case / "spikes"
    frames = {name: pd.read_parquet(folder / f"repo/{name}.parquet") for name in TABLES}
    repo = Repository.from_frames(frames, pd.read_parquet(folder / "repo/report.parquet"))
    result = apply_group_function(spike_counts, repo, GROUPBY, [], [], {}, "multi", None)
    for name, frame in result.items():
        expected = pd.read_parquet(folder / f"features/{name}.parquet").reset_index()
        columns = (
            [*frame.index.names, *frame.columns] if name != "by_neuron_class" else [*GROUPBY, *frame.columns]
        )
        texts = dict.fromkeys(("neuron_class", "window"), str)
        pd.testing.assert_frame_equal(
            frame.reset_index()[columns].astype(texts),
            expected[columns].astype(texts),
            check_dtype=False,
            rtol=1e-9,
        )
