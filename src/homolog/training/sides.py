"""Teaching a network the sides of things on rendered pictures, where every pixel knows its own.

Photos look unlike renders, and what tells them apart is mostly the strength of single channels:
so channels are dropped, and given the mean and the spread that they have in other pictures.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog import checkpoints, matching
from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.evaluation.metrics import left_right_confusion, relative_errors
from homolog.image.geometry import FLIP, IDENTITY, CanvasTransform
from homolog.keypoints import KeypointSchema
from homolog.matcher import Matcher
from homolog.networks.sides import (
    SideHead,
    SideMaps,
    SidesConfig,
    append_sides,
    objectness_confidence,
)
from homolog.utils.progress import ProgressBar
from homolog.utils.stats import bootstrap_ci, fit_logistic

_EVEN = 0.05  # from the midplane to where a side is certain, in half lengths of a body
_COVERED = 0.25  # the least part of a cell that the thing has to cover for its side to count
_ACROSS = 6  # places looked at along a side of a cell
_FITTED_ON = 40  # pictures
_MOST_POINTS = 64  # keypoints of a picture
_LOG_EVERY = 100  # steps
_CALIBRATED_ON, _PAIRS = 60, 240  # renders, and pairs of them
_NEGLIGIBLE = 0.0025  # loss of PCK that is no harm
_SIDE = (0.0, 0.1, 0.2)
_PLACE = (0.0, 0.1, 0.2, 0.3)
_SPREADS = (20.0, 10.0)  # of slope and offset of how likely a thing is, before pictures are seen

LOSSES = ("thing", "side", "keypoints", "place", "facing")
"""What is learnt: `side` of all cells, `keypoints` the sides of these alone."""


@dataclass(frozen=True)
class SidesRecipe:
    """How a network is taught sides.

    Attributes:
        steps: of the optimizer.
        pictures: looked at in each.
        learning_rate: the largest of the one-cycle schedule.
        weight_decay: of AdamW.
        style: how far a channel's mean and spread are moved to those in another picture.
        drop: the largest share of the channels left out.
        hide: the largest share of the cells hidden, in blocks.
        average: of the weights over steps, which are the weights kept.
        losses: of `LOSSES`, those that are added up.
        seed: of everything drawn.
    """

    steps: int = 8000
    pictures: int = 4
    learning_rate: float = 7e-4
    weight_decay: float = 0.05
    style: float = 0.5
    drop: float = 0.2
    hide: float = 0.2
    average: float = 0.998
    losses: tuple[str, ...] = LOSSES
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """What is learnt from, N pictures, half of them mirrored.

    Attributes:
        reduced: components of the descriptors, half precision.
        covered: which part of a cell shows a thing.
        side: the thing's left is 1, its right -1, and even on the midplane.
        place: as in `SideMaps`.
        facing: unit vectors, as in `SideMaps`.
        points: visible keypoints with a side, (x, y) in cells; at most P a picture.
        point_sides: 1 for left, -1 for right, 0 for none.
    """

    reduced: Float[Tensor, "N H W K"]
    covered: Float[Tensor, "N H W"]
    side: Float[Tensor, "N H W"]
    place: Float[Tensor, "N H W 3"]
    facing: Float[Tensor, "N H W 3"]
    points: Float[Tensor, "N P 2"]
    point_sides: Float[Tensor, "N P"]


@dataclass(frozen=True)
class Score:
    """How often a side is right.

    Attributes:
        right: in each picture, how many visible keypoints are on their side.
        counts: of how many that have one.
    """

    right: Int[np.ndarray, "N"]
    counts: Int[np.ndarray, "N"]

    @property
    def share(self) -> float:
        """Of all keypoints."""
        return float(self.right.sum() / max(self.count, 1))

    @property
    def count(self) -> int:
        """How many keypoints there were."""
        return int(self.counts.sum())

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, 95 %, pictures drawn with replacement."""
        ((low, high),) = bootstrap_ci(
            self.right[:, None].astype(float), self.counts[:, None].astype(float)
        )
        return float(low), float(high)


def train(
    folder: Path,
    out: Path,
    matcher: Matcher,
    recipe: SidesRecipe,
    held_out: Collection[str] = (),
    validation: DataSet | None = None,
) -> Score | None:
    """Teach a network on a rendered set and save it as a model.

    Args:
        folder: as `homolog synth` writes it.
        out: the folder of the model; made if it is not there.
        matcher: zero-shot; its backbone is used, and sides that it tells are learnt anew.
        recipe: how.
        held_out: models not to learn from; pictures of these alone are what is scored on, and how
            much sides count in similarity is chosen on.
        validation: photos to choose that on, too.

    Returns:
        The score on models not seen; None where none were held out.

    Raises:
        HomologError: something is missing or wrong, or there is nothing to learn from.
    """
    if matcher.network is not None:
        raise HomologError("model: is trained already; sides are taught to zero-shot models")
    matcher = matcher.with_config(sides=None)
    listing = read(folder)
    known = {thing["model"] for things in listing.things for thing in things}
    if strange := sorted(set(held_out) - known):
        raise HomologError(
            f"hold_out: {', '.join(strange)} is not in {folder}; there are "
            f"{', '.join(sorted(known))}"
        )
    seen, unseen = listing.split(held_out)
    if not any(listing.things[i] for i in seen):
        raise HomologError(f"folder: {folder} has no pictures of things to learn from")
    network, examples = look(listing, matcher, recipe.seed)
    teach(network, examples, seen, recipe)
    present = presence(network, examples, listing, unseen or seen)
    network.config = dataclasses.replace(network.config, presence_calibration=present)
    rendered = listing.data_set(listing.alone(unseen)[:_CALIBRATED_ON]).subsample(_PAIRS)
    sets = [data for data in (rendered, validation) if data is not None and data.pairs]
    settings = calibrate(matcher, network, sets)[0] if sets else network.config
    checkpoints.save(out, None, dataclasses.replace(matcher.config, sides=settings), sides=network)
    return score(network, examples, unseen) if unseen else None


def teach(network: SideHead, examples: Examples, rows: Sequence[int], recipe: SidesRecipe) -> None:
    """Optimise a network; it ends with the mean of its weights over the last steps.

    Args:
        network: whose components are those of the examples.
        examples: to learn from.
        rows: which of them.
        recipe: how.
    """
    device = network.basis.device
    rng = np.random.default_rng(recipe.seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        means, spreads = _style(examples.reduced)
        parameters = list(network.parameters())
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
        )
        half = device.type == "cuda" or matching.has_fast_bfloat16(device)
        network.train()
        with ProgressBar(recipe.steps) as steps:
            for step in range(recipe.steps):
                drawn, others = torch.from_numpy(rng.choice(rows, (2, recipe.pictures)))
                given = examples.reduced[drawn].float()
                given = _restyled(given, means, spreads, drawn, others, recipe).to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    logits = network.logits(given)
                losses = _losses(logits.float(), examples, drawn)
                loss = torch.stack([losses[name] for name in recipe.losses]).sum()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                keep = min(recipe.average, (step + 1) / (step + 10))
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.lerp_(parameter.detach(), 1 - keep)
                steps.update("training", step + 1)
                if (step + 1) % _LOG_EVERY == 0:
                    named = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
                    steps.log(f"step {step + 1}: {named}")
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    network.eval()


@torch.no_grad()
def score(network: SideHead, examples: Examples, rows: Sequence[int]) -> Score:
    """How often a network is right at visible keypoints with a side.

    Args:
        network: to be scored.
        examples: that it has not seen.
        rows: which of them.
    """
    right, counts = np.zeros((2, len(rows)), int)
    for index, row in enumerate(rows):
        side = _logits(network, examples, row)[..., 1:2]
        truth = examples.point_sides[row]
        found = matching.bilinear(side, examples.points[row])[:, 0]
        right[index] = int(((found > 0) == (truth > 0))[truth != 0].sum())
        counts[index] = int((truth != 0).sum())
    return Score(right, counts)


def _logits(network: SideHead, examples: Examples, row: int) -> Float[Tensor, "H W O"]:
    given = examples.reduced[row].float().to(network.basis.device)
    return network.logits(given[None])[0].float().cpu()


# How much the network's word counts.


@torch.no_grad()
def presence(
    network: SideHead, examples: Examples, listing: Listing, rows: Sequence[int]
) -> tuple[float, float] | None:
    """How likely a picture is to show a thing, from pictures that do and that do not.

    Logistic regression on how certain the network is, both kinds of pictures weighted alike.

    Args:
        network: trained.
        examples: of all pictures of the listing.
        listing: says which of them show nothing.
        rows: pictures whose things are looked at; of those that show nothing, all are.

    Returns:
        Slope and offset of the logit; None if there is but one kind of pictures.
    """
    shows = [row for row in rows if listing.things[row]]
    shows_not = [row for row, things in enumerate(listing.things) if not things]
    if not shows or not shows_not:
        return None
    chosen = shows + shows_not
    things = torch.stack([_logits(network, examples, row)[..., 0] for row in chosen]).sigmoid()
    present = np.arange(len(chosen)) < len(shows)
    counted = len(chosen) / 2 / np.where(present, len(shows), len(shows_not))
    return fit_logistic(
        objectness_confidence(things).double().numpy(), present, counted, (0.0, 0.0), _SPREADS
    )


@torch.no_grad()
def calibrate(
    matcher: Matcher, network: SideHead, sets: Sequence[DataSet]
) -> tuple[SidesConfig, list[tuple[SidesConfig, float]]]:
    """How much sides and places are to count in similarity, chosen on pairs not learnt from.

    A keypoint within 0.10 of the box counts for, one on its mirror counterpart counts against. The
    mean over the sets decides, so that none counts more by being larger, among weights with which
    no set's PCK is lower than without by more than a quarter of a point and more than the standard
    error of the difference.

    Args:
        matcher: zero-shot.
        network: trained.
        sets: of pairs.

    Returns:
        The network's configuration with the best weights, and all that was tried, with the mean.
    """
    assert matcher.side_head is None
    pictures = list(dict.fromkeys(a.path for data in sets for a in data.annotations))
    features, maps = {}, {}
    with ProgressBar(len(pictures)) as steps:
        for index, path in enumerate(pictures):
            steps.update("looking at pictures to calibrate on", index)
            features[path] = matcher.extract(path)
            maps[path] = network(features[path].by_pose[IDENTITY].descriptors_HWC[None])[0]
    configs, means, harmless = [], [], []
    without: list[Float[np.ndarray, "N"]] = []
    with ProgressBar(len(_SIDE) * len(_PLACE)) as steps:
        for index, (side, place) in enumerate(itertools.product(_SIDE, _PLACE)):
            steps.update("calibrating", index)
            config = dataclasses.replace(network.config, side_weight=side, coordinate_weight=place)
            told = {path: fused(found, maps[path], config) for path, found in features.items()}
            found, confused = zip(*(_shares(matcher, data, told) for data in sets), strict=True)
            without = without or list(found)  # the first weights are none
            gains = [now - before for now, before in zip(found, without, strict=True)]
            configs.append(config)
            right, mirrored = (np.mean([s.mean() for s in shares]) for shares in (found, confused))
            means.append(float(right - mirrored))
            allowed = [max(g.std() / math.sqrt(len(g)), _NEGLIGIBLE) for g in gains]
            harmless.append(all(g.mean() >= -a for g, a in zip(gains, allowed, strict=True)))
    best = configs[int(np.argmax(np.where(harmless, means, -np.inf)))]
    return best, list(zip(configs, means, strict=True))


def fused(found: Features, maps: SideMaps, config: SidesConfig) -> Features:
    """Features as a matcher with sides extracts them, from those of one without."""
    plain = found.by_pose[IDENTITY]
    descriptors = append_sides(plain.descriptors_HWC, maps, config)
    with_sides = dataclasses.replace(plain, descriptors_HWC=descriptors, sides=maps)
    return dataclasses.replace(found, by_pose={IDENTITY: with_sides})


def _shares(
    matcher: Matcher, data: DataSet, features: Mapping[Path, Features]
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """Of each pair, the shares of keypoints within 0.10 of the box, and on their counterparts."""
    found, confused = [], []
    for pair in data.pairs:
        ids, target = pair.keypoint_ids, pair.target
        prepared = matcher.pair(features[pair.source.path], features[target.path])
        points = prepared.transfer_points(pair.source.keypoints[ids])
        errors = relative_errors(points, target.keypoints[ids], target.reference_length("box"))
        schema = data.schemas[pair.category]
        _, mixed_up = left_right_confusion(points, ids, target.keypoints, schema)
        found.append(np.mean(errors <= 0.1))
        confused.append(np.mean(mixed_up))
    return np.array(found), np.array(confused)


# Losses.


def _losses(
    logits_BHWO: Float[Tensor, "B H W O"], examples: Examples, rows: Int[Tensor, "B"]
) -> dict[str, Tensor]:
    """Of the cells that show things, but for the first, which tells these from all others."""
    device = logits_BHWO.device
    covered, side, place, facing, points, point_sides = (
        tensor[rows].float().to(device)
        for tensor in (
            examples.covered, examples.side, examples.place, examples.facing,
            examples.points, examples.point_sides,
        )
    )  # fmt: skip
    thing = (covered > _COVERED).float()
    total = thing.sum().clamp_min(1)
    sided = thing * side.abs().clamp_min(0.1)
    of_cells = F.binary_cross_entropy_with_logits(
        logits_BHWO[..., 1], (side + 1) / 2, reduction="none"
    )
    at_points = torch.stack(
        [
            matching.bilinear(logits[..., 1:2], cells)[:, 0]
            for logits, cells in zip(logits_BHWO, points, strict=True)
        ]
    )
    of_points = F.softplus(-at_points * point_sides) * point_sides.abs()
    away = F.smooth_l1_loss(logits_BHWO[..., 2:5], place, beta=0.1, reduction="none").mean(-1)
    turned = 1 - F.cosine_similarity(logits_BHWO[..., 5:8], facing, dim=-1)
    return {
        "thing": F.binary_cross_entropy_with_logits(logits_BHWO[..., 0], covered),
        "side": (of_cells * sided).sum() / sided.sum().clamp_min(1),
        "keypoints": of_points.sum() / point_sides.abs().sum().clamp_min(1),
        "place": 4 * (away * thing).sum() / total,
        "facing": (turned * thing).sum() / total,
    }


def _style(reduced: Float[Tensor, "N H W K"]) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel in each picture."""
    found = [torch.std_mean(picture.float(), dim=(0, 1)) for picture in reduced]
    return torch.stack([mean for _, mean in found]), torch.stack([s for s, _ in found]) + 1e-4


def _restyled(
    given_BHWK: Float[Tensor, "B H W K"],
    means: Float[Tensor, "N K"],
    spreads: Float[Tensor, "N K"],
    drawn: Int[Tensor, "B"],
    others: Int[Tensor, "B"],
    recipe: SidesRecipe,
) -> Float[Tensor, "B H W K"]:
    """Components with some of the style of other pictures, some left out, some cells hidden."""
    count, height, width, _ = given_BHWK.shape
    share = recipe.style * torch.rand(count, 1)
    spread = torch.lerp(spreads[drawn], spreads[others], share)
    scale = spread / spreads[drawn]
    offset = torch.lerp(means[drawn], means[others], share) - means[drawn] * scale
    kept = (torch.rand_like(scale) > recipe.drop * torch.rand(count, 1)).float()
    scale, offset = ((x * kept)[:, None, None] for x in (scale, offset))
    blocks = (torch.rand(count, 1, 8, 8) > recipe.hide * torch.rand(count, 1, 1, 1)).float()
    shown = F.interpolate(blocks, size=(height, width))[:, 0, ..., None]
    return torch.addcmul(offset, given_BHWK, scale) * shown


# What is learnt from.


@dataclass(frozen=True)
class Listing:
    """A rendered set: its folder, pictures, their things, and what the keypoints mean."""

    folder: Path
    files: tuple[str, ...]
    things: tuple[tuple[Mapping[str, Any], ...], ...]
    schema: KeypointSchema

    @cached_property
    def sides(self) -> Float[np.ndarray, "K"]:
        """Of each keypoint: 1 for left, -1 for right, 0 for none."""
        names = self.schema.names
        return np.array([n.startswith("left_") - n.startswith("right_") for n in names], float)

    @property
    def models(self) -> list[set[str]]:
        """Names of those in each picture."""
        return [{thing["model"] for thing in things} for things in self.things]

    def split(self, held_out: Collection[str]) -> tuple[list[int], list[int]]:
        """The pictures that show none of some models, and those that show nothing else."""
        held, models = set(held_out), self.models
        return (
            [i for i, shown in enumerate(models) if not shown & held],
            [i for i, shown in enumerate(models) if shown and shown <= held],
        )

    def keypoints(self, thing: Mapping[str, Any]) -> Float[np.ndarray, "K 3"]:
        """(x, y) in pixels and visibility as COCO has it; of static models all is 0."""
        points = np.array(thing.get("keypoints", np.zeros(3 * len(self.schema))), float)
        return points.reshape(-1, 3)

    def alone(self, rows: Sequence[int]) -> list[int]:
        """Those of some pictures that show just one thing."""
        return [row for row in rows if len(self.things[row]) == 1]

    def data_set(self, rows: Sequence[int]) -> DataSet:
        """All pairs of pictures that show just one thing each, with the keypoints seen in both."""
        annotations = []
        for row in rows:
            (thing,) = self.things[row]
            points = self.keypoints(thing)
            points[points[:, 2] != 2] = np.nan
            x, y, width, height = thing["bbox"]
            box = (x, y, x + width, y + height)
            path = self.folder / self.files[row]
            annotations.append(Annotation(self.files[row], path, "thing", points[:, :2], box))
        pairs = [
            Pair.of(f"{source.name} {target.name}", source, target)
            for source, target in itertools.permutations(annotations, 2)
        ]
        usable = [pair for pair in pairs if len(pair.keypoint_ids)]
        schemas = {"thing": self.schema}
        return DataSet("renders", self.folder, schemas, usable, "box", (0.1, 0.05))


def read(folder: Path) -> Listing:
    """The list of a rendered set.

    Raises:
        HomologError: it cannot be read, or is of something else.
    """
    path = folder / "annotations.json"
    try:
        plain = json.loads(path.read_text("utf-8"))
        named = [category for category in plain["categories"] if category.get("keypoints")]
        schema = KeypointSchema.coco(named[0]) if named else KeypointSchema((), ())
        things: dict[int, list[Mapping[str, Any]]] = {i["id"]: [] for i in plain["images"]}
        for thing in plain["annotations"]:
            thing["model"], thing["facing"], thing["instance"]  # must be there
            things[thing["image_id"]].append(thing)
        files = tuple(image["file_name"] for image in plain["images"])
        listed = tuple(tuple(things[image["id"]]) for image in plain["images"])
    except OSError as error:
        raise HomologError(f"folder: cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HomologError(f"folder: {path} is not of a rendered set: {error}") from None
    return Listing(folder, files, listed, schema)


def flipped(count: int, seed: int) -> Bool[np.ndarray, "N"]:
    """Which of so many pictures are looked at in a mirror."""
    return np.random.default_rng(seed).random(count) < 0.5


def look(listing: Listing, matcher: Matcher, seed: int) -> tuple[SideHead, Examples]:
    """A fresh network with its principal components, and the examples seen through these."""
    backbone = matcher.backbone
    flips = flipped(len(listing.files), seed)
    every = max(1, len(listing.files) // _FITTED_ON)
    paths = [listing.folder / file for file in listing.files]
    fitted = [_descriptors(matcher, path, False).flatten(0, 1)[::7] for path in paths[::every]]
    sample = torch.cat(fitted)
    config = SidesConfig(sample.shape[1], components=min(256, sample.shape[1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SideHead(config)
    network.fit(sample.cpu())
    network.to(backbone.device)
    columns: list[tuple[np.ndarray | Tensor, ...]] = []
    with ProgressBar(len(paths)) as steps:
        for index, path in enumerate(paths):
            steps.update("looking at pictures", index)
            flip = bool(flips[index])
            reduced = network.reduce(_descriptors(matcher, path, flip)[None])[0].half().cpu()
            columns.append((reduced, *_truth(listing, index, matcher, flip)))
    stacked = [torch.stack([torch.as_tensor(x) for x in c]) for c in zip(*columns, strict=True)]
    reduced, covered, side, place, facing, points, point_sides = stacked
    return network, Examples(reduced, covered, side, place, facing, points, point_sides)


@torch.no_grad()
def _descriptors(matcher: Matcher, path: Path, mirrored: bool) -> Float[Tensor, "H W C"]:
    """Zero-shot descriptors of a picture, as it is or mirrored."""
    pose = FLIP if mirrored else IDENTITY
    return matcher.extract(path, [pose]).by_pose[pose].descriptors_HWC


def _truth(
    listing: Listing, index: int, matcher: Matcher, mirrored: bool
) -> tuple[np.ndarray, ...]:
    """All of `Examples` but the components, for one picture.

    In a mirrored picture what was the left side looks like a right one, and so it is called.
    """
    path = listing.folder / "coordinates" / f"{Path(listing.files[index]).stem}.npz"
    try:
        with np.load(path) as stored:
            coordinates, instance = stored["coordinates"], stored["instance"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HomologError(f"folder: {path} is not of a rendered set: {error}") from None
    height, width = instance.shape
    sign = -1.0 if mirrored else 1.0
    view = CanvasTransform(width, height, FLIP if mirrored else IDENTITY, matcher.backbone.side,
                matcher.backbone.grid)  # fmt: skip
    # Places inside each cell, evenly apart.
    steps = (np.arange(_ACROSS) + 0.5) / _ACROSS - 0.5
    inner = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    points = view.to_points((view.grid.cells[:, None] + inner).reshape(-1, 2))
    x, y = np.clip(points.astype(int), 0, (width - 1, height - 1)).T
    shown = (instance[y, x] > 0).reshape(-1, _ACROSS**2)
    count = np.maximum(shown.sum(1), 1)
    place = np.where(shown[..., None], coordinates[y, x].reshape(*shown.shape, 3), 0).astype(float)
    side = sign * np.clip(place[..., 0] / _EVEN, -1, 1).sum(1) / count
    place[..., 0] = np.abs(place[..., 0])
    facing = np.zeros((int(instance.max()) + 1, 3))
    for thing in listing.things[index]:
        if thing["instance"] < len(facing):
            facing[thing["instance"]] = np.array(thing["facing"]) * (sign, 1, 1)
    foremost = np.where(shown, instance[y, x].reshape(shown.shape), 0).max(1)
    cells, sides = _points(listing, index, view, sign)
    grid = view.grid.shape
    return (
        shown.mean(1).reshape(grid).astype(np.float16),
        side.reshape(grid).astype(np.float16),
        (place.sum(1) / count[:, None]).reshape(*grid, 3).astype(np.float16),
        facing[foremost].reshape(*grid, 3).astype(np.float16),
        cells,
        sides,
    )


def _points(
    listing: Listing, index: int, view: CanvasTransform, sign: float
) -> tuple[Float[np.ndarray, "P 2"], Float[np.ndarray, "P"]]:
    """Visible keypoints with a side, of the foremost things first, padded with zeros."""
    cells = np.zeros((_MOST_POINTS, 2), np.float32)
    sides = np.zeros(_MOST_POINTS, np.float32)
    things = sorted(listing.things[index], key=lambda thing: -thing["area"])
    found = [listing.keypoints(thing) for thing in things]
    usable = [(points[:, 2] == 2) & (listing.sides != 0) for points in found]
    if found:
        places = np.concatenate([p[u, :2] for p, u in zip(found, usable, strict=True)])
        named = np.concatenate([listing.sides[u] for u in usable])
        count = min(len(places), _MOST_POINTS)
        cells[:count] = view.to_cells(places[:count])
        sides[:count] = sign * named[:count]
    return cells, sides
