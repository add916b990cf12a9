"""Labels of sleap-io as COCO documents, and documents as labels of sleap-io.

Frames of image lists are images. Frames of videos are images, too, which are looked up under the
names that frames are usually written under (`clip/img000012.png`); frames packed into a file of
labels need no other file.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import (
    Document,
    DocumentBuilder,
    LabelFile,
    ReadOptions,
    WriteOptions,
    box_of_keypoints,
)
from homolog.data.formats.entries import as_instance
from homolog.data.formats.poses.members import (
    category_members,
    keypoint_rows,
    posed,
    predicted_members,
    predicted_scores,
    reviewed_keypoints,
    skeleton_edges,
    symmetric_pairs,
)
from homolog.data.formats.poses.sleap_images import SleapImages
from homolog.data.labels import EXTRA
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError
from homolog.utils.optional import require

WRITER = "writer"
"""The entry of a file's provenance that names the program which wrote it."""

_BOX_DIGITS = 0.01  # pixels by which a box differs from the one around the keypoints, if it does


def read_labels(
    path: Path, labels: Any, options: ReadOptions, *, reviewed_by_point: bool = False
) -> LabelFile:
    """The document of sleap-io's labels.

    Args:
        path: of their file.
        labels: of sleap-io.
        options: where images are.
        reviewed_by_point: whether only points marked complete were reviewed, in instances that
            were predicted first; otherwise all were.

    Raises:
        HomologError: an image that was found cannot be read.
    """
    categories = _Categories(labels)
    builder = DocumentBuilder(categories.entries)
    images = SleapImages(path, options, builder)
    for frame in labels.labeled_frames:
        image = images.add(frame)
        boxes = {id(box.instance): box.xywh for box in frame.bboxes if not box.is_rotated}
        for instance in counted_instances(frame):
            members = _members(instance, reviewed_by_point)
            if instance.track is not None and instance.track.name:
                members["instance_id"] = as_instance(str(instance.track.name))
            box = boxes.get(id(instance))
            names = instance.skeleton.node_names
            points = dict(zip(names, _rows(instance), strict=True))
            builder.add_annotation(image, categories.name(instance), points, box, **members)
    for line in images.notes():
        builder.note(line)
    return builder.build()


def make_labels(document: Document, options: WriteOptions, *, backends: bool = False) -> Any:
    """The labels of sleap-io that hold a document.

    Args:
        document: the labels.
        options: the folder of images.
        backends: give videos a backend each, even where their files are missing.
    """
    sleap_io = require("sleap_io", "pose")
    skeletons = {
        category["id"]: sleap_io.Skeleton(
            nodes=list(category["keypoints"]),
            edges=skeleton_edges(category),
            symmetries=[
                (category["keypoints"][a], category["keypoints"][b])
                for a, b in symmetric_pairs(category)
            ],
            name=str(category["name"]),
        )
        for category in document["categories"]
        if category.get("keypoints")
    }
    frames = _frames(document, options, backends)
    tracks: dict[str, Any] = {}
    sizes = {
        image["id"]: (image["width"], image["height"])
        for image in document["images"]
        if image.get("width") and image.get("height")
    }
    for annotation in posed(document):
        skeleton = skeletons[annotation["category_id"]]
        frame = frames[annotation["image_id"]]
        track = None
        if annotation.get("instance_id") is not None:
            name = str(annotation["instance_id"])
            track = tracks.setdefault(name, sleap_io.Track(name))
        instance = _instance(annotation, skeleton, track)
        frame.instances.append(instance)
        if instance.from_predicted is not None:  # which files keep only beside it
            frame.instances.append(instance.from_predicted)
        rows, box = keypoint_rows(annotation), annotation.get("bbox")
        if box is not None and not np.allclose(
            box, box_of_keypoints(rows, sizes.get(annotation["image_id"])), atol=_BOX_DIGITS
        ):
            model = require("sleap_io.model.bbox", "pose")
            frame.bboxes.append(model.UserBoundingBox.from_xywh(*box, instance=instance))
    return sleap_io.Labels(
        list(frames.values()),
        videos=list({id(frame.video): frame.video for frame in frames.values()}.values()),
        skeletons=list(skeletons.values()),
        tracks=list(tracks.values()),
        provenance={WRITER: "homolog"},
    )


def counted_instances(frame: Any) -> list[Any]:
    """The instances of a frame that count: predicted ones only where nobody corrected them."""
    return [*frame.user_instances, *frame.unused_predictions]


def _rows(instance: Any) -> list[tuple[float, float, int]]:
    """x, y and v of each node of an instance."""
    rows = []
    for (x, y), visible in zip(instance.points["xy"], instance.points["visible"], strict=True):
        known = bool(np.isfinite([x, y]).all())
        rows.append((float(x), float(y), 2 if visible else 1) if known else (0.0, 0.0, 0))
    return rows


def _members(instance: Any, reviewed_by_point: bool) -> dict[str, Any]:
    """What is known of how an instance was predicted; nothing if it was made by hand."""
    origin = instance if hasattr(instance, "score") else instance.from_predicted
    if origin is None:
        return {}
    reviewed: list[int] = []
    if origin is not instance:
        if len(origin.points) != len(instance.points):
            return {}
        complete = np.asarray(instance.points["complete"], dtype=bool)
        reviewed = np.flatnonzero(
            complete if reviewed_by_point else np.full_like(complete, True)
        ).tolist()
    # Files hold it with single precision.
    score = None if origin.score is None else round(float(origin.score), 6)
    return predicted_members(
        _rows(origin), np.asarray(origin.points["score"]).tolist(), score, reviewed
    )


def _instance(annotation: Mapping[str, Any], skeleton: Any, track: Any) -> Any:
    """An annotation as an instance of sleap-io: predicted where nobody has reviewed it."""
    sleap_io = require("sleap_io", "pose")
    rows = keypoint_rows(annotation)
    scores, reviewed = predicted_scores(annotation), reviewed_keypoints(annotation)
    predicted = None
    if scores is not None:
        flat = annotation[EXTRA]["predicted"] if reviewed != set() else annotation["keypoints"]
        predicted = sleap_io.PredictedInstance.from_numpy(
            _positions(np.reshape(flat, (-1, 3))),
            skeleton,
            point_scores=np.array(scores),
            score=float(annotation.get("score") or 0.0),
            track=track,
        )
        _hide(predicted, np.reshape(flat, (-1, 3)))
        if reviewed == set():
            return predicted
    instance = sleap_io.Instance.from_numpy(_positions(np.array(rows)), skeleton, track=track)
    _hide(instance, np.array(rows))
    instance.from_predicted = predicted
    marked = list(range(len(rows))) if reviewed is None else sorted(reviewed)
    instance.points["complete"][marked] = True
    return instance


def _positions(rows: np.ndarray) -> np.ndarray:
    return np.where(rows[:, 2:] > 0, rows[:, :2], np.nan)


def _hide(instance: Any, rows: np.ndarray) -> None:
    """Mark occluded points as not visible; they keep their positions."""
    instance.points["visible"] = rows[:, 2] == 2


class _Categories:
    """The categories that the skeletons of labels stand for.

    Attributes:
        entries: as in a COCO file.
    """

    def __init__(self, labels: Any):
        self._names: dict[tuple[int, str | None], str] = {}
        self.entries: list[dict[str, Any]] = []
        taken: set[str] = set()
        skeletons = {id(skeleton): skeleton for skeleton in labels.skeletons}
        used = {
            (id(each.skeleton), each.category.name if each.category else None)
            for frame in labels.labeled_frames
            for each in counted_instances(frame)
        }
        for key, skeleton in skeletons.items():
            kinds = sorted((kind for of, kind in used if of == key), key=str) or [None]
            for kind in kinds:
                wanted = str(kind or skeleton.name or "object")
                numbered = (f"{wanted} {number}" for number in itertools.count(2))
                name = (
                    wanted if wanted not in taken else next(n for n in numbered if n not in taken)
                )
                taken.add(name)
                self._names[key, kind] = name
                members = category_members(
                    skeleton.node_names, skeleton.edge_inds, skeleton.symmetry_inds
                )
                self.entries.append({"id": len(self.entries) + 1, "name": name, **members})

    def name(self, instance: Any) -> str:
        """Of the category of an instance."""
        kind = instance.category.name if instance.category else None
        return self._names[id(instance.skeleton), kind]


def _frames(document: Document, options: WriteOptions, backends: bool) -> dict[Any, Any]:
    """A labelled frame of sleap-io for each image of a document, by the image's id."""
    sleap_io = require("sleap_io", "pose")
    finder = None if options.images is None else ImageFinder(options.images, options.images)
    lists: dict[tuple[Any, Any], list[str]] = {}
    places: dict[Any, tuple[Any, int]] = {}
    for image in document["images"]:
        size = image.get("width"), image.get("height")
        if "video" in image and "frame" in image:
            places[image["id"]] = str(image["video"]), int(image["frame"])
            continue
        names = lists.setdefault(size, [])
        names.append(_path(str(image["file_name"]), finder))
        places[image["id"]] = size, len(names) - 1
    videos: dict[Any, Any] = {}
    for image in document["images"]:
        source, _ = places[image["id"]]
        if source not in videos:
            filename = lists.get(source, source)
            videos[source] = _video(sleap_io, filename, image, backends)
    return {
        number: sleap_io.LabeledFrame(videos[source], index)
        for number, (source, index) in places.items()
    }


def _path(name: str, finder: ImageFinder | None) -> str:
    """Where an image is, if that is known, or else its name."""
    try:
        return name if finder is None else str(finder.find(name).absolute())
    except HomologError:
        return name


def _video(sleap_io: Any, filename: Any, image: Mapping[str, Any], backends: bool) -> Any:
    """A video, or a list of images, of sleap-io."""
    listed = isinstance(filename, list)
    metadata: dict[str, Any] = {
        "type": "ImageVideo" if listed else "MediaVideo",
        "filename": filename[0] if listed else filename,
        "grayscale": False,
    }
    if listed:
        metadata["filenames"] = filename
    if image.get("width") and image.get("height"):
        count = len(filename) if listed else int(image["frame"]) + 1
        metadata["shape"] = [count, int(image["height"]), int(image["width"]), 3]
    video = sleap_io.Video(filename=filename, backend_metadata=metadata, open_backend=False)
    if backends:
        module = require("sleap_io.io.video_reading", "pose")
        kind = module.ImageVideo if listed else module.MediaVideo
        video.backend = kind(filename=filename)
    return video
