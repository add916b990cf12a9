"""The mean of many pictures of one kind of thing, each brought to one picture's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from homolog.applications.warping import MAX_SIZE, certainty
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.geometry import as_poses
from homolog.matcher import Matcher, PosesLike
from homolog.utils.prefetch import prefetch
from homolog.utils.progress import ProgressBar
from homolog.viz import draw

_CANDIDATES = 12  # pictures among which the reference is chosen
_LEAST = 0.1  # weight of what has no match, so that the reference is not alone there
_READERS = 2


@dataclass(frozen=True)
class Average:
    """The mean of some pictures.

    Attributes:
        picture: of the reference's shape, `RGB`.
        reference: the picture that all others were brought to.
        used: how many pictures it is the mean of.
        left_out: what is wrong with each picture that is not in it, one line each.
    """

    picture: Image.Image
    reference: Path
    used: int
    left_out: tuple[str, ...]


def average(
    matcher: Matcher,
    paths: Sequence[Path],
    reference: Path | None = None,
    *,
    size: int = MAX_SIZE,
    poses: PosesLike = "none",
) -> Average:
    """The mean of pictures, each warped onto the reference's shape and weighted by confidence.

    Memory does not grow with the number of pictures. Pictures that cannot be read are left out.

    Args:
        matcher: finds the flows.
        paths: the picture files.
        reference: the picture whose shape is wanted; if it is none of `paths`, it lends its shape
            alone. By default, of twelve pictures evenly spread over `paths`, the one that is
            nearest to the other eleven by instance matching distance.
        size: the longer side of the result at most, in pixels; never more than the reference has.
        poses: poses of each picture to choose from; as a whole, a picture may be flipped.

    Raises:
        HomologError: no picture can be read, or an argument cannot be used.
    """
    if size < 1:
        raise HomologError(f"size: got {size}, takes at least 1 pixel")
    as_poses(poses)  # checked before the work
    left_out: dict[Path, str] = {}
    known: dict[Path, Features] = {}
    if reference is None:
        known = _candidates(matcher, paths, left_out)
        reference = _middle(matcher, known, poses)
    target = known[reference] if reference in known else matcher.load_image(reference, "reference")
    wanted = draw.reduced(target.size, size)
    total = np.zeros((wanted[1], wanted[0], 3))
    weights = np.zeros((wanted[1], wanted[0], 1))
    used = 0
    remaining = [path for path in paths if path not in left_out]
    # Not coarser than what the backbone sees.
    side = max(*wanted, matcher.backbone.side)
    jobs = (partial(_read, path, side, matcher.max_pixels) for path in remaining)
    with ProgressBar(len(remaining)) as steps:
        for path, picture in zip(remaining, prefetch(jobs, _READERS, 2 * _READERS), strict=True):
            steps.update(f"aligning {path.name}")
            if isinstance(picture, HomologError):
                left_out[path] = str(picture)
                continue
            if path == reference:
                look = np.asarray(picture.image.resize(wanted), dtype=float)
                sure = np.ones(weights.shape)
            else:
                features = known.pop(path, None) or matcher.load_image(picture.image)
                pair = matcher.pair(features, target, poses=poses)
                field = pair.flow(flip=True).backward.smoothed()
                look = draw.resampled(picture.image, field, wanted)
                sure = certainty(field, wanted)[..., None]
            weight = _LEAST + (1 - _LEAST) * sure
            total += weight * look
            weights += weight
            used += 1
    if not used:
        raise HomologError(f"pictures: none of {len(paths)} can be read: {_first(left_out)}")
    mean = np.rint(total / weights).astype(np.uint8)
    lines = tuple(left_out[path] for path in paths if path in left_out)
    return Average(Image.fromarray(mean), reference, used, lines)


def _candidates(
    matcher: Matcher, paths: Sequence[Path], left_out: dict[Path, str]
) -> dict[Path, Features]:
    """Features of some pictures evenly spread over all; those that cannot be read are noted."""
    found: dict[Path, Features] = {}
    step = max(1, len(paths) / _CANDIDATES)
    spread = [paths[int(row)] for row in np.arange(0, len(paths), step)]
    # Others make up for those that are broken.
    for path in dict.fromkeys([*spread, *paths]):
        if len(found) == _CANDIDATES:
            break
        try:
            found[path] = matcher.extract(path)
        except HomologError as error:
            left_out[path] = str(error)
    if not found:
        raise HomologError(f"pictures: none of {len(paths)} can be read: {_first(left_out)}")
    return found


def _middle(matcher: Matcher, known: dict[Path, Features], poses: PosesLike) -> Path:
    """The picture nearest to all others."""
    sums = dict.fromkeys(known, 0.0)
    for one, other in combinations(known, 2):
        distance = matcher.pair(known[one], known[other], poses=poses).distance()
        sums[one] += distance
        sums[other] += distance
    return min(sums, key=sums.__getitem__)


def _read(path: Path, side: int, max_pixels: int) -> reading.Picture | HomologError:
    """A picture, or what is wrong with it."""
    try:
        return reading.read(path, side=side, max_pixels=max_pixels)
    except HomologError as error:
        return error


def _first(left_out: dict[Path, str]) -> str:
    return next(iter(left_out.values()), "there are none")
