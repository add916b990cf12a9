"""What the readers of data sets share: collecting errors, JSON files, finding images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from homolog.errors import HomologError


class ErrorCollector:
    """Raises the first error met while reading a data set, or collects all of them.

    Attributes:
        messages: those collected so far, a line each.

    Args:
        collect: collect errors and read on, instead of raising the first.
    """

    def __init__(self, collect: bool = False):
        self.collect = collect
        self.messages: list[str] = []

    def add(self, location: Path | str, message: str) -> None:
        """Report an error because of which a pair or an image cannot be used.

        Args:
            location: the file it is in, perhaps with a line.
            message: what was expected there and what was found.

        Raises:
            HomologError: errors are not collected.
        """
        self.add_error(HomologError(f"{location}: {message}"))

    def add_error(self, error: HomologError) -> None:
        """Report an error that already says which file it is in.

        Raises:
            HomologError: errors are not collected.
        """
        if not self.collect:
            raise error
        self.messages.append(str(error))


class ImageFinder:
    """Finds the images that an annotation file names.

    Args:
        path: the annotation file.
        folder: the folder that names are relative to. Without it they are looked up in the file's
            folder, in its parent, and in `images` and `data` of either.
        fallback: a folder that is searched after all others.
    """

    def __init__(self, path: Path, folder: Path | None = None, fallback: Path | None = None):
        near = (path.parent, path.absolute().parent.parent)
        below = (parent / name for parent in near for name in ("images", "data"))
        folders = (*near, *below) if folder is None else (folder,)
        self.folders: Sequence[Path] = folders if fallback is None else (*folders, fallback)

    def find(self, name: str) -> Path:
        """The path of the image with that name.

        Raises:
            HomologError: it is in none of the folders.
        """
        for folder in self.folders:
            if (folder / name).is_file():
                return folder / name
        searched = ", ".join(map(str, self.folders))
        raise HomologError(f"expected an image {name} in {searched}, got none")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        HomologError: it cannot be read or is not JSON; the message names file and line.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except json.JSONDecodeError as error:
        raise HomologError(
            f"{path}, line {error.lineno}: expected JSON, got {error.msg}"
        ) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected JSON, got bytes that are not text") from None


def unreadable(path: Path, error: OSError) -> HomologError:
    """The error to raise for a file that cannot be opened or read."""
    return HomologError(f"{path}: expected a readable file, got: {error.strerror or error}")


def describe_error(error: Exception) -> str:
    """Word an exception that a malformed entry raised while it was read."""
    return f"expected {error}, got none" if isinstance(error, KeyError) else str(error)


def check_choice(argument: str, value: str, choices: Sequence[str]) -> None:
    """Check that an argument is one of the known words.

    Raises:
        HomologError: it is not; the message lists them.
    """
    if value not in choices:
        raise HomologError(f"{argument}: expected {' or '.join(choices)}, got {value!r}")


def abbreviate(names: Iterable[str], limit: int = 5) -> str:
    """Join names with commas: the first few, and the number of the others.

    >>> abbreviate("abcdefg", limit=3)
    'a, b, c and 4 more'
    """
    all_names = list(names)
    more = len(all_names) - limit
    return ", ".join(all_names[:limit]) + (f" and {more} more" if more > 0 else "")
