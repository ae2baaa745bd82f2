"""Eye tracking in the three ways in which files may hold it, and the geometry of the rig."""

import h5py
import numpy as np
import pytest

from ephysflow.ecephys.eye_tracking import (
    EYE_TRACKING_SCHEMA,
    RIG_SCHEMA,
    eye_tracks,
    read_eye_tracking,
    read_eye_tracking_rig,
)
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.errors import ProjectError

TIMES = [0.0, 0.1, 0.2]


def add_series(file, place, data, times=TIMES, kind="TimeSeries", unit="", **further):
    series = file.create_group(place)
    series.attrs["neurodata_type"] = kind
    series["data"] = data
    series["data"].attrs["unit"] = unit
    series["timestamps"] = times
    for name, values in further.items():
        series[name] = values
    return series


def add_table(file, place, **columns):
    table = file.create_group(place)
    table.attrs["neurodata_type"] = "DynamicTable"
    table.attrs["colnames"] = list(columns)
    for name, values in columns.items():
        table[name] = values
    table["id"] = np.arange(len(next(iter(columns.values()))))


@pytest.fixture
def session(tmp_path):
    """Give a function that writes a session file by a function and opens it."""
    opened = []

    def made(write):
        with h5py.File(tmp_path / "s.nwb", "w") as file:
            file.attrs["nwb_version"] = "2.2.2"
            file["identifier"] = "7"
            write(file)
        opened.append(SessionFile(tmp_path / "s.nwb"))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def test_a_file_without_eye_tracking(session):
    opened = session(lambda file: None)
    assert eye_tracks(opened) == []
    assert read_eye_tracking(opened).schema == EYE_TRACKING_SCHEMA
    assert read_eye_tracking(opened).num_rows == 0
    assert read_eye_tracking_rig(opened).schema == RIG_SCHEMA
    assert read_eye_tracking_rig(opened).num_rows == 0


def visual_coding(file):
    for body in ("pupil", "eye"):
        add_table(
            file,
            f"processing/eye_tracking/{body}_ellipse_fits",
            center_x=[1.0, 2.0, np.nan],
            width=[10.0, 11.0, 12.0],
            height=[5.0, 6.0, 7.0],
            phi=[0.1, 0.2, 0.3],
        )
    add_series(file, "processing/raw_gaze_mapping/pupil_area", [1.0, 2.0, 3.0], unit="cm^2")
    add_series(
        file, "processing/raw_gaze_mapping/screen_coordinates", np.arange(6.0).reshape(3, 2), unit="cm"
    )
    add_series(file, "processing/filtered_gaze_mapping/pupil_area", [1.0, 2.0, np.nan], unit="cm^2")
    file.create_group("processing/eye_tracking_rig_metadata")


def test_visual_coding_has_half_axes_and_gaze(session):
    table = read_eye_tracking(session(visual_coding))
    assert table.schema.names == [
        "time",
        "eye_center_x",
        "eye_width",
        "eye_height",
        "eye_phi",
        "pupil_center_x",
        "pupil_width",
        "pupil_height",
        "pupil_phi",
        "raw_pupil_area",
        "raw_screen_coordinates_x",
        "raw_screen_coordinates_y",
        "filtered_pupil_area",
    ]
    assert table["time"].to_pylist() == TIMES
    assert table["pupil_width"].to_pylist() == [20.0, 22.0, 24.0]
    assert table["pupil_height"].to_pylist() == [10.0, 12.0, 14.0]
    assert table["raw_screen_coordinates_y"].to_pylist() == [1.0, 3.0, 5.0]
    assert table.schema.field("raw_screen_coordinates_x").metadata == {b"unit": b"cm"}


def test_a_table_with_its_own_times_and_names(session):
    opened = session(
        lambda file: add_table(
            file,
            "processing/eye_tracking/pupil",
            timestamps=TIMES,
            pupil_width=np.array([1, 2, 3], dtype=">i2"),
            area=[1.0, 2.0, 3.0],
        )
    )
    assert read_eye_tracking(opened).to_pylist()[1] == {"time": 0.1, "pupil_width": 4, "pupil_area": 2.0}


def ellipse(file, place="acquisition/EyeTracking"):
    file.create_group(place).attrs["neurodata_type"] = "EllipseEyeTracking"
    for body in ("pupil", "eye", "corneal_reflection"):
        add_series(
            file,
            f"{place}/{body}_tracking",
            np.arange(6.0).reshape(3, 2),
            kind="EllipseSeries",
            unit="pixels",
            area=[1.0, 2.0, 3.0],
            area_raw=[1.5, 2.5, 3.5],
            width=[4.0, 5.0, 6.0],
            height=[7.0, 8.0, 9.0],
            angle=[0.1, 0.2, 0.3],
        )


def test_ellipses_are_as_stored(session):
    def write(file):
        ellipse(file)
        add_series(file, "acquisition/EyeTracking/likely_blink", np.array([False, True, False]))

    table = read_eye_tracking(session(write))
    assert table.num_columns == 1 + 3 * 7 + 1
    row = table.to_pylist()[1]
    assert {name: row[name] for name in row if not name.startswith(("eye", "corneal"))} == {
        "time": 0.1,
        "likely_blink": True,
        "pupil_center_x": 2.0,
        "pupil_center_y": 3.0,
        "pupil_area": 2.0,
        "pupil_area_raw": 2.5,
        "pupil_width": 5.0,
        "pupil_height": 8.0,
        "pupil_angle": 0.2,
    }


def test_blinks_may_be_events(session):
    def write(file):
        ellipse(file)
        file["acquisition/EyeTracking/likely_blink/timestamps"] = [0.2]

    assert read_eye_tracking(session(write))["likely_blink"].to_pylist() == [False, False, True]


def test_containers_of_other_labs(session):
    def write(file):
        for name in ("PupilTracking", "EyeTracking"):
            file.create_group(f"processing/behavior/{name}").attrs["neurodata_type"] = name
        add_series(file, "processing/behavior/PupilTracking/diameter", [1.0, 2.0, 3.0], unit="mm")
        add_series(
            file, "processing/behavior/EyeTracking/gaze", np.zeros((3, 2)), kind="SpatialSeries", unit="deg"
        )

    assert read_eye_tracking(session(write)).schema.names == ["time", "gaze_x", "gaze_y", "diameter"]


def test_tracks_with_two_clocks_make_no_table(session):
    def write(file):
        ellipse(file)
        file["acquisition/EyeTracking/pupil_tracking/timestamps"][...] = [0.0, 0.1, 0.3]

    opened = session(write)
    with pytest.raises(ProjectError, match="pupil_tracking has other times than /acquisition/EyeTracking/c"):
        read_eye_tracking(opened)
    assert [track.times[-1] for track in eye_tracks(opened)] == [0.2, 0.2, 0.3]


def replaced(place, values):
    def write(file):
        ellipse(file)
        del file[f"acquisition/EyeTracking/{place}"]
        file[f"acquisition/EyeTracking/{place}"] = values

    return write


def no_times(file):
    add_table(file, "processing/eye_tracking/pupil", width=[1.0])


def other_length(file):
    visual_coding(file)
    add_table(file, "processing/eye_tracking/cr_ellipse_fits", width=[1.0])


def same_name(file):
    ellipse(file)
    ellipse(file, "acquisition/second")


def text_column(file):
    visual_coding(file)
    add_table(file, "processing/eye_tracking/cr_ellipse_fits", state=[b"a", b"b", b"c"])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (replaced("pupil_tracking/area", [1.0, 2.0]), "one number for each of the 3 frames"),
        (replaced("pupil_tracking/data", [1.0, 2.0]), "one number for each of the 2 samples"),
        (replaced("pupil_tracking/data", np.zeros((3, 2, 2))), "numbers, one or more a sample"),
        (no_times, "the file gives no times"),
        (other_length, "cr_ellipse_fits has 1 rows, but .* has 3"),
        (
            same_name,
            "second/corneal_reflection_tracking: a column corneal_reflection_center_x is there already",
        ),
        (text_column, "column state does not hold one number a row"),
    ],
)
def test_damaged_tracks_are_one_clear_error(session, write, message):
    with pytest.raises(ProjectError, match=message) as raised:
        read_eye_tracking(session(write))
    assert "s.nwb" in str(raised.value)


def rig(position):
    def write(file):
        place = file.create_group("processing/eye_tracking_rig_metadata/eye_tracking_rig_metadata")
        place.attrs["equipment"] = "NP.1"
        place["camera_rotation"] = [0.0, 0.0, 2.5]
        place["camera_rotation"].attrs["unit"] = "deg"
        place["camera_position"] = position
        place["camera_position"].attrs["unit"] = "mm"

    return write


def test_geometry_of_the_rig(session):
    assert read_eye_tracking_rig(session(rig([1.0, 2.0, 3.0]))).to_pylist() == [
        {"equipment": "NP.1", "quantity": "camera_position", "x": 1.0, "y": 2.0, "z": 3.0, "unit": "mm"},
        {"equipment": "NP.1", "quantity": "camera_rotation", "x": 0.0, "y": 0.0, "z": 2.5, "unit": "deg"},
    ]


def test_a_position_of_two_numbers_is_an_error(session):
    with pytest.raises(ProjectError, match="three numbers are needed"):
        read_eye_tracking_rig(session(rig([1.0, 2.0])))
