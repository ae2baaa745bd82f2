"""Axon files: real ones of both versions, and copies with changed headers."""

import contextlib
import struct

import numpy as np
import pytest

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers import choose_reader, read_entry
from ephysflow.recordings.standardise import standardise


@pytest.fixture
def folder(shared):
    return shared / "data/patchclamp/abf"


def entry(path, **more) -> dict:
    return {"filepath": str(path), "protocols": {"P": []}, **more}


def sweeps(path, **more):
    result = read_entry(entry(path, **more))["P"]
    assert not result.unreadable
    return result.sweeps


def changed(path, tmp_path, **fields):
    """Copy a file with other bytes at some offsets: at=(offset, format, values...)."""
    content = bytearray(path.read_bytes())
    for offset, code, *values in fields.values():
        struct.pack_into(code, content, offset, *values)
    copy = tmp_path / "copy.abf"
    copy.write_bytes(content)
    return copy


def abf1(path, data, units="mV", command="pA", holding=0.0, interval=100.0):
    """Write a version 1 file of one channel without a command waveform; data has the shape (sweeps, samples)."""
    data = np.asarray(data, dtype="<i2")
    head = bytearray(6144)
    for offset, code, *values in [
        (0, "4s", b"ABF "),
        (4, "<f", 1.83),
        (8, "<hi", 5, data.size),
        (16, "<i", len(data)),
        (40, "<i", 12),
        (120, "<hf", 1, interval),
        (244, "<ffii", 10.0, 10.0, 32768, 32768),
        (442, "10s", b"IN 0      "),
        (602, "8s", units.encode().ljust(8)),
        (1306, "10s", b"Cmd 0     "),
        (1346, "8s", command.encode().ljust(8)),
        (1394, "<f", holding),
    ]:
        struct.pack_into(code, head, offset, *values)
    for offset in (730, 922, 1050):  # gains
        struct.pack_into("<16f", head, offset, *[1.0] * 16)
    path.write_bytes(bytes(head) + data.tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "count", "first", "increment", "onset"),
    [
        # levels and increments as the names of the protocols say; onsets in samples, 1/64 of the sweep included
        ("17o05028_ic_steps.abf", 16, -50, 10, None),
        ("171116sh_0018.abf", 17, -100, 25, None),
        ("190619B_0003.abf", 10, -120, 60, 10_478),
    ],
)
def test_steps_by_command_waveform(folder, name, count, first, increment, onset):
    read = sweeps(folder / name)
    assert len(read) == count
    assert [raw.sweep_id for raw in read] == [str(k) for k in range(count)]
    for k, raw in enumerate(read):
        sweep = standardise(raw, {})
        level = first + increment * k
        levels = {round(1000 * float(value)) for value in np.unique(sweep.current)}
        assert levels == {0, level} | ({first} if "dual" in raw.protocol else set())
        if level and onset:
            moved = np.flatnonzero(sweep.current)
            assert (moved[0], moved[-1]) == (onset, onset + 9999)
        assert -120 < np.median(sweep.voltage) < -30
        assert "was not recorded" in raw.details["note"]


def test_voltage_follows_the_command(folder):
    """Rebuilt steps sit where the membrane answers: more current, more voltage, in that window only."""
    read = [standardise(raw, {}) for raw in sweeps(folder / "171116sh_0018.abf")[:4]]
    window = read[0].current != 0
    assert np.all(np.diff([np.mean(sweep.voltage[window]) for sweep in read]) > 0.5)


def test_recorded_current_of_a_gap_free_file(folder):
    (raw,) = sweeps(folder / "2020_07_29_0062.abf")
    assert len(raw.voltage) == 184_320
    assert (raw.v_unit, raw.i_unit) == ("mV", "pA")
    assert raw.details["current"] == "recorded channel I_Com [pA]"
    assert "note" not in raw.details
    assert raw.protocol == "Current_Clamp_gap free"


@pytest.mark.parametrize("name", ["14o16001_vc_pair_step.abf", "171116sh_0011.abf", "17o05024_vc_steps.abf"])
def test_voltage_clamp_is_refused(folder, name):
    with pytest.raises(RecordingError, match="voltage clamp; channels: 0: IN 0 \\[pA\\]"):
        read_entry(entry(folder / name))


def test_channels_by_choice(folder):
    path = folder / "190619B_0003.abf"
    assert np.array_equal(sweeps(path, v_channel="IN 0")[2].voltage, sweeps(path)[2].voltage)
    assert np.array_equal(
        sweeps(path, v_channel=0, i_channel=1)[0].current, sweeps(path, v_channel=1, i_channel=1)[0].voltage
    )
    with pytest.raises(RecordingError, match="v_channel 'IN 7' is not in the file; channels: 0: IN 0"):
        read_entry(entry(path, v_channel="IN 7"))
    with pytest.raises(RecordingError, match="command 'Cmd 1' of channel 1 is in 'mV'"):
        read_entry(entry(path, v_channel=1))


def test_two_voltages_without_command_are_refused(folder, tmp_path):
    copy = changed(folder / "190619B_0003.abf", tmp_path, unit=(1346, "8s", b"mV      "))
    with pytest.raises(
        RecordingError, match=r"2 voltage channels with 0 current commands.*IN 0 \[mV\], 1: IN 2 \[mV\]"
    ):
        read_entry(entry(copy))


def test_holding_level_of_version_1(folder, tmp_path):
    copy = changed(folder / "190619B_0003.abf", tmp_path, holding=(1394, "<f", 33.0))
    current = sweeps(copy)[0].current
    assert (current[0], current[-1]) == (33, 33)
    assert set(np.unique(current)) == {-120.0, 0.0, 33.0}


def test_hand_made_file(tmp_path):
    data = np.arange(600).reshape(3, 200)
    path = abf1(tmp_path / "a.ABF", data, holding=12.0)
    assert choose_reader(entry(path)) == "axon"
    read = sweeps(path)
    assert len(read) == 3
    for raw, values in zip(read, data, strict=True):
        sweep = standardise(raw, {})
        assert sweep.dt == pytest.approx(0.1)
        assert sweep.voltage == pytest.approx(values * 10 / 32768, rel=1e-6)
        assert sweep.current == pytest.approx(np.full(200, 0.012))
        assert "holding level only" in raw.details["note"]


def test_current_alone_and_unknown_units(tmp_path):
    with pytest.raises(RecordingError, match="voltage clamp"):
        read_entry(entry(abf1(tmp_path / "a.abf", np.zeros((2, 100)), units="pA", command="mV")))
    with pytest.raises(RecordingError, match=r"0 voltage channels .*IN 0 \[deg\]"):
        read_entry(entry(abf1(tmp_path / "b.abf", np.zeros((2, 100)), units="deg")))


@pytest.mark.parametrize("name", ["17o05028_ic_steps.abf", "190619B_0003.abf"])
def test_truncated_at_many_lengths(folder, tmp_path, name):
    content = (folder / name).read_bytes()
    path = tmp_path / "cut.abf"
    for length in (4, 100, 511, 512, 700, 2048, 5000, 6000, 7000, len(content) // 2, len(content) - 2000):
        path.write_bytes(content[:length])
        with pytest.raises(RecordingError, match=r"cut\.abf"):
            read_entry(entry(path))


def test_announced_sizes_are_checked_before_reading(folder, tmp_path):
    huge = changed(folder / "17o05028_ic_steps.abf", tmp_path, adc=(92 + 8, "<q", 2**31))
    with pytest.raises(RecordingError, match="truncated: the header announces more"):
        read_entry(entry(huge))
    tags = changed(folder / "190619B_0003.abf", tmp_path, tags=(48, "<i", 2**30))
    with pytest.raises(RecordingError, match="truncated: the header announces more"):
        read_entry(entry(tags))


@pytest.mark.parametrize("name", ["17o05028_ic_steps.abf", "190619B_0003.abf"])
def test_damaged_headers_are_contained(folder, tmp_path, name):
    content = (folder / name).read_bytes()
    path = tmp_path / "bad.abf"
    for seed in range(12):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for place in rng.integers(4, 1400, 20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(RecordingError):
            read_entry(entry(path))


def test_nothing_is_printed(folder, capfd):
    sweeps(folder / "17o05028_ic_steps.abf")
    out, err = capfd.readouterr()
    assert out == err == ""
