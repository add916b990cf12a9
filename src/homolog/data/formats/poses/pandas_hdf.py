"""Tables that pandas wrote to HDF5 files, read without unpickling anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.formats.poses.hdf_sizes import check_sizes
from homolog.utils.optional import require


def read_rows(path: Path) -> list[list[str]]:
    """The only table of a file as lines of text, as pandas writes it to a CSV file.

    Raises:
        OSError: it is no HDF5 file.
        ValueError: there is no such table, or it has another layout than `DataFrame.to_hdf` gives
            it by default.
    """
    h5py = require("h5py", "pose")
    check_sizes(path)
    try:
        return _rows(h5py, path)
    # What h5py raises where parts of a file are damaged, and what follows from members that are
    # none, or are of another kind.
    except (AttributeError, IndexError, KeyError, MemoryError, RuntimeError, TypeError) as error:
        raise ValueError(f"a damaged file ({error})") from error


def _rows(h5py: Any, path: Path) -> list[list[str]]:
    with h5py.File(path, "r") as file:
        groups = [group for group in file.values() if "pandas_type" in group.attrs]
        if len(groups) != 1:
            raise ValueError(f"expected one table of pandas, got {len(groups)}")
        (group,) = groups
        kind = _text(group.attrs["pandas_type"])
        if kind != "frame":
            raise ValueError(
                f"expected a table in pandas' fixed layout, got {kind}; try the .csv file of the "
                "same table"
            )
        levels, columns = _axis(group, "axis0")
        _, index = _axis(group, "axis1")
        values = np.full((len(index), len(columns)), np.nan)
        places = {column: at for at, column in enumerate(columns)}
        for number in range(int(group.attrs["nblocks"])):
            _, items = _axis(group, f"block{number}_items")
            values[:, [places[item] for item in items]] = group[f"block{number}_values"][:]
    more = [""] * (len(index[0]) - 1 if index else 0)
    rows = [[level, *more, *(column[at] for column in columns)] for at, level in enumerate(levels)]
    for parts, row in zip(index, values.tolist(), strict=True):
        rows.append([*parts, *("" if np.isnan(value) else repr(value) for value in row)])
    return rows


def _axis(group: Any, name: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names of an axis' levels, and its entries."""
    if _text(group.attrs[f"{name}_variety"]) != "multi":
        entries: list[tuple[str, ...]] = [(_text(value),) for value in group[name][:]]
        return [_text(group[name].attrs["name"])], entries
    names, columns = [], []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        node = group[f"{name}_level{level}"]
        values = [_text(value) for value in node[:]]
        names.append(_text(node.attrs["name"]))
        codes = group[f"{name}_label{level}"][:]
        columns.append(["" if code < 0 else values[code] for code in codes])
    return names, list(zip(*columns, strict=True))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
