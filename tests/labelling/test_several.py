"""Folders of images with several objects: boxes, exemplars among them, edits, interrupted runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import crowds, toy_annotate
from helpers.toy_training import toy_matcher
from PIL import Image

from homolog import HomologError, MatcherConfig
from homolog.config import CalibrationConfig
from homolog.data.boxes import read_boxes
from homolog.data.exemplars import read
from homolog.data.labels import EXTRA, Labels
from homolog.image.poses import IDENTITY
from homolog.labelling import annotator as module
from homolog.labelling import exemplar_features
from homolog.labelling.annotator import AnnotateConfig, Annotator
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.propagate import annotate

COUNTS = (3, 1, 5, 2)
CONFIG = AnnotateConfig(poses=(IDENTITY,))


@pytest.fixture
def scene(tmp_path):
    """The file of exemplars (one image with two, one with one), and that of the other images."""
    return crowds.make_crowds(tmp_path / "known", (2, 1)), crowds.make_crowds(tmp_path, COUNTS)


def with_ids(path: Path) -> Path:
    """A copy of a COCO file without keypoints, whose objects have track ids."""
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        del annotation["keypoints"]
        annotation["track_id"] = f"beetle {annotation['id']}"
    found = path.with_name("boxes.json")
    found.write_text(json.dumps(document))
    return found


def run(scene, out=None, boxes=None, matcher=None, **options):
    known, targets = scene
    folder = targets.parent / "images"
    boxes = read_boxes(boxes or with_ids(targets), folder)
    out = out or targets.parent / "labels.json"
    options = {"config": CONFIG, **options}
    summary = annotate(matcher or toy_matcher(), read(known), folder, out, boxes=boxes, **options)
    return Labels.read(out), summary


def truth_of(path: Path):
    """The true keypoints by file name and instance id of `with_ids`."""
    document = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    return {
        (names[a["image_id"]], f"beetle {a['id']}"): np.reshape(a["keypoints"], (-1, 3))[:, :2]
        for a in document["annotations"]
    }


def by_instance(labels: Labels):
    names = {image["id"]: image["file_name"] for image in labels.images}
    return {(names[a["image_id"]], a["instance_id"]): a for a in labels.annotations}


def test_every_object_is_labelled_in_its_own_box(scene):
    labels, summary = run(scene)
    found, truth = by_instance(labels), truth_of(scene[1])
    assert found.keys() == truth.keys() and len(labels.annotations) == sum(COUNTS)
    assert (summary.images, summary.objects) == (len(COUNTS), sum(COUNTS))
    boxes = {a["id"]: a["bbox"] for a in json.loads(scene[1].read_text())["annotations"]}
    errors = []
    for key, annotation in found.items():
        points = np.reshape(annotation["keypoints"], (-1, 3))
        x, y, width, height = annotation["bbox"]
        assert annotation["bbox"] == boxes[int(key[1].split()[1])]
        inside = points[:, :2] >= (x - 0.11 * width, y - 0.11 * height)
        inside &= points[:, :2] <= (x + 1.11 * width, y + 1.11 * height)
        assert inside[points[:, 2] > 0].all()
        errors.append(np.linalg.norm(points[:, :2] - truth[key], axis=1) / max(width, height))
        assert annotation[EXTRA]["predicted"] == annotation["keypoints"]
    assert (np.array(errors) <= 0.1).mean() > 0.9
    # What was written is read again: as boxes with the same ids, and as labels.
    again = read_boxes(scene[1].parent / "labels.json", scene[1].parent / "images")
    ids = {(p.name, o.instance) for p, several in again.objects.items() for o in several}
    assert ids == truth.keys()


def test_each_goes_through_the_backbone_once(scene):
    matcher = toy_matcher()
    run(scene, matcher=matcher)
    # Exemplars: two that share an image, and one alone, in one pose.
    assert matcher.backbone.seen == sum(COUNTS) + 3


def test_hundreds_of_boxes_in_an_image(scene, tmp_path, monkeypatch):
    """Few regions are in memory at once, and the image is decoded once."""
    rows = ["image,x,y,width,height,instance"]
    rng = np.random.default_rng(0)
    for number in range(250):
        x, y = rng.integers(0, (420, 270))
        rows.append(f"crowd01.png,{x},{y},40,40,n{number}")
    (tmp_path / "many.csv").write_text("\n".join(rows))
    matcher = toy_matcher()
    batches, opened = [], []
    extract, read_image = matcher.extract, Image.open
    monkeypatch.setattr(matcher, "extract", lambda f, *a: batches.append(len(f)) or extract(f, *a))
    monkeypatch.setattr(
        Image, "open", lambda p, *a, **k: opened.append(p) or read_image(p, *a, **k)
    )
    boxes = read_boxes(tmp_path / "many.csv", tmp_path / "images")
    annotator = Annotator(matcher, read(scene[0]), CONFIG, boxes)
    opened.clear()
    batches.clear()
    record = annotator.record("a", annotator.load(tmp_path / "images" / "crowd01.png"))
    assert len(record["annotations"]) + len(record["unlabelled"]) == 250
    assert sum(batches) == 250 and max(batches) == exemplar_features.BATCH
    assert len(opened) == 1


def test_boxes_that_hold_nothing_alike_are_said(scene, tmp_path, monkeypatch):
    document = json.loads(with_ids(scene[1]).read_text())
    plain = Image.new("RGB", crowds.SIZE, (90, 90, 90))
    plain.save(tmp_path / "images" / "plain.png")
    document["images"].append({"id": 99, "file_name": "plain.png"})
    document["annotations"].append(
        {"id": 900, "image_id": 99, "category_id": 1, "bbox": [50, 60, 70, 80], "track_id": 7}
    )
    path = tmp_path / "more.json"
    path.write_text(json.dumps(document))
    calibration = CalibrationConfig(least_likeness=0.5)  # colours alone are much alike
    monkeypatch.setattr(MatcherConfig, "calibration", calibration)
    labels, summary = run(scene, boxes=path)
    assert ("plain.png", 7) in summary.unlabelled
    assert {"file_name": "plain.png", "instance_id": 7, "bbox": [50, 60, 70, 80]} in labels.data[
        "info"
    ]["unlabelled"]
    assert ("plain.png", 7) not in by_instance(labels)
    assert "plain.png" in {image["file_name"] for image in labels.images}
    assert len(labels.annotations) == sum(COUNTS)


def test_images_without_boxes_and_broken_ones(scene, tmp_path):
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (30, 20)).save(tmp_path / "images" / "empty.png")
    labels, summary = run(scene)
    assert [name for name, _ in summary.failed] == ["broken.png"]
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in labels.images}
    assert sizes["empty.png"] == (30, 20) and len(labels.annotations) == sum(COUNTS)


def test_boxes_of_other_images(scene, tmp_path):
    other = crowds.make_crowds(tmp_path / "other", (1,))
    boxes = read_boxes(other)
    with pytest.raises(HomologError, match=r"boxes: expected some in images of .*, got none"):
        annotate(
            toy_matcher(), read(scene[0]), tmp_path / "images", tmp_path / "out.json", boxes=boxes
        )
    with pytest.raises(HomologError, match="max_objects: expected none with boxes, got both"):
        annotate(
            toy_matcher(), read(scene[0]), tmp_path / "images", tmp_path / "out.json", boxes=boxes,
            config=AnnotateConfig(max_objects=2),
        )  # fmt: skip


def test_an_image_of_which_some_objects_are_exemplars(scene, tmp_path):
    """These keep their labels and get the ids of their boxes; the others are labelled."""
    document = json.loads(scene[1].read_text())
    first = [a for a in document["annotations"] if a["image_id"] == 3][:2]
    some = {**document, "annotations": first}
    (tmp_path / "some.json").write_text(json.dumps(some))
    labels, _ = run((tmp_path / "some.json", scene[1]))
    found = by_instance(labels)
    assert found.keys() == truth_of(scene[1]).keys()
    own = [found["crowd03.png", f"beetle {a['id']}"] for a in first]
    assert [a["keypoints"] for a in own] == [a["keypoints"] for a in first]
    assert [EXTRA in a for a in labels.annotations].count(False) == 2


def test_exemplars_that_share_images_without_boxes_keep_their_labels(scene, tmp_path):
    """Their images are done; in others one object is looked for, as there ever was."""
    document = json.loads(scene[1].read_text())
    kept = [a for a in document["annotations"] if a["image_id"] == 1]
    (tmp_path / "one.json").write_text(json.dumps({**document, "annotations": kept}))
    summary = annotate(
        toy_matcher(), read(tmp_path / "one.json"), tmp_path / "images", tmp_path / "out.json"
    )
    labels = Labels.read(tmp_path / "out.json")
    assert summary.objects == 3 + 3
    assert [a["keypoints"] for a in labels.annotations[:3]] == [a["keypoints"] for a in kept]
    assert len({a["instance_id"] for a in labels.annotations[:3]}) == 3
    assert not any("instance_id" in a for a in labels.annotations[3:])


def test_edits_stay_with_their_object(scene, tmp_path):
    """By id; also where boxes came in another order, moved, or are gone."""
    labels, _ = run(scene)
    found = by_instance(labels)
    moved, gone, plain = [key for key in found if key[0] == "crowd03.png"][:3]
    labels.correct(found[moved]["id"], 1, (7.5, 8.5))
    labels.correct(found[gone]["id"], 0, (9.5, 8.5))
    labels.write(tmp_path / "labels.json")
    document = json.loads(with_ids(scene[1]).read_text())
    annotations = [a for a in document["annotations"] if a["track_id"] not in (gone[1], plain[1])]
    for annotation in annotations:
        annotation["bbox"][0] += 6
    document["annotations"] = annotations[::-1]
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    again, summary = run(scene, boxes=tmp_path / "boxes.json", overwrite=True)
    after = by_instance(again)
    assert summary.kept == [gone] and summary.manual == 2
    assert after[moved]["keypoints"][3:6] == [7.5, 8.5, 2]
    assert after[moved][EXTRA]["reviewed"] == [1]
    assert after[gone]["keypoints"] == by_instance(labels)[gone]["keypoints"]
    assert after[plain] == by_instance(labels)[plain]  # although nobody had looked at it
    (note,) = summary.notes
    assert note.endswith("nobody has edited them: 1")
    others = [a for key, a in after.items() if key not in (moved, gone)]
    assert not any(a[EXTRA]["reviewed"] for a in others)
    # They survive a run without boxes, too, in which the image is one object.
    annotate(
        toy_matcher(), read(scene[0]), tmp_path / "images", tmp_path / "labels.json", config=CONFIG,
        overwrite=True,
    )  # fmt: skip
    flat = [a["keypoints"] for a in Labels.read(tmp_path / "labels.json").annotations]
    assert any(points[3:6] == [7.5, 8.5, 2] for points in flat)
    assert any(points[0:3] == [9.5, 8.5, 2] for points in flat)


def test_annotations_of_other_tools_take_the_place_of_their_object(scene, tmp_path):
    labels, _ = run(scene)
    key = next(key for key in by_instance(labels) if key[0] == "crowd03.png")
    foreign = by_instance(labels)[key]
    for member in (EXTRA, "instance_id"):
        del foreign[member]
    foreign["keypoints"] = [5, 6, 2] + [0, 0, 0] * 4
    labels.write(tmp_path / "labels.json")
    again, summary = run(scene, overwrite=True)
    assert by_instance(again).keys() == truth_of(scene[1]).keys()
    assert by_instance(again)[key]["keypoints"] == foreign["keypoints"]
    assert summary.kept == []


def test_an_id_given_to_another_object(scene, tmp_path):
    """Edits stay where they were; the ids of an image stay unique."""
    labels, _ = run(scene)
    first, second = [key for key in by_instance(labels) if key[0] == "crowd04.png"]
    labels.correct(by_instance(labels)[first]["id"], 0, (3.5, 4.5))
    labels.write(tmp_path / "labels.json")
    document = json.loads(with_ids(scene[1]).read_text())
    rest = [a for a in document["annotations"] if a["track_id"] != first[1]]
    for annotation in rest:
        if annotation["track_id"] == second[1]:
            annotation["track_id"] = first[1]
    document["annotations"] = rest
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    again, summary = run(scene, boxes=tmp_path / "boxes.json", overwrite=True)
    own = {n: a for (name, n), a in by_instance(again).items() if name == "crowd04.png"}
    assert len(own) == 2 and summary.kept == [("crowd04.png", first[1])]
    (kept,) = (a for a in own.values() if a[EXTRA]["reviewed"])
    assert kept["keypoints"][:3] == [3.5, 4.5, 2] and kept["instance_id"] != first[1]


def test_an_interrupted_run_resumes(scene, tmp_path):
    expected, _ = run(scene)
    boxes = read_boxes(with_ids(scene[1]), tmp_path / "images")
    annotator = Annotator(toy_matcher(), read(scene[0]), CONFIG, boxes)

    def stops(files, name_of):
        for path in files[:2]:
            yield annotator.record(name_of(path), annotator.load(path))
        raise KeyboardInterrupt

    out = tmp_path / "stopped.json"
    with pytest.raises(KeyboardInterrupt):
        run(scene, out, executor=stops)
    matcher = toy_matcher()
    labels, _ = run(scene, out, matcher=matcher)
    assert labels.data == expected.data
    assert matcher.backbone.seen == sum(COUNTS[2:]) + 3
    # Other boxes make another run.
    with pytest.raises(KeyboardInterrupt):
        run(scene, tmp_path / "other.json", executor=stops)
    with pytest.raises(HomologError, match="expected to resume the same run"):
        annotate(
            toy_matcher(), read(scene[0]), tmp_path / "images", tmp_path / "other.json",
            config=CONFIG,
        )  # fmt: skip


def test_a_killed_process_loses_one_image_at_most(scene, tmp_path):
    known, targets = scene
    boxes = with_ids(targets)
    expected, _ = run(scene, config=AnnotateConfig())
    out = tmp_path / "killed.json"
    command = [sys.executable, str(Path(toy_annotate.__file__)), str(tmp_path / "images"), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "0.5", str(known), str(boxes)], env=environment)
    log = Path(f"{out}.partial")
    until = time.monotonic() + 90
    while not (log.exists() and len(log.read_bytes().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= log.read_bytes().count(b"\n") - 1 < len(COUNTS) and not out.exists()
    labels, _ = run(scene, out, config=AnnotateConfig())
    assert labels.data == expected.data


def test_exemplars_are_looked_at_one_by_one(scene):
    """Each object of an image finds itself, and not the other."""
    known = read(scene[0])
    toy = toy_matcher()
    exemplars = Exemplars(toy, known.annotations, known.schemas, [IDENTITY])
    assert len(exemplars.posed) == 3
    for annotation in known.annotations[:2]:
        (features,) = toy.extract(annotation.path, box=[annotation.xywh])
        found = exemplars.find(features)
        errors = np.linalg.norm(found.points - annotation.keypoints, axis=1)
        assert (errors < 0.1 * annotation.reference_length("box")).mean() >= 0.8


@pytest.mark.parametrize("mirror", [False, True])
def test_zoomed_exemplars_and_images(scene, mirror):
    """Descriptors of both scales are compared, in images of one object and in boxes."""
    config = AnnotateConfig(poses=(IDENTITY,), zoom="auto", mirror=mirror)
    labels, _ = run(scene, config=config)
    assert len(labels.annotations) == sum(COUNTS)
    folder = scene[1].parent / "images"
    out = scene[1].parent / "whole.json"
    summary = annotate(
        toy_matcher(), read(scene[0]), folder, out, config=config,
    )  # fmt: skip
    assert summary.objects == summary.images == len(COUNTS)


def test_objects_are_found(scene, monkeypatch):
    """What the finder proposes is labelled, and numbered from 1."""
    folder = scene[1].parent / "images"
    out = scene[1].parent / "found.json"
    boxes = read_boxes(scene[1], folder)

    class Finder:
        def __init__(self, matcher, exemplars):
            assert len(exemplars) == 3

        def find(self, image, max_objects, name):
            from homolog.labelling.objects import ObjectProposal

            given = boxes.of(name)[:max_objects]
            return [ObjectProposal(each.box, 0.9, "toy") for each in given]

    monkeypatch.setattr(module, "ObjectFinder", Finder)
    config = AnnotateConfig(poses=(IDENTITY,), max_objects=2)
    annotate(toy_matcher(), read(scene[0]), folder, out, config=config)
    found = by_instance(Labels.read(out))
    counts = [sum(name == f"crowd{n:02}.png" for name, _ in found) for n in range(1, 5)]
    assert counts == [2, 1, 2, 2] and {number for _, number in found} == {1, 2}


def test_tables_and_yolo_files_hold_the_same(scene, tmp_path):
    """Read again, they have the points of the COCO file; a table has the instance ids."""
    labels, _ = run(scene)
    known, targets = scene
    boxes = read_boxes(with_ids(targets), tmp_path / "images")
    expected = by_instance(labels)
    for name in ("labels.csv", "labels.yaml"):
        out = tmp_path / name
        annotate(toy_matcher(), read(known), tmp_path / "images", out, config=CONFIG, boxes=boxes)
        assert not Path(f"{out}.partial").exists()
        found = read(out, tmp_path / "images")
        assert len(found.annotations) == sum(COUNTS)
        order = sorted(expected, key=lambda key: (key[0], labels.annotations.index(expected[key])))
        for number, annotation in enumerate(found.annotations):
            key = order[number]
            assert annotation.path.name == key[0]
            if name == "labels.csv":
                assert found.instances[number] == key[1]
            points = np.reshape(expected[key]["keypoints"], (-1, 3))
            assert (annotation.visible == (points[:, 2] > 0)).all()
            shown = points[:, 2] > 0
            np.testing.assert_allclose(annotation.keypoints[shown], points[shown, :2], atol=1e-2)
        # Neither can be written over, for what was edited by hand in it is not known.
        with pytest.raises(HomologError, match="out: expected a file that does not exist"):
            annotate(
                toy_matcher(), read(known), tmp_path / "images", out, config=CONFIG, boxes=boxes,
                overwrite=True,
            )  # fmt: skip
    with pytest.raises(HomologError, match="out: expected images without YOLO labels, got"):
        annotate(
            toy_matcher(), read(known), tmp_path / "images", tmp_path / "more.yaml", boxes=boxes
        )
