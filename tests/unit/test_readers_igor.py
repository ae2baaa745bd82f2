"""Igor binary waves: own files against igor2, real files, and damaged ones."""

import csv
import io
import json
import struct

import igor2.binarywave
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers import choose_reader, read_entry
from ephysflow.recordings.readers.igor import read_wave
from ephysflow.recordings.standardise import standardise

TYPES = {"f4": 2, "f8": 4, "i1": 8, "i2": 16, "i4": 32, "u1": 0x48, "u2": 0x50, "u4": 0x60}
NOTE = "TYPE:pulse;SI:250;PATTERN:IDRest;P0AMP1:0;P0DUR1:10;P0SI1:250;P0AMP2:50;P0DUR2:20;P0SI2:250;P0AMP3:0;P0DUR3:5"


def wave(
    values, step=2.5e-4, unit="mV", x_unit="s", note="", version=5, order="<", formula="", columns=0
) -> bytes:
    """Write a wave by Technical Note 003 of WaveMetrics."""
    values = np.asarray(values)
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    points, code = len(values), TYPES[values.dtype.str[1:]]
    text = note.encode("latin-1")
    if version == 5:
        head = struct.pack(
            order + "hhiiii4i4iiii", 5, 0, 320 + len(data), len(formula), len(text), 0, *[0] * 8, 0, 0, 0
        )
        body = struct.pack(order + "iIIihh6xh32sii", 0, 0, 0, points, code, 0, 1, b"trace", 0, 0)
        body += struct.pack(order + "4i4d4d", points, columns, 0, 0, step, 1, 1, 1, 0, 0, 0, 0)
        body += struct.pack("4s4s12x", unit.encode(), x_unit.encode()) + struct.pack(
            order + "hhdd", 0, 0, 0, 0
        )
        body = body.ljust(320, b"\0")
        checked, tail = 384, formula.encode() + text
        where = 2
    else:
        body = struct.pack(order + "hi20shhi", code, 0, b"trace", 0, 0, 0)
        body += struct.pack("4s4s", unit.encode(), x_unit.encode()) + struct.pack(
            order + "ihdd", points, 0, step, 0
        )
        body = body.ljust(110, b"\0")
        size = 126 + len(data)
        head = (
            struct.pack(order + "hiiih", 2, size, len(text), 0, 0)
            if version == 2
            else struct.pack(order + "hiiiih", 3, size, len(text), len(formula), 0, 0)
        )
        checked, tail = len(head) + 126, b"\0" * 16 + text + (formula.encode() if version == 3 else b"")
        where = len(head) - 2
    content = bytearray(head + body + data + tail)
    total = int(np.frombuffer(bytes(content[:checked].ljust(checked, b"\0")), order + "i2").sum(dtype=int))
    struct.pack_into(order + "H", content, where, -total % 0x10000)
    return bytes(content)


def entry(tmp_path, voltage: bytes, current: bytes, **more) -> dict:
    (tmp_path / "v.ibw").write_bytes(voltage)
    (tmp_path / "i.ibw").write_bytes(current)
    return {
        "v_file": str(tmp_path / "v.ibw"),
        "i_file": str(tmp_path / "i.ibw"),
        "protocols": {"P": []},
        **more,
    }


def read_one(given: dict):
    (sweep,) = read_entry(given)["P"].sweeps
    return sweep


def refusal(given: dict) -> str:
    result = read_entry(given)["P"]
    assert not result.sweeps
    return result.unreadable[0].reason


@given(
    values=st.sampled_from(sorted(TYPES)).flatmap(
        lambda kind: hnp.arrays(
            kind, st.integers(4, 40), elements={"allow_nan": False} if kind[0] == "f" else {}
        )
    ),
    version=st.sampled_from([2, 3, 5]),
    order=st.sampled_from("<>"),
    step=st.floats(1e-6, 1.0),
    note=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip),
)
@settings(max_examples=150, deadline=None)
def test_as_igor2_reads_it(tmp_path_factory, values, version, order, step, note):
    content = wave(values, step=step, note=note, version=version, order=order)
    path = tmp_path_factory.getbasetemp() / "wave.ibw"
    path.write_bytes(content)
    ours, theirs = read_wave(path), igor2.binarywave.load(io.BytesIO(content))
    header = theirs["wave"]["wave_header"]
    assert ours.values.dtype in (np.float32, np.float64)
    assert ours.values.dtype.isnative
    assert np.array_equal(ours.values, theirs["wave"]["wData"])
    assert np.array_equal(ours.values, values)
    assert ours.step == step == (header["sfA"][0] if version == 5 else header["hsA"])
    assert (ours.unit, ours.x_unit, ours.name, ours.version) == ("mV", "s", "trace", version)
    assert ours.note == note == theirs["wave"]["note"].decode().strip()


@pytest.mark.parametrize("version", [3, 5])
def test_note_beside_a_formula(tmp_path, version):
    (tmp_path / "a.ibw").write_bytes(wave(np.zeros(9, "f4"), note="a note", formula="x+y\0", version=version))
    assert read_wave(tmp_path / "a.ibw").note == "a note"


def test_pair_of_waves(tmp_path):
    made = entry(tmp_path, wave(np.full(8, -70, "f4")), wave(np.full(8, 20, "f4"), unit="pA"))
    assert choose_reader(made) == "igor"
    raw = read_one(made)
    assert (raw.v_unit, raw.i_unit, raw.t_unit, raw.dt) == ("mV", "pA", "s", 2.5e-4)
    sweep = standardise(raw, made)
    assert (sweep.voltage[0], sweep.dt) == (-70, 0.25)
    assert sweep.current[0] == pytest.approx(0.02)


def test_swapped_channels_are_put_right_and_said(tmp_path):
    raw = read_one(entry(tmp_path, wave(np.full(8, 20, "f4"), unit="pA"), wave(np.full(8, -70, "f4"))))
    assert (raw.voltage[0], raw.current[0], raw.v_unit, raw.i_unit) == (-70, 20, "mV", "pA")
    assert "put right" in raw.details["note"]


def test_disagreeing_dt_is_said_and_the_users_wins(tmp_path):
    waves = wave(np.zeros(8, "f4")), wave(np.zeros(8, "f4"), unit="pA")
    raw = read_one(made := entry(tmp_path, *waves, dt=0.5, t_unit="ms"))
    assert "0.5 ms as given" in raw.details["note"]
    assert "0.25 ms" in raw.details["note"]
    assert standardise(raw, made).dt == 0.5
    assert "note" not in read_one(entry(tmp_path, *waves, dt=2.5e-4, t_unit="s")).details


@pytest.mark.parametrize(
    ("note", "timing"),
    [
        (NOTE, {"ton": 10.0, "toff": 30.0}),
        (NOTE.replace("P0AMP2:50", "P0AMP2:0"), {}),  # no step
        (NOTE.replace("P0AMP1:0", "P0AMP1:50"), {}),  # two runs of the same level: which is the base?
        (NOTE.replace("P0AMP3:0", "P0AMP3:20"), {}),  # two levels
        (NOTE.replace("P0DUR3:5", "P0DUR3:6"), {}),  # not as long as the sweep
        (NOTE.replace("TYPE:pulse", "TYPE:ramp"), {}),
        (NOTE.replace("P0SI2:250", "P0SI2:500"), {}),
        (NOTE + ";P1AMP1:3;P1DUR1:35", {}),
        (NOTE.replace("P0DUR2:20", "P0DUR2:x"), {}),
        ("a free remark", {}),
        ("", {}),
    ],
)
def test_times_from_the_note(tmp_path, note, timing):
    made = entry(tmp_path, wave(np.zeros(140, "f4"), note=note), wave(np.zeros(140, "f4"), unit="pA"))
    if "P0AMP1:50" in note:
        timing = {"ton": 30.0, "toff": 35.0}  # one step down from the first level
    raw = read_one(made)
    assert dict(raw.timing) == timing
    assert raw.protocol == ("IDRest" if "PATTERN" in note else None)


@pytest.mark.parametrize("version", [2, 5])
def test_truncated_at_many_lengths(tmp_path, version):
    content = wave(np.arange(50, dtype="f4"), note="the note of the wave", version=version)
    for length in [1, 2, 3, 20, 100, 140, 200, 383, 384, 400, 500, len(content) - 20, len(content) - 1]:
        if length < len(content):
            made = entry(tmp_path, content[:length], content, reader="igor")
            assert "v.ibw" in refusal(made)


def test_damaged_header(tmp_path):
    content = bytearray(wave(np.zeros(50, "f4")))
    content[70] ^= 0x40
    assert "checksum" in refusal(entry(tmp_path, bytes(content), wave(np.zeros(50, "f4"))))


@pytest.mark.parametrize(
    ("voltage", "current", "reason"),
    [
        (b"", wave(np.zeros(5, "f4")), "empty"),
        (wave(np.zeros(5, "f4"), columns=2), wave(np.zeros(5, "f4")), "more than one dimension"),
        (wave(np.zeros(5, "f4"), step=1e-3), wave(np.zeros(5, "f4")), "differ in sampling interval"),
        (b"neither this nor that, at some length" * 20, wave(np.zeros(5, "f4")), "not an Igor binary wave"),
    ],
)
def test_unusable_waves(tmp_path, voltage, current, reason):
    assert reason in refusal(entry(tmp_path, voltage, current, reader="igor"))


def test_missing_partner(tmp_path):
    made = entry(tmp_path, wave(np.zeros(5, "f4")), wave(np.zeros(5, "f4")))
    del made["i_file"]
    with pytest.raises(RecordingError, match="needs i_file"):
        read_entry(made)
    made["i_file"] = str(tmp_path / "absent.ibw")
    assert "no such file" in refusal(made)


def test_unequal_lengths_are_refused(tmp_path):
    made = entry(tmp_path, wave(np.zeros(5, "f4")), wave(np.zeros(6, "f4"), unit="pA"))
    with pytest.raises(RecordingError, match="voltage has 5 samples and current 6"):
        standardise(read_one(made), made)


def test_real_files_as_igor2_reads_them(shared):
    folder = shared / "data/patchclamp"
    paths = [
        *folder.glob("exp_data/B*/*.ibw"),
        *folder.glob("exp_data/*.ibw"),
        *folder.glob("sscx/*/X_IV_*_26*.ibw"),
    ]
    assert len(paths) > 30
    for path in paths:
        ours, theirs = read_wave(path), igor2.binarywave.load(str(path))["wave"]
        assert ours.values.dtype == np.float32
        assert np.array_equal(ours.values, theirs["wData"])
        assert ours.note == theirs["note"].decode().strip()


def test_times_in_notes_agree_with_the_currents(shared):
    """B6, B8, B95: the note's on and off are where the smoothed current crosses half of the step."""
    folder = shared / "data/patchclamp/exp_data"
    pairs = [(v, v.with_name(v.name.replace("_Ch3_", "_Ch0_"))) for v in folder.rglob("*_Ch3_*.ibw")]
    assert len(pairs) == 11
    for v_file, i_file in pairs:
        made = {"v_file": str(v_file), "i_file": str(i_file), "t_unit": "s", "protocols": {"P": []}}
        raw = read_one(made)
        assert dict(raw.timing) == {"ton": 700.0, "toff": 2700.0}
        assert not raw.amplitudes
        current = standardise(raw, made).current
        smooth = np.convolve(current, np.ones(9) / 9, "same")
        middle = (np.median(current[3000:10_000]) + np.median(current[:2500])) / 2
        inside = np.flatnonzero((smooth > middle) == (np.median(current[3000:10_000]) > middle))
        inside = inside[(inside > 20) & (inside < 11_980)]
        assert inside[0] * 0.25 == pytest.approx(700, abs=2)
        assert inside[-1] * 0.25 == pytest.approx(2700, abs=2)


def test_same_sweeps_as_the_reference(shared):
    folder = shared / "golden/efeatures/b6b8_ton_toff_given"
    config = json.loads((folder / "config.json").read_text())
    with open(folder / "recordings.csv") as stream:
        expected = list(csv.DictReader(stream))
    data = shared / "data/patchclamp/exp_data"
    entries = [e for cell in config["files_metadata"].values() for group in cell.values() for e in group]
    for made, row in zip(entries, expected, strict=True):
        made = {**made, "v_file": str(data / made["v_file"]), "i_file": str(data / made["i_file"])}
        sweep = standardise(read_one({**made, "protocols": {"P": []}}), made)
        assert (len(sweep.voltage), sweep.dt) == (int(row["n_samples"]), float(row["dt"]))
        step = float(np.median(sweep.current[2800:10_800])) - float(row["hypamp"])
        assert step == pytest.approx(float(row["amp"]), abs=2e-8)
        assert sweep.given["ton"] == 700.0
