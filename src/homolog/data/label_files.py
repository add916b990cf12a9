"""Files of keypoint labels in every format that is known, read and written the same way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from homolog.data.formats import coco, cvat_xml, labelme, table, yolo
from homolog.data.formats.document import (
    Document,
    LabelFile,
    LabelFormat,
    ReadOptions,
    WriteOptions,
)
from homolog.data.formats.landmarks import imagej, morphoj, nts, tps
from homolog.data.formats.poses import deeplabcut, label_studio, nwb, sleap
from homolog.data.reading import check_choice
from homolog.errors import HomologError
from homolog.keypoints import contradicted_sides

FORMATS: tuple[LabelFormat, ...] = (
    deeplabcut.FORMAT,
    label_studio.FORMAT,
    labelme.FORMAT,
    coco.FORMAT,
    yolo.FORMAT,
    table.FORMAT,
    table.WIDE_FORMAT,
    imagej.FORMAT,
    tps.FORMAT,
    nts.FORMAT,
    morphoj.FORMAT,
    cvat_xml.FORMAT,
    sleap.FORMAT,
    nwb.FORMAT,
)
"""Of those that share a suffix, the first that recognises a file reads it. The first whose usual
suffix it is writes it, before others. The empty suffix stands for a folder."""

_NAMED_BESIDE = {"tps", "nts", "morphoj", "imagej", "labelme", "cvat"}
"""Formats to which a file of names can give names of keypoints, or their order and sides."""


def read(path: Path, options: ReadOptions = ReadOptions(), format: str | None = None) -> LabelFile:
    """Read a file of labels.

    Args:
        path: the file.
        options: what is known of it besides.
        format: the name of its format; by default that is told by its suffix and content.

    Raises:
        HomologError: it is missing, has no known format, or cannot be read.
    """
    if format is None:
        chosen = find_format(path, options.argument)
    else:
        known = {each.name: each for each in FORMATS if each.read is not None}
        check_choice("format", format, list(known))
        chosen = known[format]
    assert chosen.read is not None
    file = chosen.read(path, options)
    notes = file.notes
    if options.names is not None and chosen.name not in _NAMED_BESIDE:
        notes = (*notes, f"{path}: it names its keypoints itself; {options.names} is not used")
    told = map(contradicted_sides, file.document["categories"])
    notes = (*notes, *(f"{path}: {line}" for line in told if line is not None))
    return dataclasses.replace(file, format=chosen.name, notes=notes)


def write(
    path: Path,
    document: Document,
    options: WriteOptions = WriteOptions(),
    format: str | None = None,
) -> list[str]:
    """Write labels to a file.

    Args:
        path: the file.
        document: the labels.
        options: what is known of the file besides.
        format: the name of its format; by default that is told by its suffix.

    Returns:
        A line for each kind of thing that the format cannot hold, and that is not written.

    Raises:
        HomologError: the format is not known, or the file cannot be written.
    """
    chosen = output_format(path, options.argument, format)
    assert chosen.write is not None
    try:
        return chosen.write(path, document, options)
    except UnicodeEncodeError as error:
        name = error.object.splitlines()[error.object.count("\n", 0, error.start)]
        raise HomologError(
            f"{options.argument}: expected names in UTF-8 for {path}, got {name!r}; try to rename "
            "the file, or a name ending in .json"
        ) from None


def find_format(path: Path, argument: str = "labels") -> LabelFormat:
    """The format of a file that is there.

    Args:
        path: the file.
        argument: what error messages call it.

    Raises:
        HomologError: it is missing, or its format is not known.
    """
    readable = [each for each in FORMATS if each.read is not None]
    suffix = "" if path.is_dir() else path.suffix.lower() or "file"
    candidates = [each for each in readable if suffix in each.suffixes]
    if not candidates:
        raise HomologError(f"{argument}: expected a file in {_suffixes(readable)}, got {path}")
    if not path.exists():
        raise HomologError(f"{argument}: expected an existing file, got {path}")
    found = next((each for each in candidates if each.recognise(path)), None)
    if found is None:
        titles = " or ".join(each.title for each in candidates)
        raise HomologError(f"{argument}: expected {titles}, got {path} with other content")
    return found


def output_format(path: Path, argument: str = "out", format: str | None = None) -> LabelFormat:
    """The format in which a file is to be written.

    Args:
        path: the file.
        argument: what error messages call it.
        format: its name; by default it is told by the suffix.

    Raises:
        HomologError: it is not known.
    """
    writable = [each for each in FORMATS if each.write is not None]
    if format is not None:
        check_choice("format", format, [each.name for each in writable])
        return next(each for each in writable if each.name == format)
    suffix = path.suffix.lower()
    if path.name.startswith("CollectedData_") and suffix in (".csv", ".h5"):
        return deeplabcut.FORMAT  # which is what this name says to DeepLabCut
    candidates = [each for each in writable if suffix and suffix in each.suffixes]
    usual = (each for each in candidates if each.suffixes[0] == suffix)
    found = next(usual, candidates[0] if candidates else None)
    if found is None:
        raise HomologError(f"{argument}: expected a name in {_suffixes(writable)}, got {path}")
    return found


def _suffixes(formats: list[LabelFormat]) -> str:
    suffixes = (suffix for each in formats for suffix in each.suffixes if suffix)
    return ", ".join(dict.fromkeys(suffixes))
