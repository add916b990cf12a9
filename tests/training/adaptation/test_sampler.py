"""The batch sampler: what it draws comes from the labels, evenly, and is the same every time."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from helpers.toy_adaptation import toy_store
from helpers.toys import random_image

from homolog.training.adaptation.config import HeadConfig
from homolog.training.adaptation.sampler import Batch, BatchSampler, Labels
from homolog.training.augmentation import FLIPPED, UNCHANGED, RandomAffineView

PLAIN = (1.0, 1.0, 1.0)
TURNED = RandomAffineView(False, 30.0, 1.2, (0.1, -0.05), PLAIN, PLAIN)
TURNED_MIRROR = RandomAffineView(True, -60.0, 0.9, (0.0, 0.2), PLAIN, PLAIN)
VIEWS = [UNCHANGED, FLIPPED, TURNED, TURNED_MIRROR]
CONFIG = HeadConfig(images=4, matches=9)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    images = [random_image(96, 96, seed) for seed in range(6)]
    return toy_store(tmp_path_factory.mktemp("sampler"), images)


def labels_of(pairs, seed=0, counts=(5, 30)) -> list[Labels]:
    rng = np.random.default_rng(seed)
    found = []
    for source, target in pairs:
        cells = rng.uniform(0, 11, (2, int(rng.integers(*counts)), 2))
        found.append(Labels(source, target, *cells))
    return found


PAIRS = [(0, 1), (1, 0), (1, 2), (2, 3), (3, 0), (4, 1), (4, 5), (0, 4), (2, 0), (2, 5)]


def in_view(cells, view):
    """Cells of a square image of 96 pixels in a view, by hand: a cell has 8 pixels."""
    points = cells * 8 + 4.0
    if view == UNCHANGED:
        return cells
    if view == FLIPPED:
        return np.stack([11 - cells[:, 0], cells[:, 1]], axis=1)
    found = []
    for x, y in points - 48:
        x = -x if view.mirrored else x
        cos, sin = (f(math.radians(view.angle)) * view.scale for f in (math.cos, math.sin))
        moved = np.array([cos * x - sin * y, sin * x + cos * y]) + 48 + 96 * np.array(view.shift)
        found.append(moved if ((moved > 0) & (moved < 96)).all() else np.full(2, np.nan))
    return (np.array(found) - 4) / 8


def parts_of(batch: Batch):
    """Matches and weights of each ordered pair of images."""
    parts = defaultdict(list)
    for source, target, cells0, cells1, weight in zip(
        batch.source_P.tolist(), batch.target_P.tolist(), batch.source_cells_P2.numpy(),
        batch.target_cells_P2.numpy(), batch.weights_P.tolist(), strict=True,
    ):  # fmt: skip
        parts[source, target].append((*cells0, *cells1, weight))
    return {pair: np.array(rows) for pair, rows in parts.items()}


def test_a_batch_is_decided_by_seed_step_and_index(store):
    labels = labels_of(PAIRS)

    def tensors(seed, step, index):
        batch = BatchSampler(labels, store, VIEWS, CONFIG, seed).draw(step, index)
        return batch.seed, batch.views, [batch.source_cells_P2, batch.target_P, batch.weights_P]

    seed, views, drawn = tensors(0, 5, 1)
    again = tensors(0, 5, 1)
    assert again[:2] == (seed, views)
    assert all(map(torch.equal, again[2], drawn))
    others = [tensors(*key) for key in ((1, 5, 1), (0, 6, 1), (0, 5, 0), (0, 1, 5))]
    assert len({seed, *(each[0] for each in others)}) == 5
    assert not any(each[2][0].equal(drawn[0]) for each in others)
    # What was drawn before does not matter.
    sampler = BatchSampler(labels, store, VIEWS, CONFIG, 0)
    for step in range(5):
        sampler.draw(step, 0)
    assert sampler.draw(5, 1).source_cells_P2.equal(drawn[0])


def test_matches_are_those_of_the_labels_in_the_views(store):
    labels = labels_of(PAIRS)
    known = defaultdict(list)
    for pair in labels:
        known[pair.source, pair.target].append((pair.source_cells, pair.target_cells))
        known[pair.target, pair.source].append((pair.target_cells, pair.source_cells))
    sampler = BatchSampler(labels, store, VIEWS, CONFIG, 0)
    seen = Counter()
    for step in range(30):
        batch = sampler.draw(step, 0)
        views = list(batch.views)
        assert len({image for image, _ in views}) == len(views) == 4
        assert len({view.mirrored for _, view in views}) == 1
        seen.update(view for _, view in views)
        parts = parts_of(batch)
        for (source, target), rows in parts.items():
            (image0, view0), (image1, view1) = views[source], views[target]
            cells0, cells1 = (np.concatenate(each) for each in zip(*known[image0, image1]))  # noqa: B905
            moved = np.concatenate([in_view(cells0, view0), in_view(cells1, view1)], axis=1)
            moved = moved[np.isfinite(moved).all(1)]
            assert len(rows) <= CONFIG.matches
            for row in rows:
                assert np.abs(moved - row[:4]).max(1).min() < 1e-4
            # The same matches the other way.
            back = parts[target, source]
            assert sorted(map(tuple, back[:, [2, 3, 0, 1]])) == sorted(map(tuple, rows[:, :4]))
    assert set(seen) == set(VIEWS)


def test_all_pairs_among_the_images_are_there_and_weigh_the_same(store):
    labels = labels_of(PAIRS)
    sampler = BatchSampler(labels, store, [UNCHANGED, FLIPPED], CONFIG, 3)
    for step in range(20):
        batch = sampler.draw(step, 0)
        images = [image for image, _ in batch.views]
        expected = {
            (i, j)
            for i, one in enumerate(images)
            for j, other in enumerate(images)
            if (one, other) in PAIRS or (other, one) in PAIRS
        }
        parts = parts_of(batch)
        assert set(parts) == expected
        assert batch.weights_P.sum() == pytest.approx(1)
        for (source, target), rows in parts.items():
            assert rows[:, 4].sum() == pytest.approx(1 / len(parts))
            assert rows[:, 4].min() == pytest.approx(rows[:, 4].max())
            both = sum(
                len(pair.source_cells)
                for pair in labels
                if {pair.source, pair.target} == {images[source], images[target]}
            )
            assert len(rows) == min(CONFIG.matches, both)


def test_images_are_drawn_along_pairs(store):
    """Two groups of images that are not paired with each other never share a batch."""
    pairs = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5)]
    sampler = BatchSampler(labels_of(pairs), store, [UNCHANGED], CONFIG, 0)
    groups = Counter()
    for step in range(60):
        images = {image for image, _ in sampler.draw(step, 0).views}
        assert images <= {0, 1, 2} or images <= {3, 4, 5}
        assert len(images) >= 2
        groups[min(images) >= 3] += 1
    assert groups[True] > 10 and groups[False] > 20


def test_without_mirrored_views_nothing_is_mirrored_and_half_is_with_them(store):
    labels = labels_of(PAIRS)
    plain = BatchSampler(labels, store, [UNCHANGED, TURNED], CONFIG, 0)
    assert not any(view.mirrored for step in range(20) for _, view in plain.draw(step, 0).views)
    both = BatchSampler(labels, store, [UNCHANGED, FLIPPED], CONFIG, 0)
    mirrored = sum(both.draw(step, 0).views[0][1].mirrored for step in range(200))
    assert 70 < mirrored < 130


def test_matches_that_lie_beyond_their_views_are_trained_on_unchanged(store):
    away = RandomAffineView(False, 0.0, 1.0, (3.0, 0.0), PLAIN, PLAIN)
    labels = labels_of([(0, 1), (1, 2)])
    batch = BatchSampler(labels, store, [away], CONFIG, 0).draw(0, 0)
    assert {view for _, view in batch.views} == {UNCHANGED}
    assert len(batch.source_P) >= 2 and batch.weights_P.sum() == pytest.approx(1)
    # Only some beyond: the others stay.
    half = RandomAffineView(False, 0.0, 1.0, (0.25, 0.0), PLAIN, PLAIN)
    batch = BatchSampler(labels, store, [half], CONFIG, 0).draw(0, 0)
    assert {view for _, view in batch.views} == {half}
    assert batch.source_cells_P2[:, 0].min() >= 3


def test_one_pair_is_enough(store):
    batch = BatchSampler(labels_of([(3, 1)]), store, [UNCHANGED], CONFIG, 0).draw(0, 0)
    assert sorted(image for image, _ in batch.views) == [1, 3]
    assert set(zip(batch.source_P.tolist(), batch.target_P.tolist(), strict=True)) == {
        (0, 1), (1, 0),
    }  # fmt: skip
