"""Commands that make images and videos from correspondences."""

from __future__ import annotations

import json as jsons
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from homolog.cli.match import print_pair
from homolog.cli.options import IMAGE_SUFFIXES, ModelOptions, PairOptions, read_points
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.progress import ProgressBar

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.applications.tracking import Tracks


def warp(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    pair_options: PairOptions = PairOptions(),
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
            matcher, image0, image1, size=size, background=background, poses=poses, **objects
        )
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
    points: Annotated[list[str], Parameter(consume_multiple=True)],
    frame: int = 0,
    every: int = 1,
    out: Path | None = None,
    json: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Track points of one frame through a video.

    Parameters
    ----------
    video
        The video, in any format that FFmpeg reads.
    points
        Points of the annotated frame: `120,80 200,95`, or one file (CSV, text or JSON), which may
        name them.
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
    keypoints, names = read_points(points)
    from homolog.applications import tracking
    from homolog.applications.video import VIDEO_SUFFIXES

    if out is not None:
        out = check_output(out, VIDEO_SUFFIXES)
    tracks = tracking.track(
        model.matcher(), video, keypoints, names, frame=frame, every=every, out=out
    )
    if json is not None:
        source = {"video": str(video), "model": model.preset}
        text = jsons.dumps(source | tracks.to_dict(), allow_nan=False) + "\n"
        write_atomically(json, text.encode(), "json")
    if csv is not None:
        write_atomically(csv, tracks.to_csv().encode(), "csv")
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
    from homolog.image import reading
    from homolog.viz.raster import save_image

    # An earlier result in the folder does not count.
    paths = [path for path in reading.find_images(images) if path.resolve() != out.resolve()]
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


def _print_tracks(tracks: Tracks) -> None:
    names = tracks.names or [str(number + 1) for number in range(tracks.points.shape[1])]
    for k, name in enumerate(names):
        visible = len(tracks.frames) - int(tracks.occluded[:, k].sum())
        print(
            f"{name:>12}  visible in {visible} of {len(tracks.frames)} frames, "
            f"mean score {tracks.scores[:, k].mean():.2f}"
        )
    if tracks.warning is not None:
        print(f"note: {tracks.warning}", file=sys.stderr)
