"""An in-memory cache of bounded size that evicts what was used least recently."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """A least-recently-used cache for values that are expensive to compute, bounded in bytes.

    Args:
        max_bytes: how many bytes the values may take together.
        sizeof: returns the number of bytes that a value takes.
        min_items: how many values are kept however large they are.
    """

    def __init__(self, max_bytes: int, sizeof: Callable[[V], int], min_items: int = 1):
        self._max_bytes, self._sizeof, self._min_items = max_bytes, sizeof, min_items
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._used_bytes = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value stored under a key; computed and stored if there is none.

        A value that is there is measured again, for it may have grown.
        """
        value = self._values[key][0] if key in self._values else make()
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Store a value, perhaps in place of one that is there."""
        if key in self._values:
            self._used_bytes -= self._values.pop(key)[1]
        size = self._sizeof(value)
        self._values[key] = value, size
        self._used_bytes += size
        while self._used_bytes > self._max_bytes and len(self._values) > self._min_items:
            _, (_, evicted) = self._values.popitem(last=False)
            self._used_bytes -= evicted
