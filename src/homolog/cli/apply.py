"""Commands that make pictures and videos with what was matched."""

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
    rest: Literal["target", "grey", "transparent"] = "target",
    out: Path,
) -> None:
    """Put the first picture's look on the second picture's shape.

    Parameters
    ----------
    image0
        The picture whose look is wanted.
    image1
        The picture whose shape is wanted.
    size
        The longer side of the result at most, in pixels; never more than the second picture has.
    rest
        What shows where the two do not match: the second picture (`target`), `grey`, or nothing
        (`transparent`; PNG and WebP only).
    out
        The picture to write.
    """
    out = check_output(out, (".png", ".webp") if rest == "transparent" else IMAGE_SUFFIXES)
    poses = pair_options.poses(model)
    with ProgressBar(3) as steps:
        from homolog.applications import warping
        from homolog.viz import draw

        steps.update("loading the model")
        matcher = model.matcher()
        steps.update("warping")
        masks = {"mask0": pair_options.mask0, "mask1": pair_options.mask1}
        made = warping.warp(matcher, image0, image1, size=size, rest=rest, poses=poses, **masks)
        steps.update("writing")
        draw.save(made.picture, out)
    found = made.flow
    print_pair(found.pair_score, matcher.config.same_category_threshold, found.pose, None)
    print(f"picture: {out}, {100 * made.sure.mean():.0f} % of it from {image0}", file=sys.stderr)


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
    """Carry points of one frame through a video.

    Parameters
    ----------
    video
        The video; any that FFmpeg reads.
    points
        Points of the annotated frame: `120,80 200,95`, or one file (CSV, text or JSON), which may
        name them.
    frame
        The annotated frame's number, from 0.
    every
        Track every so many frames.
    out
        Draw the points with their trails into this video.
    json
        Write the tracks to this file.
    csv
        Write the tracks to this file, a point of a frame each line.
    """
    if out is None and json is None and csv is None:
        raise HomologError("out: nothing to write, takes --out, --json or --csv")
    json = json and check_output(json, (".json",), "json")
    csv = csv and check_output(csv, (".csv",), "csv")
    if [pose.name for pose in model.pose_list()] != ["identity"]:
        raise HomologError(f"poses: got {model.poses!r}, a video's frames are taken as they are")
    given, names = read_points(points)
    from homolog.applications import tracking

    if out is not None:
        out = check_output(out, tracking.VIDEOS)
    found = tracking.track(model.matcher(), video, given, names, frame=frame, every=every, out=out)
    if json is not None:
        about = {"video": str(video), "model": model.preset}
        text = jsons.dumps(about | found.to_dict(), allow_nan=False) + "\n"
        write_atomically(json, text.encode(), "json")
    if csv is not None:
        write_atomically(csv, found.to_csv().encode(), "csv")
    _print_tracks(found)
    if out is not None:
        print(f"video: {out}", file=sys.stderr)


def average(
    pictures: Annotated[list[Path], Parameter(consume_multiple=True)],
    *,
    model: ModelOptions = ModelOptions(),
    reference: Path | None = None,
    size: int = 1024,
    out: Path,
) -> None:
    """The mean of pictures of one kind of thing, each brought to one picture's shape.

    With `--poses flip`, pictures of things that face the other way are mirrored.

    Parameters
    ----------
    pictures
        Folders with pictures, or picture files.
    reference
        The picture whose shape is wanted; by default the one nearest to the others.
    size
        The longer side of the result at most, in pixels; never more than the reference has.
    out
        The picture to write.
    """
    out = check_output(out, IMAGE_SUFFIXES)
    poses = model.pose_list()
    from homolog.applications import averaging
    from homolog.image import reading
    from homolog.viz import draw

    # An earlier result in the folder is no picture of the thing.
    paths = [path for path in reading.find_images(pictures) if path.resolve() != out.resolve()]
    if not paths:
        raise HomologError(f"pictures: there are none in {', '.join(map(str, pictures))}")
    made = averaging.average(model.matcher(), paths, reference, size=size, poses=poses)
    draw.save(made.picture, out)
    for line in made.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(f"mean of {made.used} of {len(paths)} pictures, on the shape of {made.reference}")
    print(f"picture: {out}", file=sys.stderr)


def _print_tracks(found: Tracks) -> None:
    names = found.names or [str(number + 1) for number in range(found.points.shape[1])]
    for k, name in enumerate(names):
        kept = len(found.frames) - int(found.lost[:, k].sum())
        print(
            f"{name:>12}  seen in {kept} of {len(found.frames)} frames, "
            f"mean score {found.scores[:, k].mean():.2f}"
        )
    if found.note is not None:
        print(f"note: {found.note}", file=sys.stderr)
