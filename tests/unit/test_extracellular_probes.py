"""Probes of probeinterface, placed by their tip or along the main axis of somata."""

import json

import numpy as np
import probeinterface
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probeinterface.neuropixels_tools import build_neuropixels_probe

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular import probes
from ephysflow.extracellular.probes import (
    main_axis,
    placed_by_centre,
    placed_by_tip,
    read_probe,
    shaft_axes,
)

UNITS = st.floats(-1, 1)
DIRECTIONS = st.tuples(UNITS, UNITS, UNITS).filter(lambda d: np.linalg.norm(d) > 1e-3)
NP1000 = read_probe("NP1000", "8")


def distances(points):
    return np.linalg.norm(points[:, np.newaxis] - points[np.newaxis], axis=2)


def saved(probe, path):
    probeinterface.write_probeinterface(path, probe)
    return str(path)


def linear(n=4, **settings):
    return probeinterface.generate_linear_probe(num_elec=n, ypitch=25, **settings)


def test_neuropixels_have_their_geometry():
    # Neuropixels 1.0: 960 sites in rows of two, staggered by 16 um, rows 20 um apart
    probe = read_probe("NP1000")
    assert len(probe.names) == len(set(probe.names)) == 960
    assert probe.names[:3] == ["e0", "e1", "e2"]
    np.testing.assert_array_equal(probe.positions[:4], [[16, 0, 0], [48, 0, 0], [0, 20, 0], [32, 20, 0]])
    np.testing.assert_array_equal(probe.tip, [24, -220, 0])
    np.testing.assert_array_equal(probe.normals, np.broadcast_to([0, 0, 1], (960, 3)))
    four = read_probe("NP2010", "1279:1282")
    assert four.names == ["s0e1279", "s1e0", "s1e1"]
    np.testing.assert_array_equal(four.tip, [383, -217, 0])


def test_an_upright_probe_is_only_moved():
    positions, normals = placed_by_tip(NP1000, (100, 200, 300), (0, 1, 0))
    np.testing.assert_array_equal(positions[0], [100 - 8, 200 + 220, 300])
    np.testing.assert_array_equal(normals[0], [0, 0, 1])


@pytest.mark.parametrize(
    ("direction", "twist", "axes"),
    [
        ((0, 2, 0), 0, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ((0, 1, 0), 90, [[0, 0, -1], [0, 1, 0], [1, 0, 0]]),
        ((0, -1, 0), 0, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]),
        ((1e-300, 0, 0), 0, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
        ((0, 0, 1e300), 0, [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
        ((0, 0, -1), 180, [[0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
        ((0, 3, 4), 0, [[1, 0, 0], [0, 0.6, 0.8], [0, -0.8, 0.6]]),
    ],
)
def test_axes_of_the_shaft(direction, twist, axes):
    np.testing.assert_allclose(shaft_axes(direction, twist), axes, atol=1e-15)


@given(direction=DIRECTIONS, twist=st.floats(-720, 720), tip=st.tuples(UNITS, UNITS, UNITS))
def test_a_placed_probe_keeps_its_shape(direction, twist, tip):
    tip = 1000 * np.array(tip)
    positions, normals = placed_by_tip(NP1000, tip, direction, twist)
    np.testing.assert_allclose(distances(positions), distances(NP1000.positions), atol=1e-9)
    axes = shaft_axes(direction, twist)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(normals, np.broadcast_to(axes[2], (8, 3)), atol=1e-12)
    # a contact is as high above the tip, along the direction, as in the probe's drawing
    unit = np.array(direction) / np.linalg.norm(direction)
    np.testing.assert_allclose((positions - tip) @ unit, NP1000.positions[:, 1] + 220, atol=1e-9)


@given(direction=DIRECTIONS, twist=st.floats(-360, 360))
def test_twist_turns_about_the_direction(direction, twist):
    before, after = shaft_axes(direction, 0), shaft_axes(direction, twist)
    np.testing.assert_array_equal(before[1], after[1])
    # Rodrigues' formula for vectors at right angles to the axis
    angle = np.deg2rad(twist)
    for k in (0, 2):
        turned = np.cos(angle) * before[k] + np.sin(angle) * np.cross(before[1], before[k])
        np.testing.assert_allclose(after[k], turned, atol=1e-12)
    # shafts that are as good as vertical count as vertical
    assert before[2][2] > -1e-5
    assert abs(before[0][2]) < 1e-5


def test_choice_of_contacts(tmp_path):
    assert read_probe("NP1000", "3").names == ["e0", "e1", "e2"]
    assert read_probe("NP1000", "10:12").names == ["e10", "e11"]
    probe = linear()
    probe.set_contact_ids(["a", "b", "c", "d"])
    probe.set_device_channel_indices([2, -1, 0, 1])
    path = saved(probe, tmp_path / "probe.json")
    assert read_probe(path).names == ["a", "b", "c", "d"]
    chosen = read_probe(path, "channels")
    assert chosen.names == ["c", "d", "a"]
    np.testing.assert_array_equal(chosen.positions[:, 1], [50, 75, 0])
    np.testing.assert_array_equal(chosen.tip, read_probe(path).tip)


@pytest.mark.parametrize(
    "contacts", ["0", "5", "2:2", "3:2", "0:5", "x", "-1", "1:", ":", "", "1:2:3", "all"]
)
def test_choices_that_give_no_contacts(tmp_path, contacts):
    path = saved(linear(), tmp_path / "probe.json")
    with pytest.raises(
        ConfigurationError, match=r"allowed are N, START:STOP and channels; .* has 4 contacts"
    ):
        read_probe(path, contacts)


def test_no_contact_is_wired(tmp_path):
    with pytest.raises(ConfigurationError, match="no contact is wired to a channel"):
        read_probe(saved(linear(), tmp_path / "probe.json"), "channels")


def test_millimetres_and_probes_without_an_outline(tmp_path):
    probe = probeinterface.Probe(ndim=2, si_units="mm")
    probe.set_contacts([[0, 1], [0.5, 1], [0, 2]])
    found = read_probe(saved(probe, tmp_path / "probe.json"))
    assert found.names == ["0", "1", "2"]
    np.testing.assert_array_equal(found.positions, [[0, 1000, 0], [500, 1000, 0], [0, 2000, 0]])
    np.testing.assert_array_equal(found.tip, [250, 1000, 0])


def test_a_probe_in_space_is_placed_like_the_flat_one(tmp_path):
    flat = build_neuropixels_probe("NP1000").get_slice(np.arange(8))
    turned = flat.to_3d(axes="xz")
    turned.set_contact_ids(flat.contact_ids)
    turned.rotate(33, center=[0, 0, 0], axis=[1, 2, 3])
    turned.move([100.0, 200.0, 300.0])
    probe = read_probe(saved(turned, tmp_path / "probe.json"))
    assert probe.in_space
    assert probe.names == NP1000.names
    np.testing.assert_allclose(probe.positions, turned.contact_positions)
    for found, expected in zip(
        placed_by_tip(probe, (1, 2, 3), (1, -2, 0.5), 20),
        placed_by_tip(NP1000, (1, 2, 3), (1, -2, 0.5), 20),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_contacts_on_the_back_look_the_other_way(tmp_path):
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts([[0, 0], [0, 0]], contact_sides=np.array(["front", "back"]), contact_ids=["f", "b"])
    content = probe.to_dict(array_as_list=True)
    path = tmp_path / "probe.json"
    path.write_text(json.dumps({"specification": "probeinterface", "version": "0.4.2", "probes": [content]}))
    found = read_probe(str(path))
    np.testing.assert_array_equal(found.normals, [[0, 0, 1], [0, 0, -1]])


@pytest.mark.parametrize("name", ["NP9999", "probe", "", "../x"])
def test_unknown_parts(name):
    with pytest.raises(ConfigurationError, match="neither a file .* nor the part number of a Neuropixels"):
        read_probe(name)


def content_with(**changes):
    content = linear().to_dict(array_as_list=True)
    return {"specification": "probeinterface", "version": "0.4.2", "probes": [content | changes]}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "is not a probe of probeinterface"),
        ({}, "is not a probe of probeinterface"),
        ({"specification": "probeinterface", "version": "0.4.2", "probes": []}, "has 0 probes"),
        (content_with(si_units="inch"), "si_units 'inch' is unknown; allowed are um, mm, m"),
        (content_with(ndim=4), "is not a probe"),
        (content_with(contact_positions=[[0, 1]] * 4), "is not a probe"),
        (content_with(contact_positions=[[0, 1], [1, 1], [2, 1], [3, 1e12]]), "positions below 1e"),
        (content_with(contact_positions=[["a", 1], [1, 1], [2, 1], [3, 1]]), "probe.json"),
        (content_with(contact_plane_axes=[[[1, 0], [1, 0]]] * 4), "two axes that are not parallel"),
        (content_with(contact_plane_axes=[[[1, 0], [0, 1]]] * 3), "contacts of the probe are damaged"),
        (content_with(probe_planar_contour=[[0, float("nan")]]), "positions below 1e"),
        (content_with(contact_ids=["a", "a", "b", "c"]), "probe.json"),
        (content_with(device_channel_indices=["a"]), "is not a probe"),
    ],
)
def test_damaged_probes_are_named(tmp_path, content, named):
    path = tmp_path / "probe.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError) as error:
        read_probe(str(path))
    assert named in str(error.value)
    assert str(path) in str(error.value)


def test_files_that_are_no_probes(tmp_path, monkeypatch):
    path = tmp_path / "probe.json"
    with pytest.raises(ConfigurationError, match=r"probe .*probe\.json is not there"):
        read_probe(str(path))
    path.write_text('{"probes": [')
    with pytest.raises(ConfigurationError, match="is not a probe of probeinterface"):
        read_probe(str(path))
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match="is not a probe of probeinterface"):
        read_probe(str(path))
    monkeypatch.setattr(probes, "MAX_BYTES", 10)
    with pytest.raises(ConfigurationError, match="more than 10 bytes"):
        read_probe(str(path))


def test_contacts_in_space_that_agree_on_no_direction(tmp_path):
    probe = linear().to_3d()
    planes = probe.contact_plane_axes.copy()
    planes[1] = planes[1, ::-1]
    probe._contact_plane_axes = planes
    with pytest.raises(ConfigurationError, match="must be the same for all contacts"):
        read_probe(saved(probe, tmp_path / "probe.json"))


@pytest.mark.parametrize(
    ("tip", "direction", "twist"),
    [
        ((0, 0, 0), (0, 0, 0), 0),
        ((0, 0, 0), (0, np.nan, 1), 0),
        ((0, 0, 0), (0, np.inf, 1), 0),
        ((0, 0, 0), (0, 1, 0), np.nan),
        ((0, np.nan, 0), (0, 1, 0), 0),
        ((0, 1e300, 0), (0, 1, 0), 0),
    ],
)
def test_places_that_are_none(tip, direction, twist):
    with pytest.raises(ConfigurationError, match="direction|tip"):
        placed_by_tip(NP1000, tip, direction, twist)


@given(direction=DIRECTIONS, seed=st.integers(0, 1000))
def test_main_axis_of_a_column_of_somata(direction, seed):
    unit = np.array(direction) / np.linalg.norm(direction)
    # exactly symmetric about the axis: two points along it, and a ring around it
    across = shaft_axes(direction, seed)
    somata = np.array([900 * unit, -900 * unit, across[0], -across[0], across[2], -across[2]])
    somata += np.random.default_rng(seed).uniform(-1e4, 1e4, 3)
    axis = main_axis(somata)
    assert abs(axis @ unit) == pytest.approx(1)
    assert axis[np.argmax(np.abs(axis))] > 0
    np.testing.assert_allclose(main_axis(somata, direction), unit, atol=1e-9)
    np.testing.assert_allclose(main_axis(somata, -unit), -unit, atol=1e-9)
    # the order of the somata, and the half that lies first, change nothing
    np.testing.assert_allclose(main_axis(somata[::-1]), axis, atol=1e-9)
    positions, _ = placed_by_centre(NP1000, somata.mean(axis=0), axis)
    np.testing.assert_allclose(positions.mean(axis=0), somata.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(distances(positions), distances(NP1000.positions), atol=1e-8)


@pytest.mark.parametrize(
    "somata",
    [np.empty((0, 3)), np.ones((1, 3)), np.ones((5, 3)), np.eye(3)],
)
def test_somata_without_a_main_axis(somata):
    with pytest.raises(ConfigurationError, match="have no main axis"):
        main_axis(somata)


def test_a_hint_at_right_angles():
    with pytest.raises(ConfigurationError, match="at right angles to the main axis"):
        main_axis(np.array([[0.0, 0, 0], [0, 9, 0]]), (1, 0, 0))
