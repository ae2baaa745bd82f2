"""The pipeline as functions on tables, with one's own stimulus class and with each cell alone."""

import json

import numpy as np
import pytest

import ephysflow
from ephysflow.example.igor import write_wave

TARGETS = [{"efeature": "Spikecount", "protocol": "IDrest", "amplitude": 100, "tolerance": 10}]
OWN = """
from ephysflow.recordings.stimuli.steps import Step


class Mine(Step):
    name = "Mine"
"""


@pytest.fixture
def sheet(tmp_path):
    t = np.arange(0, 600, 0.25)
    on = (t >= 100) & (t < 500)
    rows = ["cell\tprotocol\ti_file\tv_file"]
    for cell, spikes in (("a", 2), ("b", 4)):
        for amplitude in (0.05, 0.1):
            voltage = -70 + 100 * amplitude * on
            for spike in np.linspace(150, 450, spikes if amplitude > 0.05 else 0):
                voltage += 90 * np.exp(-((t - spike) ** 2))
            name = f"{cell}{amplitude}"
            write_wave(tmp_path / f"{name}v.ibw", voltage * 1e-3, 0.25e-3, "V")
            write_wave(tmp_path / f"{name}i.ibw", amplitude * on * 1e-9, 0.25e-3, "A")
            rows.append(f"{cell}\tIDrest\t{name}i.ibw\t{name}v.ibw")
    (tmp_path / "sheet.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path / "sheet.tsv"


@pytest.mark.parametrize("stimulus", ["Step", "mine.Mine"])
def test_from_sheet_to_files(sheet, tmp_path, stimulus):
    sweeps, excluded = ephysflow.read_recordings(sheet, stimuli={"IDrest": stimulus}, user_folder=tmp_path)
    assert len(sweeps) == 4
    assert excluded.empty
    rheobase = ephysflow.compute_rheobase(sweeps, protocols=["IDrest"])
    assert rheobase["rheobase"].tolist() == pytest.approx([0.1, 0.1])
    features = ephysflow.extract_efeatures(sweeps, rheobase, TARGETS)
    assert features["value"].tolist() == [2, 4]
    grouped = ephysflow.group_efeatures(sweeps, features, rheobase, TARGETS, user_folder=tmp_path)
    assert grouped.targets[["mean", "std", "n"]].to_numpy().tolist() == [[3, 1, 2]]
    files = ephysflow.write_efeatures(tmp_path / "out", grouped, sweeps, rheobase)
    assert [file.name for file in files] == ["features.json", "protocols.json", "currents.json"]
    assert json.loads(files[0].read_text())["IDrest_100"]["soma"][0]["val"] == [3, 1]
    each = ephysflow.group_efeatures_of_each_cell(sweeps, features, rheobase, TARGETS, user_folder=tmp_path)
    assert {cell: of_cell.targets["mean"][0] for cell, of_cell in each.items()} == {"a": 2, "b": 4}
    (plot, _) = ephysflow.plot_recordings(tmp_path / "plots", sweeps, rheobase, tmp_path)
    assert plot.read_bytes().startswith(b"%PDF")


def test_names_are_listed_and_unknown_ones_refused():
    assert "read_recordings" in dir(ephysflow)
    with pytest.raises(AttributeError, match="read_recording"):
        _ = ephysflow.read_recording
