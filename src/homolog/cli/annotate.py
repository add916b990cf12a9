"""The command that propagates labels."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

from homolog.cli.options import LookOptions, ModelOptions, SidesOption, with_sides
from homolog.errors import HomologError


def annotate(
    *,
    exemplars: Path,
    images: Path,
    out: Path,
    exemplar_images: Path | None = None,
    sides: SidesOption = (),
    model: ModelOptions = ModelOptions(),
    boxes: Path | None = None,
    max_objects: int | None = None,
    looks: LookOptions = LookOptions(),
    errors: float | None = None,
    review: float | None = None,
    overwrite: bool = False,
    adapt: bool = False,
    refine: bool | None = None,
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
        The labelled images, of one object or several each, in any format of keypoint labels: COCO
        (.json), an Ultralytics YOLO-pose data set (.yaml), a table with columns image, keypoint, x,
        y and perhaps instance (.csv), TPS and others. Labels that this command made count as far
        as somebody has reviewed them; what is not reviewed is predicted anew.
    images
        The folder of images to annotate.
    out
        The file to write, in a format that its ending tells: COCO (.json), which alone can be
        reviewed; a table (.csv); an Ultralytics YOLO-pose data set (.yaml), whose labels go where
        Ultralytics looks for them; TPS (.tps) and others.
    exemplar_images
        The folder with the images of the exemplars, if they are neither near these nor in IMAGES.
    sides
        Which keypoints are left and right, where their names do not say so: pairs
        `left_name:right_name`, a file of names and pairs, or `none` where every point is its own
        counterpart. Otherwise no exemplar serves mirrored then, and images that seem mirrored are
        marked.
    boxes
        The objects to label: COCO annotations or detection results (.json), an Ultralytics YOLO
        data set (.yaml) or folder of label files, a table with columns image, x, y, width, height
        and perhaps instance (.csv), or a folder of masks.
    max_objects
        Look for so many objects in each image at most, and label these.
    errors
        The share of errors, as expected from the scores, that may remain in the points that are not
        marked doubtful: 0.05 by default.
    review
        Mark points with a lower score doubtful, whatever share of errors remains.
    overwrite
        Write over OUT if it exists. Nothing in it is lost: what was edited by hand stays as it is,
        and other points are predicted anew, or stay where they are not found again.
    adapt
        Adapt the model to the images first, with the keypoints of the exemplars as fixed points,
        if there are fifty or more. The adapted model is written beside OUT, as `labels.model` for
        `labels.json`, and used if cycle consistency on images kept aside has grown. Given again,
        the command uses it again.
    refine
        Look for each keypoint again, near where it was found, in closer looks at the image and the
        exemplars. Off by default.
    engine
        `ray` distributes the work over processes, or over the machines of a cluster.
    workers
        ray: number of processes; by default one for each GPU, or for each two CPUs.
    """
    for name, share in (("errors", errors), ("review", review)):
        if share is not None and not 0 <= share <= 1:
            raise HomologError(f"{name}: expected a number from 0 to 1, got {share:g}")
    if errors is not None and review is not None:
        raise HomologError("errors: expected no --review with it, got both")
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
    from homolog.image.folders import search
    from homolog.keypoints import check_flips, unknown_sides
    from homolog.labelling import propagate
    from homolog.labelling.annotator import AnnotateConfig
    from homolog.labelling.exemplars import EXEMPLAR_POSES

    labelled = read(exemplars, images, images=exemplar_images)
    for note in [*labelled.notes, *search([images]).notes]:
        print(f"note: {note}", file=sys.stderr)
    labelled = dataclasses.replace(labelled, categories=with_sides(labelled.categories, sides))
    if model.poses is not None:
        poses = model.pose_list()
        check_flips(labelled.schemas, poses)
    else:
        poses = EXEMPLAR_POSES
        if (unknown := unknown_sides(labelled.schemas)) is not None:
            print(f"note: {unknown}", file=sys.stderr)
    given = None if boxes is None else read_boxes(boxes, images)
    for message in [] if given is None else given.messages:
        print(f"note: {message}", file=sys.stderr)
    chosen = looks.choose(refine)
    config = AnnotateConfig(
        review, poses, chosen.zoom, max_objects, 0.05 if errors is None else errors,
        refine=bool(chosen.refine), mirror=chosen.mirror,
    )  # fmt: skip
    executor = None
    matcher = model.matcher()
    if adapt:
        from homolog.labelling.adapting import adapted_model, model_folder

        try:
            adapted, notes = adapted_model(
                matcher, labelled, images, out, boxes=given, overwrite=overwrite
            )
        except KeyboardInterrupt:
            _say_resumes(model_folder(out))
            raise
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        if adapted is not None:
            model = dataclasses.replace(model, preset=str(adapted), weights=(), prompt=None)
            matcher = model.matcher()
    if engine == "ray":
        from homolog.labelling.ray import ray_executor

        labelled, notes = propagate.readable_exemplars(labelled, matcher.max_pixels)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        executor = ray_executor(model.matcher, labelled, config, workers, given)
    try:
        summary = propagate.annotate(
            matcher, labelled, images, out, config=config, boxes=given, overwrite=overwrite,
            executor=executor,
        )  # fmt: skip
    except KeyboardInterrupt:
        _say_resumes(propagate.log_path(out))
        raise
    for note in [each for each in summary.notes if each not in labelled.notes]:
        print(f"note: {note}", file=sys.stderr)
    for name, reason in summary.failed:
        labels = "; its earlier labels are kept" if name in summary.retained else ""
        print(f"skipped: {name}: {reason}{labels}", file=sys.stderr)
    for name, instance in summary.unlabelled:
        print(f"not labelled: {name}: object {instance} is like no exemplar", file=sys.stderr)
    for name, number in summary.kept:
        which = "an object" if number is None else f"object {number}"
        print(f"kept: {name}: {which} of {out}, drawn or edited, was not found", file=sys.stderr)
    several = given is not None or max_objects is not None
    objects = f"{_count(summary.objects, 'object')}, " if several else ""
    print(
        f"{_count(summary.images, 'image')}, {objects}{_count(summary.points, 'point')}, "
        f"{summary.doubtful} of them doubtful, {summary.manual} by hand: {out}"
    )
    if summary.doubtful and out.suffix.lower() == ".json":
        print(f"review: homolog serve {images} --labels {out}", file=sys.stderr)


def _say_resumes(path: Path) -> None:
    """Say that an interrupted run goes on, if it has written what it resumes from."""
    if path.exists():
        print(
            f"homolog: interrupted; the same command resumes where it stopped, from {path}",
            file=sys.stderr,
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
