"""What goes in and what comes out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from homolog.features.foreground import foreground
from homolog.image.geometry import IDENTITY, Pose, View, interpolate
from homolog.image.reading import ImageLike
from homolog.networks.sides import SideMaps

MaskLike = str | os.PathLike[str] | np.ndarray | Tensor


@dataclass(frozen=True)
class PosedFeatures:
    """Descriptors of a picture in one pose.

    Attributes:
        view: the way between the picture's points and the descriptors' cells.
        descriptors_HWC: of unit length, float32.
        content_HW: the cells that show the picture, and not the black around it.
        standing_out_HW: how much each cell stands out, where other descriptors say.
        sides: what each cell shows of a thing's sides, where a network says.
    """

    view: View
    descriptors_HWC: Float[Tensor, "H W C"]
    content_HW: Bool[Tensor, "H W"]
    standing_out_HW: Float[Tensor, "H W"] | None = None
    sides: SideMaps | None = None

    @cached_property
    def foreground_HW(self) -> Float[Tensor, "H W"]:
        """How much each cell stands out from the picture (`matching.foreground`)."""
        if self.standing_out_HW is not None:
            return self.standing_out_HW
        return foreground(self.descriptors_HWC, self.content_HW)


@dataclass(frozen=True)
class Features:
    """All that is known of a picture; made by `Matcher.extract`, taken wherever a picture is.

    Attributes:
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        image: the upright picture, reduced to the size that the backbone sees.
        made_by: the backbone and the fusion they come from; other matchers refuse them.
        category: what the picture shows, where that is known.
        posed: descriptors for each pose asked for so far; grows as more are asked for.
    """

    width: int
    height: int
    image: Image.Image = field(repr=False)
    made_by: str = field(repr=False)
    category: str | None = None
    posed: dict[Pose, PosedFeatures] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture, in pixels."""
        return self.width, self.height

    @property
    def descriptors(self) -> Float[Tensor, "H W C"]:
        """Descriptors of the picture as it is, of unit length."""
        return self.posed[IDENTITY].descriptors_HWC


FeaturesLike = ImageLike | Features


def is_one_picture(given: FeaturesLike | Iterable[FeaturesLike]) -> TypeGuard[FeaturesLike]:
    """Whether this is one picture, as against several of them."""
    return isinstance(given, (str, os.PathLike, Image.Image, np.ndarray, Tensor, Features))


@dataclass(frozen=True)
class Matches:
    """Matching points of two pictures; the first three arrays go together, row by row.

    Attributes:
        keypoints0: (x, y) in pixels of the first picture, float64.
        keypoints1: (x, y) in pixels of the second picture, float64, never rounded.
        matching_scores: confidence in each match, 0 to 1.
        pair_score: how alike the two pictures' things are, about 0 for unrelated pictures and 1
            for a picture with itself.
        pose: name of the pose of the first picture that was matched.
        pose_distances: instance matching distance of each pose that was tried; empty if only
            one was.
        posed: which matches were found in that pose. A named point whose counterpart was not
            given cannot be looked up in a flipped picture; it is matched in the picture as it is.
        point_ids: the keypoint ids of named points, otherwise None.
        note: what alignment could not do here, otherwise None.
        size0: width and height of the first picture.
        size1: width and height of the second picture.
    """

    keypoints0: Float[np.ndarray, "K 2"]
    keypoints1: Float[np.ndarray, "K 2"]
    matching_scores: Float[np.ndarray, "K"]
    pair_score: float
    pose: str
    pose_distances: Mapping[str, float]
    posed: Bool[np.ndarray, "K"]
    point_ids: tuple[int, ...] | None
    note: str | None
    size0: tuple[int, int]
    size1: tuple[int, int]

    def __len__(self) -> int:
        return len(self.keypoints0)

    def to_dict(self) -> dict[str, Any]:
        """The same under the same names, in plain lists and numbers, ready for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, value in plain.items():
            if isinstance(value, np.ndarray):
                plain[name] = value.tolist()
            elif isinstance(value, tuple):
                plain[name] = list(value)
            elif isinstance(value, Mapping):
                plain[name] = dict(value)
        return plain


@dataclass(frozen=True)
class FlowField:
    """Where every part of one picture, the source, lies in another, the target.

    Kept on the grid of cells, so that its size does not depend on the pictures'; `at` and
    `dense` give it at any point.

    Attributes:
        view0: the way between points and cells of the source.
        view1: the same for the target.
        points1: for each cell of the source its (x, y) in pixels of the target.
        scores: confidence in each, 0 to 1.
        errors: distance, in pixels of the source, between a cell's centre and the place that the
            flow back from its match leads to.
        consistent: the cells that show the picture (or lie on the mask) and whose error is at
            most a twentieth of the picture's longer side.
    """

    view0: View
    view1: View
    points1: Float[np.ndarray, "H W 2"]
    scores: Float[np.ndarray, "H W"]
    errors: Float[np.ndarray, "H W"]
    consistent: Bool[np.ndarray, "H W"]

    def at(self, points: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
        """Where points (x, y) of the source lie in the target, in pixels of each."""
        return interpolate(self.points1, self.view0.to_cells(points))

    def dense(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width 2"]:
        """Where each pixel of the source lies in the target.

        Args:
            size: width and height of the result; the source's own by default. Another size
                samples the same flow; the values stay pixels of the target.
        """
        return self.view0.sampled(self.points1, size or (self.view0.width, self.view0.height))

    def smoothed(self, reach: float = 2.0) -> FlowField:
        """The same flow made smooth, for warping; doubtful cells follow the sure ones around them.

        Each cell goes where most of its neighbourhood says it should: a mean of the displacements
        around it, weighted by distance, by confidence, and, in three rounds, by agreement with
        the mean so far, so that neighbours on another part are left out. The score becomes the
        share of the neighbourhood that agrees, and cells with more than a tenth are consistent.
        Pictures are taken as they were posed: only there are neighbours displaced alike.

        Args:
            reach: standard deviation of the weight of distance, in cells.
        """
        height, width = self.scores.shape
        own = _shares(self.view0, self.view0.to_points(self.view0.grid.cells))
        own = own.reshape(height, width, 2)
        # Displacement in shares of the two pictures: a part keeps it roughly from cell to cell.
        shift = _shares(self.view1, self.points1.reshape(-1, 2)).reshape(own.shape) - own
        sure = np.where(self.consistent, self.scores, 0.0)
        radius = max(1, round(2 * reach))
        window = range(-radius, radius + 1)
        near = [
            (dy, dx, np.exp(-(dy**2 + dx**2) / (2 * reach**2))) for dy in window for dx in window
        ]
        pad = ((radius, radius), (radius, radius))
        shifts, weights = np.pad(shift, (*pad, (0, 0)), mode="edge"), np.pad(sure, pad)
        mean, agreement = shift, 0.5
        for _ in range(3):
            total, norm = np.zeros_like(shift), np.full((height, width), 1e-9)
            for dy, dx, weight in near:
                rows, columns = (
                    slice(radius + d, radius + d + n) for d, n in ((dy, height), (dx, width))
                )
                there, w = shifts[rows, columns], weights[rows, columns] * weight
                w = w * np.exp(-((there - mean) ** 2).sum(-1) / (2 * agreement**2))
                total += w[..., None] * there
                norm += w
            mean = np.where(norm[..., None] > 1e-6, total / norm[..., None], mean)
            agreement /= 2
        view, size = self.view1, (self.view1.width, self.view1.height)
        posed = (mean + own).reshape(-1, 2) * view.pose.size(size)
        points1 = view.clip(view.pose.inverse_points(posed, size))
        scores = norm / sum(weight for _, _, weight in near)
        return dataclasses.replace(
            self,
            points1=points1.reshape(height, width, 2),
            scores=scores,
            consistent=self.view0.content & (scores > 0.1),
        )

    def confidence(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width"]:
        """Scores for each pixel of the source, 0 where the flow is not consistent."""
        kept = np.where(self.consistent, self.scores, 0.0)
        size = size or (self.view0.width, self.view0.height)
        return self.view0.sampled(kept[..., None], size)[..., 0]


def _shares(view: View, points: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
    """Points of a picture in shares of it as it was posed."""
    size = view.width, view.height
    return view.pose.points(points, size) / view.pose.size(size)


@dataclass(frozen=True)
class Flow:
    """Where every part of two pictures lies in the other one.

    Attributes:
        forward: from the first picture to the second.
        backward: from the second picture to the first; this is what a warp of the first picture
            onto the second one's shape needs.
        pair_score: as in `Matches`.
        pose: name of the pose of the first picture that was matched.
        note: what alignment could not do here, otherwise None.
    """

    forward: FlowField
    backward: FlowField
    pair_score: float
    pose: str
    note: str | None


@dataclass(frozen=True)
class Heatmap:
    """Where in the second picture each point of the first could be.

    Attributes:
        view1: the way between points and cells of the second picture.
        similarity: cosine similarity of each point to each cell; -inf outside the picture.
        matches: the points and where they are found.
    """

    view1: View
    similarity: Float[np.ndarray, "K H W"]
    matches: Matches

    def probability(self, temperature: float) -> Float[np.ndarray, "K H W"]:
        """softmax(similarity / temperature) over the cells."""
        logits = torch.from_numpy(self.similarity).flatten(1) / temperature
        return logits.softmax(1).view(self.similarity.shape).numpy()


@dataclass(frozen=True)
class Sides:
    """Which side of a thing each cell of a picture shows: its own left, not the picture's.

    Attributes:
        view: the way between the picture's points and the cells.
        left: probability that it is the left side, for a cell that shows the thing.
        right: the same of the right; the two make 1, and are even on the thing's midplane.
        confidence: probability that the cell shows a thing that has sides, of a kind known.
        facing: which way the thing faces: x to the picture's right, y down, z away from us; at
            most of length 1, and the shorter, the less sure.
    """

    view: View
    left: Float[np.ndarray, "H W"]
    right: Float[np.ndarray, "H W"]
    confidence: Float[np.ndarray, "H W"]
    facing: tuple[float, float, float]

    @classmethod
    def of(cls, maps: SideMaps, view: View) -> Sides:
        """What a network says of one picture."""
        thing, side = (x.double().cpu().numpy() for x in (maps.thing, maps.side))
        x, y, z = maps.direction().tolist()
        return cls(
            view, (1 + side) / 2, (1 - side) / 2, np.where(view.content, thing, 0), (x, y, z)
        )

    def at(self, points: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 3"]:
        """Left, right and confidence at points (x, y) in pixels of the picture."""
        return interpolate(self._stacked, self.view.to_cells(points))

    def dense(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width 3"]:
        """Left, right and confidence for each pixel of the picture, drawn with that size."""
        return self.view.sampled(self._stacked, size or (self.view.width, self.view.height))

    @property
    def middle(self) -> Float[np.ndarray, "2"] | None:
        """The middle of the thing, (x, y) in pixels; None if there is none that is known."""
        weight = self.confidence.ravel() * (self.confidence.ravel() > 0.5)
        if not weight.any():
            return None
        return self.view.clip(
            self.view.to_points(weight @ self.view.grid.cells[None] / weight.sum())
        )[0]

    def describe(self) -> str:
        """What there is to say of it, in one line."""
        if self.middle is None:
            return "no thing whose sides are known"
        x, _, z = self.facing
        ways = ("the picture's right", "the picture's left", "away from us", "us")
        way = ways[int(np.argmax([x, -x, z, -z]))]
        return f"faces {way} (sure to {float(np.linalg.norm(self.facing)):.2f})"

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON: one entry a cell of the picture."""
        rows = self.view.content.ravel()
        columns = {
            name: getattr(self, name).ravel()[rows].tolist()
            for name in ("left", "right", "confidence")
        }
        points = self.view.to_points(self.view.grid.cells)[rows].tolist()
        return {"points": points, **columns, "facing": list(self.facing)}

    @property
    def _stacked(self) -> Float[np.ndarray, "H W 3"]:
        return np.stack([self.left, self.right, self.confidence], axis=-1)
