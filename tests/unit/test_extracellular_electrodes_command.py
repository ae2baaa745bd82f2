"""``ephysflow electrodes``: the table of a probe, and the check of a weights file."""

import json
import shutil

import h5py
import nrrd
import numpy as np
import probeinterface
import pytest

from ephysflow.cli import main
from ephysflow.extracellular.array_settings import resolve_electrodes
from ephysflow.extracellular.electrode_table import read_electrode_table

TIP = ["--tip", "10", "-1500", "20", "--direction", "0", "1", "0"]


@pytest.fixture
def make(tmp_path, capsys):
    """Return ``make(*arguments)``: exit status, what was printed, and the rows of the table, if there is one."""

    def run(*arguments, probe="NP1000"):
        path = tmp_path / "probe.csv"
        status = main(["electrodes", "make", str(path), "--probe", probe, *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err, read_electrode_table(path) if path.exists() else []

    return run


@pytest.fixture
def circuit(tmp_path):
    """A circuit whose population ``cells`` is a column along x, of which ``half`` is lower."""
    with h5py.File(tmp_path / "nodes.h5", "w") as file:
        group = file.create_group("nodes/cells")
        group["node_type_id"] = np.zeros(5, np.int64)
        for name, values in {
            "x": [0, 100, 200, 300, 400],
            "y": [5, 5, 5, 5, 5],
            "z": [0, 1, 0, 1, 0],
        }.items():
            group[f"0/{name}"] = np.array(values, dtype=np.float64)
    (tmp_path / "node_sets.json").write_text(
        json.dumps({"half": {"node_id": [0, 2]}, "one": {"node_id": [1]}})
    )
    config = {"networks": {"nodes": [{"nodes_file": "nodes.h5"}]}, "node_sets_file": "node_sets.json"}
    path = tmp_path / "circuit_config.json"
    path.write_text(json.dumps(config))
    return path


def test_a_probe_by_its_tip(make):
    status, text, rows = make("--contacts", 4, *TIP)
    assert status == 0
    assert text.endswith(
        "probe.csv: 4 electrodes (LineSource) of NP1000, tip at 10 -1500 20, from tip to base 0 1 0\n"
    )
    assert [row.name for row in rows] == ["e0", "e1", "e2", "e3"]
    # first row of contacts 220 um above the tip, which is in the middle of columns at 0 and 48 um
    assert [row.position for row in rows] == [
        (2, -1280, 20),
        (34, -1280, 20),
        (-14, -1260, 20),
        (18, -1260, 20),
    ]
    assert rows[0].texts == {"type": "LineSource"}
    assert rows[0].numbers == {"normal_x": 0, "normal_y": 0, "normal_z": 1}


def test_the_configuration_takes_the_table(make, tmp_path):
    make("--contacts", 3, "--prefix", "A_", "--type", "PointSource", "--twist", 90, *TIP)
    contact = {"radius": 6, "normal": [0, 1, 0]}
    array = {"electrodes": str(tmp_path / "probe.csv"), "contact": contact}
    electrodes = resolve_electrodes({"a": array}, "config.yaml")
    assert [e.name for e in electrodes] == ["A_e0", "A_e1", "A_e2"]
    assert electrodes[0].method == "PointSource"
    assert electrodes[0].contact_normal == (1, 0, 0)
    assert electrodes[0].position == (10, -1280, 28)


def test_pandas_sees_the_columns_of_bluerecording(make, tmp_path):
    pd = pytest.importorskip("pandas")
    make("--contacts", 3, "--type", "ObjectiveCSD_Disk_100", *TIP)
    found = pd.read_csv(tmp_path / "probe.csv", index_col=0, keep_default_na=False)
    assert list(found.columns) == ["x", "y", "z", "layer", "region", "type"]
    assert found.loc["e2"].tolist() == [-14, -1260, 20, "NA", "NA", "ObjectiveCSD_Disk_100"]


def test_along_the_main_axis_of_somata(make, circuit):
    status, text, rows = make("--contacts", 384, "--circuit", circuit, "--population", "cells")
    assert status == 0
    assert "centred at 200 5 0.4, the mean of 5 somata; from tip to base 1 " in text
    positions = np.array([row.position for row in rows])
    np.testing.assert_allclose(positions.mean(axis=0), [200, 5, 0.4], atol=1e-5)
    assert positions[0, 0] < positions[-1, 0]


def test_along_the_main_axis_of_a_node_set_with_the_sign_given(make, circuit):
    where = ["--circuit", circuit, "--population", "cells", "--node-set", "half"]
    status, text, rows = make("--contacts", 384, *where, "--direction", -1, 3, 0)
    assert status == 0
    assert "the mean of 2 somata; from tip to base -1 0 0, their main axis" in text
    assert rows[0].position[0] > rows[-1].position[0]


def test_a_probe_in_space_stays_where_it_is(make, tmp_path):
    probe = probeinterface.generate_linear_probe(num_elec=3, ypitch=20).to_3d()
    probe.move([1.0, 2.0, 3.0])
    path = tmp_path / "placed.json"
    probeinterface.write_probeinterface(path, probe)
    status, text, rows = make(probe=str(path))
    assert status == 0
    assert text.endswith("where its file has them\n")
    assert [row.position for row in rows] == [(1, 2, 3), (1, 2, 23), (1, 2, 43)]
    assert [row.name for row in rows] == ["0", "1", "2"]


def test_regions_of_an_atlas(make, tmp_path):
    data = np.array([[[1, 2]]], dtype=np.uint16)
    header = {"space dimension": 3, "space directions": np.diag([100, 100, 100]), "space origin": [0, 0, 0]}
    nrrd.write(str(tmp_path / "a.nrrd"), data, header)
    (tmp_path / "h.json").write_text(
        json.dumps({"id": 1, "acronym": "S1;L4", "children": [{"id": 2, "acronym": "S1;L5"}]})
    )
    where = ["--tip", 50, 50, -200, "--direction", 0, 0, 1]
    files = ["--atlas", tmp_path / "a.nrrd", "--hierarchy", tmp_path / "h.json"]
    status, text, rows = make("--contacts", 20, *where, *files)
    assert status == 0
    assert "regions and layers: S1 L4, S1 L5, Outside Outside\n" in text
    assert [row.texts["layer"] for row in rows] == ["L4"] * 8 + ["L5"] * 10 + ["Outside"] * 2
    assert {row.texts["region"] for row in rows} == {"S1", "Outside"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "where is the probe? Give --tip and --direction, or --circuit and --population (only a probe"),
        (TIP[:4], "where is the probe?"),
        (TIP[4:], "where is the probe?"),
        ([*TIP, "--type", "Point"], "--type: type 'Point' is unknown"),
        ([*TIP, "--prefix", "a/"], "'a/e0' cannot be the name"),
        ([*TIP, "--contacts", "x"], "contacts 'x': allowed are N, START:STOP and channels"),
        ([*TIP, "--hierarchy", "h.json"], "give --atlas, too"),
        ([*TIP, "--atlas", "missing.nrrd"], "atlas missing.nrrd is not there"),
        ([*TIP, "--population", "cells"], "--population and --node-set need --circuit"),
        ([*TIP, "--circuit", "CIRCUIT", "--population", "cells"], "and no --tip"),
        (["--circuit", "CIRCUIT"], "--circuit needs --population"),
        (["--circuit", "CIRCUIT", "--population", "others"], "has no population 'others'; it has cells"),
        (["--circuit", "missing.json", "--population", "cells"], "missing.json is not there"),
        (["--circuit", "CIRCUIT", "--population", "cells", "--node-set", "no"], "no node set 'no'"),
        (
            ["--circuit", "CIRCUIT", "--population", "cells", "--node-set", "one"],
            "the 1 somata have no main axis",
        ),
        (["--tip", "0", "nan", "0", *TIP[4:]], "tip 0 nan 0: coordinates must be below"),
        ([*TIP[:4], "--direction", "0", "0", "0"], "direction 0 0 0"),
        ([*TIP, "--twist", "inf"], "with twist inf"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_written(make, circuit, arguments, named):
    status, text, rows = make(*[str(circuit) if a == "CIRCUIT" else a for a in arguments])
    assert (status, rows) == (1, [])
    assert named in text
    assert text.startswith("ephysflow electrodes: error: ")


def test_an_existing_table_is_never_replaced(make, tmp_path):
    (tmp_path / "probe.csv").write_text("name,x,y,z\nmine,1,2,3\n")
    status, text, rows = make(*TIP)
    assert status == 1
    assert "probe.csv is already there" in text
    assert [row.name for row in rows] == ["mine"]


def test_check_of_a_file_of_bluerecording(shared, tmp_path, capsys):
    golden = shared / "golden/extracellular/synth3"
    circuit, report = golden / "circuit/circuit_config.json", golden / "circuit/reporting/voltage.h5"
    against = ["--circuit", str(circuit), "--report", str(report)]
    assert main(["electrodes", "check", str(golden / "coeffs.h5"), *against]) == 0
    text = capsys.readouterr().out
    assert "33 electrodes" in text
    assert "remark: " in text
    assert text.endswith("coeffs.h5: no problem\n")
    path = shutil.copy(golden / "coeffs.h5", tmp_path / "damaged.h5")
    with h5py.File(path, "r+") as file:
        file["electrodes/popA/scaling_factors"][3, 2] = np.inf
    assert main(["electrodes", "check", str(path), *against]) == 1
    text = capsys.readouterr().out
    assert "problem: " in text
    assert text.endswith("damaged.h5: 1 problem\n")
    assert main(["electrodes", "check", str(tmp_path / "none.h5")]) == 1


@pytest.mark.parametrize("arguments", [[], ["measure"], ["make"], ["make", "a.csv"], ["check"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as error:
        main(["electrodes", *arguments])
    assert error.value.code == 2
