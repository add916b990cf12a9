"""Commands that match two pictures."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.progress import ProgressBar

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.descriptors import Features
    from homolog.image.geometry import PoseVariant
    from homolog.matcher import Matcher
    from homolog.results import Matches

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@Parameter(name="*")
@dataclass(frozen=True)
class PairOptions:
    """What all commands that match two pictures have in common.

    Parameters
    ----------
    pose
        One pose of the first picture, used without choosing: `flip`, `rotate90`, ...
    mask0
        A grey picture, not black where the thing is in the first picture.
    mask1
        The same for the second picture.
    """

    pose: str | None = None
    mask0: Path | None = None
    mask1: Path | None = None

    def poses(self, model: ModelOptions) -> tuple[PoseVariant, ...]:
        """The poses to try."""
        from homolog.image.geometry import as_poses

        return model.pose_list() if self.pose is None else as_poses([self.pose])

    def keywords(self, model: ModelOptions) -> dict[str, Any]:
        """The arguments that all of the matcher's methods share."""
        return {"poses": self.poses(model), "mask0": self.mask0, "mask1": self.mask1}

    def prepare(
        self, model: ModelOptions, image0: Path, image1: Path, steps: ProgressBar
    ) -> tuple[Matcher, Features, Features]:
        """The matcher, and features of both pictures, the first in all poses to try."""
        steps.update("loading the model")
        poses = self.poses(model)  # checked before the weights are read
        matcher = model.matcher()
        steps.update(f"looking at {image0}")
        # Both are read before the first is worked on: a broken file is found at once.
        first, second = matcher.load_image(image0, "image0"), matcher.load_image(image1, "image1")
        first = matcher.extract(first, poses)
        steps.update(f"looking at {image1}")
        second = matcher.extract(second)
        steps.update("matching")
        return matcher, first, second


def match(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    how: PairOptions = PairOptions(),
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
    given, names = (None, None) if points is None else given_points(points)
    with ProgressBar(5) as steps:
        from homolog.image import reading
        from homolog.image.points import grid_points
        from homolog.keypoints import KeypointSchema
        from homolog.viz import draw

        kinds = None if schema is None else KeypointSchema.load(schema)
        matcher, first, second = how.prepare(model, image0, image1, steps)
        if grid is not None:
            mask = None
            if how.mask0 is not None:
                mask = reading.read_mask(how.mask0, first.size, name="mask0")
            given = grid_points(first.size, grid, mask)
        if given is None:
            found = matcher.match(first, second, max_matches, **how.keywords(model))
        else:
            ids = point_ids or (names if kinds is not None else None)
            found = matcher.transfer(first, second, given, kinds, ids, **how.keywords(model))
        steps.update("writing")
        if to_file is not None or json is not None:
            _write_json(to_file, image0, image1, model.preset, found)
        if out is not None:
            draw.save(draw.matches(image0, image1, found), out)
    if json is None or to_file is not None:
        _print_matches(found, matcher.config.same_category_threshold)
    if out is not None:
        print(f"picture: {out}", file=sys.stderr)


def flow(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    how: PairOptions = PairOptions(),
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
    with ProgressBar(5) as steps:
        from homolog.viz import draw

        matcher, first, second = how.prepare(model, image0, image1, steps)
        found = matcher.flow(first, second, **how.keywords(model))
        steps.update("drawing")
        draw.save(draw.flow(image0, image1, found), out)
    print_pair(found.pair_score, matcher.config.same_category_threshold, found.pose, found.warning)
    print(f"picture: {out}", file=sys.stderr)


def heatmap(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    how: PairOptions = PairOptions(),
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
    with ProgressBar(5) as steps:
        from homolog.viz import draw

        matcher, first, second = how.prepare(model, image0, image1, steps)
        found = matcher.heatmap(first, second, [given], **how.keywords(model))
        steps.update("drawing")
        draw.save(draw.heatmap(image0, image1, found), out)
    _print_matches(found.matches, matcher.config.same_category_threshold)
    print(f"picture: {out}", file=sys.stderr)


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


def given_points(texts: list[str]) -> tuple[Any, list[str] | None]:
    """Points written out, or those of one file, and their names."""
    from homolog.image.points import read_points

    if len(texts) == 1 and (
        Path(texts[0]).suffix in (".csv", ".txt", ".json", ".tsv") or Path(texts[0]).is_file()
    ):
        return read_points(texts[0])
    return [_point(text) for text in texts], None


def _write_json(path: Path | None, image0: Path, image1: Path, model: str, found: Matches) -> None:
    about = {"image0": str(image0), "image1": str(image1), "model": model}
    text = json.dumps(about | found.to_dict(), indent=1, allow_nan=False) + "\n"
    if path is None:
        print(text, end="")
    else:
        write_atomically(path, text.encode(), "json")


def _print_matches(found: Matches, same_category_threshold: float | None) -> None:
    print(f"{'':>4} {'x0':>8} {'y0':>8}    {'x1':>8} {'y1':>8}  score")
    rows = zip(found.keypoints0, found.keypoints1, found.matching_scores, strict=True)
    for index, (a, b, score) in enumerate(rows, start=1):
        print(f"{index:>4} {a[0]:8.1f} {a[1]:8.1f} -> {b[0]:8.1f} {b[1]:8.1f}  {score:5.2f}")
    print_pair(found.pair_score, same_category_threshold, found.pose, found.warning)


def print_pair(
    pair_score: float, same_category_threshold: float | None, pose: str, note: str | None
) -> None:
    """The verdict on a pair, and what there is to note."""
    verdict = ""
    if same_category_threshold is not None:
        alike = pair_score >= same_category_threshold
        verdict = f" ({'same kind of thing' if alike else 'perhaps not the same kind'})"
    print(f"pair score {pair_score:.2f}{verdict}, pose {pose}")
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
