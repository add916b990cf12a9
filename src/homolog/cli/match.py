"""Commands that match two images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from homolog.cli.options import (
    IMAGE_SUFFIXES,
    LookOptions,
    ModelOptions,
    PairOptions,
    SidesOption,
    parse_point,
    read_points,
)
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.progress import ProgressBar

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.results import Matches


def match(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    pair_options: PairOptions = PairOptions(),
    looks: LookOptions = LookOptions(),
    points: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    grid: int | None = None,
    schema: str | None = None,
    sides: SidesOption = (),
    point_ids: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    max_matches: int = 20,
    refine: bool | None = None,
    out: Path | None = None,
    json: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
) -> None:
    """Match two images.

    With --points or --grid, these points of the first image are matched in the second; otherwise
    mutual nearest neighbours of the two are found. Points are x,y in pixels of the upright image.

    Parameters
    ----------
    image0
        The first image, the source.
    image1
        The second image, the target.
    points
        Points of the first image: `120,80 200,95`, or one file (CSV, text or JSON).
    grid
        A grid of points over the first image, its box or its mask: so many along the longer edge.
    schema
        What the points mean: `ap10k`, `spair:<category>`, a COCO file, or a file of names. Flips
        need it.
    sides
        Which of its keypoints are left and right, where their names do not say so: pairs
        `left_name:right_name`, a file of names and pairs, or `none` where every point is its own
        counterpart.
    point_ids
        Ids or names of the points in the schema.
    max_matches
        How many mutual nearest neighbours to find at most.
    refine
        Look for matches again, near where they were found, in closer looks at both images.
    out
        Draw the matches into this image.
    json
        Write the matches to this file; `-` prints them.
    """
    if points is not None and grid is not None:
        raise HomologError("points: expected either --points or --grid, got both")
    out = out and check_output(out, IMAGE_SUFFIXES, inputs=(image0, image1))
    file = json if json is not None and str(json) != "-" else None
    if file is not None:
        file = check_output(file, (".json",), "json")
    queries, names = (None, None) if points is None else read_points(points)
    with ProgressBar(5) as progress:
        from homolog.image import masks
        from homolog.image.points import grid_points
        from homolog.image.regions import as_box
        from homolog.keypoints import KeypointSchema
        from homolog.viz.pairs import plot_matches
        from homolog.viz.raster import save_image

        named = None if schema is None else KeypointSchema.load(schema)
        if sides and named is None:
            raise HomologError("sides: expected --schema with it, got none")
        if named is not None and sides:
            named = named.with_sides(sides)
        matcher, pair = pair_options.prepare(
            model, image0, image1, progress, named, **looks.to_arguments(), refine=refine
        )
        if grid is not None:
            mask, box, size = None, pair_options.objects()["box0"], pair.image0.size
            if pair_options.mask0 is not None:
                mask = masks.read_mask(pair_options.mask0, size, name="mask0")
            queries = grid_points(size, grid, mask, None if box is None else as_box(box, size))
        if queries is None:
            matches = pair.match(max_matches)
        else:
            ids = point_ids or (names if named is not None else None)
            matches = pair.transfer(queries, ids)
        progress.update("writing")
        if file is not None or json is not None:
            _write_json(file, image0, image1, model.preset, matches)
        if out is not None:
            save_image(plot_matches(image0, image1, matches), out)
    if json is None or file is not None:
        _print_matches(matches, matcher.config.same_category_threshold)
    if out is not None:
        print(f"image: {out}", file=sys.stderr)


def flow(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    pair_options: PairOptions = PairOptions(),
    looks: LookOptions = LookOptions(),
    out: Path,
) -> None:
    """Draw the dense correspondence of two images, and warp each onto the other.

    Parameters
    ----------
    image0
        The first image, the source.
    image1
        The second image, the target.
    out
        The image to draw.
    """
    out = check_output(out, IMAGE_SUFFIXES, inputs=(image0, image1))
    with ProgressBar(5) as progress:
        from homolog.viz.pairs import plot_flow
        from homolog.viz.raster import save_image

        matcher, pair = pair_options.prepare(
            model, image0, image1, progress, **looks.to_arguments()
        )
        found = pair.flow()
        progress.update("drawing")
        save_image(plot_flow(image0, image1, found), out)
    print_pair(found.pair_score, matcher.config.same_category_threshold, found.pose, found.warning)
    print(f"image: {out}", file=sys.stderr)


def heatmap(
    image0: Path,
    image1: Path,
    *,
    model: ModelOptions = ModelOptions(),
    pair_options: PairOptions = PairOptions(),
    looks: LookOptions = LookOptions(),
    point: Annotated[str, Parameter(allow_leading_hyphen=True)],
    out: Path,
) -> None:
    """Draw how similar each part of the second image is to a point of the first.

    Parameters
    ----------
    image0
        The first image, the source.
    image1
        The second image, the target.
    point
        The point of the first image, x,y in pixels.
    out
        The image to draw.
    """
    out = check_output(out, IMAGE_SUFFIXES, inputs=(image0, image1))
    query = parse_point(point)
    with ProgressBar(5) as progress:
        from homolog.viz.pairs import plot_heatmap
        from homolog.viz.raster import save_image

        matcher, pair = pair_options.prepare(
            model, image0, image1, progress, **looks.to_arguments()
        )
        found = pair.heatmap([query])
        progress.update("drawing")
        save_image(plot_heatmap(image0, image1, found), out)
    _print_matches(found.matches, matcher.config.same_category_threshold)
    print(f"image: {out}", file=sys.stderr)


def demo(
    image0: Path | None = None,
    image1: Path | None = None,
    *,
    model: ModelOptions = ModelOptions(),
    out: Path = Path("homolog-demo.png"),
) -> None:
    """Match the example pair, or any two images, and draw the result.

    Parameters
    ----------
    image0
        The first image; without it, that of the example pair.
    image1
        The second image.
    out
        The image to draw.
    """
    if (image0 is None) != (image1 is None):
        raise HomologError("image1: expected two images, or none for the example pair, got one")
    if image0 is not None and image1 is not None:
        match(image0, image1, model=model, out=out)
        return
    from homolog.example import pair

    with pair() as example:
        match(
            example.image0,
            example.image1,
            model=model,
            points=[f"{x},{y}" for x, y in example.keypoints0[example.visible]],
            out=out,
        )


def print_pair(
    pair_score: float, same_category_threshold: float | None, pose: str, warning: str | None
) -> None:
    """Print the pair score, what it says of the two objects, the pose and any warning."""
    verdict = ""
    if same_category_threshold is not None:
        alike = pair_score >= same_category_threshold
        verdict = f" ({'same kind of object' if alike else 'perhaps not the same kind of object'})"
    print(f"pair score {pair_score:.2f}{verdict}, pose {pose}")
    if warning is not None:
        print(f"note: {warning}", file=sys.stderr)


def _write_json(
    path: Path | None, image0: Path, image1: Path, model: str, matches: Matches
) -> None:
    source = {"image0": str(image0), "image1": str(image1), "model": model}
    text = json.dumps(source | matches.to_dict(), indent=1, allow_nan=False) + "\n"
    if path is None:
        print(text, end="")
    else:
        write_atomically(path, text.encode(), "json")


def _print_matches(matches: Matches, same_category_threshold: float | None) -> None:
    names = matches.point_names or tuple(map(str, range(1, len(matches) + 1)))
    width = max([4, *map(len, names)])
    print(f"{'':>{width}} {'x0':>8} {'y0':>8}    {'x1':>8} {'y1':>8}  score")
    seen = [True] * len(matches) if matches.visible is None else matches.visible.tolist()
    rows = zip(
        names, matches.keypoints0, matches.keypoints1, matches.matching_scores, seen, strict=True
    )
    for name, (x0, y0), (x1, y1), score, visible in rows:
        end = "" if visible else "  not visible"
        print(f"{name:>{width}} {x0:8.1f} {y0:8.1f} -> {x1:8.1f} {y1:8.1f}  {score:5.2f}{end}")
    if matches.calibrated:
        print("score: the probability that a match is right within a tenth of the object's size")
    else:
        print("score: how consistent a match is both ways; no probability for this model")
    print_pair(matches.pair_score, same_category_threshold, matches.pose, matches.warning)
