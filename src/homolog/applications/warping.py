"""One thing's look on another's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageFilter

from homolog.descriptors import Features, FeaturesLike
from homolog.errors import HomologError
from homolog.flow import Flow, FlowField
from homolog.image import reading
from homolog.image.geometry import interpolate
from homolog.matcher import MaskLike, Matcher, PosesLike
from homolog.pair import ImagePair
from homolog.viz import draw

Rest = Literal["target", "grey", "transparent"]

MAX_SIZE = 1024
"""Pixels of the longer side that results have at most, unless told otherwise."""


@dataclass(frozen=True)
class Warped:
    """A picture on another's shape.

    Attributes:
        picture: of the shape of the second picture; `RGB`, or `RGBA` with a transparent rest.
        sure: how much of each pixel comes from the first picture, 0 to 1.
        flow: what led there.
    """

    picture: Image.Image
    sure: Float[np.ndarray, "height width"]
    flow: Flow


def warp(
    matcher: Matcher,
    image0: FeaturesLike,
    image1: FeaturesLike,
    *,
    size: int = MAX_SIZE,
    rest: Rest = "target",
    poses: PosesLike = "none",
    mask0: MaskLike | None = None,
    mask1: MaskLike | None = None,
) -> Warped:
    """The first picture's look on the second picture's shape.

    Without masks, the thing is what stands out from the background in both pictures. Unlike
    points, a picture may be mirrored as a whole, so a flip is used where it fits better.

    Args:
        matcher: finds the flow.
        image0: the picture whose look is wanted.
        image1: the picture whose shape is wanted.
        size: the longer side of the result at most, in pixels; never more than `image1` has.
        rest: what shows where the flow is not sure: the second picture, grey, or nothing.
        poses: poses of the first picture to choose from, as for `Matcher.transfer`.
        mask0: the thing in the first picture.
        mask1: the thing in the second picture.

    Raises:
        HomologError: an argument cannot be used; the message names it.
    """
    if size < 1:
        raise HomologError(f"size: got {size}, takes at least 1 pixel")
    if rest not in get_args(Rest):
        raise HomologError(f"rest: {rest!r} is none of {', '.join(get_args(Rest))}")
    given0, given1 = image0, image1
    pair = matcher.pair(image0, image1, poses=poses, mask0=mask0, mask1=mask1)
    features0, features1 = pair.image0, pair.image1
    found = pair.flow(flip=True)
    field = found.backward.smoothed()
    wanted = draw.reduced(features1.size, size)
    sure = certainty(field, wanted)
    if mask0 is None and mask1 is None:
        sure *= _standing_out(pair, field, wanted)
    if mask0 is not None:
        thing = reading.read_mask(
            mask0, features0.size, max_pixels=matcher.max_pixels, name="mask0"
        )
        sure *= draw.resampled(_soft(thing, wanted), field, wanted)[..., 0] / 255
    if mask1 is not None:
        thing = reading.read_mask(
            mask1, features1.size, max_pixels=matcher.max_pixels, name="mask1"
        )
        sure *= np.asarray(_soft(thing, wanted).resize(wanted), dtype=float) / 255
    source = _pixels(matcher, given0, max(wanted), "image0")
    look = draw.resampled(source, field, wanted)
    if rest == "transparent":
        layers = np.dstack([look, 255 * sure])
        return Warped(Image.fromarray(np.rint(layers).astype(np.uint8), "RGBA"), sure, found)
    below: float | Float[np.ndarray, "height width 3"] = draw.FADED
    if rest == "target":
        target = _pixels(matcher, given1, max(wanted), "image1").resize(wanted)
        below = np.asarray(target, dtype=float)
    mixed = look * sure[..., None] + below * (1 - sure[..., None])
    return Warped(Image.fromarray(np.rint(mixed).astype(np.uint8)), sure, found)


def certainty(field: FlowField, size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """How far a smoothed flow is to be followed, 0 to 1, without hard edges.

    Args:
        field: the flow from the shape that is wanted, smoothed.
        size: width and height of the result.
    """
    agreeing = field.transform0.resample(field.scores[..., None], size)[..., 0]
    return _eased((agreeing - 0.06) / 0.2)


def _standing_out(
    pair: ImagePair, field: FlowField, size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Whether each pixel, and the place that it comes from, belongs to the thing."""
    weight0, weight1 = (
        found.saliency_HW.double().cpu().numpy()[..., None]
        for found in (pair.source_map(pair.alignment.pose), pair.target_map)
    )
    there = field.transform1.to_cells(field.dense(size).reshape(-1, 2))
    own = field.transform0.resample(weight1, size)[..., 0]
    return _eased(2.5 * np.minimum(own, interpolate(weight0, there).reshape(own.shape)))


def _soft(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A mask as a grey picture with soft edges, about as large as the result."""
    whole = Image.fromarray(mask.astype(np.uint8) * 255)
    soft = whole.resize(draw.reduced(whole.size, max(size)), Image.Resampling.BOX)
    return soft.filter(ImageFilter.GaussianBlur(max(1.0, max(soft.size) / 400)))


def _pixels(matcher: Matcher, image: FeaturesLike, side: int, name: str) -> Image.Image:
    """A picture with about that longer side."""
    if isinstance(image, Features):
        return image.image
    return reading.read(image, side=side, max_pixels=matcher.max_pixels, name=name).image


def _eased(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """0 to 1, flat at both ends."""
    x = np.clip(values, 0.0, 1.0)
    return x * x * (3 - 2 * x)
