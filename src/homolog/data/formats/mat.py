"""Matlab files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from homolog.errors import HomologError
from homolog.utils.optional import require


def read(path: Path, name: str) -> Float[np.ndarray, "rows columns"]:
    """A matrix in a Matlab file.

    Raises:
        HomologError: the file is missing or broken, has no such matrix, or scipy is not installed.
    """
    loadmat = require("scipy.io", "data").loadmat
    try:
        found = loadmat(path, variable_names=[name])
    except OSError as error:
        raise HomologError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # broken bytes raise nearly anything
        raise HomologError(f"{path}: is not a Matlab file: {error}") from error
    if name not in found:
        raise HomologError(f"{path}: lacks {name!r}")
    matrix = found[name]
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise HomologError(f"{path}: {name!r} is not a matrix of numbers")
    return matrix.astype(float)
