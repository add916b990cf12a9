"""Averaging: the mean of many images of one category, each warped onto one image's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from homolog.applications.warping import flow_opacity
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image.poses import as_poses
from homolog.image.reading import LoadedImage, load_image
from homolog.matcher import Matcher, PosesLike
from homolog.utils.prefetch import prefetch
from homolog.utils.progress import ProgressBar
from homolog.viz.raster import MAX_SIZE, reduced_size, sample_along_flow

_CANDIDATES = 12  # images among which the reference is chosen
_MIN_WEIGHT = 0.1  # of pixels without a match, so that they are not the reference's alone
_NUM_WORKERS = 2


@dataclass(frozen=True)
class Average:
    """The mean of some images.

    Attributes:
        image: the mean, of the reference's shape, `RGB`.
        reference: the image that all others were warped onto.
        used: number of images that were averaged.
        skipped: what is wrong with each image that could not be read, one line each.
    """

    image: Image.Image
    reference: Path
    used: int
    skipped: tuple[str, ...]


def average(
    matcher: Matcher,
    paths: Sequence[Path],
    reference: Path | None = None,
    *,
    size: int = MAX_SIZE,
    poses: PosesLike = "none",
) -> Average:
    """The mean of images, each warped onto the reference's shape and weighted by confidence.

    Memory does not grow with the number of images. Images that cannot be read are skipped.

    Args:
        matcher: computes the flows.
        paths: the image files.
        reference: the image that gives the shape; if it is none of `paths`, it is not averaged.
            By default, of twelve images evenly sampled from `paths`, the one that is nearest to
            the other eleven by instance matching distance.
        size: the longer edge of the result at most, in pixels; never more than the reference has.
        poses: poses of each image to choose from; an image may be flipped as a whole.

    Raises:
        HomologError: no image can be read, or an argument cannot be used.
    """
    if size < 1:
        raise HomologError(f"size: expected at least 1 pixel, got {size}")
    as_poses(poses)  # checked before the work
    skipped: dict[Path, str] = {}
    extracted: dict[Path, Features] = {}
    if reference is None:
        extracted = _extract_candidates(matcher, paths, skipped)
        reference = _most_central(matcher, extracted, poses)
    target = (
        extracted[reference]
        if reference in extracted
        else matcher.load_image(reference, "reference")
    )
    output = reduced_size(target.size, size)
    total = np.zeros((output[1], output[0], 3))
    weights = np.zeros((output[1], output[0], 1))
    used = 0
    remaining = [path for path in paths if path not in skipped]
    # Not coarser than what the backbone sees.
    edge = max(*output, matcher.backbone.canvas_size)
    jobs = (partial(_load, path, edge, matcher.max_pixels) for path in remaining)
    images = prefetch(jobs, _NUM_WORKERS, 2 * _NUM_WORKERS)
    with ProgressBar(len(remaining)) as progress:
        for path, loaded in zip(remaining, images, strict=True):
            progress.update(f"aligning {path.name}")
            if isinstance(loaded, HomologError):
                skipped[path] = str(loaded)
                continue
            if path == reference:
                warped = np.asarray(loaded.image.resize(output), dtype=float)
                opacity = np.ones(weights.shape)
            else:
                source = extracted.pop(path, None) or matcher.load_image(loaded.image)
                pair = matcher.pair(source, target, poses=poses)
                field = pair.flow(flip=True).backward.smoothed()
                warped = sample_along_flow(loaded.image, field, output)
                opacity = flow_opacity(field, output)[..., None]
            weight = _MIN_WEIGHT + (1 - _MIN_WEIGHT) * opacity
            total += weight * warped
            weights += weight
            used += 1
    if not used:
        raise _none_readable(paths, skipped)
    mean = np.rint(total / weights).astype(np.uint8)
    lines = tuple(skipped[path] for path in paths if path in skipped)
    return Average(Image.fromarray(mean), reference, used, lines)


def _extract_candidates(
    matcher: Matcher, paths: Sequence[Path], skipped: dict[Path, str]
) -> dict[Path, Features]:
    """Features of images evenly sampled from all; those that cannot be read are noted."""
    extracted: dict[Path, Features] = {}
    step = max(1, len(paths) / _CANDIDATES)
    sampled = [paths[int(row)] for row in np.arange(0, len(paths), step)]
    # Others make up for those that cannot be read.
    for path in dict.fromkeys([*sampled, *paths]):
        if len(extracted) == _CANDIDATES:
            break
        try:
            extracted[path] = matcher.extract(path)
        except HomologError as error:
            skipped[path] = str(error)
    if not extracted:
        raise _none_readable(paths, skipped)
    return extracted


def _most_central(matcher: Matcher, candidates: dict[Path, Features], poses: PosesLike) -> Path:
    """The image with the least sum of instance matching distances to all others."""
    sums = dict.fromkeys(candidates, 0.0)
    for path0, path1 in combinations(candidates, 2):
        pair = matcher.pair(candidates[path0], candidates[path1], poses=poses)
        distance = pair.distance()  # in the best pose
        sums[path0] += distance
        sums[path1] += distance
    return min(sums, key=sums.__getitem__)


def _load(path: Path, longest_edge: int, max_pixels: int) -> LoadedImage | HomologError:
    """An image, or what is wrong with it: an exception would end the prefetching."""
    try:
        return load_image(path, longest_edge=longest_edge, max_pixels=max_pixels)
    except HomologError as error:
        return error


def _none_readable(paths: Sequence[Path], skipped: dict[Path, str]) -> HomologError:
    first = next(iter(skipped.values()), "none were given")
    return HomologError(
        f"images: expected at least one that can be read, got none of {len(paths)}: {first}"
    )
