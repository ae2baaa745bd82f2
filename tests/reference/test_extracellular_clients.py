"""Real clients read the files: libsonata's ElectrodeReader and neurodamus' LFPFileReader; and what other writers made."""

from pathlib import Path

import h5py
import libsonata
import numpy as np
import pytest

pytest.importorskip("mpi4py.MPI")
from mpi4py import MPI

from ephysflow.extracellular.electrodes import Electrode
from ephysflow.extracellular.parallel_write import write_weights
from ephysflow.extracellular.weights_check import inspect_weights
from ephysflow.extracellular.weights_file import PopulationRows, WeightsContents

POSITIONS = [(10.0, -20.0, 30.5), (1.0, 2.0, 3.0), (-5.25, 0.0, 1000.0)]
POPULATIONS = {
    "popA": ([0, 3, 11], [0, 3, 4, 9]),
    "default-cells": ([1, 2], [0, 2, 4]),
}


def coefficients(population: int, first: int, last: int) -> np.ndarray:
    rng = np.random.default_rng(population)
    return rng.standard_normal((9, 3)).astype(np.float32).astype(np.float64)[first:last]


def write(path: Path, layout: str, precision: str, ones: bool) -> Path:
    electrodes = [
        Electrode(name, "probe", position, "NA", "S1", kind, kind.split("_")[0], (0.3,) * 3)
        for name, position, kind in zip(
            ("b2", "a10", "a2"),
            POSITIONS,
            ("PointSource", "LineSource", "ObjectiveCSD_Sphere_20"),
            strict=True,
        )
    ]
    rows = [PopulationRows(name, np.array(ids), np.array(off)) for name, (ids, off) in POPULATIONS.items()]
    contents = WeightsContents(electrodes, rows, layout, ones, "mV/nA", precision, "x" * 100_000)
    write_weights(MPI.COMM_SELF, path, contents, coefficients, 1 << 20, lambda line: None)
    return path


def accepted_by_libsonata(path: Path, names: list[str] | None = None) -> None:
    """Check that libsonata reads what is in the file (reference/clients.md 2.4)."""
    reader = libsonata.ElectrodeReader(str(path))
    with h5py.File(path) as file:
        populations = [name for name in file if name != "electrodes" and "node_ids" in file[name]]
        assert set(reader.population_names) == set(populations)
        for name in populations:
            population = reader.open_population(name)
            factors = file["electrodes"][name]["scaling_factors"][()]
            np.testing.assert_array_equal(population.get().data, factors)
            np.testing.assert_array_equal(population.node_ids, file[name]["node_ids"][()])
            assert population.number_of_electrodes == factors.shape[1]
            assert len(population.electrode_names) in (factors.shape[1], factors.shape[1] - 1)
            assert len(population.electrode_types) == len(population.electrode_names)
            assert len(population.electrode_positions) == len(population.electrode_names)
            if names is not None:
                assert list(population.electrode_names) == names


def accepted_by_neurodamus(path: Path) -> None:
    """Check that neurodamus reads the rows of every node (reference/clients.md 2.4)."""
    lfp_reader = pytest.importorskip("neurodamus.io.lfp_reader")
    with h5py.File(path) as file, lfp_reader.LFPFileReader(str(path)) as reader:
        for name in file:
            if name == "electrodes" or "node_ids" not in file[name]:
                continue
            ids, offsets = (
                file[name]["node_ids"][()].astype(np.int64),
                file[name]["offsets"][()].astype(np.int64),
            )
            factors = file["electrodes"][name]["scaling_factors"][()]
            assert offsets[0] == 0
            assert offsets[-1] == len(factors)
            assert (np.diff(ids) > 0).all()
            for node, first, last in zip(ids.tolist(), offsets[:-1], offsets[1:], strict=True):
                found = reader.get_scaling_matrix(node, (name, 0))
                np.testing.assert_array_equal(found, factors[first:last])
                assert reader.get_number_electrodes(node, (name, 0)) == factors.shape[1]


@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("layout", ["sonata", "bluerecording"])
def test_libsonata_reads_the_file(layout, precision, ones, tmp_path, capfd):
    path = write(tmp_path / "w.h5", layout, precision, ones)
    accepted_by_libsonata(path, names=["b2", "a10", "a2"])
    # it warns of positions in float64, which are BlueRecording's
    assert (capfd.readouterr().err == "") == (layout == "sonata")
    population = libsonata.ElectrodeReader(str(path)).open_population("popA")
    np.testing.assert_array_equal(population.electrode_positions, np.array(POSITIONS, dtype=np.float32))
    assert list(population.electrode_types) == ["PointSource", "LineSource", "ObjectiveCSD_Sphere_20"]
    np.testing.assert_array_equal(population.get().data[:, :3], coefficients(0, 0, 9))


@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("layout", ["sonata", "sonata_groups", "bluerecording"])
def test_neurodamus_reads_the_file(layout, precision, ones, tmp_path):
    path = write(tmp_path / "w.h5", layout, precision, ones)
    accepted_by_neurodamus(path)
    with pytest.importorskip("neurodamus.io.lfp_reader").LFPFileReader(str(path)) as reader:
        # ids of the simulation begin at an offset of the population; only the column of ones is one more electrode
        assert reader.get_scaling_matrix(1002, ("default-cells", 1000)).shape == (2, 3 + ones)
        np.testing.assert_array_equal(reader.get_scaling_matrix(3, ("popA", 0))[:, :3], coefficients(0, 3, 4))


def test_libsonata_refuses_the_groups_of_the_specification(tmp_path):
    path = write(tmp_path / "w.h5", "sonata_groups", "float64", False)
    with pytest.raises(Exception, match="Unable to open the dataset"):
        libsonata.ElectrodeReader(str(path)).open_population("popA").electrode_names  # noqa: B018
    found = inspect_weights(path)
    assert found.problems == []
    assert any("libsonata refuses" in text for text in found.remarks)


GOLDEN = [
    "single_L5/coeffs_close.h5",
    "single_L5/coeffs_csd.h5",
    "single_L5/coeffs_distant.h5",
    "synth3/coeffs.h5",
    "synth3_csdidx/coeffs.h5",
    "synth3_mpi/coeffs.h5",
    "synth3_names/coeffs.h5",
]


@pytest.mark.parametrize("name", GOLDEN)
def test_files_of_bluerecording_have_the_known_remarks(name, shared):
    path = shared / "golden" / "extracellular" / name
    simulated = path.parent if (path.parent / "circuit").is_dir() else path.parent.parent / "synth3"
    found = inspect_weights(
        path,
        circuit=simulated / "circuit" / "circuit_config.json",
        report=simulated / "circuit" / "reporting" / "voltage.h5",
    )
    assert found.problems == []
    known = {
        "node_ids is int64": True,
        "offsets is int64": True,
        "position is float64": True,
        "of ones, without electrode": True,
        "BlueRecording computes PointSource and LineSource in V/nA": True,
        "all coefficients are 0": name.startswith("synth3") and "names" not in name,
        "layer is not a text": "names" in name,  # defect 9
        "column 0 is most likely 'a10', not 'b2'": "names" in name,  # defect 2
    }
    for remark, expected in known.items():
        assert any(remark in text for text in found.remarks) == expected, (remark, found.remarks)
    assert len(found.remarks) == sum(known.values())
    accepted_by_libsonata(path)
    accepted_by_neurodamus(path)
