"""SLEAP's files (`.slp`), through sleap-io."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.entries import Entries, Entry, corners_around
from homolog.data.formats.poses.hdf_sizes import check_sizes
from homolog.data.formats.poses.members import without_keypoints
from homolog.data.formats.poses.sleap_labels import (
    WRITER,
    counted_instances,
    make_labels,
    read_labels,
)
from homolog.data.formats.writing import unheld
from homolog.data.labels import EXTRA
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.utils.optional import require
from homolog.utils.outputs import temporary_output

_HELD_OF_CATEGORIES = ("keypoints", "skeleton", "flip_indices")


def read_entries(path: Path) -> Entries:
    """The boxes around the keypoints of each instance; instance ids are the names of tracks.

    Where somebody has corrected a predicted instance, only the corrected one counts. Frames of
    video files are left out, for they are no images.

    Raises:
        HomologError: the file cannot be read, all of its frames are a video's, or sleap-io is not
            installed.
    """
    entries, images = [], []
    videos: Counter[str] = Counter()
    for frame in _load(path, "boxes").labeled_frames:
        # Images that are packed into the file have their origin beside them.
        names = (frame.video.source_video or frame.video).filename
        if not isinstance(names, list):
            videos[Path(names).name] += 1
            continue
        image = str(names[frame.frame_idx])
        images.append(image)
        entries += [
            _entry(path, image, at, each)
            for at, each in enumerate(counted_instances(frame), start=1)
        ]
    if videos and not images:
        raise HomologError(
            f"boxes: {path}: expected labelled images, got frames of {abbreviate(videos)}; frames "
            "of a video are no images here, try to write them to files"
        )
    notes = [f"{path}: frames of {name}, which are left out: {n}" for name, n in videos.items()]
    return Entries(entries, images, notes=notes)


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the instances of all labelled frames.

    Tracks are instance ids, edges skeletons and symmetries `flip_indices`. A node that is not
    visible but has a position is occluded. Instances that were predicted keep their scores and do
    not count as made by hand, until somebody corrects them.

    Raises:
        HomologError: the file cannot be read, or sleap-io is not installed.
    """
    labels = _load(path, options.argument)
    by_homolog = labels.provenance.get(WRITER) == "homolog"
    return read_labels(path, labels, options, reviewed_by_point=by_homolog)


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels; images become image lists, one for each size, and frames those of a video.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: it cannot be written, or sleap-io is not installed.
    """
    held = {"keypoints", "num_keypoints", "instance_id", "score", "bbox", EXTRA}
    notes = unheld(document, "SLEAP", held, _HELD_OF_CATEGORIES, ("video", "frame"))
    notes += without_keypoints(document, "SLEAP")
    labels = make_labels(document, options)
    sleap_io = require("sleap_io", "pose")
    with temporary_output(path, options.argument) as temporary:
        sleap_io.save_slp(labels, str(temporary), verbose=False)
    return notes


def _load(path: Path, argument: str) -> Any:
    """The labels of a file, whose videos are not opened."""
    sleap_io = require("sleap_io", "pose")
    try:
        check_sizes(path)
        return sleap_io.load_slp(str(path), open_videos=False)
    except Exception as error:  # malformed bytes raise nearly anything
        reason = " ".join(str(error).split())
        raise HomologError(f"{argument}: expected a SLEAP file {path}, got: {reason}") from None


def _entry(path: Path, image: str, number: int, instance: Any) -> Entry:
    """An instance as an entry of a box.

    Args:
        path: the file.
        image: the name of its image.
        number: of the instance in its image, which names it in messages if it has no track.
        instance: of sleap-io.
    """
    track = None if instance.track is None else str(instance.track.name)
    return Entry(
        f"{path}: {image}, instance {number if track is None else track}",
        image,
        corners_around(np.asarray(instance.numpy())),
        "corners",
        track or None,
        getattr(instance, "score", None),
    )


FORMAT = LabelFormat("sleap", "SLEAP", (".slp",), read, write)
