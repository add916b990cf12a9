"""Labels of sleap-io as COCO documents, and documents as labels of sleap-io.

Frames of image lists are images. Frames of videos are images, too, which are looked up under the
names that frames are usually written under (`clip/img000012.png`); frames packed into a file of
labels need no other file.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from homolog.data.formats.document import (
    Document,
    DocumentBuilder,
    LabelFile,
    ReadOptions,
    WriteOptions,
    box_of_keypoints,
)
from homolog.data.formats.entries import as_instance
from homolog.data.formats.pose_members import (
    category_members,
    keypoint_rows,
    predicted_members,
    predicted_scores,
    reviewed_keypoints,
    skeleton_edges,
    symmetric_pairs,
)
from homolog.data.labels import EXTRA
from homolog.errors import HomologError
from homolog.image import reading
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
    images = _Images(path, options, builder)
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
    for annotation in document["annotations"]:
        skeleton = skeletons.get(annotation["category_id"])
        if skeleton is None:
            continue
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


@dataclass(frozen=True)
class _Source:
    """Where the image of a frame comes from.

    Attributes:
        name: of its file.
        members: of its entry in a document: the video and the frame's number in it.
        size: width and height, if the file of labels has them.
    """

    name: str
    members: Mapping[str, Any]
    size: tuple[int, int] | None


class _Images:
    """Adds the images of frames to a document.

    Args:
        path: of the file of labels.
        options: where images are.
        builder: of the document.
    """

    def __init__(self, path: Path, options: ReadOptions, builder: DocumentBuilder):
        self._path = path
        self._finder = options.finder(path)
        self._builder = builder
        self._folders: dict[str, str] = {}
        self._packed: Path | None = None
        self._missing: Counter[str] = Counter()

    def add(self, frame: Any) -> int:
        """Add the image of a frame.

        Returns:
            Its id.

        Raises:
            HomologError: it was found, but cannot be read.
        """
        source = self._source(frame)
        try:
            path = self._finder.find(source.name)
            size: tuple[int, int] | None = reading.image_size(path)
        except HomologError as error:
            packed = self._unpack(frame, source.name)
            if packed is None:
                if "video" in source.members:
                    self._missing[str(source.members["video"])] += 1
                return self._builder.add_image(
                    source.name, source.size, missing=str(error), **source.members
                )
            path, size = packed, reading.image_size(packed)
        return self._builder.add_image(source.name, size, path, **source.members)

    def notes(self) -> Iterator[str]:
        """A line for each video whose frames are not there as images."""
        for video, count in self._missing.items():
            yield (
                f"{self._path}: frames of {video} without an image: {count}; they are looked up as "
                f"{self._folders[video]}/img000012.png, with the frame's number from 0"
            )

    def _source(self, frame: Any) -> _Source:
        video = frame.video.source_video or frame.video
        if isinstance(video.filename, list):
            return _Source(str(video.filename[frame.frame_idx]), {}, None)
        name, number = str(video.filename), int(frame.frame_idx)
        if name not in self._folders:
            stem = PurePosixPath(PureWindowsPath(name).name).stem
            numbered = (f"{stem}-{count}" for count in itertools.count(2))
            taken = self._folders.values()
            self._folders[name] = (
                stem if stem not in taken else next(each for each in numbered if each not in taken)
            )
        shape = video.backend_metadata.get("shape")
        size = (int(shape[2]), int(shape[1])) if shape is not None and all(shape[1:3]) else None
        members = {"video": name, "frame": number}
        return _Source(f"{self._folders[name]}/img{number:06d}.png", members, size)

    def _unpack(self, frame: Any, name: str) -> Path | None:
        """Write a frame that is packed into the file to a temporary one; None if it is not.

        Raises:
            HomologError: it cannot be decoded.
        """
        video = frame.video
        if not video.backend_metadata.get("has_embedded_images"):
            return None
        if self._packed is None:
            self._packed = Path(tempfile.mkdtemp(prefix="homolog-frames-"))
            atexit.register(shutil.rmtree, self._packed, ignore_errors=True)
        inside = PureWindowsPath(name)
        path = self._packed / str(len(list(self._packed.iterdir()))) / f"{inside.stem}.png"
        try:
            if not video.is_open:
                video.open()
            pixels = np.asarray(video[frame.frame_idx])
        except Exception as error:  # malformed bytes raise nearly anything
            reason = " ".join(str(error).split())
            raise HomologError(
                f"{self._path}: expected an image for {name}, got: {reason}"
            ) from None
        path.parent.mkdir()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(path)
        return path


def _frames(document: Document, options: WriteOptions, backends: bool) -> dict[Any, Any]:
    """A labelled frame of sleap-io for each image of a document, by the image's id."""
    sleap_io = require("sleap_io", "pose")
    lists: dict[tuple[Any, Any], list[str]] = {}
    places: dict[Any, tuple[Any, int]] = {}
    for image in document["images"]:
        size = image.get("width"), image.get("height")
        if "video" in image and "frame" in image:
            places[image["id"]] = str(image["video"]), int(image["frame"])
            continue
        names = lists.setdefault(size, [])
        name = str(image["file_name"])
        names.append(name if options.images is None else str(options.images.absolute() / name))
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
