"""Speed and memory of training on two cores, compared with a plain loop over pairs.

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
from functools import partial
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
from homolog.training.run import batch_losses
from homolog.training.sampler import BatchSampler
from homolog.training.samples import Sample
from homolog.training.trainer import accumulate_gradients

DIMS = (640, 1280, 1280, 768)

IMAGES = 8
DOUBLE, SELF = 1.0, 0.25  # weights of a flipped pair, and of a flipped image with its original


def descriptors(count: int) -> Tensor:
    return F.normalize(torch.randn(count, 60, 60, 768), dim=-1).requires_grad_()


def one_pair(maps: Tensor, cells: Tensor) -> Tensor:
    """The loss of a source, a target and the mirror images of both."""
    source, target, source_flipped, target_flipped = maps
    loss = contrastive_loss(bilinear(source, cells[0]), bilinear(target, cells[1]), 14.0)
    loss = loss + dense_loss(source, target, cells[0], cells[1])
    loss = loss + DOUBLE * dense_loss(source_flipped, target_flipped, cells[2], cells[3])
    loss = loss + SELF * dense_loss(source_flipped, source, cells[2], cells[0])
    return loss / (1 + DOUBLE + SELF)


def all_similarities(maps: Tensor, cells: Tensor) -> Tensor:
    """The same loss from all 3,600 x 3,600 similarities, though only the keypoints' rows count."""

    def dense(a: int, b: int) -> Tensor:
        similarity = maps[a].flatten(0, 1) @ maps[b].flatten(0, 1).T
        x, y = cells[a].round().long().unbind(1)
        weights = (similarity / 0.02).softmax(1)[y * 60 + x].view(-1, 60, 60)
        index = torch.arange(60.0)
        expected = torch.stack([weights.sum(1) @ index, weights.sum(2) @ index], dim=1)
        return (expected - cells[b]).norm(dim=1).mean()

    loss = contrastive_loss(bilinear(maps[0], cells[0]), bilinear(maps[1], cells[1]), 14.0)
    loss = loss + dense(0, 1) + DOUBLE * dense(2, 3) + SELF * dense(2, 0)
    return loss / (1 + DOUBLE + SELF)


def batch_weights(count: int) -> tuple[Tensor, Tensor]:
    """Weights of images and, after them, their mirror images: the mean over all ordered pairs."""
    pairs = (1 - torch.eye(count)) / (count * (count - 1))
    zeros = torch.zeros(count, count)
    sparse = torch.cat([torch.cat([pairs, zeros], 1), torch.cat([zeros, zeros], 1)])
    own = SELF * torch.eye(count) / count
    dense = torch.cat([torch.cat([pairs, zeros], 1), torch.cat([own, DOUBLE * pairs], 1)])
    total = 1 + DOUBLE + SELF
    return sparse / total, dense / total


class RandomLoader:
    """Random features of each image, made once."""

    def __init__(self) -> None:
        self.extractor = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))
        self.samples: dict[object, Sample] = {}

    def __call__(self, annotation: Annotation, augmentation: object) -> Sample:
        key = annotation.name, augmentation
        if key not in self.samples:
            features = torch.randn(60, 60, sum(DIMS)).half()
            self.samples[key] = Sample(features, torch.rand(20, 2) * 59, 40.0)
        return self.samples[key]


def random_data(images: int) -> DataSet:
    """So many images of one category, and all pairs of them."""
    schema = KeypointSchema(tuple(map(str, range(20))), tuple(range(20)))
    points, box = np.zeros((20, 2)), (0.0, 0.0, 1.0, 1.0)
    annotations = [
        Annotation(str(index), Path(str(index)), "object", points, box) for index in range(images)
    ]
    pairs = [
        Pair.of(f"{a.name}:{b.name}", a, b) for a in annotations for b in annotations if a != b
    ]
    return DataSet("random", Path(), {"object": schema}, pairs, "box", (0.1,))


class Loop:
    """Steps of the training loop on a batch of images."""

    def __init__(self, images: int):
        self.losses = partial(batch_losses, RandomLoader())
        config = dataclasses.replace(published_spair(), images_per_group=images)
        self.sampler = BatchSampler(random_data(images), config)
        self.objective = Objective(PostProcessor(DIMS, 768), config, {"object": 20})
        self.optimizer = torch.optim.AdamW(self.objective.parameters())

    def step(self, number: int) -> None:
        accumulate_gradients(self.objective, [self.sampler.draw(number, 0)], self.losses)
        self.optimizer.step()
        self.optimizer.zero_grad()


def plain_step(
    network: PostProcessor, optimizer: torch.optim.Optimizer, loader: RandomLoader
) -> None:
    """One pair and its mirror images: each through the network, with all similarities."""
    samples = [loader(SimpleNamespace(name=str(index)), None) for index in range(4)]
    inputs = [F.dropout(x.features_HWC.float(), 0.2).permute(2, 0, 1)[None] for x in samples]
    maps = [F.normalize(network(x)[0].permute(1, 2, 0), dim=-1) for x in inputs]
    all_similarities(maps, torch.stack([x.cells_K2 for x in samples])).backward()
    optimizer.step()
    optimizer.zero_grad()


def seconds(function, times: int) -> float:
    """The time of the fastest of some runs."""
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        measured.append(time.perf_counter() - start)
    return min(measured)


def whole_loop() -> None:
    """The time of a pair, with everything but reading features from the disk."""
    loop = Loop(IMAGES)
    loop.step(0)
    count = IMAGES * (IMAGES - 1)
    ours = seconds(lambda: loop.step(1), 2) / count
    loader, network = RandomLoader(), PostProcessor(DIMS, 768)
    optimizer = torch.optim.AdamW(network.parameters())
    plain = seconds(lambda: plain_step(network, optimizer, loader), 3)
    print(
        f"| the whole loop, {IMAGES} images, each of {count} pairs | {1000 * ours:,.0f} | "
        f"| {1000 * plain:,.0f} | pair after pair, all similarities | {plain / ours:.1f}x |"
    )


def peak_memory(images: int) -> float:
    """Peak memory, in GB, of a process that makes a step with so many images and their mirrors."""
    command = [sys.executable, __file__, str(images)]
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
    print("| what | ms | limit | baseline, ms | baseline | ratio |")
    print("|---|---|---|---|---|---|")
    maps, cells = descriptors(4), torch.rand(4, 20, 2) * 59

    def step(loss: Tensor) -> None:
        loss.backward()
        maps.grad = None

    ours = median_ms(lambda: step(one_pair(maps, cells)), 15)
    plain = median_ms(lambda: step(all_similarities(maps, cells)), 3)
    print(
        f"| a pair with its mirror images | {ours:.1f} | 40 | {plain:,.0f} | all similarities "
        f"| {plain / ours:.0f}x |"
    )
    maps, cells = descriptors(2 * IMAGES), torch.rand(2 * IMAGES, 20, 2) * 59
    weights = batch_weights(IMAGES)
    batch = median_ms(lambda: step(sum(all_pairs_loss(maps, cells, *weights, 14.0))), 5)
    count = IMAGES * (IMAGES - 1)
    print(
        f"| all {count} pairs of {IMAGES} images, each | {batch / count:.1f} | | {ours:.1f} "
        f"| pair after pair | {count * ours / batch:.1f}x |"
    )
    whole_loop()
    print("\n| a step of | peak memory of the process, GB |")
    print("|---|---|")
    for images in (2, IMAGES):
        print(f"| {images} images and their mirror images | {peak_memory(images):.2f} |")


if __name__ == "__main__":
    main()
