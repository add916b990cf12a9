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
        self._values: OrderedDict[K, V] = OrderedDict()
        self._used_bytes = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value stored under a key; computed and stored if there is none."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Store a value, perhaps in place of one that is there."""
        if key in self._values:
            self._used_bytes -= self._sizeof(self._values.pop(key))
        self._values[key] = value
        self._used_bytes += self._sizeof(value)
        while self._used_bytes > self._max_bytes and len(self._values) > self._min_items:
            _, evicted = self._values.popitem(last=False)
            self._used_bytes -= self._sizeof(evicted)
