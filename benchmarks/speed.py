"""Speed on two cores, each figure beside a straightforward implementation in the same run.

    python benchmarks/speed.py [PICTURE PICTURE]

Without pictures, those of the example pair are taken. Times are medians in milliseconds, warm.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from homolog import Matcher, matching
from homolog.backbones import Backbone, efficientnet_lite
from homolog.example import pair
from homolog.image.points import grid_points
from homolog.matching.imd import instance_matching_distance


def median_ms(work: Callable[[], object], runs: int = 7) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def row(name: str, ours: float, plain: float | None, plain_name: str, limit: str = "") -> None:
    ratio = "" if plain is None else f"{plain / ours:.1f}x"
    shown = "" if plain is None else f"{plain:,.1f}"
    print(f"| {name} | {ours:,.1f} | {limit} | {shown} | {plain_name} | {ratio} |", flush=True)


class PlainEfficientNetLite(nn.Module):
    """The network as it is usually written: norms apart, an explicit pad before convolutions."""

    def __init__(self, weights: efficientnet_lite.PublishedWeights, config):
        super().__init__()
        self.state = efficientnet_lite.read_weights(weights)
        self.shape = efficientnet_lite.EfficientNetLite(config)

    def norm(self, x: Tensor, name: str) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.state[f"{name}.{part}"] for part in parts), eps=1e-3)

    def same(self, x: Tensor, name: str, stride: int, groups: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        padding = []
        for length in (x.shape[3], x.shape[2]):
            total = max(0, (-(-length // stride) - 1) * stride + weight.shape[-1] - length)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, padding), weight, stride=stride, groups=groups)

    @torch.no_grad()
    def forward(self, x: Tensor) -> None:
        x = F.relu6(self.norm(self.same(x, "_conv_stem", 2, 1), "_bn0"))
        for index, block in enumerate(self.shape.blocks):
            name, y = f"_blocks.{index}", x
            if block.expand is not None:
                y = F.relu6(self.norm(self.same(y, f"{name}._expand_conv", 1, 1), f"{name}._bn0"))
            stride = block.depthwise.stride[0]
            y = self.same(y, f"{name}._depthwise_conv", stride, y.shape[1])
            y = F.relu6(self.norm(y, f"{name}._bn1"))
            y = self.norm(self.same(y, f"{name}._project_conv", 1, 1), f"{name}._bn2")
            x = x + y if block.residual else y


class Timed:
    """A backbone that adds up the time it takes."""

    def __init__(self, backbone: Backbone):
        self.backbone, self.milliseconds = backbone, 0.0
        self.canvas_size = backbone.canvas_size
        self.grid, self.grids = backbone.grid, backbone.grids
        self.device = backbone.device

    def __call__(self, canvases: Tensor) -> list[Tensor]:
        start = time.perf_counter()
        maps = self.backbone(canvases)
        self.milliseconds += 1000 * (time.perf_counter() - start)
        return maps


def pair_of_files(image0: Path, image1: Path) -> None:
    plain_matcher = Matcher.from_pretrained("embedded", device="cpu")
    backbone = Timed(plain_matcher.backbone)
    matcher = Matcher(
        backbone, plain_matcher.config, network=plain_matcher.network,
        side_head=plain_matcher.side_head,
    )  # fmt: skip
    points = grid_points(matcher.load_image(image0).size, 5)
    whole, inside = [], []
    for _ in range(15):
        backbone.milliseconds = 0.0
        whole.append(median_ms(lambda: matcher.transfer(image0, image1, points), 1))
        inside.append(backbone.milliseconds / 2)  # median_ms warms up once
    rest = [total - network for total, network in zip(whole, inside, strict=True)]
    plain = [
        PlainEfficientNetLite(weights, config)
        for weights, config in (
            (efficientnet_lite.LITE0_WEIGHTS, efficientnet_lite.LITE0),
            (efficientnet_lite.LITE2_WEIGHTS, efficientnet_lite.LITE2),
        )
    ]
    pixels = torch.randn(1, 3, 640, 640)
    eager = 2 * median_ms(lambda: [network(pixels) for network in plain], 3)
    row("a pair, from files to points", statistics.median(whole), None, "", "1,000")
    row("- the backbone", statistics.median(inside), eager, "eager, norms apart, 640 pixels")
    row("- all else", statistics.median(rest), None, "", "5 %")
    first, second = matcher.extract([image0, image1])
    for name, work in (
        ("transfer", lambda: matcher.transfer(first, second, points)),
        ("match", lambda: matcher.match(first, second)),
        ("flow", lambda: matcher.flow(first, second)),
    ):
        row(f"{name}, features at hand", median_ms(work), None, "")


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def transfer_of_keypoints(channels: int, limit: str) -> None:
    source, target, cells = unit(60, 60, channels), unit(60, 60, channels), torch.rand(20, 2) * 59

    def ours() -> Tensor:
        found = matching.similarity(matching.sample_descriptors(source, cells), target)
        return matching.window_soft_argmax(found, 5, 0.02)

    def plain() -> Tensor:
        """The whole similarity, of which the keypoints' rows are used, and a window over each."""
        whole = source.flatten(0, 1) @ target.flatten(0, 1).T
        index = cells.round().long()
        rows = whole[index[:, 1] * 60 + index[:, 0]].view(-1, 60, 60)
        peak = rows.flatten(1).argmax(1)
        y, x = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
        inside = ((x - (peak % 60)[:, None, None]).abs() <= 5) & (
            (y - (peak // 60)[:, None, None]).abs() <= 5
        )
        weights = (rows * inside / 0.02).flatten(1).softmax(1).view_as(rows)
        return torch.stack([(weights * x).sum((1, 2)), (weights * y).sum((1, 2))], dim=1)

    name = f"transfer of 20 keypoints, 60 x 60 x {channels}"
    row(name, median_ms(ours), median_ms(plain, 3), "the whole similarity", limit)


def instance_matching_distances(channels: int, masked_limit: str, mutual_limit: str) -> None:
    source, target = unit(60, 60, channels), unit(60, 60, channels)
    mask = torch.zeros(60, 60, dtype=torch.bool)
    mask[:30] = True

    def loop(sampled: int) -> None:
        """One source cell at a time against all target cells."""
        inside = target[mask]
        for cell in source[mask][:sampled]:
            (inside - cell).norm(dim=1).min()

    def pairwise() -> None:
        distances = torch.cdist(source.flatten(0, 1), target.flatten(0, 1))
        forward, backward = distances.argmin(1), distances.argmin(0)
        distances.amin(1)[backward[forward] == torch.arange(3600)].mean()

    ours = median_ms(lambda: instance_matching_distance(source, target, mask, mask))
    plain = median_ms(lambda: loop(30), 3) * 1800 / 30
    row(
        f"masked IMD, 60 x 60 x {channels}, half the cells",
        ours, plain, "a loop over cells (30 of 1,800, scaled)", masked_limit,
    )  # fmt: skip
    ours = median_ms(lambda: instance_matching_distance(source, target))
    row(
        f"mutual-neighbour IMD, 60 x 60 x {channels}",
        ours, median_ms(pairwise, 3), "torch.cdist, twice argmin", mutual_limit,
    )  # fmt: skip


def peak_memory(image: Path) -> float:
    """MiB of a process of its own that matches the picture with itself, at its highest."""
    code = (
        "import resource, sys, homolog\n"
        "matcher = homolog.Matcher.from_pretrained('embedded', device='cpu')\n"
        "matcher.flow(sys.argv[1], sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(image)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) / 1024


def memory() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8))
    print("\n| peak memory of a process that reads, extracts and computes the flow | MiB |")
    print("|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in ((200, 300), (2000, 3000), (6000, 9000)):
            for ending in ("jpg", "png"):
                path = Path(folder) / f"a.{ending}"
                noise.resize(size).save(path)
                print(f"| {size[0]} x {size[1]} {ending} | {peak_memory(path):.0f} |", flush=True)


def import_time() -> None:
    def seconds(what: str) -> float:
        code = f"import time; s = time.perf_counter(); {what}; print(time.perf_counter() - s)"
        command = [sys.executable, "-c", code]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    both = [(seconds("import torch"), seconds("import torch, homolog")) for _ in range(5)]
    torch_alone, with_homolog = (statistics.median(times) for times in zip(*both, strict=True))
    print(
        f"\nimport homolog: {with_homolog - torch_alone:.2f} s beyond torch's {torch_alone:.2f} s "
        "(limit 0.3 s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="*", type=Path)
    pictures = parser.parse_args().pictures
    torch.set_num_threads(2)
    print("| what | ms | limit | straightforward, ms | namely | ratio |")
    print("|---|---|---|---|---|---|")
    if pictures:
        pair_of_files(*pictures)
    else:
        with pair() as example:
            pair_of_files(example.image0, example.image1)
    transfer_of_keypoints(768, "5")
    transfer_of_keypoints(3968, "")
    instance_matching_distances(768, "", "")
    instance_matching_distances(3968, "100", "300")
    memory()
    import_time()


if __name__ == "__main__":
    main()
