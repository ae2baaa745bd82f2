"""Manifests of AllenSDK cache folders."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ephysflow.ecephys.manifest import LAYOUT, CacheFolder, read_manifest
from ephysflow.errors import ConfigurationError, ProjectError


def entries(version="0.3.0", **changed):
    """Return the content of a manifest; `changed` are further items of the entry of a key, None leaves it out."""
    found = [{"type": "manifest_version", "value": version}]
    for key, (spec, parent) in LAYOUT.items():
        if key in changed and changed[key] is None:
            continue
        entry = {"key": key, "type": "file", "spec": spec} | ({"parent_key": parent} if parent else {})
        found.append(entry | changed.get(key, {}))
    return found


def written(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"manifest": content}))
    return path


@pytest.mark.parametrize("version", ["0.2.1", "0.3.0"])
def test_paths_are_those_of_the_cache(tmp_path, version):
    cache = read_manifest(written(tmp_path, entries(version)))
    assert cache == CacheFolder(tmp_path)
    assert cache.table("units") == tmp_path / "units.csv"
    assert cache.session_nwb(7) == tmp_path / "session_7" / "session_7.nwb"
    assert cache.session_metrics(7) == tmp_path / "session_7" / "session_7_analysis_metrics.csv"
    assert cache.probe_lfp(7, 8) == tmp_path / "session_7" / "probe_8_lfp.nwb"
    assert cache.typewise_metrics("brain_observatory_1.1") == (
        tmp_path / "brain_observatory_1.1_analysis_metrics.csv"
    )
    assert cache.natural_movie(1) == tmp_path / "natural_movie_templates" / "natural_movie_1.h5"
    assert cache.natural_scene(0) == tmp_path / "natural_scene_templates" / "natural_scene_0.tiff"


def test_other_specs_and_folders_are_followed(tmp_path):
    changed = {
        "BASEDIR": {"spec": "cache"},
        "session_data": {"spec": "sessions/%d"},
        "units": {"spec": "tables/units.csv"},
        "probe_lfp_nwb": {"spec": "lfp_%d.nwb", "parent_key": "BASEDIR"},
    }
    cache = read_manifest(written(tmp_path, [*entries(**changed), {"key": "new", "spec": "../x"}]))
    assert cache.table("units") == tmp_path / "cache" / "tables" / "units.csv"
    assert cache.session_nwb(7) == tmp_path / "cache" / "sessions" / "7" / "session_7.nwb"
    assert cache.probe_lfp(7, 8) == tmp_path / "cache" / "lfp_8.nwb"


def test_keys_that_version_0_2_1_lacks_are_the_known_ones(tmp_path):
    lacking = {"natural_scene": None, "natural_scene_dir": None}
    assert read_manifest(written(tmp_path, entries("0.2.1", **lacking))) == CacheFolder(tmp_path)
    with pytest.raises(ProjectError, match="key natural_scene_dir, natural_scene is missing"):
        read_manifest(written(tmp_path, entries("0.3.0", **lacking)))


@pytest.mark.parametrize("version", ["0.2.0", "0.4.0", "0.10.0", None, 3, ["0.3.0"], {}])
def test_another_version_is_refused(tmp_path, version):
    path = written(tmp_path, entries(version))
    with pytest.raises(ProjectError, match="those that can be read are 0.2.1 and 0.3.0") as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_a_missing_version_is_refused(tmp_path):
    with pytest.raises(ProjectError, match="version of the manifest is not stated"):
        read_manifest(written(tmp_path, entries()[1:]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"manifest": [', "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("[]", "no manifest of AllenSDK"),
        ('{"manifest": {}}', "no manifest of AllenSDK"),
        ('{"manifest": [1]}', "version of the manifest is not stated"),
        ("[" + "1," * 600000, "larger than"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, text, message):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ProjectError, match=message):
        read_manifest(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "manifest.json", tmp_path):
        with pytest.raises(ProjectError, match="cannot be read"):
            read_manifest(path)


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("units", "/etc/passwd"),
        ("units", "../units.csv"),
        ("units", "a/../../units.csv"),
        ("units", "units_%d.csv"),
        ("units", "units%.csv"),
        ("units", ""),
        ("units", 3),
        ("units", "a\\..\\b"),
        ("units", "a\0b"),
        ("session_nwb", "session.nwb"),
        ("session_nwb", "%d_%d.nwb"),
        ("session_nwb", "%s.nwb"),
        ("session_nwb", "%999999999d.nwb"),
        ("session_nwb", "%%d.nwb"),
        ("typewise_analysis_metrics", "%d.csv"),
    ],
)
def test_a_spec_that_leads_astray_is_refused(tmp_path, key, spec):
    with pytest.raises(ProjectError, match=f"key {key}: spec is"):
        read_manifest(written(tmp_path, entries(**{key: {"spec": spec}})))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"units": {"parent_key": "nowhere"}}, "key units: parent_key is 'nowhere'"),
        ({"units": {"parent_key": 3}}, "key units: parent_key is 3"),
        ({"units": {"parent_key": "units"}}, "lead back to themselves"),
        ({"BASEDIR": {"parent_key": "movie_dir"}}, "lead back to themselves"),
        ({"units": {"parent_key": "session_data"}}, "is in session_data, whose spec session_%d has"),
        ({"session_nwb": {"parent_key": "probe_lfp_nwb"}}, "has a placeholder"),
        ({"units": {"key": "sessions"}}, "key sessions is there more than once"),
        ({"units": {"key": None}}, "has no key"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(tmp_path, changed, message):
    with pytest.raises(ProjectError, match=message):
        read_manifest(written(tmp_path, entries(**changed)))


def test_percent_in_the_folder_is_harmless(tmp_path):
    folder = tmp_path / "100%d %s %"
    assert CacheFolder(folder).session_nwb(7) == folder / "session_7" / "session_7.nwb"
    assert CacheFolder(folder).typewise_metrics("a") == folder / "a_analysis_metrics.csv"


def test_ids_and_names_are_checked_before_they_become_paths(tmp_path):
    cache = CacheFolder(tmp_path)
    for wrong in (-1, True, "7", 1.5, None):
        with pytest.raises(ConfigurationError, match="allowed are integers"):
            cache.session_nwb(wrong)
    for wrong in ("../x", "a/b", "", ".hidden", "a\0", 3):
        with pytest.raises(ConfigurationError, match="session type"):
            cache.typewise_metrics(wrong)
    with pytest.raises(ConfigurationError, match="known are sessions, probes, channels, units"):
        cache.table("spikes")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "spec", "x"]), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(key=st.sampled_from(sorted(LAYOUT)), item=st.sampled_from(["key", "spec", "parent_key"]), value=JSON)
def test_any_entry_is_followed_inside_the_folder_or_refused(tmp_path, key, item, value):
    try:
        cache = read_manifest(written(tmp_path, entries(**{key: {item: value}})))
    except ProjectError:
        return
    for path in (
        cache.table("units"),
        cache.session_nwb(1),
        cache.probe_lfp(1, 2),
        cache.typewise_metrics("a"),
    ):
        assert path.is_relative_to(tmp_path)
        assert ".." not in path.parts
