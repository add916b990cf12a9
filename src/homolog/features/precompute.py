"""Many pictures through a backbone, into a cache: read ahead, in batches, shared by processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import UInt8
from torch import Tensor

from homolog.backbones.base import Backbone
from homolog.errors import HomologError
from homolog.features.cache import FeatureCache, Maps
from homolog.utils.prefetch import prefetch

Canvas = UInt8[Tensor, "side side 3"]


def build(
    backbone: Backbone,
    cache: FeatureCache,
    made_by: str,
    canvases: Iterable[Callable[[], Canvas]],
    batch: int = 1,
    readers: int = 4,
) -> Iterator[int]:
    """Make the maps of canvases that the cache does not hold.

    A batch that does not fit into the device's memory is halved, and so are all that follow.

    Args:
        backbone: makes the maps.
        cache: keeps them.
        made_by: what they depend on besides the canvas, as the cache is told.
        canvases: functions that read a canvas each; they are called in threads, ahead of use.
        batch: canvases a pass.
        readers: how many threads read.

    Yields:
        How many canvases have been dealt with, batch after batch.

    Raises:
        HomologError: a single canvas does not fit into memory, or a file cannot be written.
    """
    done = 0
    waiting: list[Canvas] = []
    for canvas in prefetch(canvases, readers, 2 * batch + readers):
        done += 1
        if not cache.holds(canvas.numpy().tobytes(), made_by):
            waiting.append(canvas)
        if len(waiting) >= batch:
            batch = _make(backbone, cache, made_by, waiting, batch)
            waiting = []
            yield done
    if waiting:
        _make(backbone, cache, made_by, waiting, batch)
    yield done


def _make(
    backbone: Backbone, cache: FeatureCache, made_by: str, canvases: list[Canvas], batch: int
) -> int:
    """Make and keep the maps of some canvases; the batch that fits."""
    start = 0
    while start < len(canvases):
        part = canvases[start : start + batch]
        given = torch.stack(part)
        if backbone.device.type == "cuda":
            given = given.pin_memory().to(backbone.device, non_blocking=True)
        try:
            maps = backbone(given)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise does_not_fit(backbone) from None
            batch = max(1, batch // 2)
            torch.cuda.empty_cache()
            continue
        for index, canvas in enumerate(part):
            own: Maps = [features[index : index + 1] for features in maps]
            cache.put(canvas.numpy().tobytes(), made_by, own)
        start += len(part)
    return batch


def does_not_fit(backbone: Backbone) -> HomologError:
    """What is said when one canvas is too much for a device."""
    return HomologError(
        f"device: one canvas of {backbone.side} pixels does not fit into the memory of "
        f"{backbone.device}; try a smaller side, half precision, or slicing"
    )
