"""Poses in NWB files (`.nwb`, ndx-pose), through sleap-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.poses.hdf_sizes import check_sizes
from homolog.data.formats.poses.members import without_keypoints
from homolog.data.formats.poses.sleap_labels import make_labels, read_labels
from homolog.data.formats.writing import unheld
from homolog.data.labels import EXTRA, is_manual
from homolog.errors import HomologError
from homolog.utils.optional import require
from homolog.utils.outputs import temporary_output


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read poses: training data, made by hand, or else estimates with their scores.

    Raises:
        HomologError: the file cannot be read or holds no poses, or sleap-io is not installed.
    """
    sleap_io, pynwb = require("sleap_io", "pose"), require("pynwb", "pose")
    try:
        check_sizes(path)
        with pynwb.NWBHDF5IO(str(path), mode="r", load_namespaces=True) as file:
            modules = file.read().processing
            behaviour = modules["behavior"].data_interfaces if "behavior" in modules else {}
            if "PoseTraining" in behaviour:
                labels = _training_data(behaviour["PoseTraining"], behaviour["Skeletons"])
            else:
                labels = sleap_io.load_nwb(str(path))
            return read_labels(path, labels, options)
    except HomologError:
        raise
    except Exception as error:  # malformed bytes raise nearly anything
        reason = " ".join(str(error).split())
        raise HomologError(
            f"{options.argument}: expected an NWB file with poses {path}, got: {reason}"
        ) from None


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as training data of ndx-pose.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: it cannot be written, or sleap-io is not installed.
    """
    notes = unheld(
        document, "NWB", {"keypoints", "num_keypoints"}, {"keypoints", "skeleton"},
        ("video", "frame"),
    )  # fmt: skip
    notes += without_keypoints(document, "NWB")
    annotations = document["annotations"]
    predicted = sum(not is_manual(each) for each in annotations if each.get("keypoints"))
    if predicted:
        notes.append(f"NWB holds no mark of predicted objects among training data: {predicted}")
    occluded = sum((each.get("keypoints") or [])[2::3].count(1) for each in annotations)
    if occluded:
        notes.append(f"NWB holds no occluded keypoints, which are written as visible: {occluded}")
    labels = make_labels(_as_made(document), options, backends=True)
    sleap_io = require("sleap_io", "pose")
    with temporary_output(path, options.argument) as temporary:
        sleap_io.save_nwb(labels, str(temporary), "annotations")
    return notes


def _as_made(document: Document) -> Document:
    """The same labels as if made by hand, with occluded keypoints visible.

    sleap-io would leave these out, and write what was predicted beside what was made of it.
    """
    annotations = []
    for each in document["annotations"]:
        flat = list(each.get("keypoints") or [])
        flat[2::3] = [2 if v else 0 for v in flat[2::3]]
        made = {member: value for member, value in each.items() if member != EXTRA}
        annotations.append({**made, "keypoints": flat})
    return {**document, "annotations": annotations}


def _training_data(training: Any, skeletons: Any) -> Any:
    """The labels of sleap-io that hold training data of ndx-pose.

    sleap-io's own reader takes no lists of images, which its writer makes.
    """
    sleap_io = require("sleap_io", "pose")
    module = require("sleap_io.io.nwb_annotations", "pose")
    series = list(training.source_videos.image_series.values())
    videos = []
    for each in series:
        files = [str(name) for name in each.external_file[:]]
        # A single image is a list, too, for it is no video.
        single = len(files) == 1 and not _is_image(files[0])
        filename: Any = files[0] if single else files
        videos.append(
            sleap_io.Video(filename=filename, open_backend=False, backend_metadata=_metadata(each))
        )
    converted = [
        module.nwb_skeleton_to_sleap_skeleton(each) for each in skeletons.skeletons.values()
    ]
    frames = module.nwb_training_frames_to_sleap_labeled_frames(
        training.training_frames,
        module.create_nwb_to_slp_skeleton_map(skeletons, converted),
        module.create_nwb_to_slp_video_map(series, videos),
    )
    return sleap_io.Labels(frames, videos=videos, skeletons=converted)


def _metadata(series: Any) -> dict[str, Any]:
    """The size of a series' frames, if it has one."""
    dimension = series.dimension
    if dimension is None or not all(dimension[:2]):
        return {}
    width, height = (int(value) for value in dimension[:2])
    return {"shape": [1, height, width, 3]}


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


FORMAT = LabelFormat("nwb", "NWB (ndx-pose)", (".nwb",), read, write)
