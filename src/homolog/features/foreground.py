"""Foreground: how salient each cell is against the background of its image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def saliency(
    descriptors_HWC: Float[Tensor, "H W C"], allowed_HW: Bool[Tensor, "H W"]
) -> Float[Tensor, "H W"]:
    """How salient each cell is, 0 to 1; 0 for the background.

    Its `prominence`, without connected components that have less than half the total of the
    largest. On photos nearly all cells of the object get more than 0, and about half the cells
    that do belong to the object (docs/experiments.md).

    Args:
        descriptors_HWC: descriptors of unit length.
        allowed_HW: the cells that show the image.
    """
    found = prominence(descriptors_HWC, allowed_HW)
    return found * main_components(found, 1 / 2)


def prominence(
    descriptors_HWC: Float[Tensor, "H W C"], allowed_HW: Bool[Tensor, "H W"]
) -> Float[Tensor, "H W"]:
    """How much each cell differs from the background of its image, 0 to 1.

    Most of an image is usually background, and its border nearly always is; objects are what
    least resembles the mean descriptors of the whole and of the border. Otsu's threshold (1979) on
    the smoothed resemblance separates the two.

    Args:
        descriptors_HWC: descriptors of unit length.
        allowed_HW: the cells that show the image.
    """
    weight = allowed_HW[None].float()
    inner = -F.max_pool2d(F.pad(-weight, (2, 2, 2, 2)), 5, 1) > 0  # two cells off the border
    background = sum(
        F.normalize(descriptors_HWC[cells].mean(0), dim=0)
        for cells in (allowed_HW, allowed_HW & ~inner[0])
    )
    unlike = F.avg_pool2d(-(descriptors_HWC @ background)[None] * weight, 3, 1, 1)
    unlike = (unlike / F.avg_pool2d(weight, 3, 1, 1).clamp_min(1e-6))[0]
    values = unlike[allowed_HW].sort().values
    if values[0] == values[-1]:  # nothing is salient: an image of one cell, or of one colour
        return allowed_HW.float()
    low = torch.arange(1, len(values), device=values.device)
    total = values.cumsum(0)
    low_mean, high_mean = total[:-1] / low, (total[-1] - total[:-1]) / (len(values) - low)
    split = int((low * (len(values) - low) * (high_mean - low_mean) ** 2).argmax())
    level, threshold = low_mean[split], (values[split] + values[split + 1]) / 2
    return (unlike - level) / (values[-1] - level) * ((unlike > threshold) & allowed_HW)


def main_components(weight_HW: Float[Tensor, "H W"], share: float) -> Bool[Tensor, "H W"]:
    """The cells of the largest connected component, and of others nearly as large.

    Args:
        weight_HW: of each cell, 0 outside all components.
        share: of the largest component's total weight that another must have.
    """
    components = connected_components(weight_HW > 0)
    mass = weight_HW.new_zeros(weight_HW.numel() + 1)
    mass.index_add_(0, components.flatten(), weight_HW.flatten())
    return (mass >= share * mass.max())[components]


def connected_components(mask_HW: Bool[Tensor, "H W"]) -> Int[Tensor, "H W"]:
    """Connected components of a mask, corners included: a number for each, 0 outside."""
    numbers = torch.arange(1, mask_HW.numel() + 1, device=mask_HW.device, dtype=torch.float64)
    numbers = numbers.view(mask_HW.shape) * mask_HW
    while True:  # the largest number floods its component
        flooded = F.max_pool2d(numbers[None], 3, 1, 1)[0] * mask_HW
        if torch.equal(flooded, numbers):
            return numbers.long()
        numbers = flooded
