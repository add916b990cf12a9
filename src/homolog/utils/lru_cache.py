"""What is kept in memory, and what gives way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Things that took work to make; those not used for longest give way.

    Args:
        memory: bytes that they may take.
        size: says how many one takes.
        least: how many are kept whatever they take.
    """

    def __init__(self, memory: int, size: Callable[[V], int], least: int = 1):
        self._memory, self._size, self._least = memory, size, least
        self._things: OrderedDict[K, V] = OrderedDict()
        self._used = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under a key, made if it is not there."""
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key]
        made = self._things[key] = make()
        self._used += self._size(made)
        while self._used > self._memory and len(self._things) > self._least:
            _, dropped = self._things.popitem(last=False)
            self._used -= self._size(dropped)
        return made
