"""Commands that make images and videos from correspondences."""

from __future__ import annotations

import json as jsons
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from homolog.cli.match import print_pair
from homolog.cli.options import (
    IMAGE_SUFFIXES,
    LookOptions,
    ModelOptions,
    PairOptions,
    parse_box,
    read_points,
)
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically, write_text_atomically
from homolog.utils.progress import ProgressBar

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.applications.tracking import Tracks


def warp(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    pair_options: PairOptions = PairOptions(),
    looks: LookOptions = LookOptions(),
    size: int = 1024,
    background: Annotated[
        Literal["target", "grey", "transparent"], Parameter(name=["--background", "--rest"])
    ] = "target",
    out: Path,
) -> None:
    """Warp the first image's object onto the shape of the second image's object.

    Parameters
    ----------
    image0
        The first image, which gives the appearance.
    image1
        The second image, which gives the shape.
    size
        The longer edge of the result at most, in pixels; never more than the second image has.
    background
        What is visible where the two do not match: the second image (`target`), `grey`, or nothing
        (`transparent`; PNG and WebP only).
    out
        The image to write.
    """
    suffixes = (".png", ".webp") if background == "transparent" else IMAGE_SUFFIXES
    out = check_output(out, suffixes, inputs=(image0, image1))
    poses, objects = pair_options.poses(model), pair_options.objects()
    with ProgressBar(3) as progress:
        from homolog.applications import warping
        from homolog.viz.raster import save_image

        progress.update("loading the model")
        matcher = model.matcher()
        progress.update("warping")
        warped = warping.warp(
            matcher, image0, image1, size=size, background=background, poses=poses, **objects,
            **looks.to_arguments(),
        )  # fmt: skip
        progress.update("writing")
        save_image(warped.image, out)
    flow = warped.flow
    print_pair(flow.pair_score, matcher.config.same_category_threshold, flow.pose, flow.warning)
    share = 100 * warped.alpha.mean()
    print(f"image: {out}, {share:.0f} % of it from {image0}", file=sys.stderr)


def track(
    video: Path,
    *,
    model: ModelOptions = ModelOptions(),
    points: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    boxes: Path | None = None,
    box: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    frame: int = 0,
    every: int = 1,
    out: Path | None = None,
    json: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Track points of one frame through a video, or several objects with their points.

    With --boxes or --box, each object is followed by itself. Objects that meet are told apart by
    what they look like, or else by their motion; one that cannot be found is said to be lost.

    Parameters
    ----------
    video
        The video, in any format that FFmpeg reads.
    points
        Points of the annotated frame: `120,80 200,95`, or one file (CSV, text or JSON), which may
        name them. With boxes, each is on the object in whose box it is; by default, a grid of
        points on each object.
    boxes
        A file with the boxes of the objects in the annotated frame: COCO (.json), results of a
        detector (.json), YOLO (.yaml) or a table (.csv), beside an image of that frame.
    box
        The box of an object, `x,y,width,height` in pixels; once for each object.
    frame
        The annotated frame's number, from 0.
    every
        Track only every so many frames.
    out
        Draw the points with their trails into this video.
    json
        Write the tracks to this file.
    csv
        Write the tracks to this file, one line for each point of each frame.
    """
    if out is None and json is None and csv is None:
        raise HomologError("out: expected --out, --json or --csv, got none of them")
    json = json and check_output(json, (".json",), "json")
    csv = csv and check_output(csv, (".csv",), "csv")
    if [pose.name for pose in model.pose_list()] != ["identity"]:
        raise HomologError(
            f"poses: expected none, for the frames of a video are matched as they are, got "
            f"{model.poses!r}"
        )
    if points is None and boxes is None and box is None:
        raise HomologError("points: expected --points, --boxes or --box, got none of them")
    if boxes is not None and box is not None:
        raise HomologError("boxes: expected either --boxes or --box, got both")
    keypoints, names = (None, None) if points is None else read_points(points)
    corners = None if box is None else [parse_box(text) for text in box]
    instances = None
    from homolog.applications import tracking
    from homolog.applications.video import VIDEO_SUFFIXES

    if out is not None:
        out = check_output(out, VIDEO_SUFFIXES)
    if boxes is not None:
        corners, instances = _read_frame_boxes(boxes, video, frame)
    tracks = tracking.track(
        model.matcher(), video, keypoints, names, boxes=corners, instances=instances, frame=frame,
        every=every, out=out,
    )  # fmt: skip
    if json is not None:
        source = {"video": str(video), "model": model.preset}
        text = jsons.dumps(source | tracks.to_dict(), allow_nan=False) + "\n"
        write_atomically(json, text.encode(), "json")
    if csv is not None:
        write_text_atomically(csv, tracks.to_csv(), "csv")
    _print_tracks(tracks)
    if out is not None:
        print(f"video: {out}", file=sys.stderr)


def average(
    images: Annotated[
        list[Path], Parameter(name=["--images", "--pictures"], consume_multiple=True)
    ],
    *,
    model: ModelOptions = ModelOptions(),
    reference: Path | None = None,
    size: int = 1024,
    out: Path,
) -> None:
    """Average images of one kind of object, each warped onto the shape of one of them.

    With `--poses flip`, images of objects that face the other way are mirrored.

    Parameters
    ----------
    images
        Folders with images, or image files.
    reference
        The image that gives the shape; by default the one nearest to the others.
    size
        The longer edge of the result at most, in pixels; never more than the reference has.
    out
        The image to write.
    """
    out = check_output(out, IMAGE_SUFFIXES, inputs=(reference,))
    poses = model.pose_list()
    from homolog.applications import averaging
    from homolog.image.folders import search
    from homolog.viz.raster import save_image

    found = search(images)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    # An earlier result in the folder does not count.
    paths = [path for path in found.files if path.resolve() != out.resolve()]
    if not paths:
        raise HomologError(
            f"images: expected at least one, got none in {', '.join(map(str, images))}"
        )
    mean = averaging.average(model.matcher(), paths, reference, size=size, poses=poses)
    save_image(mean.image, out)
    for line in mean.skipped:
        print(f"skipped: {line}", file=sys.stderr)
    print(f"mean of {mean.used} of {len(paths)} images, on the shape of {mean.reference}")
    print(f"image: {out}", file=sys.stderr)


def _read_frame_boxes(
    path: Path, video: Path, frame: int
) -> tuple[list[tuple[float, ...]], list[int | str]]:
    """The boxes of a file that has those of one frame, and the ids of their objects."""
    from homolog.applications.video import read_frame
    from homolog.data.boxes import read_boxes
    from homolog.image.reading import image_size

    found = read_boxes(path)
    for line in found.messages:
        print(f"note: {line}", file=sys.stderr)
    images = [image for image, objects in found.objects.items() if objects]
    if len(images) != 1:
        raise HomologError(
            f"boxes: expected those of one image, the annotated frame, got {len(images)} images in "
            f"{path}"
        )
    sizes = image_size(images[0]), read_frame(video, frame).size
    if sizes[0] != sizes[1]:
        raise HomologError(
            f"boxes: expected those of an image as large as the frame, {_pixels(sizes[1])}, got "
            f"{images[0]} with {_pixels(sizes[0])}"
        )
    objects = found.objects[images[0]]
    return [each.box for each in objects], [each.instance for each in objects]


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _print_tracks(tracks: Tracks) -> None:
    count, objects = len(tracks.frames), tracks.objects
    if objects is None:
        rows = list(zip(tracks.point_names, tracks.occluded.T, tracks.scores.T, strict=True))
    else:
        rows = list(zip(map(str, objects.instances), objects.lost.T, objects.scores.T, strict=True))
    for name, hidden, scores in rows:
        print(
            f"{name:>12}  visible in {count - int(hidden.sum())} of {count} frames, "
            f"mean score {scores.mean():.2f}"
        )
    for line in [] if objects is None else objects.describe_losses(tracks.frames):
        print(f"note: {line}", file=sys.stderr)
    if tracks.warning is not None:
        print(f"note: {tracks.warning}", file=sys.stderr)
