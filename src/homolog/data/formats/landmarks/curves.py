"""Curves of semilandmarks: resampled to equal counts, and the sliders that geomorph reads.

Semilandmarks are keypoints named `curve1 1`, `curve1 2`, …; the member `curves` of a category lists
for each curve its keypoints in order. Both ends of a curve are fixed, the others slide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from homolog.utils.outputs import write_atomically

SLIDERS = "curveslide.csv"
"""The file name under which geomorph writes its table of sliders."""


def semilandmark_names(counts: Iterable[int]) -> list[str]:
    """The names of the semilandmarks of curves, from the number of each.

    >>> semilandmark_names([2, 1])
    ['curve1 1', 'curve1 2', 'curve2 1']
    """
    return [
        f"curve{curve} {point}"
        for curve, count in enumerate(counts, start=1)
        for point in range(1, count + 1)
    ]


def consecutive(first: int, counts: Iterable[int]) -> list[list[int]]:
    """The keypoints of curves that follow each other, as a category lists them.

    >>> consecutive(12, [3, 2])
    [[12, 13, 14], [15, 16]]
    """
    curves = []
    for count in counts:
        curves.append(list(range(first, first + count)))
        first += count
    return curves


def curves_of(category: Mapping[str, Any]) -> list[list[int]]:
    """The keypoints of each curve of a category; those of other tools that mean none are left out.

    >>> curves_of({"keypoints": ["tip", "a", "b"], "curves": [[1, 2], [2, 9], "a"]})
    [[1, 2]]
    """
    count = len(category.get("keypoints", []))
    listed = category.get("curves")
    return [
        list(curve)
        for curve in (listed if isinstance(listed, list) else [])
        if isinstance(curve, list)
        and curve
        and all(isinstance(point, int) and 0 <= point < count for point in curve)
    ]


def resample(points: Float[np.ndarray, "M 2"], count: int) -> Float[np.ndarray, "count 2"]:
    """Points at equal distances along a curve, its two ends among them.

    Args:
        points: of the curve in order, at least one, none of them missing.
        count: how many are wanted, at least 2.

    >>> resample(np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]]), 3).tolist()
    [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]
    """
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0, along[-1], count)
    found = np.stack([np.interp(wanted, along, values) for values in points.T], axis=1)
    found[0], found[-1] = points[0], points[-1]
    return found


def sliders(landmarks: int, counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """Which semilandmark slides between which two points, numbered from 1 as geomorph numbers them.

    There the points of all curves follow the landmarks, in the order of the file
    (`readland.tps(…, readcurves = TRUE)`).

    Args:
        landmarks: how many there are that belong to no curve.
        counts: the number of points of each curve.

    >>> sliders(12, [4])
    [(13, 14, 15), (14, 15, 16)]
    """
    return [
        (before + 1, slide + 1, after + 1)
        for curve in consecutive(landmarks, counts)
        for before, slide, after in zip(curve, curve[1:], curve[2:], strict=False)
    ]


def write_sliders(path: Path, landmarks: int, counts: Sequence[int], argument: str) -> Path:
    """Write the table of sliders beside a file of landmarks, as `curveslide.csv`.

    Where a file of that name holds other sliders, the table is named by the landmarks' file.

    Args:
        path: of the file of landmarks.
        landmarks: how many there are that belong to no curve.
        counts: the number of points of each curve.
        argument: what error messages call the file.

    Returns:
        The path of the table.

    Raises:
        HomologError: it cannot be written.
    """
    rows = ["before,slide,after", *(",".join(map(str, row)) for row in sliders(landmarks, counts))]
    data = ("\n".join(rows) + "\n").encode()
    table = path.with_name(SLIDERS)
    if table.exists() and not (table.is_file() and table.read_bytes() == data):
        table = path.with_name(f"{path.stem}_{SLIDERS}")
    write_atomically(table, data, argument)
    return table
