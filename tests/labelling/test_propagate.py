"""A folder annotated from exemplars: interrupted runs, manual labels, files that cannot be read."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import toy_annotate
from helpers.toy_training import SCHEMA, toy_data, toy_matcher

from homolog import HomologError
from homolog.data import coco
from homolog.data.exemplars import read
from homolog.data.labels import EXTRA, Labels
from homolog.image.poses import IDENTITY
from homolog.labelling.annotator import AnnotateConfig, Annotator
from homolog.labelling.propagate import annotate

IMAGES = 6


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six toys, one of which lies in a folder below."""
    data = toy_data(tmp_path / "images", IMAGES)
    (tmp_path / "images" / "below").mkdir()
    last = data.annotations[-1].path
    last.rename(last.parent / "below" / last.name)
    return tmp_path / "images"


@pytest.fixture
def exemplars(tmp_path):
    return toy_annotate.exemplars(tmp_path / "exemplars")


def run(folder, exemplars, **options):
    matcher = toy_matcher()
    summary = annotate(matcher, exemplars, folder, folder.parent / "labels.json", **options)
    return matcher.backbone.seen, summary


def interrupt(folder, exemplars):
    """A run that is interrupted after three images."""
    annotator = Annotator(toy_matcher(), exemplars, AnnotateConfig())

    def stops(files, name_of):
        for path in files[:3]:
            yield annotator.record(name_of(path), annotator.load(path))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, exemplars, executor=stops)


def test_a_folder(folder, exemplars):
    seen, summary = run(folder, exemplars)
    assert seen == IMAGES + 2 * 8  # once for each image, and the exemplars in all poses
    out = folder.parent / "labels.json"
    assert not Path(f"{out}.partial").exists()
    labels = Labels.read(out)
    assert labels.categories == [toy_annotate.CATEGORY]
    names = [image["file_name"] for image in labels.images]
    assert names == ["below/toy5.png", *(f"toy{i}.png" for i in range(5))]
    for image, annotation in zip(labels.images, labels.annotations, strict=True):
        assert (image["width"], image["height"]) == (96, 80)
        assert annotation["image_id"] == image["id"] and annotation["category_id"] == 4
        points = np.array(annotation["keypoints"]).reshape(5, 3)
        assert annotation["num_keypoints"] == (points[:, 2] == 2).sum()
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= 96 and 0 <= y < y + height <= 80
        extra = annotation[EXTRA]
        low = {k for k, s in enumerate(extra["scores"]) if s < 0.8 and points[k, 2] == 2}
        assert low <= set(extra["doubtful"])
        assert extra["predicted"] == annotation["keypoints"]
    assert summary.images == IMAGES and summary.failed == []
    assert summary.points == sum(a["num_keypoints"] for a in labels.annotations)
    assert summary.doubtful == len(labels.doubtful()) and summary.manual == 0
    # Anybody who reads COCO can take it; here, the loader of benchmarks.
    data = coco.load(out, images=folder)
    assert len(data.annotations) == IMAGES and data.schemas["toy"] == SCHEMA


def test_the_same_twice(folder, exemplars):
    run(folder, exemplars)
    first = (folder.parent / "labels.json").read_bytes()
    run(folder, exemplars, overwrite=True)
    assert (folder.parent / "labels.json").read_bytes() == first


def test_an_interrupted_run_resumes(folder, exemplars, tmp_path):
    """What is in the log is not done again; a half-written line is."""
    run(folder, exemplars)
    expected = (tmp_path / "labels.json").read_bytes()
    (tmp_path / "labels.json").unlink()
    interrupt(folder, exemplars)
    log = tmp_path / "labels.json.partial"
    assert len(log.read_bytes().splitlines()) == 1 + 3
    log.write_bytes(log.read_bytes()[:-20])
    seen, _ = run(folder, exemplars)
    assert seen == IMAGES - 2 + 2 * 8
    assert (tmp_path / "labels.json").read_bytes() == expected


def test_a_killed_process_loses_one_image_at_most(folder, exemplars, tmp_path):
    run(folder, exemplars)
    expected = (tmp_path / "labels.json").read_bytes()
    out = tmp_path / "killed.json"
    command = [sys.executable, str(Path(toy_annotate.__file__)), str(folder), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "0.5"], env=environment)
    log = Path(f"{out}.partial")
    until = time.monotonic() + 60
    while not (log.exists() and len(log.read_bytes().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = log.read_bytes().count(b"\n") - 1
    assert 2 <= done < IMAGES and not out.exists()
    summary = annotate(toy_matcher(), exemplars, folder, out)
    assert summary.images == IMAGES and out.read_bytes() == expected


@pytest.mark.slow
def test_a_damaged_log_gives_no_other_labels(folder, exemplars, tmp_path):
    run(folder, exemplars)
    expected = (tmp_path / "labels.json").read_bytes()
    (tmp_path / "labels.json").unlink()
    interrupt(folder, exemplars)
    log = tmp_path / "labels.json.partial"
    header, *lines = log.read_bytes().splitlines(keepends=True)
    digit = lines[0].index(b'"scores": [0.') + len(b'"scores": [0.')
    damaged = bytearray(lines[0])
    damaged[digit] ^= 1
    log.write_bytes(b"".join([header, damaged, *lines[1:]]))
    run(folder, exemplars)
    assert (tmp_path / "labels.json").read_bytes() == expected
    (tmp_path / "labels.json").unlink()

    # As they were written before there were checksums.
    old = [re.sub(rb', "crc32": "[0-9a-f]{8}"', b"", line) for line in lines]
    assert old[0] != lines[0]
    for pattern, wrong in (
        (rb'"width": [0-9]+', b'"width": -5'),
        (rb'"scores": \[[^,]*', b'"scores": [NaN'),
        (rb'"bbox": \[[^,]*,', b'"bbox": ['),
        (rb'"annotation": ', b'"else": '),
        (rb'"doubtful": \[', b'"doubtful": [99, '),
    ):
        changed, count = re.subn(pattern, wrong, old[0], count=1)
        assert count
        log.write_bytes(b"".join([header, changed, *old[1:]]))
        with pytest.raises(HomologError, match=r"^out: expected records .* another line 2; try"):
            run(folder, exemplars)
    log.write_bytes(b"".join([header, *old]))
    run(folder, exemplars)
    assert (tmp_path / "labels.json").read_bytes() == expected


def test_another_run_is_not_resumed(folder, exemplars, tmp_path):
    log = tmp_path / "labels.json.partial"
    log.write_text("{}\n")
    with pytest.raises(
        HomologError, match=r"out: expected to resume the same run, .* other settings"
    ):
        run(folder, exemplars)
    assert log.read_text() == "{}\n"
    run(folder, exemplars, overwrite=True)


def test_nothing_is_overwritten_by_default(folder, exemplars, tmp_path):
    out = tmp_path / "labels.json"
    out.write_text("mine")
    with pytest.raises(
        HomologError,
        match=r"out: expected a file that does not exist, got .*labels.json; try --overwrite",
    ):
        run(folder, exemplars)
    assert out.read_text() == "mine"
    with pytest.raises(HomologError, match="expected JSON"):  # nor is a file that holds no labels
        run(folder, exemplars, overwrite=True)
    assert out.read_text() == "mine"


def test_manual_edits_survive(folder, exemplars, tmp_path):
    """A reviewed point, a point moved by another tool, and an annotation of another tool."""
    run(folder, exemplars)
    out = tmp_path / "labels.json"
    labels = Labels.read(out)
    first, second, third = labels.annotations[:3]
    labels.correct(first["id"], 2, (11.5, 12.5))
    second["keypoints"][:3] = [33, 44, 2]
    del third[EXTRA]
    third["keypoints"] = [1, 2, 2] + [0, 0, 0] * 4
    labels.write(out)
    _, summary = run(folder, exemplars, overwrite=True)
    assert summary.manual == 1 + 1 + 5
    again = Labels.read(out)
    assert again.annotations[0]["keypoints"][6:9] == [11.5, 12.5, 2]
    assert again.annotations[0][EXTRA]["reviewed"] == [2]
    assert again.annotations[1]["keypoints"][:3] == [33, 44, 2]
    x, y, width, height = third["bbox"]  # which now contains the point
    third["bbox"] = pytest.approx([1, 2, x + width - 1, y + height - 2])
    assert again.annotations[2] == third
    # They can be exemplars themselves, of the keypoints that somebody has checked.
    reviewed = read(out, folder)
    assert [a.visible.sum() for a in reviewed.annotations] == [1, 1, 1]


def test_images_that_cannot_be_read_are_named(folder, exemplars):
    (folder / "broken.png").write_bytes(b"not an image")
    _, summary = run(folder, exemplars)
    assert summary.images == IMAGES
    ((name, why),) = summary.failed
    assert name == "broken.png" and "expected an image in a known format" in why
    labels = Labels.read(folder.parent / "labels.json")
    assert labels.data["info"]["failed"] == [{"file_name": name, "failed": why}]


def test_exemplars_keep_their_labels(tmp_path):
    """Those in the folder are not annotated again."""
    labelled = toy_annotate.exemplars(tmp_path / "images", 3)
    toy_data(tmp_path / "images", 4)
    seen, summary = run(tmp_path / "images", labelled)
    assert seen == 1 + 3 * 8 and summary.images == 4
    labels = Labels.read(tmp_path / "labels.json")
    for annotation, expected in zip(labels.annotations, labelled.annotations, strict=False):
        points = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        points[points[:, 2] == 0] = np.nan
        np.testing.assert_array_equal(points[:, :2], expected.keypoints)
    assert [EXTRA in a for a in labels.annotations] == [False] * 3 + [True]


def test_no_images(tmp_path, exemplars):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HomologError, match=r"images: expected a folder with images, got .*empty"):
        run(tmp_path / "empty", exemplars)


def test_poses_can_be_chosen(folder, exemplars):
    seen, _ = run(folder, exemplars, config=AnnotateConfig(poses=(IDENTITY,)))
    assert seen == IMAGES + 2
