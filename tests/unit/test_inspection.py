"""What `ephysflow inspect` tells of a file."""

import json

import h5py
import numpy as np
import pytest

from ephysflow.errors import RecordingError
from ephysflow.recordings.inspection import inspect_file


def test_nwb_lists_everything_voltage_clamp_included(tmp_path):
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        for name, kind, unit, stimulus_unit in (
            ("a", "CurrentClampSeries", "volts", "amperes"),
            ("b", "VoltageClampSeries", "amperes", "volts"),
        ):
            for place, k, u in (("acquisition", kind, unit), ("stimulus/presentation", "", stimulus_unit)):
                group = file.create_group(f"{place}/{name}")
                group["data"] = np.arange(200) * 1e-12
                group["data"].attrs["unit"] = u
                group["starting_time"] = 0.0
                group["starting_time"].attrs["rate"] = 20_000.0
                group.attrs["neurodata_type"] = k or "CurrentClampStimulusSeries"
                group.attrs["stimulus_description"] = f"protocol {name}"
    report = inspect_file(path)
    json.dumps(report, allow_nan=False)
    assert (report["reader"], report["layout"]) == ("nwb", "generic")
    assert report["why"] == "it begins with the signature of HDF5"
    assert report["protocols"] == {"protocol a": 1, "protocol b": 1}
    (sweep,) = report["sweeps"]
    assert (sweep["sweep"], sweep["samples"], sweep["stimulus"]) == ("a", 200, True)
    assert (sweep["rate_hz"], sweep["duration_ms"]) == (pytest.approx(20_000), pytest.approx(10))
    assert sweep["holding"] == pytest.approx(49.5e-12)
    assert report["unreadable"] == [{"sweep": "b", "protocol": "protocol b", "reason": "voltage clamp"}]


def test_columns_without_metadata_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("1\t2\t3\n" * 10)
    report = inspect_file(tmp_path / "a.txt")
    assert report["protocols"] == {"": 3}
    assert "also needs dt" in report["unreadable"][0]["reason"]


def test_table_without_units(tmp_path):
    (tmp_path / "a.csv").write_text("t,v,i\n0,1,2\n1,1,2\n")
    (sweep,) = inspect_file(tmp_path / "a.csv")["sweeps"]
    assert (sweep["rate_hz"], sweep["v_unit"], sweep["stimulus"]) == (None, None, False)


def test_unreadable_file(tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(RecordingError, match="damaged, truncated"):
        inspect_file(tmp_path / "a.nwb")


def test_igor_wave_and_pair(shared):
    folder = shared / "data/patchclamp/exp_data/B6"
    current, voltage = folder / "B6_Ch0_IDRest_181.ibw", folder / "B6_Ch3_IDRest_181.ibw"
    single = inspect_file(current)
    json.dumps(single, allow_nan=False)
    assert (single["wave"]["unit"], single["wave"]["samples"], single["wave"]["version"]) == ("pA", 12_000, 5)
    assert "PATTERN:IDRest" in single["note"]
    (sweep,) = inspect_file(voltage, current)["sweeps"]
    assert (sweep["protocol"], sweep["stated"]) == ("IDRest", {"ton": 700.0, "toff": 2700.0})


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("data/patchclamp/abf/17o05028_ic_steps.abf", 16),
        ("data/patchclamp/exp_data/hippocampus-portal/99111002.nwb", 16),
        ("golden/efeatures/synthetic_data/aibs.nwb", 2),
        ("golden/efeatures/synthetic_data/scala.nwb", 3),
    ],
)
def test_real_files(shared, path, count):
    report = inspect_file(shared / path)
    json.dumps(report, allow_nan=False)
    assert sum(report["protocols"].values()) == len(report["sweeps"]) == count
    assert all(sweep["stimulus"] and sweep["rate_hz"] >= 10_000 for sweep in report["sweeps"])
