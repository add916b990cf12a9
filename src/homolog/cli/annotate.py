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
    review: float = 0.8,
    overwrite: bool = False,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
) -> None:
    """Predict the keypoints of a few labelled images for all images in a folder.

    The result is a COCO file with a score for each point: the probability that it is within a
    tenth of the object's box of the truth. An interrupted run resumes where it stopped. Review the
    result with `homolog serve FOLDER --labels OUT`.

    Parameters
    ----------
    exemplars
        The labelled images: COCO keypoints (.json), an Ultralytics YOLO-pose data set (.yaml), or
        a table with columns image, keypoint, x, y (.csv).
    images
        The folder of images to annotate.
    out
        The file to write.
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
    if workers is not None and workers < 1:
        raise HomologError(f"workers: expected at least 1, got {workers}")
    from homolog.data.exemplars import read
    from homolog.labelling import propagate
    from homolog.labelling.annotator import AnnotateConfig
    from homolog.labelling.exemplars import EXEMPLAR_POSES

    labelled = read(exemplars, images)
    for note in labelled.notes:
        print(f"note: {note}", file=sys.stderr)
    poses = EXEMPLAR_POSES if model.poses is None else model.pose_list()
    config = AnnotateConfig(review, poses)
    executor = None
    matcher = model.matcher()
    if engine == "ray":
        from homolog.labelling.ray import ray_executor

        executor = ray_executor(model.matcher, labelled, config, workers)
    summary = propagate.annotate(
        matcher, labelled, images, out, config=config, overwrite=overwrite, executor=executor
    )
    for name, reason in summary.failed:
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    print(
        f"{summary.images} images, {summary.points} points, {summary.doubtful} of them doubtful, "
        f"{summary.manual} by hand: {out}"
    )
    if summary.doubtful:
        print(f"review: homolog serve {images} --labels {out}", file=sys.stderr)
