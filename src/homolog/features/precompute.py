"""Filling a feature cache: images are read ahead in threads and computed in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from jaxtyping import UInt8
from torch import Tensor

from homolog.backbones.base import Backbone
from homolog.backbones.batching import in_batches
from homolog.features.cache import FeatureCache
from homolog.utils.prefetch import prefetch

Canvas = UInt8[Tensor, "size size 3"]


def precompute(
    backbone: Backbone,
    cache: FeatureCache,
    cache_key: str,
    canvases: Iterable[Callable[[], Canvas]],
    batch_size: int = 1,
    num_workers: int = 4,
) -> Iterator[int]:
    """Compute the feature maps of those canvases that a cache does not hold yet.

    A batch that does not fit into the device's memory is halved, and so are all that follow.

    Args:
        backbone: computes the feature maps.
        cache: stores them.
        cache_key: everything that they depend on besides the canvas, as `FeatureCache` takes it.
        canvases: functions that read one canvas each; they are called ahead of time, in threads.
        batch_size: canvases in a batch.
        num_workers: number of threads that read.

    Yields:
        How many canvases are done, after each that had to be computed and at the end.

    Raises:
        HomologError: a single canvas does not fit into memory, or a file cannot be written.
    """
    waiting: deque[tuple[int, bytes]] = deque()
    number = 0

    def missing() -> Iterator[Canvas]:
        nonlocal number
        for canvas in prefetch(canvases, num_workers, 2 * batch_size + num_workers):
            number += 1
            pixels = canvas.numpy().tobytes()
            if not cache.contains(pixels, cache_key):
                waiting.append((number, pixels))
                yield canvas

    for maps in in_batches(backbone, missing(), batch_size):
        done, pixels = waiting.popleft()
        cache.put(pixels, cache_key, maps)
        yield done
    yield number
