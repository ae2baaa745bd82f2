"""BluePyEModel, the real reader of our files, loads them and plays the stimuli that they describe.

It has 86 dependencies, so it lives in an environment of its own (``pip install bluepyemodel``), whose python
EPHYSFLOW_BLUEPYEMODEL_PYTHON names.
"""

import json
import os
import subprocess

import pytest
from test_grouping_golden import CASES, Case

from ephysflow.efeatures.export import currents_json, features_json, json_text, protocols_json, unplayable

SCRIPT = r"""
import json, math, sys
from bluepyemodel.evaluation.fitness_calculator_configuration import FitnessCalculatorConfiguration
from bluepyemodel.evaluation.evaluator import (
    define_optimisation_protocol, define_threshold_based_optimisation_protocol,
)

for folder, rmp, rin in json.loads(sys.argv[1]):
    features, protocols, currents = (
        json.load(open(f"{folder}/{name}.json")) for name in ("features", "protocols", "currents")
    )
    config = FitnessCalculatorConfiguration(name_rmp_protocol=rmp, name_rin_protocol=rin)
    config.init_from_bluepyefe(features, protocols, currents, threshold_efeature_std=None)
    assert {p.name for p in config.protocols} == set(protocols) == set(features), folder
    build = define_threshold_based_optimisation_protocol if rmp else define_optimisation_protocol
    runner, built = build(config, include_validation_protocols=True)
    assert len(built) == len(config.efeatures), folder
    assert all(math.isfinite(e.mean) and e.std > 0 for e in config.efeatures), folder
    FitnessCalculatorConfiguration(**json.loads(json.dumps(config.as_dict(), allow_nan=False)))
    for name, entry in protocols.items():
        step, stimulus = entry["step"], runner.protocols[name].stimulus
        assert abs(stimulus.stim_start - step["delay"]) < 1e-6, (folder, name)
        assert abs(stimulus.total_duration - step["totduration"]) < 1e-6, (folder, name)
        assert stimulus.stim_start < stimulus.stim_end <= stimulus.total_duration + 1e-6, (folder, name)
        if "n_spikes" in step and not rmp:
            times, current = stimulus.generate(dt=0.05)
            high = [c > stimulus.holding_current + step["amp"] / 2 for c in current]
            pulses = sum(b and not a for a, b in zip(high, high[1:]))
            assert pulses == step["n_spikes"], (folder, name, pulses)
print("accepted", len(json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def client() -> str:
    python = os.environ.get("EPHYSFLOW_BLUEPYEMODEL_PYTHON")
    if not python:
        pytest.skip("needs EPHYSFLOW_BLUEPYEMODEL_PYTHON, the python of an environment with bluepyemodel")
    return python


def test_bluepyemodel_plays_what_we_write(shared, tmp_path, client) -> None:
    asked: list[tuple[str, str | None, str | None]] = []
    for name in CASES:
        case = Case(shared / "golden" / "efeatures" / name)
        grouped = case.group()
        features, protocols = features_json(grouped), protocols_json(grouped)
        for stimulus in unplayable(protocols):
            assert stimulus.startswith(("CapCheck", "PinkNoise"))
            del features[stimulus], protocols[stimulus]
        if not protocols:
            continue
        folder = tmp_path / name
        folder.mkdir()
        currents = currents_json(case.sweeps, case.rheobase)
        for file, content in (("features", features), ("protocols", protocols), ("currents", currents)):
            (folder / f"{file}.json").write_text(json_text(content))
        asked.append((str(folder), None, None))
        if name.startswith("sscx2") and "threshold_current" in currents and "IV_-100" in protocols:
            # threshold mode, as a fit uses it: resting potential and input resistance from two protocols
            asked.append((str(folder), "IV_-20", "IV_-100"))
    assert len(asked) > 20
    assert any(resting for _, resting, _ in asked)
    run = subprocess.run(
        [client, "-c", SCRIPT, json.dumps(asked)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert f"accepted {len(asked)}" in run.stdout
