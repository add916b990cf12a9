"""Fusion of feature maps against a literal computation."""

import torch
import torch.nn.functional as F

from homolog.features import FusionConfig, fuse
from homolog.image.geometry import Grid


def test_fusion_as_published():
    """Two parts, one of several maps, each part normalised, concatenated, normalised again."""
    torch.manual_seed(0)
    grids = [Grid.from_patches(840, size) for size in (56, 28, 14, 14)]
    maps = [torch.randn(2, c, g.height, g.width) for c, g in zip((5, 6, 4, 7), grids, strict=True)]
    config = FusionConfig(groups=((2, 1, 0), (3,)), weights=(1.0, 1.0))
    everything = torch.ones(2, 60, 60, dtype=torch.bool)
    found = fuse(maps, grids, grids[3], everything, config)
    resized = [F.interpolate(m, size=(60, 60), mode="bilinear") for m in maps]
    parts = [torch.cat([resized[i] for i in group], dim=1) for group in config.groups]
    expected = F.normalize(torch.cat([F.normalize(p, dim=1) for p in parts], dim=1), dim=1)
    torch.testing.assert_close(found, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_fusion_weighs_similarities():
    grid = Grid.from_patches(96, 8)
    maps = [torch.randn(2, 5, 12, 12), torch.randn(2, 3, 12, 12)]
    config = FusionConfig(groups=((0,), (1,)), weights=(1.0, 3.0))
    everything = torch.ones(2, 12, 12, dtype=torch.bool)
    found = fuse(maps, [grid, grid], grid, everything, config)
    cosines = [F.cosine_similarity(m[0], m[1], dim=0) for m in maps]
    expected = (cosines[0] + 3 * cosines[1]) / 4
    torch.testing.assert_close((found[0] * found[1]).sum(-1), expected)


def test_centring_takes_off_what_the_whole_image_shares():
    grid, content = Grid.from_patches(96, 8), torch.zeros(1, 12, 12, dtype=torch.bool)
    content[0, 3:9] = True
    varied = torch.randn(1, 5, 12, 12)
    config = FusionConfig(groups=((0,),), weights=(1.0,), center=True)
    plain = fuse([varied], [grid], grid, content, config)
    shifted = fuse([varied + torch.randn(1, 5, 1, 1)], [grid], grid, content, config)
    torch.testing.assert_close(plain, shifted, atol=1e-5, rtol=1e-4)
    mean = varied[0, :, 3:9].mean((1, 2))
    expected = F.normalize(varied[0, :, 4, 4] - mean, dim=0)
    torch.testing.assert_close(plain[0, 4, 4], expected)


def test_descriptors_of_nothing_are_zero_not_nan():
    grid = Grid.from_patches(96, 8)
    config = FusionConfig(groups=((0,),), weights=(1.0,), center=True)
    everything = torch.ones(1, 12, 12, dtype=torch.bool)
    found = fuse([torch.ones(1, 5, 12, 12)], [grid], grid, everything, config)
    assert torch.isfinite(found).all() and found.norm(dim=-1).max() <= 1 + 1e-6
