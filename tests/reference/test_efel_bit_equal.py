"""The engine against stock eFEL asked for one feature alone, on real sweeps: equal bit for bit."""

import warnings

import numpy as np
import pytest
from igor2 import binarywave

from ephysflow.efeatures.efel_engine import EfelTrace, computed_together, feature_names, feature_values

# fits of exponentials to whole sweeps: seconds each; asked for alone by design, hence stock eFEL
SLOW = {"activation_time_constant", "deactivation_time_constant", "inactivation_time_constant"}
SWEEPS = [  # cell, channel 1 file, stimulus window [ms]
    ("C060109A1-SR-C1", "IDrest", 2, (700.0, 2700.0)),
    ("C060109A1-SR-C1", "IDrest", -1, (700.0, 2700.0)),
    ("C060114A5-SR-C1", "IV", 0, (20.0, 1020.0)),
    ("C060109A2-SR-C1", "APWaveform", -1, (5.0, 55.0)),
    ("C060109A2-SR-C1", "sAHP", -1, (10.0, 1360.0)),
    ("C060114A5-SR-C1", "SpikeRec", -1, (1.0, 65.0)),
]


def load(shared, cell, protocol, which, window) -> EfelTrace:
    folder = shared / "data" / "patchclamp" / "sscx" / cell
    path = sorted(folder.glob(f"X_{protocol}_ch1_*.ibw"))[which]
    voltage, current = (
        binarywave.load(str(folder / path.name.replace("_ch1_", channel)))["wave"]
        for channel in ("_ch1_", "_ch0_")
    )
    header = voltage["wave_header"]
    dt = float(header["sfA"][0]) if "sfA" in header else float(header["hsA"])
    v = np.asarray(voltage["wData"], np.float32) * np.float32(1e3) - np.float32(14)
    i = np.asarray(current["wData"], np.float32) * np.float32(1e9)
    return EfelTrace(v, dt * 1e3, *window, i, {"stimulus_current": [float(i.max() - i[0])]})


def stock_alone(trace, names, settings):
    import efel

    efel.reset()
    for name, value in settings.items():
        efel.set_setting(name, value)
    data = {
        "T": (np.arange(len(trace.voltage)) * (trace.dt / 1000) * 1000).tolist(),
        "V": trace.voltage.astype(float).tolist(),
        "I": trace.current.astype(float).tolist(),
        "stim_start": [trace.stim_start],
        "stim_end": [trace.stim_end],
        **trace.values,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            name: efel.get_feature_values([data], [name], raise_warnings=False)[0][name] for name in names
        }
    efel.reset()
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"strict_stiminterval": True, "Threshold": -20.0, "interp_step": 0.1},
        {"strict_stiminterval": False, "Threshold": -40.0, "interp_step": 0.025},
    ],
    ids=["0.1", "0.025"],
)
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: f"{sweep[1]}{sweep[2]}")
def test_all_features_equal_stock_asked_alone(shared, sweep, settings):
    trace = load(shared, *sweep)
    names = sorted(feature_names() - SLOW)
    stock = stock_alone(trace, names, settings)
    found = feature_values([trace], names, settings)[0]
    assert computed_together(names)
    different = [
        name
        for name in names
        if (stock[name] is None) != (found[name] is None)
        or (stock[name] is not None and stock[name].tobytes() != found[name].tobytes())
    ]
    assert different == []


def test_short_requests_give_the_same_values(shared):
    trace = load(shared, *SWEEPS[1])
    settings = {"strict_stiminterval": True, "interp_step": 0.1}
    names = [
        "Spikecount",
        "AP_amplitude",
        "mean_frequency",
        "AHP_depth",
        "ISI_CV",
        "voltage_base",
        "AP_fall_time",
    ]
    stock = stock_alone(trace, names, settings)
    for request in ([name] for name in names):
        assert (
            feature_values([trace], request, settings)[0][request[0]].tobytes() == stock[request[0]].tobytes()
        )
    for shift in range(len(names)):
        request = names[shift:] + names[:shift]
        found = feature_values([trace], request[:3], settings)[0]
        assert all(found[name].tobytes() == stock[name].tobytes() for name in request[:3])
