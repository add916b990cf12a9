"""Pair proposal: who is compared with whom, by likeness and by heading."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.toy_adaptation import RuledSides, cuts, save_images, toy_store
from helpers.toys import random_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from homolog.image.poses import POSE_SETS
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.pairs import (
    ImageDescriptors,
    describe_images,
    pair_score,
    propose_chains,
    propose_pairs,
    upright_share,
    vary_in_angle,
)
from homolog.training.adaptation.teacher import Teacher


def unit_rows(rng, *shape):
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def descriptors(count: int, seed: int, known: float = 0.0) -> ImageDescriptors:
    rng = np.random.default_rng(seed)
    headings = unit_rows(rng, count, 3) * (rng.random((count, 1)) < known)
    return ImageDescriptors(unit_rows(rng, count, 5), headings)


counts = st.integers(1, 40)
seeds = st.integers(0, 10_000)
few = st.integers(0, 6)


@given(count=counts, seed=seeds, neighbours=few, others=few, known=st.sampled_from([0.0, 0.5, 1.0]))
def test_proposals_are_few_and_none_is_twice_or_of_one_image(
    count, seed, neighbours, others, known
):
    images = descriptors(count, seed, known)
    config = MiningConfig(neighbours=neighbours, random_pairs=others)
    pairs = propose_pairs(images, config, np.random.default_rng(seed))
    assert len(set(pairs)) == len(pairs)
    assert all(source != target for source, target in pairs)
    assert {image for pair in pairs for image in pair} <= set(range(count))
    for source in range(count):
        own = sum(first == source for first, _ in pairs)
        assert min(others, count - 1) <= own <= min(neighbours + others, count - 1)
        if known in (0.0, 1.0):
            assert own >= min(max(neighbours, others), count - 1)
    again = propose_pairs(images, config, np.random.default_rng(seed))
    assert again == pairs


@settings(max_examples=20)
@given(count=counts, seed=seeds, neighbours=few)
def test_without_headings_neighbours_are_the_most_similar(count, seed, neighbours):
    images = descriptors(count, seed)
    config = MiningConfig(neighbours=neighbours, random_pairs=0)
    pairs = propose_pairs(images, config, np.random.default_rng(0))
    for source in range(count):
        likeness = {
            other: float(images.embeddings[source] @ images.embeddings[other])
            for other in range(count)
            if other != source
        }
        expected = sorted(likeness, key=likeness.__getitem__, reverse=True)[:neighbours]
        assert {target for first, target in pairs if first == source} == set(expected)


@settings(max_examples=8)
@given(seed=seeds, count=st.integers(35, 60))
def test_with_headings_neighbours_face_alike(seed, count):
    images = descriptors(count, seed, 0.8)
    config = MiningConfig(neighbours=6, random_pairs=0)
    pairs = propose_pairs(images, config, np.random.default_rng(seed))
    known = np.flatnonzero(np.linalg.norm(images.headings, axis=1))
    for source in known:
        others = [other for other in known if other != source]
        facing = images.headings[others] @ images.headings[source]
        allowed = {others[index] for index in np.argsort(-facing)[:30]}
        targets = {target for first, target in pairs if first == source}
        assert targets <= allowed and len(targets) == min(6, len(others))


def test_pairs_that_are_not_accepted_are_made_up_for():
    """Of two kinds of images, each finds as many partners of its own as there are."""
    images = descriptors(20, 0)
    config = MiningConfig(neighbours=2, random_pairs=2)
    pairs = propose_pairs(
        images, config, np.random.default_rng(0), lambda one, other: one % 2 == other % 2
    )
    assert all(source % 2 == target % 2 for source, target in pairs)
    for source in range(20):
        assert 2 <= sum(first == source for first, _ in pairs) <= 4
    none = propose_pairs(images, config, np.random.default_rng(0), lambda one, other: False)
    assert none == []


@settings(max_examples=30)
@given(
    shares=st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1]),
        st.floats(0, 1), max_size=20,
    ),
    confident=st.floats(0.1, 0.9),
)  # fmt: skip
def test_chains_lead_over_the_most_confident_image(shares, confident):
    def link(one, other):
        return max(shares.get((one, other), 0.0), shares.get((other, one), 0.0))

    chains = {(chain[0], chain[2]): chain[1] for chain in propose_chains(shares, confident)}
    for (source, target), share in shares.items():
        between = {
            image: min(link(source, image), link(image, target))
            for image in range(6)
            if image not in (source, target)
        }
        best = max(between.values())
        if share >= confident or best < confident:
            assert (source, target) not in chains
        else:
            assert between[chains[source, target]] == best
    assert set(chains) <= set(shares)


def test_random_pairs_reach_everybody():
    images = descriptors(12, 0)
    config = MiningConfig(neighbours=0, random_pairs=3)
    seen = set()
    for seed in range(40):
        seen |= set(propose_pairs(images, config, np.random.default_rng(seed)))
    assert len(seen) == 12 * 11


def test_an_image_alone_has_no_pairs():
    assert propose_pairs(descriptors(1, 0), MiningConfig(), np.random.default_rng(0)) == []
    both = propose_pairs(descriptors(2, 0, 1.0), MiningConfig(), np.random.default_rng(0))
    assert sorted(both) == [(0, 1), (1, 0)]


@pytest.fixture
def masked(tmp_path) -> Teacher:
    """Two images, the first with a mask, and a side head."""
    head = RuledSides()
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(2)])
    config = dataclasses.replace(store.matcher.config, sides=head.config)
    mask = Image.new("L", (96, 96))
    ImageDraw.Draw(mask).rectangle((16, 24, 55, 79), fill=255)
    (file,) = save_images(tmp_path / "masks", [mask])
    return Teacher(store, config, None, head, {store.paths[0]: file})


def test_an_image_is_described_by_the_mean_of_its_object(masked):
    found = describe_images(masked, [1, 0])
    assert found.embeddings.shape == (2, 70) and found.headings.shape == (2, 3)
    upright = masked.descriptor_map(0)
    mean = upright.descriptors_HWC[3:10, 2:7].double().mean((0, 1)).numpy()
    np.testing.assert_allclose(found.embeddings[1], mean / np.linalg.norm(mean), atol=1e-5)

    whole = masked.descriptor_map(1)
    total, heading = np.zeros(70), np.zeros(3)
    for y in range(12):
        for x in range(12):
            total += float(whole.saliency_HW[y, x]) * whole.descriptors_HWC[y, x].double().numpy()
            each = whole.sides.heading[y, x].double().numpy()
            heading += each / np.linalg.norm(each)
    np.testing.assert_allclose(found.embeddings[0], total / np.linalg.norm(total), atol=1e-5)
    np.testing.assert_allclose(found.headings[0], heading / np.linalg.norm(heading), atol=1e-5)


def test_without_a_side_head_that_recognises_them_objects_have_no_heading(masked):
    plain = Teacher(masked.store, masked.store.matcher.config, None, None)
    assert not describe_images(plain, [0, 1]).headings.any()
    head = RuledSides(0.1)
    unsure = Teacher(
        masked.store, dataclasses.replace(masked.config, sides=head.config), None, head
    )
    assert not describe_images(unsure, [0, 1]).headings.any()


def test_an_object_that_is_known_but_not_salient_is_described(masked, monkeypatch):
    describe = Teacher.descriptor_map

    def dull(self, index, *pose):
        found = describe(self, index, *pose)
        return dataclasses.replace(found, saliency_HW=torch.zeros_like(found.saliency_HW))

    monkeypatch.setattr(Teacher, "descriptor_map", dull)
    mean = masked.descriptor_map(1).descriptors_HWC.mean((0, 1)).double().numpy()
    found = describe_images(masked, [1]).embeddings[0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


def test_the_score_of_a_pair_is_the_matchers(tmp_path):
    store = toy_store(tmp_path, [*cuts((0, 0), (20, 10)), random_image(120, 70, 3)])
    teacher = Teacher(store, store.matcher.config, None, None)
    for source, target in ((0, 1), (1, 0), (0, 2)):
        expected = store.matcher.pair(store.paths[source], store.paths[target]).score
        assert pair_score(teacher, source, target) == pytest.approx(expected, abs=2e-3)


def test_whether_objects_lie_at_any_angle(tmp_path):
    images = [random_image(96, 96, seed) for seed in range(2)]
    turned = [image.rotate(90 * turns) for image in images for turns in range(4)]
    store = toy_store(tmp_path, turned)
    teacher = Teacher(store, store.matcher.config, None, None)
    alike = [(4 * image, 4 * image + turns) for image in (0, 1) for turns in range(4)]
    assert len(POSE_SETS["rotations"]) == 4
    assert upright_share(teacher, alike) == 0.25
    assert vary_in_angle(teacher, alike)
    assert not vary_in_angle(teacher, [(0, 0), (4, 4)])
