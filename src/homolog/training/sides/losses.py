"""The losses of a side head, and the augmentation of its inputs."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from homolog import matching
from homolog.networks.sides import SideHead
from homolog.training.sides.examples import Examples
from homolog.training.sides.recipe import SidesRecipe

_MIN_COVERAGE = 0.25  # fraction of a cell that an object has to cover for its side to count
_MIN_SIDE = 0.1  # weight of a cell on the midplane, where one beside it weighs 1


class SidesObjective(nn.Module):
    """The losses of a batch, as a module with the network and the average of its weights.

    Args:
        network: the side head; its principal components are those of the examples.
        examples: the training examples.
        recipe: how it is trained.
    """

    def __init__(self, network: SideHead, examples: Examples, recipe: SidesRecipe):
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.examples = examples
        self.recipe = recipe
        self.style = channel_statistics(examples.reduced)

    def forward(
        self, rows_B: Int[Tensor, "B"], others_B: Int[Tensor, "B"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss by name, and as `loss` the sum of those that the recipe asks for.

        Args:
            rows_B: the examples.
            others_B: the examples whose style is mixed in.
        """
        device = self.network.basis.device
        reduced = augment(
            self.examples.reduced[rows_B].float(), *self.style, rows_B, others_B, self.recipe
        ).to(device)
        half = device.type == "cuda" or matching.has_fast_bfloat16(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = self.network.logits(reduced)
        losses = side_losses(logits.float(), self.examples, rows_B)
        total = torch.stack([losses[name] for name in self.recipe.losses]).sum()
        return {**losses, "loss": total}

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Move the average towards the weights, after optimizer step number `step`, from 1."""
        decay = min(self.recipe.ema_decay, step / (step + 9))
        for mean, parameter in zip(
            self.average.parameters(), self.network.parameters(), strict=True
        ):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def apply_average(self) -> None:
        """Replace the network's weights by their average."""
        for mean, parameter in zip(
            self.average.parameters(), self.network.parameters(), strict=True
        ):
            parameter.copy_(mean)


def side_losses(
    logits_BHWO: Float[Tensor, "B H W O"], examples: Examples, rows_B: Int[Tensor, "B"]
) -> dict[str, Float[Tensor, ""]]:
    """The losses of `LOSSES` by name.

    All but the objectness are those of the cells that show objects.

    Args:
        logits_BHWO: outputs of `SideHead.logits`.
        examples: the training examples.
        rows_B: which of them the outputs are of.
    """
    device = logits_BHWO.device
    coverage, side, xyz, heading, keypoints, keypoint_sides = (
        tensor[rows_B].float().to(device)
        for tensor in (
            examples.coverage, examples.side, examples.canonical_xyz, examples.heading,
            examples.keypoints, examples.keypoint_sides,
        )
    )  # fmt: skip
    on_object = (coverage > _MIN_COVERAGE).float()
    count = on_object.sum().clamp_min(1)
    side_weight = on_object * side.abs().clamp_min(_MIN_SIDE)
    side_loss = F.binary_cross_entropy_with_logits(
        logits_BHWO[..., 1], (side + 1) / 2, reduction="none"
    )
    at_keypoints = torch.stack(
        [
            matching.bilinear(logits[..., 1:2], cells)[:, 0]
            for logits, cells in zip(logits_BHWO, keypoints, strict=True)
        ]
    )
    keypoint_loss = F.softplus(-at_keypoints * keypoint_sides) * keypoint_sides.abs()
    distance = F.smooth_l1_loss(logits_BHWO[..., 2:5], xyz, beta=0.1, reduction="none").mean(-1)
    turn = 1 - F.cosine_similarity(logits_BHWO[..., 5:8], heading, dim=-1)
    return {
        "objectness": F.binary_cross_entropy_with_logits(logits_BHWO[..., 0], coverage),
        "side": (side_loss * side_weight).sum() / side_weight.sum().clamp_min(1),
        "keypoints": keypoint_loss.sum() / keypoint_sides.abs().sum().clamp_min(1),
        "coordinates": 4 * (distance * on_object).sum() / count,
        "heading": (turn * on_object).sum() / count,
    }


def channel_statistics(
    reduced_NHWK: Float[Tensor, "N H W K"],
) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N K"]]:
    """Mean and standard deviation of each channel in each image."""
    found = [torch.std_mean(image.float(), dim=(0, 1)) for image in reduced_NHWK]
    return torch.stack([mean for _, mean in found]), torch.stack([s for s, _ in found]) + 1e-4


def augment(
    reduced_BHWK: Float[Tensor, "B H W K"],
    means_NK: Float[Tensor, "N K"],
    spreads_NK: Float[Tensor, "N K"],
    rows_B: Int[Tensor, "B"],
    others_B: Int[Tensor, "B"],
    recipe: SidesRecipe,
) -> Float[Tensor, "B H W K"]:
    """Components with the style of other images mixed in, channels dropped, and cells masked.

    Args:
        reduced_BHWK: components of the images `rows_B`.
        means_NK: of each channel in each image.
        spreads_NK: standard deviation of each channel in each image.
        rows_B: the images.
        others_B: the images whose style is mixed in.
        recipe: how much.
    """
    count, height, width, _ = reduced_BHWK.shape
    fraction = recipe.style_mix * torch.rand(count, 1)
    spread = torch.lerp(spreads_NK[rows_B], spreads_NK[others_B], fraction)
    scale = spread / spreads_NK[rows_B]
    offset = torch.lerp(means_NK[rows_B], means_NK[others_B], fraction) - means_NK[rows_B] * scale
    kept = (torch.rand_like(scale) > recipe.channel_drop * torch.rand(count, 1)).float()
    scale, offset = ((x * kept)[:, None, None] for x in (scale, offset))
    blocks = torch.rand(count, 1, 8, 8) > recipe.block_mask * torch.rand(count, 1, 1, 1)
    mask = F.interpolate(blocks.float(), size=(height, width))[:, 0, ..., None]
    return torch.addcmul(offset, reduced_BHWK, scale) * mask
