"""Images chosen by their objects: lone ones are left out, kinds of their own are not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import real_images
import torch
import torch.nn.functional as F
from helpers import toy_adaptation
from helpers.toy_adaptation import RuledSides, toy_store
from helpers.toy_training import toy_matcher
from helpers.toys import random_image
from PIL import Image

import homolog
from homolog.config import PostProcessorConfig
from homolog.descriptors import DescriptorMap
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.networks.context import AttentionHead
from homolog.networks.sides import SideMaps, SidesConfig
from homolog.training.adaptation import choosing
from homolog.training.adaptation.choosing import choose_objects, choosing_teacher
from homolog.training.adaptation.teacher import Teacher

GRID = Grid.from_patches(96, 8)
CHANNELS = 48


class Scenes:
    """Objects of some kinds, each with parts of its own, before backgrounds that all differ.

    Args:
        kinds: of the object in each image; None for an image of one colour.
        noise: of each kind's cells; the more there is, the less alike its objects are.
        shared: a part that all descriptors have in common.
    """

    def __init__(self, kinds, noise=0.8, shared=0.0):
        self.kinds, self.shared = kinds, shared
        self.noise = noise if isinstance(noise, dict) else dict.fromkeys(kinds, noise)
        self.files = [Path(f"{index}.png") for index in range(len(kinds))]

    def __call__(self, index: int) -> DescriptorMap:
        generator = torch.Generator().manual_seed(index)
        height, width = GRID.shape
        cells = F.normalize(torch.randn(height, width, CHANNELS, generator=generator), dim=-1)
        kind = self.kinds[index]
        salient = torch.zeros(height, width)
        if kind is None:
            cells[:] = cells[0, 0].clone()
        else:
            parts = torch.Generator().manual_seed(1000 + kind)
            wanted = F.normalize(torch.randn(6, 6, CHANNELS, generator=parts), dim=-1)
            y, x = torch.randint(0, height - 6, (2,), generator=generator).tolist()
            cells[y : y + 6, x : x + 6] = wanted + self.noise[kind] * cells[y : y + 6, x : x + 6]
            salient[y : y + 6, x : x + 6] = 1
        cells = F.normalize(F.normalize(cells, dim=-1) + self.shared, dim=-1)
        transform = CanvasTransform(96, 96, IDENTITY, 96, GRID)
        everywhere = torch.ones(GRID.shape, dtype=torch.bool)
        return DescriptorMap(transform, cells, everywhere, everywhere, salient)


def test_a_lone_object_is_left_out():
    scenes = Scenes([0] * 20 + [1] + [0] * 20)
    found = choose_objects(scenes.files, scenes)
    (stranger,) = found.left_out
    assert stranger.path == scenes.files[20]
    assert found.indices == (*range(20), *range(21, 41))
    own, usual = found.scores[20], np.median(np.delete(found.scores, 20))
    assert own < 0.72 * usual
    assert stranger.reason.startswith(
        f"of another kind: the images most similar to it score {own:.2f}, theirs 0."
    )


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_what_all_descriptors_share_does_not_count(shared):
    """As those of some backbones do: then all images look alike."""
    scenes = Scenes([0] * 30 + [1], shared=shared)
    assert choose_objects(scenes.files, scenes).indices == tuple(range(30))


def test_several_kinds_stay_however_alike_their_objects_are():
    noise = {0: 0.2, 1: 0.6, 2: 1.0, 3: 1.2, 4: 0.8, 5: 0.4}
    scenes = Scenes([kind for kind in range(5) for _ in range(12)] + [5] * 4, noise)
    found = choose_objects(scenes.files, scenes)
    assert found.left_out == () and len(found.indices) == 64
    means = [found.scores[start : start + 12].mean() for start in range(0, 60, 12)]
    assert means[0] > 1.5 * means[3], "kinds that one threshold could not tell from strangers"


def test_images_without_objects():
    scenes = Scenes([0] * 8 + [None] + [0] * 8)
    found = choose_objects(scenes.files, scenes)
    assert [(each.path, each.reason) for each in found.left_out] == [
        (scenes.files[8], "no object is found: nothing in it stands out")
    ]
    assert np.flatnonzero(np.isnan(found.scores)).tolist() == [8]
    nothing = Scenes([None] * 5)
    found = choose_objects(nothing.files, nothing)
    assert found.indices == () and len(found.left_out) == 5
    alone = Scenes([None, 0])
    assert choose_objects(alone.files, alone).indices == (1,)


def test_the_matchers_threshold_keeps_images():
    scenes = Scenes([0] * 20 + [1], {0: 0.1, 1: 0.1})
    low = choose_objects(scenes.files, scenes).scores[20]
    assert choose_objects(scenes.files, scenes, low + 0.01).indices == tuple(range(20))
    assert choose_objects(scenes.files, scenes, low - 0.01).indices == tuple(range(21))


def test_what_a_side_head_does_not_recognise_must_be_more_alike():
    """A dog that it misses stays, a thing that looks somewhat like dogs does not."""
    sides = SidesConfig(CHANNELS, presence_calibration=(20.0, -10.0))
    dogs, somewhat = Scenes([0] * 21, 0.6), Scenes([0] * 21, 1.2)

    def maps(recognised):
        def found(index):
            plain = somewhat(index) if index == 20 else dogs(index)
            objectness = torch.full(GRID.shape, 0.9 if index in recognised else 0.1)
            vectors = torch.zeros(*GRID.shape, 3)
            maps = SideMaps(objectness, torch.zeros(GRID.shape), vectors, vectors)
            return dataclasses.replace(plain, sides=maps)

        return dogs.files, found

    files, found = maps(range(19))  # neither the last dog nor the thing
    scores = choose_objects(files, found).scores
    dog, thing = scores[19:] / np.median(scores[:20])
    assert 0.72 < thing < 0.85 < dog
    assert choose_objects(files, found, sides=sides).indices == tuple(range(20))
    # Not so where it recognises nothing around it, and without its calibration.
    assert len(choose_objects(*maps(()), sides=sides).indices) == 21
    assert len(choose_objects(*maps(range(21)), sides=sides).indices) == 21
    assert len(choose_objects(files, found, sides=SidesConfig(CHANNELS)).indices) == 21


def test_scores_are_those_of_all_pairs(monkeypatch):
    """Of few images every one is a neighbour of every other, whatever the chunks are."""
    scenes = Scenes([0] * 6 + [1] * 5)
    found = choose_objects(scenes.files, scenes)
    maps = [scenes(index) for index in range(11)]
    centre = torch.stack([each.descriptors_HWC.flatten(0, 1).mean(0) for each in maps]).mean(0)
    cells = [
        F.normalize(each.descriptors_HWC[each.saliency_HW > 0].half().float() - centre, dim=1)
        for each in maps
    ]
    expected = np.full((11, 11), -np.inf)
    for i in range(11):
        for j in range(11):
            similarity = (cells[i] @ cells[j].T).numpy()
            mutual = [
                similarity[row, column]
                for row, column in enumerate(similarity.argmax(1))
                if similarity[:, column].argmax() == row
            ]
            if i != j:
                expected[i, j] = np.mean(mutual)
    best = np.sort(expected, axis=1)[:, -3:].mean(1)
    np.testing.assert_allclose(found.scores, best, atol=1e-5)
    monkeypatch.setattr(choosing, "_CHUNK", 4)
    np.testing.assert_array_equal(choose_objects(scenes.files, scenes).scores, found.scores)


def test_the_teacher_that_chooses_has_zero_shot_descriptors(tmp_path):
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(4)])
    torch.manual_seed(0)
    config = dataclasses.replace(
        toy_matcher().config,
        post_processor=PostProcessorConfig("descriptors", zero_shot=0.5),
        sides=RuledSides(sides_weight=0.3).config,
    )
    network = AttentionHead(toy_adaptation.CHANNELS, 32, 16, 32).eval()
    mask = tmp_path / "mask.png"
    Image.fromarray(np.eye(96, dtype=np.uint8)).save(mask)
    head = RuledSides(sides_weight=0.3)
    learned = Teacher(store, config, network, head, {store.paths[1]: mask})
    plain = Teacher(store, toy_matcher().config, None, None)
    chooser = choosing_teacher(learned)
    for index in range(4):
        found, expected = chooser.descriptor_map(index), plain.descriptor_map(index)
        torch.testing.assert_close(found.descriptors_HWC, expected.descriptors_HWC)
        assert found.sides is not None
    assert torch.equal(chooser.descriptor_map(1).saliency_HW, learned.descriptor_map(1).saliency_HW)
    assert chooser.descriptor_map(1).saliency_HW.sum() == 12  # the diagonal


@pytest.mark.slow
@pytest.mark.skipif(not real_images.ROOT.is_dir(), reason="needs the photos in HOMOLOG_DATA")
def test_a_motorbike_among_dogs():
    """Dogs are the first 118 of the quadrupeds by name."""
    root = real_images.ROOT
    files = sorted((root / "photos" / "quadrupeds").iterdir())[2:118:4]
    files.append(root / "PF-WILLOW" / "motorbike(G)" / "Motorbikes_001a.png")
    matcher = homolog.Matcher.from_pretrained("embedded")
    sides = matcher.config.sides
    plain = dataclasses.replace(sides, side_weight=0.0, coordinate_weight=0.0)
    matcher = matcher.with_config(post_processor=None, sides=plain)
    maps = [each.by_pose[IDENTITY] for each in matcher.extract(files)]
    threshold = matcher.config.same_category_threshold
    found = choose_objects(files, maps.__getitem__, threshold, sides)
    assert [each.path for each in found.left_out] == files[-1:]
