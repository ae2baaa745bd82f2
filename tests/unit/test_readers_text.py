"""Text columns, tables with a header, MATLAB files."""

import contextlib
import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers import read_entry
from ephysflow.recordings.standardise import standardise

LCCR = {
    "dt": 0.1,
    "t_unit": "ms",
    "v_unit": "mV",
    "i_unit": "pA",
    "amplitudes": [10, -20],
    "ton": 1,
    "toff": 2,
    "hypamp": -5,
}


def read(path, **more):
    return read_entry({"filepath": str(path), "protocols": {"P": []}, **more})["P"]


def columns(path, *values, missing="-"):
    text = [[missing if v is None else f"{v}" for v in column] for column in values]
    path.write_text("\n".join("\t".join(row) for row in zip(*text, strict=True)) + "\n")
    return path


class TestColumns:
    def test_current_is_made_from_amplitudes(self, tmp_path):
        path = columns(tmp_path / "a.TXT", np.full(30, -65.5), np.arange(30))
        result = read(path, **LCCR)
        assert not result.unreadable
        first, second = (standardise(raw, LCCR) for raw in result.sweeps)
        assert first.voltage == pytest.approx(np.full(30, -65.5))
        assert first.current == pytest.approx(
            np.r_[np.full(10, -0.005), np.full(10, 0.005), np.full(10, -0.005)]
        )
        assert second.current[15] == pytest.approx(-0.025)
        assert (second.stated["amp"], second.given["hypamp"], second.given["ton"]) == (-0.02, -0.005, 1.0)

    @pytest.mark.parametrize("missing", ["-", ""])
    def test_missing_cells_are_not_zero(self, tmp_path, missing):
        whole, short, holed = (
            np.full(30, -65.0),
            [-65.0] * 25 + [None] * 5,
            [-65.0] * 4 + [None] + [-65.0] * 25,
        )
        path = columns(tmp_path / "a.txt", whole, short, holed, [None] * 30, missing=missing)
        result = read(path, **LCCR | {"amplitudes": [1, 2, 3, 4]})
        assert [len(raw.voltage) for raw in result.sweeps] == [30, 25]
        assert "cut at sample 25 of 30" in result.sweeps[1].details["note"]
        assert [u.sweep_id for u in result.unreadable] == ["column 2", "column 3"]
        assert "1 samples are missing" in result.unreadable[0].reason
        assert all((raw.voltage == -65).all() for raw in result.sweeps)

    def test_columns_and_amplitudes_must_agree(self, tmp_path):
        path = columns(tmp_path / "a.txt", *[np.zeros(30)] * 2)
        result = read(path, **LCCR | {"amplitudes": [1]})
        assert len(result.sweeps) == 1
        assert result.unreadable[0].reason == "column 1 has no amplitude: 1 are given"
        result = read(path, **LCCR | {"amplitudes": [1, 2, 3]})
        assert len(result.sweeps) == 2
        assert result.unreadable[0].sweep_id == "amplitude 3"

    def test_remove_last_100ms(self, tmp_path):
        path = columns(tmp_path / "a.txt", *[np.zeros(1500)] * 2)
        assert len(read(path, **LCCR, remove_last_100ms=True).sweeps[0].voltage) == 500

    def test_missing_keys_are_named(self, tmp_path):
        path = columns(tmp_path / "a.txt", np.zeros(30))
        reason = read(path, dt=0.1, t_unit="ms").unreadable[0].reason
        assert reason.endswith("also needs v_unit, i_unit, amplitudes, ton, toff, hypamp in the entry")

    @pytest.mark.parametrize("content", ["a\tb\n1\t2\n", "1\t2\n3\n", "1 2 3\n", "\x00\xff\xfe binary"])
    def test_other_text_is_refused(self, tmp_path, content):
        path = tmp_path / "a.txt"
        path.write_text(content, encoding="latin-1")
        with pytest.raises(RecordingError, match="not a table of tab-separated numbers"):
            read(path, **LCCR)

    def test_same_sweeps_as_the_reference(self, shared):
        folder = shared / "golden/efeatures/csv_lccr_absolute_amplitude"
        (entry,) = json.loads((folder / "config.json").read_text())["files_metadata"]["dummy"]["Step"]
        with open(folder / "recordings.csv") as stream:
            expected = list(csv.DictReader(stream))
        path = shared / "data/patchclamp/exp_data" / entry.pop("filepath")
        result = read(path, **entry)
        assert not result.unreadable
        for raw, row in zip(result.sweeps, expected, strict=True):
            sweep = standardise(raw, entry)
            assert (len(sweep.voltage), sweep.dt) == (int(row["n_samples"]), float(row["dt"]))
            known = sweep.stated | sweep.given
            for key in ("ton", "toff", "amp", "hypamp"):
                assert known[key] == float(row[key])
            assert sweep.current.max() - sweep.current.min() == pytest.approx(abs(known["amp"]))
            assert sweep.voltage.min() == pytest.approx(float(row["minimum_voltage"]), abs=0.2)


def table_of(**values) -> pa.Table:
    return pa.table({name.replace("__", " "): value for name, value in values.items()})


def write(path, table, delimiter=",") -> None:
    if path.suffix.lower() == ".parquet":
        pa.parquet.write_table(table, path)
        return
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    lines = [delimiter.join(table.column_names), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


T, V, C = np.arange(50) * 0.5, np.linspace(-70, -60, 50), np.r_[np.zeros(20), np.full(30, 40.0)]


class TestTables:
    @pytest.mark.parametrize(
        ("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.TSV", "\t"), ("a.parquet", "")]
    )
    @pytest.mark.parametrize(
        "header",
        [
            ("time [ms]", "voltage [mV]", "current [pA]"),
            ("t (ms)", "V (mV)", "I (pA)"),
            ("time_ms", "voltage_mV", "current_pA"),
        ],
    )
    def test_formats_and_headers(self, tmp_path, name, delimiter, header):
        write(tmp_path / name, pa.table(dict(zip(header, (T, V, C), strict=True))), delimiter)
        (raw,) = read(tmp_path / name).sweeps
        sweep = standardise(raw, {})
        assert sweep.dt == pytest.approx(0.5)
        assert sweep.voltage == pytest.approx(V)
        assert sweep.current == pytest.approx(C / 1000)

    @given(
        voltage=st.lists(st.floats(-100, 60), min_size=2, max_size=30),
        dt=st.floats(0.01, 1),
        kind=st.sampled_from(["a.csv", "a.parquet"]),
    )
    @settings(max_examples=40, deadline=None)
    def test_round_trip(self, tmp_path_factory, voltage, dt, kind):
        path = tmp_path_factory.getbasetemp() / kind
        times = np.arange(len(voltage)) * dt
        write(path, pa.table({"t": times, "v": voltage, "i": np.zeros(len(voltage))}))
        (raw,) = read(path).sweeps
        assert np.array_equal(raw.voltage, voltage)
        assert raw.dt == pytest.approx(dt, rel=1e-9)
        assert raw.v_unit is raw.i_unit is raw.t_unit is None

    def test_units_and_dt_from_the_entry(self, tmp_path):
        write(tmp_path / "a.csv", pa.table({"v": V, "i": C}))
        units = {"v_unit": "mV", "i_unit": "pA", "t_unit": "s"}
        assert standardise(read(tmp_path / "a.csv", dt=1e-4, **units).sweeps[0], units).dt == pytest.approx(
            0.1
        )
        assert "no column of time and no dt" in read(tmp_path / "a.csv", **units).unreadable[0].reason

    def test_sweeps_and_protocols(self, tmp_path):
        table = pa.table(
            {
                "t [ms]": np.tile(np.arange(10.0), 4),
                "v [mV]": np.repeat([-70.0, -60.0, -50.0, -40.0], 10),
                "i [nA]": np.zeros(40),
                "sweep": np.repeat([2, 1, 1, 2], 10),
                "protocol": ["IV"] * 20 + ["Ramp"] * 20,
            }
        )
        write(tmp_path / "a.csv", table)
        entry = {"filepath": str(tmp_path / "a.csv"), "protocols": {"a": ["iv"], "b": ["Ramp"], "c": ["X"]}}
        results = read_entry(entry)
        assert [(raw.sweep_id, raw.voltage[0]) for raw in results["a"].sweeps] == [("2", -70), ("1", -60)]
        assert [(raw.sweep_id, raw.voltage[0]) for raw in results["b"].sweeps] == [("1", -50), ("2", -40)]
        assert results["c"].unreadable[0].reason == "no sweep of protocol X; the file has: IV, Ramp"

    def test_irregular_times(self, tmp_path):
        times = T.copy()
        times[30:] += 0.1
        write(tmp_path / "a.csv", pa.table({"time": times, "voltage": V, "current": C}))
        assert "not regular" in read(tmp_path / "a.csv").unreadable[0].reason
        assert len(read(tmp_path / "a.csv", dt=0.5).sweeps) == 1

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("time,voltage\n0,1\n", "no column of current"),
            ("a,b\n0,1\n", "no column of voltage or current; the header has: a, b"),
            ("voltage,V,current\n0,1,2\n", "two columns of voltage"),
            ("time,voltage,current\n0,x,2\n1,y,3\n", "must hold numbers"),
            ("time,voltage,current\n0,1,2\n1,2\n", "cannot be read as a table"),
            ("", "empty"),
            ("\n\n", "cannot be read as a table|no column"),
        ],
    )
    def test_unusable_tables(self, tmp_path, content, reason):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(RecordingError, match=reason):
            read(tmp_path / "a.csv")

    def test_truncated_parquet(self, tmp_path):
        write(tmp_path / "a.parquet", pa.table({"t": T, "v": V, "i": C}))
        content = (tmp_path / "a.parquet").read_bytes()
        for length in (3, 4, 20, len(content) // 2, len(content) - 1):
            (tmp_path / "b.parquet").write_bytes(content[:length])
            with pytest.raises(RecordingError, match="cannot be read as a table"):
                read(tmp_path / "b.parquet")


def matlab_file(path, **variables):
    scipy.io.savemat(path, variables, do_compression=True)
    return path


class TestMatlab:
    def test_pairs_of_traces(self, tmp_path):
        times = np.arange(50) * 1e-4
        path = matlab_file(
            tmp_path / "a.mat",
            Trace_1_1_1_1=np.c_[times, C * 1e-12],
            Trace_1_1_1_2=np.c_[times, V * 1e-3],
            Trace_1_1_2_1=np.c_[times, C * 2e-12],
            Trace_1_1_2_2=np.c_[times, V * 1e-3],
            Trace_1_1_3_1=np.c_[times, C * 2e-12],
            Trace_1_1_4_1=np.zeros(5),
            Trace_1_1_4_2=np.zeros(5),
            comment="text",
            settings={"a": 1},
        )
        result = read(path)
        assert [raw.sweep_id for raw in result.sweeps] == ["Trace_1_1_1", "Trace_1_1_2"]
        assert [u.sweep_id for u in result.unreadable] == ["Trace_1_1_3", "Trace_1_1_4"]
        sweep = standardise(result.sweeps[1], {"v_unit": "V", "i_unit": "A", "t_unit": "s"})
        assert sweep.voltage == pytest.approx(V)
        assert sweep.current == pytest.approx(C * 2e-3)
        assert sweep.dt == pytest.approx(0.1)

    def test_no_traces(self, tmp_path):
        with pytest.raises(RecordingError, match="it holds: a"):
            read(matlab_file(tmp_path / "a.mat", a=np.zeros(3)))

    def test_version_7_3_is_refused(self, tmp_path):
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform".ljust(512) + b"\x89HDF\r\n\x1a\n")
        with pytest.raises(RecordingError, match="save it again with the option -v7"):
            read(tmp_path / "a.mat")

    def test_truncated_at_many_lengths(self, tmp_path):
        times = np.arange(50) * 1e-4
        content = matlab_file(
            tmp_path / "a.mat", Trace_1_1_1_1=np.c_[times, C], Trace_1_1_1_2=np.c_[times, V]
        ).read_bytes()
        for length in (5, 100, 127, 128, 136, 150, len(content) // 2, len(content) - 5):
            (tmp_path / "b.mat").write_bytes(content[:length])
            with contextlib.suppress(RecordingError):
                assert not read(tmp_path / "b.mat").sweeps
