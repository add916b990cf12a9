"""The attention head, and the coordinate frame that it fits to the object."""

import math

import pytest
import torch
import torch.nn.functional as F

from homolog import HomologError
from homolog.networks.context import AttentionHead

POSITIONS = (0.0, 0.3, 1.0)


def network(**sizes) -> AttentionHead:
    torch.manual_seed(0)
    given = {"feature_dim": 10, "projection_dim": 8, "components": 6, "width": 16} | sizes
    return AttentionHead(**given).eval()


def spots(landmarks_A2: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Logits with a sharp peak at each landmark."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = (x - landmarks_A2[:, :1, None]) ** 2 + (y - landmarks_A2[:, 1:, None]) ** 2
    return (-away / 0.5).float()[None]


@pytest.mark.parametrize("landmarks", [(), POSITIONS])
def test_shapes_and_saving(landmarks, tmp_path):
    made = network(landmarks=landmarks)
    features = torch.randn(2, 10, 7, 9)
    found = made(features)
    assert found.shape == (2, 8, 7, 9)
    made.save_pretrained(tmp_path)
    loaded = AttentionHead.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(features), found)


def test_every_cell_depends_on_the_whole_image():
    made = network()
    for layer in made.layers:
        torch.nn.init.normal_(layer.out.weight)
    features = torch.randn(1, 10, 9, 9, requires_grad=True)
    made(features)[0, :, 0, 0].sum().backward()
    assert (features.grad.abs().sum((0, 1)) > 0).all()


def test_components_are_principal():
    """The basis spans the singular vectors, and brings their variances halfway to equality."""
    torch.manual_seed(1)
    features = torch.randn(500, 10) * torch.logspace(0, -2, 10)
    made = network()
    made.fit(features)
    _, _, expected = torch.linalg.svd(features, full_matrices=False)
    ours = F.normalize(made.basis, dim=0)
    assert (ours.T @ expected[:6].T).abs().diagonal().min() > 0.999
    sizes = made.reduce(features[None, None])[0, 0].square().mean(0).sqrt()
    before = (features @ expected[:6].T).square().mean(0).sqrt()
    ratio, expected_ratio = (float(x.max() / x.min()) for x in (sizes, before))
    assert ratio == pytest.approx(expected_ratio**0.5, rel=0.01)


@pytest.mark.parametrize("angle", [0.0, 40.0, 180.0, -100.0])
def test_the_frame_rotates_with_the_object(angle):
    """Coordinates along and across the axis in any direction; a mirror negates the latter."""
    made = network(landmarks=POSITIONS)
    radians = math.radians(angle)
    ahead = torch.tensor([math.cos(radians), math.sin(radians)], dtype=torch.float64) * 6
    centre = torch.tensor([10.0, 10.0], dtype=torch.float64)
    landmarks = centre + (torch.tensor(POSITIONS)[:, None] - 0.5) * ahead
    frame = made.frame_encoding(spots(landmarks, 21, 21), None)[0]
    y, x = torch.meshgrid(torch.arange(21.0), torch.arange(21.0), indexing="ij")
    away = torch.stack([x, y], 2).double() - landmarks[0]
    along = (away @ ahead) / 36
    across = (away[..., 0] * ahead[1] - away[..., 1] * ahead[0]) / 36
    torch.testing.assert_close(frame[..., 0].double(), along.clamp(-3, 3), atol=0.05, rtol=0)
    torch.testing.assert_close(frame[..., 1].double(), across.clamp(-3, 3), atol=0.05, rtol=0)
    mirrored = landmarks * torch.tensor([-1, 1]) + torch.tensor([20, 0])
    flipped = made.frame_encoding(spots(mirrored, 21, 21), None)[0].flip(1)
    torch.testing.assert_close(flipped[..., 0], frame[..., 0], atol=0.02, rtol=0)
    torch.testing.assert_close(flipped[..., 1], -frame[..., 1], atol=0.02, rtol=0)


def test_a_landmark_without_a_peak_does_not_turn_the_frame():
    made = network(landmarks=POSITIONS)
    landmarks = torch.tensor([[4.0, 10.0], [7.0, 10.0], [14.0, 10.0]], dtype=torch.float64)
    logits = spots(landmarks, 21, 21)
    right = made.frame_encoding(logits, None)[0, :, :, 1]
    logits[0, 0] = 0  # uniform: its mean is the middle of the image
    found = made.frame_encoding(logits, None)[0, :, :, 1]
    assert (found - right).abs().max() < 0.1


def test_gradients():
    made = network(landmarks=POSITIONS, components=10).double()
    for layer in made.layers:
        torch.nn.init.normal_(layer.out.weight, std=0.1)
    made.positions = made.positions.double()
    features = torch.randn(1, 5, 4, 10, dtype=torch.double, requires_grad=True)

    def frame(x):
        logits = made.find(x @ torch.ones(10, 16).double()).permute(0, 3, 1, 2)
        return made.frame_encoding(logits, None)

    assert torch.autograd.gradcheck(frame, features, eps=1e-6, atol=1e-4)


def test_sizes_that_do_not_fit():
    with pytest.raises(
        HomologError, match="components: expected at most 10, and at least 1, got 20"
    ):
        network(components=20)
    with pytest.raises(HomologError, match="width: expected a multiple of 16, got 10"):
        network(width=10)
