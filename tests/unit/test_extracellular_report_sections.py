"""Sections and compartments of the nodes of a report."""

from itertools import groupby

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.extracellular.report_sections import read_report_sections, report_populations


def write(path, elements, population="a", pointers="index_pointers", mode="w"):
    """Write a report; elements : node -> its element ids, in the order of the file."""
    ends = np.cumsum([len(ids) for ids in elements.values()])
    ids = np.concatenate([np.array(ids, dtype="u4") for ids in elements.values()])
    with h5py.File(path, mode) as file:
        group = file.create_group(f"report/{population}")
        group["data"] = np.zeros((2, len(ids)), dtype="f4")
        group["mapping/node_ids"] = np.array([*elements], dtype="u8")
        group[f"mapping/{pointers}"] = np.concatenate([[0], ends]).astype("u8")
        group["mapping/element_ids"] = ids
        group["mapping/time"] = [0.0, 0.2, 0.1]
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.h5"


def runs(path, node_id):
    found = read_report_sections(path, "a").runs_of(node_id)
    assert found.ids.dtype == found.counts.dtype == np.int64
    return list(zip(found.ids.tolist(), found.counts.tolist(), strict=True))


@pytest.mark.parametrize("pointers", ["index_pointers", "index_pointer"])
def test_equal_ids_in_a_row_are_a_section(path, pointers):
    write(path, {7: [0], 2: [0, 0, 1, 5, 5, 5], 9: [5, 0, 3, 3]}, pointers=pointers)
    assert read_report_sections(path, "a").node_ids.tolist() == [2, 7, 9]
    assert runs(path, 7) == [(0, 1)]
    assert runs(path, 2) == [(0, 2), (1, 1), (5, 3)]
    # in the order of the report, whatever it is; 5 of node 2 and 5 of node 9 are two sections
    assert runs(path, 9) == [(5, 1), (0, 1), (3, 2)]


def test_the_end_of_a_node_ends_a_section(path):
    write(path, {1: [4, 4], 2: [4]})
    assert (runs(path, 1), runs(path, 2)) == ([(4, 2)], [(4, 1)])


def test_nodes_without_compartments_are_left_out(path):
    write(path, {5: [], 3: [0], 4: [], 1: [0, 1]})
    assert read_report_sections(path, "a").node_ids.tolist() == [1, 3]


def test_nodes_that_the_report_does_not_have(path):
    report = read_report_sections(write(path, {3: [0], 5: [0]}), "a")
    for node_id in (0, 4, 6):
        with pytest.raises(KeyError):
            report.runs_of(node_id)


@given(data=st.data())
def test_against_a_loop(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "sections_report.h5"
    nodes = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=6, unique=True))
    elements = {}
    for node in nodes:
        sections = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
        elements[node] = [s for s in sections for _ in range(data.draw(st.integers(1, 4)))]
    report = read_report_sections(write(path, elements), "a")
    assert report.node_ids.tolist() == sorted(nodes)
    for node in nodes:
        found = report.runs_of(node)
        expected = [(s, len([*same])) for s, same in groupby(elements[node])]
        assert list(zip(found.ids.tolist(), found.counts.tolist(), strict=True)) == expected


def test_a_section_in_two_places(path):
    write(path, {1: [0, 1], 2: [0, 1, 2, 1]})
    with pytest.raises(SimulationError) as error:
        read_report_sections(path, "a")
    assert str(error.value) == f"{path}: compartments of section 1 of node 2 (a) are not together"


def test_populations(path):
    write(path, {1: [0]}, population="b")
    write(path, {1: [0]}, population="a", mode="a")
    assert report_populations(path) == ["a", "b"]
    with pytest.raises(SimulationError, match=r"no population 'c' .there is: a, b."):
        read_report_sections(path, "c")


def test_no_values_are_read(path, monkeypatch):
    write(path, {1: [0, 1]})
    read, get = [], h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, key: (read.append(self.name), get(self, key))[1]
    )
    read_report_sections(path, "a")
    assert "/report/a/mapping/element_ids" in read
    assert "/report/a/data" not in read


@pytest.mark.parametrize("reader", [report_populations, lambda path: read_report_sections(path, "a")])
def test_files_that_are_no_reports(path, reader):
    with pytest.raises(SimulationError, match="report file .* is not there"):
        reader(path)
    path.write_text("hello")
    with pytest.raises(SimulationError, match="is not HDF5, or is damaged"):
        reader(path)
    h5py.File(path, "w").close()
    with pytest.raises(SimulationError, match="group /report is missing"):
        reader(path)


def test_a_report_without_compartments(path):
    with pytest.raises(SimulationError):
        read_report_sections(write(path, {1: [], 2: []}), "a")
