"""Which reader reads a file, files that cannot be opened, and readers that users write."""

import os

import h5py
import numpy as np
import pytest

from ephysflow.errors import ConfigurationError, RecordingError
from ephysflow.recordings.readers import READERS, choose_reader, read_entry
from ephysflow.recordings.standardise import standardise

HDF5 = b"\x89HDF\r\n\x1a\n"


@pytest.mark.parametrize(
    ("head", "reader"),
    [
        (HDF5, "nwb"),
        (b"\0" * 512 + HDF5, "nwb"),
        (b"ABF2", "axon"),
        (b"ABF ", "axon"),
        (b"\x00\x05", "igor"),
        (b"\x05\x00", "igor"),
        (b"\x02\x00", "igor"),
        (b"\x00\x03", "igor"),
        (b"PAR1", "table"),
        (b"MATLAB 5.0 MAT-file", "matlab"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + HDF5, "matlab"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.abf", "a.NWB", "a", "a.nwb.bak"])
def test_content_comes_before_the_name(tmp_path, head, reader, name):
    path = tmp_path / name
    path.write_bytes(head + b"\1\2\3")
    assert choose_reader({"filepath": str(path)}) == reader


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.ibw", "igor"),
        ("a.BWAV", "igor"),
        ("a.ABF", "axon"),
        ("a.Nwb", "nwb"),
        ("a.TXT", "csv_lccr"),
        ("a.mat", "matlab"),
        ("a.csv", "table"),
        ("a.Tsv", "table"),
        ("a.parquet", "table"),
        ("my.abf.csv", "table"),
    ],
)
def test_extension_where_the_content_says_nothing(tmp_path, name, reader):
    (tmp_path / name).write_text("1.5\t2.5\n")
    assert choose_reader({"filepath": str(tmp_path / name)}) == reader


def test_named_reader_wins(tmp_path):
    (tmp_path / "a.nwb").write_bytes(HDF5)
    for reader in (*READERS, "package.module.function"):
        assert choose_reader({"filepath": str(tmp_path / "a.nwb"), "reader": reader}) == reader
    with pytest.raises(ConfigurationError, match="'nvb' is unknown: allowed are igor, axon, nwb"):
        choose_reader({"filepath": str(tmp_path / "a.nwb"), "reader": "nvb"})


def test_unknown_file(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"something")
    with pytest.raises(RecordingError, match="neither content nor extension"):
        choose_reader({"filepath": str(tmp_path / "a.dat")})
    with pytest.raises(RecordingError, match="names no file"):
        choose_reader({})


@pytest.mark.parametrize("reader", [None, *READERS])
@pytest.mark.parametrize("extension", ["nwb", "abf", "txt", "csv", "mat", "parquet"])
def test_files_that_cannot_be_opened(tmp_path, reader, extension):
    path = tmp_path / f"a.{extension}"
    entry = {"filepath": str(path), "protocols": {"P": []}, "reader": reader}
    if reader == "igor":
        entry |= {"v_file": str(path), "i_file": str(path)}

    def reason() -> str:
        try:
            result = read_entry(entry)["P"]
        except RecordingError as error:
            return str(error)
        assert not result.sweeps
        return result.unreadable[0].reason

    assert "there is no such file" in reason()
    path.write_bytes(b"")
    assert "the file is empty" in reason()
    path.unlink()
    path.mkdir()
    assert "cannot be opened: Is a directory" in reason()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    (tmp_path / "a.csv").write_text("t,v,i\n")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(RecordingError, match="Permission denied"):
        choose_reader({"filepath": str(tmp_path / "a.csv")})


@pytest.mark.parametrize("extension", ["nwb", "abf", "txt", "csv", "mat", "parquet", "ibw"])
def test_garbage_is_refused_in_one_sentence(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    entry = {"filepath": str(path), "v_file": str(path), "i_file": str(path), "protocols": {"P": []}}
    try:
        result = read_entry(entry)["P"]
        assert not result.sweeps
        reason = result.unreadable[0].reason
    except RecordingError as error:
        reason = str(error)
    assert reason
    assert "\n" not in reason


def test_a_file_with_the_wrong_extension_is_read(tmp_path):
    with h5py.File(tmp_path / "a.abf", "w") as file:
        for place, unit in (("acquisition/timeseries/Sweep_0", "V"), ("stimulus/presentation/Sweep_0", "A")):
            group = file.create_group(place)
            group["data"] = np.zeros(10)
            group["data"].attrs["unit"] = unit
            group["starting_time"] = 0.0
            group["starting_time"].attrs["rate"] = 1000.0
        file["acquisition/timeseries/Sweep_0/aibs_stimulus_name"] = b"Ramp"
    result = read_entry({"filepath": str(tmp_path / "a.abf"), "protocols": {"P": ["Ramp"]}})["P"]
    assert result.sweeps[0].details["reader"] == "nwb"


class TestUserReader:
    entry = {  # noqa: RUF012
        "filepath": "a.xyz",
        "reader": "lab.read",
        "protocols": {"IDrest": ["IDrest_old", "IDrest_new"], "IV": []},
        "dt": 0.1,
    }

    def read(self, returned):
        asked = []

        def reader(metadata):
            asked.append(metadata)
            return returned

        return read_entry(self.entry, reader), asked

    def test_contract(self):
        voltage = [-70, -69, -68]
        results, asked = self.read(
            [
                {
                    "voltage": voltage,
                    "current": np.zeros(3, ">f4"),
                    "dt": 0.1,
                    "v_unit": "mV",
                    "i_unit": "pA",
                    "t_unit": "ms",
                    "id": "s7",
                    "repetition": 2,
                    "ton": 1.0,
                    "amp": 50,
                    "hypamp": np.float32(-10),
                    "ljp": 14.0,
                    "filename": "b.xyz",
                }
            ]
        )
        assert [metadata["protocol_name"] for metadata in asked] == [["IDrest_old", "IDrest_new"], "IV"]
        assert asked[0]["filepath"] == "a.xyz"
        (raw,) = results["IV"].sweeps
        assert (raw.sweep_id, raw.repetition, raw.ljp, raw.timing["ton"]) == ("s7", 2, 14.0, 1.0)
        assert raw.current.dtype == np.float32
        assert raw.details == {"reader": "lab.read", "filename": "b.xyz"}
        sweep = standardise(raw, self.entry)
        assert sweep.voltage == pytest.approx([-84, -83, -82])
        assert sweep.stated == pytest.approx({"ton": 1.0, "amp": 0.05, "hypamp": -0.01})

    def test_entry_is_not_changed(self):
        before = {**self.entry}
        self.read([])
        assert self.entry == before

    def test_dt_from_times(self):
        results, _ = self.read([{"voltage": [0.0, 1.0], "current": [0.0, 0.0], "t": [0.0, 0.25]}])
        assert results["IV"].sweeps[0].dt == 0.25

    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            ({"current": [0.0], "dt": 1}, "no voltage"),
            ({"voltage": [0.0], "current": [0.0]}, "no dt"),
            ({"voltage": [[0.0]], "current": [0.0], "dt": 1}, "one row of numbers"),
            ({"voltage": ["a"], "current": [0.0], "dt": 1}, "one row of numbers"),
            ({"voltage": [0.0], "current": [0.0], "dt": "fast"}, "dt must be a number"),
        ],
    )
    def test_bad_sweep_leaves_the_others(self, item, reason):
        results, _ = self.read([item, {"voltage": [0.0], "current": [0.0], "dt": 1}])
        assert len(results["IV"].sweeps) == 1
        assert reason in results["IV"].unreadable[0].reason

    @pytest.mark.parametrize("returned", [None, {"voltage": []}, [1], "text"])
    def test_wrong_return(self, returned):
        with pytest.raises(RecordingError, match="reader must return a list of dictionaries"):
            self.read(returned)

    def test_failure(self):
        def reader(metadata):
            raise KeyError("sampling")

        with pytest.raises(RecordingError, match="reader failed: 'sampling'"):
            read_entry(self.entry, reader)

    def test_not_loaded(self):
        with pytest.raises(ConfigurationError, match="not loaded"):
            read_entry(self.entry)
