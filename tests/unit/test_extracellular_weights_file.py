"""The weights file without its coefficients: types of each layout, marks, and what is refused."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from ephysflow.errors import ConfigurationError, ResultError, SimulationError
from ephysflow.extracellular.electrodes import Electrode, Slice
from ephysflow.extracellular.weights_file import (
    PopulationRows,
    WeightsContents,
    check_complete,
    create,
    finish,
    read_provenance_text,
    read_shapes,
)


def electrode(name: str = "e0", **changes) -> Electrode:
    given = {
        "name": name,
        "array": "probe",
        "position": (1.5, -2.0, 1e6 + 0.25),
        "layer": "NA",
        "region": "S1",
        "type": "PointSource",
        "method": "PointSource",
        "sigma": (0.3, 0.3, 0.4),
        **changes,
    }
    return Electrode(**given)


def rows(name: str = "popA", node_ids=(0, 3), offsets=(0, 2, 5)) -> PopulationRows:
    return PopulationRows(name, np.array(node_ids, dtype=np.uint64), np.array(offsets, dtype=np.uint64))


def contents(**changes) -> WeightsContents:
    given = {
        "electrodes": [electrode("e0"), electrode("e1")],
        "populations": [rows()],
        "layout": "sonata",
        "column_of_ones": False,
        "unit": "mV/nA",
        "precision": "float64",
        "provenance": "text",
        **changes,
    }
    return WeightsContents(**given)


@pytest.mark.parametrize(
    ("layout", "integers", "position", "column"),
    [
        ("sonata", np.uint64, np.float32, "electrodes/e1/popA"),
        ("sonata_groups", np.uint64, np.float32, "electrodes/e1/popA/electrode_id"),
        ("bluerecording", np.int64, np.float64, "electrodes/e1/popA"),
    ],
)
def test_layouts_have_their_types(tmp_path, layout, integers, position, column):
    create(tmp_path / "w.h5", contents(layout=layout))
    with h5py.File(tmp_path / "w.h5") as file:
        assert file["popA/node_ids"].dtype == integers
        assert file["popA/offsets"].dtype == integers
        assert file["popA/node_ids"][()].tolist() == [0, 3]
        assert file["popA/offsets"][()].tolist() == [0, 2, 5]
        assert file["electrodes/e1/position"].dtype == position
        np.testing.assert_array_equal(file["electrodes/e1/position"][()], np.array([1.5, -2, 1e6 + 0.25]))
        assert file["electrodes/e1/position"].attrs["units"] == "um"
        assert file[column].shape == ()
        assert file[column].dtype == integers
        assert file[column][()] == 1
        assert [file["electrodes/e1"][key].asstr()[()] for key in ("type", "layer", "region")] == [
            "PointSource",
            "NA",
            "S1",
        ]
        assert file["electrodes/popA/scaling_factors"].shape == (5, 2)
        assert file["electrodes/popA/scaling_factors"].attrs["units"] == "mV/nA"
        assert file.attrs["units"] == "mV/nA"


@pytest.mark.parametrize(
    ("precision", "ones", "dtype", "columns"), [("float64", True, "<f8", 3), ("float32", False, "<f4", 2)]
)
def test_bytes_at_the_places_are_the_coefficients(tmp_path, precision, ones, dtype, columns):
    many = rows("popB", (1, 2), (0, 9000, 20000))
    places = create(
        tmp_path / "w.h5",
        contents(populations=[rows(), many], precision=precision, column_of_ones=ones),
    )
    data = np.memmap(tmp_path / "w.h5", dtype="u1", mode="r+")
    written = {}
    for name, n_rows in (("popA", 5), ("popB", 20000)):
        written[name] = np.random.default_rng(0).random((n_rows, columns)).astype(dtype)
        data[places[name] : places[name] + written[name].nbytes] = written[name].view("u1").ravel()
    data.flush()
    assert places["popB"] % 4096 == 0
    size = (tmp_path / "w.h5").stat().st_size
    finish(tmp_path / "w.h5")
    assert (tmp_path / "w.h5").stat().st_size == size
    with h5py.File(tmp_path / "w.h5") as file:
        for name, values in written.items():
            stored = file["electrodes"][name]["scaling_factors"]
            assert stored.dtype == dtype
            assert stored.chunks is None
            np.testing.assert_array_equal(stored[()], values)


def test_equal_contents_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        create(tmp_path / name, contents())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_attributes_say_how_an_electrode_was_computed(tmp_path):
    sliced = electrode(
        "e0",
        minimum_distance=2.0,
        cutoff=500.0,
        contact_radius=7.5,
        contact_normal=(0.0, 0.0, 1.0),
        contact_points=20,
        slice=Slice(-100.0, 100.0, 0.0, 1.5, 20),
        reference=("e1", "e2"),
    )
    field = electrode("e1", method="Reciprocity", sigma=None, field="pot.h5", field_unit="V/nA")
    region = electrode(
        "e2",
        type="ObjectiveCSD_Disk_150_40",
        method="Disk",
        sigma=None,
        radius=150.0,
        thickness=40.0,
        csd_array="p",
    )
    other = electrode("e3", reference=("e1", "e2"))
    create(tmp_path / "w.h5", contents(electrodes=[sliced, field, region, other], unit="V/nA"))
    with h5py.File(tmp_path / "w.h5") as file:
        attributes = [dict(file[f"electrodes/e{i}"].attrs) for i in range(4)]
        assert file["electrodes/e0/reference"].asstr()[()].tolist() == ["e1", "e2"]
        assert file["electrodes/e3/reference"] == file["electrodes/e0/reference"]
        assert "reference" not in file["electrodes/e1"]
    first = attributes[0]
    assert first.pop("sigma").tolist() == [0.3, 0.3, 0.4]
    assert first.pop("contact_normal").tolist() == [0, 0, 1]
    assert first == {
        "array": "probe",
        "method": "PointSource",
        "units": "V/nA",
        "minimum_distance": 2,
        "cutoff": 500,
        "contact_radius": 7.5,
        "contact_points": 20,
        "slice_bottom": -100,
        "slice_top": 100,
        "slice_sigma_below": 0,
        "slice_sigma_above": 1.5,
        "slice_images": 20,
    }
    assert {key: attributes[1][key] for key in ("field", "field_unit", "outside_field")} == {
        "field": "pot.h5",
        "field_unit": "V/nA",
        "outside_field": "refuse",
    }
    assert {key: attributes[2][key] for key in ("units", "radius", "thickness", "csd_array")} == {
        "units": "1",
        "radius": 150,
        "thickness": 40,
        "csd_array": "p",
    }


def test_bluerecording_has_radius_and_thickness_at_the_type(tmp_path):
    disk = electrode(type="ObjectiveCSD_Disk_150_40", method="Disk", sigma=None, radius=150.0, thickness=40.0)
    create(tmp_path / "w.h5", contents(electrodes=[disk], layout="bluerecording"))
    with h5py.File(tmp_path / "w.h5") as file:
        assert dict(file["electrodes/e0/type"].attrs) == {"radius": 150, "thickness": 40}


def test_a_file_is_complete_only_when_finished(tmp_path):
    path = tmp_path / "w.h5"
    text = "provenance " * 10_000  # longer than an attribute can be
    create(path, contents(provenance=text))
    with pytest.raises(ResultError, match="not complete"):
        check_complete(path)
    finish(path)
    check_complete(path)
    assert read_provenance_text(path) == text
    assert read_shapes(path) == {"popA": (5, 2)}


def test_a_cut_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "w.h5"
    create(path, contents())
    finish(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    for function in (check_complete, read_provenance_text):
        with pytest.raises(ResultError, match="w.h5"):
            function(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["electrodes/popA/scaling_factors"] = np.zeros((2, 2))
    with pytest.raises(ResultError, match="no weights file of ephysflow"):
        check_complete(tmp_path / "other.h5")
    with pytest.raises(ResultError, match="no weights file of ephysflow"):
        read_provenance_text(tmp_path / "other.h5")
    with pytest.raises(ResultError, match="is not there"):
        check_complete(tmp_path / "absent.h5")
    with pytest.raises(ResultError, match="cannot be finished"):
        finish(tmp_path / "absent.h5")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"electrodes": []}, ConfigurationError, "at least one electrode"),
        ({"populations": []}, SimulationError, "at least one population"),
        ({"populations": [rows(node_ids=(), offsets=(0,))]}, SimulationError, "'popA' has no compartments"),
        ({"populations": [rows(offsets=(0, 0, 0))]}, SimulationError, "'popA' has no compartments"),
        ({"populations": [rows(), rows()]}, ConfigurationError, "population 'popA' is there twice"),
        ({"electrodes": [electrode(), electrode()]}, ConfigurationError, "electrode 'e0' is there twice"),
        ({"electrodes": [electrode("popA")]}, ConfigurationError, "population 'popA' cannot be in"),
        ({"electrodes": [electrode("a/b")]}, ConfigurationError, "electrode 'a/b' cannot be a name"),
        ({"populations": [rows("electrodes")]}, ConfigurationError, "population 'electrodes' cannot be in"),
        ({"populations": [rows("type")]}, ConfigurationError, "population 'type' cannot be in"),
        ({"populations": [rows(".")]}, ConfigurationError, "population '.' cannot be a name"),
        ({"populations": [rows(node_ids=(3, 0))]}, ValueError, "do not ascend"),
        ({"populations": [rows(offsets=(0, 5))]}, ValueError, "do not ascend"),
        ({"layout": "other"}, ValueError, "other"),
    ],
)
def test_what_cannot_be_a_file_is_refused(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        create(tmp_path / "w.h5", contents(**changes))
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_found_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=79))
    with pytest.raises(ResultError, match=f"w.h5: needs 80 bytes; {tmp_path} has 79 free"):
        create(tmp_path / "w.h5", contents())
    assert not list(tmp_path.iterdir())


def test_a_population_may_be_called_like_the_program(tmp_path):
    create(tmp_path / "w.h5", replace(contents(), populations=[rows("ephysflow")]))
    assert read_provenance_text(tmp_path / "w.h5") == "text"
