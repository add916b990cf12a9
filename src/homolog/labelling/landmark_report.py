"""Reports on landmarks: their errors against other labels of the same images, and their shapes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.optimize import linear_sum_assignment

from homolog.data.formats.document import LabelFile
from homolog.data.formats.landmarks.curves import curves_of
from homolog.errors import HomologError
from homolog.labelling.morphometrics import (
    Superimposition,
    object_lengths,
    repeatability,
    superimpose,
)
from homolog.utils.outputs import write_text_atomically

_SCALE = "SCALE"
"""The attribute by which pixels are multiplied for the file's units, as TPS files have it."""


@dataclass(frozen=True, eq=False)
class LabelledShapes:
    """The objects of one category of a file of labels.

    Attributes:
        names: of the keypoints.
        images: the name of each object's image.
        places: what that image is known by in other files: its path where it was found, and
            otherwise its name.
        instances: the instance id of each object, None where the file has none.
        points: x and y in pixels, NaN where unlabelled.
        scales: by which pixels become the file's units, NaN where the file has none.
        curves: the keypoints along each curve.
    """

    names: Sequence[str]
    images: Sequence[str]
    places: Sequence[str]
    instances: Sequence[Any]
    points: Float[np.ndarray, "N K 2"]
    scales: Float[np.ndarray, "N"]
    curves: Sequence[Sequence[int]] = ()


def shapes_of(labels: LabelFile, category: str | None = None) -> LabelledShapes:
    """The objects of a category of a file of labels, those without keypoints left out.

    Args:
        labels: the file.
        category: its name; by default the only one with labelled keypoints.

    Raises:
        HomologError: there is none, or several and none is named.
    """
    document = labels.document
    rows = [
        (entry, np.array(entry["keypoints"], dtype=float).reshape(-1, 3))
        for entry in document["annotations"]
        if entry.get("keypoints")
    ]
    labelled = [(entry, points) for entry, points in rows if (points[:, 2] > 0).any()]
    used = {entry["category_id"] for entry, _ in labelled}
    categories = [each for each in document["categories"] if each["id"] in used]
    if category is not None:
        categories = [each for each in categories if each["name"] == category]
    if len(categories) != 1:
        listed = ", ".join(str(each["name"]) for each in document["categories"]) or "none"
        raise HomologError(
            f"category: expected the name of one category with labelled keypoints, got {category} "
            f"of {listed}"
        )
    (chosen,) = categories
    of_category = [each for each in labelled if each[0]["category_id"] == chosen["id"]]
    names = {image["id"]: str(image["file_name"]) for image in document["images"]}
    ids = [entry["image_id"] for entry, _ in of_category]
    images = [names[each] for each in ids]
    places = [
        str(labels.paths[each].resolve()) if each in labels.paths else names[each] for each in ids
    ]
    points = np.array([np.where(p[:, 2:] > 0, p[:, :2], np.nan) for _, p in of_category])
    scales = np.array([_scale(entry) for entry, _ in of_category])
    instances = [entry.get("instance_id") for entry, _ in of_category]
    keypoints = [str(name) for name in chosen["keypoints"]]
    return LabelledShapes(keypoints, images, places, instances, points, scales, curves_of(chosen))


def _scale(entry: Mapping[str, Any]) -> float:
    attributes = entry.get("attributes")
    given = attributes.get(_SCALE) if isinstance(attributes, dict) else None
    try:
        scale = float(str(given).replace(",", "."))
    except ValueError:
        return math.nan
    return scale if math.isfinite(scale) and scale > 0 else math.nan


@dataclass(frozen=True, eq=False)
class LandmarkReport:
    """What is known of the landmarks of a file of labels.

    Attributes:
        shapes: of the file; with `truth`, of the objects that are in both.
        superimposition: of these shapes.
        errors: distances in pixels between the landmarks of both files; None without truth.
        lengths: the largest distance between two landmarks of each object, in pixels, by the truth
            where it is given.
        scales: of each object, NaN where neither file has one.
        repeatability: of the whole shape, and of each landmark; None without truth.
        notes: what was left out.
    """

    shapes: LabelledShapes
    superimposition: Superimposition
    errors: Float[np.ndarray, "N K"] | None
    lengths: Float[np.ndarray, "N"]
    scales: Float[np.ndarray, "N"]
    repeatability: tuple[float, Float[np.ndarray, "K"]] | None
    notes: tuple[str, ...] = ()

    @property
    def relative_errors(self) -> Float[np.ndarray, "N K"] | None:
        """The errors as shares of the length of their object."""
        return None if self.errors is None else self.errors / self.lengths[:, None]

    def landmark_rows(self) -> list[dict[str, Any]]:
        """A row for each landmark, the last one for all of them."""
        rows = []
        mean, residuals = self.superimposition.mean, self.superimposition.residuals
        for number, name in enumerate([*self.shapes.names, "all"]):
            chosen = slice(None) if name == "all" and number == len(mean) else [number]
            row: dict[str, Any] = {
                "landmark": name,
                "labelled": int(np.isfinite(self.shapes.points[:, chosen, 0]).sum()),
            }
            if number < len(mean):
                row |= {"mean_x": mean[number, 0], "mean_y": mean[number, 1]}
            row["residual"] = _root_mean_square(residuals[:, chosen])
            if self.errors is not None and self.repeatability is not None:
                shares = 100 * self.errors[:, chosen] / self.lengths[:, None]
                pixels = self.errors[:, chosen]
                units = pixels * self.scales[:, None]
                overall, each = self.repeatability
                row |= {
                    "compared": int(np.isfinite(pixels).sum()),
                    "error_percent": _mean(shares),
                    "median_error_percent": _quantile(shares, 0.5),
                    "error_percent_95": _quantile(shares, 0.95),
                    "error_pixels": _mean(pixels),
                    "error_units": _mean(units),
                    "repeatability": overall if number == len(mean) else each[number],
                }
            rows.append(row)
        return rows

    def object_rows(self) -> list[dict[str, Any]]:
        """A row for each object."""
        distances, sizes = self.superimposition.distances, self.superimposition.centroid_sizes
        rows = []
        for number, image in enumerate(self.shapes.images):
            scale = self.scales[number]
            instance = self.shapes.instances[number]
            row = {
                "image": image,
                "instance": "" if instance is None else instance,
                "length_pixels": self.lengths[number],
                "length_units": self.lengths[number] * scale,
                "centroid_size_pixels": sizes[number],
                "centroid_size_units": sizes[number] * scale,
                "procrustes_distance": distances[number],
            }
            if self.errors is not None:
                row["error_percent"] = _mean(100 * self.errors[number] / self.lengths[number])
                row["error_units"] = _mean(self.errors[number] * scale)
            rows.append(row)
        return rows

    def summary(self) -> str:
        """The report in one line."""
        count, landmarks = self.shapes.points.shape[:2]
        row = self.landmark_rows()[-1]
        parts = [f"{count} objects, {landmarks} landmarks"]
        if self.errors is not None:
            units = row["error_units"]
            parts.append(
                f"mean error {row['error_percent']:.2f} % of the object's length"
                + ("" if math.isnan(units) else f", {units:.4g} in the file's units")
            )
            if not math.isnan(row["repeatability"]):
                parts.append(f"repeatability {row['repeatability']:.3f}")
        parts.append(f"residuals {100 * row['residual']:.2f} % of the centroid size")
        return "; ".join(parts)

    def plot(self) -> Image.Image:
        """The mean shape with all objects laid over it, and the error or residual of landmarks."""
        from homolog.viz.landmarks import plot_shapes

        rows = self.landmark_rows()[:-1]
        if self.errors is None:
            values = [100 * row["residual"] for row in rows]
            label = "residual, % of the centroid size"
        else:
            values = [row["error_percent"] for row in rows]
            label = "mean error, % of the object's length"
        return plot_shapes(
            self.superimposition.mean, self.superimposition.aligned, self.shapes.names,
            np.array(values, dtype=float), label, self.shapes.curves, self.summary(),
        )  # fmt: skip

    def write_csv(self, path: Path) -> Path:
        """Write the rows of landmarks to a table, and those of objects to one beside it.

        Returns:
            The path of the table of objects.

        Raises:
            HomologError: one of them cannot be written.
        """
        beside = path.with_name(f"{path.stem}_objects.csv")
        write_text_atomically(beside, _table(self.object_rows()))
        write_text_atomically(path, _table(self.landmark_rows()))
        return beside


def landmark_report(
    labels: LabelFile, truth: LabelFile | None = None, category: str | None = None
) -> LandmarkReport:
    """A report on the landmarks of a file of labels, perhaps against other labels of its images.

    The other labels may be true ones, for errors; or those of another person, of the same one
    later, or predicted from other exemplars, for repeatability.

    Args:
        labels: the file.
        truth: the other labels. Objects are compared that are in both: those of an image with the
            same instance id, and otherwise those that lie nearest.
        category: of the objects; by default the only one that a file has.

    Raises:
        HomologError: a file has no such objects, or both have none, or no keypoints, in common.
    """
    shapes = shapes_of(labels, category)
    if truth is None:
        lengths = object_lengths(shapes.points)
        return LandmarkReport(
            shapes, superimpose(shapes.points), None, lengths, shapes.scales, None
        )
    others = shapes_of(truth, category)
    names = [name for name in shapes.names if name in others.names]
    if not names:
        raise HomologError(
            f"truth: expected keypoints of the same names, got {', '.join(others.names[:5])} and "
            f"not {', '.join(shapes.names[:5])}"
        )
    shapes, others = _with_names(shapes, names), _with_names(others, names)
    pairs = _match(shapes, others)
    if not pairs:
        raise HomologError(
            f"truth: expected labels of the same images, got those of {others.images[0]} and not "
            f"of {shapes.images[0]}"
        )
    first, second = (list(side) for side in zip(*pairs, strict=True))
    notes = []
    if left := len(shapes.images) - len(pairs):
        notes.append(f"objects that the other labels do not have: {left}")
    if left := len(others.images) - len(pairs):
        notes.append(f"objects that only the other labels have: {left}")
    shapes, others = _chosen(shapes, first), _chosen(others, second)
    return LandmarkReport(
        shapes,
        superimpose(shapes.points),
        np.asarray(np.linalg.norm(shapes.points - others.points, axis=2)),
        object_lengths(others.points),
        np.where(np.isfinite(others.scales), others.scales, shapes.scales),
        repeatability(shapes.points, others.points),
        tuple(notes),
    )


def _with_names(shapes: LabelledShapes, names: Sequence[str]) -> LabelledShapes:
    """The same objects with some of their keypoints."""
    chosen = [list(shapes.names).index(name) for name in names]
    new = {old: number for number, old in enumerate(chosen)}
    curves = [[new[p] for p in curve] for curve in shapes.curves if all(p in new for p in curve)]
    return replace(shapes, names=list(names), points=shapes.points[:, chosen], curves=curves)


def _chosen(shapes: LabelledShapes, numbers: Sequence[int]) -> LabelledShapes:
    """Some of the objects."""
    return replace(
        shapes,
        images=[shapes.images[n] for n in numbers],
        places=[shapes.places[n] for n in numbers],
        instances=[shapes.instances[n] for n in numbers],
        points=shapes.points[list(numbers)],
        scales=shapes.scales[list(numbers)],
    )


def _common_places(*sides: Sequence[str]) -> list[list[str]]:
    """What images are known by in two files: names alone where paths differ and names do not."""
    common = set(sides[0]) & set(sides[1])
    named: list[dict[str, str]] = []
    for side in sides:
        names: dict[str, list[str]] = {}
        for place in dict.fromkeys(side):
            if place not in common:
                names.setdefault(PurePath(place).name, []).append(place)
        named.append({name: places[0] for name, places in names.items() if len(places) == 1})
    known = named[0].keys() & named[1].keys()
    renamed = [{places[name]: name for name in known} for places in named]
    return [
        [new.get(place, place) for place in side] for new, side in zip(renamed, sides, strict=True)
    ]


def _match(first: LabelledShapes, second: LabelledShapes) -> list[tuple[int, int]]:
    """Which objects are the same, as pairs of indices in the order of the first."""
    pairs = []
    of_place: dict[str, tuple[list[int], list[int]]] = {}
    for side, places in enumerate(_common_places(first.places, second.places)):
        for number, place in enumerate(places):
            of_place.setdefault(place, ([], []))[side].append(number)
    for ours, theirs in of_place.values():
        by_id = {str(second.instances[n]): n for n in theirs if second.instances[n] is not None}
        for number in list(ours):
            instance = first.instances[number]
            if instance is not None and (found := by_id.pop(str(instance), None)) is not None:
                pairs.append((number, found))
                ours.remove(number)
                theirs.remove(found)
        if ours and theirs:
            apart = np.linalg.norm(
                first.points[ours][:, None] - second.points[theirs][None], axis=3
            )
            seen = np.isfinite(apart)
            mean = np.nansum(apart, axis=2) / np.maximum(seen.sum(axis=2), 1)
            cost = np.where(seen.any(axis=2), mean, 1e9)
            pairs += [
                (ours[i], theirs[j])
                for i, j in zip(*linear_sum_assignment(cost), strict=True)
                if cost[i, j] < 1e9
            ]
    return sorted(pairs)


def _mean(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else math.nan


def _quantile(values: np.ndarray, share: float) -> float:
    seen = values[np.isfinite(values)]
    return float(np.quantile(seen, share)) if len(seen) else math.nan


def _root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(_mean(values**2))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _shown(value) for key, value in row.items()})
    return text.getvalue()


def _shown(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
