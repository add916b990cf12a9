"""What matching returns: matches, heatmaps, sides."""

from __future__ import annotations

import html
import io
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image

from homolog.errors import HomologError
from homolog.image.geometry import CanvasTransform, as_size, interpolate
from homolog.image.points import PointsLike, as_pairs
from homolog.image.regions import Region
from homolog.networks.sides import SideMaps
from homolog.utils.optional import require

_ROWS = 8  # of the table that a notebook shows


def present(image: Image.Image | None) -> Image.Image:
    """An image that a result refers to.

    Raises:
        HomologError: it is gone, as after unpickling.
    """
    if image is None:
        raise HomologError(
            "plot: expected a result with its images, got one that was unpickled; try "
            "homolog.viz with the images themselves"
        )
    return image


class Drawable(ABC):
    """A result that can be drawn: in a notebook, or by `plot`.

    The reduced images that it refers to travel with it, but not into JSON or a pickle.
    """

    image0: Image.Image | None

    def plot(self) -> Image.Image:
        """The drawing, an RGB image.

        Raises:
            HomologError: the images are gone, as after unpickling.
        """
        return self._drawing()

    @abstractmethod
    def _drawing(self) -> Image.Image: ...

    @abstractmethod
    def _rows(self) -> tuple[list[str], Sequence[Sequence[Any]]]:
        """Column names and rows of the table."""

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        if self.image0 is not None:
            self._drawing().save(buffer, "PNG")
        names, rows = self._rows()
        lines = [names, *rows[:_ROWS]]
        cells = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in line) + "</tr>"
            for line in lines
        )
        more = f"<p>and {len(rows) - _ROWS} more</p>" if len(rows) > _ROWS else ""
        encoded = b64encode(buffer.getvalue()).decode()
        drawing = f'<img src="data:image/png;base64,{encoded}">' if encoded else ""
        return f"<p>{html.escape(repr(self))}</p>{drawing}<table>{cells}</table>{more}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "image0": None} | (
            {"image1": None} if "image1" in self.__dict__ else {}
        )


@dataclass(frozen=True, eq=False, repr=False)
class Matches(Drawable):
    """Matching points of two images; the first three arrays are aligned by index.

    `len(matches)` is the number of matches; `matches[matches.matching_scores > 0.5]`, or any
    other mask, slice or array of indices, selects some.

    Attributes:
        keypoints0: (x, y) in pixels of the source, float64.
        keypoints1: (x, y) in pixels of the target, float64, never rounded.
        matching_scores: of each match, 0 to 1. Of a model that is `calibrated`, the probability
            that it is right within a tenth of the object's size; otherwise the confidence by cycle
            consistency, which ranks matches and is no probability.
        pair_score: similarity of the two images' objects, about 0 for unrelated images and 1 for
            an image with itself.
        pose: name of the pose of the source that was matched.
        pose_distances: instance matching distance of each pose that was compared; empty if none
            were.
        found_in_pose: which matches were found in that pose. A named point whose mirror
            counterpart was not given cannot be looked up in a flipped image; it is matched in
            the image as it is.
        point_ids: the keypoint ids of named points, otherwise None.
        point_names: the names of named points, otherwise None.
        warning: what alignment could not do here, otherwise None.
        size0: width and height of the source.
        size1: width and height of the target.
        image0: the source, reduced; for drawing, not part of JSON and not pickled.
        image1: the target, reduced; likewise.
        region0: the part of the source that filled the canvas; None for the whole.
        region1: the part of the target, likewise.
        visible: whether each point lies on the object, and the target shows the same part of it;
            None for a model that is not calibrated.
    """

    keypoints0: Float[np.ndarray, "K 2"]
    keypoints1: Float[np.ndarray, "K 2"]
    matching_scores: Float[np.ndarray, "K"]
    pair_score: float
    pose: str
    pose_distances: Mapping[str, float]
    found_in_pose: Bool[np.ndarray, "K"]
    point_ids: tuple[int, ...] | None
    point_names: tuple[str, ...] | None
    warning: str | None
    size0: tuple[int, int]
    size1: tuple[int, int]
    image0: Image.Image | None = None
    image1: Image.Image | None = None
    region0: Region | None = None
    region1: Region | None = None
    visible: Bool[np.ndarray, "K"] | None = None

    def __len__(self) -> int:
        return len(self.keypoints0)

    @property
    def calibrated(self) -> bool:
        """Whether the scores are probabilities."""
        return self.visible is not None

    def __repr__(self) -> str:
        what = "points" if self.point_names is None else "named points"
        return f"Matches({len(self)} {what}, pair_score={self.pair_score:.2f}, pose={self.pose!r})"

    def __getitem__(
        self, index: int | slice | Sequence[int] | Bool[np.ndarray, "K"] | Int[np.ndarray, "P"]
    ) -> Matches:
        """Some of the matches, in that order.

        Args:
            index: a mask, a slice, or one or several indices.
        """
        if not isinstance(index, slice):
            index = np.asarray(index, dtype=None if np.size(index) else int)
        rows = np.arange(len(self))[index]
        rows = np.atleast_1d(rows)
        changes: dict[str, Any] = {
            name: getattr(self, name)[rows]
            for name in ("keypoints0", "keypoints1", "matching_scores", "found_in_pose")
        }
        for name in ("point_ids", "point_names"):
            values = getattr(self, name)
            changes[name] = None if values is None else tuple(values[row] for row in rows)
        changes["visible"] = None if self.visible is None else self.visible[rows]
        return Matches(**{each.name: getattr(self, each.name) for each in fields(self)} | changes)

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON."""
        return {
            "keypoints0": self.keypoints0.tolist(),
            "keypoints1": self.keypoints1.tolist(),
            "matching_scores": self.matching_scores.tolist(),
            "visible": None if self.visible is None else self.visible.tolist(),
            "pair_score": self.pair_score,
            "pose": self.pose,
            "pose_distances": dict(self.pose_distances),
            # Files of version 0.1.0 have these two names.
            "posed": self.found_in_pose.tolist(),
            "point_ids": None if self.point_ids is None else list(self.point_ids),
            "point_names": None if self.point_names is None else list(self.point_names),
            "note": self.warning,
            "size0": list(self.size0),
            "size1": list(self.size1),
            **{
                name: region.to_list()
                for name, region in (("region0", self.region0), ("region1", self.region1))
                if region is not None
            },
        }

    def to_dataframe(self) -> Any:
        """A pandas data frame with a row a match: name, x0, y0, x1, y1, score, visible.

        Without names, or for a model that does not tell what is visible, it lacks that column.

        Raises:
            HomologError: pandas is not installed.
        """
        pandas = require("pandas")
        columns: dict[str, Any] = {} if self.point_names is None else {"name": self.point_names}
        for number, keypoints in enumerate((self.keypoints0, self.keypoints1)):
            columns |= {f"x{number}": keypoints[:, 0], f"y{number}": keypoints[:, 1]}
        columns["score"] = self.matching_scores
        return pandas.DataFrame(
            columns if self.visible is None else columns | {"visible": self.visible}
        )

    def _drawing(self) -> Image.Image:
        from homolog.viz import plot_matches

        return plot_matches(present(self.image0), present(self.image1), self)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        names = self.point_names or tuple(map(str, range(1, len(self) + 1)))
        points = np.concatenate([self.keypoints0, self.keypoints1], axis=1)
        return ["point", "x0", "y0", "x1", "y1", "score"], [
            [name, *(f"{value:.1f}" for value in row), f"{score:.2f}"]
            for name, row, score in zip(names, points, self.matching_scores, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap(Drawable):
    """Where in the target each of K points of the source could be.

    Attributes:
        transform1: from points of the target to cells and back.
        similarity: of each point to each cell; -inf where no match may lie.
        matches: the points and their matches.
    """

    transform1: CanvasTransform
    similarity: Float[np.ndarray, "K H W"]
    matches: Matches

    @property
    def image0(self) -> Image.Image | None:  # type: ignore[override]
        """The source, reduced; not pickled."""
        return self.matches.image0

    def probability(self, temperature: float) -> Float[np.ndarray, "K H W"]:
        """softmax(similarity / temperature) over the cells.

        Args:
            temperature: greater than 0.

        Raises:
            HomologError: it is not.
        """
        try:
            temperature = float(temperature)
            if not 0 < temperature < np.inf:
                raise ValueError
        except (TypeError, ValueError, ArithmeticError, RuntimeError):
            raise HomologError(
                f"temperature: expected a number greater than 0, got {temperature!r}"
            ) from None
        logits = torch.from_numpy(self.similarity).flatten(1) / temperature
        return logits.softmax(1).view(self.similarity.shape).numpy()

    def __repr__(self) -> str:
        height, width = self.similarity.shape[1:]
        return f"Heatmap({len(self.matches)} points on {height} x {width} cells)"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def _drawing(self) -> Image.Image:
        from homolog.viz import plot_heatmap

        return plot_heatmap(present(self.image0), present(self.matches.image1), self)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        return self.matches._rows()


@dataclass(frozen=True, eq=False, repr=False)
class Sides(Drawable):
    """Which side of an object each cell of an image shows: its own left, not the image's.

    Attributes:
        transform: from points of the image to cells and back.
        left: probability that it is the left side, for a cell that shows the object.
        right: the same of the right; the two make 1, and are even on the object's midplane.
        confidence: probability that the cell shows an object with sides, of a known kind.
        heading: which way the object faces: x to the image's right, y down, z away from the
            camera; at most of length 1, and the shorter, the less certain.
        image0: the image, reduced; for drawing, not part of JSON and not pickled.
    """

    transform: CanvasTransform
    left: Float[np.ndarray, "H W"]
    right: Float[np.ndarray, "H W"]
    confidence: Float[np.ndarray, "H W"]
    heading: tuple[float, float, float]
    image0: Image.Image | None = field(default=None)

    @classmethod
    def from_maps(
        cls, maps: SideMaps, transform: CanvasTransform, image: Image.Image | None = None
    ) -> Sides:
        """The result for one image that a side head's predictions make."""
        objectness, side = (x.double().cpu().numpy() for x in (maps.objectness, maps.side))
        x, y, z = maps.mean_heading().tolist()
        confidence = np.where(transform.valid_cells, objectness, 0)
        return cls(transform, (1 + side) / 2, (1 - side) / 2, confidence, (x, y, z), image)

    def at(self, points: PointsLike) -> Float[np.ndarray, "K 3"]:
        """Left, right and confidence at points (x, y) in pixels of the image.

        Beyond the image, those of its border.

        Raises:
            HomologError: the points are not pairs of finite numbers.
        """
        return interpolate(self._stacked, self.transform.to_cells(as_pairs(points)))

    def dense(self, size: tuple[int, int] | None = None) -> Float[np.ndarray, "height width 3"]:
        """Left, right and confidence for each pixel of the image, drawn with that size."""
        size = as_size(size, self.transform.size)
        return self.transform.resample(self._stacked, size, outside=0.0)

    @property
    def centre(self) -> Float[np.ndarray, "2"] | None:
        """The centre of the object, (x, y) in pixels; None if none was recognised."""
        weight = self.confidence.ravel() * (self.confidence.ravel() > 0.5)
        if not weight.any():
            return None
        cells = weight @ self.transform.grid.cells[None] / weight.sum()
        return self.transform.to_points(cells, clip=True)[0]

    def describe(self) -> str:
        """The heading in words, in one line."""
        if self.centre is None:
            return "no object whose sides are known"
        x, _, z = self.heading
        ways = ("the image's right", "the image's left", "away from the camera", "the camera")
        way = ways[int(np.argmax([x, -x, z, -z]))]
        return f"faces {way} (confidence {float(np.linalg.norm(self.heading)):.2f})"

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON: one entry a valid cell."""
        rows = self.transform.valid_cells.ravel()
        columns = {
            name: getattr(self, name).ravel()[rows].tolist()
            for name in ("left", "right", "confidence")
        }
        points = self.transform.to_points(self.transform.grid.cells)[rows].tolist()
        region = self.transform.region
        shown = {} if region is None else {"region": region.to_list()}
        return {"points": points, **columns, "facing": list(self.heading), **shown}

    def __repr__(self) -> str:
        return f"Sides({self.describe()})"

    @property
    def _stacked(self) -> Float[np.ndarray, "H W 3"]:
        return np.stack([self.left, self.right, self.confidence], axis=-1)

    def _drawing(self) -> Image.Image:
        from homolog.viz import plot_sides

        return plot_sides(present(self.image0), self)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        recognised = self.confidence > 0.5
        left = recognised & (self.left > 0.5)
        shares = (recognised.mean(), left.mean(), (recognised & ~left).mean())
        return ["share of the cells", ""], [
            [name, f"{share:.0%}"]
            for name, share in zip(("object", "its left", "its right"), shares, strict=True)
        ]
