"""DeepLabCut's tables, as pandas writes those of DeepLabCut's documented layout."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import yaml
from helpers import datasets, pose_documents
from helpers.pose_documents import simplified

from homolog import HomologError
from homolog.data import exemplars
from homolog.data.boxes import read_boxes
from homolog.data.label_files import find_format, read, write
from homolog.data.labels import is_manual

pd = pytest.importorskip("pandas")
PARTS = ("nose", "left_ear", "tail")
NAMES = ["labeled-data/mice/img003.png", "labeled-data/mice/img017.png"]


def table(individuals=(None,), index=NAMES, columns=3, coordinates=("x", "y")):
    """As DeepLabCut keeps it: columns of three or four levels, and an index of one or three."""
    if individuals == (None,):
        levels = pd.MultiIndex.from_product(
            [["anna"], PARTS, coordinates], names=["scorer", "bodyparts", "coords"]
        )
    else:
        levels = pd.MultiIndex.from_product(
            [["anna"], individuals, PARTS, coordinates],
            names=["scorer", "individuals", "bodyparts", "coords"],
        )
    values = np.random.default_rng(0).uniform(1, 40, (len(index), len(levels))).round(3)
    rows = pd.MultiIndex.from_tuples([name.split("/") for name in index]) if columns == 3 else index
    return pd.DataFrame(values, index=rows, columns=levels)


def save(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".h5":
        pytest.importorskip("tables")
        frame.to_hdf(path, key="df_with_missing", mode="w")
    else:
        frame.to_csv(path)
    return path


@pytest.fixture
def project(tmp_path):
    """A project's folder with its images."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        datasets.save_image(tmp_path / name, 0)
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
@pytest.mark.parametrize("columns", [1, 3])
def test_one_animal(project, suffix, columns):
    frame = table(columns=columns)
    frame.iloc[0, 2:4] = np.nan
    frame.iloc[1, :] = np.nan
    path = save(frame, project / f"labeled-data/mice/CollectedData_anna{suffix}")
    found = read(path)
    assert found.format == "deeplabcut"
    assert [image["file_name"] for image in found.document["images"]] == NAMES
    assert [found.path(image["id"]) for image in found.document["images"]] == [
        project / name for name in NAMES
    ]
    (category,) = found.document["categories"]
    assert (category["name"], tuple(category["keypoints"])) == ("animal", PARTS)
    (annotation,) = found.document["annotations"]
    expected = np.column_stack([frame.iloc[0].to_numpy().reshape(-1, 2), [2, 0, 2]])
    np.testing.assert_array_equal(
        np.reshape(annotation["keypoints"], (3, 3)), np.nan_to_num(expected)
    )
    assert "instance_id" not in annotation and is_manual(annotation)


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_individuals_and_shared_body_parts(project, suffix):
    frame = table(("m1", "m2"))
    shared = table().rename(columns=lambda part: f"cage {part}", level="bodyparts")
    shared.columns = pd.MultiIndex.from_tuples(
        [(scorer, "single", part, c) for scorer, part, c in shared.columns],
        names=frame.columns.names,
    )
    frame = pd.concat([frame, shared], axis=1)
    frame.iloc[1, 6:12] = np.nan  # one is not there
    path = save(frame, project / f"labeled-data/mice/CollectedData_anna{suffix}")
    found = read(path).document
    kinds = [(each["image"], each["category"]) for each in simplified(found)]
    assert sorted(kinds) == sorted(
        [(NAMES[0], "animal")] * 2 + [(NAMES[1], "animal")] + [(name, "single") for name in NAMES]
    )
    names = {each.get("instance_id") for each in found["annotations"]}
    assert names == {"m1", "m2", None}
    assert len(exemplars.read(path).annotations) == 5


def test_likelihoods_are_predictions(project):
    frame = table(coordinates=("x", "y", "likelihood"))
    frame.loc[:, frame.columns.get_level_values("coords") == "likelihood"] = [[0.9, 0.2, 1.0]] * 2
    path = save(frame, project / "labeled-data/mice/machinelabels-iter0.csv")
    found = read(path).document
    for annotation in found["annotations"]:
        assert annotation["homolog"]["scores"] == [0.9, 0.2, 1.0]
        assert annotation["homolog"]["doubtful"] == [1] and not is_manual(annotation)
        assert annotation["score"] == pytest.approx(0.7)


def test_tracks_are_frames_of_a_video(tmp_path):
    frame = table(("m1",), index=[0, 1], columns=1, coordinates=("x", "y", "likelihood"))
    path = save(frame, tmp_path / "walkDLC_resnet50_miceMay1shuffle1_50000.csv")
    found = read(path)
    assert [(each["video"], each["frame"]) for each in found.document["images"]] == [
        ("walk", 0),
        ("walk", 1),
    ]
    assert found.document["images"][1]["file_name"] == "walk/img000001.png"
    assert len(found.missing) == 2


def test_a_project_is_read_whole(project):
    others = [name.replace("mice", "more") for name in NAMES]
    for name in others:
        (project / name).parent.mkdir(exist_ok=True)
        datasets.save_image(project / name, 1)
    save(table(), project / "labeled-data/mice/CollectedData_anna.csv")
    save(table(index=others), project / "labeled-data/more/CollectedData_anna.csv")
    save(table(index=others), project / "labeled-data/more/CollectedData_bob.csv")
    config = {
        "Task": "walk",
        "scorer": "anna",
        "video_sets": {},
        "bodyparts": list(PARTS),
        "skeleton": [["nose", "tail"], ["nose", "gone"]],
    }
    (project / "config.yaml").write_text(yaml.safe_dump(config))
    for path in (project, project / "config.yaml"):
        found = read(path)
        assert not found.missing and found.format == "deeplabcut"
        assert [each["file_name"] for each in found.document["images"]] == NAMES + others
        assert found.document["categories"][0]["skeleton"] == [[1, 3]]
    alone = read(project / "labeled-data/more/CollectedData_bob.csv").document
    assert len(alone["images"]) == 2 and alone["categories"][0]["skeleton"] == [[1, 3]]
    (project / "config.yaml").unlink()
    with pytest.raises(HomologError, match=r"labels of one person .* got CollectedData_anna.csv"):
        read(project)


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_pandas_reads_what_is_written(tmp_path, suffix):
    document = pose_documents.document()
    document["categories"].pop()  # a table has one list of keypoints
    document["annotations"].pop()
    for image in document["images"]:
        image["file_name"] = f"labeled-data/bees/{image['file_name']}"
    path = tmp_path / f"CollectedData_me{suffix}"
    notes = write(path, document, format="deeplabcut")
    assert "annotations: bbox, homolog, score" in notes[0]
    assert notes[1:] == [
        "DeepLabCut holds no names of categories: bee",
        "DeepLabCut holds no occluded keypoints, which are written as visible: 2",
    ]
    if suffix == ".h5":
        frame = pd.read_hdf(path)
    else:
        frame = pd.read_csv(path, header=[0, 1, 2, 3], index_col=[0, 1, 2])
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(frame.index[0]) == ["labeled-data", "bees", "a.png"] and len(frame) == 3
    queen = frame["me"]["queen"]
    np.testing.assert_array_equal(queen["head"].to_numpy()[[0, 2]], [[10, 11.5], [6.5, 5]])
    assert queen["right_wing"].isna().to_numpy()[0].all() and queen.iloc[1].isna().all()
    after = read(path, format="deeplabcut").document
    for each in document["annotations"]:
        each["keypoints"][2::3] = [2 if v else 0 for v in each["keypoints"][2::3]]
    document["categories"][0]["name"] = "animal"
    assert simplified(after, "instance_id") == simplified(document, "instance_id")
    assert len(after["images"]) == 3


def test_one_object_an_image_without_ids_is_a_table_of_one_animal(tmp_path):
    document = pose_documents.document()
    document["annotations"] = document["annotations"][:1]
    del document["annotations"][0]["instance_id"]
    notes = write(tmp_path / "labels.csv", document, format="deeplabcut")
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0].startswith("scorer,homolog") and lines[1].startswith("bodyparts,head,head")
    assert lines[3] == "a.png,10.0,11.5,14.0,9.0,,,22.0,30.25" and len(lines) == 6
    assert notes[-1].endswith("labeled-data/FOLDER/IMAGE, which these are not: a.png, b.png, c.png")


def test_objects_of_one_name_in_an_image_are_kept_apart(tmp_path):
    document = pose_documents.document()
    del document["annotations"][3], document["categories"][1]
    document["annotations"][1]["instance_id"] = "queen"
    write(tmp_path / "labels.csv", document, format="deeplabcut")
    found = read(tmp_path / "labels.csv").document
    assert [each["instance_id"] for each in found["annotations"]] == [
        "queen", "individual1", "queen",
    ]  # fmt: skip


def test_objects_without_a_labelled_keypoint_are_left_out_and_counted(tmp_path):
    document = pose_documents.document()
    del document["annotations"][3], document["categories"][1]
    document["annotations"][0]["keypoints"] = [0] * 12
    notes = write(tmp_path / "labels.csv", document, format="deeplabcut")
    assert "DeepLabCut holds no objects without labelled keypoints: 1" in notes
    assert len(read(tmp_path / "labels.csv").document["annotations"]) == 2


def test_several_lists_of_keypoints_are_refused(tmp_path):
    with pytest.raises(HomologError, match=r"^out: expected one list of keypoints .* bee, fly"):
        write(tmp_path / "labels.csv", pose_documents.document(), format="deeplabcut")


def test_shared_body_parts_there_and_back(tmp_path):
    document = pose_documents.document()
    document["categories"][1]["name"] = "single"
    write(tmp_path / "labels.csv", document, format="deeplabcut")
    found = read(tmp_path / "labels.csv").document
    (shared,) = (each for each in simplified(found) if each["category"] == "single")
    assert shared["points"] == {"eye": [3, 4, 2], "claw": [9, 40, 2]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("labeled-data,mice,img003.png,1,2,3", "line 4: expected 9 values, got 6"),
        ("labeled-data,mice,img003.png,1,2,x,4,5,6", "line 4: could not convert string to float"),
        ("labeled-data,mice,img003.png,inf,inf,3,4,5,6", "line 4: expected finite numbers"),
        ("labeled-data,mice,img003.png,1,,3,4,5,6", "line 4: nose: expected x and y, or neither"),
        (",,,1,2,3,4,5,6", "line 4: expected the name of an image, got none"),
    ],
)
def test_rows_that_cannot_be_right(project, line, message):
    path = save(table(), project / "labeled-data/mice/CollectedData_anna.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], line]))
    with pytest.raises(HomologError, match=f"^labels: .*CollectedData_anna.csv, {message}"):
        read(path)


def test_files_of_other_layouts_are_refused_and_nothing_is_unpickled(tmp_path, monkeypatch):
    pytest.importorskip("tables")
    path = tmp_path / "tracks.h5"
    table(index=[0, 1], columns=1).to_hdf(path, key="df_with_missing", mode="w", format="table")
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("unpickled"))
    with pytest.raises(HomologError, match=r"fixed layout, got frame_table; try the .csv file"):
        read(path)
    path.write_bytes(b"nothing")
    with pytest.raises(HomologError, match=r"^labels: expected a DeepLabCut table .*, got: "):
        read(path)


def test_boxes_of_hdf_files_and_of_tables_are_the_same(project):
    path = save(table(("m1", "m2")), project / "labeled-data/mice/CollectedData_anna.csv")
    boxes = read_boxes(path)
    document = read(path).document
    assert boxes.count == len(document["annotations"]) == 4
    for annotation, name in zip(
        document["annotations"], [NAMES[0]] * 2 + [NAMES[1]] * 2, strict=True
    ):
        box = {each.instance: each.box for each in boxes.of(project / name)}
        np.testing.assert_allclose(annotation["bbox"], box[annotation["instance_id"]])


def test_other_tables_are_not_taken_for_these(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("image,keypoint,x,y\na.png,nose,1,2\n")
    assert find_format(path).name == "csv"
