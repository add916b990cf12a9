"""Operations on many vectors at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def dot(a: Float[np.ndarray, "P 3"], b: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 1"]:
    """The scalar products of the rows."""
    return np.einsum("pc,pc->p", a, b)[:, None]


def unit(v: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
    """The rows scaled to length 1; rows of zeros stay."""
    return v / np.maximum(np.sqrt(dot(v, v)), np.float32(1e-20))
