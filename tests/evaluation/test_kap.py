"""Keypoint average precision: the published figures, brute force, and samples by hand."""

import json

import numpy as np
import pytest
import real_images
import torch
from helpers.toy_evaluation import make_data
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from homolog.evaluation import kap
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY

PARITY = real_images.ROOT.parent / "parity"
THREE_PAIRS = np.ones((1, 3), dtype=np.float32)


@pytest.mark.skipif(not PARITY.is_dir(), reason=f"published figures are not there: {PARITY}")
@pytest.mark.parametrize("variant", ["published", "visibility_aware"])
def test_figures_of_the_published_function(variant):
    facts, arrays = json.loads((PARITY / "kap.json").read_text()), load_file(
        PARITY / "kap.safetensors"
    )  # fmt: skip
    size, alphas = facts["grid"], [float(alpha) for alpha in facts["kap"][variant]]
    grid = Grid(size, size, facts["canvas"] / size, 0)
    columns = []
    for index, pair in enumerate(facts["pairs"]):
        source, target = arrays[f"{index}.descriptors"].astype(np.float32)
        points0, points1 = (arrays[f"{index}.{who}_keypoints"] for who in ("source", "target"))
        ids = np.flatnonzero(points0[:, 2])
        x, y = np.floor(points0[ids, :2] / grid.stride).astype(int).T
        similarity = source[y * size + x] @ target.T
        similarity = (similarity - similarity.min()) / np.ptp(similarity)
        radii = [alpha * pair["box_side"] for alpha in alphas]
        cells, truth = grid.to_canvas(grid.cells), points1[ids, :2].astype(float)
        found = kap.best_similarities(similarity, cells, truth, radii)
        columns.append((*found, points1[ids, 2] > 0, np.full(len(ids), index)))
    inside, outside, visible, owner = map(np.concatenate, zip(*columns, strict=True))
    for column, expected in enumerate(facts["kap"][variant].values()):
        samples = kap.samples(
            inside[:, column], outside[:, column], visible, owner, variant == "published"
        )
        found = kap.average_precision(samples.scores_P, samples.positive_P)
        assert found == pytest.approx(expected, abs=1e-6)


SAMPLES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans(), st.integers(0, 2)),
    min_size=1, max_size=20,
).filter(lambda samples: any(positive for _, positive, _ in samples))  # fmt: skip


def brute_force(samples):
    """The mean over positives of the share of positives among all that score as high."""
    precisions = []
    for score, positive, _ in samples:
        if positive:
            above = [each for each in samples if each[0] >= score]
            precisions.append(sum(each[1] for each in above) / len(above))
    return sum(precisions) / len(precisions)


@given(SAMPLES, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_average_precision(samples, weights):
    """As it is, and in a resample, where a pair counts as often as it is drawn."""
    scores, positive, pairs = map(np.array, zip(*samples, strict=True))
    assert kap.average_precision(scores, positive) == pytest.approx(brute_force(samples))
    found = kap.Samples(scores, positive, pairs)
    drawn = [each for each in samples for _ in range(weights[each[2]])]
    (again,) = kap.resampled_average_precision(found, np.array([weights], dtype=np.float32))
    if any(each[1] for each in drawn):
        assert again == pytest.approx(brute_force(drawn), abs=1e-6)
    else:
        assert np.isnan(again)


def test_many_samples_are_resampled_in_groups(monkeypatch):
    rng = np.random.default_rng(0)
    positive = rng.random(3000) < 0.5
    scores = rng.random(3000) + 0.3 * positive
    found = kap.Samples(scores, positive, rng.integers(0, 3, 3000))
    exact = kap.average_precision(scores, positive)
    for groups, tolerance in ((5000, 1e-6), (200, 5e-3)):
        monkeypatch.setattr(kap, "_MAX_GROUPS", groups)
        (again,) = kap.resampled_average_precision(found, THREE_PAIRS)
        assert again == pytest.approx(exact, abs=tolerance)


def test_samples_of_visible_and_hidden_keypoints():
    """A hidden keypoint has one negative: the largest similarity anywhere."""
    inside, outside = np.array([0.9, np.nan, 0.2]), np.array([0.4, 0.8, 0.6])
    visible, owner = np.array([True, True, False]), np.array([0, 0, 1])
    found = kap.samples(inside, outside, visible, owner)
    assert found.scores_P.tolist() == [0.9, 0.0, 0.4, 0.8, 0.6]
    assert found.positive_P.tolist() == [True, True, False, False, False]
    assert found.pairs_P.tolist() == [0, 0, 0, 0, 1]
    published = kap.samples(inside, outside, visible, owner, published=True)
    assert published.scores_P.tolist() == [0.9, 0.0, 0.2, 0.4, 0.8, 0.6]
    assert published.positive_P.sum() == 3


def test_similarities_of_a_pair(tmp_path):
    """From maps on a grid: 0 to 1 over the pair, nothing where no match may lie."""
    pair = make_data(tmp_path).pairs[1]  # its third keypoint is hidden in the target
    grid = Grid.from_patches(96, 8)
    transform = CanvasTransform(96, 64, IDENTITY, 96, grid)
    maps = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    maps[0, 0, 0] = 3.0
    maps[:, 4] = -torch.inf
    every = np.full(3, True)
    ids, alphas = np.arange(3), (0.1, 0.001)
    found = kap.of_pair(pair, ids, [(every, transform, maps)], "box", alphas)
    finite = maps[maps.isfinite()]
    scaled = (maps - finite.min()) / (finite.max() - finite.min())
    corner = transform.to_points(grid.to_cells(np.zeros((1, 2))))[0]
    cells = transform.to_points(grid.cells)
    for k, truth in enumerate((*pair.target.keypoints[:2], corner)):
        near = np.hypot(*(cells - truth).T) <= 0.1 * 96
        values = scaled[k].flatten().numpy()
        assert found.inside_SA[k, 0] == pytest.approx(values[near].max(), abs=1e-6)
        assert found.outside_SA[k, 0] == pytest.approx(values[~near].max(), abs=1e-6)
    assert np.isnan(found.inside_SA[:, 1]).all(), "no cell is that near"
    assert found.outside_SA.max() == 1 and found.outside_SA[0, 1] == 1
