"""Predicting once, going on after interruptions, and scoring what anybody predicted."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from helpers.toys import ColourBackbone, random_picture
from PIL import Image

from homolog import HomologError, KeypointSchema, Matcher, evaluation
from homolog.data import Annotation, DataSet, Pair
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.report import Report, draw_charts, plot_best_and_worst
from homolog.evaluation.viewpoint import ViewpointReport, summarise
from homolog.evaluation.viewpoint import evaluate as evaluate_pose
from homolog.features import FeatureCache
from homolog.image.geometry import FLIP, IDENTITY

SCHEMA = KeypointSchema.from_names(["nose", "left_paw", "right_paw"])
BOTH = (IDENTITY, FLIP)


@pytest.fixture
def data(tmp_path) -> DataSet:
    """Three pictures, one the mirror image of another; all ordered pairs."""
    first, second = random_picture(96, 96), random_picture(96, 64, seed=1)
    places = np.array([(48.0, 20), (30, 60), (66, 60)])
    mirrored = FLIP.points(places, (96, 96))[[0, 2, 1]]
    hidden = np.array([(48.0, 20), (30, 40), (np.nan, np.nan)])
    annotations = []
    for name, picture, keypoints in (
        ("a", first, places),
        ("b", FLIP.apply(first), mirrored),
        ("c", second, hidden),
    ):
        path = tmp_path / f"{name}.png"
        picture.save(path)
        box = (0.0, 0.0, 96.0, 64.0)
        annotations.append(
            Annotation(name, path, "toy", keypoints, box, picture.size, azimuth=ord(name) - 97)
        )
    pairs = [
        Pair.of(f"{a.name}-{b.name}", a, b) for a in annotations for b in annotations if a is not b
    ]
    return DataSet("toys", tmp_path, {"toy": SCHEMA}, pairs, "box", (0.1, 0.05))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_picture_goes_through_the_backbone_once_a_pose(colour_matcher, data, tmp_path):
    path = evaluation.predict(colour_matcher, data, tmp_path / "run", poses=BOTH)
    assert colour_matcher.backbone.seen == 3 * 2
    found = lines(path)
    assert [line["pair"] for line in found] == [pair.name for pair in data.pairs]
    for line, pair in zip(found, data.pairs, strict=True):
        direct = colour_matcher.transfer(
            pair.source.path, pair.target.path,
            pair.source.keypoints[pair.source.visible], SCHEMA,
            np.flatnonzero(pair.source.visible).tolist(), poses=BOTH,
        )  # fmt: skip
        rows = [direct.point_ids.index(k) for k in line["keypoint_ids"]]
        np.testing.assert_allclose(line[evaluation.ALIGNED], direct.keypoints1[rows])
        plain = colour_matcher.transfer(
            pair.source.path, pair.target.path, pair.source.keypoints[pair.keypoint_ids]
        )
        np.testing.assert_allclose(line[evaluation.UNALIGNED], plain.keypoints1)


class Interrupted(ColourBackbone):
    """Breaks down after some pictures."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def __call__(self, canvases):
        if self.seen == self.after:
            raise KeyboardInterrupt
        return super().__call__(canvases)


def test_an_interrupted_run_goes_on(colour_matcher, data, tmp_path):
    whole = evaluation.predict(colour_matcher, data, tmp_path / "whole")
    broken = Matcher(Interrupted(2), colour_matcher.config)
    with pytest.raises(KeyboardInterrupt):
        evaluation.predict(broken, data, tmp_path / "run")
    path = tmp_path / "run" / "predictions.jsonl"
    assert len(lines(path)) == 1
    with path.open("a") as file:
        file.write('{"pair": "a-c", "keypoi')  # killed while writing
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert path.read_text() == whole.read_text()
    before = colour_matcher.backbone.seen
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert colour_matcher.backbone.seen == before, "nothing left to do"


def test_another_run_is_not_mixed_in(colour_matcher, data, tmp_path):
    evaluation.predict(colour_matcher, data, tmp_path / "run")
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(colour_matcher.with_config(window=1), data, tmp_path / "run")
    with pytest.raises(HomologError, match="holds another run"):
        evaluation.predict(colour_matcher, data.subsample(2), tmp_path / "run")


def test_memory_stays_bounded_and_the_backbone_is_spared(colour_matcher, data, tmp_path):
    plain = evaluation.predict(colour_matcher, data, tmp_path / "plain")
    cached = Matcher(ColourBackbone(), colour_matcher.config, cache=FeatureCache(tmp_path / "c"))
    first = evaluation.predict(cached, data, tmp_path / "first")
    assert cached.backbone.seen == 3
    small = Matcher(ColourBackbone(), colour_matcher.config)
    second = evaluation.predict(small, data, tmp_path / "second", memory=1)
    # One picture is seen once more, to find out how much memory it takes.
    assert small.backbone.seen == 3 + 1
    assert first.read_text() == second.read_text()
    for ours, line in zip(lines(first), lines(plain), strict=True):
        np.testing.assert_allclose(ours[evaluation.ALIGNED], line[evaluation.ALIGNED], atol=0.2)
    assert not list((tmp_path / "second").glob(".features-*")), "the temporary cache is gone"


def test_a_broken_cache_file_is_made_anew(colour_matcher, data, tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    matcher = Matcher(ColourBackbone(), colour_matcher.config, cache=cache)
    path = data.pairs[0].source.path
    good = matcher.extract(path).descriptors
    (file,) = cache.folder.rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert matcher.extract(path).descriptors.equal(good)
    assert matcher.backbone.seen == 2 and file.read_bytes() == whole
    assert matcher.extract(path).descriptors.equal(good) and matcher.backbone.seen == 2
    other = Matcher(ColourBackbone(), matcher.with_config().config, cache=cache)
    other.extract(path, "flip")
    assert other.backbone.seen == 1, "the flipped picture has a file of its own"


def test_missing_pictures_are_found_before_the_work(colour_matcher, data, tmp_path):
    data.pairs[-1].source.path.unlink()
    with pytest.raises(HomologError, match=r"c\.png: there is no such picture"):
        evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert colour_matcher.backbone.seen == 0 and not (tmp_path / "run").exists()


def test_keypoints_outside_are_looked_up_at_the_border(colour_matcher, data, tmp_path):
    data.pairs[0].source.keypoints[0] = (97.5, 20)
    found = evaluation.predict(colour_matcher, data, tmp_path / "run")
    assert len(lines(found)) == 6
    notes = Report.of(data, scored(data, found), "toy").notes
    assert any("lie outside" in note and "(97.5, 20)" in note for note in notes)


def scored(data, path) -> PCKAccumulator:
    return evaluation.score(data, evaluation.read_predictions(path, data)[0])


def test_what_is_missing_counts_as_wrong_and_is_said(data, tmp_path):
    perfect = [
        {
            "pair": pair.name,
            "keypoint_ids": pair.keypoint_ids[::-1].tolist(),  # in any order
            evaluation.ALIGNED: pair.target.keypoints[pair.keypoint_ids[::-1]].tolist(),
        }
        for pair in data.pairs
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(perfect))
    assert np.nanmean(scored(data, path).pck_of_pairs(0.01)) == 1
    perfect[0][evaluation.ALIGNED][0] = [float("nan"), 3]
    for key in ("keypoint_ids", evaluation.ALIGNED):
        perfect[1][key].pop()
    path.write_text("\n".join(json.dumps(line) for line in perfect[:-1]))
    predictions, notes = evaluation.read_predictions(path, data)
    assert [note.split(" ", 1)[0] for note in notes] == ["1", "1", "1"]
    assert "c-b" in notes[0] and all("counted wrong" in note for note in notes)
    found = evaluation.score(data, predictions).pck_of_pairs(0.1)
    np.testing.assert_allclose(found, [2 / 3, 1 / 2, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pair": "a-z"}, "toys has no pair 'a-z'"),
        ({"pair": None}, "toys has no pair None"),
        ({"keypoint_ids": [0, 1, 7]}, r"does not ask for keypoints \[7\]"),
        ({"keypoint_ids": [0, 1, 1]}, "3 points for keypoint_ids"),
        ({"keypoint_ids": [0, 1]}, "3 points for keypoint_ids"),
        ({"keypoint_ids": "x"}, "is not a prediction"),
        ({evaluation.ALIGNED: [1, 2, 3]}, "is not a prediction"),
        ({"pair": "a-c", "keypoint_ids": [0], evaluation.ALIGNED: [[1, 2]]}, "there twice"),
    ],
)
def test_wrong_predictions_are_named_with_their_line(data, tmp_path, change, reason):
    good = {"pair": "a-b", "keypoint_ids": [0, 1, 2], evaluation.ALIGNED: [[1, 2]] * 3}
    other = {"pair": "a-c", "keypoint_ids": [0, 1], evaluation.ALIGNED: [[1, 2]] * 2}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(other) + "\n" + json.dumps(good | change) + "\n")
    with pytest.raises(HomologError, match=rf"p\.jsonl, line 2: .*{reason}") as error:
        evaluation.read_predictions(path, data)
    assert "\n" not in str(error.value)


def test_files_that_hold_no_predictions(data, tmp_path):
    path = tmp_path / "p.jsonl"
    with pytest.raises(HomologError, match="cannot be read"):
        evaluation.read_predictions(path, data)
    path.write_text('{"pair": \n')
    with pytest.raises(HomologError, match="line 1"):
        evaluation.read_predictions(path, data)
    path.write_text('[\n{"pair": }\n]')
    with pytest.raises(HomologError, match="line 2"):
        evaluation.read_predictions(path, data)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HomologError, match="not text"):
        evaluation.read_predictions(path, data)


def test_limits_sample_evenly_and_say_so(data):
    few = data.subsample(3)
    assert [pair.name for pair in few.pairs] == ["a-b", "b-a", "c-b"]
    assert few.notes == ("3 of 6 pairs, evenly sampled",)
    assert data.subsample(6) is data
    with pytest.raises(HomologError, match="limit"):
        data.subsample(0)


def test_reports(colour_matcher, data, tmp_path):
    path = evaluation.predict(colour_matcher, data, tmp_path / "run", poses=BOTH)
    aligned = scored(data, path)
    without, _ = evaluation.read_predictions(path, data, evaluation.UNALIGNED)
    unaligned = evaluation.score(data, without)
    report = Report.of(data, aligned, "toy", ["a note"], "flip", unaligned)
    report.write(tmp_path)
    plain = json.loads((tmp_path / "results.json").read_text())
    assert plain["per_image"]["count"] == 6 and "per_image" in plain["unaligned"]
    table = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    values = {
        (row["alignment"], row["kind"], row["part"], row["figure"]): float(row["value"])
        for row in table
    }
    assert len(values) == len(table), "every figure once"
    assert values["flip", "per_image", "", "pck@0.10"] == plain["per_image"]["pck@0.10"]
    markdown = (tmp_path / "results.md").read_text()
    assert "| per image, not aligned |" in markdown and "- a note" in markdown
    draw_charts(tmp_path, report, aligned, unaligned)
    plot_best_and_worst(tmp_path, aligned, evaluation.read_predictions(path, data)[0])
    for name in ("pck", "azimuth", "best", "worst"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_published_methods_stand_beside_their_benchmark(data):
    named = dataclasses.replace(data, name="SPair-71k test", alphas=(0.1, 0.05, 0.01))
    predictions = {p.name: p.target.keypoints[p.keypoint_ids] for p in named.pairs}
    markdown = Report.of(named, evaluation.score(named, predictions), "perfect").to_markdown()
    assert "| perfect (here) | 100.0 | 100.0 | 100.0 |" in markdown
    assert "GeoAware, zero-shot (2024)" in markdown and "| 8.9 | 48.7 | 64.2 | 54.8 |" in markdown
    assert "GeoAware" not in Report.of(data, evaluation.score(data, predictions), "x").to_markdown()


def test_views_told_apart_by_distance():
    """Of six pictures: two of the left, one right as front, one front, two back, one as left."""
    distances = np.array(
        [
            [1, 2, 3, 4],
            [1, 2, 3, 4],
            [3, 2, 1, 4],  # right is nearer than left, front nearer still
            [4, 3, 1, 2],
            [4, 3, 2, 1],
            [1, 3, 4, 2],  # back is nearer than front, left nearer still
        ],
        float,
    )
    report = summarise(np.array([0, 0, 1, 2, 3, 3]), distances)
    assert report.confusion.tolist() == [[2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert (report.left_right, report.front_back, report.either) == (1.0, 1.0, 1.0)
    assert report.four_ways == 4 / 6
    assert summarise(np.array([2]), distances[3:4]).left_right is None


def test_views_in_folders(colour_matcher, tmp_path):
    views = {name: random_picture(96, 96, seed) for seed, name in enumerate(("left", "front"))}
    views["right"] = FLIP.apply(views["left"])
    views["back"] = random_picture(96, 96, 5)
    (tmp_path / "templates").mkdir()
    for name, picture in views.items():
        picture.save(tmp_path / "templates" / f"{name}.png")
        if name != "back":
            (tmp_path / name).mkdir()
            picture.resize((80, 80)).save(tmp_path / name / "1.png")
    report = evaluate_pose(tmp_path, colour_matcher)
    assert isinstance(report, ViewpointReport) and report.four_ways == 1
    assert report.confusion.sum() == 3
    (tmp_path / "templates" / "back.png").unlink()
    with pytest.raises(HomologError, match="no picture named back"):
        evaluate_pose(tmp_path, colour_matcher)
