"""Objects of SLEAP's files (`.slp`): the boxes around the keypoints of each instance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.entries import Entries, Entry, corners_around
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.utils.optional import require


def read(path: Path) -> Entries:
    """Read the instances of labelled images; instance ids are the names of their tracks.

    Where somebody has corrected a predicted instance, only the corrected one counts. Frames of
    video files are left out, for they are no images.

    Raises:
        HomologError: the file cannot be read, all of its frames are a video's, or sleap-io is not
            installed.
    """
    sleap_io = require("sleap_io", "pose")
    try:
        frames = sleap_io.load_slp(str(path), open_videos=False).labeled_frames
    except Exception as error:  # malformed bytes raise nearly anything
        reason = " ".join(str(error).split())
        raise HomologError(f"boxes: expected a SLEAP file {path}, got: {reason}") from None
    entries, images = [], []
    videos: Counter[str] = Counter()
    for frame in frames:
        # Images that are packed into the file have their origin beside them.
        names = (frame.video.source_video or frame.video).filename
        if not isinstance(names, list):
            videos[Path(names).name] += 1
            continue
        image = str(names[frame.frame_idx])
        images.append(image)
        instances = [*frame.user_instances, *frame.unused_predictions]
        entries += [_entry(path, image, at, each) for at, each in enumerate(instances, start=1)]
    if videos and not images:
        raise HomologError(
            f"boxes: {path}: expected labelled images, got frames of {abbreviate(videos)}; frames "
            "of a video are no images here, try to write them to files"
        )
    notes = [f"{path}: frames of {name}, which are left out: {n}" for name, n in videos.items()]
    return Entries(entries, images, notes=notes)


def _entry(path: Path, image: str, number: int, instance: Any) -> Entry:
    """An instance as an entry.

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
