"""What large maps cost: 220 x 220 cells of 1,024 channels, as MARCO has them, with random weights.

    python benchmarks/large_maps.py [--cells 55] [--channels 1024] [--only maps]

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
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from homolog import KeypointSchema, Matcher, backbones, evaluation
from homolog.backbones import DinoConfig, TuningConfig, adapters
from homolog.config import MatcherConfig
from homolog.data import Annotation, DataSet, Pair
from homolog.descriptors import DescriptorMap, Features
from homolog.features.foreground import saliency
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.networks.upsampler import Upsampler
from homolog.pair import ImagePair
from homolog.presets import PRESETS, marco

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


def masked_distance(pair: ImagePair) -> float:
    """Of objects that cover a quarter of their images."""
    size = pair.image0.width
    mask = np.zeros((size, size), dtype=bool)
    mask[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = True
    masked = ImagePair(
        pair.image0, pair.image1, lambda image, pose: image.by_pose[pose], [IDENTITY],
        pair.config, mask0=mask, mask1=mask,
    )  # fmt: skip
    return masked.distance()


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
    published = PRESETS["marco"]()
    cosine = MatcherConfig(
        **{**vars(published), "similarity": "cosine", "suppression_sigma": None, "window": 5,
           "temperature": 0.02, "coordinates": "centres"}
    )  # fmt: skip
    print(f"{cells * network.scale} x {cells * network.scale} cells, {channels} channels")
    print("| similarity | work | s | s of processors | GB beside features | as exhaustively |")
    print("|---|---|---|---|---|---|")
    for name, config in (("inner product", published), ("cosine", cosine)):
        ends = tuple(features(each, network, config is published) for each in both)
        points = np.random.default_rng(0).uniform(0.2, 0.8, (POINTS, 2)) * ends[0].size
        works: dict[str, Callable[[ImagePair], object]] = {
            f"transfer of {POINTS} points": partial(ImagePair.transfer, points=points),
            f"match, {MATCHES} matches": partial(ImagePair.match, max_matches=MATCHES),
            "flow": ImagePair.flow,
            "pair score": ImagePair.score.fget,
            "instance matching distance": ImagePair.distance,
            "the same of masked objects": masked_distance,
        }
        results = {}
        pair_of(ends, config).transfer(points)  # warm
        for work, call in works.items():
            found, cost = measured(partial(call, pair_of(ends, config)))
            results[work] = found
            print(f"| {name} | {work} | {cost} | |", flush=True)
        match = f"match, {MATCHES} matches"
        pair = pair_of(ends, config, exhaustive=True)
        exact, cost = measured(partial(pair.match, MATCHES))
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


def small_matcher(folder: Path) -> Matcher:
    """The same network at a small size, with random weights."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    shape = Dinov2WithRegistersConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14
    )
    Dinov2WithRegistersModel(shape).save_pretrained(folder)
    tuning = TuningConfig((9, 10, 11), rank=None, bottleneck=192)
    config = marco(DinoConfig(str(folder), canvas_size=280), tuning)
    backbone = backbones.create(config.backbone, torch.device("cpu"))
    adapters.prepare(backbone, tuning)
    return Matcher(backbone, config, network=Upsampler(384).requires_grad_(False))


def annotated_pairs(folder: Path, images: int, pairs: int) -> DataSet:
    rng = np.random.default_rng(0)
    annotations = []
    for index in range(images):
        noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
        path = folder / f"{index}.png"
        image.save(path)
        keypoints = rng.uniform((0, 0), (500, 375), (POINTS, 2))
        annotations.append(
            Annotation(path.stem, path, "person", keypoints, (0, 0, 500, 375), (500, 375))
        )
    ends = list(itertools.permutations(annotations, 2))
    chosen = [ends[i] for i in rng.choice(len(ends), pairs, replace=False)]
    listed = [Pair.of(f"{a.name}-{b.name}", a, b) for a, b in chosen]
    schemas = {"person": KeypointSchema.spair("person")}
    return DataSet("random", folder, schemas, listed, "box", (0.1,))


@torch.no_grad()
def one_by_one(matcher: Matcher, data: DataSet) -> list[Tensor]:
    """Both images of each pair through the network, as published code evaluates."""
    found = []
    for pair in data.pairs:
        maps = []
        for annotation in (pair.source, pair.target):
            canvas = matcher.preprocess(annotation.path)
            maps.append(matcher.network(matcher.backbone(canvas[None])[0])[0])
        scale = 280 / 500
        points = torch.from_numpy(pair.source.keypoints[pair.keypoint_ids] * scale).float()
        places = 2 * points / 280 - 1
        queries = F.grid_sample(
            maps[0][None], places[None, :, None], align_corners=True, padding_mode="border"
        )
        similarity = torch.einsum("ck,chw->khw", queries[0, :, :, 0], maps[1])
        found.append(matcher.config.locate(similarity))
    return found


def evaluations(images: int = 20, pairs: int = 100) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        matcher = small_matcher(folder / "network")
        data = annotated_pairs(folder, images, pairs)
        one_by_one(matcher, data.select([0]))  # warm
        _, plain = measured(lambda: one_by_one(matcher, data))
        _, ours = measured(lambda: evaluation.predict(matcher, data, folder / "run"))
    print(f"{pairs} pairs among {images} images, {POINTS} keypoints, 80 x 80 cells, 384 channels")
    print("| evaluation | s | s of processors | GB |")
    print("|---|---|---|---|")
    print(f"| both images of each pair through the network | {plain} |")
    print(f"| homolog evaluate | {ours} |")
    seconds = [float(each.split(" | ")[1]) for each in (plain, ours)]
    print(f"| ratio | | {seconds[0] / seconds[1]:.1f} | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=55, help="tokens along each axis")
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--only", choices=("maps", "evaluation"))
    chosen = parser.parse_args()
    if chosen.only != "evaluation":
        large_maps(chosen.cells, chosen.channels)
    if chosen.only != "maps":
        evaluations()
