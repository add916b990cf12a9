"""Losses against the published ones, values and gradients."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from homolog import KeypointSchema
from homolog.losses import contrastive_loss, dense_loss

PARITY = Path(__file__).parent / "parity"
EXPECTED = json.loads((PARITY / "losses.json").read_text())
MIRROR = list(KeypointSchema.spair("horse").mirror)


def flipped(keypoints: torch.Tensor) -> torch.Tensor:
    """Keypoints (x, y, visible) of a picture of 840 pixels, in its mirror image."""
    turned = keypoints.clone()
    turned[:, 0] = 840 - turned[:, 0]
    return turned[MIRROR]


def published_dense(source, target, keypoints0, keypoints1):
    """Published: queries in the patch a keypoint is in, and displacements compared.

    To compare positions, the target moves by what the source keypoint is off its patch's corner.
    """
    both = (keypoints0[:, 2] > 0) & (keypoints1[:, 2] > 0)
    cells0, cells1 = keypoints0[both, :2] / 14, keypoints1[both, :2] / 14
    patches = cells0.floor()
    return dense_loss(source, target, patches, cells1 - (cells0 - patches))


@pytest.mark.parametrize(
    "setting", ["sparse_only", "sparse_and_dense", "sparse_dense_pose_augmented"]
)
def test_published_losses_and_gradients(setting, device):
    stored = np.load(PARITY / "losses.npz")
    keypoints0, keypoints1 = (
        torch.tensor(EXPECTED[name], device=device) for name in ("source", "target")
    )
    descriptors = torch.from_numpy(stored["descriptors"]).to(device).requires_grad_()
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
        turned0, turned1 = flipped(keypoints0), flipped(keypoints1)
        double = published_dense(source_flipped, target_flipped, turned0, turned1)
        own = published_dense(source_flipped, source, turned0, keypoints0)
        loss = (loss + double + 0.25 * own) / 2.25
    loss.backward()
    assert loss.item() == pytest.approx(EXPECTED[setting], rel=1e-4)
    error = (descriptors.grad.cpu() - torch.from_numpy(stored[setting])).abs()
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


def test_what_perfect_descriptors_lose():
    one_hot = torch.eye(20).view(4, 5, 20)
    cells = torch.tensor([[0.0, 0], [3, 2], [4, 3]])
    assert dense_loss(one_hot, one_hot, cells, cells) <= 1e-4
    off = dense_loss(one_hot, one_hot, cells, cells + torch.tensor([3.0, 4.0]))
    assert off == pytest.approx(5, abs=1e-4)
    rows = one_hot.flatten(0, 1)[:4]
    assert contrastive_loss(rows, rows, 100) <= 1e-6
    assert contrastive_loss(rows, rows, 0.0) == pytest.approx(math.log(4))
