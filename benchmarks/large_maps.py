"""What large maps cost: 220 x 220 cells of 1,024 channels, as MARCO has them, with random weights.

    python benchmarks/large_maps.py [--cells 55] [--channels 1024] [--skip-evaluation]

Tokens are smooth random fields of low rank, those of the target the same ones moved, stretched and
with noise of their own; upsamplers with random weights make them four times as fine. Features are
at hand, as after `extract`. Memory is what the process takes beside them at its peak (Linux). The
last table is an evaluation of pairs among few images, beside one forward pass for each image of
each pair and one product, as published code has it.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap, Features
from homolog.features.foreground import saliency
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import FLIP, IDENTITY
from homolog.networks.upsampler import Upsampler
from homolog.pair import ImagePair
from homolog.presets import PRESETS

POINTS, MATCHES, RANK, PATCH = 20, 200, 48, 14


def tokens(cells: int, channels: int) -> tuple[Tensor, Tensor]:
    """Tokens of two images of one scene, each 1 x C x cells x cells."""
    basis = torch.randn(RANK, channels)
    coarse = torch.randn(1, RANK, 9, 9)
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, cells)], indexing="ij")
    found = []
    for places in (
        torch.stack([x, y], dim=-1),
        torch.stack([0.85 * x + 0.1 * y + 0.05, 0.9 * y - 0.1 * x + 0.04 * (3 * x).sin()], dim=-1),
    ):
        fields = F.grid_sample(coarse, places[None], mode="bicubic", align_corners=True)
        noise = F.avg_pool2d(torch.randn(1, channels, cells + 2, cells + 2), 3, 1)
        found.append(torch.einsum("brhw,rc->bchw", fields, basis) / RANK**0.5 + 0.6 * noise)
    return found[0], found[1]


@torch.no_grad()
def features(tokens_BCHW: Tensor, network: Upsampler, inner_product: bool) -> Features:
    """Features as `extract` returns them, with random weights."""
    cells = tokens_BCHW.shape[2]
    size = cells * PATCH
    grid = Grid.from_patches(size, PATCH)
    transform = CanvasTransform(size, size, IDENTITY, size, grid.refined(network.scale))
    valid = torch.from_numpy(transform.valid_cells)
    learned = network(tokens_BCHW)[0].permute(1, 2, 0)
    lengths = torch.linalg.vector_norm(learned, dim=-1)
    unit = F.normalize(tokens_BCHW[0].permute(1, 2, 0), dim=-1)
    everywhere = torch.ones(cells, cells, dtype=torch.bool)
    coarse = DescriptorMap(
        CanvasTransform(size, size, IDENTITY, size, grid), unit, everywhere, everywhere,
        saliency(unit, everywhere),
    )  # fmt: skip
    salient = coarse.at(coarse.saliency_HW[..., None], transform.grid)[..., 0]
    found = DescriptorMap(
        transform, learned / lengths[..., None], valid, valid, salient,
        lengths_HW=lengths if inner_product else None, coarse=coarse,
    )  # fmt: skip
    image = Image.new("RGB", (size, size))
    return Features(size, size, image, "", by_pose={IDENTITY: found.stored()})


def pair_of(ends: tuple[Features, Features], config: MatcherConfig, **changes: object) -> ImagePair:
    config = MatcherConfig(**{**vars(config), **changes})
    return ImagePair(*ends, lambda image, pose: image.by_pose[pose], [IDENTITY], config)


def measured(work: Callable[[], object]) -> tuple[object, str]:
    """What it returns, and cells of a table: seconds, those of processors, gigabytes at the peak.

    The latter beside what was taken before.
    """
    own = Path("/proc/self/clear_refs")
    own.write_text("5")  # the peak is counted from here
    before, start, processors = status("VmRSS"), time.perf_counter(), time.process_time()
    found = work()
    seconds, processors = time.perf_counter() - start, time.process_time() - processors
    return found, f"{seconds:.2f} | {processors:.2f} | {status('VmHWM') - before:.2f}"


def status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e9


def same(found: object, exact: object) -> float:
    """The share of matches that are among the exact ones."""
    pairs = [
        {tuple(row) for row in np.hstack([each.keypoints0, each.keypoints1]).round(1).tolist()}
        for each in (found, exact)
    ]
    return len(pairs[0] & pairs[1]) / max(1, len(pairs[0]))


def large_maps(cells: int, channels: int) -> None:
    torch.manual_seed(0)
    network = Upsampler(channels)
    both = tokens(cells, channels)
    marco = PRESETS["marco"]()
    cosine = MatcherConfig(
        **{**vars(marco), "similarity": "cosine", "suppression_sigma": None, "window": 5,
           "temperature": 0.02, "coordinates": "centres"}
    )  # fmt: skip
    print(f"{cells * network.scale} x {cells * network.scale} cells, {channels} channels")
    print("| similarity | work | s | s of processors | GB beside features | as exhaustively |")
    print("|---|---|---|---|---|---|")
    for name, config in (("inner product", marco), ("cosine", cosine)):
        ends = tuple(features(each, network, config is marco) for each in both)
        points = np.random.default_rng(0).uniform(0.2, 0.8, (POINTS, 2)) * ends[0].size
        works = {
            f"transfer of {POINTS} points": lambda pair: pair.transfer(points),
            f"match, {MATCHES} matches": lambda pair: pair.match(MATCHES),
            "flow": lambda pair: pair.flow(),
            "pair score": lambda pair: pair.score,
            "instance matching distance": lambda pair: pair.distance(),
        }
        results = {}
        pair_of(ends, config).transfer(points)  # warm
        for work, call in works.items():
            found, cost = measured(lambda: call(pair_of(ends, config)))
            results[work] = found
            print(f"| {name} | {work} | {cost} | |", flush=True)
        match = f"match, {MATCHES} matches"
        pair = pair_of(ends, config, exhaustive=True)
        exact, cost = measured(lambda: pair.match(MATCHES))
        share = f"{same(results[match], exact):.1%}"
        print(
            f"| {name} | {match}, exhaustive | {cost} | {share} |",
            flush=True,
        )
        coarse = pair_of(ends, config)._dense_matcher(IDENTITY).mutual()
        every = pair._dense_matcher(IDENTITY).mutual()
        listed = [
            set(zip(each.cells_P.tolist(), each.partners_P.tolist(), strict=True))
            for each in (coarse, every)
        ]
        both_ways = len(listed[0] & listed[1])
        print(
            f"| {name} | all {len(listed[1]):,} mutual matches | | | "
            f"{both_ways / len(listed[0]):.1%} of those found, "
            f"{both_ways / len(listed[1]):.1%} of all |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=55)
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--skip-evaluation", action="store_true")
    chosen = parser.parse_args()
    large_maps(chosen.cells, chosen.channels)
