"""From arrays of the configuration to electrodes."""

import pytest

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.array_settings import check_population_names, resolve_electrodes
from ephysflow.extracellular.electrode_types import parse_type
from ephysflow.extracellular.electrodes import Slice

FIELD = {"field": "pot.h5", "field_unit": "V/A"}
SLICE = {"bottom": 0, "top": 300, "sigma_below": 0, "sigma_above": 1.5}


@pytest.fixture
def resolve(tmp_path):
    """Return ``resolve(table, **settings)`` or ``resolve({array: (table, settings)})``."""

    def electrodes(arrays, **settings):
        if isinstance(arrays, str):
            arrays = {"probe": (arrays, settings)}
        given = {}
        for name, (table, of_array) in arrays.items():
            path = tmp_path / f"{name}.csv"
            path.write_text(table)
            given[name] = {"electrodes": str(path), **of_array}
        return resolve_electrodes(given, "config.yaml: extracellular.c.weights.w")

    return electrodes


def table(*types, columns="", values=""):
    lines = [f"name,x,y,z,type{columns}"]
    lines += [f"e{i},{10 * i},0,5,{kind}{values}" for i, kind in enumerate(types)]
    return "\n".join(lines) + "\n"


def test_defaults_of_bluerecording(resolve):
    e = resolve("name,x,y,z\nb,1,2,3\n")[0]
    assert (e.name, e.array, e.position) == ("b", "probe", (1.0, 2.0, 3.0))
    assert (e.layer, e.region, e.type, e.method) == ("NA", "NA", "LineSource", "LineSource")
    assert e.sigma == (0.277, 0.277, 0.277)
    assert (e.minimum_distance, e.cutoff, e.contact_radius, e.contact_points, e.slice) == (
        *(None, None, None),
        *(1, None),
    )
    assert (e.field, e.reference, e.csd_array) == (None, (), None)


def test_arrays_and_rows_keep_their_order(resolve):
    found = resolve({"z": ("n,x,y,z\nb2,0,0,0\na10,0,0,0\n", {}), "a": ("n,x,y,z\na2,0,0,0\n", {})})
    assert [(e.name, e.array) for e in found] == [("b2", "z"), ("a10", "z"), ("a2", "a")]


def test_a_column_counts_more_than_the_array(resolve):
    found = resolve(
        "name,x,y,z,type,sigma,cutoff,minimum_distance,reference\n"
        "a,0,0,0,,,,,\nb,0,0,0,LineSource,0.5,7,2,a\n",
        type="PointSource",
        sigma=0.3,
        cutoff=9,
        minimum_distance=1,
        reference=["a", "b"],
    )
    assert [e.method for e in found] == ["PointSource", "LineSource"]
    assert [e.sigma[0] for e in found] == [0.3, 0.5]
    assert [(e.cutoff, e.minimum_distance) for e in found] == [(9, 1), (7, 2)]
    assert [e.reference for e in found] == [("a", "b"), ("a",)]


@pytest.mark.parametrize(
    ("text", "method", "radius", "thickness"),
    [
        ("ObjectiveCSD_Sphere", "Sphere", 10, None),
        ("ObjectiveCSD_Sphere_60", "Sphere", 60, None),
        ("ObjectiveCSD_Disk", "Disk", 500, None),
        ("ObjectiveCSD_Disk_100", "Disk", 100, None),
        ("ObjectiveCSD_Disk_150_40.5", "Disk", 150, 40.5),
        ("ObjectiveCSD_Plane", "Plane", None, None),
        ("ObjectiveCSD_Plane_25", "Plane", None, 25),
    ],
)
def test_types_of_objective_csd(resolve, text, method, radius, thickness):
    e = resolve(table(text))[0]
    assert (e.type, e.method, e.radius, e.thickness) == (text, method, radius, thickness)
    assert (e.sigma, e.field) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        *("linesource", "Line", "ObjectiveCSD", "ObjectiveCSD_", "ObjectiveCSD_Cube", "Sphere", "Disk_10"),
        *(
            "ObjectiveCSD_Sphere_",
            "ObjectiveCSD_Sphere_0",
            "ObjectiveCSD_Sphere_-1",
            "ObjectiveCSD_Sphere_nan",
        ),
        *(
            "ObjectiveCSD_Sphere_1_2",
            "ObjectiveCSD_Plane_1_2",
            "ObjectiveCSD_Disk_1_2_3",
            "ObjectiveCSD_Disk__3",
        ),
        *("PointSource_3", "ObjectiveCSD_disk", "ObjectiveCSD_Disk_inf", ""),
    ],
)
def test_other_types_are_refused(text):
    with pytest.raises(ConfigurationError, match=f"here: type '{text}'.*allowed are PointSource"):
        parse_type(text, "here")


def test_positional_lists_follow_the_table(resolve):
    types = [
        "LineSource",
        "Reciprocity",
        "PointSource",
        "DipoleReciprocity",
        "ObjectiveCSD_Sphere",
        "LineSource",
    ]
    found = resolve(table(*types), sigma=[0.3, 0.4, 0.5], field=["pot.h5", "e.h5"], field_unit="V/A")
    assert [e.sigma and e.sigma[0] for e in found] == [0.3, None, 0.4, None, None, 0.5]
    assert [e.field for e in found] == [None, "pot.h5", None, "e.h5", None, None]
    assert found[1].field_unit == "V/A"
    assert found[1].outside_field == "refuse"
    shared = resolve(table("LineSource", "PointSource"), sigma=[0.4])
    assert [e.sigma for e in shared] == [(0.4, 0.4, 0.4)] * 2


def test_conductivity_along_each_axis(resolve):
    assert resolve(table("LineSource"), sigma={"x": 0.3, "y": 0.3, "z": 0.45})[0].sigma == (0.3, 0.3, 0.45)
    columns = {"columns": ",sigma_x,sigma_y,sigma_z", "values": ",0.1,0.2,0.4"}
    assert resolve(table("LineSource", **columns), sigma=0.3)[0].sigma == (0.1, 0.2, 0.4)


def test_contacts_slices_and_fields_of_rows(resolve, tmp_path):
    contact = {"radius": 6, "normal": [1, 0, 0]}
    e = resolve(table("LineSource"), contact=contact)[0]
    assert (e.contact_radius, e.contact_normal, e.contact_points) == (6, (1, 0, 0), 50)
    columns = {"columns": ",contact_radius,normal_x,normal_y,normal_z", "values": ",3,0,0,-1"}
    e = resolve(table("LineSource", **columns), contact={**contact, "points": 7})[0]
    assert (e.contact_radius, e.contact_normal, e.contact_points) == (3, (0, 0, -1), 7)
    e = resolve(table("PointSource", **columns))[0]
    assert (e.contact_radius, e.contact_points) == (3, 50)
    assert resolve(table("PointSource"), slice=SLICE)[0].slice == Slice(0, 300, 0, 1.5, 20)
    assert resolve(table("PointSource"), slice={**SLICE, "images": 3})[0].slice.images == 3
    e = resolve(table("Reciprocity", columns=",field", values=",own.h5"), outside_field="nan", **FIELD)[0]
    assert (e.field, e.outside_field) == (str(tmp_path / "own.h5"), "nan")


def test_electrodes_of_one_type_form_a_csd_array(resolve):
    disk, wide, plane = "ObjectiveCSD_Disk", "ObjectiveCSD_Disk_900", "ObjectiveCSD_Plane"
    found = resolve(table(disk, plane, disk, wide, plane, "LineSource"))
    groups = [e.csd_array for e in found]
    assert groups[0] == groups[2]
    assert groups[1] == groups[4]
    assert len({groups[0], groups[1], groups[3], groups[5]}) == 4
    assert groups[5] is None
    two = resolve({name: (table(disk).replace("e0", name), {}) for name in "ab"})
    assert two[0].csd_array != two[1].csd_array


def test_csd_arrays_by_rows(resolve, shared, tmp_path):
    text = (shared / "golden/extracellular/synth3_csdidx/electrodes.csv").read_text()
    found = resolve(text, objective_csd_array_indices=["1:4", "4:8"])
    groups = [e.csd_array for e in found]
    assert groups[0] is None
    assert len({*groups[1:4]}) == len({*groups[4:]}) == 1
    assert groups[1] != groups[4]


LINE = table("LineSource")
DISKS = table("LineSource", *["ObjectiveCSD_Disk"] * 4)


@pytest.mark.parametrize(
    ("text", "settings", "named"),
    [
        (LINE, {"type": "Magic"}, None),
        (table(""), {"type": "Magic"}, "arrays.probe: type 'Magic' is unknown"),
        (table("Magic"), {}, "probe.csv: line 2: type 'Magic' is unknown"),
        (LINE, {"sigma": [0.1, 0.2]}, "arrays.probe: sigma: has 2 values for 1 electrodes"),
        (table("Reciprocity"), {"sigma": 0.3, **FIELD}, "sigma: has no meaning here"),
        (
            table("ObjectiveCSD_Sphere"),
            {"contact": {"radius": 1, "normal": [0, 0, 1]}},
            "contact: has no meaning",
        ),
        (LINE, FIELD, "field: has no meaning here"),
        (LINE, {"objective_csd_array_indices": ["0:1"]}, "objective_csd_array_indices: has no meaning"),
        (
            table("Reciprocity", columns=",sigma", values=",0.3"),
            FIELD,
            "column sigma: has no meaning for type Rec",
        ),
        (
            table("LineSource", columns=",field", values=",f.h5"),
            {},
            "column field: has no meaning for type Line",
        ),
        (
            table("LineSource", columns=",radius", values=",5"),
            {},
            "column radius: has no meaning for type Line",
        ),
        (
            table("ObjectiveCSD_Sphere", columns=",contact_radius", values=",5"),
            {},
            "line 2 (electrode 'e0'): column contact_radius: has no meaning",
        ),
        (
            table("ObjectiveCSD_Sphere", columns=",normal_x", values=",1"),
            {},
            "column normal_x: has no meaning",
        ),
        (table("Reciprocity"), {"field_unit": "V/A"}, "needs a field file"),
        (table("Reciprocity"), {"field": "pot.h5"}, "field_unit of the array is missing: V/nA, mV/nA or V/A"),
        (table("Reciprocity"), {**FIELD, "field": ["a", "b"]}, "field: has 2 values for 1 electrodes"),
        (table("LineSource", columns=",contact_radius", values=",5"), {}, "needs its normal"),
        (table("LineSource", columns=",contact_radius,normal_x", values=",5,1"), {}, "needs its normal"),
        (LINE, {"contact": {"radius": 1, "normal": [0, 0, 0]}}, "needs its normal"),
        (table("LineSource", columns=",sigma,sigma_x", values=",1,1"), {}, "give either sigma, or sigma_x"),
        (table("LineSource", columns=",sigma_x,sigma_y", values=",1,1"), {}, "give either sigma, or sigma_x"),
        (LINE, {"slice": {**SLICE, "bottom": 300}}, "bottom 300 must be below top 300"),
        (LINE, {"slice": {**SLICE, "bottom": 6}}, "z 5.0 is outside its slice (6 to 300)"),
        (LINE, {"slice": SLICE, "sigma": {"x": 1, "y": 1, "z": 2}}, "needs the same sigma in all directions"),
        (LINE, {"reference": "ref"}, "arrays.probe: reference: there is no electrode 'ref'"),
        (DISKS, {"reference": "e0"}, "'e0' (LineSource) cannot be subtracted from 'e1' (ObjectiveCSD_Disk)"),
        *(
            (
                DISKS,
                {"objective_csd_array_indices": entries},
                f"objective_csd_array_indices: {entries[-1]!r} must be",
            )
            for entries in (
                ["1-3"],
                ["1:"],
                ["3:1"],
                ["1:1"],
                ["1:6"],
                ["1:4", "3:5"],
                ["3:5", "1:3"],
                ["1" * 5000],
            )
        ),
        (DISKS, {"objective_csd_array_indices": ["0:5"]}, "row 0 is of type LineSource, not ObjectiveCSD"),
        (
            DISKS,
            {"objective_csd_array_indices": ["1:3"]},
            "row 3 (ObjectiveCSD_Disk) is in none of the arrays",
        ),
    ],
)
def test_what_does_not_fit_is_named(resolve, text, settings, named):
    if named is None:
        assert resolve(text, **settings)[0].type == "LineSource"
        return
    with pytest.raises(ConfigurationError) as error:
        resolve(text, **settings)
    assert named in str(error.value)
    assert "probe" in str(error.value)


def test_names_differ_in_a_file(resolve):
    with pytest.raises(ConfigurationError, match="arrays a and b both have an electrode 'e0'"):
        resolve({"a": (LINE, {}), "b": (LINE, {})})


def test_a_reference_may_be_of_another_array_or_the_electrode_itself(resolve):
    found = resolve({"a": (LINE.replace("e0", "far"), {}), "b": (LINE, {"reference": "far"})})
    assert found[1].reference == ("far",)
    assert resolve(LINE, reference="e0")[0].reference == ("e0",)


def test_no_electrode_is_named_like_a_population(resolve):
    electrodes = resolve(LINE)
    check_population_names(electrodes, ["popA", "popB"])
    with pytest.raises(ConfigurationError, match="'e0' .array probe. is named like a population"):
        check_population_names(electrodes, ["popA", "e0"])
