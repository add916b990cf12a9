"""The command: parses, calls the library, prints."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from homolog.errors import HomologError
from homolog.files import check_output, write_atomically
from homolog.progress import Steps

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from PIL import Image

    from homolog.geometry import Pose
    from homolog.matcher import Matcher
    from homolog.types import Features, Matches

PICTURES = (".png", ".jpg", ".jpeg", ".webp")

app = App(
    name="homolog",
    help="Find the same part on another thing of its kind, and tell its left from its right.",
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; wrong input gives one line and exit status 2."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except (CycloptsError, HomologError) as error:
        print(f"homolog: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """What all commands that match have in common.

    Parameters
    ----------
    poses
        Poses of the first picture to choose from: `none`, `flip`, `rotations`, `all`, or a list
        such as `identity,rotate30`.
    pose
        One pose of the first picture, used without choosing: `flip`, `rotate90`, ...
    mask0
        A grey picture, not black where the thing is in the first picture.
    mask1
        The same for the second picture.
    window
        Half-width of the soft-argmax window in cells; -1 for all cells.
    temperature
        Temperature of the soft-argmax.
    model
        A preset.
    device
        Where to compute, such as `cpu` or `cuda`.
    max_pixels
        Refuse pictures with more pixels than this.
    """

    poses: str = "none"
    pose: str | None = None
    mask0: Path | None = None
    mask1: Path | None = None
    window: int | None = None
    temperature: float | None = None
    model: str = "embedded"
    device: str | None = None
    max_pixels: int | None = None

    def matcher(self) -> Matcher:
        """The matcher asked for."""
        from homolog.matcher import Matcher

        limit = {} if self.max_pixels is None else {"max_pixels": self.max_pixels}
        matcher = Matcher.from_pretrained(self.model, device=self.device, **limit)
        changes: dict[str, Any] = {}
        if self.window is not None:
            changes["window"] = None if self.window == -1 else self.window
        if self.temperature is not None:
            changes["temperature"] = self.temperature
        return matcher.replace(**changes)

    def keywords(self) -> dict[str, Any]:
        """The arguments that all of the matcher's methods share."""
        return {"poses": self.pose_list(), "mask0": self.mask0, "mask1": self.mask1}

    def pose_list(self) -> tuple[Pose, ...]:
        """The poses to try."""
        from homolog.geometry import POSE_SETS, as_poses

        if self.pose is not None:
            return as_poses([self.pose])
        return as_poses(self.poses if self.poses in POSE_SETS else self.poses.split(","))

    def extract(
        self, matcher: Matcher, image0: Path, image1: Path, steps: Steps
    ) -> tuple[Features, Features]:
        """Features of both pictures, the first in all poses to try."""
        steps.next(f"looking at {image0}")
        # Both are read before the first is worked on: a broken file is found at once.
        first, second = matcher.read(image0, "image0"), matcher.read(image1, "image1")
        first = matcher.extract(first, self.pose_list())
        steps.next(f"looking at {image1}")
        return first, matcher.extract(second)


@app.command
def match(
    image0: Path,
    image1: Path,
    *,
    how: How = How(),
    points: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    grid: int | None = None,
    schema: str | None = None,
    point_ids: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    max_matches: int = 20,
    out: Path | None = None,
    json: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
) -> None:
    """Match two pictures.

    With --points or --grid, these points of the first picture are found in the second; otherwise
    points that the two have in common. Points are x,y in pixels of the upright picture.

    Parameters
    ----------
    image0
        The first picture.
    image1
        The second picture.
    points
        Points of the first picture: `120,80 200,95`, or one file (CSV, text or JSON).
    grid
        A grid of points over the first picture or its mask: so many along the longer side.
    schema
        What the points mean: `ap10k`, `spair:<category>` or a COCO file. Flips need it.
    point_ids
        Ids or names of the points in the schema.
    max_matches
        How many common points to find at most.
    out
        Draw the matches into this picture.
    json
        Write the matches to this file; `-` prints them.
    """
    if points is not None and grid is not None:
        raise HomologError("points: give --points or --grid, not both")
    out = out and check_output(out, PICTURES)
    to_file = json if json is not None and str(json) != "-" else None
    if to_file is not None:
        to_file = check_output(to_file, (".json",), "json")
    given, names = (None, None) if points is None else _given_points(points)
    with Steps(5) as steps:
        steps.next("loading the model")
        from homolog import draw, images
        from homolog.keypoints import KeypointSchema
        from homolog.points import grid_points

        kinds = None if schema is None else KeypointSchema.load(schema)
        how.pose_list()
        matcher = how.matcher()
        first, second = how.extract(matcher, image0, image1, steps)
        steps.next("matching")
        if grid is not None:
            mask = None
            if how.mask0 is not None:
                mask = images.read_mask(how.mask0, first.size, name="mask0")
            given = grid_points(first.size, grid, mask)
        if given is None:
            found = matcher.match(first, second, max_matches, **how.keywords())
        else:
            ids = point_ids or (names if kinds is not None else None)
            found = matcher.transfer(first, second, given, kinds, ids, **how.keywords())
        steps.next("writing")
        if to_file is not None or json is not None:
            _write_json(to_file, image0, image1, how.model, found)
        if out is not None:
            _write_picture(out, draw.matches(image0, image1, found))
    if json is None or to_file is not None:
        _print_matches(found, matcher.config.same_kind)
    if out is not None:
        print(f"picture: {out}", file=sys.stderr)


@app.command
def flow(
    image0: Path,
    image1: Path,
    *,
    how: How = How(),
    out: Path,
) -> None:
    """Show where every part of each picture lies in the other, and warp each onto the other.

    Parameters
    ----------
    image0
        The first picture.
    image1
        The second picture.
    out
        The picture to draw.
    """
    out = check_output(out, PICTURES)
    with Steps(5) as steps:
        steps.next("loading the model")
        from homolog import draw

        how.pose_list()
        matcher = how.matcher()
        first, second = how.extract(matcher, image0, image1, steps)
        steps.next("matching")
        found = matcher.flow(first, second, **how.keywords())
        steps.next("drawing")
        _write_picture(out, draw.flow(image0, image1, found))
    _print_pair(found.pair_score, matcher.config.same_kind, found.pose, found.note)
    print(f"picture: {out}", file=sys.stderr)


@app.command
def heatmap(
    image0: Path,
    image1: Path,
    *,
    how: How = How(),
    point: Annotated[str, Parameter(allow_leading_hyphen=True)],
    out: Path,
) -> None:
    """Show where in the second picture a point of the first could be.

    Parameters
    ----------
    image0
        The first picture.
    image1
        The second picture.
    point
        The point of the first picture, x,y in pixels.
    out
        The picture to draw.
    """
    out = check_output(out, PICTURES)
    given = _point(point)
    with Steps(5) as steps:
        steps.next("loading the model")
        from homolog import draw

        how.pose_list()
        matcher = how.matcher()
        first, second = how.extract(matcher, image0, image1, steps)
        steps.next("matching")
        found = matcher.heatmap(first, second, [given], **how.keywords())
        steps.next("drawing")
        _write_picture(out, draw.heatmap(image0, image1, found))
    _print_matches(found.matches, matcher.config.same_kind)
    print(f"picture: {out}", file=sys.stderr)


@app.command
def demo(
    image0: Path | None = None,
    image1: Path | None = None,
    *,
    out: Path = Path("homolog-demo.png"),
) -> None:
    """Match the example pair, or any two pictures, and draw the result.

    Parameters
    ----------
    image0
        The first picture; without it, the example pair's.
    image1
        The second picture.
    out
        The picture to draw.
    """
    if (image0 is None) != (image1 is None):
        raise HomologError("image1: give two pictures, or none for the example pair")
    if image0 is not None and image1 is not None:
        match(image0, image1, out=out)
        return
    from homolog.example import pair

    with pair() as example:
        match(
            example.image0,
            example.image1,
            points=[f"{x},{y}" for x, y in example.keypoints0[example.visible]],
            out=out,
        )


def _point(text: str) -> list[float]:
    try:
        x, y = text.split(",")
        return [float(x), float(y)]
    except ValueError:
        raise HomologError(f"point: {text!r} is not x,y") from None


def _given_points(texts: list[str]) -> tuple[Any, list[str] | None]:
    """Points written out, or those of one file, and their names."""
    from homolog.points import read_points

    if len(texts) == 1 and (
        Path(texts[0]).suffix in (".csv", ".txt", ".json", ".tsv") or Path(texts[0]).is_file()
    ):
        return read_points(texts[0])
    return [_point(text) for text in texts], None


def _write_picture(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    picture.save(buffer, form, quality=92)
    write_atomically(path, buffer.getvalue())


def _write_json(path: Path | None, image0: Path, image1: Path, model: str, found: Matches) -> None:
    about = {"image0": str(image0), "image1": str(image1), "model": model}
    text = json.dumps(about | found.to_dict(), indent=1, allow_nan=False) + "\n"
    if path is None:
        print(text, end="")
    else:
        write_atomically(path, text.encode(), "json")


def _print_matches(found: Matches, same_kind: float) -> None:
    print(f"{'':>4} {'x0':>8} {'y0':>8}    {'x1':>8} {'y1':>8}  score")
    rows = zip(found.keypoints0, found.keypoints1, found.matching_scores, strict=True)
    for index, (a, b, score) in enumerate(rows, start=1):
        print(f"{index:>4} {a[0]:8.1f} {a[1]:8.1f} -> {b[0]:8.1f} {b[1]:8.1f}  {score:5.2f}")
    _print_pair(found.pair_score, same_kind, found.pose, found.note)


def _print_pair(pair_score: float, same_kind: float, pose: str, note: str | None) -> None:
    verdict = "same kind of thing" if pair_score >= same_kind else "perhaps not the same kind"
    print(f"pair score {pair_score:.2f} ({verdict}), pose {pose}")
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
