"""The losses of MARCO's recipe, compared with the published ones and with their definitions."""

import math

import pytest
import torch
from helpers import marco_parity

from homolog.matching import bilinear, similarity
from homolog.training.losses import gaussian_cross_entropy, relative_distance

SIZE = 140


@marco_parity.needs_figures
@pytest.mark.parametrize(
    ("name", "sigma"),
    [("gaussian_ce", 3.5), ("gaussian_ce_sigma1", 1.0), ("soft_argmax_l2", None)],
)
def test_published_losses_and_gradients(name, sigma, device):
    stored = {key: value.to(device) for key, value in marco_parity.tensors().items()}
    maps = stored["upsampled"].requires_grad_()
    source, target = maps.permute(0, 2, 3, 1)
    cells = len(source)
    queries = bilinear(source, stored["keypoints"] * cells / SIZE)
    maps_KHW = similarity(queries, target)
    truth = stored["truth"] * (cells - 1) / (SIZE - 1)
    if sigma is None:
        loss = relative_distance(maps_KHW, truth).sum()
    else:
        visible = stored["visible"]
        loss = gaussian_cross_entropy(maps_KHW[visible], truth[visible], sigma).sum()
    assert loss.item() == pytest.approx(marco_parity.facts()["losses"][name], rel=1e-5)
    if f"{name}_grad" in stored:
        (gradient,) = torch.autograd.grad(loss, maps)
        expected = stored[f"{name}_grad"]
        assert (gradient - expected).norm() <= 1e-5 * expected.norm()


def test_gaussian_cross_entropy_against_its_definition():
    torch.manual_seed(0)
    maps = torch.randn(3, 9, 12, dtype=torch.double) * 4
    cells = torch.tensor([[0.0, 0.0], [5.3, 4.9], [10.5, 8.0]], dtype=torch.double)
    losses = gaussian_cross_entropy(maps, cells, 1.3, temperature=2.0, window=2)
    for row, (x0, y0) in enumerate(cells.tolist()):
        probability = (maps[row] / 2).flatten().softmax(0).view(9, 12) + 1e-6
        expected = 0.0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                x, y = x0 + dx, y0 + dy
                if not (0 < x < 11 and 0 < y < 8):
                    continue
                left, top = math.floor(x), math.floor(y)
                right, down = x - left, y - top
                found = sum(
                    weight * probability[min(row_, 8), min(column, 11)]
                    for row_, column, weight in (
                        (top, left, (1 - down) * (1 - right)),
                        (top, left + 1, (1 - down) * right),
                        (top + 1, left, down * (1 - right)),
                        (top + 1, left + 1, down * right),
                    )
                )
                density = math.exp(-(dx * dx + dy * dy) / (2 * 1.69)) / (2 * math.pi * 1.69)
                expected -= density * math.log(found)
        assert losses[row].item() == pytest.approx(expected, rel=1e-9)


def test_gradients_are_those_of_finite_differences():
    generator = torch.manual_seed(0)
    maps = torch.randn(2, 6, 7, generator=generator, dtype=torch.double, requires_grad=True)
    cells = torch.rand(2, 2, generator=generator, dtype=torch.double) * 5
    for loss in (gaussian_cross_entropy, relative_distance):
        options = {"sigma": 1.2} if loss is gaussian_cross_entropy else {}
        assert torch.autograd.gradcheck(
            lambda m, loss=loss, options=options: loss(m, cells, temperature=0.7, **options), maps
        )


def test_relative_distance_is_in_halves_of_the_grid():
    maps = torch.full((1, 5, 9), -1e4)
    maps[0, 1, 6] = 0.0
    cells = torch.tensor([[2.0, 1.0]])
    assert relative_distance(maps, cells).item() == pytest.approx(1.0)  # 4 cells of 8 / 2
    assert relative_distance(maps, torch.tensor([[6.0, 4.0]])).item() == pytest.approx(1.5)
