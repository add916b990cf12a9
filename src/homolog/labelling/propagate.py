"""Label propagation: the keypoints of a few labelled images predicted for a folder of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import label_files
from homolog.data.boxes import BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.data.formats import yolo
from homolog.data.formats.document import WriteOptions
from homolog.data.labels import EXTRA, Labels
from homolog.errors import HomologError
from homolog.image import reading
from homolog.labelling.annotator import AnnotateConfig, Annotator, Record, own_objects
from homolog.labelling.coco_output import Summary, make_document
from homolog.labelling.edits import with_categories
from homolog.matcher import Matcher
from homolog.utils.outputs import check_output
from homolog.utils.prefetch import prefetch
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import ResumeLog
from homolog.utils.serialization import to_plain

_NUM_WORKERS = 2
_PREFETCHED = 4  # images that may wait, as large as the backbone sees them

Executor = Callable[[Sequence[Path], Callable[[Path], str]], Iterator[Record]]
"""Annotates images: from their paths, and a function that names each, to a record of each."""


def annotate(
    matcher: Matcher,
    exemplars: ExemplarSet,
    folder: Path,
    out: Path,
    *,
    config: AnnotateConfig = AnnotateConfig(),
    boxes: BoxSet | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
) -> Summary:
    """Predict the keypoints of labelled images for all images in a folder, as a COCO file.

    Every image goes through the backbone once, or every object in it, where boxes are given or
    found. Its record is written at once, to OUT.partial; an interrupted run resumes from there.
    Objects that are exemplars themselves keep their labels. Of an OUT that is overwritten is kept
    what somebody did to it: keypoints reviewed, moved or added, boxes drawn or changed, objects
    deleted; so are members that are not known here, and all annotations of images that cannot be
    read any more.

    Args:
        matcher: extracts the descriptors.
        exemplars: the labelled images.
        folder: of the images, searched with all folders below.
        out: the file to write: COCO (`.json`, `homolog.data.labels`), which alone can be reviewed
            and overwritten; a table (`.csv`); or a YOLO-pose data set (`.yaml`), whose text files
            lie where Ultralytics looks for them.
        config: which keypoints are doubtful, and how objects are looked at.
        boxes: the objects of the images, each of which is labelled; those of images that are not in
            the folder are left alone.
        overwrite: whether `out` may exist.
        executor: how the images are annotated; `local_executor` by default.

    Raises:
        HomologError: there are no images, none of them has a box, `out` exists or cannot be
            written, or OUT.partial is another run's.
    """
    if boxes is not None and config.max_objects is not None:
        raise HomologError("max_objects: expected none with boxes, got both")
    out = check_output(out, (".json", ".csv", ".yaml", ".yml"))
    kind = out.suffix.lower()
    if out.exists() and kind != ".json":
        # What was edited by hand cannot be told from what was predicted.
        raise HomologError(f"out: expected a file that does not exist, got {out}")
    if out.exists() and not overwrite:
        raise HomologError(
            f"out: expected a file that does not exist, got {out}; try --overwrite, which keeps "
            "what was edited by hand"
        )
    previous = _read_previous(out, exemplars) if out.exists() else None
    files = reading.find_images([folder], "images")
    if not files:
        raise HomologError(f"images: expected a folder with images, got {folder}")

    if kind in (".yaml", ".yml"):
        _check_yolo(files)

    def name_of(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    if boxes is not None and not any(boxes.of(path) for path in files):
        raise HomologError(f"boxes: expected some in images of {folder}, got none")
    # Where an image may show several objects, one may be an exemplar and another not.
    done = set() if boxes is not None or config.max_objects else set(own_objects(exemplars))
    log = ResumeLog(
        out.with_name(f"{out.name}.partial"),
        "file_name",
        header=_describe_run(matcher, exemplars, config, boxes),
        restart=overwrite,
    )
    remaining = [p for p in files if name_of(p) not in log.records and p.resolve() not in done]
    if remaining:
        run = executor or local_executor(matcher, exemplars, config, boxes)
        with log, ProgressBar(len(remaining)) as progress:
            for completed, record in enumerate(run(remaining, name_of)):
                progress.update("labelling", completed)
                log.append(record)
    data, summary = make_document(files, name_of, log.records, exemplars, previous)
    if kind != ".json":
        label_files.write(out, data, WriteOptions(folder))
    else:
        Labels(data).write(out)
    log.remove()
    return summary


def _read_previous(path: Path, exemplars: ExemplarSet) -> Labels:
    """Labels that are to be overwritten, with the categories of the exemplars.

    Raises:
        HomologError: they cannot be read, or what was edited in them cannot be kept.
    """
    labels = Labels.read(path)
    for member in {"info", EXTRA} & set(labels.data):
        if not isinstance(labels.data[member], dict):
            raise HomologError(f"{path}: {member}: expected an object, got {labels.data[member]!r}")
    return with_categories(labels, exemplars.categories)


def local_executor(
    matcher: Matcher,
    exemplars: ExemplarSet,
    config: AnnotateConfig,
    boxes: BoxSet | None = None,
) -> Executor:
    """An executor that annotates in this process, with threads that prefetch the images.

    Args:
        matcher: extracts the descriptors.
        exemplars: the labelled images.
        config: which keypoints are doubtful, and how objects are looked at.
        boxes: the objects of the images.
    """

    def run(files: Sequence[Path], name_of: Callable[[Path], str]) -> Iterator[Record]:
        annotator = Annotator(matcher, exemplars, config, boxes)
        jobs = (partial(annotator.load, path) for path in files)
        for path, image in zip(files, prefetch(jobs, _NUM_WORKERS, _PREFETCHED), strict=True):
            yield annotator.record(name_of(path), image)

    return run


def _check_yolo(files: Sequence[Path]) -> None:
    """Refuse to replace labels of images."""
    present = [path for path in map(yolo.label_path, files) if path.exists()]
    if present:
        raise HomologError(
            f"out: expected images without YOLO labels, got {present[0]}; try a name ending in "
            ".json or .csv"
        )


def _describe_run(
    matcher: Matcher, exemplars: ExemplarSet, config: AnnotateConfig, boxes: BoxSet | None
) -> dict[str, Any]:
    """Everything that decides on the records, to tell one run from another."""
    digest = hashlib.sha256(json.dumps(list(exemplars.categories), sort_keys=True).encode())
    for annotation in exemplars.annotations:
        digest.update(f"{annotation.name} {annotation.category} {annotation.box}".encode())
        digest.update(np.nan_to_num(annotation.keypoints, nan=-1.0).tobytes())
    # What is not used is left out, so that runs that began before it was there can be resumed.
    objects: dict[str, Any] = {"zoom": config.zoom, "max_objects": config.max_objects}
    if boxes is not None:
        listed = [
            f"{path} {each.instance!r} {each.box} {each.category} {each.mask is not None}"
            for path, several in sorted(boxes.objects.items())
            for each in several
        ]
        objects["boxes_sha256"] = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return {
        "exemplars": len(exemplars.annotations),
        "exemplars_sha256": digest.hexdigest(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in config.poses],
        "review": config.review,
        **{name: value for name, value in objects.items() if value is not None},
    }
