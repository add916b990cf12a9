"""Labelled keypoints in an adaptation: matches that are known, and mined ones held against them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from PIL import Image

from homolog.data import Annotation
from homolog.data.exemplars import ExemplarSet, read
from homolog.image.poses import FLIP
from homolog.training.adaptation.config import HeadConfig, MiningConfig
from homolog.training.adaptation.fixed_points import (
    FixedPoints,
    contradicting,
    digest,
    labelled_objects,
)
from homolog.training.adaptation.mining import PseudoMatches
from homolog.training.adaptation.sampler import BatchSampler, Labels
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher
from homolog.training.augmentation import FLIPPED, UNCHANGED, PoseView

CATEGORY = {"id": 1, "name": "toy", "keypoints": list(SCHEMA.names)}
IMAGES = 6


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Sequence[Annotation]:
    """Six toys, in the second of which one keypoint is not visible."""
    return toy_data(tmp_path_factory.mktemp("toys"), IMAGES).annotations


@pytest.fixture
def store(annotations, tmp_path) -> ImageStore:
    return ImageStore(tmp_path / "store", toy_matcher(), [a.path for a in annotations], 16)


def mined(
    source: int,
    target: int,
    source_cells: Sequence[Sequence[float]],
    target_cells: Sequence[Sequence[float]],
) -> PseudoMatches:
    ends = (np.array(cells, dtype=float) for cells in (source_cells, target_cells))
    return PseudoMatches(source, target, *ends, *np.zeros((5, len(source_cells))))


def teacher_of(store: ImageStore) -> Teacher:
    return Teacher(store, store.matcher.config, None, None)


def test_objects_that_share_an_image_have_no_fixed_points(annotations):
    """Neither labelled ones nor those that the file lists without keypoints."""
    three = list(annotations[:3])
    twins = [
        dataclasses.replace(annotations[3], name=f"twin#{n}", shares_image=True) for n in (1, 2)
    ]
    alone, notes = labelled_objects(ExemplarSet([*three, *twins], [CATEGORY]))
    assert alone == three
    (note,) = notes
    assert note.startswith("images of several objects") and str(annotations[3].path) in note
    assert labelled_objects(ExemplarSet(three, [CATEGORY])) == (three, [])


def test_objects_without_labels_beside_labelled_ones(annotations, tmp_path):
    rows = [
        f"{a.path},{instance},{k},{x},{y}"
        for a, instance in ((annotations[0], 1), (annotations[2], 1), (annotations[2], 2))
        for k, (x, y) in enumerate(a.keypoints)
    ]
    table = tmp_path / "few.csv"
    table.write_text("\n".join(["image,instance,keypoint,x,y", *rows]))
    exemplars = read(table)
    whole = [a for a in exemplars.annotations if a.path == annotations[0].path]
    seconds = [a for a in exemplars.annotations if a.path != annotations[0].path]
    assert len(whole) == 1 and len(seconds) == 2
    # Even where only one of them has labels.
    one = dataclasses.replace(exemplars, annotations=[*whole, seconds[0]])
    alone, notes = labelled_objects(one)
    assert alone == whole
    assert [note.split(",")[0] for note in notes] == [
        "images of several objects",
        "no two labelled images show one object each of the same category",
    ]


def test_one_labelled_image_knows_no_match(annotations, store):
    alone, notes = labelled_objects(ExemplarSet(annotations[:1], [CATEGORY]))
    assert alone == annotations[:1] and "no two labelled images" in notes[0]
    fixed = FixedPoints(alone, store)
    assert not fixed.labels and set(fixed.keypoints) == {0}


def test_matches_of_labelled_images(annotations, store):
    """Each pair once, with the keypoints that both have, where their cells show them."""
    elsewhere = dataclasses.replace(annotations[0], path=Path("elsewhere.png"))
    other = dataclasses.replace(annotations[4], category="other")
    beyond = annotations[2].keypoints.copy()
    beyond[0] = (97.0, 20.0)  # the image is 96 wide
    third = dataclasses.replace(annotations[2], keypoints=beyond)
    objects = [*annotations[:2], third, annotations[3], other, elsewhere]
    fixed = FixedPoints(objects, store)
    assert set(fixed.keypoints) == {0, 1, 2, 3, 4}
    pairs = [(label.source, label.target) for label in fixed.labels]
    assert sorted(pairs) == [(i, j) for i in range(4) for j in range(i + 1, 4)]
    for label in fixed.labels:
        assert label.fixed
        ends = [objects[i].keypoints for i in (label.source, label.target)]
        both = np.isfinite(ends[0]).all(1) & np.isfinite(ends[1]).all(1)
        both[0] &= 2 not in (label.source, label.target)
        for cells, image, points in zip(
            (label.source_cells, label.target_cells),
            (label.source, label.target), ends, strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(store.transform(image).to_points(cells), points[both])
    # 90 pixels are 90/8 cells of a canvas as wide as the image.
    assert fixed.sizes[0] == pytest.approx((90 - 4) / 8)


def test_many_labelled_images_are_paired_with_some(store, annotations, monkeypatch):
    """Thousands of labels take no millions of pairs."""
    monkeypatch.setattr("homolog.training.adaptation.fixed_points._PARTNERS", 2)
    fixed = FixedPoints(annotations, store)
    assert sorted((each.source, each.target) for each in fixed.labels) == [
        (0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5)
    ]  # fmt: skip


def test_known_matches_are_in_every_batch(annotations, store):
    """They weigh a quarter; without them everything is drawn as if there were none."""
    rng = np.random.default_rng(0)
    labels = [
        Labels(i, j, rng.uniform(3, 9, (20, 2)), rng.uniform(3, 9, (20, 2)))
        for i in range(IMAGES) for j in range(IMAGES) if abs(i - j) == 1
    ]  # fmt: skip
    fixed = FixedPoints([annotations[0], annotations[5]], store).labels
    assert len(fixed) == 1
    config = HeadConfig(images=4, matches=10)
    sampler = BatchSampler([*labels, *fixed], store, [UNCHANGED, FLIPPED], config, 0)
    seen = set[bool]()
    for step in range(12):
        batch = sampler.draw(step, 0)
        images = [image for image, _ in batch.views]
        assert {0, 5} <= set(images) and len(images) == len(set(images)) <= 5
        mirrored = {view.mirrored for _, view in batch.views}
        assert len(mirrored) == 1
        seen |= mirrored
        ends = np.array(images)[np.stack([batch.source_P, batch.target_P])]
        known = np.abs(ends[0] - ends[1]) == 5
        assert known.sum() == 2 * 5
        assert float(batch.weights_P[known].sum()) == pytest.approx(0.25)
        assert float(batch.weights_P[~known].sum()) == pytest.approx(0.75)
        # In mirrored views, too, both ends are the same keypoint as somebody labelled it.
        pose = PoseView(FLIP) if batch.views[0][1].mirrored else UNCHANGED
        for row, cells in ((batch.source_P, batch.source_cells_P2),
                           (batch.target_P, batch.target_cells_P2)):  # fmt: skip
            for image in (0, 5):
                here = cells[known & (np.array(images)[row] == image)].numpy()
                wanted = pose.to_cells(annotations[image].keypoints, store.transform(image))
                np.testing.assert_allclose(here[here[:, 0].argsort()],
                                           wanted[wanted[:, 0].argsort()], rtol=1e-4)  # fmt: skip
    assert seen == {False, True}
    only = BatchSampler(fixed, store, [UNCHANGED], config, 0).draw(0, 0)
    assert float(only.weights_P.sum()) == pytest.approx(1)


def test_matches_of_labelled_images_that_contradict_their_labels(annotations, store):
    fixed = FixedPoints(annotations[:2], store)
    own, other = fixed.keypoints[0], fixed.keypoints[1]
    away = np.array([0.0, 4.0])
    matches = [
        mined(0, 1, own[[0, 1, 2]], [other[0], other[1] + away, other[2] + (0.5, 0.5)]),
        mined(1, 0, other[[0, 1, 2]], [own[0] + away, own[1], own[2]]),
        # Nobody knows where keypoint 4 is in the second image, and these are at no keypoint.
        mined(0, 1, [own[4], own[3] + (3, 3)], [(2.0, 2.0), other[3] + (3, 3)]),
    ]
    kept = [np.ones(len(each), dtype=bool) for each in matches]
    kept[1][0] = False
    found = contradicting(matches, kept, fixed, teacher_of(store), MiningConfig())
    assert [each.tolist() for each in found] == [
        [False, True, False], [False, False, False], [False, False]
    ]  # fmt: skip


def test_an_unlabelled_image_in_which_labelled_ones_disagree(annotations, store):
    """Where most agree the others are wrong, and of two that differ nobody knows which is right."""
    fixed = FixedPoints(annotations[:3], store)
    keypoints = [fixed.keypoints[image] for image in range(3)]
    here, there = (4.0, 4.0), (9.0, 7.0)
    matches = [
        mined(0, 3, keypoints[0][[0, 1]], [here, here]),
        mined(3, 1, [here, there], keypoints[1][[0, 1]]),  # either way round
        mined(2, 3, keypoints[2][[0, 2]], [there, there]),
        mined(3, 4, [here], [there]),
    ]
    kept = [np.ones(len(each), dtype=bool) for each in matches]
    found = contradicting(matches, kept, fixed, teacher_of(store), MiningConfig())
    assert [each.tolist() for each in found] == [
        [False, True], [False, True], [True, False], [False]
    ]  # fmt: skip


def test_labels_are_told_from_others(annotations):
    changed = dataclasses.replace(annotations[0], keypoints=annotations[0].keypoints + 1)
    first = digest(annotations[:2])
    assert first == digest(list(annotations[:2]))
    assert len({first, digest(annotations[:1]), digest([changed, annotations[1]])}) == 3


def test_with_the_shipped_model(annotations, tmp_path, matcher):
    """Keypoints survive the way through the cells that the default model has."""
    path = tmp_path / "wide.png"
    Image.new("RGB", (300, 100), "grey").save(path)
    points = np.array([[10.5, 20.0], [299.0, 99.0]])
    wide = Annotation("wide", path, "toy", points, (0.0, 0.0, 300.0, 100.0))
    store = ImageStore(tmp_path / "store", matcher, [path, annotations[0].path], 8)
    fixed = FixedPoints([wide], store)
    np.testing.assert_allclose(store.transform(0).to_points(fixed.keypoints[0]), points)
