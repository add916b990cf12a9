"""Training losses: values and gradients, compared with the published ones."""

import itertools
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers import parity
from hypothesis import given
from hypothesis import strategies as st

from homolog import KeypointSchema
from homolog.matching import bilinear
from homolog.training.losses import (
    all_pairs_loss,
    contrastive_loss,
    dense_loss,
    heatmap_cross_entropy,
    soft_argmax_distance,
)

EXPECTED = parity.facts("losses")
MIRROR = list(KeypointSchema.spair("horse").mirror)


def flipped(keypoints: torch.Tensor) -> torch.Tensor:
    """Keypoints (x, y, visible) of an image of 840 pixels, in its mirror image."""
    mirrored = keypoints.clone()
    mirrored[:, 0] = 840 - mirrored[:, 0]
    return mirrored[MIRROR]


def published_dense(source, target, keypoints0, keypoints1):
    """The published dense loss, which queries whole patches and compares displacements.

    To compare positions, the target is moved by the offset of the source keypoint from the corner
    of its patch.
    """
    both = (keypoints0[:, 2] > 0) & (keypoints1[:, 2] > 0)
    cells0, cells1 = keypoints0[both, :2] / 14, keypoints1[both, :2] / 14
    patches = cells0.floor()
    return dense_loss(source, target, patches, cells1 - (cells0 - patches))


@pytest.mark.parametrize(
    "setting", ["sparse_only", "sparse_and_dense", "sparse_dense_pose_augmented"]
)
def test_published_losses_and_gradients(setting, device):
    stored = parity.tensors("losses")
    keypoints0, keypoints1 = (
        torch.tensor(EXPECTED[name], device=device) for name in ("source", "target")
    )
    descriptors = stored["descriptors"].to(device).requires_grad_()
    source, target, source_flipped, target_flipped = descriptors.view(4, 60, 60, -1)
    both = (keypoints0[:, 2] > 0) & (keypoints1[:, 2] > 0)
    patch0, patch1 = ((k[both, :2] / 14).long() for k in (keypoints0, keypoints1))
    loss = contrastive_loss(
        source[patch0[:, 1], patch0[:, 0]], target[patch1[:, 1], patch1[:, 0]],
        EXPECTED["logit_scale"],
    )  # fmt: skip
    if setting != "sparse_only":
        loss = loss + published_dense(source, target, keypoints0, keypoints1)
    if setting == "sparse_dense_pose_augmented":
        mirrored0, mirrored1 = flipped(keypoints0), flipped(keypoints1)
        double = published_dense(source_flipped, target_flipped, mirrored0, mirrored1)
        own = published_dense(source_flipped, source, mirrored0, keypoints0)
        loss = (loss + double + 0.25 * own) / 2.25
    loss.backward()
    assert loss.item() == pytest.approx(EXPECTED[setting], rel=1e-4)
    error = (descriptors.grad.cpu() - stored[setting]).abs()
    assert error.max() <= 1e-4


def test_gradients_are_those_of_finite_differences():
    generator = torch.manual_seed(0)
    maps = [torch.randn(5, 6, 4, generator=generator, dtype=torch.double) for _ in range(2)]
    cells = [torch.rand(3, 2, generator=generator, dtype=torch.double) * 4 for _ in range(2)]
    inputs = [F.normalize(m, dim=2).requires_grad_() for m in maps]
    for window in (None, 2):
        assert torch.autograd.gradcheck(
            lambda s, t, w=window: dense_loss(s, t, *cells, temperature=0.3, window=w), inputs
        )
    rows = [m[0].clone().detach().requires_grad_() for m in inputs]
    scale = torch.tensor(3.0, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(contrastive_loss, (*rows, scale))


def test_losses_of_perfect_descriptors():
    one_hot = torch.eye(20).view(4, 5, 20)
    cells = torch.tensor([[0.0, 0], [3, 2], [4, 3]])
    assert dense_loss(one_hot, one_hot, cells, cells) <= 1e-4
    off = dense_loss(one_hot, one_hot, cells, cells + torch.tensor([3.0, 4.0]))
    assert off == pytest.approx(5, abs=1e-4)
    rows = one_hot.flatten(0, 1)[:4]
    assert contrastive_loss(rows, rows, 100) <= 1e-6
    assert contrastive_loss(rows, rows, 0.0) == pytest.approx(math.log(4))


def random_images(seed: int, dtype=torch.double):
    """Descriptors, keypoints of which some are not visible, weights of ordered pairs."""
    generator = torch.manual_seed(seed)
    maps = F.normalize(torch.randn(4, 6, 7, 5, generator=generator, dtype=dtype), dim=-1)
    cells = torch.rand(4, 8, 2, generator=generator, dtype=dtype) * 5
    cells[torch.rand(4, 8, generator=generator) < 0.4] = math.nan
    cells[3, 1:] = math.nan
    cells[3, 0], cells[0, 0] = 2, math.nan  # nothing in common
    weights = torch.rand(2, 4, 4, generator=generator, dtype=dtype)
    weights[:, range(4), range(4)] = 0
    weights[0, 1, 2] = weights[1, 3, 2] = 0
    return maps, cells, weights


@given(st.integers(0, 2**31), st.sampled_from([None, 2]))
def test_all_pairs_at_once_have_the_losses_of_single_pairs(seed, window):
    maps, cells, weights = random_images(seed)
    maps.requires_grad_()
    noise = torch.randn(4, 8, 2, dtype=torch.double) * 0.3
    point_loss = partial(soft_argmax_distance, temperature=0.1, window=window)
    expected_sparse, expected_dense = 0.0, 0.0
    for i in range(4):
        for j in range(4):
            both = (cells[i].isfinite() & cells[j].isfinite()).all(1)
            if not both.any():
                continue
            a, b = cells[i][both], cells[j][both]
            sparse = contrastive_loss(bilinear(maps[i], a), bilinear(maps[j], b), 7.0)
            dense = dense_loss(maps[i], maps[j], a, b + noise[j][both], 0.1, window)
            expected_sparse = expected_sparse + weights[0, i, j] * sparse
            expected_dense = expected_dense + weights[1, i, j] * dense
    sparse, dense = all_pairs_loss(maps, cells, *weights, 7.0, point_loss, noise)
    torch.testing.assert_close(sparse, torch.as_tensor(expected_sparse, dtype=torch.double))
    torch.testing.assert_close(dense, torch.as_tensor(expected_dense, dtype=torch.double))
    (found,) = torch.autograd.grad(sparse + dense, maps)
    if isinstance(expected_dense, torch.Tensor):
        (expected,) = torch.autograd.grad(expected_sparse + expected_dense, maps)
        torch.testing.assert_close(found, expected)
    assert found.isfinite().all()


def test_the_mean_over_batches_is_the_mean_over_pairs():
    """With every batch of three of five images, each pair weighted alike, the mean gradient is
    that of the mean over all pairs."""
    generator = torch.manual_seed(1)
    maps = F.normalize(torch.randn(5, 4, 4, 3, generator=generator, dtype=torch.double), dim=-1)
    maps.requires_grad_()
    cells = torch.rand(5, 6, 2, generator=generator, dtype=torch.double) * 3
    point_loss = partial(soft_argmax_distance, temperature=0.2)

    def mean_gradient(size: int) -> torch.Tensor:
        total = torch.zeros_like(maps)
        batches = list(itertools.combinations(range(5), size))
        weights = (1 - torch.eye(size, dtype=torch.double)) / (size * (size - 1))
        for batch in batches:
            chosen = list(batch)
            loss = sum(
                all_pairs_loss(maps[chosen], cells[chosen], weights, weights, 5.0, point_loss)
            )
            total += torch.autograd.grad(loss, maps)[0] / len(batches)
        return total

    torch.testing.assert_close(mean_gradient(3), mean_gradient(2))
    torch.testing.assert_close(mean_gradient(5), mean_gradient(2))


def test_heatmap_cross_entropy_against_its_definition():
    torch.manual_seed(0)
    similarity = torch.randn(3, 5, 6, dtype=torch.double)
    cells = torch.tensor([[0.0, 0.0], [2.3, 3.9], [5.0, 4.0]], dtype=torch.double)
    losses = heatmap_cross_entropy(similarity, cells, 3.0, sigma=0.7)
    for row in range(3):
        gaussian = torch.tensor(
            [
                [
                    math.exp(-((x - cells[row, 0]) ** 2 + (y - cells[row, 1]) ** 2) / 0.98)
                    for x in range(6)
                ]
                for y in range(5)
            ],
            dtype=torch.double,
        )
        gaussian /= gaussian.sum()
        log_probability = (3 * similarity[row]).flatten().log_softmax(0).view(5, 6)
        torch.testing.assert_close(losses[row], -(gaussian * log_probability).sum())


def test_keypoints_that_are_not_selected_do_not_count():
    maps, cells, _ = random_images(5)
    selected = torch.rand(4, 4, 8) < 0.5
    source = torch.where(selected[0, 1][:, None], cells[0], torch.nan)
    only = torch.zeros(4, 4, dtype=torch.double)
    only[0, 1] = 1
    _, dense = all_pairs_loss(maps, cells, only, only, 5.0, selected_BBK=selected)
    both = (source.isfinite() & cells[1].isfinite()).all(1)
    expected = dense_loss(maps[0], maps[1], source[both], cells[1][both])
    torch.testing.assert_close(dense, expected)
