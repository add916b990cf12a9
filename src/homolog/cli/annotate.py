"""The command that propagates labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError


def annotate(
    *,
    exemplars: Path,
    images: Path,
    out: Path,
    model: ModelOptions = ModelOptions(),
    boxes: Path | None = None,
    max_objects: int | None = None,
    zoom: Literal["auto", "none"] | None = None,
    review: float = 0.8,
    overwrite: bool = False,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
) -> None:
    """Predict the keypoints of a few labelled images for all images in a folder.

    The result has a score for each point: the probability that it is within a tenth of the object's
    box of the truth. An image is taken to show one object, unless boxes are given or searched for:
    then each object has its own points and instance id. An interrupted run resumes where it
    stopped. Review the result with `homolog serve FOLDER --labels OUT`.

    Parameters
    ----------
    exemplars
        The labelled images, of one object or several each: COCO keypoints (.json), an Ultralytics
        YOLO-pose data set (.yaml), or a table with columns image, keypoint, x, y and perhaps
        instance (.csv).
    images
        The folder of images to annotate.
    out
        The file to write: COCO (.json), which alone can be reviewed; a table (.csv); or an
        Ultralytics YOLO-pose data set (.yaml), whose labels go where Ultralytics looks for them.
    boxes
        The objects to label: COCO annotations or detection results (.json), an Ultralytics YOLO
        data set (.yaml) or folder of label files, a table with columns image, x, y, width, height
        and perhaps instance (.csv), or a folder of masks.
    max_objects
        Look for so many objects in each image at most, and label these.
    zoom
        `auto` takes a second look at objects that do not fill their images.
    review
        Points with a lower score are marked doubtful.
    overwrite
        Replace OUT if it exists; what was edited by hand in it is kept.
    engine
        `ray` distributes the work over processes, or over the machines of a cluster.
    workers
        ray: number of processes; by default one for each GPU, or for each two CPUs.
    """
    if not 0 <= review <= 1:
        raise HomologError(f"review: expected a probability from 0 to 1, got {review:g}")
    if not images.is_dir():
        raise HomologError(f"images: expected a folder, got {images}")
    if workers is not None and engine != "ray":
        raise HomologError(f"workers: expected --engine ray with it, got --engine {engine}")
    if boxes is not None and max_objects is not None:
        raise HomologError("max_objects: expected no --boxes with it, got both")
    if max_objects is not None and max_objects < 1:
        raise HomologError(f"max_objects: expected at least 1, got {max_objects}")
    if workers is not None and workers < 1:
        raise HomologError(f"workers: expected at least 1, got {workers}")
    from homolog.data.boxes import read_boxes
    from homolog.data.exemplars import read
    from homolog.labelling import propagate
    from homolog.labelling.annotator import ZOOM, AnnotateConfig
    from homolog.labelling.exemplars import EXEMPLAR_POSES

    labelled = read(exemplars, images)
    for note in labelled.notes:
        print(f"note: {note}", file=sys.stderr)
    poses = EXEMPLAR_POSES if model.poses is None else model.pose_list()
    given = None if boxes is None else read_boxes(boxes, images)
    for message in [] if given is None else given.messages:
        print(f"note: {message}", file=sys.stderr)
    chosen = ZOOM if zoom is None else None if zoom == "none" else zoom
    config = AnnotateConfig(review, poses, chosen, max_objects)
    executor = None
    matcher = model.matcher()
    if engine == "ray":
        from homolog.labelling.ray import ray_executor

        executor = ray_executor(model.matcher, labelled, config, workers, given)
    summary = propagate.annotate(
        matcher, labelled, images, out, config=config, boxes=given, overwrite=overwrite,
        executor=executor,
    )  # fmt: skip
    for name, reason in summary.failed:
        labels = "; its earlier labels are kept" if name in summary.retained else ""
        print(f"skipped: {name}: {reason}{labels}", file=sys.stderr)
    for name, instance in summary.unlabelled:
        print(f"not labelled: {name}: object {instance} is like no exemplar", file=sys.stderr)
    for name, number in summary.kept:
        which = "an object" if number is None else f"object {number}"
        print(f"kept: {name}: {which} of {out}, drawn or edited, was not found", file=sys.stderr)
    several = given is not None or max_objects is not None
    objects = f"{summary.objects} objects, " if several else ""
    print(
        f"{summary.images} images, {objects}{summary.points} points, {summary.doubtful} of them "
        f"doubtful, {summary.manual} by hand: {out}"
    )
    if summary.doubtful and out.suffix.lower() == ".json":
        print(f"review: homolog serve {images} --labels {out}", file=sys.stderr)
