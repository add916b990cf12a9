"""NWB files with poses, against sleap-io's own reader and writer."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import pose_documents
from helpers.pose_documents import SIZES, simplified

from homolog import HomologError
from homolog.data.formats.document import WriteOptions
from homolog.data.label_files import read, write
from homolog.data.labels import is_manual

sleap_io = pytest.importorskip("sleap_io")
pytest.importorskip("pynwb")


@pytest.fixture
def folder(tmp_path):
    pose_documents.save_images(tmp_path)
    return tmp_path


def visible(document):
    """The same labels as NWB holds them."""
    for each in document["annotations"]:
        each["keypoints"][2::3] = [2 if v else 0 for v in each["keypoints"][2::3]]
    return document


# Its file of a video without a rate, and time zones, are what pynwb warns of.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_there_and_back(folder):
    before = pose_documents.document()
    notes = write(folder / "labels.nwb", before, WriteOptions(folder))
    assert "instance_id" in notes[0] and "flip_indices" in notes[0] and "bbox" in notes[0]
    assert notes[1:] == [
        "NWB holds no mark of predicted objects among training data: 1",
        "NWB holds no occluded keypoints, which are written as visible: 2",
    ]
    after = read(folder / "labels.nwb")
    for image in after.document["images"]:
        assert after.path(image["id"]) == folder / image["file_name"].rpartition("/")[2]
        image["file_name"] = image["file_name"].rpartition("/")[2]
    assert simplified(after.document) == simplified(visible(before))
    assert [image["file_name"] for image in after.document["images"]] == list(SIZES)
    (bee,) = (each for each in after.document["categories"] if each["name"] == "bee")
    assert bee["skeleton"] == [[1, 2], [1, 3], [1, 4]]


# sleap-io names the manufacturer of a camera, which pynwb has elsewhere now.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_estimates_of_sleap_io_keep_their_scores(folder):
    skeleton = sleap_io.Skeleton(nodes=["head", "tail"], edges=[("head", "tail")], name="bee")
    video = sleap_io.Video("clip.mp4", open_backend=False)
    frames = [
        sleap_io.LabeledFrame(
            video,
            number,
            [
                sleap_io.PredictedInstance.from_numpy(
                    np.array([[1.0 + number, 2], [3, 4]]), skeleton,
                    point_scores=np.array([0.9, 0.5]), score=0.7, track=sleap_io.Track("track0"),
                )
            ],
        )
        for number in range(3)
    ]  # fmt: skip
    path = folder / "labels.nwb"
    sleap_io.save_nwb(sleap_io.Labels(frames), str(path), "predictions")
    found = read(path).document
    assert len(found["annotations"]) == 3 and not any(map(is_manual, found["annotations"]))
    first = found["annotations"][0]
    assert first["keypoints"] == [1, 2, 2, 3, 4, 2]
    assert first["homolog"]["scores"] == pytest.approx([0.9, 0.5])


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "labels.nwb"
    path.write_bytes(b"no file of NWB")
    with pytest.raises(HomologError, match=r"^labels: expected an NWB file with poses .*, got: "):
        read(path)
