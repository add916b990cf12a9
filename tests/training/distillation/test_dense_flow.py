"""Dense flow between two objects, and its colours."""

import colorsys
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import marco_parity
from hypothesis import given
from hypothesis import strategies as st

from homolog import HomologError
from homolog.training.distillation import dense_flow as module
from homolog.training.distillation.dense_flow import (
    dense_flow,
    enlarge_flow,
    flow_colours,
    mutual_matches,
)

NO_KEYPOINTS = torch.zeros(2, 0, 2)


@marco_parity.needs_figures
def test_published_flow_and_colours(device):
    stored = {name: tensor.to(device) for name, tensor in marco_parity.tensors().items()}
    features = stored["flow_features"].permute(0, 2, 3, 1)
    flow = dense_flow(features, stored["flow_masks"], stored["flow_keypoints"])
    assert (flow - stored["flow"]).abs().max() <= 1e-4
    mask = stored["flow_mask_image"][0]
    colours = flow_colours(enlarge_flow(flow, len(mask)), mask)
    assert (colours.int() - stored["flow_hsv"].int()).abs().max() <= 1
    assert int((colours > 0).any(-1).sum()) == len(stored["cluster_labels"])


@given(st.integers(0, 2**31), st.sampled_from([3, 1000]))
def test_mutual_matches_against_brute_force(seed, rows):
    generator = torch.manual_seed(seed)
    source = F.normalize(torch.rand(9, 3, generator=generator), dim=1)
    target = F.normalize(torch.rand(7, 3, generator=generator), dim=1)
    pairs = []
    for row, values in enumerate((source @ target.T).tolist()):
        column = max(range(7), key=values.__getitem__)
        back = max(range(9), key=(target[column] @ source.T).tolist().__getitem__)
        if back == row and values[column] >= 0.9 * sorted(values)[-2]:
            pairs.append((row, column))
    before, module._ROWS = module._ROWS, rows
    try:
        found = torch.stack(mutual_matches(source, target), dim=1).tolist()
    finally:
        module._ROWS = before
    assert found == [list(pair) for pair in pairs]


def test_the_ratio_test_is_one_of_positive_similarities():
    """Where all similarities are negative, it leaves nothing, and does not count."""
    source, target = -(torch.ones(3, 3) - 0.2 * torch.eye(3)), torch.ones(3, 3) + 0.2 * torch.eye(3)
    found = mutual_matches(F.normalize(source, dim=1), F.normalize(target, dim=1))
    assert [rows.tolist() for rows in found] == [[0, 1, 2]] * 2


def affine_scene(size: int = 24):
    """Features that are unique codes of places, seen through an affine map; where it takes them."""
    generator = torch.manual_seed(3)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cells = torch.stack([x, y], dim=-1).double()
    codes = torch.randn(2, 64, generator=generator, dtype=torch.double)
    phases = torch.rand(64, generator=generator, dtype=torch.double) * 6
    matrix, offset = torch.tensor([[0.9, -0.1], [0.2, 0.8]]).double(), torch.tensor([1.5, 2.25])
    there = cells @ matrix.T + offset

    def describe(places):
        return torch.cos(0.5 * places @ codes + phases)

    inverse = (cells - offset) @ torch.linalg.inv(matrix).T
    return torch.stack([describe(cells), describe(inverse)]).float(), cells, there


def test_an_affine_map_is_found():
    features, cells, there = affine_scene()
    masks = torch.zeros(2, 24, 24, dtype=torch.bool)
    masks[0, 4:20, 3:18] = masks[1] = True
    flow = dense_flow(features, masks, NO_KEYPOINTS)
    assert (flow[~masks[0]] == 0).all()
    error = (flow - (there - cells).float())[6:18, 5:16].norm(dim=-1)
    assert error.mean() < 0.35 and error.max() < 1.2  # matches are whole cells


def test_keypoints_are_fixed_points():
    features, _, _ = affine_scene()
    masks = torch.ones(2, 24, 24, dtype=torch.bool)
    before = dense_flow(features, masks, NO_KEYPOINTS)
    source, target = torch.tensor([10.5, 10.25]), torch.tensor([3.0, 19.0])
    keypoints = torch.stack([source, target])[:, None]
    after = dense_flow(features, masks, keypoints)
    changed = (before - after).norm(dim=-1) > 1e-3
    assert changed[10, 10] and not changed[3, 3]
    # The flow beside it is carried towards where it is annotated.
    assert after[10, 10, 1] > before[10, 10, 1]
    masks[1, 19, 3] = False  # now it is annotated outside its object
    assert torch.equal(dense_flow(features, masks, keypoints),
                       dense_flow(features, masks, NO_KEYPOINTS))  # fmt: skip


def test_a_keypoint_beyond_the_grid_counts_as_on_its_border():
    features, _, _ = affine_scene()
    masks = torch.ones(2, 24, 24, dtype=torch.bool)
    keypoints = torch.tensor([[[-0.4, 5.0]], [[23.4, 23.4]]])
    assert not torch.equal(dense_flow(features, masks, keypoints),
                           dense_flow(features, masks, NO_KEYPOINTS))  # fmt: skip


@pytest.mark.parametrize(
    "cells", [[], [(2, 2)], [(2, 2), (4, 5)], [(2, 3), (2, 4), (2, 5), (2, 9)]]
)
def test_too_little_for_a_triangle_is_no_flow(cells):
    features, _, _ = affine_scene()
    masks = torch.ones(2, 24, 24, dtype=torch.bool)
    masks[0] = False
    for row, column in cells:
        masks[0, row, column] = True
    assert dense_flow(features, masks, NO_KEYPOINTS) is None
    if len(cells) < 3:  # so many matches are few, whichever way they go
        assert dense_flow(features.flip(0), masks.flip(0), NO_KEYPOINTS) is None


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.spatial", None)
    features, _, _ = affine_scene()
    with pytest.raises(HomologError, match=r"^scipy: expected it to be installed, got none; try"):
        dense_flow(features, torch.ones(2, 24, 24, dtype=torch.bool), NO_KEYPOINTS)


def test_an_enlarged_flow_is_in_pixels():
    flow = torch.tensor([1.0, -2.0]).expand(4, 6, 2).contiguous()
    enlarged = enlarge_flow(flow, 24)
    assert enlarged.shape == (24, 24, 2)
    torch.testing.assert_close(enlarged[5, 7], torch.tensor([4.0, -12.0]))


def test_colours_are_direction_and_length():
    generator = torch.manual_seed(0)
    flow = torch.randn(20, 30, 2, generator=generator)
    flow[:5] = 0
    mask = torch.rand(20, 30, generator=generator) < 0.8
    colours = flow_colours(flow, mask)
    longest = np.quantile(flow.norm(dim=-1)[5:].double().numpy(), 0.95)
    for y in range(20):
        for x in range(30):
            dx, dy = flow[y, x].tolist()
            hue = (math.atan2(dy, dx) + math.pi) / (2 * math.pi)
            value = min(1.0, math.hypot(dx, dy) / (longest + 1e-6))
            expected = [255 * v for v in colorsys.hsv_to_rgb(hue, 1.0, value)]
            if not mask[y, x]:
                expected = [0, 0, 0]
            assert colours[y, x].tolist() == pytest.approx(expected, abs=1.01)


def test_no_flow_is_black():
    mask = torch.ones(3, 4, dtype=torch.bool)
    assert not flow_colours(torch.zeros(3, 4, 2), mask).any()
