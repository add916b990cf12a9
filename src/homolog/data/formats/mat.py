"""Matrices in MATLAB files (`.mat`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from homolog.data.reading import unreadable
from homolog.errors import HomologError
from homolog.utils.optional import require


def read(path: Path, name: str) -> Float[np.ndarray, "rows columns"]:
    """Read one matrix of a MATLAB file.

    Args:
        path: the file.
        name: of the variable.

    Raises:
        HomologError: the file cannot be read, has no such matrix, or scipy is not installed.
    """
    loadmat = require("scipy.io", "data").loadmat
    try:
        variables = loadmat(path, variable_names=[name])
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # malformed bytes raise nearly anything
        raise HomologError(f"{path}: expected a MATLAB file, got: {error}") from error
    if name not in variables:
        raise HomologError(f"{path}: expected a variable {name!r}, got none")
    matrix = variables[name]
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise HomologError(
            f"{path}: {name!r}: expected a matrix of numbers, got {matrix.dtype} of shape "
            f"{matrix.shape}"
        )
    return matrix.astype(float)
