"""Keypoints predicted from exemplars: toy images with known truth, brute force, real bees."""

import dataclasses

import numpy as np
import pytest
import real_images
import torch
from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from PIL import Image

from homolog import HomologError, KeypointSchema, Matcher
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.labelling import exemplars as module
from homolog.labelling.exemplars import EXEMPLAR_POSES, Exemplars
from homolog.matching.consensus import ConsensusConfig


@pytest.fixture
def data(tmp_path):
    return toy_data(tmp_path, 5)


@pytest.fixture
def toy() -> Matcher:
    return toy_matcher()


def test_spots_are_found_with_their_box(toy, data):
    """Each keypoint is a spot of its own colour; the box lies around them."""
    *known, last = data.annotations
    found = Exemplars(toy, known, data.schemas, [IDENTITY]).find(toy.extract(last.path))
    assert found.category == "toy" and len(found.exemplars) == 3
    distances = np.linalg.norm(found.points - last.keypoints, axis=1)
    assert (distances < 8).mean() >= 0.6  # chance is 3 %
    x0, y0, x1, y1 = found.box
    assert x0 < last.keypoints[:, 0].min() and y1 > last.keypoints[:, 1].max()
    assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 80
    assert ((found.scores > 0) & (found.scores < 1)).all()


def test_an_exemplar_finds_itself(toy, data):
    first = data.annotations[0]
    found = Exemplars(toy, [first], data.schemas).find(toy.extract(first.path))
    assert found.exemplars[0] == (first.name, "identity")
    np.testing.assert_allclose(found.points, first.keypoints, atol=4)
    assert found.visibility.tolist() == [1] * 5


def test_a_keypoint_that_is_not_visible_in_an_exemplar(toy, data):
    """The chin is not visible in the second toy; by this exemplar alone, it is in no image."""
    _, second, third, *_ = data.annotations
    alone = Exemplars(toy, [second], data.schemas).find(toy.extract(third.path))
    assert alone.visibility.tolist() == [1, 1, 1, 1, 0]
    assert np.isfinite(alone.points).all()
    both = Exemplars(toy, [second, third], data.schemas).find(toy.extract(third.path))
    assert both.visibility[4] > 0.5


def test_flipped_exemplars_exchange_left_and_right(toy, data):
    """In the flipped image the left paw is where the right paw was, mirrored."""
    first = data.annotations[0]
    (posed,) = Exemplars(toy, [first], data.schemas, [FLIP]).posed
    features = toy.extract(first.path, [FLIP])
    transform, width = features.by_pose[FLIP].transform, features.width
    exchanged = first.keypoints[list(SCHEMA.mirror)]
    mirrored = np.stack([width - exchanged[:, 0], exchanged[:, 1]], axis=1)
    upright = dataclasses.replace(transform, pose=IDENTITY)
    np.testing.assert_allclose(posed.cells_K2, upright.to_cells(mirrored), atol=1e-4)


def test_nothing_is_flipped_where_left_and_right_are_not_known(toy, data):
    numbered = {"toy": KeypointSchema.numbered(5)}
    poses = [each.pose for each in Exemplars(toy, data.annotations[:1], numbered).posed]
    assert len(poses) == 4 and not any(pose.flip for pose in poses)
    assert len(Exemplars(toy, data.annotations[:1], data.schemas).posed) == len(EXEMPLAR_POSES) == 8


def test_a_rotated_image_is_labelled_from_the_rotated_exemplar(toy, data, tmp_path):
    first = data.annotations[0]
    exemplars = Exemplars(toy, [first], data.schemas)
    with Image.open(first.path) as image:
        turned = PoseVariant(rotation=90).apply(image.convert("RGB"))
    found = exemplars.find(toy.extract(turned))
    assert found.exemplars[0] == (first.name, "rotate90")
    expected = PoseVariant(rotation=90).points(first.keypoints, (96, 80))
    np.testing.assert_allclose(found.points, expected, atol=4)


@pytest.mark.parametrize("consensus", [None, ConsensusConfig()])
def test_fewer_directions_change_little(data, consensus, monkeypatch):
    """The principal directions preserve the similarities that matter."""
    toy = toy_matcher().with_config(consensus=consensus)
    *known, last = data.annotations
    whole = Exemplars(toy, known, data.schemas).find(toy.extract(last.path))
    monkeypatch.setattr(module, "DIRECTIONS", 32)
    fewer = Exemplars(toy, known, data.schemas)
    assert fewer.basis_CD.shape == (70, 32)
    torch.testing.assert_close(fewer.basis_CD.T @ fewer.basis_CD, torch.eye(32), atol=1e-4, rtol=0)
    found = fewer.find(toy.extract(last.path))
    assert np.median(np.linalg.norm(found.points - whole.points, axis=1)) < 2


def test_the_shortlist_is_that_of_brute_force(toy, data):
    *known, last = data.annotations
    exemplars = Exemplars(toy, known, data.schemas)
    upright = toy.extract(last.path).by_pose[IDENTITY]
    descriptors = upright.descriptors_HWC @ exemplars.basis_CD
    target = dataclasses.replace(upright, descriptors_HWC=descriptors)
    cells = target.descriptors_HWC[::2, ::2][target.valid_HW[::2, ::2]]
    means = []
    for posed in exemplars.posed:
        rows = posed.queries_SKC[0][posed.visible_K]
        means.append(np.mean([max(float(row @ cell) for cell in cells) for row in rows]))
    chosen, quality = exemplars.shortlist(target)
    assert quality == pytest.approx(max(means), abs=1e-5)
    best = np.argsort(means)[::-1][:3]
    assert [id(each) for each in chosen] == [id(exemplars.posed[i]) for i in best]


def test_mirrored_views_of_exemplars_cost_nothing(toy, data):
    """In both views of every pose, from as many passes as poses; so are the images they meet."""
    first, *_, last = data.annotations
    exemplars = Exemplars(toy, [first], data.schemas, mirror=True)
    assert toy.backbone.seen == len(EXEMPLAR_POSES) == len(exemplars.posed)
    assert {each.pose for each in exemplars.posed} == set(EXEMPLAR_POSES)
    found = exemplars.find(toy.extract(first.path, mirror=True))
    assert toy.backbone.seen == len(EXEMPLAR_POSES) + 2
    assert found.exemplars[0] == (first.name, "identity")
    np.testing.assert_allclose(found.points, first.keypoints, atol=4)
    # Descriptors are those of the image in that pose.
    both = toy.extract(first.path, [FLIP], mirror=True).by_pose[FLIP]
    (posed,) = Exemplars(toy, [first], data.schemas, [FLIP], mirror=True).posed
    anchors = both.descriptors_HWC[posed.anchors_P2[:, 1], posed.anchors_P2[:, 0]]
    torch.testing.assert_close(posed.anchors_PC @ posed.anchors_PC.T, anchors @ anchors.T)
    exemplars.find(toy.extract(last.path, mirror=True))


def test_several_categories_do_not_mix(toy, data, tmp_path):
    """The category of an image is that of the exemplars most similar to it."""
    others = toy_data(tmp_path / "others", 2, "other")
    for annotation in others.annotations:  # darker, so that they differ
        with Image.open(annotation.path) as image:
            image.point(lambda value: value // 4).save(annotation.path)
    exemplars = Exemplars(
        toy, [data.annotations[0], others.annotations[0]], {**data.schemas, **others.schemas}
    )
    for annotation in (data.annotations[2], others.annotations[1]):
        found = exemplars.find(toy.extract(annotation.path))
        assert found.category == annotation.category


def test_no_exemplars(toy, data):
    with pytest.raises(
        HomologError, match="exemplars: expected at least one labelled image, got none"
    ):
        Exemplars(toy, [], data.schemas)


@pytest.mark.skipif(not real_images.ROOT.is_dir(), reason="needs the bees")
@pytest.mark.parametrize(
    ("every", "correct_share", "confused_share"),
    [(42, 0.36, 0.4), pytest.param(21, 0.45, 0.35, marks=pytest.mark.slow)],
    ids=["from four", "from eight"],
)
def test_real_bees(matcher, every, correct_share, confused_share):
    """From few bees to others of any heading: many keypoints are correct, few on the wrong side,
    and confident ones are correct more often than others."""
    train, test = real_images.bees("train"), real_images.bees("test").annotations[::4]
    (schema,) = train.schemas.values()
    exemplars = Exemplars(matcher, train.annotations[::every], train.schemas)
    errors, scores, confused = [], [], []
    for annotation in test:
        found = exemplars.find(matcher.extract(annotation.path))
        length = annotation.reference_length("box")
        own = np.linalg.norm(found.points - annotation.keypoints, axis=1) / length
        other = annotation.keypoints[list(schema.mirror)]
        other = np.linalg.norm(found.points - other, axis=1) / length
        sided = (np.array(schema.mirror) != np.arange(32)) & (np.minimum(own, other) <= 0.1)
        errors.append(own)
        scores.append(found.scores)
        confused.append((other < own)[sided])
    correct, scores = np.concatenate(errors) <= 0.1, np.concatenate(scores)
    assert correct.mean() > correct_share
    assert np.concatenate(confused).mean() < confused_share
    half = np.median(scores)
    assert correct[scores > half].mean() > correct[scores <= half].mean() + 0.2
