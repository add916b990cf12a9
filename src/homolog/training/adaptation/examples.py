"""Examples for the report of an adaptation, chosen by percentile rather than by their looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from scipy.ndimage import binary_erosion

from homolog.image.poses import PoseVariant
from homolog.image.reading import LoadedImage, load_image
from homolog.results import Sides
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.filtering import kept
from homolog.training.adaptation.mining import PointMatcher, PseudoMatches, in_best_pose
from homolog.training.adaptation.mixing import TOLERANCE
from homolog.training.adaptation.teacher import Teacher, at_cells, object_size
from homolog.viz.adaptation import ComparedPair, MinedPair
from homolog.viz.raster import MAX_SIZE

_DRAWN_MATCHES = 70  # of a mined pair, kept and rejected as they come
_COMPARED_PAIRS, _COMPARED_IMAGES = 40, 40  # among which examples are chosen
_COMPARED_POINTS, _DRAWN_POINTS = 60, 10

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Examples:
    """What examples are chosen from.

    Attributes:
        before: the matcher that the run began with.
        after: the one that it made, on the same store.
        mined: matches of pairs of images.
        config: how they were filtered.
        held_aside: (source, target) of images; the sources were not trained on.
        poses: in which the source is matched.
    """

    before: Teacher
    after: Teacher
    mined: Sequence[PseudoMatches]
    config: MiningConfig
    held_aside: Sequence[tuple[int, int]]
    poses: Sequence[PoseVariant]

    def load(self, index: int) -> LoadedImage:
        """An image of the store, reduced.

        Args:
            index: of the image.

        Raises:
            HomologError: it cannot be read.
        """
        store = self.before.store
        return load_image(
            store.paths[index], longest_edge=MAX_SIZE, max_pixels=store.matcher.max_pixels
        )

    def names(self, *indices: int) -> str:
        """The names of some images' files."""
        return ", ".join(f"`{self.before.store.paths[index].name}`" for index in indices)


def at_percentiles(
    items: Sequence[_T], values: Sequence[float] | Float[np.ndarray, "N"]
) -> list[tuple[int, _T]]:
    """The items whose values are at the percentiles 10, 50 and 90, each with its percentile.

    >>> at_percentiles("abcdefghijk", range(11))
    [(10, 'b'), (50, 'f'), (90, 'j')]

    Args:
        items: to choose from; none is chosen twice.
        values: of the items.
    """
    if not len(items):
        return []
    order = np.argsort(np.asarray(values), kind="stable")
    chosen: dict[int, int] = {}
    for percentile in (50, 10, 90):
        chosen.setdefault(int(order[round(percentile / 100 * (len(order) - 1))]), percentile)
    return [
        (percentile, items[index])
        for index, percentile in sorted(chosen.items(), key=lambda item: item[1])
    ]


def mined_pairs(examples: Examples) -> tuple[list[MinedPair], list[str]]:
    """Pairs by the share of their matches that is kept, of those that have any.

    Args:
        examples: what to choose from.

    Returns:
        The pairs, and the names of their images.

    Raises:
        HomologError: an image cannot be read.
    """
    store = examples.before.store
    shares = {
        index: float(passed.mean())
        for index, each in enumerate(examples.mined)
        if (passed := kept(each, examples.config)).any()
    }
    found, names = [], []
    for percentile, index in at_percentiles(list(shares), list(shares.values())):
        matches = examples.mined[index]
        passed = kept(matches, examples.config)
        drawn = slice(None, _DRAWN_MATCHES)  # they are in random order
        found.append(
            MinedPair(
                examples.load(matches.source),
                examples.load(matches.target),
                store.transform(matches.source).to_points(matches.source_cells[drawn]),
                store.transform(matches.target).to_points(matches.target_cells[drawn]),
                passed[drawn],
                f"{percentile}th percentile: {passed.sum()} of {len(matches)} matches kept",
            )
        )
        names.append(examples.names(matches.source, matches.target))
    return found, names


def compared_pairs(examples: Examples) -> tuple[list[ComparedPair], list[str]]:
    """Pairs whose sources were held aside, by how much more of their matches lead back.

    Args:
        examples: what to choose from.

    Returns:
        The pairs, and the names of their images.

    Raises:
        HomologError: an image cannot be read.
    """
    pairs = _spread(examples.held_aside, _COMPARED_PAIRS)
    followed = [_Followed.of(examples, source, target) for source, target in pairs]
    found, names = [], []
    for percentile, each in at_percentiles(followed, [f.gain for f in followed]):
        inner = np.flatnonzero(each.inner)
        drawn = inner[_spread_points(each.points[inner], _DRAWN_POINTS)]
        before, after = (100 * lead_back.mean() for lead_back in each.consistent)
        found.append(
            ComparedPair(
                examples.load(each.source),
                examples.load(each.target),
                each.points[drawn],
                each.matches[0][drawn],
                each.matches[1][drawn],
                each.consistent[0][drawn],
                each.consistent[1][drawn],
                (
                    f"{percentile}th percentile",
                    f"before: {before:.0f} % lead back",
                    f"after: {after:.0f} % lead back",
                ),
            )
        )
        names.append(examples.names(each.source, each.target))
    return found, names


def compared_sides(
    examples: Examples,
) -> tuple[list[tuple[LoadedImage, Sides, Sides]], list[str]]:
    """Images held aside, by how much their sides have changed; with sides before and after.

    Args:
        examples: what to choose from.

    Returns:
        The images with their sides, and their names.

    Raises:
        HomologError: an image cannot be read.
    """
    indices = _spread(sorted({source for source, _ in examples.held_aside}), _COMPARED_IMAGES)
    candidates: list[tuple[int, Sides, Sides]] = []
    changes = []
    for index in indices:
        maps = [teacher.descriptor_map(index) for teacher in (examples.before, examples.after)]
        if maps[0].sides is None or maps[1].sides is None or not examples.after.recognises(maps[1]):
            continue
        sides = [Sides.from_maps(each.sides, each.transform) for each in maps]  # type: ignore[arg-type]
        weight = sides[0].confidence + sides[1].confidence
        candidates.append((index, sides[0], sides[1]))
        changes.append(float((abs(sides[0].left - sides[1].left) * weight).sum() / weight.sum()))
    chosen = [found for _, found in at_percentiles(candidates, changes)]
    images = [(examples.load(index), before, after) for index, before, after in chosen]
    return images, [examples.names(index) for index, *_ in chosen]


@dataclass(frozen=True, eq=False)
class _Followed:
    """Points of an image, followed to another by both matchers and back.

    Attributes:
        source: index of the image.
        target: index of the other.
        points: (x, y) in pixels of the source.
        inner: which of them are not on the object's outline.
        matches: in pixels of the target, before and after.
        consistent: whether each lies on the object and leads back, before and after.
    """

    source: int
    target: int
    points: Float[np.ndarray, "K 2"]
    inner: Bool[np.ndarray, "K"]
    matches: tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K 2"]]
    consistent: tuple[Bool[np.ndarray, "K"], Bool[np.ndarray, "K"]]

    @property
    def gain(self) -> float:
        """By how much the share of matches that lead back has grown."""
        return float(self.consistent[1].mean() - self.consistent[0].mean())

    @classmethod
    @torch.no_grad()
    def of(cls, examples: Examples, source: int, target: int) -> _Followed:
        """Follow points that are evenly spread over the object of an image."""
        shown = examples.before.object_cells(examples.before.descriptor_map(source))
        rows, columns = (each.cpu().numpy() for each in shown.nonzero().unbind(1))
        chosen = _spread_points(np.stack([columns, rows], axis=1), _COMPARED_POINTS)
        cells = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
        inner = binary_erosion(shown.cpu().numpy())[rows[chosen], columns[chosen]]
        points = examples.before.store.transform(source).to_points(cells)
        size = object_size(shown)
        on_target = examples.before.object_cells(examples.before.descriptor_map(target))
        matches, consistent = [], []
        for teacher in (examples.before, examples.after):
            goal = teacher.descriptor_map(target)
            start = in_best_pose(teacher, source, goal, examples.poses)
            queries = start.cells_of(points)
            there = PointMatcher(start, goal, teacher.config)(queries)
            back = PointMatcher(goal, start, teacher.config)(there)
            errors = torch.linalg.vector_norm(back - queries, dim=1).double().cpu().numpy() / size
            landed = at_cells(on_target[..., None].float(), there)[:, 0].cpu().numpy() > 0.5
            matches.append(goal.transform.to_points(there.double().cpu().numpy()))
            consistent.append(landed & (errors <= TOLERANCE))
        inner = inner if inner.any() else np.ones(len(points), dtype=bool)
        return cls(
            source, target, points, inner, (matches[0], matches[1]), (consistent[0], consistent[1])
        )


def _spread(items: Sequence[_T], count: int) -> list[_T]:
    """So many of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, count)]


def _spread_points(points: Num[np.ndarray, "K 2"], count: int) -> Int[np.ndarray, "P"]:
    """Indices of so many points, each as far as possible from those before (farthest points)."""
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)
