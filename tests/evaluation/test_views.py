"""Objects that share an image are matched in the regions around their boxes; others if asked."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import crowds, datasets
from helpers.toy_evaluation import BOTH, read_lines, score_file
from helpers.toys import ColourBackbone

from homolog import HomologError, Matcher, evaluation
from homolog.data import coco
from homolog.evaluation.views import FeatureStore, ObjectViews, queries
from homolog.image import reading
from homolog.image.poses import FLIP, IDENTITY
from homolog.image.regions import MARGIN


def pck(data, path, alpha=0.1) -> float:
    return float(np.mean(score_file(data, path).pck_of_pairs(alpha)))


@pytest.fixture
def crowd(tmp_path):
    """Three images of two, one and three objects, all alike."""
    return coco.load(crowds.make_crowds(tmp_path / "crowds", [2, 1, 3]))


@pytest.mark.parametrize("poses", [BOTH[:1], BOTH])
def test_a_box_is_a_crop_by_hand(colour_matcher, tmp_path, poses):
    path = crowds.make_crowds(tmp_path / "crowds", [2, 3, 4])
    cropped = coco.load(crowds.crop_to_objects(path, tmp_path / "crops", MARGIN))
    data = coco.load(path)
    ours = read_lines(evaluation.predict(colour_matcher, data, tmp_path / "run", poses=poses))
    assert colour_matcher.backbone.seen == 9 * len(poses)
    theirs = {
        line["pair"]: line
        for line in read_lines(
            evaluation.predict(colour_matcher, cropped, tmp_path / "by_hand", poses=poses)
        )
    }
    corner = {a.name: a.keypoints[0] for a in cropped.annotations}
    shift = {a.name: a.keypoints[0] - corner[a.name] for a in data.annotations}
    for line in ours:
        _, target = line["pair"].split(":")
        by_hand = theirs[line["pair"]]
        for field in (evaluation.ALIGNED, evaluation.UNALIGNED)[: len(poses)]:
            found = np.array(by_hand[field]) + shift[target]
            np.testing.assert_allclose(line[field], found, atol=1e-6)


def test_images_are_read_once_and_each_object_is_a_pass(
    colour_matcher, crowd, tmp_path, monkeypatch
):
    read = []
    original = reading.load_image

    def load_image(image, **options):
        read.append(image)
        return original(image, **options)

    monkeypatch.setattr(reading, "load_image", load_image)
    evaluation.predict(colour_matcher, crowd, tmp_path / "run")
    assert len(read) == len(set(read)) == 3
    assert colour_matcher.backbone.seen == 6
    # Objects that are zoomed in on need the whole image, too: once for all of them.
    again = Matcher(ColourBackbone(), colour_matcher.config)
    evaluation.predict(again, crowd, tmp_path / "zoom", boxes="annotated", zoom="auto")
    assert again.backbone.seen == 6 + 3
    # Mirrored views are passes of their own, and those of flipped poses, too.
    again = Matcher(ColourBackbone(), colour_matcher.config)
    folder, poses = tmp_path / "mirror", (IDENTITY, FLIP)
    look = {"boxes": "annotated", "zoom": "auto", "poses": poses}
    path = evaluation.predict(again, crowd, folder, **look, mirror=True)
    assert again.backbone.seen == 2 * (6 + 3)
    assert json.loads((folder / "run.json").read_text())["mirror"] is True
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(again, crowd, folder, **look)
    # Each object's both views, and those of its whole image, are those of the library.
    first, *_ = map(json.loads, path.read_text().splitlines())
    pair = next(pair for pair in crowd.pairs if pair.name == first["pair"])
    box0, box1 = pair.source.xywh, pair.target.xywh
    found = again.pair(
        pair.source.path, pair.target.path, poses=poses, schema=crowd.schemas[pair.source.category],
        box0=box0, box1=box1, zoom="auto", mirror=True,
    )  # fmt: skip
    given = np.flatnonzero(pair.source.visible)
    points = found.transfer_points(pair.source.keypoints[given], given.tolist())
    rows = np.searchsorted(given, pair.keypoint_ids)
    np.testing.assert_allclose(first[evaluation.ALIGNED], points[rows], atol=1e-3)


def test_results_do_not_depend_on_the_memory(colour_matcher, crowd, tmp_path):
    store = FeatureStore(colour_matcher, ObjectViews.of(crowd), max_bytes=0)
    plenty = FeatureStore(colour_matcher, ObjectViews.of(crowd), max_bytes=10**9)
    for annotation in (*crowd.annotations, *crowd.annotations[::-1]):
        found, expected = store(annotation), plenty(annotation)
        assert found.region == expected.region and found.descriptors.equal(expected.descriptors)
        direct = colour_matcher.extract(
            annotation.path, box=annotation.xywh if annotation.shares_image else None
        )
        assert found.region == direct.region and found.descriptors.equal(direct.descriptors)


def test_a_run_remembers_its_boxes_and_its_zoom(colour_matcher, crowd, tmp_path):
    some = "annotated where images are shared"
    options = {
        (some, "none"): {}, ("none", "none"): {"boxes": "none"}, (some, "auto"): {"zoom": "auto"},
        ("annotated", "auto"): {"boxes": "annotated", "zoom": "auto"},
    }  # fmt: skip
    for shown, each in options.items():
        folder = tmp_path / "-".join(shown)
        evaluation.predict(colour_matcher, crowd, folder, **each)
        before = colour_matcher.backbone.seen
        evaluation.predict(colour_matcher, crowd, folder, **each)
        assert colour_matcher.backbone.seen == before, "it is done"
        for other in options.values():
            if other != each:
                with pytest.raises(HomologError, match="holds another run"):
                    evaluation.predict(colour_matcher, crowd, folder, **other)
    # The last of them; the pairs are predicted already.
    report = evaluation.evaluate(colour_matcher, crowd, folder, "toy", **each)
    results = json.loads((folder / "results.json").read_text())
    assert (results["boxes"], results["zoom"]) == (report.boxes, report.zoom) == shown
    text = (folder / "results.md").read_text()
    assert all(f"- {note}" in text for note in ObjectViews.of(crowd, **each).notes)
    # Another box is another run.
    datasets.edit_json(crowd.root, datasets.change_first("annotations", bbox=[10, 10, 100, 100]))
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(
            colour_matcher, coco.load(crowd.root), tmp_path / "-".join((some, "none"))
        )


def test_whole_images_are_the_run_that_they_were(colour_matcher, data, tmp_path):
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(run) == {"data", "pairs", "pairs_sha256", "model", "weights", "poses"}
    evaluation.predict(colour_matcher, data, tmp_path / "run", boxes="none")


def test_what_is_shown_is_said_in_one_line(crowd, data):
    def notes(data, **options):
        return ObjectViews.of(data, **options).notes

    (line,) = notes(crowd)
    assert line.startswith("5 of 6 objects share their image with others; each of these is matched")
    (line,) = notes(crowd, boxes="annotated")
    assert line.startswith("each object is matched in the region around its annotated box")
    (line,) = notes(crowd, boxes="none")
    assert "nothing tells which object is meant" in line
    assert notes(data) == notes(data, boxes="none") == ()
    assert [line.split()[0] for line in notes(data, zoom="auto")] == ["a"]


def test_boxes_that_cannot_be_used(colour_matcher, crowd, data, tmp_path):
    """An object alone in its image is shown with the whole image; others cannot be."""
    first = data.pairs[0].source
    for box in ((400.0, 0, 420, 20), (5.0, 5, 5, 9), (np.nan, 0, 9, 9)):
        wrong = dataclasses.replace(first, box=box)
        pairs = [dataclasses.replace(data.pairs[0], source=wrong), *data.pairs[4:]]
        some = dataclasses.replace(data, pairs=pairs)
        views = ObjectViews.of(some, "annotated")
        assert wrong not in views.boxes and len(views.boxes) == len(some.annotations) - 1
        assert any(
            "whole images are matched: 1, such as a: box: expected" in n for n in views.notes
        )
        report = evaluation.evaluate(
            colour_matcher, some, tmp_path / str(box), "toy", boxes="annotated"
        )
        assert set(views.notes) <= set(report.notes)
    pair = next(pair for pair in crowd.pairs if pair.source.shares_image)
    pair.source.path.unlink()
    crowds.random_image(20, 20).save(pair.source.path)
    with pytest.raises(HomologError, match=r"^crowd01.png#\d+: box: expected .*20 x 20 pixels"):
        evaluation.predict(colour_matcher, crowd, tmp_path / "run")


def test_keypoints_beyond_a_region_are_moved_to_its_border(colour_matcher, tmp_path):
    path = crowds.make_crowds(tmp_path / "crowds", [2, 2])

    def change(file):
        entry = file["annotations"][0]
        x, y, width, height = entry["bbox"]
        entry["keypoints"][:2] = [x + width / 2, y + 2 * height if y < 100 else y - height]

    data = coco.load(datasets.edit_json(path, change))
    views = ObjectViews.of(data)
    assert any(note.startswith("1 keypoints lie outside the region") for note in views.notes)
    assert len(read_lines(evaluation.predict(colour_matcher, data, tmp_path / "run"))) == 8
    beyond = next(a for a in data.annotations if a.name.endswith("#11"))
    shown = FeatureStore(colour_matcher, views)(beyond)
    moved = queries(beyond.keypoints, shown)
    assert shown.region.contains(moved).all()
    inside = shown.region.contains(beyond.keypoints)
    assert (~inside).sum() == 1 and (moved[inside] == beyond.keypoints[inside]).all()
    # Joined with its whole image, a region need not be left: the point is matched there.
    zoomed = FeatureStore(colour_matcher, ObjectViews.of(data, zoom="auto"))(beyond)
    assert (queries(beyond.keypoints, zoomed) == beyond.keypoints).all()
    evaluation.predict(colour_matcher, data, tmp_path / "zoomed", zoom="auto")


def test_objects_of_a_crowd_with_the_shipped_model(matcher, tmp_path):
    """All look alike: without boxes, nothing tells which is meant."""
    data = coco.load(crowds.make_crowds(tmp_path / "crowds", [2, 2]))
    by_box = evaluation.predict(matcher, data, tmp_path / "boxes")
    assert pck(data, by_box, 0.05) == 1
    zoomed = evaluation.predict(matcher, data, tmp_path / "zoomed", zoom="auto")
    assert pck(data, zoomed, 0.05) == 1
    whole = evaluation.predict(matcher, data, tmp_path / "whole", boxes="none")
    assert pck(data, whole) < 0.75
