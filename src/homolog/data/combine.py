"""Pairs made of annotated pictures, for data sets that do not list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from jaxtyping import Float, Int

from homolog.data.pairs import Annotation, Pair


class LazyPairs(Sequence[Pair]):
    """Pairs made only when asked for, so that millions of them fit into memory.

    Args:
        annotations: the pictures.
        index: for each pair the places of its source and its target among them.
    """

    def __init__(self, annotations: Sequence[Annotation], index: Int[np.ndarray, "P 2"]):
        self._annotations = annotations
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> Pair: ...

    @overload
    def __getitem__(self, at: slice) -> LazyPairs: ...

    def __getitem__(self, at: int | slice) -> Pair | LazyPairs:
        if isinstance(at, slice):
            return LazyPairs(self._annotations, self._index[at])
        source, target = (self._annotations[i] for i in self._index[at])
        return Pair.of(f"{source.name}:{target.name}", source, target)


def shared_keypoints(
    first: Sequence[Annotation], second: Sequence[Annotation]
) -> Float[np.ndarray, "N M"]:
    """How many keypoints each of the first and each of the second both show."""
    # Whole numbers are exact as 32-bit floats, for which matrix products are fast.
    a, b = (np.array([x.visible for x in side], dtype=np.float32) for side in (first, second))
    return a @ b.T
