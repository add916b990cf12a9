"""Where the images of an adaptation are: in a folder, in a list, or given one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from homolog.errors import HomologError
from homolog.image.formats import image_suffixes
from homolog.utils.delimited import read_text


def is_list(source: Any) -> bool:
    """Whether images are given by a text file that has a path on each line."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = Path(source)
    return path.is_file() and path.suffix.lower() not in image_suffixes()


def image_paths(source: Any) -> list[Path]:
    """The paths that are given, or those in a list, relative to its folder.

    Args:
        source: a folder or an image, a list of these, or several of them.

    Raises:
        HomologError: it is none of these.
    """
    if is_list(source):
        path = Path(source)
        try:
            lines = read_text(path).split("\n")
        except OSError as error:
            raise HomologError(f"images: cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise HomologError(
                f"images: expected a folder, or a text file with a path on each line, got {path}: "
                f"{error}"
            ) from None
        return list(dict.fromkeys(path.parent / line.strip() for line in lines if line.strip()))
    given = [source] if isinstance(source, (str, os.PathLike)) else source
    try:
        return [Path(each) for each in given]
    except TypeError:
        raise HomologError(
            f"images: expected a folder, a list of images or their paths, got {source!r}"
        ) from None
