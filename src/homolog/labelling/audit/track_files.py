"""Files of tracks, tables and labels of video frames: read, and written with exchanges undone."""

from __future__ import annotations

import copy
import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import label_files
from homolog.data.formats import coco
from homolog.data.formats.document import LabelFile, ReadOptions, WriteOptions
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import reorder_keypoints
from homolog.data.reading import ErrorCollector, unreadable
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema, tell_sides
from homolog.labelling.audit.tracks import TrackFinding, TrackSet
from homolog.utils.outputs import write_text_atomically

_COLUMNS = ("frame", "point", "x", "y")
_Place = tuple[int, InstanceId, int]
"""A frame's number, an instance and a keypoint."""


class TrackFile(ABC):
    """A file of tracks.

    Attributes:
        path: of the file.
        tracks: by category, of the objects in it.
        notes: what was decided in reading, a line each.
    """

    path: Path
    tracks: dict[str, TrackSet]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def write(self, path: Path, findings: Mapping[str, Sequence[TrackFinding]]) -> None:
        """Write the tracks with the exchanges that were found undone.

        Args:
            path: of the file, with the suffix of the one that was read.
            findings: by category.

        Raises:
            HomologError: it cannot be written.
        """


def read_tracks(path: Path, sides: Sequence[str] = ()) -> TrackFile:
    """Read a file of tracks: a table of `homolog track --csv`, or labels of a video's frames.

    Args:
        path: the file.
        sides: which keypoints are left and right, as `homolog.keypoints.tell_sides` takes it.

    Raises:
        HomologError: it cannot be read, or holds no tracks.
    """
    if is_track_table(path):
        return _TrackTable(path, sides)
    return _LabelledFrames(path, sides)


def is_track_table(path: Path) -> bool:
    """Whether a file is a table as `homolog track --csv` writes it.

    Raises:
        HomologError: it is a table that cannot be read.
    """
    return path.suffix.lower() == ".csv" and set(_COLUMNS) <= set(_heading(path))


def _heading(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return next(csv.reader(file), [])
    except OSError as error:
        raise unreadable(path, error) from error


class _TrackTable(TrackFile):
    """The table that `homolog track --csv` writes: a line for each point of each frame."""

    def __init__(self, path: Path, sides: Sequence[str]):
        self.path = path
        try:
            reader = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
            self._rows = list(reader)
        except UnicodeDecodeError:
            raise HomologError(f"labels: expected text in UTF-8, got {path}") from None
        self._columns = list(reader.fieldnames or [])
        places: dict[_Place, tuple[float, float]] = {}
        names = list(dict.fromkeys(row["point"] for row in self._rows))
        for line, row in enumerate(self._rows, start=2):
            try:
                frame, point = int(row["frame"]), names.index(row["point"])
                x, y = (float(row[c]) if row[c] not in ("", None) else np.nan for c in "xy")
            except (ArithmeticError, TypeError, ValueError):
                values = [row[column] for column in _COLUMNS]
                raise HomologError(
                    f"labels: {path}, line {line}: expected a frame, a point, x and y, got {values}"
                ) from None
            if (frame, self._instance(row), point) in places:
                raise HomologError(
                    f"labels: {path}, line {line}: expected each point once in frame {frame}, got "
                    f"{row['point']!r} again"
                )
            places[frame, self._instance(row), point] = x, y
        schema = tell_sides({"": KeypointSchema.from_names(names)}, sides)[""]
        self.tracks = {"": _track_set(path, places, schema, None)}

    def write(self, path: Path, findings: Mapping[str, Sequence[TrackFinding]]) -> None:
        rows = [dict(row) for row in self._rows]
        (schema,) = (tracks.schema for tracks in self.tracks.values())
        for found in _in_order(findings[""]):
            for row in rows:
                if not found.first <= int(row["frame"]) <= found.last:
                    continue
                instance = self._instance(row)
                if found.kind == "identities" and instance in found.instances:
                    other = found.instances[1 - found.instances.index(instance)]
                    row["instance"] = str(other)
                elif found.kind == "sides" and instance == found.instances[0]:
                    mirror = schema.mirror[schema.names.index(row["point"])]
                    row["point"] = schema.names[mirror]
        order = self.tracks[""].instances
        rows.sort(
            key=lambda row: (
                int(row["frame"]),
                order.index(self._instance(row)),
                schema.names.index(row["point"]),
            )
        )
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text_atomically(path, text.getvalue())

    def _instance(self, row: dict[str, str]) -> InstanceId:
        return row.get("instance") or "1"


class _LabelledFrames(TrackFile):
    """Labels of frames of a video, in a format of `homolog.data.label_files` that numbers them."""

    def __init__(self, path: Path, sides: Sequence[str]):
        self.path = path
        self._file: LabelFile = label_files.read(path, ReadOptions())
        self.notes = self._file.notes
        parsed = coco.parse(self._file.document, path, ErrorCollector())
        schemas = tell_sides(
            {c.name: c.schema for c in parsed.categories.values() if c.schema is not None}, sides
        )
        images = {image["id"]: image for image in self._file.document["images"]}
        videos = {str(image["video"]) for image in images.values() if "video" in image}
        if len(videos) > 1:
            raise HomologError(
                f"labels: expected tracks of one video, got {len(videos)} in {path}: "
                f"{', '.join(sorted(videos)[:3])}"
            )
        entries = {entry["id"]: entry for entry in self._file.document["annotations"]}
        places: dict[str, dict[_Place, tuple[float, float]]] = {}
        sizes = {}
        for instance in parsed.instances:
            frame, number = images[instance.image_id].get("frame"), instance.id
            if not isinstance(frame, int):
                raise HomologError(
                    f"labels: expected frames of a video with their numbers, got {path}, whose "
                    f"image {instance.file_name} has none; try homolog labels check without --video"
                )
            own = places.setdefault(instance.category, {})
            name = entries[number].get("instance_id", "1")
            for keypoint, (x, y) in enumerate(instance.keypoints.tolist()):
                if (frame, name, keypoint) in own:
                    raise HomologError(
                        f"labels: {path}, annotation {number}: expected each track once in frame "
                        f"{frame}, got {name!r} again"
                    )
                own[frame, name, keypoint] = x, y
            sizes[instance.category] = instance.size
        if not places:
            raise HomologError(f"labels: expected objects with keypoints, got none in {path}")
        self.tracks = {
            name: _track_set(path, own, schemas[name], sizes[name]) for name, own in places.items()
        }

    def write(self, path: Path, findings: Mapping[str, Sequence[TrackFinding]]) -> None:
        document = copy.deepcopy(self._file.document)
        frames = {image["id"]: image.get("frame") for image in document["images"]}
        categories = {category["id"]: category["name"] for category in document["categories"]}
        for name, several in findings.items():
            mirror = list(self.tracks[name].schema.mirror)
            own = [
                entry
                for entry in document["annotations"]
                if categories.get(entry["category_id"]) == name and entry.get("keypoints")
            ]
            for found in _in_order(several):
                for entry in own:
                    if not found.first <= frames[entry["image_id"]] <= found.last:
                        continue
                    _undo(entry, found, mirror)
        label_files.write(path, document, WriteOptions(), self._file.format)


def _undo(entry: dict[str, Any], found: TrackFinding, mirror: Sequence[int]) -> None:
    """Undo an exchange in an annotation, if it is of one of the animals."""
    instance = entry.get("instance_id", "1")
    if found.kind == "identities" and instance in found.instances:
        entry["instance_id"] = found.instances[1 - found.instances.index(instance)]
    elif found.kind == "sides" and instance == found.instances[0]:
        reorder_keypoints(entry, mirror)


def _in_order(findings: Sequence[TrackFinding]) -> list[TrackFinding]:
    """Identities before sides, which are those of the corrected tracks."""
    return sorted(findings, key=lambda found: found.kind)


def _track_set(
    path: Path,
    places: dict[_Place, tuple[float, float]],
    schema: KeypointSchema,
    size: tuple[int, int] | None,
) -> TrackSet:
    frames = sorted({frame for frame, _, _ in places})
    if len(frames) < 2:
        raise HomologError(
            f"labels: expected tracks in several frames, got {len(frames)} in {path}"
        )
    instances = list(dict.fromkeys(instance for _, instance, _ in places))
    row = {frame: index for index, frame in enumerate(frames)}
    column = {instance: index for index, instance in enumerate(instances)}
    points = np.full((len(frames), len(instances), len(schema), 2), np.nan)
    for (frame, instance, keypoint), point in places.items():
        points[row[frame], column[instance], keypoint] = point
    return TrackSet(tuple(frames), tuple(instances), points, schema, size)
