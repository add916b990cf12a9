"""Fixed points: matches that are known, because somebody labelled both of their ends."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.data.exemplars import ExemplarSet
from homolog.data.pairs import Annotation
from homolog.data.reading import abbreviate
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.mining import PseudoMatches
from homolog.training.adaptation.sampler import Labels
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher, object_size

_PARTNERS = 50  # labelled images that each is paired with, about, where there are many
_Vote = tuple[int, Int[np.ndarray, "..."], Float[np.ndarray, "_R 2"]]
_NEAREST_CELL = 0.75  # in cells: so near a cell's centre lies to any point


def labelled_objects(exemplars: ExemplarSet) -> tuple[list[Annotation], list[str]]:
    """The labelled objects that are alone in their images, and notes on what is left out.

    Where an image shows several objects, a keypoint has as many right matches in it, of which its
    label is only one.

    Args:
        exemplars: the labelled objects.
    """
    objects = Counter(annotation.path.resolve() for annotation in exemplars.annotations)
    if exemplars.file is not None:
        listed = Counter(entry["image_id"] for entry in exemplars.file.document["annotations"])
        for image, path in exemplars.file.paths.items():
            objects[path.resolve()] = max(objects[path.resolve()], listed[image])
    alone, shared = list[Annotation](), dict[str, None]()
    for annotation in exemplars.annotations:
        if objects[annotation.path.resolve()] == 1:
            alone.append(annotation)
        else:
            shared[str(annotation.path)] = None
    notes = []
    if shared:
        notes.append(
            f"images of several objects, whose labels are no fixed points: {abbreviate(shared)}"
        )
    counts = Counter(annotation.category for annotation in alone)
    if not any(count > 1 for count in counts.values()):
        notes.append(
            "no two labelled images show one object each of the same category, so that no matches "
            "are known: the labels are no fixed points"
        )
    return alone, notes


def digest(objects: Iterable[Annotation]) -> str:
    """Identifies labels, to tell one run from another.

    Args:
        objects: the labelled objects.
    """
    found = hashlib.sha256()
    for annotation in objects:
        line = f"{annotation.path.resolve()} {annotation.category} {annotation.box}"
        found.update(line.encode(errors="surrogatepass"))  # names of files are bytes
        found.update(np.nan_to_num(annotation.keypoints, nan=-1.0).tobytes())
    return found.hexdigest()


class FixedPoints:
    """The labelled keypoints of the images in a store, and the matches among them.

    In a batch all views are mirrored or none, so that a left keypoint is trained to match the left
    one of another image, or in mirrored views what has become the right one in both: matches stay
    right whether it is known which keypoints are counterparts or not.

    Args:
        objects: labelled objects, one an image; those whose images are not in the store, and
            keypoints beyond their images, are passed over.
        store: the images.

    Attributes:
        keypoints: of each labelled image, by its index: (x, y) in cells; NaN if not visible.
        categories: of the objects, by the index of their images.
        sizes: of the objects' boxes, in cells, along the longer edge; likewise.
        labels: the matches of pairs of images with keypoints in common.
    """

    def __init__(self, objects: Sequence[Annotation], store: ImageStore):
        self.keypoints: dict[int, Float[np.ndarray, "K 2"]] = {}
        self.categories: dict[int, str] = {}
        self.sizes: dict[int, float] = {}
        indices = {path.resolve(): index for index, path in enumerate(store.paths)}
        for annotation in objects:
            if (index := indices.get(annotation.path.resolve())) is None:
                continue
            transform = store.transform(index)
            points = annotation.keypoints.astype(float)
            with np.errstate(invalid="ignore"):
                inside = ((points >= 0) & (points <= transform.size)).all(1)
            if not inside.any():
                continue
            cells = transform.to_cells(points)
            cells[~inside] = np.nan
            corners = transform.to_cells(np.array(annotation.box, dtype=float).reshape(2, 2))
            self.keypoints[index] = cells
            self.categories[index] = annotation.category
            self.sizes[index] = float(np.abs(corners[1] - corners[0]).max())
        self.labels = [
            found
            for category in dict.fromkeys(self.categories.values())
            for found in self._pairs([i for i, own in self.categories.items() if own == category])
        ]

    def _pairs(self, indices: Sequence[int]) -> Iterable[Labels]:
        """The matches of labelled images of one category with each other, each pair once."""
        count = len(indices)
        apart = np.arange(1, count // 2 + 1)
        if len(apart) > _PARTNERS // 2:
            apart = np.linspace(1, count // 2, _PARTNERS // 2).astype(int)
        pairs = {
            (min(i, j), max(i, j)): None
            for step in apart.tolist()
            for i, j in ((i, (i + step) % count) for i in range(count))
        }
        for i, j in pairs:
            source, target = indices[i], indices[j]
            cells0, cells1 = self.keypoints[source], self.keypoints[target]
            both = np.isfinite(cells0[:, 0]) & np.isfinite(cells1[:, 0])
            if both.any():
                yield Labels(source, target, cells0[both], cells1[both], fixed=True)


def contradicting(
    matches: Sequence[PseudoMatches],
    kept: Sequence[Bool[np.ndarray, "..."]],
    fixed: FixedPoints,
    teacher: Teacher,
    config: MiningConfig,
) -> list[Bool[np.ndarray, "..."]]:
    """Which kept matches contradict fixed points.

    A match between labelled images does that if one end is at a keypoint, and the other far from
    the same keypoint. Matches of a keypoint from several labelled images with an unlabelled one
    should end at one place: those from an image that leads elsewhere than most others do
    contradict, and where just two disagree, those of both.

    Args:
        matches: of pairs of images.
        kept: which of them passed the filter.
        fixed: the labelled keypoints.
        teacher: knows the objects' sizes.
        config: has the tolerances: an end is at the nearest keypoint if it is within that of
            cycles, and far from it beyond that of cycles and affine maps together.
    """
    wrong = [np.zeros(len(each), dtype=bool) for each in matches]
    far = config.cycle_tolerance + config.affine_tolerance
    # By unlabelled image, category and keypoint, for each labelled image: rows of pairs, and ends.
    votes: dict[tuple[int, str, int], dict[int, list[_Vote]]]
    votes = defaultdict(lambda: defaultdict(list))
    for number, each in enumerate(matches):
        ends = (each.source, each.source_cells), (each.target, each.target_cells)
        for (image, cells), (other, other_cells) in (ends, ends[::-1]):
            if image not in fixed.keypoints:
                continue
            category = fixed.categories[image]
            if fixed.categories.get(other, category) != category:
                continue
            radius = max(_NEAREST_CELL, config.cycle_tolerance * fixed.sizes[image])
            points = fixed.keypoints[image]
            apart = np.linalg.norm(cells[:, None] - np.nan_to_num(points, nan=np.inf), axis=-1)
            at_keypoint = kept[number] & (apart.min(1) <= radius)
            nearest = apart.argmin(1)
            if other in fixed.keypoints:
                truth = fixed.keypoints[other][nearest]  # no distance is large if it is NaN
                away = np.linalg.norm(other_cells - truth, axis=1)
                wrong[number] |= at_keypoint & (away > far * fixed.sizes[other])
                continue
            for keypoint in np.unique(nearest[at_keypoint]).tolist():
                rows = np.flatnonzero(at_keypoint & (nearest == keypoint))
                vote = number, rows, other_cells[rows]
                votes[other, category, keypoint][image].append(vote)
    for (image, *_), by_image in votes.items():
        if len(by_image) < 2:
            continue
        size = object_size(teacher.object_cells(teacher.descriptor_map(image)))
        several = list(by_image.values())
        centres = np.array([np.median(np.concatenate([v[2] for v in e]), axis=0) for e in several])
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1)
        disagreeing = (apart > far * size).sum(1)
        for own, count in zip(several, disagreeing.tolist(), strict=True):
            if count > len(several) - 1 - count:
                for number, rows, _ in own:
                    wrong[number][rows] = True
    return wrong
