"""Files of points, as people and programs write them: read as they mean, or refused in one line."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import HomologError
from homolog.applications.tracking import Tracks
from homolog.image.points import read_points
from homolog.utils.delimited import COLUMNS

POINTS = [[120, 80.5], [200, 95]]
NAMES = ["nose", "left eye"]


def found(tmp_path, text, notes=None):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    points, names = read_points(path, notes)
    return points.tolist(), names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # without a heading
        ("120,80.5\n200,95\n", None),
        ("120 80.5\n200   95", None),
        ("  120\t80.5\n200 95", None),
        ("\ufeff120,80.5\r\n200,95\r\n", None),
        ("120,80.5,nose\n200,95,left eye", NAMES),
        ("nose,120,80.5\nleft eye,200,95", NAMES),
        ("120\t80.5\tnose\n200\t95\tleft eye", NAMES),
        ("120 80.5 nose\n200 95 left eye", NAMES),
        ("120,80.5,,\n200,95,,", None),
        ("120,5;80,5\n200;95", None),
        ("120,80.5,2\n200,95,2\n", None),
        ("# mine\n120,80.5\n# more\n\n200,95", None),
        # with one
        ("x,y\n120,80.5\n\n200,95", None),
        ("\ufeffX;Y\n120,0;80,5\n200;95", None),
        ("y,x\n80.5,120\n95,200", None),
        ("# y x\n80.5 120\n95 200\n", None),
        ("name,x,y\nnose,120,80.5\nleft eye,200,95", NAMES),
        ('"x" "y"\n"1" 120 80.5\n"2" 200 95\n', None),
        ('"x" "y"\n"nose" 120 80.5\n"left eye" 200 95\n', NAMES),
        ("x,y,v\n120,80.5,2\n200,95,1", None),
        ("id,x,y\n1,120,80.5\n2,200,95", None),
        ("id,x,y\n7,120,80.5\n2,200,95", None),
        ("point_id,x,y\n7,120,80.5\n2,200,95", ["7", "2"]),
        (",x,y\n0,120,80.5\n1,200,95", None),
        (" ,Area,Mean,X,Y\n1,0,15,120,80.5\n2,0,210,200,95", None),
        (" \tX\tY\tBX\tBY\tWidth\tHeight\n1\t120\t80.5\t9\t9\t0\t0\n2\t200\t95\t9\t9\t0\t0", None),
        ("index,axis-0,axis-1\n0.0,80.5,120.0\n1.0,95,200", None),
        ("index,axis-0,axis-1,axis-2\n0.0,3.0,80.5,120.0\n1.0,3.0,95,200", None),
        ("frame,x,y,likelihood\n0,120,80.5,0.9\n0,200,95,0.01", None),
        ("X (px),Y [pixels]\n120,80.5\n200,95", None),
        ("row,col\n80.5,120\n95,200", None),
        ("Body Part;pos_x;pos_y\nnose;120;80.5\nleft eye;200;95", NAMES),
        ("image,keypoint,x,y\na.png,nose,120,80.5\na.png,left eye,200,95", NAMES),
        # JSON
        (json.dumps(POINTS), None),
        (json.dumps({"points": POINTS}), None),
        (json.dumps({"keypoints0": POINTS, "point_ids": None}), None),
        (json.dumps({"points": POINTS, "point_ids": [7, 2]}), ["7", "2"]),
        (json.dumps({"points": dict(zip(NAMES, POINTS, strict=True))}), NAMES),
        (json.dumps(dict(zip(NAMES, POINTS, strict=True))), NAMES),
        (json.dumps({"nose": {"x": 120, "y": 80.5}, "left eye": {"x": 200, "y": 95}}), NAMES),
        (json.dumps([{"x": x, "y": y} for x, y in POINTS]), None),
        (json.dumps([{"label": name, "X": x, "Y": y}
                     for name, (x, y) in zip(NAMES, POINTS, strict=True)]), NAMES),
        (json.dumps({"x": [120, 200], "y": [80.5, 95]}), None),
        (json.dumps([[str(x), str(y)] for x, y in POINTS]), None),
        (json.dumps([[*point, 2] for point in POINTS]), None),
        (json.dumps({"keypoints": [120, 80.5, 2, 200, 95, 1], "bbox": [0, 0, 9, 9]}), None),
        (json.dumps({"shapes": [{"label": name, "points": [point], "shape_type": "point"}
                                for name, point in zip(NAMES, POINTS, strict=True)]}), NAMES),
    ],
)  # fmt: skip
def test_files(tmp_path, text, names):
    points, found_names = found(tmp_path, text)
    (tmp_path / "wide.csv").write_text(text, encoding="utf-16")
    np.testing.assert_array_equal(read_points(tmp_path / "wide.csv")[0], points)
    expected = np.array(POINTS)
    if "120,5;80,5" in text:
        expected[0, 0] = 120.5
    np.testing.assert_allclose(points, expected)
    assert found_names == names


@pytest.mark.parametrize(
    ("text", "labelled", "absent"),
    [
        ("x,y,v\n120,80.5,2\n9,9,0\n200,95,1", None, "line 3"),
        ("x,y,visible,name\n120,80.5,True,nose\n9,9,False,tail\n200,95,True,left eye",
         NAMES, "tail"),
        ("name,x,y\nnose,120,80.5\ntail,NA,NA\nleft eye,200,95", NAMES, "tail"),
        ("point,x,y,lost\nnose,120,80.5,0\ntail,,,1\nleft eye,200,95,0", NAMES, "tail"),
        ("120,80.5,2\n9,9,0\n200,95,2", None, "line 2"),
        ('{"keypoints": [120, 80.5, 2, 0, 0, 0, 200, 95, 1]}', None, "keypoint 1"),
        ('{"nose": [120, 80.5, 2], "tail": [0, 0, 0], "left eye": [200, 95, 1]}', NAMES, "tail"),
        ('[{"x": 120, "y": 80.5}, {"x": 1, "y": 1, "v": 0}, {"x": 200, "y": 95}]', None, "index 1"),
    ],
)  # fmt: skip
def test_points_that_are_not_labelled_are_left_out_and_said(tmp_path, text, labelled, absent):
    notes: list[str] = []
    points, names = found(tmp_path, text, notes)
    assert points == POINTS and names == labelled
    assert len(notes) == 1 and notes[0].endswith(f": {absent}")
    assert "points.csv: points that are not labelled are left out" in notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected at least one point, got none"),
        ("x,y\n", "expected at least one point, got none"),
        ("[]", "expected at least one point, got none"),
        ("x,y,v\n1,2,0", "expected at least one labelled point"),
        ("120,,80", "line 1: expected numbers as x and y, got '120', ''"),
        ("x,y\n5,6\n120,\n", "line 3: expected numbers as x and y, got '120', ''"),
        ("inf,80", "line 1: expected numbers .* got 'inf', '80'"),
        ("x,y\nnan,80", "line 2: .*'nan', '80'"),
        ("1_20,80", "line 1: .*'1_20'"),
        ("1,2\n3,x\n", "line 2: .*'3', 'x'"),
        ("1,2\n3\n", "line 2"),
        ("1,2\n3,4,nose,6\n", "line 2: expected x, y and perhaps a name, got '3,4,nose,6'"),
        ("120,80,nose\n200,95", "line 2: expected a name"),
        ("1,120,80\n2,200,95", "line 1: expected x, y and perhaps a name, got three numbers"),
        ("120,80,0\n200,95,1", "three numbers"),
        ("0,1\n120,80\n", "numbers of columns"),
        ("a,b\n1,2", "expected a heading with x and y in pixels, got 'a, b'"),
        ("x (mm),y (mm)\n1,2", r"heading with x and y in pixels, got 'x \(mm\)"),
        ("x0,y0,x1,y1,score\n1,2,3,4,5", "expected a heading with x and y"),
        ("x,pos_x,y\n1,2,3", "expected one column with x, got x and pos_x"),
        ("x,y,w,h\n1,2,3,4", "expected points, got boxes"),
        ("x,y,z\n1,2,3", "points in space"),
        ("x,y\n1,2,3", "line 2: expected 2 values, got 3"),
        ("x,y\n120,80,nose\n200,95,tail", "line 2: expected 2 values, got 3"),
        ("x,y,v\n1,2,7", "line 2: expected a visibility of 0, 1 or 2, got '7'"),
        ("frame,x,y\n0,1,2\n1,3,4\n2,3,4", "points of one frame, got those of 3, 0, 1, …"),
        ("image,x,y\na.png,1,2\nb.png,3,4", "points of one image, got those of 2, a.png, b.png$"),
        ("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n0,1,2", "DeepLabCut"),
        ("1,234;5.5\n", "'1,234'"),
        ("x,y\n0.4,0.5\n0.2,0.7", "fractions of the image"),
        ("[[1, 2], [3]", "expected JSON, got line 1"),
        ("[[1, 2], [3]]", r"got \[3\] at index 1"),
        ('[[1, "b"]]', "at index 0"),
        ("[[1, true]]", "at index 0"),
        ("[[NaN, 80]]", "at index 0"),
        ("[[1, Infinity, 2]]", "at index 0|for some"),
        ("[[1" + "0" * 400 + ", 2]]", "at index 0"),
        ("[[1, 120, 80], [2, 200, 95]]", "not clear what the three numbers are"),
        ("[[120, 80, 0], [200, 95]]", r"expected \[x, y\] for all"),
        ('{"dots": []}', "expected 'points' or 'keypoints0'"),
        ('{"points": 5}', "got int"),
        ('{"points": [[1, 2]], "point_ids": [1, 2]}', "point_ids"),
        ('{"keypoints": [1, 2, 2, 3]}', "got 4 numbers"),
        ('{"images": [], "annotations": [], "categories": []}', "a COCO file"),
        ('{"size": [9, 9], "frames": []}', "tracks of a video"),
        ('{"nose": [1, 2], "nose": [3, 4]}', "'nose' twice"),
        ('{"shapes": [{"label": "a", "shape_type": "polygon", "points": [[1, 2], [3, 4]]}]}',
         "at least one point"),
        ("[" * 100_000, "expected JSON"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, text, reason):
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(HomologError, match=f"^points: .*points.txt: .*({reason})") as error:
        read_points(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_shapes_of_labelme_that_are_no_points_are_said(tmp_path):
    shapes = [
        {"label": "nose", "points": [[1, 2]], "shape_type": "point"},
        {"label": "dog", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"},
    ]
    notes: list[str] = []
    found(tmp_path, json.dumps({"version": "5.4", "shapes": shapes}), notes)
    assert len(notes) == 1 and notes[0].endswith("shapes that are no points are left out: 1")


def test_own_tracks_can_be_given_as_points(tmp_path):
    points = np.array([[[120.0, 80.5], [200.0, 95.0]]] * 2)
    points[1, 1] = np.nan
    for names in (None, ("nose", "left eye")):
        tracks = Tracks(
            (0, 1), (0.0, 0.1), points, np.ones((2, 2)), np.isnan(points[..., 0]), names,
            (320, 240), None,
        )  # fmt: skip
        lines = tracks.to_csv().splitlines(keepends=True)
        first = "".join(lines[:3])
        assert found(tmp_path, first) == (POINTS, None if names is None else NAMES)
        notes: list[str] = []
        assert found(tmp_path, "".join([lines[0], *lines[3:]]), notes)[0] == POINTS[:1]
        assert len(notes) == 1
        with pytest.raises(HomologError, match="points of one frame, got those of 2, 0, 1"):
            found(tmp_path, "".join(lines))
        with pytest.raises(HomologError, match="tracks of a video"):
            found(tmp_path, json.dumps(tracks.to_dict()))


@pytest.mark.parametrize(
    "options", [{}, {"index": False}, {"sep": "\t"}, {"sep": ";", "decimal": ","}]
)
@pytest.mark.parametrize("named", [False, True])
def test_pandas_tables(tmp_path, options, named):
    frame = pd.DataFrame(POINTS, columns=["x", "y"])
    if named:
        frame.insert(0, "bodypart", NAMES)
    assert found(tmp_path, frame.to_csv(**options)) == (POINTS, NAMES if named else None)


def test_numpys_tables(tmp_path):
    for options in ({}, {"delimiter": ","}, {"header": "x y"}, {"fmt": "%.2f", "delimiter": "\t"}):
        np.savetxt(tmp_path / "a.txt", POINTS, **options)
        assert read_points(tmp_path / "a.txt")[0].tolist() == POINTS
    np.savetxt(tmp_path / "a.txt", np.array(POINTS)[:, ::-1], header="y,x", delimiter=",")
    assert read_points(tmp_path / "a.txt")[0].tolist() == POINTS


@given(
    points=st.lists(
        st.tuples(*[st.floats(-1e6, 1e6).map(lambda v: round(v, 3) + 0.0)] * 2), min_size=1
    ).filter(lambda points: any(abs(v) > 1 for v in np.ravel(points))),
    order=st.permutations(["x", "y", "keypoint", "score", "frame"]),
    separator=st.sampled_from(",;\t"),
    data=st.data(),
)
def test_any_order_of_columns(tmp_path_factory, points, order, separator, data):
    heading = [data.draw(st.sampled_from(COLUMNS[name])) for name in order]
    heading = [data.draw(st.sampled_from([name, name.upper(), name.title()])) for name in heading]
    text = io.StringIO()
    rows = csv.writer(text, delimiter=separator)
    rows.writerow(heading)
    for index, (x, y) in enumerate(points):
        values = {"x": x, "y": y, "keypoint": f"p {index}", "score": 0.5, "frame": 3}
        rows.writerow([values[name] for name in order])
    path = tmp_path_factory.mktemp("points") / "a.csv"
    path.write_text(text.getvalue())
    read, names = read_points(path)
    np.testing.assert_array_equal(read, points)
    assert names == [f"p {index}" for index in range(len(points))]


PIECES = st.sampled_from(
    [
        *'0,1;[]{}:-#x"yv\t\n\r é',
        "2.5",
        "name",
        "nan",
        "null",
        "true",
        "axis-0",
        '"x"',
        '"points"',
        '"keypoints"',
        '"shapes"',
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("points") / "a.csv"
    path.write_bytes(text.encode())
    try:
        points, names = read_points(path, [])
    except HomologError as error:
        assert str(error).startswith("points: ") and len(str(error).splitlines()) == 1
    else:
        assert points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all()
        assert names is None or len(names) == len(points)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xe9,1\n")
    for path, reason in ((tmp_path / "a.csv", "text"), (tmp_path, "directory"), ("no", "No such")):
        with pytest.raises(HomologError, match=f"points: .*{reason}"):
            read_points(path)
