"""Mining of matches that keypoints bear out."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import marco_parity
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from homolog.training.distillation.mining import (
    ObjectView,
    consistent_clusters,
    mask_cells,
    mine_matches,
)
from homolog.training.recipes import MiningConfig

SIZE, CELLS = 120, 30
CONFIG = MiningConfig(points=150, radius=4)


def scene():
    """Two views of an object: its left half is where it was, its right half is 8 cells below."""
    generator = torch.manual_seed(0)
    codes = torch.randn(CELLS, CELLS, 48, generator=generator)
    target = torch.randn(CELLS, CELLS, 48, generator=generator)
    target[4:24, 4:14] = codes[2:22, 4:14]
    target[8:28, 14:26] = codes[2:22, 14:26]
    masks = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    masks[0, 10:86, 18:102] = masks[1, 18:110, 18:102] = True
    left, right = torch.tensor([34.0, 40.0]), torch.tensor([80.0, 50.0])
    return codes, target, masks, torch.stack([left, right])


def views(moved):
    """The scene, with its keypoints moved so far in the target."""
    codes, target, masks, points = scene()
    moved = points + torch.tensor(moved)
    return ObjectView(codes, masks[0], points), ObjectView(target, masks[1], moved)


def mine(*views, seed=0, config=CONFIG):
    return mine_matches(*views, config, torch.Generator().manual_seed(seed))


def test_regions_that_keypoints_contradict_are_dropped():
    both = mine(*views([[0.0, 8.0], [0.0, 24.0]]))
    assert both.shape == (2, 150, 2)
    right = both[0, :, 0] > 60
    assert 0.2 < right.float().mean() < 0.8
    moved = both[1] - both[0]
    for side, expected in ((~right, 8.0), (right, 24.0)):
        off = (moved[side] - torch.tensor([0.0, expected])).abs().amax(1)
        assert (off <= 2).float().mean() > 0.9  # but for the seam between them

    wrong = mine(*views([[0.0, 8.0], [10.0, -24.0]]))  # the right half goes elsewhere
    assert (wrong[0, :, 0] < 64).float().mean() > 0.95


def test_what_was_drawn_depends_on_the_seed_alone():
    given_views = views([[0.0, 8.0], [0.0, 24.0]])
    torch.manual_seed(7)
    once = mine(*given_views, seed=3)
    torch.manual_seed(8)
    assert torch.equal(mine(*given_views, seed=3), once)
    assert not torch.equal(mine(*given_views, seed=4), once)
    assert len(once[0].unique(dim=0)) == 150  # no point twice


def test_pairs_with_too_little_are_left_out():
    source, target = views([[0.0, 8.0], [0.0, 24.0]])
    assert mine(source, target, config=dataclasses.replace(CONFIG, points=7000)) is None
    assert mine(source, target, config=dataclasses.replace(CONFIG, least_matches=7000)) is None
    unseen = dataclasses.replace(target, points_K2=target.points_K2 * torch.nan)
    assert mine(source, unseen) is None  # nothing bears a cluster out
    nothing = dataclasses.replace(source, mask=torch.zeros_like(source.mask))
    assert mine(nothing, target) is None


def test_matches_lie_on_both_objects():
    source, target = views([[0.0, 8.0], [0.0, 24.0]])
    mask = target.mask.clone()
    mask[:60] = False
    found = mine(source, dataclasses.replace(target, mask=mask))
    starts, ends = found.long()
    assert source.mask[starts[:, 1], starts[:, 0]].all() and mask[ends[:, 1], ends[:, 0]].all()


@given(st.integers(0, 2**31))
def test_consistent_clusters_against_dilated_masks(seed):
    """As it is published: clusters are dilated, and keypoints looked up in them."""
    rng = np.random.default_rng(seed)
    config = MiningConfig(radius=int(rng.integers(0, 4)), agreement=float(rng.choice([0.5, 0.7])))
    starts, ends = rng.integers(0, 25, (2, 40, 2))
    clusters = np.concatenate([[0, 1, 2], rng.integers(0, 3, 37)])
    keypoints = rng.uniform(-2, 27, (2, 6, 2)).astype(np.float32)
    found = consistent_clusters(
        *map(torch.from_numpy, (starts, ends, clusters, keypoints)), config, 25
    )
    window = np.ones((2 * config.radius + 1,) * 2)
    for cluster in range(3):
        inside = []
        for points, places in ((starts, keypoints[0]), (ends, keypoints[1])):
            mask = np.zeros((25, 25), dtype=bool)
            x, y = points[clusters == cluster].T
            mask[y, x] = True
            mask = ndimage.binary_dilation(mask, window)
            column, row = np.clip(np.round(places), 0, 24).astype(int).T
            inside.append(mask[row, column])
        tested = inside[0].sum()
        agree = (inside[0] & inside[1]).sum()
        assert bool(found[cluster]) == bool(tested and agree / tested >= config.agreement)


@marco_parity.needs_figures
def test_published_matches():
    """Clusters need not be the published ones; the flow is one translation, which is kept."""
    stored = marco_parity.tensors()
    masks = stored["flow_mask_image"]
    assert torch.equal(mask_cells(masks, (40, 40)), stored["flow_masks"])
    features, scale = stored["flow_features"].permute(0, 2, 3, 1), 140 / 40
    source, target = (
        ObjectView(features[i], masks[i], stored["flow_keypoints"][i] * scale) for i in range(2)
    )
    found = mine(source, target, config=MiningConfig())
    assert found.shape == (2, 300, 2)
    assert (found[1] - found[0] - torch.tensor([10.5, -7.0])).abs().max() <= 0.5
    everything = mine(source, target, config=MiningConfig(points=10_388))
    assert everything.shape[1] == pytest.approx(marco_parity.facts()["matches"], rel=0.03)
