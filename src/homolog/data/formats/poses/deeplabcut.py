"""DeepLabCut's tables of keypoints, of one animal or of several individuals.

`CollectedData_SCORER.csv` and `.h5` are labels; tables with likelihoods are predictions, of images
or of the frames of a video. A project is the folder of its `config.yaml`, or that file.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from homolog.data.formats.document import (
    DocumentBuilder,
    LabelFile,
    LabelFormat,
    ReadOptions,
)
from homolog.data.formats.entries import Entries, Entry, as_instance, corners_around
from homolog.data.formats.poses.deeplabcut_output import (
    CATEGORY,
    COORDINATES,
    HEADER,
    SHARED,
    write,
)
from homolog.data.formats.poses.members import category_members, predicted_members
from homolog.data.formats.poses.pandas_hdf import read_rows
from homolog.data.reading import abbreviate
from homolog.errors import HomologError

Lines = Sequence[tuple[int, Sequence[str]]]
"""The number and the values of each line of a table."""

_LIKELIHOOD = "likelihood"
_CONFIG = "config.yaml"


@dataclass(frozen=True)
class _Header:
    """What the first lines of a table say of its columns.

    Attributes:
        lines: how many there are.
        width: the number of columns.
        first: the first column of coordinates; those before it name the image.
        columns: of each individual, by body part and coordinate. In tables of one animal its name
            is empty.
    """

    lines: int
    width: int
    first: int
    columns: Mapping[str, Mapping[str, Mapping[str, int]]]


def read_entries(path: Path, lines: Lines) -> Entries:
    """The objects of a table: the boxes around each individual's keypoints.

    Args:
        path: the file.
        lines: its lines. The first are named `scorer`, perhaps `individuals`, `bodyparts` and
            `coords`; then each begins with an image.

    Raises:
        HomologError: the table is another, or its rows are frames of a video.
    """
    header = _header(lines)
    individuals = {} if header is None else {**header.columns}
    has_shared = individuals.pop(SHARED, None) is not None
    if header is None or not individuals:
        raise HomologError(
            f"boxes: {path}: expected the header of a DeepLabCut table with bodyparts and coords, "
            "got another"
        )
    entries, problems, images = [], [], []
    for number, row in lines[header.lines :]:
        location = f"{path}, line {number}"
        image = _image_name(row, header)
        if image.isdecimal():
            raise HomologError(
                f"{location}: expected the name of an image, got {image}; frames of a video are "
                "no images here, try to write them to files"
            )
        images.append(image)
        try:
            values = _values(row, header)
        except ValueError as error:
            problems.append(f"{location}: {error}")
            continue
        for name, parts in individuals.items():
            points = np.array([[values[part[c]] for c in COORDINATES] for part in parts.values()])
            if np.isfinite(points).all(axis=1).any():
                where = f"{location}, {name}" if name else location
                entries.append(Entry(where, image, corners_around(points), "corners", name or None))
    notes = []
    if has_shared:
        notes.append(f"{path}: body parts of no individual ({SHARED}) are left out")
    return Entries(entries, images, {}, problems, notes)


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read a table, or all tables of labels of a project.

    Individuals are instance ids. Body parts of no individual are an object of the category
    `single`. Where there are likelihoods, the keypoints were predicted with these scores. The
    skeleton is that of the project, if the table lies in one.

    Raises:
        HomologError: a file cannot be read, or a row is malformed.
    """
    config, tables = _find_tables(path, options.argument)
    parsed = []
    names: dict[str, list[str]] = {}
    for table in tables:
        lines = _read_lines(table, options.argument)
        header = _header(lines)
        if header is None:
            raise HomologError(
                f"{options.argument}: {table}: expected the header of a DeepLabCut table with "
                "bodyparts and coords, got another"
            )
        parsed.append((table, header, lines))
        for individual, parts in header.columns.items():
            listed = names.setdefault(_category(individual), [])
            listed += [part for part in parts if part not in listed]
    entries: list[dict[str, Any]] = []
    for name, listed in names.items():
        edges = [
            (listed.index(str(edge[0])), listed.index(str(edge[1])))
            for edge in config.get("skeleton") or []
            if len(edge) == 2 and {str(edge[0]), str(edge[1])} <= set(listed)
        ]
        entries.append({"id": len(entries) + 1, "name": name, **category_members(listed, edges)})
    builder = DocumentBuilder(entries)
    for table, header, lines in parsed:
        _add_rows(builder, table, header, lines, names, options)
    return builder.build()


def _header(lines: Lines) -> _Header | None:
    """The header of a table; None if it is no table of DeepLabCut."""
    named = {row[0].strip().lower(): row for _, row in lines[:4] if row}
    header = {name: row for name, row in named.items() if name in HEADER}
    coordinates = [value.strip().lower() for value in header.get("coords", [])]
    if not {"bodyparts", "coords"} <= header.keys() or len({*map(len, header.values())}) != 1:
        return None
    individuals = header.get("individuals", [""] * len(coordinates))
    columns: dict[str, dict[str, dict[str, int]]] = {}
    for at, coordinate in enumerate(coordinates):
        if coordinate in (*COORDINATES, _LIKELIHOOD):
            part = header["bodyparts"][at].strip()
            columns.setdefault(individuals[at].strip(), {}).setdefault(part, {})[coordinate] = at
    parts = [part for each in columns.values() for part in each.values()]
    if not parts or not all({*COORDINATES} <= part.keys() for part in parts):
        return None
    first = min(min(part.values()) for part in parts)
    return _Header(len(header), len(coordinates), first, columns)


def _image_name(row: Sequence[str], header: _Header) -> str:
    return "/".join(part.strip() for part in row[: header.first] if part.strip())


def _values(row: Sequence[str], header: _Header) -> list[float]:
    """The numbers of a row by column; not a number where it is empty or names the image.

    Raises:
        ValueError: there are fewer or more values, or some are no numbers.
    """
    if len(row) != header.width:
        raise ValueError(f"expected {header.width} values, got {len(row)}")
    numbers = [float(value.strip() or "nan") for value in row[header.first :]]
    if any(map(math.isinf, numbers)):
        raise ValueError("expected finite numbers, got infinity")
    return [float("nan")] * header.first + numbers


def _add_rows(
    builder: DocumentBuilder,
    path: Path,
    header: _Header,
    lines: Lines,
    names: Mapping[str, Sequence[str]],
    options: ReadOptions,
) -> None:
    """Add the objects of a table to a document."""
    finder = options.finder(path)
    for number, row in lines[header.lines :]:
        location = f"{options.argument}: {path}, line {number}"
        image = _image_name(row, header)
        if not image:
            raise HomologError(f"{location}: expected the name of an image, got none")
        members: dict[str, Any] = {}
        if image.isdecimal():
            # DeepLabCut adds the name of the network to that of the video.
            video = path.stem.partition("DLC")[0] or path.stem
            members = {"video": video, "frame": int(image)}
            image = f"{video}/img{int(image):06d}.png"
        image_id = builder.find_image(image, finder, **members)
        try:
            values = _values(row, header)
            for individual, parts in header.columns.items():
                points, scores = {}, []
                for part in names[_category(individual)]:
                    x, y, likelihood = (
                        values[parts[part][c]] if c in parts.get(part, {}) else float("nan")
                        for c in (*COORDINATES, _LIKELIHOOD)
                    )
                    if np.isfinite(x) != np.isfinite(y):
                        raise ValueError(f"{part}: expected x and y, or neither, got ({x}, {y})")
                    points[part] = (x, y, 2) if np.isfinite(x) else (0.0, 0.0, 0)
                    scores.append(likelihood)
                if not any(row[2] for row in points.values()):
                    continue
                kept: dict[str, Any] = {}
                if individual not in ("", SHARED):
                    kept["instance_id"] = as_instance(individual)
                if any(_LIKELIHOOD in part for part in parts.values()):
                    kept |= predicted_members(list(points.values()), scores)
                builder.add_annotation(image_id, _category(individual), points, **kept)
        except ValueError as error:
            raise HomologError(f"{location}: {error}") from None
    for line in finder.notes:
        builder.note(line)


def _category(individual: str) -> str:
    return SHARED if individual == SHARED else CATEGORY


def _read_lines(path: Path, argument: str) -> Lines:
    """The lines of a table, whatever its file.

    Raises:
        HomologError: it cannot be read.
    """
    try:
        if path.suffix.lower() == ".h5":
            return list(enumerate(read_rows(path), start=1))
        text = path.read_text("utf-8-sig")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        rows = csv.reader(io.StringIO(text), delimiter=delimiter)
        return [(rows.line_num, row) for row in rows if any(value.strip() for value in row)]
    except (OSError, UnicodeDecodeError, csv.Error, LookupError, ValueError) as error:
        if isinstance(error, HomologError):
            raise
        reason = " ".join(str(error).split())
        raise HomologError(
            f"{argument}: expected a DeepLabCut table {path}, got: {reason}"
        ) from None


def _find_tables(path: Path, argument: str) -> tuple[Mapping[str, Any], list[Path]]:
    """The settings of a project, empty if there is none, and the tables to read."""
    if path.is_file() and path.suffix.lower() in (".csv", ".h5"):
        near = (folder / _CONFIG for folder in list(path.absolute().parents)[:3])
        return next(filter(None, map(_config, near)), {}), [path]
    folder = path if path.is_dir() else path.parent
    config = _config(folder / _CONFIG if path.is_dir() else path)
    scorer = config.get("scorer", "*")
    for pattern in (f"CollectedData_{scorer}", "CollectedData_*"):
        for inside in ("labeled-data/*/", ""):
            for suffix in (".csv", ".h5"):
                tables = sorted(folder.glob(f"{inside}{pattern}{suffix}"))
                by_folder = {table.parent: table for table in tables}
                if len(by_folder) < len(tables):
                    raise HomologError(
                        f"{argument}: expected labels of one person in each folder of {folder}, "
                        f"got {abbreviate(table.name for table in tables)}"
                    )
                if tables:
                    return config, tables
    raise HomologError(
        f"{argument}: expected tables labeled-data/*/CollectedData_*.csv in {folder}, got none"
    )


def _config(path: Path) -> Mapping[str, Any]:
    """The settings of a project; empty if the file is missing or something else."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    known = {"video_sets", "bodyparts", "multianimalbodyparts"}
    return content if isinstance(content, dict) and len(known & content.keys()) > 1 else {}


def _recognise(path: Path) -> bool:
    """Whether a file or folder holds labels of DeepLabCut."""
    if path.is_dir():
        tables = itertools.chain(path.glob("labeled-data/*/CollectedData_*"), path.glob("*.csv"))
        return any(table.name.startswith("CollectedData_") for table in tables)
    if path.suffix.lower() in (".yaml", ".yml"):
        return bool(_config(path))
    if path.suffix.lower() == ".h5":
        return True
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline().strip().strip('"').lower().startswith("scorer")
    except OSError:
        return False


FORMAT = LabelFormat(
    "deeplabcut", "DeepLabCut", (".h5", ".csv", ".yaml", ".yml", ""), read, write, _recognise
)
