"""Warping: the appearance of one object on the shape of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageFilter

from homolog.descriptors import Features, FeaturesLike
from homolog.errors import HomologError
from homolog.flow import Flow, FlowField
from homolog.image import masks, reading
from homolog.image.geometry import interpolate
from homolog.image.regions import BoxLike
from homolog.loading import MaskLike
from homolog.matcher import Matcher, PosesLike
from homolog.pair import ImagePair
from homolog.quality import QualityName, ZoomChoice
from homolog.viz.raster import MAX_SIZE, UNMATCHED_GREY, reduced_size, sample_along_flow

Background = Literal["target", "grey", "transparent"]
"""What is visible where the source was not warped to."""


@dataclass(frozen=True)
class Warped:
    """An image warped onto the shape of another.

    Attributes:
        image: of the target's shape; `RGB`, or `RGBA` with a transparent background.
        alpha: the share of each pixel that comes from the source, 0 to 1.
        flow: the dense correspondence that was followed.
    """

    image: Image.Image
    alpha: Float[np.ndarray, "height width"]
    flow: Flow


def warp(
    matcher: Matcher,
    image0: FeaturesLike,
    image1: FeaturesLike,
    *,
    size: int = MAX_SIZE,
    background: Background = "target",
    poses: PosesLike = "none",
    mask0: MaskLike | None = None,
    mask1: MaskLike | None = None,
    box0: BoxLike | None = None,
    box1: BoxLike | None = None,
    quality: QualityName = "default",
    zoom: ZoomChoice = None,
    mirror: bool | None = None,
) -> Warped:
    """Warp the source's object onto the shape of the target's object.

    Without masks, the objects are what is salient. Unlike points, an image may be mirrored as a
    whole, so a flip is used where it fits better.

    Args:
        matcher: computes the flow.
        image0: the source, which gives the appearance.
        image1: the target, which gives the shape.
        size: the longer edge of the result at most, in pixels; never more than the target has.
        background: what is visible where the flow is not confident: the target, grey, or nothing.
        poses: poses of the source to choose from, as for `Matcher.pair`.
        mask0: the object in the source.
        mask1: the object in the target.
        box0: as for `Matcher.pair`; nothing beyond its margin is warped.
        box1: as for `Matcher.pair`; nothing is warped to beyond its margin.
        quality: as for `Matcher.pair`.
        zoom: as for `Matcher.pair`.
        mirror: as for `Matcher.pair`.

    Raises:
        HomologError: an argument cannot be used; the message names it.
    """
    if size < 1:
        raise HomologError(f"size: expected at least 1 pixel, got {size}")
    if background not in get_args(Background):
        raise HomologError(
            f"background: expected {', '.join(get_args(Background))}, got {background!r}"
        )
    pair = matcher.pair(
        image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
        quality=quality, zoom=zoom, mirror=mirror,
    )  # fmt: skip
    object0, object1 = (
        None
        if mask is None
        else masks.read_mask(mask, image.size, max_pixels=matcher.max_pixels, name=name)
        for mask, image, name in ((mask0, pair.image0, "mask0"), (mask1, pair.image1, "mask1"))
    )
    flow = pair.flow(flip=True)
    field = flow.backward.smoothed()
    output = reduced_size(pair.image1.size, size)
    alpha = flow_opacity(field, output)
    if object0 is None and object1 is None:
        alpha *= _saliency_opacity(pair, field, output)
    if object0 is not None:
        alpha *= sample_along_flow(_soft_mask(object0, output), field, output)[..., 0] / 255
    if object1 is not None:
        alpha *= np.asarray(_soft_mask(object1, output).resize(output), dtype=float) / 255
    warped = sample_along_flow(_pixels(matcher, image0, max(output), "image0"), field, output)
    if background == "transparent":
        layers = np.rint(np.dstack([warped, 255 * alpha])).astype(np.uint8)
        return Warped(Image.fromarray(layers, "RGBA"), alpha, flow)
    below: float | Float[np.ndarray, "height width 3"] = UNMATCHED_GREY
    if background == "target":
        pixels = _pixels(matcher, image1, max(output), "image1").resize(output)
        below = np.asarray(pixels, dtype=float)
    blended = warped * alpha[..., None] + below * (1 - alpha[..., None])
    return Warped(Image.fromarray(np.rint(blended).astype(np.uint8)), alpha, flow)


def flow_opacity(field: FlowField, size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """How opaque an image warped along a smoothed flow should be, 0 to 1, without hard edges.

    Args:
        field: the flow from an image of the wanted shape, smoothed (`FlowField.smoothed`).
        size: width and height of the result.
    """
    scores = field.transform0.resample(field.scores[..., None], size, outside=0.0)[..., 0]
    return _smoothstep((scores - 0.06) / 0.2)


def _saliency_opacity(
    pair: ImagePair, field: FlowField, size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Opacity by saliency: of each pixel of the target, and of its match in the source."""
    source, target = (
        each.saliency_HW.double().cpu().numpy()[..., None]
        for each in (pair.source_map(pair.alignment.pose), pair.target_map)
    )
    matched = field.transform1.to_cells(field.dense(size).reshape(-1, 2))
    own = field.transform0.resample(target, size)[..., 0]
    return _smoothstep(2.5 * np.minimum(own, interpolate(source, matched).reshape(own.shape)))


def _soft_mask(mask: Bool[np.ndarray, "height width"], size: tuple[int, int]) -> Image.Image:
    """A mask as a grey image with soft edges, about as large as the result."""
    whole = Image.fromarray(mask.astype(np.uint8) * 255)
    reduced = whole.resize(reduced_size(whole.size, max(size)), Image.Resampling.BOX)
    return reduced.filter(ImageFilter.GaussianBlur(max(1.0, max(reduced.size) / 400)))


def _pixels(matcher: Matcher, image: FeaturesLike, size: int, name: str) -> Image.Image:
    """An image whose longer edge has about that many pixels."""
    if isinstance(image, Features):
        return image.image
    return reading.load_image(
        image, longest_edge=size, max_pixels=matcher.max_pixels, name=name
    ).image


def _smoothstep(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Values clipped to 0..1, with a slope of zero at both ends."""
    x = np.clip(values, 0.0, 1.0)
    return x * x * (3 - 2 * x)
