"""Keypoints found from exemplars: toy pictures with known answers, brute force, real bees."""

import dataclasses

import numpy as np
import pytest
import real_images
import torch
from helpers.toy_training import SCHEMA, toy_data, toy_matcher

from homolog import HomologError, KeypointSchema, Matcher
from homolog.image.geometry import FLIP, IDENTITY, PoseVariant
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
    """Each keypoint is a spot of its own colour; boxes are known but for how far they reach."""
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
    assert found.visible.tolist() == [1] * 5


def test_a_keypoint_that_exemplars_do_not_show(toy, data):
    """The second toy does not show its chin: nor, says it alone, does any picture."""
    _, second, third, *_ = data.annotations
    alone = Exemplars(toy, [second], data.schemas).find(toy.extract(third.path))
    assert alone.visible.tolist() == [1, 1, 1, 1, 0]
    assert np.isfinite(alone.points).all()
    both = Exemplars(toy, [second, third], data.schemas).find(toy.extract(third.path))
    assert both.visible[4] > 0.5


def test_flipped_exemplars_exchange_left_and_right(toy, data):
    """In the flipped picture the left paw's place is where the right paw is, mirrored."""
    first = data.annotations[0]
    (variant,) = Exemplars(toy, [first], data.schemas, [FLIP]).variants
    view = toy.extract(first.path, [FLIP]).by_pose[FLIP].view
    width = toy.read(first.path).width
    exchanged = first.keypoints[list(SCHEMA.mirror)]
    mirrored = np.stack([width - exchanged[:, 0], exchanged[:, 1]], axis=1)
    upright = dataclasses.replace(view, pose=IDENTITY)
    np.testing.assert_allclose(variant.cells_K2, upright.to_cells(mirrored), atol=1e-4)


def test_nothing_is_flipped_where_sides_are_not_known(toy, data):
    numbered = {"toy": KeypointSchema.numbered(5)}
    poses = [v.pose for v in Exemplars(toy, data.annotations[:1], numbered).variants]
    assert len(poses) == 4 and not any(pose.flip for pose in poses)
    assert (
        len(Exemplars(toy, data.annotations[:1], data.schemas).variants) == len(EXEMPLAR_POSES) == 8
    )


def test_turned_pictures_are_found_in_the_turned_pose(toy, data, tmp_path):
    """A picture on its side is labelled from the exemplar on its side."""
    from PIL import Image

    first = data.annotations[0]
    exemplars = Exemplars(toy, [first], data.schemas)
    with Image.open(first.path) as picture:
        turned = PoseVariant(rotation=90).apply(picture.convert("RGB"))
    found = exemplars.find(toy.extract(turned))
    assert found.exemplars[0] == (first.name, "rotate90")
    expected = PoseVariant(rotation=90).points(first.keypoints, (96, 80))
    np.testing.assert_allclose(found.points, expected, atol=4)


@pytest.mark.parametrize("guidance", [None, ConsensusConfig()])
def test_fewer_directions_change_little(data, guidance, monkeypatch):
    """The directions kept hold the similarities of what is asked for."""
    toy = toy_matcher().with_config(consensus=guidance)
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
    target = exemplars._reduced(toy.extract(last.path).by_pose[IDENTITY])
    thin = target.descriptors_HWC[::2, ::2][target.valid_HW[::2, ::2]]
    means = []
    for variant in exemplars.variants:
        rows = variant.queries_SKC[0][variant.visible_K]
        means.append(np.mean([max(float(row @ cell) for cell in thin) for row in rows]))
    chosen, quality = exemplars._shortlist(target, None)
    assert quality == pytest.approx(max(means), abs=1e-5)
    best = np.argsort(means)[::-1][:3]
    assert [id(v) for v in chosen] == [id(exemplars.variants[i]) for i in best]


def test_several_categories_do_not_mix(toy, data, tmp_path):
    """Each picture is of the category whose exemplars are most like it."""
    others = toy_data(tmp_path / "others", 2, "other")
    for annotation in others.annotations:  # darker, so that they differ
        from PIL import Image

        with Image.open(annotation.path) as picture:
            picture.point(lambda value: value // 4).save(annotation.path)
    exemplars = Exemplars(
        toy, [data.annotations[0], others.annotations[0]], {**data.schemas, **others.schemas}
    )
    for annotation in (data.annotations[2], others.annotations[1]):
        found = exemplars.find(toy.extract(annotation.path))
        assert found.category == annotation.category


def test_no_exemplars(toy, data):
    with pytest.raises(HomologError, match="exemplars: got none"):
        Exemplars(toy, [], data.schemas)


@pytest.mark.skipif(not real_images.ROOT.is_dir(), reason="needs the bees")
def test_real_bees(matcher):
    """From eight bees to others that face any way: mostly right, left seldom taken for right, and
    sure points are right more often than others."""
    learn, test = real_images.bees("train"), real_images.bees("test").annotations[::4]
    (schema,) = learn.schemas.values()
    exemplars = Exemplars(matcher, learn.annotations[::21], learn.schemas)
    errors, scores, confused = [], [], []
    for annotation in test:
        found = exemplars.find(matcher.extract(annotation.path))
        side = annotation.reference_length("box")
        own = np.linalg.norm(found.points - annotation.keypoints, axis=1) / side
        other = annotation.keypoints[list(schema.mirror)]
        other = np.linalg.norm(found.points - other, axis=1) / side
        sided = (np.array(schema.mirror) != np.arange(32)) & (np.minimum(own, other) <= 0.1)
        errors.append(own)
        scores.append(found.scores)
        confused.append((other < own)[sided])
    right, scores = np.concatenate(errors) <= 0.1, np.concatenate(scores)
    assert right.mean() > 0.45
    assert np.concatenate(confused).mean() < 0.35
    half = np.median(scores)
    assert right[scores > half].mean() > right[scores <= half].mean() + 0.2
