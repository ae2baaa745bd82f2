"""Population statistics against BlueETL's, from BlueETL's own repo tables.

Where a group has silent neurons, BlueETL's PSD is NaN throughout: its sequence of times has a NaN for each of them.
Ours is the PSD of the spikes that there are.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.signal
import yaml
from campaign_golden import golden_reports

from ephysflow.campaign.functions.population_statistics import population_statistics
from ephysflow.campaign.observations import observe
from ephysflow.campaign.report import select

CASES = {
    "dense_bluecv": "dense_bluecv/expected/spikes",
    "bbp_analysis_07": "functional/bbp_analysis_07/spikes",
    "sonata_analysis_07": "functional/sonata_analysis_07/spikes",
}
GROUPBY = ("simulation_id", "circuit_id", "neuron_class", "window")


@pytest.mark.parametrize("case", CASES)
def test_population_statistics(shared, case):
    golden = shared / "golden/campaign"
    config = golden / CASES[case].removesuffix("/spikes").removesuffix("/expected") / "config.yaml"
    entry = yaml.safe_load(config.read_text())["analysis"]["spikes"]["features"][0]
    expected = pq.read_table(golden / CASES[case] / "features/by_neuron_class.parquet").to_pydict()

    reports = golden_reports(golden / CASES[case] / "repo")
    observations = observe([select(report, [], entry.get("windows", [])) for report in reports], GROUPBY)
    table = population_statistics(observations, entry["params"])["by_neuron_class"]

    for name in GROUPBY:
        assert observations.groups[name].tolist() == expected[name]
    found = {name: values.to_pylist() for name, values in table.values.items()}
    assert list(found) == [name for name in expected if name not in GROUPBY]
    for g in range(observations.n_groups):
        np.testing.assert_allclose(found["CPDF"][g], expected["CPDF"][g], rtol=1e-9)
        if "PSTH" in found:
            np.testing.assert_array_equal(found["PSTH"][g], expected["PSTH"][g])
        start, stop = observations.group_offsets[g : g + 2]
        if observations.counts[start:stop].all():
            np.testing.assert_allclose(found["PSD"][g], expected["PSD"][g], rtol=1e-9)
        else:
            assert set(expected["PSD"][g]) == {None}
            by_neuron = np.lexsort((observations.trial[start:stop], observations.neuron[start:stop])) + start
            edges = observations.offsets
            times = np.concatenate([observations.rows["time"][edges[k] : edges[k + 1]] for k in by_neuron])
            segment = int(2 * len(times) / 3)
            spectrum = scipy.signal.welch(times, nperseg=segment)[1] if segment else []
            np.testing.assert_allclose(found["PSD"][g], spectrum, rtol=1e-9)
