"""The command that carries labels."""

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
    """Carry the keypoints of a few labelled pictures to all pictures in a folder.

    The result is a COCO file with a score for each point: the probability that it is within a
    tenth of the thing's box of where it should be. An interrupted run goes on where it stopped.
    Review it with `homolog serve FOLDER --labels OUT`.

    Parameters
    ----------
    exemplars
        The labelled pictures: COCO keypoints (.json), an Ultralytics YOLO-pose data set (.yaml), or
        a table with columns image, keypoint, x, y (.csv).
    images
        The folder of pictures to label.
    out
        The file to write.
    review
        Points with a lower score are marked doubtful.
    overwrite
        Make OUT anew if it is there; what was done by hand in it is kept.
    engine
        `ray` shares the work among processes or the machines of a cluster.
    workers
        ray: how many processes; as many as there are processors or GPUs by default.
    """
    if not 0 <= review <= 1:
        raise HomologError(f"review: got {review:g}, takes a probability from 0 to 1")
    if not images.is_dir():
        raise HomologError(f"images: there is no folder {images}")
    if workers is not None and engine != "ray":
        raise HomologError("workers: is for --engine ray")
    if workers is not None and workers < 1:
        raise HomologError(f"workers: got {workers}, takes at least 1")
    from homolog.data.exemplars import read
    from homolog.labelling.exemplars import EXEMPLAR_POSES
    from homolog.labelling.propagate import AnnotateConfig
    from homolog.labelling.propagate import annotate as annotated

    labelled = read(exemplars, images)
    for note in labelled.notes:
        print(f"note: {note}", file=sys.stderr)
    poses = EXEMPLAR_POSES if model.poses is None else model.pose_list()
    settings = AnnotateConfig(review, poses)
    work = None
    matcher = model.matcher()
    if engine == "ray":
        from homolog.labelling.ray import ray_executor as over_ray

        work = over_ray(model.matcher, labelled, settings, workers)
    found = annotated(
        matcher, labelled, images, out, settings=settings, overwrite=overwrite, engine=work
    )
    for name, why in found.failed:
        print(f"left out: {name}: {why}", file=sys.stderr)
    print(
        f"{found.pictures} pictures, {found.points} points, {found.doubtful} of them doubtful, "
        f"{found.manual} by hand: {out}"
    )
    if found.doubtful:
        print(f"review: homolog serve {images} --labels {out}", file=sys.stderr)
