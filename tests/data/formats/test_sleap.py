"""SLEAP's files, against sleap-io's own reader and writer."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import pose_documents
from helpers.pose_documents import BEE, SIZES, simplified
from PIL import Image

from homolog import HomologError
from homolog.data import exemplars
from homolog.data.formats.document import ReadOptions, WriteOptions
from homolog.data.formats.poses import sleap
from homolog.data.label_files import read, write
from homolog.data.labels import is_manual, manual_keypoints

sleap_io = pytest.importorskip("sleap_io")

MEMBERS = ("instance_id", "bbox", "score", "homolog")


@pytest.fixture
def folder(tmp_path):
    pose_documents.save_images(tmp_path)
    return tmp_path


@pytest.fixture
def skeleton():
    return sleap_io.Skeleton(
        nodes=["head", "left_wing", "right_wing"],
        edges=[("head", "left_wing")],
        symmetries=[("left_wing", "right_wing")],
        name="bee",
    )


def instance(skeleton, points, **members):
    return sleap_io.Instance.from_numpy(np.array(points, float), skeleton, **members)


def test_nothing_is_lost_on_the_way_there_and_back(folder):
    before = pose_documents.document()
    assert write(folder / "labels.slp", before) == []
    after = read(folder / "labels.slp")
    assert simplified(after.document, *MEMBERS) == simplified(before, *MEMBERS)
    assert [image["file_name"] for image in after.document["images"]] == list(SIZES)
    keys = ("name", "keypoints", "flip_indices", "skeleton")
    assert [{k: c.get(k) for k in keys} for c in after.document["categories"]] == [
        {k: c.get(k) for k in keys} for c in before["categories"]
    ]
    states = [manual_keypoints(each) for each in after.document["annotations"]]
    assert states == [manual_keypoints(each) for each in before["annotations"]]
    assert after.notes == () and after.missing == {}


def test_sleap_io_reads_what_is_written(folder):
    write(folder / "labels.slp", pose_documents.document(), WriteOptions(folder))
    labels = sleap_io.load_slp(str(folder / "labels.slp"))
    assert [each.name for each in labels.skeletons] == ["bee", "fly"]
    assert labels.skeletons[0].edge_inds == [(0, 1), (0, 2), (0, 3)]
    assert labels.skeletons[0].symmetry_inds == [(1, 2)]
    frames = labels.labeled_frames
    for frame, name in zip(frames, SIZES, strict=True):
        expected = np.asarray(Image.open(folder / name))
        np.testing.assert_array_equal(frame.image, expected)
    hand, guess = frames[0].instances
    assert type(hand) is sleap_io.Instance and hand.track.name == "queen"
    assert isinstance(guess, sleap_io.PredictedInstance) and guess.score == 0.5
    np.testing.assert_allclose(guess.points["score"], [0.9, 0.5, 0.75, 0.25])
    np.testing.assert_allclose(hand.points["xy"][:2], [[10, 11.5], [14, 9]])
    assert hand.points["visible"].tolist() == [True, False, False, True]
    assert frames[1].instances == []
    made, origin, other = frames[2].instances
    assert made.from_predicted is origin and other.from_predicted is None
    assert made.points["complete"].tolist() == [True, True, False, False]


def test_labels_of_sleap(folder, skeleton):
    video = sleap_io.Video.from_filename([str(folder / "a.png"), str(folder / "b.png")])
    track = sleap_io.Track("07")
    guess = sleap_io.PredictedInstance.from_numpy(
        np.array([[1.0, 2], [3, 4], [5, 6]]), skeleton,
        point_scores=np.array([0.9, 0.3, 0.5]), score=0.6, track=track,
    )  # fmt: skip
    corrected = instance(skeleton, [[1, 2], [3, 5], [np.nan] * 2], track=track)
    corrected.from_predicted = guess
    other = sleap_io.PredictedInstance.from_numpy(
        np.array([[11.0, 2], [13, 4], [np.nan] * 2]), skeleton,
        point_scores=np.array([0.9, 0.3, np.nan]), score=0.6,
    )  # fmt: skip
    hidden = instance(skeleton, [[21, 2], [23, 4], [25, 6]])
    hidden.points["visible"][1] = False
    frames = [
        sleap_io.LabeledFrame(video, 1, [corrected, guess, other]),
        sleap_io.LabeledFrame(video, 0, [hidden]),
    ]
    sleap_io.save_slp(sleap_io.Labels(frames), str(folder / "labels.slp"), verbose=False)
    found = read(folder / "labels.slp").document
    assert [image["file_name"] for image in found["images"]] == [
        str(folder / "b.png"),
        str(folder / "a.png"),
    ]
    first, second, third = found["annotations"]
    assert first["keypoints"] == [1, 2, 2, 3, 5, 2, 0, 0, 0]
    assert first["instance_id"] == "07" and manual_keypoints(first) == {0, 1, 2}
    assert second["keypoints"] == [11, 2, 2, 13, 4, 2, 0, 0, 0] and second["score"] == 0.6
    assert not is_manual(second) and second["homolog"]["doubtful"] == [1]
    assert second["homolog"]["scores"] == pytest.approx([0.9, 0.3, 0])
    assert third["keypoints"] == [21, 2, 2, 23, 4, 1, 25, 6, 2]


def test_predictions_are_no_exemplars(folder):
    write(folder / "labels.slp", pose_documents.document())
    found = exemplars.read(folder / "labels.slp")
    visible = {each.name: each.visible.tolist() for each in found.annotations}
    assert visible == {
        "a.png": [True, True, False, True],
        "c.png#queen": [True, True, False, False],  # one reviewed, one moved
        "c.png#7": [True, True],
    }


def test_frames_packed_into_a_file_need_no_other(folder, skeleton, tmp_path_factory):
    video = sleap_io.Video.from_filename([str(folder / "a.png"), str(folder / "b.png")])
    labels = sleap_io.Labels([sleap_io.LabeledFrame(video, 1, [instance(skeleton, [[1, 2]] * 3)])])
    package = tmp_path_factory.mktemp("elsewhere") / "labels.pkg.slp"
    sleap_io.save_slp(labels, str(package), embed=True, verbose=False)
    expected = np.asarray(Image.open(folder / "b.png"))
    for name in SIZES:
        (folder / name).unlink()
    found = read(package)
    (image,) = found.document["images"]
    assert image["file_name"].endswith("b.png") and (image["width"], image["height"]) == (60, 40)
    np.testing.assert_array_equal(np.asarray(Image.open(found.path(image["id"]))), expected)


def test_frames_of_videos_are_named_as_they_are_usually_written(folder, skeleton):
    def video(name):
        metadata = {"type": "MediaVideo", "filename": name, "shape": [90, 40, 60, 3]}
        return sleap_io.Video(name, backend_metadata=metadata, open_backend=False)

    frames = [
        sleap_io.LabeledFrame(video(name), number, [instance(skeleton, [[1, 2]] * 3)])
        for name, number in (("D:\\mice\\clip.mp4", 12), ("rats/clip.mp4", 12))
    ]
    path = folder / "labels.slp"
    sleap_io.save_slp(sleap_io.Labels(frames), str(path), verbose=False)
    found = read(path)
    first, second = found.document["images"]
    assert first["file_name"] == "clip/img000012.png" and first["frame"] == 12
    assert second["file_name"] == "clip-2/img000012.png" and second["video"] == "rats/clip.mp4"
    assert (first["width"], first["height"]) == (60, 40)
    assert [note.partition(";")[0] for note in found.notes] == [
        f"{path}: frames of {image['video']} without an image: 1" for image in (first, second)
    ]
    with pytest.raises(HomologError, match=r"try to write frame 12 of rats/clip.mp4 there$"):
        found.path(second["id"])
    (folder / "frames" / "clip").mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(folder / "frames" / "clip" / "img000012.png")
    again = read(path, ReadOptions(folder / "frames"))
    assert again.path(1) == folder / "frames" / "clip" / "img000012.png"
    assert write(folder / "again.slp", again.document) == []
    members = ("file_name", "video", "frame")
    assert [
        [image[member] for member in members]
        for image in read(folder / "again.slp").document["images"]
    ] == [[image[member] for member in members] for image in found.document["images"]]


def test_categories_of_instances_and_skeletons_of_one_name(folder, skeleton):
    video = sleap_io.Video.from_filename([str(folder / "a.png")])
    twin = sleap_io.Skeleton(nodes=["head"], name="bee")
    frames = [
        sleap_io.LabeledFrame(
            video, 0,
            [
                instance(skeleton, [[1, 2]] * 3, category="worker"),
                instance(skeleton, [[3, 2]] * 3),
                instance(twin, [[4, 5]]),
            ],
        )
    ]  # fmt: skip
    sleap_io.save_slp(sleap_io.Labels(frames), str(folder / "labels.slp"), verbose=False)
    found = read(folder / "labels.slp").document
    assert {each["category"] for each in simplified(found)} == {"worker", "bee", "bee 2"}


def test_what_cannot_be_held_is_said(folder):
    document = pose_documents.document()
    document["annotations"][0]["attributes"] = {"age": 3}
    document["licenses"] = [{"id": 1}]
    (note,) = write(folder / "labels.slp", document)
    assert note.startswith("SLEAP has no place") and "licenses" in note and "attributes" in note


def test_categories_without_keypoints_have_no_instances(folder):
    document = pose_documents.document()
    document["categories"].append({"id": 9, "name": "tray"})
    document["annotations"].append(
        {"id": 9, "image_id": 2, "category_id": 9, "bbox": [1, 1, 9, 9], "iscrowd": 0}
    )
    document["annotations"].append(
        {"id": 10, "image_id": 2, "category_id": 3, "bbox": [1, 1, 9, 9], "iscrowd": 0}
    )
    assert "objects without keypoints: 2" in write(folder / "labels.slp", document)[-1]
    assert len(read(folder / "labels.slp").document["annotations"]) == 4


def test_objects_without_a_labelled_keypoint_are_kept(folder):
    document = pose_documents.document()
    document["annotations"][0]["keypoints"] = [0] * 12
    write(folder / "labels.slp", document)
    found = read(folder / "labels.slp").document
    assert [each["num_keypoints"] for each in found["annotations"]] == [0, 4, 4, 2]
    assert found["annotations"][0]["bbox"] == [8, 6, 18, 28]


@pytest.mark.parametrize("content", [b"", b"no file of SLEAP"])
def test_files_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "labels.slp"
    path.write_bytes(content)
    with pytest.raises(HomologError, match=r"^labels: expected a SLEAP file .*labels.slp, got: "):
        read(path)


def test_a_previous_file_is_kept_where_the_new_one_cannot_be_written(folder, monkeypatch):
    path = folder / "labels.slp"
    path.write_bytes(b"before")
    monkeypatch.setattr(
        sleap_io, "save_slp", lambda *_, **__: (folder / "no" / "folder").read_bytes()
    )
    with pytest.raises(HomologError, match=r"^out: cannot write .*labels.slp: "):
        sleap.write(path, pose_documents.document())
    assert path.read_bytes() == b"before" and BEE["name"] == "bee"
    assert sorted(each.name for each in folder.iterdir()) == [*SIZES, "labels.slp"]
