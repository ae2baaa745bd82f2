"""The registry of products, and the step that writes one of them."""

import importlib
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest
from tests.ecephys_jobs import extract, index

from ephysflow.ecephys.array_file import read_array_provenance, reading_arrays, writing_arrays
from ephysflow.ecephys.products import DEFAULT_PRODUCTS, PRODUCTS, files_of, product_of
from ephysflow.ecephys.products_step import findings_of, left_out_reason
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ProjectError, ResultError
from ephysflow.example.ecephys_files import write_lfp, write_session
from ephysflow.io.canonical import file_digest
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import open_table, read_provenance, read_table

SESSION = 715
NO_FILTERS = UnitFilters(None, None, None, False, False)
OF_PRESENTATIONS = {
    "presentationwise_spike_counts": {"options": {"bin_edges": [0.0, 0.05, 0.1]}},
    "presentationwise_spike_times": {},
    "conditionwise_spike_statistics": {},
}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Results folder with the index of a session, and its file."""
    folder = tmp_path_factory.mktemp("session")
    file = folder / f"session_{SESSION}.nwb"
    write_session(file, SESSION, seed=1, n_units=24)
    index(folder / "results", SESSION, file)
    return folder / "results", file


def probe_with_lfp(results):
    probes = read_table(results / "ecephys/recorded/sessions/715/index.probes.parquet").to_pylist()
    return next(str(row["id"]) for row in probes if row["has_lfp_data"])


# ---------------------------------------------------------------- registry


def test_every_product_has_a_function():
    for product in PRODUCTS.values():
        assert callable(getattr(importlib.import_module(product.module), product.function))


def test_every_file_name_tells_its_product():
    for name in PRODUCTS:
        for probe in (None, "729000000"):
            for file_name in files_of(name, [probe] if probe else []):
                assert product_of(file_name) == (name, probe if PRODUCTS[name].is_of_a_probe else None)
    with pytest.raises(KeyError):
        product_of("lfp_.h5")
    with pytest.raises(KeyError):
        product_of("units.parquet.tmp")


def test_files_of_probes_are_one_a_probe():
    assert files_of("lfp", [1, 2]) == ["lfp_1.h5", "lfp_2.h5"]
    assert files_of("csd", []) == []
    assert files_of("units", [1, 2]) == ["units.parquet"]


def test_what_is_big_is_only_made_when_it_is_asked_for():
    left = set(PRODUCTS) - set(DEFAULT_PRODUCTS)
    assert left == {*OF_PRESENTATIONS, "lfp", "csd"}


# ---------------------------------------------------------------- the step


@pytest.mark.parametrize("product", [name for name, p in PRODUCTS.items() if p.kind != "arrays"])
def test_a_table_has_the_columns_that_the_registry_promises(indexed, product):
    results, file = indexed
    path = extract(results, SESSION, file, product, **OF_PRESENTATIONS.get(product, {}))
    schema = read_table(path).schema
    found = {name: str(schema.field(name).type) for name in PRODUCTS[product].columns}
    assert found == {
        name: {"float64": "double"}.get(kind, kind) for name, kind in PRODUCTS[product].columns.items()
    }
    assert left_out_reason(path) is None
    assert read_provenance(path).inputs == {str(file): file_digest(file)}


def test_spikes_are_those_of_the_file(indexed):
    results, file = indexed
    table = read_table(extract(results, SESSION, file, "spikes", filters=NO_FILTERS))
    with h5py.File(file) as nwb:
        ids = nwb["units/id"][()]
        times = nwb["units/spike_times"][()]
        ends = nwb["units/spike_times_index"][()].astype(int)
        amplitudes = nwb["units/spike_amplitudes"][()]
    assert table.num_rows == len(times)
    units = table["unit_id"].to_numpy()
    assert (np.diff(units) >= 0).all()
    for unit, first, last in zip(ids, np.r_[0, ends[:-1]], ends, strict=True):
        np.testing.assert_array_equal(table["time"].to_numpy()[units == unit], times[first:last])
        np.testing.assert_array_equal(table["amplitude"].to_numpy()[units == unit], amplitudes[first:last])


def test_spikes_of_many_units_are_written_in_pieces(indexed):
    results, file = indexed
    with open_table(extract(results, SESSION, file, "spikes", filters=NO_FILTERS)) as opened:
        assert opened.num_row_groups == 2  # 48 units


def test_units_are_those_that_the_filters_keep(indexed, capsys):
    results, file = indexed
    all_units = read_table(extract(results, SESSION, file, "units", filters=NO_FILTERS))
    kept = read_table(extract(results, SESSION, file, "units"))
    assert all_units.num_rows == 48
    assert 0 < kept.num_rows < 48
    assert "presence_ratio_minimum" in capsys.readouterr().out
    spikes = read_table(extract(results, SESSION, file, "spikes"))
    assert set(spikes["unit_id"].to_pylist()) == set(kept["unit_id"].to_pylist())


def test_counts_hold_the_spikes_of_the_bins(indexed):
    results, file = indexed
    options = {"bin_edges": [0.0, 0.1, 0.25], "stimuli": ["flashes", "not of this session"]}
    path = extract(results, SESSION, file, "presentationwise_spike_counts", options=options)
    shown = read_table(extract(results, SESSION, file, "stimulus_presentations")).to_pandas()
    shown = shown[shown.stimulus_name == "flashes"]
    spikes = read_table(extract(results, SESSION, file, "spikes")).to_pandas()
    with reading_arrays(path) as file_:
        assert file_["counts"].dtype == np.uint32
        assert list(file_["stimulus_presentation_id"]) == list(shown.stimulus_presentation_id)
        counts, units = file_["counts"][()], file_["unit_id"][()]
    assert counts.sum() > 0
    for u, unit in enumerate(units):
        train = spikes.time[spikes.unit_id == unit].to_numpy()
        for p, start in enumerate(shown.start_time):
            edges = start + np.array([0.0, 0.1, 0.25])
            expected = [((a <= train) & (train < b)).sum() for a, b in pairwise(edges)]
            assert counts[p, :, u].tolist() == expected


def test_counts_without_a_presentation_or_a_unit_are_empty(indexed):
    results, file = indexed
    name = "presentationwise_spike_counts"
    path = extract(results, SESSION, file, name, options={"bin_edges": [0, 1], "stimuli": ["none such"]})
    with reading_arrays(path) as arrays:
        assert arrays["counts"].shape[:2] == (0, 1)
    read_array_provenance(path)
    nothing = UnitFilters(presence_ratio_minimum=2.0)
    path = extract(results, SESSION, file, name, filters=nothing, options={"bin_edges": [0, 1]})
    with reading_arrays(path) as arrays:
        assert arrays["counts"].shape[1:] == (1, 0)


def test_spike_times_of_presentations_agree_with_their_statistics(indexed):
    results, file = indexed
    options = {"stimuli": ["drifting_gratings"]}
    times = read_table(extract(results, SESSION, file, "presentationwise_spike_times", options=options))
    statistics = read_table(
        extract(results, SESSION, file, "conditionwise_spike_statistics", options=options)
    )
    assert times.num_rows == sum(statistics["spike_count"].to_pylist()) > 0
    assert (np.diff(times["unit_id"].to_numpy()) >= 0).all()


def test_mean_waveforms_are_those_of_the_units(indexed):
    results, file = indexed
    path = extract(results, SESSION, file, "mean_waveforms", filters=NO_FILTERS)
    with reading_arrays(path) as arrays, h5py.File(file) as nwb:
        assert sorted(nwb["units/id"]) == list(arrays["unit_ids"])
        assert arrays["offsets"][-1] == len(arrays["channel_ids"]) == len(arrays["values"])
        assert not np.isnan(arrays["values"]).any()
        electrodes = nwb["general/extracellular_ephys/electrodes"]
        number_of = dict(zip(electrodes["id"], electrodes["local_index"], strict=True))
        first, last = arrays["offsets"][:2]
        assert last > first
        row = list(nwb["units/id"]).index(arrays["unit_ids"][0])
        stored = nwb["units/waveform_mean"][np.r_[0, nwb["units/waveform_mean_index"]][row] :]
        numbers = [number_of[channel] for channel in arrays["channel_ids"][first:last]]
        np.testing.assert_array_equal(arrays["values"][first:last], stored[numbers])
        assert arrays["values"].attrs["sampling_rate"] > 0


def test_lfp_is_copied_in_an_interval(indexed, tmp_path):
    results, file = indexed
    probe = probe_with_lfp(results)
    lfp = tmp_path / f"probe_{probe}_lfp.nwb"
    write_lfp(lfp, SESSION, int(probe), seed=1)
    more = {"probe": probe, "lfp_file": lfp}
    path = extract(results, SESSION, file, "lfp", **more, options={"interval": [20.0, 20.5]})
    assert path.name == f"lfp_{probe}.h5"
    with reading_arrays(path) as arrays:
        times = arrays["times"][()]
        assert ((times >= 20) & (times < 20.5)).all()
        assert arrays["values"].shape == (len(times), len(arrays["channel_ids"]))
    assert set(read_array_provenance(path).inputs) == {str(file), str(lfp)}
    with reading_arrays(extract(results, SESSION, file, "csd", **more)) as arrays:
        assert arrays["values"].shape == (len(arrays["x"]), len(arrays["times"]))


def test_an_lfp_file_of_another_probe_is_left_out(indexed, tmp_path):
    results, file = indexed
    probe = probe_with_lfp(results)
    lfp = tmp_path / "probe_1_lfp.nwb"
    write_lfp(lfp, SESSION, int(probe), seed=1)
    path = extract(results, SESSION, file, "lfp", probe="1", lfp_file=lfp)
    assert probe in left_out_reason(path)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_products_of_a_session_that_was_left_out_are_empty(tmp_path, product):
    file = tmp_path / "session_715.nwb"
    file.write_bytes(b"<html>404</html>")
    index(tmp_path, SESSION, file)
    of_probe = {"probe": "1", "lfp_file": tmp_path / "absent.nwb"} if PRODUCTS[product].is_of_a_probe else {}
    path = extract(tmp_path, SESSION, file, product, **of_probe)
    assert "HTML" in left_out_reason(path)
    if path.suffix == ".parquet":
        table = read_table(path)
        assert table.num_rows == 0
        assert table.column_names == list(PRODUCTS[product].columns)
        assert read_provenance(path).step == "extract_session"
    else:
        assert read_array_provenance(path).step == "extract_session"


def damaged(indexed, tmp_path, change):
    file = tmp_path / f"session_{SESSION}.nwb"
    shutil.copy(indexed[1], file)
    with h5py.File(file, "a") as nwb:
        change(nwb)
    index(tmp_path, SESSION, file)
    return file


def test_a_product_that_cannot_be_read_says_why_and_the_others_go_on(indexed, tmp_path, capsys):
    def change(nwb):
        nwb["units/spike_times"][10] = np.nan

    file = damaged(indexed, tmp_path, change)
    path = extract(tmp_path, SESSION, file, "spikes", filters=NO_FILTERS)
    assert "spike time that is nan" in left_out_reason(path)
    assert read_table(path).num_rows == 0
    assert "LEFT OUT: spikes of session 715" in capsys.readouterr().out
    assert left_out_reason(extract(tmp_path, SESSION, file, "running_speed")) is None


@pytest.mark.parametrize("product", ["spikes", *OF_PRESENTATIONS])
def test_spikes_that_were_not_in_order_are_sorted_and_said(indexed, tmp_path, capsys, product):
    def change(nwb):
        nwb["units/spike_times"][:2] = nwb["units/spike_times"][:2][::-1]

    file = damaged(indexed, tmp_path, change)
    more = {"filters": NO_FILTERS, **OF_PRESENTATIONS.get(product, {})}
    path = extract(tmp_path, SESSION, file, product, **more)
    assert "not in order" in capsys.readouterr().out
    ((subject, reason),) = findings_of(path)
    assert subject.startswith("unit ")
    assert "sorted" in reason
    if path.suffix == ".parquet":
        whole = extract(indexed[0], SESSION, indexed[1], product, **more)
        assert findings_of(whole) == []
        assert (
            read_table(path)
            .drop_columns(["amplitude"] if product == "spikes" else [])
            .equals(read_table(whole).drop_columns(["amplitude"] if product == "spikes" else []))
        )


def test_units_whose_channel_does_not_exist_are_reported(indexed, tmp_path):
    def change(nwb):
        nwb["units/peak_channel_id"][3] = 1

    file = damaged(indexed, tmp_path, change)
    path = extract(tmp_path, SESSION, file, "units", filters=NO_FILTERS)
    assert read_table(path).num_rows == 47
    ((subject, reason),) = findings_of(path)
    assert subject == "peak_channel_id"
    assert "channel 1" in reason


def test_a_session_file_that_changed_after_its_index_is_refused(indexed, tmp_path):
    file = tmp_path / f"session_{SESSION}.nwb"
    shutil.copy(indexed[1], file)
    index(tmp_path, SESSION, file)
    with file.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ProjectError, match="changed"):
        extract(tmp_path, SESSION, file, "running_speed")


@pytest.mark.parametrize("product", ["units", "spikes", "mean_waveforms", "presentationwise_spike_counts"])
def test_a_product_is_the_same_at_every_run(indexed, product):
    results, file = indexed
    more = OF_PRESENTATIONS.get(product, {})
    once = extract(results, SESSION, file, product, **more).read_bytes()
    assert extract(results, SESSION, file, product, **more).read_bytes() == once


# ---------------------------------------------------------------- files of arrays

PROVENANCE = Provenance("extract_session", "a\tb", "{}", "code")


def test_arrays_keep_their_provenance(tmp_path):
    long = Provenance("extract_session", "a\tb", "x" * 100_000, "code")
    with writing_arrays(tmp_path / "a.h5", long) as file:
        file["values"] = np.arange(10)
    assert read_array_provenance(tmp_path / "a.h5") == long


def test_arrays_are_written_whole_or_not_at_all(tmp_path):
    def stopped():
        with writing_arrays(tmp_path / "a.h5", PROVENANCE) as file:
            file["values"] = np.arange(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["incomplete", "foreign", "cut", "absent", "chunk"])
def test_damaged_arrays_are_told_from_good_ones(tmp_path, damage):
    path = tmp_path / "a.h5"
    with writing_arrays(path, PROVENANCE) as file:
        file.create_dataset("values", data=np.arange(10_000), compression="gzip", chunks=(100,))
        place = file["values"].id.get_chunk_info(50).byte_offset
    if damage == "incomplete":
        with h5py.File(path, "a") as file:
            del file.attrs["complete"]
    elif damage == "foreign":
        with h5py.File(path, "w") as file:
            file["values"] = [1]
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "absent":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[place : place + 20] = bytes(20)
        path.write_bytes(content)
    with pytest.raises(ResultError, match="a.h5"):
        read_array_provenance(path)
