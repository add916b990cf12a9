"""Where keypoints lie on the descriptors' grid."""

import pytest
import torch

from homolog.image.geometry import Grid
from homolog.training.placement import Placement

BASE = Grid.from_patches(140, 14)


def test_published_conventions():
    """Sources at x · w_feat / w_img, targets at x · (w_feat - 1) / (w_img - 1)."""
    placement = Placement.of(140, BASE, 4, corners=True)
    points = torch.tensor([[0.0, 35.0], [139.0, 70.0]])
    cells = (points - BASE.origin) / BASE.stride
    torch.testing.assert_close(placement.to_canvas(cells), points)
    source, target = points * 40 / 140, points * 39 / 139
    torch.testing.assert_close(placement.on_source(cells), source)
    torch.testing.assert_close(placement.on_target(cells), target)
    found = placement.pixels_to_cells(torch.stack([points, points]))
    torch.testing.assert_close(found[0], source)
    torch.testing.assert_close(found[1], target)


@pytest.mark.parametrize("scale", [1, 2])
def test_cells_where_they_are(scale):
    placement = Placement.of(140, BASE, scale, corners=False)
    cells = torch.rand(5, 3, 2) * 9
    expected = cells * scale + (scale - 1) / 2
    torch.testing.assert_close(placement.on_source(cells), expected)
    torch.testing.assert_close(placement.on_target(cells), expected)
    if scale == 1:
        assert placement.on_source(cells) is cells, "to the last bit"
