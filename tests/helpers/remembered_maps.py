"""What the embedded backbone saw on a canvas, remembered from one test to the next.

Most of the time of tests with the shipped model goes into looking at the same few images again. A
canvas that comes again, bit for bit, to networks with the same weights gets copies of the maps that
it got before. They are the very same numbers: on one thread, a canvas's maps do not depend on what
else is in its batch (tests/backbones/test_efficientnet_lite.py).
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from homolog.backbones.efficientnet_lite import EmbeddedBackbone

_LIMIT_BYTES = 400 * 2**20


class RememberedMaps:
    """The maps of the canvases that were asked for last, within a limit of memory.

    Args:
        forward: what looks at a batch of canvases.
    """

    def __init__(self, forward: Callable[[nn.Module, Tensor], list[Tensor]]):
        self._forward = forward
        self._maps: OrderedDict[tuple, list[Tensor]] = OrderedDict()
        self._bytes = 0
        self._digests: weakref.WeakKeyDictionary[nn.Module, tuple] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, backbone: nn.Module, canvases: Tensor) -> list[Tensor]:
        weights = self._digest(backbone)
        keys = [(weights, _digest(canvas)) for canvas in canvases]
        with self._lock:
            found = {key: self._maps[key] for key in keys if key in self._maps}
            for key in found:
                self._maps.move_to_end(key)
        new = {key: number for number, key in enumerate(keys) if key not in found}
        if new:
            looked = self._forward(backbone, canvases[list(new.values())])
            for row, key in enumerate(new):
                found[key] = [features[row : row + 1].clone() for features in looked]
            with self._lock:
                self._put({key: found[key] for key in new})
        return [torch.cat(same) for same in zip(*(found[key] for key in keys), strict=True)]

    def _put(self, new: dict[tuple, list[Tensor]]) -> None:
        for key, maps in new.items():
            if key not in self._maps:  # another thread may have looked at it meanwhile
                self._maps[key] = maps
                self._bytes += _size(maps)
        while self._bytes > _LIMIT_BYTES:
            self._bytes -= _size(self._maps.popitem(last=False)[1])

    def _digest(self, backbone: nn.Module) -> bytes:
        """Of all weights: taken anew whenever one of them has changed."""
        weights = list(backbone.state_dict().values())
        version = [(each.data_ptr(), each._version) for each in weights]
        version += [(each.dtype, each.device) for each in weights]
        kept = self._digests.get(backbone)
        if kept is None or kept[0] != version:
            total = hashlib.sha256(str(version[len(weights) :]).encode())
            for each in weights:
                total.update(_digest(each))
            kept = self._digests[backbone] = (version, total.digest())
        return kept[1]


def _digest(tensor: Tensor) -> bytes:
    # Half precision, which NumPy has not all of, loses nothing in float32.
    values = tensor.detach().cpu().flatten()
    values = values.float() if values.is_floating_point() else values
    return hashlib.sha256(values.numpy()).digest()


def _size(maps: list[Tensor]) -> int:
    return sum(features.nbytes for features in maps)


@pytest.fixture(scope="session", autouse=True)
def remembered_maps() -> Iterator[None]:
    """All tests of a process share what the embedded backbone has seen."""
    maps = RememberedMaps(EmbeddedBackbone.forward)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedBackbone, "forward", lambda self, canvases: maps(self, canvases))
        yield
