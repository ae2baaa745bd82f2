"""Spike files: all layouts, and files that hold no spikes."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.errors import SimulationError
from ephysflow.sonata.spikes import read_spikes, spike_populations


def write(path, populations, units="ms"):
    """Write populations: name -> (ids, times); name '' for the old layout."""
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        for name, (ids, times) in populations.items():
            group = spikes.create_group(name) if name else spikes
            group["node_ids" if name else "gids"] = ids
            group["timestamps"] = times
            if units is not None:
                group["timestamps"].attrs["units"] = units
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spikes.h5"


@pytest.mark.parametrize("kind", ["<u8", "<i8", ">i4", "u1"])
@pytest.mark.parametrize("float_kind", ["<f8", ">f8", "<f4", "<i4"])
def test_order_of_the_file_and_types(path, kind, float_kind):
    write(
        path,
        {"a": (np.array([3, 1, 2], dtype=kind), np.array([5, 0, 1], dtype=float_kind)), "b": ([7], [0.5])},
    )
    gid, time = read_spikes(path, "a")
    assert (gid.dtype, time.dtype) == (np.dtype("int64"), np.dtype("float64"))
    assert (gid.tolist(), time.tolist()) == ([3, 1, 2], [5, 0, 1])
    assert [values.tolist() for values in read_spikes(path, "b")] == [[7], [0.5]]
    assert spike_populations(path) == ["a", "b"]


@pytest.mark.parametrize(
    "units", [None, "ms", b"ms", "milliseconds", np.array(["ms"], dtype=object), np.array([], "f8")]
)
def test_units_that_mean_ms(path, units):
    write(path, {"a": ([1], [2.0])}, units)
    assert read_spikes(path, "a")[1].tolist() == [2.0]


def test_old_layout_holds_any_population(path):
    write(path, {"": ([4, 5], [1.0, 2.0])}, units=None)
    assert [values.tolist() for values in read_spikes(path, "whatever")] == [[4, 5], [1.0, 2.0]]
    assert spike_populations(path) == []


def test_no_spikes(path):
    write(path, {"a": (np.empty(0, dtype="u8"), np.empty(0))})
    assert [len(values) for values in read_spikes(path, "a")] == [0, 0]
    write(path, {})
    assert [len(values) for values in read_spikes(path, "a")] == [0, 0]


def test_compressed_values_are_read(path):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "spikes/a/node_ids", data=np.zeros(100_000, dtype="u8"), compression="gzip", chunks=True
        )
        file.create_dataset("spikes/a/timestamps", data=np.zeros(100_000), compression="gzip", chunks=True)
    assert [len(values) for values in read_spikes(path, "a")] == [100_000, 100_000]


BAD = {
    "other population": ({"b": ([1], [1.0]), "c": ([1], [1.0])}, "no population 'a' (there is: b, c)"),
    "lengths": ({"a": ([1, 2], [1.0])}, "/spikes/a/timestamps has 1 values, but /spikes/a/node_ids has 2"),
    "NaN": ({"a": ([1, 2], [1.0, np.nan])}, "there is nan at position 1"),
    "infinite": ({"a": ([1, 2], [np.inf, 1.0])}, "there is inf at position 0"),
    "negative time": ({"a": ([1, 2], [1.0, -0.5])}, "there is -0.5 at position 1"),
    "negative id": ({"a": ([1, -2], [1.0, 1.0])}, "/spikes/a/node_ids holds -2, which is not an id"),
    "huge id": ({"a": (np.array([2**63], dtype="u8"), [1.0])}, "which is not an id"),
    "fractions": ({"a": ([0.5], [1.0])}, "/spikes/a/node_ids has type float64"),
    "texts": ({"a": ([1], ["x"])}, "/spikes/a/timestamps has type object"),
    "two dimensions": ({"a": ([1], [[1.0]])}, "shape (1, 1); needed are numbers in 1 dimension"),
    "one value": ({"a": (1, 1.0)}, "shape ()"),
}


@pytest.mark.parametrize(("populations", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_spikes(path, populations, message):
    write(path, populations)
    with pytest.raises(SimulationError) as error:
        read_spikes(path, "a")
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_another_unit_is_refused(path):
    with pytest.raises(SimulationError, match="has the unit 's'; only ms can be read"):
        read_spikes(write(path, {"a": ([1], [1.0])}, units="s"), "a")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "group /spikes is missing (there is: nothing)"),
        ({"report/a": [1]}, "group /spikes is missing (there is: report)"),
        ({"spikes": [1]}, "group /spikes is missing"),
        ({"spikes/a/node_ids": [1]}, "dataset /spikes/a/timestamps is missing (there is: node_ids)"),
        ({"spikes/a/timestamps": [1.0]}, "dataset /spikes/a/node_ids is missing"),
        ({"spikes/timestamps": [1.0]}, "dataset /spikes/node_ids is missing"),
        ({"spikes/a": [1.0]}, "group /spikes/a is missing"),
    ],
)
def test_missing_parts(path, layout, message):
    with h5py.File(path, "w") as file:
        for name, values in layout.items():
            file[name] = values
    with pytest.raises(SimulationError) as error:
        read_spikes(path, "a")
    assert message in str(error.value)


def test_declared_but_not_stored_values_are_not_allocated(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("spikes/a/node_ids", (10**12,), dtype="u8", chunks=(1000,))
        file.create_dataset("spikes/a/timestamps", (10**12,), dtype="f8", chunks=(1000,))
    with pytest.raises(SimulationError, match="the file does not hold them"):
        read_spikes(path, "a")


def test_missing_file(path):
    for read in (spike_populations, lambda path: read_spikes(path, "a")):
        with pytest.raises(SimulationError, match="spikes file .*spikes.h5 is not there"):
            read(path)


@given(end=st.integers(0, 20_000), junk=st.binary(max_size=20))
def test_truncated_files_give_one_clear_error(tmp_path_factory, end, junk):
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole_spikes.h5"
    if not whole.exists():
        write(whole, {"a": (np.arange(1000), np.arange(1000.0))})
    content = whole.read_bytes()
    cut = folder / "cut_spikes.h5"
    cut.write_bytes(content[: min(end, len(content) - 1)] + junk[:1])
    if len(cut.read_bytes()) < len(content):
        with pytest.raises(SimulationError, match="cut_spikes.h5 is not HDF5, or is damaged"):
            read_spikes(cut, "a")
