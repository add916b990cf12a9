"""Instance matching distances against the published figures and brute force."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import parity
from helpers.toys import unit
from hypothesis import given
from hypothesis import strategies as st

from homolog import HomologError
from homolog.matching.imd import instance_matching_distance, saliency_weighted_imd

PARITY = parity.tensors("matching")


def on_grid(name: str) -> torch.Tensor:
    return PARITY[name].view(60, 60, -1)


def test_masked_distance_agrees_with_the_published_one(device):
    source, target = (
        F.interpolate(on_grid(name).permute(2, 0, 1)[None], size=(64, 64), mode="bilinear")[0]
        .permute(1, 2, 0)
        .to(device)
        for name in ("source", "target")
    )
    masks = [PARITY[f"mask_{name}_64"].to(device) for name in ("source", "target")]
    found = instance_matching_distance(source, target, *masks)
    assert found == pytest.approx(float(PARITY["imd_masked"]), rel=1e-4)


def test_mutual_distance_agrees_with_the_published_one(device):
    found = instance_matching_distance(on_grid("source").to(device), on_grid("target").to(device))
    assert found == pytest.approx(float(PARITY["imd_mutual_nn"]), rel=1e-4)


@given(seed=st.integers(0, 2**31), one_sided=st.booleans())
def test_masked_distance_by_brute_force(seed, one_sided):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(4, 5, 3)), rng.normal(size=(6, 3, 3))
    mask0, mask1 = rng.random((4, 5)) < 0.5, rng.random((6, 3)) < 0.5
    mask0[0, 0] = mask1[0, 0] = True
    if one_sided:
        mask1[:] = True
    distances = np.linalg.norm(source[mask0][:, None] - target[mask1], axis=2)
    found = instance_matching_distance(
        torch.from_numpy(source),
        torch.from_numpy(target),
        torch.from_numpy(mask0),
        None if one_sided else torch.from_numpy(mask1),
    )
    assert found == pytest.approx(distances.min(axis=1).mean())


def test_wide_descriptors_are_as_good_as_exact():
    source, target = unit(20, 20, 2048), unit(20, 20, 2048, seed=1)
    target = F.normalize(target + 2 * source.flip(1), dim=2)
    mask = torch.rand(20, 20) < 0.6
    exact = torch.cdist(source[mask], target[mask]).amin(1).mean()
    found = instance_matching_distance(source, target, mask, mask)
    assert found == pytest.approx(float(exact), rel=1e-4)
    distances = torch.cdist(source.flatten(0, 1), target.flatten(0, 1))
    forward, backward = distances.argmin(1), distances.argmin(0)
    mutual = backward[forward] == torch.arange(400)
    exact = distances.amin(1)[mutual].mean()
    assert instance_matching_distance(source, target) == pytest.approx(float(exact), rel=1e-3)


def test_a_thing_is_no_distance_from_itself():
    descriptors, mask = unit(7, 8, 6), torch.rand(7, 8) < 0.5
    assert instance_matching_distance(descriptors, descriptors) == pytest.approx(0, abs=1e-6)
    assert instance_matching_distance(descriptors, descriptors, mask, mask) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("name", ["source_mask", "target_mask"])
def test_masks_that_do_not_fit(name):
    descriptors = unit(4, 5, 3)
    with pytest.raises(HomologError, match=f"{name}: expected at least one cell"):
        instance_matching_distance(
            descriptors, descriptors, **{name: torch.zeros(4, 5, dtype=torch.bool)}
        )


@given(st.integers(0, 2**31))
def test_weighted_distance_brute_force(seed):
    """Both ways, over every other row and column that has a weight."""
    source, target = unit(5, 6, 4, seed=seed), unit(4, 7, 4, seed=seed + 1)
    generator = torch.manual_seed(seed)
    weights = [torch.rand(shape, generator=generator) for shape in ((5, 6), (4, 7))]
    for weight in weights:
        weight[1:, :2] = 0
    sides = []
    for maps, weight in zip((source, target), weights, strict=True):
        height, width = weight.shape
        cells = [(y, x) for y in range(0, height, 2) for x in range(0, width, 2)]
        sides.append([(maps[c], weight[c].item()) for c in cells if weight[c] > 0])
    total = 0.0
    for these, those in (sides, sides[::-1]):
        nearest = [min((a - b).norm().item() for b, _ in those) for a, _ in these]
        share = sum(w for _, w in these)
        total += sum(d * w for d, (_, w) in zip(nearest, these, strict=True)) / share / 2
    found = saliency_weighted_imd(source, target, *weights)
    assert found == pytest.approx(total, abs=1e-3)
    assert found == pytest.approx(saliency_weighted_imd(target, source, *weights[::-1]), abs=1e-5)
