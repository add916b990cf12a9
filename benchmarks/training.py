"""Speed of the losses on two cores, beside pair after pair and whole similarities.

    python benchmarks/training.py

At the published size, 60 x 60 x 768, with 20 keypoints and pose augmentation; forward and backward.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from speed import median_ms
from torch import Tensor

from homolog.losses import all_pairs_loss, contrastive_loss, dense_loss
from homolog.matching import bilinear

PICTURES = 8
DOUBLE, SELF = 1.0, 0.25  # weights of a flipped pair, and of a flipped picture with itself


def descriptors(count: int) -> Tensor:
    return F.normalize(torch.randn(count, 60, 60, 768), dim=-1).requires_grad_()


def one_pair(maps: Tensor, cells: Tensor) -> Tensor:
    """Source, target and the mirror images of both."""
    source, target, source_flipped, target_flipped = maps
    loss = contrastive_loss(bilinear(source, cells[0]), bilinear(target, cells[1]), 14.0)
    loss = loss + dense_loss(source, target, cells[0], cells[1])
    loss = loss + DOUBLE * dense_loss(source_flipped, target_flipped, cells[2], cells[3])
    loss = loss + SELF * dense_loss(source_flipped, source, cells[2], cells[0])
    return loss / (1 + DOUBLE + SELF)


def whole_similarities(maps: Tensor, cells: Tensor) -> Tensor:
    """The same, with all 3,600 x 3,600 similarities of which the keypoints' rows are used."""

    def dense(a: int, b: int) -> Tensor:
        whole = maps[a].flatten(0, 1) @ maps[b].flatten(0, 1).T
        x, y = cells[a].round().long().unbind(1)
        weights = (whole / 0.02).softmax(1)[y * 60 + x].view(-1, 60, 60)
        line = torch.arange(60.0)
        found = torch.stack([weights.sum(1) @ line, weights.sum(2) @ line], dim=1)
        return (found - cells[b]).norm(dim=1).mean()

    loss = contrastive_loss(bilinear(maps[0], cells[0]), bilinear(maps[1], cells[1]), 14.0)
    loss = loss + dense(0, 1) + DOUBLE * dense(2, 3) + SELF * dense(2, 0)
    return loss / (1 + DOUBLE + SELF)


def batch_weights(count: int) -> tuple[Tensor, Tensor]:
    """Of pictures and, after them, their mirror images: the mean over all ordered pairs."""
    pairs = (1 - torch.eye(count)) / (count * (count - 1))
    nothing = torch.zeros(count, count)
    sparse = torch.cat([torch.cat([pairs, nothing], 1), torch.cat([nothing, nothing], 1)])
    own = SELF * torch.eye(count) / count
    dense = torch.cat([torch.cat([pairs, nothing], 1), torch.cat([own, DOUBLE * pairs], 1)])
    total = 1 + DOUBLE + SELF
    return sparse / total, dense / total


def main() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    print("| what | ms | limit | straightforward, ms | namely | ratio |")
    print("|---|---|---|---|---|---|")
    maps, cells = descriptors(4), torch.rand(4, 20, 2) * 59

    def step(loss: Tensor) -> None:
        loss.backward()
        maps.grad = None

    ours = median_ms(lambda: step(one_pair(maps, cells)), 15)
    plain = median_ms(lambda: step(whole_similarities(maps, cells)), 3)
    print(
        f"| a pair with its mirror images | {ours:.1f} | 40 | {plain:,.0f} | whole similarities "
        f"| {plain / ours:.0f}x |"
    )
    maps, cells = descriptors(2 * PICTURES), torch.rand(2 * PICTURES, 20, 2) * 59
    weights = batch_weights(PICTURES)
    batch = median_ms(lambda: step(sum(all_pairs_loss(maps, cells, *weights, 14.0))), 5)
    count = PICTURES * (PICTURES - 1)
    print(
        f"| all {count} pairs of {PICTURES} pictures, each | {batch / count:.1f} | | {ours:.1f} "
        f"| pair after pair | {count * ours / batch:.1f}x |"
    )


if __name__ == "__main__":
    main()
