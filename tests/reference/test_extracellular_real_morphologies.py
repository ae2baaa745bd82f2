"""Real morphologies, nodes and reports: those of Blue Brain's circuits and of the Allen Institute's examples."""

import tarfile

import h5py
import morphio
import numpy as np
import pytest

from ephysflow.extracellular.morphologies import morphology_file, read_morphology
from ephysflow.extracellular.placement import positions, rotations
from ephysflow.extracellular.report_sections import read_report_sections, report_populations
from ephysflow.sonata.nodes import open_population, population_names
from ephysflow.sonata.simulation_config import MorphologyFolders, read_circuit, read_simulation


@pytest.fixture
def golden(shared):
    return shared / "golden/extracellular"


@pytest.fixture
def real(golden, tmp_path):
    """Folder with 90 real morphologies."""
    with tarfile.open(golden / "circuitTest/morphologies_ascii.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_real_morphologies_in_all_formats(real):
    files = sorted(real.glob("ascii/*.asc"))
    assert len(files) == 90
    with h5py.File(real / "many.h5", "w") as many:
        for file in files[:10]:
            cell = morphio.mut.Morphology(str(file))
            cell.write(real / f"{file.stem}.h5")
            with h5py.File(real / f"{file.stem}.h5") as one:
                group = many.create_group(file.stem)
                for key in one:
                    one.copy(key, group)
    for file in files[:10]:
        asc, h5, container = (
            read_morphology(folders, file.stem)
            for folders in (
                MorphologyFolders(swc=real),
                MorphologyFolders(h5=real),
                MorphologyFolders(h5=real / "many.h5"),
            )
        )
        for other in (h5, container):
            assert other.soma_radius == pytest.approx(asc.soma_radius, rel=1e-6)
            for name in ("points", "diameters", "section_offsets", "section_types", "parents"):
                np.testing.assert_array_equal(getattr(other, name), getattr(asc, name))


def test_real_morphologies_against_morphio_section_by_section(real):
    for file in sorted(real.glob("ascii/*.asc"))[::3]:
        found = read_morphology(MorphologyFolders(swc=real), file.stem)
        sections = morphio.Morphology(str(file)).sections
        assert len(found.section_types) == len(sections)
        for k, section in enumerate(sections):
            np.testing.assert_array_equal(found.points[found.section(k)], section.points)
            assert found.section_types[k] == int(section.type)
            parent = -1 if section.is_root else section.parent.id
            assert found.parents[k] == parent
            if parent >= 0:
                last = found.points[found.section(parent)][-1]
                np.testing.assert_array_equal(found.points[found.section(k)][0], last)
        assert 3 < found.soma_radius < 20


@pytest.mark.parametrize("case", ["single_L5", "synth3"])
def test_golden_circuits(golden, case):
    folder = golden / case / "circuit"
    circuit = read_circuit(folder / "circuit_config.json")
    (name,) = population_names(circuit)
    assert circuit.population_types == {name: "biophysical"}
    population = open_population(circuit, name)
    for morphology in set(population.property("morphology")):
        file = morphology_file(circuit.morphologies[name], morphology)
        assert file == folder / "morphologies/ascii" / f"{morphology}.asc"
    rows = np.arange(population.size)
    turned = rotations(population, rows)
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), [np.eye(3)] * population.size, atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(turned), 1, rtol=1e-14)
    # the golden soma is the position of the node
    (file,) = (golden / case / "positions/0").glob("*.npz")
    with np.load(file) as arrays:
        for node in rows:
            soma = arrays["xyz"][(arrays["node_id"] == node) & (arrays["section_id"] == 0)][0]
            np.testing.assert_allclose(positions(population, rows)[node], soma, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", ["single_L5", "synth3", "circuitTest"])
def test_golden_reports(golden, case):
    path = golden / case / "circuit/reporting/voltage.h5"
    (name,) = report_populations(path)
    report = read_report_sections(path, name)
    with h5py.File(path) as file:
        mapping = file[f"report/{name}/mapping"]
        pointers, elements = mapping["index_pointers"][()], mapping["element_ids"][()]
        for k, node in enumerate(mapping["node_ids"][()].tolist()):
            found = report.runs_of(node)
            np.testing.assert_array_equal(
                np.repeat(found.ids, found.counts), elements[pointers[k] : pointers[k + 1]]
            )
    assert report.node_ids.tolist() == sorted(report.node_ids.tolist())


def test_examples_of_the_allen_institute(shared):
    folder = shared / "data/sonata/examples"
    nine = read_simulation(folder / "9_cells/config.json")
    assert nine.circuit.default_morphologies == MorphologyFolders(
        swc=folder / "shared_components/morphologies"
    )
    assert (nine.circuit.morphologies, nine.circuit.population_types) == ({}, {})
    assert {*nine.report_types.values()} == {""}
    cortex = open_population(nine.circuit, "cortex")
    assert positions(cortex, np.arange(9)).shape == (9, 3)
    np.testing.assert_array_equal(rotations(cortex, np.arange(9)), [np.eye(3)] * 9)

    internal = open_population(read_circuit(folder / "300_cells/circuit_config.json"), "internal")
    about_y = internal.property("rotation_angle_yaxis")
    turned = rotations(internal, np.arange(300))
    np.testing.assert_allclose(turned[:, 0, 2], np.sin(about_y), atol=1e-15)
    np.testing.assert_array_equal(turned[:, 1], [[0, 1, 0]] * 300)

    # written by BMTK: index_pointer, somata only
    report = folder / "9_cells/output/membrane_potential.h5"
    assert report_populations(report) == ["cortex"]
    sections = read_report_sections(report, "cortex")
    assert sections.node_ids.tolist() == [*range(9)]
    assert all(sections.runs_of(node).counts.tolist() == [1] for node in range(9))
