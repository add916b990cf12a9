"""Speed and memory of training on two cores, beside a straightforward loop over pairs.

    python benchmarks/training.py

At the published size: maps of 640, 1280, 1280 and 768 channels, 60 x 60 x 768 descriptors, 20
keypoints, pose augmentation; forward and backward.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as `homolog train` does

import numpy as np
import torch
import torch.nn.functional as F
from speed import median_ms
from torch import Tensor

from homolog import KeypointSchema, PostProcessor
from homolog.data import Annotation, DataSet, Pair
from homolog.matching import bilinear
from homolog.training import published_spair
from homolog.training.losses import all_pairs_loss, contrastive_loss, dense_loss
from homolog.training.objective import Objective
from homolog.training.sampler import BatchSampler, Sample
from homolog.training.trainer import _accumulate

DIMS = (640, 1280, 1280, 768)

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


class RandomShows:
    """Random features of each picture, made once."""

    def __init__(self) -> None:
        self.describer = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))
        self.kept: dict[object, Sample] = {}

    def __call__(self, annotation: Annotation, showing: object) -> Sample:
        key = annotation.name, showing
        if key not in self.kept:
            features = torch.randn(60, 60, sum(DIMS)).half()
            self.kept[key] = Sample(features, torch.rand(20, 2) * 59, 40.0)
        return self.kept[key]


def random_data(pictures: int) -> DataSet:
    """As many pictures of one category, all pairs."""
    schema = KeypointSchema(tuple(map(str, range(20))), tuple(range(20)))
    points, box = np.zeros((20, 2)), (0.0, 0.0, 1.0, 1.0)
    annotations = [
        Annotation(str(index), Path(str(index)), "thing", points, box) for index in range(pictures)
    ]
    pairs = [
        Pair.of(f"{a.name}:{b.name}", a, b) for a in annotations for b in annotations if a != b
    ]
    return DataSet("random", Path(), {"thing": schema}, pairs, "box", (0.1,))


class Loop:
    """Steps of the training loop on a group of pictures."""

    def __init__(self, pictures: int):
        self.shows = RandomShows()
        config = dataclasses.replace(published_spair(), pictures=pictures)
        self.groups = BatchSampler(random_data(pictures), config)
        self.objective = Objective(PostProcessor(DIMS, 768), config, {"thing": 20})
        self.optimizer = torch.optim.AdamW(self.objective.parameters())

    def step(self, number: int) -> None:
        _accumulate(self.objective, [self.groups.draw(number, 0)], self.shows)
        self.optimizer.step()
        self.optimizer.zero_grad()


def plain_step(
    network: PostProcessor, optimizer: torch.optim.Optimizer, shows: RandomShows
) -> None:
    """One pair and its mirror images: each through the network, whole similarities."""
    shown = [shows(SimpleNamespace(name=str(index)), None) for index in range(4)]
    inputs = [F.dropout(x.features_HWC.float(), 0.2).permute(2, 0, 1)[None] for x in shown]
    maps = [F.normalize(network(x)[0].permute(1, 2, 0), dim=-1) for x in inputs]
    whole_similarities(maps, torch.stack([x.cells_K2 for x in shown])).backward()
    optimizer.step()
    optimizer.zero_grad()


def seconds(function, times: int) -> float:
    """The least of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def whole_loop() -> None:
    """Pairs a second, everything included but reading features from the disk."""
    loop = Loop(PICTURES)
    loop.step(0)
    count = PICTURES * (PICTURES - 1)
    ours = seconds(lambda: loop.step(1), 2) / count
    shows, network = RandomShows(), PostProcessor(DIMS, 768)
    optimizer = torch.optim.AdamW(network.parameters())
    plain = seconds(lambda: plain_step(network, optimizer, shows), 3)
    print(
        f"| the whole loop, {PICTURES} pictures, each of {count} pairs | {1000 * ours:,.0f} | "
        f"| {1000 * plain:,.0f} | pair after pair, whole similarities | {plain / ours:.1f}x |"
    )


def peak_memory(pictures: int) -> float:
    """Of a process that makes a step with so many pictures and their mirror images, in GB."""
    command = [sys.executable, __file__, str(pictures)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    if len(sys.argv) > 1:  # a step, in a process of its own
        loop = Loop(int(sys.argv[1]))
        loop.step(0)
        status = Path("/proc/self/status").read_text()
        print(next(int(x.split()[1]) for x in status.splitlines() if "VmHWM" in x) * 1024 / 1e9)
        return
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
    whole_loop()
    print("\n| a step of | peak memory of the process, GB |")
    print("|---|---|")
    for pictures in (2, PICTURES):
        print(f"| {pictures} pictures and their mirror images | {peak_memory(pictures):.2f} |")


if __name__ == "__main__":
    main()
