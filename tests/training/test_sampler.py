"""The batch sampler: which pairs are drawn, and with what weights."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from helpers.toy_training import CONTEXT, PUBLISHED, SCHEMA, toy_data

from homolog import HomologError, KeypointSchema
from homolog.data import DataSet, Pair
from homolog.data.split import hold_out
from homolog.training import ViewsConfig
from homolog.training.recipes import PoseVariants
from homolog.training.run import count_steps
from homolog.training.sampler import BatchSampler

THREE = dataclasses.replace(PUBLISHED, images_per_group=3, variants=None)


def two_categories(tmp_path) -> DataSet:
    """Two categories, one with all of its pairs, the other with a quarter of them."""
    first, second = toy_data(tmp_path, 4, "a"), toy_data(tmp_path, 6, "b")
    pairs = [*first.pairs, *second.pairs[::4]]
    return dataclasses.replace(first, schemas={"a": SCHEMA, "b": SCHEMA}, pairs=pairs)


def test_all_pairs_have_the_same_expected_weight(tmp_path):
    """It is one over the number of pairs, as if single pairs were drawn."""
    data = two_categories(tmp_path)
    sampler = BatchSampler(data, THREE)
    total, draws = Counter(), 6000
    for step in range(draws):
        batch = sampler.draw(step, 0)
        names = [annotation.name for annotation, _ in batch.images]
        for i, source in enumerate(names):
            for j, target in enumerate(names):
                total[source, target] += batch.dense_weights_BB[i, j] / draws
    listed = {(pair.source.name, pair.target.name) for pair in data.pairs}
    assert {pair for pair, weight in total.items() if weight} == listed
    weights = np.array([total[pair] for pair in listed]) * len(listed)
    assert weights.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(weights, 1, atol=0.35)  # four standard deviations of the rarest


def test_a_weight_is_the_inverse_of_the_probability_of_its_pair(tmp_path):
    """Exactly: probability of the category and of both images, times the weight."""
    data = two_categories(tmp_path)
    sampler = BatchSampler(data, THREE)
    counts = {"a": 12, "b": sum(pair.category == "b" for pair in data.pairs)}
    images = {"a": 4, "b": len({a for p in data.pairs[12:] for a in (p.source, p.target)})}
    for step in range(20):
        batch = sampler.draw(step, 0)
        n, category = images[batch.category], batch.category
        probability = counts[category] / sum(counts.values()) * (3 * 2) / (n * (n - 1))
        for weight in batch.dense_weights_BB[batch.dense_weights_BB > 0]:
            assert weight * probability == pytest.approx(1 / sum(counts.values()))


def test_flipped_variants_have_the_published_weights(tmp_path):
    variants = PoseVariants(double=1.0, single=0.5, self_pair=0.25)
    sampler = BatchSampler(toy_data(tmp_path, 3), dataclasses.replace(THREE, variants=variants))
    batch = sampler.draw(0, 0)
    assert [view.mirrored for _, view in batch.images] == [False] * 3 + [True] * 3
    assert batch.sparse_weights_BB.sum() == pytest.approx(1 / 2.75)
    dense = batch.dense_weights_BB * 2.75
    assert dense[:3, :3].sum() == pytest.approx(1) and dense[:3, 3:].sum() == 0
    assert dense[3:, 3:].sum() == pytest.approx(1)
    assert np.trace(dense[3:, :3]) == pytest.approx(0.25)
    assert dense[3:, :3].sum() - np.trace(dense[3:, :3]) == pytest.approx(0.5)


def test_the_same_step_has_the_same_batch(tmp_path):
    data = toy_data(tmp_path)
    first, again = (BatchSampler(data, CONTEXT).draw(7, 1) for _ in range(2))
    assert first.images == again.images and first.seed == again.seed
    assert BatchSampler(data, CONTEXT).draw(7, 2).seed != first.seed


def test_held_out_images_are_not_trained_on(tmp_path):
    data = toy_data(tmp_path, 12)
    training, held_out = hold_out(data, 0.2)
    assert {a.name for a in held_out.annotations} == {"toy7", "toy8", "toy9"}
    assert not set(training.annotations) & set(held_out.annotations)
    assert (len(training.pairs), len(held_out.pairs)) == (9 * 8, 3 * 2)
    few = toy_data(tmp_path, 5)
    assert hold_out(few, 0.2) == (few, None)


def test_epochs_are_passes_over_the_pairs(tmp_path):
    data = toy_data(tmp_path, 5)
    config = dataclasses.replace(PUBLISHED, epochs=3.0, images_per_group=2)
    assert count_steps(config, BatchSampler(data, config), 1) == 3 * 20 / 2
    assert count_steps(config, BatchSampler(data, config), 2) == 3 * 20 / 4


def test_images_without_a_keypoint_in_common_are_refused(tmp_path):
    data = toy_data(tmp_path, 2)
    a, b = data.annotations
    images = [dataclasses.replace(x, keypoints=x.keypoints.copy()) for x in (a, b)]
    images[0].keypoints[2:] = np.nan
    images[1].keypoints[:2] = np.nan
    pair = Pair.of("a:b", *images)
    for pairs in ([pair], []):
        with pytest.raises(
            HomologError, match="expected two images of toys with a keypoint in common, got none"
        ):
            BatchSampler(dataclasses.replace(data, pairs=pairs), CONTEXT)


def test_flips_need_keypoints_with_sides(tmp_path):
    data = dataclasses.replace(toy_data(tmp_path), schemas={"toy": KeypointSchema.numbered(5)})
    for config in (CONTEXT, PUBLISHED):
        with pytest.raises(HomologError, match="expected keypoints of 'toy' that are known to be"):
            BatchSampler(data, config)
    BatchSampler(data, dataclasses.replace(CONTEXT, views=ViewsConfig(flip=False)))
