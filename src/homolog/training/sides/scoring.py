"""How often a side head is right about the side of visible keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog import matching
from homolog.networks.sides import SideHead
from homolog.training.sides.examples import Examples
from homolog.utils.stats import bootstrap_ci


@dataclass(frozen=True)
class Score:
    """Accuracy of a side head on the visible keypoints of N images.

    Attributes:
        correct: keypoints of each image whose side is right.
        total: keypoints of each image that have a side.
    """

    correct: Int[np.ndarray, "N"]
    total: Int[np.ndarray, "N"]

    @property
    def accuracy(self) -> float:
        """The fraction of all keypoints whose side is right."""
        return float(self.correct.sum() / max(self.num_keypoints, 1))

    @property
    def num_keypoints(self) -> int:
        """How many keypoints there are in all images."""
        return int(self.total.sum())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, by bootstrap over images."""
        ((low, high),) = bootstrap_ci(
            self.correct[:, None].astype(float), self.total[:, None].astype(float)
        )
        return float(low), float(high)


def score(network: SideHead, examples: Examples, rows: Sequence[int]) -> Score:
    """Score a side head.

    Args:
        network: to be scored.
        examples: images with their keypoints.
        rows: which of them to score it on.
    """
    correct, total = np.zeros((2, len(rows)), int)
    for index, row in enumerate(rows):
        side = predict_logits(network, examples, row)[..., 1:2]
        truth = examples.keypoint_sides[row]
        predicted = matching.bilinear(side, examples.keypoints[row])[:, 0]
        correct[index] = int(((predicted > 0) == (truth > 0))[truth != 0].sum())
        total[index] = int((truth != 0).sum())
    return Score(correct, total)


@torch.no_grad()
def predict_logits(network: SideHead, examples: Examples, row: int) -> Float[Tensor, "H W O"]:
    """The outputs of `SideHead.logits` for one example, on the CPU."""
    reduced = examples.reduced[row].float().to(network.basis.device)
    return network.logits(reduced[None])[0].float().cpu()
