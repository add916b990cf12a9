"""Several canvases through a backbone at once, as many as fit into the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from homolog.backbones.base import Backbone
from homolog.errors import HomologError

_log = logging.getLogger(__name__)

FeatureMaps = Sequence[Float[Tensor, "B _C _h _w"]]
"""The feature maps of a batch of canvases, one tensor for each map of the backbone."""


def in_batches(
    backbone: Backbone,
    canvases: Iterable[UInt8[Tensor, "size size 3"]],
    batch_size: int,
    **prompt: str,
) -> Iterator[FeatureMaps]:
    """The feature maps of each canvas, B = 1, computed a batch at a time.

    A batch that does not fit into the device's memory is halved, and so are all that follow.

    Args:
        backbone: makes the feature maps.
        canvases: letterboxed images; a batch of them is held at a time.
        batch_size: canvases a pass at most.
        prompt: what the backbone takes besides, such as a `category`.

    Raises:
        HomologError: a single canvas does not fit.
    """
    source = iter(canvases)
    waiting: list[Tensor] = []
    while True:
        waiting += islice(source, max(0, batch_size - len(waiting)))
        if not waiting:
            return
        batch = torch.stack(waiting[:batch_size])
        if backbone.device.type == "cuda":
            batch = batch.pin_memory().to(backbone.device, non_blocking=True)
        try:
            maps = backbone(batch, **prompt)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise out_of_memory_error(backbone) from None
            batch_size = max(1, batch_size // 2)
            _log.info("%d canvases do not fit into memory; from now on %d", len(batch), batch_size)
            torch.cuda.empty_cache()
            continue
        del waiting[:batch_size]
        for index in range(len(batch)):
            yield [features[index : index + 1] for features in maps]


def out_of_memory_error(backbone: Backbone) -> HomologError:
    """The error for a canvas that is too large for a device."""
    return HomologError(
        f"device: expected room for one canvas of {backbone.canvas_size} pixels, got too little "
        f"memory on {backbone.device}; try a smaller canvas, half precision, or slicing"
    )
