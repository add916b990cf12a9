"""Label propagation: the keypoints of a few labelled images predicted for a folder of images."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data import label_files
from homolog.data.boxes import BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.data.formats import coco, yolo
from homolog.data.formats.document import WriteOptions
from homolog.data.formats.yolo_layout import label_path
from homolog.data.labels import EXTRA, Labels
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import HOW_TO_TELL_SIDES
from homolog.labelling.annotator import AnnotateConfig, Annotator, Record
from homolog.labelling.categories import with_categories, with_keypoints_of
from homolog.labelling.coco_output import Summary, make_document
from homolog.labelling.provenance import file_annotations, is_done, labelled_keypoints, own_objects
from homolog.labelling.records import check_record
from homolog.labelling.review import mark_doubtful
from homolog.matcher import Matcher
from homolog.matching.refinement import RefinementConfig
from homolog.utils.locks import lock_file
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

    Nothing that is in the exemplars' file about an image of the folder, or in an OUT that is
    overwritten, is lost: what somebody labelled, reviewed, moved, drew or deleted stays as it is,
    and so do members that are not known here. Only keypoints that were predicted before are
    predicted anew, and also of these those stay that are not found again.

    Args:
        matcher: extracts the descriptors.
        exemplars: the labelled images; labels that `annotate` made are exemplars as far as somebody
            has reviewed them.
        folder: of the images, searched with all folders below.
        out: the file to write, in a format of `homolog.data.label_files`. COCO (`.json`,
            `homolog.data.labels`) alone can be reviewed and overwritten; the text files of a
            YOLO-pose data set (`.yaml`) lie where Ultralytics looks for them.
        config: which keypoints are doubtful, and how objects are looked at.
        boxes: the objects of the images, each of which is labelled; those of images that are not in
            the folder are left alone.
        overwrite: whether `out` may exist.
        executor: how the images are annotated; `local_executor` by default.

    Raises:
        HomologError: there are no images, none of them has a box, `out` exists or cannot be
            written, another process writes it, or OUT.partial is another run's.
    """
    if boxes is not None and config.max_objects is not None:
        raise HomologError("max_objects: expected none with boxes, got both")
    out = check_format(out)
    with lock_file(out):
        return _annotate(
            matcher, exemplars, folder, out, config, boxes, overwrite=overwrite, executor=executor
        )


def _annotate(
    matcher: Matcher,
    exemplars: ExemplarSet,
    folder: Path,
    out: Path,
    config: AnnotateConfig,
    boxes: BoxSet | None,
    *,
    overwrite: bool,
    executor: Executor | None,
) -> Summary:
    """As `annotate`, while no other process writes the file."""
    format = label_files.output_format(out)
    categories = _categories(exemplars)
    files = check_inputs(exemplars, folder, out, boxes, overwrite=overwrite)

    def name_of(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    notes: list[str] = []
    if executor is None:
        exemplars, notes = readable_exemplars(exemplars, matcher.max_pixels)
        executor = local_executor(matcher, exemplars, config, boxes)
    # Where an image may show several objects, one may be an exemplar and another not.
    done = set() if boxes is not None or config.max_objects else _done(exemplars)
    header = _describe_run(matcher, exemplars, config, boxes)
    if config.review is None and (begun := _begun_with(log_path(out), header)) is not None:
        header["review"] = begun
        notes.append(f"goes on as it was begun: points that score below {begun:g} are doubtful")
    log = ResumeLog(
        log_path(out), "file_name", header=header, restart=overwrite, check=check_record
    )
    remaining = [p for p in files if name_of(p) not in log.records and p.resolve() not in done]
    if remaining:
        with log, ProgressBar(len(remaining)) as progress:
            for completed, record in enumerate(executor(remaining, name_of)):
                progress.update("labelling", completed)
                log.append(record)
    records = log.records
    if config.review is None:  # else the annotator has marked them
        records = mark_doubtful(records, config.errors, header["review"])
    notes += _mirrored(records)
    # Somebody may have reviewed the labels in the meantime.
    previous = _read_previous(out, categories, folder, overwrite)
    if previous is not None:
        notes += previous.notes
        exemplars, records = with_keypoints_of(exemplars, records, previous.categories)
    data, summary = make_document(
        files, name_of, records, exemplars, previous, categories if previous is None else
        previous.categories,
    )  # fmt: skip
    if format is coco.FORMAT:
        Labels(data).write(out)
    else:
        used = {each["category_id"] for each in data["annotations"]}
        used |= {each["id"] for each in exemplars.categories}
        data["categories"] = [each for each in data["categories"] if each["id"] in used]
        notes += label_files.write(out, data, WriteOptions(folder))
    log.remove()
    return dataclasses.replace(summary, notes=[*notes, *summary.notes])


def check_format(out: Path) -> Path:
    """The file of labels to write, after a check.

    Args:
        out: the file.

    Raises:
        HomologError: its ending tells no format, or it cannot be written.
    """
    label_files.output_format(out)
    return check_output(out, [out.suffix.lower()])


def check_inputs(
    exemplars: ExemplarSet,
    folder: Path,
    out: Path,
    boxes: BoxSet | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Check what `annotate` is given, before its work begins.

    Args:
        exemplars: the labelled images.
        folder: of the images.
        out: the file to write.
        boxes: the objects of the images.
        overwrite: whether `out` may exist.

    Returns:
        The images.

    Raises:
        HomologError: there are no images, none of them has a box, or `out` exists.
    """
    _read_previous(out, _categories(exemplars), folder, overwrite)
    files = reading.find_images([folder], "images")
    if not files:
        raise HomologError(f"images: expected a folder with images, got {folder}")
    if label_files.output_format(out) is yolo.FORMAT:
        _check_yolo(files)
    if boxes is not None and not any(boxes.of(path) for path in files):
        raise HomologError(f"boxes: expected some in images of {folder}, got none")
    return files


def _begun_with(path: Path, header: Mapping[str, Any]) -> float | None:
    """The threshold of the run that a log is of, if it is this run but for that.

    A score of 0.8 was the default before thresholds were chosen by errors.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())
        begun = found["review"]
    except (ArithmeticError, OSError, ValueError, LookupError, TypeError):
        return None
    same = found == json.loads(json.dumps({**header, "review": begun}))
    return begun if same and isinstance(begun, float) else None


def _mirrored(records: Mapping[str, Record]) -> list[str]:
    """A line on the images whose objects seem mirrored, where keypoints do not tell their sides."""
    names = [
        name
        for name, record in sorted(records.items())
        for each in (*record.get("annotations", ()), record.get("annotation"))
        if each is not None and each.get(EXTRA, {}).get("mirrored")
    ]
    if not names:
        return []
    return [
        f"seem mirrored against the exemplars, so that left and right are probably exchanged: "
        f"{abbreviate(dict.fromkeys(names))} (`mirrored` in the labels); {HOW_TO_TELL_SIDES}"
    ]


def log_path(out: Path) -> Path:
    """The file from which an interrupted run resumes."""
    return out.with_name(f"{out.name}.partial")


def readable_exemplars(exemplars: ExemplarSet, max_pixels: int) -> tuple[ExemplarSet, list[str]]:
    """The exemplars whose images can be read, and a line for each image that cannot.

    Args:
        exemplars: the labelled images.
        max_pixels: that an image may have.

    Raises:
        HomologError: no image can be read.
    """
    failed: dict[Path, str] = {}
    for path in dict.fromkeys(annotation.path for annotation in exemplars.annotations):
        try:
            reading.load_image(path, max_pixels=max_pixels, name=str(path))
        except HomologError as error:
            failed[path] = str(error)
    if not failed:
        return exemplars, []
    chosen = [k for k, each in enumerate(exemplars.annotations) if each.path not in failed]
    if not chosen:
        raise HomologError(f"exemplars: {next(iter(failed.values()))}")

    def of_chosen(values: Sequence[Any]) -> list[Any]:
        return [values[k] for k in chosen] if values else []

    remaining = dataclasses.replace(
        exemplars,
        annotations=of_chosen(exemplars.annotations),
        instances=of_chosen(exemplars.instances),
        records=of_chosen(exemplars.records),
    )
    return remaining, [f"no exemplar, but kept as it is: {each}" for each in failed.values()]


def _done(exemplars: ExemplarSet) -> set[Path]:
    """The images that exemplars label completely."""
    others = file_annotations(exemplars)
    return {
        path
        for path, own in own_objects(exemplars).items()
        if all(each.complete for each in own)
        and all(is_done(each) for each in others.get(path, []) if labelled_keypoints(each))
    }


def _categories(exemplars: ExemplarSet) -> list[Mapping[str, Any]]:
    """All categories of the exemplars' file, those that exemplars have as they were read."""
    used = {category["id"]: category for category in exemplars.categories}
    listed = [] if exemplars.file is None else exemplars.file.document["categories"]
    found = [used.pop(category["id"], category) for category in listed]
    return [*found, *used.values()]


def _read_previous(
    path: Path, categories: Sequence[Mapping[str, Any]], folder: Path, overwrite: bool
) -> Labels | None:
    """Labels that are to be overwritten, with the categories of the exemplars.

    Raises:
        HomologError: they may not be overwritten, cannot be read, or cannot be kept.
    """
    if not path.exists():
        return None
    if label_files.output_format(path) is not coco.FORMAT:
        # What was edited by hand cannot be told from what was predicted.
        raise HomologError(f"out: expected a file that does not exist, got {path}")
    if not overwrite:
        raise HomologError(
            f"out: expected a file that does not exist, got {path}; try --overwrite, which keeps "
            "what was edited by hand"
        )
    labels = Labels.read(path, folder)
    for member in {"info", EXTRA} & set(labels.data):
        if not isinstance(labels.data[member], dict):
            raise HomologError(f"{path}: {member}: expected an object, got {labels.data[member]!r}")
    return with_categories(labels, categories)


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
    present = [path for path in map(label_path, files) if path.exists()]
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
        line = f"{annotation.name} {annotation.category} {annotation.box}"
        digest.update(line.encode(errors="surrogatepass"))  # names of files are bytes
        digest.update(np.nan_to_num(annotation.keypoints, nan=-1.0).tobytes())
        if annotation.occluded is not None and annotation.occluded.any():
            digest.update(annotation.occluded.tobytes())
    for own in own_objects(exemplars).values():
        for each in own:
            if not each.complete:
                digest.update(each.known.tobytes())
    # What is not used is left out, so that runs that began before it was there can be resumed.
    objects: dict[str, Any] = {
        "zoom": config.zoom,
        "mirror": config.mirror or None,
        "refine": to_plain(RefinementConfig()) if config.refine else None,
        "max_objects": config.max_objects,
    }
    if boxes is not None:
        listed = [
            f"{path} {each.instance!r} {each.box} {each.category} {each.mask is not None}"
            for path, several in sorted(boxes.objects.items())
            for each in several
        ]
        text = "\n".join(listed).encode(errors="surrogatepass")
        objects["boxes_sha256"] = hashlib.sha256(text).hexdigest()
    return {
        "exemplars": len(exemplars.annotations),
        "exemplars_sha256": digest.hexdigest(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in config.poses],
        "review": config.review,
        **{name: value for name, value in objects.items() if value is not None},
    }
